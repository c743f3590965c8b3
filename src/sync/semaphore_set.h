/* sync/semaphore_set.h - System V sets, as the files that make and use them share it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SYNC_SEMAPHORE_SET_H
#define WHERRY_SYNC_SEMAPHORE_SET_H

#include <sys/sem.h>
#include <wherry/semaphore.h>

#include "base/object.h"

struct wherry_semaphore_set {
    int id;
    unsigned count;
    char name[]; /* for sentences */
};

/* The number of the set of that name, and what the kernel says of it, also without permission to read it: 0; -ENOENT
 * without a sentence. */
int wherry__semaphore_set_find(const struct wherry__object *object, int *ret_id, struct semid_ds *ret_data);

#endif
