/* tests/unit/test_server.c - owns the tests of src/supervise/server*.c and worker*.c: serving, replacing, draining.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "server_kit.h"

struct place {
    const char *name, *url;
    bool reuse_port;
};

static const struct place places[] = {
    {"unix", "unix:./server", false},    {"seqpacket", "unix+seqpacket:./server", false},
    {"tcp", "tcp://127.0.0.1:0", false}, {"tcp_reuse_port", "tcp://127.0.0.1:0", true},
    {"tcp6", "tcp://[::1]:0", false},
};

static void start_at(struct host *host, const struct place *place, unsigned workers)
{
    host_init(host, place->url, workers);
    host->options.reuse_port = place->reuse_port;
    host_start(host);
}

TEST_TABLE(two_workers_answer, places)
{
    struct host host;
    struct wherry_channel *clients[32];
    bool seen[2] = {false, false};
    start_at(&host, &places[index], 2);
    ck_assert_int_ne(host.book->pids[0], host.book->pids[1]);
    for (int i = 0; i < 32; i++) {
        clients[i] = kit_connect(&host);
        pid_t pid = kit_ask_pid(clients[i]);
        ck_assert(pid == host.book->pids[0] || pid == host.book->pids[1]);
        seen[pid == host.book->pids[1]] = true;
        kit_say(clients[i], "what is said comes back");
        kit_hear(clients[i], "what is said comes back");
    }
    ck_assert_msg(!places[index].reuse_port || (seen[0] && seen[1]), "the kernel deals all 32 connections to one");
    host_stop(&host);
    for (int i = 0; i < 32; i++) {
        kit_hear_end(clients[i]);
        kit_close(clients[i]);
    }
}

TEST_TABLE(a_killed_worker_is_replaced_and_the_others_clients_go_on, places)
{
    struct host host;
    struct wherry_channel *clients[16];
    start_at(&host, &places[index], 2);
    pid_t victim = host.book->pids[1], others = host.book->pids[0];
    pid_t pids[16];
    for (int i = 0; i < 16; i++)
        pids[i] = kit_ask_pid(clients[i] = kit_connect(&host));
    kill(victim, SIGKILL);
    test_gate_wait(&host.gates[WHERRY_SERVER_ENDED]);
    ck_assert(WIFSIGNALED(host.book->status) && WTERMSIG(host.book->status) == SIGKILL);
    for (int i = 0; i < 16; i++) {
        if (pids[i] == others)
            ck_assert_int_eq(kit_ask_pid(clients[i]), others);
        else
            kit_hear_end(clients[i]);
        kit_close(clients[i]);
    }
    host_await_ready(&host, 3); /* two at first */
    ck_assert_int_ne(host.book->pids[1], victim);
    ck_assert_int_eq(host.book->pids[0], others);
    host_stop(&host);
}

static const struct death {
    const char *name, *request;
    int status;
} deaths[] = {{"abort", "abort", SIGABRT}, {"exit", "exit", 7 << 8}};

TEST_TABLE(a_worker_that_ends_by_itself_is_replaced, deaths)
{
    struct host host;
    start_at(&host, &places[0], 1);
    for (int i = 0; i < 3; i++) {
        struct wherry_channel *client = kit_connect(&host);
        pid_t before = kit_ask_pid(client);
        kit_say(client, deaths[index].request);
        kit_hear_end(client);
        kit_close(client);
        test_gate_wait(&host.gates[WHERRY_SERVER_ENDED]);
        ck_assert_int_eq(host.book->status & ~0x80, deaths[index].status);
        client = kit_connect(&host); /* the socket was open all the while */
        ck_assert_int_ne(kit_ask_pid(client), before);
        kit_close(client);
    }
    host_stop(&host);
}

TEST(a_request_whose_function_fails_ends_its_connection_alone)
{
    struct host host;
    start_at(&host, &places[0], 1);
    struct wherry_channel *one = kit_connect(&host), *other = kit_connect(&host);
    pid_t pid = kit_ask_pid(one);
    ck_assert_int_eq(kit_ask_pid(other), pid);
    kit_say(one, "refuse");
    kit_hear_end(one);
    ck_assert_int_eq(kit_ask_pid(other), pid);
    kit_close(one);
    kit_close(other);
    host_stop(&host);
}

