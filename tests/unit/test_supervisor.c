/* unit/test_supervisor.c - units: their order, their ends, their restarts, what they are asked, and what is refused.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/supervise.h>

#include "harness.h"
#include "unit/supervisor_kit.h"

/* ---- how runs end ---- */

TEST(a_unit_that_ends_as_it_should)
{
    struct wherry_supervisor *supervisor = open_quietly();
    add_shell(supervisor, "good", "exit 0", NULL);
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "good");
    ck_assert_int_eq(status.state, WHERRY_UNIT_ENDED);
    ck_assert(status.has_ended && status.last.kind == WHERRY_EXITED && status.last.code == 0);
    ck_assert_uint_eq(status.starts, 1);
    ck_assert_int_eq(status.pid, 0);
    test_is(wherry_supervisor_dispatch(supervisor, WHERRY_NOW), 0);
    wherry_supervisor_close(supervisor);
}

static const struct ending {
    const char *name, *script, *why;
    enum wherry_exit_kind kind;
    int code;
} endings[] = {
    {"status", "exit 7", "exited with 7", WHERRY_EXITED, 7},
    {"signal", "kill -USR1 $$", "it was killed by SIGUSR1", WHERRY_KILLED, SIGUSR1},
};

TEST_TABLE(a_unit_that_fails, endings)
{
    struct wherry_supervisor *supervisor = open_quietly();
    add_shell(supervisor, "bad", endings[index].script, NULL);
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "bad");
    ck_assert_int_eq(status.state, WHERRY_UNIT_FAILED);
    ck_assert_int_eq(status.last.kind, endings[index].kind);
    ck_assert_int_eq(status.last.code, endings[index].code);
    ck_assert_msg(strstr(status.why, endings[index].why), "\"%s\"", status.why);
    wherry_supervisor_close(supervisor);
}

TEST(a_program_that_is_not_there)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.arguments = (const char *const[]){"/nonexistent/program", NULL};
    test_ok(wherry_supervisor_add(supervisor, "none", &options));
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "none");
    ck_assert_int_eq(status.state, WHERRY_UNIT_FAILED);
    ck_assert_uint_eq(status.starts, 0);
    ck_assert_int_eq(status.error, -ENOENT);
    ck_assert_msg(strstr(status.why, "/nonexistent/program"), "\"%s\"", status.why);
    wherry_supervisor_close(supervisor);
}

TEST(restarts_back_off_and_have_a_limit)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 4, 10 * WHERRY_MILLISECOND);
    options.backoff_most = 40 * WHERRY_MILLISECOND;
    wherry_time before = wherry_now();
    add_shell(supervisor, "bad", "echo >>log; exit 1", &options);
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "bad");
    ck_assert_int_eq(status.state, WHERRY_UNIT_FAILED);
    ck_assert_uint_eq(status.starts, 5);
    ck_assert_uint_eq(lines_in("log"), 5);
    ck_assert_msg(strstr(status.why, "exited with 1") && strstr(status.why, "4 times"), "\"%s\"", status.why);
    ck_assert_int_ge(wherry_now() - before, (10 + 20 + 40 + 40) * WHERRY_MILLISECOND);
    wherry_supervisor_close(supervisor);
    remove_file("log");
}

static void note_pause(void *data, const struct wherry_unit_status *status)
{
    wherry_time *longest = data;
    if (status->state == WHERRY_UNIT_BACKOFF && status->next - status->since > *longest)
        *longest = status->next - status->since;
}

static const struct pausing {
    const char *name, *script;
    wherry_time most;
    unsigned limit;
    bool grows;
} pausings[] = {
    /* what each run leaves behind is longer in stopping than `most`; of so many runs one at least fails at once, even
     * where the machine stands still for a while */
    {"slow_to_stop",
     "mkfifo told; (trap '' TERM; echo >told; exec sleep 100) & read x <told; rm told; exit 1",
     300 * WHERRY_MILLISECOND, 5, true},
    {"ready_for_long", "sleep 0.15; exit 1", 100 * WHERRY_MILLISECOND, 3, false},
};

