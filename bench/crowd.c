/* bench/crowd.c - one listening endpoint and ten thousand clients, beside an epoll loop written by hand.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: what does the message contract cost a server with a crowd?
 * The server runs on the first core, all clients in one process on the second.  Each client sends 64 bytes, waits for
 * them to come back, and sends again; so there are always as many requests under way as clients.  Wherry and the loop
 * by hand take turns.  The clients are the same raw loop for both. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { SIZE = 64, EVENTS = 64, SAMPLES = 1 << 20, SILENT = 100 };

struct trial {
    bool wherry;
    int clients, silent; /* of them so many never read */
    double seconds;
    _Atomic int port;
    _Atomic bool connected, stop;
    uint64_t answers; /* in the time measured */
    double took;
    size_t samples;
    double memory; /* bytes for each idle client, beyond the kernel's */
    float latency[SAMPLES];
};

static void raise_limit(int clients)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < (rlim_t)clients + 64)
        die("%d clients need as many descriptors, and %llu are allowed (ulimit -Hn)", clients,
            (unsigned long long)limit.rlim_max);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* What this process has in memory, from /proc/self/statm. */
static double resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        die("/proc/self/statm cannot be read");
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* ---- the servers ---- */

static void serve_wherry(struct trial *trial)
{
    struct wherry_channel *channel;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_info info;
    char data[SIZE];
    options.single_thread = true;
    options.backlog = 4096;
    if (wherry_channel_open("tcp://127.0.0.1:0?listen&frame=fixed:64", WHERRY_BOTH, &options, WHERRY_NOW, &channel) < 0)
        die("%s", wherry_why());
    double before = resident();
    bool measured = false;
    trial->port = atoi(strrchr(strtok(strdup(wherry_channel_url(channel)), "?"), ':') + 1);
    while (!trial->stop) {
        int result = wherry_channel_receive_info(channel, data, sizeof data, &info, wherry_after(WHERRY_MILLISECOND));
        if (result == 1) {
            struct wherry_message message = {.data = data, .size = info.size, .to = info.peer.id};
            wherry_channel_send_message(channel, &message, 0, WHERRY_NOW); /* who never reads gets nothing more */
        }
        struct wherry_channel_stats stats;
        if (!measured && result != 1 && wherry_channel_stats(channel, &stats, sizeof stats) == 0 &&
            stats.accepted == (uint64_t)trial->clients) {
            trial->memory = (resident() - before) / trial->clients;
            measured = true;
            trial->connected = true;
        }
    }
    wherry_channel_close(channel, WHERRY_NOW);
}

static void answer_by_hand(int fd)
{
    char data[SIZE];
    ssize_t size = read(fd, data, sizeof data);
    if (size > 0)
        (void)!send(fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    else if (size == 0 || errno != EAGAIN)
        close(fd);
}

static void serve_by_hand(struct trial *trial)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int on = 1, accepted = 0, epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0)
        die("listening failed: %s", strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &length);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    trial->port = ntohs(address.sin_port);
    while (!trial->stop) {
        int count = epoll_wait(epoll, events, EVENTS, 1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener) {
                answer_by_hand(events[i].data.fd);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; accepted++) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
        if (accepted == trial->clients)
            trial->connected = true;
    }
}

static void server(struct crew *crew, void *argument)
{
    struct trial *trial = argument;
    pin_to_core(0);
    raise_limit(trial->clients);
    crew_meet(crew);
    if (trial->wherry)
        serve_wherry(trial);
    else
        serve_by_hand(trial);
}

/* ---- the clients ---- */

struct client {
    int fd, had; /* bytes of the answer so far */
    int64_t asked;
};

static void ask(struct client *client)
{
    static const char data[SIZE] = {'x'};
    client->asked = now_ns();
    client->had = 0;
    if (send(client->fd, data, sizeof data, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof data)
        die("a request could not be sent: %s", strerror(errno));
}

static void connect_all(struct trial *trial, struct client *clients, int epoll)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    while (!trial->port)
        usleep(1000);
    address.sin_port = htons((uint16_t)trial->port);
    for (int i = 0; i < trial->clients; i++) {
        int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
            die("client %d could not connect: %s", i, strerror(errno));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = i < trial->silent ? 0u : EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        clients[i].fd = fd;
    }
    while (!trial->connected)
        usleep(1000);
}