/* How many of MANY connections each of two workers has. */
enum { MANY = 64, LEAST = 16 };

static void count_shares(int count[2])
{
    struct host host;
    struct wherry_channel *clients[MANY];
    count[0] = count[1] = 0;
    start_at(&host, &places[0], 2);
    for (int i = 0; i < MANY; i++)
        clients[i] = kit_connect(&host);
    for (int i = 0; i < MANY; i++)
        count[kit_ask_pid(clients[i]) == host.book->pids[1]]++;
    for (int i = 0; i < MANY; i++)
        kit_close(clients[i]);
    host_stop(&host);
}

TEST(a_worker_with_more_connections_leaves_the_next_to_the_others)
{
    int count[2] = {0, 0};
    /* for a moment each: where the other gets no processor for many of them, it has few */
    for (int tries = 0; tries < 10 && (count[0] < LEAST || count[1] < LEAST); tries++)
        count_shares(count);
    ck_assert_msg(count[0] >= LEAST && count[1] >= LEAST, "%d and %d", count[0], count[1]);
}

TEST(a_stopped_worker_leaves_its_share_to_the_others)
{
    struct host host;
    struct wherry_channel *clients[16];
    start_at(&host, &places[0], 2);
    kill(host.book->pids[0], SIGSTOP);
    for (int i = 0; i < 16; i++) {
        clients[i] = kit_connect(&host);
        ck_assert_int_eq(kit_ask_pid(clients[i]), host.book->pids[1]);
    }
    kill(host.book->pids[0], SIGCONT);
    for (int i = 0; i < 16; i++)
        kit_close(clients[i]);
    host_stop(&host);
}

/* ---- draining ---- */

TEST_TABLE(sigterm_answers_what_has_come, places)
{
    enum { REQUESTS = 50 };
    struct host host;
    char text[32];
    start_at(&host, &places[index], 1);
    struct wherry_channel *busy = kit_connect(&host), *client = kit_connect(&host), *idle = kit_connect(&host);
    kit_ask_pid(client);
    kit_ask_pid(idle);
    kit_say(busy, "wait");
    test_gate_wait(&host.inside);
    for (int i = 0; i < REQUESTS; i++) { /* they lie in the worker's socket */
        snprintf(text, sizeof text, "slow request %d", i);
        kit_say(client, text);
    }
    kill(host.master, SIGTERM);
    test_gate_wait(&host.gates[WHERRY_SERVER_DRAINS]);
    test_gate_open(&host.onward);
    for (int i = 0; i < REQUESTS; i++) {
        snprintf(text, sizeof text, "slow request %d", i);
        kit_hear(client, text);
    }
    kit_hear(busy, "wait");
    test_is(wherry_channel_receive(client, text, sizeof text, &(size_t){0}, test_deadline()), 0);
    test_is(wherry_channel_receive(busy, text, sizeof text, &(size_t){0}, test_deadline()), 0);
    test_is(wherry_channel_receive(idle, text, sizeof text, &(size_t){0}, test_deadline()), 0);
    kit_close(busy);
    kit_close(client);
    kit_close(idle);
    test_join(host.master);
    host_fini(&host);
}

/* There are always more requests of it on their way. */
static void never_pause(void *argument)
{
    enum { AHEAD = 200 };
    const struct host *host = argument;
    struct wherry_channel *channel = kit_connect(host);
    char buffer[64];
    size_t size;
    for (int i = 0; i < AHEAD; i++)
        kit_say(channel, "more");
    while (wherry_channel_receive(channel, buffer, sizeof buffer, &size, test_deadline()) == 1 &&
           wherry_channel_send(channel, "more", 4, test_deadline()) == 0)
        ;
    kit_close(channel);
}

