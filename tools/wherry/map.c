/* map.c - owns the graph: which processes are joined, and by what.
 *
 * SPDX-License-Identifier: MIT
 *
 * map_part.c chooses what of it is to be shown; the other files called map_... print it. */
#include "map.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* All holds of one process on one object. */
struct group {
    size_t node;
    struct map_side side;
    bool reads, writes, locks, waits;
};

/* The processes that hold an object; as large as the largest object needs. */
struct groups {
    struct group *list;
    size_t count, room;
};

/* The node of an object; an object has at most one. */
struct hub {
    const struct wherry_inspect_object *object;
    size_t node;
};

struct maker {
    struct map *map;
    uint64_t kinds;
    struct groups near, far;
    void *hubs; /* a tree of struct hub; tsearch(3) */
};

/* ---- small things ---- */

const char *map_relation_name(enum map_relation relation)
{
    static const char *const names[] = {
        [MAP_FLOW] = "flow", [MAP_PEER] = "peer", [MAP_QUEUED] = "queued",   [MAP_SHARED] = "shared",
        [MAP_LOCK] = "lock", [MAP_WAIT] = "wait", [MAP_WATCHES] = "watches",
    };
    return names[relation];
}

const char *map_kind(const struct map_tie *tie)
{
    bool is_lock = tie->relation == MAP_LOCK || tie->relation == MAP_WAIT;
    return is_lock ? "lock" : wherry_inspect_kind_name(tie->object->kind);
}

size_t map_find(const struct map *map, pid_t pid)
{
    size_t low = 0, high = map->process_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (map->nodes[middle].process->pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->process_count && map->nodes[low].process->pid == pid ? low : SIZE_MAX;
}

/* The list with room for one more; NULL, and map->failed, when there is no memory. */
static void *grow(struct map *map, void *list, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return list;
    size_t more = *room ? *room * 2 : 64;
    void *grown = reallocarray(list, more, size);
    if (grown)
        *room = more;
    else
        map->failed = true;
    return grown;
}

static bool add_node(struct map *map, struct map_node node)
{
    struct map_node *nodes = grow(map, map->nodes, &map->node_room, map->node_count, sizeof *nodes);
    if (!nodes)
        return false;
    map->nodes = nodes;
    nodes[map->node_count++] = node;
    return true;
}

static void add_tie(struct map *map, struct map_tie tie)
{
    struct map_tie *ties = grow(map, map->ties, &map->tie_room, map->tie_count, sizeof *ties);
    if (!ties)
        return;
    map->ties = ties;
    ties[map->tie_count++] = tie;
}

static struct group *add_group(struct map *map, struct groups *groups, struct group group)
{
    struct group *list = grow(map, groups->list, &groups->room, groups->count, sizeof *list);
    if (!list)
        return NULL;
    groups->list = list;
    list[groups->count] = group;
    return &list[groups->count++];
}

/* ---- who holds an object ---- */

static bool gather(struct maker *maker, struct groups *groups, const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold;
    struct group *group = NULL;
    const struct wherry_inspect_process *before = NULL;
    groups->count = 0;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); before = hold->process, i++) {
        if (hold->process != before)
            group = add_group(maker->map, groups,
                              (struct group){.node = map_find(maker->map, hold->process->pid), .side = {object, i, 0}});
        if (!group)
            return false;
        group->side.count++;
        group->reads |= hold->reads;
        group->writes |= hold->writes;
        group->locks |= hold->how == WHERRY_INSPECT_LOCKED;
        group->waits |= hold->how == WHERRY_INSPECT_WAITING;
    }
    return true;
}

static bool is_flow(enum wherry_inspect_kind kind)
{
    return kind == WHERRY_INSPECT_PIPE || kind == WHERRY_INSPECT_FIFO || kind == WHERRY_INSPECT_POSIX_MQ;
}

/* ---- locks: who waits for whom ---- */

/* OFD and classic locks meet each other; flock only itself. */
static bool in_conflict(const struct wherry_inspect_hold *waits, const struct wherry_inspect_hold *holds)
{
    if (waits->how != WHERRY_INSPECT_WAITING || holds->how != WHERRY_INSPECT_LOCKED || waits->lease != holds->lease ||
        (waits->lock == WHERRY_LOCK_FLOCK) != (holds->lock == WHERRY_LOCK_FLOCK) ||
        !(waits->exclusive || holds->exclusive))
        return false;
    return (!holds->length || waits->start < holds->start + holds->length) &&
           (!waits->length || holds->start < waits->start + waits->length);
}

