/* tests/unit/test_condition.c - owns the proof that a change is never waited for in vain, whoever dies.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <wherry/condition.h>

#include "base/sys.h"
#include "sync_kit.h"

enum { ROOM = 4, ITEMS = 20000 };

struct box {
    struct wherry_mutex mutex;
    struct wherry_condition filled, emptied;
    int items[ROOM], count;
    long taken, sum;
    volatile int gone_to_wait;
};

static struct kit kit;
static struct test_gate ready, go;

static struct box *open_box(void)
{
    struct box *box = kit_open(&kit);
    test_ok(wherry_mutex_init(&box->mutex));
    test_ok(wherry_condition_init(&box->filled));
    test_ok(wherry_condition_init(&box->emptied));
    return box;
}

static void lock(struct box *box)
{
    test_is(wherry_mutex_lock(&box->mutex, test_deadline()), 0);
}

static void unlock(struct box *box)
{
    test_ok(wherry_mutex_unlock(&box->mutex));
}

/* ---- a box with little room ---- */

static void fill(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    for (int i = 1; i <= ITEMS; i++) {
        lock(box);
        while (box->count == ROOM)
            test_is(wherry_condition_wait(&box->emptied, &box->mutex, test_deadline()), 0);
        box->items[box->count++] = i;
        test_ok(wherry_condition_signal(&box->filled));
        unlock(box);
    }
}

static void empty(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    for (int i = 0; i < ITEMS; i++) {
        lock(box);
        while (box->count == 0)
            test_is(wherry_condition_wait(&box->filled, &box->mutex, test_deadline()), 0);
        box->sum += box->items[--box->count];
        box->taken++;
        test_ok(wherry_condition_signal(&box->emptied));
        unlock(box);
    }
}

TEST_WITH(h25_processes_hand_things_over_and_none_is_lost, .seconds = 120)
{
    struct box *box = open_box();
    pid_t crowd[4];
    for (int i = 0; i < 4; i++)
        crowd[i] = test_fork(i % 2 ? fill : empty, NULL);
    for (int i = 0; i < 4; i++)
        test_join_by(crowd[i], wherry_after(60 * WHERRY_SECOND));
    ck_assert_int_eq(box->taken, 2 * ITEMS);
    ck_assert_int_eq(box->sum, 2L * ITEMS * (ITEMS + 1) / 2);
    kit_close(&kit);
}

/* ---- waiters ---- */

/* Wait until there is something, take it. */
static void take_one(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    lock(box);
    while (box->count == 0) {
        box->gone_to_wait++;
        test_is(wherry_condition_wait(&box->filled, &box->mutex, test_deadline()), 0);
    }
    box->count--;
    box->taken++;
    unlock(box);
}

static pid_t waiter(struct box *box, void (*wait)(void *))
{
    int before = box->gone_to_wait;
    pid_t child = test_fork(wait, NULL);
    test_until(box->gone_to_wait != before, "child %d does not go to wait", (int)child);
    lock(box); /* it has let go of the mutex */
    unlock(box);
    test_until_asleep(child);
    return child;
}

static void put(struct box *box, int count)
{
    lock(box);
    box->count += count;
    unlock(box);
}

TEST(a_broadcast_wakes_all_and_a_signal_one)
{
    struct box *box = open_box();
    pid_t first = waiter(box, take_one), second = waiter(box, take_one), third = waiter(box, take_one);
    put(box, 1);
    test_ok(wherry_condition_signal(&box->filled));
    test_until(box->taken > 0, "nobody takes what was signalled");
    put(box, 2);
    test_ok(wherry_condition_broadcast(&box->filled));
    test_join(first);
    test_join(second);
    test_join(third);
    kit_close(&kit);
}

/* The first in the kernel's queue is stopped: it gets the wake-up, and dies with it. */
TEST(h24_a_signal_taken_by_one_that_is_killed_reaches_another)
{
    struct box *box = open_box();
    pid_t first = waiter(box, take_one), second = waiter(box, take_one);
    kill(first, SIGSTOP);
    put(box, 1);
    test_ok(wherry_condition_signal(&box->filled));
    test_kill(first);
    test_join(second);
    ck_assert_int_eq(box->taken, 1);
    kit_close(&kit);
}

static long no_futex(const void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    (void)word, (void)operation, (void)value, (void)deadline;
    errno = ENOSYS;
    return -1;
}

/* As one that is killed between counting the signal and waking: it counts, and wakes nobody. */
TEST(h24_a_signal_whose_giver_died_before_it_woke_anybody_is_seen)
{
    struct box *box = open_box();
    pid_t child = waiter(box, take_one);
    put(box, 1);
    struct wherry__sys real = wherry__sys;
    wherry__sys.futex = no_futex;
    test_ok(wherry_condition_signal(&box->filled));
    wherry__sys = real;
    wherry_time began = wherry_now();
    test_join(child);
    ck_assert_int_lt(wherry_now() - began, test_slowness() * 10 * WHERRY_SECOND); /* 100 ms are promised */
    kit_close(&kit);
}

static void take_over(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    lock(box);
    box->gone_to_wait++;
    /* longer than the test waits: it must not learn it from its deadline */
    test_is(wherry_condition_wait(&box->filled, &box->mutex, wherry_after(100 * WHERRY_SECOND)), -EOWNERDEAD);
    box->count = 0;
    test_ok(wherry_mutex_consistent(&box->mutex));
    unlock(box);
}

