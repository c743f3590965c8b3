/* tests/unit/test_naming.c - owns the tests of base/naming.h and base/room.h: by itself, and by all who make files with
 * it, also where there are no nameless files or no /proc.
 *
 * SPDX-License-Identifier: MIT */
#include "base/naming.h"

#include <dirent.h>

#include "base/fd.h"
#include "base/room.h"
#include "base/sys.h"
#include "unit/objects.h"

static struct wherry__sys real;
static int hidden_files; /* that were made */

static int count_hidden(int at, const char *path, int flags, mode_t mode)
{
    hidden_files += strstr(path, ".wherry-new-") != NULL;
    return real.openat(at, path, flags, mode);
}

static int refuse_nameless(int at, const char *path, int flags, mode_t mode, int code)
{
    if ((flags & O_TMPFILE) != O_TMPFILE)
        return count_hidden(at, path, flags, mode);
    errno = code;
    return -1;
}

static int unsupported(int at, const char *path, int flags, mode_t mode)
{
    return refuse_nameless(at, path, flags, mode, EOPNOTSUPP);
}

static int unknown(int at, const char *path, int flags, mode_t mode)
{
    return refuse_nameless(at, path, flags, mode, EISDIR);
}

static int without_proc(int at, const char *path, struct stat *status, int flags)
{
    if (strncmp(path, "/proc/self/fd", 13) != 0)
        return real.fstatat(at, path, status, flags);
    errno = ENOENT;
    return -1;
}

static void have_all(void)
{
    wherry__sys.openat = count_hidden;
}

static void have_no_nameless(void)
{
    wherry__sys.openat = unsupported;
}

static void have_an_old_kernel(void)
{
    wherry__sys.openat = unknown;
}

static void have_no_proc(void)
{
    wherry__sys.openat = count_hidden;
    wherry__sys.fstatat = without_proc;
}

static int without_links(int from_directory, const char *from, int directory, const char *path, int flags)
{
    (void)from_directory, (void)from, (void)directory, (void)path, (void)flags;
    errno = EPERM; /* vfat's */
    return -1;
}

static void have_no_links(void)
{
    wherry__sys.openat = unsupported;
    wherry__sys.linkat = without_links;
}

static const struct {
    const char *name;
    void (*make_so)(void);
    int hidden;
} places[] = {{"all", have_all, 0},
              {"no O_TMPFILE", have_no_nameless, 1},
              {"old kernel", have_an_old_kernel, 1},
              {"no proc", have_no_proc, 1},
              {"no links", have_no_links, 1}};

static void be_at(size_t place)
{
    hidden_files = 0;
    real = wherry__sys;
    places[place].make_so();
}

static void be_back(size_t place)
{
    wherry__sys = real;
    ck_assert_int_eq(hidden_files, places[place].hidden);
}

static size_t count_entries(const char *directory, const char *prefix)
{
    size_t count = 0;
    DIR *stream = opendir(directory);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (stream)
        closedir(stream);
    return count;
}

/* ---- by itself ---- */

TEST_TABLE(a_file_gets_its_name_when_it_is_whole, places)
{
    struct wherry__naming naming;
    struct stat status;
    char path[200];
    test_path(path, "file");
    umask(0777);
    be_at(index);
    test_ok(wherry__naming_begin(&naming, AT_FDCWD, path, 0640));
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(write(naming.fd, "whole", 5), 5);
    test_ok(wherry__naming_end(&naming, AT_FDCWD, path));
    test_ok(wherry__naming_sync(AT_FDCWD, path));
    be_back(index);
    umask(022);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, 5);
    ck_assert_uint_eq(status.st_mode & 07777, 0640);
    ck_assert_uint_eq(status.st_nlink, 1);
    ck_assert_uint_eq(count_entries(test_dir(), ""), 1);
    wherry__fd_close(&naming.fd);
    unlink(path);
}

