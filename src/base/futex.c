/* base/futex.c - owns futex(2) between processes.
 *
 * SPDX-License-Identifier: MIT */
#include "base/futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "base/sys.h"

int wherry__futex_wait(const _Atomic uint32_t *word, uint32_t value, wherry_time deadline)
{
    struct timespec at = {.tv_sec = (time_t)(deadline / WHERRY_SECOND), .tv_nsec = (long)(deadline % WHERRY_SECOND)};
    /* WAIT_BITSET takes an absolute CLOCK_MONOTONIC time, so that a signal cannot restart the clock */
    if (wherry__sys.futex(word, FUTEX_WAIT_BITSET, value, &at) >= 0)
        return 0;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

void wherry__futex_wake_some(const _Atomic uint32_t *word, int most)
{
    int code = errno;
    wherry__sys.futex(word, FUTEX_WAKE_BITSET, (uint32_t)most, NULL);
    errno = code;
}

void wherry__futex_wake(const _Atomic uint32_t *word)
{
    wherry__futex_wake_some(word, INT_MAX);
}
