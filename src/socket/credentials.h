/* socket/credentials.h - who is at the other end of a Unix socket, by the kernel's word.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_CREDENTIALS_H
#define WHERRY_SOCKET_CREDENTIALS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct wherry__credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

struct wherry__datagram_address {
    socklen_t size;
    struct sockaddr_un address;
};

/* Who connected, or who listens: a snapshot taken at connect(2) and listen(2) (unix(7), SO_PEERCRED).
 * 0, or -errno where the kernel has none. */
int wherry__credentials_of_connection(int fd, struct wherry__credentials *ret_credentials);

/* A pidfd of who connected, or who listens, close-on-exec and not noted.  -ENODATA where the kernel knows nobody,
 * -ESRCH when it is gone or of another PID namespace, or another -errno.  Before Linux 6.5 it is opened by number:
 * right as long as the other end is not closed when this has returned, if whoever connected kept it to itself. */
int wherry__credentials_pidfd(int socket);

/* Ask for the writer's credentials with every read (SO_PASSCRED).  0 or -errno. */
int wherry__credentials_ask(int fd);

/* Not credentials: what the kernel shows for bytes that were written before anybody asked for them. */
static inline bool wherry__credentials_none(const struct wherry__credentials *credentials)
{
    /* overflowuid, overflowgid */
    return credentials->pid == 0 && credentials->uid == 65534 && credentials->gid == 65534;
}

/* Whether a control message has credentials in it, which go to *ret_credentials. */
bool wherry__credentials_in(const struct cmsghdr *control, struct wherry__credentials *ret_credentials);

/* recvmsg(2) that takes the credentials and lets no descriptor slip in: *ret_had says whether any came (none at the
 * end).  `from` may be NULL.  Returns the bytes or -errno; *ret_flags are recvmsg's, MSG_CTRUNC among them when
 * descriptors came along, all of which are closed. */
ssize_t wherry__credentials_receive(int fd, struct iovec *parts, size_t count, int flags,
                                    struct wherry__credentials *ret_credentials, bool *ret_had,
                                    struct wherry__datagram_address *from, int *ret_flags);

#endif
