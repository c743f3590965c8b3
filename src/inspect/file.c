/* inspect/file.c - owns files that processes share: mapped shared, or with locks on them (lock.c), or asked for.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/describe.h"
#include "inspect/lock.h"

static int list(struct snapshot *snapshot)
{
    if (snapshot->file_inode &&
        !S_ISSOCK(snapshot->file_mode)) { /* a socket's file is not what the socket is known by */
        bool fifo = S_ISFIFO(snapshot->file_mode);
        struct object *object =
            wherry__inspect_object(snapshot, fifo ? WHERRY_INSPECT_FIFO : WHERRY_INSPECT_FILE, SPACE_FILE,
                                   snapshot->file_device, snapshot->file_inode, NULL);
        if (object && !object->public.name[0])
            object->public.name =
                wherry__inspect_text(snapshot, "%s%s", fifo ? "fifo:" : "", snapshot->options.file);
    }
    return wherry__inspect_list_locks(snapshot);
}

/* What is known of a file's status decides whether it is deleted; else what stands behind its name, if that is not a
 * part of it. */
static void describe_mapped(struct mapping *mapping, struct object *object, const struct statx *status)
{
    struct snapshot *snapshot = mapping->snapshot;
    bool deleted = mapping->deleted;
    object->public.name = wherry__inspect_text(snapshot, "%s%s", mapping->path, deleted ? " (deleted)" : "");
    if (deleted && wherry__called_deleted(snapshot, mapping->process, object->public.name, object->a, object->b))
        deleted = false;
    else if (deleted) {
        char path[PATH_MAX];
        bool found = strlen(mapping->path) < sizeof path && (!status || status->stx_nlink) &&
                     wherry__find_linked_name(snapshot, mapping->process, strcpy(path, mapping->path), sizeof path,
                                              object->a, object->b);
        deleted = !found;
        object->public.name = wherry__inspect_text(snapshot, "%s", found ? path : mapping->path);
    }
    if (status)
        wherry__describe_status(object, status); /* it may have another name left */
    else if (deleted)
        object->public.flags |= WHERRY_INSPECT_DELETED;
}

/* Some file systems (btrfs) show one device to stat(2) and another here: the first is what descriptors are known by. */
static bool mapped(struct mapping *mapping)
{
    struct statx status;
    if (!mapping->inode || mapping->path[0] != '/' || (mapping->deleted && strcmp(mapping->path, "/[aio]") == 0))
        return false; /* io_setup(2) has a ring that nobody shares */
    struct object *object =
        wherry__inspect_known(mapping->snapshot, SPACE_FILE, mapping->device, mapping->inode);
    bool told = (!object || !object->public.name[0]) && wherry__mapping_status(mapping, &status);
    if (!object)
        object = wherry__inspect_object(
            mapping->snapshot, WHERRY_INSPECT_FILE, SPACE_FILE,
            told ? wherry__device(status.stx_dev_major, status.stx_dev_minor) : mapping->device,
            told ? status.stx_ino : mapping->inode, NULL);
    if (!object)
        return true;
    if (!object->public.name[0])
        describe_mapped(mapping, object, told ? &status : NULL);
    wherry__mapping_hold(mapping, object, WHERRY_INSPECT_MAPPED);
    return true;
}

/* Asked for only now, since few candidates come to anything.  A file that was only mapped when it was seen may not be
 * described yet. */
static void look_again(struct object *object, struct wherry_inspect_hold *hold, bool remote)
{
    struct statx status;
    char path[64];
    const struct process *process = (const void *)hold->process;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)(hold->thread ? hold->thread : process->table), hold->fd);
    if (wherry__sys.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_MODE, &status) == 0) {
        hold->reads = status.stx_mode & 0400;
        hold->writes = status.stx_mode & 0200;
    }
    if (object->public.uid == (uid_t)-1 && !remote &&
        wherry__sys.statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME,
                          &status) == 0 &&
        wherry__device(status.stx_dev_major, status.stx_dev_minor) == object->a && status.stx_ino == object->b)
        wherry__describe_status(object, &status);
}

/* Now it is known which files are of interest: who else has them open. */
static void join_candidates(struct snapshot *snapshot)
{
    for (const struct candidate *at = snapshot->candidates; at; at = at->next) {
        struct object *object = wherry__inspect_known(snapshot, SPACE_FILE, at->device, at->inode);
        struct wherry_inspect_hold *hold =
            object ? wherry__inspect_hold(object, at->process, WHERRY_INSPECT_OPEN) : NULL;
        if (!hold)
            continue;
        hold->fd = at->fd;
        hold->thread = at->thread;
        look_again(object, hold, at->remote);
    }
}

/* What the walk did not say of it: from a path of this mount name space, if that leads to it still. */
static void describe(struct object *object)
{
    struct statx status;
    const char *path = object->public.name;
    object->public.device = object->a;
    object->public.inode = object->b;
    object->public.flags |= WHERRY_INSPECT_TRACKED;
    if (!path[0]) /* nobody who may be seen has it open */
        object->public.name = path =
            wherry__inspect_text(object->snapshot, "file:[%u:%u %llu]", major((dev_t)object->a),
                                 minor((dev_t)object->a), (unsigned long long)object->b);
    if (path[0] == '/' && object->public.uid == (uid_t)-1 && !(object->public.flags & WHERRY_INSPECT_DELETED) &&
        !wherry__mounts_path_remote(object->snapshot, path) &&
        wherry__sys.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                          STATX_BASIC_STATS | STATX_BTIME, &status) == 0 &&
        wherry__device(status.stx_dev_major, status.stx_dev_minor) == object->a && status.stx_ino == object->b)
        wherry__describe_status(object, &status);
}

static int join(struct snapshot *snapshot)
{
    join_candidates(snapshot);
    int result = wherry__inspect_join_locks(snapshot);
    for (size_t i = 0; i < snapshot->objects.count; i++)
        if (snapshot->objects.list[i]->public.kind == WHERRY_INSPECT_FILE)
            describe(snapshot->objects.list[i]);
    return result;
}

const struct collector wherry__collector_file = {
    .name = "file",
    .summary = "a file that is mapped shared, or has locks or leases on it",
    .list = list,
    .mapped = mapped,
    .join = join,
};
