/* tests/unit/test_signals.c - owns the tests of signals that are received as messages: both ways, with and without a
 * handler; the mask; forks; what is refused.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "unit/signal_kit.h"

static const struct way {
    const char *name;
    bool handler;
} ways[] = {{"blocked", false}, {"handler", true}};

/* ---- what comes ---- */

TEST_TABLE(a_signal_comes_with_its_sender, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGUSR1, SIGTERM);
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    struct wherry_signal got = kit_next(signals, SIGUSR1);
    ck_assert(got.has_sender && got.vouched && !got.has_value);
    ck_assert_int_eq(got.code, SI_USER);
    ck_assert_int_eq(got.pid, getpid());
    ck_assert_uint_eq(got.uid, getuid());
    ck_assert_int_eq(got.value, 0);
    ck_assert_uint_eq(got.lost, 0);
    test_is(wherry_signals_receive(signals, &got, WHERRY_NOW), -EAGAIN);
    wherry_signals_close(signals);
}

TEST_TABLE(a_value_of_64_bits_comes_whole, ways)
{
    static const int64_t values[] = {0, 7, -1, INT64_MAX, INT64_MIN, 0x123456789abcdef0};
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGRTMIN + 1, 0);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        test_ok(wherry_signal_send(getpid(), SIGRTMIN + 1, &values[i]));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct wherry_signal got = kit_next(signals, SIGRTMIN + 1);
        ck_assert(got.has_value && got.has_sender);
        ck_assert(!got.vouched); /* the sender filled it in */
        ck_assert_int_eq(got.pid, getpid());
        ck_assert_int_eq(got.value, values[i]);
    }
    wherry_signals_close(signals);
}

TEST_TABLE(a_raw_sigqueue_comes_with_its_integer, ways)
{
    test_needs(TEST_LAST_SIGNAL);
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGRTMAX, 0);
    union sigval value;
    memset(&value, 0, sizeof value);
    value.sival_int = -5;
    ck_assert_int_eq(sigqueue(getpid(), SIGRTMAX, value), 0);
    struct wherry_signal got = kit_next(signals, SIGRTMAX);
    ck_assert_int_eq(got.value_int, -5);
    wherry_signals_close(signals);
}

static void end_with_3(void *argument)
{
    (void)argument;
    _exit(3);
}

TEST_TABLE(a_child_s_end_comes_with_its_status, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGCHLD, 0);
    pid_t child = test_fork(end_with_3, NULL);
    struct wherry_signal got = kit_next(signals, SIGCHLD);
    ck_assert_int_eq(got.code, CLD_EXITED);
    ck_assert_int_eq(got.status, 3);
    ck_assert_int_eq(got.pid, child);
    ck_assert(got.has_sender && got.vouched && !got.has_value);
    test_join_status(child, 3);
    wherry_signals_close(signals);
}

static void sleep_on(void *argument)
{
    (void)argument;
    for (;;)
        pause();
}

TEST_TABLE(a_child_that_stops_and_goes_on_is_seen, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGCHLD, 0);
    pid_t child = test_fork(sleep_on, NULL);
    test_ok(wherry_signal_send(child, SIGSTOP, NULL));
    struct wherry_signal got = kit_next(signals, SIGCHLD);
    ck_assert_int_eq(got.code, CLD_STOPPED);
    ck_assert_int_eq(got.status, SIGSTOP);
    test_ok(wherry_signal_send(child, SIGCONT, NULL));
    got = kit_next(signals, SIGCHLD);
    ck_assert_int_eq(got.code, CLD_CONTINUED);
    test_kill(child);
    got = kit_next(signals, SIGCHLD);
    ck_assert_int_eq(got.code, CLD_KILLED);
    ck_assert_int_eq(got.status, SIGKILL);
    wherry_signals_close(signals);
}

TEST_TABLE(a_timer_s_signal_has_a_value_and_no_sender, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGRTMIN + 2, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value.sival_int = 12};
    struct itimerspec once = {.it_value.tv_nsec = 1};
    timer_t timer;
    ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    ck_assert_int_eq(timer_settime(timer, 0, &once, NULL), 0);
    struct wherry_signal got = kit_next(signals, SIGRTMIN + 2);
    ck_assert_int_eq(got.code, SI_TIMER);
    ck_assert(got.has_value && !got.has_sender && !got.vouched);
    ck_assert_int_eq(got.value_int, 12);
    ck_assert_int_eq(got.pid, 0);
    timer_delete(timer);
    wherry_signals_close(signals);
}

