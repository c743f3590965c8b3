/* tests/unit/test_inspect_objects.c - the files of /dev/shm, made for real and held by other processes, as a snapshot
 * shows them: POSIX shared memory and semaphores, and rings.  test_inspect_ipc.c has queues and System V objects.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect_objects_kit.h"

/* ---- files of /dev/shm ---- */

static void make_file(const char *path, size_t size)
{
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void open_file(void *unused)
{
    (void)unused;
    ck_assert_int_ge(open(shm_path(""), O_RDONLY | O_CLOEXEC), 0);
    hold_on();
}

static void map_file(void *unused)
{
    (void)unused;
    int fd = open(shm_path(""), O_RDWR | O_CLOEXEC);
    ck_assert_ptr_ne(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
    hold_on();
}

TEST(a_segment_that_is_open_names_who_has_it_open)
{
    make_file(shm_path(""), 8192);
    pid_t pid = start(open_file, 0);
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-shm:/"));
    ck_assert_int_eq(object->kind, WHERRY_INSPECT_POSIX_SHM);
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE);
    ck_assert_int_eq(object->size, 8192);
    ck_assert_uint_eq(object->uid, geteuid());
    ck_assert_uint_eq(object->mode, 0600);
    const struct wherry_inspect_hold *hold = hold_by(object, pid, WHERRY_INSPECT_OPEN);
    ck_assert(hold->reads && !hold->writes && hold->fd >= 0);
    char words[40];
    snprintf(words, sizeof words, "pid %d (", (int)pid);
    has_words(object->reason, words);
    has_words(object->reason, "has it open");
    stop(pid);
    unlink(shm_path(""));
    look_no_more();
}

TEST(a_segment_that_is_mapped_names_who_maps_it)
{
    make_file(shm_path(""), 8192);
    pid_t pid = start(map_file, 0);
    look(0);
    const struct wherry_inspect_hold *hold = hold_by(object_of(named("posix-shm:/")), pid, WHERRY_INSPECT_MAPPED);
    ck_assert_uint_eq(hold->length, 8192);
    ck_assert(hold->reads && hold->writes);
    ck_assert_uint_eq(holds_of(hold->object), 1);
    stop(pid);
    unlink(shm_path(""));
    look_no_more();
}

TEST(a_segment_whose_name_is_gone_is_found_by_who_has_it)
{
    make_file(shm_path(""), 8192);
    pid_t pid = start(map_file, 0);
    unlink(shm_path(""));
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-shm:/"));
    ck_assert(object->flags & WHERRY_INSPECT_DELETED);
    hold_by(object, pid, WHERRY_INSPECT_MAPPED);
    stop(pid);
    look_no_more();
}

TEST(a_segment_whose_name_is_gone_is_described_by_who_has_it_open)
{
    make_file(shm_path(""), 8192);
    pid_t pid = start(open_file, 0);
    unlink(shm_path(""));
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-shm:/"));
    ck_assert(object->flags & WHERRY_INSPECT_DELETED);
    ck_assert_int_eq(object->size, 8192);
    ck_assert_uint_eq(object->uid, geteuid());
    hold_by(object, pid, WHERRY_INSPECT_OPEN);
    stop(pid);
    look_no_more();
}

static void look_at_own_as_nobody(void *unused)
{
    ck_assert(test_become_nobody());
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* else it may not look at its own children */
    make_file(shm_path(""), 8192);
    pid_t pid = start(map_file, 0);
    (void)unused;
    unlink(shm_path(""));
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-shm:/"));
    ck_assert(object->flags & WHERRY_INSPECT_DELETED);
    hold_by(object, pid, WHERRY_INSPECT_MAPPED);
    stop(pid);
    look_no_more();
}

TEST(who_is_not_root_sees_by_its_mapping_that_a_name_is_gone)
{
    if (!test_is_root())
        test_skip("needs root, to become another user");
    test_join(test_fork(look_at_own_as_nobody, NULL));
}

TEST(a_deleted_segment_and_its_successor_are_two)
{
    make_file(shm_path(""), 8192);
    pid_t pid = start(map_file, 0);
    unlink(shm_path(""));
    make_file(shm_path(""), 4096);
    look(WHERRY_INSPECT_PROVE);
    ck_assert_uint_eq(count_of(named("posix-shm:/")), 2);
    unsigned held = 0;
    for (size_t i = 0; i < 2; i++) {
        const struct wherry_inspect_object *object = wherry_inspect_find(snapshot, named("posix-shm:/"), i);
        bool deleted = object->flags & WHERRY_INSPECT_DELETED;
        held += deleted && holds_of(object) == 1;
        ck_assert(deleted || holds_of(object) == 0);
        ck_assert_int_eq(object->size, deleted ? 8192 : 4096);
    }
    ck_assert_uint_eq(held, 1);
    stop(pid);
    unlink(shm_path(""));
    look_no_more();
}

TEST(a_segment_that_nobody_holds_is_an_orphan_and_one_on_its_way_in_a_message_is_not)
{
    int ends[2];
    make_file(shm_path(""), 4096);
    ck_assert_int_eq(state_of(named("posix-shm:/"), WHERRY_INSPECT_PROVE), WHERRY_INSPECT_ORPHAN);
    ck_assert_uint_eq(holds_of(object_of(named("posix-shm:/"))), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    int fd = open(shm_path(""), O_RDONLY | O_CLOEXEC);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    char byte = 'x';
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ck_assert_int_eq(sendmsg(ends[0], &message, 0), 1);
    close(fd);
    look(WHERRY_INSPECT_PROVE);
    ck_assert_uint_eq(holds_of(object_of(named("posix-shm:/"))), 0);
    ck_assert_int_eq(object_of(named("posix-shm:/"))->state, WHERRY_INSPECT_LIVE);
    ck_assert_int_ne(state_of(named("posix-shm:/"), 0), WHERRY_INSPECT_LIVE);
    close(ends[0]);
    close(ends[1]);
    unlink(shm_path(""));
    look_no_more();
}

TEST(files_in_directories_of_other_programs_are_found_and_helpers_of_wherry_are_not_objects)
{
    char path[300], helper[300];
    struct stat makers;
    private_shm("size=1m");
    ck_assert_int_eq(mkdir("/dev/shm/program", 0700), 0);
    ck_assert_int_eq(mkdir("/dev/shm/program/deep", 0700), 0);
    snprintf(path, sizeof path, "/dev/shm/program/deep/%s", test_word());
    make_file(path, 100);
    snprintf(helper, sizeof helper, "/dev/shm/wherry-%u", (unsigned)geteuid());
    ck_assert_int_eq(mkdir(helper, 0700), 0);
    snprintf(helper, sizeof helper, "/dev/shm/wherry-%u/.makers", (unsigned)geteuid());
    make_file(helper, 0);
    ck_assert_int_eq(stat(helper, &makers), 0);
    snprintf(helper, sizeof helper, "/dev/shm/wherry-%u/other", (unsigned)geteuid());
    make_file(helper, 10);
    make_file("/dev/shm/sem.", 10);
    look(0);
    object_of(named("posix-shm:/program/deep/"));
    has_words(object_of("ring:other")->detail, "no ring");
    object_of("posix-shm:/sem.");
    const struct wherry_inspect_object *object;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        ck_assert_msg((object->device != makers.st_dev || object->inode != makers.st_ino) && /* one that is locked is */
                          strcmp(object->name, "posix-shm:/program") != 0,
                      "%s is no object", object->name);
    look_no_more();
}

static void map_elsewhere(void *unused)
{
    private_shm("size=1m");
    make_file(shm_path(""), 8192);
    map_file(unused);
}

TEST(an_object_of_another_mount_namespace_is_found_by_who_maps_it)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for a mount namespace");
    pid_t pid = start(map_elsewhere, 0);
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-shm:/"));
    hold_by(object, pid, WHERRY_INSPECT_MAPPED);
    ck_assert(!(object->flags & WHERRY_INSPECT_DELETED));
    stop(pid);
    look_no_more();
}

TEST(an_object_of_another_user_says_whose_it_is)
{
    if (!test_is_root())
        test_skip("needs root, for an object of another user");
    make_file(shm_path(""), 4096);
    ck_assert_int_eq(chown(shm_path(""), 65534, 65534), 0);
    look(0);
    ck_assert_uint_eq(object_of(named("posix-shm:/"))->uid, 65534);
    ck_assert_uint_eq(object_of(named("posix-shm:/"))->gid, 65534);
    unlink(shm_path(""));
    look_no_more();
}

/* All that is beneath its directory of /proc is root's. */
static void be_nobody_in_private(void *unused)
{
    (void)unused;
    ck_assert_int_eq(setresuid(0, 65534, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 0), 0);
    hold_on();
}

TEST(a_process_that_may_not_be_looked_at_has_its_effective_user)
{
    if (!test_is_root())
        test_skip("needs root, to become another user");
    pid_t pid = start(be_nobody_in_private, 0);
    look(0);
    const struct wherry_inspect_process *process = wherry_inspect_process_of(snapshot, pid);
    ck_assert_ptr_nonnull(process);
    ck_assert_uint_eq(process->uid, 65534);
    stop(pid);
    look_no_more();
}

static void look_as_nobody_for(const char *reason)
{
    ck_assert(test_become_nobody());
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-shm:/"));
    ck_assert_int_eq(object->state, WHERRY_INSPECT_UNKNOWN);
    has_words(object->reason, reason);
    ck_assert_ptr_nonnull(wherry_inspect_hidden(snapshot, 0));
    look_no_more();
}

static void look_as_nobody(void *unused)
{
    (void)unused;
    look_as_nobody_for("could not be looked at");
}

TEST(what_somebody_unseen_may_hold_is_no_orphan)
{
    if (!test_is_root())
        test_skip("needs root, to become another user");
    make_file(shm_path(""), 4096);
    pid_t pid = start(open_file, 0);
    test_join(test_fork(look_as_nobody, NULL));
    stop(pid);
    unlink(shm_path(""));
}

/* ---- semaphores ---- */

static void hold_semaphore(void *unused)
{
    char name[120];
    (void)unused;
    snprintf(name, sizeof name, "/%s", test_word());
    ck_assert_ptr_ne(sem_open(name, O_CREAT | O_EXCL, 0600, 7), SEM_FAILED);
    hold_on();
}

static void look_where_processes_are_left_out(void *given)
{
    const char *options = given;
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("proc", "/proc", "proc", 0, options), 0);
    look_as_nobody_for(strcmp(options, "hidepid=1") == 0 ? "could not be looked at" : "hidepid");
}

