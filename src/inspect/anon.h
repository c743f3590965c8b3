/* inspect/anon.h - open files that the kernel does not number.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_ANON_H
#define WHERRY_INSPECT_ANON_H

#include "inspect/snapshot.h"

/* The object of the open file behind a descriptor: the same one for all descriptors that lead to it, in whatever
 * process (kcmp(2)).  NULL: no memory. */
struct object *wherry__anon_object(struct visit *visit, enum wherry_inspect_kind kind, bool *ret_new);

#endif
