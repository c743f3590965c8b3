/* inspect/lock.c - owns locks and leases on files: who has them.  lock_wait.c has who waits for them.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel lists the locks in /proc/locks, with the process that took each; but those of open files (OFD locks,
 * flock, leases) belong to whoever has the open file now, a forked child or the receiver of a message, and of OFD
 * locks it tells no process at all.  So the list says which inodes to look out for, and the "lock:" lines in fdinfo of
 * each descriptor of such an inode say who holds what.  They have the device that the file system as a whole has, which
 * need not be the one that stat(2) tells (btrfs, overlayfs); so a line of fdinfo also says which object a line of the
 * list is about.  proc_locks(5), proc_pid_fdinfo(5). */
#include "inspect/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/locks.h"
#include "base/sys.h"
#include "base/why.h"
#include "inspect/describe.h"

/* ---- the kernel's list ---- */

static struct listed **slot_of(const struct lock_table *table, uint64_t inode)
{
    return &table->slots[(inode * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (table->slot_count - 1)];
}

static struct lock_table *parse(struct snapshot *snapshot, char *text)
{
    struct lock_table *table = wherry__inspect_memory(snapshot, sizeof *table);
    size_t lines = 1, slots = 16;
    char *rest;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    while (slots < 2 * lines)
        slots *= 2;
    if (!table || !(table->list = wherry__inspect_memory(snapshot, lines * sizeof *table->list)) ||
        !(table->slots = wherry__inspect_memory(snapshot, slots * sizeof(struct listed *))))
        return NULL;
    table->slot_count = slots;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        struct listed *one = &table->list[table->count];
        if (!wherry__lock_line_parse(line, &one->line))
            continue;
        if (one->line.inode == 0 && table->count > 0 && one[-1].line.number == one->line.number) {
            one->line.inode = one[-1].line.inode; /* waits for the lease of the lines before */
            one->line.device = one[-1].line.device;
        }
        struct listed **slot = slot_of(table, one->line.inode);
        one->text = line;
        one->same_slot = *slot;
        *slot = one;
        table->count++;
    }
    return table;
}

static int read_table(struct snapshot *snapshot, struct lock_table **ret_table)
{
    char *list = NULL;
    int result = wherry__locks_read(&list);
    char *text = result < 0 ? NULL : wherry__inspect_memory(snapshot, strlen(list) + 1);
    if (text)
        strcpy(text, list);
    else if (result == 0)
        result = -ENOMEM;
    free(list);
    if (result == -EMFILE || result == -ENFILE)
        return wherry__fail_errno(-result, "/proc/locks: no descriptor to read it by");
    if (result == -ENOMEM)
        return result;
    if (result < 0) {
        wherry__inspect_hide(snapshot, "locks of which /proc/locks was to tell", "see whether it may be read", 1);
        return 0;
    }
    struct lock_table *table = parse(snapshot, text);
    if (!table)
        return -ENOMEM;
    *ret_table = table;
    return 0;
}

int wherry__inspect_list_locks(struct snapshot *snapshot)
{
    return read_table(snapshot, &snapshot->locks);
}

static bool same_lock(const struct wherry__lock_line *x, const struct wherry__lock_line *y)
{
    const struct wherry_lock_holder *a = &x->holder, *b = &y->holder;
    return x->inode == y->inode && x->device == y->device && x->lease == y->lease && a->kind == b->kind &&
           a->mode == b->mode && a->start == b->start && a->length == b->length && a->pid == b->pid &&
           a->waiting == b->waiting;
}

/* That line of the list, one that nobody has explained first. */
static struct listed *find_line(const struct lock_table *table, const struct wherry__lock_line *line)
{
    struct listed *found = NULL;
    for (struct listed *one = *slot_of(table, line->inode); one; one = one->same_slot)
        if (same_lock(&one->line, line) && (!found || found->explained))
            found = one;
    return found;
}

static bool has_inode(const struct lock_table *table, uint64_t inode)
{
    const struct listed *one = table && table->count ? *slot_of(table, inode) : NULL;
    while (one && one->line.inode != inode)
        one = one->same_slot;
    return one;
}

