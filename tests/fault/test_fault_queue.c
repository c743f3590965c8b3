/* tests/fault/test_fault_queue.c - owns the proof that any system call and any allocation of the message queues may
 * fail.
 *
 * SPDX-License-Identifier: MIT
 *
 * One case a call, as in test_fault.c: a queue is made, filled, emptied, waited for, asked and removed, by
 * <wherry/queue.h> and by channels, over and over, with the first, the second ... call of it failing with each errno
 * that it may give.  Whatever fails says why, keeps its deadline and leaves no descriptor and no queue behind; no
 * message that was accepted is lost, and afterwards all works. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wherry/wherry.h>

#include "fault/attempt.h"
#include "fault/inject.h"
#include "harness.h"

static const int errnos[INJECT_CALLS][8] = {
    [INJECT_mq_open] = {EMFILE, ENFILE, ENOMEM, EACCES, ENOSPC, EINVAL, EEXIST},
    [INJECT_mq_getattr] = {EIO},
    [INJECT_mq_send] = {EAGAIN, ENOMEM},
    [INJECT_mq_receive] = {EAGAIN, EIO},
    [INJECT_mq_unlink] = {EACCES, ENOENT},
    [INJECT_msgget] = {ENOSPC, ENOMEM, EACCES, EEXIST},
    [INJECT_msgsnd] = {EAGAIN, EIDRM, ENOMEM, EACCES},
    [INJECT_msgrcv] = {ENOMSG, EIDRM, EACCES, E2BIG},
    [INJECT_msgctl] = {EPERM, EACCES, EIDRM, EINVAL},
    [INJECT_open] = {EMFILE, EACCES},
    [INJECT_read] = {EIO, EAGAIN},
    [INJECT_write] = {EAGAIN, EINTR},
    [INJECT_pread] = {EIO},
    [INJECT_fstat] = {EIO, ENOMEM},
    [INJECT_fchmod] = {EPERM, EIO},
    [INJECT_close] = {EINTR, EIO},
    [INJECT_ppoll] = {EINTR, ENOMEM},
    [INJECT_eventfd] = {EMFILE, ENFILE, ENOMEM},
    [INJECT_epoll_create1] = {EMFILE, ENOMEM},
    [INJECT_epoll_ctl] = {ENOMEM, ENOSPC},
    [INJECT_epoll_pwait2] = {EINTR, ENOSYS},
    [INJECT_malloc] = {ENOMEM},
    [INJECT_calloc] = {ENOMEM},
    [INJECT_strdup] = {ENOMEM},
    [INJECT_strndup] = {ENOMEM},
};

enum { MESSAGES = 3, LARGE = 8192 };

struct run {
    bool posix, channel;
    char name[160], url[160];
    unsigned accepted, received;
    struct attempt attempt;
};

static uint8_t data[LARGE], buffer[LARGE];

static size_t size_of(unsigned number)
{
    return number == 1 ? LARGE : 10 + number;
}

static void check(struct run *run, size_t size)
{
    unsigned number = run->received;
    if (size != size_of(number) || buffer[0] != 'a' + number || buffer[size - 1] != 'a' + number)
        attempt_problem(&run->attempt, "another message came", (long long)size);
    run->received++;
}

/* ---- by <wherry/queue.h> ---- */

static bool receive_all(struct run *run, struct wherry_queue *queue)
{
    for (int tries = 0; run->received < run->accepted && tries < 3;) {
        struct wherry_queue_message message;
        int result =
            (int)IN_LIBRARY(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, buffer, LARGE, &message, WHERRY_NOW));
        if (attempt_good(&run->attempt, "receiving", result))
            check(run, message.size);
        else if (result == -EIDRM || ++tries == 3)
            return false;
    }
    return true;
}

static void use_queue(struct run *run)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    struct wherry_queue_stat stat;
    struct wherry_queue_message message;
    options.create = true;
    if (run->posix)
        options.messages = MESSAGES;
    else
        options.bytes = 9000;
    for (int tries = 0; tries < 3 && !queue; tries++)
        attempt_good(&run->attempt, "opening", IN_LIBRARY(wherry_queue_open(run->name, &options, WHERRY_NOW, &queue)));
    if (!queue) {
        attempt_problem(&run->attempt, "it cannot be opened although nothing fails any more", 0);
        return;
    }
    for (unsigned number = 0; number < MESSAGES; number++) {
        memset(data, (int)('a' + number), LARGE);
        if (attempt_good(&run->attempt, "sending",
                         IN_LIBRARY(wherry_queue_send(queue, 0, data, size_of(number), WHERRY_NOW))))
            run->accepted = number + 1;
        else
            break;
    }
    attempt_good(&run->attempt, "asking", IN_LIBRARY(wherry_queue_stat(queue, &stat, sizeof stat)));
    if (run->accepted && !receive_all(run, queue) && !run->attempt.failed)
        attempt_problem(&run->attempt, "what was accepted does not come", run->received);
    wherry_time deadline = wherry_after(300 * WHERRY_MICROSECOND);
    int result = (int)IN_LIBRARY(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, buffer, LARGE, &message, deadline));
    if (result != -ETIMEDOUT && result != -EAGAIN)
        attempt_good(&run->attempt, "waiting", result);
    for (int i = 0; i < MESSAGES && result != -EIDRM; i++)
        IN_LIBRARY(
            wherry_queue_send(queue, 0, data, LARGE, wherry_after(300 * WHERRY_MICROSECOND))); /* until it is full */
    IN_LIBRARY((wherry_queue_close(queue), 0));
}

/* ---- by channels ---- */

