/* ring/peers.c - owns what one end knows and does of the others: who is alive, what the dead hold, who comes in, who
 * must be woken.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/fd.h"
#include "base/sys.h"
#include "ring/receive.h"
#include "ring/ring.h"

/* ---- the dead ---- */

/* Rule 11. */
static bool is_dead_mark(const struct wherry__ring *ring, uint64_t mark)
{
    unsigned place = ring_mark_place(mark & ~RING_REVOKED);
    if (place >= RING_PLACES)
        return true; /* no process writes such a mark */
    uint32_t epoch = atomic_load_explicit(&ring->control->places[place].epoch, memory_order_acquire);
    return (epoch & 0x7fffffff) != ring_mark_epoch(mark & ~RING_REVOKED) || !wherry__life_alive(ring->life, place);
}

/* A dead receiver's lanes are nobody's; `lent` says what it had. */
static void free_lanes(struct wherry__ring *ring)
{
    struct ring_shared *shared = &ring->control->shared;
    for (unsigned i = 0; i < ring->places; i++) {
        _Atomic uint64_t *owner = &ring->control->lanes[i].receiver.owner;
        uint64_t mark = atomic_load_explicit(owner, memory_order_acquire);
        if (mark && mark != ring->mark && is_dead_mark(ring, mark))
            atomic_compare_exchange_strong(owner, &mark, 0);
    }
    CRASH(free_lanes);
    uint64_t bias = atomic_load_explicit(&shared->bias, memory_order_acquire);
    if (bias && (bias & ~RING_REVOKED) != ring->mark && is_dead_mark(ring, bias))
        atomic_compare_exchange_strong(&shared->bias, &bias, 0);
}

/* One look at all places; `ret_dead`: bits of those that are nobody's. */
static void look(const struct wherry__ring *ring, struct ring_living *ret, uint64_t *ret_dead)
{
    *ret = (struct ring_living){0};
    *ret_dead = 0;
    for (unsigned i = 0; i < ring->places; i++) {
        if (ring->me && i == ring->place)
            continue;
        uint32_t state = atomic_load_explicit(&ring->control->places[i].state, memory_order_acquire);
        bool alive = state != RING_FREE && wherry__life_alive(ring->life, i);
        ret->senders += alive && state == RING_SENDER;
        ret->receivers += alive && state == RING_RECEIVER;
        if (!alive)
            *ret_dead |= UINT64_C(1) << i;
    }
}

/* One may come to a place behind the look, and another go from one before it: none is none only in a look during which
 * nobody came or went. */
static uint64_t look_well(const struct wherry__ring *ring, struct ring_living *ret)
{
    enum { TRIES = 100 }; /* a peer that counts `changes` up for ever can lie, and not hang us */
    const _Atomic uint32_t *changes = &ring->control->shared.changes;
    uint64_t dead;
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load_explicit(changes, memory_order_acquire);
        look(ring, ret, &dead);
        if ((ret->senders && ret->receivers) || atomic_load_explicit(changes, memory_order_acquire) == before)
            break;
    }
    return dead;
}

struct ring_living wherry__ring_living(const struct wherry__ring *ring)
{
    struct ring_living living;
    look_well(ring, &living);
    return living;
}

/* One may have come to such a place since, and sleep by now: its bit would be missed until its next tick, and who polls
 * has none. */
static void clear_dead(struct wherry__ring *ring, uint64_t dead)
{
    atomic_fetch_and_explicit(&ring->control->shared.sleepers, ~dead, memory_order_seq_cst);
    for (; dead; dead &= dead - 1) {
        unsigned i = (unsigned)__builtin_ctzll(dead);
        struct ring_place *place = &ring->control->places[i];
        if (atomic_load_explicit(&place->state, memory_order_acquire) == RING_RECEIVER &&
            wherry__life_alive(ring->life, i))
            wherry__ring_wake_place(ring, i, &place->bell);
    }
}

unsigned wherry__ring_look_round(struct wherry__ring *ring)
{
    struct ring_living living;
    uint64_t sleepers = atomic_load_explicit(&ring->control->shared.sleepers, memory_order_relaxed);
    uint64_t dead = sleepers & look_well(ring, &living);
    if (dead)
        clear_dead(ring, dead);
    wherry__ring_mind_door(ring);
    if (ring->wish.sends)
        return living.receivers;
    free_lanes(ring);
    wherry__ring_seek_bias(ring, living.receivers);
    return living.senders;
}

/* ---- those who come ---- */

