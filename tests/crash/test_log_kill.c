/* tests/crash/test_log_kill.c - owns the proof that who uses a log may be killed at any instruction and any system
 * call.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child makes, appends, recovers or takes a group's message, and dies within.  Then a reader that was there before
 * sees whole messages alone, in turn; the next appender gets in at once, and what it sends arrives; what was
 * acknowledged is there; a group gets each message, once more at most where its member died with it.
 * WHERRY_KILL_POINTS says at how many instructions of a stretch; "all" at every one. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"
#include "stepkill/step.h"
#include "storage/log.h"

enum { SIZE = 100, BATCH = 3, BIG = 20000 };

struct scene {
    char path[256], url[300];
    const char *query; /* of the child */
    void (*work)(struct scene *scene);
    uintptr_t function; /* whose instructions */
    bool by_calls;      /* system calls are the points */
    size_t big;         /* of the last message of the batch; 0: SIZE */
    bool torn;          /* bytes that somebody died writing are there already */
    unsigned sent;      /* numbers of messages so far */
    unsigned read;      /* of them, by the reader */
    struct wherry_channel *reader;
    _Atomic unsigned *acked; /* test_shared() */
};

/* ---- messages that say their number ------------------------------------------------------------------------------ */

static void compose(unsigned number, uint8_t *data, size_t size)
{
    memset(data, (int)(number * 31 + 1), size);
    memcpy(data, &number, sizeof number);
}

static unsigned number_of(const uint8_t *data, size_t size)
{
    static uint8_t expected[BIG];
    unsigned number;
    ck_assert(size >= sizeof number && size <= BIG);
    memcpy(&number, data, sizeof number);
    compose(number, expected, size);
    ck_assert_msg(memcmp(data, expected, size) == 0, "message %u is torn", number);
    return number;
}

static struct wherry_channel *open_end(const struct scene *scene, const char *query, enum wherry_role role)
{
    char url[400];
    struct wherry_channel *channel = NULL;
    snprintf(url, sizeof url, "%s%s", scene->url, query);
    test_is(wherry_channel_open(url, role, NULL, WHERRY_NOW, &channel), 0);
    return channel;
}

/* ---- what the child does ----------------------------------------------------------------------------------------- */

static void send_batch(struct scene *scene)
{
    static uint8_t data[BATCH][BIG];
    struct wherry_message messages[BATCH];
    struct wherry_channel *sender = open_end(scene, scene->query, WHERRY_SEND);
    for (unsigned i = 0; i < BATCH; i++) {
        size_t size = i == BATCH - 1 && scene->big ? scene->big : SIZE;
        compose(scene->sent + i, data[i], size);
        messages[i] = (struct wherry_message){.data = data[i], .size = size};
    }
    if (wherry_channel_send_many(sender, messages, BATCH, WHERRY_NOW) == BATCH)
        atomic_store(scene->acked, scene->sent + BATCH);
    wherry_channel_close(sender, WHERRY_NOW);
}

static void child(void *argument)
{
    struct scene *scene = argument;
    scene->work(scene);
}

/* ---- a kill, and what comes after -------------------------------------------------------------------------------- */

/* Kill at point `at`; whether the stretch is that long. */
static bool kill_at(struct scene *scene, uint64_t at)
{
    struct step step;
    fflush(NULL);
    ck_assert_int_eq(step_fork(&step, child, scene), STEP_THERE);
    int result = step_enter(&step, scene->function, 1);
    ck_assert_int_eq(result, STEP_THERE);
    result = scene->by_calls ? step_advance_calls(&step, at) : step_advance(&step, at);
    if (result == STEP_THERE)
        step_kill(&step, SIGKILL);
    else
        step_finish(&step);
    step_end(&step);
    return result == STEP_THERE;
}

static void check_append(struct scene *scene)
{
    static uint8_t data[BIG];
    size_t size;
    struct stat status;
    unsigned before = scene->read, acked = atomic_load(scene->acked);
    int result;
    while ((result = wherry_channel_receive(scene->reader, data, sizeof data, &size, WHERRY_NOW)) == 1)
        ck_assert_uint_eq(number_of(data, size), scene->read++);
    test_is(result, -EAGAIN);
    ck_assert_msg(scene->read == before || scene->read == before + BATCH, "%u of a batch", scene->read - before);
    ck_assert_uint_ge(scene->read, acked);
    scene->sent = scene->read;
    struct wherry_channel *next = open_end(scene, "", WHERRY_SEND);
    compose(scene->sent++, data, SIZE);
    test_is(wherry_channel_send(next, data, SIZE, WHERRY_NOW), 0); /* the dead hold no lock */
    wherry_channel_close(next, WHERRY_NOW);
    test_is(wherry_channel_receive(scene->reader, data, sizeof data, &size, WHERRY_NOW), 1);
    ck_assert_uint_eq(number_of(data, size), scene->read++);
    uint8_t state[8];
    FILE *file = fopen(scene->path, "rbe");
    ck_assert(file && fseek(file, LOG_STATE_AT, SEEK_SET) == 0 && fread(state, 8, 1, file) == 1);
    fclose(file);
    ck_assert(stat(scene->path, &status) == 0);
    ck_assert_uint_eq((uint64_t)status.st_size, wherry__load64(state)); /* no torn tail stays */
}

