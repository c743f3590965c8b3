/* tests/unit/test_udp.c - owns the proof for udp: and for H51: what is cut, lost, doubled or nobody's is told as such.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "channel/addresses.h"
#include "channel/sequence.h"
#include "harness.h"
#include "unit/hosts.h"

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static struct wherry_channel *open_at(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    test_is(wherry_channel_open(url, role, NULL, test_deadline(), &channel), 0);
    return channel;
}

static void shut(struct wherry_channel *channel)
{
    wherry_channel_close(channel, WHERRY_NOW);
}

static unsigned port_of(const struct wherry_channel *channel)
{
    const char *url = wherry_channel_url(channel), *end = url + strcspn(url, "?");
    while (end[-1] != ':')
        end--;
    return (unsigned)strtoul(end, NULL, 10);
}

/* A URL for the port of another endpoint. */
static const char *beside(char url[96], const char *host, const struct wherry_channel *channel, const char *options)
{
    snprintf(url, 96, "udp://%s:%u%s", host, port_of(channel), options);
    return url;
}

static struct wherry_channel_stats stats_of(struct wherry_channel *channel)
{
    struct wherry_channel_stats stats;
    test_is(wherry_channel_stats(channel, &stats, sizeof stats), 0);
    return stats;
}

static void expect_text(struct wherry_channel *channel, const char *text)
{
    char data[256] = "";
    size_t size = 0;
    test_is(wherry_channel_receive(channel, data, sizeof data - 1, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, strlen(text));
    data[size] = '\0';
    ck_assert_str_eq(data, text);
}

static void expect_nothing(struct wherry_channel *channel)
{
    char data[8];
    test_is(wherry_channel_receive(channel, data, sizeof data, NULL, WHERRY_NOW), -EAGAIN);
}

static int say(struct wherry_channel *channel, const char *text)
{
    return wherry_channel_send(channel, text, strlen(text), test_deadline());
}

/* A program's socket that knows nothing of wherry, connected to the endpoint. */
static int raw_to(const struct wherry_channel *channel)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port_of(channel)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* And one that is bound to a port. */
static int raw_at(unsigned *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

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
    flood("");
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

struct numbered {
    uint8_t header[WHERRY__SEQUENCE_HEADER];
    char text[16];
};

static void send_numbered(int raw, uint64_t id, uint64_t number, const char *text)
{
    struct numbered datagram;
    size_t size = WHERRY__SEQUENCE_HEADER + strlen(text);
    wherry__sequence_write(datagram.header, id, number);
    memcpy(datagram.text, text, strlen(text));
    ck_assert_int_eq(send(raw, &datagram, size, 0), (ssize_t)size);
}

/* After each number the counters: lost, reordered, dropped. */
static const struct step {
    uint64_t id, number, lost, reordered, dropped;
} gaps[] = {{1, 0, 0, 0, 0}, {1, 1, 0, 0, 0}, {1, 4, 2, 0, 0}, {1, 3, 1, 1, 0}, {1, 3, 1, 1, 1},
            {1, 2, 0, 2, 1}, {1, 2, 0, 2, 2}, {1, 4, 0, 2, 3}, {1, 5, 0, 2, 3}, {1, 5, 0, 2, 4}},
  restarts[] = {{1, 0, 0, 0, 0},   {1, 1, 0, 0, 0}, {2, 0, 0, 0, 0}, {2, 1, 0, 0, 0}, {3, 700, 0, 0, 0},
                {3, 702, 1, 0, 0}, {1, 2, 1, 0, 0}, {2, 4, 3, 0, 0}, {2, 3, 2, 1, 0}, {1, 3, 2, 1, 0}},
  before_the_first[] = {{1, 10, 0, 0, 0}, {1, 9, 0, 1, 0}, {1, 9, 0, 1, 1}, {1, 11, 0, 1, 1}, {1, 8, 0, 2, 1}},
  far_ahead[] = {{1, 0, 0, 0, 0}, {1, 1000, 999, 0, 0}, {1, 768, 998, 1, 0}, {1, 700, 998, 1, 1}},
  window[] = {{1, 0, 0, 0, 0},       {1, 1000, 999, 0, 0},  {1, 745, 998, 1, 0},   {1, 744, 998, 1, 1},
              {1, 744, 998, 1, 2},   {1, 1001, 998, 1, 2},  {1, 745, 998, 1, 3},   {1, 746, 997, 2, 3},
              {1, 1300, 1295, 2, 3}, {1, 1301, 1295, 2, 3}, {1, 1046, 1294, 3, 3}, {1, 1045, 1294, 3, 4}};

static const struct story {
    const char *name;
    const struct step *steps;
    size_t count;
} stories[] = {{"gaps", gaps, sizeof gaps / sizeof *gaps},
               {"restarts", restarts, sizeof restarts / sizeof *restarts},
               {"before_the_first", before_the_first, sizeof before_the_first / sizeof *before_the_first},
               {"far_ahead", far_ahead, sizeof far_ahead / sizeof *far_ahead},
               {"window", window, sizeof window / sizeof *window}};

TEST_TABLE(numbers_tell_what_is_missing, stories)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    uint64_t dropped = 0;
    for (size_t i = 0; i < stories[index].count; i++) {
        const struct step *step = &stories[index].steps[i];
        send_numbered(raw, step->id, step->number, "numbered");
        if (step->dropped > dropped)
            expect_nothing(receiver);
        else
            expect_text(receiver, "numbered");
        dropped = step->dropped;
        struct wherry_channel_stats stats = stats_of(receiver);
        ck_assert_msg(stats.lost == step->lost && stats.reordered == step->reordered && stats.dropped == step->dropped,
                      "after step %zu: %llu lost, %llu reordered, %llu dropped", i, (unsigned long long)stats.lost,
                      (unsigned long long)stats.reordered, (unsigned long long)stats.dropped);
        ck_assert_uint_eq(stats.refused, 0);
    }
    close(raw);
    shut(receiver);
}

/* The places of the window are used again and again. */
TEST(numbers_go_round_the_window)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    for (uint64_t number = 0; number < 2000; number += 10) { /* all came but 1 and 5 of each ten, which come late */
        static const unsigned order[] = {0, 2, 3, 4, 6, 7, 8, 9, 1, 5};
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
            send_numbered(raw, 1, number + order[i], "x");
            expect_text(receiver, "x");
        }
        ck_assert_uint_eq(stats_of(receiver).lost, 0);
        ck_assert_uint_eq(stats_of(receiver).reordered, (number / 10 + 1) * 2);
    }
    close(raw);
    shut(receiver);
}

