/* unit/test_supervisor_ready.c - how units show that they are ready, and channels to them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Some units are this program itself, with a word that says what to do. */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <wherry/wherry.h>

#include "harness.h"
#include "unit/supervisor_kit.h"

/* ---- the units ---- */

static int notify_from(const char *text, const char *address_text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(address_text);
    memcpy(address.sun_path, address_text, length);
    address.sun_path[0] = '\0'; /* "@" */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, size) == (ssize_t)strlen(text) ? 0 : 9;
}

/* A hundred messages with descriptors, as for FDSTORE=1. */
static int notify_with_fds(const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = getenv("NOTIFY_SOCKET");
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_name = &address,
                             .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)),
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(4 * sizeof(int));
    for (int i = 0; i < 4; i++)
        ((int *)(void *)CMSG_DATA(&control.header))[i] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < 100; i++)
        if (sendmsg(fd, &message, 0) < 0)
            return 9;
    return 0;
}

static int echo(void)
{
    struct wherry_channel *channel;
    char text[100];
    size_t size;
    if (wherry_channel_open(getenv("WHERRY_URL"), WHERRY_SEND | WHERRY_RECEIVE, NULL, soon(), &channel) < 0)
        return 8;
    while (wherry_channel_receive(channel, text, sizeof text, &size, soon()) == 1)
        if (wherry_channel_send(channel, text, size, soon()) < 0)
            return 7;
    wherry_channel_close(channel, soon());
    return 0;
}

static int say(const char *text)
{
    struct wherry_channel *channel;
    if (wherry_channel_open(getenv("WHERRY_URL"), WHERRY_SEND, NULL, soon(), &channel) < 0)
        return 8;
    int result = wherry_channel_send(channel, text, strlen(text), soon());
    return wherry_channel_close(channel, soon()) == 0 && result == 0 ? 0 : 7;
}

static int answer_at(const char *url)
{
    struct wherry_channel *channel;
    char text[100];
    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, soon(), &channel) < 0)
        return 8;
    for (;;)
        wherry_channel_receive(channel, text, sizeof text, NULL, WHERRY_FOREVER);
}

int test_option(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--unit") != 0)
        return -1;
    const char *what = argv[2];
    if (strcmp(what, "notify") == 0)
        return notify_from(argv[3], getenv("NOTIFY_SOCKET"));
    if (strcmp(what, "notify-fds") == 0)
        return notify_with_fds(argv[3]);
    if (strcmp(what, "echo") == 0)
        return echo();
    if (strcmp(what, "say") == 0)
        return say(argv[3]);
    return strcmp(what, "answer") == 0 ? answer_at(argv[3]) : 99;
}

/* ---- sd_notify(3) ---- */

/* $0 is this program. */
static void add_script(struct wherry_supervisor *supervisor, const char *name, const char *script,
                       const struct wherry_unit_options *given)
{
    struct wherry_unit_options options = *given;
    options.arguments =
        (const char *const[]){"/bin/sh", "-c", script, test_program("test_supervisor_ready"), NULL};
    test_ok(wherry_supervisor_add(supervisor, name, &options));
}

TEST(a_unit_notifies)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS, needs = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_NOTIFY;
    /* a process of its group may say it, too; and other words mean nothing */
    add_script(supervisor, "unit",
               "$0 --unit notify 'STATUS=half way'; while [ ! -e go ]; do sleep 0.01; done;"
               "$0 --unit notify 'NONSENSE=1\nREADY=1\nSTATUS=all is well'; exec sleep 100",
               &options);
    needs.after = (const char *const[]){"unit", NULL};
    add_shell(supervisor, "user", "exec sleep 100", &needs);
    wherry_time deadline = soon();
    while (strcmp(status_of(supervisor, "unit").why, "half way") != 0) {
        ck_assert(wherry_now() < deadline);
        wherry_supervisor_dispatch(supervisor, wherry_after(5 * WHERRY_MILLISECOND));
    }
    ck_assert_int_eq(status_of(supervisor, "unit").state, WHERRY_UNIT_STARTING);
    ck_assert_int_eq(status_of(supervisor, "user").state, WHERRY_UNIT_WAITING);
    write_file("go", "");
    until(supervisor, "user", WHERRY_UNIT_READY);
    ck_assert_str_eq(status_of(supervisor, "unit").why, "all is well");
    wherry_supervisor_close(supervisor);
    remove_file("go");
}

struct stranger {
    char address[64];
    struct test_gate said, heard;
};

