/* storage/segment.h - a segment, as the files that make the three kinds of it share it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_STORAGE_SEGMENT_H
#define WHERRY_STORAGE_SEGMENT_H

#include <wherry/segment.h>

#include "base/object.h"
#include "base/shm.h"

struct wherry_segment {
    enum wherry_segment_kind kind;
    bool published, writable, huge;
    uint64_t born;   /* the generation that opened it (base/fd.h) */
    int fd;          /* of files; -1 */
    uint64_t hidden; /* of POSIX ones, until it is published: see base/naming.h */
    int maker;       /* the lock of who makes a System V one, until it is published; -1 */
    int id;          /* of System V ones */
    void *data;
    uint64_t size;
    struct wherry__object object;
    uint32_t mode;               /* to be, once it is published */
    char path[WHERRY__SHM_PATH]; /* of POSIX ones */
    char name[];                 /* for sentences */
};

/* The slots of a kind.  All return 0 or -errno with the sentence set.  What make and open leave behind on failure,
 * close gives back. */
struct wherry__segment_kind {
    /* Map `size` bytes that nobody else sees, readable and writable. */
    int (*make)(struct wherry_segment *segment);
    int (*publish)(struct wherry_segment *segment);
    /* Open and map it: -EAGAIN when it is not there, or not published, with a sentence. */
    int (*open)(struct wherry_segment *segment, const struct wherry_segment_options *options);
    int (*stat)(const struct wherry_segment *segment, struct wherry_segment_stat *stat);
    int (*look)(const struct wherry__object *object, const char *name, struct wherry_segment_stat *stat);
    int (*remove)(const struct wherry__object *object, const char *name);
    /* Also in a forked child, where nothing may be removed. */
    void (*close)(struct wherry_segment *segment, bool child);
};
extern const struct wherry__segment_kind wherry__segment_posix, wherry__segment_anonymous, wherry__segment_sysv;

/* Of files: what segment.c asks for once it knows that this is the process that opened it. */
int wherry__segment_map(struct wherry_segment *segment, uint64_t size);
int wherry__segment_adopt(struct wherry_segment *segment, int fd, const struct wherry_segment_options *options);
int wherry__segment_pread(const struct wherry_segment *segment, uint64_t offset, char *data, size_t size);
int wherry__segment_pwrite(const struct wherry_segment *segment, uint64_t offset, const char *data, size_t size);
int wherry__segment_resize_file(struct wherry_segment *segment, uint64_t length);

/* A segment of `length` bytes where options.length asks for another: -EINVAL that names both.  0 when they agree. */
int wherry__segment_check_length(uint64_t length, const struct wherry_segment_options *options, const char *name);

/* Of a setting such as "/proc/sys/kernel/shmmax" the line that it holds, "?" when it cannot be read. */
const char *wherry__segment_setting(const char *path, char text[static 128]);

#endif
