/* bench/log.c - the log: small messages from one process to another, reading big ones back, and appending to the disk.
 *
 * SPDX-License-Identifier: MIT
 *
 * Questions: how many 64-byte messages a second go through a log when they are sent together, and one by one beside
 * write(2) with O_APPEND; how fast 64 KiB messages are read back, beside cat(1) on the same file; and how many more
 * messages a second eight who append with fsync=each have on the disk than one.  Every message is checked by who
 * reads it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { SIZE = 64, TOGETHER = 512, BIG = 65536, BIG_COUNT = 8192, MOST = 99, APPENDERS = 8, SLOW_DISK = 200 /* us */ };

enum how { WITH_MORE, SEND_MANY, ONE_BY_ONE };

struct run {
    enum how how;
    char url[300];
    uint64_t count;
    int64_t *took; /* shared: ns */
    _Atomic uint64_t *done;
    int64_t until;
};

static struct wherry_channel *open_end(const struct run *run, enum wherry_role role, const char *fsync)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    options.single_thread = true;
    options.fsync = fsync;
    if (wherry_channel_open(run->url, role, &options, wherry_after(5 * WHERRY_SECOND), &channel) < 0)
        die("%s", wherry_why());
    return channel;
}

static void need(long long result)
{
    if (result < 0)
        die("%s", wherry_why());
}

/* ---- one to one -------------------------------------------------------------------------------------------------- */

static void sender(struct crew *crew, void *argument)
{
    static struct wherry_message messages[TOGETHER];
    struct run *run = argument;
    unsigned char *data = need_memory(TOGETHER * SIZE);
    pin_to_core(0);
    for (size_t i = 0; i < TOGETHER; i++)
        pattern_fill(data + i * SIZE, SIZE);
    struct wherry_channel *channel = open_end(run, WHERRY_SEND, NULL);
    crew_meet(crew);
    for (uint64_t i = 0; i < run->count;) {
        size_t count = 0;
        for (; count < TOGETHER && i < run->count; count++, i++) {
            pattern_number(data + count * SIZE, i);
            messages[count] = (struct wherry_message){.data = data + count * SIZE, .size = SIZE};
            if (run->how == WITH_MORE)
                need(wherry_channel_send_message(channel, &messages[count], WHERRY_MORE, WHERRY_FOREVER));
            else if (run->how == ONE_BY_ONE)
                need(wherry_channel_send(channel, messages[count].data, SIZE, WHERRY_FOREVER));
        }
        if (run->how == WITH_MORE)
            need(wherry_channel_flush(channel, WHERRY_FOREVER));
        else if (run->how == SEND_MANY &&
                 wherry_channel_send_many(channel, messages, count, WHERRY_FOREVER) != (ssize_t)count)
            die("%s", wherry_why());
    }
    need(wherry_channel_close(channel, WHERRY_FOREVER));
}

static void receiver(struct crew *crew, void *argument)
{
    struct run *run = argument;
    unsigned char pattern[SIZE], data[SIZE];
    size_t size;
    pin_to_core(1);
    pattern_fill(pattern, SIZE);
    struct wherry_channel *channel = open_end(run, WHERRY_RECEIVE, NULL);
    crew_meet(crew);
    int64_t start = now_ns();
    for (uint64_t i = 0; i < run->count; i++) {
        if (wherry_channel_receive(channel, data, SIZE, &size, wherry_after(20 * WHERRY_SECOND)) != 1)
            die("message %llu never came: %s", (unsigned long long)i, wherry_why());
        if (size != SIZE || !pattern_right(data, SIZE, pattern, i))
            die("message %llu came with wrong contents", (unsigned long long)i);
    }
    *run->took = now_ns() - start;
    wherry_channel_close(channel, WHERRY_NOW);
}

static void new_log(struct run *run)
{
    static unsigned number;
    snprintf(run->url, sizeof run->url, "file://%s/log%u", scratch_directory(), number++);
}

static void drop_log(const struct run *run)
{
    unlink(run->url + strlen("file://"));
}

