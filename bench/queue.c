/* bench/queue.c - what the calls of <wherry/queue.h> cost beside the kernel's own, and mq: and sysv: beside raw loops.
 *
 * SPDX-License-Identifier: MIT
 *
 * Calls: one process sends a message to a queue and receives it again, which never waits; blocks of such pairs by raw
 * calls and by wherry's take turns on the same queue.  A letter has its type before it, as a raw message has; send and
 * receive copy a System V message once more each, which shows in large ones.  Carried: a process on one core sends,
 * another receives. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <time.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { LARGEST = 8192, PAIRS = 500, BLOCKS = 100, MOST_REPETITIONS = 99 };

struct letter {
    long type;
    unsigned char data[LARGEST];
};

struct own_letter {
    struct wherry_queue_letter head;
    unsigned char data[LARGEST];
};

/* ---- the queue, by its two names and both calls ---- */

struct place {
    bool posix;
    char name[64], url[64], mq[64];
    key_t key;
    int id;   /* of the raw calls: a number, or a descriptor */
    bool waits; /* raw System V calls wait in the kernel */
};

static struct place place_of(bool posix)
{
    struct place place = {.posix = posix, .key = (key_t)(0x77620000 | (getpid() & 0xffff))};
    snprintf(place.mq, sizeof place.mq, "/wherry-bench-%d", (int)getpid());
    snprintf(place.name, sizeof place.name, posix ? "posix-mq:/wherry-bench-%d" : "sysv-msg:0x7762%04x",
             posix ? (int)getpid() : (int)(getpid() & 0xffff));
    snprintf(place.url, sizeof place.url, posix ? "mq:///wherry-bench-%d" : "sysv:0x7762%04x",
             posix ? (int)getpid() : (int)(getpid() & 0xffff));
    return place;
}

static void raw_open(struct place *place)
{
    place->id = place->posix ? mq_open(place->mq, O_RDWR | O_CREAT | O_NONBLOCK, 0600, NULL)
                             : msgget(place->key, IPC_CREAT | 0600);
    if (place->id < 0)
        die("%s: %s", place->name, strerror(errno));
}

/* Until there is something or room; with a deadline, as wherry has one, System V has nothing but sleep. */
static void raw_wait(const struct place *place, short events, int64_t *step)
{
    if (place->posix) {
        struct pollfd entry = {.fd = place->id, .events = events};
        if (poll(&entry, 1, 60000) == 0)
            die("%s: a minute without progress", place->name);
        return;
    }
    struct timespec rest = {.tv_nsec = *step};
    nanosleep(&rest, NULL);
    if (*step < 10000000)
        *step = *step * 3 / 2;
}

static void raw_send(const struct place *place, struct letter *letter, size_t size)
{
    int64_t step = 50000;
    int flags = place->waits ? 0 : IPC_NOWAIT;
    while ((place->posix ? mq_send(place->id, (const char *)letter->data, size, 0)
                         : msgsnd(place->id, letter, size, flags)) != 0) {
        if (errno != EAGAIN)
            die("%s: %s", place->name, strerror(errno));
        raw_wait(place, POLLOUT, &step);
    }
}

static size_t raw_receive(const struct place *place, struct letter *letter)
{
    int64_t step = 50000;
    int flags = place->waits ? 0 : IPC_NOWAIT;
    ssize_t size;
    unsigned priority;
    while ((size = place->posix ? mq_receive(place->id, (char *)letter->data, LARGEST, &priority)
                                : msgrcv(place->id, letter, LARGEST, 0, flags)) < 0) {
        if (errno != EAGAIN && errno != ENOMSG)
            die("%s: %s", place->name, strerror(errno));
        raw_wait(place, POLLIN, &step);
    }
    return (size_t)size;
}

/* ---- calls ---- */

enum { RAW, LETTER, QUEUE, CHANNEL, WAYS };
static const char *const way_names[] = {"raw", "letter", "send, receive", "channel"};

struct pair {
    struct place place;
    struct wherry_queue *queue;
    struct wherry_channel *sender, *receiver;
    union { /* raw, and ours */
        struct letter out;
        struct own_letter out_letter;
    };
    union {
        struct letter in;
        struct own_letter in_letter;
    };
    unsigned char pattern[LARGEST];
};
_Static_assert(offsetof(struct letter, data) == offsetof(struct own_letter, data),
               "on machines whose long has 8 bytes");

static void open_pair(struct pair *pair)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_channel_options ends = WHERRY_CHANNEL_OPTIONS;
    raw_open(&pair->place);
    options.create = ends.single_thread = true;
    if (wherry_queue_open(pair->place.name, &options, WHERRY_NOW, &pair->queue) < 0 ||
        wherry_channel_open(pair->place.url, WHERRY_SEND, &ends, WHERRY_NOW, &pair->sender) < 0 ||
        wherry_channel_open(pair->place.url, WHERRY_RECEIVE, &ends, WHERRY_NOW, &pair->receiver) < 0)
        die("%s", wherry_why());
}

