/* tests/unit/test_interrupted.c - owns the proof that signals change nothing (H59): every call of channels that waits
 * is made while a timer interrupts it a thousand times a second, and a transfer comes whole.
 * test_interrupted_objects.c has the library's other calls.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit/interrupted_kit.h"

static struct {
    struct wherry_channel *channel, *peer;
    char name[300];
} here;

/* ---- addresses ---- */

/* "fifo" -> a URL of this test's own; the port of tcp: and udp: is the listener's. */
static const char *url_of(const char *scheme)
{
    char path[200];
    if (strcmp(scheme, "shm") == 0)
        snprintf(here.name, sizeof here.name, "shm://%s", test_word());
    else if (strcmp(scheme, "mq") == 0)
        snprintf(here.name, sizeof here.name, "mq:///%s", test_word());
    else if (strcmp(scheme, "sysv") == 0)
        snprintf(here.name, sizeof here.name, "sysv:0x%x", (unsigned)test_key(0));
    else if (strcmp(scheme, "tcp") == 0 || strcmp(scheme, "udp") == 0)
        snprintf(here.name, sizeof here.name, "%s://127.0.0.1:0", scheme);
    else
        snprintf(here.name, sizeof here.name, "%s://%s", scheme, test_path(path, "x"));
    return here.name;
}

static bool carries_fds(const char *scheme)
{
    return strncmp(scheme, "unix", 4) == 0 || strcmp(scheme, "socketpair") == 0;
}

static struct wherry_channel_options options_of(const char *scheme)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.fds = carries_fds(scheme) ? 2 : 0;
    return options;
}

static void open_receiver(const char *scheme)
{
    struct wherry_channel_options options = options_of(scheme);
    test_ok(wherry_channel_open(url_of(scheme), WHERRY_RECEIVE, &options, test_deadline(), &here.channel));
    if (strcmp(scheme, "tcp") == 0 || strcmp(scheme, "udp") == 0)
        snprintf(here.name, sizeof here.name, "%s", wherry_channel_url(here.channel));
}

static bool is_pair(const char *scheme)
{
    return strcmp(scheme, "pipe") == 0 || strcmp(scheme, "socketpair") == 0;
}

/* `channel` sends, `peer` receives. */
static void open_both(const char *scheme)
{
    struct wherry_channel_options options = options_of(scheme);
    struct wherry_channel *pair[2];
    char url[20];
    snprintf(url, sizeof url, "%s:", scheme);
    if (is_pair(scheme)) {
        test_ok(wherry_channel_pair(url, &options, pair));
        bool first_sends = strcmp(scheme, "socketpair") == 0 || wherry_channel_send_fd(pair[0]) >= 0;
        here.channel = pair[first_sends ? 0 : 1];
        here.peer = pair[first_sends ? 1 : 0];
        return;
    }
    open_receiver(scheme);
    here.peer = here.channel;
    test_ok(wherry_channel_open(here.name, WHERRY_SEND, NULL, test_deadline(), &here.channel));
}

static void remove_object(const char *scheme)
{
    char name[300];
    if (strcmp(scheme, "mq") == 0)
        snprintf(name, sizeof name, "posix-mq:/%s", test_word());
    else if (strcmp(scheme, "sysv") == 0)
        snprintf(name, sizeof name, "sysv-msg:0x%x", (unsigned)test_key(0));
    if (strcmp(scheme, "mq") == 0 || strcmp(scheme, "sysv") == 0)
        test_ok(wherry_queue_remove(name));
    if (strcmp(scheme, "file") == 0)
        ck_assert_int_eq(unlink(test_path(name, "x")), 0);
}

static void close_both(const char *scheme)
{
    wherry_channel_close(here.channel, WHERRY_NOW);
    wherry_channel_close(here.peer, WHERRY_NOW);
    remove_object(scheme);
}

/* ---- channels ---- */

static const struct transport {
    const char *name;
    bool waits_to_open; /* a sender waits for the receiver */
    bool can_be_full;
    size_t message; /* bytes of the transfer's messages ... */
    unsigned count; /* ... and how many */
} transports[] = {
    {"pipe", false, true, 300000, 40},
    {"socketpair", false, true, 300000, 40},
    {"fifo", true, true, 300000, 40},
    {"unix", true, true, 300000, 40},
    {"unix+seqpacket", true, true, 50000, 200},
    {"unix+dgram", true, true, 50000, 200},
    {"tcp", true, true, 300000, 40},
    {"shm", true, true, 100000, 100},
    {"mq", false, true, 4000, 2000},
    {"sysv", false, true, 4000, 2000},
    {"file", false, false, 100000, 100},
    {"udp", false, false, 0, 0},
};

