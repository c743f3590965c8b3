/* inspect/ring.c - owns wherry's rings as a snapshot has them: who is at them, dead or alive, and how much is in them.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel says who lives: each place of a ring is a record lock (ring/life.h).  A ring that is not kept, and at
 * which nobody lives, was left by processes that were killed; the next one to join would remove it, too. */
#include <errno.h>
#include <wherry/ring.h>

#include "inspect/collectors.h"
#include "inspect/shm.h"
#include "ring/look.h"

static const char *plural(unsigned count)
{
    return count == 1 ? "" : "s";
}

void wherry__describe_ring(struct object *object)
{
    struct wherry_ring_stat stat;
    int result = wherry__ring_look(object->path, object->public.device, object->public.inode, &stat);
    if (result < 0) {
        object->public.detail = result == -EBADMSG ? "no ring, or damaged" : "";
        return;
    }
    object->public.used = (int64_t)stat.depth_bytes;
    object->public.messages = (int64_t)(stat.sent - stat.received);
    object->public.detail = wherry__inspect_text(
        object->snapshot, "%u sender%s, %u receiver%s, %u dead; %llu sent, %llu received%s", stat.senders,
        plural(stat.senders), stat.receivers, plural(stat.receivers), stat.dead, (unsigned long long)stat.sent,
        (unsigned long long)stat.received, stat.keep ? "; kept" : "");
    if (!stat.keep && stat.senders + stat.receivers == 0)
        object->public.flags |= WHERRY_INSPECT_OWNER_DEAD;
}

/* A forked child of a dead end may have it still. */
static void state(struct object *object)
{
    if (object->public.state != WHERRY_INSPECT_LIVE && object->public.flags & WHERRY_INSPECT_OWNER_DEAD)
        object->public.reason = wherry__inspect_text(object->snapshot, "none of its ends lives; %s",
                                                     object->public.reason);
}

const struct collector wherry__collector_ring = {
    .name = "ring",
    .summary = "a ring of wherry's, shm://NAME",
    .list = wherry__shm_list,
    .state = state,
};
