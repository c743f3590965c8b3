/* tests/unit/test_ring_worlds.c - owns the proof that a ring's members are told alive from dead across PID namespaces,
 * reused numbers and forks.
 *
 * SPDX-License-Identifier: MIT */
#include <wherry/ring.h>

#include "unit/test_ring_kit.h"

struct world {
    struct test_gate joined, received, ended;
    bool polls;
    pid_t number; /* of the sender, as it sees itself */
    wherry_time died, noticed;
};

static struct world *make_world(bool polls)
{
    struct world *world = test_shared(sizeof *world);
    test_gate_init(&world->joined);
    test_gate_init(&world->received);
    test_gate_init(&world->ended);
    world->polls = polls;
    return world;
}

static void end_world(struct world *world)
{
    test_gate_fini(&world->joined);
    test_gate_fini(&world->received);
    test_gate_fini(&world->ended);
}

/* Skips where there can be no PID namespaces. */
static void need_namespaces(void)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for PID namespaces");
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0)
        _exit(0);
    if (child < 0)
        test_skip("no PID namespace can be made here");
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

static void receive_until_the_end(void *argument)
{
    struct world *world = argument;
    uint64_t got = 0;
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    test_gate_open(&world->joined);
    test_is(ring_receive(receiver, world->polls, &got, test_deadline()), 1);
    ck_assert_uint_eq(got, 42);
    test_gate_open(&world->received);
    test_is(ring_receive(receiver, world->polls, &got, test_deadline()), 0);
    world->noticed = wherry_now();
    test_gate_open(&world->ended);
    ring_close(receiver);
}

static void send_and_pause(void *argument)
{
    struct world *world = argument;
    world->number = getpid();
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 42);
    ring_pause();
}

/* ---- PID namespaces -------------------------------------------------------------------------------------------- */

/* Who is in a namespace of its own: the sender is below the receiver's, above it, or in another branch. */
static const struct {
    const char *name;
    unsigned long receiver, sender;
    bool polls;
} branches[] = {
    {"sender_below_blocked", 0, CLONE_NEWPID, false},      {"sender_below_polling", 0, CLONE_NEWPID, true},
    {"sender_above_blocked", CLONE_NEWPID, 0, false},      {"sender_above_polling", CLONE_NEWPID, 0, true},
    {"beside_blocked", CLONE_NEWPID, CLONE_NEWPID, false}, {"beside_polling", CLONE_NEWPID, CLONE_NEWPID, true},
};

TEST_TABLE(a_death_in_another_pid_namespace_is_noticed_and_life_too, branches)
{
    need_namespaces();
    struct world *world = make_world(branches[index].polls);
    pid_t receiver = ring_clone(branches[index].receiver, receive_until_the_end, world);
    test_gate_wait(&world->joined);
    pid_t sender = ring_clone(branches[index].sender, send_and_pause, world);
    test_gate_wait(&world->received);
    if (branches[index].polls && branches[index].sender && !branches[index].receiver)
        test_sleep(2 * (wherry_time)RING_TICK); /* by a descriptor of the sender, which shows its death alone */
    else
        test_until_woken(receiver, 3); /* by ticks: it has looked, and the sender lives */
    ck_assert_int_eq(world->noticed, 0);
    world->died = wherry_now();
    test_kill(sender);
    test_gate_wait(&world->ended);
    test_join(receiver);
    ck_assert_msg(world->noticed - world->died < 10 * WHERRY_SECOND * test_slowness(), "noticed after %lld ms",
                  (long long)((world->noticed - world->died) / WHERRY_MILLISECOND));
    end_world(world);
}

static void receive_and_pause(void *argument)
{
    struct world *world = argument;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    wherry_channel_receive_fd(receiver);
    test_gate_open(&world->joined);
    ring_pause();
}

/* The other way about: the sender waits for room in a full lane. */
TEST_TABLE(a_receivers_death_in_another_pid_namespace_is_noticed, ring_ways)
{
    need_namespaces();
    struct world *world = make_world(ring_ways[index].polls);
    pid_t receiver = ring_clone(CLONE_NEWPID, receive_and_pause, world);
    test_gate_wait(&world->joined);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    if (ring_ways[index].polls)
        ck_assert_int_ge(wherry_channel_send_fd(sender), 0);
    while (wherry_channel_send(sender, "x", 1, WHERRY_NOW) == 0)
        continue;
    test_kill(receiver);
    test_is(ring_send(sender, ring_ways[index].polls, "x", 1, test_deadline()), -EPIPE);
    ring_close(sender);
    end_world(world);
}

