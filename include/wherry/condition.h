/* wherry/condition.h - waiting, in memory that processes share, until another process has changed something.
 *
 * SPDX-License-Identifier: MIT
 *
 * As a condition variable of pthreads, with three differences.  Whoever is killed, before, in or after any call here,
 * takes no wake-up with it for longer than 100 ms, and nobody hangs (pthread_cond_wait(3) may, for ever).  A waiter
 * learns within 100 ms that the mutex's holder died.  And no wait outlasts its deadline by more than 20 ms, even if the
 * mutex cannot be had again.
 *
 * The memory is as for wherry/mutex.h.  A condition itself works across PID namespaces; its mutex does not.
 *
 * Threads: any, of any process.  Fork: fine in a child.  Signals: signal() and broadcast() may be called in a
 * handler.  A signal never ends a wait.  futex(2), wherry_condition(3). */
#ifndef WHERRY_CONDITION_H
#define WHERRY_CONDITION_H

#include <wherry/base.h>
#include <wherry/mutex.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 64 bytes on every machine.  What is in them is the library's. */
struct wherry_condition {
    uint64_t memory[8];
} __attribute__((aligned(64)));

/* Make a condition of this memory.  Returns 0; -EINVAL (memory that is not aligned). */
WHERRY_API int wherry_condition_init(struct wherry_condition *condition);

/* The end of it.  Who still waits gets -EIDRM.  NULL, and what is no condition, are fine. */
WHERRY_API void wherry_condition_fini(struct wherry_condition *condition);

/* Unlock `mutex`, which the caller holds, wait for a signal or broadcast given after that, and lock it again.  Wake-ups
 * without a cause happen: ask in a loop for what is waited for.
 * Returns with the mutex held: 0, woken; -ETIMEDOUT; -EAGAIN, the deadline was WHERRY_NOW; -EOWNERDEAD, as
 * wherry_mutex_lock(); -EIDRM, the condition was finished; -EINVAL, this is no condition.
 * Without it: -ENOLCK, the mutex could not be had again until 20 ms after the deadline; -EPERM, the caller does not
 * hold it, or -EXDEV; -ENOTRECOVERABLE. */
WHERRY_API int wherry_condition_wait(struct wherry_condition *condition, struct wherry_mutex *mutex,
                                     wherry_time deadline);

/* Wake one waiter at least (others may find out within 100 ms), or all.  Best called with the mutex held.  No system
 * call when nobody waits.  Returns 0; -EINVAL, this is no condition. */
WHERRY_API int wherry_condition_signal(struct wherry_condition *condition);
WHERRY_API int wherry_condition_broadcast(struct wherry_condition *condition);

#ifdef __cplusplus
}
#endif
#endif
