/* tests/unit/test_signals_handler.c - owns the tests of what only the handler can get wrong: a full pipe, a child that
 * inherits it, dispositions, memory allocation under it.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "unit/signal_kit.h"

/* ---- a full pipe ---- */

static int refuse_size(int fd, int size)
{
    (void)fd, (void)size;
    errno = EPERM;
    return -1;
}

static bool is_readable(struct wherry_signals *signals)
{
    struct pollfd fd = {.fd = wherry_signals_fd(signals), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

/* With the pipe as small as it comes: so many fit, the others are counted, number by number, and none is forgotten. */
TEST(h58_what_finds_no_room_is_counted_and_no_number_is_lost)
{
    enum { SENT = 5000 };
    wherry__sys.set_pipe_size = refuse_size;
    struct wherry_signals *signals = kit_open(true, SIGRTMIN, SIGTERM);
    for (int64_t i = 0; i < SENT; i++)
        test_ok(wherry_signal_send(getpid(), SIGRTMIN, &i));
    test_ok(wherry_signal_send(getpid(), SIGTERM, NULL));
    uint64_t whole = 0, lost = 0, terms = 0;
    int64_t next = 0;
    while (is_readable(signals)) {
        struct wherry_signal got;
        int result = wherry_signals_receive(signals, &got, WHERRY_NOW);
        if (result == -EAGAIN)
            break;
        test_is(result, 1);
        if (got.number == SIGTERM) {
            terms += got.lost;
            ck_assert(!got.has_sender && !got.has_value);
        } else if (got.lost > 0) {
            lost += got.lost;
        } else {
            ck_assert_int_eq(got.value, next++);
            whole++;
        }
    }
    ck_assert_uint_eq(terms, 1);
    ck_assert_uint_gt(whole, 100);
    ck_assert_uint_gt(lost, 100);
    ck_assert_uint_eq(whole + lost, SENT);
    wherry_signals_close(signals);
}

/* The last record is taken between the handler's failed write and its count: the mark tells. */
static struct wherry_signals *drained;
static int refusals;
static ssize_t refuse_once(int fd, const void *data, size_t size)
{
    if (refusals++ > 0)
        return write(fd, data, size);
    errno = EAGAIN;
    return -1;
}

TEST(a_count_that_comes_too_late_for_the_pipe_is_told_by_a_mark)
{
    drained = kit_open(true, SIGUSR1, 0);
    wherry__sys.write = refuse_once;
    errno = ENOTTY;
    kill(getpid(), SIGUSR1);
    ck_assert_int_eq(errno, ENOTTY); /* whatever happened in the handler */
    ck_assert_int_eq(refusals, 2);
    ck_assert(is_readable(drained));
    ck_assert_uint_eq(kit_next(drained, SIGUSR1).lost, 1);
    struct wherry_signal none;
    test_is(wherry_signals_receive(drained, &none, WHERRY_NOW), -EAGAIN); /* the mark is no signal */
    ck_assert(!is_readable(drained));
    wherry_signals_close(drained);
}

/* ---- dispositions ---- */

static volatile sig_atomic_t own_count;
static void own_handler(int number)
{
    (void)number;
    own_count = own_count + 1;
}

static struct sigaction disposition(int number)
{
    struct sigaction now;
    ck_assert_int_eq(sigaction(number, NULL, &now), 0);
    return now;
}

TEST(dispositions_are_restored_and_those_that_changed_meanwhile_are_left)
{
    struct sigaction own = {.sa_handler = own_handler}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGUSR1, &own, NULL);
    struct wherry_signals *signals = kit_open(true, SIGUSR1, SIGUSR2);
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(signals, SIGUSR1);
    ck_assert_int_eq(own_count, 0);
    sigaction(SIGUSR2, &ignore, NULL); /* somebody else decides */
    wherry_signals_close(signals);
    ck_assert(disposition(SIGUSR1).sa_handler == own_handler);
    ck_assert(disposition(SIGUSR2).sa_handler == SIG_IGN);
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    ck_assert_int_eq(own_count, 1);
    test_ok(wherry_signal_default(SIGUSR1));
    test_ok(wherry_signal_default(SIGUSR2));
}

TEST(a_number_is_caught_once_and_not_ignored_meanwhile)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    struct wherry_signals *signals = kit_open(true, SIGUSR1, 0), *other = NULL;
    int numbers[] = {SIGUSR2, SIGUSR1};
    options.handler = true;
    test_is(wherry_signals_open(numbers, 2, &options, &other), -EBUSY);
    kit_says("SIGUSR1");
    ck_assert_ptr_null(other);
    ck_assert(disposition(SIGUSR2).sa_handler == SIG_DFL);
    test_is(wherry_signal_ignore(SIGUSR1), -EBUSY);
    test_is(wherry_signal_default(SIGUSR1), -EBUSY);
    wherry_signals_close(signals);
    test_ok(wherry_signals_open(numbers, 2, &options, &other));
    wherry_signals_close(other);
}

