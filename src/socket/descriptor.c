/* socket/descriptor.c - owns SCM_RIGHTS; unix(7).
 *
 * SPDX-License-Identifier: MIT */
#include "socket/descriptor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/libc.h"
#include "base/size.h"
#include "base/sys.h"
#include "socket/credentials.h"

/* ---- any number ---- */

void wherry__descriptors_attach(struct msghdr *message, union wherry__descriptors_space *space, const int *fds,
                                size_t count)
{
    count = wherry__size_min(count, WHERRY__DESCRIPTORS_MAX);
    size_t size = count * sizeof *fds;
    message->msg_control = space->bytes;
    message->msg_controllen = (wherry__control_size)CMSG_SPACE(size);
    memset(space->bytes, 0, CMSG_SPACE(size)); /* the padding goes to the kernel too */
    struct cmsghdr *rights = CMSG_FIRSTHDR(message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = (wherry__part_size)CMSG_LEN(size);
    memcpy(CMSG_DATA(rights), fds, size);
}

static void take_in(const struct cmsghdr *control, struct wherry__descriptors *came)
{
    size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
        if (came->count < sizeof came->fds / sizeof *came->fds)
            came->fds[came->count++] = wherry__fd_note(fd);
        else
            close(fd);
    }
}

ssize_t wherry__descriptors_receive(int socket, struct iovec *parts, size_t count,
                                    struct wherry__credentials *ret_credentials, bool *ret_had,
                                    struct wherry__datagram_address *from, int *ret_flags,
                                    struct wherry__descriptors *came)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(WHERRY__DESCRIPTORS_MAX * sizeof(int))];
    } control;
    size_t most = wherry__size_min(came->most, WHERRY__DESCRIPTORS_MAX);
    size_t room = CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(most * sizeof(int));
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = (wherry__iov_count)count,
                             .msg_control = control.space,
                             .msg_controllen = (wherry__control_size)room};
    if (from) {
        message.msg_name = &from->address;
        message.msg_namelen = sizeof from->address;
    }
    came->count = 0;
    *ret_had = false;
    wherry__fd_guard(); /* MSG_DONTWAIT: not for long */
    ssize_t size;
    do
        size = wherry__sys.recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        size = -errno;
    for (struct cmsghdr *c = size >= 0 ? CMSG_FIRSTHDR(&message) : NULL; c; c = wherry__control_next(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            take_in(c, came);
        *ret_had |= wherry__credentials_in(c, ret_credentials);
    }
    wherry__fd_unguard();
    came->cut = size >= 0 && ((message.msg_flags & MSG_CTRUNC) || came->count > most);
    for (; came->cut && came->count > 0; came->count--)
        wherry__fd_close(&came->fds[came->count - 1]);
    if (size < 0)
        return size;
    if (from)
        from->size = message.msg_namelen;
    *ret_flags = message.msg_flags;
    return size;
}

/* ---- one ---- */

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
    for (struct cmsghdr *c = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL; c; c = wherry__control_next(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            wherry__descriptor_close(c, ret_fd);
    *ret_fd = wherry__fd_note(*ret_fd);
    wherry__fd_unguard();
    if (got >= 0 && (message.msg_flags & MSG_TRUNC)) {
        wherry__fd_close(ret_fd);
        return -EMSGSIZE;
    }
    return got;
}
