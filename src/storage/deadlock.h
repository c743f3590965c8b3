/* storage/deadlock.h - whether those who wait for locks, wait for each other.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel finds deadlocks among classic locks that it waits for itself, and among no others.  Here a waiter finds
 * them, from what /proc says of holders and from the notes of waiters: best effort, and never in doubt.  A process is
 * stuck when each of its threads waits for a lock; a cycle counts when the same one is seen at two looks. */
#ifndef WHERRY_STORAGE_DEADLOCK_H
#define WHERRY_STORAGE_DEADLOCK_H

#include <stdbool.h>
#include <wherry/base.h>

#include "storage/lock.h"
#include "storage/waits.h"

struct wherry__deadlock {
    const struct wherry_lock *lock;
    wherry_time next, span; /* when to look again, and how long after the last time */
    unsigned sightings;
    uint64_t cycle; /* which one it was */
    struct wherry__wait wait;
    char note[WHERRY__WAIT_NAME]; /* "" before it was left */
};

void wherry__deadlock_begin(struct wherry__deadlock *deadlock, const struct wherry_lock *lock,
                            const struct wherry__want *want);
/* At each step of the wait.  True: give up, with the sentence set. */
bool wherry__deadlock_look(struct wherry__deadlock *deadlock);
void wherry__deadlock_end(struct wherry__deadlock *deadlock);

#endif
