/* wherry/process.h - child processes: started exactly as asked, waited for and signalled by descriptor; and pipelines.
 *
 * SPDX-License-Identifier: MIT
 *
 * A process is held by a pidfd, pidfd_open(2): its number may be given to a stranger, the descriptor means it for ever.
 * A child is started with its memory borrowed from the caller for a moment, as vfork(2) does, so that the time it takes
 * does not depend on how much the caller has; nothing but system calls happens there.  It begins with the descriptors
 * it was given and no others, every signal at its default, and none blocked.
 *
 * No thread is started, no handler installed, and SIGCHLD is left as it is: children send it when they end, as any do.
 *
 * Threads: calls on one process or one pipeline are safe together, save its close; any thread may start children.
 * Fork: in a forked child every call on one gives -ECHILD, and its close frees memory alone.
 * Signals: no call is async-signal-safe, save wherry_exit_status().  A signal ends no wait early.
 * Outputs (`ret_...`) are untouched on failure.  wherry_process(3), wherry_pipeline(3). */
#ifndef WHERRY_PROCESS_H
#define WHERRY_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- how one ended ---- */

enum wherry_exit_kind {
    WHERRY_EXIT_UNKNOWN = 0, /* it has ended, and the kernel tells how to its parent alone */
    WHERRY_EXITED = 1,
    WHERRY_KILLED = 2, /* by a signal */
    WHERRY_STOPPED = 3,
    WHERRY_CONTINUED = 4,
};

struct wherry_exit {
    enum wherry_exit_kind kind;
    int code;            /* the exit status, 0 to 255; or the signal that killed or stopped it; SIGCONT */
    bool core;           /* WHERRY_KILLED: its memory was dumped, core(5) */
    int64_t user_time;   /* ns of CPU time, of it and its waited-for children; 0: not known */
    int64_t system_time;
    int64_t max_rss;     /* bytes of memory at the most; 0: not known */
};

/* As a shell has it in $?: the status, or 128 and the signal; 255 when it is not known.  Async-signal-safe. */
WHERRY_API int wherry_exit_status(const struct wherry_exit *exit);

/* "exited with 3", "killed by SIGTERM", "killed by SIGSEGV (core dumped)", "stopped by SIGSTOP", "continued",
 * "ended, and nobody knows how", cut to `size` bytes with the NUL; returns `buffer`.  64 bytes suffice. */
WHERRY_API const char *wherry_exit_text(const struct wherry_exit *exit, char *buffer, size_t size);

/* ---- starting ---- */

struct wherry_process;

/* Instead of a descriptor of the caller's. */
#define WHERRY_PROCESS_NULL (-1)   /* /dev/null */
#define WHERRY_PROCESS_CLOSED (-2) /* nothing: the number is free there */

/* The descriptor numbered `child` in the child is the caller's `own`. */
struct wherry_process_fd {
    int child;
    int own;
};

/* See setrlimit(2); UINT64_MAX: no limit. */
struct wherry_process_limit {
    int resource; /* RLIMIT_NOFILE, ... */
    uint64_t soft;
    uint64_t hard;
};

enum wherry_process_group {
    WHERRY_PROCESS_GROUP_SAME = 0,    /* the caller's, or `join_group` */
    WHERRY_PROCESS_GROUP_NEW = 1,     /* it leads a new process group */
    WHERRY_PROCESS_GROUP_SESSION = 2, /* it leads a new session, and a new group in it; no terminal */
};

/* How to start a child.  Start from WHERRY_PROCESS_OPTIONS; zero means the default. */
struct wherry_process_options {
    size_t size; /* sizeof of the struct that the caller was compiled with */
    const char *const *environment; /* "NAME=value", NULL at the end; default: the caller's */
    const char *directory;          /* it begins there; a relative `program` or entry of PATH is looked for from
                                     * there */
    const struct wherry_process_fd *fds; /* its descriptors besides 0, 1 and 2, or instead of them; each number once.
                                          * By default 0, 1 and 2 are the caller's (/dev/null for one the caller has
                                          * closed). All that is not named here is closed. */
    size_t fd_count;
    enum wherry_process_group group;
    pid_t join_group; /* with GROUP_SAME: a process group of the caller's session; 0: the caller's */
    const struct wherry_process_limit *limits; /* others are as the caller's */
    size_t limit_count;
    bool set_ids;        /* run as `uid` and `gid`, with `groups` alone besides; needs CAP_SETUID and CAP_SETGID */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
    int death_signal;    /* sent to it when the caller's process ends, however: SIGKILL, or SIGTERM; 0: it lives on.
                          * Whichever thread starts it; but an end of the main thread before the others counts as the
                          * process's.  A program that is set-user-ID is not sent it: PR_SET_PDEATHSIG in prctl(2) */
    const int *ignored;  /* signals that it begins with ignored; default: none, whatever the caller ignores */
    size_t ignored_count;
    const int *blocked;  /* signals that it begins with blocked; default: none, whatever the caller blocks */
    size_t blocked_count;
    const char *cgroup;  /* the directory of a cgroup of version 2, in which it is before it runs; cgroups(7) */
    bool pid_namespace;  /* it is PID 1 of a new PID namespace: all that it starts ends with it, wherever they went;
                          * needs CAP_SYS_ADMIN.  It should wait for orphans; a death_signal other than SIGKILL it
                          * does not get unless it handles it: pid_namespaces(7) */
    bool no_search;      /* `program` without a slash is a file in the directory, rather than looked for along PATH */
};

