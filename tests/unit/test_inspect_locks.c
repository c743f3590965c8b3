/* tests/unit/test_inspect_locks.c - locks and leases in a snapshot: who really has them, and who waits.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/inspect.h>
#include <wherry/wherry.h>

#include "harness.h"

static const char *file_path(void)
{
    static char path[200];
    return test_path(path, "file");
}

static int open_file(int flags)
{
    int fd = open(file_path(), O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void lock(int fd, int command, short type, off_t start, off_t length)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    ck_assert_msg(fcntl(fd, command, &range) == 0, "fcntl: %s", strerror(errno));
}

static struct wherry_inspect *take(void)
{
    struct wherry_inspect *snapshot;
    test_ok(wherry_inspect_take(NULL, &snapshot));
    return snapshot;
}

/* By device and inode, whatever it is called. */
static const struct wherry_inspect_object *object_of(const struct wherry_inspect *snapshot, int fd)
{
    struct stat status;
    const struct wherry_inspect_object *object;
    ck_assert_int_eq(fstat(fd, &status), 0);
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (object->inode == status.st_ino && (object->device == status.st_dev || object->kind == WHERRY_INSPECT_PIPE))
            return object;
    ck_abort_msg("the file is no object of the snapshot");
}

static size_t count(const struct wherry_inspect_object *object, enum wherry_inspect_how how)
{
    const struct wherry_inspect_hold *hold;
    size_t found = 0;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        found += hold->how == how;
    return found;
}

/* The one of that process; NULL for none. */
static const struct wherry_inspect_hold *find(const struct wherry_inspect_object *object, enum wherry_inspect_how how,
                                              pid_t pid)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->how == how && hold->process->pid == pid)
            return hold;
    return NULL;
}

static const struct wherry_inspect_hold *the(const struct wherry_inspect_object *object, enum wherry_inspect_how how,
                                             pid_t pid)
{
    const struct wherry_inspect_hold *hold = find(object, how, pid);
    ck_assert_msg(hold != NULL, "%s: process %d is not found at it", object->name, (int)pid);
    return hold;
}

/* ---- holders ---- */

static const struct way {
    const char *name;
    enum wherry_lock_kind kind;
    int command; /* of fcntl; 0: flock */
    short type;
    uint64_t start, length;
} ways[] = {
    {"posix", WHERRY_LOCK_POSIX, F_SETLK, F_WRLCK, 10, 90}, {"posix-shared", WHERRY_LOCK_POSIX, F_SETLK, F_RDLCK, 0, 0},
    {"ofd", WHERRY_LOCK_OFD, F_OFD_SETLK, F_WRLCK, 7, 0},   {"ofd-shared", WHERRY_LOCK_OFD, F_OFD_SETLK, F_RDLCK, 0, 1},
    {"flock", WHERRY_LOCK_FLOCK, 0, F_WRLCK, 0, 0},         {"flock-shared", WHERRY_LOCK_FLOCK, 0, F_RDLCK, 0, 0},
};

static void lock_by(const struct way *way, int fd)
{
    if (way->command)
        lock(fd, way->command, way->type, (off_t)way->start, (off_t)way->length);
    else
        ck_assert_int_eq(flock(fd, way->type == F_WRLCK ? LOCK_EX : LOCK_SH), 0);
}

TEST_TABLE(each_kind_with_its_range, ways)
{
    int fd = open_file(0), again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    lock_by(&ways[index], fd);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, fd);
    ck_assert_int_eq(object->kind, WHERRY_INSPECT_FILE);
    ck_assert_str_eq(object->name, file_path());
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE);
    ck_assert_uint_eq(object->mode, 0600);
    ck_assert_uint_eq(object->flags & WHERRY_INSPECT_LOCK_UNSEEN, 0);
    ck_assert_uint_eq(count(object, WHERRY_INSPECT_LOCKED), 1); /* though it shows at both descriptors */
    ck_assert_uint_eq(count(object, WHERRY_INSPECT_OPEN), 2);
    const struct wherry_inspect_hold *hold = the(object, WHERRY_INSPECT_LOCKED, getpid());
    ck_assert_int_eq(hold->lock, ways[index].kind);
    ck_assert_int_eq(hold->exclusive, ways[index].type == F_WRLCK);
    ck_assert(!hold->lease);
    ck_assert_uint_eq(hold->start, ways[index].start);
    ck_assert_uint_eq(hold->length, ways[index].length);
    ck_assert(hold->fd == fd || hold->fd == again);
    ck_assert_msg(strstr(hold->detail, "ADVISORY"), "detail: %s", hold->detail);
    wherry_inspect_free(snapshot);
    close(fd);
    close(again);
    unlink(file_path());
}

