/* tests/crash/test_server_step.c - owns the proof that the master of wherry/server.h may be killed anywhere.
 *
 * SPDX-License-Identifier: MIT
 *
 * A master goes through all its transitions: it starts two workers, replaces both (SIGHUP), replaces one that was
 * killed, and drains (SIGTERM).  It is killed at the entry and at the exit of each system call on this way.  Then no
 * worker outlives it, none was started twice, and the next master has the address and serves.  WHERRY_KILL_POINTS
 * says at how many points; "all" at every one, which is the default without sanitizers. */
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
#include "stepkill/step.h"

enum { WORKERS = 2, ALL_STARTS = 2 * WORKERS + 1 };

struct story {
    _Atomic int starts, serving, most_serving, returned; /* returned: what run() said + 1000 */
    _Atomic int ready, ended;
    _Atomic pid_t pids[WORKERS];
};

static const struct place {
    const char *name, *url;
    bool reuse_port;
} places[] = {
    {"unix", "unix:", false}, {"tcp", "tcp://127.0.0.1:", false}, {"tcp_reuse_port", "tcp://127.0.0.1:", true}};

static struct story *story;
static const struct place *place;
static char url[200];

static int echo(struct wherry_channel *channel, const struct wherry_loan *request, void *data)
{
    const struct wherry_message reply = {
        .data = request->data, .size = request->info.size, .to = request->info.peer.id};
    (void)data;
    return wherry_channel_send_message(channel, &reply, 0, WHERRY_NOW);
}

static int count_start(unsigned worker, void *data)
{
    (void)worker, (void)data;
    story->starts++;
    return 0;
}

/* What happens next follows from what has happened. */
static void tell_on(const struct wherry_server_event *event, void *data)
{
    (void)data;
    if (event->kind == WHERRY_SERVER_READY) {
        story->pids[event->worker] = event->pid;
        if (++story->ready == ALL_STARTS)
            kill(getpid(), SIGTERM);
    }
    if (event->kind == WHERRY_SERVER_LISTENS)
        kill(getpid(), SIGHUP);
    if (event->kind == WHERRY_SERVER_REPLACED)
        kill(story->pids[1], SIGKILL);
}

static void be_master(void *argument)
{
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    (void)argument;
    options.workers = WORKERS;
    options.reuse_port = place->reuse_port;
    options.start = count_start;
    options.event = tell_on;
    options.pause_first = 1;
    story->returned = wherry_server_run(url, &options, echo, NULL) + 1000;
}

/* Every process that it left behind came to this one, and ends. */
static void await_orphans(uint64_t at)
{
    test_until_childless("the master was killed at point %llu", (unsigned long long)at);
}

static void stop_when_it_listens(const struct wherry_server_event *event, void *data)
{
    (void)data;
    if (event->kind == WHERRY_SERVER_LISTENS)
        kill(getpid(), SIGTERM);
}

/* In this process, so that what would be left of it is seen, too. */
static void serve_once(uint64_t at)
{
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    options.workers = 1;
    options.reuse_port = place->reuse_port;
    options.event = stop_when_it_listens;
    int result = wherry_server_run(url, &options, echo, NULL);
    ck_assert_msg(result == 0, "after a kill at point %llu: %d, %s", (unsigned long long)at, result, wherry_why());
}

/* Up to point `at` of a new master, and kill it there.  Whether it was still under way. */
static bool kill_at(uint64_t at)
{
    struct step step;
    memset(story, 0, sizeof *story);
    ck_assert_int_eq(step_fork(&step, be_master, NULL), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, step_address(wherry_server_run), 1), STEP_THERE);
    int result = step_advance_calls(&step, at);
    ck_assert_msg(result == STEP_THERE || result == STEP_RETURNED, "point %llu: %d", (unsigned long long)at, result);
    step_kill(&step, SIGKILL);
    step_end(&step);
    await_orphans(at);
    ck_assert_msg(story->starts <= ALL_STARTS, "killed at point %llu: %d workers were started", (unsigned long long)at,
                  story->starts);
    return result == STEP_THERE;
}

static void choose_port(void)
{
    struct wherry_channel *channel = NULL;
    test_ok(wherry_channel_open("tcp://127.0.0.1:0?listen", WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    snprintf(url, sizeof url, "%.*s", (int)strcspn(wherry_channel_url(channel), "?"), wherry_channel_url(channel));
    wherry_channel_close(channel, WHERRY_NOW);
}

TEST_WITH(the_master_may_be_killed_at_each_system_call, .seconds = 280, .table = places, .stride = sizeof places[0],
          .length = sizeof places / sizeof *places)
{
    char path[160];
    const char *points = getenv("WHERRY_KILL_POINTS");
    uint64_t stride = points || !TEST_SANITIZED ? 1 : 7, at = 1;
    if (points && strcmp(points, "all") != 0 && atoi(points) > 0)
        stride = 400 / (uint64_t)atoi(points) + 1;
    place = &places[index];
    story = test_shared(sizeof *story);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (index == 0)
        snprintf(url, sizeof url, "unix:%s", test_path(path, "server"));
    else
        choose_port();
    be_master(NULL); /* undisturbed: what it comes to */
    ck_assert_int_eq(story->returned, 1000);
    ck_assert_int_eq(story->starts, ALL_STARTS);
    while (kill_at(at)) {
        serve_once(at);
        at += stride;
    }
    ck_assert_uint_gt(at, 200);
    serve_once(at);
    printf("# %s: killed at %llu of %llu points\n", place->name, (unsigned long long)(at / stride),
           (unsigned long long)at);
}
