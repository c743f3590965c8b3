/* tests/unit/test_descriptors_strangers.c - owns the proof of what becomes of descriptors that other programs sent, in
 * ways in which wherry does not (socket/descriptor.c).
 *
 * SPDX-License-Identifier: MIT */
#include "channel/framing.h"
#include "socket/credentials.h"
#include "unit/test_descriptors_kit.h"

static int raw_pair(const char *query, struct wherry_channel **receiver)
{
    int fds[2];
    char url[100];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    snprintf(url, sizeof url, "fd:%d%s", fds[0], query);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, receiver));
    return fds[1];
}

static const struct {
    const char *name;
    const char *query;
    bool to_first;
} manners[] = {{"ahead", "?frame=line&fds=8&read_ahead=yes", false},
               {"exact", "?frame=line&fds=8&read_ahead=no", true}};

/* One write with several messages: nothing says whose they are.  The last has them, or with exact reads the first;
 * never is one lost, or given twice. */
TEST_TABLE(of_several_messages_in_one_write_one_has_them, manners)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    int fd = raw_pair(manners[index].query, &receiver), file = file_of(9), came[8];
    raw_send(fd, "one\n", 4, NULL, 0);
    raw_send(fd, "two\nthree\nfour\n", 15, &file, 1);
    raw_send(fd, "five\n", 5, NULL, 0);
    static const char *const words[] = {"one", "two", "three", "four", "five"};
    for (size_t i = 0; i < 5; i++) {
        test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 1);
        ck_assert_int_eq(memcmp(buffer, words[i], info.size), 0);
        ck_assert_uint_eq(info.fd_count, i == (manners[index].to_first ? 1 : 3));
        if (info.fd_count)
            close(came[0]);
    }
    close(file);
    close(fd);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* A message in many writes, each with descriptors: all are its, up to fds=. */
TEST(several_writes_of_one_message_add_up)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    int came[8], file = file_of(9);
    int fd = raw_pair("?frame=line&fds=8&read_ahead=yes", &receiver);
    size_t before = test_descriptors();
    for (unsigned writes = 1; writes < 20; writes++) {
        for (unsigned i = 0; i < writes; i++) {
            raw_send(fd, "x", 1, &file, 1);
            test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, WHERRY_NOW), -EAGAIN);
            ck_assert_uint_le(test_descriptors(), before + 16);
        }
        raw_send(fd, "\n", 1, NULL, 0);
        int result = wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline());
        test_is(result, writes <= 8 ? 1 : -EBADMSG);
        for (unsigned i = 0; result == 1 && i < writes; i++)
            close(came[i]);
        ck_assert_uint_eq(test_descriptors(), before);
    }
    close(file);
    close(fd);
    wherry_channel_close(receiver, WHERRY_NOW);
}

TEST(foreign_bytes_take_theirs_with_them)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    uint8_t frame[WHERRY__WHOLE_HEADER + 8];
    int came[8], file = file_of(9);
    int fd = raw_pair("?fds=8&read_ahead=yes", &receiver);
    wherry__whole_encode(frame, 8, 0);
    memcpy(frame + WHERRY__WHOLE_HEADER, "00000001", 8);
    size_t before = test_descriptors();
    raw_send(fd, "this is no frame at all, and long", 33, &file, 1);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), -EBADMSG);
    raw_send(fd, frame, sizeof frame, NULL, 0); /* now the last of those bytes are known to begin none */
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.fd_count, 0);
    ck_assert_uint_eq(test_descriptors(), before);
    raw_send(fd, frame, 15, &file, 1); /* and nothing more: the end comes within it */
    close(fd);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 0);
    ck_assert_uint_eq(test_descriptors(), before - 1);
    close(file);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* What a process wrote that may not is dropped with what came along. */
TEST_TABLE(what_a_stranger_sent_goes_with_it, manners)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    if (!test_is_root())
        test_skip("only root can say to be another user");
    int fd = raw_pair(manners[index].query, &receiver), file = file_of(9), came[8];
    struct ucred other = {.pid = getpid(), .uid = 4711, .gid = 4711};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof other) + CMSG_SPACE(sizeof file)];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t) "no\n", 3};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS, .cmsg_len = CMSG_LEN(sizeof other)};
    memcpy(CMSG_DATA(header), &other, sizeof other);
    header = CMSG_NXTHDR(&message, header);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof file)};
    memcpy(CMSG_DATA(header), &file, sizeof file);
    size_t before = test_descriptors();
    ck_assert_int_eq(sendmsg(fd, &message, 0), 3);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), -EPERM);
    ck_assert_uint_eq(test_descriptors(), before);
    raw_send(fd, "yes, and more\n", 14, NULL, 0);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.fd_count, 0);
    close(file);
    close(fd);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* Whatever room the padding makes, and the credentials that were not asked for. */
TEST(all_that_were_sent_come_or_none)
{
    test_needs(TEST_CUT_RIGHTS);
    int fds[2];
    char byte;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    size_t before = test_descriptors();
    for (size_t most = 1; most < 8; most++)
        for (size_t sent = 0; sent < 20; sent++) {
            int many[20];
            struct wherry__descriptors came = {.most = most};
            struct wherry__credentials credentials;
            struct iovec part = {&byte, 1};
            bool had;
            int flags;
            for (size_t i = 0; i < sent; i++)
                many[i] = fds[0];
            raw_send(fds[1], "x", 1, many, sent);
            ck_assert_int_eq(wherry__descriptors_receive(fds[0], &part, 1, &credentials, &had, NULL, &flags, &came), 1);
            ck_assert(!had && came.cut == (sent > most));
            ck_assert_uint_eq(came.count, came.cut ? 0 : sent);
            ck_assert_uint_eq(test_descriptors(), before + came.count);
            while (came.count > 0)
                close(came.fds[--came.count]);
        }
    close(fds[0]);
    close(fds[1]);
}
