/* tests/unit/test_descriptors.c - owns the tests of descriptors that come with messages: H49, how many there may be,
 * who gets them and who has none.  Streams, strangers and what is closed when have files of their own.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/resource.h>

#include "unit/test_descriptors_kit.h"

/* ---- how many ---------------------------------------------------------------------------------------------------- */

TEST_TABLE(they_come_with_their_message, kinds)
{
    static const size_t counts[] = {1, 0, 2, 3, 16, 17, 0, 252, 253};
    struct ends ends;
    open_ends(&ends, &kinds[index], "fds=253");
    size_t before = 0;
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        send_one(ends.sender, i, 100, counts[i]);
        expect(ends.receiver, i, 100, counts[i]);
        before = i == 0 ? test_descriptors() : before;
        ck_assert_uint_eq(test_descriptors(), before);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 0);
    ends_close(&ends);
}

TEST_TABLE(one_more_than_the_kernel_takes_is_refused, kinds)
{
    struct ends ends;
    int fd = 0;
    open_ends(&ends, &kinds[index], "fds=253");
    test_is(try_send(ends.sender, 1, 100, MOST + 1, 0), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "253"));
    struct wherry_message message = {.data = "x", .size = 1, .fd_count = 1};
    test_is(wherry_channel_send_message(ends.sender, &message, 0, WHERRY_NOW), -EINVAL);
    message.fds = &fd;
    fd = 1 << 20; /* not open */
    test_is(wherry_channel_send_message(ends.sender, &message, 0, WHERRY_NOW), -EBADF);
    send_one(ends.sender, 2, 100, 1); /* and nothing of all that was sent */
    expect(ends.receiver, 2, 100, 1);
    ends_close(&ends);
}

TEST_TABLE(more_than_the_receiver_asked_for_cost_their_message, kinds)
{
    test_needs(TEST_CUT_RIGHTS);
    struct ends ends;
    struct wherry_info info;
    int fds[3];
    open_ends(&ends, &kinds[index], "fds=3");
    send_one(ends.sender, 1, 100, 3);
    test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, test_deadline()), 1);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    size_t before = test_descriptors();
    for (unsigned more = 4; more < 9; more++) { /* padding makes room for one of them */
        send_one(ends.sender, more, 100, more);
        send_one(ends.sender, 10 + more, 100, 0);
        test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, test_deadline()),
                -EBADMSG);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "fds=3"));
        ck_assert_uint_eq(test_descriptors(), before);
        test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, test_deadline()),
                1);
        ck_assert_uint_eq(info.fd_count, 0);
        ck_assert_int_eq(buffer[6], '1'); /* the one behind it: the connection goes on */
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped, 5);
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 5);
    ends_close(&ends);
}

/* ---- not wanted -------------------------------------------------------------------------------------------------- */

TEST_TABLE(who_did_not_ask_gets_none, kinds)
{
    test_needs(TEST_CUT_RIGHTS);
    struct ends ends;
    struct wherry_info info;
    int fds[4];
    open_ends(&ends, &kinds[index], "max_message=16M"); /* says nothing */
    test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 4, &info, WHERRY_NOW),
            -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "fds="));
    size_t before = 0;
    for (unsigned i = 0; i < 5; i++) {
        send_one(ends.sender, i, 100, i * i);
        test_is(wherry_channel_receive_info(ends.receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
        ck_assert_uint_eq(info.size, 100);
        ck_assert_uint_eq(info.fd_count, 0);
        before = i == 0 ? test_descriptors() : before;
        ck_assert_uint_eq(test_descriptors(), before);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 4);
    ck_assert_uint_eq(stats_of(ends.receiver).dropped, 0);
    ends_close(&ends);
}

TEST_TABLE(what_is_not_taken_is_closed, kinds)
{
    struct ends ends;
    struct wherry_info info;
    struct wherry_loan loan;
    size_t size;
    int fds[8];
    open_ends(&ends, &kinds[index], "fds=4");
    test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, WHERRY_NOW), -EINVAL);
    send_one(ends.sender, 0, 100, 0);
    expect(ends.receiver, 0, 100, 0);
    size_t before = test_descriptors();
    for (unsigned i = 1; i < 5; i++) {
        send_one(ends.sender, i, 100, i);
        test_is(wherry_channel_receive_info(ends.receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
        ck_assert_uint_eq(info.fd_count, i);
        ck_assert_uint_eq(test_descriptors(), before);
        send_one(ends.sender, i, 100, i);
        test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
        ck_assert_uint_eq(test_descriptors(), before);
        send_one(ends.sender, i, 100, i);
        test_is(wherry_channel_borrow(ends.receiver, &loan, test_deadline()), 1);
        ck_assert_uint_eq(loan.info.fd_count, i);
        ck_assert_uint_eq(test_descriptors(), before + i);
        if (i > 1)
            test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, i - 1), -EMSGSIZE);
        wherry_channel_return(ends.receiver, &loan);
        ck_assert_uint_eq(test_descriptors(), before);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 12);
    send_one(ends.sender, 7, 100, 2); /* never received */
    ends_close(&ends);
}

