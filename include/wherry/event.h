/* wherry/event.h - in memory that processes share: something that has happened or has not, and can be waited for.
 *
 * SPDX-License-Identifier: MIT
 *
 * A plain event stays set, for all, until it is cleared.  An automatic one is taken by exactly one waiter, which clears
 * it. Whoever is killed where, nobody hangs beyond its deadline, and a set event is found within 100 ms: an automatic
 * one is lost only with a waiter that had taken it.
 *
 * The memory is as for wherry/mutex.h; an event works across PID namespaces.
 *
 * Threads: any, of any process.  Fork: fine in a child.  Signals: set() and clear() may be called in a handler.  A
 * signal never ends a wait.  futex(2), wherry_event(3). */
#ifndef WHERRY_EVENT_H
#define WHERRY_EVENT_H

#include <stdint.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WHERRY_EVENT_AUTOMATIC 1u /* taken by one waiter */

/* 64 bytes on every machine.  What is in them is the library's. */
struct wherry_event {
    uint64_t memory[8];
} __attribute__((aligned(64)));

/* Make of this memory an event that has not happened; flags: 0 or WHERRY_EVENT_AUTOMATIC.  Returns 0; -EINVAL. */
WHERRY_API int wherry_event_init(struct wherry_event *event, unsigned flags);

/* The end of it.  Who still waits gets -EIDRM.  NULL, and what is no event, are fine. */
WHERRY_API void wherry_event_fini(struct wherry_event *event);

/* It has happened: wakes all who wait, or one if automatic.  What the caller wrote before is seen by who is woken.  Set
 * already, it stays so: events are not counted.  No system call when nobody waits.  Returns 0; -EINVAL, no event. */
WHERRY_API int wherry_event_set(struct wherry_event *event);

/* It has not happened.  Who waited when it was set passes all the same, unless it is automatic.
 * Returns 1 if it was set, 0 if not; -EINVAL, this is no event. */
WHERRY_API int wherry_event_clear(struct wherry_event *event);

/* Wait until it is set; an automatic one is clear afterwards.  WHERRY_NOW asks.
 * Returns 0; -EAGAIN and -ETIMEDOUT, it was not set; -EIDRM, it was finished; -EINVAL, this is no event. */
WHERRY_API int wherry_event_wait(struct wherry_event *event, wherry_time deadline);

#ifdef __cplusplus
}
#endif
#endif
