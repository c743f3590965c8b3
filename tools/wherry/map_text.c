/* map_text.c - owns the map as text: each process, beneath it its neighbours, beneath them what joins them.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "inventory.h"
#include "map.h"
#include "text.h"

enum { HOLDS_SHOWN = 4 };

/* Foreign text: no byte of it means anything to a terminal, and none breaks a line. */
static void put(struct output *output, const char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    size_t left = strlen(text);
    char visible[ESCAPED_MAX];
    while (left > 0) {
        size_t length = escape_next(&from, &left, "", visible);
        output_bytes(output, visible, length);
    }
}

static void put_node(struct output *output, const struct map_node *node)
{
    if (node->process) {
        map_print(output, "%d (", (int)node->process->pid);
        put(output, node->process->command);
        map_print(output, ")");
    } else {
        put(output, node->object->name);
        map_print(output, ", which %zu processes share", node->members);
    }
}

static void put_side(struct output *output, const struct map_side *side)
{
    char text[MAP_HOLD_TEXT];
    for (size_t i = 0; i < side->count && i < HOLDS_SHOWN; i++) {
        if (i > 0)
            map_print(output, ", ");
        put(output, map_hold(wherry_inspect_hold_of(side->object, side->first + i), text));
    }
    if (side->count > HOLDS_SHOWN)
        map_print(output, " and %zu more", side->count - HOLDS_SHOWN);
}

static const char *arrow(const struct map_tie *tie, bool from_here)
{
    if (tie->arrow == MAP_TO)
        return from_here ? "->" : "<-";
    return tie->arrow == MAP_BOTH ? "<>" : "--";
}

/* "lock /a/file"; "pipe:[4711]" says its kind itself. */
static void put_object(struct output *output, const struct map_tie *tie, const struct wherry_inspect_object *object)
{
    const char *kind = map_kind(tie);
    if (strncmp(object->name, kind, strlen(kind)) != 0)
        map_print(output, "%s ", kind);
    put(output, object->name);
}

/* One tie, as the node on `side` of it has it: here and there. */
static void put_tie(struct output *output, const struct map_tie *tie, int side)
{
    const struct map_side *here = &tie->side[side], *there = &tie->side[!side];
    const char *between = arrow(tie, side == 0);
    map_print(output, "       ");
    put_object(output, tie, here->object ? here->object : tie->object);
    if (here->object && there->object && here->object != there->object) {
        map_print(output, " %s ", between);
        put(output, there->object->name);
    }
    if (here->count + there->count > 0)
        map_print(output, ": ");
    put_side(output, here);
    if (here->count && there->count)
        map_print(output, " %s ", between);
    put_side(output, there);
    if (tie->relation == MAP_QUEUED)
        map_print(output, "; not accepted yet");
    if (tie->relation == MAP_WATCHES)
        map_print(output, "; %s", side == 0 ? "watches it" : "is watched");
    if (tie->detail[0]) {
        map_print(output, "; ");
        put(output, tie->detail);
    }
    map_print(output, "\n");
}

/* The arrow of all ties to one neighbour. */
static const char *sum_arrow(const struct map *map, const struct map_node *node, size_t from, size_t to)
{
    bool forth = false, back = false;
    for (size_t i = from; i < to; i++) {
        const struct map_end *end = &map->ends[node->first + i];
        const struct map_tie *tie = &map->ties[end->tie];
        forth |= tie->arrow == MAP_BOTH || (tie->arrow == MAP_TO && tie->node[0] == end->node);
        back |= tie->arrow == MAP_BOTH || (tie->arrow == MAP_TO && tie->node[1] == end->node);
    }
    return forth ? (back ? "<>" : "->") : back ? "<-" : "--";
}

static void put_neighbours(struct output *output, const struct map *map, const struct map_node *node)
{
    const struct map_end *ends = map->ends + node->first;
    for (size_t i = 0, next; i < node->count; i = next) {
        for (next = i + 1; next < node->count && ends[next].other == ends[i].other; next++)
            ;
        map_print(output, "  %s ", sum_arrow(map, node, i, next));
        put_node(output, &map->nodes[ends[i].other]);
        map_print(output, "\n");
        for (size_t k = i; k < next; k++)
            put_tie(output, &map->ties[ends[k].tie], map->ties[ends[k].tie].node[0] == ends[k].node ? 0 : 1);
    }
}

static void put_heading(struct output *output, const struct map *map, const struct map_node *node)
{
    char user[64];
    put_node(output, node);
    const char *name = node->process ? inventory_user(node->process->uid, user) : NULL;
    if (name) {
        map_print(output, ", ");
        put(output, name);
    }
    if (node->process && map->arguments && node->process->arguments[0]) {
        map_print(output, ": ");
        put(output, node->process->arguments);
    }
    map_print(output, "\n");
}

static void put_block(struct output *output, const struct map *map, size_t index, bool *ret_began)
{
    const struct map_node *node = &map->nodes[index];
    if (*ret_began)
        map_print(output, "\n");
    *ret_began = true;
    put_heading(output, map, node);
    put_neighbours(output, map, node);
    if (!node->count)
        map_print(output, "  shares nothing with another process\n");
}

void map_text(const struct map *map, const struct map_choice *choice, struct output *output)
{
    size_t asked = choice->pid ? map_find(map, choice->pid) : SIZE_MAX;
    bool began = false;
    if (asked != SIZE_MAX)
        put_block(output, map, asked, &began);
    /* beneath a process and its neighbours alone, the neighbours would only say the same once more */
    bool whole = asked == SIZE_MAX || choice->depth > 1;
    for (size_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].shown && i != asked && (whole || map->nodes[i].object))
            put_block(output, map, i, &began);
    if (!began)
        map_print(output, "No two processes share anything.\n");
}
