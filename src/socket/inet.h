/* socket/inet.h - TCP: listening and connecting.  tcp(7), ip(7), ipv6(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_INET_H
#define WHERRY_SOCKET_INET_H

#include "socket/resolve.h"

/* How connections are to be. */
struct wherry__inet_options {
    bool delay;               /* small messages may wait for others (Nagle); else TCP_NODELAY */
    wherry_time keepalive;    /* an idle connection is asked for life after so long; 0: never */
    wherry_time user_timeout; /* it fails when what was sent is not acknowledged for so long; 0: the kernel's minutes */
    bool share_port;          /* several sockets that listen get the connections dealt out (SO_REUSEPORT) */
    int beside;               /* another of them, whose address this one takes; 0: this is the first */
    uint64_t capacity;        /* bytes of the buffers, the receiver's too; 0: as many as the kernel thinks best */
};

/* Listen.  SO_REUSEADDR, so that connections of the last listener that the kernel still remembers are in nobody's way
 * (H53); "*" takes both families where there are both.  Returns the descriptor, noted unless inheritable, and writes
 * the address, whose port is the kernel's choice when it was 0; -EADDRINUSE with the pid in the sentence; another
 * -errno. */
int wherry__inet_listen(const struct wherry__inet_place *place, const struct wherry__inet_options *options,
                        uint32_t backlog, bool inheritable, wherry_time deadline,
                        struct wherry__inet_address *ret_address);

/* Connect to the first of the addresses that answers: each gets a quarter of a second before the next is tried beside
 * it (RFC 8305), and all are tried again until the deadline while somebody may yet begin to listen.  Returns the
 * descriptor, noted, or -errno with a sentence that names each address and why not. */
int wherry__inet_connect(const struct wherry__inet_place *place, const struct wherry__inet_options *options,
                         wherry_time deadline);

/* Set them on an accepted connection too.  0 or -errno with the sentence set. */
int wherry__inet_apply(int fd, const struct wherry__inet_options *options, const char *name);

/* getsockname(2) and getpeername(2).  False: there is none. */
bool wherry__inet_local(int fd, struct wherry__inet_address *ret_address);
bool wherry__inet_remote(int fd, struct wherry__inet_address *ret_address);

/* Of a socket that was shut down for sending: whether all that was sent has arrived at the other end's kernel, or can
 * no longer. */
bool wherry__inet_arrived(int fd);

#endif
