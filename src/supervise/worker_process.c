/* supervise/worker_process.c - owns a worker as the master has it: a pidfd and a control socket.
 *
 * SPDX-License-Identifier: MIT
 *
 * A worker is a fork, not a spawn: it goes on with the caller's memory.  Its number is only used until its pidfd is
 * open, before which nobody has reaped it (H62).  What the master holds of it is noted, so that no sibling inherits
 * it: else a worker would not see the end of its control socket when the master dies (H38). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "socket/unix.h"
#include "supervise/server.h"

static int cannot_fork(const struct wherry__server *server, unsigned slot, int code)
{
    if (code == EAGAIN)
        return wherry__fail(
            EAGAIN,
            "%s: worker %u could not be forked: there are as many processes as this user, or this cgroup, "
            "may have (ulimit -u, pids.max)",
            server->url, slot);
    return wherry__fail_errno(code, "%s: worker %u could not be forked", server->url, slot);
}

static int no_descriptor(const struct wherry__server *server, unsigned slot, int code)
{
    if (code == EMFILE || code == ENFILE)
        return wherry__fail(code, "%s: no descriptor is left to watch worker %u with; raise the limit (ulimit -n)",
                            server->url, slot);
    return wherry__fail_errno(code, "%s: worker %u could not be watched", server->url, slot);
}

int wherry__worker_fork(struct wherry__server *server, unsigned slot, struct wherry__worker *ret_worker)
{
    struct wherry__worker worker = {.state = WHERRY__WORKER_STARTING, .since = wherry_now(), .pidfd = -1};
    worker.share = 2 * slot;
    if (server->slots[slot].old.pid && server->slots[slot].old.share == worker.share)
        worker.share++;
    server->shares[worker.share] = 0;
    int control[2];
    int result = wherry__unix_pair(control, SOCK_SEQPACKET, true);
    if (result < 0)
        return no_descriptor(server, slot, -result);
    wherry__fd_guard();
    control[0] = wherry__fd_note(control[0]); /* closed in the child; the other end is not */
    wherry__fd_unguard();
    fflush(NULL); /* or the child would write it, too */
    worker.pid = wherry__sys.fork();
    if (worker.pid == 0)
        wherry__worker_main(server, slot, worker.share, control[1]);
    int code = errno;
    wherry__sys.close(control[1]);
    worker.control = control[0];
    if (worker.pid < 0) {
        wherry__fd_close(&worker.control);
        return cannot_fork(server, slot, code);
    }
    wherry__fd_guard();
    worker.pidfd = wherry__sys.pidfd_open(worker.pid, 0);
    code = errno;
    worker.pidfd = wherry__fd_note(worker.pidfd); /* -1 under a valgrind that has none: see wait_for() */
    wherry__fd_unguard();
    if (worker.pidfd < 0 && code != ENOSYS) {
        kill(worker.pid, SIGKILL); /* a child that nobody has waited for: the number is its own */
        waitpid(worker.pid, NULL, 0);
        wherry__fd_close(&worker.control);
        return no_descriptor(server, slot, code);
    }
    worker.generation = server->generation;
    worker.kill_at = wherry_after(server->options.start_timeout);
    *ret_worker = worker;
    return 0;
}

void wherry__worker_tell(struct wherry__worker *worker, char what)
{
    wherry__sys.send(worker->control, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

char wherry__worker_hear(struct wherry__worker *worker)
{
    struct {
        char what[sizeof(int)]; /* the first of them */
        int code;
        char why[sizeof worker->why];
    } said;
    ssize_t size = wherry__sys.recv(worker->control, &said, sizeof said, MSG_DONTWAIT);
    if (size <= 0)
        return 0;
    if (said.what[0] == WHERRY__SAY_FAILED && size == (ssize_t)sizeof said) {
        worker->code = said.code;
        memcpy(worker->why, said.why, sizeof worker->why);
        worker->why[sizeof worker->why - 1] = '\0';
    }
    return said.what[0];
}

void wherry__worker_kill(const struct wherry__worker *worker)
{
    if (worker->pidfd >= 0)
        wherry__sys.pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0);
    else
        wherry__sys.kill(worker->pid, SIGKILL); /* not waited for yet: the number is its own */
}

/* By number where there are no pidfds: valgrind 3.19 lacks pidfd_open(2).  The end of its control socket wakes then. */
static int wait_for(const struct wherry__worker *worker, siginfo_t *information, int options)
{
    return worker->pidfd >= 0 ? wherry__sys.waitid(P_PIDFD, (id_t)worker->pidfd, information, options, NULL)
                              : wherry__sys.waitid(P_PID, (id_t)worker->pid, information, options, NULL);
}

static int status_of(const siginfo_t *information)
{
    if (information->si_code == CLD_EXITED)
        return (information->si_status & 0xff) << 8;
    return information->si_status | (information->si_code == CLD_DUMPED ? 0x80 : 0);
}

static void forget(struct wherry__worker *worker)
{
    wherry__fd_close(&worker->pidfd);
    wherry__fd_close(&worker->control);
    worker->pid = 0;
}

bool wherry__worker_ended(struct wherry__worker *worker, int *ret_status)
{
    siginfo_t information = {.si_pid = 0};
    struct pollfd poll = {.fd = worker->pidfd, .events = POLLIN};
    static const struct timespec at_once;
    if (worker->pidfd >= 0 && wherry__sys.ppoll(&poll, 1, &at_once) != 1)
        return false;
    int result = wait_for(worker, &information, WEXITED | WNOHANG);
    if ((result == 0 && information.si_pid == 0) || (result != 0 && errno != ECHILD))
        return false;
    *ret_status = result == 0 ? status_of(&information) : -1; /* H61: SIGCHLD ignored, or another wait took it */
    forget(worker);
    return true;
}

void wherry__worker_end(struct wherry__worker *worker)
{
    siginfo_t information;
    if (worker->pid == 0)
        return;
    wherry__worker_kill(worker);
    while (wait_for(worker, &information, WEXITED) != 0 && errno == EINTR)
        ;
    forget(worker);
}

int wherry__signals_of(const sigset_t *signals)
{
    wherry__fd_guard();
    int fd = wherry__sys.signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);
    int result = fd >= 0 ? wherry__fd_note(fd) : -errno;
    wherry__fd_unguard();
    return result;
}

int wherry__signals_next(int fd)
{
    struct signalfd_siginfo signal;
    return wherry__sys.read(fd, &signal, sizeof signal) == (ssize_t)sizeof signal ? (int)signal.ssi_signo : 0;
}