#ifdef __cplusplus
static inline struct wherry_process_options wherry__process_options(void)
{
    struct wherry_process_options options = wherry_process_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_PROCESS_OPTIONS wherry__process_options()
#else
#define WHERRY_PROCESS_OPTIONS {.size = sizeof(struct wherry_process_options)}
#endif

/* Start `program`, with `arguments`, of which the first is its name for itself and NULL the last; NULL: its name
 * alone. Without a slash it is looked for along the caller's PATH.  Returns when it runs, or when it does not: a
 * program that cannot be executed is an error here, never an exit status.  No more than one child is started, and
 * none is left of one that failed.  What it writes before the call returns is not waited for.
 * Returns 0 and the process, which the caller closes; -ENOENT: no such program, its interpreter, or the directory;
 * -EACCES: it, or the directory, is not for the caller, or it is not executable; -ENOEXEC: neither a program of this
 * machine nor a script that begins with #!; -ENOTDIR; -EBADF: one of `fds` is not open, or over RLIMIT_NOFILE;
 * -EMFILE, -ENFILE: no descriptor for it; -EAGAIN: RLIMIT_NPROC, pids.max or the kernel's own limit is reached;
 * -ENOMEM; -E2BIG: the arguments and environment are too long; -EPERM: ids, limits, a namespace that are not the
 * caller's to give, or join_group is none of its session; -EOPNOTSUPP: death_signal from a thread under valgrind;
 * -EINVAL: an option; else what the step that failed says; the sentence names it. */
WHERRY_API int wherry_process_spawn(const char *program, const char *const *arguments,
                                    const struct wherry_process_options *options, struct wherry_process **ret_process);

/* Take hold of a process that runs already: a child of one's own, or anybody's.  `inode` is what
 * wherry_process_inode() said of it once, or 0 for whichever process has the number now.
 * Returns 0 and the process, which the caller closes; -ESRCH: there is none of that number, or it is another by now;
 * -EINVAL: the number is not a process's; -EOPNOTSUPP: an inode, before Linux 6.9, where all have the same; -EMFILE,
 * -ENFILE, -ENOMEM; -ENOSYS: valgrind 3.19. */
WHERRY_API int wherry_process_open(pid_t pid, uint64_t inode, struct wherry_process **ret_process);

/* Let go of it.  A child that was not waited for is reaped if it has ended; else it runs on as an ordinary child of the
 * caller, for waitpid(2).  NULL is fine. */
WHERRY_API void wherry_process_close(struct wherry_process *process);

/* ---- what it is ---- */

/* The pidfd: readable for poll(2), epoll(7) or libuv once the process has ended.  The process's own: do not close
 * it. */
WHERRY_API int wherry_process_fd(const struct wherry_process *process);

/* Its number.  Once it is waited for, it may be another's. */
WHERRY_API pid_t wherry_process_pid(const struct wherry_process *process);

/* The inode of its pidfd, which since Linux 6.9 no other process has until the machine starts anew: "PID:INODE" as
 * kill(1) of util-linux has it.  0: an older kernel. */
WHERRY_API uint64_t wherry_process_inode(const struct wherry_process *process);

/* ---- waiting ---- */

/* Wait until `deadline` for its end.  A child is reaped; how it ended is kept and given again to whoever waits
 * again.  Of somebody else's process Linux 6.15 and later tell how it ended once its parent has waited for it; else
 * the kind is WHERRY_EXIT_UNKNOWN.  ret_exit may be NULL.
 * Returns 0; -EAGAIN (deadline WHERRY_NOW) or -ETIMEDOUT: it runs still; -ECHILD: it has ended, but somebody else
 * took its status (a wait for any child elsewhere in the program, or SIGCHLD is ignored), and the kernel, before
 * 6.15, has forgotten it; or this is a forked child. */
WHERRY_API int wherry_process_wait(struct wherry_process *process, wherry_time deadline, struct wherry_exit *ret_exit);

/* The same for whatever comes first: a child's end, or that it was stopped or continued, each once.  The kernel
 * offers no event for the latter two: they are looked for in steps of 50 us to 10 ms.  Stops of somebody else's
 * process are not seen. */
WHERRY_API int wherry_process_wait_change(struct wherry_process *process, wherry_time deadline,
                                          struct wherry_exit *ret_exit);

/* ---- signals ---- */

/* Send it a signal; 0 asks whether one could.  Never another process, whatever became of its number.
 * Returns 0, also for one that has ended and is not waited for; -ESRCH: it is waited for; -EPERM; -EINVAL; -ECHILD. */
WHERRY_API int wherry_process_kill(struct wherry_process *process, int signal);

/* Send a signal to all of the process group that it leads.  Since Linux 6.9 that is always the right one, also once
 * the leader is waited for and others of the group live; before, a group is -ESRCH once its leader was waited for.
 * Returns 0; -ESRCH: nobody is left in it; -EINVAL: it runs in another's group (start it with
 * WHERRY_PROCESS_GROUP_NEW), or no such signal; -EPERM; -EOPNOTSUPP: of a process that was opened, before Linux 6.9;
 * -ECHILD. */
WHERRY_API int wherry_process_kill_group(struct wherry_process *process, int signal);

/* ---- pipelines ---- */

/* A program of a pipeline, as for wherry_process_spawn(). */
struct wherry_command {
    const char *program;
    const char *const *arguments;
    const struct wherry_process_options *options; /* NULL: the default; their group is the pipeline's */
};

/* Start from WHERRY_PIPELINE_OPTIONS; zero means the default. */
struct wherry_pipeline_options {
    size_t size;     /* sizeof of the struct that the caller was compiled with */
    int input;       /* the first one's standard input: a descriptor, or WHERRY_PROCESS_NULL; default: the caller's,
                      * 0 */
    int output;      /* the last one's standard output; default (0): the caller's, 1 */
    int error;       /* everybody's standard error; default (0): the caller's, 2 */
    bool same_group; /* they stay in the caller's process group; default: one of their own, so that it can be
                      * signalled as a whole; on a terminal, a group of its own may not read from it: tcsetpgrp(3) */
    int death_signal; /* for those whose own options do not say */
};

#ifdef __cplusplus
static inline struct wherry_pipeline_options wherry__pipeline_options(void)
{
    struct wherry_pipeline_options options = wherry_pipeline_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_PIPELINE_OPTIONS wherry__pipeline_options()
#else
#define WHERRY_PIPELINE_OPTIONS {.size = sizeof(struct wherry_pipeline_options)}
#endif

struct wherry_pipeline;

/* Start `count` programs, each one's output going to the next one's input, as `a | b | c`.  All or none: when one
 * cannot be started, those that were are killed and waited for.
 * Returns 0 and the pipeline, which the caller closes; -EINVAL: none, an option, or a command's own descriptor where
 * the pipe has to be; -EMFILE, -ENFILE; else as wherry_process_spawn(): the sentence names the program. */
WHERRY_API int wherry_pipeline_start(const struct wherry_command *commands, size_t count,
                                     const struct wherry_pipeline_options *options,
                                     struct wherry_pipeline **ret_pipeline);

/* Wait until `deadline` for all to end.  ret_exits has room for `count` of them, in their order, or is NULL; the
 * kind of one whose status somebody else took is WHERRY_EXIT_UNKNOWN.
 * Returns 0; -EAGAIN or -ETIMEDOUT: some run still, and run on; -ECHILD: a forked child. */
WHERRY_API int wherry_pipeline_wait(struct wherry_pipeline *pipeline, wherry_time deadline,
                                    struct wherry_exit *ret_exits);

/* End it: `signal` to the whole group, and SIGCONT in case it is stopped; what runs still at `deadline` gets
 * SIGKILL.  Returns 0 when all are waited for, which after SIGKILL has no deadline but the kernel's.  What they
 * started and left behind in the group gets SIGKILL then, too (before Linux 6.9: if the first one has not ended
 * yet).  -EINVAL: no such signal; -EPERM; -ECHILD. */
WHERRY_API int wherry_pipeline_stop(struct wherry_pipeline *pipeline, int signal, wherry_time deadline);

/* One of its processes, for its number or a signal, until the pipeline is closed; NULL: there are fewer. */
WHERRY_API struct wherry_process *wherry_pipeline_process(const struct wherry_pipeline *pipeline, size_t index);

/* A descriptor that is readable while a process has ended that no wherry_pipeline_wait() has seen yet.  The
 * pipeline's own. */
WHERRY_API int wherry_pipeline_fd(const struct wherry_pipeline *pipeline);

/* Let go of it, as of each of its processes: those that run still run on.  NULL is fine. */
WHERRY_API void wherry_pipeline_close(struct wherry_pipeline *pipeline);

#ifdef __cplusplus
}
#endif
#endif
