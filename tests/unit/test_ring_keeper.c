/* tests/unit/test_ring_keeper.c - owns the proof that a ring between two uids outlives its keeper, and is
 * not misled by one that lies.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "socket/descriptor.h"
#include "unit/test_ring_house.h"

/* ---- what the memory is ---------------------------------------------------------------------------------------- */

/* Knock by hand: what any member has in its hands. */
static int take_memory(uid_t keeper)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", door_of(keeper, test_word()));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), memory = -1;
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&entry, 1, 15000 * (int)test_slowness()), 1);
    char hello[64];
    ck_assert_int_gt(wherry__descriptor_receive(fd, hello, sizeof hello, &memory), 0);
    ck_assert_int_ge(memory, 0);
    close(fd);
    return memory;
}

static void try_to_cut(void *argument)
{
    struct stat status;
    uint64_t *stage = argument;
    become(NOBODY);
    int memory = take_memory(0);
    ck_assert_int_eq(fstat(memory, &status), 0);
    ck_assert_int_eq(ftruncate(memory, 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(memory, status.st_size + 4096), -1);
    ck_assert_int_eq(fallocate(memory, 0, status.st_size, 4096), -1);
    ck_assert_int_eq(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE), -1);
    *stage = 1;
    /* this it can do: all is zeros from one load to the next */
    ck_assert_int_eq(fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, status.st_size), 0);
}

/* What a punch makes of the ring is nonsense or nothing, and no signal. */
TEST(h7_h8_the_memory_cannot_be_cut)
{
    need_uids();
    uint64_t *stage = test_shared(sizeof *stage);
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(MINE), WHERRY_SEND);
    for (uint64_t i = 0; i < 100; i++)
        ring_put(sender, i);
    for (unsigned i = 0; i < 10; i++)
        ring_expect(receiver, i);
    receive_until_done(receiver, test_fork(try_to_cut, stage));
    ck_assert_uint_eq(*stage, 1);
    uint64_t got;
    wherry_channel_receive(receiver, &got, sizeof got, NULL, wherry_after(20 * WHERRY_MILLISECOND));
    wherry_channel_send(sender, &got, sizeof got, wherry_after(20 * WHERRY_MILLISECOND));
    ring_close(sender);
    ring_close(receiver);
}

/* ---- keepers that lie ------------------------------------------------------------------------------------------ */

enum lie {
    NO_MEMORY, A_FILE, UNSEALED, READ_ONLY, SHORT_HELLO, LONG_HELLO, OTHER_LAYOUT, EMPTY, TOO_SMALL, HUGE_LANES, KEPT,
    NO_WORD, NO_LIE
};

static const struct lie_case {
    const char *name;
    enum lie lie;
    int expected;
    const char *words;
} lies[] = {
    {"no_memory", NO_MEMORY, -EPROTO, "no sealed memory"},
    {"a_file", A_FILE, -EPROTO, "no sealed memory"},
    {"unsealed", UNSEALED, -EPROTO, "no sealed memory"},
    {"read_only", READ_ONLY, -EPROTO, "cannot be written"},
    {"short_hello", SHORT_HELLO, -EPROTO, "is no ring"},
    {"long_hello", LONG_HELLO, -EPROTO, "is no ring"},
    {"other_layout", OTHER_LAYOUT, -EPROTO, "layout 99"},
    {"empty", EMPTY, -EBADMSG, "is no ring"},
    {"too_small", TOO_SMALL, -EBADMSG, "damaged"},
    {"huge_lanes", HUGE_LANES, -EINVAL, "capacity=134217728"},
    {"kept", KEPT, -EBADMSG, "is kept"},
    {"no_word", NO_WORD, -ETIMEDOUT, "lets nobody in"},
};

