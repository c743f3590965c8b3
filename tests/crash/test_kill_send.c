/* tests/crash/test_kill_send.c - owns the proof that a sender may be killed at any system call of a send.
 *
 * SPDX-License-Identifier: MIT
 *
 * The sender sends a message, and dies within the sending of a second one, at each of its system calls in turn.  The
 * receiver gets the first, the second whole or not at all (where the framing has boundaries), the end where the object
 * has one, and then everything that a new sender sends.  WHERRY_KILL_POINTS says at how many points of each send; "all"
 * at every one. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "crash/tracer.h"
#include "harness.h"
#include "unit/ends.h"
#include "unit/pattern.h"

enum framing { LENGTH, LINE, NUL, FIXED, RAW, FRAMINGS };
static const char *const framing_names[] = {"length", "line", "nul", "fixed", "raw"};

static const struct {
    struct ends_kind kind;
    bool beside; /* another sender lives through all of it */
} sites[] = {
    {ENDS_PIPE, false},       {ENDS_PIPE_ATOMS, false}, {ENDS_FD, false},        {ENDS_FIFO, false}, {ENDS_FIFO, true},
    {ENDS_FIFO_SINGLE, false}, {ENDS_SOCKETPAIR, false}, {ENDS_UNIX, false},     {ENDS_UNIX, true},
    {ENDS_SEQPACKET, false},  {ENDS_SEQPACKET, true},   {ENDS_DGRAM, false},
};
enum { SITES = sizeof sites / sizeof *sites };

static const size_t sizes[] = {0, 1, 64, 4096, 5000, 65536, 300000, 1 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes, LARGEST = 1 << 20 };

/* ---- one send ---------------------------------------------------------------------------------------------------- */

struct run {
    const struct ends_kind *kind;
    bool beside;
    enum framing framing;
    size_t first, size; /* of the message before, and of the one that is interrupted */
    char url[400], query[64];
    struct wherry_channel *receiver, *beside_sender, *pair[2];
    int fds[2];
    uint8_t *data, *buffer, *stream;
    size_t kills;

    /* what came, since the last start */
    size_t stream_filled; /* raw: bytes */
    unsigned count;       /* else: messages */
    bool incomplete, ended;
    size_t kill_at;
};

#define must(condition_, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            char what_[256];                                                                                           \
            snprintf(what_, sizeof what_, __VA_ARGS__);                                                                \
            ck_abort_msg("%s, %zu bytes, killed at point %zu: %s", run->url, run->size, run->kill_at, what_);          \
        }                                                                                                              \
    } while (0)

/* In the child. */
static void send_two(void *argument)
{
    struct run *run = argument;
    struct wherry_channel *sender = run->pair[1];
    char url[128];
    if (strcmp(run->kind->name, "fd") == 0) {
        close(run->fds[0]);
        snprintf(url, sizeof url, "fd:%d%s", run->fds[1], run->query);
        if (wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender) < 0)
            _exit(71);
    } else if (run->kind->by_name) {
        if (wherry_channel_open(run->url, WHERRY_SEND, NULL, test_deadline(), &sender) < 0)
            _exit(72);
    } else {
        wherry_channel_close(run->pair[0], WHERRY_NOW);
    }
    pattern_fill(run->data, run->first, 1);
    if (wherry_channel_send(sender, run->data, run->first, WHERRY_FOREVER) < 0)
        _exit(73);
    pattern_fill(run->data, run->size, 2);
    trace_mark();
    int result = wherry_channel_send(sender, run->data, run->size, WHERRY_FOREVER);
    if (result < 0)
        _exit(result == -EMSGSIZE ? 74 : 75);
    trace_mark();
}

static void open_site(struct run *run)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    char url[128];
    if (strcmp(run->kind->name, "fd") == 0) {
        ck_assert_int_eq(pipe2(run->fds, O_CLOEXEC), 0);
    } else if (run->kind->by_name) {
        if (!run->receiver)
            test_ok(wherry_channel_open(run->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &run->receiver));
        if (run->beside && !run->beside_sender)
            test_ok(wherry_channel_open(run->url, WHERRY_SEND, NULL, test_deadline(), &run->beside_sender));
    } else {
        options.inheritable = true;
        snprintf(url, sizeof url, "%s%s", run->kind->scheme, run->query);
        test_ok(wherry_channel_pair(url, &options, run->pair));
        run->receiver = run->pair[0];
    }
}

/* After the fork: this process is the receiver alone. */
static void leave_sending(struct run *run)
{
    char url[128];
    if (strcmp(run->kind->name, "fd") == 0) {
        close(run->fds[1]);
        snprintf(url, sizeof url, "fd:%d%s", run->fds[0], run->query);
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &run->receiver));
    } else if (!run->kind->by_name) {
        wherry_channel_close(run->pair[1], WHERRY_NOW);
    }
}

