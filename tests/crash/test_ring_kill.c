/* tests/crash/test_ring_kill.c - owns the proof that shm: survives a death at any instruction of any of its calls.
 *
 * SPDX-License-Identifier: MIT
 *
 * A victim dies before an instruction of one public call; those beside it, and a process that comes then, find all that
 * was accepted, once, whole and in order, save what it took with it by contract; a new sender's message comes within
 * 100 ms, and nothing stays in /dev/shm.  WHERRY_KILL_POINTS says at how many instructions of each call; "all" at every
 * one, in more scenes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/ring_scene.h"
#include "crash/ring_victim.h"
#include "harness.h"

#define RECOVERY (1000 * WHERRY_MILLISECOND) /* the contract says 100, on a machine that does nothing else */
/* The sanitizers' own instructions are not of interest: a look whether they have something to say. */
enum { DEFAULT_POINTS = TEST_SANITIZED ? 8 : 0, KEPT_POINTS = 600, ENOUGH = 20 /* violations: a hang takes seconds */ };
#define SLOW (40 * WHERRY_MILLISECOND) /* a sleep was waited for */

struct sweep {
    struct ring_run run;
    struct ring_points points;
    size_t scenes, kills, missed, slow, violations;
    uint64_t instructions;
    wherry_time worst;
};

/* The first is the one of the short run.  Positions: where a frame runs over the end of the lane, and where counters of
 * 32 and of 64 bits do. */
#define WRAP (SCENE_CAPACITY - 24)
static const struct ring_scene scenes[] = {
    {.size = 56, .start = WRAP},
    {.size = 0, .start = 0},
    {.size = 1, .start = 0, .two_senders = true},
    {.size = 64, .start = WRAP, .single_thread = true},
    {.size = 300, .start = SCENE_CAPACITY - 128, .two_receivers = true},
    {.size = 4096, .start = SCENE_CAPACITY - 1024},
    {.size = SCENE_CAPACITY / 2, .start = SCENE_CAPACITY - 4096, .two_senders = true},
    {.size = 56, .start = WRAP, .nearly_full = true},
    {.size = 64, .start = 0, .nearly_full = true, .single_thread = true, .two_receivers = true},
    {.size = 4096, .start = WRAP, .nearly_full = true, .two_senders = true, .two_receivers = true},
    {.size = 56, .start = WRAP, .two_receivers = true, .two_senders = true},
    {.size = 1, .start = WRAP, .two_receivers = true, .two_senders = true, .single_thread = true},
    {.size = 0, .start = 8, .two_receivers = true, .single_thread = true},
    {.size = 56, .start = WRAP, .poller = true},
    {.size = 4096, .start = 0, .poller = true, .two_senders = true, .single_thread = true},
    {.size = 56, .start = (UINT64_C(1) << 32) - 24, .two_senders = true},
    {.size = 300, .start = (UINT64_C(1) << 32) - 200, .two_receivers = true, .nearly_full = true},
    {.size = 56, .start = UINT64_MAX - 23, .two_senders = true},
    {.size = 300, .start = UINT64_MAX - 199, .two_receivers = true, .nearly_full = true},
};

/* Some scenes differ in nothing that the call comes to see. */
static bool is_another(const struct ring_scene *scene)
{
    if (scene->poller)
        return ring_call_polls(scene->call);
    return !scene->nearly_full || (!ring_call_receives(scene->call) && !ring_call_opens(scene->call));
}

static const char *describe(const struct ring_scene *scene)
{
    static char text[200];
    snprintf(text, sizeof text, "%s, %zu bytes at %llx%s%s%s%s", ring_call_name(scene->call), scene->size,
             (unsigned long long)scene->start, scene->single_thread ? ", single thread" : "",
             scene->two_receivers ? ", two receivers" : "", scene->two_senders ? ", two senders" : "",
             scene->nearly_full ? ", nearly full"
             : scene->poller    ? ", a poller"
                                : "");
    return text;
}

static void tell(struct sweep *sweep, const struct ring_point *point)
{
    const struct book *book = sweep->run.book;
    if (!book->complaints)
        return;
    if (sweep->violations++ < ENOUGH)
        printf("# VIOLATION: %s, %s, killed at %s: %s (%u in all)\n", describe(&sweep->run.scene),
               sweep->run.fresh ? "found by a new receiver" : "found by those beside", ring_point_name(point),
               book->complaint, book->complaints);
    fflush(stdout);
}

