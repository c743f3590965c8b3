/* channel/transport_udp.c - udp: datagrams between hosts; no connections, no end, and some may be lost.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever receives binds a port or joins a group, whoever sends connects to it.  As for unix+dgram the receiver knows
 * its peers by address.  What the kernel has is received many at a time, and handed out from memory. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/addresses.h"
#include "channel/sequence.h"
#include "channel/single.h"
#include "socket/udp.h"

struct udp_state {
    int fd; /* -1 */
    struct wherry__inet_place place;
    struct wherry__datagram_address to; /* of one that connects, where the socket is not connected; else size 0 */
    struct wherry__addresses peers;     /* of one that listens and answers */

    /* receiving */
    struct wherry__udp_inbox inbox;
    struct wherry_loan held; /* the message found, until it is given back */
    bool holds;
    struct wherry__sequences senders; /* seq=1 */
    bool complained;                  /* of datagrams that are no message, since the last that was one */
    uint32_t no_room_seen;            /* the kernel's count of what the socket had no room for */

    /* sending */
    size_t segment;   /* socket/udp.h */
    uint64_t id;      /* seq=1: this sender's */
    uint64_t sent;    /* and the number of its next message, of one that connects */
    unsigned refused; /* times that a datagram came back since one did not */
};

static bool listens(const struct wherry__endpoint *endpoint)
{
    return endpoint->config->side == WHERRY_LISTEN;
}

/* ---- opening ---- */

static int udp_check(const struct wherry__config *config)
{
    struct wherry__inet_place place;
    int result = wherry__inet_parse(&place, &config->url, true);
    if (result < 0)
        return result;
    if (config->side == WHERRY_CONNECT && place.port == 0)
        return wherry__fail(EINVAL, "%s: port 0 is for the side that listens: the kernel chooses one", config->name);
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
    struct wherry__udp_options options = {.broadcast = config->broadcast,
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
    struct udp_state *state = endpoint->state;
    int result = 0;
    if (endpoint->config->role & WHERRY_RECEIVE)
        result = wherry__wait_add(&endpoint->receiving, state->fd, EPOLLIN, 1);
    if (result == 0 && (endpoint->config->role & WHERRY_SEND))
        result = wherry__wait_add(&endpoint->sending, state->fd, EPOLLOUT, 1);
    return result;
}

static int udp_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct udp_state *state = endpoint->state;
    struct wherry__config *config = endpoint->config;
    const struct wherry__udp_options options = options_of(config);
    struct wherry__inet_address address;
    state->fd = -1;
    state->segment = SIZE_MAX;
    state->id = config->seq ? wherry__sequence_new_id() : 0;
    state->inbox.exact = wherry__reads_exactly(config, false);
    int result = wherry__inet_parse(&state->place, &config->url, true);
    if (result < 0)
        return result;
    if (listens(endpoint))
        result = wherry__udp_listen(&state->place, &options, config->inheritable, deadline, &address);
    else
        result = wherry__udp_connect(&state->place, &options, deadline, &state->to);
    if (result < 0)
        return result;
    state->fd = result;
    if (options.receives && !state->inbox.exact)
        wherry__udp_gather(state->fd);
    result = listens(endpoint) && state->place.port == 0 ? wherry__config_say_port(config, &address) : 0;
    state->place.name = config->name;
    return result < 0 ? result : start(endpoint);
}

/* ---- receiving ---- */

/* What the socket had no room for is missing, too, where nobody numbers what is sent. */
static void count_no_room(struct wherry__endpoint *endpoint, uint32_t no_room)
{
    struct udp_state *state = endpoint->state;
    if (!endpoint->config->seq)
        wherry__count(&endpoint->counters.lost, no_room - state->no_room_seen);
    state->no_room_seen = no_room;
}

/* Said once, until a message comes: whoever can reach the port can send anything to it. */
static int no_message(struct wherry__endpoint *endpoint)
{
    struct udp_state *state = endpoint->state;
    wherry__count(&endpoint->counters.refused, 1);
    if (state->complained)
        return 0;
    state->complained = true;
    return wherry__fail(EBADMSG, "%s: a datagram without a number was refused; the sender needs seq=1, too",
                        endpoint->config->name);
}

