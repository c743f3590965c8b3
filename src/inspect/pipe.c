/* inspect/pipe.c - owns pipes and FIFOs as a snapshot has them; pipe(7).
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel shows who has an end open, and not what is in it: neither is opened here, since that would let a writer
 * go on that waits for a reader. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "inspect/collectors.h"
#include "inspect/describe.h"

static void pipe_descriptor(struct visit *visit)
{
    bool is_new;
    uint64_t inode = strtoull(visit->link + strlen("pipe:["), NULL, 10);
    struct object *object =
        wherry__inspect_object(visit->snapshot, WHERRY_INSPECT_PIPE, SPACE_PIPE, inode, 0, &is_new);
    if (!object)
        return;
    if (is_new) {
        object->public.name = wherry__inspect_text(visit->snapshot, "pipe:[%llu]", (unsigned long long)inode);
        object->public.inode = inode;
        object->public.flags = WHERRY_INSPECT_TRACKED;
        wherry__describe(object, visit);
        object->public.size = -1;
    }
    wherry__visit_hold(visit, object);
}

const struct collector wherry__collector_pipe = {
    .name = "pipe",
    .summary = "a pipe, joining who writes to who reads",
    .link = "pipe:[",
    .descriptor = pipe_descriptor,
};

static bool is_fifo(struct visit *visit)
{
    return S_ISFIFO(visit->status.stx_mode);
}

static void fifo_descriptor(struct visit *visit)
{
    struct object *object = wherry__describe_file(visit, WHERRY_INSPECT_FIFO, "fifo:");
    if (!object)
        return;
    object->public.size = -1;
    wherry__visit_hold(visit, object);
}

const struct collector wherry__collector_fifo = {
    .name = "fifo",
    .summary = "a named pipe that is open",
    .file = is_fifo,
    .descriptor = fifo_descriptor,
};
