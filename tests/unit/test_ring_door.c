/* tests/unit/test_ring_door.c - owns the proof that a ring between two uids is one, and lets in nobody else.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/socket.h>
#include <sys/un.h>

#include "unit/test_ring_house.h"

/* ---- two users talk -------------------------------------------------------------------------------------------- */

struct talk {
    uint64_t count;
    bool polls;
    struct test_gate ready;
};

static void send_as_nobody(void *argument)
{
    struct talk *talk = argument;
    become(NOBODY);
    umask(077);
    struct wherry_channel *sender = ring_open(ring_url(ITS), WHERRY_SEND);
    for (uint64_t i = 0; i < talk->count; i++) {
        char message[3000 + sizeof i] = {0};
        memcpy(message, &i, sizeof i);
        test_ok(ring_send(sender, talk->polls, message, i % 3000 + sizeof i, test_deadline()));
    }
    ring_close(sender);
}

/* More than a lane has room for, so that both sides sleep. */
TEST_TABLE(two_users_talk, ring_ways)
{
    static const uint64_t count = 5000;
    struct talk talk = {.count = count, .polls = ring_ways[index].polls};
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE "&capacity=64k"), WHERRY_RECEIVE);
    pid_t child = test_fork(send_as_nobody, &talk);
    static char message[4000];
    int fd = talk.polls ? wherry_channel_receive_fd(receiver) : -1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number;
        size_t size = 0;
        int result;
        while ((result = wherry_channel_receive(receiver, message, sizeof message, &size,
                                                talk.polls ? WHERRY_NOW : test_deadline())) == -EAGAIN &&
               talk.polls)
            ck_assert(ring_poll(fd, test_deadline()));
        test_is(result, 1);
        memcpy(&number, message, sizeof number);
        ck_assert_uint_eq(number, i);
        ck_assert_uint_eq(size, i % 3000 + sizeof number);
    }
    ring_expect_end(receiver);
    test_join(child);
    ring_close(receiver);
    ck_assert_int_eq(access(door_of(0, test_word()), F_OK), -1);
}

static void receive_as_nobody(void *argument)
{
    struct talk *talk = argument;
    become(NOBODY);
    struct wherry_channel *receiver = enter(ring_url(ITS "&connect"), WHERRY_RECEIVE);
    test_gate_open(&talk->ready);
    for (uint64_t i = 0; i < talk->count; i++) {
        uint64_t got = 0;
        test_is(ring_receive(receiver, talk->polls, &got, test_deadline()), 1);
        ck_assert_uint_eq(got, i);
    }
    ring_close(receiver);
}

/* The sender keeps the door; each message is sent when the receiver sleeps, and only its bell can wake it. */
TEST_TABLE(the_sender_may_keep_the_door, ring_ways)
{
    struct talk talk = {.count = 20, .polls = ring_ways[index].polls};
    need_uids();
    ring_private_shm("size=16m"); /* where the bells are this test's */
    test_gate_init(&talk.ready);
    pid_t child = test_fork(receive_as_nobody, &talk);
    struct wherry_channel *sender = enter(ring_url(MINE "&listen"), WHERRY_SEND);
    test_gate_wait(&talk.ready);
    for (uint64_t i = 0; i < talk.count; i++) {
        test_until_asleep(child);
        ring_put(sender, i);
    }
    test_join(child);
    ring_close(sender);
    test_gate_fini(&talk.ready);
    ck_assert_uint_eq(bells_of(NOBODY), 0);
}

/* ---- who is not let in ----------------------------------------------------------------------------------------- */


static void look_as_nobody_in_any(void *argument)
{
    (void)argument;
    struct wherry_ring_stat stat;
    become(NOBODY);
    test_ok(wherry_ring_stat(ring_url(ITS), &stat, sizeof stat));
}

static void knock_as_stranger(void *argument)
{
    (void)argument;
    become(STRANGER);
    ring_refused(ring_url(ITS), WHERRY_SEND, test_deadline(), -EPERM, "not uid 65533");
    struct wherry_ring_stat stat;
    test_is(wherry_ring_stat(ring_url(ITS), &stat, sizeof stat), -EPERM);
}

