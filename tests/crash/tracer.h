/* tests/crash/tracer.h - a child that can be killed before or after any system call of a stretch of its code.
 *
 * SPDX-License-Identifier: MIT
 *
 * ptrace(2).  The child runs freely to trace_mark(), where the stretch begins, and is then stopped at the entry and the
 * exit of each system call until the next trace_mark(), where it ends.  Its tracer never waits for it, so that it can
 * be the peer that the child needs to get on. */
#ifndef WHERRY_TESTS_TRACER_H
#define WHERRY_TESTS_TRACER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum trace_state {
    TRACE_BEFORE,   /* has not come to the stretch */
    TRACE_READY,    /* stands at its beginning, until trace_enter() */
    TRACE_WITHIN,
    TRACE_KILLED,   /* at the point asked for; waited for */
    TRACE_COMPLETE, /* stood at the end; killed there; waited for */
    TRACE_EXITED,   /* of itself, before the end: `status` */
};

struct trace {
    pid_t pid;
    enum trace_state state;
    size_t points;  /* stops so far */
    size_t kill_at; /* which of them is its last; 0: none */
    int status;
};

/* Start the child: fn(argument), then _exit(0). */
void trace_start(struct trace *trace, void (*fn)(void *argument), void *argument, size_t kill_at);

/* In the child: begin or end the stretch. */
void trace_mark(void);

/* Into the stretch, from TRACE_READY. */
void trace_enter(struct trace *trace);

/* Attend to the child if it has stopped or ended; never waits.  Whether it has ended. */
bool trace_step(struct trace *trace);

/* How many points of a stretch to kill at: WHERRY_KILL_POINTS, all when that is "all".  With `total` points, the step
 * from one to the next. */
size_t trace_stride(size_t total);

#endif
