/* inspect/anon.c - owns what the kernel keeps behind descriptors alone: eventfds, signalfds, timerfds, pidfds.
 * epoll.c has epoll sets.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect/anon.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/collectors.h"

/* ---- one open file, however many descriptors lead to it ---- */

/* The open files of a kind, in the order that kcmp(2) gives them. */
struct known_files {
    struct known {
        struct object *object;
        pid_t pid;
        int fd;
    } *list;
    size_t count, room;
};

/* Less than 0, 0, more; 3: the other is gone. */
static int compare(pid_t pid, int fd, const struct known *known)
{
    long order = wherry__sys.kcmp(pid, known->pid, KCMP_FILE, (unsigned long)fd, (unsigned long)known->fd);
    return order == 0 ? 0 : order == 1 ? -1 : order == 2 ? 1 : 3;
}

static bool make_room(struct snapshot *snapshot, struct known_files *files)
{
    if (files->count < files->room)
        return true;
    size_t room = files->room ? 2 * files->room : 64;
    struct known *list = wherry__inspect_memory(snapshot, room * sizeof *list);
    if (!list)
        return false;
    if (files->count)
        memcpy(list, files->list, files->count * sizeof *list);
    files->list = list;
    files->room = room;
    return true;
}

struct object *wherry__anon_object(struct visit *visit, enum wherry_inspect_kind kind, bool *ret_new)
{
    struct snapshot *snapshot = visit->snapshot;
    struct known_files *files = snapshot->data[kind];
    pid_t pid = visit->thread ? visit->thread : visit->process->table;
    if (!files && !(files = snapshot->data[kind] = wherry__inspect_memory(snapshot, sizeof *files)))
        return NULL;
    size_t low = 0, high = files->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(pid, visit->fd, &files->list[middle]);
        if (order == 0) {
            *ret_new = false;
            return files->list[middle].object;
        }
        if (order == 3 && compare(pid, visit->fd, &(struct known){NULL, pid, visit->fd}) != 0) {
            if (errno == ENOSYS || errno == EPERM)
                break; /* nobody can tell: each descriptor is on its own */
            return NULL; /* this one is gone itself */
        }
        if (order == 3) { /* it is gone, and so is its place in the order */
            memmove(&files->list[middle], &files->list[middle + 1], (--files->count - middle) * sizeof *files->list);
            high = high > files->count ? files->count : high;
            low = low > high ? high : low;
        } else if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if (!make_room(snapshot, files))
        return NULL;
    pid = visit->thread ? visit->thread : visit->process->public.pid; /* that people know */
    uint64_t number = (uint64_t)pid << 32 | (uint32_t)visit->fd;
    struct object *object = wherry__inspect_object(snapshot, kind, SPACE_OPEN_FILE, (uint64_t)kind, number, ret_new);
    if (!object)
        return NULL;
    memmove(&files->list[low + 1], &files->list[low], (files->count - low) * sizeof *files->list);
    files->list[low] = (struct known){object, visit->thread ? visit->thread : visit->process->table, visit->fd};
    files->count++;
    if (*ret_new) {
        object->public.name = wherry__inspect_text(snapshot, "%s:[%d/%d]", wherry__collectors[kind]->name, (int)pid,
                                                   visit->fd);
        object->public.uid = visit->process->public.uid;
        object->public.flags = WHERRY_INSPECT_TRACKED;
    }
    return object;
}

/* ---- eventfd(2): the kernel numbers them ---- */

