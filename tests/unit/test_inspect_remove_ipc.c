/* tests/unit/test_inspect_remove_ipc.c - System V objects that nobody uses are removed, and no others.
 *
 * SPDX-License-Identifier: MIT */
#include "inspect_remove_kit.h"

/* ---- System V ---- */

static int made_by_the_dead;

static void make_segment(void *number)
{
    *(int *)number = shmget(test_key(0), 100, IPC_CREAT | 0600);
}

static void make_queue(void *number)
{
    struct {
        long type;
        char data[4];
    } message = {1, "abc"};
    int id = *(int *)number = msgget(test_key(0), IPC_CREAT | 0600);
    ck_assert_int_eq(msgsnd(id, &message, sizeof message.data, 0), 0);
}

static void make_set(void *number)
{
    int id = *(int *)number = semget(test_key(0), 2, IPC_CREAT | 0600);
    ck_assert_int_eq(semctl(id, 0, SETVAL, 1), 0);
}

static int by_the_dead(void (*make)(void *))
{
    int *number = test_shared(sizeof *number);
    test_join(test_fork(make, number));
    made_by_the_dead = *number;
    return *number;
}

TEST(a_segment_that_nobody_has_attached_is_removed_and_one_that_somebody_attaches_is_not)
{
    int id = by_the_dead(make_segment);
    const struct wherry_inspect_object *object = look_at(sysv("sysv-shm"));
    void *memory = shmat(id, NULL, 0);
    test_is(remove_it(object), -EBUSY);
    says("counts 1 attachment");
    shmdt(memory);
    test_is(remove_it(look_at(sysv("sysv-shm"))), -EBUSY); /* we may attach it again */
    says("may attach it again");
    shmctl(id, IPC_RMID, NULL);
    by_the_dead(make_segment);
    object = look_at(sysv("sysv-shm"));
    test_ok(remove_it(object));
    ck_assert_int_eq(shmget(test_key(0), 0, 0), -1);
    test_is(remove_it(object), -ENOENT);
    end();
}

static void receive(void *gate)
{
    struct {
        long type;
        char data[8];
    } message;
    test_gate_open(gate);
    msgrcv(made_by_the_dead, &message, sizeof message.data, 7, 0);
}

TEST(a_queue_goes_when_it_is_asked_for_and_nobody_waits_and_nobody_came)
{
    test_needs(TEST_OWN_CALLS);
    struct {
        long type;
        char data[4];
    } message = {1, "abc"};
    struct test_gate gate;
    int id = by_the_dead(make_queue);
    const struct wherry_inspect_object *object = look_at(sysv("sysv-msg"));
    test_is(remove_it(object), -EBUSY);
    says("cannot be known");
    pid_t pid = started(receive, &gate);
    test_until_asleep(pid);
    test_is(remove_untracked(object), -EBUSY);
    test_kill(pid);
    test_gate_fini(&gate);
    object = look_at(sysv("sysv-msg"));
    test_sleep(1100 * WHERRY_MILLISECOND); /* the kernel notes seconds */
    ck_assert_int_eq(msgsnd(id, &message, sizeof message.data, 0), 0);
    int result = remove_untracked(object);
    ck_assert_int_eq(result, -ESTALE);
    msgctl(id, IPC_RMID, NULL);
    by_the_dead(make_queue);
    test_ok(remove_untracked(look_at(sysv("sysv-msg"))));
    ck_assert_int_eq(msgget(test_key(0), 0), -1);
    end();
}

static void wait_for_set(void *gate)
{
    struct sembuf operation = {.sem_num = 1, .sem_op = -1};
    test_gate_open(gate);
    semop(made_by_the_dead, &operation, 1);
}

TEST(a_set_goes_when_it_is_asked_for_and_nobody_waits)
{
    struct test_gate gate;
    by_the_dead(make_set);
    const struct wherry_inspect_object *object = look_at(sysv("sysv-sem"));
    test_is(remove_it(object), -EBUSY);
    pid_t pid = started(wait_for_set, &gate);
    test_until_asleep(pid);
    test_is(remove_untracked(object), -EBUSY);
    says("waits");
    test_kill(pid);
    test_gate_fini(&gate);
    test_ok(remove_untracked(look_at(sysv("sysv-sem"))));
    ck_assert_int_eq(semget(test_key(0), 0, 0), -1);
    end();
}

TEST(h31_what_is_half_made_goes_once_its_maker_is_dead)
{
    struct wherry__object object = {.type = WHERRY__SYSV_SEM, .key = test_key(0)};
    semget(test_key(0), 1, IPC_CREAT | 0600 | WHERRY__HALF_MADE);
    int maker = wherry__maker_take(&object, "the test");
    test_is(remove_it(look_at(sysv("sysv-sem"))), -EBUSY);
    wherry__fd_close(&maker);
    const struct wherry_inspect_object *seen = look_at(sysv("sysv-sem"));
    maker = wherry__maker_take(&object, "the test");
    test_is(remove_it(seen), -EBUSY);
    says("somebody is making it");
    wherry__fd_close(&maker);
    test_ok(remove_it(seen));
    ck_assert_int_eq(semget(test_key(0), 0, 0), -1);
    end();
}

static void make_elsewhere(void *gate)
{
    ck_assert_int_eq(unshare(CLONE_NEWIPC), 0);
    ck_assert_int_ge(msgget(test_key(0), IPC_CREAT | 0600), 0);
    test_gate_open(gate);
    wait_for_the_end();
}

TEST(an_object_of_another_namespace_is_left_to_those_who_are_there)
{
    struct test_gate gate;
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for an IPC namespace");
    pid_t pid = started(make_elsewhere, &gate);
    test_is(remove_untracked(look_at(sysv("sysv-msg"))), -EXDEV);
    test_kill(pid);
    test_gate_fini(&gate);
    end();
}
