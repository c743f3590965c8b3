/* socket/activation.c - owns LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES; sd_listen_fds(3).
 *
 * SPDX-License-Identifier: MIT */
#include "socket/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/why.h"

enum { FIRST = 3 }; /* SD_LISTEN_FDS_START */

static bool parse(const char *text, long most, long *ret_number)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || errno || *end || number > most)
        return false;
    *ret_number = number;
    return true;
}

/* How many were passed, or -errno with the sentence set. */
static int passed(const char *name)
{
    const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
    long pid, count;
    if (!pid_text || !count_text)
        return wherry__fail(
            ENOENT, "%s: no service manager passed a descriptor on: LISTEN_PID and LISTEN_FDS are not set", name);
    if (!parse(pid_text, INT_MAX, &pid) || !parse(count_text, INT_MAX - FIRST, &count))
        return wherry__fail(EINVAL, "%s: LISTEN_PID or LISTEN_FDS is no number: \"%.32s\", \"%.32s\"", name, pid_text,
                            count_text);
    if (pid != (long)getpid())
        return wherry__fail(ENOENT,
                            "%s: the descriptors that were passed on are for process %ld, not for this one, %ld", name,
                            pid, (long)getpid());
    return (int)count;
}

/* A number that leads nowhere any more was taken before, and is nobody's to look after. */
static void close_on_exec(int count)
{
    for (int fd = FIRST; fd < FIRST + count; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 && fd > FIRST + 4096)
            break; /* LISTEN_FDS may say anything */
        if (flags >= 0 && !(flags & FD_CLOEXEC))
            fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    }
}

/* The place of the only one of `count` that has this name; -ENOENT, -ENOTUNIQ. */
static int find_name(const char *wanted, int count)
{
    const char *at = getenv("LISTEN_FDNAMES");
    size_t size = strlen(wanted);
    int found = -ENOENT;
    for (int i = 0; at && i < count; i++) {
        size_t length = strcspn(at, ":");
        if (length == size && memcmp(at, wanted, size) == 0)
            found = found == -ENOENT ? i : -ENOTUNIQ;
        at = at[length] ? at + length + 1 : NULL;
    }
    return found;
}

static int found(int place, int count, const char *name)
{
    int fd = FIRST + place;
    if (fcntl(fd, F_GETFD) >= 0)
        return fd;
    return wherry__fail(
        EBADF,
        "%s: LISTEN_FDS says that %d descriptor%s passed on, and descriptor %d is not open: it was taken "
        "before, or LISTEN_FDS says too many",
        name, count, count == 1 ? " was" : "s were", fd);
}

int wherry__activation_find(const char *which, const char *name)
{
    long place;
    int count = passed(name);
    if (count < 0)
        return count;
    close_on_exec(count);
    if (parse(which, LONG_MAX, &place)) {
        if (place < count)
            return found((int)place, count, name);
        return wherry__fail(ENOENT, "%s: only %d descriptors were passed on, counted from 0", name, count);
    }
    place = *which ? find_name(which, count) : -ENOENT;
    if (place == -ENOTUNIQ)
        return wherry__fail(ENOTUNIQ, "%s: several of the %d descriptors have this name; count them, from fd:@0 on",
                            name, count);
    if (place < 0)
        return wherry__fail(ENOENT, "%s: none of the %d descriptors that were passed on has this name", name, count);
    return found((int)place, count, name);
}
