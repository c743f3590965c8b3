/* tests/unit/test_log_cut.c - logs that somebody cut short while nobody had them open: what is missing is counted where
 * it can be known, and said where the log cannot be one any more.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "harness.h"
#include "storage/log_layout.h"
#include "unit/test_log_kit.h"

enum { RECORD = LOG_RECORD_HEAD + 8 }; /* of each message here */

static int try_open(const char *query, enum wherry_role role, struct wherry_channel **ret)
{
    char url[700];
    snprintf(url, sizeof url, "file://%s%s", test_path(path, "log"), query);
    return wherry_channel_open(url, role, NULL, test_deadline(), ret);
}

static void store_numbers(const char *query, uint64_t from, uint64_t to)
{
    struct wherry_channel *sender = open_end(query, WHERRY_SEND);
    for (uint64_t n = from; n < to; n++)
        test_ok(wherry_channel_send(sender, &n, sizeof n, test_deadline()));
    test_ok(wherry_channel_close(sender, test_deadline()));
}

static void expect_numbers(struct wherry_channel *reader, uint64_t from, uint64_t to)
{
    uint64_t got;
    for (uint64_t n = from; n < to; n++) {
        test_is(wherry_channel_receive(reader, &got, sizeof got, NULL, WHERRY_NOW), 1);
        ck_assert_uint_eq(got, n);
    }
}

static void expect_lost(struct wherry_channel *reader, uint64_t lost)
{
    struct wherry_channel_stats stats;
    uint64_t got;
    test_is(wherry_channel_receive(reader, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
    test_ok(wherry_channel_stats(reader, &stats, sizeof stats));
    ck_assert_uint_eq(stats.lost, lost);
    wherry_channel_close(reader, WHERRY_NOW);
}

static void cut_to(uint64_t records, off_t more)
{
    ck_assert_int_eq(truncate(path, LOG_HEAD + (off_t)records * RECORD + more), 0);
}

/* ---- in the same boot: all of it is known ---- */

static const struct {
    const char *name;
    uint64_t left; /* of ten */
    off_t more;    /* bytes of the next one */
} cuts[] = {
    {"between two", 4, 0}, {"in a head", 4, 8}, {"in a record", 4, RECORD - 1}, {"all", 0, 0}, {"the last", 9, 0}};

TEST_TABLE(what_was_cut_off_is_counted_by_all_who_missed_it, cuts)
{
    uint64_t left = cuts[index].left, lost = 10 - left;
    store_numbers("", 0, 10);
    struct wherry_channel *group = open_end("?group=early", WHERRY_RECEIVE);
    expect_numbers(group, 0, left / 2);
    wherry_channel_close(group, WHERRY_NOW);
    group = open_end("?group=late", WHERRY_RECEIVE); /* its place is beyond */
    expect_numbers(group, 0, 10);
    wherry_channel_close(group, WHERRY_NOW);
    group = open_end("?group=between", WHERRY_RECEIVE);
    expect_numbers(group, 0, (left + 10) / 2);
    wherry_channel_close(group, WHERRY_NOW);
    cut_to(left, cuts[index].more);

    store_numbers("", 10, 13);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    expect_numbers(reader, 0, left);
    expect_numbers(reader, 10, 13);
    expect_lost(reader, lost);
    reader = open_end("?group=early", WHERRY_RECEIVE);
    expect_numbers(reader, left / 2, left);
    expect_numbers(reader, 10, 13);
    expect_lost(reader, lost);
    reader = open_end("?group=late", WHERRY_RECEIVE); /* it had got what is gone */
    expect_numbers(reader, 10, 13);
    expect_lost(reader, 0);
    reader = open_end("?group=between", WHERRY_RECEIVE);
    expect_numbers(reader, 10, 13);
    expect_lost(reader, 10 - (left + 10) / 2);
    unlink(path);
}

/* Nobody has appended behind it yet. */
TEST(a_cut_log_is_damaged_until_somebody_appends)
{
    store_numbers("", 0, 5);
    test_path(path, "log");
    cut_to(2, 0);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    uint64_t got;
    expect_numbers(reader, 0, 2);
    test_is(wherry_channel_receive(reader, &got, sizeof got, NULL, WHERRY_NOW), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "120 bytes are gone"));
    test_is(wherry_channel_receive(reader, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN); /* once */
    store_numbers("", 5, 7);
    expect_numbers(reader, 5, 7);
    expect_lost(reader, 3);
    unlink(path);
}

/* The gap in the numbers stays readable when the log is found again from its records alone. */
TEST(records_behind_a_cut_survive_a_damaged_state_and_a_boot)
{
    store_numbers("", 0, 5);
    cut_to(2, 0);
    store_numbers("", 5, 8);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "damage", 6, LOG_STATE_AT + 3), 6);
    close(fd);
    wherry__sys.read = read_of_another_boot;
    store_numbers("", 8, 9);
    wherry__sys.read = read;
    store_numbers("", 9, 10);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    expect_numbers(reader, 0, 2);
    expect_numbers(reader, 5, 10);
    expect_lost(reader, 3);
    unlink(path);
}

