/* pipe_keeper.h - what the keeper of a pipeline is made of.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_PIPE_KEEPER_H
#define WHERRY_TOOL_PIPE_KEEPER_H

#include <poll.h>

#include "pipe.h"

enum role { COMMAND, SENDER, RECEIVER };

struct member {
    enum role role;
    size_t index; /* of the command, or the link */
    struct wherry_process *process;
    bool ended;
    struct wherry_exit exit;
};

struct keeper {
    struct pipe_job *job;
    int front;
    struct wherry_signals *signals;
    struct member *members;
    size_t count, running;
    struct pollfd *polls;
    int (*pipes)[2];  /* at most two for what is between two commands */
    int ready[2];     /* by which the halves say that they are where they should be */
    size_t not_ready; /* so many halves have not said so */
    bool started;     /* the commands */
    int stopping;     /* the exit code; 0: not */
    bool killed;      /* all that can be done was done */
    bool orphaned;    /* the front has gone */
    wherry_time kill_at;
    pid_t *asked; /* adopted children that were sent SIGTERM */
    size_t asked_count;
};

/* ---- starting: pipe_start.c.  Each returns 0, or the exit code with the failure said. ---- */

int keeper_make_pipes(struct keeper *keeper);
int keeper_start_halves(struct keeper *keeper);
int keeper_start_commands(struct keeper *keeper);

#endif
