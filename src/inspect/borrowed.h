/* inspect/borrowed.h - a few system calls in a child that borrows this process's memory.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_BORROWED_H
#define WHERRY_INSPECT_BORROWED_H

/* another mechanism: system calls without libc, for the child */
#include "process/raw.h"

/* Run `function`, marked WHERRY__RAW and made of wherry__raw() alone, in a child with all signals blocked, while this
 * thread sleeps.  What it changes of itself (its namespaces) ends with it; it has a copy of this process's descriptors,
 * and may have one of its memory.  Returns what `function` returned, 0 to 255, or -errno. */
int wherry__borrowed_child(int (*function)(void *), void *argument);

#endif