static int forged_memory(enum lie lie)
{
    struct ring_head head = {.magic = RING_MAGIC, .version = RING_VERSION, .places = 64, .capacity = 4096};
    char path[300];
    if (lie == NO_MEMORY)
        return -1;
    if (lie == A_FILE)
        return open(test_path(path, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lie == HUGE_LANES)
        head.capacity = 128 << 20;
    head.keep = lie == KEPT;
    int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    off_t size = (off_t)(RING_CONTROL + head.capacity * 64);
    ck_assert_int_eq(ftruncate(fd, lie == TOO_SMALL ? 8192 : size), 0);
    if (lie != EMPTY)
        ck_assert_int_eq(pwrite(fd, &head, sizeof head, 0), sizeof head);
    if (lie != UNSEALED)
        ck_assert_int_eq(
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | (lie == READ_ONLY ? F_SEAL_WRITE : 0) | F_SEAL_SEAL),
            0);
    return fd;
}

static void enter_forged(void *argument)
{
    const struct lie_case *lie = argument;
    size_t before = test_descriptors();
    become(NOBODY);
    ring_refused(ring_url(ITS), WHERRY_SEND,
                 lie->lie == NO_WORD ? wherry_after(30 * WHERRY_MILLISECOND) : test_deadline(), lie->expected,
                 lie->words);
    ck_assert_uint_eq(test_descriptors(), before);
}

TEST_TABLE(a_keeper_that_lies_is_refused, lies)
{
    const struct lie_case *lie = &lies[index];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct {
        uint64_t magic;
        uint32_t version, answer;
        uint64_t keeper, more;
    } hello = {.magic = RING_MAGIC, .version = lie->lie == OTHER_LAYOUT ? 99 : RING_VERSION};
    need_uids();
    mkdir(door_of(0, ""), 0711);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", door_of(0, test_word()));
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), memory = forged_memory(lie->lie);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(chmod(address.sun_path, 0666), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    pid_t child = test_fork(enter_forged, (void *)(uintptr_t)lie);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    size_t size = lie->lie == SHORT_HELLO ? 8 : lie->lie == LONG_HELLO ? 32 : 24;
    if (memory >= 0 && lie->lie != NO_WORD)
        test_ok(wherry__descriptor_send(peer, &hello, size, memory));
    else if (lie->lie != NO_WORD)
        ck_assert_int_eq(send(peer, &hello, size, 0), (ssize_t)size);
    test_join(child);
    close(peer);
    close(listener);
    if (memory >= 0)
        close(memory);
    unlink(address.sun_path);
    char path[300];
    unlink(test_path(path, "file"));
}

struct forger {
    struct test_gate ready;
    struct sockaddr_un address;
};

static int forged_door(const struct sockaddr_un *address)
{
    struct sockaddr_un new = *address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcat(new.sun_path, "x");
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&new, sizeof new), 0);
    ck_assert_int_eq(chmod(new.sun_path, 0666), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_eq(rename(new.sun_path, address->sun_path), 0);
    return fd;
}

/* Each time at another door, so that nobody knows before that the memory is the same. */
static void hand_over_again_and_again(void *argument)
{
    struct forger *forger = argument;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RING_PLACE_LOCK + 63, .l_len = 1};
    struct {
        uint64_t magic;
        uint32_t version, answer;
        uint64_t keeper;
    } hello = {.magic = RING_MAGIC, .version = RING_VERSION, .keeper = ring_mark(63, 1)};
    become(NOBODY);
    int memory = forged_memory(NO_LIE);
    uint32_t receiver[4] = {RING_RECEIVER, 1, 1, 1};
    off_t at = offsetof(struct ring_control, places[63]);
    ck_assert_int_eq(pwrite(memory, receiver, sizeof receiver, at), sizeof receiver);
    ck_assert_int_eq(fcntl(memory, F_SETLK, &lock), 0);
    int door = forged_door(&forger->address);
    test_gate_open(&forger->ready);
    for (;;) {
        int peer = accept4(door, NULL, NULL, SOCK_CLOEXEC), next = forged_door(&forger->address);
        wherry__descriptor_send(peer, &hello, sizeof hello, memory);
        close(peer);
        close(door);
        door = next;
    }
}