/* The number of a datagram.  1: its message is one to hand out; 0: it is not; or -errno. */
static int take_number(struct wherry__endpoint *endpoint, const uint8_t *data, size_t size)
{
    struct udp_state *state = endpoint->state;
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
        return no_message(endpoint);
    default:
        return wherry__fail(ENOMEM, "%s: no memory for the numbers of senders", endpoint->config->name);
    }
}

/* The next datagram of those in memory: 1, a message is held; 0, it was none to hand out; or -errno. */
static int take_datagram(struct wherry__endpoint *endpoint)
{
    struct udp_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    const struct wherry__datagram_address *from;
    const uint8_t *data;
    size_t size, header = config->seq ? WHERRY__SEQUENCE_HEADER : 0;
    bool whole;
    uint32_t no_room = state->no_room_seen;
    wherry__udp_next(&state->inbox, &data, &size, &from, &whole, &no_room);
    if (no_room != state->no_room_seen)
        count_no_room(endpoint, no_room);
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
    if (!listens(endpoint)) {
        state->held.info.peer.id = 1;
    } else if (config->role == WHERRY_BOTH) {
        const struct wherry__addressee *sender = wherry__addresses_note(&state->peers, from);
        state->held.info.peer.id = sender ? sender->peer.id : 0;
    }
    state->holds = true;
    return 1;
}

