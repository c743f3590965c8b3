/* storage/segment_sysv.c - owns System V shared memory.
 *
 * SPDX-License-Identifier: MIT
 *
 * shmget(2), shmat(2), shmctl(2).  The key is there from the first call on, so what is being made has no permissions
 * but the mark of base/maker.h until it is published. */
#include <errno.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/key.h"
#include "base/maker.h"
#include "base/robust.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/segment.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

/* What the kernel says of number `id`, also without permission to read it: 0, or -EIDRM, without a sentence. */
static int look_at(int id, struct shmid_ds *ret_data)
{
    return wherry__sys.shmctl(id, SHM_STAT_ANY, ret_data) == id ? 0 : -EIDRM;
}

/* The number of the segment of that name, and what it is: 0; -ENOENT without a sentence. */
static int find(const struct wherry__object *object, int *ret_id, struct shmid_ds *ret_data)
{
    int id = object->by_id ? object->id : wherry__sys.shmget(object->key, 0, 0);
    if (id < 0 || look_at(id, ret_data) < 0)
        return -ENOENT;
    *ret_id = id;
    return 0;
}

static int set_mode(int id, unsigned mode)
{
    struct shmid_ds data = {.shm_perm.uid = geteuid(), .shm_perm.gid = getegid()};
    data.shm_perm.mode = (unsigned short)mode;
    return wherry__sys.shmctl(id, IPC_SET, &data) == 0 ? 0 : -errno;
}

/* ---- making ---- */

static int cannot_make(const struct wherry_segment *segment, int code)
{
    char text[128];
    unsigned long long size = segment->size;
    if (code == ENOSPC)
        return wherry__fail(ENOSPC,
                            "%s: no more segments, or no more memory for them (%llu bytes): sysctl kernel.shmmni "
                            "(now %s), kernel.shmall",
                            segment->name, size, wherry__segment_setting("/proc/sys/kernel/shmmni", text));
    if (code == EINVAL)
        return wherry__fail(EINVAL, "%s: %llu bytes are more than a segment may have: sysctl kernel.shmmax (now %s)",
                            segment->name, size, wherry__segment_setting("/proc/sys/kernel/shmmax", text));
    if (segment->huge && code == EPERM)
        return wherry__fail(EPERM, "%s: this user may not have huge pages: sysctl vm.hugetlb_shm_group (now %s)",
                            segment->name, wherry__segment_setting("/proc/sys/vm/hugetlb_shm_group", text));
    if (segment->huge && code == ENOMEM)
        return wherry__fail(ENOMEM,
                            "%s: not enough huge pages for %llu bytes are free: sysctl vm.nr_hugepages (now %s)",
                            segment->name, size, wherry__segment_setting("/proc/sys/vm/nr_hugepages", text));
    if (segment->huge && code == ENOSYS)
        return wherry__fail(EOPNOTSUPP, "%s: this kernel has no huge pages", segment->name);
    return wherry__fail_errno(code, "%s: a segment of %llu bytes cannot be made", segment->name, size);
}

/* There is one with our key: away with it if its maker is dead, which holding the lock proves of one that is half made.
 * 0: try again; -EEXIST, -EADDRINUSE ... */
static int take_over(const struct wherry_segment *segment)
{
    struct shmid_ds data;
    int id;
    if (find(&segment->object, &id, &data) < 0)
        return 0;
    /* who came by a fork from the dead maker may be attached: it keeps that memory, and nobody else ever saw it */
    if (wherry__half_made(data.shm_perm.mode) && data.shm_perm.uid == geteuid())
        return wherry__sys.shmctl(id, IPC_RMID, NULL) == 0 || errno == EIDRM || errno == EINVAL
                   ? 0
                   : wherry__fail_errno(errno, "%s: what a dead process left half made cannot be removed",
                                        segment->name);
    int result = wherry__key_check(&segment->object, id, segment->name);
    if (result < 0)
        return result;
    return wherry__fail(EEXIST, "%s: there is one of %llu bytes, of uid %u; remove it, or open it", segment->name,
                        (unsigned long long)data.shm_segsz, (unsigned)data.shm_perm.uid);
}