/* ---- numbers that are used again ------------------------------------------------------------------------------- */

static void set_next_pid(pid_t pid)
{
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "ns_last_pid: %s", strerror(errno));
    int size = snprintf(text, sizeof text, "%d", (int)pid - 1);
    ck_assert_int_eq(write(fd, text, (size_t)size), size);
    close(fd);
}

/* In the namespace: the sender is killed while the receiver stands still, and its number is another's when that goes
 * on. */
static void reuse_a_number(void *argument)
{
    struct world *world = argument;
    int status;
    pid_t receiver = test_fork(receive_until_the_end, world);
    test_gate_wait(&world->joined);
    pid_t sender = test_fork(send_and_pause, world);
    test_gate_wait(&world->received);
    ck_assert_int_eq(world->number, sender);
    test_until_asleep(receiver);
    ring_stop(receiver);
    test_kill(sender);
    set_next_pid(sender);
    pid_t heir = fork();
    if (heir == 0)
        ring_pause();
    ck_assert_int_eq(heir, sender);
    kill(receiver, SIGCONT);
    test_gate_wait(&world->ended);
    ck_assert_int_eq(kill(heir, 0), 0);
    kill(heir, SIGKILL);
    ck_assert_int_eq(waitpid(heir, &status, 0), heir);
    test_join(receiver);
}

TEST_TABLE(a_dead_sender_is_dead_though_its_number_lives, ring_ways)
{
    need_namespaces();
    if (access("/proc/sys/kernel/ns_last_pid", W_OK) != 0)
        test_skip("no /proc/sys/kernel/ns_last_pid to write");
    struct world *world = make_world(ring_ways[index].polls);
    test_join_by(ring_clone(CLONE_NEWPID, reuse_a_number, world), wherry_after(20 * WHERRY_SECOND * test_slowness()));
    end_world(world);
}

/* ---- forks ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool handlers; /* fork() runs those of pthread_atfork(3); clone(2) does not */
} forks[] = {{"fork", true}, {"clone", false}};

static void send_fork_and_pause(void *argument)
{
    struct world *world = argument;
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 42);
    pid_t child = world->polls ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    ck_assert_int_ge(child, 0);
    if (child > 0) {
        world->number = child;
        test_gate_open(&world->joined);
    }
    ring_pause();
}

TEST_TABLE(a_forked_child_does_not_keep_its_dead_parent_alive, forks)
{
    struct world *world = make_world(forks[index].handlers);
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    pid_t sender = test_fork(send_fork_and_pause, world);
    ring_expect(receiver, 42);
    test_gate_wait(&world->joined);
    test_kill(sender);
    ring_expect_end(receiver);
    ck_assert_int_eq(kill(world->number, 0), 0); /* it is there */
    kill(world->number, SIGKILL);
    ring_close(receiver);
    end_world(world);
}

struct family {
    struct wherry_channel *receiver, *sender;
};

static void use_and_close(void *argument)
{
    const struct family *family = argument;
    uint64_t number = 0;
    struct wherry_loan loan;
    test_is(wherry_channel_send(family->sender, &number, sizeof number, WHERRY_NOW), -ECHILD);
    test_is(wherry_channel_receive(family->receiver, &number, sizeof number, NULL, WHERRY_NOW), -ECHILD);
    test_is(wherry_channel_borrow(family->receiver, &loan, WHERRY_NOW), -ECHILD);
    void *data;
    test_is(wherry_channel_reserve(family->sender, 8, &data, WHERRY_NOW), -ECHILD);
    test_ok(wherry_channel_close(family->sender, WHERRY_NOW));
    test_ok(wherry_channel_close(family->receiver, WHERRY_NOW));
    /* and it can have endpoints of its own, in a place of its own */
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ring_put(sender, 7);
    ring_close(sender);
}

static void be_another_process(void *argument)
{
    (void)argument;
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND); /* someone receives: the locks stand */
    ring_put(sender, 8);
    ring_close(sender);
}

