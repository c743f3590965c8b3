/* process/pipeline.c - owns programs that are connected by pipes: started together or not at all, ended together.
 *
 * SPDX-License-Identifier: MIT
 *
 * A pipe is made when its writer is about to start, and the caller's ends are closed as soon as its reader has; so
 * whoever ends in the middle is seen by its neighbours.  All are in one process group, led by the first, so that
 * what they start is signalled with them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "process/process.h"

struct wherry_pipeline {
    uint64_t born;
    size_t count; /* of those that were started */
    bool own_group;
    int epoll;            /* the pidfds of those that nobody has seen end */
    pthread_mutex_t lock; /* around `members` */
    struct member {
        struct wherry_process *process;
        struct wherry_exit exit;
        bool leads; /* a process group: the first, and one that came when the group before it was gone */
        bool ended;
    } members[];
};

/* ---- signals ---- */

static int signal_each(struct wherry_pipeline *pipeline, int signal)
{
    int result = 0;
    for (size_t i = 0; i < pipeline->count; i++) {
        int sent = wherry__process_send(pipeline->members[i].process, signal);
        if (sent < 0 && sent != -ESRCH)
            result = sent;
    }
    return result;
}

/* To all, and to those that they started, as far as they stayed in the group.  Without a sentence. */
static int signal_all(struct wherry_pipeline *pipeline, int signal)
{
    int result = 0;
    bool reached = pipeline->own_group;
    for (size_t i = 0; i < pipeline->count; i++) {
        if (!pipeline->members[i].leads)
            continue;
        int sent = wherry__process_send_group(pipeline->members[i].process, signal);
        reached = reached && sent == 0;
        if (sent < 0 && sent != -ESRCH)
            result = sent;
    }
    return reached ? result : signal_each(pipeline, signal); /* the leader may be gone, and the kernel an older one */
}

/* ---- starting ---- */

/* What a command starts with: its own options, and those that are the pipeline's to say. */
struct start {
    struct wherry_process_options options;
    struct wherry_process_fd *fds;
};

static const struct wherry_process_fd *named(const struct wherry_process_options *options, int child)
{
    for (size_t i = 0; i < options->fd_count; i++)
        if (options->fds[i].child == child)
            return &options->fds[i];
    return NULL;
}

/* Descriptor `child` is `own`; `piped`: it cannot be anything else. */
static int set_fd(struct start *start, const char *name, int child, int own, bool piped)
{
    if (named(&start->options, child))
        return piped ? wherry__fail(EINVAL, "%s: its descriptor %d is the pipe's, and cannot be another", name, child)
                     : 0;
    start->fds[start->options.fd_count++] = (struct wherry_process_fd){.child = child, .own = own};
    return 0;
}

static int read_command(struct start *start, const struct wherry_command *command, size_t index)
{
    start->options = (struct wherry_process_options)WHERRY_PROCESS_OPTIONS;
    if (!command->program)
        return wherry__fail(EINVAL, "command %zu of the pipeline has no program: it is NULL", index);
    int result = wherry__options_read(&start->options, sizeof start->options, command->options, sizeof start->options,
                                      command->program, "WHERRY_PROCESS_OPTIONS");
    if (result < 0)
        return result;
    if (start->options.group != WHERRY_PROCESS_GROUP_SAME || start->options.join_group)
        return wherry__fail(EINVAL, "%s: the process group is the pipeline's to choose", command->program);
    if (start->options.fd_count > 1u << 16 || (start->options.fd_count && !start->options.fds))
        return wherry__fail(EINVAL, "%s: a list of %zu descriptors is NULL, or cannot be that long", command->program,
                            start->options.fd_count);
    start->fds = malloc((start->options.fd_count + 3) * sizeof *start->fds);
    if (!start->fds)
        return wherry__fail(ENOMEM, "%s: no memory to start it", command->program);
    if (start->options.fd_count)
        memcpy(start->fds, start->options.fds, start->options.fd_count * sizeof *start->fds);
    start->options.fds = start->fds;
    return 0;
}

static int make_pipe(int ends[2], const char *name)
{
    wherry__fd_guard();
    int result = wherry__sys.pipe2(ends, O_CLOEXEC), code = errno;
    for (int i = 0; i < 2; i++)
        ends[i] = result < 0 ? -1 : wherry__fd_note(ends[i]);
    wherry__fd_unguard();
    return result < 0 ? wherry__fail_errno(code, "%s: no pipe for its output", name) : 0;
}

/* The group that the pipeline is in: that of the last who leads one. */
static pid_t group_of(const struct wherry_pipeline *pipeline)
{
    for (size_t i = pipeline->count; i > 0; i--)
        if (pipeline->members[i - 1].leads)
            return wherry_process_pid(pipeline->members[i - 1].process);
    return 0;
}

