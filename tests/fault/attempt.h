/* tests/fault/attempt.h - owns what a run with a fault in it keeps: whether something failed, and what was wrong.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_ATTEMPT_H
#define WHERRY_TESTS_ATTEMPT_H

#include <stdbool.h>
#include <stdio.h>
#include <wherry/wherry.h>

#include "harness.h"

struct attempt {
    bool failed;       /* something said that it failed */
    char problem[400]; /* the first that should not be; empty: none */
};

static inline void attempt_problem(struct attempt *attempt, const char *what, long long result)
{
    if (!attempt->problem[0])
        snprintf(attempt->problem, sizeof attempt->problem, "%s: %lld, %.200s", what, result, wherry_why());
}

/* A result that is none of the good ones is a failure that says why. */
static inline bool attempt_good(struct attempt *attempt, const char *what, long long result)
{
    if (result >= 0)
        return true;
    attempt->failed = true;
    if (!wherry_why()[0])
        attempt_problem(attempt, what, result);
    return false;
}

/* No descriptor is left of those that were not there at the beginning, and it took no longer than `most`. */
static inline void attempt_over(struct attempt *attempt, size_t descriptors, wherry_time began, wherry_time most)
{
    if (test_descriptors() != descriptors)
        attempt_problem(attempt, "descriptors are left", (long long)(test_descriptors() - descriptors));
    if (wherry_now() - began > most * (wherry_time)test_slowness())
        attempt_problem(attempt, "it took too long", (wherry_now() - began) / WHERRY_MILLISECOND);
}

#endif
