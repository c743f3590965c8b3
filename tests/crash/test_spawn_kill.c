/* tests/crash/test_spawn_kill.c - owns the proof that the caller of a spawn may be killed at any of its
 * instructions, and at any of the child's.
 *
 * SPDX-License-Identifier: MIT
 *
 * The caller: a process starts a child, and is killed at every instruction of the call that is not libc's, found as
 * ring_points.h has it.  The child: another process starts one, which is taken instruction by instruction to its
 * exec, and at each of them its parent is killed.  This process adopts what is left (PR_SET_CHILD_SUBREAPER), so
 * that nobody escapes it.  With a death_signal nobody lives on, and a child whose parent died before its exec never
 * comes to its program; without, it is started once or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "crash/ring_points.h"
#include "harness.h"
#include "stepkill/step.h"

enum { ROUNDS = 3, MOST = 400000, SAMPLE = 60 };

struct scene {
    const char *name;
    bool tied, by_thread, namespaced, busy; /* busy: with descriptors, limits and ids to set */
    char mark[300];
    size_t points, kills, started;
};

#define must(condition_, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            char what_[400];                                                                                           \
            snprintf(what_, sizeof what_, __VA_ARGS__);                                                                \
            ck_abort_msg("%s, killed at %s: %s", scene->name, at, what_);                                              \
        }                                                                                                              \
    } while (0)

/* ---- the victim ---- */

/* The child leaves a mark, and then lives for ever if it is to die with its parent, else ends. */
static void spawn(const struct scene *scene)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const struct wherry_process_fd fds[] = {{1, 2}, {2, 1}, {7, 0}, {9, WHERRY_PROCESS_NULL}};
    const struct wherry_process_limit limits[] = {{4 /* RLIMIT_CORE */, 0, 0}};
    const char *const words[] = {"process_child", "append", scene->mark, scene->tied ? "pause" : "exit", NULL};
    struct wherry_process *process;
    options.death_signal = scene->tied ? SIGKILL : 0;
    options.pid_namespace = scene->namespaced;
    if (scene->busy) {
        options.fds = fds;
        options.fd_count = 4;
        options.limits = limits;
        options.limit_count = 1;
        options.directory = "/";
        options.group = WHERRY_PROCESS_GROUP_SESSION;
        options.set_ids = test_is_root();
    }
    if (wherry_process_spawn(test_program("process_child"), words, &options, &process) < 0)
        _exit(1);
}

static void *spawn_in_a_thread(void *argument)
{
    spawn(argument);
    return NULL;
}

static void start(struct scene *scene)
{
    pthread_t thread;
    if (!scene->by_thread) {
        spawn(scene);
    } else if (pthread_create(&thread, NULL, spawn_in_a_thread, scene) != 0 || pthread_join(thread, NULL) != 0) {
        _exit(1);
    }
}

/* What is done once a process is done before. */
static void warm_up(void)
{
    const char *const words[] = {"process_child", NULL};
    struct wherry_process *process;
    if (wherry_process_spawn(test_program("process_child"), words, NULL, &process) < 0)
        _exit(1);
    if (wherry_process_wait(process, wherry_after(60 * WHERRY_SECOND), NULL) < 0)
        _exit(1);
    wherry_process_close(process);
}

static void be_stepped(void *argument)
{
    start(argument);
}

static void be_stepped_warm(void *argument)
{
    warm_up();
    start(argument);
}

/* ---- what is left ---- */

static size_t marks(const struct scene *scene)
{
    struct stat status;
    size_t count = stat(scene->mark, &status) == 0 ? (size_t)status.st_size : 0;
    unlink(scene->mark);
    return count;
}

/* Everybody there was is a child of this process by now, and ends soon. */
static void check_left(struct scene *scene, const char *at, bool must_not_start)
{
    test_until_childless("%s, killed at %s", scene->name, at);
    size_t started = marks(scene);
    must(started <= 1, "%zu children were started", started);
    must(!must_not_start || started == 0, "the child came to its program");
    scene->started += started;
}

static size_t stride_of(size_t points)
{
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    if (TEST_SANITIZED)
        return points / 6 + 1;
    if (wanted && strcmp(wanted, "all") == 0)
        return 1;
    size_t count = wanted ? strtoul(wanted, NULL, 10) : 0;
    return points / (count ? count : SAMPLE) + 1;
}

static void report(const struct scene *scene, const char *whose)
{
    printf("# %s: %zu points of the %s, killed at %zu; the program was reached in %zu\n", scene->name, scene->points,
           whose, scene->kills, scene->started);
    fflush(stdout);
}

/* ---- at each instruction of the caller ---- */

static int enter(struct step *step, struct scene *scene, bool cold)
{
    int result = step_fork(step, cold ? be_stepped : be_stepped_warm, scene);
    return result < 0 ? result : step_enter(step, step_address(wherry_process_spawn), cold ? 1 : 2);
}

