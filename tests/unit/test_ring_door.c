/* tests/unit/test_ring_door.c - owns the proof that a ring between two uids is one, and lets in nobody else: the sealed
 * memory, the door, the bells, and what becomes of them when their keeper dies.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <wherry/ring.h>

#include "base/sys.h"
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
        count += entry->d_name[0] == '.' && strlen(entry->d_name) > 32 && !strchr(entry->d_name + 1, '.');
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
        ck_assert_int_eq(poll(&entry, 1, 5000), 1);
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
        int result = wherry_channel_open(ring_url(ITS), WHERRY_SEND, NULL, wherry_after(50 * WHERRY_MILLISECOND), &sender);
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

/* ---- the door itself -------------------------------------------------------------------------------------------- */

static int (*real_listen)(int fd, int backlog);
static bool was_there;

static int look_and_listen(int fd, int backlog)
{
    was_there |= access(door_of(0, test_word()), F_OK) == 0;
    return real_listen(fd, backlog);
}

/* Who finds the name may connect, from the first moment on. */
TEST(a_door_has_its_name_when_it_listens)
{
    need_uids();
    real_listen = wherry__sys.listen;
    wherry__sys.listen = look_and_listen;
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    wherry__sys.listen = real_listen;
    ck_assert(!was_there);
    ring_close(receiver);
}

static void receive_without_permissions(void *argument)
{
    (void)argument;
    struct stat status;
    become(NOBODY);
    umask(0777);
    for (int i = 0; i < 2; i++) {
        struct wherry_channel *receiver = ring_open(ring_url(ITS), WHERRY_RECEIVE);
        ck_assert_int_eq(stat(door_of(NOBODY, ""), &status), 0);
        ck_assert_uint_eq(status.st_mode & 0777, 0711);
        if (i == 1)
            raise(SIGKILL); /* and it can still be opened */
        ring_close(receiver);
    }
}

/* What somebody died in making, between mkdir(2) and chmod(2), and what a kill leaves under any umask. */
TEST(no_umask_bars_a_name)
{
    need_uids();
    ring_private_shm("size=16m");
    ck_assert_int_eq(mkdir(door_of(NOBODY, ""), 0), 0);
    ck_assert_int_eq(chown(door_of(NOBODY, ""), NOBODY, NOBODY), 0);
    for (int i = 0; i < 2; i++) {
        fflush(NULL);
        pid_t child = fork();
        int status;
        if (child == 0) {
            receive_without_permissions(NULL);
            _exit(1);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
}

TEST(names_do_not_meet)
{
    static const char *const ends[] = {"", ".lock", ".heirs", ".lock.lock"};
    struct wherry_channel *receivers[4];
    for (int i = 0; i < 4; i++) {
        char url[300];
        snprintf(url, sizeof url, "shm://%s%s?share=0", test_word(), ends[i]);
        receivers[i] = ring_open(url, WHERRY_RECEIVE);
    }
    for (int i = 0; i < 4; i++)
        ring_close(receivers[i]);
}

TEST(a_name_may_have_200_characters)
{
    char url[300];
    int head = snprintf(url, sizeof url, "shm://%s", test_word());
    memset(url + head, 'n', 206 - (size_t)head);
    snprintf(url + 206, sizeof url - 206, "?share=0");
    struct wherry_channel *receiver = ring_open(url, WHERRY_RECEIVE), *sender = ring_open(url, WHERRY_SEND);
    ring_put(sender, 1);
    ring_expect(receiver, 1);
    ring_close(sender);
    ring_close(receiver);
}

enum trick { SYMBOLIC_LINK, HARD_LINK, STRANGERS_DIRECTORY, STRANGERS_SOCKET };
static const struct trick_case {
    const char *name;
    enum trick trick;
    const char *words;
} tricks[] = {
    {"symbolic_link", SYMBOLIC_LINK, "no socket of uid 65534"},
    {"hard_link", HARD_LINK, "no socket of uid 65534"},
    {"strangers_directory", STRANGERS_DIRECTORY, "no directory of uid 65534"},
    {"strangers_socket", STRANGERS_SOCKET, "has uid 65533"},
};

static void listen_as_stranger(void *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct test_gate *ready = argument;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", door_of(NOBODY, test_word()));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(chown(address.sun_path, NOBODY, NOBODY), 0);
    become(STRANGER);
    ck_assert_int_eq(listen(fd, 4), 0);
    test_gate_open(ready);
    ring_pause();
}

/* The other's door leads to another ring of one's own, which lets one in: nothing of it is believed. */
TEST_TABLE(the_others_door_is_the_others, tricks)
{
    char url[300], own[100];
    struct test_gate ready;
    struct wherry_channel *keeper = NULL;
    pid_t child = 0;
    need_uids();
    ring_private_shm("size=16m");
    snprintf(own, sizeof own, "%.80s-own", test_word());
    snprintf(url, sizeof url, "shm://%s?share=65533", own);
    test_gate_init(&ready);
    keeper = ring_open(url, WHERRY_RECEIVE);
    uid_t owner = tricks[index].trick == STRANGERS_DIRECTORY ? STRANGER : NOBODY;
    ck_assert_int_eq(mkdir(door_of(NOBODY, ""), 0711), 0);
    ck_assert_int_eq(chown(door_of(NOBODY, ""), owner, owner), 0);
    if (tricks[index].trick == SYMBOLIC_LINK)
        ck_assert_int_eq(symlink(door_of(0, own), door_of(NOBODY, test_word())), 0);
    else if (tricks[index].trick == STRANGERS_SOCKET)
        child = test_fork(listen_as_stranger, &ready);
    else
        ck_assert_int_eq(link(door_of(0, own), door_of(NOBODY, test_word())), 0);
    if (child)
        test_gate_wait(&ready);
    ring_refused(ring_url(MINE), WHERRY_SEND, test_deadline(), -EPERM, tricks[index].words);
    if (child)
        test_kill(child);
    ring_close(keeper);
    test_gate_fini(&ready);
}

static void drop_privileges(void *argument)
{
    (void)argument;
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    become(NOBODY);
    test_is(wherry_channel_receive_fd(receiver), -EPERM);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "opened as uid 0"));
    ck_assert_int_eq(access(door_of(NOBODY, ""), F_OK), -1);
    ring_close(receiver);
}

