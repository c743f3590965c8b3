/* tests/unit/test_hazards_streams.c - owns the proof for H5, H35, H56 and H59: bytes on their way.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "harness.h"
#include "unit/ends.h"
#include "unit/faults.h"
#include "unit/pattern.h"

static const struct ends_kind kinds[] = {ENDS_ALL};
static const struct ends_kind streams[] = {ENDS_STREAMS};
static const char *const framings[] = {"frame=length", "frame=line", "frame=nul", "frame=fixed:700"};
enum { FRAMINGS = sizeof framings / sizeof *framings, LARGEST = 1 << 20 };

/* Sizes around every edge: of a pipe's atom, of the buffers, of what a socket takes. */
static const size_t sizes[] = {0,    1,    2,    64,    700,   2047,  2048,   4064,
                               4084, 4096, 5000, 16384, 65535, 65536, 300000, LARGEST};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool fits(const struct ends_kind *kind, const char *framing, size_t size)
{
    if (strstr(framing, "fixed"))
        return size == 700;
    if (kind->packets)
        return size < 200000; /* the kernel's own limit, net.core.wmem_max, is another test's */
    return strstr(framing, "length") || !kind->atoms || size < 4096;
}

/* Both ends are in one thread: what a send could not write is kept, and flushed while receiving. */
static void expect(struct ends *ends, void *buffer, size_t size, uint32_t number)
{
    size_t got = 99;
    wherry_time deadline = test_deadline();
    int result;
    do {
        wherry_channel_flush(ends->sender, WHERRY_NOW);
        result = wherry_channel_receive(ends->receiver, buffer, LARGEST + 1, &got, WHERRY_NOW);
    } while (result == -EAGAIN && wherry_now() < deadline);
    test_is(result, 1);
    ck_assert_uint_eq(got, size);
    ck_assert_msg(pattern_is(buffer, size, number), "message %u of %zu bytes differs from byte %zu on", number, size,
                  pattern_match(buffer, size, number));
}

/* All sizes through one pair of ends. */
static void carry_all(const struct ends_kind *kind, const char *framing)
{
    struct ends ends;
    uint8_t *data = malloc(LARGEST), *buffer = malloc(LARGEST + 1);
    ends_open(&ends, kind, kind->packets ? "" : framing);
    for (uint32_t i = 0; i < SIZES; i++) {
        if (!fits(kind, framing, sizes[i]))
            continue;
        pattern_fill(data, sizes[i], i);
        test_ok(wherry_channel_send(ends.sender, data, sizes[i], WHERRY_NOW));
        expect(&ends, buffer, sizes[i], i);
    }
    ends_close(&ends);
    free(data);
    free(buffer);
}

/* ---- H5 ---------------------------------------------------------------------------------------------------------- */

static const size_t limits[] = {3, 1, 0, 4095, 12, 11, 0, 4097, 32, 31, 65535, 7};
enum { LIMITS = sizeof limits / sizeof *limits };

TEST_TABLE(h5_short_writes_arrive_whole, streams)
{
    faults_short_writes(limits, LIMITS);
    for (size_t f = 0; f < FRAMINGS; f++)
        carry_all(&streams[index], framings[f]);
    ck_assert_uint_gt(faults_calls, 0);
}

/* pwritev2 of a kernel before 6.18: a call of it writes nothing. */
static ssize_t refuse_flag(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    (void)fd, (void)parts, (void)count, (void)at, (void)flags;
    errno = EOPNOTSUPP;
    return -1;
}

TEST_TABLE(h5_short_writes_without_rwf_nosignal_arrive_whole, streams)
{
    faults_short_writes(limits, LIMITS);
    wherry__sys.pwritev2 = refuse_flag;
    for (size_t f = 0; f < FRAMINGS; f++)
        carry_all(&streams[index], framings[f]);
    ck_assert_uint_gt(faults_calls, 0);
}

TEST_TABLE(h5_writes_of_one_byte_arrive_whole, streams)
{
    static const size_t one[] = {1};
    struct ends ends;
    uint8_t data[5000], buffer[5001];
    faults_short_writes(one, 1);
    ends_open(&ends, &streams[index], "");
    for (uint32_t size = 0; size <= 5000; size += 1250) {
        size_t got;
        pattern_fill(data, size, size);
        test_ok(wherry_channel_send(ends.sender, data, size, WHERRY_NOW));
        test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &got, WHERRY_NOW), 1);
        ck_assert_uint_eq(got, size);
        ck_assert(pattern_is(buffer, size, size));
    }
    ends_close(&ends);
}

