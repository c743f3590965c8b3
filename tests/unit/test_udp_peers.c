/* tests/unit/test_udp_peers.c - owns the proof that an endpoint of udp: tells its peers from each other, and from
 * nobody, also where parent and child have it both.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/addresses.h"
#include "unit/test_udp_kit.h"

/* ---- peers ------------------------------------------------------------------------------------------------------- */

TEST(each_peer_gets_its_own_answer)
{
    answer_each_peer(UDP, "");
}

TEST(a_peer_without_wherry_is_answered)
{
    struct wherry_channel *host = open_at("udp://:0?listen", WHERRY_BOTH);
    int raw = raw_to(host);
    char data[16];
    ck_assert_int_eq(send(raw, "hello", 5, 0), 5);
    uint64_t id = hear(host, "hello");
    test_is(tell(host, id, "there"), 0);
    ck_assert_int_eq(recv(raw, data, sizeof data, 0), 5);
    ck_assert(memcmp(data, "there", 5) == 0);
    close(raw);
    shut(host);
}

static void expect_stats(struct wherry_channel *host, uint64_t id, const char *address, const uint64_t counts[4])
{
    struct wherry_peer_stats stats;
    test_is(wherry_channel_peer_stats(host, id, &stats, sizeof stats), 0);
    ck_assert_str_eq(stats.address, address);
    ck_assert_uint_eq(stats.received_messages, counts[0]);
    ck_assert_uint_eq(stats.received_bytes, counts[1]);
    ck_assert_uint_eq(stats.sent_messages, counts[2]);
    ck_assert_uint_eq(stats.sent_bytes, counts[3]);
    ck_assert_uint_gt(stats.memory, 0);
    ck_assert(!stats.ended && stats.kept_bytes == 0);
}

static void count_of_each(const char *options)
{
    char url[96], address[sizeof(((struct wherry_peer_stats *)0)->address)], other[sizeof address];
    struct wherry_peer_stats stats;
    snprintf(url, sizeof url, "udp://127.0.0.1:0?listen%s", options);
    struct wherry_channel *host = open_at(url, WHERRY_BOTH);
    snprintf(url, sizeof url, "udp://127.0.0.1:%u?connect%s", port_of(host), options);
    struct wherry_channel *guests[2] = {open_at(url, WHERRY_BOTH), open_at(url, WHERRY_BOTH)};
    test_is(wherry_channel_peer_stats(host, 0, &stats, sizeof stats), -ENOTCONN);
    test_is(wherry_channel_peer_stats(guests[0], 0, &stats, sizeof stats), -EOPNOTSUPP);
    test_is(say(guests[0], "four"), 0);
    uint64_t id = hear(host, "four");
    test_is(wherry_channel_peer_stats(host, 0, &stats, sizeof stats), 0); /* the only one */
    snprintf(address, sizeof address, "%s", stats.address);
    expect_stats(host, id, address, (const uint64_t[]){1, 4, 0, 0});
    test_is(say(guests[1], "another"), 0);
    test_is(say(guests[1], ""), 0);
    uint64_t second = hear(host, "another");
    ck_assert_uint_eq(hear(host, ""), second);
    test_is(wherry_channel_peer_stats(host, 0, &stats, sizeof stats), -EDESTADDRREQ);
    test_is(wherry_channel_peer_stats(host, second, &stats, sizeof stats), 0);
    snprintf(other, sizeof other, "%s", stats.address);
    ck_assert_int_eq(strncmp(other, "127.0.0.1:", 10), 0);
    ck_assert_int_ne(strcmp(address, other), 0);
    expect_stats(host, second, other, (const uint64_t[]){2, 7, 0, 0});
    test_is(tell(host, second, "answer"), 0);
    test_is(tell(host, second, "and one more"), 0);
    ssize_t (*before)(int, const struct msghdr *, int) = wherry__sys.sendmsg;
    wherry__sys.sendmsg = full_sendmsg;
    struct wherry_message message = {.data = "refused", .size = 7, .to = second};
    test_is(wherry_channel_send_message(host, &message, 0, WHERRY_NOW), -EAGAIN);
    wherry__sys.sendmsg = before;
    expect_stats(host, second, other, (const uint64_t[]){2, 7, 2, 18});
    expect_stats(host, id, address, (const uint64_t[]){1, 4, 0, 0});
    test_is(wherry_channel_peer_stats(host, second + 1, &stats, sizeof stats), -ENOTCONN);
    shut(guests[0]);
    shut(guests[1]);
    shut(host);
}

