/* tests/crash/test_signal_step.c - owns the proof that the handler may come at any instruction of malloc(3), and of the
 * calls that open and close what it writes to.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child is stepped N instructions into a function and gets a signal there; it must end by itself, with the signal
 * received once, or, where it came before the open or was not received before the close, with what it does then.  Each
 * N has its own child. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/signal.h>

#include "harness.h"
#include "stepkill/step.h"

enum { MANY_STEPS = 1300 /* more than so many are sampled, evenly */ };

static struct wherry_signals *open_one(void)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    struct wherry_signals *signals = NULL;
    int number = SIGRTMIN;
    options.handler = true;
    if (wherry_signals_open(&number, 1, &options, &signals) < 0)
        _exit(10);
    return signals;
}

static void *volatile kept[4]; /* so that no compiler leaves a malloc out */

/* Small, from a bin, large enough for a mapping of its own, grown, and given back. */
__attribute__((noinline)) static void allocate(void)
{
    kept[0] = malloc(24);
    kept[1] = malloc(3000);
    kept[2] = malloc(1 << 20);
    kept[1] = realloc(kept[1], 9000);
    free(kept[0]);
    kept[3] = calloc(10, 100);
    free(kept[2]);
    free(kept[1]);
    free(kept[3]);
    __asm__ volatile("" ::: "memory");
}

static void within_malloc(void *argument)
{
    struct wherry_signals *signals = open_one();
    struct wherry_signal got;
    (void)argument;
    allocate();
    if (wherry_signals_receive(signals, &got, WHERRY_NOW) != 1 || got.number != SIGRTMIN)
        _exit(11);
    if (wherry_signals_receive(signals, &got, WHERRY_NOW) != -EAGAIN)
        _exit(12);
    for (int i = 0; i < 100; i++)
        allocate(); /* a heap that was harmed aborts */
    wherry_signals_close(signals);
}

static volatile sig_atomic_t by_own_handler;
static void own_handler(int number)
{
    (void)number;
    by_own_handler = by_own_handler + 1;
}

__attribute__((noinline)) static int open_and_close(void)
{
    struct wherry_signal got;
    struct wherry_signals *signals = open_one();
    int received = 0;
    while (wherry_signals_receive(signals, &got, WHERRY_NOW) == 1)
        received += got.number == SIGRTMIN && got.lost == 0 ? 1 : 100;
    wherry_signals_close(signals);
    return received;
}

static struct outcomes {
    uint64_t received, by_own_handler;
} * outcomes;

/* Wherever it comes: received, or caught by the program's own handler, which is there before and after.  Once, and
 * never to its default, which kills. */
static void within_open_and_close(void *argument)
{
    struct sigaction own = {.sa_handler = own_handler};
    (void)argument;
    sigaction(SIGRTMIN, &own, NULL);
    int received = open_and_close();
    outcomes->received += (uint64_t)received;
    outcomes->by_own_handler += (uint64_t)by_own_handler;
    if (received + by_own_handler != 1)
        _exit(13);
    struct sigaction now;
    sigaction(SIGRTMIN, NULL, &now);
    if (now.sa_handler != own_handler)
        _exit(14);
}

static uintptr_t address_of_allocate(void)
{
    return step_address(allocate);
}

static uintptr_t address_of_open_and_close(void)
{
    return step_address(open_and_close);
}

static const struct scene {
    const char *name;
    void (*child)(void *argument);
    uintptr_t (*function)(void);
} scenes[] = {
    {"malloc", within_malloc, address_of_allocate},
    {"open and close", within_open_and_close, address_of_open_and_close},
};

static uint64_t steps_of(const struct scene *scene)
{
    struct step step;
    outcomes = test_shared(sizeof *outcomes);
    ck_assert_int_eq(step_fork(&step, scene->child, NULL), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, scene->function(), 1), STEP_THERE);
    ck_assert_int_eq(step_until_return(&step), STEP_RETURNED);
    uint64_t steps = step.steps;
    step_end(&step);
    return steps;
}

static void signal_at(const struct scene *scene, uint64_t at)
{
    struct step step;
    ck_assert_int_eq(step_fork(&step, scene->child, NULL), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, scene->function(), 1), STEP_THERE);
    if (at > 0)
        ck_assert_int_eq(step_advance(&step, at), STEP_THERE);
    ck_assert_int_eq(step_kill(&step, SIGRTMIN), 0);
    ck_assert_msg(WIFEXITED(step.status) && WEXITSTATUS(step.status) == 0, "%s, at step %lu: wait status 0x%x",
                  scene->name, (unsigned long)at, (unsigned)step.status);
    step_end(&step);
}

TEST_WITH(h57_a_signal_at_each_instruction, .table = scenes, .stride = sizeof *scenes,
          .length = sizeof scenes / sizeof *scenes, .seconds = 600)
{
    mallopt(M_PERTURB, 0); /* MALLOC_PERTURB_ makes thousands of instructions of each allocation, all the same */
    const struct scene *scene = &scenes[index];
    const char *all = getenv("WHERRY_KILL_POINTS");
    uint64_t steps = steps_of(scene), done = 0;
    /* a sanitizer's malloc has hundreds of thousands */
    uint64_t sparing = !TEST_SANITIZED ? 1 : scene->child == within_malloc ? 130 : 10;
    bool every = all && strcmp(all, "all") == 0;
    uint64_t most = every ? steps : MANY_STEPS / sparing;
    uint64_t stride = steps > most ? (steps + most - 1) / most : 1;
    ck_assert_uint_gt(steps, 100);
    for (uint64_t at = 0; at < steps; at += stride, done++)
        signal_at(scene, at);
    if (scene->child == within_open_and_close) {
        ck_assert_uint_gt(outcomes->received, TEST_SANITIZED ? 0 : done / 10);
        ck_assert_uint_gt(outcomes->by_own_handler, TEST_SANITIZED ? 0 : done / 10);
        ck_assert_uint_eq(outcomes->received + outcomes->by_own_handler, done);
    }
    fprintf(stderr, "# %s: a signal at %lu of %lu instructions\n", scene->name, (unsigned long)done,
            (unsigned long)steps);
}