static void die_holding(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    lock(box);
    box->count = -1;
    raise(SIGKILL);
}

TEST(a_waiter_learns_that_the_holder_of_the_mutex_died)
{
    test_needs(TEST_ROBUST_LIST);
    struct box *box = open_box();
    pid_t child = waiter(box, take_over);
    test_join_signal(test_fork(die_holding, NULL), SIGKILL);
    test_join(child);
    lock(box);
    ck_assert_int_eq(box->count, 0);
    unlock(box);
    kit_close(&kit);
}

static void find_it_gone(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    lock(box);
    box->gone_to_wait++;
    test_is(wherry_condition_wait(&box->filled, &box->mutex, wherry_after(100 * WHERRY_SECOND)), -ENOTRECOVERABLE);
}

TEST(a_waiter_learns_that_the_mutex_was_given_up)
{
    test_needs(TEST_ROBUST_LIST);
    struct box *box = open_box();
    pid_t child = waiter(box, find_it_gone);
    kill(child, SIGSTOP); /* or it might be the one to learn of the death */
    test_join_signal(test_fork(die_holding, NULL), SIGKILL);
    test_is(wherry_mutex_lock(&box->mutex, test_deadline()), -EOWNERDEAD);
    unlock(box);
    kill(child, SIGCONT);
    test_join(child);
    kit_close(&kit);
}

/* ---- deadlines ---- */

TEST(a_wait_that_times_out_holds_the_mutex_again)
{
    struct box *box = open_box();
    test_is(wherry_condition_wait(&box->filled, &box->mutex, test_deadline()), -EPERM);
    lock(box);
    test_is(wherry_condition_wait(&box->filled, &box->mutex, WHERRY_NOW), -EAGAIN);
    wherry_time began = wherry_now();
    test_is(wherry_condition_wait(&box->filled, &box->mutex, began + 250 * WHERRY_MILLISECOND), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now() - began, 250 * WHERRY_MILLISECOND);
    unlock(box); /* it was held */
    kit_close(&kit);
}

static void hold_on(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    lock(box);
    box->count = 1;
    test_ok(wherry_condition_signal(&box->filled));
    test_gate_open(&ready);
    test_gate_wait(&go);
    unlock(box);
}

TEST(a_wait_ends_by_its_deadline_even_if_the_mutex_is_not_to_be_had)
{
    test_gate_init(&ready);
    test_gate_init(&go);
    struct box *box = open_box();
    lock(box);
    pid_t other = test_fork(hold_on, NULL);
    wherry_time began = wherry_now();
    test_is(wherry_condition_wait(&box->filled, &box->mutex, wherry_after(300 * WHERRY_MILLISECOND)), -ENOLCK);
    ck_assert_int_lt(wherry_now() - began, 12 * WHERRY_SECOND);
    test_is(wherry_mutex_unlock(&box->mutex), -EPERM);
    test_gate_open(&go);
    test_join(other);
    kit_close(&kit);
    test_gate_fini(&ready);
    test_gate_fini(&go);
}

/* ---- what it costs, what it refuses ---- */

static int futexes;
static struct wherry__sys real;
static long count_futex(const void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    futexes++;
    return real.futex(word, operation, value, deadline);
}

TEST(a_signal_to_nobody_is_no_system_call)
{
    struct box *box = open_box();
    real = wherry__sys;
    wherry__sys.futex = count_futex;
    test_ok(wherry_condition_signal(&box->filled));
    test_ok(wherry_condition_broadcast(&box->filled));
    ck_assert_int_eq(futexes, 0);
    lock(box);
    test_is(wherry_condition_wait(&box->filled, &box->mutex, kit_soon()), -ETIMEDOUT);
    ck_assert_int_eq(futexes, 1);
    unlock(box);
    wherry__sys = real;
    kit_close(&kit);
}

TEST(without_futex_it_says_so_and_holds_the_mutex)
{
    struct box *box = open_box();
    lock(box);
    real = wherry__sys;
    wherry__sys.futex = no_futex;
    test_is(wherry_condition_wait(&box->filled, &box->mutex, test_deadline()), -ENOSYS);
    wherry__sys = real;
    unlock(box);
    kit_close(&kit);
}

static void see_the_end(void *argument)
{
    struct box *box = kit_again(&kit);
    (void)argument;
    lock(box);
    box->gone_to_wait++;
    test_is(wherry_condition_wait(&box->filled, &box->mutex, test_deadline()), -EIDRM);
    unlock(box);
}

TEST(its_end_is_told_to_who_waits)
{
    struct box *box = open_box();
    pid_t child = waiter(box, see_the_end);
    wherry_condition_fini(&box->filled);
    test_join(child);
    wherry_condition_fini(&box->filled);
    wherry_condition_fini(NULL);
    lock(box);
    test_is(wherry_condition_wait(&box->filled, &box->mutex, test_deadline()), -EINVAL);
    unlock(box);
    test_is(wherry_condition_signal(&box->filled), -EINVAL);
    test_is(wherry_condition_broadcast(&box->filled), -EINVAL);
    test_is(wherry_condition_init((struct wherry_condition *)((char *)box + 4)), -EINVAL);
    kit_close(&kit);
}
