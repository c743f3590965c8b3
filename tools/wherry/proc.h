/* proc.h - who is whose child, and in which process group, as /proc has it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_PROC_H
#define WHERRY_TOOL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether a process of the group runs: a zombie does not, though kill(2) takes signals for it.  Also when it cannot be
 * known. */
bool proc_group_runs(pid_t group);

/* The children of this process, zombies among them, to a list that the caller frees.  How many; 0 also when it cannot
 * be known. */
size_t proc_children(pid_t **ret_list);

#endif
