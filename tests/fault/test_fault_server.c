/* tests/fault/test_fault_server.c - owns the proof that a server whose system calls fail, once each, says so or goes
 * on, and leaves nothing.
 *
 * SPDX-License-Identifier: MIT
 *
 * The fault is armed in the master, and its workers inherit it.  When all serve, the server is told to replace its
 * workers and then to stop; where it never comes to that, it returns a failure with a sentence. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "fault/inject.h"
#include "harness.h"

static const int *const errnos[INJECT_CALLS] = {
#define CODES(call, ...)                                                                                               \
    [INJECT_##call] = (const int[])                                                                                    \
    {                                                                                                                  \
        __VA_ARGS__, 0                                                                                                 \
    }
    CODES(fork, EAGAIN, ENOMEM),
    CODES(pidfd_open, EMFILE, ENFILE, ENOMEM),
    CODES(signalfd, EMFILE, ENFILE, ENOMEM),
    CODES(socketpair, EMFILE, ENFILE),
    CODES(socket, EMFILE, ENFILE, EACCES),
    CODES(bind, EADDRINUSE, EACCES),
    CODES(listen, EADDRINUSE),
    CODES(setsockopt, ENOPROTOOPT),
    CODES(fchmod, EPERM),
    CODES(flock, EINTR, ENOLCK),
    CODES(open, EMFILE, EACCES),
    CODES(ppoll, EINTR, ENOMEM),
    CODES(epoll_create1, EMFILE, ENFILE),
    CODES(epoll_ctl, ENOMEM, ENOSPC),
    CODES(epoll_pwait2, EINTR),
    CODES(eventfd, EMFILE, ENFILE),
    CODES(read, EINTR, EAGAIN),
    CODES(recv, EINTR, EAGAIN),
    CODES(mmap, ENOMEM),
    CODES(shutdown, ENOTCONN),
    CODES(calloc, ENOMEM),
    CODES(malloc, ENOMEM),
#undef CODES
};

static size_t call_count(void)
{
    return INJECT_CALLS;
}

static int answer(struct wherry_channel *channel, const struct wherry_loan *request, void *data)
{
    (void)channel, (void)request, (void)data;
    return 0;
}

/* A SIGHUP that comes to nothing, because the fault hit the new worker, ends as one that came to something. */
static void lead_on(const struct wherry_server_event *event, void *data)
{
    (void)data;
    if (event->kind == WHERRY_SERVER_LISTENS)
        kill(getpid(), SIGHUP);
    if (event->kind == WHERRY_SERVER_REPLACED || event->kind == WHERRY_SERVER_KEPT)
        kill(getpid(), SIGTERM);
}

static int serve(const char *url)
{
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    options.workers = 2;
    options.event = lead_on;
    options.pause_first = 1;
    options.pause_most = 1;
    return (int)IN_LIBRARY(wherry_server_run(url, &options, answer, NULL));
}

TEST_WITH(a_servers_call_may_fail, .count = call_count, .entry = inject_name, .seconds = 120)
{
    char path[160], url[200];
    size_t faults = 0, failures = 0;
    inject_init();
    snprintf(url, sizeof url, "unix:%s", test_path(path, "server"));
    for (const int *code = errnos[index]; code && *code; code++)
        for (unsigned nth = 1; nth < 60; nth++) {
            size_t descriptors = test_descriptors();
            inject_arm((enum inject_call)index, nth, *code);
            int result = serve(url);
            bool fired = inject_fired();
            inject_arm((enum inject_call)index, 0, 0);
            ck_assert_msg(result == 0 || wherry_why()[0], "call %u: %d without a sentence", nth, result);
            ck_assert_msg(fired || result <= 0, "call %u: %d", nth, result);
            ck_assert_msg(test_descriptors() == descriptors, "call %u with %s: descriptors are left", nth,
                          strerrorname_np(*code));
            ck_assert_msg(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "call %u with %s: a child is left", nth,
                          strerrorname_np(*code));
            faults++;
            failures += result < 0;
            int again = serve(url);
            ck_assert_msg(again == 0, "after call %u with %s: %d, %s", nth, strerrorname_np(*code), again,
                          wherry_why());
            if (!fired && result == 0)
                break;
        }
    printf("# %s: %zu faults, %zu of them ended the server\n", inject_name(index), faults, failures);
    fflush(stdout);
}
