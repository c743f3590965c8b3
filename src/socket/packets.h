/* socket/packets.h - many datagrams in one call, of sockets without connections.  udp(7), sendmmsg(2), recvmmsg(2).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_PACKETS_H
#define WHERRY_SOCKET_PACKETS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "socket/credentials.h" /* struct wherry__datagram_address: the one way to say where a datagram is from */

/* ---- sending ---- */

/* What is sent: up to two parts in a row. */
struct wherry__packet {
    const struct wherry__datagram_address *to; /* NULL: where the socket is connected to */
    struct iovec parts[2];
    unsigned part_count;
    size_t size; /* of the parts together */
};
enum { WHERRY__PACKETS = 128 };

/* Send them in order, at most WHERRY__PACKETS, in one sendmmsg(2), in which neighbours of one size and one addressee go
 * as one (UDP_SEGMENT) if they are smaller than *segment, which shrinks where the way does not take that; SIZE_MAX to
 * begin with.  0: *ret_sent left, fewer than asked for when the next one failed; else -errno, and none. */
int wherry__send_packets(int fd, size_t *segment, const struct wherry__packet *packets, unsigned count,
                         unsigned *ret_sent);

/* The error that came back for what was sent, which is then forgotten; positive, 0 for none. */
int wherry__packets_pending(int fd);

/* Whether an error says that a packet came back since nobody takes such there: no socket has the port, or the protocol
 * over IPv4, or over IPv6. */
static inline bool wherry__packets_came_back(int code)
{
    return code == ECONNREFUSED || code == ENOPROTOOPT || code == EPROTO;
}

/* ---- receiving ---- */

/* What was received in one call and is not handed out yet. */
struct wherry__inbox {
    uint8_t *memory;    /* NULL before the first */
    unsigned count, at; /* what came; which is next */
    size_t offset;      /* of the next datagram within it: neighbours of one size come as one (UDP_GRO) */
    unsigned want;      /* how many to ask for */
    bool exact;         /* one at a time, no more */
    bool headers;       /* each comes behind its IPv4 header: raw(7) */
};

/* Receive what there is.  0, and one at least is there; or -errno: -EAGAIN, -ENOMEM ... */
int wherry__inbox_receive(int fd, struct wherry__inbox *inbox);
static inline bool wherry__inbox_has_more(const struct wherry__inbox *inbox)
{
    return inbox->at < inbox->count;
}
/* The next one of those, without an IP header; *ret_data is NULL if there was none where there had to be.  Its memory
 * is valid until the next receive.  *ret_whole: the kernel had to cut nothing off; *ret_dropped: how many the socket
 * had no room for so far, modulo 2^32, when that is known, or as it was. */
void wherry__inbox_next(struct wherry__inbox *inbox, const uint8_t **ret_data, size_t *ret_size,
                        const struct wherry__datagram_address **ret_from, bool *ret_whole, uint32_t *ret_dropped);
void wherry__inbox_fini(struct wherry__inbox *inbox);

#endif
