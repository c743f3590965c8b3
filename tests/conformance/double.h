/* tests/conformance/double.h - a transport that breaks one clause, to see that the suite catches it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The double wraps a real transport slot by slot.  Messages pass through a queue of its own, in which a breakage can
 * cut, swap, lose or double them; unbroken, it keeps the whole contract. */
#ifndef WHERRY_TESTS_DOUBLE_H
#define WHERRY_TESTS_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/transport.h"

/* A message in the double's own memory. */
struct held {
    struct held *next;
    struct wherry_loan loan; /* data points behind the struct */
    size_t fd_count; /* descriptors that came with it and that nobody has taken */
    int fds[8];
};

/* What the double knows of an endpoint besides its transport's state. */
struct side {
    struct wherry__endpoint *endpoint;
    struct held *first, **last; /* messages taken from the transport and not yet given back */
    struct held *spent;         /* given back, its memory still to be looked at */
    unsigned pulled, sent;      /* messages so far */
    unsigned ends;
    int extra_fd; /* a descriptor that should not be there, or -1 */
    uint64_t closes_seen;
    wherry_time heard; /* when something last came */
    bool bad;
};

struct breakage {
    const char *name;   /* the clause leads: "06_consumes_what_did_not_fit" */
    const char *scheme; /* of the transport that it stands in for */
    const char *frame;  /* ",line" where the subject's framing matters, or "" */
    void (*apply)(struct wherry__transport *transport);
};

/* The list, ends with a NULL name. */
extern const struct breakage breakages[];

/* If WHERRY_DOUBLE names a breakage, or "unbroken:SCHEME", let that double stand in from now on. */
void double_install(void);

/* For the breakages: the transport inside, the side of an endpoint, and what all processes of a test share. */
extern const struct wherry__transport *double_real;
struct side *double_side(struct wherry__endpoint *endpoint);
struct double_shared {
    _Atomic uint64_t closes; /* senders that left by close */
};
extern struct double_shared *double_shared;

/* Hooks into the queue: what to do with a message just taken from the transport, before it is in the queue.  Returns
 * how many copies of it go there. */
extern unsigned (*double_on_message)(struct side *side, struct held *held);
/* Whether the one just taken goes before the one taken before it. */
extern bool (*double_on_order)(struct side *side);

/* The double's slots, for breakages that do more around them. */
int double_open(struct wherry__endpoint *endpoint, wherry_time deadline);
int double_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan);
void double_give_back(struct wherry__endpoint *endpoint);
bool double_ready(struct wherry__endpoint *endpoint);
void double_close(struct wherry__endpoint *endpoint, bool own);
int double_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to, wherry_time deadline);

#endif