static void notify_as_stranger(void *argument)
{
    struct stranger *stranger = argument;
    ck_assert_int_eq(notify_from("READY=1\nSTATUS=lies", stranger->address), 0);
    test_gate_open(&stranger->said);
    test_gate_wait(&stranger->heard);
}

TEST(strangers_are_not_heard)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    struct stranger stranger = {.address = ""};
    options.ready = WHERRY_READY_NOTIFY;
    add_script(supervisor, "unit", "echo $NOTIFY_SOCKET >address; while [ ! -e go ]; do sleep 0.01; done;"
                                   "$0 --unit notify READY=1; exec sleep 100", &options);
    until_lines(supervisor, "address", 1);
    char *text = read_file("address");
    memcpy(stranger.address, text, strcspn(text, "\n"));
    free(text);
    test_gate_init(&stranger.said);
    test_gate_init(&stranger.heard);
    pid_t child = test_fork(notify_as_stranger, &stranger);
    test_gate_wait(&stranger.said);
    while (wherry_supervisor_dispatch(supervisor, wherry_after(20 * WHERRY_MILLISECOND)) == 1)
        ;
    ck_assert_int_eq(status_of(supervisor, "unit").state, WHERRY_UNIT_STARTING);
    ck_assert_str_eq(status_of(supervisor, "unit").why, "");
    test_gate_open(&stranger.heard);
    test_join(child);
    test_gate_fini(&stranger.said);
    test_gate_fini(&stranger.heard);
    write_file("go", "");
    until(supervisor, "unit", WHERRY_UNIT_READY);
    wherry_supervisor_close(supervisor);
    remove_file("go");
    remove_file("address");
}

TEST(descriptors_that_come_along_are_closed)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_NOTIFY;
    add_script(supervisor, "unit", "$0 --unit notify-fds FDSTORE=1; $0 --unit notify READY=1; exec sleep 100",
               &options);
    size_t before = test_descriptors();
    until(supervisor, "unit", WHERRY_UNIT_READY);
    /* what the unit has: its pidfd, its socket, and what stands for all */
    ck_assert_uint_le(test_descriptors(), before + 4);
    wherry_supervisor_close(supervisor);
}

/* ---- a descriptor, a URL, a time ---- */

TEST(a_line_on_a_descriptor)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_FD;
    options.ready_fd = 7;
    add_shell(supervisor, "unit", "echo half | tr -d '\\n' >&7; while [ ! -e go ]; do sleep 0.01; done; echo >&7;"
                                  "exec 7>&-; exec sleep 100", &options);
    options.ready_fd = 0;
    options.ready_timeout = 100 * WHERRY_MILLISECOND;
    add_shell(supervisor, "closes", "exec 3>&-; exec sleep 100", &options); /* says nothing, and never will */
    until(supervisor, "closes", WHERRY_UNIT_FAILED);
    ck_assert_int_eq(status_of(supervisor, "unit").state, WHERRY_UNIT_STARTING);
    write_file("go", "");
    until(supervisor, "unit", WHERRY_UNIT_READY);
    wherry_supervisor_close(supervisor);
    remove_file("go");
}

TEST(a_url_that_answers)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_URL;
    options.ready_url = "unix:./socket";
    add_script(supervisor, "unit", "while [ ! -e go ]; do sleep 0.01; done; exec $0 --unit answer unix:./socket",
               &options);
    for (int i = 0; i < 5; i++) /* asked several times */
        wherry_supervisor_dispatch(supervisor, wherry_after(60 * WHERRY_MILLISECOND));
    ck_assert_int_eq(status_of(supervisor, "unit").state, WHERRY_UNIT_STARTING);
    write_file("go", "");
    until(supervisor, "unit", WHERRY_UNIT_READY);
    wherry_supervisor_close(supervisor);
    remove_file("go");
    remove_file("socket"); /* it was killed */
    remove_file("socket.lock");
}

TEST(who_is_not_ready_in_time_has_failed)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = restarting(WHERRY_RESTART_ON_FAILURE, 1, WHERRY_MILLISECOND);
    options.ready = WHERRY_READY_NOTIFY;
    options.ready_timeout = 50 * WHERRY_MILLISECOND;
    add_shell(supervisor, "silent", "exec sleep 100", &options);
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "silent");
    ck_assert_int_eq(status.state, WHERRY_UNIT_FAILED);
    ck_assert_uint_eq(status.starts, 2);
    ck_assert_msg(strstr(status.why, "not ready in time"), "\"%s\"", status.why);
    wherry_supervisor_close(supervisor);
}

