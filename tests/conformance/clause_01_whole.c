/* tests/conformance/clause_01_whole.c - a message arrives whole or not at all.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>

#include "channel/framing.h"
#include "kit.h"

/* ---- sizes ----------------------------------------------------------------------------------------------------- */

/* Around a cache line, around PIPE_BUF with and without each header, around the usual buffers, and well beyond. */
static const size_t sizes[] = {0,    1,    63,   64,   65,   4083, 4084, 4085,  4086,  4087,  4088,    4089,   4090,
                               4091, 4092, 4093, 4094, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 3 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };

struct carrier {
    struct site *site;
    struct wherry_channel *sender;
    const size_t *sizes;
    size_t count;
};

static void send_sizes(void *argument)
{
    struct carrier *carrier = argument;
    for (size_t i = 0; i < carrier->count; i++) {
        size_t size = carrier->sizes[i];
        test_is(post(carrier->site->subject, carrier->sender, size, tag_of(1, (unsigned)size), soon()),
                site_verdict(carrier->site, size));
    }
}

static void carry(struct site *site, const size_t *some, size_t count)
{
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    struct worker worker;
    open_two(site, &sender, &receiver);
    struct carrier carrier = {site, sender, some, count};
    crate_init(&crate, site->subject, 4 << 20);
    worker_start(&worker, send_sizes, &carrier);
    for (size_t i = 0; i < count; i++)
        if (site_verdict(site, some[i]) == 0)
            expect(receiver, &crate, some[i], tag_of(1, (unsigned)some[i]));
    worker_join(&worker);
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
}

/* With frame=fixed each size is a channel of its own. */
static void carry_all(const struct subject *subject, uint32_t writers)
{
    for (size_t i = 0; i < SIZES; i++) {
        struct site site;
        bool fixed = subject->frame == FIXED;
        if (fixed && sizes[i] == 0)
            continue;
        site_init(&site, subject);
        site.options.writers = writers;
        site.record = sizes[i];
        carry(&site, fixed ? &sizes[i] : sizes, fixed ? 1 : SIZES);
        site_fini(&site);
        if (!fixed)
            break;
    }
}

CASE(01, every_size_arrives_whole, .frames = RECORDS)
{
    carry_all(subject, 0);
}

CASE(01, a_single_writer_may_send_every_size, .frames = LINE | NUL | FIXED, .option = WHERRY__OPTION_WRITERS)
{
    carry_all(subject, 1);
}

CASE(01, too_large_is_refused_and_the_channel_goes_on, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    site.options.max_message = subject->frame == FIXED ? SMALL : 1000;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, 4096);
    size_t most = subject->frame == FIXED ? SMALL : 1000;
    test_is(post(subject, sender, most + 1, 1, soon()), -EMSGSIZE);
    test_is(post(subject, sender, 1 << 20, 2, WHERRY_NOW), -EMSGSIZE);
    test_is(post(subject, sender, most, 3, soon()), 0);
    expect(receiver, &crate, most, 3);
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(01, beyond_what_the_object_takes_is_refused, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, 4096);
    size_t limit = site_limit(&site);
    test_is(post(subject, sender, limit + 1, 1, soon()), site_verdict(&site, limit + 1));
    test_is(post(subject, sender, limit + limit / 2, 1, WHERRY_NOW), site_verdict(&site, limit + limit / 2));
    test_is(post(subject, sender, SMALL, 2, soon()), 0);
    expect(receiver, &crate, SMALL, 2);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(01, a_message_of_zero_bytes_is_a_message, .frames = RECORDS | RAW)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    int verdict = site_verdict(&site, 0);
    for (int i = 0; i < 3; i++)
        test_is(wherry_channel_send(sender, i ? "" : NULL, 0, soon()), verdict);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    for (int i = 0; verdict == 0 && i < 3; i++) {
        test_is(take(receiver, &crate, soon()), 1);
        ck_assert_uint_eq(crate.info.size, 0);
    }
    expect(receiver, &crate, SMALL, 1);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- what a framing cannot carry ------------------------------------------------------------------------------- */

