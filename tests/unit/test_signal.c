/* tests/unit/test_signal.c - owns the tests of names, of sending, of what is pending, ignored and default.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "unit/signal_kit.h"

/* ---- names ---- */

TEST(every_signal_has_a_name_that_leads_back_to_it)
{
    char name[WHERRY_SIGNAL_NAME], lower[WHERRY_SIGNAL_NAME];
    int known = 0;
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (number >= 32 && number < SIGRTMIN)
            continue;
        ck_assert_ptr_eq(wherry_signal_name(number, name, sizeof name), name);
        ck_assert_msg(strncmp(name, "SIG", 3) == 0, "%d is %s", number, name);
        ck_assert_int_eq(wherry_signal_number(name), number);
        ck_assert_int_eq(wherry_signal_number(name + 3), number);
        for (size_t i = 0; i < sizeof name; i++)
            lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
        ck_assert_int_eq(wherry_signal_number(lower), number);
        snprintf(lower, sizeof lower, "%d", number);
        ck_assert_int_eq(wherry_signal_number(lower), number);
        known++;
    }
    ck_assert_int_eq(known, 31 + SIGRTMAX - SIGRTMIN + 1);
}

static const struct {
    const char *name;
    int offset; /* from SIGRTMIN, or -errno, or a number */
    bool real_time;
} texts[] = {
    {"RTMIN", 0, true},           {"SIGRTMIN+7", 7, true},
    {"rtmin+30", 30, true},       {"RTMAX-30", 0, true},
    {"SIGIOT", SIGABRT, false},   {"POLL", SIGIO, false},
    {"CLD", SIGCHLD, false},      {"0", 0, false},
    {"", -EINVAL, false},         {"SIG", -EINVAL, false},
    {"TERMS", -EINVAL, false},    {"32", -EINVAL, false},
    {"65", -EINVAL, false},       {"-1", -EINVAL, false},
    {"15 ", -EINVAL, false},      {"1e1", -EINVAL, false},
    {"RTMIN+31", -EINVAL, false}, {"RTMIN-1", -EINVAL, false},
    {"RTMAX+1", -EINVAL, false},  {"RTMIN+", -EINVAL, false},
    {"RTMIN7", -EINVAL, false},   {"99999999999999999999", -EINVAL, false},
};

TEST_TABLE(texts_are_read_as_kill_reads_them_and_no_further, texts)
{
    test_is(wherry_signal_number(texts[index].name), texts[index].offset + (texts[index].real_time ? SIGRTMIN : 0));
}

TEST(a_name_that_has_no_room_is_cut_and_none_is_a_number)
{
    char name[8] = "xxxxxxx";
    ck_assert_str_eq(wherry_signal_name(SIGVTALRM, name, 6), "SIGVT");
    ck_assert_int_eq(name[6], 'x');
    wherry_signal_name(SIGVTALRM, name, 0);
    ck_assert_str_eq(name, "SIGVT");
    char long_name[WHERRY_SIGNAL_NAME];
    ck_assert_str_eq(wherry_signal_name(-2147483647 - 1, long_name, sizeof long_name), "signal -2147483648");
    ck_assert_str_eq(wherry_signal_name(33, long_name, sizeof long_name), "signal 33");
    test_is(wherry_signal_number(NULL), -EINVAL);
}

/* ---- pending, ignored, default ---- */

TEST(what_is_pending_is_listed_and_stays)
{
    int numbers[4] = {-1, -1, -1, -1};
    test_is(wherry_signals_pending(numbers, 4), 0);
    struct wherry_signals *signals = kit_open(false, SIGUSR2, SIGRTMIN + 3);
    test_ok(wherry_signal_send(getpid(), SIGRTMIN + 3, NULL));
    test_ok(wherry_signal_send_thread(getpid(), gettid(), SIGUSR2, NULL));
    test_is(wherry_signals_pending(NULL, 0), 2);
    test_is(wherry_signals_pending(numbers, 1), 2);
    ck_assert(numbers[0] == SIGUSR2 && numbers[1] == -1);
    test_is(wherry_signals_pending(numbers, 4), 2);
    ck_assert(numbers[0] == SIGUSR2 && numbers[1] == SIGRTMIN + 3 && numbers[2] == -1);
    kit_next(signals, SIGUSR2);
    kit_next(signals, SIGRTMIN + 3);
    test_is(wherry_signals_pending(numbers, 4), 0);
    wherry_signals_close(signals);
}

