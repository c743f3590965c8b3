/* tests/unit/test_why.c - owns the tests of base/why.c: the sentence belongs to the thread.
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