/* ---- in another boot: what was known to be on the disk ---- */

static const struct {
    const char *name, *query;
    uint64_t left; /* of ten */
    off_t more;    /* bytes of the next */
    uint64_t lost;
} boots[] = {
    /* the tenth is on the disk, too, but the state from before says nothing of it */
    {"some_of_what_was_on_the_disk", "?fsync=each", 4, 3, 5},
    {"all_of_what_was_on_the_disk", "?fsync=each", 0, 0, 9},
    /* as a power cut would have left it */
    {"what_may_never_have_been_on_the_disk", "", 4, 3, 0},
};

TEST_TABLE(what_is_gone_after_a_boot_is_counted_if_it_was_on_the_disk, boots)
{
    store_numbers(boots[index].query, 0, 10);
    cut_to(boots[index].left, boots[index].more);
    wherry__sys.read = read_of_another_boot;
    store_numbers("", 10, 12);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    expect_numbers(reader, 0, boots[index].left);
    expect_numbers(reader, 10, 12);
    expect_lost(reader, boots[index].lost);
    wherry__sys.read = read;
    unlink(path);
}

/* ---- who may only read ---- */

static struct wherry_channel *open_as_nobody(const char *query)
{
    ck_assert(chmod(test_dir(), 0755) == 0 && seteuid(65534) == 0);
    struct wherry_channel *reader = open_end(query, WHERRY_RECEIVE);
    ck_assert(seteuid(0) == 0 && chmod(test_dir(), 0700) == 0);
    return reader;
}

