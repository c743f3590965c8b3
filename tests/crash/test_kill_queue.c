/* tests/crash/test_kill_queue.c - owns the proof that whoever makes, fills, empties or removes a message queue may be
 * killed at any system call of it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child does one thing, and dies at each of its system calls in turn.  Then a message has come whole or not at all,
 * one was taken or none, a queue that is half made is made good by the next that opens it, and others go on at once. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "crash/tracer.h"
#include "harness.h"
#include "unit/pattern.h"

#define WHERE_IT_WAITS SIZE_MAX /* rather than at a point */
enum { PATIENT = 280 }; /* points of a wait that looks again and again, to where it sleeps */
enum { SIZE = 1000, LIMIT = 8000, MODE = 0664 };

enum deed { MAKE, SEND, SEND_WAITING, RECEIVE, RECEIVE_WAITING, REMOVE };
static const struct scene {
    const char *name;
    enum deed deed;
    bool posix, channel, block;
} scenes[] = {
#define DEEDS(kind_, ...)                                                                                              \
    {kind_ "_made", MAKE, __VA_ARGS__}, {kind_ "_sent", SEND, __VA_ARGS__},                                            \
        {kind_ "_sent_when_full", SEND_WAITING, __VA_ARGS__}, {kind_ "_received", RECEIVE, __VA_ARGS__},               \
        {kind_ "_received_when_empty", RECEIVE_WAITING, __VA_ARGS__}
    DEEDS("posix", .posix = true),
    DEEDS("sysv", .posix = false),
    DEEDS("sysv_blocking", .block = true),
    DEEDS("mq", .posix = true, .channel = true),
    DEEDS("sysv_channel", .channel = true),
    {"posix_removed", REMOVE, .posix = true},
    {"sysv_removed", REMOVE, .posix = false},
};

struct run {
    const struct scene *scene;
    char name[160], url[160], mq[128];
    key_t key;
    struct wherry_queue *queue; /* the parent's */
    size_t kill_at;
    unsigned before, relief; /* messages in the queue before; what the parent did meanwhile */
    uint8_t data[SIZE], room[8192];
};

#define must(condition_, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            char what_[256];                                                                                           \
            snprintf(what_, sizeof what_, __VA_ARGS__);                                                                \
            ck_abort_msg("%s, killed at point %zu: %s (%s)", run->scene->name, run->kill_at, what_, wherry_why());     \
        }                                                                                                              \
    } while (0)

/* ---- in the child ---- */

static struct wherry_queue_options options_of(const struct run *run)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    options.create = true;
    options.mode = MODE;
    options.block = run->scene->block;
    if (run->scene->posix)
        options.messages = LIMIT / SIZE, options.message_size = SIZE;
    else
        options.bytes = LIMIT;
    return options;
}

static struct wherry_channel_options channel_options_of(const struct run *run)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.mode = MODE;
    options.capacity = LIMIT;
    if (run->scene->posix)
        options.max_message = SIZE;
    return options;
}

struct actor {
    struct wherry_queue *queue;
    struct wherry_channel *channel;
};

static int open_actor(const struct run *run, struct actor *actor)
{
    const struct wherry_queue_options options = options_of(run);
    const struct wherry_channel_options channel_options = channel_options_of(run);
    bool receives = run->scene->deed == RECEIVE || run->scene->deed == RECEIVE_WAITING;
    return run->scene->channel ? wherry_channel_open(run->url, receives ? WHERRY_RECEIVE : WHERRY_SEND,
                                                     &channel_options, WHERRY_NOW, &actor->channel)
                               : wherry_queue_open(run->name, &options, WHERRY_NOW, &actor->queue);
}

static int send_one(struct run *run, const struct actor *actor)
{
    pattern_fill(run->data, SIZE, 99);
    return actor->channel ? wherry_channel_send(actor->channel, run->data, SIZE, WHERRY_FOREVER)
                          : wherry_queue_send(actor->queue, 0, run->data, SIZE, WHERRY_FOREVER);
}

