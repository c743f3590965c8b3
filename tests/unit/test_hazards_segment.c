/* tests/unit/test_hazards_segment.c - owns the proof for H7, H8, H9, H11, H12, H15 and H16: what peers, other users,
 * full file systems and dead makers do to segments.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "unit/segment_kit.h"

/* ---- H15: sizes, and what was removed ---- */

TEST(h15_a_segment_of_another_size_names_both)
{
    for (size_t i = 0; i < 2; i++) {
        const char *name = kinds[i].object();
        struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
        struct wherry_segment *segment = create(name), *other;
        test_ok(wherry_segment_publish(segment));
        options.length = 20000;
        expect_open(name, &options, -EINVAL, "10000 bytes, and 20000 were expected");
        options.length = LENGTH;
        test_ok(wherry_segment_open(name, &options, WHERRY_NOW, &other));
        wherry_segment_close(other);
        wherry_segment_close(segment);
        test_ok(wherry_segment_remove(name));
    }
}

TEST(h15_a_removed_segment_is_not_opened_by_its_number)
{
    struct wherry_segment *segment = create(sysv());
    struct wherry_segment_stat stat;
    char by_id[40];
    test_ok(wherry_segment_publish(segment));
    test_ok(wherry_segment_stat(sysv(), &stat, sizeof stat));
    snprintf(by_id, sizeof by_id, "sysv-shm:#%d", stat.id);
    wherry_segment_close(open_for(by_id, true));
    test_ok(wherry_segment_remove(by_id));
    void *at = shmat(stat.id, NULL, 0); /* the kernel would */
    ck_assert_ptr_ne(at, (void *)-1);
    shmdt(at);
    expect_open(by_id, NULL, -EIDRM, "was removed");
    test_is(wherry_segment_remove(by_id), -ENOENT);
    wherry_segment_close(segment);
    expect_open(by_id, NULL, -ENOENT, "there is none");
    test_is(wherry_segment_create(by_id, 1, NULL, &segment), -EINVAL);
}

/* ---- H7, H8: what peers do to it ---- */

