/* storage/lock.c - owns struct wherry_lock: opening, taking where nobody is in the way, releasing.
 *
 * SPDX-License-Identifier: MIT
 *
 * A take that succeeds at once is one system call and the look at the name.  Never ask first (F_GETLK) whether the lock
 * is free: the answer is old when it comes. */
#include "storage/lock.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/file.h"

/* ---- opening ---- */

static int read_options(const char *name, const struct wherry_lock_options *given, struct wherry_lock_options *ret)
{
    *ret = (struct wherry_lock_options)WHERRY_LOCK_OPTIONS;
    int result = wherry__options_read(ret, sizeof *ret, given, offsetof(struct wherry_lock_options, mode), name,
                                      "WHERRY_LOCK_OPTIONS");
    if (result < 0)
        return result;
    if ((unsigned)ret->kind > WHERRY_LOCK_FLOCK)
        return wherry__fail(EINVAL, "%s: %d is no kind of lock", name, (int)ret->kind);
    if (ret->mode > 0777)
        return wherry__fail(EINVAL, "%s: the mode is 0%o: only permissions are allowed, at most 0777", name, ret->mode);
    if (ret->create && ret->read_only)
        return wherry__fail(EINVAL, "%s: a file is made for writing: create or read_only, not both", name);
    if (ret->fair && ret->kind == WHERRY_LOCK_FLOCK)
        return wherry__fail(EINVAL,
                            "%s: fair needs a byte of its own, and flock has none: leave it out, or use "
                            "another kind",
                            name);
    if (ret->fair && ret->block)
        return wherry__fail(EINVAL, "%s: fair waits in steps, block in the kernel: one of the two", name);
    return 0;
}

static int new_lock(const char *name, const struct wherry_lock_options *options, struct wherry_lock **ret_lock)
{
    int result = wherry__process_start();
    if (result < 0)
        return result;
    struct wherry_lock *lock = calloc(1, sizeof *lock);
    if (lock)
        lock->name = strdup(name);
    if (!lock || !lock->name) {
        free(lock);
        return wherry__fail(ENOMEM, "%s: no memory", name);
    }
    lock->born = wherry__generation();
    lock->fd = -1;
    lock->kind = options->kind;
    lock->fair = options->fair;
    lock->block = options->block;
    lock->quiet = options->quiet;
    pthread_mutex_init(&lock->ranges_lock, NULL);
    *ret_lock = lock;
    return 0;
}

static void free_lock(struct wherry_lock *lock)
{
    pthread_mutex_destroy(&lock->ranges_lock);
    free(lock->path);
    free(lock->name);
    free(lock);
}

static int open_path(const char *path, const struct wherry_lock_options *given, struct wherry_lock **ret_lock)
{
    struct wherry_lock_options options;
    struct wherry_lock *lock = NULL;
    struct stat status;
    if (!path || !path[0])
        return wherry__fail(EINVAL, "a lock needs the path of a file");
    int result = read_options(path, given, &options);
    if (result == 0)
        result = new_lock(path, &options, &lock);
    if (result < 0)
        return result;
    struct wherry__file_how how = {
        .write = !options.read_only,
        .create = options.create,
        .directory = options.kind == WHERRY_LOCK_FLOCK && options.read_only,
        .mode = options.mode ? options.mode : 0600,
        .no_write = options.kind == WHERRY_LOCK_FLOCK ? "flock does with reading (read_only)"
                                                      : "a shared lock does with reading (read_only, --shared)",
    };
    result = wherry__file_open(path, &how, &status, NULL);
    if (result >= 0) {
        lock->fd = result;
        lock->owned = true;
        lock->device = status.st_dev;
        lock->inode = status.st_ino;
        lock->path = options.fixed_name ? NULL : wherry__file_absolute(path);
        result = lock->path || options.fixed_name ? 0 : wherry__fail(ENOMEM, "%s: no memory", path);
    }
    if (result < 0) {
        wherry__fd_close(&lock->fd);
        free_lock(lock);
        return result;
    }
    *ret_lock = lock;
    return 0;
}

