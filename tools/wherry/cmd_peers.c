/* cmd_peers.c - `wherry peers`: who is at the other end of what a process has open, mapped or attached.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each object that the process holds is looked at once, whatever it maps of it and however often: the cost is that of
 * the holds there are and the rows there will be, not their product. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "table.h"

enum { PEERS_SCHEMA = 1 };

enum {
    FD,
    HOW,
    ACCESS,
    TYPE,
    OBJECT,
    PEER_PID,
    PEER_COMMAND,
    PEER_FD,
    PEER_HOW,
    PEER_OBJECT,
    EVIDENCE,
    THREAD,
    PEER_THREAD,
    COLUMNS
};

static const struct column columns[COLUMNS] = {
    [FD] = {"FD", "the process's descriptor", COLUMN_NUMBER, true, 0},
    [HOW] = {"HOW", "how it holds the object: open, mapped, attached, locked, waiting", COLUMN_TEXTS, false, 0},
    [ACCESS] = {"ACCESS", "r, w or rw", COLUMN_TEXT, true, 0},
    [TYPE] = {"TYPE", "the kind of object", COLUMN_TEXT, true, 0},
    [OBJECT] = {"OBJECT", "the object", COLUMN_TEXT, true, 44},
    [PEER_PID] = {"PEER", "the process at the other end; empty: nobody that can be seen", COLUMN_NUMBER, true, 0},
    [PEER_COMMAND] = {"COMMAND", "its name", COLUMN_TEXT, true, 0},
    [PEER_FD] = {"PEERFD", "its descriptor", COLUMN_NUMBER, true, 0},
    [PEER_HOW] = {"PEERHOW", "how it holds the object, or its own end of it", COLUMN_TEXTS, false, 0},
    [PEER_OBJECT] = {"PEEROBJECT", "its own end, where that is an object of its own", COLUMN_TEXT, false, 44},
    [EVIDENCE] = {"EVIDENCE", "why the two are said to be joined", COLUMN_TEXT, false, 24},
    [THREAD] = {"THREAD", "the thread whose own descriptor FD is", COLUMN_NUMBER, false, 0},
    [PEER_THREAD] = {"PEERTHREAD", "the thread whose own descriptor PEERFD is", COLUMN_NUMBER, false, 0},
};

/* All that a process has of an object by one descriptor, and by none; or by none, when it has no descriptor of it. */
struct grip {
    const struct wherry_inspect_hold *first; /* its object, process, fd and thread are those of all */
    unsigned ways;                           /* bits 1 << how */
    bool reads, writes;
};

/* An object that the process holds, and where its grips are in the list of all: from `first` to before `end`.  Of a
 * pipe, those that write come first, then, from `middle` on, those that do both, from `last` on those that read, and
 * from `none` on those that do neither.  Of another object, those of the process itself are from `middle` to before
 * `last`.  So nobody is looked at who is no peer. */
struct entry {
    const struct wherry_inspect_object *object;
    size_t first, middle, last, none, end;
};

struct peers {
    const struct wherry_inspect_process *process;
    int fd; /* the one asked for; -1: all */
    struct table *table;
    struct entry *entries;
    size_t entry_count;
    struct grip *grips;
    size_t grip_count, grip_room;
    size_t *own; /* those of the process, by descriptor */
    size_t own_count;
};

/* ---- who holds an object ---- */

static void include(struct grip *grip, const struct wherry_inspect_hold *hold)
{
    grip->ways |= 1u << hold->how;
    grip->reads |= hold->reads;
    grip->writes |= hold->writes;
}

static bool add_grip(struct peers *peers, struct grip grip)
{
    if (peers->grip_count == peers->grip_room) {
        size_t room = peers->grip_room ? 2 * peers->grip_room : 64;
        struct grip *list = reallocarray(peers->grips, room, sizeof *list);
        if (!list)
            return false;
        peers->grips = list;
        peers->grip_room = room;
    }
    peers->grips[peers->grip_count++] = grip;
    return true;
}

