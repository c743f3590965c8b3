/* channel/link_write.c - owns one write(2) of a byte stream: which call it is, no signal, no waiting, and why it
 * failed.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is written, and what becomes of what the kernel did not take, is link_send.c's. */
#include "channel/link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "socket/descriptor.h"
#include "stream/pipe.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18: no SIGPIPE */
#endif

/* On a pipe what exceeds a full one by more than a little leaves in halves of it: the reader is woken by the first
 * while the second is written (docs/decisions/pipes.md). */
enum { PIPE_WHOLE = 70000, PIPE_WRITE = 32768 };

static ssize_t writev_pipe(int fd, const struct iovec *parts, int count)
{
    static _Atomic bool no_flag;
    if (!atomic_load_explicit(&no_flag, memory_order_relaxed)) {
        ssize_t size = wherry__sys.pwritev2(fd, parts, count, -1, RWF_NOSIGNAL);
        if (size >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
            return size;
        atomic_store_explicit(&no_flag, true, memory_order_relaxed);
    }
    return wherry__write_quietly(fd, parts, count); /* before Linux 6.18 */
}

static bool may_write(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    static const struct timespec at_once;
    return wherry__sys.ppoll(&poll, 1, &at_once) == 1;
}

int wherry__link_finished(const struct wherry__config *config)
{
    return wherry__fail(EPIPE, "%s: this endpoint has finished sending", config->name);
}

/* Whoever listens lets nobody know why it closed a connection; but whose it is shows from here. */
int wherry__link_nobody(const struct wherry__link *link)
{
    uid_t own = geteuid();
    if (link->passes && link->peer.has_credentials && own != 0 && link->peer.uid != own && !link->seen)
        return wherry__fail(
            EPIPE,
            "%s: nobody is left to receive; uid %u, which is at the other end, may have refused uid %u: "
            "uid=%u there lets it in",
            link->config->name, (unsigned)link->peer.uid, (unsigned)own, (unsigned)own);
    return wherry__fail(EPIPE, "%s: nobody is left to receive", link->config->name);
}

/* To a socket, with the descriptors of a message that begins with the first of these bytes. */
static __attribute__((noinline)) ssize_t write_with_fds(int fd, struct iovec *parts, int count,
                                                        const struct wherry_message *with)
{
    union wherry__descriptors_space space;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    wherry__descriptors_attach(&message, &space, with->fds, with->fd_count);
    return wherry__sys.sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t wherry__link_write(struct wherry__link *link, struct iovec *parts, int count, const struct wherry_message *with)
{
    ssize_t size;
    if (link->out_fd < 0 || link->finished)
        return wherry__link_finished(link->config);
    if (link->dead)
        return wherry__link_nobody(link);
    if (link->blocks && link->kind != WHERRY__LINK_SOCKET && !may_write(link->out_fd))
        return -EAGAIN;
    if (link->plain)
        link->prompt = 0; /* whoever answers is not to wait for more */
    do {
        if (link->kind == WHERRY__LINK_SOCKET) {
            struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
            size = with         ? write_with_fds(link->out_fd, parts, count, with)
                   : count == 1 ? wherry__sys.send(link->out_fd, parts[0].iov_base, parts[0].iov_len,
                                                   MSG_DONTWAIT | MSG_NOSIGNAL)
                                : wherry__sys.sendmsg(link->out_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else if (link->kind == WHERRY__LINK_PIPE) {
            size_t total = 0;
            for (int i = 0; i < count; i++)
                total += parts[i].iov_len;
            if (total > PIPE_WHOLE)
                count = wherry__iovec_shorten(parts, count, PIPE_WRITE);
            size = writev_pipe(link->out_fd, parts, count);
        } else {
            size = wherry__sys.writev(link->out_fd, parts, count);
        }
    } while (size < 0 && errno == EINTR);
    if (size >= 0)
        return size;
    if (errno == EAGAIN)
        return -EAGAIN;
    if (link->plain && wherry__connection_lost(errno)) {
        if (!link->failure && errno != EPIPE) /* the kernel says it once, and the receiving half is to say it too */
            link->failure = -errno;
        return wherry__fail(EPIPE, "%s: the connection is lost (%s)", link->config->name, strerror(errno));
    }
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
        return wherry__link_nobody(link);
    if (with && (errno == EBADF || errno == ETOOMANYREFS))
        return wherry__link_fds_refused(link, errno);
    return wherry__fail_errno(errno, "%s: writing failed", link->config->name);
}
