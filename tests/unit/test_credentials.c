/* tests/unit/test_credentials.c - owns the tests of socket/credentials.c: who is there, and what else must not slip in.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "channel/framing.h"
#include "harness.h"
#include "socket/credentials.h"
#include "socket/descriptor.h"

static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
static const char *type_name(size_t index)
{
    static const char *const names[] = {"stream", "seqpacket", "dgram"};
    return names[index];
}
static size_t type_count(void)
{
    return 3;
}

static ssize_t receive(int fd, char buffer[static 16], struct wherry__credentials *credentials, bool *had)
{
    struct iovec part = {.iov_base = buffer, .iov_len = 16};
    int flags;
    return wherry__credentials_receive(fd, &part, 1, 0, credentials, had, NULL, &flags);
}

TEST_EACH(each_read_says_who_wrote, type_count, type_name)
{
    int fds[2];
    char buffer[16];
    bool had = true;
    struct wherry__credentials credentials = {0};
    ck_assert_int_eq(socketpair(AF_UNIX, types[index] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(receive(fds[0], buffer, &credentials, &had), -EAGAIN);
    ck_assert(!had);
    test_ok(wherry__credentials_ask(fds[0]));
    ck_assert_int_eq(write(fds[1], "abc", 3), 3);
    ck_assert_int_eq(receive(fds[0], buffer, &credentials, &had), 3);
    ck_assert(had);
    ck_assert_int_eq(credentials.pid, getpid());
    ck_assert_uint_eq(credentials.uid, geteuid());
    ck_assert_uint_eq(credentials.gid, getegid());
    close(fds[1]);
    if (types[index] != SOCK_DGRAM)
        ck_assert_int_eq(receive(fds[0], buffer, &credentials, &had), 0);
    close(fds[0]);
}

TEST(who_connected)
{
    int fds[2];
    struct wherry__credentials credentials;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    test_ok(wherry__credentials_of_connection(fds[0], &credentials));
    ck_assert_int_eq(credentials.pid, getpid());
    close(fds[0]);
    close(fds[1]);
    int alone = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_lt(wherry__credentials_of_connection(alone, &credentials), 0);
    close(alone);
}

/* Descriptors that nobody asked for are closed, however many come, and whatever comes with them. */
TEST_EACH(descriptors_are_not_taken, type_count, type_name)
{
    test_needs(TEST_CUT_RIGHTS);
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, types[index] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    size_t before = test_descriptors();
    char byte[1] = {'x'};
    for (int count = 1; count <= 30; count++) {
        for (int asked = 0; asked < 2; asked++) {
            union {
                struct cmsghdr align;
                char space[CMSG_SPACE(30 * sizeof(int))];
            } control = {0};
            struct iovec part = {.iov_base = byte, .iov_len = 1};
            size_t size = (size_t)count * sizeof(int);
            struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(size)};
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(size);
            for (int i = 0; i < count; i++)
                memcpy(CMSG_DATA(header) + (size_t)i * sizeof(int), &fds[0], sizeof(int));
            char buffer[16];
            bool had;
            struct wherry__credentials credentials;
            if (asked)
                test_ok(wherry__credentials_ask(fds[0]));
            ck_assert_int_eq(sendmsg(fds[1], &message, 0), 1);
            ck_assert_int_eq(receive(fds[0], buffer, &credentials, &had), 1);
            ck_assert_uint_eq(test_descriptors(), before);
        }
    }
    close(fds[0]);
    close(fds[1]);
}

/* ---- the writer, not the one who connected ----------------------------------------------------------------------- */

/* What a process of another uid wrote through a socket that it only inherited. */
struct heir {
    int fd;
    const void *data;
    size_t size;
};

static void write_as_nobody(void *argument)
{
    struct heir *heir = argument;
    ck_assert(test_become_nobody());
    ck_assert_int_eq(write(heir->fd, heir->data, heir->size), (ssize_t)heir->size);
}

