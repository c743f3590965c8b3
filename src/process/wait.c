/* process/wait.c - owns processes that run: taking hold of them, their end, signals to them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything goes by the pidfd.  It is readable once the process has ended, for anybody; waitid(2) then takes a
 * child's status, once, so that it is kept here for whoever asks again.  If somebody else took it (H61), Linux 6.15
 * and later still tell those who hold a pidfd how the process ended, PIDFD_GET_INFO in ioctl_pidfd(2). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/pidfd_info.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "process/process.h"

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif
#define GROUP_OF_PIDFD (1u << 2) /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */

/* ---- a process ---- */

int wherry__process_make(const char *name, struct wherry_process **ret_process)
{
    struct wherry_process *process = calloc(1, sizeof *process);
    if (!process)
        return wherry__fail(ENOMEM, "%s: no memory", name);
    process->born = wherry__generation();
    process->pidfd = -1;
    pthread_mutex_init(&process->lock, NULL);
    *ret_process = process;
    return 0;
}

void wherry__process_adopt(struct wherry_process *process, pid_t pid, int pidfd, bool child, bool leads)
{
    process->pid = pid;
    process->child = child;
    process->leads = leads;
    /* a fork() of another thread since this was made has a copy; it keeps nothing alive, and goes with an exec */
    wherry__fd_guard();
    process->pidfd = wherry__fd_note(pidfd);
    wherry__fd_unguard();
}

static bool is_child(int pidfd)
{
    siginfo_t info;
    return wherry__sys.waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT, NULL) == 0;
}

/* The inode means something on pidfs alone. */
static int inode_of(int pidfd, uint64_t *ret_inode)
{
    struct statfs system;
    struct stat status;
    if (wherry__sys.fstatfs(pidfd, &system) < 0 || wherry__sys.fstat(pidfd, &status) < 0)
        return -errno;
    *ret_inode = system.f_type == PID_FS_MAGIC ? (uint64_t)status.st_ino : 0;
    return 0;
}

static int check_inode(int pidfd, pid_t pid, uint64_t wanted)
{
    uint64_t inode = 0;
    if (wanted == 0)
        return 0;
    int result = inode_of(pidfd, &inode);
    if (result < 0)
        return wherry__fail_errno(-result, "pid %d", (int)pid);
    if (inode == 0)
        return wherry__fail(EOPNOTSUPP, "pid %d: an inode tells processes apart since Linux 6.9; this kernel is older",
                            (int)pid);
    if (inode != wanted)
        return wherry__fail(ESRCH, "pid %d: it is another process by now: its inode is %llu, not %llu", (int)pid,
                            (unsigned long long)inode, (unsigned long long)wanted);
    return 0;
}

int wherry_process_open(pid_t pid, uint64_t inode, struct wherry_process **ret_process)
{
    char name[32];
    struct wherry_process *process = NULL;
    int result = wherry__process_start();
    if (result < 0)
        return result;
    if (pid <= 0)
        return wherry__fail(EINVAL, "pid %d: no process has this number", (int)pid);
    int pidfd = wherry__sys.pidfd_open(pid, 0);
    if (pidfd < 0 && errno == ESRCH)
        return wherry__fail(ESRCH, "pid %d: there is no such process", (int)pid);
    if (pidfd < 0 && (errno == EINVAL || errno == ENOENT))
        return wherry__fail(EINVAL, "pid %d: that is a thread, not a process", (int)pid);
    if (pidfd < 0 && errno == ENOSYS)
        return wherry__fail(ENOSYS,
                            "pid %d: here is no pidfd_open(2), without which no process is held; valgrind 3.19 "
                            "lacks it: take a newer one, or none",
                            (int)pid);
    if (pidfd < 0)
        return wherry__fail_errno(errno, "pid %d: no descriptor for it", (int)pid);
    snprintf(name, sizeof name, "pid %d", (int)pid);
    result = check_inode(pidfd, pid, inode);
    if (result == 0)
        result = wherry__process_make(name, &process);
    if (result < 0) {
        wherry__sys.close(pidfd);
        return result;
    }
    wherry__process_adopt(process, pid, pidfd, is_child(pidfd), true);
    *ret_process = process;
    return 0;
}

