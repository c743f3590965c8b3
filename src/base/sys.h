/* base/sys.h - the table of system calls: the one seam through which tests make the kernel fail.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything above this folder calls the kernel as wherry__sys.name(...).  Tests replace an entry, run a call, and put
 * the entry back; production never writes the table.  Entries return as libc does: -1 and errno. */
#ifndef WHERRY_BASE_SYS_H
#define WHERRY_BASE_SYS_H

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/libc.h"
#include "base/shared.h"

/* The fourth argument of semctl(2), which each program has to declare. */
union wherry__semun {
    int value;
    struct semid_ds *data;
    unsigned short *values;
    struct seminfo *limits;
};

/* X(name, result, parameters, arguments) */
#define WHERRY__SYS_TABLE(X)                                                                                           \
    X(read, ssize_t, (int fd, void *data, size_t size), (fd, data, size))                                              \
    X(readv, ssize_t, (int fd, const struct iovec *parts, int count), (fd, parts, count))                              \
    X(write, ssize_t, (int fd, const void *data, size_t size), (fd, data, size))                                       \
    X(writev, ssize_t, (int fd, const struct iovec *parts, int count), (fd, parts, count))                             \
    X(pwritev2, ssize_t, (int fd, const struct iovec *parts, int count, off_t at, int flags),                          \
      (fd, parts, count, at, flags))                                                                                   \
    X(send, ssize_t, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))                      \
    X(sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), (fd, message, flags))                       \
    X(sendmmsg, int, (int fd, struct mmsghdr *messages, unsigned count, int flags), (fd, messages, count, flags))      \
    X(recvmsg, ssize_t, (int fd, struct msghdr *message, int flags), (fd, message, flags))                             \
    X(recvmmsg, int, (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout),          \
      (fd, messages, count, flags, timeout))                                                                           \
    X(recv, ssize_t, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))                            \
    X(open, int, (const char *path, int flags, mode_t mode), (path, flags, mode))                                      \
    X(openat, int, (int directory, const char *path, int flags, mode_t mode), (directory, path, flags, mode))          \
    X(close, int, (int fd), (fd))                                                                                      \
    X(pipe2, int, (int fds[2], int flags), (fds, flags))                                                               \
    X(tee, ssize_t, (int from, int to, size_t size, unsigned flags), (from, to, size, flags))                          \
    X(fstat, int, (int fd, struct stat *status), (fd, status))                                                         \
    X(fstatfs, int, (int fd, struct statfs *status), (fd, status))                                                     \
    X(fstatat, int, (int directory, const char *path, struct stat *status, int flags),                                 \
      (directory, path, status, flags))                                                                                \
    X(fchmod, int, (int fd, mode_t mode), (fd, mode))                                                                  \
    X(fchmodat, int, (int directory, const char *path, mode_t mode, int flags), (directory, path, mode, flags))        \
    X(mkfifoat, int, (int directory, const char *path, mode_t mode), (directory, path, mode))                          \
    X(unlinkat, int, (int directory, const char *path, int flags), (directory, path, flags))                           \
    X(renameat, int, (int from_directory, const char *from, int directory, const char *path),                         \
      (from_directory, from, directory, path))                                                                         \
    X(renameat2, int, (int from_directory, const char *from, int directory, const char *path, unsigned flags),         \
      (from_directory, from, directory, path, flags))                                                                  \
    X(flock, int, (int fd, int operation), (fd, operation))                                                            \
    X(record_lock, int, (int fd, int command, struct flock *lock), (fd, command, lock))                                \
    X(fsync, int, (int fd), (fd))                                                                                      \
    X(msync, int, (void *at, size_t size, int flags), (at, size, flags))                                               \
    X(mremap, void *, (void *at, size_t size, size_t new_size, int flags), (at, size, new_size, flags))                \
    X(socket, int, (int domain, int type, int protocol), (domain, type, protocol))                                     \
    X(socketpair, int, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))                \
    X(bind, int, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))                        \
    X(listen, int, (int fd, int backlog), (fd, backlog))                                                               \
    X(accept4, int, (int fd, struct sockaddr *address, socklen_t *size, int flags), (fd, address, size, flags))        \
    X(connect, int, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))                     \
    X(shutdown, int, (int fd, int how), (fd, how))                                                                     \
    X(getsockopt, int, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size))    \
    X(setsockopt, int, (int fd, int level, int name, const void *value, socklen_t size),                               \
      (fd, level, name, value, size))                                                                                  \
    X(epoll_create1, int, (int flags), (flags))                                                                        \
    X(epoll_ctl, int, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event))    \
    X(epoll_pwait2, int, (int epoll, struct epoll_event *events, int count, const struct timespec *timeout),           \
      (epoll, events, count, timeout, NULL))                                                                           \
    X(epoll_wait, int, (int epoll, struct epoll_event *events, int count, int timeout),                                \
      (epoll, events, count, timeout))                                                                                 \
    X(ppoll, int, (struct pollfd * fds, nfds_t count, const struct timespec *timeout), (fds, count, timeout, NULL))    \
    X(eventfd, int, (unsigned value, int flags), (value, flags))                                                       \
    X(mkdirat, int, (int directory, const char *path, mode_t mode), (directory, path, mode))                           \
    X(linkat, int, (int from_directory, const char *from, int directory, const char *path, int flags),                 \
      (from_directory, from, directory, path, flags))                                                                  \
    X(ftruncate, int, (int fd, off_t size), (fd, size))                                                                \
    X(fallocate, int, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))                          \
    X(pwrite, ssize_t, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))                        \
    X(pread, ssize_t, (int fd, void *data, size_t size, off_t at), (fd, data, size, at))                               \
    X(mmap, void *, (void *at, size_t size, int protection, int flags, int fd, off_t offset),                          \
      (at, size, protection, flags, fd, offset))                                                                       \
    X(munmap, int, (void *at, size_t size), (at, size))                                                                \
    X(madvise, int, (void *at, size_t size, int advice), (at, size, advice))                                           \
    X(add_seals, int, (int fd, int seals), (fd, seals))                                                                \
    X(get_seals, int, (int fd), (fd))                                                                                  \
    X(symlinkat, int, (const char *target, int directory, const char *path), (target, directory, path))                \
    X(readlinkat, ssize_t, (int directory, const char *path, char *target, size_t size),                               \
      (directory, path, target, size))                                                                                 \
    X(shmget, int, (key_t key, size_t size, int flags), (key, size, flags))                                            \
    X(shmat, void *, (int id, const void *at, int flags), (id, at, flags))                                             \
    X(shmdt, int, (const void *at), (at))                                                                              \
    X(shmctl, int, (int id, int command, struct shmid_ds *data), (id, command, data))                                  \
    X(semget, int, (key_t key, int count, int flags), (key, count, flags))                                             \
    X(semctl, int, (int id, int index, int command, union wherry__semun argument), (id, index, command, argument))     \
    X(semop, int, (int id, struct sembuf *operations, size_t count), (id, operations, count))                          \
    X(semtimedop, int, (int id, struct sembuf *operations, size_t count, const struct timespec *timeout),              \
      (id, operations, count, timeout))                                                                                \
    X(memfd_create, int, (const char *name, unsigned flags), (name, flags))                                            \
    X(pidfd_open, int, (pid_t pid, unsigned flags), (pid, flags))                                                      \
    X(membarrier, int, (int command, unsigned flags), (command, flags))                                                \
    X(futex, long, (const void *word, int operation, uint32_t value, const struct timespec *deadline),                 \
      (word, operation, value, deadline))                                                                              \
    X(get_robust_list, long, (pid_t thread, struct robust_list_head **ret_head, size_t *ret_size),                     \
      (thread, ret_head, ret_size))                                                                                    \
    X(process_vm_readv, ssize_t,                                                                                       \
      (pid_t pid, const struct iovec *to, unsigned long to_count, const struct iovec *from, unsigned long from_count), \
      (pid, to, to_count, from, from_count))                                                                           \
    X(mq_open, mqd_t, (const char *name, int flags, mode_t mode, struct mq_attr *attributes),                          \
      (name, flags, mode, attributes))                                                                                 \
    X(mq_getattr, int, (mqd_t queue, struct mq_attr *attributes), (queue, attributes))                                 \
    X(mq_send, int, (mqd_t queue, const char *data, size_t size, unsigned priority), (queue, data, size, priority))    \
    X(mq_receive, ssize_t, (mqd_t queue, char *data, size_t size, unsigned *priority), (queue, data, size, priority))  \
    X(mq_unlink, int, (const char *name), (name))                                                                      \
    X(msgget, int, (key_t key, int flags), (key, flags))                                                               \
    X(msgsnd, int, (int id, const void *message, size_t size, int flags), (id, message, size, flags))                  \
    X(msgrcv, ssize_t, (int id, void *message, size_t size, long type, int flags), (id, message, size, type, flags))   \
    X(msgctl, int, (int id, int command, struct msqid_ds *status), (id, command, status))                              \
    X(pwritev, ssize_t, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))              \
    X(fdatasync, int, (int fd), (fd))                                                                                  \
    X(lseek, off_t, (int fd, off_t at, int whence), (fd, at, whence))                                                  \
    X(inotify_init1, int, (int flags), (flags))                                                                        \
    X(inotify_add_watch, int, (int fd, const char *path, uint32_t mask), (fd, path, mask))                             \
    X(sigaction, int, (int number, const struct sigaction *action, struct sigaction *before),                          \
      (number, action, before))                                                                                        \
    X(sigprocmask, int, (int how, const sigset_t *set, sigset_t *before), (how, set, before))                          \
    X(sigpending, int, (sigset_t * set), (set))                                                                        \
    X(signalfd, int, (int fd, const sigset_t *set, int flags), (fd, set, flags))                                       \
    X(kill, int, (pid_t pid, int number), (pid, number))                                                               \
    X(tgkill, int, (pid_t pid, pid_t tid, int number), (pid, tid, number))                                             \
    X(sigqueueinfo, int, (pid_t pid, int number, siginfo_t *info), (pid, number, info))                                \
    X(tgsigqueueinfo, int, (pid_t pid, pid_t tid, int number, siginfo_t *info), (pid, tid, number, info))              \
    X(set_pipe_size, int, (int fd, int size), (fd, size))                                                              \
    X(pidfd_send_signal, int, (int pidfd, int signal, siginfo_t *info, unsigned flags), (pidfd, signal, info, flags))  \
    X(mprotect, int, (void *at, size_t size, int protection), (at, size, protection))                                  \
    X(clone, pid_t,                                                                                                    \
      (int (*function)(void *), void *stack, int flags, void *argument, int *parent_word, void *child_word),           \
      (function, stack, flags, argument, parent_word, child_word))                                                     \
    X(waitid, int, (int type, id_t id, siginfo_t *info, int options, struct rusage *usage),                            \
      (type, id, info, options, usage))                                                                                \
    X(pidfd_info, int, (int pidfd, unsigned long request, void *info), (pidfd, request, info))                         \
    X(fork, pid_t, (void), ())                                                                                         \
    X(statx, int, (int directory, const char *path, int flags, unsigned mask, struct statx *status),                   \
      (directory, path, flags, mask, status))                                                                          \
    X(getdents, ssize_t, (int directory, void *entries, size_t size), (directory, entries, size))                      \
    X(kcmp, int, (pid_t one, pid_t other, int type, unsigned long first, unsigned long second),                        \
      (one, other, type, first, second))                                                                               \
    X(getxattr, ssize_t, (const char *path, const char *name, void *value, size_t size), (path, name, value, size))    \
    X(fsopen, int, (const char *type, unsigned flags), (type, flags))                                                  \
    X(fsconfig, int, (int context, unsigned command, const char *key, const void *value, int extra),                   \
      (context, command, key, value, extra))                                                                           \
    X(fsmount, int, (int context, unsigned flags, unsigned attributes), (context, flags, attributes))

struct robust_list_head; /* linux/futex.h */
struct rusage;           /* sys/resource.h */

#define WHERRY__SYS_ENTRY(name, result, parameters, arguments) result(*name) parameters;
struct wherry__sys {
    WHERRY__SYS_TABLE(WHERRY__SYS_ENTRY)
};
#undef WHERRY__SYS_ENTRY

extern struct wherry__sys wherry__sys WHERRY__SHARED;

#endif
