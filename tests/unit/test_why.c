/* tests/unit/test_why.c - owns the tests of base/why.c: the sentence belongs to the thread, and to failures.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wherry/base.h>

#include "base/why.h"
#include "harness.h"
#include "unit/objects.h"

TEST(nothing_failed_yet)
{
    ck_assert_str_eq(wherry_why(), "");
}

TEST(the_version_is_that_of_the_headers)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", WHERRY_VERSION_MAJOR, WHERRY_VERSION_MINOR, WHERRY_VERSION_PATCH);
    ck_assert_str_eq(wherry_version(), version);
}

TEST(failures_say_why)
{
    ck_assert_int_eq(wherry__fail(EPIPE, "%s: number %d", "fifo:x", 7), -EPIPE);
    ck_assert_str_eq(wherry_why(), "fifo:x: number 7");
    ck_assert_int_eq(wherry__fail(EAGAIN, "again: %s", wherry_why()), -EAGAIN); /* its own text as an argument */
    ck_assert_str_eq(wherry_why(), "again: fifo:x: number 7");
    ck_assert_int_eq(wherry__fail_quietly(ETIMEDOUT, "quietly"), -ETIMEDOUT);
    ck_assert_str_eq(wherry_why(), "quietly");
    ck_assert_int_eq(wherry__fail_errno(ENOSPC, "%s", "disk"), -ENOSPC);
    ck_assert_str_eq(wherry_why(), "disk: No space left on device");
    ck_assert_int_eq(wherry__fail_errno(4095, "odd"), -4095);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "4095"));
}

TEST(long_sentences_are_cut)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    wherry__fail(EINVAL, "%s", text);
    ck_assert_uint_gt(strlen(wherry_why()), 500);
    ck_assert_uint_lt(strlen(wherry_why()), sizeof text - 1);
    wherry__fail_errno(EINVAL, "%s", text); /* the reason of the kernel is not cut off */
    ck_assert_ptr_nonnull(strstr(wherry_why(), ": Invalid argument"));
}

TEST(processes_are_named)
{
    char buffer[64], wanted[64], comm[32] = "";
    FILE *file = fopen("/proc/self/comm", "re");
    ck_assert_ptr_nonnull(fgets(comm, sizeof comm, file));
    fclose(file);
    comm[strcspn(comm, "\n")] = '\0';
    snprintf(wanted, sizeof wanted, "pid %d (%s)", (int)getpid(), comm);
    ck_assert_str_eq(wherry__process_name(getpid(), buffer), wanted);
    ck_assert_str_eq(wherry__process_name(0, buffer), "another process");
    ck_assert_str_eq(wherry__process_name(-3, buffer), "another process");
    ck_assert_str_eq(wherry__process_name(0x3fffffff, buffer), "pid 1073741823");
}

static void *fail_often(void *argument)
{
    char wanted[64];
    if (wherry_why()[0])
        return (void *)(uintptr_t)"a new thread begins with another's sentence";
    for (int i = 0; i < 20000; i++) {
        snprintf(wanted, sizeof wanted, "thread %s, failure %d", (const char *)argument, i);
        wherry__fail(EIO, "thread %s, failure %d", (const char *)argument, i);
        if (strcmp(wherry_why(), wanted) != 0)
            return (void *)(uintptr_t)"the sentence is not this thread's";
    }
    return NULL;
}

TEST(threads_have_sentences_of_their_own)
{
    static const char *const names[] = {"one", "two", "three", "four"};
    pthread_t threads[4];
    wherry__fail(EIO, "the first thread's");
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, fail_often, (void *)(uintptr_t)names[i]);
    for (int i = 0; i < 4; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        ck_assert_msg(problem == NULL, "%s", (const char *)problem);
    }
    ck_assert_str_eq(wherry_why(), "the first thread's");
}

/* ---- a call that succeeds leaves it ---- */

static const char before[] = "what failed before";

static void is_left(const char *where)
{
    ck_assert_msg(strcmp(wherry_why(), before) == 0, "%s: \"%s\"", where, wherry_why());
}

static void use_segments(void)
{
    const char *const names[] = {posix_name("posix-shm"), sysv_name("sysv-shm"), NULL};
    for (size_t i = 0; i < 3; i++) {
        struct wherry_segment *made = NULL, *opened = NULL;
        test_ok(wherry_segment_create(names[i], 64, NULL, &made));
        is_left("create");
        if (names[i])
            test_ok(wherry_segment_publish(made));
        if (names[i])
            test_ok(wherry_segment_open(names[i], NULL, WHERRY_NOW, &opened));
        is_left("open");
        wherry_segment_close(opened);
        wherry_segment_close(made);
        is_left("close");
        if (names[i])
            test_ok(wherry_segment_remove(names[i]));
    }
}

