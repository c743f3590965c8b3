/* tests/unit/test_tcp.c - owns the proof for tcp: within one host: halves of a connection, options that reach the
 * kernel, forks.  Resets and ports have files of their own.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <netinet/tcp.h>

#include "unit/test_tcp_kit.h"

/* ---- halves of a connection -------------------------------------------------------------------------------------- */

TEST(each_side_may_finish_and_go_on_receiving)
{
    char text[100];
    for (int first = 0; first < 2; first++) {
        struct wherry_channel *ends[2];
        ends[0] = open_at("tcp://:0?listen", WHERRY_BOTH);
        ends[1] = open_at(to(ends[0], "?connect"), WHERRY_BOTH);
        test_ok(wherry_channel_send(ends[1], "hello", 5, test_deadline()));
        receives(ends[0], "hello");
        test_ok(wherry_channel_finish(ends[first], test_deadline()));
        test_is(wherry_channel_send(ends[first], "x", 1, test_deadline()), -EPIPE);
        if (first == 0) {
            test_is(receive(ends[1], text), 0);
            test_ok(wherry_channel_send(ends[1], "late", 4, test_deadline()));
            receives(ends[0], "late");
            wherry_channel_close(ends[1], test_deadline());
            test_is(receive(ends[0], text), 0);
        } else {
            test_is(receive(ends[0], text), 0);
            test_ok(wherry_channel_send(ends[0], "late", 4, test_deadline())); /* the answer that it is owed */
            receives(ends[1], "late");
            test_is(receive(ends[1], text), 0);
            wherry_channel_close(ends[1], test_deadline());
        }
        wherry_channel_close(ends[0], test_deadline());
    }
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* The descriptor of this process that is connected at, or to, the port. */
static int connection(int port, bool local)
{
    DIR *entries = opendir("/proc/self/fd");
    int found = -1;
    for (struct dirent *entry; (entry = readdir(entries));) {
        struct sockaddr_in address, peer;
        socklen_t size = sizeof address, peer_size = sizeof peer;
        int fd = atoi(entry->d_name);
        if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && peer.sin_family == AF_INET &&
            getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
            ntohs((local ? address : peer).sin_port) == port)
            found = fd;
    }
    closedir(entries);
    ck_assert_int_ge(found, 0);
    return found;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static const struct {
    const char *name; /* the query */
    int nodelay, keepalive, idle, interval, count, timeout;
} kept[] = {
    {"?listen", 1, 0, 0, 0, 0, 0},
    {"?listen&delay=1", 0, 0, 0, 0, 0, 0},
    {"?listen&keepalive=12", 1, 1, 12, 2, 3, 0},
    {"?listen&keepalive=1ms&user_timeout=1500ms", 1, 1, 1, 1, 3, 1500},
    {"?listen&keepalive=100000s&user_timeout=1us", 1, 1, 32767, 5461, 3, 1},
};

TEST_TABLE(options_reach_both_ends, kept)
{
    char url[100], query[100];
    snprintf(url, sizeof url, "tcp://:0%s", kept[index].name);
    struct wherry_channel *listener = open_at(url, WHERRY_BOTH);
    snprintf(query, sizeof query, "?connect%s", kept[index].name + strlen("?listen"));
    struct wherry_channel *connector = open_at(to(listener, query), WHERRY_BOTH);
    test_ok(wherry_channel_send(connector, "x", 1, test_deadline()));
    receives(listener, "x");
    for (int local = 0; local < 2; local++) {
        int fd = connection(port_of(listener), local);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_NODELAY), kept[index].nodelay);
        ck_assert_int_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), kept[index].keepalive);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), kept[index].timeout);
        if (!kept[index].keepalive)
            continue;
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), kept[index].idle);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), kept[index].interval);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), kept[index].count);
    }
    wherry_channel_close(connector, WHERRY_NOW);
    wherry_channel_close(listener, WHERRY_NOW);
}

