/* storage/segment.c - owns the calls on segments: names, options, waiting, forks, the end.  segment_file.c and
 * segment_sysv.c own what the kinds do.
 *
 * SPDX-License-Identifier: MIT */
#include "storage/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"

static const struct wherry__segment_kind *const kinds[] = {
    [WHERRY_SEGMENT_POSIX] = &wherry__segment_posix,
    [WHERRY_SEGMENT_SYSV] = &wherry__segment_sysv,
    [WHERRY_SEGMENT_ANONYMOUS] = &wherry__segment_anonymous,
};
enum { TYPES = 1u << WHERRY__POSIX_SHM | 1u << WHERRY__SYSV_SHM };

/* ---- what several calls need ---- */

static int parse(struct wherry__object *object, const char *name, enum wherry_segment_kind *ret_kind)
{
    int result = wherry__object_parse(object, name, TYPES);
    if (result == 0)
        *ret_kind = object->type == WHERRY__POSIX_SHM ? WHERRY_SEGMENT_POSIX : WHERRY_SEGMENT_SYSV;
    return result;
}

static int read_options(struct wherry_segment_options *options, const struct wherry_segment_options *given,
                        const char *name)
{
    *options = (struct wherry_segment_options)WHERRY_SEGMENT_OPTIONS;
    int result = wherry__options_read(options, sizeof *options, given, offsetof(struct wherry_segment_options, mode),
                                      name, "WHERRY_SEGMENT_OPTIONS");
    return result < 0 ? result : wherry__mode_check(&options->mode, name);
}

/* A segment that is nothing yet; `name` may be NULL. */
static int begin(const char *name, const char *shown, const struct wherry_segment_options *given,
                 struct wherry_segment_options *options, struct wherry_segment **ret_segment)
{
    struct wherry__object object = {.name = ""};
    enum wherry_segment_kind kind = WHERRY_SEGMENT_ANONYMOUS;
    int result = name ? parse(&object, name, &kind) : 0;
    if (result == 0)
        result = read_options(options, given, shown);
    if (result == 0)
        result = wherry__process_start();
    if (result < 0)
        return result;
    struct wherry_segment *segment = calloc(1, sizeof *segment + strlen(shown) + 1);
    if (!segment)
        return wherry__fail(ENOMEM, "%s: no memory", shown);
    segment->kind = kind;
    segment->born = wherry__generation();
    segment->fd = segment->maker = segment->id = -1;
    segment->object = object;
    segment->mode = options->mode;
    segment->huge = options->huge;
    strcpy(segment->name, shown);
    if (kind == WHERRY_SEGMENT_POSIX)
        snprintf(segment->path, sizeof segment->path, "/dev/shm%s", object.name);
    *ret_segment = segment;
    return 0;
}

static bool is_child(const struct wherry_segment *segment)
{
    return segment->born != wherry__generation();
}

static int refuse_child(const struct wherry_segment *segment)
{
    return wherry__fail(ECHILD, "%s: was opened before the fork; this child has its mapping, and no more",
                        segment->name);
}

int wherry__segment_check_length(uint64_t length, const struct wherry_segment_options *options, const char *name)
{
    if (options->length == 0 || options->length == length)
        return 0;
    return wherry__fail(EINVAL, "%s: has %llu bytes, and %llu were expected; remove it, or ask for what it has", name,
                        (unsigned long long)length, (unsigned long long)options->length);
}

const char *wherry__segment_setting(const char *path, char text[static 128])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, 127) : 0;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return *text ? text : strcpy(text, "?");
}

/* ---- making and opening ---- */

static int create(const char *name, uint64_t length, const struct wherry_segment_options *given,
                  struct wherry_segment **ret_segment)
{
    struct wherry_segment *segment = NULL;
    struct wherry_segment_options options;
    const char *shown = name ? name : "anonymous memory";
    if (length == 0 || length > (uint64_t)INT64_MAX / 2 || length > SIZE_MAX / 2)
        return wherry__fail(EINVAL, "%s: a segment of %llu bytes cannot be", shown, (unsigned long long)length);
    int result = begin(name, shown, given, &options, &segment);
    if (result < 0)
        return result;
    segment->size = length;
    segment->writable = true;
    result = kinds[segment->kind]->make(segment);
    if (result < 0)
        wherry_segment_close(segment);
    else
        *ret_segment = segment;
    return result;
}

int wherry_segment_create(const char *name, uint64_t length, const struct wherry_segment_options *given,
                          struct wherry_segment **ret_segment)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, create(name, length, given, ret_segment));
}

int wherry_segment_publish(struct wherry_segment *segment)
{
    if (is_child(segment))
        return refuse_child(segment);
    if (segment->published)
        return wherry__fail(EALREADY, "%s: is published already", segment->name);
    int result = kinds[segment->kind]->publish(segment);
    segment->published = result == 0;
    return result;
}

static int open_named(const char *name, const struct wherry_segment_options *given, wherry_time deadline,
                      struct wherry_segment **ret_segment)
{
    struct wherry_segment *segment = NULL;
    struct wherry_segment_options options;
    struct wherry__steps steps = {0};
    if (!name)
        return wherry__fail(EINVAL, "the name is NULL: anonymous memory is opened by its descriptor");
    int result = begin(name, name, given, &options, &segment);
    if (result < 0)
        return result;
    segment->writable = options.write;
    while ((result = kinds[segment->kind]->open(segment, &options)) == -EAGAIN && !wherry__deadline_passed(deadline)) {
        wherry__steps_sleep(&steps, deadline);
    }
    if (result < 0) {
        wherry_segment_close(segment);
        return result == -EAGAIN ? -wherry__deadline_code(deadline) : result; /* the sentence says what it waited for */
    }
    segment->published = true;
    *ret_segment = segment;
    return 0;
}

