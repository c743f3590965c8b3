/* tests/conformance/clause_08_first.c - either side may start first; what existed before is never removed.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>

#include "kit.h"

/* ---- who comes first ------------------------------------------------------------------------------------------- */

struct opener {
    struct site *site;
    struct test_gate *done;
};

static void open_and_send(void *argument)
{
    struct opener *opener = argument;
    site_leave(opener->site, HOST);
    struct wherry_channel *sender = site_open(opener->site, GUEST);
    test_is(post(opener->site->subject, sender, SMALL, 1, soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
}

CASE(08, a_sender_that_comes_first_waits_for_the_receiver, .when = waits_for_the_other)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    site_share(&site);
    pid_t child = test_fork(open_and_send, &(struct opener){&site, NULL});
    if (addressed(subject) && !HAS(REMAINS))
        test_until_asleep(child);
    site_leave(&site, GUEST);
    struct wherry_channel *receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    expect(receiver, &crate, SMALL, 1);
    test_join(child);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(08, nobody_there_is_said_at_the_deadline,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR | WHERRY_TRAIT_REMAINS, .when = waits_for_the_other)
{
    struct site site;
    struct wherry_channel *sender = NULL;
    site_init(&site, subject);
    test_is(site_try(&site, GUEST, WHERRY_NOW, &sender), -EAGAIN);
    must(wherry_why()[0] != '\0', "without a word of why");
    wherry_time deadline = wherry_after(50 * WHERRY_MILLISECOND);
    test_is(site_try(&site, GUEST, deadline, &sender), -ETIMEDOUT);
    must(wherry_now() >= deadline, "the wait ended early");
    ck_assert_ptr_null(sender);
    if (site.path[0])
        ck_assert_int_ne(access(site.path, F_OK), 0); /* whoever connects creates nothing */
    site_fini(&site);
}

CASE(08, a_pair_has_no_address, .needs = WHERRY_TRAIT_PAIR)
{
    struct wherry_channel *channel = NULL;
    test_is(wherry_channel_open(subject->sample, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EINVAL);
    must(strstr(wherry_why(), "wherry_channel_pair"), "\"%s\" does not say what to call instead", wherry_why());
}

CASE(08, a_descriptor_that_is_not_open_is_refused, .needs = WHERRY_TRAIT_DESCRIPTOR)
{
    struct site site;
    struct wherry_channel *channel = NULL;
    site_init(&site, subject);
    site_share(&site);
    int closed = dup(site.fds[HOST]), kept = site.fds[HOST];
    close(closed);
    site.fds[HOST] = closed;
    test_is(site_try(&site, HOST, WHERRY_NOW, &channel), -EBADF);
    site.fds[HOST] = kept;
    site_fini(&site);
}

CASE(08, receivers_and_senders_come_and_go_in_any_order,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR | WHERRY_TRAIT_FANS_OUT)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    crate_init(&crate, subject, SMALL);
    for (unsigned round = 0; round < 8; round++) {
        struct wherry_channel *receiver = NULL;
        pid_t child = 0;
        bool sender_first = round % 2 && waits_for_the_other(subject);
        if (sender_first)
            child = test_fork(open_and_send, &(struct opener){&site, NULL});
        receiver = site_open(&site, HOST);
        if (!sender_first)
            child = test_fork(open_and_send, &(struct opener){&site, NULL});
        expect(receiver, &crate, SMALL, 1);
        test_join(child);
        expect_end(receiver, &crate);
        close_now(receiver);
    }
    crate_fini(&crate);
    site_fini(&site);
}

/* ---- what a dead receiver left --------------------------------------------------------------------------------- */

static void open_and_sleep(void *argument)
{
    struct opener *opener = argument;
    site_open(opener->site, HOST);
    test_gate_open(opener->done);
    for (;;)
        pause();
}

static pid_t start_receiver(struct site *site)
{
    struct test_gate there;
    site->litter = true;
    test_gate_init(&there);
    pid_t child = test_fork(open_and_sleep, &(struct opener){site, &there});
    test_gate_wait(&there);
    test_gate_fini(&there);
    return child;
}

CASE(08, h45_what_a_killed_receiver_left_is_taken_over, .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR)
{
    struct site site;
    struct crate crate;
    struct wherry_channel *sender = NULL, *receiver;
    site_init(&site, subject);
    test_kill(start_receiver(&site));
    if (!HAS(REMAINS) && waits_for_the_other(subject))
        test_is(site_try(&site, GUEST, WHERRY_NOW, &sender), -EAGAIN);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(08, a_live_receiver_is_named_and_goes_on, .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR, .when = one_place)
{
    struct site site;
    struct wherry_channel *second = NULL;
    char named[32];
    site_init(&site, subject);
    pid_t child = start_receiver(&site);
    int result = site_try(&site, HOST, WHERRY_NOW, &second);
    must(result == -EADDRINUSE || result == -EBUSY, "a second receiver got %d: %s", result, wherry_why());
    snprintf(named, sizeof named, "pid %d", (int)child);
    must(strstr(wherry_why(), named), "\"%s\" does not name %s", wherry_why(), named);
    struct wherry_channel *sender = site_open(&site, GUEST); /* it was not disturbed */
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    close_now(sender);
    test_kill(child);
    site_fini(&site);
}

/* Two receivers start at once: one gets the address, and it is the one that senders reach. */
struct race {
    struct site *site;
    struct test_gate *go, *tried, *over;
    _Atomic unsigned *won; /* test_shared() */
};

static void race_to_receive(void *argument)
{
    struct race *race = argument;
    struct wherry_channel *receiver = NULL;
    struct crate crate;
    test_gate_wait(race->go);
    int result = site_try(race->site, HOST, WHERRY_NOW, &receiver);
    test_gate_open(race->tried);
    if (result != 0) {
        must(result == -EADDRINUSE || result == -EBUSY, "the loser got %d: %s", result, wherry_why());
        return;
    }
    atomic_fetch_add(race->won, 1);
    crate_init(&crate, race->site->subject, SMALL);
    expect(receiver, &crate, SMALL, 1);
    test_gate_wait(race->over);
    close_now(receiver);
    crate_fini(&crate);
}

CASE(08, of_two_receivers_at_once_one_wins, .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR, .when = one_place)
{
    for (int round = 0; round < 10; round++) {
        struct site site;
        struct test_gate go, tried, over;
        pid_t children[2];
        _Atomic unsigned *won = test_shared(sizeof *won);
        site_init(&site, subject);
        if (round % 2) /* over the remains of another */
            test_kill(start_receiver(&site));
        test_gate_init(&go);
        test_gate_init(&tried);
        test_gate_init(&over);
        for (int i = 0; i < 2; i++)
            children[i] = test_fork(race_to_receive, &(struct race){&site, &go, &tried, &over, won});
        for (int i = 0; i < 2; i++)
            test_gate_open(&go);
        struct wherry_channel *sender = site_open(&site, GUEST);
        for (int i = 0; i < 2 && !waits_for_the_other(subject); i++)
            test_gate_wait(&tried);
        test_is(post(subject, sender, SMALL, 1, soon()), 0);
        for (int i = 0; i < 2 && waits_for_the_other(subject); i++)
            test_gate_wait(&tried);
        for (int i = 0; i < 2; i++)
            test_gate_open(&over);
        for (int i = 0; i < 2; i++)
            test_join(children[i]);
        ck_assert_uint_eq(atomic_load(won), 1);
        close_now(sender);
        test_gate_fini(&go);
        test_gate_fini(&tried);
        test_gate_fini(&over);
        site_fini(&site);
    }
}