static struct wherry_channel *open_on(int fd, const char *query)
{
    struct wherry_channel *channel;
    char url[100];
    snprintf(url, sizeof url, "fd:%d%s", fd, query);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    return channel;
}

static size_t frame_for(int type, uint8_t frame[static 32], const char *text)
{
    size_t size = strlen(text), before = type == SOCK_STREAM ? WHERRY__WHOLE_HEADER : 0;
    wherry__whole_encode(frame, (uint32_t)size, 0);
    memcpy(frame + before, text, size);
    return before + size;
}

TEST_EACH(h48_an_heir_of_another_uid_is_refused_or_named, type_count, type_name)
{
    uint8_t frame[32];
    char buffer[16];
    struct wherry_info info;
    int fds[2];
    if (!test_is_root())
        test_skip("only root can become another user");
    for (int allowed = 0; allowed < 2; allowed++) {
        ck_assert_int_eq(socketpair(AF_UNIX, types[index] | SOCK_CLOEXEC, 0, fds), 0);
        struct wherry_channel *receiver = open_on(fds[0], allowed ? "?uid=65534" : "");
        size_t size = frame_for(types[index], frame, "root");
        ck_assert_int_eq(write(fds[1], frame, size), (ssize_t)size);
        size = frame_for(types[index], frame, "nobody");
        pid_t child = test_fork(write_as_nobody, &(struct heir){fds[1], frame, size});
        test_join(child); /* both are there now: no read may take them for one writer's */
        test_is(wherry_channel_receive_info(receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
        ck_assert_uint_eq(info.size, 4);
        ck_assert_uint_eq(info.peer.uid, 0);
        int result = wherry_channel_receive_info(receiver, buffer, sizeof buffer, &info, WHERRY_NOW);
        if (allowed) {
            test_is(result, 1);
            ck_assert_uint_eq(info.size, 6);
            ck_assert_uint_eq(info.peer.uid, 65534);
            ck_assert_int_eq(info.peer.pid, child);
        } else if (types[index] == SOCK_DGRAM) {
            test_is(result, -EAGAIN); /* passed over, and counted */
        } else {
            test_is(result, -EPERM);
            ck_assert_ptr_nonnull(strstr(wherry_why(), "65534"));
        }
        close(fds[1]);
        wherry_channel_close(receiver, WHERRY_NOW);
    }
}

/* Of a message that root began and nobody ended nothing is received. */
TEST(h48_half_a_message_of_anothers_is_none)
{
    uint8_t frame[32];
    char buffer[16];
    size_t got;
    int fds[2];
    if (!test_is_root())
        test_skip("only root can become another user");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct wherry_channel *receiver = open_on(fds[0], "");
    size_t size = frame_for(SOCK_STREAM, frame, "root's or nobody's");
    ck_assert_int_eq(write(fds[1], frame, 20), 20);
    test_join(test_fork(write_as_nobody, &(struct heir){fds[1], frame + 20, size - 20}));
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &got, WHERRY_NOW), -EPERM);
    close(fds[1]);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- pidfd ------------------------------------------------------------------------------------------------------- */

/* As Linux before 6.5 says it. */
static int (*real_getsockopt)(int fd, int level, int name, void *value, socklen_t *size);
static int no_peerpidfd(int fd, int level, int name, void *value, socklen_t *size)
{
    if (name == 77) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return real_getsockopt(fd, level, name, value, size);
}

static void connect_and_wait(void *argument)
{
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(argument, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
    for (;;)
        pause();
}

static bool is_over(int pidfd, int timeout)
{
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    return poll(&entry, 1, timeout) == 1;
}

static const char *way(size_t index)
{
    return index ? "by_number" : "by_the_kernel";
}
static size_t ways(void)
{
    return 2;
}

TEST_EACH(a_pidfd_of_who_connected, ways, way)
{
    static const char *const schemes[] = {"unix", "unix+seqpacket"};
    real_getsockopt = wherry__sys.getsockopt;
    if (index == 1)
        wherry__sys.getsockopt = no_peerpidfd;
    for (int i = 0; i < 2; i++) {
        char url[300], path[256], byte;
        struct wherry_channel *receiver;
        struct wherry_info info;
        snprintf(url, sizeof url, "%s:%s", schemes[i], test_path(path, "place"));
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
        test_is(wherry_channel_peer_pidfd(receiver, 0), -ENOTCONN);
        pid_t children[2];
        int pidfds[2];
        for (int c = 0; c < 2; c++) {
            children[c] = test_fork(connect_and_wait, url);
            test_is(wherry_channel_receive_info(receiver, &byte, 1, &info, test_deadline()), 1);
            pidfds[c] = wherry_channel_peer_pidfd(receiver, info.peer.id);
            test_ok(pidfds[c]);
            ck_assert_int_eq(fcntl(pidfds[c], F_GETFD), FD_CLOEXEC);
        }
        test_is(wherry_channel_peer_pidfd(receiver, 0), -EDESTADDRREQ);
        test_is(wherry_channel_peer_pidfd(receiver, 4711), -ENOTCONN);
        ck_assert(!is_over(pidfds[0], 0) && !is_over(pidfds[1], 0));
        test_kill(children[1]);
        ck_assert(is_over(pidfds[1], 5000) && !is_over(pidfds[0], 0));
        ck_assert_int_lt(wherry_channel_peer_pidfd(receiver, info.peer.id), 0);
        test_kill(children[0]);
        close(pidfds[0]);
        close(pidfds[1]);
        wherry_channel_close(receiver, WHERRY_NOW);
    }
}

/* It is gone, and another holds its end: nobody is taken for it. */
static void make_a_pair(void *argument)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        test_ok(wherry__descriptor_send(*(int *)argument, "x", 1, fds[i]));
        close(fds[i]);
    }
}