static bool waits_for(const struct group *waiter, const struct group *holder)
{
    if (!waiter->waits || !holder->locks)
        return false;
    for (size_t i = 0; i < waiter->side.count; i++)
        for (size_t k = 0; k < holder->side.count; k++)
            if (in_conflict(wherry_inspect_hold_of(waiter->side.object, waiter->side.first + i),
                            wherry_inspect_hold_of(holder->side.object, holder->side.first + k)))
                return true;
    return false;
}

/* ---- two processes and one object ---- */

/* Whether something goes from a to b, of a pipe, FIFO or queue. */
static bool flows(const struct group *a, const struct group *b)
{
    return a->writes && b->reads;
}

static void join(struct maker *maker, const struct group *a, const struct group *b, struct map_tie tie, bool forth,
                 bool back)
{
    const struct group *from = back && !forth ? b : a, *to = back && !forth ? a : b;
    if (a->node == b->node || a->node == SIZE_MAX || b->node == SIZE_MAX)
        return;
    tie.node[0] = from->node;
    tie.node[1] = to->node;
    tie.side[0] = from->side;
    tie.side[1] = to->side;
    tie.arrow = forth && back ? MAP_BOTH : forth || back ? MAP_TO : MAP_NONE;
    add_tie(maker->map, tie);
}

static void join_sharers(struct maker *maker, const struct wherry_inspect_object *object, const struct group *a,
                         const struct group *b, bool only_flow)
{
    struct map_tie tie = {.object = object, .relation = MAP_SHARED, .detail = ""};
    bool forth = false, back = false, is_file = object->kind == WHERRY_INSPECT_FILE;
    if (is_flow(object->kind)) {
        forth = flows(a, b), back = flows(b, a);
        tie.relation = forth || back ? MAP_FLOW : MAP_SHARED;
    } else if (is_file && (a->locks || a->waits) && (b->locks || b->waits)) {
        forth = waits_for(a, b), back = waits_for(b, a);
        tie.relation = forth || back ? MAP_WAIT : MAP_LOCK;
    }
    if (!only_flow || forth || back)
        join(maker, a, b, tie, forth, back);
}

/* ---- hubs ---- */

/* What a member does with the object of a hub, as if the hub were a process. */
static void join_hub(struct maker *maker, size_t hub, const struct wherry_inspect_object *object,
                     const struct group *member)
{
    struct group centre = {.node = hub};
    struct map_tie tie = {.object = object, .relation = MAP_SHARED, .detail = ""};
    bool forth = false, back = false;
    if (is_flow(object->kind)) {
        forth = member->writes, back = member->reads;
        tie.relation = MAP_FLOW;
    } else if (object->kind == WHERRY_INSPECT_FILE && (member->locks || member->waits)) {
        forth = member->waits, back = false;
        tie.relation = member->waits ? MAP_WAIT : MAP_LOCK;
    }
    join(maker, member, &centre, tie, forth, back);
}

static int compare_hubs(const void *a, const void *b)
{
    const struct wherry_inspect_object *x = ((const struct hub *)a)->object, *y = ((const struct hub *)b)->object;
    return (x > y) - (x < y);
}

/* SIZE_MAX: it has none. */
static size_t find_hub(const struct maker *maker, const struct wherry_inspect_object *object)
{
    const struct hub wanted = {.object = object};
    struct hub *const *found = tfind(&wanted, &maker->hubs, compare_hubs);
    return found ? (*found)->node : SIZE_MAX;
}

/* The hub of an object, its holders joined to it; SIZE_MAX, and map->failed, when there is no memory. */
static size_t make_hub(struct maker *maker, const struct wherry_inspect_object *object, const struct groups *holders)
{
    size_t node = find_hub(maker, object);
    if (node != SIZE_MAX)
        return node;
    node = maker->map->node_count;
    struct hub *hub = malloc(sizeof *hub);
    if (hub)
        *hub = (struct hub){object, node};
    if (!hub || !tsearch(hub, &maker->hubs, compare_hubs)) {
        free(hub);
        maker->map->failed = true;
        return SIZE_MAX;
    }
    if (!add_node(maker->map, (struct map_node){.object = object, .members = holders->count}))
        return SIZE_MAX;
    for (size_t i = 0; i < holders->count; i++)
        join_hub(maker, node, object, &holders->list[i]);
    return node;
}

