/* inspect/describe.h - what is the same for all objects that are files: owner, permissions, size, age, name.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_DESCRIBE_H
#define WHERRY_INSPECT_DESCRIBE_H

#include "inspect/snapshot.h"

/* Fill in what statx(2) says of the file behind a descriptor, or of any. */
void wherry__describe(struct object *object, struct visit *visit);
void wherry__describe_status(struct object *object, const struct statx *status);

/* `since` is when it was last written to or changed, not when it was made: of what outlives its users. */
void wherry__describe_change(struct object *object, const struct statx *status);

/* The object of the file behind a descriptor, which is made with what statx(2) says, and is called `prefix` and its
 * path. NULL: it is gone, or there is no memory. */
struct object *wherry__describe_file(struct visit *visit, enum wherry_inspect_kind kind, const char *prefix);

/* Whether a file of a process is really called by this path, which ends in " (deleted)": such a file may have lost the
 * name that it was opened by, and have another.  Known in the caller's own mount name space; elsewhere it is not
 * believed. */
bool wherry__called_deleted(struct snapshot *snapshot, const struct process *process, const char *path, dev_t device,
                            uint64_t inode);

/* A file that was opened without a name or under one that is gone may have another: it is looked for in the directory
 * of `path`, as that process sees it, and `path` becomes it.  `room` is what fits there.  False: not found. */
bool wherry__find_linked_name(struct snapshot *snapshot, const struct process *process, char *path, size_t room,
                              dev_t device, uint64_t inode);

/* Whether a path is one of a file that was made without a name (open(2), O_TMPFILE): nothing was ever called so. */
bool wherry__is_nameless(const char *path);

/* Cut " (deleted)" off a link or a path: whether it was there. */
bool wherry__cut_deleted(char *path);

#endif
