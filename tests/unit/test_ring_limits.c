/* tests/unit/test_ring_limits.c - owns the proof for H21 and H26 of shm:, and of what the options of a ring promise:
 * places, capacity, keep.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <sys/resource.h>

#include "unit/pattern.h"
#include "unit/test_ring_kit.h"

/* ---- H26: a line for each writer ------------------------------------------------------------------------------- */

/* Fields with different writers, as the rules of LAYOUT.md have them, are in different cache lines of the file. */
TEST(h26_each_writer_has_cache_lines_of_its_own)
{
    static const size_t fields[] = {
        offsetof(struct ring_lane, sender.position),   offsetof(struct ring_lane, sender.bytes),
        offsetof(struct ring_lane, receiver.owner),    offsetof(struct ring_lane, receiver.lent),
        offsetof(struct ring_lane, room.freed),        offsetof(struct ring_lane, sleep.wake_at),
        sizeof(struct ring_lane) + offsetof(struct ring_lane, sender.position),
    };
    static const unsigned writers[] = {0, 0, 1, 1, 2, 3, 4};
    size_t lanes = offsetof(struct ring_control, lanes), places = offsetof(struct ring_control, places);
    ck_assert_uint_eq(lanes % RING_LINE, 0);
    for (size_t a = 0; a < sizeof fields / sizeof *fields; a++)
        for (size_t b = 0; b < sizeof fields / sizeof *fields; b++)
            ck_assert_msg(((lanes + fields[a]) / RING_LINE == (lanes + fields[b]) / RING_LINE) ==
                              (writers[a] == writers[b]),
                          "fields %zu and %zu of a lane", a, b);
    size_t state = places + offsetof(struct ring_place, state), bell = places + offsetof(struct ring_place, bell);
    size_t inside = places + offsetof(struct ring_place, inside), next = state + sizeof(struct ring_place);
    ck_assert(state / RING_LINE != bell / RING_LINE && bell / RING_LINE != inside / RING_LINE);
    ck_assert(inside / RING_LINE != next / RING_LINE);
}

/* ---- H21: positions at their limits ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t position;
} positions[] = {
    {"31_bits", (UINT64_C(1) << 31) - 2048}, {"32_bits", (UINT64_C(1) << 32) - 2048},
    {"63_bits", (UINT64_C(1) << 63) - 2048}, {"64_bits", UINT64_MAX - 2047},
    {"last_of_64_bits", UINT64_MAX - 7},     {"zero", 0},
};

enum { H21_CAPACITY = 4096, H21_MESSAGES = 5000 };

static void set_positions(uint64_t position)
{
    int fd = open(ring_path(), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (unsigned i = 0; i < 3; i++) {
        off_t lane = (off_t)(offsetof(struct ring_control, lanes) + i * sizeof(struct ring_lane));
        ck_assert_int_eq(pwrite(fd, &position, 8, lane + (off_t)offsetof(struct ring_lane, sender.position)), 8);
        ck_assert_int_eq(pwrite(fd, &position, 8, lane + (off_t)offsetof(struct ring_lane, receiver.position)), 8);
        ck_assert_int_eq(pwrite(fd, &position, 8, lane + (off_t)offsetof(struct ring_lane, room.freed)), 8);
    }
    close(fd);
}

static size_t size_of(uint32_t number)
{
    return number * 37 % 300;
}

static void h21_send(__attribute__((unused)) void *argument)
{
    uint8_t data[300];
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    for (uint32_t i = 0; i < H21_MESSAGES; i++) {
        pattern_fill(data, size_of(i), i);
        test_ok(wherry_channel_send(sender, data, size_of(i), test_deadline()));
    }
    ring_close(sender);
}

/* Alone, and as one of two receivers, who take lanes another way. */
TEST_TABLE(h21_positions_cross_every_power_of_two, positions)
{
    uint8_t data[300];
    size_t size;
    for (int receivers = 1; receivers <= 2; receivers++) {
        ring_close(ring_open(ring_url("keep=1&capacity=4k"), WHERRY_RECEIVE));
        set_positions(positions[index].position);
        struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
        struct wherry_channel *other = receivers == 2 ? ring_open(ring_url(""), WHERRY_RECEIVE) : NULL;
        ring_expect_nothing(receiver, WHERRY_NOW);
        pid_t sender = test_fork(h21_send, NULL);
        for (uint32_t i = 0; i < H21_MESSAGES; i++) {
            test_is(wherry_channel_receive(receiver, data, sizeof data, &size, test_deadline()), 1);
            ck_assert_uint_eq(size, size_of(i));
            ck_assert(pattern_is(data, size, i));
            if (i % 1000 == 0)
                test_until_asleep(sender); /* a full lane, and the wake-up out of it */
        }
        test_join(sender);
        ring_expect_nothing(receiver, WHERRY_NOW);
        ring_close(receiver);
        if (other)
            ring_close(other);
        ck_assert_int_eq(unlink(ring_path()), 0);
    }
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

static void open_by_and_by(__attribute__((unused)) void *argument)
{
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 3);
    ring_close(sender);
}

