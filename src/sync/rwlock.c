/* sync/rwlock.c - owns the lock of many readers or one writer: a gate, and a place for each reader.
 *
 * SPDX-License-Identifier: MIT
 *
 * Gate and places are robust mutexes, so that the kernel gives back what the dead held.  A reader takes one place.  A
 * writer takes the gate, then all places, the last of which is free once the last reader has gone.  While it has the
 * gate it says so in `writer`, and new readers queue at the gate, so that they do not go before it.
 *
 * Rules:
 *   R1  `writer` is written by the holder of the gate alone.  It is a hint: a dead writer may leave it, and then the
 *       next holder of the gate takes it back.
 *   R2  `state` is written by the holder of all places alone.
 *   R3  A writer sets WRITING once it has all places, and takes it back before it gives up the first.  So whoever has a
 *       place and finds WRITING knows that a writer died while it wrote.
 *   R4  BROKEN says the same of a lock that a writer has had since, without repairing the data. */
#include <errno.h>
#include <wherry/rwlock.h>

#include "base/futex.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/mutex_memory.h"

#define MAGIC (UINT32_C(0x72770000) | WHERRY__LOCK_KIND)

enum { PLACES = WHERRY_RWLOCK_READERS, NO_PLACE = -1 };
enum { WRITING = 1, BROKEN = 2 };

struct place {
    _Alignas(64) pthread_mutex_t lock; /* a line each: readers do not disturb each other (H26) */
};

struct WHERRY__SYNC_MEMORY memory {
    _Atomic uint32_t magic;
    _Atomic uint32_t writer;  /* R1 */
    _Atomic uint32_t state;   /* R2 to R4 */
    _Atomic uint32_t waiters; /* readers who found no place, and may sleep until one is free */
    _Atomic uint64_t freed;   /* how often one was, while somebody might sleep */
    uint64_t pid_namespace;   /* of who made it; never changes */
    struct place gate;
    struct place places[PLACES];
};
_Static_assert(sizeof(struct memory) == sizeof(struct wherry_rwlock), "room");
_Static_assert(sizeof(struct wherry_rwlock) == 2176 && _Alignof(struct wherry_rwlock) == 64,
               "what the header promises");

static struct memory *memory_of(struct wherry_rwlock *lock)
{
    return (struct memory *)lock;
}

static int refuse(const struct memory *memory)
{
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(memory, "rwlock");
    return wherry__lock_namespace(memory->pid_namespace, memory, "rwlock");
}

static inline int usable(const struct memory *memory)
{
    if (wherry__sync_is(&memory->magic, MAGIC) && __builtin_expect(memory->pid_namespace == wherry__pid_namespace(), 1))
        return 0;
    return refuse(memory);
}

/* The call failed. */
static int tell(int code, wherry_time deadline)
{
    switch (code) {
    case EBUSY:
    case ETIMEDOUT:
        return wherry__sync_late(deadline, "the lock is taken; try again, or give a deadline to wait until",
                                 "the lock could not be had until the deadline");
    case EDEADLK:
        return wherry__fail_quietly(EDEADLK, "this thread has the lock already, and would wait for itself");
    default:
        return wherry__fail_errno(code, "one of the mutexes of a lock");
    }
}

/* ---- the mutexes within: who died holding one of them is of no consequence here, R3 tells ---- */

static int take(struct place *place, wherry_time deadline)
{
    int result = pthread_mutex_trylock(&place->lock);
    if (__builtin_expect(result != 0, 0)) {
        result = wherry__lock_slowly(&place->lock, result, deadline);
        if (result == EOWNERDEAD)
            result = pthread_mutex_consistent(&place->lock);
    }
    return result;
}

static int give(struct place *place)
{
    return pthread_mutex_unlock(&place->lock);
}

static bool is_mine(const struct place *place)
{
    return wherry__lock_holder(&place->lock) == wherry__thread_id();
}

static int take_gate(struct memory *memory, wherry_time deadline)
{
    int result = take(&memory->gate, deadline);
    if (result == 0)
        atomic_store_explicit(&memory->writer, 0, memory_order_relaxed); /* R1: a dead one's */
    return result;
}

/* ---- places ---- */

/* Where this thread looks for a place first: the last it had, or any; the same in all locks. */
static _Thread_local unsigned last_place;

static unsigned first_place(void)
{
    if (__builtin_expect(last_place == 0, 0))
        last_place = (unsigned)((uint32_t)wherry__thread_id() * UINT32_C(2654435761) >> 27) + 1;
    return last_place - 1;
}

