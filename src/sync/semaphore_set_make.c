/* sync/semaphore_set_make.c - owns how a System V set comes to be, whole, however many processes begin at once (H31).
 *
 * SPDX-License-Identifier: MIT
 *
 * semget(2).  A set has its key, its permissions and zeros from the first call on, and textbooks' programs wait until
 * its sem_otime is not 0.  So does whoever opens one here; and a set that is being made has the mark of base/maker.h
 * beside its permissions, so that one left by a dead maker is known:
 *
 *     marked, sem_otime 0     nobody has used it: the next maker removes it, and makes it anew
 *     marked, sem_otime set   it was initialised: all that is missing is to take the mark away */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/key.h"
#include "base/maker.h"
#include "base/options.h"
#include "base/shm.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/semaphore_set.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

enum { MOST_VALUE = 32767, FEW = 64 };

struct wish {
    struct wherry_semaphore_set_options options;
    struct wherry__object object;
    const char *name;
    unsigned count;
};

int wherry__semaphore_set_find(const struct wherry__object *object, int *ret_id, struct semid_ds *ret_data)
{
    int id = object->by_id ? object->id : wherry__sys.semget(object->key, 0, 0);
    union wherry__semun argument = {.data = ret_data};
    if (id < 0 || wherry__sys.semctl(id, 0, SEM_STAT_ANY, argument) != id)
        return -ENOENT;
    *ret_id = id;
    return 0;
}

/* ---- making ---- */

static const char *limits(char text[static 128])
{
    int fd = open("/proc/sys/kernel/sem", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, 127) : 0;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    for (char *at = text; *at; at++)
        *at = *at == '\t' ? ' ' : *at;
    return text;
}

static int cannot_make(const struct wish *wish, int code)
{
    char text[128];
    if (code == ENOSPC)
        return wherry__fail(ENOSPC,
                            "%s: no more sets, or no more semaphores in them (%u): sysctl kernel.sem, its second "
                            "and fourth number (now %s)",
                            wish->name, wish->count, limits(text));
    if (code == EINVAL)
        return wherry__fail(EINVAL, "%s: %u are more than a set may have: sysctl kernel.sem, its first number (now %s)",
                            wish->name, wish->count, limits(text));
    return wherry__fail_errno(code, "%s: a set of %u cannot be made", wish->name, wish->count);
}

/* Owned by this user.  0 or -errno. */
static int set_mode(int id, unsigned mode)
{
    struct semid_ds data = {.sem_perm.uid = geteuid(), .sem_perm.gid = getegid()};
    union wherry__semun argument = {.data = &data};
    data.sem_perm.mode = (unsigned short)mode;
    return wherry__sys.semctl(id, 0, IPC_SET, argument) == 0 ? 0 : -errno;
}

/* All values, and sem_otime behind them: in one operation where the values that are not 0 are few, which is most often.
 * 0 or -errno. */
