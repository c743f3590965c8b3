/* tests/unit/test_ring_door.c - owns the proof that a ring between two uids is one, and lets in nobody else: the sealed
 * memory, the door, the bells, and what becomes of them when their keeper dies.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <wherry/ring.h>

#include "ring/door.h"
#include "socket/descriptor.h"
#include "unit/test_ring_kit.h"

enum { NOBODY = 65534, STRANGER = 65533 };

#define MINE "share=65534" /* what we say: the other is nobody */
#define ITS "share=0"      /* what nobody says */

static void become(uid_t uid)
{
    ck_assert_int_eq(setresgid(uid, uid, uid), 0);
    ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

static void need_uids(void)
{
    if (!test_is_root())
        test_skip("needs root, to be two users");
}

/* One who has to be let in. */
static struct wherry_channel *enter(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    test_ok(wherry_channel_open(url, role, NULL, test_deadline(), &channel));
    return channel;
}

static const char *door_of(uid_t uid, const char *name)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "/dev/shm/wherry-%u-shared/%s", (unsigned)uid, name);
    return path;
}

/* Sockets in a uid's directory whose names begin with a dot. */
static unsigned bells_of(uid_t uid)
{
    unsigned count = 0;
    DIR *directory = opendir(door_of(uid, ""));
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] == '.' && entry->d_name[1] && entry->d_name[1] != '.';
    if (directory)
        closedir(directory);
    return count;
}

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
        char message[3000] = {0};
        memcpy(message, &i, sizeof i);
        test_ok(ring_send(sender, talk->polls, message, i % sizeof message + sizeof i, test_deadline()));
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

/* Serve until the child is done. */
static void receive_until_done(struct wherry_channel *receiver, pid_t child)
{
    for (wherry_time end = test_deadline(); wherry_now() < end;) {
        siginfo_t info = {0};
        ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        if (info.si_pid == child)
            break;
        uint64_t got;
        wherry_channel_receive(receiver, &got, sizeof got, NULL, wherry_after(10 * WHERRY_MILLISECOND));
    }
    test_join(child);
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
        int result = wherry_channel_open(ring_url(ITS), WHERRY_SEND, NULL, wherry_after(50 * WHERRY_MILLISECOND), &sender);
        _exit(result == -ETIMEDOUT && strstr(wherry_why(), "lets nobody in") ? 0 : 1);
    }
    test_join_status(child, 0);
    ring_close(receiver);
}

/* ---- what the memory is ---------------------------------------------------------------------------------------- */

/* Knock by hand: what any member has in its hands. */
static int take_memory(uid_t keeper)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", door_of(keeper, test_word()));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), memory = -1;
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&entry, 1, 5000), 1);
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
TEST(h23_the_memory_cannot_be_cut)
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

enum lie { NO_MEMORY, A_FILE, UNSEALED, READ_ONLY, SHORT_HELLO, LONG_HELLO, OTHER_LAYOUT, EMPTY, TOO_SMALL, HUGE_LANES, NO_WORD };

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
    int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    off_t size = (off_t)(RING_CONTROL + head.capacity * 64);
    ck_assert_int_eq(ftruncate(fd, lie == TOO_SMALL ? 8192 : size), 0);
    if (lie != EMPTY)
        ck_assert_int_eq(pwrite(fd, &head, sizeof head, 0), sizeof head);
    if (lie != UNSEALED)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | (lie == READ_ONLY ? F_SEAL_WRITE : 0) | F_SEAL_SEAL), 0);
    return fd;
}

static void enter_forged(void *argument)
{
    const struct lie_case *lie = argument;
    size_t before = test_descriptors();
    become(NOBODY);
    ring_refused(ring_url(ITS), WHERRY_SEND, lie->lie == NO_WORD ? wherry_after(30 * WHERRY_MILLISECOND) : test_deadline(),
                 lie->expected, lie->words);
    ck_assert_uint_eq(test_descriptors(), before);
}

TEST_TABLE(a_keeper_that_lies_is_refused, lies)
{
    const struct lie_case *lie = &lies[index];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct {
        uint64_t magic;
        uint32_t version, place;
        uint64_t more;
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
    size_t size = lie->lie == SHORT_HELLO ? 8 : lie->lie == LONG_HELLO ? 24 : 16;
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
}
