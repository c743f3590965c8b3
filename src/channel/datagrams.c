/* channel/datagrams.c - owns sending and receiving datagrams between hosts, and who they are from.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/datagrams.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "channel/single.h"
#include "socket/udp.h"

static bool listens(const struct wherry__endpoint *endpoint)
{
    return endpoint->config->side == WHERRY_LISTEN;
}

/* It knows its peers by their addresses. */
static bool answers(const struct wherry__endpoint *endpoint)
{
    return listens(endpoint) && endpoint->config->role == WHERRY_BOTH;
}

/* ---- opening ---- */

int wherry__datagrams_check(const struct wherry__config *config)
{
    if (config->side == WHERRY_LISTEN && config->role == WHERRY_SEND)
        return wherry__fail(EOPNOTSUPP,
                            "%s: who only sends datagrams has nobody to send to until it connects: leave ?listen out",
                            config->name);
    if (config->side == WHERRY_CONNECT && config->role == WHERRY_RECEIVE)
        return wherry__fail(EOPNOTSUPP,
                            "%s: who only receives datagrams is known to nobody until it listens: leave ?connect out",
                            config->name);
    if (config->side == WHERRY_CONNECT && config->inheritable)
        return wherry__fail(EINVAL, "%s: only a listening endpoint can be inheritable", config->name);
    return 0;
}

static struct wherry__udp_options options_of(const struct wherry__config *config)
{
    struct wherry__udp_options options = {.protocol = config->proto,
                                          .broadcast = config->broadcast,
                                          .loop = config->loop == WHERRY_LOOP_YES  ? WHERRY__LOOP_YES
                                                  : config->loop == WHERRY_LOOP_NO ? WHERRY__LOOP_NO
                                                                                   : WHERRY__LOOP_DEFAULT,
                                          .ttl = config->ttl,
                                          .capacity = config->capacity,
                                          .sends = (config->role & WHERRY_SEND) != 0,
                                          .receives = (config->role & WHERRY_RECEIVE) != 0};
    memcpy(options.interface, config->interface, sizeof options.interface);
    return options;
}

static int start(struct wherry__endpoint *endpoint)
{
    struct wherry__datagrams *state = endpoint->state;
    int result = 0;
    if (endpoint->config->role & WHERRY_RECEIVE)
        result = wherry__wait_add(&endpoint->receiving, state->fd, EPOLLIN, 1);
    if (result == 0 && (endpoint->config->role & WHERRY_SEND))
        result = wherry__wait_add(&endpoint->sending, state->fd, EPOLLOUT, 1);
    return result;
}

/* As packets that come from there say it. */
static struct wherry__datagram_address own_of(const struct wherry__inet_address *address)
{
    struct wherry__datagram_address own = {.size = address->size};
    _Static_assert(sizeof own.address >= sizeof(struct sockaddr_in6), "any address fits");
    _Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "one place");
    memcpy(&own.address, &address->address, wherry__size_min(address->size, sizeof own.address));
    memset((char *)&own.address + offsetof(struct sockaddr_in, sin_port), 0, sizeof(in_port_t));
    return own;
}

int wherry__datagrams_open(struct wherry__endpoint *endpoint, wherry_time deadline,
                           struct wherry__inet_place *ret_place, struct wherry__inet_address *ret_address)
{
    struct wherry__datagrams *state = endpoint->state;
    struct wherry__config *config = endpoint->config;
    const struct wherry__udp_options options = options_of(config);
    state->fd = -1;
    state->segment = config->proto ? 0 : SIZE_MAX;
    state->refused =
        config->proto != 0; /* no later message of a batch is told of the first: ask whether that came back */
    state->id = config->seq ? wherry__sequence_new_id() : 0;
    state->inbox.exact = wherry__reads_exactly(config, false);
    int result = wherry__inet_parse(ret_place, &config->url, config->proto == 0);
    if (result < 0)
        return result;
    if (listens(endpoint))
        result = wherry__udp_listen(ret_place, &options, config->inheritable, deadline, ret_address);
    else
        result = wherry__udp_connect(ret_place, &options, deadline, ret_address, &state->to);
    if (result < 0)
        return result;
    state->fd = result;
    if (config->proto && answers(endpoint))
        state->own = own_of(ret_address);
    state->inbox.headers = config->proto && ret_address->address.ss_family == AF_INET;
    if (options.receives && !state->inbox.exact && !config->proto)
        wherry__udp_gather(state->fd);
    return start(endpoint);
}

