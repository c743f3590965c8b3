/* tests/unit/test_ip.c - owns the proof for ip:, and that a raw socket hears what is meant for it, and nothing before.
 * Addresses and groups have files of their own.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_ip_kit.h"

static int raw_socket_6(bool bound)
{
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, PROTOCOL);
    if (fd < 0)
        test_skip("no IPv6 here");
    if (bound)
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&loopback, sizeof loopback), 0);
    else
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&loopback, sizeof loopback), 0);
    return fd;
}

TEST(a_message_is_the_payload_of_a_packet)
{
    static const char *const texts[] = {"hello", "", "x", "the last"};
    need_right();
    struct wherry_channel *receiver = open_at(own_host(1), "", WHERRY_RECEIVE);
    int raw = raw_socket(NULL, own_host(1)), listener = raw_socket(own_host(2), NULL);
    struct wherry_channel *sender = open_at(own_host(2), "", WHERRY_SEND);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ck_assert_int_eq(send(raw, texts[i], strlen(texts[i]), 0), (ssize_t)strlen(texts[i]));
        hear(receiver, texts[i]);
        test_is(say(sender, texts[i]), 0);
        expect_packet(listener, 20, texts[i]);
    }
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(receiver).ends, 0);
    close(raw);
    close(listener);
    shut(sender);
    shut(receiver);
}

TEST(over_ipv6_too)
{
    static const char *const texts[] = {"hello", "", "x", "the last"};
    need_right();
    hosts_own_network();
    struct wherry_channel *receiver = open_at("[::1]", "", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at("[::1]", "", WHERRY_SEND);
    int raw = raw_socket_6(false), listener = raw_socket_6(true);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ck_assert_int_eq(send(raw, texts[i], strlen(texts[i]), 0), (ssize_t)strlen(texts[i]));
        hear(receiver, texts[i]);
        expect_packet(listener, 0, texts[i]);
        test_is(say(sender, texts[i]), 0);
        hear(receiver, texts[i]);
        expect_packet(listener, 0, texts[i]);
    }
    expect_nothing(receiver);
    close(raw);
    close(listener);
    shut(sender);
    shut(receiver);
}

/* ---- the IP header ----------------------------------------------------------------------------------------------- */

/* For which the kernel makes checksums, within what is sent, unless told not to. */
TEST(icmpv6_and_mobility_are_carried_as_they_are)
{
    static const char *const urls[] = {"ip://[::1]?proto=58", "ip://[::1]?proto=135"};
    need_right();
    close(raw_socket_6(false));
    hosts_own_network();
    for (size_t i = 0; i < 2; i++) {
        struct wherry_channel *receiver = NULL, *sender = NULL;
        test_is(wherry_channel_open(urls[i], WHERRY_RECEIVE, NULL, test_deadline(), &receiver), 0);
        test_is(wherry_channel_open(urls[i], WHERRY_SEND, NULL, test_deadline(), &sender), 0);
        test_is(say(sender, "hello there"), 0);
        hear(receiver, "hello there");
        test_is(say(sender, "four"), 0); /* no room for a checksum behind it */
        hear(receiver, "four");
        shut(sender);
        shut(receiver);
    }
}

/* The kernel looks at the first bytes of these protocols, and says EFAULT where there are none. */
static const struct {
    const char *name, *url;
    size_t least;
} looked_at[] = {
    {"icmp", "ip://127.0.0.1?proto=1", 2},
    {"icmpv6", "ip://[::1]?proto=58", 2},
    {"mobility", "ip://[::1]?proto=135", 4},
};

