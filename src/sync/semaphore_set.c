/* sync/semaphore_set.c - owns the use of System V sets: operations, values, what the kernel says, removal.
 *
 * SPDX-License-Identifier: MIT
 *
 * semop(2), semctl(2).  semaphore_set_make.c owns how they come to be. */
#include "sync/semaphore_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>

#include "base/key.h"
#include "base/maker.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"

/* So that what the caller has is what the kernel takes. */
_Static_assert(sizeof(struct wherry_semaphore_operation) == sizeof(struct sembuf), "laid out as struct sembuf");
_Static_assert(offsetof(struct wherry_semaphore_operation, change) == offsetof(struct sembuf, sem_op), "likewise");
_Static_assert(offsetof(struct wherry_semaphore_operation, flags) == offsetof(struct sembuf, sem_flg), "likewise");
_Static_assert(WHERRY_UNDO == SEM_UNDO, "likewise");

enum { FEW = 16, MOST = 1 << 20 };

/* ---- operations ---- */

static int explain(const struct wherry_semaphore_set *set, int code)
{
    switch (code) {
    case EIDRM:
    case EINVAL: /* before the call; whatever else it may mean was looked at */
        return wherry__fail(EIDRM, "%s: the set was removed", set->name);
    case EFBIG:
        return wherry__fail(EFBIG, "%s: has %u semaphores: an index is from 0 to %u", set->name, set->count,
                            set->count - 1);
    case ERANGE:
        return wherry__fail(ERANGE, "%s: a semaphore counts to 32767", set->name);
    case E2BIG:
        return wherry__fail(E2BIG, "%s: too many operations at once: sysctl kernel.sem, its third number", set->name);
    case ENOSPC:
        return wherry__fail(ENOSPC, "%s: too much to undo: the kernel keeps no more for a process", set->name);
    case EACCES:
        return wherry__fail(EACCES, "%s: its permissions do not let this process do that", set->name);
    default:
        return wherry__fail_errno(code, "%s: the operation failed", set->name);
    }
}

static int wait_for(const struct wherry_semaphore_set *set, struct sembuf *operations, size_t count,
                    wherry_time deadline)
{
    struct timespec left;
    if (wherry__deadline_passed(deadline))
        return wherry__fail_quietly(wherry__deadline_code(deadline), "the operation is not possible now");
    for (size_t i = 0; i < count; i++)
        operations[i].sem_flg &= ~IPC_NOWAIT;
    while (wherry__sys.semtimedop(set->id, operations, count, wherry__deadline_left(deadline, &left)) != 0) {
        if (errno != EINTR && errno != EAGAIN)
            return explain(set, errno);
        if (errno == EAGAIN && wherry__deadline_passed(deadline))
            return wherry__fail_quietly(ETIMEDOUT, "the operation was not possible until the deadline");
    }
    return 0;
}

/* Try first: what is possible at once needs no look at the clock. */
static int operate(const struct wherry_semaphore_set *set, const struct wherry_semaphore_operation *operations,
                   struct sembuf *copy, size_t count, wherry_time deadline)
{
    for (size_t i = 0; i < count; i++) {
        if (operations[i].flags & ~WHERRY_UNDO)
            return wherry__fail(EINVAL, "%s: operation %zu has flags 0x%x; WHERRY_UNDO is all there is", set->name, i,
                                (unsigned)operations[i].flags);
        memcpy(&copy[i], &operations[i], offsetof(struct sembuf, sem_flg)); /* in one move */
        copy[i].sem_flg = (short)(operations[i].flags | IPC_NOWAIT);
    }
    if (__builtin_expect(wherry__sys.semop(set->id, copy, count) == 0, 1))
        return 0;
    return errno == EAGAIN ? wait_for(set, copy, count, deadline) : explain(set, errno);
}

int wherry_semaphore_set_operate(struct wherry_semaphore_set *set, const struct wherry_semaphore_operation *operations,
                                 size_t count, wherry_time deadline)
{
    struct sembuf few[FEW];
    if (__builtin_expect(count - 1 < FEW, 1))
        return operate(set, operations, few, count, deadline);
    if (count == 0)
        return wherry__fail(EINVAL, "%s: no operation at all", set->name);
    if (count > MOST)
        return explain(set, E2BIG);
    struct sembuf *many = malloc(count * sizeof *many);
    if (!many)
        return wherry__fail(ENOMEM, "%s: no memory", set->name);
    int result = operate(set, operations, many, count, deadline);
    free(many);
    return result;
}

