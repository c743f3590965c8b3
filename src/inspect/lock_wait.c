/* inspect/lock_wait.c - owns who waits for a lock, and in which thread.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel lists those who wait in a call of its own, with their process but not the thread, and for OFD locks with
 * neither: then the calls are looked at in which the threads sleep that can, /proc/PID/task/TID/syscall.  wherry's own
 * locks wait in steps, and leave notes (storage/waits.h); notes are read here and never removed. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/sys.h"
#include "inspect/lock.h"
#include "storage/waits.h" /* the names of the notes */

/* ---- threads that sleep in such a call ---- */

struct sleeper {
    struct sleeper *next;
    struct process *process;
    pid_t thread;
    int fd;
    enum wherry_lock_kind kind;
    bool exclusive, ranged, taken;
    uint64_t start, length;
};

/* Those of each file on which somebody waits. */
struct sleepers {
    struct sleepers *next;
    const struct object *object;
    struct sleeper *list;
};

/* The range is in the memory of the one who waits: without it the line is matched by its kind. */
static void read_range(struct sleeper *sleeper, unsigned long address)
{
    struct flock range;
    struct iovec here = {&range, sizeof range}, there = {(void *)address, sizeof range};
    if (wherry__sys.process_vm_readv(sleeper->thread, &here, 1, &there, 1) != (ssize_t)sizeof range)
        return;
    sleeper->exclusive = range.l_type == F_WRLCK;
    sleeper->ranged = range.l_whence == SEEK_SET && range.l_start >= 0 && range.l_len >= 0;
    sleeper->start = (uint64_t)range.l_start;
    sleeper->length = (uint64_t)range.l_len;
}

/* "72 0x3 0x26 0x7ffe... ..." */
static bool parse_call(struct sleeper *sleeper, const char *text)
{
    long call;
    unsigned long fd, what, address;
    if (sscanf(text, "%ld %lx %lx %lx", &call, &fd, &what, &address) != 4)
        return false;
    sleeper->fd = (int)fd;
    if (call == SYS_flock) {
        sleeper->kind = WHERRY_LOCK_FLOCK;
        sleeper->exclusive = (what & (LOCK_SH | LOCK_EX)) == LOCK_EX;
        sleeper->ranged = true;
        return true;
    }
    if (call != SYS_fcntl || (what != F_OFD_SETLKW && what != F_SETLKW))
        return false;
    sleeper->kind = what == F_SETLKW ? WHERRY_LOCK_POSIX : WHERRY_LOCK_OFD;
    read_range(sleeper, address);
    return true;
}

static bool has_open(const struct object *object, const struct process *process, int fd)
{
    for (const struct hold *at = object->holds; at; at = at->next_of_object)
        if (at->public.process == &process->public && at->public.how == WHERRY_INSPECT_OPEN && at->public.fd == fd)
            return true;
    return false;
}

