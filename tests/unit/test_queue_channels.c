/* tests/unit/test_queue_channels.c - owns what mq: and sysv: do beyond the contract, which the conformance suite tests.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

static char room[10000];

static const char *mq_url(void)
{
    static char url[160];
    snprintf(url, sizeof url, "mq:///%s", test_word());
    return url;
}

static const char *sysv_url(const char *query)
{
    static char urls[4][160];
    static unsigned next;
    char *url = urls[next++ % 4];
    snprintf(url, sizeof urls[0], "sysv:0x%x%s", (unsigned)test_key(0), query);
    return url;
}

static struct wherry_channel *open_one(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    test_ok(wherry_channel_open(url, role, NULL, WHERRY_NOW, &channel));
    return channel;
}

static int send_typed(struct wherry_channel *channel, int64_t type, const char *text)
{
    struct wherry_message message = {.data = text, .size = strlen(text), .type = type};
    return wherry_channel_send_message(channel, &message, 0, WHERRY_NOW);
}

static void expect(struct wherry_channel *channel, const char *text, int64_t type)
{
    struct wherry_info info;
    test_is(wherry_channel_receive_info(channel, room, sizeof room, &info, test_deadline()), 1);
    ck_assert_msg(info.size == strlen(text) && memcmp(room, text, info.size) == 0, "%.*s came, not %s", (int)info.size,
                  room, text);
    ck_assert_int_eq(info.type, type);
}

static void why_names(const char *word)
{
    ck_assert_msg(strstr(wherry_why(), word), "\"%s\" does not name %s", wherry_why(), word);
}

static void close_both(struct wherry_channel *a, struct wherry_channel *b)
{
    wherry_channel_close(a, WHERRY_NOW);
    wherry_channel_close(b, WHERRY_NOW);
}

static int queue_id(void)
{
    return msgget((key_t)test_key(0), 0);
}

static void remove_sysv(void)
{
    ck_assert_int_eq(msgctl(queue_id(), IPC_RMID, NULL), 0);
}

/* ---- sysv ---- */

TEST(a_receiver_asks_for_types_in_its_url)
{
    struct wherry_channel *sender = open_one(sysv_url(""), WHERRY_SEND);
    struct wherry_channel *twos = open_one(sysv_url("?type=2"), WHERRY_RECEIVE);
    struct wherry_channel *low = open_one(sysv_url("?type=-2"), WHERRY_RECEIVE);
    struct wherry_channel *others = open_one(sysv_url("?type=!3"), WHERRY_RECEIVE);
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *nines;
    options.type = "9";
    test_ok(wherry_channel_open(sysv_url(""), WHERRY_RECEIVE, &options, WHERRY_NOW, &nines));
    test_is(wherry_channel_open(sysv_url("?type=8"), WHERRY_RECEIVE, &options, WHERRY_NOW, &others), -EINVAL);
    static const struct {
        int64_t type;
        const char *text;
    } sent[] = {{3, "3a"}, {2, "2a"}, {1, "1a"}, {2, "2b"}, {3, "3b"}, {0, "1b"}, {9, "9a"}};
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++)
        test_ok(send_typed(sender, sent[i].type, sent[i].text));
    expect(nines, "9a", 9);
    expect(low, "1a", 1);
    expect(twos, "2a", 2);
    expect(others, "2b", 2);
    expect(low, "1b", 1);
    for (int i = 0; i < 4; i++) {
        size_t size;
        struct wherry_channel *none[] = {nines, low, twos, others};
        test_is(wherry_channel_receive(none[i], room, sizeof room, &size, WHERRY_NOW), -EAGAIN);
    }
    struct wherry_channel *all = open_one(sysv_url(""), WHERRY_RECEIVE);
    expect(all, "3a", 3);
    expect(all, "3b", 3);
    close_both(sender, twos);
    close_both(low, others);
    close_both(nines, all);
    remove_sysv();
}

static const struct {
    const char *name, *query;
} bad_queries[] = {
    {"type_0", "?type=0"},
    {"type_word", "?type=x"},
    {"type_minus", "?type=-"},
    {"type_both", "?type=!-3"},
    {"type_too_far", "?type=99999999999999999999"},
    {"type_trail", "?type=3x"},
    {"type_empty", "?type="},
    {"id_with_key", "?id=x"},
};

TEST_TABLE(a_bad_selector_is_refused, bad_queries)
{
    struct wherry_channel *channel;
    test_is(wherry_channel_open(sysv_url(bad_queries[index].query), WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel),
            -EINVAL);
    why_names(sysv_url(bad_queries[index].query));
    ck_assert_int_eq(queue_id(), -1); /* nothing was made */
}