TEST_TABLE(a_client_that_never_pauses_does_not_keep_a_worker, places)
{
    struct host host;
    start_at(&host, &places[index], 1);
    pid_t client = test_fork(never_pause, &host);
    test_until(host.book->requests >= 1000, "%ld requests came", host.book->requests);
    host_stop(&host); /* 0, not -ETIMEDOUT */
    test_join(client);
}

/* The name is free while the old workers still drain. */
TEST(sigterm_gives_the_address_up_at_once)
{
    struct host host, next;
    struct stat status;
    start_at(&host, &places[0], 2);
    struct wherry_channel *busy = kit_connect(&host);
    kit_say(busy, "wait");
    test_gate_wait(&host.inside);
    kill(host.master, SIGTERM);
    test_gate_wait(&host.gates[WHERRY_SERVER_DRAINS]);
    ck_assert_int_lt(stat("server", &status), 0);
    start_at(&next, &places[0], 1);
    struct wherry_channel *client = kit_connect(&next);
    ck_assert_int_eq(kit_ask_pid(client), next.book->pids[0]);
    test_gate_open(&host.onward);
    kit_hear(busy, "wait");
    kit_close(busy);
    kit_close(client);
    test_join(host.master);
    host_fini(&host);
    host_stop(&next);
}

/* What waits in the backlog was not refused, so it is served. */
TEST(sigterm_serves_those_who_wait_to_be_accepted)
{
    struct host host;
    start_at(&host, &places[0], 1);
    struct wherry_channel *busy = kit_connect(&host), *waiting[5];
    kit_say(busy, "wait");
    test_gate_wait(&host.inside);
    for (int i = 0; i < 5; i++)
        kit_say(waiting[i] = kit_connect(&host), "from the backlog");
    kill(host.master, SIGTERM);
    test_gate_wait(&host.gates[WHERRY_SERVER_DRAINS]);
    test_gate_open(&host.onward);
    for (int i = 0; i < 5; i++) {
        kit_hear(waiting[i], "from the backlog");
        kit_hear_end(waiting[i]);
        kit_close(waiting[i]);
    }
    kit_close(busy);
    test_join(host.master);
    host_fini(&host);
}

TEST(a_record_that_the_drain_cuts_is_not_given_to_the_function)
{
    struct host host;
    host_init(&host, "unix:./server?frame=line", 1);
    host_start(&host);
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *client = NULL;
    options.side = WHERRY_CONNECT;
    test_ok(wherry_channel_open("unix:./server?frame=raw", WHERRY_BOTH, &options, test_deadline(), &client));
    kit_say(client, "whole\nha");
    kit_hear(client, "whole\n");
    long before = host.book->requests;
    host_stop(&host);
    kit_hear_end(client);
    ck_assert_int_eq(host.book->requests, before);
    kit_close(client);
}

/* What a run says of two workers, one of which does not drain. */
static const char *killed_at_stop(wherry_time drain_timeout)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host.options.drain_timeout = drain_timeout;
    host.expected = -ETIMEDOUT;
    host_start(&host);
    struct wherry_channel *client = kit_connect(&host);
    kit_say(client, "spin");
    test_gate_wait(&host.inside);
    host_stop(&host);
    kit_hear_end(client);
    kit_close(client);
    return host.book->why;
}

TEST(past_drain_timeout_a_worker_is_killed)
{
    static const char wanted[] = "unix:./server: 1 of the workers had not drained and were killed";
    const char *why = "";
    /* a machine that stands still may be too late for the short ones, also to drain who could */
    for (wherry_time timeout = 50 * WHERRY_MILLISECOND; strcmp(why, wanted) && timeout <= 5 * WHERRY_SECOND;
         timeout *= 10)
        why = killed_at_stop(timeout);
    ck_assert_str_eq(why, wanted);
}

static void run_and_note(void *argument)
{
    struct host *host = argument;
    host->book->result = wherry_server_run(host->url, &host->options, kit_answer, host);
}

