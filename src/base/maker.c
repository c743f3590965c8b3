/* base/maker.c - owns the lock of those who make System V objects.
 *
 * SPDX-License-Identifier: MIT */
#include "base/maker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"

static int open_makers(int directory)
{
    wherry__fd_guard();
    int fd = wherry__sys.openat(directory, ".makers", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

int wherry__maker_take(const struct wherry__object *object, const char *name)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)((uint64_t)object->type << 32 | (uint32_t)object->key),
                         .l_len = 1};
    int directory = wherry__directory_own(name, "", 0700);
    if (directory < 0)
        return directory;
    int fd = open_makers(directory);
    /* one whose umask took all rights away, and who died before it could give them back */
    if (fd == -EACCES && wherry__sys.fchmodat(directory, ".makers", 0600, 0) == 0)
        fd = open_makers(directory);
    wherry__fd_close(&directory);
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: /dev/shm/wherry-%u/.makers, which tells who makes it, cannot be opened",
                                  name, (unsigned)geteuid());
    wherry__sys.fchmod(fd, 0600);
    int result = 0;
    while (result == 0 && wherry__sys.record_lock(fd, F_OFD_SETLK, &lock) != 0)
        if (errno == EAGAIN || errno == EACCES)
            result = -EAGAIN;
        else if (errno != EINTR)
            result = wherry__fail_errno(errno, "%s: it cannot be told that it is being made", name);
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}
