/* bench/ring_steady.c - knows how far apart the two cores are, and throws away what was measured while that was not so.
 *
 * SPDX-License-Identifier: MIT
 *
 * On virtual machines the way of a cache line from core to core changes while one measures, up to tenfold: then a ratio
 * of two figures says nothing.  A bare ping-pong of some milliseconds stands before and after each repetition. */
#include <stdio.h>
#include <string.h>

#include "ring_trial.h"

enum { PROBE_TRIPS = 8000, PROBE_BLOCK = 64, FIRST_PROBES = 9, KEPT = 65, TRIES = 4, TOO_FAST_NS = 60 };

static double probes[KEPT]; /* the latest, in a circle */
static size_t probed;
static double latest;
static bool all_fast; /* this machine's usual way is shorter than what elsewhere is a fluke */
static int dropped, kept;

static double usual(void)
{
    double copy[KEPT];
    size_t count = probed < KEPT ? probed : KEPT;
    memcpy(copy, probes, count * sizeof *copy);
    return median(copy, count);
}

static double probe(void)
{
    static const struct ring_job job = {
        .contender = &ring_bare, .size = 8, .footprint = 4096, .count = PROBE_TRIPS, .block = PROBE_BLOCK};
    struct ring_result result;
    if (ring_trial(&job, &result) < 0)
        die("the cache-line ping-pong failed");
    latest = result.figure;
    probes[probed++ % KEPT] = latest;
    return latest;
}

static bool is_steady(double way)
{
    double middle = usual();
    return (all_fast || way >= TOO_FAST_NS) && way <= middle * 2 && way >= middle / 2;
}

void ring_steady_begin(void)
{
    for (int i = 0; i < FIRST_PROBES; i++)
        probe();
    all_fast = usual() < TOO_FAST_NS;
}

int ring_steady_trial(const struct ring_job *job, struct ring_result *ret_result)
{
    for (int tries = 1;; tries++) {
        bool before = is_steady(latest); /* what stood after the last repetition */
        struct ring_result result;
        int failure = ring_trial(job, &result);
        bool after = is_steady(probe());
        if (failure < 0)
            return failure;
        *ret_result = result;
        if (before && after)
            return 0;
        if (tries == TRIES) {
            kept++;
            return 0;
        }
        dropped++;
    }
}

void ring_steady_tell(void)
{
    printf(
        "A cache line took %.0f ns one way (median of the last %zu probes)%s; %d repetitions were made again because a "
        "probe beside them was unusual, %d stand although one was, %d although others took the cores away.\n",
        usual(), probed < KEPT ? probed : (size_t)KEPT, all_fast ? ", usually less than 60" : "", dropped, kept,
        ring_disturbed());
}