TEST_TABLE(a_pause_grows_unless_the_run_lasted, pausings)
{
    const struct pausing *pausing = &pausings[index];
    static const wherry_time first = 50 * WHERRY_MILLISECOND;
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_supervisor *supervisor;
    wherry_time longest = 0;
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.output = -1;
    options.on_change = note_pause;
    options.data = &longest;
    test_ok(wherry_supervisor_open(&options, &supervisor));
    struct wherry_unit_options unit = restarting(WHERRY_RESTART_ON_FAILURE, pausing->limit, first);
    unit.backoff_most = pausing->most;
    unit.stop_timeout = 350 * WHERRY_MILLISECOND;
    add_shell(supervisor, "bad", pausing->script, &unit);
    while (longest <= first && status_of(supervisor, "bad").state != WHERRY_UNIT_FAILED)
        ck_assert_int_ge(wherry_supervisor_dispatch(supervisor, soon()), 0);
    ck_assert_int_eq(longest > first, pausing->grows);
    wherry_supervisor_close(supervisor);
}

TEST(a_good_end_is_a_failure_to_nobody_but_always)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 3, WHERRY_MILLISECOND);
    add_shell(supervisor, "once", "exit 0", &options);
    options.restart = WHERRY_RESTART_ALWAYS;
    add_shell(supervisor, "again", "exit 0", &options);
    run_all(supervisor);
    ck_assert_uint_eq(status_of(supervisor, "once").starts, 1);
    ck_assert_int_eq(status_of(supervisor, "once").state, WHERRY_UNIT_ENDED);
    ck_assert_uint_eq(status_of(supervisor, "again").starts, 4);
    ck_assert_int_eq(status_of(supervisor, "again").state, WHERRY_UNIT_FAILED);
    wherry_supervisor_close(supervisor);
}

/* ---- order ---- */

TEST(units_start_when_those_they_need_are_ready)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options step = WHERRY_UNIT_OPTIONS, last = WHERRY_UNIT_OPTIONS;
    step.ready = WHERRY_READY_EXITED;
    last.after = (const char *const[]){"first", "second", NULL};
    add_shell(supervisor, "first", "sleep 0.1; echo first >>log", &step);
    step.after = (const char *const[]){"first", NULL};
    add_shell(supervisor, "second", "echo second >>log", &step);
    add_shell(supervisor, "third", "echo third >>log", &last);
    run_all(supervisor);
    file_is("log", "first\nsecond\nthird\n");
    wherry_supervisor_close(supervisor);
    remove_file("log");
}

TEST(who_needs_a_failed_one_waits_and_says_so)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options step = WHERRY_UNIT_OPTIONS, last = WHERRY_UNIT_OPTIONS;
    step.ready = WHERRY_READY_EXITED;
    last.after = (const char *const[]){"first", NULL};
    add_shell(supervisor, "first", "test -e good", &step);
    add_shell(supervisor, "second", "echo >>log", &last);
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "first").state, WHERRY_UNIT_FAILED);
    struct wherry_unit_status status = status_of(supervisor, "second");
    ck_assert_int_eq(status.state, WHERRY_UNIT_WAITING);
    ck_assert_msg(strstr(status.why, "first") && strstr(status.why, "failed"), "\"%s\"", status.why);
    write_file("good", "");
    test_ok(wherry_supervisor_start(supervisor, "second")); /* and what it needs */
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "second").state, WHERRY_UNIT_ENDED);
    ck_assert_uint_eq(lines_in("log"), 1);
    wherry_supervisor_close(supervisor);
    remove_file("good");
    remove_file("log");
}

static const char by_signal[] = "trap 'echo $0 >>log; exit 0' TERM; echo >&3; while :; do sleep 0.02; done";

TEST(units_stop_before_those_they_need)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    static const char *const names[] = {"a", "b", "c"};
    options.ready = WHERRY_READY_FD;
    for (int i = 0; i < 3; i++) {
        const char *const after[] = {i > 0 ? names[i - 1] : NULL, NULL};
        options.after = after;
        options.arguments = (const char *const[]){"/bin/sh", "-c", by_signal, names[i], NULL};
        test_ok(wherry_supervisor_add(supervisor, names[i], &options));
    }
    until(supervisor, "c", WHERRY_UNIT_READY);
    test_ok(wherry_supervisor_stop(supervisor, "a")); /* all need it in the end */
    run_all(supervisor);
    file_is("log", "c\nb\na\n");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(status_of(supervisor, names[i]).state, WHERRY_UNIT_ENDED);
    wherry_supervisor_close(supervisor);
    remove_file("log");
}

/* Each stop takes a line of the FIFO. */
static const char stops_when_told[] =
    "trap 'read x <go; echo $0 down >>log; exit 0' TERM; echo $0 up >>log; echo >&3; sleep 100 & wait";

