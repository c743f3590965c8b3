/* base/sys.h - the table of system calls: the one seam through which tests make the kernel fail.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything above this folder calls the kernel as wherry__sys.name(...).  Tests replace an entry, run a call, and put
 * the entry back; production never writes the table.  Entries return as libc does: -1 and errno. */
#ifndef WHERRY_BASE_SYS_H
#define WHERRY_BASE_SYS_H

#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

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
    X(fstatat, int, (int directory, const char *path, struct stat *status, int flags),                                 \
      (directory, path, status, flags))                                                                                \
    X(fchmod, int, (int fd, mode_t mode), (fd, mode))                                                                  \
    X(fchmodat, int, (int directory, const char *path, mode_t mode, int flags), (directory, path, mode, flags))        \
    X(mkfifoat, int, (int directory, const char *path, mode_t mode), (directory, path, mode))                          \
    X(unlinkat, int, (int directory, const char *path, int flags), (directory, path, flags))                           \
    X(renameat, int, (int from_directory, const char *from, int directory, const char *path),                         \
      (from_directory, from, directory, path))                                                                         \
    X(flock, int, (int fd, int operation), (fd, operation))                                                            \
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
    X(memfd_create, int, (const char *name, unsigned flags), (name, flags))                                            \
    X(pidfd_open, int, (pid_t pid, unsigned flags), (pid, flags))                                                      \
    X(membarrier, int, (int command, unsigned flags), (command, flags))

#define WHERRY__SYS_ENTRY(name, result, parameters, arguments) result(*name) parameters;
struct wherry__sys {
    WHERRY__SYS_TABLE(WHERRY__SYS_ENTRY)
};
#undef WHERRY__SYS_ENTRY

extern struct wherry__sys wherry__sys;

#endif
