/* socket/socket.h - what sockets of all families share: making, accepting, options, buffers.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_SOCKET_H
#define WHERRY_SOCKET_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* socket(2), non-blocking and close-on-exec, noted unless inheritable.  `protocol`: 0 but for raw sockets.  Descriptor
 * or -errno without a sentence. */
int wherry__socket_new(int family, int type, int protocol, bool inheritable);

/* accept4(2) likewise, noted.  Descriptor or -errno. */
int wherry__socket_accept(int fd);

/* setsockopt(2) of a number.  0 or -errno. */
int wherry__socket_set(int fd, int level, int name, int value);

/* Room for about `bytes` in flight.  0, or -errno when the kernel gives less and says why not. */
int wherry__socket_resize(int fd, uint64_t bytes, const char *name);

/* Room for at least `bytes`, of which the kernel never refuses a few thousand. */
void wherry__socket_least(int fd, int bytes);

#endif
