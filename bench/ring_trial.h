/* bench/ring_trial.h - one repetition of one measurement of the ring's bench: fresh processes, a fresh mapping, every
 * byte checked, and the state of the machine looked at before and after.
 *
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_RING_TRIAL_H
#define BENCH_RING_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"
#include "lane.h"
#include "ring_futex.h"
#include "ring_handoff.h"
#include "ring_inband.h"
#include "ring_slots.h"

/* How the library is used. */
struct ring_use {
    bool locked;      /* endpoints safe for threads, which is the default; else single_thread */
    wherry_time spin; /* 0: the default */
    bool by_poll;     /* wait in poll(2) on wherry_channel_receive_fd() */
    bool trying;      /* never wait in a call: try, and give the core away */
    int more_senders; /* endpoints that are open and send nothing */
    int lanes;        /* the footprint is divided among so many; 0: one */
};
#define RING_NEVER_SLEEPS (WHERRY_SECOND * 30) /* spin */
#define RING_NEVER_SPINS 1

/* What to measure. */
struct ring_job {
    const struct ring_contender *contender;
    size_t size, footprint;
    uint64_t count; /* messages, or round trips; 0: found out by a short run */
    unsigned block; /* round trips between two looks at the clock */
    double seconds; /* crowds: how long */
    bool one_core;
    bool mixed; /* crowds: two senders and two receivers on each core, else each kind has a core */
    struct ring_use use;
};

/* What came out. */
struct ring_result {
    double figure; /* messages a second, bytes a second, or ns one way */
    double tail;   /* the 99th percentile of the same, or 0 */
};

/* What parent and children share. */
struct ring_report {
    int failure; /* -errno of something that cannot do it */
    struct ring_result result;
    _Atomic long disturbed; /* times a process lost its core to a stranger while it was measured */
};

/* Messages made beforehand, so that a send never reads what was written just now; each has its number in its first
 * word. */
struct ring_source {
    unsigned char *data;
    uint64_t *sums; /* of the words of each */
    size_t size, stride;
    uint64_t mask; /* number of messages - 1 */
};
static inline const unsigned char *ring_source_at(const struct ring_source *source, uint64_t number)
{
    return source->data + (number & source->mask) * source->stride;
}

/* The sum of all words: reads every byte, at the cost of little else. */
static inline uint64_t ring_sum(const unsigned char *data, size_t size)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
        __builtin_memcpy(&word, data + i, sizeof word);
        sum += word;
    }
    return sum;
}
static inline uint64_t ring_wrong(const struct ring_source *source, uint64_t number, const unsigned char *data,
                                  size_t size)
{
    return (size ^ source->size) | (ring_sum(data, source->size) ^ source->sums[number & source->mask]);
}

/* A turn of a loop that looks at one cache line: on x86 the line comes sooner when it is not asked for without end. */
static inline void ring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* One repetition, as a process sees it. */
struct ring_run {
    const struct ring_job *job;
    uint64_t warmup;
    void *memory[2]; /* there, and back where messages go both ways */
    struct lane lanes[2];
    struct ring_report *report;
    /* From here on each process has its own. */
    bool second;
    struct ring_source source;
    unsigned char *buffer; /* for a message copied out */
    int64_t deadline;      /* of every wait */
    struct ring_end {
        union {
            struct inband inband;
            struct slots slots;
            struct handoff handoff;
            struct futex_word *word;
            struct wherry_channel *channel;
        };
        uint32_t seen; /* futex */
        int fd;        /* poll */
        int64_t deadline;
    } out, in;
    struct wherry_channel *more[8];
};

/* One way of carrying messages from a first process to a second, or of sending them to and fro. */
struct ring_contender {
    const char *name;
    bool library;
    bool both_ways;
    void (*lay_out)(void *memory, size_t footprint, size_t largest);                      /* NULL: all zero is good */
    void (*attach)(struct ring_end *end, void *memory, size_t footprint, size_t largest); /* not of the library */
    /* Warm up, measure, write the result.  0 or -errno. */
    int (*first)(struct ring_run *run);
    int (*second)(struct ring_run *run);
    /* Instead of all the above: does the repetition itself. */
    int (*measure)(const struct ring_job *job, struct ring_result *ret_result);
};

/* The scheme of the library's transport: "shm", or what --scheme said. */
extern const char *ring_scheme;
/* Lanes, sources and losses of the core, for those that measure by themselves. */
int ring_lane_prepare(struct lane *lane, const struct ring_job *job);
void ring_source_make(struct ring_source *source, size_t size);
long ring_cores_lost(void);
struct ring_report *ring_fresh_report(void);
/* In a process: say why and leave, so that the parent ends the others. */
_Noreturn void ring_give_up(struct ring_report *report, int failure);

/* Repetitions that stand although strangers took the cores away in each of a few tries. */
int ring_disturbed(void);

/* One repetition.  Returns 0, or -errno of a transport that cannot do it; dies on a wrong byte. */
int ring_trial(const struct ring_job *job, struct ring_result *ret_result);

/* ---- the state of the machine: ring_steady.c ---- */

/* A cache line's way from one core to another, in ns: the bare ping-pong. */
extern const struct ring_contender ring_bare;
/* Find out what is usual here. */
void ring_steady_begin(void);
/* A repetition whose ping-pongs before and after were usual; made again a few times where they were not. */
int ring_steady_trial(const struct ring_job *job, struct ring_result *ret_result);
/* Say in a line what was seen and thrown away. */
void ring_steady_tell(void);

/* ---- contenders ---- */

extern const struct ring_contender ring_stream_inband, ring_stream_inline, ring_stream_slots, ring_stream_cached,
    ring_stream_library;                                                                      /* messages/s */
extern const struct ring_contender ring_place_handoff, ring_place_single, ring_place_library; /* bytes/s */
extern const struct ring_contender ring_pong_inband, ring_pong_library, ring_pong_futex, ring_pong_place; /* ns */
extern const struct ring_contender ring_crowd_vyukov, ring_crowd_pipe, ring_crowd_library; /* messages/s */

/* ---- rows ---- */

void ring_rows(const struct bench_options *options);      /* ring_rows.c */
void ring_idle_rows(const struct bench_options *options); /* ring_idle.c */
/* A row whose figures could not be had. */
void ring_row_failed(const struct row *row, int failure);

#endif
