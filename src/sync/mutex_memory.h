/* sync/mutex_memory.h - the memory of a mutex, and what rwlocks and conditions need of it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The lock within is the C library's robust, process-shared mutex (docs/decisions/mutex.md); so the magic also says
 * which C library, of how many bits, can use it. */
#ifndef WHERRY_SYNC_MUTEX_MEMORY_H
#define WHERRY_SYNC_MUTEX_MEMORY_H

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/types.h>
#include <wherry/mutex.h>

#include "base/fd.h"
#include "sync/object.h"

#ifdef __GLIBC__
#define WHERRY__LIBC 1u
#else
#define WHERRY__LIBC 2u
#endif
#define WHERRY__LOCK_KIND (WHERRY__LIBC << 8 | (uint32_t)sizeof(pthread_mutex_t))

struct WHERRY__SYNC_MEMORY wherry__mutex_memory {
    _Atomic uint32_t magic;
    uint32_t unused;
    uint64_t pid_namespace; /* of who made it; never changes */
    pthread_mutex_t lock;
};
_Static_assert(sizeof(struct wherry__mutex_memory) <= sizeof(struct wherry_mutex), "room");
_Static_assert(sizeof(struct wherry_mutex) == 64 && _Alignof(struct wherry_mutex) == 64, "what the header promises");

/* Make the lock: 0 or -errno. */
int wherry__lock_init(pthread_mutex_t *lock);

/* Take it, after a try that said `result` (a positive errno, as pthreads have them), by the deadline.  0,
 * EOWNERDEAD: taken; EBUSY: the deadline was past; ETIMEDOUT, EDEADLK, ENOTRECOVERABLE. */
int wherry__lock_slowly(pthread_mutex_t *lock, int result, wherry_time deadline);

/* May this process use what was made in that PID namespace?  0; -EXDEV; -errno. */
int wherry__lock_namespace(uint64_t pid_namespace, const void *memory, const char *noun);

/* The kernel's word of the lock: the holder's number, and whether it died. */
static inline uint32_t wherry__lock_word(const pthread_mutex_t *lock)
{
#ifdef __GLIBC__
    return __atomic_load_n((const uint32_t *)&lock->__data.__lock, __ATOMIC_RELAXED);
#else
    (void)lock;
    return 0; /* nobody known */
#endif
}

/* Was it unlocked after a death, without a repair?  glibc keeps that in the owner's place
 * (PTHREAD_MUTEX_NOTRECOVERABLE of its nptl/pthreadP.h; processes with different versions of it share mutexes, so it
 * is fixed). */
static inline bool wherry__lock_is_given_up(const pthread_mutex_t *lock)
{
#ifdef __GLIBC__
    return __atomic_load_n(&lock->__data.__owner, __ATOMIC_RELAXED) == INT_MAX - 1;
#else
    (void)lock;
    return false;
#endif
}

static inline pid_t wherry__lock_holder(const pthread_mutex_t *lock)
{
    uint32_t word = wherry__lock_word(lock);
    return word & FUTEX_OWNER_DIED ? 0 : (pid_t)(word & FUTEX_TID_MASK);
}

#endif
