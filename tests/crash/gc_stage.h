/* tests/crash/gc_stage.h - a place where gc can do no harm, and gc itself there.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TEST_GC_STAGE_H
#define WHERRY_TEST_GC_STAGE_H

#include <stdbool.h>
#include <sys/types.h>

/* WHERRY_GC_ROUNDS, or 0. */
unsigned gc_rounds(void);

/* Random numbers, by WHERRY_GC_SEED and a number. */
void gc_seed(unsigned number);
unsigned gc_below(unsigned most);

/* An IPC namespace, and a /dev/shm, a /run and a /tmp, of this process's own. */
void gc_place(void);

struct run {
    bool nobody, inside, unheld;
    const char *older; /* NULL: not said */
};

pid_t gc_begin(const struct run *run);
/* Its exit code; any but 0, 1 and 4 is a failure. */
int gc_finish(pid_t pid);
void gc_say_output(void);

#endif
