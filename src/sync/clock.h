/* sync/clock.h - owns waiting for the C library's locks and semaphores by the monotonic clock.
 *
 * SPDX-License-Identifier: MIT
 *
 * glibc's calls take a clock.  musl's go by the time of day, but sleep for the time that is left as they begin; so
 * there the wait is of steps, and a clock that is set changes the length of one of them at most. */
#ifndef WHERRY_SYNC_CLOCK_H
#define WHERRY_SYNC_CLOCK_H

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "base/time.h"

static inline struct timespec wherry__timespec(wherry_time time)
{
    return (struct timespec){.tv_sec = (time_t)(time / WHERRY_SECOND), .tv_nsec = (long)(time % WHERRY_SECOND)};
}

/* The next step of a wait until the deadline, by the time of day. */
static inline struct timespec wherry__step_of_day(wherry_time deadline)
{
    struct timespec now;
    wherry_time left = deadline - wherry_now();
    clock_gettime(CLOCK_REALTIME, &now);
    left = left < 0 ? 0 : left > WHERRY_SECOND ? WHERRY_SECOND : left;
    return wherry__timespec((wherry_time)now.tv_sec * WHERRY_SECOND + now.tv_nsec + left);
}

/* As pthread_mutex_clocklock(3) by CLOCK_MONOTONIC. */
static inline int wherry__mutex_lock_by(pthread_mutex_t *lock, wherry_time deadline)
{
#ifdef __GLIBC__
    struct timespec at = wherry__timespec(deadline);
    return pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &at);
#else
    int result;
    do {
        struct timespec at = wherry__step_of_day(deadline);
        result = pthread_mutex_timedlock(lock, &at);
    } while (result == ETIMEDOUT && wherry_now() < deadline);
    return result;
#endif
}

/* As sem_clockwait(3) by CLOCK_MONOTONIC. */
static inline int wherry__semaphore_wait_by(sem_t *semaphore, wherry_time deadline)
{
#ifdef __GLIBC__
    struct timespec at = wherry__timespec(deadline);
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, &at);
#else
    int result;
    do {
        struct timespec at = wherry__step_of_day(deadline);
        result = sem_timedwait(semaphore, &at);
    } while (result != 0 && errno == ETIMEDOUT && wherry_now() < deadline);
    return result;
#endif
}

#endif
