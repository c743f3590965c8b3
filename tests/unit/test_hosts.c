/* tests/unit/test_hosts.c - owns the proof for tcp: between two hosts: cables that lose, double and swap packets, that
 * are pulled and put back; hosts that vanish or start again; deadlines throughout.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "unit/hosts.h"
#include "unit/pattern.h"

#define MS WHERRY_MILLISECOND
#define SERVER "10.77.0.2"

/* A host that connects, one that listens, and one with the same address that can take its place. */
static struct host hosts[3];
static struct cable *cable;
static pid_t cable_pid;

static void begin(void)
{
    static const char *const addresses[] = {"10.77.0.1", SERVER, SERVER};
    hosts_own_network();
    cable = test_shared(sizeof *cable);
    for (int i = 0; i < 3; i++) {
        hosts[i] = hosts_make(addresses[i]);
        cable->ends[i] = hosts[i].cable;
    }
    cable->other = 1;
    cable_pid = test_fork(hosts_be_cable, cable);
    hosts_enter(&hosts[0]); /* where this process is from now on */
}

static void end(void)
{
    test_kill(cable_pid);
    for (int i = 0; i < 3; i++)
        hosts_close(&hosts[i]);
}

static struct wherry_channel *open_on(int host, const char *url, enum wherry_role role)
{
    struct wherry_channel *channel;
    hosts_enter(&hosts[host]);
    test_ok(wherry_channel_open(url, role, NULL, wherry_after(10 * WHERRY_SECOND), &channel));
    hosts_enter(&hosts[0]);
    return channel;
}

/* How much later than it should a machine may let a call end that stands still for a while. */
#define STANDSTILL (10 * WHERRY_SECOND)

