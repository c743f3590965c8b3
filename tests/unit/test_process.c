/* tests/unit/test_process.c - owns what a child is started with, and how a process is waited for and signalled.
 *
 * SPDX-License-Identifier: MIT */
#include <grp.h>
#include <sys/resource.h>

#include "process_kit.h"

/* ---- ends ---- */

TEST(an_exit_status_is_told_once_decoded_and_again)
{
    struct wherry_process *process = kit_start(WORDS("exit", "3"), NULL);
    struct wherry_exit exit = kit_wait(process), again = kit_wait(process);
    ck_assert_int_eq(exit.kind, WHERRY_EXITED);
    ck_assert_int_eq(exit.code, 3);
    ck_assert_int_eq(wherry_exit_status(&exit), 3);
    ck_assert_int_gt(exit.max_rss, 0);
    ck_assert(memcmp(&exit, &again, sizeof exit) == 0);
    ck_assert_int_eq(waitpid(wherry_process_pid(process), NULL, WNOHANG), -1); /* it is reaped */
    wherry_process_close(process);
}

TEST(a_signal_that_kills_is_told)
{
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    struct wherry_exit exit;
    test_is(wherry_process_wait(process, WHERRY_NOW, &exit), -EAGAIN);
    test_is(wherry_process_wait(process, wherry_after(WHERRY_MILLISECOND), &exit), -ETIMEDOUT);
    test_ok(wherry_process_kill(process, 0));
    test_ok(wherry_process_kill(process, SIGUSR2));
    exit = kit_wait(process);
    ck_assert_int_eq(exit.kind, WHERRY_KILLED);
    ck_assert_int_eq(exit.code, SIGUSR2);
    ck_assert(!exit.core);
    ck_assert_int_eq(wherry_exit_status(&exit), 128 + SIGUSR2);
    test_is(wherry_process_kill(process, SIGKILL), -ESRCH);
    wherry_process_close(process);
}

static const struct {
    const char *name;
    struct wherry_exit exit;
    int status;
} texts[] = {
    {"exited with 0", {.kind = WHERRY_EXITED}, 0},
    {"exited with 255", {.kind = WHERRY_EXITED, .code = 255}, 255},
    {"killed by SIGKILL", {.kind = WHERRY_KILLED, .code = SIGKILL}, 137},
    {"killed by SIGSEGV (core dumped)", {.kind = WHERRY_KILLED, .code = SIGSEGV, .core = true}, 139},
    {"killed by SIGRTMIN+3", {.kind = WHERRY_KILLED, .code = 37}, 165},
    {"killed by signal 32", {.kind = WHERRY_KILLED, .code = 32}, 160},
    {"stopped by SIGTSTP", {.kind = WHERRY_STOPPED, .code = SIGTSTP}, 148},
    {"continued", {.kind = WHERRY_CONTINUED, .code = SIGCONT}, 0},
    {"ended, and nobody knows how", {.kind = WHERRY_EXIT_UNKNOWN}, 255},
};

TEST_TABLE(an_exit_has_a_text_and_a_status_as_of_a_shell, texts)
{
    char text[64], small[5] = "....";
    ck_assert_str_eq(wherry_exit_text(&texts[index].exit, text, sizeof text), texts[index].name);
    ck_assert_int_eq(wherry_exit_status(&texts[index].exit), texts[index].status);
    ck_assert_int_eq(strncmp(wherry_exit_text(&texts[index].exit, small, sizeof small), text, 4), 0);
    ck_assert_int_eq(small[4], '\0');
}

TEST(stopped_and_continued_are_seen_by_the_waiter)
{
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    struct wherry_exit exit;
    test_is(wherry_process_wait_change(process, WHERRY_NOW, &exit), -EAGAIN);
    test_ok(wherry_process_kill(process, SIGSTOP));
    test_ok(wherry_process_wait_change(process, test_deadline(), &exit));
    ck_assert_int_eq(exit.kind, WHERRY_STOPPED);
    ck_assert_int_eq(exit.code, SIGSTOP);
    test_is(wherry_process_wait_change(process, WHERRY_NOW, &exit), -EAGAIN); /* each once */
    test_is(wherry_process_wait(process, WHERRY_NOW, &exit), -EAGAIN);        /* that is no end */
    test_ok(wherry_process_kill(process, SIGCONT));
    test_ok(wherry_process_wait_change(process, test_deadline(), &exit));
    ck_assert_int_eq(exit.kind, WHERRY_CONTINUED);
    test_ok(wherry_process_kill(process, SIGKILL));
    test_ok(wherry_process_wait_change(process, test_deadline(), &exit));
    ck_assert_int_eq(exit.kind, WHERRY_KILLED);
    wherry_process_close(process);
}