static void sweep_caller(struct scene *scene, bool cold)
{
    struct step step;
    struct ring_points points = {0};
    const char *at = "the beginning";
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    test_path_in(scene->mark, sizeof scene->mark, "mark");
    int result = enter(&step, scene, cold);
    must(result == STEP_THERE, "the victim did not come to the call: %d", result);
    result = ring_points_find(&points, &step, ROUNDS, MOST);
    must(result == STEP_RETURNED || result == 0, "the call could not be stepped through: %d", result);
    step_kill(&step, SIGKILL);
    step_end(&step);
    check_left(scene, at, false);
    must(points.count > 100 && (TEST_SANITIZED || !points.cut), "%zu points", points.count);
    size_t stride = stride_of(points.count);
    scene->started = 0;
    for (size_t i = 0; i < points.count; i += stride) {
        at = ring_point_name(&points.points[i]);
        result = enter(&step, scene, cold);
        must(result == STEP_THERE, "the victim did not come to the call: %d", result);
        result = ring_points_go(&step, &points.points[i]);
        must(result == STEP_THERE || result == STEP_RETURNED, "the victim did not come to the point: %d", result);
        step_kill(&step, SIGKILL);
        step_end(&step);
        scene->kills++;
        check_left(scene, at, false);
    }
    scene->points = points.count;
    report(scene, "caller");
    ring_points_fini(&points);
}

TEST_WITH(a_caller_killed_leaves_no_child_that_was_to_die_with_it, .seconds = 3000)
{
    struct scene scene = {.name = "tied", .tied = true};
    sweep_caller(&scene, false);
    struct scene busy = {.name = "tied, with much to set", .tied = true, .busy = true};
    sweep_caller(&busy, false);
}

TEST_WITH(a_caller_killed_in_its_first_spawn, .seconds = 3000)
{
    struct scene scene = {.name = "tied, the first", .tied = true};
    sweep_caller(&scene, true);
}

TEST_WITH(a_caller_killed_has_started_a_child_once_at_most, .seconds = 3000)
{
    struct scene scene = {.name = "not tied"};
    sweep_caller(&scene, false);
}

/* ---- at each instruction of the child ---- */

static pid_t start_traced(struct scene *scene)
{
    fflush(NULL);
    pid_t victim = fork();
    ck_assert_int_ge(victim, 0);
    if (victim == 0) {
        warm_up();
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(70);
        raise(SIGSTOP);
        start(scene);
        for (;;)
            pause();
    }
    int status;
    ck_assert_int_eq(waitpid(victim, &status, 0), victim);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    long options = PTRACE_O_TRACEVFORK | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, victim, NULL, (void *)options), 0);
    ck_assert_int_eq(ptrace(PTRACE_CONT, victim, NULL, NULL), 0);
    return victim;
}

static bool is_thread_of(pid_t thread, pid_t process)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d", (int)process, (int)thread);
    return access(path, F_OK) == 0;
}

/* Take the child so many instructions far and kill its parent.  Whether it came so far; if not, it stands at its
 * exec. */
static bool kill_parent_at(struct scene *scene, size_t wanted)
{
    pid_t victim = start_traced(scene), child = 0;
    size_t steps = 0;
    bool there = false;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        ck_assert_msg(pid > 0, "nobody is left to wait for");
        if (!WIFSTOPPED(status)) {
            ck_assert_msg(pid != victim && pid != child, "the %s ended by itself: %x",
                          pid == victim ? "victim" : "child", status);
            continue;
        }
        if (pid == victim || is_thread_of(pid, victim)) {
            ptrace(PTRACE_CONT, pid, NULL, NULL);
            continue;
        }
        child = pid;
        there = steps == wanted;
        if (there || status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            break;
        steps++;
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
    }
    if (!there)
        scene->points = steps;
    kill(victim, SIGKILL);
    while (waitpid(-1, NULL, __WALL) != victim) /* its threads first, which are traced as well */
        ;
    ptrace(PTRACE_DETACH, child, NULL, NULL); /* on with it, as an orphan */
    return there;
}

static void sweep_child(struct scene *scene)
{
    const char *at = "its exec";
    char text[64];
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    test_path_in(scene->mark, sizeof scene->mark, "mark");
    ck_assert(!kill_parent_at(scene, SIZE_MAX));
    check_left(scene, at, false);
    must(scene->points > 500, "it has %zu instructions", scene->points);
    size_t stride = stride_of(scene->points), points = scene->points;
    scene->started = 0;
    for (size_t i = 0; i < points; i += stride) {
        snprintf(text, sizeof text, "instruction %zu of the child", i);
        at = text;
        if (!kill_parent_at(scene, i) && !scene->by_thread) /* which waits for its thread's end, some times longer */
            must(false, "the child is not there");
        scene->kills++;
        check_left(scene, at, scene->tied);
    }
    scene->points = points;
    report(scene, "child");
}

static const struct scene children[] = {
    {.name = "tied", .tied = true},
    {.name = "tied, with much to set", .tied = true, .busy = true},
    {.name = "tied, in a PID namespace", .tied = true, .namespaced = true},
    {.name = "tied, by a thread", .tied = true, .by_thread = true},
    {.name = "tied, by a thread, in a PID namespace", .tied = true, .by_thread = true, .namespaced = true},
    {.name = "not tied"},
};

TEST_WITH(h63_a_child_whose_parent_is_killed_before_its_exec, .seconds = 3000, .table = children,
          .stride = sizeof children[0], .length = sizeof children / sizeof children[0])
{
    struct scene scene = children[index];
    if (scene.namespaced && !test_is_root())
        test_skip("a PID namespace needs root");
    sweep_child(&scene);
}