/* ---- receiving ---- */

/* What the socket had no room for is missing, too, where nobody numbers what is sent. */
static void count_no_room(struct wherry__endpoint *endpoint, uint32_t no_room)
{
    struct wherry__datagrams *state = endpoint->state;
    if (!endpoint->config->seq)
        wherry__count(&endpoint->counters.lost, no_room - state->no_room_seen);
    state->no_room_seen = no_room;
}

/* Said once, until a message comes: whoever can reach the address can send anything to it. */
static int no_message(struct wherry__endpoint *endpoint, const char *why)
{
    struct wherry__datagrams *state = endpoint->state;
    wherry__count(&endpoint->counters.refused, 1);
    if (state->complained)
        return 0;
    state->complained = true;
    return wherry__fail(EBADMSG, "%s: %s", endpoint->config->name, why);
}

/* The number of a datagram.  1: its message is one to hand out; 0: it is not; or -errno. */
static int take_number(struct wherry__endpoint *endpoint, const uint8_t *data, size_t size)
{
    struct wherry__datagrams *state = endpoint->state;
    uint64_t lost = 0;
    int verdict = wherry__sequence_take(&state->senders, data, size, &lost);
    switch (verdict) {
    case WHERRY__SEQUENCE_NEXT:
        wherry__count(&endpoint->counters.lost, lost);
        return 1;
    case WHERRY__SEQUENCE_LATE:
        wherry__count(&endpoint->counters.lost, -lost);
        wherry__count(&endpoint->counters.reordered, 1);
        return 1;
    case WHERRY__SEQUENCE_TWICE:
        wherry__count(&endpoint->counters.dropped, 1);
        return 0;
    case WHERRY__SEQUENCE_MALFORMED:
        return no_message(endpoint, "a datagram without a number was refused; the sender needs seq=1, too");
    default:
        return wherry__fail(ENOMEM, "%s: no memory for the numbers of senders", endpoint->config->name);
    }
}

/* Whom an answer would not reach but come back from, again and again. */
static bool is_own(const struct wherry__datagrams *state, const struct wherry__datagram_address *from)
{
    return state->own.size && state->own.size == from->size &&
           memcmp(&state->own.address, &from->address, from->size) == 0;
}

/* Who sent the message that is held. */
static void note_sender(struct wherry__endpoint *endpoint, const struct wherry__datagram_address *from)
{
    struct wherry__datagrams *state = endpoint->state;
    if (!listens(endpoint))
        state->held.info.peer.id = 1;
    if (!answers(endpoint))
        return;
    struct wherry__addressee *sender = wherry__addresses_note(&state->peers, from);
    if (!sender)
        return;
    state->held.info.peer.id = sender->peer.id;
    sender->received_messages++;
    sender->received_bytes += state->held.info.size;
}

