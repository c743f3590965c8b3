/* stepkill.h - what the files of the command share: exit codes, options, what was found.
 *
 * SPDX-License-Identifier: MIT */
#ifndef STEPKILL_STEPKILL_H
#define STEPKILL_STEPKILL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exit codes, as stepkill(1) has them.  After a signal N it is 128 + N. */
enum {
    KILL_OK = 0,
    KILL_VIOLATIONS = 1,
    KILL_USAGE = 2,
    KILL_CANNOT = 3,
    KILL_SIGNAL = 128,
};

enum { KEPT_VIOLATIONS = 20 };

struct target {
    char *name;
    uint64_t call; /* the how-manieth */
};

struct options {
    struct target *targets;
    size_t target_count;
    const char *checker, *setup; /* NULL: none */
    int64_t check_limit, run_limit; /* ns */
    uint64_t start, stride, most;   /* most: 0 for all */
    int signal;
    bool by_calls, first_only, json, quiet, verbose;
    char **program;
};

struct violation {
    uint64_t step;
    char *where, *reason, *output;
};

struct finding {
    const struct target *target;
    uint64_t points, violations;
    uint64_t steps; /* of the whole function, when `complete` */
    uint64_t made;  /* in all runs together */
    bool complete;
    bool ended; /* the process ended within the function, rather than that this returned */
    int64_t worst, all;
    uint64_t worst_step;
    int64_t took;
    struct violation kept[KEPT_VIOLATIONS];
    size_t kept_count;
};

/* The signal that asked us to end; 0. */
extern volatile sig_atomic_t asked_to_end;
/* True when the time of a run is up, or we are to end. */
extern volatile sig_atomic_t give_up;

int64_t now(void); /* ns of CLOCK_MONOTONIC */

/* Print "stepkill: " and the text as one line on standard error; return `code`. */
int complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* options.c: -1, or the exit code with which to end at once. */
int options_read(struct options *options, int argc, char **argv);
void options_free(struct options *options);
const char *signal_name(int signal); /* without SIG; "?" */

/* explore.c: kill at each step of one function.  An exit code; KILL_VIOLATIONS is not the caller's to say. */
struct image;
int explore(const struct options *options, struct image *image, const struct target *target,
            struct finding *ret_finding);

/* report.c */
void report_text(const struct options *options, const struct finding *findings, size_t count);
void report_json(const struct options *options, const struct finding *findings, size_t count);
void finding_free(struct finding *finding);

#endif
