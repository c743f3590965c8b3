/* tests/unit/test_inspect_remove.c - what nobody holds is removed, and nothing else: held, come to, changed meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect_remove_kit.h"

#include "inspect/borrowed.h"

/* ---- what goes ---- */

/* Else who kills the process group would end it between two of its calls. */
WHERRY__RAW static int leads_a_session(void *unused)
{
    (void)unused;
    return wherry__raw(SYS_getsid, 0) == wherry__raw(SYS_getpid) ? 7 : 8;
}

TEST(the_child_that_renames_is_in_no_process_group_of_others)
{
    ck_assert_int_eq(wherry__borrowed_child(leads_a_session, NULL), 7);
}

TEST(a_segment_and_a_semaphore_that_nobody_has_are_removed)
{
    char name[120];
    make_file(shm_path(""));
    test_ok(remove_it(look_at(named("posix-shm:/"))));
    ck_assert_uint_eq(inode_at(shm_path("")), 0);
    snprintf(name, sizeof name, "/%s", test_word());
    sem_close(sem_open(name, O_CREAT | O_EXCL, 0600, 1));
    test_ok(remove_it(look_at(named("posix-sem:/"))));
    ck_assert_uint_eq(inode_at(shm_path("sem.")), 0);
    end();
}

static void keep_ring(void *gate)
{
    struct wherry_channel *channel;
    char url[200];
    snprintf(url, sizeof url, "shm://%s", test_word());
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, test_deadline(), &channel));
    ck_assert_int_ge(wherry_channel_receive_fd(channel), 0); /* and its bell */
    test_is(wherry_channel_receive(channel, url, sizeof url, NULL, WHERRY_NOW), -EAGAIN);
    test_gate_open(gate);
    wait_for_the_end();
}

static const char *ring_path(void)
{
    static char path[300];
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), test_word());
    return path;
}

TEST(a_ring_of_the_dead_is_removed_with_its_bells_and_one_of_the_living_is_not)
{
    struct test_gate gate;
    char bell[400];
    pid_t pid = started(keep_ring, &gate);
    snprintf(bell, sizeof bell, "/dev/shm/wherry-%u/.%s.bell-63", (unsigned)geteuid(), test_word());
    ck_assert_uint_ne(inode_at(bell), 0);
    const struct wherry_inspect_object *object = look_at(named("ring:"));
    test_is(remove_it(object), -EBUSY);
    test_is(wherry__ring_reap(AT_FDCWD, ring_path(), object->device, object->inode), -EBUSY);
    test_kill(pid);
    object = look_at(named("ring:"));
    test_is(wherry__ring_reap(AT_FDCWD, ring_path(), object->device, object->inode + 1), -ESTALE);
    test_ok(remove_it(object));
    ck_assert_uint_eq(inode_at(ring_path()), 0);
    ck_assert_uint_eq(inode_at(bell), 0);
    test_gate_fini(&gate);
    end();
}

static void map_ring(void *gate)
{
    int fd = open(ring_path(), O_RDONLY | O_CLOEXEC);
    ck_assert_ptr_ne(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), MAP_FAILED);
    close(fd);
    test_gate_open(gate);
    wait_for_the_end();
}

/* A private mapping is not in a snapshot. */
TEST(a_ring_of_the_dead_that_somebody_unseen_maps_stays)
{
    struct test_gate gate, other;
    test_kill(started(keep_ring, &gate));
    const struct wherry_inspect_object *object = look_at(named("ring:"));
    pid_t pid = started(map_ring, &other);
    test_is(remove_it(object), -EBUSY);
    ck_assert_uint_ne(inode_at(ring_path()), 0);
    test_kill(pid);
    test_ok(remove_it(object));
    test_gate_fini(&gate);
    test_gate_fini(&other);
    end();
}

TEST(a_kept_ring_that_nobody_has_goes_and_so_does_a_file_that_is_no_ring)
{
    struct wherry_channel *channel;
    char url[200];
    snprintf(url, sizeof url, "shm://%s?keep=1", test_word());
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, test_deadline(), &channel));
    test_is(remove_it(look_at(named("ring:"))), -EBUSY);
    test_ok(wherry_channel_close(channel, WHERRY_NOW));
    const struct wherry_inspect_object *object = look_at(named("ring:"));
    test_ok(remove_it(object));
    ck_assert_uint_eq(inode_at(ring_path()), 0);
    make_file(ring_path()); /* no ring at all */
    test_ok(remove_it(look_at(named("ring:"))));
    ck_assert_uint_eq(inode_at(ring_path()), 0);
    end();
}

