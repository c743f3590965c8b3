/* process/spawn.c - owns the clone: the child's stack, the caller's signals meanwhile, and knowing when it runs.
 *
 * SPDX-License-Identifier: MIT
 *
 * One clone(CLONE_VM | CLONE_VFORK) makes the child in the caller's memory, so that no page table is copied, however
 * much there is; the caller's thread sleeps until the child executes its program or ends.  CLONE_PIDFD gives the
 * descriptor with it, so that there is no moment in which somebody could reap it first and the number mean another
 * (H62).  All signals are blocked in between: a handler must not run in the child.
 *
 * A child that is to die with its parent, by PR_SET_PDEATHSIG, in fact dies with the *thread* that made it (H63),
 * unless that is the main one.  So on behalf of another thread the clone is made by a thread of the kernel's that
 * ends at once.  The kernel then makes the child one of the process's first living thread, which is the main one,
 * and tells the child so, because it asked for that with the same PR_SET_PDEATHSIG; then it sets the signal it shall
 * die by.  See docs/decisions/processes.md.
 *
 * Under valgrind and qemu-user, which make a fork of the vfork, the child has a copy of the memory: then a pipe tells
 * of its exec.  qemu-user knows no CLONE_PIDFD either: the child's descriptor is opened by its number then, which means
 * another process only if somebody else reaps the child at once. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "process/process.h"
#include "process/raw.h"

enum { STACK = 32768, SIGNAL_SET = 8 };

_Atomic int wherry__spawn_shares = -1;

struct launch {
    struct wherry__spawn_call call;
    int flags;
    char *memory; /* a guard page, a stack, a guard page, a stack */
    size_t page, stack;
    int pidfd;
    pid_t pid;                      /* of the child; 0: none */
    int code;                       /* errno of a clone that failed */
    int report[2];                  /* -1, or the pipe */
    _Atomic uint32_t thread_lives;  /* the kernel clears it */
    _Atomic uint32_t child_borrows; /* likewise, when the child has other memory or none */
};

/* ---- signals ---- */

/* All of them, glibc's own among them: no handler may run in a child that has our memory. */
static uint64_t block_signals(void)
{
    uint64_t all = UINT64_MAX, before = 0;
    wherry__raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNAL_SET);
    return before;
}

static void unblock_signals(uint64_t before)
{
    wherry__raw(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET);
}

/* ---- stacks ---- */

static int map_stacks(struct launch *launch, const char *name)
{
    launch->page = (size_t)sysconf(_SC_PAGESIZE);
    launch->stack = STACK > launch->page ? STACK : launch->page;
    size_t one = launch->page + launch->stack, size = launch->call.by_thread ? 2 * one : one;
    void *memory = wherry__sys.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: no stack to start it on", name);
    launch->memory = memory;
    for (size_t at = 0; at < size; at += one) {
        if (wherry__sys.mprotect(launch->memory + at, launch->page, PROT_NONE) == 0)
            continue;
        int code = errno;
        wherry__sys.munmap(memory, size);
        return wherry__fail_errno(code, "%s: no guard for the stack to start it on", name);
    }
    return 0;
}

static void unmap_stacks(struct launch *launch)
{
    size_t one = launch->page + launch->stack;
    wherry__sys.munmap(launch->memory, launch->call.by_thread ? 2 * one : one);
}

/* Stacks grow down from their end. */
WHERRY__RAW static char *stack_end(const struct launch *launch, size_t which)
{
    return launch->memory + (which + 1) * (launch->page + launch->stack);
}

/* ---- by a thread that ends ---- */

/* Sleep while the word is what it is, at most 10 ms.  Not libc's: its thread-local storage is shared at the moment. */
WHERRY__RAW static void sleep_on(const _Atomic uint32_t *word, uint32_t value)
{
    struct timespec step = {.tv_nsec = 10000000};
    wherry__raw(SYS_futex, word, FUTEX_WAIT, value, &step);
}

/* The kernel's thread: nobody but the kernel knows of it, and it lives for one clone.  It waits until the child has
 * asked to be told of its end, so that the end cannot come first. */
