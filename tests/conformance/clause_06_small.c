/* tests/conformance/clause_06_small.c - too small a buffer gives -EMSGSIZE, a size that suffices, and the message next.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

/* Refuse the next message `times` times, each time told the right size. */
static void refuse(struct wherry_channel *receiver, size_t capacity, size_t size, int times)
{
    uint8_t *small = malloc(capacity + 1);
    small[capacity] = 0x5a;
    for (int i = 0; i < times; i++) {
        size_t told = 0;
        test_is(wherry_channel_receive(receiver, small, capacity, &told, soon()), -EMSGSIZE);
        must(told == size, "a message of %zu bytes was said to need %zu", size, told);
        ck_assert_uint_eq(small[capacity], 0x5a);
    }
    free(small);
}

struct trial {
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    size_t size;
};

static bool trial_init(struct trial *trial, const struct subject *subject, size_t size)
{
    site_init(&trial->site, subject);
    trial->site.record = trial->size = size;
    if (site_verdict(&trial->site, size) != 0)
        return false;
    open_two(&trial->site, &trial->sender, &trial->receiver);
    crate_init(&trial->crate, subject, size);
    return true;
}

static void trial_fini(struct trial *trial)
{
    crate_fini(&trial->crate);
    close_two(trial->sender, trial->receiver);
    site_fini(&trial->site);
}

