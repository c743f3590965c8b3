/* tests/conformance/clause_00_calls.c - what every call owes, whatever the clause: statistics, sentences, traits.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

/* ---- statistics ------------------------------------------------------------------------------------------------ */

static struct wherry_channel_stats stats_of(struct wherry_channel *channel)
{
    struct wherry_channel_stats stats;
    test_is(wherry_channel_stats(channel, &stats, sizeof stats), 0);
    return stats;
}

CASE(00, statistics_add_up_on_both_sides, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    struct wherry_channel_stats sent = stats_of(sender), got = stats_of(receiver);
    must(sent.sent_messages == 0 && got.received_messages == 0 && got.ends == 0, "new endpoints have counted already");
    for (unsigned n = 0; n < 10; n++) {
        test_is(post(subject, sender, SMALL, n, soon()), 0);
        expect(receiver, &crate, SMALL, n);
    }
    test_is(take(receiver, &crate, quiet()), -ETIMEDOUT);
    sent = stats_of(sender);
    got = stats_of(receiver);
    ck_assert_uint_eq(sent.sent_messages, 10);
    ck_assert_uint_eq(sent.sent_bytes, 10 * SMALL);
    ck_assert_uint_eq(got.received_messages, 10);
    ck_assert_uint_eq(got.received_bytes, 10 * SMALL);
    ck_assert_uint_ge(got.receive_waits, 1);
    ck_assert_uint_eq(sent.send_waits + got.dropped + got.refused + got.ends, 0);
    if (HAS(LISTENS) && HAS(ENDS))
        must(got.accepted == 1 && got.peers == 1, "%llu accepted, %llu there", (unsigned long long)got.accepted,
             (unsigned long long)got.peers);
    close_now(sender);
    expect_end(receiver, &crate);
    got = stats_of(receiver);
    if (!HAS(ENDS_FOR_EVER)) /* there it is said again each time */
        ck_assert_uint_eq(got.ends, HAS(ENDS) ? 1 : 0);
    if (HAS(ENDS))
        ck_assert_uint_eq(got.peers, 0);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(00, statistics_count_what_was_accepted_alone, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    unsigned count = fill(subject, sender, SMALL, 0);
    test_is(post(subject, sender, SMALL, 9, quiet()), -ETIMEDOUT);
    struct wherry_channel_stats stats = stats_of(sender);
    ck_assert_uint_eq(stats.sent_messages, count);
    ck_assert_uint_eq(stats.send_waits, 1);
    drain(sender, receiver, &crate, SMALL, 0, count);
    stats = stats_of(receiver);
    ck_assert_uint_eq(stats.received_messages, count);
    ck_assert_uint_eq(stats.received_bytes, (uint64_t)count * SMALL);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(00, statistics_of_another_version)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    uint64_t numbers[64];
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    memset(numbers, 0x55, sizeof numbers);
    test_is(wherry_channel_stats(sender, (struct wherry_channel_stats *)(void *)numbers, 8), 0);
    must(numbers[0] == 1 && numbers[1] == UINT64_C(0x5555555555555555), "an older program's struct was overrun");
    test_is(wherry_channel_stats(sender, (struct wherry_channel_stats *)(void *)numbers, sizeof numbers), 0);
    must(numbers[0] == 1 && numbers[1] == SMALL && numbers[63] == 0, "what is not known is 0");
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- sentences ------------------------------------------------------------------------------------------------- */

/* A failure says why in its own words, not in those of the one before. */
static void why(const char *call, long result, long expected)
{
    must(result == expected, "%s gave %ld, not %ld: %s", call, result, expected, wherry_why());
    must(wherry_why()[0] != '\0' && !strstr(wherry_why(), "nonsense:"), "%s failed without a word: \"%s\"", call,
         wherry_why());
    struct wherry_channel *none = NULL;
    test_is(wherry_channel_open("nonsense:", WHERRY_SEND, NULL, WHERRY_NOW, &none), -EPROTONOSUPPORT);
}

#define WHY(call_, expected_) why(#call_, (long)(call_), (expected_))

CASE(00, every_failure_says_why, .frames = RECORDS, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    struct wherry_loan loan, second;
    uint8_t data[SMALL];
    void *place;
    struct wherry_message message = {.data = data, .size = SMALL};
    site_init(&site, subject);
    site.options.max_message = 1000;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    compose(subject, data, SMALL, 1);
    wherry_channel_open("nonsense:", WHERRY_SEND, NULL, WHERRY_NOW, &(struct wherry_channel *){NULL});
    WHY(take(receiver, &crate, WHERRY_NOW), -EAGAIN);
    WHY(take(receiver, &crate, wherry_after(5 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    WHY(wherry_channel_send_message(sender, &message, 0x80000000u, soon()), -EINVAL);
    WHY(wherry_channel_send(sender, NULL, SMALL, soon()), -EINVAL);
    WHY(wherry_channel_reserve(sender, 1001, &place, soon()), -EMSGSIZE);
    WHY(wherry_channel_commit(sender, &message, 0, soon()), -EINVAL);
    test_is(wherry_channel_send(sender, data, SMALL, soon()), 0);
    WHY(wherry_channel_receive(receiver, data, 1, NULL, soon()), -EMSGSIZE);
    test_is(wherry_channel_borrow(receiver, &loan, soon()), 1);
    WHY(wherry_channel_borrow(receiver, &second, soon()), -EBUSY);
    wherry_channel_return(receiver, &loan);
    wherry_channel_interrupt(receiver);
    WHY(take(receiver, &crate, soon()), -ECANCELED);
    if (!HAS(LOSSY)) { /* else it is never full */
        fill(subject, sender, SMALL, 0);
        WHY(post(subject, sender, SMALL, 1, WHERRY_NOW), -EAGAIN);
        WHY(post(subject, sender, SMALL, 1, wherry_after(5 * WHERRY_MILLISECOND)), -ETIMEDOUT);
        WHY(post(subject, sender, SMALL, 1, wherry_after(-WHERRY_SECOND)), -ETIMEDOUT);
    }
    if (!wherry__transport_find(subject->traits->scheme)->finish)
        WHY(wherry_channel_finish(sender, soon()), -EOPNOTSUPP);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- what an endpoint says of itself --------------------------------------------------------------------------- */

CASE(00, an_endpoint_knows_its_url_and_traits)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    ck_assert_ptr_eq(wherry_channel_traits(sender), wherry_channel_traits(receiver));
    ck_assert_str_eq(wherry_channel_traits(sender)->scheme, subject->traits->scheme);
    must(strncmp(wherry_channel_url(receiver), subject->traits->scheme, strlen(subject->traits->scheme)) == 0,
         "the URL is said to be %s", wherry_channel_url(receiver));
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(00, traits_make_sense)
{
    const struct wherry_traits *traits = subject->traits;
    must(traits->scheme[0] && traits->summary[0] && traits->object[0] && traits->sample[0], "a name is missing");
    must(strncmp(traits->sample, traits->scheme, strlen(traits->scheme)) == 0, "the sample is of another scheme");
    for (uint64_t bits = traits->bits; bits; bits &= bits - 1)
        must(wherry_trait_name(bits & -bits), "a trait without a name");
    must(!HAS(ENDS_FOR_EVER) || HAS(ENDS), "for ever ended, but never");
    must(!HAS(PAIR) || !HAS(LISTENS), "a pair has no address");
    must(!HAS(PAIR) || strcmp(strchr(traits->sample, ':'), ":") == 0, "a pair has no address");
    must(!HAS(DESCRIPTOR) || strstr(traits->sample, "{fds}"), "the sample names no descriptors");
    must(!HAS(READS_AHEAD) || HAS(STREAM) || HAS(LOSSY), "only a byte stream can be read too far");
    must(HAS(REMAINS) || HAS(ENDS) || HAS(LISTENS), "messages that neither outlive their senders nor see their end");
    const struct wherry__transport *transport = wherry__transport_find(traits->scheme);
    must((transport->pair != NULL) == HAS(PAIR) && (transport->open != NULL) == !HAS(PAIR),
         "open or pair, as the trait says");
    must(transport->try_send && transport->try_borrow && transport->give_back && transport->close &&
             transport->state_size,
         "a slot that every transport fills is empty");
    must(!HAS(KEEPS_TAIL) || (transport->try_finish && transport->keep), "who keeps a tail must be able to write it");
}