static int start_in_group(struct wherry_pipeline *pipeline, const struct wherry_command *command, struct start *start,
                          struct member *member)
{
    struct wherry__spawn_plan *plan;
    struct wherry__spawn_failure failure = {0};
    start->options.join_group = pipeline->own_group ? group_of(pipeline) : 0;
    if (pipeline->own_group && start->options.join_group == 0)
        start->options.group = WHERRY_PROCESS_GROUP_NEW;
    member->leads = start->options.group == WHERRY_PROCESS_GROUP_NEW;
    int result = wherry__spawn_plan_make(command->program, command->arguments, &start->options, &plan);
    if (result < 0)
        return result;
    result = wherry__process_start_child(plan, &failure, &member->process);
    wherry__spawn_plan_free(plan);
    if (result == 0 || failure.step != WHERRY__SPAWN_GROUP || start->options.join_group == 0)
        return result;
    /* the leader has ended, and somebody has reaped it: SIGCHLD is ignored, or another wait took it; the rest is a
     * group */
    start->options.join_group = 0;
    start->options.group = WHERRY_PROCESS_GROUP_NEW;
    member->leads = true;
    result = wherry__spawn_plan_make(command->program, command->arguments, &start->options, &plan);
    if (result < 0)
        return result;
    result = wherry__process_start_child(plan, &failure, &member->process);
    wherry__spawn_plan_free(plan);
    return result;
}

static int watch(struct wherry_pipeline *pipeline, size_t index, const char *name)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
    int pidfd = wherry_process_fd(pipeline->members[index].process);
    if (wherry__sys.epoll_ctl(pipeline->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0)
        return wherry__fail_errno(errno, "%s: its end cannot be waited for", name);
    return 0;
}

/* `*input` is where this one reads, and becomes where the next one does; noted, and closed here, when it is a
 * pipe's. */
static int start_one(struct wherry_pipeline *pipeline, const struct wherry_command *commands, size_t count,
                     const struct wherry_pipeline_options *options, int *input)
{
    size_t index = pipeline->count;
    const struct wherry_command *command = &commands[index];
    struct member *member = &pipeline->members[index];
    struct start start = {.fds = NULL};
    bool first = index == 0, last = index + 1 == count;
    int ends[2] = {-1, -1};
    int result = read_command(&start, command, index);
    if (result == 0 && !last)
        result = make_pipe(ends, command->program);
    if (result == 0)
        result = set_fd(&start, command->program, 0, first ? options->input : *input, !first);
    if (result == 0)
        result = set_fd(&start, command->program, 1, last ? options->output : ends[1], !last);
    if (result == 0)
        result = set_fd(&start, command->program, 2, options->error, false);
    if (start.options.death_signal == 0)
        start.options.death_signal = options->death_signal;
    if (result == 0)
        result = start_in_group(pipeline, command, &start, member);
    if (result == 0) {
        pipeline->count++;
        result = watch(pipeline, index, command->program);
    }
    free(start.fds);
    if (!first)
        wherry__fd_close(input);
    wherry__fd_close(&ends[1]);
    *input = ends[0];
    return result;
}

static int read_options(struct wherry_pipeline_options *options, const struct wherry_pipeline_options *given,
                        const struct wherry_command *commands, size_t count)
{
    const char *name = "a pipeline";
    int result =
        wherry__options_read(options, sizeof *options, given, sizeof *options, name, "WHERRY_PIPELINE_OPTIONS");
    if (result < 0)
        return result;
    if (!commands || count == 0 || count > 1u << 16)
        return wherry__fail(EINVAL, "a pipeline of %zu programs", count);
    if (options->input < WHERRY_PROCESS_CLOSED || options->output < WHERRY_PROCESS_CLOSED ||
        options->error < WHERRY_PROCESS_CLOSED)
        return wherry__fail(EINVAL, "a pipeline: its input, output and error are descriptors, or -1 for /dev/null");
    options->output = options->output ? options->output : 1;
    options->error = options->error ? options->error : 2;
    return 0;
}

static int open_epoll(struct wherry_pipeline *pipeline)
{
    wherry__fd_guard();
    pipeline->epoll = wherry__fd_note(wherry__sys.epoll_create1(EPOLL_CLOEXEC));
    int code = errno;
    wherry__fd_unguard();
    return pipeline->epoll < 0 ? wherry__fail_errno(code, "a pipeline: no descriptor to wait on") : 0;
}

/* After a failure: nothing of it is left. */
static void undo(struct wherry_pipeline *pipeline)
{
    (void)signal_all(pipeline, SIGKILL);
    for (size_t i = 0; i < pipeline->count; i++) {
        struct wherry_process *process = pipeline->members[i].process;
        while (wherry__process_reap(process, NULL) == -EAGAIN && wherry__process_sleep(process, WHERRY_FOREVER) == 0)
            ;
    }
    wherry_pipeline_close(pipeline);
}

