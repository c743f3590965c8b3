/* inspect/snapshot.c - owns the taking of a snapshot: its arrays, the order of the steps, and what is sorted at the
 * end.
 *
 * SPDX-License-Identifier: MIT
 *
 * What finds objects and holds is the collectors' (collectors.c names them) and the walk's; who reads them does so by
 * read.c. */
#include "inspect/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/sys.h"
#include "base/why.h"
#include "inspect/arena.h"

/* ---- objects ---- */

static size_t slot_of(const struct snapshot *snapshot, enum space space, uint64_t a, uint64_t b)
{
    uint64_t hash = (a * UINT64_C(0x9e3779b97f4a7c15) ^ b ^ (uint64_t)space << 56) * UINT64_C(0xff51afd7ed558ccd);
    return (size_t)(hash >> 20) & (snapshot->objects.slots - 1);
}

/* Twice as many slots as there is room for objects. */
static bool rehash(struct snapshot *snapshot, size_t room)
{
    struct object **list = realloc(snapshot->objects.list, room * sizeof *list);
    if (list)
        snapshot->objects.list = list;
    struct object **table = list ? calloc(2 * room, sizeof *table) : NULL;
    if (!table) {
        snapshot->failed = true;
        return false;
    }
    free(snapshot->objects.table);
    snapshot->objects.table = table;
    snapshot->objects.slots = 2 * room;
    snapshot->objects.room = room;
    for (size_t i = 0; i < snapshot->objects.count; i++) {
        struct object *object = list[i], **slot = &table[slot_of(snapshot, object->space, object->a, object->b)];
        object->same_slot = *slot;
        *slot = object;
    }
    return true;
}

struct object *wherry__inspect_known(const struct snapshot *snapshot, enum space space, uint64_t a, uint64_t b)
{
    struct object *object =
        snapshot->objects.slots ? snapshot->objects.table[slot_of(snapshot, space, a, b)] : NULL;
    while (object && (object->space != space || object->a != a || object->b != b))
        object = object->same_slot;
    return object;
}

struct object *wherry__inspect_object(struct snapshot *snapshot, enum wherry_inspect_kind kind, enum space space,
                                      uint64_t a, uint64_t b, bool *ret_new)
{
    struct object *object = wherry__inspect_known(snapshot, space, a, b);
    if (ret_new)
        *ret_new = !object;
    if (object)
        return object;
    if (snapshot->objects.count == snapshot->objects.room &&
        !rehash(snapshot, snapshot->objects.room ? 2 * snapshot->objects.room : 1024))
        return NULL;
    object = wherry__inspect_memory(snapshot, sizeof *object);
    if (!object)
        return NULL;
    *object = (struct object){
        .public = {.kind = kind, .name = "", .reason = "", .detail = "", .uid = (uid_t)-1, .gid = (gid_t)-1,
                   .size = -1, .used = -1, .messages = -1, .limit = -1},
        .snapshot = snapshot,
        .space = space,
        .a = a,
        .b = b,
    };
    struct object **slot = &snapshot->objects.table[slot_of(snapshot, space, a, b)];
    object->same_slot = *slot;
    *slot = object;
    snapshot->objects.list[snapshot->objects.count++] = object;
    return object;
}

/* ---- what joins them ---- */

struct wherry_inspect_hold *wherry__inspect_hold(struct object *object, struct process *process,
                                                 enum wherry_inspect_how how)
{
    struct hold *hold = wherry__inspect_memory(object->snapshot, sizeof *hold);
    if (!hold)
        return NULL;
    *hold = (struct hold){
        .public = {.object = &object->public, .process = &process->public, .how = how, .fd = -1, .detail = ""},
        .next_of_object = object->holds,
        .next_of_process = process->holds,
    };
    object->holds = process->holds = hold;
    object->public.holds++;
    process->public.holds++;
    return &hold->public;
}

struct link_list {
    struct wherry_inspect_link *link;
    struct link_list *next;
};

static bool note_link(struct object *object, struct wherry_inspect_link *link)
{
    struct link_list *entry = wherry__inspect_memory(object->snapshot, sizeof *entry);
    if (!entry)
        return false;
    *entry = (struct link_list){link, object->links};
    object->links = entry;
    object->link_count++;
    return true;
}

static bool has_peer(const struct object *from, const struct object *to)
{
    for (const struct link_list *entry = from->links; entry; entry = entry->next)
        if (entry->link->kind == WHERRY_INSPECT_PEER &&
            ((entry->link->from == &from->public && entry->link->to == &to->public) ||
             (entry->link->from == &to->public && entry->link->to == &from->public)))
            return true;
    return false;
}