static double one_to_one(enum how how, uint64_t count)
{
    struct run run = {.how = how, .count = count, .took = need_shared(sizeof *run.took)};
    struct crew crew;
    new_log(&run);
    crew_init(&crew);
    crew_add(&crew, receiver, &run);
    crew_add(&crew, sender, &run);
    if (!crew_finish(&crew))
        die("a process of the log's benchmark failed");
    double rate = (double)count * 1e9 / (double)*run.took;
    drop_memory(run.took, sizeof *run.took);
    drop_log(&run);
    return rate;
}

/* The bare system call: what O_APPEND gives, without a check, a boundary, or a reader. */
static double raw_append(uint64_t count)
{
    char path[300], data[SIZE] = "";
    snprintf(path, sizeof path, "%s/raw", scratch_directory());
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int64_t start = now_ns();
    for (uint64_t i = 0; i < count; i++)
        if (write(fd, data, SIZE) != SIZE)
            die("%s cannot be written", path);
    double rate = (double)count * 1e9 / (double)(now_ns() - start);
    close(fd);
    unlink(path);
    return rate;
}

static double middle_of(double (*measure)(uint64_t index), uint64_t index, int repetitions)
{
    double values[MOST];
    for (int i = 0; i < repetitions; i++)
        values[i] = measure(index);
    return median(values, (size_t)repetitions);
}

static double seconds;

static double measure_how(uint64_t how)
{
    return one_to_one((enum how)how, (uint64_t)(seconds * (how == ONE_BY_ONE ? 1e6 : 10e6)));
}

static double measure_raw(uint64_t index)
{
    (void)index;
    return raw_append((uint64_t)(seconds * 2e6));
}

static void row_together(const char *name, enum how how, int repetitions)
{
    double rate = middle_of(measure_how, how, repetitions);
    table_row(&(struct row){.name = name,
                            .goal = 1,
                            .figure = figure_rate(rate).text,
                            .raw = figure_rate(1.5e6).text,
                            .ratio = rate / 1.5e6,
                            .against = "the goal"});
}

/* ---- reading back ------------------------------------------------------------------------------------------------ */

static struct run big_log;

static void write_big(void)
{
    unsigned char *data = need_memory(BIG);
    struct wherry_channel *channel;
    new_log(&big_log);
    channel = open_end(&big_log, WHERRY_SEND, NULL);
    pattern_fill(data, BIG);
    for (uint64_t i = 0; i < BIG_COUNT; i++) {
        pattern_number(data, i);
        need(wherry_channel_send(channel, data, BIG, WHERRY_FOREVER));
    }
    need(wherry_channel_close(channel, WHERRY_FOREVER));
    drop_memory(data, BIG);
}

/* In place, as cat does nothing with what it reads but hand it on; the library checks every byte. */
static double read_big(uint64_t copies)
{
    unsigned char *data = need_memory(BIG);
    struct wherry_channel *channel = open_end(&big_log, WHERRY_RECEIVE, NULL);
    int64_t start = now_ns();
    for (uint64_t i = 0; i < BIG_COUNT; i++) {
        struct wherry_loan loan = {.data = data};
        size_t size;
        uint64_t number;
        if (copies) {
            need(wherry_channel_receive(channel, data, BIG, &size, WHERRY_NOW));
        } else {
            need(wherry_channel_borrow(channel, &loan, WHERRY_NOW));
        }
        memcpy(&number, loan.data, sizeof number);
        if (number != i)
            die("message %llu came with wrong contents", (unsigned long long)i);
        if (!copies)
            wherry_channel_return(channel, &loan);
    }
    double rate = (double)BIG * BIG_COUNT * 1e9 / (double)(now_ns() - start);
    wherry_channel_close(channel, WHERRY_NOW);
    drop_memory(data, BIG);
    return rate;
}

