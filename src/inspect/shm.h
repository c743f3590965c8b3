/* inspect/shm.h - the files of /dev/shm, which POSIX shared memory, POSIX semaphores and wherry's rings are.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_SHM_H
#define WHERRY_INSPECT_SHM_H

#include "inspect/snapshot.h"

/* Step 1, once a snapshot whichever of the three collectors asks first: all files there become objects.  0 or
 * -ENOMEM. */
int wherry__shm_list(struct snapshot *snapshot);

/* Step 2, for descriptors and mappings of files that had no name there, or not in this mount name space. */
bool wherry__shm_file(struct visit *visit);
void wherry__shm_descriptor(struct visit *visit);
bool wherry__shm_mapped(struct mapping *mapping);

/* Of one that was found in this mount name space, before anybody's holds are known: a semaphore's value, a ring's
 * numbers. */
void wherry__describe_semaphore(struct object *object);
void wherry__describe_ring(struct object *object);

/* What a file is called that wherry left half made, or put aside. */
bool wherry__shm_is_left_over(const char *name);

#endif