static int receive(wherry_time deadline)
{
    char buffer[100];
    size_t size;
    return wherry_channel_receive(here.channel, buffer, sizeof buffer, &size, deadline);
}

static int borrow(wherry_time deadline)
{
    struct wherry_loan loan;
    return wherry_channel_borrow(here.channel, &loan, deadline);
}

static int receive_info(wherry_time deadline)
{
    struct wherry_info info;
    char buffer[100];
    return wherry_channel_receive_info(here.channel, buffer, sizeof buffer, &info, deadline);
}

static int receive_with_fds(wherry_time deadline)
{
    struct wherry_info info;
    char buffer[100];
    int fds[2];
    return wherry_channel_receive_with_fds(here.channel, buffer, sizeof buffer, fds, 2, &info, deadline);
}

TEST_TABLE(h59_receiving, transports)
{
    const char *scheme = transports[index].name;
    if (is_pair(scheme)) {
        open_both(scheme);
        struct wherry_channel *sender = here.channel;
        here.channel = here.peer;
        here.peer = sender;
    } else {
        open_receiver(scheme);
    }
    wait_in_vain("receive", receive);
    wait_in_vain("borrow", borrow);
    wait_in_vain("receive_info", receive_info);
    if (carries_fds(scheme))
        wait_in_vain("receive_with_fds", receive_with_fds);
    close_both(scheme);
}

static int send_one(wherry_time deadline)
{
    static const char message[3000];
    return wherry_channel_send(here.channel, message, sizeof message, deadline);
}

static int send_many(wherry_time deadline)
{
    static const char message[3000];
    const struct wherry_message messages[2] = {{.data = message, .size = sizeof message},
                                               {.data = message, .size = sizeof message}};
    return (int)wherry_channel_send_many(here.channel, messages, 2, deadline);
}

static int reserve(wherry_time deadline)
{
    void *data;
    int result = wherry_channel_reserve(here.channel, 3000, &data, deadline);
    if (result == 0)
        wherry_channel_abandon(here.channel);
    return result;
}

TEST_TABLE(h59_sending_to_what_is_full, transports)
{
    const char *scheme = transports[index].name;
    if (!transports[index].can_be_full)
        return; /* receiving and the transfer are tested */
    open_both(scheme);
    int result = 0;
    for (long i = 0; i < 100000 && result == 0; i++)
        result = send_one(WHERRY_NOW);
    test_is(result, -EAGAIN);
    /* the kernel makes room once more while one looks elsewhere, as TCP's windows grow: full is what stays full */
    for (int quiet = 0; quiet < 3; quiet = result == 0 ? 0 : quiet + 1)
        result = send_one(wherry_after(SPAN));
    test_is(result, -ETIMEDOUT);
    wait_in_vain("send", send_one);
    wait_in_vain("send_many", send_many);
    if (strcmp(scheme, "shm") == 0) /* elsewhere a reservation is memory, which there is */
        wait_in_vain("reserve", reserve);
    close_both(scheme);
}

/* ---- a message begun, of which the rest waits for room ---- */

static int flush(wherry_time deadline)
{
    return wherry_channel_flush(here.channel, deadline);
}

static int finish(wherry_time deadline)
{
    return wherry_channel_finish(here.channel, deadline);
}

static int close_it(wherry_time deadline)
{
    struct wherry_channel *channel = here.channel;
    here.channel = NULL;
    return wherry_channel_close(channel, deadline);
}

static const struct {
    const char *name;
    const char *scheme;
    int (*call)(wherry_time deadline);
} tails[] = {
    {"flush, pipe", "pipe", flush},    {"flush, socketpair", "socketpair", flush},
    {"flush, unix", "unix", flush},    {"flush, tcp", "tcp", flush},
    {"flush, fifo", "fifo", flush},    {"finish", "socketpair", finish},
    {"finish, tcp", "tcp", finish},    {"close, pipe", "pipe", close_it},
    {"close, unix", "unix", close_it}, {"close, tcp", "tcp", close_it},
    {"close, fifo", "fifo", close_it},
};

TEST_TABLE(h59_what_waits_for_a_message_s_rest, tails)
{
    size_t size = 12 << 20;
    char *data = calloc(1, size);
    ck_assert_ptr_nonnull(data);
    open_both(tails[index].scheme);
    test_is(wherry_channel_send(here.channel, data, size, wherry_after(20 * WHERRY_MILLISECOND)), 0);
    free(data);
    wait_in_vain(tails[index].name, tails[index].call);
    close_both("");
}

static uint64_t guest;

static int disconnect(wherry_time deadline)
{
    return wherry_channel_disconnect(here.channel, guest, deadline);
}

