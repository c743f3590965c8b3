/* signals.h - SIGINT, SIGTERM and SIGHUP end a verb cleanly; a second one ends it at once.  SIGPIPE ends it, cleanly
 * too.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_SIGNALS_H
#define WHERRY_TOOL_SIGNALS_H

#include <stdbool.h>
#include <wherry/wherry.h>

/* From now on a signal is noted, the watched endpoint interrupted and signals_fd() made readable.  What was ignored
 * when the command began (nohup, a shell's background job) stays ignored. */
int signals_install(void);

/* Nobody reads standard output any more, and all is tidied up: die of SIGPIPE, as commands do, unless it was ignored
 * when the command began. */
void signals_die_of_pipe(void);

/* The signal that came, or 0. */
int signals_caught(void);

/* For poll(): readable once a signal came. */
int signals_fd(void);

/* The endpoint whose waits a signal ends; NULL before it is closed. */
void signals_watch(struct wherry_channel *channel);

/* Wait until `fd` is readable (-1: for nothing), a signal came or the deadline passed.  Returns 1, -EINTR or
 * -ETIMEDOUT. */
int signals_wait(int fd, wherry_time deadline);

#endif
