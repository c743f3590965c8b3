/* tests/unit/test_fd.c - owns the tests of base/fd.c: which descriptors are ours, and what a forked child does with
 * them.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness.h"

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int any_descriptor(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

struct family {
    int noted, plain;
};

static void look_in_child(void *argument)
{
    struct family *family = argument;
    ck_assert(!is_open(family->noted));
    ck_assert(is_open(family->plain));
}

TEST(noted_descriptors_are_closed_in_a_forked_child)
{
    test_ok(wherry__process_start());
    struct family family = {.plain = any_descriptor()};
    wherry__fd_guard();
    family.noted = wherry__fd_note(any_descriptor());
    wherry__fd_unguard();
    test_join(test_fork(look_in_child, &family));
    ck_assert(is_open(family.noted)); /* the parent's is as it was */
    wherry__fd_close(&family.noted);
    ck_assert_int_eq(family.noted, -1);
    close(family.plain);
}

static void look_at_forgotten(void *argument)
{
    ck_assert(is_open(*(int *)argument));
}

TEST(forgotten_ones_are_left_alone)
{
    test_ok(wherry__process_start());
    int fd = wherry__fd_note(any_descriptor());
    wherry__fd_forget(fd);
    test_join(test_fork(look_at_forgotten, &fd));
    close(fd);
}

TEST(notes_of_no_descriptor_are_ignored)
{
    ck_assert_int_eq(wherry__fd_note(-1), -1);
    ck_assert_int_eq(wherry__fd_note(-EMFILE), -EMFILE);
    ck_assert_int_eq(wherry__fd_note(1 << 30), 1 << 30);
    wherry__fd_forget(-1);
    wherry__fd_forget(1 << 30);
    wherry__fd_forget(5000); /* a chunk that was never made */
    int fd = -1;
    wherry__fd_close(&fd);
    ck_assert_int_eq(fd, -1);
}

/* Numbers beyond the first chunk of the registry. */
static void look_at_high_number(void *argument)
{
    ck_assert(!is_open(*(int *)argument));
}

TEST(the_registry_grows)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 20000 ? limit.rlim_max : 20000;
    setrlimit(RLIMIT_NOFILE, &limit);
    test_ok(wherry__process_start());
    static const int numbers[] = {63, 64, 4095, 4096, 8191, 8192, 12345};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if ((rlim_t)numbers[i] >= limit.rlim_cur)
            test_skip("the limit of open files is %llu", (unsigned long long)limit.rlim_cur);
        int low = any_descriptor();
        int high = fcntl(low, F_DUPFD_CLOEXEC, numbers[i]);
        ck_assert_int_ge(high, numbers[i]);
        ck_assert_int_eq(wherry__fd_note(high), high);
        test_join(test_fork(look_at_high_number, &high));
        wherry__fd_close(&high);
        ck_assert_int_eq(high, -1);
        close(low);
    }
}

/* What the child opened under a number that was the parent's is the child's. */
static void close_the_parents_object(void *argument)
{
    struct {
        uint64_t born;
        int noted;
    } *object = argument;
    int reused = -1;
    while (reused < object->noted) {
        ck_assert_int_ge(reused = any_descriptor(), 0);
        if (reused != object->noted && reused < object->noted)
            ck_assert_int_eq(wherry__fd_note(reused), reused);
    }
    ck_assert_int_eq(reused, object->noted);
    int fd = object->noted;
    wherry__fd_close_from(object->born, false, &fd);
    ck_assert_int_eq(fd, -1);
    ck_assert(is_open(reused)); /* not closed under its new owner's feet */
    _exit(0);
}

TEST(a_child_that_closes_what_it_inherited_closes_no_number_of_others)
{
    struct {
        uint64_t born;
        int noted;
    } object;
    test_ok(wherry__process_start());
    object.born = wherry__generation();
    object.noted = wherry__fd_note(any_descriptor());
    test_join(test_fork(close_the_parents_object, &object));
    int fd = object.noted;
    wherry__fd_close_from(object.born, false, &fd);
    ck_assert(!is_open(object.noted));
}

static void close_an_inheritable(void *argument)
{
    int fd = *(int *)argument;
    wherry__fd_close_from(1, true, &fd);
    ck_assert(!is_open(*(int *)argument));
}

TEST(inheritable_ones_are_closed_by_the_child_itself)
{
    test_ok(wherry__process_start());
    int fd = any_descriptor();
    test_join(test_fork(close_an_inheritable, &fd));
    close(fd);
}

/* ---- generations ------------------------------------------------------------------------------------------------- */

static void look_at_generation(void *argument)
{
    uint64_t parents = *(uint64_t *)argument;
    ck_assert_uint_eq(wherry__generation(), 0);
    test_ok(wherry__process_start());
    ck_assert_uint_gt(wherry__generation(), parents);
    uint64_t mine = wherry__generation();
    test_ok(wherry__process_start());
    ck_assert_uint_eq(wherry__generation(), mine);
}

TEST(each_process_has_a_generation_of_its_own)
{
    ck_assert_uint_eq(wherry__generation(), 0);
    test_ok(wherry__process_start());
    uint64_t mine = wherry__generation();
    ck_assert_uint_gt(mine, 0);
    test_join(test_fork(look_at_generation, &mine));
    ck_assert_uint_eq(wherry__generation(), mine);
}

/* Where no fork handler runs the page is wiped all the same, and the descriptors are still there to be closed. */
TEST(a_child_without_fork_handlers_is_known_by_the_page)
{
    test_needs(TEST_WIPE_ON_FORK);
    test_ok(wherry__process_start());
    uint64_t born = wherry__generation();
    int fd = wherry__fd_note(any_descriptor());
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
    if (child == 0) {
        int copy = fd;
        bool good = wherry__generation() == 0 && is_open(fd);
        wherry__fd_close_from(born, false, &copy);
        _exit(good && !is_open(fd) ? 0 : 1);
    }
    test_join_status(child, 0);
    ck_assert(is_open(fd));
    wherry__fd_close(&fd);
}
