/* tests/unit/test_rwlock.c - owns the proof that readers read together, a writer alone, and the dead stop neither.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <wherry/rwlock.h>

#include "sync_kit.h"

struct page {
    struct wherry_rwlock lock;
    volatile long a, b; /* the same, for who holds the lock */
    _Atomic long reads, writes, together, most_together;
    _Atomic bool over;
};

static struct kit kit;
static struct test_gate ready, go;

static struct page *open_page(void)
{
    test_gate_init(&ready);
    test_gate_init(&go);
    struct page *page = kit_open(&kit);
    test_ok(wherry_rwlock_init(&page->lock));
    return page;
}

static void close_page(void)
{
    kit_close(&kit);
    test_gate_fini(&ready);
    test_gate_fini(&go);
}

static void hold(struct page *page)
{
    test_gate_open(&ready);
    test_gate_wait(&go);
    test_ok(wherry_rwlock_unlock(&page->lock));
}

static void read_on(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0);
    hold(page);
}

static void write_on(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    int result = wherry_rwlock_write(&page->lock, test_deadline());
    ck_assert(result == 0 || result == -EOWNERDEAD);
    page->a++;
    hold(page);
}

static pid_t started(void (*act)(void *))
{
    pid_t child = test_fork(act, NULL);
    test_gate_wait(&ready);
    return child;
}

static void read_now(struct page *page, int expected)
{
    test_is(wherry_rwlock_read(&page->lock, WHERRY_NOW), expected);
    if (expected == 0)
        test_ok(wherry_rwlock_unlock(&page->lock));
}

/* ---- what it is for ---- */

TEST(readers_read_together_and_a_writer_alone)
{
    struct page *page = open_page();
    pid_t first = started(read_on), second = started(read_on);
    read_now(page, 0);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), -EAGAIN);
    test_is(wherry_rwlock_write(&page->lock, kit_soon()), -ETIMEDOUT);
    read_now(page, 0); /* a writer that gave up is in nobody's way */
    test_gate_open(&go);
    test_gate_open(&go);
    test_join(first);
    test_join(second);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), 0);
    test_ok(wherry_rwlock_unlock(&page->lock));
    first = started(write_on);
    read_now(page, -EAGAIN);
    test_is(wherry_rwlock_read(&page->lock, kit_soon()), -ETIMEDOUT);
    test_is(wherry_rwlock_write(&page->lock, kit_soon()), -ETIMEDOUT);
    test_gate_open(&go);
    test_join(first);
    read_now(page, 0);
    test_ok(wherry_rwlock_fini(&page->lock));
    close_page();
}

static void work(void *argument)
{
    struct page *page = kit_again(&kit);
    unsigned random = (unsigned)(uintptr_t)argument;
    for (int i = 0; i < 5000; i++) {
        random = random * 1664525 + 1013904223;
        if (random >> 28 == 0) {
            test_is(wherry_rwlock_write(&page->lock, test_deadline()), 0);
            ck_assert_int_eq(page->together, 0);
            page->a++;
            page->b++;
            page->writes++;
        } else {
            test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0);
            page->together++;
            ck_assert_int_eq(page->a, page->b);
            page->reads++;
            page->together--;
        }
        test_ok(wherry_rwlock_unlock(&page->lock));
    }
}

TEST_WITH(h17_processes_read_and_write_at_different_addresses, .seconds = 120)
{
    struct page *page = open_page();
    pid_t children[4];
    for (uintptr_t i = 0; i < 4; i++)
        children[i] = test_fork(work, (void *)i);
    for (int i = 0; i < 4; i++)
        test_join_by(children[i], wherry_after(60 * WHERRY_SECOND));
    ck_assert_int_eq(page->reads + page->writes, 20000);
    ck_assert_int_eq(page->a, page->writes);
    test_ok(wherry_rwlock_fini(&page->lock));
    close_page();
}

static void read_for_ever(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    while (!page->over) {
        test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0);
        page->reads++;
        test_ok(wherry_rwlock_unlock(&page->lock));
    }
}

TEST(a_stream_of_readers_does_not_keep_a_writer_out)
{
    struct page *page = open_page();
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        children[i] = test_fork(read_for_ever, NULL);
    for (int i = 0; i < 50; i++) {
        test_is(wherry_rwlock_write(&page->lock, test_deadline()), 0);
        test_ok(wherry_rwlock_unlock(&page->lock));
    }
    page->over = true;
    for (int i = 0; i < 4; i++)
        test_join(children[i]);
    close_page();
}

static void write_once(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), 0);
    page->writes++;
    test_ok(wherry_rwlock_unlock(&page->lock));
}

