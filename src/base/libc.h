/* base/libc.h - owns what C libraries have differently: glibc and musl.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_LIBC_H
#define WHERRY_BASE_LIBC_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#ifndef __GLIBC__
#include <linux/stat.h> /* struct statx; glibc's <sys/stat.h> includes it */
#endif

/* The types of what is in a struct msghdr: POSIX's, or the kernel's. */
typedef __typeof__(((struct msghdr *)0)->msg_iovlen) wherry__iov_count;
typedef __typeof__(((struct msghdr *)0)->msg_controllen) wherry__control_size;
typedef __typeof__(((struct cmsghdr *)0)->cmsg_len) wherry__part_size;

/* CMSG_NXTHDR(3); musl's macro has signed numbers in it. */
static inline struct cmsghdr *wherry__control_next(struct msghdr *message, struct cmsghdr *part)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
    return CMSG_NXTHDR(message, part);
#pragma GCC diagnostic pop
}

#endif