TEST_TABLE(a_loan_hands_them_over_once, kinds)
{
    struct ends ends;
    struct wherry_loan loan;
    int fds[4];
    open_ends(&ends, &kinds[index], "fds=4");
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), -EINVAL);
    send_one(ends.sender, 3, 100, 4);
    test_is(wherry_channel_borrow(ends.receiver, &loan, test_deadline()), 1);
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), 4);
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), 0);
    wherry_channel_return(ends.receiver, &loan);
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), -EINVAL);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(tag_of(fds[i]), 3000 + i);
        close(fds[i]);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 0);
    ends_close(&ends);
}

/* A message that did not fit keeps its descriptors until it is received. */
TEST_TABLE(too_small_a_buffer_loses_none, kinds)
{
    static const size_t sizes[] = {100, 20000, 100000};
    struct ends ends;
    struct wherry_info info;
    int fds[4];
    open_ends(&ends, &kinds[index], "fds=4");
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        send_one(ends.sender, i, sizes[i], 2);
        for (int tries = 0; tries < 3; tries++) {
            test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, 50, fds, 4, &info, test_deadline()),
                    -EMSGSIZE);
            ck_assert_uint_eq(info.size, sizes[i]);
        }
        expect(ends.receiver, i, sizes[i], 2);
    }
    ends_close(&ends);
}

/* ---- where there are none ---------------------------------------------------------------------------------------- */

static const struct ends_kind without[] = {ENDS_PIPE, ENDS_FIFO, ENDS_FD};

TEST_TABLE(other_objects_carry_none, without)
{
    struct ends ends;
    struct wherry_channel *channel;
    char url[400];
    ends_open(&ends, &without[index], "");
    test_is(try_send(ends.sender, 1, 10, 1, 0), -EOPNOTSUPP);
    ends_close(&ends);
    if (without[index].by_name) {
        ends_url(url, sizeof url, &without[index], "fds=1");
        test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EINVAL);
    }
}

TEST(neither_a_ring_nor_an_inherited_pipe_carries_any)
{
    struct wherry_channel *channel, *receiver;
    char url[100];
    int fds[2];
    snprintf(url, sizeof url, "shm://%s", test_word());
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel));
    test_is(try_send(channel, 1, 10, 1, 0), -EOPNOTSUPP);
    wherry_channel_close(channel, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    snprintf(url, sizeof url, "fd:%d?fds=1", fds[0]);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EOPNOTSUPP);
    close(fds[0]);
    close(fds[1]);
}

TEST(frame_raw_carries_none)
{
    struct wherry_channel *pair[2];
    test_is(wherry_channel_pair("socketpair:?frame=raw&fds=1", NULL, pair), -EINVAL);
    test_is(wherry_channel_pair("socketpair:?fds=254", NULL, pair), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "253"));
    test_ok(wherry_channel_pair("socketpair:?frame=raw", NULL, pair));
    test_is(try_send(pair[0], 1, 10, 1, 0), -EOPNOTSUPP);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
}

/* ---- no number left ---------------------------------------------------------------------------------------------- */

static void limit_to(rlim_t limit)
{
    struct rlimit now;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    now.rlim_cur = limit;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
}

