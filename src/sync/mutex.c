/* sync/mutex.c - owns the mutex: the C library's robust one, in memory of a fixed size that says whose it is.
 *
 * SPDX-License-Identifier: MIT
 *
 * The fast way is two loads more than the C library's own.  That the fate of a holder reaches the next one is the
 * kernel's work: set_robust_list(2). */
#include <errno.h>
#include <time.h>

#include "base/futex.h"
#include "base/robust.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/clock.h"
#include "sync/mutex_memory.h"

#define MAGIC (UINT32_C(0x6d780000) | WHERRY__LOCK_KIND)

static struct wherry__mutex_memory *memory_of(struct wherry_mutex *mutex)
{
    return (struct wherry__mutex_memory *)mutex;
}

/* ---- what an rwlock has, too ---- */

int wherry__lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    int code = pthread_mutexattr_init(&attributes);
    if (code)
        return wherry__fail_errno(code, "no attributes of a mutex");
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    code = pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return code ? wherry__fail_errno(code, "no robust mutex between processes") : 0;
}

int wherry__lock_slowly(pthread_mutex_t *lock, int result, wherry_time deadline)
{
    if (result != EBUSY || wherry__deadline_passed(deadline))
        return result;
    if (deadline == WHERRY_FOREVER)
        return pthread_mutex_lock(lock);
    return wherry__mutex_lock_by(lock, deadline);
}

int wherry__lock_namespace(uint64_t pid_namespace, const void *memory, const char *noun)
{
    uint64_t own = wherry__pid_namespace();
    int result = own ? 0 : wherry__pid_namespace_find(&own);
    if (result < 0 || own == pid_namespace)
        return result;
    return wherry__fail(EXDEV,
                        "the %s at %p was made in another PID namespace, where the numbers of its holders mean other "
                        "threads: let all who use it run in one, or make it anew",
                        noun, memory);
}

/* ---- the mutex ---- */

/* glibc's trylock (2.36, nptl/pthread_mutex_trylock.c) says ENOTRECOVERABLE of a mutex that was given up, and keeps
 * its word, so that others wait for ever.  Asking first leaves that to the moment in which it is being given up;
 * then the word is given back here. */
static void give_word_back(pthread_mutex_t *lock)
{
#ifdef __GLIBC__
    uint32_t *word = (uint32_t *)&lock->__data.__lock;
    if (wherry__lock_holder(lock) == wherry__thread_id() &&
        __atomic_exchange_n(word, 0, __ATOMIC_RELEASE) & FUTEX_WAITERS)
        wherry__futex_wake_some((const _Atomic uint32_t *)word, 1);
#else
    (void)lock;
#endif
}

static inline int try_lock(pthread_mutex_t *lock)
{
    if (__builtin_expect(wherry__lock_is_given_up(lock), 0))
        return ENOTRECOVERABLE;
    int result = pthread_mutex_trylock(lock);
    if (__builtin_expect(result == ENOTRECOVERABLE, 0))
        give_word_back(lock);
    return result;
}

static int refuse(const struct wherry__mutex_memory *memory)
{
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(memory, "mutex");
    return wherry__lock_namespace(memory->pid_namespace, memory, "mutex"); /* 0: this process had not asked yet */
}

static inline int usable(const struct wherry__mutex_memory *memory)
{
    if (wherry__sync_is(&memory->magic, MAGIC) && __builtin_expect(memory->pid_namespace == wherry__pid_namespace(), 1))
        return 0;
    return refuse(memory);
}

/* Did not lock, or did with something to say.  `result`: as pthreads have it. */
static int tell(int result, const struct wherry__mutex_memory *memory, wherry_time deadline)
{
    switch (result) {
    case 0:
        return 0;
    case EBUSY:
    case ETIMEDOUT:
        return wherry__sync_late(deadline, "somebody holds the mutex; try again, or give a deadline to wait until",
                                 "the mutex was somebody else's until the deadline");
    case EOWNERDEAD:
        return wherry__fail_quietly(EOWNERDEAD,
                                    "the last holder of the mutex died, and the mutex is this thread's now: "
                                    "repair what it protects, then call wherry_mutex_consistent()");
    case ENOTRECOVERABLE:
        return wherry__fail(ENOTRECOVERABLE,
                            "the mutex at %p was given up: its holder died, and the next one unlocked it without "
                            "wherry_mutex_consistent(); put right what it protects, and make the mutex anew",
                            (const void *)memory);
    case EDEADLK:
        return wherry__fail(EDEADLK, "this thread holds the mutex at %p already, and would wait for itself",
                            (const void *)memory);
    default:
        return wherry__fail_errno(result, "the mutex at %p", (const void *)memory);
    }
}

