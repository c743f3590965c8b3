/* sync/semaphore.c - owns POSIX semaphores: the file of a named one, and waiting by the monotonic clock.
 *
 * SPDX-License-Identifier: MIT
 *
 * sem_overview(7).  A named semaphore is a file of one sem_t, which libc's functions take at any address; how the
 * file is made and opened is ours (base/shm.h). */
#include <wherry/semaphore.h>

#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fd.h"
#include "base/object.h"
#include "base/options.h"
#include "base/shm.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "sync/clock.h"

_Static_assert(sizeof(struct wherry_semaphore) == sizeof(sem_t), "it is a sem_t, whatever the header calls it");
_Static_assert(_Alignof(struct wherry_semaphore) >= _Alignof(sem_t), "and lies as one");

static sem_t *libc(struct wherry_semaphore *semaphore)
{
    return (sem_t *)(void *)semaphore;
}

/* ---- in memory ---- */

static int check_value(uint32_t value, const char *name)
{
    if (value <= SEM_VALUE_MAX)
        return 0;
    return wherry__fail(EINVAL, "%s: a semaphore counts to %d, not to %u", name, SEM_VALUE_MAX, value);
}

int wherry_semaphore_init(struct wherry_semaphore *semaphore, uint32_t value)
{
    int result = check_value(value, "the semaphore");
    if (result == 0 && sem_init(libc(semaphore), 1, value) != 0)
        result = wherry__fail_errno(errno, "the semaphore cannot be made");
    return result;
}

void wherry_semaphore_fini(struct wherry_semaphore *semaphore)
{
    sem_destroy(libc(semaphore));
}

/* ---- counting ---- */

int wherry_semaphore_post(struct wherry_semaphore *semaphore)
{
    if (__builtin_expect(sem_post(libc(semaphore)) == 0, 1))
        return 0;
    return errno == EOVERFLOW ? wherry__fail_quietly(EOVERFLOW, "the semaphore counts as far as it can")
                              : wherry__fail_errno(errno, "the semaphore cannot be posted");
}

/* sem_timedwait(3) goes by the time of day, which may be set (H33). */
static int wait_slowly(sem_t *semaphore, wherry_time deadline)
{
    if (wherry__deadline_passed(deadline))
        return wherry__fail_quietly(wherry__deadline_code(deadline), "the semaphore is 0");
    int result;
    do
        result = deadline == WHERRY_FOREVER ? sem_wait(semaphore) : wherry__semaphore_wait_by(semaphore, deadline);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return 0;
    return errno == ETIMEDOUT ? wherry__fail_quietly(ETIMEDOUT, "the semaphore was 0 until the deadline")
                              : wherry__fail_errno(errno, "the wait for the semaphore failed");
}

int wherry_semaphore_wait(struct wherry_semaphore *semaphore, wherry_time deadline)
{
    if (__builtin_expect(sem_trywait(libc(semaphore)) == 0, 1))
        return 0;
    return wait_slowly(libc(semaphore), deadline);
}

uint32_t wherry_semaphore_value(const struct wherry_semaphore *semaphore)
{
    int value = 0;
    sem_getvalue((sem_t *)(uintptr_t)semaphore, &value); /* reads, whatever its parameter says */
    return value > 0 ? (uint32_t)value : 0;
}

/* ---- by name ---- */

struct wish {
    struct wherry_semaphore_options options;
    const char *name;
    char path[WHERRY__SHM_PATH];
};

/* sem_open(3)'s file; a name of up to 251 bytes is left for it. */
static int path_of(char path[static WHERRY__SHM_PATH], const char *name)
{
    struct wherry__object object;
    int result = wherry__object_parse(&object, name, 1u << WHERRY__POSIX_SEM);
    if (result < 0)
        return result;
    if (strlen(object.name) - 1 > NAME_MAX - strlen("sem."))
        return wherry__fail(ENAMETOOLONG, "%s: a semaphore's name has at most %zu bytes", name,
                            NAME_MAX - strlen("sem."));
    snprintf(path, WHERRY__SHM_PATH, "/dev/shm/sem.%.*s", NAME_MAX, object.name + 1);
    return 0;
}

static int read_wish(struct wish *wish, const char *name, const struct wherry_semaphore_options *given)
{
    *wish = (struct wish){.name = name, .options = WHERRY_SEMAPHORE_OPTIONS};
    int result = path_of(wish->path, name);
    if (result == 0)
        result =
            wherry__options_read(&wish->options, sizeof wish->options, given,
                                 offsetof(struct wherry_semaphore_options, mode), name, "WHERRY_SEMAPHORE_OPTIONS");
    if (result == 0)
        result = wherry__mode_check(&wish->options.mode, name);
    if (result == 0)
        result = check_value(wish->options.value, name);
    if (result == 0 && wish->options.exclusive && !wish->options.create)
        result = wherry__fail(EINVAL, "%s: exclusive is for who creates", name);
    return result < 0 ? result : wherry__process_start();
}