void wherry__ring_mind_door(struct wherry__ring *ring)
{
    if (ring->door && wherry__door_mind(ring->door, ring->life, ring->control, ring->mark))
        ring->serves = true;
}

void wherry__ring_glance_at_door(struct wherry__ring *ring)
{
    enum { EVERY = 10 * 1000 * 1000 }; /* ns */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    wherry_time time = (wherry_time)now.tv_sec * WHERRY_SECOND + now.tv_nsec;
    if (time - ring->served_at < EVERY)
        return;
    ring->served_at = time;
    wherry__ring_mind_door(ring);
}

/* ---- waking ---- */

/* With no descriptor left for it the one that is kept for that is given up meanwhile. */
static int open_bell(struct wherry__ring *ring, unsigned place, bool *ret_borrowed)
{
    int fd = wherry__ring_open_bell(ring, place);
    *ret_borrowed = fd < 0 && (errno == EMFILE || errno == ENFILE) && ring->spare_fd >= 0;
    if (!*ret_borrowed)
        return fd;
    wherry__fd_close(&ring->spare_fd);
    return wherry__ring_open_bell(ring, place);
}

void wherry__ring_keep_spare(struct wherry__ring *ring)
{
    if (ring->spare_fd >= 0)
        return;
    wherry__fd_guard();
    ring->spare_fd = wherry__fd_note(wherry__sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    wherry__fd_unguard();
}

/* The descriptors stay open: a bell is rung again and again, and its owner makes another in each epoch. */
static void ring_bell(struct wherry__ring *ring, unsigned place, uint32_t epoch)
{
    struct ring_bell *bell = &ring->bells[place];
    bool borrowed = false;
    if (bell->fd >= 0 && bell->epoch != epoch)
        wherry__fd_close(&bell->fd);
    if (bell->fd < 0)
        bell->fd = open_bell(ring, place, &borrowed);
    bell->epoch = epoch;
    if (bell->fd >= 0)
        (void)!(ring->door ? wherry__sys.send(bell->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT)
                           : wherry__sys.write(bell->fd, "", 1)); /* full: it rings already */
    if (borrowed) {
        wherry__fd_close(&bell->fd);
        wherry__ring_keep_spare(ring);
    }
}

/* Rule 13.  Returns how: it says whether others have to be woken, too. */
uint32_t wherry__ring_wake_place(struct wherry__ring *ring, unsigned place, _Atomic uint32_t *word)
{
    /* before the rest: one who takes the place from now on was not chosen, and looks again after it says that it
     * sleeps */
    uint32_t epoch = atomic_load_explicit(&ring->control->places[place].epoch, memory_order_acquire);
    wherry__ring_count(&ring->me->wakes);
    /* seq_cst, both: who went to sleep on the old value has said before how to wake it */
    atomic_fetch_add_explicit(word, 1, memory_order_seq_cst);
    uint32_t by = atomic_load_explicit(&ring->control->places[place].wakes_by, memory_order_seq_cst);
    if (by & RING_BY_FUTEX)
        wherry__futex_wake(word);
    if (by & RING_BY_FIFO)
        ring_bell(ring, place, epoch);
    return by;
}

/* One that sleeps in a call.  Those who poll are woken all: whoever is chosen may be stopped or busy, and then who
 * sleeps in a call finds the message at its next tick; who polls has none. */
void wherry__ring_wake_receiver(struct wherry__ring *ring)
{
    struct ring_shared *shared = &ring->control->shared;
    bool woken = false;
    /* acquire: pairs with the sleeper's fetch_or; its bell is the one it will wait on */
    uint64_t left = atomic_load_explicit(&shared->sleepers, memory_order_acquire);
    for (; left; left &= left - 1) {
        unsigned place = (unsigned)__builtin_ctzll(left);
        uint64_t bit = UINT64_C(1) << place;
        uint32_t by = atomic_load_explicit(&ring->control->places[place].wakes_by, memory_order_relaxed);
        if (woken && !(by & RING_BY_FIFO))
            continue;
        if (!(atomic_fetch_and_explicit(&shared->sleepers, ~bit, memory_order_acq_rel) & bit))
            continue; /* another woke it; our message may not be the one it takes: the next */
        CRASH(wake_chosen);
        woken |= !(wherry__ring_wake_place(ring, place, &ring->control->places[place].bell) & RING_BY_FIFO);
    }
}

void wherry__ring_nudge(struct wherry__ring *ring)
{
    if (!ring->joined)
        return;
    _Atomic uint32_t *word = ring->wish.sends ? &ring->lane->sleep.bell : &ring->me->bell;
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    wherry__futex_wake(word);
}
