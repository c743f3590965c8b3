/* inspect/sysv_shm.c - owns System V shared memory as a snapshot has it; shmget(2), proc_sysvipc(5).
 *
 * SPDX-License-Identifier: MIT
 *
 * An attached segment is a mapping of "/SYSV" and its key, on a file system of the kernel's own, whose inode is the
 * segment's number: that of the IPC namespace in which it was attached.  The process may be in another by now, which
 * mappings do not tell; if its present one has no such segment, the mapping is of the one other that has.  The kernel
 * counts attachments, so that also those of whom nobody sees are known. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>

#include "inspect/collectors.h"
#include "inspect/sysv.h"

struct attachment {
    struct attachment *next;
    struct mapping mapping;
    unsigned key; /* that it had when it was made; it is 0 once the segment is removed */
};

struct attachments {
    struct attachment *first, **last;
};

/* ---- step 2 ---- */

static bool mapped(struct mapping *mapping)
{
    static const char prefix[] = "/SYSV";
    struct snapshot *snapshot = mapping->snapshot;
    char *end;
    if (!mapping->shared || !mapping->deleted || !wherry__begins(mapping->path, prefix))
        return false;
    unsigned long key = strtoul(mapping->path + strlen(prefix), &end, 16);
    if (*end || end - mapping->path != (ptrdiff_t)(strlen(prefix) + 8))
        return false;
    struct attachments *all = snapshot->data[WHERRY_INSPECT_SYSV_SHM];
    struct attachment *attachment = wherry__inspect_memory(snapshot, sizeof *attachment);
    if (!attachment || (!all && !(all = wherry__inspect_memory(snapshot, sizeof *all))))
        return true;
    if (!all->last)
        all->last = &all->first;
    snapshot->data[WHERRY_INSPECT_SYSV_SHM] = all;
    *attachment = (struct attachment){.mapping = *mapping, .key = (unsigned)key};
    attachment->mapping.path = "";
    *all->last = attachment;
    all->last = &attachment->next;
    return true;
}

/* ---- step 3 ---- */

