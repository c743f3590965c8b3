/* pipe_keeper.c - owns the processes of `wherry pipe`: starting them, how each ended, ending them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Halves first, and commands only when all of those have met: where a link cannot be made, no command is run.  All of
 * them are killed by the kernel should the keeper be. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/signal.h>

#include "pipe_keeper.h"
#include "proc.h"

/* From the signal that asks to the one that does not. */
#define GRACE (5 * WHERRY_SECOND)
#define GRACE_LATE (1 * WHERRY_SECOND) /* when -w has passed already */

/* While others' children that came to be ours are waited for. */
#define STEP (20 * WHERRY_MILLISECOND)

/* ---- the end ---- */

void pipe_kill_all(const pid_t *spare, size_t count)
{
    pid_t *children;
    size_t found, left;
    do {
        found = proc_children(&children);
        left = found;
        for (size_t i = 0; i < found; i++) {
            bool spared = false;
            for (size_t j = 0; j < count; j++)
                spared |= spare[j] == children[i];
            left -= spared;
            if (spared)
                continue;
            kill(children[i], SIGKILL); /* a child that nobody but this process can wait for: the number is its own */
            while (waitpid(children[i], NULL, 0) < 0 && errno == EINTR)
                ;
        }
        free(children);
    } while (left > 0); /* who was a child of one of them is one of ours now */
}

static bool is_member(const struct keeper *keeper, pid_t pid)
{
    for (size_t i = 0; i < keeper->count; i++)
        if (keeper->members[i].process && !keeper->members[i].ended &&
            wherry_process_pid(keeper->members[i].process) == pid)
            return true;
    return false;
}

static bool was_asked(const struct keeper *keeper, pid_t pid)
{
    for (size_t i = 0; i < keeper->asked_count; i++)
        if (keeper->asked[i] == pid)
            return true;
    return false;
}

static void ask_to_end(struct keeper *keeper, pid_t pid)
{
    pid_t *more = realloc(keeper->asked, (keeper->asked_count + 1) * sizeof *more);
    if (!more)
        return; /* it is killed, later */
    keeper->asked = more;
    keeper->asked[keeper->asked_count++] = pid;
    kill(pid, SIGTERM);
    kill(pid, SIGCONT);
}

/* What commands leave behind is adopted, and reaped when it has ended.  A member that has is left to its own wait. */
static void reap_adopted(const struct keeper *keeper)
{
    siginfo_t info = {.si_pid = 0};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid && !is_member(keeper, info.si_pid))
        waitpid(info.si_pid, NULL, WNOHANG);
}

/* When all are to end, those are asked to as well.  Returns how many are left. */
static size_t ask_adopted(struct keeper *keeper)
{
    pid_t *children;
    size_t left = 0, found = proc_children(&children);
    for (size_t i = 0; i < found; i++) {
        if (is_member(keeper, children[i]) || waitpid(children[i], NULL, WNOHANG) == children[i])
            continue;
        left++;
        if (!was_asked(keeper, children[i]))
            ask_to_end(keeper, children[i]);
    }
    free(children);
    return left;
}

/* Commands first: a half that has gone looks to them like an end. */
static void signal_members(struct keeper *keeper, int number)
{
    for (size_t i = keeper->count; i-- > 0;)
        if (keeper->members[i].process && !keeper->members[i].ended) {
            wherry_process_kill(keeper->members[i].process, number);
            wherry_process_kill(keeper->members[i].process, SIGCONT); /* one that is stopped would not hear it */
        }
}

/* Everybody is to end.  The first reason is what counts.  `number`: a signal that asks for it; 0: all have got one. */
static void stop(struct keeper *keeper, int number, int code, wherry_time grace)
{
    if (keeper->stopping)
        return;
    keeper->stopping = code;
    keeper->kill_at = wherry_after(grace);
    if (number)
        signal_members(keeper, number);
}

static void kill_now(struct keeper *keeper)
{
    if (!keeper->stopping)
        keeper->stopping = TOOL_CANNOT;
    keeper->kill_at = WHERRY_NOW;
}

/* ---- what happens ---- */

static void take_ready(struct keeper *keeper)
{
    char bytes[64];
    ssize_t got = read(keeper->ready[0], bytes, sizeof bytes);
    if (got > 0 && (size_t)got <= keeper->not_ready)
        keeper->not_ready -= (size_t)got;
    if (got != 0)
        return;
    close(keeper->ready[0]); /* all have said so, or ended: that shows elsewhere */
    keeper->ready[0] = -1;
}

