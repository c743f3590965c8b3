/* tests/unit/test_ring_hazards.c - owns the proof for H8, H9, H11, H13 and H67 of shm:, all of them about the ring's
 * file.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "unit/pattern.h"
#include "unit/test_ring_kit.h"

enum { NOBODY = 65534 };

/* ---- H9: no room ------------------------------------------------------------------------------------------------- */

static void fill_lane(struct wherry_channel *sender, size_t size)
{
    uint8_t *data = malloc(size);
    memset(data, 0x5a, size);
    while (wherry_channel_send(sender, data, size, WHERRY_NOW) == 0)
        continue;
    free(data);
}

TEST(h9_a_full_file_system_is_an_error_and_never_sigbus)
{
    ring_private_shm("size=64k");
    const char *url = ring_url("capacity=32k");
    struct wherry_channel *receiver = ring_open(url, WHERRY_RECEIVE), *sender = ring_open(url, WHERRY_SEND);
    for (int i = 0; i < 3; i++) {
        ring_refused(url, WHERRY_SEND, WHERRY_NOW, -ENOSPC, "df /dev/shm");
        ring_refused(url, WHERRY_SEND, test_deadline(), -ENOSPC, "32768");
    }
    fill_lane(sender, 1000); /* every page of the first one's is there */
    fill_lane(sender, 0);
    uint8_t buffer[1000];
    size_t size;
    while (wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW) == 1)
        continue;
    for (uint64_t i = 0; i < 10000; i++) {
        ring_put(sender, i);
        ring_expect(receiver, i);
    }
    ring_close(sender);
    ring_expect_end(receiver);
    ring_close(receiver);
}

TEST(h9_no_room_for_the_ring_itself)
{
    ring_private_shm("size=16k");
    ring_refused(ring_url(""), WHERRY_RECEIVE, WHERRY_NOW, -ENOSPC, "df /dev/shm");
    ring_refused(ring_url("keep=1"), WHERRY_SEND, test_deadline(), -ENOSPC, "df /dev/shm");
    ck_assert_int_eq(rmdir(ring_directory()), 0); /* nothing is in it */
}

TEST(h9_no_inode_for_the_directory_or_the_ring)
{
    ring_private_shm("nr_inodes=1");
    ring_refused(ring_url(""), WHERRY_RECEIVE, WHERRY_NOW, -ENOSPC, ring_directory());
    ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "nr_inodes=2"), 0);
    ring_refused(ring_url(""), WHERRY_RECEIVE, WHERRY_NOW, -ENOSPC, "/dev/shm");
    ck_assert_int_eq(rmdir(ring_directory()), 0);
}

/* A sender that found no room leaves its place free, and comes in as soon as there is some. */
TEST(h9_room_that_comes_back_is_used)
{
    ring_private_shm("size=64k");
    const char *url = ring_url("capacity=16k&places=2");
    struct wherry_channel *receiver = ring_open(url, WHERRY_RECEIVE);
    int fd = open("/dev/shm/ballast", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_eq(fallocate(fd, 0, 0, 20 << 10), 0);
    for (int i = 0; i < 5; i++)
        ring_refused(url, WHERRY_SEND, WHERRY_NOW, -ENOSPC, "16384");
    ck_assert_int_eq(unlink("/dev/shm/ballast"), 0);
    close(fd);
    struct wherry_channel *sender = ring_open(url, WHERRY_SEND);
    ring_put(sender, 9);
    ring_expect(receiver, 9);
    ring_close(sender);
    ring_close(receiver);
}

/* ---- H8: holes --------------------------------------------------------------------------------------------------- */

struct hole {
    off_t at, size;
};

static void punch(void *argument)
{
    const struct hole *hole = argument;
    int fd = open(ring_path(), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole->at, hole->size), 0);
    close(fd);
}

