/* socket/descriptor.h - open descriptors beside the bytes of a Unix socket.  SCM_RIGHTS, unix(7).
 *
 * SPDX-License-Identifier: MIT
 *
 * A receiver that has room for one may be given two, because the kernel counts the padding; one that has no number
 * left, or no room, gets fewer than were sent, and MSG_CTRUNC (H49).  Here either all that were sent come, or none. */
#ifndef WHERRY_SOCKET_DESCRIPTOR_H
#define WHERRY_SOCKET_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct wherry__credentials;
struct wherry__datagram_address;

enum { WHERRY__DESCRIPTORS_MAX = 253 }; /* the kernel's SCM_MAX_FD: in one message */

/* Descriptors on their way out: make message->msg_control of `space`.  At most WHERRY__DESCRIPTORS_MAX. */
union wherry__descriptors_space {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(WHERRY__DESCRIPTORS_MAX * sizeof(int))];
};
void wherry__descriptors_attach(struct msghdr *message, union wherry__descriptors_space *space, const int *fds,
                                size_t count);

/* Those that came: close-on-exec and noted. */
struct wherry__descriptors {
    size_t most;  /* set by the caller: how many may come, up to WHERRY__DESCRIPTORS_MAX */
    size_t count;
    bool cut;     /* more were sent than may come or than there are numbers for: all are closed, count is 0 */
    int fds[WHERRY__DESCRIPTORS_MAX + 1]; /* one more, for what the padding makes room for */
};

/* As wherry__credentials_receive(), and takes the descriptors in. */
ssize_t wherry__descriptors_receive(int socket, struct iovec *parts, size_t count,
                                    struct wherry__credentials *ret_credentials, bool *ret_had,
                                    struct wherry__datagram_address *from, int *ret_flags,
                                    struct wherry__descriptors *came);

/* ---- one, beside a short message ---- */

/* Never waits.  0 or -errno: -EAGAIN (no room), -ETOOMANYREFS (too many of this user's are under way). */
int wherry__descriptor_send(int socket, const void *data, size_t size, int fd);

/* The next message, of a SOCK_SEQPACKET: its size (0: the end), or -errno; -EMSGSIZE when it was cut.  *ret_fd is a
 * descriptor, close-on-exec and noted, or -1 when none came; of several the others are closed.  Never waits. */
ssize_t wherry__descriptor_receive(int socket, void *data, size_t size, int *ret_fd);

/* Close all descriptors that came in a control message of type SCM_RIGHTS, save the first, which goes to *ret_first;
 * NULL: that one too. */
void wherry__descriptor_close(const struct cmsghdr *control, int *ret_first);

#endif