TEST(two_places_are_two_and_the_third_waits)
{
    struct wherry_channel *receiver = ring_open(ring_url("places=2"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url("places=2"), WHERRY_SEND);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++) {
        ring_refused(ring_url(""), (enum wherry_role)role, WHERRY_NOW, -EAGAIN, "all places of the ring are taken");
        ring_refused(ring_url(""), (enum wherry_role)role, wherry_after(50 * WHERRY_MILLISECOND), -ETIMEDOUT,
                     "all places of the ring are taken");
    }
    pid_t third = test_fork(open_by_and_by, NULL);
    test_until_asleep(third);
    ring_put(sender, 1);
    ring_expect(receiver, 1);
    ring_close(sender);
    uint64_t got = 0;
    int result = wherry_channel_receive(receiver, &got, sizeof got, NULL, test_deadline());
    if (result == 0) /* between the two */
        result = wherry_channel_receive(receiver, &got, sizeof got, NULL, test_deadline());
    test_is(result, 1);
    ck_assert_uint_eq(got, 3);
    test_join(third);
    ring_expect_end(receiver);
    ring_close(receiver);
}

TEST(all_64_places_and_the_65th)
{
    static struct wherry_channel *senders[63];
    static unsigned came[63];
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    for (unsigned i = 0; i < 63; i++)
        senders[i] = ring_open(ring_url(""), WHERRY_SEND);
    ring_refused(ring_url(""), WHERRY_SEND, WHERRY_NOW, -EAGAIN, "places");
    ring_refused(ring_url(""), WHERRY_RECEIVE, WHERRY_NOW, -EAGAIN, "places");
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 63; i++)
            ring_put(senders[i], (uint64_t)i << 8 | round);
    for (unsigned i = 0; i < 3 * 63; i++) {
        uint64_t got;
        test_is(wherry_channel_receive(receiver, &got, sizeof got, NULL, test_deadline()), 1);
        ck_assert_uint_lt(got >> 8, 63);
        ck_assert_uint_eq(got & 255, came[got >> 8]++); /* in its sender's order */
    }
    ring_expect_nothing(receiver, WHERRY_NOW);
    for (unsigned i = 0; i < 63; i++)
        ring_close(senders[i]);
    ring_expect_end(receiver);
    ring_close(receiver);
}

TEST(numbers_that_no_ring_can_have)
{
    ring_refused(ring_url("places=65"), WHERRY_RECEIVE, WHERRY_NOW, -EINVAL, "places");
    ring_refused(ring_url("capacity=2k"), WHERRY_RECEIVE, WHERRY_NOW, -EINVAL, "capacity");
    ring_refused(ring_url("capacity=5000"), WHERRY_RECEIVE, WHERRY_NOW, -EINVAL, "power of two");
    ring_refused(ring_url("capacity=4G"), WHERRY_SEND, WHERRY_NOW, -EINVAL, "capacity");
    ring_refused(ring_url("redeliver=perhaps"), WHERRY_RECEIVE, WHERRY_NOW, -EINVAL, "redeliver");
    ck_assert_int_ne(access(ring_path(), F_OK), 0);
}

