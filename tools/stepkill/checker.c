/* checker.c - owns the commands that are run around a kill, and what they leave behind.
 *
 * SPDX-License-Identifier: MIT */
#include "checker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stepkill.h"

static void become_command(const char *command, int output)
{
    int nothing = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    if (nothing > STDERR_FILENO)
        close(nothing);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Keep the end of what comes. */
static bool take_output(struct check *check, int fd)
{
    char bytes[4096];
    ssize_t got = read(fd, bytes, sizeof bytes);
    if (got <= 0)
        return got < 0 && (errno == EINTR || errno == EAGAIN);
    size_t size = (size_t)got, more = size > CHECK_OUTPUT ? CHECK_OUTPUT : size;
    size_t kept = check->size > CHECK_OUTPUT - more ? CHECK_OUTPUT - more : check->size;
    memmove(check->output, check->output + check->size - kept, kept);
    memcpy(check->output + kept, bytes + size - more, more);
    check->size = kept + more;
    return true;
}

static void judge(struct check *check, int status)
{
    if (WIFSIGNALED(status))
        snprintf(check->reason, sizeof check->reason, "killed by SIG%s", signal_name(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        snprintf(check->reason, sizeof check->reason, "exited with %d", WEXITSTATUS(status));
}

/* Read until the command ends: what it leaves in the background may hold the pipe for ever. */
static int attend(struct check *check, pid_t pid, int fd, int64_t limit)
{
    int64_t began = now();
    int done = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
    if (done < 0)
        return -errno;
    struct pollfd waits[] = {{.fd = done, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    bool late = false;
    for (;;) {
        int64_t left = began + limit - now();
        late = left <= 0;
        if (late || asked_to_end)
            break;
        poll(waits, 2, (int)(left / 1000000 < 1000 ? left / 1000000 + 1 : 1000));
        if (waits[1].revents && !take_output(check, fd))
            waits[1].fd = -1;
        if (waits[0].revents != 0)
            break;
        waits[0].revents = waits[1].revents = 0;
    }
    check->took = now() - began;
    kill(-pid, SIGKILL); /* before it is waited for: the number of the group is its own until then */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    errno = 0;
    while (take_output(check, fd) && errno != EAGAIN)
        errno = 0;
    close(done);
    if (asked_to_end)
        return -ECANCELED;
    if (late)
        snprintf(check->reason, sizeof check->reason, "did not finish within %.3g s", (double)limit / 1e9);
    else
        judge(check, status);
    return 0;
}

int check_run(struct check *check, const char *command, int64_t limit)
{
    int fds[2];
    *check = (struct check){.took = 0};
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        become_command(command, fds[1]);
    int result = pid < 0 ? -errno : 0;
    close(fds[1]);
    if (pid > 0) {
        setpgid(pid, pid); /* whoever comes first */
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        result = attend(check, pid, fds[0], limit);
    }
    close(fds[0]);
    check->output[check->size] = '\0';
    return result;
}

static bool adopts;

void check_adopt(void)
{
    /* one that is here already belongs to who executed us in its place */
    adopts = waitpid(-1, NULL, WNOHANG | __WALL) < 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

void check_strays(void)
{
    char path[64];
    if (!adopts)
        return;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    for (;;) {
        pid_t ended = waitpid(-1, NULL, WNOHANG | __WALL);
        if (ended > 0)
            continue;
        if (ended < 0)
            return;
        int pid;
        bool any = false;
        FILE *children = fopen(path, "re");
        while (children && fscanf(children, "%d", &pid) == 1)
            any |= kill(pid, SIGKILL) == 0;
        if (children)
            fclose(children);
        if (!any)
            return;
        waitpid(-1, NULL, __WALL);
    }
}