TEST(a_url_that_nobody_can_answer_at_is_told_at_once)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.ready = WHERRY_READY_URL;
    options.ready_timeout = WHERRY_FOREVER;
    options.ready_url = "unix:./socket?frame=nonsense";
    add_shell(supervisor, "wrong", "exec sleep 100", &options);
    options.ready_url = "unix:./socket";
    options.ready_timeout = 120 * WHERRY_MILLISECOND;
    add_shell(supervisor, "silent", "exec sleep 100", &options);
    run_all(supervisor);
    struct wherry_unit_status status = status_of(supervisor, "wrong");
    ck_assert_int_eq(status.state, WHERRY_UNIT_FAILED);
    ck_assert_msg(strstr(status.why, "frame"), "\"%s\"", status.why);
    status = status_of(supervisor, "silent");
    ck_assert_msg(strstr(status.why, "not ready in time: unix:./socket: nobody listens"), "\"%s\"", status.why);
    wherry_supervisor_close(supervisor);
}

/* ---- channels ---- */

TEST(a_unit_with_a_channel)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    char text[100];
    size_t size;
    options.channel = "socketpair:";
    options.channel_role = WHERRY_SEND | WHERRY_RECEIVE;
    options.restart = WHERRY_RESTART_ALWAYS;
    options.backoff_first = WHERRY_MILLISECOND;
    add_script(supervisor, "echo", "exec $0 --unit echo", &options);
    ck_assert_ptr_null(wherry_supervisor_channel(supervisor, "echo"));
    ck_assert_ptr_null(wherry_supervisor_channel(supervisor, "nobody"));
    for (unsigned run = 1; run <= 3; run++) {
        wherry_time deadline = soon();
        while (status_of(supervisor, "echo").starts < run || !wherry_supervisor_channel(supervisor, "echo")) {
            ck_assert(wherry_now() < deadline);
            wherry_supervisor_dispatch(supervisor, wherry_after(5 * WHERRY_MILLISECOND));
        }
        struct wherry_channel *channel = wherry_supervisor_channel(supervisor, "echo");
        test_ok(wherry_channel_send(channel, "ping", 4, soon()));
        test_is(wherry_channel_receive(channel, text, sizeof text, &size, soon()), 1);
        ck_assert(size == 4 && memcmp(text, "ping", 4) == 0);
        test_ok(wherry_supervisor_signal(supervisor, "echo", SIGKILL));
    }
    wherry_supervisor_close(supervisor);
}

static const struct connection {
    const char *name, *url;
} connections[] = {
    {"pipe", "pipe:"},
    {"socketpair", "socketpair:?frame=line"},
    {"unix", "unix:./socket"},
    {"tcp", "tcp://127.0.0.1:0"},
    {"fifo", "fifo:./fifo"},
};

TEST_TABLE(a_child_that_is_connected, connections)
{
    struct wherry_process *process;
    struct wherry_channel *channel;
    struct wherry_exit end;
    char text[100];
    size_t size;
    ck_assert_int_eq(chdir(test_dir()), 0);
    test_ok(wherry_process_connect(test_program("test_supervisor_ready"),
                                   (const char *const[]){"child", "--unit", "say", "hello", NULL}, NULL,
                                   connections[index].url, WHERRY_RECEIVE, NULL, &process, &channel));
    test_is(wherry_channel_receive(channel, text, sizeof text, &size, soon()), 1);
    ck_assert(size == 5 && memcmp(text, "hello", 5) == 0);
    test_ok(wherry_process_wait(process, soon(), &end));
    ck_assert(end.kind == WHERRY_EXITED && end.code == 0);
    test_is(wherry_channel_receive(channel, text, sizeof text, &size, soon()), 0);
    wherry_process_close(process);
    test_ok(wherry_channel_close(channel, soon()));
    unlink("socket.lock");
}

TEST(nothing_is_left_of_a_connection_that_fails)
{
    struct wherry_process *process;
    struct wherry_channel *channel;
    const char *const arguments[] = {"none", NULL};
    ck_assert_int_eq(chdir(test_dir()), 0);
    test_is(wherry_process_connect("/nonexistent", arguments, NULL, "unix:./socket", WHERRY_RECEIVE, NULL, &process,
                                   &channel), -ENOENT);
    ck_assert_int_ne(access("socket", F_OK), 0);
    unlink("socket.lock");
    test_is(wherry_process_connect("true", NULL, NULL, "nonsense:", WHERRY_RECEIVE, NULL, &process, &channel),
            -EPROTONOSUPPORT);
    test_is(wherry_process_connect("true", NULL, NULL, "pipe:", WHERRY_RECEIVE | WHERRY_SEND, NULL, &process, &channel),
            -EOPNOTSUPP);
}
