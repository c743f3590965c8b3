/* pipe_start.c - owns how the processes of a pipeline come to be, and the pipes between them.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/signal.h>

#include "pipe_keeper.h"
#include "signals.h"

/* ---- pipes ---- */

static int cannot(const char *what)
{
    return complain(TOOL_CANNOT, "pipe: %s: %s", what, strerror(errno));
}

static int make_pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) == 0 ? TOOL_OK : cannot("no pipe");
}

static void close_end(int *fd)
{
    if (*fd > STDERR_FILENO)
        close(*fd);
    *fd = -1;
}

static void close_pipes(struct keeper *keeper)
{
    for (size_t i = 0; i < 2 * keeper->job->count; i++)
        for (int end = 0; end < 2; end++)
            close_end(&keeper->pipes[i][end]);
}

/* Between two commands: one pipe, or one on each side of the link. */
int keeper_make_pipes(struct keeper *keeper)
{
    int code = TOOL_OK;
    for (size_t i = 0; i + 1 < keeper->job->count && code == TOOL_OK; i++) {
        code = make_pipe(keeper->pipes[2 * i]);
        if (code == TOOL_OK && keeper->job->links[i].word)
            code = make_pipe(keeper->pipes[2 * i + 1]);
    }
    return code;
}

static int *input_of(struct keeper *keeper, size_t command)
{
    static int standard = STDIN_FILENO;
    if (command == 0)
        return &standard;
    return &keeper->pipes[2 * (command - 1) + (keeper->job->links[command - 1].word ? 1 : 0)][0];
}

static int *output_of(struct keeper *keeper, size_t command)
{
    static int standard = STDOUT_FILENO;
    return command + 1 == keeper->job->count ? &standard : &keeper->pipes[2 * command][1];
}

void pipe_let_go(struct pipe_job *job)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    for (size_t i = 0; i < job->fd_count; i++)
        close(job->fds[i]);
    job->fd_count = 0;
}

/* ---- the halves ---- */

static void put_signals_back(struct keeper *keeper)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    if (keeper->job->pipe_kills)
        sigaction(SIGPIPE, &normal, NULL);
    wherry_signals_close(keeper->signals);
    sigprocmask(SIG_SETMASK, &keeper->job->mask, NULL); /* the front blocked them, too */
}

/* In the child. */
static _Noreturn void become_half(struct keeper *keeper, enum role role, size_t link, struct pipe_half *half,
                                  pid_t parent)
{
    static struct options quiet;
    int input = role == SENDER ? keeper->pipes[2 * link][0] : -1;
    int output = role == RECEIVER ? keeper->pipes[2 * link + 1][1] : -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        raise(SIGKILL);
    prctl(PR_SET_NAME, role == SENDER ? "wherry-pipe-out" : "wherry-pipe-in");
    pipe_let_go(keeper->job);
    if ((input >= 0 && dup2(input, STDIN_FILENO) < 0) || (output >= 0 && dup2(output, STDOUT_FILENO) < 0))
        _exit(cannot("a descriptor"));
    close_pipes(keeper);
    close_end(&keeper->front);
    close_end(&keeper->ready[0]);
    put_signals_back(keeper);
    quiet = (struct options){.verb = keeper->job->options.verb, .timeout = WHERRY_FOREVER, .quiet = true};
    half->options = &quiet;
    half->ready = keeper->ready[1];
    int code = signals_install();
    if (code == TOOL_OK)
        code = role == SENDER ? pipe_send_half(half) : pipe_receive_half(half);
    _exit(code);
}

static int take_in(struct keeper *keeper, enum role role, size_t index, struct wherry_process *process)
{
    keeper->members[keeper->count++] = (struct member){.role = role, .index = index, .process = process};
    keeper->running++;
    return TOOL_OK;
}

/* `leash` and `pair` are what this half has, `other` what the other one has. */
static int start_half(struct keeper *keeper, enum role role, size_t link, const int leash[2],
                      struct wherry_channel *const pair[2])
{
    struct wherry_process *process;
    int own = role == SENDER ? 0 : 1;
    struct pipe_half half = {.link = &keeper->job->links[link], .leash = leash[own], .pair = pair[own]};
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        return cannot("no process for a link");
    if (child == 0) {
        close(leash[!own]);
        wherry_channel_close(pair[!own], WHERRY_NOW);
        become_half(keeper, role, link, &half, parent);
    }
    if (wherry_process_open(child, 0, &process) < 0) {
        complain(0, "pipe: %s", wherry_why());
        kill(child, SIGKILL);
        return TOOL_CANNOT;
    }
    return take_in(keeper, role, link, process);
}

