/* signal/signals.h - what the files of this folder share: which numbers may be used, a set of signals that is open.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SIGNAL_SIGNALS_H
#define WHERRY_SIGNAL_SIGNALS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <wherry/signal.h>

enum { WHERRY__SIGNALS = 65 }; /* numbers 1 to 64, on every machine but MIPS, which has more that nobody uses */

/* Whether it is a signal that a program may use: not 0, and not one of those that the C library keeps for itself. */
bool wherry__signal_is(int number);

/* The same as an error: 0; -EINVAL with a sentence. */
int wherry__signal_check(int number);

/* And that a process may decide what becomes of it. */
int wherry__signal_check_own(int number);

struct wherry_signals {
    bool handler;
    uint64_t born;
    uint64_t thread; /* whose mask it is */
    int fd;          /* a signalfd, or the pipe's reading end */
    int pipe;        /* handler: the writing end; else -1 */
    sigset_t set;
    _Atomic bool missed; /* handler: look at `lost` */
    _Atomic uint32_t lost[WHERRY__SIGNALS];
};

/* What a handler was told as the message, and back.  The first is async-signal-safe. */
void wherry__signal_of_info(struct wherry_signal *ret, const siginfo_t *info);
void wherry__signal_to_info(siginfo_t *ret, const struct wherry_signal *signal);

/* With `handler`: begin and end to catch.  0, or -errno with nothing caught. */
int wherry__handler_open(struct wherry_signals *signals);
void wherry__handler_close(struct wherry_signals *signals);

/* Whether this number is caught by one that is open in this process. */
bool wherry__handler_has(int number);

/* Those that found no room come first: what stands for them. */
bool wherry__handler_take_lost(struct wherry_signals *signals, struct wherry_signal *ret);

#endif
