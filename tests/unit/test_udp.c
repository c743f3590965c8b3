/* tests/unit/test_udp.c - owns the proof for udp: and for H51: what is cut, lost or nobody's is told as such; ports,
 * and what is refused.  Numbers, peers, groups and batches have files of their own.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_udp_kit.h"

/* ---- H51: raw datagrams ------------------------------------------------------------------------------------------ */

TEST(h51_an_empty_datagram_is_a_message_and_no_end)
{
    struct wherry_channel *receiver = open_at("udp://:0", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    size_t size = 99;
    ck_assert_int_eq(send(raw, "", 0, 0), 0);
    test_is(wherry_channel_receive(receiver, NULL, 0, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(send(raw, "after", 5, 0), 5);
    expect_text(receiver, "after");
    ck_assert_uint_eq(stats_of(receiver).ends, 0);
    close(raw);
    shut(receiver);
}

static void refuse_long_ones(const char *url)
{
    struct wherry_channel *receiver = open_at(url, WHERRY_RECEIVE);
    char data[3000] = "";
    size_t size = 99;
    int raw = raw_to(receiver);
    static const size_t sizes[] = {100, 101, 3000, 99, 2200};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ck_assert_int_eq(send(raw, data, sizes[i], 0), (ssize_t)sizes[i]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        test_is(wherry_channel_receive(receiver, data, sizeof data, &size, test_deadline()),
                sizes[i] > 100 ? -EBADMSG : 1);
    ck_assert_uint_eq(size, 99); /* the last that fitted */
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(receiver).dropped, 3);
    ck_assert_uint_eq(stats_of(receiver).received_messages, 2);
    close(raw);
    shut(receiver);
}

TEST(h51_what_is_too_long_is_dropped_and_said_never_cut)
{
    refuse_long_ones("udp://:0?max_message=100");
    refuse_long_ones("udp://:0?max_message=100&read_ahead=no");
}

/* No datagram is longer than the room there is for one; if the kernel says so all the same, it is believed. */
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static ssize_t cutting_recvmsg(int fd, struct msghdr *header, int flags)
{
    ssize_t size = real_recvmsg(fd, header, flags);
    header->msg_flags |= size == 3 ? MSG_TRUNC : 0;
    return size;
}

TEST(h51_what_the_kernel_cut_is_no_message)
{
    struct wherry_channel *receiver = open_at("udp://:0?read_ahead=no", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    char data[8];
    ck_assert_int_eq(send(raw, "cut", 3, 0), 3);
    ck_assert_int_eq(send(raw, "whole", 5, 0), 5);
    real_recvmsg = wherry__sys.recvmsg;
    wherry__sys.recvmsg = cutting_recvmsg;
    test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, test_deadline()), -EBADMSG);
    expect_text(receiver, "whole");
    wherry__sys.recvmsg = real_recvmsg;
    ck_assert_uint_eq(stats_of(receiver).dropped, 1);
    close(raw);
    shut(receiver);
}

TEST(too_small_a_buffer_keeps_the_message)
{
    struct wherry_channel *receiver = open_at("udp://:0", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    char data[4];
    size_t size = 0;
    ck_assert_int_eq(send(raw, "one too long", 12, 0), 12);
    ck_assert_int_eq(send(raw, "next", 4, 0), 4);
    for (int i = 0; i < 2; i++) {
        test_is(wherry_channel_receive(receiver, data, sizeof data, &size, test_deadline()), -EMSGSIZE);
        ck_assert_uint_eq(size, 12);
    }
    expect_text(receiver, "one too long");
    expect_text(receiver, "next");
    close(raw);
    shut(receiver);
}

/* More than the socket holds: what is missing is counted to the message, when one comes again. */
static void flood(const char *options)
{
    enum { COUNT = 20000 };
    char url[96];
    snprintf(url, sizeof url, "udp://:0?capacity=20000%s", options);
    struct wherry_channel *receiver = open_at(url, WHERRY_RECEIVE), *sender;
    sender = open_at(beside(url, "", receiver, options[0] ? "?seq=1" : ""), WHERRY_SEND);
    uint64_t number = 0, last = 0, received = 0, sent = 0;
    size_t size;
    for (; sent < COUNT; sent++, number++)
        test_is(wherry_channel_send(sender, &number, sizeof number, WHERRY_NOW), 0);
    for (bool more = true; more;) {
        uint64_t came;
        int result = wherry_channel_receive(receiver, &came, sizeof came, &size, WHERRY_NOW);
        if (result == 1) {
            ck_assert_uint_eq(size, sizeof came);
            ck_assert(received++ == 0 || came > last);
            last = came;
        } else if (number == COUNT) { /* all that was there is here; this one tells of the gap */
            test_is(wherry_channel_send(sender, &number, sizeof number, WHERRY_NOW), 0);
            sent++, number++;
        } else {
            test_is(result, -EAGAIN);
            more = false;
        }
    }
    struct wherry_channel_stats stats = stats_of(receiver);
    ck_assert_uint_gt(stats.lost, 0);
    ck_assert_uint_eq(received + stats.lost, sent);
    ck_assert_uint_eq(stats.reordered, 0);
    ck_assert_uint_eq(stats.dropped, 0);
    ck_assert_uint_eq(stats_of(sender).sent_messages, sent);
    shut(sender);
    shut(receiver);
}

TEST(h51_what_a_flood_loses_is_counted)
{
    flood("&seq=1");
}

TEST(what_the_socket_has_no_room_for_is_counted_without_numbers_too)
{
    test_needs(TEST_OVERFLOW_COUNT);
    flood("");
}

/* ---- ports and families ------------------------------------------------------------------------------------------ */

TEST(port_0_picks_one_and_says_it)
{
    char url[96];
    struct wherry_channel *one = open_at("udp://127.0.0.1:0?max_message=1000", WHERRY_RECEIVE);
    struct wherry_channel *two = open_at("udp://127.0.0.1:0?max_message=1000", WHERRY_RECEIVE);
    ck_assert_uint_ne(port_of(one), 0);
    ck_assert_uint_ne(port_of(one), port_of(two));
    snprintf(url, sizeof url, "udp://127.0.0.1:%u?max_message=1000", port_of(one));
    ck_assert_str_eq(wherry_channel_url(one), url);
    struct wherry_channel *sender = open_at(beside(url, "127.0.0.1", two, ""), WHERRY_SEND);
    test_is(say(sender, "to the second"), 0);
    expect_text(two, "to the second");
    shut(sender);
    shut(one);
    shut(two);
}

TEST(both_families_reach_a_star_and_are_answered)
{
    static const char *const hosts[] = {"127.0.0.1", "[::1]", "localhost", ""};
    char url[96];
    struct wherry_channel *host = open_at("udp://*:0?listen", WHERRY_BOTH);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct wherry_channel *guest = open_at(beside(url, hosts[i], host, "?connect"), WHERRY_BOTH);
        test_is(say(guest, hosts[i]), 0);
        test_is(tell(host, hear(host, hosts[i]), "heard"), 0);
        expect_text(guest, "heard");
        shut(guest);
    }
    shut(host);
}

TEST(the_largest_message_is_the_protocols)
{
    carry_largest(UDP, "127.0.0.1", "", 65507);
    carry_largest(UDP, "[::1]", "", 65527);
    carry_largest(UDP, "127.0.0.1", "seq=1", 65507 - WHERRY__SEQUENCE_HEADER);
}

static const struct refusal refusals_of_open[] = {
    {"udp://:9000?listen", WHERRY_SEND, -EOPNOTSUPP, "listen"},
    {"udp://:9000?connect", WHERRY_RECEIVE, -EOPNOTSUPP, "connect"},
    {"udp://:0", WHERRY_SEND, -EINVAL, "port 0"},
    {"udp://*:9000", WHERRY_SEND, -EINVAL, "*"},
    {"udp://:9000", WHERRY_BOTH, -EINVAL, "listen"},
    {"udp:9000", WHERRY_RECEIVE, -EINVAL, "udp://"},
    {"udp://:9000/path", WHERRY_RECEIVE, -EINVAL, "udp://"},
    {"udp://:0?ttl=256", WHERRY_RECEIVE, -EINVAL, "255"},
    {"udp://:0?ttl=0", WHERRY_RECEIVE, -EINVAL, "ttl"},
    {"udp://:0?loop=1", WHERRY_RECEIVE, -EINVAL, "yes or no"},
    {"udp://:0?seq=0", WHERRY_RECEIVE, -EINVAL, "seq"},
    {"udp://:0?interface=", WHERRY_RECEIVE, -EINVAL, "interface"},
    {"udp://:0?interface=nosuch0", WHERRY_RECEIVE, -ENODEV, "nosuch0"},
    {"udp://:0?interface=muchtoolonganame", WHERRY_RECEIVE, -EINVAL, "15"},
    {"udp://:0?frame=line", WHERRY_RECEIVE, -EINVAL, "frame"},
    {"udp://:0?mode=0600", WHERRY_RECEIVE, -EINVAL, "mode"},
    {"udp://192.0.2.1:9000", WHERRY_RECEIVE, -EADDRNOTAVAIL, "192.0.2.1"},
    {"udp://127.255.255.255:9000", WHERRY_SEND, -EACCES, "broadcast=1"},
    {"tcp://:0?seq=1", WHERRY_RECEIVE, -EINVAL, "seq"},
    {"unix:./x?ttl=1", WHERRY_RECEIVE, -EINVAL, "ttl"},
};

TEST_TABLE(what_cannot_be_is_refused, refusals_of_open)
{
    expect_refusal(&refusals_of_open[index]);
}

TEST(the_struct_says_the_same_as_the_url)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    char name[8] = "lo";
    options.seq = options.broadcast = true;
    options.interface = name;
    options.ttl = 3;
    options.loop = WHERRY_LOOP_NO;
    test_is(wherry_channel_open("udp://:0?seq=1&ttl=3&loop=no&interface=lo", WHERRY_RECEIVE, &options, WHERRY_NOW,
                                &channel),
            0);
    shut(channel);
    test_is(wherry_channel_open("udp://:0?loop=yes", WHERRY_RECEIVE, &options, WHERRY_NOW, &channel), -EINVAL);
    options.loop = (enum wherry_loop)3;
    test_is(wherry_channel_open("udp://:0", WHERRY_RECEIVE, &options, WHERRY_NOW, &channel), -EINVAL);
}

/* ---- when the kernel says no ------------------------------------------------------------------------------------- */

TEST(each_call_may_fail)
{
    ck_assert_uint_gt(fail_each_call(UDP, "127.0.0.1", "seq=1&broadcast=1&ttl=3&capacity=30000&interface=lo"), 50);
}

TEST(what_a_full_device_refuses_left_nothing_behind)
{
    char url[96];
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(beside(url, "", receiver, "?seq=1"), WHERRY_SEND);
    test_is(say(sender, "one"), 0);
    ssize_t (*before)(int, const struct msghdr *, int) = wherry__sys.sendmsg;
    wherry__sys.sendmsg = full_sendmsg;
    for (int i = 0; i < 3; i++)
        test_is(wherry_channel_send(sender, "refused", 7, WHERRY_NOW), -EAGAIN);
    wherry__sys.sendmsg = before;
    test_is(say(sender, "two"), 0);
    expect_text(receiver, "one");
    expect_text(receiver, "two");
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    ck_assert_uint_eq(stats_of(sender).sent_messages, 2);
    shut(sender);
    shut(receiver);
}
