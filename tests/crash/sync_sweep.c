/* tests/crash/sync_sweep.c - owns the sweep over the instructions of a call on a sync object.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/sync_sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stepkill/step.h"

enum {
    ALL = TEST_SANITIZED ? 25 : 1500,
    SOME = TEST_SANITIZED ? 25 : 400
}; /* points: at all of so many; else at some */

void not_so(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s; %s\n", file, line, what, wherry_why());
    _exit(1);
}

pid_t victim_pid;
static const struct scene *scene;
static struct world *world;

static __attribute__((noinline)) void act(void)
{
    scene->victim(world);
    __asm__ volatile("" ::: "memory"); /* no tail call: its return is the end of the scene */
}

static void victim(void *argument)
{
    (void)argument;
    act();
}

static pid_t set_up(void)
{
    memset(world, 0, sizeof *world);
    test_ok(wherry_mutex_init(&world->mutex));
    test_ok(wherry_condition_init(&world->condition));
    test_ok(wherry_barrier_init(&world->barrier, 2));
    test_ok(wherry_event_init(&world->event, WHERRY_EVENT_AUTOMATIC));
    test_ok(wherry_rwlock_init(&world->lock));
    if (scene->prepare)
        scene->prepare(world);
    if (!scene->partner)
        return 0;
    pid_t partner = test_fork(scene->partner, world);
    test_until(world->partner_there, "the partner does not come");
    if (scene->partner_sleeps)
        test_until_asleep(partner);
    return partner;
}

/* Die after `steps`; false: the scene was over before. */
static bool die_at(uint64_t steps)
{
    struct step step;
    pid_t partner = set_up();
    test_ok(step_fork(&step, victim, NULL));
    victim_pid = step.pid;
    ck_assert_int_eq(step_enter(&step, step_address(act), 1), STEP_THERE);
    int result = step_advance(&step, steps);
    uint32_t word = wherry__lock_word(&((struct wherry__mutex_memory *)&world->mutex)->lock);
    if (result == STEP_THERE)
        test_ok(step_kill(&step, SIGKILL));
    step_end(&step);
    if (result == STEP_THERE)
        scene->check(world, word);
    else
        word = 0;
    world->stop = true;
    if (partner && result == STEP_THERE)
        test_join(partner);
    else if (partner)
        test_kill(partner);
    return result == STEP_THERE;
}

/* In how many instructions does it return? */
static uint64_t one_length(void)
{
    struct step step;
    pid_t partner = set_up();
    test_ok(step_fork(&step, victim, NULL));
    ck_assert_int_eq(step_enter(&step, step_address(act), 1), STEP_THERE);
    ck_assert_int_eq(step_until_return(&step), STEP_RETURNED);
    uint64_t steps = step.steps;
    step_end(&step);
    world->stop = true;
    if (partner)
        test_kill(partner);
    return steps;
}

/* Beside others now in more, now in fewer. */
static uint64_t length(void)
{
    uint64_t shortest = one_length();
    for (int i = 0; i < 4; i++) {
        uint64_t steps = one_length();
        if (steps < shortest)
            shortest = steps;
    }
    return shortest;
}

void sweep(const struct scene *wanted_scene)
{
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    scene = wanted_scene;
    world = test_shared(sizeof *world);
    wherry_time began = wherry_now();
    uint64_t steps = length(), stride = steps <= ALL ? 1 : steps / SOME + 1, kills = 0, over = 0;
    if (wanted && strcmp(wanted, "all") == 0)
        stride = 1;
    for (uint64_t at = 0; over < 30; at += stride) /* beside others it is over sooner or later */
        if (die_at(at))
            kills++;
        else
            over++;
    printf("# %s: %llu instructions or more, %llu deaths, %lld ms\n", scene->name, (unsigned long long)steps,
           (unsigned long long)kills, (long long)((wherry_now() - began) / WHERRY_MILLISECOND));
    fflush(stdout);
    ck_assert_uint_ge(kills, TEST_SANITIZED ? 5 : 20);
    munmap(world, sizeof *world);
}
