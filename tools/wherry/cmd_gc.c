/* cmd_gc.c - `wherry gc`: what was left behind, why it is believed so, and its removal.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "inventory.h"
#include "table.h"

enum { GC_SCHEMA = 1, OPTION_OLDER = OPTION_FIRST, OPTION_UNHELD, OPTION_APPLY };

enum { TYPE, NAME, OWNER, SIZE, MESSAGES, SINCE, WHY, DETAIL, RESULT, COLUMNS };

static const struct column columns[COLUMNS] = {
    [TYPE] = {"TYPE", "the kind of object", COLUMN_TEXT, true, 0},
    [NAME] = {"NAME", "what the other verbs know it by", COLUMN_TEXT, true, 40},
    [OWNER] = {"OWNER", "the user it belongs to", COLUMN_TEXT, true, 0},
    [SIZE] = {"SIZE", "bytes of memory, or of room", COLUMN_BYTES, true, 0},
    [MESSAGES] = {"MESSAGES", "messages in it; a semaphore's value", COLUMN_NUMBER, false, 0},
    [SINCE] = {"SINCE", "when it was made, or last changed", COLUMN_TEXT, false, 0},
    [WHY] = {"WHY", "why it is believed to be left behind", COLUMN_TEXT, true, 40},
    [DETAIL] = {"DETAIL", "what else its kind has to say", COLUMN_TEXT, false, 32},
    [RESULT] = {"RESULT", "left, removed, kept (somebody came meanwhile) or failed", COLUMN_TEXT, true, 0},
};

#define BIT(kind) (UINT64_C(1) << WHERRY_INSPECT_##kind)

/* What outlives its processes. */
static const uint64_t removable = BIT(POSIX_SHM) | BIT(POSIX_SEM) | BIT(POSIX_MQ) | BIT(RING) | BIT(SYSV_SHM) |
                                  BIT(SYSV_SEM) | BIT(SYSV_MSG) | BIT(UNIX);

struct request {
    struct options options;
    struct table_style style;
    bool unheld, apply, aged;
    wherry_time older;
    int64_t now; /* ns of CLOCK_REALTIME */
    uint64_t kinds;
    uint64_t spared; /* queues and sets that --older would have judged */
    int code;
};

/* ---- which ---- */

static bool is_old(const struct request *request, const struct wherry_inspect_object *object)
{
    return !request->aged || (object->since && request->now - object->since >= request->older);
}

/* Root may remove what is anybody's; others see what is theirs. */
static bool is_ours(const struct wherry_inspect_object *object)
{
    return geteuid() == 0 || object->uid == geteuid();
}

static bool is_left_behind(struct request *request, const struct wherry_inspect_object *object)
{
    const uint64_t out_of_reach = WHERRY_INSPECT_DELETED | WHERRY_INSPECT_ELSEWHERE | WHERRY_INSPECT_CONNECTED |
                                  WHERRY_INSPECT_LISTENING | WHERRY_INSPECT_PENDING;
    if (!(request->kinds >> object->kind & 1) || object->holds || object->state == WHERRY_INSPECT_LIVE ||
        object->flags & out_of_reach || !is_ours(object) || strncmp(object->name, "unix:[", 6) == 0)
        return false;
    if (object->flags & WHERRY_INSPECT_OWNER_DEAD)
        return is_old(request, object);
    if (!request->unheld)
        return false;
    if (object->state == WHERRY_INSPECT_ORPHAN)
        return is_old(request, object);
    if (!(object->flags & WHERRY_INSPECT_USERS_GONE))
        return false;
    request->spared += !request->aged;
    return request->aged && is_old(request, object);
}

/* ---- each ---- */

static const char *deal_with(struct request *request, const struct wherry_inspect *snapshot,
                             const struct wherry_inspect_object *object)
{
    if (!request->apply)
        return "left";
    int result = wherry_inspect_remove(snapshot, object,
                                       request->unheld && request->aged ? WHERRY_INSPECT_REMOVE_UNTRACKED : 0);
    if (result == 0)
        return "removed";
    bool kept = result == -EBUSY || result == -ESTALE || result == -ENOENT;
    if (!kept || request->options.verbose)
        complain(TOOL_FAILED, "gc: %s", wherry_why());
    if (!kept)
        request->code = TOOL_FAILED;
    return kept ? "kept" : "failed";
}

