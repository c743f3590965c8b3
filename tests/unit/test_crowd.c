/* tests/unit/test_crowd.c - owns the tests of channel/crowd.c and crowd_receive.c that need the kernel to fail or both
 * sides at a chosen moment.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "ends.h"
#include "harness.h"

static const struct ends_kind kinds[] = {ENDS_UNIX, ENDS_SEQPACKET};

static struct wherry__sys real;
static bool none_left; /* descriptors to accept with */

static int accept_none(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    if (!none_left)
        return real.accept4(fd, address, size, flags);
    errno = EMFILE; /* as the kernel: before it looks whether anybody waits */
    return -1;
}

/* The last sender goes; another one waits to be accepted. */
TEST_TABLE(h54_who_waits_in_the_backlog_takes_the_end_back, kinds)
{
    char url[400], buffer[32];
    size_t size;
    struct wherry_channel *receiver;
    real = wherry__sys;
    wherry__sys.accept4 = accept_none;
    ends_url(url, sizeof url, &kinds[index], "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    struct wherry_channel *first = ends_join(url, "first");
    ends_expect(receiver, "first");
    struct wherry_channel *second = ends_join(url, "second");
    wherry_channel_close(first, WHERRY_NOW);
    none_left = true;
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), -EMFILE);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "ulimit"));
    for (int i = 0; i < 4; i++) /* as often as it is asked: it is no end */
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN);
    none_left = false;
    ends_expect(receiver, "second");
    wherry_channel_close(second, WHERRY_NOW);
    none_left = true; /* now nobody waits */
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* That somebody cannot be accepted keeps no message from those who were. */
TEST_TABLE(h54_answers_go_out_while_others_wait_in_the_backlog, kinds)
{
    char url[400], more[440], buffer[32], answer[1000] = "";
    struct wherry_channel *host, *guests[2];
    struct wherry_info info;
    int result;
    real = wherry__sys;
    wherry__sys.accept4 = accept_none;
    ends_url(url, sizeof url, &kinds[index], "");
    snprintf(more, sizeof more, "%s?listen", url);
    test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, WHERRY_NOW, &host));
    snprintf(more, sizeof more, "%s?connect", url);
    for (int i = 0; i < 2; i++) {
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, test_deadline(), &guests[i]));
        test_ok(wherry_channel_send(guests[i], "hello", 5, test_deadline()));
        if (i == 0)
            test_is(wherry_channel_receive_info(host, buffer, sizeof buffer, &info, test_deadline()), 1);
        none_left = true;
    }
    struct wherry_message message = {.data = answer, .size = sizeof answer, .to = info.peer.id};
    while ((result = wherry_channel_send_message(host, &message, 0, WHERRY_NOW)) == 0)
        ;
    test_is(result, -EAGAIN);
    message.to = 0; /* whoever has room: nobody who is there, and who is not cannot come; it was said once, and rests */
    result = wherry_channel_send_message(host, &message, 0, WHERRY_NOW);
    ck_assert_msg(result == -EMFILE || result == -EAGAIN, "%d", result);
    for (size_t size = sizeof answer; size == sizeof answer;) /* room again */
        if (wherry_channel_receive(guests[0], answer, sizeof answer, &size, WHERRY_NOW) != 1)
            size = 0;
    test_ok(wherry_channel_send_message(host, &message, 0, WHERRY_NOW));
    for (int i = 0; i < 2; i++)
        wherry_channel_close(guests[i], WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
}

/* Nobody can be accepted for a second, while somebody waits: said a few times, each time after a longer rest, and no
 * busy loop, whether the call waits or poll(2) does. */
