/* tests/unit/server_kit.h - what the tests of wherry/server.h are written in: a master in a child, its book, its
 * clients.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_SERVER_KIT_H
#define WHERRY_TESTS_SERVER_KIT_H

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

enum { KIT_WORKERS = 8, KIT_KINDS = WHERRY_SERVER_DRAINS + 1 };

/* What master and workers write and the test reads. */
struct book {
    _Atomic long events[KIT_KINDS];
    _Atomic pid_t pids[KIT_WORKERS]; /* of the worker that serves in each slot */
    _Atomic long starts, stops, requests;
    _Atomic int status; /* of the last that ended */
    char url[300], text[600];
    int result;
    char why[1100];
};

struct host {
    struct book *book;
    struct test_gate gates[KIT_KINDS]; /* opened once for each event of the kind */
    struct test_gate inside, onward;   /* a worker is in the request "wait"; it may go on */
    pid_t master;
    char url[300];
    struct wherry_server_options options;
    int expected; /* what run() is to return */
};

static inline void kit_note(const struct wherry_server_event *event, void *data)
{
    struct host *host = data;
    struct book *book = host->book;
    if (event->kind == WHERRY_SERVER_READY && event->worker < KIT_WORKERS)
        book->pids[event->worker] = event->pid;
    if (event->kind == WHERRY_SERVER_LISTENS)
        snprintf(book->url, sizeof book->url, "%s", event->text);
    else if (event->text[0])
        snprintf(book->text, sizeof book->text, "%s", event->text);
    if (event->kind == WHERRY_SERVER_ENDED)
        book->status = event->status;
    book->events[event->kind]++;
    test_gate_open(&host->gates[event->kind]);
}

static inline int kit_send(struct wherry_channel *channel, const struct wherry_loan *request, const void *data,
                           size_t size)
{
    const struct wherry_message reply = {.data = data, .size = size, .to = request->info.peer.id};
    return wherry_channel_send_message(channel, &reply, 0, test_deadline());
}

/* "pid": the worker's number; "slow...": takes 1 ms; "abort", "exit", "wait", "spin", "refuse": what they
 * say; anything else comes back. */
static inline int kit_answer(struct wherry_channel *channel, const struct wherry_loan *request, void *data)
{
    struct host *host = data;
    char text[32] = "";
    memcpy(text, request->data, request->info.size < 31 ? request->info.size : 31);
    host->book->requests++;
    if (strcmp(text, "abort") == 0) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    if (strcmp(text, "exit") == 0)
        _exit(7);
    if (strcmp(text, "refuse") == 0)
        return -EINVAL;
    if (strcmp(text, "wait") == 0) {
        test_gate_open(&host->inside);
        test_gate_wait(&host->onward);
    }
    for (volatile int spin = strcmp(text, "spin") == 0; spin;)
        if (spin) {
            test_gate_open(&host->inside);
            for (;;)
                pause();
        }
    if (strncmp(text, "slow", 4) == 0)
        test_sleep(WHERRY_MILLISECOND);
    if (strcmp(text, "pid") != 0)
        return kit_send(channel, request, request->data, request->info.size);
    pid_t pid = getpid();
    return kit_send(channel, request, &pid, sizeof pid);
}

static inline void kit_run(void *argument)
{
    struct host *host = argument;
    int result = wherry_server_run(host->url, &host->options, kit_answer, host);
    host->book->result = result;
    snprintf(host->book->why, sizeof host->book->why, "%s", wherry_why());
    ck_assert_msg(result == host->expected, "run() returned %d: %s", result, result < 0 ? wherry_why() : "");
}

/* Options may be changed between host_init() and host_start(). */
static inline void host_init(struct host *host, const char *url, unsigned workers)
{
    *host = (struct host){.book = test_shared(sizeof *host->book), .options = WHERRY_SERVER_OPTIONS};
    ck_assert_int_eq(chdir(test_dir()), 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* of workers whose master was killed */
    snprintf(host->url, sizeof host->url, "%s", url);
    host->options.workers = workers;
    host->options.drain_timeout = 60 * WHERRY_SECOND; /* a loaded machine answers late, too */
    host->options.event = kit_note;
    for (int i = 0; i < KIT_KINDS; i++)
        test_gate_init(&host->gates[i]);
    test_gate_init(&host->inside);
    test_gate_init(&host->onward);
}

/* `run` sets something up, and calls kit_run(). */
static inline void host_start_in(struct host *host, void (*run)(void *host))
{
    host->master = test_fork(run, host);
    test_gate_wait(&host->gates[WHERRY_SERVER_LISTENS]);
}

static inline void host_start(struct host *host)
{
    host_start_in(host, kit_run);
}

/* Until workers have said so often that they are ready, since it was last waited for. */
static inline void host_await_ready(struct host *host, int times)
{
    for (int i = 0; i < times; i++)
        test_gate_wait(&host->gates[WHERRY_SERVER_READY]);
}

static inline void host_fini(struct host *host)
{
    for (int i = 0; i < KIT_KINDS; i++)
        test_gate_fini(&host->gates[i]);
    test_gate_fini(&host->inside);
    test_gate_fini(&host->onward);
}

/* SIGTERM, and it returns as expected. */
static inline void host_stop(struct host *host)
{
    kill(host->master, SIGTERM);
    test_join_by(host->master, wherry_after(30 * WHERRY_SECOND * (wherry_time)test_slowness()));
    host_fini(host);
}

static inline struct wherry_channel *kit_connect(const struct host *host)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    options.side = WHERRY_CONNECT;
    test_ok(wherry_channel_open(host->book->url, WHERRY_BOTH, &options, test_deadline(), &channel));
    return channel;
}

static inline void kit_say(struct wherry_channel *channel, const char *text)
{
    test_ok(wherry_channel_send(channel, text, strlen(text), test_deadline()));
}

static inline void kit_hear(struct wherry_channel *channel, const char *text)
{
    char buffer[300];
    size_t size;
    test_is(wherry_channel_receive(channel, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_msg(size == strlen(text) && memcmp(buffer, text, size) == 0, "%.*s, not %s", (int)size, buffer, text);
}

/* The connection has ended: in order, or broken off. */
static inline void kit_hear_end(struct wherry_channel *channel)
{
    char buffer[300];
    size_t size;
    int result = wherry_channel_receive(channel, buffer, sizeof buffer, &size, test_deadline());
    ck_assert_msg(result == 0 || result == -ECONNRESET || result == -EPIPE, "%d: %s", result, wherry_why());
}

static inline pid_t kit_ask_pid(struct wherry_channel *channel)
{
    pid_t pid = 0;
    size_t size;
    kit_say(channel, "pid");
    test_is(wherry_channel_receive(channel, &pid, sizeof pid, &size, test_deadline()), 1);
    return pid;
}

static inline void kit_close(struct wherry_channel *channel)
{
    wherry_channel_close(channel, WHERRY_NOW);
}

/* Wait for a worker to be gone; once the master is, the test's process is its parent. */
static inline void kit_await_gone(pid_t pid)
{
    test_until(waitpid(pid, NULL, WNOHANG) > 0 || (kill(pid, 0) < 0 && errno == ESRCH), "process %d is still there",
               (int)pid);
}

#endif
