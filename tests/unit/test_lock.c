/* tests/unit/test_lock.c - owns the tests of wherry/lock.h where nobody waits: who meets whom, conversions, the traps
 * H1 to H4, bad input.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "unit/test_lock_kit.h"

static const struct {
    const char *name;
    enum wherry_lock_kind ours, theirs;
    bool meet;
} pairs[] = {
    {"ofd and ofd", WHERRY_LOCK_OFD, WHERRY_LOCK_OFD, true},
    {"ofd and classic", WHERRY_LOCK_OFD, WHERRY_LOCK_POSIX, true},
    {"classic and ofd", WHERRY_LOCK_POSIX, WHERRY_LOCK_OFD, true},
    {"classic and classic", WHERRY_LOCK_POSIX, WHERRY_LOCK_POSIX, true},
    {"flock and flock", WHERRY_LOCK_FLOCK, WHERRY_LOCK_FLOCK, true},
    {"flock and ofd", WHERRY_LOCK_FLOCK, WHERRY_LOCK_OFD, false},
    {"classic and flock", WHERRY_LOCK_POSIX, WHERRY_LOCK_FLOCK, false},
};

/* Ours first, then theirs; and the other way round; shared and exclusive in each combination. */
TEST_TABLE(locks_meet_raw_ones, pairs)
{
    struct wherry_lock *lock = open_kind(pairs[index].ours);
    struct other *other = start_other();
    other->kind = pairs[index].theirs;
    for (int modes = 0; modes < 4; modes++) {
        enum wherry_lock_mode ours = modes & 1 ? SHARED : EXCLUSIVE;
        other->mode = modes & 2 ? SHARED : EXCLUSIVE;
        int refused = pairs[index].meet && modes != 3 ? -EAGAIN : 0;
        test_ok(wherry_lock_take(lock, ours, 0, 0, WHERRY_NOW));
        ck_assert_int_eq(ask_other(other, raw_lock), refused);
        ck_assert_int_eq(ask_other(other, raw_unlock), 0);
        test_ok(wherry_lock_release(lock, 0, 0));
        ck_assert_int_eq(ask_other(other, raw_lock), 0);
        test_is(wherry_lock_take(lock, ours, 0, 0, WHERRY_NOW), refused);
        ck_assert_int_eq(ask_other(other, raw_unlock), 0);
        test_ok(wherry_lock_take(lock, ours, 0, 0, WHERRY_NOW));
        test_ok(wherry_lock_release(lock, 0, 0));
    }
    end_other(other);
    wherry_lock_close(lock);
    remove_file();
}

TEST(lockf_is_met)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_POSIX);
    struct other *other = start_other();
    other->kind = WHERRY_LOCK_POSIX;
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    ck_assert_int_eq(ask_other(other, raw_lockf), -EAGAIN);
    test_ok(wherry_lock_release(lock, 0, 0));
    ck_assert_int_eq(ask_other(other, raw_lockf), 0);
    test_is(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW), -EAGAIN);
    says("pid ");
    end_other(other);
    wherry_lock_close(lock);
    remove_file();
}

TEST(ranges_are_apart)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD);
    struct other *other = start_other();
    other->mode = EXCLUSIVE;
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 100, 50, WHERRY_NOW));
    other->start = 150, other->length = 10;
    ck_assert_int_eq(ask_other(other, raw_lock), 0);
    other->start = 90;
    ck_assert_int_eq(ask_other(other, raw_lock), 0);
    other->start = 149, other->length = 1;
    ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN);
    test_is(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW), -EAGAIN);
    test_ok(wherry_lock_release(lock, 120, 0)); /* the second half */
    other->start = 120, other->length = 30;
    ck_assert_int_eq(ask_other(other, raw_lock), 0);
    other->start = 119;
    ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN);
    test_is(wherry_lock_take(lock, SHARED, INT64_MAX, 2, WHERRY_NOW), -EINVAL);
    test_is(wherry_lock_take(lock, SHARED, (uint64_t)INT64_MAX + 1, 0, WHERRY_NOW), -EINVAL);
    test_ok(wherry_lock_take(lock, SHARED, INT64_MAX, 1, WHERRY_NOW)); /* the last byte there is */
    test_ok(wherry_lock_take(lock, SHARED, 1000, (uint64_t)INT64_MAX + 1 - 1000, WHERRY_NOW));
    end_other(other);
    wherry_lock_close(lock);
    remove_file();
}

/* ---- converting ---- */