TEST(the_descriptor_is_readable_at_the_end)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[] = {{0, ends[0]}};
    options.fds = fds;
    options.fd_count = 1;
    struct wherry_process *process = kit_start(WORDS("eof"), &options);
    struct pollfd wait = {.fd = wherry_process_fd(process), .events = POLLIN};
    ck_assert_int_eq(fcntl(wait.fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(poll(&wait, 1, 0), 0);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(poll(&wait, 1, KIT_PATIENCE), 1);
    kit_exited(process, 0);
}

TEST(a_child_that_is_let_go_of_is_an_ordinary_one)
{
    int status, ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[] = {{0, ends[0]}};
    options.fds = fds;
    options.fd_count = 1;
    struct wherry_process *process = kit_start(WORDS("eof", "exit", "4"), &options);
    pid_t pid = wherry_process_pid(process);
    wherry_process_close(process);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    process = kit_start(WORDS("exit", "5"), NULL);
    pid = wherry_process_pid(process);
    struct pollfd wait = {.fd = wherry_process_fd(process), .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, KIT_PATIENCE), 1);
    wherry_process_close(process); /* this one has ended, and is reaped */
    ck_assert_int_eq(waitpid(pid, &status, 0), -1);
    wherry_process_close(NULL);
}

/* ---- descriptors ---- */

static char text[16384];

TEST(h66_nothing_but_what_was_named_is_open)
{
    int open_ones[40];
    for (int i = 0; i < 40; i++)
        ck_assert_int_ge(open_ones[i] = open("/dev/null", O_RDONLY), 0); /* without CLOEXEC */
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    kit_say_as(WORDS("fds"), NULL, text, sizeof text);
    ck_assert_str_eq(text, "0 1 2\n");
    struct wherry_process_fd fds[] = {{17, open_ones[3]}, {0, WHERRY_PROCESS_CLOSED}, {40, WHERRY_PROCESS_NULL}};
    options.fds = fds;
    options.fd_count = 3;
    kit_say_as(WORDS("fds"), &options, text, sizeof text);
    ck_assert_str_eq(text, "1 2 17 40\n");
    for (int i = 0; i < 40; i++)
        close(open_ones[i]);
}

TEST(closed_standard_descriptors_are_dev_null)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    int saved = fcntl(0, F_DUPFD_CLOEXEC, 20), ends[2];
    struct stat null;
    ck_assert_int_eq(stat("/dev/null", &null), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct wherry_process_fd fds[] = {{1, ends[1]}};
    options.fds = fds;
    options.fd_count = 1;
    close(0);
    struct wherry_process *process = kit_start(WORDS("fds", "inode", "0"), &options);
    ck_assert_int_eq(fcntl(0, F_GETFD), wherry_process_fd(process) == 0 ? FD_CLOEXEC : -1);
    kit_exited(process, 0);
    dup2(saved, 0);
    close(saved);
    close(ends[1]);
    kit_read(ends[0], text, sizeof text);
    close(ends[0]);
    char expected[100];
    snprintf(expected, sizeof expected, "0 1 2\n0 is %llu, cloexec 0\n", (unsigned long long)null.st_ino);
    ck_assert_str_eq(text, expected);
}

/* Any mapping of a few descriptors, all of which are written to find out which is which. */
enum { MANY = 7, FIRST = 50 };

static void check_mapping(const int *own, int base)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[MANY];
    char numbers[MANY][8], expected[2000] = "0 1 2";
    const char *words[MANY * 2 + 3] = {"process_child", "fds"};
    options.fds = fds;
    options.fd_count = MANY;
    for (int i = 0; i < MANY; i++) {
        fds[i] = (struct wherry_process_fd){.child = base + i, .own = own[i]};
        snprintf(numbers[i], sizeof numbers[i], "%d", base + i);
        words[2 + 2 * i] = "inode";
        words[3 + 2 * i] = numbers[i];
        if (own[i] != WHERRY_PROCESS_CLOSED)
            sprintf(expected + strlen(expected), " %d", base + i);
    }
    strcat(expected, "\n");
    struct stat null;
    ck_assert_int_eq(stat("/dev/null", &null), 0);
    for (int i = 0; i < MANY; i++)
        if (own[i] == WHERRY_PROCESS_CLOSED)
            sprintf(expected + strlen(expected), "%d is closed\n", base + i);
        else
            sprintf(expected + strlen(expected), "%d is %llu, cloexec 0\n", base + i,
                    own[i] < 0 ? (unsigned long long)null.st_ino : kit_inode(own[i]));
    kit_say_as(words, &options, text, sizeof text);
    ck_assert_str_eq(text, expected);
}

