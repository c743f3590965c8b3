/* tests/unit/test_semaphore_set.c - owns the tests of src/sync/semaphore_set*.c: System V sets.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/time.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "unit/objects.h"

static const char *name(void)
{
    return sysv_name("sysv-sem");
}

static const uint16_t first[3] = {2, 0, 5};

static int try_create(unsigned count, const uint16_t *values, wherry_time deadline,
                      struct wherry_semaphore_set **ret_set)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    options.create = true;
    options.values = values;
    return wherry_semaphore_set_open(name(), count, &options, deadline, ret_set);
}

static struct wherry_semaphore_set *create(void)
{
    struct wherry_semaphore_set *set = NULL;
    test_ok(try_create(3, first, test_deadline(), &set));
    return set;
}

static void expect_values(const struct wherry_semaphore_set *set, unsigned a, unsigned b, unsigned c)
{
    uint16_t values[3];
    test_ok(wherry_semaphore_set_values(set, values, 3));
    ck_assert_msg(values[0] == a && values[1] == b && values[2] == c, "%u %u %u instead of %u %u %u", values[0],
                  values[1], values[2], a, b, c);
}

static void expect_open(const char *object, unsigned count, const struct wherry_semaphore_set_options *options,
                        int result, const char *words)
{
    struct wherry_semaphore_set *set = NULL;
    test_is(wherry_semaphore_set_open(object, count, options, WHERRY_NOW, &set), result);
    ck_assert_ptr_null(set);
    says(words);
}

static int operate(struct wherry_semaphore_set *set, unsigned index, int change, int flags, wherry_time deadline)
{
    struct wherry_semaphore_operation one = {(uint16_t)index, (int16_t)change, (int16_t)flags};
    return wherry_semaphore_set_operate(set, &one, 1, deadline);
}

static void finish(struct wherry_semaphore_set *set)
{
    wherry_semaphore_set_close(set);
    test_ok(wherry_semaphore_set_remove(name()));
}

/* ---- operations ---- */