TEST(conversions_keep_the_old_lock_when_they_fail)
{
    for (int kind = WHERRY_LOCK_OFD; kind <= WHERRY_LOCK_POSIX; kind++) {
        struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind);
        struct other *other = start_other();
        other->mode = SHARED;
        test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
        test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW)); /* down */
        ck_assert_int_eq(ask_other(other, raw_lock), 0);
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -EAGAIN); /* up */
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, wherry_after(5 * WHERRY_MILLISECOND)), -ETIMEDOUT);
        other->mode = EXCLUSIVE;
        ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN); /* ours is still there */
        ck_assert_int_eq(ask_other(other, raw_unlock), 0);
        test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
        other->mode = SHARED;
        ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN);
        end_other(other);
        wherry_lock_close(lock);
    }
    remove_file();
}

static int robbing_flock_fd;
static struct wherry__sys real;
/* Between flock's giving up and our getting back, another takes it. */
static int robbing_flock(int fd, int operation)
{
    int result = real.flock(fd, operation);
    int code = errno;
    if (result != 0 && robbing_flock_fd >= 0) {
        real.flock(robbing_flock_fd, LOCK_UN);
        ck_assert_int_eq(real.flock(robbing_flock_fd, LOCK_EX | LOCK_NB), 0);
    }
    errno = code;
    return result;
}

TEST(a_flock_that_cannot_be_converted_is_got_back_or_said_to_be_lost)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_FLOCK);
    int fd = open(file_path(), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_SH), 0);
    test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
    test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -EAGAIN);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), -1); /* ours is back; and theirs is given up, as the page says */
    ck_assert_int_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
    test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, wherry_after(WHERRY_MILLISECOND)), -ETIMEDOUT);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), -1);
    ck_assert_int_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
    real = wherry__sys;
    robbing_flock_fd = fd;
    wherry__sys.flock = robbing_flock;
    test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -ENOLCK);
    says("nothing is locked now");
    wherry__sys.flock = real.flock;
    test_is(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW), -EAGAIN);
    close(fd);
    test_is(wherry_lock_take(lock, SHARED, 1, 0, WHERRY_NOW), -EINVAL);
    says("flock locks a whole file");
    wherry_lock_close(lock);
    remove_file();
}

/* ---- the traps ---- */

TEST(h1_closing_another_descriptor_drops_no_lock)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD), *second;
    struct other *other = start_other();
    bool partial;
    other->mode = EXCLUSIVE;
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    close(open(file_path(), O_RDWR | O_CLOEXEC));
    test_ok(wherry_lock_open(file_path(), NULL, &second));
    wherry_lock_close(second);
    ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN);
    wherry_lock_close(lock);
    /* a classic one is lost so; but not by asking who has it */
    lock = open_kind(WHERRY_LOCK_POSIX);
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    test_ok(wherry_lock_holders(file_path(), NULL, 0, 0, &partial));
    ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN);
    close(open(file_path(), O_RDWR | O_CLOEXEC));
    ck_assert_int_eq(ask_other(other, raw_lock), 0);
    end_other(other);
    wherry_lock_close(lock);
    remove_file();
}

static void wait_at_gate(void *argument)
{
    test_gate_wait(argument);
}

/* A child that has the descriptor still. */
static pid_t fork_without_handlers(void)
{
    pid_t child = _Fork();
    if (child == 0)
        for (;;)
            pause();
    return child;
}

/* The lock ends with its owner, whether it is closed or its owner dies, and though a child lives. */
TEST(h2_a_forked_child_keeps_no_lock)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind), *next;
        struct test_gate gate;
        next = open_kind((enum wherry_lock_kind)kind);
        test_gate_init(&gate);
        test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
        pid_t child = test_fork(wait_at_gate, &gate);
        pid_t bare = fork_without_handlers();
        wherry_lock_close(lock);
        test_ok(wherry_lock_take(next, EXCLUSIVE, 0, 0, test_deadline()));
        wherry_lock_close(next);
        test_gate_open(&gate);
        test_join(child);
        test_kill(bare);
        test_gate_fini(&gate);
    }
    remove_file();
}

struct family {
    enum wherry_lock_kind kind;
    struct test_gate taken, gate;
};

static void take_fork_and_die(void *argument)
{
    struct family *family = argument;
    struct wherry_lock *lock = open_kind(family->kind);
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    if (fork() == 0) {
        test_gate_wait(&family->gate);
        _exit(0);
    }
    test_gate_open(&family->taken);
    pause();
}

TEST(h2_an_owner_that_is_killed_leaves_its_lock_though_its_child_lives)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct family *family = test_shared(sizeof *family);
        family->kind = (enum wherry_lock_kind)kind;
        struct wherry_lock *lock = open_kind(family->kind);
        test_gate_init(&family->taken);
        test_gate_init(&family->gate);
        pid_t owner = test_fork(take_fork_and_die, family);
        test_gate_wait(&family->taken);
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -EAGAIN);
        test_kill(owner);
        test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, test_deadline()));
        test_gate_open(&family->gate);
        wherry_lock_close(lock);
        test_gate_fini(&family->taken);
        test_gate_fini(&family->gate);
    }
    remove_file();
}

