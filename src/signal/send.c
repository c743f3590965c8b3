/* signal/send.c - owns sending signals and saying why one could not be sent; what is pending; ignore and default.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/why.h"
#include "signal/signals.h"

/* ---- why not: from /proc, for sentences alone ---- */

/* What stands behind `key` in a file of lines "Key:\tvalue"; false when there is none. */
static bool read_line(const char *path, const char *key, char *value, size_t size)
{
    char text[4096];
    size_t used = 0;
    int fd = wherry__sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    for (ssize_t got = 1; got > 0 && used<sizeof text - 1; used += got> 0 ? (size_t)got : 0)
        got = wherry__sys.read(fd, text + used, sizeof text - 1 - used);
    wherry__sys.close(fd);
    text[used] = '\0';
    for (char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        line += strlen(key);
        line += strspn(line, " \t");
        snprintf(value, size, "%.*s", (int)strcspn(line, "\n"), line);
        return true;
    }
    return false;
}

static bool read_status(pid_t pid, const char *key, char *value, size_t size)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return pid > 0 && read_line(path, key, value, size);
}

/* 0 when it cannot be known: it has ended, or lives in another PID namespace. */
static pid_t pid_behind(int pidfd)
{
    char path[48], value[24];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    long pid = read_line(path, "Pid:", value, sizeof value) ? strtol(value, NULL, 10) : 0;
    return pid > 0 ? (pid_t)pid : 0;
}

static int say_forbidden(const char *who, pid_t pid)
{
    char ids[64];
    if (read_status(pid, "Uid:", ids, sizeof ids))
        return wherry__fail(EPERM,
                            "%s belongs to uid %lu, and this process is uid %u's: only a process of the same user, "
                            "or root, may send it signals",
                            who, strtoul(ids, NULL, 10), (unsigned)getuid());
    return wherry__fail(
        EPERM, "%s belongs to another user: only a process of the same user, or root, may send it signals", who);
}

static int say_full(const char *who, pid_t pid)
{
    char queue[64], *slash;
    if (read_status(pid, "SigQ:", queue, sizeof queue) && (slash = strchr(queue, '/')))
        return wherry__fail(EAGAIN,
                            "%s: the queue of pending signals of its user is full, %.*s of %s "
                            "(RLIMIT_SIGPENDING); send it again once some were received, or have it started with "
                            "a higher `ulimit -i`",
                            who, (int)(slash - queue), queue, slash + 1);
    return wherry__fail(EAGAIN,
                        "%s: the queue of pending signals of its user is full (RLIMIT_SIGPENDING); send it again "
                        "once some were received, or have it started with a higher `ulimit -i`",
                        who);
}

static int say_why(int code, const char *who, pid_t pid)
{
    if (code == ESRCH)
        return wherry__fail(ESRCH, "%s: there is no such process any more, or there never was", who);
    if (code == EPERM)
        return say_forbidden(who, pid);
    if (code == EAGAIN)
        return say_full(who, pid);
    return wherry__fail_errno(code, "%s: the signal cannot be sent", who);
}

/* ---- sending ---- */

/* As sigqueue(3) fills it.  The union's integer is in the pointer's low bits, or on some machines in its high ones. */
static int fill_info(siginfo_t *info, int number, const int64_t *value)
{
    *info = (siginfo_t){.si_signo = number, .si_code = SI_QUEUE};
    info->si_pid = getpid();
    info->si_uid = getuid();
    info->si_value.sival_ptr = (void *)(intptr_t)*value;
    if ((int64_t)(intptr_t)*value != *value)
        return wherry__fail(EOVERFLOW, "the value %lld needs more bits than a signal carries here", (long long)*value);
    return 0;
}

/* `info` is filled when there is a value. */
static int prepare(siginfo_t *info, int number, const int64_t *value)
{
    if (number == 0 && value)
        return wherry__fail(EINVAL, "signal 0 asks whether a process is there, and carries no value");
    int result = number == 0 ? 0 : wherry__signal_check(number);
    return result == 0 && value ? fill_info(info, number, value) : result;
}

