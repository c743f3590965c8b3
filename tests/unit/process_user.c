/* tests/unit/process_user.c - a program that uses processes and pipelines in every way, to be looked at by valgrind.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wherry/wherry.h>

#define check(condition_)                                                                                              \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition_, wherry_why());                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static wherry_time soon(void)
{
    return wherry_after(60 * WHERRY_SECOND);
}

static void use_children(void)
{
    const char *const arguments[] = {"sh", "-c", "exit 3", NULL}, *const sleep[] = {"sleep", "1000", NULL};
    const struct wherry_process_fd fds[] = {{1, 2}, {2, 1}, {9, 0}, {20, WHERRY_PROCESS_NULL}};
    const int ignored[] = {SIGHUP};
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process *process;
    struct wherry_exit how;
    char text[64];
    options.fds = fds;
    options.fd_count = 4;
    options.ignored = ignored;
    options.ignored_count = 1;
    options.group = WHERRY_PROCESS_GROUP_NEW;
    options.death_signal = SIGKILL;
    options.directory = "/";
    check(wherry_process_spawn("sh", arguments, &options, &process) == 0);
    check(wherry_process_wait(process, soon(), &how) == 0);
    check(wherry_exit_status(&how) == 3 && wherry_exit_text(&how, text, sizeof text) == text);
    check(wherry_process_kill(process, SIGKILL) == -ESRCH);
    wherry_process_close(process);
    check(wherry_process_spawn("/nonesuch", NULL, &options, &process) == -ENOENT);
    check(wherry_process_spawn("wherry-nonesuch", NULL, &options, &process) == -ENOENT);
    options.directory = "/nonesuch";
    check(wherry_process_spawn("sh", arguments, &options, &process) == -ENOENT);
    options.directory = NULL;
    check(wherry_process_spawn("sleep", sleep, &options, &process) == 0);
    check(wherry_process_kill(process, SIGSTOP) == 0);
    check(wherry_process_wait_change(process, soon(), &how) == 0 && how.kind == WHERRY_STOPPED);
    check(wherry_process_kill_group(process, SIGKILL) == 0);
    check(wherry_process_wait(process, soon(), &how) == 0 && how.kind == WHERRY_KILLED);
    wherry_process_close(process);
    int result = wherry_process_open(getppid(), 0, &process);
    check(result == 0 || result == -ENOSYS); /* valgrind 3.19 has no pidfd_open */
    if (result < 0)
        return;
    check(wherry_process_wait(process, WHERRY_NOW, NULL) == -EAGAIN);
    wherry_process_close(process);
}

static void use_pipelines(void)
{
    const char *const make[] = {"seq", "1000", NULL}, *const count[] = {"wc", "-l", NULL},
                      *const sleep[] = {"sleep", "1000", NULL};
    const struct wherry_command commands[] = {{"seq", make, NULL}, {"cat", NULL, NULL}, {"wc", count, NULL}};
    const struct wherry_command broken[] = {{"sleep", sleep, NULL}, {"/nonesuch", NULL, NULL}};
    const struct wherry_command endless[] = {{"sleep", sleep, NULL}, {"cat", NULL, NULL}};
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline;
    struct wherry_exit exits[3];
    options.output = WHERRY_PROCESS_NULL;
    check(wherry_pipeline_start(commands, 3, &options, &pipeline) == 0);
    check(wherry_pipeline_wait(pipeline, soon(), exits) == 0);
    for (int i = 0; i < 3; i++)
        check(wherry_exit_status(&exits[i]) == 0);
    wherry_pipeline_close(pipeline);
    check(wherry_pipeline_start(broken, 2, &options, &pipeline) == -ENOENT);
    check(wherry_pipeline_start(endless, 2, &options, &pipeline) == 0);
    check(wherry_pipeline_wait(pipeline, wherry_after(WHERRY_MILLISECOND), exits) == -ETIMEDOUT);
    check(wherry_pipeline_stop(pipeline, SIGTERM, soon()) == 0);
    wherry_pipeline_close(pipeline);
}

int main(void)
{
    use_children();
    use_pipelines();
    return 0;
}
