/* tests/unit/test_udp_sequence.c - owns the proof that the numbers of seq=1 tell what is missing, doubled or late, and
 * that nothing else is taken for one: H51.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_udp_kit.h"

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

struct numbered {
    uint8_t header[WHERRY__SEQUENCE_HEADER];
    char text[16];
};

static void send_numbered(int raw, uint64_t id, uint64_t number, const char *text)
{
    struct numbered datagram;
    size_t size = WHERRY__SEQUENCE_HEADER + strlen(text);
    wherry__sequence_write(datagram.header, id, number);
    memcpy(datagram.text, text, strlen(text));
    ck_assert_int_eq(send(raw, &datagram, size, 0), (ssize_t)size);
}

/* After each number the counters: lost, reordered, dropped. */
static const struct step {
    uint64_t id, number, lost, reordered, dropped;
} gaps[] = {{1, 0, 0, 0, 0}, {1, 1, 0, 0, 0}, {1, 4, 2, 0, 0}, {1, 3, 1, 1, 0}, {1, 3, 1, 1, 1},
            {1, 2, 0, 2, 1}, {1, 2, 0, 2, 2}, {1, 4, 0, 2, 3}, {1, 5, 0, 2, 3}, {1, 5, 0, 2, 4}},
  restarts[] = {{1, 0, 0, 0, 0},   {1, 1, 0, 0, 0}, {2, 0, 0, 0, 0}, {2, 1, 0, 0, 0}, {3, 700, 0, 0, 0},
                {3, 702, 1, 0, 0}, {1, 2, 1, 0, 0}, {2, 4, 3, 0, 0}, {2, 3, 2, 1, 0}, {1, 3, 2, 1, 0}},
  before_the_first[] = {{1, 10, 0, 0, 0}, {1, 9, 0, 1, 0}, {1, 9, 0, 1, 1}, {1, 11, 0, 1, 1}, {1, 8, 0, 2, 1}},
  far_ahead[] = {{1, 0, 0, 0, 0}, {1, 1000, 999, 0, 0}, {1, 768, 998, 1, 0}, {1, 700, 998, 1, 1}},
  window[] = {{1, 0, 0, 0, 0},       {1, 1000, 999, 0, 0},  {1, 745, 998, 1, 0},   {1, 744, 998, 1, 1},
              {1, 744, 998, 1, 2},   {1, 1001, 998, 1, 2},  {1, 745, 998, 1, 3},   {1, 746, 997, 2, 3},
              {1, 1300, 1295, 2, 3}, {1, 1301, 1295, 2, 3}, {1, 1046, 1294, 3, 3}, {1, 1045, 1294, 3, 4}};

static const struct story {
    const char *name;
    const struct step *steps;
    size_t count;
} stories[] = {{"gaps", gaps, sizeof gaps / sizeof *gaps},
               {"restarts", restarts, sizeof restarts / sizeof *restarts},
               {"before_the_first", before_the_first, sizeof before_the_first / sizeof *before_the_first},
               {"far_ahead", far_ahead, sizeof far_ahead / sizeof *far_ahead},
               {"window", window, sizeof window / sizeof *window}};

TEST_TABLE(numbers_tell_what_is_missing, stories)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    uint64_t dropped = 0;
    for (size_t i = 0; i < stories[index].count; i++) {
        const struct step *step = &stories[index].steps[i];
        send_numbered(raw, step->id, step->number, "numbered");
        if (step->dropped > dropped)
            expect_nothing(receiver);
        else
            expect_text(receiver, "numbered");
        dropped = step->dropped;
        struct wherry_channel_stats stats = stats_of(receiver);
        ck_assert_msg(stats.lost == step->lost && stats.reordered == step->reordered && stats.dropped == step->dropped,
                      "after step %zu: %llu lost, %llu reordered, %llu dropped", i, (unsigned long long)stats.lost,
                      (unsigned long long)stats.reordered, (unsigned long long)stats.dropped);
        ck_assert_uint_eq(stats.refused, 0);
    }
    close(raw);
    shut(receiver);
}

/* The places of the window are used again and again. */
TEST(numbers_go_round_the_window)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    for (uint64_t number = 0; number < 2000; number += 10) { /* all came but 1 and 5 of each ten, which come late */
        static const unsigned order[] = {0, 2, 3, 4, 6, 7, 8, 9, 1, 5};
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
            send_numbered(raw, 1, number + order[i], "x");
            expect_text(receiver, "x");
        }
        ck_assert_uint_eq(stats_of(receiver).lost, 0);
        ck_assert_uint_eq(stats_of(receiver).reordered, (number / 10 + 1) * 2);
    }
    close(raw);
    shut(receiver);
}

