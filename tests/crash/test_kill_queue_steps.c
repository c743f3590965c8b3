/* tests/crash/test_kill_queue_steps.c - owns the proof that who opens, fills, empties or removes a message queue may be
 * killed at any instruction.
 *
 * SPDX-License-Identifier: MIT
 *
 * For each instruction of each call, what libc does as one: a process is killed there.  Whoever comes then opens the
 * queue, or makes it, at once, with its permissions and its limits; what was in it comes out in order, with the
 * victim's message whole behind it or not at all, the one that it was taking there or gone; a message goes in and comes
 * out; and when it is removed nothing is left.  WHERRY_KILL_POINTS says at how many points of each call; "all" at every
 * one, which is the default without sanitizers. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/ring_points.h"
#include "unit/objects.h"

enum { SIZE = 400, BEFORE = 3, BYTES = (BEFORE + 2) * SIZE, ROUNDS = 3, MOST = 200000, SAMPLE = 60 };
#define RECOVERY (10 * WHERRY_SECOND) /* a machine that stands still for a while is no failure */

enum call { CREATE, OPEN, SEND, RECEIVE, COPY, REMOVE, CALLS };
static const char *const call_names[CALLS] = {"create", "open", "send", "receive", "copy", "remove"};

static const struct scene {
    const char *name;
    enum call call;
    bool posix;
} scenes[] = {
    {"posix create", CREATE, true},   {"posix open", OPEN, true},     {"posix send", SEND, true},
    {"posix receive", RECEIVE, true}, {"posix remove", REMOVE, true}, {"sysv create", CREATE, false},
    {"sysv open", OPEN, false},       {"sysv send", SEND, false},     {"sysv receive", RECEIVE, false},
    {"sysv copy", COPY, false},       {"sysv remove", REMOVE, false},
};

static const char *name_of(const struct scene *scene)
{
    return scene->posix ? posix_name("posix-mq") : sysv_name("sysv-msg");
}

static int get(const struct scene *scene, struct wherry_queue **ret)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    options.create = true;
    options.mode = 0640;
    if (scene->posix)
        options.messages = BEFORE + 2;
    else
        options.bytes = BYTES;
    return wherry_queue_open(name_of(scene), &options, test_deadline(), ret);
}

static int put(struct wherry_queue *queue, char letter)
{
    char data[SIZE];
    memset(data, letter, sizeof data);
    return wherry_queue_send(queue, 0, data, sizeof data, WHERRY_NOW);
}

/* The letter that all of the message consists of; 0 when there is none. */
static char take(struct wherry_queue *queue)
{
    struct wherry_queue_message message;
    char data[8192] = "";
    int result = wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, data, sizeof data, &message, WHERRY_NOW);
    if (result == -EAGAIN)
        return 0;
    test_ok(result);
    ck_assert_uint_eq(message.size, SIZE);
    for (size_t i = 1; i < SIZE; i++)
        ck_assert_int_eq(data[i], data[0]);
    return data[0];
}

/* ---- the victim ---- */

static void victim(void *argument)
{
    const struct scene *scene = argument;
    struct wherry_queue_message message;
    struct wherry_queue *queue;
    char data[8192];
    int result = 0;
    if (scene->call == REMOVE)
        result = wherry_queue_remove(name_of(scene));
    else
        result = get(scene, &queue);
    if (result == 0 && scene->call == SEND)
        result = put(queue, 'v');
    if (result == 0 && scene->call == RECEIVE)
        result = wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, data, sizeof data, &message, WHERRY_NOW);
    if (result == 0 && scene->call == COPY) {
        result = wherry_queue_copy(queue, 0, data, sizeof data, &message);
        if (result == -EOPNOTSUPP) /* a kernel without MSG_COPY */
            result = 0;
    }
    if (result < 0)
        _exit(1);
}

static uintptr_t address_of(enum call call)
{
    switch (call) {
    case SEND:
        return step_address(wherry_queue_send);
    case RECEIVE:
        return step_address(wherry_queue_receive);
    case COPY:
        return step_address(wherry_queue_copy);
    case REMOVE:
        return step_address(wherry_queue_remove);
    default:
        return step_address(wherry_queue_open);
    }
}