/* The next datagram of those in memory: 1, a message is held; 0, it was none to hand out; or -errno. */
static int take_datagram(struct wherry__endpoint *endpoint)
{
    struct wherry__datagrams *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    const struct wherry__datagram_address *from;
    const uint8_t *data;
    size_t size, header = config->seq ? WHERRY__SEQUENCE_HEADER : 0;
    bool whole;
    uint32_t no_room = state->no_room_seen;
    wherry__inbox_next(&state->inbox, &data, &size, &from, &whole, &no_room);
    if (no_room != state->no_room_seen)
        count_no_room(endpoint, no_room);
    if (!data)
        return no_message(endpoint, "what came was no IP packet, and was refused");
    if (is_own(state, from))
        return no_message(endpoint, "a packet from the address that this endpoint itself has was refused, since its "
                                    "answer would come back here; listen at another one, say of 127.0.0.0/8");
    if (header) {
        int result = take_number(endpoint, data, size);
        if (result <= 0)
            return result;
    }
    if (!whole || size - header > config->max_message) {
        wherry__count(&endpoint->counters.dropped, 1);
        return wherry__fail(EBADMSG, "%s: a message longer than max_message (%zu bytes) was dropped; raise max_message",
                            config->name, config->max_message);
    }
    state->complained = false;
    state->held = (struct wherry_loan){.data = data + header, .info.size = size - header};
    note_sender(endpoint, from);
    state->holds = true;
    return 1;
}

int wherry__datagrams_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                                 struct wherry_loan *ret_loan)
{
    struct wherry__datagrams *state = endpoint->state;
    (void)buffer;
    (void)capacity;
    while (!state->holds) {
        if (!wherry__inbox_has_more(&state->inbox)) {
            int result = wherry__inbox_receive(state->fd, &state->inbox);
            if (wherry__packets_came_back(
                    -result)) { /* of what was sent before: nothing to do with this, but the next send's */
                state->refused += state->refused == 0;
                continue;
            }
            if (result == -EAGAIN)
                return result;
            if (result == -ENOMEM)
                return wherry__fail(ENOMEM, "%s: no memory to receive into", endpoint->config->name);
            if (result < 0)
                return wherry__fail_errno(-result, "%s: receiving failed", endpoint->config->name);
        }
        int result = take_datagram(endpoint);
        if (result < 0)
            return result;
    }
    *ret_loan = state->held;
    return 1;
}

void wherry__datagrams_give_back(struct wherry__endpoint *endpoint)
{
    struct wherry__datagrams *state = endpoint->state;
    state->holds = false;
}

bool wherry__datagrams_ready(struct wherry__endpoint *endpoint)
{
    const struct wherry__datagrams *state = endpoint->state;
    return state->holds || wherry__inbox_has_more(&state->inbox);
}

/* ---- sending ---- */

/* What goes out in one call. */
struct outgoing {
    struct wherry__packet packets[WHERRY__PACKETS];
    struct wherry__addressee *peers[WHERRY__PACKETS]; /* whom each is for; NULL where there is only one */
    uint8_t headers[WHERRY__PACKETS][WHERRY__SEQUENCE_HEADER];
    unsigned count;
};

static int refuse_addressee(const struct wherry__endpoint *endpoint, uint64_t to)
{
    if (!to)
        return wherry__fail(EDESTADDRREQ,
                            "%s: a datagram from the listening side needs an addressee, in `to`: answer who has sent "
                            "something, or connect to one",
                            endpoint->config->name);
    return wherry__fail(ENOTCONN, "%s: no peer has the id %llu", endpoint->config->name, (unsigned long long)to);
}

static int add(struct wherry__endpoint *endpoint, struct outgoing *out, const struct wherry_message *message)
{
    struct wherry__datagrams *state = endpoint->state;
    struct wherry__packet *packet = &out->packets[out->count];
    struct wherry__addressee *peer = NULL;
    uint64_t id = state->id, *number = &state->sent;
    if (listens(endpoint)) {
        peer = message->to ? wherry__addresses_find(&state->peers, message->to) : NULL;
        if (!peer)
            return refuse_addressee(endpoint, message->to);
        id += peer->peer.id; /* each peer sees numbers without gaps, from a sender of its own */
        number = &peer->sent_messages;
        peer->sent_bytes += message->size;
    } else if (message->to > 1) {
        return refuse_addressee(endpoint, message->to);
    }
    packet->to = peer ? &peer->address : state->to.size ? &state->to : NULL;
    packet->size = message->size;
    packet->part_count = 0;
    if (endpoint->config->seq) {
        wherry__sequence_write(out->headers[out->count], id, *number);
        packet->parts[packet->part_count++] = (struct iovec){out->headers[out->count], WHERRY__SEQUENCE_HEADER};
        packet->size += WHERRY__SEQUENCE_HEADER;
    }
    packet->parts[packet->part_count++] = (struct iovec){(void *)(uintptr_t)message->data, message->size};
    out->peers[out->count++] = peer;
    ++*number;
    return 0;
}

