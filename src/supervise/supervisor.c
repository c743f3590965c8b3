/* supervise/supervisor.c - owns the supervisor: what is in it, and what wakes it.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is asked of it is ask.c. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/why.h"
#include "supervise/supervisor.h"

static const wherry_time leftovers_patience = 10 * WHERRY_SECOND;
/* Who comes since a child of somebody else ended comes without SIGCHLD; and who was killed may have forked before. */
static const wherry_time leftovers_looked_for_every = 100 * WHERRY_MILLISECOND;
static const wherry_time killed_looked_for_every = 10 * WHERRY_MILLISECOND;

/* ---- beginning and end ---- */

static int adopt(struct wherry_supervisor *supervisor)
{
    static const int child = SIGCHLD;
    if (prctl(PR_GET_CHILD_SUBREAPER, &supervisor->was_reaper) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return wherry__fail_errno(errno, "this process cannot adopt what its units leave behind");
    int result = wherry_signals_open(&child, 1, NULL, &supervisor->children);
    return result < 0 ? result
                      : wherry__wait_add(&supervisor->wait, wherry_signals_fd(supervisor->children), EPOLLIN,
                                         watch_key(WATCH_CHILDREN, WATCH_OTHER));
}

static int prepare(struct wherry_supervisor *supervisor)
{
    int result = wherry__wait_init(&supervisor->wait);
    if (result < 0)
        return result;
    wherry__fd_guard();
    supervisor->timer_fd = wherry__fd_note(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    int code = errno;
    wherry__fd_unguard();
    if (supervisor->timer_fd < 0)
        return wherry__fail_errno(code, "no timer for a supervisor");
    result = wherry__wait_add(&supervisor->wait, supervisor->timer_fd, EPOLLIN, watch_key(WATCH_TIMER, WATCH_OTHER));
    return result == 0 && supervisor->options.reap_all ? adopt(supervisor) : result;
}

int wherry_supervisor_open(const struct wherry_supervisor_options *options, struct wherry_supervisor **ret_supervisor)
{
    struct wherry_supervisor_options read = WHERRY_SUPERVISOR_OPTIONS;
    int result = wherry__options_read(&read, sizeof read, options, offsetof(struct wherry_supervisor_options, output),
                                      "supervisor", "WHERRY_SUPERVISOR_OPTIONS");
    if (result < 0 || (result = wherry__process_start()) < 0)
        return result;
    struct wherry_supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor)
        return wherry__fail(ENOMEM, "no memory for a supervisor");
    supervisor->born = wherry__generation();
    supervisor->options = read;
    supervisor->options.output = read.output == 0 ? 1 : read.output;
    supervisor->output_open = supervisor->options.output > 0;
    supervisor->wait = WHERRY__WAIT_CLOSED;
    supervisor->timer_fd = -1;
    if ((result = prepare(supervisor)) < 0) {
        wherry_supervisor_close(supervisor);
        return result;
    }
    *ret_supervisor = supervisor;
    return 0;
}

/* Everything that runs, at once; and nothing is started. */
static void end_all(struct wherry_supervisor *supervisor)
{
    supervisor->options.on_change = NULL;
    for (size_t i = 0; i < supervisor->count; i++)
        supervisor->units[i]->wish = WISH_STOP;
    wherry_supervisor_kill(supervisor);
    wherry__lines_flush(supervisor);
    supervisor->output_open = false; /* what nobody takes now is not waited for */
    while (wherry_supervisor_dispatch(supervisor, WHERRY_FOREVER) > 0)
        ;
}

void wherry_supervisor_close(struct wherry_supervisor *supervisor)
{
    if (!supervisor)
        return;
    bool own = supervisor->born == wherry__generation();
    if (own && supervisor->wait.bell >= 0)
        end_all(supervisor);
    for (size_t i = 0; i < supervisor->count; i++) {
        if (!own) {
            wherry_process_close(supervisor->units[i]->process);
            wherry_channel_close(supervisor->units[i]->channel, WHERRY_NOW);
        }
        wherry__unit_free(supervisor->units[i]);
    }
    wherry_signals_close(supervisor->children);
    if (own && supervisor->children && !supervisor->was_reaper)
        prctl(PR_SET_CHILD_SUBREAPER, 0);
    wherry__fd_close_from(supervisor->born, false, &supervisor->timer_fd);
    wherry__wait_fini(&supervisor->wait, supervisor->born);
    free(supervisor->pending);
    free(supervisor->told);
    free(supervisor->units);
    free(supervisor);
}

/* ---- units ---- */

static int find_after(struct wherry_supervisor *supervisor, struct unit *unit, const char *const *after)
{
    size_t count = 0;
    while (after && after[count])
        count++;
    unit->after = calloc(count + 1, sizeof(struct unit *));
    if (!unit->after)
        return wherry__fail(ENOMEM, "unit %s: no memory", unit->name);
    for (; unit->after_count < count; unit->after_count++) {
        struct unit *other = wherry__supervisor_find(supervisor, after[unit->after_count]);
        if (!other)
            return wherry__fail(ENOENT, "unit %s: it needs %s, which was not added before it", unit->name,
                                after[unit->after_count]);
        unit->after[unit->after_count] = other;
    }
    return 0;
}

static int add(struct wherry_supervisor *supervisor, struct unit *unit)
{
    if (supervisor->count == supervisor->capacity) {
        size_t capacity = supervisor->capacity ? 2 * supervisor->capacity : 8;
        struct unit **units = realloc(supervisor->units, capacity * sizeof(struct unit *));
        if (!units)
            return wherry__fail(ENOMEM, "unit %s: no memory", unit->name);
        supervisor->units = units;
        supervisor->capacity = capacity;
    }
    unit->index = supervisor->count;
    supervisor->units[supervisor->count++] = unit;
    if (strlen(unit->name) > supervisor->widest)
        supervisor->widest = strlen(unit->name);
    return 0;
}

int wherry_supervisor_add(struct wherry_supervisor *supervisor, const char *name,
                          const struct wherry_unit_options *options)
{
    if (supervisor->born != wherry__generation())
        return wherry__supervisor_refuse_child();
    struct unit *unit = calloc(1, sizeof *unit);
    if (!unit)
        return wherry__fail(ENOMEM, "unit %s: no memory", name);
    unit->notify_fd = unit->ready_fd = unit->streams[0].fd = unit->streams[1].fd = -1;
    unit->since = wherry_now();
    int result = wherry__unit_copy(unit, name, options);
    if (result == 0 && wherry__supervisor_find(supervisor, name))
        result = wherry__fail(EEXIST, "there is a unit %s already", name);
    if (result == 0)
        result = find_after(supervisor, unit, options->after);
    if (result == 0)
        result = add(supervisor, unit);
    if (result < 0)
        wherry__unit_free(unit);
    else
        wherry__wait_ring(&supervisor->wait);
    return result;
}

size_t wherry_supervisor_count(const struct wherry_supervisor *supervisor)
{
    return supervisor->count;
}

int wherry_supervisor_status(const struct wherry_supervisor *supervisor, size_t index,
                             struct wherry_unit_status *ret_status)
{
    if (index >= supervisor->count)
        return wherry__fail_quietly(ENOENT, "there are not so many units");
    wherry__unit_fill(supervisor->units[index], ret_status);
    return 0;
}

/* ---- what happened ---- */

/* How it ended, without reaping it (STATES.md, 1). */
static void see_end(struct wherry_supervisor *supervisor, struct unit *unit)
{
    siginfo_t info = {0};
    if (!unit->process || unit->leader_ended)
        return;
    int result = wherry__sys.waitid(P_PIDFD, (id_t)wherry_process_fd(unit->process), &info,
                                    WEXITED | WNOHANG | WNOWAIT, NULL);
    if (result == 0 && info.si_pid == 0)
        return;
    unit->last = (struct wherry_exit){0}; /* somebody else has waited for it */
    if (result == 0)
        unit->last = (struct wherry_exit){.kind = info.si_code == CLD_EXITED ? WHERRY_EXITED : WHERRY_KILLED,
                                          .code = info.si_status,
                                          .core = info.si_code == CLD_DUMPED};
    wherry__unit_ended(supervisor, unit);
}

static void see_children(struct wherry_supervisor *supervisor)
{
    struct wherry_signal signal;
    while (wherry_signals_receive(supervisor->children, &signal, WHERRY_NOW) == 1)
        ;
    wherry__leftovers(supervisor, 0);
}

static void see_timer(struct wherry_supervisor *supervisor)
{
    uint64_t times;
    while (wherry__sys.read(supervisor->timer_fd, &times, sizeof times) < 0 && errno == EINTR)
        ;
}

static void see(struct wherry_supervisor *supervisor, uint64_t key)
{
    size_t index = (size_t)(key >> 3);
    enum watched what = (enum watched)(key & 7);
    if (what == WATCH_OTHER) {
        if (index == WATCH_TIMER)
            see_timer(supervisor);
        else if (index == WATCH_CHILDREN)
            see_children(supervisor);
        else
            wherry__lines_flush(supervisor);
        return;
    }
    struct unit *unit = supervisor->units[index];
    switch (what) {
    case WATCH_PROCESS:
        see_end(supervisor, unit);
        break;
    case WATCH_NOTIFY:
        wherry__ready_notified(supervisor, unit);
        break;
    case WATCH_READY:
        wherry__ready_written(supervisor, unit);
        break;
    case WATCH_OUT:
    case WATCH_ERR:
        wherry__lines_read(supervisor, unit, what == WATCH_ERR);
        break;
    case WATCH_OTHER:
        break;
    }
}

/* ---- what is due ---- */

static bool any_active(const struct wherry_supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (wherry__unit_is_active(supervisor->units[i]))
            return true;
    return false;
}

static void forget_leftovers(struct wherry_supervisor *supervisor)
{
    supervisor->leftovers_until = supervisor->look_at = 0;
    supervisor->told_count = 0;
}

/* With reap_all, once no unit runs: end those that left.  Whether any are there. */
static bool end_leftovers(struct wherry_supervisor *supervisor)
{
    if (!supervisor->options.reap_all)
        return false;
    if (!supervisor->leftovers_until)
        supervisor->leftovers_until = wherry_after(leftovers_patience);
    bool over = supervisor->impatient || wherry__deadline_passed(supervisor->leftovers_until);
    /* SIGTERM also goes to those who come later, when their parents end */
    bool found = wherry__leftovers(supervisor, over ? SIGKILL : SIGTERM);
    if (found)
        supervisor->look_at = wherry_after(over ? killed_looked_for_every : leftovers_looked_for_every);
    else
        forget_leftovers(supervisor);
    return found;
}

/* When something is due without being woken. */
static wherry_time next_due(const struct wherry_supervisor *supervisor)
{
    wherry_time next = supervisor->look_at ? supervisor->look_at : WHERRY_FOREVER;
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->units[i]->timer && supervisor->units[i]->timer < next)
            next = supervisor->units[i]->timer;
    return next;
}

