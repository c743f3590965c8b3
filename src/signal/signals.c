/* signal/signals.c - owns sets of signals that are received as messages: opening, the thread's mask, receiving.
 * signal/handler.c owns the one handler, for those that ask for it.
 *
 * SPDX-License-Identifier: MIT
 *
 * A signal that is blocked waits, even one that is ignored, until somebody reads it off a signalfd(2).  The mask is a
 * thread's, so what is remembered about it is, too: how many of those that are open block a number, and whether it was
 * blocked before the first.  Closing then leaves alone what the caller changed about other signals meanwhile. */
#include "signal/signals.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"

/* ---- the mask of a thread ---- */

static _Thread_local struct {
    uint64_t id; /* never given again, unlike pthread_self(); the same in a forked child; 0: none yet */
    uint32_t holds[WHERRY__SIGNALS]; /* how many that are open block it */
    sigset_t before;                 /* those with holds that were blocked already */
} mask;

static uint64_t this_thread(void)
{
    static _Atomic uint64_t last;
    if (mask.id == 0)
        mask.id = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    return mask.id;
}

static int hold(const sigset_t *set)
{
    sigset_t found;
    if (wherry__sys.sigprocmask(SIG_BLOCK, set, &found) < 0)
        return wherry__fail_errno(errno, "the signals cannot be blocked");
    for (int number = 1; number < WHERRY__SIGNALS; number++) {
        if (sigismember(set, number) != 1 || mask.holds[number]++ > 0)
            continue;
        if (sigismember(&found, number) == 1)
            sigaddset(&mask.before, number);
        else
            sigdelset(&mask.before, number);
    }
    return 0;
}

static void let_go(const sigset_t *set)
{
    sigset_t open;
    sigemptyset(&open);
    for (int number = 1; number < WHERRY__SIGNALS; number++)
        if (sigismember(set, number) == 1 && --mask.holds[number] == 0 && sigismember(&mask.before, number) != 1)
            sigaddset(&open, number);
    wherry__sys.sigprocmask(SIG_UNBLOCK, &open, NULL);
}

/* ---- opening ---- */

/* The kernel does not even send it then. */
static int check_child(void)
{
    struct sigaction now;
    if (wherry__sys.sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
        return wherry__fail(EINVAL, "SIGCHLD is ignored in this process, perhaps since before it was started, so that "
                                    "none is sent: call wherry_signal_default(SIGCHLD) first");
    return 0;
}

/* A handler that returns from a fault comes back to it, for ever. */
static bool is_fault(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP ||
           number == SIGSYS;
}

static int check(const int *numbers, size_t count, bool handler)
{
    int result = 0;
    if (count == 0 || !numbers)
        return wherry__fail(EINVAL, "no signals to receive: name at least one");
    for (size_t i = 0; i < count && result == 0; i++) {
        result = wherry__signal_check_own(numbers[i]);
        char name[WHERRY_SIGNAL_NAME];
        if (result == 0 && numbers[i] == SIGCHLD && !handler)
            result = check_child();
        if (result == 0 && handler && is_fault(numbers[i]))
            result = wherry__fail(EINVAL,
                                  "%s: a handler that returns from a fault meets it again, for ever; without "
                                  "`handler` it can be received when another process sends it",
                                  wherry_signal_name(numbers[i], name, sizeof name));
    }
    return result;
}

static int open_blocked(struct wherry_signals *signals)
{
    int result = hold(&signals->set);
    if (result < 0)
        return result;
    wherry__fd_guard();
    signals->fd = wherry__fd_note(wherry__sys.signalfd(-1, &signals->set, SFD_CLOEXEC | SFD_NONBLOCK));
    wherry__fd_unguard();
    if (signals->fd >= 0)
        return 0;
    result = wherry__fail_errno(errno, "no descriptor to receive signals by");
    let_go(&signals->set);
    return result;
}

int wherry_signals_open(const int *numbers, size_t count, const struct wherry_signals_options *given,
                        struct wherry_signals **ret_signals)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    int result =
        wherry__options_read(&options, sizeof options, given, sizeof options, "signals", "WHERRY_SIGNALS_OPTIONS");
    if (result == 0)
        result = check(numbers, count, options.handler);
    if (result == 0)
        result = wherry__process_start();
    if (result < 0)
        return result;
    struct wherry_signals *signals = calloc(1, sizeof *signals);
    if (!signals)
        return wherry__fail(ENOMEM, "no memory to receive signals");
    signals->handler = options.handler;
    signals->born = wherry__generation();
    signals->thread = this_thread();
    signals->fd = signals->pipe = -1;
    sigemptyset(&signals->set);
    for (size_t i = 0; i < count; i++)
        sigaddset(&signals->set, numbers[i]);
    result = signals->handler ? wherry__handler_open(signals) : open_blocked(signals);
    if (result < 0)
        free(signals);
    else
        *ret_signals = signals;
    return result;
}

void wherry_signals_close(struct wherry_signals *signals)
{
    if (!signals)
        return;
    if (signals->handler)
        wherry__handler_close(signals);
    else
        wherry__fd_close_from(signals->born, false, &signals->fd);
    /* last: what is pending may end this process now */
    sigset_t set = signals->set;
    bool ours = !signals->handler && signals->thread == this_thread();
    free(signals);
    if (ours)
        let_go(&set);
}