static void tear(const struct scene *scene)
{
    FILE *file = fopen(scene->path, "abe");
    ck_assert(file && fwrite("WREC\100\0\0\0 half of a record", 24, 1, file) == 1);
    fclose(file);
}

static uint64_t stride_for(const struct scene *scene, uint64_t points)
{
    const char *text = getenv("WHERRY_KILL_POINTS");
    uint64_t wanted = text && strcmp(text, "all") == 0 ? points : text ? strtoul(text, NULL, 10) : 200;
    return scene->by_calls || wanted >= points || wanted == 0 ? 1 : points / wanted;
}

/* How many points the stretch has. */
static uint64_t count_points(struct scene *scene)
{
    struct step step;
    fflush(NULL);
    ck_assert_int_eq(step_fork(&step, child, scene), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, scene->function, 1), STEP_THERE);
    int result = scene->by_calls ? step_advance_calls(&step, UINT64_MAX) : step_until_return(&step);
    ck_assert_int_eq(result, STEP_RETURNED);
    uint64_t points = step.steps;
    step_finish(&step);
    step_end(&step);
    return points;
}

static void scene_init(struct scene *scene)
{
    test_path(scene->path, "log");
    snprintf(scene->url, sizeof scene->url, "file://%s", scene->path);
    scene->acked = test_shared(sizeof *scene->acked);
    wherry__log_crc(0, "", 0); /* its tables, which a child need not make each time */
    scene->reader = open_end(scene, "", WHERRY_RECEIVE);
}

static void sweep_append(struct scene *scene)
{
    uint64_t points, kills = 0;
    scene_init(scene);
    scene->work = send_batch;
    scene->function = step_address(wherry__log_append);
    if (scene->torn)
        tear(scene);
    points = count_points(scene);
    check_append(scene);
    uint64_t stride = stride_for(scene, points);
    for (uint64_t at = 1; at <= points; at += stride) {
        if (scene->torn)
            tear(scene);
        if (!kill_at(scene, at))
            break;
        kills++;
        check_append(scene);
    }
    ck_assert_uint_gt(kills, 8);
    printf("# killed at %llu of %llu points\n", (unsigned long long)kills, (unsigned long long)points);
    wherry_channel_close(scene->reader, WHERRY_NOW);
    unlink(scene->path);
}

static struct scene appends[] = {
    {.query = ""},
    {.query = "?fsync=each"},
    {.query = "", .big = BIG},
    {.query = "?retain_bytes=4096"},
    {.query = "", .torn = true},
};
static const char *const append_names[] = {"plain", "fsync", "big", "retention", "torn"};
static size_t append_count(void)
{
    return sizeof appends / sizeof *appends;
}
static const char *append_name(size_t index)
{
    return append_names[index];
}

TEST_WITH(an_appender_killed_at_any_instruction, .count = append_count, .entry = append_name, .seconds = 600)
{
    sweep_append(&appends[index]);
}

TEST_WITH(an_appender_killed_at_any_system_call, .count = append_count, .entry = append_name, .seconds = 120)
{
    appends[index].by_calls = true;
    sweep_append(&appends[index]);
}

/* ---- the maker --------------------------------------------------------------------------------------------------- */

static void make(struct scene *scene)
{
    wherry_channel_close(open_end(scene, "", WHERRY_SEND), WHERRY_NOW);
}

/* Nothing half-made has the name: whoever comes next finds a log or none. */
TEST_WITH(a_maker_killed_at_any_instruction, .seconds = 300)
{
    struct scene scene = {.work = make, .function = step_address(wherry__log_open)};
    scene_init(&scene);
    wherry_channel_close(scene.reader, WHERRY_NOW);
    unlink(scene.path);
    uint64_t points = count_points(&scene), stride = stride_for(&scene, points);
    for (uint64_t at = 1; at <= points; at += stride) {
        static uint8_t data[SIZE];
        unlink(scene.path);
        if (!kill_at(&scene, at))
            break;
        struct wherry_channel *sender = open_end(&scene, "", WHERRY_SEND),
                              *reader = open_end(&scene, "", WHERRY_RECEIVE);
        test_is(wherry_channel_send(sender, "x", 1, WHERRY_NOW), 0);
        test_is(wherry_channel_receive(reader, data, SIZE, NULL, WHERRY_NOW), 1);
        wherry_channel_close(sender, WHERRY_NOW);
        wherry_channel_close(reader, WHERRY_NOW);
    }
    unlink(scene.path);
}

/* ---- a member of a group ----------------------------------------------------------------------------------------- */

static void take_one(struct scene *scene)
{
    static uint8_t data[SIZE];
    struct wherry_loan loan;
    size_t size;
    struct wherry_channel *member = open_end(scene, "?group=g", WHERRY_RECEIVE);
    if (scene->big) {
        if (wherry_channel_borrow(member, &loan, WHERRY_NOW) == 1) {
            atomic_store(scene->acked, scene->sent); /* from here on it may be done with */
            wherry_channel_return(member, &loan);
        }
    } else {
        wherry_channel_receive(member, data, SIZE, &size, WHERRY_NOW);
    }
    wherry_channel_close(member, WHERRY_NOW);
}

