/* bench/link.h - one direction from one process to another, over a kernel object, by raw system calls or by wherry.
 *
 * SPDX-License-Identifier: MIT
 *
 * The benches time the same loop over either kind; the call through the table costs both the same nanosecond. */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is measured: a kernel object and the service asked of it. */
enum object { OBJECT_PIPE, OBJECT_FIFO, OBJECT_UNIX, OBJECT_TCP, OBJECT_SEQPACKET, OBJECT_DGRAM, OBJECT_SOCKETPAIR };

struct subject {
    const char *name;
    enum object object;
    const char *scheme; /* wherry's */
    bool many;          /* byte streams without a lock: safe for several writers at once, so in parts of PIPE_BUF */
    bool lone;          /* pipes: wherry is told that there is a single writer (writers=1) */
    bool shared;        /* others may hold the descriptor too, so no byte beyond the message may be read */
};
extern const struct subject subjects[];
extern const size_t subject_count;

/* How a raw loop waits when the kernel says EAGAIN. */
enum waiting {
    WAIT_POLL,      /* poll of the one descriptor */
    WAIT_POLL_BOTH, /* poll of the descriptor and of one more, as whoever accepts others or can be interrupted must */
    WAIT_EPOLL,     /* the same through an epoll instance */
    WAIT_SPIN,      /* try again at once */
    WAIT_NEVER,     /* descriptors block: no deadline possible */
};
const char *waiting_name(enum waiting waiting);

/* How a wherry endpoint is used. */
enum use {
    USE_PLAIN,  /* single_thread, wherry_channel_receive() */
    USE_LOCKED, /* the default, safe for threads */
    USE_SPIN,   /* single_thread, receive with WHERRY_NOW in a loop */
};

struct link;
struct link_class {
    /* In the parent, before the fork.  Returns 0 or -errno: the object cannot be had here. */
    int (*prepare)(struct link *link);
    /* In the process at one end; lets go of the other. */
    int (*open)(struct link *link, bool sending);
    int (*send)(struct link *link, const void *data, size_t size);
    /* 1, and a message somewhere in memory until the next call; 0 at the end; -errno. */
    int (*receive)(struct link *link, const unsigned char **ret_data, size_t *ret_size);
    void (*close)(struct link *link);
    /* In the parent, after the fork. */
    void (*drop)(struct link *link);
};

struct link {
    const struct link_class *class;
    const struct subject *subject;
    enum waiting waiting; /* raw */
    size_t ahead;         /* raw, on byte streams: bytes of read-ahead; 0: read the header, then the rest */
    bool frame_a_read;    /* raw, on byte streams: a read asks for as many bytes as the last frame had */
    size_t most_read;     /* raw, on byte streams: bytes in one call, so that the other side wakes up sooner; 0: any */
    size_t most_written;
    enum use use;         /* wherry */
    size_t largest;   /* bytes of the largest message that will come */
    int64_t deadline; /* of every wait */
    void *state;
};

extern const struct link_class raw_link;
/* Frames that the caller made, over a raw link that is open. */
int raw_write(struct link *link, const void *frames, size_t size);
extern const struct link_class wherry_link;

/* A link over `subject`, not yet prepared.  Both kinds give up after a minute: the deadline that each wait obeys. */
struct link link_make(const struct link_class *class, const struct subject *subject, size_t largest);

#endif
