/* tests/unit/test_wait.c - owns the tests of base/wait.c: what is ready, the bell, deadlines.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/wait.h"
#include "harness.h"

static struct wherry__wait set;
static int fds[2];

static void setup(void)
{
    test_ok(wherry__process_start());
    test_ok(wherry__wait_init(&set));
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
}

static void teardown(void)
{
    wherry__wait_fini(&set, wherry__generation());
    ck_assert_int_eq(set.epoll, -1);
    ck_assert_int_eq(set.bell, -1);
    wherry__wait_fini(&set, wherry__generation()); /* twice is fine */
    close(fds[0]);
    close(fds[1]);
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

TEST(events_carry_their_key)
{
    struct epoll_event event;
    setup();
    test_ok(wherry__wait_add(&set, fds[0], EPOLLIN, 42));
    test_is(wherry__wait_for(&set, WHERRY_NOW), -ETIMEDOUT);
    ck_assert(!wherry__wait_next(&set, &event));
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
    ck_assert(wherry__wait_next(&set, &event));
    ck_assert_uint_eq(event.data.u64, 42);
    ck_assert(event.events & EPOLLIN);
    ck_assert(!wherry__wait_next(&set, &event));
    ck_assert(is_readable(wherry__wait_descriptor(&set))); /* as users see it */
    test_ok(wherry__wait_change(&set, fds[0], 0, 42));
    test_is(wherry__wait_for(&set, WHERRY_NOW), -ETIMEDOUT);
    test_ok(wherry__wait_change(&set, fds[0], EPOLLIN, 43));
    test_ok(wherry__wait_for(&set, WHERRY_NOW));
    ck_assert(wherry__wait_next(&set, &event));
    ck_assert_uint_eq(event.data.u64, 43);
    wherry__wait_remove(&set, fds[0]);
    wherry__wait_remove(&set, fds[0]); /* not there: fine */
    wherry__wait_remove(&set, -1);
    test_is(wherry__wait_for(&set, WHERRY_NOW), -ETIMEDOUT);
    teardown();
}

TEST(dropped_keys_do_not_come)
{
    struct epoll_event event;
    setup();
    test_ok(wherry__wait_add(&set, fds[0], EPOLLIN, 1));
    test_ok(wherry__wait_add(&set, fds[1], EPOLLOUT, 2));
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    test_ok(wherry__wait_for(&set, WHERRY_NOW));
    wherry__wait_drop(&set, 1);
    ck_assert(wherry__wait_next(&set, &event));
    ck_assert_uint_eq(event.data.u64, 2);
    ck_assert(!wherry__wait_next(&set, &event));
    teardown();
}

TEST(the_bell_ends_waits_until_silenced_and_is_no_event)
{
    struct epoll_event event;
    setup();
    wherry__wait_ring(&set);
    wherry__wait_ring(&set);
    for (int i = 0; i < 2; i++) {
        test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
        ck_assert(!wherry__wait_next(&set, &event));
        ck_assert(is_readable(wherry__wait_descriptor(&set)));
    }
    test_ok(wherry__wait_one(&set, fds[0], POLLIN, WHERRY_FOREVER));
    wherry__wait_silence(&set);
    wherry__wait_silence(&set); /* never waits */
    ck_assert(!is_readable(wherry__wait_descriptor(&set)));
    test_is(wherry__wait_for(&set, WHERRY_NOW), -ETIMEDOUT);
    test_is(wherry__wait_one(&set, fds[0], POLLIN, WHERRY_NOW), -ETIMEDOUT);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    test_ok(wherry__wait_one(&set, fds[0], POLLIN, WHERRY_FOREVER));
    static const struct wherry__wait closed = {.epoll = -1, .bell = -1};
    wherry__wait_ring(&closed); /* nothing happens */
    wherry__wait_silence(&closed);
    teardown();
}

