/* bench/ring_crowd.c - contenders that carry messages from four senders to four receivers on two cores.
 *
 * SPDX-License-Identifier: MIT
 *
 * The senders are on the first core and the receivers on the second; or, mixed, two of each on either, where a queue
 * that yields is at the mercy of who is woken next.  They run until a clock stops them, so that nobody finishes early
 * and leaves the others more room; the rate is what all receivers took between two looks of the clock.  Then what is
 * under way is received too: every message must have come, once, with the right contents. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "ring_trial.h"

enum { CROWD = 4, PATIENCE_MS = 20, HEAD_BYTES = 4096 };

struct tally {
    _Alignas(64) uint64_t count, sum; /* of the numbers of the messages */
};

struct board {
    struct tally sent[CROWD], received[CROWD];
    _Alignas(64) bool stop;
    int senders_left;
};

struct crowd {
    const struct ring_job *job;
    struct ring_report *report;
    struct board *board;
    void *memory; /* Vyukov's */
    int pipe[2];
    struct lane lane;
    /* Each process's own. */
    struct slots slots;
    struct wherry_channel *channel;
    int64_t deadline;
};
struct member {
    struct crowd *crowd;
    int index;
};

typedef int send_one(struct crowd *crowd, const void *data, size_t size);
/* 1; 0 or -EAGAIN: look whether all is over. */
typedef int receive_one(struct crowd *crowd, void *buffer, size_t size);

/* ---- Vyukov's queue ---- */

static int vyukov_send(struct crowd *crowd, const void *data, size_t size)
{
    while (!vyukov_try_put(&crowd->slots, data, size))
        sched_yield();
    return 0;
}

static int vyukov_receive(struct crowd *crowd, void *buffer, size_t size)
{
    size_t came;
    if (vyukov_try_take(&crowd->slots, buffer, size, &came))
        return came == size ? 1 : -EBADMSG;
    sched_yield();
    return -EAGAIN;
}

/* ---- a pipe that all share ---- */

/* Records of equal size, far below PIPE_BUF: neither a write nor a read tears one. */
static int pipe_send(struct crowd *crowd, const void *data, size_t size)
{
    ssize_t wrote = write(crowd->pipe[1], data, size);
    return wrote == (ssize_t)size ? 0 : wrote < 0 ? -errno : -EIO;
}

static int pipe_receive(struct crowd *crowd, void *buffer, size_t size)
{
    ssize_t got = read(crowd->pipe[0], buffer, size);
    return got == (ssize_t)size ? 1 : got == 0 ? 0 : got < 0 ? -errno : -EIO;
}

/* ---- the library ---- */

static int library_send(struct crowd *crowd, const void *data, size_t size)
{
    int result;
    if (!crowd->job->use.trying)
        return wherry_channel_send(crowd->channel, data, size, WHERRY_FOREVER);
    while ((result = wherry_channel_send(crowd->channel, data, size, WHERRY_NOW)) == -EAGAIN)
        sched_yield();
    return result;
}

static int library_receive(struct crowd *crowd, void *buffer, size_t size)
{
    size_t came = 0;
    wherry_time deadline = crowd->job->use.trying ? WHERRY_NOW : crowd->deadline;
    int result = wherry_channel_receive(crowd->channel, buffer, size, &came, deadline);
    if (result == 1)
        return came == size ? 1 : -EBADMSG;
    if (result == -EAGAIN && crowd->job->use.trying)
        sched_yield();
    return result == -ETIMEDOUT ? -EAGAIN : result;
}

/* ---- opening and closing, in a process ---- */

static void close_pipe_end(struct crowd *crowd, int which)
{
    if (crowd->pipe[which] >= 0)
        close(crowd->pipe[which]);
    crowd->pipe[which] = -1;
}

