/* tests/unit/test_server_hazards.c - owns the traps that a server meets: dead masters, limits, threads, strangers.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "server_kit.h"

static const struct place {
    const char *name, *url;
    bool reuse_port;
} places[] = {
    {"unix", "unix:./server", false},
    {"abstract", "unix:@", false},
    {"tcp", "tcp://127.0.0.1:0", false},
    {"tcp_reuse_port", "tcp://127.0.0.1:0", true},
};

static void host_at(struct host *host, const struct place *place, unsigned workers)
{
    host_init(host, place->url, workers);
    host->options.reuse_port = place->reuse_port;
    if (strcmp(place->url, "unix:@") == 0)
        snprintf(host->url, sizeof host->url, "unix:@%s", test_word());
}

/* ---- the master's death ---- */

static void run_and_note(void *argument)
{
    struct host *host = argument;
    int result = wherry_server_run(host->url, &host->options, kit_answer, host);
    ck_assert_msg(result == 0 || result == -EADDRINUSE, "run() returned %d: %s", result, wherry_why());
    host->book->result = result;
    if (result < 0) /* else it says so itself when it listens */
        test_gate_open(&host->gates[WHERRY_SERVER_LISTENS]);
}

/* The next at the address of those who are ending.  It waits for them for a second, in which a machine that stands
 * still may not end them: then there is one more. */
static void take_over(struct host *next, const struct host *before, const struct place *place)
{
    for (int tries = 0; tries < 10; tries++) {
        wherry_time begun = wherry_now();
        host_at(next, place, 2);
        snprintf(next->url, sizeof next->url, "%s", before->book->url);
        host_start_in(next, run_and_note);
        if (next->book->result == 0)
            return;
        test_is(next->book->result, -EADDRINUSE);
        ck_assert_int_ge(wherry_now() - begun, WHERRY_SECOND); /* it has waited for them */
        test_join(next->master);
        host_fini(next);
    }
    ck_abort_msg("the address is not free");
}

TEST_TABLE(h63_a_killed_masters_workers_end_and_the_next_listens_there, places)
{
    struct host host, next;
    host_at(&host, &places[index], 3);
    host_start(&host);
    struct wherry_channel *client = kit_connect(&host), *stuck = kit_connect(&host);
    kit_ask_pid(client);
    kit_say(stuck, "spin"); /* busy for ever */
    test_gate_wait(&host.inside);
    kill(host.book->pids[0], SIGSTOP); /* and another is stopped, or the busy one */
    kill(host.master, SIGKILL);
    test_join_signal(host.master, SIGKILL);
    take_over(&next, &host, &places[index]); /* while they may still be ending */
    kit_hear_end(client);
    kit_close(client);
    kit_close(stuck);
    for (int i = 0; i < 3; i++)
        kit_await_gone(host.book->pids[i]);
    client = kit_connect(&next);
    kit_ask_pid(client);
    kit_close(client);
    host_fini(&host);
    host_stop(&next);
}

/* The setting of prctl(2) is gone after a change of uid, and is made again. */
static int become_nobody(unsigned worker, void *data)
{
    (void)worker, (void)data;
    return test_become_nobody() ? 0 : -EPERM;
}

TEST(h63_also_when_the_workers_change_their_uid)
{
    struct host host;
    if (!test_is_root())
        test_skip("needs root to become another user");
    host_init(&host, places[0].url, 2);
    host.options.start = become_nobody;
    host_start(&host);
    kill(host.master, SIGKILL);
    test_join_signal(host.master, SIGKILL);
    for (int i = 0; i < 2; i++)
        kit_await_gone(host.book->pids[i]);
    unlink("server");
    unlink("server.lock");
    host_fini(&host);
}

/* Its workers are ended by hand here, since nothing else would: PDEATHSIG is made to fail in them. */
static int forget_master(unsigned worker, void *data)
{
    const struct host *host = data;
    (void)worker;
    host->book->starts++;
    return 0;
}

