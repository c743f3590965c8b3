/* bench/ring_main.c - the shared-memory ring beside what could be written by hand.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: what do safety and waiting cost beside rings that have neither?
 * Every figure is a median of repetitions that alternate with those of what it is compared with, each in two fresh
 * processes on two cores over one mapping; the receiver reads every byte.  The references survive no death, and are as
 * fast as we could make them.  --scheme NAME measures another transport instead, to try the harness. */
#include <stdio.h>
#include <string.h>

#include "ring_trial.h"

/* Take --scheme NAME out of the command line: no other bench has it. */
static int take_scheme(int argc, char **argv)
{
    int left = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--scheme") == 0 && i + 1 < argc)
            ring_scheme = argv[++i];
        else
            argv[left++] = argv[i];
    }
    argv[left] = NULL;
    return left;
}

int main(int argc, char **argv)
{
    argc = take_scheme(argc, argv);
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    if (options.head)
        table_head();
    if (core_count() < 2) {
        table_row(&(struct row){.name = "ring", .verdict = "not measured: needs two cores"});
        return 0;
    }
    ring_steady_begin();
    ring_rows(&options);
    ring_idle_rows(&options);
    ring_steady_tell();
    return table_misses() ? 1 : 0;
}
