/* progress.h - what went through so far, on standard error: a line rewritten each second, a summary at the end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_PROGRESS_H
#define WHERRY_TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <wherry/base.h>

#include "options.h"

struct progress {
    const char *word; /* "sent" */
    bool draws;       /* the line; only where standard error is a terminal that nothing else is typed or printed on */
    bool sums_up;     /* -v */
    wherry_time start, drawn;
    uint64_t messages, bytes;
};

/* `busy_terminal`: a descriptor that, when it is a terminal too, shall not have the line beside it; or -1. */
void progress_begin(struct progress *progress, const struct options *options, const char *word, int busy_terminal);

void progress_draw(struct progress *progress);

/* Count, and draw when it is time. */
static inline void progress_count(struct progress *progress, uint64_t messages, uint64_t bytes)
{
    progress->messages += messages;
    progress->bytes += bytes;
    if (progress->draws)
        progress_draw(progress);
}

/* Take the line away; with -v say the sum. */
void progress_end(struct progress *progress);

/* Take the line away before something else is said; there is one in the process. */
void progress_clear(void);

#endif