static void use_as_child(void *argument)
{
    struct wherry_lock *lock = argument;
    test_is(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW), -ECHILD);
    says("before fork()");
    test_is(wherry_lock_release(lock, 0, 0), -ECHILD);
    wherry_lock_close(lock); /* unlocks nothing */
}

TEST(a_child_uses_and_closes_nothing_of_its_parents)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind);
        struct other *other = start_other();
        other->kind = (enum wherry_lock_kind)kind;
        other->mode = SHARED;
        test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
        test_join(test_fork(use_as_child, lock));
        ck_assert_int_eq(ask_other(other, raw_lock), -EAGAIN);
        end_other(other);
        wherry_lock_close(lock);
    }
    remove_file();
}

TEST(h3_a_file_that_was_removed_is_not_locked)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind), *other;
        remove_file();
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -ESTALE);
        says("removed or replaced");
        other = open_kind((enum wherry_lock_kind)kind); /* the new file */
        test_ok(wherry_lock_take(other, EXCLUSIVE, 0, 0, WHERRY_NOW));
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -ESTALE);
        wherry_lock_close(other);
        wherry_lock_close(lock);
    }
    remove_file();
}

/* One waits for the lock of a file that its holder removes before it unlocks, as many scripts do. */
static void take_removed(void *argument)
{
    struct other *other = argument;
    struct wherry_lock *lock;
    test_ok(wherry_lock_open(file_path(), NULL, &lock));
    test_gate_open(&other->go);
    other->result = wherry_lock_take(lock, EXCLUSIVE, 0, 0, test_deadline());
    wherry_lock_close(lock);
}

TEST(h3_who_waits_while_the_file_is_removed_does_not_get_it)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD), *third;
    struct other *other = test_shared(sizeof *other);
    test_gate_init(&other->go);
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    pid_t waiter = test_fork(take_removed, other);
    test_gate_wait(&other->go);
    test_until_woken(waiter, 3);
    remove_file();
    third = open_kind(WHERRY_LOCK_OFD);
    test_ok(wherry_lock_take(third, EXCLUSIVE, 0, 0, WHERRY_NOW));
    wherry_lock_close(lock);
    test_join(waiter);
    ck_assert_int_eq(other->result, -ESTALE);
    wherry_lock_close(third);
    test_gate_fini(&other->go);
    remove_file();
}

TEST(the_name_is_looked_at_from_any_directory)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    char here[1000];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.create = true;
    test_ok(wherry_lock_open("file", &options, &lock));
    ck_assert_int_eq(chdir("/"), 0);
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    ck_assert_int_eq(chdir(here), 0);
    wherry_lock_close(lock);
    remove_file();
}

/* ---- H4: nothing is asked before a take ---- */

static unsigned calls, asked;
static int counting_lock(int fd, int command, struct flock *lock)
{
    calls++;
    asked += command == F_GETLK || command == F_OFD_GETLK;
    return real.record_lock(fd, command, lock);
}
static int counting_flock(int fd, int operation)
{
    calls++;
    return real.flock(fd, operation);
}
static int counting_fstatat(int directory, const char *path, struct stat *status, int flags)
{
    calls++;
    return real.fstatat(directory, path, status, flags);
}

TEST(h4_a_take_is_one_call_and_asks_nothing)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++)
        for (int fixed = 0; fixed < 2; fixed++) {
            struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
            struct wherry_lock *lock;
            options.kind = (enum wherry_lock_kind)kind;
            options.create = true;
            options.fixed_name = fixed;
            test_ok(wherry_lock_open(file_path(), &options, &lock));
            real = wherry__sys;
            wherry__sys.record_lock = counting_lock;
            wherry__sys.flock = counting_flock;
            wherry__sys.fstatat = counting_fstatat;
            calls = asked = 0;
            test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_FOREVER));
            ck_assert_uint_eq(calls, fixed ? 1 : 2);
            test_ok(wherry_lock_release(lock, 0, 0));
            ck_assert_uint_eq(calls, fixed ? 2 : 3);
            ck_assert_uint_eq(asked, 0);
            wherry__sys = real;
            wherry_lock_close(lock);
        }
    remove_file();
}

/* ---- bad input ---- */

