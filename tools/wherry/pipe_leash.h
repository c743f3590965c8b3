/* pipe_leash.h - what the two halves of a link share: what they tell each other, and how they end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_PIPE_LEASH_H
#define WHERRY_TOOL_PIPE_LEASH_H

#include "pipe.h"

/* ---- the leash ---- */

enum note_kind {
    NOTE_PLACE = 1, /* from the receiver: here I am */
    NOTE_ASK,       /* from the sender: so many bytes were sent; say when you have them */
    NOTE_HAVE,      /* from the receiver: I have */
    NOTE_END,       /* from the sender: so many were sent, and that is all */
    NOTE_FAILED,    /* from the sender: it has said why */
};

struct leash_note {
    uint32_t kind;
    uint64_t bytes;
    char url[PIPE_URL]; /* of NOTE_PLACE; of the others it does not go along */
};

/* 0; -EPIPE: the other half has gone.  `url` may be NULL. */
int leash_tell(const struct pipe_half *half, enum note_kind kind, uint64_t bytes, const char *url);

/* 1 and a note; -EAGAIN: none came yet; -EPIPE. */
int leash_hear(const struct pipe_half *half, struct leash_note *ret_note);

/* Wait for one: 1, -EPIPE or -EINTR. */
int leash_wait(const struct pipe_half *half, struct leash_note *ret_note);

/* ---- both halves ---- */

/* It is where the other one can meet it. */
void half_ready(struct pipe_half *half);

/* The exit code after a signal. */
int half_signalled(void);

/* The other half has gone first: as when a pipe breaks.  Where SIGPIPE is ignored that is no failure of ours. */
int half_die_of_pipe(void);

/* A call on the channel failed: say why, if it was no signal; the exit code. */
int half_failed(const struct pipe_half *half, int error);

/* A System V queue has nothing to poll: when to look again, a few times at once, then after 50 us, 100 us, ... 10 ms in
 * which nothing could be done. */
bool half_is_pollable(const struct pipe_half *half);
wherry_time half_next_look(unsigned *looks, bool progress);

#endif