TEST(a_keeper_cannot_exhaust_descriptors)
{
    struct forger *forger = test_shared(sizeof *forger);
    need_uids();
    ring_private_shm("size=64m");
    test_gate_init(&forger->ready);
    ck_assert_int_eq(mkdir(door_of(NOBODY, ""), 0711), 0);
    ck_assert_int_eq(chown(door_of(NOBODY, ""), NOBODY, NOBODY), 0);
    forger->address.sun_family = AF_UNIX;
    snprintf(forger->address.sun_path, sizeof forger->address.sun_path, "%s", door_of(NOBODY, test_word()));
    pid_t child = test_fork(hand_over_again_and_again, forger);
    test_gate_wait(&forger->ready);
    struct wherry_channel *sender = enter(ring_url(MINE), WHERRY_SEND), *another;
    size_t before = test_descriptors();
    int result = 0;
    for (int i = 0; i < 100 && result == 0; i++) {
        result = wherry_channel_open(ring_url(MINE), WHERRY_SEND, NULL, test_deadline(), &another);
        if (result == 0)
            ring_close(another);
    }
    test_is(result, -EMFILE);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "64 times over"));
    ck_assert_uint_le(test_descriptors(), before + 64);
    ring_put(sender, 1);
    ring_close(sender);
    test_kill(child);
    test_gate_fini(&forger->ready);
}

/* ---- one process, several ends --------------------------------------------------------------------------------- */

/* H-trap of record locks: closing any descriptor of a file drops all locks of the process. */
TEST(ends_of_one_process_keep_their_places)
{
    struct wherry_ring_stat stat;
    struct wherry_channel *receiver = ring_open(ring_url("share=0"), WHERRY_RECEIVE);
    struct wherry_channel *first = ring_open(ring_url("share=0"), WHERRY_SEND);
    struct wherry_channel *second = ring_open(ring_url("share=0"), WHERRY_SEND);
    ring_put(first, 1);
    ring_close(first);
    test_ok(wherry_ring_stat(ring_url("share=0"), &stat, sizeof stat));
    ck_assert_uint_eq(stat.senders, 1);
    ck_assert_uint_eq(stat.receivers, 1);
    ck_assert_uint_eq(stat.dead, 0);
    ring_put(second, 2);
    ring_expect(receiver, 1);
    ring_expect(receiver, 2);
    ring_close(second);
    ring_expect_end(receiver);
    ring_close(receiver);
}

/* ---- keepers that die ------------------------------------------------------------------------------------------ */

struct house {
    struct test_gate joined, go;
    bool polls;
};

static void keep_and_pause(void *argument)
{
    struct house *house = argument;
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    if (house->polls)
        ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    test_gate_open(&house->joined);
    for (;;)
        ring_expect_nothing(receiver, wherry_after(10 * WHERRY_MILLISECOND));
}

static void send_until_broken(void *argument)
{
    struct house *house = argument;
    uint64_t number = 0;
    int result;
    become(NOBODY);
    struct wherry_channel *sender = enter(ring_url(ITS "&capacity=4k"), WHERRY_SEND);
    test_gate_open(&house->go);
    while ((result = ring_send(sender, house->polls, &number, sizeof number, test_deadline())) == 0)
        number++;
    test_is(result, -EPIPE);
    ring_close(sender);
}

static void keep_small_and_pause(void *argument)
{
    struct house *house = argument;
    struct wherry_channel *receiver = ring_open(ring_url(MINE "&capacity=4k"), WHERRY_RECEIVE);
    test_gate_open(&house->joined);
    uint64_t got;
    wherry_channel_receive(receiver, &got, sizeof got, NULL, test_deadline()); /* lets the sender in */
    ring_pause();
}

