/* inspect/sysv.c - owns what the three kinds of System V objects share.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel notes who used a queue or a set last, by pid, and nobody else.  A noted process that still runs may use it
 * again; that all of them have ended does not say that nobody will: who has the key or the number is written
 * nowhere. */
#include "inspect/sysv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/maker.h"
#include "base/sys.h"
#include "inspect/waits.h"


/* ---- objects ---- */

static uint64_t number_of(enum wherry_inspect_kind kind, uint64_t id)
{
    return id << 8 | (uint64_t)kind;
}

static void name_by_number(struct object *object)
{
    object->public.name = wherry__inspect_text(object->snapshot, "%s:#%llu",
                                               wherry_inspect_kind_name(object->public.kind),
                                               (unsigned long long)object->public.id);
}

struct object *wherry__sysv_object(struct snapshot *snapshot, const struct ipc_space *space,
                                   enum wherry_inspect_kind kind, int id, key_t key, unsigned mode, uid_t uid,
                                   gid_t gid, int64_t changed)
{
    struct object *object =
        wherry__inspect_object(snapshot, kind, SPACE_SYSV, space->space, number_of(kind, (uint64_t)id), NULL);
    struct sysv *sysv = wherry__inspect_memory(snapshot, sizeof *sysv);
    if (!object || !sysv)
        return NULL;
    object->data = sysv;
    object->public.id = (uint64_t)id;
    object->public.key = key;
    object->public.space = space->space;
    object->public.uid = uid;
    object->public.gid = gid;
    object->public.mode = mode & 0777;
    object->public.since = changed * INT64_C(1000000000);
    if (!space->own)
        object->public.flags |= WHERRY_INSPECT_ELSEWHERE;
    if (key == IPC_PRIVATE)
        name_by_number(object);
    else
        object->public.name =
            wherry__inspect_text(snapshot, "%s:0x%x", wherry_inspect_kind_name(kind), (unsigned)key);
    return object;
}

/* A key means the caller's own namespace, where it is one there. */
static void name_apart(struct snapshot *snapshot, enum wherry_inspect_kind kind)
{
    for (size_t i = 0; i < snapshot->objects.count; i++) {
        struct object *object = snapshot->objects.list[i];
        if (object->public.kind != kind || !(object->public.flags & WHERRY_INSPECT_ELSEWHERE) || !object->public.key)
            continue;
        for (size_t k = 0; k < snapshot->objects.count; k++) {
            const struct wherry_inspect_object *other = &snapshot->objects.list[k]->public;
            if (other->kind == kind && other->key == object->public.key && other->space != object->public.space) {
                name_by_number(object);
                break;
            }
        }
    }
}

/* ---- who used it ---- */

void wherry__sysv_user(struct object *object, pid_t pid, int64_t at, const char *did)
{
    struct sysv *sysv = object->data;
    for (unsigned i = 0; i < sysv->user_count; i++)
        if (sysv->users[i].pid == pid) {
            sysv->users[i].at = at > sysv->users[i].at ? at : sysv->users[i].at;
            return;
        }
    if (pid == 0)
        return;
    if (sysv->user_count == SYSV_USERS) {
        sysv->more_users = true;
        return;
    }
    sysv->users[sysv->user_count].pid = pid;
    sysv->users[sysv->user_count].at = at;
    sysv->users[sysv->user_count++].did = did;
}

/* s of CLOCK_REALTIME; whole seconds are all that the kernel notes of use. */
static int64_t began_at(const struct process *process)
{
    struct timespec real, boot;
    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return real.tv_sec - boot.tv_sec + (int64_t)process->public.start / sysconf(_SC_CLK_TCK);
}

/* One that began later has the number of another that ended; a clock that was set makes the two look alike, so only
 * what is said changes by it, and not what is believed to be over. */
static bool is_later(const struct process *process, int64_t at)
{
    enum { SLACK = 2 }; /* s */
    return began_at(process) > at + SLACK;
}

const struct process *wherry__sysv_living_user(const struct object *object, const char **ret_did)
{
    const struct sysv *sysv = object->data;
    for (unsigned i = 0; i < sysv->user_count; i++) {
        const struct process *process = wherry__inspect_find_process(object->snapshot, sysv->users[i].pid);
        if (!process || is_later(process, sysv->users[i].at))
            continue;
        *ret_did = sysv->users[i].did;
        return process;
    }
    return NULL;
}

const char *wherry__sysv_process(struct snapshot *snapshot, pid_t pid)
{
    const struct process *process = wherry__inspect_find_process(snapshot, pid);
    return process ? wherry__inspect_text(snapshot, "pid %d (%s)", (int)pid, process->public.command)
                   : wherry__inspect_text(snapshot, "pid %d, which has ended", (int)pid);
}

