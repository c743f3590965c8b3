/* inspect/remove_sysv.c - owns the removal of System V objects; shmctl(2), semctl(2), msgctl(2), IPC_RMID.
 *
 * SPDX-License-Identifier: MIT
 *
 * They have no second name to be put aside under: the last look and the removal are two calls.  A segment that somebody
 * attaches between them lives on for who has it.  An object that wherry's maker left half made is removed under the
 * maker's lock (base/maker.h), so that nobody makes it ready meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/maker.h"
#include "base/sys.h"
#include "base/why.h"
#include "inspect/remove.h"
#include "inspect/sysv.h"

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

/* What the kernel says of it now. */
struct now {
    key_t key;
    uid_t uid;
    int64_t changed; /* s */
    uint64_t attached;
    bool waiting;
};

static int64_t latest(int64_t a, int64_t b, int64_t c)
{
    int64_t most = a > b ? a : b;
    return most > c ? most : c;
}

static int look_at_segment(int id, struct now *ret)
{
    struct shmid_ds data;
    if (wherry__sys.shmctl(id, SHM_STAT_ANY, &data) != id)
        return -EIDRM;
    *ret = (struct now){.key = data.shm_perm.__key, .uid = data.shm_perm.uid, .attached = data.shm_nattch,
                        .changed = latest(data.shm_ctime, data.shm_atime, data.shm_dtime)};
    return 0;
}

static int look_at_queue(int id, struct now *ret)
{
    struct msqid_ds data;
    if (wherry__sys.msgctl(id, MSG_STAT_ANY, &data) != id)
        return -EIDRM;
    *ret = (struct now){.key = data.msg_perm.__key, .uid = data.msg_perm.uid,
                        .changed = latest(data.msg_ctime, data.msg_stime, data.msg_rtime)};
    return 0;
}

/* Who waits at which semaphore is counted. */
static int look_at_set(int id, struct now *ret)
{
    struct semid_ds data;
    union wherry__semun argument = {.data = &data}, none = {0};
    if (wherry__sys.semctl(id, 0, SEM_STAT_ANY, argument) != id)
        return -EIDRM;
    *ret = (struct now){.key = data.sem_perm.__key, .uid = data.sem_perm.uid,
                        .changed = latest(data.sem_ctime, data.sem_otime, 0)};
    for (unsigned long i = 0; i < data.sem_nsems && !ret->waiting; i++)
        ret->waiting = wherry__sys.semctl(id, (int)i, GETNCNT, none) > 0 ||
                       wherry__sys.semctl(id, (int)i, GETZCNT, none) > 0;
    return 0;
}

static int look(const struct object *object, struct now *ret)
{
    int id = (int)object->public.id;
    return object->public.kind == WHERRY_INSPECT_SYSV_SHM   ? look_at_segment(id, ret)
           : object->public.kind == WHERRY_INSPECT_SYSV_SEM ? look_at_set(id, ret)
                                                            : look_at_queue(id, ret);
}

static int check(const struct object *object)
{
    struct now now;
    const char *name = object->public.name;
    if (look(object, &now) < 0)
        return wherry__fail(ENOENT, "%s: it is gone", name);
    if (now.attached)
        return wherry__fail(EBUSY, "%s: the kernel counts %llu attachments", name, (unsigned long long)now.attached);
    if (now.waiting)
        return wherry__fail(EBUSY, "%s: a thread waits on it", name);
    if (now.key != object->public.key || now.uid != object->public.uid ||
        now.changed * INT64_C(1000000000) != object->public.since)
        return wherry__fail(ESTALE, "%s: it was used or changed since it was looked at; look again", name);
    return 0;
}

/* The lock of who makes it: a descriptor; -1: nobody needs it; -EBUSY. */
static int take_maker(const struct object *object)
{
    char path[64];
    struct flock lock;
    if (!(object->public.flags & WHERRY_INSPECT_OWNER_DEAD))
        return -1;
    wherry__sysv_maker(object, path, &lock);
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0)), code = errno;
    wherry__fd_unguard();
    if (fd < 0)
        return wherry__fail_errno(code, "%s: %s, which tells who makes it, cannot be opened", object->public.name,
                                  path);
    if (wherry__sys.record_lock(fd, F_OFD_SETLK, &lock) == 0)
        return fd;
    wherry__fd_close(&fd);
    return wherry__fail(EBUSY, "%s: somebody is making it", object->public.name);
}

/* The note of the file that its key was made of (base/key.h). */
static void forget_key(const struct object *object)
{
    char path[96];
    if (!object->public.key)
        return;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/.key-%s-0x%08x", (unsigned)object->public.uid,
             wherry_inspect_kind_name(object->public.kind), (unsigned)object->public.key);
    wherry__sys.unlinkat(AT_FDCWD, path, 0);
}

static int remove_now(const struct object *object)
{
    int id = (int)object->public.id;
    union wherry__semun none = {0};
    int result = object->public.kind == WHERRY_INSPECT_SYSV_SHM   ? wherry__sys.shmctl(id, IPC_RMID, NULL)
                 : object->public.kind == WHERRY_INSPECT_SYSV_SEM ? wherry__sys.semctl(id, 0, IPC_RMID, none)
                                                                  : wherry__sys.msgctl(id, IPC_RMID, NULL);
    if (result == 0) {
        forget_key(object);
        return 0;
    }
    if (errno == EPERM)
        return wherry__fail(EPERM, "%s: belongs to uid %u; run it as that user or as root", object->public.name,
                            (unsigned)object->public.uid);
    return wherry__fail_errno(errno, "%s: it cannot be removed", object->public.name);
}

int wherry__remove_sysv(const struct object *object, bool untracked)
{
    const struct wherry_inspect_object *public = &object->public;
    bool half_made = public->flags & WHERRY_INSPECT_OWNER_DEAD, tracked = public->kind == WHERRY_INSPECT_SYSV_SHM;
    if (!half_made && !tracked && !(untracked && public->flags & WHERRY_INSPECT_USERS_GONE))
        return wherry__fail(EBUSY, "%s: it cannot be known that nobody uses it: %s", public->name, public->reason);
    if (!half_made && tracked && public->state != WHERRY_INSPECT_ORPHAN)
        return wherry__fail(EBUSY, "%s: %s", public->name, public->reason);
    int result = check(object);
    if (result == 0 && !tracked)
        result = wherry__remove_look(object, true); /* a queue's waiters are counted by nobody */
    int maker = result == 0 ? take_maker(object) : -1;
    if (result == 0 && maker < -1)
        result = maker;
    if (result == 0)
        result = check(object);
    if (result == 0)
        result = remove_now(object);
    if (maker >= 0)
        wherry__fd_close(&maker);
    return result;
}