int wherry_mutex_init(struct wherry_mutex *mutex)
{
    struct wherry__mutex_memory *memory = memory_of(mutex);
    uint64_t pid_namespace;
    int result = wherry__sync_aligned(mutex, "mutex");
    if (result < 0 || (result = wherry__pid_namespace_find(&pid_namespace)) < 0)
        return result;
    atomic_store_explicit(&memory->magic, 0, memory_order_relaxed);
    if ((result = wherry__lock_init(&memory->lock)) < 0)
        return result;
    memory->pid_namespace = pid_namespace;
    memory->unused = 0;
    /* pairs with the acquire in wherry__sync_is() */
    atomic_store_explicit(&memory->magic, MAGIC, memory_order_release);
    return 0;
}

int wherry_mutex_fini(struct wherry_mutex *mutex)
{
    struct wherry__mutex_memory *memory = memory_of(mutex);
    char name[64];
    if (!mutex || !wherry__sync_is(&memory->magic, MAGIC))
        return 0;
    int result = usable(memory);
    if (result < 0)
        return result;
    result = try_lock(&memory->lock);
    if (result == EBUSY || result == EDEADLK)
        return wherry__fail(EBUSY, "%s holds the mutex at %p: it must unlock it before it can be ended",
                            wherry__process_name(wherry__lock_holder(&memory->lock), name), (void *)mutex);
    atomic_store_explicit(&memory->magic, 0, memory_order_relaxed);
    if (result == EOWNERDEAD)
        pthread_mutex_consistent(&memory->lock);
    if (result == 0 || result == EOWNERDEAD)
        pthread_mutex_unlock(&memory->lock);
    pthread_mutex_destroy(&memory->lock);
    return 0;
}

int wherry_mutex_lock(struct wherry_mutex *mutex, wherry_time deadline)
{
    struct wherry__mutex_memory *memory = memory_of(mutex);
    int result = usable(memory);
    if (__builtin_expect(result < 0, 0))
        return result;
    result = try_lock(&memory->lock);
    if (__builtin_expect(result == 0, 1))
        return 0;
    return tell(wherry__lock_slowly(&memory->lock, result, deadline), memory, deadline);
}

int wherry_mutex_consistent(struct wherry_mutex *mutex)
{
    struct wherry__mutex_memory *memory = memory_of(mutex);
    int result = usable(memory);
    if (result < 0)
        return result;
    pid_t holder = wherry__lock_holder(&memory->lock); /* the C library does not ask who calls */
    if ((holder && holder != wherry__thread_id()) || pthread_mutex_consistent(&memory->lock) != 0)
        return wherry__fail(EINVAL,
                            "nothing is to be repaired: this thread does not hold the mutex at %p after "
                            "-EOWNERDEAD",
                            (void *)mutex);
    return 0;
}

int wherry_mutex_unlock(struct wherry_mutex *mutex)
{
    struct wherry__mutex_memory *memory = memory_of(mutex);
    char name[64];
    int result = usable(memory);
    if (__builtin_expect(result < 0, 0))
        return result;
    result = pthread_mutex_unlock(&memory->lock);
    if (__builtin_expect(result == 0, 1))
        return 0;
    pid_t holder = wherry__lock_holder(&memory->lock);
    return wherry__fail(result, "this thread does not hold the mutex at %p: %s does", (void *)mutex,
                        holder ? wherry__process_name(holder, name) : "nobody");
}

int wherry_mutex_may_unmap(const void *memory, size_t size)
{
    char name[64];
    pid_t holder = wherry__robust_holder(memory, size);
    if (!holder)
        return 0;
    return wherry__fail(
        EBUSY,
        "%s, a thread of this process, holds a mutex or an rwlock in the %zu bytes at %p: it must unlock "
        "it before they can be unmapped",
        wherry__process_name(holder, name), size, memory);
}