/* proc(5): with 1 they are in the list, and refuse; with 2 and 4 they are not in it. */
TEST(what_somebody_left_out_of_proc_may_hold_is_no_orphan)
{
    static const char *const options[] = {"hidepid=1", "hidepid=2", "hidepid=4"};
    if (!test_is_root())
        test_skip("needs root, to mount /proc");
    make_file(shm_path(""), 8192);
    pid_t pid = start(map_file, 0);
    for (size_t i = 0; i < 3; i++)
        test_join(test_fork(look_where_processes_are_left_out, (void *)(uintptr_t)options[i]));
    stop(pid);
    unlink(shm_path(""));
}

TEST(h70_a_semaphore_whose_mapping_says_deleted_is_found_under_its_name)
{
    pid_t pid = start(hold_semaphore, 0);
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-sem:/"));
    const struct wherry_inspect_hold *hold = hold_by(object, pid, WHERRY_INSPECT_MAPPED);
    ck_assert(!(object->flags & WHERRY_INSPECT_DELETED));
    ck_assert_int_eq(object->messages, 7);
    char line[600], range[40];
    bool trap = false;
    snprintf(line, sizeof line, "/proc/%d/maps", (int)pid);
    snprintf(range, sizeof range, "%lx-", (unsigned long)hold->start);
    FILE *maps = fopen(line, "re");
    while (fgets(line, sizeof line, maps))
        trap |= strncmp(line, range, strlen(range)) == 0 && strstr(line, "(deleted)");
    fclose(maps);
    ck_assert_msg(trap, "the trap is not there: the mapping has the semaphore's name");
    stop(pid);
    unlink(shm_path("sem."));
    look_no_more();
}

