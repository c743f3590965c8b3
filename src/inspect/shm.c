/* inspect/shm.c - owns the files of /dev/shm as a snapshot has them: which of them is what, and what it is called.
 *
 * SPDX-License-Identifier: MIT
 *
 * shm_overview(7), sem_overview(7), ring/name.h:
 *
 *     sem.NAME              posix-sem:/NAME
 *     wherry-UID/NAME       ring:NAME; ring:UID/NAME when it is another user's
 *     wherry-UID/.NAME      no object: bells, notes and locks, which are part of others or of nobody (base/maker.h)
 *     wherry-UID-shared/    no objects: the doors of rings that are memfds (ring/door.h)
 *     all else              posix-shm:/NAME, with its directories if it has any
 *
 * They are told apart by device and inode.  The name that a process has one by may be another, or gone (H70): glibc
 * makes a semaphore under a random name and links it. */
#include "inspect/shm.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "inspect/describe.h"
#include "inspect/remove.h"

#define SHM "/dev/shm/"

enum { DEEPEST = 4, PATH_ROOM = 4096 };

bool wherry__shm_is_left_over(const char *name)
{
    const char *last = strrchr(name, '/');
    last = last ? last + 1 : name;
    return wherry__begins(last, ".wherry-new-") || wherry__begins(last, WHERRY__ASIDE);
}

/* ---- names ---- */

/* What lies at /dev/shm/REST; the name in *ret_name.  False: no object. */
static bool classify(struct snapshot *snapshot, const char *rest, enum wherry_inspect_kind *ret_kind,
                     const char **ret_name)
{
    const char *prefix = "posix-shm:/";
    *ret_kind = WHERRY_INSPECT_POSIX_SHM;
    if (wherry__begins(rest, "sem.") && rest[4] && !strchr(rest, '/')) {
        *ret_kind = WHERRY_INSPECT_POSIX_SEM;
        prefix = "posix-sem:/";
        rest += 4;
    } else if (wherry__begins(rest, "wherry-") && isdigit((unsigned char)rest[7])) {
        char *end;
        unsigned long uid = strtoul(rest + 7, &end, 10);
        if (wherry__begins(end, "-shared/"))
            return false;
        if (end[0] == '/' && !strchr(end + 1, '/')) {
            if (end[1] == '.' && !wherry__begins(end + 1, WHERRY__ASIDE))
                return false;
            *ret_kind = WHERRY_INSPECT_RING;
            prefix = "ring:";
            rest = uid == geteuid() ? end + 1 : rest + 7;
        }
    }
    *ret_name = wherry__inspect_text(snapshot, "%s%s", prefix, rest);
    return true;
}

static struct object *make(struct snapshot *snapshot, const char *rest, dev_t device, uint64_t inode, bool *ret_new)
{
    enum wherry_inspect_kind kind;
    const char *name;
    struct object *object = NULL;
    *ret_new = false;
    if (!classify(snapshot, rest, &kind, &name) ||
        !(object = wherry__inspect_object(snapshot, kind, SPACE_FILE, device, inode, ret_new)) || !*ret_new)
        return object;
    object->public.name = name;
    object->public.device = device;
    object->public.inode = inode;
    object->public.flags = WHERRY_INSPECT_TRACKED;
    return object;
}

static void describe(struct object *object, const struct statx *status)
{
    wherry__describe_status(object, status);
    wherry__describe_change(object, status);
    if (object->public.kind == WHERRY_INSPECT_POSIX_SHM)
        object->public.used = (int64_t)status->stx_blocks * 512;
}

/* ---- what has a name in this mount name space ---- */

struct listing {
    struct snapshot *snapshot;
    size_t length; /* of the directory's path, with its slash */
    unsigned depth;
    char path[PATH_ROOM];
};

static void found(struct listing *listing, const struct statx *status)
{
    bool is_new;
    struct object *object =
        make(listing->snapshot, listing->path + strlen(SHM),
             wherry__device(status->stx_dev_major, status->stx_dev_minor), status->stx_ino, &is_new);
    if (!object || !is_new)
        return; /* another link to it */
    describe(object, status);
    object->path = wherry__inspect_text(listing->snapshot, "%s", listing->path);
    if (object->public.kind == WHERRY_INSPECT_POSIX_SEM)
        wherry__describe_semaphore(object);
    else if (object->public.kind == WHERRY_INSPECT_RING)
        wherry__describe_ring(object);
}

static void list_directory(struct listing *listing);

