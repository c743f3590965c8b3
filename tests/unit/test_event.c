/* tests/unit/test_event.c - owns the proof that an event is seen by all, or taken by one.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <wherry/event.h>

#include "base/sys.h"
#include "sync_kit.h"

enum { TURNS = 20000 };

struct scene {
    struct wherry_event event, answer;
    long written; /* not atomic: the event orders it */
    _Atomic long taken;
    _Atomic bool over;
};

static struct kit kit;

static struct scene *open_scene(unsigned flags)
{
    struct scene *scene = kit_open(&kit);
    test_ok(wherry_event_init(&scene->event, flags));
    test_ok(wherry_event_init(&scene->answer, flags));
    return scene;
}

static pid_t waiter(void (*wait)(void *))
{
    pid_t child = test_fork(wait, NULL);
    test_until_asleep(child);
    return child;
}

static void pass(void *argument)
{
    struct scene *scene = kit_again(&kit);
    (void)argument;
    test_is(wherry_event_wait(&scene->event, test_deadline()), 0);
    ck_assert_int_eq(scene->written, 7);
    scene->taken++;
}

TEST(a_plain_event_lets_all_pass_until_it_is_cleared)
{
    struct scene *scene = open_scene(0);
    test_is(wherry_event_wait(&scene->event, WHERRY_NOW), -EAGAIN);
    pid_t first = waiter(pass), second = waiter(pass);
    scene->written = 7;
    test_ok(wherry_event_set(&scene->event));
    test_ok(wherry_event_set(&scene->event));
    test_join(first);
    test_join(second);
    test_join(test_fork(pass, NULL));
    test_is(wherry_event_wait(&scene->event, WHERRY_NOW), 0);
    test_is(wherry_event_clear(&scene->event), 1);
    test_is(wherry_event_clear(&scene->event), 0);
    test_is(wherry_event_wait(&scene->event, WHERRY_NOW), -EAGAIN);
    kit_close(&kit);
}

TEST(who_waited_when_it_was_set_passes_even_if_it_is_cleared_at_once)
{
    struct scene *scene = open_scene(0);
    pid_t first = waiter(pass), second = waiter(pass);
    kill(second, SIGSTOP);
    scene->written = 7;
    test_ok(wherry_event_set(&scene->event));
    test_is(wherry_event_clear(&scene->event), 1);
    kill(second, SIGCONT);
    test_join(first);
    test_join(second);
    test_is(wherry_event_wait(&scene->event, WHERRY_NOW), -EAGAIN);
    kit_close(&kit);
}

static void take_all(void *argument)
{
    struct scene *scene = kit_again(&kit);
    (void)argument;
    for (;;) {
        test_is(wherry_event_wait(&scene->event, test_deadline()), 0);
        if (scene->over)
            break;
        scene->taken++;
        scene->written++;
        test_ok(wherry_event_set(&scene->answer));
    }
    test_ok(wherry_event_set(&scene->event)); /* the next one */
}

TEST_WITH(h25_an_automatic_event_is_taken_by_exactly_one, .seconds = 120)
{
    struct scene *scene = open_scene(WHERRY_EVENT_AUTOMATIC);
    pid_t children[3];
    for (int i = 0; i < 3; i++)
        children[i] = test_fork(take_all, NULL);
    for (int i = 0; i < TURNS; i++) {
        ck_assert_int_eq(scene->written, i);
        test_ok(wherry_event_set(&scene->event));
        test_is(wherry_event_wait(&scene->answer, test_deadline()), 0);
    }
    ck_assert_int_eq(scene->taken, TURNS);
    ck_assert_int_eq(scene->written, TURNS);
    scene->over = true;
    test_ok(wherry_event_set(&scene->event));
    for (int i = 0; i < 3; i++)
        test_join(children[i]);
    test_is(wherry_event_wait(&scene->event, WHERRY_NOW), 0);
    test_is(wherry_event_wait(&scene->event, WHERRY_NOW), -EAGAIN);
    kit_close(&kit);
}

/* One sets it often, mostly when it is set already, while another takes it: what was written before the last set is
 * found. A set that only looked would be over before its caller's write is seen, and the taker gone.  Relaxed, and
 * without locked instructions, so that the event alone orders them. */
struct pile {
    struct wherry_event event;
    _Atomic long height __attribute__((aligned(64)));
    _Atomic long found __attribute__((aligned(64)));
    _Atomic long last __attribute__((aligned(64)));
};

enum { LAST = 300 * TURNS };

static void pile_up(void *argument)
{
    struct pile *pile = kit_again(&kit);
    (void)argument;
    wherry_time enough = wherry_after(10 * WHERRY_SECOND), deadline = 0;
    for (long i = 1; i <= pile->last; i++) {
        if (i % 4096 == 0 && wherry_now() > enough) /* the machine is busy */
            pile->last = i;
        atomic_store_explicit(&pile->height, i, memory_order_relaxed);
        test_ok(wherry_event_set(&pile->event));
        for (int turn = 1; i % 4 == 0 && atomic_load_explicit(&pile->found, memory_order_relaxed) != i; turn++)
            if (turn % 1000 == 0) {
                if (turn == 1000)
                    deadline = test_deadline();
                ck_assert_msg(wherry_now() < deadline, "what was written as number %ld is not found", i);
                sched_yield();
            }
    }
}

