/* tests/unit/test_inspect_ipc.c - message queues and System V objects, made for real and held by other processes, as a
 * snapshot shows them, in other IPC namespaces too.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect_objects_kit.h"

/* ---- POSIX message queues ---- */

static mqd_t open_queue(void)
{
    char name[120];
    struct mq_attr attributes = {.mq_maxmsg = 3, .mq_msgsize = 100};
    snprintf(name, sizeof name, "/%s", test_word());
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600, &attributes);
    ck_assert_int_ge(queue, 0);
    return queue;
}

static void unlink_queue(void)
{
    char name[120];
    snprintf(name, sizeof name, "/%s", test_word());
    mq_unlink(name);
}

static void hold_queue(void *unused)
{
    (void)unused;
    open_queue();
    hold_on();
}

TEST(a_posix_queue_tells_its_messages_and_limits_and_who_has_it_open)
{
    pid_t pid = start(hold_queue, 0);
    mqd_t queue = open_queue();
    ck_assert_int_eq(mq_send(queue, "x", 1, 0), 0);
    mq_close(queue);
    look(0);
    const struct wherry_inspect_object *object = object_of(named("posix-mq:/"));
    ck_assert_int_eq(object->messages, 1);
    ck_assert_int_eq(object->limit, 3);
    ck_assert_int_eq(object->size, 300);
    ck_assert(!(object->flags & (WHERRY_INSPECT_ELSEWHERE | WHERRY_INSPECT_DELETED)));
    ck_assert(hold_by(object, pid, WHERRY_INSPECT_OPEN)->reads);
    ck_assert_uint_eq(holds_of(object), 1);
    unlink_queue();
    look(0);
    object = object_of(named("posix-mq:/"));
    ck_assert(object->flags & WHERRY_INSPECT_DELETED);
    hold_by(object, pid, WHERRY_INSPECT_OPEN);
    stop(pid);
    look_no_more();
}

TEST(a_posix_queue_that_nobody_has_open_is_found_without_a_mount)
{
    struct stat before, after;
    if (!test_is_root())
        test_skip("needs root: others see the queues that are open, or where they are mounted");
    mqd_t queue = open_queue();
    look(WHERRY_INSPECT_PROVE);
    ck_assert_int_eq(object_of(named("posix-mq:/"))->state, WHERRY_INSPECT_LIVE);
    ck_assert_int_eq(fstat(queue, &before), 0);
    mq_close(queue);
    ck_assert_int_eq(state_of(named("posix-mq:/"), WHERRY_INSPECT_PROVE), WHERRY_INSPECT_ORPHAN);
    queue = open_queue();
    ck_assert_int_eq(fstat(queue, &after), 0);
    ck_assert_int_eq(memcmp(&before.st_atim, &after.st_atim, sizeof before.st_atim), 0);
    mq_close(queue);
    unlink_queue();
    look_no_more();
}

static int no_fsopen(const char *type, unsigned flags)
{
    (void)type, (void)flags;
    errno = EPERM;
    return -1;
}

TEST(who_may_not_list_posix_queues_sees_those_that_are_open_and_says_so)
{
    pid_t pid = start(hold_queue, 0);
    int (*before)(const char *, unsigned) = wherry__sys.fsopen;
    wherry__sys.fsopen = no_fsopen;
    look(0);
    wherry__sys.fsopen = before;
    const struct wherry_inspect_hidden *hidden;
    bool said = false;
    hold_by(object_of(named("posix-mq:/")), pid, WHERRY_INSPECT_OPEN);
    ck_assert_int_eq(object_of(named("posix-mq:/"))->limit, 3);
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++)
        said |= strstr(hidden->what, "message queues") && strstr(hidden->why, "mount -t mqueue");
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[2000];
    bool mounted = false;
    while (fgets(line, sizeof line, mounts))
        mounted |= strstr(line, " - mqueue ") != NULL;
    fclose(mounts);
    ck_assert(said != mounted);
    stop(pid);
    unlink_queue();
    look_no_more();
}

/* ---- System V ---- */

static const char *sysv(const char *kind, int id)
{
    static char names[4][60];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], id < 0 ? "%s:0x%x" : "%s:#%d", kind, (unsigned)(id < 0 ? test_key(0) : id));
    return name;
}

static void attach(void *unused)
{
    (void)unused;
    ck_assert_ptr_ne(shmat(child->number, NULL, 0), (void *)-1);
    ck_assert_ptr_ne(shmat(child->number, NULL, SHM_RDONLY), (void *)-1);
    hold_on();
}

