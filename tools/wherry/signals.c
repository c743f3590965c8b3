/* signals.c - owns the command's signal handlers.  The library has none.
 *
 * SPDX-License-Identifier: MIT */
#include "signals.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tool.h"

static volatile sig_atomic_t caught;
static _Atomic(struct wherry_channel *) watched;
static int wake = -1;
static bool pipe_kills; /* SIGPIPE had its default when the command began */

static_assert(ATOMIC_POINTER_LOCK_FREE == 2, "the handler reads a pointer");

static void on_signal(int number)
{
    int saved = errno;
    uint64_t one = 1;
    caught = number;
    struct wherry_channel *channel = atomic_load_explicit(&watched, memory_order_relaxed);
    if (channel)
        wherry_channel_interrupt(channel);
    (void)!write(wake, &one, sizeof one);
    errno = saved;
}

int signals_install(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0)
        return complain(TOOL_FAILED, "no descriptor to hear signals by: %s", strerror(errno));
    /* not where a number that nobody handed down would be ours: fd:3 */
    int away = -1;
    for (int number = 255; away < 0 && number > wake; number /= 4) /* as far as the limit allows */
        away = fcntl(wake, F_DUPFD_CLOEXEC, number);
    if (away >= 0) {
        close(wake);
        wake = away;
    }
    /* no SA_RESTART: what waits shall look up; RESETHAND: the second signal finds the default and kills */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    /* it would leave names behind, and nobody would hear what was lost: a write says EPIPE instead */
    struct sigaction before, ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, NULL, &before) == 0 && before.sa_handler == SIG_DFL)
        pipe_kills = sigaction(SIGPIPE, &ignore, NULL) == 0;
    return 0;
}

void signals_die_of_pipe(void)
{
    struct sigaction as_it_was = {.sa_handler = SIG_DFL};
    if (pipe_kills && sigaction(SIGPIPE, &as_it_was, NULL) == 0)
        raise(SIGPIPE);
}

int signals_caught(void)
{
    return caught;
}

int signals_fd(void)
{
    return wake;
}

void signals_watch(struct wherry_channel *channel)
{
    atomic_store_explicit(&watched, channel, memory_order_relaxed);
    /* a signal that came a moment before found nobody to interrupt */
    if (channel && caught)
        wherry_channel_interrupt(channel);
}

int signals_wait(int fd, wherry_time deadline)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = wake, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        wherry_time left = deadline == WHERRY_FOREVER ? 0 : deadline - wherry_now();
        struct timespec span = {.tv_sec = 0};
        if (left > 0)
            span = (struct timespec){.tv_sec = left / WHERRY_SECOND, .tv_nsec = left % WHERRY_SECOND};
        int ready = ppoll(fds, 2, deadline == WHERRY_FOREVER ? NULL : &span, NULL);
        if (caught)
            return -EINTR;
        if (ready > 0)
            return 1;
        if (ready == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}
