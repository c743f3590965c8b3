/* tests/unit/test_hazards_fifo.c - owns the proof for H34 and H36 to H39: pipes and FIFOs.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "channel/framing.h"
#include "harness.h"
#include "unit/ends.h"
#include "unit/pattern.h"

enum { LARGEST = 1 << 20 };

static const char *fifo_url(char *url, size_t capacity, const char *more)
{
    static const struct ends_kind fifo = ENDS_FIFO;
    return ends_url(url, capacity, &fifo, more);
}

/* ---- H34 --------------------------------------------------------------------------------------------------------- */

/* Messages of writer W begin with the byte FIRST + W, numbered from 0; their sizes and all other bytes follow from W
 * and the number.  A writer that is killed and started anew gets a new W. */
enum { WRITERS = 7, EACH = 60, KILLS = 40, FIRST = 0x21, MOST_WRITERS = 0xA0 };

static uint32_t number_of(unsigned writer, uint32_t count)
{
    return writer << 16 | count;
}

static size_t compose(uint8_t *data, unsigned writer, uint32_t count, size_t most)
{
    size_t size = pattern_size(number_of(writer, count));
    if (size > most)
        size = 1 + size % most;
    pattern_fill(data, size, number_of(writer, count));
    data[0] = (uint8_t)(FIRST + writer);
    return size;
}

struct h34 {
    char url[400];
    size_t most; /* bytes in a message */
    unsigned writer;
    uint32_t count; /* messages to send */
};

static void h34_write(void *argument)
{
    struct h34 *h34 = argument;
    struct wherry_channel *sender;
    uint8_t *data = malloc(LARGEST);
    test_ok(wherry_channel_open(h34->url, WHERRY_SEND, NULL, test_deadline(), &sender));
    for (uint32_t i = 0; i < h34->count; i++) {
        size_t size = compose(data, h34->writer, i, h34->most);
        test_ok(wherry_channel_send(sender, data, size, wherry_after(60 * WHERRY_SECOND)));
    }
    test_ok(wherry_channel_close(sender, wherry_after(60 * WHERRY_SECOND)));
    free(data);
}

struct arrivals {
    uint32_t next[MOST_WRITERS];
    uint8_t *wanted;
    size_t most;
};

/* Whole, unmixed, in order.  Returns whose it is. */
static unsigned check_arrival(struct arrivals *arrivals, const uint8_t *data, size_t size)
{
    ck_assert_uint_gt(size, 0);
    unsigned writer = (unsigned)data[0] - FIRST;
    ck_assert_msg(writer < MOST_WRITERS, "a message begins with byte %u", data[0]);
    size_t wanted = compose(arrivals->wanted, writer, arrivals->next[writer], arrivals->most);
    ck_assert_msg(size == wanted, "message %u of writer %u has %zu bytes, not %zu", arrivals->next[writer], writer,
                  size, wanted);
    ck_assert_msg(memcmp(data, arrivals->wanted, size) == 0, "message %u of writer %u is torn", arrivals->next[writer],
                  writer);
    arrivals->next[writer]++;
    return writer;
}

