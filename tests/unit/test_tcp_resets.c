/* tests/unit/test_tcp_resets.c - owns the proof that tcp: tells a reset from an end and loses nothing that could have
 * come: H52, H71.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "base/sys.h"
#include "unit/test_tcp_kit.h"

/* ---- H52 --------------------------------------------------------------------------------------------------------- */

/* The kernel takes the first message for a peer that has gone; what comes back for it says so. */
TEST(h52_a_send_soon_says_that_the_peer_closed)
{
    char url[80], text[100];
    int server = raw_server(url);
    struct wherry_channel *channel = open_at(strcat(url, "?connect"), WHERRY_BOTH);
    close(raw_accept(server));
    test_is(receive(channel, text), 0);
    int sent = 0, result;
    while ((result = wherry_channel_send(channel, "x", 1, test_deadline())) == 0 && sent < 1000)
        sent++;
    test_is(result, -EPIPE);
    ck_assert_int_le(sent, 2);
    test_is(receive(channel, text), 0); /* it closed in order: that what was sent was refused changes nothing */
    test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
    wherry_channel_close(channel, WHERRY_NOW);
    close(server);
}

TEST(h52_a_reset_is_said_once_and_then_the_end)
{
    char url[80], text[100];
    int server = raw_server(url);
    strcat(url, "?connect");
    for (int sends = 0; sends < 2; sends++) {
        struct wherry_channel *channel = open_at(url, WHERRY_BOTH);
        int fd = raw_accept(server);
        raw_send(fd, "before");
        reset(fd);
        if (sends) { /* the kernel says it to whoever asks first, and only once */
            test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
            ck_assert_ptr_nonnull(strstr(wherry_why(), strerror(ECONNRESET)));
        }
        receives(channel, "before");
        test_is(receive(channel, text), -ECONNRESET);
        ck_assert_msg(strstr(wherry_why(), "lost"), "%s", wherry_why());
        for (int i = 0; i < 3; i++)
            test_is(receive(channel, text), 0);
        test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
        wherry_channel_close(channel, WHERRY_NOW);
    }
    close(server);
}

static int (*real_getsockopt)(int fd, int level, int name, void *value, socklen_t *size);
static int killed;

/* The server is killed between accepting and answering, and then it is another one's turn. */
static int getsockopt_of_the_killed(int fd, int level, int name, void *value, socklen_t *size)
{
    int result = real_getsockopt(fd, level, name, value, size);
    if (name == SO_ERROR && killed-- > 0)
        *(int *)value = EPIPE;
    return result;
}

TEST(h53_a_server_killed_while_one_connects_is_tried_again)
{
    char url[80];
    int server = raw_server(url);
    real_getsockopt = wherry__sys.getsockopt;
    wherry__sys.getsockopt = getsockopt_of_the_killed;
    killed = 2;
    struct wherry_channel *channel = open_at(strcat(url, "?connect"), WHERRY_BOTH);
    ck_assert_int_lt(killed, 0);
    wherry__sys.getsockopt = real_getsockopt;
    wherry_channel_close(channel, WHERRY_NOW);
    close(server);
}

TEST(h52_a_listening_endpoint_tells_the_end_from_a_reset)
{
    struct wherry_channel *channel = open_at("tcp://:0?report_ends=1&listen", WHERRY_BOTH);
    struct wherry_info info;
    char text[100];
    for (int resets = 0; resets < 2; resets++)
        for (int sends = 0; sends < 2; sends++) {
            int fd = raw_client(port_of(channel), 0);
            raw_send(fd, "before");
            uint64_t id = id_of(channel, "before");
            raw_send(fd, "more");
            if (resets)
                reset(fd);
            else
                close(fd);
            struct wherry_message answer = {.data = "x", .size = 1, .to = id};
            if (sends)
                test_is(wherry_channel_send_message(channel, &answer, 0, test_deadline()), resets ? -ENOTCONN : 0);
            ck_assert_uint_eq(id_of(channel, "more"), id);
            test_is(wherry_channel_receive_info(channel, text, sizeof text, &info, test_deadline()), 1);
            ck_assert_uint_eq(info.flags, WHERRY_ENDED);
            ck_assert_uint_eq(info.peer.id, id);
            ck_assert_msg(info.type == (resets ? -ECONNRESET : 0), "resets %d, sends %d: type %lld", resets, sends,
                          (long long)info.type);
            test_ok(wherry_channel_disconnect(channel, id, test_deadline()));
            test_is(receive(channel, text), 0);
        }
    wherry_channel_close(channel, WHERRY_NOW);
}

/* ---- halves of messages ------------------------------------------------------------------------------------------ */