enum { H8_CAPACITY = 65536 };
static const struct {
    const char *name;
    struct hole hole;
} holes[] = {
    {"the_message", {RING_CONTROL, H8_CAPACITY}},
    {"its_middle", {RING_CONTROL + 4096, 4096}},
    {"lanes_unused", {RING_CONTROL + H8_CAPACITY, 8 * H8_CAPACITY}},
    {"the_control_part", {0, RING_CONTROL}},
    {"the_head", {0, 4096}},
    {"the_lanes_lines", {12288, RING_CONTROL - 12288}},
    {"everything", {0, RING_CONTROL + 64 * H8_CAPACITY}},
};

static void until(wherry_time deadline)
{
    ck_assert_msg(wherry_now() < deadline + 10 * WHERRY_SECOND * test_slowness(), "a call went on after its deadline");
}

/* All calls, each with a short deadline, whatever they answer. */
static void go_on(struct wherry_channel *receiver, struct wherry_channel *sender)
{
    static uint8_t data[20000];
    struct wherry_loan loan;
    struct wherry_info info;
    for (int i = 0; i < 12; i++) {
        wherry_time soon = wherry_after(30 * WHERRY_MILLISECOND);
        int result = wherry_channel_send(sender, data, i % 2 ? sizeof data : 8, soon);
        ck_assert(result <= 0);
        until(soon);
        result = wherry_channel_receive_info(receiver, data, sizeof data, &info,
                                             soon = wherry_after(30 * WHERRY_MILLISECOND));
        ck_assert(result != 1 || info.size <= sizeof data);
        until(soon);
        if (wherry_channel_borrow(receiver, &loan, soon = wherry_after(30 * WHERRY_MILLISECOND)) == 1) {
            ck_assert_uint_le(loan.info.size, H8_CAPACITY / 2);
            wherry_channel_return(receiver, &loan);
        }
        until(soon);
        wherry_channel_receive_fd(receiver);
        wherry_channel_send_fd(sender);
    }
}

TEST_TABLE(h8_a_hole_punched_while_a_message_is_read, holes)
{
    static uint8_t data[20000];
    struct wherry_loan loan;
    struct hole hole = holes[index].hole;
    struct wherry_channel *receiver = ring_open(ring_url("capacity=64k"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND),
                          *other = ring_open(ring_url(""), WHERRY_RECEIVE);
    pattern_fill(data, sizeof data, 1);
    for (int i = 0; i < 2; i++)
        test_ok(wherry_channel_send(sender, data, sizeof data, test_deadline()));
    test_is(wherry_channel_borrow(receiver, &loan, test_deadline()), 1);
    ck_assert(pattern_is(loan.data, 100, 1));
    test_join(test_fork(punch, &hole));
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < loan.info.size; i++) /* zeros, or what it was; no signal */
        sum = (uint8_t)(sum + ((const uint8_t *)loan.data)[i]);
    wherry_channel_return(receiver, &loan);
    go_on(receiver, sender);
    go_on(other, sender);
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
    wherry_channel_close(other, WHERRY_NOW);
    unlink(ring_path()); /* with its head gone nobody can know whether it was to be kept */
    char bells[3][300];
    for (unsigned i = 0; i < 3; i++) {
        static const unsigned places[] = {0, 62, 63};
        snprintf(bells[i], sizeof bells[i], "%s/.%s.bell-%u", ring_directory(), test_word(), places[i]);
        unlink(bells[i]);
    }
}

/* ---- H11, H67: what others put there ----------------------------------------------------------------------------- */

enum planted { OF_ANOTHER_USER, WIDE_OPEN, ENTERED_BY_OTHERS, LINK_ELSEWHERE, DANGLING, A_FILE };
static const struct {
    const char *name;
    enum planted what;
    int result;
    const char *words;
} directories[] = {
    {"of_another_user", OF_ANOTHER_USER, -EPERM, "uid 65534"},
    {"mode_0777", WIDE_OPEN, -EPERM, "0777"},
    {"mode_0711", ENTERED_BY_OTHERS, -EPERM, "chmod 0700"},
    {"link", LINK_ELSEWHERE, -ENOTDIR, "could not be opened"},
    {"dangling_link", DANGLING, -ENOTDIR, "could not be opened"},
    {"file", A_FILE, -ENOTDIR, "could not be opened"},
};