/* Said once in a row, counted each time. */
TEST(what_has_no_number_is_refused)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    struct numbered bad;
    send_numbered(raw, 7, 0, "good");
    expect_text(receiver, "good");
    wherry__sequence_write(bad.header, 7, 1);
    bad.header[0] ^= 1;
    ck_assert_int_eq(send(raw, "hello", 5, 0), 5);
    ck_assert_int_eq(send(raw, "", 0, 0), 0);
    ck_assert_int_eq(send(raw, &bad, sizeof bad, 0), sizeof bad); /* another magic */
    bad.header[0] ^= 1;
    ck_assert_int_eq(send(raw, &bad, WHERRY__SEQUENCE_HEADER - 1, 0), WHERRY__SEQUENCE_HEADER - 1);
    send_numbered(raw, 7, UINT64_MAX, "x");
    send_numbered(raw, 8, UINT64_MAX, "x");                /* nor may anyone begin at the end */
    send_numbered(raw, 7, (UINT64_C(1) << 32) + 100, "x"); /* nobody loses so many */
    char data[64];
    test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, test_deadline()), -EBADMSG);
    ck_assert_msg(strstr(wherry_why(), "seq=1"), "\"%s\" does not say what to do", wherry_why());
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(receiver).refused, 7);
    send_numbered(raw, 7, 1, "again");
    expect_text(receiver, "again");
    ck_assert_int_eq(send(raw, "hello", 5, 0), 5);
    test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, test_deadline()), -EBADMSG);
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    close(raw);
    shut(receiver);
}