static const struct {
    const char *name;
    const char *made, *asked;
    const char *has, *wants; /* both in the sentence */
} mismatches[] = {
    {"capacity", "capacity=64k", "capacity=128k", "capacity=65536", "capacity=128k"},
    {"places", "places=7", "places=9", "places=7", "places=9"},
    {"keep", "", "keep=1", "without keep=1", "?keep=1"},
};

TEST_TABLE(what_does_not_fit_the_ring_that_is_there_is_an_error_that_names_both, mismatches)
{
    struct wherry_channel *receiver = ring_open(ring_url(mismatches[index].made), WHERRY_RECEIVE);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++) {
        ring_refused(ring_url(mismatches[index].asked), (enum wherry_role)role, test_deadline(), -EINVAL,
                     mismatches[index].has);
        ck_assert_ptr_nonnull(strstr(wherry_why(), mismatches[index].wants));
    }
    struct wherry_channel *same = ring_open(ring_url(mismatches[index].made), WHERRY_SEND);
    ring_put(same, 1);
    ring_expect(receiver, 1);
    ring_close(same);
    ring_close(receiver);
}

TEST(a_message_over_half_the_capacity_is_refused_and_one_below_fits)
{
    uint8_t *data = calloc(1, 4096);
    size_t size;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    void *place;
    for (int i = 0; i < 20; i++) {
        test_is(wherry_channel_send(sender, data, 2049, test_deadline()), -EMSGSIZE);
        test_is(wherry_channel_reserve(sender, 2049, &place, test_deadline()), -EMSGSIZE);
        pattern_fill(data, 2048, (uint32_t)i);
        test_ok(wherry_channel_send(sender, data, 2048, test_deadline()));
        test_is(wherry_channel_receive(receiver, data, 4096, &size, test_deadline()), 1);
        ck_assert_uint_eq(size, 2048);
        ck_assert(pattern_is(data, 2048, (uint32_t)i));
    }
    ring_close(sender);
    ring_close(receiver);
    free(data);
}

/* ---- keep ------------------------------------------------------------------------------------------------------ */

static void send_one_and_go(void *argument)
{
    struct wherry_channel *sender = ring_open(ring_url("keep=1&places=3"), WHERRY_SEND);
    ring_put(sender, *(uint64_t *)argument);
    if (*(uint64_t *)argument % 2)
        _exit(0); /* without a close, as if it was killed */
    ring_close(sender);
}

TEST(keep_messages_survive_all_processes_and_lanes_find_new_senders)
{
    enum { SENDERS = 70 };
    for (uint64_t i = 0; i < SENDERS; i++) {
        uint64_t number = i;
        test_join(test_fork(send_one_and_go, &number));
    }
    for (uint64_t i = 0; i < SENDERS; i++) { /* a receiver each, too, in the same order: it is one lane's */
        struct wherry_channel *receiver = ring_open(ring_url("keep=1"), WHERRY_RECEIVE);
        ring_expect(receiver, i);
        ring_close(receiver);
    }
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    ring_expect_nothing_at_a_tick(receiver); /* no end: others may come */
    ring_close(receiver);
    ck_assert_int_eq(unlink(ring_path()), 0);
}