static const struct {
    const char *name;
} listeners[] = {{"unix"}, {"tcp"}}; /* of a packet nothing is ever kept */

TEST_TABLE(h59_a_guest_that_takes_nothing_is_shown_out, listeners)
{
    const char *scheme = listeners[index].name;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_message answer = {.size = 60000};
    struct wherry_info info;
    static char data[60000];
    options.side = WHERRY_LISTEN;
    test_ok(wherry_channel_open(url_of(scheme), WHERRY_BOTH, &options, test_deadline(), &here.channel));
    options.side = WHERRY_CONNECT;
    test_ok(wherry_channel_open(wherry_channel_url(here.channel), WHERRY_BOTH, &options, test_deadline(), &here.peer));
    test_ok(wherry_channel_send(here.peer, "x", 1, test_deadline()));
    test_is(wherry_channel_receive_info(here.channel, data, sizeof data, &info, test_deadline()), 1);
    guest = answer.to = info.peer.id;
    answer.data = data;
    int result;
    while ((result = wherry_channel_send_message(here.channel, &answer, 0, wherry_after(SPAN))) == 0)
        ; /* until it has more than it takes, of which some is kept */
    test_is(result, -ETIMEDOUT);
    wait_in_vain("disconnect", disconnect);
    close_both("");
}

/* ---- opening ---- */

static int open_sender(wherry_time deadline)
{
    return wherry_channel_open(here.name, WHERRY_SEND, NULL, deadline, &here.channel);
}

TEST_TABLE(h59_opening_waits_for_the_other_side, transports)
{
    const char *scheme = transports[index].name;
    if (!transports[index].waits_to_open)
        return;
    url_of(scheme);
    if (strcmp(scheme, "tcp") == 0) { /* a port at which nobody listens any more */
        open_receiver(scheme);
        wherry_channel_close(here.channel, WHERRY_NOW);
        here.channel = NULL;
    }
    wait_in_vain("open", open_sender);
    ck_assert_ptr_null(here.channel);
}

/* ---- transfers ---- */

static void fill(unsigned char *data, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)((i * 2654435761u + number * 40503u) >> 11);
}

/* In a child, under a storm of its own. */
static void send_all(void *argument)
{
    const struct transport *transport = argument;
    unsigned char *data = malloc(transport->message);
    ck_assert_ptr_nonnull(data);
    if (!is_pair(transport->name))
        test_ok(wherry_channel_open(here.name, WHERRY_SEND, NULL, test_deadline(), &here.channel));
    storm_begin();
    for (unsigned i = 0; i < transport->count; i++) {
        fill(data, transport->message, i);
        test_ok(wherry_channel_send(here.channel, data, transport->message, test_deadline()));
    }
    test_ok(wherry_channel_close(here.channel, test_deadline()));
    storm_end();
    free(data);
}

static void receive_all(const struct transport *transport, struct wherry_channel *channel)
{
    unsigned char *data = malloc(transport->message), *wanted = malloc(transport->message);
    ck_assert(data && wanted);
    storm_begin();
    for (unsigned i = 0; i < transport->count; i++) {
        size_t size;
        test_is(wherry_channel_receive(channel, data, transport->message, &size, test_deadline()), 1);
        fill(wanted, transport->message, i);
        ck_assert_uint_eq(size, transport->message);
        ck_assert_msg(memcmp(data, wanted, size) == 0, "message %u came otherwise than it was sent", i);
    }
    storm_end();
    ck_assert_int_gt(ticks, 0);
    free(data);
    free(wanted);
}

TEST_WITH(h59_a_transfer_comes_whole, .table = transports, .stride = sizeof *transports,
          .length = sizeof transports / sizeof *transports, .seconds = 60)
{
    const struct transport *transport = &transports[index];
    if (transport->count == 0)
        return; /* udp: may lose */
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *pair[2], *channel;
    char url[20];
    options.inheritable = true;
    snprintf(url, sizeof url, "%s:", transport->name);
    if (is_pair(transport->name)) {
        test_ok(wherry_channel_pair(url, &options, pair));
        bool first_sends = strcmp(transport->name, "socketpair") == 0 || wherry_channel_send_fd(pair[0]) >= 0;
        here.channel = pair[first_sends ? 0 : 1];
        channel = pair[first_sends ? 1 : 0];
    } else {
        open_receiver(transport->name);
        channel = here.channel;
    }
    pid_t child = test_fork(send_all, (void *)(uintptr_t)transport);
    receive_all(transport, channel);
    test_join(child);
    wherry_channel_close(channel, WHERRY_NOW);
    if (here.channel != channel)
        wherry_channel_close(here.channel, WHERRY_NOW);
    remove_object(transport->name);
}