TEST(garbage_harms_nobody)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1&max_message=300", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    uint8_t data[600];
    unsigned good = 0;
    srandom(51);
    for (int round = 0; round < 20000; round++) {
        size_t size = (size_t)random() % sizeof data;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)random();
        if (random() % 2 && size >= WHERRY__SEQUENCE_HEADER)
            wherry__sequence_write(data, (uint64_t)random() % 8, (uint64_t)random() % 1000);
        ck_assert_int_eq(send(raw, data, size, 0), (ssize_t)size);
        int result;
        while ((result = wherry_channel_receive(receiver, data, sizeof data, &size, WHERRY_NOW)) != -EAGAIN) {
            ck_assert(result == 1 || result == -EBADMSG);
            ck_assert(result != 1 || size <= 300);
            good += result == 1;
        }
    }
    ck_assert_uint_gt(good, 0);
    struct wherry_channel_stats stats = stats_of(receiver);
    ck_assert_uint_eq(stats.received_messages + stats.dropped + stats.refused, 20000);
    close(raw);
    shut(receiver);
}

TEST(as_many_senders_are_remembered_as_there_is_room_for)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    for (uint64_t round = 0; round < 3; round++)
        for (uint64_t id = 1; id <= WHERRY__SEQUENCE_SENDERS; id++) {
            send_numbered(raw, id * 1024, round, "x"); /* all in one chain of the table */
            expect_text(receiver, "x");
        }
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    send_numbered(raw, 1024, 4, "x"); /* one is missing; now the second is the one silent for longest */
    expect_text(receiver, "x");
    ck_assert_uint_eq(stats_of(receiver).lost, 1);
    send_numbered(raw, 5, 0, "x");
    expect_text(receiver, "x");
    send_numbered(raw, 3 * 1024, 4, "x"); /* known */
    expect_text(receiver, "x");
    ck_assert_uint_eq(stats_of(receiver).lost, 2);
    send_numbered(raw, 2 * 1024, 9, "x"); /* forgotten: its count begins anew */
    expect_text(receiver, "x");
    ck_assert_uint_eq(stats_of(receiver).lost, 2);
    close(raw);
    shut(receiver);
}

