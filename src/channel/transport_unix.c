/* channel/transport_unix.c - unix and unix+seqpacket: Unix sockets with connections.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/crowd.h"
#include "channel/single.h"
#include "socket/unix.h"

struct unix_state {
    union { /* by side; each is the first member, as single.h and crowd.h ask */
        struct wherry__single single;
        struct wherry__crowd crowd;
    } u;
    struct wherry__unix_listener listener;
    struct wherry__unix_place place;
};

static bool listens(const struct wherry__endpoint *endpoint)
{
    return endpoint->config->side == WHERRY_LISTEN;
}

static int open_listening(struct wherry__endpoint *endpoint, int type)
{
    struct unix_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    int result = wherry__unix_listen(&state->listener, &state->place, type, config->mode, config->backlog,
                                     config->inheritable);
    if (result < 0)
        return result;
    state->u.crowd.listener = state->listener.fd;
    state->u.crowd.kind = type == SOCK_STREAM ? WHERRY__LINK_SOCKET : WHERRY__LINK_PACKET;
    return wherry__crowd_start(endpoint);
}

static int open_connecting(struct wherry__endpoint *endpoint, int type, wherry_time deadline)
{
    struct unix_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    struct wherry__link *link = &state->u.single.link;
    struct wherry__credentials credentials = {.pid = 0};
    bool known;
    wherry__link_init(link, config, &endpoint->counters);
    link->kind = type == SOCK_STREAM ? WHERRY__LINK_SOCKET : WHERRY__LINK_PACKET;
    link->in_fd = link->out_fd = -1;
    if (config->inheritable)
        return wherry__fail(
            EINVAL, "%s: only a listening endpoint can be inheritable: each process connects for itself", config->name);
    int fd = wherry__unix_connect(&state->place, type, &config->allow, deadline, &credentials, &known);
    if (fd < 0)
        return fd;
    link->in_fd = link->out_fd = fd;
    link->exact = wherry__reads_exactly(config, false);
    link->peer = (struct wherry_peer){
        .id = 1, .has_credentials = known, .pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
    int result = wherry__unix_resize(fd, config->capacity, config->name);
    return result < 0 ? result : wherry__single_start(endpoint);
}

static int open_of_type(struct wherry__endpoint *endpoint, int type, wherry_time deadline)
{
    struct unix_state *state = endpoint->state;
    state->listener = (struct wherry__unix_listener){.fd = -1, .claim_fd = -1};
    state->place.name = endpoint->config->name;
    int result = wherry__url_file(&endpoint->config->url, &state->place.text);
    if (result < 0) {
        endpoint->config->side = WHERRY_LISTEN; /* close() finds an empty crowd */
        return result;
    }
    return listens(endpoint) ? open_listening(endpoint, type) : open_connecting(endpoint, type, deadline);
}

static int stream_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    return open_of_type(endpoint, SOCK_STREAM, deadline);
}

static int seqpacket_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    return open_of_type(endpoint, SOCK_SEQPACKET, deadline);
}

static void unix_close(struct wherry__endpoint *endpoint, bool own)
{
    struct unix_state *state = endpoint->state;
    if (!listens(endpoint)) {
        wherry__single_close(endpoint, own);
        return;
    }
    wherry__crowd_fini(endpoint);
    if (state->place.text)
        wherry__unix_unlisten(&state->listener, &state->place, own, endpoint->born, endpoint->config->inheritable);
}

/* ---- the slots, by side ---- */

static int unix_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                         unsigned flags, size_t *ret_taken)
{
    return listens(endpoint) ? wherry__crowd_try_send(endpoint, messages, count, flags, ret_taken)
                             : wherry__single_try_send(endpoint, messages, count, flags, ret_taken);
}

static int unix_try_finish(struct wherry__endpoint *endpoint)
{
    return listens(endpoint) ? wherry__crowd_try_finish(endpoint) : wherry__single_try_finish(endpoint);
}

static int unix_keep(struct wherry__endpoint *endpoint)
{
    return listens(endpoint) ? wherry__crowd_keep(endpoint) : wherry__single_keep(endpoint);
}

