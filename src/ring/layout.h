/* ring/layout.h - the memory of a ring, byte for byte, apart from all who use it.  LAYOUT.md has the drawing and the
 * rules.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_RING_LAYOUT_H
#define WHERRY_RING_LAYOUT_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC UINT64_C(0x31676e6972797277) /* "wryring1" */
enum {
    RING_VERSION = 1,
    RING_PLACES = 64,
    RING_LINE = 64,
    RING_SECRET = 16,
    RING_WORD = 8,                         /* bytes of a frame before its payload */
    RING_CONTROL = 32768,                  /* bytes before lane 0 */
    RING_LEAST_CAPACITY = 4096,
    RING_PLACE_LOCK = 1024,                /* the byte that stands for place 0 */
    RING_TICK = 60 * 1000 * 1000,          /* ns: no sleep is longer */
};
#define RING_MOST_CAPACITY (UINT64_C(1) << 31)

/* Rule 1. */
struct ring_head {
    uint64_t magic;
    uint32_t version, places;
    uint64_t capacity; /* bytes of a lane, a power of two */
    uint32_t keep, fenced;
    uint8_t secret[RING_SECRET]; /* of a shared ring: part of the names of its bells */
    uint8_t reserved[16];
};
static_assert(sizeof(struct ring_head) == 64, "ring_head");

/* Rule 5.  On a line that is only read while nobody sleeps and nobody comes. */
struct ring_shared {
    alignas(RING_LINE) _Atomic uint64_t sleepers; /* bit: a receiver of that place */
    _Atomic uint64_t bias;                        /* a receiver's mark, REVOKED or not; 0: none */
    _Atomic uint64_t lanes;                       /* bit: that lane has been used */
    _Atomic uint32_t deserted;                    /* no receiver is left */
    _Atomic uint32_t changes;                     /* somebody came or went: worth a look at the places */
    _Atomic uint64_t joined;                      /* senders, in all */
    _Atomic uint64_t bells;                       /* bit: a FIFO of that place has been made, and may still have its
                                                   * name */
    _Atomic uint64_t keeper;                      /* of a shared ring: the mark of who took its door last */
    uint8_t reserved[8 + 128];
};
static_assert(sizeof(struct ring_shared) == 192, "ring_shared");

enum ring_state { RING_FREE = 0, RING_SENDER = 1, RING_RECEIVER = 2 };
enum ring_wakes_by { RING_BY_FUTEX = 1, RING_BY_FIFO = 2 };

/* Rule 2. */
struct ring_place {
    alignas(RING_LINE) _Atomic uint32_t state;
    _Atomic uint32_t epoch;
    _Atomic uint32_t wakes_by; /* how it is to be woken, bits: a FIFO beside the ring too */
    _Atomic uint32_t pid;    /* for people; never for decisions */
    _Atomic uint64_t waits;  /* times it slept */
    _Atomic uint64_t wakes;  /* times it woke another */
    _Atomic uint32_t uid;    /* in a shared ring: in whose directory its bell is */
    uint8_t reserved[28];
    alignas(RING_LINE) _Atomic uint32_t bell; /* a futex; wakers add to it */
    uint8_t reserved_bell[60];
    alignas(RING_LINE) _Atomic uint32_t inside; /* the biased receiver is within a call */
    uint8_t reserved_inside[60];
};
static_assert(sizeof(struct ring_place) == 192, "ring_place");

struct ring_lane {
    struct {
        alignas(RING_LINE) _Atomic uint64_t position; /* where the next frame goes; behind by one frame at most */
        _Atomic uint64_t messages, bytes;
        uint8_t reserved[40];
    } sender; /* rule 3 */
    struct {
        alignas(RING_LINE) _Atomic uint64_t owner; /* a receiver's mark; rule 7 */
        _Atomic uint64_t position;                 /* of the next message to receive */
        _Atomic uint64_t messages;
        _Atomic uint64_t lent; /* the position of the message that was handed out; UINT64_MAX before the first */
        uint8_t reserved[32];
    } receiver; /* rule 4 */
    struct {
        alignas(RING_LINE) _Atomic uint64_t freed; /* rule 12 */
        uint8_t reserved[56];
    } room;
    struct {
        alignas(RING_LINE) _Atomic uint64_t wake_at; /* the sender sleeps until the position is this; UINT64_MAX: it
                                                      * does not */
        _Atomic uint32_t bell;                       /* a futex */
        uint8_t reserved[52];
    } sleep; /* rule 6 */
};
static_assert(sizeof(struct ring_lane) == 256, "ring_lane");

struct ring_control {
    struct ring_head head;
    struct ring_shared shared;
    struct ring_place places[RING_PLACES];
    struct ring_lane lanes[RING_PLACES];
};
static_assert(offsetof(struct ring_control, shared) == 64, "shared");
static_assert(offsetof(struct ring_control, places) == 256, "places");
static_assert(offsetof(struct ring_control, lanes) == 256 + 64 * 192, "lanes");
static_assert(sizeof(struct ring_control) <= RING_CONTROL, "control");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
              "atomics that a killed process may leave locked");

/* ---- words of frames ---- */

#define RING_COMMITTED UINT32_C(0x80000000)

static inline uint64_t ring_word(uint32_t size, uint32_t type)
{
    return (uint64_t)type << 32 | RING_COMMITTED | size;
}
static inline uint32_t ring_word_size(uint64_t word)
{
    return (uint32_t)word & ~RING_COMMITTED;
}
static inline uint32_t ring_word_type(uint64_t word)
{
    return (uint32_t)(word >> 32);
}
/* Bytes of a frame with its padding. */
static inline uint64_t ring_frame(uint64_t size)
{
    return (RING_WORD + size + 7) & ~UINT64_C(7);
}

/* ---- marks ---- */

#define RING_REVOKED (UINT64_C(1) << 63)

static inline uint64_t ring_mark(unsigned place, uint32_t epoch)
{
    return (uint64_t)(epoch & 0x7fffffff) << 8 | (place + 1);
}
static inline unsigned ring_mark_place(uint64_t mark)
{
    return (unsigned)(mark & 0xff) - 1;
}
static inline uint32_t ring_mark_epoch(uint64_t mark)
{
    return (uint32_t)(mark >> 8) & 0x7fffffff;
}

#endif
