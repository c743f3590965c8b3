/* tests/unit/test_semaphore.c - owns the tests of src/sync/semaphore.c: POSIX semaphores, by name and in memory.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <time.h>

#include "unit/objects.h"

static const char *name(void)
{
    return posix_name("posix-sem");
}

static const char *raw_name(void)
{
    return strchr(name(), '/');
}

static struct wherry_semaphore *create(uint32_t value)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore = NULL;
    options.create = true;
    options.value = value;
    test_ok(wherry_semaphore_open(name(), &options, WHERRY_NOW, &semaphore));
    return semaphore;
}

static void expect_open(const char *object, const struct wherry_semaphore_options *options, int result,
                        const char *words)
{
    struct wherry_semaphore *semaphore = NULL;
    test_is(wherry_semaphore_open(object, options, WHERRY_NOW, &semaphore), result);
    ck_assert_ptr_null(semaphore);
    says(words);
}

/* ---- counting ---- */

TEST(it_counts)
{
    struct wherry_semaphore *semaphore = create(2);
    test_ok(wherry_semaphore_wait(semaphore, WHERRY_NOW));
    test_ok(wherry_semaphore_wait(semaphore, WHERRY_FOREVER));
    test_is(wherry_semaphore_wait(semaphore, WHERRY_NOW), -EAGAIN);
    wherry_time before = wherry_now();
    test_is(wherry_semaphore_wait(semaphore, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now() - before, 20 * WHERRY_MILLISECOND);
    test_ok(wherry_semaphore_post(semaphore));
    ck_assert_uint_eq(wherry_semaphore_value(semaphore), 1);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
    test_is(wherry_semaphore_remove(name()), -ENOENT);
    wherry_semaphore_close(NULL);
}

TEST(it_counts_no_further_than_it_can)
{
    struct wherry_semaphore *semaphore = create(INT_MAX);
    test_is(wherry_semaphore_post(semaphore), -EOVERFLOW);
    ck_assert_uint_eq(wherry_semaphore_value(semaphore), INT_MAX);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
}

static void wait_once(void *semaphore)
{
    test_ok(wherry_semaphore_wait(semaphore, test_deadline()));
}

TEST(in_memory_that_processes_share)
{
    struct wherry_semaphore *semaphore = test_shared(sizeof *semaphore);
    test_is(wherry_semaphore_init(semaphore, (uint32_t)INT_MAX + 1), -EINVAL);
    test_ok(wherry_semaphore_init(semaphore, 0));
    pid_t child = test_fork(wait_once, semaphore);
    test_until_asleep(child);
    test_ok(wherry_semaphore_post(semaphore));
    test_join(child);
    ck_assert_uint_eq(wherry_semaphore_value(semaphore), 0);
    ck_assert_int_eq(sem_post((sem_t *)(void *)semaphore), 0); /* as a program that knows nothing of us would */
    test_ok(wherry_semaphore_wait(semaphore, WHERRY_NOW));
    wherry_semaphore_fini(semaphore);
}

static void on_alarm(int number)
{
    (void)number;
}

TEST(a_signal_does_not_end_the_wait)
{
    struct wherry_semaphore semaphore;
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_alarm}, before;
    test_ok(wherry_semaphore_init(&semaphore, 0));
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    wherry_time start = wherry_now();
    test_is(wherry_semaphore_wait(&semaphore, wherry_after(50 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    wherry_time took = wherry_now() - start;
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    ck_assert_int_ge(took, 50 * WHERRY_MILLISECOND);
    ck_assert_int_lt(took, 12 * WHERRY_SECOND);
    wherry_semaphore_fini(&semaphore);
}

/* ---- H29, H33 ---- */

static void take_and_wait(void *gate)
{
    struct wherry_semaphore *semaphore = create(0);
    test_ok(wherry_semaphore_wait(semaphore, WHERRY_NOW));
    test_gate_open(gate);
    wait_for_the_end();
    wherry_semaphore_close(semaphore);
}

TEST(h29_a_dead_process_gives_nothing_back_and_the_deadline_holds)
{
    struct wherry_semaphore *semaphore = create(1);
    struct test_gate gate;
    test_gate_init(&gate);
    pid_t child = test_fork(take_and_wait, &gate);
    test_gate_wait(&gate);
    test_kill(child);
    test_is(wherry_semaphore_wait(semaphore, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
    test_gate_fini(&gate);
}

/* From here on a futex that goes by the time of day fails with EPERM. */
static void forbid_time_of_day(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FUTEX_CLOCK_REALTIME, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
}

static void wait_monotonic(void *argument)
{
    (void)argument;
    struct wherry_semaphore semaphore;
    test_ok(wherry_semaphore_init(&semaphore, 0));
    forbid_time_of_day();
    test_is(wherry_semaphore_wait(&semaphore, wherry_after(5 * WHERRY_MILLISECOND)), -ETIMEDOUT);
}

static void wait_by_the_wall_clock(void *argument)
{
    (void)argument;
    struct wherry_semaphore semaphore;
    struct timespec at;
    test_ok(wherry_semaphore_init(&semaphore, 0));
    forbid_time_of_day();
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec++;
    sem_timedwait((sem_t *)(void *)&semaphore, &at);
}

TEST(h33_no_wait_goes_by_the_time_of_day)
{
    test_needs(TEST_SECCOMP);
    test_join(test_fork(wait_monotonic, NULL));
    test_join_signal(test_fork(wait_by_the_wall_clock, NULL), SIGSYS); /* the trap is one */
}

/* ---- names ---- */

TEST(h30_a_bad_name_is_an_error)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    char long_name[300] = "posix-sem:/";
    options.create = true;
    expect_open("posix-sem:/a/b", &options, -EINVAL, "no slash but the first");
    expect_open("posix-sem:/", &options, -EINVAL, "missing");
    expect_open("sysv-sem:0x1", &options, -EINVAL, "posix-sem:");
    memset(long_name + 11, 'x', 252);
    expect_open(long_name, &options, -ENAMETOOLONG, "at most 251 bytes");
    expect_open(name(), NULL, -EAGAIN, "there is none");
    options.create = false;
    options.exclusive = true;
    expect_open(name(), &options, -EINVAL, "exclusive");
    options = (struct wherry_semaphore_options)WHERRY_SEMAPHORE_OPTIONS;
    options.create = true;
    options.value = (uint32_t)INT_MAX + 1;
    expect_open(name(), &options, -EINVAL, "counts to 2147483647");
    options.value = 0;
    options.mode = 0700;
    expect_open(name(), &options, -EINVAL, "0666");
}

TEST(one_is_made_once)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *one = create(5), *two = create(7);
    ck_assert_uint_eq(wherry_semaphore_value(two), 5);
    options.create = options.exclusive = true;
    expect_open(name(), &options, -EEXIST, "there is one");
    test_ok(wherry_semaphore_remove(name()));
    test_ok(wherry_semaphore_post(two)); /* who has it keeps it */
    ck_assert_uint_eq(wherry_semaphore_value(one), 6);
    wherry_semaphore_close(one);
    wherry_semaphore_close(two);
}

TEST(its_mode_is_exact)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    struct stat status;
    umask(0777);
    options.create = true;
    options.mode = 0660;
    test_ok(wherry_semaphore_open(name(), &options, WHERRY_NOW, &semaphore));
    umask(022);
    ck_assert_int_eq(stat(shm_path("sem."), &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0660);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
}

static void open_late(void *argument)
{
    (void)argument;
    struct wherry_semaphore *semaphore;
    test_ok(wherry_semaphore_open(name(), NULL, test_deadline(), &semaphore));
    test_ok(wherry_semaphore_wait(semaphore, test_deadline()));
    wherry_semaphore_close(semaphore);
}

TEST(who_comes_first_waits_for_the_name)
{
    pid_t child = test_fork(open_late, NULL);
    test_until_asleep(child);
    struct wherry_semaphore *semaphore = create(1);
    test_join(child);
    ck_assert_uint_eq(wherry_semaphore_value(semaphore), 0);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
}

static void create_and_take(void *gate)
{
    test_gate_wait(gate);
    struct wherry_semaphore *semaphore = create(8);
    test_ok(wherry_semaphore_wait(semaphore, WHERRY_NOW));
    wherry_semaphore_close(semaphore);
}

TEST(h13_eight_that_start_at_once_have_one_and_it_is_ready)
{
    struct test_gate gate;
    pid_t children[8];
    test_gate_init(&gate);
    for (int i = 0; i < 8; i++)
        children[i] = test_fork(create_and_take, &gate);
    for (int i = 0; i < 8; i++)
        test_gate_open(&gate);
    for (int i = 0; i < 8; i++)
        test_join(children[i]);
    struct wherry_semaphore *semaphore = create(100);
    ck_assert_uint_eq(wherry_semaphore_value(semaphore), 0);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
    test_gate_fini(&gate);
}

/* ---- other programs ---- */

TEST(sem_open_finds_ours_and_we_find_its)
{
    struct wherry_semaphore *ours = create(1);
    sem_t *raw = sem_open(raw_name(), 0);
    int value = -1;
    ck_assert_ptr_ne(raw, SEM_FAILED);
    sem_post(raw);
    ck_assert_uint_eq(wherry_semaphore_value(ours), 2);
    sem_getvalue(raw, &value);
    ck_assert_int_eq(value, 2);
    sem_close(raw);
    wherry_semaphore_close(ours);
    ck_assert_int_eq(sem_unlink(raw_name()), 0);
    raw = sem_open(raw_name(), O_CREAT | O_EXCL, 0600, 3);
    ck_assert_ptr_ne(raw, SEM_FAILED);
    ours = create(9);
    test_ok(wherry_semaphore_wait(ours, WHERRY_NOW));
    sem_getvalue(raw, &value);
    ck_assert_int_eq(value, 2);
    wherry_semaphore_close(ours);
    sem_close(raw);
    test_ok(wherry_semaphore_remove(name()));
}

/* The line of /proc/self/maps with this address: its device and inode, and the name it shows. */
static void mapping_of(const void *at, dev_t *device, ino_t *inode, char shown[static 300])
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[600];
    *inode = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to, number;
        unsigned major_number, minor_number;
        char rest[300] = "";
        if (sscanf(line, "%lx-%lx %*s %*s %x:%x %lu %299[^\n]", &from, &to, &major_number, &minor_number, &number,
                   rest) < 5 ||
            (uintptr_t)at < from || (uintptr_t)at >= to)
            continue;
        *device = makedev(major_number, minor_number);
        *inode = number;
        strcpy(shown, rest);
    }
    fclose(maps);
}

TEST(h70_a_semaphore_is_known_by_device_and_inode_not_by_the_name_in_proc)
{
    struct wherry_semaphore *ours;
    struct stat status;
    dev_t device;
    ino_t inode;
    char raw_shown[300], shown[300];
    sem_t *raw = sem_open(raw_name(), O_CREAT | O_EXCL, 0600, 1);
    ck_assert_ptr_ne(raw, SEM_FAILED);
    ours = create(0);
    ck_assert_int_eq(stat(shm_path("sem."), &status), 0);
    mapping_of(raw, &device, &inode, raw_shown);
    ck_assert(inode == status.st_ino && device == status.st_dev);
    mapping_of(ours, &device, &inode, shown);
    ck_assert(inode == status.st_ino && device == status.st_dev);
    printf("# of sem_open(3)'s file /proc shows: %s\n", raw_shown);
    sem_close(raw);
    wherry_semaphore_close(ours);
    test_ok(wherry_semaphore_remove(name()));
}

TEST(a_file_that_is_no_semaphore_is_refused)
{
    const char *path = shm_path("sem.");
    for (int size = 0; size < 3; size++) { /* mapped, one that is too short is SIGBUS */
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(ftruncate(fd, size * 31), 0);
        close(fd);
        expect_open(name(), NULL, -EBADF, "and a semaphore");
        unlink(path);
    }
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    expect_open(name(), NULL, -EBADF, "a symbolic link");
    test_is(wherry_semaphore_remove(name()), -EBADF);
    unlink(path);
}

static void make_as_nobody(void *argument)
{
    (void)argument;
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    ck_assert(test_become_nobody());
    options.create = true;
    options.mode = 0666;
    test_ok(wherry_semaphore_open(name(), &options, WHERRY_NOW, &semaphore));
    wherry_semaphore_close(semaphore);
}

TEST(h11_another_users_semaphore_is_refused)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    if (!test_is_root())
        test_skip("needs root, to be another user as well");
    test_join(test_fork(make_as_nobody, NULL));
    options.create = true;
    expect_open(name(), &options, -EPERM, "uid 65534");
    options.any_owner = true;
    test_ok(wherry_semaphore_open(name(), &options, WHERRY_NOW, &semaphore));
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(name()));
}