TEST(what_went_to_and_from_each_peer_is_counted)
{
    count_of_each("");
    count_of_each("&seq=1");
}

/* What a peer's address says is where its socket is. */
TEST(a_peers_address_is_its_sockets)
{
    char address[32];
    struct sockaddr_in local;
    socklen_t size = sizeof local;
    struct wherry_channel *host = open_at("udp://:0?listen", WHERRY_BOTH);
    int raw = raw_to(host);
    ck_assert_int_eq(getsockname(raw, (struct sockaddr *)&local, &size), 0);
    ck_assert_int_eq(send(raw, "x", 1, 0), 1);
    snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(local.sin_port));
    expect_stats(host, hear(host, "x"), address, (const uint64_t[]){1, 1, 0, 0});
    close(raw);
    shut(host);
}

/* From as many addresses of this host as there is room for. */
static uint64_t crowd_out(struct wherry_channel *host, bool numbered)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(host)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t id = 0;
    for (unsigned i = 0; i < WHERRY__ADDRESSES; i++) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001 + i)};
        struct wherry_info info;
        uint8_t header[WHERRY__SEQUENCE_HEADER];
        size_t size = numbered ? sizeof header : 0;
        int raw = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(raw, (struct sockaddr *)&from, sizeof from), 0);
        wherry__sequence_write(header, i, 0);
        ck_assert_int_eq(sendto(raw, header, size, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)size);
        test_is(wherry_channel_receive_info(host, NULL, 0, &info, test_deadline()), 1);
        id = info.peer.id;
        close(raw);
    }
    return id;
}

TEST(of_too_many_peers_the_one_silent_for_longest_goes)
{
    char url[96];
    struct wherry_channel *host = open_at("udp://:0?listen", WHERRY_BOTH);
    struct wherry_channel *first = open_at(beside(url, "", host, "?connect"), WHERRY_BOTH);
    test_is(say(first, "x"), 0);
    uint64_t id = hear(host, "x"), last = crowd_out(host, false);
    test_is(tell(host, id, "gone"), -ENOTCONN);
    test_is(tell(host, last, "here"), 0);
    test_is(tell(host, last - WHERRY__ADDRESSES + 1, "here"), 0);
    test_is(say(first, "x"), 0);
    ck_assert_uint_ne(hear(host, "x"), id);
    shut(first);
    shut(host);
}

/* Who was forgotten and comes again gets numbers that begin again, and must not take them for old ones. */
TEST(a_peer_that_was_forgotten_loses_no_answer)
{
    char url[96];
    struct wherry_channel *host = open_at("udp://:0?listen&seq=1", WHERRY_BOTH);
    struct wherry_channel *guest = open_at(beside(url, "", host, "?connect&seq=1"), WHERRY_BOTH);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            test_is(say(guest, "ask"), 0);
            test_is(tell(host, hear(host, "ask"), "answer"), 0);
            expect_text(guest, "answer");
        }
        if (round == 0)
            crowd_out(host, true);
    }
    ck_assert_uint_eq(stats_of(guest).dropped, 0);
    shut(guest);
    shut(host);
}

/* ---- nobody there ------------------------------------------------------------------------------------------------ */

TEST(nobody_there_is_epipe_and_somebody_gets_the_next_one)
{
    unsigned port = 0;
    char url[96], data[16];
    have_ports_for_oneself();
    close(raw_at(&port)); /* nobody's now */
    snprintf(url, sizeof url, "udp://:%u?connect", port);
    struct wherry_channel *channel = open_at(url, WHERRY_BOTH);
    test_is(say(channel, "lost"), 0); /* nobody can know yet */
    expect_nothing(channel);          /* what came back is no failure of a receive */
    test_is(wherry_channel_receive(channel, data, sizeof data, NULL, wherry_after(20 * WHERRY_MILLISECOND)),
            -ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        test_is(say(channel, "refused"), -EPIPE);
    int raw = raw_at(&port);
    test_is(say(channel, "arrives"), 0);
    ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), 7);
    ck_assert(memcmp(data, "arrives", 7) == 0);
    ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), -1);
    test_is(say(channel, "again"), 0);
    ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), 5);
    close(raw);
    shut(channel);
}

