/* tests/fault/inject.c - owns the replacements.  The build links with --wrap for the allocations.
 *
 * SPDX-License-Identifier: MIT */
#include "fault/inject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/why.h"

static struct wherry__sys real;
static struct {
    enum inject_call call;
    unsigned left; /* calls until it fails; 0: never */
    int code;
    bool fired, within;
    unsigned long called[INJECT_CALLS]; /* within */
} armed;

static bool hit(enum inject_call call)
{
    armed.called[call] += armed.within;
    if (armed.left == 0 || !armed.within || armed.call != call || --armed.left > 0)
        return false;
    armed.fired = true;
    errno = armed.code;
    return true;
}

/* Two entries have a parameter less than what the table passes to libc. */
#define epoll_pwait2(epoll, events, count, timeout, mask) epoll_pwait2(epoll, events, count, timeout)
#define ppoll(fds, count, timeout, mask) ppoll(fds, count, timeout)

#define REPLACEMENT(name, result, parameters, arguments)                                                               \
    static result fail_##name parameters                                                                               \
    {                                                                                                                  \
        return hit(INJECT_##name) ? (result)-1 : real.name arguments;                                                  \
    }
WHERRY__SYS_TABLE(REPLACEMENT)

/* A close that fails has closed all the same (close(2)). */
static int close_and_fail(int fd)
{
    int result = real.close(fd);
    return hit(INJECT_close) ? -1 : result;
}

#define ENTRY(name, result, parameters, arguments) .name = fail_##name,
void inject_init(void)
{
    real = wherry__sys;
    wherry__sys = (struct wherry__sys){WHERRY__SYS_TABLE(ENTRY)};
    wherry__sys.close = close_and_fail;
    (void)fail_close;
}

/* ---- allocations ----------------------------------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void *__wrap_malloc(size_t size)
{
    return hit(INJECT_malloc) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return hit(INJECT_calloc) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return hit(INJECT_realloc) ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return hit(INJECT_strdup) ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return hit(INJECT_strndup) ? NULL : __real_strndup(text, size);
}

/* ---- arming ---------------------------------------------------------------------------------------------------- */

const char *inject_name(size_t call)
{
#define NAME(name, result, parameters, arguments) #name,
    static const char *const names[] = {WHERRY__SYS_TABLE(NAME) "malloc", "calloc", "realloc", "strdup", "strndup"};
    return names[call];
}

void inject_arm(enum inject_call call, unsigned nth, int code)
{
    armed.call = call;
    armed.code = code;
    armed.fired = false;
    armed.left = code ? nth : 0;
}

void inject_within(bool within)
{
    if (within)
        wherry__fail_quietly(0, ""); /* an old sentence is no explanation of a new failure */
    armed.within = within;
}

bool inject_called(size_t call)
{
    return armed.called[call] > 0;
}

bool inject_fired(void)
{
    return armed.fired;
}
