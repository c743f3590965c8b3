/* socket/descriptor.h - one descriptor beside a short message, over a connected Unix socket.  SCM_RIGHTS, unix(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_DESCRIPTOR_H
#define WHERRY_SOCKET_DESCRIPTOR_H

#include <stddef.h>
#include <sys/types.h>

/* Never waits.  0 or -errno: -EAGAIN (no room), -ETOOMANYREFS (too many of this user's are under way). */
int wherry__descriptor_send(int socket, const void *data, size_t size, int fd);

/* The next message, of a SOCK_SEQPACKET: its size (0: the end), or -errno; -EMSGSIZE when it was cut.  *ret_fd is a
 * descriptor, close-on-exec and noted, or -1 when none came; of several the others are closed.  Never waits. */
ssize_t wherry__descriptor_receive(int socket, void *data, size_t size, int *ret_fd);

/* Close all descriptors that came in a control message of type SCM_RIGHTS, save the first, which goes to *ret_first;
 * NULL: that one too. */
struct cmsghdr;
void wherry__descriptor_close(const struct cmsghdr *control, int *ret_first);

#endif
