/* waiter.c - owns the wait of verbs that serve several endpoints.
 *
 * SPDX-License-Identifier: MIT */
#include "waiter.h"

#include <errno.h>
#include <stdlib.h>

#include "signals.h"

enum { PATIENCE = 16, MOST_STEPS = 10 };

void waiter_begin(struct waiter *waiter, wherry_time deadline)
{
    waiter->count = 0;
    waiter->blind = false;
    waiter->until = deadline;
    waiter_add(waiter, waiter->deaf ? -1 : signals_fd());
}

void waiter_add(struct waiter *waiter, int fd)
{
    if (waiter->count == waiter->capacity) {
        size_t capacity = waiter->capacity ? waiter->capacity * 2 : 16;
        struct pollfd *fds = realloc(waiter->fds, capacity * sizeof *fds);
        if (!fds) {
            waiter->blind = true; /* then time must do */
            return;
        }
        waiter->fds = fds;
        waiter->capacity = capacity;
    }
    if (fd == -EOPNOTSUPP)
        waiter->blind = true;
    waiter->fds[waiter->count++] = (struct pollfd){.fd = fd < 0 ? -1 : fd, .events = POLLIN};
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
    if (waiter->idle > PATIENCE || waiter->blind) {
        unsigned steps = waiter->idle > MOST_STEPS ? MOST_STEPS : waiter->idle;
        waiter_not_after(waiter, wherry_after(steps * WHERRY_MILLISECOND));
        count = waiter->idle > PATIENCE ? 1 : count; /* the signals' own */
    }
    struct timespec span = {.tv_sec = 0};
    wherry_time left = waiter->until == WHERRY_FOREVER ? 0 : waiter->until - wherry_now();
    if (left > 0)
        span = (struct timespec){.tv_sec = left / WHERRY_SECOND, .tv_nsec = left % WHERRY_SECOND};
    int ready = ppoll(waiter->fds, count, waiter->until == WHERRY_FOREVER ? NULL : &span, NULL);
    if (ready == 0 && count == waiter->count)
        waiter->idle = 0; /* a wait that came to its end was a quiet one, not a busy one */
}

void waiter_fini(struct waiter *waiter)
{
    free(waiter->fds);
    *waiter = (struct waiter){0};
}