int wherry_lock_open(const char *path, const struct wherry_lock_options *given, struct wherry_lock **ret_lock)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_path(path, given, ret_lock));
}

int wherry_lock_open_fd(int fd, const struct wherry_lock_options *given, struct wherry_lock **ret_lock)
{
    struct wherry_lock_options options;
    struct wherry_lock *lock = NULL;
    struct stat status;
    char name[32];
    snprintf(name, sizeof name, "descriptor %d", fd);
    int result = read_options(name, given, &options);
    if (result == 0 && (options.create || options.mode || options.read_only || options.fixed_name))
        result =
            wherry__fail(EINVAL, "%s: is open already: create, mode, read_only and fixed_name are for paths", name);
    if (result == 0 && wherry__sys.fstat(fd, &status) != 0)
        result = wherry__fail_errno(errno, "%s: cannot be locked", name);
    if (result == 0)
        result = new_lock(name, &options, &lock);
    if (result < 0)
        return result;
    lock->fd = fd;
    lock->device = status.st_dev;
    lock->inode = status.st_ino;
    *ret_lock = lock;
    return 0;
}

int wherry_lock_fd(const struct wherry_lock *lock)
{
    return lock->fd;
}

/* ---- what is asked for ---- */

static int bad_range(const struct wherry_lock *lock, uint64_t start, uint64_t length)
{
    if (lock->kind == WHERRY_LOCK_FLOCK)
        return wherry__fail(EINVAL, "%s: flock locks a whole file: start and length must be 0", lock->name);
    return wherry__fail(EINVAL, "%s: there is no range of %llu bytes from %llu on: the last byte of a file is %lld",
                        lock->name, (unsigned long long)length, (unsigned long long)start,
                        (long long)(lock->fair ? WHERRY__TURNSTILE - 1 : INT64_MAX));
}

/* fcntl(2) counts in off_t, and takes a length of 0 for "to the end", which is the turnstile's end with `fair`. */
static inline int fill_range(const struct wherry_lock *lock, uint64_t start, uint64_t length, struct wherry__want *want)
{
    uint64_t most = lock->fair ? WHERRY__TURNSTILE : (uint64_t)INT64_MAX + 1; /* the first byte behind all */
    if (start >= most || length > most - start || (lock->kind == WHERRY_LOCK_FLOCK && (start || length)))
        return bad_range(lock, start, length);
    if (lock->fair && length == 0)
        length = most - start;
    want->start = start;
    want->length = length;
    want->flock.l_start = (off_t)start;
    want->flock.l_len = start + length == (uint64_t)INT64_MAX + 1 ? 0 : (off_t)length;
    return 0;
}

static int flock_operation(enum wherry_lock_mode mode)
{
    return (mode == WHERRY_LOCK_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB;
}

static int record_command(const struct wherry_lock *lock)
{
    return lock->kind == WHERRY_LOCK_POSIX ? F_SETLK : F_OFD_SETLK;
}

static short record_type(enum wherry_lock_mode mode)
{
    return mode == WHERRY_LOCK_SHARED ? F_RDLCK : F_WRLCK;
}

/* ---- one try ---- */

int wherry__lock_refused(const struct wherry_lock *lock, const struct wherry__want *want, int code)
{
    if (code == EBADF && fcntl(lock->fd, F_GETFD) >= 0)
        return want->mode == WHERRY_LOCK_EXCLUSIVE
                   ? wherry__fail(EBADF,
                                  "%s: is open for reading alone, and an exclusive lock needs it open for writing; "
                                  "open it for writing (without read_only), or take a shared lock or flock",
                                  lock->name)
                   : wherry__fail(EBADF, "%s: is open for writing alone, and a shared lock needs it open for reading",
                                  lock->name);
    if (code == EDEADLK)
        return wherry__fail(
            EDEADLK, "%s: who has it waits for what this process has; give something back, then try again", lock->name);
    if (code == ENOLCK)
        return wherry__fail(ENOLCK, "%s: the kernel has no room for more locks, or the file system has none",
                            lock->name);
    return wherry__fail_errno(code, "%s: could not be locked", lock->name);
}

static int call(const struct wherry_lock *lock, const struct wherry__want *want)
{
    struct flock range = want->flock;
    return lock->kind == WHERRY_LOCK_FLOCK ? wherry__sys.flock(lock->fd, want->command)
                                           : wherry__sys.record_lock(lock->fd, want->command, &range);
}

/* With `fair`, a reader lets a writer go first that waits: it holds the turnstile.  Asking, rather than passing through
 * with a lock, keeps readers out of writers' way there; a reader whom a writer overtakes between the question and the
 * lock merely goes first once more.  Who holds something already is what a writer waits for: it must not wait. */
static bool must_let_writer_pass(struct wherry_lock *lock, const struct wherry__want *want)
{
    struct flock turnstile = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = WHERRY__TURNSTILE, .l_len = 1};
    if (want->mode != WHERRY_LOCK_SHARED)
        return false;
    pthread_mutex_lock(&lock->ranges_lock);
    bool holds = lock->range_count > 0;
    pthread_mutex_unlock(&lock->ranges_lock);
    int command = lock->kind == WHERRY_LOCK_POSIX ? F_GETLK : F_OFD_GETLK;
    return !holds && wherry__sys.record_lock(lock->fd, command, &turnstile) == 0 && turnstile.l_type != F_UNLCK;
}