TEST(h38_no_worker_holds_another_ones_control_socket)
{
    struct host host;
    char path[64], target[64];
    host_init(&host, places[0].url, 4);
    host.options.start = forget_master;
    host_start(&host);
    for (int i = 0; i < 4; i++) { /* in each worker: its end of one pair, and no end of others */
        int sockets = 0;
        for (int fd = 0; fd < 64; fd++) {
            snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)host.book->pids[i], fd);
            ssize_t size = readlink(path, target, sizeof target - 1);
            if (size > 0) {
                target[size] = '\0';
                sockets += strncmp(target, "socket:", 7) == 0;
                ck_assert_msg(!strstr(target, ".lock"), "a worker holds the lock on the name");
            }
        }
        ck_assert_int_eq(sockets, 2); /* the other is the one that listens */
    }
    host_stop(&host);
}

/* ---- a worker that dies at once ---- */

static int die_at_once(unsigned worker, void *data)
{
    const struct host *host = data;
    (void)worker;
    if (host->book->starts++ > 0)
        _exit(9);
    return 0;
}

TEST(a_worker_that_dies_at_once_is_not_forked_again_and_again)
{
    struct host host;
    host_init(&host, places[0].url, 1);
    host.options.start = die_at_once;
    host.options.pause_first = 5 * WHERRY_MILLISECOND;
    host.options.pause_most = 5 * WHERRY_SECOND;
    wherry_time started = wherry_now();
    host_start(&host);
    wherry_time begun = wherry_now();
    kill(host.book->pids[0], SIGKILL);
    test_gate_wait(&host.gates[WHERRY_SERVER_ENDED]);
    bool at_once = wherry_now() - started < WHERRY_SECOND; /* else the first start may need no pause */
    for (int i = 0; i < 6; i++)
        test_gate_wait(&host.gates[WHERRY_SERVER_NOT_STARTED]);
    wherry_time took = wherry_now() - begun;
    ck_assert_msg(took >= (5 + 10 + 20 + 40 + 80 + (at_once ? 160 : 0)) * WHERRY_MILLISECOND, "6 starts in %lld ms",
                  (long long)(took / WHERRY_MILLISECOND));
    ck_assert_msg(strstr(host.book->text, "exited with 9 before it served"), "%s", host.book->text);
    host_stop(&host);
}

/* ---- what cannot begin ---- */

static void fail_to_run(struct host *host, int expected, const char *why)
{
    host->expected = expected;
    host->master = test_fork(kit_run, host);
    test_join(host->master);
    ck_assert_msg(strstr(host->book->why, why), "%s", host->book->why);
    host_fini(host);
}

static int refuse_to_start(unsigned worker, void *data)
{
    (void)data;
    return worker == 1 ? wherry_channel_open("nowhere:", WHERRY_SEND, NULL, WHERRY_NOW, NULL) : 0;
}

TEST(what_start_says_is_what_run_says)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host.options.start = refuse_to_start;
    fail_to_run(&host, -EPROTONOSUPPORT, "worker 1: nowhere:");
}

static int stay_away(unsigned worker, void *data)
{
    (void)worker, (void)data;
    while (pause() < 0)
        ;
    return 0;
}

TEST(a_worker_that_does_not_come_to_serve_is_killed)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host.options.start = stay_away;
    host.options.start_timeout = 30 * WHERRY_MILLISECOND;
    fail_to_run(&host, -ECHILD, "did not come to serve in time");
}

TEST(an_address_in_use_is_said_with_who_has_it)
{
    struct host host, other;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        char pid[32];
        host_at(&host, &places[i], 1);
        host_start(&host);
        host_at(&other, &places[i], 1);
        snprintf(other.url, sizeof other.url, "%s", host.book->url);
        snprintf(pid, sizeof pid, "pid %d", (int)host.master);
        fail_to_run(&other, -EADDRINUSE, i == 0 ? pid : "is listening");
        host_stop(&host);
    }
}