TEST_WITH(any_mapping_of_descriptors_comes_out_exactly, .seconds = 120)
{
    unsigned seed = 66;
    for (int i = 0; i < MANY; i++) { /* a pipe end each: no two are the same file */
        int ends[2];
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        ck_assert_int_ge(fcntl(ends[0], F_DUPFD_CLOEXEC, 200 + i), 0);
        ck_assert_int_eq(dup3(ends[0], FIRST + i, O_CLOEXEC), FIRST + i);
        close(ends[0]);
        close(ends[1]);
    }
    check_mapping((const int[]){51, 50, 52, 53, 54, 55, 56}, FIRST); /* a swap */
    check_mapping((const int[]){51, 52, 53, 54, 55, 56, 50}, FIRST); /* one cycle */
    check_mapping((const int[]){51, 52, 50, 54, 53, 56, 55}, FIRST); /* three */
    check_mapping((const int[]){51, 50, 50, 50, 51, 51, -1}, FIRST); /* a swap that many want */
    check_mapping((const int[]){50, 51, 52, 53, 54, 55, 56}, FIRST); /* as they are */
    check_mapping((const int[]){-1, 50, 51, 52, 53, 54, -2}, FIRST); /* a chain */
    for (int round = 0; round < (TEST_SANITIZED ? 40 : 300); round++) {
        int own[MANY];
        for (int i = 0; i < MANY; i++) {
            int pick = rand_r(&seed) % (MANY + 2) - 2;
            own[i] = pick < 0 ? pick : FIRST + pick;
        }
        check_mapping(own, FIRST - 3 + rand_r(&seed) % 7);
    }
    for (int i = 0; i < MANY; i++) {
        close(FIRST + i);
        close(200 + i);
    }
}

TEST(errors_and_output_can_change_places)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[] = {{1, 2}, {2, 1}};
    int ends[2], saved = dup(2);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], 2); /* what the child says to standard output goes to the caller's standard error */
    options.fds = fds;
    options.fd_count = 2;
    struct wherry_process *process = kit_start(WORDS("fds"), &options);
    dup2(saved, 2);
    close(saved);
    close(ends[1]);
    kit_read(ends[0], text, sizeof text);
    close(ends[0]);
    kit_exited(process, 0);
    ck_assert_str_eq(text, "0 1 2\n");
}

TEST(descriptors_that_are_not_open_or_said_twice_are_named)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process *process = NULL;
    struct wherry_process_fd fds[] = {{5, 900}, {5, 0}};
    options.fds = fds;
    options.fd_count = 1;
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EBADF);
    ck_assert_msg(strstr(wherry_why(), "its descriptor 5 was to be the caller's 900, which is not open"), "%s",
                  wherry_why());
    options.fd_count = 2;
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "descriptor 5 of the child is in the list twice"), "%s", wherry_why());
    fds[0].own = -3;
    options.fd_count = 1;
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EINVAL);
    ck_assert_ptr_null(process);
}

/* ---- signals ---- */

static void handle(int signal)
{
    (void)signal;
}

TEST_WITH(h60_the_mask_and_dispositions_are_reset, .leaves = TEST_LEAVES_SIGNALS)
{
    test_needs(TEST_OWN_DISPOSITIONS);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int number = 1; number <= SIGRTMAX; number++)
        signal(number, number % 2 ? SIG_IGN : handle);
    signal(SIGCHLD, SIG_DFL);
    kit_say_as(WORDS("status", "SigBlk", "status", "SigIgn", "status", "SigPnd"), NULL, text, sizeof text);
    ck_assert_str_eq(text, "SigBlk: 0000000000000000\nSigIgn: 0000000000000000\nSigPnd: 0000000000000000\n");
    if (!TEST_SANITIZED) { /* which catch some themselves */
        kit_say_as(WORDS("status", "SigCgt"), NULL, text, sizeof text);
        ck_assert_str_eq(text, "SigCgt: 0000000000000000\n");
    }
    sigset_t after;
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number <= SIGRTMAX; number++) /* and the caller's are as they were */
        if (sigismember(&all, number) == 1 && number != SIGKILL && number != SIGSTOP)
            ck_assert_int_eq(sigismember(&after, number), 1);
    struct sigaction action;
    sigaction(SIGHUP, NULL, &action);
    ck_assert(action.sa_handler == SIG_IGN);
    sigaction(SIGINT, NULL, &action);
    ck_assert(action.sa_handler == handle);
}

