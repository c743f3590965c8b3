/* inspect/state.c - owns what is said of an object's state: live, orphan, or unknown, and why.
 *
 * SPDX-License-Identifier: MIT
 *
 * Nothing is an orphan that somebody unseen may hold: a process that may not be looked at, one outside of this PID
 * namespace, a descriptor on its way in a message. */
#include <fcntl.h>

#include "inspect/prove.h"
#include "inspect/snapshot.h"

/* Why there may be holders that were not seen; NULL: there are none. */
static const char *why_unseen(struct snapshot *snapshot)
{
    size_t hidden = 0;
    for (size_t i = 0; i < snapshot->processes.count; i++)
        hidden += snapshot->processes.list[i]->public.hidden;
    if (hidden)
        return wherry__inspect_text(snapshot,
                                    "nobody who could be looked at holds it, but %zu process%s could not be looked at",
                                    hidden, hidden == 1 ? "" : "es");
    if (snapshot->blind)
        return "nobody who can be seen holds it, but /proc leaves processes of others out (hidepid)";
    if (snapshot->pid_space != INITIAL_PID_SPACE)
        return "no process of this PID namespace holds it, but those outside of it cannot be seen";
    if (snapshot->in_flight)
        return wherry__inspect_text(
            snapshot, "no process holds it, but %llu descriptor%s on the way in a message, unseen",
            (unsigned long long)snapshot->in_flight, snapshot->in_flight == 1 ? " is" : "s are");
    return NULL;
}

static const char *what_it_does(const struct wherry_inspect_hold *hold)
{
    switch (hold->how) {
    case WHERRY_INSPECT_MAPPED:
        return "maps it";
    case WHERRY_INSPECT_ATTACHED:
        return "has it attached";
    case WHERRY_INSPECT_LOCKED:
        return "has a lock on it";
    case WHERRY_INSPECT_WAITING:
        return "waits on it";
    default:
        return "has it open";
    }
}

/* One of those who hold it: the first that was seen. */
static const char *name_holder(struct object *object)
{
    const struct hold *hold = object->holds;
    size_t more = 0;
    for (const struct hold *at = hold; at; at = at->next_of_object) {
        more += at->public.process != hold->public.process;
        hold = at->public.process->pid < hold->public.process->pid ? at : hold;
    }
    return wherry__inspect_text(object->snapshot, "pid %d (%s) %s%s", (int)hold->public.process->pid,
                                hold->public.process->command, what_it_does(&hold->public),
                                more ? ", and others do, too" : "");
}

static void by_holds(struct object *object, const char *unseen)
{
    if (object->public.holds) {
        object->public.state = WHERRY_INSPECT_LIVE;
        object->public.reason = name_holder(object);
    } else if (object->public.flags & WHERRY_INSPECT_LOCK_UNSEEN) {
        object->public.state = WHERRY_INSPECT_LIVE;
        object->public.reason = "it has a lock, so somebody has it open: a process that may not be seen, or a "
                                "descriptor on its way in a message";
    } else if (unseen) {
        object->public.state = WHERRY_INSPECT_UNKNOWN;
        object->public.reason = unseen;
    } else {
        object->public.state = WHERRY_INSPECT_ORPHAN;
        object->public.reason = "no process of this host holds it";
    }
}

/* The kernel counts also whom nobody can see. */
void wherry__inspect_settle(struct object *object, enum proof proof)
{
    bool dead = object->public.flags & WHERRY_INSPECT_OWNER_DEAD && object->public.kind == WHERRY_INSPECT_RING;
    if (proof == PROOF_NOBODY) {
        object->public.state = WHERRY_INSPECT_ORPHAN;
        object->public.reason = dead ? "none of its ends lives; the kernel says that nobody holds it"
                                     : "the kernel says that nobody holds it";
    } else if (proof == PROOF_SOMEBODY) {
        object->public.state = WHERRY_INSPECT_LIVE;
        object->public.reason = "the kernel says that somebody holds it, who cannot be seen from here";
    }
}

static void prove(struct object *object)
{
    wherry__inspect_settle(object, object->public.kind == WHERRY_INSPECT_UNIX
                                       ? wherry__prove_socket(object->path)
                                       : wherry__prove_file(AT_FDCWD, object->path, object->public.device,
                                                            object->public.inode));
}

void wherry__inspect_states(struct snapshot *snapshot)
{
    const char *unseen = why_unseen(snapshot);
    for (size_t i = 0; i < snapshot->objects.count; i++) {
        struct object *object = snapshot->objects.list[i];
        const struct collector *collector = wherry__collectors[object->public.kind];
        by_holds(object, unseen);
        if (collector->state)
            collector->state(object);
        if (snapshot->options.flags & WHERRY_INSPECT_PROVE && object->path && object->public.holds == 0 &&
            object->public.state != WHERRY_INSPECT_LIVE)
            prove(object);
    }
}
