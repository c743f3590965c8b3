/* supervise/unit.c - owns the states of a unit and the arrows between them.  STATES.md is the drawing.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "base/why.h"
#include "supervise/supervisor.h"

static const wherry_time url_asked_every = 50 * WHERRY_MILLISECOND;

const char *wherry_unit_state_name(enum wherry_unit_state state)
{
    static const char *const names[] = {"waiting", "starting", "ready", "stopping", "backoff", "ended", "failed"};
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "unknown";
}

bool wherry__unit_runs(const struct unit *unit)
{
    return unit->state == WHERRY_UNIT_STARTING || unit->state == WHERRY_UNIT_READY ||
           unit->state == WHERRY_UNIT_STOPPING;
}

static bool is_satisfied(const struct unit *unit)
{
    return unit->state == WHERRY_UNIT_READY || (unit->state == WHERRY_UNIT_ENDED && unit->done);
}

/* The first that it waits for; NULL: none.  One that is about to be started again counts as down already. */
static const struct unit *lacks(const struct unit *unit)
{
    for (size_t i = 0; i < unit->after_count; i++)
        if (!is_satisfied(unit->after[i]) || unit->after[i]->wish == WISH_RESTART)
            return unit->after[i];
    return NULL;
}

/* Whom it needs was added before it, so that nobody is asked twice: the ways down may be too many to go. */
bool wherry__unit_is_active(struct unit *unit)
{
    unit->active = true;
    if (unit->state == WHERRY_UNIT_ENDED || unit->state == WHERRY_UNIT_FAILED)
        unit->active = unit->wish == WISH_RESTART;
    for (size_t i = 0; unit->state == WHERRY_UNIT_WAITING && unit->active && i < unit->after_count; i++)
        unit->active = is_satisfied(unit->after[i]) || unit->after[i]->active;
    return unit->active;
}

void wherry__unit_say(struct unit *unit, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(unit->why, sizeof unit->why, format, arguments);
    va_end(arguments);
}

void wherry__unit_fill(const struct unit *unit, struct wherry_unit_status *ret_status)
{
    *ret_status = (struct wherry_unit_status){
        .name = unit->name,
        .state = unit->state,
        .pid = unit->process ? unit->pid : 0,
        .inode = unit->process ? wherry_process_inode(unit->process) : 0,
        .starts = unit->starts,
        .has_ended = unit->has_ended,
        .last = unit->last,
        .since = unit->since,
        .next = unit->state == WHERRY_UNIT_BACKOFF ? unit->timer : 0,
        .error = unit->error,
        .why = unit->why,
    };
}

/* `timer`: when something is due in this state, 0: nothing. */
static void enter_until(struct wherry_supervisor *supervisor, struct unit *unit, enum wherry_unit_state state,
                        wherry_time timer)
{
    unit->state = state;
    unit->since = wherry_now();
    unit->timer = timer;
    supervisor->changed++;
    if (supervisor->options.on_change) {
        struct wherry_unit_status status;
        wherry__unit_fill(unit, &status);
        supervisor->options.on_change(supervisor->options.data, &status);
    }
}

static void enter(struct wherry_supervisor *supervisor, struct unit *unit, enum wherry_unit_state state)
{
    enter_until(supervisor, unit, state, 0);
}

/* ---- stopping ---- */

/* Rule 2. */
static void stop_group(struct wherry_supervisor *supervisor, struct unit *unit)
{
    unit->kill_at = unit->impatient ? wherry_now() : wherry_after(unit->options.stop_timeout);
    unit->killed = false;
    unit->ready_for = unit->ready_since ? wherry_now() - unit->ready_since : 0;
    unit->steps = (struct wherry__steps){0};
    enter(supervisor, unit, WHERRY_UNIT_STOPPING);
    wherry__group_signal(unit, unit->options.stop_signal);
    wherry__group_signal(unit, SIGCONT);
    unit->timer = unit->leader_ended ? unit->since : unit->kill_at;
}

static void kill_group(struct unit *unit)
{
    unit->killed = true;
    wherry__group_signal(unit, SIGKILL);
}

/* Anybody who is to stop needs it, and has not ended yet?  Also through steps that have ended.  Whom a unit needs was
 * added before it. */
static bool is_needed(const struct wherry_supervisor *supervisor, const struct unit *unit)
{
    for (size_t i = 0; i < supervisor->count; i++) {
        struct unit *other = supervisor->units[i];
        other->leads = false;
        for (size_t k = 0; k < other->after_count; k++)
            other->leads |= other->after[k] == unit || other->after[k]->leads;
        if (other->leads && wherry__unit_runs(other) && other->wish != WISH_RUN)
            return true;
    }
    return false;
}

