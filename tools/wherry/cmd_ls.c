/* cmd_ls.c - `wherry ls`: the IPC objects of this host, and who holds each.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "table.h"

enum { LS_SCHEMA = 1, OPTION_ORPHAN = OPTION_FIRST, OPTION_PID, OPTION_OWNER };

/* Of the columns that are shown by default the holders come last: they are as wide as a crowd, and what is behind them
 * would be padded to that in each line. */
enum {
    TYPE, NAME, OWNER, MODE, SIZE, USED, MESSAGES, LIMIT, COUNT, STATE, HOLDERS, REASON, DETAIL, DEVICE, INODE, ID,
    KEY, SINCE, SPACE, DELETED, COLUMNS
};

static const struct column columns[COLUMNS] = {
    [TYPE] = {"TYPE", "the kind of object", COLUMN_TEXT, true, 0},
    [NAME] = {"NAME", "what the other verbs know it by", COLUMN_TEXT, true, 44},
    [OWNER] = {"OWNER", "the user it belongs to", COLUMN_TEXT, true, 0},
    [MODE] = {"MODE", "permissions, octal", COLUMN_TEXT, false, 0},
    [SIZE] = {"SIZE", "bytes of memory, or of room", COLUMN_BYTES, true, 0},
    [USED] = {"USED", "bytes in it", COLUMN_BYTES, false, 0},
    [MESSAGES] = {"MESSAGES", "messages, or connections that wait; a semaphore's value", COLUMN_NUMBER, false, 0},
    [LIMIT] = {"LIMIT", "messages it takes, or connections that may wait", COLUMN_NUMBER, false, 0},
    [COUNT] = {"HOLDS", "how many descriptors, mappings, locks and waits there are", COLUMN_NUMBER, true, 0},
    [STATE] = {"STATE", "live, orphan or unknown", COLUMN_TEXT, true, 0},
    [HOLDERS] = {"HOLDERS", "the processes that hold it", COLUMN_TEXTS, true, 32},
    [REASON] = {"REASON", "why it is said to be that", COLUMN_TEXT, false, 32},
    [DETAIL] = {"DETAIL", "what else its kind has to say", COLUMN_TEXT, false, 32},
    [DEVICE] = {"DEVICE", "the device of its file, MAJOR:MINOR", COLUMN_TEXT, false, 0},
    [INODE] = {"INODE", "its inode", COLUMN_NUMBER, false, 0},
    [ID] = {"ID", "the kernel's number of it: of System V objects, eventfds", COLUMN_NUMBER, false, 0},
    [KEY] = {"KEY", "the key of a System V object", COLUMN_TEXT, false, 0},
    [SINCE] = {"SINCE", "when it was made, or last changed", COLUMN_TEXT, false, 0},
    [SPACE] = {"NAMESPACE", "inode of the network or IPC namespace it is in", COLUMN_NUMBER, false, 0},
    [DELETED] = {"DELETED", "yes, when its name is gone", COLUMN_TEXT, false, 0},
};

struct request {
    struct options options;
    struct table_style style;
    bool orphans, by_pid, by_owner;
    pid_t pid;
    uid_t owner;
    uint64_t kinds;
};

/* ---- one row ---- */

static const char *number(char text[24], int64_t value)
{
    snprintf(text, 24, "%" PRId64, value);
    return value < 0 ? NULL : text;
}

static int add_row(struct table *table, const struct wherry_inspect_object *object, size_t most)
{
    const char *cells[COLUMNS] = {NULL};
    char texts[COLUMNS][24], user[64], since[40];
    char *holders = inventory_holders(object, most);
    if (!holders)
        return -1;
    cells[TYPE] = wherry_inspect_kind_name(object->kind);
    cells[NAME] = object->name;
    cells[OWNER] = inventory_user(object->uid, user);
    if (object->mode) {
        snprintf(texts[MODE], sizeof texts[MODE], "%04o", (unsigned)object->mode);
        cells[MODE] = texts[MODE];
    }
    cells[SIZE] = number(texts[SIZE], object->size);
    cells[USED] = number(texts[USED], object->used);
    cells[MESSAGES] = number(texts[MESSAGES], object->messages);
    cells[LIMIT] = number(texts[LIMIT], object->limit);
    cells[COUNT] = number(texts[COUNT], (int64_t)object->holds);
    cells[HOLDERS] = holders[0] ? holders : NULL;
    cells[STATE] = inventory_state(object->state);
    cells[REASON] = object->reason;
    cells[DETAIL] = object->detail[0] ? object->detail : NULL;
    if (object->device) {
        snprintf(texts[DEVICE], sizeof texts[DEVICE], "%u:%u", (unsigned)(object->device >> 8 & 0xfff),
                 (unsigned)((object->device & 0xff) | (object->device >> 12 & 0xfff00)));
        cells[DEVICE] = texts[DEVICE];
    }
    cells[INODE] = object->inode ? number(texts[INODE], (int64_t)object->inode) : NULL;
    bool sysv = object->kind >= WHERRY_INSPECT_SYSV_SHM && object->kind <= WHERRY_INSPECT_SYSV_MSG;
    cells[ID] = object->id || sysv ? number(texts[ID], (int64_t)object->id) : NULL;
    if (sysv) {
        snprintf(texts[KEY], sizeof texts[KEY], "0x%08x", (unsigned)object->key);
        cells[KEY] = texts[KEY];
    }
    cells[SINCE] = inventory_time(object->since, since);
    cells[SPACE] = object->space ? number(texts[SPACE], (int64_t)object->space) : NULL;
    cells[DELETED] = object->flags & WHERRY_INSPECT_DELETED ? "yes" : NULL;
    int result = table_row(table, cells);
    free(holders);
    return result;
}