TEST(what_no_server_can_stand_on_is_refused)
{
    static const struct wrong {
        const char *url, *why;
        int code;
        unsigned workers;
        bool reuse_port;
    } wrongs[] = {
        {"shm://server", "a server listens at", -EOPNOTSUPP, 1, false},
        {"unix:./server", "reuse_port is for tcp:", -EOPNOTSUPP, 1, true},
        {"unix:./server?connect", "", -EINVAL, 1, false},
        {"unix:./server?report_ends=1", "leave report_ends out", -EINVAL, 1, false},
        {"unix:./server", "5000 workers", -EINVAL, 5000, false},
        {"unix:./not/there", "directory does not exist", -ENOENT, 1, false},
        {"pipe:", "a server listens at", -EOPNOTSUPP, 1, false},
        {"nothing", "", -EINVAL, 1, false},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct host host;
        host_init(&host, wrongs[i].url, wrongs[i].workers);
        host.options.reuse_port = wrongs[i].reuse_port;
        fail_to_run(&host, wrongs[i].code, wrongs[i].why);
    }
}

static void *idle(void *argument)
{
    test_gate_wait(argument);
    return NULL;
}

TEST(h64_a_process_with_threads_is_refused)
{
    test_needs(TEST_OWN_THREADS);
    struct test_gate gate;
    pthread_t thread;
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    test_gate_init(&gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, idle, &gate), 0);
    test_is(wherry_server_run("unix:./server", &options, kit_answer, NULL), -EBUSY);
    ck_assert_msg(strstr(wherry_why(), "has 2 threads"), "%s", wherry_why());
    test_gate_open(&gate);
    pthread_join(thread, NULL);
    test_gate_fini(&gate);
}

/* ---- limits ---- */

static void stop_when_it_listens(const struct wherry_server_event *event, void *data)
{
    (void)data;
    if (event->kind == WHERRY_SERVER_LISTENS)
        kill(getpid(), SIGTERM);
}

TEST(without_descriptors_it_does_not_begin_and_leaves_nothing)
{
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    struct rlimit before, limit;
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.workers = 8;
    options.event = stop_when_it_listens;
    getrlimit(RLIMIT_NOFILE, &before);
    size_t open = test_descriptors();
    int result = -EMFILE;
    rlim_t room = 0;
    for (; result == -EMFILE; room++) {
        limit = before;
        limit.rlim_cur = open + 1 + room;
        setrlimit(RLIMIT_NOFILE, &limit);
        result = wherry_server_run("unix:./server", &options, kit_answer, NULL);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_msg(result == 0 || strstr(wherry_why(), "descriptor") || strstr(wherry_why(), "Too many open files"),
                      "room for %d: %d, %s", (int)room, result, wherry_why());
        ck_assert_uint_eq(test_descriptors(), open);
        ck_assert_msg(access("server", F_OK) < 0, "room for %d: %d, %s", (int)room, result, wherry_why());
    }
    test_is(result, 0);
    ck_assert_uint_gt(room, 16); /* two for each worker, at least */
}

static void run_without_processes(void *argument)
{
    struct host *host = argument;
    struct rlimit before, none;
    ck_assert(test_become_nobody());
    getrlimit(RLIMIT_NPROC, &before);
    none = before;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NPROC, &none);
    kit_run(host);
    setrlimit(RLIMIT_NPROC, &before); /* sanitizers need one more at the end */
}

TEST(without_processes_it_does_not_begin_and_says_so)
{
    struct host host;
    if (!test_is_root())
        test_skip("needs root to become another user");
    host_init(&host, "tcp://127.0.0.1:0", 2);
    host.expected = -EAGAIN;
    test_join(test_fork(run_without_processes, &host));
    ck_assert_msg(strstr(host.book->why, "worker 0 could not be forked"), "%s", host.book->why);
    host_fini(&host);
}

static struct wherry__sys real;
static int forks_left;

