/* bench/ring_idle.c - what an endpoint costs while nothing comes: wake-ups and time on the processor.
 *
 * SPDX-License-Identifier: MIT
 *
 * Two receivers with default options, one blocked in a receive, one in poll(2) on its descriptor, each with a sender
 * that is silent.  A watcher reads the kernel's books about them, once they have settled and once more at the end. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring_trial.h"

enum { BLOCKED, POLLING, KINDS, SETTLING_US = 500000 };

struct books {
    double wakeups; /* in all */
    double share;   /* percent of one core */
};

struct idle {
    struct ring_report *report;
    struct lane lanes[KINDS];
    double seconds;
    struct shared {
        struct books books[KINDS];
        struct futex_word over;
    } * shared;
};
struct member {
    struct idle *idle;
    int kind;
};

/* ---- the kernel's books ---- */

static long long wakeups_of(pid_t pid)
{
    char path[64], line[256];
    long long wakeups = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %lld", &wakeups) == 1)
            break;
    if (file)
        fclose(file);
    if (wakeups < 0)
        die("%s does not say how often it woke up", path);
    return wakeups;
}

static double cpu_ns_of(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        die("the processor time of process %d is not known", (int)pid);
    return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

/* ---- the processes ---- */

static void receiver(struct crew *crew, void *argument)
{
    struct member *member = argument;
    struct idle *idle = member->idle;
    struct wherry_channel *channel;
    unsigned char buffer[64];
    size_t size;
    wherry_time deadline = wherry_after((int64_t)(idle->seconds * 1e9) + 60 * WHERRY_SECOND);
    int result = lane_open(&idle->lanes[member->kind], 0, deadline, &channel), fd = -1;
    if (result == 0 && member->kind == POLLING)
        result = fd = wherry_channel_receive_fd(channel);
    if (result < 0)
        ring_give_up(idle->report, result);
    crew_meet(crew);
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        result = wherry_channel_receive(channel, buffer, sizeof buffer, &size, fd < 0 ? deadline : WHERRY_NOW);
        if (result == 1)
            break;
        if (result != -EAGAIN || fd < 0)
            ring_give_up(idle->report, result ? result : -ENODATA);
        if (poll(&wait, 1, -1) < 0 && errno != EINTR)
            ring_give_up(idle->report, -errno);
    }
    wherry_channel_close(channel, deadline);
}

static void sender(struct crew *crew, void *argument)
{
    struct member *member = argument;
    struct idle *idle = member->idle;
    struct wherry_channel *channel;
    wherry_time deadline = wherry_after((int64_t)(idle->seconds * 1e9) + 60 * WHERRY_SECOND);
    int result = lane_open(&idle->lanes[member->kind], 1, deadline, &channel);
    if (result < 0)
        ring_give_up(idle->report, result);
    crew_meet(crew);
    futex_await(&idle->shared->over, 0, deadline);
    result = wherry_channel_send(channel, "over", 4, deadline);
    if (result < 0)
        ring_give_up(idle->report, result);
    wherry_channel_close(channel, deadline);
}

/* The receivers were forked first: their ids came along. */
static void watcher(struct crew *crew, void *argument)
{
    struct idle *idle = argument;
    long long wakeups[KINDS];
    double cpu[KINDS];
    crew_meet(crew);
    usleep(SETTLING_US);
    int64_t started = now_ns();
    for (int kind = 0; kind < KINDS; kind++) {
        wakeups[kind] = wakeups_of(crew->pids[kind]);
        cpu[kind] = cpu_ns_of(crew->pids[kind]);
    }
    usleep((useconds_t)(idle->seconds * 1e6));
    for (int kind = 0; kind < KINDS; kind++) {
        struct books *books = &idle->shared->books[kind];
        books->wakeups = (double)(wakeups_of(crew->pids[kind]) - wakeups[kind]);
        books->share = (cpu_ns_of(crew->pids[kind]) - cpu[kind]) * 100 / (double)(now_ns() - started);
    }
    __atomic_store_n(&idle->shared->over.value, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &idle->shared->over.value, FUTEX_WAKE, KINDS, NULL, NULL, 0);
}

/* ---- the rows ---- */

static void print_row(const char *name, double goal, double value, const char *unit)
{
    char text[32];
    snprintf(text, sizeof text, "%.4f %s", value, unit);
    table_row(&(struct row){.name = name, .goal = goal, .goal_is_most = true, .figure = text, .ratio = value});
}

static const char *const names[] = {
    "ring idle, in a receive, wake-ups a second",
    "ring idle, in a receive, % of a core",
    "ring idle, in poll, wake-ups a second",
    "ring idle, in poll, % of a core",
};
static const double goals[] = {20, 0.05, 0.01, 0.05}; /* none in poll: one in a minute is too many */

static int measure(struct idle *idle)
{
    const struct ring_job job = {.footprint = 65536, .use = {.locked = true}};
    struct member members[KINDS];
    struct crew crew;
    int result = 0;
    for (int kind = 0; result == 0 && kind < KINDS; kind++) {
        members[kind] = (struct member){idle, kind};
        result = ring_lane_prepare(&idle->lanes[kind], &job);
    }
    if (result < 0)
        return result;
    crew_init(&crew);
    for (int kind = 0; kind < KINDS; kind++)
        crew_add(&crew, receiver, &members[kind]);
    for (int kind = 0; kind < KINDS; kind++)
        crew_add(&crew, sender, &members[kind]);
    crew_add(&crew, watcher, idle);
    for (int kind = 0; kind < KINDS; kind++)
        lane_drop(&idle->lanes[kind]);
    if (!crew_finish(&crew) && idle->report->failure == 0)
        die("idle endpoints: a process died");
    return idle->report->failure;
}

void ring_idle_rows(const struct bench_options *options)
{
    struct idle idle = {.report = ring_fresh_report(), .seconds = options->seconds < 0.1 ? 10 : 60};
    bool wanted = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wanted |= bench_wants(options, names[i]);
    if (!wanted)
        return;
    idle.shared = need_shared(sizeof *idle.shared);
    int result = measure(&idle);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct books *books = &idle.shared->books[i / 2];
        if (!bench_wants(options, names[i]))
            continue;
        if (result < 0)
            ring_row_failed(&(struct row){.name = names[i], .goal = goals[i], .goal_is_most = true}, result);
        else if (i % 2 == 0)
            print_row(names[i], goals[i], books->wakeups / idle.seconds, "/s");
        else
            print_row(names[i], goals[i], books->share, "%");
    }
    drop_memory(idle.shared, sizeof *idle.shared);
}