/* Those who never read go on asking while there is room. */
static void ask_and_never_read(const struct trial *trial, const struct client *clients)
{
    static const char data[SIZE] = {'y'};
    for (int i = 0; i < trial->silent; i++)
        (void)!send(clients[i].fd, data, sizeof data, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void take_answers(struct trial *trial, int epoll, bool counts)
{
    struct epoll_event events[EVENTS];
    char data[SIZE];
    int count = epoll_wait(epoll, events, EVENTS, 1);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        ssize_t size = recv(client->fd, data, sizeof data - (size_t)client->had, MSG_DONTWAIT);
        if (size <= 0)
            die("an answer did not come: %s", size ? strerror(errno) : "the server closed the connection");
        client->had += (int)size;
        if (client->had < SIZE)
            continue;
        if (counts) {
            trial->answers++;
            if (trial->samples < SAMPLES)
                trial->latency[trial->samples++] = (float)(now_ns() - client->asked);
        }
        ask(client);
    }
}

static void crowd(struct crew *crew, void *argument)
{
    struct trial *trial = argument;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = need_memory((size_t)trial->clients * sizeof *clients);
    pin_to_core(1);
    raise_limit(trial->clients);
    crew_meet(crew);
    connect_all(trial, clients, epoll);
    for (int i = trial->silent; i < trial->clients; i++)
        ask(&clients[i]);
    int64_t warm = now_ns() + (int64_t)(trial->seconds * 0.3e9), turn = 0;
    while (now_ns() < warm) {
        take_answers(trial, epoll, false);
        ask_and_never_read(trial, clients);
    }
    int64_t from = now_ns(), until = from + (int64_t)(trial->seconds * 1e9);
    while (now_ns() < until) {
        take_answers(trial, epoll, true);
        if (trial->silent && ++turn % 16 == 0)
            ask_and_never_read(trial, clients);
    }
    trial->took = (double)(now_ns() - from) / 1e9;
    trial->stop = true;
}

/* ---- the rows ---- */

struct outcome {
    double rate, p99, memory;
};

static struct outcome run(bool wherry, int clients, int silent, double seconds)
{
    struct trial *trial = need_shared(sizeof *trial);
    struct crew crew;
    *trial = (struct trial){.wherry = wherry, .clients = clients, .silent = silent, .seconds = seconds};
    crew_init(&crew);
    crew_add(&crew, server, trial);
    crew_add(&crew, crowd, trial);
    if (!crew_finish(&crew))
        die("a trial failed");
    double *samples = need_memory((trial->samples + 1) * sizeof *samples);
    for (size_t i = 0; i < trial->samples; i++)
        samples[i] = (double)trial->latency[i];
    sort_numbers(samples, trial->samples);
    struct outcome outcome = {.rate = (double)trial->answers / trial->took,
                              .p99 = trial->samples ? quantile(samples, trial->samples, 0.99) : 0,
                              .memory = trial->memory};
    drop_memory(samples, (trial->samples + 1) * sizeof *samples);
    drop_memory(trial, sizeof *trial);
    return outcome;
}

enum { MOST_REPETITIONS = 32 };

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    enum { CLIENTS = 10000 };
    double rates[2][MOST_REPETITIONS], p99s[2][MOST_REPETITIONS], memory = 0;
    int repetitions = options.repetitions < MOST_REPETITIONS ? options.repetitions : MOST_REPETITIONS;
    stop_prepare();
    if (options.head)
        table_head();
    for (int i = 0; i < repetitions; i++) {
        struct outcome raw = run(false, CLIENTS, 0, options.seconds);
        struct outcome ours = run(true, CLIENTS, 0, options.seconds);
        struct outcome beset = run(true, CLIENTS, SILENT, options.seconds);
        rates[0][i] = raw.rate;
        rates[1][i] = ours.rate;
        p99s[0][i] = ours.p99;
        p99s[1][i] = beset.p99;
        memory = ours.memory > memory ? ours.memory : memory;
    }
    size_t count = (size_t)repetitions;
    double raw = median(rates[0], count), ours = median(rates[1], count);
    double calm = median(p99s[0], count), beset = median(p99s[1], count);
    struct figure figure = figure_rate(ours), other = figure_rate(raw);
    table_row(&(struct row){.name = "tcp, 10,000 clients, 64 B echo",
                            .goal = 0.95,
                            .figure = figure.text,
                            .raw = other.text,
                            .ratio = ours / raw,
                            .against = "epoll by hand"});
    figure = figure_time(beset);
    other = figure_time(calm);
    table_row(&(struct row){.name = "p99 while 100 more never read", .goal = 1.2, .goal_is_most = true,
                            .figure = figure.text, .raw = other.text, .ratio = beset / calm, .against = "all read"});
    snprintf(figure.text, sizeof figure.text, "%.0f B", memory);
    table_row(&(struct row){.name = "memory for an idle client", .goal = 1, .goal_is_most = true, .figure = figure.text,
                            .raw = "1024 B", .ratio = memory / 1024, .against = "the bound"});
    return table_misses() ? 1 : 0;
}
