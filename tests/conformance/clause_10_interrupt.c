/* tests/conformance/clause_10_interrupt.c - interrupt ends all waits of an endpoint, from a thread or a signal handler.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>

#include "kit.h"

/* ---- from a thread --------------------------------------------------------------------------------------------- */

static void interrupt_a_wait(struct wherry_channel *channel, void (*run)(void *), struct errand *errand)
{
    struct worker worker;
    worker_start(&worker, run, errand);
    worker_until_asleep(&worker);
    wherry_channel_interrupt(channel);
    worker_join(&worker);
    test_is(errand->result, -ECANCELED);
}

CASE(10, interrupt_ends_a_waiting_receive)
{
    struct two two;
    two_init(&two, subject, SMALL);
    for (int round = 0; round < 3; round++) {
        struct errand errand = to_receive(subject, two.receiver, WHERRY_FOREVER);
        interrupt_a_wait(two.receiver, errand_receive, &errand);
        test_is(post(subject, two.sender, SMALL, 1, soon()), 0); /* the endpoint goes on */
        expect(two.receiver, &two.crate, SMALL, 1);
        test_is(take(two.receiver, &two.crate, quiet()), -ETIMEDOUT); /* and the interrupt is used up */
    }
    two_fini(&two);
}

CASE(10, interrupt_ends_a_waiting_send, .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct two two;
    two_init(&two, subject, SMALL);
    unsigned count = fill(subject, two.sender, SMALL, 0);
    struct errand errand = to_send(subject, two.sender, SMALL, 9, WHERRY_FOREVER);
    interrupt_a_wait(two.sender, errand_send, &errand);
    test_is(post(subject, two.sender, SMALL, 9, quiet()), -ETIMEDOUT);
    drain(two.sender, two.receiver, &two.crate, SMALL, 0, count); /* what was refused left nothing */
    two_fini(&two);
}

CASE(10, interrupt_ends_all_waits)
{
    struct two two;
    struct worker workers[3];
    struct errand errands[3];
    two_init(&two, subject, SMALL);
    for (int i = 0; i < 3; i++) {
        errands[i] = to_receive(subject, two.receiver, WHERRY_FOREVER);
        worker_start(&workers[i], errand_receive, &errands[i]);
    }
    for (int i = 0; i < 3; i++)
        worker_until_asleep(&workers[i]);
    wherry_channel_interrupt(two.receiver);
    for (int i = 0; i < 3; i++) {
        worker_join(&workers[i]);
        test_is(errands[i].result, -ECANCELED);
    }
    two_fini(&two);
}

/* ---- before the wait ------------------------------------------------------------------------------------------- */

CASE(10, interrupt_before_the_wait_ends_the_next_one, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct two two;
    two_init(&two, subject, SMALL);
    wherry_channel_interrupt(two.receiver);
    test_is(take(two.receiver, &two.crate, soon()), -ECANCELED);
    test_is(take(two.receiver, &two.crate, quiet()), -ETIMEDOUT);
    if (!HAS(LOSSY)) { /* else no send waits */
        unsigned count = fill(subject, two.sender, SMALL, 0);
        wherry_channel_interrupt(two.sender);
        wherry_channel_interrupt(two.sender); /* twice is once */
        test_is(post(subject, two.sender, SMALL, 9, soon()), -ECANCELED);
        test_is(post(subject, two.sender, SMALL, 9, quiet()), -ETIMEDOUT);
        drain(two.sender, two.receiver, &two.crate, SMALL, 0, count);
    }
    two_fini(&two);
}

CASE(10, what_needs_no_wait_is_done_all_the_same)
{
    struct two two;
    two_init(&two, subject, SMALL);
    wherry_channel_interrupt(two.sender);
    test_is(post(subject, two.sender, SMALL, 1, soon()), 0);
    wherry_channel_interrupt(two.receiver);
    if (HAS(POLLABLE))
        must(readable(wherry_channel_receive_fd(two.receiver), soon()), "a message there does not show");
    expect(two.receiver, &two.crate, SMALL, 1);
    test_is(take(two.receiver, &two.crate, soon()), -ECANCELED); /* it waits, and was interrupted before */
    test_is(take(two.receiver, &two.crate, quiet()), -ETIMEDOUT);
    two_fini(&two);
}

