/* bench/batch.c - many small messages in few system calls, beside ZeroMQ and beside plain big writes.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: how many 64-byte messages a second does a Unix stream carry when the sender hands over many at a time?
 * Each receiver checks every byte of every message.  ours and the raw loop: sender on core 0, receiver on core 1.
 * ZeroMQ (PUSH to PULL over ipc://) has a thread for input and output in each process, so it is also tried unpinned,
 * and with its default and with an unlimited high-water mark; the best of these stands for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_ZMQ
#include <zmq.h>
#endif

#include "common.h"
#include "lane.h"
#include "link.h"

enum { SIZE = 64, TOGETHER = 512, FRAME = 12 + SIZE, STAGE = 65536 / FRAME, MOST_REPETITIONS = 99 };

struct report {
    double rate;
};

struct run {
    const struct way *way;
    uint64_t warmup, count;
    char address[300];
    struct lane lane;
    struct link raw;
    struct report *report;
    uint64_t number;  /* of the next message to be checked */
    int64_t started;
    unsigned char pattern[SIZE];
};

struct way {
    const char *name;
    crew_body *send, *receive;
    bool pinned, with_more, borrowed, zmq;
    int mark; /* high-water mark */
};

/* ---- checking, the same for all ---- */

static void take(struct run *run, const void *data, size_t size)
{
    if (run->number == run->warmup)
        run->started = now_ns();
    if (size != SIZE || !pattern_right(data, SIZE, run->pattern, run->number))
        die("%s: message %llu came with wrong contents", run->way->name, (unsigned long long)run->number);
    run->number++;
}

static uint64_t total(const struct run *run)
{
    return run->warmup + run->count;
}

static void finish(struct run *run)
{
    run->report->rate = (double)run->count * 1e9 / (double)(now_ns() - run->started);
}

static int64_t patience(void)
{
    return now_ns() + INT64_C(60000000000);
}

/* ---- wherry ---- */

static void send_together(struct run *run, struct wherry_channel *channel, unsigned char *data)
{
    static struct wherry_message messages[TOGETHER];
    for (uint64_t i = 0; i < total(run);) {
        size_t count = 0;
        for (; count < TOGETHER && i < total(run); count++, i++) {
            pattern_number(data + count * SIZE, i);
            messages[count] = (struct wherry_message){.data = data + count * SIZE, .size = SIZE};
        }
        if (wherry_channel_send_many(channel, messages, count, patience()) != (ssize_t)count)
            die("%s: %s", run->way->name, wherry_why());
    }
}

static void send_with_more(struct run *run, struct wherry_channel *channel, unsigned char *data)
{
    struct wherry_message message = {.data = data, .size = SIZE};
    int64_t deadline = patience();
    for (uint64_t i = 0; i < total(run); i++) {
        pattern_number(data, i);
        if (wherry_channel_send_message(channel, &message, WHERRY_MORE, deadline) < 0)
            die("%s: %s", run->way->name, wherry_why());
        if (i % TOGETHER == TOGETHER - 1 && wherry_channel_flush(channel, deadline) < 0)
            die("%s: %s", run->way->name, wherry_why());
    }
}

static void wherry_sender(struct crew *crew, void *argument)
{
    struct run *run = argument;
    struct wherry_channel *channel;
    unsigned char *data = need_memory(TOGETHER * SIZE);
    pin_to_core(0);
    for (size_t i = 0; i < TOGETHER; i++)
        pattern_fill(data + i * SIZE, SIZE);
    if (lane_open(&run->lane, 1, patience(), &channel) < 0)
        die("%s", wherry_why());
    crew_meet(crew);
    if (run->way->with_more)
        send_with_more(run, channel, data);
    else
        send_together(run, channel, data);
    if (wherry_channel_close(channel, patience()) < 0)
        die("%s: %s", run->way->name, wherry_why());
}

static void wherry_receiver(struct crew *crew, void *argument)
{
    struct run *run = argument;
    struct wherry_channel *channel;
    unsigned char buffer[SIZE];
    int64_t deadline = patience();
    pin_to_core(1);
    if (lane_open(&run->lane, 0, deadline, &channel) < 0)
        die("%s", wherry_why());
    crew_meet(crew);
    while (run->number < total(run)) {
        struct wherry_loan loan;
        size_t size;
        int result = run->way->borrowed ? wherry_channel_borrow(channel, &loan, deadline)
                                        : wherry_channel_receive(channel, buffer, sizeof buffer, &size, deadline);
        if (result != 1)
            die("%s: message %llu never came: %s", run->way->name, (unsigned long long)run->number, wherry_why());
        if (!run->way->borrowed) {
            take(run, buffer, size);
            continue;
        }
        take(run, loan.data, loan.info.size);
        wherry_channel_return(channel, &loan);
    }
    finish(run);
    wherry_channel_close(channel, deadline);
}

