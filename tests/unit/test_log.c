/* tests/unit/test_log.c - the log behind file:, its layout, torn tails, damage, places and groups, and what is opened.
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "unit/test_log_kit.h"

/* ---- the check --------------------------------------------------------------------------------------------------- */

TEST(crc_is_castagnolis)
{
    ck_assert_uint_eq(wherry__log_crc(0, "123456789", 9), 0xE3069283u); /* RFC 3720, B.4, and others */
    static const uint8_t zeros[32];
    ck_assert_uint_eq(wherry__log_crc(0, zeros, 32), 0x8A9136AAu);
}

/* Long ones go in three runs: they come to what they come to byte by byte. */
TEST(crc_of_long_runs_is_that_of_their_bytes)
{
    enum { SIZE = 20000 };
    uint8_t *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 131 + (i >> 5));
    for (size_t size = 0; size < SIZE; size += 1 + size / 3) {
        uint32_t crc = 0;
        for (size_t i = 0; i < size; i++)
            crc = wherry__log_crc(crc, data + i, 1);
        ck_assert_uint_eq(wherry__log_crc(0, data, size), crc);
    }
    free(data);
}

/* ---- torn tails and short writes --------------------------------------------------------------------------------- */

/* H6: bytes that somebody died writing are cut by the next who appends, and nobody reads them. */
TEST(h6_a_torn_tail_is_cut_and_never_read)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    send_numbers(sender, 0, 3);
    size_t whole = file_size();
    static const char torn[100] = "WREC\50\0\0\0";
    poke((off_t)whole, torn, sizeof torn);
    for (unsigned n = 0; n < 3; n++)
        expect_number(reader, n);
    expect_nothing(reader);
    struct wherry_channel *other = open_end("", WHERRY_SEND);
    send_numbers(other, 3, 4);
    expect_number(reader, 3);
    expect_nothing(reader);
    ck_assert_uint_eq(file_size(), whole + log_record_size(strlen("message 3")));
    shut(sender), shut(other), shut(reader);
    unlink(path);
}

static ssize_t pwrite_of_3(int fd, const void *data, size_t size, off_t at)
{
    return pwrite(fd, data, size < 3 ? size : 3, at);
}

static ssize_t pwritev_of_3(int fd, const struct iovec *parts, int count, off_t at)
{
    while (count > 1 && parts->iov_len == 0)
        parts++, count--;
    return pwrite_of_3(fd, parts->iov_base, parts->iov_len, at);
}

TEST(h5_short_writes_and_reads_are_gone_on_with)
{
    enum { BIG = 40001 };
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("?group=g", WHERRY_RECEIVE);
    uint8_t *data = malloc(BIG), *got = malloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        data[i] = (uint8_t)(i * 7);
    wherry__sys.pwrite = pwrite_of_3;
    wherry__sys.pwritev = pwritev_of_3;
    size_t size;
    test_is(send_number(sender, 0), 0);
    test_is(wherry_channel_send(sender, data, BIG, test_deadline()), 0);
    expect_number(reader, 0);
    test_is(wherry_channel_receive(reader, got, BIG, &size, test_deadline()), 1);
    ck_assert(size == BIG && memcmp(data, got, BIG) == 0);
    free(data), free(got);
    shut(sender), shut(reader);
    unlink(path);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

TEST(a_damaged_record_is_said_and_skipped)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader;
    struct wherry_channel_stats stats;
    char got[64];
    send_numbers(sender, 0, 5);
    size_t one = (size_t)log_record_size(strlen("message 0"));
    poke((off_t)(LOG_HEAD + 2 * one + LOG_RECORD_HEAD), "M", 1);
    reader = open_end("", WHERRY_RECEIVE);
    expect_number(reader, 0);
    expect_number(reader, 1);
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, WHERRY_NOW), -EBADMSG);
    ck_assert_msg(strstr(wherry_why(), "damaged at byte"), "%s", wherry_why());
    expect_number(reader, 3);
    expect_number(reader, 4);
    expect_nothing(reader);
    test_ok(wherry_channel_stats(reader, &stats, sizeof stats));
    ck_assert_uint_eq(stats.dropped, 1);
    shut(sender), shut(reader);
    unlink(path);
}

TEST(a_damaged_state_is_found_again_from_the_records)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    send_numbers(sender, 0, 5);
    poke(LOG_STATE_AT + 3, "damage", 6);
    send_numbers(sender, 5, 7);
    for (unsigned n = 0; n < 7; n++)
        expect_number(reader, n);
    expect_nothing(reader);
    shut(sender), shut(reader);
    unlink(path);
}

