/* tests/conformance/clause_14_peer.c - a received message names its sender, and can be answered to it alone.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

struct member {
    struct site *site;
    unsigned number;
    struct test_gate *go;
};

static void send_one(void *argument)
{
    struct member *member = argument;
    site_leave(member->site, HOST);
    struct wherry_channel *sender = site_open(member->site, GUEST);
    test_is(post(member->site->subject, sender, SMALL, tag_of(member->number, 0), soon()), 0);
    test_gate_wait(member->go);
    test_is(wherry_channel_close(sender, soon()), 0);
}

static void check_peer(const struct subject *subject, const struct wherry_peer *peer, pid_t pid)
{
    if (!HAS(PEER)) {
        must(!peer->has_credentials, "nobody vouches for what the message says of its sender");
        return;
    }
    must(peer->has_credentials, "the kernel vouches for the sender, but it is not named");
    ck_assert_int_eq(peer->pid, pid);
    ck_assert_uint_eq(peer->uid, geteuid());
    ck_assert_uint_eq(peer->gid, getegid());
}

CASE(14, a_message_names_its_sender)
{
    struct site site;
    struct crate crate;
    struct test_gate go;
    pid_t children[3];
    unsigned senders = HAS(MANY_SENDERS) ? 3 : 1;
    site_init(&site, subject);
    site_share(&site);
    test_gate_init(&go);
    struct wherry_channel *receiver = site_open(&site, HOST);
    for (unsigned s = 0; s < senders; s++)
        children[s] = test_fork(send_one, &(struct member){&site, s, &go});
    site_leave(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    for (unsigned s = 0; s < senders; s++) {
        test_is(take(receiver, &crate, soon()), 1);
        must(sender_of(crate.tag) < senders, "a message of nobody's");
        check_peer(subject, &crate.info.peer, children[sender_of(crate.tag)]);
    }
    for (unsigned s = 0; s < senders; s++)
        test_gate_open(&go);
    for (unsigned s = 0; s < senders; s++)
        test_join(children[s]);
    crate_fini(&crate);
    test_gate_fini(&go);
    close_now(receiver);
    site_fini(&site);
}

CASE(14, a_loan_names_its_sender)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_loan loan;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    test_is(wherry_channel_borrow(receiver, &loan, soon()), 1);
    check_peer(subject, &loan.info.peer, getpid());
    wherry_channel_return(receiver, &loan);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- asking ---------------------------------------------------------------------------------------------------- */

CASE(14, without_peers_the_call_says_so, .lacks = WHERRY_TRAIT_PEER)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_peer peer = {.id = 99};
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    test_is(wherry_channel_peer(receiver, 0, &peer), -EOPNOTSUPP);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(14, the_only_peer_needs_no_id, .needs = WHERRY_TRAIT_PEER)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_peer peer;
    struct crate crate;
    site_init(&site, subject);
    site.duplex = HAS(DUPLEX); /* who is to be answered has an id */
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    test_is(wherry_channel_peer(receiver, 0, &peer), 0);
    check_peer(subject, &peer, getpid());
    ck_assert_uint_eq(peer.id, crate.info.peer.id);
    test_is(wherry_channel_peer(receiver, peer.id, &peer), 0);
    if (peer.id)
        test_is(wherry_channel_peer(receiver, peer.id + 4711, &peer), -ENOTCONN);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(14, of_several_peers_the_id_says_which, .needs = WHERRY_TRAIT_PEER | WHERRY_TRAIT_LISTENS)
{
    enum { COUNT = 4 };
    struct site site;
    struct wherry_channel *senders[COUNT];
    struct wherry_peer peer;
    struct crate crate;
    uint64_t ids[COUNT];
    site_init(&site, subject);
    site.duplex = HAS(DUPLEX); /* who is to be answered has an id */
    struct wherry_channel *receiver = site_open(&site, HOST);
    test_is(wherry_channel_peer(receiver, 0, &peer), -ENOTCONN);
    crate_init(&crate, subject, SMALL);
    for (unsigned i = 0; i < COUNT; i++) {
        senders[i] = site_open(&site, GUEST);
        test_is(post(subject, senders[i], SMALL, tag_of(i, 0), soon()), 0);
        expect(receiver, &crate, SMALL, tag_of(i, 0));
        ids[i] = crate.info.peer.id;
        for (unsigned j = 0; j < i; j++)
            must(ids[j] != ids[i], "two peers have the id %llu", (unsigned long long)ids[i]);
    }
    test_is(wherry_channel_peer(receiver, 0, &peer), -EDESTADDRREQ);
    for (unsigned i = 0; i < COUNT; i++)
        test_is(wherry_channel_peer(receiver, ids[i], &peer), 0);
    for (unsigned i = 0; i < COUNT; i++)
        close_now(senders[i]);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* ---- answering ------------------------------------------------------------------------------------------------- */

static int answer(struct wherry_channel *host, const struct subject *subject, uint64_t to, uint64_t tag,
                  wherry_time deadline)
{
    uint8_t data[SMALL];
    struct wherry_message message = {.data = data, .size = sizeof data, .to = to};
    compose(subject, data, sizeof data, tag);
    return wherry_channel_send_message(host, &message, 0, deadline);
}

CASE(14, without_addressees_a_send_to_one_is_refused, .lacks = WHERRY_TRAIT_LISTENS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    int result = answer(sender, subject, 4711, 1, soon());
    must(result == -EOPNOTSUPP || (result == -ENOTCONN && HAS(PEER)), "a send to a stranger gave %d", result);
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

static void ask_and_check(void *argument)
{
    struct member *member = argument;
    const struct subject *subject = member->site->subject;
    struct wherry_channel *guest = site_open(member->site, GUEST);
    struct crate crate;
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 30; n++) {
        test_is(post(subject, guest, SMALL, tag_of(member->number, n), soon()), 0);
        if (n % 3 == 2) /* up to three questions are under way */
            for (unsigned i = n - 2; i <= n; i++)
                expect(guest, &crate, SMALL, tag_of(member->number + 100, i));
    }
    expect_nothing(guest, &crate);
    crate_fini(&crate);
    test_is(wherry_channel_close(guest, soon()), 0);
}

CASE(14, an_answer_reaches_exactly_who_asked, .frames = RECORDS, .needs = WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS)
{
    enum { COUNT = 4 };
    struct site site;
    struct crate crate;
    pid_t children[COUNT];
    site_init(&site, subject);
    site.duplex = true;
    struct wherry_channel *host = site_open(&site, HOST);
    for (unsigned i = 0; i < COUNT; i++)
        children[i] = test_fork(ask_and_check, &(struct member){&site, i, NULL});
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < COUNT * 30;) {
        int result = take(host, &crate, soon());
        if (result == 0) /* an end between two that come late */
            continue;
        test_is(result, 1);
        test_is(
            answer(host, subject, crate.info.peer.id, tag_of(sender_of(crate.tag) + 100, number_of(crate.tag)), soon()),
            0);
        n++;
    }
    for (unsigned i = 0; i < COUNT; i++)
        test_join(children[i]);
    crate_fini(&crate);
    close_now(host);
    site_fini(&site);
}

