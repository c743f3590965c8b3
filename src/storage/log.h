/* storage/log.h - a durable log in one file: appended by many, read by many, each from its own place.
 *
 * SPDX-License-Identifier: MIT
 *
 * LOG.md has the layout and the rules; comments name them.  No call waits: where another process holds a lock that is
 * needed, -EAGAIN says so.  One thread at a time uses a struct of these. */
#ifndef WHERRY_STORAGE_LOG_H
#define WHERRY_STORAGE_LOG_H

#include <stdbool.h>
#include <sys/stat.h>
#include <wherry/base.h>

#include "storage/log_layout.h"

/* ---- the log --------------------------------------------------------------------------------------------------- */

struct wherry__log {
    int fd;                  /* -1: not open */
    const char *name, *path; /* what sentences begin with; the caller's memory */
    bool writable;
    uint64_t id;
    uint8_t boot[LOG_BOOT]; /* this one */
    uint64_t most;          /* RLIMIT_FSIZE: a write beyond it would raise SIGXFSZ */
    struct log_state state; /* as it was last read */
    bool foreign;           /* the state is of an earlier boot, and may not be written: its `end` is the file's size */
    uint64_t held_group;    /* the byte of the group's lock that we hold, 0: none */
    /* appending */
    uint64_t synced, synced_next;           /* what an fdatasync of ours is known to cover */
    wherry_time sync_every, unsynced_since; /* 0: nothing to sync */
    bool sync_each;
    int failed; /* errno of an fdatasync that failed: what is on the disk is not known any more */
    uint64_t retain_bytes;
    wherry_time retain_age;
    uint64_t punched; /* holes are made up to here */
    struct wherry__log_window *trim;
};

/* Open the log at `path`, or make it with permissions `mode`.  `appends`: to write it; else reading will do, and
 * `writes` says whether a place is to be saved.  0, or -errno with the sentence set; close may be called on
 * whatever it left.  *ret_status: what was opened. */
struct wherry__log_wish {
    const char *name, *path;
    uint32_t mode;
    bool appends, writes;
};
int wherry__log_open(struct wherry__log *log, const struct wherry__log_wish *wish, struct stat *ret_status);
void wherry__log_close(struct wherry__log *log, uint64_t born);

/* Take or give back one of the locks (LOG.md, Locks).  0, -EAGAIN (somebody has it), or -errno with the sentence. */
int wherry__log_lock(struct wherry__log *log, uint64_t byte);
void wherry__log_unlock(struct wherry__log *log, uint64_t byte);
/* All groups' locks, of which held_group stays as it is: whoever has them knows that no group moves. */
int wherry__log_lock_groups(struct wherry__log *log);
void wherry__log_unlock_groups(struct wherry__log *log);
/* Whether anybody else holds it. */
bool wherry__log_locked(struct wherry__log *log, uint64_t byte);
/* -EAGAIN was the last word on a lock: -code, with a sentence that says who has it.  Slow. */
enum wherry__log_held { WHERRY__LOG_HELD_SEND, WHERRY__LOG_HELD_CLOSE, WHERRY__LOG_HELD_JOIN };
int wherry__log_say_held(const struct wherry__log *log, enum wherry__log_held held, int code);

/* Read the state anew.  0; -EAGAIN: it is of an earlier boot, and somebody else is at it; -ESTALE: another log lies
 * there now; or -errno with the sentence. */
int wherry__log_refresh(struct wherry__log *log);

/* What became of the file: it has no name any more, or it is shorter than the state, as last read, says.  *ret_size:
 * how long it is; as it was when that cannot be known. */
enum wherry__log_fate { WHERRY__LOG_LIVES, WHERRY__LOG_REMOVED, WHERRY__LOG_SHORT };
enum wherry__log_fate wherry__log_fate(const struct wherry__log *log, uint64_t *ret_size);
/* It is shorter: recover it now rather than with the next append.  0, -EAGAIN, -ESTALE or another -errno alike. */
int wherry__log_mend(struct wherry__log *log);

/* ---- for the log's own files ------------------------------------------------------------------------------------- */

/* Write all of it, whatever a single call takes (H5).  0 or -errno, with *ret_written bytes there. */
int wherry__log_write_all(int fd, const void *data, size_t size, uint64_t at);
int wherry__log_read_all(int fd, void *data, size_t size, uint64_t at, size_t *ret_got);

/* Under the append lock: read the state and the size; recover or cut as rules 3, 5 and 6 say.  0 or -errno. */
int wherry__log_settle(struct wherry__log *log);
int wherry__log_write_state(struct wherry__log *log, const struct log_state *state);
/* Under it and all groups' locks: set back what lies behind `end`.  0 or -errno. */
int wherry__log_clamp_groups(struct wherry__log *log, uint64_t end, uint64_t next);
/* Flush to the disk; a failure is remembered. */
int wherry__log_sync(struct wherry__log *log);

