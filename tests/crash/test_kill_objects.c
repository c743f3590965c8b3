/* tests/crash/test_kill_objects.c - owns the proof that who makes, publishes, opens or takes a segment or a semaphore
 * may be killed anywhere in it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A victim dies at an instruction of one public call, or at a system call of it.  Whoever comes then finds either
 * nothing or all of it, never a half; makes one anew, or opens it, within its deadline; and when that is removed
 * nothing is left. WHERRY_KILL_POINTS says at how many instructions of each; "all" at every one, which is the default
 * without sanitizers. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "crash/ring_points.h"
#include "crash/tracer.h"
#include "unit/objects.h"

enum { LENGTH = 5000, KEPT_POINTS = 200 };
#define RECOVERY (10 * WHERRY_SECOND) /* a machine that stands still for a while is no failure */

struct scene {
    const char *name;
    const char *(*object)(void);
    uintptr_t entry; /* of the call in question */
    void (*prepare)(void);
    void (*victim)(void); /* marks where the call begins and where it has returned */
    void (*check)(void);
    bool nobody; /* without root's privilege, to which missing permissions mean nothing */
};

static const char *object;
static bool traced;

static void mark(void)
{
    if (traced)
        trace_mark();
}

#define must(call_, expected_)                                                                                         \
    do {                                                                                                               \
        int result_ = (call_);                                                                                         \
        if (result_ != (expected_)) {                                                                                  \
            fprintf(stderr, "%s: %d: %s\n", #call_, result_, wherry_why());                                            \
            _exit(71);                                                                                                 \
        }                                                                                                              \
    } while (0)

/* ---- segments ---- */

static const char *posix_segment(void)
{
    return posix_name("posix-shm");
}

static const char *sysv_segment(void)
{
    return sysv_name("sysv-shm");
}

static struct wherry_segment *make_segment(void)
{
    struct wherry_segment *segment = NULL;
    must(wherry_segment_create(object, LENGTH, NULL, &segment), 0);
    return segment;
}

static void create_segment(void)
{
    mark();
    make_segment();
    mark();
}

static void publish_segment(void)
{
    struct wherry_segment *segment = make_segment();
    memset(wherry_segment_data(segment), 'x', LENGTH);
    mark();
    must(wherry_segment_publish(segment), 0);
    mark();
}

static void publish_and_stay(void)
{
    struct wherry_segment *segment = make_segment();
    memset(wherry_segment_data(segment), 'x', LENGTH);
    must(wherry_segment_publish(segment), 0);
    wherry_segment_close(segment);
}

static void close_segment(void)
{
    struct wherry_segment *segment = make_segment();
    mark();
    wherry_segment_close(segment);
    mark();
}

static void open_segment(void)
{
    struct wherry_segment *segment;
    mark();
    must(wherry_segment_open(object, NULL, WHERRY_NOW, &segment), 0);
    mark();
}

static void expect_whole(struct wherry_segment *segment)
{
    const char *data = wherry_segment_data(segment);
    ck_assert_uint_eq(wherry_segment_size(segment), LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        if (data[i] != 'x')
            ck_abort_msg("byte %zu is 0x%02x", i, (unsigned char)data[i]);
}

/* Published, it is whole; else nobody opens it, and the next maker gets through. */
static void check_segment(void)
{
    struct wherry_segment *segment;
    int result = wherry_segment_open(object, NULL, WHERRY_NOW, &segment);
    if (result == -EAGAIN) {
        test_ok(wherry_segment_create(object, LENGTH, NULL, &segment));
        static const char zeros[LENGTH];
        ck_assert(memcmp(wherry_segment_data(segment), zeros, LENGTH) == 0);
        memset(wherry_segment_data(segment), 'x', LENGTH);
        test_ok(wherry_segment_publish(segment));
        wherry_segment_close(segment);
        result = wherry_segment_open(object, NULL, WHERRY_NOW, &segment);
    }
    test_ok(result);
    expect_whole(segment);
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(object));
    struct wherry_segment_stat stat;
    test_is(wherry_segment_stat(object, &stat, sizeof stat), -ENOENT);
}

/* ---- POSIX semaphores ---- */

static const char *posix_semaphore(void)
{
    return posix_name("posix-sem");
}

static int get_semaphore(struct wherry_semaphore **ret)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    options.create = true;
    options.value = 3;
    return wherry_semaphore_open(object, &options, WHERRY_NOW, ret);
}

