/* tests/conformance/clause_12_threads.c - calls on one endpoint are safe together.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

enum { THREADS = 4, EACH = 250 };

struct crowd {
    struct site *site;
    struct wherry_channel *sender, *receiver;
    _Atomic unsigned seen[THREADS * EACH], count;
    _Atomic bool over; /* some were lost: nothing more comes */
};

struct member {
    struct crowd *crowd;
    unsigned number;
};

/* Alternately alone and in batches, so that both ways meet. */
static void send_share(void *argument)
{
    struct member *member = argument;
    const struct subject *subject = member->crowd->site->subject;
    uint8_t data[5][SMALL];
    for (unsigned n = 0; n < EACH; n += 10) {
        struct wherry_message messages[5];
        for (unsigned i = 0; i < 5; i++) {
            test_is(post(subject, member->crowd->sender, SMALL, tag_of(member->number, n + i), soon()), 0);
            compose(subject, data[i], SMALL, tag_of(member->number, n + 5 + i));
            messages[i] = (struct wherry_message){.data = data[i], .size = SMALL};
        }
        test_is(wherry_channel_send_many(member->crowd->sender, messages, 5, soon()), 5);
    }
}

static void check_next(struct crowd *crowd, const struct crate *crate, unsigned last[THREADS])
{
    unsigned s = sender_of(crate->tag), n = number_of(crate->tag);
    must(s < THREADS && n < EACH, "message %u of thread %u was never sent", n, s);
    must(n + 1 > last[s], "message %u of thread %u came after %u", n, s, last[s] - 1);
    last[s] = n + 1;
    atomic_fetch_add(&crowd->seen[s * EACH + n], 1);
    atomic_fetch_add(&crowd->count, 1);
}

/* Received and borrowed in turn; what one thread sees of one sender is in order. */
static void receive_share(void *argument)
{
    struct crowd *crowd = argument;
    const struct subject *subject = crowd->site->subject;
    struct crate crate;
    unsigned last[THREADS] = {0};
    wherry_time deadline = soon() + 20 * WHERRY_SECOND;
    crate_init(&crate, subject, SMALL);
    for (unsigned i = 0; atomic_load(&crowd->count) < THREADS * EACH && !atomic_load(&crowd->over); i++) {
        struct wherry_loan loan = {0};
        int result =
            i % 2 ? wherry_channel_borrow(crowd->receiver, &loan, quiet()) : take(crowd->receiver, &crate, quiet());
        must(wherry_now() < deadline, "%u of %d messages came", atomic_load(&crowd->count), THREADS * EACH);
        if (result == -ETIMEDOUT || result == -EAGAIN) {
            atomic_store(&crowd->over, HAS(LOSSY) && atomic_load(&crowd->count));
            continue;
        }
        test_is(result, 1);
        if (i % 2) {
            memcpy(crate.data, loan.data, SMALL);
            wherry_channel_return(crowd->receiver, &loan);
            char digits[17] = "";
            memcpy(digits, crate.data, 16);
            crate.tag = strtoull(digits, NULL, 16);
            must(is_message(subject, crate.data, SMALL, crate.tag), "a torn loan");
        }
        check_next(crowd, &crate, last);
    }
    crate_fini(&crate);
}

