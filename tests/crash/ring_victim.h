/* tests/crash/ring_victim.h - what the victim of a scene does before, in and after its call.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_RING_VICTIM_H
#define WHERRY_TESTS_RING_VICTIM_H

#include "crash/ring_scene.h"

/* The child's function; `run` as it was at the fork.  It stops by at ring_victim_mark() three times: when it has come,
 * when it is about to prepare its call, and before its call; and once more when that has returned. */
void ring_victim(void *run);
void ring_victim_mark(void);

/* The public function that the scene is about. */
uintptr_t ring_victim_entry(enum ring_call call);

/* A receiver beside the victim: polls, and takes all until the end behind the new sender's message. */
void ring_poller(void *run);
/* One that sends, or receives, when the victim is asleep. */
void ring_waker(void *run);

/* One that dies before: holds a message, says so at the gate, and waits for its end. */
void ring_casualty_holding(void *run);
/* One that receives again and again. */
void ring_casualty_receiving(void *run);
/* One that leaves a ring with something in it. */
void ring_casualty_leaving(void *run);

#endif
