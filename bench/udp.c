/* bench/udp.c - datagrams over loopback: wherry beside the plain loops.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: how many 64-byte datagrams a second arrive, and how many of those sent do?  The sender is on core 0, the
 * receiver on core 1, for a fixed time; UDP has no back-pressure, so a sender that is faster than its receiver loses
 * what does not fit into the receiver's buffer.  The figure is what arrived.  Every byte of every datagram is checked;
 * the raw loops are sendto(2) and recvfrom(2), and sendmmsg(2) and recvmmsg(2) of 64. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { SIZE = 64, TOGETHER = 128, RAW_TOGETHER = 64, MOST_REPETITIONS = 99 };

struct report {
    _Atomic bool over;    /* the receiver has seen the end */
    double arrived, sent; /* a second */
};

struct way {
    const char *name, *options; /* NULL: raw */
    unsigned together;          /* messages a call */
    bool borrowed;
};

struct run {
    const struct way *way;
    double seconds;
    struct report *report;
    char url[96];
    int port;
    unsigned char pattern[SIZE];
};

/* ---- sending ---- */

static size_t fill(unsigned char *data, unsigned count, uint64_t number)
{
    for (unsigned i = 0; i < count; i++)
        pattern_number(data + i * SIZE, number + i);
    return count;
}

static int raw_socket(int port, bool receives)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = receives ? bind(fd, (struct sockaddr *)&address, sizeof address)
                          : connect(fd, (struct sockaddr *)&address, sizeof address);
    if (fd < 0 || result < 0)
        die("no UDP socket: %s", strerror(errno));
    return fd;
}

