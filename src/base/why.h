/* base/why.h - the sentence behind an error code.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_WHY_H
#define WHERRY_BASE_WHY_H

/* Note the thread's last failure as one sentence, printf-like, and return -code, so that a failing call ends with
 *     return wherry__fail(EINVAL, "%s: ...", url);
 * The sentence says what happened, to what, and what to do next.  `code` is positive. */
int wherry__fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* The same with strerror's text of `code` at the end, for failures that the kernel explains best. */
int wherry__fail_errno(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* For outcomes of every day (nothing there yet): notes a constant text for the price of a store; returns -code. */
int wherry__fail_quietly(int code, const char *constant);

/* The kernel's name and number of a process for messages: "pid 4711 (nginx)", or "another process" when pid is 0. */
const char *wherry__process_name(int pid, char buffer[static 64]);

#endif