TEST(h42_a_removal_is_the_end_once_and_then_there_is_a_new_queue)
{
    size_t size;
    struct wherry_channel *sender = open_one(sysv_url(""), WHERRY_SEND);
    struct wherry_channel *receiver = open_one(sysv_url(""), WHERRY_RECEIVE);
    int first = queue_id();
    remove_sysv();
    test_is(wherry_channel_receive(receiver, room, sizeof room, &size, test_deadline()), 0);
    ck_assert_int_eq(queue_id(), -1); /* the end alone makes nothing */
    test_is(wherry_channel_receive(receiver, room, sizeof room, &size, WHERRY_NOW), -EAGAIN);
    ck_assert_int_ge(queue_id(), 0);
    ck_assert_int_ne(queue_id(), first);
    for (int i = 0; i < 2; i++) {
        test_is(send_typed(sender, 0, "lost"), -EPIPE);
        why_names("removed");
    }
    wherry_channel_close(sender, WHERRY_NOW);
    sender = open_one(sysv_url(""), WHERRY_SEND);
    test_ok(send_typed(sender, 0, "hello"));
    expect(receiver, "hello", 1);
    close_both(sender, receiver);
    remove_sysv();
}

static void remove_when_asleep(void *argument)
{
    test_until_asleep(*(pid_t *)argument);
    remove_sysv();
}

TEST(h42_a_removal_ends_a_wait_for_ever)
{
    size_t size;
    pid_t self = getpid();
    struct wherry_channel *receiver = open_one(sysv_url(""), WHERRY_RECEIVE);
    pid_t child = test_fork(remove_when_asleep, &self);
    test_is(wherry_channel_receive(receiver, room, sizeof room, &size, WHERRY_FOREVER), 0);
    test_join(child);
    wherry_channel_close(receiver, WHERRY_NOW);
    struct wherry_channel *sender = open_one(sysv_url(""), WHERRY_SEND);
    while (send_typed(sender, 0, "full") == 0)
        ;
    child = test_fork(remove_when_asleep, &self);
    test_is(wherry_channel_send(sender, "x", 1, WHERRY_FOREVER), -EPIPE);
    test_join(child);
    wherry_channel_close(sender, WHERRY_NOW);
}

/* A message that the endpoint holds for a larger buffer is not lost with the queue. */
TEST(what_is_held_outlives_the_queue)
{
    size_t size;
    struct wherry_channel *sender = open_one(sysv_url(""), WHERRY_SEND);
    struct wherry_channel *receiver = open_one(sysv_url(""), WHERRY_RECEIVE);
    test_ok(send_typed(sender, 4, "twelve bytes"));
    test_is(wherry_channel_receive(receiver, room, 3, &size, WHERRY_NOW), -EMSGSIZE);
    ck_assert_uint_eq(size, 12);
    remove_sysv();
    expect(receiver, "twelve bytes", 4);
    test_is(wherry_channel_receive(receiver, room, 3, &size, WHERRY_NOW), 0);
    close_both(sender, receiver);
}

TEST(a_type_of_a_raw_program_may_be_as_far_as_long_goes)
{
    struct {
        long type;
        char text[8];
    } raw = {LONG_MAX, "far"};
    struct wherry_channel *receiver = open_one(sysv_url(""), WHERRY_RECEIVE);
    ck_assert_int_eq(msgsnd(queue_id(), &raw, 3, 0), 0);
    expect(receiver, "far", LONG_MAX);
    wherry_channel_close(receiver, WHERRY_NOW);
    remove_sysv();
}

/* An idle receiver looks a hundred times a second at the most, and an interrupt ends the step at once. */
TEST(waits_are_in_steps_that_an_interrupt_ends)
{
    size_t size;
    struct wherry_channel *receiver = open_one(sysv_url(""), WHERRY_RECEIVE);
    long woken = 0;
    for (int tries = 0; tries < 10 && woken < 60; tries++) { /* it wakes less often where the machine stands still */
        long before = test_wakeups();
        wherry_time cpu = test_cpu_time();
        test_is(wherry_channel_receive(receiver, room, sizeof room, &size, wherry_after(WHERRY_SECOND)), -ETIMEDOUT);
        woken = test_wakeups() - before;
        ck_assert_int_le(woken, 140);
        ck_assert_int_lt(test_cpu_time() - cpu, 100 * WHERRY_MILLISECOND);
    }
    ck_assert_msg(woken >= 60, "%ld wake-ups in a second", woken);
    wherry_channel_interrupt(receiver);
    test_is(wherry_channel_receive(receiver, room, sizeof room, &size, WHERRY_FOREVER), -ECANCELED);
    test_is(wherry_channel_receive_fd(receiver), -EOPNOTSUPP);
    wherry_channel_close(receiver, WHERRY_NOW);
    remove_sysv();
}

