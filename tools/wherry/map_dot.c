/* map_dot.c - owns the map in graphviz's language; dot(1).
 *
 * SPDX-License-Identifier: MIT
 *
 * A text in quotes ends at a quote, a backslash begins an escape, and & an HTML entity: none of them, and no control
 * character, of foreign text gets there as it is. */
#include <string.h>

#include "inventory.h"
#include "map.h"
#include "text.h"

static void put(struct output *output, const char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    size_t left = strlen(text);
    char visible[ESCAPED_MAX];
    while (left > 0) {
        size_t length = escape_next(&from, &left, "", visible);
        for (size_t i = 0; i < length; i++)
            if (visible[i] == '&')
                map_print(output, "&amp;");
            else
                map_print(output, "%s%c", visible[i] == '"' || visible[i] == '\\' ? "\\" : "", visible[i]);
    }
}

static void put_id(struct output *output, const struct map *map, size_t node)
{
    if (map->nodes[node].process)
        map_print(output, "p%d", (int)map->nodes[node].process->pid);
    else
        map_print(output, "o%zu", node);
}

static void put_node(struct output *output, const struct map *map, size_t index)
{
    const struct map_node *node = &map->nodes[index];
    char user[64];
    map_print(output, "    ");
    put_id(output, map, index);
    map_print(output, " [label=\"");
    if (node->object) {
        put(output, node->object->name);
        map_print(output, "\\n%zu processes\", shape=ellipse", node->members);
    } else {
        const char *name = inventory_user(node->process->uid, user);
        put(output, node->process->command);
        map_print(output, "\\n%d", (int)node->process->pid);
        if (map->arguments && node->process->arguments[0]) {
            map_print(output, "\\n");
            put(output, node->process->arguments);
        }
        map_print(output, "\", tooltip=\"pid %d of ", (int)node->process->pid);
        put(output, name ? name : "an unknown user");
        map_print(output, "\"");
    }
    map_print(output, "];\n");
}

static void put_side(struct output *output, const struct map_side *side)
{
    char text[MAP_HOLD_TEXT];
    for (size_t i = 0; i < side->count; i++) {
        map_print(output, "%s", i ? ", " : "");
        put(output, map_hold(wherry_inspect_hold_of(side->object, side->first + i), text));
    }
}

static const char *style_of(enum map_relation relation)
{
    switch (relation) {
    case MAP_QUEUED:
    case MAP_WATCHES:
        return "dotted";
    case MAP_LOCK:
    case MAP_WAIT:
        return "dashed";
    default:
        return "solid";
    }
}

static void put_tie(struct output *output, const struct map *map, const struct map_tie *tie)
{
    static const char *const arrows[] = {[MAP_NONE] = "none", [MAP_TO] = "forward", [MAP_BOTH] = "both"};
    map_print(output, "    ");
    put_id(output, map, tie->node[0]);
    map_print(output, " -> ");
    put_id(output, map, tie->node[1]);
    map_print(output, " [dir=%s, style=%s, label=\"", arrows[tie->arrow], style_of(tie->relation));
    put(output, tie->object->name);
    map_print(output, "\", tooltip=\"%s, %s: ", map_kind(tie), map_relation_name(tie->relation));
    put_side(output, &tie->side[0]);
    map_print(output, " %s ", tie->side[0].count && tie->side[1].count ? "and" : "");
    put_side(output, &tie->side[1]);
    if (tie->detail[0]) {
        map_print(output, "; ");
        put(output, tie->detail);
    }
    map_print(output, "\"];\n");
}

void map_dot(const struct map *map, struct output *output)
{
    map_print(output, "digraph wherry {\n"
                      "    graph [charset=\"UTF-8\", rankdir=LR];\n"
                      "    node [shape=box, fontname=\"sans-serif\"];\n"
                      "    edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (size_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].shown)
            put_node(output, map, i);
    for (size_t i = 0; i < map->tie_count; i++)
        put_tie(output, map, &map->ties[i]);
    map_print(output, "}\n");
}
