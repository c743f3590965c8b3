/* tests/unit/test_process_refused.c - owns programs that do not start, and processes that are somebody else's.
 *
 * SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "process_kit.h"

static struct wherry__sys real;

/* ---- programs that do not start ---- */

static void write_file(const char *path, const char *contents, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, contents, strlen(contents)), (ssize_t)strlen(contents));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void refuse(const char *program, const struct wherry_process_options *options, int code, const char *why)
{
    struct wherry_process *process = NULL;
    test_is(wherry_process_spawn(program, NULL, options, &process), -code);
    ck_assert_ptr_null(process);
    ck_assert_msg(strstr(wherry_why(), why) != NULL, "%s", wherry_why());
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

TEST(programs_that_cannot_start_are_errors_with_a_sentence)
{
    char path[3][300];
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    write_file(test_path(path[0], "plain"), "#!/bin/sh\n", 0600);
    write_file(test_path(path[1], "orphan"), "#!/nonesuch/interpreter\n", 0700);
    write_file(test_path(path[2], "text"), "echo without the first line\n", 0700);
    refuse("wherry-test-nonesuch", NULL, ENOENT, "wherry-test-nonesuch: no such program along PATH");
    refuse("./nonesuch", NULL, ENOENT, "./nonesuch: cannot be started: no such file");
    refuse("", NULL, ENOENT, "its name is empty");
    refuse(NULL, NULL, EINVAL, "NULL");
    refuse(path[0], NULL, EACCES, "chmod +x");
    refuse(test_dir(), NULL, EACCES, "it is no file with permission to execute");
    refuse(path[1], NULL, ENOENT, "the interpreter is missing");
    refuse(path[2], NULL, ENOEXEC, "neither a program for this machine nor a script");
    options.directory = path[0];
    refuse("true", &options, ENOTDIR, "its directory");
    options.directory = "/nonesuch";
    refuse("true", &options, ENOENT, "its directory /nonesuch");
    options.directory = test_dir();
    refuse("./nonesuch", &options, ENOENT, "no such file");
    refuse("./orphan", &options, ENOENT, "the interpreter is missing");
    options.directory = NULL;
    options.no_search = true;
    refuse("sh", &options, ENOENT, "sh: cannot be started: no such file");
    options.size = 3;
    refuse("sh", &options, EINVAL, "size of the options is 3");
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
}

TEST(the_first_program_along_the_path_that_can_be_executed_is_taken)
{
    char path[300], search[1000];
    write_file(test_path(path, "say"), "#!/bin/sh\nexit 9\n", 0700);
    snprintf(search, sizeof search, "/nonesuch:/etc/passwd::%s:/bin", test_dir());
    setenv("PATH", search, 1);
    struct wherry_process *process = NULL;
    test_ok(wherry_process_spawn("say", NULL, NULL, &process));
    kit_exited(process, 9);
    ck_assert_int_eq(chmod(path, 0600), 0);
    refuse("say", NULL, EACCES, path);
    unlink(path);
    unsetenv("PATH");
    test_ok(wherry_process_spawn("true", NULL, NULL, &process));
    kit_exited(process, 0);
}

/* ---- somebody else's ---- */

static void end_with_6(void *argument)
{
    struct test_gate *gate = argument;
    test_gate_wait(gate);
    _exit(6);
}

TEST(a_child_that_the_program_forked_can_be_taken_hold_of)
{
    struct test_gate gate;
    struct wherry_process *process = NULL;
    test_gate_init(&gate);
    pid_t pid = test_fork(end_with_6, &gate);
    test_ok(wherry_process_open(pid, 0, &process));
    struct wherry_exit exit;
    test_is(wherry_process_wait(process, WHERRY_NOW, &exit), -EAGAIN);
    test_gate_open(&gate);
    kit_exited(process, 6);
    test_gate_fini(&gate);
    test_is(wherry_process_open(0, 0, &process), -EINVAL);
    test_is(wherry_process_open(pid, 0, &process), -ESRCH);
}

static void be_a_child_of_a_child(void *argument)
{
    int *fd = argument;
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    pid_t pid = wherry_process_pid(process);
    ck_assert_int_eq(write(fd[1], &pid, sizeof pid), sizeof pid);
    kit_killed(process, SIGUSR1);
}

TEST(the_end_of_somebody_elses_process_is_seen)
{
    int ends[2];
    pid_t pid;
    struct wherry_process *process = NULL;
    struct wherry_exit exit = {.kind = WHERRY_STOPPED};
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t other = test_fork(be_a_child_of_a_child, ends);
    ck_assert_int_eq(read(ends[0], &pid, sizeof pid), sizeof pid);
    test_ok(wherry_process_open(pid, 0, &process));
    test_is(wherry_process_wait_change(process, wherry_after(WHERRY_MILLISECOND), &exit), -ETIMEDOUT);
    test_ok(wherry_process_kill(process, SIGUSR1));
    test_ok(wherry_process_wait(process, test_deadline(), &exit));
    ck_assert(exit.kind == WHERRY_EXIT_UNKNOWN || exit.kind == WHERRY_KILLED);
    test_join(other); /* which waits for it */
    test_ok(wherry_process_wait(process, WHERRY_NOW, &exit));
    ck_assert(exit.kind == WHERRY_EXIT_UNKNOWN || (exit.kind == WHERRY_KILLED && exit.code == SIGUSR1));
    test_is(wherry_process_kill(process, 0), -ESRCH);
    wherry_process_close(process);
    close(ends[0]);
    close(ends[1]);
}

static void use_a_process_of_the_parent(void *argument)
{
    struct wherry_process *process = argument;
    test_is(wherry_process_wait(process, WHERRY_NOW, NULL), -ECHILD);
    test_is(wherry_process_wait_change(process, WHERRY_NOW, NULL), -ECHILD);
    test_is(wherry_process_kill(process, SIGKILL), -ECHILD);
    test_is(wherry_process_kill_group(process, SIGKILL), -ECHILD);
    wherry_process_close(process);
}

TEST(a_forked_child_has_nothing_to_say)
{
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    test_join(test_fork(use_a_process_of_the_parent, process));
    test_ok(wherry_process_kill(process, SIGKILL));
    kit_killed(process, SIGKILL);
}

/* ---- sentences ---- */

/* One that was opened: whether it leads a group is the kernel's to know. */
TEST(of_one_in_anothers_group_no_group_is_signalled)
{
    struct wherry_process *child = kit_start(WORDS("pause"), NULL), *opened = NULL;
    test_is(wherry_process_kill_group(child, 0), -EINVAL);
    test_ok(wherry_process_open(wherry_process_pid(child), 0, &opened));
    test_is(wherry_process_kill_group(opened, SIGKILL), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "it leads no process group of its own; start it with "
                                       "WHERRY_PROCESS_GROUP_NEW") != NULL,
                  "%s", wherry_why());
    test_ok(wherry_process_kill(opened, 0));
    test_ok(wherry_process_kill(child, SIGKILL));
    struct pollfd end = {.fd = wherry_process_fd(opened), .events = POLLIN};
    ck_assert_int_eq(poll(&end, 1, KIT_PATIENCE), 1);
    test_is(wherry_process_kill_group(opened, 0), -ESRCH); /* it has ended: what it was in is nobody's business */
    kit_killed(child, SIGKILL);
    test_is(wherry_process_kill_group(opened, 0), -ESRCH);
    wherry_process_close(opened);
}