/* "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap" */
static int list_space(struct snapshot *snapshot, const struct ipc_space *space)
{
    char *rest;
    for (char *line = space->text[IPC_LIST_SHM] ? strtok_r(space->text[IPC_LIST_SHM], "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        int key, id, made, last;
        unsigned mode, uid, gid;
        unsigned long long size, attached, resident = 0;
        long long atime, dtime, ctime;
        if (sscanf(line, "%d %d %o %llu %d %d %llu %u %u %*u %*u %lld %lld %lld %llu", &key, &id, &mode, &size, &made,
                   &last, &attached, &uid, &gid, &atime, &dtime, &ctime, &resident) < 12)
            continue;
        long long used = atime > dtime ? atime : dtime;
        struct object *object = wherry__sysv_object(snapshot, space, WHERRY_INSPECT_SYSV_SHM, id, key, mode, uid, gid,
                                                    ctime > used ? ctime : used);
        if (!object)
            return -ENOMEM;
        object->public.size = size > INT64_MAX ? INT64_MAX : (int64_t)size;
        object->public.used = (int64_t)resident;
        object->public.flags |= WHERRY_INSPECT_TRACKED | (mode & SHM_DEST ? WHERRY_INSPECT_DELETED : 0);
        wherry__sysv_of(object)->attached = attached;
        wherry__sysv_user(object, made, ctime, "made it");
        wherry__sysv_user(object, last, used, "attached or detached it last");
    }
    return 0;
}

/* One that was removed has no key any more; its attachments still show the one it had. */
static bool fits(const struct object *object, const struct attachment *attachment)
{
    return object && ((unsigned)object->public.key == attachment->key ||
                      (object->public.key == 0 && object->public.flags & WHERRY_INSPECT_DELETED));
}

static struct object *find(struct snapshot *snapshot, const struct ipc_space *spaces,
                           const struct attachment *attachment)
{
    uint64_t own = attachment->mapping.process->public.ipc_space;
    uint64_t number = attachment->mapping.inode << 8 | WHERRY_INSPECT_SYSV_SHM;
    struct object *object = wherry__inspect_known(snapshot, SPACE_SYSV, own, number), *other = NULL;
    if (fits(object, attachment))
        return object;
    for (const struct ipc_space *space = spaces; space; space = space->next) {
        object = wherry__inspect_known(snapshot, SPACE_SYSV, space->space, number);
        if (!fits(object, attachment))
            continue;
        if (other)
            return NULL; /* either */
        other = object;
    }
    return other;
}

static void describe(struct object *object)
{
    const struct sysv *sysv = object->data;
    unsigned long long attached = sysv->attached;
    const char *unseen = sysv->attached > sysv->seen
                             ? wherry__inspect_text(object->snapshot, ", %llu of them out of sight",
                                                    (unsigned long long)(sysv->attached - sysv->seen))
                             : "";
    object->public.detail = wherry__inspect_text(
        object->snapshot, "attached %llu time%s%s; made by %s", attached, attached == 1 ? "" : "s", unseen,
        sysv->user_count ? wherry__sysv_process(object->snapshot, sysv->users[0].pid) : "a process out of sight");
}

static int join(struct snapshot *snapshot)
{
    struct ipc_space *spaces;
    const struct attachments *all = snapshot->data[WHERRY_INSPECT_SYSV_SHM];
    if (!wherry__inspect_wants(snapshot, WHERRY_INSPECT_SYSV_SHM))
        return 0;
    int result = wherry__ipc_spaces(snapshot, &spaces);
    for (const struct ipc_space *space = spaces; space && result == 0; space = space->next)
        result = list_space(snapshot, space);
    if (result < 0)
        return result;
    for (struct attachment *at = all ? all->first : NULL; at; at = at->next) {
        struct object *object = find(snapshot, spaces, at);
        if (object && wherry__mapping_hold(&at->mapping, object, WHERRY_INSPECT_ATTACHED))
            wherry__sysv_of(object)->seen++;
    }
    for (size_t i = 0; i < snapshot->objects.count; i++)
        if (snapshot->objects.list[i]->public.kind == WHERRY_INSPECT_SYSV_SHM)
            describe(snapshot->objects.list[i]);
    wherry__sysv_join(snapshot, WHERRY_INSPECT_SYSV_SHM);
    return 0;
}

/* ---- step 4: by the kernel's count ---- */

static void state(struct object *object)
{
    const char *did;
    struct snapshot *snapshot = object->snapshot;
    const struct sysv *sysv = object->data;
    if (object->public.holds)
        return;
    const struct process *living = wherry__sysv_living_user(object, &did);
    if (sysv->attached > 0) {
        object->public.state = WHERRY_INSPECT_LIVE;
        object->public.reason = wherry__inspect_text(
            snapshot, "the kernel counts %llu attachment%s, of processes that could not be looked at",
            (unsigned long long)sysv->attached, sysv->attached == 1 ? "" : "s");
    } else if (living) {
        object->public.state = WHERRY_INSPECT_UNKNOWN;
        object->public.reason = wherry__inspect_text(snapshot, "nobody has it attached, but pid %d (%s), which %s, "
                                                     "still runs, and may attach it again",
                                                     (int)living->public.pid, living->public.command, did);
    } else if (snapshot->pid_space != INITIAL_PID_SPACE) {
        object->public.state = WHERRY_INSPECT_UNKNOWN;
        object->public.reason =
            "nobody has it attached, says the kernel, but who made it may run outside of this PID namespace";
    } else {
        object->public.state = WHERRY_INSPECT_ORPHAN;
        object->public.reason = "nobody has it attached, says the kernel, and who made it and used it last has ended";
    }
}

const struct collector wherry__collector_sysv_shm = {
    .name = "sysv-shm",
    .summary = "System V shared memory, shmget(2)",
    .mapped = mapped,
    .join = join,
    .state = state,
};