/* What the run returns when a SIGHUP's old worker was killed, and all had drained in time at the end. */
static int killed_at_sighup(wherry_time drain_timeout)
{
    struct host host;
    host_init(&host, places[0].url, 1);
    host.options.drain_timeout = drain_timeout;
    host_start_in(&host, run_and_note);
    struct wherry_channel *client = kit_connect(&host);
    kit_say(client, "spin");
    test_gate_wait(&host.inside);
    kill(host.master, SIGHUP);
    test_gate_wait(&host.gates[WHERRY_SERVER_ENDED]);
    ck_assert(WIFSIGNALED(host.book->status));
    kit_hear_end(client);
    kit_close(client);
    host_stop(&host);
    return host.book->result;
}

TEST(who_was_killed_at_a_sighup_is_no_failure_of_the_stop)
{
    int result = -ETIMEDOUT;
    /* a machine that stands still may be too late for the short ones */
    for (wherry_time timeout = 50 * WHERRY_MILLISECOND; result != 0 && timeout <= 5 * WHERRY_SECOND; timeout *= 10)
        result = killed_at_sighup(timeout);
    test_ok(result);
}

TEST(a_second_sigint_does_not_wait)
{
    struct host host;
    host_init(&host, places[0].url, 1);
    host.options.drain_timeout = WHERRY_FOREVER;
    host.expected = -ETIMEDOUT;
    host_start(&host);
    struct wherry_channel *client = kit_connect(&host);
    kit_say(client, "spin");
    test_gate_wait(&host.inside);
    kill(host.master, SIGINT);
    test_gate_wait(&host.gates[WHERRY_SERVER_DRAINS]);
    kill(host.master, SIGINT);
    test_join(host.master);
    host_fini(&host);
    kit_close(client);
}

/* ---- replacing ---- */

TEST_TABLE(sighup_replaces_all_and_refuses_nobody, places)
{
    struct host host;
    start_at(&host, &places[index], 3);
    pid_t before[3];
    for (int i = 0; i < 3; i++)
        before[i] = host.book->pids[i];
    kill(host.master, SIGHUP);
    while (host.book->events[WHERRY_SERVER_REPLACED] == 0) {
        struct wherry_channel *client = kit_connect(&host);
        wherry_channel_send(client, "?", 1, WHERRY_NOW); /* it may be cut before it is heard, but not refused */
        kit_close(client);
    }
    for (int i = 0; i < 3; i++) {
        kit_await_gone(before[i]);
        ck_assert_int_ne(host.book->pids[i], before[i]);
    }
    ck_assert_int_eq(host.book->events[WHERRY_SERVER_ENDED], 3);
    host_stop(&host);
}

TEST(an_old_worker_drains_only_when_a_new_one_serves)
{
    struct host host;
    start_at(&host, &places[0], 1);
    pid_t before = host.book->pids[0];
    struct wherry_channel *client = kit_connect(&host);
    kit_say(client, "wait");
    test_gate_wait(&host.inside);
    kill(host.master, SIGHUP);
    host_await_ready(&host, 2);
    struct wherry_channel *other = kit_connect(&host);
    ck_assert_int_eq(kit_ask_pid(other), host.book->pids[0]);
    ck_assert_int_ne(host.book->pids[0], before);
    ck_assert_int_eq(host.book->events[WHERRY_SERVER_ENDED], 0);
    test_gate_open(&host.onward);
    kit_hear(client, "wait");
    kit_hear_end(client);
    test_gate_wait(&host.gates[WHERRY_SERVER_REPLACED]);
    kit_close(client);
    kit_close(other);
    host_stop(&host);
}

static int fail_when_told(unsigned worker, void *data)
{
    const struct host *host = data;
    (void)worker;
    return host->book->starts++ < 2 ? 0 : wherry_channel_open("pipe:?no", WHERRY_SEND, NULL, WHERRY_NOW, NULL);
}