static void close_site(struct run *run)
{
    if (!run->kind->by_name) {
        wherry_channel_close(run->receiver, WHERRY_NOW);
        run->receiver = NULL;
    }
}

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static void note(struct run *run, const struct wherry_info *info)
{
    size_t size = info->size;
    if (run->framing == RAW) {
        must(run->stream_filled + size <= run->first + run->size, "more came than was sent");
        memcpy(run->stream + run->stream_filled, run->buffer, size);
        run->stream_filled += size;
        return;
    }
    must(run->count < 2 && !run->incomplete, "a third message came, of %zu bytes", size);
    size_t wanted = run->count == 0 ? run->first : run->size;
    uint32_t number = run->count + 1;
    must(pattern_is(run->buffer, size, number), "message %u differs from byte %zu of %zu on", number,
         pattern_match(run->buffer, size, number), size);
    if (info->flags & WHERRY_INCOMPLETE) {
        must((run->framing == LINE || run->framing == NUL) && size <= wanted, "message %u came marked incomplete",
             number);
        run->incomplete = true;
    } else {
        must(size == wanted, "message %u came torn: %zu bytes of %zu", number, size, wanted);
        run->count++;
    }
}

/* Receive what there is; false when there is nothing (more). */
static bool receive_one(struct run *run, wherry_time deadline)
{
    struct wherry_info info;
    int result = wherry_channel_receive_info(run->receiver, run->buffer, LARGEST, &info, deadline);
    if (result == 1) {
        note(run, &info);
        return true;
    }
    if (result == 0) {
        must(!run->ended, "the end came twice");
        run->ended = true;
        return false;
    }
    must(result == -EAGAIN || result == -ETIMEDOUT, "the receiver got %d: %s", result, wherry_why());
    return false;
}

static void expect_from(struct run *run, struct wherry_channel *sender, size_t size, uint32_t number)
{
    size_t got = 0;
    int result;
    wherry_time deadline = test_deadline();
    pattern_fill(run->data, size, number);
    result = wherry_channel_send(sender, run->data, size, WHERRY_NOW);
    must(result == 0, "the next sender cannot send: %s", wherry_why());
    do {
        wherry_channel_flush(sender, WHERRY_NOW);
        result = wherry_channel_receive(run->receiver, run->buffer, LARGEST, &got, WHERRY_NOW);
    } while (result == -EAGAIN && wherry_now() < deadline);
    must(result == 1 && (run->framing == RAW ? got <= size : got == size) && pattern_is(run->buffer, got, number),
         "the next message did not come: %d, %s, of %zu bytes that begin with %02x %02x %02x", result,
         result < 0 ? wherry_why() : "another", got, run->buffer[0], run->buffer[1], run->buffer[2]);
}

static void check_new_sender(struct run *run)
{
    struct wherry_channel *sender;
    size_t size = run->framing == FIXED ? run->size : 100, got;
    if (!run->kind->by_name)
        return;
    test_ok(wherry_channel_open(run->url, WHERRY_SEND, NULL, test_deadline(), &sender));
    expect_from(run, sender, size, 3);
    wherry_channel_close(sender, test_deadline());
    if (run->kind->ends && !run->beside)
        must(wherry_channel_receive(run->receiver, run->buffer, LARGEST, &got, test_deadline()) == 0,
             "the new sender's end did not come: %s", wherry_why());
}

/* Everything the dead sender left is there by now. */
static void check_aftermath(struct run *run, bool complete)
{
    if (run->beside) {
        size_t size = run->framing == FIXED ? run->size : run->framing == LENGTH ? 5000 : 400;
        /* a listening endpoint receives from one peer and the other in turns: all of the dead one's first */
        while (receive_one(run, wherry_after(run->kind->atoms ? 0 : 2 * WHERRY_MILLISECOND)))
            ;
        must(!run->ended, "the end came while a sender lives");
        expect_from(run, run->beside_sender, size, 4);
    } else if (run->kind->ends) {
        while (!run->ended)
            must(receive_one(run, test_deadline()) || run->ended, "no end came");
    } else {
        while (receive_one(run, WHERRY_NOW))
            ;
    }
    if (run->framing == RAW) {
        must(run->stream_filled >= run->first, "the first message is lost");
        must(pattern_is(run->stream, run->first, 1), "the first message is torn");
        must(pattern_is(run->stream + run->first, run->stream_filled - run->first, 2), "other bytes came");
        must(!complete || run->stream_filled == run->first + run->size, "what was accepted is lost");
    } else {
        must(run->count >= 1, "the first message is lost");
        must(!complete || run->count == 2, "what was accepted is lost");
    }
}