static int get(struct wherry_segment *segment)
{
    enum { TRIES = 100 };
    int flags = IPC_CREAT | IPC_EXCL | WHERRY__HALF_MADE | (segment->huge ? SHM_HUGETLB : 0), result = 0;
    for (int i = 0; i < TRIES && result == 0; i++) {
        segment->id = wherry__sys.shmget(segment->object.key, (size_t)segment->size, flags);
        if (segment->id >= 0)
            return 0;
        result = errno == EEXIST ? take_over(segment) : cannot_make(segment, errno);
    }
    return result < 0 ? result
                      : wherry__fail(EEXIST,
                                     "%s: there is one that cannot be looked at, or others make and remove it all "
                                     "the time",
                                     segment->name);
}

/* Without CAP_IPC_OWNER nobody attaches what has no permissions, its maker neither: it has some for a moment, when it
 * is all zeros, and still the mark. */
static int attach_unseen(struct wherry_segment *segment)
{
    void *data = wherry__sys.shmat(segment->id, NULL, 0);
    if (data == (void *)-1 && errno == EACCES) {
        int result = set_mode(segment->id, 0600 | WHERRY__HALF_MADE);
        if (result == 0)
            data = wherry__sys.shmat(segment->id, NULL, 0);
        int code = result == 0 ? errno : -result;
        set_mode(segment->id, WHERRY__HALF_MADE);
        errno = code;
    }
    if (data == (void *)-1)
        return wherry__fail_errno(errno, "%s: cannot be attached", segment->name);
    segment->data = data;
    return 0;
}

static int make(struct wherry_segment *segment)
{
    if (segment->object.by_id)
        return wherry__fail(EINVAL, "%s: the kernel gives out the numbers; name it by a key: 0xKEY or PATH?id=C",
                            segment->name);
    segment->maker = wherry__maker_take(&segment->object, segment->name);
    if (segment->maker == -EAGAIN)
        return wherry__fail(EEXIST, "%s: another process is making it now; open it", segment->name);
    if (segment->maker < 0)
        return segment->maker;
    int result = get(segment);
    if (result == 0)
        result = attach_unseen(segment);
    if (result == 0)
        result = wherry__key_note(&segment->object, segment->id, segment->name);
    return result;
}

static int publish(struct wherry_segment *segment)
{
    struct shmid_ds data;
    if (look_at(segment->id, &data) < 0 || (data.shm_perm.mode & SHM_DEST))
        return wherry__fail(EIDRM, "%s: somebody removed it before it was published", segment->name);
    int result = set_mode(segment->id, segment->mode);
    if (result < 0)
        return wherry__fail_errno(-result, "%s: its permissions cannot be set", segment->name);
    wherry__fd_close(&segment->maker);
    return 0;
}

static void close_segment(struct wherry_segment *segment, bool child)
{
    if (segment->data && !wherry__robust_keeps(segment->name, segment->data, (size_t)segment->size)) /* H28 */
        wherry__sys.shmdt(segment->data);
    if (segment->published || child || segment->id < 0)
        return;
    wherry__sys.shmctl(segment->id, IPC_RMID, NULL);
    if (segment->object.by_path)
        wherry__key_forget(WHERRY__SYSV_SHM, segment->object.key);
}

/* ---- opening ---- */

static int not_there(const struct wherry_segment *segment)
{
    return wherry__fail(segment->object.by_id ? ENOENT : EAGAIN, "%s: there is none", segment->name);
}

static int check(const struct wherry_segment *segment, int id, const struct shmid_ds *data,
                 const struct wherry_segment_options *options)
{
    const struct ipc_perm *owner = &data->shm_perm;
    int result = wherry__owner_check(owner->uid, options->any_owner, segment->name);
    if (result == 0) /* its creator has the owner's rights */
        result = wherry__owner_check(owner->cuid, options->any_owner, segment->name);
    if (result == 0 && wherry__half_made(owner->mode))
        result = wherry__fail(EAGAIN, "%s: is not published: its maker is at it, or died", segment->name);
    if (result == 0 && (owner->mode & SHM_DEST))
        result = wherry__fail(EIDRM, "%s: was removed, and lives until the last of %llu attachments ends",
                              segment->name, (unsigned long long)data->shm_nattch);
    if (result == 0)
        result = wherry__segment_check_length(data->shm_segsz, options, segment->name);
    return result < 0 ? result : wherry__key_check(&segment->object, id, segment->name);
}

