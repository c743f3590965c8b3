/* supervise/ask.c - owns what is asked of a supervisor: which unit is meant, and what becomes of the wish.
 *
 * SPDX-License-Identifier: MIT
 *
 * Signals go out here and now; other wishes are noted, and unit.c brings them about at the next dispatch. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/why.h"
#include "supervise/supervisor.h"

int wherry__supervisor_refuse_child(void)
{
    return wherry__fail(ECHILD, "this is a forked child: its parent has the supervisor");
}

static void say_no_unit(const struct wherry_supervisor *supervisor, const char *name)
{
    char names[256] = "";
    size_t used = 0, i = 0;
    for (; i < supervisor->count && used + UNIT_NAME + 8 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 supervisor->units[i]->name);
    if (supervisor->count == 0)
        wherry__fail(ENOENT, "there is no unit %.100s, and no other", name);
    else
        wherry__fail(ENOENT, "there is no unit %.100s; the units are %s%s", name, names,
                     i < supervisor->count ? ", ..." : "");
}

struct unit *wherry__supervisor_find(const struct wherry_supervisor *supervisor, const char *name)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (strcmp(supervisor->units[i]->name, name) == 0)
            return supervisor->units[i];
    return NULL;
}

static struct unit *find_or_say(const struct wherry_supervisor *supervisor, const char *name)
{
    struct unit *unit = wherry__supervisor_find(supervisor, name);
    if (!unit)
        say_no_unit(supervisor, name);
    return unit;
}

struct wherry_channel *wherry_supervisor_channel(struct wherry_supervisor *supervisor, const char *name)
{
    struct unit *unit = find_or_say(supervisor, name);
    return unit && supervisor->born == wherry__generation() ? unit->channel : NULL;
}

static void want_stop(struct wherry_supervisor *supervisor, struct unit *unit)
{
    unit->wish = WISH_STOP;
    for (size_t i = 0; i < supervisor->count; i++)
        for (size_t k = 0; k < supervisor->units[i]->after_count; k++)
            if (supervisor->units[i]->after[k] == unit && supervisor->units[i]->wish != WISH_STOP)
                want_stop(supervisor, supervisor->units[i]);
}

/* Each unit once: there may be more ways to it than anybody can go. */
static void want_start(struct wherry_supervisor *supervisor, struct unit *unit)
{
    if (unit->asked)
        return;
    unit->asked = true;
    for (size_t i = 0; i < unit->after_count; i++)
        want_start(supervisor, unit->after[i]);
    bool done = unit->state == WHERRY_UNIT_ENDED && unit->done;
    unit->restart_count = 0;
    unit->backoff = 0;
    if (unit->state == WHERRY_UNIT_STOPPING || unit->state == WHERRY_UNIT_FAILED ||
        (unit->state == WHERRY_UNIT_ENDED && !done)) {
        unit->wish = WISH_RESTART;
    } else if (unit->wish == WISH_STOP) {
        unit->wish = WISH_RUN;
    }
}

static void want_restart(struct wherry_supervisor *supervisor, struct unit *unit)
{
    (void)supervisor;
    unit->wish = WISH_RESTART;
    unit->restart_count = 0;
    unit->backoff = 0;
}

static void want_restart_in_order(struct wherry_supervisor *supervisor, struct unit *unit)
{
    want_restart(supervisor, unit);
    unit->orderly = true;
}

static int ask(struct wherry_supervisor *supervisor, const char *name,
               void (*want)(struct wherry_supervisor *, struct unit *))
{
    if (supervisor->born != wherry__generation())
        return wherry__supervisor_refuse_child();
    struct unit *unit = name ? find_or_say(supervisor, name) : NULL;
    if (name && !unit)
        return -ENOENT;
    for (size_t i = 0; i < supervisor->count; i++)
        supervisor->units[i]->asked = false;
    for (size_t i = 0; i < supervisor->count; i++)
        if (!name || supervisor->units[i] == unit)
            want(supervisor, supervisor->units[i]);
    wherry__wait_ring(&supervisor->wait);
    return 0;
}

int wherry_supervisor_stop(struct wherry_supervisor *supervisor, const char *name)
{
    return ask(supervisor, name, want_stop);
}

int wherry_supervisor_start(struct wherry_supervisor *supervisor, const char *name)
{
    return ask(supervisor, name, want_start);
}

int wherry_supervisor_restart(struct wherry_supervisor *supervisor, const char *name)
{
    return ask(supervisor, name, name ? want_restart : want_restart_in_order);
}

static int send_to(struct wherry_supervisor *supervisor, const char *name, int signal)
{
    if (supervisor->born != wherry__generation())
        return wherry__supervisor_refuse_child();
    const struct unit *unit = name ? find_or_say(supervisor, name) : NULL;
    if (name && !unit)
        return -ENOENT;
    bool any = false;
    for (size_t i = 0; i < supervisor->count; i++) {
        const struct unit *each = supervisor->units[i];
        if ((!unit || each == unit) && each->process && !each->leader_ended)
            any |= wherry_process_kill(each->process, signal ? signal : each->options.reload_signal) == 0;
    }
    return any ? 0 : wherry__fail(ESRCH, "%s does not run", name ? name : "any unit");
}

int wherry_supervisor_reload(struct wherry_supervisor *supervisor, const char *name)
{
    return send_to(supervisor, name, 0);
}

int wherry_supervisor_signal(struct wherry_supervisor *supervisor, const char *name, int signal)
{
    if (signal < 1 || signal >= NSIG)
        return wherry__fail(EINVAL, "there is no signal %d", signal);
    return send_to(supervisor, name, signal);
}

void wherry_supervisor_kill(struct wherry_supervisor *supervisor)
{
    if (supervisor->born != wherry__generation())
        return;
    for (size_t i = 0; i < supervisor->count; i++) {
        struct unit *unit = supervisor->units[i];
        if (!wherry__unit_runs(unit))
            continue;
        wherry__group_signal(unit, SIGKILL);
        unit->impatient = true;
        if (unit->state == WHERRY_UNIT_STOPPING)
            unit->kill_at = unit->timer = wherry_now();
    }
    supervisor->impatient = true;
    wherry__wait_ring(&supervisor->wait);
}
