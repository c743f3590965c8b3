/* waiter.h - one wait on many endpoints, for verbs that serve several at once.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each turn: waiter_begin(), waiter_add() what is of interest, waiter_wait().  The descriptors of endpoints may be
 * readable although nothing can be had; turns that bring nothing again and again are slowed down to 10 ms, so that no
 * such descriptor costs a processor. */
#ifndef WHERRY_TOOL_WAITER_H
#define WHERRY_TOOL_WAITER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <wherry/base.h>

struct waiter {
    struct pollfd *fds;
    size_t count, capacity;
    bool deaf;         /* set by the verb once it has taken notice of a signal: no more waking for it */
    bool blind;        /* an endpoint without a descriptor takes part: look again in steps */
    unsigned idle;     /* turns in a row that brought nothing */
    wherry_time until; /* the earliest time that matters */
};

void waiter_begin(struct waiter *waiter, wherry_time deadline);

/* Take part: a descriptor of wherry_channel_receive_fd() or _send_fd(), or the error they gave. */
void waiter_add(struct waiter *waiter, int fd);

/* Not beyond this time. */
void waiter_not_after(struct waiter *waiter, wherry_time time);

/* Wait for any of them, a signal or the time.  `progress`: the turn before brought something. */
void waiter_wait(struct waiter *waiter, bool progress);

void waiter_fini(struct waiter *waiter);

#endif
