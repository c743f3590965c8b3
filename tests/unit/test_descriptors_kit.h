/* tests/unit/test_descriptors_kit.h - what the tests of descriptors that come with messages share: ends that ask for
 * them, files that are told from each other, messages that say which are theirs.
 *
 * SPDX-License-Identifier: MIT
 *
 * A descriptor is told from others by the file it leads to: each message that has one says which. */
#ifndef WHERRY_TESTS_DESCRIPTORS_KIT_H
#define WHERRY_TESTS_DESCRIPTORS_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "socket/descriptor.h"
#include "unit/ends.h"

#define ENDS_SOCKET_FD                                                                                                 \
    {                                                                                                                  \
        "fd", "fd:", "?writers=1", .ends = true, .duplex = true                                                        \
    }

static const struct ends_kind kinds[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM, ENDS_SOCKETPAIR, ENDS_SOCKET_FD};

enum { MOST = 253, BIG = 300000 };

/* As ends_open(), but fd: on a socket, and `more` is for the receiver alone: it asks for descriptors. */
static inline void open_ends(struct ends *ends, const struct ends_kind *kind, const char *more)
{
    if (kind->by_name) {
        ends_url(ends->url, sizeof ends->url, kind, more);
        test_ok(wherry_channel_open(ends->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
        ends_url(ends->url, sizeof ends->url, kind, "");
        test_ok(wherry_channel_open(ends->url, WHERRY_SEND, NULL, test_deadline(), &ends->sender));
    } else if (strcmp(kind->scheme, "fd:") == 0) {
        int fds[2];
        char url[200];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        snprintf(url, sizeof url, "fd:%d%s%s%s", fds[0], kind->query, kind->query[1] ? "&" : "", more);
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
        snprintf(url, sizeof url, "fd:%d%s", fds[1], kind->query[1] ? kind->query : "");
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &ends->sender));
    } else {
        ends_open(ends, kind, more);
    }
}

/* ---- files, told from each other by their sizes ------------------------------------------------------------------ */

/* A file that leads nowhere else, of this many bytes. */
static inline int file_of(unsigned tag)
{
    int fd = memfd_create("tag", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)tag), 0);
    return fd;
}

static inline unsigned tag_of(int fd)
{
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    return (unsigned)status.st_size;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* A message of `size` bytes that says its tag, with `count` descriptors of the files tag * 1000 + i. */
static inline int try_send(struct wherry_channel *sender, unsigned tag, size_t size, size_t count, unsigned flags)
{
    int fds[MOST + 1];
    char said[16];
    uint8_t *data = malloc(size);
    memset(data, 'x', size);
    snprintf(said, sizeof said, "%08u", tag);
    memcpy(data, said, 8);
    for (size_t i = 0; i < count; i++)
        fds[i] = file_of(tag * 1000 + (unsigned)i);
    struct wherry_message message = {.data = data, .size = size, .fds = count ? fds : NULL, .fd_count = count};
    int result = wherry_channel_send_message(sender, &message, flags, test_deadline());
    for (size_t i = 0; i < count; i++)
        close(fds[i]); /* the sender's own: those under way are others */
    free(data);
    return result;
}

static inline void send_one(struct wherry_channel *sender, unsigned tag, size_t size, size_t count)
{
    test_ok(try_send(sender, tag, size, count, 0));
}

static uint8_t buffer[BIG];

/* The next message has this tag, size, and its own descriptors. */
static inline void expect(struct wherry_channel *receiver, unsigned tag, size_t size, size_t count)
{
    int fds[MOST];
    struct wherry_info info;
    char said[16];
    test_is(wherry_channel_receive_with_fds(receiver, buffer, sizeof buffer, fds, MOST, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.size, size);
    snprintf(said, sizeof said, "%08u", tag);
    ck_assert_msg(memcmp(buffer, said, 8) == 0, "%.8s came for %s", (char *)buffer, said);
    ck_assert_msg(info.fd_count == count, "%u: %zu descriptors came, not %zu", tag, info.fd_count, count);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(tag_of(fds[i]), tag * 1000 + i);
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
}

static inline struct wherry_channel_stats stats_of(struct wherry_channel *channel)
{
    struct wherry_channel_stats stats;
    test_ok(wherry_channel_stats(channel, &stats, sizeof stats));
    return stats;
}

/* As a program does that knows nothing of wherry. */
static inline void raw_send(int fd, const void *data, size_t size, const int *fds, size_t count)
{
    union wherry__descriptors_space space;
    struct iovec part = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count)
        wherry__descriptors_attach(&message, &space, fds, count);
    ck_assert_int_eq(sendmsg(fd, &message, MSG_NOSIGNAL), (ssize_t)size);
}

#endif
