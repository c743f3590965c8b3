/* tests/unit/test_pipeline.c - owns pipelines: all or none, every exit status, nobody left.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/prctl.h>
#include <sys/resource.h>

#include "process_kit.h"

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char text[16384];

static struct wherry_command child(const char *const *words)
{
    return (struct wherry_command){.program = test_program("process_child"), .arguments = words};
}

TEST(what_one_says_the_next_hears_and_all_statuses_come)
{
    const struct wherry_command commands[] = {
        {"sh", ARGUMENTS("sh", "-c", "seq 1000; exit 3"), NULL},
        {"grep", ARGUMENTS("grep", "7"), NULL},
        {"sh", ARGUMENTS("sh", "-c", "wc -l; kill -TERM $$"), NULL},
    };
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline;
    struct wherry_exit exits[3];
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    options.output = ends[1];
    test_ok(wherry_pipeline_start(commands, 3, &options, &pipeline));
    close(ends[1]);
    kit_read(ends[0], text, sizeof text);
    close(ends[0]);
    ck_assert_str_eq(text, "271\n");
    test_ok(wherry_pipeline_wait(pipeline, test_deadline(), exits));
    ck_assert_int_eq(wherry_exit_status(&exits[0]), 3);
    ck_assert_int_eq(wherry_exit_status(&exits[1]), 0);
    ck_assert_int_eq(wherry_exit_status(&exits[2]), 128 + SIGTERM);
    test_ok(wherry_pipeline_wait(pipeline, WHERRY_NOW, exits)); /* and again */
    ck_assert_int_eq(wherry_exit_status(&exits[0]), 3);
    ck_assert_ptr_null(wherry_pipeline_process(pipeline, 3));
    ck_assert_ptr_nonnull(wherry_pipeline_process(pipeline, 2));
    wherry_pipeline_close(pipeline);
    wherry_pipeline_close(NULL);
}

