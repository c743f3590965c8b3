/* tests/crash/test_kill_receive.c - owns the proof that a receiver may be killed at any system call of a receive.
 *
 * SPDX-License-Identifier: MIT
 *
 * The sender lives.  What the dead receiver had read is gone with it; the next one gets whole messages only, in order,
 * each at most once, and all that is sent after it came.  On a FIFO it takes over in the middle of a stream, so
 * frame=length alone can keep that; bytes that are skipped may be reported once. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "crash/tracer.h"
#include "harness.h"
#include "unit/ends.h"
#include "unit/pattern.h"

static const struct {
    struct ends_kind kind;
    const char *framing;
} sites[] = {
    {ENDS_FIFO, "frame=length"}, {ENDS_FIFO_SINGLE, "frame=length"},
    {ENDS_UNIX, "frame=length"}, {ENDS_UNIX, "frame=line"},
    {ENDS_SEQPACKET, ""},        {ENDS_DGRAM, ""},
};
enum { SITES = sizeof sites / sizeof *sites };

static const size_t sizes[] = {0, 1, 64, 4096, 5000, 65536, 300000, 1 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes, LARGEST = 1 << 20, QUEUED = 6, RECEIVED = 3 };

struct run {
    const struct ends_kind *kind;
    size_t size;
    char url[400];
    struct wherry_channel *sender;
    uint8_t *data, *buffer;
    uint32_t sent; /* messages accepted so far, numbered from 0 */
    size_t kill_at, kills;
    bool borrows;
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
static void receive_some(void *argument)
{
    struct run *run = argument;
    struct wherry_channel *receiver;
    struct wherry_loan loan;
    size_t size;
    if (wherry_channel_open(run->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver) < 0)
        _exit(71);
    trace_mark();
    for (int i = 0; i < RECEIVED; i++) {
        if (!run->borrows && wherry_channel_receive(receiver, run->buffer, LARGEST, &size, WHERRY_FOREVER) != 1)
            _exit(72);
        if (run->borrows && wherry_channel_borrow(receiver, &loan, WHERRY_FOREVER) != 1)
            _exit(73);
        if (run->borrows)
            wherry_channel_return(receiver, &loan);
    }
    trace_mark();
}

static size_t size_of(const struct run *run, uint32_t number)
{
    return number % 3 == 2 ? 20 : run->size;
}

/* Whether another message was accepted. */
static bool send_next(struct run *run)
{
    size_t size = size_of(run, run->sent);
    pattern_fill(run->data, size, run->sent);
    int result = wherry_channel_send(run->sender, run->data, size, WHERRY_NOW);
    must(result == 0 || result == -EAGAIN || result == -EPIPE, "a send failed: %s", wherry_why());
    run->sent += result == 0;
    return result == 0;
}

/* Messages of the old sender are whole and in order; which they are, their contents say. */
static void check_message(struct run *run, size_t size, uint32_t *next)
{
    if (size < 20) /* nothing to know it by */
        return;
    for (uint32_t number = *next; number < run->sent; number++)
        if (size == size_of(run, number) && pattern_is(run->buffer, size, number)) {
            *next = number + 1;
            return;
        }
    must(false, "a message of %zu bytes came that is none of those sent, or not in order", size);
}

/* Take over and receive until message `last` of the sender came. */
static void take_over(struct run *run, struct wherry_channel *receiver)
{
    uint32_t next = 0, last = UINT32_MAX;
    unsigned skipped = 0;
    wherry_time deadline = test_deadline();
    while (next <= last || last == UINT32_MAX) {
        size_t size;
        must(wherry_now() < deadline, "what was sent after it came does not arrive");
        wherry_channel_flush(run->sender, WHERRY_NOW);
        int result = wherry_channel_receive(receiver, run->buffer, LARGEST, &size, WHERRY_NOW);
        if (result == 1) {
            check_message(run, size, &next);
        } else if (result == -EBADMSG) {
            must(++skipped == 1 && run->kind->ends, "skipped bytes were reported %u times: %s", skipped, wherry_why());
        } else if (last == UINT32_MAX && (result == -EAGAIN || result == 0)) {
            while (run->sent % 3 != 2) /* of 20 bytes, which are enough to know it by */
                if (!send_next(run))
                    break;
            if (run->sent % 3 == 2 && send_next(run))
                last = run->sent - 1;
        } else {
            must(result == -EAGAIN || result == 0, "the next receiver got %d: %s", result, wherry_why());
        }
    }
}

static size_t kill_one(struct run *run, size_t kill_at)
{
    struct trace trace;
    struct wherry_channel *receiver;
    uint32_t queued = 0;
    run->kill_at = kill_at;
    run->sent = 0;
    trace_start(&trace, receive_some, run, kill_at);
    wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    while (!trace_step(&trace)) {
        if (trace.state == TRACE_READY) {
            test_ok(wherry_channel_open(run->url, WHERRY_SEND, NULL, test_deadline(), &run->sender));
            trace_enter(&trace);
        }
        if (trace.state == TRACE_WITHIN) {
            if (queued < QUEUED)
                queued += send_next(run);
            wherry_channel_flush(run->sender, WHERRY_NOW);
        }
        sched_yield();
        must(wherry_now() < deadline, "the receiver does not get on");
    }
    must(trace.state != TRACE_EXITED, "the receiver gave up: status 0x%x", trace.status);
    if (kill_at % 2) { /* while nobody reads: what is kept goes to nobody, and a frame is cut short */
        wherry_channel_flush(run->sender, WHERRY_NOW);
        send_next(run);
    }
    int result = wherry_channel_open(run->url, WHERRY_RECEIVE, NULL, test_deadline(), &receiver);
    must(result == 0, "the place is not free: %s", wherry_why());
    if (strncmp(run->url, "fifo", 4) != 0) { /* the connection died; on a FIFO there is none */
        wherry_channel_close(run->sender, WHERRY_NOW);
        test_ok(wherry_channel_open(run->url, WHERRY_SEND, NULL, test_deadline(), &run->sender));
    }
    take_over(run, receiver);
    wherry_channel_close(run->sender, test_deadline());
    wherry_channel_close(receiver, WHERRY_NOW);
    run->kills++;
    return trace.points;
}

static size_t combinations(void)
{
    return 2 * SITES;
}

static const char *combination_name(size_t index)
{
    static char name[64];
    snprintf(name, sizeof name, "%s %s%s", sites[index / 2].kind.name, sites[index / 2].framing,
             index % 2 ? " borrow" : "");
    return name;
}

TEST_WITH(a_receiver_killed_at_each_system_call_of_a_receive, .count = combinations, .entry = combination_name,
          .seconds = 900, .leaves = TEST_LEAVES_FILES)
{
    struct run *run = calloc(1, sizeof *run);
    run->kind = &sites[index / 2].kind;
    run->borrows = index % 2;
    run->data = malloc(LARGEST);
    run->buffer = malloc(LARGEST);
    ends_url(run->url, sizeof run->url, run->kind, sites[index / 2].framing);
    for (size_t i = 0; i < SIZES; i++) {
        run->size = sizes[i];
        if (run->kind->packets && run->size > 150000)
            continue;
        size_t total = kill_one(run, 0), stride = trace_stride(total);
        for (size_t at = 1 + (index + i) % stride; at <= total; at += stride)
            kill_one(run, at);
    }
    printf("# %s: %zu kills, 0 violations\n", combination_name(index), run->kills);
    fflush(stdout);
    free(run->data);
    free(run->buffer);
    free(run);
}
