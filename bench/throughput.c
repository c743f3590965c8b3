/* bench/throughput.c - how many messages a second, beside the best raw loop that gives the same service.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: does a message through wherry cost what the system calls under it cost?
 * Sender on core 0, receiver on core 1, both asleep when there is nothing to do.  Contenders take turns; a figure is
 * the median of its repetitions, a ratio the median of the ratios of neighbours in time, so that a slow second of the
 * machine hits both.  There are several good raw loops, which read more or less ahead; the one
 * that stands in the row is the fastest at that very size, found in heats before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "trial.h"

enum { MOST_REPETITIONS = 99, CONTENDERS = 3, RAWS = 5, HEATS = 3 };

static const struct contender raws[RAWS] = {
    {"4 KiB ahead", &raw_link, .waiting = WAIT_POLL, .ahead = 4096},
    {"16 KiB ahead", &raw_link, .waiting = WAIT_POLL, .ahead = 16384},
    {"a frame a read", &raw_link, .waiting = WAIT_POLL, .ahead = 16384, .frame_a_read = true},
    {"short calls", &raw_link, .waiting = WAIT_POLL, .ahead = 4096, .most_read = 8192, .most_written = 32768},
    {"header first", &raw_link, .waiting = WAIT_POLL, .ahead = 0},
};

static struct contender contenders[CONTENDERS] = {
    {"raw", &raw_link, .waiting = WAIT_POLL}, /* the fastest of the above */
    {"", &wherry_link, .use = USE_PLAIN},
    {"thread-safe", &wherry_link, .use = USE_LOCKED},
};
static const double goal = 0.95;

static const struct {
    size_t size;
    const char *name;
    uint64_t first_guess;
} sizes[] = {{64, "64 B", 20000}, {1024, "1 KiB", 10000}, {65536, "64 KiB", 500}, {1 << 20, "1 MiB", 40}};

static struct figure show(double rate, size_t size)
{
    return size <= 1024 ? figure_rate(rate) : figure_bytes(rate * (double)size);
}

/* How many raw loops differ on this object: all on a byte stream of one's own. */
static size_t raws_of(const struct subject *subject)
{
    bool packets = subject->object == OBJECT_SEQPACKET || subject->object == OBJECT_DGRAM;
    return packets || subject->shared ? 1 : subject->many ? RAWS - 1 : RAWS;
}

/* Find the fastest raw loop, and how many messages take it about `seconds`; or -errno when it cannot carry them. */
static int64_t calibrate(const struct subject *subject, size_t size, uint64_t guess, double seconds)
{
    double rate = 0, best = 0;
    int result = trial_throughput(&raws[0], subject, size, guess, &rate);
    uint64_t count = rate * seconds < 16 ? 16 : (uint64_t)(rate * seconds);
    contenders[0] = raws[subject->shared ? RAWS - 1 : 0];
    for (size_t raw = 0; result == 0 && raw < raws_of(subject) && raws_of(subject) > 1; raw++) {
        double heats[HEATS];
        for (int heat = 0; result == 0 && heat < HEATS; heat++)
            result = trial_throughput(&raws[raw], subject, size, count, &heats[heat]);
        double rate_here = result == 0 ? median(heats, HEATS) : 0;
        if (rate_here > best) {
            best = rate_here;
            contenders[0] = raws[raw];
        }
    }
    return result < 0 ? result : (int64_t)count;
}

static void print_rows(const char *name, size_t size, double rates[CONTENDERS][MOST_REPETITIONS], const int *failures,
                       size_t repetitions)
{
    double ratios[CONTENDERS][MOST_REPETITIONS];
    for (size_t c = 1; c < CONTENDERS; c++)
        for (size_t r = 0; r < repetitions; r++)
            ratios[c][r] = rates[c][r] / rates[0][r];
    struct figure raw = show(median(rates[0], repetitions), size);
    for (size_t c = 1; c < CONTENDERS; c++) {
        char label[96];
        snprintf(label, sizeof label, "%s%s%s", name, *contenders[c].name ? ", " : "", contenders[c].name);
        struct figure figure = show(median(rates[c], repetitions), size);
        struct row row = {.name = label, .goal = c == 1 ? goal : 0, .figure = figure.text, .raw = raw.text};
        row.against = contenders[0].name;
        if (failures[c] < 0) {
            row.figure = strerrorname_np(-failures[c]);
            row.verdict = c == 1 ? "MISSED: raw can" : "raw can";
        } else {
            row.ratio = median(ratios[c], repetitions);
        }
        table_row(&row);
    }
}

static void print_refusal(const char *name, const struct subject *subject, size_t size, int64_t refusal)
{
    double rate;
    int ours = trial_throughput(&contenders[1], subject, size, 16, &rate);
    struct figure figure = show(ours < 0 ? 0 : rate, size);
    table_row(&(struct row){.name = name,
                            .figure = ours < 0 ? strerrorname_np(-ours) : figure.text,
                            .raw = strerrorname_np((int)-refusal),
                            .verdict = "the kernel object does not take it whole"});
}

static void measure(const struct subject *subject, size_t s, const struct bench_options *options)
{
    static double rates[CONTENDERS][MOST_REPETITIONS];
    int failures[CONTENDERS] = {0};
    char name[64];
    snprintf(name, sizeof name, "throughput %s, %s", subject->name, sizes[s].name);
    if (!bench_wants(options, name))
        return;
    int64_t count = calibrate(subject, sizes[s].size, sizes[s].first_guess, options->seconds);
    if (count < 0 && count != -EMSGSIZE)
        die("%s: the raw loop failed: %s", name, strerror((int)-count));
    if (count < 0) {
        print_refusal(name, subject, sizes[s].size, count);
        return;
    }
    for (int r = 0; r < options->repetitions; r++)
        for (size_t c = 0; c < CONTENDERS; c++)
            if (failures[c] == 0)
                failures[c] = trial_throughput(&contenders[c], subject, sizes[s].size, (uint64_t)count, &rates[c][r]);
    if (failures[0] < 0)
        die("%s: the raw loop failed: %s", name, strerror(-failures[0]));
    print_rows(name, sizes[s].size, rates, failures, (size_t)options->repetitions);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    if (options.head)
        table_head();
    for (size_t i = 0; i < subject_count; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            measure(&subjects[i], s, &options);
    if (trial_again())
        printf("(%d repetitions were made again: other processes took the cores away; the machine should be idle)\n",
               trial_again());
    return table_misses() ? 1 : 0;
}
