/* tests/crash/test_sync_kill.c - owns the proof that mutex and rwlock survive a death at any instruction of their
 * calls.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/sync_sweep.h"

/* ---- the mutex ---- */

static void change(struct world *world)
{
    world->a++;
    __asm__ volatile("" ::: "memory");
    world->b++;
}

static void use_mutex(struct world *world)
{
    int result = wherry_mutex_lock(&world->mutex, test_deadline());
    if (result == -EOWNERDEAD) {
        world->b = world->a;
        wherry_mutex_consistent(&world->mutex);
    } else if (result < 0) {
        return;
    }
    change(world);
    wherry_mutex_unlock(&world->mutex);
}

static void wait_for_mutex(struct world *world)
{
    wherry_mutex_lock(&world->mutex, wherry_after(SHORT));
}

/* A process that takes it now gets it; whether with -EOWNERDEAD. */
static bool take_mutex(struct world *world)
{
    int result = wherry_mutex_lock(&world->mutex, test_deadline());
    sure(result == 0 || result == -EOWNERDEAD);
    if (result == -EOWNERDEAD)
        sure_ok(wherry_mutex_consistent(&world->mutex));
    else
        sure(world->a == world->b);
    world->b = world->a;
    return result == -EOWNERDEAD;
}

static void mutex_is_well(struct world *world)
{
    test_ok(wherry_mutex_unlock(&world->mutex));
    test_is(wherry_mutex_lock(&world->mutex, test_deadline()), 0);
    test_ok(wherry_mutex_unlock(&world->mutex));
}

static void check_mutex(struct world *world, uint32_t word)
{
    bool must = word != 0; /* held by the victim, or by nobody since an earlier death */
    ck_assert_int_eq(take_mutex(world), must);
    mutex_is_well(world);
}

static void die_holding(void *argument)
{
    struct world *world = argument;
    test_is(wherry_mutex_lock(&world->mutex, test_deadline()), 0);
    world->a++;
}

static void after_a_death(struct world *world)
{
    test_join(test_fork(die_holding, world));
}

/* Takes it again and again, at the pace of one that is taken from instruction to instruction. */
static void compete(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    while (!world->stop) {
        world->deaths += take_mutex(world);
        change(world);
        test_sleep(50 * WHERRY_MICROSECOND);
        sure_ok(wherry_mutex_unlock(&world->mutex));
        test_sleep(50 * WHERRY_MICROSECOND);
    }
}

static void check_contended(struct world *world, uint32_t word)
{
    bool must = (pid_t)(word & FUTEX_TID_MASK) == victim_pid;
    world->deaths += take_mutex(world);
    test_ok(wherry_mutex_unlock(&world->mutex));
    ck_assert_int_eq(world->deaths, must);
}

static void hold_mutex(void *argument)
{
    struct world *world = argument;
    sure_is(wherry_mutex_lock(&world->mutex, test_deadline()), 0);
    world->partner_there = true;
    test_until(world->stop, "nobody tells the holder to let go");
    sure_ok(wherry_mutex_unlock(&world->mutex));
}

static void check_waiter(struct world *world, uint32_t word)
{
    ck_assert_int_ne((pid_t)(word & FUTEX_TID_MASK), victim_pid);
    test_is(wherry_mutex_lock(&world->mutex, WHERRY_NOW), -EAGAIN);
    world->stop = true;
    ck_assert(!take_mutex(world));
    mutex_is_well(world);
}

/* ---- the rwlock ---- */

#define STATE(world_) (((volatile uint32_t *)&(world_)->lock)[2])

static void read_lock(struct world *world)
{
    if (wherry_rwlock_read(&world->lock, test_deadline()) == 0)
        wherry_rwlock_unlock(&world->lock);
}

static void write_lock(struct world *world)
{
    int result = wherry_rwlock_write(&world->lock, test_deadline());
    if (result == -EOWNERDEAD) {
        world->b = world->a;
        wherry_rwlock_consistent(&world->lock);
    } else if (result < 0) {
        return;
    }
    change(world);
    wherry_rwlock_unlock(&world->lock);
}

