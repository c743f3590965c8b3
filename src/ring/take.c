/* ring/take.c - owns the long way to a message: whose turn it is, what a lane holds, when the end has come.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "ring/receive.h"
#include "ring/ring.h"

/* ---- what a lane has ---- */

static int refuse_lane(struct wherry__ring *ring, unsigned i)
{
    ring->bad |= UINT64_C(1) << i;
    return wherry__fail(EBADMSG,
                        "%s: the sender at place %u wrote something that is no message; its lane is left alone",
                        ring->wish.url, i);
}

/* Rule 11: the one before us died with this message in its hands. */
static int accept_again(struct wherry__ring *ring, struct ring_message *ret)
{
    if (ring->wish.drops) {
        wherry__ring_done(ring);
        ring->dropped++;
        return -ESTALE; /* the lane went with it: begin anew */
    }
    ring->again = ret->again = true;
    return 1;
}

/* The lane is ours, and `word` is at its position.  1; -EBADMSG; -ESTALE: dropped. */
static inline int accept_message(struct wherry__ring *ring, unsigned i, uint64_t position, uint64_t word,
                                 struct ring_message *ret)
{
    uint32_t size = ring_word_size(word);
    ring->taken = true;
    ring->again = false;
    ring->hot_left = 0;
    ring->current = i;
    ring->taken_at = position;
    ring->taken_next = position + ring_frame(size);
    if (__builtin_expect(!(word & RING_COMMITTED) || size > ring->capacity / 2 || position % 8, 0)) {
        wherry__ring_put_back(ring);
        return refuse_lane(ring, i);
    }
    if (__builtin_expect(size > ring->largest, 0)) {
        wherry__ring_done(ring);
        ring->dropped++;
        return wherry__fail(EBADMSG, "%s: a message of %u bytes, which is over max_message (%zu), was dropped",
                            ring->wish.url, size, (size_t)ring->largest);
    }
    ret->data = ring_frame_at(ring, ring->lanes[i], position) + RING_WORD;
    ret->size = size;
    ret->type = ring_word_type(word);
    ret->again = false;
    return __builtin_expect(ring_load(&ring->control->lanes[i].receiver.lent) == position, 0) ? accept_again(ring, ret)
                                                                                              : 1;
}

/* Rule 9.  1; -EAGAIN: nothing there, or somebody else's; -EBADMSG; -ESTALE. */
static int take_shared(struct wherry__ring *ring, unsigned i, struct ring_message *ret)
{
    if (!ring_own(ring, i))
        return -EAGAIN;
    uint64_t position = ring_load(&ring->control->lanes[i].receiver.position);
    uint64_t word = ring_word_of(ring_frame_at(ring, ring->lanes[i], position));
    if (word == 0) {
        ring_disown(ring, i);
        return -EAGAIN;
    }
    return accept_message(ring, i, position, word, ret);
}

/* Rule 8: the bias is ours and `inside` says so; a lane with a mark is a dead one's or lent. */
static inline int take_biased(struct wherry__ring *ring, unsigned i, struct ring_message *ret)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    uint64_t position = ring_load(&lane->receiver.position);
    uint64_t word = ring_word_of(ring_frame_at(ring, ring->lanes[i], position));
    if (word == 0 || __builtin_expect(ring_load(&lane->receiver.owner) != 0, 0))
        return -EAGAIN;
    ring->shared = false;
    return accept_message(ring, i, position, word, ret);
}

static int take_from(struct wherry__ring *ring, bool biased, unsigned i, struct ring_message *ret)
{
    return biased ? take_biased(ring, i, ret) : take_shared(ring, i, ret);
}

/* ---- all lanes ---- */

/* The current one first unless it had its turn. */
static int take_any(struct wherry__ring *ring, bool biased, struct ring_message *ret)
{
    uint64_t lanes = ring->mapped & ~ring->bad;
    unsigned current = ring->current;
    if (__builtin_expect((lanes >> current & 1) && ring->streak < RING_BATCH, 1)) {
        int result = take_from(ring, biased, current, ret);
        if (__builtin_expect(result != -EAGAIN, 1)) {
            ring->streak++;
            return result;
        }
    }
    ring->streak = 0;
    /* those behind the current one, then those before it, itself last */
    uint64_t behind = current == 63 ? 0 : ~UINT64_C(0) << (current + 1);
    for (int round = 0; round < 2; round++)
        for (uint64_t left = lanes & (round == 0 ? behind : ~behind); left; left &= left - 1) {
            int result = take_from(ring, biased, (unsigned)__builtin_ctzll(left), ret);
            if (result != -EAGAIN)
                return result;
        }
    return -EAGAIN;
}

