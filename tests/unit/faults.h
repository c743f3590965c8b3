/* tests/unit/faults.h - entries of the table of system calls that do less than they were asked, or fail.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each test runs in a process of its own, so nothing is put back. */
#ifndef WHERRY_TESTS_FAULTS_H
#define WHERRY_TESTS_FAULTS_H

#include <errno.h>
#include <string.h>

#include "base/size.h"
#include "base/sys.h"

/* Bytes that a read or write takes at most; 0: no limit.  Each call uses the next of `faults_limits`, in turn. */
static const size_t *faults_limits;
static size_t faults_limit_count, faults_calls;
static struct wherry__sys faults_real;

static inline size_t faults_limit(void)
{
    return faults_limits ? faults_limits[faults_calls++ % faults_limit_count] : 0;
}

/* The first `limit` bytes of a list of parts; returns how many parts that is. */
static inline int faults_cut(const struct iovec *parts, int count, size_t limit, struct iovec *cut)
{
    int i = 0;
    for (size_t left = limit; i < count && left > 0; i++) {
        cut[i] = parts[i];
        cut[i].iov_len = wherry__size_min(cut[i].iov_len, left);
        left -= cut[i].iov_len;
    }
    return i;
}

static ssize_t faults_writev(int fd, const struct iovec *parts, int count)
{
    struct iovec cut[64];
    size_t limit = faults_limit();
    return limit ? faults_real.writev(fd, cut, faults_cut(parts, count, limit, cut))
                 : faults_real.writev(fd, parts, count);
}

static ssize_t faults_pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    struct iovec cut[64];
    size_t limit = faults_limit();
    return limit ? faults_real.pwritev2(fd, cut, faults_cut(parts, count, limit, cut), at, flags)
                 : faults_real.pwritev2(fd, parts, count, at, flags);
}

static ssize_t faults_readv(int fd, const struct iovec *parts, int count)
{
    struct iovec cut[64];
    size_t limit = faults_limit();
    return limit ? faults_real.readv(fd, cut, faults_cut(parts, count, limit, cut))
                 : faults_real.readv(fd, parts, count);
}

static ssize_t faults_read(int fd, void *data, size_t size)
{
    size_t limit = faults_limit();
    return faults_real.read(fd, data, limit ? wherry__size_min(size, limit) : size);
}

/* Packets stay whole: the kernel never cuts one. */
static inline bool faults_is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static ssize_t faults_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec cut[64];
    struct msghdr shorter = *message;
    size_t limit = faults_is_stream(fd) ? faults_limit() : 0;
    if (limit) {
        shorter.msg_iovlen = (size_t)faults_cut(message->msg_iov, (int)message->msg_iovlen, limit, cut);
        shorter.msg_iov = cut;
    }
    return faults_real.sendmsg(fd, &shorter, flags);
}

static int faults_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return faults_real.sendmmsg(fd, messages, count > 2 && faults_limits ? 2 : count, flags);
}

static ssize_t faults_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct iovec cut[64], *parts = message->msg_iov;
    size_t count = message->msg_iovlen, limit = faults_is_stream(fd) ? faults_limit() : 0;
    if (limit) {
        message->msg_iovlen = (size_t)faults_cut(parts, (int)count, limit, cut);
        message->msg_iov = cut;
    }
    ssize_t size = faults_real.recvmsg(fd, message, flags);
    message->msg_iov = parts;
    message->msg_iovlen = count;
    return size;
}

static inline void faults_short_writes(const size_t *limits, size_t count)
{
    faults_real = wherry__sys;
    faults_limits = limits;
    faults_limit_count = count;
    wherry__sys.writev = faults_writev;
    wherry__sys.pwritev2 = faults_pwritev2;
    wherry__sys.sendmsg = faults_sendmsg;
    wherry__sys.sendmmsg = faults_sendmmsg;
}

static inline void faults_short_reads(const size_t *limits, size_t count)
{
    faults_real = wherry__sys;
    faults_limits = limits;
    faults_limit_count = count;
    wherry__sys.readv = faults_readv;
    wherry__sys.read = faults_read;
    wherry__sys.recvmsg = faults_recvmsg;
}

#endif
