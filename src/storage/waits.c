/* storage/waits.c - owns the notes .wait-... in /dev/shm/wherry-UID.
 *
 * SPDX-License-Identifier: MIT */
#include "storage/waits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "storage/holders.h"

/* The namespace, the process and its beginning, the thread, the wait's number; the file; the lock.  All hexadecimal. */
#define NAME ".wait-%lx-%x-%llx-%x-%x-%llx-%llx-%x-%x-%llx-%llx"
enum { NAME_FIELDS = 11 };

static unsigned long namespace_of_pids(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 ? (unsigned long)status.st_ino : 0;
}

/* ---- reading ---- */

static bool add(struct wherry__waits *waits, const struct wherry__wait *one)
{
    if (waits->count == waits->room) {
        size_t room = wherry__size_grow(waits->room, waits->count + 1, 16, SIZE_MAX / sizeof *one);
        struct wherry__wait *list = realloc(waits->list, room * sizeof *list);
        if (!list)
            return false;
        waits->list = list;
        waits->room = room;
    }
    waits->list[waits->count++] = *one;
    return true;
}

bool wherry__wait_parse(const char *name, struct wherry__wait *ret_wait, unsigned long *ret_namespace,
                        unsigned long long *ret_began)
{
    struct wherry__wait one = {.wants = {.waiting = true}};
    unsigned pid, thread, kind, mode;
    unsigned long long device, inode, start, length;
    if (sscanf(name, NAME, ret_namespace, &pid, ret_began, &thread, &one.number, &device, &inode, &kind, &mode, &start,
               &length) != NAME_FIELDS ||
        kind > WHERRY_LOCK_FLOCK)
        return false;
    one.wants.pid = (pid_t)pid;
    one.wants.kind = (enum wherry_lock_kind)kind;
    one.wants.mode = mode == WHERRY_LOCK_SHARED ? WHERRY_LOCK_SHARED : WHERRY_LOCK_EXCLUSIVE;
    one.wants.start = start;
    one.wants.length = length;
    one.thread = (pid_t)thread;
    one.device = (dev_t)device;
    one.inode = (ino_t)inode;
    *ret_wait = one;
    return true;
}

/* One note: of another PID namespace it means nothing here; of the dead it is removed. */
static bool read_note(struct wherry__waits *waits, int directory, const char *name, unsigned long here)
{
    struct wherry__wait one;
    unsigned long namespace;
    unsigned long long began, now;
    long threads;
    if (!wherry__wait_parse(name, &one, &namespace, &began) || namespace != here)
        return true;
    if (!wherry__process_look(one.wants.pid, &now, &threads) || now != began) {
        wherry__sys.unlinkat(directory, name, 0);
        return true;
    }
    return add(waits, &one);
}

static int open_existing(void)
{
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u", (unsigned)geteuid());
    if (lstat(path, &status) != 0)
        return -errno;
    return wherry__directory_own(path, "", 0700);
}

int wherry__waits_read(struct wherry__waits *waits)
{
    int fd = open_existing();
    if (fd < 0)
        return fd;
    DIR *directory = fdopendir(fd);
    if (!directory) {
        wherry__fd_close(&fd);
        return -ENOMEM;
    }
    unsigned long here = namespace_of_pids();
    bool fine = true;
    for (struct dirent *entry; fine && (entry = readdir(directory));)
        if (strncmp(entry->d_name, ".wait-", 6) == 0)
            fine = read_note(waits, fd, entry->d_name, here);
    wherry__fd_forget(fd);
    closedir(directory);
    return fine ? 0 : -ENOMEM;
}

void wherry__waits_fini(struct wherry__waits *waits)
{
    free(waits->list);
    *waits = (struct wherry__waits){.list = NULL};
}

/* ---- leaving and removing ---- */

int wherry__wait_leave(struct wherry__wait *wait, char ret_name[static WHERRY__WAIT_NAME])
{
    static _Atomic unsigned last;
    unsigned long long began;
    long threads;
    int result = 0, directory = wherry__directory_own("lock", "", 0700);
    if (directory < 0)
        return directory;
    wait->wants.pid = getpid();
    wait->thread = (pid_t)syscall(SYS_gettid);
    wait->number = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    unsigned long here = namespace_of_pids();
    if (!wherry__process_look(wait->wants.pid, &began, &threads) || !here)
        result = -EOPNOTSUPP; /* no /proc */
    snprintf(ret_name, WHERRY__WAIT_NAME, NAME, here, (unsigned)wait->wants.pid, began, (unsigned)wait->thread,
             wait->number, (unsigned long long)wait->device, (unsigned long long)wait->inode,
             (unsigned)wait->wants.kind, (unsigned)wait->wants.mode, (unsigned long long)wait->wants.start,
             (unsigned long long)wait->wants.length);
    int fd = result < 0
                 ? result
                 : wherry__sys.openat(directory, ret_name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        wherry__sys.close(fd);
    else if (result == 0)
        result = -errno;
    wherry__fd_close(&directory);
    return result;
}

void wherry__wait_remove_note(const char *name)
{
    char path[64 + WHERRY__WAIT_NAME];
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), name);
    wherry__sys.unlinkat(AT_FDCWD, path, 0);
}
