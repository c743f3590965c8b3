/* targets.c - owns the processes that a command line names.
 *
 * SPDX-License-Identifier: MIT */
#include "targets.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "signals.h"

/* ---- reading ---- */

static const char *read_target(const char *text, struct target *target)
{
    static const char no_pid[] = "is no process: write PID, or PID:INODE as kill --print shows it";
    char number[16] = "", *end;
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    int64_t pid;
    if (length >= sizeof number)
        return no_pid;
    memcpy(number, text, length);
    if (parse_number(number, INT_MIN, INT_MAX, &pid) != NULL)
        return no_pid;
    target->pid = (pid_t)pid;
    if (!colon)
        return NULL;
    errno = 0;
    target->inode = strtoull(colon + 1, &end, 10);
    /* strtoull takes blanks and signs */
    bool fine = strspn(colon + 1, "0123456789") == strlen(colon + 1) && colon[1] && !errno && target->inode > 0;
    return fine ? NULL : "has no inode behind its colon, which is a positive number";
}

/* What kill(2) takes for more than one process is never meant by accident. */
static const char *refuse(const struct target *target, bool group, bool init)
{
    if (target->pid < 0)
        return group ? "is no process group: write its number without the minus sign"
                     : "is no process: --group sends to a process group";
    if (target->pid == 0)
        return "is no number of a process: kill(2) would send to all of one's own process group";
    if (target->pid == 1 && !init)
        return "is init's, on which all depends: --init says that it is meant";
    return NULL;
}

int targets_read(struct targets *targets, struct options *options, char **operands, size_t count, bool group, bool init)
{
    *targets = (struct targets){.list = calloc(count ? count : 1, sizeof(struct target)), .count = count, .poll = -1};
    if (!targets->list) {
        options->code = complain(TOOL_FAILED, "no memory");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const char *wrong = read_target(operands[i], &targets->list[i]);
        if (!wrong)
            wrong = refuse(&targets->list[i], group, init);
        if (wrong) {
            options->code = misuse(options->verb, "%s %s", operands[i], wrong);
            return -1;
        }
    }
    return 0;
}

/* ---- one process ---- */

bool target_has_ended(const struct target *target)
{
    struct pollfd fd = {.fd = wherry_process_fd(target->process), .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

/* The name that its number leads to, if the number was still its own afterwards. */
static void read_command(struct target *target)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)target->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, target->command, sizeof target->command - 1);
    if (fd >= 0)
        close(fd);
    target->command[got > 0 && !target_has_ended(target) ? strcspn(target->command, "\n") : 0] = '\0';
}

int target_open(struct target *target)
{
    int result = wherry_process_open(target->pid, target->inode, &target->process);
    if (result == 0)
        read_command(target);
    return result;
}

const char *target_name(const struct target *target)
{
    static char name[64];
    if (target->command[0])
        snprintf(name, sizeof name, "pid %d (%s)", (int)target->pid, target->command);
    else
        snprintf(name, sizeof name, "pid %d", (int)target->pid);
    return name;
}

void target_close(struct target *target)
{
    wherry_process_close(target->process);
    target->process = NULL;
}

/* ---- waiting ---- */

int targets_watch(struct targets *targets)
{
    targets->poll = epoll_create1(EPOLL_CLOEXEC);
    if (targets->poll < 0)
        return complain(TOOL_FAILED, "no descriptor to wait by: %s", strerror(errno));
    for (size_t i = 0; i < targets->count; i++) {
        struct target *target = &targets->list[i];
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        if (!target->process)
            continue;
        if (epoll_ctl(targets->poll, EPOLL_CTL_ADD, wherry_process_fd(target->process), &event) < 0)
            return complain(TOOL_FAILED, "%s: it cannot be waited for: %s", target_name(target), strerror(errno));
        targets->running++;
    }
    return 0;
}

/* One that has ended hangs up once it is waited for, since Linux 6.9, and then there is nothing more to know. */
static void take_event(struct targets *targets, const struct epoll_event *event)
{
    struct target *target = &targets->list[event->data.u64];
    struct epoll_event later = {.events = 0, .data = event->data};
    int fd = wherry_process_fd(target->process);
    epoll_ctl(targets->poll, event->events & EPOLLHUP ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &later);
    target->gone = event->events & EPOLLHUP;
    if (target->ended)
        return;
    target->ended = true;
    target->ended_at = wherry_now();
    targets->running--;
}

int targets_wait(struct targets *targets, wherry_time deadline)
{
    struct epoll_event events[64];
    int count, result = signals_wait(targets->poll, deadline);
    if (result < 0)
        return result;
    while ((count = epoll_wait(targets->poll, events, 64, 0)) > 0)
        for (int i = 0; i < count; i++)
            take_event(targets, &events[i]);
    return 0;
}

void targets_fini(struct targets *targets)
{
    for (size_t i = 0; targets->list && i < targets->count; i++)
        target_close(&targets->list[i]);
    free(targets->list);
    if (targets->list && targets->poll >= 0)
        close(targets->poll);
    *targets = (struct targets){.poll = -1};
}
