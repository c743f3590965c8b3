/* map_json.c - owns the map as JSON: objects, processes with all that they hold, ties, and what was hidden.
 *
 * SPDX-License-Identifier: MIT
 *
 * Objects come first, and the rest names them by their place in that list.  It is written a line at a time, so that a
 * large host needs no large memory. */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "inventory.h"
#include "json.h"
#include "map.h"

enum { MAP_SCHEMA = 1 };

/* An object and its place in the list. */
struct place {
    const struct wherry_inspect_object *object;
    size_t number;
    bool used;
};

struct writer {
    const struct map *map;
    struct output *output;
    bool embedded, fine, first;
    struct place *places; /* by address */
    size_t place_count;
};

/* ---- the objects' places ---- */

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->object < y->object ? -1 : x->object > y->object;
}

static struct place *place_of(const struct writer *writer, const struct wherry_inspect_object *object)
{
    return bsearch(&(struct place){.object = object}, writer->places, writer->place_count, sizeof *writer->places,
                   compare_places);
}

static void use(const struct writer *writer, const struct wherry_inspect_object *object)
{
    struct place *place = object ? place_of(writer, object) : NULL;
    if (place)
        place->used = true;
}

static void find_used(const struct writer *writer)
{
    const struct map *map = writer->map;
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; i < map->node_count; i++) {
        use(writer, map->nodes[i].shown ? map->nodes[i].object : NULL);
        for (size_t k = 0; map->nodes[i].shown && map->nodes[i].process &&
                           (hold = wherry_inspect_hold_by(map->nodes[i].process, k));
             k++)
            use(writer, hold->object);
    }
    for (size_t i = 0; i < map->tie_count; i++) {
        use(writer, map->ties[i].object);
        use(writer, map->ties[i].side[0].object);
        use(writer, map->ties[i].side[1].object);
    }
}

static bool make_places(struct writer *writer)
{
    const struct wherry_inspect_object *object;
    size_t number = 0;
    while (wherry_inspect_object(writer->map->snapshot, writer->place_count))
        writer->place_count++;
    writer->places = calloc(writer->place_count + 1, sizeof *writer->places);
    if (!writer->places)
        return false;
    for (size_t i = 0; i < writer->place_count; i++)
        writer->places[i].object = wherry_inspect_object(writer->map->snapshot, i);
    qsort(writer->places, writer->place_count, sizeof *writer->places, compare_places);
    find_used(writer);
    for (size_t i = 0; (object = wherry_inspect_object(writer->map->snapshot, i)); i++)
        if (place_of(writer, object)->used)
            place_of(writer, object)->number = number++;
    return true;
}

/* ---- lines ---- */

static void begin_list(struct writer *writer, const char *name)
{
    map_print(writer->output, ",\n\"%s\":[\n", name);
    writer->first = true;
}

static void end_list(struct writer *writer)
{
    map_print(writer->output, "]");
}

/* One more of a list, which is taken over. */
static void item(struct writer *writer, struct json_object *object, bool fine)
{
    if (!object || !fine || !writer->fine) {
        json_object_put(object);
        writer->fine = false;
        return;
    }
    if (!writer->first)
        map_print(writer->output, ",");
    writer->first = false;
    writer->fine = writer->embedded ? json_line_embedded(writer->output, object) : json_line(writer->output, object);
}

static bool add_name(struct json_object *object, const char *key, const char *name)
{
    return !name || !name[0] || json_add(object, key, json_name(name));
}

static bool add_number(struct json_object *object, const char *key, int64_t number)
{
    return json_add(object, key, json_object_new_int64(number));
}

static bool add_count(struct json_object *object, const char *key, uint64_t number)
{
    return json_add(object, key, json_object_new_uint64(number));
}

static bool add_place(const struct writer *writer, struct json_object *to, const char *key,
                      const struct wherry_inspect_object *object)
{
    const struct place *place = place_of(writer, object);
    return !place || add_count(to, key, place->number);
}

