/* tests/unit/test_lock_wait.c - owns the tests of waiting for locks: deadlines, interrupts, signals, fairness.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "unit/test_lock_kit.h"

TEST(who_waits_gets_it_when_it_is_given_back)
{
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++)
        for (int block = 0; block < 2; block++) {
            struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind);
            struct waiter *waiter = new_waiter((enum wherry_lock_kind)kind, EXCLUSIVE);
            waiter->block = block;
            if (block)
                waiter->deadline = WHERRY_FOREVER;
            test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
            pid_t pid = test_fork(wait_for_it, waiter);
            test_gate_wait(&waiter->open);
            test_until_asleep(pid);
            ck_assert_int_eq(waiter->done, 0);
            wherry_time released = wherry_now();
            test_ok(wherry_lock_release(lock, 0, 0));
            test_join(pid);
            ck_assert_int_eq(waiter->result, 0);
            ck_assert_int_ge(waiter->done, released);
            wherry_lock_close(lock);
            test_gate_fini(&waiter->open);
        }
    remove_file();
}

TEST(a_deadline_ends_a_wait_and_the_holder_is_named)
{
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d (", (int)getpid());
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind);
        struct other *other = start_other();
        char name[64];
        other->kind = (enum wherry_lock_kind)kind;
        other->mode = SHARED;
        ck_assert_int_eq(ask_other(other, raw_lock), 0);
        snprintf(name, sizeof name, "pid %d (", (int)other->pid);
        wherry_time until = wherry_after(30 * WHERRY_MILLISECOND);
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, until), -ETIMEDOUT);
        ck_assert_int_ge(wherry_now(), until);
        says(name);
        says("a shared lock on all of it");
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW), -EAGAIN);
        says(name);
        test_is(wherry_lock_take(lock, EXCLUSIVE, 0, 0, 1), -ETIMEDOUT); /* long past */
        end_other(other);
        wherry_lock_close(lock);
    }
    remove_file();
}

TEST(this_process_may_stand_in_its_own_way)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD), *second = open_kind(WHERRY_LOCK_OFD);
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 5, 10, WHERRY_NOW));
    test_is(wherry_lock_take(second, EXCLUSIVE, 0, 0, WHERRY_NOW), -EAGAIN);
    says("this process, through another open file, has an exclusive lock on bytes 5 to 14");
    wherry_lock_close(lock);
    wherry_lock_close(second);
    remove_file();
}

static void *take_in_thread(void *argument)
{
    static int result;
    result = wherry_lock_take(argument, EXCLUSIVE, 0, 0, test_deadline());
    return &result;
}

TEST(an_interrupt_ends_a_wait_now_or_the_next)
{
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD), *second = open_kind(WHERRY_LOCK_OFD);
    pthread_t thread;
    void *result;
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    ck_assert_int_eq(pthread_create(&thread, NULL, take_in_thread, second), 0);
    wherry_lock_interrupt(second);
    pthread_join(thread, &result);
    ck_assert_int_eq(*(int *)result, -ECANCELED);
    test_is(wherry_lock_take(second, EXCLUSIVE, 0, 0, WHERRY_NOW), -EAGAIN); /* once */
    wherry_lock_interrupt(second);
    wherry_lock_release(lock, 0, 0);
    test_ok(wherry_lock_take(second, EXCLUSIVE, 0, 0, test_deadline())); /* nothing to wait for */
    wherry_lock_close(lock);
    wherry_lock_close(second);
    remove_file();
}

static void nothing(int number)
{
    (void)number;
}

static void be_signalled(void *argument)
{
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGUSR1, &action, NULL);
    wait_for_it(argument);
    action.sa_handler = SIG_DFL;
    sigaction(SIGUSR1, &action, NULL);
}

TEST(a_signal_ends_the_kernels_wait_and_no_other)
{
    for (int block = 0; block < 2; block++) {
        struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD);
        struct waiter *waiter = new_waiter(WHERRY_LOCK_OFD, EXCLUSIVE);
        waiter->block = block;
        waiter->deadline = block ? WHERRY_FOREVER : test_deadline();
        test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
        pid_t pid = test_fork(be_signalled, waiter);
        test_gate_wait(&waiter->open);
        for (int i = 0; i < (block ? 1 : 20); i++) {
            test_until_asleep(pid);
            kill(pid, SIGUSR1);
        }
        if (!block) { /* else it ends of the signal */
            ck_assert_int_eq(waiter->done, 0);
            test_ok(wherry_lock_release(lock, 0, 0));
        }
        test_join(pid);
        ck_assert_int_eq(waiter->result, block ? -EINTR : 0);
        wherry_lock_close(lock);
        test_gate_fini(&waiter->open);
    }
    remove_file();
}

/* ---- fairness ---- */

