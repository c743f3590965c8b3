/* inspect/lock.h - locks and leases on files, for file.c and the walk.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_LOCK_H
#define WHERRY_INSPECT_LOCK_H

#include "inspect/snapshot.h"
#include "storage/holders.h" /* lines of /proc/locks are read as the library's own locks read them */

/* A line of /proc/locks. */
struct listed {
    struct wherry__lock_line line;
    const char *text;           /* from the number on */
    struct listed *same_slot;   /* by inode */
    struct object *object;      /* once a descriptor showed which it is */
    bool explained;             /* a descriptor showed who has it, or it was given back */
};

struct lock_table {
    struct listed *list;
    size_t count;
    struct listed **slots;
    size_t slot_count; /* a power of two */
};

/* Step 1: on which files there are any.  Step 3: the holds of those whom no descriptor showed, and of those who wait.
 * 0, -ENOMEM or -EMFILE. */
int wherry__inspect_list_locks(struct snapshot *snapshot);
int wherry__inspect_join_locks(struct snapshot *snapshot);

/* Step 2: the locks of an open file that `object` is, or that is of no interest but for its locks: then it is made an
 * object.  False: it has none. */
void wherry__inspect_visit_locks(struct visit *visit, struct object *object);
bool wherry__inspect_visit_locked(struct visit *visit, dev_t device);

/* ---- between lock.c and lock_wait.c ---- */

/* The object that a line is about; NULL: none yet. */
struct object *wherry__inspect_locked_object(struct snapshot *snapshot, const struct wherry__lock_line *line);
/* A hold by a line; NULL: no memory. */
struct wherry_inspect_hold *wherry__inspect_lock_hold(struct object *object, struct process *process,
                                                      const struct wherry_lock_holder *holder, bool lease,
                                                      const char *detail);
/* Those who wait: by the lines of `now`, and by their own notes. */
void wherry__inspect_lock_waits(struct snapshot *snapshot, const struct lock_table *now);

#endif
