/* ring/bias.c - owns rule 8: how a receiver comes to have all lanes to itself, and how another ends that.
 *
 * SPDX-License-Identifier: MIT */
#include "ring/receive.h"
#include "ring/ring.h"

bool wherry__ring_revoke(struct wherry__ring *ring, uint64_t bias)
{
    struct ring_shared *shared = &ring->control->shared;
    uint64_t mark = bias & ~RING_REVOKED;
    unsigned place = ring_mark_place(mark);
    if (!(bias & RING_REVOKED) && !atomic_compare_exchange_strong(&shared->bias, &bias, bias | RING_REVOKED))
        return bias == 0;
    CRASH(receive_revoked);
    if (mark == ring->mark) { /* our own: we are outside */
        bias = mark | RING_REVOKED;
        return atomic_compare_exchange_strong(&shared->bias, &bias, 0) || bias == 0;
    }
    wherry__barrier_all(ring->fenced); /* from here on it sees the word when it says `inside`, or we see `inside` */
    if (place >= RING_PLACES)
        return false;
    struct ring_place *other = &ring->control->places[place];
    bool same = (atomic_load_explicit(&other->epoch, memory_order_acquire) & 0x7fffffff) == ring_mark_epoch(mark);
    if (same && atomic_load_explicit(&other->inside, memory_order_acquire) &&
        (!ring->tick || wherry__life_alive(ring->life, place)))
        return false;
    bias = mark | RING_REVOKED;
    return atomic_compare_exchange_strong(&shared->bias, &bias, 0) || bias == 0;
}

/* No other receiver lives.  The fences pair with the one after a place is published (join.c). */
void wherry__ring_seek_bias(struct wherry__ring *ring, unsigned others)
{
    struct ring_shared *shared = &ring->control->shared;
    uint64_t none = 0;
    if (others || ring_load(&shared->bias) != 0 || !atomic_compare_exchange_strong(&shared->bias, &none, ring->mark))
        return;
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < ring->places; i++)
        if (i != ring->place && atomic_load(&ring->control->places[i].state) == RING_RECEIVER &&
            wherry__life_alive(ring->life, i)) {
            uint64_t mine = ring->mark;
            if (!atomic_compare_exchange_strong(&shared->bias, &mine, 0)) {
                mine = ring->mark | RING_REVOKED;
                atomic_compare_exchange_strong(&shared->bias, &mine, 0);
            }
            return;
        }
}
