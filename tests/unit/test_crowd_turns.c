/* tests/unit/test_crowd_turns.c - owns the tests that a listening endpoint leaves nobody out: who is received from, who
 * is sent to, who is let go.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sys.h"
#include "ends.h"
#include "harness.h"

static const struct ends_kind kinds[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_TCP};
static const struct ends_kind local_kinds[] = {ENDS_UNIX, ENDS_SEQPACKET};

static struct wherry_channel *open_as(const struct ends_kind *kind, const char *side, enum wherry_role role)
{
    char url[400];
    struct wherry_channel *channel;
    ends_url(url, sizeof url, kind, side);
    test_ok(wherry_channel_open(url, role, NULL, test_deadline(), &channel));
    return channel;
}

/* Whether one came. */
static bool comes(struct wherry_channel *receiver)
{
    char buffer[32];
    size_t size;
    int result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW);
    ck_assert_msg(result == 1 || result == -EAGAIN, "%d %s", result, wherry_why());
    return result == 1;
}

/* ---- receiving ---- */

/* Whether it took one in. */
static bool send_now(struct wherry_channel *sender, const char *text)
{
    int result = wherry_channel_send(sender, text, strlen(text), WHERRY_NOW);
    ck_assert_msg(result == 0 || result == -EAGAIN, "%s", wherry_why());
    return result == 0;
}

/* Several whose connections are never empty, as when they are quicker than who receives: all of them have their turns,
 * and so have those who send little, whether they have been there as long or connect meanwhile. */
static const struct flood {
    const char *name;
    struct ends_kind kind;
    unsigned count;
} floods[] = {
    {"unix_1", ENDS_UNIX, 1},           {"unix_2", ENDS_UNIX, 2},           {"unix_3", ENDS_UNIX, 3},
    {"seqpacket_1", ENDS_SEQPACKET, 1}, {"seqpacket_2", ENDS_SEQPACKET, 2}, {"seqpacket_3", ENDS_SEQPACKET, 3},
    {"tcp_1", ENDS_TCP, 1},             {"tcp_3", ENDS_TCP, 3},             {"shm_1", ENDS_SHM, 1},
    {"shm_3", ENDS_SHM, 3},
};

