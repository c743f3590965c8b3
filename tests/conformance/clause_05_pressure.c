/* tests/conformance/clause_05_pressure.c - a full channel makes send wait; what was refused left nothing behind.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

static const size_t sizes[] = {SMALL, 1000, 4096, 9000, 65536};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- full ------------------------------------------------------------------------------------------------------ */

static void refuse_now(const struct subject *subject, size_t size)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    site.record = size;
    if (site_verdict(&site, size) != 0)
        return;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, size);
    unsigned count = fill(subject, sender, size, 0);
    must(count > 0, "nothing at all was accepted");
    for (int i = 0; i < 3; i++)
        test_is(post(subject, sender, size, tag_of(9, 9), WHERRY_NOW), -EAGAIN);
    drain(sender, receiver, &crate, size, 0, count);
    count = fill(subject, sender, size, 0); /* and the whole once more */
    drain(sender, receiver, &crate, size, 0, count);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(05, full_says_eagain_and_leaves_nothing, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    for (size_t i = 0; i < SIZES; i++)
        refuse_now(subject, sizes[i]);
}

CASE(05, full_says_etimedout_at_the_deadline, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    unsigned count = fill(subject, sender, SMALL, 0);
    wherry_time deadline = wherry_after(60 * WHERRY_MILLISECOND);
    test_is(post(subject, sender, SMALL, tag_of(9, 9), deadline), -ETIMEDOUT);
    must(wherry_now() >= deadline, "the wait ended early");
    test_is(post(subject, sender, SMALL, tag_of(9, 9), deadline), -ETIMEDOUT); /* past by now */
    drain(sender, receiver, &crate, SMALL, 0, count);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(05, room_ends_the_wait, .frames = RECORDS, .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    struct worker worker;
    site_init(&site, subject);
    site.record = 1000;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, 1000);
    unsigned count = fill(subject, sender, 1000, 0);
    struct errand errand = to_send(subject, sender, 1000, tag_of(0, count), soon());
    worker_start(&worker, errand_send, &errand);
    worker_until_asleep(&worker);
    for (unsigned n = 0; n <= count; n++)
        expect(receiver, &crate, 1000, tag_of(0, n));
    worker_join(&worker);
    test_is(errand.result, 0);
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* A small message that fits must not overtake a big one that does not, and a refused big one must not tear. */
CASE(05, a_refused_big_message_leaves_nothing, .frames = NONE | LENGTH | LINE | NUL, .lacks = WHERRY_TRAIT_LOSSY)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    size_t limit = site_limit(&site), big = limit < 100000 ? limit : 100000;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, big);
    unsigned next = 0;
    for (unsigned round = 0; round < 20; round++) {
        unsigned sent = next;
        while (sent < next + 200 && post(subject, sender, sent % 3 ? SMALL : big, tag_of(0, sent), WHERRY_NOW) == 0)
            sent++;
        while (next < sent) {
            int result = take(receiver, &crate, wherry_after(WHERRY_MILLISECOND));
            if (result != 1) {
                wherry_channel_flush(sender, WHERRY_NOW);
                continue;
            }
            ck_assert_uint_eq(crate.tag, tag_of(0, next));
            ck_assert_uint_eq(crate.info.size, next % 3 ? SMALL : big);
            next++;
        }
        expect_nothing(receiver, &crate);
    }
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(05, send_many_counts_what_was_accepted, .frames = RECORDS, .lacks = WHERRY_TRAIT_LOSSY)
{
    enum { COUNT = 4000 };
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    site.record = 200;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, 200);
    struct wherry_message *messages = malloc(COUNT * sizeof *messages);
    uint8_t *data = malloc(COUNT * 200);
    for (unsigned n = 0; n < COUNT; n++) {
        compose(subject, data + 200 * n, 200, tag_of(0, n));
        messages[n] = (struct wherry_message){.data = data + 200 * n, .size = 200};
    }
    ssize_t count = wherry_channel_send_many(sender, messages, COUNT, WHERRY_NOW);
    must(count > 0 && count <= COUNT, "%zd of %d accepted", count, COUNT);
    if (count < COUNT)
        test_is(wherry_channel_send_many(sender, messages, COUNT, WHERRY_NOW), -EAGAIN);
    free(messages);
    memset(data, 'z', COUNT * 200); /* accepted means: the caller's memory is the caller's again */
    drain(sender, receiver, &crate, 200, 0, (unsigned)count);
    free(data);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* Where there is no full, nobody waits, with a receiver or without. */
CASE(05, what_is_never_full_takes_all_at_once, .needs = WHERRY_TRAIT_NEVER_FULL)
{
    enum { COUNT = 3000 };
    struct two two;
    two_init(&two, subject, 9000);
    for (unsigned n = 0; n < COUNT; n++)
        test_is(post(subject, two.sender, n % 100 ? SMALL : 9000, tag_of(0, n), WHERRY_NOW), 0);
    for (unsigned n = 0; n < COUNT; n++)
        expect(two.receiver, &two.crate, n % 100 ? SMALL : 9000, tag_of(0, n));
    expect_nothing(two.receiver, &two.crate);
    two_fini(&two);
}

/* The kernel's limits for unprivileged users may allow less than a megabyte; what was refused is then said. */
CASE(05, capacity_bounds_what_is_in_flight, .option = WHERRY__OPTION_CAPACITY, .lacks = WHERRY_TRAIT_LOSSY)
{
    unsigned count[2];
    for (int wide = 0; wide < 2; wide++) {
        struct site site;
        struct wherry_channel *sender, *receiver;
        struct crate crate;
        site_init(&site, subject);
        const uint64_t narrow = HAS(REMAINS) ? 1 << 13 : 1 << 14;
        site.options.capacity = wide ? 1 << 20 : narrow;
        int result;
        while ((result = site_try(&site, HOST, soon(), &receiver)) == -ENOBUFS && site.options.capacity > 2 * narrow) {
            must(HAS(REMAINS) && strstr(wherry_why(), "raise"), "\"%s\" names no limit", wherry_why());
            site.options.capacity /= 2;
        }
        test_is(result, 0);
        sender = site_open(&site, GUEST);
        crate_init(&crate, subject, 4000);
        count[wide] = fill(subject, sender, 4000, 0);
        drain(sender, receiver, &crate, 4000, 0, count[wide]);
        crate_fini(&crate);
        close_two(sender, receiver);
        site_fini(&site);
    }
    must(count[1] > count[0], "a larger capacity took %u messages of 4000 bytes, a smaller one %u", count[1], count[0]);
}
