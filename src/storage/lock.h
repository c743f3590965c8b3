/* storage/lock.h - a lock, as the files that make it up share it.
 *
 * SPDX-License-Identifier: MIT
 *
 * lock.c     opening, the short way to take and release
 * lock_wait.c  waiting
 * deadlock.c   whether those who wait, wait for each other
 * holders.c, proc_locks.c  who holds what, from /proc
 * waits.c      the notes of those who wait, in /dev/shm/wherry-UID */
#ifndef WHERRY_STORAGE_LOCK_H
#define WHERRY_STORAGE_LOCK_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/lock.h>

/* With `fair`, the byte that a writer holds while it waits: no file has so many. */
#define WHERRY__TURNSTILE (INT64_MAX - 1)
enum { WHERRY__LOCK_RANGES = 16 };

struct wherry__range {
    uint64_t start, end; /* the first byte behind it */
};

struct wherry_lock {
    uint64_t born;
    int fd;
    enum wherry_lock_kind kind;
    bool owned; /* the descriptor is the library's */
    bool fair, block, quiet;
    dev_t device;
    ino_t inode;
    char *path;      /* to look at after a take; NULL: not to be looked at */
    char *name;      /* for sentences */
    _Atomic int had; /* FLOCK: the mode that it holds, or 0 */
    _Atomic uint32_t interrupts, answered;

    /* with `fair`: what is held, so that who holds something is never made to wait at the turnstile */
    pthread_mutex_t ranges_lock;
    struct wherry__range ranges[WHERRY__LOCK_RANGES];
    int range_count; /* over WHERRY__LOCK_RANGES: more than are known, until all is released */
};

/* What is asked for. */
struct wherry__want {
    enum wherry_lock_mode mode;
    uint64_t start, length;
    struct wherry__range range;
    int command;        /* of flock(2); else of fcntl(2) */
    struct flock flock; /* of fcntl(2) */
};

/* One try: 0, -EAGAIN without a sentence, or another -errno with it. */
int wherry__lock_try(struct wherry_lock *lock, struct wherry__want *want);

/* Behind a try that said -EAGAIN.  As wherry_lock_take(). */
int wherry__lock_wait(struct wherry_lock *lock, struct wherry__want *want, wherry_time deadline);

/* The failure to report when the kernel refused with `code`, which is positive. */
int wherry__lock_refused(const struct wherry_lock *lock, const struct wherry__want *want, int code);

/* "all of it", "bytes 0 to 9", "bytes 5 and up" */
const char *wherry__range_text(uint64_t start, uint64_t length, char buffer[static 64]);

/* Whether two locks of these modes and ranges can not be at the same time. */
static inline struct wherry__range wherry__range_of(uint64_t start, uint64_t length)
{
    return (struct wherry__range){start, length ? start + length : UINT64_MAX};
}
static inline bool wherry__locks_meet(enum wherry_lock_kind a, enum wherry_lock_kind b)
{
    return (a == WHERRY_LOCK_FLOCK) == (b == WHERRY_LOCK_FLOCK);
}
static inline bool wherry__locks_conflict(const struct wherry_lock_holder *a, const struct wherry_lock_holder *b)
{
    struct wherry__range x = wherry__range_of(a->start, a->length), y = wherry__range_of(b->start, b->length);
    return wherry__locks_meet(a->kind, b->kind) && x.start < y.end && y.start < x.end &&
           (a->mode == WHERRY_LOCK_EXCLUSIVE || b->mode == WHERRY_LOCK_EXCLUSIVE);
}

#endif
