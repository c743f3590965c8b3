/* bench/ring_pong.c - contenders that send a message to and fro: the time of one way.
 *
 * SPDX-License-Identifier: MIT
 *
 * Two passes: round trips in blocks between two looks at the clock, whose median is the figure, because a look costs a
 * fifth of what is measured; then round trips one by one, for the 99th percentile. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "ring_trial.h"

#define INLINE static inline __attribute__((always_inline))

typedef int send_one(struct ring_run *run, uint64_t number);
typedef int receive_one(struct ring_run *run, uint64_t number);

static int came_wrong(const struct ring_run *run)
{
    die("%s: round trips came back wrong", run->job->contender->name);
    return -EBADMSG;
}

INLINE int one_trip(struct ring_run *run, uint64_t number, send_one *send, receive_one *receive)
{
    int result = send(run, number);
    return result < 0 ? result : receive(run, number);
}

/* Take the times of `samples` blocks of `block` round trips each, in ns one way. */
INLINE int take_times(struct ring_run *run, uint64_t *number, double *times, uint64_t samples, unsigned block,
                      send_one *send, receive_one *receive)
{
    int64_t before = now_ns();
    for (uint64_t s = 0; s < samples; s++) {
        for (unsigned b = 0; b < block; b++, ++*number) {
            int result = one_trip(run, *number, send, receive);
            if (result < 0)
                return result;
        }
        int64_t after = now_ns();
        times[s] = (double)(after - before) / 2 / block;
        before = after;
    }
    return 0;
}

static uint64_t trips(const struct ring_run *run)
{
    uint64_t block = run->job->block, blocks = run->job->count / block + 1;
    return run->warmup + blocks * block + run->job->count;
}

INLINE int ping(struct ring_run *run, send_one *send, receive_one *receive)
{
    const struct ring_job *job = run->job;
    uint64_t number = 0, blocks = job->count / job->block + 1;
    double *times = need_memory((job->count + blocks + run->warmup) * sizeof *times);
    int result = take_times(run, &number, times, run->warmup, 1, send, receive);
    if (result == 0)
        result = take_times(run, &number, times, blocks, job->block, send, receive);
    run->report->result.figure = median(times, blocks);
    if (result == 0)
        result = take_times(run, &number, times, job->count, 1, send, receive);
    sort_numbers(times, job->count);
    run->report->result.tail = quantile(times, job->count, 0.99);
    return result;
}

INLINE int pong(struct ring_run *run, send_one *send, receive_one *receive)
{
    uint64_t end = trips(run);
    for (uint64_t number = 0; number < end; number++) {
        int result = receive(run, number);
        if (result == 0)
            result = send(run, number);
        if (result < 0)
            return result;
    }
    return 0;
}

#define PONG(NAME, SEND, RECEIVE)                                                                                      \
    static int NAME##_first(struct ring_run *run)                                                                      \
    {                                                                                                                  \
        return ping(run, SEND, RECEIVE);                                                                               \
    }                                                                                                                  \
    static int NAME##_second(struct ring_run *run)                                                                     \
    {                                                                                                                  \
        return pong(run, SEND, RECEIVE);                                                                               \
    }

/* ---- the bare line and the futex: a word that counts ---- */

INLINE int bare_send(struct ring_run *run, uint64_t number)
{
    __atomic_store_n(&run->out.word->value, (uint32_t)number + 1, __ATOMIC_RELEASE);
    return 0;
}
INLINE int bare_receive(struct ring_run *run, uint64_t number)
{
    while (__atomic_load_n(&run->in.word->value, __ATOMIC_ACQUIRE) != (uint32_t)number + 1)
        ring_relax();
    return 0;
}
PONG(bare, bare_send, bare_receive)

INLINE int futex_send(struct ring_run *run, uint64_t number)
{
    (void)number;
    futex_post(run->out.word);
    return 0;
}
INLINE int futex_receive(struct ring_run *run, uint64_t number)
{
    return futex_await(run->in.word, (uint32_t)number, run->deadline);
}
PONG(futex, futex_send, futex_receive)

