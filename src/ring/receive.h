/* ring/receive.h - what the receiving files share beyond ring.h.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_RING_RECEIVE_H
#define WHERRY_RING_RECEIVE_H

#include "ring/ring.h"

/* Map the lanes that are in use and were not; returns the bits of all that are mapped. */
uint64_t wherry__ring_map_lanes(struct wherry__ring *ring);
/* `others`: living receivers besides this one.  With none this one owns all lanes from here on. */
void wherry__ring_seek_bias(struct wherry__ring *ring, unsigned others);
/* Say that we sleep and how to wake us, with the barrier behind; looking once more is the caller's. */
void wherry__ring_arm(struct wherry__ring *ring, enum ring_wakes_by by);

#endif