/* Rule 8: as the biased one, if we are. */
static inline bool go_inside(struct wherry__ring *ring)
{
    if (__builtin_expect(ring_load(&ring->control->shared.bias) != ring->mark, 0))
        return false;
    if (__builtin_expect(ring_go_inside(ring), 1))
        return true;
    ring_go_outside(ring);
    return false;
}

static int take_one(struct wherry__ring *ring, struct ring_message *ret)
{
    if (__builtin_expect(go_inside(ring), 1)) {
        CRASH(receive_inside);
        int result = take_any(ring, true, ret);
        if (result != 1)
            ring_go_outside(ring);
        return result;
    }
    uint64_t bias = ring_load(&ring->control->shared.bias);
    return bias == 0 || wherry__ring_revoke(ring, bias) ? take_any(ring, false, ret) : -EAGAIN;
}

static inline int take_once(struct wherry__ring *ring, struct ring_message *ret)
{
    int result;
    do
        result = take_one(ring, ret);
    while (__builtin_expect(result == -ESTALE, 0));
    return result;
}

/* ---- nothing there: who is alive, and is it the end? ---- */

/* Somebody came or went, or it is time: look at the places.  1: worth another look at the lanes. */
static bool look_round_if_due(struct wherry__ring *ring, unsigned *ret_senders, uint64_t *ret_joined)
{
    enum { SELDOM = 16 };
    uint32_t changes = atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire);
    bool due = ring->tick || changes != ring->changes;
    if (!due && ++ring->empties % SELDOM == 0) {
        wherry_time now = wherry_now();
        due = now - ring->looked_at >= RING_TICK;
    }
    if (!due)
        return false;
    ring->tick = false;
    ring->changes = changes;
    ring->looked_at = wherry_now();
    struct stat status;
    ring->gone = !ring->door && wherry__sys.fstat(wherry__life_fd(ring->life), &status) == 0 && status.st_nlink == 0;
    /* acquire: whoever is counted here is seen by the look round, unless it has gone again */
    *ret_joined = atomic_load_explicit(&ring->control->shared.joined, memory_order_acquire);
    *ret_senders = wherry__ring_look_round(ring);
    return true;
}

/* Nobody sends any more, and the lanes were seen empty after that was seen.  `joined` is from before the look round:
 * the end of one that came since is still to be told. */
static bool is_end(struct wherry__ring *ring, unsigned senders, uint64_t joined)
{
    if (ring->keep || ring->gone)
        return ring->gone;
    if (senders > 0 || joined == ring->ended_at)
        return false;
    if (ring_any_word(ring))
        return false; /* somebody else's, who is not done */
    ring->ended_at = joined;
    return true;
}

/* A lane that cannot be mapped may hold messages: that there is nothing nobody knows. */
static int take_mapped(struct wherry__ring *ring, struct ring_message *ret)
{
    int result = take_once(ring, ret);
    if (result != -EAGAIN || !ring->lacks_lanes)
        return result;
    return wherry__fail(ENOMEM, "%s: no memory to map a sender's lane (%llu bytes, twice); its messages wait",
                        ring->wish.url, (unsigned long long)ring->capacity);
}

static int take_slowly(struct wherry__ring *ring, struct ring_message *ret)
{
    unsigned senders = 0;
    uint64_t joined = 0;
    if (!look_round_if_due(ring, &senders, &joined)) {
        if (ring_load(&ring->control->shared.lanes) == ring->mapped)
            return -EAGAIN;
        wherry__ring_map_lanes(ring);
        return take_mapped(ring, ret);
    }
    wherry__ring_map_lanes(ring);
    int result = take_mapped(ring, ret);
    if (result == -EAGAIN && is_end(ring, senders, joined))
        return 0;
    /* behind what is left comes the end: look again when the lanes are empty, not a sleep later */
    if (result == 1 && senders == 0)
        ring->tick = true;
    return result;
}

int wherry__ring_take(struct wherry__ring *ring, struct ring_message *ret)
{
    if (__builtin_expect(ring->taken, 0)) /* offered, and not taken */
        wherry__ring_put_back(ring);
    if (__builtin_expect(ring->serves, 0))
        wherry__ring_glance_at_door(ring);
    if (__builtin_expect(ring->streak >= RING_BATCH, 0) && ring_load(&ring->control->shared.lanes) != ring->mapped)
        wherry__ring_map_lanes(ring); /* who came meanwhile has a turn, too, though the others never run dry */
    int result = take_once(ring, ret);
    if (__builtin_expect(result == -EAGAIN, 0)) {
        ring->bell_seen = atomic_load_explicit(&ring->me->bell, memory_order_acquire);
        result = take_slowly(ring, ret);
    }
    if (__builtin_expect(ring->armed, 0) && result != -EAGAIN)
        wherry__ring_disarm(ring);
    if (__builtin_expect(ring->owes, 0))
        wherry__ring_hand_on(ring);
    return result;
}