static void h34_run(const char *more, size_t most)
{
    struct h34 h34 = {.most = most, .count = EACH};
    struct arrivals arrivals = {.wanted = malloc(LARGEST), .most = most};
    struct wherry_channel *receiver;
    pid_t writers[WRITERS], victim;
    unsigned kills = 0, whole = 0;
    uint8_t *buffer = malloc(LARGEST);
    size_t size;
    fifo_url(h34.url, sizeof h34.url, more);
    test_ok(wherry_channel_open(h34.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    for (h34.writer = 0; h34.writer < WRITERS; h34.writer++)
        writers[h34.writer] = test_fork(h34_write, &h34);
    h34.count = UINT32_MAX;
    victim = test_fork(h34_write, &h34);
    while (whole < WRITERS * EACH || kills < KILLS) {
        int result = wherry_channel_receive(receiver, buffer, LARGEST, &size, wherry_after(60 * WHERRY_SECOND));
        if (result == 0) /* for a moment the victim was alone, and dead */
            continue;
        test_is(result, 1);
        unsigned writer = check_arrival(&arrivals, buffer, size);
        whole += writer < WRITERS;
        if (writer == h34.writer && kills < KILLS && arrivals.next[writer] > kills % 4) {
            test_kill(victim); /* somewhere in a later message */
            kills++;
            h34.writer++;
            victim = test_fork(h34_write, &h34);
        }
    }
    test_kill(victim);
    for (unsigned i = 0; i < WRITERS; i++)
        test_join_by(writers[i], wherry_after(60 * WHERRY_SECOND));
    int result;
    while ((result = wherry_channel_receive(receiver, buffer, LARGEST, &size, test_deadline())) == 1)
        check_arrival(&arrivals, buffer, size);
    test_is(result, 0);
    for (unsigned i = 0; i < WRITERS; i++)
        ck_assert_uint_eq(arrivals.next[i], EACH);
    wherry_channel_close(receiver, WHERRY_NOW);
    free(arrivals.wanted);
    free(buffer);
}

TEST_WITH(h34_concurrent_fifo_writers_never_interleave, .seconds = 120)
{
    h34_run("", LARGEST);
}

TEST_WITH(h34_concurrent_fifo_writers_of_lines_never_interleave, .seconds = 120)
{
    h34_run("frame=line", 4095);
}

/* A writer that dies in the middle leaves a half; it is dropped, and counted, at the end at the latest. */
TEST(h34_the_half_of_a_dead_writer_is_dropped)
{
    char url[400], path[256], buffer[8];
    uint8_t atom[WHERRY__PART_ATOM] = {0};
    struct wherry__part part = {.size = WHERRY__PART_PAYLOAD, .total = 10000, .message = 1, .sender = 6};
    struct wherry_channel *receiver;
    struct wherry_channel_stats stats;
    size_t size;
    fifo_url(url, sizeof url, "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    for (unsigned i = 1; i <= 3; i++) {
        int raw = open(test_path(path, "place"), O_WRONLY | O_CLOEXEC);
        wherry__part_encode(atom, &part);
        ck_assert_int_eq(write(raw, atom, sizeof atom), sizeof atom);
        close(raw);
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
        test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
        ck_assert_uint_eq(stats.dropped, i);
    }
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* Raw programs at the other end would mix: what could not be kept together is refused. */
TEST(h34_records_over_pipe_buf_are_refused_without_writers_1)
{
    char url[400];
    struct wherry_channel *receiver, *sender;
    static char data[5000];
    memset(data, 'x', sizeof data);
    static const char *const framings[] = {"frame=line", "frame=nul", "frame=raw", "frame=fixed:4097"};
    for (size_t i = 0; i < 4; i++) {
        fifo_url(url, sizeof url, framings[i]);
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender));
        test_is(wherry_channel_send(sender, data, 4097, WHERRY_NOW), -EMSGSIZE);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "writers=1"));
        wherry_channel_close(sender, WHERRY_NOW);
        wherry_channel_close(receiver, WHERRY_NOW);
    }
}

/* ---- H36 --------------------------------------------------------------------------------------------------------- */

TEST(h36_opening_a_fifo_without_a_peer_keeps_its_deadline)
{
    char url[400], path[256];
    struct wherry_channel *channel = NULL;
    fifo_url(url, sizeof url, "");
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EAGAIN); /* no such FIFO */
    ck_assert_ptr_nonnull(strstr(wherry_why(), "start the receiver"));
    ck_assert_int_eq(mkfifo(test_path(path, "place"), 0600), 0);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EAGAIN); /* nobody reads */
    ck_assert_ptr_nonnull(strstr(wherry_why(), "nobody reads there"));
    wherry_time deadline = wherry_after(50 * WHERRY_MILLISECOND);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, deadline, &channel), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    ck_assert_ptr_null(channel);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel)); /* never waits for a sender */
    size_t size;
    char buffer[8];
    test_is(wherry_channel_receive(channel, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN); /* and no end yet */
    wherry_channel_close(channel, WHERRY_NOW);
    ck_assert_int_eq(access(path, F_OK), 0); /* it was there before */
    unlink(path);
}

static void h36_send(void *url)
{
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "first", 5, test_deadline()));
    test_ok(wherry_channel_close(sender, test_deadline()));
}