static void wait_for_semaphore(void *unused)
{
    char name[120];
    (void)unused;
    snprintf(name, sizeof name, "/%s", test_word());
    sem_t *semaphore = sem_open(name, 0);
    test_gate_open(&child->ready);
    sem_wait(semaphore);
}

TEST(a_semaphore_tells_its_value_and_who_waits)
{
    char name[120];
    struct stat before, after;
    snprintf(name, sizeof name, "/%s", test_word());
    sem_t *semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    pid_t pid = start(wait_for_semaphore, 0);
    test_until_asleep(pid);
    ck_assert_int_eq(stat(shm_path("sem."), &before), 0);
    look(0);
    ck_assert_int_eq(stat(shm_path("sem."), &after), 0);
    ck_assert_int_eq(object_of(named("posix-sem:/"))->messages, 0);
    has_words(object_of(named("posix-sem:/"))->detail, "1 wait");
    ck_assert_msg(before.st_atim.tv_sec == after.st_atim.tv_sec && before.st_atim.tv_nsec == after.st_atim.tv_nsec,
                  "its access time changed");
    stop(pid);
    sem_close(semaphore);
    unlink(shm_path("sem."));
    look_no_more();
}

/* ---- rings ---- */

static const char *ring_url(const char *more)
{
    static char url[200];
    snprintf(url, sizeof url, "shm://%s%s", test_word(), more);
    return url;
}

