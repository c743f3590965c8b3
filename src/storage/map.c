/* storage/map.c - owns struct wherry_map: a file in memory.
 *
 * SPDX-License-Identifier: MIT
 *
 * Others may truncate the file at any time, and then the memory behind its end is a trap: SIGBUS.  The accessors read
 * and write through the descriptor, which is coherent with the memory (mmap(2), MAP_SHARED) and merely ends there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wherry/map.h>

#include "base/fd.h"
#include "base/naming.h"
#include "base/options.h"
#include "base/robust.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/file.h"

struct wherry_map {
    uint64_t born;
    int fd;
    bool write, whole, sparse;
    bool made; /* its name is not on the disk yet */
    uint64_t offset;
    unsigned char *data;
    size_t size;
    char *path; /* absolute */
    char *name; /* for sentences */
};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- opening ---- */

static int read_options(const char *name, const struct wherry_map_options *given, struct wherry_map_options *ret)
{
    *ret = (struct wherry_map_options)WHERRY_MAP_OPTIONS;
    int result = wherry__options_read(ret, sizeof *ret, given, offsetof(struct wherry_map_options, mode), name,
                                      "WHERRY_MAP_OPTIONS");
    if (result < 0)
        return result;
    if ((ret->create || ret->file_size) && !ret->write)
        return wherry__fail(EINVAL, "%s: create and file_size need write", name);
    if (ret->mode > 0777)
        return wherry__fail(EINVAL, "%s: the mode is 0%o: only permissions are allowed, at most 0777", name, ret->mode);
    if (ret->offset % page_size())
        return wherry__fail(EINVAL, "%s: the offset is %llu, no multiple of the %zu bytes of a page", name,
                            (unsigned long long)ret->offset, page_size());
    if (ret->offset > INT64_MAX || ret->length > INT64_MAX - ret->offset || ret->file_size > INT64_MAX)
        return wherry__fail(EINVAL, "%s: no file has so many bytes as the options say", name);
    return 0;
}

/* The part of a file of this size: its length, at most what an address space can hold. */
static int part_of(const char *name, const struct wherry_map_options *options, uint64_t file_size, size_t *ret_size)
{
    uint64_t end = options->length ? options->offset + options->length : file_size;
    if (end > file_size || options->offset > end)
        return wherry__fail(EINVAL,
                            "%s: has %llu bytes, and the part asked for ends at %llu; ask for less, or make it "
                            "longer with file_size",
                            name, (unsigned long long)file_size,
                            (unsigned long long)(end > options->offset ? end : options->offset));
    if (end - options->offset > PTRDIFF_MAX)
        return wherry__fail(ENOMEM, "%s: has %llu bytes, more than there are addresses; map a part of it", name,
                            (unsigned long long)file_size);
    *ret_size = (size_t)(end - options->offset);
    return 0;
}

