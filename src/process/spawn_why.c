/* process/spawn_why.c - owns the sentences that say why a child did not start.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/why.h"
#include "process/process.h"

/* Its numbers are an enum of glibc's, and numbers elsewhere. */
static int ask_limit(int resource, struct rlimit *ret_limit)
{
    return (int)syscall(SYS_prlimit64, 0, resource, NULL, ret_limit);
}

/* "4096", or "without end". */
static const char *limit_text(int resource, char text[static 32])
{
    struct rlimit limit;
    if (ask_limit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return "not the cause";
    snprintf(text, 32, "%llu", (unsigned long long)limit.rlim_cur);
    return text;
}

int wherry__spawn_why_clone(int code, const char *name, bool pid_namespace)
{
    char text[32];
    if (code == EAGAIN)
        return wherry__fail(
            code,
            "%s: no more processes: this user's RLIMIT_NPROC (ulimit -u) is %s; others are pids.max of the "
            "cgroup, kernel.pid_max and kernel.threads-max",
            name, limit_text(RLIMIT_NPROC, text));
    if (code == EMFILE)
        return wherry__fail(code, "%s: no descriptor for it: RLIMIT_NOFILE (ulimit -n) is %s; close some, or raise it",
                            name, limit_text(RLIMIT_NOFILE, text));
    if (code == EPERM && pid_namespace)
        return wherry__fail(code, "%s: a PID namespace needs CAP_SYS_ADMIN", name);
    if (code == ENOSPC && pid_namespace)
        return wherry__fail(code,
                            "%s: no more PID namespaces: they are nested too deep, or user.max_pid_namespaces is "
                            "reached",
                            name);
    return wherry__fail_errno(code, "%s: no process for it", name);
}

/* ---- the program ---- */

/* A relative file is looked for from the child's directory. */
static bool is_there(const struct wherry__spawn_plan *plan, const char *file)
{
    char path[PATH_MAX];
    struct stat status;
    bool inside = plan->options.directory && file[0] != '/';
    int size = snprintf(path, sizeof path, "%s%s%s", inside ? plan->options.directory : "", inside ? "/" : "", file);
    return size < (int)sizeof path && wherry__sys.fstatat(AT_FDCWD, path, &status, 0) == 0;
}

static int why_exec(const struct wherry__spawn_plan *plan, int code, const char *file)
{
    char text[32];
    bool searched = plan->candidates[1] || strcmp(plan->candidates[0], plan->name) != 0;
    switch (code) {
    case ENOENT:
        if (is_there(plan, file))
            return wherry__fail(
                code,
                "%s: cannot be started: the interpreter is missing that its first line, or a program its "
                "header, names",
                file);
        if (searched)
            return wherry__fail(code, "%s: no such program along PATH; install it, or name its file with a slash",
                                plan->name);
        return wherry__fail(code, "%s: cannot be started: no such file", file);
    case EACCES:
        return wherry__fail(code,
                            "%s: cannot be started: it, its interpreter or a directory above is not for this user; "
                            "or it is no file with permission to execute (chmod +x)",
                            file);
    case ENOEXEC:
        return wherry__fail(
            code, "%s: cannot be started: neither a program for this machine nor a script that begins with #!", file);
    case EAGAIN: /* execve(2): after a change of uid */
        return wherry__fail(code, "%s: cannot be started: uid %u has as many processes as RLIMIT_NPROC (%s) allows",
                            file, (unsigned)plan->options.uid, limit_text(RLIMIT_NPROC, text));
    case E2BIG:
        return wherry__fail(code,
                            "%s: cannot be started: its arguments and environment are too long together: a quarter of "
                            "RLIMIT_STACK, and 128 KiB each, is the most",
                            file);
    case ETXTBSY:
        return wherry__fail(code, "%s: cannot be started: somebody has it open to write", file);
    default:
        return wherry__fail_errno(code, "%s: cannot be started", file);
    }
}

/* ---- what comes before ---- */

static int why_fd(const struct wherry__spawn_plan *plan, int code, const struct wherry__fd_step *step)
{
    char text[32];
    const char *limit = limit_text(RLIMIT_NOFILE, text);
    bool null = step->action == WHERRY__FD_NULL || step->action == WHERRY__FD_KEEP_OR_NULL;
    struct stat status;
    if (step->action == WHERRY__FD_SAVE || code == EMFILE)
        return wherry__fail_errno(code, "%s: no free descriptor to exchange others by, with RLIMIT_NOFILE at %s",
                                  plan->name, limit);
    if (null && code != EBADF)
        return wherry__fail_errno(code, "%s: its descriptor %d cannot be /dev/null", plan->name, step->to);
    if (code == EBADF && (null || step->from < 0 || wherry__sys.fstat(step->from, &status) == 0))
        return wherry__fail(code, "%s: it cannot have a descriptor %d, with RLIMIT_NOFILE at %s", plan->name, step->to,
                            limit);
    if (code == EBADF)
        return wherry__fail(code, "%s: its descriptor %d was to be the caller's %d, which is not open", plan->name,
                            step->to, step->from);
    return wherry__fail_errno(code, "%s: its descriptor %d", plan->name, step->to);
}

static int why_ids(const struct wherry__spawn_plan *plan, int code, size_t which)
{
    const struct wherry_process_options *options = &plan->options;
    const char *needs = code == EPERM ? which == 2 ? ", which needs CAP_SETUID" : ", which needs CAP_SETGID" : "";
    if (which == 0)
        return wherry__fail_errno(code, "%s: its supplementary groups cannot be set%s", plan->name, needs);
    return wherry__fail_errno(code, "%s: it cannot run as %s %u%s", plan->name, which == 1 ? "gid" : "uid",
                              which == 1 ? (unsigned)options->gid : (unsigned)options->uid, needs);
}

/* "4096", or "unlimited". */
static const char *value_text(uint64_t value, char text[static 32])
{
    if (value == UINT64_MAX)
        return "unlimited";
    snprintf(text, 32, "%llu", (unsigned long long)value);
    return text;
}

static const char *limit_name(int resource, char text[static 32])
{
    static const char *const names[] = {
        [RLIMIT_AS] = "AS",           [RLIMIT_CORE] = "CORE",         [RLIMIT_CPU] = "CPU",
        [RLIMIT_DATA] = "DATA",       [RLIMIT_FSIZE] = "FSIZE",       [RLIMIT_LOCKS] = "LOCKS",
        [RLIMIT_MEMLOCK] = "MEMLOCK", [RLIMIT_MSGQUEUE] = "MSGQUEUE", [RLIMIT_NICE] = "NICE",
        [RLIMIT_NOFILE] = "NOFILE",   [RLIMIT_NPROC] = "NPROC",       [RLIMIT_RSS] = "RSS",
        [RLIMIT_RTPRIO] = "RTPRIO",   [RLIMIT_RTTIME] = "RTTIME",     [RLIMIT_SIGPENDING] = "SIGPENDING",
        [RLIMIT_STACK] = "STACK",
    };
    if (resource >= 0 && resource < (int)(sizeof names / sizeof *names))
        snprintf(text, 32, "RLIMIT_%s", names[resource]);
    else
        snprintf(text, 32, "limit number %d", resource);
    return text;
}

static int why_limit(const struct wherry__spawn_plan *plan, int code, const struct wherry_process_limit *limit)
{
    char name[32], texts[3][32];
    const char *hard = value_text(limit->hard, texts[0]);
    struct rlimit own = {0, 0};
    limit_name(limit->resource, name);
    if (code == EINVAL && limit->soft > limit->hard)
        return wherry__fail(code, "%s: of its %s the soft limit, %s, is over the hard one, %s", plan->name, name,
                            value_text(limit->soft, texts[1]), hard);
    if (code == EINVAL)
        return wherry__fail(code, "%s: there is no %s: take RLIMIT_NOFILE or another of setrlimit(2)", plan->name,
                            name);
    if (code != EPERM || ask_limit(limit->resource, &own) != 0)
        return wherry__fail_errno(code, "%s: its %s cannot be %s", plan->name, name, hard);
    const char *most = value_text(own.rlim_max == RLIM_INFINITY ? UINT64_MAX : own.rlim_max, texts[2]);
    return wherry__fail(
        code, "%s: its %s cannot be %s: the caller's hard limit is %s, and more needs CAP_SYS_RESOURCE%s", plan->name,
        name, hard, most, limit->resource == RLIMIT_NOFILE ? "; above fs.nr_open nobody gets any (sysctl)" : "");
}

int wherry__spawn_why(const struct wherry__spawn_plan *plan, const struct wherry__spawn_failure *failure)
{
    const struct wherry_process_options *options = &plan->options;
    int code = failure->code;
    switch ((enum wherry__spawn_step)failure->step) {
    case WHERRY__SPAWN_GROUP:
        return wherry__fail_errno(code, "%s: it cannot join process group %d; only one of the caller's session will do",
                                  plan->name, (int)options->join_group);
    case WHERRY__SPAWN_CGROUP:
        return wherry__fail_errno(code, "%s: it cannot join the cgroup %s", plan->name, options->cgroup);
    case WHERRY__SPAWN_FD:
        return why_fd(plan, code, &plan->fds.steps[failure->index]);
    case WHERRY__SPAWN_IDS:
        return why_ids(plan, code, failure->index);
    case WHERRY__SPAWN_DIRECTORY:
        return wherry__fail_errno(code, "%s: its directory %s", plan->name, options->directory);
    case WHERRY__SPAWN_LIMIT:
        return why_limit(plan, code, &options->limits[failure->index]);
    case WHERRY__SPAWN_CLOSE:
        return wherry__fail_errno(code, "%s: the caller's other descriptors cannot be kept from it", plan->name);
    case WHERRY__SPAWN_DEATH:
        return wherry__fail_errno(code, "%s: it cannot be made to end with its parent%s", plan->name,
                                  failure->index ? "; /proc/self/stat is needed for that in a PID namespace" : "");
    case WHERRY__SPAWN_EXEC:
        return why_exec(plan, code, plan->candidates[failure->index]);
    case WHERRY__SPAWN_START:
        break;
    }
    return wherry__fail_errno(code, "%s: it did not start", plan->name);
}
