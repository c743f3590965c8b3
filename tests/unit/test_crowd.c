/* tests/unit/test_crowd.c - owns the tests of channel/crowd.c and crowd_receive.c that need the kernel to fail or both
 * sides at a chosen moment.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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

static struct wherry_channel *connect_and_send(const char *url, const char *text)
{
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, text, strlen(text), test_deadline()));
    return sender;
}

static void expect(struct wherry_channel *receiver, const char *text)
{
    char buffer[32];
    size_t size;
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_mem_eq(buffer, text, size);
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
    struct wherry_channel *first = connect_and_send(url, "first");
    expect(receiver, "first");
    struct wherry_channel *second = connect_and_send(url, "second");
    wherry_channel_close(first, WHERRY_NOW);
    none_left = true;
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), -EMFILE);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "ulimit"));
    for (int i = 0; i < 4; i++) /* as often as it is asked: it is no end */
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN);
    none_left = false;
    expect(receiver, "second");
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
    struct wherry_channel *sender = connect_and_send(url, "hello");
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
    expect(receiver, "hello"); /* it was only kept waiting */
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
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
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = strchr(url, '/');
    snprintf(address.sun_path, sizeof address.sun_path, "%.*s", (int)strcspn(path + 2 * (path[1] == '/'), "?"),
             path + 2 * (path[1] == '/'));
    for (int i = 0; i < PEERS; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(fds[i], (struct sockaddr *)&address, sizeof address), 0);
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
        expect(host, "hello");
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