static void look_at_threads(struct sleepers *sleepers, struct process *process)
{
    char path[64], text[256];
    _Alignas(8) char entries[4096];
    struct snapshot *snapshot = process->snapshot;
    ssize_t got;
    snprintf(path, sizeof path, "/proc/%d/task", (int)process->public.pid);
    int tasks = wherry__sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (tasks < 0)
        wherry__inspect_missed(snapshot, errno);
    while (tasks >= 0 && (got = wherry__sys.getdents(tasks, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            struct sleeper one = {.process = process, .thread = (pid_t)atoi(entry->d_name)};
            at += entry->d_reclen;
            snprintf(path, sizeof path, "%.11s/syscall", entry->d_name);
            if (one.thread <= 0 || wherry__proc_read(tasks, path, text, sizeof text) <= 0 || !parse_call(&one, text) ||
                !has_open(sleepers->object, process, one.fd))
                continue;
            struct sleeper *kept = wherry__inspect_memory(snapshot, sizeof *kept);
            if (!kept)
                break;
            one.next = sleepers->list;
            *kept = one;
            sleepers->list = kept;
        }
    if (tasks >= 0)
        wherry__sys.close(tasks);
}

/* Of all processes that have it open: each once, since the holds of one stand together. */
static struct sleepers *sleepers_of(struct snapshot *snapshot, struct sleepers **all, const struct object *object)
{
    struct sleepers *sleepers = *all;
    while (sleepers && sleepers->object != object)
        sleepers = sleepers->next;
    if (sleepers || !(sleepers = wherry__inspect_memory(snapshot, sizeof *sleepers)))
        return sleepers;
    *sleepers = (struct sleepers){.next = *all, .object = object};
    *all = sleepers;
    const struct wherry_inspect_process *before = NULL;
    for (const struct hold *at = object->holds; at; at = at->next_of_object)
        if (at->public.how == WHERRY_INSPECT_OPEN && at->public.process != before) {
            before = at->public.process;
            look_at_threads(sleepers, (struct process *)(uintptr_t)before);
        }
    return sleepers;
}

static struct sleeper *match(struct sleepers *sleepers, const struct wherry_lock_holder *wants)
{
    for (struct sleeper *one = sleepers->list; one; one = one->next)
        if (!one->taken && one->kind == wants->kind && (wants->pid <= 0 || one->process->public.pid == wants->pid) &&
            (!one->ranged || (one->exclusive == (wants->mode == WHERRY_LOCK_EXCLUSIVE) &&
                              one->start == wants->start && one->length == wants->length)))
            return one;
    return NULL;
}

/* Who waits for a lease to be given back does so in open(2) or truncate(2), with no descriptor yet. */
static void note_waiter(struct snapshot *snapshot, struct sleepers **all, const struct listed *one)
{
    const struct wherry_lock_holder *wants = &one->line.holder;
    struct object *object = wherry__inspect_locked_object(snapshot, &one->line);
    struct sleepers *sleepers = object && !one->line.lease ? sleepers_of(snapshot, all, object) : NULL;
    struct sleeper *sleeper = sleepers ? match(sleepers, wants) : NULL;
    struct process *process = sleeper          ? sleeper->process
                              : wants->pid > 0 ? wherry__inspect_find_process(snapshot, wants->pid)
                                               : NULL;
    if (!object || !process) /* it began or ended since; those that may not be looked at are counted already */
        return;
    struct wherry_inspect_hold *hold = wherry__inspect_lock_hold(
        object, process, wants, one->line.lease, wherry__inspect_text(snapshot, "/proc/locks: %s", one->text));
    if (!hold || !sleeper)
        return;
    sleeper->taken = true;
    hold->thread = sleeper->thread;
    hold->fd = sleeper->fd;
}

/* ---- wherry's own ---- */

static void note_note(struct snapshot *snapshot, uid_t uid, const char *name)
{
    struct wherry__wait wait;
    unsigned long space;
    unsigned long long began;
    if (!wherry__wait_parse(name, &wait, &space, &began) || space != snapshot->pid_space)
        return;
    struct process *process = wherry__inspect_find_process(snapshot, wait.wants.pid);
    struct object *object = wherry__inspect_known(snapshot, SPACE_FILE, wait.device, wait.inode);
    if (!process || !object || process->public.start != began || process->public.uid != uid)
        return;
    struct wherry_inspect_hold *hold = wherry__inspect_lock_hold(
        object, process, &wait.wants, false, wherry__inspect_text(snapshot, "wherry_lock_take: %s", name));
    if (hold)
        hold->thread = wait.thread;
}

/* Its access time is left alone where the kernel lets us. */
static int open_notes(uid_t uid)
{
    char path[64];
    struct stat status;
    static const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u", (unsigned)uid);
    int fd = wherry__sys.openat(AT_FDCWD, path, flags | O_NOATIME, 0);
    if (fd >= 0 && (wherry__sys.fstat(fd, &status) < 0 || status.st_uid != uid)) {
        wherry__sys.close(fd);
        errno = EPERM; /* somebody else's: not believed */
        return -1;
    }
    return fd;
}

static void read_notes(struct snapshot *snapshot, uid_t uid)
{
    _Alignas(8) char entries[8192];
    ssize_t got;
    int fd = open_notes(uid);
    if (fd < 0 && errno != EACCES && errno != EPERM && errno != ENOTDIR && errno != ELOOP)
        wherry__inspect_missed(snapshot, errno);
    while (fd >= 0 && (got = wherry__sys.getdents(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            at += entry->d_reclen;
            note_note(snapshot, uid, entry->d_name);
        }
    if (fd >= 0)
        wherry__sys.close(fd);
}

static void read_all_notes(struct snapshot *snapshot)
{
    enum { MOST = 64 }; /* users with processes; beyond that, some are read twice */
    uid_t done[MOST];
    size_t count = 0, same;
    for (size_t i = 0; i < snapshot->processes.count; i++) {
        uid_t uid = snapshot->processes.list[i]->public.uid;
        for (same = 0; same < count && done[same] != uid;)
            same++;
        if (same < count || count == MOST)
            continue;
        done[count++] = uid;
        read_notes(snapshot, uid);
    }
}

void wherry__inspect_lock_waits(struct snapshot *snapshot, const struct lock_table *now)
{
    struct sleepers *all = NULL;
    for (size_t i = 0; now && i < now->count && !snapshot->failed; i++)
        if (now->list[i].line.holder.waiting)
            note_waiter(snapshot, &all, &now->list[i]);
    read_all_notes(snapshot);
}