/* Take a place that is free: its number, or NO_PLACE. */
static int take_place(struct memory *memory)
{
    unsigned first = first_place();
    for (unsigned i = 0; i < PLACES; i++) {
        unsigned place = (first + i) % PLACES;
        if (take(&memory->places[place], WHERRY_NOW) == 0) {
            last_place = place + 1;
            return (int)place;
        }
    }
    return NO_PLACE;
}

static bool has_place(const struct memory *memory)
{
    for (unsigned i = 0; i < PLACES; i++)
        if (is_mine(&memory->places[i]))
            return true;
    return false;
}

/* After a place was given: the readers that found none. */
static void tell_waiters(struct memory *memory)
{
    /* pairs with who counts itself and looks for a place once more; should it be missed, a tick makes it good */
    if (__builtin_expect(atomic_load_explicit(&memory->waiters, memory_order_seq_cst) == 0, 1))
        return;
    atomic_fetch_add_explicit(&memory->freed, 1, memory_order_seq_cst);
    wherry__futex_wake(wherry__futex_low(&memory->freed));
}

/* All places are other readers': sleep until one may be free, or a tick is over.  0, or -errno. */
static int await_place(struct memory *memory, wherry_time deadline)
{
    int result = 0;
    uint64_t seen = atomic_load_explicit(&memory->freed, memory_order_seq_cst);
    atomic_fetch_add_explicit(&memory->waiters, 1, memory_order_seq_cst);
    int place = take_place(memory); /* one that was given before its giver could see this waiter */
    if (place == NO_PLACE)
        result = wherry__sync_sleep(&memory->freed, seen, deadline);
    else
        give(&memory->places[place]);
    atomic_fetch_sub_explicit(&memory->waiters, 1, memory_order_relaxed);
    return result;
}

/* ---- reading ---- */

/* With a place: R3, R4. */
static inline int enter(struct memory *memory, int place)
{
    if (__builtin_expect(atomic_load_explicit(&memory->state, memory_order_relaxed) == 0, 1))
        return 0;
    give(&memory->places[place]);
    tell_waiters(memory);
    return wherry__fail_quietly(EOWNERDEAD,
                                "a writer died, and what the lock protects may be half changed: a writer has to "
                                "repair it, and call wherry_rwlock_consistent()");
}

static int read_slowly(struct memory *memory, wherry_time deadline)
{
    if (is_mine(&memory->gate) || has_place(memory))
        return tell(EDEADLK, deadline); /* a writer waits for this thread at the gate */
    for (;;) {
        int result = take_gate(memory, deadline);
        if (result != 0)
            return tell(result, deadline);
        int place = take_place(memory);
        give(&memory->gate);
        if (place != NO_PLACE)
            return enter(memory, place);
        if (wherry__deadline_passed(deadline))
            return tell(ETIMEDOUT, deadline);
        result = await_place(memory, deadline);
        if (result < 0)
            return result;
    }
}

int wherry_rwlock_read(struct wherry_rwlock *lock, wherry_time deadline)
{
    struct memory *memory = memory_of(lock);
    int result = usable(memory);
    if (__builtin_expect(result < 0, 0))
        return result;
    if (__builtin_expect(atomic_load_explicit(&memory->writer, memory_order_relaxed) == 0, 1)) {
        int place = take_place(memory);
        if (__builtin_expect(place != NO_PLACE, 1))
            return enter(memory, place);
    }
    return read_slowly(memory, deadline);
}

/* ---- writing ---- */

/* Give up the first `count` places, and the gate. */
static void leave(struct memory *memory, unsigned count)
{
    while (count > 0)
        give(&memory->places[--count]);
    atomic_store_explicit(&memory->writer, 0, memory_order_relaxed); /* R1 */
    give(&memory->gate);
    tell_waiters(memory);
}

/* With the gate: all places, or none and no gate. */
static int take_places(struct memory *memory, wherry_time deadline)
{
    for (unsigned i = 0; i < PLACES; i++) {
        int result = take(&memory->places[i], deadline);
        if (result != 0) {
            leave(memory, i);
            return result;
        }
    }
    return 0;
}

/* 0, EOWNERDEAD: it is had; EBUSY, ETIMEDOUT, EDEADLK. */
static int take_all(struct memory *memory, wherry_time deadline)
{
    if (has_place(memory))
        return EDEADLK;
    int result = take_gate(memory, deadline);
    if (result != 0)
        return result;
    atomic_store_explicit(&memory->writer, 1, memory_order_relaxed); /* R1 */
    if ((result = take_places(memory, deadline)) != 0)
        return result;
    uint32_t state = atomic_load_explicit(&memory->state, memory_order_relaxed); /* R2: nobody else writes it */
    bool broken = state != 0;                                                    /* R3, R4 */
    atomic_store_explicit(&memory->state, broken ? WRITING | BROKEN : WRITING, memory_order_relaxed);
    return broken ? EOWNERDEAD : 0;
}