TEST(all_are_restarted_in_order)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS, step = WHERRY_UNIT_OPTIONS;
    ck_assert_int_eq(mkfifo("go", 0600), 0);
    int go = open("go", O_RDWR | O_CLOEXEC);
    options.ready = WHERRY_READY_FD;
    options.arguments = (const char *const[]){"/bin/sh", "-c", stops_when_told, "db", NULL};
    test_ok(wherry_supervisor_add(supervisor, "db", &options));
    step.ready = WHERRY_READY_EXITED;
    step.after = (const char *const[]){"db", NULL};
    add_shell(supervisor, "step", "echo step >>log", &step);
    options.after = (const char *const[]){"step", NULL}; /* which has ended: what it needed web needs, too */
    options.arguments = (const char *const[]){"/bin/sh", "-c", stops_when_told, "web", NULL};
    test_ok(wherry_supervisor_add(supervisor, "web", &options));
    until(supervisor, "web", WHERRY_UNIT_READY);
    test_ok(wherry_supervisor_restart(supervisor, NULL));
    until(supervisor, "web", WHERRY_UNIT_STOPPING);
    ck_assert_int_eq(status_of(supervisor, "db").state, WHERRY_UNIT_READY);
    ck_assert_int_eq(write(go, "\n\n", 2), 2);
    until(supervisor, "web", WHERRY_UNIT_READY);
    file_is("log", "db up\nstep\nweb up\nweb down\ndb down\ndb up\nstep\nweb up\n");
    test_ok(wherry_supervisor_restart(supervisor, "db")); /* it alone */
    until(supervisor, "db", WHERRY_UNIT_STOPPING);
    ck_assert_int_eq(write(go, "\n", 1), 1);
    until(supervisor, "db", WHERRY_UNIT_READY);
    ck_assert_int_eq(status_of(supervisor, "web").state, WHERRY_UNIT_READY);
    ck_assert_uint_eq(status_of(supervisor, "web").starts, 2);
    remove_file("log");
    test_ok(wherry_supervisor_stop(supervisor, NULL));
    ck_assert_int_eq(write(go, "\n\n", 2), 2);
    run_all(supervisor);
    file_is("log", "web down\ndb down\n");
    wherry_supervisor_close(supervisor);
    close(go);
    remove_file("go");
    remove_file("log");
}

TEST(only_who_needs_it_stops_with_it)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    add_shell(supervisor, "other", "exec sleep 100", NULL);
    add_shell(supervisor, "base", "exec sleep 100", NULL);
    options.after = (const char *const[]){"base", NULL};
    add_shell(supervisor, "user", "exec sleep 100", &options);
    until(supervisor, "user", WHERRY_UNIT_READY);
    test_ok(wherry_supervisor_stop(supervisor, "base"));
    until(supervisor, "base", WHERRY_UNIT_ENDED);
    ck_assert_int_eq(status_of(supervisor, "user").state, WHERRY_UNIT_ENDED);
    ck_assert_int_eq(status_of(supervisor, "other").state, WHERRY_UNIT_READY);
    test_is(wherry_supervisor_stop(supervisor, "nobody"), -ENOENT);
    wherry_supervisor_close(supervisor);
}

/* Each needs all before it: 2^34 ways lead down from the last. */
TEST(many_ways_to_a_unit_are_gone_once)
{
    enum { MANY = 36 };
    struct wherry_supervisor *supervisor = open_quietly();
    char names[MANY][8];
    const char *after[MANY + 1] = {NULL};
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.after = after;
    options.ready = WHERRY_READY_EXITED;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "u%zu", i);
        add_shell(supervisor, names[i], i == 0 ? "test -e good" : "exit 0", &options);
        after[i] = names[i];
    }
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, names[0]).state, WHERRY_UNIT_FAILED);
    ck_assert_int_eq(status_of(supervisor, names[MANY - 1]).state, WHERRY_UNIT_WAITING);
    write_file("good", "");
    test_ok(wherry_supervisor_start(supervisor, names[MANY - 1]));
    run_all(supervisor);
    test_ok(wherry_supervisor_start(supervisor, NULL));
    run_all(supervisor);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_int_eq(status_of(supervisor, names[i]).state, WHERRY_UNIT_ENDED);
    ck_assert_uint_eq(status_of(supervisor, names[MANY - 1]).starts, 1);
    wherry_supervisor_close(supervisor);
    remove_file("good");
}

/* ---- being asked ---- */