void wherry_process_close(struct wherry_process *process)
{
    if (!process)
        return;
    if (process->born == wherry__generation() && process->child && !process->ended)
        wherry__process_reap(process, NULL);
    wherry__fd_close_from(process->born, false, &process->pidfd);
    pthread_mutex_destroy(&process->lock);
    free(process);
}

int wherry_process_fd(const struct wherry_process *process)
{
    return process->pidfd;
}

pid_t wherry_process_pid(const struct wherry_process *process)
{
    return process->pid;
}

uint64_t wherry_process_inode(const struct wherry_process *process)
{
    uint64_t inode = 0;
    if (process->born == wherry__generation())
        (void)inode_of(process->pidfd, &inode);
    return inode;
}

int wherry__process_mine(uint64_t born)
{
    if (born == wherry__generation())
        return 0;
    return wherry__fail(ECHILD, "this process was forked from the one that holds it; take hold of it with "
                                "wherry_process_open()");
}

/* ---- how it ended ---- */

static int64_t nanoseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * WHERRY_SECOND + (int64_t)time.tv_usec * WHERRY_MICROSECOND;
}

static struct wherry_exit decode(const siginfo_t *info, const struct rusage *usage)
{
    struct wherry_exit exit = {.code = info->si_status};
    exit.core = info->si_code == CLD_DUMPED;
    switch (info->si_code) {
    case CLD_EXITED:
        exit.kind = WHERRY_EXITED;
        break;
    case CLD_KILLED:
    case CLD_DUMPED:
        exit.kind = WHERRY_KILLED;
        break;
    case CLD_STOPPED:
    case CLD_TRAPPED:
        exit.kind = WHERRY_STOPPED;
        break;
    case CLD_CONTINUED:
        exit.kind = WHERRY_CONTINUED;
        break;
    default:
        break;
    }
    exit.user_time = nanoseconds(usage->ru_utime);
    exit.system_time = nanoseconds(usage->ru_stime);
    exit.max_rss = (int64_t)usage->ru_maxrss * 1024;
    return exit;
}

/* What the kernel remembers of one that its parent has waited for. */
static bool ask_pidfd(int pidfd, struct wherry_exit *ret_exit)
{
    struct wherry__pidfd_info info = {.mask = WHERRY__PIDFD_INFO_EXIT};
    if (wherry__sys.pidfd_info(pidfd, WHERRY__PIDFD_GET_INFO, &info) < 0 || !(info.mask & WHERRY__PIDFD_INFO_EXIT))
        return false;
    *ret_exit = (struct wherry_exit){0};
    if (WIFEXITED(info.exit_code)) {
        ret_exit->kind = WHERRY_EXITED;
        ret_exit->code = WEXITSTATUS(info.exit_code);
    } else {
        ret_exit->kind = WHERRY_KILLED;
        ret_exit->code = WTERMSIG(info.exit_code);
        ret_exit->core = WCOREDUMP(info.exit_code);
    }
    return true;
}

static bool has_ended(int pidfd)
{
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    struct timespec none = {0};
    return wherry__sys.ppoll(&fd, 1, &none) > 0;
}

/* Under the lock.  1: it ended, or changed where `options` ask for that; 0: it has not; -ECHILD: it was none of
 * ours, or is reaped. */
static int ask_parent(struct wherry_process *process, int options, struct wherry_exit *ret_exit)
{
    siginfo_t info = {.si_pid = 0};
    struct rusage usage = {0};
    if (!process->child)
        return -ECHILD;
    while (wherry__sys.waitid(P_PIDFD, (id_t)process->pidfd, &info, options | WNOHANG, &usage) < 0)
        if (errno != EINTR)
            return -errno;
    if (info.si_pid == 0)
        return 0;
    *ret_exit = decode(&info, &usage);
    return 1;
}