static int map_pages(struct wherry_map *map, size_t size)
{
    if (size == 0)
        return 0;
    void *data = wherry__sys.mmap(NULL, size, map->write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, map->fd,
                                  (off_t)map->offset);
    if (data == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: %zu bytes could not be mapped", map->name, size);
    map->data = data;
    map->size = size;
    return 0;
}

static void unmap_pages(struct wherry_map *map)
{
    if (map->data)
        munmap(map->data, map->size);
    map->data = NULL;
    map->size = 0;
}

/* The part of a file that has this size, or will have it: memory beyond its end can be mapped, not touched. */
static int map_part(struct wherry_map *map, const struct wherry_map_options *options, uint64_t file_size)
{
    size_t size = 0;
    int result = part_of(map->name, options, file_size, &size);
    return result < 0 ? result : map_pages(map, size);
}

struct opening {
    struct wherry_map *map;
    const struct wherry_map_options *options;
};

/* A new file, nameless yet: what cannot be mapped is not made. */
static int map_new(void *data, int fd)
{
    const struct opening *opening = data;
    unmap_pages(opening->map); /* another try: somebody else's got the name, and is gone */
    opening->map->fd = fd;
    int result = map_part(opening->map, opening->options, opening->options->file_size);
    opening->map->fd = -1;
    return result;
}

/* One that was there: mapped before it is made longer, since it could not be made shorter again for sure. */
static int map_present(struct wherry_map *map, const struct wherry_map_options *options, uint64_t file_size)
{
    uint64_t wanted = options->file_size;
    unmap_pages(map); /* somebody else's got the name meanwhile */
    int result = map_part(map, options, wanted > file_size ? wanted : file_size);
    if (result == 0 && wanted > file_size)
        result = wherry__file_reserve(map->fd, map->name, file_size, wanted, options->sparse);
    if (result == 0 && map->write && !map->sparse && map->size > 0) /* holes, too */
        result = wherry__file_reserve(map->fd, map->name, map->offset, map->offset + map->size, false);
    return result;
}

static int enter(struct wherry_map *map, const struct wherry_map_options *options)
{
    struct opening opening = {map, options};
    struct wherry__file_how how = {
        .write = options->write,
        .create = options->create,
        .mode = options->mode ? options->mode : 0600,
        .size = options->file_size,
        .sparse = options->sparse,
        .no_write = "map it without write to read it",
        .prepare = map_new,
        .data = &opening,
    };
    struct stat status;
    int result = wherry__file_open(map->path, &how, &status, &map->made);
    if (result < 0)
        return result;
    map->fd = result;
    return map->made ? 0 : map_present(map, options, (uint64_t)status.st_size);
}

static int open_path(const char *path, const struct wherry_map_options *given, struct wherry_map **ret_map)
{
    struct wherry_map_options options;
    if (!path || !path[0])
        return wherry__fail(EINVAL, "a map needs the path of a file");
    int result = read_options(path, given, &options);
    if (result == 0)
        result = wherry__process_start();
    if (result < 0)
        return result;
    struct wherry_map *map = calloc(1, sizeof *map);
    if (map) {
        *map = (struct wherry_map){.born = wherry__generation(),
                                   .fd = -1,
                                   .write = options.write,
                                   .whole = options.offset == 0 && options.length == 0,
                                   .sparse = options.sparse,
                                   .offset = options.offset,
                                   .path = wherry__file_absolute(path),
                                   .name = strdup(path)};
    }
    result = map && map->path && map->name ? enter(map, &options) : wherry__fail(ENOMEM, "%s: no memory", path);
    if (result < 0) {
        wherry_map_close(map);
        return result;
    }
    *ret_map = map;
    return 0;
}

int wherry_map_open(const char *path, const struct wherry_map_options *given, struct wherry_map **ret_map)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_path(path, given, ret_map));
}

void *wherry_map_data(const struct wherry_map *map)
{
    return map->data;
}

size_t wherry_map_size(const struct wherry_map *map)
{
    return map->size;
}

void wherry_map_close(struct wherry_map *map)
{
    if (!map)
        return;
    if (map->data && !wherry__robust_keeps(map->name, map->data, map->size)) /* H28 */
        munmap(map->data, map->size);
    wherry__fd_close_from(map->born, false, &map->fd);
    free(map->path);
    free(map->name);
    free(map);
}

/* ---- what needs the descriptor ---- */

static int check_process(const struct wherry_map *map)
{
    if (map->born == wherry__generation())
        return 0;
    return wherry__fail(ECHILD,
                        "%s: was mapped before fork(), and its descriptor is the parent's; map it again in the "
                        "child",
                        map->name);
}

static int check_write(const struct wherry_map *map)
{
    int result = check_process(map);
    if (result == 0 && !map->write)
        result = wherry__fail(EPERM, "%s: is mapped for reading; open it for writing", map->name);
    return result;
}

static int check_range(const struct wherry_map *map, size_t at, size_t size)
{
    if (at <= map->size && size <= map->size - at)
        return 0;
    return wherry__fail(EINVAL, "%s: the map has %zu bytes, and %zu bytes at %zu are not within it", map->name,
                        map->size, size, at);
}

/* ---- resizing ---- */