TEST(h7_memory_that_can_be_cut_off_is_not_taken_from_a_stranger)
{
    struct wherry_segment *segment = create(NULL), *other = NULL;
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    char path[300];
    int fd = wherry_segment_fd(segment), file, reading, pipes[2];
    test_is(wherry_segment_open_fd(fd, NULL, &other), -EPERM);
    says("not sealed against shrinking");
    fill(segment, 's');
    test_ok(wherry_segment_publish(segment));
    ck_assert(ftruncate(fd, 10) != 0 && errno == EPERM);
    test_is(wherry_segment_resize(segment, 20000), -EOPNOTSUPP);
    options.write = true;
    options.length = LENGTH;
    test_ok(wherry_segment_open_fd(fd, &options, &other));
    expect_filled(other, 's');
    ((char *)wherry_segment_data(other))[3] = 't';
    ck_assert_int_eq(((char *)wherry_segment_data(segment))[3], 't');
    wherry_segment_close(other);
    other = NULL;
    options.length = 5;
    test_is(wherry_segment_open_fd(fd, &options, &other), -EINVAL);
    says("10000 bytes, and 5 were");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    reading = open(path, O_RDONLY | O_CLOEXEC);
    options.length = 0;
    test_is(wherry_segment_open_fd(reading, &options, &other), -EACCES);
    test_ok(wherry_segment_open_fd(reading, NULL, &other));
    ck_assert_int_eq(((char *)wherry_segment_data(other))[3], 't');
    wherry_segment_close(other);
    other = NULL;
    file = open(test_path(path, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    test_is(wherry_segment_open_fd(file, NULL, &other), -EPERM);
    test_is(wherry_segment_open_fd(pipes[0], NULL, &other), -EPERM);
    test_is(wherry_segment_open_fd(-1, NULL, &other), -EBADF);
    ck_assert_ptr_null(other);
    close(reading);
    close(file);
    close(pipes[0]);
    close(pipes[1]);
    unlink(path);
    wherry_segment_close(segment);
}

static void receive_as_nobody(void *socket)
{
    struct wherry_segment *segment;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd;
    if (test_is_root())
        ck_assert(test_become_nobody());
    ck_assert_int_eq(recvmsg(*(int *)socket, &message, MSG_CMSG_CLOEXEC), 1);
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    test_ok(wherry_segment_open_fd(fd, NULL, &segment));
    close(fd); /* the segment has its own */
    expect_filled(segment, 'u');
    test_ok(wherry_segment_read(segment, LENGTH - 1, &byte, 1));
    wherry_segment_close(segment);
}

TEST(memory_without_a_name_is_handed_over_a_socket_to_another_user)
{
    struct wherry_segment *segment = create(NULL);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int pair[2], fd = wherry_segment_fd(segment);
    fill(segment, 'u');
    test_ok(wherry_segment_publish(segment));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t child = test_fork(receive_as_nobody, &pair[1]);
    ck_assert_int_eq(sendmsg(pair[0], &message, 0), 1);
    wherry_segment_close(segment);
    test_join(child);
    close(pair[0]);
    close(pair[1]);
}

TEST(h8_a_hole_in_sealed_memory_is_zeros)
{
    struct wherry_segment *segment = create(NULL), *other;
    char data[LENGTH];
    fill(segment, 's');
    test_ok(wherry_segment_publish(segment));
    test_ok(wherry_segment_open_fd(wherry_segment_fd(segment), NULL, &other));
    ck_assert_int_eq(fallocate(wherry_segment_fd(segment), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LENGTH), 0);
    test_ok(wherry_segment_read(other, 0, data, LENGTH));
    for (size_t i = 0; i < LENGTH; i++)
        ck_assert_int_eq(data[i], 0);
    wherry_segment_close(other);
    wherry_segment_close(segment);
}

TEST(h7_what_was_cut_off_is_an_error_to_read_and_write)
{
    struct wherry_segment *segment = create(posix());
    char data[100];
    test_ok(wherry_segment_publish(segment));
    ck_assert_int_eq(truncate(shm_path(""), 4096), 0);
    test_ok(wherry_segment_read(segment, 4000, data, 96));
    test_is(wherry_segment_read(segment, 4000, data, 97), -ENODATA);
    says("cut it off before byte 4096 of 10000");
    test_is(wherry_segment_write(segment, 9000, data, 1), -ENODATA);
    struct stat status;
    ck_assert_int_eq(stat(shm_path(""), &status), 0);
    ck_assert_int_eq(status.st_size, 4096); /* the write did not make it longer again */
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(posix()));
}

/* ---- H9: no room ---- */

TEST(h9_no_room_is_an_error_when_it_is_made)
{
    private_shm("size=64k");
    struct wherry_segment *segment = NULL;
    test_is(wherry_segment_create(posix(), 100000, NULL, &segment), -ENOSPC);
    says("df /dev/shm");
    ck_assert_ptr_null(segment);
    test_ok(wherry_segment_create(posix(), 40000, NULL, &segment));
    fill(segment, 'x');
    test_is(wherry_segment_resize(segment, 100000), -ENOSPC);
    ck_assert_uint_eq(wherry_segment_size(segment), 40000);
    expect_filled(segment, 'x');
    struct wherry_segment_stat stat;
    test_ok(wherry_segment_stat_open(segment, &stat, sizeof stat));
    ck_assert_uint_eq(stat.length, 40000);
    wherry_segment_close(segment);
    test_ok(wherry_segment_create(posix(), 60000, NULL, &segment)); /* all of it was given back */
    wherry_segment_close(segment);
}

TEST(h9_another_programs_segment_is_reserved_when_it_is_opened_to_write)
{
    private_shm("size=64k");
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    int fd = open(shm_path(""), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(fd, 1000000), 0); /* succeeds, and the first touch would be SIGBUS */
    options.write = true;
    expect_open(posix(), &options, -ENOSPC, "df /dev/shm");
    ck_assert_int_eq(ftruncate(fd, 40000), 0);
    struct wherry_segment *segment = open_for(posix(), true);
    fill(segment, 'y');
    wherry_segment_close(segment);
    close(fd);
    test_ok(wherry_segment_remove(posix()));
}

TEST(a_limit_of_file_sizes_is_an_error_and_no_signal)
{
    struct rlimit limit = {4096, 4096};
    struct wherry_segment *segment = NULL;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    test_is(wherry_segment_create(posix(), LENGTH, NULL, &segment), -EFBIG);
    says("ulimit -f");
}

static int (*real_fallocate)(int fd, int mode, off_t offset, off_t size);
static int reservations;
static int counted_fallocate(int fd, int mode, off_t offset, off_t size)
{
    (void)fd, (void)mode, (void)offset, (void)size;
    reservations++;
    errno = ENOSPC; /* never the machine's memory, whatever the library does */
    return -1;
}

/* It takes nothing on the way to being refused: with a /dev/shm as large as the memory, the kernel would have begun to
 * kill processes before it said so. */
TEST(what_never_fits_is_refused_before_any_of_it_is_taken)
{
    const uint64_t much = (uint64_t)1 << 50;
    struct wherry_segment *segment = NULL;
    struct wherry_segment *small = create(posix());
    real_fallocate = wherry__sys.fallocate;
    wherry__sys.fallocate = counted_fallocate;
    test_is(wherry_segment_resize(small, much), -ENOSPC);
    says("df /dev/shm");
    wherry_segment_close(small);
    test_is(wherry_segment_create(posix(), much, NULL, &segment), -ENOSPC);
    says("df /dev/shm");
    test_is(wherry_segment_create(NULL, much, NULL, &segment), -ENOMEM);
    wherry__sys.fallocate = real_fallocate;
    ck_assert_int_eq(reservations, 0);
}

static int interruptions;
static int interrupted_fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (interruptions-- > 0) {
        errno = EINTR;
        return -1;
    }
    return real_fallocate(fd, mode, offset, size);
}

