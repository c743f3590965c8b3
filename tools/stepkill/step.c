/* step.c - owns a process's way through a function, and its end there.
 *
 * SPDX-License-Identifier: MIT */
#include "step.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "step_arch.h"
#include "step_internal.h"

/* ---- begin ------------------------------------------------------------------------------------------------------- */

int step_submit(void)
{
    /* PTRACE_O_EXITKILL ends with the tracing, at SIGSTOP; this does not */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return -errno;
    return kill(getpid(), SIGSTOP) == 0 ? 0 : -errno;
}

int step_start(struct step *step, pid_t pid)
{
    const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE |
                         PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE;
    int status;
    *step = (struct step){.pid = pid, .thread = pid, .state = STEP_IS_LOOSE};
    while (waitpid(pid, &status, WUNTRACED) < 0)
        if (errno != EINTR)
            return -errno;
    if (!WIFSTOPPED(status)) {
        step->state = STEP_IS_GONE;
        step->status = status;
        return STEP_GONE;
    }
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)options) != 0)
        return -errno;
    step->state = STEP_IS_TRACED;
    int result = step__add_thread(step, pid);
    return result < 0 ? result : STEP_THERE;
}

int step_fork(struct step *step, void (*function)(void *argument), void *argument)
{
    *step = (struct step){.state = STEP_IS_GONE};
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        if (step_submit() < 0)
            _exit(127);
        function(argument);
        _exit(0);
    }
    return step_start(step, pid);
}

/* ---- go on ------------------------------------------------------------------------------------------------------- */

static int result_of(int event)
{
    switch (event) {
    case EVENT_GONE:
        return STEP_GONE;
    case EVENT_EXEC:
        return STEP_EXECED;
    case EVENT_THREAD_GONE:
        return STEP_LEFT;
    default:
        return event < 0 ? event : STEP_THERE;
    }
}

uintptr_t step_pc(const struct step *step)
{
    uintptr_t pc = 0;
    if (step->state == STEP_IS_TRACED && step->thread != 0)
        arch_read_pc(step->thread, &pc);
    return pc;
}

static struct step_break *find_break(struct step *step, uintptr_t address)
{
    for (size_t i = 0; i < STEP_BREAKS; i++)
        if (step->breaks[i].address == address)
            return &step->breaks[i];
    return NULL;
}

int step_break(struct step *step, uintptr_t address)
{
    struct step_break *slot = find_break(step, address);
    if (!slot)
        slot = find_break(step, 0);
    for (size_t i = 0; !slot && i < STEP_BREAKS; i++)
        if (!step->breaks[i].wanted)
            slot = &step->breaks[i];
    if (!slot)
        return -ENOSPC;
    slot->address = address;
    slot->wanted = true;
    return 0;
}

void step_unbreak(struct step *step, uintptr_t address)
{
    struct step_break *slot = find_break(step, address);
    if (slot)
        slot->wanted = false;
}

/* One way for both kinds of going on: to a breakpoint, or to the next system call. */
static int go_planted(struct step *step, int request)
{
    if (step->state != STEP_IS_TRACED)
        return -ESRCH;
    /* what stands on a breakpoint would only hit it again */
    uintptr_t pc = step_pc(step);
    struct step_break *here = pc ? find_break(step, pc) : NULL;
    if (here && here->wanted) {
        int event = step__go(step, PTRACE_SINGLESTEP);
        if (event != EVENT_STEP)
            return event;
        pc = step_pc(step);
        here = find_break(step, pc);
        if (here && here->wanted)
            return EVENT_BREAK;
    }
    if (step->thread != 0) {
        int result = step__plant(step);
        if (result < 0)
            return result;
    }
    int event = step__go(step, request);
    if (step->thread != 0 && event != EVENT_EXEC) /* no thread stands: they stay, for who comes by */
        step__lift(step);
    return event;
}

int step_run(struct step *step)
{
    int event;
    do
        event = go_planted(step, PTRACE_CONT);
    while (event == EVENT_THREAD_GONE); /* another may come by */
    return result_of(event);
}

