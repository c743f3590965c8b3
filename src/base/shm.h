/* base/shm.h - files in /dev/shm, which POSIX shared memory and semaphores are: made whole, opened with care.
 *
 * SPDX-License-Identifier: MIT
 *
 * shm_open(3) and sem_open(3) follow no owner, no size and no kind, obey the umask, and the latter leaves its temporary
 * file behind when it is killed; so the files are handled here.  What is in them is libc's business and the user's. */
#ifndef WHERRY_BASE_SHM_H
#define WHERRY_BASE_SHM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/naming.h"

enum { WHERRY__SHM_PATH = 320 };

/* A file that will be `path`, with exactly these permissions (base/naming.h): 0, or -errno with a sentence that begins
 * with `name`, as all of them here do. */
int wherry__shm_make(struct wherry__naming *ret, const char *path, mode_t mode, const char *name);

/* Make it `length` bytes long and its memory its own from byte `from` on, so that no access fails for want of it (H9).
 * 0, -ENOSPC, -EFBIG (ulimit -f)...; on failure some of it may be there. */
int wherry__shm_reserve(int fd, uint64_t from, uint64_t length, const char *name);

/* The same of one that has that length, and keeps it whatever others do to it meanwhile. */
int wherry__shm_reserve_all(int fd, uint64_t length, const char *name);

/* Give it its name: 0; -EEXIST, another has it, without a sentence; or -errno. */
int wherry__shm_link(struct wherry__naming *naming, const char *path, const char *name);

/* Open a file by its name: a noted descriptor.  -ENOENT without a sentence; -EPERM, another uid's, unless any_owner;
 * -EBADF, no regular file; -EACCES ... */
int wherry__shm_open(const char *path, bool write, bool any_owner, struct stat *ret_status, const char *name);

/* Look at it, or remove its name: 0; -ENOENT with a sentence; -EBADF; -EPERM, -EACCES that say whose it is. */
int wherry__shm_look(const char *path, struct stat *ret_status, const char *name);
int wherry__shm_remove(const char *path, const char *name);

/* Whether what belongs to `uid` may be used: this process's or root's, or anybody's.  0 or -EPERM. */
int wherry__owner_check(uid_t uid, bool any_owner, const char *name);

/* Permissions that options ask for: 0 becomes 0600; what is not read and write is refused.  0 or -EINVAL. */
int wherry__mode_check(uint32_t *mode, const char *name);

#endif
