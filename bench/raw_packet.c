/* bench/raw_packet.c - messages over sockets that keep boundaries: one call each way.
 *
 * SPDX-License-Identifier: MIT */
#include "raw.h"

#include <errno.h>

/* A packet must fit into the send buffer, which a program that knows its messages makes large enough. */
static bool raise_send_buffer(struct raw *raw, size_t size)
{
    int wanted = (int)size + 4096;
    if (raw->raised)
        return false;
    raw->raised = true;
    return setsockopt(raw->fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) == 0 ||
           setsockopt(raw->fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted) == 0;
}

int raw_packet_send(struct raw *raw, const void *data, size_t size)
{
    for (;;) {
        ssize_t wrote = send(raw->fd, data, size, MSG_NOSIGNAL);
        if (wrote >= 0)
            return 0;
        if (errno == EMSGSIZE) {
            if (!raise_send_buffer(raw, size))
                return -EMSGSIZE;
        } else if (errno == EAGAIN) {
            int result = raw_wait(raw);
            if (result < 0)
                return result;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

int raw_packet_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size)
{
    for (;;) {
        struct iovec piece = {raw->message, raw->largest};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = raw->control,
                                 .msg_controllen = sizeof raw->control};
        ssize_t got = recvmsg(raw->fd, &message, MSG_CMSG_CLOEXEC);
        if (got == 0 && message.msg_controllen == 0)
            return 0; /* an empty message has credentials, the end has none */
        if (got >= 0) {
            if (message.msg_flags & MSG_TRUNC)
                return -EMSGSIZE;
            raw_credentials(raw, &message);
            *ret_data = raw->message;
            *ret_size = (size_t)got;
            return 1;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (errno == EAGAIN) {
            int result = raw_wait(raw);
            if (result < 0)
                return result;
        }
    }
}
