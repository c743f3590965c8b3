/* tests/crash/test_server_soak.c - owns the soak of wherry/server.h: workers and masters are killed, stopped,
 * replaced and drained at random under load, and no request is lost but with the worker that was killed in it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Four clients ask without a pause, several requests at a time.  Each request has a number; a ledger in shared memory
 * says which incarnation of a worker was given it, and the client says whether it was answered.  The director, the
 * test's own process, marks an incarnation before it kills it or its master.  Afterwards each request was given to at
 * most one; and each that was given and not answered was given to one that was marked.  On Unix sockets, where the
 * kernel refuses what comes after the line that a drain draws, each that could be sent and was not answered went to
 * one that was marked, too.
 *
 * WHERRY_KILLS says how many blows, WHERRY_SEED begins another sequence. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

enum { WORKERS = 3, CLIENTS = 4, WINDOW = 8, MOST_REQUESTS = 1 << 20, MOST_INCARNATIONS = 8192, LARGEST = 3000 };

enum { ANSWERED = 1, CUT = 2 }; /* what the client saw */

struct incarnation {
    _Atomic pid_t pid;
    pid_t master;
    _Atomic bool marked; /* killed, or its master was: what it was given may be lost */
    _Atomic bool ended;
};

struct ledger {
    _Atomic bool over;
    _Atomic uint32_t incarnation_count;
    struct incarnation incarnations[MOST_INCARNATIONS];
    _Atomic uint32_t given[CLIENTS][MOST_REQUESTS]; /* incarnation + 1 */
    uint8_t seen[CLIENTS][MOST_REQUESTS];           /* by the client alone */
    uint32_t first[CLIENTS][MOST_REQUESTS];         /* of the same connection; UINT32_MAX: it could not be sent */
    uint32_t asked[CLIENTS];
    uint32_t connections[CLIENTS];
    _Atomic uint32_t twice, lost_events;
    _Atomic uint32_t ready, replaced, not_started;
    char url[200];
};

static const struct place {
    const char *name, *url;
    bool reuse_port;
} places[] = {
    {"unix", "unix:", false},
    {"seqpacket", "unix+seqpacket:", false},
    {"tcp", "tcp://127.0.0.1:0", false},
    {"tcp_reuse_port", "tcp://127.0.0.1:0", true},
};

struct soak {
    struct ledger *ledger;
    const struct place *place;
    struct test_gate listens;
    uint32_t random;
    unsigned own; /* in a worker: its incarnation */
    char url[200];
};

struct request {
    uint32_t client, number;
};

static uint32_t draw(uint32_t *random, uint32_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    return *random % below;
}

static uint32_t number_from(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 0) : otherwise;
}

/* ---- workers and masters ---- */

static int enroll(unsigned worker, void *data)
{
    struct soak *soak = data;
    (void)worker;
    soak->own = soak->ledger->incarnation_count++;
    if (soak->own >= MOST_INCARNATIONS)
        abort();
    soak->ledger->incarnations[soak->own].master = getppid();
    soak->ledger->incarnations[soak->own].pid = getpid();
    return 0;
}

static int answer(struct wherry_channel *channel, const struct wherry_loan *loan, void *data)
{
    struct soak *soak = data;
    struct request request;
    if (loan->info.size < sizeof request)
        abort();
    memcpy(&request, loan->data, sizeof request);
    if (atomic_exchange(&soak->ledger->given[request.client][request.number], soak->own + 1) != 0)
        soak->ledger->twice++;
    for (volatile unsigned work = request.number % 7 * 1000; work; work--)
        ;
    const struct wherry_message reply = {.data = loan->data, .size = loan->info.size, .to = loan->info.peer.id};
    return wherry_channel_send_message(channel, &reply, 0, wherry_after(10 * WHERRY_SECOND));
}

static void note(const struct wherry_server_event *event, void *data)
{
    struct soak *soak = data;
    struct ledger *ledger = soak->ledger;
    ledger->ready += event->kind == WHERRY_SERVER_READY;
    ledger->replaced += event->kind == WHERRY_SERVER_REPLACED;
    ledger->not_started += event->kind == WHERRY_SERVER_NOT_STARTED;
    if (event->kind == WHERRY_SERVER_LISTENS) {
        snprintf(ledger->url, sizeof ledger->url, "%s", event->text);
        test_gate_open(&soak->listens);
    }
    for (uint32_t i = 0; event->kind == WHERRY_SERVER_ENDED && i < ledger->incarnation_count; i++)
        if (ledger->incarnations[i].pid == event->pid && ledger->incarnations[i].master == getpid()) {
            ledger->incarnations[i].ended = true;
            ck_assert_msg(event->status == 0 || ledger->incarnations[i].marked, "a worker that was not killed: %s",
                          event->text);
            ck_assert_msg(event->status == 0 || (WIFSIGNALED(event->status) && WTERMSIG(event->status) == SIGKILL),
                          "%s", event->text);
        }
}