TEST(who_may_only_read_counts_what_was_on_the_disk)
{
    struct wherry_channel_stats stats;
    uint64_t got;
    if (!test_is_root())
        test_skip("becoming another uid needs root");
    store_numbers("?fsync=each&mode=0644", 0, 10);
    cut_to(4, 3);
    wherry__sys.read = read_of_another_boot;
    struct wherry_channel *all = open_as_nobody("?uid=0"), *new = open_as_nobody("?uid=0&from=end");
    expect_numbers(all, 0, 4);
    for (int i = 0; i < 3; i++) /* once */
        test_is(wherry_channel_receive(all, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
    test_ok(wherry_channel_stats(all, &stats, sizeof stats));
    ck_assert_uint_eq(stats.lost, 5);
    test_is(wherry_channel_receive(new, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
    store_numbers("", 10, 12);
    expect_numbers(all, 10, 12);
    expect_lost(all, 5);
    expect_numbers(new, 10, 12);
    wherry_channel_close(new, WHERRY_NOW);
    wherry__sys.read = read;
    unlink(path);
}

/* A tail of any length that a power cut left is no record, and what takes its place is. */
TEST(who_may_only_read_waits_before_a_torn_head_of_any_length)
{
    if (!test_is_root())
        test_skip("becoming another uid needs root");
    for (off_t torn = 1; torn < RECORD; torn++) {
        uint64_t got;
        store_numbers("?mode=0644", 0, 3);
        cut_to(2, torn);
        wherry__sys.read = read_of_another_boot;
        struct wherry_channel *all = open_as_nobody("?uid=0"), *new = open_as_nobody("?uid=0&from=end");
        expect_numbers(all, 0, 2);
        test_is(wherry_channel_receive(all, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
        test_is(wherry_channel_receive(new, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
        store_numbers("", 7, 9);
        expect_numbers(all, 7, 9);
        expect_lost(all, 0);
        expect_numbers(new, 7, 9);
        expect_lost(new, 0);
        wherry__sys.read = read;
        unlink(path);
    }
}

/* ---- under those who have it open ---- */

static const struct {
    const char *name;
    uint64_t more; /* records behind the cut, before anybody looks */
    size_t size;
} overtaken[] = {{"by less", 1, 8}, {"to the same place", 3, 8}, {"by more", 5, 8}, {"by longer ones", 3, 100}};

static void send_sized(uint64_t from, uint64_t count, size_t size)
{
    uint64_t data[20] = {0};
    struct wherry_channel *sender = open_end("", WHERRY_SEND);
    for (uint64_t n = from; n < from + count; n++) {
        data[0] = n;
        test_ok(wherry_channel_send(sender, data, size, test_deadline()));
    }
    test_ok(wherry_channel_close(sender, test_deadline()));
}

static void expect_sized(struct wherry_channel *reader, uint64_t from, uint64_t count)
{
    uint64_t data[20];
    for (uint64_t n = from; n < from + count; n++) {
        test_is(wherry_channel_receive(reader, data, sizeof data, NULL, WHERRY_NOW), 1);
        ck_assert_uint_eq(data[0], n);
    }
}

static void expect_stale(struct wherry_channel *reader)
{
    uint64_t got;
    for (int i = 0; i < 3; i++) { /* for ever */
        test_is(wherry_channel_receive(reader, &got, sizeof got, NULL, WHERRY_NOW), -ESTALE);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "was cut short"));
    }
    wherry_channel_close(reader, WHERRY_NOW);
}

TEST_TABLE(an_open_group_goes_back_to_what_is_left, overtaken)
{
    uint64_t more = overtaken[index].more;
    size_t size = overtaken[index].size;
    store_numbers("", 0, 10);
    struct wherry_channel *all = open_end("?group=all", WHERRY_RECEIVE);
    struct wherry_channel *some = open_end("?group=some", WHERRY_RECEIVE);
    struct wherry_channel *few = open_end("?group=few", WHERRY_RECEIVE), *one = open_end("?group=two", WHERRY_RECEIVE);
    struct wherry_channel *other = open_end("?group=two", WHERRY_RECEIVE);
    struct wherry_channel *none = open_end("?group=no", WHERRY_RECEIVE);
    expect_numbers(all, 0, 10);
    expect_numbers(some, 0, 8);
    expect_numbers(few, 0, 4); /* and has read ahead */
    expect_numbers(one, 0, 4);
    expect_numbers(other, 4, 9);
    cut_to(7, 0);
    send_sized(10, more, size);
    expect_sized(all, 10, more);
    expect_lost(all, 0);
    expect_sized(some, 10, more);
    expect_lost(some, 2);
    expect_numbers(few, 4, 7);
    expect_sized(few, 10, more);
    expect_lost(few, 3);
    expect_sized(one, 10, more);
    expect_lost(one, 1);
    expect_lost(other, 0);
    expect_numbers(none, 0, 7);
    expect_sized(none, 10, more);
    expect_lost(none, 3);
    unlink(path);
}

TEST_TABLE(an_open_reader_is_told_of_a_cut_that_was_overtaken, overtaken)
{
    uint64_t more = overtaken[index].more;
    size_t size = overtaken[index].size;
    store_numbers("", 0, 10);
    struct wherry_channel *all = open_end("", WHERRY_RECEIVE), *new = open_end("?from=end", WHERRY_RECEIVE);
    struct wherry_channel *none = open_end("", WHERRY_RECEIVE);
    expect_numbers(all, 0, 10);
    cut_to(7, 0);
    send_sized(10, more, size);
    expect_stale(all);
    expect_stale(new);
    expect_numbers(none, 0, 7); /* its place is not behind the cut */
    expect_sized(none, 10, more);
    expect_lost(none, 3);
    unlink(path);
}

/* The state says of the last cut alone how much was kept. */
TEST(who_missed_two_cuts_is_told)
{
    store_numbers("", 0, 10);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE), *none = open_end("", WHERRY_RECEIVE);
    struct wherry_channel *both = open_end("", WHERRY_RECEIVE);
    expect_numbers(reader, 0, 10);
    cut_to(7, 0);
    store_numbers("", 10, 20);
    expect_numbers(both, 0, 7);
    expect_numbers(both, 10, 12);
    cut_to(12, 0);
    store_numbers("", 20, 21);
    expect_stale(reader);
    expect_numbers(none, 0, 7);
    expect_stale(none);
    expect_numbers(both, 12, 20); /* which it has in memory */
    expect_stale(both);
    unlink(path);
}

/* Nobody has appended. */
static void wait_for_stale(void *query)
{
    struct wherry_channel *reader = open_end(query, WHERRY_RECEIVE);
    uint64_t got;
    expect_numbers(reader, 0, 10);
    test_is(wherry_channel_receive(reader, &got, sizeof got, NULL, test_deadline()), -ESTALE);
    wherry_channel_close(reader, WHERRY_NOW);
}

static const struct {
    const char *name, *query;
    off_t size;
} waits[] = {{"by some records", "", LOG_HEAD + 7 * RECORD},
             {"into its head", "", 30000},
             {"into its head, of a group", "?group=g", 3000}};

TEST_TABLE(a_waiting_reader_is_told_of_a_cut_at_once, waits)
{
    store_numbers("", 0, 10);
    pid_t child = test_fork(wait_for_stale, (void *)(uintptr_t)waits[index].query);
    test_until_asleep(child);
    ck_assert_int_eq(truncate(path, waits[index].size), 0);
    test_join(child);
    unlink(path);
}

/* It goes back at once, by itself, and waits on. */
TEST(a_waiting_group_goes_back_before_anybody_appends)
{
    uint64_t got;
    store_numbers("", 0, 10);
    struct wherry_channel *group = open_end("?group=g", WHERRY_RECEIVE);
    expect_numbers(group, 0, 10);
    cut_to(7, 3);
    test_is(wherry_channel_receive(group, &got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
    struct stat status;
    ck_assert(stat(path, &status) == 0 && status.st_size == LOG_HEAD + 7 * RECORD);
    store_numbers("", 10, 12);
    expect_numbers(group, 10, 12);
    expect_lost(group, 0);
    unlink(path);
}

/* A place that is written after the group was set back would undo it. */
TEST(who_recovers_waits_for_a_member_on_its_way)
{
    uint64_t n = 10;
    store_numbers("", 0, 10);
    struct wherry_channel *group = open_end("?group=g", WHERRY_RECEIVE);
    expect_numbers(group, 0, 10);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOG_LOCK_GROUP, .l_len = 1};
    ck_assert(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    cut_to(7, 0);
    struct wherry_channel *sender = open_end("", WHERRY_SEND);
    test_is(wherry_channel_send(sender, &n, sizeof n, WHERRY_NOW), -EAGAIN);
    close(fd);
    test_ok(wherry_channel_send(sender, &n, sizeof n, test_deadline()));
    wherry_channel_close(sender, WHERRY_NOW);
    expect_numbers(group, 10, 11);
    expect_lost(group, 0);
    unlink(path);
}

/* ---- within the head ---- */

TEST(a_log_cut_within_its_head_is_refused)
{
    struct wherry_channel *channel = NULL;
    for (off_t size = LOG_HEAD_SIZE; size < LOG_HEAD; size += 907) {
        store_numbers("", 0, 2);
        ck_assert_int_eq(truncate(path, size), 0);
        for (enum wherry_role role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++) {
            test_is(try_open("", role, &channel), -EBADMSG);
            ck_assert_ptr_nonnull(strstr(wherry_why(), "remove it to begin a new one"));
        }
        unlink(path);
    }
}
