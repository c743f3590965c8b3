/* base/robust.h - which robust mutexes the threads of this process hold, as the kernel will find them at their death.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_ROBUST_H
#define WHERRY_BASE_ROBUST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The number of a thread of this process that holds one in the `size` bytes at `memory`; 0: none is known to.  Exact
 * for the calling thread.  Whoever unmaps memory that users may have put mutexes into asks first (H28). */
pid_t wherry__robust_holder(const void *memory, size_t size);

/* The same as an answer, for memory that `name` is the name of: 0, or -EBUSY with a sentence.  Who is to move or cut
 * it asks, and does not. */
int wherry__robust_refuse(const char *name, const void *memory, size_t size);

/* For who closes, and cannot refuse: whether it stays mapped, for ever, with a sentence.  What the kernel will write
 * at the thread's death is then still where the others see it. */
bool wherry__robust_keeps(const char *name, const void *memory, size_t size);

#endif
