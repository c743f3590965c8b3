/* tests/conformance/clause_02_ordered.c - messages of one sender arrive in the order sent.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

enum { MANY = 600, BATCH = 50 };

static size_t size_of(const struct site *site, unsigned n)
{
    return site->subject->frame == FIXED ? site->record : 16 + n * 37u % 2000;
}

static void expect_in_order(struct site *site, struct wherry_channel *receiver, unsigned count)
{
    struct crate crate;
    crate_init(&crate, site->subject, 4096);
    const struct subject *subject = site->subject;
    for (unsigned next = 0; next < count;) {
        int result = take(receiver, &crate, HAS(LOSSY) && next ? quiet() : soon());
        if (HAS(LOSSY) && next && result == -ETIMEDOUT)
            break;
        test_is(result, 1);
        must(in_turn(&crate, &next), "message %u was out of turn", number_of(crate.tag));
        ck_assert_uint_eq(crate.info.size, size_of(site, next - 1));
    }
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
}

struct line {
    struct site *site;
    struct wherry_channel *sender;
};

static void send_in_order(void *argument)
{
    struct line *line = argument;
    for (unsigned n = 0; n < MANY; n++)
        test_is(post(line->site->subject, line->sender, size_of(line->site, n), tag_of(0, n), soon()), 0);
}

CASE(02, messages_arrive_in_the_order_sent, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    worker_start(&worker, send_in_order, &(struct line){&site, sender});
    expect_in_order(&site, receiver, MANY);
    worker_join(&worker);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- in batches ------------------------------------------------------------------------------------------------ */

struct batch {
    struct wherry_message messages[BATCH];
    uint8_t data[BATCH][2100];
};

static struct batch *batch_make(struct site *site, unsigned first, size_t count)
{
    struct batch *batch = malloc(sizeof *batch);
    for (unsigned i = 0; i < count; i++) {
        size_t size = size_of(site, first + i);
        compose(site->subject, batch->data[i], size, tag_of(0, first + i));
        batch->messages[i] = (struct wherry_message){.data = batch->data[i], .size = size};
    }
    return batch;
}

static void send_batches(void *argument)
{
    struct line *line = argument;
    for (unsigned n = 0; n < MANY; n += BATCH) {
        struct batch *batch = batch_make(line->site, n, BATCH);
        test_is(wherry_channel_send_many(line->sender, batch->messages, BATCH, soon()), BATCH);
        free(batch);
    }
}

CASE(02, send_many_keeps_the_order, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    worker_start(&worker, send_batches, &(struct line){&site, sender});
    expect_in_order(&site, receiver, MANY);
    worker_join(&worker);
    close_two(sender, receiver);
    site_fini(&site);
}

/* Singles, runs of MORE that a plain send ends, runs that a flush ends, and batches, in turn. */
static void send_mixed(void *argument)
{
    struct line *line = argument;
    uint8_t data[2100];
    for (unsigned n = 0; n < MANY; n++) {
        if (n % 100 == 0) {
            struct batch *batch = batch_make(line->site, n, BATCH);
            test_is(wherry_channel_send_many(line->sender, batch->messages, BATCH, soon()), BATCH);
            free(batch);
            n += BATCH;
        }
        struct wherry_message message = {.data = data, .size = size_of(line->site, n)};
        compose(line->site->subject, data, message.size, tag_of(0, n));
        test_is(wherry_channel_send_message(line->sender, &message, n % 7 ? WHERRY_MORE : 0, soon()), 0);
        if (n % 31 == 0)
            test_is(wherry_channel_flush(line->sender, soon()), 0);
    }
    test_is(wherry_channel_flush(line->sender, soon()), 0);
}

CASE(02, more_batches_and_singles_keep_one_order, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    worker_start(&worker, send_mixed, &(struct line){&site, sender});
    expect_in_order(&site, receiver, MANY);
    worker_join(&worker);
    close_two(sender, receiver);
    site_fini(&site);
}

/* Big ones take other ways through the kernel than small ones: they still queue behind them. */
static void send_big_and_small(void *argument)
{
    struct line *line = argument;
    size_t limit = site_limit(line->site), big = limit < 90000 ? limit : 90000;
    for (unsigned n = 0; n < 40; n++) {
        uint8_t small[SMALL];
        struct wherry_message message = {.data = small, .size = sizeof small};
        compose(line->site->subject, small, sizeof small, tag_of(0, 2 * n));
        test_is(wherry_channel_send_message(line->sender, &message, WHERRY_MORE, soon()), 0);
        test_is(post(line->site->subject, line->sender, big, tag_of(0, 2 * n + 1), soon()), 0);
    }
}