TEST(no_reader_goes_before_a_writer_that_waits)
{
    struct page *page = open_page();
    pid_t reader = started(read_on), writer = test_fork(write_once, NULL);
    test_until_asleep(writer);
    read_now(page, -EAGAIN);
    test_is(wherry_rwlock_read(&page->lock, kit_soon()), -ETIMEDOUT);
    test_gate_open(&go);
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0);
    ck_assert_int_eq(page->writes, 1);
    test_ok(wherry_rwlock_unlock(&page->lock));
    test_join(reader);
    test_join(writer);
    close_page();
}

static void *read_in_thread(void *argument)
{
    struct page *page = argument;
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0);
    hold(page);
    return NULL;
}

static void read_once(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0);
    page->reads++;
    test_ok(wherry_rwlock_unlock(&page->lock));
}

TEST(one_reader_more_than_there_are_places_waits_for_one)
{
    struct page *page = open_page();
    pthread_t threads[WHERRY_RWLOCK_READERS];
    for (int i = 0; i < WHERRY_RWLOCK_READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_in_thread, page), 0);
        test_gate_wait(&ready);
    }
    read_now(page, -EAGAIN);
    test_is(wherry_rwlock_read(&page->lock, kit_soon()), -ETIMEDOUT);
    pid_t late = test_fork(read_once, NULL);
    test_until_asleep(late);
    ck_assert_int_eq(page->reads, 0);
    test_gate_open(&go);
    test_join(late);
    for (int i = 1; i < WHERRY_RWLOCK_READERS; i++)
        test_gate_open(&go);
    for (int i = 0; i < WHERRY_RWLOCK_READERS; i++)
        pthread_join(threads[i], NULL);
    test_ok(wherry_rwlock_fini(&page->lock));
    close_page();
}

/* ---- deaths ---- */

TEST(a_dead_reader_is_of_no_consequence)
{
    test_needs(TEST_ROBUST_LIST);
    struct page *page = open_page();
    for (int i = 0; i < 3; i++)
        test_kill(started(read_on));
    read_now(page, 0);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), 0);
    test_ok(wherry_rwlock_unlock(&page->lock));
    test_kill(started(read_on));
    test_ok(wherry_rwlock_fini(&page->lock));
    close_page();
}

TEST(h27_after_a_dead_writer_readers_are_refused_until_a_writer_has_repaired_it)
{
    test_needs(TEST_ROBUST_LIST);
    struct page *page = open_page();
    test_kill(started(write_on));
    read_now(page, -EOWNERDEAD);
    read_now(page, -EOWNERDEAD);
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), -EOWNERDEAD);
    test_ok(wherry_rwlock_unlock(&page->lock)); /* leaves it to another */
    read_now(page, -EOWNERDEAD);
    test_kill(started(write_on)); /* which dies at it */
    read_now(page, -EOWNERDEAD);
    test_is(wherry_rwlock_consistent(&page->lock), -EPERM);
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), -EOWNERDEAD);
    ck_assert_int_eq(page->a, 2);
    page->b = page->a;
    test_ok(wherry_rwlock_consistent(&page->lock));
    test_is(wherry_rwlock_consistent(&page->lock), -EINVAL);
    test_ok(wherry_rwlock_unlock(&page->lock));
    read_now(page, 0);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), 0);
    test_is(wherry_rwlock_consistent(&page->lock), -EINVAL);
    test_ok(wherry_rwlock_unlock(&page->lock));
    close_page();
}

static void be_refused(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), -EOWNERDEAD);
}

static void repair(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), -EOWNERDEAD);
    test_ok(wherry_rwlock_consistent(&page->lock));
    test_ok(wherry_rwlock_unlock(&page->lock));
}

TEST(who_waits_behind_a_writer_that_dies_learns_it)
{
    test_needs(TEST_ROBUST_LIST);
    struct page *page = open_page();
    pid_t dying = started(write_on), reader = test_fork(be_refused, NULL);
    test_until_asleep(reader);
    test_kill(dying);
    test_join(reader);
    test_join(test_fork(repair, NULL));
    dying = started(write_on);
    pid_t writer = test_fork(repair, NULL);
    test_until_asleep(writer);
    test_kill(dying);
    test_join(writer);
    read_now(page, 0);
    close_page();
}

TEST(a_writer_that_waits_gets_it_as_the_last_reader_dies)
{
    test_needs(TEST_ROBUST_LIST);
    struct page *page = open_page();
    pid_t reader = started(read_on), writer = test_fork(write_once, NULL);
    test_until_asleep(writer);
    test_kill(reader);
    test_join(writer);
    read_now(page, 0);
    close_page();
}

