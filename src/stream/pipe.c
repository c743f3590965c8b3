/* stream/pipe.c - owns pipe2(2), mkfifo(3) and the ways to open what they make.
 *
 * SPDX-License-Identifier: MIT */
#include "stream/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/naming.h"
#include "base/holder.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"

static int note_unless(bool inheritable, int fd)
{
    return inheritable ? fd : wherry__fd_note(fd);
}

int wherry__pipe_create(int ret_fds[2], bool inheritable)
{
    ret_fds[0] = ret_fds[1] = -1;
    wherry__fd_guard();
    int result = wherry__sys.pipe2(ret_fds, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -errno;
    if (result == 0) {
        note_unless(inheritable, ret_fds[0]);
        note_unless(inheritable, ret_fds[1]);
    }
    wherry__fd_unguard();
    return result == 0 ? 0 : wherry__fail_errno(-result, "a pipe could not be made");
}

int wherry__pipe_resize(int fd, uint64_t bytes, const char *name)
{
    if (bytes == 0 || fcntl(fd, F_GETPIPE_SZ) >= (int)bytes)
        return 0;
    if (fcntl(fd, F_SETPIPE_SZ, (int)bytes) >= 0)
        return 0;
    return wherry__fail_errno(errno, "%s: the kernel gives a pipe no capacity of %llu bytes (fs.pipe-max-size, "
                                     "fs.pipe-user-pages-soft)",
                              name, (unsigned long long)bytes);
}

int wherry__pipe_reopen(int fd, bool for_writing, bool inheritable)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    wherry__fd_guard();
    int own = wherry__sys.open(path, (for_writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC, 0);
    int result = own >= 0 ? note_unless(inheritable, own) : -errno;
    wherry__fd_unguard();
    return result;
}

int wherry__pipe_claim_reading(int fd, const char *name)
{
    char who[64];
    if (wherry__sys.flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return wherry__fail_errno(errno, "%s: could not be locked for reading", name);
    return wherry__fail(EBUSY, "%s: %s is receiving there; a pipe has one receiver at a time", name,
                        wherry__process_name(wherry__holder_of_flock(fd), who));
}

/* ---- FIFOs ---- */

static int open_noted(const char *path, int flags, bool inheritable)
{
    wherry__fd_guard();
    int fd = wherry__sys.open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0);
    int result = fd >= 0 ? note_unless(inheritable, fd) : -errno;
    wherry__fd_unguard();
    return result;
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISREG(mode) ? "a regular file" : S_ISSOCK(mode) ? "a socket"
         : S_ISLNK(mode) ? "a symbolic link" : "a device";
}

static int refuse_kind(const char *name, mode_t mode)
{
    return wherry__fail(S_ISLNK(mode)   ? ELOOP
                        : S_ISDIR(mode) ? EISDIR
                                        : EEXIST,
                        "%s: is %s, not a FIFO; name another path", name, kind_of(mode));
}

static int no_such(const char *name, int code)
{
    return wherry__fail_errno(code, "%s: could not be opened", name);
}

/* Before open(2), which on a device may do anything at all; after it fstat() asks again of what was really opened. */
static int check_path(const char *path, const char *name)
{
    struct stat status;
    if (wherry__sys.fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? -ENOENT : no_such(name, errno);
    return S_ISFIFO(status.st_mode) ? 0 : refuse_kind(name, status.st_mode);
}

/* Make it with exactly these permissions.  The name appears with none but our own at first: mkfifo(3) is under the
 * umask, which may only take away. */
static int make_fifo(struct wherry__fifo *fifo, const char *path, uint32_t mode)
{
    if (wherry__sys.mkfifoat(AT_FDCWD, path, 0600) != 0)
        return -errno;
    if (wherry__sys.fchmodat(AT_FDCWD, path, mode, 0) != 0 ||
        wherry__sys.fstatat(AT_FDCWD, path, &fifo->identity, AT_SYMLINK_NOFOLLOW) != 0) {
        int code = errno;
        wherry__sys.unlinkat(AT_FDCWD, path, 0);
        return -code;
    }
    fifo->created = true; /* from here on close() removes it, if what is opened there is the same */
    return 0;
}

/* One attempt; -ENOENT, -ENXIO (nobody reads) and -EINTR without a sentence. */
static int try_open(struct wherry__fifo *fifo, const char *path, int flags, bool inheritable, const char *name)
{
    int result = check_path(path, name);
    if (result < 0)
        return result;
    int fd = open_noted(path, flags, inheritable);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENXIO || fd == -EINTR ? fd : no_such(name, -fd);
    struct stat status = {0};
    if (wherry__sys.fstat(fd, &status) != 0 || !S_ISFIFO(status.st_mode)) {
        wherry__fd_close(&fd);
        return refuse_kind(name, status.st_mode);
    }
    /* what was made may have been replaced before it was opened: then it is not ours to remove */
    fifo->created = fifo->created && status.st_dev == fifo->identity.st_dev && status.st_ino == fifo->identity.st_ino;
    fifo->identity = status;
    fifo->fd = fd;
    return 0;
}

/* Receivers that start at once take turns at a lock on the directory, so that whoever makes the FIFO also gets the
 * claim on it, and removes it in the end.  A descriptor to close, or -1: where the directory cannot be read, or
 * somebody else keeps it locked, it goes without, and at worst a FIFO is left behind. */
static int lock_directory(const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof directory)
        return -1;
    memcpy(directory, path, length);
    strcpy(directory + length, length ? "" : ".");
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
    wherry__fd_unguard();
    struct wherry__steps steps = {0};
    wherry_time patience = wherry_after(100 * WHERRY_MILLISECOND);
    while (fd >= 0 && wherry__sys.flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           !wherry__deadline_passed(patience))
        wherry__steps_sleep(&steps, patience);
    return fd;
}

static int open_or_make(struct wherry__fifo *fifo, const char *path, uint32_t mode, bool inheritable, const char *name)
{
    for (int tries = 0; tries < 100; tries++) {
        int result = try_open(fifo, path, O_RDONLY, inheritable, name);
        if (result == 0) {
            result = wherry__pipe_claim_reading(fifo->fd, name);
            fifo->created = fifo->created && result == 0; /* whoever has the claim receives at this name */
            return result;
        }
        if (result == -EINTR)
            continue;
        if (result != -ENOENT)
            return result;
        result = make_fifo(fifo, path, mode);
        if (result < 0 && result != -EEXIST) /* somebody else was quicker: look again */
            return wherry__naming_fail(-result, path, name);
    }
    return wherry__fail(EBUSY, "%s: comes and goes; somebody else removes it", name);
}

int wherry__fifo_open_reader(struct wherry__fifo *fifo, const char *path, uint32_t mode, bool inheritable,
                             const char *name)
{
    fifo->fd = fifo->claim_fd = -1;
    fifo->created = false;
    int directory = lock_directory(path);
    int result = open_or_make(fifo, path, mode, inheritable, name);
    wherry__fd_close(&directory);
    return result;
}

static int give_up(wherry_time deadline, const char *name, const char *what)
{
    return wherry__fail(wherry__deadline_code(deadline), "%s: %s", name, what);
}

int wherry__fifo_open_existing(struct wherry__fifo *fifo, const char *path, bool inheritable, wherry_time deadline,
                               const char *name)
{
    struct wherry__steps steps = {0};
    fifo->fd = fifo->claim_fd = -1;
    fifo->created = false;
    for (;;) {
        int result = try_open(fifo, path, O_RDONLY, inheritable, name);
        if (result == 0)
            return wherry__pipe_claim_reading(fifo->fd, name);
        if (result != -ENOENT && result != -EINTR)
            return result;
        if (wherry__deadline_passed(deadline))
            return give_up(deadline, name, "does not exist; start the sender");
        wherry__steps_sleep(&steps, deadline);
    }
}

int wherry__fifo_open_writer(struct wherry__fifo *fifo, const char *path, uint32_t mode, bool create, bool inheritable,
                             wherry_time deadline, const char *name)
{
    struct wherry__steps steps = {0};
    fifo->fd = fifo->claim_fd = -1;
    fifo->created = false;
    for (;;) {
        int result = try_open(fifo, path, O_WRONLY, inheritable, name);
        if (result == 0)
            return 0;
        if (result == -ENOENT && create) {
            result = make_fifo(fifo, path, mode);
            if (result == 0)
                continue;
            if (result != -EEXIST)
                return wherry__naming_fail(-result, path, name);
        } else if (result != -ENOENT && result != -ENXIO && result != -EINTR) {
            return result;
        }
        if (wherry__deadline_passed(deadline))
            return give_up(deadline, name,
                           result == -ENXIO ? "nobody reads there; start the receiver"
                                            : "does not exist; start the receiver");
        wherry__steps_sleep(&steps, deadline);
    }
}

int wherry__fifo_renew_reader(struct wherry__fifo *fifo, bool inheritable, const char *name)
{
    /* by descriptor, not by path: the name may lead elsewhere by now */
    int fd = wherry__pipe_reopen(fifo->fd, false, inheritable);
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: could not be opened anew after its end", name);
    if (fifo->claim_fd < 0)
        fifo->claim_fd = fifo->fd;
    else
        wherry__fd_close(&fifo->fd);
    fifo->fd = fd;
    return 0;
}

void wherry__fifo_remove(const struct wherry__fifo *fifo, const char *path)
{
    struct stat now;
    if (fifo->created && wherry__sys.fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
        now.st_dev == fifo->identity.st_dev && now.st_ino == fifo->identity.st_ino)
        wherry__sys.unlinkat(AT_FDCWD, path, 0);
}

/* Before Linux 6.18 nothing but the signal mask keeps SIGPIPE away. */
ssize_t wherry__write_quietly(int fd, const struct iovec *parts, int count)
{
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t size = wherry__sys.writev(fd, parts, count);
    int code = errno;
    if (size < 0 && code == EPIPE && !sigismember(&pending, SIGPIPE)) {
        static const struct timespec at_once;
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return size;
}
