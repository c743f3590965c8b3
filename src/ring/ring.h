/* ring/ring.h - one end of a ring: joining, sending, receiving, sleeping, leaving.
 *
 * SPDX-License-Identifier: MIT
 *
 * LAYOUT.md has the protocol; its rules are numbered, and the code names them.  An end belongs to one process and is
 * used by one thread at a time in each direction; it has one direction. */
#ifndef WHERRY_RING_RING_H
#define WHERRY_RING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/base.h>

#include "base/futex.h"
#include "base/wait.h"
#include "ring/barrier.h"
#include "ring/door.h"
#include "ring/layout.h"
#include "ring/life.h"

/* An instant at which dying was thought about: a name for LAYOUT.md and tests/model.  tests/crash kills at every
 * instruction, and needs no help from here. */
#define CRASH(point) ((void)0)

struct ring_wish {
    const char *url, *name;
    uint64_t capacity; /* 0: whatever the ring has, 1 MiB if it is made */
    uint64_t max_message;
    uint32_t places;   /* 0: likewise, 64 */
    bool sends, creates, keep, drops;
    bool shared; /* with another uid: `other` */
    uid_t other;
};

struct ring_watched {
    uint32_t epoch;
    int fd; /* a pidfd in the wait set; -1 */
};

struct ring_bell {
    uint32_t epoch;
    int fd; /* the FIFO or socket of that place, for writing; -1 */
};

struct wherry__ring {
    struct ring_control *control;
    struct wherry__life *life;
    struct ring_place *me;
    struct ring_wish wish;
    int directory; /* of a ring with a name; -1 */
    struct wherry__door *door; /* of a shared one; NULL */
    bool serves;               /* it is ours to keep */
    wherry_time served_at;
    uint8_t secret[RING_SECRET];
    unsigned place;
    bool joined, fenced, keep; /* the head's words are copied once, here: others can write to it */
    unsigned places;
    uint64_t mark, capacity, mask;

    /* sending */
    struct ring_lane *lane;
    uint8_t *bytes;     /* of the lane, twice */
    uint64_t tail;      /* where the next frame goes */
    uint64_t freed;     /* a copy: what lies before may be written over */
    uint64_t messages, payload; /* sent, as the lane says them too */
    uint64_t asked_at;  /* tail when the position was last read */
    bool failed;        /* the last try found no room */
    uint64_t wanted;    /* bytes that it wanted */

    /* receiving */
    const uint8_t *lanes[RING_PLACES];
    uint64_t mapped, bad;   /* bits of lanes: mapped; found to hold nonsense */
    bool lacks_lanes;       /* one could not be mapped the last time, for want of memory */
    unsigned current, streak;
    unsigned prompt;        /* spins in a row that found a message at once */
    uint64_t largest;       /* bytes of a message that is believed: half of the capacity, or max_message */
    unsigned hot_left;      /* messages that the short way may take from the lane below; 0: go the long way */
    struct ring_lane *hot_lane;
    const uint8_t *hot_bytes;
    uint64_t hot_limit;     /* position from which `freed` is due */
    uint64_t freed_to[RING_PLACES]; /* what `freed` was last set to, as far as we know */
    uint64_t taken_at, taken_next; /* the message between try and done */
    bool taken, lent, shared; /* shared: its lane was taken by compare-and-swap */
    bool armed;             /* the bit in `sleepers` is ours to clear */
    bool owes;              /* we were chosen to be woken, and have not taken anything since */
    bool again;             /* what is taken was given before to one that died */
    uint32_t changes;       /* of which all is known */
    uint64_t ended_at;      /* `joined` when the end was last told */
    uint32_t empties;
    wherry_time looked_at;
    bool gone;              /* the name was removed */
    uint64_t dropped;

    /* both */
    uint32_t bell_seen; /* the futex's value before the last try */
    bool tick;          /* a sleep ended by itself: ask who is alive */
    int bell_fd;        /* the FIFO or socket; -1 */
    int door_fd;        /* in the wait set; -1 */
    int timer_fd;       /* of those who poll; -1 */
    int notify_fd;      /* inotify: a kept ring's file is removed; -1 */
    int spare_fd;       /* a descriptor to wake somebody with when no other is left; -1 */
    bool needs_timer, ticks; /* it should tick; it does */
    uint32_t watched_changes;
    struct ring_watched watched[RING_PLACES];
    struct ring_bell bells[RING_PLACES];
};

/* A number of one writer. */
static inline void wherry__ring_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* How we are to be woken; before the barrier that sleeping has anyway.  Who polls keeps the FIFO beside the futex of a
 * call. */
static inline void wherry__ring_say_wakes_by(struct wherry__ring *ring, uint32_t by)
{
    if (by == RING_BY_FUTEX && ring->bell_fd >= 0)
        by |= RING_BY_FIFO;
    if (atomic_load_explicit(&ring->me->wakes_by, memory_order_relaxed) != by)
        atomic_store_explicit(&ring->me->wakes_by, by, memory_order_seq_cst);
}