TEST(readers_go_on_when_a_writer_dies_that_waited)
{
    test_needs(TEST_ROBUST_LIST);
    struct page *page = open_page();
    pid_t reader = started(read_on), writer = test_fork(write_once, NULL);
    test_until_asleep(writer);
    test_kill(writer);
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), 0); /* nothing was written */
    test_ok(wherry_rwlock_unlock(&page->lock));
    test_gate_open(&go);
    test_join(reader);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), 0);
    test_ok(wherry_rwlock_unlock(&page->lock));
    close_page();
}

TEST(h20_a_stopped_writer_is_not_robbed)
{
    struct page *page = open_page();
    pid_t writer = started(write_on);
    kill(writer, SIGSTOP);
    test_is(wherry_rwlock_read(&page->lock, wherry_after(200 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    kill(writer, SIGCONT);
    test_gate_open(&go);
    test_join(writer);
    read_now(page, 0);
    close_page();
}

/* ---- what is refused ---- */

static void release_it_not(void *argument)
{
    struct page *page = argument;
    test_is(wherry_rwlock_unlock(&page->lock), -EPERM);
    test_is(wherry_rwlock_consistent(&page->lock), -EPERM);
}

TEST(a_thread_does_not_wait_for_itself)
{
    struct page *page = open_page();
    test_is(wherry_rwlock_unlock(&page->lock), -EPERM);
    test_is(wherry_rwlock_read(&page->lock, WHERRY_NOW), 0);
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), -EDEADLK);
    test_is(wherry_rwlock_fini(&page->lock), -EBUSY);
    test_join(test_fork(release_it_not, page));
    pid_t writer = test_fork(write_once, NULL);
    test_until_asleep(writer);
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), -EDEADLK);
    test_ok(wherry_rwlock_unlock(&page->lock));
    test_join(writer);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), 0);
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), -EDEADLK);
    test_is(wherry_rwlock_read(&page->lock, test_deadline()), -EDEADLK);
    test_is(wherry_rwlock_fini(&page->lock), -EBUSY);
    test_join(test_fork(release_it_not, page));
    test_ok(wherry_rwlock_unlock(&page->lock));
    test_is(wherry_rwlock_unlock(&page->lock), -EPERM);
    close_page();
}

/* Whoever reads and then wants to write holds one of the places that it would wait for; and so does another who does
 * the same at once.  It is told before it waits for that one. */
TEST(one_that_reads_is_told_at_once_that_it_cannot_write)
{
    enum { OTHERS = 20 };
    struct page *page = open_page();
    pthread_t threads[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_in_thread, page), 0);
        test_gate_wait(&ready);
    }
    test_is(wherry_rwlock_read(&page->lock, WHERRY_NOW), 0);
    wherry_time began = wherry_now();
    test_is(wherry_rwlock_write(&page->lock, test_deadline()), -EDEADLK);
    ck_assert_int_lt(wherry_now() - began, 10 * WHERRY_SECOND);
    test_ok(wherry_rwlock_unlock(&page->lock));
    for (int i = 0; i < OTHERS; i++)
        test_gate_open(&go);
    for (int i = 0; i < OTHERS; i++)
        pthread_join(threads[i], NULL);
    close_page();
}

TEST(what_is_no_lock_is_refused)
{
    struct page *page = open_page();
    test_ok(wherry_rwlock_fini(&page->lock));
    test_ok(wherry_rwlock_fini(&page->lock));
    test_ok(wherry_rwlock_fini(NULL));
    read_now(page, -EINVAL);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), -EINVAL);
    test_is(wherry_rwlock_unlock(&page->lock), -EINVAL);
    test_is(wherry_rwlock_consistent(&page->lock), -EINVAL);
    test_is(wherry_rwlock_init((struct wherry_rwlock *)((char *)page + 8)), -EINVAL);
    memset(&page->lock, 0x5a, sizeof page->lock);
    test_ok(wherry_rwlock_init(&page->lock));
    read_now(page, 0);
    close_page();
}

static void elsewhere(void *argument)
{
    struct page *page = kit_again(&kit);
    (void)argument;
    read_now(page, -EXDEV);
    test_is(wherry_rwlock_write(&page->lock, WHERRY_NOW), -EXDEV);
    test_is(wherry_rwlock_unlock(&page->lock), -EXDEV);
    test_is(wherry_rwlock_consistent(&page->lock), -EXDEV);
    test_is(wherry_rwlock_fini(&page->lock), -EXDEV);
}

TEST(h72_a_lock_of_another_pid_namespace_is_refused)
{
    test_needs(TEST_CLONE_NEWPID);
    if (!test_is_root())
        test_skip("a PID namespace needs CAP_SYS_ADMIN");
    struct page *page = open_page();
    read_now(page, 0);
    kit_elsewhere(elsewhere);
    read_now(page, 0);
    close_page();
}
