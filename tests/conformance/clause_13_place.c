/* tests/conformance/clause_13_place.c - reserve, write in place, commit; borrow, read in place, return.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

/* ---- sending --------------------------------------------------------------------------------------------------- */

static int reserve_and_commit(struct two *two, size_t reserved, size_t size, uint64_t tag, wherry_time deadline)
{
    void *place = NULL;
    int result = wherry_channel_reserve(two->sender, reserved, &place, soon());
    if (result < 0)
        return result;
    unsigned alignment = two->site.subject->bits & WHERRY_TRAIT_IN_PLACE ? 8 : 16;
    must(place && (uintptr_t)place % alignment == 0, "%p is not aligned to %u bytes", place, alignment);
    memset(place, 'r', reserved);
    compose(two->site.subject, place, size, tag);
    struct wherry_message message = {.data = place, .size = size};
    return wherry_channel_commit(two->sender, &message, 0, deadline);
}

CASE(13, what_was_committed_arrives, .frames = RECORDS)
{
    struct two two;
    two_init(&two, subject, 4096);
    for (unsigned n = 0; n < 20; n++) {
        size_t size = subject->frame == FIXED ? SMALL : 16 + 100 * (n % 7);
        test_is(reserve_and_commit(&two, size, size, tag_of(0, n), soon()), 0);
        expect(two.receiver, &two.crate, size, tag_of(0, n));
    }
    test_is(post(subject, two.sender, SMALL, 1, soon()), 0); /* the plain way goes on beside it */
    expect(two.receiver, &two.crate, SMALL, 1);
    two_fini(&two);
}

CASE(13, less_than_was_reserved_may_be_committed, .frames = RECORDS)
{
    struct two two;
    void *place;
    two_init(&two, subject, 4096);
    test_is(reserve_and_commit(&two, 1000, SMALL, 1, soon()), 0);
    expect(two.receiver, &two.crate, SMALL, 1);
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
    struct wherry_message more = {.data = place, .size = SMALL + 1};
    test_is(wherry_channel_commit(two.sender, &more, 0, soon()), -EINVAL);
    struct wherry_message elsewhere = {.data = two.crate.data, .size = SMALL};
    test_is(wherry_channel_commit(two.sender, &elsewhere, 0, soon()), -EINVAL);
    wherry_channel_abandon(two.sender);
    expect_nothing(two.receiver, &two.crate);
    two_fini(&two);
}

CASE(13, one_reservation_at_a_time)
{
    struct two two;
    void *place = NULL, *second = NULL;
    two_init(&two, subject, 4096);
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
    test_is(wherry_channel_reserve(two.sender, SMALL, &second, soon()), -EBUSY);
    ck_assert_ptr_null(second);
    wherry_channel_abandon(two.sender);
    wherry_channel_abandon(two.sender); /* without one nothing happens */
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
    /* a send beside a reservation: not where that stands in the object itself */
    test_is(post(subject, two.sender, SMALL, 1, soon()), HAS(IN_PLACE) ? -EBUSY : 0);
    if (!HAS(IN_PLACE))
        expect(two.receiver, &two.crate, SMALL, 1);
    wherry_channel_abandon(two.sender);
    expect_nothing(two.receiver, &two.crate);
    two_fini(&two);
}

CASE(13, a_reservation_waits_for_room, .frames = RECORDS, .needs = WHERRY_TRAIT_IN_PLACE)
{
    struct two two;
    void *place = NULL;
    two_init(&two, subject, 4096);
    unsigned count = fill(subject, two.sender, SMALL, 0);
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, WHERRY_NOW), -EAGAIN);
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, quiet()), -ETIMEDOUT);
    ck_assert_ptr_null(place);
    drain(two.sender, two.receiver, &two.crate, SMALL, 0, count);
    test_is(reserve_and_commit(&two, SMALL, SMALL, tag_of(0, count), soon()), 0);
    expect(two.receiver, &two.crate, SMALL, tag_of(0, count));
    two_fini(&two);
}

