/* cmd_locks.c - `wherry locks`: locks and leases on files, who holds them, who waits, and for whom.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "lock_graph.h"
#include "lock_tree.h"
#include "table.h"

enum { LOCKS_SCHEMA = 1, OPTION_GRAPH = OPTION_FIRST, OPTION_PID };

enum {
    FILE_NAME, KIND, MODE, RANGE, STATE, PID, COMMAND, FD, BLOCKED, START, END, THREAD, USER, TYPE, DEVICE, INODE,
    EVIDENCE, COLUMNS
};

static const struct column columns[COLUMNS] = {
    [FILE_NAME] = {"FILE", "the file or other object that is locked", COLUMN_TEXT, true, 44},
    [KIND] = {"KIND", "ofd, posix, flock or lease", COLUMN_TEXT, true, 0},
    [MODE] = {"MODE", "shared or exclusive; of a lease, for reading or writing", COLUMN_TEXT, true, 0},
    [RANGE] = {"RANGE", "all, or the first and the last byte", COLUMN_TEXT, true, 0},
    [STATE] = {"STATE", "holds or waits", COLUMN_TEXT, true, 0},
    [PID] = {"PID", "the process; empty: it was not found", COLUMN_NUMBER, true, 0},
    [COMMAND] = {"COMMAND", "its name", COLUMN_TEXT, true, 0},
    [FD] = {"FD", "its descriptor of the file", COLUMN_NUMBER, true, 0},
    [BLOCKED] = {"BLOCKED-BY", "who keeps it waiting", COLUMN_TEXTS, true, 32},
    [START] = {"START", "the first byte", COLUMN_NUMBER, false, 0},
    [END] = {"END", "the first byte behind; empty: to the end", COLUMN_NUMBER, false, 0},
    [THREAD] = {"THREAD", "the thread that waits, where it is known", COLUMN_NUMBER, false, 0},
    [USER] = {"USER", "the user of the process", COLUMN_TEXT, false, 0},
    [TYPE] = {"TYPE", "the kind of object", COLUMN_TEXT, false, 0},
    [DEVICE] = {"DEVICE", "the device of the file, MAJOR:MINOR", COLUMN_TEXT, false, 0},
    [INODE] = {"INODE", "its inode", COLUMN_NUMBER, false, 0},
    [EVIDENCE] = {"EVIDENCE", "what the kernel shows of it", COLUMN_TEXT, false, 32},
};

enum {
    E_WAITER, E_COMMAND, E_THREAD, E_FILE, E_KIND, E_MODE, E_RANGE, E_HOLDER, E_HOLDER_COMMAND, E_HOLDER_KIND,
    E_HOLDER_MODE, E_HOLDER_FD, E_CYCLE, E_DEADLOCK, EDGE_COLUMNS
};

static const struct column edge_columns[EDGE_COLUMNS] = {
    [E_WAITER] = {"WAITER", "the process that waits", COLUMN_NUMBER, true, 0},
    [E_COMMAND] = {"COMMAND", "its name", COLUMN_TEXT, true, 0},
    [E_THREAD] = {"THREAD", "the thread that waits, where it is known", COLUMN_NUMBER, true, 0},
    [E_FILE] = {"FILE", "what it waits to lock", COLUMN_TEXT, true, 44},
    [E_KIND] = {"KIND", "ofd, posix, flock or lease", COLUMN_TEXT, true, 0},
    [E_MODE] = {"MODE", "shared or exclusive", COLUMN_TEXT, true, 0},
    [E_RANGE] = {"RANGE", "all, or the first and the last byte", COLUMN_TEXT, true, 0},
    [E_HOLDER] = {"HOLDER", "the process that has a lock in its way", COLUMN_NUMBER, true, 0},
    [E_HOLDER_COMMAND] = {"HOLDER-COMMAND", "its name", COLUMN_TEXT, true, 0},
    [E_HOLDER_KIND] = {"HOLDER-KIND", "the kind of that lock", COLUMN_TEXT, true, 0},
    [E_HOLDER_MODE] = {"HOLDER-MODE", "shared or exclusive", COLUMN_TEXT, true, 0},
    [E_HOLDER_FD] = {"HOLDER-FD", "its descriptor of the file", COLUMN_NUMBER, true, 0},
    [E_CYCLE] = {"CYCLE", "which cycle the two are in, from 1", COLUMN_NUMBER, true, 0},
    [E_DEADLOCK] = {"DEADLOCK", "yes, when nobody is left who could end that cycle", COLUMN_TEXT, true, 0},
};

struct named {
    const struct wherry_inspect_object *object;
    const char *name; /* as it was given */
};

