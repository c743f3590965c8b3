/* echo_workers.h - `wherry echo --workers N`: the same from several processes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_ECHO_WORKERS_H
#define WHERRY_TOOL_ECHO_WORKERS_H

#include "options.h"

/* Serve until SIGTERM or SIGINT, and drain.  Returns the exit code. */
int echo_workers(const char *url, const struct options *options, unsigned workers);

#endif
