/* checker.h - runs a shell command with a time limit.
 *
 * SPDX-License-Identifier: MIT */
#ifndef STEPKILL_CHECKER_H
#define STEPKILL_CHECKER_H

#include <stddef.h>
#include <stdint.h>

enum { CHECK_OUTPUT = 2048 };

struct check {
    int64_t took;
    char reason[96];                /* "" when it was content; else what happened, as "exited with 1" */
    char output[CHECK_OUTPUT + 1];  /* the last of what it printed on either output */
    size_t size;
};

/* Run `sh -c command` in a process group of its own, without input.  0, or -errno when it could not be started or we
 * are to end.  Of a command that is not done when the limit passes, the whole group is killed. */
int check_run(struct check *check, const char *command, int64_t limit);

/* Once, at the beginning: processes whose parents die come to this one. */
void check_adopt(void);

/* Kill and wait for all that came. */
void check_strays(void);

#endif