/* What a process has by no descriptor is told with each of its descriptors; where it has none, it is a grip itself. */
static bool end_process(struct peers *peers, size_t from, const struct grip *bare)
{
    if (!bare->first)
        return true;
    if (from == peers->grip_count)
        return add_grip(peers, *bare);
    for (size_t i = from; i < peers->grip_count; i++) {
        peers->grips[i].ways |= bare->ways;
        peers->grips[i].reads |= bare->reads;
        peers->grips[i].writes |= bare->writes;
    }
    return true;
}

/* The grips on an object, after those there are: holds come by process, thread and descriptor. */
static bool gather(struct peers *peers, const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold, *before = NULL;
    struct grip bare = {.first = NULL};
    size_t from = peers->grip_count;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); before = hold, i++) {
        bool other = before && before->process != hold->process;
        if (other) {
            if (!end_process(peers, from, &bare))
                return false;
            from = peers->grip_count;
            bare = (struct grip){.first = NULL};
        }
        if (hold->fd < 0) {
            bare.first = bare.first ? bare.first : hold;
            include(&bare, hold);
            continue;
        }
        if ((!before || other || before->thread != hold->thread || before->fd != hold->fd) &&
            !add_grip(peers, (struct grip){.first = hold}))
            return false;
        include(&peers->grips[peers->grip_count - 1], hold);
    }
    return end_process(peers, from, &bare);
}

/* A file that everybody maps and nobody writes (a cache of the C library's) joins nobody. */
static bool joins(const struct peers *peers, const struct entry *entry)
{
    const unsigned locks = 1u << WHERRY_INSPECT_LOCKED | 1u << WHERRY_INSPECT_WAITING;
    if (entry->object->kind != WHERRY_INSPECT_FILE)
        return true;
    for (size_t i = entry->first; i < entry->end; i++)
        if (peers->grips[i].writes || peers->grips[i].ways & locks)
            return true;
    return false;
}

/* ---- what the process holds ---- */

static int compare_objects(const void *a, const void *b)
{
    const struct wherry_inspect_object *x = ((const struct entry *)a)->object, *y = ((const struct entry *)b)->object;
    return (x > y) - (x < y);
}

/* Each object of it once. */
static bool list_objects(struct peers *peers)
{
    const struct wherry_inspect_hold *hold;
    size_t count = 0, kept = 0;
    peers->entries = calloc(peers->process->holds + 1, sizeof *peers->entries);
    if (!peers->entries)
        return false;
    for (size_t i = 0; (hold = wherry_inspect_hold_by(peers->process, i)); i++)
        if (peers->fd < 0 || hold->fd == peers->fd)
            peers->entries[count++].object = hold->object;
    qsort(peers->entries, count, sizeof *peers->entries, compare_objects);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || peers->entries[kept - 1].object != peers->entries[i].object)
            peers->entries[kept++] = peers->entries[i];
    peers->entry_count = kept;
    return true;
}

/* By thread and descriptor, what has none at the end; that by the name of the object. */
static int compare_own(const void *a, const void *b, void *grips)
{
    const struct wherry_inspect_hold *x = ((const struct grip *)grips)[*(const size_t *)a].first;
    const struct wherry_inspect_hold *y = ((const struct grip *)grips)[*(const size_t *)b].first;
    if ((x->fd < 0) != (y->fd < 0))
        return x->fd < 0 ? 1 : -1;
    if (x->fd < 0)
        return x->object->kind != y->object->kind ? (x->object->kind < y->object->kind ? -1 : 1)
                                                  : strcmp(x->object->name, y->object->name);
    if (x->thread != y->thread)
        return x->thread < y->thread ? -1 : 1;
    return (x->fd > y->fd) - (x->fd < y->fd);
}

static bool is_pipe(const struct wherry_inspect_object *object)
{
    return object->kind == WHERRY_INSPECT_PIPE || object->kind == WHERRY_INSPECT_FIFO;
}

