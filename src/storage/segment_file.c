/* storage/segment_file.c - owns segments that are files: POSIX shared memory and memfds.
 *
 * SPDX-License-Identifier: MIT
 *
 * shm_overview(7), memfd_create(2), fcntl(2) for seals. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/robust.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/segment.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

/* ---- mapping ---- */

int wherry__segment_map(struct wherry_segment *segment, uint64_t size)
{
    int protection = PROT_READ | (segment->writable ? PROT_WRITE : 0);
    void *data = wherry__sys.mmap(NULL, (size_t)size, protection, MAP_SHARED, segment->fd, 0);
    if (data == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: %llu bytes cannot be mapped", segment->name, (unsigned long long)size);
    segment->data = data;
    segment->size = size;
    return 0;
}

static void close_file(struct wherry_segment *segment, bool child)
{
    struct wherry__naming naming = {.fd = segment->fd, .hidden = segment->hidden};
    if (!child) /* what has no name goes with its last user */
        wherry__naming_drop(&naming, AT_FDCWD, segment->path);
    if (segment->data && !wherry__robust_keeps(segment->name, segment->data, (size_t)segment->size)) /* H28 */
        wherry__sys.munmap(segment->data, (size_t)segment->size);
}

/* ---- huge pages ---- */

static uint64_t huge_page(void)
{
    uint64_t size = (uint64_t)2 << 20;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        unsigned long long kilobytes;
        if (sscanf(line, "Hugepagesize: %llu kB", &kilobytes) == 1)
            size = (uint64_t)kilobytes << 10;
    }
    if (file)
        fclose(file);
    return size;
}

/* Files in /dev/shm have transparent huge pages or none.  They are made at the first touch, if this mapping asks for
 * it. */
static int make_transparent(struct wherry_segment *segment)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    char text[128];
    wherry__segment_setting(path, text);
    if (!strstr(text, "[always]") && !strstr(text, "[within_size]") && !strstr(text, "[advise]") &&
        !strstr(text, "[force]"))
        return wherry__fail(EOPNOTSUPP, "%s: no huge pages in /dev/shm; echo advise >%s (now: %.60s)", segment->name,
                            path, text);
    if (wherry__sys.ftruncate(segment->fd, (off_t)segment->size) != 0)
        return wherry__fail_errno(errno, "%s: %llu bytes", segment->name, (unsigned long long)segment->size);
    int result = wherry__segment_map(segment, segment->size);
    if (result == 0 && wherry__sys.madvise(segment->data, (size_t)segment->size, MADV_HUGEPAGE) != 0)
        result = wherry__fail(EOPNOTSUPP, "%s: this kernel has no huge pages in /dev/shm", segment->name);
    if (result == 0) /* without room, or before Linux 5.14, the reservation behind it tells, or makes small pages */
        wherry__sys.madvise(segment->data, (size_t)segment->size, MADV_POPULATE_WRITE);
    return result;
}

/* What is wrong with a memfd of huge pages is most often that there are none. */
static int no_huge_pages(const struct wherry_segment *segment, int code)
{
    char text[128];
    if (code != ENOMEM && code != ENOSPC)
        return wherry__fail(EOPNOTSUPP, "%s: this kernel has no huge pages", segment->name);
    unsigned long long pages = (unsigned long long)(segment->size / huge_page());
    return wherry__fail(ENOMEM,
                        "%s: fewer than %llu huge pages are free; sysctl vm.nr_hugepages (now %s) must have so "
                        "many more",
                        segment->name, pages, wherry__segment_setting("/proc/sys/vm/nr_hugepages", text));
}

/* ---- POSIX ---- */

