/* base/robust.c - owns the reading of robust lists: get_robust_list(2), and the kernel's
 * Documentation/locking/robust-futex-ABI.rst.
 *
 * SPDX-License-Identifier: MIT
 *
 * A thread's list is a ring of entries within the mutexes it holds, beginning and ending at a head that the C library
 * registered.  That of another thread may change while it is read, and an entry be unmapped: so it is read through the
 * kernel, which says EFAULT where a load would be SIGSEGV. */
#include "base/robust.h"

#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/why.h"

static bool load(uintptr_t at, void *to, size_t size)
{
    struct iovec here = {.iov_base = to, .iov_len = size}, there = {.iov_base = (void *)at, .iov_len = size};
    return wherry__sys.process_vm_readv(getpid(), &here, 1, &there, 1) == (ssize_t)size;
}

static bool within(uintptr_t at, const void *memory, size_t size)
{
    return at - (uintptr_t)memory < size;
}

/* `own`: nobody else writes this list. */
static bool holds_one(pid_t thread, bool own, const void *memory, size_t size)
{
    struct robust_list_head *first, head;
    size_t head_size;
    if (wherry__sys.get_robust_list(own ? 0 : thread, &first, &head_size) < 0 || !first || head_size < sizeof head)
        return false;
    if (own)
        head = *first;
    else if (!load((uintptr_t)first, &head, sizeof head))
        return false;
    uintptr_t entry = (uintptr_t)head.list.next & ~(uintptr_t)1; /* the lowest bit: priority inheritance */
    for (int i = 0; i < ROBUST_LIST_LIMIT && entry != (uintptr_t)first && entry; i++) {
        struct robust_list next;
        if (within(entry, memory, size) || within(entry + (uintptr_t)head.futex_offset, memory, size))
            return true;
        if (own)
            next = *(const struct robust_list *)entry;
        else if (!load(entry, &next, sizeof next))
            return false;
        entry = (uintptr_t)next.next & ~(uintptr_t)1;
    }
    return false;
}

pid_t wherry__robust_holder(const void *memory, size_t size)
{
    pid_t self = gettid(), found = 0;
    if (holds_one(self, true, memory, size))
        return self;
    DIR *threads = opendir("/proc/self/task");
    for (const struct dirent *entry; threads && !found && (entry = readdir(threads));) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && thread != self && holds_one(thread, false, memory, size))
            found = thread;
    }
    if (threads)
        closedir(threads);
    return found;
}

int wherry__robust_refuse(const char *name, const void *memory, size_t size)
{
    char holder[64];
    pid_t thread = memory ? wherry__robust_holder(memory, size) : 0;
    if (!thread)
        return 0;
    return wherry__fail(EBUSY,
                        "%s: %s, a thread of this process, holds a mutex or an rwlock in its memory: it must unlock it "
                        "before the memory can move or shrink",
                        name, wherry__process_name(thread, holder));
}

bool wherry__robust_keeps(const char *name, const void *memory, size_t size)
{
    char holder[64];
    pid_t thread = memory ? wherry__robust_holder(memory, size) : 0;
    if (thread)
        wherry__fail(EBUSY,
                     "%s: was closed, but its memory stays mapped until this process ends: %s, a thread of it, holds a "
                     "mutex or an rwlock there; unlock before you close",
                     name, wherry__process_name(thread, holder));
    return thread != 0;
}
