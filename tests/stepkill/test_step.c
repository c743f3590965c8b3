/* tests/stepkill/test_step.c - owns the tests of step.h within one process.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "stepkill/step.h"

struct pair {
    volatile long first, second;
};

__attribute__((noinline)) static void save_torn(struct pair *pair, long number)
{
    pair->first = number;
    pair->second = number;
    __asm__ volatile("" ::: "memory"); /* no tail to share with another function */
}

__attribute__((noinline)) static void save_atomic(struct pair *pair, long number)
{
    __atomic_store_n(&pair->first, number, __ATOMIC_RELEASE);
    __asm__ volatile("nop" ::: "memory");
}

static long (*volatile again)(long n); /* so that no compiler makes a loop of it */

__attribute__((noinline)) static long depth(long n)
{
    long below = n > 0 ? again(n - 1) : 0;
    __asm__ volatile("" : "+r"(below));
    return below + 1;
}

static void save_both(void *pair)
{
    save_torn(pair, 1);
    save_atomic(pair, 2);
    save_torn(pair, 3);
    again = depth;
    _exit(depth(5) == 6 ? 0 : 1);
}

/* Kill at each step of a call; how many left the numbers different, of how many. */
static uint64_t torn_points(struct pair *pair, uintptr_t function, uint64_t call, uint64_t *ret_steps)
{
    uint64_t torn = 0;
    for (uint64_t at = 1;; at++) {
        struct step step;
        *pair = (struct pair){0};
        ck_assert_int_eq(step_fork(&step, save_both, pair), STEP_THERE);
        ck_assert_int_eq(step_enter(&step, function, call), STEP_THERE);
        ck_assert_uint_eq(step_pc(&step), function);
        int result = step_advance(&step, at);
        *ret_steps = step.steps;
        if (result == STEP_THERE) {
            ck_assert_int_eq(step_kill(&step, SIGKILL), 0);
            ck_assert(WIFSIGNALED(step.status) && WTERMSIG(step.status) == SIGKILL);
            torn += pair->first != pair->second;
        }
        step_end(&step);
        if (result != STEP_THERE) {
            ck_assert_int_eq(result, STEP_RETURNED);
            return torn;
        }
    }
}

TEST(a_kill_between_two_stores_tears_them)
{
    struct pair *pair = test_shared(sizeof *pair);
    uint64_t steps, torn = torn_points(pair, step_address(save_torn), 1, &steps);
    ck_assert_uint_ge(torn, 1);
    ck_assert_uint_lt(torn, steps);
}

TEST(a_single_store_is_made_or_not)
{
    struct pair *pair = test_shared(sizeof *pair);
    struct step step;
    bool changed = false;
    for (uint64_t at = 1, result = STEP_THERE; result == STEP_THERE; at++) {
        *pair = (struct pair){0};
        ck_assert_int_eq(step_fork(&step, save_both, pair), STEP_THERE);
        ck_assert_int_eq(step_enter(&step, step_address(save_atomic), 1), STEP_THERE);
        result = (uint64_t)step_advance(&step, at);
        step_end(&step);
        ck_assert_int_eq(pair->second, 1);
        ck_assert(pair->first == 2 || (pair->first == 1 && !changed)); /* and once made, it stays so at later steps */
        changed = pair->first == 2;
    }
    ck_assert(changed);
}

TEST(several_functions_in_turn_and_the_end)
{
    struct pair *pair = test_shared(sizeof *pair);
    struct step step;
    ck_assert_int_eq(step_fork(&step, save_both, pair), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, step_address(save_torn), 2), STEP_THERE);
    ck_assert_int_eq(pair->first, 2);
    ck_assert_int_eq(pair->second, 1);
    ck_assert_int_eq(step_until_return(&step), STEP_RETURNED);
    ck_assert_int_eq(pair->second, 3);
    uint64_t first = step.steps;
    ck_assert_int_eq(step_enter(&step, step_address(depth), 1), STEP_THERE);
    ck_assert_int_eq(step_until_return(&step), STEP_RETURNED); /* of the outermost of six */
    ck_assert_uint_gt(step.steps, 6);
    ck_assert_uint_gt(first, 2);
    ck_assert_int_eq(step_run_to(&step, step_address(depth)), STEP_GONE);
    ck_assert(WIFEXITED(step.status) && WEXITSTATUS(step.status) == 0);
    ck_assert_int_eq(step_advance(&step, 1), -ESRCH);
    ck_assert_int_eq(step_kill(&step, SIGKILL), -ESRCH);
    step_end(&step);
}

static uint64_t steps_of_depth(struct pair *pair, uint64_t call)
{
    struct step step;
    ck_assert_int_eq(step_fork(&step, save_both, pair), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, step_address(depth), call), STEP_THERE);
    ck_assert_int_eq(step_until_return(&step), STEP_RETURNED);
    uint64_t steps = step.steps;
    step_end(&step);
    return steps;
}

/* Calls further in return to the same address as the one that was entered, and before it. */
TEST(a_recursive_call_returns_once)
{
    struct pair *pair = test_shared(sizeof *pair);
    uint64_t innermost = steps_of_depth(pair, 6), next = steps_of_depth(pair, 5), outermost = steps_of_depth(pair, 1);
    ck_assert_uint_eq(outermost - innermost, 5 * (next - innermost));
}

static void ask_kernel(void *argument)
{
    (void)argument;
    for (int i = 0; i < 3; i++)
        if (getppid() < 0)
            _exit(1);
}

TEST(system_calls_are_entered_and_left)
{
    struct step step;
    ck_assert_int_eq(step_fork(&step, ask_kernel, NULL), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, step_address(ask_kernel), 1), STEP_THERE);
    ck_assert_int_eq(step_advance_calls(&step, 5), STEP_THERE);
    ck_assert_int_eq(step_advance_calls(&step, 5), STEP_RETURNED);
    ck_assert_uint_eq(step.steps, 6);
    ck_assert_int_eq(step_finish(&step), 0);
    ck_assert(WIFEXITED(step.status) && WEXITSTATUS(step.status) == 0);
    step_end(&step);
}

static char state_of(pid_t pid)
{
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %*s %c", &state), 1);
    fclose(file);
    return state;
}

TEST(a_stopped_process_is_stopped_and_goes_on)
{
    struct pair *pair = test_shared(sizeof *pair);
    struct step step;
    ck_assert_int_eq(step_fork(&step, save_both, pair), STEP_THERE);
    ck_assert_int_eq(step_enter(&step, step_address(save_atomic), 1), STEP_THERE);
    ck_assert_int_eq(step_kill(&step, SIGSTOP), 0);
    ck_assert_int_eq(state_of(step.pid), 'T');
    ck_assert_int_eq(pair->first, 1);
    ck_assert_int_eq(step_finish(&step), 0);
    ck_assert(WIFEXITED(step.status) && WEXITSTATUS(step.status) == 0);
    ck_assert_int_eq(pair->second, 3);
    step_end(&step);
}

TEST(another_child_of_the_caller_is_left_to_it)
{
    struct pair *pair = test_shared(sizeof *pair);
    int status;
    pid_t other = fork();
    if (other == 0)
        _exit(9);
    uint64_t steps;
    torn_points(pair, step_address(save_torn), 1, &steps);
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 9);
}
