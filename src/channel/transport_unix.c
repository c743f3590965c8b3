/* channel/transport_unix.c - unix and unix+seqpacket: Unix sockets with connections.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/connected.h"
#include "socket/socket.h"
#include "socket/unix.h"

struct unix_state {
    union wherry__connected u;
    struct wherry__unix_listener listener;
    struct wherry__unix_place place;
};

int wherry__unix_admit(struct wherry__endpoint *endpoint, int fd, struct wherry_peer *ret_peer)
{
    struct wherry__credentials credentials = {.pid = 0};
    if (wherry__credentials_of_connection(fd, &credentials) < 0 ||
        !wherry__allow_check(&endpoint->config->allow, credentials.uid))
        return 0;
    *ret_peer = (struct wherry_peer){
        .has_credentials = true, .pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
    int result = wherry__socket_resize(fd, endpoint->config->capacity, endpoint->config->name);
    return result < 0 ? result : 1;
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
    state->u.crowd.listener_home = &state->listener.fd;
    state->u.crowd.claim_home = &state->listener.claim_fd;
    state->u.crowd.admit = wherry__unix_admit;
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
    wherry__link_is_unix(link);
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
    int result = wherry__socket_resize(fd, config->capacity, config->name);
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
    return wherry__listens(endpoint) ? open_listening(endpoint, type) : open_connecting(endpoint, type, deadline);
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
    if (!wherry__listens(endpoint)) {
        wherry__single_close(endpoint, own);
        return;
    }
    wherry__crowd_fini(endpoint);
    if (state->place.text)
        wherry__unix_unlisten(&state->listener, &state->place, own, endpoint->born, endpoint->config->inheritable);
}

#define CONNECTED_TRAITS                                                                                               \
    (WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_MANY_RECEIVERS |            \
     WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_ENDS | WHERRY_TRAIT_KNOWS_RECEIVERS |                      \
     WHERRY_TRAIT_NOTICES_DEATH | WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_PEER | WHERRY_TRAIT_CARRIES_FDS)

#define CONNECTED_OPTIONS                                                                                              \
    (WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_MODE | WHERRY__OPTION_BACKLOG |                   \
     WHERRY__OPTION_UID | WHERRY__OPTION_FDS | WHERRY__OPTION_ENDS)

#define SLOTS                                                                                                          \
    .roles = WHERRY__CONNECTED_ROLES, .state_size = sizeof(struct unix_state), WHERRY__CONNECTED_SLOTS,                \
    .take_fds = wherry__connected_take_fds, .peer_pidfd = wherry__connected_peer_pidfd, .close = unix_close

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