/* The parts of an entry, from 0 on. */
static int part_of(const struct peers *peers, const struct grip *grip)
{
    if (!is_pipe(grip->first->object))
        return grip->first->process == peers->process ? 1 : grip->first->process->pid < peers->process->pid ? 0 : 2;
    return grip->writes ? (grip->reads ? 1 : 0) : grip->reads ? 2 : 3;
}

static int compare_grips(const void *a, const void *b, void *peers)
{
    int x = part_of(peers, a), y = part_of(peers, b);
    const struct wherry_inspect_hold *one = ((const struct grip *)a)->first, *other = ((const struct grip *)b)->first;
    if (x != y)
        return x < y ? -1 : 1;
    if (one->process->pid != other->process->pid)
        return one->process->pid < other->process->pid ? -1 : 1;
    if (one->thread != other->thread)
        return one->thread < other->thread ? -1 : 1;
    return (one->fd > other->fd) - (one->fd < other->fd);
}

static bool fill_entry(struct peers *peers, struct entry *entry)
{
    entry->first = peers->grip_count;
    if (!gather(peers, entry->object))
        return false;
    entry->end = peers->grip_count;
    if (entry->end > entry->first)
        qsort_r(peers->grips + entry->first, entry->end - entry->first, sizeof *peers->grips, compare_grips, peers);
    entry->middle = entry->last = entry->none = entry->first;
    for (size_t i = entry->first; i < entry->end; i++) {
        int part = part_of(peers, &peers->grips[i]);
        entry->middle += part < 1;
        entry->last += part < 2;
        entry->none += part < 3;
    }
    return true;
}

static bool list_own(struct peers *peers)
{
    if (!list_objects(peers))
        return false;
    for (size_t i = 0; i < peers->entry_count; i++)
        if (!fill_entry(peers, &peers->entries[i]))
            return false;
    peers->own = calloc(peers->grip_count + 1, sizeof *peers->own);
    if (!peers->own)
        return false;
    for (size_t i = 0; i < peers->entry_count; i++) {
        const struct entry *entry = &peers->entries[i];
        bool wanted = peers->fd >= 0 || joins(peers, entry);
        for (size_t k = entry->first; wanted && k < entry->end; k++) {
            const struct wherry_inspect_hold *hold = peers->grips[k].first;
            if (hold->process == peers->process && (peers->fd < 0 || hold->fd == peers->fd))
                peers->own[peers->own_count++] = k;
        }
    }
    qsort_r(peers->own, peers->own_count, sizeof *peers->own, compare_own, peers->grips);
    return true;
}

/* ---- rows ---- */

enum { WAYS_TEXT = 64 };

/* A line each. */
static const char *ways(const struct grip *grip, char text[WAYS_TEXT])
{
    size_t used = 0;
    for (unsigned how = 0; how <= WHERRY_INSPECT_WAITING; how++)
        if (grip->ways >> how & 1) {
            struct wherry_inspect_hold one = {.how = (enum wherry_inspect_how)how};
            used += (size_t)snprintf(text + used, WAYS_TEXT - used, "%s%s", used ? "\n" : "", inventory_how(&one));
        }
    return text;
}

static const char *access_of(const struct grip *grip)
{
    struct wherry_inspect_hold one = {.reads = grip->reads, .writes = grip->writes};
    const char *access = inventory_access(&one);
    return access[0] ? access : NULL;
}

/* A thread's number says whose descriptor it is: it says nothing where there is none. */
static const char *number(bool there, int value, char text[24])
{
    snprintf(text, 24, "%d", value);
    return there ? text : NULL;
}