TEST(a_replacement_that_does_not_start_leaves_the_old_ones)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host.options.start = fail_when_told;
    host_start(&host);
    pid_t before[2] = {host.book->pids[0], host.book->pids[1]};
    kill(host.master, SIGHUP);
    test_gate_wait(&host.gates[WHERRY_SERVER_KEPT]);
    ck_assert_msg(strstr(host.book->text, "worker 0: pipe:?no"), "%s", host.book->text);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(kill(before[i], 0), 0);
    struct wherry_channel *client = kit_connect(&host);
    kit_ask_pid(client);
    kit_close(client);
    ck_assert_int_eq(host.book->events[WHERRY_SERVER_ENDED], 0);
    host_stop(&host);
}

TEST(sigterm_to_one_worker_replaces_it_alone)
{
    struct host host;
    start_at(&host, &places[0], 2);
    pid_t one = host.book->pids[0], other = host.book->pids[1];
    kill(one, SIGTERM);
    host_await_ready(&host, 3);
    test_gate_wait(&host.gates[WHERRY_SERVER_ENDED]);
    ck_assert_int_eq(host.book->status, 0);
    ck_assert_int_ne(host.book->pids[0], one);
    ck_assert_int_eq(host.book->pids[1], other);
    kill(other, SIGINT); /* the master's to answer, as SIGHUP is */
    kill(other, SIGHUP);
    for (int i = 0; i < 20; i++) {
        struct wherry_channel *client = kit_connect(&host);
        kit_ask_pid(client);
        kit_close(client);
    }
    ck_assert_int_eq(host.book->events[WHERRY_SERVER_ENDED], 1);
    host_stop(&host);
}

/* ---- start and stop in the worker ---- */

static int count_start(unsigned worker, void *data)
{
    struct host *host = data;
    ck_assert_uint_lt(worker, 2);
    host->book->starts++;
    return 0;
}

static void count_stop(unsigned worker, void *data)
{
    struct host *host = data;
    (void)worker;
    host->book->stops++;
}

TEST(start_and_stop_run_in_each_worker)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host.options.start = count_start;
    host.options.stop = count_stop;
    host_start(&host);
    ck_assert_int_eq(host.book->starts, 2);
    host_stop(&host);
    ck_assert_int_eq(host.book->stops, 2);
}

TEST(the_mode_of_the_socket_is_what_the_options_say)
{
    struct host host;
    struct stat status;
    struct wherry_channel_options channel = WHERRY_CHANNEL_OPTIONS;
    channel.mode = 0660;
    host_init(&host, places[0].url, 1);
    host.options.channel = &channel;
    host_start(&host);
    ck_assert_int_eq(stat("server", &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0660);
    host_stop(&host);
}

/* As a service manager passes it on, which has it served again by the next. */
TEST(an_inherited_socket_is_served_and_goes_on_listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "server"};
    struct host host;
    ck_assert_int_eq(chdir(test_dir()), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 10), 0);
    for (int i = 0; i < 2; i++) {
        host_init(&host, "", 2);
        snprintf(host.url, sizeof host.url, "fd:%d", fd);
        host_start(&host);
        snprintf(host.book->url, sizeof host.book->url, "unix:./server");
        struct wherry_channel *client = kit_connect(&host);
        kit_ask_pid(client);
        host_stop(&host);
        kit_hear_end(client);
        kit_close(client);
        client = kit_connect(&host); /* it waits for the next one */
        kit_close(client);
    }
    close(fd);
    unlink("server");
}

/* What stdio holds when a worker is forked is written once. */
TEST(nothing_that_was_printed_before_is_printed_twice)
{
    struct host host;
    host_init(&host, places[0].url, 3);
    pid_t child = fork();
    if (child == 0) {
        int fd = open("out", O_WRONLY | O_CREAT, 0600);
        dup2(fd, 1);
        close(fd);
        printf("once\n");
        kit_run(&host);
        exit(0);
    }
    test_gate_wait(&host.gates[WHERRY_SERVER_LISTENS]);
    kill(child, SIGTERM);
    test_join_status(child, 0);
    struct stat status;
    ck_assert_int_eq(stat("out", &status), 0);
    ck_assert_int_eq(status.st_size, 5);
    unlink("out");
    host_fini(&host);
}