TEST(several_at_once_all_or_none)
{
    struct wherry_semaphore_set *set = create();
    struct wherry_semaphore_operation both[] = {{0, -1, 0}, {2, -5, 0}};
    ck_assert_uint_eq(wherry_semaphore_set_count(set), 3);
    expect_values(set, 2, 0, 5);
    test_ok(wherry_semaphore_set_operate(set, both, 2, WHERRY_NOW));
    expect_values(set, 1, 0, 0);
    test_is(wherry_semaphore_set_operate(set, both, 2, WHERRY_NOW), -EAGAIN);
    wherry_time before = wherry_now();
    test_is(wherry_semaphore_set_operate(set, both, 2, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now() - before, 20 * WHERRY_MILLISECOND);
    expect_values(set, 1, 0, 0);
    finish(set);
}

TEST(waiting_for_zero)
{
    struct wherry_semaphore_set *set = create();
    test_ok(operate(set, 1, 0, 0, WHERRY_NOW));
    test_is(operate(set, 0, 0, 0, WHERRY_NOW), -EAGAIN);
    test_ok(operate(set, 0, -2, 0, WHERRY_NOW));
    test_ok(operate(set, 0, 0, 0, WHERRY_FOREVER));
    finish(set);
}

TEST(what_cannot_be_operated)
{
    struct wherry_semaphore_set *set = create();
    struct wherry_semaphore_operation *many = calloc(600, sizeof *many);
    uint16_t values[3] = {1, 2, 40000};
    test_is(wherry_semaphore_set_operate(set, many, 0, WHERRY_NOW), -EINVAL);
    test_is(wherry_semaphore_set_operate(set, many, 600, WHERRY_NOW), -E2BIG);
    test_is(wherry_semaphore_set_operate(set, many, SIZE_MAX, WHERRY_NOW), -E2BIG);
    many[0].index = 1;
    test_ok(wherry_semaphore_set_operate(set, many, 1, WHERRY_NOW));
    for (int i = 0; i < 100; i++)
        many[i] = (struct wherry_semaphore_operation){1, 1, 0};
    test_ok(wherry_semaphore_set_operate(set, many, 100, WHERRY_NOW));
    expect_values(set, 2, 100, 5);
    test_is(operate(set, 3, 1, 0, WHERRY_NOW), -EFBIG);
    says("from 0 to 2");
    test_is(operate(set, 0, 32767, 0, WHERRY_NOW), -ERANGE);
    test_is(operate(set, 0, 1, IPC_NOWAIT, WHERRY_FOREVER), -EINVAL);
    test_is(wherry_semaphore_set_values(set, values, 2), -EINVAL);
    test_is(wherry_semaphore_set_assign(set, values, 3), -ERANGE);
    values[2] = 3;
    test_ok(wherry_semaphore_set_assign(set, values, 3));
    expect_values(set, 1, 2, 3);
    free(many);
    finish(set);
}

static void on_alarm(int number)
{
    (void)number;
}

TEST(a_signal_does_not_end_the_wait)
{
    struct wherry_semaphore_set *set = create();
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_alarm}, before;
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    wherry_time start = wherry_now();
    test_is(operate(set, 1, -1, 0, wherry_after(50 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    wherry_time took = wherry_now() - start;
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    ck_assert_int_ge(took, 50 * WHERRY_MILLISECOND);
    ck_assert_int_lt(took, 12 * WHERRY_SECOND);
    finish(set);
}

/* ---- undo ---- */

struct holder {
    struct test_gate *gate;
    int change;
};

static void take_with_undo(void *argument)
{
    struct holder *holder = argument;
    struct wherry_semaphore_set *set = create();
    test_ok(operate(set, 2, holder->change, WHERRY_UNDO, WHERRY_NOW));
    test_gate_open(holder->gate);
    wait_for_the_end();
    wherry_semaphore_set_close(set);
}

TEST(what_a_killed_process_took_is_given_back)
{
    struct test_gate gate;
    struct holder holder = {&gate, -5};
    struct wherry_semaphore_set *set = create();
    test_gate_init(&gate);
    pid_t child = test_fork(take_with_undo, &holder);
    test_gate_wait(&gate);
    expect_values(set, 2, 0, 0);
    test_kill(child);
    test_ok(operate(set, 2, -5, 0, test_deadline()));
    finish(set);
    test_gate_fini(&gate);
}

TEST(h32_undo_stops_at_zero_without_a_word)
{
    struct test_gate gate;
    struct holder holder = {&gate, 4};
    struct wherry_semaphore_set *set = create();
    test_gate_init(&gate);
    pid_t child = test_fork(take_with_undo, &holder);
    test_gate_wait(&gate);
    test_ok(operate(set, 2, -8, 0, WHERRY_NOW)); /* of 9 */
    test_kill(child);
    expect_values(set, 2, 0, 0); /* and not -3: as the manual page says */
    finish(set);
    test_gate_fini(&gate);
}

/* ---- removal ---- */

static void wait_until_removed(void *argument)
{
    (void)argument;
    struct wherry_semaphore_set *set = create();
    test_is(operate(set, 1, -1, 0, test_deadline()), -EIDRM);
    says("was removed");
    test_is(operate(set, 1, -1, 0, WHERRY_NOW), -EIDRM);
    wherry_semaphore_set_close(set);
}

TEST(h42_removed_under_a_waiter_it_says_so)
{
    struct wherry_semaphore_set *set = create();
    struct wherry_semaphore_stat stat = {.value = 0};
    pid_t child = test_fork(wait_until_removed, NULL);
    while (stat.waiting_more == 0)
        test_ok(wherry_semaphore_set_stat_one(set, 1, &stat, sizeof stat));
    test_ok(wherry_semaphore_set_remove(name()));
    test_join(child);
    test_is(wherry_semaphore_set_stat_one(set, 1, &stat, sizeof stat), -EIDRM);
    test_is(wherry_semaphore_set_remove(name()), -ENOENT);
    wherry_semaphore_set_close(set);
    wherry_semaphore_set_close(NULL);
}

/* ---- opening ---- */

TEST(a_new_set_has_been_operated_on)
{
    struct wherry_semaphore_set *set = create(), *other;
    struct wherry_semaphore_set_stat stat;
    test_ok(wherry_semaphore_set_stat(name(), &stat, sizeof stat));
    ck_assert(stat.published && stat.operated_at > 0 && stat.count == 3 && stat.key == test_key(0));
    ck_assert_uint_eq(stat.mode, 0600);
    test_ok(wherry_semaphore_set_open(name(), 0, NULL, WHERRY_NOW, &other));
    ck_assert_uint_eq(wherry_semaphore_set_count(other), 3);
    wherry_semaphore_set_close(other);
    expect_open(name(), 4, NULL, -EINVAL, "has 3 semaphores, and 4 were expected");
    wherry_semaphore_set_close(set);
    test_ok(wherry_semaphore_set_remove(name()));
    test_ok(try_create(2, NULL, WHERRY_NOW, &set)); /* all zeros: an operation all the same */
    test_ok(wherry_semaphore_set_stat(name(), &stat, sizeof stat));
    ck_assert(stat.operated_at > 0);
    finish(set);
}

TEST(a_set_of_many)
{
    uint16_t values[1000], found[1000];
    struct wherry_semaphore_set *set;
    struct wherry_semaphore_set_stat stat;
    for (unsigned start = 0; start < 2; start++) {
        for (unsigned i = 0; i < 1000; i++)
            values[i] = (uint16_t)((i + start) * 32 % 32768);
        test_ok(try_create(1000, values, WHERRY_NOW, &set));
        test_ok(wherry_semaphore_set_values(set, found, 1000));
        ck_assert_mem_eq(values, found, sizeof values);
        test_ok(wherry_semaphore_set_stat(name(), &stat, sizeof stat));
        ck_assert(stat.operated_at > 0);
        finish(set);
    }
}

TEST(what_cannot_be_opened)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set;
    uint16_t values[1] = {40000};
    expect_open(name(), 0, NULL, -EAGAIN, "there is none");
    expect_open("sysv-sem:#123456", 0, NULL, -ENOENT, "there is none");
    expect_open("posix-sem:/x", 0, NULL, -EINVAL, "sysv-sem:");
    options.values = values;
    expect_open(name(), 1, &options, -EINVAL, "for who creates");
    options.create = true;
    expect_open(name(), 1, &options, -EINVAL, "counts to 32767");
    options.values = NULL;
    expect_open(name(), 0, &options, -EINVAL, "0 semaphores cannot be");
    expect_open("sysv-sem:#3", 1, &options, -EINVAL, "gives out the numbers");
    options.mode = 0601;
    expect_open(name(), 1, &options, -EINVAL, "0666");
    options.mode = 0;
    expect_open(name(), 32001, &options, -EINVAL, "kernel.sem");
    set = create();
    options.exclusive = true;
    expect_open(name(), 3, &options, -EEXIST, "there is one");
    expect_open(name(), 2, &options, -EEXIST, "there is one");
    finish(set);
}

TEST(another_programs_set_may_not_be_ready)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set = NULL;
    struct sembuf one = {.sem_op = 1};
    char by_id[40];
    int id = semget(test_key(0), 2, IPC_CREAT | IPC_EXCL | 0777);
    ck_assert_int_ge(id, 0);
    expect_open(name(), 0, NULL, -EAGAIN, "nobody has operated on it");
    test_is(try_create(2, NULL, wherry_after(WHERRY_MILLISECOND), &set), -ETIMEDOUT); /* nor is it taken over */
    snprintf(by_id, sizeof by_id, "sysv-sem:#%d", id);
    test_ok(wherry_semaphore_set_open(by_id, 2, NULL, WHERRY_NOW, &set));
    wherry_semaphore_set_close(set);
    options.as_found = true;
    test_ok(wherry_semaphore_set_open(name(), 2, &options, WHERRY_NOW, &set));
    wherry_semaphore_set_close(set);
    ck_assert_int_eq(semop(id, &one, 1), 0);
    test_ok(wherry_semaphore_set_open(name(), 2, NULL, WHERRY_NOW, &set));
    finish(set);
}

static void make_as_nobody(void *argument)
{
    (void)argument;
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set;
    ck_assert(test_become_nobody());
    options.create = true;
    options.mode = 0666;
    test_ok(wherry_semaphore_set_open(name(), 1, &options, WHERRY_NOW, &set));
    test_ok(operate(set, 0, 1, 0, WHERRY_NOW));
    wherry_semaphore_set_close(set);
}

TEST(h11_another_users_set_is_refused)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set;
    if (!test_is_root())
        test_skip("needs root, to be another user as well");
    test_join(test_fork(make_as_nobody, NULL));
    expect_open(name(), 0, NULL, -EPERM, "uid 65534");
    options.any_owner = true;
    test_ok(wherry_semaphore_set_open(name(), 0, &options, WHERRY_NOW, &set));
    finish(set);
}