static int initialise(int id, const struct wish *wish)
{
    struct sembuf operations[FEW] = {{.sem_op = 0}}; /* with all values 0: waiting for zero is an operation, too */
    const uint16_t *values = wish->options.values;
    size_t count = 0;
    for (unsigned i = 0; values && i < wish->count && count <= FEW; i++)
        if (values[i] && count++ < FEW)
            operations[count - 1] = (struct sembuf){.sem_num = (unsigned short)i, .sem_op = (short)values[i]};
    if (count > FEW) { /* the kernel limits the operations of one call; nobody looks before sem_otime is set */
        union wherry__semun argument = {.values = (unsigned short *)(uintptr_t)values};
        if (wherry__sys.semctl(id, 0, SETALL, argument) != 0)
            return -errno;
        count = values[0] ? 2 : 1; /* down and up again; or waits for zero */
        operations[0] = (struct sembuf){.sem_op = values[0] ? -1 : 0};
        operations[1] = (struct sembuf){.sem_op = 1};
    }
    while (wherry__sys.semop(id, operations, count ? count : 1) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int fill(int id, const struct wish *wish)
{
    int result = wherry__key_note(&wish->object, id, wish->name);
    if (result < 0)
        return result;
    result = initialise(id, wish);
    if (result == 0)
        result = set_mode(id, wish->options.mode);
    return result < 0 ? wherry__fail_errno(-result, "%s: the values of the new set cannot be set", wish->name) : 0;
}

/* 0 or -errno; -EIDRM: somebody else did. */
static int remove_id(int id)
{
    union wherry__semun nothing = {.value = 0};
    if (wherry__sys.semctl(id, 0, IPC_RMID, nothing) == 0)
        return 0;
    return errno == EINVAL ? -EIDRM : -errno;
}

/* By who holds the maker's lock: so whatever has the mark was left by a dead process.  0: made; -EEXIST without a
 * sentence: there is one now, to be opened. */
static int make_locked(const struct wish *wish)
{
    struct semid_ds data;
    int id;
    if (wherry__semaphore_set_find(&wish->object, &id, &data) == 0) {
        if (!wherry__half_made(data.sem_perm.mode) || data.sem_perm.uid != geteuid())
            return -EEXIST;
        int result = data.sem_otime         ? set_mode(id, data.sem_perm.mode & 0666)
                     : wish->options.create ? remove_id(id)
                                            : 0;
        if (result < 0 && result != -EIDRM)
            return wherry__fail_errno(-result, "%s: what a dead process left half made cannot be mended", wish->name);
        if (data.sem_otime)
            return -EEXIST;
    }
    if (!wish->options.create)
        return -EEXIST;
    id = wherry__sys.semget(wish->object.key, (int)wish->count,
                            IPC_CREAT | IPC_EXCL | (int)wish->options.mode | WHERRY__HALF_MADE);
    if (id < 0)
        return errno == EEXIST ? -EEXIST : cannot_make(wish, errno);
    int result = fill(id, wish);
    if (result < 0)
        remove_id(id);
    return result;
}

/* 0; -EEXIST as above; -EAGAIN without a sentence: another makes it now. */
static int make(const struct wish *wish)
{
    int maker = wherry__maker_take(&wish->object, wish->name);
    if (maker < 0)
        return maker;
    int result = make_locked(wish);
    wherry__fd_close(&maker); /* last: it says that the maker is alive */
    return result;
}

/* ---- opening ---- */

static int check(const struct wish *wish, int id, const struct semid_ds *data)
{
    int result = wherry__owner_check(data->sem_perm.uid, wish->options.any_owner, wish->name);
    if (result == 0) /* its creator has the owner's rights */
        result = wherry__owner_check(data->sem_perm.cuid, wish->options.any_owner, wish->name);
    if (result == 0 && wherry__half_made(data->sem_perm.mode))
        return wherry__fail(EAGAIN, "%s: is not initialised: its maker is at it, or died; who creates it mends it",
                            wish->name);
    if (result == 0 && !data->sem_otime && !wish->options.as_found && !wish->object.by_id)
        return wherry__fail(EAGAIN,
                            "%s: nobody has operated on it since another program made it, so it may not be "
                            "initialised; if it is, take it as found (as_found, --as-found)",
                            wish->name);
    bool counts = wish->count && !wish->options.exclusive; /* who wants none to be there is told that there is one */
    if (result == 0 && counts && data->sem_nsems != wish->count)
        result = wherry__fail(EINVAL, "%s: has %lu semaphores, and %u were expected; remove it, or ask for what it has",
                              wish->name, (unsigned long)data->sem_nsems, wish->count);
    return result < 0 ? result : wherry__key_check(&wish->object, id, wish->name);
}

static int give(const struct wish *wish, int id, unsigned count, struct wherry_semaphore_set **ret_set)
{
    struct wherry_semaphore_set *set = malloc(sizeof *set + strlen(wish->name) + 1);
    if (!set)
        return wherry__fail(ENOMEM, "%s: no memory", wish->name);
    set->id = id;
    set->count = count;
    strcpy(set->name, wish->name);
    *ret_set = set;
    return 0;
}

/* Open what there is: -ENOENT, -EAGAIN (not ready) with a sentence.  *ret_mine: it has the mark, and is this user's. */
static int open_existing(const struct wish *wish, bool *ret_mine, struct wherry_semaphore_set **ret_set)
{
    struct semid_ds data;
    int id;
    *ret_mine = false;
    if (wherry__semaphore_set_find(&wish->object, &id, &data) < 0)
        return wherry__fail(ENOENT, "%s: there is none", wish->name);
    *ret_mine = wherry__half_made(data.sem_perm.mode) && data.sem_perm.uid == geteuid() && !wish->object.by_id;
    int result = check(wish, id, &data);
    return result < 0 ? result : give(wish, id, (unsigned)data.sem_nsems, ret_set);
}

/* -EAGAIN: not there, or not ready, or another makes it, or it comes and goes. */
static int open_once(const struct wish *wish, struct wherry_semaphore_set **ret_set)
{
    enum { TRIES = 100 };
    bool mine, made = false;
    struct wherry_semaphore_set *set;
    for (int i = 0; i < TRIES; i++) {
        int result = open_existing(wish, &mine, &set);
        if (result == 0 && (made || !wish->options.exclusive)) {
            *ret_set = set;
            return 0;
        }
        if (result == 0) {
            wherry_semaphore_set_close(set);
            return wherry__fail(EEXIST, "%s: there is one; remove it, or open it", wish->name);
        }
        bool missing = result == -ENOENT && !wish->object.by_id;
        if (!(missing && wish->options.create) && !(result == -EAGAIN && mine))
            return missing ? -EAGAIN : result;
        result = make(wish);
        made = result == 0;
        if (result == -EAGAIN)
            return wherry__fail(EAGAIN, "%s: another process is making it", wish->name);
        if (result == -EEXIST && mine && !wish->options.create) { /* a dead maker's, and not ours to make anew? */
            result = open_existing(wish, &mine, ret_set);
            return result == -ENOENT ? -EAGAIN : result;
        }
        if (result < 0 && result != -EEXIST)
            return result;
    }
    return wherry__fail(EAGAIN, "%s: there is one that cannot be looked at, or others make and remove it all the time",
                        wish->name);
}

static int check_wish(struct wish *wish, const struct wherry_semaphore_set_options *given)
{
    struct wherry_semaphore_set_options *options = &wish->options;
    int result = wherry__object_parse(&wish->object, wish->name, 1u << WHERRY__SYSV_SEM);
    if (result == 0)
        result =
            wherry__options_read(options, sizeof *options, given, offsetof(struct wherry_semaphore_set_options, mode),
                                 wish->name, "WHERRY_SEMAPHORE_SET_OPTIONS");
    if (result == 0)
        result = wherry__mode_check(&options->mode, wish->name);
    if (result < 0)
        return result;
    if (!options->create && (options->exclusive || options->values))
        return wherry__fail(EINVAL, "%s: exclusive and values are for who creates", wish->name);
    if (options->create && wish->object.by_id)
        return wherry__fail(EINVAL, "%s: the kernel gives out the numbers; name it by a key: 0xKEY or PATH?id=C",
                            wish->name);
    if (options->create && (wish->count == 0 || wish->count > INT16_MAX))
        return wherry__fail(EINVAL, "%s: a set of %u semaphores cannot be", wish->name, wish->count);
    for (unsigned i = 0; options->values && i < wish->count; i++)
        if (options->values[i] > MOST_VALUE)
            return wherry__fail(EINVAL, "%s: a semaphore counts to %d, not to %u", wish->name, MOST_VALUE,
                                options->values[i]);
    return wherry__process_start();
}

static int open_named(const char *name, unsigned count, const struct wherry_semaphore_set_options *options,
                      wherry_time deadline, struct wherry_semaphore_set **ret_set)
{
    struct wish wish = {.name = name, .count = count, .options = WHERRY_SEMAPHORE_SET_OPTIONS};
    struct wherry__steps steps = {0};
    int result = check_wish(&wish, options);
    while (result == 0 && (result = open_once(&wish, ret_set)) == -EAGAIN && !wherry__deadline_passed(deadline)) {
        wherry__steps_sleep(&steps, deadline);
        result = 0;
    }
    return result == -EAGAIN ? -wherry__deadline_code(deadline) : result; /* the sentence says what it waited for */
}

int wherry_semaphore_set_open(const char *name, unsigned count, const struct wherry_semaphore_set_options *options,
                              wherry_time deadline, struct wherry_semaphore_set **ret_set)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_named(name, count, options, deadline, ret_set));
}

void wherry_semaphore_set_close(struct wherry_semaphore_set *set)
{
    free(set);
}