TEST(a_system_v_segment_names_who_has_it_attached)
{
    int id = shmget(test_key(0), 5000, IPC_CREAT | 0640);
    pid_t pid = start(attach, id);
    look(0);
    const struct wherry_inspect_object *object = object_of(sysv("sysv-shm", -1));
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE);
    ck_assert_int_eq(object->size, 5000);
    ck_assert_uint_eq(object->mode, 0640);
    ck_assert_uint_eq(object->id, (uint64_t)id);
    ck_assert_uint_eq(holds_of(object), 2);
    hold_by(object, pid, WHERRY_INSPECT_ATTACHED);
    has_words(object->detail, "attached 2 times; made by pid");
    shmctl(id, IPC_RMID, NULL);
    look(0);
    ck_assert_uint_eq(count_of(sysv("sysv-shm", -1)), 0);
    object = object_of(sysv("sysv-shm", id));
    ck_assert(object->flags & WHERRY_INSPECT_DELETED);
    ck_assert_uint_eq(holds_of(object), 2);
    hold_by(object, pid, WHERRY_INSPECT_ATTACHED);
    stop(pid);
    look(0);
    ck_assert_uint_eq(count_of(sysv("sysv-shm", id)), 0);
    look_no_more();
}

static void make_segment(void *unused)
{
    (void)unused;
    child->number = shmget(test_key(0), 100, IPC_CREAT | 0600);
    hold_on();
}

TEST(a_segment_that_nobody_has_attached_is_an_orphan_once_its_maker_has_ended)
{
    pid_t pid = start(make_segment, 0);
    int id = child->number;
    look(0);
    ck_assert_int_eq(object_of(sysv("sysv-shm", -1))->state, WHERRY_INSPECT_UNKNOWN);
    has_words(object_of(sysv("sysv-shm", -1))->reason, "made it, still runs");
    stop(pid);
    look(0);
    ck_assert_int_eq(object_of(sysv("sysv-shm", -1))->state, WHERRY_INSPECT_ORPHAN);
    shmctl(id, IPC_RMID, NULL);
    look_no_more();
}

static void count_as_nobody(void *unused)
{
    (void)unused;
    ck_assert(test_become_nobody());
    look(0);
    ck_assert_int_eq(object_of(sysv("sysv-shm", -1))->state, WHERRY_INSPECT_LIVE);
    has_words(object_of(sysv("sysv-shm", -1))->reason, "the kernel counts 2 attachments");
    has_words(object_of(sysv("sysv-shm", -1))->detail, "2 of them out of sight");
    look_no_more();
}

TEST(attachments_of_processes_out_of_sight_are_counted_by_the_kernel)
{
    if (!test_is_root())
        test_skip("needs root, to become another user");
    int id = shmget(test_key(0), 100, IPC_CREAT | 0600);
    pid_t pid = start(attach, id);
    test_join(test_fork(count_as_nobody, NULL));
    stop(pid);
    shmctl(id, IPC_RMID, NULL);
}

static void receive(void *unused)
{
    struct {
        long type;
        char data[8];
    } message;
    (void)unused;
    test_gate_open(&child->ready);
    msgrcv(child->number, &message, sizeof message.data, 0, 0);
}

TEST(a_system_v_queue_tells_who_waits_in_it_and_who_used_it_last)
{
    test_needs(TEST_OWN_CALLS);
    struct {
        long type;
        char data[4];
    } message = {1, "abc"};
    int id = msgget(test_key(0), IPC_CREAT | 0600);
    pid_t pid = start(receive, id);
    test_until_asleep(pid);
    look(WHERRY_INSPECT_WAITERS);
    const struct wherry_inspect_object *object = object_of(sysv("sysv-msg", -1));
    ck_assert_str_eq(hold_by(object, pid, WHERRY_INSPECT_WAITING)->detail, "msgrcv");
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE);
    stop(pid);
    ck_assert_int_eq(msgsnd(id, &message, sizeof message.data, 0), 0);
    look(WHERRY_INSPECT_WAITERS);
    object = object_of(sysv("sysv-msg", -1));
    ck_assert_uint_eq(holds_of(object), 0);
    ck_assert_int_eq(object->messages, 1);
    ck_assert_int_eq(object->used, 4);
    ck_assert_int_gt(object->size, 0);
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE); /* by us */
    has_words(object->reason, "sent the last message to it, and still runs");
    ck_assert(!(object->flags & (WHERRY_INSPECT_USERS_GONE | WHERRY_INSPECT_TRACKED)));
    msgctl(id, IPC_RMID, NULL);
    look_no_more();
}

