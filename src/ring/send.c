/* ring/send.c - owns the sender's side of a lane.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/time.h"
#include "base/why.h"
#include "ring/ring.h"

/* Below this a second copy costs more than the line that moves twice. */
enum { FIRST_LINE_LAST = 256 };

static _Atomic uint64_t *word_at(const struct wherry__ring *ring, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(ring->bytes + (position & ring->mask));
}

/* Bytes that may be written from the tail on. */
static inline uint64_t room(const struct wherry__ring *ring)
{
    return ring->capacity - (ring->tail - ring->freed);
}

static int nonsense(const struct wherry__ring *ring)
{
    return wherry__fail(EBADMSG, "%s: a receiver wrote an impossible position; remove the ring", ring->wish.url);
}

/* Rule 12: `freed` at each try; `position`, whose line the receiver writes with every message, only when that failed
 * twice in a row, or when much was sent since the last time. */
static int look_for_room(struct wherry__ring *ring, uint64_t needed)
{
    struct ring_lane *lane = ring->lane;
    ring->bell_seen = atomic_load_explicit(&lane->sleep.bell, memory_order_acquire);
    /* acquire: pairs with the receiver's release; its reads of what lies before are done */
    uint64_t freed = atomic_load_explicit(&lane->room.freed, memory_order_acquire);
    /* a hint: what we know from the position may be newer, and one that was stopped may say what was long ago */
    if (freed - ring->freed <= ring->tail - ring->freed)
        ring->freed = freed;
    if (room(ring) >= needed)
        return 0;
    bool asks = ring->failed || ring->tail - ring->asked_at >= ring->capacity / 16;
    ring->failed = true;
    ring->wanted = needed;
    if (!asks)
        return -EAGAIN;
    ring->asked_at = ring->tail;
    uint64_t position = atomic_load_explicit(&lane->receiver.position, memory_order_acquire);
    if (ring->tail - position > ring->capacity)
        return nonsense(ring);
    ring->freed = position;
    return room(ring) >= needed ? 0 : -EAGAIN;
}

/* `deserted` may be left over from a receiver that died in saying it, or from before one came. */
static int refuse_deserted(struct wherry__ring *ring)
{
    struct ring_shared *shared = &ring->control->shared;
    if (wherry__ring_look_round(ring) > 0) {
        atomic_store_explicit(&shared->deserted, 0, memory_order_relaxed);
        return 0;
    }
    return wherry__fail(EPIPE, "%s: nobody is left to receive", ring->wish.url);
}

static int too_big(const struct wherry__ring *ring, size_t size)
{
    return wherry__fail(EMSGSIZE,
                        "%s: a message of %zu bytes is over half of the capacity (%llu); open the ring with capacity=",
                        ring->wish.url, size, (unsigned long long)ring->capacity);
}

/* All that stands between a sender and its lane. */
static inline int make_room(struct wherry__ring *ring, size_t size)
{
    if (__builtin_expect(ring->serves, 0))
        wherry__ring_glance_at_door(ring);
    if (__builtin_expect(size > ring->capacity / 2, 0))
        return too_big(ring, size);
    if (__builtin_expect(atomic_load_explicit(&ring->control->shared.deserted, memory_order_relaxed), 0)) {
        int result = ring->keep ? 0 : refuse_deserted(ring);
        if (result < 0)
            return result;
    }
    uint64_t needed = ring_frame(size) + RING_WORD; /* and the zero word behind */
    if (__builtin_expect(room(ring) < needed, 0)) {
        int result = look_for_room(ring, needed);
        if (result < 0)
            return result;
        ring->failed = false;
    }
    return 0;
}

/* Rules 3, 13 and 14. */
static inline void publish(struct wherry__ring *ring, uint64_t word, uint64_t size)
{
    uint64_t tail = ring->tail, next = tail + ring_frame(size);
    CRASH(send_written);
    /* release: who reads the word with acquire may read the payload, and finds a zero word behind it */
    atomic_store_explicit(word_at(ring, tail), word, memory_order_release);
    CRASH(send_committed);
    ring->tail = next;
    struct ring_lane *lane = ring->lane;
    atomic_store_explicit(&lane->sender.position, next, memory_order_relaxed);
    atomic_store_explicit(&lane->sender.messages, ++ring->messages, memory_order_relaxed);
    atomic_store_explicit(&lane->sender.bytes, ring->payload += size, memory_order_relaxed);
    wherry__barrier_light(ring->fenced);
    if (__builtin_expect(atomic_load_explicit(&ring->control->shared.sleepers, memory_order_relaxed) != 0, 0))
        wherry__ring_wake_receiver(ring);
}