static int fail_second(int number, const struct sigaction *action, struct sigaction *before)
{
    if (number == SIGUSR2 && action && action->sa_handler != SIG_DFL) {
        errno = EINVAL;
        return -1;
    }
    return sigaction(number, action, before);
}

TEST(an_open_that_fails_halfway_leaves_nothing_caught)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    struct wherry_signals *signals = NULL;
    int numbers[] = {SIGUSR1, SIGUSR2};
    int (*real)(int, const struct sigaction *, struct sigaction *) = wherry__sys.sigaction;
    options.handler = true;
    wherry__sys.sigaction = fail_second;
    test_is(wherry_signals_open(numbers, 2, &options, &signals), -EINVAL);
    ck_assert_ptr_null(signals);
    ck_assert(disposition(SIGUSR1).sa_handler == SIG_DFL);
    wherry__sys.sigaction = real;
    test_ok(wherry_signals_open(numbers, 2, &options, &signals));
    wherry_signals_close(signals);
}

/* ---- children that inherit it ---- */

static void be_signalled(void *argument)
{
    (void)argument;
    int64_t value = 9;
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, &value)); /* default: ends us */
}

static siginfo_t own_info;
static void own_info_handler(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    own_info = *info;
}

static void be_signalled_with_own_handler(void *argument)
{
    (void)argument;
    int64_t value = 9;
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, &value));
    ck_assert_int_eq(own_info.si_value.sival_int, 9);
    ck_assert_int_eq(own_info.si_code, SI_QUEUE);
    ck_assert_int_eq(own_info.si_pid, getpid());
}

TEST(in_a_forked_child_a_caught_signal_does_what_it_did_before)
{
    struct wherry_signal none;
    struct wherry_signals *signals = kit_open(true, SIGRTMIN, 0);
    test_join_signal(test_fork(be_signalled, NULL), SIGRTMIN);
    wherry_signals_close(signals);

    struct sigaction own = {.sa_sigaction = own_info_handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &own, NULL);
    signals = kit_open(true, SIGRTMIN, 0);
    test_join(test_fork(be_signalled_with_own_handler, NULL));
    test_is(wherry_signals_receive(signals, &none, WHERRY_NOW), -EAGAIN); /* none of it came to the parent */
    wherry_signals_close(signals);
    test_ok(wherry_signal_default(SIGRTMIN));
}

static void open_and_close_own(void *argument)
{
    (void)argument;
    struct wherry_signals *own = kit_open(true, SIGRTMIN, 0); /* the parent's stays open */
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, NULL));
    kit_next(own, SIGRTMIN);
    wherry_signals_close(own);
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, NULL)); /* default, as before the parent's: ends us */
}

TEST(a_child_s_own_handler_puts_back_what_was_before_the_parent_s)
{
    struct wherry_signals *signals = kit_open(true, SIGRTMIN, 0);
    test_join_signal(test_fork(open_and_close_own, NULL), SIGRTMIN);
    wherry_signals_close(signals);
}

/* Parent and child are both process 1, each of its own PID namespace: the pid alone does not tell them apart. */
static void be_another_first(void *argument)
{
    (void)argument;
    own_count = 0;
    ck_assert_int_eq(getpid(), 1);
    ck_assert_int_eq(raise(SIGRTMIN), 0);
    ck_assert_int_eq(own_count, 1);
}

static void wait_for_success(pid_t child)
{
    int status;
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(status == 0, "wait status 0x%x", (unsigned)status);
}

/* From a process in between, so that the caller stays able to make threads, which LeakSanitizer does at its end. */
static void in_new_namespace(void (*then)(void *))
{
    pid_t between = fork();
    if (between == 0) {
        ck_assert_int_eq(unshare(CLONE_NEWPID), 0);
        pid_t first = fork();
        if (first == 0)
            then(NULL);
        else
            wait_for_success(first);
        _exit(0);
    }
    wait_for_success(between);
}

