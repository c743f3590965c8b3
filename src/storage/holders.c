/* storage/holders.c - owns the list of who holds locks on a file: what the kernel's lists say, put together.
 *
 * SPDX-License-Identifier: MIT */
#include "storage/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/locks.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/waits.h"

bool wherry__holders_add(struct wherry__holders *holders, const struct wherry_lock_holder *one)
{
    if (holders->count == holders->room) {
        size_t room = wherry__size_grow(holders->room, holders->count + 1, 16, SIZE_MAX / sizeof *one);
        struct wherry_lock_holder *list = realloc(holders->list, room * sizeof *list);
        if (!list)
            return false;
        holders->list = list;
        holders->room = room;
    }
    holders->list[holders->count++] = *one;
    return true;
}

void wherry__holders_fini(struct wherry__holders *holders)
{
    free(holders->list);
    *holders = (struct wherry__holders){.list = NULL};
}

/* ---- putting together ---- */

static bool is_explained(const struct wherry__holders *holders, const struct wherry_lock_holder *one)
{
    for (size_t i = 0; i < holders->count; i++) {
        const struct wherry_lock_holder *other = &holders->list[i];
        if (!other->waiting && other->kind == one->kind && other->mode == one->mode && other->start == one->start &&
            other->length == one->length)
            return true;
    }
    return false;
}

/* A lock that no descriptor explained: of a process that may not be looked at, or just given back.  flock's process is
 * told, though another may hold the lock by now. */
static bool add_unexplained(struct wherry__holders *holders, const struct wherry__holders *open_files)
{
    unsigned long long start;
    long threads;
    for (size_t i = 0; i < open_files->count; i++) {
        struct wherry_lock_holder one = open_files->list[i];
        if (is_explained(holders, &one))
            continue;
        if (one.pid <= 0 || !wherry__process_look(one.pid, &start, &threads))
            one.pid = 0;
        holders->partial |= one.pid == 0;
        if (!wherry__holders_add(holders, &one))
            return false;
    }
    return true;
}

/* One look: classic locks and those who wait into `holders`, locks of open files into `open_files`. */
static int read_kernel_list(struct wherry__holders *holders, struct wherry__holders *open_files, dev_t device,
                            ino_t inode, unsigned flags)
{
    struct wherry__lock_line line;
    bool fine = true;
    char *text;
    int result = wherry__locks_read(&text);
    if (result < 0)
        return result == -ENOMEM ? -ENOMEM : -EOPNOTSUPP;
    for (char *rest = text; fine && wherry__lock_line_next(&rest, &line);) {
        if (!wherry__lock_line_is(&line, device, inode) || (line.holder.waiting && !(flags & WHERRY__HOLDERS_WAITING)))
            continue;
        bool of_open_file = line.holder.kind != WHERRY_LOCK_POSIX && !line.holder.waiting;
        if (line.holder.pid < 0 && line.holder.waiting)
            line.holder.pid = 0, holders->partial = true;
        fine = wherry__holders_add(of_open_file ? open_files : holders, &line.holder);
    }
    free(text);
    return fine ? 0 : -ENOMEM;
}

static int find_once(struct wherry__holders *holders, dev_t device, ino_t inode, unsigned flags)
{
    struct wherry__holders open_files = {.list = NULL};
    int result = read_kernel_list(holders, &open_files, device, inode, flags);
    if (result == 0 && open_files.count &&
        !(wherry__holders_of_descriptors(holders, device, inode) && add_unexplained(holders, &open_files)))
        result = -ENOMEM;
    wherry__holders_fini(&open_files);
    return result;
}

static bool add_notes(struct wherry__holders *holders, dev_t device, ino_t inode)
{
    struct wherry__waits waits = {.list = NULL};
    bool fine = true;
    if (wherry__waits_read(&waits) < 0)
        return true; /* best effort */
    for (size_t i = 0; i < waits.count && fine; i++)
        if (waits.list[i].device == device && waits.list[i].inode == inode)
            fine = wherry__holders_add(holders, &waits.list[i].wants);
    wherry__waits_fini(&waits);
    return fine;
}

int wherry__holders_find(struct wherry__holders *holders, dev_t device, ino_t inode, unsigned flags)
{
    enum { LOOKS = 3 }; /* a lock that was given back between the two lists has no process in the second */
    int result = 0;
    for (int i = 0; i < LOOKS; i++) {
        wherry__holders_fini(holders);
        result = find_once(holders, device, inode, flags);
        if (result < 0 || !holders->partial)
            break;
    }
    if (result == 0 && (flags & WHERRY__HOLDERS_WAITING) && !add_notes(holders, device, inode))
        result = -ENOMEM;
    return result;
}

/* ---- for users ---- */

static void read_command(struct wherry_lock_holder *holder)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)holder->pid);
    int fd = holder->pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size = fd >= 0 ? read(fd, holder->command, sizeof holder->command - 1) : 0;
    if (fd >= 0)
        close(fd);
    holder->command[size > 0 ? size : 0] = '\0';
    holder->command[strcspn(holder->command, "\n")] = '\0';
}

int wherry_lock_holders(const char *path, struct wherry_lock_holder *ret_holders, size_t capacity, size_t holder_size,
                        bool *ret_partial)
{
    struct wherry__holders holders = {.list = NULL};
    struct stat status;
    if (!path || !path[0])
        return wherry__fail(EINVAL, "whose locks? the path of a file is needed");
    if (holder_size == 0 && capacity > 0)
        return wherry__fail(EINVAL, "%s: holder_size is 0; it is sizeof(struct wherry_lock_holder)", path);
    if (wherry__sys.fstatat(AT_FDCWD, path, &status, 0) != 0)
        return wherry__fail_errno(errno, "%s: cannot be looked at", path);
    int result = wherry__holders_find(&holders, status.st_dev, status.st_ino, WHERRY__HOLDERS_WAITING);
    for (size_t i = 0; result == 0 && i < holders.count && i < capacity; i++) {
        read_command(&holders.list[i]);
        memcpy((char *)ret_holders + i * holder_size, &holders.list[i],
               wherry__size_min(holder_size, sizeof *ret_holders));
    }
    if (result == 0 && ret_partial)
        *ret_partial = holders.partial;
    int count = (int)wherry__size_min(holders.count, INT32_MAX);
    wherry__holders_fini(&holders);
    if (result == -EOPNOTSUPP)
        return wherry__fail(EOPNOTSUPP, "%s: who locks files stands in /proc/locks, which cannot be read; mount /proc",
                            path);
    return result < 0 ? wherry__fail(-result, "%s: no memory", path) : count;
}
