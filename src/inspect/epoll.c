/* inspect/epoll.c - owns epoll sets and what they watch; epoll(7), proc_pid_fdinfo(5).
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/anon.h"
#include "inspect/collectors.h"

/* What a set watches, as fdinfo has it: the number that the descriptor had in whichever process added it.  By now that
 * may be closed, or another file's; kcmp(2) tells whether a descriptor leads to what is watched. */
struct watch {
    struct watch *next;
    struct process *process; /* who has the set */
    pid_t table;
    int set, fd;
    unsigned events;
    dev_t device;
    uint64_t inode;
};

/* How many descriptors may be compared in search of what is not where its number says. */
enum { COMPARISONS = 1000000 };

/* Which of those with this number it is: the list has the last first. */
static unsigned count_before(const struct watch *watch)
{
    unsigned count = 0;
    for (const struct watch *at = watch->next; at; at = at->next)
        count += at->fd == watch->fd;
    return count;
}

static bool parse_watch(const char *line, struct watch *watch)
{
    unsigned long long inode, device;
    const char *end = line + strcspn(line, "\n"), *at;
    if (sscanf(line, "tfd: %d events: %x", &watch->fd, &watch->events) != 2)
        return false;
    at = strstr(line, " ino:");
    if (at && at < end && sscanf(at, " ino:%llx sdev:%llx", &inode, &device) == 2) {
        watch->inode = inode;
        watch->device = wherry__device((unsigned)(device >> 20), (unsigned)(device & 0xfffff));
    }
    return true;
}

static void read_watches(struct visit *visit, struct object *set)
{
    struct watch *list = NULL, found = {.process = visit->process, .set = visit->fd};
    found.table = visit->thread ? visit->thread : visit->process->table;
    for (const char *line = wherry__visit_whole_info(visit); line;
         line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        if (!parse_watch(line, &found))
            continue;
        struct watch *watch = wherry__inspect_memory(visit->snapshot, sizeof *watch);
        if (!watch)
            return;
        *watch = found;
        watch->next = list;
        list = watch;
        set->public.used++;
    }
    set->data = list;
}

static void descriptor(struct visit *visit)
{
    bool is_new;
    struct object *object = wherry__anon_object(visit, WHERRY_INSPECT_EPOLL, &is_new);
    if (!object)
        return;
    if (is_new) {
        object->public.used = 0;
        read_watches(visit, object);
        object->public.detail =
            wherry__inspect_text(visit->snapshot, "watches %lld", (long long)object->public.used);
        object->public.messages = object->public.used;
        object->public.used = -1;
    }
    wherry__visit_hold(visit, object);
}

static int compare_fds(const void *a, const void *b)
{
    const struct hold *x = *(struct hold *const *)a, *y = *(struct hold *const *)b;
    return (x->public.fd > y->public.fd) - (x->public.fd < y->public.fd);
}

/* The holds of a process in the order of their descriptors: sets of thousands are looked up in it. */
struct by_fd {
    const struct process *process;
    struct hold **list;
    size_t count;
};

static bool index_process(struct snapshot *snapshot, struct by_fd *index, const struct process *process)
{
    if (index->process == process)
        return true;
    index->count = 0;
    index->list = wherry__inspect_memory(snapshot, (process->public.holds + 1) * sizeof *index->list);
    if (!index->list)
        return false;
    for (struct hold *hold = process->holds; hold; hold = hold->next_of_process)
        if (hold->public.fd >= 0 && hold->public.how == WHERRY_INSPECT_OPEN)
            index->list[index->count++] = hold;
    qsort(index->list, index->count, sizeof *index->list, compare_fds);
    index->process = process;
    return true;
}

/* Kinds that have no inode of their own. */
static bool is_anonymous(const struct wherry_inspect_object *object)
{
    return object->kind == WHERRY_INSPECT_EVENTFD || object->kind == WHERRY_INSPECT_SIGNALFD ||
           object->kind == WHERRY_INSPECT_TIMERFD || object->kind == WHERRY_INSPECT_PIDFD ||
           object->kind == WHERRY_INSPECT_EPOLL;
}