static void send_one(void *unused)
{
    struct {
        long type;
        char data[4];
    } message = {1, "abc"};
    (void)unused;
    ck_assert_int_eq(msgsnd(child->number, &message, sizeof message.data, 0), 0);
    hold_on();
}

TEST(a_system_v_queue_whose_last_users_have_ended_may_still_be_somebodys)
{
    int id = msgget(test_key(0), IPC_CREAT | 0600);
    stop(start(send_one, id));
    look(0);
    const struct wherry_inspect_object *object = object_of(sysv("sysv-msg", -1));
    ck_assert_int_eq(object->state, WHERRY_INSPECT_UNKNOWN);
    has_words(object->reason, "which sent the last message to it, has ended");
    ck_assert(object->flags & WHERRY_INSPECT_USERS_GONE);
    msgctl(id, IPC_RMID, NULL);
    look_no_more();
}

static void wait_for_set(void *unused)
{
    struct sembuf operation = {.sem_num = 1, .sem_op = -1};
    (void)unused;
    test_gate_open(&child->ready);
    syscall(SYS_semop, child->number, &operation, 1); /* libc's is semtimedop */
}

static void wait_for_set_timed(void *unused)
{
    struct sembuf operation = {.sem_num = 1, .sem_op = -1};
    struct timespec time = {.tv_sec = 100};
    (void)unused;
    test_gate_open(&child->ready);
    semtimedop(child->number, &operation, 1, &time);
}

TEST(a_system_v_set_tells_its_values_and_who_waits)
{
    test_needs(TEST_OWN_CALLS);
    int id = semget(test_key(0), 2, IPC_CREAT | 0600);
    ck_assert_int_eq(semctl(id, 0, SETVAL, 5), 0);
    pid_t pid = start(wait_for_set, id);
    test_until_asleep(pid);
    look(WHERRY_INSPECT_WAITERS);
    const struct wherry_inspect_object *object = object_of(sysv("sysv-sem", -1));
    has_words(object->detail, "2 semaphores: 5, 0");
    hold_by(object, pid, WHERRY_INSPECT_WAITING);
    look(0);
    object = object_of(sysv("sysv-sem", -1));
    ck_assert_uint_eq(holds_of(object), 0);
    has_words(object->reason, "changed it last, and still runs");
    stop(pid);
    pid = start(wait_for_set_timed, id);
    test_until_asleep(pid);
    look(WHERRY_INSPECT_WAITERS);
    object = object_of(sysv("sysv-sem", -1));
    hold_by(object, pid, WHERRY_INSPECT_WAITING);
    stop(pid);
    semctl(id, 0, IPC_RMID);
    look_no_more();
}

/* ---- half made ---- */

TEST(h31_what_a_dead_maker_left_half_made_says_so_and_what_is_being_made_does_not)
{
    struct wherry__object object = {.type = WHERRY__SYSV_SEM, .key = test_key(0)};
    int id = semget(test_key(0), 1, IPC_CREAT | 0600 | WHERRY__HALF_MADE);
    int maker = wherry__maker_take(&object, "the test");
    ck_assert_int_ge(maker, 0);
    look(0);
    ck_assert(!(object_of(sysv("sysv-sem", -1))->flags & WHERRY_INSPECT_OWNER_DEAD));
    has_words(object_of(sysv("sysv-sem", -1))->detail, "half made");
    wherry__fd_close(&maker);
    look(0);
    ck_assert(object_of(sysv("sysv-sem", -1))->flags & WHERRY_INSPECT_OWNER_DEAD);
    has_words(object_of(sysv("sysv-sem", -1))->detail, "its maker has died");
    if (test_is_root()) { /* a maker with another /dev/shm would have its lock there */
        private_shm("size=1m,mode=1777");
        maker = wherry__maker_take(&object, "the test");
        wherry__fd_close(&maker);
        look(0);
        ck_assert(!(object_of(sysv("sysv-sem", -1))->flags & WHERRY_INSPECT_OWNER_DEAD));
    }
    semctl(id, 0, IPC_RMID);
    look_no_more();
}

/* ---- other IPC namespaces ---- */

