/* bench/trial.h - one repetition of one measurement: two processes, pinned, with everything checked.
 *
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_TRIAL_H
#define BENCH_TRIAL_H

#include "link.h"

/* How the two sides of a link come about. */
struct contender {
    const char *name;
    const struct link_class *class;
    enum waiting waiting; /* raw */
    bool frame_a_read;    /* this and the next: as in struct link */
    size_t ahead, most_read, most_written;
    enum use use;         /* wherry */
};

/* Carry `count` messages of `size` bytes from core 0 to core 1 after a warm-up of a tenth.  Returns 0 and messages a
 * second, as the receiver saw them; or -errno when the object cannot carry such messages.  Dies on a wrong byte. */
int trial_throughput(const struct contender *contender, const struct subject *subject, size_t size, uint64_t count,
                     double *ret_rate);

/* Send `count` messages of 64 bytes to and fro, each process on its core.  Returns 0 and half the median round trip in
 * ns; or -errno. */
int trial_latency(const struct contender *contender, const struct subject *subject, int core, int other_core,
                  uint64_t count, double *ret_time);

/* How many repetitions were made again, because other processes had taken the cores away. */
int trial_again(void);

#endif