static void be_master(void *argument)
{
    struct soak *soak = argument;
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    options.workers = WORKERS;
    options.reuse_port = soak->place->reuse_port;
    options.drain_timeout = options.start_timeout = 60 * WHERRY_SECOND; /* a stretched clock is no failure */
    options.pause_most = 20 * WHERRY_MILLISECOND;
    options.start = enroll;
    options.event = note;
    int result = -EADDRINUSE;
    /* it waits a second for those whose master was killed, which is little where the machine stands still */
    for (int tries = 0; tries < 20 && result == -EADDRINUSE; tries++)
        result = wherry_server_run(soak->url, &options, answer, soak);
    test_ok(result);
}

static pid_t start_master(struct soak *soak)
{
    pid_t master = test_fork(be_master, soak);
    test_gate_wait(&soak->listens);
    snprintf(soak->url, sizeof soak->url, "%s", soak->ledger->url); /* the next takes the same port */
    return master;
}

/* ---- clients ---- */

struct client {
    struct soak *soak;
    struct wherry_channel *channel;
    uint32_t number, random;
    uint32_t first;                          /* request of this connection */
    uint32_t waiting[WINDOW], waiting_count; /* in the order in which they were asked */
};

static size_t message_of(uint32_t client, uint32_t number, uint8_t *message)
{
    const struct request request = {client, number};
    uint32_t random = number * 2654435761u + client + 1;
    size_t size = sizeof request + draw(&random, draw(&random, 8) ? 100 : LARGEST - (uint32_t)sizeof request);
    memset(message, (int)(number & 0xff), size);
    memcpy(message, &request, sizeof request);
    return size;
}

/* Whether the connection goes on. */
static bool ask(struct client *client)
{
    static uint8_t message[LARGEST];
    struct ledger *ledger = client->soak->ledger;
    uint32_t number = ledger->asked[client->number];
    ck_assert_uint_lt(number, MOST_REQUESTS);
    size_t size = message_of(client->number, number, message);
    int result = wherry_channel_send(client->channel, message, size, test_deadline());
    ck_assert_msg(result == 0 || result == -EPIPE || result == -ECONNRESET || result == -ENOTCONN, "send: %d, %s",
                  result, wherry_why());
    ledger->asked[client->number]++; /* also one that was refused: a part of it may have left */
    ledger->seen[client->number][number] = CUT;
    ledger->first[client->number][number] = result == 0 ? client->first : UINT32_MAX;
    if (result == 0)
        client->waiting[client->waiting_count++] = number;
    return result == 0;
}

/* The next answer, or false: the end. */
static bool hear(struct client *client)
{
    static uint8_t message[LARGEST], expected[LARGEST];
    size_t size;
    int result =
        wherry_channel_receive(client->channel, message, sizeof message, &size, wherry_after(60 * WHERRY_SECOND));
    ck_assert_msg(result == 1 || result == 0 || result == -ECONNRESET || result == -EPIPE,
                  "client %u waits for %u answers: %d, %s", client->number, client->waiting_count, result,
                  wherry_why());
    if (result != 1)
        return false;
    ck_assert_uint_gt(client->waiting_count, 0);
    uint32_t number = client->waiting[0];
    ck_assert_uint_eq(size, message_of(client->number, number, expected));
    ck_assert(memcmp(message, expected, size) == 0);
    client->soak->ledger->seen[client->number][number] = ANSWERED;
    memmove(client->waiting, client->waiting + 1, --client->waiting_count * sizeof *client->waiting);
    return true;
}

static void be_client(void *argument)
{
    struct client *client = argument;
    struct ledger *ledger = client->soak->ledger;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.side = WHERRY_CONNECT;
    while (!ledger->over) {
        int result = wherry_channel_open(client->soak->url, WHERRY_BOTH, &options, wherry_after(60 * WHERRY_SECOND),
                                         &client->channel);
        ck_assert_msg(result == 0 || result == -ECONNRESET || result == -EPIPE, "open: %d, %s", result, wherry_why());
        if (result < 0)
            continue;
        ledger->connections[client->number]++;
        bool goes_on = true;
        uint32_t left = 1 + draw(&client->random, 500);
        client->waiting_count = 0;
        client->first = ledger->asked[client->number];
        while (goes_on && left && !ledger->over) {
            uint32_t window = 1 + draw(&client->random, WINDOW);
            while (goes_on && left && client->waiting_count < window) {
                goes_on = ask(client);
                left--;
            }
            if (goes_on)
                goes_on = hear(client);
        }
        while (client->waiting_count && hear(client)) /* also after a send that failed: answers may be there */
            ;
        wherry_channel_close(client->channel, WHERRY_NOW);
    }
}