static void crowd_open(struct crowd *crowd, bool sending)
{
    const struct ring_job *job = crowd->job;
    int result = 0;
    close_pipe_end(crowd, !sending);
    if (crowd->memory)
        vyukov_attach(&crowd->slots, crowd->memory, job->footprint, job->size);
    if (job->contender->library)
        result = lane_open(&crowd->lane, sending, wherry_after(10 * WHERRY_SECOND), &crowd->channel);
    if (result < 0)
        ring_give_up(crowd->report, result);
}

static void crowd_close(struct crowd *crowd)
{
    close_pipe_end(crowd, 0);
    close_pipe_end(crowd, 1);
    wherry_channel_close(crowd->channel, wherry_after(10 * WHERRY_SECOND));
}

/* ---- what each does ---- */

/* One writer each: a plain addition would do, were it not read meanwhile. */
static void add(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

static void total(const struct tally *tallies, uint64_t *ret_count, uint64_t *ret_sum)
{
    *ret_count = *ret_sum = 0;
    for (int i = 0; i < CROWD; i++) {
        *ret_count += __atomic_load_n(&tallies[i].count, __ATOMIC_ACQUIRE);
        *ret_sum += __atomic_load_n(&tallies[i].sum, __ATOMIC_RELAXED);
    }
}

static send_one *sender_of(const struct ring_job *job)
{
    return job->contender == &ring_crowd_vyukov ? vyukov_send
           : job->contender == &ring_crowd_pipe ? pipe_send
                                                : library_send;
}

static receive_one *receiver_of(const struct ring_job *job)
{
    return job->contender == &ring_crowd_vyukov ? vyukov_receive
           : job->contender == &ring_crowd_pipe ? pipe_receive
                                                : library_receive;
}

static void sender(struct crew *crew, void *argument)
{
    struct member *member = argument;
    struct crowd *crowd = member->crowd;
    struct tally *mine = &crowd->board->sent[member->index];
    struct ring_source source;
    send_one *send = sender_of(crowd->job);
    ring_source_make(&source, crowd->job->size);
    pin_to_core(crowd->job->mixed ? member->index : 0);
    crowd_open(crowd, true);
    crew_meet(crew);
    for (uint64_t i = 0; !__atomic_load_n(&crowd->board->stop, __ATOMIC_RELAXED); i++) {
        int result = send(crowd, ring_source_at(&source, i), source.size);
        if (result < 0)
            ring_give_up(crowd->report, result);
        add(&mine->count, 1);
        add(&mine->sum, i & source.mask);
    }
    __atomic_fetch_sub(&crowd->board->senders_left, 1, __ATOMIC_RELEASE);
    crowd_close(crowd);
}

static bool all_came(const struct crowd *crowd)
{
    uint64_t sent, received, sent_sum, received_sum;
    if (__atomic_load_n(&crowd->board->senders_left, __ATOMIC_ACQUIRE) > 0)
        return false;
    total(crowd->board->sent, &sent, &sent_sum);
    total(crowd->board->received, &received, &received_sum);
    if (received > sent)
        die("%s: more messages came than were sent", crowd->job->contender->name);
    return received == sent;
}

static void receiver(struct crew *crew, void *argument)
{
    struct member *member = argument;
    struct crowd *crowd = member->crowd;
    struct tally *mine = &crowd->board->received[member->index];
    struct ring_source source;
    receive_one *receive = receiver_of(crowd->job);
    uint64_t wrong = 0, number;
    ring_source_make(&source, crowd->job->size);
    unsigned char *buffer = need_memory(source.size);
    pin_to_core(crowd->job->mixed ? member->index : 1);
    crowd_open(crowd, false);
    crew_meet(crew);
    /* A deadline is made anew now and then, because to look at the clock is a message's worth of time. */
    for (unsigned i = 0;; i++) {
        if (i % 256 == 0)
            crowd->deadline = wherry_after(PATIENCE_MS * WHERRY_MILLISECOND);
        int result = receive(crowd, buffer, source.size);
        if (result == 1) {
            memcpy(&number, buffer, sizeof number);
            wrong |= ring_wrong(&source, number, buffer, source.size);
            add(&mine->sum, number);
            __atomic_store_n(&mine->count, mine->count + 1, __ATOMIC_RELEASE);
            continue;
        }
        if (result != 0 && result != -EAGAIN)
            ring_give_up(crowd->report, result);
        if (all_came(crowd))
            break;
        i = UINT32_MAX; /* a new deadline */
    }
    if (wrong)
        die("%s: messages came wrong", crowd->job->contender->name);
    crowd_close(crowd);
}

static void watch(struct crew *crew, void *argument)
{
    struct crowd *crowd = argument;
    uint64_t before, after, sum;
    close_pipe_end(crowd, 0);
    close_pipe_end(crowd, 1);
    crew_meet(crew);
    usleep((useconds_t)(crowd->job->seconds * 2e5));
    int64_t started = now_ns();
    total(crowd->board->received, &before, &sum);
    usleep((useconds_t)(crowd->job->seconds * 1e6));
    total(crowd->board->received, &after, &sum);
    crowd->report->result.figure = (double)(after - before) * 1e9 / (double)(now_ns() - started);
    __atomic_store_n(&crowd->board->stop, true, __ATOMIC_RELAXED);
}

/* ---- the parent ---- */

static int prepare(struct crowd *crowd)
{
    const struct ring_job *job = crowd->job;
    crowd->board = need_shared(sizeof *crowd->board);
    crowd->board->senders_left = CROWD;
    if (job->contender->library)
        return ring_lane_prepare(&crowd->lane, job);
    if (job->contender == &ring_crowd_vyukov) {
        crowd->memory = need_shared(job->footprint + HEAD_BYTES);
        slots_lay_out(crowd->memory, job->footprint, job->size);
        return 0;
    }
    if (pipe2(crowd->pipe, O_CLOEXEC) < 0)
        return -errno;
    return fcntl(crowd->pipe[1], F_SETPIPE_SZ, (int)job->footprint) < 0 ? -errno : 0;
}

static void drop(struct crowd *crowd)
{
    close_pipe_end(crowd, 0);
    close_pipe_end(crowd, 1);
    if (crowd->memory)
        drop_memory(crowd->memory, crowd->job->footprint + HEAD_BYTES);
    if (crowd->lane.traits)
        lane_drop(&crowd->lane);
}

static int measure(const struct ring_job *job, struct ring_result *ret_result)
{
    struct crowd crowd = {.job = job, .report = ring_fresh_report(), .pipe = {-1, -1}};
    struct member members[CROWD];
    struct crew crew;
    uint64_t sent, received, sent_sum, received_sum;
    int result = prepare(&crowd);
    if (result == 0) {
        crew_init(&crew);
        for (int i = 0; i < CROWD; i++) {
            members[i] = (struct member){&crowd, i};
            crew_add(&crew, receiver, &members[i]);
            crew_add(&crew, sender, &members[i]);
        }
        crew_add(&crew, watch, &crowd);
        drop(&crowd);
        if (!crew_finish(&crew) && crowd.report->failure == 0)
            die("%s, a crowd: a process died", job->contender->name);
        result = crowd.report->failure;
        total(crowd.board->sent, &sent, &sent_sum);
        total(crowd.board->received, &received, &received_sum);
        if (result == 0 && (sent != received || sent_sum != received_sum))
            die("%s, a crowd: not what was sent came", job->contender->name);
        *ret_result = crowd.report->result;
    } else {
        drop(&crowd);
    }
    drop_memory(crowd.board, sizeof *crowd.board);
    return result;
}

const struct ring_contender ring_crowd_vyukov = {"Vyukov's queue, yielding", .measure = measure},
                            ring_crowd_pipe = {"a shared pipe", .measure = measure},
                            ring_crowd_library = {"", .library = true, .measure = measure};