TEST(strangers_are_refused)
{
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    receive_until_done(receiver, test_fork(knock_as_stranger, NULL));
    ck_assert_int_eq(chmod(door_of(0, test_word()), 0666), 0); /* as without access control lists: by the keeper */
    receive_until_done(receiver, test_fork(knock_as_stranger, NULL));
    ring_close(receiver);
}

static void look_as_nobody(void *argument)
{
    (void)argument;
    struct wherry_ring_stat stat;
    become(NOBODY);
    test_ok(wherry_ring_stat(ring_url(ITS), &stat, sizeof stat));
    ck_assert_uint_eq(stat.receivers, 1);
    ck_assert_uint_eq(stat.capacity, 8192);
}

static int connect_by_hand(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int code = errno;
    close(fd);
    return -code;
}

struct crowd {
    struct test_gate knocked;
    unsigned count, answered, sent_away;
    bool strangers, reads;
};

static void knock_in_a_crowd(void *argument)
{
    enum { MOST = 64 };
    struct crowd *crowd = argument;
    int fds[MOST];
    become(crowd->strangers ? STRANGER : NOBODY);
    for (unsigned i = 0; i < crowd->count; i++)
        ck_assert_int_ge(fds[i] = connect_by_hand(door_of(0, test_word())), 0);
    test_gate_open(&crowd->knocked);
    for (unsigned i = 0; i < crowd->count; i++) {
        struct pollfd entry = {.fd = fds[i], .events = POLLIN};
        char byte;
        ck_assert_int_eq(poll(&entry, 1, 15000 * (int)test_slowness()), 1);
        ssize_t size = recv(fds[i], &byte, 1, MSG_PEEK);
        crowd->answered += size == 1;
        crowd->sent_away += size == 0;
    }
    test_gate_open(&crowd->knocked);
    for (;;)
        pause();
}

/* Strangers cannot even knock, where /dev/shm has access control lists. */
static void fail_to_knock(void *argument)
{
    (void)argument;
    become(STRANGER);
    ck_assert_int_eq(connect_by_hand(door_of(0, test_word())), -EACCES);
}

TEST(strangers_do_not_reach_the_door)
{
    struct stat status;
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    ck_assert_int_eq(stat(door_of(0, test_word()), &status), 0);
    if ((status.st_mode & 0777) == 0660)
        test_join(test_fork(fail_to_knock, NULL));
    ring_close(receiver);
    if ((status.st_mode & 0777) != 0660)
        test_skip("/dev/shm has no access control lists");
}

/* Where there are none they all are answered within a call, not some at each tick, and those who belong come through.
 * */
TEST(a_crowd_of_strangers_is_sent_away_at_once)
{
    struct crowd *crowd = test_shared(sizeof *crowd);
    *crowd = (struct crowd){.count = 60, .strangers = true};
    need_uids();
    test_gate_init(&crowd->knocked);
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    ck_assert_int_eq(chmod(door_of(0, test_word()), 0666), 0);
    pid_t child = test_fork(knock_in_a_crowd, crowd);
    test_gate_wait(&crowd->knocked);
    ring_expect_nothing(receiver, wherry_after(RING_TICK + RING_TICK / 4)); /* one tick */
    int fd = connect_by_hand(door_of(0, test_word()));
    ring_expect_nothing(receiver, wherry_after(RING_TICK + RING_TICK / 4));
    char hello[64];
    ck_assert_int_gt(recv(fd, hello, sizeof hello, MSG_DONTWAIT), 0);
    close(fd);
    test_gate_wait(&crowd->knocked);
    ck_assert_uint_eq(crowd->answered, 60); /* refused */
    test_kill(child);
    ring_close(receiver);
    test_gate_fini(&crowd->knocked);
}

