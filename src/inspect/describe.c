/* inspect/describe.c - owns what is the same for all objects that are files.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect/describe.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"

static int64_t nanoseconds(const struct statx_timestamp *time)
{
    return time->tv_sec * INT64_C(1000000000) + time->tv_nsec;
}

void wherry__describe_status(struct object *object, const struct statx *status)
{
    object->public.device = wherry__device(status->stx_dev_major, status->stx_dev_minor);
    object->public.inode = status->stx_ino;
    if (!(status->stx_mask & STATX_MODE))
        return; /* of a network file system, which was not asked */
    object->public.uid = status->stx_uid;
    object->public.gid = status->stx_gid;
    object->public.mode = status->stx_mode & 07777;
    object->public.size = (int64_t)status->stx_size;
    object->public.since =
        nanoseconds(status->stx_mask & STATX_BTIME ? &status->stx_btime : &status->stx_ctime);
    if (status->stx_nlink == 0)
        object->public.flags |= WHERRY_INSPECT_DELETED;
}

void wherry__describe_change(struct object *object, const struct statx *status)
{
    int64_t changed = nanoseconds(&status->stx_ctime), written = nanoseconds(&status->stx_mtime);
    if (status->stx_mask & STATX_CTIME)
        object->public.since = changed > written ? changed : written;
}

void wherry__describe(struct object *object, struct visit *visit)
{
    if (wherry__visit_status(visit))
        wherry__describe_status(object, &visit->status);
}

bool wherry__cut_deleted(char *path)
{
    static const char mark[] = " (deleted)";
    size_t length = strlen(path);
    if (length < sizeof mark || strcmp(path + length - (sizeof mark - 1), mark) != 0)
        return false;
    path[length - (sizeof mark - 1)] = 0;
    return true;
}

bool wherry__called_deleted(struct snapshot *snapshot, const struct process *process, const char *path, dev_t device,
                            uint64_t inode)
{
    struct statx status;
    return process->mount_space == snapshot->mount_space && !wherry__mounts_path_remote(snapshot, path) &&
           wherry__sys.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO,
                             &status) == 0 &&
           wherry__device(status.stx_dev_major, status.stx_dev_minor) == device && status.stx_ino == inode;
}

bool wherry__is_nameless(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] == '#' && slash[2] && !slash[2 + strspn(slash + 2, "0123456789")];
}

static bool leads_there(int directory, const char *path, dev_t device, uint64_t inode)
{
    struct statx status;
    return wherry__sys.statx(directory, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO,
                             &status) == 0 &&
           wherry__device(status.stx_dev_major, status.stx_dev_minor) == device && status.stx_ino == inode;
}

/* Not where that would change the directory's access time. */
static bool search(int directory, char *name, size_t room, dev_t device, uint64_t inode)
{
    _Alignas(8) char entries[8192];
    ssize_t got;
    while ((got = wherry__sys.getdents(directory, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            size_t length = strlen(entry->d_name);
            at += entry->d_reclen;
            if (entry->d_ino == inode && length < room && leads_there(directory, entry->d_name, device, inode)) {
                memcpy(name, entry->d_name, length + 1);
                return true;
            }
        }
    return false;
}

bool wherry__find_linked_name(struct snapshot *snapshot, const struct process *process, char *path, size_t room,
                              dev_t device, uint64_t inode)
{
    enum { MOST_SEARCHES = 64 };
    char there[PATH_MAX + 32], *slash = strrchr(path, '/');
    if (!slash || path[0] != '/' || snapshot->name_searches >= MOST_SEARCHES ||
        (wherry__mounts_remote(snapshot, process->mount_space, -1) && !wherry__begins(path, "/dev/shm/")))
        return false;
    snapshot->name_searches++;
    int length = snprintf(there, sizeof there, "/proc/%d/root%.*s", (int)process->table, (int)(slash + 1 - path), path);
    if (length >= (int)sizeof there)
        return false;
    int directory =
        wherry__sys.open(there, O_RDONLY | O_DIRECTORY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0);
    if (directory < 0)
        return false;
    bool found = leads_there(directory, slash + 1, device, inode) ||
                 search(directory, slash + 1, room - (size_t)(slash + 1 - path), device, inode);
    wherry__sys.close(directory);
    return found;
}

struct object *wherry__describe_file(struct visit *visit, enum wherry_inspect_kind kind, const char *prefix)
{
    bool is_new;
    if (!wherry__visit_status(visit))
        return NULL;
    dev_t device = wherry__device(visit->status.stx_dev_major, visit->status.stx_dev_minor);
    struct object *object =
        wherry__inspect_object(visit->snapshot, kind, SPACE_FILE, device, visit->status.stx_ino, &is_new);
    if (!object || !is_new)
        return object;
    object->public.flags = WHERRY_INSPECT_TRACKED;
    wherry__describe_status(object, &visit->status);
    char *mark = visit->link + strlen(visit->link);
    if (wherry__cut_deleted(visit->link) && !(object->public.flags & WHERRY_INSPECT_DELETED)) {
        *(mark - strlen(" (deleted)")) = ' ';
        if (!wherry__called_deleted(visit->snapshot, visit->process, visit->link, device, visit->status.stx_ino) &&
            wherry__cut_deleted(visit->link) &&
            !wherry__find_linked_name(visit->snapshot, visit->process, visit->link, sizeof visit->link, device,
                                      visit->status.stx_ino) &&
            wherry__is_nameless(visit->link))
            visit->link[0] = 0;
    }
    if (visit->link[0])
        object->public.name = wherry__inspect_text(visit->snapshot, "%s%s", prefix, visit->link);
    else /* nobody knows its name */
        object->public.name =
            wherry__inspect_text(visit->snapshot, "%s[%u:%u %llu]", prefix[0] ? prefix : "file:",
                                 visit->status.stx_dev_major, visit->status.stx_dev_minor,
                                 (unsigned long long)visit->status.stx_ino);
    return object;
}