static int open_segment(struct wherry_segment *segment, const struct wherry_segment_options *options)
{
    struct shmid_ds data;
    int id;
    if (find(&segment->object, &id, &data) < 0)
        return not_there(segment);
    int result = check(segment, id, &data, options);
    if (result < 0)
        return result;
    void *at = wherry__sys.shmat(id, NULL, segment->writable ? 0 : SHM_RDONLY);
    if (at == (void *)-1 && (errno == EIDRM || errno == EINVAL)) /* removed meanwhile */
        return not_there(segment);
    if (at == (void *)-1 && errno == EACCES)
        return wherry__fail(EACCES, "%s: belongs to uid %u, and its mode 0%o does not let this process %s it",
                            segment->name, (unsigned)data.shm_perm.uid, (unsigned)(data.shm_perm.mode & 0777),
                            segment->writable ? "write" : "read");
    if (at == (void *)-1)
        return wherry__fail_errno(errno, "%s: cannot be attached", segment->name);
    segment->id = id;
    segment->data = at;
    segment->size = data.shm_segsz;
    segment->published = true; /* by somebody else: close does not remove it */
    return 0;
}

/* ---- looking and removing ---- */

static void fill_stat(int id, const struct shmid_ds *data, struct wherry_segment_stat *stat)
{
    const struct ipc_perm *owner = &data->shm_perm;
    stat->published = !wherry__half_made(owner->mode);
    stat->removed = (owner->mode & SHM_DEST) != 0;
    stat->mode = owner->mode & 0777;
    stat->length = data->shm_segsz;
    stat->uid = owner->uid;
    stat->gid = owner->gid;
    stat->creator_uid = owner->cuid;
    stat->creator = data->shm_cpid;
    stat->last = data->shm_lpid;
    stat->attached = data->shm_nattch;
    stat->attached_at = data->shm_atime;
    stat->detached_at = data->shm_dtime;
    stat->changed_at = data->shm_ctime;
    stat->id = id;
    stat->key = owner->__key;
}

static int look(const struct wherry__object *object, const char *name, struct wherry_segment_stat *stat)
{
    struct shmid_ds data;
    int id;
    if (find(object, &id, &data) < 0)
        return wherry__fail(ENOENT, "%s: there is none", name);
    fill_stat(id, &data, stat);
    return 0;
}

static int stat_segment(const struct wherry_segment *segment, struct wherry_segment_stat *stat)
{
    struct shmid_ds data;
    if (look_at(segment->id, &data) < 0)
        return wherry__fail(EIDRM, "%s: is gone", segment->name);
    fill_stat(segment->id, &data, stat);
    return 0;
}

static int remove_segment(const struct wherry__object *object, const char *name)
{
    struct shmid_ds data;
    int id;
    if (find(object, &id, &data) < 0)
        return wherry__fail(ENOENT, "%s: there is none", name);
    if (data.shm_perm.mode & SHM_DEST)
        return wherry__fail(ENOENT, "%s: was removed already, and lives until the last of %llu attachments ends", name,
                            (unsigned long long)data.shm_nattch);
    if (wherry__sys.shmctl(id, IPC_RMID, NULL) != 0) {
        if (errno == EIDRM || errno == EINVAL)
            return wherry__fail(ENOENT, "%s: there is none", name);
        return wherry__fail_errno(errno, "%s: belongs to uid %u, and cannot be removed", name,
                                  (unsigned)data.shm_perm.uid);
    }
    wherry__key_forget(WHERRY__SYSV_SHM, data.shm_perm.__key);
    return 0;
}

const struct wherry__segment_kind wherry__segment_sysv = {
    .make = make,
    .publish = publish,
    .open = open_segment,
    .stat = stat_segment,
    .look = look,
    .remove = remove_segment,
    .close = close_segment,
};