/* Of a message of 1 MiB so much comes before the reset. */
static const struct {
    const char *name;
    size_t bytes;
} halves[] = {
    {"header", 7}, {"a_little", 1000}, {"half", 512 * 1024}, {"all_but_one", WHERRY__WHOLE_HEADER + (1 << 20) - 1}};

TEST_TABLE(h52_a_message_cut_off_by_a_reset_is_dropped_and_counted, halves)
{
    enum { SIZE = 1 << 20 };
    uint8_t *bytes = calloc(1, WHERRY__WHOLE_HEADER + SIZE), *buffer = malloc(SIZE);
    struct wherry_channel_stats stats;
    wherry__whole_encode(bytes, SIZE, 0);
    for (int listens = 0; listens < 2; listens++)
        for (int roomy = 0; roomy < 2; roomy++) { /* into the caller's buffer, and into memory of the endpoint */
            char url[80];
            size_t size = 77, sent = 0;
            int server = listens ? -1 : raw_server(url);
            struct wherry_channel *channel = open_at(listens ? "tcp://:0" : strcat(url, "?connect"), WHERRY_RECEIVE);
            int fd = listens ? raw_client(port_of(channel), 0) : raw_accept(server);
            fcntl(fd, F_SETFL, O_NONBLOCK);
            while (sent < halves[index].bytes) {
                ssize_t more = send(fd, bytes + sent, halves[index].bytes - sent, MSG_NOSIGNAL);
                sent += more > 0 ? (size_t)more : 0;
                test_is(wherry_channel_receive(channel, buffer, roomy ? SIZE : 10, &size, WHERRY_NOW), -EAGAIN);
            }
            test_is(wherry_channel_receive(channel, buffer, roomy ? SIZE : 10, &size, wherry_after(20 * MS)),
                    -ETIMEDOUT);
            reset(fd);
            test_is(wherry_channel_receive(channel, buffer, SIZE, &size, test_deadline()), listens ? 0 : -ECONNRESET);
            ck_assert_uint_eq(size, 77);
            test_ok(wherry_channel_stats(channel, &stats, sizeof stats));
            ck_assert_uint_eq(stats.dropped, 1);
            ck_assert_uint_eq(stats.received_messages, 0);
            wherry_channel_close(channel, WHERRY_NOW);
            if (server >= 0)
                close(server);
        }
    free(bytes);
    free(buffer);
}

/* The sender's side of it: what was begun and kept goes with the connection. */
TEST(h52_a_message_begun_ends_with_the_connection)
{
    enum { SIZE = 16 << 20 };
    char url[80];
    int server = raw_server(url);
    void *big = calloc(1, SIZE);
    struct wherry_channel *channel = open_at(url, WHERRY_SEND);
    int fd = raw_accept(server);
    test_ok(wherry_channel_send(channel, big, SIZE, WHERRY_NOW)); /* begun, and kept */
    test_is(wherry_channel_flush(channel, wherry_after(30 * MS)), -ETIMEDOUT);
    reset(fd);
    test_is(wherry_channel_flush(channel, test_deadline()), -EPIPE);
    test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
    test_ok(wherry_channel_close(channel, WHERRY_NOW));
    free(big);
    close(server);
}

/* ---- H71 --------------------------------------------------------------------------------------------------------- */

enum { H71_REPLIES = 64, H71_REPLY = 16384 };

struct h71 {
    int fd;
    size_t got;
    int end; /* of reading: 0 or an errno */
    bool little;
    _Atomic bool stop;
};

/* As much as it can, which ends with a full buffer, or a little now and then, which goes on. */
static void *h71_send_on(void *argument)
{
    struct h71 *h71 = argument;
    char bytes[4096];
    memset(bytes, 'x', sizeof bytes);
    while (!h71->stop && send(h71->fd, bytes, h71->little ? 10 : sizeof bytes, MSG_NOSIGNAL) > 0)
        if (h71->little)
            test_sleep(100 * WHERRY_MICROSECOND);
    return NULL;
}

static void *h71_read(void *argument)
{
    struct h71 *h71 = argument;
    char bytes[8192];
    ssize_t size;
    while ((size = recv(h71->fd, bytes, sizeof bytes, 0)) > 0) {
        h71->got += (size_t)size;
        test_sleep(50 * WHERRY_MICROSECOND); /* slower than the server sends */
    }
    h71->end = size < 0 ? errno : 0;
    return NULL;
}

/* The server answers and lets go while the client, whose small buffer is full of answers, goes on sending. */
static const struct {
    const char *name;
    bool disconnects, another, connects; /* another: that was not received from last */
    bool now;                            /* asked again and again, for servers that have others to serve */
} h71_ways[] = {
    {"close", false, false, false, false},
    {"disconnect", true, false, false, false},
    {"disconnect_another", true, true, false, false},
    {"disconnect_now", true, false, false, true},
    {"disconnect_another_now", true, true, false, true},
    {"close_of_who_connects", false, false, true, false},
};