CASE(02, big_and_small_keep_one_order, .frames = NONE | LENGTH | LINE | NUL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    struct crate crate;
    site_init(&site, subject);
    size_t limit = site_limit(&site), big = limit < 90000 ? limit : 90000;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, big);
    worker_start(&worker, send_big_and_small, &(struct line){&site, sender});
    for (unsigned next = 0; next < 80;) {
        int result = take(receiver, &crate, HAS(LOSSY) && next ? quiet() : soon());
        if (HAS(LOSSY) && next && result == -ETIMEDOUT)
            break;
        test_is(result, 1);
        must(in_turn(&crate, &next), "message %u was out of turn", number_of(crate.tag));
        ck_assert_uint_eq(crate.info.size, (next - 1) % 2 ? big : SMALL);
    }
    worker_join(&worker);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- several senders, both directions -------------------------------------------------------------------------- */

struct member {
    struct site *site;
    unsigned number;
    struct test_gate *there, *go; /* all are there before one may leave: no end comes in between */
};

static void send_numbered(void *argument)
{
    struct member *member = argument;
    site_leave(member->site, HOST);
    struct wherry_channel *sender = site_open(member->site, GUEST);
    test_gate_open(member->there);
    test_gate_wait(member->go);
    for (unsigned n = 0; n < 200; n++)
        test_is(post(member->site->subject, sender, SMALL, tag_of(member->number, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
}

CASE(02, each_sender_keeps_its_order, .frames = RECORDS, .needs = WHERRY_TRAIT_MANY_SENDERS, .when = comes_in_alone)
{
    struct site site;
    struct crate crate;
    pid_t children[4];
    unsigned next[4] = {0};
    struct test_gate there, go;
    test_gate_init(&there);
    test_gate_init(&go);
    site_init(&site, subject);
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    for (unsigned s = 0; s < 4; s++)
        children[s] = test_fork(send_numbered, &(struct member){&site, s, &there, &go});
    site_leave(&site, GUEST);
    for (unsigned s = 0; s < 4; s++)
        test_gate_wait(&there);
    for (unsigned s = 0; s < 4; s++)
        test_gate_open(&go);
    crate_init(&crate, subject, SMALL);
    for (int i = 0; i < 800; i++) {
        int result = take(receiver, &crate, HAS(LOSSY) && i ? quiet() : soon());
        if (HAS(LOSSY) && i && result == -ETIMEDOUT)
            break;
        test_is(result, 1);
        unsigned s = sender_of(crate.tag);
        must(s < 4 && in_turn(&crate, &next[s]), "message %u of sender %u out of turn", number_of(crate.tag), s);
    }
    for (unsigned s = 0; s < 4; s++)
        test_join(children[s]);
    test_gate_fini(&there);
    test_gate_fini(&go);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(02, both_directions_keep_their_order, .needs = WHERRY_TRAIT_DUPLEX)
{
    struct site site;
    struct wherry_channel *guest, *host;
    struct crate crate;
    site_init(&site, subject);
    site.duplex = true;
    open_two(&site, &guest, &host);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 100; n++) {
        for (unsigned i = 0; i < 3; i++)
            test_is(post(subject, guest, SMALL, tag_of(1, 3 * n + i), soon()), 0);
        for (unsigned i = 0; i < 3; i++)
            expect(host, &crate, SMALL, tag_of(1, 3 * n + i));
        for (unsigned i = 0; i < 2; i++) {
            struct wherry_message answer = {
                .data = crate.data, .size = SMALL, .to = HAS(LISTENS) ? crate.info.peer.id : 0};
            compose(subject, crate.data, SMALL, tag_of(2, 2 * n + i));
            test_is(wherry_channel_send_message(host, &answer, 0, soon()), 0);
        }
        expect(guest, &crate, SMALL, tag_of(2, 2 * n));
        expect(guest, &crate, SMALL, tag_of(2, 2 * n + 1));
    }
    crate_fini(&crate);
    close_two(guest, host);
    site_fini(&site);
}
