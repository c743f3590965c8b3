/* wherry/signal.h - signals as messages: received with their sender and value, sent with a value, by name.
 *
 * SPDX-License-Identifier: MIT
 *
 * A signal says "look", it carries no state: of the standard ones (1 to 31) a hundred that wait are one.  Those from
 * SIGRTMIN to SIGRTMAX queue up, each with its value, up to RLIMIT_SIGPENDING for all processes of a user; then sending
 * one with a value is -EAGAIN.
 *
 * wherry_signals_open() blocks signals in the calling thread and receives them by a descriptor; no handler is
 * installed.  Threads that were there before and do not block them would still die of them: open it before the first
 * thread, which hands its mask on to those that it makes, or ask for `handler`.
 *
 * Threads: calls on one struct wherry_signals are safe together, save its close; what was sent to a thread is received
 * by that thread alone, with `handler` by any.
 * Fork: in a forked child every call on it gives -ECHILD; wherry_signals_close() there restores the mask or the
 * dispositions all the same.  Signals: async-signal-safe is what says so.
 * Outputs (`ret_...`) are untouched on failure.  signal(7), signalfd(2), wherry_signals(3), wherry_signal(3). */
#ifndef WHERRY_SIGNAL_H
#define WHERRY_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- names ---- */

/* The number of "TERM", "SIGTERM", "rtmin+3", "RTMAX-1" or "15"; 0 for "0".  Returns it; -EINVAL. */
WHERRY_API int wherry_signal_number(const char *text);

enum { WHERRY_SIGNAL_NAME = 24 }; /* bytes that hold any name */

/* "SIGTERM", "SIGRTMIN+3", or "signal 99" for what is none, into `buffer`, which it returns.  Async-signal-safe. */
WHERRY_API const char *wherry_signal_name(int number, char *buffer, size_t size);

/* ---- receiving ---- */

struct wherry_signals;

/* Start from WHERRY_SIGNALS_OPTIONS; zero means the default. */
struct wherry_signals_options {
    size_t size; /* sizeof of the struct that the caller was compiled with */
    bool
        handler; /* block nothing: a handler writes what comes into a pipe.  For programs with threads that do not block
                   * these signals.  What does not fit is counted, and no number is lost: see `lost` */
};

#ifdef __cplusplus
static inline struct wherry_signals_options wherry__signals_options(void)
{
    struct wherry_signals_options options = wherry_signals_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_SIGNALS_OPTIONS wherry__signals_options()
#else
#define WHERRY_SIGNALS_OPTIONS                                                                                         \
    {                                                                                                                  \
        .size = sizeof(struct wherry_signals_options)                                                                  \
    }
#endif

/* One signal that came. */
struct wherry_signal {
    int32_t number;
    int32_t
        code;  /* si_code of sigaction(2): SI_USER (0) kill(2), SI_QUEUE (-1) sigqueue(3), SI_TIMER, CLD_EXITED ... */
    pid_t pid; /* with has_sender: who sent it; with SIGCHLD of the kernel, the child */
    uid_t uid; /* its real user */
    int64_t value;     /* with has_value: all of it, as a pointer or an int64_t was sent ... */
    int32_t value_int; /* ... and what a program meant that sent sival_int */
    int32_t status;    /* SIGCHLD of the kernel: exit status, or the signal, as `code` says */
    bool has_sender;
    bool vouched; /* the kernel says who: false with a value, whose sender says it of itself */
    bool has_value;
    uint64_t lost; /* with `handler`: so many of this number found no room; this one stands for them, and what came
                    * with each is gone */
};

/* Receive these signals as messages from now on.  Returns 0 and what the caller closes; -EINVAL: no signal, SIGKILL or
 * SIGSTOP, one of the C library's own, SIGCHLD while it is ignored (then the kernel sends none), a fault such as
 * SIGSEGV with `handler`; -EBUSY, with `handler`: received so already; -EMFILE, -ENFILE, -ENOMEM. */
WHERRY_API int wherry_signals_open(const int *numbers, size_t count, const struct wherry_signals_options *options,
                                   struct wherry_signals **ret_signals);

/* Put the mask back as it was before open, if this is the thread that opened it (another's is left alone), or the
 * dispositions that nobody changed meanwhile.  What came and was not received takes effect then: receive with
 * WHERRY_NOW until -EAGAIN where it shall not.  What two that are open both block stays blocked until both are closed.
 * NULL is fine. */
WHERRY_API void wherry_signals_close(struct wherry_signals *signals);

/* Wait until `deadline` for one signal, the lowest number first, of one real-time number the oldest first.
 * Returns 1; -EAGAIN (deadline WHERRY_NOW), -ETIMEDOUT: none came; -ECHILD. */
WHERRY_API int wherry_signals_receive(struct wherry_signals *signals, struct wherry_signal *ret_signal,
                                      wherry_time deadline);

/* A descriptor for poll(2), epoll(7) or libuv: readable while a signal can be received.  The struct's own: do not close
 * it, and do not poll it in a forked child.  -ECHILD. */
WHERRY_API int wherry_signals_fd(struct wherry_signals *signals);

/* ---- what is pending, and what a signal does ---- */

/* The numbers of all signals that are blocked and wait for the calling thread or its process, lowest first: up to
 * `capacity` of them to `numbers`.  Takes none.  Returns how many there are.  Async-signal-safe. */
WHERRY_API int wherry_signals_pending(int *numbers, size_t capacity);

/* Ignore a signal, or let it do again what it does by default, in the whole process; both are inherited by exec.
 * SIGCHLD ignored: children vanish, and waitpid(2) and system(3) fail.
 * Returns 0; -EINVAL: SIGKILL, SIGSTOP or none; -EBUSY: it is received with `handler`. */
WHERRY_API int wherry_signal_ignore(int number);
WHERRY_API int wherry_signal_default(int number);

/* ---- sending ---- */

/* Send a signal to a process (pid > 0).  `value` NULL: kill(2); its receiver sees a sender for whom the kernel vouches.
 * A value: sigqueue(3).  Of a standard signal the second that waits is dropped, value and all: values go with SIGRTMIN
 * and above.  number 0 asks whether it could be sent.
 * Returns 0; -ESRCH: no such process; -EPERM: another user's, who is named; -EAGAIN: a value, and the queue is full
 * (RLIMIT_SIGPENDING); -EINVAL: the signal, or a pid that is none; -EOVERFLOW: the value needs more bits than a pointer
 * has. */
WHERRY_API int wherry_signal_send(pid_t pid, int number, const int64_t *value);

/* The same by a pidfd, which never means another process: -ESRCH once it has ended.  -EBADF: it is none. */
WHERRY_API int wherry_signal_send_fd(int pidfd, int number, const int64_t *value);

/* To one thread of a process. */
WHERRY_API int wherry_signal_send_thread(pid_t pid, pid_t tid, int number, const int64_t *value);

/* To all of a process group that may be sent to; 0 if it was at least one.  -EINVAL: group 1 that is not one's own,
 * which kill(2) would take for all processes, or 0 and less. */
WHERRY_API int wherry_signal_send_group(pid_t group, int number);

#ifdef __cplusplus
}
#endif
#endif
