/* bench/common.h - what the measuring programs and the demo share: time, cores, processes, scratch space, tables.
 *
 * SPDX-License-Identifier: MIT
 *
 * Nothing here knows of wherry.  A failure ends the whole program with one line: a benchmark that goes on after a wrong
 * result lies. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- failing ---- */

/* Print one line and leave: a child by itself, the parent with its children ended and its scratch space removed. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory or death; zeroed, touched, aligned to a page. */
void *need_memory(size_t size);

/* The same, shared with the processes forked from here on. */
void *need_shared(size_t size);
void drop_memory(void *memory, size_t size);

/* ---- time and cores ---- */

int64_t now_ns(void); /* CLOCK_MONOTONIC */
int core_count(void);
/* Pin this process to the n-th of the cores that it may use (modulo their number); -1 leaves it free. */
void pin_to_core(int core);
/* One turn of a loop that spins: gives the core away where there is only one, or nobody else would ever run. */
void spin_once(void);

/* ---- processes ---- */

struct crew {
    pid_t pids[16];
    int count;
    int ready[2]; /* a byte from each process that is ready */
    int start[2]; /* closed by the parent when all are */
};

/* What a process does; it ends with success when the function returns. */
typedef void crew_body(struct crew *crew, void *argument);

void crew_init(struct crew *crew);
/* Fork a process that dies with its parent. */
void crew_add(struct crew *crew, crew_body *body, void *argument);
/* In a process of the crew: say that it is ready, and wait until all are, or until stop_wanted(). */
void crew_meet(struct crew *crew);
/* In the parent: let them start, wait for all.  Returns whether all ended well; dies if interrupted by a signal. */
bool crew_finish(struct crew *crew);

/* ---- being stopped ---- */

/* In the parent: SIGINT, SIGTERM and SIGHUP end the crew, and the scratch directory goes.  Processes of the crew die of
 * them, save those that have something to tidy up: they set a hook, called in the handler (async-signal-safe). */
void stop_prepare(void);
void stop_hook(void (*hook)(void));
bool stop_wanted(void);

/* ---- scratch space ---- */

/* A directory of one's own, removed with its contents when the program ends. */
const char *scratch_directory(void);

/* ---- numbers ---- */

double median(double *values, size_t count);             /* sorts */
double quantile(double *values, size_t count, double q); /* of sorted values */
void sort_numbers(double *values, size_t count);

/* ---- messages whose every byte can be checked ---- */

/* A message is a pattern, the same for all, with the number of the message over its first eight bytes, so that the
 * receiver can check the order and, with one memcmp() that reads every byte, the contents. */
void pattern_fill(unsigned char *data, size_t size);
static inline void pattern_number(unsigned char *data, uint64_t number)
{
    __builtin_memcpy(data, &number, sizeof number);
}
static inline bool pattern_right(const unsigned char *data, size_t size, const unsigned char *pattern, uint64_t number)
{
    return __builtin_memcmp(data, &number, sizeof number) == 0 &&
           __builtin_memcmp(data + sizeof number, pattern + sizeof number, size - sizeof number) == 0;
}

/* ---- the table ---- */

/* A figure in units that fit: "1.23 M/s", "4.56 GB/s", "7.89 us". */
struct figure {
    char text[32];
};
struct figure figure_rate(double messages_a_second);
struct figure figure_bytes(double bytes_a_second);
struct figure figure_time(double nanoseconds);

struct row {
    const char *name;
    double goal;      /* of the ratio; 0: information only */
    bool goal_is_most; /* a ratio of times: at most; else at least */
    const char *figure;
    const char *raw;
    double ratio; /* 0: none */
    const char *verdict; /* NULL: from goal and ratio */
    const char *against; /* which raw loop, or NULL */
};
void table_head(void);
void table_row(const struct row *row);
/* Rows that missed their goal so far. */
int table_misses(void);

/* What the command line of a bench says; the parser is shared because the options are. */
struct bench_options {
    int repetitions; /* alternations; medians are of these */
    double seconds;  /* aimed at for one repetition */
    bool head;       /* print the head of the table */
    bool spinning;   /* latency without sleep */
    const char *only; /* run only rows whose name holds this */
};
struct bench_options bench_parse(int argc, char **argv);
bool bench_wants(const struct bench_options *options, const char *row);

#endif
