/* tests/unit/test_mutex.c - owns the proof that the mutex excludes, hands on what the dead held, and is refused where
 * it could not.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <wherry/mutex.h>
#include <wherry/rwlock.h>

#include "base/sys.h"
#include "sync_kit.h"

struct account {
    struct wherry_mutex mutex;
    volatile long a, b; /* always the same, for who holds the mutex */
    volatile int seen;
};

static struct kit kit;
static struct test_gate ready, go;

static struct account *open_account(void)
{
    struct account *account = kit_open(&kit);
    test_ok(wherry_mutex_init(&account->mutex));
    return account;
}

static void both_gates(void (*act)(struct test_gate *))
{
    act(&ready);
    act(&go);
}

/* ---- what it is for ---- */

enum { ROUNDS = 20000, CROWD = 3 };

static void add_often(void *argument)
{
    (void)argument;
    struct account *account = kit_again(&kit);
    for (int i = 0; i < ROUNDS; i++) {
        test_is(wherry_mutex_lock(&account->mutex, test_deadline()), 0);
        ck_assert_int_eq(account->a, account->b);
        account->a++;
        account->b++;
        test_ok(wherry_mutex_unlock(&account->mutex));
    }
    munmap(account, KIT_SIZE);
}

TEST(h17_processes_with_the_memory_at_different_addresses_exclude_each_other)
{
    struct account *account = open_account();
    pid_t crowd[CROWD];
    for (int i = 0; i < CROWD; i++)
        crowd[i] = test_fork(add_often, NULL);
    for (int i = 0; i < CROWD; i++)
        test_join(crowd[i]);
    ck_assert_int_eq(account->a, CROWD * ROUNDS);
    ck_assert_int_eq(account->b, CROWD * ROUNDS);
    test_ok(wherry_mutex_fini(&account->mutex));
    kit_close(&kit);
}

/* ---- deaths ---- */

static void hold(void *argument)
{
    (void)argument;
    struct account *account = kit_again(&kit);
    int result = wherry_mutex_lock(&account->mutex, test_deadline());
    ck_assert(result == 0 || result == -EOWNERDEAD);
    account->a++;
    test_gate_open(&ready);
    test_gate_wait(&go);
}

/* A process that holds the mutex; its account is half changed. */
static pid_t holder(void)
{
    pid_t child = test_fork(hold, NULL);
    test_gate_wait(&ready);
    return child;
}

TEST(h27_the_next_gets_what_a_dead_process_held_and_can_repair_it)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    test_kill(holder());
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EOWNERDEAD);
    ck_assert_int_eq(account->a, account->b + 1);
    account->b = account->a;
    test_ok(wherry_mutex_consistent(&account->mutex));
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_close(&kit);
    both_gates(test_gate_fini);
}

static void await_death(void *argument)
{
    (void)argument;
    struct account *account = kit_again(&kit);
    test_is(wherry_mutex_lock(&account->mutex, test_deadline()), -EOWNERDEAD);
    account->b = account->a;
    test_ok(wherry_mutex_consistent(&account->mutex));
    test_ok(wherry_mutex_unlock(&account->mutex));
}

TEST(one_that_waits_gets_it_as_its_holder_dies)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    pid_t dying = holder(), waiter = test_fork(await_death, NULL);
    test_until_asleep(waiter);
    test_kill(dying);
    test_join(waiter);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    ck_assert_int_eq(account->a, account->b);
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_close(&kit);
    both_gates(test_gate_fini);
}

static void be_refused(void *argument)
{
    (void)argument;
    struct account *account = kit_again(&kit);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -ENOTRECOVERABLE);
}

TEST(h27_unlocked_without_a_repair_it_is_gone_for_all)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    test_kill(holder());
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EOWNERDEAD);
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, test_deadline()), -ENOTRECOVERABLE);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "make the mutex anew"));
    test_join(test_fork(be_refused, NULL));
    test_ok(wherry_mutex_fini(&account->mutex));
    test_ok(wherry_mutex_init(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_close(&kit);
    both_gates(test_gate_fini);
}

TEST(a_repairer_that_dies_hands_the_repair_on)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    test_kill(holder());
    test_kill(holder());
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EOWNERDEAD);
    ck_assert_int_eq(account->a, 2);
    test_ok(wherry_mutex_consistent(&account->mutex));
    test_is(wherry_mutex_consistent(&account->mutex), -EINVAL);
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_is(wherry_mutex_consistent(&account->mutex), -EINVAL);
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_close(&kit);
    both_gates(test_gate_fini);
}

static void *end_holding(void *argument)
{
    struct account *account = argument;
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    return NULL;
}