/* ---- big writes by hand ---- */

static void raw_sender(struct crew *crew, void *argument)
{
    struct run *run = argument;
    unsigned char *stage = need_memory(STAGE * FRAME);
    pin_to_core(0);
    for (size_t i = 0; i < STAGE; i++) {
        memcpy(stage + i * FRAME, &(uint32_t){SIZE}, sizeof(uint32_t));
        pattern_fill(stage + i * FRAME + FRAME - SIZE, SIZE);
    }
    run->raw.class->open(&run->raw, true);
    crew_meet(crew);
    for (uint64_t i = 0; i < total(run);) {
        size_t count = 0;
        for (; count < STAGE && i < total(run); count++, i++)
            pattern_number(stage + count * FRAME + FRAME - SIZE, i);
        if (raw_write(&run->raw, stage, count * FRAME) < 0)
            die("%s: a write failed", run->way->name);
    }
    run->raw.class->close(&run->raw);
}

static void raw_receiver(struct crew *crew, void *argument)
{
    struct run *run = argument;
    pin_to_core(1);
    run->raw.class->open(&run->raw, false);
    crew_meet(crew);
    while (run->number < total(run)) {
        const unsigned char *data;
        size_t size;
        if (run->raw.class->receive(&run->raw, &data, &size) != 1)
            die("%s: message %llu never came", run->way->name, (unsigned long long)run->number);
        take(run, data, size);
    }
    finish(run);
    run->raw.class->close(&run->raw);
}

/* ---- ZeroMQ ---- */

#ifdef HAVE_ZMQ
static const int zmq_patience = 10000, zmq_waits[] = {ZMQ_SNDTIMEO, ZMQ_RCVTIMEO, ZMQ_LINGER}; /* ms */

static void *zmq_end(struct run *run, void *context, bool sending)
{
    if (run->way->pinned) /* before the first socket, which starts the thread */
        pin_to_core(sending ? 0 : 1);
    void *socket = zmq_socket(context, sending ? ZMQ_PUSH : ZMQ_PULL);
    int failed = zmq_setsockopt(socket, sending ? ZMQ_SNDHWM : ZMQ_RCVHWM, &run->way->mark, sizeof run->way->mark);
    /* once a receiver of ZeroMQ 4.3.4 slept for ever after its sender was done: measured again then */
    for (size_t i = 0; i < sizeof zmq_waits / sizeof *zmq_waits; i++)
        failed |= zmq_setsockopt(socket, zmq_waits[i], &zmq_patience, sizeof zmq_patience);
    if (failed || (sending ? zmq_connect(socket, run->address) : zmq_bind(socket, run->address)) != 0)
        die("ZeroMQ: %s", zmq_strerror(zmq_errno()));
    return socket;
}

static void zmq_sender(struct crew *crew, void *argument)
{
    struct run *run = argument;
    unsigned char data[SIZE];
    void *context = zmq_ctx_new(), *socket = zmq_end(run, context, true);
    pattern_fill(data, sizeof data);
    crew_meet(crew);
    for (uint64_t i = 0; i < total(run); i++) {
        pattern_number(data, i);
        if (zmq_send(socket, data, sizeof data, 0) == SIZE)
            continue;
        if (zmq_errno() == EAGAIN)
            break;
        die("ZeroMQ: %s", zmq_strerror(zmq_errno()));
    }
    zmq_close(socket);
    zmq_ctx_term(context); /* waits until all is sent */
}

static void zmq_receiver(struct crew *crew, void *argument)
{
    struct run *run = argument;
    void *context = zmq_ctx_new(), *socket = zmq_end(run, context, false);
    zmq_msg_t message;
    zmq_msg_init(&message);
    crew_meet(crew);
    while (run->number < total(run)) {
        if (zmq_msg_recv(&message, socket, 0) < 0 && zmq_errno() == EAGAIN)
            break;
        if (zmq_msg_size(&message) != SIZE)
            die("ZeroMQ: %s", zmq_strerror(zmq_errno()));
        take(run, zmq_msg_data(&message), zmq_msg_size(&message));
    }
    if (run->number == total(run))
        finish(run);
    zmq_msg_close(&message);
    zmq_close(socket);
    zmq_ctx_term(context);
}
#endif

/* ---- the rows ---- */

