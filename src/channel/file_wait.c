/* channel/file_wait.c - owns the waiting of a file: endpoint.
 *
 * SPDX-License-Identifier: MIT
 *
 * inotify(7) says that the file changed; that another process gives a lock back, or dies with a message of the group,
 * nothing says, and those waits look again.  What is to be received then is file_receive.c's. */
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "channel/file_state.h"

enum { KEY_NOTIFY = 1, KEY_TIMER = 2 };
#define LOAN_TICK (50 * WHERRY_MILLISECOND) /* how soon a dead member's message is looked for */

/* From now on the set becomes ready when the file changes.  1: it does so anew, and what came before it must be
 * looked for; 0; -errno with the sentence. */
static int start_notify(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    char path[40];
    if (state->notify_fd >= 0)
        return 0;
    wherry__fd_guard();
    state->notify_fd = wherry__fd_note(wherry__sys.inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    int code = errno;
    wherry__fd_unguard();
    if (state->notify_fd < 0)
        return wherry__fail_errno(code, "%s: no inotify instance to wait with%s", state->log.name,
                                  code == EMFILE ? " (fs.inotify.max_user_instances)" : "");
    snprintf(path, sizeof path, "/proc/self/fd/%d", state->log.fd);
    int result = 0;
    if (wherry__sys.inotify_add_watch(state->notify_fd, path, IN_MODIFY | IN_ATTRIB) < 0)
        result = wherry__fail_errno(errno, "%s: the log cannot be watched%s", state->log.name,
                                    errno == ENOSPC ? " (fs.inotify.max_user_watches)" : "");
    if (result == 0)
        result = wherry__wait_add(&endpoint->receiving, state->notify_fd, EPOLLIN, KEY_NOTIFY);
    if (result < 0)
        wherry__fd_close(&state->notify_fd);
    return result < 0 ? result : 1;
}

/* Before a look, never after it: what happens from here on makes the set ready again. */
static void drain(const struct wherry__file_state *state)
{
    char events[4096];
    uint64_t ticks;
    while (state->notify_fd >= 0 && wherry__sys.read(state->notify_fd, events, sizeof events) == sizeof events)
        ;
    if (state->timer_fd >= 0 && read(state->timer_fd, &ticks, sizeof ticks) < 0)
        return; /* it did not tick */
}

static int wait_a_step(struct wherry__endpoint *endpoint, const struct wherry__wait *set, wherry_time deadline)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    state->step = state->step ? state->step * 3 / 2 : 50 * WHERRY_MICROSECOND;
    if (state->step > 10 * WHERRY_MILLISECOND)
        state->step = 10 * WHERRY_MILLISECOND;
    wherry_time until = wherry_after(state->step);
    int result = wherry__wait_one(set, -1, 0, until < deadline ? until : deadline);
    return result == -ETIMEDOUT && until < deadline ? 0 : result;
}

int wherry__file_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                     wherry_time deadline)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    (void)to;
    if (direction == WHERRY__SENDING)
        return wait_a_step(endpoint, &endpoint->sending, deadline);
    int result = start_notify(endpoint);
    if (result == 1)
        return 0;
    if (result < 0 || state->busy) /* without inotify: it works, and costs wake-ups */
        return wait_a_step(endpoint, &endpoint->receiving, deadline);
    state->step = 0;
    wherry_time tick = state->group.others_lent ? wherry_after(LOAN_TICK) : deadline;
    result = wherry__wait_for(&endpoint->receiving, tick < deadline ? tick : deadline);
    drain(state);
    return result == -ETIMEDOUT && tick < deadline ? 0 : result;
}

/* A living member's message may become a dead one's, of which nobody tells: a timer does while there is one. */
static int set_timer(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    struct itimerspec every = {.it_interval.tv_nsec = LOAN_TICK, .it_value.tv_nsec = LOAN_TICK}, never = {0};
    bool needed = state->grouped && state->group.others_lent;
    if (!needed && state->timer_fd < 0)
        return 0;
    if (state->timer_fd < 0) {
        wherry__fd_guard();
        state->timer_fd = wherry__fd_note(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
        wherry__fd_unguard();
        if (state->timer_fd < 0)
            return wherry__fail_errno(errno, "%s: no timer to wait with", state->log.name);
        int result = wherry__wait_add(&endpoint->receiving, state->timer_fd, EPOLLIN, KEY_TIMER);
        if (result < 0) {
            wherry__fd_close(&state->timer_fd);
            return result;
        }
    }
    timerfd_settime(state->timer_fd, 0, needed ? &every : &never, NULL);
    return 0;
}

/* Whether a receive would not say -EAGAIN; -errno alike. */
static int look(struct wherry__file_state *state)
{
    uint64_t position = state->position;
    if (state->failed || (state->grouped && state->group.lent))
        return 1;
    if (state->grouped) {
        int result = wherry__log_group_take(&state->log, &state->group);
        wherry__log_group_unlock(&state->log, &state->group);
        if (result != 0)
            return result == -EAGAIN ? 1 : result; /* it may be spurious */
        position = state->group.next;
    }
    bool at_cut = position == state->cut_said && !state->grouped;
    if (position < state->log.state.end && !state->log.foreign && !at_cut)
        return 1;
    int result = wherry__log_refresh(&state->log);
    if (result < 0 || state->stale || state->log.state.cuts != state->seen)
        return 1; /* the next receive says so */
    uint64_t size;
    enum wherry__log_fate fate = wherry__log_fate(&state->log, &size);
    if (fate == WHERRY__LOG_REMOVED)
        return !state->ended;
    return !at_cut && (fate == WHERRY__LOG_SHORT || (position < state->log.state.end && !state->log.foreign));
}

int wherry__file_watch(struct wherry__endpoint *endpoint, enum wherry__direction direction)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    if (direction == WHERRY__SENDING)
        return 1; /* a log is never full */
    int result = start_notify(endpoint);
    if (result < 0)
        return result;
    drain(state);
    result = look(state);
    int timed = set_timer(endpoint);
    return timed < 0 ? timed : result;
}
