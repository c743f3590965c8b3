/* ring/receive.h - what the receiving files share beyond ring.h: looking at a lane, owning it, giving it back.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_RING_RECEIVE_H
#define WHERRY_RING_RECEIVE_H

#include "ring/ring.h"

enum { RING_BATCH = 64 /* messages of a lane before the next has its turn */ };

/* ---- looking ---- */

static inline uint64_t ring_load(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

/* Where the frame at a position lies. */
static inline const uint8_t *ring_frame_at(const struct wherry__ring *ring, const uint8_t *lane, uint64_t position)
{
    return lane + (position & ring->mask & ~UINT64_C(7));
}

static inline uint64_t ring_word_of(const uint8_t *frame)
{
    /* acquire: pairs with the sender's release; the payload and the zero word behind are there */
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)frame, memory_order_acquire);
}

/* The word of the next message of lane i; 0: none. */
static inline uint64_t ring_next_word(const struct wherry__ring *ring, unsigned i)
{
    uint64_t position = ring_load(&ring->control->lanes[i].receiver.position);
    return ring_word_of(ring_frame_at(ring, ring->lanes[i], position));
}

/* Whose turn it is wherry__ring_take() says. */
static inline bool ring_any_word(const struct wherry__ring *ring)
{
    for (uint64_t left = ring->mapped & ~ring->bad; left; left &= left - 1)
        if (ring_next_word(ring, (unsigned)__builtin_ctzll(left)) != 0)
            return true;
    return false;
}

/* ---- owning a lane, and giving it back ---- */

/* Rule 8: say that we are within a call.  False: the bias is not ours; go outside again. */
static inline bool ring_go_inside(struct wherry__ring *ring)
{
    atomic_store_explicit(&ring->me->inside, 1, memory_order_relaxed);
    wherry__barrier_light(ring->fenced);
    /* acquire: if the bias was given up and came back, its giver's positions are seen */
    return atomic_load_explicit(&ring->control->shared.bias, memory_order_acquire) == ring->mark;
}

static inline void ring_go_outside(struct wherry__ring *ring)
{
    /* release: who sees 0 sees our last position */
    atomic_store_explicit(&ring->me->inside, 0, memory_order_release);
}

/* Rule 9: false when the lane has nothing, or is somebody else's. */
static inline bool ring_own(struct wherry__ring *ring, unsigned i)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    uint64_t nobody = 0;
    /* acquire: pairs with the release of whoever gave it back; its position is the newest */
    if (ring_load(&lane->receiver.owner) != 0 || ring_next_word(ring, i) == 0 ||
        !atomic_compare_exchange_strong_explicit(&lane->receiver.owner, &nobody, ring->mark, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    CRASH(receive_owned);
    ring->shared = true;
    return true;
}

/* Rule 18: the lane is free again, and who was woken for its next message may have found it taken, and sleep. */
static inline void ring_pass_on(struct wherry__ring *ring, unsigned i)
{
    wherry__barrier_light(ring->fenced);
    if (__builtin_expect(ring_load(&ring->control->shared.sleepers) != 0, 0) && ring_next_word(ring, i) != 0)
        wherry__ring_wake_receiver(ring);
}

static inline void ring_disown(struct wherry__ring *ring, unsigned i)
{
    /* release: the next owner sees our last position */
    if (ring->lent || ring->shared)
        atomic_store_explicit(&ring->control->lanes[i].receiver.owner, 0, memory_order_release);
    else
        ring_go_outside(ring);
    ring_pass_on(ring, i);
}

/* ---- join.c ---- */

/* Map the lanes that are in use and were not; returns the bits of all that are mapped.  lacks_lanes: one could not
 * be. */
uint64_t wherry__ring_map_lanes(struct wherry__ring *ring);


/* ---- bias.c ---- */

/* Another receiver had all lanes to itself, as `bias` says: true when it no longer does. */
bool wherry__ring_revoke(struct wherry__ring *ring, uint64_t bias);
/* `others`: living receivers besides this one.  With none this one owns all lanes from here on. */
void wherry__ring_seek_bias(struct wherry__ring *ring, unsigned others);

/* ---- await.c ---- */

/* Say that we sleep and how to wake us, with the barrier behind; looking once more is the caller's. */
void wherry__ring_arm(struct wherry__ring *ring, enum ring_wakes_by by);
/* Awake again: take back our bit, or owe for it. */
void wherry__ring_disarm(struct wherry__ring *ring);
/* Rule 18: another sleeper is woken for what lies in other lanes than the one that we took. */
void wherry__ring_hand_on(struct wherry__ring *ring);

#endif