TEST_TABLE(h11_h67_a_directory_that_is_not_ours_alone_is_refused, directories)
{
    struct stat before, after;
    const char *path = ring_directory();
    ring_private_shm("mode=1777");
    ck_assert_int_eq(mkdir("/dev/shm/elsewhere", 0700), 0);
    switch (directories[index].what) {
    case OF_ANOTHER_USER:
        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(chown(path, NOBODY, NOBODY), 0);
        break;
    case WIDE_OPEN:
        ck_assert(mkdir(path, 0777) == 0 && chmod(path, 0777) == 0);
        break;
    case ENTERED_BY_OTHERS:
        ck_assert(mkdir(path, 0711) == 0 && chmod(path, 0711) == 0);
        break;
    case LINK_ELSEWHERE:
        ck_assert_int_eq(symlink("/dev/shm/elsewhere", path), 0);
        break;
    case DANGLING:
        ck_assert_int_eq(symlink("/dev/shm/nowhere", path), 0);
        break;
    case A_FILE:
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        break;
    }
    ck_assert_int_eq(lstat(path, &before), 0);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++)
        ring_refused(ring_url(""), (enum wherry_role)role, WHERRY_NOW, directories[index].result,
                     directories[index].words);
    ck_assert_int_eq(lstat(path, &after), 0);
    ck_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_uid == after.st_uid);
    ck_assert_int_eq(rmdir("/dev/shm/elsewhere"), 0); /* and nothing was made in it */
    ck_assert_int_ne(access("/dev/shm/nowhere", F_OK), 0);
}

enum name_planted {
    LINK_TO_A_RING,
    LINK_TO_A_FILE,
    LINK_TO_NOTHING,
    FIFO,
    DIRECTORY,
    SOCKET,
    DEVICE,
    ANOTHER_USERS_RING
};
static const struct {
    const char *name;
    enum name_planted what;
    int result;
} names[] = {
    {"link_to_a_ring", LINK_TO_A_RING, -ELOOP},
    {"link_to_a_file", LINK_TO_A_FILE, -ELOOP},
    {"link_to_nothing", LINK_TO_NOTHING, -ELOOP},
    {"fifo", FIFO, -EBADF},
    {"directory", DIRECTORY, -EISDIR},
    {"socket", SOCKET, -EBADF},
    {"device", DEVICE, -EBADF},
    {"another_users_ring", ANOTHER_USERS_RING, -EPERM},
};

static void plant_name(enum name_planted what, const char *path, const char *target)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    switch (what) {
    case LINK_TO_A_FILE:
        close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        __attribute__((fallthrough));
    case LINK_TO_A_RING:
    case LINK_TO_NOTHING:
        ck_assert_int_eq(symlink(target, path), 0);
        break;
    case FIFO:
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        break;
    case DIRECTORY:
        ck_assert_int_eq(mkdir(path, 0700), 0);
        break;
    case SOCKET:
        snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        close(fd);
        break;
    case DEVICE:
        ck_assert_int_eq(mknod(path, S_IFCHR | 0600, makedev(1, 5)), 0);
        break;
    case ANOTHER_USERS_RING:
        ring_close(ring_open(ring_url("keep=1"), WHERRY_RECEIVE));
        ck_assert(chmod(path, 0666) == 0 && chown(path, NOBODY, NOBODY) == 0);
        break;
    }
}

TEST_TABLE(h67_what_is_planted_at_the_rings_name_is_refused_and_stays, names)
{
    char target[300], url[300];
    struct stat before, after;
    ring_private_shm("mode=1777");
    snprintf(target, sizeof target, "%s/target", ring_directory());
    snprintf(url, sizeof url, "shm://target");
    struct wherry_channel *victim = names[index].what == LINK_TO_A_RING ? ring_open(url, WHERRY_RECEIVE) : NULL;
    if (!victim)
        ck_assert_int_eq(mkdir(ring_directory(), 0700), 0);
    plant_name(names[index].what, ring_path(), target);
    ck_assert_int_eq(lstat(ring_path(), &before), 0);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++)
        ring_refused(ring_url(""), (enum wherry_role)role, WHERRY_NOW, names[index].result, "shm://");
    ck_assert_int_eq(lstat(ring_path(), &after), 0);
    ck_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_size == after.st_size);
    if (names[index].what == LINK_TO_NOTHING)
        ck_assert_int_ne(access(target, F_OK), 0);
    if (victim)
        ring_close(victim);
    ck_assert_int_eq(remove(ring_path()), 0);
}