/* `own` and `other` are places in the list of grips; SIZE_MAX: nobody. */
static bool add_row(const struct peers *peers, size_t own, size_t other, const char *evidence)
{
    const char *cells[COLUMNS] = {NULL};
    char fd[24], pid[24], peer_fd[24], thread[24], peer_thread[24], how[WAYS_TEXT], peer_how[WAYS_TEXT];
    const struct grip *near = &peers->grips[own], *far = other != SIZE_MAX ? &peers->grips[other] : NULL;
    const struct wherry_inspect_hold *hold = near->first, *peer = far ? far->first : NULL;
    cells[FD] = number(hold->fd >= 0, hold->fd, fd);
    cells[THREAD] = number(hold->fd >= 0 && hold->thread, (int)hold->thread, thread);
    cells[HOW] = ways(near, how);
    cells[ACCESS] = access_of(near);
    cells[TYPE] = wherry_inspect_kind_name(hold->object->kind);
    cells[OBJECT] = hold->object->name;
    if (peer) {
        cells[PEER_PID] = number(true, (int)peer->process->pid, pid);
        cells[PEER_COMMAND] = peer->process->command;
        cells[PEER_FD] = number(peer->fd >= 0, peer->fd, peer_fd);
        cells[PEER_THREAD] = number(peer->fd >= 0 && peer->thread, (int)peer->thread, peer_thread);
        cells[PEER_HOW] = ways(far, peer_how);
        cells[PEER_OBJECT] = peer->object != hold->object ? peer->object->name : NULL;
        cells[EVIDENCE] = evidence[0] ? evidence : NULL;
    }
    return table_row(peers->table, cells) == 0;
}

/* Rows for all that hold an end of a socket. */
static bool add_end(struct peers *peers, size_t own, const struct wherry_inspect_object *end, const char *evidence,
                    bool *ret_any)
{
    size_t from = peers->grip_count;
    bool fine = gather(peers, end);
    for (size_t i = from; i < peers->grip_count && fine; i++) {
        *ret_any = true;
        fine = add_row(peers, own, i, evidence);
    }
    peers->grip_count = from;
    return fine;
}

/* What a link leads to; NULL for what an epoll set watches. */
static const struct wherry_inspect_object *far_side(const struct wherry_inspect_link *link,
                                                    const struct wherry_inspect_object *object)
{
    return link->kind == WHERRY_INSPECT_WATCHES ? NULL : link->from == object ? link->to : link->from;
}

/* As wherry_inspect_other_end(), which walks there from the beginning for each of them.  A connection that nobody has
 * accepted yet is held by nobody: who is beyond it counts. */
static bool add_socket(struct peers *peers, size_t own, bool *ret_any)
{
    const struct wherry_inspect_object *object = peers->grips[own].first->object, *end, *beyond;
    const struct wherry_inspect_link *link, *next;
    bool fine = true;
    for (size_t i = 0; fine && (link = wherry_inspect_link_of(object, i)); i++) {
        if (!(end = far_side(link, object)))
            continue;
        if (!(end->flags & WHERRY_INSPECT_PENDING) || end->holds) {
            fine = add_end(peers, own, end, link->detail, ret_any);
            continue;
        }
        for (size_t k = 0; fine && (next = wherry_inspect_link_of(end, k)); k++)
            if ((beyond = far_side(next, end)) && beyond != object)
                fine = add_end(peers, own, beyond, link->detail, ret_any);
    }
    return fine;
}

static bool add_range(struct peers *peers, size_t own, size_t from, size_t to, bool *ret_any)
{
    for (size_t i = from; i < to; i++) {
        if (i == own)
            continue;
        *ret_any = true;
        if (!add_row(peers, own, i, "the same object"))
            return false;
    }
    return true;
}

/* Of a pipe: who reads is at the other end of who writes, also in the same process; who does both sees everybody.  Of
 * memory and the like: each other process. */
static bool add_sharers(struct peers *peers, size_t own, bool *ret_any)
{
    const struct grip *grip = &peers->grips[own];
    struct entry wanted = {.object = grip->first->object};
    const struct entry *entry =
        bsearch(&wanted, peers->entries, peers->entry_count, sizeof wanted, compare_objects);
    if (!is_pipe(entry->object))
        return add_range(peers, own, entry->first, entry->middle, ret_any) &&
               add_range(peers, own, entry->last, entry->end, ret_any);
    if (!grip->reads && !grip->writes)
        return true;
    return add_range(peers, own, grip->reads ? entry->first : entry->middle, grip->writes ? entry->none : entry->last,
                     ret_any);
}

