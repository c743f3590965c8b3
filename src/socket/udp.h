/* socket/udp.h - UDP sockets, and raw IP sockets likewise: binding and connecting.  udp(7), raw(7), ip(7), ipv6(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_UDP_H
#define WHERRY_SOCKET_UDP_H

#include <net/if.h>

#include "socket/credentials.h" /* struct wherry__datagram_address: the one way to say where a datagram is from */
#include "socket/resolve.h"

/* How a socket is to be. */
struct wherry__udp_options {
    uint32_t protocol; /* 0: UDP; else a raw socket of this one, which has no ports */
    bool broadcast;    /* it may send to all hosts of a network, and shares the port with others */
    enum {
        WHERRY__LOOP_DEFAULT,
        WHERRY__LOOP_YES,
        WHERRY__LOOP_NO
    } loop;                      /* what it sends to a group comes back here */
    char interface[IF_NAMESIZE]; /* "": the kernel's choice */
    uint32_t ttl;                /* how many routers a datagram may pass; 0: as many as the kernel thinks best */
    uint64_t capacity;           /* bytes that wait to be received or sent; 0: as many as the kernel thinks best */
    bool sends, receives;
};

/* Bind, and join the group if the address is one.  Returns the descriptor, noted unless inheritable, and the address,
 * whose port is the kernel's choice when it was 0; -EADDRINUSE with the pid in the sentence; another -errno. */
int wherry__udp_listen(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                       bool inheritable, wherry_time deadline, struct wherry__inet_address *ret_address);

/* Lead to the first of the addresses that the kernel has a way to, which is waited for until the deadline; whether
 * somebody is there, nobody knows.  Where answers come from other addresses than the one sent to (a group, all hosts)
 * and the socket receives, it is not connected: then ret_to is where to send to; else its size is 0.  Returns the
 * descriptor, noted, and its own address; or -errno. */
int wherry__udp_connect(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                        wherry_time deadline, struct wherry__inet_address *ret_address,
                        struct wherry__datagram_address *ret_to);

/* Ask for neighbours to come as one: before the first receive.  Where the kernel does not know it, they come apart. */
void wherry__udp_gather(int fd);

#endif