/* The sender's lane is full, and it waits: it is told within a tick or by the pidfd. */
TEST_TABLE(the_keepers_death_ends_its_senders, ring_ways)
{
    struct house house = {.polls = ring_ways[index].polls};
    need_uids();
    test_gate_init(&house.joined);
    test_gate_init(&house.go);
    pid_t keeper = test_fork(keep_small_and_pause, &house);
    test_gate_wait(&house.joined);
    pid_t sender = test_fork(send_until_broken, &house);
    test_gate_wait(&house.go);
    test_until_asleep(sender);
    test_kill(keeper);
    test_join(sender);
    /* the next one in cleans up, and is a ring of its own */
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    ring_expect_nothing(receiver, WHERRY_NOW);
    ring_close(receiver);
    ck_assert_int_eq(access(door_of(0, test_word()), F_OK), -1);
    test_gate_fini(&house.joined);
    test_gate_fini(&house.go);
}

static void send_seven(void *argument)
{
    (void)argument;
    become(NOBODY);
    struct wherry_channel *sender = ring_open(ring_url(ITS), WHERRY_SEND);
    ring_put(sender, 7);
    ring_close(sender);
}

/* Of two receivers the one that kept the door is killed: the other takes its turn, and its bell with it is swept. */
TEST_TABLE(another_takes_the_keepers_turn, ring_ways)
{
    struct house house = {.polls = ring_ways[index].polls};
    uint64_t got = 0;
    need_uids();
    ring_private_shm("size=16m");
    test_gate_init(&house.joined);
    pid_t keeper = test_fork(keep_and_pause, &house);
    test_gate_wait(&house.joined);
    ck_assert_uint_eq(bells_of(0), house.polls);
    struct wherry_channel *receiver = enter(ring_url(MINE), WHERRY_RECEIVE);
    struct wherry_ring_stat stat;
    test_ok(wherry_ring_stat(ring_url(MINE), &stat, sizeof stat));
    ck_assert_uint_eq(stat.receivers, 2);
    test_kill(keeper);
    pid_t child = test_fork(send_seven, NULL);
    test_is(ring_receive(receiver, house.polls, &got, test_deadline()), 1);
    ck_assert_uint_eq(got, 7);
    test_join(child);
    ring_expect_end(receiver);
    ring_close(receiver);
    ck_assert_int_eq(access(door_of(0, test_word()), F_OK), -1);
    ck_assert_uint_eq(bells_of(0), 0); /* the dead one's too */
    test_gate_fini(&house.joined);
}

static void join_and_wait(void *argument)
{
    struct house *house = argument;
    struct wherry_channel *receiver = enter(ring_url(MINE), WHERRY_RECEIVE);
    test_gate_open(&house->joined);
    test_gate_wait(&house->go);
    for (;;)
        ring_expect_nothing(receiver, wherry_after(10 * WHERRY_MILLISECOND));
}

static unsigned receivers_there(void)
{
    struct wherry_ring_stat stat;
    test_ok(wherry_ring_stat(ring_url(MINE), &stat, sizeof stat));
    return stat.receivers;
}

/* The keeper is killed while its heir is in no call: no second ring of the name is made, whose receivers and the heir
 * would each have some of the senders. */
TEST(no_other_ring_is_made_while_an_heir_lives)
{
    struct house keeper = {.polls = false}, heir = {.polls = false};
    need_uids();
    test_gate_init(&keeper.joined);
    test_gate_init(&heir.joined);
    test_gate_init(&heir.go);
    pid_t first = test_fork(keep_and_pause, &keeper);
    test_gate_wait(&keeper.joined);
    pid_t second = test_fork(join_and_wait, &heir);
    test_gate_wait(&heir.joined);
    test_kill(first);
    ring_refused(ring_url(MINE), WHERRY_RECEIVE, WHERRY_NOW, -EAGAIN, "take its turn");
    ring_refused(ring_url(MINE), WHERRY_RECEIVE, wherry_after(30 * WHERRY_MILLISECOND), -ETIMEDOUT, "take its turn");
    test_gate_open(&heir.go);
    struct wherry_channel *receiver = enter(ring_url(MINE), WHERRY_RECEIVE);
    ck_assert_uint_eq(receivers_there(), 2);
    test_kill(second);
    ring_close(receiver);
    test_gate_fini(&keeper.joined);
    test_gate_fini(&heir.joined);
    test_gate_fini(&heir.go);
}