static double cat_big(uint64_t index)
{
    const char *path = big_log.url + strlen("file://");
    int status = -1;
    int64_t start = now_ns();
    pid_t child = fork();
    (void)index;
    if (child == 0) {
        int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(fd, STDOUT_FILENO);
        execlp("cat", "cat", path, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        die("cat %s failed", path);
    return (double)BIG * BIG_COUNT * 1e9 / (double)(now_ns() - start);
}

static void rows_reading(const struct bench_options *options)
{
    static const char *const names[] = {"log, 64 KiB read back, in place", "log, 64 KiB read back, copied"};
    if (!bench_wants(options, names[0]) && !bench_wants(options, names[1]))
        return;
    write_big();
    for (uint64_t copies = 0; copies < 2; copies++) {
        double ours[MOST], cats[MOST];
        for (int i = 0; i < options->repetitions; i++) {
            cats[i] = cat_big(0);
            ours[i] = read_big(copies);
        }
        double rate = median(ours, (size_t)options->repetitions), cat = median(cats, (size_t)options->repetitions);
        bool fast = rate >= 3e9;
        table_row(&(struct row){.name = names[copies],
                                .goal = copies ? 0 : 0.8,
                                .figure = figure_bytes(rate).text,
                                .raw = figure_bytes(cat).text,
                                .ratio = rate / cat,
                                .verdict = copies ? NULL
                                           : fast ? "ok: 3 GB/s or more"
                                                  : NULL,
                                .against = "cat >/dev/null"});
    }
    drop_log(&big_log);
}

/* ---- to the disk ------------------------------------------------------------------------------------------------- */

static void appender(struct crew *crew, void *argument)
{
    struct run *run = argument;
    char data[SIZE] = "";
    struct wherry_channel *channel = open_end(run, WHERRY_SEND, "each");
    crew_meet(crew);
    while (now_ns() < run->until) {
        need(wherry_channel_send(channel, data, SIZE, WHERRY_FOREVER));
        ++*run->done;
    }
    wherry_channel_close(channel, WHERRY_NOW);
}

static double append_to_disk(int appenders, double time)
{
    struct run run = {.done = need_shared(sizeof *run.done)};
    struct crew crew;
    new_log(&run);
    crew_init(&crew);
    run.until = now_ns() + (int64_t)(time * 1e9);
    for (int i = 0; i < appenders; i++)
        crew_add(&crew, appender, &run);
    if (!crew_finish(&crew))
        die("a process of the log's benchmark failed");
    double rate = (double)*run.done / time;
    drop_memory((void *)run.done, sizeof *run.done);
    drop_log(&run);
    return rate;
}

static void row_disk(const struct bench_options *options)
{
    double one[MOST], eight[MOST];
    char verdict[80];
    if (!bench_wants(options, "log, fsync=each, 8 who append beside one"))
        return;
    for (int i = 0; i < options->repetitions; i++) {
        one[i] = append_to_disk(1, options->seconds * 4);
        eight[i] = append_to_disk(APPENDERS, options->seconds * 4);
    }
    double alone = median(one, (size_t)options->repetitions), all = median(eight, (size_t)options->repetitions);
    bool slow = 1e6 / alone >= SLOW_DISK;
    snprintf(verdict, sizeof verdict, "not measurable here: a send takes %.0f us, not %d", 1e6 / alone, SLOW_DISK);
    table_row(&(struct row){.name = "log, fsync=each, 8 who append beside one",
                            .goal = 4,
                            .figure = figure_rate(all).text,
                            .raw = figure_rate(alone).text,
                            .ratio = all / alone,
                            .verdict = slow ? NULL : verdict,
                            .against = "one who appends"});
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    seconds = options.seconds;
    if (options.head)
        table_head();
    if (bench_wants(&options, "log, 64 B, with MORE"))
        row_together("log, 64 B, with MORE", WITH_MORE, options.repetitions);
    if (bench_wants(&options, "log, 64 B, send_many"))
        row_together("log, 64 B, send_many", SEND_MANY, options.repetitions);
    if (bench_wants(&options, "log, 64 B, one by one")) {
        double rate = middle_of(measure_how, ONE_BY_ONE, options.repetitions);
        double raw = middle_of(measure_raw, 0, options.repetitions);
        table_row(&(struct row){.name = "log, 64 B, one by one",
                                .figure = figure_rate(rate).text,
                                .raw = figure_rate(raw).text,
                                .ratio = rate / raw,
                                .against = "write with O_APPEND, nobody reads"});
    }
    rows_reading(&options);
    row_disk(&options);
    return table_misses() ? 1 : 0;
}
