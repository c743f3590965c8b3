/* tests/crash/sync_sweep.h - a victim of the sync objects' sweeps: the world it dies in, and a scene of it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A victim dies before an instruction of a call (of the C library's within it, too); then those beside it, and one that
 * comes, get what they must by their deadline: -EOWNERDEAD if the kernel's word says that the victim held the lock, and
 * only then; what is protected is whole, or said not to be; a wake-up that was given is not lost.
 * WHERRY_KILL_POINTS=all: at every instruction of the long calls, too. */
#ifndef WHERRY_TESTS_SYNC_SWEEP_H
#define WHERRY_TESTS_SYNC_SWEEP_H

#include <errno.h>
#include <stdatomic.h>
#include <wherry/wherry.h>

#include "harness.h"
#include "sync/mutex_memory.h"

#define SHORT (3 * WHERRY_MILLISECOND) /* a wait of the victim's that nobody ends */

struct world {
    struct wherry_mutex mutex;
    struct wherry_condition condition;
    struct wherry_barrier barrier;
    struct wherry_event event;
    struct wherry_rwlock lock;
    volatile long a, b; /* the same, for who holds mutex or lock */
    volatile int items;
    _Atomic bool stop, partner_there;
    _Atomic int deaths; /* times the partner got -EOWNERDEAD */
    _Atomic int taken;
};

struct scene {
    const char *name;
    void (*victim)(struct world *world);
    void (*prepare)(struct world *world);              /* or NULL */
    void (*partner)(void *world);                      /* beside the victim, or NULL */
    bool partner_sleeps;                               /* it does before the victim begins */
    void (*check)(struct world *world, uint32_t word); /* the mutex's word as the victim died */
};

/* For partners, which may be killed: what Check notes at each of its asserts must not be cut off in the middle. */
#define sure(condition_) ((condition_) ? (void)0 : not_so(#condition_, __FILE__, __LINE__))
#define sure_is(result_, wanted_) sure((result_) == (wanted_))
#define sure_ok(result_) sure((result_) >= 0)
void not_so(const char *what, const char *file, int line);

/* The last that died, or is about to. */
extern pid_t victim_pid;

/* Die at each instruction of the scene's call, or at some; and check each time. */
void sweep(const struct scene *scene);

#endif