TEST(a_descriptor_for_reading_takes_no_exclusive_lock)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
        struct wherry_lock *lock;
        wherry_lock_close(open_kind(WHERRY_LOCK_OFD)); /* makes it */
        options.kind = (enum wherry_lock_kind)kind;
        options.read_only = true;
        test_ok(wherry_lock_open(file_path(), &options, &lock));
        test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), kind == WHERRY_LOCK_FLOCK ? 0 : -EBADF);
        if (kind != WHERRY_LOCK_FLOCK)
            says("is open for reading alone, and an exclusive lock needs it open for writing");
        wherry_lock_close(lock);
    }
    remove_file();
}

TEST(descriptors_of_the_callers_stay_theirs)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock, *other = open_kind(WHERRY_LOCK_OFD);
    int fd = open(file_path(), O_WRONLY | O_CLOEXEC);
    test_ok(wherry_lock_open_fd(fd, NULL, &lock));
    test_is(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW), -EBADF);
    says("needs it open for reading");
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    test_is(wherry_lock_take(other, SHARED, 0, 0, WHERRY_NOW), -EAGAIN);
    ck_assert_int_eq(wherry_lock_fd(lock), fd);
    wherry_lock_close(lock);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    test_ok(wherry_lock_take(other, SHARED, 0, 0, WHERRY_NOW));
    close(fd);
    test_is(wherry_lock_open_fd(fd, NULL, &lock), -EBADF);
    options.create = true;
    test_is(wherry_lock_open_fd(wherry_lock_fd(other), &options, &lock), -EINVAL);
    wherry_lock_close(other);
    wherry_lock_close(NULL);
    remove_file();
}

TEST(what_is_no_file_is_refused)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    char link[200], fifo[200];
    test_is(wherry_lock_open(test_dir(), NULL, &lock), -EISDIR);
    says("is a directory; name a file in it");
    test_is(wherry_lock_open(file_path(), NULL, &lock), -ENOENT);
    says("there is no such file; create it");
    test_is(wherry_lock_open("", NULL, &lock), -EINVAL);
    ck_assert_int_eq(symlink("/etc/passwd", test_path(link, "link")), 0);
    test_is(wherry_lock_open(link, NULL, &lock), -ELOOP);
    ck_assert_int_eq(mkfifo(test_path(fifo, "fifo"), 0600), 0);
    test_is(wherry_lock_open(fifo, NULL, &lock), -EINVAL);
    options.kind = WHERRY_LOCK_FLOCK;
    options.read_only = true;
    test_ok(wherry_lock_open(test_dir(), &options, &lock)); /* as flock(1) does */
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    wherry_lock_close(lock);
    options.create = true;
    test_is(wherry_lock_open(file_path(), &options, &lock), -EINVAL);
    options = (struct wherry_lock_options)WHERRY_LOCK_OPTIONS;
    options.kind = (enum wherry_lock_kind)7;
    test_is(wherry_lock_open(file_path(), &options, &lock), -EINVAL);
    options.kind = WHERRY_LOCK_FLOCK;
    options.fair = true;
    test_is(wherry_lock_open(file_path(), &options, &lock), -EINVAL);
    options.kind = WHERRY_LOCK_OFD;
    options.block = true;
    test_is(wherry_lock_open(file_path(), &options, &lock), -EINVAL);
    options.size = 0;
    test_is(wherry_lock_open(file_path(), &options, &lock), -EINVAL);
    options.size = sizeof options * 100000;
    test_is(wherry_lock_open(file_path(), &options, &lock), -E2BIG);
    unlink(link);
    unlink(fifo);
}

static void open_as_nobody(void *argument)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    (void)argument;
    if (!test_become_nobody())
        _exit(9);
    test_is(wherry_lock_open(file_path(), NULL, &lock), -EACCES);
    says("belongs to uid 0 (mode 0644), and uid 65534 may not open it for writing; a shared lock does with reading "
         "(read_only, --shared)");
    options.read_only = true;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
    wherry_lock_close(lock);
}

TEST(somebody_elses_file_is_said_to_be_that)
{
    if (!test_is_root())
        test_skip("needs root to become somebody else");
    wherry_lock_close(open_kind(WHERRY_LOCK_OFD));
    ck_assert_int_eq(chmod(file_path(), 0644), 0);
    ck_assert_int_eq(chmod(test_dir(), 0755), 0);
    test_join(test_fork(open_as_nobody, NULL));
    ck_assert_int_eq(chmod(test_dir(), 0700), 0);
    remove_file();
}

TEST(a_file_that_is_made_has_the_mode_asked_for)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    struct stat status;
    umask(0777);
    options.create = true;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    wherry_lock_close(lock);
    ck_assert_int_eq(stat(file_path(), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    remove_file();
    options.mode = 0664;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    wherry_lock_close(lock);
    ck_assert_int_eq(stat(file_path(), &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0664);
    umask(022);
    remove_file();
}
