/* tests/crash/test_sync_random.c - owns the proof that a crowd under locks in shared memory goes on, whoever is killed
 * when.
 *
 * SPDX-License-Identifier: MIT
 *
 * Processes use everything at once, and are killed and started again at random moments.  No call outlasts its
 * deadline, and what a lock protects is never half changed without -EOWNERDEAD. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

enum { CROWD = 5, ROOM = 8 };

struct world {
    struct wherry_mutex mutex;
    struct wherry_condition changed;
    struct wherry_event event;
    struct wherry_rwlock lock;
    struct wherry_barrier barrier;
    volatile long a, b; /* under the mutex */
    volatile long c, d; /* under the lock */
    volatile int items; /* under the mutex */
    _Atomic bool stop;
    _Atomic long rounds, repairs, rewrites, meetings, events;
    _Atomic int complaints;
    char complaint[300];
};

static struct world *world;

static void complain(const char *what, int result)
{
    if (atomic_fetch_add(&world->complaints, 1) == 0)
        snprintf(world->complaint, sizeof world->complaint, "%s: %d, %s", what, result, result < 0 ? wherry_why() : "");
    world->stop = true;
}

/* With the mutex, after whatever call took it; false: without. */
static bool have(int result, const char *what)
{
    if (result == -EOWNERDEAD) {
        world->repairs++;
        world->b = world->a;
        if (world->items < 0 || world->items > ROOM)
            world->items = 0;
        result = wherry_mutex_consistent(&world->mutex);
    } else if (result == 0 && world->a != world->b) {
        complain("half changed, and nobody said so", 0);
    }
    if (result < 0)
        complain(what, result);
    return result == 0;
}

/* So that many die here. */
static void linger(void)
{
    for (volatile int i = 0; i < 3000; i++)
        ;
}

static void change_one(void)
{
    if (!have(wherry_mutex_lock(&world->mutex, test_deadline()), "lock"))
        return;
    world->a++;
    linger();
    world->b++;
    wherry_mutex_unlock(&world->mutex);
}

static void exchange(bool gives)
{
    if (!have(wherry_mutex_lock(&world->mutex, test_deadline()), "lock"))
        return;
    wherry_time deadline = wherry_after(2 * WHERRY_MILLISECOND); /* the other kind may be dead just now */
    while (!world->stop && (gives ? world->items >= ROOM : world->items == 0)) {
        int result = wherry_condition_wait(&world->changed, &world->mutex, deadline);
        if (result == -ENOLCK)
            return;
        if (result == -ETIMEDOUT || result == -EAGAIN)
            break;
        if (!have(result, "wait"))
            return;
    }
    if (gives && world->items < ROOM)
        world->items++;
    else if (!gives && world->items > 0)
        world->items--;
    wherry_condition_signal(&world->changed);
    wherry_mutex_unlock(&world->mutex);
}

static void write_one(void)
{
    int result = wherry_rwlock_write(&world->lock, test_deadline());
    if (result == -EOWNERDEAD) {
        world->rewrites++;
        world->d = world->c;
        result = wherry_rwlock_consistent(&world->lock);
    } else if (result == 0 && world->c != world->d) {
        complain("half written, and nobody said so", 0);
    }
    if (result < 0) {
        complain("write", result);
        return;
    }
    world->c++;
    linger();
    world->d++;
    wherry_rwlock_unlock(&world->lock);
}

static void read_one(void)
{
    int result = wherry_rwlock_read(&world->lock, test_deadline());
    if (result == -EOWNERDEAD) {
        write_one();
        return;
    }
    if (result < 0)
        complain("read", result);
    else if (world->c != world->d)
        complain("half written, and a reader was let in", 0);
    if (result == 0)
        wherry_rwlock_unlock(&world->lock);
}

static void tell_and_meet(uint32_t random)
{
    wherry_time soon = wherry_after((random & 1023) * WHERRY_MICROSECOND);
    int result = random & 1024 ? wherry_event_set(&world->event) : wherry_event_wait(&world->event, soon);
    if (result < 0 && result != -ETIMEDOUT && result != -EAGAIN)
        complain("event", result);
    world->events += result == 0 && !(random & 1024);
    result = wherry_barrier_wait(&world->barrier, soon);
    if (result < 0 && result != -ETIMEDOUT && result != -EAGAIN)
        complain("barrier", result);
    world->meetings += result == 1;
}

static void live(uint32_t random)
{
    while (!world->stop) {
        random = random * 1664525 + 1013904223;
        switch (random >> 29) {
        case 0:
        case 1:
            change_one();
            break;
        case 2:
        case 3:
            exchange(random & 4096);
            break;
        case 4:
            write_one();
            break;
        case 5:
        case 6:
            read_one();
            break;
        default:
            tell_and_meet(random >> 8);
        }
        world->rounds++;
    }
}

static pid_t start(uint32_t random)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        live(random);
        _exit(0);
    }
    return child;
}

TEST_WITH(a_crowd_goes_on_whoever_is_killed, .seconds = 300)
{
    const char *wanted = getenv("WHERRY_KILLS"), *seed = getenv("WHERRY_SEED");
    unsigned kills = wanted ? (unsigned)strtoul(wanted, NULL, 10) : TEST_SANITIZED ? 300 : 3000;
    uint32_t random = seed ? (uint32_t)strtoul(seed, NULL, 10) : 1;
    pid_t crowd[CROWD];
    world = test_shared(sizeof *world);
    test_ok(wherry_mutex_init(&world->mutex));
    test_ok(wherry_condition_init(&world->changed));
    test_ok(wherry_event_init(&world->event, WHERRY_EVENT_AUTOMATIC));
    test_ok(wherry_rwlock_init(&world->lock));
    test_ok(wherry_barrier_init(&world->barrier, 2));
    for (uint32_t i = 0; i < CROWD; i++)
        crowd[i] = start(random + i);
    for (unsigned i = 0; i < kills && !world->complaints; i++) {
        random = random * 1664525 + 1013904223;
        test_sleep((random >> 8) % 3000 * WHERRY_MICROSECOND);
        pid_t *chosen = &crowd[(random >> 24) % CROWD];
        test_kill(*chosen);
        *chosen = start(random);
    }
    world->stop = true;
    wherry_time deadline = wherry_after(20 * WHERRY_SECOND);
    for (int i = 0; i < CROWD; i++)
        test_join_by(crowd[i], deadline);
    printf("# %u kills, %ld rounds, %ld repairs, %ld rewrites, %ld meetings, %ld events\n", kills, world->rounds,
           world->repairs, world->rewrites, world->meetings, world->events);
    fflush(stdout);
    ck_assert_msg(world->complaints == 0, "%d complaints: %s", world->complaints, world->complaint);
    change_one();
    write_one();
    ck_assert_msg(world->complaints == 0, "afterwards: %s", world->complaint);
    ck_assert_int_gt(world->repairs + world->rewrites, 0);
    test_ok(wherry_mutex_fini(&world->mutex));
    test_ok(wherry_rwlock_fini(&world->lock));
    munmap(world, sizeof *world);
}