WHERRY__RAW static int clone_and_end(void *argument)
{
    struct launch *launch = argument;
    launch->pid = wherry__sys.clone(wherry__spawn_child, stack_end(launch, 1), launch->flags, &launch->call,
                                    &launch->pidfd, &launch->child_borrows);
    if (launch->pid < 0) {
        launch->code = errno;
        launch->child_borrows = 0;
    }
    while (atomic_load_explicit(&launch->child_borrows, memory_order_acquire) &&
           !atomic_load_explicit(&launch->call.armed, memory_order_acquire))
        sleep_on(&launch->call.armed, 0);
    return 0;
}

/* Whether the child has ended although its word says that it has our memory still: where a kernel dumps its core. */
WHERRY__RAW static bool child_ended(const struct launch *launch)
{
    struct pollfd fd = {.fd = launch->pidfd, .events = POLLIN};
    struct timespec none = {0};
    return wherry__raw(SYS_ppoll, &fd, 1, &none, NULL, SIGNAL_SET) > 0;
}

WHERRY__RAW static int clone_by_thread(struct launch *launch)
{
    const int thread =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
    launch->thread_lives = launch->child_borrows = 1;
    launch->flags |= CLONE_CHILD_CLEARTID;
    if (wherry__sys.clone(clone_and_end, stack_end(launch, 0), thread, launch, NULL, &launch->thread_lives) < 0)
        return errno;
    while (atomic_load_explicit(&launch->thread_lives, memory_order_acquire))
        sleep_on(&launch->thread_lives, atomic_load_explicit(&launch->thread_lives, memory_order_relaxed));
    while (launch->pid > 0 && atomic_load_explicit(&launch->child_borrows, memory_order_acquire) &&
           !child_ended(launch))
        sleep_on(&launch->child_borrows, atomic_load_explicit(&launch->child_borrows, memory_order_relaxed));
    return launch->pid > 0 ? 0 : launch->code;
}

/* ---- by vfork ---- */

