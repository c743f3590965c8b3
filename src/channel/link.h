/* channel/link.h - one connection: descriptors, what was read ahead of the receiver, what is kept for the sender.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything that pipes, FIFOs and sockets share is here, once: link.c reads a byte stream, link_send.c and
 * link_write.c write one, link_packet.c does both where the kernel keeps boundaries, parts.c puts split messages
 * together.  Endpoints with one connection are single.c, those with many crowd.c. */
#ifndef WHERRY_CHANNEL_LINK_H
#define WHERRY_CHANNEL_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <wherry/channel.h>

#include "base/size.h"
#include "channel/framing.h"
#include "channel/parts.h"
#include "channel/transport.h"
#include "socket/credentials.h"

enum wherry__link_kind {
    WHERRY__LINK_PIPE,   /* pipe or FIFO */
    WHERRY__LINK_SOCKET, /* stream socket */
    WHERRY__LINK_PACKET, /* seqpacket or datagram socket: the kernel keeps the boundaries */
    WHERRY__LINK_FILE,   /* terminal, device, regular file: read and write alone */
};

struct wherry__buffer {
    uint8_t *data;
    size_t start, end, capacity; /* what counts is [start, end) */
};

struct wherry__link {
    enum wherry__link_kind kind;
    int in_fd, out_fd;  /* the same for sockets; -1 when there is none */
    bool blocks;        /* descriptors without O_NONBLOCK that others share: ask poll before each call */
    bool exact;         /* read no further than the message asks for */
    bool atoms;         /* several writers: no write over PIPE_BUF, which sockets too take whole or not at all */
    bool cuts;          /* foreign bytes end the connection; otherwise they are skipped */
    bool fifo;          /* a read of 0 may mean that no writer has come yet; after EPIPE a reader may come again */
    bool plain;         /* a socket whose kernel does not say who wrote, and whose end may be a failure: TCP */
    bool lingers;       /* of such a one: what comes from it is dropped, it is being let go */
    int failure;        /* of TCP, by a descriptor too: why it ended, negative; 0: in order */
    bool datagram;      /* a packet of 0 bytes is never the end */
    bool lean;          /* one of many: give memory back as soon as it is empty */
    bool passes;        /* a Unix socket: descriptors can go with a message */
    bool takes;         /* and those that come are taken in (option fds) */
    bool ahead;         /* what lies in memory may be lent the short way */
    bool spoilt;        /* the failure just returned is of one message: the connection goes on */
    const struct wherry__config *config;
    struct wherry__counters *counters;
    struct wherry_peer peer;
    struct wherry__buffer *spare; /* of lean links: a read buffer that all of them take in turns */
    bool drained;       /* the last read brought less than there was room for: nothing more was there */
    size_t *all_held;   /* receiving memory of all links of the endpoint, held to max_memory; NULL: this is the only
                         * one */

    /* receiving */
    struct wherry__buffer in;
    size_t scanned;      /* how far the front of `in` was searched for a delimiter */
    struct {             /* a message too big for `in`, read straight to where it will be delivered from */
        uint8_t *data;   /* `memory`, or the receiver's buffer */
        uint8_t *memory; /* own, kept for the next one */
        size_t capacity; /* of memory */
        size_t size, filled;
        uint32_t type;
        bool active;
    } big;
    size_t expected;                 /* size of the last big message: the next is read with the same in mind */
    size_t loan;                     /* bytes of `in` that the loan takes; 0 when it lies elsewhere */
    struct wherry__part_box *boxed;  /* the loan lies here */
    struct wherry__parts parts;      /* split messages being put together */
    uint64_t bytes_read;             /* from the descriptor, in all */
    unsigned prompt;                 /* reads in a row that found a little at once */
    wherry_time last_read;           /* when there were many of them */
    size_t alone;                    /* plain: what those brought in all */
    unsigned poor, gathers_missed;   /* plain: reads in a row that waited and brought no more; how often that ended
                                      * it */
    int peek_fds[2];                 /* a pipe to look ahead with, made when first needed; peek_fds[0] -1 before */
    bool ended;                      /* the kernel said so */
    bool seen;                       /* bytes came since the descriptor was opened */
    bool skipping;                   /* foreign bytes were reported; looking for the next frame */
    struct wherry__fds *fds;         /* descriptors that came (link_fds.c); NULL before the first read */

    /* sending */
    struct wherry__buffer out;   /* accepted bytes, written before anything else */
    const uint8_t *rest;         /* the rest of a message begun; NULL when none */
    size_t rest_size;
    uint8_t *rest_memory;        /* what `rest` lies in when it was kept */
    bool rest_delimiter;         /* a delimiter follows the rest */
    bool rest_parts;             /* the rest goes out in parts */
    struct wherry__part part;    /* the next of them */
    uint64_t sender;             /* random; 0 before the first split message; bit 0: its byte is locked (parts.h) */
    uint32_t part_messages;
    bool finished;               /* the socket's sending half is shut down: sends are -EPIPE */
    bool dead;                   /* nobody can receive any more, or the stream was cut inside a frame: sends are
                                  * -EPIPE */

    /* packets */
    uint8_t *hold;     /* max_message bytes of address space, for what does not fit into the receiver's buffer */
    bool held;         /* a packet lies there */
    size_t held_size;
    struct wherry__datagram_address *from; /* where the last datagram came from, when the endpoint wants to know */
};

/* Bytes that `in` and `out` have room for at first.  One read of a full pipe, and more than a Unix socket usually
 * has. */
enum { WHERRY__LINK_BUFFER = 65536 };