/* What did not leave has no number yet, and went to nobody. */
static void take_back(struct wherry__datagrams *state, const struct outgoing *out, unsigned sent)
{
    for (unsigned i = out->count; i > sent; i--) {
        const struct wherry__packet *packet = &out->packets[i - 1];
        struct wherry__addressee *peer = out->peers[i - 1];
        --*(peer ? &peer->sent_messages : &state->sent);
        if (peer)
            peer->sent_bytes -= packet->parts[packet->part_count - 1].iov_len;
    }
}

/* What came back says nothing here: a receiver that has no room looks like none (docs/decisions/ip.md).  A raw socket
 * tells it to who receives or asks; before a wait for room it is asked, or that would end by it. */
static int send_raw(struct wherry__datagrams *state, const struct outgoing *out, unsigned *ret_sent)
{
    int result;
    do
        result = wherry__send_packets(state->fd, &state->segment, out->packets, out->count, ret_sent);
    while (wherry__packets_came_back(-result));
    if (result != -ENOBUFS) /* how a raw socket says that it has no room: ip_append_data() */
        return result;
    wherry__packets_pending(state->fd);
    return -EAGAIN;
}

/* A connected socket is told when a datagram came back since nobody has the port, which is an error of the next call.
 * That one is tried all the same: somebody may have come.  On this host it is known when the call returns whether it,
 * too, came back; of other hosts when the next one finds two in a row.  0, -EPIPE, or -errno as
 * wherry__send_packets(). */
static int send_now(struct wherry__datagrams *state, const struct outgoing *out, unsigned *ret_sent)
{
    unsigned count = state->refused ? 1 : out->count;
    int result = wherry__send_packets(state->fd, &state->segment, out->packets, count, ret_sent);
    bool had_come_back = wherry__packets_came_back(-result);
    if (had_come_back && ++state->refused > 1)
        return -EPIPE;
    if (had_come_back)
        result = wherry__send_packets(state->fd, &state->segment, out->packets, 1, ret_sent);
    if (wherry__packets_came_back(-result))
        return -EPIPE;
    if (result < 0)
        return result;
    if (state->refused && wherry__packets_came_back(wherry__packets_pending(state->fd))) {
        *ret_sent = 0;
        return -EPIPE;
    }
    if (!had_come_back)
        state->refused = *ret_sent < out->count && count > 1; /* one that failed behind others: it says why by itself */
    return 0;
}

/* How many bytes of a message the kernel reads before it sends it: the type and code of ICMP and ICMPv6, which its
 * tables want, and the head of what moves IPv6 hosts. */
