/* unit/test_supervisor_process.c - a supervisor among processes: that nobody is left of its units, the caller's own
 * loop, his signals, his descriptors and his forks.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/supervise.h>

#include "harness.h"
#include "unit/supervisor_kit.h"

/* ---- stopping, and who is left ---- */

TEST(who_does_not_obey_is_killed)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.stop_timeout = 100 * WHERRY_MILLISECOND;
    options.ready = WHERRY_READY_FD;
    add_shell(supervisor, "deaf", "trap '' TERM; echo >&3; while :; do sleep 1; done", &options);
    until(supervisor, "deaf", WHERRY_UNIT_READY);
    wherry_time before = wherry_now();
    test_ok(wherry_supervisor_stop(supervisor, "deaf"));
    run_all(supervisor);
    ck_assert_int_ge(wherry_now() - before, 100 * WHERRY_MILLISECOND);
    struct wherry_unit_status status = status_of(supervisor, "deaf");
    ck_assert_int_eq(status.state, WHERRY_UNIT_ENDED);
    ck_assert(status.last.kind == WHERRY_KILLED && status.last.code == SIGKILL);
    wherry_supervisor_close(supervisor);
}

TEST(who_is_stopped_is_woken_to_end)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.stop_timeout = WHERRY_FOREVER;
    add_shell(supervisor, "stopped", "kill -STOP $$; exit 0", &options);
    until(supervisor, "stopped", WHERRY_UNIT_READY);
    until_state(status_of(supervisor, "stopped").pid, 'T');
    test_ok(wherry_supervisor_stop(supervisor, NULL));
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "stopped").state, WHERRY_UNIT_ENDED);
    wherry_supervisor_close(supervisor);
}

static struct wherry_supervisor *open_to_reap_all(void)
{
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_supervisor *supervisor;
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.reap_all = true;
    options.output = -1;
    test_ok(wherry_supervisor_open(&options, &supervisor));
    return supervisor;
}

TEST(h65_a_group_ends_with_its_first)
{
    struct wherry_supervisor *supervisor = open_quietly();
    add_shell(supervisor, "leaves", "sleep 100 & echo $! >pid; (sleep 100 & echo $! >>pid); exit 0", NULL);
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "leaves").state, WHERRY_UNIT_ENDED);
    nobody_in("pid", 2);
    wherry_supervisor_close(supervisor);
    remove_file("pid");
}

TEST(h65_a_deaf_group_is_killed_before_its_unit_starts_again)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ALWAYS, 2, WHERRY_MILLISECOND);
    options.stop_timeout = 50 * WHERRY_MILLISECOND;
    /* each run finds nobody of the one before */
    add_shell(supervisor, "leaves",
              "if [ -e pid ] && read -r pid name state rest 2>/dev/null </proc/$(cat pid)/stat && [ $state != Z ] &&"
              " [ $state != X ]; then"
              "  echo alive >>log; fi;"
              "(trap '' TERM; echo >told; exec sleep 100) & echo $! >pid; while [ ! -e told ]; do sleep 0.01; done;"
              "rm told; exit 0",
              &options);
    run_all(supervisor);
    ck_assert_uint_eq(status_of(supervisor, "leaves").starts, 3);
    ck_assert_int_ne(access("log", F_OK), 0);
    nobody_in("pid", 1);
    wherry_supervisor_close(supervisor);
    remove_file("pid");
}

TEST(h65_who_left_the_session_is_adopted_and_ended)
{
    test_needs(TEST_SUBREAPER);
    struct wherry_supervisor *supervisor = open_to_reap_all();
    add_shell(supervisor, "leaves", "(setsid sleep 100 & echo $! >pid); setsid true; while [ ! -s pid ]; do :; done",
              NULL);
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "leaves").state, WHERRY_UNIT_ENDED);
    nobody_in("pid", 1);
    ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD); /* no zombie either */
    wherry_supervisor_close(supervisor);
    int reaper;
    ck_assert(prctl(PR_GET_CHILD_SUBREAPER, &reaper) == 0 && reaper == 0);
    remove_file("pid");
}

/* Its parent ends by SIGTERM, and it is adopted after that. */
TEST(h65_who_is_adopted_later_is_asked_to_end_as_well)
{
    test_needs(TEST_SUBREAPER);
    struct wherry_supervisor *supervisor = open_to_reap_all();
    write_file("inner", "trap 'echo told >log; exit 0' TERM; echo $$ >pid; echo >ready; sleep 100 & wait");
    add_shell(supervisor, "leaves", "mkfifo ready; setsid sh -c 'sh inner & wait' & read x <ready", NULL);
    run_all(supervisor);
    nobody_in("pid", 1);
    file_is("log", "told\n");
    wherry_supervisor_close(supervisor);
    remove_file("inner");
    remove_file("ready");
    remove_file("log");
    remove_file("pid");
}