static struct wherry_channel *open_end(struct run *run, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    for (int tries = 0; tries < 3 && !channel; tries++)
        attempt_good(&run->attempt, "opening",
                     IN_LIBRARY(wherry_channel_open(run->url, role, NULL, WHERRY_NOW, &channel)));
    if (!channel)
        attempt_problem(&run->attempt, "it cannot be opened although nothing fails any more", 0);
    return channel;
}

static void use_channel(struct run *run)
{
    struct wherry_channel *receiver = open_end(run, WHERRY_RECEIVE), *sender = open_end(run, WHERRY_SEND);
    for (unsigned number = 0; receiver && sender && number < MESSAGES; number++) {
        size_t size;
        memset(data, (int)('a' + number), LARGE);
        if (!attempt_good(&run->attempt, "sending",
                          IN_LIBRARY(wherry_channel_send(sender, data, size_of(number), WHERRY_NOW))))
            break;
        run->accepted = number + 1;
        int result = -EAGAIN;
        for (int tries = 0; tries < 3 && result < 0; tries++)
            attempt_good(&run->attempt, "receiving",
                         result = (int)IN_LIBRARY(wherry_channel_receive(receiver, buffer, LARGE, &size, WHERRY_NOW)));
        if (result == 1)
            check(run, size);
        else if (!run->attempt.failed && !(result == 0 && inject_fired()))
            attempt_problem(&run->attempt, "what was accepted does not come", result);
        else
            break;
    }
    if (receiver && sender) {
        size_t size;
        wherry_time deadline = wherry_after(300 * WHERRY_MICROSECOND);
        IN_LIBRARY(wherry_channel_receive(receiver, buffer, LARGE, &size, deadline));
        IN_LIBRARY((wherry_channel_interrupt(receiver), 0));
        IN_LIBRARY(wherry_channel_receive(receiver, buffer, LARGE, &size, deadline));
        IN_LIBRARY(wherry_channel_receive_fd(receiver));
        for (int i = 0; i < 12; i++)
            IN_LIBRARY(wherry_channel_send(sender, data, LARGE, wherry_after(300 * WHERRY_MICROSECOND)));
    }
    IN_LIBRARY(wherry_channel_close(sender, WHERRY_NOW));
    IN_LIBRARY(wherry_channel_close(receiver, WHERRY_NOW));
}

/* ---- both ---- */

static void use(struct run *run)
{
    run->accepted = run->received = 0;
    run->attempt.failed = false;
    run->channel ? use_channel(run) : use_queue(run);
    for (int tries = 0; tries < 3; tries++) {
        int result = (int)IN_LIBRARY(wherry_queue_remove(run->name));
        if (result == 0 || result == -ENOENT)
            return;
        attempt_good(&run->attempt, "removing", result);
    }
    attempt_problem(&run->attempt, "it cannot be removed", 0);
}

/* Returns whether the fault took place. */
static bool carry(struct run *run, enum inject_call call, unsigned nth, int code)
{
    size_t descriptors = test_descriptors();
    wherry_time began = wherry_now();
    inject_arm(call, nth, code);
    use(run);
    bool fired = inject_fired();
    inject_arm(call, 0, 0);
    wherry_queue_remove(run->name); /* ENOENT was injected */
    if (fired && run->attempt.failed && call == INJECT_ppoll && code == EINTR)
        attempt_problem(&run->attempt, "a signal was noticed", 0);
    attempt_over(&run->attempt, descriptors, began, 12 * WHERRY_SECOND);
    if (fired && !run->attempt.problem[0]) {
        use(run);
        if (run->attempt.failed)
            attempt_problem(&run->attempt, "it does not work afterwards", 0);
    }
    return fired;
}

static size_t call_count(void)
{
    return INJECT_CALLS;
}

static struct run run_of(unsigned kind)
{
    struct run run = {.posix = kind & 1, .channel = kind & 2};
    if (run.posix) {
        snprintf(run.name, sizeof run.name, "posix-mq:/%.100s", test_word());
        snprintf(run.url, sizeof run.url, "mq:///%.100s", test_word());
    } else {
        snprintf(run.name, sizeof run.name, "sysv-msg:0x%x", (unsigned)test_key(0));
        snprintf(run.url, sizeof run.url, "sysv:0x%x", (unsigned)test_key(0));
    }
    return run;
}

TEST_WITH(a_queues_call_may_fail, .count = call_count, .entry = inject_name, .seconds = 120)
{
    enum inject_call call = (enum inject_call)index;
    char report[3000] = "";
    size_t faults = 0, problems = 0;
    inject_init();
    for (unsigned kind = 0; kind < 4; kind++)
        for (const int *code = errnos[call]; *code; code++)
            for (unsigned nth = 1; nth < 100; nth++) {
                struct run run = run_of(kind);
                bool fired = carry(&run, call, nth, *code);
                if (run.attempt.problem[0]) {
                    size_t filled = strlen(report);
                    problems++;
                    snprintf(report + filled, sizeof report - filled, "\n%s%s: call %u with %s: %.200s",
                             run.posix ? "posix" : "sysv", run.channel ? " channel" : "", nth, strerrorname_np(*code),
                             run.attempt.problem);
                }
                faults += fired;
                if (!fired)
                    break;
            }
    for (unsigned kind = 0; kind < 4 && !errnos[call][0]; kind++) {
        struct run run = run_of(kind);
        carry(&run, call, 0, 0);
        ck_assert_msg(!inject_called(call), "%s calls it, and nothing makes it fail", run.name);
    }
    ck_assert_msg(problems == 0, "%zu problems in %zu faults:%s", problems, faults, report);
    printf("# %s: %zu faults, 0 problems\n", inject_name(index), faults);
    fflush(stdout);
}
