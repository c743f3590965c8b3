/* tests/conformance/double_places.c - owns the breakages of what is around messages.
 *
 * SPDX-License-Identifier: MIT */
#include "double_places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening and closing --------------------------------------------------------------------------------------- */

static int open_reading_ahead(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    endpoint->config->read_ahead = WHERRY_READ_AHEAD_YES; /* "it is faster" */
    return double_open(endpoint, deadline);
}

void double_reads_too_far(struct wherry__transport *transport)
{
    transport->open = open_reading_ahead;
}

static void close_and_unlink(struct wherry__endpoint *endpoint, bool own)
{
    char path[512];
    snprintf(path, sizeof path, "%s", endpoint->config->url.path);
    double_close(endpoint, own);
    unlink(path);
}

void double_removes_anything(struct wherry__transport *transport)
{
    transport->close = close_and_unlink;
}

static void close_without_unlink(struct wherry__endpoint *endpoint, bool own)
{
    (void)own;
    double_close(endpoint, false);
}

void double_removes_nothing(struct wherry__transport *transport)
{
    transport->close = close_without_unlink;
}

/* "Whatever is there must be stale." */
static int unlink_and_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    if (endpoint->config->role == WHERRY_RECEIVE)
        unlink(endpoint->config->url.path);
    return double_open(endpoint, deadline);
}

void double_robs_the_living(struct wherry__transport *transport)
{
    transport->open = unlink_and_open;
}

/* A second descriptor of the object, which no fork handler knows of: it lives on in every child. */
static int open_twice(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct stat status;
    int last_before = dup(STDERR_FILENO);
    close(last_before);
    int result = double_open(endpoint, deadline);
    for (int fd = last_before; result == 0 && fd < last_before + 16; fd++)
        if (fstat(fd, &status) == 0 && (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode))) {
            double_side(endpoint)->extra_fd = fcntl(fd, F_DUPFD_CLOEXEC, 200);
            break;
        }
    return result;
}

static void close_twice(struct wherry__endpoint *endpoint, bool own)
{
    close(double_side(endpoint)->extra_fd);
    double_close(endpoint, own);
}

void double_lives_on_in_children(struct wherry__transport *transport)
{
    transport->open = open_twice;
    transport->close = close_twice;
}

static void close_as_owner(struct wherry__endpoint *endpoint, bool own)
{
    (void)own;
    double_close(endpoint, true);
}

void double_unlinks_in_children(struct wherry__transport *transport)
{
    transport->close = close_as_owner;
}

static int refuse_to_adopt(struct wherry__endpoint *endpoint)
{
    (void)endpoint;
    return -ECHILD;
}

void double_cannot_be_inherited(struct wherry__transport *transport)
{
    transport->adopt = refuse_to_adopt;
}

static int open_to_anybody(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    endpoint->config->allow.any = true;
    return double_open(endpoint, deadline);
}

void double_lets_strangers_in(struct wherry__transport *transport)
{
    transport->open = open_to_anybody;
}

static int open_to_any_size(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    endpoint->config->max_message = (size_t)1 << 30;
    return double_open(endpoint, deadline);
}

void double_believes_claims(struct wherry__transport *transport)
{
    transport->open = open_to_any_size;
}

void double_takes_any_type(struct wherry__transport *transport)
{
    transport->traits.bits |= WHERRY_TRAIT_TYPES;
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

static struct wherry__wait *wait_of(struct wherry__endpoint *endpoint, enum wherry__direction direction)
{
    return direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving;
}

static int wait_longer(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                       wherry_time deadline)
{
    if (deadline > 0 && deadline < WHERRY_FOREVER - 10 * WHERRY_SECOND)
        deadline += 3 * WHERRY_SECOND;
    return double_wait(endpoint, direction, to, deadline);
}

void double_waits_too_long(struct wherry__transport *transport)
{
    transport->wait = wait_longer;
}

static int wait_less(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                     wherry_time deadline)
{
    if (deadline > 0 && deadline < WHERRY_FOREVER)
        deadline -= 10 * WHERRY_MILLISECOND;
    return double_wait(endpoint, direction, to, deadline);
}

void double_gives_up_early(struct wherry__transport *transport)
{
    transport->wait = wait_less;
}

/* "A signal came: that was all." */
static int wait_until_signal(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                             wherry_time deadline)
{
    struct epoll_event event;
    wherry_time left = deadline == WHERRY_FOREVER ? 3600 * WHERRY_SECOND : deadline - wherry_now();
    if (left > 0 && epoll_wait(wherry__wait_descriptor(wait_of(endpoint, direction)), &event, 1,
                               (int)(left / WHERRY_MILLISECOND) + 1) < 0)
        return -ETIMEDOUT;
    return double_wait(endpoint, direction, to, deadline);
}

void double_signals_end_waits(struct wherry__transport *transport)
{
    transport->wait = wait_until_signal;
}

/* The bell is nobody's business here. */
static int wait_without_bell(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                             wherry_time deadline)
{
    struct wherry__wait *wait = wait_of(endpoint, direction);
    (void)to;
    for (;;) {
        wherry__wait_silence(wait);
        int result = wherry__wait_for(wait, deadline);
        if (result < 0)
            return result;
        for (int i = 0; i < wait->count; i++)
            if (wait->events[i].data.u64 != WHERRY__WAIT_BELL)
                return 0;
    }
}

void double_misses_interrupts(struct wherry__transport *transport)
{
    transport->wait = wait_without_bell;
}

/* ---- polling --------------------------------------------------------------------------------------------------- */

/* Take everything but the bell out of a wait set, as the kernel lists it. */
static void empty(struct wherry__wait *wait)
{
    char path[64], line[256];
    int fd;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", wherry__wait_descriptor(wait));
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "tfd: %d", &fd) == 1 && fd != wait->bell)
            epoll_ctl(wait->epoll, EPOLL_CTL_DEL, fd, NULL);
    if (file)
        fclose(file);
}

static int open_unwatched(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    int result = double_open(endpoint, deadline);
    if (result == 0 && endpoint->config->role == WHERRY_RECEIVE)
        empty(&endpoint->receiving);
    return result;
}

/* Calls that wait go on working: it is those who poll that are forgotten. */
static int wait_in_steps(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                         wherry_time deadline)
{
    wherry_time step = wherry_after(WHERRY_MILLISECOND);
    int result = double_wait(endpoint, direction, to, step < deadline ? step : deadline);
    return result == -ETIMEDOUT && step < deadline ? 0 : result;
}

static bool not_ready(struct wherry__endpoint *endpoint)
{
    (void)endpoint;
    return false;
}

void double_is_never_readable(struct wherry__transport *transport)
{
    transport->open = open_unwatched;
    transport->wait = wait_in_steps;
    transport->ready = not_ready;
}

void double_hides_read_ahead(struct wherry__transport *transport)
{
    transport->ready = not_ready;
}

static bool ready_always(struct wherry__endpoint *endpoint)
{
    (void)endpoint;
    return true;
}

void double_is_always_readable(struct wherry__transport *transport)
{
    transport->ready = ready_always;
}

void double_wakes_up_idly(struct wherry__transport *transport)
{
    transport->wait = wait_in_steps;
}