static const struct way ways[] = {
#ifdef HAVE_ZMQ
    {"ZeroMQ", zmq_sender, zmq_receiver, .zmq = true, .mark = 1000},
    {"ZeroMQ, no mark", zmq_sender, zmq_receiver, .zmq = true, .mark = 0},
    {"ZeroMQ, pinned", zmq_sender, zmq_receiver, .zmq = true, .mark = 1000, .pinned = true},
    {"ZeroMQ, pinned, no mark", zmq_sender, zmq_receiver, .zmq = true, .mark = 0, .pinned = true},
#endif
    {"raw 64 KiB writes", raw_sender, raw_receiver, .pinned = true},
    {"send_many", wherry_sender, wherry_receiver, .pinned = true},
    {"send_many, borrowed", wherry_sender, wherry_receiver, .pinned = true, .borrowed = true},
    {"MORE", wherry_sender, wherry_receiver, .pinned = true, .with_more = true},
    {"MORE, borrowed", wherry_sender, wherry_receiver, .pinned = true, .with_more = true, .borrowed = true},
};
enum { WAYS = sizeof ways / sizeof *ways };
static double rates[WAYS][MOST_REPETITIONS];

static const struct subject *unix_stream(void)
{
    for (size_t i = 0; i < subject_count; i++)
        if (subjects[i].object == OBJECT_UNIX)
            return &subjects[i];
    die("no Unix stream to measure");
}

static void prepare(struct run *run)
{
    static unsigned serial;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.single_thread = true;
    if (run->way->zmq) {
        snprintf(run->address, sizeof run->address, "ipc://%s/zmq-%u", scratch_directory(), serial++);
    } else if (run->way->send == raw_sender) {
        run->raw = link_make(&raw_link, unix_stream(), SIZE);
        run->raw.ahead = 1 << 16;
        if (run->raw.class->prepare(&run->raw) < 0)
            die("no Unix socket");
    } else if (lane_prepare(&run->lane, lane_find("unix"), &options) < 0) {
        die("%s", wherry_why());
    }
}

static double measure_once(const struct way *way, uint64_t count)
{
    struct run run = {.way = way, .warmup = count / 10, .count = count};
    struct crew crew;
    run.report = need_shared(sizeof *run.report);
    pattern_fill(run.pattern, sizeof run.pattern);
    prepare(&run);
    crew_init(&crew);
    crew_add(&crew, way->receive, &run);
    crew_add(&crew, way->send, &run);
    if (run.raw.class)
        run.raw.class->drop(&run.raw);
    if (!crew_finish(&crew))
        die("%s: a process died", way->name);
    double rate = run.report->rate;
    drop_memory(run.report, sizeof *run.report);
    return rate;
}

static double measure(const struct way *way, uint64_t count)
{
    double rate = 0;
    for (int tries = 0; rate <= 0; tries++) {
        if (tries == 3)
            die("%s: its receiver waits for messages that its sender has sent, time after time", way->name);
        rate = measure_once(way, count);
    }
    return rate;
}

static double middle(size_t way, size_t repetitions)
{
    double copy[MOST_REPETITIONS];
    memcpy(copy, rates[way], repetitions * sizeof *copy);
    return median(copy, repetitions);
}

static void compare(size_t ours, size_t other, double goal, size_t repetitions)
{
    char name[96];
    double ratios[MOST_REPETITIONS];
    for (size_t r = 0; r < repetitions; r++)
        ratios[r] = rates[ours][r] / rates[other][r];
    struct figure figure = figure_rate(middle(ours, repetitions)), raw = figure_rate(middle(other, repetitions));
    snprintf(name, sizeof name, "batched unix, 64 B, %s", ways[ours].name);
    table_row(&(struct row){.name = name,
                            .goal = goal,
                            .figure = figure.text,
                            .raw = raw.text,
                            .ratio = median(ratios, repetitions),
                            .against = ways[other].name});
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    size_t repetitions = (size_t)options.repetitions, zmq = WAYS, raw = 0;
    stop_prepare();
    if (options.head)
        table_head();
    if (!bench_wants(&options, "batched unix, 64 B"))
        return 0;
    for (size_t r = 0; r < repetitions; r++)
        for (size_t w = 0; w < WAYS; w++)
            rates[w][r] = measure(&ways[w], (uint64_t)(options.seconds * (ways[w].zmq ? 8e6 : 24e6)));
    for (size_t w = 0; w < WAYS; w++) {
        if (ways[w].zmq && (zmq == WAYS || middle(w, repetitions) > middle(zmq, repetitions)))
            zmq = w;
        if (ways[w].send == raw_sender)
            raw = w;
    }
    if (zmq == WAYS)
        table_row(
            &(struct row){.name = "batched unix, 64 B, beside ZeroMQ", .verdict = "not measured: no libzmq here"});
    for (size_t w = raw + 1; w < WAYS; w++) {
        if (zmq < WAYS)
            compare(w, zmq, ways[w].borrowed ? 0 : 3, repetitions);
        compare(w, raw, 0, repetitions);
    }
    return table_misses() ? 1 : 0;
}
