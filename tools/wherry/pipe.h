/* pipe.h - what the files of `wherry pipe` share.
 *
 * SPDX-License-Identifier: MIT
 *
 * Who is who, for  wherry pipe A =shm= B:
 *
 *     front ---- keeper ---- sh -c A      writes to a pipe, from which reads
 *                       ---- sender       which sends what comes as messages to the ring, from which receives
 *                       ---- receiver     which writes them to a pipe, from which reads
 *                       ---- sh -c B
 *
 * The front (cmd_pipe.c) is what was called.  It does nothing but wait for the keeper and pass signals on.  The keeper
 * (pipe_keeper.c) starts and ends all the others.  Each of the two ends everybody and removes everything when the other
 * is killed; both adopt what their descendants leave behind (PR_SET_CHILD_SUBREAPER).
 *
 * The two halves of a link (pipe_send.c, pipe_receive.c) share a leash, a socketpair(2).  By it the receiver says where
 * it is, and the sender how much it has sent, when it ends; so the end is known where the object knows none, and
 * nothing is lost without a word.  That the other one has gone shows as the end of the leash. */
#ifndef WHERRY_TOOL_PIPE_H
#define WHERRY_TOOL_PIPE_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <wherry/process.h>
#include <wherry/wherry.h>

#include "options.h"

/* ---- what is between two commands ---- */

enum { PIPE_URL = PATH_MAX + 256 };

struct pipe_link {
    const char *word;   /* as it was given, "=shm="; NULL: nothing, a plain pipe */
    char url[PIPE_URL]; /* where the halves meet; "": at a pair, made for them */
    const struct wherry_traits *traits;
    int64_t type; /* of its messages, where the object tells them from those of others by it */
    bool guarded; /* anybody may send there: the sender is who begins with `secret` */
    unsigned char secret[16];
    uint64_t window; /* bytes on their way at most, where the object does not see to that; 0 */
};

/* ---- the directory for what is made for the occasion: pipe_place.c ---- */

struct pipe_place {
    char path[PATH_MAX]; /* "": none was needed */
    int fd;              /* the directory; -1 */
    int lock;            /* a file in it, locked by whoever of front, keeper and halves lives; -1 */
};

/* An address of `scheme` that is nobody else's, with `query` ("" or "?..."), for link number `index`.  What there will
 * be at it is the place's to remove.  0; -1: the scheme has none; or the exit code with the failure said. */
int pipe_place_url(struct pipe_place *place, const char *scheme, const char *query, size_t index, char url[PIPE_URL]);

/* Remove all that was made, and the directory.  Whoever calls it is the last. */
void pipe_place_remove(struct pipe_place *place);

/* ---- all of it ---- */

struct pipe_job {
    struct options options;
    const char **commands; /* count of them */
    size_t count;
    struct pipe_link *links; /* one less */
    struct pipe_place place;
    bool pipefail;
    wherry_time deadline;
    int *fds; /* what the caller left open for commands besides 0, 1 and 2 */
    size_t fd_count;
    int ignored[64], blocked[64]; /* signals, as the caller left them */
    size_t ignored_count, blocked_count;
    sigset_t mask;   /* the same */
    bool pipe_kills; /* SIGPIPE was not ignored */
};

/* ---- the halves: pipe_send.c, pipe_receive.c ---- */

struct pipe_half {
    const struct pipe_link *link;
    const struct options *options;
    int leash;
    int ready;                   /* a byte goes there once it is where the other can meet it */
    struct wherry_channel *pair; /* its end, when there is no address */
};

/* Standard input, until its end, to the link; and the link to standard output.  The exit code. */
int pipe_send_half(struct pipe_half *half);
int pipe_receive_half(struct pipe_half *half);

/* ---- the keeper: pipe_keeper.c ---- */

enum { PIPE_BY_TERMINAL = 0x80 };

/* Run the whole, in a process of its own.  `front`: a socket by which the front says that a signal came, a byte with
 * its number, and PIPE_BY_TERMINAL where it came to all of the process group, or 0 for the second and later ones; its
 * end is the front's.  Returns the exit code. */
int pipe_keep(struct pipe_job *job, int front);

/* Let go of standard input and output, and of what is the commands': whoever else holds the ends of the pipeline keeps
 * the programs there from seeing each other's end. */
void pipe_let_go(struct pipe_job *job);

/* Kill all children of this process but those in `spare`, and what they leave, until there are none. */
void pipe_kill_all(const pid_t *spare, size_t count);

#endif
