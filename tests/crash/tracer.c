/* tests/crash/tracer.c - owns ptrace(2).
 *
 * SPDX-License-Identifier: MIT */
#include "crash/tracer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

void trace_mark(void)
{
    syscall(SYS_kill, getpid(), SIGSTOP); /* no wrapper, which may make calls of its own */
}

void trace_start(struct trace *trace, void (*fn)(void *argument), void *argument, size_t kill_at)
{
    fflush(NULL);
    *trace = (struct trace){.kill_at = kill_at, .state = TRACE_BEFORE};
    trace->pid = fork();
    ck_assert_int_ge(trace->pid, 0);
    if (trace->pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(70);
        fn(argument);
        _exit(0);
    }
}

static void resume(const struct trace *trace, bool by_calls, int signal)
{
    ptrace(by_calls ? PTRACE_SYSCALL : PTRACE_CONT, trace->pid, NULL, (void *)(long)signal);
}

static void end(struct trace *trace, enum trace_state state)
{
    kill(trace->pid, SIGKILL);
    while (waitpid(trace->pid, &trace->status, 0) < 0 && errno == EINTR)
        ;
    trace->state = state;
}

void trace_enter(struct trace *trace)
{
    ck_assert_int_eq(trace->state, TRACE_READY);
    /* so that a stop at a call is told from a SIGTRAP; and no tracee outlives its tracer */
    ptrace(PTRACE_SETOPTIONS, trace->pid, NULL, (void *)(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    trace->state = TRACE_WITHIN;
    resume(trace, true, 0);
}

bool trace_step(struct trace *trace)
{
    int status;
    if (trace->state >= TRACE_KILLED)
        return true;
    if (trace->state == TRACE_READY || waitpid(trace->pid, &status, WNOHANG) != trace->pid)
        return false;
    if (!WIFSTOPPED(status)) {
        trace->status = status;
        trace->state = TRACE_EXITED;
        return true;
    }
    int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
        if (++trace->points == trace->kill_at)
            end(trace, TRACE_KILLED);
        else
            resume(trace, true, 0);
    } else if (signal == SIGSTOP && trace->state == TRACE_BEFORE) {
        trace->state = TRACE_READY;
    } else if (signal == SIGSTOP) {
        end(trace, TRACE_COMPLETE);
    } else {
        resume(trace, trace->state == TRACE_WITHIN, signal);
    }
    return trace->state >= TRACE_KILLED;
}

size_t trace_stride(size_t total)
{
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    if (wanted && strcmp(wanted, "all") == 0)
        return 1;
    size_t points = wanted ? strtoul(wanted, NULL, 10) : 0;
    if (points == 0)
        points = 12;
    return total / points + 1;
}
