/* sync/condition.c - owns the condition: a count of signals that waiters see move.
 *
 * SPDX-License-Identifier: MIT
 *
 * A waiter notes the count while it holds the mutex, and sleeps until it has moved.  So nothing is handed from one to
 * another that could die with it: who was woken and is killed leaves the count moved, and the others, who look at it at
 * each tick, return then.  That is why a signal may, a tick later, wake more than one (POSIX allows it). */
#include <errno.h>
#include <limits.h>
#include <wherry/condition.h>

#include "base/futex.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/mutex_memory.h"

#define MAGIC UINT32_C(0x636f6e64)
#define GRACE (20 * WHERRY_MILLISECOND) /* for the mutex, after the deadline */

struct WHERRY__SYNC_MEMORY memory {
    _Atomic uint32_t magic;
    _Atomic uint32_t waiters; /* who may sleep */
    _Atomic uint64_t signals; /* ever given; 64 bits: who was stopped never sees an old number again (H21) */
};
_Static_assert(sizeof(struct memory) <= sizeof(struct wherry_condition), "room");
_Static_assert(sizeof(struct wherry_condition) == 64, "what the header promises");

int wherry_condition_init(struct wherry_condition *condition)
{
    struct memory *memory = (struct memory *)condition;
    int result = wherry__sync_aligned(condition, "condition");
    if (result < 0)
        return result;
    atomic_store_explicit(&memory->waiters, 0, memory_order_relaxed);
    atomic_store_explicit(&memory->signals, 0, memory_order_relaxed);
    /* pairs with the acquire in wherry__sync_is() */
    atomic_store_explicit(&memory->magic, MAGIC, memory_order_release);
    return 0;
}

void wherry_condition_fini(struct wherry_condition *condition)
{
    struct memory *memory = (struct memory *)condition;
    if (!condition || !wherry__sync_is(&memory->magic, MAGIC))
        return;
    atomic_store_explicit(&memory->magic, 0, memory_order_release);
    atomic_fetch_add_explicit(&memory->signals, 1, memory_order_seq_cst);
    wherry__futex_wake(wherry__futex_low(&memory->signals));
}

/* The mutex's holder is dead, and nobody has taken it since: whoever waits here is the one to learn it.  Or it was
 * given up, and nobody will ever signal. */
static bool mutex_is_lost(struct wherry_mutex *mutex)
{
    const pthread_mutex_t *lock = &((struct wherry__mutex_memory *)mutex)->lock;
    return wherry__lock_word(lock) & FUTEX_OWNER_DIED || wherry__lock_is_given_up(lock);
}

static int no_signal(wherry_time deadline)
{
    return wherry__sync_late(deadline, "no time was given to wait for the signal",
                             "nobody gave the signal until the deadline");
}

/* Without the mutex.  0: woken, or there is something to see; -ETIMEDOUT, -EIDRM, -errno. */
static int sleep_until_signalled(struct memory *memory, uint64_t seen, struct wherry_mutex *mutex, wherry_time deadline)
{
    /* pairs with the release of who signals: what it changed is seen, also by who does not lock */
    while (atomic_load_explicit(&memory->signals, memory_order_acquire) == seen) {
        if (wherry__deadline_passed(deadline))
            return no_signal(deadline);
        int result = wherry__sync_sleep(&memory->signals, seen, deadline);
        if (result < 0)
            return result;
        if (mutex_is_lost(mutex))
            break;
    }
    return wherry__sync_is(&memory->magic, MAGIC) ? 0 : wherry__sync_ended();
}

/* The mutex is had again, whatever became of the wait; -ENOLCK when it is not. */
static int lock_again(struct memory *memory, struct wherry_mutex *mutex, int result, wherry_time deadline)
{
    wherry_time patience = deadline == WHERRY_FOREVER ? deadline : wherry_after(GRACE);
    int locked = wherry_mutex_lock(mutex, patience > deadline ? patience : deadline);
    if (locked != -EAGAIN && locked != -ETIMEDOUT)
        return locked ? locked : result;
    if (result == 0) /* the signal is not ours to keep */
        wherry__futex_wake_some(wherry__futex_low(&memory->signals), 1);
    return wherry__fail_quietly(ENOLCK, "the deadline passed while somebody else held the mutex: it is not held now");
}

int wherry_condition_wait(struct wherry_condition *condition, struct wherry_mutex *mutex, wherry_time deadline)
{
    struct memory *memory = (struct memory *)condition;
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(condition, "condition");
    if (wherry__deadline_passed(deadline))
        return no_signal(deadline);
    /* before the mutex is unlocked, so that who changes something after that sees that somebody waits; sequentially
     * consistent, as is the other side, for those who signal without the mutex (H23) */
    atomic_fetch_add_explicit(&memory->waiters, 1, memory_order_seq_cst);
    uint64_t seen = atomic_load_explicit(&memory->signals, memory_order_relaxed);
    int result = wherry_mutex_unlock(mutex);
    bool held = result == 0;
    if (held)
        result = sleep_until_signalled(memory, seen, mutex, deadline);
    atomic_fetch_sub_explicit(&memory->waiters, 1, memory_order_relaxed);
    return held ? lock_again(memory, mutex, result, deadline) : result;
}

static int wake(struct wherry_condition *condition, int most)
{
    struct memory *memory = (struct memory *)condition;
    if (!wherry__sync_is(&memory->magic, MAGIC))
        return wherry__sync_is_none(condition, "condition");
    atomic_fetch_add_explicit(&memory->signals, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&memory->waiters, memory_order_seq_cst) > 0)
        wherry__futex_wake_some(wherry__futex_low(&memory->signals), most);
    return 0;
}

int wherry_condition_signal(struct wherry_condition *condition)
{
    return wake(condition, 1);
}

int wherry_condition_broadcast(struct wherry_condition *condition)
{
    return wake(condition, INT_MAX);
}