TEST(a_queue_that_nobody_has_is_removed_and_one_that_somebody_opens_meanwhile_is_not)
{
    char name[120];
    if (!test_is_root())
        test_skip("needs root, for the list of queues");
    snprintf(name, sizeof name, "/%s", test_word());
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600, NULL);
    test_is(remove_it(look_at(named("posix-mq:/"))), -EBUSY);
    mq_close(queue);
    const struct wherry_inspect_object *object = look_at(named("posix-mq:/"));
    queue = mq_open(name, O_RDONLY | O_CLOEXEC);
    test_is(remove_it(object), -EBUSY);
    mq_close(queue);
    mq_unlink(name);
    queue = mq_open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600, NULL);
    mq_close(queue);
    test_is(remove_it(object), -ESTALE);
    object = look_at(named("posix-mq:/"));
    test_ok(remove_it(object));
    ck_assert_int_eq(mq_unlink(name), -1);
    test_is(remove_it(object), -ENOENT);
    end();
}

static int bind_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Others than wherry, too, have an empty NAME.lock beside their sockets. */
TEST(a_sockets_file_that_nobody_is_bound_to_is_removed_and_a_lock_beside_it_says_nothing)
{
    char path[100], lock[110], name[110];
    snprintf(path, sizeof path, "/dev/shm/%s", test_word());
    snprintf(lock, sizeof lock, "%s.lock", path);
    snprintf(name, sizeof name, "unix:%s", path);
    int fd = bind_socket(path);
    test_is(remove_it(look_at(name)), -EBUSY); /* the socket itself */
    close(fd);
    test_sleep(100 * WHERRY_MILLISECOND); /* what changed just now is left alone */
    const struct wherry_inspect_object *object = look_at(name);
    ck_assert(!(object->flags & WHERRY_INSPECT_OWNER_DEAD));
    make_file(lock);
    ck_assert_int_eq(truncate(lock, 0), 0);
    object = look_at(name);
    ck_assert(!(object->flags & WHERRY_INSPECT_OWNER_DEAD));
    ck_assert_int_eq(rename(path, named("/dev/shm/x-")), 0);
    fd = bind_socket(path);
    test_is(remove_it(object), -ESTALE);
    close(fd);
    ck_assert_int_eq(rename(named("/dev/shm/x-"), path), 0);
    test_sleep(100 * WHERRY_MILLISECOND);
    test_ok(remove_it(look_at(name)));
    ck_assert_uint_eq(inode_at(path), 0);
    ck_assert_uint_ne(inode_at(lock), 0);
    unlink(lock);
    end();
}

TEST(a_door_of_the_dead_is_removed_with_what_lies_beside_it)
{
    static const char *const forms[] = {".lock", ".heirs"};
    char directory[60], path[100], name[110], beside[120];
    private_shm("mode=1777");
    snprintf(directory, sizeof directory, "/dev/shm/wherry-%u-shared", (unsigned)geteuid());
    ck_assert_int_eq(mkdir(directory, 0711), 0);
    snprintf(path, sizeof path, "%s/door", directory);
    snprintf(name, sizeof name, "unix:%s", path);
    for (size_t i = 0; i < 2; i++) {
        snprintf(beside, sizeof beside, "%s/.door%s", directory, forms[i]);
        make_file(beside);
        ck_assert_int_eq(truncate(beside, 0), 0);
    }
    close(bind_socket(path));
    test_sleep(100 * WHERRY_MILLISECOND);
    const struct wherry_inspect_object *object = look_at(name);
    ck_assert(object->flags & WHERRY_INSPECT_OWNER_DEAD);
    test_ok(remove_it(object));
    ck_assert_int_eq(rmdir(directory), 0); /* nothing is in it */
    end();
}

/* ---- what does not ---- */

TEST(what_somebody_comes_to_hold_after_the_look_stays)
{
    int ends[2];
    ino_t inode = make_file(shm_path(""));
    const struct wherry_inspect_object *object = look_at(named("posix-shm:/"));
    struct stat before, after;
    int fd = open(shm_path(""), O_RDWR | O_CLOEXEC);
    fstat(fd, &before);
    test_is(remove_it(object), -EBUSY);
    fstat(fd, &after); /* what is held is not even put aside */
    ck_assert_mem_eq(&before.st_ctim, &after.st_ctim, sizeof after.st_ctim);
    void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    test_is(remove_it(object), -EBUSY);
    munmap(memory, 4096);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    fd = open(shm_path(""), O_RDONLY | O_CLOEXEC);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    char byte = 'x';
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ck_assert_int_eq(sendmsg(ends[0], &message, 0), 1);
    close(fd);
    test_is(remove_it(object), -EBUSY);
    ck_assert_uint_eq(inode_at(shm_path("")), inode);
    close(ends[0]);
    close(ends[1]);
    test_ok(remove_it(object));
    ck_assert_uint_eq(inode_at(shm_path("")), 0);
    test_is(remove_it(object), -ENOENT);
    end();
}

