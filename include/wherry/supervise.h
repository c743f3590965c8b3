/* wherry/supervise.h - processes kept running: started in order, restarted, watched until ready, stopped in order.
 *
 * SPDX-License-Identifier: MIT
 *
 * A supervisor has units; each is a program, what to do when it ends, how it shows that it is ready, and which units
 * it needs.  No thread is started and no signal handler installed: wherry_supervisor_dispatch() does what is due, and
 * one descriptor says when.
 *
 * A unit's first process leads a process group of its own; stopping it stops the group.  It is killed when the
 * supervising process dies, however that comes about.  What leaves the group with setsid(2) ends with the unit's
 * cgroup or PID namespace where one was asked for (wherry/process.h), and else with the supervisor, as `reap_all` says.
 *
 * Threads: one at a time, any; with `reap_all` the one that opened it, in a process whose other threads block SIGCHLD.
 * The end of the main thread before the others counts as the process's, for the units.  Fork: a child does not have
 * its parent's supervisor; calls on it answer -ECHILD there.  wherry_supervisor(3). */
#ifndef WHERRY_SUPERVISE_H
#define WHERRY_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>
#include <wherry/channel.h>
#include <wherry/process.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- units --------------------------------------------------------------------------------------------------- */

enum wherry_restart {
    WHERRY_RESTART_NEVER = 0,
    WHERRY_RESTART_ON_FAILURE = 1, /* it ended with another status than 0, or by a signal, or was not ready in time */
    WHERRY_RESTART_ALWAYS = 2,
};

enum wherry_ready {
    WHERRY_READY_STARTED = 0, /* as soon as it runs */
    WHERRY_READY_NOTIFY = 1,  /* it sends READY=1 to the socket in NOTIFY_SOCKET; sd_notify(3) */
    WHERRY_READY_FD = 2,      /* it writes a line to descriptor `ready_fd`, as s6 has it */
    WHERRY_READY_URL = 3,     /* somebody answers at `ready_url`: any URL that a channel connects to */
    WHERRY_READY_EXITED = 4,  /* it has ended with 0: a step before others */
};

enum wherry_unit_state {
    WHERRY_UNIT_WAITING = 0,  /* for units that it needs */
    WHERRY_UNIT_STARTING = 1, /* runs, and is not ready */
    WHERRY_UNIT_READY = 2,
    WHERRY_UNIT_STOPPING = 3, /* was told to end, or its process ended and others of its group have not yet */
    WHERRY_UNIT_BACKOFF = 4,  /* ended, and is started again after a while */
    WHERRY_UNIT_ENDED = 5,    /* ended as it should, or was stopped; is not started again by itself */
    WHERRY_UNIT_FAILED = 6,   /* ended as it should not, and is not started again by itself */
};

struct wherry_unit_options {
    size_t size;                  /* sizeof(struct wherry_unit_options) */
    const char *const *arguments; /* the program and its arguments; NULL at the end */
    const struct wherry_process_options *process; /* NULL: defaults.  Its group and death_signal are the supervisor's to
                                                     say, and so are 1 and 2 with `lines` */
    const char *const *after;     /* names of units that must be ready first; NULL at the end; NULL: none */
    enum wherry_restart restart;
    wherry_time backoff_first; /* before the first restart, 0: 100 ms; doubled each time up to ... */
    wherry_time backoff_most;  /* ... this, 0: 10 s; the first again after as long ready */
    unsigned restart_limit;    /* after so many restarts within restart_span it has failed; 0: no limit */
    wherry_time restart_span;  /* 0: one minute */
    enum wherry_ready ready;
    int ready_fd;              /* the child's number of the descriptor; 0: 3 */
    const char *ready_url;
    wherry_time ready_timeout; /* 0: 30 s; WHERRY_FOREVER: none.  Not ready by then: stopped, and that is a failure */
    int stop_signal;           /* 0: SIGTERM */
    wherry_time stop_timeout;  /* 0: 10 s; then SIGKILL to the whole group */
    int reload_signal;         /* 0: SIGHUP; not SIGKILL or SIGSTOP, which no program can handle */
    bool lines;                /* standard output and error come to the supervisor, which passes whole lines on */
    const char *channel;       /* the URL of a channel between the unit and this process: socketpair: or pipe: for a
                                  pair made anew with each start, or one that the supervisor opens once.  The unit finds
                                  in WHERRY_URL what to open.  NULL: none */
    enum wherry_role channel_role; /* the supervisor's */
};