static void attach_word(struct ring_end *end, void *memory, size_t footprint, size_t largest)
{
    (void)footprint, (void)largest;
    end->word = memory;
}

/* ---- the unsafe ring ---- */

INLINE int inband_send(struct ring_run *run, uint64_t number)
{
    inband_call_put(&run->out.inband, ring_source_at(&run->source, number), run->source.size);
    return 0;
}
INLINE int inband_receive(struct ring_run *run, uint64_t number)
{
    size_t size = 0;
    if (inband_call_take(&run->in.inband, run->buffer, run->source.size, &size) < 0 ||
        ring_wrong(&run->source, number, run->buffer, size))
        return came_wrong(run);
    return 0;
}
PONG(inband, inband_send, inband_receive)

static void attach_inband(struct ring_end *end, void *memory, size_t footprint, size_t largest)
{
    (void)largest;
    inband_attach(&end->inband, memory, footprint);
}

/* ---- the library ---- */

INLINE int library_send(struct ring_run *run, uint64_t number)
{
    return wherry_channel_send(run->out.channel, ring_source_at(&run->source, number), run->source.size, run->deadline);
}

/* As a loop of poll() is written: take what is there, and wait only when there is nothing. */
static int receive_by_poll(struct ring_run *run, size_t *ret_size)
{
    for (;;) {
        struct pollfd wait = {.fd = run->in.fd, .events = POLLIN};
        int result = wherry_channel_receive(run->in.channel, run->buffer, run->source.size, ret_size, WHERRY_NOW);
        if (result != -EAGAIN)
            return result;
        result = poll(&wait, 1, 60000);
        if (result == 0)
            return -ETIMEDOUT;
        if (result < 0 && errno != EINTR)
            return -errno;
    }
}

INLINE int library_receive(struct ring_run *run, uint64_t number)
{
    size_t size = 0;
    int result = run->job->use.by_poll
                     ? receive_by_poll(run, &size)
                     : wherry_channel_receive(run->in.channel, run->buffer, run->source.size, &size, run->deadline);
    if (result <= 0)
        return result ? result : -ENODATA;
    return ring_wrong(&run->source, number, run->buffer, size) ? came_wrong(run) : 0;
}
PONG(library, library_send, library_receive)

/* ---- the library in place, payload untouched ---- */

INLINE int place_send(struct ring_run *run, uint64_t number)
{
    struct wherry_message message = {.size = run->job->size};
    void *data;
    (void)number;
    int result = wherry_channel_reserve(run->out.channel, message.size, &data, run->deadline);
    if (result < 0)
        return result;
    message.data = data;
    return wherry_channel_commit(run->out.channel, &message, 0, run->deadline);
}
INLINE int place_receive(struct ring_run *run, uint64_t number)
{
    struct wherry_loan loan;
    (void)number;
    int result = wherry_channel_borrow(run->in.channel, &loan, run->deadline);
    if (result <= 0)
        return result ? result : -ENODATA;
    if (loan.info.size != run->job->size)
        return came_wrong(run);
    wherry_channel_return(run->in.channel, &loan);
    return 0;
}
PONG(place, place_send, place_receive)

/* ---- the contenders ---- */

const struct ring_contender ring_bare = {"bare line", .both_ways = true, .attach = attach_word, .first = bare_first,
                                         .second = bare_second},
                            ring_pong_futex = {"futex", .both_ways = true, .attach = attach_word, .first = futex_first,
                                               .second = futex_second},
                            ring_pong_inband = {"unsafe ring", .both_ways = true, .attach = attach_inband,
                                                .first = inband_first, .second = inband_second},
                            ring_pong_library = {"", .library = true, .both_ways = true, .first = library_first,
                                                 .second = library_second},
                            ring_pong_place = {"", .library = true, .both_ways = true, .first = place_first,
                                               .second = place_second};