int wherry_rwlock_write(struct wherry_rwlock *lock, wherry_time deadline)
{
    struct memory *memory = memory_of(lock);
    int result = usable(memory);
    if (result < 0)
        return result;
    result = take_all(memory, deadline);
    if (result == EOWNERDEAD)
        return wherry__fail_quietly(EOWNERDEAD,
                                    "a writer died, and the lock is this thread's now: repair what it protects, "
                                    "then call wherry_rwlock_consistent()");
    return result ? tell(result, deadline) : 0;
}

/* Does this thread hold it for writing?  Only then is WRITING of a living writer seen by who has the gate. */
static bool is_writer(const struct memory *memory)
{
    return atomic_load_explicit(&memory->state, memory_order_relaxed) & WRITING && is_mine(&memory->gate);
}

int wherry_rwlock_consistent(struct wherry_rwlock *lock)
{
    struct memory *memory = memory_of(lock);
    int result = usable(memory);
    if (result < 0)
        return result;
    if (!is_writer(memory))
        return wherry__fail(EPERM, "this thread does not hold the rwlock at %p for writing", (void *)lock);
    if (!(atomic_load_explicit(&memory->state, memory_order_relaxed) & BROKEN))
        return wherry__fail(EINVAL, "nothing is to be repaired: no writer of the rwlock at %p died", (void *)lock);
    atomic_store_explicit(&memory->state, WRITING, memory_order_relaxed); /* R2 */
    return 0;
}

/* The place that it took last is most often the one. */
static int give_place(struct memory *memory)
{
    unsigned first = first_place();
    for (unsigned i = 0; i < PLACES; i++)
        if (give(&memory->places[(first + i) % PLACES]) == 0) {
            tell_waiters(memory);
            return 0;
        }
    return wherry__fail(EPERM, "this thread does not hold the rwlock at %p", (void *)memory);
}

int wherry_rwlock_unlock(struct wherry_rwlock *lock)
{
    struct memory *memory = memory_of(lock);
    int result = usable(memory);
    if (__builtin_expect(result < 0, 0))
        return result;
    uint32_t state = atomic_load_explicit(&memory->state, memory_order_relaxed);
    if (__builtin_expect(state == 0, 1) || !is_writer(memory))
        return give_place(memory);
    /* R3; the release of each place's mutex makes it seen by whoever takes one */
    atomic_store_explicit(&memory->state, state & BROKEN, memory_order_relaxed);
    leave(memory, PLACES);
    return 0;
}

/* ---- beginning and end ---- */

int wherry_rwlock_init(struct wherry_rwlock *lock)
{
    struct memory *memory = memory_of(lock);
    uint64_t pid_namespace;
    int result = wherry__sync_aligned(lock, "rwlock");
    if (result < 0 || (result = wherry__pid_namespace_find(&pid_namespace)) < 0)
        return result;
    atomic_store_explicit(&memory->magic, 0, memory_order_relaxed);
    result = wherry__lock_init(&memory->gate.lock);
    for (unsigned i = 0; result == 0 && i < PLACES; i++)
        result = wherry__lock_init(&memory->places[i].lock);
    if (result < 0)
        return result;
    memory->pid_namespace = pid_namespace;
    atomic_store_explicit(&memory->writer, 0, memory_order_relaxed);
    atomic_store_explicit(&memory->state, 0, memory_order_relaxed);
    atomic_store_explicit(&memory->waiters, 0, memory_order_relaxed);
    atomic_store_explicit(&memory->freed, 0, memory_order_relaxed);
    /* pairs with the acquire in wherry__sync_is() */
    atomic_store_explicit(&memory->magic, MAGIC, memory_order_release);
    return 0;
}

int wherry_rwlock_fini(struct wherry_rwlock *lock)
{
    struct memory *memory = memory_of(lock);
    if (!lock || !wherry__sync_is(&memory->magic, MAGIC))
        return 0;
    int result = usable(memory);
    if (result < 0)
        return result;
    result = take_all(memory, WHERRY_NOW);
    if (result != 0 && result != EOWNERDEAD)
        return wherry__fail(EBUSY, "somebody holds the rwlock at %p: all must unlock it before it can be ended",
                            (void *)lock);
    atomic_store_explicit(&memory->magic, 0, memory_order_relaxed);
    atomic_store_explicit(&memory->state, 0, memory_order_relaxed);
    leave(memory, PLACES);
    for (unsigned i = 0; i < PLACES; i++)
        pthread_mutex_destroy(&memory->places[i].lock);
    pthread_mutex_destroy(&memory->gate.lock);
    return 0;
}
