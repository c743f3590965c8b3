/* bench/table.c - the table of rows that the benches print, and their command line.
 *
 * SPDX-License-Identifier: MIT */
#include "common.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int misses;

struct figure figure_rate(double rate)
{
    struct figure figure;
    if (rate >= 1e6)
        snprintf(figure.text, sizeof figure.text, "%.2f M/s", rate / 1e6);
    else
        snprintf(figure.text, sizeof figure.text, "%.1f k/s", rate / 1e3);
    return figure;
}

struct figure figure_bytes(double rate)
{
    struct figure figure;
    snprintf(figure.text, sizeof figure.text, "%.2f GB/s", rate / 1e9);
    return figure;
}

struct figure figure_time(double nanoseconds)
{
    struct figure figure;
    snprintf(figure.text, sizeof figure.text, "%.2f us", nanoseconds / 1e3);
    return figure;
}

void table_head(void)
{
    printf("%-50s %-8s %12s %12s %7s  %s\n", "row", "goal", "figure", "raw figure", "ratio", "verdict");
}

void table_row(const struct row *row)
{
    char goal[16] = "-", ratio[16] = "-";
    const char *verdict = row->verdict;
    if (row->goal > 0)
        snprintf(goal, sizeof goal, "%s %.2f", row->goal_is_most ? "<=" : ">=", row->goal);
    if (row->ratio > 0)
        snprintf(ratio, sizeof ratio, "%.3f", row->ratio);
    if (!verdict && row->goal > 0) {
        bool met = row->goal_is_most ? row->ratio <= row->goal : row->ratio >= row->goal;
        verdict = met ? "ok" : "MISSED";
        misses += !met;
    }
    printf("%-50s %-8s %12s %12s %7s  %s%s%s%s\n", row->name, goal, row->figure ? row->figure : "-",
           row->raw ? row->raw : "-", ratio, verdict ? verdict : "info", row->against ? " (" : "",
           row->against ? row->against : "", row->against ? ")" : "");
    fflush(stdout);
}

int table_misses(void)
{
    return misses;
}

static _Noreturn void usage(const char *program, int status)
{
    fprintf(status ? stderr : stdout,
            "usage: %s [--quick] [--repetitions N] [--seconds S] [--only TEXT] [--no-head]\n"
            "       [--spinning]\n"
            "  --quick          3 alternations of 0.05 s instead of 7 of 0.1 s\n"
            "  --repetitions N  alternations; each figure is the median of N\n"
            "  --seconds S      aimed at for one repetition\n"
            "  --only TEXT      only the rows whose name holds TEXT\n"
            "  --no-head        rows alone\n"
            "  --spinning       latency while nobody sleeps; for the latency bench alone\n",
            program);
    exit(status);
}

struct bench_options bench_parse(int argc, char **argv)
{
    struct bench_options options = {.repetitions = 7, .seconds = 0.1, .head = true};
    static const struct option longs[] = {
        {"quick", no_argument, NULL, 'q'},         {"repetitions", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'}, {"only", required_argument, NULL, 'o'},
        {"no-head", no_argument, NULL, 'n'},       {"spinning", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "qr:s:o:nph", longs, NULL)) >= 0;) {
        switch (option) {
        case 'q':
            options.repetitions = 3;
            options.seconds = 0.05;
            break;
        case 'r':
            options.repetitions = atoi(optarg);
            break;
        case 's':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'o':
            options.only = optarg;
            break;
        case 'p':
            options.spinning = true;
            break;
        case 'n':
            options.head = false;
            break;
        default:
            usage(argv[0], option == 'h' ? 0 : 2);
        }
    }
    if (optind < argc || options.repetitions < 1 || options.repetitions > 99 || !(options.seconds > 0))
        usage(argv[0], 2);
    return options;
}

bool bench_wants(const struct bench_options *options, const char *row)
{
    return !options->only || strstr(row, options->only) != NULL;
}
