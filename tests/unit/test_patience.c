/* tests/unit/test_patience.c - owns the proof for what a receive does before it sleeps.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
    struct wherry_channel_stats stats;
    struct wherry_channel *receiver = open_lines(read_then_write);
    receive_some(receiver, 3);
    test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
    ck_assert_uint_eq(stats.receive_waits, 0);
    close_lines(receiver);
}

/* ---- reads that keep their distance ---------------------------------------------------------------------------- */

enum { READS = 60, DISTANCE = 2000, GIVEN_UP = 20 };
static wherry_time read_at[READS];

/* As a sender that is exactly as fast as the receiver: each read finds one message. */
static ssize_t read_of_one(int fd, void *data, size_t size)
{
    ck_assert_int_eq(write(to_write, "x\n", 2), 2);
    if (reads < READS)
        read_at[reads++] = wherry_now();
    return real.read(fd, data, size);
}

TEST(reads_that_find_one_message_each_keep_a_distance)
{
    struct wherry_channel *receiver = open_lines(read_of_one);
    reads = 0;
    receive_some(receiver, READS);
    ck_assert_uint_eq(reads, READS);
    /* the clock is read a little before the read itself, hence no more than half */
    for (int i = GIVEN_UP; i < READS; i++)
        ck_assert_int_ge(read_at[i] - read_at[i - 1], DISTANCE / 2);
    close_lines(receiver);
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
