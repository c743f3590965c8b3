/* unit/supervisor_kit.h - what the tests of supervisors share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_SUPERVISOR_KIT_H
#define WHERRY_TESTS_SUPERVISOR_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/supervise.h>

#include "harness.h"

static inline wherry_time soon(void)
{
    return test_deadline() + 10 * WHERRY_SECOND;
}

/* Works in the test's directory; its units print nowhere. */
static inline struct wherry_supervisor *open_quietly(void)
{
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_supervisor *supervisor;
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.output = -1;
    test_ok(wherry_supervisor_open(&options, &supervisor));
    return supervisor;
}

/* Of a unit that is started again `limit` times, first after `pause`. */
static inline struct wherry_unit_options restarting(enum wherry_restart when, unsigned limit, wherry_time pause)
{
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.restart = when;
    options.restart_limit = limit;
    options.backoff_first = pause;
    return options;
}

static inline void add_shell(struct wherry_supervisor *supervisor, const char *name, const char *script,
                             const struct wherry_unit_options *given)
{
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    if (given)
        options = *given;
    options.arguments = (const char *const[]){"/bin/sh", "-c", script, NULL};
    test_ok(wherry_supervisor_add(supervisor, name, &options));
}

static inline void run_all(struct wherry_supervisor *supervisor)
{
    test_is(wherry_supervisor_run(supervisor, soon()), 0);
}

static inline struct wherry_unit_status status_of(const struct wherry_supervisor *supervisor, const char *name)
{
    struct wherry_unit_status status;
    for (size_t i = 0; wherry_supervisor_status(supervisor, i, &status) == 0; i++)
        if (strcmp(status.name, name) == 0)
            return status;
    ck_abort_msg("no unit %s", name);
}

static inline void until(struct wherry_supervisor *supervisor, const char *name, enum wherry_unit_state state)
{
    wherry_time deadline = soon();
    while (status_of(supervisor, name).state != state) {
        int result = wherry_supervisor_dispatch(supervisor, deadline);
        ck_assert_msg(result == 1 || (result == 0 && status_of(supervisor, name).state == state),
                      "%s is %s, not %s: dispatch gave %d: %s", name,
                      wherry_unit_state_name(status_of(supervisor, name).state), wherry_unit_state_name(state), result,
                      status_of(supervisor, name).why);
    }
}

/* ---- files in the current directory ---- */

static inline void remove_file(const char *name)
{
    ck_assert_msg(unlink(name) == 0, "%s: %s", name, strerror(errno));
}

static inline void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    ck_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* What is in it, "" when it is not there; to be freed. */
static inline char *read_file(const char *name)
{
    char *text = calloc(1, 1);
    size_t size = 0;
    char part[4096];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    for (ssize_t got; fd >= 0 && (got = read(fd, part, sizeof part)) > 0;) {
        text = realloc(text, size + (size_t)got + 1);
        memcpy(text + size, part, (size_t)got);
        text[size += (size_t)got] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return text;
}

static inline void file_is(const char *name, const char *expected)
{
    char *text = read_file(name);
    ck_assert_str_eq(text, expected);
    free(text);
}

static inline size_t lines_in(const char *name)
{
    char *text = read_file(name);
    size_t count = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        count++;
    free(text);
    return count;
}

static inline void until_lines(struct wherry_supervisor *supervisor, const char *name, size_t count)
{
    wherry_time deadline = soon();
    while (lines_in(name) < count) {
        ck_assert_msg(wherry_now() < deadline, "%s has %zu lines", name, lines_in(name));
        wherry_supervisor_dispatch(supervisor, wherry_after(5 * WHERRY_MILLISECOND));
    }
}

/* ---- processes ---- */

static inline char state_of(pid_t pid)
{
    char path[64], *end;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *text = read_file(path), state = (end = strrchr(text, ')')) ? end[2] : '-';
    free(text);
    return state;
}

static inline void until_state(pid_t pid, char state)
{
    test_until(state_of(pid) == state, "process %d is in state %c, not %c", (int)pid, state_of(pid), state);
}

/* The processes whose numbers are in the file are gone, or zombies of others, at once or within a moment. */
static inline void nobody_in(const char *name, unsigned count)
{
    char *text = read_file(name), *at = text, *end;
    unsigned found = 0;
    for (long pid; (pid = strtol(at, &end, 10)) > 0; at = end, found++)
        test_until(strchr("-ZX", state_of((pid_t)pid)) != NULL, "process %ld lives", pid);
    ck_assert_uint_eq(found, count);
    free(text);
}

#endif