/* A zeroed link with descriptors and fields above "receiving" set needs no more than this. */
void wherry__link_init(struct wherry__link *link, const struct wherry__config *config,
                       struct wherry__counters *counters);
/* It is a Unix socket, on which descriptors can go with messages. */
void wherry__link_is_unix(struct wherry__link *link);
/* In a forked child: what was read ahead, begun or kept is the parent's. */
void wherry__link_forget(struct wherry__link *link);
/* Frees memory and closes the descriptors (as wherry__fd_close_from). */
void wherry__link_fini(struct wherry__link *link, uint64_t born);

/* Of a plain socket: say the end, drop what the peer sends, and look whether all that was sent has arrived.  False:
 * nothing is under way any more, or the peer sends no more, so that nothing of it can meet a closed socket. */
bool wherry__link_lingers(struct wherry__link *link);
/* Of a duplex socket that is being closed with bytes kept: drop what the peer sends, which may wait for room, too. */
void wherry__link_make_room(const struct wherry__link *link);
/* Whether a connection that fails with this errno is lost, as opposed to a call that failed. */
bool wherry__connection_lost(int code);

/* What the link itself knows of its peer's statistics: kept_bytes, memory, address. */
void wherry__link_stats(const struct wherry__link *link, struct wherry_peer_stats *ret_stats);

/* As the slots of the same names in transport.h, for this connection. */
int wherry__link_borrow(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan);
void wherry__link_give_back(struct wherry__link *link);
int wherry__link_rescue(struct wherry__link *link);
/* Whether a socket's other end is closed, as opposed to having only ended its sending: nothing can reach it any
 * more. */
bool wherry__link_hung_up(const struct wherry__link *link);
bool wherry__link_in_buffer(const struct wherry__link *link); /* part of a message lies in the receiver's buffer */
bool wherry__link_ready(const struct wherry__link *link);
int wherry__link_send(struct wherry__link *link, const struct wherry_message *messages, size_t count, unsigned flags,
                      size_t *ret_taken);
int wherry__link_push(struct wherry__link *link); /* try_finish */
int wherry__link_keep(struct wherry__link *link);
/* One write, without waiting; shortens the parts.  `with`: a message whose descriptors go along; NULL: none.  Bytes, or
 * -errno: -EAGAIN, and -EPIPE with the sentence set, or another failure. */
ssize_t wherry__link_write(struct wherry__link *link, struct iovec *parts, int count,
                           const struct wherry_message *with);
int wherry__link_nobody(const struct wherry__link *link);      /* -EPIPE: nobody is left to receive, and perhaps why */
int wherry__link_finished(const struct wherry__config *config); /* -EPIPE: it was said that no more will be sent */

/* The short way for what a busy receiver does most: a whole `length` frame that lies in memory.  1: lent; 0: go the
 * long way (wherry__link_borrow).  Header and size are checked as in framing.c. */
static inline int wherry__link_borrow_ahead(struct wherry__link *link, struct wherry_loan *ret_loan)
{
    size_t have = link->in.end - link->in.start;
    if (have < WHERRY__WHOLE_HEADER || !link->ahead || link->big.active || link->boxed)
        return 0;
    const uint8_t *data = link->in.data + link->in.start;
    uint32_t size = wherry__load32(data), type = wherry__load32(data + 4);
    if (size > have - WHERRY__WHOLE_HEADER || size > link->config->max_message ||
        wherry__load32(data + 8) != wherry__whole_check(size, type))
        return 0; /* also a part, whose size has its highest bit set */
    link->skipping = false;
    link->loan = WHERRY__WHOLE_HEADER + size;
    ret_loan->data = data + WHERRY__WHOLE_HEADER;
    ret_loan->info.size = size;
    ret_loan->info.type = type;
    ret_loan->info.flags = 0;
    ret_loan->info.peer = link->peer;
    ret_loan->info.fd_count = 0;
    return 1;
}

/* Its counterpart: true when the loan lay there and the link has nothing else to see to. */
static inline bool wherry__link_give_back_ahead(struct wherry__link *link)
{
    if (!link->loan || link->lean || link->takes || link->boxed || link->big.active)
        return false;
    link->in.start += link->loan;
    link->loan = link->scanned = 0;
    return true;
}

/* The kernel refused to pass descriptors on: the sentence for EBADF and ETOOMANYREFS. */
int wherry__link_fds_refused(const struct wherry__link *link, int code);
/* As wherry_channel_peer_pidfd(). */
int wherry__link_pidfd(const struct wherry__link *link);
/* Hand over the descriptors of the message that is lent: how many, or -EMSGSIZE when there is no room for all. */
ssize_t wherry__link_take_fds(struct wherry__link *link, int *fds, size_t capacity);

/* Whether bytes are kept for the kernel to take. */
static inline bool wherry__link_keeps(const struct wherry__link *link)
{
    return link->out.end > link->out.start || link->rest;
}
/* Forget what is kept: the other end is gone. */
void wherry__link_drop_kept(struct wherry__link *link);

/* The packet half (kind PACKET); called through the functions above.  `address` names the addressee of datagrams, or is
 * NULL. */
int wherry__packet_borrow(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan);
void wherry__packet_give_back(struct wherry__link *link);
void wherry__packet_fini(struct wherry__link *link);
int wherry__packet_send(struct wherry__link *link, const struct wherry__datagram_address *address,
                        const struct wherry_message *messages, size_t count, size_t *ret_taken);

/* Room for `more` bytes behind buffer->end, by moving to the front or growing up to `most`.  0 or -ENOMEM. */
int wherry__buffer_reserve(struct wherry__buffer *buffer, size_t more, size_t most);

#endif