TEST(signals_asked_for_are_ignored_and_blocked)
{
    test_needs(TEST_OWN_DISPOSITIONS);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const int ignored[] = {SIGHUP, SIGPIPE}, blocked[] = {SIGTERM, SIGRTMAX}, bad[] = {SIGKILL};
    struct wherry_process *process;
    options.ignored = ignored;
    options.ignored_count = 2;
    options.blocked = blocked;
    options.blocked_count = 2;
    kit_say_as(WORDS("status", "SigBlk", "status", "SigIgn"), &options, text, sizeof text);
    ck_assert_uint_eq(kit_hex(text, "SigBlk: "), 1ull << (SIGTERM - 1) | 1ull << (SIGRTMAX - 1));
    ck_assert_uint_eq(kit_hex(text, "SigIgn: "), 1ull << (SIGHUP - 1) | 1ull << (SIGPIPE - 1));
    options.ignored = bad;
    options.ignored_count = 1;
    test_is(wherry_process_spawn("true", NULL, &options, &process), -EINVAL);
}

/* ---- where and as whom ---- */

TEST(directory_environment_and_arguments)
{
    test_needs(TEST_OWN_PROGRAMS);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const char *const environment[] = {"ONE=1", "TWO=2", NULL};
    char expected[5000];
    options.environment = environment;
    options.directory = test_dir();
    kit_say_as(WORDS("environment", "place", "name"), &options, text, sizeof text);
    snprintf(expected, sizeof expected, "ONE=1\nTWO=2\ncwd %s\n", test_dir());
    ck_assert_msg(strncmp(text, expected, strlen(expected)) == 0, "%s", text);
    ck_assert_msg(strstr(text, "\nprocess_child 4\n") != NULL, "%s", text);
    setenv("WHERRY_TEST_HERE", "yes", 1);
    kit_say_as(WORDS("environment"), NULL, text, sizeof text);
    ck_assert_msg(strstr(text, "WHERRY_TEST_HERE=yes\n") != NULL, "%s", text);
}

static int say_of(const char *line, const char *name)
{
    const char *at = strstr(line, name);
    ck_assert_msg(at != NULL, "no %s in %s", name, line);
    return atoi(at + strlen(name));
}

TEST(groups_and_sessions)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    kit_say_as(WORDS("place"), NULL, text, sizeof text);
    ck_assert_int_eq(say_of(text, "group "), getpgrp());
    ck_assert_int_eq(say_of(text, "parent "), getpid());
    ck_assert_int_eq(say_of(text, "death "), 0);
    options.group = WHERRY_PROCESS_GROUP_NEW;
    kit_say_as(WORDS("place"), &options, text, sizeof text);
    ck_assert_int_eq(say_of(text, "group "), say_of(text, "pid "));
    ck_assert_int_eq(say_of(text, "session "), getsid(0));
    options.group = WHERRY_PROCESS_GROUP_SESSION;
    kit_say_as(WORDS("place"), &options, text, sizeof text);
    ck_assert_int_eq(say_of(text, "group "), say_of(text, "pid "));
    ck_assert_int_eq(say_of(text, "session "), say_of(text, "pid "));
    options.group = WHERRY_PROCESS_GROUP_NEW;
    struct wherry_process *leader = kit_start(WORDS("pause"), &options), *process = NULL;
    options.group = WHERRY_PROCESS_GROUP_SAME;
    options.join_group = wherry_process_pid(leader);
    kit_say_as(WORDS("place"), &options, text, sizeof text);
    ck_assert_int_eq(say_of(text, "group "), wherry_process_pid(leader));
    test_ok(wherry_process_kill(leader, SIGKILL));
    kit_killed(leader, SIGKILL);
    options.join_group = 1; /* of another session */
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EPERM);
    ck_assert_msg(strstr(wherry_why(), "cannot join process group 1"), "%s", wherry_why());
}

