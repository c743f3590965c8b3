/* base/why.h - the sentence behind an error code.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_WHY_H
#define WHERRY_BASE_WHY_H

#include "base/shared.h"

/* Note the thread's last failure as one sentence, printf-like, and return -code, so that a failing call ends with
 *     return wherry__fail(EINVAL, "%s: ...", url);
 * The sentence says what happened, to what, and what to do next.  `code` is positive. */
WHERRY__SHARED int wherry__fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* The same with strerror's text of `code` at the end, for failures that the kernel explains best. */
WHERRY__SHARED int wherry__fail_errno(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* For outcomes of every day (nothing there yet): notes a constant text for the price of a store; returns -code. */
WHERRY__SHARED int wherry__fail_quietly(int code, const char *constant);

/* What a call that may succeed after an inner look failed begins and ends with: returns `result`, and one that is
 * no failure leaves the sentence as it was (wherry_why(3)). */
struct wherry__why {
    const char *constant;
    char text[1024];
};
WHERRY__SHARED void wherry__why_save(struct wherry__why *ret_before);
WHERRY__SHARED int wherry__why_settle(const struct wherry__why *before, int result);

/* The kernel's name and number of a process for messages: "pid 4711 (nginx)", or "another process" when pid is 0. */
const char *wherry__process_name(int pid, char buffer[static 64]);

#endif