static void take_part(void *argument)
{
    struct house *house = argument;
    struct wherry_channel *receiver = enter(ring_url(MINE), WHERRY_RECEIVE);
    uint64_t got;
    if (house->polls)
        ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    test_gate_open(&house->joined);
    for (;;)
        ring_receive(receiver, house->polls, &got, test_deadline());
}

/* A keeper that restarts finds the ring that it left, be it quicker than its heir or not. */
TEST_TABLE(a_keeper_that_leaves_hands_over, ring_ways)
{
    struct house house = {.polls = ring_ways[index].polls};
    need_uids();
    test_gate_init(&house.joined);
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    pid_t child = test_fork(take_part, &house);
    while (receivers_there() < 2)
        ring_expect_nothing(receiver, wherry_after(10 * WHERRY_MILLISECOND)); /* lets it in */
    test_gate_wait(&house.joined);
    for (int i = 0; i < 20; i++) {
        ring_close(receiver);
        receiver = enter(ring_url(MINE), WHERRY_RECEIVE);
        ck_assert_uint_eq(receivers_there(), 2);
    }
    test_kill(child);
    ring_close(receiver);
    test_gate_fini(&house.joined);
}

/* Both are this process's, which is in no call on the one while it opens the other. */
TEST(an_heir_of_the_same_process_is_found)
{
    struct wherry_channel *first = ring_open(ring_url("share=0"), WHERRY_RECEIVE);
    struct wherry_channel *second = ring_open(ring_url("share=0"), WHERRY_RECEIVE);
    ring_close(first);
    first = ring_open(ring_url("share=0"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url("share=0"), WHERRY_SEND);
    ring_close(first);
    ring_put(sender, 5);
    ring_expect(second, 5);
    ring_close(sender);
    ring_close(second);
    ck_assert_int_eq(access(door_of(geteuid(), test_word()), F_OK), -1);
}

static void send_and_stay(void *argument)
{
    struct house *house = argument;
    struct wherry_channel *sender = enter(ring_url(MINE), WHERRY_SEND);
    ring_put(sender, 1);
    test_gate_open(&house->joined);
    ring_pause();
}

static void keep_three_places(void *argument)
{
    struct house *house = argument;
    struct wherry_channel *receiver = ring_open(ring_url(MINE "&places=3"), WHERRY_RECEIVE);
    test_gate_open(&house->joined);
    for (;;)
        ring_expect_nothing(receiver, wherry_after(10 * WHERRY_MILLISECOND));
}

/* A sender has the place now that the keeper had when the last heir came: that is not the keeper. */
TEST(an_heir_is_not_misled_by_who_has_the_keepers_place)
{
    static struct house houses[4];
    need_uids();
    for (int i = 0; i < 4; i++)
        test_gate_init(&houses[i].joined);
    pid_t first = test_fork(keep_three_places, &houses[0]);
    test_gate_wait(&houses[0].joined);
    pid_t second = test_fork(take_part, &houses[1]);
    test_gate_wait(&houses[1].joined);
    pid_t third = test_fork(take_part, &houses[2]);
    test_gate_wait(&houses[2].joined);
    ring_stop(third);
    test_kill(first);
    pid_t sender = test_fork(send_and_stay, &houses[3]); /* let in by the second */
    test_gate_wait(&houses[3].joined);
    ck_assert_int_eq(kill(third, SIGCONT), 0);
    test_kill(second);
    struct wherry_channel *another = enter(ring_url(MINE), WHERRY_SEND);
    ring_close(another);
    test_kill(third);
    test_kill(sender);
    ring_close(ring_open(ring_url(MINE), WHERRY_RECEIVE));
    for (int i = 0; i < 4; i++)
        test_gate_fini(&houses[i].joined);
}