static int make_posix(struct wherry_segment *segment)
{
    struct stat status;
    int result = wherry__shm_look(segment->path, &status, segment->name);
    if (result == -EBADF)
        return -EEXIST; /* the sentence says of what kind */
    if (result == 0)
        return wherry__fail(EEXIST, "%s: there is one of %lld bytes, of uid %u; remove it, or open it", segment->name,
                            (long long)status.st_size, (unsigned)status.st_uid);
    struct wherry__naming naming;
    result = wherry__shm_make(&naming, segment->path, segment->mode, segment->name);
    if (result < 0)
        return result;
    segment->fd = naming.fd;
    segment->hidden = naming.hidden;
    result = segment->huge ? make_transparent(segment) : 0;
    if (result == 0)
        result = wherry__shm_reserve(segment->fd, 0, segment->size, segment->name);
    if (result == 0 && !segment->data)
        result = wherry__segment_map(segment, segment->size);
    return result;
}

static int publish_posix(struct wherry_segment *segment)
{
    struct wherry__naming naming = {.fd = segment->fd, .hidden = segment->hidden};
    int result = wherry__shm_link(&naming, segment->path, segment->name);
    segment->hidden = naming.hidden;
    if (result == -EEXIST)
        return wherry__fail(EEXIST, "%s: another has been made meanwhile; remove it, or open it", segment->name);
    return result;
}

static int check_file(struct wherry_segment *segment, const struct stat *status,
                      const struct wherry_segment_options *options)
{
    uint64_t size = (uint64_t)status->st_size;
    if (size == 0) /* between another program's shm_open() and ftruncate() */
        return wherry__fail(EAGAIN, "%s: is there, but has no size yet", segment->name);
    int result = wherry__segment_check_length(size, options, segment->name);
    if (result == 0 && segment->writable) /* other programs reserve nothing, and die of SIGBUS when /dev/shm is full */
        result = wherry__shm_reserve_all(segment->fd, size, segment->name);
    return result;
}

static int open_posix(struct wherry_segment *segment, const struct wherry_segment_options *options)
{
    struct stat status;
    int fd = wherry__shm_open(segment->path, segment->writable, options->any_owner, &status, segment->name);
    if (fd == -ENOENT)
        return wherry__fail(EAGAIN, "%s: there is none", segment->name);
    if (fd < 0)
        return fd;
    segment->fd = fd;
    int result = check_file(segment, &status, options);
    if (result == 0)
        result = wherry__segment_map(segment, (uint64_t)status.st_size);
    if (result < 0)
        wherry__fd_close(&segment->fd);
    return result;
}

static void fill_stat(const struct stat *status, struct wherry_segment_stat *stat)
{
    stat->mode = status->st_mode & 0777;
    stat->length = (uint64_t)status->st_size;
    stat->resident = (uint64_t)status->st_blocks * 512;
    stat->uid = stat->creator_uid = status->st_uid;
    stat->gid = status->st_gid;
    stat->changed_at = status->st_ctime;
}

static int look_posix(const struct wherry__object *object, const char *name, struct wherry_segment_stat *stat)
{
    struct stat status;
    char path[WHERRY__SHM_PATH];
    snprintf(path, sizeof path, "/dev/shm%s", object->name);
    int result = wherry__shm_look(path, &status, name);
    if (result == 0)
        fill_stat(&status, stat);
    return result;
}