int wherry__lock_try(struct wherry_lock *lock, struct wherry__want *want)
{
    if (lock->fair && must_let_writer_pass(lock, want))
        return -EAGAIN;
    while (call(lock, want) != 0) {
        if (errno == EAGAIN || errno == EACCES)
            return -EAGAIN;
        if (errno != EINTR)
            return wherry__lock_refused(lock, want, errno);
    }
    return 0;
}

/* ---- take ---- */

static void remember_range(struct wherry_lock *lock, const struct wherry__want *want)
{
    struct wherry__range range = wherry__range_of(want->start, want->length);
    pthread_mutex_lock(&lock->ranges_lock);
    if (lock->range_count < WHERRY__LOCK_RANGES)
        lock->ranges[lock->range_count++] = range;
    else
        lock->range_count = WHERRY__LOCK_RANGES + 1;
    pthread_mutex_unlock(&lock->ranges_lock);
}

/* What is released in part counts as held: then a reader does not wait for the writer, which costs fairness alone. */
static void forget_range(struct wherry_lock *lock, const struct wherry__want *want)
{
    struct wherry__range gone = wherry__range_of(want->start, want->length);
    pthread_mutex_lock(&lock->ranges_lock);
    if (gone.start == 0 && gone.end >= WHERRY__TURNSTILE)
        lock->range_count = 0;
    for (int i = 0; i < lock->range_count && lock->range_count <= WHERRY__LOCK_RANGES;)
        if (gone.start <= lock->ranges[i].start && lock->ranges[i].end <= gone.end)
            lock->ranges[i] = lock->ranges[--lock->range_count];
        else
            i++;
    pthread_mutex_unlock(&lock->ranges_lock);
}

static int release(struct wherry_lock *lock, uint64_t start, uint64_t length)
{
    struct wherry__want want = {.command = lock->kind == WHERRY_LOCK_FLOCK ? LOCK_UN : record_command(lock),
                                .flock = {.l_type = F_UNLCK, .l_whence = SEEK_SET}};
    int result = fill_range(lock, start, length, &want);
    if (result < 0)
        return result;
    if (lock->kind == WHERRY_LOCK_FLOCK)
        atomic_store_explicit(&lock->had, 0, memory_order_relaxed);
    while (call(lock, &want) != 0)
        if (errno != EINTR)
            return errno == ENOLCK
                       ? wherry__fail(ENOLCK, "%s: the kernel has no room to split a lock in two", lock->name)
                       : wherry__fail_errno(errno, "%s: could not be unlocked", lock->name);
    if (lock->fair)
        forget_range(lock, &want);
    return 0;
}