static void make_all_elsewhere(void *unused)
{
    (void)unused;
    ck_assert_int_eq(unshare(CLONE_NEWIPC), 0);
    ck_assert_int_ge(msgget(test_key(0), IPC_CREAT | 0600), 0);
    ck_assert_int_ge(semget(test_key(1), 3, IPC_CREAT | 0600), 0);
    int id = shmget(test_key(0), 7000, IPC_CREAT | 0600);
    ck_assert_ptr_ne(shmat(id, NULL, 0), (void *)-1);
    mq_close(open_queue());
    child->number = id;
    hold_on();
}

static const struct wherry_inspect_object *elsewhere(enum wherry_inspect_kind kind, pid_t pid)
{
    const struct wherry_inspect_object *object;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (object->kind == kind && object->space == wherry_inspect_process_of(snapshot, pid)->ipc_space)
            return object;
    ck_abort_msg("no %s in the other namespace", wherry_inspect_kind_name(kind));
}

TEST(objects_of_another_ipc_namespace_are_found_and_told_apart)
{
    test_needs(TEST_FSOPEN);
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for IPC namespaces");
    int id = shmget(test_key(0), 100, IPC_CREAT | 0600), queue = msgget(test_key(0), IPC_CREAT | 0600);
    size_t before = test_descriptors();
    pid_t pid = start(make_all_elsewhere, 0);
    size_t gate = test_descriptors() - before;
    look(0);
    ck_assert_uint_eq(test_descriptors(), before + gate);
    ck_assert_int_eq(object_of(sysv("sysv-shm", -1))->size, 100); /* ours has the key's name */
    const struct wherry_inspect_object *object = elsewhere(WHERRY_INSPECT_SYSV_SHM, pid);
    ck_assert_int_eq(object->size, 7000);
    ck_assert_str_eq(object->name, sysv("sysv-shm", child->number));
    ck_assert(object->flags & WHERRY_INSPECT_ELSEWHERE);
    hold_by(object, pid, WHERRY_INSPECT_ATTACHED);
    ck_assert_uint_eq(holds_of(object_of(sysv("sysv-shm", -1))), 0);
    ck_assert_int_eq(elsewhere(WHERRY_INSPECT_SYSV_MSG, pid)->name[9], '#');
    object = elsewhere(WHERRY_INSPECT_SYSV_SEM, pid);
    ck_assert_int_eq(object->key, test_key(1));
    has_words(object->name, "0x");
    has_words(object->detail, "3 semaphores");
    object = elsewhere(WHERRY_INSPECT_POSIX_MQ, pid);
    ck_assert_str_eq(object->name, named("posix-mq:/"));
    ck_assert_int_eq(object->limit, 3);
    ck_assert_uint_eq(holds_of(object), 0);
    ck_assert(object->flags & WHERRY_INSPECT_ELSEWHERE);
    stop(pid);
    shmctl(id, IPC_RMID, NULL);
    msgctl(queue, IPC_RMID, NULL);
    look_no_more();
}

static void attach_and_leave(void *unused)
{
    (void)unused;
    ck_assert_ptr_ne(shmat(child->number, NULL, 0), (void *)-1);
    ck_assert_int_eq(unshare(CLONE_NEWIPC), 0);
    hold_on();
}

TEST(who_attached_a_segment_and_went_to_another_namespace_still_holds_it)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for IPC namespaces");
    int first = shmget(IPC_PRIVATE, 100, 0600), id = shmget(test_key(0), 100, IPC_CREAT | 0600);
    pid_t pid = start(attach_and_leave, id);
    look(0);
    hold_by(object_of(sysv("sysv-shm", -1)), pid, WHERRY_INSPECT_ATTACHED);
    stop(pid);
    shmctl(id, IPC_RMID, NULL);
    shmctl(first, IPC_RMID, NULL);
    look_no_more();
}

static pid_t no_clone(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                      void *child_word)
{
    (void)function, (void)stack, (void)flags, (void)argument, (void)parent_word, (void)child_word;
    errno = EPERM;
    return -1;
}

TEST(an_ipc_namespace_that_cannot_be_entered_is_said_to_be_hidden)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for IPC namespaces");
    pid_t pid = start(make_all_elsewhere, 0);
    pid_t (*before)(int (*)(void *), void *, int, void *, int *, void *) = wherry__sys.clone;
    wherry__sys.clone = no_clone;
    look(0);
    wherry__sys.clone = before;
    const struct wherry_inspect_hidden *hidden;
    bool said = false;
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++)
        said |= strstr(hidden->what, "IPC namespaces") != NULL;
    ck_assert(said);
    stop(pid);
    look_no_more();
}