TEST_TABLE(h49_without_numbers_the_message_is_lost_and_nothing_leaks, kinds)
{
    struct ends ends;
    struct wherry_info info;
    struct rlimit whole;
    int fds[8];
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &whole), 0);
    open_ends(&ends, &kinds[index], "fds=8");
    send_one(ends.sender, 0, 100, 8);
    expect(ends.receiver, 0, 100, 8);
    size_t before = test_descriptors();
    int lowest = dup(0);
    close(lowest);
    for (rlim_t room = 0; room < 4; room++) {
        send_one(ends.sender, 1, 100, 4);
        send_one(ends.sender, 2, 100, 0);
        send_one(ends.sender, 3, 100, 1);
        limit_to((rlim_t)lowest + room);
        test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, 100, fds, 8, &info, test_deadline()), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "ulimit"));
        limit_to(whole.rlim_cur);
        ck_assert_uint_eq(test_descriptors(), before);
        expect(ends.receiver, 2, 100, 0);
        expect(ends.receiver, 3, 100, 1);
    }
    ends_close(&ends);
}

/* ---- many peers -------------------------------------------------------------------------------------------------- */

static const struct ends_kind connected[] = {ENDS_UNIX, ENDS_SEQPACKET};

TEST_TABLE(each_peer_has_its_own, connected)
{
    enum { PEERS = 40, ROUNDS = 5 }; /* more than 32: each gives its memory back */
    struct wherry_channel *host, *guests[PEERS];
    char url[400];
    unsigned next[PEERS] = {0};
    ends_url(url, sizeof url, &connected[index], "listen&fds=3");
    test_ok(wherry_channel_open(url, WHERRY_BOTH, NULL, WHERRY_NOW, &host));
    ends_url(url, sizeof url, &connected[index], "connect&fds=3");
    for (unsigned i = 0; i < PEERS; i++) {
        test_ok(wherry_channel_open(url, WHERRY_BOTH, NULL, test_deadline(), &guests[i]));
        send_one(guests[i], i, 20, i % 4);
    }
    for (unsigned n = 0; n < PEERS * ROUNDS; n++) {
        int fds[3];
        struct wherry_info info;
        test_is(wherry_channel_receive_with_fds(host, buffer, sizeof buffer, fds, 3, &info, test_deadline()), 1);
        unsigned from = (unsigned)strtoul((char *)buffer, NULL, 10);
        ck_assert_uint_eq(info.fd_count, from % 4);
        for (unsigned i = 0; i < info.fd_count; i++)
            ck_assert_uint_eq(tag_of(fds[i]), from * 1000 + i);
        /* back to whom they came from, and nobody else */
        struct wherry_message answer = {
            .data = buffer, .size = info.size, .to = info.peer.id, .fds = fds, .fd_count = info.fd_count};
        test_ok(wherry_channel_send_message(host, &answer, 0, test_deadline()));
        for (unsigned i = 0; i < info.fd_count; i++)
            close(fds[i]);
        expect(guests[from], from, 20, from % 4);
        if (++next[from] < ROUNDS)
            send_one(guests[from], from, 20, from % 4);
    }
    for (unsigned i = 0; i < PEERS; i++)
        wherry_channel_close(guests[i], WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
}

/* One peer's faulty message costs nobody else anything, nor the rest of its own. */
TEST_TABLE(a_peer_that_sends_too_many_stays, connected)
{
    struct wherry_channel *host, *guests[2];
    struct wherry_info info;
    char url[400];
    int fds[1], bad = 0, good = 0;
    ends_url(url, sizeof url, &connected[index], "fds=1");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host));
    ends_url(url, sizeof url, &connected[index], "");
    for (unsigned i = 0; i < 2; i++) {
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &guests[i]));
        for (unsigned n = 0; n < 10; n++)
            send_one(guests[i], n, 20, i == 1 && n % 2 ? 2 : n % 2);
    }
    while (bad + good < 20) {
        int result = wherry_channel_receive_with_fds(host, buffer, sizeof buffer, fds, 1, &info, test_deadline());
        bad += result == -EBADMSG;
        good += result == 1;
        ck_assert(result == 1 || result == -EBADMSG);
        if (result == 1 && info.fd_count)
            close(fds[0]);
    }
    ck_assert_int_eq(bad, 5);
    ck_assert_uint_eq(stats_of(host).refused, 0);
    for (unsigned i = 0; i < 2; i++)
        wherry_channel_close(guests[i], WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
}
