/* tests/unit/test_patience.c - owns the proof for what a receive does before it sleeps.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "channel/channel.h"
#include "harness.h"

static struct wherry__sys real;
static unsigned reads;

static ssize_t counting_read(int fd, void *data, size_t size)
{
    reads++;
    return real.read(fd, data, size);
}

static void open_pair(struct wherry_channel *pair[2])
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.writers = 1;
    test_ok(wherry_channel_pair("pipe:", &options, pair));
    real = wherry__sys;
    wherry__sys.read = counting_read;
}

static void close_pair(struct wherry_channel *pair[2])
{
    wherry__sys = real;
    wherry_channel_close(pair[1], WHERRY_NOW);
    wherry_channel_close(pair[0], WHERRY_NOW);
}

/* How often a receive that finds nothing looked. */
static unsigned looks_in_vain(struct wherry_channel *receiver)
{
    char buffer[8];
    size_t size;
    reads = 0;
    int result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, wherry_after(100 * WHERRY_MICROSECOND));
    ck_assert(result == -ETIMEDOUT || result == -EAGAIN); /* -EAGAIN: the time was over before the call began */
    return reads;
}

TEST(spins_in_vain_grow_rare)
{
    struct wherry_channel *pair[2];
    unsigned spun = 0;
    open_pair(pair);
    for (int i = 0; i < 2000; i++)
        spun += looks_in_vain(pair[0]) > 2; /* one before the sleep, one after it */
    ck_assert_uint_ge(spun, 1);
    ck_assert_uint_le(spun, 12);
    close_pair(pair);
}

/* A message that comes after the first look: the spin finds it, and nobody sleeps. */
static int to_write = -1;

static ssize_t read_then_write(int fd, void *data, size_t size)
{
    ssize_t result = real.read(fd, data, size);
    if (result < 0)
        ck_assert_int_eq(write(to_write, "x\n", 2), 2);
    return result;
}

/* Lines of a pipe, each read of which is this call. */
static struct wherry_channel *open_lines(ssize_t (*read_instead)(int fd, void *data, size_t size))
{
    struct wherry_channel *receiver;
    char url[64];
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    to_write = fds[1];
    snprintf(url, sizeof url, "fd:%d?frame=line&read_ahead=yes", fds[0]);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    real = wherry__sys;
    wherry__sys.read = read_instead;
    return receiver;
}

static void close_lines(struct wherry_channel *receiver)
{
    wherry__sys = real;
    wherry_channel_close(receiver, WHERRY_NOW);
    close(to_write);
}

static void receive_some(struct wherry_channel *receiver, unsigned count)
{
    char buffer[8];
    size_t size;
    while (count--)
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
}

TEST(a_message_that_comes_while_spinning_needs_no_sleep)
{
    test_needs(TEST_QUICK_CALLS);
    struct wherry_channel_stats stats;
    struct wherry_channel *receiver = open_lines(read_then_write);
    receive_some(receiver, 3);
    test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
    ck_assert_uint_eq(stats.receive_waits, 0);
    close_lines(receiver);
}

/* ---- reads that keep their distance ---------------------------------------------------------------------------- */

enum { READS = 400, DISTANCE = 2000, GIVEN_UP = 20 };
static wherry_time read_at[READS];

/* As a sender that is exactly as fast as the receiver: each read finds one message. */
static ssize_t read_of_one(int fd, void *data, size_t size)
{
    ck_assert_int_eq(write(to_write, "x\n", 2), 2);
    if (reads < READS)
        read_at[reads++] = wherry_now();
    return real.read(fd, data, size);
}

/* How many reads keep it; one that another process held up is nearer to the next one, and after a pause they are close
 * for a while. */
static int reads_at_a_distance(void)
{
    struct wherry_channel *receiver = open_lines(read_of_one);
    int far = 0;
    reads = 0;
    receive_some(receiver, READS);
    ck_assert_uint_eq(reads, READS);
    for (int i = GIVEN_UP; i < READS; i++)
        far += read_at[i] - read_at[i - 1] >= DISTANCE * 9 / 10;
    close_lines(receiver);
    return far;
}

/* A loaded machine may hold up any of them, so one try out of several has to show it. */
enum { TRIES = 10 };

TEST(reads_that_find_one_message_each_keep_a_distance)
{
    int far = 0;
    for (int tries = 0; tries < TRIES && far < (READS - GIVEN_UP) / 2; tries++)
        far = reads_at_a_distance();
    ck_assert_int_ge(far, (READS - GIVEN_UP) / 2);
}