static void list_entry(struct listing *listing, const struct dirent64 *entry)
{
    struct statx status;
    size_t length = strlen(entry->d_name), before = listing->length;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || before + length + 2 > PATH_ROOM ||
        (entry->d_type != DT_REG && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
        return;
    memcpy(listing->path + before, entry->d_name, length + 1);
    if ((entry->d_type != DT_REG && wherry__mounts_path_remote(listing->snapshot, listing->path)) ||
        wherry__sys.statx(AT_FDCWD, listing->path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                          STATX_BASIC_STATS | STATX_BTIME, &status) != 0)
        return;
    if (S_ISREG(status.stx_mode)) {
        found(listing, &status);
    } else if (S_ISDIR(status.stx_mode) && listing->depth < DEEPEST) {
        listing->depth++;
        listing->length += length + 1;
        strcpy(listing->path + before + length, "/");
        list_directory(listing);
        listing->length = before;
        listing->depth--;
    }
}

static int open_directory(const char *path)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK;
    int fd = wherry__sys.open(path, flags | O_NOATIME, 0);
    return fd < 0 && errno == EPERM ? wherry__sys.open(path, flags, 0) : fd; /* O_NOATIME is its owner's and root's */
}

static void list_directory(struct listing *listing)
{
    _Alignas(8) char entries[8192];
    ssize_t got;
    listing->path[listing->length] = 0;
    int fd = open_directory(listing->path);
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            wherry__inspect_hide(listing->snapshot, "directories in /dev/shm that may not be read",
                                 "run it as root, or as their user", 1);
        return;
    }
    while (!listing->snapshot->failed && (got = wherry__sys.getdents(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            at += entry->d_reclen;
            list_entry(listing, entry);
        }
    wherry__sys.close(fd);
}

int wherry__shm_list(struct snapshot *snapshot)
{
    if (snapshot->shm_listed)
        return 0;
    snapshot->shm_listed = true;
    struct listing *listing = wherry__inspect_memory(snapshot, sizeof *listing);
    if (!listing)
        return -ENOMEM;
    listing->snapshot = snapshot;
    strcpy(listing->path, SHM);
    listing->length = strlen(SHM);
    list_directory(listing);
    return snapshot->failed ? -ENOMEM : 0;
}

/* ---- what a process has of it ---- */

bool wherry__shm_file(struct visit *visit)
{
    enum wherry_inspect_kind kind;
    const char *name;
    return wherry__begins(visit->link, SHM) && visit->status.stx_mask & STATX_MODE && S_ISREG(visit->status.stx_mode) &&
           classify(visit->snapshot, visit->link + strlen(SHM), &kind, &name);
}

/* It has no name here any more, or is of another mount name space. */
void wherry__shm_descriptor(struct visit *visit)
{
    bool is_new;
    dev_t device = wherry__device(visit->status.stx_dev_major, visit->status.stx_dev_minor);
    if (wherry__cut_deleted(visit->link) && visit->status.stx_nlink)
        wherry__find_linked_name(visit->snapshot, visit->process, visit->link, sizeof visit->link, device,
                                 visit->status.stx_ino);
    struct object *object = make(visit->snapshot, visit->link + strlen(SHM), device, visit->status.stx_ino, &is_new);
    if (!object)
        return;
    if (is_new)
        describe(object, &visit->status);
    wherry__visit_hold(visit, object);
}

/* /proc/PID/map_files leads to the file itself, for root. */
static void describe_mapping(struct object *object, const struct mapping *mapping)
{
    struct statx status;
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)mapping->process->public.pid,
             (unsigned long long)mapping->start, (unsigned long long)mapping->end);
    if (wherry__sys.statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME,
                          &status) == 0 &&
        status.stx_ino == mapping->inode)
        describe(object, &status);
    else if (mapping->deleted)
        object->public.flags |= WHERRY_INSPECT_DELETED;
}

static bool is_ours(enum wherry_inspect_kind kind)
{
    return kind == WHERRY_INSPECT_POSIX_SHM || kind == WHERRY_INSPECT_POSIX_SEM || kind == WHERRY_INSPECT_RING;
}

bool wherry__shm_mapped(struct mapping *mapping)
{
    bool is_new = false;
    struct object *object =
        wherry__inspect_known(mapping->snapshot, SPACE_FILE, mapping->device, mapping->inode);
    if (object ? !is_ours(object->public.kind) : !mapping->inode || !wherry__begins(mapping->path, SHM))
        return false;
    char path[PATH_MAX];
    if (!object && mapping->deleted && strlen(mapping->path) < sizeof path &&
        wherry__find_linked_name(mapping->snapshot, mapping->process, strcpy(path, mapping->path), sizeof path,
                                 mapping->device, mapping->inode)) {
        mapping->path = path;
        mapping->deleted = false;
    }
    if (!object && !(object = make(mapping->snapshot, mapping->path + strlen(SHM), mapping->device, mapping->inode,
                                   &is_new)))
        return false;
    if (is_new)
        describe_mapping(object, mapping);
    wherry__mapping_hold(mapping, object, WHERRY_INSPECT_MAPPED);
    return true;
}