TEST_WITH(h23_what_was_written_before_a_set_is_found_after_a_wait, .seconds = 120)
{
    struct pile *pile = kit_open(&kit);
    test_ok(wherry_event_init(&pile->event, WHERRY_EVENT_AUTOMATIC));
    pile->last = LAST;
    pid_t other = test_fork(pile_up, NULL);
    wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    for (long height = 0; height < pile->last;) {
        int result = wherry_event_wait(&pile->event, WHERRY_NOW); /* awake, so that the two meet */
        if (result == -EAGAIN) {
            ck_assert_msg(wherry_now() < deadline, "an event is lost: number %ld is not told", height);
            continue;
        }
        test_is(result, 0);
        height = atomic_load_explicit(&pile->height, memory_order_relaxed);
        atomic_store_explicit(&pile->found, height, memory_order_relaxed);
    }
    test_join(other);
    kit_close(&kit);
}

/* ---- deaths ---- */

TEST(h24_an_event_set_for_one_that_is_killed_reaches_another)
{
    struct scene *scene = open_scene(WHERRY_EVENT_AUTOMATIC);
    pid_t first = waiter(pass), second = waiter(pass);
    kill(first, SIGSTOP); /* the first in the kernel's queue gets the wake-up */
    scene->written = 7;
    test_ok(wherry_event_set(&scene->event));
    test_kill(first);
    test_join(second);
    ck_assert_int_eq(scene->taken, 1);
    kit_close(&kit);
}

static long no_futex(const void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    (void)word, (void)operation, (void)value, (void)deadline;
    errno = ENOSYS;
    return -1;
}

TEST(h24_an_event_whose_setter_died_before_it_woke_anybody_is_seen)
{
    struct scene *scene = open_scene(0);
    pid_t child = waiter(pass);
    struct wherry__sys real = wherry__sys;
    wherry__sys.futex = no_futex;
    scene->written = 7;
    test_ok(wherry_event_set(&scene->event));
    wherry__sys = real;
    wherry_time began = wherry_now();
    test_join(child);
    ck_assert_int_lt(wherry_now() - began, test_slowness() * 10 * WHERRY_SECOND); /* 100 ms are promised */
    kit_close(&kit);
}

/* ---- waits ---- */

static struct wherry_event *to_set;
static void set_it(int signal)
{
    (void)signal;
    errno = E2BIG;
    wherry_event_set(to_set);
    if (errno != E2BIG)
        _exit(1);
}

static void ignore(int signal)
{
    (void)signal;
}

TEST_WITH(h59_deadlines_hold_signals_do_not_end_a_wait_and_a_handler_may_set, .leaves = TEST_LEAVES_SIGNALS)
{
    struct scene *scene = open_scene(0);
    struct sigaction action = {.sa_handler = ignore};
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}}, once = {{0, 0}, {0, 50000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    wherry_time began = wherry_now();
    test_is(wherry_event_wait(&scene->event, began + 250 * WHERRY_MILLISECOND), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now() - began, 250 * WHERRY_MILLISECOND);
    setitimer(ITIMER_REAL, &never, NULL);
    to_set = &scene->event;
    action.sa_handler = set_it;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &once, NULL);
    test_is(wherry_event_wait(&scene->event, WHERRY_FOREVER), 0);
    kit_close(&kit);
}

static void see_the_end(void *argument)
{
    struct scene *scene = kit_again(&kit);
    (void)argument;
    test_is(wherry_event_wait(&scene->event, test_deadline()), -EIDRM);
}

TEST(its_end_is_told_and_what_is_none_refused)
{
    for (unsigned flags = 0; flags <= WHERRY_EVENT_AUTOMATIC; flags++) {
        struct scene *scene = open_scene(flags);
        pid_t child = waiter(see_the_end);
        wherry_event_fini(&scene->event);
        test_join(child);
        wherry_event_fini(&scene->event);
        wherry_event_fini(NULL);
        test_is(wherry_event_wait(&scene->event, WHERRY_NOW), -EINVAL);
        test_is(wherry_event_set(&scene->event), -EINVAL);
        test_is(wherry_event_clear(&scene->event), -EINVAL);
        test_is(wherry_event_init(&scene->event, 2), -EINVAL);
        test_is(wherry_event_init((struct wherry_event *)((char *)scene + 4), 0), -EINVAL);
        kit_close(&kit);
    }
}

static int futexes;
static struct wherry__sys real;
static long count_futex(const void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    futexes++;
    return real.futex(word, operation, value, deadline);
}

TEST(setting_it_for_nobody_is_no_system_call)
{
    struct scene *scene = open_scene(0);
    real = wherry__sys;
    wherry__sys.futex = count_futex;
    test_ok(wherry_event_set(&scene->event));
    test_is(wherry_event_wait(&scene->event, test_deadline()), 0);
    test_is(wherry_event_clear(&scene->event), 1);
    ck_assert_int_eq(futexes, 0);
    test_is(wherry_event_wait(&scene->event, kit_soon()), -ETIMEDOUT);
    ck_assert_int_eq(futexes, 1);
    wherry__sys.futex = no_futex;
    test_is(wherry_event_wait(&scene->event, test_deadline()), -ENOSYS);
    wherry__sys = real;
    kit_close(&kit);
}