CASE(13, another_thread_waits_for_the_reservation, .frames = RECORDS, .needs = WHERRY_TRAIT_IN_PLACE)
{
    struct two two;
    struct worker worker;
    void *place;
    two_init(&two, subject, 4096);
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
    compose(subject, place, SMALL, tag_of(0, 1));
    struct errand hasty = to_send(subject, two.sender, SMALL, tag_of(0, 9), wherry_after(20 * WHERRY_MILLISECOND));
    worker_start(&worker, errand_send, &hasty);
    worker_join(&worker);
    must(hasty.result == -ETIMEDOUT || hasty.result == -EAGAIN, /* the time was over before the thread had begun */
         "beside a loan a receive gave %d", hasty.result);
    struct errand patient = to_send(subject, two.sender, SMALL, tag_of(0, 2), soon());
    worker_start(&worker, errand_send, &patient);
    worker_until_asleep(&worker);
    struct wherry_message message = {.data = place, .size = SMALL};
    test_is(wherry_channel_commit(two.sender, &message, 0, soon()), 0);
    worker_join(&worker);
    test_is(patient.result, 0);
    expect(two.receiver, &two.crate, SMALL, tag_of(0, 1));
    expect(two.receiver, &two.crate, SMALL, tag_of(0, 2));
    two_fini(&two);
}

CASE(13, a_refused_commit_stands, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_IN_PLACE | WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct two two;
    void *place;
    two_init(&two, subject, 4096);
    unsigned count = fill(subject, two.sender, SMALL, 0);
    struct wherry_message message;
    wherry_time deadline = soon();
    int result;
    do { /* over a network it may be taken yet, on a busy machine: then with the next one */
        test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
        compose(subject, place, SMALL, tag_of(0, count));
        message = (struct wherry_message){.data = place, .size = SMALL};
        result = wherry_channel_commit(two.sender, &message, 0, WHERRY_NOW);
        if (result == -EAGAIN)
            result = wherry_channel_commit(two.sender, &message, 0, quiet());
        count += result == 0;
    } while (result == 0 && moves_on(subject) && wherry_now() < deadline);
    test_is(result, -ETIMEDOUT);
    drain(two.sender, two.receiver, &two.crate, SMALL, 0, count);
    test_is(wherry_channel_commit(two.sender, &message, 0, soon()), 0);
    expect(two.receiver, &two.crate, SMALL, tag_of(0, count));
    test_is(wherry_channel_commit(two.sender, &message, 0, soon()), -EINVAL); /* it is over */
    two_fini(&two);
}

CASE(13, too_large_a_reservation_is_refused)
{
    struct two two;
    void *place = NULL;
    site_init(&two.site, subject);
    two.site.options.max_message = 1000;
    open_two(&two.site, &two.sender, &two.receiver);
    crate_init(&two.crate, subject, 4096);
    test_is(wherry_channel_reserve(two.sender, 1001, &place, soon()), -EMSGSIZE);
    test_is(reserve_and_commit(&two, 1000, 1000, 1, soon()), 0);
    expect(two.receiver, &two.crate, 1000, 1);
    two_fini(&two);
}

CASE(13, an_empty_commit, .frames = NONE | LENGTH | LINE | NUL)
{
    struct two two;
    void *place = NULL;
    two_init(&two, subject, 4096);
    test_is(wherry_channel_reserve(two.sender, 0, &place, soon()), 0);
    must(place, "no place for nothing");
    struct wherry_message message = {.data = place, .size = 0};
    test_is(wherry_channel_commit(two.sender, &message, 0, soon()), site_verdict(&two.site, 0));
    wherry_channel_abandon(two.sender);
    if (HAS(EMPTY)) {
        test_is(take(two.receiver, &two.crate, soon()), 1);
        ck_assert_uint_eq(two.crate.info.size, 0);
    }
    two_fini(&two);
}