TEST(input_comes_from_where_it_is_said)
{
    char path[300], line[100];
    int fd = open(test_path(path, "in"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), ends[2];
    ck_assert_int_eq(write(fd, "one\ntwo\n", 8), 8);
    lseek(fd, 0, SEEK_SET);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const struct wherry_command commands[] = {{"cat", NULL, NULL},
                                              {"sh", ARGUMENTS("sh", "-c", "cat; echo gone >&2"), NULL}};
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline;
    options.input = fd;
    options.output = options.error = ends[1];
    test_ok(wherry_pipeline_start(commands, 2, &options, &pipeline));
    close(ends[1]);
    close(fd);
    kit_read(ends[0], line, sizeof line);
    close(ends[0]);
    ck_assert_str_eq(line, "one\ntwo\ngone\n");
    test_ok(wherry_pipeline_wait(pipeline, test_deadline(), NULL));
    wherry_pipeline_close(pipeline);
    unlink(path);
}

TEST(h38_an_end_in_the_middle_is_seen_on_both_sides)
{
    struct wherry_command commands[] = {
        {"yes", NULL, NULL}, child(WORDS("close", "0", "close", "1", "exit", "4")), child(WORDS("eof", "exit", "5"))};
    struct wherry_pipeline *pipeline;
    struct wherry_exit exits[3];
    test_ok(wherry_pipeline_start(commands, 3, NULL, &pipeline));
    test_ok(wherry_pipeline_wait(pipeline, test_deadline(), exits));
    ck_assert_int_eq(wherry_exit_status(&exits[0]), 128 + SIGPIPE);
    ck_assert_int_eq(wherry_exit_status(&exits[1]), 4);
    ck_assert_int_eq(wherry_exit_status(&exits[2]), 5);
    wherry_pipeline_close(pipeline);
}

TEST(h66_a_member_has_its_two_ends_and_no_more)
{
    struct wherry_command commands[] = {
        {"true", NULL, NULL}, {"sh", ARGUMENTS("sh", "-c", "cat >&2"), NULL}, {"true", NULL, NULL}};
    int ends[2];
    for (int which = 0; which < 3; which++) {
        struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
        struct wherry_process_options own = WHERRY_PROCESS_OPTIONS;
        struct wherry_process_fd fds[1];
        struct wherry_pipeline *pipeline;
        struct wherry_command with[3];
        char number[8];
        memcpy(with, commands, sizeof with);
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        fds[0] = (struct wherry_process_fd){.child = 7, .own = ends[1]};
        own.fds = fds;
        own.fd_count = 1;
        snprintf(number, sizeof number, "%d", which);
        with[which] = (struct wherry_command){
            "sh", ARGUMENTS("sh", "-c", "exec \"$0\" fds >&7", test_program("process_child")), &own};
        options.input = WHERRY_PROCESS_NULL;
        test_ok(wherry_pipeline_start(with, 3, &options, &pipeline));
        close(ends[1]);
        kit_read(ends[0], text, sizeof text);
        close(ends[0]);
        ck_assert_str_eq(text, "0 1 2 7\n");
        test_ok(wherry_pipeline_wait(pipeline, test_deadline(), NULL));
        wherry_pipeline_close(pipeline);
    }
}

TEST(when_one_cannot_start_none_is_left)
{
    char path[300];
    struct wherry_pipeline *pipeline = NULL;
    test_path(path, "nonesuch");
    for (size_t which = 0; which < 4; which++) {
        struct wherry_command commands[4];
        for (size_t i = 0; i < 4; i++)
            commands[i] = child(i % 2 ? WORDS("pause") : WORDS("eof", "pause"));
        commands[which].program = path;
        test_is(wherry_pipeline_start(commands, 4, NULL, &pipeline), -ENOENT);
        ck_assert_ptr_null(pipeline);
        ck_assert_msg(strncmp(wherry_why(), path, strlen(path)) == 0, "%s", wherry_why());
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    }
}

TEST(commands_that_contradict_the_pipeline_are_refused)
{
    struct wherry_pipeline *pipeline = NULL;
    struct wherry_process_options own = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[] = {{1, 2}};
    struct wherry_command commands[] = {{"true", NULL, &own}, {"true", NULL, NULL}};
    own.fds = fds;
    own.fd_count = 1;
    test_is(wherry_pipeline_start(commands, 2, NULL, &pipeline), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "its descriptor 1 is the pipe's"), "%s", wherry_why());
    test_ok(wherry_pipeline_start(commands, 1, NULL, &pipeline)); /* alone it may */
    test_ok(wherry_pipeline_wait(pipeline, test_deadline(), NULL));
    wherry_pipeline_close(pipeline);
    own.fd_count = 0;
    own.group = WHERRY_PROCESS_GROUP_SESSION;
    test_is(wherry_pipeline_start(commands, 2, NULL, &pipeline), -EINVAL);
    test_is(wherry_pipeline_start(commands, 0, NULL, &pipeline), -EINVAL);
    commands[0] = (struct wherry_command){NULL, NULL, NULL};
    test_is(wherry_pipeline_start(commands, 2, NULL, &pipeline), -EINVAL);
}

TEST(a_deadline_for_the_whole_and_a_stop_for_all)
{
    struct wherry_exit exits[3];
    struct wherry_pipeline *pipeline;
    struct wherry_process_options stubborn = WHERRY_PROCESS_OPTIONS;
    const int ignored[] = {SIGTERM};
    stubborn.ignored = ignored;
    stubborn.ignored_count = 1;
    struct wherry_command commands[] = {child(WORDS("pause")), child(WORDS("eof", "exit", "6")), child(WORDS("pause"))};
    commands[0].options = &stubborn;
    test_ok(wherry_pipeline_start(commands, 3, NULL, &pipeline));
    ck_assert_int_ne(getpgid(wherry_process_pid(wherry_pipeline_process(pipeline, 2))), getpgrp());
    ck_assert_int_eq(getpgid(wherry_process_pid(wherry_pipeline_process(pipeline, 2))),
                     wherry_process_pid(wherry_pipeline_process(pipeline, 0)));
    test_is(wherry_pipeline_wait(pipeline, WHERRY_NOW, exits), -EAGAIN);
    test_is(wherry_pipeline_wait(pipeline, wherry_after(50 * WHERRY_MILLISECOND), exits), -ETIMEDOUT);
    ck_assert_msg(strncmp(wherry_why(), "pid ", 4) == 0 && strstr(wherry_why(), "ran still"), "%s", wherry_why());
    test_ok(wherry_process_kill(wherry_pipeline_process(pipeline, 2), SIGSTOP)); /* a stopped one hears, too */
    test_is(wherry_pipeline_stop(pipeline, 99, WHERRY_NOW), -EINVAL);
    test_ok(wherry_pipeline_stop(pipeline, SIGTERM, wherry_after(200 * WHERRY_MILLISECOND)));
    test_ok(wherry_pipeline_wait(pipeline, WHERRY_NOW, exits));
    ck_assert_int_eq(wherry_exit_status(&exits[0]), 128 + SIGKILL);
    ck_assert_int_eq(exits[2].kind, WHERRY_KILLED);
    ck_assert_int_eq(exits[2].code, SIGTERM);
    test_ok(wherry_pipeline_stop(pipeline, SIGTERM, WHERRY_NOW)); /* there is nobody to stop */
    wherry_pipeline_close(pipeline);
}

