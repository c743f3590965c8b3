/* bench/ring_slots.h - three queues of fixed slots, as they are commonly written: a sequence word in each slot, two
 * indices with cached copies, and Vyukov's for many senders and receivers.
 *
 * SPDX-License-Identifier: MIT
 *
 * All are called with a message to copy in and a buffer to copy out to, and wait inside.  None survives a death. */
#ifndef BENCH_RING_SLOTS_H
#define BENCH_RING_SLOTS_H

#include <stddef.h>
#include <stdint.h>

/* In the mapping.  Each index has a line of its own. */
struct slots_shared {
    _Alignas(64) uint64_t tail; /* messages put */
    _Alignas(64) uint64_t head; /* messages taken */
    _Alignas(64) unsigned char data[];
};

/* One end's own part. */
struct slots {
    struct slots_shared *shared;
    size_t stride; /* bytes of a slot: whole cache lines */
    uint64_t count;
    uint64_t place;       /* messages that went through this end */
    uint64_t index;       /* place % count */
    uint64_t other_index; /* the other end's, as last seen */
};

/* Once, in the parent: slots for messages of `largest` bytes in `footprint` bytes; Vyukov's are a power of two. */
void slots_lay_out(void *memory, size_t footprint, size_t largest);
void slots_attach(struct slots *slots, void *memory, size_t footprint, size_t largest);
void vyukov_attach(struct slots *slots, void *memory, size_t footprint, size_t largest);

/* A sequence word in each slot: each end looks at the slot alone. */
void slots_put(struct slots *slots, const void *data, size_t size);
int slots_take(struct slots *slots, void *buffer, size_t capacity, size_t *ret_size);

/* Head and tail on lines of their own; each end asks for the other's only when its copy says full or empty. */
void cached_put(struct slots *slots, const void *data, size_t size);
int cached_take(struct slots *slots, void *buffer, size_t capacity, size_t *ret_size);

/* Many ends.  A full or empty queue says false; the waiting ones give the core away. */
_Bool vyukov_try_put(struct slots *slots, const void *data, size_t size);
_Bool vyukov_try_take(struct slots *slots, void *buffer, size_t capacity, size_t *ret_size);

#endif
