/* channel/transport_file.c - file: a durable log; what is appended stays, and each reader has a place of its own.
 *
 * SPDX-License-Identifier: MIT
 *
 * storage/log.h owns the file.  This owns how an endpoint on it is opened and closed, and where a reader begins;
 * file_send.c, file_receive.c and file_wait.c own what it does in between. */
#include <errno.h>

#include "base/fd.h"
#include "base/time.h"
#include "base/why.h"
#include "channel/file_state.h"

enum { JOIN_TRIES = 100 }; /* at a lock that is held for microseconds, whatever the deadline */

static int file_check(const struct wherry__config *config)
{
    if (config->from == WHERRY__FROM_SAVED && !config->group[0])
        return wherry__fail(EINVAL, "%s: from=saved needs the name under which the place is saved: group=NAME",
                            config->name);
    return 0;
}

static int check_owner(const struct wherry__config *config, const struct stat *status)
{
    if (wherry__allow_check(&config->allow, status->st_uid))
        return 0;
    return wherry__fail(EPERM, "%s: the log belongs to uid %u; allow it with uid=%u, or use a directory of your own",
                        config->name, (unsigned)status->st_uid, (unsigned)status->st_uid);
}

static int join(struct wherry__file_state *state, const struct wherry__config *config, wherry_time deadline)
{
    enum wherry__log_from from = config->from == WHERRY__FROM_END         ? WHERRY__LOG_END
                                 : config->from == WHERRY__FROM_BEGINNING ? WHERRY__LOG_BEGINNING
                                                                          : WHERRY__LOG_SAVED;
    struct wherry__steps steps = {0};
    int result;
    for (int i = 0; (result = wherry__log_group_join(&state->log, &state->group, config->group, from)) == -EAGAIN;
         i++) {
        if (i >= JOIN_TRIES && wherry__deadline_passed(deadline))
            return wherry__log_say_held(&state->log, WHERRY__LOG_HELD_JOIN, EAGAIN);
        wherry__steps_sleep(&steps, i < JOIN_TRIES ? WHERRY_FOREVER : deadline);
    }
    state->grouped = result == 0;
    return result;
}

/* The log is of an earlier boot, and its size may be that of a torn tail, which whoever appends cuts: the end is where
 * the whole records are. */
static int begin_at_whole_end(struct wherry__file_state *state)
{
    const struct log_state *known = &state->log.state;
    bool kept = known->durable >= known->start && known->durable <= known->end;
    int result;
    state->position = kept ? known->durable : known->start;
    state->number = kept ? known->durable_next : known->start_number;
    while ((result = wherry__log_read(&state->log, &state->window, state->position, UINT32_MAX, &state->record)) == 1 &&
           state->record.number >= state->number) {
        state->position = state->record.next;
        state->number = state->record.number + 1;
    }
    return result == 1 || result == -EBADMSG ? 0 : result;
}

static int start_reading(struct wherry__file_state *state, const struct wherry__config *config, wherry_time deadline)
{
    state->seen = state->log.state.cuts;
    if (config->group[0])
        return join(state, config, deadline);
    bool end = config->from == WHERRY__FROM_END;
    if (end && state->log.foreign)
        return begin_at_whole_end(state);
    state->position = end ? state->log.state.end : state->log.state.start;
    state->number = end ? state->log.state.next : state->log.state.start_number;
    return 0;
}

static int file_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    const struct wherry__config *config = endpoint->config;
    bool appends = config->role == WHERRY_SEND;
    struct wherry__log_wish wish = {.name = config->name, .mode = config->mode, .appends = appends,
                                   .writes = appends || config->group[0]};
    struct stat status;
    state->notify_fd = state->timer_fd = state->log.fd = -1;
    state->group.index = state->group.member = -1;
    int result = wherry__url_file(&config->url, &wish.path);
    if (result == 0)
        result = wherry__log_open(&state->log, &wish, &status);
    if (result == 0)
        result = check_owner(config, &status);
    if (result < 0)
        return result;
    state->log.sync_each = config->sync_each;
    state->log.sync_every = config->sync_every;
    if (!appends)
        return start_reading(state, config, deadline);
    state->log.retain_bytes = config->retain_bytes;
    state->log.retain_age = config->retain_age;
    return config->retain_bytes || config->retain_age ? wherry__log_can_punch(&state->log) : 0;
}
static void file_close(struct wherry__endpoint *endpoint, bool own)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    if (own && state->log.fd >= 0 && state->grouped)
        wherry__log_group_leave(&state->log, &state->group);
    wherry__log_batch_fini(&state->batch);
    wherry__log_window_fini(&state->window);
    wherry__fd_close_from(endpoint->born, false, &state->notify_fd);
    wherry__fd_close_from(endpoint->born, false, &state->timer_fd);
    wherry__log_close(&state->log, endpoint->born);
}

const struct wherry__transport wherry__transport_file = {
    .traits =
        {
            .scheme = "file",
            .summary = "a durable log in a file: survives processes and power cuts, many readers at their own pace",
            .object = "log",
            .sample = "file://{path}",
            .bits = WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_MANY_RECEIVERS | WHERRY_TRAIT_EMPTY |
                    WHERRY_TRAIT_FANS_OUT | WHERRY_TRAIT_REMAINS | WHERRY_TRAIT_STEPS | WHERRY_TRAIT_POLLABLE |
                    WHERRY_TRAIT_TYPES | WHERRY_TRAIT_NEVER_FULL,
        },
    .options = WHERRY__OPTION_MODE | WHERRY__OPTION_UID | WHERRY__OPTION_LOG,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE,
    .state_size = sizeof(struct wherry__file_state),
    .check = file_check,
    .open = file_open,
    .try_send = wherry__file_try_send,
    .try_finish = wherry__file_try_finish,
    .settle = wherry__file_settle,
    .full = wherry__file_full,
    .cut_off = wherry__file_cut_off,
    .try_borrow = wherry__file_try_borrow,
    .give_back = wherry__file_give_back,
    .lend = wherry__file_lend,
    .put_back = wherry__file_put_back,
    .watch = wherry__file_watch,
    .wait = wherry__file_wait,
    .close = file_close,
};
