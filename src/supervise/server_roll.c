/* supervise/server_roll.c - owns what the master does next: the states in server.h and what moves them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Nothing here waits.  The master may be killed at any instant: what it knows dies with it, and so do its workers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/why.h"
#include "channel/serve.h"
#include "supervise/server.h"

/* A worker that dies sooner than this has died at once. */
#define AT_ONCE (1 * WHERRY_SECOND)

void wherry__server_tell(struct wherry__server *server, enum wherry_server_event_kind kind, unsigned slot, pid_t pid,
                         int status, const char *text)
{
    const struct wherry_server_event event = {.kind = kind, .worker = slot, .pid = pid, .status = status, .text = text};
    if (server->options.event)
        server->options.event(&event, server->data);
}

static void say_how(char text[static 64], int status)
{
    if (status == -1)
        snprintf(text, 64, "ended; somebody else took its status");
    else if (WIFSIGNALED(status))
        snprintf(text, 64, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, 64, "exited with %d", WEXITSTATUS(status));
}

/* ---- starting ---- */

static void schedule(struct wherry__server *server, struct wherry__slot *slot, wherry_time lived)
{
    wherry_time first = server->options.pause_first, most = server->options.pause_most;
    if (lived >= AT_ONCE)
        slot->pause = 0;
    else if (slot->pause == 0)
        slot->pause = first < most ? first : most;
    else
        slot->pause = slot->pause < most / 2 ? 2 * slot->pause : most;
    slot->start_at = server->stopping ? WHERRY_FOREVER : wherry_after(slot->pause);
}

/* A SIGHUP comes to nothing: who serves stays. */
static void keep_old(struct wherry__server *server, unsigned number, const char *text)
{
    server->rolling = false;
    for (unsigned i = 0; i < server->options.workers; i++)
        server->slots[i].now.generation = server->slots[i].old.generation = server->generation;
    wherry__server_tell(server, WHERRY_SERVER_KEPT, number, 0, 0, text);
}

/* The worker that was to serve in this slot will not; the sentence is set. */
static void not_started(struct wherry__server *server, unsigned number, int code, pid_t pid)
{
    struct wherry__slot *slot = &server->slots[number];
    if (!server->listened && !server->stopping) {
        server->failure = code;
        return;
    }
    char text[512];
    snprintf(text, sizeof text, "%s", wherry_why());
    if (slot->old.pid && slot->old.state == WHERRY__WORKER_READY) {
        slot->now = slot->old;
        slot->old.pid = 0;
        keep_old(server, number, text);
        return;
    }
    schedule(server, slot, 0);
    wherry__server_tell(server, WHERRY_SERVER_NOT_STARTED, number, pid, 0, text);
}

static void start(struct wherry__server *server, unsigned number)
{
    struct wherry__slot *slot = &server->slots[number];
    int result = wherry__worker_fork(server, number, &slot->now);
    if (result < 0)
        not_started(server, number, result, 0);
}

/* ---- draining ---- */

static void begin_drain(struct wherry__server *server, struct wherry__worker *worker, char what)
{
    if (worker->pid == 0)
        return;
    if (what)
        wherry__worker_tell(worker, what);
    if (worker->state != WHERRY__WORKER_DRAINING)
        worker->kill_at = wherry_after(server->options.drain_timeout);
    worker->state = WHERRY__WORKER_DRAINING;
}

static void stop(struct wherry__server *server)
{
    server->stopping = true;
    server->rolling = false;
    for (unsigned i = 0; i < server->channel_count; i++)
        wherry__channel_refuse(server->channels[i]);
    for (unsigned i = 0; i < server->options.workers; i++) {
        server->slots[i].start_at = WHERRY_FOREVER;
        begin_drain(server, &server->slots[i].now, WHERRY__SAY_LAST);
        begin_drain(server, &server->slots[i].old, WHERRY__SAY_LAST);
    }
    for (unsigned i = 0; i < server->channel_count; i++) { /* the name goes: the next master may come */
        wherry_channel_close(server->channels[i], WHERRY_NOW);
        server->channels[i] = NULL;
    }
    wherry__server_tell(server, WHERRY_SERVER_DRAINS, 0, 0, 0, "");
}

static void hurry(struct wherry__server *server)
{
    server->hurried = true;
    for (unsigned i = 0; i < server->options.workers; i++) {
        server->slots[i].now.kill_at = wherry_now();
        server->slots[i].old.kill_at = wherry_now();
    }
}

void wherry__server_take_signal(struct wherry__server *server, int signal)
{
    if (signal == SIGHUP && !server->stopping) {
        server->generation++;
        server->rolling = true;
    } else if (signal == SIGTERM || signal == SIGINT) {
        if (!server->stopping)
            stop(server);
        else if (signal == SIGINT)
            hurry(server);
    }
}

/* ---- replacing ---- */

static void roll(struct wherry__server *server)
{
    bool all_new = true;
    for (unsigned i = 0; i < server->options.workers; i++) {
        const struct wherry__slot *slot = &server->slots[i];
        if (slot->old.pid || (slot->now.pid && slot->now.state == WHERRY__WORKER_STARTING))
            return; /* one by one */
        all_new &= !slot->now.pid || slot->now.generation == server->generation;
    }
    if (all_new) {
        server->rolling = false;
        wherry__server_tell(server, WHERRY_SERVER_REPLACED, 0, 0, 0, "");
        return;
    }
    for (unsigned i = 0; i < server->options.workers; i++) {
        struct wherry__slot *slot = &server->slots[i];
        if (slot->now.pid == 0 || slot->now.generation == server->generation)
            continue;
        slot->old = slot->now;
        slot->now = (struct wherry__worker){.pid = 0};
        start(server, i);
        return;
    }
}