/* Descriptors that were sent and never read count against the keeper's user: of one who reads none, few are out. */
TEST(who_does_not_read_is_handed_few_descriptors)
{
    struct crowd *crowd = test_shared(sizeof *crowd);
    *crowd = (struct crowd){.count = 20};
    need_uids();
    test_gate_init(&crowd->knocked);
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    pid_t child = test_fork(knock_in_a_crowd, crowd);
    test_gate_wait(&crowd->knocked);
    for (int i = 0; i < 3; i++)
        ring_expect_nothing_at_a_tick(receiver);
    test_gate_wait(&crowd->knocked);
    ck_assert_uint_eq(crowd->answered, 8);
    ck_assert_uint_eq(crowd->sent_away, 12);
    test_kill(child);
    receive_until_done(receiver, test_fork(look_as_nobody_in_any, NULL)); /* and they are free again */
    ring_close(receiver);
    test_gate_fini(&crowd->knocked);
}

TEST(a_full_backlog_is_said_so)
{
    int fds[256], count = 0, fd;
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    while (count < 256 && (fd = connect_by_hand(door_of(0, test_word()))) >= 0)
        fds[count++] = fd;
    ck_assert_int_lt(count, 256);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct wherry_channel *sender = NULL;
        wherry_time deadline = wherry_after(50 * WHERRY_MILLISECOND);
        setresuid(NOBODY, NOBODY, NOBODY);
        int result = wherry_channel_open(ring_url(ITS), WHERRY_SEND, NULL, deadline, &sender);
        _exit(result == -ETIMEDOUT && strstr(wherry_why(), "too many wait") ? 0 : 1);
    }
    test_join_status(child, 0);
    while (count)
        close(fds[--count]);
    ring_close(receiver);
}

TEST(the_other_may_look)
{
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE "&capacity=8k"), WHERRY_RECEIVE);
    receive_until_done(receiver, test_fork(look_as_nobody, NULL));
    ring_close(receiver);
}

TEST(nobody_waits_for_a_keeper_past_the_deadline)
{
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE), *sender = NULL;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setresuid(NOBODY, NOBODY, NOBODY);
        int result =
            wherry_channel_open(ring_url(ITS), WHERRY_SEND, NULL, wherry_after(50 * WHERRY_MILLISECOND), &sender);
        _exit(result == -ETIMEDOUT && strstr(wherry_why(), "lets nobody in") ? 0 : 1);
    }
    test_join_status(child, 0);
    ring_close(receiver);
}

static void wait_for_a_place(void *argument)
{
    (void)argument;
    become(NOBODY);
    ring_refused(ring_url(ITS), WHERRY_SEND, wherry_after(150 * WHERRY_MILLISECOND), -ETIMEDOUT, "all places");
}

/* It is let in, finds no place, and knocks again: at the end that is what is said, not that nobody lets it in. */
TEST(a_full_ring_is_said_so)
{
    need_uids();
    struct wherry_channel *receiver = ring_open(ring_url(MINE "&places=2"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(MINE), WHERRY_SEND);
    receive_until_done(receiver, test_fork(wait_for_a_place, NULL));
    ring_close(sender);
    ring_close(receiver);
}

/* ---- what is said wrong ---------------------------------------------------------------------------------------- */

static const struct saying {
    const char *name, *options;
    int expected;
    const char *words;
} sayings[] = {
    {"no_number", "share=bob", -EINVAL, "number of a uid"},
    {"any", "share=any", -EINVAL, "number of a uid"},
    {"two", "share=1,2", -EINVAL, "number of a uid"},
    {"no_uid", "share=4294967295", -EINVAL, "number of a uid"},
    {"kept", "share=0&keep=1", -EINVAL, "not both"},
};

TEST_TABLE(share_is_checked, sayings)
{
    ring_refused(ring_url(sayings[index].options), WHERRY_RECEIVE, WHERRY_NOW, sayings[index].expected,
                 sayings[index].words);
}

TEST(nobody_there_is_said_so)
{
    ring_refused(ring_url("share=0"), WHERRY_SEND, WHERRY_NOW, -EAGAIN, "start the receiver");
    struct wherry_ring_stat stat;
    test_is(wherry_ring_stat(ring_url("share=0"), &stat, sizeof stat), -ENOENT);
    test_is(wherry_ring_stat(ring_url("shares=0"), &stat, sizeof stat), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "no option of a ring"));
}