/* All other ends of one grip, or a row that says that there is none. */
static bool add_rows(struct peers *peers, size_t own)
{
    bool any = false, fine = true;
    switch (peers->grips[own].first->object->kind) {
    case WHERRY_INSPECT_UNIX:
    case WHERRY_INSPECT_TCP:
    case WHERRY_INSPECT_UDP:
    case WHERRY_INSPECT_SOCKET:
        fine = add_socket(peers, own, &any);
        break;
    case WHERRY_INSPECT_PIDFD:
        break;
    default:
        fine = add_sharers(peers, own, &any);
        break;
    }
    return fine && (any || add_row(peers, own, SIZE_MAX, ""));
}

static bool fill(struct peers *peers)
{
    bool fine = list_own(peers);
    for (size_t i = 0; i < peers->own_count && fine; i++)
        fine = add_rows(peers, peers->own[i]);
    free(peers->entries);
    free(peers->grips);
    free(peers->own);
    return fine;
}

static int print_table(const struct options *options, const struct table_style *style,
                       const struct wherry_inspect *snapshot, const struct wherry_inspect_process *process, int fd)
{
    struct peers peers = {.process = process, .fd = fd};
    int code = table_new(options->verb, "peers", PEERS_SCHEMA, columns, COLUMNS, style, &peers.table);
    if (code != 0 || !peers.table)
        return code;
    if (!fill(&peers))
        return complain(TOOL_FAILED, "peers: no memory");
    code = inventory_table(peers.table, snapshot);
    if (code == TOOL_OK && fd >= 0 && !peers.own_count)
        return complain(TOOL_FAILED, "peers: descriptor %d of pid %d (%s) is not open, or leads to nothing that joins "
                        "processes", fd, (int)process->pid, process->command);
    return code;
}

/* "PID" or "PID:FD". */
static int parse_operand(const struct verb *verb, const char *word, pid_t *ret_pid, int *ret_fd)
{
    char pid[32];
    int64_t fd = -1;
    size_t length = strcspn(word, ":");
    snprintf(pid, sizeof pid, "%.*s", (int)(length < sizeof pid ? length : sizeof pid - 1), word);
    if (word[length]) {
        const char *wrong = parse_number(word + length + 1, 0, INT32_MAX, &fd);
        if (wrong)
            return misuse(verb, "\"%s\" is no descriptor: it %s", word + length + 1, wrong);
    }
    *ret_fd = (int)fd;
    return inventory_pid(verb, pid, ret_pid);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, TABLE_LONG, {0}};
    struct options options = options_of(verb);
    struct table_style style = {.columns = NULL};
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    int option, fd = -1;
    pid_t pid = 0;
    while ((option = options_next(&options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0)
        table_option(&style, option);
    if (option == OPTION_STOP || options_operands(&options, argc, style.list_columns ? 0 : 1, 1) < 0)
        return options.code;
    if (style.list_columns)
        return print_table(&options, &style, NULL, NULL, -1);
    int code = parse_operand(verb, argv[optind], &pid, &fd);
    if (code == 0)
        code = inventory_take(&options, &what, &snapshot);
    if (code)
        return code;
    const struct wherry_inspect_process *process = wherry_inspect_process_of(snapshot, pid);
    if (!process)
        code = complain(TOOL_FAILED, "peers: there is no process %d", (int)pid);
    else if (process->hidden)
        code = complain(TOOL_FAILED,
                        "peers: what pid %d (%s) has open may not be looked at; run it as root, or as its user",
                        (int)pid, process->command);
    else
        code = print_table(&options, &style, snapshot, process, fd);
    return inventory_finish(&options, snapshot, code);
}

const struct verb verb_peers = {
    .name = "peers",
    .summary = "who is at the other end",
    .operands = "PID[:FD]",
    .help = "A row for each other end: of a pipe who reads what it writes, of a socket its\n"
            "peer, of shared memory, queues, rings and locks each other process that has it.\n"
            "Files that nobody can write or lock are left out, as long as no FD is given.\n"
            "\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry peers 4711               all of them\n"
                "  wherry peers 4711:5             of one descriptor\n",
    .run = run,
};