TEST(h16_two_files_of_one_key_are_told_apart)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set;
    char one[400], two[400], path[300];
    two_files_of_one_key("one", "two");
    snprintf(one, sizeof one, "sysv-sem:%s?id=7", test_path(path, "one"));
    snprintf(two, sizeof two, "sysv-sem:%s?id=7", test_path(path, "two"));
    options.create = true;
    test_ok(wherry_semaphore_set_open(one, 1, &options, WHERRY_NOW, &set));
    wherry_semaphore_set_close(set);
    expect_open(two, 1, &options, -EADDRINUSE, one);
    test_ok(wherry_semaphore_set_open(one, 1, NULL, WHERRY_NOW, &set));
    wherry_semaphore_set_close(set);
    test_ok(wherry_semaphore_set_remove(one));
    unlink(test_path(path, "one"));
    unlink(test_path(path, "two"));
}

/* ---- H31: makers ---- */

enum { AT_SEMGET, AT_OPERATION, AT_PUBLISHING };
struct maker {
    int where;
    struct test_gate *gate;
};
static struct maker *maker;
static struct wherry__sys real;

static void stop_here(void)
{
    test_gate_open(maker->gate);
    wait_for_the_end();
}

static int stopping_semget(key_t key, int count, int flags)
{
    if (flags & IPC_CREAT)
        stop_here();
    return real.semget(key, count, flags);
}