TEST(h58_standard_signals_that_wait_are_one_and_the_lowest_number_comes_first)
{
    struct wherry_signals *signals = kit_open(false, SIGUSR1, SIGRTMIN);
    int64_t one = 1, two = 2;
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, &one));
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, &two));
    for (int i = 0; i < 100; i++)
        test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(signals, SIGUSR1);
    ck_assert_int_eq(kit_next(signals, SIGRTMIN).value, 1);
    ck_assert_int_eq(kit_next(signals, SIGRTMIN).value, 2);
    struct wherry_signal none;
    test_is(wherry_signals_receive(signals, &none, WHERRY_NOW), -EAGAIN);
    wherry_signals_close(signals);
}

/* ---- waiting ---- */

static pid_t its_parent;

static void signal_the_sleeper(void *argument)
{
    (void)argument;
    test_until_asleep(its_parent);
    test_ok(wherry_signal_send(its_parent, SIGUSR2, NULL));
}

TEST_TABLE(who_waits_is_woken, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGUSR2, 0);
    its_parent = getpid();
    pid_t child = test_fork(signal_the_sleeper, NULL);
    struct wherry_signal got = kit_next(signals, SIGUSR2);
    ck_assert_int_eq(got.pid, child);
    test_join(child);
    wherry_signals_close(signals);
}

TEST_TABLE(a_deadline_ends_the_wait_and_touches_nothing, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGUSR2, 0);
    struct wherry_signal got, before;
    memset(&got, 0x5a, sizeof got);
    before = got;
    wherry_time begin = wherry_now();
    test_is(wherry_signals_receive(signals, &got, begin + 30 * WHERRY_MILLISECOND), -ETIMEDOUT);
    ck_assert(wherry_now() - begin >= 30 * WHERRY_MILLISECOND);
    test_is(wherry_signals_receive(signals, &got, WHERRY_NOW), -EAGAIN);
    ck_assert_mem_eq(&got, &before, sizeof got);
    wherry_signals_close(signals);
}

static bool is_readable(struct wherry_signals *signals)
{
    struct pollfd fd = {.fd = wherry_signals_fd(signals), .events = POLLIN};
    ck_assert_int_ge(fd.fd, 0);
    return poll(&fd, 1, 0) == 1 && fd.revents == POLLIN;
}

TEST_TABLE(the_descriptor_is_readable_while_there_are_some, ways)
{
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGUSR2, SIGRTMIN);
    ck_assert(!is_readable(signals));
    test_ok(wherry_signal_send(getpid(), SIGUSR2, NULL));
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, NULL));
    ck_assert(is_readable(signals));
    kit_next(signals, SIGUSR2);
    ck_assert(is_readable(signals));
    kit_next(signals, SIGRTMIN);
    ck_assert(!is_readable(signals));
    ck_assert_int_eq(fcntl(wherry_signals_fd(signals), F_GETFD), FD_CLOEXEC);
    wherry_signals_close(signals);
}

/* ---- the mask ---- */

TEST(the_mask_is_restored_and_no_more_than_that)
{
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    sigprocmask(SIG_BLOCK, &usr2, NULL); /* before: stays blocked */
    struct wherry_signals *signals = kit_open(false, SIGUSR1, SIGUSR2);
    ck_assert(kit_is_blocked(SIGUSR1));
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hup, NULL); /* meanwhile: none of its business */
    wherry_signals_close(signals);
    ck_assert(!kit_is_blocked(SIGUSR1));
    ck_assert(kit_is_blocked(SIGUSR2));
    ck_assert(kit_is_blocked(SIGHUP));
    sigaddset(&usr2, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &usr2, NULL);
}

TEST(two_that_block_the_same_restore_it_when_both_are_closed)
{
    struct wherry_signals *first = kit_open(false, SIGUSR1, SIGHUP), *second = kit_open(false, SIGUSR1, SIGTERM);
    wherry_signals_close(first);
    ck_assert(kit_is_blocked(SIGUSR1) && kit_is_blocked(SIGTERM) && !kit_is_blocked(SIGHUP));
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(second, SIGUSR1);
    wherry_signals_close(second);
    ck_assert(!kit_is_blocked(SIGUSR1) && !kit_is_blocked(SIGTERM));
}

/* Nor does it upset what the closing thread has of its own. */
static void *close_it(void *signals)
{
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL); /* inherited */
    wherry_signals_close(signals);
    struct wherry_signals *own = kit_open(false, SIGUSR1, 0);
    bool during = kit_is_blocked(SIGUSR1);
    wherry_signals_close(own);
    return during && !kit_is_blocked(SIGUSR1) ? signals : NULL;
}

TEST_WITH(another_thread_s_close_leaves_masks_alone, .leaves = TEST_LEAVES_SIGNALS)
{
    struct wherry_signals *signals = kit_open(false, SIGUSR1, 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, close_it, signals), 0);
    void *fine;
    pthread_join(thread, &fine);
    ck_assert_ptr_nonnull(fine);
    ck_assert(kit_is_blocked(SIGUSR1));
}

