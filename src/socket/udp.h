/* socket/udp.h - UDP sockets, and many datagrams in one call.  udp(7), ip(7), ipv6(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_UDP_H
#define WHERRY_SOCKET_UDP_H

#include <net/if.h>
#include <sys/uio.h>

#include "socket/credentials.h" /* struct wherry__datagram_address: the one way to say where a datagram is from */
#include "socket/resolve.h"

/* How a socket is to be. */
struct wherry__udp_options {
    bool broadcast; /* it may send to all hosts of a network, and shares the port with others */
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
 * and the socket receives, it is not connected: then ret_to is where to send to; else its size is 0. */
int wherry__udp_connect(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                        wherry_time deadline, struct wherry__datagram_address *ret_to);

/* The error that came back for what was sent, which is then forgotten; positive, 0 for none. */
int wherry__udp_pending(int fd);

/* ---- many in one call ---- */

/* What is sent: up to two parts in a row. */
struct wherry__udp_packet {
    const struct wherry__datagram_address *to; /* NULL: where the socket is connected to */
    struct iovec parts[2];
    unsigned part_count;
    size_t size; /* of the parts together */
};
enum { WHERRY__UDP_PACKETS = 128 };

/* Send them in order, at most WHERRY__UDP_PACKETS, in one sendmmsg(2), in which neighbours of one size and one
 * addressee go as one (UDP_SEGMENT) if they are smaller than *segment, which shrinks where the way does not take that;
 * SIZE_MAX to begin with.  0: *ret_sent left, fewer than asked for when the next one failed; else -errno, and none. */
int wherry__udp_send(int fd, size_t *segment, const struct wherry__udp_packet *packets, unsigned count,
                     unsigned *ret_sent);

/* What was received in one call and is not handed out yet. */
struct wherry__udp_inbox {
    uint8_t *memory;    /* NULL before the first */
    unsigned count, at; /* what came; which is next */
    size_t offset;      /* of the next datagram within it: neighbours of one size come as one (UDP_GRO) */
    unsigned want;      /* how many to ask for */
    bool exact;         /* one at a time, no more */
};

/* Ask for neighbours to come as one: before the first receive.  Where the kernel does not know it, they come apart. */
void wherry__udp_gather(int fd);
/* Receive what there is.  0, and one at least is there; or -errno: -EAGAIN, -ENOMEM ... */
int wherry__udp_receive(int fd, struct wherry__udp_inbox *inbox);
static inline bool wherry__udp_has_more(const struct wherry__udp_inbox *inbox)
{
    return inbox->at < inbox->count;
}
/* The next one of those.  Its memory is valid until the next receive.  *ret_whole: the kernel had to cut nothing off;
 * *ret_dropped: how many the socket had no room for so far, modulo 2^32, when that is known, or as it was. */
void wherry__udp_next(struct wherry__udp_inbox *inbox, const uint8_t **ret_data, size_t *ret_size,
                      const struct wherry__datagram_address **ret_from, bool *ret_whole, uint32_t *ret_dropped);
void wherry__udp_inbox_fini(struct wherry__udp_inbox *inbox);

#endif