/* Bytes that go into a connection before a send has to wait. */
static size_t room(const char *query)
{
    char url[100], bytes[1024] = {0};
    snprintf(url, sizeof url, "tcp://:0?listen%s%s", *query ? "&" : "", query);
    struct wherry_channel *listener = open_at(url, WHERRY_RECEIVE);
    snprintf(url, sizeof url, "?connect%s%s", *query ? "&" : "", query);
    struct wherry_channel *connector = open_at(to(listener, url), WHERRY_SEND);
    test_ok(wherry_channel_send(connector, bytes, sizeof bytes, test_deadline()));
    size_t size, sent = 0;
    test_is(wherry_channel_receive(listener, bytes, sizeof bytes, &size, test_deadline()), 1); /* it is accepted */
    while (wherry_channel_send(connector, bytes, sizeof bytes, wherry_after(10 * MS)) == 0)
        sent += sizeof bytes;
    wherry_channel_close(connector, WHERRY_NOW);
    wherry_channel_close(listener, WHERRY_NOW);
    return sent;
}

TEST(capacity_bounds_both_buffers)
{
    size_t small = room("capacity=16k"), usual = room("");
    ck_assert_msg(small >= 16384 && small <= 4 * 16384, "capacity=16k takes %zu bytes", small);
    ck_assert_msg(usual >= 16 * small, "without it %zu, with it %zu", usual, small);
}

static void ask_for_much(void *argument)
{
    struct wherry_channel *channel;
    if (!test_become_nobody())
        _exit(77);
    for (int i = 0; i < 2; i++) {
        test_is(wherry_channel_open(argument, i ? WHERRY_SEND : WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -ENOBUFS);
        ck_assert_msg(strstr(wherry_why(), "net.core.wmem_max"), "%s", wherry_why());
    }
}

TEST(a_capacity_over_the_kernels_is_refused_at_once)
{
    if (!test_is_root())
        test_skip("only root can become another user");
    test_join(test_fork(ask_for_much, (char[]){"tcp://:9059?capacity=1G"}));
}

/* ---- forks ------------------------------------------------------------------------------------------------------- */

enum { WORKERS = 3, QUESTIONS = 60 };

struct family {
    struct wherry_channel *channel;
    _Atomic int *answered;
};

static void answer_on(void *argument)
{
    struct family *family = argument;
    char text[100];
    for (;;) {
        struct wherry_info info;
        int result = wherry_channel_receive_info(family->channel, text, sizeof text, &info, WHERRY_FOREVER);
        if (result == 0)
            continue;
        test_is(result, 1);
        if (info.size == 4 && memcmp(text, "stop", 4) == 0)
            break;
        struct wherry_message message = {.data = text, .size = info.size, .to = info.peer.id};
        test_ok(wherry_channel_send_message(family->channel, &message, 0, test_deadline()));
        ++*family->answered;
    }
    wherry_channel_close(family->channel, test_deadline());
}

TEST(forked_children_serve_one_listening_endpoint)
{
    pid_t workers[WORKERS];
    _Atomic int *answered = test_shared(sizeof *answered);
    struct family family = {open_at("tcp://:0?listen&inheritable=1", WHERRY_BOTH), answered};
    int port = port_of(family.channel);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = test_fork(answer_on, &family);
    for (int i = 0; i < QUESTIONS; i++) {
        char text[100];
        snprintf(text, sizeof text, "question %d", i);
        struct wherry_channel *client = open_at(to(family.channel, "?connect"), WHERRY_BOTH);
        test_ok(wherry_channel_send(client, text, strlen(text), test_deadline()));
        receives(client, text);
        wherry_channel_close(client, test_deadline());
    }
    for (int i = 0; i < WORKERS; i++) { /* each is closed by another worker, which ends with it */
        int fd = raw_client(port, 0);
        char none;
        raw_send(fd, "stop");
        ck_assert_int_eq(recv(fd, &none, 1, 0), 0);
        close(fd);
    }
    for (int i = 0; i < WORKERS; i++)
        test_join(workers[i]);
    ck_assert_int_eq(*answered, QUESTIONS);
    wherry_channel_close(family.channel, WHERRY_NOW);
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_lt(connect(fd, (struct sockaddr *)&address, sizeof address), 0); /* nobody has it any more */
    close(fd);
}