/* The error of an earlier message is none of the next one's, when somebody has come in between. */
TEST(a_receiver_that_came_back_misses_nothing)
{
    unsigned port = 0;
    char url[96], data[16];
    have_ports_for_oneself();
    int raw = raw_at(&port);
    snprintf(url, sizeof url, "udp://:%u", port);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    for (int round = 0; round < 5; round++) {
        test_is(say(sender, "one"), 0);
        ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), 3);
        close(raw);
        test_is(say(sender, "lost"), 0);
        raw = raw_at(&port);
        test_is(say(sender, "two"), 0);
        ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), 3);
        ck_assert(memcmp(data, "two", 3) == 0);
    }
    close(raw);
    shut(sender);
}

TEST(a_batch_to_nobody_stops)
{
    unsigned port = 0;
    char url[96];
    struct wherry_message messages[40];
    have_ports_for_oneself();
    close(raw_at(&port));
    snprintf(url, sizeof url, "udp://:%u", port);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    for (size_t i = 0; i < 40; i++) /* no two neighbours of one size */
        messages[i] = (struct wherry_message){.data = url, .size = 1 + i % 7};
    ssize_t sent = wherry_channel_send_many(sender, messages, 40, test_deadline());
    ck_assert_msg(sent >= 1 && sent <= 2, "%zd of 40 messages to nobody were accepted", sent);
    test_is(wherry_channel_send_many(sender, messages, 40, test_deadline()), -EPIPE);
    shut(sender);
}

/* Of another host it is known only later: the call gives each message one more try before it says so. */
static unsigned refusals;
static bool pending;
static ssize_t refusing_send(int fd, const void *data, size_t size, int flags)
{
    (void)fd, (void)data, (void)flags;
    if (pending) {
        pending = false;
        errno = ECONNREFUSED;
        return -1;
    }
    pending = true;
    refusals++;
    return (ssize_t)size;
}

TEST(what_comes_back_late_is_said_in_the_end)
{
    unsigned port = 0;
    char url[96];
    int raw = raw_at(&port), said = 0;
    snprintf(url, sizeof url, "udp://:%u", port);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    ssize_t (*before)(int, const void *, size_t, int) = wherry__sys.send;
    wherry__sys.send = refusing_send;
    for (int i = 0; i < 9; i++) {
        int result = say(sender, "x");
        ck_assert(result == 0 || result == -EPIPE);
        said += result == -EPIPE;
    }
    wherry__sys.send = before;
    ck_assert_int_eq(said, 3);
    test_is(say(sender, "y"), 0);
    close(raw);
    shut(sender);
}

/* ---- families of processes --------------------------------------------------------------------------------------- */

static void receive_one(void *argument)
{
    struct wherry_channel *channel = argument;
    char data[8];
    test_is(wherry_channel_receive(channel, data, sizeof data, NULL, test_deadline()), 1);
    shut(channel);
}

TEST(parent_and_child_take_turns_at_one_socket)
{
    char url[96];
    struct wherry_channel *receiver = open_at("udp://:0?inheritable=1", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(beside(url, "", receiver, ""), WHERRY_SEND);
    for (int i = 0; i < 6; i++)
        test_is(say(sender, "x"), 0);
    for (int i = 0; i < 2; i++)
        expect_text(receiver, "x"); /* no more than it asked for: the others are anyone's */
    for (int i = 0; i < 4; i++)
        test_join(test_fork(receive_one, receiver));
    expect_nothing(receiver);
    shut(sender);
    shut(receiver);
}

static void receive_fourth(void *argument)
{
    struct wherry_channel *channel = argument;
    expect_text(channel, "4");
    shut(channel);
}

TEST(what_the_parent_read_ahead_is_the_parents)
{
    char url[96];
    struct wherry_channel *receiver = open_at("udp://:0?inheritable=1&read_ahead=yes", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(beside(url, "", receiver, ""), WHERRY_SEND);
    static const char *const texts[] = {"1", "2", "3"};
    for (int i = 0; i < 3; i++)
        test_is(say(sender, texts[i]), 0);
    for (int i = 0; i < 2; i++)
        expect_text(receiver, texts[i]);
    test_is(say(sender, "4"), 0); /* the third came with the second */
    test_join(test_fork(receive_fourth, receiver));
    expect_text(receiver, "3");
    expect_nothing(receiver);
    shut(sender);
    shut(receiver);
}

TEST(a_listening_endpoint_without_connections_says_that)
{
    struct wherry_channel *channel = open_at("udp://:0?listen", WHERRY_BOTH);
    test_is(wherry_channel_disconnect(channel, 1, WHERRY_NOW), -EOPNOTSUPP);
    ck_assert_msg(strstr(wherry_why(), "has no connections"), "\"%s\"", wherry_why());
    shut(channel);
}