/* The dead one had message n or had not: the next member gets it, or n + 1, and nothing out of turn after that. */
static void sweep_member(bool borrows, uintptr_t function)
{
    struct scene scene = {.work = take_one, .function = function, .big = borrows};
    static uint8_t data[SIZE];
    scene_init(&scene);
    wherry_channel_close(scene.reader, WHERRY_NOW);
    struct wherry_channel *sender = open_end(&scene, "", WHERRY_SEND),
                          *member = open_end(&scene, "?group=g", WHERRY_RECEIVE);
    unsigned next = 0, again = 0, gone = 0;
    compose(0, data, SIZE);
    test_is(wherry_channel_send(sender, data, SIZE, WHERRY_NOW), 0);
    uint64_t points = count_points(&scene), stride = stride_for(&scene, points);
    next = 1;
    for (uint64_t at = 1; at <= points; at += stride) {
        struct wherry_info info;
        for (unsigned n = next; n < next + 2; n++) {
            compose(n, data, SIZE);
            test_is(wherry_channel_send(sender, data, SIZE, WHERRY_NOW), 0);
        }
        scene.sent = next;
        if (!kill_at(&scene, at))
            break;
        int result = wherry_channel_receive_info(member, data, SIZE, &info, WHERRY_NOW);
        test_is(result, 1);
        unsigned first = number_of(data, info.size);
        ck_assert_msg(first == next || first == next + 1, "point %llu: %u came, not %u", (unsigned long long)at, first,
                      next);
        ck_assert_msg(!borrows || first == next || atomic_load(scene.acked) == next,
                      "point %llu: message %u was on loan, and is gone", (unsigned long long)at, next);
        again += (info.flags & WHERRY_REDELIVERED) != 0;
        gone += first == next + 1;
        if (first == next) {
            test_is(wherry_channel_receive_info(member, data, SIZE, &info, WHERRY_NOW), 1);
            ck_assert_uint_eq(number_of(data, info.size), next + 1);
        }
        test_is(wherry_channel_receive_info(member, data, SIZE, &info, WHERRY_NOW), -EAGAIN);
        next += 2;
    }
    ck_assert_uint_gt(next, 20);
    if (borrows && !TEST_SANITIZED) /* else the few points that are tried may all lie outside */
        ck_assert_uint_gt(again, 0);
    ck_assert(gone > 0 || function == step_address(wherry_channel_borrow));
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(member, WHERRY_NOW);
    unlink(scene.path);
}

TEST_WITH(a_member_killed_at_any_instruction_of_a_receive, .seconds = 1200)
{
    sweep_member(false, step_address(wherry_channel_receive));
}

TEST_WITH(a_member_killed_at_any_instruction_of_a_borrow, .seconds = 1200)
{
    sweep_member(true, step_address(wherry_channel_borrow));
}

TEST_WITH(a_member_killed_at_any_instruction_of_a_return, .seconds = 1200)
{
    sweep_member(true, step_address(wherry_channel_return));
}

TEST_WITH(a_member_killed_at_any_instruction_of_taking_over, .seconds = 1200)
{
    /* each time the message of a dead one waits: killed on the loan, then its heir is */
    struct scene scene = {.work = take_one, .function = step_address(wherry__log_group_take), .big = 1};
    static uint8_t data[SIZE];
    scene_init(&scene);
    wherry_channel_close(scene.reader, WHERRY_NOW);
    struct wherry_channel *sender = open_end(&scene, "", WHERRY_SEND);
    uint64_t points = 0, stride = 1;
    unsigned next = 0;
    for (uint64_t at = 1; points == 0 || at <= points; at += stride) {
        struct wherry_channel *member = open_end(&scene, "?group=g", WHERRY_RECEIVE);
        struct wherry_loan loan;
        struct wherry_info info;
        compose(next, data, SIZE);
        test_is(wherry_channel_send(sender, data, SIZE, WHERRY_NOW), 0);
        test_is(wherry_channel_borrow(member, &loan, WHERRY_NOW), 1);
        wherry_channel_close(member, WHERRY_NOW); /* as good as dead: it was not returned */
        if (points == 0) {
            points = count_points(&scene);
            stride = stride_for(&scene, points);
            next++;
            continue;
        }
        if (!kill_at(&scene, at))
            break;
        member = open_end(&scene, "?group=g", WHERRY_RECEIVE);
        test_is(wherry_channel_receive_info(member, data, SIZE, &info, WHERRY_NOW), 1);
        ck_assert_uint_eq(number_of(data, info.size), next);
        ck_assert(info.flags & WHERRY_REDELIVERED);
        test_is(wherry_channel_receive_info(member, data, SIZE, &info, WHERRY_NOW), -EAGAIN); /* once */
        wherry_channel_close(member, WHERRY_NOW);
        next++;
    }
    ck_assert_uint_gt(next, 20);
    wherry_channel_close(sender, WHERRY_NOW);
    unlink(scene.path);
}
