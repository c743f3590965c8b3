/* socket/raw.c - owns raw IP sockets: the filter that keeps them deaf, and an address of one's own on loopback.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/raw.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "socket/socket.h"

/* ---- what is heard ---- */

static int deafen(int fd)
{
    struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0}; /* of no packet more than 0 bytes */
    struct sock_fprog program = {.len = 1, .filter = &nothing};
    return wherry__sys.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 ? 0 : -errno;
}

/* Of the packets that came before the filter stood. */
static int forget(int fd)
{
    char byte;
    ssize_t size;
    do
        size = wherry__sys.recv(fd, &byte, sizeof byte, MSG_DONTWAIT);
    while (size >= 0 || errno == EINTR);
    return errno == EAGAIN ? 0 : -errno;
}

/* Bound to any address, or over IPv6 to whatever, it would hear the groups that others joined. */
static int leave_groups(int fd, int family)
{
    return family == AF_INET6 ? wherry__socket_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
                              : wherry__socket_set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
}

/* Over IPv6 the kernel writes a checksum of its own into what goes as ICMPv6 (58) or Mobile IPv6 (135), and drops what
 * comes without one: that would be another message, or none. */
static int leave_bytes(int fd, int family)
{
    return family == AF_INET6 ? wherry__socket_set(fd, SOL_RAW, IPV6_CHECKSUM, -1) : 0;
}

int wherry__raw_new(int family, uint32_t protocol, bool inheritable)
{
    int fd = wherry__socket_new(family, SOCK_RAW, (int)protocol, inheritable);
    if (fd < 0)
        return fd;
    int result = deafen(fd);
    if (result == 0)
        result = forget(fd);
    if (result == 0)
        result = leave_groups(fd, family);
    if (result == 0)
        result = leave_bytes(fd, family);
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

int wherry__raw_hear(int fd)
{
    return wherry__socket_set(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
}

/* ---- addresses ---- */

enum { HOSTS = 1 << 24 }; /* of 127.0.0.0/8 */

static const struct sockaddr_in *four(const struct wherry__inet_address *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->address;
    return in->sin_family == AF_INET ? in : NULL;
}

bool wherry__raw_is_loopback(const struct wherry__inet_address *address)
{
    const struct sockaddr_in *in = four(address);
    return in && ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

int wherry__raw_bind_apart(int fd, const struct wherry__inet_address *to)
{
    uint32_t own, other = ntohl(four(to)->sin_addr.s_addr) % HOSTS;
    if (getrandom(&own, sizeof own, GRND_NONBLOCK) != (ssize_t)sizeof own)
        own = (uint32_t)wherry_now(); /* before there is randomness: unlike those of others all the same */
    own %= HOSTS;
    while (own == 0 || own == 1 || own == HOSTS - 1 || own == other) /* the net, everybody's, all hosts, the peer's */
        own = (own + 2) % HOSTS;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl((uint32_t)IN_LOOPBACKNET << 24 | own)};
    return wherry__sys.bind(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

bool wherry__raw_same_host(const struct wherry__inet_address *a, const struct wherry__inet_address *b)
{
    const struct sockaddr_in *a4 = four(a), *b4 = four(b);
    if (a4 || b4)
        return a4 && b4 && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)&a->address,
                              *b6 = (const struct sockaddr_in6 *)&b->address;
    return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0 && a6->sin6_scope_id == b6->sin6_scope_id;
}