/* ---- objects ---- */

static void put_object(struct writer *writer, const struct wherry_inspect_object *object)
{
    char user[64], since[40];
    struct json_object *json = json_object_new_object();
    bool fine = json && add_name(json, "name", object->name) &&
                add_name(json, "kind", wherry_inspect_kind_name(object->kind)) &&
                add_name(json, "state", inventory_state(object->state)) && add_name(json, "reason", object->reason) &&
                add_name(json, "detail", object->detail) &&
                add_name(json, "owner", inventory_user(object->uid, user)) &&
                add_name(json, "since", inventory_time(object->since, since)) &&
                add_count(json, "holds", object->holds);
    if (fine && object->size >= 0)
        fine = add_number(json, "size", object->size);
    if (fine && object->used >= 0)
        fine = add_number(json, "used", object->used);
    if (fine && object->messages >= 0)
        fine = add_number(json, "messages", object->messages);
    if (fine && object->flags & WHERRY_INSPECT_DELETED)
        fine = json_add(json, "deleted", json_object_new_boolean(true));
    item(writer, json, fine);
}

static void put_objects(struct writer *writer)
{
    const struct wherry_inspect_object *object;
    begin_list(writer, "objects");
    for (size_t i = 0; (object = wherry_inspect_object(writer->map->snapshot, i)); i++)
        if (place_of(writer, object)->used)
            put_object(writer, object);
    end_list(writer);
}

/* ---- processes ---- */

static struct json_object *hold_object(const struct writer *writer, const struct wherry_inspect_hold *hold, bool named)
{
    char text[MAP_HOLD_TEXT];
    struct json_object *json = json_object_new_object();
    bool fine = json && (!named || add_place(writer, json, "object", hold->object)) &&
                add_name(json, "how", inventory_how(hold)) && add_name(json, "access", inventory_access(hold)) &&
                (hold->fd < 0 || add_number(json, "fd", hold->fd)) &&
                (!hold->thread || add_number(json, "thread", hold->thread)) &&
                add_name(json, "text", map_hold(hold, text)) && add_name(json, "detail", hold->detail);
    if (fine)
        return json;
    json_object_put(json);
    return NULL;
}

static bool add_holds(const struct writer *writer, struct json_object *to, const struct wherry_inspect_process *process)
{
    const struct wherry_inspect_hold *hold;
    struct json_object *list = json_object_new_array();
    bool fine = list != NULL;
    for (size_t i = 0; fine && (hold = wherry_inspect_hold_by(process, i)); i++) {
        struct json_object *one = hold_object(writer, hold, true);
        fine = one && json_object_array_add(list, one) == 0;
        if (!fine)
            json_object_put(one);
    }
    if (fine)
        return json_add(to, "holds", list);
    json_object_put(list);
    return false;
}

static void put_process(struct writer *writer, const struct wherry_inspect_process *process)
{
    char user[64], started[40];
    struct json_object *json = json_object_new_object();
    bool fine = json && add_number(json, "pid", process->pid) && add_number(json, "parent", process->parent) &&
                add_count(json, "start", process->start) && add_name(json, "started", map_started(process, started)) &&
                add_number(json, "uid", process->uid) && add_name(json, "user", inventory_user(process->uid, user)) &&
                json_add(json, "command", json_name(process->command));
    if (fine && writer->map->arguments)
        fine = json_add(json, "arguments", json_name(process->arguments));
    if (fine && process->hidden)
        fine = json_add(json, "hidden", json_object_new_boolean(true));
    item(writer, json, fine && add_holds(writer, json, process));
}

static void put_processes(struct writer *writer)
{
    const struct map *map = writer->map;
    begin_list(writer, "processes");
    for (size_t i = 0; i < map->process_count; i++)
        if (map->nodes[i].shown)
            put_process(writer, map->nodes[i].process);
    end_list(writer);
}

/* ---- ties ---- */

