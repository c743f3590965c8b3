/* bench/raw.h - the raw loops that wherry is measured against, written as well as we can.
 *
 * SPDX-License-Identifier: MIT
 *
 * The service is the same: whole messages with a type, a deadline on every wait (so descriptors do not block, and
 * EAGAIN leads to a poll), no SIGPIPE (MSG_NOSIGNAL, RWF_NOSIGNAL), and on Unix sockets the kernel's word on who sent
 * each message (SO_PASSCRED and recvmsg).  raw.c makes the objects and waits; raw_stream.c frames messages on byte
 * streams; raw_packet.c is for sockets that keep boundaries by themselves. */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "link.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100 /* Linux 6.18 */
#endif

enum { RAW_CONTROL = 64 };

struct raw {
    int fds[2]; /* to receive, to send; -1 once the other process has it */
    int spare;  /* the second descriptor that WAIT_POLL_BOTH and WAIT_EPOLL watch */
    int fd;     /* of this end */
    int epoll;
    short events; /* that this end waits for */
    bool socket;
    bool says_who; /* and the kernel says who wrote */
    bool raised;   /* packets: the send buffer is as large as the kernel lets it be */
    bool nosignal; /* the kernel knows RWF_NOSIGNAL */
    enum waiting waiting;
    int64_t deadline;

    uint64_t sender; /* parts: random, so that the receiver tells writers apart */
    uint32_t sequence;
    unsigned char *staging; /* a header, and behind it a small message, for one contiguous write */

    size_t most_read, most_written; /* bytes in one call; 0: no limit */
    bool frame_a_read;     /* ask for as many bytes as the last frame had */
    size_t last;           /* bytes of that frame, 0 before the first */
    size_t ahead;          /* bytes of the buffer; 0: nothing is read ahead */
    unsigned char *buffer; /* read, not yet given out: [at, have) */
    size_t at, have;
    unsigned char *message; /* a large message, read straight into place */
    size_t largest;
    size_t total, got; /* parts: of the message being put together */
    _Alignas(16) char control[RAW_CONTROL]; /* of recvmsg() */
    uint64_t strangers; /* messages with credentials of another uid */
};

/* Wait until the end is ready or its deadline passes: 0 or -ETIMEDOUT. */
int raw_wait(struct raw *raw);

/* Check the credentials that came with a recvmsg(). */
void raw_credentials(struct raw *raw, struct msghdr *message);

/* All bytes, until the deadline. */
int raw_write_all(struct raw *raw, struct iovec *pieces, int count);
int raw_stream_send(struct raw *raw, const void *data, size_t size);
int raw_parts_send(struct raw *raw, const void *data, size_t size);
int raw_packet_send(struct raw *raw, const void *data, size_t size);
int raw_stream_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size);
int raw_frugal_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size);
int raw_parts_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size);
int raw_packet_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size);

#endif
