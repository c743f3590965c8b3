/* tests/unit/harness_bad.c - owns tests that must fail, one way each; test_harness.c runs it and sees that they do.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"

TEST(descriptor)
{
    ck_assert_int_ge(eventfd(0, 0), 0);
}

TEST(descriptor_closed)
{
    close(STDIN_FILENO);
}

TEST(descriptor_replaced)
{
    int fd = eventfd(0, 0);
    dup2(fd, STDIN_FILENO);
    close(fd);
}

TEST(zombie)
{
    if (fork() == 0)
        _exit(0);
    test_sleep(50 * WHERRY_MILLISECOND);
}

static void sleep_long(__attribute__((unused)) void *argument)
{
    test_sleep(3600 * WHERRY_SECOND);
}

TEST(child)
{
    test_fork(sleep_long, NULL);
}

/* Its parent ends at once, and the session of its own takes it out of the test's process group. */
static void fork_orphan(__attribute__((unused)) void *argument)
{
    if (fork() == 0) {
        setsid();
        sleep_long(NULL);
    }
}

TEST(orphan)
{
    test_join(test_fork(fork_orphan, NULL));
}

static void *wait_long(void *argument)
{
    pause();
    return argument;
}

TEST(thread)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_long, NULL), 0);
}

TEST(file)
{
    char path[256];
    ck_assert_int_eq(mkfifo(test_path(path, "left-fifo"), 0600), 0);
}

TEST(shared_memory)
{
    char name[128];
    snprintf(name, sizeof name, "/%s-segment", test_word());
    close(shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600));
}

TEST(abstract_socket_of_a_child)
{
    /* a descriptor that the test does not hold keeps the name */
    if (fork() == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s-name", test_word());
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(fd, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)length));
        pause();
    }
    test_sleep(50 * WHERRY_MILLISECOND);
}

TEST(posix_queue)
{
    char name[128];
    snprintf(name, sizeof name, "/%s-queue", test_word());
    mqd_t queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL);
    ck_assert_int_ge(queue, 0);
    mq_close(queue);
}

TEST(sysv_queue)
{
    ck_assert_int_ge(msgget(test_key(0), IPC_CREAT | 0600), 0);
}

TEST(sysv_semaphore)
{
    ck_assert_int_ge(semget(test_key(63), 1, IPC_CREAT | 0600), 0);
}

TEST(sysv_segment)
{
    ck_assert_int_ge(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), 0);
}

TEST(sysv_queue_by_ftok)
{
    char path[256];
    close(open(test_path(path, "key"), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    ck_assert_int_ge(msgget(ftok(path, 'w'), IPC_CREAT | 0600), 0);
}

TEST(signal_disposition)
{
    signal(SIGPIPE, SIG_IGN);
}

TEST(signal_mask)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* seen on sanitized builds only */
TEST(memory)
{
    void *volatile lost = malloc(77);
    ck_assert_ptr_nonnull(lost);
    lost = NULL;
}

TEST(assertion)
{
    ck_assert_int_eq(1 + 1, 3);
}

TEST(assertion_of_wherry_call)
{
    test_ok(-EPIPE);
}

static void fail(__attribute__((unused)) void *argument)
{
    ck_abort_msg("the child says no");
}

TEST(assertion_in_a_child)
{
    test_join(test_fork(fail, NULL));
}

TEST(gate_shut_by_a_failed_child)
{
    struct test_gate gate;
    test_gate_init(&gate);
    test_fork(fail, NULL);
    test_gate_wait(&gate);
}

TEST(wait_for_a_failed_child)
{
    test_fork(fail, NULL);
    test_until(getpid() == 0, "the test waited on");
}

TEST(failed_child_that_is_reaped)
{
    test_fork(fail, NULL);
    test_until_childless("the test");
}

TEST(wait_in_vain)
{
    test__patience = 10 * WHERRY_MILLISECOND;
    test_until(getpid() == 0, "it did not come about in %d ms", 10);
}

TEST_WITH(child_that_lives_on, .leaves = TEST_LEAVES_PROCESSES)
{
    test__patience = 10 * WHERRY_MILLISECOND;
    test_fork(sleep_long, NULL);
    test_until_childless("at the %s", "end");
}

static void get_killed(__attribute__((unused)) void *argument)
{
    raise(SIGKILL);
}

TEST(child_killed)
{
    test_join(test_fork(get_killed, NULL));
}

TEST(child_too_slow)
{
    test_join_by(test_fork(sleep_long, NULL), WHERRY_NOW);
}

static void sleep_on(__attribute__((unused)) void *argument)
{
    for (;;)
        pause();
}

TEST_WITH(child_that_sleeps_on, .leaves = TEST_LEAVES_PROCESSES)
{
    pid_t child = test_fork(sleep_on, NULL);
    test_until_asleep(child);
    test_until_woken(child, 1);
}

TEST(crash)
{
    raise(SIGSEGV);
}

TEST_WITH(too_slow, .seconds = 1)
{
    test_sleep(3600 * WHERRY_SECOND);
}

TEST(skipped)
{
    test_skip("no %s here", "sea");
}

static size_t entries(void)
{
    return 3;
}

static const char *entry_name(size_t index)
{
    static const char *const names[] = {"first", "second", "third"};
    return names[index];
}

TEST_EACH(entry, entries, entry_name)
{
    ck_assert_uint_ne(index, 1);
}
