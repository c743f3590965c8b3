/* process/process.h - what the files of this folder share: a process, and the plan by which a child is made.
 *
 * SPDX-License-Identifier: MIT
 *
 * A spawn has three parts.  plan.c turns the options into a plan: everything that the child needs, ready to use,
 * because in the child there is no malloc (H64: another thread may hold its lock).  child.c runs in the child, on a
 * stack of its own but in the caller's memory: nothing but raw system calls.  spawn.c clones, waits for the exec,
 * and says what went wrong. */
#ifndef WHERRY_PROCESS_PROCESS_H
#define WHERRY_PROCESS_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/process.h>

/* ---- a process ---- */

struct wherry_process {
    pid_t pid;
    int pidfd;
    uint64_t born;    /* generation of the process that made this */
    bool child;       /* ours to wait for */
    bool leads;       /* it leads a process group, and has since before it ran; of one that was opened: perhaps */
    pthread_mutex_t lock; /* around reaping, so that one of several threads takes the status and all get it */
    bool ended;       /* `exit` says how; a child is reaped */
    bool taken;       /* somebody else reaped it, and the kernel has forgotten how it ended */
    struct wherry_exit exit;
};

/* Memory for a process, before there is one, so that none is started that cannot be held: 0 or -ENOMEM.  And the
 * process into it, whose pidfd becomes its own. */
int wherry__process_make(const char *name, struct wherry_process **ret_process);
void wherry__process_adopt(struct wherry_process *process, pid_t pid, int pidfd, bool child, bool leads);

/* Reap it if it has ended: 0 and how; -EAGAIN: it runs; or as wherry_process_wait(), but without a sentence. */
int wherry__process_reap(struct wherry_process *process, struct wherry_exit *ret_exit);

/* wherry_process_kill() and wherry_process_kill_group(), without a sentence. */
int wherry__process_send(struct wherry_process *process, int signal);
int wherry__process_send_group(struct wherry_process *process, int signal);

/* Sleep until it ends, a signal comes, or the deadline: 0, or -errno.  And what to say when that has passed. */
int wherry__process_sleep(const struct wherry_process *process, wherry_time deadline);
int wherry__process_runs(const struct wherry_process *process, wherry_time deadline);

/* -ECHILD with a sentence in a forked child. */
int wherry__process_mine(uint64_t born);

/* ---- how a child's descriptors come about: fds.c ---- */

enum wherry__fd_action {
    WHERRY__FD_KEEP,  /* `to` stays as it is, and passes exec */
    WHERRY__FD_KEEP_OR_NULL, /* the same, or /dev/null where the caller has it closed */
    WHERRY__FD_COPY,  /* `from` to `to` */
    WHERRY__FD_SAVE,  /* `from`, which is about to be overwritten, to a spare number */
    WHERRY__FD_TAKE,  /* the spare one to `to` */
    WHERRY__FD_NULL,  /* /dev/null to `to` */
};

struct wherry__fd_step {
    enum wherry__fd_action action;
    int from, to;
};

struct wherry__fd_plan {
    struct wherry__fd_step *steps; /* count of them, made in this order */
    size_t count;
    int *kept; /* the numbers that are open in the child, ascending; all others are closed */
    size_t kept_count;
};

/* How long the arrays are to be for a list of `count`. */
size_t wherry__fd_plan_steps(size_t count);
size_t wherry__fd_plan_kept(size_t count);

/* Fill a plan, whose arrays are that long.  0, or -EINVAL with a sentence that begins with `name`. */
int wherry__fd_plan(struct wherry__fd_plan *plan, const struct wherry_process_fd *fds, size_t count, const char *name);

/* ---- the plan ---- */

/* Where a child failed.  In the order in which it is done. */
enum wherry__spawn_step {
    WHERRY__SPAWN_START, /* none yet */
    WHERRY__SPAWN_GROUP,
    WHERRY__SPAWN_CGROUP,
    WHERRY__SPAWN_FD,
    WHERRY__SPAWN_IDS,
    WHERRY__SPAWN_DIRECTORY,
    WHERRY__SPAWN_LIMIT,
    WHERRY__SPAWN_CLOSE,
    WHERRY__SPAWN_DEATH,
    WHERRY__SPAWN_EXEC,
};

struct wherry__spawn_plan {
    const char *name; /* of the program, for sentences */
    struct wherry_process_options options;
    const char *const *arguments;
    const char *const *environment;
    const char **candidates; /* files to execute, in this order; NULL at the end */
    struct wherry__fd_plan fds;
    uint64_t ignored, blocked; /* sets of signals: bit N - 1 */
    int cgroup;                /* its cgroup.procs, open to be written; -1 */
    pid_t parent;              /* the caller's process */
    const char *default_arguments[2];
};

/* Returns 0 and a plan, to be freed; or -errno with a sentence. */
int wherry__spawn_plan_make(const char *program, const char *const *arguments,
                            const struct wherry_process_options *options, struct wherry__spawn_plan **ret_plan);
void wherry__spawn_plan_free(struct wherry__spawn_plan *plan);

/* ---- the child ---- */

/* What the child is given and what it gives back.  In memory that both see; under valgrind, which makes vfork(2) a
 * fork, the child sees a copy, and `report` is a pipe. */
struct wherry__spawn_call {
    const struct wherry__spawn_plan *plan;
    int report;                 /* write end of a pipe for struct wherry__spawn_failure; -1 */
    bool by_thread;             /* it was cloned by a thread that ends at once: see spawn.c */
    _Atomic uint32_t armed;     /* by_thread: the child has asked to be told of that thread's end */
    _Atomic uint32_t seen;      /* the child ran in this memory */
    struct wherry__spawn_failure {
        int step; /* enum wherry__spawn_step; START: it did not fail */
        int code; /* errno */
        size_t index; /* which descriptor step, limit or candidate */
    } failure;
};

/* The sentence for a child that failed, or could not be made; returns -errno. */
int wherry__spawn_why(const struct wherry__spawn_plan *plan, const struct wherry__spawn_failure *failure);
int wherry__spawn_why_clone(int code, const char *name, bool pid_namespace);

/* The child's main function, for clone(2): never returns. */
int wherry__spawn_child(void *call);

/* The signal by which a child learns that the thread which cloned it has ended: glibc's own, which nobody else
 * sends. */
enum { WHERRY__SPAWN_SIGNAL = 32 };

/* ---- starting ---- */

/* wherry_process_spawn() for other files: with what failed, too, where it failed in the child. */
int wherry__process_start_child(const struct wherry__spawn_plan *plan, struct wherry__spawn_failure *ret_failure,
                                struct wherry_process **ret_process);

/* Whether a child of clone(CLONE_VM | CLONE_VFORK) has our memory: 1; 0: a copy, under valgrind; -1: not known yet. */
extern _Atomic int wherry__spawn_shares;

#endif
