/* inspect/mounts.c - owns what is known of the mounts of each mount name space: which lie on a network, or on a program
 * (FUSE), and may hang whoever asks them; proc_pid_mountinfo(5).
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "inspect/snapshot.h"

struct mount {
    int id;
    dev_t device;
    bool remote;
    const char *type, *point;
    const char *upper; /* of an overlay: where its files lie in fact; NULL */
};

struct mount_space {
    struct mount_space *next;
    uint64_t space;
    bool remote; /* one of them is */
    struct mount *list;
    size_t count;
};

/* File systems whose answers come from elsewhere. */
static bool is_remote(const char *type)
{
    static const char *const types[] = {"nfs",  "nfs4",   "cifs", "smb3", "smbfs", "9p",   "ceph", "afs",
                                        "coda", "lustre", "gpfs", "ocfs2", "gfs2", "beegfs", "orangefs", "ncpfs"};
    if (strncmp(type, "fuse", 4) == 0 && strcmp(type, "fusectl") != 0)
        return true;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

/* "\040" and its like are bytes. */
static void unescape(char *text)
{
    char *to = text;
    for (; *text; text++)
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
            *to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 3;
        } else {
            *to++ = *text;
        }
    *to = 0;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
/* "...,upperdir=/a/path,..." of an overlay's options. */
static const char *upper_of(char *options)
{
    static const char key[] = "upperdir=";
    char *upper = strstr(options, key);
    if (!upper)
        return NULL;
    upper += sizeof key - 1;
    upper[strcspn(upper, ", ")] = 0;
    unescape(upper);
    return upper;
}

static void parse(struct snapshot *snapshot, struct mount_space *space, char *text)
{
    size_t lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    space->list = wherry__inspect_memory(snapshot, (lines + 1) * sizeof *space->list);
    char *rest, *point;
    for (char *line = strtok_r(text, "\n", &rest); line && space->list; line = strtok_r(NULL, "\n", &rest)) {
        int id, at = 0, end = 0;
        unsigned major, minor;
        char type[64];
        char *dash = strstr(line, " - ");
        if (!dash || sscanf(line, "%d %*d %u:%u %*s %n%*s%n", &id, &major, &minor, &at, &end) != 3 || !end ||
            sscanf(dash + 3, "%63s", type) != 1)
            continue;
        point = line + at;
        line[end] = 0;
        unescape(point);
        space->list[space->count] = (struct mount){id, wherry__device(major, minor), is_remote(type),
                                                    wherry__inspect_text(snapshot, "%s", type), point,
                                                    upper_of(dash)};
        space->remote |= space->list[space->count++].remote;
    }
}

static struct mount_space *find_space(struct snapshot *snapshot, uint64_t space, int directory, const char *path)
{
    struct mount_space *known = snapshot->mounts;
    while (known && known->space != space)
        known = known->next;
    if (known || !(known = wherry__inspect_memory(snapshot, sizeof *known)))
        return known;
    char *text;
    size_t size;
    *known = (struct mount_space){.next = snapshot->mounts, .space = space, .remote = true};
    if (wherry__proc_read_all(snapshot, directory, path, &text, &size) == 0) {
        known->remote = false;
        parse(snapshot, known, text);
    }
    snapshot->mounts = known;
    return known;
}

bool wherry__mounts_remote(struct snapshot *snapshot, uint64_t space, int process_directory)
{
    const struct mount_space *known = find_space(snapshot, space, process_directory, "mountinfo");
    return !known || known->remote;
}

bool wherry__mounts_find(struct snapshot *snapshot, uint64_t space, int fd_directory, int mount, dev_t *ret_device,
                         bool *ret_remote)
{
    const struct mount_space *known = find_space(snapshot, space, fd_directory, "../mountinfo");
    for (size_t i = 0; known && i < known->count; i++)
        if (known->list[i].id == mount) {
            *ret_device = known->list[i].device;
            *ret_remote = known->list[i].remote;
            return true;
        }
    return false;
}

bool wherry__mounts_plain(const struct snapshot *snapshot, const struct statx *status)
{
    const struct mount_space *known = snapshot->mounts;
    while (known && known->space != snapshot->mount_space)
        known = known->next;
    for (size_t i = 0; known && status->stx_mask & STATX_MNT_ID && i < known->count; i++)
        if (known->list[i].id == (int)status->stx_mnt_id)
            return known->list[i].device == wherry__device(status->stx_dev_major, status->stx_dev_minor);
    return false;
}

bool wherry__mounts_local(struct snapshot *snapshot, uint64_t space, int process_directory, dev_t device)
{
    const struct mount_space *known = find_space(snapshot, space, process_directory, "mountinfo");
    bool found = false;
    for (size_t i = 0; known && i < known->count; i++)
        if (known->list[i].device == device) {
            if (known->list[i].remote)
                return false;
            found = true;
        }
    return found;
}

/* The mount with the longest point; of those stacked on one point the last. */
static bool path_remote(const struct mount_space *known, const char *path)
{
    size_t longest = 0;
    bool remote = true; /* what is not known is not asked */
    for (size_t i = 0; known && i < known->count; i++) {
        const char *point = known->list[i].point;
        size_t length = strlen(point);
        if (length >= longest && strncmp(path, point, length) == 0 &&
            (path[length] == '/' || !path[length] || point[length - 1] == '/')) {
            longest = length;
            remote = known->list[i].remote;
        }
    }
    return remote;
}

bool wherry__mounts_path_remote(struct snapshot *snapshot, const char *path)
{
    return path_remote(find_space(snapshot, snapshot->mount_space, AT_FDCWD, "/proc/self/mountinfo"), path);
}

/* ---- a path, one name after the other ---- */

struct path {
    const struct mount_space *space;
    char done[PATH_MAX]; /* without a slash at its end */
    char todo[PATH_MAX];
    unsigned links;
};

/* `rest` behind what is to do first.  False: too long. */
static bool put_before(struct path *path, const char *first)
{
    char rest[PATH_MAX];
    strcpy(rest, path->todo);
    return snprintf(path->todo, sizeof path->todo, "%s%s%s", first, rest[0] ? "/" : "", rest) < (int)sizeof path->todo;
}

static bool step_to(struct path *path, const char *name, size_t length, bool *ret_remote)
{
    char link[PATH_MAX];
    size_t before = strlen(path->done);
    if (length == 0 || (length == 1 && name[0] == '.'))
        return true;
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        if (*ret_remote)
            return false; /* what was before it may be a link */
        *(before ? strrchr(path->done, '/') : path->done) = 0;
        return true;
    }
    if (snprintf(path->done + before, sizeof path->done - before, "/%.*s", (int)length, name) >=
        (int)(sizeof path->done - before))
        return false;
    if (*ret_remote || path_remote(path->space, path->done)) {
        *ret_remote = true; /* the rest is taken as it is */
        return true;
    }
    ssize_t got = wherry__sys.readlinkat(AT_FDCWD, path->done, link, sizeof link - 1);
    if (got <= 0)
        return true; /* no link; or not there, which the caller finds out */
    link[got] = 0;
    path->done[link[0] == '/' ? 0 : before] = 0;
    return path->links++ < 40 && put_before(path, link);
}

