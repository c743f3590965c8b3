/* step_events.c - owns waiting for a traced process: its threads, its children, its breakpoints.
 *
 * SPDX-License-Identifier: MIT
 *
 * Between two calls from outside, exactly one thread of the process stands: step->thread.  Only known threads are
 * waited for, so that the caller may have other children. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "step_arch.h"
#include "step_internal.h"

/* ---- breakpoints ------------------------------------------------------------------------------------------------- */

/* Exchange the code at an address, which is aligned to its length, so that it lies within one word. */
static int exchange(pid_t thread, uintptr_t address, const unsigned char *code, unsigned char *ret_old)
{
    uintptr_t base = address & ~(uintptr_t)(sizeof(long) - 1);
    unsigned char bytes[sizeof(long)];
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, thread, (void *)base, NULL);
    if (errno != 0)
        return -errno;
    memcpy(bytes, &word, sizeof word);
    if (address - base + sizeof arch_break > sizeof word)
        return -EINVAL;
    if (ret_old)
        memcpy(ret_old, bytes + (address - base), sizeof arch_break);
    memcpy(bytes + (address - base), code, sizeof arch_break);
    memcpy(&word, bytes, sizeof word);
    return ptrace(PTRACE_POKETEXT, thread, (void *)base, (void *)word) == 0 ? 0 : -errno;
}

int step__plant(struct step *step)
{
    for (size_t i = 0; i < STEP_BREAKS; i++) {
        struct step_break *at = &step->breaks[i];
        if (!at->wanted || at->planted)
            continue;
        int result = exchange(step->thread, at->address, arch_break, at->code);
        if (result < 0)
            return result;
        at->planted = true;
    }
    return 0;
}

static void lift_by(struct step *step, pid_t thread)
{
    for (size_t i = 0; i < STEP_BREAKS; i++)
        if (step->breaks[i].planted)
            exchange(thread, step->breaks[i].address, step->breaks[i].code, NULL);
}

void step__lift(struct step *step)
{
    if (step->thread != 0)
        lift_by(step, step->thread);
    for (size_t i = 0; i < STEP_BREAKS; i++)
        step->breaks[i].planted = false;
}

static struct step_break *break_hit(struct step *step, pid_t thread, struct arch_regs *regs)
{
    if (arch_read(thread, regs) < 0)
        return NULL;
    for (size_t i = 0; i < STEP_BREAKS; i++)
        if (step->breaks[i].address != 0 && arch_pc(regs) == step->breaks[i].address + ARCH_BREAK_SKIP)
            return &step->breaks[i];
    return NULL;
}

/* ---- threads and children ---------------------------------------------------------------------------------------- */

int step__add_thread(struct step *step, pid_t thread)
{
    if (step->thread_count == step->thread_room) {
        size_t room = step->thread_room ? 2 * step->thread_room : 4;
        pid_t *threads = realloc(step->threads, room * sizeof *threads);
        if (!threads)
            return -ENOMEM;
        step->threads = threads;
        step->thread_room = room;
    }
    step->threads[step->thread_count++] = thread;
    return 0;
}

static void forget_thread(struct step *step, pid_t thread)
{
    for (size_t i = 0; i < step->thread_count; i++)
        if (step->threads[i] == thread)
            step->threads[i] = step->threads[--step->thread_count];
    if (step->thread == thread)
        step->thread = 0;
}

static int wait_one(const struct step *step, pid_t thread, int *ret_status)
{
    while (waitpid(thread, ret_status, __WALL) < 0) {
        if (errno != EINTR)
            return -errno;
        if (step->give_up && *step->give_up)
            return -ECANCELED;
    }
    return 0;
}

/* A thread whose maker was killed before it could tell of it is not in the list, and its end holds up that of the
 * process. */
static void bury_unknown(const struct step *step)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", step->pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        siginfo_t end = {.si_pid = 0};
        bool known = thread <= 0 || thread == step->pid;
        for (size_t i = 0; i < step->thread_count; i++)
            known |= step->threads[i] == thread;
        /* looked at first: a stop is reported too, even if nobody asked, and must stay for receive_child() */
        if (!known && waitid(P_PID, (id_t)thread, &end, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 &&
            end.si_pid == thread &&
            (end.si_code == CLD_EXITED || end.si_code == CLD_KILLED || end.si_code == CLD_DUMPED))
            waitpid(thread, NULL, WNOHANG | __WALL);
    }
    closedir(tasks);
}

