/* tests/crash/test_stopped.c - owns the proof that a stopped process holds nobody up, and that a forked one keeps
 * nobody alive.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "harness.h"
#include "unit/ends.h"
#include "unit/pattern.h"

static const struct ends_kind named[] = {ENDS_FIFO, ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};
static const struct ends_kind connected[] = {ENDS_UNIX, ENDS_SEQPACKET};
enum { LARGEST = 20000, MANY = 200 };

struct cast {
    const char *url;
    unsigned who;
    _Atomic unsigned *counts; /* messages that each process has received */
    struct test_gate ready;
    pid_t *orphan;
};

static uint32_t number_of(unsigned who, uint32_t count)
{
    return who << 16 | count;
}

/* Half of them in parts. */
static size_t size_of(uint32_t number)
{
    return number % 2 ? 100 : LARGEST;
}

static void send_many(void *argument)
{
    const struct cast *cast = argument;
    struct wherry_channel *sender;
    uint8_t *data = malloc(LARGEST);
    test_ok(wherry_channel_open(cast->url, WHERRY_SEND, NULL, test_deadline(), &sender));
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t number = number_of(cast->who, i);
        pattern_fill(data, size_of(number), number);
        data[0] = (uint8_t)('0' + cast->who);
        test_ok(wherry_channel_send(sender, data, size_of(number), wherry_after(30 * WHERRY_SECOND)));
    }
    test_ok(wherry_channel_close(sender, wherry_after(30 * WHERRY_SECOND)));
    free(data);
}

/* One of two senders stands still in the middle of it all; the other's messages go on; then both finish. */
TEST_TABLE(a_stopped_sender_holds_up_no_other, named)
{
    char url[400];
    struct wherry_channel *receiver;
    pid_t senders[2];
    uint32_t next[2] = {0, 0};
    uint8_t *wanted = malloc(LARGEST), *buffer = malloc(LARGEST);
    bool stopped = false, went_on = false;
    ends_url(url, sizeof url, &named[index], "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    for (unsigned i = 0; i < 2; i++) {
        struct cast cast = {.url = url, .who = i};
        senders[i] = test_fork(send_many, &cast);
    }
    while (next[0] < MANY || next[1] < MANY) {
        size_t size;
        int result = wherry_channel_receive(receiver, buffer, LARGEST, &size, wherry_after(10 * WHERRY_SECOND));
        if (result == 0) /* between the two */
            continue;
        test_is(result, 1);
        unsigned who = buffer[0] - (unsigned)'0';
        ck_assert_uint_lt(who, 2);
        uint32_t number = number_of(who, next[who]++);
        pattern_fill(wanted, size_of(number), number);
        wanted[0] = buffer[0];
        ck_assert_uint_eq(size, size_of(number));
        ck_assert_int_eq(memcmp(buffer, wanted, size), 0);
        if (!stopped && next[0] >= 10) {
            int status;
            kill(senders[0], SIGSTOP);
            ck_assert_int_eq(waitpid(senders[0], &status, WUNTRACED), senders[0]);
            ck_assert_msg(WIFSTOPPED(status), "it ended before it could be stopped");
            stopped = true;
        }
        if (stopped && !went_on && next[1] == MANY) { /* all of the other's came while it stood */
            went_on = true;
            kill(senders[0], SIGCONT);
        }
    }
    ck_assert(went_on);
    test_join(senders[0]);
    test_join(senders[1]);
    wherry_channel_close(receiver, WHERRY_NOW);
    free(wanted);
    free(buffer);
}

/* ---- receivers --------------------------------------------------------------------------------------------------- */

static void receive_all(void *argument)
{
    const struct cast *cast = argument;
    struct wherry_channel *receiver;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    uint8_t *buffer = malloc(LARGEST);
    size_t size;
    int result;
    options.side = WHERRY_CONNECT;
    test_ok(wherry_channel_open(cast->url, WHERRY_RECEIVE, &options, test_deadline(), &receiver));
    struct test_gate ready = cast->ready;
    test_gate_open(&ready);
    while ((result = wherry_channel_receive(receiver, buffer, LARGEST, &size, wherry_after(30 * WHERRY_SECOND))) == 1) {
        ck_assert_uint_eq(size, 1000);
        uint32_t number = 0;
        while (number < 2 * MANY && !pattern_is(buffer, size, number))
            number++;
        ck_assert_uint_lt(number, 2 * MANY);
        ck_assert_uint_eq(cast->counts[2 + number]++, 0); /* once */
        cast->counts[cast->who]++;
    }
    test_is(result, 0);
    wherry_channel_close(receiver, WHERRY_NOW);
    free(buffer);
}