static void create_semaphore(void)
{
    struct wherry_semaphore *semaphore;
    mark();
    must(get_semaphore(&semaphore), 0);
    mark();
}

static void prepare_semaphore(void)
{
    struct wherry_semaphore *semaphore;
    test_ok(get_semaphore(&semaphore));
    wherry_semaphore_close(semaphore);
}

static void take_semaphore(void)
{
    struct wherry_semaphore *semaphore;
    must(get_semaphore(&semaphore), 0);
    mark();
    must(wherry_semaphore_wait(semaphore, wherry_after(WHERRY_SECOND)), 0);
    mark();
}

static void post_semaphore(void)
{
    struct wherry_semaphore *semaphore;
    must(get_semaphore(&semaphore), 0);
    must(wherry_semaphore_wait(semaphore, WHERRY_NOW), 0);
    mark();
    must(wherry_semaphore_post(semaphore), 0);
    mark();
}

static void check_made_semaphore(void)
{
    struct wherry_semaphore *semaphore;
    test_ok(get_semaphore(&semaphore));
    ck_assert_uint_eq(wherry_semaphore_value(semaphore), 3);
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(object));
}

/* It counts 3, or 2 when the victim took one with it; and no wait is longer than its deadline. */
static void check_used_semaphore(void)
{
    struct wherry_semaphore *semaphore;
    test_ok(wherry_semaphore_open(object, NULL, WHERRY_NOW, &semaphore));
    uint32_t value = wherry_semaphore_value(semaphore);
    ck_assert_msg(value == 2 || value == 3, "it counts %u", value);
    for (uint32_t i = 0; i < value; i++)
        test_ok(wherry_semaphore_wait(semaphore, WHERRY_NOW));
    test_is(wherry_semaphore_wait(semaphore, wherry_after(WHERRY_MICROSECOND * 100)), -ETIMEDOUT);
    test_ok(wherry_semaphore_post(semaphore));
    test_ok(wherry_semaphore_wait(semaphore, test_deadline()));
    wherry_semaphore_close(semaphore);
    test_ok(wherry_semaphore_remove(object));
}

/* ---- System V sets ---- */

static const char *set_object(void)
{
    return sysv_name("sysv-sem");
}

static int get_set(struct wherry_semaphore_set **ret)
{
    static const uint16_t values[3] = {3, 0, 1};
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    options.create = true;
    options.values = values;
    return wherry_semaphore_set_open(object, 3, &options, test_deadline(), ret);
}

static void create_set(void)
{
    struct wherry_semaphore_set *set;
    mark();
    must(get_set(&set), 0);
    mark();
}

static void prepare_set(void)
{
    struct wherry_semaphore_set *set;
    test_ok(get_set(&set));
    wherry_semaphore_set_close(set);
}

/* What one leaves that died in making it: the next maker's work begins there. */
static void prepare_half_made_set(void)
{
    int id = semget(test_key(0), 3, IPC_CREAT | IPC_EXCL | 0601);
    ck_assert_int_ge(id, 0);
}

static void prepare_unpublished_set(void)
{
    prepare_half_made_set();
    struct sembuf operations[] = {{0, 3, 0}, {2, 1, 0}};
    ck_assert_int_eq(semop(semget(test_key(0), 0, 0), operations, 2), 0);
}

static void prepare_half_made_segment(void)
{
    ck_assert_int_ge(shmget(test_key(0), LENGTH / 2, IPC_CREAT | IPC_EXCL | 0001), 0);
}

static const struct wherry_semaphore_operation take[2] = {{0, -3, WHERRY_UNDO}, {2, -1, WHERRY_UNDO}};
static const struct wherry_semaphore_operation give[2] = {{0, 3, WHERRY_UNDO}, {2, 1, WHERRY_UNDO}};

static void take_set(void)
{
    struct wherry_semaphore_set *set;
    must(get_set(&set), 0);
    mark();
    must(wherry_semaphore_set_operate(set, take, 2, wherry_after(WHERRY_SECOND)), 0);
    mark();
}

static void give_set(void)
{
    struct wherry_semaphore_set *set;
    must(get_set(&set), 0);
    must(wherry_semaphore_set_operate(set, take, 2, WHERRY_NOW), 0);
    mark();
    must(wherry_semaphore_set_operate(set, give, 2, WHERRY_NOW), 0);
    mark();
}

