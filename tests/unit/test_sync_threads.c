/* tests/unit/test_sync_threads.c - owns the proof that what threads write under these locks, others see.
 *
 * SPDX-License-Identifier: MIT
 *
 * For a build with ThreadSanitizer above all: what is written in one thread and read in another is not atomic here,
 * so that only the locks order it. */
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <wherry/wherry.h>

#include "harness.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED 1
#endif
#endif
#ifndef WATCHED
#define WATCHED 0
#endif

/* ThreadSanitizer has a thread of its own, and a child that tells it the names of functions. */
#define LEAVES (WATCHED ? TEST_LEAVES_THREADS | TEST_LEAVES_PROCESSES | TEST_LEAVES_DESCRIPTORS : 0)

enum { THREADS = 4, ROUNDS = WATCHED ? 3000 : 20000 };

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "halt_on_error=1:exitcode=99";
}

/* That of clang 14 does not know this call, and so not that the mutex is held; it knows the one by the wall clock. */
int __wrap_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *deadline);
int __wrap_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *deadline)
{
    struct timespec now, wall;
    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &wall);
    wherry_time at =
        (deadline->tv_sec - now.tv_sec + wall.tv_sec) * WHERRY_SECOND + deadline->tv_nsec - now.tv_nsec + wall.tv_nsec;
    struct timespec until = {.tv_sec = at / WHERRY_SECOND, .tv_nsec = at % WHERRY_SECOND};
    return pthread_mutex_timedlock(mutex, &until);
}

static struct scene {
    struct wherry_mutex mutex;
    struct wherry_condition filled, emptied;
    struct wherry_barrier barrier;
    struct wherry_event event, answer;
    struct wherry_rwlock lock;
    long a, b, item, sum, column[THREADS];
} scene;

static void run(void *(*act)(void *argument))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, act, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static wherry_time patience(void)
{
    return wherry_after(30 * WHERRY_SECOND);
}

static void *add(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        test_is(wherry_mutex_lock(&scene.mutex, i % 2 ? WHERRY_FOREVER : patience()), 0);
        scene.a++;
        test_ok(wherry_mutex_unlock(&scene.mutex));
    }
    return NULL;
}

TEST_WITH(threads_exclude_each_other, .leaves = LEAVES)
{
    test_ok(wherry_mutex_init(&scene.mutex));
    run(add);
    ck_assert_int_eq(scene.a, THREADS * ROUNDS);
}

static void *hand_over(void *argument)
{
    bool gives = (uintptr_t)argument % 2;
    for (int i = 1; i <= ROUNDS; i++) {
        test_is(wherry_mutex_lock(&scene.mutex, patience()), 0);
        while ((scene.item == 0) != gives)
            test_is(wherry_condition_wait(gives ? &scene.emptied : &scene.filled, &scene.mutex, patience()), 0);
        if (!gives)
            scene.sum += scene.item;
        scene.item = gives ? i : 0;
        test_ok(wherry_condition_signal(gives ? &scene.filled : &scene.emptied));
        test_ok(wherry_mutex_unlock(&scene.mutex));
    }
    return NULL;
}

TEST_WITH(threads_hand_things_over, .leaves = LEAVES, .seconds = 120)
{
    test_ok(wherry_mutex_init(&scene.mutex));
    test_ok(wherry_condition_init(&scene.filled));
    test_ok(wherry_condition_init(&scene.emptied));
    run(hand_over);
    ck_assert_int_eq(scene.sum, (long)ROUNDS * (ROUNDS + 1) / 2 * (THREADS / 2));
}

static void *meet(void *argument)
{
    for (long i = 1; i <= ROUNDS / 4; i++) {
        scene.column[(uintptr_t)argument] = i;
        test_ok(wherry_barrier_wait(&scene.barrier, patience()));
        for (int t = 0; t < THREADS; t++)
            ck_assert_int_eq(scene.column[t], i);
        test_ok(wherry_barrier_wait(&scene.barrier, patience()));
    }
    return NULL;
}

TEST_WITH(threads_meet, .leaves = LEAVES, .seconds = 120)
{
    test_ok(wherry_barrier_init(&scene.barrier, THREADS));
    run(meet);
}

static void *play(void *argument)
{
    bool first = (uintptr_t)argument == 0;
    if ((uintptr_t)argument > 1)
        return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        if (first)
            scene.b++;
        if (first)
            test_ok(wherry_event_set(&scene.event));
        test_is(wherry_event_wait(first ? &scene.answer : &scene.event, patience()), 0);
        if (!first)
            scene.b++;
        if (!first)
            test_ok(wherry_event_set(&scene.answer));
    }
    return NULL;
}

TEST_WITH(threads_tell_each_other, .leaves = LEAVES)
{
    test_ok(wherry_event_init(&scene.event, WHERRY_EVENT_AUTOMATIC));
    test_ok(wherry_event_init(&scene.answer, WHERRY_EVENT_AUTOMATIC));
    run(play);
    ck_assert_int_eq(scene.b, 2 * ROUNDS);
}

/* ---- one writes what all read ---- */

static void *learn(void *argument)
{
    if ((uintptr_t)argument == 0) {
        scene.a = 42;
        test_ok(wherry_event_set(&scene.event));
    }
    test_is(wherry_event_wait(&scene.event, patience()), 0);
    ck_assert_int_eq(scene.a, 42);
    return NULL;
}

TEST_WITH(threads_wait_for_a_plain_event, .leaves = LEAVES)
{
    for (int i = 0; i < 50; i++) {
        scene.a = 0;
        test_ok(wherry_event_init(&scene.event, 0));
        run(learn);
    }
}

static void *read_and_write(void *argument)
{
    for (int i = 0; i < ROUNDS / 4; i++) {
        if ((i + (int)(uintptr_t)argument) % 8 == 0) {
            test_is(wherry_rwlock_write(&scene.lock, patience()), 0);
            scene.a++;
            scene.b++;
        } else {
            test_is(wherry_rwlock_read(&scene.lock, patience()), 0);
            ck_assert_int_eq(scene.a, scene.b);
        }
        test_ok(wherry_rwlock_unlock(&scene.lock));
    }
    return NULL;
}

TEST_WITH(threads_read_and_write, .leaves = LEAVES, .seconds = 120)
{
    test_ok(wherry_rwlock_init(&scene.lock));
    run(read_and_write);
    ck_assert_int_eq(scene.a, scene.b);
    test_ok(wherry_rwlock_fini(&scene.lock));
}
