/* bench/ring_trial.c - runs one repetition of the ring's bench in two fresh processes over one fresh mapping.
 *
 * SPDX-License-Identifier: MIT */
#include "ring_trial.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A repetition in which others took the cores away says nothing; it is made again, a few times. */
enum { DISTURBED = 12, TRIES = 3, SOURCE_BYTES = 16384, SOURCE_MESSAGES = 256, HEAD_BYTES = 4096 };

const char *ring_scheme = "shm";
static int disturbed;

int ring_disturbed(void)
{
    return disturbed;
}

long ring_cores_lost(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

_Noreturn void ring_give_up(struct ring_report *report, int failure)
{
    if (report->failure == 0)
        report->failure = failure;
    _exit(1);
}

struct ring_report *ring_fresh_report(void)
{
    static struct ring_report *report;
    if (!report)
        report = need_shared(sizeof *report);
    memset(report, 0, sizeof *report);
    return report;
}

/* Few enough messages to stay in the innermost cache, and a power of two of them. */
void ring_source_make(struct ring_source *source, size_t size)
{
    size_t count = 1, stride = (size + 63) & ~(size_t)63;
    while (count * 2 * stride <= SOURCE_BYTES && count * 2 <= SOURCE_MESSAGES)
        count *= 2;
    *source = (struct ring_source){.size = size, .stride = stride, .mask = count - 1};
    source->data = need_memory(count * stride);
    source->sums = need_memory(count * sizeof *source->sums);
    for (size_t i = 0; i < count; i++) {
        unsigned char *data = source->data + i * stride;
        pattern_fill(data, size);
        pattern_number(data, i);
        source->sums[i] = ring_sum(data, size);
    }
}

int ring_lane_prepare(struct lane *lane, const struct ring_job *job)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    const struct wherry_traits *traits = lane_find(ring_scheme);
    if (!traits)
        return -EPROTONOSUPPORT;
    options.single_thread = !job->use.locked;
    options.spin = job->use.spin;
    options.capacity = job->footprint / (job->use.lanes ? (size_t)job->use.lanes : 1);
    lane_alone(traits, &options);
    return lane_prepare(lane, traits, &options);
}

/* ---- a process ---- */

/* Each opens the end that listens before the one that connects, or both would wait for the other. */
static int open_library(struct ring_run *run)
{
    const struct ring_use *use = &run->job->use;
    bool both = run->job->contender->both_ways;
    int result = 0;
    if (run->second || both)
        result = lane_open(&run->lanes[!run->second], 0, run->deadline, &run->in.channel);
    if (result == 0 && (!run->second || both))
        result = lane_open(&run->lanes[run->second], 1, run->deadline, &run->out.channel);
    for (int i = 0; result == 0 && !run->second && i < use->more_senders; i++)
        result = lane_open(&run->lanes[0], 1, run->deadline, &run->more[i]);
    if (result == 0 && use->by_poll && run->in.channel)
        result = run->in.fd = wherry_channel_receive_fd(run->in.channel);
    return result < 0 ? result : 0;
}

static void close_library(struct ring_run *run)
{
    for (size_t i = 0; i < sizeof run->more / sizeof *run->more; i++)
        wherry_channel_close(run->more[i], run->deadline);
    wherry_channel_close(run->out.channel, run->deadline);
    wherry_channel_close(run->in.channel, run->deadline);
}

/* lanes[0] and memory[0] lead from the first process to the second; where there is a way back, it is the other. */
static int open_ends(struct ring_run *run)
{
    const struct ring_job *job = run->job;
    if (job->contender->library)
        return open_library(run);
    bool both = job->contender->both_ways;
    job->contender->attach(&run->out, run->memory[both && run->second], job->footprint, job->size);
    job->contender->attach(&run->in, run->memory[both && !run->second], job->footprint, job->size);
    return 0;
}

static void work(struct crew *crew, struct ring_run *run, bool second)
{
    const struct ring_job *job = run->job;
    run->second = second;
    run->buffer = need_memory(job->size);
    run->deadline = wherry_after(60 * WHERRY_SECOND);
    ring_source_make(&run->source, job->size);
    pin_to_core(second && !job->one_core);
    /* The one who fails opening says so before all have met, and its death ends the other. */
    int result = open_ends(run);
    run->in.deadline = run->out.deadline = run->deadline;
    if (result < 0)
        ring_give_up(run->report, result);
    crew_meet(crew);
    long lost = ring_cores_lost();
    result = second ? job->contender->second(run) : job->contender->first(run);
    if (result < 0)
        ring_give_up(run->report, result);
    run->report->disturbed += ring_cores_lost() - lost;
    if (job->contender->library)
        close_library(run);
}

static void first(struct crew *crew, void *argument)
{
    work(crew, argument, false);
}

static void second(struct crew *crew, void *argument)
{
    work(crew, argument, true);
}

/* ---- the parent ---- */

static int prepare(struct ring_run *run)
{
    const struct ring_job *job = run->job;
    int ways = job->contender->both_ways ? 2 : 1, result = 0;
    for (int i = 0; result == 0 && i < ways; i++) {
        if (job->contender->library) {
            result = ring_lane_prepare(&run->lanes[i], job);
        } else {
            run->memory[i] = need_shared(job->footprint + HEAD_BYTES);
            if (job->contender->lay_out)
                job->contender->lay_out(run->memory[i], job->footprint, job->size);
        }
    }
    return result;
}

static void drop(struct ring_run *run)
{
    for (int i = 0; i < 2; i++) {
        if (run->memory[i])
            drop_memory(run->memory[i], run->job->footprint + HEAD_BYTES);
        if (run->lanes[i].traits)
            lane_drop(&run->lanes[i]);
    }
}

static int run_once(const struct ring_job *job, struct ring_report *report)
{
    struct ring_run run = {.job = job, .warmup = job->count / 10 + 1, .report = report};
    struct crew crew;
    int result = prepare(&run);
    if (result < 0)
        return result;
    crew_init(&crew);
    crew_add(&crew, second, &run);
    crew_add(&crew, first, &run);
    drop(&run);
    if (!crew_finish(&crew) && report->failure == 0)
        die("%s, %zu bytes: a process died", job->contender->name, job->size);
    return report->failure;
}

int ring_trial(const struct ring_job *job, struct ring_result *ret_result)
{
    struct ring_report *report;
    if (job->contender->measure)
        return job->contender->measure(job, ret_result);
    for (int tries = 0; tries < TRIES; tries++) {
        report = ring_fresh_report();
        int result = run_once(job, report);
        if (result < 0)
            return result;
        if (report->disturbed < DISTURBED || job->one_core)
            break;
        disturbed += tries == TRIES - 1;
    }
    *ret_result = report->result;
    return 0;
}
