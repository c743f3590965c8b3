/* run_control.c - owns what may be asked of a run from outside, over a channel: its state, and changes.
 *
 * SPDX-License-Identifier: MIT
 *
 * A request is one message, "1 VERB" or "1 VERB UNIT"; 1 is the version.  An answer is one message: "ok PID INODE",
 * of the process in front, and lines behind it; or "no " and a sentence.  Who asks for a change is answered
 * once it has come about.  The channel lets in this user and root alone. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run.h"

enum { MOST_REQUEST = 256, MOST_WISHES = 64 };

static const size_t all_units = SIZE_MAX;

/* Who waits for what. */
struct wish {
    uint64_t peer;
    enum run_ask ask;
    size_t unit;
};

struct control {
    struct run *run;
    struct wherry_channel *channel;
    struct wish wishes[MOST_WISHES];
    size_t count;
    bool *held;  /* units that were stopped from outside */
    bool *stuck; /* find_stuck() */
};

static const char *const asks[] = {[ASK_NOTHING] = "nothing", [ASK_STATUS] = "status",   [ASK_STOP] = "stop",
                                   [ASK_START] = "start",     [ASK_RESTART] = "restart", [ASK_RELOAD] = "reload"};

int control_open(struct run *run, const struct run_place *place, struct control **ret_control)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct control *control = calloc(1, sizeof *control);
    if (control) {
        control->held = calloc(run->plan->count + 1, sizeof *control->held);
        control->stuck = calloc(run->plan->count + 1, sizeof *control->stuck);
    }
    if (!control || !control->held || !control->stuck) {
        control_close(control);
        return complain(TOOL_FAILED, "run: no memory");
    }
    control->run = run;
    options.side = WHERRY_LISTEN;
    options.max_message = 1 << 20;
    int result = wherry_channel_open(place->socket, WHERRY_BOTH, &options, WHERRY_NOW, &control->channel);
    if (result < 0) {
        control_close(control);
        return complain(result == -EADDRINUSE || result == -EBUSY ? TOOL_BUSY : TOOL_FAILED, "run: %s", wherry_why());
    }
    *ret_control = control;
    return 0;
}

int control_fd(struct control *control)
{
    return wherry_channel_receive_fd(control->channel);
}

bool control_holds(const struct control *control)
{
    for (size_t i = 0; i < control->run->plan->count; i++)
        if (control->held[i])
            return true;
    return false;
}

void control_close(struct control *control)
{
    if (!control)
        return;
    wherry_channel_close(control->channel, wherry_after(WHERRY_SECOND));
    free(control->held);
    free(control->stuck);
    free(control);
}

/* ---- answers ---- */

/* Somebody who does not read is let go rather than waited for. */
static void answer(struct control *control, uint64_t peer, const char *text, size_t size)
{
    struct wherry_message message = {.data = text, .size = size, .to = peer};
    (void)wherry_channel_send_message(control->channel, &message, 0, WHERRY_NOW);
}

static void refuse(struct control *control, uint64_t peer, const char *why)
{
    char text[512];
    int size = snprintf(text, sizeof text, "no %s", why);
    answer(control, peer, text, size < (int)sizeof text ? (size_t)size : sizeof text - 1);
}

static int begin_answer(const struct control *control, char text[static 64])
{
    return snprintf(text, 64, "ok %d %" PRIu64 "\n", (int)control->run->front, control->run->front_inode);
}

static void accept_wish(struct control *control, uint64_t peer)
{
    char text[64];
    int size = begin_answer(control, text);
    answer(control, peer, text, (size_t)size);
}

/* By the clock on the wall; the supervisor counts from when the machine started. */
static int64_t wall_time(wherry_time time)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * WHERRY_SECOND + now.tv_nsec - (wherry_now() - time);
}

/* name, state, pid, starts, kind and code of the last end, since, why: with tabs between them. */
static void answer_status(struct control *control, uint64_t peer)
{
    char start[64], *text = NULL;
    size_t size = 0;
    struct wherry_unit_status status;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) {
        refuse(control, peer, "no memory");
        return;
    }
    begin_answer(control, start);
    fputs(start, stream);
    for (size_t i = 0; wherry_supervisor_status(control->run->supervisor, i, &status) == 0; i++) {
        char why[256];
        snprintf(why, sizeof why, "%s", status.why);
        for (char *at = why; (at = strpbrk(at, "\t\n"));)
            *at = ' ';
        fprintf(stream, "%s\t%s\t%d\t%" PRIu64 "\t%d\t%d\t%" PRId64 "\t%s\n", status.name,
                wherry_unit_state_name(status.state), (int)status.pid, status.starts,
                status.has_ended ? (int)status.last.kind : 0, status.last.code, wall_time(status.since), why);
    }
    if (fclose(stream) == 0)
        answer(control, peer, text, size);
    free(text);
}

