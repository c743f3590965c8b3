/* tests/unit/test_turn.c - owns the tests of base/turn.c: one at a time, by a deadline, interruptible.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/turn.h"
#include "harness.h"

static struct wherry__turn turn;
static _Atomic uint32_t interrupts;

enum { THREADS = 4, ROUNDS = 20000 };
static uint64_t counted; /* under the turn: plain */
static _Atomic int inside;

static void *count(__attribute__((unused)) void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (wherry__turn_take(&turn, WHERRY_FOREVER, &interrupts, 0) != 0)
            return (void *)(uintptr_t)"not taken";
        if (++inside != 1)
            return (void *)(uintptr_t)"two inside";
        counted++;
        inside--;
        wherry__turn_give(&turn);
    }
    return NULL;
}

TEST(one_at_a_time)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        ck_assert_msg(problem == NULL, "%s", (const char *)problem);
    }
    ck_assert_uint_eq(counted, (uint64_t)THREADS * ROUNDS);
}

TEST(a_taken_turn_keeps_deadlines)
{
    ck_assert_int_eq(wherry__turn_take(&turn, WHERRY_NOW, &interrupts, 0), 0);
    ck_assert_int_eq(wherry__turn_take(&turn, WHERRY_NOW, &interrupts, 0), -EAGAIN);
    ck_assert_int_eq(wherry__turn_take(&turn, -5, &interrupts, 0), -EAGAIN);
    wherry_time deadline = wherry_after(120 * WHERRY_MILLISECOND); /* more than one slice of the wait */
    ck_assert_int_eq(wherry__turn_take(&turn, deadline, &interrupts, 0), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    wherry__turn_give(&turn);
    ck_assert_int_eq(wherry__turn_take(&turn, WHERRY_NOW, &interrupts, 0), 0); /* nothing is left behind */
    wherry__turn_give(&turn);
}

struct waiter {
    pthread_t thread;
    _Atomic pid_t tid;
    int result;
};

static void *take_and_give(void *argument)
{
    struct waiter *waiter = argument;
    waiter->tid = (pid_t)syscall(SYS_gettid);
    waiter->result = wherry__turn_take(&turn, test_deadline(), &interrupts, 0);
    if (waiter->result == 0)
        wherry__turn_give(&turn);
    return NULL;
}

static void start(struct waiter *waiter)
{
    waiter->tid = 0;
    ck_assert_int_eq(pthread_create(&waiter->thread, NULL, take_and_give, waiter), 0);
    while (waiter->tid == 0)
        ;
    test_until_asleep(waiter->tid);
}

TEST(whoever_waits_is_woken)
{
    int quick = 0;
    for (int round = 0; round < 200; round++) {
        struct waiter waiters[3];
        ck_assert_int_eq(wherry__turn_take(&turn, WHERRY_NOW, &interrupts, 0), 0);
        for (int i = 0; i < 3; i++)
            start(&waiters[i]);
        wherry_time began = wherry_now();
        wherry__turn_give(&turn);
        for (int i = 0; i < 3; i++) {
            pthread_join(waiters[i].thread, NULL);
            ck_assert_int_eq(waiters[i].result, 0);
        }
        quick += wherry_now() - began < 15 * WHERRY_MILLISECOND;
    }
    /* without the wake-up each would sleep to the end of a slice of 50 ms: one round in ten were quick by chance */
    ck_assert_int_gt(quick, 100);
}

TEST(an_interrupt_ends_all_waits)
{
    struct waiter waiters[3];
    ck_assert_int_eq(wherry__turn_take(&turn, WHERRY_NOW, &interrupts, 0), 0);
    for (int i = 0; i < 3; i++)
        start(&waiters[i]);
    interrupts++;
    wherry__turn_nudge(&turn);
    for (int i = 0; i < 3; i++) {
        pthread_join(waiters[i].thread, NULL);
        ck_assert_int_eq(waiters[i].result, -ECANCELED);
    }
    wherry__turn_give(&turn);
    ck_assert_int_eq(wherry__turn_take(&turn, WHERRY_NOW, &interrupts, 1), 0);
    wherry__turn_give(&turn);
}
