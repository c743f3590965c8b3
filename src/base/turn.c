/* base/turn.c - owns the futex behind a turn; futex(2), and U. Drepper, "Futexes Are Tricky", for the three states.
 *
 * SPDX-License-Identifier: MIT */
#include "base/turn.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/time.h"

static long futex(struct wherry__turn *turn, int operation, uint32_t value, const struct timespec *timeout)
{
    /* WAIT_BITSET takes an absolute CLOCK_MONOTONIC time, so that a signal cannot restart the clock */
    return syscall(SYS_futex, &turn->word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL,
                   FUTEX_BITSET_MATCH_ANY);
}

/* Sleeps end after this long at the latest: an interrupt that falls between the look at `interrupts` and the sleep
 * wakes nobody, and is then noticed by the next look. */
#define SLICE (50 * WHERRY_MILLISECOND)

int wherry__turn_take_slowly(struct wherry__turn *turn, wherry_time deadline, const _Atomic uint32_t *interrupts,
                             uint32_t seen)
{
    if (wherry__deadline_passed(deadline))
        return -wherry__deadline_code(deadline);
    while (atomic_exchange_explicit(&turn->word, 2, memory_order_acquire) != 0) {
        wherry_time until = wherry_after(SLICE);
        if (until > deadline)
            until = deadline;
        struct timespec at = {.tv_sec = (time_t)(until / WHERRY_SECOND), .tv_nsec = (long)(until % WHERRY_SECOND)};
        bool interrupted = atomic_load_explicit(interrupts, memory_order_acquire) != seen;
        if (!interrupted)
            futex(turn, FUTEX_WAIT_BITSET, 2, &at);
        if (interrupted || atomic_load_explicit(interrupts, memory_order_acquire) != seen) {
            wherry__turn_wake(turn); /* the wake-up that this thread may have got belongs to another */
            return -ECANCELED;
        }
        if (wherry__deadline_passed(deadline)) {
            wherry__turn_wake(turn);
            return -ETIMEDOUT;
        }
    }
    return 0; /* the word says 2: at worst one wake-up too many */
}

void wherry__turn_wake(struct wherry__turn *turn)
{
    futex(turn, FUTEX_WAKE_BITSET, 1, NULL);
}

void wherry__turn_nudge(struct wherry__turn *turn)
{
    futex(turn, FUTEX_WAKE_BITSET, INT_MAX, NULL);
}