/* ---- receiving ---- */

/* What the fields mean depends on the code; sigaction(2) has the table. */
static void set_kind(struct wherry_signal *signal, int number, int code)
{
    bool of_child = number == SIGCHLD && code > 0 && code != SI_KERNEL;
    bool of_call = code == SI_USER || code == SI_TKILL;
    signal->number = number;
    signal->code = code;
    signal->has_value = code == SI_QUEUE || code == SI_TIMER || code == SI_MESGQ || code == SI_ASYNCIO;
    signal->has_sender = of_child || of_call || code == SI_QUEUE || code == SI_MESGQ;
    signal->vouched = of_child || of_call; /* of the others whoever called sigqueue filled it in: rt_sigqueueinfo(2) */
}

/* A sender outside this PID namespace has the number 0, and so has one for whose name the queue had no room. */
static void settle(struct wherry_signal *signal)
{
    if (signal->has_sender && signal->pid == 0)
        signal->has_sender = signal->vouched = false;
    if (!signal->has_sender)
        signal->pid = 0, signal->uid = 0;
    if (!signal->has_value)
        signal->value = 0, signal->value_int = 0;
    if (!signal->vouched || signal->number != SIGCHLD || signal->code <= 0)
        signal->status = 0;
}

void wherry__signal_of_info(struct wherry_signal *ret, const siginfo_t *info)
{
    memset(ret, 0, sizeof *ret); /* padding, too: it goes through a pipe */
    set_kind(ret, info->si_signo, info->si_code);
    if (ret->has_sender) {
        ret->pid = info->si_pid;
        ret->uid = info->si_uid;
    }
    if (ret->has_value) {
        ret->value = (int64_t)(intptr_t)info->si_value.sival_ptr;
        ret->value_int = info->si_value.sival_int;
    }
    if (ret->number == SIGCHLD && ret->vouched && ret->code > 0)
        ret->status = info->si_status;
    settle(ret);
}

void wherry__signal_to_info(siginfo_t *ret, const struct wherry_signal *signal)
{
    memset(ret, 0, sizeof *ret);
    ret->si_signo = signal->number;
    ret->si_code = signal->code;
    if (signal->has_sender) {
        ret->si_pid = signal->pid;
        ret->si_uid = signal->uid;
    }
    if (signal->has_value)
        ret->si_value.sival_ptr = (void *)(intptr_t)signal->value;
    else if (signal->number == SIGCHLD && signal->vouched && signal->code > 0)
        ret->si_status = signal->status;
}

static void of_kernel(struct wherry_signal *ret, const struct signalfd_siginfo *info)
{
    *ret = (struct wherry_signal){.pid = (pid_t)info->ssi_pid,
                                  .uid = info->ssi_uid,
                                  .value = (int64_t)(intptr_t)(uintptr_t)info->ssi_ptr,
                                  .value_int = info->ssi_int,
                                  .status = info->ssi_status};
    set_kind(ret, (int)info->ssi_signo, info->ssi_code);
    settle(ret);
}

/* One record off the descriptor: 1, or -errno as read(2) has it. */
static int read_one(struct wherry_signals *signals, struct wherry_signal *ret)
{
    struct signalfd_siginfo info;
    ssize_t size = signals->handler ? wherry__sys.read(signals->fd, ret, sizeof *ret)
                                    : wherry__sys.read(signals->fd, &info, sizeof info);
    if (size < 0)
        return -errno;
    if (!signals->handler)
        of_kernel(ret, &info);
    return 1;
}

/* 1; -EAGAIN: there is none now. */
static int try_receive(struct wherry_signals *signals, struct wherry_signal *ret)
{
    for (;;) {
        if (signals->handler && wherry__handler_take_lost(signals, ret))
            return 1;
        int result = read_one(signals, ret);
        bool only_a_mark = result == 1 && ret->number == 0; /* "look at what was lost" */
        if (!only_a_mark && result != -EINTR)
            return result;
    }
}

int wherry_signals_receive(struct wherry_signals *signals, struct wherry_signal *ret_signal, wherry_time deadline)
{
    struct pollfd poll = {.events = POLLIN};
    int fd = wherry_signals_fd(signals);
    if (fd < 0)
        return fd;
    poll.fd = fd;
    for (;;) {
        struct wherry_signal signal;
        int result = try_receive(signals, &signal);
        if (result == 1)
            *ret_signal = signal;
        if (result == 1)
            return 1;
        if (result != -EAGAIN)
            return wherry__fail_errno(-result, "the signals cannot be received");
        if (wherry__deadline_passed(deadline))
            return wherry__fail_quietly(wherry__deadline_code(deadline), "no signal came");
        struct timespec left;
        if (wherry__sys.ppoll(&poll, 1, wherry__deadline_left(deadline, &left)) < 0 && errno != EINTR)
            return wherry__fail_errno(errno, "the wait for a signal failed");
    }
}

int wherry_signals_fd(struct wherry_signals *signals)
{
    if (signals->born != wherry__generation())
        return wherry__fail_quietly(ECHILD, "these signals are the parent's: the child of a fork opens its own");
    return signals->fd;
}