TEST(two_open_files_have_two_locks)
{
    int first = open_file(0), second = open_file(0);
    flock(first, LOCK_SH);
    flock(second, LOCK_SH);
    lock(first, F_SETLK, F_WRLCK, 0, 10);
    lock(first, F_SETLK, F_WRLCK, 20, 10);
    struct wherry_inspect *snapshot = take();
    ck_assert_uint_eq(count(object_of(snapshot, first), WHERRY_INSPECT_LOCKED), 4);
    wherry_inspect_free(snapshot);
    close(first);
    close(second);
    unlink(file_path());
}

/* A process that does something with the file and then waits for its end. */
struct actor {
    void (*act)(struct actor *actor);
    struct test_gate ready, end;
    pid_t pid, child, thread;
};

static void act(void *argument)
{
    struct actor *actor = argument;
    actor->act(actor);
    test_gate_open(&actor->ready);
    test_gate_wait(&actor->end);
}

static struct actor *start(void (*act_)(struct actor *actor))
{
    struct actor *actor = test_shared(sizeof *actor);
    actor->act = act_;
    test_gate_init(&actor->ready);
    test_gate_init(&actor->end);
    actor->pid = test_fork(act, actor);
    return actor;
}

static void end(struct actor *actor)
{
    test_gate_open(&actor->end);
    test_join(actor->pid);
    test_gate_fini(&actor->ready);
    test_gate_fini(&actor->end);
}

/* The child lives on, with what belongs to the open file. */
static void hand_down(struct actor *actor)
{
    int fd = open_file(0);
    pid_t parent = fork();
    if (parent == 0) {
        flock(fd, LOCK_EX);
        lock(fd, F_OFD_SETLK, F_WRLCK, 5, 5);
        lock(fd, F_SETLK, F_WRLCK, 100, 1); /* of this process alone: ends with it */
        _exit(0);
    }
    waitpid(parent, NULL, 0);
    actor->child = parent;
}

TEST(h2_a_child_that_keeps_the_file_is_the_holder)
{
    struct actor *actor = start(hand_down);
    test_gate_wait(&actor->ready);
    int fd = open_file(0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, fd);
    ck_assert_uint_eq(count(object, WHERRY_INSPECT_LOCKED), 2);
    the(object, WHERRY_INSPECT_LOCKED, actor->pid);
    ck_assert(!find(object, WHERRY_INSPECT_LOCKED, actor->child));
    ck_assert_uint_eq(object->flags & WHERRY_INSPECT_LOCK_UNSEEN, 0);
    wherry_inspect_free(snapshot);
    end(actor);
    close(fd);
    unlink(file_path());
}

static void share(struct actor *actor)
{
    flock(open_file(0), LOCK_SH);
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    actor->child = child;
}

TEST_WITH(h2_both_who_have_the_open_file_hold_the_lock, .leaves = TEST_LEAVES_PROCESSES)
{
    struct actor *actor = start(share);
    test_gate_wait(&actor->ready);
    int fd = open_file(0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, fd);
    ck_assert_uint_eq(count(object, WHERRY_INSPECT_LOCKED), 2);
    the(object, WHERRY_INSPECT_LOCKED, actor->pid);
    the(object, WHERRY_INSPECT_LOCKED, actor->child);
    wherry_inspect_free(snapshot);
    kill(actor->child, SIGKILL);
    end(actor);
    close(fd);
    unlink(file_path());
}

static void lock_and_map(struct actor *actor)
{
    int fd = open_file(0);
    (void)actor;
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    flock(fd, LOCK_EX);
    ck_assert_ptr_ne(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd); /* the mapping keeps the open file, and so the lock */
}

TEST(a_lock_of_an_open_file_that_is_only_mapped)
{
    struct actor *actor = start(lock_and_map);
    test_gate_wait(&actor->ready);
    int fd = open_file(0);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), -1);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, fd);
    ck_assert_int_eq(the(object, WHERRY_INSPECT_LOCKED, actor->pid)->fd, -1);
    the(object, WHERRY_INSPECT_MAPPED, actor->pid);
    wherry_inspect_free(snapshot);
    end(actor);
    close(fd);
    unlink(file_path());
}

/* A locked file on its way in a message: nobody has it, and yet it is no orphan. */
TEST(a_lock_whose_file_is_on_its_way_is_nobodys_and_no_orphan)
{
    int ends[2], fd = open_file(0);
    char room[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    struct stat status;
    char name[64];
    *control = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(control), &fd, sizeof fd);
    fstat(fd, &status);
    flock(fd, LOCK_EX);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(sendmsg(ends[0], &message, 0), 1);
    close(fd);
    struct wherry_inspect *snapshot = take();
    snprintf(name, sizeof name, "file:[%u:%u %lu]", major(status.st_dev), minor(status.st_dev),
             (unsigned long)status.st_ino);
    const struct wherry_inspect_object *object = wherry_inspect_find(snapshot, name, 0);
    ck_assert_msg(object != NULL, "there is no %s", name);
    ck_assert_uint_eq(object->holds, 0);
    ck_assert_uint_ne(object->flags & WHERRY_INSPECT_LOCK_UNSEEN, 0);
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE);
    ck_assert_msg(strstr(object->detail, "FLOCK"), "detail: %s", object->detail);
    wherry_inspect_free(snapshot);
    close(ends[0]);
    close(ends[1]);
    unlink(file_path());
}