TEST_TABLE(h54_accepting_rests_when_no_descriptor_is_left, kinds)
{
    char url[400], buffer[32];
    size_t size;
    struct wherry_channel *receiver;
    real = wherry__sys;
    wherry__sys.accept4 = accept_none;
    ends_url(url, sizeof url, &kinds[index], "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    none_left = true;
    struct wherry_channel *sender = ends_join(url, "hello");
    for (int polls = 0; polls < 2; polls++) {
        struct pollfd entry = {.fd = polls ? wherry_channel_receive_fd(receiver) : -1, .events = POLLIN};
        wherry_time end = wherry_after(WHERRY_SECOND), before = test_cpu_time();
        unsigned said = 0, looks = 0;
        for (; wherry_now() < end; looks++) {
            if (polls)
                poll(&entry, 1, (int)((end - wherry_now()) / WHERRY_MILLISECOND) + 1);
            int result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, polls ? WHERRY_NOW : end);
            said += result == -EMFILE;
            ck_assert_msg(result == -EMFILE || result == -EAGAIN || result == -ETIMEDOUT, "%d", result);
        }
        ck_assert_uint_le(looks, 50);
        ck_assert_uint_le(said, 12);
        ck_assert_uint_ge(said, polls ? 0 : 1);
        ck_assert_int_lt(test_cpu_time() - before, WHERRY_SECOND / 4 * test_slowness());
    }
    none_left = false;
    ends_expect(receiver, "hello"); /* it was only kept waiting */
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- closing with bytes kept ---- */

enum { LARGE = 1 << 20 };

static void *close_late(void *argument)
{
    return (void *)(intptr_t)wherry_channel_close(argument, test_deadline());
}

static void fill(struct wherry_channel *channel)
{
    static char large[LARGE];
    int result;
    while ((result = wherry_channel_send(channel, large, sizeof large, WHERRY_NOW)) == 0)
        ;
    test_is(result, -EAGAIN);
}

static const struct ends_kind streams[] = {ENDS_SOCKETPAIR, ENDS_UNIX};

/* Neither reads any more, and each keeps what the other would have to take. */
TEST_TABLE(two_who_close_with_bytes_kept_for_each_other_do_not_wait, streams)
{
    char url[400], more[440], buffer[8];
    struct wherry_channel *ends[2];
    struct wherry_info info;
    pthread_t thread;
    ends_url(url, sizeof url, &streams[index], "");
    if (streams[index].by_name) {
        snprintf(more, sizeof more, "%s?listen", url);
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, WHERRY_NOW, &ends[0]));
        snprintf(more, sizeof more, "%s?connect", url);
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, test_deadline(), &ends[1]));
    } else {
        test_ok(wherry_channel_pair(url, NULL, ends));
    }
    test_ok(wherry_channel_send(ends[1], "hello", 5, test_deadline()));
    test_is(wherry_channel_receive_info(ends[0], buffer, sizeof buffer, &info, test_deadline()), 1);
    for (int i = 0; i < 2; i++)
        fill(ends[i]);
    wherry_time deadline = test_deadline();
    void *other;
    ck_assert_int_eq(pthread_create(&thread, NULL, close_late, ends[1]), 0);
    int one = wherry_channel_close(ends[0], deadline);
    ck_assert_int_eq(pthread_join(thread, &other), 0);
    ck_assert_int_lt(wherry_now(), deadline);
    ck_assert_msg(one == 0 || one == -EPIPE, "%d", one); /* the first to have written all is gone for the second */
    ck_assert_msg((intptr_t)other == 0 || (intptr_t)other == -EPIPE, "%d", (int)(intptr_t)other);
    ck_assert(one == 0 || (intptr_t)other == 0);
}

/* One peer never reads; the other has room, or is gone: neither ends the wait for the first. */
static const struct waiting {
    const char *name;
    bool gone;
    int (*call)(struct wherry_channel *channel, wherry_time deadline);
} waitings[] = {
    {"flush beside one with room", false, wherry_channel_flush},
    {"close beside one with room", false, wherry_channel_close},
    {"flush beside one who is gone", true, wherry_channel_flush},
    {"close beside one who is gone", true, wherry_channel_close},
    {"finish beside one with room", false, wherry_channel_finish},
    {"send to anybody, of whom one is gone", true, NULL},
};

static wherry_time spent(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * WHERRY_SECOND + time.tv_nsec;
}

TEST_TABLE(a_wait_for_one_of_several_sleeps_until_its_deadline, waitings)
{
    enum { KEPT = 8 * LARGE };
    static char large[KEPT];
    const struct waiting *waiting = &waitings[index];
    struct ends_kind kind = ENDS_UNIX;
    struct wherry_channel *listener, *peers[2];
    char url[400], more[440], buffer[8];
    struct wherry_info info;
    ends_url(url, sizeof url, &kind, "");
    snprintf(more, sizeof more, "%s?listen", url);
    test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, WHERRY_NOW, &listener));
    snprintf(more, sizeof more, "%s?connect", url);
    for (int i = 0; i < 2; i++) {
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, test_deadline(), &peers[i]));
        test_ok(wherry_channel_send(peers[i], "hello", 5, test_deadline()));
        test_is(wherry_channel_receive_info(listener, buffer, sizeof buffer, &info, test_deadline()), 1);
        struct wherry_message message = {.data = large, .size = sizeof large, .to = info.peer.id};
        if (i == 0 || waiting->gone)
            test_ok(wherry_channel_send_message(listener, &message, 0, WHERRY_NOW)); /* begun, and kept */
    }
    if (waiting->gone)
        wherry_channel_close(peers[1], WHERRY_NOW);
    wherry_time begun = wherry_now(), before = spent(), deadline = begun + 300 * WHERRY_MILLISECOND;
    test_is(waiting->call ? waiting->call(listener, deadline)
                          : wherry_channel_send(listener, large, sizeof large, deadline),
            -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    ck_assert_int_lt(spent() - before, (wherry_now() - begun) / 2);
    if (waiting->call != wherry_channel_close)
        wherry_channel_close(listener, WHERRY_NOW);
    wherry_channel_close(peers[0], WHERRY_NOW);
    if (!waiting->gone)
        wherry_channel_close(peers[1], WHERRY_NOW);
}

