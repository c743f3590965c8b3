/* tests/unit/test_map.c - owns the tests of wherry/map.h, the traps H5, H7, H9, H11 and H13 of mapped files among them.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "harness.h"

#define says(text_) ck_assert_msg(strstr(wherry_why(), text_), "\"%s\" does not say \"%s\"", wherry_why(), text_)

static const char *file_path(void)
{
    static char path[200];
    return test_path(path, "file");
}

static struct wherry_map_options for_writing(uint64_t size)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    options.write = options.create = true;
    options.file_size = size;
    return options;
}

static struct wherry_map *open_map(uint64_t size)
{
    struct wherry_map_options options = for_writing(size);
    struct wherry_map *map;
    test_ok(wherry_map_open(file_path(), &options, &map));
    return map;
}

static off_t file_size(void)
{
    struct stat status;
    ck_assert_int_eq(stat(file_path(), &status), 0);
    return status.st_size;
}

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

TEST(what_one_writes_another_sees)
{
    struct wherry_map *map = open_map(10000), *reader;
    char text[6];
    ck_assert_uint_eq(wherry_map_size(map), 10000);
    test_ok(wherry_map_open(file_path(), NULL, &reader));
    ck_assert_uint_eq(wherry_map_size(reader), 10000);
    memcpy((char *)wherry_map_data(map) + 5000, "hello", 6);
    ck_assert_str_eq((char *)wherry_map_data(reader) + 5000, "hello");
    test_ok(wherry_map_read(reader, 5000, text, 6));
    ck_assert_str_eq(text, "hello");
    test_ok(wherry_map_write(map, 9994, "world", 6));
    ck_assert_str_eq((char *)wherry_map_data(reader) + 9994, "world");
    test_is(wherry_map_write(reader, 0, "x", 1), -EPERM);
    says("is mapped for reading; open it for writing");
    test_is(wherry_map_resize(reader, 5), -EPERM);
    test_is(wherry_map_read(map, 9995, text, 6), -EINVAL);
    test_is(wherry_map_read(map, SIZE_MAX, text, 6), -EINVAL);
    test_ok(wherry_map_read(map, 10000, text, 0));
    wherry_map_close(reader);
    wherry_map_close(map);
    wherry_map_close(NULL);
    unlink(file_path());
}

TEST(a_part_of_a_file)
{
    struct wherry_map_options options = for_writing(3 * page() + 7);
    struct wherry_map *map = open_map(3 * page() + 7), *part;
    memset(wherry_map_data(map), 'a', 3 * page() + 7);
    options.offset = page();
    options.length = 10;
    test_ok(wherry_map_open(file_path(), &options, &part));
    ck_assert_uint_eq(wherry_map_size(part), 10);
    test_ok(wherry_map_write(part, 3, "B", 1));
    ck_assert_int_eq(((char *)wherry_map_data(map))[page() + 3], 'B');
    test_ok(wherry_map_resize(part, 4 * page()));
    ck_assert_int_eq(file_size(), (off_t)(5 * page())); /* longer where it must be */
    ck_assert_int_eq(((char *)wherry_map_data(part))[3], 'B');
    ck_assert_int_eq(((char *)wherry_map_data(part))[4 * page() - 1], 0);
    test_ok(wherry_map_resize(part, 1));
    ck_assert_int_eq(file_size(), (off_t)(5 * page())); /* and never shorter */
    wherry_map_close(part);
    options.file_size = 0;
    options.offset = page() + 1;
    test_is(wherry_map_open(file_path(), &options, &part), -EINVAL);
    says("no multiple of the");
    options.offset = 4 * page();
    options.length = page() + 1;
    test_is(wherry_map_open(file_path(), &options, &part), -EINVAL);
    says("and the part asked for ends at");
    options.offset = 6 * page();
    options.length = 0;
    test_is(wherry_map_open(file_path(), &options, &part), -EINVAL);
    wherry_map_close(map);
    unlink(file_path());
}

TEST(a_file_grows_and_shrinks_with_its_map)
{
    struct wherry_map *map = open_map(0);
    ck_assert_ptr_null(wherry_map_data(map));
    ck_assert_uint_eq(wherry_map_size(map), 0);
    test_ok(wherry_map_sync(map, 0, 0));
    test_ok(wherry_map_resize(map, 100));
    memcpy(wherry_map_data(map), "kept", 5);
    test_ok(wherry_map_resize(map, 10 << 20));
    ck_assert_str_eq(wherry_map_data(map), "kept");
    ck_assert_int_eq(file_size(), 10 << 20);
    ck_assert_int_eq(((char *)wherry_map_data(map))[(10 << 20) - 1], 0);
    test_ok(wherry_map_resize(map, 3));
    ck_assert_int_eq(file_size(), 3);
    test_ok(wherry_map_resize(map, 5));
    ck_assert_mem_eq(wherry_map_data(map), "kep\0\0", 5); /* what was cut off is gone */
    test_ok(wherry_map_resize(map, 0));
    ck_assert_int_eq(file_size(), 0);
    ck_assert_ptr_null(wherry_map_data(map));
    test_is(wherry_map_resize(map, SIZE_MAX), -EINVAL);
    wherry_map_close(map);
    unlink(file_path());
}

