/* ring/leave.c - owns going: the last receiver's word, who is woken by it, and the last one out removing the name.
 *
 * SPDX-License-Identifier: MIT
 *
 * Coming is join.c; what is done of those who died without this is peers.c. */
#include <sys/mman.h>

#include "base/fd.h"
#include "ring/name.h"
#include "ring/receive.h"
#include "ring/ring.h"

/* Rule 5.  A sender that finds the word set looks for itself, so that a death in here costs nothing. */
static void desert(struct wherry__ring *ring)
{
    struct ring_shared *shared = &ring->control->shared;
    if (wherry__ring_living(ring).receivers > 0)
        return;
    atomic_store_explicit(&shared->deserted, 1, memory_order_seq_cst);
    /* against the one in publish(): a receiver that comes now is seen here, or sees it */
    atomic_thread_fence(memory_order_seq_cst);
    if (wherry__ring_living(ring).receivers > 0)
        atomic_store_explicit(&shared->deserted, 0, memory_order_release);
}

static void wake_all(struct wherry__ring *ring)
{
    for (unsigned i = 0; i < ring->places; i++) {
        uint32_t state = atomic_load_explicit(&ring->control->places[i].state, memory_order_acquire);
        if (i == ring->place || state == RING_FREE)
            continue;
        if (state == RING_RECEIVER)
            wherry__ring_wake_place(ring, i, &ring->control->places[i].bell);
        else
            wherry__ring_wake_place(ring, i, &ring->control->lanes[i].sleep.bell);
    }
}

static void say_goodbye(struct wherry__ring *ring)
{
    struct ring_shared *shared = &ring->control->shared;
    if (!ring->wish.sends) {
        wherry__ring_put_back(ring);
        uint64_t bias = ring->mark;
        atomic_compare_exchange_strong(&shared->bias, &bias, 0);
        bias = ring->mark | RING_REVOKED;
        atomic_compare_exchange_strong(&shared->bias, &bias, 0);
        atomic_fetch_and_explicit(&shared->sleepers, ~(UINT64_C(1) << ring->place), memory_order_relaxed);
    }
    atomic_store_explicit(&ring->me->state, RING_FREE, memory_order_release);
    atomic_fetch_add_explicit(&shared->changes, 1, memory_order_seq_cst);
    CRASH(leave_said);
    if (!ring->wish.sends)
        desert(ring);
    wake_all(ring); /* one of them may wait for the end, or take what we were woken for */
}

void wherry__ring_leave(struct wherry__ring *ring, bool own)
{
    if (own && ring->door)
        wherry__door_shut(ring->door); /* before those who take the keeper's turn are woken */
    if (own && ring->joined)
        say_goodbye(ring);
    for (unsigned i = 0; own && i < RING_PLACES; i++) {
        wherry__fd_close(&ring->watched[i].fd);
        wherry__fd_close(&ring->bells[i].fd);
    }
    if (!own) { /* the mappings are not here (MADV_DONTFORK), the descriptors were closed at the fork */
        wherry__door_fini(ring->door, false);
        wherry__life_close(ring->life);
        return;
    }
    for (uint64_t mapped = ring->mapped; mapped; mapped &= mapped - 1)
        munmap((void *)(uintptr_t)ring->lanes[__builtin_ctzll(mapped)], 2 * (size_t)ring->capacity);
    if (ring->bytes)
        munmap(ring->bytes, 2 * (size_t)ring->capacity);
    wherry__fd_close(&ring->timer_fd);
    wherry__fd_close(&ring->notify_fd);
    wherry__fd_close(&ring->spare_fd);
    if (ring->me) {
        wherry__ring_forget_bell(ring);
        wherry__life_give(ring->life, ring->place);
    }
    wherry__door_fini(ring->door, true);
    if (ring->life && ring->control && !ring->keep && !ring->door && wherry__life_take_all(ring->life))
        wherry__ring_unlink(ring->life, ring->directory, ring->wish.name); /* the locks go with the descriptor */
    if (ring->control)
        munmap(ring->control, RING_CONTROL);
    wherry__life_close(ring->life);
    wherry__fd_close(&ring->directory);
}