/* Its bell would be in a directory where nobody looks for it. */
TEST(who_drops_privileges_is_told_so)
{
    need_uids();
    ring_private_shm("size=16m");
    test_join(test_fork(drop_privileges, NULL));
    ring_close(ring_open(ring_url(MINE), WHERRY_RECEIVE)); /* what it left is in nobody's way, and is swept */
    ck_assert_int_eq(access(door_of(0, test_word()), F_OK), -1);
}

static void look_where_nothing_can_be_made(void *argument)
{
    (void)argument;
    ck_assert_int_eq(mount(NULL, "/dev/shm", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    ring_refused(ring_url(MINE), WHERRY_SEND, wherry_after(10 * WHERRY_MILLISECOND), -ETIMEDOUT, "read-only");
}

TEST(a_read_only_directory_is_said_so)
{
    need_uids();
    ring_private_shm("size=16m");
    test_join(test_fork(look_where_nothing_can_be_made, NULL));
}

static void name_of_bell(char name[static 256])
{
    DIR *directory = opendir(door_of(0, ""));
    name[0] = '\0';
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_name[0] == '.' && strlen(entry->d_name) > 32 && !strchr(entry->d_name + 1, '.'))
            snprintf(name, 256, "%s", entry->d_name);
    closedir(directory);
}

/* Who found one dead and is about to remove it must not remove the next one's. */
TEST(no_bell_has_the_name_of_another)
{
    char first[256], second[256];
    need_uids();
    ring_private_shm("size=16m");
    struct wherry_channel *keeper = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    for (int i = 0; i < 2; i++) {
        struct wherry_channel *poller = ring_open(ring_url(MINE), WHERRY_RECEIVE);
        ck_assert_int_ge(wherry_channel_receive_fd(poller), 0);
        name_of_bell(i == 0 ? first : second);
        ring_close(poller);
    }
    ck_assert_str_ne(first, "");
    ck_assert_str_ne(second, "");
    ck_assert_str_ne(first, second);
    ring_close(keeper);
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