TEST(close_kills_what_runs)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.stop_timeout = WHERRY_FOREVER;
    options.restart = WHERRY_RESTART_ALWAYS;
    options.ready = WHERRY_READY_FD;
    add_shell(supervisor, "deaf", "trap '' TERM; echo $$ >pid; echo >&3; while :; do sleep 1; done", &options);
    until(supervisor, "deaf", WHERRY_UNIT_READY);
    wherry_supervisor_close(supervisor);
    nobody_in("pid", 1);
    remove_file("pid");
}

static void supervise_for_ever(void *argument)
{
    (void)argument;
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.restart = WHERRY_RESTART_ALWAYS;
    add_shell(supervisor, "one", "echo $$ >>pid; exec sleep 100", &options);
    add_shell(supervisor, "two", "echo $$ >>pid; exec sleep 100", &options);
    wherry_supervisor_run(supervisor, WHERRY_FOREVER);
}

TEST(h63_units_die_with_their_supervisor)
{
    ck_assert_int_eq(chdir(test_dir()), 0);
    pid_t child = test_fork(supervise_for_ever, NULL);
    test_until(lines_in("pid") == 2, "the two units do not say their pids");
    test_kill(child);
    nobody_in("pid", 2);
    remove_file("pid");
}

/* ---- a loop of the caller's own ---- */

TEST(a_callers_own_loop)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 3, 5 * WHERRY_MILLISECOND);
    add_shell(supervisor, "bad", "exit 1", &options);
    struct pollfd entry = {.fd = wherry_supervisor_fd(supervisor), .events = POLLIN};
    ck_assert_int_ge(entry.fd, 0);
    int result = wherry_supervisor_dispatch(supervisor, WHERRY_NOW);
    while (result == 1 || result == -EAGAIN) {
        ck_assert_int_eq(poll(&entry, 1, 15000 * (int)test_slowness()), 1);
        result = wherry_supervisor_dispatch(supervisor, WHERRY_NOW);
    }
    test_is(result, 0);
    ck_assert_uint_eq(status_of(supervisor, "bad").starts, 4);
    wherry_supervisor_close(supervisor);
}