static void use_semaphores(void)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore_set_options set_options = WHERRY_SEMAPHORE_SET_OPTIONS;
    const char *name = posix_name("posix-sem"), *set_name = sysv_name("sysv-sem");
    options.create = set_options.create = true;
    for (int i = 0; i < 2; i++) {
        struct wherry_semaphore *semaphore;
        struct wherry_semaphore_set *set;
        test_ok(wherry_semaphore_open(name, &options, WHERRY_NOW, &semaphore));
        is_left("semaphore");
        wherry_semaphore_close(semaphore);
        test_ok(wherry_semaphore_set_open(set_name, 2, &set_options, WHERRY_NOW, &set));
        is_left("set");
        wherry_semaphore_set_close(set);
    }
    test_ok(wherry_semaphore_remove(name));
    test_ok(wherry_semaphore_set_remove(set_name));
}

static void use_files(void)
{
    struct wherry_lock_options lock_options = WHERRY_LOCK_OPTIONS;
    struct wherry_map_options map_options = WHERRY_MAP_OPTIONS;
    char lock_path[200], map_path[200];
    test_path(lock_path, "lock");
    test_path(map_path, "map");
    lock_options.create = map_options.create = map_options.write = true;
    map_options.file_size = 100;
    for (int i = 0; i < 2; i++) {
        struct wherry_lock *lock;
        struct wherry_map *map;
        test_ok(wherry_lock_open(lock_path, &lock_options, &lock));
        is_left("lock");
        test_ok(wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW));
        wherry_lock_close(lock);
        test_ok(wherry_map_open(map_path, &map_options, &map));
        is_left("map");
        wherry_map_close(map);
        is_left("close");
    }
    unlink(lock_path);
    unlink(map_path);
}

static void use_queues(void)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    const char *const names[] = {posix_name("posix-mq"), sysv_name("sysv-msg")};
    options.create = true;
    for (size_t i = 0; i < 4; i++) {
        struct wherry_queue *queue;
        test_ok(wherry_queue_open(names[i % 2], &options, WHERRY_NOW, &queue));
        is_left("queue");
        wherry_queue_close(queue);
    }
    for (size_t i = 0; i < 2; i++)
        test_ok(wherry_queue_remove(names[i]));
}

static void use_channels(void)
{
    char urls[5][300];
    struct wherry_channel *channel, *pair[2];
    snprintf(urls[0], sizeof urls[0], "shm://%.100s", test_word());
    snprintf(urls[1], sizeof urls[1], "unix:%s/socket", test_dir());
    snprintf(urls[2], sizeof urls[2], "fifo:%s/fifo", test_dir());
    snprintf(urls[3], sizeof urls[3], "tcp://127.0.0.1:0");
    snprintf(urls[4], sizeof urls[4], "file:%s/log", test_dir());
    for (size_t i = 0; i < 5; i++) {
        test_ok(wherry_channel_open(urls[i], WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
        is_left(urls[i]);
        test_ok(wherry_channel_close(channel, WHERRY_NOW));
    }
    test_ok(wherry_channel_pair("pipe:", NULL, pair));
    is_left("pair");
    test_ok(wherry_channel_close(pair[1], WHERRY_NOW));
    test_ok(wherry_channel_close(pair[0], WHERRY_NOW));
    unlink(strchr(urls[4], ':') + 1);
}

static void (*const uses[])(void) = {use_segments, use_semaphores, use_files, use_queues, use_channels};

TEST(a_call_that_succeeds_leaves_it)
{
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        wherry__fail(EIO, "%s", before);
        uses[i]();
        is_left("in the end");
        wherry__fail_quietly(EIO, before); /* a constant */
        uses[i]();
        ck_assert_ptr_eq(wherry_why(), before);
    }
}

TEST(a_call_that_fails_in_the_end_says_its_own)
{
    struct wherry_segment *segment;
    wherry__fail(EIO, "%s", before);
    test_is(wherry_segment_open(posix_name("posix-shm"), NULL, WHERRY_NOW, &segment), -EAGAIN);
    says("there is none");
}
