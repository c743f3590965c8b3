/* channel/file_receive.c - owns the receiving half of a file: endpoint: the next message from a reader's place on.
 *
 * SPDX-License-Identifier: MIT
 *
 * What a reader finds instead of one is said here: damage that is skipped, a file that was cut or removed.
 * storage/log_read.c finds whole records, log_group.c keeps the place of a group; waiting for more is file_wait.c. */
#include <errno.h>

#include "base/why.h"
#include "channel/file_state.h"

static void set_place(struct wherry__file_state *state, uint64_t position, uint64_t number)
{
    int result = 0;
    if (!state->grouped) {
        state->position = position;
        state->number = number;
    } else if (state->group.lent) {
        result = wherry__log_group_lend(&state->log, &state->group, 0);
        wherry__log_group_unlock(&state->log, &state->group);
    } else {
        result = wherry__log_group_move(&state->log, &state->group, position, number);
        wherry__log_group_unlock(&state->log, &state->group);
    }
    if (result < 0)
        state->failed = -result;
}

static int nothing(struct wherry__file_state *state)
{
    wherry__log_group_unlock(&state->log, &state->group);
    return -EAGAIN;
}

/* What was read is there no more, and what comes may lie where we were already. */
static int say_stale(struct wherry__file_state *state)
{
    state->stale = true;
    return wherry__fail(ESTALE, "%s: the file was cut short by somebody else; open it again", state->log.name);
}

/* The state was read.  1: records were cut off since our place and the window were right, and of the window nothing is
 * left; 0: none were; -ESTALE: our place is behind what was kept, or may be.  A group's was set back with the cut. */
static int keep_place(struct wherry__file_state *state)
{
    const struct log_state *now = &state->log.state;
    if (state->stale)
        return say_stale(state);
    if (now->cuts == state->seen)
        return 0;
    bool one = now->cuts == state->seen + 1 || state->seen == LOG_UNKNOWN; /* of more only the last is known */
    if (!state->grouped && !state->log.foreign && state->position > now->start &&
        (!one || state->position > now->kept))
        return say_stale(state);
    state->seen = now->cuts;
    state->cut_said = 0;
    state->window.size = 0;
    return 1;
}

/* The file is shorter than it was, and nobody has appended yet.  A group goes back now. */
static int mend_group(struct wherry__file_state *state)
{
    int result = wherry__log_mend(&state->log);
    state->busy = result == -EAGAIN || result == 0;
    nothing(state);
    return result < 0 ? result : -EAGAIN;
}

/* The end comes once, when the file has no name: nobody can append to it. */
static int say_removed(struct wherry__file_state *state)
{
    if (state->ended)
        return wherry__fail(ESTALE, "%s: the log was removed; open it again", state->log.name);
    state->ended = true;
    return 0;
}

/* The log is of an earlier boot, and was cut below what was on the disk: that much is known to be lost. */
static void count_cut(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    const struct log_state *known = &state->log.state;
    if (!state->log.foreign || known->durable <= known->end || !state->number || state->number >= known->durable_next)
        return;
    wherry__count(&endpoint->counters.lost, known->durable_next - state->number);
    state->number = known->durable_next;
}

/* There is nothing more. */
static int look_at_end(struct wherry__endpoint *endpoint, uint64_t position)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    uint64_t size;
    count_cut(endpoint);
    enum wherry__log_fate fate = wherry__log_fate(&state->log, &size);
    if (fate == WHERRY__LOG_SHORT && state->grouped)
        return mend_group(state);
    nothing(state);
    if (fate == WHERRY__LOG_REMOVED)
        return say_removed(state);
    bool beyond = position > state->log.state.end && !state->log.foreign && !state->grouped;
    return fate == WHERRY__LOG_SHORT || beyond ? say_stale(state) : -EAGAIN;
}

/* From `position` on nothing is left up to the end: the file was cut there, at `size`.  What is appended next comes
 * there, and its number tells how much is lost. */
static int stop_at_cut(struct wherry__endpoint *endpoint, uint64_t position, uint64_t size)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    if (state->grouped)
        return mend_group(state);
    if (position > size)
        return say_stale(state);
    state->cut_said = position;
    return wherry__fail(EBADMSG, "%s: the file was cut short by somebody else at byte %llu: %llu bytes are gone",
                        state->log.name, (unsigned long long)position,
                        (unsigned long long)(state->log.state.end - position));
}

