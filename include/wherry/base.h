/* wherry/base.h - what every part of the library shares: time, errors, version.
 *
 * SPDX-License-Identifier: MIT
 *
 * Errors.  Every call that can fail returns a negative errno with its kernel meaning; errno itself may change and is
 * never needed.  wherry_why() adds one sentence that says what failed, on what, and what to do next.
 *
 * Time.  Every call that can wait takes an absolute deadline on CLOCK_MONOTONIC, so that a signal or a retry never
 * restarts the clock, and a wall-clock step never shortens or stretches a wait.  See clock_gettime(2). */
#ifndef WHERRY_BASE_H
#define WHERRY_BASE_H

#include <stdint.h>

#if defined(__GNUC__)
#define WHERRY_API __attribute__((visibility("default")))
#else
#define WHERRY_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define WHERRY_VERSION_MAJOR 0
#define WHERRY_VERSION_MINOR 1
#define WHERRY_VERSION_PATCH 0

/* An absolute time on CLOCK_MONOTONIC, in nanoseconds. */
typedef int64_t wherry_time;

#define WHERRY_NOW ((wherry_time)0)             /* try once, never wait, and say -EAGAIN rather than -ETIMEDOUT */
#define WHERRY_FOREVER ((wherry_time)INT64_MAX) /* no deadline */

#define WHERRY_MICROSECOND ((wherry_time)1000)
#define WHERRY_MILLISECOND ((wherry_time)1000000)
#define WHERRY_SECOND ((wherry_time)1000000000)

/* The current time on CLOCK_MONOTONIC.  Async-signal-safe. */
WHERRY_API wherry_time wherry_now(void);

/* The deadline `nanoseconds` from now; WHERRY_FOREVER when the sum does not fit; a negative span is in
 * the past.  With a deadline that is past a call tries once, and says -ETIMEDOUT.
 * Async-signal-safe. */
WHERRY_API wherry_time wherry_after(wherry_time nanoseconds);

/* The last failure of a wherry call in the calling thread, as one sentence for a person: what happened, to what, and
 * what to do next, for example "unix:///run/x.sock: pid 4711 (nginx) is listening there".  Everyday outcomes, such as
 * -EAGAIN, -ETIMEDOUT, -ECANCELED and a buffer that is too small, have sentences that do not name the endpoint.  Never
 * NULL; "" before the first failure.  The text belongs to the thread and stays until its next failing wherry call; a
 * call that succeeds leaves it as it is.  It may hold bytes that
 * came from a URL or from another process: escape it before showing it on a terminal. */
WHERRY_API const char *wherry_why(void);

/* "0.1.0", of the library that is linked, not of the headers. */
WHERRY_API const char *wherry_version(void);

#ifdef __cplusplus
}
#endif
#endif