/* ---- files of other kinds ---- */

static int open_memfd(void)
{
    return memfd_create("locked", MFD_CLOEXEC);
}

static int open_pipe(void)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    return ends[0];
}

static int open_fifo(void)
{
    ck_assert_int_eq(mkfifo(file_path(), 0600), 0);
    return open(file_path(), O_RDWR | O_CLOEXEC);
}

static int open_directory(void)
{
    ck_assert_int_eq(mkdir(file_path(), 0700), 0);
    return open(file_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_shared_memory(void)
{
    char name[64];
    snprintf(name, sizeof name, "/%s-locked", test_word());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    shm_unlink(name);
    return fd;
}

static const struct {
    const char *name;
    int (*open)(void);
    int kind; /* -1: whatever */
} others[] = {
    {"memfd", open_memfd, WHERRY_INSPECT_MEMFD}, {"pipe", open_pipe, WHERRY_INSPECT_PIPE},
    {"fifo", open_fifo, WHERRY_INSPECT_FIFO},    {"directory", open_directory, WHERRY_INSPECT_FILE},
    {"shm", open_shared_memory, -1},
};

TEST_TABLE(files_of_other_kinds_keep_their_kind, others)
{
    int fd = others[index].open();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, fd);
    if (others[index].kind >= 0)
        ck_assert_int_eq(object->kind, others[index].kind);
    ck_assert_uint_eq(count(object, WHERRY_INSPECT_LOCKED), 1);
    ck_assert_int_eq(the(object, WHERRY_INSPECT_LOCKED, getpid())->fd, fd);
    wherry_inspect_free(snapshot);
    close(fd);
    remove(file_path());
}

/* An inode of that number on another device is none of ours. */
TEST(a_file_without_locks_is_no_object)
{
    int fd = open_file(0);
    struct wherry_inspect *snapshot = take();
    struct stat status;
    const struct wherry_inspect_object *object;
    fstat(fd, &status);
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        ck_assert(object->inode != status.st_ino || object->device != status.st_dev);
    wherry_inspect_free(snapshot);
    close(fd);
    unlink(file_path());
}

/* ---- who waits ---- */

static const struct wait {
    const char *name;
    enum wherry_lock_kind kind;
    int take, wait; /* of fcntl; 0: flock */
} waits[] = {
    {"posix", WHERRY_LOCK_POSIX, F_SETLK, F_SETLKW},
    {"ofd", WHERRY_LOCK_OFD, F_OFD_SETLK, F_OFD_SETLKW},
    {"flock", WHERRY_LOCK_FLOCK, 0, 0},
};
static const struct wait *the_wait;

static struct {
    pid_t thread;
} *waiting;

static void *wait_in_a_thread(void *argument)
{
    int fd = *(int *)argument;
    waiting->thread = gettid();
    if (the_wait->wait) {
        lock(fd, the_wait->wait, F_RDLCK, 30, 10);
        lock(fd, the_wait->take, F_UNLCK, 30, 10);
    } else {
        ck_assert_int_eq(flock(fd, LOCK_SH), 0);
    }
    return NULL;
}

/* `argument`: the descriptor by which the parent has the lock, which a copy would keep. */
static void wait_for_it(void *argument)
{
    pthread_t thread;
    close(*(int *)argument);
    int fd = open_file(0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_a_thread, &fd), 0);
    pthread_join(thread, NULL);
}

TEST_TABLE(who_waits_and_in_which_thread, waits)
{
    test_needs(TEST_OWN_CALLS);
    the_wait = &waits[index];
    waiting = test_shared(sizeof *waiting);
    int fd = open_file(0);
    if (the_wait->take)
        lock(fd, the_wait->take, F_WRLCK, 0, 100);
    else
        ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    pid_t child = test_fork(wait_for_it, &fd);
    wherry_time deadline = test_deadline();
    const struct wherry_inspect_hold *hold = NULL;
    struct wherry_inspect *snapshot = NULL;
    while (!hold) { /* until it waits */
        wherry_inspect_free(snapshot);
        ck_assert_int_lt(wherry_now(), deadline);
        snapshot = take();
        hold = find(object_of(snapshot, fd), WHERRY_INSPECT_WAITING, child);
    }
    ck_assert_int_eq(hold->lock, the_wait->kind);
    ck_assert(!hold->exclusive);
    ck_assert_int_eq(hold->thread, waiting->thread);
    ck_assert_int_ge(hold->fd, 0);
    ck_assert_uint_eq(hold->start, the_wait->wait ? 30 : 0);
    ck_assert_uint_eq(hold->length, the_wait->wait ? 10 : 0);
    ck_assert_uint_eq(count(hold->object, WHERRY_INSPECT_WAITING), 1);
    the(hold->object, WHERRY_INSPECT_LOCKED, getpid());
    wherry_inspect_free(snapshot);
    close(fd);
    test_join(child);
    unlink(file_path());
}

