/* tests/fault/inject.h - one system call, or one allocation, that fails once.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_INJECT_H
#define WHERRY_TESTS_INJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sys.h"

/* All that can be made to fail, by number: the table of system calls, then the allocations. */
#define INJECT_ENUM(name, result, parameters, arguments) INJECT_##name,
enum inject_call {
    WHERRY__SYS_TABLE(INJECT_ENUM) INJECT_malloc,
    INJECT_calloc,
    INJECT_realloc,
    INJECT_strdup,
    INJECT_strndup,
    INJECT_CALLS
};
#undef INJECT_ENUM

const char *inject_name(size_t call);

/* Replace every entry of the table, once. */
void inject_init(void);

/* From now on the `nth` call (from 1) of this kind fails with `code`; 0: none does. */
void inject_arm(enum inject_call call, unsigned nth, int code);

/* Only while the library is being called: what the test itself calls never fails. */
void inject_within(bool within);
#define IN_LIBRARY(call_) (inject_within(true), inject_leave(call_))
static inline long long inject_leave(long long result)
{
    inject_within(false);
    return result;
}

/* Whether the library has called it: what it calls and nobody makes fail is a hole in a test's table. */
bool inject_called(size_t call);

/* Whether it did. */
bool inject_fired(void);

#endif
