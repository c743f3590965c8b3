/* tests/unit/test_ring_peers.c - owns the proof for H12, H14, H20 and H25 of shm:, and of whose death is seen, by whom,
 * from where.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_ring_kit.h"

struct cast {
    struct test_gate ready, go, next;
    wherry_time times[64];
    pid_t pid;
    bool polls;
};

static struct cast *make_cast(void)
{
    struct cast *cast = test_shared(sizeof *cast);
    test_gate_init(&cast->ready);
    test_gate_init(&cast->go);
    test_gate_init(&cast->next);
    return cast;
}

static void end_cast(struct cast *cast)
{
    test_gate_fini(&cast->ready);
    test_gate_fini(&cast->go);
    test_gate_fini(&cast->next);
}

/* ---- actors ------------------------------------------------------------------------------------------------------ */

static void send_one_and_pause(void *argument)
{
    struct cast *cast = argument;
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 1);
    cast->pid = getpid();
    test_gate_open(&cast->ready);
    ring_pause();
}

static void receive_one_and_the_end(void *argument)
{
    struct cast *cast = argument;
    uint64_t got;
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    test_gate_open(&cast->ready);
    test_is(ring_receive(receiver, cast->polls, &got, test_deadline()), 1);
    ck_assert_uint_eq(got, 1);
    test_gate_open(&cast->go);
    test_is(ring_receive(receiver, cast->polls, &got, test_deadline()), 0);
    ring_close(receiver);
}

static void borrow_and_pause(void *argument)
{
    struct cast *cast = argument;
    struct wherry_loan loan;
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    test_gate_open(&cast->ready);
    test_is(wherry_channel_borrow(receiver, &loan, test_deadline()), 1);
    test_gate_open(&cast->go);
    ring_pause();
}

/* ---- H12, H14: what is left -------------------------------------------------------------------------------------- */

static void open_all_and_pause(void *argument)
{
    struct cast *cast = argument;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k&places=5"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    while (wherry_channel_send(sender, "lost", 4, WHERRY_NOW) == 0)
        continue;
    ck_assert_int_ge(wherry_channel_send_fd(sender), 0);
    test_gate_open(&cast->ready);
    ring_pause();
}

/* Whoever comes after a kill, in whatever role, begins with an empty ring of its own making. */
TEST(h12_h14_nothing_stops_the_run_after_a_kill_and_nothing_is_left)
{
    struct cast *cast = make_cast();
    for (int i = 0; i < 4; i++) {
        pid_t child = test_fork(open_all_and_pause, cast);
        test_gate_wait(&cast->ready);
        test_kill(child);
        ck_assert_int_eq(access(ring_path(), F_OK), 0);
        if (i % 2) { /* by a sender alone: there is nobody to send to */
            ring_refused(ring_url("capacity=64k"), WHERRY_SEND, WHERRY_NOW, -EAGAIN, "start the receiver");
            ck_assert_int_ne(access(ring_path(), F_OK), 0);
            continue;
        }
        struct wherry_channel *receiver = ring_open(ring_url("capacity=64k"), WHERRY_RECEIVE);
        ring_expect_nothing(receiver, WHERRY_NOW);
        struct wherry_channel *sender = ring_open(ring_url("capacity=64k"), WHERRY_SEND);
        ring_put(sender, 4711);
        ring_expect(receiver, 4711);
        ring_close(receiver);
        ring_close(sender);
    }
    end_cast(cast);
}

TEST_TABLE(h12_the_sender_is_killed_and_what_it_sent_arrives, ring_ways)
{
    struct cast *cast = make_cast();
    cast->polls = ring_ways[index].polls;
    pid_t receiver = test_fork(receive_one_and_the_end, cast);
    test_gate_wait(&cast->ready);
    pid_t sender = test_fork(send_one_and_pause, cast);
    test_gate_wait(&cast->ready);
    test_gate_wait(&cast->go);
    test_until_asleep(receiver);
    test_kill(sender);
    test_join(receiver);
    end_cast(cast);
}