TEST(a_queue_of_a_file_needs_the_file_and_an_id)
{
    char path[256], url[300];
    struct wherry_channel *channel;
    test_path(path, "key");
    snprintf(url, sizeof url, "sysv://%s?id=q", path);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -ENOENT);
    why_names(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    struct wherry_channel *sender = open_one(url, WHERRY_SEND);
    int id = msgget(ftok(path, 'q'), 0);
    test_ok(send_typed(sender, 0, "by file"));
    ck_assert_int_eq(msgrcv(id, room, 100, 1, IPC_NOWAIT), 7);
    url[strlen(url) - strlen("?id=q")] = '\0';
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EINVAL);
    why_names("?id=");
    wherry_channel_close(sender, WHERRY_NOW);
    msgctl(id, IPC_RMID, NULL);
    unlink(path);
}

/* ---- mq ---- */

static long messages_in(const char *name, long *ret_size)
{
    struct mq_attr attributes;
    mqd_t queue = mq_open(name, O_RDONLY);
    ck_assert_int_ge(queue, 0);
    ck_assert_int_eq(mq_getattr(queue, &attributes), 0);
    mq_close(queue);
    if (ret_size)
        *ret_size = attributes.mq_msgsize;
    return attributes.mq_maxmsg;
}

TEST(max_message_and_capacity_say_how_a_queue_is_made)
{
    char name[160];
    long size;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    snprintf(name, sizeof name, "/%s", test_word());
    options.max_message = 100;
    options.capacity = 450;
    test_ok(wherry_channel_open(mq_url(), WHERRY_SEND, &options, WHERRY_NOW, &channel));
    ck_assert_int_eq(messages_in(name, &size), 4);
    ck_assert_int_eq(size, 100);
    wherry_channel_close(channel, WHERRY_NOW);
    options.max_message = 0; /* it is there: used as it is */
    test_ok(wherry_channel_open(mq_url(), WHERRY_SEND, &options, WHERRY_NOW, &channel));
    test_is(wherry_channel_send(channel, room, 101, WHERRY_NOW), -EMSGSIZE);
    why_names("largest, 100");
    wherry_channel_close(channel, WHERRY_NOW);
    mq_unlink(name);
    options.capacity = 1; /* one message at the least */
    options.max_message = 1 << 20; /* no more than the kernel takes: it bounds, it does not demand */
    test_ok(wherry_channel_open(mq_url(), WHERRY_SEND, &options, WHERRY_NOW, &channel));
    ck_assert_int_eq(messages_in(name, &size), 1);
    ck_assert_int_ge(size, 8192);
    wherry_channel_close(channel, WHERRY_NOW);
    mq_unlink(name);
}

TEST(h10_names_of_queues_in_urls)
{
    static const struct {
        const char *url;
        int result;
    } table[] = {{"mq:///a/b", -EINVAL}, {"mq://a", -EINVAL},   {"mq://a/b", -EINVAL}, {"mq:", -EINVAL},
                 {"mq:///", -EINVAL},    {"mq:///..", -EINVAL}, {"sysv:0x0", -EINVAL}, {"sysv:0x", -EINVAL},
                 {"sysv:", -EINVAL},     {"sysv://host/x?id=a", -EINVAL}};
    struct wherry_channel *channel;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        test_is(wherry_channel_open(table[i].url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), table[i].result);
        why_names(table[i].url);
    }
    char bare[160], name[160];
    snprintf(bare, sizeof bare, "mq:%s", test_word());
    snprintf(name, sizeof name, "/%s", test_word());
    wherry_channel_close(open_one(bare, WHERRY_SEND), WHERRY_NOW);
    ck_assert_int_eq(mq_unlink(name), 0);
}

TEST(a_channel_may_send_where_it_may_not_receive)
{
    char name[160];
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *sender, *both;
    snprintf(name, sizeof name, "/%s", test_word());
    options.mode = 0200;
    test_ok(wherry_channel_open(mq_url(), WHERRY_SEND, &options, WHERRY_NOW, &sender));
    test_is(wherry_channel_open(mq_url(), WHERRY_BOTH, NULL, WHERRY_NOW, &both), -EOPNOTSUPP);
    test_ok(send_typed(sender, 32767, "x"));
    test_is(send_typed(sender, 32768, "x"), -EINVAL);
    wherry_channel_close(sender, WHERRY_NOW);
    mq_unlink(name);
}

/* mq_notify(3) would have said nothing: the message was there before. */
TEST(h43_who_polls_sees_what_was_there_before)
{
    char name[160];
    snprintf(name, sizeof name, "/%s", test_word());
    struct wherry_channel *sender = open_one(mq_url(), WHERRY_SEND);
    test_ok(send_typed(sender, 1, "early"));
    struct wherry_channel *receiver = open_one(mq_url(), WHERRY_RECEIVE);
    struct pollfd entry = {.fd = wherry_channel_receive_fd(receiver), .events = POLLIN};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(poll(&entry, 1, 15000 * (int)test_slowness()), 1);
    expect(receiver, "early", 1);
    ck_assert_int_eq(poll(&entry, 1, 0), 0);
    close_both(sender, receiver);
    mq_unlink(name);
}
