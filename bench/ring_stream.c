/* bench/ring_stream.c - contenders that carry a stream of messages from the first process to the second.
 *
 * SPDX-License-Identifier: MIT
 *
 * One loop for all, inlined around the send and the receive of each, so that every contender pays for its own calls and
 * nothing else. */
#include <errno.h>
#include <string.h>

#include "ring_trial.h"

#define INLINE static inline __attribute__((always_inline))

typedef int send_one(struct ring_end *end, const void *data, size_t size);
typedef int receive_one(struct ring_end *end, void *buffer, size_t capacity, size_t *ret_size);

/* ---- copied in, copied out ---- */

INLINE int stream_out(struct ring_run *run, send_one *send)
{
    const struct ring_source source = run->source;
    uint64_t end = run->warmup + run->job->count;
    for (uint64_t i = 0; i < end; i++) {
        int result = send(&run->out, ring_source_at(&source, i), source.size);
        if (result < 0)
            return result;
    }
    return 0;
}

INLINE int stream_in(struct ring_run *run, receive_one *receive)
{
    const struct ring_source source = run->source;
    uint64_t wrong = 0, number = 0;
    int64_t started = 0;
    /* First those that warm up, then those that count. */
    for (uint64_t end = run->warmup, round = 0; round < 2; round++, end += run->job->count) {
        started = now_ns();
        for (; number < end; number++) {
            size_t size = 0;
            int result = receive(&run->in, run->buffer, source.size, &size);
            if (result <= 0)
                return result ? result : -ENODATA;
            wrong |= ring_wrong(&source, number, run->buffer, size);
        }
    }
    run->report->result.figure = (double)run->job->count * 1e9 / (double)(now_ns() - started);
    if (wrong)
        die("%s: messages came wrong", run->job->contender->name);
    return 0;
}

/* A contender: its name, and the loops around its own calls. */
#define STREAM(NAME, SEND, RECEIVE)                                                                                    \
    static int NAME##_first(struct ring_run *run)                                                                      \
    {                                                                                                                  \
        return stream_out(run, SEND);                                                                                  \
    }                                                                                                                  \
    static int NAME##_second(struct ring_run *run)                                                                     \
    {                                                                                                                  \
        return stream_in(run, RECEIVE);                                                                                \
    }

INLINE int inband_send(struct ring_end *end, const void *data, size_t size)
{
    inband_call_put(&end->inband, data, size);
    return 0;
}
INLINE int inband_receive(struct ring_end *end, void *buffer, size_t capacity, size_t *ret_size)
{
    return inband_call_take(&end->inband, buffer, capacity, ret_size);
}
STREAM(inband, inband_send, inband_receive)

INLINE int inline_send(struct ring_end *end, const void *data, size_t size)
{
    inband_put(&end->inband, data, size);
    return 0;
}
INLINE int inline_receive(struct ring_end *end, void *buffer, size_t capacity, size_t *ret_size)
{
    return inband_take(&end->inband, buffer, capacity, ret_size);
}
STREAM(inlined, inline_send, inline_receive)

INLINE int slots_send(struct ring_end *end, const void *data, size_t size)
{
    slots_put(&end->slots, data, size);
    return 0;
}
INLINE int slots_receive(struct ring_end *end, void *buffer, size_t capacity, size_t *ret_size)
{
    return slots_take(&end->slots, buffer, capacity, ret_size);
}
STREAM(slots, slots_send, slots_receive)

INLINE int cached_send(struct ring_end *end, const void *data, size_t size)
{
    cached_put(&end->slots, data, size);
    return 0;
}
INLINE int cached_receive(struct ring_end *end, void *buffer, size_t capacity, size_t *ret_size)
{
    return cached_take(&end->slots, buffer, capacity, ret_size);
}
STREAM(cached, cached_send, cached_receive)

INLINE int library_send(struct ring_end *end, const void *data, size_t size)
{
    return wherry_channel_send(end->channel, data, size, end->deadline);
}
INLINE int library_receive(struct ring_end *end, void *buffer, size_t capacity, size_t *ret_size)
{
    return wherry_channel_receive(end->channel, buffer, capacity, ret_size, end->deadline);
}
STREAM(library, library_send, library_receive)

/* ---- written and read in place ---- */

static unsigned char fill_byte(uint64_t number)
{
    return (unsigned char)(number % 251 + 1);
}

static uint64_t fill_wrong(const unsigned char *data, size_t size, uint64_t number)
{
    return ring_sum(data, size) ^ (size / sizeof(uint64_t) * (UINT64_C(0x0101010101010101) * fill_byte(number)));
}