/* What was found. */
struct ring_message {
    const void *data;
    uint32_t size, type;
    bool again; /* given before to a receiver that died */
};

/* Join the ring of that name, waiting until the deadline for it, or making it.  0 or -errno with the sentence set;
 * leave may be called on whatever is left. */
int wherry__ring_join(struct wherry__ring *ring, const struct ring_wish *wish, wherry_time deadline);
/* `own`: this is the process that joined.  Else it is a forked child: memory alone is given back. */
void wherry__ring_leave(struct wherry__ring *ring, bool own);

/* ---- send.c ---- */

/* Room for `size` bytes in place.  0; -EAGAIN; -EPIPE, -EMSGSIZE or -EBADMSG with the sentence set. */
int wherry__ring_reserve(struct wherry__ring *ring, size_t size, void **ret_data);
/* Hand over what was reserved, `size` bytes of it or fewer. */
void wherry__ring_commit(struct wherry__ring *ring, size_t size, uint32_t type);
/* Reserve, copy, commit. */
int wherry__ring_send(struct wherry__ring *ring, const void *data, size_t size, uint32_t type);
/* The short way: 0, or -EAGAIN and nothing done when anything is out of the ordinary. */
int wherry__ring_send_now(struct wherry__ring *ring, const void *data, size_t size);
/* Sleep until there may be room for what the last try wanted: 0, or -ETIMEDOUT. */
int wherry__ring_wait_for_room(struct wherry__ring *ring, wherry_time deadline);
/* Whether a send would not wait. */
bool wherry__ring_has_room(struct wherry__ring *ring);
/* Ask to be woken when there is room, by one means more; looking once more is the caller's. */
void wherry__ring_arm_sender(struct wherry__ring *ring, enum ring_wakes_by by);

/* ---- take.c ---- */

/* 1: a message, ours until done() or put_back().  0: the end.  -EAGAIN; -EBADMSG with the sentence set. */
int wherry__ring_take(struct wherry__ring *ring, struct ring_message *ret_message);

/* ---- receive.c ---- */

/* The short way of take, copy, done: 1, or -EAGAIN and nothing done when anything is out of the ordinary. */
int wherry__ring_receive_now(struct wherry__ring *ring, void *buffer, size_t capacity, size_t *ret_size);
/* It is handed out for a time: others may go on meanwhile, and it is given again if we die. */
void wherry__ring_lend(struct wherry__ring *ring);
void wherry__ring_done(struct wherry__ring *ring);
void wherry__ring_put_back(struct wherry__ring *ring);

/* ---- await.c ---- */

/* Look so many times for a message; true: something is there.  Ends early when somebody came or went. */
bool wherry__ring_spin(struct wherry__ring *ring, unsigned looks);
int wherry__ring_wait_for_message(struct wherry__ring *ring, wherry_time deadline);
/* Whether a message or the end may be there, without taking it. */
bool wherry__ring_has_message(struct wherry__ring *ring);

/* ---- peers.c ---- */

/* Rule 15: ask the kernel who is alive, and free what the dead hold.  Returns the living peers that count: receivers
 * for a sender, senders for a receiver. */
unsigned wherry__ring_look_round(struct wherry__ring *ring);
/* The others that live. */
struct ring_living {
    unsigned senders, receivers;
};
struct ring_living wherry__ring_living(const struct wherry__ring *ring);
/* The door of a shared ring: take it over from a keeper that is gone, and let in those who knock. */
void wherry__ring_mind_door(struct wherry__ring *ring);
/* The same in passing, for a busy end that never sleeps: now and then. */
void wherry__ring_glance_at_door(struct wherry__ring *ring);
/* Have a spare descriptor again. */
void wherry__ring_keep_spare(struct wherry__ring *ring);
/* Wake one receiver that sleeps, and all who poll. */
void wherry__ring_wake_receiver(struct wherry__ring *ring);
uint32_t wherry__ring_wake_place(struct wherry__ring *ring, unsigned place, _Atomic uint32_t *word);
/* Wake whoever sleeps in a call on this end; async-signal-safe. */
void wherry__ring_nudge(struct wherry__ring *ring);
/* ---- poll.c ---- */

/* The bell of a place, to ring; a descriptor to close, or -1. */
int wherry__ring_open_bell(const struct wherry__ring *ring, unsigned place);
/* Somebody polls: put the FIFO and the peers' pidfds into the set, say that we sleep, and look once more.  1: something
 * is there; 0; -errno with the sentence set. */
int wherry__ring_watch(struct wherry__ring *ring, struct wherry__wait *set);
void wherry__ring_forget_bell(struct wherry__ring *ring);

#endif