/* ---- appending ------------------------------------------------------------------------------------------------- */

/* Records on their way.  `bytes` has them one behind the other, as they will be but for their place and number; of
 * the last one the payload may lie elsewhere. */
struct wherry__log_batch {
    uint8_t *bytes;
    size_t size, capacity, count;
    const void *big;
    size_t big_size;
};

/* Records up to this size are copied. */
enum { WHERRY__LOG_COPIED = 16 << 10 };

/* Add a record.  0 or -ENOMEM.  Behind a record whose payload lies elsewhere there can be no other. */
int wherry__log_batch_add(struct wherry__log_batch *batch, const void *data, size_t size, uint32_t type);
/* Take back all behind the first `size` bytes and `count` records. */
void wherry__log_batch_cut(struct wherry__log_batch *batch, size_t size, size_t count);
void wherry__log_batch_fini(struct wherry__log_batch *batch);

/* Append the batch, all or nothing, and see to the disk as the policy says.  0: it is in the log, and empty now;
 * -EAGAIN: somebody else appends; -ENOSPC, -EFBIG, -EDQUOT, -ESTALE or another -errno, with the sentence: nothing is
 * in the log; -EIO: it is in the log, and the disk failed. */
int wherry__log_append(struct wherry__log *log, struct wherry__log_batch *batch);

/* What fsync=MS still owes; 0 or -errno. */
int wherry__log_sync_rest(struct wherry__log *log);

/* Under the append lock: move state->start forward as retention says, for a batch of `size` bytes (rule 8); then,
 * without it, make the holes. */
void wherry__log_trim(struct wherry__log *log, struct log_state *state, uint64_t size);
void wherry__log_punch(struct wherry__log *log);
/* Whether this file system makes holes: 0 or -EOPNOTSUPP with the sentence. */
int wherry__log_can_punch(struct wherry__log *log);

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* A part of the file in memory. */
struct wherry__log_window {
    uint8_t *bytes;
    size_t size, capacity;
    uint64_t at;
};

struct wherry__log_record {
    uint64_t position, next; /* where it is, and where the one behind it is */
    uint64_t number;
    wherry_time time;
    const void *data; /* in the window, until the next read */
    uint32_t size, type;
};

/* The record at `position`, which is at least state.start and at most state.end as last read.  1: *ret has it; 0:
 * `position` is the end; -EBADMSG: there is none (nothing is said); -EMSGSIZE: it is larger than `most`, and
 * ret->next says where the next one is; or -errno with the sentence. */
int wherry__log_read(struct wherry__log *log, struct wherry__log_window *window, uint64_t position, uint64_t most,
                     struct wherry__log_record *ret);
/* The first record from `position` on, below `end`; `end` when there is none.  -errno alike. */
int wherry__log_search(struct wherry__log *log, struct wherry__log_window *window, uint64_t position, uint64_t end,
                       uint64_t *ret_position);
void wherry__log_window_fini(struct wherry__log_window *window);

/* ---- groups ---------------------------------------------------------------------------------------------------- */

struct wherry__log_group {
    int index, member;     /* -1: none */
    uint64_t at;           /* of its sector */
    uint64_t next, number; /* as last read */
    uint64_t lent;         /* ours, 0: none */
    bool locked;           /* from the look to the receipt (rule 10) */
    bool others_lent;      /* a living member has a message: it may die with it */
};

enum wherry__log_from { WHERRY__LOG_SAVED, WHERRY__LOG_BEGINNING, WHERRY__LOG_END };

/* Become a member of the group, which is made if it is not there.  `from`: where it goes on; SAVED: where it was, the
 * beginning for a new one.  0; -EAGAIN: somebody holds the lock; -EUSERS: no room, with the sentence. */
int wherry__log_group_join(struct wherry__log *log, struct wherry__log_group *group, const char *name,
                           enum wherry__log_from from);

/* Under the group's lock, taken here, with the state read anew: what comes next.  1: a message that a dead member had
 * is ours, at group->lent; 0: group->next is to be looked at.  Both with the lock held, under which no recovery
 * happens.  -EAGAIN: somebody holds it; or -errno. */
int wherry__log_group_take(struct wherry__log *log, struct wherry__log_group *group);
/* The next place is this, with the lock held: it stays held. */
int wherry__log_group_move(struct wherry__log *log, struct wherry__log_group *group, uint64_t next, uint64_t number);
/* We keep what lies at `position`: written, or 0 to say that it is done. */
int wherry__log_group_lend(struct wherry__log *log, struct wherry__log_group *group, uint64_t position);
void wherry__log_group_leave(struct wherry__log *log, struct wherry__log_group *group);
void wherry__log_group_unlock(struct wherry__log *log, struct wherry__log_group *group);

#endif
