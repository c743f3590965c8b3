/* tests/unit/signal_kit.h - what the tests of signals share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_SIGNAL_KIT_H
#define WHERRY_TESTS_SIGNAL_KIT_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

static inline struct wherry_signals *kit_open(bool handler, int first, int second)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    struct wherry_signals *signals = NULL;
    int numbers[] = {first, second};
    options.handler = handler;
    test_ok(wherry_signals_open(numbers, second ? 2 : 1, &options, &signals));
    ck_assert_ptr_nonnull(signals);
    return signals;
}

/* The next one, which must come at once and be this number. */
static inline struct wherry_signal kit_next(struct wherry_signals *signals, int number)
{
    struct wherry_signal signal;
    memset(&signal, 0xff, sizeof signal);
    test_is(wherry_signals_receive(signals, &signal, test_deadline()), 1);
    ck_assert_int_eq(signal.number, number);
    return signal;
}

/* Leave room for so many pending signals, besides what this user's other processes and timers have now. */
static inline rlim_t kit_limit_queue(rlim_t room)
{
    unsigned long used = 0;
    char line[200];
    FILE *status = fopen("/proc/self/status", "re");
    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof line, status) && sscanf(line, "SigQ: %lu", &used) != 1)
        ;
    fclose(status);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
    limit.rlim_cur = used + room;
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
    return limit.rlim_cur;
}

static inline void kit_unlimit_queue(void)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
}

static inline void kit_says(const char *part)
{
    ck_assert_msg(strstr(wherry_why(), part) != NULL, "\"%s\" does not say \"%s\"", wherry_why(), part);
}

static inline bool kit_is_blocked(int number)
{
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, number) == 1;
}

#endif