TEST(keep_a_full_ring_without_a_receiver_takes_no_more_and_loses_nothing)
{
    uint64_t sent = 0;
    struct wherry_channel *sender = ring_open(ring_url("keep=1&capacity=4k"), WHERRY_SEND);
    while (wherry_channel_send(sender, &sent, sizeof sent, WHERRY_NOW) == 0)
        sent++;
    wherry_time ticks = wherry_after(2 * (wherry_time)RING_TICK); /* room does not come of looking again */
    test_is(wherry_channel_send(sender, &sent, sizeof sent, ticks), -ETIMEDOUT);
    ck_assert_uint_ge(sent, 4096 / 16 - 2);
    ring_close(sender);
    sender = ring_open(ring_url(""), WHERRY_SEND); /* the lane is adopted, and as full */
    test_is(wherry_channel_send(sender, &sent, sizeof sent, WHERRY_NOW), -EAGAIN);
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    for (uint64_t i = 0; i < sent; i++)
        ring_expect(receiver, i);
    ring_put(sender, 1);
    ring_expect(receiver, 1);
    ring_close(sender);
    ring_close(receiver);
    ck_assert_int_eq(unlink(ring_path()), 0);
}

static void receive_the_end(void *argument)
{
    const bool *polls = argument;
    uint64_t got;
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    test_is(ring_receive(receiver, *polls, &got, test_deadline()), 0);
    ring_close(receiver);
}

TEST_TABLE(keep_the_removal_of_the_file_is_the_end, ring_ways)
{
    bool polls = ring_ways[index].polls;
    ring_close(ring_open(ring_url("keep=1"), WHERRY_RECEIVE));
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    pid_t receiver = test_fork(receive_the_end, &polls);
    test_until_asleep(receiver);
    ck_assert_int_eq(unlink(ring_path()), 0);
    ring_close(sender); /* who polls is woken by something; who is blocked looks anyway */
    test_join(receiver);
    struct wherry_channel *fresh = ring_open(ring_url("capacity=8k"), WHERRY_RECEIVE); /* the name is free */
    ring_close(fresh);
}

/* ---- several lanes --------------------------------------------------------------------------------------------- */

enum { SENDERS = 4, ROUNDS = 3000 };

/* One receiver alone, several lanes full again and again, of which it takes some messages at a time: what it says of
 * one lane must not be taken for another's, and none may wait for ever. */
TEST(lanes_filled_side_by_side_keep_apart)
{
    struct wherry_channel *senders[SENDERS], *receiver = ring_open(ring_url("capacity=16k"), WHERRY_RECEIVE);
    uint64_t sent[SENDERS] = {0}, received[SENDERS] = {0}, message[2];
    size_t size;
    for (unsigned s = 0; s < SENDERS; s++)
        senders[s] = ring_open(ring_url(""), WHERRY_SEND);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t before[SENDERS];
        memcpy(before, received, sizeof before);
        for (unsigned s = 0; s < SENDERS; s++)
            for (;; sent[s]++) {
                uint64_t next[2] = {s, sent[s]};
                int result = wherry_channel_send(senders[s], next, sizeof next, WHERRY_NOW);
                ck_assert_msg(result == 0 || result == -EAGAIN, "sender %u: %s", s, wherry_why());
                if (result != 0)
                    break;
            }
        for (unsigned n = 0; n < SENDERS * 128 + round % 7; n++) {
            test_is(wherry_channel_receive(receiver, message, sizeof message, &size, test_deadline()), 1);
            ck_assert_uint_lt(message[0], SENDERS);
            ck_assert_msg(message[1] == received[message[0]], "of sender %u came %llu, not %llu", (unsigned)message[0],
                          (unsigned long long)message[1], (unsigned long long)received[message[0]]);
            received[message[0]]++;
        }
        for (unsigned s = 0; s < SENDERS; s++)
            ck_assert_msg(received[s] > before[s], "sender %u waits while the others are served", s);
    }
    for (unsigned s = 0; s < SENDERS; s++)
        ring_close(senders[s]);
    ring_close(receiver);
}

/* ---- polling --------------------------------------------------------------------------------------------------- */

