/* tests/unit/test_harness.c - owns the proof that the harness catches what it promises to, and lets the rest pass.
 *
 * SPDX-License-Identifier: MIT
 *
 * harness_bad holds one test for each way to fail; each must be "not ok", with the reason beside it, and leave nothing
 * on the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* Run harness_bad with one argument; its TAP goes into `output`.  Returns its exit status. */
static int run_bad(const char *argument, char *output, size_t capacity)
{
    char path[256];
    const char *program = test_program("harness-bad");
    test_path(path, "output");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        /* its directories come into this test's, where what it forgets is seen */
        setenv("TMPDIR", test_dir(), 1);
        int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl(program, program, argument, (char *)NULL);
        _exit(127);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    output[fread(output, 1, capacity - 1, file)] = '\0';
    fclose(file);
    unlink(path);
    ck_assert_msg(WIFEXITED(status), "harness_bad died of signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

struct bad {
    const char *name;   /* of the test in harness_bad */
    const char *reason; /* what its line of TAP must say */
};

static const struct bad bad[] = {
    {"descriptor", "(anon_inode:[eventfd])"},
    {"descriptor_closed", "descriptor 0, which it did not open, closed"},
    {"descriptor_replaced", "in the place of another"},
    {"zombie", "ended but not waited for"},
    {"child", "running"},
    {"orphan", "running"},
    {"thread", "1 thread(s)"},
    {"file", "file left-fifo"},
    {"shared_memory", "-segment"},
    {"abstract_socket_of_a_child", "-name"},
    {"posix_queue", "POSIX message queue /"},
    {"sysv_queue", "sysv-msg 0x77"},
    {"sysv_semaphore", "sysv-sem 0x77"},
    {"sysv_segment", "sysv-shm 0x00000000"},
    {"sysv_queue_by_ftok", "sysv-msg 0x77"},
    {"signal_disposition", "another disposition of signal 13"},
    {"signal_mask", "signal 13 (Broken pipe) blocked"},
#if TEST_SANITIZED
    {"memory", "a sanitizer ended the test"},
#endif
    {"assertion", "1 + 1 == 2, 3 == 3"},
    {"assertion_of_wherry_call", "-EPIPE gave -EPIPE, not success"},
    {"assertion_in_a_child", "the child says no"},
    {"gate_shut_by_a_failed_child", "the child says no"},
    {"wait_for_a_failed_child", "the child says no"},
    {"failed_child_that_is_reaped", "the child says no"},
    {"wait_in_vain", "it did not come about in 10 ms"},
    {"child_that_lives_on", "at the end: process"},
    {"child_killed", "was killed by signal 9"},
    {"child_too_slow", "had not ended by its deadline"},
    {"child_that_sleeps_on", "which was to wake up, sleeps on"},
    {"crash", "signal 11"},
    {"too_slow", "timeout expired"},
};

TEST_TABLE(bad_test_fails, bad)
{
    const struct bad *wanted = &bad[index];
    char output[16384], line[128];
    if (strcmp(wanted->name, "orphan") == 0)
        test_needs(TEST_SUBREAPER);
    int status = run_bad(wanted->name, output, sizeof output);
    if (strcmp(wanted->name, "posix_queue") == 0 && strstr(output, "queues not seen") != NULL)
        test_skip("POSIX message queues are not listed here: without CAP_SYS_ADMIN that needs /dev/mqueue");
    ck_assert_msg(status == 1, "exit status %d:\n%s", status, output);
    snprintf(line, sizeof line, " - %s\n", wanted->name);
    char *place = strstr(output, line); /* the argument is a part of a name: others may have run too */
    ck_assert_msg(place != NULL, "no line for it:\n%s", output);
    while (place > output && place[-1] != '\n')
        place--;
    ck_assert_msg(strncmp(place, "not ok", 6) == 0, "it passed:\n%s", output);
    char *end = strstr(place, "\nok ");
    char *next = strstr(place, "\nnot ok ");
    if (next != NULL && (end == NULL || next < end))
        end = next;
    if (end != NULL)
        *end = '\0';
    /* a sanitizer reports a crash in its own way */
    if (strcmp(wanted->name, "crash") == 0 && TEST_SANITIZED)
        ck_assert_msg(strstr(place, "sanitizer") != NULL, "no reason given:\n%s", place);
    else
        ck_assert_msg(strstr(place, wanted->reason) != NULL, "\"%s\" is not among the reasons:\n%s", wanted->reason,
                      place);
}

TEST(entries_are_cases_with_names)
{
    char output[16384];
    ck_assert_int_eq(run_bad("entry[", output, sizeof output), 1);
    ck_assert_str_eq(strtok(output, "\n"), "1..3");
    strtok(NULL, "\n");
    ck_assert_str_eq(strtok(NULL, "\n"), "ok 1 - entry[first]");
    ck_assert_str_eq(strtok(NULL, "\n"), "not ok 2 - entry[second]");
    char *line = strtok(NULL, "\n");
    ck_assert_msg(strncmp(line, "# tests/unit/harness_bad.c:", 27) == 0, "%s", line);
    ck_assert_str_eq(strtok(NULL, "\n"), "ok 3 - entry[third]");
}

TEST(a_skip_shows_its_reason)
{
    char output[1024];
    ck_assert_int_eq(run_bad("skipped", output, sizeof output), 0);
    ck_assert_ptr_nonnull(strstr(output, "ok 1 - skipped # SKIP no sea here\n"));
}

TEST(a_name_that_matches_nothing_is_an_error)
{
    char output[1024];
    ck_assert_int_eq(run_bad("no such test", output, sizeof output), 2);
    ck_assert_ptr_nonnull(strstr(output, "Bail out!"));
}

TEST(parts_share_the_cases)
{
    char output[16384];
    ck_assert_int_eq(run_bad("--part=1/1000", output, sizeof output), 1);
    ck_assert_msg(strncmp(output, "1..1\n", 5) == 0 && strstr(output, "not ok 1 - descriptor\n") != NULL, "%s", output);
    ck_assert_int_eq(run_bad("--part=1001/1000", output, sizeof output), 2);
}

TEST(list_names_each_case)
{
    char output[16384];
    ck_assert_int_eq(run_bad("--list", output, sizeof output), 0);
    ck_assert_ptr_nonnull(strstr(output, "descriptor\n"));
    ck_assert_ptr_nonnull(strstr(output, "entry[second]\n"));
    ck_assert_ptr_null(strstr(output, "1.."));
}

/* ---- what must pass -------------------------------------------------------------------------------------------- */

TEST(directory_is_private_and_empty)
{
    struct stat status;
    ck_assert_int_eq(stat(test_dir(), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0700);
    ck_assert_uint_eq(status.st_uid, geteuid());
    DIR *entries = opendir(test_dir());
    size_t count = 0;
    while (readdir(entries) != NULL)
        count++;
    closedir(entries);
    ck_assert_uint_eq(count, 2);
}

TEST_WITH(what_is_left_on_purpose_is_removed, .leaves = TEST_LEAVES_FILES)
{
    char path[256];
    ck_assert_int_eq(mkdir(test_path(path, "directory"), 0700), 0);
    close(open(test_path(path, "directory/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_int_eq(chmod(test_path(path, "directory"), 0), 0);
}

struct turns {
    struct test_gate there, back;
};

static void answer(void *argument)
{
    struct turns *turns = argument;
    for (int i = 0; i < 10; i++) {
        test_gate_wait(&turns->there);
        test_gate_open(&turns->back);
    }
}

TEST(gates_pass_once_for_each_opening)
{
    struct turns turns;
    test_gate_init(&turns.there);
    test_gate_init(&turns.back);
    pid_t child = test_fork(answer, &turns);
    for (int i = 0; i < 10; i++) {
        test_gate_open(&turns.there);
        test_gate_wait(&turns.back);
    }
    test_join(child);
    test_gate_fini(&turns.there);
    test_gate_fini(&turns.back);
}

static void sleep_for_ever(__attribute__((unused)) void *argument)
{
    for (;;)
        pause();
}

TEST(sleeping_children_are_seen_and_killed)
{
    pid_t child = test_fork(sleep_for_ever, NULL);
    test_until_asleep(child);
    ck_assert_int_ge(test_wakeups_of(child), 0);
    test_kill(child);
}

static void tick(__attribute__((unused)) void *argument)
{
    for (;;)
        test_sleep(10 * WHERRY_MILLISECOND);
}

TEST(ticks_of_a_child_are_waited_for)
{
    pid_t child = test_fork(tick, NULL);
    test_until_asleep(child);
    long before = test_wakeups_of(child);
    test_until_woken(child, 4);
    ck_assert_int_ge(test_wakeups_of(child) - before, 4);
    test_kill(child);
}

struct mark {
    _Atomic int made;
};

static void make_mark(void *argument)
{
    struct mark *mark = argument;
    mark->made++;
}

TEST(what_a_child_does_is_waited_for_and_its_end)
{
    struct mark *mark = test_shared(sizeof *mark);
    for (int i = 1; i <= 5; i++) {
        test_fork(make_mark, mark);
        test_until(mark->made == i, "%d marks, not %d", mark->made, i);
        test_until_childless("round %d", i);
        ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    }
}

static void exit_with_7(__attribute__((unused)) void *argument)
{
    _exit(7);
}

static void terminate(__attribute__((unused)) void *argument)
{
    raise(SIGTERM);
}

TEST(expected_ends_of_children)
{
    test_join_status(test_fork(exit_with_7, NULL), 7);
    test_join_signal(test_fork(terminate, NULL), SIGTERM);
}

static void hold_shared(void *argument)
{
    *(int *)argument = 42;
}

TEST(shared_memory_is_shared)
{
    int *number = test_shared(sizeof *number);
    test_join(test_fork(hold_shared, number));
    ck_assert_int_eq(*number, 42);
}

TEST(a_sleep_is_a_wakeup_and_no_cpu_time)
{
    long wakeups = test_wakeups();
    wherry_time cpu = test_cpu_time();
    test_sleep(100 * WHERRY_MILLISECOND);
    ck_assert_int_ge(test_wakeups() - wakeups, 1);
    ck_assert_int_lt(test_cpu_time() - cpu, 50 * WHERRY_MILLISECOND);
}

TEST(results_of_wherry_calls)
{
    ck_assert_int_eq(test_ok(3), 3);
    ck_assert_int_eq(test_is(-EAGAIN, -EAGAIN), -EAGAIN);
}
