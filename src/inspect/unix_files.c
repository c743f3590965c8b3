/* inspect/unix_files.c - owns the search for socket files that no socket is bound to any more.
 *
 * SPDX-License-Identifier: MIT
 *
 * A socket that ends leaves its file, and the next one cannot be bound there (H12).  Looked through are the places
 * where such files usually lie, two directories deep, on one file system each, and no more than MOST entries in all.
 * A file is told from a live one by device and inode, as the kernel lists those of bound sockets; one that changed
 * since the lists were read may belong to a socket that is not in them, and is left out. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/describe.h"
#include "inspect/remove.h"
#include "inspect/sockets.h"

enum { DEPTH = 2, MOST = 50000, SLOTS = 4096 };

static const int64_t SLACK = 50000000; /* ns: the clock of files goes in steps */

struct bound {
    struct bound *same_inode, *same_name; /* slot of a hash table */
    const struct end *end;
};

struct search {
    struct snapshot *snapshot;
    struct bound *by_inodes[SLOTS], *by_names[SLOTS];
    bool no_inodes; /* in some lists */
    size_t looked_at;
    uint32_t major, minor; /* of the place that is looked through */
    char path[4096];
};

static size_t name_slot(const char *name)
{
    uint32_t hash = 2166136261;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619;
    return hash % SLOTS;
}

static bool index_bound(struct search *search)
{
    for (const struct end *end = wherry__sockets(search->snapshot)->local; end; end = end->next) {
        const char *name = end->object->public.name;
        search->no_inodes |= end->net->no_peers;
        if (!end->local.inode && !wherry__begins(name, "unix:/"))
            continue;
        struct bound *bound = wherry__inspect_memory(search->snapshot, sizeof *bound);
        if (!bound)
            return false;
        struct bound **by_inode = &search->by_inodes[end->local.inode % SLOTS];
        struct bound **by_name = &search->by_names[name_slot(name)];
        *bound = (struct bound){*by_inode, *by_name, end};
        *by_inode = *by_name = bound;
    }
    return true;
}

/* The kernel's list has the lower 32 bits of the inode.  By the path, too, where the file system gives its files
 * another device than the kernel lists (btrfs, overlayfs), and for lists without inodes. */
static bool is_bound(struct search *search, const struct statx *status, const char *name)
{
    const struct bound *bound = search->by_inodes[(uint32_t)status->stx_ino % SLOTS];
    while (bound && !wherry__unix_bound_to(bound->end->object, status))
        bound = bound->same_inode;
    if (bound)
        return true;
    uint32_t device = status->stx_dev_major << 20 | status->stx_dev_minor;
    for (bound = search->by_names[name_slot(name)]; bound; bound = bound->same_name)
        if (strcmp(bound->end->object->public.name, name) == 0 && bound->end->local.device != device)
            return true;
    return false;
}

/* Whose directory only wherry makes; ring/door_state.h. */
bool wherry__unix_is_door(const struct object *object)
{
    char directory[60];
    snprintf(directory, sizeof directory, "/dev/shm/wherry-%u-shared/", (unsigned)object->public.uid);
    return wherry__begins(object->path, directory);
}

/* A file "NAME.lock" beside it would prove nothing: wherry's is empty, and so are those of others (Wayland). */
static bool is_wherrys(const struct object *object, const char *name)
{
    return wherry__unix_is_door(object) || wherry__begins(name, WHERRY__ASIDE);
}

static void look_at_socket(struct search *search, int directory, const char *name)
{
    struct statx status;
    if (wherry__sys.statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                          STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &status) < 0 ||
        !S_ISSOCK(status.stx_mode) ||
        status.stx_ctime.tv_sec * INT64_C(1000000000) + status.stx_ctime.tv_nsec >=
            wherry__sockets(search->snapshot)->began - SLACK)
        return;
    const char *text = wherry__inspect_text(search->snapshot, "unix:%s", search->path);
    if (is_bound(search, &status, text))
        return;
    bool is_new;
    struct object *object =
        wherry__inspect_object(search->snapshot, WHERRY_INSPECT_UNIX, SPACE_FILE,
                               wherry__device(status.stx_dev_major, status.stx_dev_minor), status.stx_ino, &is_new);
    if (!object || !is_new)
        return;
    wherry__describe_status(object, &status);
    object->public.size = -1;
    object->public.flags |= WHERRY_INSPECT_TRACKED;
    object->public.name = text;
    object->path = text + strlen("unix:");
    object->public.detail = "a socket's file";
    if (is_wherrys(object, name))
        object->public.flags |= WHERRY_INSPECT_OWNER_DEAD;
    if (search->no_inodes || !wherry__mounts_plain(search->snapshot, &status))
        object->data = object; /* unix.c: it stays unknown */
}

static int open_directory(int directory, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = wherry__sys.openat(directory, name, flags | O_NOATIME, 0);
    return fd < 0 && errno == EPERM ? wherry__sys.openat(directory, name, flags, 0) : fd; /* another's: no choice */
}

static void look_through(struct search *search, int directory, size_t length, int depth);

static void look_at(struct search *search, int directory, const struct dirent64 *entry, size_t length, int depth)
{
    struct statx status;
    size_t size = strlen(entry->d_name);
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || length + 1 + size >= sizeof search->path)
        return;
    search->path[length] = '/';
    memcpy(search->path + length + 1, entry->d_name, size + 1);
    if (entry->d_type == DT_SOCK || entry->d_type == DT_UNKNOWN)
        look_at_socket(search, directory, entry->d_name);
    if ((entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) || depth == 0 ||
        wherry__sys.statx(directory, entry->d_name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                          STATX_TYPE, &status) < 0 ||
        !S_ISDIR(status.stx_mode) || status.stx_dev_major != search->major || status.stx_dev_minor != search->minor)
        return;
    int fd = open_directory(directory, entry->d_name);
    if (fd < 0)
        return;
    look_through(search, fd, length + 1 + size, depth - 1);
    wherry__sys.close(fd);
}

static void look_through(struct search *search, int directory, size_t length, int depth)
{
    _Alignas(8) char entries[4096];
    ssize_t got;
    while ((got = wherry__sys.getdents(directory, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            at += entry->d_reclen;
            if (search->looked_at++ == MOST || search->snapshot->failed) {
                search->looked_at = MOST;
                return;
            }
            look_at(search, directory, entry, length, depth);
        }
}

static void look_beneath(struct search *search, const char *place)
{
    struct statx status;
    if (strlen(place) >= sizeof search->path || place[0] != '/' ||
        wherry__mounts_path_remote(search->snapshot, place) ||
        wherry__sys.statx(AT_FDCWD, place, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE,
                          &status) < 0 ||
        !S_ISDIR(status.stx_mode))
        return;
    int fd = open_directory(AT_FDCWD, place);
    if (fd < 0)
        return;
    strcpy(search->path, place);
    search->major = status.stx_dev_major;
    search->minor = status.stx_dev_minor;
    look_through(search, fd, strlen(place), DEPTH);
    wherry__sys.close(fd);
}

void wherry__unix_files(struct snapshot *snapshot)
{
    static const char *const places[] = {"/run", "/var/run", "/tmp", "/dev/shm"};
    struct search *search = wherry__inspect_memory(snapshot, sizeof *search);
    if (!search)
        return;
    search->snapshot = snapshot;
    if (!index_bound(search))
        return;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        look_beneath(search, places[i]);
    const char *own = getenv("XDG_RUNTIME_DIR");
    if (own)
        look_beneath(search, own);
}