static void ignore_and_restore(void *argument)
{
    (void)argument;
    test_ok(wherry_signal_ignore(SIGTERM));
    test_ok(wherry_signal_send(getpid(), SIGTERM, NULL)); /* and we live */
    test_ok(wherry_signal_default(SIGTERM));
    test_ok(wherry_signal_send(getpid(), SIGTERM, NULL));
}

TEST(what_is_ignored_has_no_effect_and_what_is_default_has_it_again)
{
    test_join_signal(test_fork(ignore_and_restore, NULL), SIGTERM);
}

TEST(the_dispositions_of_sigkill_and_sigstop_are_refused)
{
    test_is(wherry_signal_ignore(SIGKILL), -EINVAL);
    kit_says("SIGKILL");
    test_is(wherry_signal_default(SIGSTOP), -EINVAL);
    test_is(wherry_signal_ignore(33), -EINVAL);
    test_is(wherry_signal_ignore(0), -EINVAL);
}

/* ---- sending ---- */

/* A child that receives SIGUSR1 and two real-time ones, passes when the first comes, and writes the value down. */
static struct told {
    struct test_gate ready;
    struct wherry_signal got;
    pid_t tid;
} * told;

static void receive_one(void *argument)
{
    int numbers[] = {SIGUSR1, SIGRTMIN, SIGRTMIN + 1};
    struct wherry_signals *signals = NULL;
    (void)argument;
    test_ok(wherry_signals_open(numbers, 3, NULL, &signals));
    test_gate_open(&told->ready);
    test_is(wherry_signals_receive(signals, &told->got, test_deadline()), 1);
    wherry_signals_close(signals);
}

static pid_t receiver(void)
{
    told = test_shared(sizeof *told);
    test_gate_init(&told->ready);
    pid_t child = test_fork(receive_one, NULL);
    test_gate_wait(&told->ready);
    test_gate_fini(&told->ready);
    return child;
}

TEST(h62_a_pidfd_reaches_its_process_and_no_other)
{
    test_needs(TEST_PIDFD_VALUES);
    int64_t value = INT64_C(0x1122334455667788);
    pid_t child = receiver();
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    test_ok(wherry_signal_send_fd(pidfd, 0, NULL));
    test_ok(wherry_signal_send_fd(pidfd, SIGRTMIN, &value));
    test_join(child);
    ck_assert_int_eq(told->got.value, value);
    ck_assert_int_eq(told->got.pid, getpid());
    test_is(wherry_signal_send_fd(pidfd, SIGRTMIN, &value), -ESRCH);
    test_is(wherry_signal_send_fd(pidfd, SIGKILL, NULL), -ESRCH);
    kit_says("no such process");
    close(pidfd);
    test_is(wherry_signal_send_fd(pidfd, SIGTERM, NULL), -EBADF);
    test_is(wherry_signal_send_fd(STDIN_FILENO, SIGTERM, NULL), -EBADF);
    kit_says("no pidfd");
}

TEST(a_pidfd_without_a_value_has_a_sender_vouched_for)
{
    pid_t child = receiver();
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    test_ok(wherry_signal_send_fd(pidfd, SIGUSR1, NULL));
    test_join(child);
    ck_assert(told->got.vouched && told->got.pid == getpid() && !told->got.has_value);
    close(pidfd);
}

static void *receive_in_thread(void *argument)
{
    struct wherry_signals *signals = argument;
    told->tid = gettid();
    test_gate_open(&told->ready);
    if (wherry_signals_receive(signals, &told->got, test_deadline()) != 1)
        told->got.number = -1;
    return NULL;
}

TEST(a_thread_gets_what_is_sent_to_it_and_no_other_thread_does)
{
    int64_t value = 77;
    struct wherry_signals *signals = kit_open(false, SIGRTMIN, SIGUSR1);
    struct wherry_signal none;
    pthread_t thread;
    told = test_shared(sizeof *told);
    test_gate_init(&told->ready);
    ck_assert_int_eq(pthread_create(&thread, NULL, receive_in_thread, signals), 0);
    test_gate_wait(&told->ready);
    test_ok(wherry_signal_send_thread(getpid(), gettid(), SIGUSR1, NULL)); /* ours */
    test_ok(wherry_signal_send_thread(getpid(), told->tid, SIGRTMIN, &value));
    pthread_join(thread, NULL);
    ck_assert_int_eq(told->got.number, SIGRTMIN);
    ck_assert_int_eq(told->got.value, 77);
    kit_next(signals, SIGUSR1);
    test_is(wherry_signals_receive(signals, &none, WHERRY_NOW), -EAGAIN);
    /* it is joined before it leaves the kernel's lists */
    test_until(wherry_signal_send_thread(getpid(), told->tid, SIGUSR1, NULL) == -ESRCH, "the thread is there still");
    kit_says("no such thread");
    test_is(wherry_signal_send_thread(getpid(), 1, SIGUSR1, &value), -ESRCH); /* another process's */
    test_is(wherry_signal_send_thread(getpid(), 0, SIGUSR1, NULL), -EINVAL);
    test_is(wherry_signal_send_thread(-1, 1, SIGUSR1, NULL), -EINVAL);
    test_gate_fini(&told->ready);
    wherry_signals_close(signals);
}