/* A copy of a log in a message, and a log put into another's place, are no records of this one. */
TEST(records_of_another_log_are_none_here)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    uint8_t record[400];
    size_t size;
    send_numbers(sender, 0, 2);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, record, sizeof record, LOG_HEAD);
    close(fd);
    test_is(wherry_channel_send(sender, record, (size_t)got, test_deadline()), 0);
    send_numbers(sender, 3, 4);
    /* the message's own head is damaged, so that the next record is searched for within it */
    poke((off_t)(LOG_HEAD + 2 * log_record_size(strlen("message 0"))), "X", 1);
    expect_number(reader, 0);
    expect_number(reader, 1);
    test_is(wherry_channel_receive(reader, record, sizeof record, &size, WHERRY_NOW), -EBADMSG);
    expect_number(reader, 3);
    expect_nothing(reader);
    shut(sender), shut(reader);
    unlink(path);
}

TEST(a_log_emptied_or_removed_under_its_users_is_an_error)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    char got[64];
    send_numbers(sender, 0, 2);
    expect_number(reader, 0);
    expect_number(reader, 1);
    ck_assert(truncate(path, 0) == 0);
    test_is(send_number(sender, 2), -ESTALE);
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, WHERRY_NOW), -ESTALE);
    shut(sender), shut(reader);
    sender = open_end("", WHERRY_SEND), reader = open_end("", WHERRY_RECEIVE); /* no bytes: it becomes a log */
    send_numbers(sender, 0, 1);
    unlink(path);
    test_is(send_number(sender, 1), -ESTALE);
    expect_number(reader, 0);
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, test_deadline()), 0); /* the end, once */
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, WHERRY_NOW), -ESTALE);
    shut(sender), shut(reader);
}

/* What comes then lies where the reader has been already, and it would not see it. */
TEST(a_log_cut_short_under_its_reader_is_an_error)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND), *reader = open_end("", WHERRY_RECEIVE);
    char got[64];
    send_numbers(sender, 0, 3);
    for (unsigned n = 0; n < 3; n++)
        expect_number(reader, n);
    ck_assert(truncate(path, 36864 + 48) == 0); /* the first is left */
    send_numbers(sender, 3, 4);
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, WHERRY_NOW), -ESTALE);
    shut(reader), shut(sender);
    reader = open_end("", WHERRY_RECEIVE);
    expect_number(reader, 0);
    expect_number(reader, 3);
    shut(reader);
    unlink(path);
}

TEST(a_sleeping_reader_is_woken_by_the_removal)
{
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    pid_t self = getpid(), child = fork();
    if (child == 0) {
        test_until_asleep(self);
        unlink(path);
        _exit(0);
    }
    char got[64];
    test_is(wherry_channel_receive(reader, got, sizeof got, NULL, test_deadline()), 0);
    test_join_status(child, 0);
    shut(reader);
}

TEST(a_log_of_another_version_is_not_touched)
{
    char url[400];
    struct wherry_channel *channel = NULL;
    shut(open_end("", WHERRY_SEND));
    poke(11, "2", 1); /* "wherry log 1" */
    snprintf(url, sizeof url, "file://%s", path);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++) {
        test_is(wherry_channel_open(url, (enum wherry_role)role, NULL, WHERRY_NOW, &channel), -EPROTO);
        why_says("another version of wherry, whose layout this one does not know; read it with that version, or name");
    }
    unlink(path);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

TEST(from_says_where_a_reader_begins)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND);
    send_numbers(sender, 0, 3);
    struct wherry_channel *all = open_end("?from=beginning", WHERRY_RECEIVE),
                          *new = open_end("?from=end", WHERRY_RECEIVE);
    expect_number(all, 0);
    expect_nothing(new);
    send_numbers(sender, 3, 4);
    expect_number(new, 3);
    shut(all), shut(new);
    struct wherry_channel *member = open_end("?group=g", WHERRY_RECEIVE); /* a new one: from the beginning */
    expect_number(member, 0);
    expect_number(member, 1);
    shut(member);
    member = open_end("?group=g&from=saved", WHERRY_RECEIVE);
    expect_number(member, 2);
    shut(member);
    member = open_end("?group=g&from=end", WHERRY_RECEIVE); /* the group is moved */
    expect_nothing(member);
    shut(member);
    member = open_end("?group=g&from=beginning", WHERRY_RECEIVE);
    expect_number(member, 0);
    shut(member), shut(sender);
    struct wherry_channel *none = NULL;
    char url[300];
    snprintf(url, sizeof url, "file://%s?from=saved", path);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &none), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "group=NAME"), "%s", wherry_why());
    unlink(path);
}

