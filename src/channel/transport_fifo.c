/* channel/transport_fifo.c - fifo: a named pipe; many senders, one receiver.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/pipe_link.h"
#include "channel/single.h"
#include "stream/pipe.h"

struct fifo_state {
    struct wherry__single single;
    struct wherry__fifo fifo;
    const char *path;
};

/* Whoever owns the name can read what is sent and write what is received, whatever its mode says now. */
static int check_owner(struct fifo_state *state, const struct wherry__config *config)
{
    uid_t owner = state->fifo.identity.st_uid;
    if (wherry__allow_check(&config->allow, owner))
        return 0;
    state->fifo.created = false;
    return wherry__fail(EPERM, "%s: the FIFO belongs to uid %u; allow it with uid=%u, or use a directory of your own",
                        config->name, (unsigned)owner, (unsigned)owner);
}

static int fifo_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct fifo_state *state = endpoint->state;
    struct wherry__config *config = endpoint->config;
    bool receives = config->role == WHERRY_RECEIVE;
    wherry__pipe_link_init(&state->single.link, endpoint, -1, -1);
    state->fifo.fd = state->fifo.claim_fd = -1;
    int result = wherry__url_file(&config->url, &state->path);
    if (result < 0)
        return result;
    if (receives && config->side == WHERRY_CONNECT)
        result = wherry__fifo_open_existing(&state->fifo, state->path, config->inheritable, deadline, config->name);
    else if (receives)
        result = wherry__fifo_open_reader(&state->fifo, state->path, config->mode, config->inheritable, config->name);
    else
        result = wherry__fifo_open_writer(&state->fifo, state->path, config->mode, config->side == WHERRY_LISTEN,
                                          config->inheritable, deadline, config->name);
    if (result == 0)
        result = check_owner(state, config);
    if (result < 0)
        return result;
    state->single.link.in_fd = receives ? state->fifo.fd : -1;
    state->single.link.out_fd = receives ? -1 : state->fifo.fd;
    if (!receives)
        state->fifo.fd = -1; /* the link's from here on; a reader's is renewed after each end */
    state->single.link.fifo = true;
    state->single.link.exact = wherry__reads_exactly(config, false);
    result = wherry__pipe_resize(receives ? state->single.link.in_fd : state->single.link.out_fd, config->capacity,
                                 config->name);
    return result < 0 ? result : wherry__single_start(endpoint);
}

/* The last writer went.  Without a new descriptor poll would say so for ever (H37). */
static int renew(struct wherry__endpoint *endpoint)
{
    struct fifo_state *state = endpoint->state;
    struct wherry__link *link = &state->single.link;
    wherry__wait_remove(&endpoint->receiving, link->in_fd);
    int result = wherry__fifo_renew_reader(&state->fifo, endpoint->config->inheritable, endpoint->config->name);
    link->in_fd = state->fifo.fd;
    link->ended = link->seen = link->skipping = false;
    int started = wherry__single_start(endpoint);
    return result < 0 ? result : started;
}

static int fifo_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    int result = wherry__single_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result != 0)
        return result;
    return renew(endpoint);
}

static void fifo_close(struct wherry__endpoint *endpoint, bool own)
{
    struct fifo_state *state = endpoint->state;
    if (own && state->path)
        wherry__fifo_remove(&state->fifo, state->path);
    if (state->single.link.in_fd >= 0)
        state->fifo.fd = -1; /* the link closes it */
    wherry__single_close(endpoint, own);
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->fifo.fd);
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->fifo.claim_fd);
}

const struct wherry__transport wherry__transport_fifo = {
    .traits =
        {
            .scheme = "fifo",
            .summary = "a named pipe; cat and the shell can sit at the other end",
            .object = "FIFO",
            .sample = "fifo://{path}",
            .bits = WHERRY__PIPE_TRAITS,
        },
    .options = WHERRY__OPTION_SIDE | WHERRY__OPTION_FRAME | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_MODE |
               WHERRY__OPTION_WRITERS | WHERRY__OPTION_READ_AHEAD | WHERRY__OPTION_UID,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE,
    .state_size = sizeof(struct fifo_state),
    .open = fifo_open,
    WHERRY__SINGLE_SLOTS,
    .try_borrow = fifo_try_borrow,
    .close = fifo_close,
};