struct heir {
    struct wherry_channel *pair[2];
    struct test_gate closed;
};

static void receive_in_child(void *argument)
{
    struct heir *heir = argument;
    wherry_channel_close(heir->pair[1], WHERRY_NOW);
    test_gate_wait(&heir->closed);
    ends_expect(heir->pair[0], "hello");
    wherry_channel_close(heir->pair[0], WHERRY_NOW);
}

/* What comes is another's who shares the socket. */
TEST(a_close_with_bytes_kept_drops_nothing_that_a_child_may_receive)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct heir heir;
    options.inheritable = true;
    test_ok(wherry_channel_pair("socketpair:", &options, heir.pair));
    test_gate_init(&heir.closed);
    pid_t child = test_fork(receive_in_child, &heir);
    fill(heir.pair[0]);
    test_ok(wherry_channel_send(heir.pair[1], "hello", 5, test_deadline()));
    test_is(wherry_channel_close(heir.pair[0], wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    test_gate_open(&heir.closed);
    test_join(child);
    wherry_channel_close(heir.pair[1], WHERRY_NOW);
    test_gate_fini(&heir.closed);
}

/* A close with bytes unread resets a Unix connection, and seqpacket(7) says so before it gives what was sent before. */
TEST_TABLE(what_was_sent_before_a_close_with_messages_unread_comes, kinds)
{
    for (int host_closes = 0; host_closes < 2; host_closes++) {
        char url[400], more[440], buffer[32];
        size_t size;
        struct wherry_channel *ends[2]; /* the one that closes, the other */
        ends_url(url, sizeof url, &kinds[index], "");
        snprintf(more, sizeof more, "%s?listen", url);
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, WHERRY_NOW, &ends[!host_closes]));
        snprintf(more, sizeof more, "%s?connect", url);
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, test_deadline(), &ends[host_closes]));
        for (int i = 0; i < 2; i++) /* the connecting side first: the other knows nobody before */
            test_ok(wherry_channel_send(ends[host_closes ^ i], "unread", 6, test_deadline()));
        for (int i = 0; i < 2; i++)
            test_ok(wherry_channel_send(ends[0], i ? "second" : "first", i ? 6 : 5, test_deadline()));
        test_ok(wherry_channel_close(ends[0], WHERRY_NOW));
        ends_expect(ends[1], "unread");
        ends_expect(ends[1], "first");
        ends_expect(ends[1], "second");
        test_is(wherry_channel_receive(ends[1], buffer, sizeof buffer, &size, test_deadline()), 0);
        wherry_channel_close(ends[1], WHERRY_NOW);
    }
}

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_path(address.sun_path, "place");
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Many peers with half a message each take little more memory than the halves, and the other halves find them. */
TEST(h55_halves_of_many_peers_take_little_memory)
{
    enum { PEERS = 200, RECORD = 1000, HALF = 400 };
    char url[400];
    static char record[RECORD], got[RECORD];
    struct wherry_channel *receiver;
    struct wherry_info info;
    int fds[PEERS];
    ends_url(url, sizeof url, &kinds[0], "frame=fixed:1000");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    for (int i = 0; i < PEERS; i++) {
        fds[i] = connect_raw();
        memset(record, i, sizeof record);
        ck_assert_int_eq(send(fds[i], record, HALF, 0), HALF);
        test_is(wherry_channel_receive(receiver, got, sizeof got, NULL, wherry_after(WHERRY_MILLISECOND)), -ETIMEDOUT);
    }
    size_t heaviest = 0;
    for (uint64_t id = 40; id <= PEERS; id++) { /* the first few may keep their buffers */
        struct wherry_peer_stats stats;
        test_ok(wherry_channel_peer_stats(receiver, id, &stats, sizeof stats));
        heaviest = stats.memory > heaviest ? stats.memory : heaviest;
    }
    ck_assert_uint_lt(heaviest, 1024 + HALF);
    for (int i = 0; i < PEERS; i++) {
        memset(record, i, sizeof record);
        ck_assert_int_eq(send(fds[i], record + HALF, RECORD - HALF, 0), RECORD - HALF);
        test_is(wherry_channel_receive_info(receiver, got, sizeof got, &info, test_deadline()), 1);
        ck_assert_uint_eq(info.size, RECORD);
        ck_assert_mem_eq(got, record, RECORD);
        close(fds[i]);
    }
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* Peers in the middle of a long line each: how many of them lose their connection, when all that is said of memory is
 * `options`. */
static unsigned too_many_lines(const char *options)
{
    enum { PEERS = 40, LINE = 200000, PIECE = 20000 };
    static char line[LINE + 1], got[LINE + 1];
    char url[400];
    struct wherry_channel *receiver;
    int fds[PEERS], result;
    unsigned lost = 0, came = 0;
    ends_url(url, sizeof url, &kinds[0], options);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    memset(line, 'x', LINE);
    for (int i = 0; i < PEERS; i++) {
        fds[i] = connect_raw();
        for (int at = 0; at < LINE; at += PIECE) {
            if (send(fds[i], line + at, PIECE, MSG_NOSIGNAL) < 0)
                break; /* it was lost */
            result = wherry_channel_receive(receiver, got, sizeof got, NULL, WHERRY_NOW);
            ck_assert_msg(result == -EAGAIN || strstr(wherry_why(), "of all peers fill max_memory"), "%s",
                          wherry_why());
            lost += result == -EBADMSG;
        }
    }
    for (int i = 0; i < PEERS; i++) {
        if (send(fds[i], "\n", 1, MSG_NOSIGNAL) == 1)
            came += wherry_channel_receive(receiver, got, sizeof got, NULL, test_deadline()) == 1;
        close(fds[i]);
    }
    ck_assert_uint_eq(came, PEERS - lost);
    wherry_channel_close(receiver, WHERRY_NOW);
    return lost;
}

TEST(h55_max_memory_is_for_all_peers_together)
{
    ck_assert_uint_gt(too_many_lines("frame=line&max_message=256k"), 0); /* 16 of them, and 4 MiB */
    ck_assert_uint_eq(too_many_lines("frame=line&max_message=256k&max_memory=10M"), 0);
}

/* A listening endpoint that has finished sends to nobody, also not to who comes later. */
TEST_TABLE(finish_holds_for_those_who_come_later, kinds)
{
    char url[400], more[440], buffer[32];
    size_t size;
    struct wherry_channel *host, *guests[2];
    ends_url(url, sizeof url, &kinds[index], "");
    snprintf(more, sizeof more, "%s%slisten", url, strchr(url, '?') ? "&" : "?");
    test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, WHERRY_NOW, &host));
    snprintf(more, sizeof more, "%s%sconnect", url, strchr(url, '?') ? "&" : "?");
    for (int i = 0; i < 2; i++) {
        test_ok(wherry_channel_open(more, WHERRY_BOTH, NULL, test_deadline(), &guests[i]));
        test_ok(wherry_channel_send(guests[i], "hello", 5, test_deadline()));
        ends_expect(host, "hello");
        if (i == 0)
            test_ok(wherry_channel_finish(host, test_deadline()));
        test_is(wherry_channel_receive(guests[i], buffer, sizeof buffer, &size, test_deadline()), 0);
        test_is(wherry_channel_send(host, "more", 4, test_deadline()), -EPIPE);
        ck_assert_msg(strstr(wherry_why(), "has finished sending") != NULL, "%s", wherry_why());
    }
    for (int i = 0; i < 2; i++)
        wherry_channel_close(guests[i], WHERRY_NOW);
    test_is(wherry_channel_receive(host, buffer, sizeof buffer, &size, test_deadline()), 0);
    wherry_channel_close(host, WHERRY_NOW);
}

/* An error that cost a peer its connection says so: what else it sent is lost with it. */
TEST_TABLE(a_closed_connection_is_said, kinds)
{
    char url[400], buffer[32];
    static const char bytes[20] = "0123456789";
    size_t size;
    struct wherry_channel *receiver;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ends_url(url, sizeof url, &kinds[index], "max_message=10");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    int raw = socket(AF_UNIX, kinds[index].packets ? SOCK_SEQPACKET : SOCK_STREAM, 0);
    test_path(address.sun_path, "place");
    ck_assert_int_eq(connect(raw, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(write(raw, bytes, sizeof bytes), sizeof bytes);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), -EBADMSG);
    ck_assert_msg(strstr(wherry_why(), "connection was closed") != NULL, "%s", wherry_why());
    close(raw);
    wherry_channel_close(receiver, WHERRY_NOW);
}
