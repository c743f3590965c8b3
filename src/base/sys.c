/* base/sys.c - owns the table of system calls.
 *
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Older C libraries have the system call's number but no wrapper. */
static int raw_epoll_pwait2(int epoll, struct epoll_event *events, int count, const struct timespec *timeout,
                            const void *mask)
{
#ifdef SYS_epoll_pwait2
    return (int)syscall(SYS_epoll_pwait2, epoll, events, count, timeout, mask, (size_t)8);
#else
    (void)epoll, (void)events, (void)count, (void)timeout, (void)mask;
    errno = ENOSYS;
    return -1;
#endif
}
#define epoll_pwait2 raw_epoll_pwait2

static int raw_membarrier(int command, unsigned flags)
{
    return (int)syscall(SYS_membarrier, command, flags, 0);
}
#define membarrier raw_membarrier

static int raw_memfd_create(const char *name, unsigned flags)
{
    return (int)syscall(SYS_memfd_create, name, flags);
}
#define memfd_create raw_memfd_create

static int raw_pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}
#define pidfd_open raw_pidfd_open

#define WRAPPER(name, result, parameters, arguments)                                                                   \
    static result real_##name parameters                                                                               \
    {                                                                                                                  \
        return name arguments;                                                                                         \
    }
WHERRY__SYS_TABLE(WRAPPER)
#undef epoll_pwait2
#undef membarrier
#undef memfd_create
#undef pidfd_open

#define ENTRY(name, result, parameters, arguments) .name = real_##name,
struct wherry__sys wherry__sys = {WHERRY__SYS_TABLE(ENTRY)};