TEST(a_signal_does_not_stop_the_reservation)
{
    real_fallocate = wherry__sys.fallocate;
    wherry__sys.fallocate = interrupted_fallocate;
    interruptions = 3;
    struct wherry_segment *segment = create(posix());
    ck_assert_int_lt(interruptions, 0);
    test_ok(wherry_segment_publish(segment));
    interruptions = 2;
    wherry_segment_close(open_for(posix(), true));
    ck_assert_int_lt(interruptions, 0); /* it was asked again */
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(posix()));
    wherry__sys.fallocate = real_fallocate;
}

static void make_as_nobody(void *name)
{
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment;
    ck_assert(test_become_nobody());
    options.mode = 0666;
    test_ok(wherry_segment_create(name, LENGTH, &options, &segment));
    fill(segment, 'n');
    expect_open(name, NULL, -EAGAIN, name);
    if (strncmp(name, "sysv", 4) == 0) /* nobody else sees it either */
        ck_assert(shmget(test_key(0), 0, 0400) < 0 && errno == EACCES);
    test_ok(wherry_segment_publish(segment));
    wherry_segment_close(segment);
}

TEST_TABLE(h11_another_users_segment_is_refused, kinds)
{
    const char *name = kinds[index].object();
    if (strncmp(name, "sysv", 4) == 0)
        test_needs(TEST_STAT_ANY);
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment = NULL;
    if (!test_is_root())
        test_skip("needs root, to be another user as well");
    test_join(test_fork(make_as_nobody, (void *)(uintptr_t)name));
    expect_open(name, NULL, -EPERM, "uid 65534");
    test_is(wherry_segment_create(name, LENGTH, NULL, &segment), -EEXIST);
    says("of uid 65534");
    options.any_owner = true;
    test_ok(wherry_segment_open(name, &options, WHERRY_NOW, &segment));
    expect_filled(segment, 'n');
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(name));
}

static void try_as_nobody(void *name)
{
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    ck_assert(test_become_nobody());
    expect_open(name, NULL, -EACCES, "uid 0, and its mode 0600");
    options.write = true;
    expect_open(name, &options, -EACCES, "write");
    int result = wherry_segment_remove(name);
    ck_assert(result == -EPERM || result == -EACCES);
    says("uid 0");
}

TEST_TABLE(whose_permissions_do_not_allow_it_is_told, kinds)
{
    const char *name = kinds[index].object();
    if (strncmp(name, "sysv", 4) == 0)
        test_needs(TEST_STAT_ANY);
    if (!test_is_root())
        test_skip("needs root, to be another user as well");
    struct wherry_segment *segment = create(name);
    test_ok(wherry_segment_publish(segment));
    test_join(test_fork(try_as_nobody, (void *)(uintptr_t)name));
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(name));
}

TEST(h11_what_was_planted_is_not_followed)
{
    const char *path = shm_path("");
    struct wherry_segment *segment = NULL;
    for (int kind = 0; kind < 3; kind++) {
        int made = kind == 0 ? symlink("/etc/passwd", path) : kind == 1 ? mkfifo(path, 0600) : mkdir(path, 0700);
        ck_assert_int_eq(made, 0);
        expect_open(posix(), NULL, -EBADF, kind == 0 ? "a symbolic link" : kind == 1 ? "a FIFO" : "a directory");
        test_is(wherry_segment_create(posix(), 1, NULL, &segment), -EEXIST);
        says(kind == 0 ? "a symbolic link" : kind == 1 ? "a FIFO" : "a directory");
        test_is(wherry_segment_remove(posix()), -EBADF);
        ck_assert_int_eq(kind == 2 ? rmdir(path) : unlink(path), 0);
    }
}

