/* supervise/worker.c - owns what a worker does from its fork to its end.
 *
 * SPDX-License-Identifier: MIT
 *
 * One event loop: connections, messages, the master's word and SIGTERM are waited for in the endpoint's own wait set.
 *
 * When the master dies the kernel kills the worker, also one that is stopped or busy (PR_SET_PDEATHSIG; H63: the
 * master runs in its only thread, and is looked for again after the setting, which changes of uid undo).  The end of
 * the control socket tells the same where that fails: then it drains. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "channel/serve.h"
#include "supervise/server.h"

/* The master's word is looked for at least so often while requests come one after the other. */
#define LOOK_EVERY (5 * WHERRY_MILLISECOND)

struct work {
    const struct wherry__server *server;
    struct wherry_channel *channel;
    unsigned slot;
    int control, signals;
    bool draining;
    wherry_time until; /* draining: the end of it */
    wherry_time looked;
};

static void end_with_master(const struct wherry__server *server)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != server->master)
        _exit(EXIT_FAILURE);
}

static void say(const struct work *work, char what)
{
    wherry__sys.send(work->control, &what, 1, MSG_NOSIGNAL);
}

/* The sentence goes to the master; wherry__worker_hear() reads it. */
_Noreturn static void fail(const struct work *work, int code)
{
    struct {
        char what[sizeof(int)];
        int code;
        char why[sizeof((struct wherry__worker *)0)->why];
    } said = {.what = {WHERRY__SAY_FAILED}, .code = code};
    snprintf(said.why, sizeof said.why, "%s", wherry_why());
    wherry__sys.send(work->control, &said, sizeof said, MSG_NOSIGNAL);
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

static void drain(struct work *work, bool last)
{
    if (work->draining)
        return;
    work->draining = true;
    work->until = wherry_after(work->server->options.drain_timeout);
    wherry__channel_unwatch(work->channel, work->control); /* its end would be reported again and again */
    wherry__channel_unwatch(work->channel, work->signals);
    wherry__channel_drain(work->channel, last);
}

/* SIGINT and SIGHUP are the master's to answer, also where a terminal sends them to all. */
static void look(struct work *work)
{
    char what = 0;
    ssize_t size = wherry__sys.recv(work->control, &what, 1, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno == ECONNRESET))
        drain(work, true); /* the master is dead */
    else if (size == 1)
        drain(work, what == WHERRY__SAY_LAST);
    for (int signal; !work->draining && (signal = wherry__signals_next(work->signals)) != 0;) {
        if (signal != SIGTERM)
            continue;
        say(work, WHERRY__SAY_DRAIN); /* first, so that the next one is on its way */
        drain(work, false);
    }
    work->looked = wherry_now();
}

static void answer(struct work *work, const struct wherry_loan *request)
{
    uint64_t peer = request->info.peer.id;
    /* cut off by the drain in mid-record: who sent it was told that it was not taken */
    bool torn = work->draining && (request->info.flags & WHERRY_INCOMPLETE) && wherry__channel_tears(work->channel);
    int result = torn ? 0 : work->server->function(work->channel, request, work->server->data);
    wherry_channel_return(work->channel, request);
    if (result < 0) /* by a deadline that has passed: what it does not take now it never gets */
        wherry_channel_disconnect(work->channel, peer, wherry_after(-1));
}

/* Failures of one peer, or of the moment: the endpoint goes on. */
static bool goes_on(int code)
{
    return code == -EBADMSG || code == -EPERM || code == -EMFILE || code == -ENFILE || code == -ENOMEM ||
           code == -ENOBUFS || code == -EMSGSIZE;
}

static void serve(struct work *work)
{
    for (;;) {
        struct wherry_loan request;
        int result = wherry_channel_borrow(work->channel, &request, work->draining ? work->until : WHERRY_FOREVER);
        if (result == 1)
            answer(work, &request);
        else if (work->draining && (result == 0 || result == -ETIMEDOUT))
            return;
        else if (result < 0 && result != -ECANCELED && !goes_on(result))
            fail(work, result);
        if (!work->draining && (result != 1 || wherry_now() - work->looked >= LOOK_EVERY))
            look(work);
    }
}

static int begin(struct work *work)
{
    const struct wherry__server *server = work->server;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (unsigned i = 0; i < server->channel_count; i++)
        if (server->channels[i] != work->channel)
            wherry_channel_close(server->channels[i], WHERRY_NOW);
    int result = wherry__channel_take_over(work->channel);
    if (result == 0)
        result = work->signals = wherry__signals_of(&signals);
    if (result == -EMFILE || result == -ENFILE)
        wherry__fail(-result, "%s: no descriptor is left for a worker; raise the limit (ulimit -n)", server->url);
    if (result >= 0)
        result = wherry__channel_watch(work->channel, work->control);
    if (result >= 0)
        result = wherry__channel_watch(work->channel, work->signals);
    if (result >= 0 && server->options.start)
        result = server->options.start(work->slot, server->data);
    return result < 0 ? result : 0;
}

void wherry__worker_main(const struct wherry__server *server, unsigned slot, unsigned share, int control)
{
    struct work work = {
        .server = server, .channel = wherry__server_channel(server, slot), .slot = slot, .control = control};
    end_with_master(server);
    wherry__fd_guard();
    control = wherry__fd_note(control);
    wherry__fd_unguard();
    int result = begin(&work);
    if (result < 0)
        fail(&work, result);
    end_with_master(server); /* start() may have changed the uid, which undid it */
    if (server->channel_count == 1)
        wherry__channel_share(work.channel, server->shares, 2 * server->options.workers, share);
    say(&work, WHERRY__SAY_READY);
    serve(&work);
    wherry_channel_close(work.channel, work.until);
    if (server->options.stop)
        server->options.stop(slot, server->data);
    fflush(NULL);
    _exit(EXIT_SUCCESS);
}
