/* lock_tree.h - who waits for whom, as an indented text; and the words for locks.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_LOCK_TREE_H
#define WHERRY_TOOL_LOCK_TREE_H

#include "lock_graph.h"

const char *lock_kind(const struct wherry_inspect_hold *hold); /* "ofd", "posix", "flock", "lease" */
const char *lock_mode(const struct wherry_inspect_hold *hold); /* "shared", "exclusive" */

/* "all", "0-99", "7-". */
enum { LOCK_RANGE_TEXT = 48 };
const char *lock_range(const struct wherry_inspect_hold *hold, char text[LOCK_RANGE_TEXT]);

/* Print those who wait: first whom nobody waits for, below each wait whoever keeps it waiting, below them what they
 * wait for; each process's waits once; then the cycles.  `is_wanted` chooses where to begin.  False: no memory. */
bool lock_tree_print(const struct lock_graph *graph, const struct wherry_inspect *snapshot,
                     bool (*is_wanted)(const void *context, const struct wherry_inspect_hold *hold),
                     const void *context);

#endif