TEST(with_one_side_alone_numbered_nothing_is_taken_for_a_message)
{
    char url[96];
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    struct wherry_channel *plain = open_at(beside(url, "", receiver, ""), WHERRY_SEND);
    struct wherry_channel *numbered = open_at(beside(url, "", receiver, "?seq=1"), WHERRY_SEND);
    test_is(say(plain, "a plain one, longer than the header"), 0);
    test_is(wherry_channel_receive(receiver, url, sizeof url, NULL, test_deadline()), -EBADMSG);
    test_is(say(numbered, ""), 0);
    expect_text(receiver, "");
    test_is(say(numbered, "numbered"), 0);
    expect_text(receiver, "numbered");
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    shut(plain);
    shut(numbered);
    shut(receiver);
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static uint64_t hear(struct wherry_channel *channel, const char *text)
{
    struct wherry_info info;
    char data[64];
    test_is(wherry_channel_receive_info(channel, data, sizeof data, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.size, strlen(text));
    ck_assert(memcmp(data, text, info.size) == 0);
    return info.peer.id;
}

static int tell(struct wherry_channel *channel, uint64_t to, const char *text)
{
    struct wherry_message message = {.data = text, .size = strlen(text), .to = to};
    return wherry_channel_send_message(channel, &message, 0, test_deadline());
}

TEST(each_peer_gets_its_own_answer)
{
    enum { PEERS = 4, ROUNDS = 20 };
    char url[96], text[16];
    struct wherry_channel *host = open_at("udp://:0?listen&seq=1", WHERRY_BOTH), *guests[PEERS];
    uint64_t ids[PEERS];
    for (int i = 0; i < PEERS; i++) {
        guests[i] = open_at(beside(url, "", host, "?connect&seq=1"), WHERRY_BOTH);
        snprintf(text, sizeof text, "from %d", i);
        test_is(say(guests[i], text), 0);
        ids[i] = hear(host, text);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = PEERS - 1; i >= 0; i--) {
            snprintf(text, sizeof text, "to %d, %d", i, round);
            test_is(tell(host, ids[i], text), 0);
            ck_assert_uint_eq(hear(guests[i], text), 1);
        }
    for (int i = 0; i < PEERS; i++) { /* each saw numbers of its own */
        struct wherry_channel_stats stats = stats_of(guests[i]);
        ck_assert_uint_eq(stats.lost + stats.reordered + stats.dropped + stats.refused, 0);
        expect_nothing(guests[i]);
        shut(guests[i]);
    }
    test_is(tell(host, 0, "whom?"), -EDESTADDRREQ);
    test_is(tell(host, ids[3] + 1, "nobody"), -ENOTCONN);
    shut(host);
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
    ssize_t (*real)(int, const void *, size_t, int) = wherry__sys.send;
    wherry__sys.send = refusing_send;
    for (int i = 0; i < 9; i++) {
        int result = say(sender, "x");
        ck_assert(result == 0 || result == -EPIPE);
        said += result == -EPIPE;
    }
    wherry__sys.send = real;
    ck_assert_int_eq(said, 3);
    test_is(say(sender, "y"), 0);
    close(raw);
    shut(sender);
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

static void largest(const char *host, const char *options, size_t most)
{
    char url[96];
    snprintf(url, sizeof url, "udp://%s:0%s", host, options);
    struct wherry_channel *receiver = open_at(url, WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(beside(url, host, receiver, options), WHERRY_SEND);
    uint8_t *data = calloc(1, 70000), *back = malloc(70000);
    size_t size = 0;
    for (size_t i = 0; i < most; i++)
        data[i] = (uint8_t)(i * 7 >> 3);
    test_is(wherry_channel_send(sender, data, most + 1, test_deadline()), -EMSGSIZE);
    test_is(wherry_channel_send(sender, data, most, test_deadline()), 0);
    test_is(wherry_channel_receive(receiver, back, 70000, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, most);
    ck_assert(memcmp(data, back, most) == 0);
    ck_assert_uint_eq(stats_of(receiver).lost, 0); /* what was not taken had no number */
    test_is(wherry_channel_send(sender, data, 1, test_deadline()), 0);
    test_is(wherry_channel_receive(receiver, back, 70000, &size, test_deadline()), 1);
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    free(data);
    free(back);
    shut(sender);
    shut(receiver);
}

TEST(the_largest_message_is_the_protocols)
{
    largest("127.0.0.1", "", 65507);
    largest("[::1]", "", 65527);
    largest("127.0.0.1", "?seq=1", 65507 - WHERRY__SEQUENCE_HEADER);
}

static const struct refusal {
    const char *name;
    enum wherry_role role;
    int code;
    const char *word;
} refusals_of_open[] = {
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
    const struct refusal *refusal = &refusals_of_open[index];
    struct wherry_channel *channel = NULL;
    test_is(wherry_channel_open(refusal->name, refusal->role, NULL, WHERRY_NOW, &channel), refusal->code);
    ck_assert_msg(strstr(wherry_why(), refusal->word), "\"%s\" does not say \"%s\"", wherry_why(), refusal->word);
    ck_assert_ptr_null(channel);
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

/* ---- many in one call -------------------------------------------------------------------------------------------- */

enum { MANY = 900 };

static size_t size_of(unsigned n)
{
    static const size_t sizes[] = {64, 64, 64, 64, 0, 0, 1400, 1400, 1400, 3, 2112, 2113, 9000, 9000, 64, 64, 64, 64};
    return sizes[n % (sizeof sizes / sizeof *sizes)];
}

static void fill(uint8_t *data, unsigned n)
{
    for (size_t i = 0; i < size_of(n); i++)
        data[i] = (uint8_t)(n + i * 31);
}

/* As many at a time as fit into the receiver's socket. */
static void carry_many(const char *options)
{
    static uint8_t data[MANY][9000], back[9000], wanted[9000];
    static struct wherry_message messages[MANY];
    char url[96];
    snprintf(url, sizeof url, "udp://:0%s", options);
    struct wherry_channel *receiver = open_at(url, WHERRY_RECEIVE);
    struct wherry_channel *sender =
        open_at(beside(url, "", receiver, strstr(options, "seq") ? "?seq=1" : ""), WHERRY_SEND);
    for (unsigned n = 0; n < MANY; n++) {
        fill(data[n], n);
        messages[n] = (struct wherry_message){.data = data[n], .size = size_of(n)};
    }
    for (unsigned n = 0, together = 1; n < MANY; n += together, together = together % 50 + 7) {
        together = together < MANY - n ? together : MANY - n;
        ck_assert_int_eq(wherry_channel_send_many(sender, messages + n, together, test_deadline()), (ssize_t)together);
        for (unsigned i = n; i < n + together; i++) {
            size_t size = 0;
            test_is(wherry_channel_receive(receiver, back, sizeof back, &size, test_deadline()), 1);
            fill(wanted, i);
            ck_assert_msg(size == size_of(i) && memcmp(back, wanted, size) == 0, "message %u came with %zu bytes", i,
                          size);
        }
    }
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    shut(sender);
    shut(receiver);
}

static const struct {
    const char *name;
} carried[] = {{""}, {"?seq=1"}, {"?read_ahead=no"}, {"?read_ahead=no&seq=1"}, {"?single_thread=1"}};

TEST_TABLE(batches_arrive_as_they_were_sent, carried)
{
    carry_many(carried[index].name);
}

/* A way whose device cannot cut segments: each message goes by itself. */
static int (*real_sendmmsg)(int, struct mmsghdr *, unsigned, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static unsigned cut;
static int cut_code;
static int without_segments(int fd, struct mmsghdr *headers, unsigned count, int flags)
{
    unsigned good = 0;
    while (good < count && !headers[good].msg_hdr.msg_control)
        good++;
    cut += good < count;
    errno = cut_code;
    return good ? real_sendmmsg(fd, headers, good, flags) : -1;
}

static ssize_t one_without_segments(int fd, const struct msghdr *header, int flags)
{
    cut += header->msg_control != NULL;
    errno = cut_code;
    return header->msg_control ? -1 : real_sendmsg(fd, header, flags);
}

TEST_TABLE(batches_arrive_where_nothing_goes_together, carried)
{
    real_sendmmsg = wherry__sys.sendmmsg;
    real_sendmsg = wherry__sys.sendmsg;
    wherry__sys.sendmmsg = without_segments;
    cut_code = index % 2 ? EIO : EINVAL; /* the device's word, and the MTU's */
    wherry__sys.sendmsg = one_without_segments;
    carry_many(carried[index].name);
    wherry__sys.sendmmsg = real_sendmmsg;
    wherry__sys.sendmsg = real_sendmsg;
    ck_assert_uint_gt(cut, 0);
}

/* What goes together on its way is apart for who receives with a socket of its own. */
TEST(a_plain_socket_gets_each_message_of_a_batch)
{
    unsigned port = 0;
    char url[96], data[100];
    struct wherry_message messages[20];
    int raw = raw_at(&port);
    snprintf(url, sizeof url, "udp://:%u", port);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    for (size_t i = 0; i < 20; i++)
        messages[i] = (struct wherry_message){.data = url, .size = 11};
    ck_assert_int_eq(wherry_channel_send_many(sender, messages, 20, test_deadline()), 20);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), 11);
    ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), -1);
    close(raw);
    shut(sender);
}

/* Others may send so, too: the last segment shorter. */
TEST(segments_of_a_plain_socket_are_messages)
{
    struct wherry_channel *receiver = open_at("udp://:0?max_message=10", WHERRY_RECEIVE);
    int raw = raw_to(receiver), size = 4;
    if (setsockopt(raw, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) != 0)
        test_skip("no UDP_SEGMENT here");
    ck_assert_int_eq(send(raw, "firstsecondlast", 15, 0), 15);
    expect_text(receiver, "firs");
    expect_text(receiver, "tsec");
    expect_text(receiver, "ondl");
    expect_text(receiver, "ast");
    close(raw);
    shut(receiver);
}

/* ---- when the kernel says no ------------------------------------------------------------------------------------- */

static struct {
    unsigned left; /* calls until one fails; 0: none */
    int code;
    bool hit;
} fault;

static bool fails(void)
{
    if (fault.left == 0 || --fault.left > 0)
        return false;
    fault.hit = true;
    errno = fault.code;
    return true;
}

static struct wherry__sys real;
static int bad_socket(int domain, int type, int protocol)
{
    return fails() ? -1 : real.socket(domain, type, protocol);
}
static int bad_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails() ? -1 : real.bind(fd, address, size);
}
static int bad_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails() ? -1 : real.connect(fd, address, size);
}
static int bad_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return fails() ? -1 : real.setsockopt(fd, level, name, value, size);
}
static ssize_t bad_recvmsg(int fd, struct msghdr *message, int flags)
{
    return fails() ? -1 : real.recvmsg(fd, message, flags);
}
static int bad_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    return fails() ? -1 : real.recvmmsg(fd, messages, count, flags, timeout);
}
static int bad_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return fails() ? -1 : real.sendmmsg(fd, messages, count, flags);
}

