/* process/plan.c - owns what is done before a child exists: options are checked, and all it will need is put together.
 *
 * SPDX-License-Identifier: MIT
 *
 * One block of memory holds the plan, its arrays and the names of the files to try. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/options.h"
#include "base/sys.h"
#include "base/why.h"
#include "process/process.h"

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

/* ---- checks ---- */

static int read_signals(const int *numbers, size_t count, const char *what, const char *name, uint64_t *ret_set)
{
    uint64_t set = 0;
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] < 1 || numbers[i] > SIGRTMAX || numbers[i] == SIGKILL || numbers[i] == SIGSTOP)
            return wherry__fail(EINVAL, "%s: options.%s has %d, which is no signal that can be %s", name, what,
                                numbers[i], what);
        set |= UINT64_C(1) << (numbers[i] - 1);
    }
    *ret_set = set;
    return 0;
}

static int check_lists(const struct wherry_process_options *options, const char *name)
{
    const struct {
        const char *name;
        const void *list;
        size_t count;
    } lists[] = {{"fd", options->fds, options->fd_count},
                 {"limit", options->limits, options->limit_count},
                 {"group", options->groups, options->group_count},
                 {"ignored", options->ignored, options->ignored_count},
                 {"blocked", options->blocked, options->blocked_count}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (lists[i].count > 1u << 16 || (lists[i].count && !lists[i].list))
            return wherry__fail(EINVAL, "%s: options.%s_count is %zu, and its list %s", name, lists[i].name,
                                lists[i].count, lists[i].list ? "cannot be that long" : "is NULL");
    return 0;
}

static int check_values(const struct wherry_process_options *options, const char *name)
{
    if (options->group > WHERRY_PROCESS_GROUP_SESSION)
        return wherry__fail(EINVAL, "%s: %d is no kind of process group: WHERRY_PROCESS_GROUP_...", name,
                            (int)options->group);
    if (options->join_group < 0 || (options->join_group && options->group != WHERRY_PROCESS_GROUP_SAME))
        return wherry__fail(EINVAL, "%s: join_group is for a child that leads no group of its own, and is positive",
                            name);
    if (options->death_signal < 0 || options->death_signal > SIGRTMAX)
        return wherry__fail(EINVAL, "%s: the signal it shall die by is %d, which is none", name, options->death_signal);
    if (!options->set_ids && (options->uid || options->gid || options->group_count))
        return wherry__fail(EINVAL, "%s: uid, gid and groups are for set_ids", name);
    if (options->set_ids && (options->uid == (uid_t)-1 || options->gid == (gid_t)-1))
        return wherry__fail(EINVAL, "%s: -1 is no uid and no gid", name);
    return 0;
}

static int check(struct wherry__spawn_plan *plan)
{
    const struct wherry_process_options *options = &plan->options;
    int result = check_lists(options, plan->name);
    if (result == 0)
        result = check_values(options, plan->name);
    if (result == 0)
        result = read_signals(options->ignored, options->ignored_count, "ignored", plan->name, &plan->ignored);
    if (result == 0)
        result = read_signals(options->blocked, options->blocked_count, "blocked", plan->name, &plan->blocked);
    return result;
}

/* ---- files to try ---- */

struct search {
    const char *path; /* NULL: the program is a file itself */
    size_t entries, bytes;
};

static struct search find_search(const struct wherry__spawn_plan *plan)
{
    struct search search = {.entries = 1, .bytes = strlen(plan->name) + 1};
    if (plan->options.no_search || strchr(plan->name, '/'))
        return search;
    search.path = getenv("PATH");
    if (!search.path)
        search.path = "/bin:/usr/bin"; /* as execvp(3) */
    for (const char *at = search.path; *at; at++)
        search.entries += *at == ':';
    search.bytes = strlen(search.path) + search.entries * (strlen(plan->name) + 2);
    return search;
}

static void fill_candidates(struct wherry__spawn_plan *plan, const struct search *search, char *text)
{
    size_t count = 0, size = strlen(plan->name) + 1;
    if (!search->path) {
        plan->candidates[count++] = memcpy(text, plan->name, size);
        plan->candidates[count] = NULL;
        return;
    }
    for (const char *at = search->path; count < search->entries; at += *at == ':') {
        size_t length = strcspn(at, ":");
        plan->candidates[count++] = text;
        memcpy(text, at, length);
        text += length;
        if (length > 0) /* an empty entry is the directory it is in */
            *text++ = '/';
        text = (char *)memcpy(text, plan->name, size) + size;
        at += length;
    }
    plan->candidates[count] = NULL;
}

/* ---- the whole ---- */

static int open_cgroup(struct wherry__spawn_plan *plan)
{
    char path[PATH_MAX];
    struct statfs status;
    const char *directory = plan->options.cgroup;
    if (!directory)
        return 0;
    if (snprintf(path, sizeof path, "%s/cgroup.procs", directory) >= (int)sizeof path)
        return wherry__fail(ENAMETOOLONG, "%s: the path of the cgroup is too long: %s", plan->name, directory);
    plan->cgroup = wherry__sys.open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (plan->cgroup < 0)
        return wherry__fail_errno(errno, "%s: the cgroup %s", plan->name, directory);
    if (wherry__sys.fstatfs(plan->cgroup, &status) < 0)
        return wherry__fail_errno(errno, "%s: the cgroup %s", plan->name, directory);
    if (status.f_type != CGROUP2_SUPER_MAGIC)
        return wherry__fail(EINVAL, "%s: %s is no cgroup of version 2", plan->name, directory);
    return 0;
}

static int make(struct wherry__spawn_plan *base, struct wherry__spawn_plan **ret_plan)
{
    struct search search = find_search(base);
    size_t count = base->options.fd_count;
    size_t steps = wherry__fd_plan_steps(count) * sizeof(struct wherry__fd_step);
    size_t kept = wherry__fd_plan_kept(count) * sizeof(int);
    size_t pointers = (search.entries + 1) * sizeof(char *);
    struct wherry__spawn_plan *plan = malloc(sizeof *plan + pointers + steps + kept + search.bytes);
    if (!plan)
        return wherry__fail(ENOMEM, "%s: no memory to start it", base->name);
    *plan = *base;
    plan->candidates = (const char **)(void *)(plan + 1);
    plan->fds.steps = (struct wherry__fd_step *)(void *)((char *)plan->candidates + pointers);
    plan->fds.kept = (int *)(void *)((char *)plan->fds.steps + steps);
    fill_candidates(plan, &search, (char *)plan->fds.kept + kept);
    if (plan->arguments == base->default_arguments)
        plan->arguments = plan->default_arguments;
    int result = wherry__fd_plan(&plan->fds, plan->options.fds, count, plan->name);
    if (result == 0)
        result = open_cgroup(plan);
    if (result < 0)
        wherry__spawn_plan_free(plan);
    else
        *ret_plan = plan;
    return result;
}

int wherry__spawn_plan_make(const char *program, const char *const *arguments,
                            const struct wherry_process_options *given, struct wherry__spawn_plan **ret_plan)
{
    struct wherry__spawn_plan base = {.name = program, .arguments = arguments, .cgroup = -1, .parent = getpid()};
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    if (!program)
        return wherry__fail(EINVAL, "no program to start: it is NULL");
    if (!*program)
        return wherry__fail(ENOENT, "no program to start: its name is empty");
    int result =
        wherry__options_read(&options, sizeof options, given, sizeof options, program, "WHERRY_PROCESS_OPTIONS");
    if (result < 0)
        return result;
    base.options = options;
    base.environment = options.environment ? options.environment : (const char *const *)environ;
    if (!arguments || !arguments[0]) { /* the kernel gives a program without any trouble, or an empty one */
        base.default_arguments[0] = program;
        base.arguments = base.default_arguments;
    }
    result = check(&base);
    return result < 0 ? result : make(&base, ret_plan);
}

void wherry__spawn_plan_free(struct wherry__spawn_plan *plan)
{
    if (plan && plan->cgroup >= 0)
        wherry__sys.close(plan->cgroup);
    free(plan);
}