int step_run_to(struct step *step, uintptr_t address)
{
    int result = step_break(step, address);
    if (result < 0)
        return result;
    do
        result = step_run(step);
    while (result == STEP_THERE && step_pc(step) != address);
    step_unbreak(step, address);
    return result;
}

int step_enter(struct step *step, uintptr_t address, uint64_t n)
{
    struct arch_regs regs;
    int result = STEP_THERE;
    for (uint64_t i = 0; i < n && result == STEP_THERE; i++)
        result = step_run_to(step, address);
    if (result != STEP_THERE)
        return result;
    result = arch_read(step->thread, &regs);
    if (result == 0)
        result = arch_return(step->thread, &regs, &step->return_address);
    if (result < 0)
        return result;
    step->entry_sp = arch_sp(&regs);
    step->steps = 0;
    return STEP_THERE;
}

/* At the return address, of this call and not of one further in? */
static bool has_returned(const struct step *step)
{
    struct arch_regs regs;
    uintptr_t pc;
    return arch_read_pc(step->thread, &pc) == 0 && pc == step->return_address && arch_read(step->thread, &regs) == 0 &&
           arch_has_returned(arch_sp(&regs), step->entry_sp);
}

int step_advance(struct step *step, uint64_t n)
{
    if (step->state != STEP_IS_TRACED || step->thread == 0)
        return -ESRCH;
    for (; n > 0; n--) {
        int event = step__go(step, PTRACE_SINGLESTEP);
        if (event != EVENT_STEP)
            return result_of(event);
        step->steps++;
        if (has_returned(step))
            return STEP_RETURNED;
    }
    return STEP_THERE;
}

int step_until_return(struct step *step)
{
    return step_advance(step, UINT64_MAX);
}

int step_advance_calls(struct step *step, uint64_t n)
{
    if (step->state != STEP_IS_TRACED || step->thread == 0)
        return -ESRCH;
    int result = step_break(step, step->return_address);
    if (result < 0)
        return result;
    pid_t ours = step->thread;
    result = STEP_THERE;
    while (n > 0) {
        int event = go_planted(step, PTRACE_SYSCALL);
        if (event == EVENT_CALL) {
            step->steps++;
            n--;
        } else if (event != EVENT_BREAK) {
            result = result_of(event);
            break;
        } else if (step->thread == ours && has_returned(step)) {
            result = STEP_RETURNED;
            break;
        }
    }
    step_unbreak(step, step->return_address);
    return result;
}

/* ---- end --------------------------------------------------------------------------------------------------------- */

/* Wait for news of a process that is no longer traced: its stop or its end. */
static int wait_loose(struct step *step, int flags)
{
    int status;
    while (waitpid(step->pid, &status, flags) < 0) {
        if (errno != EINTR)
            return -errno;
        if (step->give_up && *step->give_up)
            return -ECANCELED;
    }
    if (!WIFSTOPPED(status)) {
        step->state = STEP_IS_GONE;
        step->status = status;
    }
    return 0;
}

int step_kill(struct step *step, int signal)
{
    if (step->state == STEP_IS_GONE)
        return -ESRCH;
    if (signal == SIGKILL) {
        kill(step->pid, SIGKILL);
        return step->state == STEP_IS_TRACED ? step__bury(step) : wait_loose(step, 0);
    }
    if (step->state == STEP_IS_TRACED) {
        int result = step__let_go(step, signal);
        if (result < 0)
            return result;
    } else {
        kill(step->pid, signal);
    }
    return wait_loose(step, signal == SIGSTOP ? WUNTRACED : 0);
}

int step_finish(struct step *step)
{
    if (step->state == STEP_IS_GONE)
        return 0;
    if (step->state == STEP_IS_TRACED) {
        int result = step__let_go(step, 0);
        if (result < 0)
            return step->state == STEP_IS_GONE ? 0 : result;
    }
    kill(step->pid, SIGCONT);
    return wait_loose(step, 0);
}

void step_end(struct step *step)
{
    step->give_up = NULL;
    if (step->state != STEP_IS_GONE)
        step_kill(step, SIGKILL);
    free(step->threads);
    step->threads = NULL;
    step->thread_count = step->thread_room = 0;
}