static void be_the_first(void *argument)
{
    struct sigaction own = {.sa_handler = own_handler};
    (void)argument;
    ck_assert_int_eq(getpid(), 1);
    sigaction(SIGRTMIN, &own, NULL);
    struct wherry_signals *signals = kit_open(true, SIGRTMIN, 0);
    in_new_namespace(be_another_first);
    wherry_signals_close(signals);
}

static void start_the_first(void *argument)
{
    (void)argument;
    in_new_namespace(be_the_first);
}

TEST(h68_a_child_that_has_its_parent_s_pid_is_known_all_the_same)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for PID namespaces");
    test_join(test_fork(start_the_first, NULL));
}

TEST(in_a_vforked_child_a_caught_signal_does_what_it_did_before)
{
    struct wherry_signal none;
    struct wherry_signals *signals = kit_open(true, SIGUSR1, 0);
    int status;
    pid_t child = vfork();
    if (child == 0) {
        syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), SIGUSR1);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    test_is(wherry_signals_receive(signals, &none, WHERRY_NOW), -EAGAIN);
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(signals, SIGUSR1);
    wherry_signals_close(signals);
}

/* ---- H57: a signal within malloc ---- */

struct hammer {
    struct wherry_signals *signals;
    _Atomic bool over;
    _Atomic uint64_t turns;
};

static void *allocate(void *argument)
{
    struct hammer *hammer = argument;
    void *kept[64] = {NULL};
    unsigned seed = 1;
    while (!hammer->over) {
        seed = seed * 1103515245u + 12345u;
        size_t i = seed >> 8 & 63;
        free(kept[i]);
        kept[i] = malloc(1 + (seed >> 14 & 0x3fff));
        ck_assert_ptr_nonnull(kept[i]);
        memset(kept[i], (int)i, 1);
        hammer->turns++;
    }
    for (size_t i = 0; i < 64; i++)
        free(kept[i]);
    return NULL;
}

/* Three threads that allocate are interrupted 20,000 times, wherever they are; the handler waits for none of the locks
 * that they hold, or this would never end. */
TEST_WITH(h57_a_handler_within_malloc_neither_hangs_nor_harms, .seconds = 120)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    struct hammer hammer = {.signals = kit_open(true, SIGRTMIN, 0)};
    uint64_t sent = 0, received = 0;
    const uint64_t wanted = TEST_SANITIZED ? 2000 : 20000;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate, &hammer), 0);
    while (received < wanted) {
        struct wherry_signal got;
        if (sent < wanted && pthread_kill(threads[sent % THREADS], SIGRTMIN) == 0)
            sent++;
        while (wherry_signals_receive(hammer.signals, &got, sent < wanted ? WHERRY_NOW : test_deadline()) == 1) {
            received += got.lost ? got.lost : 1;
            if (received == wanted)
                break;
        }
        ck_assert(sent < wanted || received == wanted);
    }
    hammer.over = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_gt(hammer.turns, 0);
    wherry_signals_close(hammer.signals);
}

/* Closed while other threads are in the handler: what comes afterwards does what it did before.  Each is received or
 * handled so, once. */
static _Atomic uint64_t own_handled;
static void count_handled(int number)
{
    (void)number;
    atomic_fetch_add(&own_handled, 1);
}

static void *signal_all_the_time(void *argument)
{
    struct hammer *hammer = argument;
    int64_t value = 0;
    while (!hammer->over)
        if (wherry_signal_send(getpid(), SIGRTMIN, &value) == 0)
            hammer->turns++;
    return NULL;
}

TEST_WITH(it_is_closed_under_fire_again_and_again, .seconds = 120)
{
    test_needs(TEST_HANDLER_WHOLE);
    struct sigaction own = {.sa_handler = count_handled, .sa_flags = SA_RESTART};
    struct hammer hammer = {.signals = NULL};
    struct wherry_signal got;
    pthread_t threads[2];
    uint64_t received = 0;
    sigaction(SIGRTMIN, &own, NULL);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, signal_all_the_time, &hammer), 0);
    for (int turn = 0; turn < (TEST_SANITIZED ? 200 : 3000); turn++) {
        struct wherry_signals *signals = kit_open(true, SIGRTMIN, 0);
        for (int i = 0; i < 3; i++) {
            got = kit_next(signals, SIGRTMIN);
            received += got.lost ? got.lost : 1;
        }
        wherry_signals_close(signals);
    }
    hammer.over = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_ge(received, 200);
    ck_assert_uint_eq(received + own_handled, hammer.turns);
    ck_assert(disposition(SIGRTMIN).sa_handler == count_handled);
    test_ok(wherry_signal_default(SIGRTMIN));
}
