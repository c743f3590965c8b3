/* storage/log_open.c - owns how a log's file is made, opened and closed, its head, and its locks.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/naming.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/log.h"

enum { TRIES = 100 }; /* to open what others make and remove meanwhile */

static int open_noted(const char *path, int flags)
{
    wherry__fd_guard();
    int fd = wherry__sys.open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

/* ---- reading and writing all (H5) -------------------------------------------------------------------------------- */

int wherry__log_write_all(int fd, const void *data, size_t size, uint64_t at)
{
    const uint8_t *bytes = data;
    while (size > 0) {
        ssize_t written = wherry__sys.pwrite(fd, bytes, size, (off_t)at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        bytes += written;
        size -= (size_t)written;
        at += (uint64_t)written;
    }
    return 0;
}

int wherry__log_read_all(int fd, void *data, size_t size, uint64_t at, size_t *ret_got)
{
    uint8_t *bytes = data;
    size_t got = 0;
    while (got < size) {
        ssize_t more = wherry__sys.pread(fd, bytes + got, size - got, (off_t)(at + got));
        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0)
            return -errno;
        if (more == 0)
            break;
        got += (size_t)more;
    }
    *ret_got = got;
    return 0;
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static int change_lock(const struct wherry__log *log, short type, uint64_t byte, uint64_t count)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = (off_t)count};
    return wherry__sys.record_lock(log->fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

static int lock_bytes(struct wherry__log *log, uint64_t byte, uint64_t count)
{
    int result = change_lock(log, F_WRLCK, byte, count);
    if (result == -EACCES || result == -EAGAIN)
        return -EAGAIN;
    return result == 0 ? 0 : wherry__fail_errno(-result, "%s: could not be locked", log->name);
}

int wherry__log_lock(struct wherry__log *log, uint64_t byte)
{
    return lock_bytes(log, byte, 1);
}

void wherry__log_unlock(struct wherry__log *log, uint64_t byte)
{
    change_lock(log, F_UNLCK, byte, 1);
}

/* At once or not at all, which is what the kernel makes of a range. */
int wherry__log_lock_groups(struct wherry__log *log)
{
    return lock_bytes(log, LOG_LOCK_GROUP, LOG_GROUPS);
}

void wherry__log_unlock_groups(struct wherry__log *log)
{
    uint64_t first = LOG_LOCK_GROUP, end = first + LOG_GROUPS, ours = log->held_group ? log->held_group : end;
    if (ours > first)
        change_lock(log, F_UNLCK, first, ours - first);
    if (ours + 1 < end)
        change_lock(log, F_UNLCK, ours + 1, end - ours - 1);
}

bool wherry__log_locked(struct wherry__log *log, uint64_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    return wherry__sys.record_lock(log->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

/* Fill a new file: the head and the first state, which begins with no records. */
static int fill(struct wherry__log *log)
{
    uint8_t head[LOG_HEAD_SIZE] = LOG_MAGIC;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (getrandom(&log->id, sizeof log->id, 0) != sizeof log->id)
        return -EIO;
    wherry__store64(head + 16, log->id);
    wherry__store64(head + 24, (uint64_t)now.tv_sec * WHERRY_SECOND + (uint64_t)now.tv_nsec);
    wherry__store32(head + 32, LOG_HEAD);
    wherry__store32(head + 36, wherry__log_crc(0, head, 36));
    struct log_state state = {
        .end = LOG_HEAD, .next = 1, .start = LOG_HEAD, .durable = LOG_HEAD, .durable_next = 1, .start_number = 1};
    memcpy(state.boot, log->boot, LOG_BOOT);
    int result = wherry__sys.ftruncate(log->fd, LOG_HEAD) == 0 ? 0 : -errno;
    if (result == 0)
        result = wherry__log_write_state(log, &state);
    if (result == 0) /* last: before, it is a file of zeros, which the next one fills */
        result = wherry__log_write_all(log->fd, head, sizeof head, 0);
    return result < 0 || wherry__sys.fdatasync(log->fd) == 0 ? result : -errno;
}

/* The file is no log, whatever else it is: what to say. */
static int no_log(const struct wherry__log *log)
{
    return wherry__fail(EEXIST, "%s: %s is a file, but no log of wherry; name another path", log->name, log->path);
}

/* 1: it is a log, log->id is its; 0: it is empty, or nothing but zeros; or -errno with the sentence. */
static int read_head(struct wherry__log *log)
{
    uint8_t head[LOG_HEAD_SIZE], rest[512];
    size_t got = 0;
    struct stat status;
    int result = wherry__log_read_all(log->fd, head, sizeof head, 0, &got);
    if (result < 0 || wherry__sys.fstat(log->fd, &status) != 0)
        return wherry__fail_errno(result < 0 ? -result : errno, "%s: could not be read", log->name);
    if (got == sizeof head && memcmp(head, LOG_MAGIC, 16) == 0) {
        if (wherry__load32(head + 36) != wherry__log_crc(0, head, 36) || wherry__load32(head + 32) != LOG_HEAD)
            return wherry__fail(EBADMSG,
                                "%s: the head of the log is damaged; its records may be read by hand, see "
                                "wherry_log(7)",
                                log->name);
        if (status.st_size < LOG_HEAD)
            return wherry__fail(EBADMSG,
                                "%s: somebody cut the log to %lld bytes, and its records are gone; remove it to begin "
                                "a new one",
                                log->name, (long long)status.st_size);
        log->id = wherry__load64(head + 16);
        return 1;
    }
    if (got == sizeof head && memcmp(head, LOG_MAGIC, 11) == 0)
        return wherry__fail(EPROTO,
                            "%s: the log is of another version of wherry, whose layout this one does not know; read it "
                            "with that version, or name another path",
                            log->name);
    if (status.st_size != 0 && status.st_size != LOG_HEAD)
        return no_log(log);
    for (uint64_t at = 0; at < (uint64_t)status.st_size; at += sizeof rest) {
        result = wherry__log_read_all(log->fd, rest, sizeof rest, at, &got);
        if (result < 0)
            return wherry__fail_errno(-result, "%s: could not be read", log->name);
        bool state = at == LOG_STATE_AT; /* is written before the head */
        for (size_t i = 0; i < got && !state; i++)
            if (rest[i])
                return no_log(log);
    }
    return 0;
}

/* A name was there, and nothing in it: make it a log, one of those who come. */
static int fill_empty(struct wherry__log *log)
{
    if (!log->writable)
        return wherry__fail(EBADMSG, "%s: the file is empty, and may not be written; begin with a sender", log->name);
    int result = wherry__log_lock(log, LOG_LOCK_APPEND);
    if (result < 0)
        return result;
    result = read_head(log);
    if (result == 0 && (result = fill(log)) < 0)
        wherry__fail_errno(-result, "%s: the empty file could not be made a log", log->name);
    wherry__log_unlock(log, LOG_LOCK_APPEND);
    return result < 0 ? result : 0;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* Nothing half-made ever has the name.  0, -EEXIST (somebody was faster), or -errno with the sentence. */
static int make(struct wherry__log *log, uint32_t mode)
{
    struct wherry__naming naming;
    int result = wherry__naming_begin(&naming, AT_FDCWD, log->path, mode);
    if (result < 0)
        return wherry__naming_fail(-result, log->path, log->name);
    log->fd = naming.fd;
    log->writable = true;
    result = fill(log);
    if (result == 0)
        result = wherry__naming_end(&naming, AT_FDCWD, log->path);
    /* the name outlives a power cut only when the directory is on the disk; if it may not be read, nobody can */
    if (result == 0 && (result = wherry__naming_sync(AT_FDCWD, log->path)) == -EACCES)
        result = 0;
    if (result < 0) {
        wherry__naming_drop(&naming, AT_FDCWD, log->path);
        wherry__fd_close(&log->fd);
    }
    return result == 0 || result == -EEXIST ? result : wherry__naming_fail(-result, log->path, log->name);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int refuse_kind(const struct wherry__log *log, mode_t mode)
{
    const char *kind = S_ISDIR(mode)    ? "a directory"
                       : S_ISLNK(mode)  ? "a symbolic link"
                       : S_ISFIFO(mode) ? "a FIFO"
                       : S_ISSOCK(mode) ? "a socket"
                                        : "a device";
    return wherry__fail(S_ISDIR(mode)   ? EISDIR
                        : S_ISLNK(mode) ? ELOOP
                                        : EEXIST,
                        "%s: is %s, not a log; name another path", log->name, kind);
}

static int say_unopened(const struct wherry__log *log, const struct wherry__log_wish *wish,
                        const struct stat *status, int code)
{
    const char *instead =
        wish->appends ? "name another path" : "leave group= out, whose place is saved in it, to read it";
    if (code == EROFS)
        return wherry__fail(EROFS, "%s: is on a file system that is mounted read-only: %s", log->name, instead);
    if (code == EACCES && wish->writes && status->st_uid == geteuid())
        return wherry__fail(EACCES,
                            "%s: is this user's, and its mode 0%o does not let it be written: chmod u+rw it, or %s",
                            log->name, (unsigned)status->st_mode & 07777, instead);
    if (code == EACCES && wish->writes)
        return wherry__fail(EACCES, "%s: belongs to uid %u (mode 0%o), and uid %u may not write it: %s", log->name,
                            (unsigned)status->st_uid, (unsigned)status->st_mode & 07777, (unsigned)geteuid(), instead);
    return wherry__fail_errno(code, "%s: could not be opened", log->name);
}

/* One attempt.  0, -ENOENT without a sentence, or -errno with it. */
static int open_existing(struct wherry__log *log, const struct wherry__log_wish *wish, struct stat *ret_status)
{
    if (wherry__sys.fstatat(AT_FDCWD, log->path, ret_status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? -ENOENT : wherry__fail_errno(errno, "%s: could not be opened", log->name);
    if (!S_ISREG(ret_status->st_mode)) /* before open(2), which on a device may do anything at all */
        return refuse_kind(log, ret_status->st_mode);
    log->writable = true;
    log->fd = open_noted(log->path, O_RDWR);
    if (!wish->writes && (log->fd == -EACCES || log->fd == -EPERM || log->fd == -EROFS)) {
        log->writable = false;
        log->fd = open_noted(log->path, O_RDONLY);
    }
    if (log->fd < 0) {
        int code = -log->fd;
        log->fd = -1;
        return code == ENOENT ? -ENOENT : say_unopened(log, wish, ret_status, code);
    }
    if (wherry__sys.fstat(log->fd, ret_status) != 0)
        return wherry__fail_errno(errno, "%s", log->name);
    return S_ISREG(ret_status->st_mode) ? 0 : refuse_kind(log, ret_status->st_mode);
}

/* Which boot this is: 16 bytes of the kernel's, or zeros with a one where there is no /proc: then every process begins
 * with a recovery, which is slow and right. */
static void read_boot(struct wherry__log *log)
{
    char text[64];
    size_t got = 0, digits = 0;
    int fd = open_noted("/proc/sys/kernel/random/boot_id", O_RDONLY);
    ssize_t size = fd >= 0 ? wherry__sys.read(fd, text, sizeof text) : 0;
    wherry__fd_close(&fd);
    for (; size > 0 && got < (size_t)size && digits < 2 * LOG_BOOT; got++) {
        const char *hex = "0123456789abcdef", *at = text[got] ? strchr(hex, text[got]) : NULL;
        if (at) {
            log->boot[digits / 2] = (uint8_t)(log->boot[digits / 2] << 4 | (at - hex));
            digits++;
        }
    }
    if (digits < 2 * LOG_BOOT && getrandom(log->boot, LOG_BOOT, 0) != LOG_BOOT)
        log->boot[0] = 1;
}

static int open_or_make(struct wherry__log *log, const struct wherry__log_wish *wish, struct stat *ret_status)
{
    for (int i = 0; i < TRIES; i++) {
        int result = open_existing(log, wish, ret_status);
        if (result != -ENOENT)
            return result;
        result = make(log, wish->mode);
        if (result == 0 && wherry__sys.fstat(log->fd, ret_status) != 0)
            result = wherry__fail_errno(errno, "%s", log->name);
        if (result != -EEXIST) /* -ENOENT, too: there is no such directory */
            return result;
    }
    return wherry__fail(EBUSY, "%s: others make and remove it all the time; agree on who does", log->name);
}

int wherry__log_open(struct wherry__log *log, const struct wherry__log_wish *wish, struct stat *ret_status)
{
    struct rlimit limit;
    *log = (struct wherry__log){.fd = -1, .name = wish->name, .path = wish->path, .punched = LOG_HEAD};
    log->most =
        getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? (uint64_t)limit.rlim_cur : INT64_MAX;
    if (log->most < LOG_HEAD)
        return wherry__fail(EFBIG, "%s: this process may write no file so large (ulimit -f)", log->name);
    read_boot(log);
    int result = open_or_make(log, wish, ret_status);
    if (result == 0)
        result = read_head(log);
    if (result == 0)
        result = fill_empty(log);
    if (result < 0)
        return result;
    result = wherry__log_refresh(log);
    return result == -EAGAIN ? 0 : result; /* somebody else is at it: the next look says more */
}

void wherry__log_close(struct wherry__log *log, uint64_t born)
{
    if (log->trim)
        wherry__log_window_fini(log->trim);
    free(log->trim);
    log->trim = NULL;
    wherry__fd_close_from(born, false, &log->fd);
}

enum wherry__log_fate wherry__log_fate(const struct wherry__log *log, uint64_t *ret_size)
{
    struct stat status;
    if (wherry__sys.fstat(log->fd, &status) != 0)
        return WHERRY__LOG_LIVES;
    *ret_size = (uint64_t)status.st_size;
    if (status.st_nlink == 0)
        return WHERRY__LOG_REMOVED;
    return !log->foreign && (uint64_t)status.st_size < log->state.end ? WHERRY__LOG_SHORT : WHERRY__LOG_LIVES;
}
