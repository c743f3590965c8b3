/* ring/barrier.c - owns membarrier(2).
 *
 * SPDX-License-Identifier: MIT */
#include "ring/barrier.h"

#include <linux/membarrier.h>

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