/* ---- one descriptor ---- */

struct wherry_inspect_hold *wherry__inspect_lock_hold(struct object *object, struct process *process,
                                                      const struct wherry_lock_holder *holder, bool lease,
                                                      const char *detail)
{
    struct wherry_inspect_hold *hold =
        wherry__inspect_hold(object, process, holder->waiting ? WHERRY_INSPECT_WAITING : WHERRY_INSPECT_LOCKED);
    if (!hold)
        return NULL;
    hold->lock = holder->kind;
    hold->exclusive = holder->mode == WHERRY_LOCK_EXCLUSIVE;
    hold->lease = lease;
    hold->start = holder->start;
    hold->length = holder->length;
    hold->detail = detail;
    return hold;
}

/* A lock shows at each descriptor of its open file; another open file may have one that looks the same. */
static bool is_same_file(const struct visit *visit, const struct wherry_inspect_hold *hold)
{
    pid_t table = visit->process->table;
    long order = wherry__sys.kcmp(visit->thread ? visit->thread : table, hold->thread ? hold->thread : table, KCMP_FILE,
                                  (unsigned long)visit->fd, (unsigned long)hold->fd);
    return order <= 0; /* when it cannot be known, better once than twice */
}

static bool is_noted(const struct visit *visit, const struct object *object, const struct wherry__lock_line *line)
{
    for (const struct hold *at = object->holds; at && at->public.process == &visit->process->public;
         at = at->next_of_object) {
        const struct wherry_inspect_hold *hold = &at->public;
        if (hold->how == WHERRY_INSPECT_LOCKED && hold->lease == line->lease && hold->lock == line->holder.kind &&
            hold->exclusive == (line->holder.mode == WHERRY_LOCK_EXCLUSIVE) && hold->start == line->holder.start &&
            hold->length == line->holder.length && is_same_file(visit, hold))
            return true;
    }
    return false;
}

static void note_lock(struct visit *visit, struct object *object, const char *text, size_t length)
{
    struct wherry__lock_line line;
    const char *detail = wherry__inspect_text(visit->snapshot, "%.*s", (int)length, text);
    if (!wherry__lock_line_parse(detail, &line) || line.holder.waiting)
        return;
    struct listed *listed = find_line(visit->snapshot->locks, &line);
    if (listed) {
        listed->explained = true;
        listed->object = object;
    }
    if (is_noted(visit, object, &line))
        return;
    struct wherry_inspect_hold *hold =
        wherry__inspect_lock_hold(object, visit->process, &line.holder, line.lease, detail);
    if (!hold)
        return;
    hold->fd = visit->fd;
    hold->thread = visit->thread;
}

/* The next "lock:" line from *at on, without the word; NULL: none more. */
static const char *next_lock(const char **at, size_t *ret_length)
{
    while (**at) {
        const char *line = *at;
        size_t length = strcspn(line, "\n");
        *at = line + length + (line[length] == '\n');
        if (wherry__begins(line, "lock:")) {
            line += 5 + strspn(line + 5, " \t");
            *ret_length = (size_t)(*at - line) - ((*at)[-1] == '\n');
            return line;
        }
    }
    return NULL;
}

static uint64_t inode_of(const struct object *object)
{
    return object->space == SPACE_FILE                                    ? object->b
           : object->space == SPACE_PIPE || object->space == SPACE_SOCKET ? object->a
                                                                          : 0;
}

void wherry__inspect_visit_locks(struct visit *visit, struct object *object)
{
    uint64_t inode = inode_of(object);
    size_t length;
    if (!inode || !has_inode(visit->snapshot->locks, inode))
        return;
    const char *at = wherry__visit_whole_info(visit);
    for (const char *line; (line = next_lock(&at, &length));)
        note_lock(visit, object, line, length);
}

