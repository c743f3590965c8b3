/* tests/conformance/clause_04_kept.c - nothing accepted is lost while the object lives.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

struct leaver {
    struct site *site;
    size_t size;
    struct test_gate *leaving;
    _Atomic unsigned *accepted; /* test_shared() */
};

/* Fill the channel and go, with whatever is still kept. */
static void fill_and_leave(void *argument)
{
    struct leaver *leaver = argument;
    const struct subject *subject = leaver->site->subject;
    site_leave(leaver->site, HOST);
    struct wherry_channel *sender = site_open(leaver->site, GUEST);
    atomic_store(leaver->accepted, fill(subject, sender, leaver->size, 0));
    test_gate_open(leaver->leaving);
    test_is(wherry_channel_close(sender, soon()), 0);
}

static void outlive_its_sender(const struct subject *subject, size_t size)
{
    struct site site;
    struct crate crate;
    struct test_gate leaving;
    _Atomic unsigned *accepted = test_shared(sizeof *accepted);
    site_init(&site, subject);
    site.record = size;
    site_share(&site);
    test_gate_init(&leaving);
    struct wherry_channel *receiver = site_open(&site, HOST);
    pid_t child = test_fork(fill_and_leave, &(struct leaver){&site, size, &leaving, accepted});
    site_leave(&site, GUEST);
    test_gate_wait(&leaving);
    crate_init(&crate, subject, size);
    for (unsigned n = 0; n < atomic_load(accepted); n++)
        expect(receiver, &crate, size, tag_of(0, n));
    test_join(child);
    expect_end(receiver, &crate);
    crate_fini(&crate);
    test_gate_fini(&leaving);
    close_now(receiver);
    site_fini(&site);
}

CASE(04, what_was_accepted_outlives_its_sender, .frames = RECORDS, .when = comes_in_alone,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    static const size_t sizes[] = {SMALL, 4000, 60000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct site site;
        site_init(&site, subject);
        site.record = sizes[i];
        site_for_all(&site);
        if (site_verdict(&site, sizes[i]) == 0)
            outlive_its_sender(subject, sizes[i]);
    }
}

CASE(04, a_closed_sender_leaves_its_messages, .frames = RECORDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < FEW; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
    for (unsigned n = 0; n < FEW; n++)
        expect(receiver, &crate, SMALL, tag_of(0, n));
    expect_end(receiver, &crate);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* ---- before there was a receiver ------------------------------------------------------------------------------- */

CASE(04, messages_wait_for_a_receiver, .needs = WHERRY_TRAIT_REMAINS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    sender = site_open(&site, GUEST);
    for (unsigned n = 0; n < 5; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
    receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 5; n++)
        expect(receiver, &crate, SMALL, tag_of(0, n));
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* ---- read-ahead ------------------------------------------------------------------------------------------------ */

/* A receiver of the messages that an earlier one did not ask for: at the same address, or on the same descriptor. */
static struct wherry_channel *succeed(struct site *site, struct wherry_channel *receiver)
{
    const struct subject *subject = site->subject;
    char exported[128], url[160];
    struct wherry_channel *next = NULL;
    if (addressed(subject)) {
        char keep[300]; /* the object is to outlive the receiver that created it */
        snprintf(keep, sizeof keep, "%s.keep", site->path);
        must(link(site->path, keep) == 0, "link: %s", strerror(errno));
        close_now(receiver);
        must(rename(keep, site->path) == 0, "rename: %s", strerror(errno));
        site->litter = true;
        return site_open(site, HOST);
    }
    test_is(wherry_channel_export(receiver, exported, sizeof exported), 0);
    int fd = dup((int)strtol(exported + strcspn(exported, "0123456789"), NULL, 10));
    close_now(receiver);
    snprintf(url, sizeof url, "fd:%d?frame=%s", fd, site->options.frame);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &next), 0);
    return next;
}

CASE(04, without_read_ahead_the_rest_is_the_next_receivers, .frames = RECORDS & ~NONE, .lacks = WHERRY_TRAIT_LISTENS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    site.options.read_ahead = WHERRY_READ_AHEAD_NO;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 10; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    for (unsigned n = 0; n < 10; n++) {
        if (n == 1 || n == 5)
            receiver = succeed(&site, receiver);
        expect(receiver, &crate, SMALL, tag_of(0, n));
    }
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(04, read_ahead_or_not_every_message_comes, .frames = RECORDS, .option = WHERRY__OPTION_READ_AHEAD)
{
    for (int read_ahead = WHERRY_READ_AHEAD_YES; read_ahead <= WHERRY_READ_AHEAD_NO; read_ahead++) {
        struct site site;
        struct wherry_channel *sender, *receiver;
        struct crate crate;
        site_init(&site, subject);
        site.record = 700;
        memcpy(&site.options.read_ahead, &read_ahead, sizeof read_ahead);
        open_two(&site, &sender, &receiver);
        crate_init(&crate, subject, 4000);
        for (unsigned n = 0; n < 100; n++) {
            size_t first = subject->frame == FIXED ? 700 : 16 + 40 * (n % 90),
                   second = subject->frame == FIXED ? 700 : 20;
            test_is(post(subject, sender, first, tag_of(0, 2 * n), soon()), 0);
            test_is(post(subject, sender, second, tag_of(0, 2 * n + 1), soon()), 0);
            expect(receiver, &crate, first, tag_of(0, 2 * n));
            expect(receiver, &crate, second, tag_of(0, 2 * n + 1));
        }
        crate_fini(&crate);
        close_two(sender, receiver);
        site_fini(&site);
    }
}

/* What a connection still held for a receiver that goes is lost with it, and its sender hears of it. */
CASE(04, a_connections_messages_go_with_its_receiver, .needs = WHERRY_TRAIT_LISTENS, .lacks = WHERRY_TRAIT_REMAINS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < FEW; n++)
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
    expect(receiver, &crate, SMALL, tag_of(0, 0));
    close_now(receiver);
    if (HAS(KNOWS_RECEIVERS))
        test_is(post_until_refused(subject, sender), -EPIPE);
    receiver = site_open(&site, HOST);
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}
