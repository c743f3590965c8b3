/* base/time.c - owns the arithmetic of deadlines.
 *
 * SPDX-License-Identifier: MIT */
#include "base/time.h"

#include <errno.h>
#include <stddef.h>

wherry_time wherry_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (wherry_time)now.tv_sec * WHERRY_SECOND + now.tv_nsec;
}

wherry_time wherry_after(wherry_time nanoseconds)
{
    if (nanoseconds == WHERRY_FOREVER)
        return WHERRY_FOREVER;
    wherry_time sum;
    return __builtin_add_overflow(wherry_now(), nanoseconds, &sum) ? WHERRY_FOREVER : sum;
}

bool wherry__deadline_passed(wherry_time deadline)
{
    if (deadline <= 0)
        return true;
    return deadline != WHERRY_FOREVER && wherry_now() >= deadline;
}

const struct timespec *wherry__deadline_left(wherry_time deadline, struct timespec *storage)
{
    if (deadline == WHERRY_FOREVER)
        return NULL;
    wherry_time left = deadline <= 0 ? 0 : deadline - wherry_now();
    if (left < 0)
        left = 0;
    storage->tv_sec = (time_t)(left / WHERRY_SECOND);
    storage->tv_nsec = (long)(left % WHERRY_SECOND);
    return storage;
}

int wherry__deadline_code(wherry_time deadline)
{
    return deadline <= 0 ? EAGAIN : ETIMEDOUT;
}

wherry_time wherry__steps_take(struct wherry__steps *steps, wherry_time deadline)
{
    if (steps->next == 0)
        steps->next = 50 * WHERRY_MICROSECOND;
    wherry_time wake = wherry_after(steps->next);
    if (steps->next < 10 * WHERRY_MILLISECOND)
        steps->next = steps->next * 3 / 2;
    return wake < deadline ? wake : deadline;
}

void wherry__steps_sleep(struct wherry__steps *steps, wherry_time deadline)
{
    wherry_time wake = wherry__steps_take(steps, deadline);
    struct timespec at = {.tv_sec = (time_t)(wake / WHERRY_SECOND), .tv_nsec = (long)(wake % WHERRY_SECOND)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL); /* a signal only shortens this step */
}