enum same { SAME, OTHER, UNKNOWN };

static enum same is_watched(const struct watch *watch, const struct wherry_inspect_hold *hold)
{
    const struct process *process = (const void *)hold->process;
    struct kcmp_epoll_slot slot = {(unsigned)watch->set, (unsigned)watch->fd, count_before(watch)};
    long order = wherry__sys.kcmp(hold->thread ? hold->thread : process->table, watch->table, KCMP_EPOLL_TFD,
                                  (unsigned long)hold->fd, (unsigned long)(uintptr_t)&slot);
    return order == 0 ? SAME : order < 0 && (errno == ENOSYS || errno == EPERM) ? UNKNOWN : OTHER;
}

/* Behind the number that was added: an inode of its own decides, else the kernel; what neither says, the number. */
static struct object *by_number(const struct by_fd *index, const struct watch *watch)
{
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->list[middle]->public.fd < watch->fd)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < index->count && index->list[low]->public.fd == watch->fd; low++) {
        const struct wherry_inspect_hold *hold = &index->list[low]->public;
        if (is_anonymous(hold->object) ? is_watched(watch, hold) != OTHER : hold->object->inode == watch->inode)
            return (struct object *)(uintptr_t)hold->object;
    }
    return NULL;
}

static struct object *by_inode(const struct snapshot *snapshot, const struct watch *watch)
{
    struct object *object = wherry__inspect_known(snapshot, SPACE_FILE, watch->device, watch->inode);
    if (!object && (object = wherry__inspect_known(snapshot, SPACE_PIPE, watch->inode, 0)) &&
        object->public.device != watch->device)
        object = NULL;
    return object ? object : wherry__inspect_known(snapshot, SPACE_SOCKET, watch->inode, 0);
}

/* Who else has what is watched, among the holds of a process. */
static struct object *search_process(const struct process *process, const struct watch *watch, unsigned *left)
{
    for (const struct hold *hold = process->holds; hold && *left; hold = hold->next_of_process)
        if (hold->public.fd >= 0 && is_anonymous(hold->public.object)) {
            --*left;
            if (is_watched(watch, &hold->public) == SAME)
                return (struct object *)(uintptr_t)hold->public.object;
        }
    return NULL;
}

static struct object *search(struct snapshot *snapshot, const struct watch *watch, unsigned *left)
{
    struct object *object = search_process(watch->process, watch, left);
    for (size_t i = 0; !object && i < snapshot->processes.count && *left; i++)
        object = search_process(snapshot->processes.list[i], watch, left);
    if (!object && !*left)
        wherry__inspect_hide(snapshot, "what epoll sets watch under numbers that are others' by now",
                             "there are too many of them to look for each", 1);
    return object;
}

static int join(struct snapshot *snapshot)
{
    struct by_fd index = {.process = NULL};
    unsigned left = COMPARISONS;
    for (size_t i = 0; i < snapshot->objects.count; i++) {
        struct object *set = snapshot->objects.list[i];
        if (set->public.kind != WHERRY_INSPECT_EPOLL)
            continue;
        for (const struct watch *watch = set->data; watch; watch = watch->next) {
            if (!index_process(snapshot, &index, watch->process))
                return -ENOMEM;
            struct object *object = by_number(&index, watch);
            if (!object)
                object = by_inode(snapshot, watch);
            if (!object)
                object = search(snapshot, watch, &left);
            if (object)
                wherry__inspect_link(set, object, WHERRY_INSPECT_WATCHES,
                                     wherry__inspect_text(snapshot, "fd %d, events %x", watch->fd, watch->events));
        }
    }
    return 0;
}

const struct collector wherry__collector_epoll = {
    .name = "epoll",
    .summary = "a set of descriptors to wait for, epoll(7)",
    .link = "anon_inode:[eventpoll]",
    .descriptor = descriptor,
    .join = join,
};