/* Run the call, which must end with `wanted` from `least` to `most` from now on. */
#define ends_within(least_, most_, wanted_, call_)                                                                     \
    do {                                                                                                               \
        wherry_time begin_ = wherry_now();                                                                             \
        test_is((call_), (wanted_));                                                                                   \
        wherry_time took_ = wherry_now() - begin_;                                                                     \
        ck_assert_msg(took_ >= (least_) && took_ <= (most_)*test_slowness() + STANDSTILL, "%s took %lld ms",           \
                      #call_, (long long)took_ / 1000000);                                                             \
    } while (0)

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

enum { LARGEST = 1 << 20 };

struct stream {
    unsigned messages;
    struct test_gate half, on; /* of the receiver: half of them have come; it waits to go on */
    _Atomic unsigned come;
};

static void send_stream(void *argument)
{
    struct stream *stream = argument;
    char *data = malloc(LARGEST);
    hosts_enter(&hosts[0]);
    struct wherry_channel *channel = open_on(0, "tcp://" SERVER ":9000", WHERRY_SEND);
    for (unsigned i = 0; i < stream->messages; i++) {
        size_t size = pattern_size(i);
        pattern_fill(data, size, i);
        test_ok(wherry_channel_send(channel, data, size, wherry_after(20 * WHERRY_SECOND)));
    }
    test_ok(wherry_channel_close(channel, wherry_after(20 * WHERRY_SECOND)));
    free(data);
}

static void receive_stream(void *argument)
{
    struct stream *stream = argument;
    char *data = malloc(LARGEST);
    struct wherry_channel *channel = open_on(1, "tcp://*:9000", WHERRY_RECEIVE);
    for (unsigned i = 0; i <= stream->messages; i++) {
        size_t size;
        int result = wherry_channel_receive(channel, data, LARGEST, &size, wherry_after(20 * WHERRY_SECOND));
        test_is(result, i < stream->messages);
        ck_assert_msg(!result || (size == pattern_size(i) && pattern_is(data, size, i)), "message %u of %zu bytes", i,
                      size);
        stream->come = i + 1;
        if (i == stream->messages / 2) {
            test_gate_open(&stream->half);
            test_gate_wait(&stream->on);
        }
    }
    wherry_channel_close(channel, WHERRY_NOW);
    free(data);
}

static void start_stream(struct stream *stream, unsigned messages, pid_t pids[2])
{
    stream->messages = messages;
    test_gate_init(&stream->half);
    test_gate_init(&stream->on);
    pids[0] = test_fork(receive_stream, stream);
    pids[1] = test_fork(send_stream, stream);
}

static void end_stream(struct stream *stream, const pid_t pids[2])
{
    test_join_by(pids[1], wherry_after(25 * WHERRY_SECOND));
    test_join_by(pids[0], wherry_after(25 * WHERRY_SECOND));
    ck_assert_uint_eq(stream->come, stream->messages + 1);
    test_gate_fini(&stream->half);
    test_gate_fini(&stream->on);
}

static const struct {
    const char *name;
    unsigned loses, doubles, swaps, messages;
} cables[] = {
    {"good", 0, 0, 0, 200},
    {"loses_5_of_100", 50, 0, 0, 60},
    {"doubles_10_of_100", 0, 100, 0, 100},
    {"swaps_10_of_100", 0, 0, 100, 100},
    {"does_all_of_it", 30, 50, 50, 50},
};

TEST_WITH(a_stream_over_a_bad_cable_is_whole_and_in_order, .table = cables, .stride = sizeof *cables,
          .length = sizeof cables / sizeof *cables, .seconds = 60)
{
    pid_t pids[2];
    begin();
    struct stream *stream = test_shared(sizeof *stream);
    cable->loses = cables[index].loses;
    cable->doubles = cables[index].doubles;
    cable->swaps = cables[index].swaps;
    start_stream(stream, cables[index].messages, pids);
    test_gate_open(&stream->on);
    end_stream(stream, pids);
    ck_assert_msg(!cables[index].loses || cable->lost > 20, "%lu packets of %lu were lost", cable->lost,
                  cable->carried);
    ck_assert_msg(!cables[index].doubles || cable->doubled > 20, "%lu of %lu were doubled", cable->doubled,
                  cable->carried);
    ck_assert_msg(!cables[index].swaps || cable->swapped > 20, "%lu of %lu were swapped", cable->swapped,
                  cable->carried);
    end();
}

/* ---- the cable is pulled, and put back --------------------------------------------------------------------------- */

static const char *const places[] = {"far_away", "at_the_sender", "at_the_receiver", "interface_down"};
static const char *place_name(size_t index)
{
    return places[index];
}
static size_t place_count(void)
{
    return sizeof places / sizeof *places;
}

/* Far away nobody is told; at a host its kernel is; an interface that is down has no route any more. */
static void pull(size_t place, bool back)
{
    if (place == 0)
        cable->other = back;
    else if (place == 3)
        hosts_flags(hosts[0].control, HOSTS_DEVICE, back);
    else
        hosts_plug(&hosts[place - 1], back);
}

TEST_EACH(a_cable_pulled_and_put_back_breaks_no_stream, place_count, place_name)
{
    pid_t pids[2];
    begin();
    struct stream *stream = test_shared(sizeof *stream);
    start_stream(stream, 300, pids);
    test_gate_wait(&stream->half);
    pull(index, false);
    test_gate_open(&stream->on);
    test_sleep(700 * MS); /* what was on its way is received */
    unsigned come = stream->come;
    bool surely = index == 0 || index == 3; /* a host whose plug is out takes in what comes, and sends on for a while */
    ck_assert(!surely || come < 300);
    test_sleep(300 * MS);
    ck_assert(!surely || stream->come == come); /* it was pulled indeed */
    pull(index, true);
    end_stream(stream, pids);
    end();
}

/* ---- the cable is pulled for good -------------------------------------------------------------------------------- */

TEST(deadlines_hold_while_the_other_host_is_out_of_reach)
{
    static char big[8 << 20];
    char text[10];
    size_t size;
    begin();
    struct wherry_channel *listener = open_on(1, "tcp://*:9000?listen", WHERRY_BOTH);
    struct wherry_channel *channel = open_on(0, "tcp://" SERVER ":9000?connect", WHERRY_BOTH), *other;
    test_ok(wherry_channel_send(channel, "hello", 5, test_deadline()));
    test_is(wherry_channel_receive(listener, text, sizeof text, &size, test_deadline()), 1);
    cable->other = 0;
    ends_within(200 * MS, 400 * MS, -ETIMEDOUT,
                wherry_channel_receive(channel, text, sizeof text, &size, wherry_after(200 * MS)));
    ends_within(0, 50 * MS, -EAGAIN, wherry_channel_receive(channel, text, sizeof text, &size, WHERRY_NOW));
    ends_within(200 * MS, 400 * MS, 0, wherry_channel_send(channel, big, sizeof big, wherry_after(200 * MS)));
    ends_within(200 * MS, 400 * MS, -ETIMEDOUT, wherry_channel_send(channel, "x", 1, wherry_after(200 * MS)));
    ends_within(200 * MS, 400 * MS, -ETIMEDOUT, wherry_channel_flush(channel, wherry_after(200 * MS)));
    ends_within(200 * MS, 400 * MS, -ETIMEDOUT, wherry_channel_finish(channel, wherry_after(200 * MS)));
    ends_within(200 * MS, 400 * MS, -ETIMEDOUT, wherry_channel_close(channel, wherry_after(200 * MS)));
    test_ok(wherry_channel_send(listener, "answer", 6, WHERRY_NOW)); /* the kernel has it */
    ends_within(200 * MS, 400 * MS, 0, wherry_channel_disconnect(listener, 1, wherry_after(200 * MS)));
    ends_within(0, 400 * MS, 0, wherry_channel_close(listener, wherry_after(200 * MS)));
    const char *url = "tcp://" SERVER ":9000";
    ends_within(300 * MS, 500 * MS, -ETIMEDOUT,
                wherry_channel_open(url, WHERRY_SEND, NULL, wherry_after(300 * MS), &other));
    ck_assert_msg(strstr(wherry_why(), SERVER ":9000: no answer"), "%s", wherry_why());
    ends_within(0, 50 * MS, -EAGAIN, wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &other));
    end();
}