TEST(h12_the_receiver_is_killed_and_the_sender_is_told)
{
    struct cast *cast = make_cast();
    pid_t receiver = test_fork(borrow_and_pause, cast);
    test_gate_wait(&cast->ready);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 1);
    test_gate_wait(&cast->go);
    while (wherry_channel_send(sender, "full", 4, WHERRY_NOW) == 0)
        continue;
    test_kill(receiver);
    test_is(wherry_channel_send(sender, "full", 4, test_deadline()), -EPIPE);
    ring_close(sender);
    end_cast(cast);
}

/* ---- redelivery -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *options;
    bool polls, drops, others; /* others receive too: nobody has the lanes to himself */
} heirs[] = {
    {"blocked", "", false, false, false},
    {"polling", "", true, false, false},
    {"redeliver_no_blocked", "redeliver=no", false, true, false},
    {"redeliver_no_polling", "redeliver=no", true, true, false},
    {"one_of_two_blocked", "", false, false, true},
    {"one_of_two_polling", "", true, false, true},
    {"one_of_two_redeliver_no_blocked", "redeliver=no", false, true, true},
};

TEST_TABLE(a_killed_borrowers_message_is_given_again_or_counted, heirs)
{
    struct cast *cast = make_cast();
    struct wherry_info info;
    struct wherry_channel_stats stats;
    uint64_t got = 0;
    pid_t borrower = test_fork(borrow_and_pause, cast);
    test_gate_wait(&cast->ready);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 1);
    test_gate_wait(&cast->go);
    ring_put(sender, 2); /* behind it, in the same lane */
    struct wherry_channel *receiver = ring_open(ring_url(heirs[index].options), WHERRY_RECEIVE);
    struct wherry_channel *other = heirs[index].others ? ring_open(ring_url(""), WHERRY_RECEIVE) : NULL;
    if (heirs[index].polls)
        ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    ring_expect_nothing_at_a_tick(receiver); /* it lives */
    test_kill(borrower);
    if (heirs[index].polls) {
        test_is(ring_receive(receiver, true, &got, test_deadline()), 1);
        ck_assert_uint_eq(got, heirs[index].drops ? 2 : 1);
    } else {
        test_is(wherry_channel_receive_info(receiver, &got, sizeof got, &info, test_deadline()), 1);
        ck_assert_uint_eq(got, heirs[index].drops ? 2 : 1);
        ck_assert_uint_eq(info.flags, heirs[index].drops ? 0 : WHERRY_REDELIVERED);
    }
    if (!heirs[index].drops) {
        test_is(wherry_channel_receive_info(receiver, &got, sizeof got, &info, test_deadline()), 1);
        ck_assert_uint_eq(got, 2);
        ck_assert_uint_eq(info.flags, 0);
    }
    ring_expect_nothing(receiver, WHERRY_NOW);
    test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
    ck_assert_uint_eq(stats.dropped, heirs[index].drops);
    ck_assert_uint_eq(stats.received_messages, heirs[index].drops ? 1 : 2);
    ring_close(sender);
    ring_close(receiver);
    ring_close(other);
    end_cast(cast);
}

/* ---- H20: stopped processes -------------------------------------------------------------------------------------- */

TEST(h20_a_stopped_receiver_asleep_or_with_a_loan_holds_up_no_other)
{
    struct cast *cast = make_cast();
    pid_t asleep = test_fork(receive_one_and_the_end, cast), borrower = 0;
    test_gate_wait(&cast->ready);
    test_until_asleep(asleep);
    ring_stop(asleep);
    struct wherry_channel *first = ring_open(ring_url(""), WHERRY_SEND);
    borrower = test_fork(borrow_and_pause, cast);
    test_gate_wait(&cast->ready);
    ring_put(first, 1);
    test_gate_wait(&cast->go);
    ring_stop(borrower);
    ring_put(first, 1); /* behind the loan */
    struct wherry_channel *second = ring_open(ring_url(""), WHERRY_SEND);
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    for (uint64_t i = 0; i < 300; i++) {
        ring_put(second, i);
        ring_expect(receiver, i);
    }
    ring_expect_nothing_at_a_tick(receiver); /* the loan's lane waits */
    kill(borrower, SIGKILL);
    kill(borrower, SIGCONT);
    test_kill(borrower);
    ring_expect(receiver, 1); /* given again, then what was behind */
    kill(asleep, SIGCONT);
    test_gate_wait(&cast->go);
    ring_close(first);
    ring_close(second);
    ring_expect_end(receiver);
    test_join(asleep); /* it is told the same */
    ring_close(receiver);
    end_cast(cast);
}