static int open_pair(const struct pipe_link *link, struct wherry_channel *pair[2])
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *ends[2];
    char url[64];
    if (link->url[0])
        return TOOL_OK;
    options.inheritable = options.single_thread = true;
    options.writers = 1;
    snprintf(url, sizeof url, "%s:", link->traits->scheme);
    if (wherry_channel_pair(url, &options, ends) < 0)
        return complain(TOOL_CANNOT, "%s: %s", link->word, wherry_why());
    pair[1] = ends[0]; /* which receives; of a socketpair it is all the same */
    pair[0] = ends[1];
    return TOOL_OK;
}

static int start_link(struct keeper *keeper, size_t link)
{
    int leash[2];
    struct wherry_channel *pair[2] = {NULL, NULL};
    if (!keeper->job->links[link].word)
        return TOOL_OK;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, leash) < 0)
        return cannot("no socket between two halves");
    int code = open_pair(&keeper->job->links[link], pair);
    if (code == TOOL_OK)
        code = start_half(keeper, RECEIVER, link, leash, pair);
    if (code == TOOL_OK)
        code = start_half(keeper, SENDER, link, leash, pair);
    for (int i = 0; i < 2; i++) {
        close(leash[i]);
        wherry_channel_close(pair[i], WHERRY_NOW);
    }
    return code;
}

int keeper_start_halves(struct keeper *keeper)
{
    int code = make_pipe(keeper->ready);
    for (size_t i = 0; i + 1 < keeper->job->count && code == TOOL_OK; i++)
        code = start_link(keeper, i);
    close_end(&keeper->ready[1]);
    for (size_t i = 0; i + 1 < keeper->job->count; i++)
        if (keeper->job->links[i].word) {
            close_end(&keeper->pipes[2 * i][0]);
            close_end(&keeper->pipes[2 * i + 1][1]);
        }
    keeper->not_ready = keeper->count;
    return code;
}

/* ---- the commands ---- */

static int start_command(struct keeper *keeper, size_t index)
{
    const struct pipe_job *job = keeper->job;
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const char *arguments[] = {"sh", "-c", "--", job->commands[index], NULL};
    struct wherry_process *process;
    struct wherry_process_fd *fds = calloc(job->fd_count + 2, sizeof *fds);
    if (!fds)
        return complain(TOOL_CANNOT, "pipe: no memory");
    fds[0] = (struct wherry_process_fd){STDIN_FILENO, *input_of(keeper, index)};
    fds[1] = (struct wherry_process_fd){STDOUT_FILENO, *output_of(keeper, index)};
    for (size_t i = 0; i < job->fd_count; i++)
        fds[i + 2] = (struct wherry_process_fd){job->fds[i], job->fds[i]};
    options.fds = fds;
    options.fd_count = job->fd_count + 2;
    options.death_signal = SIGKILL;
    options.ignored = job->ignored;
    options.ignored_count = job->ignored_count;
    options.blocked = job->blocked;
    options.blocked_count = job->blocked_count;
    int result = wherry_process_spawn("/bin/sh", arguments, &options, &process);
    free(fds);
    if (result < 0) {
        int code = result == -ENOENT ? TOOL_NOT_FOUND : result == -EACCES ? TOOL_NOT_RUN : TOOL_CANNOT;
        return complain(code, "pipe: %s: %s", job->commands[index], wherry_why());
    }
    if (index > 0)
        close_end(input_of(keeper, index));
    if (index + 1 < job->count)
        close_end(output_of(keeper, index));
    return take_in(keeper, COMMAND, index, process);
}

int keeper_start_commands(struct keeper *keeper)
{
    int code = TOOL_OK;
    for (size_t i = 0; i < keeper->job->count && code == TOOL_OK; i++)
        code = start_command(keeper, i);
    keeper->started = code == TOOL_OK;
    close_pipes(keeper);
    pipe_let_go(keeper->job);
    return code;
}