static int open_pidfd(struct launch *launch)
{
    launch->pidfd = wherry__sys.pidfd_open(launch->pid, 0);
    if (launch->pidfd >= 0)
        return 0;
    int code = errno;
    wherry__sys.kill(launch->pid, SIGKILL);
    while (waitpid(launch->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return code;
}

static int clone_by_vfork(struct launch *launch)
{
    int flags = launch->flags | CLONE_VFORK;
    char *stack = stack_end(launch, 0);
    launch->pid = wherry__sys.clone(wherry__spawn_child, stack, flags, &launch->call, &launch->pidfd, NULL);
    if (launch->pid >= 0)
        return 0;
    if (errno != EINVAL || atomic_load_explicit(&wherry__spawn_shares, memory_order_relaxed))
        return errno;
    launch->pid = wherry__sys.clone(wherry__spawn_child, stack, flags & ~CLONE_PIDFD, &launch->call, NULL, NULL);
    return launch->pid < 0 ? errno : open_pidfd(launch);
}

WHERRY__RAW static int say_seen(void *argument)
{
    struct launch *launch = argument;
    launch->call.seen = 1;
    wherry__raw(SYS_exit_group, 0);
    return 0;
}

/* Once a process: does such a child have our memory?  It has no signal to send, so that nobody else's wait sees it. */
static int find_out(struct launch *launch, const char *name)
{
    if (atomic_load_explicit(&wherry__spawn_shares, memory_order_relaxed) >= 0)
        return 0;
    uint64_t before = block_signals();
    pid_t pid = wherry__sys.clone(say_seen, stack_end(launch, 0), CLONE_VM | CLONE_VFORK, launch, NULL, NULL);
    int code = errno;
    unblock_signals(before);
    if (pid < 0 && code != EINVAL) /* to qemu-user it is: it forks, and wants the signal of a fork */
        return wherry__spawn_why_clone(code, name, false);
    while (pid > 0 && waitpid(pid, NULL, (int)__WCLONE) < 0 && errno == EINTR)
        ;
    atomic_store_explicit(&wherry__spawn_shares, (int)launch->call.seen, memory_order_relaxed);
    launch->call.seen = 0;
    return 0;
}

/* ---- the report by pipe ---- */

static int open_report(struct launch *launch, const char *name)
{
    if (atomic_load_explicit(&wherry__spawn_shares, memory_order_relaxed))
        return 0;
    wherry__fd_guard();
    int result = wherry__sys.pipe2(launch->report, O_CLOEXEC), code = errno;
    for (int i = 0; i < 2; i++)
        launch->report[i] = result < 0 ? -1 : wherry__fd_note(launch->report[i]);
    wherry__fd_unguard();
    if (result < 0)
        return wherry__fail_errno(code, "%s: no pipe to learn by whether it starts", name);
    launch->call.report = launch->report[1];
    return 0;
}

/* Waits until the child's end of it is closed, by exec or its end. */
static void read_report(struct launch *launch)
{
    struct wherry__spawn_failure failure;
    wherry__fd_close(&launch->report[1]);
    if (launch->report[0] >= 0 && wherry__sys.read(launch->report[0], &failure, sizeof failure) == sizeof failure)
        launch->call.failure = failure;
}

/* ---- the whole ---- */

static int start(struct launch *launch)
{
    uint64_t before = block_signals();
    int code = launch->call.by_thread ? clone_by_thread(launch) : clone_by_vfork(launch);
    if (code == 0)
        read_report(launch);
    unblock_signals(before);
    return code;
}

/* A child that failed has nothing more to do but end. */
static void bury(struct launch *launch)
{
    siginfo_t info;
    while (wherry__sys.waitid(P_PIDFD, (id_t)launch->pidfd, &info, WEXITED, NULL) < 0 && errno == EINTR)
        ;
    wherry__fd_close(&launch->pidfd);
}

static int launch_child(struct launch *launch, struct wherry__spawn_failure *ret_failure,
                        struct wherry_process *process)
{
    const struct wherry__spawn_plan *plan = launch->call.plan;
    const struct wherry_process_options *options = &plan->options;
    int code = start(launch);
    if (code != 0)
        return wherry__spawn_why_clone(code, plan->name, options->pid_namespace);
    if (launch->call.failure.step != WHERRY__SPAWN_START) {
        bury(launch);
        *ret_failure = launch->call.failure;
        return wherry__spawn_why(plan, &launch->call.failure);
    }
    wherry__process_adopt(process, launch->pid, launch->pidfd, true, options->group != WHERRY_PROCESS_GROUP_SAME);
    return 0;
}

int wherry__process_start_child(const struct wherry__spawn_plan *plan, struct wherry__spawn_failure *ret_failure,
                                struct wherry_process **ret_process)
{
    struct launch launch = {.call = {.plan = plan, .report = -1}, .pidfd = -1, .report = {-1, -1}};
    struct wherry_process *process;
    int cancel;
    launch.flags = CLONE_VM | CLONE_PIDFD | SIGCHLD | (plan->options.pid_namespace ? CLONE_NEWPID : 0);
    launch.call.by_thread = plan->options.death_signal && wherry__thread_id() != plan->parent;
    int result = wherry__process_make(plan->name, &process);
    if (result < 0)
        return result;
    result = map_stacks(&launch, plan->name);
    if (result < 0) {
        wherry_process_close(process);
        return result;
    }
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    result = find_out(&launch, plan->name);
    if (result == 0 && launch.call.by_thread && !wherry__spawn_shares)
        result = wherry__fail(EOPNOTSUPP,
                              "%s: under valgrind and qemu-user, death_signal is for children of the main thread",
                              plan->name);
    if (result == 0)
        result = open_report(&launch, plan->name);
    if (result == 0)
        result = launch_child(&launch, ret_failure, process);
    wherry__fd_close(&launch.report[0]);
    wherry__fd_close(&launch.report[1]);
    pthread_setcancelstate(cancel, &cancel);
    unmap_stacks(&launch);
    if (result < 0)
        wherry_process_close(process);
    else
        *ret_process = process;
    return result;
}

int wherry_process_spawn(const char *program, const char *const *arguments,
                         const struct wherry_process_options *options, struct wherry_process **ret_process)
{
    struct wherry__spawn_plan *plan;
    struct wherry__spawn_failure failure;
    int result = wherry__process_start();
    if (result == 0)
        result = wherry__spawn_plan_make(program, arguments, options, &plan);
    if (result < 0)
        return result;
    result = wherry__process_start_child(plan, &failure, ret_process);
    wherry__spawn_plan_free(plan);
    return result;
}
