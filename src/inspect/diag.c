/* inspect/diag.c - owns the talk with sock_diag(7): one question, a list of answers.
 *
 * SPDX-License-Identifier: MIT
 *
 * libmnl writes and reads the messages; they are sent and received by the table of system calls.  The kernel makes
 * each part of a list while the part before is received, so nothing here waits. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <string.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/namespace.h"
#include "inspect/sockets.h"
#include "process/raw.h"

enum { PART = 32768 }; /* the kernel makes parts of up to this, when they fit */

WHERRY__RAW static int open_there(void *argument)
{
    (void)argument;
    return (int)wherry__raw(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
}

int wherry__diag_open(int space)
{
    if (space >= 0)
        return wherry__namespace_visit(space, CLONE_NEWNET, open_there, NULL);
    wherry__fd_guard();
    int fd = wherry__sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), code = errno;
    if (fd >= 0)
        fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd < 0 ? -code : fd;
}

static int ask(int fd, const void *request, size_t size)
{
    _Alignas(NLMSG_ALIGNTO) char buffer[256] = {0};
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    memcpy(mnl_nlmsg_put_extra_header(message, size), request, size);
    ssize_t sent;
    do
        sent = wherry__sys.send(fd, message, message->nlmsg_len, 0);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* How a list ends: 1, it goes on; 0, it is whole; -errno.  The last message of a list holds an error where there is
 * one. */
static int take(const struct nlmsghdr *message, void (*each)(const struct nlmsghdr *answer, void *argument),
                void *argument)
{
    switch (message->nlmsg_type) {
    case NLMSG_DONE:
        return mnl_nlmsg_get_payload_len(message) >= sizeof(int) ? *(const int *)mnl_nlmsg_get_payload(message) : 0;
    case NLMSG_ERROR:
        return mnl_nlmsg_get_payload_len(message) >= sizeof(int) ? *(const int *)mnl_nlmsg_get_payload(message)
                                                                 : -EPROTO;
    case SOCK_DIAG_BY_FAMILY:
        each(message, argument);
    }
    return 1;
}

int wherry__diag_list(int fd, const void *request, size_t size,
                      void (*each)(const struct nlmsghdr *answer, void *argument), void *argument)
{
    _Alignas(NLMSG_ALIGNTO) char buffer[PART];
    int result = ask(fd, request, size);
    for (result = result < 0 ? result : 1; result > 0;) {
        ssize_t got = wherry__sys.recv(fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EPROTO;
        if ((size_t)got > sizeof buffer)
            return -EMSGSIZE;
        int rest = (int)got;
        for (const struct nlmsghdr *message = (const void *)buffer; result > 0 && mnl_nlmsg_ok(message, rest);
             message = mnl_nlmsg_next(message, &rest))
            result = take(message, each, argument);
    }
    return result;
}

void wherry__diag_attributes(const struct nlmsghdr *answer, size_t head, const struct nlattr **ret_list, unsigned most)
{
    for (unsigned i = 0; i <= most; i++)
        ret_list[i] = NULL;
    const char *end = mnl_nlmsg_get_payload_tail(answer);
    for (const struct nlattr *attribute = mnl_nlmsg_get_payload_offset(answer, head);
         mnl_attr_ok(attribute, (int)(end - (const char *)attribute)); attribute = mnl_attr_next(attribute))
        if (mnl_attr_get_type(attribute) <= most)
            ret_list[mnl_attr_get_type(attribute)] = attribute;
}
