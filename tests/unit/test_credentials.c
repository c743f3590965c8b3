/* tests/unit/test_credentials.c - owns the tests of socket/credentials.c: who is there, and what else must not slip in.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "socket/credentials.h"

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