static void eventfd_descriptor(struct visit *visit)
{
    bool is_new;
    uint64_t id, count;
    struct object *object;
    if (wherry__visit_number(visit, "eventfd-id", 10, &id)) {
        object = wherry__inspect_object(visit->snapshot, WHERRY_INSPECT_EVENTFD, SPACE_EVENTFD, id, 0, &is_new);
        if (!object)
            return;
        object->public.id = id;
        object->public.name = wherry__inspect_text(visit->snapshot, "eventfd:[%llu]", (unsigned long long)id);
        object->public.uid = is_new ? visit->process->public.uid : object->public.uid;
        object->public.flags = WHERRY_INSPECT_TRACKED;
    } else if (!(object = wherry__anon_object(visit, WHERRY_INSPECT_EVENTFD, &is_new))) {
        return;
    }
    if (is_new && wherry__visit_number(visit, "eventfd-count", 16, &count))
        object->public.messages = count > INT64_MAX ? INT64_MAX : (int64_t)count;
    wherry__visit_hold(visit, object);
}

const struct collector wherry__collector_eventfd = {
    .name = "eventfd",
    .summary = "a counter that wakes who reads it, eventfd(2)",
    .link = "anon_inode:[eventfd]",
    .descriptor = eventfd_descriptor,
};

/* ---- signalfd(2), timerfd_create(2) ---- */

static void signalfd_descriptor(struct visit *visit)
{
    bool is_new;
    uint64_t mask;
    struct object *object = wherry__anon_object(visit, WHERRY_INSPECT_SIGNALFD, &is_new);
    if (!object)
        return;
    if (is_new && wherry__visit_number(visit, "sigmask", 16, &mask))
        object->public.detail = wherry__inspect_text(visit->snapshot, "signals %llx", (unsigned long long)mask);
    wherry__visit_hold(visit, object);
}

const struct collector wherry__collector_signalfd = {
    .name = "signalfd",
    .summary = "signals as something to read, signalfd(2)",
    .link = "anon_inode:[signalfd]",
    .descriptor = signalfd_descriptor,
};

static void timerfd_descriptor(struct visit *visit)
{
    bool is_new;
    struct object *object = wherry__anon_object(visit, WHERRY_INSPECT_TIMERFD, &is_new);
    if (object)
        wherry__visit_hold(visit, object);
}

const struct collector wherry__collector_timerfd = {
    .name = "timerfd",
    .summary = "a timer as something to read, timerfd_create(2)",
    .link = "anon_inode:[timerfd]",
    .descriptor = timerfd_descriptor,
};

/* ---- pidfd_open(2): all that lead to one process are one object ---- */

static void pidfd_descriptor(struct visit *visit)
{
    bool is_new;
    uint64_t pid;
    struct object *object;
    if (wherry__visit_number(visit, "Pid", 10, &pid) && (int64_t)pid > 0)
        object = wherry__inspect_object(visit->snapshot, WHERRY_INSPECT_PIDFD, SPACE_OPEN_FILE, UINT64_MAX, pid,
                                        &is_new);
    else
        object = wherry__anon_object(visit, WHERRY_INSPECT_PIDFD, &is_new), pid = 0;
    if (!object)
        return;
    if (is_new) {
        object->public.flags = WHERRY_INSPECT_TRACKED;
        object->public.uid = visit->process->public.uid;
        if (pid)
            object->public.name = wherry__inspect_text(visit->snapshot, "pidfd:[%llu]", (unsigned long long)pid);
        object->public.id = pid;
        object->public.detail = pid ? "" : "of a process that has ended";
    }
    wherry__visit_hold(visit, object);
}

static int pidfd_join(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->objects.count; i++) {
        struct object *object = snapshot->objects.list[i];
        const struct process *process = object->public.kind == WHERRY_INSPECT_PIDFD
                                            ? wherry__inspect_find_process(snapshot, (pid_t)object->public.id)
                                            : NULL;
        if (process)
            object->public.detail = wherry__inspect_text(snapshot, "of pid %d (%s)", (int)process->public.pid,
                                                         process->public.command);
    }
    return 0;
}

const struct collector wherry__collector_pidfd = {
    .name = "pidfd",
    .summary = "a descriptor that stands for a process, pidfd_open(2)",
    .link = "anon_inode:[pidfd]",
    .descriptor = pidfd_descriptor,
    .join = pidfd_join,
};