static int map(int fd, const char *name, struct wherry_semaphore **ret_semaphore)
{
    void *at = wherry__sys.mmap(NULL, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: cannot be mapped", name);
    *ret_semaphore = at;
    return 0;
}

/* -ENOENT without a sentence: there is none. */
static int open_existing(const struct wish *wish, struct wherry_semaphore **ret_semaphore)
{
    struct stat status;
    int fd = wherry__shm_open(wish->path, true, wish->options.any_owner, &status, wish->name);
    if (fd < 0)
        return fd;
    int result = 0;
    if (status.st_size != sizeof(sem_t)) /* what is shorter is SIGBUS to who maps it */
        result = wherry__fail(EBADF, "%s: %s has %lld bytes, and a semaphore %zu; use another name", wish->name,
                              wish->path, (long long)status.st_size, sizeof(sem_t));
    if (result == 0)
        result = map(fd, wish->name, ret_semaphore);
    wherry__fd_close(&fd);
    return result;
}

static int write_new(int fd, const struct wish *wish)
{
    sem_t fresh;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < sizeof fresh)
        return wherry__fail(EFBIG,
                            "%s: a semaphore's file has %zu bytes, and this process may make none so large (ulimit -f)",
                            wish->name, sizeof fresh); /* else the kernel sends SIGXFSZ, or writes a part */
    memset(&fresh, 0, sizeof fresh);
    sem_init(&fresh, 1, wish->options.value);
    ssize_t done = wherry__sys.pwrite(fd, &fresh, sizeof fresh, 0);
    if (done == (ssize_t)sizeof fresh)
        return 0;
    if (done >= 0 || errno == ENOSPC)
        return wherry__fail(ENOSPC, "%s: no room for it in /dev/shm (df /dev/shm)", wish->name);
    return wherry__fail_errno(errno, "%s: cannot be written", wish->name);
}

/* Whole before it has a name; -EEXIST without a sentence: another was quicker. */
static int make(const struct wish *wish, struct wherry_semaphore **ret_semaphore)
{
    struct wherry__naming naming;
    int result = wherry__shm_make(&naming, wish->path, wish->options.mode, wish->name);
    if (result < 0)
        return result;
    struct wherry_semaphore *semaphore = NULL;
    result = write_new(naming.fd, wish);
    if (result == 0)
        result = map(naming.fd, wish->name, &semaphore);
    if (result == 0 && (result = wherry__shm_link(&naming, wish->path, wish->name)) < 0)
        wherry_semaphore_close(semaphore);
    if (result < 0)
        wherry__naming_drop(&naming, AT_FDCWD, wish->path);
    wherry__fd_close(&naming.fd);
    if (result == 0)
        *ret_semaphore = semaphore;
    return result;
}

/* -EAGAIN: there is none, and it may not be made; or there is none whenever we look, and one when we make it. */
static int open_once(const struct wish *wish, struct wherry_semaphore **ret_semaphore)
{
    enum { TRIES = 100 };
    for (int i = 0; i < TRIES; i++) {
        int result = wish->options.exclusive ? -ENOENT : open_existing(wish, ret_semaphore);
        if (result != -ENOENT)
            return result;
        if (!wish->options.create)
            return wherry__fail(EAGAIN, "%s: there is none", wish->name);
        result = make(wish, ret_semaphore);
        if (result != -EEXIST) /* -ENOENT, too: there is no place for it */
            return result;
        if (wish->options.exclusive)
            return wherry__fail(EEXIST, "%s: there is one; remove it, or open it", wish->name);
    }
    return wherry__fail(EAGAIN, "%s: others make and remove it all the time; agree on who does", wish->name);
}

static int open_named(const char *name, const struct wherry_semaphore_options *options, wherry_time deadline,
                      struct wherry_semaphore **ret_semaphore)
{
    struct wish wish;
    struct wherry__steps steps = {0};
    int result = read_wish(&wish, name, options);
    while (result == 0 && (result = open_once(&wish, ret_semaphore)) == -EAGAIN && !wherry__deadline_passed(deadline)) {
        wherry__steps_sleep(&steps, deadline);
        result = 0;
    }
    return result == -EAGAIN ? -wherry__deadline_code(deadline) : result; /* the sentence says what it waited for */
}

int wherry_semaphore_open(const char *name, const struct wherry_semaphore_options *options, wherry_time deadline,
                          struct wherry_semaphore **ret_semaphore)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_named(name, options, deadline, ret_semaphore));
}

void wherry_semaphore_close(struct wherry_semaphore *semaphore)
{
    if (semaphore)
        wherry__sys.munmap(semaphore, sizeof(sem_t));
}

int wherry_semaphore_remove(const char *name)
{
    char path[WHERRY__SHM_PATH];
    int result = path_of(path, name);
    return result < 0 ? result : wherry__shm_remove(path, name);
}
