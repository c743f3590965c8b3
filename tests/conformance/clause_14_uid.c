/* tests/conformance/clause_14_uid.c - both sides check the other's uid: one's own or root, or one that was named.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

/* A guest of another uid.  The test's directory is opened to it, so that the library is what refuses, not the path. */
struct stranger {
    struct site *site;
    struct test_gate *done;
    bool welcome;
};

/* A sample with a uid says who may come already. */
static bool says_no_uid(const struct subject *subject)
{
    return !strstr(subject->sample, "uid=");
}

static void open_to_strangers(struct site *site, const struct subject *subject)
{
    if (!test_is_root())
        test_skip("only root can become another user");
    site_init(site, subject);
    must(chmod(test_dir(), 0711) == 0, "chmod: %s", strerror(errno));
    if (has_option(subject, WHERRY__OPTION_MODE) && (site->path[0] || HAS(REMAINS)))
        site->options.mode = 0666;
}

static void come_as_a_stranger(void *argument)
{
    struct stranger *stranger = argument;
    const struct subject *subject = stranger->site->subject;
    struct wherry_channel *sender = NULL;
    must(test_become_nobody(), "cannot become another user");
    stranger->site->options.mode = 0;
    stranger->site->options.uid = NULL;
    int result = site_try(stranger->site, GUEST, soon(), &sender);
    if (stranger->welcome)
        test_is(result, 0);
    if (result == 0)
        result = post(subject, sender, SMALL, 666, soon());
    if (stranger->welcome)
        test_is(result, 0);
    /* refused at once, or by the end of the connection; a datagram may be thrown away in silence */
    wherry_channel_close(sender, soon());
}

CASE(14, h50_a_stranger_is_refused, .option = WHERRY__OPTION_UID, .needs = WHERRY_TRAIT_PEER,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR, .when = says_no_uid)
{
    struct site site;
    struct crate crate;
    struct wherry_channel_stats stats;
    open_to_strangers(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    crate_init(&crate, subject, SMALL);
    test_join(test_fork(come_as_a_stranger, &(struct stranger){&site, NULL, false}));
    int result = take(receiver, &crate, quiet());
    must(result != 1, "a message of uid 65534 was received");
    must(result == -ETIMEDOUT || result == -EPERM || result == 0, "a stranger's coming gave %d", result);
    test_is(wherry_channel_stats(receiver, &stats, sizeof stats), 0);
    must(stats.refused >= 1, "the refusal was not counted");
    struct wherry_channel *sender = site_open(&site, GUEST); /* and the endpoint goes on */
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    wherry_time deadline = soon();
    while ((result = take(receiver, &crate, soon())) == 0 || result == -EPERM)
        must(wherry_now() < deadline, "the endpoint does not go on");
    test_is(result, 1);
    must(is_message(subject, crate.data, crate.info.size, 1), "a message of another's");
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(14, h50_a_named_uid_is_let_in, .option = WHERRY__OPTION_UID, .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR,
     .when = says_no_uid)
{
    static const char *const lists[] = {"65534", "7,65534,8", "any"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct site site;
        struct crate crate;
        open_to_strangers(&site, subject);
        site.options.uid = lists[i];
        struct wherry_channel *receiver = site_open(&site, HOST);
        crate_init(&crate, subject, SMALL);
        test_join(test_fork(come_as_a_stranger, &(struct stranger){&site, NULL, true}));
        expect(receiver, &crate, SMALL, 666);
        if (HAS(PEER))
            ck_assert_uint_eq(crate.info.peer.uid, 65534);
        crate_fini(&crate);
        close_now(receiver);
        site_fini(&site);
    }
}

/* The other way round: whoever connects looks at who listens there. */
static void receive_as_a_stranger(void *argument)
{
    struct stranger *stranger = argument;
    struct crate crate;
    must(test_become_nobody(), "cannot become another user");
    struct wherry_channel *receiver = site_open(stranger->site, HOST);
    crate_init(&crate, stranger->site->subject, SMALL);
    test_gate_open(stranger->done);
    test_gate_wait(stranger->done + 1);
    must(take(receiver, &crate, quiet()) != 1, "a message went to a stranger who listened");
    crate_fini(&crate);
    close_now(receiver);
}

CASE(14, h50_a_listening_stranger_gets_nothing, .option = WHERRY__OPTION_UID,
     .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR, .when = says_no_uid)
{
    struct site site;
    struct test_gate gates[2];
    struct wherry_channel *sender = NULL;
    open_to_strangers(&site, subject);
    must(chmod(test_dir(), 0777) == 0, "chmod: %s", strerror(errno));
    test_gate_init(&gates[0]);
    test_gate_init(&gates[1]);
    pid_t child = test_fork(receive_as_a_stranger, &(struct stranger){&site, gates, false});
    test_gate_wait(&gates[0]);
    int result = site_try(&site, GUEST, soon(), &sender);
    if (result == 0)
        result = post(subject, sender, SMALL, 1, soon());
    test_is(result, -EPERM);
    must(strstr(wherry_why(), "uid"), "\"%s\" does not say what to do about it", wherry_why());
    test_gate_open(&gates[1]);
    test_join(child);
    close_now(sender);
    test_gate_fini(&gates[0]);
    test_gate_fini(&gates[1]);
    site_fini(&site);
}
