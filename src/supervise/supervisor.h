/* supervise/supervisor.h - what the files of this folder share: the supervisor and its units.  STATES.md says how a
 * unit lives.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SUPERVISE_SUPERVISOR_H
#define WHERRY_SUPERVISE_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/signal.h>
#include <wherry/supervise.h>

#include "base/time.h"
#include "base/wait.h"

enum { UNIT_NAME = 64, UNIT_WHY = 192, UNIT_RESTARTS = 64 };

enum unit_wish { WISH_RUN, WISH_STOP, WISH_RESTART };

/* A stream of lines from a unit. */
struct unit_stream {
    int fd;       /* -1: none */
    bool held;    /* not waited for: the output has no room */
    char *line;   /* what came of a line that has not ended */
    size_t size, capacity;
};

struct unit {
    char name[UNIT_NAME];
    size_t index;
    struct wherry_unit_options options;            /* its pointers lead to copies */
    struct wherry_process_options process_options; /* likewise */
    char *copies;                                  /* where those are */
    struct unit **after;
    size_t after_count;

    enum wherry_unit_state state;
    enum unit_wish wish;
    bool asked;   /* in this call that asks for a start already */
    bool orderly; /* started again with all others: those that need it are down before, and it is up first */
    bool active;  /* what wherry__unit_is_active() said last */
    bool leads;   /* it needs the one that is asked about, if only through others */
    struct wherry_process *process; /* the first of the group; kept until all of the group are gone */
    pid_t pid;
    bool leader_ended;    /* and was not reaped yet: `last` says how */
    bool overdue;         /* was not ready in time */
    bool hopeless;        /* READY_URL: nobody will ever answer there */
    char answer[UNIT_WHY]; /* READY_URL: why nobody did, the last time */
    bool done;            /* READY_EXITED: it has ended with 0 */
    bool killed;          /* stop_timeout is over */
    bool impatient;       /* and was from the beginning */
    wherry_time since, timer; /* timer: when something is due whatever happens; 0: nothing */
    struct wherry__steps steps; /* looks at a group that has lost its first */
    wherry_time kill_at;
    uint64_t starts;
    bool has_ended;
    struct wherry_exit last;
    wherry_time backoff, ready_since;
    wherry_time ready_for;               /* the run that ends or has ended; it may be long in stopping */
    wherry_time restarts[UNIT_RESTARTS]; /* when, the oldest overwritten */
    unsigned restart_count;
    char why[UNIT_WHY];
    int error; /* of the last attempt to start it */

    int notify_fd, ready_fd; /* READY_NOTIFY, READY_FD: ours, -1: none */
    struct unit_stream streams[2];
    struct wherry_channel *channel;
    char channel_url[128]; /* what its program is told */
};

struct wherry__child;

struct wherry_supervisor {
    uint64_t born;
    struct wherry_supervisor_options options;
    struct unit **units;
    size_t count, capacity;
    size_t widest; /* name */
    struct wherry__wait wait;
    int timer_fd;
    struct wherry_signals *children; /* SIGCHLD, with reap_all */
    int was_reaper;
    bool impatient;
    wherry_time leftovers_until, look_at; /* what was left gets SIGKILL, and is looked for again; 0: not told yet */
    pid_t *told;                          /* those of them that got SIGTERM, and were not waited for yet */
    size_t told_count, told_capacity;
    bool output_open, output_waited;
    bool lines_unwanted; /* wherry_supervisor_hold() */
    char *pending; /* lines that the output had no room for */
    size_t pending_size, pending_sent, pending_capacity;
    size_t changed; /* arrows taken since dispatch began */
};

/* What a descriptor in the wait set is: the unit's index, and which of its descriptors. */
enum watched { WATCH_PROCESS, WATCH_NOTIFY, WATCH_READY, WATCH_OUT, WATCH_ERR, WATCH_OTHER };
enum { WATCH_TIMER, WATCH_CHILDREN, WATCH_OUTPUT }; /* indexes with WATCH_OTHER */
static inline uint64_t watch_key(size_t index, enum watched what)
{
    return (uint64_t)index << 3 | what;
}

/* ---- ask.c ---- */

int wherry__supervisor_refuse_child(void); /* -ECHILD with the sentence */
/* NULL, without a sentence: there is none of that name. */
struct unit *wherry__supervisor_find(const struct wherry_supervisor *supervisor, const char *name);

/* ---- unit.c: the arrows ---- */

/* Take all arrows that what was noted allows. */
void wherry__unit_step(struct wherry_supervisor *supervisor, struct unit *unit);
bool wherry__unit_runs(const struct unit *unit);
/* Whether it may change by itself; asked of units in their order, since it remembers the answer for those behind it. */
bool wherry__unit_is_active(struct unit *unit);
void wherry__unit_ready(struct wherry_supervisor *supervisor, struct unit *unit);
void wherry__unit_say(struct unit *unit, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Its process was seen to end. */
void wherry__unit_ended(struct wherry_supervisor *supervisor, struct unit *unit);
void wherry__unit_fill(const struct unit *unit, struct wherry_unit_status *ret_status);

/* ---- start.c ---- */

/* 0, or -errno with the sentence in unit->why. */
int wherry__unit_start(struct wherry_supervisor *supervisor, struct unit *unit);
/* Whatever a run had open. */
void wherry__unit_let_go(struct wherry_supervisor *supervisor, struct unit *unit);

/* ---- copy.c: options, kept ---- */

int wherry__unit_copy(struct unit *unit, const char *name, const struct wherry_unit_options *given);
void wherry__unit_free(struct unit *unit);

/* ---- ready.c ---- */

int wherry__ready_prepare(struct wherry_supervisor *supervisor, struct unit *unit, struct wherry__child *child);
void wherry__ready_notified(struct wherry_supervisor *supervisor, struct unit *unit);
void wherry__ready_written(struct wherry_supervisor *supervisor, struct unit *unit);
/* READY_URL: whether somebody answers now. */
bool wherry__ready_answers(struct unit *unit);

/* ---- lines.c ---- */

/* Take what came; false at the end. */
void wherry__lines_read(struct wherry_supervisor *supervisor, struct unit *unit, int which);
/* What is left, at the end of a run. */
void wherry__lines_finish(struct wherry_supervisor *supervisor, struct unit *unit);
/* The output has room. */
void wherry__lines_flush(struct wherry_supervisor *supervisor);
/* As much waits as may: who would print more is not started again now. */
bool wherry__lines_are_full(const struct wherry_supervisor *supervisor);

/* ---- group.c: who is left ---- */

/* Whether anybody but the first is left in the unit's group; those of them that are this process's children and have
 * ended are reaped.  False where /proc is not there to tell. */
bool wherry__group_remains(const struct unit *unit);
/* Send a signal to all of the group.  Its first process is not reaped yet. */
void wherry__group_signal(const struct unit *unit, int signal);
/* reap_all: wait for those that have ended; true: some others than units' own are left, and they get `signal` (0:
 * none; SIGTERM: once each). */
bool wherry__leftovers(struct wherry_supervisor *supervisor, int signal);

#endif