struct request {
    struct options options;
    struct table_style style;
    bool graph;
    pid_t pid; /* 0: all */
    char **names;
    size_t name_count;
    struct named *objects; /* those of the names; NULL: all */
    size_t object_count;
};

/* ---- one row ---- */

static const char *number(char text[24], int64_t value)
{
    snprintf(text, 24, "%" PRId64, value);
    return text;
}

/* The processes that keep a wait from its lock, one a line.  NULL for a lock that is held; false: no memory. */
static bool blockers_of(const struct lock_graph *graph, const struct wherry_inspect_hold *hold, char **ret_text)
{
    const struct wherry_inspect_process *before = NULL;
    size_t used = 0, room = 0;
    char *text = NULL;
    for (size_t i = 0; lock_is_wait(hold) && i < graph->count; i++) {
        const struct wherry_inspect_process *process = graph->edges[i].holds->process;
        char one[HOLDER_TEXT];
        if (graph->edges[i].waits != hold || process == before)
            continue;
        before = process;
        size_t length = strlen(inventory_process(process, one));
        if (used + length + 2 > room) {
            char *more = realloc(text, room = 2 * room + sizeof one + 2);
            if (!more)
                return free(text), false;
            text = more;
        }
        if (used)
            text[used++] = '\n';
        memcpy(text + used, one, length + 1);
        used += length;
    }
    *ret_text = text;
    return true;
}

/* A file whose path no holder told is called by its inode: "file:[254:0 4711]"; the path that it was asked for by is
 * better. */
static const char *name_of(const struct request *request, const struct wherry_inspect_object *object)
{
    static const char nameless[] = "file:[";
    static const char *const prefixes[] = {"fifo://", "fifo:", "file://", "file:", "lock:"};
    for (size_t i = 0; i < request->object_count; i++) {
        const struct named *named = &request->objects[i];
        if (named->object != object || strncmp(object->name, nameless, strlen(nameless)) != 0 ||
            strcmp(object->name, named->name) == 0)
            continue;
        for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++)
            if (strncmp(named->name, prefixes[k], strlen(prefixes[k])) == 0)
                return named->name + strlen(prefixes[k]);
        return named->name;
    }
    return object->name;
}

static void put_file(const char *cells[COLUMNS], char texts[COLUMNS][24], const struct request *request,
                     const struct wherry_inspect_object *object)
{
    cells[FILE_NAME] = name_of(request, object);
    cells[TYPE] = wherry_inspect_kind_name(object->kind);
    snprintf(texts[DEVICE], 24, "%u:%u", (unsigned)(object->device >> 8 & 0xfff),
             (unsigned)((object->device & 0xff) | (object->device >> 12 & 0xfff00)));
    cells[DEVICE] = texts[DEVICE];
    cells[INODE] = number(texts[INODE], (int64_t)object->inode);
}

static bool add_hold(struct table *table, const struct request *request, const struct lock_graph *graph,
                     const struct wherry_inspect_hold *hold)
{
    const char *cells[COLUMNS] = {NULL};
    char texts[COLUMNS][24], range[LOCK_RANGE_TEXT], user[64], *blockers;
    if (!blockers_of(graph, hold, &blockers))
        return false;
    put_file(cells, texts, request, hold->object);
    cells[KIND] = lock_kind(hold);
    cells[MODE] = lock_mode(hold);
    cells[RANGE] = lock_range(hold, range);
    cells[STATE] = lock_is_wait(hold) ? "waits" : "holds";
    cells[PID] = number(texts[PID], hold->process->pid);
    cells[COMMAND] = hold->process->command;
    cells[FD] = hold->fd >= 0 ? number(texts[FD], hold->fd) : NULL;
    cells[BLOCKED] = blockers;
    cells[START] = number(texts[START], (int64_t)hold->start);
    cells[END] = hold->length ? number(texts[END], (int64_t)(hold->start + hold->length)) : NULL;
    cells[THREAD] = hold->thread ? number(texts[THREAD], hold->thread) : NULL;
    cells[USER] = inventory_user(hold->process->uid, user);
    cells[EVIDENCE] = hold->detail;
    bool fine = table_row(table, cells) == 0;
    free(blockers);
    return fine;
}

/* Locks that are there, and whose holder was not found: all that is known is the kernel's lines, which the object's
 * detail has: "/proc/locks: 4: OFDLCK ADVISORY  WRITE -1 fe:00:10993722 100 102; /proc/locks: ..." */
