/* inspect/remove.h - what the files of removal share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_REMOVE_H
#define WHERRY_INSPECT_REMOVE_H

#include "inspect/snapshot.h"

/* How the name begins that a file has while it is put aside; who is killed then leaves it. */
#define WHERRY__ASIDE ".wherry-gc-"

/* Remove a System V object of the caller's IPC namespace.  0 or -errno with the sentence set. */
int wherry__remove_sysv(const struct object *object, bool untracked);

/* A fresh look at all processes, of the object of that key: whether somebody holds it.  0: nobody does, and nobody can
 * have been overlooked, or only such as the kernel's counts would show; -EBUSY, -EPERM, with the sentence set. */
int wherry__remove_look(const struct object *object, bool counted);

#endif
