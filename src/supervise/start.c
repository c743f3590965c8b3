/* supervise/start.c - owns the beginning of a run, and what it had open at its end.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "supervise/child.h"
#include "supervise/supervisor.h"

/* ---- lines ---- */

static int add_stream(struct wherry_supervisor *supervisor, struct unit *unit, int which, struct wherry__child *child)
{
    int fds[2];
    struct unit_stream *stream = &unit->streams[which];
    wherry__fd_guard();
    int result = wherry__sys.pipe2(fds, O_CLOEXEC);
    int code = errno;
    if (result == 0) {
        fds[0] = wherry__fd_note(fds[0]);
        fds[1] = wherry__fd_note(fds[1]);
    }
    wherry__fd_unguard();
    if (result != 0)
        return wherry__fail_errno(code, "no pipe for its output");
    stream->fd = fds[0];
    stream->held = false;
    wherry__child_give(child, 1 + which, fds[1]);
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0)
        return wherry__fail_errno(errno, "no pipe for its output");
    return wherry__wait_add(&supervisor->wait, fds[0], EPOLLIN,
                            watch_key(unit->index, which == 0 ? WATCH_OUT : WATCH_ERR));
}

/* ---- the run ---- */

static int prepare(struct wherry_supervisor *supervisor, struct unit *unit, struct wherry__child *child)
{
    int result = wherry__child_init(child, unit->options.process);
    for (int which = 0; result == 0 && unit->options.lines && which < 2; which++)
        result = add_stream(supervisor, unit, which, child);
    if (result == 0)
        result = wherry__ready_prepare(supervisor, unit, child);
    if (result == 0 && unit->options.channel)
        result = wherry__child_connect(child, unit->options.channel, unit->options.channel_role, NULL, &unit->channel);
    child->options.group = WHERRY_PROCESS_GROUP_NEW;
    child->options.death_signal = SIGKILL;
    return result;
}

int wherry__unit_start(struct wherry_supervisor *supervisor, struct unit *unit)
{
    struct wherry__child child = {0};
    int result = prepare(supervisor, unit, &child);
    if (result == 0)
        result = wherry__child_spawn(&child, unit->options.arguments[0], unit->options.arguments, &unit->process);
    wherry__child_fini(&child);
    if (result == 0) {
        unit->pid = wherry_process_pid(unit->process);
        result = wherry__wait_add(&supervisor->wait, wherry_process_fd(unit->process), EPOLLIN,
                                  watch_key(unit->index, WATCH_PROCESS));
        if (result < 0) { /* nobody would learn of its end */
            wherry__group_signal(unit, SIGKILL);
            wherry_process_wait(unit->process, WHERRY_FOREVER, &unit->last);
        }
    }
    if (result < 0)
        wherry__unit_say(unit, "%s", wherry_why());
    return result;
}

/* ---- its end ---- */

static void unwatch(struct wherry_supervisor *supervisor, int *fd, uint64_t key)
{
    if (*fd < 0)
        return;
    wherry__wait_remove(&supervisor->wait, *fd);
    wherry__wait_drop(&supervisor->wait, key);
    wherry__fd_close(fd);
}

void wherry__unit_let_go(struct wherry_supervisor *supervisor, struct unit *unit)
{
    wherry__lines_finish(supervisor, unit);
    unwatch(supervisor, &unit->streams[0].fd, watch_key(unit->index, WATCH_OUT));
    unwatch(supervisor, &unit->streams[1].fd, watch_key(unit->index, WATCH_ERR));
    unwatch(supervisor, &unit->notify_fd, watch_key(unit->index, WATCH_NOTIFY));
    unwatch(supervisor, &unit->ready_fd, watch_key(unit->index, WATCH_READY));
    if (unit->process) {
        if (!unit->leader_ended)
            wherry__wait_remove(&supervisor->wait, wherry_process_fd(unit->process));
        wherry__wait_drop(&supervisor->wait, watch_key(unit->index, WATCH_PROCESS));
        wherry_process_wait(unit->process, WHERRY_NOW, &unit->last);
        wherry_process_close(unit->process);
        unit->process = NULL;
    }
    if (unit->channel) {
        wherry_channel_close(unit->channel, WHERRY_NOW);
        unit->channel = NULL;
    }
}
