/* tests/unit/test_barrier.c - owns the proof that nobody passes a barrier before all have come.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <wherry/barrier.h>

#include "base/sys.h"
#include "sync_kit.h"

enum { PARTIES = 3, MEETINGS = 3000 };

struct field {
    struct wherry_barrier barrier;
    long come[PARTIES]; /* meetings; not atomic: the barrier orders them */
    _Atomic long last, passed;
};

static struct kit kit;

static struct field *open_field(unsigned parties)
{
    struct field *field = kit_open(&kit);
    test_ok(wherry_barrier_init(&field->barrier, parties));
    return field;
}

static void meet_often(void *argument)
{
    struct field *field = kit_again(&kit);
    long *mine = &field->come[(uintptr_t)argument];
    for (long meeting = 1; meeting <= MEETINGS; meeting++) {
        *mine = meeting;
        int result = wherry_barrier_wait(&field->barrier, test_deadline());
        test_ok(result);
        field->last += result == 1;
        for (int i = 0; i < PARTIES; i++)
            ck_assert(field->come[i] == meeting || field->come[i] == meeting + 1);
        test_ok(wherry_barrier_wait(&field->barrier, test_deadline())); /* all have looked */
    }
}

TEST_WITH(nobody_passes_before_all_have_come, .seconds = 120)
{
    struct field *field = open_field(PARTIES);
    pid_t children[PARTIES];
    for (uintptr_t i = 0; i < PARTIES; i++)
        children[i] = test_fork(meet_often, (void *)i);
    for (int i = 0; i < PARTIES; i++)
        test_join_by(children[i], wherry_after(60 * WHERRY_SECOND));
    ck_assert_int_eq(field->last, MEETINGS);
    kit_close(&kit);
}

static void pass(void *argument)
{
    struct field *field = kit_again(&kit);
    (void)argument;
    test_is(wherry_barrier_wait(&field->barrier, test_deadline()), 0);
}

TEST(who_gives_up_has_not_come)
{
    struct field *field = open_field(2);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), -EAGAIN);
    wherry_time began = wherry_now();
    test_is(wherry_barrier_wait(&field->barrier, began + 250 * WHERRY_MILLISECOND), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now() - began, 250 * WHERRY_MILLISECOND);
    test_is(wherry_barrier_wait(&field->barrier, kit_soon()), -ETIMEDOUT); /* not even with itself */
    pid_t other = test_fork(pass, NULL);
    test_until_asleep(other);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), 1);
    test_join(other);
    kit_close(&kit);
}

TEST(who_is_killed_waiting_has_come)
{
    struct field *field = open_field(2);
    pid_t dead = test_fork(pass, NULL);
    test_until_asleep(dead);
    test_kill(dead);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), 1);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), -EAGAIN); /* as new */
    kit_close(&kit);
}

static long no_futex(const void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    (void)word, (void)operation, (void)value, (void)deadline;
    errno = EPERM;
    return -1;
}

TEST(h24_the_last_one_dies_before_it_wakes_the_others)
{
    struct field *field = open_field(2);
    pid_t other = test_fork(pass, NULL);
    test_until_asleep(other);
    struct wherry__sys real = wherry__sys;
    wherry__sys.futex = no_futex;
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), 1);
    wherry__sys = real;
    wherry_time began = wherry_now();
    test_join(other);
    ck_assert_int_lt(wherry_now() - began, test_slowness() * 10 * WHERRY_SECOND); /* 100 ms are promised */
    kit_close(&kit);
}

TEST(without_futex_it_says_so_and_has_not_come)
{
    struct field *field = open_field(2);
    struct wherry__sys real = wherry__sys;
    wherry__sys.futex = no_futex;
    test_is(wherry_barrier_wait(&field->barrier, test_deadline()), -EPERM);
    wherry__sys = real;
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), -EAGAIN);
    kit_close(&kit);
}

/* Deadlines so short that many give up as the last one comes: each meeting has as many as it must. */
static void hurry(void *argument)
{
    struct field *field = kit_again(&kit);
    unsigned random = (unsigned)(uintptr_t)argument;
    wherry_time end = wherry_after(WHERRY_SECOND);
    while (wherry_now() < end) {
        random = random * 1664525 + 1013904223;
        int result = wherry_barrier_wait(&field->barrier, wherry_after((random >> 8) % 60000));
        ck_assert(result >= 0 || result == -ETIMEDOUT || result == -EAGAIN);
        field->passed += result >= 0;
        field->last += result == 1;
    }
}

TEST(meetings_are_complete_when_many_give_up)
{
    struct field *field = open_field(PARTIES);
    pid_t children[PARTIES + 1];
    for (uintptr_t i = 0; i < PARTIES + 1; i++)
        children[i] = test_fork(hurry, (void *)i);
    for (int i = 0; i < PARTIES + 1; i++)
        test_join_by(children[i], wherry_after(30 * WHERRY_SECOND));
    printf("# %ld meetings\n", field->last);
    fflush(stdout);
    ck_assert_int_gt(field->last, 0);
    ck_assert_int_eq(field->passed, PARTIES * field->last);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), -EAGAIN);
    kit_close(&kit);
}

static void see_the_end(void *argument)
{
    struct field *field = kit_again(&kit);
    (void)argument;
    test_is(wherry_barrier_wait(&field->barrier, test_deadline()), -EIDRM);
}

TEST(its_end_is_told_and_what_is_none_refused)
{
    struct field *field = open_field(2);
    pid_t child = test_fork(see_the_end, NULL);
    test_until_asleep(child);
    wherry_barrier_fini(&field->barrier);
    test_join(child);
    wherry_barrier_fini(&field->barrier);
    wherry_barrier_fini(NULL);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), -EINVAL);
    test_is(wherry_barrier_init(&field->barrier, 0), -EINVAL);
    test_is(wherry_barrier_init(&field->barrier, WHERRY_BARRIER_MOST + 1), -EINVAL);
    test_is(wherry_barrier_init((struct wherry_barrier *)((char *)field + 4), 2), -EINVAL);
    test_ok(wherry_barrier_init(&field->barrier, WHERRY_BARRIER_MOST));
    test_is(wherry_barrier_wait(&field->barrier, kit_soon()), -ETIMEDOUT);
    test_ok(wherry_barrier_init(&field->barrier, 1));
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), 1);
    test_is(wherry_barrier_wait(&field->barrier, WHERRY_NOW), 1);
    kit_close(&kit);
}
