/* base/shm.c - owns the files in /dev/shm behind POSIX shared memory and semaphores.
 *
 * SPDX-License-Identifier: MIT */
#include "base/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/room.h"
#include "base/sys.h"
#include "base/why.h"

static int open_noted(const char *path, int flags)
{
    wherry__fd_guard();
    int fd = wherry__sys.openat(AT_FDCWD, path, flags | O_CLOEXEC, 0600);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

int wherry__mode_check(uint32_t *mode, const char *name)
{
    if (*mode & ~(uint32_t)0666)
        return wherry__fail(EINVAL, "%s: the mode is 0%o: permissions to read and write alone, at most 0666", name,
                            *mode);
    *mode = *mode ? *mode : 0600;
    return 0;
}

int wherry__owner_check(uid_t uid, bool any_owner, const char *name)
{
    if (any_owner || uid == geteuid() || uid == 0)
        return 0;
    return wherry__fail(EPERM,
                        "%s: belongs to uid %u, who may have put it there for you to find; "
                        "have it removed, or allow any owner (any_owner, --any-owner)",
                        name, (unsigned)uid);
}

int wherry__shm_make(struct wherry__naming *ret, const char *path, mode_t mode, const char *name)
{
    int result = wherry__naming_begin(ret, AT_FDCWD, path, mode);
    return result == 0 ? 0 : wherry__naming_fail(-result, path, name);
}

static int no_room(uint64_t length, const char *name)
{
    return wherry__fail(ENOSPC, "%s: no room for %llu bytes in /dev/shm (df /dev/shm)", name,
                        (unsigned long long)length);
}

/* The kernel refuses at once what can never be had, but not when it is asked for in pieces: those would take all of the
 * machine's memory first, and it may kill any process to find more.  A memfd has no file system that is ever full. */
static int check_room(int fd, uint64_t from, uint64_t length, const char *name)
{
    struct statfs room;
    struct stat status;
    struct sysinfo memory;
    uint64_t more = length > from ? length - from : 0;
    if (from == 0 && wherry__sys.fstat(fd, &status) == 0) /* what it has already */
        more -= (uint64_t)status.st_blocks < more / 512 ? (uint64_t)status.st_blocks * 512 : more;
    if (wherry__sys.fstatfs(fd, &room) == 0 && room.f_blocks > 0 &&
        more / (uint64_t)room.f_bsize > (uint64_t)room.f_bfree)
        return no_room(length, name);
    if (sysinfo(&memory) == 0 && more / memory.mem_unit > (uint64_t)memory.totalram + memory.totalswap)
        return wherry__fail(ENOSPC, "%s: %llu bytes are more than this machine has memory", name,
                            (unsigned long long)length);
    return 0;
}

static int reserve(int fd, int mode, uint64_t from, uint64_t length, const char *name)
{
    int result = check_room(fd, from, length, name);
    if (result < 0)
        return result;
    result = wherry__room_reserve(fd, mode, from, length);
    if (result == -ENOSPC)
        return no_room(length, name);
    return result == 0 ? 0
                       : wherry__fail_errno(-result, "%s: %llu bytes cannot be reserved", name,
                                            (unsigned long long)length);
}

int wherry__shm_reserve(int fd, uint64_t from, uint64_t length, const char *name)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < length)
        return wherry__fail(EFBIG, "%s: %llu bytes are more than this process may put into a file (ulimit -f)", name,
                            (unsigned long long)length); /* else the kernel sends SIGXFSZ */
    return reserve(fd, 0, from, length, name);
}

int wherry__shm_reserve_all(int fd, uint64_t length, const char *name)
{
    return reserve(fd, FALLOC_FL_KEEP_SIZE, 0, length, name);
}

int wherry__shm_link(struct wherry__naming *naming, const char *path, const char *name)
{
    int result = wherry__naming_end(naming, AT_FDCWD, path);
    return result == 0 || result == -EEXIST ? result : wherry__naming_fail(-result, path, name);
}

static int check_kind(const struct stat *status, const char *path, const char *name)
{
    const char *what = S_ISREG(status->st_mode)    ? NULL
                       : S_ISLNK(status->st_mode)  ? "a symbolic link"
                       : S_ISDIR(status->st_mode)  ? "a directory"
                       : S_ISFIFO(status->st_mode) ? "a FIFO"
                                                   : "no regular file";
    return what ? wherry__fail(EBADF, "%s: %s is %s; use another name", name, path, what) : 0;
}

int wherry__shm_look(const char *path, struct stat *ret_status, const char *name)
{
    struct stat status;
    if (wherry__sys.fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? wherry__fail(ENOENT, "%s: there is none", name)
                               : wherry__fail_errno(errno, "%s: %s cannot be looked at", name, path);
    int result = check_kind(&status, path, name);
    if (result == 0)
        *ret_status = status;
    return result;
}

/* Why it could not be opened: looked at only now, since what there is may change at any time. */
static int cannot_open(int code, const char *path, bool write, bool any_owner, const char *name)
{
    struct stat status = {0};
    int result = code == ENOENT ? -ENOENT : wherry__shm_look(path, &status, name);
    if (result == 0)
        result = wherry__owner_check(status.st_uid, any_owner, name);
    if (result < 0)
        return result;
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: belongs to uid %u, and its mode 0%o does not let this process %s it", name,
                            (unsigned)status.st_uid, (unsigned)(status.st_mode & 0777), write ? "write" : "read");
    return wherry__fail_errno(code, "%s: %s cannot be opened", name, path);
}

int wherry__shm_open(const char *path, bool write, bool any_owner, struct stat *ret_status, const char *name)
{
    struct stat status;
    /* O_NONBLOCK: a FIFO that somebody put there holds nobody up */
    int fd = open_noted(path, (write ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return cannot_open(-fd, path, write, any_owner, name);
    int result = wherry__sys.fstat(fd, &status) == 0 ? 0 : wherry__fail_errno(errno, "%s: cannot be looked at", name);
    if (result == 0)
        result = check_kind(&status, path, name);
    if (result == 0)
        result = wherry__owner_check(status.st_uid, any_owner, name);
    if (result < 0) {
        wherry__fd_close(&fd);
        return result;
    }
    *ret_status = status;
    return fd;
}

int wherry__shm_remove(const char *path, const char *name)
{
    struct stat status = {0};
    int result = wherry__shm_look(path, &status, name);
    if (result < 0)
        return result;
    if (wherry__sys.unlinkat(AT_FDCWD, path, 0) == 0)
        return 0;
    if (errno == ENOENT)
        return wherry__fail(ENOENT, "%s: there is none", name);
    return wherry__fail_errno(errno, "%s: belongs to uid %u, and cannot be removed", name, (unsigned)status.st_uid);
}