TEST(a_loop_that_has_nothing_to_do_sleeps)
{
    struct wherry_supervisor *supervisor = open_quietly();
    add_shell(supervisor, "unit", "exec sleep 100", NULL);
    until(supervisor, "unit", WHERRY_UNIT_READY);
    while (wherry_supervisor_dispatch(supervisor, WHERRY_NOW) == 1)
        ;
    struct pollfd entry = {.fd = wherry_supervisor_fd(supervisor), .events = POLLIN};
    ck_assert_int_eq(poll(&entry, 1, 50), 0);
    test_is(wherry_supervisor_dispatch(supervisor, WHERRY_NOW), -EAGAIN);
    test_is(wherry_supervisor_dispatch(supervisor, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    test_is(wherry_supervisor_run(supervisor, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    wherry_supervisor_close(supervisor);
}

static void nothing(int number)
{
    (void)number;
}

/* A signal each millisecond, through restarts, lines, notifications and stops. */
TEST(h59_a_timer_that_interrupts_all_the_time)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 5, WHERRY_MILLISECOND);
    struct sigaction action = {.sa_handler = nothing}, before;
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    ck_assert_int_eq(sigaction(SIGALRM, &action, &before), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    options.lines = true;
    add_shell(supervisor, "bad", "echo line; exit 1", &options);
    options.ready = WHERRY_READY_FD;
    options.stop_timeout = 50 * WHERRY_MILLISECOND;
    add_shell(supervisor, "deaf", "trap '' TERM; echo >&3; while :; do sleep 1; done", &options);
    until(supervisor, "bad", WHERRY_UNIT_FAILED);
    until(supervisor, "deaf", WHERRY_UNIT_READY);
    wherry_time deadline = wherry_after(100 * WHERRY_MILLISECOND);
    test_is(wherry_supervisor_run(supervisor, deadline), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    test_ok(wherry_supervisor_stop(supervisor, NULL));
    run_all(supervisor);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    ck_assert_uint_eq(status_of(supervisor, "bad").starts, 6);
    ck_assert_int_eq(status_of(supervisor, "deaf").state, WHERRY_UNIT_ENDED);
    wherry_supervisor_close(supervisor);
}

TEST(the_descriptor_tells_of_a_unit_that_was_added)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct pollfd entry = {.fd = wherry_supervisor_fd(supervisor), .events = POLLIN};
    ck_assert_int_eq(poll(&entry, 1, 0), 0);
    for (unsigned i = 0; i < 2; i++) {
        add_shell(supervisor, i == 0 ? "one" : "two", "exec sleep 100", NULL);
        ck_assert_int_eq(poll(&entry, 1, 0), 1);
        while (wherry_supervisor_dispatch(supervisor, WHERRY_NOW) == 1)
            ;
        ck_assert_int_eq(poll(&entry, 1, 0), 0);
    }
    wherry_supervisor_close(supervisor);
}

static void note_next(void *data, const struct wherry_unit_status *status)
{
    if (status->state == WHERRY_UNIT_BACKOFF)
        *(wherry_time *)data = status->next - wherry_now();
}

TEST(a_pause_is_told_when_it_begins)
{
    wherry_time pause = 0;
    struct wherry_supervisor_options all = {.size = sizeof all, .output = -1, .on_change = note_next, .data = &pause};
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    struct wherry_supervisor *supervisor;
    options.restart = WHERRY_RESTART_ALWAYS;
    options.backoff_first = options.backoff_most = 100 * WHERRY_SECOND;
    test_ok(wherry_supervisor_open(&all, &supervisor));
    add_shell(supervisor, "unit", "exit 3", &options);
    until(supervisor, "unit", WHERRY_UNIT_BACKOFF);
    ck_assert(pause > 50 * WHERRY_SECOND && pause <= 100 * WHERRY_SECOND);
    wherry_supervisor_close(supervisor);
}

/* ---- descriptors and forks ---- */

static void without_room(void *argument)
{
    (void)argument;
    struct rlimit most = {.rlim_cur = test_descriptors() + 3, .rlim_max = 1024};
    struct wherry_supervisor *supervisor;
    ck_assert_int_eq(chdir(test_dir()), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &most), 0);
    test_ok(wherry_supervisor_open(NULL, &supervisor));
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 1, WHERRY_MILLISECOND);
    options.lines = true;
    size_t before = test_descriptors();
    add_shell(supervisor, "unit", "exit 0", &options);
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "unit");
    ck_assert_int_eq(status.state, WHERRY_UNIT_FAILED);
    ck_assert_msg(strstr(status.why, "escriptor") || strstr(status.why, "open files"), "\"%s\"", status.why);
    ck_assert_uint_eq(test_descriptors(), before);
    wherry_supervisor_close(supervisor);
}

TEST(without_descriptors_a_unit_fails_and_says_so)
{
    test_join(test_fork(without_room, NULL));
}

/* What the library has open itself is never a unit's 0, 1 or 2. */
static void look_without_standard_descriptors(void *argument)
{
    (void)argument;
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    struct wherry_supervisor *supervisor = open_to_reap_all();
    for (int i = 0; i < 2; i++)
        add_shell(supervisor, i == 0 ? "one" : "two", "readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 >out.$$",
                  NULL);
    run_all(supervisor);
    wherry_supervisor_close(supervisor);
}

TEST(closed_standard_descriptors_are_nobodys)
{
    test_needs(TEST_SUBREAPER);
    char path[200], name[256];
    test_join(test_fork(look_without_standard_descriptors, NULL));
    snprintf(path, sizeof path, "cat %s/out.* | sort | uniq -c >%s/all; rm %s/out.*", test_dir(), test_dir(),
             test_dir());
    ck_assert_int_eq(system(path), 0);
    test_path(name, "all");
    char *text = read_file(name);
    ck_assert_msg(strstr(text, "4 /dev/null") != NULL && !strstr(text, "anon_inode"), "%s", text); /* 1 is out.PID */
    free(text);
    remove_file(name);
}

static void use_in_child(void *argument)
{
    struct wherry_supervisor *supervisor = argument;
    test_is(wherry_supervisor_dispatch(supervisor, WHERRY_NOW), -ECHILD);
    test_is(wherry_supervisor_stop(supervisor, NULL), -ECHILD);
    test_is(wherry_supervisor_fd(supervisor), -ECHILD);
    wherry_supervisor_close(supervisor);
}

TEST(a_forked_child_has_none_of_it)
{
    struct wherry_supervisor *supervisor = open_quietly();
    add_shell(supervisor, "unit", "exec sleep 100", NULL);
    until(supervisor, "unit", WHERRY_UNIT_READY);
    test_join(test_fork(use_in_child, supervisor));
    ck_assert_int_eq(status_of(supervisor, "unit").state, WHERRY_UNIT_READY);
    test_is(wherry_supervisor_dispatch(supervisor, WHERRY_NOW), -EAGAIN);
    wherry_supervisor_close(supervisor);
}
