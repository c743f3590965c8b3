/* signal/handler.c - owns the one signal handler of the library, which is installed for those who ask for it by
 * `handler` of struct wherry_signals_options, and nobody else.
 *
 * SPDX-License-Identifier: MIT
 *
 * What it does: one write(2) of a record into a pipe that does not block.  It takes no lock, no memory, and calls
 * nothing that signal-safety(7) does not list.  When the pipe is full it counts, so that no number is ever lost: who
 * receives looks at the counts before the pipe.  A count that was not there yet when the last record was taken is told
 * by a mark in the pipe; if the mark finds the pipe full, then there are records in it, and who takes the next sees the
 * count.
 *
 * In a forked child, and in one of vfork(2), what the handler finds is not its own: there the disposition of before is
 * put back and the signal sent once more, so that the child is as if nobody had caught anything. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "signal/signals.h"

/* Written under the guard of base/fd.h, and before the handler of its number is there. */
static struct caught {
    _Atomic(struct wherry_signals *) owner; /* NULL: nobody's */
    _Atomic uint64_t born;                  /* the generation that installed it; 0: never */
    _Atomic pid_t pid;                      /* and its pid: a child of vfork(2) has the same page of generations */
    struct sigaction before;
} caught[WHERRY__SIGNALS];

_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "a handler takes no locks");

/* Handlers between their look at `owner` and their last use of it, in the generation that follows. */
static _Atomic uint32_t in_flight;
static uint64_t in_flight_of;

/* ---- in the handler ---- */

/* To oneself a signal may be sent with all that came, whoever sent it. */
static void send_again(int number, siginfo_t *info)
{
    if (wherry__sys.tgsigqueueinfo(getpid(), gettid(), number, info) < 0)
        wherry__sys.tgkill(getpid(), gettid(), number); /* the queue is full: the number at least */
}

static void act_as_before(const struct caught *was, int number, siginfo_t *info)
{
    wherry__sys.sigaction(number, &was->before, NULL);
    send_again(number, info); /* blocked until this handler returns */
}

static void keep(struct wherry_signals *signals, int number, const siginfo_t *info)
{
    struct wherry_signal record;
    wherry__signal_of_info(&record, info);
    if (wherry__sys.write(signals->pipe, &record, sizeof record) == sizeof record)
        return;
    atomic_fetch_add_explicit(&signals->lost[number], 1, memory_order_seq_cst);
    atomic_store_explicit(&signals->missed, true, memory_order_seq_cst);
    memset(&record, 0, sizeof record);
    (void)wherry__sys.write(signals->pipe, &record, sizeof record);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    struct caught *was = &caught[number];
    (void)context;
    if (atomic_load_explicit(&was->born, memory_order_relaxed) != wherry__generation() ||
        atomic_load_explicit(&was->pid, memory_order_relaxed) != getpid()) {
        act_as_before(was, number, info);
    } else {
        /* sequentially consistent with the close, which takes `owner` away and then looks whether anybody is here */
        atomic_fetch_add_explicit(&in_flight, 1, memory_order_seq_cst);
        struct wherry_signals *signals = atomic_load_explicit(&was->owner, memory_order_seq_cst);
        if (signals)
            keep(signals, number, info);
        atomic_fetch_sub_explicit(&in_flight, 1, memory_order_seq_cst);
        if (!signals)
            act_as_before(was, number, info); /* it is being closed, and nobody will receive any more */
    }
    errno = saved;
}

/* ---- opening and closing ---- */

/* Under the guard. */
static bool is_ours(int number)
{
    return atomic_load_explicit(&caught[number].owner, memory_order_relaxed) &&
           atomic_load_explicit(&caught[number].born, memory_order_relaxed) == wherry__generation();
}

bool wherry__handler_has(int number)
{
    wherry__fd_guard();
    bool has = is_ours(number);
    wherry__fd_unguard();
    return has;
}

static bool has_our_handler(const struct sigaction *action)
{
    return action->sa_flags & SA_SIGINFO && action->sa_sigaction == on_signal;
}

static int install(struct wherry_signals *signals, int number)
{
    struct caught *now = &caught[number];
    struct sigaction found;
    struct sigaction ours = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigfillset(&ours.sa_mask);
    if (wherry__sys.sigaction(number, NULL, &found) < 0)
        return -errno;
    if (!has_our_handler(&found)) /* else a parent's: what it found is what we find */
        now->before = found;
    atomic_store_explicit(&now->owner, signals, memory_order_seq_cst);
    atomic_store_explicit(&now->pid, getpid(), memory_order_relaxed);
    atomic_store_explicit(&now->born, signals->born, memory_order_seq_cst);
    return wherry__sys.sigaction(number, &ours, NULL) < 0 ? -errno : 0;
}