TEST(who_waits_in_vain_reads_for_whom)
{
    test_needs(TEST_OWN_NAME);
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    char wanted[64];
    test_is(wherry_process_wait(process, WHERRY_NOW, NULL), -EAGAIN);
    snprintf(wanted, sizeof wanted, "pid %d runs still", (int)wherry_process_pid(process));
    ck_assert_str_eq(wherry_why(), wanted);
    snprintf(wanted, sizeof wanted, "pid %d (process_child) ran still at the deadline",
             (int)wherry_process_pid(process));
    test_is(wherry_process_wait(process, wherry_after(WHERRY_MILLISECOND), NULL), -ETIMEDOUT);
    ck_assert_str_eq(wherry_why(), wanted);
    test_is(wherry_process_wait_change(process, wherry_after(WHERRY_MILLISECOND), NULL), -ETIMEDOUT);
    ck_assert_str_eq(wherry_why(), wanted);
    test_ok(wherry_process_kill(process, SIGKILL));
    kit_killed(process, SIGKILL);
}

static int no_pidfd_open(pid_t pid, unsigned flags)
{
    (void)pid, (void)flags;
    errno = ENOSYS;
    return -1;
}

/* There is no way round: the number of a stranger means nobody for sure, and a child's is no descriptor to poll. */
TEST(without_pidfd_open_nobody_is_held_and_who_lacks_it_is_named)
{
    struct wherry_process *process = NULL;
    real = wherry__sys;
    wherry__sys.pidfd_open = no_pidfd_open;
    int result = wherry_process_open(getppid(), 0, &process);
    wherry__sys = real;
    test_is(result, -ENOSYS);
    ck_assert_ptr_null(process);
    ck_assert_msg(strstr(wherry_why(), "pidfd_open(2), without which no process is held; valgrind 3.19 lacks it"), "%s",
                  wherry_why());
}