TEST(a_group_is_signalled_as_a_whole)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    options.group = WHERRY_PROCESS_GROUP_NEW;
    struct wherry_process *leader = kit_start(WORDS("pause"), &options);
    options.group = WHERRY_PROCESS_GROUP_SAME;
    options.join_group = wherry_process_pid(leader);
    struct wherry_process *other = kit_start(WORDS("pause"), &options), *third = kit_start(WORDS("pause"), &options);
    test_is(wherry_process_kill_group(other, SIGTERM), -EINVAL);
    test_ok(wherry_process_kill_group(leader, 0));
    test_ok(wherry_process_kill_group(leader, SIGTERM));
    kit_killed(other, SIGTERM);
    kit_wait(leader);
    test_ok(wherry_process_kill(third, 0));
    kit_killed(third, SIGTERM);
    test_is(wherry_process_kill_group(leader, SIGTERM), -ESRCH);
    wherry_process_close(leader);
}

TEST(limits_are_set)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_limit limits[] = {{RLIMIT_NOFILE, 12, 13}, {RLIMIT_CORE, 0, 0}};
    char number[2][8];
    struct wherry_process *process = NULL;
    snprintf(number[0], sizeof number[0], "%d", RLIMIT_NOFILE);
    snprintf(number[1], sizeof number[1], "%d", RLIMIT_CORE);
    options.limits = limits;
    options.limit_count = 2;
    kit_say_as(WORDS("limit", number[0], "limit", number[1]), &options, text, sizeof text);
    ck_assert_str_eq(text, "limit 12 13\nlimit 0 0\n");
    limits[1] = (struct wherry_process_limit){RLIMIT_CORE, 2, 1};
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "of its RLIMIT_CORE the soft limit, 2, is over the hard one, 1"), "%s",
                  wherry_why());
    limits[1] = (struct wherry_process_limit){99, 1, 1};
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "there is no limit number 99"), "%s", wherry_why());
    limits[1] = (struct wherry_process_limit){RLIMIT_NOFILE, 12, UINT64_MAX}; /* over fs.nr_open, for anybody */
    test_is(wherry_process_spawn(test_program("process_child"), NULL, &options, &process), -EPERM);
    ck_assert_msg(strstr(wherry_why(), "its RLIMIT_NOFILE cannot be unlimited: the caller's hard limit is "), "%s",
                  wherry_why());
}

TEST(ids_are_changed_and_nothing_of_the_callers_is_left)
{
    if (!test_is_root())
        test_skip("needs root, to become somebody else");
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const gid_t groups[] = {4711, 4712};
    options.set_ids = true;
    options.uid = 65534;
    options.gid = 65533;
    options.directory = "/";
    kit_say_as(WORDS("status", "Uid", "status", "Gid", "status", "Groups", "status", "CapEff"), &options, text,
               sizeof text);
    ck_assert_str_eq(text, "Uid: 65534 65534 65534 65534\nGid: 65533 65533 65533 65533\nGroups:  \n"
                           "CapEff: 0000000000000000\n");
    options.groups = groups;
    options.group_count = 2;
    kit_say_as(WORDS("status", "Groups"), &options, text, sizeof text);
    ck_assert_str_eq(text, "Groups: 4711 4712 \n");
}

static void change_ids_without_rights(void *argument)
{
    (void)argument;
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process *process = NULL;
    ck_assert(test_become_nobody());
    options.set_ids = true;
    options.uid = options.gid = 1;
    test_is(wherry_process_spawn("/bin/true", NULL, &options, &process), -EPERM);
    ck_assert_msg(strstr(wherry_why(), "CAP_SETGID"), "%s", wherry_why());
    options = (struct wherry_process_options)WHERRY_PROCESS_OPTIONS;
    options.pid_namespace = true;
    test_is(wherry_process_spawn("/bin/true", NULL, &options, &process), -EPERM);
    ck_assert_msg(strstr(wherry_why(), "CAP_SYS_ADMIN"), "%s", wherry_why());
    test_ok(wherry_process_open(1, 0, &process));
    test_is(wherry_process_kill(process, 0), -EPERM);
    wherry_process_close(process);
}

TEST(ids_that_are_not_to_give_are_refused)
{
    test_needs(TEST_CLONE_NEWPID);
    if (!test_is_root())
        test_skip("needs root, to become nobody first");
    test_join(test_fork(change_ids_without_rights, NULL));
}