/* ---- the director ---- */

/* A living worker of this master, or NULL. */
static struct incarnation *some_worker(struct soak *soak, pid_t master)
{
    struct ledger *ledger = soak->ledger;
    uint32_t count = ledger->incarnation_count, at = draw(&soak->random, count ? count : 1);
    uint32_t back =
        at > 2 * WORKERS && at + 4 * WORKERS < count ? count - 4 * WORKERS : 0; /* the living are the last */
    for (uint32_t i = 0; i < count; i++) {
        struct incarnation *one = &ledger->incarnations[(at + back + i) % count];
        if (one->master == master && one->pid && !one->ended && !one->marked)
            return one;
    }
    return NULL;
}

static void mark_all_of(struct soak *soak, pid_t master)
{
    for (uint32_t i = 0; i < soak->ledger->incarnation_count; i++)
        if (soak->ledger->incarnations[i].master == master)
            soak->ledger->incarnations[i].marked = true;
}

/* Its workers have come to this process, if they were not the master's to reap; none of them is left. */
static void reap_workers_of(struct soak *soak, pid_t master)
{
    for (uint32_t i = 0; i < soak->ledger->incarnation_count; i++) {
        pid_t pid = soak->ledger->incarnations[i].master == master ? soak->ledger->incarnations[i].pid : 0;
        test_until(!pid || waitpid(pid, NULL, WNOHANG) > 0 || soak->ledger->incarnations[i].ended || kill(pid, 0) < 0,
                   "worker %d has outlived its master", (int)pid);
    }
    int status;
    pid_t other;
    while ((other = waitpid(-1, &status, WNOHANG | __WALL)) > 0) /* one that was killed before it had enrolled */
        ck_assert_msg(WIFSIGNALED(status) || WIFEXITED(status), "%d", (int)other);
}

static void pause_at_random(struct soak *soak)
{
    test_sleep(draw(&soak->random, draw(&soak->random, 4) ? 3000 : 30000) * WHERRY_MICROSECOND);
}

static void stop_for_a_while(struct soak *soak, pid_t pid)
{
    kill(pid, SIGSTOP);
    pause_at_random(soak);
    kill(pid, SIGCONT);
}

/* One blow; the master that serves afterwards. */
static pid_t strike(struct soak *soak, pid_t master, uint32_t *tally)
{
    enum { KILL, STOP, DRAIN_ONE, HANG_UP, STOP_MASTER, KILL_MASTER, TERMINATE, BLOWS };
    struct incarnation *worker = some_worker(soak, master);
    uint32_t blow = draw(&soak->random, BLOWS);
    tally[blow]++;
    if (blow <= DRAIN_ONE && !worker)
        return master;
    if (blow == KILL) {
        worker->marked = true;
        kill(worker->pid, SIGKILL);
    } else if (blow == STOP) {
        stop_for_a_while(soak, worker->pid);
    } else if (blow == DRAIN_ONE) {
        kill(worker->pid, SIGTERM);
    } else if (blow == HANG_UP) {
        kill(master, SIGHUP);
    } else if (blow == STOP_MASTER) {
        stop_for_a_while(soak, master);
    } else if (blow == KILL_MASTER) {
        if (worker && draw(&soak->random, 2))
            kill(worker->pid, SIGSTOP); /* it is to end all the same */
        mark_all_of(soak, master);
        kill(master, SIGKILL);
        test_join_signal(master, SIGKILL);
        mark_all_of(soak, master);                                    /* those that enrolled meanwhile */
        pid_t next = draw(&soak->random, 2) ? start_master(soak) : 0; /* while they may still be ending */
        reap_workers_of(soak, master);
        return next ? next : start_master(soak);
    } else {
        kill(master, SIGTERM);
        if (draw(&soak->random, 2))
            kill(master, SIGHUP);
        test_join_by(master, wherry_after(60 * WHERRY_SECOND));
        for (uint32_t i = 0; i < soak->ledger->incarnation_count; i++)
            if (soak->ledger->incarnations[i].master == master && !soak->ledger->incarnations[i].ended)
                ck_assert_int_lt(kill(soak->ledger->incarnations[i].pid, 0), 0);
        return start_master(soak);
    }
    return master;
}