/* ---- half made (base/maker.h) ---- */

static enum wherry__object_type type_of(enum wherry_inspect_kind kind)
{
    return kind == WHERRY_INSPECT_SYSV_SHM   ? WHERRY__SYSV_SHM
           : kind == WHERRY_INSPECT_SYSV_SEM ? WHERRY__SYSV_SEM
                                             : WHERRY__SYSV_MSG;
}

/* Its lock is in this mount name space's /dev/shm: one who makes it may have another. */
static bool all_share_mounts(const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->processes.count; i++) {
        const struct process *process = snapshot->processes.list[i];
        if (process->public.ipc_space == snapshot->ipc_space && process->mount_space != snapshot->mount_space)
            return false;
    }
    return true;
}

void wherry__sysv_maker(const struct object *object, char path[static 64], struct flock *ret_lock)
{
    *ret_lock = (struct flock){.l_type = F_WRLCK,
                               .l_whence = SEEK_SET,
                               .l_start = (off_t)((uint64_t)type_of(object->public.kind) << 32 |
                                                  (uint32_t)object->public.key),
                               .l_len = 1};
    snprintf(path, 64, "/dev/shm/wherry-%u/.makers", (unsigned)object->public.uid);
}

static bool maker_is_dead(const struct object *object)
{
    char path[64];
    struct flock lock;
    wherry__sysv_maker(object, path, &lock);
    int fd = wherry__sys.open(path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool free = wherry__sys.record_lock(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
    wherry__sys.close(fd);
    return free && all_share_mounts(object->snapshot);
}

static void look_for_maker(struct object *object)
{
    if (!wherry__half_made(object->public.mode) || object->public.flags & WHERRY_INSPECT_ELSEWHERE)
        return;
    bool dead = maker_is_dead(object);
    if (dead)
        object->public.flags |= WHERRY_INSPECT_OWNER_DEAD;
    object->public.detail = wherry__inspect_text(object->snapshot, "%s%shalf made%s", object->public.detail,
                                                 object->public.detail[0] ? "; " : "",
                                                 dead ? ", and its maker has died" : "");
}

/* ---- the end of step 3 ---- */

static void join_waits(struct snapshot *snapshot, enum wherry_inspect_kind kind)
{
    for (const struct wait *wait = snapshot->waits; wait; wait = wait->next) {
        struct object *object =
            wait->kind == kind ? wherry__inspect_known(snapshot, SPACE_SYSV, wait->process->public.ipc_space,
                                                       number_of(kind, wait->id))
                               : NULL;
        struct wherry_inspect_hold *hold =
            object ? wherry__inspect_hold(object, wait->process, WHERRY_INSPECT_WAITING) : NULL;
        if (!hold)
            continue;
        hold->thread = wait->thread == wait->process->public.pid ? 0 : wait->thread;
        hold->detail = wait->call;
    }
}

void wherry__sysv_join(struct snapshot *snapshot, enum wherry_inspect_kind kind)
{
    name_apart(snapshot, kind);
    join_waits(snapshot, kind);
    for (size_t i = 0; i < snapshot->objects.count; i++)
        if (snapshot->objects.list[i]->public.kind == kind)
            look_for_maker(snapshot->objects.list[i]);
}

/* ---- step 4 ---- */

void wherry__sysv_state(struct object *object)
{
    static const char record[] = "System V queues and semaphores keep no record of who uses them";
    struct snapshot *snapshot = object->snapshot;
    const struct sysv *sysv = object->data;
    const char *did;
    if (object->public.holds)
        return; /* by_holds() said it: a thread waits */
    const struct process *living = wherry__sysv_living_user(object, &did);
    object->public.state = living ? WHERRY_INSPECT_LIVE : WHERRY_INSPECT_UNKNOWN;
    if (living) {
        object->public.reason = wherry__inspect_text(snapshot, "pid %d (%s) %s, and still runs",
                                                     (int)living->public.pid, living->public.command, did);
        return;
    }
    bool complete = !sysv->more_users && !snapshot->blind && snapshot->pid_space == INITIAL_PID_SPACE;
    for (unsigned i = 0; i < sysv->user_count; i++)
        complete &= !wherry__inspect_find_process(snapshot, sysv->users[i].pid);
    if (complete)
        object->public.flags |= WHERRY_INSPECT_USERS_GONE;
    if (sysv->user_count)
        object->public.reason = wherry__inspect_text(snapshot, "%s; pid %d, which %s, %s", record,
                                                     (int)sysv->users[0].pid, sysv->users[0].did,
                                                     snapshot->blind ? "is not shown by /proc (hidepid)" : "has ended");
    else
        object->public.reason =
            wherry__inspect_text(snapshot, "%s%s", record, complete ? "; nobody has used it yet" : "");
}
