/* bench/demo_delay.c - how long one message takes from one process to another, one way.
 *
 * SPDX-License-Identifier: MIT
 *
 * Both processes read the same clock (CLOCK_MONOTONIC), so a message carries the time at which it was sent and the
 * receiver takes the difference: no half round trips.  Messages go one at a time, so that none waits behind another:
 * the receiver says in shared memory that it has the last one, beside the transport, and the sender stamps the next.
 * Spinning: the receiver tries again and again (WHERRY_NOW).  Blocking: it sleeps in the call, and the sender waits
 * long enough that it does.  The sender never sleeps, so that what is measured is the receiver's wake-up. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "demo.h"
#include "lane.h"

enum { SIZE = 64, WARMUP = 500, SAMPLES = 5000 };
#define FALL_ASLEEP (25 * WHERRY_MICROSECOND)
#define LOST (50 * WHERRY_MILLISECOND)  /* without a receipt: the message is lost, the next is sent */
#define PATIENCE (10 * WHERRY_SECOND)   /* for the other process */
#define ENOUGH (3 * WHERRY_SECOND)      /* on a slow machine fewer samples must do */

struct report {
    _Atomic uint64_t receipt; /* 1 + number of the last message that arrived */
    _Atomic bool done;
    size_t samples;
    double times[SAMPLES];
    char why[400];
};

struct job {
    struct lane lane;
    bool spinning;
    struct report *report;
};

struct stamp {
    uint64_t number;
    wherry_time sent;
};

static _Noreturn void give_up(struct job *job, struct wherry_channel *channel, const char *what, int failure)
{
    if (!job->report->why[0])
        snprintf(job->report->why, sizeof job->report->why, "%s: %s (%s)", what, wherry_why(), strerror(-failure));
    demo_interruptible(NULL);
    wherry_channel_close(channel, WHERRY_NOW);
    _exit(1);
}

static struct wherry_channel *open_end(struct crew *crew, struct job *job, int sending)
{
    struct wherry_channel *channel = NULL;
    demo_interruptible(NULL);
    pin_to_core(sending ? 0 : 1);
    int result = lane_open(&job->lane, sending, wherry_after(PATIENCE), &channel);
    if (result < 0)
        give_up(job, NULL, "open", result);
    demo_interruptible(channel);
    crew_meet(crew);
    return channel;
}

static void await_receipt(const struct report *report, uint64_t number)
{
    wherry_time until = wherry_after(LOST);
    while (report->receipt <= number && wherry_now() < until)
        spin_once();
}

static void sender(struct crew *crew, void *argument)
{
    struct job *job = argument;
    struct wherry_channel *channel = open_end(crew, job, 1);
    unsigned char message[SIZE] = {0};
    wherry_time started = wherry_now();
    for (uint64_t number = 0; number < WARMUP + SAMPLES && wherry_now() - started < ENOUGH; number++) {
        for (wherry_time until = wherry_after(FALL_ASLEEP); !job->spinning && wherry_now() < until;)
            spin_once();
        struct stamp stamp = {.number = number, .sent = wherry_now()};
        memcpy(message, &stamp, sizeof stamp);
        int result = wherry_channel_send(channel, message, sizeof message, wherry_after(PATIENCE));
        if (result < 0)
            give_up(job, channel, "send", result);
        await_receipt(job->report, number);
    }
    job->report->done = true;
    demo_interruptible(NULL);
    wherry_channel_close(channel, wherry_after(PATIENCE));
}

/* 1, 0 at the end, -errno; a receiver that has waited for a while looks whether the sender is done. */
static int receive_one(struct job *job, struct wherry_channel *channel, unsigned char *buffer, size_t *ret_size)
{
    for (;;) {
        wherry_time deadline = job->spinning ? WHERRY_NOW : wherry_after(10 * LOST);
        int result = wherry_channel_receive(channel, buffer, SIZE, ret_size, deadline);
        if (result != -EAGAIN && result != -ETIMEDOUT)
            return result;
        if (job->report->done)
            return 0;
        spin_once();
    }
}

static void receiver(struct crew *crew, void *argument)
{
    struct job *job = argument;
    struct report *report = job->report;
    struct wherry_channel *channel = open_end(crew, job, 0);
    unsigned char message[SIZE];
    size_t size;
    int result;
    while (report->samples < SAMPLES && (result = receive_one(job, channel, message, &size)) != 0) {
        wherry_time now = wherry_now();
        struct stamp stamp;
        if (result < 0 || size != sizeof message)
            give_up(job, channel, "receive", result);
        memcpy(&stamp, message, sizeof stamp);
        if (stamp.number >= WARMUP)
            report->times[report->samples++] = (double)(now - stamp.sent);
        report->receipt = stamp.number + 1;
    }
    demo_interruptible(NULL);
    wherry_channel_close(channel, wherry_after(PATIENCE));
}

void measure_delay(const struct wherry_traits *traits, bool spinning, struct delay *ret_delay)
{
    struct job job = {.spinning = spinning};
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct crew crew;
    options.single_thread = true;
    lane_alone(traits, &options);
    struct report *report = job.report = need_shared(sizeof *job.report);
    int result = lane_prepare(&job.lane, traits, &options);
    crew_init(&crew);
    if (result == 0) {
        crew_add(&crew, receiver, &job);
        crew_add(&crew, sender, &job);
    }
    lane_drop(&job.lane);
    bool good = crew_finish(&crew) && result == 0;
    lane_remove(&job.lane);
    sort_numbers(report->times, report->samples);
    *ret_delay = (struct delay){
        .samples = report->samples,
        .middle = quantile(report->times, report->samples, 0.5),
        .late = quantile(report->times, report->samples, 0.99),
    };
    if (!good || report->samples == 0)
        snprintf(ret_delay->why, sizeof ret_delay->why, "%s",
                 report->why[0] ? report->why : result < 0 ? wherry_why() : "no message was timed");
    drop_memory(report, sizeof *report);
}