/* ---- objects that processes have in common ---- */

static bool carries_nothing(const struct wherry_inspect_object *object, const struct groups *groups)
{
    if (object->kind != WHERRY_INSPECT_FILE)
        return false;
    for (size_t i = 0; i < groups->count; i++)
        if (groups->list[i].writes || groups->list[i].locks || groups->list[i].waits)
            return false;
    return true;
}

/* Of a pipe, those of the same end are not joined, unless nobody else is there to join them to. */
static bool any_flow(const struct wherry_inspect_object *object, const struct groups *groups)
{
    if (object->kind != WHERRY_INSPECT_PIPE && object->kind != WHERRY_INSPECT_FIFO)
        return false;
    for (size_t i = 0; i < groups->count; i++)
        for (size_t k = 0; k < groups->count; k++)
            if (i != k && flows(&groups->list[i], &groups->list[k]))
                return true;
    return false;
}

static void join_all(struct maker *maker, const struct wherry_inspect_object *object)
{
    struct groups *groups = &maker->near;
    if (!gather(maker, groups, object) || groups->count < 2)
        return;
    if (carries_nothing(object, groups)) {
        maker->map->quiet_files++;
        return;
    }
    if (groups->count > MAP_HUB || find_hub(maker, object) != SIZE_MAX) {
        make_hub(maker, object, groups);
        return;
    }
    bool only_flow = any_flow(object, groups);
    for (size_t i = 0; i < groups->count; i++)
        for (size_t k = i + 1; k < groups->count; k++)
            join_sharers(maker, object, &groups->list[i], &groups->list[k], only_flow);
}

/* ---- sockets ---- */

/* The listening socket that this connection waits at, which nobody has accepted yet; or the end itself. */
static const struct wherry_inspect_object *accepting(const struct wherry_inspect_object *end, bool *ret_queued)
{
    const struct wherry_inspect_link *link;
    for (size_t i = 0; end->holds == 0 && (link = wherry_inspect_link_of(end, i)); i++)
        if (link->kind == WHERRY_INSPECT_QUEUED && link->from == end) {
            *ret_queued = true;
            return link->to;
        }
    return end;
}

/* Processes at both ends, and not one process at both. */
static bool joins_processes(const struct wherry_inspect_object *a, const struct wherry_inspect_object *b)
{
    const struct wherry_inspect_hold *hold, *first = wherry_inspect_hold_of(a, 0);
    if (!first || !b->holds)
        return false;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(a, i)); i++)
        if (hold->process != first->process)
            return true;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(b, i)); i++)
        if (hold->process != first->process)
            return true;
    return false;
}

/* Those who hold an end, or its hub alone, where it has one. */
static bool gather_end(struct maker *maker, struct groups *groups, const struct wherry_inspect_object *end)
{
    size_t hub = find_hub(maker, end);
    if (hub == SIZE_MAX)
        return gather(maker, groups, end);
    groups->count = 0;
    return add_group(maker->map, groups, (struct group){.node = hub});
}

static void put_hub(struct maker *maker, struct groups *groups, const struct wherry_inspect_object *end)
{
    size_t hub = make_hub(maker, end, groups);
    groups->count = 0;
    if (hub != SIZE_MAX)
        add_group(maker->map, groups, (struct group){.node = hub});
}

/* An end that too many hold has a hub.  So has the one that more hold where both together are too many to join each of
 * one with each of the other. */
static void make_hubs_of_ends(struct maker *maker, const struct wherry_inspect_object *near,
                              const struct wherry_inspect_object *far)
{
    struct groups *here = &maker->near, *there = &maker->far;
    if (here->count > MAP_HUB)
        put_hub(maker, here, near);
    if (there->count > MAP_HUB)
        put_hub(maker, there, far);
    if (here->count < 2 || there->count < 2 || here->count + there->count <= MAP_HUB)
        return;
    if (here->count > there->count)
        put_hub(maker, here, near);
    else
        put_hub(maker, there, far);
}

