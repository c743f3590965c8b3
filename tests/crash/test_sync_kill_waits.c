/* tests/crash/test_sync_kill_waits.c - owns the proof that condition, barrier and event survive a death at any
 * instruction of their calls.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/sync_sweep.h"

/* ---- the condition ---- */

static void wait_for_signal(struct world *world)
{
    if (wherry_mutex_lock(&world->mutex, test_deadline()) < 0)
        return;
    wherry_condition_wait(&world->condition, &world->mutex, wherry_after(SHORT));
    wherry_mutex_unlock(&world->mutex);
}

static void lock_for(struct world *world)
{
    int result = wherry_mutex_lock(&world->mutex, test_deadline());
    sure(result == 0 || result == -EOWNERDEAD);
    if (result == -EOWNERDEAD)
        sure_ok(wherry_mutex_consistent(&world->mutex));
}

/* Waits for an item, and takes it. */
static void await_item(void *argument)
{
    struct world *world = argument;
    lock_for(world);
    world->partner_there = true;
    while (world->items == 0) {
        int result = wherry_condition_wait(&world->condition, &world->mutex, test_deadline());
        sure(result == 0 || result == -EOWNERDEAD);
        if (result == -EOWNERDEAD)
            sure_ok(wherry_mutex_consistent(&world->mutex));
    }
    world->items--;
    world->taken++;
    sure_ok(wherry_mutex_unlock(&world->mutex));
}

static void give_item(struct world *world)
{
    lock_for(world);
    world->items = 1;
    sure_ok(wherry_condition_signal(&world->condition));
    sure_ok(wherry_mutex_unlock(&world->mutex));
}

static void check_waiters(struct world *world, uint32_t word)
{
    (void)word;
    give_item(world); /* the partner takes it, or its wait fails by its deadline */
}

/* Signals all the time; then there is an item. */
static void signal_often(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    while (!world->stop) {
        test_sleep(200 * WHERRY_MICROSECOND);
        sure_ok(wherry_condition_signal(&world->condition));
    }
}

static void check_condition(struct world *world, uint32_t word)
{
    (void)word;
    pid_t other = test_fork(await_item, world);
    give_item(world);
    test_join(other);
    ck_assert_int_eq(world->taken, 1);
}

static void give(struct world *world)
{
    if (wherry_mutex_lock(&world->mutex, test_deadline()) < 0)
        return;
    world->items = 1;
    wherry_condition_signal(&world->condition);
    wherry_mutex_unlock(&world->mutex);
}

static void give_then_signal(struct world *world)
{
    if (wherry_mutex_lock(&world->mutex, test_deadline()) < 0)
        return;
    world->items = 1;
    wherry_mutex_unlock(&world->mutex);
    wherry_condition_broadcast(&world->condition);
}

/* If the signal was given, or the mutex was held, the waiter is told without anybody's help. */
static void check_signal(struct world *world, uint32_t word)
{
    bool told = world->condition.memory[1] != 0 || (word & FUTEX_TID_MASK) == (uint32_t)victim_pid;
    if (!told || world->items + world->taken == 0)
        give_item(world);
}

/* ---- the barrier: two parties ---- */

#define MEETINGS(world_) ((world_)->barrier.memory[1] & ((UINT64_C(1) << 48) - 1))

static void come(struct world *world)
{
    wherry_barrier_wait(&world->barrier, wherry_after(SHORT));
}

static void come_and_wait(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    sure_ok(wherry_barrier_wait(&world->barrier, test_deadline()));
}

static void check_barrier(struct world *world, uint32_t word)
{
    (void)word;
    uint64_t before = MEETINGS(world);
    int result = wherry_barrier_wait(&world->barrier, WHERRY_NOW); /* passes, if the dead one had come */
    ck_assert(result == 1 || result == -EAGAIN);
    ck_assert_uint_eq(MEETINGS(world), before + (result == 1));
    pid_t other = test_fork(come_and_wait, world);
    test_ok(wherry_barrier_wait(&world->barrier, test_deadline()));
    test_join(other);
    ck_assert_uint_eq(MEETINGS(world), before + (result == 1) + 1);
}

static void check_last(struct world *world, uint32_t word)
{
    (void)word;
    if (MEETINGS(world) == 0) /* the victim had not come; else the partner passes by itself */
        test_is(wherry_barrier_wait(&world->barrier, test_deadline()), 1);
}

/* ---- the event ---- */

static void set(struct world *world)
{
    wherry_event_set(&world->event);
}

static void wait_for_event(struct world *world)
{
    wherry_event_wait(&world->event, wherry_after(SHORT));
}

static void clear(struct world *world)
{
    wherry_event_clear(&world->event);
}

static void set_before(struct world *world)
{
    test_ok(wherry_event_set(&world->event));
}

static void await_event(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    sure_is(wherry_event_wait(&world->event, test_deadline()), 0);
}

static void set_often(void *argument)
{
    struct world *world = argument;
    world->partner_there = true;
    while (!world->stop) {
        test_sleep(200 * WHERRY_MICROSECOND);
        sure_ok(wherry_event_set(&world->event));
    }
}

static void check_set(struct world *world, uint32_t word)
{
    (void)word;
    if (world->event.memory[1] == 0) /* never set; else the partner passes by itself */
        test_ok(wherry_event_set(&world->event));
}

static void check_event(struct world *world, uint32_t word)
{
    (void)word;
    int result = wherry_event_wait(&world->event, WHERRY_NOW);
    ck_assert(result == 0 || result == -EAGAIN);
    pid_t other = test_fork(await_event, world);
    test_ok(wherry_event_set(&world->event));
    test_join(other);
}

/* The partner waits, and the victim may have been woken in its place. */
static void check_other_waiter(struct world *world, uint32_t word)
{
    (void)word;
    test_ok(wherry_event_set(&world->event));
}

/* ---- the sweep ---- */

static const struct scene scenes[] = {
    {.name = "condition_wait", .victim = wait_for_signal, .check = check_condition},
    {.name = "condition_woken", .victim = wait_for_signal, .partner = signal_often, .check = check_condition},
    {.name = "condition_two_wait",
     .victim = wait_for_signal,
     .partner = await_item,
     .partner_sleeps = true,
     .check = check_waiters},
    {.name = "condition_signal", .victim = give, .partner = await_item, .partner_sleeps = true, .check = check_signal},
    {.name = "condition_broadcast",
     .victim = give_then_signal,
     .partner = await_item,
     .partner_sleeps = true,
     .check = check_signal},
    {.name = "barrier", .victim = come, .check = check_barrier},
    {.name = "barrier_last", .victim = come, .partner = come_and_wait, .partner_sleeps = true, .check = check_last},
    {.name = "event_set", .victim = set, .partner = await_event, .partner_sleeps = true, .check = check_set},
    {.name = "event_taken", .victim = wait_for_event, .prepare = set_before, .check = check_event},
    {.name = "event_wait", .victim = wait_for_event, .check = check_event},
    {.name = "event_woken", .victim = wait_for_event, .partner = set_often, .check = check_event},
    {.name = "event_two_wait",
     .victim = wait_for_event,
     .partner = await_event,
     .partner_sleeps = true,
     .check = check_other_waiter},
    {.name = "event_clear", .victim = clear, .prepare = set_before, .check = check_event},
};

TEST_WITH(dead_at_every_instruction, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 1800)
{
    sweep(&scenes[index]);
}