TEST_TABLE(h5_short_reads_arrive_whole, kinds)
{
    faults_short_reads(limits, LIMITS);
    for (size_t f = 0; f < (kinds[index].packets ? 1 : FRAMINGS); f++)
        carry_all(&kinds[index], framings[f]);
}

/* Of what a send handed to the kernel the last bytes find no room, once, and room is there again at once.  Who has the
 * time has them written before the send returns: its caller may not come back for long. */
static unsigned cut_short;

static bool goes_short(void)
{
    cut_short++;
    if (cut_short == 2)
        errno = EAGAIN;
    return cut_short <= 2;
}

static ssize_t send_but_the_end(int fd, const void *data, size_t size, int flags)
{
    if (!goes_short())
        return faults_real.send(fd, data, size, flags);
    return cut_short == 1 ? faults_real.send(fd, data, size - 7, flags) : -1;
}

static ssize_t writev_but_the_end(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    if (!goes_short())
        return faults_real.pwritev2(fd, parts, count, at, flags);
    struct iovec cut = {parts[0].iov_base, parts[0].iov_len - 7};
    return cut_short == 1 ? faults_real.pwritev2(fd, &cut, 1, at, flags) : -1;
}

static const struct ends_kind ones[] = {ENDS_PIPE, ENDS_FIFO_SINGLE, ENDS_SOCKETPAIR, ENDS_UNIX, ENDS_TCP};

TEST_TABLE(h5_what_was_sent_in_time_is_out_to_its_last_byte, ones)
{
    enum { COUNT = 5 };
    struct wherry_message messages[COUNT];
    struct ends ends;
    char buffer[32];
    size_t size;
    if (index < 2) /* those that are no sockets */
        test_needs(TEST_PWRITEV2);
    for (int many = 0; many < 2; many++) {
        faults_real = wherry__sys;
        ends_open(&ends, &ones[index], "");
        cut_short = 0;
        wherry__sys.send = send_but_the_end;
        wherry__sys.pwritev2 = writev_but_the_end;
        for (int i = 0; i < COUNT; i++)
            messages[i] = (struct wherry_message){.data = "twenty bytes of text", .size = 20};
        if (many)
            test_is(wherry_channel_send_many(ends.sender, messages, COUNT, test_deadline()), COUNT);
        else
            test_ok(wherry_channel_send(ends.sender, messages[0].data, 20, test_deadline()));
        wherry__sys = faults_real;
        ck_assert_uint_ge(cut_short, 3);
        for (int i = 0; i < (many ? COUNT : 1); i++)
            test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
        ends_close(&ends);
    }
}

TEST_TABLE(h5_many_in_one_call_with_short_writes, kinds)
{
    enum { COUNT = 200 };
    static uint8_t data[COUNT][300];
    struct wherry_message messages[COUNT];
    struct ends ends;
    uint8_t buffer[400];
    faults_short_writes(limits, LIMITS);
    ends_open(&ends, &kinds[index], "");
    for (uint32_t i = 0; i < COUNT; i++) {
        pattern_fill(data[i], i + 1, i);
        messages[i] = (struct wherry_message){.data = data[i], .size = i + 1};
    }
    for (size_t sent = 0, received = 0; received < COUNT;) {
        ssize_t more =
            sent < COUNT ? wherry_channel_send_many(ends.sender, messages + sent, COUNT - sent, WHERRY_NOW) : 0;
        ck_assert_msg(more >= 0 || more == -EAGAIN, "%s", wherry_why());
        sent += more > 0 ? (size_t)more : 0;
        wherry_channel_flush(ends.sender, WHERRY_NOW);
        size_t got;
        int result;
        while ((result = wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &got, WHERRY_NOW)) == 1) {
            ck_assert_uint_eq(got, received + 1);
            ck_assert(pattern_is(buffer, got, (uint32_t)received));
            received++;
        }
        test_is(result, -EAGAIN);
    }
    ends_close(&ends);
}

/* ---- H35 --------------------------------------------------------------------------------------------------------- */

static struct {
    const struct ends_kind *kind;
    bool without_flag;
} h35;
static size_t h35_masked_writes;
static ssize_t (*h35_real_writev)(int fd, const struct iovec *parts, int count);

static ssize_t h35_count_writev(int fd, const struct iovec *parts, int count)
{
    h35_masked_writes++;
    return h35_real_writev(fd, parts, count);
}