/* ---- groups ---- */

static void sleep_in_group(void *group)
{
    ck_assert_int_eq(setpgid(0, *(pid_t *)group), 0);
    test_gate_open(&told->ready);
    for (;;)
        pause();
}

TEST(a_group_gets_it_as_a_whole_and_nobody_else)
{
    pid_t group = 0;
    told = test_shared(sizeof *told);
    test_gate_init(&told->ready);
    pid_t first = test_fork(sleep_in_group, &group);
    test_gate_wait(&told->ready);
    group = first;
    pid_t second = test_fork(sleep_in_group, &group);
    test_gate_wait(&told->ready);
    test_ok(wherry_signal_send_group(group, 0));
    test_ok(wherry_signal_send_group(group, SIGTERM));
    test_join_signal(first, SIGTERM);
    test_join_signal(second, SIGTERM);
    test_is(wherry_signal_send_group(group, SIGTERM), -ESRCH);
    kit_says("process group");
    test_gate_fini(&told->ready);
}

TEST(one_s_own_group_includes_oneself)
{
    struct wherry_signals *signals = kit_open(false, SIGUSR1, 0);
    test_ok(wherry_signal_send_group(getpgrp(), SIGUSR1));
    ck_assert_int_eq(kit_next(signals, SIGUSR1).pid, getpid());
    wherry_signals_close(signals);
}

/* kill(-1) goes to all processes, kill(0) to the caller's group: nothing of that may reach the kernel. */
static int sent;
static pid_t sent_to = -7;
static int count_kill(pid_t pid, int number)
{
    (void)number;
    sent_to = pid;
    sent++;
    return 0;
}

TEST(numbers_that_kill_takes_for_many_are_refused)
{
    int (*real)(pid_t, int) = wherry__sys.kill;
    wherry__sys.kill = count_kill;
    test_is(wherry_signal_send(0, SIGTERM, NULL), -EINVAL);
    test_is(wherry_signal_send(-1, SIGTERM, NULL), -EINVAL);
    test_is(wherry_signal_send(-getpgrp(), SIGTERM, NULL), -EINVAL);
    kit_says("wherry_signal_send_group");
    test_is(wherry_signal_send_group(1, SIGTERM), -EINVAL);
    test_is(wherry_signal_send_group(0, SIGTERM), -EINVAL);
    test_is(wherry_signal_send_group(-1, SIGTERM), -EINVAL);
    test_is(wherry_signal_send_group(-2147483647 - 1, SIGTERM), -EINVAL);
    ck_assert_int_eq(sent, 0);
    test_ok(wherry_signal_send_group(getpgrp(), SIGTERM)); /* which may be 1, in a container */
    ck_assert_int_eq(sent_to, 0);
    test_ok(wherry_signal_send_group(12345, SIGTERM));
    ck_assert_int_eq(sent_to, -12345);
    wherry__sys.kill = real;
}

/* ---- errors ---- */

TEST(signals_that_are_none_are_refused)
{
    int64_t value = 1;
    static const int numbers[] = {-1, 32, 33, 65, 1000};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        test_is(wherry_signal_send(getpid(), numbers[i], NULL), -EINVAL);
        test_is(wherry_signal_send(getpid(), numbers[i], &value), -EINVAL);
        test_is(wherry_signal_send_fd(-1, numbers[i], NULL), -EINVAL);
        test_is(wherry_signal_send_thread(getpid(), gettid(), numbers[i], NULL), -EINVAL);
        test_is(wherry_signal_send_group(getpgrp(), numbers[i]), -EINVAL);
    }
    test_is(wherry_signal_send(getpid(), 0, &value), -EINVAL);
    test_ok(wherry_signal_send(getpid(), 0, NULL));
}

TEST(a_process_that_is_gone_is_esrch)
{
    int64_t value = 1;
    pid_t child = receiver();
    test_ok(wherry_signal_send(child, SIGUSR1, NULL));
    test_join(child);
    test_is(wherry_signal_send(child, SIGTERM, NULL), -ESRCH);
    kit_says("no such process");
    test_is(wherry_signal_send(child, SIGRTMIN, &value), -ESRCH);
}