TEST_TABLE(who_was_quicker_keeps_the_name, places)
{
    struct wherry__naming naming;
    struct stat status;
    int directory = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    be_at(index);
    test_ok(wherry__naming_begin(&naming, directory, "file", 0600));
    int other = openat(directory, "file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(other, "other", 5), 5);
    test_is(wherry__naming_end(&naming, directory, "file"), -EEXIST);
    wherry__naming_drop(&naming, directory, "file");
    be_back(index);
    wherry__fd_close(&naming.fd);
    ck_assert_int_eq(fstatat(directory, "file", &status, 0), 0);
    ck_assert_int_eq(status.st_size, 5);
    ck_assert_uint_eq(count_entries(test_dir(), ""), 1);
    unlinkat(directory, "file", 0);
    close(other);
    close(directory);
}

static int no_fchmod(int fd, mode_t mode)
{
    (void)fd, (void)mode;
    errno = EPERM;
    return -1;
}

TEST_TABLE(without_its_permissions_it_is_not_made, places)
{
    struct wherry__naming naming = {.fd = -5};
    char path[200];
    be_at(index);
    wherry__sys.fchmod = no_fchmod;
    test_is(wherry__naming_begin(&naming, AT_FDCWD, test_path(path, "file"), 0600), -EPERM);
    be_back(index);
    ck_assert_int_eq(naming.fd, -5);
    ck_assert_uint_eq(count_entries(test_dir(), ""), 0);
    test_is(wherry__naming_begin(&naming, AT_FDCWD, test_path(path, "none/file"), 0600), -ENOENT);
}

/* ---- by those who make files ---- */

static void make_map(const char *directory)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map;
    char path[300];
    options.write = options.create = true;
    options.file_size = 100;
    snprintf(path, sizeof path, "%s/file", directory);
    test_ok(wherry_map_open(path, &options, &map));
    test_ok(wherry_map_sync(map, 0, 0));
    wherry_map_close(map);
    unlink(path);
}

static void make_log(const char *directory)
{
    struct wherry_channel *channel;
    char url[300];
    snprintf(url, sizeof url, "file://%s/file", directory);
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &channel));
    test_ok(wherry_channel_send(channel, "x", 1, test_deadline()));
    test_ok(wherry_channel_close(channel, test_deadline()));
    unlink(url + strlen("file://"));
}

static void make_segment(const char *directory)
{
    const char *name = posix_name("posix-shm");
    struct wherry_segment *segment;
    (void)directory;
    test_ok(wherry_segment_create(name, 100, NULL, &segment));
    wherry_segment_close(segment); /* gone */
    ck_assert_uint_eq(count_entries("/dev/shm", ".wherry-new-"), 0);
    hidden_files = 0;
    test_ok(wherry_segment_create(name, 100, NULL, &segment));
    test_ok(wherry_segment_publish(segment));
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(name));
}

static void make_semaphore(const char *directory)
{
    const char *name = posix_name("posix-sem");
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    (void)directory;
    options.create = true;
    test_ok(wherry_semaphore_open(name, &options, WHERRY_NOW, &semaphore));
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name));
}

static void make_ring(const char *directory)
{
    struct wherry_channel *channel;
    char url[160], rings[64];
    (void)directory;
    snprintf(url, sizeof url, "shm://%.100s", test_word());
    snprintf(rings, sizeof rings, "/dev/shm/wherry-%u", (unsigned)geteuid());
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    ck_assert_uint_eq(count_entries(rings, ".wherry-new-"), 0);
    test_ok(wherry_channel_close(channel, test_deadline()));
}

static void (*const makers[])(const char *directory) = {make_map, make_log, make_segment, make_semaphore, make_ring};

TEST_TABLE(whatever_makes_a_file_makes_it_there, places)
{
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        be_at(index);
        makers[i](test_dir());
        be_back(index);
        ck_assert_uint_eq(count_entries(test_dir(), ""), 0);
        ck_assert_uint_eq(count_entries("/dev/shm", ".wherry-new-"), 0);
    }
}