static int h71_disconnect(struct wherry_channel *channel, uint64_t peer, bool now)
{
    int result;
    wherry_time deadline = now ? WHERRY_NOW : test_deadline();
    test_until((result = wherry_channel_disconnect(channel, peer, deadline)) != -EAGAIN, "not all arrives");
    return result;
}

TEST_TABLE(h71_no_reply_is_lost_to_what_the_client_still_sends, h71_ways)
{
    static char reply[H71_REPLY];
    memset(reply, 'r', sizeof reply);
    for (int round = 0; round < 10; round++) {
        char url[80], text[8192];
        struct wherry_info info = {0};
        pthread_t sends, reads;
        struct h71 h71 = {.little = round % 2};
        int server = h71_ways[index].connects ? raw_server(url) : -1;
        struct wherry_channel *channel = open_at(h71_ways[index].connects ? strcat(url, "?connect&frame=raw")
                                                                          : "tcp://:0?listen&frame=raw&capacity=64k",
                                                 WHERRY_BOTH);
        h71.fd = server >= 0 ? raw_accept(server) : raw_client(port_of(channel), 8192);
        pthread_create(&sends, NULL, h71_send_on, &h71);
        pthread_create(&reads, NULL, h71_read, &h71);
        test_is(wherry_channel_receive_info(channel, text, sizeof text, &info, test_deadline()), 1);
        for (int i = 0; i < H71_REPLIES; i++) {
            struct wherry_message message = {.data = reply, .size = sizeof reply, .to = info.peer.id};
            test_ok(wherry_channel_send_message(channel, &message, 0, test_deadline()));
        }
        int another = h71_ways[index].another ? raw_client(port_of(channel), 0) : -1;
        if (another >= 0) {
            struct wherry_info other = {.peer.id = info.peer.id};
            ck_assert_int_eq(send(another, "x", 1, MSG_NOSIGNAL), 1);
            while (other.peer.id == info.peer.id)
                test_is(wherry_channel_receive_info(channel, text, sizeof text, &other, test_deadline()), 1);
            close(another);
        }
        if (h71_ways[index].disconnects)
            test_ok(h71_disconnect(channel, info.peer.id, h71_ways[index].now));
        else
            test_ok(wherry_channel_close(channel, test_deadline()));
        pthread_join(reads, NULL);
        h71.stop = true;
        if (h71_ways[index].disconnects) /* a peer that was received from last is closed at the next receive */
            wherry_channel_receive(channel, text, sizeof text, &(size_t){0}, WHERRY_NOW);
        pthread_join(sends, NULL);
        close(h71.fd);
        if (h71_ways[index].disconnects)
            wherry_channel_close(channel, test_deadline());
        if (server >= 0)
            close(server);
        ck_assert_msg(h71.got == (size_t)H71_REPLIES * H71_REPLY, "round %d: %zu of %d bytes came, then %s", round,
                      h71.got, H71_REPLIES * H71_REPLY, strerror(h71.end));
    }
}

/* Whoever says at once that it lets a peer go, and asks no more, does not have it for ever. */
TEST(h71_a_peer_that_was_let_go_at_once_goes_when_it_ends)
{
    static char reply[256 << 10], text[4096];
    struct wherry_info info;
    struct wherry_channel_stats stats;
    struct wherry_channel *channel = open_at("tcp://:0?listen&frame=raw", WHERRY_BOTH);
    int fd = raw_client(port_of(channel), 8192);
    ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
    test_is(wherry_channel_receive_info(channel, text, sizeof text, &info, test_deadline()), 1);
    struct wherry_message message = {.data = reply, .size = sizeof reply, .to = info.peer.id};
    test_ok(wherry_channel_send_message(channel, &message, 0, test_deadline()));
    test_is(wherry_channel_disconnect(channel, info.peer.id, WHERRY_NOW), -EAGAIN);
    test_ok(wherry_channel_stats(channel, &stats, sizeof stats));
    ck_assert_uint_eq(stats.peers, 1);
    ssize_t size, got = 0;
    while ((size = recv(fd, text, sizeof text, 0)) > 0)
        got += size;
    ck_assert_int_eq(got, sizeof reply);
    close(fd);
    wherry_time deadline = test_deadline();
    while (stats.peers > 0 && wherry_now() < deadline) {
        wherry_channel_receive(channel, text, sizeof text, &(size_t){0}, wherry_after(10 * WHERRY_MILLISECOND));
        test_ok(wherry_channel_stats(channel, &stats, sizeof stats));
    }
    ck_assert_uint_eq(stats.peers, 0);
    wherry_channel_close(channel, WHERRY_NOW);
}
