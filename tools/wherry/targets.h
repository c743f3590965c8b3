/* targets.h - processes that a command line names, PID or PID:INODE, held by pidfds.
 *
 * SPDX-License-Identifier: MIT
 *
 * A number may be a stranger's by the time it is used; what is held here is one process for ever, and one that is named
 * with the inode of its pidfd is that one or none. */
#ifndef WHERRY_TOOL_TARGETS_H
#define WHERRY_TOOL_TARGETS_H

#include <stdbool.h>
#include <stdint.h>
#include <wherry/process.h>

#include "options.h"

struct target {
    pid_t pid;
    uint64_t inode;                 /* 0: none was named */
    struct wherry_process *process; /* NULL: there is none, or it is let go */
    char command[32];               /* its name, foreign text; "": it was not to be known */
    bool ended;
    bool gone; /* and its parent has waited for it: nothing more is to be known of it */
    wherry_time ended_at;
};

struct targets {
    struct target *list;
    size_t count;
    size_t running; /* watched, and not seen to have ended */
    int poll;       /* an epoll(7) of all that are watched; -1 */
};

/* Read the operands, of which none was looked for yet.  What is no process's number is a mistake, said; `group`: they
 * are process groups; `init`: 1 is meant.  Returns 0, or -1 with options->code set. */
int targets_read(struct targets *targets, struct options *options, char **operands, size_t count, bool group,
                 bool init);

/* Take hold of one: 0 or as wherry_process_open(). */
int target_open(struct target *target);

/* "pid 4711 (nginx)", or without the name where it is not known, in memory that the next call uses again. */
const char *target_name(const struct target *target);

/* Whether it has ended; a zombie has.  Of one that is held. */
bool target_has_ended(const struct target *target);

/* Let go of one. */
void target_close(struct target *target);

/* Begin to watch all that are held.  Returns 0, or the exit code with the failure said. */
int targets_watch(struct targets *targets);

/* Wait until one that was watched has ended, or is waited for by its parent after that, a signal came or the deadline
 * passed; mark all that have ended.  Returns 0, or as signals_wait(). */
int targets_wait(struct targets *targets, wherry_time deadline);

void targets_fini(struct targets *targets);

#endif