TEST_TABLE(a_directory_may_be_behind_a_symbolic_link, places)
{
    char link[200], directory[200];
    ck_assert_int_eq(mkdir(test_path(directory, "directory"), 0700), 0);
    ck_assert_int_eq(symlink("directory", test_path(link, "link")), 0);
    be_at(index);
    make_map(link);
    be_back(index);
    be_at(index);
    make_log(link);
    be_back(index);
    unlink(link);
    rmdir(directory);
}

/* ---- where nothing can be made ---- */

static int try_map(const char *path)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map;
    options.write = options.create = true;
    options.file_size = 100;
    return wherry_map_open(path, &options, &map);
}

static int try_lock(const char *path)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    options.create = true;
    return wherry_lock_open(path, &options, &lock);
}

static int try_log(const char *path)
{
    struct wherry_channel *channel;
    char url[300];
    snprintf(url, sizeof url, "file:%s", path);
    return wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel);
}

static int (*const paths[])(const char *path) = {try_map, try_lock, try_log};

static void expect_unmade(const char *path, int code, const char *words)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        test_is(paths[i](path), code);
        says(words);
        says(path);
    }
}

static int without_renames(int from_directory, const char *from, int directory, const char *path, unsigned flags)
{
    (void)from_directory, (void)from, (void)directory, (void)path, (void)flags;
    errno = EINVAL;
    return -1;
}

TEST(a_file_system_that_cannot_give_names_is_told)
{
    char path[200];
    test_path(path, "file");
    real = wherry__sys;
    have_no_links();
    wherry__sys.renameat2 = without_renames;
    expect_unmade(path, -EMLINK, "has no hard links, and cannot rename");
    ck_assert_uint_eq(count_entries(test_dir(), ""), 0);
    wherry__sys.openat = real.openat; /* nameless, and no hard links */
    wherry__sys.renameat2 = real.renameat2;
    expect_unmade(path, -EMLINK, "has no hard links");
    ck_assert_uint_eq(count_entries(test_dir(), ""), 0);
}

TEST(a_directory_that_is_not_there_is_told)
{
    char path[200], here[300];
    expect_unmade(test_path(path, "none/file"), -ENOENT, "the directory does not exist; make it");
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(mkdir(test_path(path, "here"), 0700), 0);
    ck_assert_int_eq(chdir(path), 0);
    ck_assert_int_eq(rmdir(path), 0);
    expect_unmade("./file", -ENOENT, "the current directory was removed");
    ck_assert_int_eq(chdir(here), 0);
}

static int no_entry(int from_directory, const char *from, int directory, const char *path, int flags)
{
    (void)from_directory, (void)from, (void)directory, (void)path, (void)flags;
    errno = ENOENT;
    return -1;
}

static int try_semaphore(void)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    options.create = true;
    return wherry_semaphore_open(posix_name("posix-sem"), &options, WHERRY_FOREVER, &semaphore);
}

static int try_segment(void)
{
    struct wherry_segment *segment;
    int result = wherry_segment_create(posix_name("posix-shm"), 100, NULL, &segment);
    if (result < 0)
        return result;
    result = wherry_segment_publish(segment);
    wherry_segment_close(segment);
    return result;
}

static int try_ring(void)
{
    struct wherry_channel *channel;
    char url[160];
    snprintf(url, sizeof url, "shm://%.100s", test_word());
    return wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_FOREVER, &channel);
}

static int try_set(void)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set;
    options.create = true;
    return wherry_semaphore_set_open(sysv_name("sysv-sem"), 1, &options, WHERRY_FOREVER, &set);
}

static int (*const in_shm[])(void) = {try_semaphore, try_segment, try_ring, try_set};

