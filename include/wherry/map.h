/* wherry/map.h - a file in memory: mapped for reading, or for reading and writing, whole or in part.
 *
 * SPDX-License-Identifier: MIT
 *
 * What one process writes through a mapping, all others who map or read the file see at once.  Who truncates a mapped
 * file makes the others die of SIGBUS at the next touch; wherry_map_read() and wherry_map_write() touch it in a way
 * that returns an error instead.
 *
 * Threads: any, but no other call on the same map during wherry_map_resize() and wherry_map_close().  Fork: a child has
 * the memory, and may look at it and close it; the calls that need the descriptor answer -ECHILD there.  Signals: not
 * async-signal-safe.  wherry_map(3). */
#ifndef WHERRY_MAP_H
#define WHERRY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct wherry_map_options {
    size_t size;     /* sizeof(struct wherry_map_options) */
    bool write;      /* for reading and writing; else reading alone */
    bool create;     /* make the file when there is none: needs write */
    bool sparse;     /* do not reserve room on the disk: a touch of a hole on a full disk is SIGBUS then */
    unsigned mode;   /* permissions of a file that is made, exactly these; 0: 0600 */
    uint64_t file_size; /* the file is made at least so long: needs write */
    uint64_t offset; /* where the part begins: a multiple of the page size */
    uint64_t length; /* how long it is; 0: to the end of the file, and then the map is of the whole when offset is 0 */
};
#define WHERRY_MAP_OPTIONS {sizeof(struct wherry_map_options), 0, 0, 0, 0, 0, 0, 0}

struct wherry_map;

/* Map a file.  With `write`, room for all of the part is reserved on the disk, so that a full one is -ENOSPC here.
 * A file that is made has its size before it has its name.  An empty file gives a map of size 0 without memory.
 * When it fails, no file was made, and one that was there is as long as it was.
 * Returns 0 and *ret_map, for wherry_map_close(); -ENOENT, -EACCES, -EPERM, -EROFS, -ELOOP, -EISDIR; -EINVAL: not a
 * file, the offset is no multiple of the page size, the part is not within the file (the sentence has both sizes),
 * options that cannot be; -ENOSPC, -EDQUOT, -EFBIG, -E2BIG, -ENOMEM, -EMFILE and what else open(2) and mmap(2) say. */
WHERRY_API int wherry_map_open(const char *path, const struct wherry_map_options *options, struct wherry_map **ret_map);

/* The memory: page-aligned, of wherry_map_size() bytes; NULL when that is 0.  Another after each resize.  Of a map that
 * was opened for reading, writing to it is SIGSEGV. */
WHERRY_API void *wherry_map_data(const struct wherry_map *map);
WHERRY_API size_t wherry_map_size(const struct wherry_map *map);

/* Make it `size` bytes, which may move the memory.  A map of the whole file makes the file longer or shorter with
 * it; one of a part makes the file longer where it must, and never shorter.  What is new is zero and reserved as
 * at open.  When it fails, map and file are as they were.
 * Returns 0; -EPERM: opened for reading; -ENOSPC, -EDQUOT, -EFBIG, -ENOMEM, -ECHILD, -EINVAL (a size that cannot be);
 * -EBUSY: a thread of this process holds a mutex or an rwlock in the memory. */
WHERRY_API int wherry_map_resize(struct wherry_map *map, size_t size);

/* Bring `length` bytes from `start` on (0: to the end), and what the file system must know to find them, to the disk:
 * after a file was made here, its name too.  Returns 0 when it is there; -EIO, -ENOSPC, -EDQUOT, -EINVAL, -ECHILD. */
WHERRY_API int wherry_map_sync(struct wherry_map *map, size_t start, size_t length);

/* Copy `size` bytes at `at` out of the map, or into it, whatever others do to the file meanwhile.
 * Returns 0; -ENODATA: the file ends before, somebody truncated it; nothing was copied, or a part of it; -EINVAL: not
 * within the map; -EPERM: opened for reading; -EIO, -ECHILD. */
WHERRY_API int wherry_map_read(const struct wherry_map *map, size_t at, void *data, size_t size);
WHERRY_API int wherry_map_write(struct wherry_map *map, size_t at, const void *data, size_t size);

/* Unmap, close and free; nothing is written to the disk before its time.  While a thread of this process holds a mutex
 * or an rwlock in it, the memory stays mapped until the process ends, since the kernel writes there at the thread's
 * death; wherry_why() says so, which any other close leaves as it was.  NULL is fine. */
WHERRY_API void wherry_map_close(struct wherry_map *map);

#ifdef __cplusplus
}
#endif
#endif