static bool take_rwlock(struct world *world)
{
    int result = wherry_rwlock_write(&world->lock, test_deadline());
    sure(result == 0 || result == -EOWNERDEAD);
    if (result == -EOWNERDEAD)
        sure_ok(wherry_rwlock_consistent(&world->lock));
    else
        sure(world->a == world->b);
    world->b = world->a;
    return result == -EOWNERDEAD;
}

static void rwlock_is_well(struct world *world)
{
    for (int i = 0; i < 2; i++) {
        test_is(wherry_rwlock_read(&world->lock, test_deadline()), 0);
        ck_assert_int_eq(world->a, world->b);
        test_ok(wherry_rwlock_unlock(&world->lock));
        ck_assert(!take_rwlock(world));
        test_ok(wherry_rwlock_unlock(&world->lock));
    }
    test_ok(wherry_rwlock_fini(&world->lock)); /* nobody holds any part of it */
}

static void check_read(struct world *world, uint32_t word)
{
    (void)word;
    ck_assert(!take_rwlock(world));
    test_ok(wherry_rwlock_unlock(&world->lock));
    rwlock_is_well(world);
}

static void check_write(struct world *world, uint32_t word)
{
    (void)word;
    bool must = STATE(world) != 0;
    test_is(wherry_rwlock_read(&world->lock, test_deadline()), must ? -EOWNERDEAD : 0);
    if (!must)
        test_ok(wherry_rwlock_unlock(&world->lock));
    ck_assert_int_eq(take_rwlock(world), must);
    test_ok(wherry_rwlock_unlock(&world->lock));
    rwlock_is_well(world);
}

static void die_writing(void *argument)
{
    struct world *world = argument;
    test_is(wherry_rwlock_write(&world->lock, test_deadline()), 0);
    world->a++;
}

static void after_a_writer(struct world *world)
{
    test_join(test_fork(die_writing, world));
}

static void write_often(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    while (!world->stop) {
        world->deaths += take_rwlock(world);
        change(world);
        sure_ok(wherry_rwlock_unlock(&world->lock));
    }
}

static void read_often(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    while (!world->stop) {
        int result = wherry_rwlock_read(&world->lock, test_deadline());
        if (result == -EOWNERDEAD)
            continue;
        sure_is(result, 0);
        sure(world->a == world->b);
        sure_ok(wherry_rwlock_unlock(&world->lock));
    }
}

static void check_contended_read(struct world *world, uint32_t word)
{
    (void)word;
    world->stop = true;
    ck_assert(!take_rwlock(world));
    test_ok(wherry_rwlock_unlock(&world->lock));
    ck_assert_int_eq(world->deaths, 0);
}

static void check_contended_write(struct world *world, uint32_t word)
{
    (void)word;
    bool must = STATE(world) != 0; /* the partner only reads */
    ck_assert_int_eq(take_rwlock(world), must);
    world->stop = true;
    test_ok(wherry_rwlock_unlock(&world->lock));
}

/* ---- the sweep ---- */

static const struct scene scenes[] = {
    {.name = "mutex", .victim = use_mutex, .check = check_mutex},
    {.name = "mutex_repaired", .victim = use_mutex, .prepare = after_a_death, .check = check_mutex},
    {.name = "mutex_contended", .victim = use_mutex, .partner = compete, .check = check_contended},
    {.name = "mutex_waited_for", .victim = wait_for_mutex, .partner = hold_mutex, .check = check_waiter},
    {.name = "rwlock_read", .victim = read_lock, .check = check_read},
    {.name = "rwlock_write", .victim = write_lock, .check = check_write},
    {.name = "rwlock_repaired", .victim = write_lock, .prepare = after_a_writer, .check = check_write},
    {.name = "rwlock_read_contended", .victim = read_lock, .partner = write_often, .check = check_contended_read},
    {.name = "rwlock_write_contended", .victim = write_lock, .partner = read_often, .check = check_contended_write},
};

TEST_WITH(dead_at_every_instruction, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 1800)
{
    sweep(&scenes[index]);
}
