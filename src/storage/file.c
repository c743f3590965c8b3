/* storage/file.c - owns the opening and the making of files by name, and the reserving of room in them.
 *
 * SPDX-License-Identifier: MIT */
#include "storage/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/naming.h"
#include "base/room.h"
#include "base/sys.h"
#include "base/why.h"

static int open_noted(const char *path, int flags)
{
    wherry__fd_guard();
    int fd = wherry__sys.openat(AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

/* ---- reserving ---- */

/* Where the file system cannot reserve: zeros behind the end reserve themselves. */
static int append_zeros(int fd, uint64_t from, uint64_t to)
{
    static const char zeros[65536];
    while (from < to) {
        size_t size = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        ssize_t done = wherry__sys.pwrite(fd, zeros, size, (off_t)from);
        if (done < 0 && errno != EINTR)
            return -errno;
        from += done > 0 ? (uint64_t)done : 0;
    }
    return 0;
}

static int grow_by_writing(int fd, uint64_t size)
{
    struct stat status;
    if (wherry__sys.fstat(fd, &status) != 0)
        return -errno;
    uint64_t old = (uint64_t)status.st_size;
    int result = append_zeros(fd, old, size);
    if (result < 0)
        wherry__sys.ftruncate(fd, status.st_size);
    return result;
}

/* What is behind the end cannot be there already: the kernel is asked for all of it only when there is room, since
 * pieces that were reserved before the disk was full would stay. */
static int check_room(int fd, uint64_t from, uint64_t to)
{
    struct stat status;
    struct statfs room;
    if (wherry__sys.fstat(fd, &status) != 0)
        return -errno;
    uint64_t size = (uint64_t)status.st_size, blocks = (uint64_t)status.st_blocks * 512;
    uint64_t start = from > size ? from : size, more = to > start ? to - start : 0,
             kept = blocks > size ? blocks - size : 0;
    more -= kept < more ? kept : more;
    bool known = wherry__sys.fstatfs(fd, &room) == 0 && room.f_blocks > 0 && room.f_bsize > 0;
    return known && more / (uint64_t)room.f_bsize > (uint64_t)room.f_bfree ? -ENOSPC : 0;
}

static int grow_sparse(int fd, uint64_t size)
{
    struct stat status;
    if (wherry__sys.fstat(fd, &status) != 0)
        return -errno;
    if ((uint64_t)status.st_size >= size)
        return 0;
    return wherry__sys.ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
}

/* First with the length kept, so that a full disk leaves it as it was; then with the length, which that call makes
 * longer only: others may have gone further meanwhile. */
static int grow(int fd, uint64_t from, uint64_t size, bool sparse)
{
    if (sparse)
        return grow_sparse(fd, size);
    int result = check_room(fd, from, size);
    if (result == 0)
        result = wherry__room_reserve(fd, FALLOC_FL_KEEP_SIZE, from, size);
    if (result == 0)
        result = wherry__room_reserve(fd, 0, from, size);
    return result == -EOPNOTSUPP || result == -ENOSYS ? grow_by_writing(fd, size) : result;
}

int wherry__file_reserve(int fd, const char *name, uint64_t from, uint64_t size, bool sparse)
{
    struct rlimit limit;
    if (from >= size)
        return 0;
    if (size > INT64_MAX)
        return wherry__fail(EFBIG, "%s: no file has %llu bytes", name, (unsigned long long)size);
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < size)
        return wherry__fail(EFBIG, "%s: would have %llu bytes, and this process may make no file so large (ulimit -f)",
                            name, (unsigned long long)size); /* else the kernel sends SIGXFSZ */
    int result = grow(fd, from, size, sparse);
    if (result == -ENOSPC || result == -EDQUOT)
        return wherry__fail(-result, "%s: no room for %llu bytes (%s); make some, or ask for less", name,
                            (unsigned long long)(size - from), result == -ENOSPC ? "df" : "quota");
    return result < 0
               ? wherry__fail_errno(-result, "%s: could not be made %llu bytes long", name, (unsigned long long)size)
               : 0;
}

/* ---- making ---- */

/* Out of sight, and then named.  -EEXIST without a sentence: somebody was quicker. */
static int make(const char *path, const struct wherry__file_how *how, struct stat *ret_status)
{
    struct wherry__naming naming;
    int result = wherry__naming_begin(&naming, AT_FDCWD, path, how->mode);
    if (result < 0)
        return wherry__naming_fail(-result, path, path);
    result = wherry__file_reserve(naming.fd, path, 0, how->size, how->sparse);
    if (result == 0 && wherry__sys.fstat(naming.fd, ret_status) != 0)
        result = wherry__fail_errno(errno, "%s: could not be looked at", path);
    if (result == 0 && how->prepare)
        result = how->prepare(how->data, naming.fd);
    if (result == 0 && (result = wherry__naming_end(&naming, AT_FDCWD, path)) < 0 && result != -EEXIST)
        wherry__naming_fail(-result, path, path);
    if (result < 0) {
        wherry__naming_drop(&naming, AT_FDCWD, path);
        wherry__fd_close(&naming.fd);
    }
    return result < 0 ? result : naming.fd;
}

/* ---- opening ---- */

static int cannot_open(int code, const char *path, const struct wherry__file_how *how, const struct stat *status)
{
    if (code == ELOOP)
        return wherry__fail(ELOOP, "%s: is a symbolic link, which is not followed; name the file itself", path);
    if (code == ENOENT)
        return wherry__fail(ENOENT, "%s: there is no such file; create it, or look at the path", path);
    if ((code == EACCES || code == EPERM || code == EROFS) && how->write && status)
        return wherry__fail(code, "%s: belongs to uid %u (mode 0%o), and uid %u may not open it for writing%s; %s",
                            path, (unsigned)status->st_uid, (unsigned)status->st_mode & 07777, (unsigned)geteuid(),
                            code == EROFS ? " where it is" : "", how->no_write);
    if (code == EACCES && status)
        return wherry__fail(EACCES, "%s: belongs to uid %u (mode 0%o), and uid %u may not open it; ask its owner", path,
                            (unsigned)status->st_uid, (unsigned)status->st_mode & 07777, (unsigned)geteuid());
    return wherry__fail_errno(code, "%s: could not be opened", path);
}

/* What opening something else would do: make a FIFO's other end believe that somebody came, wind a tape back. */
static int check_type(const char *path, const struct stat *status, const struct wherry__file_how *how)
{
    if (S_ISREG(status->st_mode) || (S_ISDIR(status->st_mode) && how->directory))
        return 0;
    if (S_ISLNK(status->st_mode))
        return cannot_open(ELOOP, path, how, NULL);
    if (S_ISDIR(status->st_mode))
        return wherry__fail(EISDIR, "%s: is a directory; name a file in it", path);
    return wherry__fail(EINVAL, "%s: is no regular file; name one", path);
}

/* -ENOENT without a sentence when there is none. */
static int open_present(const char *path, const struct wherry__file_how *how, struct stat *ret_status)
{
    struct stat status;
    if (wherry__sys.fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? -ENOENT : cannot_open(errno, path, how, NULL);
    int result = check_type(path, &status, how);
    if (result < 0)
        return result;
    int fd = open_noted(path, how->write ? O_RDWR : O_RDONLY);
    if (fd < 0)
        return fd == -ENOENT ? -ENOENT : cannot_open(-fd, path, how, &status);
    if (wherry__sys.fstat(fd, ret_status) != 0)
        result = wherry__fail_errno(errno, "%s: could not be looked at", path);
    else
        result = check_type(path, ret_status, how); /* replaced meanwhile */
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

int wherry__file_open(const char *path, const struct wherry__file_how *how, struct stat *ret_status, bool *ret_made)
{
    enum { TRIES = 100 }; /* somebody makes and removes it as fast as we look */
    for (int i = 0; i < TRIES; i++) {
        int fd = open_present(path, how, ret_status);
        bool made = fd == -ENOENT && how->create;
        if (fd == -ENOENT && !made)
            return cannot_open(ENOENT, path, how, NULL);
        if (made && (fd = make(path, how, ret_status)) == -EEXIST)
            continue;
        if (fd >= 0 && ret_made)
            *ret_made = made;
        return fd;
    }
    return wherry__fail(EBUSY, "%s: others make and remove it all the time; agree on who does", path);
}

char *wherry__file_absolute(const char *path)
{
    char here[PATH_MAX], *text;
    if (path[0] == '/' || !getcwd(here, sizeof here))
        return strdup(path);
    return asprintf(&text, "%s/%s", here, path) < 0 ? NULL : text;
}
