/* base/turn.h - a lock between the threads of a process that can be waited for until a deadline and interrupted.
 *
 * SPDX-License-Identifier: MIT
 *
 * A call that sends keeps its turn while it waits, so that messages go out in one piece and in order; another thread
 * waits for the turn with its own deadline.  pthread_mutex_clocklock() would do, but nothing could interrupt it. */
#ifndef WHERRY_BASE_TURN_H
#define WHERRY_BASE_TURN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <wherry/base.h>

struct wherry__turn {
    _Atomic uint32_t word; /* 0 free, 1 taken, 2 taken and somebody sleeps */
};

/* The slow paths.  take_slowly returns 0, -ETIMEDOUT (-EAGAIN for WHERRY_NOW), or -ECANCELED as soon as
 * *interrupts differs from `seen`. */
int wherry__turn_take_slowly(struct wherry__turn *turn, wherry_time deadline, const _Atomic uint32_t *interrupts,
                             uint32_t seen);
void wherry__turn_wake(struct wherry__turn *turn);
/* Let all who wait look at their interrupt again.  Async-signal-safe. */
void wherry__turn_nudge(struct wherry__turn *turn);

static inline int wherry__turn_take(struct wherry__turn *turn, wherry_time deadline,
                                    const _Atomic uint32_t *interrupts, uint32_t seen)
{
    uint32_t free_word = 0;
    if (atomic_compare_exchange_strong_explicit(&turn->word, &free_word, 1, memory_order_acquire, memory_order_relaxed))
        return 0; /* pairs with the release in give: all that the last holder wrote is seen */
    return wherry__turn_take_slowly(turn, deadline, interrupts, seen);
}

static inline void wherry__turn_give(struct wherry__turn *turn)
{
    /* pairs with the acquire in take */
    if (atomic_exchange_explicit(&turn->word, 0, memory_order_release) == 2)
        wherry__turn_wake(turn);
}

#endif