static unsigned read_by_kernel(const struct wherry__endpoint *endpoint)
{
    const struct wherry__datagrams *state = endpoint->state;
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    wherry__sys.getsockopt(state->fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
    switch (endpoint->config->proto) {
    case IPPROTO_ICMP:
        return family == AF_INET ? 2 : 0;
    case IPPROTO_ICMPV6:
        return family == AF_INET6 ? 2 : 0;
    case IPPROTO_MH:
        return family == AF_INET6 ? 4 : 0;
    default:
        return 0;
    }
}

static int send_failed(const struct wherry__endpoint *endpoint, int result, size_t size)
{
    unsigned least = result == -EFAULT ? read_by_kernel(endpoint) : 0;
    if (size < least)
        return wherry__fail(EINVAL,
                            "%s: the kernel sends no message of less than %u bytes as protocol %u, and this one has "
                            "%zu; send its whole header, or take another proto=",
                            endpoint->config->name, least, (unsigned)endpoint->config->proto, size);
    switch (-result) {
    case EAGAIN:
        return -EAGAIN;
    case EPIPE:
        return wherry__fail(EPIPE, "%s: nobody receives there", endpoint->config->name);
    case EMSGSIZE:
        return wherry__fail(EMSGSIZE, "%s: no datagram carries %zu bytes there; send less, or use a stream",
                            endpoint->config->name, size);
    default:
        return wherry__fail_errno(-result, "%s: sending failed", endpoint->config->name);
    }
}

int wherry__datagrams_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                               unsigned flags, size_t *ret_taken)
{
    struct wherry__datagrams *state = endpoint->state;
    struct outgoing out;
    *ret_taken = 0;
    (void)flags; /* each datagram leaves at once */
    while (*ret_taken < count) {
        unsigned sent = 0;
        int result = 0;
        out.count = 0;
        while (result == 0 && out.count < WHERRY__PACKETS && *ret_taken + out.count < count)
            result = add(endpoint, &out, &messages[*ret_taken + out.count]);
        if (out.count == 0)
            return result;
        result = endpoint->config->proto ? send_raw(state, &out, &sent) : send_now(state, &out, &sent);
        take_back(state, &out, sent);
        *ret_taken += sent;
        if (result < 0)
            return result == -EAGAIN && *ret_taken ? 0 : send_failed(endpoint, result, messages[*ret_taken].size);
    }
    return 0;
}

/* ---- the rest ---- */

int wherry__datagrams_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    struct wherry__datagrams *state = endpoint->state;
    (void)ret_peer;
    if (answers(endpoint) && id && !wherry__addresses_find(&state->peers, id))
        return wherry__fail(ENOTCONN, "%s: no peer has the id %llu", endpoint->config->name, (unsigned long long)id);
    return wherry__fail(EOPNOTSUPP, "%s: the kernel does not say who is at the other end", endpoint->config->name);
}

static void write_address(const struct wherry__datagram_address *address, char text[static WHERRY__INET_TEXT])
{
    struct wherry__inet_address copy = {.size = address->size};
    memcpy(&copy.address, &address->address, wherry__size_min(address->size, sizeof address->address));
    wherry__inet_text(&copy, text);
}

int wherry__datagrams_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats)
{
    struct wherry__datagrams *state = endpoint->state;
    struct wherry__addressee *peer = NULL;
    if (!answers(endpoint))
        return wherry__fail(EOPNOTSUPP, "%s: peers are counted apart where one listens and answers",
                            endpoint->config->name);
    int result = wherry__addresses_one(&state->peers, id, endpoint->config->name, &peer);
    if (result < 0)
        return result;
    ret_stats->sent_messages = peer->sent_messages;
    ret_stats->sent_bytes = peer->sent_bytes;
    ret_stats->received_messages = peer->received_messages;
    ret_stats->received_bytes = peer->received_bytes;
    ret_stats->memory = sizeof *peer;
    _Static_assert(sizeof ret_stats->address >= WHERRY__INET_TEXT, "any address fits");
    write_address(&peer->address, ret_stats->address);
    return 0;
}

int wherry__datagrams_adopt(struct wherry__endpoint *endpoint)
{
    struct wherry__datagrams *state = endpoint->state;
    wherry__inbox_fini(&state->inbox); /* what was received is the parent's */
    state->holds = false;
    state->id = endpoint->config->seq ? wherry__sequence_new_id() : 0;
    return start(endpoint);
}

void wherry__datagrams_close(struct wherry__endpoint *endpoint, bool own)
{
    struct wherry__datagrams *state = endpoint->state;
    (void)own;
    wherry__inbox_fini(&state->inbox);
    wherry__sequences_fini(&state->senders);
    wherry__addresses_fini(&state->peers);
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->fd);
}
