/* bench/ring_futex.h - a word that one process waits for and another changes: the bound for waking somebody up.
 *
 * SPDX-License-Identifier: MIT
 *
 * The waiter obeys a deadline, as every wait of the library does, and does not spin. */
#ifndef BENCH_RING_FUTEX_H
#define BENCH_RING_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct futex_word {
    _Alignas(64) uint32_t value;
};

static inline void futex_post(struct futex_word *word)
{
    __atomic_store_n(&word->value, word->value + 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &word->value, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Wait until the value is not `seen`, or until `deadline` on CLOCK_MONOTONIC.  Returns 0 or -ETIMEDOUT. */
static inline int futex_await(struct futex_word *word, uint32_t seen, int64_t deadline)
{
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    while (__atomic_load_n(&word->value, __ATOMIC_ACQUIRE) == seen)
        if (syscall(SYS_futex, &word->value, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY) < 0 &&
            errno == ETIMEDOUT)
            return -ETIMEDOUT;
    return 0;
}

#endif
