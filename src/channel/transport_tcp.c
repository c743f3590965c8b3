/* channel/transport_tcp.c - tcp: connections between hosts, IPv4 and IPv6.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/connected.h"
#include "socket/inet.h"

struct tcp_state {
    union wherry__connected u;
    struct wherry__inet_place place;
    int listener; /* -1 */
};

static int tcp_check(const struct wherry__config *config)
{
    struct wherry__inet_place place;
    int result = wherry__inet_parse(&place, &config->url, true);
    if (result == 0 && place.port == 0 && config->side == WHERRY_CONNECT)
        return wherry__fail(EINVAL, "%s: port 0 is for the side that listens: the kernel chooses one", config->name);
    return result;
}

static struct wherry__inet_options options_of(const struct wherry__config *config)
{
    return (struct wherry__inet_options){.delay = config->delay,
                                         .keepalive = config->keepalive,
                                         .user_timeout = config->user_timeout,
                                         .capacity = config->capacity,
                                         .share_port = config->share_port,
                                         .beside = config->beside};
}

int wherry__tcp_admit(struct wherry__endpoint *endpoint, int fd, struct wherry_peer *ret_peer)
{
    (void)ret_peer;
    const struct wherry__inet_options options = options_of(endpoint->config);
    int result = wherry__inet_apply(fd, &options, endpoint->config->name);
    return result < 0 ? result : 1;
}

static int open_listening(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct tcp_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    struct wherry__inet_address address;
    const struct wherry__inet_options options = options_of(config);
    int fd = wherry__inet_listen(&state->place, &options, config->backlog, config->inheritable, deadline, &address);
    if (fd < 0)
        return fd;
    state->listener = fd;
    int result = state->place.port ? 0 : wherry__config_say_port(endpoint->config, &address);
    if (result < 0)
        return result;
    struct wherry__crowd *crowd = &state->u.crowd;
    crowd->listener = fd;
    crowd->listener_home = &state->listener;
    crowd->kind = WHERRY__LINK_SOCKET;
    crowd->plain = true;
    crowd->admit = wherry__tcp_admit;
    return wherry__crowd_start(endpoint);
}

static int open_connecting(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct tcp_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    struct wherry__link *link = &state->u.single.link;
    wherry__link_init(link, config, &endpoint->counters);
    link->kind = WHERRY__LINK_SOCKET;
    link->plain = true;
    link->in_fd = link->out_fd = -1;
    if (config->inheritable)
        return wherry__fail(
            EINVAL, "%s: only a listening endpoint can be inheritable: each process connects for itself", config->name);
    const struct wherry__inet_options options = options_of(config);
    int fd = wherry__inet_connect(&state->place, &options, deadline);
    if (fd < 0)
        return fd;
    link->in_fd = link->out_fd = fd;
    link->exact = wherry__reads_exactly(config, false);
    link->peer.id = 1;
    return wherry__single_start(endpoint);
}

static int tcp_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct tcp_state *state = endpoint->state;
    state->listener = -1;
    int result = wherry__inet_parse(&state->place, &endpoint->config->url, true);
    if (result < 0) {
        endpoint->config->side = WHERRY_LISTEN; /* close() finds an empty crowd */
        return result;
    }
    return wherry__listens(endpoint) ? open_listening(endpoint, deadline) : open_connecting(endpoint, deadline);
}

static void tcp_close(struct wherry__endpoint *endpoint, bool own)
{
    struct tcp_state *state = endpoint->state;
    if (!wherry__listens(endpoint)) {
        wherry__single_close(endpoint, own);
        return;
    }
    wherry__crowd_fini(endpoint);
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->listener);
}

const struct wherry__transport wherry__transport_tcp = {
    .traits =
        {
            .scheme = "tcp",
            .summary = "a byte stream between hosts; nc, curl and any server can sit at the other end",
            .object = "TCP connection",
            .sample = "tcp://{host}:{port}",
            .bits = WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_SENDERS |
                    WHERRY_TRAIT_MANY_RECEIVERS | WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_ENDS |
                    WHERRY_TRAIT_KNOWS_RECEIVERS | WHERRY_TRAIT_NOTICES_DEATH | WHERRY_TRAIT_POLLABLE |
                    WHERRY_TRAIT_STREAM | WHERRY_TRAIT_READS_AHEAD | WHERRY_TRAIT_KEEPS_TAIL | WHERRY_TRAIT_TYPES,
        },
    .options = WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_BACKLOG | WHERRY__OPTION_FRAME |
               WHERRY__OPTION_READ_AHEAD | WHERRY__OPTION_TCP | WHERRY__OPTION_ENDS,
    .roles = WHERRY__CONNECTED_ROLES,
    .state_size = sizeof(struct tcp_state),
    .check = tcp_check,
    .open = tcp_open,
    WHERRY__CONNECTED_SLOTS,
    .linger = wherry__connected_linger,
    .close = tcp_close,
};
