/* lock_graph.c - owns which lock keeps which wait, the search for cycles, and which of them nobody can end.
 *
 * SPDX-License-Identifier: MIT */
#include "lock_graph.h"

#include <linux/kcmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

bool lock_is_held(const struct wherry_inspect_hold *hold)
{
    return hold->how == WHERRY_INSPECT_LOCKED;
}

/* System V objects have waits, too; those are for no lock. */
bool lock_is_wait(const struct wherry_inspect_hold *hold)
{
    enum wherry_inspect_kind kind = hold->object->kind;
    return hold->how == WHERRY_INSPECT_WAITING && kind != WHERRY_INSPECT_SYSV_SEM && kind != WHERRY_INSPECT_SYSV_MSG &&
           kind != WHERRY_INSPECT_POSIX_SEM && kind != WHERRY_INSPECT_POSIX_MQ;
}

/* ---- whose lock ---- */

enum same { SAME, OTHER, UNKNOWN };

/* Whether the two are by one owner of locks: of classic ones a table of descriptors, of others an open file, which
 * forked processes share.  kcmp(2) has to be allowed, and needs descriptors. */
static enum same same_owner(const struct wherry_inspect_hold *a, const struct wherry_inspect_hold *b)
{
    bool classic = a->lock == WHERRY_LOCK_POSIX && !a->lease;
    if (classic != (b->lock == WHERRY_LOCK_POSIX && !b->lease))
        return OTHER;
    if (classic && a->process == b->process)
        return SAME;
    if (!classic && (a->fd < 0 || b->fd < 0))
        return UNKNOWN;
    long order = syscall(SYS_kcmp, a->thread ? a->thread : a->process->pid, b->thread ? b->thread : b->process->pid,
                         classic ? KCMP_FILES : KCMP_FILE, (unsigned long)a->fd, (unsigned long)b->fd);
    return order < 0 ? UNKNOWN : order == 0 ? SAME : OTHER;
}

/* Whether two held locks may be one that both have.  Of those that look alike there is one if it is exclusive. */
static bool may_be_one(const struct wherry_inspect_hold *a, const struct wherry_inspect_hold *b)
{
    return a->lease == b->lease && a->lock == b->lock && a->exclusive == b->exclusive && a->start == b->start &&
           a->length == b->length && (a->exclusive || same_owner(a, b) != OTHER);
}

/* ---- which lock keeps which wait ---- */

static uint64_t last_of(const struct wherry_inspect_hold *hold)
{
    return hold->length ? hold->start + hold->length - 1 : UINT64_MAX;
}

/* OFD and classic locks meet, flock is apart, and so are leases.  Nobody waits for what is locked by the open file that
 * is to lock, whoever else has that, nor a process for its own classic lock. */
static bool keeps(const struct wherry_inspect_hold *holds, const struct wherry_inspect_hold *waits)
{
    if (holds->lease || waits->lease)
        return holds->lease && waits->lease;
    if ((holds->lock == WHERRY_LOCK_FLOCK) != (waits->lock == WHERRY_LOCK_FLOCK))
        return false;
    if (holds->process == waits->process && holds->fd >= 0 && holds->fd == waits->fd)
        return false;
    return (holds->exclusive || waits->exclusive) && holds->start <= last_of(waits) && waits->start <= last_of(holds) &&
           same_owner(holds, waits) != SAME;
}

static bool add(struct lock_graph *graph, const struct wherry_inspect_hold *waits,
                const struct wherry_inspect_hold *holds)
{
    if (graph->count == graph->room) {
        size_t room = graph->room ? 2 * graph->room : 64;
        struct lock_edge *edges = realloc(graph->edges, room * sizeof *edges);
        if (!edges)
            return false;
        graph->edges = edges;
        graph->room = room;
    }
    graph->edges[graph->count++] = (struct lock_edge){.waits = waits, .holds = holds};
    return true;
}

static bool add_of(struct lock_graph *graph, const struct wherry_inspect_hold *waits)
{
    const struct wherry_inspect_hold *holds;
    for (size_t i = 0; (holds = wherry_inspect_hold_of(waits->object, i)); i++)
        if (lock_is_held(holds) && keeps(holds, waits) && !add(graph, waits, holds))
            return false;
    return true;
}

/* ---- cycles: what is strongly connected, after Tarjan ---- */

struct node {
    const struct wherry_inspect_process *process;
    size_t first, end; /* its edges */
    size_t index, low; /* from 1; 0: not visited */
    size_t cycle;
    bool on_stack;
    bool stuck; /* for ever, until the opposite is seen */
};

struct search {
    struct lock_graph *graph;
    struct node *nodes; /* by pid: those that wait */
    size_t count;
    struct node **stack;
    size_t depth, last;
};

static struct node *find_node(const struct search *search, const struct wherry_inspect_process *process)
{
    size_t low = 0, high = search->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->nodes[middle].process->pid < process->pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < search->count && search->nodes[low].process == process ? &search->nodes[low] : NULL;
}

static bool waits_for_itself(const struct search *search, const struct node *node)
{
    for (size_t i = node->first; i < node->end; i++)
        if (search->graph->edges[i].holds->process == node->process)
            return true;
    return false;
}

