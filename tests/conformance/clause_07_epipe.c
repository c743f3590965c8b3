/* tests/conformance/clause_07_epipe.c - a send with nobody left to receive gives -EPIPE, and never a signal.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>

#include "kit.h"

/* SIGPIPE kills whoever has not changed its disposition: see that it is the default one, and that none is left
 * pending. */
static void check_no_sigpipe(void)
{
    struct sigaction action;
    sigset_t pending, blocked;
    sigaction(SIGPIPE, NULL, &action);
    must(action.sa_handler == SIG_DFL, "the library changed the disposition of SIGPIPE");
    sigpending(&pending);
    must(!sigismember(&pending, SIGPIPE), "SIGPIPE is pending");
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    must(!sigismember(&blocked, SIGPIPE), "SIGPIPE stays blocked");
}

/* Where nobody knows that there are no receivers the channel fills up, or what is sent is lost. */
static void post_to_nobody(const struct subject *subject, struct wherry_channel *sender)
{
    if (HAS(KNOWS_RECEIVERS) || !HAS(LOSSY))
        test_is(post_until_refused(subject, sender), HAS(KNOWS_RECEIVERS) ? -EPIPE : -EAGAIN);
    else
        for (unsigned n = 0; n < 100; n++)
            test_is(post(subject, sender, SMALL, n, soon()), 0);
}

CASE(07, h35_nobody_left_is_epipe_and_no_signal, .frames = RECORDS | RAW, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    signal(SIGPIPE, SIG_DFL);
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    close_now(receiver);
    post_to_nobody(subject, sender);
    check_no_sigpipe();
    if (HAS(KNOWS_RECEIVERS))
        test_is(post(subject, sender, SMALL, 1, soon()), -EPIPE); /* and it stays so */
    check_no_sigpipe();
    crate_fini(&crate);
    close_now(sender);
    check_no_sigpipe();
    site_fini(&site);
}

CASE(07, nobody_left_is_known_at_the_first_send, .frames = RECORDS, .needs = WHERRY_TRAIT_KNOWS_RECEIVERS,
     .when = knows_at_once)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    close_now(receiver); /* nothing was ever received: the connection was perhaps never accepted */
    test_is(post_until_refused(subject, sender), -EPIPE);
    close_now(sender);
    site_fini(&site);
}

CASE(07, a_waiting_sender_hears_that_nobody_is_left, .frames = RECORDS, .needs = WHERRY_TRAIT_KNOWS_RECEIVERS,
     .lacks = WHERRY_TRAIT_LOSSY)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    fill(subject, sender, SMALL, 0);
    struct errand errand = to_send(subject, sender, SMALL, 1, soon());
    worker_start(&worker, errand_send, &errand);
    worker_until_asleep(&worker);
    close_now(receiver);
    worker_join(&worker);
    test_is(errand.result, -EPIPE);
    check_no_sigpipe();
    close_now(sender);
    site_fini(&site);
}

CASE(07, send_many_and_flush_say_epipe, .frames = RECORDS, .needs = WHERRY_TRAIT_KNOWS_RECEIVERS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    uint8_t data[SMALL];
    struct wherry_message messages[3] = {
        {.data = data, .size = SMALL}, {.data = data, .size = SMALL}, {.data = data, .size = SMALL}};
    compose(subject, data, sizeof data, 1);
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    close_now(receiver);
    test_is(post_until_refused(subject, sender), -EPIPE);
    test_is(wherry_channel_send_many(sender, messages, 3, soon()), -EPIPE);
    int result = wherry_channel_send_message(sender, messages, WHERRY_MORE, soon());
    if (result == 0)
        result = wherry_channel_flush(sender, soon());
    test_is(result, -EPIPE);
    check_no_sigpipe();
    close_now(sender);
    site_fini(&site);
}

/* A SIGPIPE of the user's own, blocked and pending, is the user's. */
CASE(07, a_pending_sigpipe_of_the_users_stays, .needs = WHERRY_TRAIT_KNOWS_RECEIVERS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    sigset_t set, pending;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    close_now(receiver);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    test_is(post_until_refused(subject, sender), -EPIPE);
    sigpending(&pending);
    must(sigismember(&pending, SIGPIPE), "the user's own pending SIGPIPE is gone");
    close_now(sender);
    static const struct timespec at_once;
    ck_assert_int_eq(sigtimedwait(&set, NULL, &at_once), SIGPIPE);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    site_fini(&site);
}

/* Where a receiver can come back, a sender that lost one opens the address again. */
CASE(07, a_new_receiver_serves_new_senders,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    crate_init(&crate, subject, SMALL);
    for (unsigned round = 0; round < 3; round++) {
        struct wherry_channel *sender, *receiver;
        open_two(&site, &sender, &receiver);
        while (HAS(REMAINS) && round > 0 && take(receiver, &crate, WHERRY_NOW) == 1)
            ; /* what was sent while nobody received waited for this one */
        test_is(post(subject, sender, SMALL, round, soon()), 0);
        expect(receiver, &crate, SMALL, round);
        close_now(receiver);
        post_to_nobody(subject, sender);
        close_now(sender);
    }
    crate_fini(&crate);
    site_fini(&site);
}
