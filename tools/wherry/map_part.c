/* map_part.c - owns which part of the map is to be shown: what is within so many steps of a process, or all that is
 * joined.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "map.h"

/* ---- the ties of each node ---- */

static int compare_ends(const void *a, const void *b)
{
    const struct map_end *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    if (x->other != y->other)
        return x->other < y->other ? -1 : 1;
    return x->tie < y->tie ? -1 : x->tie > y->tie;
}

static void make_ends(struct map *map)
{
    free(map->ends);
    map->end_count = 0;
    map->ends = calloc(map->tie_count * 2 + 1, sizeof *map->ends);
    if (!map->ends) {
        map->failed = true;
        return;
    }
    for (size_t i = 0; i < map->tie_count; i++)
        for (int side = 0; side < 2; side++)
            map->ends[map->end_count++] = (struct map_end){map->ties[i].node[side], map->ties[i].node[!side], i};
    qsort(map->ends, map->end_count, sizeof *map->ends, compare_ends);
    for (size_t i = 0; i < map->node_count; i++)
        map->nodes[i].count = 0;
    for (size_t i = map->end_count; i-- > 0;) {
        map->nodes[map->ends[i].node].first = i;
        map->nodes[map->ends[i].node].count++;
    }
}

/* ---- which part of it ---- */

/* The search for the steps to each node.  A hub has two places: at its index it was entered by one who holds the
 * object, and at that plus the number of nodes by one at the other end of the socket, who is joined to the holders and
 * not to others at his end. */
struct search {
    const struct map *map;
    size_t *distance;
    size_t *now, *next; /* places at this distance, and one step further */
    size_t now_count, next_count, level;
};

static bool is_of_holder(const struct map_tie *tie)
{
    return tie->relation != MAP_PEER && tie->relation != MAP_QUEUED;
}

/* Twice at most for one place: a step further, and then at this distance. */
static void reach(struct search *search, size_t place, size_t distance)
{
    if (search->distance[place] <= distance)
        return;
    search->distance[place] = distance;
    if (distance == search->level)
        search->now[search->now_count++] = place;
    else
        search->next[search->next_count++] = place;
}

/* Entering a hub is a step, leaving it is none. */
static void leave(struct search *search, size_t place)
{
    const struct map *map = search->map;
    const struct map_node *node = &map->nodes[place % map->node_count];
    for (size_t i = 0; i < node->count; i++) {
        const struct map_end *end = &map->ends[node->first + i];
        bool of_holder = is_of_holder(&map->ties[end->tie]);
        if (place >= map->node_count && !of_holder)
            continue;
        reach(search, end->other + (map->nodes[end->other].object && !of_holder ? map->node_count : 0),
              search->level + (node->object ? 0 : 1));
    }
}

/* Steps from one node to those within `most`, and SIZE_MAX for the others.  False: no memory. */
static bool measure(struct map *map, size_t from, size_t most)
{
    size_t places = 2 * map->node_count, *memory = calloc(places * 5, sizeof *memory);
    struct search search = {map, memory, memory + places, memory + 3 * places, 0, 0, 0};
    if (!memory)
        return false;
    for (size_t i = 0; i < places; i++)
        search.distance[i] = SIZE_MAX;
    reach(&search, from, 0);
    while (search.now_count > 0) {
        for (size_t i = 0; i < search.now_count; i++) {
            size_t place = search.now[i];
            bool is_hub = map->nodes[place % map->node_count].object;
            if (search.distance[place] == search.level && (is_hub || search.level < most))
                leave(&search, place);
        }
        size_t *done = search.now;
        search.now = search.next;
        search.now_count = search.next_count;
        search.next = done;
        search.next_count = 0;
        search.level++;
    }
    for (size_t i = 0; i < map->node_count; i++) {
        size_t other = search.distance[map->node_count + i];
        map->nodes[i].distance = search.distance[i] < other ? search.distance[i] : other;
    }
    free(memory);
    return true;
}

/* Ties that touch a node nearer than the last step are kept: what neighbours share among themselves is their affair. */
static void cut(struct map *map, size_t most)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->tie_count; i++) {
        const struct map_node *a = &map->nodes[map->ties[i].node[0]], *b = &map->nodes[map->ties[i].node[1]];
        size_t least = a->distance < b->distance ? a->distance : b->distance;
        bool of_hub = (a->object || b->object) && a->distance <= most && b->distance <= most;
        if (least < most || of_hub)
            map->ties[kept++] = map->ties[i];
    }
    map->tie_count = kept;
}

void map_part(struct map *map, const struct map_choice *choice)
{
    make_ends(map);
    size_t from = choice->pid ? map_find(map, choice->pid) : SIZE_MAX;
    if (from != SIZE_MAX && !map->failed) {
        if (!measure(map, from, choice->depth))
            map->failed = true;
        else
            cut(map, choice->depth);
        make_ends(map);
    }
    for (size_t i = 0; i < map->node_count && !map->failed; i++)
        map->nodes[i].shown = map->nodes[i].count > 0 || i == from;
}
