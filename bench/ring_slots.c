/* bench/ring_slots.c - queues of fixed slots.
 *
 * SPDX-License-Identifier: MIT */
#include "ring_slots.h"

#include <stdbool.h>
#include <string.h>

/* The sequence word of slot i says p when the p-th message may be put there (p % count == i), and p + 1 when it is
 * there to be taken.  The queue with two indices leaves it alone, and has it all the same: slots are equally large. */
struct slot {
    uint64_t sequence;
    uint64_t size;
    unsigned char data[];
};

static size_t stride_of(size_t largest)
{
    return (sizeof(struct slot) + largest + 63) & ~(size_t)63;
}

static struct slot *slot_at(const struct slots *slots, uint64_t index)
{
    return (struct slot *)(void *)(slots->shared->data + index * slots->stride);
}

void slots_attach(struct slots *slots, void *memory, size_t footprint, size_t largest)
{
    *slots = (struct slots){.shared = memory, .stride = stride_of(largest)};
    slots->count = footprint / slots->stride;
}

void vyukov_attach(struct slots *slots, void *memory, size_t footprint, size_t largest)
{
    slots_attach(slots, memory, footprint, largest);
    while (slots->count & (slots->count - 1))
        slots->count &= slots->count - 1;
}

void slots_lay_out(void *memory, size_t footprint, size_t largest)
{
    struct slots slots;
    slots_attach(&slots, memory, footprint, largest);
    for (uint64_t i = 0; i < slots.count; i++)
        slot_at(&slots, i)->sequence = i;
}

static void go_on(struct slots *slots)
{
    slots->place++;
    if (++slots->index == slots->count)
        slots->index = 0;
}

static void fill(struct slot *slot, const void *data, size_t size)
{
    slot->size = size;
    memcpy(slot->data, data, size);
}

static bool empty_out(struct slot *slot, void *buffer, size_t capacity, size_t *ret_size)
{
    if (slot->size > capacity)
        return false;
    *ret_size = slot->size;
    memcpy(buffer, slot->data, slot->size);
    return true;
}

/* ---- a sequence word in each slot ---- */

void slots_put(struct slots *slots, const void *data, size_t size)
{
    struct slot *slot = slot_at(slots, slots->index);
    while (__atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) != slots->place)
        ;
    fill(slot, data, size);
    __atomic_store_n(&slot->sequence, slots->place + 1, __ATOMIC_RELEASE);
    go_on(slots);
}

int slots_take(struct slots *slots, void *buffer, size_t capacity, size_t *ret_size)
{
    struct slot *slot = slot_at(slots, slots->index);
    while (__atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) != slots->place + 1)
        ;
    if (!empty_out(slot, buffer, capacity, ret_size))
        return -1;
    __atomic_store_n(&slot->sequence, slots->place + slots->count, __ATOMIC_RELEASE);
    go_on(slots);
    return 1;
}

/* ---- two indices with cached copies ---- */

void cached_put(struct slots *slots, const void *data, size_t size)
{
    while (slots->place - slots->other_index == slots->count)
        slots->other_index = __atomic_load_n(&slots->shared->head, __ATOMIC_ACQUIRE);
    fill(slot_at(slots, slots->index), data, size);
    go_on(slots);
    __atomic_store_n(&slots->shared->tail, slots->place, __ATOMIC_RELEASE);
}

int cached_take(struct slots *slots, void *buffer, size_t capacity, size_t *ret_size)
{
    while (slots->other_index == slots->place)
        slots->other_index = __atomic_load_n(&slots->shared->tail, __ATOMIC_ACQUIRE);
    if (!empty_out(slot_at(slots, slots->index), buffer, capacity, ret_size))
        return -1;
    go_on(slots);
    __atomic_store_n(&slots->shared->head, slots->place, __ATOMIC_RELEASE);
    return 1;
}

/* ---- Vyukov's: many senders, many receivers ---- */

/* Claim the next place of `line` whose slot has come as far as place + `ready`; NULL when none has. */
static struct slot *claim(struct slots *slots, uint64_t *line, uint64_t ready, uint64_t *ret_place)
{
    uint64_t place = __atomic_load_n(line, __ATOMIC_RELAXED);
    for (;;) {
        struct slot *slot = slot_at(slots, place & (slots->count - 1));
        int64_t ahead = (int64_t)(__atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) - (place + ready));
        if (ahead < 0)
            return NULL;
        if (ahead > 0) { /* somebody else was faster */
            place = __atomic_load_n(line, __ATOMIC_RELAXED);
            continue;
        }
        if (__atomic_compare_exchange_n(line, &place, place + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            *ret_place = place;
            return slot;
        }
    }
}

bool vyukov_try_put(struct slots *slots, const void *data, size_t size)
{
    uint64_t place;
    struct slot *slot = claim(slots, &slots->shared->tail, 0, &place);
    if (!slot)
        return false;
    fill(slot, data, size);
    __atomic_store_n(&slot->sequence, place + 1, __ATOMIC_RELEASE);
    return true;
}

bool vyukov_try_take(struct slots *slots, void *buffer, size_t capacity, size_t *ret_size)
{
    uint64_t place;
    struct slot *slot = claim(slots, &slots->shared->head, 1, &place);
    if (!slot)
        return false;
    *ret_size = slot->size < capacity ? slot->size : capacity; /* a message claimed cannot be put back */
    memcpy(buffer, slot->data, *ret_size);
    __atomic_store_n(&slot->sequence, place + slots->count, __ATOMIC_RELEASE);
    return true;
}