/* Whether the list has a lock on this very file; or, where devices differ, this descriptor has one. */
static bool is_locked(struct visit *visit, dev_t device)
{
    const struct lock_table *table = visit->snapshot->locks;
    bool may_differ = false;
    size_t length;
    for (const struct listed *one = *slot_of(table, visit->status.stx_ino); one; one = one->same_slot)
        if (one->line.inode == visit->status.stx_ino) {
            if (one->line.device == device)
                return true;
            may_differ |= major(one->line.device) == 0 || major(device) == 0;
        }
    const char *at = may_differ ? wherry__visit_whole_info(visit) : "";
    return next_lock(&at, &length);
}

bool wherry__inspect_visit_locked(struct visit *visit, dev_t device)
{
    if (!has_inode(visit->snapshot->locks, visit->status.stx_ino) || !is_locked(visit, device))
        return false;
    struct object *object = wherry__describe_file(visit, WHERRY_INSPECT_FILE, "");
    if (object)
        wherry__visit_hold(visit, object);
    return true;
}

/* ---- what no descriptor showed ---- */

struct object *wherry__inspect_locked_object(struct snapshot *snapshot, const struct wherry__lock_line *line)
{
    for (const struct listed *one = snapshot->locks->count ? *slot_of(snapshot->locks, line->inode) : NULL; one;
         one = one->same_slot)
        if (one->object && one->line.inode == line->inode && one->line.device == line->device)
            return one->object;
    return wherry__inspect_known(snapshot, SPACE_FILE, line->device, line->inode);
}

/* A lock stays with an open file that is only mapped any more: of one process, it is that one's. */
static struct process *only_mapper(const struct object *object, pid_t pid)
{
    const struct wherry_inspect_process *found = NULL;
    for (const struct hold *at = object->holds; at; at = at->next_of_object) {
        if (at->public.how != WHERRY_INSPECT_MAPPED)
            continue;
        if (at->public.process->pid == pid)
            return (struct process *)(uintptr_t)at->public.process;
        if (found && found != at->public.process)
            return NULL;
        found = at->public.process;
    }
    return (struct process *)(uintptr_t)found;
}

/* Who has it: the process that took it, if its descriptors may not be looked at, or who has it mapped; NULL. */
static struct process *guess_holder(const struct snapshot *snapshot, const struct object *object,
                                    const struct wherry__lock_line *line)
{
    struct process *process = line->holder.pid > 0 ? wherry__inspect_find_process(snapshot, line->holder.pid) : NULL;
    if (process && process->public.hidden)
        return process;
    return line->holder.kind == WHERRY_LOCK_POSIX && !line->lease ? NULL : only_mapper(object, line->holder.pid);
}

/* The list was read before the descriptors were looked at: `now` has what is there still. */
static void attribute(struct snapshot *snapshot, const struct listed *one, const struct lock_table *now)
{
    if (!find_line(now, &one->line))
        return;
    struct object *object = wherry__inspect_locked_object(snapshot, &one->line);
    if (!object)
        object =
            wherry__inspect_object(snapshot, WHERRY_INSPECT_FILE, SPACE_FILE, one->line.device, one->line.inode, NULL);
    if (!object)
        return;
    struct process *process = guess_holder(snapshot, object, &one->line);
    const char *detail = wherry__inspect_text(snapshot, "/proc/locks: %s", one->text);
    if (process) {
        wherry__inspect_lock_hold(object, process, &one->line.holder, one->line.lease, detail);
        return;
    }
    object->public.flags |= WHERRY_INSPECT_LOCK_UNSEEN;
    object->public.detail =
        object->public.detail[0] ? wherry__inspect_text(snapshot, "%s; %s", object->public.detail, detail) : detail;
}

int wherry__inspect_join_locks(struct snapshot *snapshot)
{
    const struct lock_table *table = snapshot->locks;
    struct lock_table *now = NULL;
    bool left = false;
    for (size_t i = 0; table && i < table->count; i++)
        left |= !table->list[i].explained; /* those who wait are among them */
    if (!table || !table->count)
        return 0;
    int result = left ? read_table(snapshot, &now) : 0;
    for (size_t i = 0; now && i < table->count; i++)
        if (!table->list[i].explained && !table->list[i].line.holder.waiting)
            attribute(snapshot, &table->list[i], now);
    if (result == 0)
        wherry__inspect_lock_waits(snapshot, now);
    return result;
}
