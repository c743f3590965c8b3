/* bench/ring_handoff.h - two buffers that change hands: the bound for big messages written and read in place.
 *
 * SPDX-License-Identifier: MIT
 *
 * A flag each: 0, the sender's to fill; 1, the receiver's to read. */
#ifndef BENCH_RING_HANDOFF_H
#define BENCH_RING_HANDOFF_H

#include <stddef.h>
#include <stdint.h>

/* In the mapping; all zero: both are the sender's. */
struct handoff_shared {
    struct {
        _Alignas(64) uint64_t full;
    } flags[2];
    _Alignas(64) unsigned char data[];
};

/* One end's own part. */
struct handoff {
    struct handoff_shared *shared;
    size_t half; /* bytes of one buffer */
    unsigned turn;
};

static inline void handoff_attach(struct handoff *handoff, void *memory, size_t footprint)
{
    *handoff = (struct handoff){.shared = memory, .half = footprint / 2};
}

/* Wait until the next buffer is in the hands of the end that calls: its flag says `full`. */
static inline unsigned char *handoff_wait(const struct handoff *handoff, uint64_t full)
{
    while (__atomic_load_n(&handoff->shared->flags[handoff->turn].full, __ATOMIC_ACQUIRE) != full)
        ;
    return handoff->shared->data + handoff->turn * handoff->half;
}

/* Hand it to the other end. */
static inline void handoff_give(struct handoff *handoff, uint64_t full)
{
    __atomic_store_n(&handoff->shared->flags[handoff->turn].full, full, __ATOMIC_RELEASE);
    handoff->turn ^= 1;
}

#endif