static int stat_file(const struct wherry_segment *segment, struct wherry_segment_stat *stat)
{
    struct stat status;
    if (wherry__sys.fstat(segment->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: cannot be looked at", segment->name);
    fill_stat(&status, stat);
    stat->removed = segment->kind == WHERRY_SEGMENT_POSIX && segment->published && status.st_nlink == 0;
    return 0;
}

static int remove_posix(const struct wherry__object *object, const char *name)
{
    char path[WHERRY__SHM_PATH];
    snprintf(path, sizeof path, "/dev/shm%s", object->name);
    return wherry__shm_remove(path, name);
}

const struct wherry__segment_kind wherry__segment_posix = {
    .make = make_posix,
    .publish = publish_posix,
    .open = open_posix,
    .stat = stat_file,
    .look = look_posix,
    .remove = remove_posix,
    .close = close_file,
};

/* ---- anonymous ---- */

static int make_memfd(struct wherry_segment *segment)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (segment->huge ? MFD_HUGETLB : 0);
    wherry__fd_guard();
    int fd = wherry__sys.memfd_create("wherry", flags | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = wherry__sys.memfd_create("wherry", flags);
    int code = errno;
    segment->fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    if (fd >= 0 && wherry__sys.fchmod(fd, segment->mode) != 0) /* who may open it anew through /proc */
        return wherry__fail_errno(errno, "%s: permissions 0%o cannot be set", segment->name, segment->mode);
    if (fd >= 0)
        return 0;
    return segment->huge ? no_huge_pages(segment, code) : wherry__fail_errno(code, "%s: cannot be made", segment->name);
}

static int make_anonymous(struct wherry_segment *segment)
{
    if (segment->huge)
        segment->size = (segment->size + huge_page() - 1) / huge_page() * huge_page();
    int result = make_memfd(segment);
    if (result == 0)
        result = wherry__shm_reserve(segment->fd, 0, segment->size, segment->name);
    if (result == 0)
        result = wherry__segment_map(segment, segment->size);
    if (segment->huge && (result == -ENOSPC || result == -ENOMEM))
        result = no_huge_pages(segment, ENOMEM);
    else if (result == -ENOSPC) /* /dev/shm has nothing to do with it */
        result = wherry__fail(ENOMEM, "%s: no memory for %llu bytes", segment->name, (unsigned long long)segment->size);
    return result;
}

static int publish_anonymous(struct wherry_segment *segment)
{
    if (wherry__sys.add_seals(segment->fd, SEALS) == 0)
        return 0;
    return wherry__fail_errno(errno, "%s: its size cannot be sealed", segment->name);
}

static int open_nameless(struct wherry_segment *segment, const struct wherry_segment_options *options)
{
    (void)options;
    return wherry__fail(EINVAL, "%s: has no name to be opened by", segment->name);
}

const struct wherry__segment_kind wherry__segment_anonymous = {
    .make = make_anonymous,
    .publish = publish_anonymous,
    .open = open_nameless,
    .stat = stat_file,
    .close = close_file,
};

static int check_seals(const struct wherry_segment *segment, int fd)
{
    int seals = wherry__sys.get_seals(fd);
    if (seals < 0 && errno == EBADF)
        return wherry__fail(EBADF, "%s: is not open", segment->name);
    if (seals < 0)
        return wherry__fail(EPERM,
                            "%s: is no memory that could be sealed: whoever has it could cut it off, and this "
                            "process would die of SIGBUS",
                            segment->name);
    if (!(seals & F_SEAL_SHRINK))
        return wherry__fail(EPERM,
                            "%s: is not sealed against shrinking (seals 0x%x), so whoever has it could cut it off; "
                            "publish it before it is handed over",
                            segment->name, (unsigned)seals);
    if (segment->writable && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
        return wherry__fail(EACCES, "%s: is sealed against writing", segment->name);
    return 0;
}

int wherry__segment_adopt(struct wherry_segment *segment, int fd, const struct wherry_segment_options *options)
{
    struct stat status;
    int result = check_seals(segment, fd);
    if (result < 0)
        return result;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY || (segment->writable && (flags & O_ACCMODE) != O_RDWR))
        return wherry__fail(EACCES, "%s: was not handed over for %s", segment->name,
                            segment->writable ? "writing" : "reading");
    wherry__fd_guard();
    segment->fd = wherry__fd_note(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    int code = errno;
    wherry__fd_unguard();
    if (segment->fd < 0)
        return wherry__fail_errno(code, "%s: no descriptor for it", segment->name);
    if (wherry__sys.fstat(segment->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: cannot be looked at", segment->name);
    if (!S_ISREG(status.st_mode) || status.st_size <= 0)
        return wherry__fail(EINVAL, "%s: has no bytes", segment->name);
    result = wherry__segment_check_length((uint64_t)status.st_size, options, segment->name);
    return result < 0 ? result : wherry__segment_map(segment, (uint64_t)status.st_size);
}

/* ---- the checked way to the bytes ---- */

static int cut_off(const struct wherry_segment *segment, uint64_t at)
{
    return wherry__fail(ENODATA, "%s: somebody cut it off before byte %llu of %llu", segment->name,
                        (unsigned long long)at, (unsigned long long)segment->size);
}

int wherry__segment_pread(const struct wherry_segment *segment, uint64_t offset, char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = wherry__sys.pread(segment->fd, data, size, (off_t)offset);
        if (done == 0)
            return cut_off(segment, offset);
        if (done < 0 && errno != EINTR)
            return wherry__fail_errno(errno, "%s: cannot be read", segment->name);
        if (done > 0) {
            data += done;
            offset += (uint64_t)done;
            size -= (size_t)done;
        }
    }
    return 0;
}

int wherry__segment_pwrite(const struct wherry_segment *segment, uint64_t offset, const char *data, size_t size)
{
    struct stat status;
    if (wherry__sys.fstat(segment->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: cannot be looked at", segment->name);
    if ((uint64_t)status.st_size < offset + size) /* pwrite(2) would make it longer again */
        return cut_off(segment, (uint64_t)status.st_size);
    while (size > 0) {
        ssize_t done = wherry__sys.pwrite(segment->fd, data, size, (off_t)offset);
        if (done < 0 && errno == EINVAL && segment->huge) { /* hugetlbfs knows no write(2); it is this process's own */
            memcpy((char *)segment->data + offset, data, size);
            return 0;
        }
        if (done < 0 && errno != EINTR)
            return wherry__fail_errno(errno, "%s: cannot be written", segment->name);
        if (done > 0) {
            data += done;
            offset += (uint64_t)done;
            size -= (size_t)done;
        }
    }
    return 0;
}

/* ---- another size ---- */

static int remap(struct wherry_segment *segment, uint64_t length)
{
    void *data = wherry__sys.mremap(segment->data, (size_t)segment->size, (size_t)length, MREMAP_MAYMOVE);
    if (data == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: %llu bytes cannot be mapped", segment->name, (unsigned long long)length);
    segment->data = data;
    segment->size = length;
    return 0;
}

static int grow(struct wherry_segment *segment, uint64_t now, uint64_t length)
{
    int result = wherry__shm_reserve(segment->fd, now, length, segment->name);
    if (result == 0)
        result = remap(segment, length);
    if (result < 0)
        wherry__sys.ftruncate(segment->fd, (off_t)now); /* as it was */
    return result;
}

/* The mapping first: this process at least touches nothing that is gone. */
static int shrink(struct wherry_segment *segment, uint64_t length)
{
    uint64_t before = segment->size;
    int result = length < before ? remap(segment, length) : 0;
    if (result == 0 && wherry__sys.ftruncate(segment->fd, (off_t)length) != 0) {
        int code = errno;
        if (length < before)
            remap(segment, before); /* as it was */
        return wherry__fail_errno(code, "%s: cannot be cut to %llu bytes", segment->name, (unsigned long long)length);
    }
    return result < 0 || length == segment->size ? result : remap(segment, length);
}

static int may_remap(const struct wherry_segment *segment)
{
    return wherry__robust_refuse(segment->name, segment->data, (size_t)segment->size);
}

int wherry__segment_resize_file(struct wherry_segment *segment, uint64_t length)
{
    struct stat status;
    if (wherry__sys.fstat(segment->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: cannot be looked at", segment->name);
    uint64_t now = (uint64_t)status.st_size;
    if (length == 0 && now == 0)
        return wherry__fail(EINVAL, "%s: somebody cut all of it off", segment->name);
    int result = 0;
    if (length == 0 || length == now)
        return now == segment->size || (result = may_remap(segment)) < 0 ? result : remap(segment, now);
    if (segment->kind == WHERRY_SEGMENT_ANONYMOUS && segment->published)
        return wherry__fail(EOPNOTSUPP, "%s: its size is sealed", segment->name);
    if (!segment->writable)
        return wherry__fail(EACCES, "%s: was opened for reading; open it for writing", segment->name);
    if ((result = may_remap(segment)) < 0)
        return result;
    return length > now ? grow(segment, now, length) : shrink(segment, length);
}