#ifdef __cplusplus
static inline struct wherry_unit_options wherry__unit_options(void)
{
    struct wherry_unit_options options = wherry_unit_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_UNIT_OPTIONS wherry__unit_options()
#else
#define WHERRY_UNIT_OPTIONS {.size = sizeof(struct wherry_unit_options)}
#endif

struct wherry_unit_status {
    const char *name; /* valid until the supervisor is closed */
    enum wherry_unit_state state;
    pid_t pid;                   /* of the first process; 0: none */
    uint64_t inode;              /* of its pidfd, which tells it from a later one of that pid */
    uint64_t starts;             /* how often it was started */
    bool has_ended;              /* once at least: */
    struct wherry_exit last;     /* how the last one ended */
    wherry_time since;           /* when it came to this state */
    wherry_time next;            /* BACKOFF: when it is started */
    int error;                   /* -errno: the last attempt to start it failed so, and why is its sentence; 0: it
                                  * ran */
    const char *why;             /* a sentence about FAILED, BACKOFF and WAITING, or what it said with STATUS=; "" */
};

/* ---- the supervisor ------------------------------------------------------------------------------------------ */

struct wherry_supervisor;

struct wherry_supervisor_options {
    size_t size;   /* sizeof(struct wherry_supervisor_options) */
    bool reap_all; /* this process has no children but these: it adopts what its units leave behind (subreaper; PID 1
                      has them anyway) and waits for all of them, for which SIGCHLD is blocked in the calling thread
                      until close; who is left once no unit runs and none will gets SIGTERM, and SIGKILL 10 s later */
    int output;    /* where lines go, with the unit's name before each; 0: standard output; -1: only to on_line */
    void (*on_change)(void *data, const struct wherry_unit_status *status); /* after each change of a state */
    void (*on_line)(void *data, const char *unit, int stream, const char *line, size_t size); /* stream: 1 or 2 */
    void *data;
};

#ifdef __cplusplus
static inline struct wherry_supervisor_options wherry__supervisor_options(void)
{
    struct wherry_supervisor_options options = wherry_supervisor_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_SUPERVISOR_OPTIONS wherry__supervisor_options()
#else
#define WHERRY_SUPERVISOR_OPTIONS {.size = sizeof(struct wherry_supervisor_options)}
#endif

/* Returns 0 and the supervisor, for wherry_supervisor_close(); -EINVAL, -E2BIG (options), -EMFILE, -ENOMEM. */
WHERRY_API int wherry_supervisor_open(const struct wherry_supervisor_options *options,
                                      struct wherry_supervisor **ret_supervisor);

/* Kill what runs, wait for it, and free.  Stop first to be gentle.  NULL is fine; a forked child only frees. */
WHERRY_API void wherry_supervisor_close(struct wherry_supervisor *supervisor);

/* Add a unit, which dispatch starts as soon as those it needs are ready.  Everything is copied.
 * Returns 0; -EINVAL: the name (1 to 63 letters, digits, and . _ -), the options; -EEXIST: there is one of that name;
 * -ENOENT: `after` names a unit that was not added yet; -ENOMEM; or why its channel could not be opened. */
WHERRY_API int wherry_supervisor_add(struct wherry_supervisor *supervisor, const char *name,
                                     const struct wherry_unit_options *options);

/* The descriptor that is readable when dispatch has something to do; the supervisor's own, CLOEXEC.  -EMFILE. */
WHERRY_API int wherry_supervisor_fd(struct wherry_supervisor *supervisor);

/* Do what is due, waiting until `deadline` for something to be.
 * Returns 1: something runs or will; 0: nothing does, and nothing will by itself; -EAGAIN or -ETIMEDOUT: nothing was
 * due; -errno: this process can wait no more, which no unit's failure brings about. */
WHERRY_API int wherry_supervisor_dispatch(struct wherry_supervisor *supervisor, wherry_time deadline);

/* Dispatch until nothing runs and nothing will.  Returns 0; -ETIMEDOUT; -errno. */
WHERRY_API int wherry_supervisor_run(struct wherry_supervisor *supervisor, wherry_time deadline);

/* Ask for a change, which dispatch brings about; `unit` NULL: all.  stop: those that need it first, then the unit
 * itself.  start: again, with its restarts forgotten, and those that it needs.  restart: stop and start; who needs it
 * is left alone. reload: its reload_signal.  signal: any, to the unit's first process.
 * Return 0; -ENOENT: no such unit; reload and signal -ESRCH: it does not run. */
WHERRY_API int wherry_supervisor_stop(struct wherry_supervisor *supervisor, const char *unit);
WHERRY_API int wherry_supervisor_start(struct wherry_supervisor *supervisor, const char *unit);
WHERRY_API int wherry_supervisor_restart(struct wherry_supervisor *supervisor, const char *unit);
WHERRY_API int wherry_supervisor_reload(struct wherry_supervisor *supervisor, const char *unit);
WHERRY_API int wherry_supervisor_signal(struct wherry_supervisor *supervisor, const char *unit, int signal);

/* Take no lines from units until `on` is false again, for an on_line that has no room: units that print more than a
 * pipe holds wait, as writers to a pipe do.  What a run that ends has left in its pipes comes all the same. */
WHERRY_API void wherry_supervisor_hold(struct wherry_supervisor *supervisor, bool on);

/* Kill at once all that still runs, whatever it was granted to stop; dispatch waits for it. */
WHERRY_API void wherry_supervisor_kill(struct wherry_supervisor *supervisor);

/* How many units there are; and how one of them does: 0, or -ENOENT.  In the order in which they were added. */
WHERRY_API size_t wherry_supervisor_count(const struct wherry_supervisor *supervisor);
WHERRY_API int wherry_supervisor_status(const struct wherry_supervisor *supervisor, size_t index,
                                        struct wherry_unit_status *ret_status);

/* The supervisor's end of a unit's channel, as long as the unit runs; NULL: none.  The supervisor's: not to be
 * closed. */
WHERRY_API struct wherry_channel *wherry_supervisor_channel(struct wherry_supervisor *supervisor, const char *unit);

/* A word for a state: "waiting", "starting", "ready", "stopping", "backoff", "ended", "failed". */
WHERRY_API const char *wherry_unit_state_name(enum wherry_unit_state state);

/* ---- one child, connected ------------------------------------------------------------------------------------ */

/* Start a program that is connected to the caller by a channel.  `url`: socketpair: or pipe: for a pair of descriptors
 * that only the two have, or any URL at which the caller listens with `role`; the program finds in WHERRY_URL what to
 * open.  Options NULL: the defaults.
 * Returns 0 with the process and the caller's end, each for its own close; or as wherry_channel_pair(),
 * wherry_channel_open() and wherry_process_spawn(); nothing is left of either then. */
WHERRY_API int wherry_process_connect(const char *program, const char *const *arguments,
                                      const struct wherry_process_options *process_options, const char *url,
                                      enum wherry_role role, const struct wherry_channel_options *channel_options,
                                      struct wherry_process **ret_process, struct wherry_channel **ret_channel);

#ifdef __cplusplus
}
#endif

#endif