/* Rule 3: it runs, and is to stop now. */
static bool is_to_stop(const struct wherry_supervisor *supervisor, const struct unit *unit)
{
    bool ordered = unit->wish == WISH_STOP || unit->orderly;
    return unit->wish != WISH_RUN && !(ordered && is_needed(supervisor, unit));
}

/* ---- the end of a run ---- */

/* Rule 5: one more restart, unless that is one too many. */
static bool may_restart(struct unit *unit)
{
    unsigned limit = unit->options.restart_limit;
    wherry_time now = wherry_now();
    unit->restarts[unit->restart_count % UNIT_RESTARTS] = now;
    unit->restart_count++;
    if (limit == 0 || unit->restart_count <= limit)
        return true;
    /* the one that is `limit` before this one */
    return now - unit->restarts[(unit->restart_count - 1 - limit) % UNIT_RESTARTS] > unit->options.restart_span;
}

static void back_off(struct wherry_supervisor *supervisor, struct unit *unit)
{
    wherry_time most = unit->options.backoff_most;
    bool lasted = unit->ready_since && unit->ready_for >= most;
    unit->backoff = unit->backoff == 0 || lasted ? unit->options.backoff_first
                    : unit->backoff > most / 2   ? most
                                                 : unit->backoff * 2;
    if (unit->backoff > most)
        unit->backoff = most;
    enter_until(supervisor, unit, WHERRY_UNIT_BACKOFF, wherry_after(unit->backoff));
}

static void say_how(struct unit *unit)
{
    char text[64];
    if (unit->overdue && unit->options.ready == WHERRY_READY_URL)
        wherry__unit_say(unit, "it was not ready in time: %s", unit->answer);
    else if (unit->overdue)
        wherry__unit_say(unit, "it was not ready in time");
    else
        wherry__unit_say(unit, "it %s%s", unit->last.kind == WHERRY_KILLED ? "was " : "",
                         wherry_exit_text(&unit->last, text, sizeof text));
}

static void after_a_run(struct wherry_supervisor *supervisor, struct unit *unit, bool started)
{
    bool good = started && !unit->overdue && unit->last.kind == WHERRY_EXITED && unit->last.code == 0;
    if (unit->wish == WISH_STOP) {
        enter(supervisor, unit, WHERRY_UNIT_ENDED);
    } else if (unit->wish == WISH_RESTART) {
        unit->wish = WISH_RUN;
        enter(supervisor, unit, WHERRY_UNIT_WAITING);
    } else if (good && unit->options.ready == WHERRY_READY_EXITED) {
        unit->done = true;
        enter(supervisor, unit, WHERRY_UNIT_ENDED);
    } else if (unit->options.restart == WHERRY_RESTART_ALWAYS ||
               (unit->options.restart == WHERRY_RESTART_ON_FAILURE && !good)) {
        if (started)
            say_how(unit);
        if (may_restart(unit)) {
            back_off(supervisor, unit);
        } else {
            size_t size = strlen(unit->why);
            snprintf(unit->why + size, sizeof unit->why - size, ", and was started again %u times within %lld s before",
                     unit->options.restart_limit, (long long)(unit->options.restart_span / WHERRY_SECOND));
            enter(supervisor, unit, WHERRY_UNIT_FAILED);
        }
    } else if (good) {
        enter(supervisor, unit, WHERRY_UNIT_ENDED);
    } else {
        if (started)
            say_how(unit);
        enter(supervisor, unit, WHERRY_UNIT_FAILED);
    }
}

/* Rule 1: nobody is left.  Only now the number of the group may become another's. */
static void end_run(struct wherry_supervisor *supervisor, struct unit *unit)
{
    wherry__unit_let_go(supervisor, unit);
    after_a_run(supervisor, unit, true);
}

void wherry__unit_ended(struct wherry_supervisor *supervisor, struct unit *unit)
{
    if (unit->leader_ended)
        return;
    unit->leader_ended = true;
    unit->has_ended = true;
    supervisor->changed++;
    wherry__wait_remove(&supervisor->wait, wherry_process_fd(unit->process));
    if (unit->state == WHERRY_UNIT_STOPPING)
        unit->timer = wherry_now();
}

/* ---- starting ---- */

