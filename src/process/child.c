/* process/child.c - owns what happens in a child between clone(2) and execve(2).
 *
 * SPDX-License-Identifier: MIT
 *
 * The child stands on a stack of its own, in the memory of its parent, whose thread waits; other threads run on, and
 * may hold any lock.  So here are raw system calls and nothing else: no malloc, no errno, no stdio (H64).  It writes
 * to its call's struct and its own stack alone.  All signals are blocked until their handlers, which are the
 * parent's, are gone.
 *
 * The order matters.  The cgroup and descriptors come while it still has the caller's rights; limits that need a
 * privilege before ids; the directory after them, so that it is one that the new uid may be in; what kills it with
 * its parent after them, because a change of ids takes that back (prctl(2)); the closing at the end, because much of
 * the above needs descriptors. */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "process/process.h"
#include "process/raw.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

enum { SIGNALS = 64, SIGNAL_SET = 8 };

/* As the kernel has it, with room for a mask wherever it looks for one: all that is not the handler is zero. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long zero[4];
};

/* ---- failing ---- */

WHERRY__RAW __attribute__((noreturn)) static void leave(void)
{
    for (;;)
        wherry__raw(SYS_exit_group, 127);
}

WHERRY__RAW __attribute__((noreturn)) static void fail(struct wherry__spawn_call *call, int step, long code,
                                                       size_t index)
{
    call->failure.step = step;
    call->failure.code = (int)-code;
    call->failure.index = index;
    if (call->report >= 0)
        wherry__raw(SYS_write, call->report, &call->failure, sizeof call->failure);
    leave();
}

/* ---- signals ---- */

/* Handlers go at exec anyway, but must not run in this memory; what was ignored would stay so (H60). */
WHERRY__RAW static void reset_signals(uint64_t ignored)
{
    for (int number = 1; number <= SIGNALS; number++) {
        bool ignore = ignored >> (number - 1) & 1;
        struct kernel_sigaction action = {.handler = ignore ? SIG_IGN : SIG_DFL};
        wherry__raw(SYS_rt_sigaction, number, &action, NULL, SIGNAL_SET); /* not of SIGKILL and SIGSTOP */
    }
}

WHERRY__RAW static void set_mask(uint64_t blocked)
{
    wherry__raw(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, SIGNAL_SET);
}

/* ---- the parent ---- */

/* getppid(2) is 0 across PID namespaces; the caller's /proc knows: "pid (name, with whatever in it) state parent
 * ...". */
WHERRY__RAW static long parent_by_proc(int stat)
{
    char text[512];
    long end = -1, parent = 0, size = wherry__raw(SYS_pread64, stat, text, sizeof text, 0);
    for (long i = 0; i < size; i++)
        end = text[i] == ')' ? i : end;
    if (size < 0 || end < 0)
        return size < 0 ? size : -ENODATA;
    for (long at = end + 4; at < size && text[at] >= '0' && text[at] <= '9'; at++)
        parent = parent * 10 + (text[at] - '0');
    return parent;
}