CASE(13, a_reservation_may_be_open_at_close)
{
    struct two two;
    void *place;
    two_init(&two, subject, 4096);
    test_is(wherry_channel_reserve(two.sender, 100000, &place, soon()), 0);
    memset(place, 0, 100000);
    test_is(wherry_channel_close(two.sender, soon()), 0);
    two.sender = NULL;
    expect_end(two.receiver, &two.crate);
    two_fini(&two);
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

CASE(13, a_loan_is_the_message_until_it_is_returned, .frames = RECORDS)
{
    struct two two;
    struct wherry_loan loan;
    two_init(&two, subject, 4096);
    unsigned sent = 0;
    for (; sent < FEW / 2; sent++)
        test_is(post(subject, two.sender, SMALL, tag_of(0, sent), soon()), 0);
    for (unsigned n = 0; n < sent; n++) {
        test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
        ck_assert_uint_eq(loan.info.size, SMALL);
        for (; sent < 60 && sent < n + FEW; sent++) /* more comes meanwhile */
            test_is(post(subject, two.sender, SMALL, tag_of(0, sent), soon()), 0);
        must(is_message(subject, loan.data, SMALL, tag_of(0, n)), "the loan changed, or is another message");
        wherry_channel_return(two.receiver, &loan);
    }
    expect_nothing(two.receiver, &two.crate);
    two_fini(&two);
}

CASE(13, one_loan_at_a_time)
{
    struct two two;
    struct wherry_loan loan, second;
    two_init(&two, subject, 4096);
    test_is(post(subject, two.sender, SMALL, 1, soon()), 0);
    test_is(post(subject, two.sender, SMALL, 2, soon()), 0);
    test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
    test_is(wherry_channel_borrow(two.receiver, &second, soon()), -EBUSY);
    test_is(take(two.receiver, &two.crate, soon()), -EBUSY);
    must(is_message(subject, loan.data, SMALL, 1), "the loan changed");
    wherry_channel_return(two.receiver, &loan);
    wherry_channel_return(two.receiver, &loan); /* twice is once */
    expect(two.receiver, &two.crate, SMALL, 2);
    expect_nothing(two.receiver, &two.crate);
    two_fini(&two);
}

CASE(13, another_thread_waits_for_the_loan)
{
    struct two two;
    struct wherry_loan loan;
    struct worker worker;
    two_init(&two, subject, 4096);
    test_is(post(subject, two.sender, SMALL, tag_of(0, 1), soon()), 0);
    test_is(post(subject, two.sender, SMALL, tag_of(0, 2), soon()), 0);
    test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
    struct errand hasty = to_receive(subject, two.receiver, wherry_after(20 * WHERRY_MILLISECOND));
    worker_start(&worker, errand_receive, &hasty);
    worker_join(&worker);
    test_is(hasty.result, -ETIMEDOUT);
    struct errand patient = to_receive(subject, two.receiver, soon());
    worker_start(&worker, errand_receive, &patient);
    worker_until_asleep(&worker);
    must(is_message(subject, loan.data, SMALL, tag_of(0, 1)), "the loan changed");
    wherry_channel_return(two.receiver, &loan);
    worker_join(&worker);
    test_is(patient.result, 1);
    ck_assert_uint_eq(patient.tag, tag_of(0, 2));
    two_fini(&two);
}

CASE(13, big_and_empty_loans, .frames = NONE | LENGTH | LINE | NUL)
{
    struct two two;
    struct worker worker;
    struct wherry_loan loan;
    two_init(&two, subject, 4096);
    size_t limit = site_limit(&two.site), size = limit < 1 << 20 ? limit : 1 << 20;
    struct errand errand = to_send(subject, two.sender, size, tag_of(0, 1), soon());
    worker_start(&worker, errand_send, &errand);
    test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
    must(loan.info.size == size && is_message(subject, loan.data, size, tag_of(0, 1)), "a big message, lent");
    wherry_channel_return(two.receiver, &loan);
    worker_join(&worker);
    test_is(errand.result, 0);
    if (HAS(EMPTY)) {
        test_is(wherry_channel_send(two.sender, NULL, 0, soon()), 0);
        test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
        ck_assert_uint_eq(loan.info.size, 0);
        wherry_channel_return(two.receiver, &loan);
    }
    expect_nothing(two.receiver, &two.crate);
    two_fini(&two);
}

CASE(13, a_borrow_in_vain)
{
    struct two two;
    struct wherry_loan loan = {.data = &two};
    two_init(&two, subject, 4096);
    test_is(wherry_channel_borrow(two.receiver, &loan, WHERRY_NOW), -EAGAIN);
    test_is(wherry_channel_borrow(two.receiver, &loan, quiet()), -ETIMEDOUT);
    must(loan.data == &two, "a failed borrow wrote to the loan");
    two_fini(&two);
}