CASE(12, four_threads_send_and_four_receive, .frames = RECORDS)
{
    struct site site;
    struct worker senders[THREADS], receivers[THREADS];
    struct member members[THREADS];
    static struct crowd crowd;
    crowd = (struct crowd){.site = &site};
    site_init(&site, subject);
    open_two(&site, &crowd.sender, &crowd.receiver);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (struct member){&crowd, i};
        worker_start(&receivers[i], receive_share, &crowd);
        worker_start(&senders[i], send_share, &members[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        worker_join(&senders[i]);
        worker_join(&receivers[i]);
    }
    for (unsigned i = 0; i < THREADS * EACH; i++)
        must(crowd.seen[i] == 1 || (HAS(LOSSY) && crowd.seen[i] == 0), "message %u came %u times", i, crowd.seen[i]);
    close_two(crowd.sender, crowd.receiver);
    site_fini(&site);
}

/* ---- one waits, another has a deadline ------------------------------------------------------------------------- */

CASE(12, a_receiving_thread_leaves_the_others_their_deadlines)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    struct errand errand = to_receive(subject, receiver, WHERRY_FOREVER);
    worker_start(&worker, errand_receive, &errand);
    worker_until_asleep(&worker);
    wherry_time deadline = wherry_after(50 * WHERRY_MILLISECOND);
    test_is(take(receiver, &crate, deadline), -ETIMEDOUT);
    must(wherry_now() >= deadline, "the wait ended early");
    test_is(take(receiver, &crate, WHERRY_NOW), -EAGAIN);
    must(wherry_now() < deadline + 12 * WHERRY_SECOND * test_slowness(), "the deadline was another thread's");
    test_is(post(subject, sender, SMALL, tag_of(1, 1), soon()), 0);
    worker_join(&worker);
    test_is(errand.result, 1);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(12, a_sending_thread_leaves_the_others_their_deadlines, .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    unsigned count = fill(subject, sender, SMALL, 0);
    struct errand errand = to_send(subject, sender, SMALL, tag_of(0, count), soon() + 5 * WHERRY_SECOND);
    worker_start(&worker, errand_send, &errand);
    worker_until_asleep(&worker);
    wherry_time deadline = wherry_after(50 * WHERRY_MILLISECOND);
    test_is(post(subject, sender, SMALL, 9, deadline), -ETIMEDOUT);
    must(wherry_now() >= deadline, "the wait ended early");
    test_is(post(subject, sender, SMALL, 9, WHERRY_NOW), -EAGAIN);
    for (unsigned n = 0; n <= count; n++)
        expect(receiver, &crate, SMALL, tag_of(0, n));
    worker_join(&worker);
    test_is(errand.result, 0);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(12, one_thread_waits_to_receive_while_another_sends, .needs = WHERRY_TRAIT_DUPLEX)
{
    struct site site;
    struct wherry_channel *guest, *host;
    struct crate crate;
    struct worker worker;
    site_init(&site, subject);
    site.duplex = true;
    open_two(&site, &guest, &host);
    crate_init(&crate, subject, SMALL);
    struct errand errand = to_receive(subject, guest, soon());
    worker_start(&worker, errand_receive, &errand);
    worker_until_asleep(&worker);
    for (unsigned n = 0; n < 50; n++) {
        test_is(post(subject, guest, SMALL, tag_of(1, n), soon()), 0);
        expect(host, &crate, SMALL, tag_of(1, n));
    }
    struct wherry_message answer = {.data = crate.data, .size = SMALL, .to = HAS(LISTENS) ? crate.info.peer.id : 0};
    compose(subject, crate.data, SMALL, tag_of(2, 0));
    test_is(wherry_channel_send_message(host, &answer, 0, soon()), 0);
    worker_join(&worker);
    test_is(errand.result, 1);
    ck_assert_uint_eq(errand.tag, tag_of(2, 0));
    crate_fini(&crate);
    close_two(guest, host);
    site_fini(&site);
}

/* The same calls without locks, for those who promise one thread at a time. */
CASE(12, single_thread_drops_the_locks_alone, .frames = RECORDS, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_loan loan;
    struct crate crate;
    site_init(&site, subject);
    site.options.single_thread = true;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 100; n++) {
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
        expect(receiver, &crate, SMALL, tag_of(0, n));
    }
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    test_is(wherry_channel_borrow(receiver, &loan, soon()), 1);
    test_is(take(receiver, &crate, WHERRY_NOW), -EBUSY);
    wherry_channel_return(receiver, &loan);
    test_is(take(receiver, &crate, quiet()), -ETIMEDOUT);
    if (!HAS(LOSSY)) { /* else it is never full */
        unsigned count = fill(subject, sender, SMALL, 0);
        test_is(post(subject, sender, SMALL, 9, quiet()), -ETIMEDOUT);
        drain(sender, receiver, &crate, SMALL, 0, count);
    }
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}