static bool add_unseen(struct table *table, const struct request *request, const struct wherry_inspect_object *object)
{
    static const struct { const char *word, *kind; } kinds[] = {
        {"OFDLCK", "ofd"}, {"POSIX", "posix"}, {"FLOCK", "flock"}, {"LEASE", "lease"}, {"DELEG", "lease"}};
    static const char mark[] = "/proc/locks: ";
    bool fine = true;
    for (const char *at = object->detail; fine && (at = strstr(at, mark)); at += strlen(mark)) {
        const char *cells[COLUMNS] = {NULL};
        char texts[COLUMNS][24], range[LOCK_RANGE_TEXT], evidence[160], kind[16], mode[16], last[24];
        struct wherry_inspect_hold hold = {.fd = -1};
        if (sscanf(at + strlen(mark), "%*d: %15s %*s %15s %*s %*s %" SCNu64 " %23[0-9EOF]", kind, mode, &hold.start,
                   last) != 4)
            continue;
        put_file(cells, texts, request, object);
        hold.length = last[0] == 'E' ? 0 : strtoull(last, NULL, 10) - hold.start + 1;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (strcmp(kind, kinds[i].word) == 0)
                cells[KIND] = kinds[i].kind;
        cells[MODE] = strcmp(mode, "WRITE") == 0 ? "exclusive" : "shared";
        cells[RANGE] = lock_range(&hold, range);
        cells[STATE] = "holds";
        cells[START] = number(texts[START], (int64_t)hold.start);
        cells[END] = hold.length ? number(texts[END], (int64_t)(hold.start + hold.length)) : NULL;
        snprintf(evidence, sizeof evidence, "%.*s", (int)strcspn(at, ";"), at);
        cells[EVIDENCE] = evidence;
        fine = table_row(table, cells) == 0;
    }
    return fine;
}

static bool add_edge(struct table *table, const struct request *request, const struct lock_graph *graph,
                     const struct lock_edge *edge)
{
    const char *cells[EDGE_COLUMNS] = {NULL};
    char texts[EDGE_COLUMNS][24], range[LOCK_RANGE_TEXT];
    const struct wherry_inspect_hold *waits = edge->waits, *holds = edge->holds;
    cells[E_WAITER] = number(texts[E_WAITER], waits->process->pid);
    cells[E_COMMAND] = waits->process->command;
    cells[E_THREAD] = waits->thread ? number(texts[E_THREAD], waits->thread) : NULL;
    cells[E_FILE] = name_of(request, waits->object);
    cells[E_KIND] = lock_kind(waits);
    cells[E_MODE] = lock_mode(waits);
    cells[E_RANGE] = lock_range(waits, range);
    cells[E_HOLDER] = number(texts[E_HOLDER], holds->process->pid);
    cells[E_HOLDER_COMMAND] = holds->process->command;
    cells[E_HOLDER_KIND] = lock_kind(holds);
    cells[E_HOLDER_MODE] = lock_mode(holds);
    cells[E_HOLDER_FD] = holds->fd >= 0 ? number(texts[E_HOLDER_FD], holds->fd) : NULL;
    cells[E_CYCLE] = edge->cycle ? number(texts[E_CYCLE], (int64_t)edge->cycle) : NULL;
    cells[E_DEADLOCK] = edge->cycle && lock_graph_is_deadlock(graph, edge->cycle) ? "yes" : NULL;
    return table_row(table, cells) == 0;
}

/* ---- which rows ---- */

static bool is_named(const struct request *request, const struct wherry_inspect_object *object)
{
    for (size_t i = 0; i < request->object_count; i++)
        if (request->objects[i].object == object)
            return true;
    return !request->name_count;
}

static bool is_wanted(const void *context, const struct wherry_inspect_hold *hold)
{
    const struct request *request = context;
    return (lock_is_held(hold) || lock_is_wait(hold)) && is_named(request, hold->object) &&
           (!request->pid || hold->process->pid == request->pid);
}

static bool add_rows(struct table *table, const struct request *request, const struct lock_graph *graph,
                     const struct wherry_inspect *snapshot)
{
    const struct wherry_inspect_object *object;
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++) {
        for (size_t j = 0; (hold = wherry_inspect_hold_of(object, j)); j++)
            if (is_wanted(request, hold) && !add_hold(table, request, graph, hold))
                return false;
        if (object->flags & WHERRY_INSPECT_LOCK_UNSEEN && is_named(request, object) && !request->pid &&
            !add_unseen(table, request, object))
            return false;
    }
    return true;
}

static bool add_edges(struct table *table, const struct request *request, const struct lock_graph *graph)
{
    for (size_t i = 0; i < graph->count; i++)
        if ((is_wanted(request, graph->edges[i].waits) || is_wanted(request, graph->edges[i].holds)) &&
            !add_edge(table, request, graph, &graph->edges[i]))
            return false;
    return true;
}

