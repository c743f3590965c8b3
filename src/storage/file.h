/* storage/file.h - files that are opened by name: what they must be, and how one is made.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_STORAGE_FILE_H
#define WHERRY_STORAGE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct wherry__file_how {
    bool write;                         /* for reading and writing; else for reading */
    bool create;                        /* when there is none */
    bool directory;                     /* one may be opened, too: not with write */
    mode_t mode;                        /* of a file that is made: exactly this */
    uint64_t size;                      /* of a file that is made: reserved before it has its name */
    bool sparse;                        /* not reserved */
    const char *no_write;               /* what to do when it may not be opened for writing: "ask for ..." */
    int (*prepare)(void *data, int fd); /* NULL; of a file that is made: before its name, which it gets after a 0 */
    void *data;
};

/* Open the file, or make it: nameless first, so that nobody sees it half-made, and a failure leaves none.  *ret_made
 * (NULL is fine): it was made here. A descriptor, noted, for wherry__fd_close(), and its status; or -errno with the
 * sentence set. */
int wherry__file_open(const char *path, const struct wherry__file_how *how, struct stat *ret_status, bool *ret_made);

/* Make the file at least `size` bytes long, and reserve what lies from `from` on; never shorter.  When it fails, the
 * file is as long as it was.  0 or -errno with the sentence set. */
int wherry__file_reserve(int fd, const char *name, uint64_t from, uint64_t size, bool sparse);

/* The path as it leads to the file from any working directory; in memory to free, or NULL without memory. */
char *wherry__file_absolute(const char *path);

#endif
