/* socket/raw.h - raw IP sockets: what they hear, and from when on.  raw(7), ip(7), ipv6(7), socket(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_RAW_H
#define WHERRY_SOCKET_RAW_H

#include "socket/resolve.h"

/* A socket of this protocol that hears nothing: the kernel gives it all packets of the protocol, wherever they go,
 * until it is bound or connected.  It was given none meanwhile.  Descriptor, noted unless inheritable, or -errno
 * without a sentence: -EPERM without CAP_NET_RAW. */
int wherry__raw_new(int family, uint32_t protocol, bool inheritable);

/* Hear from now on.  0 or -errno. */
int wherry__raw_hear(int fd);

/* Whether an address is one of 127.0.0.0/8, each of which is this host. */
bool wherry__raw_is_loopback(const struct wherry__inet_address *address);

/* Before the socket is connected to an address of 127.0.0.0/8: bind it to one that is its own, or it would have the one
 * that all others have, and what is sent to them would be sent to it, too.  0 or -errno. */
int wherry__raw_bind_apart(int fd, const struct wherry__inet_address *to);

/* Whether two addresses are one, whatever their ports. */
bool wherry__raw_same_host(const struct wherry__inet_address *a, const struct wherry__inet_address *b);

#endif
