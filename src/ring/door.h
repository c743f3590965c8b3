/* ring/door.h - rings between two uids (share=UID): a sealed memfd, the Unix socket through which it is handed over, and
 * the sockets that ring for those who poll.
 *
 * SPDX-License-Identifier: MIT
 *
 * A file with a name that two uids may write to can be cut short by either, and a load beyond its end is SIGBUS.  A memfd
 * can be sealed against that (memfd_create(2), F_SEAL_SHRINK), but has no name: whoever made it, or has taken its turn,
 * is the keeper of a door, /dev/shm/wherry-UID-shared/NAME, lets in one's own uid, root and the one named, and hands the
 * memfd over.  Nobody else has to be let in, so the keeper is needed only by those who come.  LAYOUT.md, rule 19. */
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
/* `own`: in the process that made it.  Removes what it made, and what dead processes of this uid left.  NULL is fine. */
void wherry__door_fini(struct wherry__door *door, bool own);

/* A ring without a name, sealed.  0 or -errno with the sentence set. */
int wherry__door_make(struct ring_head *head, const char *url, struct wherry__life **ret_life);
/* Become the keeper, of a ring in which this process has `place`.  0; -EEXIST: somebody is; -errno with the sentence
 * set. */
int wherry__door_open(struct wherry__door *door, struct wherry__life *life, unsigned place);
/* Let in those who knock, a few of them; the rest at the next call.  Never waits. */
void wherry__door_serve(struct wherry__door *door, const struct wherry__life *life);
/* The socket on which they knock; -1: this is not the keeper. */
int wherry__door_fd(const struct wherry__door *door);
/* One who came through the door: whether the keeper is gone, and this one may take its turn. */
bool wherry__door_left(const struct wherry__door *door, const struct wherry__life *life);

/* Knock, and wait until the deadline to be let in.  0; -ENOENT: nobody keeps the door; -EAGAIN or -ETIMEDOUT: somebody
 * does, but is in no call on the ring; or another -errno; with the sentence set save for -ENOENT. */
int wherry__door_enter(struct wherry__door *door, wherry_time deadline, struct wherry__life **ret_life);

/* The bell of a place of one's own, to read from: a descriptor, noted, or -errno. */
int wherry__door_make_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], unsigned place);
void wherry__door_forget_bell(const uint8_t secret[static RING_SECRET], unsigned place);
/* The bell of another's place, to send(2) to: a descriptor, noted, or -1. */
int wherry__door_find_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], uid_t uid,
                           unsigned place);

#endif
