/* tests/fault/test_fault_storage.c - owns the proof that any system call and any allocation of locks, mapped files and
 * logs may fail, once, anywhere.
 *
 * SPDX-License-Identifier: MIT
 *
 * One case a call: a lock of each kind, a map and a log are made, used and closed, over and over, with the first, the
 * second ... call of it failing with each errno that it may give, until there is no such call any more.  Whatever fails
 * says so and why; nothing is left open, locked or half-made; and afterwards all works. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "fault/inject.h"
#include "harness.h"

/* Left out: what storage never calls, and what would be a fault of the caller. */
static const int errnos[INJECT_CALLS][6] = {
    [INJECT_open] = {EMFILE, EACCES, EIO},
    [INJECT_read] = {EIO, EINTR},
    [INJECT_pwritev] = {EINTR, EIO, ENOSPC},
    [INJECT_fdatasync] = {EIO, ENOSPC},
    [INJECT_lseek] = {EINVAL, EIO, ENXIO},
    [INJECT_malloc] = {ENOMEM},
    [INJECT_openat] = {EMFILE, ENFILE, ENOMEM, ENOSPC, EIO, EOPNOTSUPP},
    [INJECT_close] = {EINTR, EIO},
    [INJECT_fstat] = {EIO, ENOMEM},
    [INJECT_fstatfs] = {ENOSYS, EIO, EINTR},
    [INJECT_fstatat] = {EIO, ENOMEM, EACCES},
    [INJECT_fchmod] = {EPERM, EIO},
    [INJECT_unlinkat] = {EACCES, EIO},
    [INJECT_flock] = {EINTR, ENOLCK, EWOULDBLOCK},
    [INJECT_record_lock] = {EINTR, ENOLCK, EAGAIN, EACCES, EINVAL},
    [INJECT_fsync] = {EIO, ENOSPC},
    [INJECT_msync] = {EIO, ENOSPC},
    [INJECT_mremap] = {ENOMEM, EAGAIN},
    [INJECT_eventfd] = {EMFILE, ENOMEM},
    [INJECT_mkdirat] = {EACCES, ENOSPC, EEXIST},
    [INJECT_linkat] = {EACCES, EEXIST, ENOSPC, ENOENT, EDQUOT, EPERM},
    [INJECT_ftruncate] = {EIO, ENOSPC},
    [INJECT_fallocate] = {EINTR, ENOSPC, EIO, EOPNOTSUPP, EDQUOT},
    [INJECT_pwrite] = {EINTR, EIO, ENOSPC},
    [INJECT_pread] = {EINTR, EIO},
    [INJECT_mmap] = {ENOMEM, ENODEV},
    [INJECT_get_robust_list] = {EPERM, ENOSYS},
    [INJECT_calloc] = {ENOMEM},
    [INJECT_realloc] = {ENOMEM},
    [INJECT_strdup] = {ENOMEM},
};

static struct {
    char lock[200], map[200], log[200], problem[500];
} run;

/* A failure says why; what says nothing did what it was asked. */
static bool fine(const char *what, long long result, int expected)
{
    if (result >= 0 || result == expected)
        return result >= 0;
    if (!wherry_why()[0] && !run.problem[0])
        snprintf(run.problem, sizeof run.problem, "%s: %lld without a word", what, result);
    if (!inject_fired() && !run.problem[0])
        snprintf(run.problem, sizeof run.problem, "%s: %lld, %s, though nothing failed", what, result, wherry_why());
    return false;
}
#define FINE(call_) fine(#call_, IN_LIBRARY(call_), 0)

static void check(bool holds, const char *what)
{
    if (!holds && !run.problem[0])
        snprintf(run.problem, sizeof run.problem, "%s", what);
}

/* Whether a raw process would get it; asked from here, through another open file. */
static bool is_free(enum wherry_lock_kind kind)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    options.kind = kind == WHERRY_LOCK_FLOCK ? kind : WHERRY_LOCK_OFD;
    options.create = true;
    test_ok(wherry_lock_open(run.lock, &options, &lock));
    int result = wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW);
    wherry_lock_close(lock);
    return result == 0;
}

static void use_lock(enum wherry_lock_kind kind, bool fair)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock = NULL, *second = NULL;
    options.kind = kind;
    options.fair = fair;
    options.create = true;
    if (!FINE(wherry_lock_open(run.lock, &options, &lock)))
        return;
    if (FINE(wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW)))
        check(kind == WHERRY_LOCK_POSIX || !is_free(kind), "a lock that was taken is free");
    FINE(wherry_lock_take(lock, WHERRY_LOCK_SHARED, 0, 0, WHERRY_NOW));
    if (kind == WHERRY_LOCK_OFD && !fair && FINE(wherry_lock_open(run.lock, &options, &second))) {
        long long result =
            IN_LIBRARY(wherry_lock_take(second, WHERRY_LOCK_EXCLUSIVE, 0, 0, wherry_after(60 * WHERRY_MILLISECOND)));
        check(result < 0 || inject_fired(), "two have it");
        fine("waiting", result, -ETIMEDOUT);
        FINE(wherry_lock_holders(run.lock, NULL, 0, 0, NULL));
    }
    FINE(wherry_lock_release(lock, 0, 0));
    IN_LIBRARY((wherry_lock_close(second), 0));
    IN_LIBRARY((wherry_lock_close(lock), 0));
    check(is_free(kind), "a lock that was closed is not free");
}