/* Under the lock, of one that has ended and is not ours to reap, or not any more. */
static void ask_others(struct wherry_process *process)
{
    process->ended = true;
    process->exit = (struct wherry_exit){.kind = WHERRY_EXIT_UNKNOWN};
    process->taken = !ask_pidfd(process->pidfd, &process->exit) && process->child;
}

static int answer(struct wherry_process *process, struct wherry_exit *ret_exit)
{
    if (!process->child && process->exit.kind == WHERRY_EXIT_UNKNOWN) /* its parent may have waited for it since */
        (void)ask_pidfd(process->pidfd, &process->exit);
    if (process->taken)
        return -ECHILD;
    if (ret_exit)
        *ret_exit = process->exit;
    return 0;
}

/* A look, under the lock: 0 and the answer, -EAGAIN, or -errno; without a sentence. */
static int look(struct wherry_process *process, int options, struct wherry_exit *ret_exit)
{
    struct wherry_exit exit;
    if (process->ended)
        return answer(process, ret_exit);
    int result = ask_parent(process, options, &exit);
    if (result == 1 && (exit.kind == WHERRY_STOPPED || exit.kind == WHERRY_CONTINUED)) {
        if (ret_exit)
            *ret_exit = exit;
        return 0;
    }
    if (result == 0 || (result == -ECHILD && !has_ended(process->pidfd)))
        return -EAGAIN;
    if (result < 0 && result != -ECHILD)
        return result;
    if (result == -ECHILD) {
        ask_others(process);
    } else {
        process->ended = true;
        process->exit = exit;
    }
    return answer(process, ret_exit);
}

static int look_locked(struct wherry_process *process, int options, struct wherry_exit *ret_exit)
{
    pthread_mutex_lock(&process->lock);
    int result = look(process, options, ret_exit);
    pthread_mutex_unlock(&process->lock);
    return result;
}

int wherry__process_reap(struct wherry_process *process, struct wherry_exit *ret_exit)
{
    return look_locked(process, WEXITED, ret_exit);
}

/* ---- waiting ---- */

/* A look is without the command, whose name takes as long to read as ten looks; programs look again and again. */
int wherry__process_runs(const struct wherry_process *process, wherry_time deadline)
{
    char who[64];
    int code = wherry__deadline_code(deadline);
    if (code == EAGAIN)
        return wherry__fail(code, "pid %d runs still", (int)process->pid);
    return wherry__fail(code, "%s ran still at the deadline", wherry__process_name((int)process->pid, who));
}

int wherry__process_sleep(const struct wherry_process *process, wherry_time deadline)
{
    struct pollfd fd = {.fd = process->pidfd, .events = POLLIN};
    struct timespec left;
    if (wherry__sys.ppoll(&fd, 1, wherry__deadline_left(deadline, &left)) < 0 && errno != EINTR)
        return wherry__fail_errno(errno, "pid %d: the wait failed", (int)process->pid);
    return 0;
}

static int why_not_waited(const struct wherry_process *process, int code)
{
    if (code == ECHILD)
        return wherry__fail(code,
                            "pid %d: it has ended, and how is lost: another wait in this program took its status, or "
                            "SIGCHLD is ignored",
                            (int)process->pid);
    return wherry__fail_errno(code, "pid %d: it cannot be waited for", (int)process->pid);
}

int wherry_process_wait(struct wherry_process *process, wherry_time deadline, struct wherry_exit *ret_exit)
{
    int result = wherry__process_mine(process->born);
    while (result == 0) {
        result = look_locked(process, WEXITED, ret_exit);
        if (result != -EAGAIN)
            return result < 0 ? why_not_waited(process, -result) : 0;
        if (wherry__deadline_passed(deadline))
            return wherry__process_runs(process, deadline);
        result = wherry__process_sleep(process, deadline);
    }
    return result;
}