/* Initialised, and all that a dead process took is there again. */
static void check_set(void)
{
    struct wherry_semaphore_set *set;
    struct wherry_semaphore_set_stat stat;
    uint16_t values[3];
    test_ok(get_set(&set));
    test_ok(wherry_semaphore_set_operate(set, take, 2, test_deadline()));
    test_ok(wherry_semaphore_set_operate(set, give, 2, WHERRY_NOW));
    test_ok(wherry_semaphore_set_values(set, values, 3));
    ck_assert_msg(values[0] == 3 && values[1] == 0 && values[2] == 1, "%u %u %u", values[0], values[1], values[2]);
    test_ok(wherry_semaphore_set_stat(object, &stat, sizeof stat));
    ck_assert(stat.published && stat.operated_at > 0 && stat.mode == 0600);
    wherry_semaphore_set_close(set);
    test_ok(wherry_semaphore_set_remove(object));
}

/* ---- the scenes ---- */

#define SEGMENT_SCENES(kind_, object_, nobody_)                                                                        \
    {kind_ "create", object_, (uintptr_t)wherry_segment_create, NULL, create_segment, check_segment, nobody_},         \
        {kind_ "publish", object_, (uintptr_t)wherry_segment_publish, NULL, publish_segment, check_segment, nobody_},  \
        {kind_ "close", object_, (uintptr_t)wherry_segment_close, NULL, close_segment, check_segment, nobody_},        \
    {                                                                                                                  \
        kind_ "open", object_, (uintptr_t)wherry_segment_open, publish_and_stay, open_segment, check_segment, nobody_  \
    }

static const struct scene scenes[] = {
    SEGMENT_SCENES("posix segment, ", posix_segment, false),
    SEGMENT_SCENES("sysv segment, ", sysv_segment, false),
    SEGMENT_SCENES("sysv segment of nobody, ", sysv_segment, true),
    {"sysv segment, taken over", sysv_segment, (uintptr_t)wherry_segment_create, prepare_half_made_segment,
     create_segment, check_segment, false},
    {"semaphore, create", posix_semaphore, (uintptr_t)wherry_semaphore_open, NULL, create_semaphore,
     check_made_semaphore, false},
    {"semaphore, open", posix_semaphore, (uintptr_t)wherry_semaphore_open, prepare_semaphore, create_semaphore,
     check_made_semaphore, false},
    {"semaphore, wait", posix_semaphore, (uintptr_t)wherry_semaphore_wait, prepare_semaphore, take_semaphore,
     check_used_semaphore, false},
    {"semaphore, post", posix_semaphore, (uintptr_t)wherry_semaphore_post, prepare_semaphore, post_semaphore,
     check_used_semaphore, false},
    {"set, create", set_object, (uintptr_t)wherry_semaphore_set_open, NULL, create_set, check_set, false},
    {"set of nobody, create", set_object, (uintptr_t)wherry_semaphore_set_open, NULL, create_set, check_set, true},
    {"set, taken over", set_object, (uintptr_t)wherry_semaphore_set_open, prepare_half_made_set, create_set, check_set,
     false},
    {"set, finished", set_object, (uintptr_t)wherry_semaphore_set_open, prepare_unpublished_set, create_set, check_set,
     false},
    {"set, open", set_object, (uintptr_t)wherry_semaphore_set_open, prepare_set, create_set, check_set, false},
    {"set, take", set_object, (uintptr_t)wherry_semaphore_set_operate, prepare_set, take_set, check_set, false},
    {"set, give", set_object, (uintptr_t)wherry_semaphore_set_operate, prepare_set, give_set, check_set, false},
};

struct sweep {
    const struct scene *scene;
    size_t kills;
    uint64_t instructions;
    wherry_time worst;
};

static void check(struct sweep *sweep)
{
    wherry_time before = wherry_now();
    sweep->scene->check();
    wherry_time took = wherry_now() - before;
    ck_assert_msg(took < RECOVERY * test_slowness(), "the next one took %lld ms",
                  (long long)(took / WHERRY_MILLISECOND));
    sweep->worst = took > sweep->worst ? took : sweep->worst;
    sweep->kills++;
}

static void prepare(const struct scene *scene)
{
    object = scene->object();
    if (scene->prepare)
        scene->prepare();
}

/* ---- by instruction ---- */

