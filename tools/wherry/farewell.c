/* farewell.c - owns the threads in which endpoints are closed.
 *
 * SPDX-License-Identifier: MIT */
#include "farewell.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "endpoint.h"

enum { STACK = 256 << 10 };

struct farewell {
    struct farewell *next;
    struct wherry_channel *channel;
    wherry_time until;
    pthread_t thread;
    _Atomic bool over; /* the rest is written */
    int result;
    char why[512];
};

static void *close_it(void *argument)
{
    struct farewell *farewell = argument;
    farewell->result = endpoint_part(farewell->channel, farewell->until);
    if (farewell->result < 0)
        snprintf(farewell->why, sizeof farewell->why, "%s", wherry_why()); /* each thread has its own */
    atomic_store_explicit(&farewell->over, true, memory_order_release);
    return NULL;
}

/* The command's signals are for the thread that serves. */
static bool start(struct farewell *farewell)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&farewell->thread, &attributes, close_it, farewell) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

int farewell_begin(struct farewells *farewells, struct wherry_channel *channel, wherry_time until)
{
    struct farewell *farewell = calloc(1, sizeof *farewell);
    if (farewell) {
        farewell->channel = channel;
        farewell->until = until;
        farewell->next = farewells->first;
    }
    if (!farewell || !start(farewell)) {
        free(farewell);
        return endpoint_part(channel, until);
    }
    farewells->first = farewell;
    return 0;
}

bool farewell_over(struct farewells *farewells, bool wait, int *ret_result, char why[static 512])
{
    struct farewell **at = &farewells->first, *farewell;
    while (*at && !wait && !atomic_load_explicit(&(*at)->over, memory_order_acquire))
        at = &(*at)->next;
    if (!(farewell = *at))
        return false;
    pthread_join(farewell->thread, NULL);
    *at = farewell->next;
    *ret_result = farewell->result;
    snprintf(why, sizeof farewell->why, "%s", farewell->why);
    free(farewell);
    return true;
}

wherry_time farewell_next(const struct farewells *farewells)
{
    wherry_time next = WHERRY_FOREVER;
    for (const struct farewell *at = farewells->first; at; at = at->next)
        next = at->until < next ? at->until : next;
    return next == WHERRY_FOREVER ? next : next + WHERRY_MILLISECOND;
}
