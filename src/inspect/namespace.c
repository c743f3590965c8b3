/* inspect/namespace.c - owns the child that does something in another namespace for this process; setns(2).
 *
 * SPDX-License-Identifier: MIT
 *
 * A thread that joined a namespace itself might not get back, and would take what it does meanwhile along.  So a child
 * does it (borrowed.h), and hands what it opened over by a socket.
 *
 * It joins no user namespace: that would change the credentials, and with them whether the memory that it shares with
 * this process may be looked at (prctl(2), PR_SET_DUMPABLE). */
#include "inspect/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/borrowed.h"

struct errand {
    int space, type, result;
    int report[2]; /* a pair of sockets: the child's is the second */
    int (*open_it)(void *argument);
    void *argument;
};

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

/* The result, and the descriptor with it where there is one. */
WHERRY__RAW static void tell(struct errand *errand, int result)
{
    union control control;
    struct iovec part = {&errand->result, sizeof errand->result};
    struct msghdr message;
    for (size_t i = 0; i < sizeof control; i++)
        ((volatile char *)control.space)[i] = 0; /* without libc's memset */
    errand->result = result;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    *(int *)(void *)(control.space + CMSG_LEN(0)) = result;
    message.msg_name = NULL;
    message.msg_namelen = 0;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = result < 0 ? NULL : &control;
    message.msg_controllen = result < 0 ? 0 : sizeof control;
    message.msg_flags = 0;
    wherry__raw(SYS_sendmsg, errand->report[1], &message, MSG_NOSIGNAL);
}

WHERRY__RAW static int go_there(void *given)
{
    struct errand *errand = given;
    long result = wherry__raw(SYS_setns, errand->space, errand->type);
    tell(errand, result < 0 ? (int)result : errand->open_it(errand->argument));
    return 0;
}

/* What the child told, which has ended: the descriptor, or -errno. */
static int hear(const struct errand *errand)
{
    int result = -EIO;
    union control control = {.space = {0}};
    struct iovec part = {&result, sizeof result};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = wherry__sys.recvmsg(errand->report[0], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return -errno;
    if (got != (ssize_t)sizeof result || result < 0)
        return result < 0 ? result : -EIO;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return -EMFILE; /* no room for it here */
    memcpy(&result, CMSG_DATA(header), sizeof result);
    return result;
}

static int run(struct errand *errand)
{
    if (wherry__sys.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, errand->report) < 0)
        return -errno;
    int result = wherry__borrowed_child(go_there, errand);
    if (result == 0)
        result = hear(errand);
    wherry__sys.close(errand->report[0]);
    wherry__sys.close(errand->report[1]);
    return result;
}

int wherry__namespace_visit(int space, int type, int (*open_it)(void *argument), void *argument)
{
    struct errand errand = {.space = space, .type = type, .open_it = open_it, .argument = argument};
    wherry__fd_guard();
    int result = run(&errand);
    if (result >= 0)
        result = wherry__fd_note(result);
    wherry__fd_unguard();
    return result;
}

/* Looked at before it is opened: what lies at the path of a mount may be anything by now. */
int wherry__namespace_open(int directory, const char *path, uint64_t space)
{
    struct statx status;
    if (wherry__sys.statx(directory, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO | STATX_TYPE, &status) < 0)
        return -errno;
    if ((space && status.stx_ino != space) || !S_ISREG(status.stx_mode))
        return -ESTALE;
    wherry__fd_guard();
    int fd = wherry__sys.openat(directory, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0), code = errno;
    if (fd >= 0)
        fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd < 0 ? -code : fd;
}