static struct wherry_channel *ring_open(enum wherry_role role, const char *more)
{
    struct wherry_channel *channel;
    test_ok(wherry_channel_open(ring_url(more), role, NULL, test_deadline(), &channel));
    return channel;
}

static void send_two(void *unused)
{
    (void)unused;
    struct wherry_channel *channel = ring_open(WHERRY_SEND, "");
    test_ok(wherry_channel_send(channel, "one", 3, test_deadline()));
    test_ok(wherry_channel_send(channel, "two", 3, test_deadline()));
    hold_on();
}

TEST(a_ring_tells_who_is_at_it_and_how_much_is_in_it)
{
    char buffer[8];
    size_t size;
    struct wherry_channel *channel = ring_open(WHERRY_RECEIVE, "");
    pid_t pid = start(send_two, 0);
    ck_assert_int_eq(wherry_channel_receive(channel, buffer, sizeof buffer, &size, test_deadline()), 1);
    look(0);
    const struct wherry_inspect_object *object = object_of(named("ring:"));
    ck_assert_int_eq(object->kind, WHERRY_INSPECT_RING);
    has_words(object->detail, "1 sender, 1 receiver, 0 dead; 2 sent, 1 received");
    ck_assert_int_eq(object->messages, 1);
    ck_assert_int_eq(object->used, 16);
    ck_assert(!(object->flags & WHERRY_INSPECT_OWNER_DEAD));
    hold_by(object, pid, WHERRY_INSPECT_MAPPED);
    hold_by(object, getpid(), WHERRY_INSPECT_OPEN);
    ck_assert_ptr_eq(wherry_inspect_find(snapshot, ring_url(""), 0), object);
    stop(pid);
    look(0);
    has_words(object_of(named("ring:"))->detail, "0 senders, 1 receiver, 1 dead");
    test_ok(wherry_channel_close(channel, WHERRY_NOW));
    look_no_more();
}