bool wherry__mounts_resolve(const struct snapshot *snapshot, const char *given, char ret_path[PATH_MAX],
                            bool *ret_remote)
{
    struct path path = {.space = snapshot->mounts};
    while (path.space && path.space->space != snapshot->mount_space)
        path.space = path.space->next;
    *ret_remote = false;
    if (!path.space || !path.space->remote || strlen(given) >= sizeof path.todo)
        return false;
    strcpy(path.todo, given);
    if (given[0] != '/' && (!getcwd(path.done, sizeof path.done) || path.done[0] != '/'))
        return *ret_remote = true, false; /* it lies outside of what is mounted here */
    if (!path.done[1])
        path.done[0] = 0;
    *ret_remote = path.done[0] && path_remote(path.space, path.done);
    bool fine = true;
    while (path.todo[0] && fine) {
        char name[PATH_MAX];
        size_t length = strcspn(path.todo, "/");
        memcpy(name, path.todo, length);
        memmove(path.todo, path.todo + length + (path.todo[length] == '/'),
                strlen(path.todo + length + (path.todo[length] == '/')) + 1);
        fine = step_to(&path, name, length, ret_remote);
    }
    strcpy(ret_path, path.done);
    return fine;
}

bool wherry__mounts_overlaid(const struct snapshot *snapshot, const char *path)
{
    for (const struct mount_space *space = snapshot->mounts; space; space = space->next)
        for (size_t i = 0; i < space->count; i++) {
            const char *upper = space->list[i].upper;
            size_t length = upper ? strlen(upper) : 0;
            if (length > 1 && strncmp(path, upper, length) == 0 && (path[length] == '/' || !path[length]))
                return true;
        }
    return false;
}

const char *wherry__mounts_of_type(struct snapshot *snapshot, const char *type)
{
    const struct mount_space *known = find_space(snapshot, snapshot->mount_space, AT_FDCWD, "/proc/self/mountinfo");
    for (size_t i = 0; known && i < known->count; i++)
        if (strcmp(known->list[i].type, type) == 0)
            return known->list[i].point;
    return NULL;
}
