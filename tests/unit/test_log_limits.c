/* tests/unit/test_log_limits.c - what an append to a log meets: a write that fails, a lock, a full or read-only
 * disk, retention, fsync.
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "unit/test_log_kit.h"

/* ---- failed appends ---------------------------------------------------------------------------------------------- */

static unsigned failing_writes;

static ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (failing_writes > 0 && --failing_writes == 0) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, data, size, at);
}

/* Of the records or of the state: nothing is in the log, and what waits for a flush is as good as it was. */
TEST(a_failed_append_leaves_nothing_and_can_be_tried_again)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    struct wherry_message first = {.data = "message 0", .size = 9};
    wherry__sys.pwrite = failing_pwrite;
    for (unsigned n = 0; n < 4; n += 2) {
        first.data = n ? "message 2" : "message 0";
        size_t before = file_size();
        test_is(wherry_channel_send_message(sender, &first, WHERRY_MORE, WHERRY_NOW), 0);
        failing_writes = n ? 1 : 2; /* the records; the state */
        test_is(send_number(sender, n + 1), -ENOSPC);
        ck_assert_uint_eq(failing_writes, 0);
        ck_assert_uint_eq(file_size(), before);
        expect_nothing(reader);
        test_is(send_number(sender, n + 1), 0);
        expect_number(reader, n);
        expect_number(reader, n + 1);
        expect_nothing(reader);
    }
    shut(sender), shut(reader);
    unlink(path);
}

TEST(a_new_group_on_a_full_disk_is_told_what_to_do)
{
    char url[400];
    struct wherry_channel *reader = NULL;
    shut(open_end("", WHERRY_SEND));
    snprintf(url, sizeof url, "file://%s?group=g", path);
    wherry__sys.pwrite = failing_pwrite;
    failing_writes = 1;
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &reader), -ENOSPC);
    ck_assert_uint_eq(failing_writes, 0);
    why_says("the disk is full: the group's place could not be saved; make room and try again, or leave group= out");
    shut(open_end("?group=g", WHERRY_RECEIVE));
    unlink(path);
}

/* A flush that returns 0 has accepted what waited; one that could not leaves it to the next. */
TEST(what_a_flush_could_not_append_the_next_one_does)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    struct wherry_message first = {.data = "message 0", .size = 9}, second = {.data = "message 1", .size = 9};
    wherry__sys.pwrite = failing_pwrite;
    test_is(wherry_channel_send_message(sender, &first, WHERRY_MORE, WHERRY_NOW), 0);
    test_is(wherry_channel_send_message(sender, &second, WHERRY_MORE, WHERRY_NOW), 0);
    failing_writes = 1;
    test_is(wherry_channel_flush(sender, WHERRY_NOW), -ENOSPC);
    expect_nothing(reader);
    test_is(wherry_channel_flush(sender, WHERRY_NOW), 0);
    expect_number(reader, 0);
    expect_number(reader, 1);
    first.data = "message 2";
    test_is(wherry_channel_send_message(sender, &first, WHERRY_MORE, WHERRY_NOW), 0);
    failing_writes = 1;
    test_is(wherry_channel_close(sender, WHERRY_NOW), -ENOSPC);
    expect_nothing(reader);
    shut(reader);
    unlink(path);
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

/* Who is stopped with the lock holds up the others, but not beyond their deadlines. */
TEST(a_held_lock_costs_no_more_than_the_deadline)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert(fcntl(fd, F_OFD_SETLK, &lock) == 0); /* the whole file, as a tool of one's own would */
    struct wherry_message message = {.data = "x", .size = 1};
    test_is(wherry_channel_send(sender, "x", 1, WHERRY_NOW), -EAGAIN);
    wherry_time deadline = wherry_after(30 * WHERRY_MILLISECOND);
    test_is(wherry_channel_send(sender, "x", 1, deadline), -ETIMEDOUT);
    ck_assert(wherry_now() >= deadline);
    why_says("this process, through another open file, holds the lock that appending takes; wait longer, or end it");
    test_is(wherry_channel_send_message(sender, &message, WHERRY_MORE, WHERRY_NOW), 0);
    test_is(wherry_channel_flush(sender, WHERRY_NOW), -EAGAIN);
    wherry_channel_interrupt(sender);
    test_is(wherry_channel_send(sender, "x", 1, test_deadline()), -ECANCELED);
    expect_nothing(reader);
    close(fd);
    test_is(wherry_channel_flush(sender, test_deadline()), 0);
    char got[8];
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, test_deadline()), 1);
    expect_nothing(reader);
    shut(sender), shut(reader);
    unlink(path);
}