TEST_TABLE(h55_floods_that_never_run_dry_leave_the_others_their_turns, floods)
{
    enum { FLOODS = 3, OTHERS = 6, FIRST = 1000, MOST = 20000 };
    static const char *const names[FLOODS] = {"A", "B", "C"};
    const struct flood *flood = &floods[index];
    char url[400], buffer[32];
    size_t size;
    struct wherry_channel *receiver, *senders[FLOODS], *others[OTHERS];
    unsigned came[FLOODS] = {0}, heard = 0;
    ends_url(url, sizeof url, &flood->kind, "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    for (unsigned i = 0; i < flood->count; i++)
        senders[i] = ends_join(url, names[i]);
    for (unsigned i = 0; i < OTHERS / 2; i++)
        others[i] = ends_join(url, "hello");
    for (unsigned received = 0; heard < OTHERS && received < MOST; received++) {
        for (unsigned i = 0; i < flood->count; i++)
            while (send_now(senders[i], names[i]))
                continue;
        for (unsigned i = 0; received == FIRST && i < OTHERS; i++)
            if (i < OTHERS / 2)
                ck_assert(send_now(others[i], "quiet"));
            else
                others[i] = ends_join(url, "quiet");
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), 1);
        heard += buffer[0] == 'q';
        if (buffer[0] <= 'C')
            came[buffer[0] - 'A']++;
    }
    ck_assert_msg(heard == OTHERS, "%u of %d others had a turn, beside A %u, B %u, C %u", heard, OTHERS, came[0],
                  came[1], came[2]);
    for (unsigned i = 1; i < flood->count; i++)
        ck_assert_msg(came[i] > came[0] / 3 && came[0] > came[i] / 3, "A %u, B %u, C %u", came[0], came[1], came[2]);
    for (unsigned i = 0; i < flood->count; i++)
        wherry_channel_close(senders[i], WHERRY_NOW);
    for (unsigned i = 0; i < OTHERS; i++)
        wherry_channel_close(others[i], WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- for want of a descriptor ---- */

static int (*real_epoll_create1)(int flags);
static bool none_left;

static int epoll_create_none(int flags)
{
    if (!none_left)
        return real_epoll_create1(flags);
    errno = EMFILE;
    return -1;
}

/* With more of them than poll(2) is used for, an epoll instance is needed. */
TEST_TABLE(h54_whoever_cannot_be_waited_for_is_not_accepted, kinds)
{
    enum { SENDERS = 8 };
    struct wherry_channel *senders[SENDERS], *receiver = open_as(&kinds[index], "", WHERRY_RECEIVE);
    char url[400], buffer[32];
    size_t size;
    real_epoll_create1 = wherry__sys.epoll_create1;
    wherry__sys.epoll_create1 = epoll_create_none;
    none_left = true;
    ends_url(url, sizeof url, &kinds[index], "");
    for (int i = 0; i < SENDERS; i++)
        senders[i] = ends_join(url, "hello");
    int result, came = 0;
    while ((result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW)) == 1)
        came++;
    test_is(result, -EMFILE);
    ck_assert_int_lt(came, SENDERS);
    none_left = false;
    for (; came < SENDERS; came++)
        ends_expect(receiver, "hello");
    for (int i = 0; i < SENDERS; i++)
        wherry_channel_close(senders[i], WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- sending to anybody ---- */

/* The first of them always has room, so that nothing is ever waited for. */
TEST_TABLE(who_comes_to_receive_later_has_a_share, kinds)
{
    struct wherry_channel *sender = open_as(&kinds[index], "listen", WHERRY_SEND);
    struct wherry_channel *first = open_as(&kinds[index], "connect", WHERRY_RECEIVE);
    test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
    struct wherry_channel *second = open_as(&kinds[index], "connect", WHERRY_RECEIVE);
    wherry_time deadline = test_deadline();
    bool came = false;
    while (!came && wherry_now() < deadline) {
        test_ok(wherry_channel_send(sender, "hello", 5, deadline));
        comes(first);
        came = comes(second);
    }
    ck_assert_msg(came, "nothing came to the second receiver");
    wherry_channel_close(first, WHERRY_NOW);
    wherry_channel_close(second, WHERRY_NOW);
    wherry_channel_close(sender, WHERRY_NOW);
}

/* There is somebody: in the backlog. */
TEST_TABLE(who_waits_to_be_accepted_takes_the_place_of_who_went, local_kinds)
{
    for (int round = 0; round < 20; round++) {
        struct wherry_channel *sender = open_as(&local_kinds[index], "listen", WHERRY_SEND);
        struct wherry_channel *first = open_as(&local_kinds[index], "connect", WHERRY_RECEIVE);
        test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
        ends_expect(first, "hello");
        struct wherry_channel *second = open_as(&local_kinds[index], "connect", WHERRY_RECEIVE);
        wherry_channel_close(first, WHERRY_NOW);
        test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
        ends_expect(second, "hello");
        wherry_channel_close(second, WHERRY_NOW);
        test_is(wherry_channel_send(sender, "hello", 5, test_deadline()), -EPIPE);
        wherry_channel_close(sender, WHERRY_NOW);
    }
}

enum { LARGE = 4 << 20 };

static struct wherry_channel *shared;
static _Atomic pid_t sending;

static void *send_large_and_small(void *unused)
{
    static char large[LARGE];
    (void)unused;
    sending = (pid_t)syscall(SYS_gettid);
    int result = wherry_channel_send(shared, large, sizeof large, WHERRY_FOREVER);
    return (void *)(intptr_t)(result < 0 ? result : wherry_channel_send(shared, "small", 5, test_deadline()));
}

/* It takes a large message as slowly as it likes: what follows is for the other. */
TEST(who_comes_does_not_wait_for_another_to_take_a_large_message)
{
    static char buffer[LARGE];
    static const struct ends_kind kind = ENDS_UNIX;
    size_t size;
    void *result;
    pthread_t thread;
    shared = open_as(&kind, "listen", WHERRY_SEND);
    struct wherry_channel *first = open_as(&kind, "connect", WHERRY_RECEIVE);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_large_and_small, NULL), 0);
    while (!sending)
        ;
    test_until_asleep(sending);
    struct wherry_channel *second = open_as(&kind, "connect", WHERRY_RECEIVE);
    ends_expect(second, "small");
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_int_eq((intptr_t)result, 0);
    wherry_channel_close(second, WHERRY_NOW);
    for (int tries = 0; tries < 1000; tries++) { /* the rest of it goes out with each of these */
        wherry_channel_flush(shared, WHERRY_NOW);
        if (wherry_channel_receive(first, buffer, sizeof buffer, &size, WHERRY_NOW) == 1)
            break;
    }
    ck_assert_uint_eq(size, LARGE);
    wherry_channel_close(first, WHERRY_NOW);
    wherry_channel_close(shared, WHERRY_NOW);
}

