/* bench/lane.h - one direction over any entry of wherry_transports(), whatever it needs to be opened.
 *
 * SPDX-License-Identifier: MIT
 *
 * The demo and the benches both walk the table of transports without knowing what is in it: pairs are made before the
 * fork, descriptors come from a pipe, everything else from the sample URL with its blanks filled in. */
#ifndef BENCH_LANE_H
#define BENCH_LANE_H

#include <stdbool.h>
#include <wherry/wherry.h>

struct lane {
    const struct wherry_traits *traits;
    struct wherry_channel_options options; /* of both ends */
    char url[2][512];                      /* of the end that receives, of the end that sends */
    struct wherry_channel *pair[2];        /* the same, where the transport comes as a pair */
    int fds[2];                            /* the same, where it needs descriptors */
};

/* The transport of that scheme, or NULL. */
const struct wherry_traits *lane_find(const char *scheme);

/* Say in the options that the receiver has its descriptor to itself, where the transport would assume otherwise. */
void lane_alone(const struct wherry_traits *traits, struct wherry_channel_options *options);

/* In the parent, before the fork.   Returns 0 or -errno, wherry_why() says more. */
int lane_prepare(struct lane *lane, const struct wherry_traits *traits, const struct wherry_channel_options *options);

/* In the process at one end: 1 sends, 0 receives. */
int lane_open(struct lane *lane, int sending, wherry_time deadline, struct wherry_channel **ret_channel);

/* Whether this process lacks a right that the transport asks for; wherry_why() names it. */
bool lane_forbidden(const struct wherry_traits *traits);

/* In the parent, after the fork. */
void lane_drop(struct lane *lane);

/* In the parent, when both processes are done: what outlives them goes. */
void lane_remove(struct lane *lane);

#endif
