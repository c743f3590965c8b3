/* waiter.c - owns the wait of verbs that serve several endpoints.
 *
 * SPDX-License-Identifier: MIT */
#include "waiter.h"

#include <stdlib.h>

#include "signals.h"

/* Turns in a row that may bring nothing, and milliseconds of the longest step. */
enum { PATIENCE_TO_SEND = 4, PATIENCE_TO_RECEIVE = 1000, LONGEST_STEP = 10 };

static bool add(struct waiter *waiter, int fd)
{
    if (waiter->count == waiter->capacity) {
        size_t capacity = waiter->capacity ? waiter->capacity * 2 : 16;
        struct pollfd *fds = realloc(waiter->fds, capacity * sizeof *fds);
        if (!fds) {
            waiter->blind = true; /* then time must do */
            return false;
        }
        waiter->fds = fds;
        waiter->capacity = capacity;
    }
    waiter->blind |= fd < -1; /* it has none, or there is none left for it */
    waiter->fds[waiter->count++] = (struct pollfd){.fd = fd < 0 ? -1 : fd, .events = POLLIN};
    return true;
}

void waiter_begin(struct waiter *waiter, wherry_time deadline)
{
    waiter->count = 0;
    waiter->blind = false;
    waiter->until = deadline;
    add(waiter, waiter->deaf ? -1 : signals_fd());
    waiter->receiving = waiter->count;
}

void waiter_reads(struct waiter *waiter, int fd)
{
    if (!add(waiter, fd))
        return;
    /* it changes places with the first of those for sending */
    struct pollfd last = waiter->fds[waiter->count - 1];
    waiter->fds[waiter->count - 1] = waiter->fds[waiter->receiving];
    waiter->fds[waiter->receiving++] = last;
}

void waiter_receives(struct waiter *waiter, struct wherry_channel *channel)
{
    waiter_reads(waiter, wherry_channel_receive_fd(channel));
}

void waiter_sends(struct waiter *waiter, struct wherry_channel *channel)
{
    add(waiter, wherry_channel_send_fd(channel));
}

void waiter_not_after(struct waiter *waiter, wherry_time time)
{
    if (time < waiter->until)
        waiter->until = time;
}

void waiter_wait(struct waiter *waiter, bool progress)
{
    size_t count = waiter->count;
    waiter->idle = progress ? 0 : waiter->idle + 1;
    if (waiter->idle > PATIENCE_TO_SEND)
        count = waiter->receiving;
    if (waiter->idle > PATIENCE_TO_RECEIVE)
        count = 1;
    if (waiter->blind || count < waiter->count) {
        unsigned step = waiter->idle < LONGEST_STEP ? waiter->idle : LONGEST_STEP;
        waiter_not_after(waiter, wherry_after(step * WHERRY_MILLISECOND));
    }
    struct timespec span = {.tv_sec = 0};
    wherry_time left = waiter->until == WHERRY_FOREVER ? 0 : waiter->until - wherry_now();
    if (left > 0)
        span = (struct timespec){.tv_sec = left / WHERRY_SECOND, .tv_nsec = left % WHERRY_SECOND};
    int ready = ppoll(waiter->fds, count, waiter->until == WHERRY_FOREVER ? NULL : &span, NULL);
    if (ready == 0 && count == waiter->count)
        waiter->idle = 0; /* a wait that came to its end was a quiet one, not a busy one */
    else if (ready == 0 && waiter->idle > LONGEST_STEP)
        waiter->idle = LONGEST_STEP;
}

void waiter_fini(struct waiter *waiter)
{
    free(waiter->fds);
    *waiter = (struct waiter){0};
}
