/* storage/deadlock.c - owns the search for a cycle of waiters.
 *
 * SPDX-License-Identifier: MIT */
#include "storage/deadlock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/locks.h"
#include "base/why.h"
#include "storage/holders.h"

enum { FIRST_LOOK = 50, CONFIRM = 20, MOST_SPAN = 5000 }; /* ms */
enum { DEPTH = 16, SURE = 2, SURE_FOR_OTHERS = 20 };

/* ---- the graph ---- */

struct search {
    pid_t self;
    struct wherry__waits waits; /* by their notes, and those in the kernel's list */
    pid_t seen[DEPTH * DEPTH];
    size_t seen_count;
    pid_t holder;   /* of what the search began from: the next in the cycle */
    pid_t victim;   /* of the cycle found: the highest process that left a note */
    uint64_t cycle; /* a sum over its waits */
};

static const pid_t NO_NOTE = 0; /* as `thread`: the kernel's word */

static bool add_kernel_waiters(struct search *search)
{
    struct wherry__lock_line line;
    char *text = NULL;
    bool found = wherry__locks_read(&text) == 0;
    for (char *rest = text; wherry__lock_line_next(&rest, &line);) {
        if (!line.holder.waiting || line.holder.pid <= 0)
            continue;
        struct wherry__wait *list = realloc(search->waits.list, (search->waits.count + 1) * sizeof *list);
        if (!list)
            break;
        search->waits.list = list;
        search->waits.room = search->waits.count + 1;
        list[search->waits.count++] =
            (struct wherry__wait){.wants = line.holder, .thread = NO_NOTE, .device = line.device, .inode = line.inode};
    }
    free(text);
    return found;
}

/* Any thread that does not wait for a lock may give back what the process holds.  Who waits in the kernel is one
 * thread, too. */
static bool is_stuck(const struct search *search, pid_t pid)
{
    unsigned long long began;
    long threads = 0, waiting = 0;
    for (size_t i = 0; i < search->waits.count; i++)
        waiting += search->waits.list[i].wants.pid == pid;
    return waiting > 0 && wherry__process_look(pid, &began, &threads) && waiting >= threads;
}

static bool was_seen(struct search *search, pid_t pid)
{
    for (size_t i = 0; i < search->seen_count; i++)
        if (search->seen[i] == pid)
            return true;
    if (search->seen_count == DEPTH * DEPTH)
        return true;
    search->seen[search->seen_count++] = pid;
    return false;
}

static bool leads_back(struct search *search, pid_t pid, int depth);

/* Whether a holder of what this wait is for leads back to the beginning. */
static bool wait_leads_back(struct search *search, const struct wherry__wait *wait, int depth)
{
    struct wherry__holders holders = {.list = NULL};
    bool found = false;
    if (wherry__holders_find(&holders, wait->device, wait->inode, 0) == 0)
        for (size_t i = 0; i < holders.count && !found; i++) {
            const struct wherry_lock_holder *one = &holders.list[i];
            if (one->pid > 0 && one->pid != wait->wants.pid && !one->waiting &&
                wherry__locks_conflict(one, &wait->wants))
                found = one->pid == search->self || leads_back(search, one->pid, depth + 1);
            if (found && depth == 0)
                search->holder = one->pid;
        }
    wherry__holders_fini(&holders);
    if (found && wait->thread != NO_NOTE && wait->wants.pid > search->victim)
        search->victim = wait->wants.pid;
    if (found)
        search->cycle += (uint64_t)wait->wants.pid * 1000003 + wait->number;
    return found;
}

static bool leads_back(struct search *search, pid_t pid, int depth)
{
    if (depth >= DEPTH || was_seen(search, pid) || !is_stuck(search, pid))
        return false;
    for (size_t i = 0; i < search->waits.count; i++)
        if (search->waits.list[i].wants.pid == pid && wait_leads_back(search, &search->waits.list[i], depth))
            return true;
    return false;
}

/* Whether this wait is one of a cycle.  Nobody else waits, most often: then no holder is
 * looked for. */
static bool find_cycle(const struct wherry__deadlock *deadlock, struct search *search)
{
    bool found = false, others = false;
    if (wherry__waits_read(&search->waits) == 0 && add_kernel_waiters(search)) {
        for (size_t i = 0; i < search->waits.count; i++)
            others |= search->waits.list[i].wants.pid != search->self;
        found = others && is_stuck(search, search->self) && wait_leads_back(search, &deadlock->wait, 0);
    }
    wherry__waits_fini(&search->waits);
    return found;
}

/* ---- looking, now and then ---- */

void wherry__deadlock_begin(struct wherry__deadlock *deadlock, const struct wherry_lock *lock,
                            const struct wherry__want *want)
{
    deadlock->lock = lock;
    deadlock->span = FIRST_LOOK * WHERRY_MILLISECOND;
    deadlock->next = wherry_after(deadlock->span);
    deadlock->sightings = 0;
    deadlock->cycle = 0;
    deadlock->note[0] = '\0';
    deadlock->wait = (struct wherry__wait){.wants = {.kind = lock->kind,
                                                     .mode = want->mode,
                                                     .waiting = true,
                                                     .start = want->start,
                                                     .length = want->length},
                                           .device = lock->device,
                                           .inode = lock->inode};
}

/* Both may see it at once, and one is enough: the highest process gives up, and others only if it does not. */
static bool is_over(struct wherry__deadlock *deadlock)
{
    struct search search = {.self = getpid()};
    char process[64];
    if (!find_cycle(deadlock, &search)) {
        deadlock->sightings = 0;
        return false;
    }
    deadlock->sightings = search.cycle == deadlock->cycle ? deadlock->sightings + 1 : 1;
    deadlock->cycle = search.cycle;
    if (deadlock->sightings < (search.victim == search.self ? SURE : SURE_FOR_OTHERS))
        return false;
    wherry__fail(EDEADLK, "%s: %s has it, and waits for what this process has; give something back, then try again",
                 deadlock->lock->name, wherry__process_name(search.holder, process));
    return true;
}

bool wherry__deadlock_look(struct wherry__deadlock *deadlock)
{
    wherry_time now = wherry_now();
    if (now < deadlock->next)
        return false;
    if (deadlock->note[0] == '\0' && wherry__wait_leave(&deadlock->wait, deadlock->note) < 0) {
        deadlock->note[0] = '\0';
        deadlock->next = WHERRY_FOREVER; /* nobody would see this wait: do without */
        return false;
    }
    if (is_over(deadlock))
        return true;
    if (deadlock->sightings == 0 && deadlock->span < MOST_SPAN * WHERRY_MILLISECOND)
        deadlock->span *= 2;
    deadlock->next = wherry_after(deadlock->sightings ? CONFIRM * WHERRY_MILLISECOND : deadlock->span);
    return false;
}

void wherry__deadlock_end(struct wherry__deadlock *deadlock)
{
    if (deadlock->note[0])
        wherry__wait_remove_note(deadlock->note);
}
