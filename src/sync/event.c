/* sync/event.c - owns the event: a count of changes, odd while it is set.
 *
 * SPDX-License-Identifier: MIT
 *
 * Who waits for a plain event notes the count, which is even then, and passes when it has moved: it was set in between,
 * even if it is clear again.  An automatic one is taken by the compare-and-swap that clears it. */
#include <errno.h>
#include <limits.h>
#include <wherry/event.h>

#include "base/futex.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/object.h"

#define MAGIC UINT32_C(0x65766e74)

struct WHERRY__SYNC_MEMORY memory {
    _Atomic uint32_t magic;
    uint32_t flags;
    _Atomic uint64_t changes;
    _Atomic uint32_t waiters; /* who may sleep */
};
_Static_assert(sizeof(struct memory) <= sizeof(struct wherry_event), "room");
_Static_assert(sizeof(struct wherry_event) == 64, "what the header promises");

int wherry_event_init(struct wherry_event *event, unsigned flags)
{
    struct memory *memory = (struct memory *)event;
    int result = wherry__sync_aligned(event, "event");
    if (result < 0)
        return result;
    if (flags & ~WHERRY_EVENT_AUTOMATIC)
        return wherry__fail(EINVAL, "an event has no flags 0x%x: give 0 or WHERRY_EVENT_AUTOMATIC", flags);
    memory->flags = flags;
    atomic_store_explicit(&memory->changes, 0, memory_order_relaxed);
    atomic_store_explicit(&memory->waiters, 0, memory_order_relaxed);
    /* pairs with the acquire in wherry__sync_is() */
    atomic_store_explicit(&memory->magic, MAGIC, memory_order_release);
    return 0;
}

void wherry_event_fini(struct wherry_event *event)
{
    struct memory *memory = (struct memory *)event;
    if (!event || !wherry__sync_is(&memory->magic, MAGIC))
        return;
    atomic_store_explicit(&memory->magic, 0, memory_order_release);
    atomic_fetch_add_explicit(&memory->changes, 2, memory_order_seq_cst); /* what sleeps looks; set stays set */
    wherry__futex_wake(wherry__futex_low(&memory->changes));
}

int wherry_event_set(struct wherry_event *event)
{
    struct memory *memory = (struct memory *)event;
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(event, "event");
    uint64_t changes = atomic_load_explicit(&memory->changes, memory_order_relaxed);
    /* Written even if it is set already: who takes it then sees what was written before this call, and who took it
     * just before leaves it clear for us to set.  Sequentially consistent with the look at the waiters (H23). */
    while (!atomic_compare_exchange_weak_explicit(&memory->changes, &changes, changes | 1, memory_order_seq_cst,
                                                  memory_order_relaxed))
        ;
    if (atomic_load_explicit(&memory->waiters, memory_order_seq_cst) > 0)
        wherry__futex_wake_some(wherry__futex_low(&memory->changes),
                                memory->flags & WHERRY_EVENT_AUTOMATIC ? 1 : INT_MAX);
    return 0;
}

/* Whether it was set, and this call cleared it. */
static bool take(struct memory *memory)
{
    uint64_t changes = atomic_load_explicit(&memory->changes, memory_order_relaxed);
    while (changes & 1)
        /* acquire: pairs with set(); what was written before it is seen */
        if (atomic_compare_exchange_weak_explicit(&memory->changes, &changes, changes + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

int wherry_event_clear(struct wherry_event *event)
{
    struct memory *memory = (struct memory *)event;
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(event, "event");
    return take(memory);
}

/* May this waiter, who came when the count was `seen`, pass? */
static bool pass(struct memory *memory, uint64_t seen)
{
    if (memory->flags & WHERRY_EVENT_AUTOMATIC)
        return take(memory);
    uint64_t changes = atomic_load_explicit(&memory->changes, memory_order_acquire); /* pairs with set() */
    return changes & 1 || changes != seen;
}

static int is_not_set(wherry_time deadline)
{
    return wherry__sync_late(deadline, "the event is not set", "the event was not set until the deadline");
}

static int wait_until_set(struct memory *memory, uint64_t seen, wherry_time deadline)
{
    for (;;) {
        uint64_t changes = atomic_load_explicit(&memory->changes, memory_order_relaxed);
        bool passes = pass(memory, seen);
        if (!wherry__sync_is(&memory->magic, MAGIC)) /* asked after the count, which fini() moves, too */
            return wherry__sync_ended();
        if (passes)
            return 0;
        if (wherry__deadline_passed(deadline))
            return is_not_set(deadline);
        int result = changes & 1 ? 0 : wherry__sync_sleep(&memory->changes, changes, deadline);
        if (result < 0)
            return result;
    }
}

int wherry_event_wait(struct wherry_event *event, wherry_time deadline)
{
    struct memory *memory = (struct memory *)event;
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(event, "event");
    uint64_t seen = atomic_load_explicit(&memory->changes, memory_order_relaxed);
    if (pass(memory, seen))
        return 0;
    if (wherry__deadline_passed(deadline))
        return is_not_set(deadline);
    /* sequentially consistent, before the kernel looks at the count, which is behind a full barrier of its own:
     * either it finds the event set, or set() finds this waiter (H23) */
    atomic_fetch_add_explicit(&memory->waiters, 1, memory_order_seq_cst);
    int result = wait_until_set(memory, seen, deadline);
    atomic_fetch_sub_explicit(&memory->waiters, 1, memory_order_relaxed);
    return result;
}