static uint64_t raw_send(const struct run *run, int fd, unsigned char *data, uint64_t number)
{
    static struct mmsghdr headers[RAW_TOGETHER];
    static struct iovec parts[RAW_TOGETHER];
    if (run->way->together == 1) {
        pattern_number(data, number);
        return sendto(fd, data, SIZE, 0, NULL, 0) == SIZE;
    }
    fill(data, run->way->together, number);
    for (unsigned i = 0; i < run->way->together; i++) {
        parts[i] = (struct iovec){data + i * SIZE, SIZE};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int sent = sendmmsg(fd, headers, run->way->together, 0);
    return sent < 0 ? 0 : (uint64_t)sent;
}

static uint64_t wherry_send(const struct run *run, struct wherry_channel *channel, unsigned char *data, uint64_t number)
{
    static struct wherry_message messages[TOGETHER];
    fill(data, run->way->together, number);
    if (run->way->together == 1)
        return wherry_channel_send(channel, data, SIZE, WHERRY_FOREVER) == 0;
    for (unsigned i = 0; i < run->way->together; i++) {
        messages[i].data = data + i * SIZE;
        messages[i].size = SIZE;
    }
    ssize_t sent = wherry_channel_send_many(channel, messages, run->way->together, WHERRY_FOREVER);
    return sent < 0 ? 0 : (uint64_t)sent;
}

static void sender(struct crew *crew, void *argument)
{
    struct run *run = argument;
    struct wherry_channel *channel = NULL;
    unsigned char *data = need_memory(TOGETHER * SIZE);
    int fd = -1;
    pin_to_core(0);
    for (unsigned i = 0; i < TOGETHER; i++)
        pattern_fill(data + i * SIZE, SIZE);
    if (!run->way->options)
        fd = raw_socket(run->port, false);
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.single_thread = true;
    if (run->way->options && wherry_channel_open(run->url, WHERRY_SEND, &options, WHERRY_NOW, &channel) < 0)
        die("%s", wherry_why());
    crew_meet(crew);
    uint64_t number = 0;
    int64_t started = now_ns(), now;
    do {
        for (unsigned i = 0; i < TOGETHER; i += run->way->together)
            number += fd >= 0 ? raw_send(run, fd, data, number) : wherry_send(run, channel, data, number);
        now = now_ns();
    } while ((double)(now - started) < run->seconds * 1e9);
    run->report->sent = (double)number * 1e9 / (double)(now - started);
    while (!run->report->over) { /* a byte is the end; it may be lost */
        if ((fd >= 0 ? send(fd, data, 1, 0) : wherry_channel_send(channel, data, 1, WHERRY_NOW)) < 0)
            break;
        usleep(1000);
    }
    if (channel)
        wherry_channel_close(channel, WHERRY_NOW);
    if (fd >= 0)
        close(fd);
}

/* ---- receiving ---- */

struct tally {
    uint64_t count, last;
    int64_t first_at, last_at;
};

/* False at the end. */
static bool take(const struct run *run, struct tally *tally, const void *data, size_t size)
{
    uint64_t number;
    if (size == 1)
        return false;
    if (size != SIZE)
        die("%s: a datagram of %zu bytes", run->way->name, size);
    memcpy(&number, data, sizeof number);
    if ((tally->count && number <= tally->last) || !pattern_right(data, SIZE, run->pattern, number))
        die("%s: datagram %llu came with wrong contents", run->way->name, (unsigned long long)number);
    tally->last = number;
    if (tally->count++ % 64 == 0)
        tally->last_at = now_ns();
    if (tally->count == 1)
        tally->first_at = tally->last_at;
    return true;
}

static void raw_receive(const struct run *run, struct tally *tally, int fd)
{
    static unsigned char memory[RAW_TOGETHER][SIZE];
    static struct mmsghdr headers[RAW_TOGETHER];
    static struct iovec parts[RAW_TOGETHER];
    for (unsigned i = 0; i < RAW_TOGETHER; i++) {
        parts[i] = (struct iovec){memory[i], SIZE};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (bool more = true; more;) {
        if (run->way->together == 1) {
            ssize_t size = recvfrom(fd, memory[0], SIZE, 0, NULL, NULL);
            more = size < 0 || take(run, tally, memory[0], (size_t)size);
            continue;
        }
        int count = recvmmsg(fd, headers, RAW_TOGETHER, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count && more; i++)
            more = take(run, tally, memory[i], headers[i].msg_len);
    }
}

static void wherry_receive(const struct run *run, struct tally *tally, struct wherry_channel *channel)
{
    unsigned char buffer[SIZE];
    for (bool more = true; more;) {
        struct wherry_loan loan;
        size_t size;
        int result = run->way->borrowed ? wherry_channel_borrow(channel, &loan, WHERRY_FOREVER)
                                        : wherry_channel_receive(channel, buffer, sizeof buffer, &size, WHERRY_FOREVER);
        if (result != 1)
            die("%s: %s", run->way->name, wherry_why());
        if (!run->way->borrowed) {
            more = take(run, tally, buffer, size);
            continue;
        }
        more = take(run, tally, loan.data, loan.info.size);
        wherry_channel_return(channel, &loan);
    }
}

static void receiver(struct crew *crew, void *argument)
{
    struct run *run = argument;
    struct tally tally = {.count = 0};
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    int fd = -1;
    pin_to_core(1);
    options.single_thread = true;
    if (!run->way->options)
        fd = raw_socket(run->port, true);
    else if (wherry_channel_open(run->url, WHERRY_RECEIVE, &options, WHERRY_NOW, &channel) < 0)
        die("%s", wherry_why());
    crew_meet(crew);
    if (channel)
        wherry_receive(run, &tally, channel);
    else
        raw_receive(run, &tally, fd);
    run->report->over = true;
    if (tally.count > 64)
        run->report->arrived = (double)tally.count * 1e9 / (double)(tally.last_at - tally.first_at);
    wherry_channel_close(channel, WHERRY_NOW);
    if (fd >= 0)
        close(fd);
}

/* ---- the rows ---- */

static const struct way ways[] = {
    {"raw sendto, recvfrom", NULL, 1, false},
    {"raw sendmmsg, recvmmsg of 64", NULL, RAW_TOGETHER, false},
    {"send", "", 1, false},
    {"send, read_ahead=no", "?read_ahead=no", 1, false},
    {"send_many", "", TOGETHER, false},
    {"send_many, borrowed", "", TOGETHER, true},
    {"send_many, seq=1", "?seq=1", TOGETHER, false},
};
enum { WAYS = sizeof ways / sizeof *ways, RAW_ONE = 0, RAW_MANY = 1 };
static double arrived[WAYS][MOST_REPETITIONS], lost[WAYS][MOST_REPETITIONS];

static void measure(size_t way, size_t repetition, double seconds)
{
    static int port = 21000;
    struct run run = {.way = &ways[way], .seconds = seconds, .port = port++};
    struct crew crew;
    run.report = need_shared(sizeof *run.report);
    pattern_fill(run.pattern, sizeof run.pattern);
    snprintf(run.url, sizeof run.url, "udp://127.0.0.1:%d%s", run.port, run.way->options ? run.way->options : "");
    crew_init(&crew);
    crew_add(&crew, receiver, &run);
    crew_add(&crew, sender, &run);
    if (!crew_finish(&crew))
        die("%s: a process died", run.way->name);
    arrived[way][repetition] = run.report->arrived;
    lost[way][repetition] = 100 * (1 - run.report->arrived / run.report->sent);
    drop_memory(run.report, sizeof *run.report);
}

static double middle(const double *values, size_t count)
{
    double copy[MOST_REPETITIONS];
    memcpy(copy, values, count * sizeof *copy);
    return median(copy, count);
}

static void compare(size_t way, size_t other, double goal, size_t repetitions)
{
    char name[96];
    double ratios[MOST_REPETITIONS], missing = middle(lost[way], repetitions);
    for (size_t r = 0; r < repetitions; r++)
        ratios[r] = arrived[way][r] / arrived[other][r];
    struct figure figure = figure_rate(middle(arrived[way], repetitions)),
                  raw = figure_rate(middle(arrived[other], repetitions));
    snprintf(name, sizeof name, "udp, 64 B, %s; %.0f %% lost", ways[way].name, missing > 0 ? missing : 0);
    table_row(&(struct row){.name = name,
                            .goal = goal,
                            .figure = figure.text,
                            .raw = raw.text,
                            .ratio = median(ratios, repetitions),
                            .against = ways[other].name});
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    size_t repetitions = (size_t)options.repetitions;
    stop_prepare();
    if (options.head)
        table_head();
    if (!bench_wants(&options, "udp, 64 B"))
        return 0;
    for (size_t r = 0; r < repetitions; r++)
        for (size_t w = 0; w < WAYS; w++)
            measure(w, r, options.seconds);
    compare(RAW_MANY, RAW_ONE, 0, repetitions);
    for (size_t w = RAW_MANY + 1; w < WAYS; w++)
        compare(w, RAW_ONE, ways[w].together > 1 ? 3 : 0, repetitions);
    return table_misses() ? 1 : 0;
}
