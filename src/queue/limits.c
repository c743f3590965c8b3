/* queue/limits.c - owns the reading of limits, and what both kinds of queues say alike.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "base/why.h"
#include "queue/queue.h"

uint64_t wherry__limit(const char *sysctl)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/sys/%s", sysctl);
    int fd = wherry__sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return UINT64_MAX;
    ssize_t size = wherry__sys.read(fd, text, sizeof text - 1);
    wherry__sys.close(fd);
    return size > 0 ? strtoull(text, NULL, 10) : UINT64_MAX;
}

int wherry__queue_check_owner(const struct wherry__queue_wish *wish, uid_t uid)
{
    if (wherry__allow_check(&wish->allow, uid))
        return 0;
    return wherry__fail(EPERM, "%s: this queue is uid %u's, who could read and forge what goes through; to use it all "
                               "the same say uid=%u",
                        wish->name, (unsigned)uid, (unsigned)uid);
}

int wherry__queue_exists(const char *name)
{
    return wherry__fail(EEXIST, "%s: there is one already; remove it, or open it", name);
}

int wherry__queue_none(const char *name)
{
    return wherry__fail(ENOENT, "%s: there is no such queue; make it, or wait for it until a deadline", name);
}
