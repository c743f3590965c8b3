/* ring/barrier.c - owns futex(2) between processes and membarrier(2).
 *
 * SPDX-License-Identifier: MIT */
#include "ring/barrier.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"

bool wherry__barrier_register(void)
{
    return wherry__sys.membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0) == 0;
}

void wherry__barrier_all(bool fenced)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!fenced)
        wherry__sys.membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0);
}

int wherry__futex_wait(const _Atomic uint32_t *word, uint32_t value, wherry_time deadline)
{
    struct timespec at = {.tv_sec = (time_t)(deadline / WHERRY_SECOND), .tv_nsec = (long)(deadline % WHERRY_SECOND)};
    /* WAIT_BITSET takes an absolute CLOCK_MONOTONIC time; not PRIVATE: other processes wake it (H25) */
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &at, NULL, FUTEX_BITSET_MATCH_ANY);
    return result < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void wherry__futex_wake(const _Atomic uint32_t *word)
{
    int code = errno;
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    errno = code;
}
