/* ring/door.h - rings between two uids (share=UID): a sealed memfd, the Unix socket through which it is handed over,
 * and the sockets that ring for those who poll.
 *
 * SPDX-License-Identifier: MIT
 *
 * A file with a name that two uids may write to can be cut short by either, and a load beyond its end is SIGBUS.  A
 * memfd can be sealed against that (memfd_create(2), F_SEAL_SHRINK), but has no name: whoever made it, or has taken its
 * turn, is the keeper of a door, /dev/shm/wherry-UID-shared/NAME, lets in one's own uid, root and the one named, and
 * hands the memfd over.  Nobody else has to be let in, so the keeper is needed only by those who come.  Those of its
 * uid and side are its heirs: while one of them lives no other ring gets the name.  LAYOUT.md, rule 19. */
#ifndef WHERRY_RING_DOOR_H
#define WHERRY_RING_DOOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#include "ring/layout.h"
#include "ring/life.h"

struct wherry__door;

/* Where to knock: at the door of that name of one's own uid, and then at the other's; who is to `keep` one has it among
 * its own.  Makes nothing yet.  0 or -ENOMEM. */
int wherry__door_init(struct wherry__door **ret_door, const char *url, const char *name, uid_t other, bool keep);
/* `own`: in the process that made it.  Removes what it made, and what dead processes of this uid left.  NULL is fine.
 * */
void wherry__door_fini(struct wherry__door *door, bool own);

/* ---- keeping it ---- */

/* A ring without a name, sealed.  0; -EEXIST: one of that name has heirs; -errno with the sentence set. */
int wherry__door_make(struct wherry__door *door, struct ring_head *head, struct wherry__life **ret_life);
/* Become the keeper.  0; -EEXIST: somebody is; -errno with the sentence set. */
int wherry__door_open(struct wherry__door *door, struct wherry__life *life);
/* Stop being it.  Before the others are told that this end goes: one of them takes its turn. */
void wherry__door_shut(struct wherry__door *door);
/* The same, and give up what stood() gave; it may be entered or made again. */
void wherry__door_let_go(struct wherry__door *door);
/* One who is in, as `mark` says: take the turn of a keeper that is gone, if it may, and let in those who knock, if it
 * is the keeper.  True: it is.  Never waits. */
bool wherry__door_mind(struct wherry__door *door, struct wherry__life *life, struct ring_control *control,
                       uint64_t mark);
/* The keeper is gone, and mind() has to be called again by itself. */
bool wherry__door_orphaned(const struct wherry__door *door);
/* The socket on which they knock; -1: this is not the keeper. */
int wherry__door_fd(const struct wherry__door *door);

/* ---- coming in (knock.c) ---- */

/* Knock, and wait until the deadline to be let in.  0; -ENOENT: nobody keeps the door; -EBUSY: no answer, to be tried
 * again; -EAGAIN or -ETIMEDOUT: somebody keeps it, but is in no call on the ring; or another -errno; with the
 * sentence set save for -ENOENT and -EBUSY. */
int wherry__door_enter(struct wherry__door *door, wherry_time deadline, struct wherry__life **ret_life);
/* One who came in and has a place now: whether the ring is still that of the name. */
bool wherry__door_stands(const struct wherry__door *door, const struct wherry__life *life,
                         const struct ring_control *control, unsigned place);
/* Whether the mark is that of somebody who is there. */
bool wherry__door_is_alive(const struct wherry__life *life, const struct ring_control *control, uint64_t mark);
/* What came of it, for a sentence. */
const char *wherry__door_why(const struct wherry__door *door);

/* ---- bells (bell.c) ---- */

/* The bell of a place of one's own, to read from: a descriptor, noted, or -errno with the sentence set. */
int wherry__door_make_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], unsigned place,
                           uint32_t epoch);
void wherry__door_forget_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], unsigned place,
                              uint32_t epoch);
/* The bell of another's place, to send(2) to: a descriptor, noted, or -1 and errno. */
int wherry__door_find_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], uid_t uid,
                           unsigned place, uint32_t epoch);

#endif