TEST_TABLE(a_message_too_short_for_the_kernel_is_told_as_such, looked_at)
{
    struct wherry_channel *sender = NULL;
    static const char data[8] = {(char)200}; /* a type that nobody answers */
    char least[80];
    need_right();
    if (index > 0)
        close(raw_socket_6(false));
    hosts_own_network();
    test_is(wherry_channel_open(looked_at[index].url, WHERRY_SEND, NULL, test_deadline(), &sender), 0);
    snprintf(least, sizeof least, "no message of less than %zu bytes as protocol", looked_at[index].least);
    for (size_t size = 0; size < looked_at[index].least; size++) {
        test_is(wherry_channel_send(sender, data, size, WHERRY_NOW), -EINVAL);
        ck_assert_msg(strstr(wherry_why(), least), "\"%s\"", wherry_why());
        ck_assert_msg(strstr(wherry_why(), "send its whole header"), "\"%s\"", wherry_why());
    }
    test_is(wherry_channel_send(sender, data, looked_at[index].least, WHERRY_NOW), 0);
    struct wherry_message many[3] = {{.data = data, .size = 8}, {.data = data, .size = 1}, {.data = data, .size = 8}};
    test_is(wherry_channel_send_many(sender, many, 3, WHERRY_NOW), 1);
    test_is(wherry_channel_send_many(sender, many + 1, 2, WHERRY_NOW), -EINVAL);
    shut(sender);
    test_is(wherry_channel_open("ip://127.0.0.1?proto=253", WHERRY_SEND, NULL, test_deadline(), &sender), 0);
    int result = wherry_channel_send(sender, data, 0, WHERRY_NOW); /* of others nothing is looked at */
    ck_assert_msg(result == 0 || result == -EPIPE, "%d: %s", result, wherry_why());
    shut(sender);
}

TEST(an_ip_header_with_options_goes_whole)
{
    static const unsigned char options[] = {1, 1, 1, 1, 1, 1, 1, 0}; /* no operation, end of list: 8 bytes */
    need_right();
    struct wherry_channel *receiver = open_at(own_host(1), "", WHERRY_RECEIVE);
    int raw = raw_socket(NULL, own_host(1)), witness = raw_socket(own_host(1), NULL);
    ck_assert_int_eq(setsockopt(raw, IPPROTO_IP, IP_OPTIONS, options, sizeof options), 0);
    ck_assert_int_eq(send(raw, "behind options", 14, 0), 14);
    expect_packet(witness, 28, "behind options");
    hear(receiver, "behind options");
    close(raw);
    close(witness);
    shut(receiver);
}

static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static uint8_t first_byte;
static ssize_t forging_recvmsg(int fd, struct msghdr *header, int flags)
{
    ssize_t size = real_recvmsg(fd, header, flags);
    if (size > 0 && first_byte)
        *(uint8_t *)header->msg_iov[0].iov_base = first_byte;
    return size;
}

/* No kernel is known to do so; what it says of lengths is looked at all the same. */
TEST(what_has_no_ip_header_is_refused)
{
    static const uint8_t first[] = {0x65, 0x44, 0x05, 0x4f, 0xff};
    need_right();
    struct wherry_channel *receiver = open_at(own_host(1), "&read_ahead=no", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(own_host(1), "", WHERRY_SEND);
    char data[64];
    real_recvmsg = wherry__sys.recvmsg;
    wherry__sys.recvmsg = forging_recvmsg;
    for (size_t i = 0; i < sizeof first; i++) {
        test_is(say(sender, "forged"), 0);
        first_byte = first[i];
        test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, test_deadline()), -EBADMSG);
        first_byte = 0;
        ck_assert_msg(strstr(wherry_why(), "IP packet"), "\"%s\"", wherry_why());
        test_is(say(sender, "good"), 0);
        hear(receiver, "good");
        ck_assert_uint_eq(stats_of(receiver).refused, i + 1);
    }
    test_is(say(sender, "0123456789012345678901234567890123456789"), 0); /* 60 bytes: the longest header fits */
    first_byte = 0x4f;
    hear(receiver, "");
    wherry__sys.recvmsg = real_recvmsg;
    shut(sender);
    shut(receiver);
}

TEST(the_largest_message_is_the_protocols)
{
    need_right();
    hosts_own_network();
    carry_largest(IP, own_host(1), "", 65515);
    carry_largest(IP, own_host(1), "seq=1", 65515 - WHERRY__SEQUENCE_HEADER);
    carry_largest(IP, "[::1]", "", 65535);
}

/* ---- before it is where it is to be ------------------------------------------------------------------------- */