/* ---- values ---- */

unsigned wherry_semaphore_set_count(const struct wherry_semaphore_set *set)
{
    return set->count;
}

static int all_values(const struct wherry_semaphore_set *set, int command, unsigned short *values, size_t count)
{
    union wherry__semun argument = {.values = values};
    if (count != set->count)
        return wherry__fail(EINVAL, "%s: has %u semaphores, and room for %zu values was given", set->name, set->count,
                            count);
    return wherry__sys.semctl(set->id, 0, command, argument) >= 0 ? 0 : explain(set, errno);
}

int wherry_semaphore_set_values(const struct wherry_semaphore_set *set, uint16_t *ret_values, size_t count)
{
    return all_values(set, GETALL, ret_values, count);
}

int wherry_semaphore_set_assign(struct wherry_semaphore_set *set, const uint16_t *values, size_t count)
{
    return all_values(set, SETALL, (unsigned short *)(uintptr_t)values, count); /* which it only reads */
}

/* ---- looking ---- */

static int ask(const struct wherry_semaphore_set *set, unsigned index, int command, int *ret_answer)
{
    union wherry__semun nothing = {.value = 0};
    *ret_answer = wherry__sys.semctl(set->id, (int)index, command, nothing);
    return *ret_answer >= 0 ? 0 : explain(set, errno);
}

int wherry_semaphore_set_stat_one(const struct wherry_semaphore_set *set, unsigned index,
                                  struct wherry_semaphore_stat *ret_stat, size_t size)
{
    int value, more = 0, zero = 0, last = 0;
    if (index >= set->count)
        return explain(set, EFBIG);
    int result = ask(set, index, GETVAL, &value);
    if (result == 0)
        result = ask(set, index, GETNCNT, &more);
    if (result == 0)
        result = ask(set, index, GETZCNT, &zero);
    if (result == 0)
        result = ask(set, index, GETPID, &last);
    if (result < 0)
        return result;
    struct wherry_semaphore_stat stat = {
        .value = (uint32_t)value, .waiting_more = (uint32_t)more, .waiting_zero = (uint32_t)zero, .last = last};
    memcpy(ret_stat, &stat, size < sizeof stat ? size : sizeof stat);
    return 0;
}

int wherry_semaphore_set_stat(const char *name, struct wherry_semaphore_set_stat *ret_stat, size_t size)
{
    struct wherry__object object;
    struct semid_ds data;
    int id, result = wherry__object_parse(&object, name, 1u << WHERRY__SYSV_SEM);
    if (result < 0)
        return result;
    if (wherry__semaphore_set_find(&object, &id, &data) < 0)
        return wherry__fail(ENOENT, "%s: there is none", name);
    struct wherry_semaphore_set_stat stat = {
        .published = !wherry__half_made(data.sem_perm.mode),
        .mode = data.sem_perm.mode & 0777,
        .count = (unsigned)data.sem_nsems,
        .uid = data.sem_perm.uid,
        .gid = data.sem_perm.gid,
        .creator_uid = data.sem_perm.cuid,
        .operated_at = data.sem_otime,
        .changed_at = data.sem_ctime,
        .id = id,
        .key = data.sem_perm.__key,
    };
    memcpy(ret_stat, &stat, size < sizeof stat ? size : sizeof stat);
    return 0;
}

/* ---- removing ---- */

int wherry_semaphore_set_remove(const char *name)
{
    struct wherry__object object;
    struct semid_ds data;
    union wherry__semun nothing = {.value = 0};
    int id, result = wherry__object_parse(&object, name, 1u << WHERRY__SYSV_SEM);
    if (result < 0)
        return result;
    if (wherry__semaphore_set_find(&object, &id, &data) < 0)
        return wherry__fail(ENOENT, "%s: there is none", name);
    if (wherry__sys.semctl(id, 0, IPC_RMID, nothing) != 0) {
        if (errno == EIDRM || errno == EINVAL)
            return wherry__fail(ENOENT, "%s: there is none", name);
        return wherry__fail_errno(errno, "%s: belongs to uid %u, and cannot be removed", name,
                                  (unsigned)data.sem_perm.uid);
    }
    wherry__key_forget(WHERRY__SYSV_SEM, data.sem_perm.__key);
    return 0;
}
