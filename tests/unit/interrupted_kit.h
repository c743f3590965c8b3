/* tests/unit/interrupted_kit.h - a timer that interrupts a thousand times a second, and the wait in vain under it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The handler is installed without SA_RESTART, so that each tick ends a system call with EINTR.  A wait in vain must
 * end at its deadline, neither before nor, however often its clock is started again, much later.  One whose relative
 * time-out is begun anew at each tick would never end. */
#ifndef WHERRY_TESTS_INTERRUPTED_KIT_H
#define WHERRY_TESTS_INTERRUPTED_KIT_H

#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <wherry/wherry.h>

#include "harness.h"

#define SPAN (150 * WHERRY_MILLISECOND)

static volatile sig_atomic_t ticks;

static inline void on_tick(int number)
{
    (void)number;
    ticks = ticks + 1;
}

static inline void storm_begin(void)
{
    struct sigaction action = {.sa_handler = on_tick};
    struct itimerval every = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static inline void storm_end(void)
{
    struct itimerval never = {.it_value.tv_usec = 0};
    struct sigaction action = {.sa_handler = SIG_DFL};
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &action, NULL);
}

static inline void wait_in_vain(const char *name, int (*call)(wherry_time deadline))
{
    storm_begin();
    sig_atomic_t before = ticks;
    wherry_time begin = wherry_now(), deadline = begin + SPAN;
    int result = call(deadline);
    wherry_time end = wherry_now();
    long hits = (long)(ticks - before);
    storm_end();
    ck_assert_msg(result == -ETIMEDOUT, "%s gave %d under the storm, not -ETIMEDOUT: %s", name, result, wherry_why());
    ck_assert_msg(end >= deadline, "%s ended %lld us early", name, (long long)(deadline - end) / 1000);
    ck_assert_msg(end < deadline + test_deadline() - wherry_now(), "%s ended %lld ms late", name,
                  (long long)(end - deadline) / 1000000);
    /* one that waits for the processor, too, meets few of them */
    ck_assert_msg(hits >= 1, "%s met %ld ticks: this was no storm", name, hits);
}

#endif
