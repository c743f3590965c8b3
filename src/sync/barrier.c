/* sync/barrier.c - owns the barrier: one word, so that there is nothing in between to die in.
 *
 * SPDX-License-Identifier: MIT
 *
 * The word holds how many have come, in its upper 16 bits, and how often all had, in its lower 48.  Coming, giving
 * up and going on are one compare-and-swap each.  48 bits: at a million times a second they last for nine years, so
 * that who was stopped never takes a later meeting for its own (H21). */
#include <errno.h>
#include <wherry/barrier.h>

#include "base/futex.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/object.h"

#define MAGIC UINT32_C(0x62617272)
#define ONE (UINT64_C(1) << 48)
#define MEETING (ONE - 1)

struct WHERRY__SYNC_MEMORY memory {
    _Atomic uint32_t magic;
    uint32_t parties;
    _Atomic uint64_t word;
};
_Static_assert(sizeof(struct memory) <= sizeof(struct wherry_barrier), "room");
_Static_assert(sizeof(struct wherry_barrier) == 64, "what the header promises");

int wherry_barrier_init(struct wherry_barrier *barrier, unsigned parties)
{
    struct memory *memory = (struct memory *)barrier;
    int result = wherry__sync_aligned(barrier, "barrier");
    if (result < 0)
        return result;
    if (parties < 1 || parties > WHERRY_BARRIER_MOST)
        return wherry__fail(EINVAL, "a barrier is for 1 to %d parties, not %u", WHERRY_BARRIER_MOST, parties);
    memory->parties = parties;
    atomic_store_explicit(&memory->word, 0, memory_order_relaxed);
    /* pairs with the acquire in wherry__sync_is() */
    atomic_store_explicit(&memory->magic, MAGIC, memory_order_release);
    return 0;
}

void wherry_barrier_fini(struct wherry_barrier *barrier)
{
    struct memory *memory = (struct memory *)barrier;
    if (!barrier || !wherry__sync_is(&memory->magic, MAGIC))
        return;
    atomic_store_explicit(&memory->magic, 0, memory_order_release);
    /* those who wait see the next meeting, and then that there is none */
    atomic_store_explicit(&memory->word, (atomic_load_explicit(&memory->word, memory_order_relaxed) + 1) & MEETING,
                          memory_order_release);
    wherry__futex_wake(wherry__futex_low(&memory->word));
}

/* Whether the deadline leaves the others waiting for one less; false: all have come after all. */
static bool give_up(struct memory *memory, uint64_t meeting)
{
    uint64_t word = atomic_load_explicit(&memory->word, memory_order_acquire);
    while ((word & MEETING) == meeting)
        if (atomic_compare_exchange_weak_explicit(&memory->word, &word, word - ONE, memory_order_acquire,
                                                  memory_order_acquire))
            return true;
    return false;
}

static int not_all(wherry_time deadline)
{
    return wherry__sync_late(deadline, "not all have come to the barrier, and no time was given to wait",
                             "not all had come to the barrier by the deadline");
}

static int wait_for_others(struct memory *memory, uint64_t meeting, wherry_time deadline)
{
    int result = 0;
    /* pairs with the release of all who came: what they did before is seen */
    while ((atomic_load_explicit(&memory->word, memory_order_acquire) & MEETING) == meeting) {
        if (result == 0 && wherry__deadline_passed(deadline))
            result = not_all(deadline);
        if (result < 0 && give_up(memory, meeting))
            return result;
        if (result == 0)
            result = wherry__sync_sleep(&memory->word, meeting, deadline);
    }
    return wherry__sync_is(&memory->magic, MAGIC) ? 0 : wherry__sync_ended();
}

int wherry_barrier_wait(struct wherry_barrier *barrier, wherry_time deadline)
{
    struct memory *memory = (struct memory *)barrier;
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(barrier, "barrier");
    uint64_t word = atomic_load_explicit(&memory->word, memory_order_relaxed), next;
    bool patient = !wherry__deadline_passed(deadline), last;
    do {
        last = (word / ONE) + 1 >= memory->parties;
        if (!last && !patient)
            return not_all(deadline);
        next = last ? (word + 1) & MEETING : word + ONE;
        /* release: what this one did before is seen by all; acquire: the last one sees what the others did */
    } while (
        !atomic_compare_exchange_weak_explicit(&memory->word, &word, next, memory_order_acq_rel, memory_order_relaxed));
    if (!last)
        return wait_for_others(memory, word & MEETING, deadline);
    if (memory->parties > 1)
        wherry__futex_wake(wherry__futex_low(&memory->word));
    return 1;
}
