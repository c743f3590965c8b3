/* supervise/server.h - what server.c, server_roll.c, worker.c and worker_process.c share.
 *
 * SPDX-License-Identifier: MIT
 *
 * A slot is a worker's number.  STATES of the worker in it:
 *
 *     (none) --fork--> STARTING --'R'--> READY --told, or by SIGTERM of its own--> DRAINING --end--> (none)
 *
 * From each of them it may die.  A slot has two workers at most: `now`, and the `old` one that it replaces.
 *
 *     SIGHUP: `now` READY becomes `old`; a new `now` is STARTING; READY: `old` is told to drain; it ends: the
 *             next slot.
 *             `now` dies STARTING: `old` becomes `now` again, and the others stay, too.
 *     death:  `now` is forked again, at once or after a pause. */
#ifndef WHERRY_SUPERVISE_SERVER_H
#define WHERRY_SUPERVISE_SERVER_H

#include <signal.h>
#include <stdatomic.h>
#include <wherry/server.h>

enum wherry__worker_state { WHERRY__WORKER_STARTING = 1, WHERRY__WORKER_READY, WHERRY__WORKER_DRAINING };

/* What goes between master and worker: one byte each; behind FAILED the code and the sentence. */
enum {
    WHERRY__SAY_READY = 'R',  /* worker: it serves */
    WHERRY__SAY_FAILED = 'F', /* worker: it ends, and why */
    WHERRY__SAY_DRAIN = 'D',  /* to the worker: drain, others serve on; from it: it drains by itself */
    WHERRY__SAY_LAST = 'L',   /* to the worker: drain, nobody serves on */
};

struct wherry__worker {
    pid_t pid; /* 0: there is none */
    int pidfd, control;
    enum wherry__worker_state state;
    wherry_time since;   /* when it was forked; from READY on when it began to serve */
    wherry_time kill_at; /* draining or starting for too long then; WHERRY_FOREVER */
    uint64_t generation; /* how many SIGHUPs there had been */
    unsigned share;      /* its word in the server's shares */
    bool killed;         /* by us: it was overdue */
    int code;            /* of FAILED */
    char why[256];
};

struct wherry__slot {
    struct wherry__worker now, old;
    wherry_time start_at; /* without `now`: when to fork the next; WHERRY_FOREVER: not */
    wherry_time pause;    /* the last one; 0: it lived long enough */
};

struct wherry__server {
    const char *url;
    struct wherry_server_options options; /* every default settled */
    wherry_server_function *function;
    void *data;
    struct wherry_channel **channels; /* one, or one a slot */
    unsigned channel_count;
    struct wherry__slot *slots;
    struct pollfd *polls;
    _Atomic uint32_t *shares; /* two for each slot, in memory that workers share: how many connections each has */
    int signals;              /* signalfd; -1 */
    pid_t master;
    uint64_t generation;
    bool rolling;  /* a SIGHUP is not carried out yet */
    bool listened; /* all served at once */
    bool stopping, hurried;
    unsigned forced; /* workers killed since it is stopping */
    int failure;     /* before all served: the server is given up, the sentence is set */
};

static inline struct wherry_channel *wherry__server_channel(const struct wherry__server *server, unsigned slot)
{
    return server->channels[server->channel_count > 1 ? slot : 0];
}

/* ---- worker_process.c: a worker as the master has it ---- */

/* Fork the worker of this slot.  0; or -errno with the sentence, and nothing is left behind.  In the child it does
 * not return. */
int wherry__worker_fork(struct wherry__server *server, unsigned slot, struct wherry__worker *ret_worker);

/* Tell it to drain.  One that is gone will be seen to be. */
void wherry__worker_tell(struct wherry__worker *worker, char what);

/* What it says: the byte, or 0 for nothing.  FAILED fills code and why. */
char wherry__worker_hear(struct wherry__worker *worker);

void wherry__worker_kill(const struct wherry__worker *worker);

/* Whether it has ended; then it is reaped, its descriptors are closed, and the status is as of waitpid(2), or -1. */
bool wherry__worker_ended(struct wherry__worker *worker, int *ret_status);

/* Kill it, wait for it, forget it. */
void wherry__worker_end(struct wherry__worker *worker);

/* A descriptor for these signals of this process, which blocks them.  Descriptor or -errno. */
int wherry__signals_of(const sigset_t *signals);
int wherry__signals_next(int fd); /* the number of one that came, or 0 */

/* ---- worker.c ---- */

_Noreturn void wherry__worker_main(const struct wherry__server *server, unsigned slot, unsigned share, int control);

/* ---- server_roll.c: what the master does next ---- */

/* Fork what is due, replace what is old, kill what is overdue.  The time at which there is something to do again. */
wherry_time wherry__server_advance(struct wherry__server *server);

/* Something may have come from the worker `now` or `old` of this slot. */
void wherry__server_look_at(struct wherry__server *server, unsigned slot, bool old);

void wherry__server_take_signal(struct wherry__server *server, int signal);

void wherry__server_tell(struct wherry__server *server, enum wherry_server_event_kind kind, unsigned slot, pid_t pid,
                         int status, const char *text);

#endif