/* ---- wishes ---- */

enum outcome { NOT_YET, DONE, NEVER };

static size_t index_of(const struct run_plan *plan, const char *name)
{
    size_t i = 0;
    while (i < plan->count && strcmp(plan->units[i]->name, name) != 0)
        i++;
    return i;
}

static bool is_done_step(const struct run_unit *unit, const struct wherry_unit_status *status)
{
    return unit->options.ready == WHERRY_READY_EXITED && status->has_ended && status->last.kind == WHERRY_EXITED &&
           status->last.code == 0;
}

/* Which units do not come to be ready unless somebody asks for it: those that have failed or ended, and those that wait
 * for one of them.  Whom a unit needs is before it in the plan. */
static void find_stuck(struct control *control)
{
    const struct run_plan *plan = control->run->plan;
    struct wherry_unit_status status;
    for (size_t i = 0; wherry_supervisor_status(control->run->supervisor, i, &status) == 0; i++) {
        const struct run_unit *unit = plan->units[i];
        bool stuck =
            status.state == WHERRY_UNIT_FAILED || (status.state == WHERRY_UNIT_ENDED && !is_done_step(unit, &status));
        for (size_t k = 0; status.state == WHERRY_UNIT_WAITING && !stuck && k < unit->after.count; k++)
            stuck = control->stuck[index_of(plan, unit->after.items[k])];
        control->stuck[i] = stuck;
    }
}

static enum outcome outcome_of(const struct wherry_unit_status *status, enum run_ask ask, bool stuck)
{
    bool failed = status->state == WHERRY_UNIT_FAILED;
    if (status->state == WHERRY_UNIT_ENDED || (ask == ASK_STOP ? failed : status->state == WHERRY_UNIT_READY))
        return DONE;
    return ask != ASK_STOP && stuck ? NEVER : NOT_YET;
}

/* Whether it has come true, or never will: then it is answered. */
static bool settle(struct control *control, const struct wish *wish)
{
    struct wherry_unit_status status;
    char why[512] = "";
    bool waits = false;
    for (size_t i = 0; !why[0] && wherry_supervisor_status(control->run->supervisor, i, &status) == 0; i++) {
        enum outcome outcome =
            wish->unit == i || wish->unit == all_units ? outcome_of(&status, wish->ask, control->stuck[i]) : DONE;
        waits |= outcome == NOT_YET;
        if (outcome == NEVER) /* whatever becomes of the others */
            snprintf(why, sizeof why, "%s: %s", status.name, status.why);
    }
    if (why[0])
        refuse(control, wish->peer, why);
    else if (!waits)
        accept_wish(control, wish->peer);
    return why[0] || !waits;
}

/* Called after a dispatch: what was asked for has begun. */
static void settle_all(struct control *control)
{
    size_t kept = 0;
    if (control->count > 0)
        find_stuck(control);
    for (size_t i = 0; i < control->count; i++) {
        struct wish wish = control->wishes[i];
        if (!settle(control, &wish))
            control->wishes[kept++] = wish;
    }
    control->count = kept;
}

/* The wishes of those who went away are nobody's. */
static void forget_who_left(struct control *control)
{
    struct wherry_peer peer;
    size_t kept = 0;
    for (size_t i = 0; i < control->count; i++)
        if (wherry_channel_peer(control->channel, control->wishes[i].peer, &peer) != -ENOTCONN)
            control->wishes[kept++] = control->wishes[i];
    control->count = kept;
}

/* Asked before anything is changed: who is refused must find everything as it was. */
static bool has_room(struct control *control, uint64_t peer)
{
    if (control->count == MOST_WISHES)
        forget_who_left(control);
    if (control->count == MOST_WISHES)
        refuse(control, peer, "too many wait for a change already: ask again later");
    return control->count < MOST_WISHES;
}

static void keep_wish(struct control *control, uint64_t peer, enum run_ask ask, size_t unit)
{
    control->wishes[control->count++] = (struct wish){.peer = peer, .ask = ask, .unit = unit};
}