CASE(01, a_delimiter_inside_is_refused, .frames = LINE | NUL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    const char *foreign = subject->frame == LINE ? "two\nlines" : "a\0b",
               *fine = subject->frame == LINE ? "a\0b" : "a\nb";
    test_is(wherry_channel_send(sender, foreign, subject->frame == LINE ? 9 : 3, soon()), -EINVAL);
    test_is(wherry_channel_send(sender, fine, 3, soon()), 0);
    test_is(take(receiver, &crate, soon()), 1);
    must(crate.info.size == 3 && memcmp(crate.data, fine, 3) == 0, "the delimiter of the other framing is a byte");
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(01, a_record_of_another_size_is_refused, .frames = FIXED)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL - 1, 1, soon()), -EINVAL);
    test_is(post(subject, sender, SMALL + 1, 1, soon()), -EINVAL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* What a raw peer leaves behind when it goes in the middle of a record. */
static void open_half_record(struct site *site, struct wherry_channel **ret_receiver, const void *bytes, size_t size)
{
    const struct subject *subject = site->subject;
    struct wherry_channel *raw;
    site_share(site);
    *ret_receiver = site_open(site, HOST);
    raw = site_open_raw(site);
    test_is(wherry_channel_send(raw, bytes, size, soon()), 0);
    test_ok(wherry_channel_close(raw, soon()));
    must(HAS(ENDS), "%s: a byte stream has an end", subject->name);
}

CASE(01, an_unfinished_last_record_is_marked, .frames = LINE | NUL)
{
    struct site site;
    struct wherry_channel *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_half_record(&site, &receiver, subject->frame == LINE ? "one\ntwo" : "one\0two", 7);
    crate_init(&crate, subject, SMALL);
    test_is(take(receiver, &crate, soon()), 1);
    must(crate.info.size == 3 && memcmp(crate.data, "one", 3) == 0 && crate.info.flags == 0, "the whole record");
    test_is(take(receiver, &crate, soon()), 1);
    must(crate.info.size == 3 && memcmp(crate.data, "two", 3) == 0, "the unfinished record");
    ck_assert_uint_eq(crate.info.flags, WHERRY_INCOMPLETE);
    expect_end(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* No part of it is a message: it is an error, counted, or nothing, and then the end. */
static void expect_no_half(struct wherry_channel *receiver, struct crate *crate)
{
    int result = take(receiver, crate, soon());
    if (result == -EBADMSG)
        result = take(receiver, crate, soon());
    test_is(result, 0);
}

CASE(01, half_a_record_is_no_message, .frames = FIXED)
{
    struct site site;
    struct wherry_channel *receiver;
    struct crate crate;
    uint8_t bytes[SMALL + SMALL / 2];
    site_init(&site, subject);
    compose(subject, bytes, SMALL, 7);
    memset(bytes + SMALL, 'h', SMALL / 2);
    open_half_record(&site, &receiver, bytes, sizeof bytes);
    crate_init(&crate, subject, SMALL);
    expect(receiver, &crate, SMALL, 7);
    expect_no_half(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(01, half_a_frame_is_no_message, .frames = LENGTH)
{
    static const size_t cuts[] = {1, WHERRY__WHOLE_HEADER - 1, WHERRY__WHOLE_HEADER, WHERRY__WHOLE_HEADER + 50};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct site site;
        struct wherry_channel *receiver;
        struct crate crate;
        uint8_t frame[WHERRY__WHOLE_HEADER + SMALL];
        site_init(&site, subject);
        wherry__whole_encode(frame, SMALL, 0);
        compose(subject, frame + WHERRY__WHOLE_HEADER, SMALL, 7);
        open_half_record(&site, &receiver, frame, cuts[i]);
        crate_init(&crate, subject, SMALL);
        expect_no_half(receiver, &crate);
        crate_fini(&crate);
        close_now(receiver);
        site_fini(&site);
    }
}

CASE(01, raw_bytes_all_arrive, .frames = RAW)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    uint8_t sent[40000], got[sizeof sent];
    size_t out = 0, in = 0;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, 4096);
    compose(subject, sent, sizeof sent, 1);
    for (size_t size = 1; in < sizeof sent; size = size % 3000 + 97) {
        size_t piece = size < sizeof sent - out ? size : sizeof sent - out;
        test_is(piece ? wherry_channel_send(sender, sent + out, piece, soon()) : 0, 0);
        out += piece;
        test_is(take(receiver, &crate, soon()), 1);
        must(crate.info.size > 0 && crate.info.size <= sizeof got - in, "%zu bytes too many", crate.info.size);
        memcpy(got + in, crate.data, crate.info.size);
        in += crate.info.size;
    }
    must(memcmp(sent, got, sizeof got) == 0, "other bytes came than went");
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}
