/* inspect/proc.c - owns the reading of files of /proc, and of one descriptor's there; proc(5).
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/snapshot.h"

int wherry__proc_read(int directory, const char *path, char *buffer, size_t size)
{
    int fd = wherry__sys.openat(directory, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t got; /* such files come whole, as far as they fit */
    do
        got = wherry__sys.read(fd, buffer, size - 1);
    while (got < 0 && errno == EINTR);
    int code = errno;
    wherry__sys.close(fd);
    buffer[got > 0 ? got : 0] = 0;
    return got < 0 ? -code : (int)got;
}

int wherry__proc_read_all(struct snapshot *snapshot, int directory, const char *path, char **ret_text,
                          size_t *ret_size)
{
    int fd = wherry__sys.openat(directory, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = wherry__proc_read_fd(snapshot, fd, ret_text, ret_size);
    wherry__sys.close(fd);
    return result;
}

int wherry__proc_read_fd(struct snapshot *snapshot, int fd, char **ret_text, size_t *ret_size)
{
    char *text = NULL;
    size_t used = 0, room = 0;
    int result = 0;
    for (;;) {
        if (room - used < 4096) { /* the kernel fills pages */
            char *more = realloc(text, room = room ? 2 * room : 16384);
            if (!more) {
                result = -ENOMEM;
                break;
            }
            text = more;
        }
        ssize_t got = wherry__sys.read(fd, text + used, room - used - 1);
        if (got > 0)
            used += (size_t)got;
        else if (got == 0 || errno != EINTR) {
            result = got < 0 ? -errno : 0;
            break;
        }
    }
    char *kept = result < 0 ? NULL : wherry__inspect_memory(snapshot, used + 1);
    if (kept)
        memcpy(kept, text, used);
    free(text);
    if (result < 0 || !kept)
        return result < 0 ? result : -ENOMEM;
    *ret_text = kept;
    *ret_size = used;
    return 0;
}

uint64_t wherry__proc_space(int directory, const char *name)
{
    char path[16] = "ns/", link[64];
    strncat(path, name, sizeof path - 4);
    ssize_t length = wherry__sys.readlinkat(directory, path, link, sizeof link - 1);
    if (length <= 0)
        return 0;
    link[length] = 0;
    const char *open = strchr(link, '[');
    return open ? strtoull(open + 1, NULL, 10) : 0;
}

/* ---- one descriptor ---- */

const char *wherry__visit_info(struct visit *visit)
{
    if (!visit->has_info) {
        char path[32] = "../fdinfo/";
        visit->has_info = true;
        strcat(path, visit->number);
        int result = wherry__proc_read(visit->directory, path, visit->info, sizeof visit->info);
        if (result < 0) {
            wherry__inspect_missed(visit->snapshot, -result);
            visit->info[0] = 0;
        }
    }
    return visit->info;
}

const char *wherry__visit_whole_info(struct visit *visit)
{
    char path[32] = "../fdinfo/", *text;
    size_t size;
    if (strlen(wherry__visit_info(visit)) < sizeof visit->info - 1)
        return visit->info;
    strcat(path, visit->number);
    int result = wherry__proc_read_all(visit->snapshot, visit->directory, path, &text, &size);
    if (result < 0)
        wherry__inspect_missed(visit->snapshot, -result);
    return result < 0 ? "" : text;
}

bool wherry__visit_number(struct visit *visit, const char *key, int base, uint64_t *ret_number)
{
    size_t length = strlen(key);
    for (const char *line = wherry__visit_info(visit); line && *line;
         line = (line = strchr(line, '\n')) ? line + 1 : NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            *ret_number = strtoull(line + length + 1, NULL, base);
            return true;
        }
    return false;
}

/* A file of a network file system is known by what the kernel has of it already: the mount, and the inode that fdinfo
 * shows since Linux 5.14. */
static bool status_without_asking(struct visit *visit, bool *ret_remote)
{
    uint64_t mount, inode;
    dev_t device;
    *ret_remote = true; /* what is not known is not asked */
    if (!wherry__visit_number(visit, "mnt_id", 10, &mount))
        return false;
    if (!wherry__mounts_find(visit->snapshot, visit->process->mount_space, visit->directory, (int)mount, &device,
                             ret_remote)) {
        *ret_remote = false; /* a mount of the kernel's own: pipes, memfds, message queues */
        return false;
    }
    if (!*ret_remote || !wherry__visit_number(visit, "ino", 10, &inode))
        return false;
    visit->status = (struct statx){.stx_mask = STATX_INO, .stx_ino = inode,
                                   .stx_dev_major = (uint32_t)(device >> 8 & 0xfff),
                                   .stx_dev_minor = (uint32_t)((device & 0xff) | (device >> 12 & 0xfff00))};
    return true;
}

bool wherry__visit_status(struct visit *visit)
{
    if (visit->has_status)
        return visit->status.stx_mask != 0;
    visit->has_status = true;
    visit->status.stx_mask = 0;
    bool remote = false;
    if (visit->remote && (visit->link[0] == '/' || !visit->link[0]) && status_without_asking(visit, &remote))
        return true;
    if (remote)
        return false;
    if (wherry__sys.statx(visit->directory, visit->number, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                          STATX_BASIC_STATS | STATX_BTIME, &visit->status) == 0)
        return visit->status.stx_mask != 0;
    visit->status.stx_mask = 0;
    wherry__inspect_missed(visit->snapshot, errno);
    return false;
}

/* The permissions of the link say how the file is open; proc_pid_fd(5). */
unsigned wherry__visit_access(struct visit *visit)
{
    struct statx status;
    if (!visit->has_access) {
        visit->has_access = true;
        visit->access = 0;
        if (wherry__sys.statx(visit->directory, visit->number, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_MODE,
                              &status) == 0)
            visit->access = (status.stx_mode & 0400 ? 4u : 0) | (status.stx_mode & 0200 ? 2u : 0);
        else
            wherry__inspect_missed(visit->snapshot, errno);
    }
    return visit->access;
}