static void h11_try_as_nobody(__attribute__((unused)) void *argument)
{
    ck_assert(test_become_nobody());
    ck_assert_int_lt(open(argument, O_RDONLY | O_CLOEXEC), 0);
    ck_assert_int_eq(errno, EACCES);
    ring_refused(ring_url(""), WHERRY_SEND, WHERRY_NOW, -EAGAIN, "there is no such ring"); /* its own name space */
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    ring_close(receiver);
}

TEST(h11_another_user_cannot_open_the_ring_and_has_names_of_its_own)
{
    struct stat status;
    ring_private_shm("mode=1777");
    umask(0);
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    ck_assert_int_eq(stat(ring_directory(), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0700);
    ck_assert_int_eq(stat(ring_path(), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    test_join(test_fork(h11_try_as_nobody, (void *)(uintptr_t)ring_path()));
    ring_close(receiver);
}

static void h11_tight_umask(__attribute__((unused)) void *argument)
{
    ck_assert(test_become_nobody());
    umask(0777);
    struct wherry_channel *receiver = ring_open(ring_url("capacity=4k"), WHERRY_RECEIVE);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    ring_put(sender, 1);
    ring_expect(receiver, 1);
    ring_close(sender);
    ring_close(receiver);
}

TEST(h11_no_umask_makes_the_ring_unusable_to_its_own_user)
{
    ring_private_shm("mode=1777");
    test_join(test_fork(h11_tight_umask, NULL));
}

/* ---- H13: a file that is no ring of ours ------------------------------------------------------------------------- */

enum bad {
    OTHER_VERSION,
    LONGER,
    SHORTER,
    ONE_BYTE,
    EMPTY,
    GARBAGE,
    NO_PLACES,
    MANY_PLACES,
    ODD_CAPACITY,
    HUGE_CAPACITY,
    SMALL_CAPACITY
};
static const struct {
    const char *name;
    enum bad what;
    int result;
    const char *words;
} bad_files[] = {
    {"of_another_version", OTHER_VERSION, -EPROTO, "layout 2"},
    {"longer", LONGER, -EBADMSG, "damaged"},
    {"shorter", SHORTER, -EBADMSG, "damaged"},
    {"one_byte", ONE_BYTE, -EBADMSG, "no ring"},
    {"empty", EMPTY, -EBADMSG, "no ring"},
    {"garbage", GARBAGE, -EBADMSG, "no ring"},
    {"no_places", NO_PLACES, -EBADMSG, "damaged"},
    {"65_places", MANY_PLACES, -EBADMSG, "damaged"},
    {"odd_capacity", ODD_CAPACITY, -EBADMSG, "damaged"},
    {"huge_capacity", HUGE_CAPACITY, -EBADMSG, "damaged"},
    {"small_capacity", SMALL_CAPACITY, -EBADMSG, "damaged"},
};

static void spoil(enum bad what)
{
    static uint8_t bytes[40000];
    struct ring_head head;
    int fd = open(ring_path(), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &head, sizeof head, 0), sizeof head);
    off_t size = (off_t)(RING_CONTROL + head.capacity * RING_PLACES);
    head.version = what == OTHER_VERSION ? 2 : head.version;
    head.places = what == NO_PLACES ? 0 : what == MANY_PLACES ? 65 : head.places;
    head.capacity = what == ODD_CAPACITY     ? head.capacity + 8
                    : what == HUGE_CAPACITY  ? UINT64_C(1) << 63
                    : what == SMALL_CAPACITY ? 2048
                                             : head.capacity;
    size = what == LONGER     ? size + 4096
           : what == SHORTER  ? size - 4096
           : what == ONE_BYTE ? 1
           : what == EMPTY    ? 0
                              : size;
    if (what == ODD_CAPACITY || what == SMALL_CAPACITY)
        size = (off_t)(RING_CONTROL + head.capacity * RING_PLACES);
    ck_assert_int_eq(pwrite(fd, &head, sizeof head, 0), sizeof head);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    pattern_fill(bytes, sizeof bytes, 13);
    if (what == GARBAGE)
        ck_assert_int_eq(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    close(fd);
}

TEST_TABLE(h13_a_file_that_is_no_ring_of_ours_is_an_error_and_stays, bad_files)
{
    static uint8_t before[65536], after[65536];
    struct stat status, again;
    ring_close(ring_open(ring_url("keep=1&capacity=4k"), WHERRY_RECEIVE));
    spoil(bad_files[index].what);
    int fd = open(ring_path(), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ssize_t size = pread(fd, before, sizeof before, 0);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++)
        for (int keep = 0; keep < 2; keep++) {
            wherry_time late = wherry_after(20 * WHERRY_SECOND);
            ring_refused(ring_url(keep ? "keep=1" : ""), (enum wherry_role)role, late, bad_files[index].result,
                         bad_files[index].words);
            ck_assert_msg(wherry_now() < late - 15 * WHERRY_SECOND, "it was waited for, in vain");
        }
    ck_assert_int_eq(stat(ring_path(), &again), 0);
    ck_assert(status.st_ino == again.st_ino && status.st_size == again.st_size);
    ck_assert_int_eq(pread(fd, after, sizeof after, 0), size);
    ck_assert_mem_eq(before, after, (size_t)size);
    close(fd);
    ck_assert_int_eq(unlink(ring_path()), 0);
}

/* What the sentence tells the user to remove is the file, whatever else stands in the URL. */
TEST(h13_the_sentence_names_the_damaged_file)
{
    ring_close(ring_open(ring_url("keep=1&capacity=4k"), WHERRY_RECEIVE));
    spoil(LONGER);
    char words[400];
    snprintf(words, sizeof words, "remove %s", ring_path());
    ring_refused(ring_url("places=3"), WHERRY_RECEIVE, WHERRY_NOW, -EBADMSG, words);
    const char *behind = strstr(wherry_why(), words) + strlen(words);
    ck_assert_msg(*behind == '\0' || strchr(" ,;", *behind), "the path in \"%s\" is not the file's", wherry_why());
    ck_assert_int_eq(unlink(ring_path()), 0);
}

static const struct {
    const char *name;
    uint64_t word;
    uint64_t position;
} bad_words[] = {
    {"uncommitted", 8, 0},
    {"too_long", RING_COMMITTED | 2049, 0},
    {"longest", UINT64_MAX, 0},
    {"odd_position", RING_COMMITTED | 8, 4},
};

static void write_at(off_t at, uint64_t value)
{
    int fd = open(ring_path(), O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, &value, sizeof value, at), sizeof value);
    close(fd);
}

/* A lane that holds nonsense is refused by a sender that comes to it, and left alone by receivers, who go on with the
 * others. */
TEST_TABLE(h13_a_lane_that_holds_no_messages_is_refused, bad_words)
{
    const off_t lane = (off_t)offsetof(struct ring_control, lanes);
    struct wherry_channel *sender = ring_open(ring_url("keep=1&capacity=4k"), WHERRY_SEND);
    uint64_t got;
    ring_put(sender, 1);
    ring_close(sender);
    write_at(RING_CONTROL, bad_words[index].word);
    write_at(lane + (off_t)offsetof(struct ring_lane, sender.position), 0); /* as if it had died before its note */
    write_at(lane + (off_t)offsetof(struct ring_lane, receiver.position), bad_words[index].position);
    ring_refused(ring_url(""), WHERRY_SEND, test_deadline(), -EBADMSG, "shm://");
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    int result = wherry_channel_receive(receiver, &got, sizeof got, NULL, WHERRY_NOW);
    ck_assert_msg(result == -EBADMSG || (result == -EAGAIN && bad_words[index].position), "%d", result);
    ring_expect_nothing(receiver, WHERRY_NOW);
    ring_close(receiver);
    ck_assert_int_eq(unlink(ring_path()), 0);
}
