/* channel/transport_unix_dgram.c - unix+dgram: Unix datagram sockets; no connections, no end, nothing lost.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever receives has a name, whoever sends connects to it; a sender that wants answers takes a name from the kernel
 * (autobind).  The receiver knows its peers by address: each gets an id when it first sends. */
#include <errno.h>
#include <poll.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "channel/addresses.h"
#include "channel/single.h"
#include "socket/socket.h"
#include "socket/unix.h"

struct dgram_state {
    struct wherry__single single;
    struct wherry__unix_listener listener;
    struct wherry__unix_place place;
    struct wherry__datagram_address from;
    struct wherry__addresses peers; /* for endpoints that answer */
    wherry_time answer_step; /* how long to wait before the next try to answer a peer whose queue is full */
};

static int dgram_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct dgram_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    struct wherry__link *link = &state->single.link;
    state->listener = (struct wherry__unix_listener){.fd = -1, .claim_fd = -1};
    state->place.name = config->name;
    wherry__link_init(link, config, &endpoint->counters);
    link->kind = WHERRY__LINK_PACKET;
    link->datagram = true;
    wherry__link_is_unix(link);
    link->in_fd = link->out_fd = -1;
    int result = wherry__url_file(&config->url, &state->place.text);
    if (result < 0)
        return result;
    if (config->side == WHERRY_LISTEN) {
        if (config->role == WHERRY_SEND)
            return wherry__fail(EOPNOTSUPP,
                                "%s: who only sends datagrams has nobody to send to until it connects: leave "
                                "?listen out",
                                config->name);
        result = wherry__unix_listen(&state->listener, &state->place, SOCK_DGRAM, config->mode, 0, config->inheritable);
        link->in_fd = link->out_fd = state->listener.fd;
        link->from = config->role == WHERRY_BOTH ? &state->from : NULL;
    } else {
        struct wherry__credentials credentials;
        bool known;
        if (config->inheritable)
            return wherry__fail(EINVAL, "%s: only a listening endpoint can be inheritable", config->name);
        result = wherry__unix_connect(&state->place, SOCK_DGRAM, &config->allow, deadline, &credentials, &known);
        if (result >= 0)
            link->in_fd = link->out_fd = result;
        if (result >= 0 && (config->role & WHERRY_RECEIVE))
            result = wherry__unix_autobind(link->in_fd, config->name);
    }
    if (result >= 0)
        result = wherry__socket_resize(link->in_fd, config->capacity, config->name);
    return result < 0 ? result : wherry__single_start(endpoint);
}

/* ---- peers by address ---- */

/* Note who sent the last datagram; senders without a name cannot be answered and have the id 0. */
static uint64_t note_sender(struct dgram_state *state, const struct wherry_peer *credentials)
{
    if (state->from.size <= sizeof(sa_family_t))
        return 0;
    struct wherry__addressee *sender = wherry__addresses_note(&state->peers, &state->from);
    if (!sender)
        return 0;
    uint64_t id = sender->peer.id;
    sender->peer = *credentials;
    sender->peer.id = id;
    return id;
}

static int dgram_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                            struct wherry_loan *ret_loan)
{
    struct dgram_state *state = endpoint->state;
    int result = wherry__single_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result == 1 && state->single.link.from)
        ret_loan->info.peer.id = note_sender(state, &ret_loan->info.peer);
    return result;
}

/* ---- sending ---- */

/* The receiver that was connected to is gone; another may have its name by now. */
static int reconnect(struct wherry__endpoint *endpoint)
{
    struct dgram_state *state = endpoint->state;
    struct wherry__credentials credentials;
    bool known;
    int fd =
        wherry__unix_connect(&state->place, SOCK_DGRAM, &endpoint->config->allow, WHERRY_NOW, &credentials, &known);
    if (fd < 0)
        return fd;
    struct wherry__link *link = &state->single.link;
    wherry__wait_remove(&endpoint->sending, link->out_fd);
    wherry__wait_remove(&endpoint->receiving, link->in_fd);
    wherry__fd_close(&link->in_fd);
    link->in_fd = link->out_fd = fd;
    int result = endpoint->config->role & WHERRY_RECEIVE ? wherry__unix_autobind(fd, endpoint->config->name) : 0;
    return result < 0 ? result : wherry__single_start(endpoint);
}