static void step_victim(void *scene)
{
    ((const struct scene *)scene)->victim();
    wait_for_the_end();
}

static void enter(struct step *step, const struct scene *scene)
{
    prepare(scene);
    uint64_t call = scene->entry == (uintptr_t)wherry_semaphore_set_operate && scene->victim == give_set ? 2 : 1;
    ck_assert_int_eq(step_fork(step, step_victim, (void *)(uintptr_t)scene), STEP_THERE);
    ck_assert_int_eq(step_enter(step, scene->entry, call), STEP_THERE);
}

static void leave(struct step *step, struct sweep *sweep)
{
    step_kill(step, SIGKILL);
    step_end(step);
    check(sweep);
}

static void sweep_instructions(void *argument)
{
    struct sweep *sweep = argument;
    struct ring_points points;
    struct step step;
    size_t missed = 0;
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    prepare(sweep->scene); /* what is done once in a process is done: each victim goes the same way */
    check(sweep);
    enter(&step, sweep->scene);
    int result = ring_points_find(&points, &step, 3, 200000);
    ck_assert_msg(result == 0 && !points.cut, "the call could not be stepped through: %d", result);
    sweep->instructions = points.instructions;
    leave(&step, sweep);
    size_t some = wanted ? strtoul(wanted, NULL, 10) : TEST_SANITIZED ? KEPT_POINTS : 0;
    size_t stride = some ? points.count / some + 1 : 1;
    for (size_t at = 0; at < points.count; at += stride) {
        enter(&step, sweep->scene);
        result = ring_points_go(&step, &points.points[at]);
        ck_assert_msg(result == STEP_THERE || result == STEP_RETURNED, "the victim did not come to a point: %d",
                      result);
        missed += result == STEP_RETURNED;
        leave(&step, sweep);
    }
    /* the sanitizers' allocator does not always go the same way; else each victim comes to its point */
    ck_assert_msg(missed == 0 || (TEST_SANITIZED && missed <= sweep->kills / 10), "%zu victims went another way",
                  missed);
    printf("# %s: %llu instructions, %zu kills, 0 violations, the next one through in %lld us at worst\n",
           sweep->scene->name, (unsigned long long)sweep->instructions, sweep->kills,
           (long long)(sweep->worst / WHERRY_MICROSECOND));
    fflush(stdout);
    ring_points_fini(&points);
}

/* ---- by system call ---- */

static size_t kill_at_call(struct sweep *sweep, size_t kill_at)
{
    struct trace trace;
    wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    prepare(sweep->scene);
    traced = true;
    trace_start(&trace, step_victim, (void *)(uintptr_t)sweep->scene, kill_at);
    traced = false;
    while (!trace_step(&trace)) {
        if (trace.state == TRACE_READY)
            trace_enter(&trace);
        sched_yield();
        ck_assert_msg(wherry_now() < deadline, "the victim does not get on");
    }
    ck_assert_msg(trace.state != TRACE_EXITED, "the victim gave up: status 0x%x", trace.status);
    check(sweep);
    return trace.points;
}

static void sweep_calls(void *argument)
{
    struct sweep *sweep = argument;
    size_t total = kill_at_call(sweep, 0);
    for (size_t at = 1; at <= total; at++)
        kill_at_call(sweep, at);
    printf("# %s: %zu system calls, %zu kills, 0 violations, the next one through in %lld us at worst\n",
           sweep->scene->name, total / 2, sweep->kills, (long long)(sweep->worst / WHERRY_MICROSECOND));
    fflush(stdout);
}

/* ---- both ---- */

struct errand {
    void (*fn)(void *sweep);
    struct sweep *sweep;
};

static void as_nobody(void *argument)
{
    struct errand *errand = argument;
    ck_assert(test_become_nobody());
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* or nobody may step its children */
    errand->fn(errand->sweep);
}

static void go(size_t index, void (*fn)(void *sweep))
{
    struct sweep sweep = {.scene = &scenes[index]};
    struct errand errand = {fn, &sweep};
    if (!sweep.scene->nobody || !test_is_root())
        fn(&sweep);
    else
        test_join_by(test_fork(as_nobody, &errand), wherry_after(600 * WHERRY_SECOND));
}

TEST_WITH(killed_at_each_system_call, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 600)
{
    go(index, sweep_calls);
}

TEST_WITH(killed_at_each_instruction, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 600)
{
    go(index, sweep_instructions);
}