struct holder {
    struct test_gate locked, done;
    off_t from, length;
};

static void hold(void *argument)
{
    struct holder *holder = argument;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = holder->from, .l_len = holder->length};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    test_gate_open(&holder->locked);
    test_gate_wait(&holder->done);
    close(fd);
}

static pid_t start_holder(struct holder *holder, off_t from, off_t length)
{
    holder->from = from;
    holder->length = length;
    test_gate_init(&holder->locked);
    test_gate_init(&holder->done);
    pid_t child = test_fork(hold, holder);
    test_gate_wait(&holder->locked);
    return child;
}

static void end_holder(struct holder *holder, pid_t child)
{
    test_gate_open(&holder->done);
    test_join(child);
    test_gate_fini(&holder->locked);
    test_gate_fini(&holder->done);
}

static void why_names_holder(pid_t child, const char *what)
{
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d (", (int)child);
    why_says(pid);
    why_says(what);
}

/* A close that cannot append blames nobody who receives: there may be none. */
TEST(a_close_that_met_the_lock_says_who_has_it)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    struct wherry_message message = {.data = "x", .size = 1};
    struct holder holder;
    pid_t child = start_holder(&holder, LOG_LOCK_APPEND, 1);
    test_is(wherry_channel_send_message(sender, &message, WHERRY_MORE, WHERRY_NOW), 0);
    test_is(wherry_channel_close(sender, wherry_after(10 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    why_names_holder(child, "holds the lock that appending takes: what was not appended yet is lost; close with more");
    sender = open_end("", WHERRY_SEND);
    test_is(wherry_channel_send_message(sender, &message, WHERRY_MORE, WHERRY_NOW), 0);
    test_is(wherry_channel_close(sender, WHERRY_NOW), -EAGAIN);
    why_names_holder(child, "what was not appended yet is lost");
    end_holder(&holder, child);
    expect_nothing(reader);
    shut(reader);
    unlink(path);
}

TEST(who_cannot_join_a_group_is_told_who_has_its_lock)
{
    char url[400];
    struct wherry_channel *reader = open_end("?group=g", WHERRY_RECEIVE), *second = NULL;
    struct holder holder;
    pid_t child = start_holder(&holder, LOG_LOCK_GROUP, 1);
    snprintf(url, sizeof url, "file://%s?group=g", path);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &second), -EAGAIN);
    why_names_holder(child, "holds the lock of the group's place, or is stopped with it; wait longer, or end it");
    end_holder(&holder, child);
    shut(reader);
    unlink(path);
}

/* ---- retention --------------------------------------------------------------------------------------------------- */

TEST(retention_by_size_gives_the_disk_back_and_counts_what_was_missed)
{
    enum { COUNT = 4000, SIZE = 1000, KEEP = 500000 };
    struct wherry_channel *sender = open_end("?retain_bytes=500000", WHERRY_SEND), *slow = open_end("", WHERRY_RECEIVE);
    char data[SIZE] = "";
    struct stat status;
    size_t size;
    unsigned n, got = 0;
    for (n = 0; n < COUNT; n++) {
        memcpy(data, &n, sizeof n);
        test_is(wherry_channel_send(sender, data, SIZE, test_deadline()), 0);
    }
    ck_assert(stat(path, &status) == 0);
    ck_assert_uint_ge((size_t)status.st_size, (size_t)COUNT * SIZE);
    ck_assert_msg(status.st_blocks * 512 < 2 * KEEP, "%lld bytes of disk", (long long)status.st_blocks * 512);
    unsigned next = 0;
    while (wherry_channel_receive(slow, data, SIZE, &size, WHERRY_NOW) == 1) {
        memcpy(&n, data, sizeof n);
        if (got++ > 0)
            ck_assert_uint_eq(n, next);
        next = n + 1;
    }
    ck_assert_uint_eq(next, COUNT);
    ck_assert_uint_ge(got * log_record_size(SIZE), KEEP - SIZE - 100);
    ck_assert_uint_le(got * log_record_size(SIZE), KEEP);
    struct wherry_channel_stats stats;
    test_ok(wherry_channel_stats(slow, &stats, sizeof stats));
    ck_assert_uint_eq(stats.lost + got, COUNT);
    shut(sender), shut(slow);
    unlink(path);
}

TEST(retention_by_age_drops_what_is_old_when_something_is_sent)
{
    struct wherry_channel *sender = open_end("?retain_age=1ns", WHERRY_SEND); /* whatever was sent before */
    send_numbers(sender, 0, 5);
    send_numbers(sender, 5, 6);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    expect_number(reader, 5);
    expect_nothing(reader);
    shut(sender), shut(reader);
    unlink(path);
}

/* ---- full disks and limits --------------------------------------------------------------------------------------- */

static void on_a_small_disk(void *argument)
{
    (void)argument;
    char data[4000] = "", small[300], url[400];
    struct wherry_channel *sender = NULL, *reader = NULL;
    size_t size;
    unsigned sent = 0, n;
    test_path(small, "disk");
    ck_assert(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    ck_assert(mount("tmpfs", small, "tmpfs", 0, "size=400k") == 0);
    snprintf(url, sizeof url, "file://%s/log", small);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender), 0);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &reader), 0);
    int result;
    while ((memcpy(data, &sent, sizeof sent), result = wherry_channel_send(sender, data, sizeof data, WHERRY_NOW)) == 0)
        ck_assert_uint_lt(++sent, 200);
    test_is(result, -ENOSPC);
    why_says("make room");
    ck_assert_uint_gt(sent, 50);
    struct wherry_message many[3] = {
        {.data = data, .size = 4000}, {.data = data, .size = 4000}, {.data = data, .size = 4000}};
    test_is(wherry_channel_send_many(sender, many, 3, WHERRY_NOW), -ENOSPC);
    for (n = 0; n < sent; n++) {
        unsigned number;
        test_is(wherry_channel_receive(reader, data, sizeof data, &size, WHERRY_NOW), 1);
        memcpy(&number, data, sizeof number);
        ck_assert_uint_eq(number, n);
    }
    test_is(wherry_channel_receive(reader, data, sizeof data, &size, WHERRY_NOW), -EAGAIN);
    ck_assert(mount("none", small, NULL, MS_REMOUNT, "size=800k") == 0); /* room */
    test_is(wherry_channel_send(sender, "again", 5, WHERRY_NOW), 0);
    test_is(wherry_channel_receive(reader, data, sizeof data, &size, WHERRY_NOW), 1);
    ck_assert(size == 5 && memcmp(data, "again", 5) == 0);
    shut(sender), shut(reader);
    ck_assert(umount2(small, MNT_DETACH) == 0);
}