TEST_TABLE(a_stopped_receiver_holds_up_no_other, connected)
{
    char url[400];
    struct wherry_channel *sender;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    _Atomic unsigned *counts = test_shared((2 + 2 * MANY) * sizeof *counts);
    uint8_t data[1000];
    pid_t receivers[2];
    options.side = WHERRY_LISTEN;
    ends_url(url, sizeof url, &connected[index], "");
    test_ok(wherry_channel_open(url, WHERRY_SEND, &options, WHERRY_NOW, &sender));
    struct cast cast = {.url = url, .counts = counts};
    test_gate_init(&cast.ready);
    for (cast.who = 0; cast.who < 2; cast.who++)
        receivers[cast.who] = test_fork(receive_all, &cast);
    test_gate_wait(&cast.ready);
    test_gate_wait(&cast.ready);
    test_gate_fini(&cast.ready);
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        pattern_fill(data, sizeof data, i);
        test_ok(wherry_channel_send(sender, data, sizeof data, wherry_after(10 * WHERRY_SECOND)));
        if (i == MANY / 2) {
            int status;
            kill(receivers[0], SIGSTOP);
            ck_assert_int_eq(waitpid(receivers[0], &status, WUNTRACED), receivers[0]);
            ck_assert(WIFSTOPPED(status));
        }
    }
    kill(receivers[0], SIGCONT);
    test_ok(wherry_channel_close(sender, test_deadline()));
    test_join(receivers[0]);
    test_join(receivers[1]);
    for (uint32_t i = 0; i < 2 * MANY; i++)
        ck_assert_msg(counts[2 + i] == 1, "message %u came %u times", i, counts[2 + i]);
    ck_assert_uint_eq(counts[0] + counts[1], 2 * MANY);
}

/* ---- a fork, and the parent killed ------------------------------------------------------------------------------- */

/* A child that outlives us must not keep us alive in the eyes of others.  It says so itself when it runs: only then is
 * it sure to have closed what it inherited. */
static void fork_an_heir_and_stay(const struct cast *cast)
{
    struct test_gate ready = cast->ready;
    pid_t child = fork();
    if (child == 0) {
        *cast->orphan = getpid();
        test_gate_open(&ready);
    }
    for (;;)
        pause();
}

static void end_heir(const struct cast *cast)
{
    ck_assert_int_eq(kill(*cast->orphan, 0), 0);
    kill(*cast->orphan, SIGKILL);
    waitpid(*cast->orphan, NULL, 0);
}

static void send_one_and_fork(void *argument)
{
    const struct cast *cast = argument;
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(cast->url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
    fork_an_heir_and_stay(cast);
}

static const struct ends_kind with_end[] = {ENDS_FIFO, ENDS_FIFO_SINGLE, ENDS_UNIX, ENDS_SEQPACKET};
TEST_TABLE(a_killed_sender_that_forked_has_ended, with_end)
{
    char url[400], buffer[8];
    struct wherry_channel *receiver;
    struct cast cast = {.url = ends_url(url, sizeof url, &with_end[index], ""), .orphan = test_shared(sizeof(pid_t))};
    size_t size;
    test_gate_init(&cast.ready);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    pid_t child = test_fork(send_one_and_fork, &cast);
    test_gate_wait(&cast.ready);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    test_kill(child);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
    end_heir(&cast);
    wherry_channel_close(receiver, WHERRY_NOW);
    test_gate_fini(&cast.ready);
}

static void receive_one_and_fork(void *argument)
{
    const struct cast *cast = argument;
    struct wherry_channel *receiver;
    char buffer[8];
    size_t size;
    test_ok(wherry_channel_open(cast->url, WHERRY_RECEIVE, NULL, test_deadline(), &receiver));
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    fork_an_heir_and_stay(cast);
}

/* What it made stays, for the next one was not the one who made it. */
TEST_WITH(a_killed_receiver_that_forked_leaves_its_place_free, .table = named, .stride = sizeof named[0],
          .length = sizeof named / sizeof named[0], .leaves = TEST_LEAVES_FILES)
{
    char url[400], buffer[8];
    struct wherry_channel *sender, *receiver;
    struct cast cast = {.url = ends_url(url, sizeof url, &named[index], ""), .orphan = test_shared(sizeof(pid_t))};
    size_t size;
    test_gate_init(&cast.ready);
    pid_t child = test_fork(receive_one_and_fork, &cast);
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
    test_gate_wait(&cast.ready);
    test_kill(child);
    test_is(wherry_channel_send(sender, "y", 1, test_deadline()), -EPIPE); /* its heir receives nothing */
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    wherry_channel_close(sender, WHERRY_NOW);
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "zz", 2, test_deadline()));
    int result;
    do
        result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline());
    while (result == 0);
    test_is(result, 1);
    ck_assert_uint_eq(size, 2);
    end_heir(&cast);
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
    test_gate_fini(&cast.ready);
}

/* A listener that sends: those who receive from it see their end. */
static void listen_send_and_fork(void *argument)
{
    const struct cast *cast = argument;
    struct wherry_channel *sender;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.side = WHERRY_LISTEN;
    test_ok(wherry_channel_open(cast->url, WHERRY_SEND, &options, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
    fork_an_heir_and_stay(cast);
}

TEST_TABLE(a_killed_listener_that_forked_ends_its_peers, connected)
{
    char url[400], buffer[8];
    struct wherry_channel *receiver;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct cast cast = {.url = ends_url(url, sizeof url, &connected[index], ""), .orphan = test_shared(sizeof(pid_t))};
    size_t size;
    test_gate_init(&cast.ready);
    pid_t child = test_fork(listen_send_and_fork, &cast);
    options.side = WHERRY_CONNECT;
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, &options, test_deadline(), &receiver));
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    test_gate_wait(&cast.ready);
    test_kill(child);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 0);
    wherry_channel_close(receiver, WHERRY_NOW);
    end_heir(&cast);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver)); /* takes what lies there over */
    wherry_channel_close(receiver, WHERRY_NOW);
    test_gate_fini(&cast.ready);
}