void wherry__inspect_link(struct object *from, struct object *to, enum wherry_inspect_link_kind kind,
                          const char *detail)
{
    struct snapshot *snapshot = from->snapshot;
    if (kind == WHERRY_INSPECT_PEER && (from->link_count <= to->link_count ? has_peer(from, to) : has_peer(to, from)))
        return;
    if (snapshot->links.count == snapshot->links.room) {
        size_t room = snapshot->links.room ? 2 * snapshot->links.room : 256;
        struct wherry_inspect_link **list = realloc(snapshot->links.list, room * sizeof *list);
        if (!list) {
            snapshot->failed = true;
            return;
        }
        snapshot->links.list = list;
        snapshot->links.room = room;
    }
    struct wherry_inspect_link *link = wherry__inspect_memory(snapshot, sizeof *link);
    if (!link)
        return;
    *link = (struct wherry_inspect_link){kind, &from->public, &to->public, detail};
    if (note_link(from, link) && (from == to || note_link(to, link)))
        snapshot->links.list[snapshot->links.count++] = link;
}

void wherry__inspect_hide(struct snapshot *snapshot, const char *what, const char *why, uint64_t count)
{
    size_t i = 0;
    while (i < snapshot->hidden_count && strcmp(snapshot->hidden[i].what, what) != 0)
        i++;
    if (i == sizeof snapshot->hidden / sizeof *snapshot->hidden)
        i--; /* better under another name than not counted */
    else if (i == snapshot->hidden_count)
        snapshot->hidden[snapshot->hidden_count++] = (struct wherry_inspect_hidden){.what = what, .why = why};
    snapshot->hidden[i].count += count;
}

void wherry__inspect_missed(struct snapshot *snapshot, int code)
{
    if (code != ENOENT && code != ESRCH)
        wherry__inspect_hide(snapshot, "things that could not be read, though no permission kept them from it",
                             "look again, with more descriptors and memory", 1);
}

bool wherry__inspect_starved(struct snapshot *snapshot, int code)
{
    bool starved = code == EMFILE || code == ENFILE || code == ENOMEM;
    if (starved)
        wherry__inspect_missed(snapshot, code);
    return starved;
}