/* The children of a process, and how many of them are zombies. */
static int children_of(pid_t pid, int *ret_zombies)
{
    char path[64], state;
    int child, count = 0;
    *ret_zombies = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *list = fopen(path, "re");
    ck_assert_ptr_nonnull(list);
    while (fscanf(list, "%d", &child) == 1) {
        count++;
        snprintf(path, sizeof path, "/proc/%d/stat", child);
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1)
            *ret_zombies += state == 'Z';
        if (file)
            fclose(file);
    }
    fclose(list);
    return count;
}

static void check_family(pid_t master)
{
    int zombies, count; /* a replacement may be under way */
    test_until((count = children_of(master, &zombies)) == WORKERS && !zombies, "%d children, %d of them zombies", count,
               zombies);
}

static void settle_accounts(const struct soak *soak)
{
    const struct ledger *ledger = soak->ledger;
    uint64_t asked = 0, answered = 0, lost_with_killed = 0, never_given = 0, connections = 0;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        connections += ledger->connections[c];
        for (uint32_t n = 0; n < ledger->asked[c]; n++) {
            uint32_t given = ledger->given[c][n];
            asked++;
            answered += ledger->seen[c][n] == ANSWERED;
            never_given += given == 0;
            ck_assert_msg(given || ledger->seen[c][n] != ANSWERED, "client %u: %u was answered by nobody", c, n);
            if (!given && ledger->first[c][n] != UINT32_MAX && !strncmp(soak->place->url, "unix", 4)) {
                uint32_t first = ledger->given[c][ledger->first[c][n]]; /* 0: the connection was never accepted */
                ck_assert_msg(
                    !first || ledger->incarnations[first - 1].marked,
                    "client %u: request %u reached the socket of worker %d, which drained, and was not answered", c, n,
                    (int)ledger->incarnations[first - 1].pid);
            }
            if (!given || ledger->seen[c][n] == ANSWERED)
                continue;
            lost_with_killed++;
            ck_assert_msg(ledger->incarnations[given - 1].marked,
                          "client %u: request %u was given to worker %d, which was not killed, and not answered", c, n,
                          (int)ledger->incarnations[given - 1].pid);
        }
    }
    ck_assert_uint_eq(ledger->twice, 0);
    printf("# %s: %llu requests on %llu connections, %llu answered, %llu cut before they were given, %llu gone with a "
           "worker that was killed; %u workers, %u replacements by SIGHUP\n",
           soak->place->name, (unsigned long long)asked, (unsigned long long)connections, (unsigned long long)answered,
           (unsigned long long)never_given, (unsigned long long)lost_with_killed, ledger->incarnation_count,
           ledger->replaced);
    ck_assert_uint_gt(answered, 0);
}

TEST_WITH(no_request_is_lost_but_with_its_worker, .seconds = 280, .table = places, .stride = sizeof places[0],
          .length = sizeof places / sizeof *places)
{
    static struct client clients[CLIENTS];
    struct soak soak = {.ledger = test_shared(sizeof *soak.ledger),
                        .place = &places[index],
                        .random = number_from("WHERRY_SEED", 1) * 2654435761u + (uint32_t)index + 1};
    uint32_t kills = number_from("WHERRY_KILLS", TEST_SANITIZED ? 40 : 200), tally[8] = {0};
    char path[160];
    pid_t pids[CLIENTS];
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    test_path(path, "server");
    snprintf(soak.url, sizeof soak.url, "%s%s", places[index].url, index < 2 ? path : "");
    test_gate_init(&soak.listens);
    pid_t master = start_master(&soak);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.soak = &soak, .number = i, .random = soak.random + i + 1};
        pids[i] = test_fork(be_client, &clients[i]);
    }
    for (uint32_t i = 0; i < kills; i++) {
        pause_at_random(&soak);
        master = strike(&soak, master, tally);
    }
    check_family(master);
    soak.ledger->over = true;
    for (int i = 0; i < CLIENTS; i++)
        test_join_by(pids[i], wherry_after(60 * WHERRY_SECOND));
    kill(master, SIGTERM);
    test_join_by(master, wherry_after(60 * WHERRY_SECOND));
    reap_workers_of(&soak, master);
    test_gate_fini(&soak.listens);
    settle_accounts(&soak);
}