/* Said once in a row, counted each time. */
TEST(what_has_no_number_is_refused)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    struct numbered bad;
    send_numbered(raw, 7, 0, "good");
    expect_text(receiver, "good");
    wherry__sequence_write(bad.header, 7, 1);
    bad.header[0] ^= 1;
    ck_assert_int_eq(send(raw, "hello", 5, 0), 5);
    ck_assert_int_eq(send(raw, "", 0, 0), 0);
    ck_assert_int_eq(send(raw, &bad, sizeof bad, 0), sizeof bad); /* another magic */
    bad.header[0] ^= 1;
    ck_assert_int_eq(send(raw, &bad, WHERRY__SEQUENCE_HEADER - 1, 0), WHERRY__SEQUENCE_HEADER - 1);
    send_numbered(raw, 7, UINT64_MAX, "x");
    send_numbered(raw, 8, UINT64_MAX, "x");                /* nor may anyone begin at the end */
    send_numbered(raw, 7, (UINT64_C(1) << 32) + 100, "x"); /* nobody loses so many */
    char data[64];
    test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, test_deadline()), -EBADMSG);
    ck_assert_msg(strstr(wherry_why(), "seq=1"), "\"%s\" does not say what to do", wherry_why());
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(receiver).refused, 7);
    send_numbered(raw, 7, 1, "again");
    expect_text(receiver, "again");
    ck_assert_int_eq(send(raw, "hello", 5, 0), 5);
    test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, test_deadline()), -EBADMSG);
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    close(raw);
    shut(receiver);
}

TEST(garbage_harms_nobody)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1&max_message=300", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    uint8_t data[600];
    unsigned good = 0;
    srandom(51);
    for (int round = 0; round < 20000; round++) {
        size_t size = (size_t)random() % sizeof data;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)random();
        if (random() % 2 && size >= WHERRY__SEQUENCE_HEADER)
            wherry__sequence_write(data, (uint64_t)random() % 8, (uint64_t)random() % 1000);
        ck_assert_int_eq(send(raw, data, size, 0), (ssize_t)size);
        int result;
        while ((result = wherry_channel_receive(receiver, data, sizeof data, &size, WHERRY_NOW)) != -EAGAIN) {
            ck_assert(result == 1 || result == -EBADMSG);
            ck_assert(result != 1 || size <= 300);
            good += result == 1;
        }
    }
    ck_assert_uint_gt(good, 0);
    struct wherry_channel_stats stats = stats_of(receiver);
    ck_assert_uint_eq(stats.received_messages + stats.dropped + stats.refused, 20000);
    close(raw);
    shut(receiver);
}

TEST(as_many_senders_are_remembered_as_there_is_room_for)
{
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    int raw = raw_to(receiver);
    for (uint64_t round = 0; round < 3; round++)
        for (uint64_t id = 1; id <= WHERRY__SEQUENCE_SENDERS; id++) {
            send_numbered(raw, id * 1024, round, "x"); /* all in one chain of the table */
            expect_text(receiver, "x");
        }
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    send_numbered(raw, 1024, 4, "x"); /* one is missing; now the second is the one silent for longest */
    expect_text(receiver, "x");
    ck_assert_uint_eq(stats_of(receiver).lost, 1);
    send_numbered(raw, 5, 0, "x");
    expect_text(receiver, "x");
    send_numbered(raw, 3 * 1024, 4, "x"); /* known */
    expect_text(receiver, "x");
    ck_assert_uint_eq(stats_of(receiver).lost, 2);
    send_numbered(raw, 2 * 1024, 9, "x"); /* forgotten: its count begins anew */
    expect_text(receiver, "x");
    ck_assert_uint_eq(stats_of(receiver).lost, 2);
    close(raw);
    shut(receiver);
}

TEST(with_one_side_alone_numbered_nothing_is_taken_for_a_message)
{
    char url[96];
    struct wherry_channel *receiver = open_at("udp://:0?seq=1", WHERRY_RECEIVE);
    struct wherry_channel *plain = open_at(beside(url, "", receiver, ""), WHERRY_SEND);
    struct wherry_channel *numbered = open_at(beside(url, "", receiver, "?seq=1"), WHERRY_SEND);
    test_is(say(plain, "a plain one, longer than the header"), 0);
    test_is(wherry_channel_receive(receiver, url, sizeof url, NULL, test_deadline()), -EBADMSG);
    test_is(say(numbered, ""), 0);
    expect_text(receiver, "");
    test_is(say(numbered, "numbered"), 0);
    expect_text(receiver, "numbered");
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    shut(plain);
    shut(numbered);
    shut(receiver);
}
