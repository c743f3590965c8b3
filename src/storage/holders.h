/* storage/holders.h - who holds locks on a file, and who waits for one.
 *
 * SPDX-License-Identifier: MIT
 *
 * From /proc/locks, proc_locks(5); OFD locks have no process there, and a flock may outlive the process that took it,
 * so for those the descriptors of each process are looked at, /proc/PID/fdinfo.  For sentences, for lists, and for
 * guesses at a deadlock, which are looked at twice. */
#ifndef WHERRY_STORAGE_HOLDERS_H
#define WHERRY_STORAGE_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <wherry/lock.h>

#include "base/shared.h"

struct wherry__holders {
    struct wherry_lock_holder *list; /* without `command` */
    size_t count, room;
    bool partial; /* the process of one is not known */
};

enum { WHERRY__HOLDERS_WAITING = 1 }; /* those who wait, too: by the kernel's lists and by the notes of waits.h */

/* 0; -EOPNOTSUPP (no /proc), -ENOMEM; no sentence.  fini may be called on whatever it left. */
int wherry__holders_find(struct wherry__holders *holders, dev_t device, ino_t inode, unsigned flags);
void wherry__holders_fini(struct wherry__holders *holders);
bool wherry__holders_add(struct wherry__holders *holders, const struct wherry_lock_holder *one);

/* ---- proc_locks.c ---- */

/* A line of /proc/locks, or of fdinfo behind "lock:". */
struct wherry__lock_line {
    struct wherry_lock_holder holder; /* pid -1: an OFD lock */
    dev_t device;                     /* of the file system, which need not be the one that stat(2) tells */
    ino_t inode;                      /* 0: it waits for the lease of the line before, which has this number */
    bool lease;                       /* a lease or a delegation; then holder.kind means nothing */
    unsigned long number;             /* of the lock; those who wait for it have the same */
};

/* One line, from its number on.  False: of something else. */
WHERRY__SHARED bool wherry__lock_line_parse(const char *text, struct wherry__lock_line *ret_line);

/* The next line of wherry__locks_read(), of which *rest is what follows (at the end NULL, and false); leases are
 * skipped. */
bool wherry__lock_line_next(char **rest, struct wherry__lock_line *ret_line);

/* The locks on the file among the descriptors of each process that may be looked at.  False: no memory. */
bool wherry__holders_of_descriptors(struct wherry__holders *holders, dev_t device, ino_t inode);

/* Whether a line is about this file. */
bool wherry__lock_line_is(const struct wherry__lock_line *line, dev_t device, ino_t inode);

/* When the process began, in the kernel's ticks, and how many threads it has; false when there is no such process. */
bool wherry__process_look(pid_t pid, unsigned long long *ret_start, long *ret_threads);

#endif