static pid_t (*real_clone)(int (*)(void *), void *, int, void *, int *, void *);
static int held = -1;
static ino_t other_inode;

/* Just before the child that removes it starts, whose system calls do not go through the table. */
static pid_t open_and_clone(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                            void *child_word)
{
    wherry__sys.clone = real_clone;
    held = open(shm_path(""), O_RDONLY | O_CLOEXEC);
    return real_clone(function, stack, flags, argument, parent_word, child_word);
}

static pid_t swap_and_clone(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                            void *child_word)
{
    wherry__sys.clone = real_clone;
    unlink(shm_path(""));
    other_inode = make_file(shm_path(""));
    return real_clone(function, stack, flags, argument, parent_word, child_word);
}

/* In the very middle: what is put aside waits until somebody else waits to open it. */
struct meddler {
    int asked[2], answer[2];
    pid_t remover, opener;
    bool takes_name, kills;
};

static char *aside_path(pid_t remover)
{
    static char path[300];
    snprintf(path, sizeof path, "/dev/shm/.wherry-gc-%d-%s", (int)remover, test_word());
    return path;
}

static void open_aside(void *argument)
{
    const struct meddler *meddler = argument;
    close(meddler->answer[1]);
    ck_assert_int_ge(open(aside_path(meddler->remover), O_RDONLY | O_CLOEXEC), 0);
    wait_for_the_end();
}

static void meddle(void *argument)
{
    struct meddler *meddler = argument;
    char byte;
    close(meddler->asked[1]);
    close(meddler->answer[0]);
    ck_assert_int_eq(read(meddler->asked[0], &byte, 1), 1);
    if (meddler->kills)
        kill(meddler->remover, SIGKILL);
    else
        test_until_asleep(meddler->opener = test_fork(open_aside, meddler));
    if (meddler->takes_name)
        make_file(shm_path(""));
    ck_assert_int_eq(write(meddler->answer[1], "", 1), 1);
    close(meddler->asked[0]);
    close(meddler->answer[1]);
    if (!meddler->kills)
        ck_assert_int_eq(waitpid(meddler->opener, NULL, 0), meddler->opener); /* which the test kills */
}