static void take_signals(struct keeper *keeper)
{
    struct wherry_signal signal;
    while (wherry_signals_receive(keeper->signals, &signal, WHERRY_NOW) == 1)
        if (signal.number != SIGCHLD) /* a terminal sends it to all of the group; a program counts how many it gets */
            stop(keeper, signal.code == SI_KERNEL ? 0 : signal.number, TOOL_SIGNAL + signal.number, GRACE);
}

/* The second signal that the front got does not ask any more.  A terminal sends one to both of us: that is one. */
static void take_front(struct keeper *keeper)
{
    unsigned char numbers[8];
    ssize_t got = keeper->orphaned ? -1 : recv(keeper->front, numbers, sizeof numbers, MSG_DONTWAIT);
    if (got == 0) {
        keeper->orphaned = true;
        kill_now(keeper);
    }
    for (ssize_t i = 0; i < got; i++) {
        int number = numbers[i] & ~PIPE_BY_TERMINAL;
        if (number == 0)
            kill_now(keeper);
        else
            stop(keeper, numbers[i] & PIPE_BY_TERMINAL ? 0 : number, TOOL_SIGNAL + number, GRACE);
    }
}

static const char *role_text(enum role role)
{
    return role == SENDER ? "the sending half" : "the receiving half";
}

/* A half ends with its link: all is well, or a pipe broke, or it has said what failed. */
static void half_ended(struct keeper *keeper, const struct member *member)
{
    char text[64];
    const struct wherry_exit *exit = &member->exit;
    bool broken = exit->kind == WHERRY_KILLED && exit->code == SIGPIPE;
    if ((broken || (exit->kind == WHERRY_EXITED && exit->code == 0)) && keeper->started)
        return;
    bool asked = keeper->stopping && exit->code != SIGKILL; /* the second SIGTERM kills them */
    if (exit->kind == WHERRY_KILLED && !broken && !asked && !keeper->killed)
        complain(0, "%s: %s was %s", keeper->job->links[member->index].word, role_text(member->role),
                 wherry_exit_text(exit, text, sizeof text));
    stop(keeper, SIGTERM, TOOL_CANNOT, GRACE);
}

static void take_ends(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->count; i++) {
        struct member *member = &keeper->members[i];
        if (member->ended)
            continue;
        int result = wherry_process_wait(member->process, WHERRY_NOW, &member->exit);
        if (result == -EAGAIN)
            continue;
        member->ended = true; /* -ECHILD: the exit is WHERRY_EXIT_UNKNOWN */
        keeper->running--;
        if (member->role != COMMAND)
            half_ended(keeper, member);
    }
}

static void wait_for_something(struct keeper *keeper, bool adopted)
{
    struct pollfd *polls = keeper->polls;
    size_t count = 0;
    wherry_time until = keeper->stopping ? keeper->kill_at : keeper->job->deadline, step = wherry_after(STEP);
    if (adopted && step < until)
        until = step;
    polls[count++] = (struct pollfd){.fd = wherry_signals_fd(keeper->signals), .events = POLLIN};
    polls[count++] = (struct pollfd){.fd = keeper->orphaned ? -1 : keeper->front, .events = POLLIN};
    polls[count++] = (struct pollfd){.fd = keeper->ready[0], .events = POLLIN};
    for (size_t i = 0; i < keeper->count; i++)
        if (!keeper->members[i].ended)
            polls[count++] = (struct pollfd){.fd = wherry_process_fd(keeper->members[i].process), .events = POLLIN};
    struct timespec span = {.tv_sec = 0};
    wherry_time left = until == WHERRY_FOREVER ? 0 : until - wherry_now();
    if (left > 0)
        span = (struct timespec){.tv_sec = left / WHERRY_SECOND, .tv_nsec = left % WHERRY_SECOND};
    if (ppoll(polls, count, until == WHERRY_FOREVER ? NULL : &span, NULL) <= 0)
        return;
    if (polls[2].revents)
        take_ready(keeper);
}