static pid_t few_forks(void)
{
    if (forks_left-- > 0)
        return real.fork();
    errno = EAGAIN;
    return -1;
}

static int lacking_pidfd(pid_t pid, unsigned flags)
{
    if (forks_left-- > 0)
        return real.pidfd_open(pid, flags);
    errno = EMFILE;
    return -1;
}

TEST(what_was_started_before_one_cannot_be_is_ended)
{
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.workers = 4;
    real = wherry__sys;
    for (int i = 0; i < 4; i++) {
        wherry__sys.fork = few_forks;
        forks_left = i;
        test_is(wherry_server_run("unix:./server", &options, kit_answer, NULL), -EAGAIN);
        wherry__sys.fork = real.fork;
        wherry__sys.pidfd_open = lacking_pidfd;
        forks_left = i;
        test_is(wherry_server_run("unix:./server", &options, kit_answer, NULL), -EMFILE);
        wherry__sys.pidfd_open = real.pidfd_open;
    }
}

/* A replacement that cannot be forked now is forked later. */
static void run_with_few_forks(void *argument)
{
    real = wherry__sys;
    wherry__sys.fork = few_forks;
    forks_left = 2;
    kit_run(argument);
}

static void grant_forks(const struct wherry_server_event *event, void *data)
{
    kit_note(event, data);
    if (event->kind == WHERRY_SERVER_NOT_STARTED)
        forks_left = 100;
}

TEST(a_replacement_waits_until_there_is_room_for_it)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host.options.event = grant_forks;
    host_start_in(&host, run_with_few_forks);
    kill(host.book->pids[1], SIGKILL);
    test_gate_wait(&host.gates[WHERRY_SERVER_NOT_STARTED]);
    ck_assert_msg(strstr(host.book->text, "could not be forked"), "%s", host.book->text);
    host_await_ready(&host, 3);
    host_stop(&host);
}

/* ---- signals of the caller ---- */

static void run_ignoring_children(void *argument)
{
    signal(SIGCHLD, SIG_IGN);
    kit_run(argument);
    signal(SIGCHLD, SIG_DFL);
}

TEST(h61_ignored_children_are_noticed_all_the_same)
{
    struct host host;
    host_init(&host, places[0].url, 2);
    host_start_in(&host, run_ignoring_children);
    kill(host.book->pids[0], SIGKILL);
    test_gate_wait(&host.gates[WHERRY_SERVER_ENDED]);
    ck_assert_int_eq(host.book->status, -1);
    host_await_ready(&host, 3);
    host_stop(&host);
}

static void run_ignoring_sigint(void *argument)
{
    signal(SIGINT, SIG_IGN);
    kit_run(argument);
    signal(SIGINT, SIG_DFL);
}

TEST(an_ignored_sigint_stays_ignored)
{
    struct host host;
    host_init(&host, places[0].url, 1);
    host_start_in(&host, run_ignoring_sigint);
    kill(host.master, SIGINT);
    kill(host.master, SIGHUP);
    test_gate_wait(&host.gates[WHERRY_SERVER_REPLACED]); /* it was seen after SIGINT */
    ck_assert_int_eq(host.book->events[WHERRY_SERVER_DRAINS], 0);
    host_stop(&host);
}

/* A terminal, and systemd, send to the whole group. */
TEST(signals_to_the_whole_group_are_one_drain)
{
    struct host host;
    host_init(&host, places[0].url, 4);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        kit_run(&host);
        _exit(0);
    }
    test_gate_wait(&host.gates[WHERRY_SERVER_LISTENS]);
    struct wherry_channel *client = kit_connect(&host);
    kit_say(client, "wait");
    test_gate_wait(&host.inside);
    kill(-child, SIGINT);
    test_gate_wait(&host.gates[WHERRY_SERVER_DRAINS]);
    kill(-child, SIGTERM);
    test_gate_open(&host.onward);
    kit_hear(client, "wait");
    kit_hear_end(client);
    kit_close(client);
    test_join_status(child, 0);
    host_fini(&host);
}
