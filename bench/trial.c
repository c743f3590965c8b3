/* bench/trial.c - runs one repetition in two fresh processes.
 *
 * SPDX-License-Identifier: MIT
 *
 * Fresh ones each time, so that no state of one contender (memory, caches of the allocator, sockets) helps or hurts the
 * next. */
#include "trial.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"

enum { ROUND_SIZE = 64, ROUND_WARMUP = 500, PARTS_AHEAD = 8192, LATENCY_LIMIT = 100000 };

/* What parent and children share. */
struct report {
    int failure; /* -errno of an object that cannot do it */
    double figure;
    _Atomic long disturbed; /* times a process lost its core to a stranger while it was measured */
};

/* A repetition in which others took the cores away says nothing; it is made again, a few times. */
enum { DISTURBED = 12, TRIES = 3 };

static long cores_lost(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

struct throughput {
    struct link link;
    size_t size;
    uint64_t warmup, count;
    struct report *report;
};

/* Leaving badly makes the parent end the other process, which may wait for ever. */
static _Noreturn void give_up(struct report *report, int failure)
{
    if (report->failure == 0)
        report->failure = failure;
    _exit(1);
}

static void throughput_sender(struct crew *crew, void *argument)
{
    struct throughput *run = argument;
    struct link *link = &run->link;
    unsigned char *data = need_memory(run->size);
    pattern_fill(data, run->size);
    pin_to_core(0);
    int result = link->class->open(link, true);
    crew_meet(crew);
    long lost = cores_lost();
    for (uint64_t i = 0; result == 0 && i < run->warmup + run->count; i++) {
        pattern_number(data, i);
        result = link->class->send(link, data, run->size);
    }
    if (result < 0)
        give_up(run->report, result);
    run->report->disturbed += cores_lost() - lost;
    link->class->close(link);
}

static void throughput_receiver(struct crew *crew, void *argument)
{
    struct throughput *run = argument;
    struct link *link = &run->link;
    unsigned char *pattern = need_memory(run->size);
    int64_t started = 0;
    pattern_fill(pattern, run->size);
    pin_to_core(1);
    int result = link->class->open(link, false);
    if (result < 0)
        give_up(run->report, result);
    crew_meet(crew);
    long lost = cores_lost();
    for (uint64_t i = 0; i < run->warmup + run->count; i++) {
        const unsigned char *data;
        size_t size = 0;
        if (i == run->warmup)
            started = now_ns();
        result = link->class->receive(link, &data, &size);
        if (result < 0)
            give_up(run->report, result);
        if (result == 0)
            give_up(run->report, -ENODATA); /* or what the sender says */
        if (size != run->size || !pattern_right(data, size, pattern, i))
            die("%s: message %llu came with wrong contents", link->subject->name, (unsigned long long)i);
    }
    run->report->figure = (double)run->count * 1e9 / (double)(now_ns() - started);
    run->report->disturbed += cores_lost() - lost;
    link->class->close(link);
}

static struct link make_link(const struct contender *contender, const struct subject *subject, size_t size)
{
    struct link link = link_make(contender->class, subject, size);
    link.waiting = contender->waiting;
    link.ahead = subject->shared ? 0 : subject->many && contender->ahead < PARTS_AHEAD ? PARTS_AHEAD : contender->ahead;
    link.frame_a_read = contender->frame_a_read;
    link.most_read = contender->most_read;
    link.most_written = contender->most_written;
    link.use = contender->use;
    return link;
}

static struct report *fresh_report(void)
{
    static struct report *report;
    if (!report)
        report = need_shared(sizeof *report);
    memset(report, 0, sizeof *report);
    return report;
}

static int again;

int trial_again(void)
{
    return again;
}

static int run_throughput(const struct contender *contender, const struct subject *subject, size_t size, uint64_t count,
                          struct report *report)
{
    struct throughput run = {
        .link = make_link(contender, subject, size),
        .size = size,
        .warmup = count / 10 + 1,
        .count = count,
        .report = report,
    };
    struct crew crew;
    int result = run.link.class->prepare(&run.link);
    if (result < 0)
        return result;
    crew_init(&crew);
    crew_add(&crew, throughput_receiver, &run);
    crew_add(&crew, throughput_sender, &run);
    run.link.class->drop(&run.link);
    if (!crew_finish(&crew) && report->failure == 0)
        die("%s, %s: a process died", subject->name, contender->name);
    return report->failure;
}

int trial_throughput(const struct contender *contender, const struct subject *subject, size_t size, uint64_t count,
                     double *ret_rate)
{
    struct report *report;
    for (int tries = 0; tries < TRIES; tries++) {
        report = fresh_report();
        int result = run_throughput(contender, subject, size, count, report);
        if (result < 0)
            return result;
        if (report->disturbed < DISTURBED)
            break;
        again++;
    }
    *ret_rate = report->figure;
    return 0;
}

/* ---- latency ---- */

struct latency {
    struct link there, back;
    int core, other_core;
    uint64_t count;
    struct report *report;
};

static int open_both(struct latency *run, bool first)
{
    /* Each opens the end that listens before the one that connects, or both would wait for the other. */
    struct link *in = first ? &run->back : &run->there, *out = first ? &run->there : &run->back;
    int result = in->class->open(in, false);
    return result < 0 ? result : out->class->open(out, true);
}

static int round_trip(struct link *out, struct link *in, unsigned char *message, uint64_t number)
{
    const unsigned char *data;
    size_t size = 0;
    pattern_number(message, number);
    int result = out->class->send(out, message, ROUND_SIZE);
    if (result == 0)
        result = in->class->receive(in, &data, &size);
    if (result == 1 && (size != ROUND_SIZE || !pattern_right(data, size, message, number)))
        die("%s: round trip %llu came back wrong", in->subject->name, (unsigned long long)number);
    return result;
}

static void latency_first(struct crew *crew, void *argument)
{
    struct latency *run = argument;
    unsigned char message[ROUND_SIZE];
    double *times = need_memory(run->count * sizeof *times);
    pattern_fill(message, sizeof message);
    pin_to_core(run->core);
    int result = open_both(run, true);
    crew_meet(crew);
    for (uint64_t i = 0; result >= 0 && i < ROUND_WARMUP + run->count; i++) {
        int64_t started = now_ns();
        result = round_trip(&run->there, &run->back, message, i);
        if (i >= ROUND_WARMUP)
            times[i - ROUND_WARMUP] = (double)(now_ns() - started) / 2;
    }
    if (result != 1)
        give_up(run->report, result ? result : -EPIPE);
    run->report->figure = median(times, run->count);
    run->there.class->close(&run->there);
    run->back.class->close(&run->back);
}

static void latency_second(struct crew *crew, void *argument)
{
    struct latency *run = argument;
    pin_to_core(run->other_core);
    int result = open_both(run, false);
    crew_meet(crew);
    for (uint64_t i = 0; result >= 0 && i < ROUND_WARMUP + run->count; i++) {
        const unsigned char *data;
        size_t size;
        result = run->there.class->receive(&run->there, &data, &size);
        if (result == 1)
            result = run->back.class->send(&run->back, data, size);
    }
    if (result < 0)
        give_up(run->report, result);
    run->there.class->close(&run->there);
    run->back.class->close(&run->back);
}

int trial_latency(const struct contender *contender, const struct subject *subject, int core, int other_core,
                  uint64_t count, double *ret_time)
{
    struct latency run = {
        .there = make_link(contender, subject, ROUND_SIZE),
        .back = make_link(contender, subject, ROUND_SIZE),
        .core = core,
        .other_core = other_core,
        .count = count < LATENCY_LIMIT ? count : LATENCY_LIMIT,
        .report = fresh_report(),
    };
    struct crew crew;
    int result = run.there.class->prepare(&run.there);
    if (result == 0)
        result = run.back.class->prepare(&run.back);
    if (result < 0)
        return result;
    crew_init(&crew);
    crew_add(&crew, latency_first, &run);
    crew_add(&crew, latency_second, &run);
    run.there.class->drop(&run.there);
    run.back.class->drop(&run.back);
    if (!crew_finish(&crew) && run.report->failure == 0)
        die("%s, %s: a process died", subject->name, contender->name);
    if (run.report->failure)
        return run.report->failure;
    *ret_time = run.report->figure;
    return 0;
}