static int nobody_named(const struct wherry__endpoint *endpoint)
{
    return wherry__fail(EDESTADDRREQ,
                        "%s: a datagram from the listening side needs an addressee, in `to`: answer who has sent "
                        "something, or connect to one",
                        endpoint->config->name);
}

static int dgram_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                          unsigned flags, size_t *ret_taken)
{
    struct dgram_state *state = endpoint->state;
    *ret_taken = 0;
    (void)flags; /* each datagram leaves at once */
    if (endpoint->config->side == WHERRY_CONNECT) {
        int result = wherry__single_try_send(endpoint, messages, count, flags, ret_taken);
        if (result == -EPIPE && *ret_taken == 0 && reconnect(endpoint) == 0)
            result = wherry__single_try_send(endpoint, messages, count, flags, ret_taken);
        return result;
    }
    while (*ret_taken < count) {
        const struct wherry_message *message = &messages[*ret_taken];
        struct wherry__addressee *peer = wherry__addresses_find(&state->peers, message->to);
        size_t taken;
        if (!message->to)
            return nobody_named(endpoint);
        int result = peer ? wherry__packet_send(&state->single.link, &peer->address, message, 1, &taken) : -EPIPE;
        if (result == -EPIPE && peer)
            wherry__addresses_forget(&state->peers, peer);
        if (result == -EPIPE)
            return wherry__fail(ENOTCONN, "%s: peer %llu is gone", endpoint->config->name,
                                (unsigned long long)message->to);
        if (result < 0)
            return result == -EAGAIN && *ret_taken ? 0 : result;
        state->answer_step = 0;
        ++*ret_taken;
    }
    return 0;
}

/* The kernel says of a connected socket when its receiver has room; of an address it does not: those waits go in
 * steps. */
static int dgram_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                      wherry_time deadline)
{
    struct dgram_state *state = endpoint->state;
    (void)to;
    if (direction == WHERRY__RECEIVING)
        return wherry__wait_for(&endpoint->receiving, deadline);
    if (endpoint->config->side == WHERRY_CONNECT)
        return wherry__wait_for(&endpoint->sending, deadline);
    state->answer_step = state->answer_step ? state->answer_step * 3 / 2 : 50 * WHERRY_MICROSECOND;
    if (state->answer_step > 10 * WHERRY_MILLISECOND)
        state->answer_step = 10 * WHERRY_MILLISECOND;
    wherry_time until = wherry_after(state->answer_step);
    int result = wherry__wait_one(&endpoint->sending, -1, 0, until < deadline ? until : deadline);
    return result == -ETIMEDOUT && until < deadline ? 0 : result;
}

static int dgram_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    struct dgram_state *state = endpoint->state;
    if (endpoint->config->side == WHERRY_CONNECT)
        return wherry__single_peer(endpoint, id, ret_peer);
    return wherry__addresses_peer(&state->peers, id, endpoint->config->name, ret_peer);
}

static void dgram_close(struct wherry__endpoint *endpoint, bool own)
{
    struct dgram_state *state = endpoint->state;
    if (state->place.text && endpoint->config->side == WHERRY_LISTEN) {
        if (state->single.link.in_fd >= 0)
            state->listener.fd = -1; /* the link closes it */
        wherry__unix_unlisten(&state->listener, &state->place, own, endpoint->born, endpoint->config->inheritable);
    }
    wherry__single_close(endpoint, own);
    wherry__addresses_fini(&state->peers);
}

const struct wherry__transport wherry__transport_unix_dgram = {
    .traits =
        {
            .scheme = "unix+dgram",
            .summary = "datagrams between processes of one host; no connections, nothing lost",
            .object = "Unix datagram socket",
            .sample = "unix+dgram://{path}",
            .bits = WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_EMPTY |
                    WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_KNOWS_RECEIVERS | WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_PEER |
                    WHERRY_TRAIT_CARRIES_FDS,
        },
    .options = WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_MODE | WHERRY__OPTION_UID |
               WHERRY__OPTION_FDS,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE | 1u << WHERRY_BOTH,
    .state_size = sizeof(struct dgram_state),
    .open = dgram_open,
    .try_send = dgram_try_send,
    .try_borrow = dgram_try_borrow,
    .take_fds = wherry__single_take_fds,
    .give_back = wherry__single_give_back,
    .ready = wherry__single_ready,
    .wait = dgram_wait,
    .peer = dgram_peer,
    .adopt = wherry__single_adopt,
    .close = dgram_close,
};