/* The memory, longer or shorter; the file is long enough. */
static int remap(struct wherry_map *map, size_t size)
{
    if (!map->data)
        return map_pages(map, size);
    if (size == 0) {
        unmap_pages(map);
        return 0;
    }
    void *data = wherry__sys.mremap(map->data, map->size, size, MREMAP_MAYMOVE);
    if (data == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: %zu bytes could not be mapped", map->name, size);
    map->data = data;
    map->size = size;
    return 0;
}

static int lengthen(struct wherry_map *map, size_t size)
{
    struct stat status;
    uint64_t end;
    if (size > PTRDIFF_MAX || __builtin_add_overflow(map->offset, size, &end) || end > INT64_MAX)
        return wherry__fail(EINVAL, "%s: there is no map of %zu bytes", map->name, size);
    if (wherry__sys.fstat(map->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: could not be looked at", map->name);
    uint64_t from = map->offset + map->size;
    if (from > (uint64_t)status.st_size) /* truncated meanwhile */
        from = (uint64_t)status.st_size;
    int result = wherry__file_reserve(map->fd, map->name, from, end, map->sparse);
    if (result < 0)
        return result;
    result = remap(map, size);
    if (result < 0 && (uint64_t)status.st_size < end)
        wherry__sys.ftruncate(map->fd, status.st_size);
    return result;
}

/* First the file, which can fail, then the memory, which cannot in earnest: it only gives up. */
static int shorten(struct wherry_map *map, size_t size)
{
    if (map->whole && wherry__sys.ftruncate(map->fd, (off_t)size) != 0)
        return wherry__fail_errno(errno, "%s: could not be made %zu bytes long", map->name, size);
    return remap(map, size);
}

int wherry_map_resize(struct wherry_map *map, size_t size)
{
    int result = check_write(map);
    if (result < 0 || size == map->size)
        return result;
    result = wherry__robust_refuse(map->name, map->data, map->size);
    if (result < 0)
        return result;
    return size > map->size ? lengthen(map, size) : shorten(map, size);
}

/* ---- to the disk ---- */

static int sync_name(struct wherry_map *map)
{
    int result = wherry__naming_sync(AT_FDCWD, map->path);
    if (result < 0)
        return wherry__fail_errno(-result, "%s: the name could not be brought to the disk", map->name);
    map->made = false;
    return 0;
}

int wherry_map_sync(struct wherry_map *map, size_t start, size_t length)
{
    int result = check_process(map);
    if (result == 0)
        result = check_range(map, start, length);
    if (result < 0)
        return result;
    size_t end = length ? start + length : map->size, page = start - start % page_size();
    /* msync(2) is fsync(2) of these bytes; without memory there is the length alone */
    int failed =
        map->data && end > page ? wherry__sys.msync(map->data + page, end - page, MS_SYNC) : wherry__sys.fsync(map->fd);
    if (failed != 0)
        return wherry__fail_errno(errno, "%s: could not be brought to the disk", map->name);
    return map->made ? sync_name(map) : 0;
}

/* ---- the accessors ---- */

static int truncated(const struct wherry_map *map)
{
    struct stat status = {.st_size = 0};
    wherry__sys.fstat(map->fd, &status);
    return wherry__fail(ENODATA,
                        "%s: has %lld bytes now: somebody truncated it; touch no memory behind that, and map it "
                        "again",
                        map->name, (long long)status.st_size);
}

int wherry_map_read(const struct wherry_map *map, size_t at, void *data, size_t size)
{
    int result = check_process(map);
    if (result == 0)
        result = check_range(map, at, size);
    for (size_t done = 0; result == 0 && done < size;) {
        ssize_t count = wherry__sys.pread(map->fd, (char *)data + done, size - done, (off_t)(map->offset + at + done));
        if (count == 0)
            result = truncated(map);
        else if (count < 0 && errno != EINTR)
            result = wherry__fail_errno(errno, "%s: could not be read", map->name);
        else
            done += count > 0 ? (size_t)count : 0;
    }
    return result;
}

/* pwrite(2) behind the end would make the file longer, with a hole before it. */
static int check_end(const struct wherry_map *map, uint64_t end)
{
    struct stat status;
    if (wherry__sys.fstat(map->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: could not be looked at", map->name);
    return (uint64_t)status.st_size >= end ? 0 : truncated(map);
}

int wherry_map_write(struct wherry_map *map, size_t at, const void *data, size_t size)
{
    int result = check_write(map);
    if (result == 0)
        result = check_range(map, at, size);
    if (result == 0 && size > 0)
        result = check_end(map, map->offset + at + size);
    for (size_t done = 0; result == 0 && done < size;) {
        ssize_t count =
            wherry__sys.pwrite(map->fd, (const char *)data + done, size - done, (off_t)(map->offset + at + done));
        if (count < 0 && errno != EINTR)
            result = wherry__fail_errno(errno, "%s: could not be written", map->name);
        else
            done += count > 0 ? (size_t)count : 0;
    }
    return result;
}