static void look_at_time(struct keeper *keeper)
{
    wherry_time now = wherry_now();
    if (!keeper->stopping && now >= keeper->job->deadline) {
        complain(0, "pipe: the time that -w gave is over");
        stop(keeper, SIGTERM, TOOL_TIMED_OUT, GRACE_LATE);
    }
    if (keeper->stopping && !keeper->killed && now >= keeper->kill_at) {
        signal_members(keeper, SIGKILL);
        keeper->kill_at = WHERRY_FOREVER;
        keeper->killed = true;
    }
}

/* Until all have ended; and, where all are to end, what they left behind, too. */
static void keep(struct keeper *keeper)
{
    for (;;) {
        take_signals(keeper);
        take_front(keeper);
        take_ends(keeper);
        look_at_time(keeper);
        if (!keeper->started && !keeper->stopping && keeper->not_ready == 0) {
            int code = keeper_start_commands(keeper);
            if (code != TOOL_OK) {
                kill_now(keeper);
                keeper->stopping = code;
            }
            continue;
        }
        reap_adopted(keeper);
        size_t adopted = keeper->stopping ? ask_adopted(keeper) : 0;
        if (keeper->killed || (keeper->running == 0 && adopted == 0))
            break;
        wait_for_something(keeper, adopted > 0);
    }
}

/* ---- the whole ---- */

static int status_of(const struct keeper *keeper, size_t command)
{
    for (size_t i = 0; i < keeper->count; i++)
        if (keeper->members[i].role == COMMAND && keeper->members[i].index == command)
            return wherry_exit_status(&keeper->members[i].exit);
    return -1; /* it was not started */
}

static void say_statuses(const struct keeper *keeper)
{
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < keeper->job->count && used < sizeof text - 16 && keeper->started; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i ? " " : "", status_of(keeper, i));
    if (used > 0)
        note("pipe: %s", text);
}

static int exit_code(const struct keeper *keeper)
{
    int code = keeper->stopping;
    for (size_t i = keeper->job->count; code == 0 && i-- > 0;) {
        code = status_of(keeper, i);
        if (!keeper->job->pipefail)
            break;
    }
    return code;
}

static int open_signals(struct keeper *keeper)
{
    int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD}, wanted[4];
    size_t count = 0;
    struct sigaction old;
    for (size_t i = 0; i < 4; i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            wanted[count++] = numbers[i];
    if (wherry_signals_open(wanted, count, NULL, &keeper->signals) < 0)
        return complain(TOOL_CANNOT, "pipe: %s", wherry_why());
    return TOOL_OK;
}

static int prepare(struct keeper *keeper)
{
    size_t count = keeper->job->count;
    keeper->members = calloc(3 * count, sizeof *keeper->members);
    keeper->polls = calloc(3 * count + 3, sizeof *keeper->polls);
    keeper->pipes = malloc(2 * count * sizeof *keeper->pipes);
    if (!keeper->members || !keeper->polls || !keeper->pipes)
        return complain(TOOL_CANNOT, "pipe: no memory");
    for (size_t i = 0; i < 2 * count; i++)
        keeper->pipes[i][0] = keeper->pipes[i][1] = -1;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_NAME, "wherry-pipe");
    int code = open_signals(keeper);
    return code == TOOL_OK ? keeper_make_pipes(keeper) : code;
}

static void release(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->count; i++)
        wherry_process_close(keeper->members[i].process);
    wherry_signals_close(keeper->signals);
    free(keeper->members);
    free(keeper->polls);
    free(keeper->pipes);
    free(keeper->asked);
}

int pipe_keep(struct pipe_job *job, int front)
{
    struct keeper keeper = {.job = job, .front = front, .ready = {-1, -1}};
    int code = prepare(&keeper);
    if (code == TOOL_OK)
        code = keeper_start_halves(&keeper);
    if (code != TOOL_OK) {
        keeper.stopping = code;
        keeper.kill_at = WHERRY_NOW;
    }
    if (keeper.signals)
        keep(&keeper);
    if (keeper.stopping) {
        signal_members(&keeper, SIGKILL);
        while (keeper.running > 0) {
            take_ends(&keeper);
            for (size_t i = 0; i < keeper.count; i++)
                if (!keeper.members[i].ended)
                    wherry_process_wait(keeper.members[i].process, WHERRY_FOREVER, NULL);
        }
        pipe_kill_all(NULL, 0);
    }
    if (job->options.verbose)
        say_statuses(&keeper);
    code = exit_code(&keeper);
    if (keeper.orphaned)
        pipe_place_remove(&job->place);
    release(&keeper);
    return code;
}
