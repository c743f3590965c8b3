/* wherry/server.h - a master and its workers: processes that answer the requests of one listening endpoint together.
 *
 * SPDX-License-Identifier: MIT
 *
 * The calling process becomes the master.  It listens, forks the workers, and replaces one that dies; a request never
 * goes through it.  Each worker takes connections of its own from the same socket and gives every message that comes
 * to one function of the caller's.
 *
 *     SIGTERM, SIGINT   drain: the name goes, what has come is answered, each client sees the end; then run() returns
 *     SIGHUP            replace all workers one by one: a new one serves before an old one drains
 *     a second SIGINT   no drain: the workers are killed
 *
 * What a draining worker promises its clients: a request that was given to the function has its answer delivered, and
 * a request without an answer when the end comes was not given to it, so that it may be sent again over a new
 * connection. A worker that is killed breaks the connections of its own clients, and no others.
 *
 * When the master is killed the kernel kills its workers; the next master takes the address over.
 *
 * Threads: one server a process, run by its only thread.  Fork: run() forks; in a worker the caller's memory is a
 * copy. Signals: SIGTERM, SIGINT and SIGHUP are blocked in master and workers and received by descriptor; no handler
 * is installed, and the mask is put back before run() returns.  signalfd(2), fork(2), prctl(2), wherry_server(3). */
#ifndef WHERRY_SERVER_H
#define WHERRY_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>
#include <wherry/channel.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Answer one request, in a worker: with wherry_channel_send_message() to request->info.peer.id, as often as one
 * likes, or not at all.  `request` is on loan until the function returns; nothing else is to be received in it.
 * Returns 0 or more; or a negative number, and the connection of that peer is ended (the other requests of the worker
 * go on). With report_ends it is called for each peer's end, too, which is let go when it returns. */
typedef int wherry_server_function(struct wherry_channel *channel, const struct wherry_loan *request, void *data);

enum wherry_server_event_kind {
    WHERRY_SERVER_LISTENS = 1, /* all workers serve for the first time; text: the URL, with the port that was given */
    WHERRY_SERVER_READY,       /* a worker serves */
    WHERRY_SERVER_ENDED,       /* a worker ended; status as of waitpid(2), text: how, and what follows */
    WHERRY_SERVER_NOT_STARTED, /* a worker could not be started; text: why, and what follows */
    WHERRY_SERVER_REPLACED,    /* SIGHUP: all workers are new */
    WHERRY_SERVER_KEPT,        /* SIGHUP: a new worker did not come to serve, so the old ones stay; text: why */
    WHERRY_SERVER_DRAINS,      /* SIGTERM or SIGINT: all workers were told to drain */
};

/* What happened in the master. */
struct wherry_server_event {
    enum wherry_server_event_kind kind;
    unsigned worker;  /* its number, from 0; one that replaces another has its number */
    pid_t pid;        /* of that worker; 0: none */
    int status;       /* ENDED: as of waitpid(2); -1: somebody else took it */
    const char *text; /* a sentence; "" where there is nothing to say; valid during the call */
};

/* How to run.  Start from WHERRY_SERVER_OPTIONS; zero means the default. */
struct wherry_server_options {
    size_t size; /* sizeof of the struct that the caller was compiled with */
    const struct wherry_channel_options *channel; /* of the endpoint; side and inheritable are the server's */
    uint32_t workers;          /* 1 to 1024; default: one for each processor that the caller may run on */
    bool reuse_port;           /* tcp: a socket for each worker (SO_REUSEPORT): the kernel deals the connections out */
    wherry_time drain_timeout; /* ns until a draining worker is killed; default 10 s; WHERRY_FOREVER: never */
    wherry_time start_timeout; /* ns until a worker that does not come to serve is killed; default 10 s */
    wherry_time pause_first;   /* ns before a worker that died within a second is replaced, doubled each time; default
                                * 10 ms */
    wherry_time pause_most;    /* and at most this; default 5 s */
    /* In a new worker, before it serves: open what it needs, drop privileges.  0, or -errno with wherry_why() saying
     * why: the worker ends.  NULL: nothing. */
    int (*start)(unsigned worker, void *data);
    /* In a worker that has drained, before it ends by _exit(2).  NULL: nothing. */
    void (*stop)(unsigned worker, void *data);
    /* In the master.  Shall not wait: nothing is replaced meanwhile.  NULL: nobody is told. */
    void (*event)(const struct wherry_server_event *event, void *data);
};

#ifdef __cplusplus
static inline struct wherry_server_options wherry__server_options(void)
{
    struct wherry_server_options options = wherry_server_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_SERVER_OPTIONS wherry__server_options()
#else
#define WHERRY_SERVER_OPTIONS {.size = sizeof(struct wherry_server_options)}
#endif

/* Listen at `url` (unix:, unix+seqpacket: or tcp:) and serve with `function` until SIGTERM or SIGINT; SIGINT is left
 * alone where it is ignored.  `data` goes to all functions.  Standard output and error are flushed before each fork,
 * so that nothing is written twice, and at the end of a worker. Returns 0: all workers have drained; -ETIMEDOUT:
 * likewise, but some had to be killed at drain_timeout, or by a second SIGINT; those that were killed before it was
 * told to stop are none of them.  Or it did not come to serve, and nothing is left behind: -EINVAL; -EPROTONOSUPPORT,
 * -EOPNOTSUPP (a transport without connections; reuse_port on another than tcp:); -EBUSY: the process has other
 * threads, whose locks a fork would leave locked for ever; -EADDRINUSE: somebody else listens, after a second in which
 * workers of a master that was killed may have gone; -EAGAIN: no more processes (RLIMIT_NPROC); -EMFILE, -ENFILE
 * (RLIMIT_NOFILE); -ENOMEM; what start() returned; -ECHILD: a worker died, or did not answer, before it served; and as
 * wherry_channel_open(). */
WHERRY_API int wherry_server_run(const char *url, const struct wherry_server_options *options,
                                 wherry_server_function *function, void *data);

#ifdef __cplusplus
}
#endif
#endif