static void place_result(struct ring_run *run, int64_t started, uint64_t wrong)
{
    double bytes = (double)run->job->count * (double)run->job->size;
    run->report->result.figure = bytes * 1e9 / (double)(now_ns() - started);
    if (wrong)
        die("%s: messages came wrong", run->job->contender->name);
}

/* A buffer holds as many messages as fit: they change hands together.  So the memory that goes round is as much as the
 * ring's.  The last buffer may be handed over with few in it. */
static int handoff_first(struct ring_run *run)
{
    struct handoff *handoff = &run->out.handoff;
    size_t size = run->job->size, batch = handoff->half / size;
    uint64_t end = run->warmup + run->job->count;
    for (uint64_t i = 0; i < end;) {
        unsigned char *data = handoff_wait(handoff, 0);
        for (size_t b = 0; b < batch && i < end; b++, i++)
            memset(data + b * size, fill_byte(i), size);
        handoff_give(handoff, 1);
    }
    return 0;
}

static int handoff_second(struct ring_run *run)
{
    struct handoff *handoff = &run->in.handoff;
    size_t size = run->job->size, batch = handoff->half / size;
    uint64_t end = run->warmup + run->job->count, wrong = 0;
    int64_t started = 0;
    for (uint64_t i = 0; i < end;) {
        const unsigned char *data = handoff_wait(handoff, 1);
        for (size_t b = 0; b < batch && i < end; b++, i++) {
            if (i == run->warmup)
                started = now_ns();
            wrong |= fill_wrong(data + b * size, size, i);
        }
        handoff_give(handoff, 0);
    }
    place_result(run, started, wrong);
    return 0;
}

static int place_first(struct ring_run *run)
{
    struct wherry_channel *channel = run->out.channel;
    struct wherry_message message = {.size = run->job->size};
    uint64_t end = run->warmup + run->job->count;
    int result = 0;
    for (uint64_t i = 0; result == 0 && i < end; i++) {
        void *data;
        result = wherry_channel_reserve(channel, message.size, &data, run->deadline);
        if (result < 0)
            break;
        memset(data, fill_byte(i), message.size);
        message.data = data;
        result = wherry_channel_commit(channel, &message, 0, run->deadline);
    }
    return result;
}

static int place_second(struct ring_run *run)
{
    uint64_t end = run->warmup + run->job->count, wrong = 0;
    int64_t started = 0;
    for (uint64_t i = 0; i < end; i++) {
        struct wherry_loan loan;
        if (i == run->warmup)
            started = now_ns();
        int result = wherry_channel_borrow(run->in.channel, &loan, run->deadline);
        if (result <= 0)
            return result ? result : -ENODATA;
        wrong |= (loan.info.size ^ run->job->size) | fill_wrong(loan.data, run->job->size, i);
        wherry_channel_return(run->in.channel, &loan);
    }
    place_result(run, started, wrong);
    return 0;
}

/* ---- the contenders ---- */

static void attach_inband(struct ring_end *end, void *memory, size_t footprint, size_t largest)
{
    (void)largest;
    inband_attach(&end->inband, memory, footprint);
}

static void attach_slots(struct ring_end *end, void *memory, size_t footprint, size_t largest)
{
    slots_attach(&end->slots, memory, footprint, largest);
}

static void attach_handoff(struct ring_end *end, void *memory, size_t footprint, size_t largest)
{
    (void)largest;
    handoff_attach(&end->handoff, memory, footprint);
}

/* Two buffers of one message each, however large the ring: less memory goes round. */
static void attach_single(struct ring_end *end, void *memory, size_t footprint, size_t largest)
{
    (void)footprint;
    handoff_attach(&end->handoff, memory, 2 * largest);
}

const struct ring_contender ring_stream_inband = {"unsafe ring", .attach = attach_inband, .first = inband_first,
                                                  .second = inband_second},
                            ring_stream_inline = {"unsafe ring, inlined", .attach = attach_inband,
                                                  .first = inlined_first, .second = inlined_second},
                            ring_stream_slots = {"slots", .lay_out = slots_lay_out, .attach = attach_slots,
                                                 .first = slots_first, .second = slots_second},
                            ring_stream_cached = {"cached indices", .lay_out = slots_lay_out, .attach = attach_slots,
                                                  .first = cached_first, .second = cached_second},
                            ring_stream_library = {"", .library = true, .first = library_first,
                                                   .second = library_second},
                            ring_place_handoff = {"two buffers", .attach = attach_handoff, .first = handoff_first,
                                                  .second = handoff_second},
                            ring_place_single = {"two small buffers", .attach = attach_single, .first = handoff_first,
                                                 .second = handoff_second},
                            ring_place_library = {"", .library = true, .first = place_first, .second = place_second};
