/* lock_graph.h - who waits for whom: the locks of a snapshot as edges, and the cycles in them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_LOCK_GRAPH_H
#define WHERRY_TOOL_LOCK_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <wherry/inspect.h>

/* `waits` is for a lock that `holds` keeps it from. */
struct lock_edge {
    const struct wherry_inspect_hold *waits, *holds;
    size_t cycle; /* of the cycle it is in, from 1; 0: none */
    bool stuck;   /* each thread of who waits does so for ever: for those alone who are stuck, too */
};

struct lock_graph {
    struct lock_edge *edges; /* by the pid of who waits; those of one wait stand together */
    size_t count, room;
    size_t cycles;
};

/* Whether it is a lock or a lease, or a wait for one. */
bool lock_is_held(const struct wherry_inspect_hold *hold);
bool lock_is_wait(const struct wherry_inspect_hold *hold);

/* False: no memory.  fini in any case. */
bool lock_graph_make(struct lock_graph *graph, const struct wherry_inspect *snapshot);
void lock_graph_fini(struct lock_graph *graph);

/* Whether each thread of each process in that cycle waits, and of each other process with which one of them shares the
 * lock in the way, so that nobody is left who could end it. */
bool lock_graph_is_deadlock(const struct lock_graph *graph, size_t cycle);

#endif