static int early_fd, socket_made;

/* To an address that is not the endpoint's. */
static void send_early(const char *text)
{
    struct sockaddr_in to = address_of("127.77.77.77");
    ck_assert_int_eq(sendto(early_fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to), (ssize_t)strlen(text));
}

static int early_socket(int domain, int type, int protocol)
{
    int fd = real.socket(domain, type, protocol);
    send_early("after socket()");
    return socket_made = fd;
}

static int early_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    int result = real.setsockopt(fd, level, name, value, size);
    if (name != SO_DETACH_FILTER)
        send_early("after setsockopt()");
    return result;
}

static void let_packets_come_early(void)
{
    early_fd = raw_socket(NULL, NULL);
    real = wherry__sys;
    wherry__sys.socket = early_socket;
    wherry__sys.setsockopt = early_setsockopt;
}

static void drain(int fd)
{
    char data[64];
    while (recv(fd, data, sizeof data, MSG_DONTWAIT) >= 0)
        continue;
}

TEST(nothing_is_heard_that_was_sent_elsewhere_before)
{
    need_right();
    let_packets_come_early();
    struct wherry_channel *host = open_at(own_host(1), "&listen&interface=lo", WHERRY_BOTH);
    struct wherry_channel *receiver = open_at(own_host(2), "&capacity=50000", WHERRY_RECEIVE);
    struct wherry_channel *guest = open_at(own_host(1), "&connect&ttl=3", WHERRY_BOTH);
    struct wherry_channel *sender = open_at(own_host(2), "", WHERRY_SEND);
    wherry__sys = real;
    expect_nothing(host);
    expect_nothing(receiver);
    expect_nothing(guest);
    test_is(say(guest, "ask"), 0);
    test_is(tell(host, hear(host, "ask"), "answer"), 0);
    hear(guest, "answer");
    test_is(say(sender, "sent"), 0);
    hear(receiver, "sent");
    ck_assert_uint_eq(stats_of(host).lost + stats_of(receiver).lost + stats_of(guest).lost, 0);
    close(early_fd);
    shut(guest);
    shut(host);
    shut(sender);
    shut(receiver);
}