static int add_row(struct table *table, const struct wherry_inspect_object *object, const char *result)
{
    const char *cells[COLUMNS] = {NULL};
    char user[64], since[40], size[24], messages[24];
    cells[TYPE] = wherry_inspect_kind_name(object->kind);
    cells[NAME] = object->name;
    cells[OWNER] = inventory_user(object->uid, user);
    snprintf(size, sizeof size, "%" PRId64, object->size);
    cells[SIZE] = object->size < 0 ? NULL : size;
    snprintf(messages, sizeof messages, "%" PRId64, object->messages);
    cells[MESSAGES] = object->messages < 0 ? NULL : messages;
    cells[SINCE] = inventory_time(object->since, since);
    cells[WHY] = object->reason;
    cells[DETAIL] = object->detail[0] ? object->detail : NULL;
    cells[RESULT] = result;
    return table_row(table, cells);
}

static int go_through(struct request *request, const struct wherry_inspect *snapshot)
{
    struct table *table;
    int code = table_new(request->options.verb, "leftovers", GC_SCHEMA, columns, COLUMNS, &request->style, &table);
    if (code != 0 || !table)
        return code;
    const struct wherry_inspect_object *object;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (is_left_behind(request, object) && add_row(table, object, deal_with(request, snapshot, object)) < 0)
            return complain(TOOL_FAILED, "gc: no memory");
    if (request->spared && !request->options.quiet)
        complain(0, "gc: %" PRIu64 " System V queues and sets are left alone, whose last users have ended: with "
                 "--older DUR they go when nobody has used them for so long", request->spared);
    code = inventory_table(table, snapshot);
    return code ? code : request->code;
}

/* ---- the command line ---- */

static int parse(struct request *request, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        TABLE_LONG,
        LONG("older", required_argument, OPTION_OLDER),
        LONG("unheld", no_argument, OPTION_UNHELD),
        LONG("apply", no_argument, OPTION_APPLY),
        {0},
    };
    const struct verb *verb = request->options.verb;
    int option;
    while ((option = options_next(&request->options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0) {
        const char *wrong = option == OPTION_OLDER ? parse_duration(optarg, &request->older) : NULL;
        if (wrong)
            return request->options.code = misuse(verb, "--older %s: %s", optarg, wrong), -1;
        request->aged |= option == OPTION_OLDER;
        request->unheld |= option == OPTION_UNHELD;
        request->apply |= option == OPTION_APPLY;
        table_option(&request->style, option);
    }
    if (option == OPTION_STOP)
        return -1;
    request->options.code = inventory_kinds(verb, argv + optind, argc - optind, &request->kinds);
    if (request->options.code)
        return -1;
    if (request->kinds && !(request->kinds & removable))
        return request->options.code = misuse(verb, "objects of that type end with those who hold them"), -1;
    request->kinds = request->kinds ? request->kinds & removable : removable;
    return 0;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct request request = {.options = options_of(verb)};
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    struct timespec now;
    if (parse(&request, argc, argv) < 0)
        return request.options.code;
    if (request.style.list_columns)
        return go_through(&request, NULL);
    what.kinds = request.kinds;
    what.flags = WHERRY_INSPECT_PROVE | WHERRY_INSPECT_WAITERS;
    int code = inventory_take(&request.options, &what, &snapshot);
    if (code)
        return code;
    clock_gettime(CLOCK_REALTIME, &now);
    request.now = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    return inventory_finish(&request.options, snapshot, go_through(&request, snapshot));
}

const struct verb verb_gc = {
    .name = "gc",
    .summary = "remove what was left",
    .operands = "[TYPE...]",
    .help = "Without --apply nothing is removed.  TYPE is posix-shm, posix-sem, posix-mq,\n"
            "ring, sysv-shm, sysv-sem, sysv-msg or unix; or several at once: shm, sem, mq,\n"
            "sysv, posix, memory, sockets.\n"
            "\n"
            "      --apply        remove it, after one more look at each\n"
            "      --unheld       also what is not wherry's, and nobody holds\n"
            "      --older DUR    only what was made or last changed so long ago; with\n"
            "                     --unheld also System V queues and semaphores whose last\n"
            "                     users have ended\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry gc                          what wherry's own processes left\n"
                "  wherry gc --unheld --older 1d shm  shared memory that nobody holds\n"
                "  wherry gc --apply\n",
    .run = run,
};
