/* tests/conformance/clause_01_killed.c - whole or not at all, also when the sender is killed halfway, and among many.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>

#include "kit.h"

/* ---- killed in the middle -------------------------------------------------------------------------------------- */

struct flood {
    struct site *site;
    size_t size;
};

static void flood(void *argument)
{
    struct flood *f = argument;
    site_leave(f->site, HOST);
    struct wherry_channel *sender = site_open(f->site, GUEST);
    for (unsigned n = 0;; n++)
        if (post(f->site->subject, sender, f->size, tag_of(1, n), WHERRY_FOREVER) < 0)
            exit(0);
}

/* The torn end of a line or nul stream: marked, and the beginning of what was sent. */
static void check_incomplete(const struct crate *crate, size_t size, uint64_t tag)
{
    const struct subject *subject = crate->subject;
    must(subject->frame & (LINE | NUL), "a torn message is no message here");
    must(crate->info.size <= size, "%zu bytes of a message of %zu", crate->info.size, size);
    uint8_t *whole = malloc(size);
    compose(subject, whole, size, tag);
    must(memcmp(whole, crate->data, crate->info.size) == 0,
         "the torn record is not the beginning of one that was sent");
    free(whole);
}

/* Take whatever still comes: whole messages in order, perhaps a marked half, the end. */
static void take_the_rest(struct wherry_channel *receiver, struct crate *crate, size_t size, unsigned next)
{
    const struct subject *subject = crate->subject;
    int result;
    while ((result = take(receiver, crate, HAS(ENDS) ? soon() : quiet())) == 1) {
        if (crate->info.flags & WHERRY_INCOMPLETE) {
            check_incomplete(crate, size, tag_of(1, next));
            continue;
        }
        must(crate->info.size == size && sender_of(crate->tag) == 1 && in_turn(crate, &next),
             "message %u was out of turn", number_of(crate->tag));
    }
    test_is(result, HAS(ENDS) ? 0 : -ETIMEDOUT);
}

/* `asleep`: kill it where it waits for room, which is in the middle of a message wherever the kernel splits one. */
static void kill_in_the_middle(const struct subject *subject, size_t size, unsigned after, bool asleep)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    site.record = size;
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    pid_t child = test_fork(flood, &(struct flood){&site, size});
    site_leave(&site, GUEST);
    crate_init(&crate, subject, size);
    unsigned next = 0;
    for (unsigned n = 0; n < after; n++) {
        test_is(take(receiver, &crate, soon()), 1);
        must(crate.info.size == size && in_turn(&crate, &next), "message %u was out of turn", number_of(crate.tag));
    }
    if (asleep)
        test_until_asleep(child);
    test_kill(child);
    take_the_rest(receiver, &crate, size, next);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(01, a_sender_killed_where_it_waits_leaves_no_torn_message, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    static const size_t sizes[] = {100, 3000, 5000, 70000, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct site site;
        site_init(&site, subject);
        site.record = sizes[i];
        site_for_all(&site);
        if (site_verdict(&site, sizes[i]) == 0)
            kill_in_the_middle(subject, sizes[i], 3, true);
    }
}

CASE(01, a_sender_killed_anywhere_leaves_no_torn_message, .frames = RECORDS)
{
    for (unsigned round = 1; round <= 12; round++)
        kill_in_the_middle(subject, 2000 + 171 * (round % 12), 3 * round, false);
}

/* ---- among many ------------------------------------------------------------------------------------------------ */

enum { SENDERS = 4, EACH = 25 };

struct party {
    struct site *site;
    unsigned number;
    size_t most;
    struct test_gate *there, *go; /* all are there before one may leave: no end comes in between */
};

static size_t size_of(const struct party *party, unsigned n)
{
    if (party->site->subject->frame == FIXED)
        return party->site->record;
    size_t span = party->most - 16;
    return 16 + (n * 7919u + party->number * 104729u) * (size_t)31 % span;
}

static void send_many_sizes(void *argument)
{
    struct party *party = argument;
    site_leave(party->site, HOST);
    struct wherry_channel *sender = site_open(party->site, GUEST);
    if (party->there) {
        test_gate_open(party->there);
        test_gate_wait(party->go);
    }
    for (unsigned n = 0; n < EACH; n++)
        test_is(post(party->site->subject, sender, size_of(party, n), tag_of(party->number, n), soon()), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
}

CASE(01, h34_concurrent_senders_never_interleave, .frames = RECORDS, .needs = WHERRY_TRAIT_MANY_SENDERS,
     .when = comes_in_alone)
{
    struct site site;
    struct crate crate;
    pid_t children[SENDERS];
    unsigned next[SENDERS] = {0};
    struct test_gate there, go;
    test_gate_init(&there);
    test_gate_init(&go);
    site_init(&site, subject);
    site.record = 4096;
    site_for_all(&site);
    size_t limit = site_limit(&site), most = limit < 100000 ? limit : 100000;
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    for (unsigned s = 0; s < SENDERS; s++)
        children[s] = test_fork(send_many_sizes, &(struct party){&site, s, most, &there, &go});
    site_leave(&site, GUEST);
    for (unsigned s = 0; s < SENDERS; s++)
        test_gate_wait(&there);
    for (unsigned s = 0; s < SENDERS; s++)
        test_gate_open(&go);
    crate_init(&crate, subject, most);
    for (unsigned i = 0; i < SENDERS * EACH; i++) {
        int result = take(receiver, &crate, HAS(LOSSY) && i ? quiet() : soon());
        if (HAS(LOSSY) && i && result == -ETIMEDOUT)
            break;
        test_is(result, 1);
        unsigned s = sender_of(crate.tag), n = number_of(crate.tag);
        must(s < SENDERS && in_turn(&crate, &next[s]), "message %u of sender %u out of turn", n, s);
        ck_assert_uint_eq(crate.info.size, size_of(&(struct party){.site = &site, .number = s, .most = most}, n));
    }
    for (unsigned s = 0; s < SENDERS; s++)
        test_join(children[s]);
    test_gate_fini(&there);
    test_gate_fini(&go);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(01, a_killed_sender_spoils_nothing_of_the_others, .needs = WHERRY_TRAIT_MANY_SENDERS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    site_for_all(&site);
    size_t size = site_limit(&site) < 150000 ? site_limit(&site) / 2 : 150000;
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    pid_t victim = test_fork(flood, &(struct flood){&site, size});
    crate_init(&crate, subject, size > 100000 ? size : 100000);
    expect(receiver, &crate, size, tag_of(1, 0));
    pid_t other = test_fork(send_many_sizes, &(struct party){&site, 2, size > 20000 ? 20000 : size, NULL, NULL});
    site_leave(&site, GUEST);
    test_until_asleep(victim);
    test_kill(victim);
    int result = 1;
    for (unsigned next = 0; next < EACH || result == 1;) {
        result = take(receiver, &crate, next < EACH ? soon() : quiet());
        if (result == 1 && sender_of(crate.tag) == 2)
            ck_assert_uint_eq(number_of(crate.tag), next++);
        must(result == 1 || result == 0 || next == EACH, "message %u of the living did not come", next);
        must(result != 0 || next == EACH || !HAS(ENDS_FOR_EVER), "the end came before message %u of the living", next);
    }
    test_join(other);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}