struct process *wherry__inspect_find_process(const struct snapshot *snapshot, pid_t pid)
{
    size_t low = 0, high = snapshot->processes.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (snapshot->processes.list[middle]->public.pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    struct process *found = low < snapshot->processes.count ? snapshot->processes.list[low] : NULL;
    return found && found->public.pid == pid ? found : NULL;
}

/* ---- sorting ---- */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_objects(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    if (x->public.kind != y->public.kind)
        return x->public.kind < y->public.kind ? -1 : 1;
    int names = strverscmp(x->public.name, y->public.name);
    return names ? names : x->a != y->a ? compare_numbers(x->a, y->a) : compare_numbers(x->b, y->b);
}

static int compare_holds(const struct wherry_inspect_hold *x, const struct wherry_inspect_hold *y)
{
    if (x->process->pid != y->process->pid)
        return x->process->pid < y->process->pid ? -1 : 1;
    if (x->thread != y->thread)
        return x->thread < y->thread ? -1 : 1;
    if ((x->fd < 0) != (y->fd < 0))
        return x->fd < 0 ? 1 : -1;
    if (x->fd != y->fd)
        return x->fd < y->fd ? -1 : 1;
    return x->how != y->how ? (x->how < y->how ? -1 : 1) : compare_numbers(x->start, y->start);
}

static int compare_hold_pointers(const void *a, const void *b)
{
    return compare_holds(&(*(struct hold *const *)a)->public, &(*(struct hold *const *)b)->public);
}

static const struct object *of(const struct wherry_inspect_object *public)
{
    return (const struct object *)(const void *)public;
}

static void sort_object(struct object *object)
{
    size_t at = 0;
    object->sorted = wherry__inspect_memory(object->snapshot, (object->public.holds + 1) * sizeof *object->sorted);
    object->sorted_links =
        wherry__inspect_memory(object->snapshot, (object->link_count + 1) * sizeof *object->sorted_links);
    if (!object->sorted || !object->sorted_links)
        return;
    for (struct hold *hold = object->holds; hold; hold = hold->next_of_object)
        object->sorted[at++] = hold;
    qsort(object->sorted, at, sizeof *object->sorted, compare_hold_pointers);
    at = 0;
    for (struct link_list *entry = object->links; entry; entry = entry->next)
        if (!of(entry->link->from)->drop && !of(entry->link->to)->drop)
            object->sorted_links[at++] = entry->link;
    object->link_count = at;
}

static void sort_process(struct process *process)
{
    size_t at = 0;
    process->sorted = wherry__inspect_memory(process->snapshot, (process->public.holds + 1) * sizeof *process->sorted);
    if (!process->sorted)
        return;
    for (struct hold *hold = process->holds; hold; hold = hold->next_of_process)
        if (!of(hold->public.object)->drop)
            process->sorted[at++] = hold;
    process->public.holds = at;
    qsort(process->sorted, at, sizeof *process->sorted, compare_hold_pointers);
}

static void sort_all(struct snapshot *snapshot)
{
    size_t kept = 0;
    for (size_t i = 0; i < snapshot->objects.count; i++)
        if (!snapshot->objects.list[i]->drop &&
            wherry__inspect_wants(snapshot, snapshot->objects.list[i]->public.kind))
            snapshot->objects.list[kept++] = snapshot->objects.list[i];
        else
            snapshot->objects.list[i]->drop = true;
    snapshot->objects.count = kept;
    for (size_t i = 0; i < kept; i++)
        sort_object(snapshot->objects.list[i]);
    for (size_t i = 0; i < snapshot->processes.count; i++)
        sort_process(snapshot->processes.list[i]);
    qsort(snapshot->objects.list, kept, sizeof *snapshot->objects.list, compare_objects);
    size_t links = 0;
    for (size_t i = 0; i < snapshot->links.count; i++) {
        const struct wherry_inspect_link *link = snapshot->links.list[i];
        if (!of(link->from)->drop && !of(link->to)->drop)
            snapshot->links.list[links++] = snapshot->links.list[i];
    }
    snapshot->links.count = links;
}

/* ---- taking one ---- */

static void find_own_spaces(struct snapshot *snapshot)
{
    int self = wherry__sys.open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (self < 0)
        return;
    snapshot->net_space = wherry__proc_space(self, "net");
    snapshot->ipc_space = wherry__proc_space(self, "ipc");
    snapshot->pid_space = wherry__proc_space(self, "pid");
    snapshot->mount_space = wherry__proc_space(self, "mnt");
    wherry__sys.close(self);
    wherry__mounts_path_remote(snapshot, "/"); /* now, since wherry_inspect_find() may add nothing */
}

/* options.file is told by device and inode; on a network file system, which is not asked, by its name. */
static int find_path(struct snapshot *snapshot, const char *file)
{
    struct statx status;
    char resolved[PATH_MAX];
    bool remote;
    bool fine = wherry__mounts_resolve(snapshot, file, resolved, &remote);
    if (remote && !fine)
        return wherry__fail(ENOENT, "%s: it lies outside of what is mounted here", file);
    if (remote) {
        snapshot->file_path = wherry__inspect_text(snapshot, "%s", resolved);
        snapshot->options.file = wherry__inspect_text(snapshot, "%s", file);
        return 0;
    }
    if (wherry__sys.statx(AT_FDCWD, file, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &status) < 0)
        return wherry__fail_errno(errno, "%s: cannot be looked for", file);
    snapshot->file_device = wherry__device(status.stx_dev_major, status.stx_dev_minor);
    snapshot->file_inode = status.stx_ino;
    snapshot->file_mode = status.stx_mode;
    snapshot->options.file = wherry__inspect_text(snapshot, "%s", file);
    return 0;
}

/* As wherry_inspect_find() takes it. */
static int find_file(struct snapshot *snapshot)
{
    const char *file = snapshot->options.file;
    struct paths paths = {.count = 0};
    int result = -ENOENT;
    if (!file)
        return 0;
    wherry__find_paths(file, &paths);
    for (size_t i = 0; i < paths.count && result != 0 && result != -EACCES; i++)
        result = find_path(snapshot, paths.list[i]);
    return result == 0 || result == -EACCES ? result : find_path(snapshot, file);
}

static int collect(struct snapshot *snapshot)
{
    int result = find_file(snapshot);
    for (int kind = 0; kind < WHERRY_INSPECT_KINDS && result >= 0; kind++)
        if (wherry__collectors[kind]->list)
            result = wherry__collectors[kind]->list(snapshot);
    if (result >= 0)
        result = wherry__inspect_walk(snapshot);
    for (int kind = 0; kind < WHERRY_INSPECT_KINDS && result >= 0; kind++)
        if (wherry__collectors[kind]->join)
            result = wherry__collectors[kind]->join(snapshot);
    if (result >= 0) {
        wherry__inspect_states(snapshot);
        sort_all(snapshot);
    }
    if (snapshot->failed || result == -ENOMEM)
        return wherry__fail(ENOMEM, "no memory for a snapshot of this host's objects");
    return result;
}

int wherry_inspect_take(const struct wherry_inspect_options *given, struct wherry_inspect **ret_snapshot)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    int result = wherry__options_read(&options, sizeof options, given,
                                      sizeof options, "wherry_inspect_options", "WHERRY_INSPECT_OPTIONS");
    if (result < 0)
        return result;
    if (options.flags & ~(WHERRY_INSPECT_ARGUMENTS | WHERRY_INSPECT_WAITERS | WHERRY_INSPECT_PROVE) ||
        options.kinds >> WHERRY_INSPECT_KINDS)
        return wherry__fail(EINVAL, "a flag or a kind of object that this version does not know was asked for");
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return wherry__fail(ENOMEM, "no memory for a snapshot of this host's objects");
    snapshot->options = options;
    find_own_spaces(snapshot);
    result = collect(snapshot);
    if (result < 0) {
        wherry_inspect_free((struct wherry_inspect *)snapshot);
        return result;
    }
    *ret_snapshot = (struct wherry_inspect *)snapshot;
    return 0;
}

void wherry_inspect_free(struct wherry_inspect *given)
{
    struct snapshot *snapshot = (struct snapshot *)given;
    if (!snapshot)
        return;
    free(snapshot->objects.list);
    free(snapshot->objects.table);
    free(snapshot->processes.list);
    free(snapshot->links.list);
    wherry__inspect_arena_free(snapshot->arena);
    free(snapshot);
}