/* ---- H12: makers that die ---- */

struct maker {
    const char *name;
    struct test_gate *gate;
};

static void make_and_wait(void *argument)
{
    struct maker *maker = argument;
    struct wherry_segment *segment = create(maker->name);
    fill(segment, 'h');
    test_gate_open(maker->gate);
    wait_for_the_end();
    wherry_segment_close(segment);
}

static size_t objects_now(void)
{
    size_t count = 0;
    char line[512];
    FILE *file = fopen("/proc/sysvipc/shm", "re");
    while (file && fgets(line, sizeof line, file))
        count++;
    fclose(file);
    return count;
}

TEST_WITH(h12_what_a_dead_maker_left_is_taken_over, .table = kinds, .stride = sizeof *kinds, .length = 2,
          .seconds = 120)
{
    const char *name = kinds[index].object();
    struct test_gate gate;
    struct maker maker = {name, &gate};
    size_t before = objects_now();
    test_gate_init(&gate);
    for (int kill = 0; kill < 300; kill++) {
        pid_t child = test_fork(make_and_wait, &maker);
        test_gate_wait(&gate);
        test_kill(child);
        expect_open(name, NULL, -EAGAIN, name);
    }
    struct wherry_segment *segment = create(name);
    expect_filled(segment, 0);
    ck_assert_uint_le(objects_now(), before + 1);
    test_ok(wherry_segment_publish(segment));
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(name));
    test_gate_fini(&gate);
}

TEST(h12_a_maker_that_is_only_stopped_is_left_alone)
{
    struct test_gate gate;
    struct maker maker = {sysv(), &gate};
    struct wherry_segment *segment = NULL;
    test_gate_init(&gate);
    pid_t child = test_fork(make_and_wait, &maker);
    test_gate_wait(&gate);
    kill(child, SIGSTOP);
    waitpid(child, NULL, WUNTRACED);
    test_is(wherry_segment_create(maker.name, 5, NULL, &segment), -EEXIST);
    says("another process is making it");
    test_kill(child);
    test_ok(wherry_segment_create(maker.name, 5, NULL, &segment));
    wherry_segment_close(segment);
    test_gate_fini(&gate);
}

static void hold_forked(void *argument)
{
    test_gate_open(argument);
    wait_for_the_end();
}

/* A child of the dead maker has its mapping, and neither its lock nor its turn to publish. */
static void make_fork_and_die(void *argument)
{
    struct maker *maker = argument;
    struct wherry_segment *segment = create(maker->name);
    test_fork(hold_forked, maker->gate);
    wait_for_the_end();
    wherry_segment_close(segment);
}

TEST_WITH(h12_a_forked_child_of_a_dead_maker_keeps_nobody_out, .leaves = TEST_LEAVES_PROCESSES | TEST_LEAVES_OBJECTS)
{
    struct test_gate gate;
    struct maker maker = {sysv(), &gate};
    test_gate_init(&gate);
    pid_t child = test_fork(make_fork_and_die, &maker);
    test_gate_wait(&gate);
    test_kill(child);
    wherry_segment_close(create(maker.name));
    test_gate_fini(&gate);
}

/* ---- H16 ---- */

TEST(h16_two_files_of_one_key_are_told_apart)
{
    char one[400], two[400], path[300];
    two_files_of_one_key("one", "two");
    snprintf(one, sizeof one, "sysv-shm:%s?id=A", test_path(path, "one"));
    snprintf(two, sizeof two, "sysv-shm:%s?id=A", test_path(path, "two"));
    struct wherry_segment *segment = create(one), *other = NULL;
    test_ok(wherry_segment_publish(segment));
    wherry_segment_close(open_for(one, false));
    expect_open(two, NULL, -EADDRINUSE, one);
    test_is(wherry_segment_create(two, LENGTH, NULL, &other), -EADDRINUSE);
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(one));
    segment = create(two); /* nothing is left that would be in its way */
    wherry_segment_close(segment);
    unlink(test_path(path, "one"));
    unlink(test_path(path, "two"));
}
