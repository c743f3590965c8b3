/* inspect/sysv_sem.c - owns System V semaphore sets as a snapshot has them; semget(2), proc_sysvipc(5).
 *
 * SPDX-License-Identifier: MIT
 *
 * The values, and who changed each last, can be asked in the caller's own IPC namespace, by who may read the set. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sem.h>

#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/sysv.h"

enum { SHOWN = 8, ASKED = 512 };

static void describe_values(struct object *object, unsigned count, const unsigned short *values)
{
    char text[SHOWN * 8] = "";
    size_t used = 0;
    for (unsigned i = 0; i < count && i < SHOWN; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u", i ? ", " : "", values[i]);
    if (count == 1)
        object->public.messages = values[0];
    object->public.detail = wherry__inspect_text(object->snapshot, "%u semaphore%s: %s%s", count, count == 1 ? "" : "s",
                                                 text, count > SHOWN ? ", ..." : "");
}

/* False: it may not be asked. */
static bool ask(struct object *object, unsigned count, int64_t changed)
{
    unsigned short values[ASKED];
    union wherry__semun argument = {.values = values}, none = {0};
    int id = (int)object->public.id;
    if (object->public.flags & WHERRY_INSPECT_ELSEWHERE || count > ASKED ||
        wherry__sys.semctl(id, 0, GETALL, argument) < 0)
        return false;
    describe_values(object, count, values);
    for (unsigned i = 0; i < count; i++) {
        int pid = wherry__sys.semctl(id, (int)i, GETPID, none);
        if (pid < 0)
            return false;
        wherry__sysv_user(object, pid, changed, "changed it last");
    }
    return true;
}

/* "key semid perms nsems uid gid cuid cgid otime ctime" */
static int list_space(struct snapshot *snapshot, const struct ipc_space *space)
{
    char *rest;
    for (char *line = space->text[IPC_LIST_SEM] ? strtok_r(space->text[IPC_LIST_SEM], "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        int key, id;
        unsigned mode, count, uid, gid;
        long long used, changed;
        if (sscanf(line, "%d %d %o %u %u %u %*u %*u %lld %lld", &key, &id, &mode, &count, &uid, &gid, &used,
                   &changed) != 8)
            continue;
        changed = used > changed ? used : changed;
        struct object *object =
            wherry__sysv_object(snapshot, space, WHERRY_INSPECT_SYSV_SEM, id, key, mode, uid, gid, changed);
        if (!object)
            return -ENOMEM;
        object->public.detail = wherry__inspect_text(snapshot, "%u semaphore%s", count, count == 1 ? "" : "s");
        wherry__sysv_of(object)->more_users = !ask(object, count, changed);
    }
    return 0;
}

static int join(struct snapshot *snapshot)
{
    struct ipc_space *spaces;
    if (!wherry__inspect_wants(snapshot, WHERRY_INSPECT_SYSV_SEM))
        return 0;
    int result = wherry__ipc_spaces(snapshot, &spaces);
    for (const struct ipc_space *space = spaces; space && result == 0; space = space->next)
        result = list_space(snapshot, space);
    if (result == 0)
        wherry__sysv_join(snapshot, WHERRY_INSPECT_SYSV_SEM);
    return result;
}

const struct collector wherry__collector_sysv_sem = {
    .name = "sysv-sem",
    .summary = "a System V semaphore set, semget(2)",
    .join = join,
    .state = wherry__sysv_state,
};
