/* tests/conformance/clause_08_listening_sender.c - the sender listens and receivers connect, where there are sides.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>

#include "kit.h"

/* Who only sends may listen where it has connections to be found by. */
#define MAY_LISTEN (WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_RECEIVERS)

/* Where receivers listen, each for itself, no sender has one to be found by. */
static bool may_listen(const struct subject *subject)
{
    return HAS(MANY_RECEIVERS) && !HAS(FANS_OUT);
}

static bool cannot_listen(const struct subject *subject)
{
    return !may_listen(subject);
}

/* Where it may not: a_sender_that_cannot_listen_says_so. */
static bool has_two_sides(const struct subject *subject)
{
    return may_listen(subject) || !HAS(LISTENS);
}

struct pair {
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
};

static void pair_init(struct pair *pair, const struct subject *subject)
{
    site_init(&pair->site, subject);
    pair->site.reversed = true;
    open_two(&pair->site, &pair->sender, &pair->receiver);
    crate_init(&pair->crate, subject, SMALL);
}

static void pair_fini(struct pair *pair)
{
    crate_fini(&pair->crate);
    close_two(pair->sender, pair->receiver);
    site_fini(&pair->site);
}

CASE(08, a_sender_that_cannot_listen_says_so, .option = WHERRY__OPTION_SIDE, .needs = WHERRY_TRAIT_LISTENS,
     .when = cannot_listen)
{
    struct site site;
    struct wherry_channel *sender = NULL;
    site_init(&site, subject);
    site.reversed = true;
    test_is(site_try(&site, GUEST, WHERRY_NOW, &sender), -EOPNOTSUPP);
    must(wherry_why()[0] != '\0', "without a word of why");
    site_fini(&site);
}

static void receive_five(void *argument)
{
    struct site *site = argument;
    struct crate crate;
    struct wherry_channel *receiver = site_open(site, HOST);
    crate_init(&crate, site->subject, SMALL);
    for (unsigned n = 0; n < 5; n++)
        expect(receiver, &crate, SMALL, tag_of(0, n));
    test_is(take(receiver, &crate, soon()), 0); /* and where that was the only connection, for ever */
    crate_fini(&crate);
    close_now(receiver);
}

CASE(08, a_connecting_receiver_waits_for_the_address, .frames = RECORDS, .option = WHERRY__OPTION_SIDE,
     .when = has_two_sides)
{
    struct site site;
    struct wherry_channel *receiver = NULL, *sender = NULL;
    site_init(&site, subject);
    site.reversed = true;
    test_is(site_try(&site, HOST, WHERRY_NOW, &receiver), -EAGAIN);
    wherry_time deadline = wherry_after(30 * WHERRY_MILLISECOND);
    test_is(site_try(&site, HOST, deadline, &receiver), -ETIMEDOUT);
    must(wherry_now() >= deadline, "the wait ended early");
    pid_t child = test_fork(receive_five, &site);
    test_until_asleep(child);
    sender = site_open(&site, GUEST);
    for (unsigned n = 0; n < 5; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
    test_join(child);
    if (site.path[0])
        ck_assert_int_ne(access(site.path, F_OK), 0); /* whoever listened created it, and took it away */
    site_fini(&site);
}

CASE(08, a_listening_sender_with_nobody_there_waits, .frames = RECORDS, .needs = MAY_LISTEN, .when = may_listen)
{
    struct site site;
    struct worker worker;
    struct crate crate;
    site_init(&site, subject);
    site.reversed = true;
    struct wherry_channel *sender = site_open(&site, GUEST);
    test_is(post(subject, sender, SMALL, 9, WHERRY_NOW), -EAGAIN);
    test_is(post(subject, sender, SMALL, 9, quiet()), -ETIMEDOUT);
    struct errand errand = to_send(subject, sender, SMALL, tag_of(0, 1), soon());
    worker_start(&worker, errand_send, &errand);
    worker_until_asleep(&worker);
    struct wherry_channel *receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    expect(receiver, &crate, SMALL, tag_of(0, 1)); /* and nothing of what was refused */
    worker_join(&worker);
    test_is(errand.result, 0);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(08, a_listening_senders_messages_arrive_in_order, .frames = RECORDS, .needs = MAY_LISTEN, .when = may_listen)
{
    struct pair pair;
    pair_init(&pair, subject);
    for (unsigned round = 0; round < 5; round++) {
        unsigned count = fill(subject, pair.sender, SMALL, 0);
        drain(pair.sender, pair.receiver, &pair.crate, SMALL, 0, count);
    }
    test_is(wherry_channel_close(pair.sender, soon()), 0);
    pair.sender = NULL;
    test_is(take(pair.receiver, &pair.crate, soon()), 0);
    pair_fini(&pair);
}

CASE(08, when_all_receivers_left_it_is_epipe, .frames = RECORDS, .needs = MAY_LISTEN | WHERRY_TRAIT_KNOWS_RECEIVERS,
     .when = may_listen)
{
    struct pair pair;
    pair_init(&pair, subject);
    struct wherry_channel *second = site_open(&pair.site, HOST);
    test_is(post(subject, pair.sender, SMALL, 1, soon()), 0);
    close_now(second);
    for (unsigned n = 0; n < 10; n++) /* one is left: what goes, goes there */
        test_is(post(subject, pair.sender, SMALL, tag_of(1, n), soon()), 0);
    close_now(pair.receiver);
    pair.receiver = NULL;
    wherry_time deadline = soon();
    int result;
    while ((result = post(subject, pair.sender, SMALL, 2, WHERRY_NOW)) == 0)
        must(wherry_now() < deadline, "messages are taken though nobody is left");
    test_is(result, -EPIPE);
    pair_fini(&pair);
}

static void connect_and_stop(void *argument)
{
    struct site *site = argument;
    site_open(site, HOST);
    for (;;)
        pause();
}

/* A receiver that reads nothing holds up those messages alone that are in its own socket. */
CASE(08, a_stopped_receiver_stops_not_the_others, .frames = RECORDS, .needs = MAY_LISTEN, .when = may_listen)
{
    struct pair pair;
    pair_init(&pair, subject);
    pid_t child = test_fork(connect_and_stop, &pair.site);
    test_until_asleep(child);
    for (unsigned n = 0; n < 20000; n++) {
        test_is(post(subject, pair.sender, SMALL, tag_of(0, n), soon()), 0);
        int result;
        while ((result = take(pair.receiver, &pair.crate, WHERRY_NOW)) == 1)
            continue;
        test_is(result, -EAGAIN);
    }
    test_kill(child);
    pair_fini(&pair);
}
