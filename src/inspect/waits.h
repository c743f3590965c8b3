/* inspect/waits.h - the threads that wait in a call on a System V object.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_WAITS_H
#define WHERRY_INSPECT_WAITS_H

#include "inspect/snapshot.h"

struct wait {
    struct wait *next;
    struct process *process;
    pid_t thread;
    enum wherry_inspect_kind kind;
    uint64_t id;
    const char *call; /* "msgrcv" */
};

#endif
