/* base/time.h - deadlines: absolute CLOCK_MONOTONIC times in nanoseconds, and what is left of them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_TIME_H
#define WHERRY_BASE_TIME_H

#include <stdbool.h>
#include <time.h>
#include <wherry/base.h>

/* Whether a call with this deadline may not wait at all.  Reads the clock only when the answer is not known without. */
bool wherry__deadline_passed(wherry_time deadline);

/* What is left until `deadline`, never negative, as the relative time-out of ppoll and epoll_pwait2.  Returns NULL,
 * which those calls take for "no time-out", when the deadline is WHERRY_FOREVER. */
const struct timespec *wherry__deadline_left(wherry_time deadline, struct timespec *storage);

static inline void wherry__breathe_once(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    __asm__ volatile("");
#endif
}

/* Between two looks of a spinning wait: leaves the core's units to its other thread, for some tens of nanoseconds. */
static inline void wherry__breathe(void)
{
    for (int i = 0; i < 16; i++)
        wherry__breathe_once();
}

/* What to report when a deadline ends a call: EAGAIN for WHERRY_NOW, ETIMEDOUT for a time that has come.  Which of the
 * two it is follows from the argument alone, and not from how long the caller was kept from the processor before its
 * call. */
int wherry__deadline_code(wherry_time deadline);

/* Where the kernel offers neither a time-out nor an event, waits sleep in growing steps of 50 us to 10 ms.
 * Start from a zeroed struct.  Sleeps one step, or less when the deadline is nearer. */
struct wherry__steps {
    wherry_time next;
};
void wherry__steps_sleep(struct wherry__steps *steps, wherry_time deadline);

/* The same for who waits for something else meanwhile: when the step that begins now ends. */
wherry_time wherry__steps_take(struct wherry__steps *steps, wherry_time deadline);

#endif