/* ---- which rows ---- */

static bool held_by(const struct wherry_inspect_object *object, pid_t pid)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->process->pid == pid)
            return true;
    return false;
}

static const uint64_t WAITED_AT = UINT64_C(1) << WHERRY_INSPECT_SYSV_SEM | UINT64_C(1) << WHERRY_INSPECT_SYSV_MSG;

static bool is_wanted(const struct request *request, const struct wherry_inspect_object *object)
{
    return (!request->kinds || request->kinds >> object->kind & 1) &&
           (!request->orphans || object->state == WHERRY_INSPECT_ORPHAN) &&
           (!request->by_owner || object->uid == request->owner) &&
           (!request->by_pid || held_by(object, request->pid));
}

static int print_table(const struct request *request, const struct wherry_inspect *snapshot)
{
    struct table *table;
    int code = table_new(request->options.verb, "objects", LS_SCHEMA, columns, COLUMNS, &request->style, &table);
    if (code != 0 || !table)
        return code;
    const struct wherry_inspect_object *object;
    size_t most = request->style.json ? SIZE_MAX : 3; /* names enough for a person */
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (is_wanted(request, object) && add_row(table, object, most) < 0)
            return complain(TOOL_FAILED, "ls: no memory");
    return inventory_table(table, snapshot);
}

/* ---- the command line ---- */

static int take_owner(struct request *request, const char *word)
{
    int64_t uid;
    const struct passwd *entry = getpwnam(word);
    if (entry)
        request->owner = entry->pw_uid;
    else if (!parse_number(word, 0, UINT32_MAX - 1, &uid))
        request->owner = (uid_t)uid;
    else
        return misuse(request->options.verb, "--owner: there is no user \"%s\"", word);
    request->by_owner = true;
    return 0;
}

static int parse(struct request *request, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        TABLE_LONG,
        LONG("orphan", no_argument, OPTION_ORPHAN),
        LONG("pid", required_argument, OPTION_PID),
        LONG("owner", required_argument, OPTION_OWNER),
        {0},
    };
    const struct verb *verb = request->options.verb;
    int option, code = 0;
    while ((option = options_next(&request->options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0) {
        if (option == OPTION_ORPHAN)
            request->orphans = true;
        else if (option == OPTION_PID) {
            request->by_pid = true;
            code = inventory_pid(verb, optarg, &request->pid);
        } else if (option == OPTION_OWNER)
            code = take_owner(request, optarg);
        else
            table_option(&request->style, option);
        if (code)
            return request->options.code = code, -1;
    }
    if (option == OPTION_STOP)
        return -1;
    request->options.code = inventory_kinds(verb, argv + optind, argc - optind, &request->kinds);
    return request->options.code ? -1 : 0;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct request request = {.options = options_of(verb)};
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    if (parse(&request, argc, argv) < 0)
        return request.options.code;
    if (request.style.list_columns)
        return print_table(&request, NULL);
    what.kinds = request.kinds;
    what.flags = request.orphans ? WHERRY_INSPECT_PROVE : 0;
    if (request.kinds & WAITED_AT) /* of a list of all they would cost too much */
        what.flags |= WHERRY_INSPECT_WAITERS;
    int code = inventory_take(&request.options, &what, &snapshot);
    if (code)
        return code;
    if (request.by_pid && !wherry_inspect_process_of(snapshot, request.pid))
        code = complain(TOOL_FAILED, "ls: there is no process %d", (int)request.pid);
    else
        code = print_table(&request, snapshot);
    return inventory_finish(&request.options, snapshot, code);
}

const struct verb verb_ls = {
    .name = "ls",
    .summary = "list them, with holders",
    .operands = "[TYPE...]",
    .help = INVENTORY_TYPES
            "\n"
            "      --orphan       those that nobody holds any more\n"
            "      --pid PID      those that this process holds\n"
            "      --owner USER   those that belong to a user, by name or number\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry ls                       everything\n"
                "  wherry ls shm --orphan          shared memory that was left behind\n"
                "  wherry ls --pid 4711 -J         what a process holds, as JSON\n",
    .run = run,
};