/* Those of `signals` and no others; a disposition that somebody changed meanwhile stays. */
static void uninstall(struct wherry_signals *signals)
{
    for (int number = 1; number < WHERRY__SIGNALS; number++) {
        struct caught *now = &caught[number];
        struct sigaction found;
        if (atomic_load_explicit(&now->owner, memory_order_relaxed) != signals)
            continue;
        if (wherry__sys.sigaction(number, NULL, &found) == 0 && has_our_handler(&found))
            wherry__sys.sigaction(number, &now->before, NULL);
        atomic_store_explicit(&now->owner, NULL, memory_order_seq_cst);
    }
}

static int check_free(const struct wherry_signals *signals)
{
    char name[WHERRY_SIGNAL_NAME];
    for (int number = 1; number < WHERRY__SIGNALS; number++)
        if (sigismember(&signals->set, number) == 1 && is_ours(number))
            return wherry__fail(EBUSY, "%s: this process receives it by a handler already; close that one first",
                                wherry_signal_name(number, name, sizeof name));
    return 0;
}

static int install_all(struct wherry_signals *signals)
{
    int fds[2];
    int result = check_free(signals);
    if (result < 0)
        return result;
    if (in_flight_of != signals->born) { /* those that the parent had in flight are not ours */
        in_flight_of = signals->born;
        atomic_store_explicit(&in_flight, 0, memory_order_relaxed);
    }
    if (wherry__sys.pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return wherry__fail_errno(errno, "no descriptors to receive signals by");
    signals->fd = wherry__fd_note(fds[0]);
    signals->pipe = wherry__fd_note(fds[1]);
    (void)wherry__sys.set_pipe_size(signals->pipe, 1 << 20); /* pages come when they are needed; what is refused, is */
    for (int number = 1; number < WHERRY__SIGNALS && result == 0; number++)
        if (sigismember(&signals->set, number) == 1)
            result = install(signals, number);
    return result < 0 ? wherry__fail_errno(-result, "the handler cannot be installed") : 0;
}

static void wait_for_handlers(void)
{
    while (atomic_load_explicit(&in_flight, memory_order_seq_cst) > 0)
        sched_yield(); /* each is but a few instructions and two writes that do not block */
}

static bool take_rest(struct wherry_signals *signals, struct wherry_signal *ret)
{
    ssize_t size;
    if (wherry__handler_take_lost(signals, ret))
        return true;
    do
        size = wherry__sys.read(signals->fd, ret, sizeof *ret);
    while (size < 0 && errno == EINTR);
    return size == sizeof *ret;
}

/* What was caught and nobody received does what it did before, as what was blocked does when it is not any more. */
static void send_rest_again(struct wherry_signals *signals)
{
    struct wherry_signal rest;
    while (take_rest(signals, &rest)) {
        siginfo_t info;
        wherry__signal_to_info(&info, &rest);
        if (rest.number > 0)
            send_again(rest.number, &info);
    }
}

static void close_in(struct wherry_signals *signals)
{
    uninstall(signals);
    wherry__fd_unguard();
    if (signals->born == wherry__generation()) { /* a child has neither handlers in flight nor anything to read */
        wait_for_handlers();
        if (signals->fd >= 0)
            send_rest_again(signals);
    }
    wherry__fd_close_from(signals->born, false, &signals->pipe);
    wherry__fd_close_from(signals->born, false, &signals->fd);
}

int wherry__handler_open(struct wherry_signals *signals)
{
    wherry__fd_guard();
    int result = install_all(signals);
    if (result < 0)
        close_in(signals);
    else
        wherry__fd_unguard();
    return result;
}

void wherry__handler_close(struct wherry_signals *signals)
{
    wherry__fd_guard();
    close_in(signals);
}

bool wherry__handler_take_lost(struct wherry_signals *signals, struct wherry_signal *ret)
{
    if (!atomic_load_explicit(&signals->missed, memory_order_seq_cst))
        return false;
    atomic_store_explicit(&signals->missed, false, memory_order_seq_cst);
    for (int number = 1; number < WHERRY__SIGNALS; number++) {
        uint32_t lost = atomic_exchange_explicit(&signals->lost[number], 0, memory_order_seq_cst);
        if (lost == 0)
            continue;
        atomic_store_explicit(&signals->missed, true, memory_order_seq_cst); /* there may be more */
        *ret = (struct wherry_signal){.number = number, .lost = lost};
        return true;
    }
    return false;
}
