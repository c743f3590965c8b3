/* ring/name.h - where rings live: /dev/shm/wherry-UID/, and how one gets and loses its name.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_RING_NAME_H
#define WHERRY_RING_NAME_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/naming.h"
#include "ring/layout.h"
#include "ring/life.h"

/* A directory of this user's, /dev/shm/wherry-UID and then `suffix`, made with `mode` when it is not there: "" and 0700
 * for rings with a name.  A descriptor to close, or -errno with the sentence set. */
int wherry__ring_directory(const char *url, const char *suffix, mode_t mode);

/* Whether `name` may be one: 1 to 200 characters, no slash, not beginning with a dot.  0 or -EINVAL with the sentence
 * set. */
int wherry__ring_check_name(const char *name, const char *url);

/* Make a ring without a name: all of its control part, and none of its lanes; the name that it will have by *ret.
 * 0 or -errno with the sentence set. */
int wherry__ring_make(struct wherry__naming *ret, int directory, const char *name, const struct ring_head *head,
                      const char *url, struct wherry__life **ret_life);
/* Give a file of no size the size of a ring, and write its control part.  0 or -errno with the sentence set. */
int wherry__ring_fill(int fd, const struct ring_head *head, const char *url);
/* Give it that, or give it up.  0; -EEXIST (somebody was quicker) without a sentence; or another -errno. */
int wherry__ring_link(struct wherry__naming *naming, int directory, const char *name, const char *url);

/* The failure to report when the file of a ring could not be opened: `code` is positive. */
int wherry__ring_cannot_open(int code, const char *url, const char *name);

/* Read the head of a ring that exists, and check it.  NULL for the name of one that was handed over (door.h): it may be
 * another uid's.  0 or -errno with the sentence set. */
int wherry__ring_read_head(const struct wherry__life *life, struct ring_head *ret_head, const char *url,
                           const char *name);

/* Whether it can be the head of a ring whose file has that size. */
bool wherry__ring_head_fits(const struct ring_head *head, off_t size);

/* Remove the name, and what lies beside it, if it still leads there.  With all places taken. */
void wherry__ring_unlink(const struct wherry__life *life, int directory, const char *name);

/* The name of the FIFO that rings for those who poll at a place. */
void wherry__ring_bell_name(char bell[static 256], const char *name, unsigned place);

#endif