int wherry_segment_open(const char *name, const struct wherry_segment_options *given, wherry_time deadline,
                        struct wherry_segment **ret_segment)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_named(name, given, deadline, ret_segment));
}

static int open_descriptor(int fd, const struct wherry_segment_options *given, struct wherry_segment **ret_segment)
{
    struct wherry_segment *segment = NULL;
    struct wherry_segment_options options;
    char shown[48];
    snprintf(shown, sizeof shown, "descriptor %d", fd);
    int result = begin(NULL, shown, given, &options, &segment);
    if (result < 0)
        return result;
    segment->writable = options.write;
    result = wherry__segment_adopt(segment, fd, &options);
    if (result < 0) {
        wherry_segment_close(segment);
        return result;
    }
    segment->published = true;
    *ret_segment = segment;
    return 0;
}

int wherry_segment_open_fd(int fd, const struct wherry_segment_options *given, struct wherry_segment **ret_segment)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_descriptor(fd, given, ret_segment));
}

void wherry_segment_close(struct wherry_segment *segment)
{
    if (!segment)
        return;
    kinds[segment->kind]->close(segment, is_child(segment));
    wherry__fd_close_from(segment->born, false, &segment->fd);
    wherry__fd_close_from(segment->born, false, &segment->maker); /* last: it says that the maker is alive */
    free(segment);
}

/* ---- using ---- */

void *wherry_segment_data(const struct wherry_segment *segment)
{
    return segment->data;
}

uint64_t wherry_segment_size(const struct wherry_segment *segment)
{
    return segment->size;
}

int wherry_segment_fd(const struct wherry_segment *segment)
{
    if (segment->kind == WHERRY_SEGMENT_SYSV)
        return wherry__fail(EOPNOTSUPP, "%s: System V shared memory has no descriptor", segment->name);
    return is_child(segment) ? refuse_child(segment) : segment->fd;
}

static int check_range(const struct wherry_segment *segment, uint64_t offset, size_t size)
{
    if (offset <= segment->size && size <= segment->size - offset)
        return 0;
    return wherry__fail(EINVAL, "%s: %zu bytes at %llu are not within its %llu", segment->name, size,
                        (unsigned long long)offset, (unsigned long long)segment->size);
}

int wherry_segment_read(const struct wherry_segment *segment, uint64_t offset, void *ret_data, size_t size)
{
    int result = check_range(segment, offset, size);
    if (result < 0)
        return result;
    if (segment->kind != WHERRY_SEGMENT_SYSV)
        return is_child(segment) ? refuse_child(segment) : wherry__segment_pread(segment, offset, ret_data, size);
    memcpy(ret_data, (const char *)segment->data + offset, size); /* nobody can cut it off */
    return 0;
}

int wherry_segment_write(struct wherry_segment *segment, uint64_t offset, const void *data, size_t size)
{
    int result = check_range(segment, offset, size);
    if (result < 0)
        return result;
    if (!segment->writable)
        return wherry__fail(EACCES, "%s: was opened for reading; open it for writing", segment->name);
    if (segment->kind != WHERRY_SEGMENT_SYSV)
        return is_child(segment) ? refuse_child(segment) : wherry__segment_pwrite(segment, offset, data, size);
    memcpy((char *)segment->data + offset, data, size);
    return 0;
}

int wherry_segment_resize(struct wherry_segment *segment, uint64_t length)
{
    if (segment->kind == WHERRY_SEGMENT_SYSV)
        return wherry__fail(EOPNOTSUPP, "%s: System V shared memory has one size for ever", segment->name);
    if (is_child(segment))
        return refuse_child(segment);
    if (length > (uint64_t)INT64_MAX / 2 || length > SIZE_MAX / 2)
        return wherry__fail(EINVAL, "%s: a segment of %llu bytes cannot be", segment->name, (unsigned long long)length);
    return wherry__segment_resize_file(segment, length);
}

/* ---- looking and removing ---- */

static int give_stat(int result, const struct wherry_segment_stat *stat, struct wherry_segment_stat *ret_stat,
                     size_t size)
{
    if (result == 0)
        memcpy(ret_stat, stat, size < sizeof *stat ? size : sizeof *stat);
    return result;
}

int wherry_segment_stat(const char *name, struct wherry_segment_stat *ret_stat, size_t size)
{
    struct wherry__object object;
    struct wherry_segment_stat stat = {.id = -1, .published = true};
    enum wherry_segment_kind kind = WHERRY_SEGMENT_POSIX;
    int result = parse(&object, name, &kind);
    if (result < 0)
        return result;
    stat.kind = kind;
    return give_stat(kinds[kind]->look(&object, name, &stat), &stat, ret_stat, size);
}

int wherry_segment_stat_open(const struct wherry_segment *segment, struct wherry_segment_stat *ret_stat, size_t size)
{
    struct wherry_segment_stat stat = {.kind = segment->kind, .id = -1, .published = segment->published};
    if (segment->kind != WHERRY_SEGMENT_SYSV && is_child(segment))
        return refuse_child(segment);
    return give_stat(kinds[segment->kind]->stat(segment, &stat), &stat, ret_stat, size);
}

int wherry_segment_remove(const char *name)
{
    struct wherry__object object;
    enum wherry_segment_kind kind = WHERRY_SEGMENT_POSIX;
    int result = parse(&object, name, &kind);
    return result < 0 ? result : kinds[kind]->remove(&object, name);
}
