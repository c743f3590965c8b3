/* wherry/barrier.h - in memory that processes share: a place where so many wait until all have come.
 *
 * SPDX-License-Identifier: MIT
 *
 * A party that gives up at its deadline has not come: the others wait for it, or for somebody else.  A party that is
 * killed while it waits has come.  Nobody hangs beyond its deadline, whoever is killed where.
 *
 * The memory is as for wherry/mutex.h; a barrier works across PID namespaces.
 *
 * Threads: any, of any process.  Fork: fine in a child.  Signals: not in a handler.  A signal never ends a wait.
 * futex(2), wherry_barrier(3). */
#ifndef WHERRY_BARRIER_H
#define WHERRY_BARRIER_H

#include <stdint.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WHERRY_BARRIER_MOST 65535 /* parties */

/* 64 bytes on every machine.  What is in them is the library's. */
struct wherry_barrier {
    uint64_t memory[8];
} __attribute__((aligned(64)));

/* Make of this memory a barrier for so many parties, 1 to WHERRY_BARRIER_MOST.  Returns 0; -EINVAL. */
WHERRY_API int wherry_barrier_init(struct wherry_barrier *barrier, unsigned parties);

/* The end of it.  Who still waits gets -EIDRM.  NULL, and what is no barrier, are fine. */
WHERRY_API void wherry_barrier_fini(struct wherry_barrier *barrier);

/* Come, and wait until all have come.  Then the barrier is as new, for the next time. Returns 1 to the last one to
 * come, 0 to the others; -ETIMEDOUT, the others did not come in time; -EAGAIN, the same with WHERRY_NOW,
 * and others were missing; after both it is as if this party had never come.  -EIDRM, the barrier was finished;
 * -EINVAL, this is no barrier. */
WHERRY_API int wherry_barrier_wait(struct wherry_barrier *barrier, wherry_time deadline);

#ifdef __cplusplus
}
#endif
#endif
