/* inspect/read.c - owns what users read of a snapshot: its lists by index, the other ends of a hold, and names.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/snapshot.h"

static const struct snapshot *of(const struct wherry_inspect *snapshot)
{
    return (const struct snapshot *)(const void *)snapshot;
}

const struct wherry_inspect_object *wherry_inspect_object(const struct wherry_inspect *snapshot, size_t index)
{
    return index < of(snapshot)->objects.count ? &of(snapshot)->objects.list[index]->public : NULL;
}

const struct wherry_inspect_process *wherry_inspect_process(const struct wherry_inspect *snapshot, size_t index)
{
    return index < of(snapshot)->processes.count ? &of(snapshot)->processes.list[index]->public : NULL;
}

const struct wherry_inspect_process *wherry_inspect_process_of(const struct wherry_inspect *snapshot, pid_t pid)
{
    const struct process *process = wherry__inspect_find_process(of(snapshot), pid);
    return process ? &process->public : NULL;
}

const struct wherry_inspect_hold *wherry_inspect_hold_of(const struct wherry_inspect_object *object, size_t index)
{
    return index < object->holds ? &((const struct object *)(const void *)object)->sorted[index]->public : NULL;
}

const struct wherry_inspect_hold *wherry_inspect_hold_by(const struct wherry_inspect_process *process, size_t index)
{
    return index < process->holds ? &((const struct process *)(const void *)process)->sorted[index]->public : NULL;
}

const struct wherry_inspect_link *wherry_inspect_link(const struct wherry_inspect *snapshot, size_t index)
{
    return index < of(snapshot)->links.count ? of(snapshot)->links.list[index] : NULL;
}

const struct wherry_inspect_link *wherry_inspect_link_of(const struct wherry_inspect_object *given, size_t index)
{
    const struct object *object = (const void *)given;
    return index < object->link_count ? object->sorted_links[index] : NULL;
}

const struct wherry_inspect_hidden *wherry_inspect_hidden(const struct wherry_inspect *snapshot, size_t index)
{
    return index < of(snapshot)->hidden_count ? &of(snapshot)->hidden[index] : NULL;
}

/* ---- the other ends ---- */

static bool same_descriptor(const struct wherry_inspect_hold *a, const struct wherry_inspect_hold *b)
{
    return a->process == b->process && a->fd == b->fd && a->thread == b->thread;
}

/* Of a pipe: who reads is at the other end of who writes.  Who does both sees everybody. */
static bool is_other_end(const struct wherry_inspect_hold *hold, const struct wherry_inspect_hold *other)
{
    if (hold == other || (hold->fd >= 0 && same_descriptor(hold, other)))
        return false;
    switch (hold->object->kind) {
    case WHERRY_INSPECT_PIPE:
    case WHERRY_INSPECT_FIFO:
        return (hold->reads && other->writes) || (hold->writes && other->reads);
    default:
        return true;
    }
}

static bool by_links(enum wherry_inspect_kind kind)
{
    return kind == WHERRY_INSPECT_UNIX || kind == WHERRY_INSPECT_TCP || kind == WHERRY_INSPECT_UDP ||
           kind == WHERRY_INSPECT_SOCKET;
}

static const struct wherry_inspect_object *far_side(const struct wherry_inspect_link *link,
                                                    const struct wherry_inspect_object *object)
{
    return link->kind == WHERRY_INSPECT_WATCHES ? NULL : link->from == object ? link->to : link->from;
}

/* Less those that are passed over. */
static const struct wherry_inspect_hold *held(const struct wherry_inspect_object *object, size_t *index)
{
    const struct wherry_inspect_hold *hold = wherry_inspect_hold_of(object, *index);
    *index -= hold ? 0 : object->holds;
    return hold;
}

/* Of a connection that nobody has accepted yet, nor holds: from who listens on to who connected, and the other way. */
static const struct wherry_inspect_hold *beyond(const struct wherry_inspect_object *pending,
                                                const struct wherry_inspect_object *from, size_t *index)
{
    const struct wherry_inspect_link *link;
    const struct wherry_inspect_hold *hold = NULL;
    for (size_t i = 0; !hold && (link = wherry_inspect_link_of(pending, i)); i++) {
        const struct wherry_inspect_object *object = far_side(link, pending);
        if (object && object != from)
            hold = held(object, index);
    }
    return hold;
}

/* The holds of the sockets that the links lead to. */
static const struct wherry_inspect_hold *of_peers(const struct wherry_inspect_object *object, size_t index)
{
    const struct wherry_inspect_link *link;
    const struct wherry_inspect_hold *hold = NULL;
    for (size_t i = 0; !hold && (link = wherry_inspect_link_of(object, i)); i++) {
        const struct wherry_inspect_object *peer = far_side(link, object);
        if (peer)
            hold = peer->flags & WHERRY_INSPECT_PENDING && !peer->holds ? beyond(peer, object, &index)
                                                                        : held(peer, &index);
    }
    return hold;
}

const struct wherry_inspect_hold *wherry_inspect_other_end(const struct wherry_inspect_hold *hold, size_t index)
{
    const struct wherry_inspect_hold *other;
    if (by_links(hold->object->kind))
        return of_peers(hold->object, index);
    if (hold->object->kind == WHERRY_INSPECT_PIDFD)
        return NULL;
    for (size_t i = 0; (other = wherry_inspect_hold_of(hold->object, i)); i++)
        if (is_other_end(hold, other) && index-- == 0)
            return other;
    return NULL;
}
