/* queue/handle.h - a queue that is open, as <wherry/queue.h> hands it out: what open.c and queue.c share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_QUEUE_HANDLE_H
#define WHERRY_QUEUE_HANDLE_H

#include "queue/queue.h"

struct wherry_queue {
    bool posix;
    bool sends, receives, inheritable, block;
    uint64_t born;
    union {
        struct wherry__mq mq;
        struct wherry__msg msg;
    };
    char name[];
};

#endif
