/* bench/server.c - a master and its workers: what a second worker brings, and what a rolling replacement costs.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: do two workers on two cores answer twice as much when the load is in the workers?
 * Each request costs a worker the same computation, some 250 us.  Eight clients, a process each, ask again when they
 * have their answer; nobody is pinned.  One worker and two take turns, and the same computation in one process and two,
 * without messages, which says what the machine has to give at that time.
 * Then the same two workers are replaced by SIGHUP every 100 ms.  A request has failed when its client was refused, or
 * waited in vain, or saw the end after the request had been given to a worker; one that was not given, and had to be
 * asked again over another connection, is counted by itself. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { CLIENTS = 8, WORK = 300000, MOST_REPETITIONS = 32 };

struct trial {
    const char *scheme;
    bool reuse_port, rolls;
    unsigned workers;
    double seconds;
    struct crew *crew;
    char url[300];
    _Atomic pid_t master;
    _Atomic bool stop;
    _Atomic uint64_t clients, answers, again, failed, given[CLIENTS], rolled;
    uint64_t counted;
    double took;
};

struct request {
    uint64_t client, number;
    volatile uint64_t result;
};

static void compute(struct request *request)
{
    for (int i = 0; i < WORK; i++)
        request->result = request->result * 6364136223846793005u + 1;
}

static int work(struct wherry_channel *channel, const struct wherry_loan *loan, void *data)
{
    struct trial *trial = data;
    struct request request;
    memcpy(&request, loan->data, sizeof request);
    trial->given[request.client] = request.number;
    compute(&request);
    const struct wherry_message reply = {.data = &request, .size = sizeof request, .to = loan->info.peer.id};
    return wherry_channel_send_message(channel, &reply, 0, WHERRY_NOW);
}

static void tell(const struct wherry_server_event *event, void *data)
{
    struct trial *trial = data;
    if (event->kind == WHERRY_SERVER_LISTENS) {
        snprintf(trial->url, sizeof trial->url, "%s", event->text);
        trial->master = getpid();
        crew_meet(trial->crew);
    }
    trial->rolled += event->kind == WHERRY_SERVER_REPLACED;
}

static void master(struct crew *crew, void *argument)
{
    struct trial *trial = argument;
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    char url[300];
    options.workers = trial->workers;
    options.reuse_port = trial->reuse_port;
    options.event = tell;
    trial->crew = crew;
    if (strcmp(trial->scheme, "unix") == 0)
        snprintf(url, sizeof url, "unix:%s/server", scratch_directory());
    else
        snprintf(url, sizeof url, "tcp://127.0.0.1:0");
    if (wherry_server_run(url, &options, work, trial) < 0)
        die("%s", wherry_why());
}

static struct wherry_channel *meet_server(struct trial *trial)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    options.side = WHERRY_CONNECT;
    /* once: a server that is replaced refuses nobody */
    if (wherry_channel_open(trial->url, WHERRY_BOTH, &options, WHERRY_NOW, &channel) < 0)
        trial->failed++;
    return channel;
}

static void ask(struct trial *trial, uint64_t client)
{
    struct wherry_channel *channel = NULL;
    struct request request = {.client = client}, reply;
    size_t size;
    while (!trial->stop) {
        while (!channel && !trial->stop)
            channel = meet_server(trial);
        request.number++;
        int result = wherry_channel_send(channel, &request, sizeof request, wherry_after(10 * WHERRY_SECOND));
        if (result == 0)
            result = wherry_channel_receive(channel, &reply, sizeof reply, &size, wherry_after(10 * WHERRY_SECOND));
        if (result == 1 && reply.number == request.number) {
            trial->answers++;
            continue;
        }
        trial->again += trial->given[client] != request.number;
        trial->failed += trial->given[client] == request.number || result == -ETIMEDOUT;
        wherry_channel_close(channel, WHERRY_NOW);
        channel = NULL;
    }
    wherry_channel_close(channel, WHERRY_NOW);
}

static void client(struct crew *crew, void *argument)
{
    struct trial *trial = argument;
    uint64_t number = trial->clients++;
    crew_meet(crew);
    ask(trial, number);
}

/* What the machine gives: the same computation in as many processes, without any message. */
static void bare(struct crew *crew, void *argument)
{
    struct trial *trial = argument;
    struct request request = {0};
    crew_meet(crew);
    for (int64_t until = now_ns() + (int64_t)(trial->seconds * 1e9); now_ns() < until; trial->answers++)
        compute(&request);
}

