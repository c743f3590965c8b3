/* tests/unit/test_inspect_truth.c - the inventory finds what is known to be there, with its holders and who is at the
 * other end: nothing is missed, and nothing is there that is not.
 *
 * SPDX-License-Identifier: MIT
 *
 * The situations are in inspect_situations_*.c, each with what is expected of it; inspect_scene.h says how. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/inspect.h>

#include "base/sys.h"
#include "harness.h"
#include "unit/inspect_scene.h"

static const struct situations *const all[] = {
    &situations_pipes, &situations_processes, &situations_memory,
    &situations_files, &situations_anonymous, &situations_epoll,
    &situations_unix,  &situations_inet,      &situations_posix,
    &situations_sysv,  &situations_locks,
};

/* Over all cases, each of which is a process of its own. */
static struct {
    size_t situations, missed, extra;
} * total;

__attribute__((constructor)) static void share_total(void)
{
    total = mmap(NULL, sizeof *total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (total == MAP_FAILED)
        abort();
}

static const struct situation *situation_at(size_t index)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (index < all[i]->count)
            return &all[i]->list[index];
        index -= all[i]->count;
    }
    return NULL;
}

static size_t count(void)
{
    size_t sum = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sum += all[i]->count;
    return sum;
}

static const char *entry(size_t index)
{
    return situation_at(index)->name;
}

static bool mentions(const struct situation *situation, const char *word)
{
    bool found = false;
    for (int i = 0; i < SCENE_LINES && situation->lines[i]; i++)
        found |= strstr(situation->lines[i], word) != NULL;
    return found;
}

/* What an inventory must be told, for what is in the situation. */
static void need_what_it_takes(const struct situation *situation)
{
    if (mentions(situation, " unix ") || mentions(situation, " tcp ") || mentions(situation, " peer "))
        test_needs(TEST_SOCKET_LISTS);
    if (mentions(situation, "W:semop") || mentions(situation, "W:msg") || mentions(situation, "W:ofd"))
        test_needs(TEST_OWN_CALLS);
    if (mentions(situation, " posix-mq unknown elsewhere"))
        test_needs(TEST_FSOPEN);
    if (mentions(situation, " ring live"))
        test_needs(TEST_OWN_MAPPINGS);
    if (!situation->lines[0]) /* what is open besides */
        test_needs(TEST_OWN_FILES);
}

TEST_WITH(found, .count = count, .entry = entry, .seconds = 60)
{
    const struct situation *situation = situation_at(index);
    size_t missed = 0, extra = 0;
    if (situation->root && !test_is_root())
        test_skip("only root can make this situation");
    if (situation->able && !situation->able())
        test_skip("this kernel, as it is set up, cannot make this situation");
    need_what_it_takes(situation);
    scene_start(situation);
    const char *report = scene_compare(situation, &missed, &extra);
    scene_end();
    total->situations++;
    total->missed += missed;
    total->extra += extra;
    ck_assert_msg(missed + extra == 0, "%s", report);
}

/* ---- a process that ends just when it is looked at ---- */

static const struct moment {
    const char *name; /* what of /proc/PID is opened then */
} moments[] = {{"stat"}, {"fd"}, {"maps"}, {"task"}};

static struct wherry__sys real;
static const char *moment;
static pid_t victim;

static void kill_victim(void)
{
    siginfo_t info;
    kill(victim, SIGKILL);
    waitid(P_PID, (id_t)victim, &info, WEXITED | WNOWAIT);
    moment = NULL;
}

static int openat_and_kill(int directory, const char *path, int flags, mode_t mode)
{
    char link[64], place[64], wanted[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    snprintf(wanted, sizeof wanted, "/proc/%d", (int)victim);
    if (moment && strcmp(path, moment) == 0) {
        ssize_t length = readlink(link, place, sizeof place - 1);
        place[length < 0 ? 0 : length] = 0;
        if (strcmp(place, wanted) == 0)
            kill_victim();
    }
    return real.openat(directory, path, flags, mode);
}

static void hold_a_pipe(void)
{
    int ends[2];
    must(pipe2(ends, 0) == 0);
    scene->numbers[0] = ends[0];
    note('p', ends[0], "%s", "");
}

TEST_TABLE(a_process_that_ends_is_neither_an_error_nor_hidden, moments)
{
    static const struct situation situation = {.name = "", .make = hold_a_pipe};
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *before, *after;
    options.flags = WHERRY_INSPECT_WAITERS;
    scene_start(&situation);
    char name[64];
    snprintf(name, sizeof name, "%.60s", noted('p')->name);
    victim = scene->actors[0].pid;
    test_ok(wherry_inspect_take(&options, &before));
    ck_assert_ptr_nonnull(wherry_inspect_find(before, name, 0));
    moment = moments[index].name;
    real = wherry__sys;
    wherry__sys.openat = openat_and_kill;
    test_ok(wherry_inspect_take(&options, &after));
    wherry__sys = real;
    ck_assert_ptr_null(moment); /* it was killed */
    bool looked_at = strcmp(moments[index].name, "maps") == 0 || strcmp(moments[index].name, "task") == 0;
    ck_assert(looked_at == !!wherry_inspect_find(after, name, 0));
    const struct wherry_inspect_process *process = wherry_inspect_process_of(after, victim);
    ck_assert(!process || !process->hidden);
    wherry_inspect_free(before);
    wherry_inspect_free(after);
    scene_end();
}

/* Behind the others: TAP keeps comments for who reads the log. */
TEST(nothing_was_missed_and_nothing_was_extra)
{
    fprintf(stderr, "%zu situations, missed %zu, extra %zu\n", total->situations, total->missed, total->extra);
    ck_assert_uint_eq(total->missed, 0);
    ck_assert_uint_eq(total->extra, 0);
    ck_assert_uint_ge(count(), 50);
}