/* Open, send nine, receive them: what fails says why, nothing stays open, and the next try works. */
static bool carry_nine(void)
{
    static const char *const options = "seq=1&broadcast=1&ttl=3&capacity=30000&interface=lo";
    struct wherry_channel *receiver = NULL, *sender = NULL;
    struct wherry_message messages[9];
    char url[128], text[8];
    ssize_t sent = 0, received = 0;
    snprintf(url, sizeof url, "udp://127.0.0.1:0?%s", options);
    int result = wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver);
    if (result == 0) {
        snprintf(url, sizeof url, "udp://127.0.0.1:%u?%s", port_of(receiver), options);
        result = wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender);
    }
    ck_assert_msg(result == 0 || wherry_why()[0], "a failure without a word");
    for (size_t i = 0; i < 9; i++)
        messages[i] = (struct wherry_message){.data = "message", .size = i % 4};
    while (result == 0 && sent < 9) {
        ssize_t more = wherry_channel_send_many(sender, messages + sent, (size_t)(9 - sent), WHERRY_NOW);
        sent += more > 0 ? more : 0;
        ck_assert_msg(more >= 0 || fault.hit, "%s", wherry_why());
    }
    for (int tries = 0; result == 0 && received < sent && tries < 20; tries++)
        received += wherry_channel_receive(receiver, text, sizeof text, NULL, WHERRY_NOW) == 1;
    ck_assert_int_eq(received, sent);
    shut(sender);
    shut(receiver);
    return result == 0;
}

