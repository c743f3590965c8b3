/* tests/conformance/clause_07_end.c - the end is an event, once each time the live senders fall to none; no SIGPIPE.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>

#include "kit.h"

/* ---- the receiver's side --------------------------------------------------------------------------------------- */

CASE(07, the_end_comes_once_after_the_last_message, .frames = RECORDS | RAW)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 3; n++) {
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
        expect(receiver, &crate, SMALL, tag_of(0, n));
    }
    expect_nothing(receiver, &crate);
    test_is(post(subject, sender, SMALL, tag_of(0, 3), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
    expect(receiver, &crate, SMALL, tag_of(0, 3));
    expect_end(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(07, the_end_comes_without_a_message_too, .frames = RECORDS | RAW)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    test_is(wherry_channel_close(sender, soon()), 0);
    expect_end(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(07, before_the_first_sender_there_is_no_end, .frames = RECORDS | RAW)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    expect_nothing(receiver, &crate);
    test_is(take(receiver, &crate, quiet()), -ETIMEDOUT);
    sender = site_open(&site, GUEST);
    expect_nothing(receiver, &crate);
    test_is(take(receiver, &crate, quiet()), -ETIMEDOUT);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(07, the_next_sender_begins_anew, .frames = RECORDS, .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    for (unsigned round = 0; round < 4; round++) {
        struct wherry_channel *sender = site_open(&site, GUEST);
        expect_nothing(receiver, &crate);
        test_is(post(subject, sender, SMALL, tag_of(round, 0), soon()), 0);
        expect(receiver, &crate, SMALL, tag_of(round, 0));
        test_is(wherry_channel_close(sender, soon()), 0);
        expect_end(receiver, &crate);
    }
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(07, the_end_waits_for_the_last_of_several_senders, .frames = RECORDS, .needs = WHERRY_TRAIT_MANY_SENDERS,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR)
{
    struct site site;
    struct crate crate;
    struct wherry_channel *senders[3];
    site_init(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    for (unsigned s = 0; s < 3; s++) {
        senders[s] = site_open(&site, GUEST);
        test_is(post(subject, senders[s], SMALL, tag_of(s, 0), soon()), 0);
        expect(receiver, &crate, SMALL, tag_of(s, 0));
    }
    for (unsigned s = 0; s < 3; s++) {
        expect_nothing(receiver, &crate);
        test_is(wherry_channel_close(senders[s], soon()), 0);
    }
    expect_end(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* A pair's several senders are the processes that inherited its end. */
struct heir {
    struct site *site;
    struct test_gate *go;
};

static void send_one_and_go(void *argument)
{
    struct heir *heir = argument;
    site_leave(heir->site, HOST);
    struct wherry_channel *sender = site_open(heir->site, GUEST);
    test_is(post(heir->site->subject, sender, SMALL, 1, soon()), 0);
    test_gate_wait(heir->go);
    test_is(wherry_channel_close(sender, soon()), 0);
}

CASE(07, the_end_waits_for_the_last_sending_process, .frames = RECORDS, .needs = WHERRY_TRAIT_MANY_SENDERS)
{
    struct site site;
    struct crate crate;
    struct test_gate go[3];
    pid_t children[3];
    site_init(&site, subject);
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    for (int i = 0; i < 3; i++) {
        test_gate_init(&go[i]);
        children[i] = test_fork(send_one_and_go, &(struct heir){&site, &go[i]});
    }
    site_leave(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    for (int i = 0; i < 3; i++)
        expect(receiver, &crate, SMALL, 1);
    for (int i = 0; i < 3; i++) {
        test_is(take(receiver, &crate, quiet()), -ETIMEDOUT);
        test_gate_open(&go[i]);
        test_join(children[i]);
        test_gate_fini(&go[i]);
    }
    expect_end(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(07, a_waiting_receiver_gets_the_end, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    struct errand errand = to_receive(subject, receiver, HAS(ENDS) ? soon() : quiet());
    worker_start(&worker, errand_receive, &errand);
    worker_until_asleep(&worker);
    test_is(wherry_channel_close(sender, soon()), 0);
    worker_join(&worker);
    test_is(errand.result, HAS(ENDS) ? 0 : -ETIMEDOUT);
    close_now(receiver);
    site_fini(&site);
}

CASE(07, borrow_gets_the_end, .frames = RECORDS, .needs = WHERRY_TRAIT_ENDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_loan loan;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
    test_is(wherry_channel_borrow(receiver, &loan, soon()), 1);
    wherry_channel_return(receiver, &loan);
    test_is(wherry_channel_borrow(receiver, &loan, soon()), 0);
    test_is(wherry_channel_borrow(receiver, &loan, WHERRY_NOW), HAS(ENDS_FOR_EVER) ? 0 : -EAGAIN);
    close_now(receiver);
    site_fini(&site);
}

/* ---- half-close ------------------------------------------------------------------------------------------------ */

static bool finishes(const struct subject *subject)
{
    return wherry__transport_find(subject->traits->scheme)->finish != NULL;
}

CASE(07, finish_gives_the_end_or_is_not_supported, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    test_is(wherry_channel_finish(sender, soon()), finishes(subject) ? 0 : -EOPNOTSUPP);
    expect(receiver, &crate, SMALL, 1);
    if (finishes(subject)) {
        expect_end(receiver, &crate);
        test_is(post(subject, sender, SMALL, 2, soon()), -EPIPE);
        must(strstr(wherry_why(), "finished sending"), "\"%s\" does not say whose doing it was", wherry_why());
    }
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(07, after_finish_one_may_go_on_receiving, .needs = WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_ENDS)
{
    struct site site;
    struct wherry_channel *guest, *host;
    struct crate crate;
    site_init(&site, subject);
    site.duplex = true;
    open_two(&site, &guest, &host);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, guest, SMALL, 1, soon()), 0);
    test_is(wherry_channel_finish(guest, soon()), finishes(subject) ? 0 : -EOPNOTSUPP);
    expect(host, &crate, SMALL, 1);
    struct wherry_message answer = {.data = crate.data, .size = SMALL, .to = HAS(LISTENS) ? crate.info.peer.id : 0};
    compose(subject, crate.data, SMALL, 2);
    if (finishes(subject))
        expect_end(host, &(struct crate){.subject = subject, .data = (uint8_t[1]){0}, .capacity = 1});
    test_is(wherry_channel_send_message(host, &answer, 0, soon()), 0);
    expect(guest, &crate, SMALL, 2);
    crate_fini(&crate);
    close_two(guest, host);
    site_fini(&site);
}
