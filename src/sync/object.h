/* sync/object.h - what the objects in shared memory have in common: how one is known, and how one is waited for.
 *
 * SPDX-License-Identifier: MIT
 *
 * The first word of each is a magic of its kind, written last when it is made and first when it is ended.  All fields
 * are of fixed width, and no field is an address: each process has the memory at another (H17).
 *
 * Nothing here is known to be alive by a count that somebody must take down again: whoever is killed takes nothing
 * down. So `waiters` of any object may be too high for ever, which costs a system call, and is never too low. */
#ifndef WHERRY_SYNC_OBJECT_H
#define WHERRY_SYNC_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/base.h>

/* No sleep is longer: a wake-up that was lost with a process that died between publishing and waking (H24), or between
 * waking up and passing it on, is made good by then. */
#define WHERRY__SYNC_TICK (100 * WHERRY_MILLISECOND)

_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "locks of other processes are not ours");

/* Memory that a caller declared as something of uint64_t, seen as what it is. */
#define WHERRY__SYNC_MEMORY __attribute__((may_alias))

/* Refuse memory that is not aligned to 64 bytes: 0 or -EINVAL. */
int wherry__sync_aligned(const void *memory, const char *noun);

static inline bool wherry__sync_is(const _Atomic uint32_t *magic, uint32_t expected)
{
    /* pairs with the release that wrote it: all of the object is there */
    return __builtin_expect(atomic_load_explicit(magic, memory_order_acquire) == expected, 1);
}

/* -EINVAL: there is no such object in this memory. */
int wherry__sync_is_none(const void *memory, const char *noun);

/* Sleep while *word is `seen`, until it is changed and woken, the deadline comes, or a tick is over: the caller looks
 * again.  0; -errno when the kernel does not let us sleep. */
int wherry__sync_sleep(const _Atomic uint64_t *word, uint64_t seen, wherry_time deadline);

/* How a call ends that got nothing, with constant sentences: -EAGAIN and `now`, or -ETIMEDOUT and `later`. */
int wherry__sync_late(wherry_time deadline, const char *now, const char *later);
int wherry__sync_ended(void);

#endif