TEST(h36_a_sender_that_was_first_gets_through)
{
    char url[400], buffer[8];
    struct wherry_channel *receiver;
    size_t size;
    pid_t child = test_fork(h36_send, (void *)(uintptr_t)fifo_url(url, sizeof url, ""));
    test_until_asleep(child);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, 5);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
    test_join(child);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- H37 --------------------------------------------------------------------------------------------------------- */

/* A wait of 300 ms may cost a handful of wake-ups and no CPU time to speak of. */
static void expect_quiet_wait(struct wherry_channel *receiver)
{
    char buffer[8];
    size_t size;
    long wakeups = test_wakeups();
    wherry_time cpu = test_cpu_time();
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, wherry_after(300 * WHERRY_MILLISECOND)),
            -ETIMEDOUT);
    ck_assert_int_le(test_wakeups() - wakeups, 10);
    ck_assert_int_lt(test_cpu_time() - cpu, 100 * WHERRY_MILLISECOND);
}

TEST(h37_the_end_is_an_event_and_no_spin)
{
    char url[400], buffer[8];
    struct wherry_channel *receiver, *sender;
    size_t size;
    fifo_url(url, sizeof url, "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    int fd = (int)test_ok(wherry_channel_receive_fd(receiver));
    expect_quiet_wait(receiver);
    for (int i = 0; i < 3; i++) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender));
        if (i == 2) /* once by a sender who says nothing at all */
            test_ok(wherry_channel_send(sender, "x", 1, WHERRY_NOW));
        wherry_channel_close(sender, WHERRY_NOW);
        ck_assert_int_eq(poll(&poll_fd, 1, 15000 * (int)test_slowness()), 1);
        if (i == 2)
            test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN);
        ck_assert_int_eq(poll(&poll_fd, 1, 0), 0);
        expect_quiet_wait(receiver);
    }
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* poll() may see that a writer came and not yet that it is there: it says HUP while one is within open(2).  This stands
 * at that very moment. */
static int h37_writer = -1, h37_hangups;

static int ppoll_within_open(struct pollfd *fds, nfds_t count, const struct timespec *timeout)
{
    char path[256];
    if (h37_writer < 0)
        h37_writer = open(test_path(path, "place"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    int result = ppoll(fds, count, timeout, NULL);
    if (h37_hangups++ == 0) {
        fds[0].revents = POLLHUP;
        return 1;
    }
    return result;
}

TEST(h37_a_hangup_seen_while_a_writer_opens_is_no_end)
{
    char url[400], buffer[8];
    struct wherry_channel *receiver;
    size_t size;
    fifo_url(url, sizeof url, "frame=line");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    struct wherry__sys real = wherry__sys;
    wherry__sys.ppoll = ppoll_within_open;
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN);
    wherry__sys = real;
    ck_assert_int_ge(h37_hangups, 1);
    ck_assert_int_eq(write(h37_writer, "one\n", 4), 4);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW), 1);
    close(h37_writer);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* No writer of the receiver's own hides the end from a raw reader beside it, nor keeps a raw writer from EPIPE. */