/* Over TCP a read that finds nothing is between those that find one: what counts is that they come close together. */
enum { LINES = 2000, PLAIN_DISTANCE = 5000, MOST_LINES = 100 };
enum { WAITED = 1500 /* ns: what a receive does between two reads takes less */ };
static bool streams; /* as many lines as microseconds have passed, and not one */
static unsigned apart, waited;
static wherry_time last_read, last_end;

static ssize_t read_of_a_socket(int fd, void *data, size_t size)
{
    char text[2 * MOST_LINES];
    wherry_time now = wherry_now();
    ssize_t lines = streams && last_read && now - last_read > 1000 ? (now - last_read) / 1000 : 1;
    apart += last_read && now - last_read >= PLAIN_DISTANCE * 9 / 10;
    waited += last_end && now - last_end >= WAITED;
    last_read = now;
    reads++;
    lines = lines < MOST_LINES ? lines : MOST_LINES;
    for (ssize_t i = 0; i < lines; i++)
        memcpy(text + 2 * i, "x\n", 2);
    ck_assert_int_eq(write(to_write, text, (size_t)lines * 2), lines * 2);
    ssize_t result = real.read(fd, data, size);
    last_end = wherry_now();
    return result;
}

static void receive_over_tcp(void)
{
    struct wherry_channel *receiver;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    test_ok(wherry_channel_open("tcp://127.0.0.1:0?frame=line", WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    address.sin_port = htons((uint16_t)atoi(strrchr(strtok(strdupa(wherry_channel_url(receiver)), "?"), ':') + 1));
    to_write = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(to_write, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(setsockopt(to_write, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
    ck_assert_int_eq(write(to_write, "x\n", 2), 2);
    receive_some(receiver, 1);
    real = wherry__sys;
    wherry__sys.read = read_of_a_socket;
    reads = apart = waited = 0;
    last_read = last_end = 0;
    receive_some(receiver, LINES);
    close_lines(receiver);
}

/* A loaded machine may hold up any of them, so one try out of several has to show it. */
TEST(reads_of_a_stream_over_tcp_gather)
{
    streams = true;
    for (int tries = 0; tries < TRIES; tries++) {
        receive_over_tcp();
        if (apart >= reads / 2 && reads <= LINES / 2)
            return;
    }
    ck_assert_uint_ge(apart, reads / 2);
    ck_assert_uint_le(reads, LINES / 2);
}

TEST(reads_over_tcp_that_gather_nothing_do_not_wait)
{
    test_needs(TEST_QUICK_CALLS);
    streams = false;
    for (int i = 0; i < TRIES; i++) { /* as above; how long the kernel takes for a read and a write is not its doing */
        receive_over_tcp();
        if (reads >= LINES / 2 && waited <= reads / 4)
            return;
    }
    ck_assert_uint_ge(reads, LINES / 2);
    ck_assert_uint_le(waited, reads / 4); /* a few each time it is tried, and it is tried ever more rarely */
}

/* ---- a short way, and the long one behind it --------------------------------------------------------------------- */

static struct wherry__transport ring;
static unsigned spins, tries;
static bool spun_on; /* after a try that came behind a spin */

static bool counting_spin(struct wherry__endpoint *endpoint, unsigned looks)
{
    spins++;
    spun_on |= tries > 0;
    return ring.spin(endpoint, looks);
}

static int counting_try(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    tries += spins > 0;
    return ring.try_borrow(endpoint, buffer, capacity, ret_loan);
}

TEST(who_spun_before_the_long_way_does_not_spin_in_it_again)
{
    struct wherry__transport counting;
    struct wherry_channel *receiver;
    char url[300];
    unsigned spun = 0;
    snprintf(url, sizeof url, "shm://%s", test_word());
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    ring = counting = *receiver->endpoint.transport;
    counting.spin = counting_spin;
    counting.try_borrow = counting_try;
    receiver->endpoint.transport = &counting;
    for (int i = 0; i < 200; i++) {
        spins = tries = 0;
        looks_in_vain(receiver);
        spun += spins > 0;
        ck_assert(!spun_on);
    }
    ck_assert_uint_ge(spun, 2);
    ck_assert_uint_le(spun, 8);
    receiver->endpoint.transport = &ring;
    test_ok(wherry_channel_close(receiver, WHERRY_NOW));
}