TEST(a_full_disk_tears_nothing_and_goes_on_when_there_is_room)
{
    char small[300];
    if (!test_is_root())
        test_skip("a file system of its own needs root");
    ck_assert(mkdir(test_path(small, "disk"), 0700) == 0);
    test_join(test_fork(on_a_small_disk, NULL));
    rmdir(small);
}

static void on_a_read_only_disk(void *argument)
{
    (void)argument;
    char small[300], url[400];
    struct wherry_channel *sender = NULL, *reader = NULL;
    test_path(small, "disk");
    ck_assert(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    ck_assert(mount("tmpfs", small, "tmpfs", 0, "size=400k") == 0);
    snprintf(url, sizeof url, "file://%s/log", small);
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender));
    send_numbers(sender, 0, 1);
    shut(sender);
    ck_assert(mount("none", small, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender), -EROFS);
    why_says("is on a file system that is mounted read-only: name another path");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &reader));
    expect_number(reader, 0);
    shut(reader);
    snprintf(url, sizeof url, "file://%s/log?group=g", small);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &reader), -EROFS);
    why_says("mounted read-only: leave group= out, whose place is saved in it, to read it");
    snprintf(url, sizeof url, "file://%s/other", small);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender), -EROFS);
    why_says("mounted read-only: name another path");
    ck_assert(umount2(small, MNT_DETACH) == 0);
}

