/* process/exit.c - owns what the ends of processes are called.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <wherry/signal.h> /* what signals are called */

#include "process/process.h"

enum { TEXT = 64 };

int wherry_exit_status(const struct wherry_exit *exit)
{
    switch (exit->kind) {
    case WHERRY_EXITED:
        return exit->code;
    case WHERRY_KILLED:
    case WHERRY_STOPPED:
        return 128 + exit->code;
    case WHERRY_CONTINUED:
        return 0;
    case WHERRY_EXIT_UNKNOWN:
        break;
    }
    return 255; /* never taken for success */
}

const char *wherry_exit_text(const struct wherry_exit *exit, char *buffer, size_t size)
{
    char name[WHERRY_SIGNAL_NAME];
    switch (exit->kind) {
    case WHERRY_EXITED:
        snprintf(buffer, size, "exited with %d", exit->code);
        break;
    case WHERRY_KILLED:
        snprintf(buffer, size, "killed by %s%s", wherry_signal_name(exit->code, name, sizeof name),
                 exit->core ? " (core dumped)" : "");
        break;
    case WHERRY_STOPPED:
        snprintf(buffer, size, "stopped by %s", wherry_signal_name(exit->code, name, sizeof name));
        break;
    case WHERRY_CONTINUED:
        snprintf(buffer, size, "continued");
        break;
    case WHERRY_EXIT_UNKNOWN:
    default:
        snprintf(buffer, size, "ended, and nobody knows how");
    }
    return buffer;
}