static int udp_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                          struct wherry_loan *ret_loan)
{
    struct udp_state *state = endpoint->state;
    (void)buffer;
    (void)capacity;
    while (!state->holds) {
        if (!wherry__udp_has_more(&state->inbox)) {
            int result = wherry__udp_receive(state->fd, &state->inbox);
            if (result == -ECONNREFUSED) { /* of what was sent before: nothing to do with this, but the next send's */
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

static void udp_give_back(struct wherry__endpoint *endpoint)
{
    struct udp_state *state = endpoint->state;
    state->holds = false;
}

static bool udp_ready(struct wherry__endpoint *endpoint)
{
    const struct udp_state *state = endpoint->state;
    return state->holds || wherry__udp_has_more(&state->inbox);
}

/* ---- sending ---- */

/* What goes out in one call. */
struct outgoing {
    struct wherry__udp_packet packets[WHERRY__UDP_PACKETS];
    uint64_t *numbers[WHERRY__UDP_PACKETS]; /* seq=1: whose number each took */
    uint8_t headers[WHERRY__UDP_PACKETS][WHERRY__SEQUENCE_HEADER];
    unsigned count;
};

static int refuse_addressee(const struct wherry__endpoint *endpoint, uint64_t to)
{
    if (!to)
        return wherry__fail(EDESTADDRREQ, "%s: a datagram from the listening side needs an addressee: set `to`",
                            endpoint->config->name);
    return wherry__fail(ENOTCONN, "%s: no peer has the id %llu", endpoint->config->name, (unsigned long long)to);
}

static int add(struct wherry__endpoint *endpoint, struct outgoing *out, const struct wherry_message *message)
{
    struct udp_state *state = endpoint->state;
    struct wherry__udp_packet *packet = &out->packets[out->count];
    struct wherry__addressee *peer = NULL;
    uint64_t id = state->id, *number = &state->sent;
    if (listens(endpoint)) {
        peer = message->to ? wherry__addresses_find(&state->peers, message->to) : NULL;
        if (!peer)
            return refuse_addressee(endpoint, message->to);
        id += peer->peer.id; /* each peer sees numbers without gaps, from a sender of its own */
        number = &peer->sent;
    } else if (message->to > 1) {
        return refuse_addressee(endpoint, message->to);
    }
    packet->to = peer ? &peer->address : state->to.size ? &state->to : NULL;
    packet->size = message->size;
    packet->part_count = 0;
    if (endpoint->config->seq) {
        wherry__sequence_write(out->headers[out->count], id, *number);
        out->numbers[out->count] = number;
        ++*number;
        packet->parts[packet->part_count++] = (struct iovec){out->headers[out->count], WHERRY__SEQUENCE_HEADER};
        packet->size += WHERRY__SEQUENCE_HEADER;
    }
    packet->parts[packet->part_count++] = (struct iovec){(void *)(uintptr_t)message->data, message->size};
    out->count++;
    return 0;
}

/* What did not leave has no number yet. */
static void take_numbers_back(const struct wherry__endpoint *endpoint, const struct outgoing *out, unsigned sent)
{
    for (unsigned i = out->count; endpoint->config->seq && i > sent; i--)
        --*out->numbers[i - 1];
}

/* A connected socket is told when a datagram came back since nobody has the port, which is an error of the next call.
 * That one is tried all the same: somebody may have come.  On this host it is known when the call returns whether it,
 * too, came back; of other hosts when the next one finds two in a row.  0, -EPIPE, or -errno as wherry__udp_send(). */
static int send_now(struct udp_state *state, const struct outgoing *out, unsigned *ret_sent)
{
    unsigned count = state->refused ? 1 : out->count;
    int result = wherry__udp_send(state->fd, &state->segment, out->packets, count, ret_sent);
    bool had_come_back = result == -ECONNREFUSED;
    if (had_come_back && ++state->refused > 1)
        return -EPIPE;
    if (had_come_back)
        result = wherry__udp_send(state->fd, &state->segment, out->packets, 1, ret_sent);
    if (result == -ECONNREFUSED)
        return -EPIPE;
    if (result < 0)
        return result;
    if (state->refused && wherry__udp_pending(state->fd) == ECONNREFUSED) {
        *ret_sent = 0;
        return -EPIPE;
    }
    if (!had_come_back)
        state->refused = *ret_sent < out->count && count > 1; /* one that failed behind others: it says why by itself */
    return 0;
}

static int send_failed(const struct wherry__endpoint *endpoint, int result, size_t size)
{
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

static int udp_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                        unsigned flags, size_t *ret_taken)
{
    struct udp_state *state = endpoint->state;
    struct outgoing out;
    *ret_taken = 0;
    (void)flags; /* each datagram leaves at once */
    while (*ret_taken < count) {
        unsigned sent = 0;
        int result = 0;
        out.count = 0;
        while (result == 0 && out.count < WHERRY__UDP_PACKETS && *ret_taken + out.count < count)
            result = add(endpoint, &out, &messages[*ret_taken + out.count]);
        if (out.count == 0)
            return result;
        result = send_now(state, &out, &sent);
        take_numbers_back(endpoint, &out, sent);
        *ret_taken += sent;
        if (result < 0)
            return result == -EAGAIN && *ret_taken ? 0 : send_failed(endpoint, result, messages[*ret_taken].size);
    }
    return 0;
}

/* ---- the rest ---- */

static int udp_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    struct udp_state *state = endpoint->state;
    (void)ret_peer;
    if (listens(endpoint) && endpoint->config->role == WHERRY_BOTH && id && !wherry__addresses_find(&state->peers, id))
        return wherry__fail(ENOTCONN, "%s: no peer has the id %llu", endpoint->config->name, (unsigned long long)id);
    return wherry__fail(EOPNOTSUPP, "%s: the kernel does not say who is at the other end", endpoint->config->name);
}

static int udp_adopt(struct wherry__endpoint *endpoint)
{
    struct udp_state *state = endpoint->state;
    wherry__udp_inbox_fini(&state->inbox); /* what was received is the parent's */
    state->holds = false;
    state->id = endpoint->config->seq ? wherry__sequence_new_id() : 0;
    return start(endpoint);
}

static void udp_close(struct wherry__endpoint *endpoint, bool own)
{
    struct udp_state *state = endpoint->state;
    (void)own;
    wherry__udp_inbox_fini(&state->inbox);
    wherry__sequences_fini(&state->senders);
    wherry__addresses_fini(&state->peers);
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->fd);
}

const struct wherry__transport wherry__transport_udp = {
    .traits =
        {
            .scheme = "udp",
            .summary = "datagrams between hosts; no connections, and some may be lost",
            .object = "UDP socket",
            .sample = "udp://{host}:{port}",
            .bits = WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_EMPTY |
                    WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_READS_AHEAD | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_KNOWS_RECEIVERS |
                    WHERRY_TRAIT_POLLABLE,
            .largest = 65507, /* an IP packet's 65535, less its header and UDP's; 20 more over IPv6 */
        },
    .options = WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_READ_AHEAD | WHERRY__OPTION_UDP,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE | 1u << WHERRY_BOTH,
    .state_size = sizeof(struct udp_state),
    .check = udp_check,
    .open = udp_open,
    .try_send = udp_try_send,
    .try_borrow = udp_try_borrow,
    .give_back = udp_give_back,
    .ready = udp_ready,
    .peer = udp_peer,
    .adopt = udp_adopt,
    .close = udp_close,
};
