/* tests/crash/test_supervisor_kill.c - owns the proof that a supervisor may be killed at any instruction: none of its
 * units' processes survives, and none ran twice at once.
 *
 * SPDX-License-Identifier: MIT
 *
 * The victim takes two units through all arrows of STATES.md.  Each process of a unit locks a file of the unit's name
 * first, and notes when another has it.  This test adopts what is left: nothing of it may live on.  WHERRY_KILL_POINTS
 * says at how many points; "all" at every one. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/supervise.h>

#include "crash/ring_points.h"
#include "harness.h"

enum { ROUNDS = 2, MOST = 4000000 };

static const char script[] = "exec 9>>lock.$0; flock -n 9 || echo $0 >>double; echo >&3; exec 3>&-; exec sleep 1000";

static void must_be(bool condition)
{
    if (!condition)
        _exit(1);
}

static void until(struct wherry_supervisor *supervisor, size_t index, enum wherry_unit_state state)
{
    struct wherry_unit_status status;
    do {
        must_be(wherry_supervisor_dispatch(supervisor, test_deadline()) >= 0);
        must_be(wherry_supervisor_status(supervisor, index, &status) == 0);
    } while (status.state != state);
}

/* What is gone through.  The points are those of this function and all that it calls. */
static __attribute__((noinline)) void live(void)
{
    struct wherry_supervisor_options all = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_unit_options base = WHERRY_UNIT_OPTIONS, user = WHERRY_UNIT_OPTIONS;
    struct wherry_supervisor *supervisor;
    all.reap_all = true;
    base.ready = user.ready = WHERRY_READY_FD;
    base.arguments = (const char *const[]){"/bin/sh", "-c", script, "base", NULL};
    user.arguments = (const char *const[]){"/bin/sh", "-c", script, "user", NULL};
    user.after = (const char *const[]){"base", NULL};
    base.restart = WHERRY_RESTART_ALWAYS;
    base.backoff_first = base.backoff_most = WHERRY_MILLISECOND;
    must_be(wherry_supervisor_open(&all, &supervisor) == 0);
    must_be(wherry_supervisor_add(supervisor, "base", &base) == 0);
    must_be(wherry_supervisor_add(supervisor, "user", &user) == 0);
    until(supervisor, 1, WHERRY_UNIT_READY);
    must_be(wherry_supervisor_signal(supervisor, "base", SIGKILL) == 0);
    until(supervisor, 0, WHERRY_UNIT_BACKOFF);
    until(supervisor, 0, WHERRY_UNIT_READY);
    must_be(wherry_supervisor_restart(supervisor, "user") == 0);
    until(supervisor, 1, WHERRY_UNIT_STOPPING);
    until(supervisor, 1, WHERRY_UNIT_READY);
    must_be(wherry_supervisor_stop(supervisor, NULL) == 0);
    must_be(wherry_supervisor_run(supervisor, test_deadline()) == 0);
    wherry_supervisor_close(supervisor);
}

static void be_killed(void *argument)
{
    (void)argument;
    must_be(chdir(test_dir()) == 0);
    live();
}

/* Everybody that the victim left behind ends, and soon. */
static void nobody_is_left(const char *where)
{
    test_until_childless("killed at %s", where);
}

static void nothing_ran_twice(const char *where)
{
    char path[200];
    ck_assert_msg(access(test_path(path, "double"), F_OK) != 0, "killed at %s: a unit ran twice at once", where);
}

static void clean(void)
{
    char path[200];
    unlink(test_path(path, "lock.base"));
    unlink(test_path(path, "lock.user"));
}

static int enter(struct step *step)
{
    int result = step_fork(step, be_killed, NULL);
    return result < 0 ? result : step_enter(step, step_address(live), 1);
}

static size_t wanted_points(void)
{
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    if (wanted && strcmp(wanted, "all") == 0)
        return 0;
    return TEST_SANITIZED ? 4 : 150;
}

TEST_WITH(a_supervisor_killed_at_any_instruction, .seconds = 6000)
{
    struct ring_points points = {.points = NULL};
    struct step step = {.pid = 0};
    size_t kills = 0, unreached = 0;
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    ck_assert_int_eq(enter(&step), STEP_THERE);
    int result = ring_points_find(&points, &step, ROUNDS, MOST);
    ck_assert_msg(result == STEP_RETURNED || result == 0, "stepped through: %d", result);
    ck_assert_msg(points.count > 1000 && (TEST_SANITIZED || !points.cut), "%zu points", points.count);
    step_kill(&step, SIGKILL);
    step_end(&step);
    nobody_is_left("the end");
    size_t wanted = wanted_points(), stride = wanted ? points.count / wanted + 1 : 1;
    for (size_t i = 0; i < points.count; i += stride) {
        const char *where = ring_point_name(&points.points[i]);
        ck_assert_int_eq(enter(&step), STEP_THERE);
        result = ring_points_go(&step, &points.points[i]);
        ck_assert_msg(result == STEP_THERE || result == STEP_RETURNED, "%s: %d", where, result);
        unreached += result == STEP_RETURNED; /* a look that this time was not needed */
        step_kill(&step, SIGKILL);
        step_end(&step);
        kills++;
        nobody_is_left(where);
        nothing_ran_twice(where);
    }
    printf("# %llu instructions, %zu points, killed at %zu, of which %zu were not come by\n",
           (unsigned long long)points.instructions, points.count, kills, unreached);
    fflush(stdout);
    ck_assert_uint_lt(unreached, kills / 4 + 2);
    ring_points_fini(&points);
    clean();
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}