/* ---- gone ------------------------------------------------------------------------------------------------------ */

CASE(14, an_answer_to_one_who_left_is_enotconn, .needs = WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS)
{
    struct site site;
    struct crate crate;
    struct wherry_channel *host, *guest, *other;
    struct wherry_peer peer;
    site_init(&site, subject);
    site.duplex = true;
    host = site_open(&site, HOST);
    guest = site_open(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, guest, SMALL, 1, soon()), 0);
    expect(host, &crate, SMALL, 1);
    uint64_t gone = crate.info.peer.id;
    must(gone != 0, "a peer without an id cannot be answered");
    close_now(guest);
    other = site_open(&site, GUEST);
    test_is(post(subject, other, SMALL, 2, soon()), 0);
    wherry_time deadline = soon();
    int result;
    while ((result = take(host, &crate, soon())) == 0) /* the end of the first may come apart */
        must(wherry_now() < deadline, "ends without end");
    test_is(result, 1);
    must(crate.info.peer.id != gone, "the id of one who left was given to another");
    while (!HAS(LOSSY) && (result = answer(host, subject, gone, 3, soon())) == 0)
        must(wherry_now() < deadline, "answers to one who left are taken");
    test_is(result, HAS(LOSSY) ? 1 : -ENOTCONN); /* else nobody knows that it left */
    test_is(wherry_channel_peer(host, gone, &peer), HAS(PEER) ? -ENOTCONN : -EOPNOTSUPP);
    expect_nothing(other, &(struct crate){.subject = subject, .data = (uint8_t[SMALL]){0}, .capacity = SMALL});
    test_is(answer(host, subject, crate.info.peer.id, 4, soon()), 0);
    expect(other, &crate, SMALL, 4);
    crate_fini(&crate);
    close_two(other, host);
    site_fini(&site);
}

/* A peer on UDP is its address, and the kernel may give the next one the same port. */
CASE(14, ids_are_never_used_again, .needs = WHERRY_TRAIT_LISTENS, .lacks = WHERRY_TRAIT_LOSSY)
{
    enum { ROUNDS = 40 };
    struct site site;
    struct crate crate;
    uint64_t ids[ROUNDS];
    site_init(&site, subject);
    site.duplex = HAS(DUPLEX); /* who is to be answered has an id */
    struct wherry_channel *host = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct wherry_channel *guest = site_open(&site, GUEST);
        test_is(post(subject, guest, SMALL, i, soon()), 0);
        expect(host, &crate, SMALL, i);
        ids[i] = crate.info.peer.id;
        for (unsigned j = 0; j < i; j++)
            must(ids[i] == 0 || ids[i] != ids[j], "id %llu was given twice", (unsigned long long)ids[i]);
        close_now(guest);
        if (HAS(ENDS))
            test_is(take(host, &crate, soon()), 0);
    }
    must(!HAS(DUPLEX) || ids[0] != 0, "peers that can be answered have ids");
    crate_fini(&crate);
    close_now(host);
    site_fini(&site);
}