static int receive_one(struct run *run, const struct actor *actor)
{
    size_t size;
    if (!actor->channel)
        return wherry_queue_receive(actor->queue, WHERRY_QUEUE_ANY, 0, run->room, sizeof run->room, NULL,
                                    WHERRY_FOREVER);
    int result = wherry_channel_receive(actor->channel, run->room, sizeof run->room, &size, WHERRY_FOREVER);
    return result == 1 ? 0 : result < 0 ? result : -EPIPE;
}

static void act(void *argument)
{
    struct run *run = argument;
    struct actor actor = {NULL, NULL};
    umask(0027); /* so that a queue's first mode is not its last */
    if (run->scene->deed != MAKE && run->scene->deed != REMOVE && open_actor(run, &actor) < 0)
        _exit(71);
    trace_mark();
    int result = 0;
    switch (run->scene->deed) {
    case MAKE:
        result = open_actor(run, &actor);
        break;
    case SEND:
    case SEND_WAITING:
        result = send_one(run, &actor);
        break;
    case RECEIVE:
    case RECEIVE_WAITING:
        result = receive_one(run, &actor);
        break;
    case REMOVE:
        result = wherry_queue_remove(run->name);
        break;
    }
    if (result < 0)
        _exit(72);
    trace_mark();
}

/* ---- in the parent ---- */

static void send_number(struct run *run, uint32_t number)
{
    uint8_t data[SIZE];
    pattern_fill(data, SIZE, number);
    must(wherry_queue_send(run->queue, 0, data, SIZE, test_deadline()) == 0, "message %u cannot be sent", number);
}

/* The next message is whole and this one; or there is none. */
static bool take_number(struct run *run, uint32_t number, wherry_time deadline)
{
    struct wherry_queue_message message;
    int result = wherry_queue_receive(run->queue, WHERRY_QUEUE_ANY, 0, run->room, sizeof run->room, &message, deadline);
    if (result == -EAGAIN)
        return false;
    must(result == 0, "message %u does not come", number);
    must(message.size == SIZE && pattern_is(run->room, SIZE, number), "not message %u came, whole", number);
    return true;
}

static void open_queue(struct run *run)
{
    const struct wherry_queue_options options = options_of(run);
    must(wherry_queue_open(run->name, &options, test_deadline(), &run->queue) == 0, "the queue cannot be opened");
}

static void prepare(struct run *run)
{
    static const unsigned full = LIMIT / SIZE;
    enum deed deed = run->scene->deed;
    run->before = deed == SEND_WAITING ? full : deed == RECEIVE || deed == SEND || deed == REMOVE ? 3 : 0;
    run->relief = 0;
    run->queue = NULL;
    if (deed != MAKE)
        open_queue(run);
    for (unsigned i = 0; i < run->before; i++)
        send_number(run, i);
}

/* The child has waited: let it go on. */
static void relieve(struct run *run)
{
    if (run->scene->deed == SEND_WAITING)
        must(take_number(run, 0, WHERRY_NOW), "the queue is not full");
    else if (run->scene->deed == RECEIVE_WAITING)
        send_number(run, 0);
    run->relief = 1;
}

/* Somebody who knows nothing of the dead one uses the queue. */
static void check_newcomer(struct run *run)
{
    struct wherry_queue_stat stat;
    struct wherry_queue *mine = run->queue;
    open_queue(run);
    must(wherry_queue_stat(run->queue, &stat, sizeof stat) == 0, "the queue cannot be asked");
    must((stat.mode & ~(mode_t)MODE) == 0, "it has the mode 0%o, more than 0%o", stat.mode, MODE);
    must(stat.most_bytes == LIMIT, "it holds %llu bytes, not %d", (unsigned long long)stat.most_bytes, LIMIT);
    must(stat.messages == 0, "%llu messages are left", (unsigned long long)stat.messages);
    send_number(run, 7);
    must(take_number(run, 7, test_deadline()), "a newcomer's message does not come");
    wherry_queue_close(run->queue);
    run->queue = mine;
}