static void close_pair(struct pair *pair)
{
    if (pair->place.posix)
        mq_close(pair->place.id);
    wherry_queue_close(pair->queue);
    wherry_channel_close(pair->sender, WHERRY_NOW);
    wherry_channel_close(pair->receiver, WHERRY_NOW);
    wherry_queue_remove(pair->place.name);
}

static size_t once(struct pair *pair, int way, size_t size)
{
    struct wherry_queue_message message;
    size_t got = 0;
    int result = 0;
    switch (way) {
    case RAW:
        raw_send(&pair->place, &pair->out, size);
        return raw_receive(&pair->place, &pair->in);
    case LETTER:
        result = wherry_queue_send_letter(pair->queue, &pair->out_letter.head, size, WHERRY_FOREVER);
        if (result == 0)
            result = wherry_queue_receive_letter(pair->queue, WHERRY_QUEUE_ANY, 0, &pair->in_letter.head, LARGEST, &got,
                                                 WHERRY_FOREVER);
        break;
    case QUEUE:
        result = wherry_queue_send(pair->queue, 1, pair->out.data, size, WHERRY_FOREVER);
        if (result == 0)
            result = wherry_queue_receive(pair->queue, WHERRY_QUEUE_ANY, 0, pair->in.data, LARGEST, &message,
                                          WHERRY_FOREVER);
        got = message.size;
        break;
    default:
        result = wherry_channel_send(pair->sender, pair->out.data, size, WHERRY_FOREVER);
        if (result == 0)
            result = wherry_channel_receive(pair->receiver, pair->in.data, LARGEST, &got, WHERRY_FOREVER);
    }
    if (result < 0)
        die("%s", wherry_why());
    return got;
}

/* ns of a pair, in a block of them. */
static double block(struct pair *pair, int way, size_t size)
{
    static uint64_t number;
    int64_t began = now_ns();
    for (int i = 0; i < PAIRS; i++) {
        pattern_number(pair->out.data, ++number);
        if (once(pair, way, size) != size || !pattern_right(pair->in.data, size, pair->pattern, number))
            die("%s by %s: another message came back", pair->place.name, way_names[way]);
    }
    return (double)(now_ns() - began) / PAIRS;
}

static void measure_calls(bool posix, size_t size, const struct bench_options *options)
{
    static struct pair pair;
    static double times[WAYS][BLOCKS * MOST_REPETITIONS], ratios[BLOCKS * MOST_REPETITIONS];
    char name[96];
    size_t blocks = (size_t)(BLOCKS * options->repetitions);
    snprintf(name, sizeof name, "queue calls, %s, %zu B", posix ? "POSIX" : "System V", size);
    if (!bench_wants(options, name))
        return;
    pair = (struct pair){.place = place_of(posix), .out.type = 1};
    pattern_fill(pair.pattern, size);
    pattern_fill(pair.out.data, size);
    open_pair(&pair);
    for (int way = 0; way < WAYS; way++)
        block(&pair, way, size);
    for (size_t b = 0; b < blocks; b++)
        for (int way = 0; way < WAYS; way++)
            times[(way + (int)b) % WAYS][b] = block(&pair, (way + (int)b) % WAYS, size);
    for (int way = LETTER; way < WAYS; way++) {
        char label[128];
        for (size_t b = 0; b < blocks; b++)
            ratios[b] = times[way][b] / times[RAW][b];
        double copy[BLOCKS * MOST_REPETITIONS];
        memcpy(copy, times[RAW], blocks * sizeof *copy);
        struct figure raw = figure_time(median(copy, blocks));
        memcpy(copy, times[way], blocks * sizeof *copy);
        struct figure figure = figure_time(median(copy, blocks));
        snprintf(label, sizeof label, "%s, %s", name, way_names[way]);
        table_row(&(struct row){.name = label,
                                .goal = way == LETTER || (way == QUEUE && posix) ? 1.05 : 0,
                                .goal_is_most = true,
                                .figure = figure.text,
                                .raw = raw.text,
                                .ratio = median(ratios, blocks)});
    }
    close_pair(&pair);
}

/* ---- carried from one process to another ---- */

struct carry {
    struct place place;
    bool wherry;
    size_t size;
    double seconds;
    struct report {
        _Atomic uint64_t count; /* sent in all; 0: not yet known */
        _Atomic bool over;
        double rate;
    } *report;
    struct letter letter;
    unsigned char pattern[LARGEST];
};

static struct wherry_channel *open_end(struct carry *carry, enum wherry_role role)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    options.single_thread = true;
    if (!carry->wherry)
        raw_open(&carry->place);
    else if (wherry_channel_open(carry->place.url, role, &options, WHERRY_NOW, &channel) < 0)
        die("%s", wherry_why());
    return channel;
}

