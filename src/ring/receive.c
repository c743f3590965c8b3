/* ring/receive.c - owns what becomes of a message that a receiver has: the receipt, the loan, the lane given back; and
 * the short way, which takes, copies and gives back in one.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "ring/receive.h"
#include "ring/ring.h"

/* ---- the receipt ---- */

static void wake_sender(struct wherry__ring *ring, unsigned i)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    atomic_store_explicit(&lane->sleep.wake_at, UINT64_MAX, memory_order_relaxed);
    wherry__ring_wake_place(ring, i, &lane->sleep.bell);
}

/* Rule 12.  A hint: a receiver that lost the lane meanwhile may set it back, and the sender takes no step back. */
static inline void say_freed(struct wherry__ring *ring, unsigned i, uint64_t position)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    ring->freed_to[i] = position;
    atomic_store_explicit(&lane->room.freed, position, memory_order_release);
}

/* With `freed` if that is due.  True: the sender sleeps until there is this much room; wake it when the lane is given
 * back. */
static inline bool sign_receipt(struct wherry__ring *ring, unsigned i, struct ring_lane *lane, uint64_t next, bool due)
{
    CRASH(receive_copied);
    atomic_store_explicit(&lane->receiver.messages, ring_load(&lane->receiver.messages) + 1, memory_order_relaxed);
    /* release: the sender, or the next owner, may go on from here; our reads of the message are done */
    atomic_store_explicit(&lane->receiver.position, next, memory_order_release);
    CRASH(receive_taken);
    if (__builtin_expect(due, 0))
        say_freed(ring, i, next);
    wherry__barrier_light(ring->fenced);
    return __builtin_expect(next >= ring_load(&lane->sleep.wake_at), 0);
}

/* ---- giving back ---- */

static inline void let_lane_go(struct wherry__ring *ring, unsigned i)
{
    ring_disown(ring, i);
    ring->taken = ring->lent = false;
}

static inline void finish(struct wherry__ring *ring, unsigned i, uint64_t next)
{
    bool due = next - ring->freed_to[i] >= ring->capacity / 8;
    bool sleeps = sign_receipt(ring, i, &ring->control->lanes[i], next, due);
    let_lane_go(ring, i);
    if (sleeps)
        wake_sender(ring, i);
}

/* What the short way leaves out goes by the long one; from a lane that is ours for some time, it is short from then
 * on. */
static inline void warm_up(struct wherry__ring *ring, unsigned i)
{
    ring->hot_left = ring->streak < RING_BATCH ? RING_BATCH - ring->streak : 0;
    ring->hot_lane = &ring->control->lanes[i];
    ring->hot_bytes = ring->lanes[i];
    ring->hot_limit = ring->freed_to[i] + ring->capacity / 8;
}

void wherry__ring_done(struct wherry__ring *ring)
{
    bool warm = !ring->shared && !ring->lent && !ring->armed;
    finish(ring, ring->current, ring->taken_next);
    if (warm)
        warm_up(ring, ring->current);
}

void wherry__ring_put_back(struct wherry__ring *ring)
{
    if (!ring->taken)
        return;
    struct ring_lane *lane = &ring->control->lanes[ring->current];
    if (ring->lent && !ring->again) /* nobody died with it */
        atomic_store_explicit(&lane->receiver.lent, UINT64_MAX, memory_order_relaxed);
    let_lane_go(ring, ring->current);
}

void wherry__ring_lend(struct wherry__ring *ring)
{
    struct ring_lane *lane = &ring->control->lanes[ring->current];
    /* rule 10; relaxed: other receivers look at `lent` only once they own the lane */
    atomic_store_explicit(&lane->receiver.lent, ring->taken_at, memory_order_relaxed);
    ring->lent = true;
    if (!ring->shared) {
        atomic_store_explicit(&lane->receiver.owner, ring->mark, memory_order_release);
        CRASH(receive_lent);
        ring_go_outside(ring);
    }
}

/* ---- the short way ---- */

/* Nothing about what lies there needs the long way: it is a message, it fits, and nobody died with it. */
static inline bool is_plain(const struct wherry__ring *ring, const struct ring_lane *lane, uint64_t position,
                            uint64_t word, size_t capacity)
{
    uint32_t size = ring_word_size(word);
    return (word & RING_COMMITTED) && size <= capacity && size <= ring->largest && position % 8 == 0 &&
           ring_load(&lane->receiver.lent) != position;
}

/* The next position. */
static inline uint64_t copy_out(uint64_t position, const uint8_t *frame, uint32_t size, void *buffer, size_t *ret_size)
{
    if (size)
        memcpy(buffer, frame + RING_WORD, size);
    *ret_size = size;
    return position + ring_frame(size);
}

/* While other receivers live: rule 9 for the current lane alone. */
static int receive_shared_now(struct wherry__ring *ring, void *buffer, size_t capacity, size_t *ret_size)
{
    unsigned i = ring->current;
    if (ring->taken || ring->armed || ring->owes || ring->streak >= RING_BATCH || !ring->lanes[i] ||
        (ring->bad >> i & 1) || ring_load(&ring->control->shared.bias) != 0 || !ring_own(ring, i))
        return -EAGAIN;
    struct ring_lane *lane = &ring->control->lanes[i];
    uint64_t position = ring_load(&lane->receiver.position);
    const uint8_t *frame = ring_frame_at(ring, ring->lanes[i], position);
    uint64_t word = ring_word_of(frame);
    if (!is_plain(ring, lane, position, word, capacity)) {
        ring_disown(ring, i);
        return -EAGAIN;
    }
    ring->streak++;
    finish(ring, i, copy_out(position, frame, ring_word_size(word), buffer, ret_size));
    return 1;
}

int wherry__ring_receive_now(struct wherry__ring *ring, void *buffer, size_t capacity, size_t *ret_size)
{
    struct ring_lane *lane = ring->hot_lane;
    if (__builtin_expect(ring->serves, 0))
        wherry__ring_glance_at_door(ring);
    if (__builtin_expect(ring->hot_left == 0, 0))
        return receive_shared_now(ring, buffer, capacity, ret_size);
    uint64_t position = ring_load(&lane->receiver.position);
    const uint8_t *frame = ring_frame_at(ring, ring->hot_bytes, position);
    uint64_t word = ring_word_of(frame);
    if (!(word & RING_COMMITTED)) {
        if (ring->freed_to[ring->current] != position)
            say_freed(ring, ring->current, position);
        ring->hot_limit = position + ring->capacity / 8;
        return -EAGAIN;
    }
    /* rule 8; position and word are not older than the bias, which only this thread takes */
    if (__builtin_expect(!ring_go_inside(ring) || !is_plain(ring, lane, position, word, capacity) ||
                             ring_load(&lane->receiver.owner) != 0,
                         0)) {
        ring_go_outside(ring);
        ring->hot_left = 0;
        return -EAGAIN;
    }
    CRASH(receive_inside);
    uint64_t next = copy_out(position, frame, ring_word_size(word), buffer, ret_size);
    bool due = next >= ring->hot_limit;
    if (__builtin_expect(due, 0))
        ring->hot_limit = next + ring->capacity / 8;
    bool sleeps = sign_receipt(ring, ring->current, lane, next, due);
    ring_go_outside(ring);
    if (--ring->hot_left == 0)
        ring->streak = RING_BATCH; /* the next lane's turn */
    if (sleeps)
        wake_sender(ring, ring->current);
    ring_pass_on(ring, ring->current);
    return 1;
}
