/* wherry/mutex.h - a lock in memory that processes share, which survives the death of its holder.
 *
 * SPDX-License-Identifier: MIT
 *
 * The memory is the caller's: MAP_SHARED, the same in all processes, at any address in each, aligned to 64 bytes.  One
 * of them calls wherry_mutex_init() before another can see it (a segment that is published afterwards).  It must not
 * outlive a reboot: /dev/shm or a memfd, not a file on a disk.
 *
 * When a thread or process dies holding the mutex, the next one to take it gets it, and -EOWNERDEAD: what the mutex
 * protects may be half changed.  It repairs that, says wherry_mutex_consistent(), and goes on; unlocked without, the
 * mutex is -ENOTRECOVERABLE for all, for good.
 *
 * The kernel knows a holder by its thread's number, which means something in one PID namespace only: all who use a
 * mutex live in the namespace of the one who made it, others get -EXDEV.
 *
 * Threads: any, of any process.  Fork: a child may use what its parent made, and does not hold what its parent
 * holds. Signals: none of it in a handler.  A signal never ends a wait.  pthread_mutexattr_setrobust(3),
 * set_robust_list(2), wherry_mutex(3). */
#ifndef WHERRY_MUTEX_H
#define WHERRY_MUTEX_H

#include <stddef.h>
#include <stdint.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 64 bytes on every machine.  What is in them is the library's. */
struct wherry_mutex {
    uint64_t memory[8];
} __attribute__((aligned(64)));

/* Make a mutex of this memory, free, whatever the memory held.  Returns 0; -EINVAL (memory that is not aligned), and
 * what the kernel says when /proc/self/ns/pid cannot be read. */
WHERRY_API int wherry_mutex_init(struct wherry_mutex *mutex);

/* The end of a mutex that nobody holds or waits for: its memory may be unmapped or used for something else.  NULL,
 * and what is no mutex, are fine.  Returns 0; -EBUSY when somebody alive holds it: it stays as it is; -EXDEV. */
WHERRY_API int wherry_mutex_fini(struct wherry_mutex *mutex);

/* Take the mutex, waiting until `deadline` (WHERRY_NOW tries once). Returns 0 or -EOWNERDEAD, and the caller holds
 * it: after -EOWNERDEAD it repairs what is protected and calls wherry_mutex_consistent().  All else is without it:
 * -EAGAIN and -ETIMEDOUT, somebody holds it; -EDEADLK, this thread does; -ENOTRECOVERABLE, somebody gave it up
 * without a repair; -EXDEV; -EINVAL, this is no mutex. */
WHERRY_API int wherry_mutex_lock(struct wherry_mutex *mutex, wherry_time deadline);

/* After -EOWNERDEAD, by the thread that got it: what is protected is whole again.
 * Returns 0; -EINVAL, the last holder did not die, or this thread does not hold it. */
WHERRY_API int wherry_mutex_consistent(struct wherry_mutex *mutex);

/* Give it up.  Returns 0; -EPERM, this thread does not hold it; -EINVAL, this is no mutex. */
WHERRY_API int wherry_mutex_unlock(struct wherry_mutex *mutex);

/* Before memory is unmapped: does a thread of this process hold a mutex or a wherry_rwlock (or a robust mutex of
 * pthreads) in it?  If it were unmapped, nobody would ever learn of that thread's death, and the kernel might write
 * into what is mapped there next.  Exact for the calling thread; of the others it sees what they do not change
 * meanwhile, and nothing where the kernel hides their lists.
 * Returns 0 or -EBUSY; wherry_why() names the thread. */
WHERRY_API int wherry_mutex_may_unmap(const void *memory, size_t size);

#ifdef __cplusplus
}
#endif
#endif