TEST(a_thread_that_ends_is_a_death)
{
    test_needs(TEST_ROBUST_LIST);
    struct account *account = open_account();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, end_holding, account), 0);
    pthread_join(thread, NULL);
    test_is(wherry_mutex_lock(&account->mutex, test_deadline()), -EOWNERDEAD);
    test_ok(wherry_mutex_consistent(&account->mutex));
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_close(&kit);
}

static void exec_holding(void *argument)
{
    (void)argument;
    struct account *account = kit_again(&kit);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    execl("/bin/true", "true", (char *)NULL);
    ck_abort_msg("execl");
}

TEST(an_exec_is_a_death)
{
    test_needs(TEST_ROBUST_LIST);
    struct account *account = open_account();
    test_join(test_fork(exec_holding, NULL));
    test_is(wherry_mutex_lock(&account->mutex, test_deadline()), -EOWNERDEAD);
    kit_close(&kit);
}

TEST(h20_a_stopped_holder_is_not_robbed)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    pid_t stopped = holder();
    kill(stopped, SIGSTOP);
    test_is(wherry_mutex_lock(&account->mutex, wherry_after(200 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    kill(stopped, SIGCONT);
    test_gate_open(&go); /* it ends without unlocking */
    test_is(wherry_mutex_lock(&account->mutex, test_deadline()), -EOWNERDEAD);
    test_join(stopped);
    kit_close(&kit);
    both_gates(test_gate_fini);
}

/* ---- waits ---- */

static void ignore(int signal)
{
    (void)signal;
}

TEST_WITH(h59_deadlines_hold_and_signals_do_not_end_a_wait, .leaves = TEST_LEAVES_SIGNALS)
{
    both_gates(test_gate_init);
    struct account *account = open_account();
    pid_t other = holder();
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EAGAIN);
    test_is(wherry_mutex_lock(&account->mutex, wherry_now() - 1), -ETIMEDOUT);
    struct sigaction action = {.sa_handler = ignore};
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    wherry_time began = wherry_now();
    test_is(wherry_mutex_lock(&account->mutex, began + 100 * WHERRY_MILLISECOND), -ETIMEDOUT);
    wherry_time took = wherry_now() - began;
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_ge(took, 100 * WHERRY_MILLISECOND);
    ck_assert_int_lt(took, 12 * WHERRY_SECOND);
    test_kill(other);
    kit_close(&kit);
    both_gates(test_gate_fini);
}

static void release_it_not(void *argument)
{
    struct account *account = argument;
    test_is(wherry_mutex_unlock(&account->mutex), -EPERM);
    test_is(wherry_mutex_consistent(&account->mutex), -EINVAL);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EAGAIN);
}

TEST(a_child_does_not_hold_what_its_parent_holds)
{
    struct account *account = open_account();
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_join(test_fork(release_it_not, account));
    test_is(wherry_mutex_lock(&account->mutex, test_deadline()), -EDEADLK);
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_is(wherry_mutex_unlock(&account->mutex), -EPERM);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "nobody"));
    kit_close(&kit);
}

/* Its trylock would take the mutex of a dead holder and lose what it says. */
TEST(consistent_of_one_that_does_not_hold_it_changes_nothing)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    test_kill(holder());
    test_is(wherry_mutex_consistent(&account->mutex), -EINVAL);
    pid_t repairer = holder(); /* got -EOWNERDEAD, and is at it */
    test_is(wherry_mutex_consistent(&account->mutex), -EINVAL);
    test_kill(repairer);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EOWNERDEAD);
    kit_close(&kit);
    both_gates(test_gate_fini);
}

/* ---- beginning and end ---- */

