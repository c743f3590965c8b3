/* supervise/child.c - owns what a child gets beside its options: descriptors, variables, and a channel to its parent.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/url.h"
#include "base/why.h"
#include "supervise/child.h"
#include "supervise/supervisor.h"

static int no_memory(void)
{
    return wherry__fail(ENOMEM, "no memory to start a process");
}

int wherry__child_init(struct wherry__child *child, const struct wherry_process_options *options)
{
    *child = (struct wherry__child){.options = WHERRY_PROCESS_OPTIONS};
    if (options)
        child->options = *options;
    size_t count = child->options.fd_count;
    child->fds = calloc(count + WHERRY__CHILD_FDS, sizeof *child->fds);
    if (!child->fds)
        return no_memory();
    if (count > 0)
        memcpy(child->fds, child->options.fds, count * sizeof *child->fds);
    child->fd_count = count;
    return 0;
}

/* A number that the options name, too, is this one's. */
static void map(struct wherry__child *child, int number, int fd)
{
    size_t i = 0;
    while (i < child->fd_count && child->fds[i].child != number)
        i++;
    child->fds[i] = (struct wherry_process_fd){.child = number, .own = fd};
    child->fd_count += i == child->fd_count;
}

void wherry__child_give(struct wherry__child *child, int number, int fd)
{
    map(child, number, fd);
    child->given[child->given_count++] = fd;
}

int wherry__child_number(const struct wherry__child *child)
{
    int number = 3;
    for (size_t i = 0; i < child->fd_count; i++)
        if (child->fds[i].child == number) {
            number++;
            i = SIZE_MAX; /* from the beginning */
        }
    return number;
}

int wherry__child_set(struct wherry__child *child, const char *name, const char *value)
{
    char **at = &child->variables[child->variable_count];
    if (asprintf(at, "%s=%s", name, value) < 0) {
        *at = NULL;
        return no_memory();
    }
    child->variable_count++;
    return 0;
}

/* "fd:7?frame=line": the 7 is ours, and another number there. */
static int hand_over(struct wherry__child *child, struct wherry_channel *peer)
{
    char url[128], renamed[128];
    char *rest;
    int result = wherry_channel_export(peer, url, sizeof url);
    if (result < 0)
        return result;
    int own = (int)strtol(url + strlen("fd:"), &rest, 10), number = wherry__child_number(child);
    map(child, number, own);
    snprintf(renamed, sizeof renamed, "fd:%d%s", number, rest);
    return wherry__child_set(child, "WHERRY_URL", renamed);
}

int wherry__child_connect(struct wherry__child *child, const char *url, enum wherry_role role,
                          const struct wherry_channel_options *options, struct wherry_channel **ret_channel)
{
    struct wherry_channel *pair[2];
    bool is_pipe = strncmp(url, "pipe:", 5) == 0;
    int result;
    if (!is_pipe && strncmp(url, "socketpair:", 11) != 0) {
        struct wherry_channel *own = NULL;
        const char *name;
        if ((result = wherry_channel_open(url, role, options, WHERRY_NOW, &own)) < 0)
            return result;
        name = wherry_channel_url(own); /* with the port that it got */
        if ((result = wherry__child_set(child, "WHERRY_URL", name)) < 0)
            wherry_channel_close(own, WHERRY_NOW);
        else
            *ret_channel = own;
        return result;
    }
    if (is_pipe && role == (WHERRY_SEND | WHERRY_RECEIVE))
        return wherry__fail(EOPNOTSUPP, "%s: a pipe goes one way: say who sends, or take socketpair:", url);
    if ((result = wherry_channel_pair(url, options, pair)) < 0)
        return result;
    bool first = is_pipe ? role == WHERRY_RECEIVE : true; /* pipe: [0] receives */
    child->peer = pair[first];
    if ((result = hand_over(child, child->peer)) < 0)
        wherry_channel_close(pair[!first], WHERRY_NOW);
    else
        *ret_channel = pair[!first];
    return result;
}

/* ---- the environment ---- */

static bool is_set_here(const struct wherry__child *child, const char *variable)
{
    for (size_t i = 0; i < child->variable_count; i++) {
        size_t size = (size_t)(strchr(child->variables[i], '=') - child->variables[i]) + 1;
        if (strncmp(child->variables[i], variable, size) == 0)
            return true;
    }
    return false;
}

static int make_environment(struct wherry__child *child)
{
    const char *const *given = child->options.environment;
    if (!given)
        given = (const char *const *)environ;
    size_t count = 0, kept = 0;
    while (given && given[count])
        count++;
    child->environment = calloc(count + WHERRY__CHILD_VARIABLES + 1, sizeof *child->environment);
    if (!child->environment)
        return no_memory();
    for (size_t i = 0; i < count; i++)
        if (!is_set_here(child, given[i]))
            child->environment[kept++] = given[i];
    for (size_t i = 0; i < child->variable_count; i++)
        child->environment[kept++] = child->variables[i];
    child->options.environment = child->environment;
    return 0;
}

int wherry__child_spawn(struct wherry__child *child, const char *program, const char *const *arguments,
                        struct wherry_process **ret_process)
{
    int result = child->variable_count > 0 ? make_environment(child) : 0;
    if (result < 0)
        return result;
    child->options.fds = child->fds;
    child->options.fd_count = child->fd_count;
    return wherry_process_spawn(program, arguments, &child->options, ret_process);
}

void wherry__child_fini(struct wherry__child *child)
{
    for (size_t i = 0; i < child->given_count; i++)
        wherry__fd_close(&child->given[i]);
    for (size_t i = 0; i < child->variable_count; i++)
        free(child->variables[i]);
    free(child->environment);
    free(child->fds);
    wherry_channel_close(child->peer, WHERRY_NOW);
    *child = (struct wherry__child){0};
}

int wherry_process_connect(const char *program, const char *const *arguments,
                           const struct wherry_process_options *process_options, const char *url,
                           enum wherry_role role, const struct wherry_channel_options *channel_options,
                           struct wherry_process **ret_process, struct wherry_channel **ret_channel)
{
    struct wherry__child child;
    struct wherry_channel *channel = NULL;
    struct wherry_process *process = NULL;
    int result = wherry__child_init(&child, process_options);
    if (result == 0)
        result = wherry__child_connect(&child, url, role, channel_options, &channel);
    if (result == 0)
        result = wherry__child_spawn(&child, program, arguments, &process);
    wherry__child_fini(&child);
    if (result < 0) {
        wherry_channel_close(channel, WHERRY_NOW);
        return result;
    }
    *ret_process = process;
    *ret_channel = channel;
    return 0;
}