TEST(without_a_place_for_it_nobody_waits_for_one)
{
    real = wherry__sys;
    wherry__sys.linkat = no_entry;
    for (int i = 0; i < 3; i++) { /* a set has no file */
        test_is(in_shm[i](), -ENOENT);
        says("there is no /dev/shm to make it in; mount one");
    }
    wherry__sys = real;
    private_shm(NULL);
    ck_assert_int_eq(mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, NULL), 0);
    for (size_t i = 0; i < sizeof in_shm / sizeof *in_shm; i++) {
        test_is(in_shm[i](), -ENOENT);
        says("there is no /dev/shm to make it in; mount one");
    }
    ck_assert_int_eq(umount("/dev"), 0);
}

static int there_is_one(int from_directory, const char *from, int directory, const char *path, int flags)
{
    (void)from_directory, (void)from, (void)directory, (void)path, (void)flags;
    errno = EEXIST;
    return -1;
}

TEST(what_comes_and_goes_is_given_up_at_the_deadline)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    options.create = true;
    real = wherry__sys;
    wherry__sys.linkat = there_is_one;
    test_is(wherry_semaphore_open(posix_name("posix-sem"), &options, WHERRY_NOW, &semaphore), -EAGAIN);
    says("others make and remove it");
    test_is(wherry_semaphore_open(posix_name("posix-sem"), &options, wherry_after(WHERRY_MILLISECOND), &semaphore),
            -ETIMEDOUT);
    wherry__sys = real;
}

/* ---- room ---- */

enum { MEBIBYTE = 1 << 20 };
static unsigned interrupted;

/* A signal comes all the time: what takes long never ends. */
static int between_signals(int fd, int mode, off_t offset, off_t size)
{
    if (size <= MEBIBYTE)
        return real.fallocate(fd, mode, offset, size);
    interrupted++;
    errno = EINTR;
    return -1;
}

TEST(signals_do_not_keep_a_file_from_its_room)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map;
    struct stat status;
    char path[200];
    options.write = options.create = true;
    options.file_size = 40 * MEBIBYTE;
    real = wherry__sys;
    wherry__sys.fallocate = between_signals;
    test_ok(wherry_map_open(test_path(path, "file"), &options, &map));
    wherry__sys = real;
    ck_assert_uint_gt(interrupted, 0);
    ck_assert_uint_le(interrupted, 20);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, 40 * MEBIBYTE);
    ck_assert_int_ge(status.st_blocks * 512, 40 * MEBIBYTE);
    wherry_map_close(map);
    unlink(path);
}

static unsigned reservations;
static int counted(int fd, int mode, off_t offset, off_t size)
{
    reservations++;
    return real.fallocate(fd, mode, offset, size);
}

static int fstatfs_full(int fd, struct statfs *room)
{
    int result = real.fstatfs(fd, room);
    room->f_bfree = 4;
    return result;
}

static int no_fstatfs(int fd, struct statfs *room)
{
    (void)fd, (void)room;
    errno = ENOSYS;
    return -1;
}

TEST(what_a_disk_has_no_room_for_is_not_begun)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map, *second;
    char path[200];
    options.write = options.create = true;
    options.file_size = 4 * MEBIBYTE;
    test_ok(wherry_map_open(test_path(path, "file"), &options, &map));
    real = wherry__sys;
    wherry__sys.fallocate = counted;
    wherry__sys.fstatfs = fstatfs_full;
    test_is(wherry_map_resize(map, 8 * MEBIBYTE), -ENOSPC);
    ck_assert_uint_eq(reservations, 0);
    test_ok(wherry_map_open(path, &options, &second)); /* it has its room */
    wherry_map_close(second);
    wherry__sys.fstatfs = no_fstatfs; /* unknown: tried */
    test_ok(wherry_map_resize(map, 8 * MEBIBYTE));
    wherry__sys = real;
    ck_assert_uint_gt(reservations, 0);
    wherry_map_close(map);
    unlink(path);
}
