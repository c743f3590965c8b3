/* base/directory.c - owns the making of a user's own directory, and what is refused as one.
 *
 * SPDX-License-Identifier: MIT */
#include "base/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/naming.h"
#include "base/sys.h"
#include "base/why.h"

static int open_noted(const char *path)
{
    wherry__fd_guard();
    int fd = wherry__sys.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

int wherry__directory_own(const char *name, const char *suffix, mode_t mode)
{
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u%s", (unsigned)geteuid(), suffix);
    if (wherry__sys.mkdirat(AT_FDCWD, path, mode) == 0)
        wherry__sys.fchmodat(AT_FDCWD, path, mode,
                             0); /* whatever the umask took away; it is ours, in a sticky directory */
    else if (errno != EEXIST)
        return wherry__naming_fail(errno, path, name);
    int fd = open_noted(path);
    if (fd == -EACCES && wherry__sys.fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(status.st_mode) && status.st_uid == geteuid() && wherry__sys.fchmodat(AT_FDCWD, path, mode, 0) == 0)
        fd = open_noted(path); /* its maker was before the chmod */
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: %s could not be opened", name, path);
    int result = wherry__sys.fstat(fd, &status) == 0 ? 0 : wherry__fail_errno(errno, "%s: %s", name, path);
    if (result == 0 && status.st_uid != geteuid())
        result =
            wherry__fail(EPERM, "%s: %s belongs to uid %u, who could read and change what is sent; have it removed",
                         name, path, (unsigned)status.st_uid);
    if (result == 0 && (status.st_mode & 0777 & ~mode))
        result = wherry__fail(EPERM, "%s: others may enter or change %s (mode 0%o); chmod 0%o it", name, path,
                              (unsigned)(status.st_mode & 0777), (unsigned)mode);
    if (result == 0 && (status.st_mode & mode) != mode)
        wherry__sys.fchmod(fd, mode); /* likewise, or never will be */
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}