static double run_bare(struct trial *trial, unsigned processes, double seconds)
{
    struct crew crew;
    memset(trial, 0, sizeof *trial);
    trial->seconds = seconds;
    crew_init(&crew);
    for (unsigned i = 0; i < processes; i++)
        crew_add(&crew, bare, trial);
    if (!crew_finish(&crew))
        die("a trial failed");
    return (double)trial->answers / seconds;
}

static void sleep_for(double seconds)
{
    usleep((useconds_t)(seconds * 1e6));
}

static void director(struct crew *crew, void *argument)
{
    struct trial *trial = argument;
    crew_meet(crew);
    sleep_for(trial->seconds * 0.2);
    uint64_t before = trial->answers;
    int64_t from = now_ns(), until = from + (int64_t)(trial->seconds * 1e9);
    while (now_ns() < until) {
        if (trial->rolls)
            kill(trial->master, SIGHUP);
        sleep_for(trial->rolls ? 0.1 : trial->seconds);
    }
    trial->counted = trial->answers - before;
    trial->took = (double)(now_ns() - from) / 1e9;
    trial->stop = true;
    sleep_for(0.1); /* the last answers */
    kill(trial->master, SIGTERM);
}

static double run(struct trial *trial, const char *scheme, bool reuse_port, unsigned workers, bool rolls,
                  double seconds)
{
    struct crew crew;
    memset(trial, 0, sizeof *trial);
    trial->scheme = scheme;
    trial->reuse_port = reuse_port;
    trial->workers = workers;
    trial->rolls = rolls;
    trial->seconds = seconds;
    crew_init(&crew);
    crew_add(&crew, master, trial);
    for (int i = 0; i < CLIENTS; i++)
        crew_add(&crew, client, trial);
    crew_add(&crew, director, trial);
    if (!crew_finish(&crew))
        die("a trial failed");
    return (double)trial->counted / trial->took;
}

int main(int argc, char **argv)
{
    static const struct subject {
        const char *name, *rolling, *scheme;
        bool reuse_port;
    } subjects[] = {{"unix, 2 workers, 250 us of work", "unix, replaced every 100 ms", "unix", false},
                    {"tcp, 2 workers, 250 us of work", "tcp, replaced every 100 ms", "tcp", false},
                    {"tcp reuse_port, replaced likewise", "tcp reuse_port, replaced", "tcp", true}};
    struct bench_options options = bench_parse(argc, argv);
    int repetitions = options.repetitions < MOST_REPETITIONS ? options.repetitions : MOST_REPETITIONS;
    struct trial *trial = need_shared(sizeof *trial);
    stop_prepare();
    if (options.head)
        table_head();
    for (size_t s = 0; s < sizeof subjects / sizeof *subjects; s++) {
        double rates[2][MOST_REPETITIONS], bares[MOST_REPETITIONS];
        const struct subject *subject = &subjects[s];
        for (int i = 0; !subject->reuse_port && i < repetitions && bench_wants(&options, subject->name); i++) {
            for (unsigned workers = 1; workers <= 2; workers++)
                rates[workers - 1][i] = run(trial, subject->scheme, false, workers, false, options.seconds);
            double alone = run_bare(trial, 1, options.seconds / 4);
            bares[i] = run_bare(trial, 2, options.seconds / 4) / alone;
        }
        if (!subject->reuse_port && bench_wants(&options, subject->name)) {
            double one = median(rates[0], (size_t)repetitions), two = median(rates[1], (size_t)repetitions);
            struct figure figure = figure_rate(two), other = figure_rate(one);
            char against[64];
            snprintf(against, sizeof against, "1 worker; two bare loops: %.2f", median(bares, (size_t)repetitions));
            table_row(&(struct row){.name = subject->name,
                                    .goal = 1.7,
                                    .figure = figure.text,
                                    .raw = other.text,
                                    .ratio = two / one,
                                    .against = against});
        }
        if (!bench_wants(&options, subject->rolling))
            continue;
        double rate = run(trial, subject->scheme, subject->reuse_port, 2, true, 2 * options.seconds);
        struct figure figure = figure_rate(rate);
        char raw[32], verdict[64];
        snprintf(raw, sizeof raw, "%llu failed", (unsigned long long)trial->failed);
        snprintf(verdict, sizeof verdict, "%llu times, %llu asked again", (unsigned long long)trial->rolled,
                 (unsigned long long)trial->again);
        /* at most none: the ratio is the number of failures, and one is more than the goal */
        table_row(&(struct row){.name = subject->rolling,
                                .goal = 0.5,
                                .goal_is_most = true,
                                .figure = figure.text,
                                .raw = raw,
                                .ratio = trial->failed ? (double)trial->failed : 0.001,
                                .against = verdict});
    }
    drop_memory(trial, sizeof *trial);
    return table_misses() ? 1 : 0;
}