static bool add_side(const struct writer *writer, struct json_object *to, const char *key, size_t node,
                     const struct map_side *side)
{
    const struct map_node *at = &writer->map->nodes[node];
    struct json_object *json = json_object_new_object(), *list = json_object_new_array();
    bool fine = json && list && (at->process ? add_number(json, "pid", at->process->pid)
                                             : add_place(writer, json, "hub", at->object));
    if (fine && side->object)
        fine = add_place(writer, json, "object", side->object);
    for (size_t i = 0; fine && i < side->count; i++) {
        struct json_object *one = hold_object(writer, wherry_inspect_hold_of(side->object, side->first + i), false);
        fine = one && json_object_array_add(list, one) == 0;
        if (!fine)
            json_object_put(one);
    }
    if (!fine)
        json_object_put(list);
    fine = fine && json_add(json, "holds", list);
    if (fine)
        return json_add(to, key, json);
    json_object_put(json);
    return false;
}

static void put_tie(struct writer *writer, const struct map_tie *tie)
{
    static const char *const arrows[] = {[MAP_NONE] = "none", [MAP_TO] = "to", [MAP_BOTH] = "both"};
    struct json_object *json = json_object_new_object();
    item(writer, json,
         json && add_name(json, "kind", map_kind(tie)) &&
             add_name(json, "relation", map_relation_name(tie->relation)) &&
             add_name(json, "arrow", arrows[tie->arrow]) && add_place(writer, json, "object", tie->object) &&
             add_side(writer, json, "from", tie->node[0], &tie->side[0]) &&
             add_side(writer, json, "to", tie->node[1], &tie->side[1]) && add_name(json, "detail", tie->detail));
}

static void put_ties(struct writer *writer)
{
    begin_list(writer, "edges");
    for (size_t i = 0; i < writer->map->tie_count; i++)
        put_tie(writer, &writer->map->ties[i]);
    end_list(writer);
}

/* ---- hubs, what was hidden, and all of it ---- */

static void put_hubs(struct writer *writer)
{
    const struct map *map = writer->map;
    begin_list(writer, "hubs");
    for (size_t i = map->process_count; i < map->node_count; i++) {
        struct json_object *json = map->nodes[i].shown ? json_object_new_object() : NULL;
        if (map->nodes[i].shown)
            item(writer, json,
                 json && add_place(writer, json, "object", map->nodes[i].object) &&
                     add_count(json, "processes", map->nodes[i].members));
    }
    end_list(writer);
}

static void put_hidden(struct writer *writer)
{
    struct json_object *hidden = inventory_hidden(writer->map->snapshot);
    writer->fine = writer->fine && hidden;
    begin_list(writer, "hidden");
    for (size_t i = 0; hidden && i < json_object_array_length(hidden); i++)
        item(writer, json_object_get(json_object_array_get_idx(hidden, i)), true);
    end_list(writer);
    json_object_put(hidden);
}

static void put_host(struct writer *writer)
{
    char host[HOST_NAME_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) < 0 || !host[0])
        return;
    map_print(writer->output, ",\"host\":");
    writer->first = true;
    item(writer, json_name(host), true);
}

static bool put_all(const struct map *map, struct output *output, bool embedded)
{
    struct writer writer = {.map = map, .output = output, .embedded = embedded, .fine = true};
    if (!make_places(&writer))
        return false;
    map_print(output, "{\"schema\":%d,\n\"taken\":", MAP_SCHEMA);
    writer.fine = json_line(output, json_now());
    put_host(&writer);
    put_objects(&writer);
    put_processes(&writer);
    put_hubs(&writer);
    put_ties(&writer);
    put_hidden(&writer);
    map_print(output, ",\n\"quiet_files\":%zu}\n", map->quiet_files);
    free(writer.places);
    return writer.fine;
}

bool map_json(const struct map *map, struct output *output)
{
    return put_all(map, output, false);
}

bool map_json_embedded(const struct map *map, struct output *output)
{
    return put_all(map, output, true);
}
