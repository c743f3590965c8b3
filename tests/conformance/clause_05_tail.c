/* tests/conformance/clause_05_tail.c - a message accepted before the kernel took all of it; messages sent with MORE.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

enum { BIG = 3 << 20 };

struct tail {
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    size_t size;
};

/* Two seats and, where the object splits messages, one that is accepted and for the most part still with its sender.
 * Elsewhere there is no such thing: what does not fit now is refused. */
static bool half_write(struct tail *tail, const struct subject *subject)
{
    site_init(&tail->site, subject);
    tail->site.record = BIG;
    tail->size = subject->frame == FIXED ? BIG : site_limit(&tail->site) < BIG ? site_limit(&tail->site) : BIG;
    if (subject->frame == FIXED && site_verdict(&tail->site, BIG) != 0)
        tail->size = tail->site.record = site_limit(&tail->site);
    open_two(&tail->site, &tail->sender, &tail->receiver);
    crate_init(&tail->crate, subject, tail->size);
    if (HAS(KEEPS_TAIL) && tail->size == BIG) {
        test_is(post(subject, tail->sender, BIG, tag_of(0, 0), WHERRY_NOW), 0);
        return true;
    }
    unsigned count = fill(subject, tail->sender, tail->size, 0);
    test_is(wherry_channel_flush(tail->sender, WHERRY_NOW), 0);
    drain(tail->sender, tail->receiver, &tail->crate, tail->size, 0, count);
    return false;
}

static void tail_fini(struct tail *tail)
{
    crate_fini(&tail->crate);
    close_now(tail->sender);
    close_now(tail->receiver);
    site_fini(&tail->site);
}