/* What is left is what was sent, less what the child took, and what it sent. */
static void check_messages(struct run *run, bool complete)
{
    enum deed deed = run->scene->deed;
    struct wherry_queue_stat stat;
    must(wherry_queue_stat(run->queue, &stat, sizeof stat) == 0, "the queue cannot be asked");
    unsigned first = 0, there = run->before;
    if (deed == SEND_WAITING)
        first = run->relief;
    if (deed == RECEIVE_WAITING)
        there = run->relief;
    if (deed == RECEIVE || deed == RECEIVE_WAITING) {
        must(stat.messages == there || stat.messages + 1 == there, "%u messages became %llu", there,
             (unsigned long long)stat.messages);
        first = there - (unsigned)stat.messages;
        must(!complete || first == 1, "what was received is still there");
    }
    for (; first < there; first++)
        must(take_number(run, first, WHERRY_NOW), "message %u is lost", first);
    bool sent = (deed == SEND || deed == SEND_WAITING) && take_number(run, 99, WHERRY_NOW);
    must(!complete || sent == (deed == SEND || deed == SEND_WAITING), "what was accepted is lost");
}

/* Returns the points of the stretch when it was left alive to its end. */
static size_t kill_one(struct run *run, size_t kill_at)
{
    struct trace trace;
    run->kill_at = kill_at;
    prepare(run);
    trace_start(&trace, act, run, kill_at);
    wherry_time began = wherry_now(), deadline = began + 20 * WHERRY_SECOND;
    while (!trace_step(&trace)) {
        if (trace.state == TRACE_READY) {
            trace_enter(&trace);
            began = wherry_now();
        }
        if (!run->relief && trace.state == TRACE_WITHIN &&
            (trace.points > PATIENT || wherry_now() > began + 30 * WHERRY_MILLISECOND))
            kill_at == WHERE_IT_WAITS ? (void)kill(trace.pid, SIGKILL) : relieve(run);
        sched_yield();
        must(wherry_now() < deadline, "the child does not get on");
    }
    bool killed = trace.state == TRACE_KILLED || (trace.state == TRACE_EXITED && WIFSIGNALED(trace.status));
    must(killed || trace.state == TRACE_COMPLETE, "the child gave up: status 0x%x", trace.status);
    bool complete = trace.state == TRACE_COMPLETE;
    enum deed deed = run->scene->deed;
    struct wherry_queue_stat stat;
    if (deed == REMOVE) {
        int result = wherry_queue_stat(run->queue, &stat, sizeof stat);
        bool gone = run->scene->posix ? stat.removed : result == -EIDRM;
        must(!complete || gone, "it is still there");
        if (gone) { /* a new one is another */
            wherry_queue_close(run->queue);
            open_queue(run);
        } else {
            check_messages(run, complete);
        }
    } else if (deed != MAKE) {
        check_messages(run, complete);
    }
    check_newcomer(run);
    wherry_queue_close(run->queue);
    must(wherry_queue_remove(run->name) == 0, "it cannot be removed");
    return trace.points;
}

TEST_WITH(killed_at_each_system_call, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 120)
{
    struct run *run = calloc(1, sizeof *run);
    run->scene = &scenes[index];
    run->key = (key_t)test_key((unsigned)index);
    snprintf(run->mq, sizeof run->mq, "/%.100s", test_word());
    if (run->scene->posix)
        snprintf(run->name, sizeof run->name, "posix-mq:%s", run->mq);
    else
        snprintf(run->name, sizeof run->name, "sysv-msg:0x%x", (unsigned)run->key);
    if (run->scene->posix)
        snprintf(run->url, sizeof run->url, "mq://%s", run->mq);
    else
        snprintf(run->url, sizeof run->url, "sysv:0x%x", (unsigned)run->key);
    size_t total = kill_one(run, 0);
    ck_assert_uint_gt(total, 0);
    for (size_t at = 1; at <= total; at++)
        kill_one(run, at);
    if (run->scene->deed == SEND_WAITING || run->scene->deed == RECEIVE_WAITING)
        kill_one(run, WHERE_IT_WAITS);
    printf("# %s: %zu kills, 0 violations\n", run->scene->name, total);
    fflush(stdout);
    free(run);
}