/* At `position` lies no record.  Go on behind it, once that was said. */
static int skip_damage(struct wherry__endpoint *endpoint, uint64_t position)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    struct wherry__log *log = &state->log;
    uint64_t next, size;
    if (log->foreign) { /* its end is not known: this may be it */
        count_cut(endpoint);
        return nothing(state);
    }
    if (position == state->cut_said)
        return wherry__log_fate(log, &size) == WHERRY__LOG_REMOVED ? say_removed(state) : -EAGAIN;
    int result = wherry__log_search(log, &state->window, position + 8, log->state.end, &next);
    if (result < 0) {
        nothing(state);
        return result;
    }
    if (next == log->state.end && wherry__log_fate(log, &size) == WHERRY__LOG_SHORT)
        return stop_at_cut(endpoint, position, size);
    wherry__count(&endpoint->counters.dropped, 1);
    set_place(state, next, 0);
    return wherry__fail(EBADMSG, "%s: the log is damaged at byte %llu; %llu bytes are skipped", log->name,
                        (unsigned long long)position, (unsigned long long)(next - position));
}

static int skip_big(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    wherry__count(&endpoint->counters.dropped, 1);
    set_place(state, state->record.next, state->record.number + 1);
    return wherry__fail(EBADMSG, "%s: a message of %u bytes is over max_message (%zu) and was skipped", state->log.name,
                        (unsigned)state->record.size, endpoint->config->max_message);
}

/* Read the state anew.  1: records were cut off meanwhile, and what we know is old; 0: none were; or -errno with the
 * sentence. */
static int look_again(struct wherry__file_state *state)
{
    int result = wherry__log_refresh(&state->log);
    state->busy = result == -EAGAIN;
    return result < 0 ? result : keep_place(state);
}

/* The first record from `position` on, into state->record.  A record with the number that we expect there is the one:
 * no number is given twice.  All else is believed only when the state says behind the read that nothing was cut off in
 * between; under a group's lock nothing is. */
static int find(struct wherry__endpoint *endpoint, uint64_t position, uint64_t number)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    struct wherry__log *log = &state->log;
    for (bool fresh = state->grouped;;) {
        int result = -EBADMSG;
        bool within = position >= log->state.start && position < log->state.end;
        if (within)
            result = wherry__log_read(log, &state->window, position, endpoint->config->max_message, &state->record);
        if (result == 1 && state->record.number == number)
            return 1;
        bool fails = result < 0 && result != -EBADMSG && result != -EMSGSIZE;
        if (!fails && (!fresh || (within && !state->grouped))) {
            int again = look_again(state);
            if (again == 1 || (again == 0 && !fresh)) {
                fresh = true;
                continue;
            }
            fails = again < 0;
            result = again < 0 ? again : result;
        }
        if (fails) {
            nothing(state);
            return result;
        }
        if (result == 1) {
            if (number && state->record.number > number)
                wherry__count(&endpoint->counters.lost, state->record.number - number);
            return 1;
        }
        if (result == -EMSGSIZE)
            return skip_big(endpoint);
        if (position >= log->state.end)
            return look_at_end(endpoint, position);
        if (position >= log->state.start)
            return skip_damage(endpoint, position);
        if (number && log->state.start_number > number)
            wherry__count(&endpoint->counters.lost, log->state.start_number - number);
        position = log->state.start;
        number = log->state.start_number;
    }
}

int wherry__file_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    uint64_t position = state->position, number = state->number;
    (void)buffer, (void)capacity; /* it is copied once, by the caller */
    state->busy = false;
    if (state->failed) {
        int code = state->failed;
        state->failed = 0;
        return wherry__fail_errno(code, "%s: the group's place could not be saved: what was received may come again",
                                  state->log.name);
    }
    if (state->grouped) {
        int result = wherry__log_group_take(&state->log, &state->group);
        state->busy = result == -EAGAIN;
        if (result < 0)
            return result;
        keep_place(state); /* in the sector */
        position = result == 1 ? state->group.lent : state->group.next;
        number = result == 1 ? 0 : state->group.number;
    }
    int result = find(endpoint, position, number);
    if (result != 1)
        return result;
    if (state->group.lent) /* no other takes it: we live */
        wherry__log_group_unlock(&state->log, &state->group);
    ret_loan->data = state->record.data;
    ret_loan->info = (struct wherry_info){.size = state->record.size,
                                          .type = state->record.type,
                                          .flags = state->grouped && state->group.lent ? WHERRY_REDELIVERED : 0};
    return 1;
}

void wherry__file_give_back(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    set_place(state, state->record.next, state->record.number + 1);
}

/* It does not fit.  One that a dead member had stays ours. */
void wherry__file_put_back(struct wherry__endpoint *endpoint)
{
    nothing(wherry__file_state_of(endpoint));
}

/* Other members go on meanwhile (rule 11). */
void wherry__file_lend(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    if (!state->grouped || state->group.lent)
        return;
    int result = wherry__log_group_lend(&state->log, &state->group, state->record.position);
    if (result == 0)
        result = wherry__log_group_move(&state->log, &state->group, state->record.next, state->record.number + 1);
    wherry__log_group_unlock(&state->log, &state->group);
    if (result < 0)
        state->failed = -result;
}
