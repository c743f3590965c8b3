/* socket/credentials.c - owns SO_PEERCRED and SCM_CREDENTIALS; unix(7).
 *
 * SPDX-License-Identifier: MIT */
#include "socket/credentials.h"

#include <errno.h>
#include <string.h>

#include "base/libc.h"
#include "base/sys.h"
#include "socket/descriptor.h"

int wherry__credentials_of_connection(int fd, struct wherry__credentials *ret_credentials)
{
    struct ucred credentials = {.pid = 0};
    socklen_t size = sizeof credentials;
    if (wherry__sys.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return -errno;
    if (size != sizeof credentials || credentials.uid == (uid_t)-1)
        return -ENODATA; /* datagram sockets have no peer of their own */
    *ret_credentials =
        (struct wherry__credentials){.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
    return 0;
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

int wherry__credentials_pidfd(int socket)
{
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (wherry__sys.getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT)
        return errno == EINVAL ? -ESRCH : -errno; /* of one that was waited for, before Linux 6.12 */
    struct wherry__credentials credentials = {.pid = 0};
    int result = wherry__credentials_of_connection(socket, &credentials);
    if (result < 0)
        return result;
    pidfd = credentials.pid ? wherry__sys.pidfd_open(credentials.pid, 0) : (errno = ESRCH, -1);
    return pidfd >= 0 ? pidfd : -errno;
}

int wherry__credentials_ask(int fd)
{
    int on = 1;
    return wherry__sys.setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 ? 0 : -errno;
}

bool wherry__credentials_in(const struct cmsghdr *control, struct wherry__credentials *ret_credentials)
{
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_CREDENTIALS ||
        control->cmsg_len < CMSG_LEN(sizeof(struct ucred)))
        return false;
    struct ucred credentials;
    memcpy(&credentials, CMSG_DATA(control), sizeof credentials);
    *ret_credentials =
        (struct wherry__credentials){.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
    return true;
}

ssize_t wherry__credentials_receive(int fd, struct iovec *parts, size_t count, int flags,
                                    struct wherry__credentials *ret_credentials, bool *ret_had,
                                    struct wherry__datagram_address *from, int *ret_flags)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = (wherry__iov_count)count,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    if (from) {
        message.msg_name = &from->address;
        message.msg_namelen = sizeof from->address;
    }
    *ret_had = false;
    ssize_t size;
    do
        size = wherry__sys.recvmsg(fd, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -errno;
    if (from)
        from->size = message.msg_namelen;
    *ret_flags = message.msg_flags;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = wherry__control_next(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            /* nobody asked for them; padding and missing credentials make room for more than one counts on */
            wherry__descriptor_close(c, NULL);
            *ret_flags |= MSG_CTRUNC;
        }
        *ret_had |= wherry__credentials_in(c, ret_credentials);
    }
    return size;
}