/* ---- H7: truncated by somebody else ---- */

TEST(h7_a_truncation_is_an_error_through_the_accessors)
{
    struct wherry_map *map = open_map(3 * page());
    char data[16] = "";
    test_ok(wherry_map_write(map, page() - 8, "0123456789abcdef", 16));
    ck_assert_int_eq(truncate(file_path(), (off_t)page()), 0);
    test_is(wherry_map_read(map, 2 * page(), data, 16), -ENODATA);
    says("somebody truncated it");
    test_is(wherry_map_read(map, page() - 8, data, 16), -ENODATA);
    test_ok(wherry_map_read(map, page() - 8, data, 8));
    ck_assert_mem_eq(data, "01234567", 8);
    test_is(wherry_map_write(map, 2 * page(), data, 1), -ENODATA);
    test_is(wherry_map_write(map, page() - 8, data, 16), -ENODATA);
    ck_assert_int_eq(file_size(), (off_t)page()); /* not made longer */
    test_ok(wherry_map_write(map, 0, "x", 1));
    test_ok(wherry_map_resize(map, 4 * page())); /* whole again, as far as anything was left */
    test_ok(wherry_map_read(map, 3 * page(), data, 16));
    wherry_map_close(map);
    unlink(file_path());
}

static void touch(void *argument)
{
    struct wherry_map *map = argument;
    signal(SIGBUS, SIG_DFL); /* a sanitizer has a handler of its own */
    ck_assert_int_eq(((volatile char *)wherry_map_data(map))[2 * page()], 1);
}

/* What the accessors are for: the test above would not be one if memory did not trap. */
TEST(h7_memory_behind_the_end_is_sigbus)
{
    struct wherry_map *map = open_map(3 * page());
    ck_assert_int_eq(truncate(file_path(), 1), 0);
    test_join_signal(test_fork(touch, map), SIGBUS);
    wherry_map_close(map);
    unlink(file_path());
}

/* ---- H9: a full disk ---- */

static void fill_a_small_disk(void *argument)
{
    struct wherry_map_options options = for_writing(100000);
    struct wherry_map *map = NULL;
    char path[200];
    const char *disk = argument;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", disk, "tmpfs", 0, "size=64k") != 0)
        _exit(9);
    snprintf(path, sizeof path, "%s/file", disk);
    test_is(wherry_map_open(path, &options, &map), -ENOSPC);
    says("no room for 100000 bytes (df)");
    ck_assert_int_eq(access(path, F_OK), -1); /* nothing half-made */
    options.file_size = 8192;
    test_ok(wherry_map_open(path, &options, &map));
    test_is(wherry_map_resize(map, 100000), -ENOSPC);
    ck_assert_uint_eq(wherry_map_size(map), 8192);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, 8192);
    test_ok(wherry_map_resize(map, 20000));
    memset(wherry_map_data(map), 1, 20000); /* and no SIGBUS */
    wherry_map_close(map);
    /* a hole that was there before is reserved, too */
    ck_assert_int_eq(truncate(path, 100000), 0);
    options.file_size = 0;
    test_is(wherry_map_open(path, &options, &map), -ENOSPC);
    options.sparse = true;
    test_ok(wherry_map_open(path, &options, &map));
    wherry_map_close(map);
    umount(disk);
}

TEST(h9_a_full_disk_is_an_error_and_no_signal)
{
    char disk[200];
    if (!test_is_root())
        test_skip("needs root to mount a small disk");
    ck_assert_int_eq(mkdir(test_path(disk, "disk"), 0700), 0);
    test_join(test_fork(fill_a_small_disk, disk));
    ck_assert_int_eq(rmdir(disk), 0);
}

static void limit_files(void *argument)
{
    struct rlimit limit = {.rlim_cur = 8192, .rlim_max = 8192};
    struct wherry_map_options options = for_writing(8193);
    struct wherry_map *map;
    (void)argument;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    test_is(wherry_map_open(file_path(), &options, &map), -EFBIG);
    says("ulimit -f");
    options.file_size = 8192;
    test_ok(wherry_map_open(file_path(), &options, &map));
    test_is(wherry_map_resize(map, 8193), -EFBIG);
    wherry_map_close(map);
}