TEST(what_is_sent_to_a_sender_does_not_pile_up)
{
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    char data[64];
    need_right();
    let_packets_come_early();
    struct wherry_channel *sender = open_at(own_host(1), "", WHERRY_SEND);
    wherry__sys = real;
    drain(early_fd);
    int raw = raw_socket(own_host(1), NULL);
    test_is(say(sender, "hello"), 0);
    ck_assert_int_eq(recvfrom(raw, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &size), 25);
    ck_assert_int_eq(sendto(raw, "answer", 6, 0, (struct sockaddr *)&from, size), 6);
    ck_assert_int_eq(recv(socket_made, data, sizeof data, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
    close(early_fd);
    close(raw);
    shut(sender);
}

/* ---- nobody there, no room --------------------------------------------------------------------------------------- */

/* That both come back alike is why neither is told. */
TEST(a_receiver_without_room_is_not_nobody)
{
    enum { COUNT = 2000 };
    static const char data[1000];
    need_right();
    struct wherry_channel *sender = open_at(own_host(1), "", WHERRY_SEND);
    for (int i = 0; i < 10; i++)
        test_is(wherry_channel_send(sender, data, sizeof data, WHERRY_NOW), 0);
    struct wherry_channel *receiver = open_at(own_host(1), "&capacity=20000", WHERRY_RECEIVE);
    uint64_t received = 0;
    char back[1000];
    for (int i = 0; i < COUNT; i++)
        test_is(wherry_channel_send(sender, data, sizeof data, WHERRY_NOW), 0);
    while (wherry_channel_receive(receiver, back, sizeof back, NULL, WHERRY_NOW) == 1)
        received++;
    test_is(wherry_channel_send(sender, data, sizeof data, WHERRY_NOW), 0); /* and it tells of the gap */
    test_is(wherry_channel_receive(receiver, back, sizeof back, NULL, test_deadline()), 1);
    ck_assert_uint_gt(stats_of(receiver).lost, 0);
    ck_assert_uint_eq(received + stats_of(receiver).lost, COUNT);
    shut(receiver);
    shut(sender);
}

/* What came back is no failure of a receive, and ends no wait. */
TEST(a_receive_outlasts_what_came_back)
{
    char data[32];
    need_right();
    struct wherry_channel *guest = open_at(own_host(1), "&connect", WHERRY_BOTH);
    for (int i = 0; i < 3; i++) {
        test_is(say(guest, "is anybody there?"), 0);
        test_is(wherry_channel_receive(guest, data, sizeof data, NULL, wherry_after(20 * WHERRY_MILLISECOND)),
                -ETIMEDOUT);
    }
    struct wherry_channel *host = open_at(own_host(1), "&listen", WHERRY_BOTH);
    test_is(say(guest, "and now?"), 0);
    test_is(tell(host, hear(host, "and now?"), "yes"), 0);
    hear(guest, "yes");
    shut(guest);
    shut(host);
}

static unsigned full;
static ssize_t full_send(int fd, const void *data, size_t size, int flags)
{
    if (!full)
        return real.send(fd, data, size, flags);
    full--;
    errno = ENOBUFS;
    return -1;
}

TEST(a_full_socket_makes_a_send_wait)
{
    need_right();
    struct wherry_channel *receiver = open_at(own_host(1), "", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(own_host(1), "", WHERRY_SEND);
    real = wherry__sys;
    wherry__sys.send = full_send;
    full = 1;
    test_is(wherry_channel_send(sender, "x", 1, WHERRY_NOW), -EAGAIN);
    full = 3;
    test_is(say(sender, "waited"), 0);
    wherry__sys = real;
    hear(receiver, "waited");
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(sender).sent_messages, 1);
    shut(sender);
    shut(receiver);
}

static int noting_socket(int domain, int type, int protocol)
{
    return socket_made = real.socket(domain, type, protocol);
}

/* An error that stays in the socket makes it ready for ever: the wait for room would be a busy loop. */
TEST(what_came_back_does_not_end_a_wait_for_room)
{
    int code = 0;
    socklen_t size = sizeof code;
    need_right();
    real = wherry__sys;
    wherry__sys.socket = noting_socket;
    wherry__sys.send = full_send;
    struct wherry_channel *sender = open_at(own_host(1), "", WHERRY_SEND);
    test_is(say(sender, "nobody is there"), 0);
    full = 1;
    test_is(wherry_channel_send(sender, "x", 1, WHERRY_NOW), -EAGAIN);
    wherry__sys = real;
    ck_assert_int_eq(getsockopt(socket_made, SOL_SOCKET, SO_ERROR, &code, &size), 0);
    ck_assert_int_eq(code, 0);
    shut(sender);
}

/* ---- many in one call -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *host;
} carried[] = {
    {"", "127.0.0.1"}, {"&seq=1", "127.0.0.1"}, {"&read_ahead=no", "127.0.0.1"}, {"", "[::1]"}, {"&seq=1", "[::1]"}};

TEST_TABLE(batches_arrive_as_they_were_sent, carried)
{
    static const size_t sizes[] = {64, 64, 64, 0, 0, 1400, 1400, 3, 2092, 2093, 2112, 2113, 9000, 9000, 64};
    static const struct batches batches = {
        .sizes = sizes, .size_count = sizeof sizes / sizeof *sizes, .messages = 300, .together = 20};
    need_right();
    hosts_own_network();
    const char *options = strstr(carried[index].name, "seq") ? "&seq=1" : "";
    struct wherry_channel *receiver = open_at(carried[index].host, carried[index].name, WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(carried[index].host, options, WHERRY_SEND);
    carry_batches(receiver, sender, &batches);
    shut(sender);
    shut(receiver);
}

/* ---- when the kernel says no ------------------------------------------------------------------------------------- */

TEST(each_call_may_fail)
{
    need_right();
    ck_assert_uint_gt(fail_each_call(IP, own_host(1), "seq=1&ttl=3&capacity=60000&interface=lo"), 60);
}