static void sender(struct crew *crew, void *argument)
{
    struct carry *carry = argument;
    pin_to_core(0);
    struct wherry_channel *channel = open_end(carry, WHERRY_SEND);
    wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    crew_meet(crew);
    carry->letter.type = 1;
    pattern_fill(carry->letter.data, carry->size);
    int64_t until = now_ns() + (int64_t)(carry->seconds * 1e9);
    uint64_t number = 0;
    for (; number % 64 || now_ns() < until; number++) {
        pattern_number(carry->letter.data, number);
        if (!channel)
            raw_send(&carry->place, &carry->letter, carry->size);
        else if (wherry_channel_send(channel, carry->letter.data, carry->size, deadline) < 0)
            die("%s", wherry_why());
    }
    pattern_number(carry->letter.data, UINT64_MAX); /* the last */
    if (!channel)
        raw_send(&carry->place, &carry->letter, carry->size);
    else if (wherry_channel_send(channel, carry->letter.data, carry->size, deadline) < 0)
        die("%s", wherry_why());
    wherry_channel_close(channel, WHERRY_NOW);
}

static void receiver(struct crew *crew, void *argument)
{
    struct carry *carry = argument;
    pin_to_core(1);
    struct wherry_channel *channel = open_end(carry, WHERRY_RECEIVE);
    wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    crew_meet(crew);
    pattern_fill(carry->pattern, carry->size);
    int64_t began = now_ns();
    for (uint64_t number = 0;; number++) {
        size_t size = 0;
        if (!channel)
            size = raw_receive(&carry->place, &carry->letter);
        else if (wherry_channel_receive(channel, carry->letter.data, LARGEST, &size, deadline) != 1)
            die("%s", wherry_why());
        if (size == carry->size && pattern_right(carry->letter.data, size, carry->pattern, UINT64_MAX)) {
            carry->report->rate = (double)number * 1e9 / (double)(now_ns() - began);
            break;
        }
        if (size != carry->size || !pattern_right(carry->letter.data, size, carry->pattern, number))
            die("%s: message %llu came with wrong contents", carry->place.name, (unsigned long long)number);
    }
    wherry_channel_close(channel, WHERRY_NOW);
}

static double carry_once(bool posix, size_t size, bool wherry, bool waits, double seconds)
{
    static struct carry carry;
    struct crew crew;
    carry = (struct carry){.place = place_of(posix), .wherry = wherry, .size = size, .seconds = seconds};
    carry.place.waits = waits;
    carry.report = need_shared(sizeof *carry.report);
    crew_init(&crew);
    crew_add(&crew, receiver, &carry);
    crew_add(&crew, sender, &carry);
    bool good = crew_finish(&crew);
    wherry_queue_remove(carry.place.name);
    if (!good)
        die("%s: a process died", carry.place.name);
    double rate = carry.report->rate;
    drop_memory(carry.report, sizeof *carry.report);
    return rate;
}

/* Against the raw loop that has a deadline, too; on System V beside the one that waits in the kernel and has none. */
static void measure_carried(bool posix, size_t size, const struct bench_options *options)
{
    double rates[3][MOST_REPETITIONS], ratios[2][MOST_REPETITIONS];
    size_t repetitions = (size_t)options->repetitions, ways = posix ? 2 : 3;
    char name[96];
    snprintf(name, sizeof name, "throughput %s, %zu B", posix ? "mq" : "sysv", size);
    if (!bench_wants(options, name))
        return;
    for (size_t r = 0; r < repetitions; r++) {
        for (size_t way = 0; way < ways; way++)
            rates[way][r] = carry_once(posix, size, way == 0, way == 2, options->seconds);
        for (size_t way = 1; way < ways; way++)
            ratios[way - 1][r] = rates[0][r] / rates[way][r];
    }
    struct figure figure = figure_rate(median(rates[0], repetitions));
    for (size_t way = 1; way < ways; way++) {
        struct figure raw = figure_rate(median(rates[way], repetitions));
        table_row(&(struct row){.name = name,
                                .goal = way == 1 ? 0.95 : 0,
                                .figure = figure.text,
                                .raw = raw.text,
                                .ratio = median(ratios[way - 1], repetitions),
                                .against = posix ? "poll" : way == 1 ? "sleeps in steps" : "blocks, no deadline"});
    }
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {64, 1024, LARGEST};
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    if (options.head)
        table_head();
    for (int posix = 1; posix >= 0; posix--)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            measure_calls(posix, sizes[i], &options);
    for (int posix = 1; posix >= 0; posix--)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            measure_carried(posix, sizes[i], &options);
    return table_misses() ? 1 : 0;
}