TEST(a_close_in_a_forked_child_changes_nothing)
{
    struct family family = {ring_open(ring_url(""), WHERRY_RECEIVE), ring_open(ring_url(""), WHERRY_SEND)};
    wherry_channel_receive_fd(family.receiver);
    wherry_channel_send_fd(family.sender);
    for (int i = 0; i < 3; i++) {
        test_join(test_fork(use_and_close, &family));
        ring_expect(family.receiver, 7);
        test_join(test_fork(be_another_process, NULL));
        ring_expect(family.receiver, 8);
        ring_put(family.sender, 9);
        ring_expect(family.receiver, 9);
        ring_expect_nothing_at_a_tick(family.receiver);
    }
    ring_close(family.sender);
    ring_expect_end(family.receiver);
    ring_close(family.receiver);
}

/* ---- one process, several endpoints ---------------------------------------------------------------------------- */

/* Record locks are the process's, and the closing of any descriptor of the file would drop them all. */
static bool is_locked(unsigned place)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RING_PLACE_LOCK + (off_t)place, .l_len = 1};
    int fd = open(ring_path(), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETLK, &lock), 0);
    close(fd);
    return lock.l_type != F_UNLCK;
}

/* The first four places, of senders, in the lower half of the mask, and the last four, of receivers, in the upper. */
static void expect_locks(void *argument)
{
    unsigned held = 0;
    for (unsigned i = 0; i < 8; i++)
        held |= (unsigned)is_locked(i < 4 ? i : RING_PLACES - 8 + i) << i;
    ck_assert_uint_eq(held, *(unsigned *)argument);
}

static void locks_are(unsigned wanted)
{
    test_join(test_fork(expect_locks, &wanted)); /* closing in this process would drop them */
}

TEST(closing_or_failing_to_open_one_endpoint_leaves_the_others_alive)
{
    struct wherry_channel *receivers[2], *senders[3];
    struct wherry_ring_stat stat;
    receivers[0] = ring_open(ring_url(""), WHERRY_RECEIVE);
    for (int i = 0; i < 3; i++)
        senders[i] = ring_open(ring_url(""), WHERRY_SEND);
    locks_are(0x87);
    receivers[1] = ring_open(ring_url(""), WHERRY_RECEIVE);
    locks_are(0xc7);
    ring_refused(ring_url("capacity=8k"), WHERRY_SEND, WHERRY_NOW, -EINVAL, "capacity=");
    ring_refused(ring_url("places=8"), WHERRY_RECEIVE, WHERRY_NOW, -EINVAL, "places=");
    ring_refused(ring_url("keep=1"), WHERRY_RECEIVE, WHERRY_NOW, -EINVAL, "keep=");
    test_ok(wherry_ring_stat(ring_url(""), &stat, sizeof stat));
    ck_assert_uint_eq(stat.senders, 3);
    ck_assert_uint_eq(stat.receivers, 2);
    locks_are(0xc7);
    ring_close(senders[1]);
    locks_are(0xc5);
    ring_close(receivers[0]);
    locks_are(0x45);
    ring_put(senders[0], 1);
    ring_expect(receivers[1], 1);
    ring_put(senders[2], 2);
    ring_expect(receivers[1], 2);
    ring_expect_nothing_at_a_tick(receivers[1]);
    ring_close(senders[0]);
    locks_are(0x44);
    ring_close(senders[2]);
    ring_expect_end(receivers[1]);
    ring_close(receivers[1]);
    ck_assert_int_ne(access(ring_path(), F_OK), 0);
}

TEST(two_rings_of_one_process_have_nothing_to_do_with_each_other)
{
    char urls[2][300];
    struct wherry_channel *receivers[2], *senders[2];
    for (int i = 0; i < 2; i++) {
        snprintf(urls[i], sizeof urls[i], "%s-%d", ring_url(""), i);
        receivers[i] = ring_open(urls[i], WHERRY_RECEIVE);
        senders[i] = ring_open(urls[i], WHERRY_SEND);
    }
    struct wherry_channel *third = ring_open(urls[0], WHERRY_SEND); /* of the older one, when both are there */
    ring_put(third, 9);
    ring_expect(receivers[0], 9);
    ring_close(third);
    ring_put(senders[0], 10);
    ring_put(senders[1], 11);
    ring_expect(receivers[1], 11);
    ring_expect(receivers[0], 10);
    ring_close(senders[0]);
    ring_expect_end(receivers[0]);
    ring_close(receivers[0]);
    ring_expect_nothing_at_a_tick(receivers[1]);
    ring_put(senders[1], 12);
    ring_expect(receivers[1], 12);
    ring_close(senders[1]);
    ring_close(receivers[1]);
}