/* ---- kills ------------------------------------------------------------------------------------------------------- */

/* Returns the points of the stretch, when it was left alive to its end; 0 when the transport takes no such message. */
static size_t kill_one(struct run *run, size_t kill_at)
{
    struct trace trace;
    run->kill_at = kill_at;
    run->stream_filled = 0;
    run->count = 0;
    run->incomplete = run->ended = false;
    open_site(run);
    trace_start(&trace, send_two, run, kill_at);
    leave_sending(run);
    wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    while (!trace_step(&trace)) {
        if (trace.state == TRACE_READY)
            trace_enter(&trace);
        if (!receive_one(run, WHERRY_NOW))
            sched_yield();
        must(wherry_now() < deadline, "the sender does not get on");
    }
    if (trace.state == TRACE_EXITED) {
        must(WIFEXITED(trace.status) && WEXITSTATUS(trace.status) == 74, "the sender gave up: status 0x%x",
             trace.status);
        while (!run->ended && receive_one(run, wherry_after(100 * WHERRY_MILLISECOND)))
            ;
        close_site(run);
        return 0;
    }
    check_aftermath(run, trace.state == TRACE_COMPLETE);
    check_new_sender(run);
    close_site(run);
    run->kills++;
    return trace.points;
}

static bool can_carry(const struct run *run)
{
    size_t before = run->framing == LENGTH ? 12 : run->framing == LINE || run->framing == NUL;
    if (run->size == 0 && (run->framing == FIXED || run->framing == RAW))
        return false;
    return !run->kind->atoms || run->framing == LENGTH || run->size + before <= 4096;
}

/* Each site with each framing that it takes; packets have none. */
static size_t combination(size_t index, enum framing *ret_framing)
{
    for (size_t i = 0; i < SITES; i++) {
        size_t framings = sites[i].kind.packets ? 1 : FRAMINGS;
        if (index < framings) {
            *ret_framing = (enum framing)index;
            return i;
        }
        index -= framings;
    }
    return SITES;
}

static size_t combinations(void)
{
    enum framing framing = LENGTH;
    size_t count = 0;
    while (combination(count, &framing) < SITES)
        count++;
    return count;
}

static const char *combination_name(size_t index)
{
    static char name[64];
    enum framing framing = LENGTH;
    size_t site = combination(index, &framing);
    snprintf(name, sizeof name, "%s%s%s%s", sites[site].kind.name, sites[site].beside ? "_beside_another" : "",
             sites[site].kind.packets ? "" : " ", sites[site].kind.packets ? "" : framing_names[framing]);
    return name;
}

TEST_WITH(a_sender_killed_at_each_system_call_of_a_send, .count = combinations, .entry = combination_name,
          .seconds = 900)
{
    enum framing framing = LENGTH;
    size_t site = combination(index, &framing), refused = 0;
    struct run *run = calloc(1, sizeof *run);
    run->kind = &sites[site].kind;
    run->beside = sites[site].beside;
    run->framing = framing;
    run->data = malloc(LARGEST);
    run->buffer = malloc(LARGEST);
    run->stream = malloc(2 * LARGEST);
    for (size_t i = 0; i < SIZES; i++) {
        run->size = sizes[i];
        run->first = framing == FIXED ? sizes[i] : 10;
        if (!can_carry(run))
            continue;
        char more[32] = "";
        if (!run->kind->packets)
            snprintf(more, sizeof more, framing == FIXED ? "frame=%s:%zu" : "frame=%s", framing_names[framing],
                     run->size);
        const char *query = strchr(ends_url(run->url, sizeof run->url, run->kind, more), '?');
        snprintf(run->query, sizeof run->query, "%s", query ? query : "");
        size_t total = kill_one(run, 0);
        refused += total == 0;
        if (total > 0) {
            size_t stride = trace_stride(total);
            /* a run differs from the next in how often the sender waited: go on until one is left alive */
            for (size_t at = 1 + (index + i) % stride; at <= total; at += stride)
                kill_one(run, at);
        }
        wherry_channel_close(run->beside_sender, WHERRY_NOW);
        wherry_channel_close(run->kind->by_name ? run->receiver : NULL, WHERRY_NOW);
        run->beside_sender = run->receiver = NULL;
    }
    printf("# %s: %zu kills, 0 violations%s\n", combination_name(index), run->kills,
           refused ? ", some sizes refused by the kernel" : "");
    fflush(stdout);
    free(run->data);
    free(run->buffer);
    free(run->stream);
    free(run);
}