static void put_back_later(void *argument)
{
    (void)argument;
    test_until_asleep(getppid());
    cable->other = 1;
}

TEST(who_connects_waits_until_the_cable_is_back)
{
    begin();
    struct wherry_channel *listener = open_on(1, "tcp://*:9000", WHERRY_RECEIVE);
    cable->other = 0;
    pid_t pid = test_fork(put_back_later, NULL);
    struct wherry_channel *sender = open_on(0, "tcp://" SERVER ":9000", WHERRY_SEND);
    wherry_channel_close(sender, test_deadline());
    wherry_channel_close(listener, WHERRY_NOW);
    test_join(pid);
    end();
}

/* What keepalive and user_timeout are for: 1 s, and half as long again or what the kernel's steps make of it. */
TEST(a_vanished_host_is_missed_by_those_who_asked_for_it)
{
    char text[10];
    size_t size;
    begin();
    struct wherry_channel *listener = open_on(1, "tcp://*:9000?listen&keepalive=1s&report_ends=1", WHERRY_BOTH);
    struct wherry_channel *idle = open_on(0, "tcp://" SERVER ":9000?connect&keepalive=1s", WHERRY_BOTH);
    struct wherry_channel *busy = open_on(0, "tcp://" SERVER ":9000?user_timeout=1s", WHERRY_SEND);
    struct wherry_channel *careless = open_on(0, "tcp://" SERVER ":9000?connect", WHERRY_BOTH);
    struct wherry_channel *senders[] = {idle, busy, careless};
    for (int i = 0; i < 3; i++) {
        test_ok(wherry_channel_send(senders[i], "hello", 5, test_deadline()));
        test_is(wherry_channel_receive(listener, text, sizeof text, &size, test_deadline()), 1);
    }
    cable->other = 0;
    static char big[1 << 20];
    wherry_time from = wherry_now();
    int result;
    while ((result = wherry_channel_send(busy, big, sizeof big, wherry_after(10 * WHERRY_SECOND))) == 0)
        ;
    test_is(result, -EPIPE);
    ck_assert_msg(strstr(wherry_why(), strerror(ETIMEDOUT)), "%s", wherry_why());
    ck_assert_int_ge(wherry_now() - from, 900 * MS);
    ck_assert_int_lt(wherry_now() - from, 4 * WHERRY_SECOND * test_slowness() + STANDSTILL);
    test_is(wherry_channel_receive(idle, text, sizeof text, &size, wherry_after(10 * WHERRY_SECOND)), -ECONNABORTED);
    ck_assert_msg(strstr(wherry_why(), strerror(ETIMEDOUT)), "%s", wherry_why());
    test_is(wherry_channel_receive(idle, text, sizeof text, &size, WHERRY_NOW), 0);
    for (int i = 0; i < 3; i++) {
        struct wherry_info info;
        test_is(wherry_channel_receive_info(listener, text, sizeof text, &info, wherry_after(10 * WHERRY_SECOND)), 1);
        ck_assert_uint_eq(info.flags, WHERRY_ENDED);
        ck_assert_int_eq(info.type, -ETIMEDOUT);
    }
    ck_assert_int_lt(wherry_now() - from, 8 * WHERRY_SECOND * test_slowness() + STANDSTILL);
    test_is(wherry_channel_receive(careless, text, sizeof text, &size, WHERRY_NOW), -EAGAIN); /* it did not ask */
    for (int i = 0; i < 3; i++)
        wherry_channel_close(senders[i], WHERRY_NOW);
    wherry_channel_close(listener, WHERRY_NOW);
    end();
}

