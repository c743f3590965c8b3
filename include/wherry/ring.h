/* wherry/ring.h - what a shared-memory ring (shm://NAME) holds and who is at it, without taking part.
 *
 * SPDX-License-Identifier: MIT
 *
 * Threads: any.  Fork: fine in a child.  Signals: not async-signal-safe.  wherry_ring_stat(3). */
#ifndef WHERRY_RING_H
#define WHERRY_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum wherry_ring_role { WHERRY_RING_NOBODY = 0, WHERRY_RING_SENDER = 1, WHERRY_RING_RECEIVER = 2 };

/* One of the places of a ring.  A sender has a lane, which outlives it until another sender takes the place. */
struct wherry_ring_place {
    enum wherry_ring_role role;
    bool alive;       /* the kernel says that its process lives; false with a role: it died there */
    bool has_lane;    /* it is or was a sender's */
    pid_t pid;        /* as seen from here; 0: nobody, or of another PID namespace */
    uint64_t sent, sent_bytes; /* messages and bytes of payload that ever went into the lane */
    uint64_t received;         /* messages that were taken out of it */
    uint64_t depth_bytes;      /* bytes of the lane that are taken now */
    uint64_t waits;   /* times its process slept */
    uint64_t wakes;   /* times it woke another */
    unsigned reader;  /* the place of the receiver that holds the lane now, from 1 on; 0: none does for long */
};

struct wherry_ring_stat {
    uint64_t capacity;      /* bytes of a lane */
    uint32_t places;        /* how many of those below there are */
    bool keep;              /* it outlives its processes */
    uint32_t senders, receivers, dead; /* alive; with a role, but dead */
    uint64_t sent, received, depth_bytes; /* of all lanes */
    struct wherry_ring_place place[64];
};

/* Look at the ring that `url` ("shm://NAME", or with "?share=UID") names.  Writes nothing.  The numbers are each exact
 * and together from slightly different moments.  `size` is sizeof(*ret_stat): a newer library writes no more than that.
 * Returns 0; -EINVAL (the URL), -ENOENT (there is none), -EPERM (another user's), -ETIMEDOUT (with share=: its keeper
 * was in no call on it for a second), -EBADMSG (the file is no ring, or damaged), -EPROTO (of another layout), -ENOMEM,
 * -EMFILE and what else the kernel says. */
WHERRY_API int wherry_ring_stat(const char *url, struct wherry_ring_stat *ret_stat, size_t size);

#ifdef __cplusplus
}
#endif
#endif