TEST(a_read_only_disk_is_read_without_a_group)
{
    char small[300];
    if (!test_is_root())
        test_skip("a file system of its own needs root");
    ck_assert(mkdir(test_path(small, "disk"), 0700) == 0);
    test_join(test_fork(on_a_read_only_disk, NULL));
    rmdir(small);
}

static void open_as_nobody(void *argument)
{
    char url[400];
    struct wherry_channel *reader = NULL;
    (void)argument;
    ck_assert(test_become_nobody());
    snprintf(url, sizeof url, "file://%s?group=g&uid=any", path);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &reader), -EACCES);
    why_says("belongs to uid 0 (mode 0644), and uid 65534 may not write it: leave group= out");
    snprintf(url, sizeof url, "file://%s?uid=any", path);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &reader));
    shut(reader);
}

TEST(another_users_log_is_read_without_a_group)
{
    if (!test_is_root())
        test_skip("only root can become another user");
    shut(open_end("?mode=0644", WHERRY_SEND));
    ck_assert_int_eq(chmod(test_dir(), 0755), 0);
    test_join(test_fork(open_as_nobody, NULL));
    ck_assert_int_eq(chmod(test_dir(), 0700), 0);
    unlink(path);
}

/* Else SIGXFSZ kills. */
TEST(a_limit_of_file_sizes_is_an_error_and_no_signal)
{
    struct rlimit limit = {100000, RLIM_INFINITY};
    char data[4000] = "";
    ck_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    struct wherry_channel *sender = open_end("", WHERRY_SEND);
    int result;
    while ((result = wherry_channel_send(sender, data, sizeof data, WHERRY_NOW)) == 0)
        ;
    test_is(result, -EFBIG);
    shut(sender);
    unlink(path);
}

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

static unsigned syncs;
static int counted_sync(int fd)
{
    syncs++;
    return fdatasync(fd);
}

static int failing_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

TEST(fsync_is_done_as_the_option_says)
{
    shut(open_end("", WHERRY_SEND));
    wherry__sys.fdatasync = counted_sync;
    struct wherry_channel *none = open_end("?fsync=none", WHERRY_SEND), *each = open_end("?fsync=each", WHERRY_SEND),
                          *often = open_end("?fsync=40ms", WHERRY_SEND);
    send_numbers(none, 0, 10);
    ck_assert_uint_eq(syncs, 0);
    send_numbers(each, 0, 10);
    ck_assert_uint_eq(syncs, 10);
    send_numbers(often, 0, 1);
    ck_assert_uint_eq(syncs, 10);
    test_sleep(45 * WHERRY_MILLISECOND);
    send_numbers(often, 1, 2);
    ck_assert_uint_eq(syncs, 11);
    send_numbers(often, 2, 3);
    shut(often); /* what is left */
    ck_assert_uint_eq(syncs, 12);
    struct wherry_message messages[20];
    for (int i = 0; i < 20; i++)
        messages[i] = (struct wherry_message){.data = "x", .size = 1};
    test_is((int)wherry_channel_send_many(each, messages, 20, WHERRY_NOW), 20);
    ck_assert_uint_eq(syncs, 13); /* one for all */
    wherry__sys.fdatasync = failing_sync;
    test_is(send_number(each, 1), -EIO);
    wherry__sys.fdatasync = counted_sync;
    test_is(send_number(each, 1), -EIO); /* what the kernel dropped a second fdatasync does not bring back */
    test_is(wherry_channel_flush(each, WHERRY_NOW), -EIO);
    test_is(wherry_channel_close(each, WHERRY_NOW), -EIO);
    often = open_end("?fsync=1000s", WHERRY_SEND);
    send_numbers(often, 3, 4);
    wherry__sys.fdatasync = failing_sync;
    test_is(wherry_channel_close(often, WHERRY_NOW), -EIO); /* nobody else says it */
    wherry__sys.fdatasync = fdatasync;
    shut(none);
    unlink(path);
}