TEST(a_limit_for_files_is_an_error_and_no_signal)
{
    test_join(test_fork(limit_files, NULL));
    unlink(file_path());
}

static struct wherry__sys real;
static int no_fallocate(int fd, int mode, off_t offset, off_t size)
{
    (void)fd, (void)mode, (void)offset, (void)size;
    errno = EOPNOTSUPP;
    return -1;
}

static ssize_t three_bytes(int fd, const void *data, size_t size, off_t at)
{
    return real.pwrite(fd, data, size > 3 ? 3 : size, at);
}

TEST(h5_short_writes_are_finished_where_nothing_can_be_reserved)
{
    real = wherry__sys;
    wherry__sys.fallocate = no_fallocate;
    wherry__sys.pwrite = three_bytes;
    struct wherry_map *map = open_map(1000);
    ck_assert_int_eq(file_size(), 1000);
    test_ok(wherry_map_resize(map, 2000));
    test_ok(wherry_map_write(map, 1500, "a text of some length", 22));
    ck_assert_str_eq((char *)wherry_map_data(map) + 1500, "a text of some length");
    wherry__sys = real;
    wherry_map_close(map);
    unlink(file_path());
}

static void *no_mremap(void *at, size_t size, size_t new_size, int flags)
{
    (void)at, (void)size, (void)new_size, (void)flags;
    errno = ENOMEM;
    return (void *)-1;
}

TEST(a_resize_that_fails_changes_nothing)
{
    struct wherry_map *map = open_map(1000);
    real = wherry__sys;
    wherry__sys.mremap = no_mremap;
    test_is(wherry_map_resize(map, 100000), -ENOMEM);
    wherry__sys = real;
    ck_assert_uint_eq(wherry_map_size(map), 1000);
    ck_assert_int_eq(file_size(), 1000);
    wherry_map_close(map);
    unlink(file_path());
}

static void *no_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd < 0)
        return real.mmap(at, size, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

static long blocks_of(const char *path)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    return (long)status.st_blocks;
}

TEST(an_open_that_fails_leaves_no_file_and_none_longer)
{
    struct wherry_map_options options = for_writing(100000), part = for_writing(100000);
    struct wherry_map *map = NULL;
    part.length = 200000;
    real = wherry__sys;
    for (int sparse = 0; sparse < 2; sparse++) {
        options.sparse = part.sparse = sparse == 1;
        wherry__sys.mmap = no_mmap;
        test_is(wherry_map_open(file_path(), &options, &map), -ENOMEM);
        ck_assert_int_eq(access(file_path(), F_OK), -1);
        wherry__sys = real;
        test_is(wherry_map_open(file_path(), &part, &map), -EINVAL);
        says("has 100000 bytes, and the part asked for ends at 200000");
        ck_assert_int_eq(access(file_path(), F_OK), -1);
        wherry_map_close(open_map(1000));
        long blocks = blocks_of(file_path());
        wherry__sys.mmap = no_mmap;
        test_is(wherry_map_open(file_path(), &options, &map), -ENOMEM);
        wherry__sys = real;
        test_is(wherry_map_open(file_path(), &part, &map), -EINVAL);
        ck_assert_int_eq(file_size(), 1000);
        ck_assert_int_eq(blocks_of(file_path()), blocks);
        ck_assert_ptr_null(map);
        unlink(file_path());
    }
}

/* Somebody else's file of this name is there at the instant at which ours would get it. */
static int late_linkat(int from_directory, const char *from, int directory, const char *path, int flags)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert(fd >= 0 && write(fd, "theirs", 6) == 6);
    close(fd);
    wherry__sys.linkat = real.linkat;
    return real.linkat(from_directory, from, directory, path, flags);
}

TEST(h13_who_comes_second_has_the_memory_of_the_first)
{
    real = wherry__sys;
    wherry__sys.linkat = late_linkat;
    struct wherry_map *map = open_map(5000);
    wherry__sys = real;
    ck_assert_uint_eq(wherry_map_size(map), 5000);
    ck_assert_str_eq(wherry_map_data(map), "theirs");
    ck_assert_int_eq(file_size(), 5000);
    wherry_map_close(map);
    unlink(file_path());
}

/* ---- what is made ---- */

static unsigned renames, named_size, named_mode;
static int watching_linkat(int from_directory, const char *from, int directory, const char *path, int flags)
{
    int result = real.linkat(from_directory, from, directory, path, flags);
    struct stat status;
    renames++;
    ck_assert_int_eq(stat(path, &status), 0);
    named_size = (unsigned)status.st_size;
    named_mode = status.st_mode & 07777;
    return result;
}