static const size_t sizes[] = {SMALL, 4000, 20000, 100000, 1 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A big one needs somebody to go on writing while it is read. */
static void send_two(struct trial *trial, struct worker *worker, struct errand *errand)
{
    const struct subject *subject = trial->site.subject;
    *errand = to_send(subject, trial->sender, trial->size, tag_of(0, 1), soon());
    worker_start(worker, errand_send, errand);
}

CASE(06, too_small_keeps_the_message, .frames = RECORDS)
{
    for (size_t i = 0; i < SIZES; i++) {
        struct trial trial;
        struct worker worker;
        struct errand errand;
        if (!trial_init(&trial, subject, sizes[i]))
            continue;
        send_two(&trial, &worker, &errand);
        refuse(trial.receiver, 10, sizes[i], 1);
        refuse(trial.receiver, sizes[i] - 1, sizes[i], 2);
        refuse(trial.receiver, 0, sizes[i], 1);
        expect(trial.receiver, &trial.crate, sizes[i], tag_of(0, 1));
        worker_join(&worker);
        test_is(post(subject, trial.sender, subject->frame == FIXED ? sizes[i] : SMALL, tag_of(0, 2), WHERRY_NOW), 0);
        struct errand flush = to_finish(trial.sender, soon());
        worker_start(&worker, errand_flush, &flush);
        expect(trial.receiver, &trial.crate, subject->frame == FIXED ? sizes[i] : SMALL, tag_of(0, 2));
        worker_join(&worker);
        expect_nothing(trial.receiver, &trial.crate);
        trial_fini(&trial);
    }
}

CASE(06, too_small_keeps_those_behind_it_too, .frames = RECORDS)
{
    struct trial trial;
    trial_init(&trial, subject, 100);
    for (unsigned n = 0; n < 10; n++)
        test_is(post(subject, trial.sender, 100, tag_of(0, n), soon()), 0);
    for (unsigned n = 0; n < 10; n++) {
        refuse(trial.receiver, 99, 100, 1 + (int)n % 3);
        expect(trial.receiver, &trial.crate, 100, tag_of(0, n));
    }
    expect_nothing(trial.receiver, &trial.crate);
    trial_fini(&trial);
}

CASE(06, borrow_gets_what_did_not_fit, .frames = RECORDS)
{
    for (size_t i = 0; i < SIZES; i++) {
        struct trial trial;
        struct worker worker;
        struct errand errand;
        struct wherry_loan loan;
        if (!trial_init(&trial, subject, sizes[i]))
            continue;
        send_two(&trial, &worker, &errand);
        refuse(trial.receiver, 10, sizes[i], 2);
        test_is(wherry_channel_borrow(trial.receiver, &loan, soon()), 1);
        must(loan.info.size == sizes[i] && is_message(subject, loan.data, sizes[i], tag_of(0, 1)), "the same message");
        wherry_channel_return(trial.receiver, &loan);
        worker_join(&worker);
        expect_nothing(trial.receiver, &trial.crate);
        trial_fini(&trial);
    }
}

CASE(06, what_did_not_fit_is_there_for_those_who_poll, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE)
{
    struct trial trial;
    trial_init(&trial, subject, 1000);
    int fd = wherry_channel_receive_fd(trial.receiver);
    expect_nothing(trial.receiver, &trial.crate);
    test_is(post(subject, trial.sender, 1000, tag_of(0, 1), soon()), 0);
    refuse(trial.receiver, 10, 1000, 1);
    must(readable(fd, soon()), "a message that did not fit does not show in the poll descriptor");
    expect(trial.receiver, &trial.crate, 1000, tag_of(0, 1));
    must(falls_quiet(trial.receiver, &trial.crate, fd), "it shows still");
    trial_fini(&trial);
}

CASE(06, what_did_not_fit_outlives_its_sender, .frames = RECORDS)
{
    struct trial trial;
    trial_init(&trial, subject, 1000);
    test_is(post(subject, trial.sender, 1000, tag_of(0, 1), soon()), 0);
    refuse(trial.receiver, 10, 1000, 1);
    test_is(wherry_channel_close(trial.sender, soon()), 0);
    trial.sender = NULL;
    refuse(trial.receiver, 10, 1000, 1);
    expect(trial.receiver, &trial.crate, 1000, tag_of(0, 1));
    expect_end(trial.receiver, &trial.crate);
    trial_fini(&trial);
}

CASE(06, what_did_not_fit_does_not_count_as_received, .frames = RECORDS)
{
    struct trial trial;
    struct wherry_channel_stats stats;
    trial_init(&trial, subject, 1000);
    test_is(post(subject, trial.sender, 1000, tag_of(0, 1), soon()), 0);
    refuse(trial.receiver, 10, 1000, 3);
    test_is(wherry_channel_stats(trial.receiver, &stats, sizeof stats), 0);
    ck_assert_uint_eq(stats.received_messages, 0);
    expect(trial.receiver, &trial.crate, 1000, tag_of(0, 1));
    test_is(wherry_channel_stats(trial.receiver, &stats, sizeof stats), 0);
    ck_assert_uint_eq(stats.received_messages, 1);
    ck_assert_uint_eq(stats.received_bytes, 1000);
    trial_fini(&trial);
}

CASE(06, no_room_at_all_takes_an_empty_message, .frames = NONE | LENGTH | LINE | NUL, .needs = WHERRY_TRAIT_EMPTY)
{
    struct trial trial;
    size_t size = 99;
    trial_init(&trial, subject, SMALL);
    test_is(wherry_channel_send(trial.sender, NULL, 0, soon()), 0);
    test_is(wherry_channel_receive(trial.receiver, NULL, 0, &size, soon()), 1);
    ck_assert_uint_eq(size, 0);
    expect_nothing(trial.receiver, &trial.crate);
    trial_fini(&trial);
}

/* With raw framing a message is what a read returns: a small buffer reads less, and nothing is lost. */
CASE(06, raw_framing_reads_less, .frames = RAW)
{
    struct trial trial;
    uint8_t piece[10];
    trial_init(&trial, subject, 1000);
    uint8_t *sent = malloc(1000);
    compose(subject, sent, 1000, 5);
    test_is(wherry_channel_send(trial.sender, sent, 1000, soon()), 0);
    for (size_t in = 0; in < 1000;) {
        size_t size = 0;
        int result = wherry_channel_receive(trial.receiver, piece, sizeof piece, &size, soon());
        test_is(result, 1);
        must(size > 0 && size <= sizeof piece && in + size <= 1000 && memcmp(piece, sent + in, size) == 0,
             "%zu other bytes at %zu", size, in);
        in += size;
    }
    expect_nothing(trial.receiver, &trial.crate);
    free(sent);
    trial_fini(&trial);
}