TEST(restart_reload_and_signals)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_FD;
    add_shell(supervisor, "unit",
              "trap 'echo hup >>log' HUP; trap 'echo usr1 >>log' USR1; echo start >>log; echo >&3;"
              "while :; do sleep 0.01; done",
              &options);
    test_is(wherry_supervisor_reload(supervisor, "unit"), -ESRCH);
    until(supervisor, "unit", WHERRY_UNIT_READY);
    test_ok(wherry_supervisor_reload(supervisor, "unit"));
    until_lines(supervisor, "log", 2);
    test_ok(wherry_supervisor_signal(supervisor, NULL, SIGUSR1));
    until_lines(supervisor, "log", 3);
    test_ok(wherry_supervisor_restart(supervisor, "unit"));
    until_lines(supervisor, "log", 4);
    file_is("log", "start\nhup\nusr1\nstart\n");
    until(supervisor, "unit", WHERRY_UNIT_READY);
    ck_assert_uint_eq(status_of(supervisor, "unit").starts, 2);
    test_is(wherry_supervisor_signal(supervisor, "unit", 0), -EINVAL);
    test_is(wherry_supervisor_signal(supervisor, "unit", 99), -EINVAL);
    test_ok(wherry_supervisor_stop(supervisor, NULL));
    run_all(supervisor);
    test_ok(wherry_supervisor_start(supervisor, "unit"));
    until(supervisor, "unit", WHERRY_UNIT_READY);
    wherry_supervisor_close(supervisor);
    remove_file("log");
}

TEST(a_start_forgets_restarts_also_in_a_pause)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 2, 50 * WHERRY_MILLISECOND);
    add_shell(supervisor, "bad", "exit 1", &options);
    until(supervisor, "bad", WHERRY_UNIT_BACKOFF);
    uint64_t starts = status_of(supervisor, "bad").starts;
    test_ok(wherry_supervisor_start(supervisor, "bad"));
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "bad").state, WHERRY_UNIT_FAILED);
    ck_assert_uint_eq(status_of(supervisor, "bad").starts, starts + 3); /* the one after the pause, and two again */
    wherry_supervisor_close(supervisor);
}

TEST(a_unit_that_is_stopped_and_started_while_it_stops_runs_again)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_FD;
    add_shell(supervisor, "slow", "trap 'sleep 0.2; exit 0' TERM; echo >&3; while :; do sleep 0.01; done", &options);
    until(supervisor, "slow", WHERRY_UNIT_READY);
    test_ok(wherry_supervisor_stop(supervisor, "slow"));
    until(supervisor, "slow", WHERRY_UNIT_STOPPING);
    test_ok(wherry_supervisor_start(supervisor, "slow"));
    until(supervisor, "slow", WHERRY_UNIT_READY);
    ck_assert_uint_eq(status_of(supervisor, "slow").starts, 2);
    wherry_supervisor_close(supervisor);
}

/* ---- what is refused ---- */

TEST(bad_units)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options good = WHERRY_UNIT_OPTIONS;
    good.arguments = (const char *const[]){"true", NULL};
    static const char *const names[] = {"", "a b", "-a", ".a", "a/b", "a\n", NULL,
                                        "a123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        test_is(wherry_supervisor_add(supervisor, names[i], &good), -EINVAL);
    test_is(wherry_supervisor_add(supervisor, "a", NULL), -EINVAL);
#define REFUSED(field_, value_, code_)                                                                                 \
    do {                                                                                                               \
        struct wherry_unit_options bad = good;                                                                         \
        bad.field_ = value_;                                                                                           \
        test_is(wherry_supervisor_add(supervisor, "a", &bad), code_);                                                  \
    } while (0)
    REFUSED(size, 0, -EINVAL);
    REFUSED(arguments, (const char *const[]){NULL}, -EINVAL);
    REFUSED(restart, (enum wherry_restart)7, -EINVAL);
    REFUSED(ready, (enum wherry_ready)7, -EINVAL);
    REFUSED(ready, WHERRY_READY_URL, -EINVAL);
    REFUSED(stop_signal, 99, -EINVAL);
    REFUSED(stop_timeout, -1, -EINVAL);
    REFUSED(restart_limit, 64, -EINVAL);
    REFUSED(after, ((const char *const[]){"nobody", NULL}), -ENOENT);
    struct wherry_process_options process = WHERRY_PROCESS_OPTIONS;
    process.group = WHERRY_PROCESS_GROUP_SESSION;
    REFUSED(process, &process, -EINVAL);
    test_ok(wherry_supervisor_add(supervisor, "a", &good));
    test_is(wherry_supervisor_add(supervisor, "a", &good), -EEXIST);
    struct wherry_unit_status status;
    test_is(wherry_supervisor_status(supervisor, 1, &status), -ENOENT);
    wherry_supervisor_close(supervisor);
    wherry_supervisor_close(NULL);
}