TEST_EACH(who_is_gone_is_not_found, ways, way)
{
    int to_me[2], ends[2];
    char byte;
    real_getsockopt = wherry__sys.getsockopt;
    if (index == 1)
        wherry__sys.getsockopt = no_peerpidfd;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, to_me), 0);
    test_join(test_fork(make_a_pair, &to_me[1]));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(wherry__descriptor_receive(to_me[0], &byte, 1, &ends[i]), 1);
    struct wherry_channel *receiver = open_on(ends[0], "");
    int pidfd = wherry_channel_peer_pidfd(receiver, 0);
    if (pidfd >= 0 && index == 0) { /* Linux 6.16 and later: of a process that has ended */
        ck_assert(is_over(pidfd, 0));
        close(pidfd);
    } else {
        test_is(pidfd, -ESRCH);
    }
    for (int i = 0; i < 2; i++)
        close(to_me[i]);
    close(ends[1]);
    wherry_channel_close(receiver, WHERRY_NOW);
}

TEST(of_a_pair_it_is_who_made_it_and_elsewhere_there_is_none)
{
    static const char *const none[] = {"pipe:", "fifo", "unix+dgram"};
    struct wherry_channel *pair[2];
    test_ok(wherry_channel_pair("socketpair:", NULL, pair));
    int pidfd = wherry_channel_peer_pidfd(pair[0], 0);
    test_ok(pidfd);
    ck_assert(!is_over(pidfd, 0));
    close(pidfd);
    wherry_channel_close(pair[1], WHERRY_NOW);
    test_is(wherry_channel_peer_pidfd(pair[0], 0), -ENOTCONN);
    wherry_channel_close(pair[0], WHERRY_NOW);
    test_ok(wherry_channel_pair(none[0], NULL, pair));
    test_is(wherry_channel_peer_pidfd(pair[0], 0), -EOPNOTSUPP);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
    for (int i = 1; i < 3; i++) {
        char path[256], url[300];
        snprintf(url, sizeof url, "%s:%s", none[i], test_path(path, "place"));
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &pair[0]));
        test_is(wherry_channel_peer_pidfd(pair[0], 0), -EOPNOTSUPP);
        wherry_channel_close(pair[0], WHERRY_NOW);
    }
}
