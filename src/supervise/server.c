/* supervise/server.c - owns wherry_server_run(): the options, the endpoints, the master's loop, and putting all away.
 *
 * SPDX-License-Identifier: MIT */
#include <wherry/server.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h> /* glibc 2.32 */
#endif

#include "base/fd.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "channel/serve.h"
#include "supervise/server.h"

enum { MOST_WORKERS = 1024 };

/* Workers of a master that was killed are on their way out, and may hold the address for as long. */
#define TAKE_OVER (1 * WHERRY_SECOND)

static unsigned processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (unsigned)count : 1;
}

static void default_to(wherry_time *time, wherry_time other)
{
    if (*time == 0)
        *time = other;
}

static int settle(struct wherry__server *server, const struct wherry_server_options *given)
{
    struct wherry_server_options *options = &server->options;
    *options = (struct wherry_server_options)WHERRY_SERVER_OPTIONS;
    int result = wherry__options_read(options, sizeof *options, given, offsetof(struct wherry_server_options, channel),
                                      server->url, "WHERRY_SERVER_OPTIONS");
    if (result < 0)
        return result;
    if (options->workers > MOST_WORKERS)
        return wherry__fail(EINVAL, "%s: %u workers are more than the %d that there can be", server->url,
                            options->workers, MOST_WORKERS);
    if (options->drain_timeout < 0 || options->start_timeout < 0 || options->pause_first < 0 || options->pause_most < 0)
        return wherry__fail(EINVAL, "%s: a time of the server's options is negative", server->url);
    if (options->workers == 0)
        options->workers = processors() < MOST_WORKERS ? processors() : MOST_WORKERS;
    default_to(&options->drain_timeout, 10 * WHERRY_SECOND);
    default_to(&options->start_timeout, 10 * WHERRY_SECOND);
    default_to(&options->pause_first, 10 * WHERRY_MILLISECOND);
    default_to(&options->pause_most, 5 * WHERRY_SECOND);
    return 0;
}

/* H64: a child has the locks of all threads and only one of them; what a worker runs is anybody's code, so no care
 * taken here could make it safe.  glibc knows of a process that never had a second one; what /proc lists beside the
 * first is an emulator's then.  Without /proc nothing is known, and the caller is believed. */
static int check_threads(const struct wherry__server *server)
{
    struct stat status;
#if __has_include(<sys/single_threaded.h>)
    if (__libc_single_threaded)
        return 0;
#endif
    if (wherry__sys.fstatat(AT_FDCWD, "/proc/self/task", &status, 0) != 0 || status.st_nlink <= 3)
        return 0;
    return wherry__fail(
        EBUSY,
        "%s: this process has %u threads, and a forked worker would find their locks held for ever; run "
        "the server before they start, or in a process of its own",
        server->url, (unsigned)status.st_nlink - 2);
}

static int take_signals(struct wherry__server *server, sigset_t *ret_before)
{
    sigset_t signals;
    struct sigaction action;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    /* a shell without job control ignores it for what it runs in the background */
    if (sigaction(SIGINT, NULL, &action) != 0 || (action.sa_flags & SA_SIGINFO) || action.sa_handler != SIG_IGN)
        sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, ret_before);
    server->signals = wherry__signals_of(&signals);
    if (server->signals >= 0)
        return 0;
    return wherry__fail_errno(-server->signals, "%s: signals could not be received", server->url);
}

/* ---- listening ---- */

static size_t shares_size(const struct wherry__server *server)
{
    return 2 * server->options.workers * sizeof *server->shares;
}

