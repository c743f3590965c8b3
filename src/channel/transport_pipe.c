/* channel/transport_pipe.c - pipe: a pair of endpoints on one pipe, for a family of processes.
 *
 * SPDX-License-Identifier: MIT */
#include "base/fd.h"
#include "channel/pipe_link.h"
#include "channel/single.h"
#include "stream/pipe.h"

struct pipe_state {
    struct wherry__single single;
    bool claimed; /* this process is the pipe's receiver */
};

static int pipe_pair(struct wherry__endpoint *endpoints[2])
{
    int fds[2] = {-1, -1};
    const struct wherry__config *config = endpoints[0]->config;
    int result = wherry__pipe_create(fds, config->inheritable);
    for (int i = 0; i < 2; i++) {
        struct pipe_state *state = endpoints[i]->state;
        wherry__pipe_link_init(&state->single.link, endpoints[i], i == 0 ? fds[0] : -1, i == 0 ? -1 : fds[1]);
        state->single.link.exact = wherry__reads_exactly(config, false);
        state->claimed = !config->inheritable; /* nobody else can have it */
    }
    if (result == 0)
        result = wherry__pipe_resize(fds[1], config->capacity, config->name);
    for (int i = 0; i < 2 && result == 0; i++)
        result = wherry__single_start(endpoints[i]);
    return result;
}

/* The first receive of each process of the family: from here on it is the pipe's receiver.  A descriptor of its own
 * gives the lock an owner that dies with this process alone; without /proc the lock is left out. */
static int claim(struct wherry__endpoint *endpoint)
{
    struct pipe_state *state = endpoint->state;
    struct wherry__link *link = &state->single.link;
    int own = wherry__pipe_reopen(link->in_fd, false, true);
    if (own >= 0) {
        int result = wherry__pipe_claim_reading(own, endpoint->config->name);
        if (result < 0) {
            wherry__fd_close(&own);
            return result;
        }
        wherry__wait_remove(&endpoint->receiving, link->in_fd);
        wherry__fd_close(&link->in_fd);
        link->in_fd = own;
        result = wherry__single_start(endpoint);
        if (result < 0)
            return result;
    }
    state->claimed = true;
    return 0;
}

static int pipe_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    struct pipe_state *state = endpoint->state;
    int result = state->claimed ? 0 : claim(endpoint);
    return result < 0 ? result : wherry__single_try_borrow(endpoint, buffer, capacity, ret_loan);
}

static int pipe_adopt(struct wherry__endpoint *endpoint)
{
    struct pipe_state *state = endpoint->state;
    state->claimed = false;
    return wherry__single_adopt(endpoint);
}

const struct wherry__transport wherry__transport_pipe = {
    .traits =
        {
            .scheme = "pipe",
            .summary = "a pipe between parent and child",
            .object = "pipe",
            .sample = "pipe:",
            .bits = WHERRY_TRAIT_PAIR | WHERRY__PIPE_TRAITS | WHERRY_TRAIT_ENDS_FOR_EVER,
        },
    .options = WHERRY__OPTION_FRAME | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_WRITERS | WHERRY__OPTION_READ_AHEAD,
    .state_size = sizeof(struct pipe_state),
    .pair = pipe_pair,
    WHERRY__SINGLE_SLOTS,
    .try_borrow = pipe_try_borrow,
    .adopt = pipe_adopt,
    .descriptors = wherry__single_descriptors,
    .close = wherry__single_close,
};