/* A member that dies with a message loses it to another, who is told. */
TEST(a_dead_members_message_is_given_again)
{
    struct wherry_channel *sender = open_end("", WHERRY_SEND);
    struct test_gate gate;
    test_gate_init(&gate);
    send_numbers(sender, 0, 3);
    pid_t child = fork();
    if (child == 0) {
        struct wherry_channel *member = open_end("?group=g", WHERRY_RECEIVE);
        struct wherry_loan loan;
        if (wherry_channel_borrow(member, &loan, test_deadline()) != 1)
            _exit(1);
        test_gate_open(&gate);
        for (;;)
            pause();
    }
    test_gate_wait(&gate);
    struct wherry_channel *other = open_end("?group=g", WHERRY_RECEIVE);
    expect_number(other, 1); /* the others go on */
    expect_number(other, 2);
    expect_nothing(other); /* nothing is taken from the living */
    int fd = wherry_channel_receive_fd(other);
    test_ok(fd);
    test_kill(child);
    char got[64] = "";
    struct wherry_info info;
    test_is(wherry_channel_receive_info(other, got, 3, &info, test_deadline()), -EMSGSIZE);
    test_is(wherry_channel_receive_info(other, got, sizeof got, &info, test_deadline()), 1);
    ck_assert_str_eq(got, "message 0");
    ck_assert_uint_eq(info.flags & WHERRY_REDELIVERED, WHERRY_REDELIVERED);
    expect_nothing(other);
    shut(other), shut(sender);
    test_gate_fini(&gate);
    unlink(path);
}

TEST(groups_and_members_have_an_end_that_is_said)
{
    struct wherry_channel *members[LOG_MEMBERS], *one_more = NULL;
    char url[400];
    for (int i = 0; i < LOG_MEMBERS; i++)
        members[i] = open_end("?group=g", WHERRY_RECEIVE);
    snprintf(url, sizeof url, "file://%s?group=g", path);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &one_more), -EUSERS);
    for (int i = 0; i < LOG_MEMBERS; i++)
        shut(members[i]);
    for (int i = 1; i < LOG_GROUPS; i++) {
        snprintf(url, sizeof url, "?group=g%d", i);
        shut(open_end(url, WHERRY_RECEIVE));
    }
    snprintf(url, sizeof url, "file://%s?group=one-too-many", path);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &one_more), -EUSERS);
    shut(open_end("?group=g7", WHERRY_RECEIVE));
    unlink(path);
}

/* ---- what is opened ---------------------------------------------------------------------------------------------- */

TEST(a_reader_needs_no_more_than_the_right_to_read)
{
    if (!test_is_root())
        test_skip("becoming another uid needs root");
    struct wherry_channel *sender = open_end("?mode=0644", WHERRY_SEND);
    send_numbers(sender, 0, 2);
    ck_assert(chmod(test_dir(), 0755) == 0);
    pid_t child = fork();
    if (child == 0) {
        if (!test_become_nobody())
            _exit(2);
        struct wherry_channel *reader = open_end("?uid=0", WHERRY_RECEIVE), *writer = NULL;
        expect_number(reader, 0);
        char url[300];
        snprintf(url, sizeof url, "file://%s?group=g", path);
        test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &writer), -EACCES);
        shut(reader);
        _exit(0);
    }
    test_join_status(child, 0);
    ck_assert(chmod(test_dir(), 0700) == 0);
    shut(sender);
    unlink(path);
}

/* After a power cut those who may only read see a tail that nobody has cut yet, and then what comes in its place. */
TEST(who_may_only_read_sees_what_takes_a_torn_tails_place)
{
    char tail[4000] = "WREC";
    if (!test_is_root())
        test_skip("becoming another uid needs root");
    struct wherry_channel *sender = open_end("?mode=0644", WHERRY_SEND);
    send_numbers(sender, 0, 2);
    shut(sender);
    memset(tail + 4, ' ', sizeof tail - 4);
    poke((off_t)file_size(), tail, sizeof tail);
    wherry__sys.read = read_of_another_boot;
    ck_assert(chmod(test_dir(), 0755) == 0 && seteuid(65534) == 0);
    struct wherry_channel *all = open_end("?uid=0", WHERRY_RECEIVE), *new = open_end("?from=end", WHERRY_RECEIVE);
    ck_assert(seteuid(0) == 0 && chmod(test_dir(), 0700) == 0);
    expect_number(all, 0);
    expect_number(all, 1);
    expect_nothing(all);
    expect_nothing(new);
    sender = open_end("", WHERRY_SEND);
    send_numbers(sender, 2, 4);
    for (unsigned n = 2; n < 4; n++) {
        expect_number(all, n);
        expect_number(new, n);
    }
    shut(all), shut(new), shut(sender);
    wherry__sys.read = read;
    unlink(path);
}

TEST(many_make_one_log_at_once)
{
    enum { CHILDREN = 8, EACH = 50 };
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++)
        if ((children[i] = fork()) == 0) {
            struct wherry_channel *sender = open_end("", WHERRY_SEND);
            for (int n = 0; n < EACH; n++)
                test_is(wherry_channel_send(sender, "x", 1, test_deadline()), 0);
            shut(sender);
            _exit(0);
        }
    for (int i = 0; i < CHILDREN; i++)
        test_join_status(children[i], 0);
    struct wherry_channel *reader = open_end("", WHERRY_RECEIVE);
    char got[8];
    for (int n = 0; n < CHILDREN * EACH; n++)
        test_is(wherry_channel_receive(reader, got, sizeof got, NULL, WHERRY_NOW), 1);
    expect_nothing(reader);
    shut(reader);
    unlink(path);
}
