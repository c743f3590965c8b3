/* bench/latency.c - how long a 64-byte message takes one way, beside the best raw loop that gives the same service.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: what does wherry add to a message on its way between two processes?
 * Half the median round trip between two processes over two one-way links, on two cores and on one.  Both sleep while
 * they wait: the raw loop tries its read first and then waits, until a deadline, with whichever of poll and epoll was
 * faster for it.  A raw loop of plain blocking calls, which can obey no deadline, stands beside it for information.
 * With --spinning nobody sleeps: a table of its own, because the two must not be compared. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "trial.h"

enum { MOST_REPETITIONS = 99, MOST_CONTENDERS = 8 };

struct field {
    const struct contender *contenders; /* raw ones, then ours, then raw ones for information */
    size_t count, raws, ours;           /* ours: how many of them; the first has the goal */
};

static const struct contender sleepers[] = {
    {"poll", &raw_link, .waiting = WAIT_POLL, .ahead = 8192},
    {"poll of two", &raw_link, .waiting = WAIT_POLL_BOTH, .ahead = 8192},
    {"epoll", &raw_link, .waiting = WAIT_EPOLL, .ahead = 8192},
    {"", &wherry_link, .use = USE_PLAIN},
    {"thread-safe", &wherry_link, .use = USE_LOCKED},
    {"no deadline", &raw_link, .waiting = WAIT_NEVER, .ahead = 8192},
};
static const struct contender spinners[] = {
    {"spin", &raw_link, .waiting = WAIT_SPIN, .ahead = 8192},
    {"", &wherry_link, .use = USE_SPIN},
};
static const struct field sleeping = {sleepers, 6, 3, 2}, spinning = {spinners, 2, 1, 1};

static double times[MOST_CONTENDERS][MOST_REPETITIONS];

static double ratio_of(size_t ours, size_t raw, size_t repetitions)
{
    double ratios[MOST_REPETITIONS];
    for (size_t r = 0; r < repetitions; r++)
        ratios[r] = times[ours][r] / times[raw][r];
    return median(ratios, repetitions);
}

static double middle(size_t contender, size_t repetitions)
{
    double copy[MOST_REPETITIONS];
    memcpy(copy, times[contender], repetitions * sizeof *copy);
    return median(copy, repetitions);
}

static void print_one(const char *name, const char *suffix, double goal, size_t ours, size_t raw, size_t repetitions,
                      const char *against)
{
    char label[128];
    struct figure figure = figure_time(middle(ours, repetitions)), other = figure_time(middle(raw, repetitions));
    snprintf(label, sizeof label, "%s%s%s", name, *suffix ? ", " : "", suffix);
    table_row(&(struct row){.name = label,
                            .goal = goal,
                            .goal_is_most = true,
                            .figure = figure.text,
                            .raw = other.text,
                            .ratio = ratio_of(ours, raw, repetitions),
                            .against = against});
}

static void print_rows(const struct field *field, const char *name, double goal, const int *failures,
                       size_t repetitions)
{
    size_t best = 0, ours = field->raws;
    for (size_t c = 1; c < field->raws; c++)
        if (middle(c, repetitions) < middle(best, repetitions))
            best = c;
    for (size_t c = ours; c < ours + field->ours; c++) {
        if (failures[c] < 0)
            table_row(
                &(struct row){.name = name, .figure = strerrorname_np(-failures[c]), .verdict = "FAILED: raw can"});
        else
            print_one(name, field->contenders[c].name, c == ours ? goal : 0, c, best, repetitions,
                      field->contenders[best].name);
    }
    for (size_t c = ours + field->ours; c < field->count; c++)
        if (failures[ours] == 0)
            print_one(name, "beside raw that obeys no deadline", 0, ours, c, repetitions, "blocking");
}

static void measure(const struct field *field, const struct subject *subject, bool one_core, double goal,
                    const struct bench_options *options)
{
    int failures[MOST_CONTENDERS] = {0};
    char name[64];
    snprintf(name, sizeof name, "latency %s, %s", subject->name, one_core ? "one core" : "two cores");
    if (!bench_wants(options, name))
        return;
    uint64_t count = (uint64_t)(options->seconds * 20000); /* about ten microseconds a round trip, with some air */
    for (int r = 0; r < options->repetitions; r++)
        for (size_t c = 0; c < field->count; c++)
            if (failures[c] == 0)
                failures[c] = trial_latency(&field->contenders[c], subject, 0, one_core ? 0 : 1, count, &times[c][r]);
    for (size_t c = 0; c < field->raws; c++)
        if (failures[c] < 0)
            die("%s: the raw loop failed: %s", name, strerror(-failures[c]));
    print_rows(field, name, goal, failures, (size_t)options->repetitions);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    if (options.head)
        table_head();
    for (size_t i = 0; i < subject_count; i++) {
        if (options.spinning) {
            measure(&spinning, &subjects[i], false, 0, &options);
            continue;
        }
        measure(&sleeping, &subjects[i], false, 1.05, &options);
        measure(&sleeping, &subjects[i], true, 1.10, &options);
    }
    return table_misses() ? 1 : 0;
}