static void send_as_nobody(void *parent)
{
    int64_t value = 1;
    pid_t pid = *(pid_t *)parent;
    char who[32];
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(who, sizeof who, "pid %d (", pid);
    ck_assert(test_become_nobody());
    test_is(wherry_signal_send(pid, SIGTERM, NULL), -EPERM);
    kit_says(who);
    kit_says("belongs to uid 0");
    kit_says("uid 65534");
    test_is(wherry_signal_send(pid, SIGRTMIN, &value), -EPERM);
    test_is(wherry_signal_send_fd(pidfd, SIGTERM, NULL), -EPERM);
    kit_says(who);
    kit_says("belongs to uid 0");
    test_is(wherry_signal_send_thread(pid, pid, SIGTERM, NULL), -EPERM);
    kit_says("belongs to uid 0");
    ck_assert_int_eq(setpgid(0, 0), 0); /* out of the group, or it would be sent to one of its members at least */
    test_is(wherry_signal_send_group(pid, 0), -EPERM);
    kit_says("process group");
    close(pidfd);
}

TEST(another_user_s_process_is_eperm_and_whose_it_is)
{
    pid_t self = getpid();
    if (!test_is_root())
        test_skip("only root can become another user");
    ck_assert_int_eq(setpgid(0, 0), 0);
    test_join(test_fork(send_as_nobody, &self));
}

static int send_to_thread(int64_t *value)
{
    return wherry_signal_send_thread(getpid(), gettid(), SIGRTMIN, value);
}

static int send_to_process(int64_t *value)
{
    return wherry_signal_send(getpid(), SIGRTMIN, value);
}

static int send_to_pidfd(int64_t *value)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    int result = wherry_signal_send_fd(pidfd, SIGRTMIN, value);
    close(pidfd);
    return result;
}

/* Send until there is no room: what others of this user have in the queue comes and goes meanwhile, so that there may
 * be some again behind each call that found none.  How many went in. */
static int64_t fill_queue(int (*send)(int64_t *value), rlim_t most)
{
    int64_t count = 0;
    int result;
    while ((result = send(&count)) == 0 && (rlim_t)count <= most)
        count++;
    test_is(result, -EAGAIN);
    return count;
}

TEST(h58_a_full_queue_is_eagain_with_the_limit_in_it)
{
    test_needs(TEST_PIDFD_VALUES);
    char limit[32];
    int64_t value = 4711;
    rlim_t most = kit_limit_queue(10);
    snprintf(limit, sizeof limit, "of %lu ", (unsigned long)most);
    struct wherry_signals *signals = kit_open(false, SIGRTMIN, SIGUSR1);
    int64_t to_process = fill_queue(send_to_process, most);
    kit_says("RLIMIT_SIGPENDING");
    kit_says(limit);
    kit_says("pid ");
    int64_t to_thread = fill_queue(send_to_thread, most);
    int64_t to_pidfd = fill_queue(send_to_pidfd, most);
    kit_says(limit);
    /* a standard one without a value always arrives */
    test_ok(wherry_signal_send(getpid(), SIGUSR1, NULL));
    kit_next(signals, SIGUSR1);
    for (int64_t i = 0; i < to_thread; i++) /* which come first */
        ck_assert_int_eq(kit_next(signals, SIGRTMIN).value, i);
    for (int64_t i = 0; i < to_process + to_pidfd; i++)
        ck_assert_int_eq(kit_next(signals, SIGRTMIN).value, i < to_process ? i : i - to_process);
    kit_unlimit_queue(); /* what others have in it grows and shrinks meanwhile */
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, &value));
    ck_assert_int_eq(kit_next(signals, SIGRTMIN).value, value);
    wherry_signals_close(signals);
}

/* What the kernel cannot note down any more arrives, without its sender: that is not made one up. */
TEST(h58_a_real_time_signal_without_room_has_no_sender)
{
    struct rlimit limit, none;
    int64_t value = 1;
    struct wherry_signals *signals = kit_open(false, SIGRTMIN, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &none), 0);
    test_is(wherry_signal_send(getpid(), SIGRTMIN, &value), -EAGAIN);
    test_ok(wherry_signal_send(getpid(), SIGRTMIN, NULL));
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0); /* Check makes timers, which count, too */
    struct wherry_signal got = kit_next(signals, SIGRTMIN);
    ck_assert(!got.has_sender && !got.vouched && !got.has_value);
    wherry_signals_close(signals);
}