TEST(each_call_may_fail)
{
    static const int codes[] = {EINTR, ENOMEM, EPERM, ENOBUFS, EAGAIN};
    real = wherry__sys;
    wherry__sys.socket = bad_socket;
    wherry__sys.bind = bad_bind;
    wherry__sys.connect = bad_connect;
    wherry__sys.setsockopt = bad_setsockopt;
    wherry__sys.recvmsg = bad_recvmsg;
    wherry__sys.recvmmsg = bad_recvmmsg;
    wherry__sys.sendmmsg = bad_sendmmsg;
    unsigned calls = 0;
    for (size_t c = 0; c < sizeof codes / sizeof *codes; c++)
        for (unsigned n = 1;; n++) {
            fault.left = n;
            fault.code = codes[c];
            fault.hit = false;
            carry_nine();
            fault.left = 0;
            if (!fault.hit)
                break;
            ck_assert_msg(carry_nine(), "after one failure: %s", wherry_why());
            calls++;
        }
    wherry__sys = real;
    ck_assert_uint_gt(calls, 50);
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

/* ---- to all, and to groups --------------------------------------------------------------------------------------- */

TEST(a_broadcast_reaches_all_who_share_the_port)
{
    char url[96];
    hosts_own_network();
    struct wherry_channel *one = open_at("udp://*:4711?broadcast=1", WHERRY_RECEIVE);
    struct wherry_channel *two = open_at("udp://*:4711?broadcast=1", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at("udp://127.255.255.255:4711?broadcast=1", WHERRY_SEND), *asker;
    test_is(say(sender, "to all"), 0);
    expect_text(one, "to all");
    expect_text(two, "to all");
    test_is(wherry_channel_open("udp://*:4711", WHERRY_RECEIVE, NULL, WHERRY_NOW, &asker), -EADDRINUSE);
    shut(sender);
    shut(one);
    shut(two);
    /* who asks all is answered by each, from its own address */
    struct wherry_channel *host = open_at("udp://*:4711?broadcast=1&listen", WHERRY_BOTH);
    asker = open_at(beside(url, "127.255.255.255", host, "?broadcast=1&connect"), WHERRY_BOTH);
    test_is(say(asker, "who?"), 0);
    test_is(tell(host, hear(host, "who?"), "I"), 0);
    expect_text(asker, "I");
    shut(asker);
    shut(host);
}

/* A network of one device; what leaves by it can be read. */
static int own_device(void)
{
    hosts_own_network();
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int device = hosts_device(control, "10.66.0.1", "fd66::1");
    close(control);
    return device;
}

/* The next datagram to that port that leaves by the device, soon: how many routers it may pass. */
static unsigned left_with_ttl(int device, uint16_t port)
{
    uint8_t packet[2000];
    for (;;) {
        struct pollfd wanted = {.fd = device, .events = POLLIN};
        ck_assert_msg(poll(&wanted, 1, 5000) == 1, "nothing left by the device");
        ssize_t size = read(device, packet, sizeof packet);
        bool six = packet[0] >> 4 == 6;
        size_t at = six ? 40 : (packet[0] & 15u) * 4u;
        bool udp = size >= (ssize_t)at + 8 && packet[six ? 6 : 9] == IPPROTO_UDP;
        if (udp && (packet[at + 2] << 8 | packet[at + 3]) == port)
            return packet[six ? 7 : 8];
    }
}

static void reach_a_group(const char *group, const char *elsewhere)
{
    char url[96];
    int device = own_device();
    snprintf(url, sizeof url, "udp://%s:4711?interface=%s", group, HOSTS_DEVICE);
    struct wherry_channel *one = open_at(url, WHERRY_RECEIVE), *two = open_at(url, WHERRY_RECEIVE);
    snprintf(url, sizeof url, "udp://%s:4711?interface=%s", elsewhere, HOSTS_DEVICE);
    struct wherry_channel *other = open_at(url, WHERRY_RECEIVE);
    snprintf(url, sizeof url, "udp://%s:4711?interface=%s&ttl=7", group, HOSTS_DEVICE);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    test_is(say(sender, "to the group"), 0);
    expect_text(one, "to the group");
    expect_text(two, "to the group");
    expect_nothing(other);
    ck_assert_uint_eq(left_with_ttl(device, 4711), 7);
    shut(sender);
    snprintf(url, sizeof url, "udp://%s:4711?interface=%s&loop=no", group, HOSTS_DEVICE);
    sender = open_at(url, WHERRY_SEND);
    test_is(say(sender, "to others"), 0);
    ck_assert_uint_eq(left_with_ttl(device, 4711), 1);
    expect_nothing(one);
    shut(sender);
    /* who asks a group is answered from the members' own addresses */
    snprintf(url, sizeof url, "udp://%s:4712?interface=%s&listen", group, HOSTS_DEVICE);
    struct wherry_channel *host = open_at(url, WHERRY_BOTH);
    snprintf(url, sizeof url, "udp://%s:4712?interface=%s&connect", group, HOSTS_DEVICE);
    struct wherry_channel *asker = open_at(url, WHERRY_BOTH);
    test_is(say(asker, "who?"), 0);
    test_is(tell(host, hear(host, "who?"), "I"), 0);
    expect_text(asker, "I");
    shut(asker);
    shut(host);
    shut(one);
    shut(two);
    shut(other);
    close(device);
}

TEST(a_group_reaches_all_who_joined)
{
    reach_a_group("239.1.2.3", "239.1.2.4");
}

TEST(a_group_of_ipv6_reaches_all_who_joined)
{
    reach_a_group("[ff15::1:2:3]", "[ff15::1:2:4]");
}

/* The hosts' own words for unicast. */
TEST(ttl_and_interface_are_for_one_host_too)
{
    int device = own_device();
    struct wherry_channel *sender = open_at("udp://10.66.0.9:4711?ttl=9", WHERRY_SEND);
    test_is(say(sender, "far"), 0);
    ck_assert_uint_eq(left_with_ttl(device, 4711), 9);
    shut(sender);
    sender = open_at("udp://[fd66::9]:4711?ttl=5", WHERRY_SEND);
    test_is(say(sender, "far"), 0);
    ck_assert_uint_eq(left_with_ttl(device, 4711), 5);
    shut(sender);
    struct wherry_channel *receiver = open_at("udp://*:4711?interface=" HOSTS_DEVICE, WHERRY_RECEIVE);
    sender = open_at("udp://127.0.0.1:4711", WHERRY_SEND); /* by loopback, which is another interface */
    test_is(say(sender, "near"), 0);
    expect_nothing(receiver);
    shut(sender);
    shut(receiver);
    close(device);
}

/* A device that takes no more, as few do: what was refused left nothing behind, its number least of all. */
static ssize_t full_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)fd, (void)message, (void)flags;
    errno = EAGAIN;
    return -1;
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

/* What goes together fits into the device's packets, or goes by itself, in fragments. */
TEST(a_batch_leaves_by_a_device_as_packets)
{
    enum { COUNT = 10 };
    static const char data[2000];
    struct wherry_message messages[COUNT];
    int device = own_device();
    struct wherry_channel *sender = open_at("udp://10.66.0.9:4711", WHERRY_SEND);
    for (size_t i = 0; i < COUNT; i++)
        messages[i] = (struct wherry_message){.data = data, .size = 1400};
    ck_assert_int_eq(wherry_channel_send_many(sender, messages, COUNT, test_deadline()), COUNT);
    for (int i = 0; i < COUNT; i++)
        left_with_ttl(device, 4711);
    for (size_t i = 0; i < COUNT; i++)
        messages[i].size = 2000; /* over the MTU */
    ck_assert_int_eq(wherry_channel_send_many(sender, messages, COUNT, test_deadline()), COUNT);
    for (int i = 0; i < COUNT; i++)
        left_with_ttl(device, 4711);
    struct pollfd wanted = {.fd = device, .events = POLLIN};
    char packet[2000];
    while (poll(&wanted, 1, 0) == 1 && read(device, packet, sizeof packet) > 0)
        ck_assert_int_ne(packet[9] == IPPROTO_UDP && (packet[6] & 0x1f) == 0 && packet[7] == 0,
                         1); /* the last fragment */
    shut(sender);
    close(device);
}