/* The thread of which there is news. */
static int wait_any(struct step *step, pid_t *ret_thread, int *ret_status)
{
    for (;;) {
        if (step->thread_count == 1 && !step->crowded) {
            *ret_thread = step->threads[0];
            return wait_one(step, *ret_thread, ret_status);
        }
        for (size_t i = step->thread_count; i-- > 0;) {
            pid_t thread = step->threads[i], found = waitpid(thread, ret_status, WNOHANG | __WALL);
            if (found == thread) {
                *ret_thread = thread;
                return 0;
            }
            if (found < 0 && errno == ECHILD)
                forget_thread(step, thread); /* another thread's execve() ended it */
        }
        if (step->thread_count == 0)
            return -ECHILD;
        if (step->give_up && *step->give_up)
            return -ECANCELED;
        bury_unknown(step);
        siginfo_t news = {.si_pid = 0};
        if (waitid(P_ALL, 0, &news, WEXITED | WSTOPPED | WNOWAIT | __WALL) != 0)
            continue;
        bool known = false;
        for (size_t i = 0; i < step->thread_count; i++)
            known |= step->threads[i] == news.si_pid;
        if (!known) /* a child of the caller, who will wait for it; it hides ours until then */
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static bool is_thread_of(const struct step *step, pid_t thread)
{
    return syscall(SYS_tgkill, step->pid, thread, 0) == 0;
}

/* A thread or a process was made; it stands before its first instruction. */
static int receive_child(struct step *step, pid_t parent, int event)
{
    unsigned long message = 0;
    int status, result;
    if (ptrace(PTRACE_GETEVENTMSG, parent, NULL, &message) != 0)
        return 0; /* killed meanwhile: the next wait says so */
    pid_t child = (pid_t)message;
    result = wait_one(step, child, &status);
    if (result < 0)
        return result == -ECHILD ? 0 : result;
    if (!WIFSTOPPED(status))
        return 0;
    if (event == PTRACE_EVENT_CLONE && is_thread_of(step, child)) {
        result = step__add_thread(step, child);
        step->crowded = true;
        ptrace(PTRACE_CONT, child, NULL, NULL);
        return result;
    }
    lift_by(step, child);
    if (event == PTRACE_EVENT_VFORK) { /* it borrows the memory: nothing planted there until it is given back */
        for (size_t i = 0; i < STEP_BREAKS; i++)
            step->breaks[i].planted = false;
        step->planted_for++;
    }
    ptrace(PTRACE_DETACH, child, NULL, NULL);
    return 0;
}

static void forget_image(struct step *step)
{
    memset(step->breaks, 0, sizeof step->breaks);
    step->planted_for = 0;
    step->crowded = false;
    step->threads[0] = step->thread = step->pid;
    step->thread_count = 1;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void resume(pid_t thread, int request, int signal)
{
    /* ESRCH: dying; the next wait says so */
    syscall(SYS_ptrace, request, thread, NULL, (void *)(long)signal); /* whose type of requests is the C library's */
}

/* A thread has ended.  The leader's end is told last, and is the end of the process. */
static int take_end(struct step *step, pid_t thread, int status)
{
    bool ours = step->thread == thread;
    forget_thread(step, thread);
    if (thread == step->pid) {
        step->state = STEP_IS_GONE;
        step->status = status;
        step->thread = 0;
        return EVENT_GONE;
    }
    return ours ? EVENT_THREAD_GONE : -EAGAIN;
}

/* Another thread than the one that is taken along is at a breakpoint that means nothing to it: over it. */
static void pass_break(struct step *step, pid_t thread)
{
    int status;
    lift_by(step, thread);
    resume(thread, PTRACE_SINGLESTEP, 0);
    if (wait_one(step, thread, &status) < 0 || !WIFSTOPPED(status))
        return;
    for (size_t i = 0; i < STEP_BREAKS; i++)
        if (step->breaks[i].planted)
            exchange(thread, step->breaks[i].address, arch_break, NULL);
    resume(thread, PTRACE_CONT, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
}

/* A SIGTRAP: a step that was made, a breakpoint, or the program's own.  -EAGAIN: it goes on. */
static int take_trap(struct step *step, pid_t thread, int request)
{
    struct arch_regs regs;
    if (thread == step->thread && request == PTRACE_SINGLESTEP)
        return EVENT_STEP;
    int how = thread == step->thread ? request : PTRACE_CONT;
    struct step_break *hit = break_hit(step, thread, &regs);
    if (!hit) {
        resume(thread, how, SIGTRAP);
        return -EAGAIN;
    }
    arch_set_pc(&regs, hit->address);
    arch_write(thread, &regs);
    if (!hit->planted || request == PTRACE_SINGLESTEP) { /* hit before it was lifted */
        resume(thread, how, 0);
        return -EAGAIN;
    }
    if (request == PTRACE_SYSCALL && thread != step->thread) {
        pass_break(step, thread);
        return -EAGAIN;
    }
    step->thread = thread;
    return EVENT_BREAK;
}

/* What has happened to a thread that stands; -EAGAIN when it goes on. */
static int take_stop(struct step *step, pid_t thread, int status, int request)
{
    int how = thread == step->thread ? request : PTRACE_CONT, signal = WSTOPSIG(status), event = status >> 16;
    siginfo_t info;
    switch (event) {
    case 0:
        break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE: {
        int result = receive_child(step, thread, event);
        resume(thread, how, 0);
        return result < 0 ? result : -EAGAIN;
    }
    case PTRACE_EVENT_EXEC:
        forget_image(step);
        return EVENT_EXEC;
    case PTRACE_EVENT_VFORK_DONE:
        if (step->planted_for > 0 && --step->planted_for == 0 && request != PTRACE_SINGLESTEP) {
            pid_t ours = step->thread;
            step->thread = thread; /* the one that stands, through which memory can be written */
            step__plant(step);
            step->thread = ours;
        }
        resume(thread, how, 0);
        return -EAGAIN;
    default:
        resume(thread, how, 0);
        return -EAGAIN;
    }
    if (signal == (SIGTRAP | 0x80)) {
        if (thread == step->thread && request == PTRACE_SYSCALL)
            return EVENT_CALL;
        resume(thread, how, 0);
        return -EAGAIN;
    }
    if (signal == SIGTRAP)
        return take_trap(step, thread, request);
    /* a stop signal is seen twice: when it comes, and, without siginfo, when it has stopped the process; which goes
     * on */
    bool stopped = (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) &&
                   ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) != 0;
    resume(thread, how, stopped ? 0 : signal);
    return -EAGAIN;
}

int step__go(struct step *step, int request)
{
    if (step->thread != 0)
        resume(step->thread, request, 0);
    for (;;) {
        pid_t thread;
        int status, result = wait_any(step, &thread, &status);
        if (result == 0)
            result = WIFSTOPPED(status) ? take_stop(step, thread, status, request) : take_end(step, thread, status);
        if (result != -EAGAIN)
            return result;
    }
}

int step__bury(struct step *step)
{
    while (step->thread_count > 0) {
        pid_t thread;
        int status, result = wait_any(step, &thread, &status);
        if (result == -ECANCELED && step->give_up) { /* SIGKILL was sent: it does end */
            step->give_up = NULL;
            step->crowded = true;
            continue;
        }
        if (result < 0)
            return result;
        if (WIFSTOPPED(status))
            resume(thread, PTRACE_CONT, 0);
        else if (take_end(step, thread, status) == EVENT_GONE)
            return 0;
    }
    return -ECHILD;
}

/* Bring a running thread to a stand.  Something else may come first, which is dealt with as ever. */
static int halt(struct step *step, pid_t thread)
{
    syscall(SYS_tgkill, step->pid, thread, SIGSTOP);
    for (;;) {
        int status, result = wait_one(step, thread, &status);
        if (result < 0)
            return result;
        if (!WIFSTOPPED(status)) {
            take_end(step, thread, status);
            return -ESRCH;
        }
        if (status >> 16 == 0 && WSTOPSIG(status) == SIGSTOP)
            return 0;
        take_stop(step, thread, status, PTRACE_CONT);
    }
}

int step__let_go(struct step *step, int signal)
{
    for (size_t i = 0; i < step->thread_count;) {
        pid_t thread = step->threads[i];
        if (thread != step->thread) {
            int result = halt(step, thread);
            if (step->state == STEP_IS_GONE)
                return -ESRCH;
            if (result == -ECHILD)
                forget_thread(step, thread);
            else if (result < 0 && result != -ESRCH)
                return result;
            if (result < 0)
                continue; /* another one is in its place */
        }
        i++;
    }
    if (step->thread_count > 0) /* those that a thread left when it ended */
        lift_by(step, step->threads[0]);
    if (signal != 0)
        kill(step->pid, signal);
    while (step->thread_count > 0)
        ptrace(PTRACE_DETACH, step->threads[--step->thread_count], NULL, NULL);
    step->thread = 0;
    step->state = STEP_IS_LOOSE;
    return 0;
}
