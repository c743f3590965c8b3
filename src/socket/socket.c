/* socket/socket.c - owns socket(2), accept4(2) and the buffers of sockets.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/socket.h"

#include <errno.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"

int wherry__socket_new(int family, int type, int protocol, bool inheritable)
{
    wherry__fd_guard();
    int fd = wherry__sys.socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    int result = fd >= 0 ? (inheritable ? fd : wherry__fd_note(fd)) : -errno;
    wherry__fd_unguard();
    return result;
}

int wherry__socket_set(int fd, int level, int name, int value)
{
    return wherry__sys.setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

int wherry__socket_accept(int fd)
{
    wherry__fd_guard();
    int peer = wherry__sys.accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int result = peer >= 0 ? wherry__fd_note(peer) : -errno;
    wherry__fd_unguard();
    return result;
}

int wherry__socket_resize(int fd, uint64_t bytes, const char *name)
{
    if (bytes == 0)
        return 0;
    int wanted = (int)bytes, got = 0;
    socklen_t size = sizeof got;
    if (wherry__sys.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
        wherry__sys.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    if (wherry__sys.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &got, &size) == 0 && got >= wanted)
        return 0;
    return wherry__fail(ENOBUFS, "%s: the kernel gives a socket %d bytes, not %d (net.core.wmem_max)", name, got / 2,
                        wanted);
}

void wherry__socket_least(int fd, int bytes)
{
    int now = 0;
    socklen_t size = sizeof now;
    if (wherry__sys.getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &size) == 0 && now < bytes)
        wherry__sys.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