static struct meddler *new_meddler(void)
{
    struct meddler *meddler = test_shared(sizeof *meddler);
    *meddler = (struct meddler){.remover = getpid()};
    ck_assert_int_eq(pipe2(meddler->asked, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(meddler->answer, O_CLOEXEC), 0);
    return meddler;
}

static int remove_and_let_meddle(const struct wherry_inspect_object *object, struct meddler *meddler, pid_t *ret_pid)
{
    *ret_pid = test_fork(meddle, meddler);
    close(meddler->asked[0]);
    close(meddler->answer[1]);
    wherry__prove_gate[0] = meddler->asked[1];
    wherry__prove_gate[1] = meddler->answer[0];
    int result = remove_it(object);
    wherry__prove_gate[0] = wherry__prove_gate[1] = -1;
    close(meddler->asked[1]);
    close(meddler->answer[0]);
    return result;
}

static const struct meeting {
    const char *name;
    pid_t (*clone)(int (*)(void *), void *, int, void *, int *, void *);
    int code;
} meetings[] = {
    {"opened before it is put aside", open_and_clone, -EBUSY},
    {"swapped for another", swap_and_clone, -ESTALE},
};

TEST_TABLE(what_changes_just_before_stays, meetings)
{
    ino_t inode = make_file(shm_path(""));
    const struct wherry_inspect_object *object = look_at(named("posix-shm:/"));
    other_inode = 0;
    real_clone = wherry__sys.clone;
    wherry__sys.clone = meetings[index].clone;
    test_is(remove_it(object), meetings[index].code);
    ck_assert_ptr_eq((void *)(uintptr_t)wherry__sys.clone, (void *)(uintptr_t)real_clone);
    ck_assert_uint_eq(inode_at(shm_path("")), other_inode ? other_inode : inode);
    ck_assert(!something_put_aside());
    if (held >= 0)
        close(held);
    unlink(shm_path(""));
    end();
}

TEST(what_somebody_opens_where_it_was_put_comes_back)
{
    struct meddler *meddler = new_meddler();
    pid_t pid;
    ino_t inode = make_file(shm_path(""));
    test_is(remove_and_let_meddle(look_at(named("posix-shm:/")), meddler, &pid), -EBUSY);
    ck_assert_uint_eq(inode_at(shm_path("")), inode);
    ck_assert(!something_put_aside());
    kill(meddler->opener, SIGKILL);
    test_join(pid);
    unlink(shm_path(""));
    end();
}

TEST_WITH(what_cannot_come_back_is_said_where_it_is, .leaves = TEST_LEAVES_OBJECTS)
{
    struct meddler *meddler = new_meddler();
    meddler->takes_name = true;
    pid_t pid;
    ino_t inode = make_file(shm_path(""));
    test_is(remove_and_let_meddle(look_at(named("posix-shm:/")), meddler, &pid), -EEXIST);
    says(".wherry-gc-");
    says("cannot be put back");
    ck_assert_uint_ne(inode_at(shm_path("")), inode);
    ck_assert_uint_eq(inode_at(aside_path(getpid())), inode);
    kill(meddler->opener, SIGKILL);
    test_join(pid);
    char aside[300];
    snprintf(aside, sizeof aside, "posix-shm:/%s", strrchr(aside_path(getpid()), '/') + 1);
    const struct wherry_inspect_object *object = look_at(aside);
    ck_assert(object->flags & WHERRY_INSPECT_OWNER_DEAD); /* the next removal finds it */
    test_ok(remove_it(object));
    unlink(shm_path(""));
    end();
}

static void remove_until_killed(void *argument)
{
    struct meddler *meddler = argument;
    const struct wherry_inspect_object *object = look_at(named("posix-shm:/"));
    wherry__prove_gate[0] = meddler->asked[1];
    wherry__prove_gate[1] = meddler->answer[0];
    remove_it(object);
    ck_abort_msg("it was not killed");
}

/* The child that has the lease outlives it. */
TEST(who_is_killed_in_the_middle_leaves_nothing_put_aside)
{
    struct meddler *meddler = new_meddler();
    meddler->kills = true;
    wherry_time deadline = test_deadline();
    make_file(shm_path(""));
    meddler->remover = test_fork(remove_until_killed, meddler);
    pid_t pid = test_fork(meddle, meddler);
    for (size_t i = 0; i < 2; i++) {
        close(meddler->asked[i]);
        close(meddler->answer[i]);
    }
    test_join(pid);
    test_kill(meddler->remover);
    while (something_put_aside())
        ck_assert_int_lt(wherry_now(), deadline);
    ck_assert_uint_eq(inode_at(shm_path("")), 0);
}

static pid_t no_clone(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                      void *child_word)
{
    (void)function, (void)stack, (void)flags, (void)argument, (void)parent_word, (void)child_word;
    errno = EPERM;
    return -1;
}

/* Nothing would keep those away who open it after the look. */
TEST(without_leases_a_file_stays)
{
    ino_t inode = make_file(shm_path(""));
    const struct wherry_inspect_object *object = look_at(named("posix-shm:/"));
    real_clone = wherry__sys.clone;
    wherry__sys.clone = no_clone;
    int fd = open(shm_path(""), O_RDONLY | O_CLOEXEC);
    test_is(remove_it(object), -EBUSY);
    close(fd);
    int result = remove_it(object);
    wherry__sys.clone = real_clone;
    ck_assert_int_eq(result, -EPERM);
    ck_assert_uint_eq(inode_at(shm_path("")), inode);
    unlink(shm_path(""));
    end();
}

static void remove_as_nobody(void *unused)
{
    (void)unused;
    ck_assert(test_become_nobody());
    test_is(remove_it(look_at(named("posix-shm:/"))), -EPERM);
    end();
}

TEST(another_users_stays)
{
    if (!test_is_root())
        test_skip("needs root, to become another user");
    make_file(shm_path(""));
    test_join(test_fork(remove_as_nobody, NULL));
    ck_assert_uint_ne(inode_at(shm_path("")), 0);
    unlink(shm_path(""));
}

static void remove_own_as_nobody(void *unused)
{
    (void)unused;
    ck_assert(test_become_nobody());
    make_file(shm_path(""));
    const struct wherry_inspect_object *object = look_at(named("posix-shm:/"));
    ck_assert_int_eq(object->state, WHERRY_INSPECT_ORPHAN); /* by the kernel's word: most processes are hidden */
    int fd = open(shm_path(""), O_RDONLY | O_CLOEXEC);
    test_is(remove_it(object), -EBUSY);
    close(fd);
    test_ok(remove_it(object));
    ck_assert_uint_eq(inode_at(shm_path("")), 0);
    end();
}

TEST(who_is_not_root_removes_his_own_by_the_kernels_word)
{
    if (!test_is_root())
        test_skip("needs root, to become another user");
    test_join(test_fork(remove_own_as_nobody, NULL));
}

TEST(what_is_not_to_be_removed_is_refused)
{
    int fds[2];
    char name[60];
    struct stat status;
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    fstat(fds[0], &status);
    snprintf(name, sizeof name, "pipe:[%lu]", (unsigned long)status.st_ino);
    test_is(remove_it(look_at(name)), -EBUSY);
    test_is(wherry_inspect_remove(snapshot, wherry_inspect_find(snapshot, name, 0), 128), -EINVAL);
    test_is(wherry_inspect_remove(snapshot, NULL, 0), -EINVAL);
    close(fds[0]);
    close(fds[1]);
    end();
}