TEST(what_is_no_mutex_is_refused)
{
    struct account *account = kit_open(&kit);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "wherry_mutex_init()"));
    test_is(wherry_mutex_unlock(&account->mutex), -EINVAL);
    test_is(wherry_mutex_consistent(&account->mutex), -EINVAL);
    test_is(wherry_mutex_init((struct wherry_mutex *)((char *)account + 8)), -EINVAL);
    test_is(wherry_mutex_init(NULL), -EINVAL);
    test_ok(wherry_mutex_fini(NULL));
    test_ok(wherry_mutex_fini(&account->mutex));
    memset(&account->mutex, 0xa5, sizeof account->mutex); /* whatever the memory held */
    test_ok(wherry_mutex_init(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_ok(wherry_mutex_fini(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EINVAL);
    kit_close(&kit);
}

TEST(it_is_not_ended_while_somebody_alive_holds_it)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    pid_t other = holder();
    char name[32];
    test_is(wherry_mutex_fini(&account->mutex), -EBUSY);
    snprintf(name, sizeof name, "pid %d", (int)other);
    ck_assert_ptr_nonnull(strstr(wherry_why(), name));
    test_kill(other);
    test_ok(wherry_mutex_fini(&account->mutex));
    test_ok(wherry_mutex_init(&account->mutex));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_is(wherry_mutex_fini(&account->mutex), -EBUSY);
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_ok(wherry_mutex_fini(&account->mutex));
    kit_close(&kit);
    both_gates(test_gate_fini);
}

/* ---- unmapping ---- */

static void *hold_in_thread(void *argument)
{
    struct account *account = argument;
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_gate_open(&ready);
    test_gate_wait(&go);
    test_ok(wherry_mutex_unlock(&account->mutex));
    return NULL;
}

TEST(h28_memory_with_a_held_mutex_is_not_to_be_unmapped)
{
    test_needs(TEST_ROBUST_LIST);
    both_gates(test_gate_init);
    struct account *account = open_account();
    struct wherry_rwlock *lock = (struct wherry_rwlock *)((char *)account + 4096);
    struct wherry_mutex *third = (struct wherry_mutex *)((char *)account + 8192);
    pthread_t thread;
    test_ok(wherry_rwlock_init(lock));
    test_ok(wherry_mutex_init(third));
    test_ok(wherry_mutex_may_unmap(account, KIT_SIZE));
    test_is(wherry_mutex_lock(third, WHERRY_NOW), 0);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_is(wherry_mutex_may_unmap(account, KIT_SIZE), -EBUSY);
    test_is(wherry_mutex_may_unmap(account, 64), -EBUSY);
    test_is(wherry_mutex_may_unmap(third, 64), -EBUSY);
    test_ok(wherry_mutex_may_unmap((char *)account + 64, 4096)); /* beside it */
    test_ok(wherry_mutex_unlock(&account->mutex));
    test_ok(wherry_mutex_unlock(third));
    test_ok(wherry_mutex_may_unmap(account, KIT_SIZE));

    test_is(wherry_rwlock_read(lock, WHERRY_NOW), 0);
    test_is(wherry_mutex_may_unmap(lock, sizeof *lock), -EBUSY);
    test_ok(wherry_mutex_may_unmap(account, 4096));
    test_ok(wherry_rwlock_unlock(lock));

    ck_assert_int_eq(pthread_create(&thread, NULL, hold_in_thread, account), 0);
    test_gate_wait(&ready);
    test_is(wherry_mutex_may_unmap(account, KIT_SIZE), -EBUSY);
    test_ok(wherry_mutex_may_unmap((char *)account + 4096, 4096));
    test_gate_open(&go);
    pthread_join(thread, NULL);
    test_ok(wherry_mutex_may_unmap(account, KIT_SIZE));

    pid_t other = holder(); /* its own mapping keeps its mutex */
    test_ok(wherry_mutex_may_unmap(account, KIT_SIZE));
    test_kill(other);
    kit_close(&kit);
    both_gates(test_gate_fini);
}

/* ---- PID namespaces ---- */

static void elsewhere(void *argument)
{
    (void)argument;
    struct account *account = kit_again(&kit);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EXDEV);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "PID namespace"));
    test_is(wherry_mutex_unlock(&account->mutex), -EXDEV);
    test_is(wherry_mutex_consistent(&account->mutex), -EXDEV);
    test_is(wherry_mutex_fini(&account->mutex), -EXDEV);
    struct wherry_mutex *own = (struct wherry_mutex *)((char *)account + 4096);
    test_ok(wherry_mutex_init(own));
    test_is(wherry_mutex_lock(own, WHERRY_NOW), 0);
    test_ok(wherry_mutex_unlock(own));
}

TEST(h72_a_mutex_of_another_pid_namespace_is_refused)
{
    test_needs(TEST_CLONE_NEWPID);
    if (!test_is_root())
        test_skip("a PID namespace needs CAP_SYS_ADMIN");
    struct account *account = open_account();
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW),
            0); /* this process knows its own by now: a child asks anew */
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_elsewhere(elsewhere);
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), 0);
    test_ok(wherry_mutex_unlock(&account->mutex));
    kit_close(&kit);
}

static int no_proc(int directory, const char *path, struct stat *status, int flags)
{
    (void)directory, (void)path, (void)status, (void)flags;
    errno = ENOENT;
    return -1;
}

TEST(without_proc_it_says_so)
{
    struct account *account = kit_open(&kit);
    struct wherry__sys real = wherry__sys;
    wherry__sys.fstatat = no_proc;
    test_is(wherry_mutex_init(&account->mutex), -ENOENT);
    wherry__sys = real;
    ck_assert_ptr_nonnull(strstr(wherry_why(), "is /proc mounted?"));
    test_is(wherry_mutex_lock(&account->mutex, WHERRY_NOW), -EINVAL);
    kit_close(&kit);
}
