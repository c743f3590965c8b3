/* wherry/rwlock.h - a lock in memory that processes share: many readers, or one writer; it survives the death of any.
 *
 * SPDX-License-Identifier: MIT
 *
 * A dead reader is of no consequence.  After the death of a writer the data may be half changed: readers are refused
 * with -EOWNERDEAD, and the next writer gets the lock, and -EOWNERDEAD.  It repairs the data, says
 * wherry_rwlock_consistent(), and goes on; unlocked without, the lock stays as it is, for another writer to repair.
 *
 * Once a writer waits, no new reader goes before it.  Up to WHERRY_RWLOCK_READERS read at once; more wait.
 *
 * Memory and PID namespaces are as for wherry/mutex.h, whose wherry_mutex_may_unmap() sees these locks, too.
 *
 * Threads: any, of any process.  Fork: a child may use what its parent made, and does not hold what its parent
 * holds. Signals: none of it in a handler.  A signal never ends a wait.  wherry_rwlock(3). */
#ifndef WHERRY_RWLOCK_H
#define WHERRY_RWLOCK_H

#include <stdint.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WHERRY_RWLOCK_READERS 32

/* 2176 bytes on every machine.  What is in them is the library's. */
struct wherry_rwlock {
    uint64_t memory[272];
} __attribute__((aligned(64)));

/* Make a lock of this memory, free, whatever the memory held.  Returns and errors as wherry_mutex_init(). */
WHERRY_API int wherry_rwlock_init(struct wherry_rwlock *lock);

/* The end of it, as wherry_mutex_fini(). */
WHERRY_API int wherry_rwlock_fini(struct wherry_rwlock *lock);

/* Take it for reading, waiting until `deadline`.  A thread reads once at a time. Returns 0, and the caller holds
 * it.  All else is without it: -EAGAIN and -ETIMEDOUT; -EOWNERDEAD, a writer died, and no other has repaired the
 * data; -EDEADLK, this thread would wait for itself; -EXDEV; -EINVAL, this is no lock. */
WHERRY_API int wherry_rwlock_read(struct wherry_rwlock *lock, wherry_time deadline);

/* Take it for writing, waiting until `deadline`.
 * Returns 0 or -EOWNERDEAD, and the caller holds it: after -EOWNERDEAD it repairs the data.  All else is without it:
 * -EAGAIN and -ETIMEDOUT; -EDEADLK, this thread has it already, for writing or reading; -EXDEV; -EINVAL, no lock. */
WHERRY_API int wherry_rwlock_write(struct wherry_rwlock *lock, wherry_time deadline);

/* After -EOWNERDEAD, by the writer that got it: the data are whole again.  Returns 0; -EINVAL, nothing was broken;
 * -EPERM, this thread does not hold it for writing. */
WHERRY_API int wherry_rwlock_consistent(struct wherry_rwlock *lock);

/* Give it up, however it was taken.  Returns 0; -EPERM, this thread does not hold it; -EINVAL, this is no lock. */
WHERRY_API int wherry_rwlock_unlock(struct wherry_rwlock *lock);

#ifdef __cplusplus
}
#endif
#endif
