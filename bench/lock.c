/* bench/lock.c - locks on files: wherry beside the bare system calls.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: what does taking and giving back a lock that nobody else wants cost, above fcntl(2) and flock(2)?  One
 * process on core 0; raw and wherry in turns of a millisecond; the figure is the time of a pair, the ratio the median
 * of those of the repetitions.
 *
 * By name, a take looks at the name afterwards, so that a file that was removed is noticed; the raw loop of that row
 * does so too, with fstatat(2).  What the look costs above the bare calls is a row of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { MOST_REPETITIONS = 99, CHUNK = 2000, MOST_CHUNKS = 2000 };

struct question {
    const char *row;
    enum wherry_lock_kind kind;
    bool by_name, raw_looks, fixed; /* wherry opened the path; the raw loop looks at the name; options.fixed_name */
    bool informs;                   /* no goal */
};

static const struct question questions[] = {
    {"lock, OFD, by descriptor", WHERRY_LOCK_OFD, false, false, false, false},
    {"lock, classic, by descriptor", WHERRY_LOCK_POSIX, false, false, false, false},
    {"lock, flock, by descriptor", WHERRY_LOCK_FLOCK, false, false, false, false},
    {"lock, OFD, by path with fixed_name", WHERRY_LOCK_OFD, true, false, true, false},
    {"lock, flock, by path with fixed_name", WHERRY_LOCK_FLOCK, true, false, true, false},
    {"lock, OFD, by path, the name looked at", WHERRY_LOCK_OFD, true, true, false, false},
    {"lock, flock, by path, the name looked at", WHERRY_LOCK_FLOCK, true, true, false, false},
    {"lock, OFD, by path, against no look", WHERRY_LOCK_OFD, true, false, false, true},
};

struct subject {
    const struct question *question;
    char path[300];
    int fd;
    struct wherry_lock *lock;
    struct stat status;
};

/* ---- one pair ---- */

static inline void raw_pair(const struct subject *subject)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat status;
    bool fine;
    int command = subject->question->kind == WHERRY_LOCK_POSIX ? F_SETLK : F_OFD_SETLK;
    if (subject->question->kind == WHERRY_LOCK_FLOCK)
        fine = flock(subject->fd, LOCK_EX | LOCK_NB) == 0;
    else
        fine = fcntl(subject->fd, command, &range) == 0;
    if (subject->question->raw_looks)
        fine = fine && fstatat(AT_FDCWD, subject->path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
               status.st_ino == subject->status.st_ino && status.st_dev == subject->status.st_dev;
    range.l_type = F_UNLCK;
    if (subject->question->kind == WHERRY_LOCK_FLOCK)
        fine = fine && flock(subject->fd, LOCK_UN) == 0;
    else
        fine = fine && fcntl(subject->fd, command, &range) == 0;
    if (!fine)
        die("%s: the raw lock: %s", subject->question->row, strerror(errno));
}

static inline void wherry_pair(const struct subject *subject)
{
    if (wherry_lock_take(subject->lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_FOREVER) < 0 ||
        wherry_lock_release(subject->lock, 0, 0) < 0)
        die("%s: %s", subject->question->row, wherry_why());
}

/* Nothing here sleeps: what counts is the time on the core, and not that others had it. */
static double core_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double time_chunk(const struct subject *subject, bool raw)
{
    double began = core_time();
    for (int i = 0; i < CHUNK; i++)
        raw ? raw_pair(subject) : wherry_pair(subject);
    return (core_time() - began) / CHUNK;
}

/* The two take turns every millisecond, so that whatever else the machine does meets both; ns a pair, the medians. */
static void measure(const struct subject *subject, long chunks, double *ret_raw, double *ret_ours)
{
    static double times[2][MOST_CHUNKS];
    size_t counts[2] = {0, 0};
    for (long i = 0; i < 2 * chunks; i++) {
        bool raw = (i + i / 2) % 2 == 0; /* raw, ours, ours, raw */
        if (counts[raw] < MOST_CHUNKS)
            times[raw][counts[raw]++] = time_chunk(subject, raw);
    }
    *ret_raw = median(times[true], counts[true]);
    *ret_ours = median(times[false], counts[false]);
}

/* ---- a row ---- */

static void open_subject(struct subject *subject, const struct question *question)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    subject->question = question;
    snprintf(subject->path, sizeof subject->path, "%s/lock", scratch_directory());
    subject->fd = open(subject->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (subject->fd < 0 || fstat(subject->fd, &subject->status) != 0)
        die("%s: %s", subject->path, strerror(errno));
    options.kind = question->kind;
    options.fixed_name = question->fixed;
    int result = question->by_name ? wherry_lock_open(subject->path, &options, &subject->lock)
                                   : wherry_lock_open_fd(subject->fd, &options, &subject->lock);
    if (result < 0)
        die("%s", wherry_why());
}

static void answer(const struct question *question, const struct bench_options *options)
{
    struct subject subject;
    double raw[MOST_REPETITIONS], ours[MOST_REPETITIONS], ratios[MOST_REPETITIONS];
    open_subject(&subject, question);
    measure(&subject, 1, raw, ours); /* warm, and how many there is time for */
    long chunks = (long)(options->seconds * 1e9 / ((raw[0] + ours[0]) / 2 * CHUNK)) + 1;
    for (int i = 0; i < options->repetitions; i++) {
        measure(&subject, chunks, &raw[i], &ours[i]);
        ratios[i] = ours[i] / raw[i];
    }
    double raw_time = median(raw, (size_t)options->repetitions), time = median(ours, (size_t)options->repetitions);
    struct figure figure = figure_time(time), raw_figure = figure_time(raw_time);
    table_row(&(struct row){.name = question->row,
                            .goal = question->informs ? 0 : 1.05,
                            .goal_is_most = true,
                            .figure = figure.text,
                            .raw = raw_figure.text,
                            .ratio = median(ratios, (size_t)options->repetitions),
                            .against = question->raw_looks ? "the calls and fstatat" : "the calls"});
    wherry_lock_close(subject.lock);
    close(subject.fd);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    pin_to_core(0);
    if (options.head)
        table_head();
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (bench_wants(&options, questions[i].row))
            answer(&questions[i], &options);
    return table_misses() > 0;
}
