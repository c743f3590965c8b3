/* bench/ring_inband.h - the unsafe ring: one sender, one receiver, headers beside the payload, nobody may die.
 *
 * SPDX-License-Identifier: MIT
 *
 * The bound that a safe ring of the same shape is held to.  A frame is a header of 8 bytes, which holds size + 1 once
 * the frame is committed and 0 before, and the payload padded to 8 bytes.  The receiver polls the header of the next
 * frame, so that a message of 56 bytes travels in one or two cache lines; where to go on reading is its own affair, and
 * it publishes that each eighth of the ring.  A frame is contiguous: what is left before the end of the ring is
 * skipped.
 *
 * All words that both ends touch are plain integers, touched through the compiler's __atomic functions alone. */
#ifndef BENCH_RING_INBAND_H
#define BENCH_RING_INBAND_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* In the mapping; all zero is an empty ring. */
struct inband_shared {
    _Alignas(64) uint64_t head; /* bytes that the sender may write over again */
    _Alignas(64) unsigned char data[];
};

/* One end's own part. */
struct inband {
    struct inband_shared *shared;
    uint64_t capacity; /* a power of two */
    uint64_t place;    /* bytes gone through; never wraps */
    uint64_t head;     /* sender: as last seen; receiver: as last published */
};

#define INBAND_SKIP UINT64_MAX /* a header: the next frame begins at the start of the ring */

static inline void inband_attach(struct inband *ring, void *memory, size_t capacity)
{
    *ring = (struct inband){.shared = memory, .capacity = capacity};
}

static inline uint64_t inband_frame(size_t size)
{
    return sizeof(uint64_t) + ((size + 7) & ~(uint64_t)7);
}

static inline uint64_t *inband_header(const struct inband *ring, uint64_t place)
{
    return (uint64_t *)(void *)(ring->shared->data + (place & (ring->capacity - 1)));
}

/* The last few bytes of a message decide little; what counts is that short copies are no calls. */
static inline void inband_copy(unsigned char *to, const unsigned char *from, size_t size)
{
    if (size > 128) {
        memcpy(to, from, size);
        return;
    }
    while (size >= 16) {
        memcpy(to, from, 16);
        to += 16, from += 16, size -= 16;
    }
    if (size & 8) {
        memcpy(to, from, 8);
        to += 8, from += 8;
    }
    for (size &= 7; size > 0; size--)
        *to++ = *from++;
}

/* Send a message of at most a quarter of the ring; waits for room. */
static inline void inband_put(struct inband *ring, const void *data, size_t size)
{
    uint64_t frame = inband_frame(size), at = ring->place & (ring->capacity - 1), to_end = ring->capacity - at;
    uint64_t skip = frame > to_end ? to_end : 0;
    uint64_t end = ring->place + skip + frame + sizeof(uint64_t); /* with the header that is cleared */
    while (__builtin_expect(end - ring->head > ring->capacity, 0))
        ring->head = __atomic_load_n(&ring->shared->head, __ATOMIC_ACQUIRE);
    if (__builtin_expect(skip != 0, 0)) {
        __atomic_store_n(inband_header(ring, 0), 0, __ATOMIC_RELAXED);
        __atomic_store_n(inband_header(ring, at), INBAND_SKIP, __ATOMIC_RELEASE);
        ring->place += skip;
        at = 0;
    }
    /* Whoever sees the commit below finds the next header cleared. */
    __atomic_store_n(inband_header(ring, at + frame), 0, __ATOMIC_RELAXED);
    inband_copy(ring->shared->data + at + sizeof(uint64_t), data, size);
    __atomic_store_n(inband_header(ring, at), size + 1, __ATOMIC_RELEASE);
    ring->place += frame;
}

/* Receive a message; waits for one.  Returns 1, or -1: it is larger than the buffer and remains. */
static inline int inband_take(struct inband *ring, void *buffer, size_t capacity, size_t *ret_size)
{
    uint64_t header;
    for (;;) {
        while ((header = __atomic_load_n(inband_header(ring, ring->place), __ATOMIC_ACQUIRE)) == 0)
            ;
        if (__builtin_expect(header != INBAND_SKIP, 1))
            break;
        ring->place += ring->capacity - (ring->place & (ring->capacity - 1));
    }
    size_t size = (size_t)(header - 1);
    if (size > capacity)
        return -1;
    inband_copy(buffer, (const unsigned char *)inband_header(ring, ring->place) + sizeof header, size);
    *ret_size = size;
    ring->place += inband_frame(size);
    if (ring->place - ring->head >= ring->capacity / 8) {
        ring->head = ring->place;
        __atomic_store_n(&ring->shared->head, ring->head, __ATOMIC_RELEASE);
    }
    return 1;
}

/* The same, called as a library is called: ring_inband.c, a file of its own so that nothing is inlined. */
void inband_call_put(struct inband *ring, const void *data, size_t size);
int inband_call_take(struct inband *ring, void *buffer, size_t capacity, size_t *ret_size);

#endif