TEST(h9_no_room_for_it)
{
    private_shm("size=4k");
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    int fd = open("/dev/shm/full", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(posix_fallocate(fd, 0, 4096), 0);
    options.create = true;
    expect_open(name(), &options, -ENOSPC, "df /dev/shm");
    close(fd);
    unlink("/dev/shm/full");
    wherry_semaphore_close(create(1));
    test_ok(wherry_semaphore_remove(name()));
}

/* What it gives with this limit, which is gone afterwards: what checks writes files, too. */
static int open_within(rlim_t most)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore = NULL;
    options.create = options.exclusive = true;
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){most, RLIM_INFINITY});
    int result = wherry_semaphore_open(name(), &options, WHERRY_NOW, &semaphore);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    wherry_semaphore_close(semaphore);
    return result;
}

static void limit_files(void *argument)
{
    (void)argument;
    for (rlim_t most = 0; most < sizeof(sem_t); most += sizeof(sem_t) / 2) { /* SIGXFSZ, and a part of it */
        test_is(open_within(most), -EFBIG);
        says("ulimit -f");
        ck_assert_int_eq(access(shm_path("sem."), F_OK), -1);
    }
    test_ok(open_within(sizeof(sem_t)));
    test_ok(wherry_semaphore_remove(name()));
}

TEST(a_limit_of_file_sizes_is_an_error_and_no_signal)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    if (before.rlim_max != RLIM_INFINITY)
        test_skip("there is a limit for files already (ulimit -f)");
    test_join(test_fork(limit_files, NULL));
}
