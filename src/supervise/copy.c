/* supervise/copy.c - owns the options of a unit: looked at once, and kept with all that they lead to.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/url.h"
#include "base/why.h"
#include "supervise/supervisor.h"

/* ---- memory: counted in a first pass, filled in a second ---- */

struct store {
    char *at; /* NULL: only counts */
    size_t size;
};

static void *keep(struct store *store, const void *data, size_t size)
{
    void *kept = NULL;
    store->size = (store->size + 15) & ~(size_t)15;
    if (store->at && data) {
        kept = store->at + store->size;
        memcpy(kept, data, size);
    }
    store->size += data ? size : 0;
    return kept;
}

static const char *keep_text(struct store *store, const char *text)
{
    return keep(store, text, text ? strlen(text) + 1 : 0);
}

static const char *const *keep_list(struct store *store, const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    const char **kept = keep(store, list, (count + 1) * sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        const char *text = keep_text(store, list[i]);
        if (kept)
            kept[i] = text;
    }
    return kept;
}

static void keep_process(struct store *store, struct wherry_process_options *process)
{
    process->environment = keep_list(store, process->environment);
    process->directory = keep_text(store, process->directory);
    process->fds = keep(store, process->fds, process->fd_count * sizeof *process->fds);
    process->limits = keep(store, process->limits, process->limit_count * sizeof *process->limits);
    process->groups = keep(store, process->groups, process->group_count * sizeof *process->groups);
    process->ignored = keep(store, process->ignored, process->ignored_count * sizeof *process->ignored);
    process->blocked = keep(store, process->blocked, process->blocked_count * sizeof *process->blocked);
    process->cgroup = keep_text(store, process->cgroup);
}

static void keep_all(struct store *store, struct wherry_unit_options *options, struct wherry_process_options *process)
{
    options->arguments = keep_list(store, options->arguments);
    options->ready_url = keep_text(store, options->ready_url);
    options->channel = keep_text(store, options->channel);
    keep_process(store, process);
}

/* ---- what they may say ---- */

static bool is_name(const char *name)
{
    size_t size = name ? strlen(name) : 0;
    return size > 0 && size < UNIT_NAME && name[0] != '-' && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == size;
}

static bool is_signal(int signal)
{
    return signal > 0 && signal < NSIG;
}

static wherry_time or_else(wherry_time given, wherry_time otherwise)
{
    return given ? given : otherwise;
}

static void fill_in(struct wherry_unit_options *options)
{
    options->backoff_first = or_else(options->backoff_first, 100 * WHERRY_MILLISECOND);
    options->backoff_most = or_else(options->backoff_most, 10 * WHERRY_SECOND);
    options->restart_span = or_else(options->restart_span, 60 * WHERRY_SECOND);
    options->ready_timeout = or_else(options->ready_timeout, 30 * WHERRY_SECOND);
    options->stop_timeout = or_else(options->stop_timeout, 10 * WHERRY_SECOND);
    options->ready_fd = options->ready_fd ? options->ready_fd : 3;
    options->stop_signal = options->stop_signal ? options->stop_signal : SIGTERM;
    options->reload_signal = options->reload_signal ? options->reload_signal : SIGHUP;
}

static int check(const char *name, const struct wherry_unit_options *options,
                 const struct wherry_process_options *process)
{
    if (!options->arguments || !options->arguments[0])
        return wherry__fail(EINVAL, "unit %s: no program is named", name);
    if ((unsigned)options->restart > WHERRY_RESTART_ALWAYS || (unsigned)options->ready > WHERRY_READY_EXITED)
        return wherry__fail(EINVAL, "unit %s: there is no such way to restart, or to be ready", name);
    if (options->ready == WHERRY_READY_EXITED && options->restart == WHERRY_RESTART_ALWAYS)
        return wherry__fail(EINVAL, "unit %s: a step that is ready once it has ended is not restarted always", name);
    if (options->backoff_first < 0 || options->backoff_most < options->backoff_first || options->restart_span < 0 ||
        options->ready_timeout < 0 || options->stop_timeout < 0)
        return wherry__fail(EINVAL, "unit %s: a time is negative, or backoff_most less than backoff_first", name);
    if (options->restart_limit >= UNIT_RESTARTS)
        return wherry__fail(EINVAL, "unit %s: restart_limit is %u, and at most %d", name, options->restart_limit,
                            UNIT_RESTARTS - 1);
    if (!is_signal(options->stop_signal) || !is_signal(options->reload_signal))
        return wherry__fail(EINVAL, "unit %s: there is no signal %d", name,
                            is_signal(options->stop_signal) ? options->reload_signal : options->stop_signal);
    if (options->reload_signal == SIGKILL || options->reload_signal == SIGSTOP)
        return wherry__fail(EINVAL,
                            "unit %s: reload_signal is %s, which no program can handle; take SIGHUP or the like", name,
                            options->reload_signal == SIGKILL ? "SIGKILL" : "SIGSTOP");
    if (options->ready == WHERRY_READY_URL && !options->ready_url)
        return wherry__fail(EINVAL, "unit %s: ready_url is to say where it answers", name);
    if (options->ready == WHERRY_READY_FD && (options->ready_fd < 3 || options->ready_fd > 1023))
        return wherry__fail(EINVAL, "unit %s: ready_fd is %d, and 3 to 1023", name, options->ready_fd);
    if (process->group != WHERRY_PROCESS_GROUP_SAME || process->join_group || process->death_signal)
        return wherry__fail(EINVAL, "unit %s: the group and the death_signal of a unit are not the caller's to say",
                            name);
    if (options->channel &&
        (options->channel_role < WHERRY_SEND || options->channel_role > (WHERRY_SEND | WHERRY_RECEIVE)))
        return wherry__fail(EINVAL, "unit %s: channel_role is to say who sends", name);
    return 0;
}

int wherry__unit_copy(struct unit *unit, const char *name, const struct wherry_unit_options *given)
{
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    struct wherry_process_options process = WHERRY_PROCESS_OPTIONS;
    if (!is_name(name))
        return wherry__fail(EINVAL, "the name of a unit has 1 to %d letters, digits, and . _ - behind the first",
                            UNIT_NAME - 1);
    int result = wherry__options_read(&options, sizeof options, given, offsetof(struct wherry_unit_options, after),
                                      name, "WHERRY_UNIT_OPTIONS");
    if (result == 0)
        result = wherry__options_read(&process, sizeof process, options.process,
                                      offsetof(struct wherry_process_options, fds), name, "WHERRY_PROCESS_OPTIONS");
    if (result < 0)
        return result;
    fill_in(&options);
    if ((result = check(name, &options, &process)) < 0)
        return result;
    struct store store = {0};
    unit->options = options;
    unit->process_options = process;
    keep_all(&store, &unit->options, &unit->process_options); /* counts */
    unit->copies = malloc(store.size);
    if (!unit->copies)
        return wherry__fail(ENOMEM, "unit %s: no memory", name);
    store = (struct store){.at = unit->copies};
    unit->options = options;
    unit->process_options = process;
    keep_all(&store, &unit->options, &unit->process_options);
    unit->options.process = &unit->process_options;
    unit->options.after = NULL; /* unit->after, by now */
    strcpy(unit->name, name);
    return 0;
}

void wherry__unit_free(struct unit *unit)
{
    if (!unit)
        return;
    for (int i = 0; i < 2; i++)
        free(unit->streams[i].line);
    free(unit->after);
    free(unit->copies);
    free(unit);
}