CASE(10, interrupt_ends_both_directions, .needs = WHERRY_TRAIT_DUPLEX, .lacks = WHERRY_TRAIT_LOSSY)
{
    struct site site;
    struct wherry_channel *guest, *host;
    struct crate crate;
    struct worker worker;
    site_init(&site, subject);
    site.duplex = true;
    open_two(&site, &guest, &host);
    crate_init(&crate, subject, SMALL);
    fill(subject, guest, SMALL, 0);
    struct errand errand = to_send(subject, guest, SMALL, 9, WHERRY_FOREVER);
    worker_start(&worker, errand_send, &errand);
    worker_until_asleep(&worker);
    wherry_channel_interrupt(guest);
    worker_join(&worker);
    test_is(errand.result, -ECANCELED);
    test_is(take(guest, &crate, soon()), -ECANCELED); /* no receive was under way: its next wait */
    test_is(take(guest, &crate, quiet()), -ETIMEDOUT);
    crate_fini(&crate);
    close_two(guest, host);
    site_fini(&site);
}

/* ---- from a signal handler ------------------------------------------------------------------------------------- */

static struct wherry_channel *interrupted;
static volatile sig_atomic_t changed_errno;

static void interrupt_from_handler(int signal)
{
    (void)signal;
    errno = 4711;
    wherry_channel_interrupt(interrupted);
    changed_errno = errno != 4711;
}

static void handler_install(struct wherry_channel *channel)
{
    struct sigaction action = {.sa_handler = interrupt_from_handler, .sa_flags = SA_RESTART};
    interrupted = channel;
    changed_errno = 0;
    sigaction(SIGUSR1, &action, NULL);
}

static void handler_remove(void)
{
    signal(SIGUSR1, SIG_DFL);
    must(!changed_errno, "interrupt() changed errno");
}

CASE(10, interrupt_from_a_signal_handler_ends_a_wait, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct two two;
    two_init(&two, subject, SMALL);
    handler_install(two.receiver);
    struct blow blow = {.sleeper = getpid(), .target = getpid(), .signal = SIGUSR1};
    pid_t child = strike(&blow);
    test_is(take(two.receiver, &two.crate, WHERRY_FOREVER), -ECANCELED);
    test_join(child);
    test_is(take(two.receiver, &two.crate, quiet()), -ETIMEDOUT);
    if (!HAS(LOSSY)) {
        handler_install(two.sender);
        fill(subject, two.sender, SMALL, 0);
        child = strike(&blow);
        test_is(post(subject, two.sender, SMALL, 9, WHERRY_FOREVER), -ECANCELED);
        test_join(child);
    }
    handler_remove();
    two_fini(&two);
}

CASE(10, interrupt_from_a_signal_handler_before_the_wait)
{
    struct two two;
    two_init(&two, subject, SMALL);
    handler_install(two.receiver);
    raise(SIGUSR1);
    test_is(take(two.receiver, &two.crate, soon()), -ECANCELED);
    handler_remove();
    two_fini(&two);
}

/* Not while a call runs: but whenever it comes, it ends exactly one wait. */
static void interrupt_often(void *argument)
{
    struct wherry_channel *channel = argument;
    for (int i = 0; i < 200; i++) {
        wherry_channel_interrupt(channel);
        test_sleep(100 * WHERRY_MICROSECOND);
    }
}

CASE(10, interrupts_at_any_moment_lose_nothing)
{
    struct two two;
    struct worker worker;
    two_init(&two, subject, SMALL);
    worker_start(&worker, interrupt_often, two.receiver);
    for (unsigned n = 0; n < 300; n++) {
        int result;
        test_is(post(subject, two.sender, SMALL, tag_of(0, n), soon()), 0);
        while ((result = take(two.receiver, &two.crate, soon())) == -ECANCELED)
            continue;
        test_is(result, 1);
        ck_assert_uint_eq(two.crate.tag, tag_of(0, n));
        result = take(two.receiver, &two.crate, wherry_after(50 * WHERRY_MICROSECOND));
        must(result == -ECANCELED || result == -ETIMEDOUT || result == -EAGAIN, "nothing was to come, not %d", result);
    }
    worker_join(&worker);
    two_fini(&two);
}
