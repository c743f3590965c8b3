/* inspect/posix_sem.c - owns named POSIX semaphores, and what is known of their value; sem_open(3).
 *
 * SPDX-License-Identifier: MIT
 *
 * A semaphore is a file of one sem_t.  It is read by its owner and by root alone, who can do so without changing its
 * access time. */
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/shm.h"

/* glibc's, where a word of 64 bits is atomic: the value, and above it how many wait (sysdeps/nptl/internaltypes.h). */
static uint32_t waiters_of(const sem_t *semaphore)
{
    uint64_t word;
    memcpy(&word, semaphore, sizeof word);
    return sizeof(long) == 8 ? (uint32_t)(word >> 32) : 0;
}

void wherry__describe_semaphore(struct object *object)
{
    struct stat status;
    sem_t copy;
    int value;
    if (object->public.size != (int64_t)sizeof copy)
        return;
    int fd = wherry__sys.openat(AT_FDCWD, object->path,
                                O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (wherry__sys.fstat(fd, &status) == 0 && status.st_ino == object->public.inode &&
        wherry__sys.pread(fd, &copy, sizeof copy, 0) == (ssize_t)sizeof copy && sem_getvalue(&copy, &value) == 0) {
        object->public.messages = value;
        uint32_t waiters = waiters_of(&copy);
        if (waiters)
            object->public.detail = wherry__inspect_text(object->snapshot, "%u wait", (unsigned)waiters);
    }
    wherry__sys.close(fd);
}

const struct collector wherry__collector_posix_sem = {
    .name = "posix-sem",
    .summary = "a named semaphore, sem_open(3)",
    .list = wherry__shm_list,
};