/* `node` is the first that was come to of those above it on the stack: they lead to each other. */
static void close_group(struct search *search, struct node *node)
{
    size_t from = search->depth;
    while (search->stack[--from] != node)
        continue;
    bool is_cycle = search->depth - from > 1 || waits_for_itself(search, node);
    search->graph->cycles += is_cycle;
    while (search->depth > from) {
        struct node *member = search->stack[--search->depth];
        member->on_stack = false;
        member->cycle = is_cycle ? search->graph->cycles : 0;
    }
}

static void visit(struct search *search, struct node *node)
{
    node->index = node->low = ++search->last;
    node->on_stack = true;
    search->stack[search->depth++] = node;
    for (size_t i = node->first; i < node->end; i++) {
        struct node *next = find_node(search, search->graph->edges[i].holds->process);
        if (next && !next->index)
            visit(search, next);
        if (next && next->on_stack && next->low < node->low)
            node->low = next->low;
    }
    if (node->low == node->index)
        close_group(search, node);
}

/* ---- deadlocks: who waits for those alone who wait likewise ---- */

static bool is_stuck(const struct search *search, const struct wherry_inspect_process *process)
{
    const struct node *node = find_node(search, process);
    return node && node->stuck;
}

/* Whether all who have the lock of `edge`, each of whom could give it back, are stuck.  The edges of one wait are those
 * from `first` to `end`. */
static bool lasts(const struct search *search, const struct lock_edge *edge, const struct lock_edge *first,
                  const struct lock_edge *end)
{
    if (!is_stuck(search, edge->holds->process))
        return false;
    for (const struct lock_edge *other = first; other < end; other++)
        if (!is_stuck(search, other->holds->process) && may_be_one(edge->holds, other->holds))
            return false;
    return true;
}

/* One wait is one thread's; one lock that is not given back keeps it. */
static bool still_stuck(const struct search *search, const struct node *node)
{
    const struct lock_edge *edges = search->graph->edges, *first = edges + node->first, *end;
    unsigned stuck = 0;
    for (; first < edges + node->end; first = end) {
        bool one_lasts = false;
        for (end = first; end < edges + node->end && end->waits == first->waits;)
            end++;
        for (const struct lock_edge *edge = first; edge < end && !one_lasts; edge++)
            one_lasts = lasts(search, edge, first, end);
        stuck += one_lasts;
    }
    return stuck >= node->process->threads;
}

/* All who wait are held for stuck at first; then whoever may go on is struck off, and who waits for them, and so on. */
static void find_stuck(struct search *search)
{
    for (size_t i = 0; i < search->count; i++)
        search->nodes[i].stuck = true;
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < search->count; i++)
            if (search->nodes[i].stuck && !still_stuck(search, &search->nodes[i])) {
                search->nodes[i].stuck = false;
                changed = true;
            }
    }
}

/* ---- all of it ---- */

static void mark_edges(const struct search *search)
{
    for (size_t i = 0; i < search->graph->count; i++) {
        struct lock_edge *edge = &search->graph->edges[i];
        const struct node *from = find_node(search, edge->waits->process);
        const struct node *to = find_node(search, edge->holds->process);
        edge->cycle = to && from->cycle == to->cycle ? from->cycle : 0;
        edge->stuck = from->stuck;
    }
}

static bool find_cycles(struct lock_graph *graph)
{
    struct search search = {.graph = graph,
                            .nodes = calloc(graph->count + 1, sizeof *search.nodes),
                            .stack = calloc(graph->count + 1, sizeof *search.stack)};
    bool fine = search.nodes && search.stack;
    for (size_t i = 0; fine && i < graph->count; i++) {
        const struct wherry_inspect_process *process = graph->edges[i].waits->process;
        if (search.count == 0 || search.nodes[search.count - 1].process != process)
            search.nodes[search.count++] = (struct node){.process = process, .first = i};
        search.nodes[search.count - 1].end = i + 1;
    }
    for (size_t i = 0; i < search.count; i++)
        if (!search.nodes[i].index)
            visit(&search, &search.nodes[i]);
    if (fine && graph->cycles) {
        find_stuck(&search);
        mark_edges(&search);
    }
    free(search.nodes);
    free(search.stack);
    return fine;
}

bool lock_graph_make(struct lock_graph *graph, const struct wherry_inspect *snapshot)
{
    const struct wherry_inspect_process *process;
    const struct wherry_inspect_hold *hold;
    *graph = (struct lock_graph){.edges = NULL};
    for (size_t i = 0; (process = wherry_inspect_process(snapshot, i)); i++)
        for (size_t j = 0; (hold = wherry_inspect_hold_by(process, j)); j++)
            if (lock_is_wait(hold) && !add_of(graph, hold))
                return false;
    return find_cycles(graph);
}

void lock_graph_fini(struct lock_graph *graph)
{
    free(graph->edges);
    *graph = (struct lock_graph){.edges = NULL};
}

bool lock_graph_is_deadlock(const struct lock_graph *graph, size_t cycle)
{
    for (size_t i = 0; i < graph->count; i++)
        if (graph->edges[i].cycle == cycle && !graph->edges[i].stuck)
            return false;
    return true;
}
