/* tests/fault/test_fault_signal.c - owns the proof that any system call and any allocation may fail, once, anywhere
 * between opening a set of signals and closing it, also within the handler, and in any way of sending.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whatever fails says so and why, keeps its hands off its output and leaves no descriptor; a signal that was sent
 * comes, or, if its set was closed first, takes effect: none is swallowed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wherry/signal.h>

#include "base/why.h"
#include "fault/inject.h"
#include "harness.h"

static const int codes[] = {EINTR, EIO, ENOMEM, EPERM, ESRCH, EMFILE, EINVAL, EAGAIN};

static char problem[400];
static const char nothing[] = "nothing was said";
static volatile sig_atomic_t took_effect;
static int sent, received;

static void effect(int number)
{
    (void)number;
    took_effect = took_effect + 1;
}

static bool went(const char *what, long long result, bool output_kept)
{
    if (result >= 0)
        return true;
    bool said = strcmp(wherry_why(), nothing) != 0;
    if (!problem[0] && (!output_kept || !said || !inject_fired() || (result == -EINTR && strcmp(what, "receive") == 0)))
        snprintf(problem, sizeof problem, "%s: %lld, %s%s%s", what, result, wherry_why(),
                 output_kept ? "" : "; its output was touched", inject_fired() ? "" : "; nothing was injected");
    return false;
}
#define STEP(call_) went(#call_, IN_LIBRARY(call_), true)

/* Own handlers before: what takes effect is counted. */
static void settle(void)
{
    struct sigaction own = {.sa_handler = effect};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGUSR1);
    sigaction(SIGRTMIN, &own, NULL);
    sigaction(SIGUSR1, &own, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static bool is_untouched(const struct wherry_signal *signal)
{
    struct wherry_signal before;
    memset(&before, 0x5a, sizeof before);
    return memcmp(signal, &before, sizeof before) == 0;
}

/* Those that came without room count as well: all of a number that come at once. */
static bool take_one(struct wherry_signals *signals)
{
    struct wherry_signal got;
    memset(&got, 0x5a, sizeof got);
    long long result = IN_LIBRARY(wherry_signals_receive(signals, &got, test_deadline()));
    if (result == 1)
        received += got.lost ? (int)got.lost : 1;
    return went("receive", result, result == 1 || is_untouched(&got));
}

static bool live(bool handler)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    struct wherry_signals *signals = NULL;
    int numbers[] = {SIGRTMIN, SIGUSR1};
    int64_t value = 3;
    bool fine;
    options.handler = handler;
    long long opened = IN_LIBRARY(wherry_signals_open(numbers, 2, &options, &signals));
    fine = went("open", opened, opened == 0 || signals == NULL);
    for (int i = 0; i < 3 && fine; i++) {
        fine = i == 0   ? STEP(wherry_signal_send(getpid(), SIGRTMIN, &value))
               : i == 1 ? STEP(wherry_signal_send(getpid(), SIGUSR1, NULL))
                        : STEP(wherry_signal_send_thread(getpid(), gettid(), SIGRTMIN, &value));
        sent += fine;
        fine = fine && STEP(wherry_signals_pending(numbers, 2)) && (i == 2 || take_one(signals));
    }
    (void)IN_LIBRARY((wherry_signals_close(signals), 0)); /* with one left that nobody received */
    return fine;
}

static bool live_blocked(void)
{
    return live(false);
}

static bool live_by_handler(void)
{
    return live(true);
}

static bool live_sending(void)
{
    int64_t value = 1;
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    bool fine =
        STEP(wherry_signal_ignore(SIGUSR2)) && STEP(wherry_signal_send_fd(pidfd, SIGUSR2, NULL)) &&
        STEP(wherry_signal_send_fd(pidfd, SIGUSR2, &value)) && STEP(wherry_signal_send_group(getpgrp(), SIGUSR2)) &&
        STEP(wherry_signal_send_thread(getpid(), gettid(), SIGUSR2, NULL)) && STEP(wherry_signal_default(SIGUSR2));
    close(pidfd);
    return fine;
}

/* Calls that cannot fail so with these arguments, and of whose failure in a close nobody could make anything: to put a
 * mask or a disposition back; to read the rest off a pipe; to send oneself once more what came. */
static bool is_at_the_end(enum inject_call call, int code)
{
    return call == INJECT_sigaction || call == INJECT_sigprocmask || call == INJECT_tgkill ||
           call == INJECT_tgsigqueueinfo || (call == INJECT_read && code != EINTR);
}

static const struct {
    const char *name;
    bool (*live)(void);
} lives[] = {{"blocked", live_blocked}, {"handler", live_by_handler}, {"sending", live_sending}};

/* Returns whether there was such a call. */
static bool run(size_t index, size_t call, unsigned nth, int code, size_t descriptors, size_t *failures)
{
    settle(); /* also what the run before left blocked */
    sent = received = 0;
    took_effect = 0;
    inject_arm((enum inject_call)call, nth, code);
    wherry__fail_quietly(EPERM, nothing);
    *failures += !lives[index].live();
    bool fired = inject_fired();
    inject_arm(INJECT_read, 0, 0);
    ck_assert_msg(!problem[0], "call %u of %s fails with %s: %s", nth, inject_name(call), strerrorname_np(code),
                  problem);
    ck_assert_msg(test_descriptors() == descriptors, "call %u of %s fails with %s: descriptors are left", nth,
                  inject_name(call), strerrorname_np(code));
    if (!is_at_the_end((enum inject_call)call, code) || !fired)
        ck_assert_msg(sent == received + took_effect,
                      "call %u of %s fails with %s: %d sent, %d received, %d took effect", nth, inject_name(call),
                      strerrorname_np(code), sent, received, (int)took_effect);
    return fired;
}

TEST_WITH(each_call_fails_once, .table = lives, .stride = sizeof *lives, .length = sizeof lives / sizeof *lives,
          .seconds = 120)
{
    size_t runs = 0, failures = 0;
    size_t descriptors = test_descriptors();
    inject_init();
    for (size_t call = 0; call < INJECT_CALLS; call++)
        for (size_t c = 0; c < sizeof codes / sizeof *codes; c++)
            for (unsigned nth = 1; run(index, call, nth, codes[c], descriptors, &failures); nth++)
                runs++;
    settle();
    ck_assert_msg(lives[index].live(), "the next life fails: %s", wherry_why());
    signal(SIGRTMIN, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    printf("# %s: %zu runs, %zu of them failed, and said why\n", lives[index].name, runs, failures);
    fflush(stdout);
    ck_assert_uint_gt(failures, 10);
}