static void arm_timer(const struct wherry_supervisor *supervisor)
{
    wherry_time next = next_due(supervisor);
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (next != WHERRY_FOREVER) {
        when.it_value.tv_sec = (time_t)(next / WHERRY_SECOND);
        when.it_value.tv_nsec = (long)(next % WHERRY_SECOND) + (next == 0);
    }
    timerfd_settime(supervisor->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* All arrows that may be taken; one may allow another. */
static bool step_all(struct wherry_supervisor *supervisor)
{
    size_t before;
    do {
        before = supervisor->changed;
        for (size_t i = 0; i < supervisor->count; i++)
            wherry__unit_step(supervisor, supervisor->units[i]);
    } while (supervisor->changed != before);
    if (any_active(supervisor)) {
        forget_leftovers(supervisor);
        return true;
    }
    return end_leftovers(supervisor) || (supervisor->output_open && supervisor->pending_size > 0);
}

int wherry_supervisor_fd(struct wherry_supervisor *supervisor)
{
    if (supervisor->born != wherry__generation())
        return wherry__supervisor_refuse_child();
    return wherry__wait_descriptor(&supervisor->wait);
}

int wherry_supervisor_dispatch(struct wherry_supervisor *supervisor, wherry_time deadline)
{
    if (supervisor->born != wherry__generation())
        return wherry__supervisor_refuse_child();
    supervisor->changed = 0;
    for (bool first = true;; first = false) {
        struct epoll_event event;
        bool seen = false;
        wherry__wait_silence(&supervisor->wait);
        int result = wherry__wait_for(&supervisor->wait, WHERRY_NOW);
        if (result < 0 && result != -ETIMEDOUT)
            return result;
        while (wherry__wait_next(&supervisor->wait, &event)) {
            see(supervisor, event.data.u64);
            seen = true;
        }
        bool active = step_all(supervisor);
        arm_timer(supervisor);
        if (!active)
            return 0;
        if (supervisor->changed > 0 || seen)
            return 1;
        if (!first && wherry__deadline_passed(deadline))
            return wherry__fail_quietly(wherry__deadline_code(deadline), "nothing was due");
        wherry_time next = next_due(supervisor);
        result = wherry__wait_for(&supervisor->wait, next < deadline ? next : deadline);
        if (result < 0 && result != -ETIMEDOUT)
            return result;
    }
}

int wherry_supervisor_run(struct wherry_supervisor *supervisor, wherry_time deadline)
{
    for (;;) {
        int result = wherry_supervisor_dispatch(supervisor, deadline);
        if (result <= 0)
            return result;
        if (wherry__deadline_passed(deadline))
            return wherry__fail_quietly(wherry__deadline_code(deadline), "units run still");
    }
}