/* For parent_by_proc(); -1: the parent is in the child's own namespace. */
WHERRY__RAW static int open_parent(struct wherry__spawn_call *call)
{
    if (!call->plan->options.pid_namespace)
        return -1;
    long result = wherry__raw(SYS_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
    if (result < 0)
        fail(call, WHERRY__SPAWN_DEATH, result, 1);
    return (int)result;
}

WHERRY__RAW static bool orphaned(struct wherry__spawn_call *call, int stat)
{
    long parent = stat < 0 ? wherry__raw(SYS_getppid) : parent_by_proc(stat);
    if (parent < 0)
        fail(call, WHERRY__SPAWN_DEATH, parent, 1);
    return parent != call->plan->parent;
}

/* Cloned by a thread that ends at once (spawn.c): wait until it has, and the parent is the process's main thread.
 * The kernel says so with the signal that was asked for here, which is blocked. */
WHERRY__RAW static void wait_for_parent(struct wherry__spawn_call *call)
{
    uint64_t set = UINT64_C(1) << (WHERRY__SPAWN_SIGNAL - 1);
    struct timespec step = {.tv_nsec = 10000000};
    int stat = open_parent(call);
    wherry__raw(SYS_prctl, PR_SET_PDEATHSIG, WHERRY__SPAWN_SIGNAL);
    atomic_store_explicit(&call->armed, 1, memory_order_release); /* pairs with the acquire in spawn.c: now it may
                                                                   * end */
    wherry__raw(SYS_futex, &call->armed, FUTEX_WAKE, 1);
    while (wherry__raw(SYS_rt_sigtimedwait, &set, NULL, &step, SIGNAL_SET) < 0)
        if (orphaned(call, stat)) /* that thread was killed with its process before it was asked to tell */
            leave();
    wherry__raw(SYS_prctl, PR_SET_PDEATHSIG, 0);
    wherry__raw(SYS_close, stat);
}

/* Die with the parent, also with one that is dead already: the kernel makes a child another's before it looks for the
 * signal to send it, so one of the two, the signal or the new parent, is there to be seen (H63). */
WHERRY__RAW static void tie_to_parent(struct wherry__spawn_call *call, int stat)
{
    int signal = call->plan->options.death_signal;
    if (signal == 0)
        return;
    long result = wherry__raw(SYS_prctl, PR_SET_PDEATHSIG, signal);
    if (result < 0)
        fail(call, WHERRY__SPAWN_DEATH, result, 0);
    if (orphaned(call, stat))
        leave();
}

/* ---- descriptors ---- */

WHERRY__RAW static long put_null(int to)
{
    long fd = wherry__raw(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
    if (fd < 0 || fd == to)
        return fd;
    long result = wherry__raw(SYS_dup3, fd, to, 0);
    wherry__raw(SYS_close, fd);
    return result;
}

WHERRY__RAW static void place_fds(struct wherry__spawn_call *call)
{
    const struct wherry__fd_plan *plan = &call->plan->fds;
    long spare = -1, result = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct wherry__fd_step *step = &plan->steps[i];
        switch (step->action) {
        case WHERRY__FD_KEEP:
        case WHERRY__FD_KEEP_OR_NULL:
            result = wherry__raw(SYS_fcntl, step->to, F_SETFD, 0);
            if (result == -EBADF && step->action == WHERRY__FD_KEEP_OR_NULL)
                result = put_null(step->to);
            break;
        case WHERRY__FD_COPY:
            result = wherry__raw(SYS_dup3, step->from, step->to, 0);
            break;
        case WHERRY__FD_SAVE: /* the lowest free number: all that are still to be written are open */
            result = spare = wherry__raw(SYS_fcntl, step->from, F_DUPFD_CLOEXEC, 0);
            break;
        case WHERRY__FD_TAKE:
            result = wherry__raw(SYS_dup3, spare, step->to, 0);
            wherry__raw(SYS_close, spare);
            break;
        case WHERRY__FD_NULL:
            result = put_null(step->to);
            break;
        }
        if (result < 0)
            fail(call, WHERRY__SPAWN_FD, result, i);
    }
}

/* Without close_range(2), or before Linux 5.11 the flag: one by one, as far as there are any. */
WHERRY__RAW static long close_each(unsigned first, unsigned last)
{
    struct rlimit limit = {0};
    long result = wherry__raw(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
    if (result < 0)
        return result;
    if (last >= limit.rlim_max && limit.rlim_max < 1u << 24)
        last = (unsigned)limit.rlim_max;
    for (unsigned fd = first; fd <= last && fd < 1u << 24; fd++)
        wherry__raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

WHERRY__RAW static long close_range_or_each(unsigned first, unsigned last)
{
    long result = wherry__raw(SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC);
    return result == -ENOSYS || result == -EINVAL ? close_each(first, last) : result;
}

/* All others go at exec (H66), and not before: a report may still have to be made. */
WHERRY__RAW static void close_others(struct wherry__spawn_call *call)
{
    const struct wherry__fd_plan *plan = &call->plan->fds;
    unsigned next = 0;
    long result = 0;
    for (size_t i = 0; i < plan->kept_count && result >= 0; i++) {
        unsigned kept = (unsigned)plan->kept[i];
        if (kept > next)
            result = close_range_or_each(next, kept - 1);
        next = kept + 1;
    }
    if (result >= 0)
        result = close_range_or_each(next, ~0u);
    if (result < 0)
        fail(call, WHERRY__SPAWN_CLOSE, result, 0);
}

/* ---- the rest ---- */

WHERRY__RAW static void join_group(struct wherry__spawn_call *call)
{
    const struct wherry_process_options *options = &call->plan->options;
    long result = 0;
    if (options->group == WHERRY_PROCESS_GROUP_SESSION)
        result = wherry__raw(SYS_setsid);
    else if (options->group == WHERRY_PROCESS_GROUP_NEW || options->join_group)
        result = wherry__raw(SYS_setpgid, 0, options->join_group);
    if (result < 0)
        fail(call, WHERRY__SPAWN_GROUP, result, 0);
}

WHERRY__RAW static void join_cgroup(struct wherry__spawn_call *call)
{
    int fd = call->plan->cgroup;
    if (fd < 0)
        return;
    long result = wherry__raw(SYS_write, fd, "0", 1);
    if (result < 0)
        fail(call, WHERRY__SPAWN_CGROUP, result, 0);
    wherry__raw(SYS_close, fd); /* its number may be one that the caller has closed, or asked for */
}

WHERRY__RAW static void set_limits(struct wherry__spawn_call *call)
{
    const struct wherry_process_options *options = &call->plan->options;
    for (size_t i = 0; i < options->limit_count; i++) {
        const struct wherry_process_limit *wish = &options->limits[i];
        uint64_t limit[2] = {wish->soft, wish->hard}; /* struct rlimit64; UINT64_MAX is RLIM64_INFINITY */
        long result = wherry__raw(SYS_prlimit64, 0, wish->resource, limit, NULL);
        if (result < 0)
            fail(call, WHERRY__SPAWN_LIMIT, result, i);
    }
}

/* Of this process alone: libc's setuid(3) would have all threads of the parent change theirs. */
WHERRY__RAW static void set_ids(struct wherry__spawn_call *call)
{
    const struct wherry_process_options *options = &call->plan->options;
    if (!options->set_ids)
        return;
    long result = wherry__raw(SYS_setgroups, options->group_count, options->groups);
    if (result < 0)
        fail(call, WHERRY__SPAWN_IDS, result, 0);
    result = wherry__raw(SYS_setresgid, options->gid, options->gid, options->gid);
    if (result < 0)
        fail(call, WHERRY__SPAWN_IDS, result, 1);
    result = wherry__raw(SYS_setresuid, options->uid, options->uid, options->uid);
    if (result < 0)
        fail(call, WHERRY__SPAWN_IDS, result, 2);
}

WHERRY__RAW static void change_directory(struct wherry__spawn_call *call)
{
    const char *directory = call->plan->options.directory;
    long result = directory ? wherry__raw(SYS_chdir, directory) : 0;
    if (result < 0)
        fail(call, WHERRY__SPAWN_DIRECTORY, result, 0);
}

/* As execvp(3): on to the next where there is none; one that may not be executed is remembered. */
WHERRY__RAW __attribute__((noreturn)) static void execute(struct wherry__spawn_call *call)
{
    const struct wherry__spawn_plan *plan = call->plan;
    size_t which = 0;
    long code = 0;
    for (size_t i = 0; plan->candidates[i]; i++) {
        long result = wherry__raw(SYS_execve, plan->candidates[i], plan->arguments, plan->environment);
        bool absent = result == -ENOENT || result == -ENOTDIR || result == -ESTALE || result == -ENODEV;
        if (code == 0 || !absent) {
            which = i;
            code = result;
        }
        if (!absent && result != -EACCES)
            break;
    }
    fail(call, WHERRY__SPAWN_EXEC, code, which);
}

/* A report by pipe is moved out of the way of what the child is to have. */
WHERRY__RAW static void move_report(struct wherry__spawn_call *call)
{
    const struct wherry__fd_plan *plan = &call->plan->fds;
    if (call->report < 0)
        return;
    int highest = plan->kept_count ? plan->kept[plan->kept_count - 1] : 0;
    long report = wherry__raw(SYS_fcntl, call->report, F_DUPFD_CLOEXEC, highest + 1);
    if (report < 0)
        fail(call, WHERRY__SPAWN_CLOSE, report, 0);
    wherry__raw(SYS_close, call->report);
    call->report = (int)report;
}

WHERRY__RAW int wherry__spawn_child(void *argument)
{
    struct wherry__spawn_call *call = argument;
    atomic_store_explicit(&call->seen, 1, memory_order_relaxed);
    if (call->by_thread)
        wait_for_parent(call);
    reset_signals(call->plan->ignored);
    join_group(call);
    join_cgroup(call);
    move_report(call);
    place_fds(call);
    int stat = call->plan->options.death_signal ? open_parent(call) : -1; /* before limits that might forbid it */
    set_limits(call);
    set_ids(call);
    change_directory(call);
    close_others(call);
    tie_to_parent(call, stat);
    set_mask(call->plan->blocked);
    execute(call);
}