/* ---- what comes from workers ---- */

static void served(struct wherry__server *server, unsigned number)
{
    struct wherry__slot *slot = &server->slots[number];
    slot->now.since = wherry_now();
    if (slot->now.state != WHERRY__WORKER_STARTING) /* it was told to drain before it had begun */
        return;
    slot->now.state = WHERRY__WORKER_READY;
    slot->now.kill_at = WHERRY_FOREVER;
    wherry__server_tell(server, WHERRY_SERVER_READY, number, slot->now.pid, 0, "");
    if (server->rolling && slot->old.pid)
        begin_drain(server, &slot->old, WHERRY__SAY_DRAIN);
    bool all = true;
    for (unsigned i = 0; i < server->options.workers; i++)
        all &= server->slots[i].now.pid && server->slots[i].now.state == WHERRY__WORKER_READY;
    if (all && !server->listened) {
        server->listened = true;
        wherry__server_tell(server, WHERRY_SERVER_LISTENS, 0, 0, 0, wherry_channel_url(server->channels[0]));
    }
}

/* By a SIGTERM of its own. */
static void drains_by_itself(struct wherry__server *server, struct wherry__slot *slot, struct wherry__worker *worker)
{
    bool replaces = worker == &slot->now && slot->old.pid == 0 && !server->stopping;
    begin_drain(server, worker, 0);
    if (!replaces)
        return;
    slot->old = slot->now;
    slot->now = (struct wherry__worker){.pid = 0};
    slot->start_at = wherry_now();
}

static void ended(struct wherry__server *server, unsigned number, struct wherry__worker *worker, int status)
{
    struct wherry__slot *slot = &server->slots[number];
    char how[64], text[512];
    bool starting = worker->state == WHERRY__WORKER_STARTING, is_now = worker == &slot->now;
    pid_t pid = worker->pid;
    say_how(how, status);
    worker->pid = 0;
    server->shares[worker->share] = 0;
    if (starting) {
        if (worker->why[0])
            wherry__fail(ECHILD, "worker %u: %s", number, worker->why);
        else if (worker->killed)
            wherry__fail(ECHILD, "%s: worker %u did not come to serve in time", server->url, number);
        else
            wherry__fail(ECHILD, "%s: worker %u %s before it served", server->url, number, how);
        not_started(server, number, worker->code ? worker->code : -ECHILD, pid);
        return;
    }
    if (is_now)
        schedule(server, slot, wherry_now() - worker->since);
    snprintf(text, sizeof text, "worker %u (pid %d) %s%s%s", number, (int)pid, how, worker->why[0] ? ": " : "",
             worker->why);
    if (is_now && slot->start_at != WHERRY_FOREVER)
        snprintf(text + strlen(text), sizeof text - strlen(text), "; the next in %lld ms",
                 (long long)(slot->pause / WHERRY_MILLISECOND));
    wherry__server_tell(server, WHERRY_SERVER_ENDED, number, pid, status, text);
}

void wherry__server_look_at(struct wherry__server *server, unsigned number, bool old)
{
    struct wherry__slot *slot = &server->slots[number];
    struct wherry__worker *worker = old ? &slot->old : &slot->now;
    int status;
    char what;
    while (worker->pid && (what = wherry__worker_hear(worker)) != 0) {
        if (what == WHERRY__SAY_READY && !old)
            served(server, number);
        else if (what == WHERRY__SAY_DRAIN)
            drains_by_itself(server, slot, worker);
    }
    if (worker->pid == 0)
        return;
    pid_t pid = worker->pid;
    if (wherry__worker_ended(worker, &status)) {
        worker->pid = pid;
        ended(server, number, worker, status);
    }
}

/* ---- time ---- */

static void kill_overdue(struct wherry__server *server, struct wherry__worker *worker, wherry_time now)
{
    if (worker->pid == 0 || worker->kill_at > now)
        return;
    server->forced += server->stopping && !worker->killed; /* what a SIGHUP came to says nothing about the stop */
    worker->killed = true;
    worker->kill_at = WHERRY_FOREVER;
    wherry__worker_kill(worker);
}

static wherry_time sooner(wherry_time a, wherry_time b)
{
    return a < b ? a : b;
}

wherry_time wherry__server_advance(struct wherry__server *server)
{
    wherry_time now = wherry_now(), next = WHERRY_FOREVER;
    for (unsigned i = 0; i < server->options.workers; i++) {
        struct wherry__slot *slot = &server->slots[i];
        kill_overdue(server, &slot->now, now);
        kill_overdue(server, &slot->old, now);
        if (slot->now.pid == 0 && !server->stopping && !server->failure && slot->start_at <= now)
            start(server, i);
    }
    if (server->rolling && !server->stopping)
        roll(server);
    for (unsigned i = 0; i < server->options.workers; i++) {
        const struct wherry__slot *slot = &server->slots[i];
        if (slot->now.pid)
            next = sooner(next, slot->now.kill_at);
        else
            next = sooner(next, slot->start_at);
        if (slot->old.pid)
            next = sooner(next, slot->old.kill_at);
    }
    return next;
}
