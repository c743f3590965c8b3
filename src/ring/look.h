/* ring/look.h - a look at a ring's file by whoever may read it, for libwherry-inspect.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_RING_LOOK_H
#define WHERRY_RING_LOOK_H

#include <sys/types.h>
#include <wherry/ring.h>

#include "base/shared.h"

/* The ring whose file is at `path`, if it is that inode: it is opened for reading alone, and its access time stays.
 * May be another user's.  0; -EBADMSG: no ring, or damaged; -ESTALE: another file; or another -errno.  No sentence. */
WHERRY__SHARED int wherry__ring_look(const char *path, dev_t device, ino_t inode, struct wherry_ring_stat *ret_stat);

/* Remove it and what lies beside it, if it is that inode still and nobody lives at it, kept or not: by the rules by
 * which its own ends do (LAYOUT.md, rule 16).  0; -EBUSY; -ESTALE; -EBADMSG; or another -errno.  No sentence. */
WHERRY__SHARED int wherry__ring_reap(int directory, const char *name, dev_t device, ino_t inode);

#endif