/* With SIGPIPE's default disposition, a signal would kill this process. */
static void h35_send_to_nobody(__attribute__((unused)) void *argument)
{
    struct ends ends;
    uint8_t data[5000] = {0};
    signal(SIGPIPE, SIG_DFL);
    if (h35.without_flag) {
        h35_real_writev = wherry__sys.writev;
        wherry__sys.pwritev2 = refuse_flag;
        wherry__sys.writev = h35_count_writev;
    }
    ends_open(&ends, h35.kind, "");
    test_ok(wherry_channel_send(ends.sender, data, 10, WHERRY_NOW));
    wherry_channel_close(ends.receiver, WHERRY_NOW);
    ends.receiver = NULL;
    static const size_t lengths[] = {0, 10, 5000};
    for (size_t i = 0; i < 3; i++)
        for (int again = 0; again < 2; again++) {
            test_is(wherry_channel_send(ends.sender, data, lengths[i], WHERRY_NOW), -EPIPE);
            ck_assert_str_ne(wherry_why(), "");
        }
    sigset_t pending;
    sigpending(&pending);
    ck_assert_msg(!sigismember(&pending, SIGPIPE), "a SIGPIPE is left pending");
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    ck_assert_msg(!sigismember(&blocked, SIGPIPE), "SIGPIPE is left blocked");
    ends_close(&ends);
    if (h35.without_flag && (strstr(h35.kind->scheme, "pipe:") == h35.kind->scheme || strstr(h35.kind->scheme, "fifo")))
        ck_assert_uint_gt(h35_masked_writes, 0);
}

TEST_TABLE(h35_a_closed_reader_gives_epipe_and_no_signal, kinds)
{
    h35.kind = &kinds[index];
    test_join(test_fork(h35_send_to_nobody, NULL));
}

TEST_TABLE(h35_the_same_where_only_the_mask_helps, streams)
{
    h35.kind = &streams[index];
    h35.without_flag = true;
    test_join(test_fork(h35_send_to_nobody, NULL));
}

/* A SIGPIPE that the program itself has pending is none of ours to take. */
TEST_WITH(h35_a_sigpipe_pending_before_stays_pending, .leaves = TEST_LEAVES_SIGNALS)
{
    struct wherry_channel *pair[2];
    sigset_t pipe_only, pending;
    wherry__sys.pwritev2 = refuse_flag;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe_only, NULL);
    raise(SIGPIPE);
    test_ok(wherry_channel_pair("pipe:", NULL, pair));
    wherry_channel_close(pair[0], WHERRY_NOW);
    test_is(wherry_channel_send(pair[1], "x", 1, WHERRY_NOW), -EPIPE);
    sigpending(&pending);
    ck_assert_msg(sigismember(&pending, SIGPIPE), "the SIGPIPE that was pending is gone");
    static const struct timespec at_once;
    ck_assert_int_eq(sigtimedwait(&pipe_only, NULL, &at_once), SIGPIPE);
    test_is(wherry_channel_send(pair[1], "x", 1, WHERRY_NOW), -EPIPE);
    sigpending(&pending);
    ck_assert_msg(!sigismember(&pending, SIGPIPE), "the write left a SIGPIPE pending");
    sigprocmask(SIG_UNBLOCK, &pipe_only, NULL);
    wherry_channel_close(pair[1], WHERRY_NOW);
}

/* ---- H56 --------------------------------------------------------------------------------------------------------- */

/* Sizes are those of the message, and nothing behind the buffer is written. */
TEST_TABLE(h56_lengths_are_of_the_message_not_of_the_buffer, kinds)
{
    struct ends ends;
    uint8_t data[3000], buffer[4096];
    ends_open(&ends, &kinds[index], "");
    for (size_t size = 0; size < sizeof data; size = size * 3 / 2 + 1) {
        struct wherry_info info;
        memset(buffer, 0xA5, sizeof buffer);
        pattern_fill(data, size, 1);
        test_ok(wherry_channel_send(ends.sender, data, size, WHERRY_NOW));
        test_is(wherry_channel_receive_info(ends.receiver, buffer, size + 1, &info, WHERRY_NOW), 1);
        ck_assert_uint_eq(info.size, size);
        ck_assert(pattern_is(buffer, size, 1));
        for (size_t i = size + 1; i < sizeof buffer; i++)
            ck_assert_msg(buffer[i] == 0xA5, "byte %zu behind a buffer of %zu was written", i, size + 1);
    }
    ends_close(&ends);
}