static int unix_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    return listens(endpoint) ? wherry__crowd_try_borrow(endpoint, buffer, capacity, ret_loan)
                             : wherry__single_try_borrow(endpoint, buffer, capacity, ret_loan);
}

static void unix_give_back(struct wherry__endpoint *endpoint)
{
    if (listens(endpoint))
        wherry__crowd_give_back(endpoint);
    else
        wherry__single_give_back(endpoint);
}

static int unix_rescue(struct wherry__endpoint *endpoint)
{
    return listens(endpoint) ? wherry__crowd_rescue(endpoint) : wherry__single_rescue(endpoint);
}

static bool unix_ready(struct wherry__endpoint *endpoint)
{
    return listens(endpoint) ? wherry__crowd_ready(endpoint) : wherry__single_ready(endpoint);
}

static int unix_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                     wherry_time deadline)
{
    if (listens(endpoint))
        return wherry__crowd_wait(endpoint, direction, to, deadline);
    return wherry__wait_for(direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving, deadline);
}

static int unix_finish(struct wherry__endpoint *endpoint)
{
    return listens(endpoint) ? wherry__crowd_finish(endpoint) : wherry__single_finish(endpoint);
}

static int unix_disconnect(struct wherry__endpoint *endpoint, uint64_t id, bool forced)
{
    if (listens(endpoint))
        return wherry__crowd_disconnect(endpoint, id, forced);
    return wherry__fail(EOPNOTSUPP, "%s: not a listening endpoint: close it instead", endpoint->config->name);
}

static int unix_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    return listens(endpoint) ? wherry__crowd_peer(endpoint, id, ret_peer) : wherry__single_peer(endpoint, id, ret_peer);
}

static int unix_adopt(struct wherry__endpoint *endpoint)
{
    return listens(endpoint) ? wherry__crowd_adopt(endpoint) : -ECHILD;
}

#define CONNECTED_TRAITS                                                                                               \
    (WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_MANY_RECEIVERS |            \
     WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_ENDS | WHERRY_TRAIT_KNOWS_RECEIVERS |                      \
     WHERRY_TRAIT_NOTICES_DEATH | WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_PEER)

#define CONNECTED_OPTIONS                                                                                              \
    (WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_MODE | WHERRY__OPTION_BACKLOG | WHERRY__OPTION_UID)

#define SLOTS                                                                                                          \
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE | 1u << WHERRY_BOTH, .state_size = sizeof(struct unix_state),    \
    .try_send = unix_try_send, .try_finish = unix_try_finish, .keep = unix_keep, .try_borrow = unix_try_borrow,        \
    .give_back = unix_give_back, .rescue = unix_rescue, .ready = unix_ready, .wait = unix_wait,                        \
    .finish = unix_finish, .disconnect = unix_disconnect, .peer = unix_peer, .adopt = unix_adopt, .close = unix_close

#undef unix /* a macro of some compilers */
const struct wherry__transport wherry__transport_unix = {
    .traits =
        {
            .scheme = "unix",
            .summary = "a byte stream between processes of one host; nc and socat can sit at the other end",
            .object = "Unix stream socket",
            .sample = "unix://{path}",
            .bits = CONNECTED_TRAITS | WHERRY_TRAIT_STREAM | WHERRY_TRAIT_READS_AHEAD | WHERRY_TRAIT_KEEPS_TAIL |
                    WHERRY_TRAIT_TYPES,
        },
    .options = CONNECTED_OPTIONS | WHERRY__OPTION_FRAME | WHERRY__OPTION_READ_AHEAD,
    .open = stream_open,
    SLOTS,
};

const struct wherry__transport wherry__transport_unix_seqpacket = {
    .traits =
        {
            .scheme = "unix+seqpacket",
            .summary = "messages whose boundaries the kernel keeps, with connections",
            .object = "Unix seqpacket socket",
            .sample = "unix+seqpacket://{path}",
            .bits = CONNECTED_TRAITS,
        },
    .options = CONNECTED_OPTIONS,
    .open = seqpacket_open,
    SLOTS,
};
