/* channel/crowd_share.c - owns how processes that accept from one socket come to have as many connections each.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel wakes all of them for each connection, and the first to come takes it: when several clients come at once
 * one process may take them all, and keeps them for as long as they last.  So each says how many it has, in memory
 * that they share, and one with more than another leaves a connection to the others for a moment.  That they are
 * stopped, busy or dead costs that moment and no more. */
#include <stdatomic.h>

#include "channel/crowd.h"

#define MOMENT (1 * WHERRY_MILLISECOND)

void wherry__crowd_tell_share(const struct wherry__crowd *crowd)
{
    if (crowd->shares) /* 0: it takes none */
        atomic_store_explicit(&crowd->shares[crowd->share], crowd->draining ? 0 : (uint32_t)crowd->count + 1,
                              memory_order_relaxed);
}

bool wherry__crowd_leaves(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    bool obliged = crowd->obliged;
    crowd->obliged = false;
    for (unsigned i = 0; crowd->shares && !obliged && i < crowd->share_count; i++) {
        uint32_t others = atomic_load_explicit(&crowd->shares[i], memory_order_relaxed);
        if (others == 0 || others > crowd->count)
            continue;
        wherry__crowd_rest(endpoint, MOMENT);
        return true;
    }
    return false;
}
