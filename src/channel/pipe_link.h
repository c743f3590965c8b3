/* channel/pipe_link.h - what pipe:, fd: on a pipe, and fifo: share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_CHANNEL_PIPE_LINK_H
#define WHERRY_CHANNEL_PIPE_LINK_H

#include "channel/link.h"

#define WHERRY__PIPE_TRAITS                                                                                            \
    (WHERRY_TRAIT_STREAM | WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_READS_AHEAD |                 \
     WHERRY_TRAIT_KEEPS_TAIL | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_ENDS | WHERRY_TRAIT_KNOWS_RECEIVERS |                 \
     WHERRY_TRAIT_NOTICES_DEATH | WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_TYPES)

static inline void wherry__pipe_link_init(struct wherry__link *link, struct wherry__endpoint *endpoint, int in_fd,
                                          int out_fd)
{
    wherry__link_init(link, endpoint->config, &endpoint->counters);
    link->kind = WHERRY__LINK_PIPE;
    link->in_fd = in_fd;
    link->out_fd = out_fd;
    link->atoms = endpoint->config->writers != 1; /* unless a single writer was promised there may be several */
}

#endif
