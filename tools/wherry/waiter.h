/* waiter.h - one wait on many endpoints, for verbs that serve several at once.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each turn: waiter_begin(), what is to be received from, what is to be sent to, waiter_wait().  The descriptors of
 * endpoints may be readable although nothing can be had: the one for sending is while any peer has room, also when the
 * one that matters has none.  After a few turns that brought nothing those are left out and looked after in steps of up
 * to 10 ms; those for receiving stay, so that nobody's message waits for that, unless they keep us busy in vain,
 * too. */
#ifndef WHERRY_TOOL_WAITER_H
#define WHERRY_TOOL_WAITER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <wherry/wherry.h>

struct waiter {
    struct pollfd *fds; /* the signals' own, those for receiving, those for sending */
    size_t capacity;
    size_t receiving, count; /* so many up to the last for receiving; in all */
    bool deaf;               /* set by the verb once it has taken notice of a signal: no more waking for it */
    bool blind;              /* an endpoint without a descriptor takes part: look again in steps */
    unsigned idle;           /* turns in a row that brought nothing */
    wherry_time until;       /* the earliest time that matters */
};

void waiter_begin(struct waiter *waiter, wherry_time deadline);

/* Take part: wait until something can be received, or sent. */
void waiter_receives(struct waiter *waiter, struct wherry_channel *channel);
void waiter_sends(struct waiter *waiter, struct wherry_channel *channel);

/* Likewise until this descriptor of the verb's own is readable. */
void waiter_reads(struct waiter *waiter, int fd);

/* Not beyond this time. */
void waiter_not_after(struct waiter *waiter, wherry_time time);

/* Wait for any of them, a signal or the time.  `progress`: the turn before brought something. */
void waiter_wait(struct waiter *waiter, bool progress);

void waiter_fini(struct waiter *waiter);

#endif
