/* base/naming.h - how a new file comes by its name: made where nobody sees it, filled, and then linked.
 *
 * SPDX-License-Identifier: MIT
 *
 * O_TMPFILE, and linkat(2) of /proc/self/fd/N.  Where a file system has no nameless files, or /proc is not mounted, it
 * has a name of its own meanwhile, ".wherry-new-" and a random number beside the one that it will get; who is killed
 * then leaves that.  Where there are no hard links either (FAT, exFAT, some FUSE), that name is changed, by a
 * renameat2(2) that replaces nothing.  None of them says a sentence, which is for wherry__naming_fail(). */
#ifndef WHERRY_BASE_NAMING_H
#define WHERRY_BASE_NAMING_H

#include <stdint.h>
#include <sys/types.h>

struct wherry__naming {
    int fd;          /* the caller's, noted; -1 */
    uint64_t hidden; /* the random number; 0: it has no name at all */
};

/* Make a file that will be `path`, which may be relative to the directory `at`, with exactly these permissions: 0 or
 * -errno. */
int wherry__naming_begin(struct wherry__naming *ret, int at, const char *path, mode_t mode);

/* Give it the name, for the same `at` and `path`: 0; -EEXIST, another has it; -EMLINK, the file system can neither link
 * nor rename without replacing; -errno. */
int wherry__naming_end(struct wherry__naming *naming, int at, const char *path);

/* It does not get it.  Closes nothing. */
void wherry__naming_drop(struct wherry__naming *naming, int at, const char *path);

/* Bring the name to the disk, without which the file is not found after a power cut (fsync(2)); fine where there is no
 * disk.  0 or -errno; -EACCES when the directory may be entered and not read. */
int wherry__naming_sync(int at, const char *path);

/* Say that `name` could not be made, which would have been at `path`: why, where, and what to do next.  Returns -code,
 * or a better one; `code` is positive. */
int wherry__naming_fail(int code, const char *path, const char *name) __attribute__((cold));

#endif