/* An echo of what came, as programs write it: a short message after a long one carries nothing of the long one. */
TEST_TABLE(h56_an_echo_is_as_long_as_what_came, kinds)
{
    const struct ends_kind *kind = &kinds[index];
    struct ends there, back;
    char message[2000], echoed[2000], buffer[2000];
    if (kind->by_name) { /* one place in the directory at a time: the way back is a pipe */
        static const struct ends_kind pipe_kind = ENDS_PIPE;
        ends_open(&back, &pipe_kind, "");
    } else {
        ends_open(&back, kind, "");
    }
    ends_open(&there, kind, "");
    memset(message, 'L', sizeof message);
    for (size_t size = sizeof message; size > 0; size /= 3) {
        size_t got = 0;
        test_ok(wherry_channel_send(there.sender, message, size, WHERRY_NOW));
        test_is(wherry_channel_receive(there.receiver, buffer, sizeof buffer, &got, WHERRY_NOW), 1);
        test_ok(wherry_channel_send(back.sender, buffer, got, WHERRY_NOW));
        test_is(wherry_channel_receive(back.receiver, echoed, sizeof echoed, &got, WHERRY_NOW), 1);
        ck_assert_uint_eq(got, size);
        ck_assert_int_eq(memcmp(echoed, message, size), 0);
    }
    ends_close(&there);
    ends_close(&back);
}

/* ---- H59 --------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;
static void count_alarm(int signal_number)
{
    (void)signal_number;
    alarms = alarms + 1;
}

/* No SA_RESTART: each tick ends a system call with EINTR. */
static void start_ticking(long microseconds)
{
    struct sigaction action = {.sa_handler = count_alarm};
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_ticking(void)
{
    static const struct itimerval never;
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
}

enum { H59_COUNT = 40 };
static size_t h59_size;

static void h59_send(void *argument)
{
    const char *url = argument;
    struct wherry_channel *sender;
    uint8_t *data = malloc(LARGEST);
    start_ticking(1000);
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    for (uint32_t i = 0; i < H59_COUNT; i++) {
        pattern_fill(data, h59_size, i);
        test_ok(wherry_channel_send(sender, data, h59_size, wherry_after(20 * WHERRY_SECOND)));
    }
    test_ok(wherry_channel_close(sender, wherry_after(20 * WHERRY_SECOND)));
    stop_ticking();
    free(data);
}

static const struct ends_kind named[] = {ENDS_FIFO, ENDS_FIFO_SINGLE, ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};

TEST_TABLE(h59_a_timer_of_1_khz_loses_nothing, named)
{
    char url[400];
    struct wherry_channel *receiver;
    uint8_t *buffer = malloc(LARGEST);
    h59_size = named[index].packets ? 150000 : LARGEST;
    ends_url(url, sizeof url, &named[index], "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    start_ticking(1000);
    pid_t child = test_fork(h59_send, url);
    for (uint32_t i = 0; i < H59_COUNT; i++) {
        size_t got;
        test_is(wherry_channel_receive(receiver, buffer, LARGEST, &got, wherry_after(20 * WHERRY_SECOND)), 1);
        ck_assert_uint_eq(got, h59_size);
        ck_assert(pattern_is(buffer, got, i));
    }
    if (named[index].ends) {
        size_t got;
        test_is(wherry_channel_receive(receiver, buffer, LARGEST, &got, wherry_after(20 * WHERRY_SECOND)), 0);
    }
    stop_ticking();
    test_join(child);
    wherry_channel_close(receiver, WHERRY_NOW);
    free(buffer);
}

/* Neither ended early by a signal nor begun anew by each. */
TEST_TABLE(h59_signals_neither_end_nor_stretch_a_wait, kinds)
{
    struct ends ends;
    char buffer[16];
    size_t got;
    ends_open(&ends, &kinds[index], "");
    start_ticking(1000);
    for (int waits = 0; waits == 0 || (alarms <= 20 && waits < 50); waits++) { /* where none come it stands still */
        wherry_time began = wherry_now();
        wherry_time deadline = wherry_after(200 * WHERRY_MILLISECOND);
        test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &got, deadline), -ETIMEDOUT);
        wherry_time ended = wherry_now();
        ck_assert_int_ge(ended, deadline);
        ck_assert_int_lt(ended - began, 12 * WHERRY_SECOND);
    }
    stop_ticking();
    ck_assert_int_gt(alarms, 20);
    ends_close(&ends);
}
