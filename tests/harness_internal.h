/* tests/harness_internal.h - what the three files of the harness share; tests include harness.h alone.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_HARNESS_INTERNAL_H
#define WHERRY_TESTS_HARNESS_INTERNAL_H

#include "harness.h"

/* ---- harness.c ---- */
extern pid_t test__program; /* the process that runs the tests one after the other */
extern const struct test *test__current;

/* Fail the current test at its own line, rather than at a line of the harness. */
void test__fail(const char *reason, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- harness_leaks.c ---- */

/* Once, before the first test: an IPC namespace for this program if possible.  Returns what it got, in words. */
const char *test__leaks_start(void);

/* In the test's process: remember what there is; later, say what is there besides, "" if nothing. */
void test__leaks_before(void);
const char *test__leaks_after(unsigned leaves);

/* In the program, when the test's process is gone: kill and remove whatever it left. */
void test__leaks_remove(void);

/* ---- harness_process.c ---- */

/* Was this process forked by test_fork() in this test? */
bool test__forked(pid_t pid);

/* If a child of this test failed an assertion, end the test now with the child's message. */
void test__child_failures(void);

/* State ('R', 'S', 'Z', ...), parent and process group of a process; false when it is gone. */
struct test__process {
    char state;
    pid_t parent, group;
    char name[64];
};
bool test__process_read(pid_t pid, struct test__process *ret_process);

#endif