int wherry_pipeline_start(const struct wherry_command *commands, size_t count,
                          const struct wherry_pipeline_options *given, struct wherry_pipeline **ret_pipeline)
{
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    int result = wherry__process_start();
    if (result == 0)
        result = read_options(&options, given, commands, count);
    if (result < 0)
        return result;
    struct wherry_pipeline *pipeline = calloc(1, sizeof *pipeline + count * sizeof pipeline->members[0]);
    if (!pipeline)
        return wherry__fail(ENOMEM, "a pipeline: no memory");
    pipeline->born = wherry__generation();
    pipeline->own_group = !options.same_group;
    pthread_mutex_init(&pipeline->lock, NULL);
    int input = -1;
    result = open_epoll(pipeline);
    while (result == 0 && pipeline->count < count)
        result = start_one(pipeline, commands, count, &options, &input);
    wherry__fd_close(&input);
    if (result < 0)
        undo(pipeline);
    else
        *ret_pipeline = pipeline;
    return result;
}

void wherry_pipeline_close(struct wherry_pipeline *pipeline)
{
    if (!pipeline)
        return;
    wherry__fd_close_from(pipeline->born, false, &pipeline->epoll);
    for (size_t i = 0; i < pipeline->count; i++)
        wherry_process_close(pipeline->members[i].process);
    pthread_mutex_destroy(&pipeline->lock);
    free(pipeline);
}

/* ---- waiting ---- */

/* Under the lock: whether all have ended; 0, -EAGAIN, or -errno. */
static int collect(struct wherry_pipeline *pipeline)
{
    bool all = true;
    for (size_t i = 0; i < pipeline->count; i++) {
        struct member *member = &pipeline->members[i];
        if (member->ended)
            continue;
        int result = wherry__process_reap(member->process, &member->exit);
        if (result < 0 && result != -EAGAIN && result != -ECHILD)
            return wherry__fail_errno(-result, "pid %d: it cannot be waited for", (int)member->process->pid);
        if (result == -ECHILD)
            member->exit = (struct wherry_exit){.kind = WHERRY_EXIT_UNKNOWN};
        member->ended = result != -EAGAIN;
        if (member->ended)
            wherry__sys.epoll_ctl(pipeline->epoll, EPOLL_CTL_DEL, member->process->pidfd, NULL);
        all = all && member->ended;
    }
    return all ? 0 : -EAGAIN;
}

/* One that has not been seen to end, to sleep on; NULL. */
static struct wherry_process *look(struct wherry_pipeline *pipeline, struct wherry_exit *ret_exits, int *ret_result)
{
    struct wherry_process *running = NULL;
    pthread_mutex_lock(&pipeline->lock);
    int result = *ret_result = collect(pipeline);
    for (size_t i = 0; i < pipeline->count; i++) {
        if (result == 0 && ret_exits)
            ret_exits[i] = pipeline->members[i].exit;
        if (!running && !pipeline->members[i].ended)
            running = pipeline->members[i].process;
    }
    pthread_mutex_unlock(&pipeline->lock);
    return running;
}

int wherry_pipeline_wait(struct wherry_pipeline *pipeline, wherry_time deadline, struct wherry_exit *ret_exits)
{
    int result = wherry__process_mine(pipeline->born);
    while (result == 0) {
        struct wherry_process *running = look(pipeline, ret_exits, &result);
        if (result != -EAGAIN)
            return result;
        if (wherry__deadline_passed(deadline))
            return wherry__process_runs(running, deadline);
        result = wherry__process_sleep(running, deadline);
    }
    return result;
}

static int why_not_stopped(struct wherry_pipeline *pipeline, int code, int signal)
{
    return wherry__fail_errno(code, "a pipeline: signal %d cannot be sent to the group of pid %d", signal,
                              (int)wherry_process_pid(pipeline->members[0].process));
}

int wherry_pipeline_stop(struct wherry_pipeline *pipeline, int signal, wherry_time deadline)
{
    int result = wherry__process_mine(pipeline->born);
    if (result < 0)
        return result;
    if (signal < 1 || signal > SIGRTMAX)
        return wherry__fail(EINVAL, "a pipeline: there is no signal %d", signal);
    result = signal_all(pipeline, signal);
    if (result == 0)
        result = signal_all(pipeline, SIGCONT); /* what is stopped does not hear */
    if (result < 0)
        return why_not_stopped(pipeline, -result, signal);
    result = wherry_pipeline_wait(pipeline, deadline, NULL);
    if (result < 0 && result != -ETIMEDOUT && result != -EAGAIN)
        return result;
    bool left = result < 0;
    result = signal_all(pipeline, SIGKILL); /* and to what they started, though they themselves have ended */
    if (!left)
        return 0;
    return result < 0 ? why_not_stopped(pipeline, -result, SIGKILL)
                      : wherry_pipeline_wait(pipeline, WHERRY_FOREVER, NULL);
}

/* ---- what it is ---- */

struct wherry_process *wherry_pipeline_process(const struct wherry_pipeline *pipeline, size_t index)
{
    return index < pipeline->count ? pipeline->members[index].process : NULL;
}

int wherry_pipeline_fd(const struct wherry_pipeline *pipeline)
{
    return pipeline->epoll;
}
