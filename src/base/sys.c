/* base/sys.c - owns the table of system calls.
 *
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { STAT_ANY_MSG = 13, STAT_ANY_SHM = 15, STAT_ANY_SEM = 20 };

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

#ifndef __GLIBC__
static int raw_statx(int directory, const char *path, int flags, unsigned mask, struct statx *status)
{
    return (int)syscall(SYS_statx, directory, path, flags, mask, status);
}
#define statx(...) raw_statx(__VA_ARGS__)

static ssize_t raw_pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    return syscall(SYS_pwritev2, fd, parts, count, (long)at, (long)((long long)at >> 32), flags);
}
#define pwritev2 raw_pwritev2

/* musl's flags are unsigned, and so is half of what is asked of ioctl(2). */
static int raw_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return sendmmsg(fd, messages, count, (unsigned)flags);
}
#define sendmmsg raw_sendmmsg

static int raw_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    return recvmmsg(fd, messages, count, (unsigned)flags, timeout);
}
#define recvmmsg raw_recvmmsg
#endif

/* As the kernel has it: of what <dirent.h> declares, one C library has half and the other calls it something else. */
static ssize_t raw_getdents(int directory, void *entries, size_t size)
{
    return syscall(SYS_getdents64, directory, entries, size);
}
#define getdents raw_getdents

static int raw_renameat2(int from_directory, const char *from, int directory, const char *path, unsigned flags)
{
    return (int)syscall(SYS_renameat2, from_directory, from, directory, path, flags);
}
#define renameat2 raw_renameat2

static int raw_kcmp(pid_t one, pid_t other, int type, unsigned long first, unsigned long second)
{
    return (int)syscall(SYS_kcmp, one, other, type, first, second);
}
#define kcmp raw_kcmp

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

static int raw_add_seals(int fd, int seals)
{
    return fcntl(fd, F_ADD_SEALS, seals);
}
#define add_seals raw_add_seals

static int raw_get_seals(int fd)
{
    return fcntl(fd, F_GET_SEALS);
}
#define get_seals raw_get_seals

static int raw_pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}
#define pidfd_open raw_pidfd_open

static int raw_record_lock(int fd, int command, struct flock *lock)
{
    return fcntl(fd, command, lock);
}
#define record_lock raw_record_lock

/* The bitset variants: a time is absolute and of CLOCK_MONOTONIC. */
static long raw_futex(const void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    return syscall(SYS_futex, word, operation, value, deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}
#define futex raw_futex

static long raw_get_robust_list(pid_t thread, struct robust_list_head **ret_head, size_t *ret_size)
{
    return syscall(SYS_get_robust_list, thread, ret_head, ret_size);
}
#define get_robust_list raw_get_robust_list

static ssize_t raw_process_vm_readv(pid_t pid, const struct iovec *to, unsigned long to_count, const struct iovec *from,
                                    unsigned long from_count)
{
    return process_vm_readv(pid, to, to_count, from, from_count, 0);
}
#define process_vm_readv raw_process_vm_readv

static int raw_tgkill(pid_t pid, pid_t tid, int number)
{
    return (int)syscall(SYS_tgkill, pid, tid, number);
}
#define tgkill raw_tgkill

static int raw_sigqueueinfo(pid_t pid, int number, siginfo_t *info)
{
    return (int)syscall(SYS_rt_sigqueueinfo, pid, number, info);
}
#define sigqueueinfo raw_sigqueueinfo

static int raw_tgsigqueueinfo(pid_t pid, pid_t tid, int number, siginfo_t *info)
{
    return (int)syscall(SYS_rt_tgsigqueueinfo, pid, tid, number, info);
}
#define tgsigqueueinfo raw_tgsigqueueinfo

static int raw_set_pipe_size(int fd, int size)
{
    return fcntl(fd, F_SETPIPE_SZ, size);
}
#define set_pipe_size raw_set_pipe_size

/* Without the thread-local storage, which stays the caller's. */
static pid_t raw_clone(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                       void *child_word)
{
    return clone(function, stack, flags, argument, parent_word, NULL, child_word);
}
#define clone raw_clone

/* libc's leaves the usage out, and shares its name. */
static int raw_waitid(int type, id_t id, siginfo_t *info, int options, struct rusage *usage)
{
    return (int)syscall(SYS_waitid, type, id, info, options, usage);
}
#define waitid raw_waitid

static int raw_pidfd_send_signal(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, info, flags);
}
#define pidfd_send_signal raw_pidfd_send_signal

static int raw_pidfd_info(int pidfd, unsigned long request, void *info)
{
    return (int)syscall(SYS_ioctl, pidfd, request, info);
}
#define pidfd_info raw_pidfd_info

static int raw_fsopen(const char *type, unsigned flags)
{
    return (int)syscall(SYS_fsopen, type, flags);
}
#define fsopen raw_fsopen

static int raw_fsconfig(int context, unsigned command, const char *key, const void *value, int extra)
{
    return (int)syscall(SYS_fsconfig, context, command, key, value, extra);
}
#define fsconfig raw_fsconfig

static int raw_fsmount(int context, unsigned flags, unsigned attributes)
{
    return (int)syscall(SYS_fsmount, context, flags, attributes);
}
#define fsmount raw_fsmount

/* What *_STAT_ANY, of Linux 4.17, tells to everybody, *_STAT tells to those with permission to read: all that can be
 * had where an emulator knows the older commands alone. */
static int asked_again(int result, int command, int any)
{
    return result < 0 && errno == EINVAL && command == any;
}

static int known_shmctl(int id, int command, struct shmid_ds *data)
{
    int result = shmctl(id, command, data);
    return asked_again(result, command, STAT_ANY_SHM) ? shmctl(id, SHM_STAT, data) : result;
}
#define shmctl known_shmctl

static int known_semctl(int id, int index, int command, union wherry__semun argument)
{
    int result = semctl(id, index, command, argument);
    return asked_again(result, command, STAT_ANY_SEM) ? semctl(id, index, SEM_STAT, argument) : result;
}
#define semctl known_semctl

static int known_msgctl(int id, int command, struct msqid_ds *status)
{
    int result = msgctl(id, command, status);
    return asked_again(result, command, STAT_ANY_MSG) ? msgctl(id, MSG_STAT, status) : result;
}
#define msgctl known_msgctl

#define WRAPPER(name, result, parameters, arguments)                                                                   \
    static result real_##name parameters                                                                               \
    {                                                                                                                  \
        return name arguments;                                                                                         \
    }
WHERRY__SYS_TABLE(WRAPPER)
#undef statx
#undef pwritev2
#undef sendmmsg
#undef recvmmsg
#undef getdents
#undef shmctl
#undef semctl
#undef msgctl
#undef epoll_pwait2
#undef renameat2
#undef kcmp
#undef membarrier
#undef memfd_create
#undef add_seals
#undef get_seals
#undef pidfd_open
#undef record_lock
#undef futex
#undef get_robust_list
#undef process_vm_readv
#undef tgkill
#undef sigqueueinfo
#undef tgsigqueueinfo
#undef set_pipe_size
#undef clone
#undef waitid
#undef pidfd_send_signal
#undef pidfd_info
#undef fsopen
#undef fsconfig
#undef fsmount

#define ENTRY(name, result, parameters, arguments) .name = real_##name,
struct wherry__sys wherry__sys = {WHERRY__SYS_TABLE(ENTRY)};