static void join_ends(struct maker *maker, const struct wherry_inspect_link *link)
{
    bool queued = false, back = false;
    const struct wherry_inspect_object *near = accepting(link->from, &back), *far = accepting(link->to, &queued);
    if (!joins_processes(near, far) || !gather_end(maker, &maker->near, near) || !gather_end(maker, &maker->far, far))
        return;
    queued |= back;
    make_hubs_of_ends(maker, near, far);
    struct map_tie tie = {.object = near, .relation = queued ? MAP_QUEUED : MAP_PEER, .detail = link->detail};
    for (size_t i = 0; i < maker->near.count; i++)
        for (size_t k = 0; k < maker->far.count; k++)
            join(maker, &maker->near.list[i], &maker->far.list[k], tie, queued && !back, back);
}

/* To who is at the other end. */
static void join_peers(struct maker *maker, const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_link *link;
    for (size_t i = 0; (link = wherry_inspect_link_of(object, i)); i++)
        if (link->kind == WHERRY_INSPECT_PEER && link->from == object)
            join_ends(maker, link);
}

/* To who else holds it, only when nobody is at the other end.  After join_peers() of all: by then it is known whether
 * the socket has a hub. */
static void join_socket(struct maker *maker, const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_link *link;
    for (size_t i = 0; (link = wherry_inspect_link_of(object, i)); i++)
        if (link->kind == WHERRY_INSPECT_PEER && joins_processes(link->from, link->to))
            return;
    join_all(maker, object);
}

/* ---- pidfds ---- */

static void join_watchers(struct maker *maker, const struct wherry_inspect_object *object)
{
    struct group watched = {.node = object->id ? map_find(maker->map, (pid_t)object->id) : SIZE_MAX};
    struct map_tie tie = {.object = object, .relation = MAP_WATCHES, .detail = ""};
    if (watched.node == SIZE_MAX || !gather(maker, &maker->near, object))
        return;
    for (size_t i = 0; i < maker->near.count; i++)
        join(maker, &maker->near.list[i], &watched, tie, true, false);
}

/* ---- all of it ---- */

static bool is_socket(enum wherry_inspect_kind kind)
{
    return kind == WHERRY_INSPECT_UNIX || kind == WHERRY_INSPECT_TCP || kind == WHERRY_INSPECT_UDP ||
           kind == WHERRY_INSPECT_SOCKET;
}

static bool is_wanted(const struct maker *maker, const struct wherry_inspect_object *object)
{
    return !maker->kinds || maker->kinds >> object->kind & 1;
}

static void make_ties(struct maker *maker)
{
    const struct wherry_inspect_object *object;
    for (size_t i = 0; (object = wherry_inspect_object(maker->map->snapshot, i)); i++)
        if (is_wanted(maker, object) && is_socket(object->kind))
            join_peers(maker, object);
    for (size_t i = 0; (object = wherry_inspect_object(maker->map->snapshot, i)); i++)
        if (!is_wanted(maker, object))
            continue;
        else if (is_socket(object->kind))
            join_socket(maker, object);
        else if (object->kind == WHERRY_INSPECT_PIDFD)
            join_watchers(maker, object);
        else
            join_all(maker, object);
}

static void make_nodes(struct map *map)
{
    const struct wherry_inspect_process *process;
    for (size_t i = 0; (process = wherry_inspect_process(map->snapshot, i)); i++)
        if (!add_node(map, (struct map_node){.process = process}))
            return;
    map->process_count = map->node_count;
}

int map_make(struct map *map, const struct wherry_inspect *snapshot, const struct map_choice *choice)
{
    *map = (struct map){.snapshot = snapshot};
    struct maker maker = {.map = map, .kinds = choice->kinds};
    make_nodes(map);
    if (!map->failed)
        make_ties(&maker);
    free(maker.near.list);
    free(maker.far.list);
    tdestroy(maker.hubs, free);
    if (!map->failed)
        map_part(map, choice);
    if (!map->failed)
        return 0;
    map_free(map);
    return -ENOMEM;
}

void map_free(struct map *map)
{
    free(map->nodes);
    free(map->ties);
    free(map->ends);
    *map = (struct map){0};
}