TEST(what_rings_for_a_poller_is_removed_with_it)
{
    char bell[300];
    struct wherry_channel *receiver = ring_open(ring_url("places=2"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    ck_assert_int_ge(wherry_channel_send_fd(sender), 0);
    snprintf(bell, sizeof bell, "%s/.%s.bell-1", ring_directory(), test_word());
    ck_assert_int_eq(access(bell, F_OK), 0);
    ring_close(receiver);
    ck_assert_int_ne(access(bell, F_OK), 0);
    ring_close(sender);
}

/* ---- room, for one who polls ----------------------------------------------------------------------------------- */

/* A full lane, and a receiver that takes no more than what the refused message needs: nobody else will ever tell. */
TEST(who_polls_is_told_as_soon_as_a_send_would_not_wait)
{
    enum { SIZE = 56 };
    char message[SIZE] = {0};
    uint64_t got[SIZE / sizeof(uint64_t)];
    size_t size;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    int fd = wherry_channel_send_fd(sender);
    ck_assert_int_ge(fd, 0);
    for (int taken = 1; taken <= 3; taken++) {
        while (wherry_channel_send(sender, message, SIZE, WHERRY_NOW) == 0)
            ;
        ck_assert(!ring_poll(fd, wherry_after(2 * WHERRY_MILLISECOND)));
        for (int i = 0; i < taken; i++)
            test_is(wherry_channel_receive(receiver, got, sizeof got, &size, WHERRY_NOW), 1);
        ck_assert(ring_poll(fd, test_deadline()));
        test_ok(wherry_channel_send(sender, message, SIZE, WHERRY_NOW));
    }
    ring_close(sender);
    ring_close(receiver);
}

/* ---- what the process may not have ----------------------------------------------------------------------------- */

static void send_one_and_wait(void *argument)
{
    struct test_gate *go = argument;
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 42);
    test_gate_wait(go);
    ring_close(sender);
}

/* A receiver that cannot map a sender's lane says so, however often it is asked: not that there is nothing, and never
 * the end.  When it can, the message is there. */
TEST(a_lane_that_cannot_be_mapped_is_no_empty_lane)
{
    test_needs(TEST_RLIMIT_AS);
    struct test_gate go;
    struct rlimit limit, all;
    char buffer[64];
    size_t size;
    if (TEST_SANITIZED)
        test_skip("sanitizers take terabytes of address space");
    test_gate_init(&go);
    struct wherry_channel *receiver = ring_open(ring_url("capacity=256M"), WHERRY_RECEIVE);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &all), 0);
    limit = all;
    limit.rlim_cur = 300 << 20;
    pid_t child = test_fork(send_one_and_wait, &go);
    test_until_asleep(child);
    setrlimit(RLIMIT_AS, &limit);
    for (int i = 0; i < 3; i++)
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), -ENOMEM);
    setrlimit(RLIMIT_AS, &all);
    ring_expect(receiver, 42);
    test_gate_open(&go);
    ring_expect_end(receiver);
    test_join(child);
    ring_close(receiver);
    test_gate_fini(&go);
}

static void make_a_large_file(void *argument)
{
    (void)argument;
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ring_refused(ring_url(""), WHERRY_RECEIVE, WHERRY_NOW, -EFBIG, "ulimit -f");
}

TEST(a_limit_on_the_size_of_files_is_no_signal)
{
    test_join(test_fork(make_a_large_file, NULL));
}

static void make_without_proc(void *argument)
{
    (void)argument;
    ring_private_shm("size=16m");
    ck_assert_int_eq(mount("none", "/proc", "tmpfs", 0, NULL), 0);
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 42);
    ring_expect(receiver, 42);
    ring_close(sender);
    ring_close(receiver);
    DIR *directory = opendir(ring_directory());
    for (struct dirent *entry; (entry = readdir(directory));)
        ck_assert_msg(strncmp(entry->d_name, ".wherry-new-", 12) != 0, "%s is left", entry->d_name);
    closedir(directory);
}

TEST(without_proc_it_is_made_too)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for a mount namespace");
    if (TEST_SANITIZED)
        test_skip("sanitizers read /proc");
    test_join(test_fork(make_without_proc, NULL));
}