CASE(05, a_half_written_message_arrives_by_flush, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct tail tail;
    if (half_write(&tail, subject)) {
        struct worker worker;
        test_is(wherry_channel_flush(tail.sender, WHERRY_NOW), -EAGAIN);
        test_is(wherry_channel_flush(tail.sender, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
        struct errand errand = to_finish(tail.sender, soon());
        worker_start(&worker, errand_flush, &errand);
        expect(tail.receiver, &tail.crate, BIG, tag_of(0, 0));
        worker_join(&worker);
        test_is(errand.result, 0);
        expect_nothing(tail.receiver, &tail.crate);
    }
    tail_fini(&tail);
}

CASE(05, a_half_written_message_goes_before_the_next, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct tail tail;
    if (half_write(&tail, subject)) {
        struct worker worker;
        size_t next = subject->frame == FIXED ? BIG : SMALL;
        test_is(post(subject, tail.sender, next, tag_of(9, 9), WHERRY_NOW), -EAGAIN);
        struct errand errand = to_send(subject, tail.sender, next, tag_of(0, 1), soon());
        worker_start(&worker, errand_send, &errand);
        expect(tail.receiver, &tail.crate, BIG, tag_of(0, 0));
        expect(tail.receiver, &tail.crate, next, tag_of(0, 1));
        worker_join(&worker);
        test_is(errand.result, 0);
        test_is(wherry_channel_flush(tail.sender, soon()), 0);
        expect_nothing(tail.receiver, &tail.crate);
    }
    tail_fini(&tail);
}

CASE(05, a_half_written_message_arrives_by_close, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct tail tail;
    if (half_write(&tail, subject)) {
        struct worker worker;
        struct errand errand = to_finish(tail.sender, soon());
        worker_start(&worker, errand_close, &errand);
        expect(tail.receiver, &tail.crate, BIG, tag_of(0, 0));
        worker_join(&worker);
        test_is(errand.result, 0);
        tail.sender = NULL;
        expect_end(tail.receiver, &tail.crate);
    }
    tail_fini(&tail);
}

/* Close gives up at its deadline, says so, and nobody sees the torn message. */
CASE(05, close_gives_up_at_its_deadline, .frames = RECORDS, .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct tail tail;
    if (half_write(&tail, subject)) {
        wherry_time deadline = wherry_after(30 * WHERRY_MILLISECOND);
        test_is(wherry_channel_close(tail.sender, deadline), -ETIMEDOUT);
        must(wherry_now() >= deadline, "close gave up early");
        tail.sender = NULL;
        int result = take(tail.receiver, &tail.crate, HAS(ENDS) ? soon() : quiet());
        if (result == 1 && (tail.crate.info.flags & WHERRY_INCOMPLETE))
            result = take(tail.receiver, &tail.crate, soon());
        test_is(result, HAS(ENDS) ? 0 : -ETIMEDOUT);
    }
    tail_fini(&tail);
}

CASE(05, close_now_says_what_was_kept, .frames = RECORDS, .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct tail tail;
    bool half = half_write(&tail, subject);
    test_is(wherry_channel_close(tail.sender, WHERRY_NOW), half ? -EAGAIN : 0);
    tail.sender = NULL;
    tail_fini(&tail);
}

CASE(05, a_half_written_message_dies_with_its_receiver, .frames = RECORDS, .needs = WHERRY_TRAIT_KNOWS_RECEIVERS,
     .lacks = WHERRY_TRAIT_LOSSY)
{
    struct tail tail;
    bool half = half_write(&tail, subject);
    close_now(tail.receiver);
    tail.receiver = NULL;
    if (half) {
        test_is(wherry_channel_flush(tail.sender, soon()), -EPIPE);
        /* reported once and dropped, or kept for a FIFO's next reader */
        int last = wherry_channel_close(tail.sender, soon());
        must(last == 0 || last == -EPIPE, "close gave %d", last);
        tail.sender = NULL;
    }
    tail_fini(&tail);
}

/* ---- MORE ------------------------------------------------------------------------------------------------------ */

static void send_more(const struct subject *subject, struct wherry_channel *sender, unsigned number, unsigned flags)
{
    uint8_t data[SMALL];
    struct wherry_message message = {.data = data, .size = sizeof data};
    compose(subject, data, sizeof data, tag_of(0, number));
    test_is(wherry_channel_send_message(sender, &message, flags, soon()), 0);
}

enum ending { FLUSH, PLAIN, CLOSE };

static void end_more_with(const struct subject *subject, enum ending ending)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < FEW; n++)
        send_more(subject, sender, n, ending == PLAIN && n == FEW - 1 ? 0 : WHERRY_MORE);
    if (ending == FLUSH)
        test_is(wherry_channel_flush(sender, soon()), 0);
    if (ending == CLOSE) {
        test_is(wherry_channel_close(sender, soon()), 0);
        sender = NULL;
    }
    for (unsigned n = 0; n < FEW; n++)
        expect(receiver, &crate, SMALL, tag_of(0, n));
    if (ending == CLOSE)
        expect_end(receiver, &crate);
    else
        expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(05, more_is_accepted_by_flush, .frames = RECORDS)
{
    end_more_with(subject, FLUSH);
}

CASE(05, more_is_accepted_by_a_send_without, .frames = RECORDS)
{
    end_more_with(subject, PLAIN);
}

CASE(05, more_is_written_by_close, .frames = RECORDS)
{
    end_more_with(subject, CLOSE);
}

/* A run of MORE longer than any buffer: every message that was taken arrives, the first refused one and later ones do
 * not. */
CASE(05, more_is_bounded_and_loses_nothing, .frames = RECORDS, .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    uint8_t data[SMALL];
    unsigned count = 0;
    int result;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    do {
        struct wherry_message message = {.data = data, .size = sizeof data};
        compose(subject, data, sizeof data, tag_of(0, count));
        result = wherry_channel_send_message(sender, &message, WHERRY_MORE, WHERRY_NOW);
        count += result == 0;
        must(count < 1 << 20, "%u messages wait in memory, and still no end", count);
    } while (result == 0);
    test_is(result, -EAGAIN);
    drain(sender, receiver, &crate, SMALL, 0, count);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}