static void wait_by_wherry(void *argument)
{
    struct wherry_lock *wants;
    close(*(int *)argument);
    test_ok(wherry_lock_open(file_path(), NULL, &wants));
    test_ok(wherry_lock_take(wants, WHERRY_LOCK_EXCLUSIVE, 3, 4, test_deadline()));
    wherry_lock_close(wants);
}

TEST(who_waits_in_steps_is_known_by_its_note)
{
    test_needs(TEST_OWN_BEGINNING);
    int fd = open_file(0);
    lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0);
    pid_t child = test_fork(wait_by_wherry, &fd);
    wherry_time deadline = test_deadline();
    const struct wherry_inspect_hold *hold = NULL;
    struct wherry_inspect *snapshot = NULL;
    while (!hold) {
        wherry_inspect_free(snapshot);
        ck_assert_int_lt(wherry_now(), deadline);
        snapshot = take();
        hold = find(object_of(snapshot, fd), WHERRY_INSPECT_WAITING, child);
    }
    ck_assert_int_eq(hold->lock, WHERRY_LOCK_OFD);
    ck_assert(hold->exclusive);
    ck_assert_int_eq(hold->thread, child);
    ck_assert_uint_eq(hold->start, 3);
    ck_assert_uint_eq(hold->length, 4);
    wherry_inspect_free(snapshot);
    close(fd);
    test_join(child);
    unlink(file_path());
}

/* ---- leases ---- */

static void open_to_write(void *argument)
{
    (void)argument;
    close(open_file(O_WRONLY));
}

TEST(a_lease_and_who_waits_for_it)
{
    test_needs(TEST_OWN_CALLS);
    close(open_file(0));
    int fd = open(file_path(), O_RDONLY | O_CLOEXEC);
    signal(SIGIO, SIG_IGN);
    ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_hold *hold = the(object_of(snapshot, fd), WHERRY_INSPECT_LOCKED, getpid());
    ck_assert(hold->lease && !hold->exclusive);
    ck_assert_int_eq(hold->fd, fd);
    ck_assert_msg(strstr(hold->detail, "LEASE"), "detail: %s", hold->detail);
    wherry_inspect_free(snapshot);
    pid_t child = test_fork(open_to_write, NULL);
    wherry_time deadline = test_deadline();
    for (hold = NULL, snapshot = NULL; !hold;) {
        wherry_inspect_free(snapshot);
        ck_assert_int_lt(wherry_now(), deadline);
        snapshot = take();
        hold = find(object_of(snapshot, fd), WHERRY_INSPECT_WAITING, child);
    }
    ck_assert(hold->lease);
    the(hold->object, WHERRY_INSPECT_LOCKED, getpid());
    wherry_inspect_free(snapshot);
    fcntl(fd, F_SETLEASE, F_UNLCK);
    test_join(child);
    close(fd);
    signal(SIGIO, SIG_DFL);
    unlink(file_path());
}

/* ---- hidden ---- */

static void look_as_nobody(void *argument)
{
    const struct actor *actor = argument;
    ck_assert(test_become_nobody());
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object;
    size_t seen = 0;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++) {
        const struct wherry_inspect_hold *hold = find(object, WHERRY_INSPECT_LOCKED, actor->pid);
        ck_assert(object->kind != WHERRY_INSPECT_FILE || object->state != WHERRY_INSPECT_ORPHAN);
        seen += hold && hold->lock == WHERRY_LOCK_POSIX && hold->start == 11 && hold->length == 22;
    }
    ck_assert_uint_eq(seen, 1); /* /proc/locks has the process, though its descriptors are hidden */
    ck_assert(wherry_inspect_hidden(snapshot, 0) != NULL);
    wherry_inspect_free(snapshot);
}

static void take_a_classic_lock(struct actor *actor)
{
    (void)actor;
    lock(open_file(0), F_SETLK, F_WRLCK, 11, 22);
}

TEST(the_lock_of_a_hidden_process_is_known_by_the_kernels_list)
{
    if (!test_is_root())
        test_skip("needs root, to look as somebody else");
    struct actor *actor = start(take_a_classic_lock);
    test_gate_wait(&actor->ready);
    test_join(test_fork(look_as_nobody, actor));
    end(actor);
    unlink(file_path());
}
