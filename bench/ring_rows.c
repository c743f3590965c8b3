/* bench/ring_rows.c - which figures of the ring are compared with which, and with what goal.
 *
 * SPDX-License-Identifier: MIT
 *
 * A group is measured together: its entries take turns, repetition by repetition, and a ratio is the median of the
 * ratios within a repetition. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ring_trial.h"

enum { MOST_REPETITIONS = 99, MOST_ENTRIES = 12, NOBODY = -1, MILLIONS = -2 };
enum unit { UNIT_NS, UNIT_RATE, UNIT_BYTES };

struct comparison {
    const char *name;
    double goal; /* 0: information */
    int ours;    /* an entry */
    int with[2]; /* entries, of which the best counts; NOBODY; or MILLIONS: the goal is absolute */
    bool tail;   /* ours: the 99th percentile */
};

struct group {
    enum unit unit;
    const struct ring_job *jobs;
    size_t job_count;
    const struct comparison *rows;
    size_t row_count;
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define GROUP(unit, jobs, rows) {unit, jobs, COUNT(jobs), rows, COUNT(rows)}
#define KIB ((size_t)1024)
#define RING (256 * KIB) /* for small messages */

#define SPINS .use = {.spin = RING_NEVER_SLEEPS}
#define SPINS_LOCKED .use = {.spin = RING_NEVER_SLEEPS, .locked = true}
#define SPINS_OF_4 .use = {.spin = RING_NEVER_SLEEPS, .more_senders = 3}
#define SPINS_OF_4_LOCKED .use = {.spin = RING_NEVER_SLEEPS, .more_senders = 3, .locked = true}
#define SLEEPS .use = {.spin = RING_NEVER_SPINS}
#define POLLS .use = {.spin = RING_NEVER_SPINS, .by_poll = true}
#define LOCKED .use = {.locked = true}

/* ---- a message to and fro while both spin ---- */

#define TRIP(WHO, SIZE, ...) {.contender = &WHO, .size = SIZE, .footprint = RING, .block = 64, __VA_ARGS__}
static const struct ring_job latency_jobs[] = {
    TRIP(ring_bare, 8, SPINS),          TRIP(ring_pong_library, 8, SPINS), TRIP(ring_pong_library, 56, SPINS),
    TRIP(ring_pong_library, 64, SPINS), TRIP(ring_pong_inband, 8, SPINS),  TRIP(ring_pong_inband, 56, SPINS),
    TRIP(ring_pong_inband, 64, SPINS),  TRIP(ring_pong_library, 56, SPINS_LOCKED),
};
static const struct comparison latency_rows[] = {
    {"ring latency 8 B, spinning", 1.25, 1, {0, NOBODY}, false},
    {"ring latency 8 B, spinning, 99 of 100", 2.5, 1, {0, NOBODY}, true},
    {"ring latency 56 B, spinning", 1.25, 2, {0, NOBODY}, false},
    {"ring latency 56 B, spinning, 99 of 100", 2.5, 2, {0, NOBODY}, true},
    {"ring latency 56 B, spinning, thread-safe", 0, 7, {0, NOBODY}, false},
    {"ring latency 64 B, spinning", 1.7, 3, {0, NOBODY}, false},
    {"ring latency 64 B, spinning, 99 of 100", 2.5, 3, {0, NOBODY}, true},
    {"ring latency, bare line, 99 of 100", 0, 0, {0, NOBODY}, true},
    {"ring latency, unsafe ring, 8 B", 0, 4, {0, NOBODY}, false},
    {"ring latency, unsafe ring, 56 B", 0, 5, {0, NOBODY}, false},
    {"ring latency, unsafe ring, 64 B", 0, 6, {0, NOBODY}, false},
};

/* ---- one to one, 64 bytes ---- */

#define FLOW(WHO, SIZE, ...) {.contender = &WHO, .size = SIZE, .footprint = RING, __VA_ARGS__}
static const struct ring_job small_jobs[] = {
    FLOW(ring_stream_inband, 64, SPINS),
    FLOW(ring_stream_inline, 64, SPINS),
    FLOW(ring_stream_library, 64, SPINS),
    FLOW(ring_stream_library, 64, SPINS_LOCKED),
    FLOW(ring_stream_library, 64, SPINS_OF_4),
    FLOW(ring_stream_library, 64, SPINS_OF_4_LOCKED),
    FLOW(ring_stream_library, 64, .use = {0}),
    FLOW(ring_stream_library, 64, LOCKED),
    FLOW(ring_stream_cached, 64, SPINS),
};
static const struct comparison small_rows[] = {
    {"ring 64 B, millions a second", 60, 2, {MILLIONS, NOBODY}, false},
    {"ring 64 B", 0.85, 2, {0, NOBODY}, false},
    {"ring 64 B, thread-safe", 0, 3, {0, NOBODY}, false},
    {"ring 64 B, four lanes", 0.8, 4, {0, NOBODY}, false},
    {"ring 64 B, four lanes, thread-safe", 0, 5, {0, NOBODY}, false},
    {"ring 64 B, able to block, beside spinning", 0.8, 6, {2, NOBODY}, false},
    {"ring 64 B, able to block, thread-safe", 0, 7, {3, NOBODY}, false},
    {"ring 64 B, unsafe ring inlined", 0, 1, {0, NOBODY}, false},
    {"ring 64 B, cached indices", 0, 8, {0, NOBODY}, false},
};

/* ---- one to one, 1 KiB ---- */

static const struct ring_job middle_jobs[] = {
    FLOW(ring_stream_slots, KIB, SPINS),   FLOW(ring_stream_cached, KIB, SPINS),
    FLOW(ring_stream_library, KIB, SPINS), FLOW(ring_stream_library, KIB, SPINS_LOCKED),
    FLOW(ring_stream_inband, KIB, SPINS),
};
static const struct comparison middle_rows[] = {
    {"ring 1 KiB", 1.0, 2, {0, 1}, false},
    {"ring 1 KiB, thread-safe", 0, 3, {0, 1}, false},
    {"ring 1 KiB, slots", 0, 0, {4, NOBODY}, false},
    {"ring 1 KiB, cached indices", 0, 1, {4, NOBODY}, false},
};

/* ---- in place ---- */

#define PLACE(WHO, SIZE) {.contender = &WHO, .size = SIZE, .footprint = 4 * SIZE, SPINS}
static const struct ring_job big_jobs[] = {
    PLACE(ring_place_handoff, 64 * KIB),   PLACE(ring_place_single, 64 * KIB),   PLACE(ring_place_library, 64 * KIB),
    PLACE(ring_place_handoff, 1024 * KIB), PLACE(ring_place_single, 1024 * KIB), PLACE(ring_place_library, 1024 * KIB),
};
static const struct comparison big_rows[] = {
    {"ring 64 KiB in place", 0.95, 2, {0, NOBODY}, false},
    {"ring 64 KiB in place, beside half the memory", 0, 2, {1, NOBODY}, false},
    {"ring 1 MiB in place", 0.95, 5, {3, NOBODY}, false},
    {"ring 1 MiB in place, beside half the memory", 0, 5, {4, NOBODY}, false},
};

#define UNTOUCHED(SIZE) {.contender = &ring_pong_place, .size = SIZE, .footprint = 4096 * KIB, .block = 64, SPINS}
static const struct ring_job untouched_jobs[] = {UNTOUCHED(64), UNTOUCHED(1024 * KIB)};
static const struct comparison untouched_rows[] = {
    {"ring 1 MiB untouched, beside 64 B", 1.1, 1, {0, NOBODY}, false},
};

/* ---- waking up ---- */

#define WAKE(WHO, ...) {.contender = &WHO, .size = 8, .footprint = RING, __VA_ARGS__}
static const struct ring_job wake_jobs[] = {
    WAKE(ring_pong_futex, .block = 1),
    WAKE(ring_pong_library, .block = 1, SLEEPS),
    WAKE(ring_pong_library, .block = 1, POLLS),
    WAKE(ring_pong_library, .block = 64, SPINS),
    WAKE(ring_pong_library, .block = 64, .use = {0}),
    WAKE(ring_pong_futex, .block = 1, .one_core = true),
    WAKE(ring_pong_library, .block = 1, .one_core = true, SLEEPS),
    WAKE(ring_pong_library, .block = 1, .one_core = true, POLLS),
    WAKE(ring_pong_library, .block = 1, .one_core = true),
};
static const struct comparison wake_rows[] = {
    {"ring wake-up, two cores", 1.05, 1, {0, NOBODY}, false},
    {"ring wake-up, two cores, through poll", 1.25, 2, {0, NOBODY}, false},
    {"ring wake-up, one core", 1.10, 6, {5, NOBODY}, false},
    {"ring wake-up, one core, through poll", 2, 7, {5, NOBODY}, false},
    {"ring hot pair, two cores, beside spinning", 1.3, 4, {3, NOBODY}, false},
    {"ring pair, one core, default options", 1.10, 8, {5, NOBODY}, false},
};

/* ---- crowds ---- */

static const struct ring_job crowd_jobs[] = {
    FLOW(ring_crowd_vyukov, 64, SPINS),
    FLOW(ring_crowd_pipe, 64, SPINS),
    FLOW(ring_crowd_library, 64, .use = {.trying = true, .lanes = 4}),
    FLOW(ring_crowd_library, 64, .use = {.lanes = 4}),
    FLOW(ring_crowd_vyukov, 64, .mixed = true),
    FLOW(ring_crowd_pipe, 64, .mixed = true),
    FLOW(ring_crowd_library, 64, .mixed = true, .use = {.trying = true, .lanes = 4}),
    FLOW(ring_crowd_library, 64, .mixed = true, .use = {.lanes = 4}),
};
static const struct comparison crowd_rows[] = {
    {"ring 4 to 4, 64 B, yielding", 2, 2, {0, NOBODY}, false},
    {"ring 4 to 4, 64 B, blocking", 3, 3, {1, NOBODY}, false},
    {"ring 4 to 4, 64 B, blocking, beside yielding", 0, 3, {0, NOBODY}, false},
    {"ring 4 to 4, 64 B, yielding, mixed cores", 0, 6, {4, NOBODY}, false},
    {"ring 4 to 4, 64 B, blocking, mixed cores", 0, 7, {5, NOBODY}, false},
};

static const struct group groups[] = {
    GROUP(UNIT_NS, latency_jobs, latency_rows),     GROUP(UNIT_RATE, small_jobs, small_rows),
    GROUP(UNIT_RATE, middle_jobs, middle_rows),     GROUP(UNIT_BYTES, big_jobs, big_rows),
    GROUP(UNIT_NS, untouched_jobs, untouched_rows), GROUP(UNIT_NS, wake_jobs, wake_rows),
    GROUP(UNIT_RATE, crowd_jobs, crowd_rows),
};

/* ---- measuring ---- */

static struct {
    struct ring_job job;
    bool wanted;
    int failure;
    double figures[MOST_REPETITIONS], tails[MOST_REPETITIONS];
} entries[MOST_ENTRIES];

/* Messages or round trips for about `seconds`. */
static void set_count(struct ring_job *job, enum unit unit, double seconds, int *ret_failure)
{
    struct ring_result result;
    if (unit == UNIT_NS) { /* two passes, two ways */
        job->count = 200;
        *ret_failure = ring_trial(job, &result);
        if (*ret_failure == 0)
            job->count = (uint64_t)(seconds * 1e9 / 4 / result.figure) + 100;
        return;
    }
    job->seconds = seconds;
    if (job->contender->measure)
        return;
    job->count = job->size > 4096 ? 64 : 5000;
    *ret_failure = ring_trial(job, &result);
    if (*ret_failure == 0)
        job->count = (uint64_t)(result.figure * seconds / (unit == UNIT_BYTES ? (double)job->size : 1)) + 64;
}

static void prepare(const struct group *group, const struct bench_options *options)
{
    memset(entries, 0, sizeof entries);
    for (size_t i = 0; i < group->row_count; i++) {
        const struct comparison *row = &group->rows[i];
        if (!bench_wants(options, row->name))
            continue;
        entries[row->ours].wanted = true;
        for (size_t k = 0; k < COUNT(row->with); k++)
            if (row->with[k] >= 0)
                entries[row->with[k]].wanted = true;
    }
    for (size_t e = 0; e < group->job_count; e++) {
        entries[e].job = group->jobs[e];
        if (entries[e].wanted)
            set_count(&entries[e].job, group->unit, options->seconds, &entries[e].failure);
    }
}

static void measure(const struct group *group, size_t repetitions)
{
    for (size_t r = 0; r < repetitions; r++) {
        for (size_t e = 0; e < group->job_count; e++) {
            struct ring_result result = {0};
            if (!entries[e].wanted || entries[e].failure < 0)
                continue;
            entries[e].failure = ring_steady_trial(&entries[e].job, &result);
            if (entries[e].failure < 0 && !entries[e].job.contender->library)
                die("%s failed: %s", entries[e].job.contender->name, strerror(-entries[e].failure));
            entries[e].figures[r] = result.figure;
            entries[e].tails[r] = result.tail;
        }
    }
}

/* ---- printing ---- */

static double middle(const double *values, size_t count)
{
    double copy[MOST_REPETITIONS];
    memcpy(copy, values, count * sizeof *copy);
    return median(copy, count);
}

static struct figure figure_of(enum unit unit, double value)
{
    struct figure figure;
    if (unit == UNIT_RATE)
        return figure_rate(value);
    if (unit == UNIT_BYTES)
        return figure_bytes(value);
    if (value >= 10000)
        return figure_time(value);
    snprintf(figure.text, sizeof figure.text, "%.0f ns", value);
    return figure;
}

void ring_row_failed(const struct row *row, int failure)
{
    char verdict[96];
    struct row failed = *row;
    if (failure == -EPROTONOSUPPORT)
        snprintf(verdict, sizeof verdict, "%s:// is not there", ring_scheme);
    else
        snprintf(verdict, sizeof verdict, "FAILED: %s", strerrorname_np(-failure));
    failed.verdict = verdict;
    table_row(&failed);
}

/* The better of the references, or the only one, or NOBODY. */
static int reference_of(const struct comparison *row, bool times, size_t repetitions)
{
    int best = row->with[0], other = row->with[1];
    if (best < 0 || other < 0)
        return best < 0 ? NOBODY : best;
    double left = middle(entries[best].figures, repetitions), right = middle(entries[other].figures, repetitions);
    return times == (right < left) ? other : best;
}

static void print_row(const struct group *group, const struct comparison *row, size_t repetitions)
{
    bool times = group->unit == UNIT_NS;
    double ratios[MOST_REPETITIONS];
    const double *ours = row->tail ? entries[row->ours].tails : entries[row->ours].figures;
    int best = reference_of(row, times, repetitions), failure = entries[row->ours].failure;
    const char *against = best >= 0 ? entries[best].job.contender->name : "";
    struct figure figure = figure_of(group->unit, middle(ours, repetitions)), raw = {""};
    struct row out = {.name = row->name, .goal = row->goal, .goal_is_most = times};
    if (best >= 0 && entries[best].failure < 0)
        failure = entries[best].failure;
    else if (best >= 0) {
        raw = figure_of(group->unit, middle(entries[best].figures, repetitions));
        out.raw = raw.text;
        out.against = *against ? against : NULL;
    }
    if (failure < 0) {
        ring_row_failed(&out, failure);
        return;
    }
    for (size_t r = 0; r < repetitions; r++)
        ratios[r] = ours[r] / (best >= 0 ? entries[best].figures[r] : 1e6);
    out.figure = figure.text;
    out.ratio = median(ratios, repetitions);
    table_row(&out);
}

void ring_rows(const struct bench_options *options)
{
    for (size_t g = 0; g < COUNT(groups); g++) {
        prepare(&groups[g], options);
        measure(&groups[g], (size_t)options->repetitions);
        for (size_t i = 0; i < groups[g].row_count; i++)
            if (bench_wants(options, groups[g].rows[i].name))
                print_row(&groups[g], &groups[g].rows[i], (size_t)options->repetitions);
    }
}
