/* lock_tree.c - owns how `wherry locks --wait-graph` shows who waits for whom.
 *
 * SPDX-License-Identifier: MIT */
#include "lock_tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "text.h"

/* ---- words ---- */

const char *lock_kind(const struct wherry_inspect_hold *hold)
{
    static const char *const words[] = {
        [WHERRY_LOCK_OFD] = "ofd", [WHERRY_LOCK_POSIX] = "posix", [WHERRY_LOCK_FLOCK] = "flock"};
    return hold->lease ? "lease" : words[hold->lock];
}

const char *lock_mode(const struct wherry_inspect_hold *hold)
{
    return hold->exclusive ? "exclusive" : "shared";
}

const char *lock_range(const struct wherry_inspect_hold *hold, char text[LOCK_RANGE_TEXT])
{
    if (hold->length)
        snprintf(text, LOCK_RANGE_TEXT, "%" PRIu64 "-%" PRIu64, hold->start, hold->start + hold->length - 1);
    else if (hold->start)
        snprintf(text, LOCK_RANGE_TEXT, "%" PRIu64 "-", hold->start);
    else
        snprintf(text, LOCK_RANGE_TEXT, "all");
    return text;
}

/* ---- the text ---- */

struct tree {
    const struct lock_graph *graph;
    const struct wherry_inspect_process **shown; /* whose waits have been printed */
    size_t shown_count;
    bool (*is_wanted)(const void *context, const struct wherry_inspect_hold *hold);
    const void *context;
};

/* Foreign text, harmless. */
static void put(const char *text)
{
    const uint8_t *data = (const uint8_t *)text;
    char out[ESCAPED_MAX];
    for (size_t size = strlen(text); size > 0;)
        fwrite(out, 1, escape_next(&data, &size, "", out), stdout);
}

static void put_process(const struct wherry_inspect_process *process)
{
    printf("%d (", (int)process->pid);
    put(process->command);
    putchar(')');
}

static void put_lock(const struct wherry_inspect_hold *hold)
{
    char range[LOCK_RANGE_TEXT];
    printf("%s %s", lock_mode(hold), lock_kind(hold));
    if (hold->start || hold->length)
        printf(", bytes %s", lock_range(hold, range));
}

static bool was_shown(struct tree *tree, const struct wherry_inspect_process *process)
{
    for (size_t i = 0; i < tree->shown_count; i++)
        if (tree->shown[i] == process)
            return true;
    tree->shown[tree->shown_count++] = process;
    return false;
}

static bool waits(const struct lock_graph *graph, const struct wherry_inspect_process *process)
{
    for (size_t i = 0; i < graph->count; i++)
        if (graph->edges[i].waits->process == process)
            return true;
    return false;
}

static void put_waits(struct tree *tree, const struct wherry_inspect_process *process, int depth);

static void put_blockers(struct tree *tree, const struct wherry_inspect_hold *wait, int depth)
{
    const struct lock_graph *graph = tree->graph;
    size_t found = 0;
    for (size_t i = 0; i < graph->count; i++) {
        const struct lock_edge *edge = &graph->edges[i];
        if (edge->waits != wait)
            continue;
        found++;
        printf("%*s", 4 * depth, "");
        put_process(edge->holds->process);
        printf(" has it: ");
        put_lock(edge->holds);
        if (edge->holds->fd >= 0)
            printf(", fd %d", edge->holds->fd);
        if (edge->cycle)
            printf("; %s %zu", lock_graph_is_deadlock(graph, edge->cycle) ? "DEADLOCK" : "CYCLE", edge->cycle);
        putchar('\n');
        if (waits(graph, edge->holds->process))
            put_waits(tree, edge->holds->process, depth + 1);
    }
    if (!found)
        printf("%*snobody who can be seen has it\n", 4 * depth, "");
}

static void put_waits(struct tree *tree, const struct wherry_inspect_process *process, int depth)
{
    const struct wherry_inspect_hold *hold;
    if (was_shown(tree, process)) {
        printf("%*sand waits: see above\n", 4 * depth, "");
        return;
    }
    for (size_t i = 0; (hold = wherry_inspect_hold_by(process, i)); i++) {
        if (!lock_is_wait(hold))
            continue;
        printf("%*swaits for ", 4 * depth, "");
        put(hold->object->name);
        printf(": ");
        put_lock(hold);
        if (hold->thread && hold->thread != process->pid)
            printf(", thread %d", (int)hold->thread);
        putchar('\n');
        put_blockers(tree, hold, depth + 1);
    }
}

static bool is_waited_for(const struct lock_graph *graph, const struct wherry_inspect_process *process)
{
    for (size_t i = 0; i < graph->count; i++)
        if (graph->edges[i].holds->process == process)
            return true;
    return false;
}

static bool begins(const struct tree *tree, const struct wherry_inspect_process *process)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_by(process, i)); i++)
        if (lock_is_wait(hold) && tree->is_wanted(tree->context, hold))
            return true;
    return false;
}

static bool is_shown(const struct tree *tree, const struct wherry_inspect_process *process)
{
    for (size_t i = 0; i < tree->shown_count; i++)
        if (tree->shown[i] == process)
            return true;
    return false;
}

/* In the second round those who are waited for themselves, and are not below anybody: they wait in a circle. */
static void put_roots(struct tree *tree, const struct wherry_inspect *snapshot, bool in_circles)
{
    const struct wherry_inspect_process *process;
    for (size_t i = 0; (process = wherry_inspect_process(snapshot, i)); i++)
        if (begins(tree, process) && !is_shown(tree, process) &&
            (in_circles || !is_waited_for(tree->graph, process))) {
            put_process(process);
            putchar('\n');
            put_waits(tree, process, 1);
        }
}

/* Of cycles that have not come up above there is nothing to say. */
static bool has_shown(const struct tree *tree, size_t cycle)
{
    for (size_t i = 0; i < tree->graph->count; i++)
        if (tree->graph->edges[i].cycle == cycle && is_shown(tree, tree->graph->edges[i].waits->process))
            return true;
    return false;
}

static void put_cycle(const struct lock_graph *graph, size_t cycle)
{
    const struct wherry_inspect_process *before = NULL;
    bool is_deadlock = lock_graph_is_deadlock(graph, cycle);
    printf("%s %zu:", is_deadlock ? "deadlock" : "cycle", cycle);
    for (size_t i = 0; i < graph->count; i++)
        if (graph->edges[i].cycle == cycle && graph->edges[i].waits->process != before) {
            printf(before ? ", " : " ");
            before = graph->edges[i].waits->process;
            put_process(before);
        }
    puts(is_deadlock ? "" : "; threads or processes that do not wait may end it");
}

bool lock_tree_print(const struct lock_graph *graph, const struct wherry_inspect *snapshot,
                     bool (*is_wanted)(const void *context, const struct wherry_inspect_hold *hold),
                     const void *context)
{
    size_t room = 1;
    while (wherry_inspect_process(snapshot, room))
        room++;
    struct tree tree = {graph, calloc(room + 1, sizeof *tree.shown), 0, is_wanted, context};
    if (!tree.shown)
        return false;
    put_roots(&tree, snapshot, false);
    put_roots(&tree, snapshot, true);
    for (size_t i = 1; i <= graph->cycles; i++)
        if (has_shown(&tree, i))
            put_cycle(graph, i);
    free(tree.shown);
    return true;
}