static void ask_ring(void *receivers)
{
    struct wherry_ring_stat stat;
    test_ok(wherry_ring_stat(ring_url(""), &stat, sizeof stat));
    ck_assert_uint_eq(stat.receivers, *(unsigned *)receivers);
    ck_assert_uint_eq(stat.dead, 0);
}

TEST(h1_looking_at_a_ring_drops_no_lock_of_who_takes_part_in_it)
{
    unsigned receivers = 1;
    struct wherry_channel *channel = ring_open(WHERRY_RECEIVE, "");
    look(WHERRY_INSPECT_PROVE);
    test_join(test_fork(ask_ring, &receivers));
    test_ok(wherry_channel_close(channel, WHERRY_NOW));
    look_no_more();
}

static void keep_ring(void *unused)
{
    (void)unused;
    ring_open(WHERRY_RECEIVE, "");
    hold_on();
}

static struct wherry_channel *joined;
static ssize_t (*real_pread)(int fd, void *data, size_t size, off_t at);

/* While the ring is open to be looked at. */
static ssize_t join_meanwhile(int fd, void *data, size_t size, off_t at)
{
    wherry__sys.pread = real_pread;
    joined = ring_open(WHERRY_RECEIVE, "");
    return real_pread(fd, data, size, at);
}

TEST(h1_who_joins_a_ring_while_it_is_looked_at_keeps_its_lock)
{
    struct wherry_ring_stat stat;
    char path[300];
    struct stat file;
    unsigned receivers = 2;
    pid_t pid = start(keep_ring, 0);
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), test_word());
    ck_assert_int_eq(lstat(path, &file), 0);
    real_pread = wherry__sys.pread;
    wherry__sys.pread = join_meanwhile;
    test_ok(wherry__ring_look(path, file.st_dev, file.st_ino, &stat));
    test_join(test_fork(ask_ring, &receivers));
    test_ok(wherry_channel_close(joined, WHERRY_NOW));
    stop(pid);
    unlink(path);
}

static void keep_kept_ring(void *unused)
{
    (void)unused;
    ring_open(WHERRY_RECEIVE, "?keep=1");
    hold_on();
}

TEST(a_ring_whose_ends_were_killed_says_so_and_a_kept_one_does_not)
{
    char path[300];
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), test_word());
    stop(start(keep_ring, 0));
    ck_assert_int_eq(state_of(named("ring:"), WHERRY_INSPECT_PROVE), WHERRY_INSPECT_ORPHAN);
    const struct wherry_inspect_object *object = object_of(named("ring:"));
    ck_assert(object->flags & WHERRY_INSPECT_OWNER_DEAD);
    has_words(object->reason, "none of its ends lives");
    unlink(path);
    stop(start(keep_kept_ring, 0));
    ck_assert_int_eq(state_of(named("ring:"), WHERRY_INSPECT_PROVE), WHERRY_INSPECT_ORPHAN);
    object = object_of(named("ring:"));
    ck_assert(!(object->flags & WHERRY_INSPECT_OWNER_DEAD));
    has_words(object->detail, "kept");
    unlink(path);
    look_no_more();
}

static void keep_ring_as_nobody(void *unused)
{
    ck_assert(test_become_nobody());
    keep_ring(unused);
}

TEST(a_ring_of_another_user_is_named_by_its_user_and_looked_at_by_root)
{
    char name[200];
    if (!test_is_root())
        test_skip("needs root, to look at what another user has");
    private_shm("size=200m,mode=1777");
    pid_t pid = start(keep_ring_as_nobody, 0);
    snprintf(name, sizeof name, "ring:65534/%s", test_word());
    look(0);
    has_words(object_of(name)->detail, "0 senders, 1 receiver, 0 dead");
    hold_by(object_of(name), pid, WHERRY_INSPECT_MAPPED);
    stop(pid);
    look_no_more();
}