TEST(h37_the_receiver_holds_no_writing_end)
{
    char url[400], path[256], byte;
    struct wherry_channel *receiver;
    fifo_url(url, sizeof url, "frame=raw");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    int raw = open(test_path(path, "place"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(raw, 0);
    ck_assert_int_eq(read(raw, &byte, 1), 0); /* the end: nobody writes */
    close(raw);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- H38 --------------------------------------------------------------------------------------------------------- */

struct h38 {
    char url[400];
    struct test_gate ready, leave;
    pid_t *sibling;
    bool killed, by_spawn;
};

/* Sends, with a sibling started while the FIFO is open; the sibling outlives it. */
static void h38_send(void *argument)
{
    struct h38 *h38 = argument;
    struct wherry_channel *sender;
    extern char **environ;
    test_ok(wherry_channel_open(h38->url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
    if (h38->by_spawn) { /* no fork handler runs here, only CLOEXEC helps */
        char *const words[] = {(char[]){"sleep"}, (char[]){"600"}, NULL};
        ck_assert_int_eq(posix_spawnp(h38->sibling, "sleep", NULL, NULL, words, environ), 0);
    } else {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        *h38->sibling = child;
    }
    test_gate_open(&h38->ready);
    if (h38->killed)
        for (;;)
            pause();
    wherry_channel_close(sender, test_deadline());
    _exit(0);
}

static const struct {
    const char *name;
    bool killed, by_spawn;
} h38_cases[] = {{"fork_closed", false, false},
                 {"fork_killed", true, false},
                 {"exec_closed", false, true},
                 {"exec_killed", true, true}};

TEST_TABLE(h38_a_forked_sibling_does_not_hide_the_end, h38_cases)
{
    struct h38 h38 = {.killed = h38_cases[index].killed, .by_spawn = h38_cases[index].by_spawn};
    struct wherry_channel *receiver;
    char buffer[8];
    size_t size;
    h38.sibling = test_shared(sizeof *h38.sibling);
    fifo_url(h38.url, sizeof h38.url, "");
    test_gate_init(&h38.ready);
    test_ok(wherry_channel_open(h38.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    pid_t child = test_fork(h38_send, &h38);
    test_gate_wait(&h38.ready);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    if (h38.killed)
        test_kill(child);
    else
        test_join(child);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
    ck_assert_int_eq(kill(*h38.sibling, 0), 0); /* it lived through all of it */
    kill(*h38.sibling, SIGKILL);
    waitpid(*h38.sibling, NULL, 0); /* ours when its parent is gone, should the harness reap; else init's */
    test_gate_fini(&h38.ready);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- H39 --------------------------------------------------------------------------------------------------------- */

struct h39 {
    char url[400];
    struct test_gate ready;
};

static void h39_receive(void *argument)
{
    struct h39 *h39 = argument;
    struct wherry_channel *receiver;
    char buffer[8];
    size_t size;
    test_ok(wherry_channel_open(h39->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    test_gate_open(&h39->ready);
    wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_FOREVER);
}

TEST_WITH(h39_two_readers_of_a_fifo_are_refused, .leaves = TEST_LEAVES_FILES)
{
    struct h39 h39;
    struct wherry_channel *receiver = NULL;
    char pid[24];
    fifo_url(h39.url, sizeof h39.url, "");
    test_gate_init(&h39.ready);
    pid_t child = test_fork(h39_receive, &h39);
    test_gate_wait(&h39.ready);
    test_is(wherry_channel_open(h39.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver), -EBUSY);
    snprintf(pid, sizeof pid, "pid %d (", (int)child);
    ck_assert_msg(strstr(wherry_why(), pid) != NULL, "%s does not name %s", wherry_why(), pid);
    ck_assert_ptr_null(receiver);
    test_kill(child); /* its place is free at once */
    test_ok(wherry_channel_open(h39.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    wherry_channel_close(receiver, WHERRY_NOW);
    test_gate_fini(&h39.ready);
}

/* After the end the reader has a new descriptor; the lock must have lived on. */
TEST(h39_the_place_is_held_across_the_end)
{
    char url[400], buffer[8];
    struct wherry_channel *receiver, *sender, *second = NULL;
    size_t size;
    fifo_url(url, sizeof url, "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    for (int i = 0; i < 3; i++) {
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender));
        wherry_channel_close(sender, WHERRY_NOW);
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
        test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &second), -EBUSY);
    }
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* Two processes of a family, both with the reading end: the first to receive is the receiver. */
static void h39_receive_inherited(void *argument)
{
    struct wherry_channel **pair = argument;
    char buffer[8];
    size_t size;
    test_is(wherry_channel_receive(pair[0], buffer, sizeof buffer, &size, WHERRY_NOW), -EBUSY);
    wherry_channel_close(pair[1], WHERRY_NOW);
    wherry_channel_close(pair[0], WHERRY_NOW);
}

TEST(h39_two_readers_of_an_inherited_pipe_are_refused)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *pair[2];
    char buffer[8];
    size_t size;
    options.inheritable = true;
    test_ok(wherry_channel_pair("pipe:", &options, pair));
    test_ok(wherry_channel_send(pair[1], "1", 1, WHERRY_NOW));
    test_is(wherry_channel_receive(pair[0], buffer, sizeof buffer, &size, WHERRY_NOW), 1);
    test_join(test_fork(h39_receive_inherited, pair));
    wherry_channel_close(pair[1], WHERRY_NOW);
    wherry_channel_close(pair[0], WHERRY_NOW);
}