/* With room made. */
static inline void write_frame(struct wherry__ring *ring, const void *data, size_t size, uint32_t type)
{
    uint8_t *to = ring->bytes + (ring->tail & ring->mask) + RING_WORD;
    /* relaxed: the release in publish() orders it */
    atomic_store_explicit(word_at(ring, ring->tail + ring_frame(size)), 0, memory_order_relaxed);
    /* the receiver polls the line of the word: what shares it is written last, so that the line moves once */
    size_t first = RING_LINE - ((uintptr_t)to & (RING_LINE - 1));
    if (size >= FIRST_LINE_LAST) {
        memcpy(to + first, (const uint8_t *)data + first, size - first);
        memcpy(to, data, first);
    } else if (size) {
        memcpy(to, data, size);
    }
    publish(ring, ring_word((uint32_t)size, type), size);
}

int wherry__ring_send(struct wherry__ring *ring, const void *data, size_t size, uint32_t type)
{
    int result = make_room(ring, size);
    if (result == 0)
        write_frame(ring, data, size, type);
    return result;
}

int wherry__ring_send_now(struct wherry__ring *ring, const void *data, size_t size)
{
    if (__builtin_expect(ring->serves, 0))
        wherry__ring_glance_at_door(ring);
    if (__builtin_expect(size > ring->largest || room(ring) < ring_frame(size) + RING_WORD ||
                             atomic_load_explicit(&ring->control->shared.deserted, memory_order_relaxed),
                         0))
        return -EAGAIN;
    write_frame(ring, data, size, 0);
    return 0;
}

int wherry__ring_reserve(struct wherry__ring *ring, size_t size, void **ret_data)
{
    int result = make_room(ring, size);
    if (result < 0)
        return result;
    *ret_data = ring->bytes + (ring->tail & ring->mask) + RING_WORD;
    return 0;
}

void wherry__ring_commit(struct wherry__ring *ring, size_t size, uint32_t type)
{
    atomic_store_explicit(word_at(ring, ring->tail + ring_frame(size)), 0, memory_order_relaxed);
    publish(ring, ring_word((uint32_t)size, type), size);
}

bool wherry__ring_has_room(struct wherry__ring *ring)
{
    uint64_t needed = ring->failed ? ring->wanted : ring_frame(0) + RING_WORD;
    uint64_t position = atomic_load_explicit(&ring->lane->receiver.position, memory_order_acquire);
    return ring->capacity - (ring->tail - position) >= needed ||
           (atomic_load_explicit(&ring->control->shared.deserted, memory_order_relaxed) && !ring->keep);
}

/* ---- waiting ---- */

/* Rule 6: from this position of the receiver on it is worth waking us; a quarter of the lane more than we need, or it
 * would wake us for each message it takes.  Who polls is told as soon as a send would not wait: it has no tick, and the
 * receiver may stop there. */
static uint64_t position_to_wake_at(const struct wherry__ring *ring, enum ring_wakes_by by)
{
    uint64_t least = ring->tail + ring->wanted - ring->capacity;
    if (by == RING_BY_FIFO)
        return least;
    uint64_t better = least + ring->capacity / 4;
    return better - least <= ring->tail - least ? better : ring->tail;
}

static bool spin_for_room(struct wherry__ring *ring)
{
    enum { SPINS = 2000 };
    uint64_t enough = ring->wanted + ring->capacity / 16;
    for (int i = 0; i < SPINS; i++) {
        uint64_t freed = atomic_load_explicit(&ring->lane->room.freed, memory_order_acquire);
        if (ring->capacity - (ring->tail - freed) >= enough && ring->tail - freed <= ring->capacity)
            return true;
        wherry__breathe_once();
    }
    return false;
}

void wherry__ring_arm_sender(struct wherry__ring *ring, enum ring_wakes_by by)
{
    wherry__ring_say_wakes_by(ring, by);
    atomic_store_explicit(&ring->lane->sleep.wake_at, position_to_wake_at(ring, by), memory_order_relaxed);
    wherry__barrier_all(ring->fenced); /* rule 14: from here on a receiver that moves its position sees the word */
    CRASH(sender_asleep);
}

int wherry__ring_wait_for_room(struct wherry__ring *ring, wherry_time deadline)
{
    struct ring_lane *lane = ring->lane;
    if (!ring->tick && spin_for_room(ring))
        return 0;
    wherry_time until = wherry_after(RING_TICK);
    bool last = deadline <= until;
    wherry__ring_arm_sender(ring, RING_BY_FUTEX);
    int result = 0;
    ring->tick = false;
    if (!wherry__ring_has_room(ring)) {
        wherry__ring_count(&ring->me->waits);
        result = wherry__futex_wait(&lane->sleep.bell, ring->bell_seen, last ? deadline : until);
    }
    atomic_store_explicit(&lane->sleep.wake_at, UINT64_MAX, memory_order_relaxed);
    if (result != -ETIMEDOUT)
        return 0;
    ring->tick = true;
    if (wherry__ring_look_round(ring) == 0 && !ring->keep)
        atomic_store_explicit(&ring->control->shared.deserted, 1, memory_order_release);
    return last ? -ETIMEDOUT : 0;
}