/* Another host has the address by now and knows of no connection: what comes to it, it resets. */
TEST(a_host_that_started_again_resets_what_it_knows_nothing_of)
{
    char text[10];
    size_t size;
    begin();
    struct wherry_channel *listener = open_on(1, "tcp://*:9000?listen", WHERRY_BOTH);
    struct wherry_channel *channel = open_on(0, "tcp://" SERVER ":9000?connect", WHERRY_BOTH);
    test_ok(wherry_channel_send(channel, "hello", 5, test_deadline()));
    test_is(wherry_channel_receive(listener, text, sizeof text, &size, test_deadline()), 1);
    cable->other = 2;
    struct wherry_channel *again = open_on(2, "tcp://*:9000?listen", WHERRY_BOTH);
    test_ok(wherry_channel_send(channel, "are you there?", 14, test_deadline()));
    test_is(wherry_channel_receive(channel, text, sizeof text, &size, test_deadline()), -ECONNRESET);
    test_is(wherry_channel_receive(channel, text, sizeof text, &size, test_deadline()), 0);
    wherry_channel_close(channel, WHERRY_NOW);
    channel = open_on(0, "tcp://" SERVER ":9000?connect", WHERRY_BOTH);
    test_ok(wherry_channel_send(channel, "hello", 5, test_deadline()));
    test_is(wherry_channel_receive(again, text, sizeof text, &size, test_deadline()), 1);
    wherry_channel_close(channel, WHERRY_NOW);
    wherry_channel_close(again, WHERRY_NOW);
    wherry_channel_close(listener, WHERRY_NOW);
    end();
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static void relay(void *argument)
{
    (void)argument;
    const char *program = test_program("wherry");
    hosts_enter(&hosts[0]);
    execl(program, program, "relay", "tcp://:9001", "tcp://" SERVER ":9000", NULL);
}

/* It never waits for one peer's connection alone, but a connection to another host takes time. */
TEST(relay_connects_to_a_host_that_is_far_away)
{
    char text[10];
    size_t size;
    if (!getenv("WHERRY_PROGRAM_wherry"))
        test_skip("the command is not built");
    begin();
    cable->delays = 20 * MS; /* and back */
    struct wherry_channel *listener = open_on(1, "tcp://*:9000?listen", WHERRY_BOTH);
    pid_t pid = test_fork(relay, NULL);
    struct wherry_channel *channel = open_on(0, "tcp://:9001?connect", WHERRY_BOTH);
    test_ok(wherry_channel_send(channel, "hello", 5, test_deadline()));
    test_is(wherry_channel_receive(listener, text, sizeof text, &size, test_deadline()), 1);
    test_ok(wherry_channel_send(listener, "answer", 6, test_deadline()));
    test_is(wherry_channel_receive(channel, text, sizeof text, &size, test_deadline()), 1);
    wherry_channel_close(channel, test_deadline());
    test_is(wherry_channel_receive(listener, text, sizeof text, &size, test_deadline()), 0);
    wherry_channel_close(listener, WHERRY_NOW);
    test_join_status(pid, 0);
    end();
}

/* ---- a server killed and started again under load ---------------------------------------------------------------- */

static void echo_for_ever(void *argument)
{
    (void)argument;
    char text[100];
    struct wherry_channel *channel;
    hosts_enter(&hosts[1]);
    test_ok(wherry_channel_open("tcp://*:9000?listen", WHERRY_BOTH, NULL, WHERRY_NOW, &channel)); /* H53 */
    for (;;) {
        struct wherry_info info;
        if (wherry_channel_receive_info(channel, text, sizeof text, &info, WHERRY_FOREVER) != 1)
            continue;
        struct wherry_message answer = {.data = text, .size = info.size, .to = info.peer.id};
        wherry_channel_send_message(channel, &answer, 0, test_deadline());
    }
}

struct client {
    _Atomic bool stop;
    _Atomic unsigned answered, connected;
};

/* Asks one server after the other; each answer is that of its question, whatever is killed meanwhile. */
static void ask_on(void *argument)
{
    struct client *client = argument;
    while (!client->stop) {
        struct wherry_channel *channel;
        test_ok(wherry_channel_open("tcp://" SERVER ":9000?connect", WHERRY_BOTH, NULL, test_deadline(), &channel));
        client->connected++;
        int result = 1;
        for (unsigned i = 0; result == 1 && !client->stop; i++) {
            char question[20], answer[20];
            size_t size;
            snprintf(question, sizeof question, "question %u", i);
            result = wherry_channel_send(channel, question, strlen(question), test_deadline());
            if (result == 0)
                result = wherry_channel_receive(channel, answer, sizeof answer, &size, test_deadline());
            ck_assert_msg(result == 1 || result == 0 || result == -ECONNRESET || result == -EPIPE, "%d: %s", result,
                          wherry_why());
            ck_assert(result != 1 || (size == strlen(question) && memcmp(question, answer, size) == 0));
            client->answered += result == 1;
        }
        wherry_channel_close(channel, WHERRY_NOW);
    }
}

TEST_WITH(h53_a_server_killed_and_started_again_under_load, .seconds = 60)
{
    enum { CLIENTS = 4, ROUNDS = 40 };
    pid_t clients[CLIENTS];
    begin();
    struct client *client = test_shared(sizeof *client);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = test_fork(ask_on, client);
    for (int i = 0; i < ROUNDS; i++) {
        unsigned answered = client->answered;
        pid_t server = test_fork(echo_for_ever, NULL);
        test_until(client->answered >= answered + 20, "round %d: the server answers nobody", i);
        if (i == ROUNDS - 1)
            client->stop = true;
        for (int j = 0; i == ROUNDS - 1 && j < CLIENTS; j++)
            test_join(clients[j]);
        test_kill(server);
    }
    ck_assert_uint_ge(client->connected, ROUNDS);
    end();
}