static void prepare(const struct scene *scene)
{
    struct wherry_queue *queue;
    if (scene->call == CREATE)
        return;
    test_ok(get(scene, &queue));
    for (char letter = 'a'; letter < 'a' + BEFORE; letter++)
        test_ok(put(queue, letter));
    wherry_queue_close(queue);
}

static void enter(struct step *step, const struct scene *scene)
{
    prepare(scene);
    ck_assert_int_eq(step_fork(step, victim, (void *)(uintptr_t)scene), STEP_THERE);
    ck_assert_int_eq(step_enter(step, address_of(scene->call), 1), STEP_THERE);
}

/* ---- what is left ---- */

static void check_contents(const struct scene *scene, struct wherry_queue *queue)
{
    char found[8] = "", letter;
    for (size_t i = 0; i + 1 < sizeof found && (letter = take(queue)) != 0; i++)
        found[i] = letter;
    bool right = scene->call == CREATE    ? found[0] == '\0'
                 : scene->call == SEND    ? strcmp(found, "abc") == 0 || strcmp(found, "abcv") == 0
                 : scene->call == RECEIVE ? strcmp(found, "abc") == 0 || strcmp(found, "bc") == 0
                 : scene->call == REMOVE  ? strcmp(found, "abc") == 0 || found[0] == '\0'
                                          : strcmp(found, "abc") == 0;
    ck_assert_msg(right, "it has \"%s\"", found);
}

static void check(const struct scene *scene)
{
    struct wherry_queue *queue;
    struct wherry_queue_stat stat;
    wherry_time before = wherry_now();
    test_ok(get(scene, &queue));
    test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
    ck_assert_uint_eq(stat.mode & 0777, 0640);
    ck_assert_uint_eq(scene->posix ? stat.most_messages : stat.most_bytes, scene->posix ? BEFORE + 2 : BYTES);
    check_contents(scene, queue);
    test_ok(put(queue, 'n'));
    ck_assert_int_eq(take(queue), 'n');
    wherry_queue_close(queue);
    test_ok(wherry_queue_remove(name_of(scene)));
    test_is(wherry_queue_remove(name_of(scene)), -ENOENT);
    ck_assert_int_lt(wherry_now() - before, RECOVERY * test_slowness());
}

/* ---- kills ---- */

static void leave(struct step *step, const struct scene *scene)
{
    step_kill(step, SIGKILL);
    step_end(step);
    check(scene);
}

/* How many points of a call, 0: all. */
static size_t wanted_points(void)
{
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    if (wanted && strcmp(wanted, "all") == 0)
        return 0;
    size_t points = wanted ? strtoul(wanted, NULL, 10) : 0;
    return points ? points : TEST_SANITIZED ? SAMPLE : 0;
}

TEST_WITH(who_is_killed_at_an_instruction, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 600)
{
    const struct scene *scene = &scenes[index];
    struct ring_points points;
    struct step step;
    size_t kills = 0, missed = 0, wanted = wanted_points();
    prepare(scene);
    check(scene); /* what is done once in a process is done: each victim goes the same way */
    enter(&step, scene);
    int result = ring_points_find(&points, &step, ROUNDS, MOST);
    ck_assert_msg(result == 0 && (TEST_SANITIZED || !points.cut), "the call could not be stepped through: %d", result);
    ck_assert_uint_gt(points.count, 20);
    leave(&step, scene);
    for (size_t at = 0, stride = wanted ? points.count / wanted + 1 : 1; at < points.count; at += stride, kills++) {
        enter(&step, scene);
        result = ring_points_go(&step, &points.points[at]);
        ck_assert_msg(result == STEP_THERE || result == STEP_RETURNED, "%s: the victim did not come to %s: %d",
                      call_names[scene->call], ring_point_name(&points.points[at]), result);
        missed += result == STEP_RETURNED && points.points[at].pc;
        leave(&step, scene);
    }
    ck_assert_msg(missed == 0 || TEST_SANITIZED, "%zu victims went another way", missed);
    printf("# %s: %llu instructions, %zu points, killed at %zu\n", scene->name, (unsigned long long)points.instructions,
           points.count, kills);
    fflush(stdout);
    ring_points_fini(&points);
}