/* Who opened the file before somebody removed it, and locks it after, holds a lock that nobody else will meet (H3). */
static int check_name(struct wherry_lock *lock, uint64_t start, uint64_t length)
{
    struct stat status;
    int code = wherry__sys.fstatat(AT_FDCWD, lock->path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
    if (code == 0 && status.st_ino == lock->inode && status.st_dev == lock->device)
        return 0;
    release(lock, start, length);
    if (code != 0 && code != ENOENT && code != ENOTDIR)
        return wherry__fail_errno(code, "%s: the name could not be looked at after locking", lock->name);
    return wherry__fail(ESTALE,
                        "%s: was removed or replaced since it was opened, and others may lock the new one; close "
                        "it and open it again",
                        lock->name);
}

static int no_child(const struct wherry_lock *lock)
{
    return wherry__fail(ECHILD, "%s: was opened before fork(), and locks are the parent's; open it again in the child",
                        lock->name);
}

static int bad_mode(const struct wherry_lock *lock, enum wherry_lock_mode mode)
{
    return wherry__fail(EINVAL, "%s: %d is no mode: WHERRY_LOCK_SHARED or WHERRY_LOCK_EXCLUSIVE", lock->name,
                        (int)mode);
}

static int take_slowly(struct wherry_lock *lock, enum wherry_lock_mode mode, uint64_t start, uint64_t length,
                       wherry_time deadline)
{
    struct wherry__want want = {.mode = mode,
                                .command =
                                    lock->kind == WHERRY_LOCK_FLOCK ? flock_operation(mode) : record_command(lock),
                                .flock = {.l_type = record_type(mode), .l_whence = SEEK_SET}};
    int result = fill_range(lock, start, length, &want);
    if (result == 0)
        result = wherry__lock_try(lock, &want);
    if (result == -EAGAIN)
        result = wherry__lock_wait(lock, &want, deadline);
    if (result == 0 && lock->fair)
        remember_range(lock, &want);
    return result;
}

/* The short way: whether one call did it.  Anything out of the ordinary is for the long way, which tries again. */
static inline bool call_quickly(const struct wherry_lock *lock, short type, int operation, uint64_t start,
                                uint64_t length)
{
    if (lock->fair || start > INT64_MAX || length > (uint64_t)INT64_MAX - start)
        return false;
    if (lock->kind == WHERRY_LOCK_FLOCK)
        return (start | length) == 0 && wherry__sys.flock(lock->fd, operation) == 0;
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)start, .l_len = (off_t)length};
    return wherry__sys.record_lock(lock->fd, record_command(lock), &range) == 0;
}

int wherry_lock_take(struct wherry_lock *lock, enum wherry_lock_mode mode, uint64_t start, uint64_t length,
                     wherry_time deadline)
{
    if (lock->born != wherry__generation())
        return no_child(lock);
    if (mode != WHERRY_LOCK_SHARED && mode != WHERRY_LOCK_EXCLUSIVE)
        return bad_mode(lock, mode);
    if (!call_quickly(lock, record_type(mode), flock_operation(mode), start, length)) {
        int result = take_slowly(lock, mode, start, length, deadline);
        if (result < 0)
            return result;
    }
    if (lock->kind == WHERRY_LOCK_FLOCK)
        atomic_store_explicit(&lock->had, mode, memory_order_relaxed);
    return lock->path ? check_name(lock, start, length) : 0;
}

/* ---- release ---- */

int wherry_lock_release(struct wherry_lock *lock, uint64_t start, uint64_t length)
{
    if (lock->born != wherry__generation())
        return no_child(lock);
    if (lock->kind == WHERRY_LOCK_FLOCK)
        atomic_store_explicit(&lock->had, 0, memory_order_relaxed);
    return call_quickly(lock, F_UNLCK, LOCK_UN, start, length) ? 0 : release(lock, start, length);
}

void wherry_lock_interrupt(struct wherry_lock *lock)
{
    atomic_fetch_add_explicit(&lock->interrupts, 1, memory_order_relaxed);
}

/* Explicitly, since a copy of the descriptor may live on: in a child that was made without fork handlers, in another
 * process to which it was passed. */
void wherry_lock_close(struct wherry_lock *lock)
{
    if (!lock)
        return;
    if (lock->born == wherry__generation())
        release(lock, 0, 0);
    if (lock->owned)
        wherry__fd_close_from(lock->born, false, &lock->fd);
    free_lock(lock);
}
