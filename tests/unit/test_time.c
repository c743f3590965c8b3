/* tests/unit/test_time.c - owns the tests of base/time.c: deadlines and their arithmetic.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "base/time.h"
#include "harness.h"

TEST(now_is_monotonic_and_of_the_right_clock)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    wherry_time now = wherry_now(), later = wherry_now();
    clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_ge(now, before.tv_sec * WHERRY_SECOND + before.tv_nsec);
    ck_assert_int_ge(later, now);
    ck_assert_int_le(later, after.tv_sec * WHERRY_SECOND + after.tv_nsec);
}

TEST(after_saturates)
{
    ck_assert_int_eq(wherry_after(WHERRY_FOREVER), WHERRY_FOREVER);
    ck_assert_int_eq(wherry_after(WHERRY_FOREVER - 1), WHERRY_FOREVER);
    ck_assert_int_eq(wherry_after(WHERRY_FOREVER - wherry_now() / 2), WHERRY_FOREVER);
    wherry_time now = wherry_now(), then = wherry_after(WHERRY_SECOND);
    ck_assert_int_ge(then, now + WHERRY_SECOND);
    ck_assert_int_lt(then, WHERRY_FOREVER);
    ck_assert_int_lt(wherry_after(-WHERRY_SECOND), wherry_now());
    ck_assert(wherry__deadline_passed(wherry_after(INT64_MIN)));
}

TEST(passed)
{
    ck_assert(wherry__deadline_passed(WHERRY_NOW));
    ck_assert(wherry__deadline_passed(-1));
    ck_assert(wherry__deadline_passed(INT64_MIN));
    ck_assert(wherry__deadline_passed(1));
    ck_assert(wherry__deadline_passed(wherry_now()));
    ck_assert(!wherry__deadline_passed(wherry_after(WHERRY_SECOND * 1000)));
    ck_assert(!wherry__deadline_passed(WHERRY_FOREVER));
    ck_assert(!wherry__deadline_passed(WHERRY_FOREVER - 1));
}

TEST(what_is_left_is_a_valid_timespec)
{
    static const wherry_time past[] = {INT64_MIN, -1, 0, 1, 12345};
    struct timespec left;
    ck_assert_ptr_null(wherry__deadline_left(WHERRY_FOREVER, &left));
    for (size_t i = 0; i < 5; i++) {
        ck_assert_ptr_eq(wherry__deadline_left(past[i], &left), &left);
        ck_assert(left.tv_sec == 0 && left.tv_nsec == 0);
    }
    wherry__deadline_left(wherry_after(90 * WHERRY_SECOND), &left);
    ck_assert(left.tv_sec >= 80 && left.tv_sec <= 90 && left.tv_nsec >= 0 && left.tv_nsec < 1000000000);
    wherry__deadline_left(WHERRY_FOREVER - 1, &left);
    ck_assert(left.tv_sec > 0 && left.tv_nsec >= 0 && left.tv_nsec < 1000000000);
}

TEST(errors_of_deadlines)
{
    ck_assert_int_eq(wherry__deadline_code(WHERRY_NOW), EAGAIN);
    ck_assert_int_eq(wherry__deadline_code(-1), EAGAIN);
    ck_assert_int_eq(wherry__deadline_code(1), ETIMEDOUT);
    ck_assert_int_eq(wherry__deadline_code(wherry_after(-WHERRY_SECOND)), ETIMEDOUT);
    ck_assert_int_eq(wherry__deadline_code(WHERRY_FOREVER), ETIMEDOUT);
}

TEST(steps_grow_from_50_us_to_10_ms)
{
    struct wherry__steps steps = {0};
    wherry_time last = 0;
    for (int i = 0; i < 30; i++) {
        wherry__steps_sleep(&steps, WHERRY_NOW); /* the step is counted, not slept */
        ck_assert_int_ge(steps.next, last);
        ck_assert(i > 0 || steps.next == 75 * WHERRY_MICROSECOND);
        last = steps.next;
    }
    ck_assert_int_ge(last, 10 * WHERRY_MILLISECOND);
    ck_assert_int_le(last, 15 * WHERRY_MILLISECOND);
}

TEST(steps_end_at_the_deadline)
{
    struct wherry__steps steps = {.next = 1000 * WHERRY_SECOND};
    wherry_time deadline = wherry_after(WHERRY_MILLISECOND);
    wherry__steps_sleep(&steps, deadline);
    ck_assert_int_ge(wherry_now(), deadline);
    struct wherry__steps fresh = {0};
    wherry_time began = wherry_now();
    wherry__steps_sleep(&fresh, WHERRY_FOREVER);
    ck_assert_int_ge(wherry_now() - began, 50 * WHERRY_MICROSECOND);
}
