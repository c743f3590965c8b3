/* cmd_show.c - `wherry show`: all that is known of one object.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "inventory.h"
#include "json.h"
#include "text.h"

enum { SHOW_SCHEMA = 1 };

/* One thing to say: as "key: value" or as a member of a JSON object. */
struct teller {
    struct json_object *object; /* NULL: as text */
    bool failed;                /* no memory */
};

static void tell_text(struct teller *teller, const char *key, const char *value)
{
    if (teller->object) {
        teller->failed |= !json_add(teller->object, key, json_name(value));
        return;
    }
    size_t room = 4 * strlen(value) + ESCAPED_MAX + 1;
    char *harmless = malloc(room);
    if (!harmless) {
        teller->failed = true;
        return;
    }
    escape_text(value, harmless, room);
    printf("%-11s%s\n", key, harmless);
    free(harmless);
}

static void tell_number(struct teller *teller, const char *key, int64_t value)
{
    if (teller->object)
        teller->failed |= !json_add(teller->object, key, json_object_new_int64(value));
    else
        printf("%-11s%" PRId64 "\n", key, value);
}

static void tell_known(struct teller *teller, const char *key, int64_t value)
{
    if (value >= 0)
        tell_number(teller, key, value);
}

static void tell_flags(struct teller *teller, uint64_t flags)
{
    static const char *const words[] = {"deleted", "listening", "connected", "pending", "owner-dead", "elsewhere",
                                        "tracked"};
    char text[128] = "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (flags >> i & 1) {
            strcat(text, text[0] ? " " : "");
            strcat(text, words[i]);
        }
    if (text[0])
        tell_text(teller, "flags", text);
}

static void tell_object(struct teller *teller, const struct wherry_inspect_object *object)
{
    char text[64];
    tell_text(teller, "name", object->name);
    tell_text(teller, "type", wherry_inspect_kind_name(object->kind));
    tell_text(teller, "state", inventory_state(object->state));
    tell_text(teller, "reason", object->reason);
    if (object->detail[0])
        tell_text(teller, "detail", object->detail);
    tell_flags(teller, object->flags);
    if (inventory_user(object->uid, text))
        tell_text(teller, "owner", text);
    if (object->mode) {
        snprintf(text, sizeof text, "%04o", (unsigned)object->mode);
        tell_text(teller, "mode", text);
    }
    tell_known(teller, "size", object->size);
    tell_known(teller, "used", object->used);
    tell_known(teller, "messages", object->messages);
    tell_known(teller, "limit", object->limit);
    if (object->device) {
        snprintf(text, sizeof text, "%u:%u", major(object->device), minor(object->device));
        tell_text(teller, "device", text);
    }
    if (object->inode)
        tell_number(teller, "inode", (int64_t)object->inode);
    if (object->id || (object->kind >= WHERRY_INSPECT_SYSV_SHM && object->kind <= WHERRY_INSPECT_SYSV_MSG))
        tell_number(teller, "id", (int64_t)object->id);
    if (object->key) {
        snprintf(text, sizeof text, "0x%08x", (unsigned)object->key);
        tell_text(teller, "key", text);
    }
    if (object->space)
        tell_number(teller, "namespace", (int64_t)object->space);
    if (inventory_time(object->since, text))
        tell_text(teller, "since", text);
}

/* ---- as text ---- */

static void print_escaped(const char *text)
{
    size_t left = strlen(text);
    char shown[ESCAPED_MAX];
    for (const uint8_t *at = (const uint8_t *)text; left > 0;)
        fwrite(shown, 1, escape_next(&at, &left, "", shown), stdout);
}

static void print_hold(const struct wherry_inspect_hold *hold)
{
    char holder[HOLDER_TEXT];
    fputs("held by    ", stdout);
    print_escaped(inventory_holder(hold, holder));
    printf(": %s", inventory_how(hold));
    if (inventory_access(hold)[0])
        printf(" %s", inventory_access(hold));
    if (hold->how == WHERRY_INSPECT_LOCKED || hold->how == WHERRY_INSPECT_WAITING)
        printf("%s", hold->exclusive ? " exclusive" : "");
    if (hold->detail[0]) {
        fputs(", ", stdout);
        print_escaped(hold->detail);
    }
    putchar('\n');
}

static void print_link(const struct wherry_inspect_object *object, const struct wherry_inspect_link *link)
{
    static const char *const from[] = {"peer", "watches", "queued at"}, *const to[] = {"peer", "watched by", "queued"};
    const struct wherry_inspect_object *other = link->from == object ? link->to : link->from;
    char holder[HOLDER_TEXT];
    printf("%-11s", (link->from == object ? from : to)[link->kind]);
    print_escaped(other->name);
    for (size_t i = 0; i < other->holds && i < 3; i++) {
        fputs(i ? ", " : " of ", stdout);
        print_escaped(inventory_holder(wherry_inspect_hold_of(other, i), holder));
    }
    if (link->detail[0]) {
        fputs(": ", stdout);
        print_escaped(link->detail);
    }
    putchar('\n');
}

static int print_text(const struct wherry_inspect_object *object)
{
    struct teller teller = {.object = NULL};
    const struct wherry_inspect_hold *hold;
    const struct wherry_inspect_link *link;
    tell_object(&teller, object);
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        print_hold(hold);
    for (size_t i = 0; (link = wherry_inspect_link_of(object, i)); i++)
        print_link(object, link);
    return teller.failed ? -1 : 0;
}