static void start(struct wherry_supervisor *supervisor, struct unit *unit)
{
    unit->hopeless = unit->overdue = unit->leader_ended = unit->killed = unit->done = unit->impatient = false;
    unit->orderly = false;
    unit->ready_since = 0;
    unit->why[0] = '\0';
    if ((unit->error = wherry__unit_start(supervisor, unit)) < 0) {
        wherry__unit_let_go(supervisor, unit);
        after_a_run(supervisor, unit, false);
        return;
    }
    unit->starts++;
    if (unit->options.ready == WHERRY_READY_STARTED) {
        wherry__unit_ready(supervisor, unit);
        return;
    }
    enter(supervisor, unit, WHERRY_UNIT_STARTING);
    unit->timer = unit->options.ready == WHERRY_READY_URL ? wherry_now() : wherry_after(unit->options.ready_timeout);
}

void wherry__unit_ready(struct wherry_supervisor *supervisor, struct unit *unit)
{
    if (unit->state != WHERRY_UNIT_STARTING && unit->state != WHERRY_UNIT_WAITING)
        return;
    unit->ready_since = wherry_now();
    enter(supervisor, unit, WHERRY_UNIT_READY);
}

static void while_starting(struct wherry_supervisor *supervisor, struct unit *unit)
{
    wherry_time timeout = unit->options.ready_timeout;
    if (unit->timer == 0 || wherry_now() < unit->timer)
        return;
    if (unit->options.ready == WHERRY_READY_URL && wherry__ready_answers(unit)) {
        wherry__unit_ready(supervisor, unit);
        return;
    }
    if (unit->hopeless || (timeout != WHERRY_FOREVER && wherry_now() - unit->since >= timeout)) {
        unit->overdue = true;
        stop_group(supervisor, unit);
        return;
    }
    unit->timer = unit->options.ready == WHERRY_READY_URL ? wherry_after(url_asked_every)
                  : timeout == WHERRY_FOREVER             ? 0
                                                          : unit->since + timeout;
}

static void while_stopping(struct wherry_supervisor *supervisor, struct unit *unit)
{
    wherry_time now = wherry_now();
    if (unit->timer > now)
        return;
    if (!unit->killed && now >= unit->kill_at)
        kill_group(unit);
    if (!unit->leader_ended) {
        unit->timer = unit->killed ? 0 : unit->kill_at; /* its descriptor tells */
        return;
    }
    if (!wherry__group_remains(unit)) {
        end_run(supervisor, unit);
        return;
    }
    if (unit->killed)
        kill_group(unit); /* who was forked meanwhile */
    wherry_time next = wherry__steps_take(&unit->steps, WHERRY_FOREVER);
    unit->timer = unit->killed || next < unit->kill_at ? next : unit->kill_at;
}

/* ---- the arrows ---- */

void wherry__unit_step(struct wherry_supervisor *supervisor, struct unit *unit)
{
    const struct unit *missing;
    switch (unit->state) {
    case WHERRY_UNIT_WAITING:
        if (unit->wish == WISH_STOP)
            enter(supervisor, unit, WHERRY_UNIT_ENDED);
        else if ((missing = lacks(unit)))
            wherry__unit_say(unit, "it needs %s, which is %s", missing->name,
                             is_satisfied(missing) ? "to be started again" : wherry_unit_state_name(missing->state));
        else if (!unit->orderly || !is_needed(supervisor, unit)) /* a step, or one that was down */
            start(supervisor, unit);
        break;
    case WHERRY_UNIT_STARTING:
    case WHERRY_UNIT_READY:
        if (unit->leader_ended)
            stop_group(supervisor, unit);
        else if (is_to_stop(supervisor, unit))
            stop_group(supervisor, unit);
        else if (unit->state == WHERRY_UNIT_STARTING)
            while_starting(supervisor, unit);
        break;
    case WHERRY_UNIT_STOPPING:
        while_stopping(supervisor, unit);
        break;
    case WHERRY_UNIT_BACKOFF:
        if (unit->wish == WISH_STOP)
            enter(supervisor, unit, WHERRY_UNIT_ENDED);
        else if (unit->wish != WISH_RESTART && wherry_now() < unit->timer)
            break;
        else if (unit->options.lines && wherry__lines_are_full(supervisor))
            unit->timer = 0; /* when there is room this is asked again */
        else
            enter(supervisor, unit, WHERRY_UNIT_WAITING);
        break;
    case WHERRY_UNIT_ENDED:
    case WHERRY_UNIT_FAILED:
        if (unit->wish == WISH_RESTART) {
            unit->wish = WISH_RUN;
            enter(supervisor, unit, WHERRY_UNIT_WAITING);
        }
        break;
    }
    if (unit->state == WHERRY_UNIT_WAITING && unit->wish == WISH_RESTART)
        unit->wish = WISH_RUN;
}