TEST(an_ignored_signal_is_received_all_the_same)
{
    test_ok(wherry_signal_ignore(SIGUSR1));
    struct wherry_signals *signals = kit_open(false, SIGUSR1, 0);
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(signals, SIGUSR1);
    wherry_signals_close(signals);
    test_ok(wherry_signal_default(SIGUSR1));
}

static void close_with_one_pending(void *way)
{
    struct wherry_signals *signals = kit_open(((const struct way *)way)->handler, SIGTERM, 0);
    test_ok(wherry_signal_send(getpid(), SIGTERM, NULL));
    wherry_signals_close(signals);
}

TEST_TABLE(what_is_not_received_before_the_close_takes_effect, ways)
{
    test_join_signal(test_fork(close_with_one_pending, (void *)(uintptr_t)&ways[index]), SIGTERM);
}

static siginfo_t seen;
static void see(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    seen = *info;
}

TEST_TABLE(what_takes_effect_at_the_close_still_has_its_sender_and_value, ways)
{
    struct sigaction own = {.sa_sigaction = see, .sa_flags = SA_SIGINFO};
    int64_t value = INT64_C(-3000000000);
    sigaction(SIGRTMIN, &own, NULL);
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGRTMIN, 0);
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, &value));
    wherry_signals_close(signals);
    ck_assert_int_eq((int64_t)(intptr_t)seen.si_value.sival_ptr, value);
    ck_assert_int_eq(seen.si_code, SI_QUEUE);
    ck_assert_int_eq(seen.si_pid, getpid());
    test_ok(wherry_signal_default(SIGRTMIN));
}

/* ---- forks ---- */

static struct wherry_signals *inherited;

static void use_the_parent_s(void *argument)
{
    struct wherry_signal signal;
    (void)argument;
    test_is(wherry_signals_receive(inherited, &signal, WHERRY_NOW), -ECHILD);
    test_is(wherry_signals_fd(inherited), -ECHILD);
    wherry_signals_close(inherited);
    ck_assert(!kit_is_blocked(SIGUSR1));
    struct wherry_signals *own = kit_open(false, SIGUSR1, 0);
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(own, SIGUSR1);
    wherry_signals_close(own);
}

TEST_TABLE(a_forked_child_closes_and_opens_its_own, ways)
{
    inherited = kit_open(ways[index].handler, SIGUSR1, 0);
    test_join(test_fork(use_the_parent_s, NULL));
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    ck_assert_int_eq(kit_next(inherited, SIGUSR1).pid, getpid());
    wherry_signals_close(inherited);
}

/* ---- what is refused ---- */

static const struct {
    const char *name;
    int number;
    bool handler;
    const char *why;
} refused[] = {
    {"SIGKILL", SIGKILL, false, "SIGKILL"}, {"SIGSTOP", SIGSTOP, false, "SIGSTOP"},
    {"0", 0, false, "no signal"},           {"-1", -1, false, "no signal"},
    {"32", 32, false, "C library"},         {"33", 33, false, "C library"},
    {"65", 65, false, "no signal"},         {"a fault, with a handler", SIGSEGV, true, "SIGSEGV"},
};

TEST_TABLE(what_cannot_be_received_is_refused, refused)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    struct wherry_signals *signals = NULL;
    int numbers[] = {SIGUSR1, refused[index].number};
    options.handler = refused[index].handler;
    test_is(wherry_signals_open(numbers, 2, &options, &signals), -EINVAL);
    kit_says(refused[index].why);
    ck_assert_ptr_null(signals);
    ck_assert(!kit_is_blocked(SIGUSR1));
}

TEST(none_to_receive_and_options_of_no_version_are_refused)
{
    struct {
        struct wherry_signals_options options;
        char more[8];
    } newer = {.options = {.size = sizeof newer}, .more = "new"};
    struct wherry_signals_options unset = {.size = 0};
    struct wherry_signals *signals = NULL;
    int number = SIGUSR1;
    test_is(wherry_signals_open(&number, 0, NULL, &signals), -EINVAL);
    test_is(wherry_signals_open(&number, 1, &unset, &signals), -EINVAL);
    test_is(wherry_signals_open(&number, 1, &newer.options, &signals), -E2BIG);
    ck_assert_ptr_null(signals);
    wherry_signals_close(NULL);
}

TEST(h61_sigchld_that_is_ignored_is_refused)
{
    struct wherry_signals *signals = NULL;
    int number = SIGCHLD;
    test_ok(wherry_signal_ignore(SIGCHLD));
    test_is(wherry_signals_open(&number, 1, NULL, &signals), -EINVAL);
    kit_says("wherry_signal_default(SIGCHLD)");
    test_ok(wherry_signal_default(SIGCHLD));
    test_ok(wherry_signals_open(&number, 1, NULL, &signals));
    wherry_signals_close(signals);
}