/* ---- as JSON ---- */

static bool add_hold(struct json_object *array, const struct wherry_inspect_hold *hold)
{
    struct teller teller = {.object = json_object_new_object()};
    if (!teller.object || json_object_array_add(array, teller.object) < 0)
        return false;
    tell_number(&teller, "pid", hold->process->pid);
    tell_number(&teller, "start", (int64_t)hold->process->start);
    tell_number(&teller, "uid", hold->process->uid);
    tell_text(&teller, "command", hold->process->command);
    tell_text(&teller, "how", inventory_how(hold));
    tell_known(&teller, "fd", hold->fd);
    if (hold->thread)
        tell_number(&teller, "thread", hold->thread);
    tell_text(&teller, "access", inventory_access(hold));
    if (hold->how != WHERRY_INSPECT_OPEN) {
        tell_number(&teller, "start_at", (int64_t)hold->start);
        tell_number(&teller, "length", (int64_t)hold->length);
    }
    if (hold->how == WHERRY_INSPECT_LOCKED || hold->how == WHERRY_INSPECT_WAITING)
        teller.failed |= !json_add(teller.object, "exclusive", json_object_new_boolean(hold->exclusive));
    tell_text(&teller, "evidence", hold->detail);
    return !teller.failed;
}

static bool add_link(struct json_object *array, const struct wherry_inspect_object *object,
                     const struct wherry_inspect_link *link)
{
    static const char *const words[] = {"peer", "watches", "queued"};
    struct teller teller = {.object = json_object_new_object()};
    if (!teller.object || json_object_array_add(array, teller.object) < 0)
        return false;
    tell_text(&teller, "kind", words[link->kind]);
    tell_text(&teller, "direction", link->from == object ? "to" : "from");
    tell_text(&teller, "name", (link->from == object ? link->to : link->from)->name);
    tell_text(&teller, "evidence", link->detail);
    return !teller.failed;
}

static bool add_object(struct json_object *array, const struct wherry_inspect_object *object)
{
    struct teller teller = {.object = json_object_new_object()};
    struct json_object *holds = json_object_new_array(), *links = json_object_new_array();
    const struct wherry_inspect_hold *hold;
    const struct wherry_inspect_link *link;
    if (!teller.object || json_object_array_add(array, teller.object) < 0)
        return false;
    tell_object(&teller, object);
    if (!json_add(teller.object, "holds", holds) || !json_add(teller.object, "links", links))
        return false;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        teller.failed |= !add_hold(holds, hold);
    for (size_t i = 0; (link = wherry_inspect_link_of(object, i)); i++)
        teller.failed |= !add_link(links, object, link);
    return !teller.failed;
}

static int print_json(const struct wherry_inspect *snapshot, const char *name)
{
    struct json_object *all = json_object_new_object(), *array = json_object_new_array();
    const struct wherry_inspect_object *object;
    bool fine = all && json_add(all, "schema", json_object_new_int64(SHOW_SCHEMA)) &&
                json_add(all, "hidden", inventory_hidden(snapshot)) && json_add(all, "objects", array);
    for (size_t i = 0; fine && (object = wherry_inspect_find(snapshot, name, i)); i++)
        fine = add_object(array, object);
    const char *text =
        fine ? json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
    if (text)
        puts(text);
    json_object_put(all);
    return text ? 0 : -1;
}

static int print(const struct options *options, const struct wherry_inspect *snapshot, const char *name, bool json)
{
    const struct wherry_inspect_object *object;
    int result = 0;
    if (json)
        result = print_json(snapshot, name);
    if (!wherry_inspect_find(snapshot, name, 0))
        return finish_printing(inventory_none(options, name));
    for (size_t i = 0; !json && (object = wherry_inspect_find(snapshot, name, i)); i++) {
        if (i)
            putchar('\n');
        result |= print_text(object);
    }
    return finish_printing(result < 0 ? complain(TOOL_FAILED, "show: no memory") : TOOL_OK);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, LONG("json", no_argument, 'J'), {0}};
    struct options options = options_of(verb);
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    int option;
    bool json = false;
    while ((option = options_next(&options, argc, argv, COMMON_SHORT "J", longs)) >= 0)
        json |= option == 'J';
    if (option == OPTION_STOP || options_operands(&options, argc, 1, 1) < 0)
        return options.code;
    what.flags = WHERRY_INSPECT_WAITERS;
    int code = inventory_take_named(&options, &what, argv[optind], &snapshot);
    if (code == 0)
        code = inventory_finish(&options, snapshot, print(&options, snapshot, argv[optind], json));
    return code;
}

const struct verb verb_show = {
    .name = "show",
    .summary = "all that is known of one",
    .operands = "OBJECT",
    .help = "OBJECT is what wherry ls prints as its name, a path, a channel's URL, or [4711]\n"
            "for the inode of a pipe or a socket.\n"
            "\n"
            "  -J, --json         as JSON\n",
    .examples = "Examples:\n"
                "  wherry show pipe:[4711]         who writes to it, who reads\n"
                "  wherry show sysv-msg:0x1234     a queue's depth and limits, who waits\n",
    .run = run,
};