int wherry_signal_send(pid_t pid, int number, const int64_t *value)
{
    siginfo_t info;
    char who[64];
    int result = prepare(&info, number, value);
    if (result < 0)
        return result;
    if (pid <= 0)
        return wherry__fail(EINVAL, "%d is no pid; for a group of processes call wherry_signal_send_group()", (int)pid);
    result = value ? wherry__sys.sigqueueinfo(pid, number, &info) : wherry__sys.kill(pid, number);
    if (result == 0)
        return 0;
    int code = errno;
    return say_why(code, wherry__process_name(pid, who), pid);
}

int wherry_signal_send_fd(int pidfd, int number, const int64_t *value)
{
    siginfo_t info;
    char who[64];
    int result = prepare(&info, number, value);
    if (result < 0)
        return result;
    if (wherry__sys.pidfd_send_signal(pidfd, number, value ? &info : NULL, 0) == 0)
        return 0;
    int code = errno;
    if (code == EBADF)
        return wherry__fail(EBADF, "descriptor %d is no pidfd: pidfd_open(2) makes one", pidfd);
    pid_t pid = pid_behind(pidfd);
    return say_why(code, pid ? wherry__process_name(pid, who) : "the process of the pidfd", pid);
}

int wherry_signal_send_thread(pid_t pid, pid_t tid, int number, const int64_t *value)
{
    siginfo_t info;
    char process[64], who[112];
    int result = prepare(&info, number, value);
    if (result < 0)
        return result;
    if (pid <= 0 || tid <= 0)
        return wherry__fail(EINVAL, "process %d, thread %d: both are numbers from 1 on", (int)pid, (int)tid);
    result = value ? wherry__sys.tgsigqueueinfo(pid, tid, number, &info) : wherry__sys.tgkill(pid, tid, number);
    if (result == 0)
        return 0;
    int code = errno;
    snprintf(who, sizeof who, "thread %d of %s", (int)tid, wherry__process_name(pid, process));
    return code == ESRCH ? wherry__fail(ESRCH, "%s: there is no such thread any more, or there never was", who)
                         : say_why(code, who, pid);
}

int wherry_signal_send_group(pid_t group, int number)
{
    char who[48];
    int result = number == 0 ? 0 : wherry__signal_check(number);
    if (result < 0)
        return result;
    bool own = group >= 0 && group == getpgrp(); /* 0 when its leader is outside this PID namespace */
    if (!own && group <= 1)
        return wherry__fail(EINVAL, "%d is no group of processes that can be named: kill(2) would send to %s",
                            (int)group, group == 1 ? "all processes" : "others than that");
    /* kill(-1) would be all processes: one's own group goes by 0 */
    if (wherry__sys.kill(own ? 0 : -group, number) == 0)
        return 0;
    int code = errno;
    snprintf(who, sizeof who, "process group %d", (int)group);
    if (code == ESRCH)
        return wherry__fail(ESRCH, "%s: there is no process in it any more, or there never was", who);
    if (code == EPERM)
        return wherry__fail(EPERM,
                            "%s: all its processes belong to other users than uid %u: only a process of the same "
                            "user, or root, may send them signals",
                            who, (unsigned)getuid());
    return wherry__fail_errno(code, "%s: the signal cannot be sent", who);
}

/* ---- what is pending, and what a signal does ---- */

int wherry_signals_pending(int *numbers, size_t capacity)
{
    sigset_t set;
    int count = 0;
    if (wherry__sys.sigpending(&set) < 0)
        return wherry__fail_quietly(errno, "what is pending cannot be asked for");
    for (int number = 1; number < WHERRY__SIGNALS; number++) {
        if (sigismember(&set, number) != 1)
            continue;
        if ((size_t)count < capacity)
            numbers[count] = number;
        count++;
    }
    return count;
}

static int set_disposition(int number, void (*what)(int))
{
    char name[WHERRY_SIGNAL_NAME];
    struct sigaction action = {.sa_handler = what};
    int result = wherry__signal_check_own(number);
    if (result < 0)
        return result;
    wherry_signal_name(number, name, sizeof name);
    if (wherry__handler_has(number))
        return wherry__fail(EBUSY, "%s: this process receives it by a handler; close that one first", name);
    if (wherry__sys.sigaction(number, &action, NULL) < 0)
        return wherry__fail_errno(errno, "%s", name);
    return 0;
}

int wherry_signal_ignore(int number)
{
    return set_disposition(number, SIG_IGN);
}

int wherry_signal_default(int number)
{
    return set_disposition(number, SIG_DFL);
}