static void kill_at(struct sweep *sweep, const struct ring_point *point, bool fresh)
{
    struct ring_run *run = &sweep->run;
    bool returned = false;
    run->fresh = fresh;
    if (ring_run_begin(run)) {
        int result = ring_points_go(&run->step, point);
        returned = result == STEP_RETURNED || point->pc == 0;
        sweep->missed += result == STEP_RETURNED;
        if (returned)
            step_enter(&run->step, step_address(ring_victim_mark), 1);
        else if (result != STEP_THERE)
            book_complain(run->book, "the victim did not come to the point: %d", result);
        sweep->kills++;
    }
    step_kill(&run->step, SIGKILL);
    run->released = wherry_now();
    step_end(&run->step);
    ring_run_end(run, returned);
}

/* A machine that was busy with something else gets a second chance: it is the same instruction again. */
static void kill_and_check(struct sweep *sweep, const struct ring_point *point, bool fresh)
{
    struct ring_run *run = &sweep->run;
    kill_at(sweep, point, fresh);
    for (int i = 0; i < 2 && run->recovery > RECOVERY * test_slowness() && !run->book->complaints; i++)
        kill_at(sweep, point, fresh);
    if (run->recovery > RECOVERY * test_slowness())
        book_complain(run->book, "a new sender's message took %lld ms",
                      (long long)(run->recovery / WHERRY_MILLISECOND));
    if (run->recovery > SLOW) {
        sweep->slow++;
        if (getenv("WHERRY_TELL_SLOW"))
            printf("# %lld us: %s at %s, %s\n", (long long)(run->recovery / WHERRY_MICROSECOND), describe(&run->scene),
                   ring_point_name(point), run->fresh ? "new receiver" : "those beside");
    }
    if (run->recovery > sweep->worst)
        sweep->worst = run->recovery;
    tell(sweep, point);
}

/* Every point of a call in one scene, or each stride-th. */
static void sweep_scene(struct sweep *sweep, const struct ring_scene *scene, size_t wanted)
{
    struct ring_run *run = &sweep->run;
    run->scene = *scene;
    run->fresh = true;
    sweep->scenes++;
    if (ring_run_begin(run)) {
        int result = ring_points_find(&sweep->points, &run->step, 4, 200000);
        if (result < 0 || result == STEP_GONE)
            book_complain(run->book, "the call could not be stepped through: %d", result);
        sweep->instructions += sweep->points.instructions;
    }
    step_kill(&run->step, SIGKILL);
    run->released = wherry_now();
    step_end(&run->step);
    run->book->complaints = 0; /* no notes were taken behind the return */
    ring_run_end(run, true);
    size_t stride = wanted ? sweep->points.count / wanted + 1 : 1;
    for (size_t at = 0; at < sweep->points.count && sweep->violations < ENOUGH; at += stride)
        kill_and_check(sweep, &sweep->points.points[at], (at / stride) % 2);
    if (stride > 1 && sweep->points.count > 0)
        kill_and_check(sweep, &sweep->points.points[sweep->points.count - 1], true);
    ring_points_fini(&sweep->points);
}

static const char *call_name(size_t index)
{
    return ring_call_name((enum ring_call)index);
}

static size_t calls(void)
{
    return CALLS;
}

TEST_WITH(killed_at_each_instruction_of, .count = calls, .entry = call_name, .seconds = 3000)
{
    struct test_gate gate;
    struct sweep *sweep = calloc(1, sizeof *sweep);
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    bool all = wanted && strcmp(wanted, "all") == 0;
    test_gate_init(&gate);
    sweep->run.book = test_shared(sizeof *sweep->run.book);
    sweep->run.gate = &gate;
    size_t count = all ? sizeof scenes / sizeof scenes[0] : 1, points = TEST_SANITIZED || !wanted ? DEFAULT_POINTS
                                                                        : all                     ? 0
                                                                              : strtoul(wanted, NULL, 10);
    wherry_time began = wherry_now();
    for (size_t i = 0; i < count; i++) {
        struct ring_scene scene = scenes[i];
        scene.call = (enum ring_call)index;
        if (!wanted && !TEST_SANITIZED && ring_call_keeps(scene.call)) /* much as without keep=1 */
            points = KEPT_POINTS;
        if (i == 0 || is_another(&scene))
            sweep_scene(sweep, &scene, points);
    }
    printf("# %s: %zu kills in %zu scenes (%zu too late), %zu violations, worst recovery %lld us, %zu over 40 ms; %lld "
           "ms\n",
           call_name(index), sweep->kills, sweep->scenes, sweep->missed, sweep->violations,
           (long long)(sweep->worst / WHERRY_MICROSECOND), sweep->slow,
           (long long)((wherry_now() - began) / WHERRY_MILLISECOND));
    fflush(stdout);
    test_gate_fini(&gate);
    ck_assert_uint_eq(sweep->violations, 0);
    free(sweep);
}