struct stream {
    struct test_gate ready;
    bool fair;
    _Atomic int turn; /* which reader has taken its lock last */
    _Atomic bool over;
    _Atomic long takes;
};

static struct stream *stream;

/* Two readers whose locks overlap always: each gives its own back only when the other has its next. */
static void read_in_turns(void *argument)
{
    int self = *(int *)argument;
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    options.fair = stream->fair;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    while (!stream->over) {
        while (!stream->over && stream->turn != self)
            usleep(50);
        if (wherry_lock_take(lock, SHARED, 0, 0, wherry_after(20 * WHERRY_MILLISECOND)) < 0) {
            stream->turn = 1 - self; /* the other gives its own back */
            continue;
        }
        stream->takes++;
        stream->turn = 1 - self;
        while (!stream->over && stream->turn != self)
            usleep(50);
        test_ok(wherry_lock_release(lock, 0, 0));
    }
    wherry_lock_close(lock);
}

static int writer_among_readers(bool fair, wherry_time patience)
{
    static int numbers[2] = {0, 1};
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    pid_t pids[2];
    stream = test_shared(sizeof *stream);
    stream->fair = fair;
    options.create = true;
    options.fair = fair;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    for (int i = 0; i < 2; i++)
        pids[i] = test_fork(read_in_turns, &numbers[i]);
    while (stream->takes < 10)
        usleep(1000);
    int result = wherry_lock_take(lock, EXCLUSIVE, 0, 0, wherry_after(patience));
    wherry_lock_release(lock, 0, 0);
    stream->over = true;
    for (int i = 0; i < 2; i++)
        test_join(pids[i]);
    wherry_lock_close(lock);
    remove_file();
    return result;
}

TEST(a_fair_lock_does_not_starve_writers)
{
    test_is(writer_among_readers(true, 15 * WHERRY_SECOND * test_slowness()), 0);
}

/* Without it the readers' locks overlap for ever: what the test above would look like if `fair` did nothing. */
TEST(another_lock_does)
{
    test_is(writer_among_readers(false, 300 * WHERRY_MILLISECOND), -ETIMEDOUT);
}

TEST(a_fair_holder_is_not_kept_from_more)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    struct waiter *waiter = new_waiter(WHERRY_LOCK_OFD, EXCLUSIVE);
    waiter->fair = options.fair = options.create = true;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    pid_t pid = test_fork(wait_for_it, waiter);
    test_gate_wait(&waiter->open);
    test_until_woken(pid, 3);                                       /* it holds the turnstile */
    test_ok(wherry_lock_take(lock, SHARED, 0, 0, test_deadline())); /* down, past it */
    test_ok(wherry_lock_take(lock, SHARED, 10, 5, test_deadline()));
    test_ok(wherry_lock_release(lock, 0, 0));
    test_join(pid);
    ck_assert_int_eq(waiter->result, 0);
    test_is(wherry_lock_take(lock, SHARED, INT64_MAX - 1, 1, WHERRY_NOW), -EINVAL);
    test_is(wherry_lock_take(lock, SHARED, 0, INT64_MAX, WHERRY_NOW), -EINVAL);
    wherry_lock_close(lock);
    test_gate_fini(&waiter->open);
    remove_file();
}

TEST(a_fair_writer_that_gives_up_lets_readers_by)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *reader, *writer, *late;
    options.fair = options.create = true;
    test_ok(wherry_lock_open(file_path(), &options, &reader));
    test_ok(wherry_lock_open(file_path(), &options, &writer));
    test_ok(wherry_lock_open(file_path(), &options, &late));
    test_ok(wherry_lock_take(reader, SHARED, 0, 0, WHERRY_NOW));
    test_is(wherry_lock_take(writer, EXCLUSIVE, 0, 0, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    test_ok(wherry_lock_take(late, SHARED, 0, 0, WHERRY_NOW));
    wherry_lock_close(reader);
    wherry_lock_close(writer);
    wherry_lock_close(late);
    remove_file();
}

TEST(a_fair_reader_lets_a_waiting_writer_go_first)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock, *late;
    struct waiter *waiter = new_waiter(WHERRY_LOCK_OFD, EXCLUSIVE);
    waiter->fair = options.fair = options.create = true;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    test_ok(wherry_lock_open(file_path(), &options, &late));
    test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
    pid_t pid = test_fork(wait_for_it, waiter);
    test_gate_wait(&waiter->open);
    test_until_woken(pid, 3);
    test_is(wherry_lock_take(late, SHARED, 0, 0, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    says("waits for an exclusive lock, and goes first");
    test_ok(wherry_lock_release(lock, 0, 0));
    test_join(pid);
    test_ok(wherry_lock_take(late, SHARED, 0, 0, test_deadline())); /* the turnstile is free again */
    wherry_lock_close(lock);
    wherry_lock_close(late);
    test_gate_fini(&waiter->open);
    remove_file();
}
