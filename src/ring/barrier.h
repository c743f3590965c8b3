/* ring/barrier.h - the barrier that one side pays for both.
 *
 * SPDX-License-Identifier: MIT
 *
 * Store here, load there, on both sides (Dekker): without a full fence on each side both may miss the other's store.  A
 * fence in every send and receive costs more than all the rest.  membarrier(2), GLOBAL_EXPEDITED, makes every running
 * thread of every registered process pass a full fence, so that the side that is seldom there, the sleeper, pays for
 * both. */
#ifndef WHERRY_RING_BARRIER_H
#define WHERRY_RING_BARRIER_H

#include <stdatomic.h>
#include <stdbool.h>

/* Register this process; false when the kernel has no such barrier.  Cheap after the first time, also after fork(). */
bool wherry__barrier_register(void);
/* The heavy side: all others pass a fence before it returns. */
void wherry__barrier_all(bool fenced);

/* The light side. */
static inline void wherry__barrier_light(bool fenced)
{
    if (__builtin_expect(fenced, 0))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst); /* the compiler alone */
}

#endif
