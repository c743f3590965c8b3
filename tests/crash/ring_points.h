/* tests/crash/ring_points.h - the instructions of a call, found once and gone to again in other processes.
 *
 * SPDX-License-Identifier: MIT
 *
 * A point is an instruction of this program's own text, wherry's among it, together with how often the call has come
 * by: the process stands before it.  What libc does is one instruction, the call; so is each system call in it.  A
 * loop's instructions are points in its first rounds alone: what it changes in later ones is no other state.  A point
 * is gone to with a breakpoint, so that it costs as much at the end of a call as at the beginning. */
#ifndef WHERRY_TESTS_RING_POINTS_H
#define WHERRY_TESTS_RING_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stepkill/step.h"

struct ring_point {
    uintptr_t pc; /* 0: the call has returned */
    uint32_t round;
};

struct ring_points {
    struct ring_point *points; /* in the order of the call, the return last */
    size_t count, room;
    uint64_t instructions; /* executed within the call, those of libc not counted */
    bool cut;              /* it never returned: the points of its first instructions */
};

/* The process stands at the entry of the call.  Take it through, as far as `most` instructions; 0, or what stopped
 * it. */
int ring_points_find(struct ring_points *points, struct step *step, uint32_t rounds, uint64_t most);
void ring_points_fini(struct ring_points *points);

/* Another process at the entry: on to the point.  STEP_THERE; STEP_RETURNED when the call did not come by this time. */
int ring_points_go(struct step *step, const struct ring_point *point);

/* One instruction further, libc's whole calls counting as one.  STEP_THERE, STEP_RETURNED, or as step_advance(). */
int ring_points_step(struct step *step);

/* "+0x1234", for addr2line -fe PROGRAM; of the return "return". */
const char *ring_point_name(const struct ring_point *point);

#endif