TEST(h20_a_stopped_sender_holds_up_no_other_and_counts_as_alive)
{
    struct cast *cast = make_cast();
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    pid_t stopped = test_fork(send_one_and_pause, cast);
    test_gate_wait(&cast->ready);
    ring_stop(stopped);
    ring_expect(receiver, 1);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    for (uint64_t i = 0; i < 300; i++) {
        ring_put(sender, i);
        ring_expect(receiver, i);
    }
    ring_close(sender);
    ring_expect_nothing_at_a_tick(receiver);
    test_kill(stopped);
    ring_expect_end(receiver);
    ring_close(receiver);
    end_cast(cast);
}

/* ---- H25: the wake-up crosses processes -------------------------------------------------------------------------- */

enum { ROUNDS = 20 };

static void note_each_arrival(void *argument)
{
    struct cast *cast = argument;
    uint64_t got;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    if (cast->polls)
        wherry_channel_receive_fd(receiver);
    test_gate_open(&cast->ready);
    for (int i = 0; i < ROUNDS; i++) {
        test_is(ring_receive(receiver, cast->polls, &got, test_deadline()), 1);
        cast->times[i] = wherry_now() - (wherry_time)got;
        test_gate_open(&cast->go);
    }
    ring_close(receiver);
}

/* Without a wake-up a sleeper looks once a tick, 60 ms: two of twenty messages would be seen this soon by chance. */
static void expect_prompt(const struct cast *cast)
{
    int prompt = 0;
    for (int i = 0; i < ROUNDS; i++)
        prompt += cast->times[i] < 5 * WHERRY_MILLISECOND;
    ck_assert_msg(prompt >= ROUNDS / 2, "only %d of %d wake-ups came at once", prompt, ROUNDS);
}

TEST_TABLE(h25_a_message_wakes_a_receiver_of_another_process, ring_ways)
{
    struct cast *cast = make_cast();
    cast->polls = ring_ways[index].polls;
    pid_t receiver = test_fork(note_each_arrival, cast);
    test_gate_wait(&cast->ready);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    for (int i = 0; i < ROUNDS; i++) {
        test_until_asleep(receiver);
        ring_put(sender, (uint64_t)wherry_now());
        test_gate_wait(&cast->go);
    }
    test_join(receiver);
    ring_close(sender);
    end_cast(cast);
    expect_prompt(cast);
}

static void wait_for_room(void *argument)
{
    struct cast *cast = argument;
    static const uint8_t data[1000];
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    if (cast->polls)
        ck_assert_int_ge(wherry_channel_send_fd(sender), 0);
    for (int i = 0; i < ROUNDS; i++) {
        while (wherry_channel_send(sender, data, sizeof data, WHERRY_NOW) == 0)
            continue;
        test_gate_open(&cast->ready);
        test_ok(ring_send(sender, cast->polls, data, sizeof data, test_deadline()));
        cast->times[i] = wherry_now() - cast->times[i];
        test_gate_open(&cast->go);
        test_gate_wait(&cast->next);
    }
    ring_close(sender);
}

TEST_TABLE(h25_room_wakes_a_sender_of_another_process, ring_ways)
{
    struct cast *cast = make_cast();
    uint8_t data[1000];
    cast->polls = ring_ways[index].polls;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    pid_t sender = test_fork(wait_for_room, cast);
    for (int i = 0; i < ROUNDS; i++) {
        test_gate_wait(&cast->ready);
        test_until_asleep(sender);
        cast->times[i] = wherry_now();
        while (wherry_channel_receive(receiver, data, sizeof data, NULL, WHERRY_NOW) == 1)
            continue;
        test_gate_wait(&cast->go);
        test_gate_open(&cast->next);
    }
    test_join(sender);
    ring_close(receiver);
    end_cast(cast);
    expect_prompt(cast);
}
