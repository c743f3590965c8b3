/* socket/descriptor.c - owns SCM_RIGHTS; unix(7).
 *
 * SPDX-License-Identifier: MIT */
#include "socket/descriptor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"

int wherry__descriptor_send(int socket, const void *data, size_t size, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(size_t)data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = wherry__sys.sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

void wherry__descriptor_close(const struct cmsghdr *control, int *ret_first)
{
    size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
        if (ret_first && *ret_first < 0)
            *ret_first = fd;
        else
            close(fd);
    }
}

ssize_t wherry__descriptor_receive(int socket, void *data, size_t size, int *ret_fd)
{
    union { /* with room for the credentials that a socket may have been asked for */
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    *ret_fd = -1;
    wherry__fd_guard(); /* MSG_DONTWAIT: not for long */
    ssize_t got;
    do
        got = wherry__sys.recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        got = -errno;
    for (struct cmsghdr *c = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL; c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            wherry__descriptor_close(c, ret_fd);
    wherry__fd_note(*ret_fd);
    wherry__fd_unguard();
    if (got >= 0 && (message.msg_flags & MSG_TRUNC)) {
        wherry__fd_close(ret_fd);
        return -EMSGSIZE;
    }
    return got;
}
