/* inspect/posix_shm.c - owns POSIX shared memory: the files of /dev/shm that are nothing else; shm_open(3).  shm.c has
 * what they share with the other kinds there.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect/collectors.h"
#include "inspect/shm.h"

/* What wherry makes has such a name only while its maker is at it, and has it open (base/naming.h). */
static void state(struct object *object)
{
    if (object->public.holds == 0 && wherry__shm_is_left_over(object->public.name))
        object->public.flags |= WHERRY_INSPECT_OWNER_DEAD;
}

const struct collector wherry__collector_posix_shm = {
    .name = "posix-shm",
    .summary = "a file of /dev/shm, shm_open(3)",
    .list = wherry__shm_list,
    .file = wherry__shm_file, /* of all three kinds */
    .descriptor = wherry__shm_descriptor,
    .mapped = wherry__shm_mapped,
    .state = state,
};
