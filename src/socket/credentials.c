/* socket/credentials.c - owns SO_PEERCRED and SCM_CREDENTIALS; unix(7).
 *
 * SPDX-License-Identifier: MIT */
#include "socket/credentials.h"

#include <errno.h>
#include <string.h>

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

int wherry__credentials_ask(int fd)
{
    int on = 1;
    return wherry__sys.setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 ? 0 : -errno;
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
                             .msg_iovlen = count,
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
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_RIGHTS) /* nobody asked for them; padding makes room for more than one counts on */
            wherry__descriptor_close(c, NULL);
        if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(c), sizeof credentials);
            *ret_credentials =
                (struct wherry__credentials){.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
            *ret_had = true;
        }
    }
    return size;
}