static void use_map(void)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map = NULL;
    struct stat status;
    char text[6];
    options.write = options.create = true;
    options.file_size = 8192;
    bool opened = FINE(wherry_map_open(run.map, &options, &map));
    if (stat(run.map, &status) == 0)
        check(status.st_size == 8192 && (status.st_mode & 07777) == 0600, "a file is half-made");
    if (!opened)
        return;
    if (!FINE(wherry_map_resize(map, 20000)))
        check(wherry_map_size(map) == 8192 && stat(run.map, &status) == 0 && status.st_size == 8192,
              "a resize that failed left traces");
    memset(wherry_map_data(map), 'x', wherry_map_size(map));
    if (FINE(wherry_map_write(map, 8000, "hello", 6)) && FINE(wherry_map_read(map, 8000, text, 6)))
        check(strcmp(text, "hello") == 0, "other bytes came back");
    FINE(wherry_map_sync(map, 0, 0));
    FINE(wherry_map_resize(map, 100));
    check(((char *)wherry_map_data(map))[99] == 'x', "bytes are lost");
    IN_LIBRARY((wherry_map_close(map), 0));
}

static struct wherry_channel *open_log(enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    char url[300];
    snprintf(url, sizeof url, "file://%s", run.log);
    FINE(wherry_channel_open(url, role, NULL, WHERRY_NOW, &channel));
    return channel;
}

static unsigned read_log(void)
{
    char data[20000];
    unsigned count = 0;
    size_t size;
    struct wherry_channel *reader = open_log(WHERRY_RECEIVE);
    while (reader && fine("reading", IN_LIBRARY(wherry_channel_receive(reader, data, sizeof data, &size, WHERRY_NOW)),
                          -EAGAIN))
        check(size == (count++ ? 17000 : 5), "another message came");
    IN_LIBRARY(wherry_channel_close(reader, WHERRY_NOW));
    return count;
}

/* Its state is damaged, and found again from the records, by one to whom anything may happen; and then by another. */
static void use_log(void)
{
    static const char data[17000];
    unsigned accepted = 0;
    struct wherry_channel *sender = open_log(WHERRY_SEND);
    if (sender && FINE(wherry_channel_send(sender, data, 5, WHERRY_NOW))) /* one is copied, one is not */
        accepted += 1 + FINE(wherry_channel_send(sender, data, 17000, WHERRY_NOW));
    FINE(wherry_channel_close(sender, WHERRY_NOW));
    int fd = open(run.log, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && accepted)
        check(pwrite(fd, "damage", 6, 515) == 6, "no damage could be done");
    close(fd);
    read_log();
    if (inject_fired()) /* nothing else fails now */
        check(read_log() >= accepted, "messages are lost");
}

/* Once through it all; whether the call came by that should fail. */
static bool go(enum inject_call call, unsigned nth, int code)
{
    bool fired = false;
    size_t descriptors = test_descriptors();
    inject_arm(call, nth, code);
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++)
        use_lock((enum wherry_lock_kind)kind, false);
    use_lock(WHERRY_LOCK_OFD, true);
    use_map();
    use_log();
    fired = inject_fired();
    inject_arm(call, 0, 0);
    check(test_descriptors() == descriptors, "descriptors are left open");
    unlink(run.lock);
    unlink(run.map);
    unlink(run.log);
    return fired;
}

static size_t call_count(void)
{
    return INJECT_CALLS;
}

TEST_WITH(storage_may_fail, .count = call_count, .entry = inject_name, .seconds = 300)
{
    char report[3000] = "";
    size_t faults = 0, problems = 0;
    test_path(run.lock, "lock");
    test_path(run.map, "map");
    snprintf(run.log, sizeof run.log, "/dev/shm/%.100s-log", test_word()); /* where fdatasync(2) takes no time */
    test_ok(wherry_lock_holders(test_dir(), NULL, 0, 0, NULL));
    inject_init();
    go(INJECT_close, 0, 0); /* what is made once a process */
    for (const int *code = errnos[index]; code < errnos[index] + 6 && *code; code++)
        for (unsigned nth = 1; nth < 400; nth++) {
            run.problem[0] = '\0';
            bool fired = go((enum inject_call)index, nth, *code);
            if (run.problem[0]) {
                size_t filled = strlen(report);
                problems++;
                snprintf(report + filled, sizeof report - filled, "\ncall %u with %s: %.200s", nth,
                         strerrorname_np(*code), run.problem);
            }
            faults += fired;
            if (!fired)
                break;
        }
    ck_assert_msg(errnos[index][0] || !inject_called(index), "it is called, and nothing makes it fail");
    ck_assert_msg(problems == 0, "%zu problems in %zu faults:%s", problems, faults, report);
    /* a waiter's note is there only if it waits long enough: what removes it may not be called */
    ck_assert_msg(errnos[index][0] == 0 || faults > 0 || index == INJECT_unlinkat, "nothing calls it");
    printf("# %s: %zu faults, 0 problems\n", inject_name(index), faults);
    fflush(stdout);
}