TEST(h13_a_file_has_its_size_and_mode_before_its_name)
{
    struct wherry_map_options options = for_writing(5000);
    struct wherry_map *map;
    real = wherry__sys;
    wherry__sys.linkat = watching_linkat;
    umask(0777);
    options.mode = 0640;
    test_ok(wherry_map_open(file_path(), &options, &map));
    umask(022);
    wherry__sys = real;
    ck_assert_uint_eq(renames, 1);
    ck_assert_uint_eq(named_size, 5000);
    ck_assert_uint_eq(named_mode, 0640);
    test_ok(wherry_map_sync(map, 0, 0));
    wherry_map_close(map);
    unlink(file_path());
}

static int no_tmpfile(int directory, const char *path, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return real.openat(directory, path, flags, mode);
}

TEST(files_are_made_where_none_can_be_nameless)
{
    real = wherry__sys;
    wherry__sys.openat = no_tmpfile;
    struct wherry_map *map = open_map(5000);
    ck_assert_int_eq(file_size(), 5000);
    wherry_map_close(map);
    unlink(file_path());
    /* and are removed again when they cannot be filled */
    struct wherry_map_options options = for_writing((uint64_t)1 << 62);
    test_ok(wherry_map_open(file_path(), &options, &map) < 0 ? 0 : -1);
    ck_assert_int_eq(access(file_path(), F_OK), -1);
    wherry__sys = real;
}

TEST(h11_what_is_no_file_of_ones_own_making_is_looked_at)
{
    struct wherry_map_options options = for_writing(10);
    struct wherry_map *map;
    char link[200], fifo[200];
    ck_assert_int_eq(symlink("/etc/passwd", test_path(link, "link")), 0);
    test_is(wherry_map_open(link, &options, &map), -ELOOP);
    ck_assert_int_eq(mkfifo(test_path(fifo, "fifo"), 0600), 0);
    test_is(wherry_map_open(fifo, &options, &map), -EINVAL);
    test_is(wherry_map_open(test_dir(), &options, &map), -EISDIR);
    test_is(wherry_map_open("/dev/null", NULL, &map), -EINVAL);
    test_is(wherry_map_open(file_path(), NULL, &map), -ENOENT);
    says("there is no such file");
    options.write = false;
    test_is(wherry_map_open(file_path(), &options, &map), -EINVAL);
    options.size = 3;
    test_is(wherry_map_open(file_path(), &options, &map), -EINVAL);
    unlink(link);
    unlink(fifo);
}

/* ---- the disk, and forks ---- */

static unsigned msyncs, fsyncs;
static int counting_msync(void *at, size_t size, int flags)
{
    ck_assert_uint_eq((uintptr_t)at % page(), 0);
    msyncs++;
    return real.msync(at, size, flags);
}
static int counting_fsync(int fd)
{
    fsyncs++;
    return real.fsync(fd);
}
static int failing_msync(void *at, size_t size, int flags)
{
    (void)at, (void)size, (void)flags;
    errno = EIO;
    return -1;
}

TEST(sync_brings_bytes_and_the_name_to_the_disk)
{
    struct wherry_map *map = open_map(3 * page());
    real = wherry__sys;
    wherry__sys.msync = counting_msync;
    wherry__sys.fsync = counting_fsync;
    test_ok(wherry_map_sync(map, page() + 5, 10));
    ck_assert_uint_eq(msyncs, 1);
    ck_assert_uint_eq(fsyncs, 1); /* of the directory, once */
    test_ok(wherry_map_sync(map, 0, 0));
    ck_assert_uint_eq(fsyncs, 1);
    test_is(wherry_map_sync(map, 3 * page(), 1), -EINVAL);
    wherry__sys.msync = failing_msync;
    test_is(wherry_map_sync(map, 0, 0), -EIO);
    says("could not be brought to the disk");
    wherry__sys = real;
    wherry_map_close(map);
    unlink(file_path());
}

static void use_as_child(void *argument)
{
    struct wherry_map *map = argument;
    char byte;
    ((char *)wherry_map_data(map))[0] = 'c'; /* the memory is shared */
    test_is(wherry_map_read(map, 0, &byte, 1), -ECHILD);
    test_is(wherry_map_write(map, 0, &byte, 1), -ECHILD);
    test_is(wherry_map_resize(map, 1), -ECHILD);
    test_is(wherry_map_sync(map, 0, 0), -ECHILD);
    wherry_map_close(map);
}

TEST(a_child_has_the_memory_and_no_descriptor)
{
    struct wherry_map *map = open_map(100);
    char byte;
    test_join(test_fork(use_as_child, map));
    test_ok(wherry_map_read(map, 0, &byte, 1));
    ck_assert_int_eq(byte, 'c');
    wherry_map_close(map);
    unlink(file_path());
}