TEST(a_stop_reaches_what_they_started)
{
    test_needs(TEST_SUBREAPER);
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    const struct wherry_command commands[] = {
        {"sh", ARGUMENTS("sh", "-c", "trap '' TERM; sleep 100 & echo $!; trap - TERM; wait"), NULL},
        {"cat", NULL, NULL}};
    struct wherry_pipeline *pipeline;
    int ends[2];
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    options.output = ends[1];
    test_ok(wherry_pipeline_start(commands, 2, &options, &pipeline));
    close(ends[1]);
    ck_assert_int_gt(read(ends[0], text, sizeof text), 0);
    pid_t sleeper = atoi(text);
    ck_assert(kit_alive(sleeper)); /* it ignores SIGTERM */
    test_ok(wherry_pipeline_stop(pipeline, SIGTERM, wherry_after(100 * WHERRY_MILLISECOND)));
    kit_await_end(sleeper);
    ck_assert_int_eq(waitpid(sleeper, NULL, 0), sleeper);
    close(ends[0]);
    wherry_pipeline_close(pipeline);
}

TEST(the_descriptor_tells_of_each_end)
{
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline;
    options.same_group = true;
    const struct wherry_command commands[] = {child(WORDS("pause")), child(WORDS("pause")), child(WORDS("pause"))};
    test_ok(wherry_pipeline_start(commands, 3, &options, &pipeline));
    ck_assert_int_eq(getpgid(wherry_process_pid(wherry_pipeline_process(pipeline, 1))), getpgrp());
    struct pollfd wait = {.fd = wherry_pipeline_fd(pipeline), .events = POLLIN};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(poll(&wait, 1, 0), 0);
        test_ok(wherry_process_kill(wherry_pipeline_process(pipeline, i), SIGKILL));
        ck_assert_int_eq(poll(&wait, 1, KIT_PATIENCE), 1);
        test_is(wherry_pipeline_wait(pipeline, WHERRY_NOW, NULL), i == 2 ? 0 : -EAGAIN);
    }
    wherry_pipeline_close(pipeline);
}

TEST_WITH(h61_with_sigchld_ignored_a_pipeline_runs, .leaves = TEST_LEAVES_SIGNALS)
{
    struct wherry_pipeline *pipeline;
    struct wherry_exit exits[3];
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 20; i++) {
        const struct wherry_command commands[] = {child(WORDS("exit", "1")), child(WORDS("eof", "exit", "2")),
                                                  child(WORDS("eof", "exit", "3"))};
        test_ok(wherry_pipeline_start(commands, 3, NULL, &pipeline));
        test_ok(wherry_pipeline_wait(pipeline, test_deadline(), exits));
        for (int k = 0; k < 3; k++)
            ck_assert(wherry_exit_status(&exits[k]) == k + 1 || wherry_exit_status(&exits[k]) == 255);
        wherry_pipeline_close(pipeline);
    }
    signal(SIGCHLD, SIG_DFL);
}

static void use_a_pipeline_of_the_parent(void *argument)
{
    struct wherry_pipeline *pipeline = argument;
    test_is(wherry_pipeline_wait(pipeline, WHERRY_NOW, NULL), -ECHILD);
    test_is(wherry_pipeline_stop(pipeline, SIGKILL, WHERRY_NOW), -ECHILD);
    wherry_pipeline_close(pipeline);
}

TEST(a_forked_child_has_nothing_to_say)
{
    const struct wherry_command commands[] = {child(WORDS("pause")), child(WORDS("pause"))};
    struct wherry_pipeline *pipeline;
    test_ok(wherry_pipeline_start(commands, 2, NULL, &pipeline));
    test_join(test_fork(use_a_pipeline_of_the_parent, pipeline));
    test_is(wherry_pipeline_wait(pipeline, WHERRY_NOW, NULL), -EAGAIN);
    test_ok(wherry_pipeline_stop(pipeline, SIGKILL, test_deadline()));
    wherry_pipeline_close(pipeline);
}