/* An endpoint that could receive from it, too, has not looked since it went. */
TEST_TABLE(a_send_to_nobody_says_so_at_once, local_kinds)
{
    struct wherry_channel *host = open_as(&local_kinds[index], "listen", WHERRY_BOTH);
    struct wherry_channel *guest = open_as(&local_kinds[index], "connect", WHERRY_BOTH);
    test_ok(wherry_channel_send(guest, "hello", 5, test_deadline()));
    ends_expect(host, "hello");
    wherry_channel_close(guest, WHERRY_NOW);
    wherry_time begin = wherry_now();
    for (int i = 0; i < 3; i++)
        test_is(wherry_channel_send(host, "answer", 6, test_deadline()), -EPIPE);
    ck_assert_int_lt(wherry_now() - begin, 10 * WHERRY_SECOND);
    wherry_channel_close(host, WHERRY_NOW);
}

/* ---- those that send no more ---- */

/* It has all that it waits for, though not by the call that sent it. */
TEST_TABLE(whoever_has_its_answer_by_a_flush_is_let_go, kinds)
{
    char buffer[32];
    size_t size;
    struct wherry_message answer = {.data = "answer", .size = 6};
    struct wherry_info info;
    struct wherry_channel *host = open_as(&kinds[index], "listen", WHERRY_BOTH);
    struct wherry_channel *guest = open_as(&kinds[index], "connect", WHERRY_BOTH);
    test_ok(wherry_channel_send(guest, "hello", 5, test_deadline()));
    test_ok(wherry_channel_finish(guest, test_deadline()));
    test_is(wherry_channel_receive_info(host, buffer, sizeof buffer, &info, test_deadline()), 1);
    test_is(wherry_channel_receive(host, buffer, sizeof buffer, &size, test_deadline()), 0);
    answer.to = info.peer.id;
    test_ok(wherry_channel_send_message(host, &answer, WHERRY_MORE, test_deadline()));
    test_ok(wherry_channel_flush(host, test_deadline()));
    ends_expect(guest, "answer");
    test_is(wherry_channel_receive(guest, buffer, sizeof buffer, &size, test_deadline()), 0);
    wherry_channel_close(guest, WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
}

/* Nor does it end each wait at once. */
TEST_TABLE(a_receiver_that_says_that_it_sends_nothing_stays, local_kinds)
{
    enum { SLEEP = 300 }; /* ms */
    static char large[65536];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct wherry_channel *sender = open_as(&local_kinds[index], "listen", WHERRY_SEND);
    int raw = socket(AF_UNIX, local_kinds[index].packets ? SOCK_SEQPACKET : SOCK_STREAM, 0), result;
    test_path(address.sun_path, "place");
    ck_assert_int_eq(connect(raw, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(shutdown(raw, SHUT_WR), 0);
    while ((result = wherry_channel_send(sender, large, sizeof large, WHERRY_NOW)) == 0)
        continue;
    test_is(result, -EAGAIN);
    wherry_time before = test_cpu_time();
    test_is(wherry_channel_send(sender, "more", 4, wherry_after(SLEEP * WHERRY_MILLISECOND)), -ETIMEDOUT);
    ck_assert_int_lt(test_cpu_time() - before, SLEEP * WHERRY_MILLISECOND / 2);
    while (recv(raw, large, sizeof large, MSG_DONTWAIT) > 0)
        continue;
    test_ok(wherry_channel_send(sender, "more", 4, test_deadline()));
    close(raw);
    test_is(wherry_channel_send(sender, "more", 4, test_deadline()), -EPIPE);
    wherry_channel_close(sender, WHERRY_NOW);
}
