/* run_guard.c - owns the process in front of the one that supervises, so that either may be killed and nobody is left.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel kills the first process of a unit when its parent dies, and nobody behind it.  So there are two processes:
 * the one in front, which the shell knows, adopts whoever loses his parent (subreaper), passes signals on, and waits;
 * the one behind it supervises.  If the one behind is killed, the one in front kills all that it adopted.  If the one
 * in front is killed, the one behind gets SIGTERM and stops all in order.  As PID 1 one process suffices: the kernel
 * ends its whole namespace with it.
 *
 * Both hold the lock, which is therefore free only when nobody of the run is left. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/lock.h>

#include "run.h"

/* ---- the lock ---- */

/* It may be removed by whoever had it, at any time before we have it. */
static int take_lock(const struct run_place *place, struct wherry_lock **ret_lock)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    wherry_time deadline = wherry_after(WHERRY_SECOND); /* for who is about to end */
    int result;
    options.create = true;
    do {
        if ((result = wherry_lock_open(place->lock, &options, &lock)) < 0)
            break;
        result = wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, deadline);
        if (result < 0)
            wherry_lock_close(lock);
    } while (result == -ESTALE);
    if (result == 0) {
        *ret_lock = lock;
        return 0;
    }
    if (result != -ETIMEDOUT && result != -EAGAIN)
        return complain(TOOL_FAILED, "run: %s", wherry_why());
    struct wherry_lock_holder holder = {0};
    (void)wherry_lock_holders(place->lock, &holder, 1, sizeof holder, NULL);
    return complain(TOOL_BUSY,
                    "run: %s is run already, by pid %d: 'wherry run --status' shows it, --stop ends it, and "
                    "--name NAME makes another",
                    place->what, (int)holder.pid);
}

static struct wherry_lock *kept; /* by PID 1, which is both */

void guard_leave(const struct run_place *place)
{
    if (!kept)
        return;
    unlink(place->lock); /* while it is ours: who waits for it notices, and begins anew */
    wherry_lock_close(kept);
    kept = NULL;
}

/* ---- signals ---- */

size_t signals_not_ignored(const int *numbers, size_t count, int *ret_numbers)
{
    struct sigaction action;
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            ret_numbers[found++] = numbers[i];
    return found;
}

static void block_what_is_passed_on(const struct run_request *request, sigset_t *ret_set)
{
    static const int always[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    int numbers[RUN_SIGNALS + 4];
    size_t count = signals_not_ignored(always, sizeof always / sizeof *always, numbers);
    count += signals_not_ignored(request->forward, request->forward_count, numbers + count);
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGCHLD);
    for (size_t i = 0; i < count; i++)
        sigaddset(ret_set, numbers[i]);
    sigprocmask(SIG_BLOCK, ret_set, NULL);
}

/* ---- the end ---- */

/* One of this process's children, be it its own or adopted; 0: none is left. */
static pid_t any_child(void)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    return (pid_t)strtol(text, NULL, 10);
}

/* Whoever is killed hands its children over to us, so that this comes to an end. */
static void kill_the_adopted(void)
{
    for (pid_t pid; (pid = any_child()) > 0;) {
        kill(pid, SIGKILL); /* a child that was not waited for: the number is its own */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
}

/* As the one behind ended, so does the one in front. */
static int end_like(int status)
{
    char name[WHERRY_SIGNAL_NAME];
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    int number = WTERMSIG(status);
    if (number == SIGPIPE)
        raise(SIGPIPE); /* nobody reads any more: as commands do */
    return complain(TOOL_SIGNAL + number, "run: the process that supervises was killed by %s, and all units with it",
                    wherry_signal_name(number, name, sizeof name));
}

/* Reap until the one behind has ended; whatever else arrives is passed on to it. */
static int watch(pid_t behind, const sigset_t *set)
{
    siginfo_t info;
    for (;;) {
        int status, number = sigwaitinfo(set, &info);
        if (number > 0 && number != SIGCHLD)
            kill(behind, number);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            if (pid == behind)
                return status;
    }
}

/* What the one behind could not remove: its socket, and that one's claim.  Nobody else's, as long as we have the
 * lock. */
static void clear_up(const struct run_place *place)
{
    static const char *const endings[] = {".sock", ".sock.lock"};
    size_t size = strlen(place->lock) - strlen(".lock");
    char path[RUN_PATH + 16];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(path, sizeof path, "%.*s%s", (int)size, place->lock, endings[i]);
        unlink(path);
    }
}

static int stand_in_front(pid_t behind, const struct run_place *place, const sigset_t *set)
{
    int status = watch(behind, set);
    kill_the_adopted();
    if (WIFSIGNALED(status))
        clear_up(place);
    guard_leave(place);
    return end_like(status);
}

/* Signals stay blocked, so that none is lost, or kills, before the loop takes them. */
static void stand_behind(pid_t front)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != front)
        _exit(TOOL_FAILED);
    setpgid(0, 0);           /* what a terminal sends comes to the one in front, and from there once */
    wherry_lock_close(kept); /* frees: its descriptor stayed with the one in front */
    kept = NULL;
}

bool guard_enter(const struct run_request *request, const struct run_place *place, int *ret_code)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t set;
    *ret_code = take_lock(place, &kept);
    if (*ret_code != 0)
        return false;
    if (getpid() == 1)
        return true;
    sigaction(SIGCHLD, &normal, NULL);
    block_what_is_passed_on(request, &set);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t front = getpid(), behind = fork();
    if (behind == 0) {
        stand_behind(front);
        return true;
    }
    if (behind < 0)
        *ret_code = complain(TOOL_FAILED, "run: no process to supervise in: %s", strerror(errno));
    else
        *ret_code = stand_in_front(behind, place, &set);
    guard_leave(place);
    return false;
}