static int stopping_semop(int id, struct sembuf *operations, size_t count)
{
    stop_here();
    return real.semop(id, operations, count);
}

static int stopping_semctl(int id, int number, int command, union wherry__semun argument)
{
    if (command == IPC_SET)
        stop_here();
    return real.semctl(id, number, command, argument);
}

static void make_and_stop(void *argument)
{
    maker = argument;
    real = wherry__sys;
    if (maker->where == AT_SEMGET)
        wherry__sys.semget = stopping_semget;
    else if (maker->where == AT_OPERATION)
        wherry__sys.semop = stopping_semop;
    else
        wherry__sys.semctl = stopping_semctl;
    create();
}

static const struct {
    const char *name;
    int where;
} places[] = {{"at_semget", AT_SEMGET}, {"at_operation", AT_OPERATION}, {"at_publishing", AT_PUBLISHING}};

TEST_TABLE(h31_what_a_dead_maker_left_is_made_anew, places)
{
    struct test_gate gate;
    struct maker victim = {places[index].where, &gate};
    struct wherry_semaphore_set *set = NULL;
    uint16_t values[3] = {7, 8, 9};
    test_gate_init(&gate);
    pid_t child = test_fork(make_and_stop, &victim);
    test_gate_wait(&gate);
    kill(child, SIGSTOP); /* alive: nobody takes over */
    waitpid(child, NULL, WUNTRACED);
    test_is(try_create(3, values, wherry_after(30 * WHERRY_MILLISECOND), &set), -ETIMEDOUT);
    test_is(wherry_semaphore_set_open(name(), 3, NULL, WHERRY_NOW, &set), -EAGAIN);
    test_kill(child);
    if (victim.where == AT_PUBLISHING) { /* initialised: whoever comes may use it */
        test_ok(wherry_semaphore_set_open(name(), 3, NULL, WHERRY_NOW, &set));
        expect_values(set, 2, 0, 5);
    } else {
        test_is(wherry_semaphore_set_open(name(), 3, NULL, WHERRY_NOW, &set), -EAGAIN);
        test_ok(try_create(3, values, test_deadline(), &set));
        expect_values(set, 7, 8, 9);
    }
    struct wherry_semaphore_set_stat stat;
    test_ok(wherry_semaphore_set_stat(name(), &stat, sizeof stat));
    ck_assert(stat.published && stat.operated_at > 0 && stat.mode == 0600);
    finish(set);
    test_gate_fini(&gate);
}

static void create_and_take(void *gate)
{
    uint16_t values[3] = {8, 0, 0};
    struct wherry_semaphore_set *set;
    test_gate_wait(gate);
    test_ok(try_create(3, values, test_deadline(), &set));
    test_ok(operate(set, 0, -1, 0, WHERRY_NOW)); /* initialised, and once: there is one for each */
    wherry_semaphore_set_close(set);
}

TEST(h31_eight_that_start_at_once_have_one_and_it_is_ready)
{
    struct test_gate gate;
    test_gate_init(&gate);
    for (int round = 0; round < 30; round++) {
        pid_t children[8];
        for (int i = 0; i < 8; i++)
            children[i] = test_fork(create_and_take, &gate);
        for (int i = 0; i < 8; i++)
            test_gate_open(&gate);
        for (int i = 0; i < 8; i++)
            test_join(children[i]);
        struct wherry_semaphore_set *set = create();
        expect_values(set, 0, 0, 0);
        finish(set);
    }
    test_gate_fini(&gate);
}
