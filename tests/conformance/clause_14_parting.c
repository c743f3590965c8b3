/* tests/conformance/clause_14_parting.c - each peer's own end, and letting a peer go.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

/* Transports whose listening endpoint has connections of its own to each peer. */
#define CONNECTIONS                                                                                                    \
    .needs = WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_ENDS, .option = WHERRY__OPTION_BACKLOG

struct parting {
    struct site site;
    struct wherry_channel *host, *guests[3];
    uint64_t ids[3];
    struct crate crate;
};

static void parting_init(struct parting *p, const struct subject *subject, bool report_ends)
{
    site_init(&p->site, subject);
    p->site.duplex = true;
    p->site.options.report_ends = report_ends;
    p->host = site_open(&p->site, HOST);
    p->site.options.report_ends = false;
    crate_init(&p->crate, subject, SMALL);
    for (unsigned i = 0; i < 3; i++) {
        p->guests[i] = site_open(&p->site, GUEST);
        test_is(post(subject, p->guests[i], SMALL, i, soon()), 0);
        expect(p->host, &p->crate, SMALL, i);
        p->ids[i] = p->crate.info.peer.id;
    }
}

static void parting_fini(struct parting *p)
{
    crate_fini(&p->crate);
    for (unsigned i = 0; i < 3; i++)
        close_now(p->guests[i]);
    close_now(p->host);
    site_fini(&p->site);
}

static int answer(struct parting *p, uint64_t to, uint64_t tag)
{
    uint8_t data[SMALL];
    compose(p->site.subject, data, sizeof data, tag);
    struct wherry_message message = {.data = data, .size = SMALL, .to = to};
    return wherry_channel_send_message(p->host, &message, 0, soon());
}

CASE(14, without_connections_nobody_is_let_go)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    test_is(wherry_channel_disconnect(sender, 1, soon()), -EOPNOTSUPP);
    if (!wherry__transport_find(subject->traits->scheme)->disconnect || !HAS(LISTENS))
        test_is(wherry_channel_disconnect(receiver, 1, soon()), -EOPNOTSUPP);
    else
        test_is(wherry_channel_disconnect(receiver, 4711, soon()), -ENOTCONN);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(14, a_disconnected_peer_gets_its_end_and_the_others_stay, .frames = RECORDS, CONNECTIONS)
{
    struct parting p;
    parting_init(&p, subject, false);
    test_is(answer(&p, p.ids[1], 10), 0);
    test_is(wherry_channel_disconnect(p.host, p.ids[1], soon()), 0);
    expect(p.guests[1], &p.crate, SMALL, 10); /* what was kept for it was written before */
    test_is(take(p.guests[1], &p.crate, soon()), 0);
    test_is(post_until_refused(subject, p.guests[1]), -EPIPE);
    test_is(answer(&p, p.ids[1], 12), -ENOTCONN);
    test_is(wherry_channel_disconnect(p.host, p.ids[1], soon()), -ENOTCONN);
    for (unsigned i = 0; i < 3; i += 2) {
        test_is(answer(&p, p.ids[i], i), 0);
        expect(p.guests[i], &p.crate, SMALL, i);
        test_is(post(subject, p.guests[i], SMALL, 20 + i, soon()), 0);
        expect(p.host, &p.crate, SMALL, 20 + i);
    }
    expect_nothing(p.host, &p.crate);
    parting_fini(&p);
}

CASE(14, the_last_peer_let_go_is_an_end, CONNECTIONS)
{
    struct parting p;
    parting_init(&p, subject, false);
    for (unsigned i = 0; i < 3; i++) {
        expect_nothing(p.host, &p.crate);
        test_is(wherry_channel_disconnect(p.host, p.ids[i], soon()), 0);
    }
    expect_end(p.host, &p.crate);
    parting_fini(&p);
}

/* With report_ends each peer's end comes by itself, and the peer can be answered after it. */
CASE(14, each_end_is_reported_where_asked_for, .frames = RECORDS, CONNECTIONS)
{
    struct parting p;
    parting_init(&p, subject, true);
    test_is(post(subject, p.guests[0], SMALL, 30, soon()), 0);
    test_is(wherry_channel_finish(p.guests[0], soon()), 0);
    expect(p.host, &p.crate, SMALL, 30);
    test_is(take(p.host, &p.crate, soon()), 1);
    must(p.crate.info.flags == WHERRY_ENDED && p.crate.info.size == 0 && p.crate.info.peer.id == p.ids[0],
         "the end of peer %llu was to be reported", (unsigned long long)p.ids[0]);
    expect_nothing(p.host, &p.crate); /* once */
    test_is(answer(&p, p.ids[0], 31), 0);
    expect(p.guests[0], &p.crate, SMALL, 31);
    test_is(wherry_channel_disconnect(p.host, p.ids[0], soon()), 0);
    test_is(take(p.guests[0], &p.crate, soon()), 0);
    for (unsigned i = 1; i < 3; i++) {
        close_now(p.guests[i]);
        p.guests[i] = NULL;
        test_is(take(p.host, &p.crate, soon()), 1);
        must(p.crate.info.flags == WHERRY_ENDED && p.crate.info.peer.id == p.ids[i], "the end of a peer that closed");
    }
    test_is(take(p.host, &p.crate, soon()), 0); /* and then they are none */
    parting_fini(&p);
}

CASE(14, reports_count_as_no_messages, CONNECTIONS)
{
    struct parting p;
    struct wherry_channel_stats stats;
    parting_init(&p, subject, true);
    test_is(wherry_channel_finish(p.guests[0], soon()), 0);
    test_is(take(p.host, &p.crate, soon()), 1);
    must(p.crate.info.flags == WHERRY_ENDED, "the end of a peer was to be reported");
    test_is(wherry_channel_stats(p.host, &stats, sizeof stats), 0);
    ck_assert_uint_eq(stats.received_messages, 3);
    parting_fini(&p);
}