/* `snapshot` may be NULL for --list-columns. */
static int print(const struct request *request, const struct wherry_inspect *snapshot)
{
    struct lock_graph graph = {.edges = NULL};
    struct table *table = NULL;
    bool as_table = !request->graph || request->style.json || request->style.columns || request->style.list_columns;
    int code = !as_table        ? 0
               : request->graph ? table_new(request->options.verb, "edges", LOCKS_SCHEMA, edge_columns, EDGE_COLUMNS,
                                            &request->style, &table)
                                : table_new(request->options.verb, "locks", LOCKS_SCHEMA, columns, COLUMNS,
                                            &request->style, &table);
    if (code != 0 || (as_table && !table))
        return code;
    bool fine = lock_graph_make(&graph, snapshot);
    if (fine && !as_table)
        fine = lock_tree_print(&graph, snapshot, is_wanted, request);
    else if (fine)
        fine = request->graph ? add_edges(table, request, &graph) : add_rows(table, request, &graph, snapshot);
    lock_graph_fini(&graph);
    code = table ? inventory_table(table, snapshot) : finish_printing(TOOL_OK);
    return fine ? code : complain(TOOL_FAILED, "locks: no memory");
}

/* ---- the files ---- */

/* A file without locks is no object of the snapshot, unless it was asked for: then another look tells whether there is
 * one of that name. */
static int look_for(const struct request *request, char *name)
{
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    what.kinds = UINT64_C(1) << WHERRY_INSPECT_FILE | UINT64_C(1) << WHERRY_INSPECT_FIFO;
    int code = inventory_take_named(&request->options, &what, name, &snapshot);
    if (code != 0)
        return code;
    if (!wherry_inspect_find(snapshot, name, 0))
        code = inventory_none(&request->options, name);
    wherry_inspect_free(snapshot);
    return code;
}

static int find_objects(struct request *request, const struct wherry_inspect *snapshot)
{
    size_t room = 0;
    for (size_t i = 0; i < request->name_count; i++) {
        const struct wherry_inspect_object *object;
        size_t found = 0;
        for (; (object = wherry_inspect_find(snapshot, request->names[i], found)); found++) {
            if (request->object_count == room) {
                struct named *more = realloc(request->objects, (room += 64) * sizeof *request->objects);
                if (!more)
                    return complain(TOOL_FAILED, "locks: no memory");
                request->objects = more;
            }
            request->objects[request->object_count++] = (struct named){object, request->names[i]};
        }
        size_t length = strlen(request->names[i]);
        int code = found ? 0 : look_for(request, request->names[i]);
        if (code != 0)
            return code;
        if (strlen(request->names[i]) < length)
            i--; /* it was written with \xNN */
    }
    return 0;
}

/* ---- the command line ---- */

static int parse(struct request *request, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        TABLE_LONG,
        LONG("wait-graph", no_argument, OPTION_GRAPH),
        LONG("pid", required_argument, OPTION_PID),
        {0},
    };
    int option;
    while ((option = options_next(&request->options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0) {
        if (option == OPTION_GRAPH)
            request->graph = true;
        else if (option == OPTION_PID &&
                 (request->options.code = inventory_pid(request->options.verb, optarg, &request->pid)) != 0)
            return -1;
        else
            table_option(&request->style, option);
    }
    request->names = argv + optind;
    request->name_count = (size_t)(argc - optind);
    return option == OPTION_STOP ? -1 : 0;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct request request = {.options = options_of(verb)};
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    if (parse(&request, argc, argv) < 0)
        return request.options.code;
    if (request.style.list_columns)
        return print(&request, NULL);
    int code = request.name_count ? inventory_take_named(&request.options, &what, request.names[0], &snapshot)
                                  : inventory_take(&request.options, &what, &snapshot);
    if (code != 0)
        return code;
    if (request.pid && !wherry_inspect_process_of(snapshot, request.pid))
        code = complain(TOOL_FAILED, "locks: there is no process %d", (int)request.pid);
    else if ((code = find_objects(&request, snapshot)) == 0)
        code = print(&request, snapshot);
    free(request.objects);
    return inventory_finish(&request.options, snapshot, code);
}

const struct verb verb_locks = {
    .name = "locks",
    .summary = "file locks and who waits",
    .operands = "[PATH...]",
    .help = "fcntl(2) locks of processes (posix) and of open files (ofd), flock(2), leases.\n"
            "With PATHs, those on these files alone.\n"
            "\n"
            "      --wait-graph   who waits for whom, and which of them wait for each other;\n"
            "                     with -J or -o as a list of edges\n"
            "      --pid PID      the locks and the waits of this process\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry locks                    all locks of this host\n"
                "  wherry locks /var/lib/db/LOCK   who has that file locked, and who waits\n"
                "  wherry locks --wait-graph       who keeps whom waiting; deadlocks\n",
    .run = run,
};
