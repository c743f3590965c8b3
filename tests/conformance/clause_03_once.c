/* tests/conformance/clause_03_once.c - each message reaches one receiver, once.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

enum { SENDERS = 4, EACH = 150, RECEIVERS = 3, TOTAL = SENDERS * EACH };

struct member {
    struct site *site;
    unsigned number;
    _Atomic unsigned *seen; /* test_shared(): how often each message came */
};

static void send_all(void *argument)
{
    struct member *member = argument;
    site_leave(member->site, HOST);
    struct wherry_channel *sender = site_open(member->site, GUEST);
    for (unsigned n = 0; n < EACH; n++)
        test_is(post(member->site->subject, sender, SMALL, tag_of(member->number, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
}

static void note(const struct crate *crate, _Atomic unsigned *seen)
{
    unsigned s = sender_of(crate->tag), n = number_of(crate->tag);
    must(s < SENDERS && n < EACH, "message %u of sender %u was never sent", n, s);
    atomic_fetch_add(&seen[s * EACH + n], 1);
}

/* Every message so many times; on a lossy transport at most. */
static void check_seen(const struct subject *subject, const _Atomic unsigned *seen, unsigned senders, unsigned times)
{
    for (unsigned i = 0; i < senders * EACH; i++) {
        unsigned count = atomic_load(&seen[i]);
        must(count <= times && (count == times || HAS(LOSSY)), "message %u of sender %u came %u times, not %u",
             i % EACH, i / EACH, count, times);
    }
}

CASE(03, every_message_arrives_once, .frames = RECORDS)
{
    struct site site;
    struct crate crate;
    pid_t children[SENDERS];
    unsigned senders = HAS(MANY_SENDERS) ? SENDERS : 1;
    _Atomic unsigned *seen = test_shared(TOTAL * sizeof *seen);
    site_init(&site, subject);
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    for (unsigned s = 0; s < senders; s++)
        children[s] = test_fork(send_all, &(struct member){&site, s, NULL});
    site_leave(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    for (unsigned i = 0; i < senders * EACH;) {
        int result = take(receiver, &crate, soon());
        if (result == 0 && !HAS(ENDS_FOR_EVER)) /* one came when another had gone */
            continue;
        if (result != 1)
            break;
        note(&crate, seen);
        i++;
    }
    for (unsigned s = 0; s < senders; s++)
        test_join(children[s]);
    while (take(receiver, &crate, quiet()) == 1)
        note(&crate, seen);
    check_seen(subject, seen, senders, 1);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* ---- several receivers ----------------------------------------------------------------------------------------- */

struct taker {
    struct site *site;
    struct test_gate *there;
    _Atomic unsigned *seen;
    _Atomic unsigned *done; /* the sender has nothing more */
};

static void take_some(void *argument)
{
    struct taker *taker = argument;
    const struct subject *subject = taker->site->subject;
    struct crate crate;
    site_leave(taker->site, GUEST);
    struct wherry_channel *receiver = site_open(taker->site, HOST);
    crate_init(&crate, subject, SMALL);
    test_gate_open(taker->there);
    for (;;) {
        int result = take(receiver, &crate, quiet());
        if (result == 1)
            note(&crate, taker->seen);
        else if (result == 0 || atomic_load(taker->done))
            break;
        else
            test_is(result, -ETIMEDOUT);
    }
    crate_fini(&crate);
    close_now(receiver);
}

/* Where there are connections it is the sender who listens, and several receivers connect to it; where each message
 * reaches every receiver, all of them listen. */
CASE(03, several_receivers_share_the_messages, .frames = RECORDS, .needs = WHERRY_TRAIT_MANY_RECEIVERS)
{
    struct site site;
    struct test_gate there;
    pid_t children[RECEIVERS];
    struct wherry_channel *sender = NULL;
    _Atomic unsigned *seen = test_shared(TOTAL * sizeof *seen), *done = test_shared(sizeof *done);
    site_init(&site, subject);
    site.reversed = HAS(LISTENS) && !HAS(FANS_OUT);
    site_share(&site);
    test_gate_init(&there);
    if (site.reversed)
        sender = site_open(&site, GUEST);
    for (unsigned r = 0; r < RECEIVERS; r++)
        children[r] = test_fork(take_some, &(struct taker){&site, &there, seen, done});
    for (unsigned r = 0; r < RECEIVERS; r++)
        test_gate_wait(&there);
    site_leave(&site, HOST);
    if (!sender)
        sender = site_open(&site, GUEST);
    for (unsigned n = 0; n < EACH; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
    atomic_store(done, 1);
    for (unsigned r = 0; r < RECEIVERS; r++)
        test_join(children[r]);
    check_seen(subject, seen, 1, HAS(FANS_OUT) ? RECEIVERS : 1);
    test_gate_fini(&there);
    site_fini(&site);
}

/* A process that comes to receive where another does already; refused when it opens, or when it first receives. */
struct rival {
    struct site *site;
    struct test_gate *taken;
};

static void try_to_receive(void *argument)
{
    struct rival *rival = argument;
    struct wherry_channel *second = NULL;
    struct crate crate;
    char named[32];
    test_gate_wait(rival->taken);
    crate_init(&crate, rival->site->subject, SMALL);
    int result = site_try(rival->site, HOST, WHERRY_NOW, &second);
    if (result == 0)
        result = take(second, &crate, WHERRY_NOW);
    must(result == -EBUSY || result == -EADDRINUSE, "a second receiver got %d, not -EBUSY or -EADDRINUSE: %s", result,
         wherry_why());
    snprintf(named, sizeof named, "pid %d", (int)getppid());
    must(strstr(wherry_why(), named), "\"%s\" does not name %s", wherry_why(), named);
    close_now(second);
    crate_fini(&crate);
}

/* Where there is more than one place: several_receivers_share_the_messages. */
CASE(03, a_second_receiver_is_refused_and_the_first_is_named, .frames = RECORDS, .when = one_place)
{
    struct site site;
    struct test_gate taken;
    struct crate crate;
    site_init(&site, subject);
    if (!addressed(subject) && HAS(PEER))
        test_skip("the kernel has no lock on a connected socket, by which its receivers would know of each other");
    site_share(&site);
    test_gate_init(&taken);
    pid_t child = test_fork(try_to_receive, &(struct rival){&site, &taken});
    struct wherry_channel *sender, *receiver;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 2; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    expect(receiver, &crate, SMALL, tag_of(0, 0));
    test_gate_open(&taken);
    test_join(child);
    expect(receiver, &crate, SMALL, tag_of(0, 1));
    crate_fini(&crate);
    test_gate_fini(&taken);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(03, a_loan_given_back_is_not_given_again, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_loan loan;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 6; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    for (unsigned n = 0; n < 6; n += 2) { /* the two ways of receiving, in turn */
        test_is(wherry_channel_borrow(receiver, &loan, soon()), 1);
        must(is_message(subject, loan.data, loan.info.size, tag_of(0, n)), "message %u was to be lent", n);
        wherry_channel_return(receiver, &loan);
        expect(receiver, &crate, SMALL, tag_of(0, n + 1));
    }
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}