TEST(no_wait_ends_before_its_deadline)
{
    setup();
    for (int i = 0; i < 40; i++) {
        if (i == 20) /* from ppoll to epoll */
            ck_assert_int_ge(wherry__wait_descriptor(&set), 0);
        wherry_time deadline = wherry_after(i % 20 * 137 * WHERRY_MICROSECOND + 1);
        int result;
        while ((result = wherry__wait_for(&set, deadline)) == 0)
            ;
        test_is(result, -ETIMEDOUT);
        ck_assert_int_ge(wherry_now(), deadline);
    }
    teardown();
}

/* Linux 5.10 has epoll_wait alone. */
static int no_such_call(int epoll, struct epoll_event *events, int count, const struct timespec *timeout)
{
    (void)epoll, (void)events, (void)count, (void)timeout;
    errno = ENOSYS;
    return -1;
}

TEST(without_epoll_pwait2_the_same)
{
    struct epoll_event event;
    setup();
    wherry__sys.epoll_pwait2 = no_such_call;
    ck_assert_int_ge(wherry__wait_descriptor(&set), 0);
    test_ok(wherry__wait_add(&set, fds[0], EPOLLIN, 7));
    for (int i = 0; i < 5; i++) {
        wherry_time deadline = wherry_after(i * 700 * WHERRY_MICROSECOND + 1);
        int result, looks = 0;
        while ((result = wherry__wait_for(&set, deadline)) == 0)
            looks++;
        test_is(result, -ETIMEDOUT);
        ck_assert_int_ge(wherry_now(), deadline);
        ck_assert_int_lt(looks, 3); /* milliseconds are rounded up: it slept rather than spun */
    }
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
    ck_assert(wherry__wait_next(&set, &event));
    ck_assert_uint_eq(event.data.u64, 7);
    teardown();
}

static void nothing(__attribute__((unused)) int signal_number)
{
}

TEST(a_signal_is_no_failure)
{
    struct sigaction action = {.sa_handler = nothing}, before;
    static const struct itimerval soon = {{0, 1000}, {0, 1000}}, never;
    setup();
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &soon, NULL);
    test_ok(wherry__wait_for(&set, WHERRY_FOREVER)); /* 0: look again */
    test_ok(wherry__wait_one(&set, fds[0], POLLIN, WHERRY_FOREVER));
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    teardown();
}

/* With ppoll, with epoll, which does not take them, and when the set steps from one to the other. */
TEST(regular_files_are_always_ready)
{
    char path[256];
    setup();
    int file = open(test_path(path, "file"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    test_ok(wherry__wait_add(&set, file, EPOLLIN, 1));
    test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
    ck_assert(is_readable(wherry__wait_descriptor(&set)));
    test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
    wherry__wait_silence(&set);
    test_ok(wherry__wait_add(&set, file, EPOLLIN, 1));
    test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
    close(file);
    unlink(path);
    test_is(wherry__wait_add(&set, 9999, EPOLLIN, 1), -EBADF);
    ck_assert_str_ne(wherry_why(), "");
    teardown();
}

/* More members than ppoll is given: the set steps to epoll, and all are still there. */
TEST(many_members_are_all_waited_for)
{
    enum { MANY = WHERRY__WAIT_FEW + 3 };
    int pipes[MANY][2];
    struct epoll_event event;
    setup();
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
        test_ok(wherry__wait_add(&set, pipes[i][0], EPOLLIN, (uint64_t)i + 1));
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(write(pipes[i][1], "x", 1), 1);
        test_ok(wherry__wait_for(&set, WHERRY_FOREVER));
        ck_assert(wherry__wait_next(&set, &event));
        ck_assert_uint_eq(event.data.u64, (uint64_t)i + 1);
        test_ok(wherry__wait_change(&set, pipes[i][0], 0, (uint64_t)i + 1));
    }
    for (int i = 0; i < MANY; i++) {
        wherry__wait_remove(&set, pipes[i][0]);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    teardown();
}
