/* inspect/arena.h - the end of a snapshot's memory; snapshot.h has the rest.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_ARENA_H
#define WHERRY_INSPECT_ARENA_H

struct arena_block;

/* All of it.  NULL is fine. */
void wherry__inspect_arena_free(struct arena_block *arena);

#endif