static int listen_once(struct wherry__server *server)
{
    bool shares = server->options.reuse_port;
    unsigned count = shares ? server->options.workers : 1;
    server->channels = calloc(count, sizeof *server->channels);
    server->slots = calloc(server->options.workers, sizeof *server->slots);
    server->polls = calloc(1 + 4 * (size_t)server->options.workers, sizeof *server->polls);
    void *memory =
        wherry__sys.mmap(NULL, shares_size(server), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    server->shares = memory == MAP_FAILED ? NULL : memory;
    if (!server->channels || !server->slots || !server->polls || !server->shares)
        return wherry__fail(ENOMEM, "%s: no memory", server->url);
    int result = 0;
    struct wherry__steps steps = {0};
    wherry_time until = wherry_after(TAKE_OVER);
    while (result == 0 && server->channel_count < count) {
        struct wherry_channel *first = server->channel_count ? server->channels[0] : NULL;
        result = wherry__channel_serve(first ? wherry_channel_url(first) : server->url, server->options.channel, shares,
                                       first, &server->channels[server->channel_count]);
        if (result == 0)
            server->channel_count++;
        while (result == -EADDRINUSE && !first && !wherry__deadline_passed(until)) {
            wherry__steps_sleep(&steps, until);
            result = 0;
        }
    }
    return result;
}

/* ---- the loop ---- */

/* Only what is open: more places than RLIMIT_NOFILE allows descriptors are EINVAL to poll(2). */
static nfds_t poll_worker(struct pollfd *polls, const struct wherry__worker *worker)
{
    if (worker->pid == 0)
        return 0;
    polls[0] = (struct pollfd){.fd = worker->pidfd, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = worker->control, .events = POLLIN};
    return 2;
}

/* Wait for something to happen until `next`, and see to it. */
static void turn(struct wherry__server *server, wherry_time next)
{
    struct timespec storage;
    nfds_t count = 1;
    server->polls[0] = (struct pollfd){.fd = server->signals, .events = POLLIN};
    for (unsigned i = 0; i < server->options.workers; i++) {
        count += poll_worker(server->polls + count, &server->slots[i].now);
        count += poll_worker(server->polls + count, &server->slots[i].old);
    }
    int ready = wherry__sys.ppoll(server->polls, count, wherry__deadline_left(next, &storage));
    if (ready < 0 && errno != EINTR) {
        struct wherry__steps steps = {.next = 10 * WHERRY_MILLISECOND};
        wherry__steps_sleep(&steps, next); /* without memory, say: look at all, and not at once again */
    }
    const struct pollfd *poll = server->polls + 1;
    for (unsigned i = 0; ready != 0 && i < server->options.workers; i++) {
        const struct wherry__slot *slot = &server->slots[i];
        bool now = slot->now.pid && (ready < 0 || poll[0].revents || poll[1].revents);
        poll += slot->now.pid ? 2 : 0;
        bool old = slot->old.pid && (ready < 0 || poll[0].revents || poll[1].revents);
        poll += slot->old.pid ? 2 : 0;
        if (old) /* first, because `now` may take its place */
            wherry__server_look_at(server, i, true);
        if (now)
            wherry__server_look_at(server, i, false);
    }
    for (int signal; ready != 0 && (signal = wherry__signals_next(server->signals)) != 0;)
        wherry__server_take_signal(server, signal);
}

static bool any_worker(const struct wherry__server *server)
{
    for (unsigned i = 0; i < server->options.workers; i++)
        if (server->slots[i].now.pid || server->slots[i].old.pid)
            return true;
    return false;
}

static int loop(struct wherry__server *server)
{
    while (!server->stopping || any_worker(server)) {
        wherry_time next = wherry__server_advance(server);
        if (server->failure)
            return server->failure;
        turn(server, next);
    }
    if (server->forced == 0)
        return 0;
    return wherry__fail(ETIMEDOUT, "%s: %u of the workers had not drained and were killed", server->url,
                        server->forced);
}

static void put_away(struct wherry__server *server)
{
    for (unsigned i = 0; server->slots && i < server->options.workers; i++) {
        wherry__worker_end(&server->slots[i].now);
        wherry__worker_end(&server->slots[i].old);
    }
    for (unsigned i = 0; i < server->channel_count; i++)
        wherry_channel_close(server->channels[i], WHERRY_NOW);
    wherry__fd_close(&server->signals);
    if (server->shares)
        wherry__sys.munmap((void *)server->shares, shares_size(server));
    free(server->channels);
    free(server->slots);
    free(server->polls);
}

int wherry_server_run(const char *url, const struct wherry_server_options *options, wherry_server_function *function,
                      void *data)
{
    struct wherry__server server = {
        .url = url ? url : "NULL", .function = function, .data = data, .signals = -1, .master = getpid()};
    sigset_t before;
    int result = settle(&server, options);
    if (result == 0 && !function)
        result = wherry__fail(EINVAL, "%s: a server needs a function that answers", server.url);
    if (result == 0)
        result = check_threads(&server);
    if (result == 0)
        result = wherry__process_start();
    if (result < 0)
        return result;
    result = take_signals(&server, &before);
    if (result == 0)
        result = listen_once(&server);
    if (result == 0)
        result = loop(&server);
    put_away(&server);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}
