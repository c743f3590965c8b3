/* tests/unit/test_descriptors_closed.c - owns the proof that each descriptor is closed once, and by its owner, when the
 * sender is killed, the endpoint closed, or the process forked.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/un.h>

#include "channel/framing.h"
#include "unit/test_descriptors_kit.h"

/* ---- death ------------------------------------------------------------------------------------------------------- */

struct victim {
    char url[400];
    struct test_gate written;
};

/* Sends one whole message, then of another the beginning alone, and waits to be killed. */
static void send_half(void *argument)
{
    struct victim *victim = argument;
    uint8_t frame[WHERRY__WHOLE_HEADER];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[2] = {file_of(1), file_of(2)};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, victim->url, strlen(victim->url) + 1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    wherry__whole_encode(frame, 50000, 0);
    raw_send(fd, frame, sizeof frame, fds, 2);
    static uint8_t half[20000];
    raw_send(fd, half, sizeof half, NULL, 0);
    test_gate_open(&victim->written);
    for (;;)
        pause();
}

TEST(a_sender_killed_within_a_message_leaves_none)
{
    struct victim victim;
    struct wherry_channel *receiver;
    struct wherry_info info;
    char url[400];
    int fds[4];
    test_path(victim.url, "place");
    snprintf(url, sizeof url, "unix:%.300s?fds=4", victim.url);
    test_gate_init(&victim.written);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    size_t before = test_descriptors();
    pid_t child = test_fork(send_half, &victim);
    test_gate_wait(&victim.written);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, sizeof buffer, fds, 4, &info, WHERRY_NOW), -EAGAIN);
    ck_assert_uint_eq(test_descriptors(), before + 3); /* the connection, and what came with the half */
    test_kill(child);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, sizeof buffer, fds, 4, &info, test_deadline()), 0);
    ck_assert_uint_eq(test_descriptors(), before);
    ck_assert_uint_eq(stats_of(receiver).dropped, 1);
    test_gate_fini(&victim.written);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* An endpoint that is closed with descriptors read ahead, and one with a message on loan's. */
TEST_TABLE(closing_leaves_none, kinds)
{
    size_t before = test_descriptors();
    for (int takes = 0; takes < 2; takes++) {
        struct ends ends;
        struct wherry_loan loan;
        int fds[4];
        open_ends(&ends, &kinds[index], "fds=4");
        send_one(ends.sender, 1, 100, 4);
        send_one(ends.sender, 2, 100, 3);
        test_is(wherry_channel_borrow(ends.receiver, &loan, test_deadline()), 1);
        if (takes)
            test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), 4);
        ends_close(&ends);
        for (int i = 0; takes && i < 4; i++) {
            ck_assert_uint_eq(tag_of(fds[i]), 1000 + (unsigned)i); /* those are the caller's */
            close(fds[i]);
        }
    }
    ck_assert_uint_eq(test_descriptors(), before);
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

struct family {
    struct ends ends;
    struct wherry_loan loan;
    int taken[4];
    size_t open;
};

static void in_the_child(void *argument)
{
    struct family *family = argument;
    int fds[4];
    for (int i = 0; i < 4; i++) { /* the user's own: they live on */
        ck_assert_uint_eq(tag_of(family->taken[i]), 1000 + (unsigned)i);
        close(family->taken[i]);
    }
    test_is(wherry_channel_take_fds(family->ends.receiver, &family->loan, fds, 4), -ECHILD);
    /* whoever closes now a number that the fork handler closed before would close one of these */
    int mine[64];
    for (int i = 0; i < 64; i++)
        mine[i] = file_of((unsigned)i);
    wherry_channel_return(family->ends.receiver, &family->loan);
    ends_close(&family->ends);
    for (int i = 0; i < 64; i++) {
        ck_assert_uint_eq(tag_of(mine[i]), (unsigned)i);
        close(mine[i]);
    }
}

static int count_leading_to(unsigned tag)
{
    struct stat status;
    int count = 0;
    for (int fd = 0; fd < 200; fd++)
        count += fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == (off_t)tag;
    return count;
}

static void held_are_closed(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(count_leading_to(2000 + i), 0);
}

TEST_TABLE(in_a_forked_child_what_is_held_is_closed_once, kinds)
{
    struct family family;
    open_ends(&family.ends, &kinds[index], "fds=4");
    struct wherry_info info;
    send_one(family.ends.sender, 1, 100, 4);
    send_one(family.ends.sender, 2, 100, 4);
    test_is(wherry_channel_receive_with_fds(family.ends.receiver, buffer, 100, family.taken, 4, &info, test_deadline()),
            1);
    test_is(wherry_channel_borrow(family.ends.receiver, &family.loan, test_deadline()), 1);
    ck_assert_uint_eq(family.loan.info.fd_count, 4);
    test_join(test_fork(held_are_closed, NULL));
    test_join(test_fork(in_the_child, &family));
    int fds[4];
    test_is(wherry_channel_take_fds(family.ends.receiver, &family.loan, fds, 4), 4); /* the parent's are as they were */
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(tag_of(fds[i]), 2000 + i);
        close(fds[i]);
        close(family.taken[i]);
    }
    wherry_channel_return(family.ends.receiver, &family.loan);
    ends_close(&family.ends);
}

/* An inheritable end with descriptors of what was read ahead: the child begins with none. */
static void go_on_in_the_child(void *argument)
{
    struct wherry_channel **pair = argument;
    held_are_closed(NULL);
    int fds[4];
    struct wherry_info info;
    int mine[64]; /* with numbers that were the library's before the fork */
    for (unsigned i = 0; i < 64; i++)
        mine[i] = file_of(i);
    test_is(wherry_channel_receive_with_fds(pair[0], buffer, 100, fds, 4, &info, WHERRY_NOW), -EAGAIN);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
    for (unsigned i = 0; i < 64; i++) {
        ck_assert_uint_eq(tag_of(mine[i]), i);
        close(mine[i]);
    }
}

TEST(an_inheritable_end_leaves_what_it_holds_to_the_parent)
{
    struct wherry_channel *pair[2];
    test_ok(wherry_channel_pair("socketpair:?inheritable=1&fds=4&read_ahead=yes", NULL, pair));
    test_ok(try_send(pair[1], 1, 100, 0, WHERRY_MORE));
    test_ok(try_send(pair[1], 2, 100, 4, 0));
    expect(pair[0], 1, 100, 0);
    ck_assert_int_eq(count_leading_to(2000), 1); /* read ahead */
    test_join(test_fork(go_on_in_the_child, pair));
    expect(pair[0], 2, 100, 4);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
}