int wherry_process_wait_change(struct wherry_process *process, wherry_time deadline, struct wherry_exit *ret_exit)
{
    struct wherry__steps steps = {0};
    int result = wherry__process_mine(process->born);
    while (result == 0) {
        result = look_locked(process, WEXITED | WSTOPPED | WCONTINUED, ret_exit);
        if (result != -EAGAIN)
            return result < 0 ? why_not_waited(process, -result) : 0;
        if (wherry__deadline_passed(deadline))
            return wherry__process_runs(process, deadline);
        result = wherry__process_sleep(process, process->child ? wherry__steps_take(&steps, deadline) : deadline);
    }
    return result;
}

/* ---- signals ---- */

/* By number, where there is no better way: right as long as it is a child that nobody has reaped, which a look at it
 * without taking it shows.  Under the lock, so that no thread reaps it meanwhile. */
static int kill_unreaped(struct wherry_process *process, pid_t to, int signal)
{
    int result = 0;
    pthread_mutex_lock(&process->lock);
    if (process->ended || !is_child(process->pidfd))
        result = -ESRCH;
    else if (wherry__sys.kill(to, signal) < 0)
        result = -errno;
    pthread_mutex_unlock(&process->lock);
    return result;
}

int wherry__process_send(struct wherry_process *process, int signal)
{
    if (wherry__sys.pidfd_send_signal(process->pidfd, signal, NULL, 0) == 0)
        return 0;
    int code = errno;
    if (code == ENOSYS && process->child) /* valgrind 3.19 does not know the call */
        return kill_unreaped(process, process->pid, signal);
    return -code;
}

int wherry__process_send_group(struct wherry_process *process, int signal)
{
    if (wherry__sys.pidfd_send_signal(process->pidfd, signal, NULL, GROUP_OF_PIDFD) == 0)
        return 0;
    int code = errno;
    if ((code != EINVAL && code != ENOSYS) || signal < 0 || signal > SIGRTMAX)
        return -code;
    if (!process->child || getpgid(process->pid) != process->pid) /* an older kernel */
        return process->child ? -ESRCH : -EOPNOTSUPP;
    return kill_unreaped(process, -process->pid, signal);
}

static int why_not_sent(int code, pid_t pid, int signal, bool group)
{
    const char *what = group ? "the process group of pid" : "pid";
    if (code == ESRCH)
        return wherry__fail(code, "%s %d: %s", what, (int)pid, group ? "nobody is left in it" : "it has ended");
    if (code == EINVAL)
        return wherry__fail(code, "%s %d: there is no signal %d", what, (int)pid, signal);
    if (code == EPERM)
        return wherry__fail(code, "%s %d: it is another user's, and not for this one to signal", what, (int)pid);
    if (code == EOPNOTSUPP)
        return wherry__fail(code, "%s %d: only its parent can signal it safely before Linux 6.9", what, (int)pid);
    return wherry__fail_errno(code, "%s %d: signal %d cannot be sent", what, (int)pid, signal);
}

int wherry_process_kill(struct wherry_process *process, int signal)
{
    int result = wherry__process_mine(process->born);
    if (result < 0)
        return result;
    result = wherry__process_send(process, signal);
    return result < 0 ? why_not_sent(-result, process->pid, signal, false) : 0;
}

/* Of one that was opened, or went to another group, after the kernel found none that it leads.  As long as it has not
 * ended, nobody else can have had its number at the question before. */
static bool is_in_anothers_group(const struct wherry_process *process)
{
    pid_t group = getpgid(process->pid);
    return group >= 0 && group != process->pid && !has_ended(process->pidfd);
}

int wherry_process_kill_group(struct wherry_process *process, int signal)
{
    int result = wherry__process_mine(process->born);
    if (result < 0)
        return result;
    if (process->leads)
        result = wherry__process_send_group(process, signal);
    if (!process->leads || (result == -ESRCH && is_in_anothers_group(process)))
        return wherry__fail(EINVAL,
                            "pid %d: it leads no process group of its own; start it with "
                            "WHERRY_PROCESS_GROUP_NEW, or signal it alone with wherry_process_kill()",
                            (int)process->pid);
    return result < 0 ? why_not_sent(-result, process->pid, signal, true) : 0;
}