/* ---- requests ---- */

static int ask_supervisor(struct run *run, enum run_ask ask, const char *unit)
{
    switch (ask) {
    case ASK_STOP:
        return wherry_supervisor_stop(run->supervisor, unit);
    case ASK_START:
        return wherry_supervisor_start(run->supervisor, unit);
    case ASK_RESTART:
        return wherry_supervisor_restart(run->supervisor, unit);
    default:
        return wherry_supervisor_reload(run->supervisor, unit);
    }
}

/* Who is started is not held any more, nor is whom it needs: those are started as well, and before it in the plan. */
static void let_run(struct control *control, size_t index)
{
    const struct run_plan *plan = control->run->plan;
    bool *started = calloc(plan->count, sizeof *started);
    control->held[index] = false;
    if (!started)
        return;
    started[index] = true;
    for (size_t i = index + 1; i-- > 0;)
        for (size_t k = 0; started[i] && k < plan->units[i]->after.count; k++)
            started[index_of(plan, plan->units[i]->after.items[k])] = true;
    for (size_t i = 0; i <= index; i++)
        control->held[i] &= !started[i];
    free(started);
}

static void change_unit(struct control *control, uint64_t peer, enum run_ask ask, const char *unit)
{
    struct run *run = control->run;
    if (run->stopping && ask != ASK_STOP) {
        refuse(control, peer, "all are being stopped");
        return;
    }
    if (ask != ASK_RELOAD && !has_room(control, peer))
        return;
    if (ask_supervisor(run, ask, unit) < 0) {
        refuse(control, peer, wherry_why());
        return;
    }
    size_t index = index_of(run->plan, unit);
    if (ask == ASK_RELOAD) {
        accept_wish(control, peer);
        return;
    }
    if (ask == ASK_START)
        let_run(control, index);
    else
        control->held[index] = ask == ASK_STOP;
    keep_wish(control, peer, ask, index);
}

static void change_all(struct control *control, uint64_t peer, enum run_ask ask)
{
    struct run *run = control->run;
    if (ask == ASK_STOP) {
        memset(control->held, 0, run->plan->count * sizeof *control->held);
        accept_wish(control, peer); /* who asked waits for the end of the process */
        run_stop_all(run);
    } else if (run->stopping) {
        refuse(control, peer, "all are being stopped");
    } else if (ask != ASK_RELOAD && !has_room(control, peer)) {
        return;
    } else if (ask_supervisor(run, ask, NULL) < 0) {
        refuse(control, peer, wherry_why());
    } else if (ask == ASK_RELOAD) {
        accept_wish(control, peer);
    } else {
        memset(control->held, 0, run->plan->count * sizeof *control->held);
        keep_wish(control, peer, ask, all_units);
    }
}

static void obey(struct control *control, uint64_t peer, char *text)
{
    const char *version = strsep(&text, " "), *verb = strsep(&text, " "), *unit = text;
    if (strcmp(version, "1") != 0 || !verb) {
        refuse(control, peer, "this run is of another version of wherry");
        return;
    }
    size_t ask = ASK_STATUS;
    while (ask < sizeof asks / sizeof *asks && strcmp(asks[ask], verb) != 0)
        ask++;
    if (ask == sizeof asks / sizeof *asks)
        refuse(control, peer, "this run is of another version of wherry");
    else if (ask == ASK_STATUS)
        answer_status(control, peer);
    else if (unit)
        change_unit(control, peer, (enum run_ask)ask, unit);
    else
        change_all(control, peer, (enum run_ask)ask);
}

bool control_step(struct control *control)
{
    char text[MOST_REQUEST + 1];
    struct wherry_info info;
    bool asked = false;
    int result;
    settle_all(control);
    do {
        result = wherry_channel_receive_info(control->channel, text, MOST_REQUEST, &info, WHERRY_NOW);
        if (result == 1) {
            text[info.size] = '\0';
            obey(control, info.peer.id, text);
            asked = true;
        }
        if (result == -EMSGSIZE) { /* nothing of ours is so long */
            struct wherry_loan loan;
            if (wherry_channel_borrow(control->channel, &loan, WHERRY_NOW) == 1)
                wherry_channel_return(control->channel, &loan);
        }
    } while (result == 1 || result == 0 || result == -EBADMSG || result == -EPERM || result == -EMSGSIZE);
    return asked;
}
