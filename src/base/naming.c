/* base/naming.c - owns the making of files out of sight, how they get their names, and why they do not.
 *
 * SPDX-License-Identifier: MIT */
#include "base/naming.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

enum { LINK = 40 };

static int open_noted(int at, const char *path, int flags, mode_t mode)
{
    wherry__fd_guard();
    int fd = wherry__sys.openat(at, path, flags | O_CLOEXEC, mode);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

/* The path up to the name, and `last` instead of that. */
static bool beside(const char *path, const char *last, char result[static PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) + 1 : 0;
    if (size + strlen(last) >= PATH_MAX)
        return false;
    memcpy(result, path, size);
    strcpy(result + size, last);
    return true;
}

static bool hidden_path(uint64_t number, const char *path, char result[static PATH_MAX])
{
    char last[40];
    snprintf(last, sizeof last, ".wherry-new-%016llx", (unsigned long long)number);
    return beside(path, last, result);
}

static const char *link_of(int fd, char link[static LINK])
{
    snprintf(link, LINK, "/proc/self/fd/%d", fd);
    return link;
}

/* A nameless file that can be given a name: -EOPNOTSUPP when there is no such thing here. */
static int open_nameless(int at, const char *path, mode_t mode)
{
    char directory[PATH_MAX], link[LINK];
    struct stat status;
    if (!beside(path, ".", directory)) /* the directory may be behind a symbolic link: that is its owner's affair */
        return -ENAMETOOLONG;
    int fd = open_noted(at, directory, O_TMPFILE | O_RDWR, mode);
    if (fd == -EISDIR) /* before Linux 3.11 */
        return -EOPNOTSUPP;
    if (fd < 0 || wherry__sys.fstatat(AT_FDCWD, link_of(fd, link), &status, AT_SYMLINK_NOFOLLOW) == 0)
        return fd;
    wherry__fd_close(&fd);
    return -EOPNOTSUPP;
}

static int open_hidden(struct wherry__naming *naming, int at, const char *path, mode_t mode)
{
    char hidden[PATH_MAX];
    if (getrandom(&naming->hidden, sizeof naming->hidden, 0) != sizeof naming->hidden)
        return -EIO;
    naming->hidden |= 1; /* 0 says that there is none */
    if (!hidden_path(naming->hidden, path, hidden))
        return -ENAMETOOLONG;
    return open_noted(at, hidden, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, mode);
}

int wherry__naming_begin(struct wherry__naming *ret, int at, const char *path, mode_t mode)
{
    struct wherry__naming naming = {.hidden = 0};
    naming.fd = open_nameless(at, path, mode);
    if (naming.fd == -EOPNOTSUPP)
        naming.fd = open_hidden(&naming, at, path, mode);
    if (naming.fd < 0)
        return naming.fd;
    if (wherry__sys.fchmod(naming.fd, mode) != 0) { /* whatever the umask took away */
        int code = errno;
        wherry__naming_drop(&naming, at, path);
        wherry__fd_close(&naming.fd);
        return -code;
    }
    *ret = naming;
    return 0;
}

void wherry__naming_drop(struct wherry__naming *naming, int at, const char *path)
{
    char hidden[PATH_MAX];
    if (naming->hidden && hidden_path(naming->hidden, path, hidden))
        wherry__sys.unlinkat(at, hidden, 0);
    naming->hidden = 0;
}

static int rename_hidden(struct wherry__naming *naming, int at, const char *from, const char *path)
{
    if (wherry__sys.renameat2(at, from, at, path, RENAME_NOREPLACE) == 0) {
        naming->hidden = 0;
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP ? -EMLINK : -errno;
}

int wherry__naming_end(struct wherry__naming *naming, int at, const char *path)
{
    char from[PATH_MAX], link[LINK];
    int result;
    if (!naming->hidden)
        result = wherry__sys.linkat(AT_FDCWD, link_of(naming->fd, link), at, path, AT_SYMLINK_FOLLOW);
    else if (hidden_path(naming->hidden, path, from))
        result = wherry__sys.linkat(at, from, at, path, 0);
    else
        return -ENAMETOOLONG;
    if (result != 0 && (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS)) /* has no hard links */
        return naming->hidden ? rename_hidden(naming, at, from, path) : -EMLINK;
    if (result != 0)
        return -errno;
    wherry__naming_drop(naming, at, path);
    return 0;
}

int wherry__naming_sync(int at, const char *path)
{
    char directory[PATH_MAX];
    if (!beside(path, ".", directory))
        return -ENAMETOOLONG;
    int fd = open_noted(at, directory, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int result = wherry__sys.fsync(fd) == 0 || errno == EINVAL ? 0 : -errno; /* EINVAL: has no disk */
    wherry__fd_close(&fd);
    return result;
}

/* ---- why not ---- */

static const char shm[] = "/dev/shm";

static int say_shm(int code, const char *path, const char *name)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return wherry__fail(code, "%s: there is no %s to make it in; mount one (mount -t tmpfs -o mode=1777 tmpfs %s)",
                            name, shm, shm);
    case ENOSPC:
        return wherry__fail(code, "%s: no room for %s (df %s; df -i %s); remove what nobody needs", name, path, shm,
                            shm);
    case EROFS:
        return wherry__fail(code, "%s: %s could not be made: %s is mounted read-only; mount -o remount,rw %s", name,
                            path, shm, shm);
    case EACCES:
        return wherry__fail(code, "%s: %s could not be made: uid %u may not write there; ls -ld %s", name, path,
                            (unsigned)geteuid(), shm);
    default:
        return wherry__fail_errno(code, "%s: %s could not be made", name, path);
    }
}

/* A relative path leads nowhere once the current directory was removed. */
static bool is_nowhere(const char *path)
{
    struct stat here;
    return path[0] != '/' && wherry__sys.fstatat(AT_FDCWD, ".", &here, 0) == 0 && here.st_nlink == 0;
}

int wherry__naming_fail(int code, const char *path, const char *name)
{
    char directory[PATH_MAX];
    if (strncmp(path, shm, sizeof shm - 1) == 0 && path[sizeof shm - 1] == '/')
        return say_shm(code, path, name);
    if (!beside(path, "", directory))
        return wherry__fail(ENAMETOOLONG, "%s: could not be made: the path is too long; name another", name);
    if (is_nowhere(path)) /* ENOENT, most often */
        return wherry__fail(ENOENT, "%s: the current directory was removed; cd to one that exists", name);
    if (!directory[0])
        strcpy(directory, "the current directory");
    switch (code) {
    case ENOENT:
        return wherry__fail(code, "%s: the directory does not exist; make it, or name another", name);
    case ENOTDIR:
        return wherry__fail(code, "%s: could not be made: Not a directory: %s; name another path", name, directory);
    case EACCES:
        return wherry__fail(code,
                            "%s: could not be made: Permission denied: uid %u may not write %s; name another path",
                            name, (unsigned)geteuid(), directory);
    case EROFS:
        return wherry__fail(code, "%s: would be on a file system that is mounted read-only: name another path", name);
    case ENOSPC:
    case EDQUOT:
        return wherry__fail(code, "%s: could not be made: no room in %s (%s); make some, or name another path", name,
                            directory, code == ENOSPC ? "df, df -i" : "quota");
    case EMLINK:
        return wherry__fail(code,
                            "%s: could not be made: the file system of %s has no hard links, and cannot rename without "
                            "replacing; name another path",
                            name, directory);
    default:
        return wherry__fail_errno(code, "%s: could not be made", name);
    }
}
