/* ring/await.c - owns a receiver's waiting: spinning, going to sleep, and what it owes the others once it is awake.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/time.h"
#include "ring/receive.h"
#include "ring/ring.h"

/* ---- spinning ---- */

/* A receiver quicker than its sender finds each message alone, and the two fight over the line that it lies in: a
 * stream goes half as fast.  After some messages that were there at the first look, it lets a few gather.  Who answers
 * each message waits longer for the next, and is never in that state. */
static void gather(struct wherry__ring *ring)
{
    enum { OFTEN = 8, PAUSES = 14 };
    if (ring->prompt < OFTEN)
        return;
    for (int i = 0; i < PAUSES; i++)
        wherry__breathe_once();
}

bool wherry__ring_spin(struct wherry__ring *ring, unsigned looks)
{
    const struct ring_shared *shared = &ring->control->shared;
    gather(ring);
    for (unsigned look = 0; look < looks; look++) {
        if (ring_any_word(ring)) {
            ring->prompt = look > 1 ? 0 : ring->prompt + 1;
            return true;
        }
        if (atomic_load_explicit(&shared->changes, memory_order_relaxed) != ring->changes ||
            ring_load(&shared->lanes) != ring->mapped)
            return false;
        wherry__breathe_once();
    }
    ring->prompt = 0;
    return false;
}

/* ---- sleeping ---- */

/* Of these lanes one has a message that nobody has taken. */
static bool has_free(const struct wherry__ring *ring, uint64_t lanes)
{
    for (; lanes; lanes &= lanes - 1) {
        unsigned i = (unsigned)__builtin_ctzll(lanes);
        if (ring_load(&ring->control->lanes[i].receiver.owner) == 0 && ring_next_word(ring, i) != 0)
            return true;
    }
    return false;
}

bool wherry__ring_has_message(struct wherry__ring *ring)
{
    /* one that cannot be mapped is for the receive to say */
    return ring->taken || has_free(ring, wherry__ring_map_lanes(ring) & ~ring->bad) || ring->lacks_lanes;
}

void wherry__ring_arm(struct wherry__ring *ring, enum ring_wakes_by by)
{
    uint64_t bit = UINT64_C(1) << ring->place;
    wherry__ring_say_wakes_by(ring, by);
    if (ring->armed && (ring_load(&ring->control->shared.sleepers) & bit))
        return; /* it has stood there since the last look */
    ring->armed = true;
    ring->hot_left = 0;
    atomic_fetch_or_explicit(&ring->control->shared.sleepers, bit, memory_order_seq_cst);
    wherry__barrier_all(ring->fenced); /* rule 14: from here on a sender that commits sees the bit */
    CRASH(receiver_asleep);
}

/* If our bit is gone somebody chose us for a message, and that may not be the one we take. */
void wherry__ring_disarm(struct wherry__ring *ring)
{
    uint64_t bit = UINT64_C(1) << ring->place;
    ring->armed = false;
    if (!(ring_load(&ring->control->shared.sleepers) & bit) ||
        !(atomic_fetch_and_explicit(&ring->control->shared.sleepers, ~bit, memory_order_acq_rel) & bit))
        ring->owes = true;
}

void wherry__ring_hand_on(struct wherry__ring *ring)
{
    uint64_t lanes = ring->mapped & ~ring->bad;
    ring->owes = false;
    if (ring->taken)
        lanes &= ~(UINT64_C(1) << ring->current);
    if (ring_load(&ring->control->shared.sleepers) != 0 && has_free(ring, lanes))
        wherry__ring_wake_receiver(ring);
}

int wherry__ring_wait_for_message(struct wherry__ring *ring, wherry_time deadline)
{
    int result = 0;
    bool last = false;
    wherry__ring_arm(ring, RING_BY_FUTEX);
    /* what is biased against us would be ours only after a while: no reason to spin */
    uint64_t bias = ring_load(&ring->control->shared.bias);
    bool ours = bias == ring->mark || bias == 0;
    if (!ours || (!wherry__ring_has_message(ring) &&
                  atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire) == ring->changes)) {
        wherry_time until = wherry_after(RING_TICK);
        last = deadline <= until;
        wherry__ring_count(&ring->me->waits);
        result = wherry__futex_wait(&ring->me->bell, ring->bell_seen, last ? deadline : until);
    }
    wherry__ring_disarm(ring); /* whoever wakes somebody must not choose one that is away */
    if (result == -ETIMEDOUT)
        ring->tick = true;
    return last ? result : 0;
}
