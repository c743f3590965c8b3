/* tests/conformance/clause_10_deadlines.c - deadlines are absolute; signals change nothing.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <sys/time.h>

#include "kit.h"

/* ---- a wait ends at its deadline ------------------------------------------------------------------------------- */

CASE(10, a_deadline_in_the_past_tries_once)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    static const wherry_time past[] = {WHERRY_NOW, -1, 1, INT64_MIN};
    for (size_t i = 0; i < sizeof past / sizeof *past; i++)
        test_is(take(receiver, &crate, past[i]), past[i] > 0 ? -ETIMEDOUT : -EAGAIN);
    for (size_t i = 0; i < sizeof past / sizeof *past; i++)
        test_is(post(subject, sender, SMALL, i, past[i]), 0);
    wherry_time deadline = soon(); /* a datagram or a byte on a local socket is there when send returns */
    for (size_t i = 0; i < sizeof past / sizeof *past; i++) {
        int result;
        while ((result = take(receiver, &crate, past[i])) == -EAGAIN || result == -ETIMEDOUT)
            must(wherry_now() < deadline, "message %zu does not come", i);
        test_is(result, 1);
        must(is_message(subject, crate.data, SMALL, i), "message %zu was to come", i);
    }
    test_is(take(receiver, &crate, wherry_now() - 1), -ETIMEDOUT);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* Neither early nor (by much) late, over a few lengths. */
static void wait_in_vain(const struct subject *subject, struct wherry_channel *channel, bool sending, wherry_time span)
{
    struct crate crate;
    crate_init(&crate, subject, SMALL);
    wherry_time deadline = wherry_after(span), limit = deadline + soon() - wherry_now();
    test_is(sending ? post(subject, channel, SMALL, 9, deadline) : take(channel, &crate, deadline), -ETIMEDOUT);
    wherry_time now = wherry_now();
    must(now >= deadline, "the wait ended %lld us early", (long long)((deadline - now) / WHERRY_MICROSECOND));
    must(now < limit, "the wait ended %lld ms late", (long long)((now - deadline) / WHERRY_MILLISECOND));
    crate_fini(&crate);
}

CASE(10, a_wait_ends_at_its_deadline, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    static const wherry_time spans[] = {300 * WHERRY_MICROSECOND, 3 * WHERRY_MILLISECOND, 90 * WHERRY_MILLISECOND};
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        wait_in_vain(subject, receiver, false, spans[i]);
    if (!HAS(LOSSY)) /* else it is never full */
        fill(subject, sender, SMALL, 0);
    for (size_t i = 0; i < sizeof spans / sizeof *spans && !HAS(LOSSY); i++)
        wait_in_vain(subject, sender, true, spans[i]);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(10, for_ever_ends_with_a_message)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct worker worker;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    struct errand errand = to_receive(subject, receiver, WHERRY_FOREVER);
    worker_start(&worker, errand_receive, &errand);
    worker_until_asleep(&worker);
    test_is(post(subject, sender, SMALL, tag_of(3, 4), soon()), 0);
    worker_join(&worker);
    test_is(errand.result, 1);
    ck_assert_uint_eq(errand.tag, tag_of(3, 4));
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(10, spinning_keeps_the_deadline)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    site.options.spin = 5 * WHERRY_MILLISECOND;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    wait_in_vain(subject, receiver, false, WHERRY_MILLISECOND);
    wait_in_vain(subject, receiver, false, 20 * WHERRY_MILLISECOND);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- under a thousand signals a second ------------------------------------------------------------------------- */

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
    (void)signal;
    ticks++;
}

static void timer_start(void)
{
    struct sigaction action = {.sa_handler = tick}; /* no SA_RESTART: each one interrupts */
    struct itimerval every = {{0, 1000}, {0, 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static void timer_stop(void)
{
    struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    signal(SIGALRM, SIG_DFL);
}

CASE(10, h59_a_1_khz_timer_changes_no_wait, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    timer_start();
    wait_in_vain(subject, receiver, false, 150 * WHERRY_MILLISECOND);
    for (int i = 0; i < 50 && ticks <= 20; i++) /* few come where the machine stands still */
        wait_in_vain(subject, receiver, false, 150 * WHERRY_MILLISECOND);
    if (!HAS(LOSSY)) {
        fill(subject, sender, SMALL, 0);
        wait_in_vain(subject, sender, true, 150 * WHERRY_MILLISECOND);
    }
    timer_stop();
    must(ticks > 20, "%d signals came", (int)ticks);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(10, h59_a_1_khz_timer_changes_no_opening,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR | WHERRY_TRAIT_REMAINS, .when = waits_for_the_other)
{
    struct site site;
    struct wherry_channel *sender = NULL;
    site_init(&site, subject);
    timer_start();
    wherry_time deadline = wherry_after(150 * WHERRY_MILLISECOND);
    test_is(site_try(&site, GUEST, deadline, &sender), -ETIMEDOUT);
    timer_stop();
    must(wherry_now() >= deadline, "the wait ended early");
    must(wherry_now() < deadline + 12 * WHERRY_SECOND * test_slowness(), "the wait ended late");
    site_fini(&site);
}

struct stream {
    const struct subject *subject;
    struct wherry_channel *sender;
    size_t size;
};

static void send_forty(void *argument)
{
    struct stream *stream = argument;
    for (unsigned n = 0; n < 40; n++)
        test_is(post(stream->subject, stream->sender, stream->size, tag_of(0, n), soon()), 0);
    test_is(wherry_channel_flush(stream->sender, soon()), 0);
}

/* Signals that fall into reads and writes lose and tear nothing. */
CASE(10, h59_a_1_khz_timer_tears_nothing, .frames = RECORDS, .lacks = WHERRY_TRAIT_LOSSY)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    struct worker worker;
    site_init(&site, subject);
    size_t limit = site_limit(&site), size = limit < 200000 ? limit : 200000;
    site.record = size;
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, size);
    timer_start();
    worker_start(&worker, send_forty, &(struct stream){subject, sender, size});
    for (unsigned n = 0; n < 40; n++) {
        for (int i = 0; i < 4; i++) /* slower than the sender, so that it has to wait, in the middle of messages too */
            test_is(wherry_channel_receive(receiver, crate.data, 0, &crate.info.size, soon()), -EMSGSIZE);
        expect(receiver, &crate, size, tag_of(0, n));
    }
    worker_join(&worker);
    timer_stop();
    expect_nothing(receiver, &crate);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}
