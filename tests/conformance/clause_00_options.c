/* tests/conformance/clause_00_options.c - nothing asked for is silently ignored.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

/* Open or pair with this URL and these options, and close again. */
static int try_url(const struct subject *subject, const char *url, enum wherry_role role,
                   const struct wherry_channel_options *options)
{
    struct wherry_channel *made[2] = {NULL, NULL};
    int result = HAS(PAIR) ? wherry_channel_pair(url, options, made)
                           : wherry_channel_open(url, role, options, WHERRY_NOW, &made[0]);
    if (result < 0) {
        must(!made[0] && !made[1], "a failed call gave an endpoint");
        must(wherry_why()[0] != '\0', "a failed call says nothing");
    }
    close_two(made[0], made[1]);
    return result;
}

/* The URL of a fresh site: with descriptors in it where it takes them, and with the query appended. */
static const char *url_with(struct site *site, const char *query)
{
    static char url[700];
    const struct subject *subject = site->subject;
    site_init(site, subject);
    if (!HAS(DESCRIPTOR)) {
        snprintf(url, sizeof url, "%s%s", site->url, query);
        if (query[0] == '?' && strchr(site->url, '?'))
            url[strlen(site->url)] = '&';
        return url;
    }
    site_share(site);
    char *at = strstr(site->url, "{fds}");
    snprintf(url, sizeof url, "%.*s%d%s", (int)(at - site->url), site->url, site->fds[HOST], query);
    return url;
}

static int try_role(const struct subject *subject, const char *query, enum wherry_role role,
                    const struct wherry_channel_options *options)
{
    struct site site = {.subject = subject};
    int result = try_url(subject, url_with(&site, query), role, options);
    if (result == 0)
        site.fds[HOST] = -1; /* it went with the endpoint */
    site_fini(&site);
    return result;
}

static int try_query(const struct subject *subject, const char *query, const struct wherry_channel_options *options)
{
    return try_role(subject, query, WHERRY_RECEIVE, options);
}

/* ---- the URL --------------------------------------------------------------------------------------------------- */

CASE(00, a_malformed_url_names_its_place)
{
    static const struct {
        const char *query, *place;
    } bad[] = {{"?unknown=1", "unknown"}, {"?spin=1ms&spin=1ms", "spin"},
               {"?spin=soon", "soon"},    {"?max_message=many", "many"},
               {"?spin", "spin"},         {"?=1", "=1"},
               {"#fragment", "fragment"}, {"?max_message=9999999M", "max_message"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_is(try_query(subject, bad[i].query, NULL), -EINVAL);
        must(strstr(wherry_why(), bad[i].place), "\"%s\" does not name %s", wherry_why(), bad[i].place);
    }
    test_is(try_query(subject, "", NULL), 0);
    test_is(try_query(subject, "?spin=10us&max_message=64k&single_thread=1", NULL), 0);
}

CASE(00, url_and_struct_must_agree)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.max_message = 1000;
    test_is(try_query(subject, "?max_message=1000", &options), 0);
    test_is(try_query(subject, "?max_message=1001", &options), -EINVAL);
    must(strstr(wherry_why(), "max_message"), "\"%s\" does not name the option", wherry_why());
    options.max_message = 0;
    test_is(try_query(subject, "?max_message=1001", &options), 0);
}

/* ---- the struct ------------------------------------------------------------------------------------------------ */

CASE(00, options_of_another_version)
{
    struct {
        struct wherry_channel_options known;
        unsigned char later[64];
    } newer = {.known = WHERRY_CHANNEL_OPTIONS};
    newer.known.size = sizeof newer;
    test_is(try_query(subject, "", &newer.known), 0); /* a newer program that asks for nothing new */
    newer.later[40] = 1;
    test_is(try_query(subject, "", &newer.known), -E2BIG);
    newer.known.size = offsetof(struct wherry_channel_options, spin); /* an older program */
    newer.known.spin = -1;
    test_is(try_query(subject, "", &newer.known), 0);
    newer.known.size = 0;
    test_is(try_query(subject, "", &newer.known), -EINVAL);
}

CASE(00, options_without_a_use_are_refused)
{
    static const struct {
        unsigned bit;
        const char *query, *name;
    } table[] = {
        {WHERRY__OPTION_FRAME, "?frame=line", "frame"},
        {WHERRY__OPTION_CAPACITY, "?capacity=16k", "capacity"},
        {WHERRY__OPTION_MODE, "?mode=0600", "mode"},
        {WHERRY__OPTION_BACKLOG, "?backlog=5", "backlog"},
        {WHERRY__OPTION_WRITERS, "?writers=1", "writers"},
        {WHERRY__OPTION_UID, "?uid=any", "uid"},
        {WHERRY__OPTION_READ_AHEAD, "?read_ahead=no", "read_ahead"},
        {WHERRY__OPTION_SIDE, "?listen", "listen"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        bool used = has_option(subject, table[i].bit);
        if (strstr(subject->sample, table[i].query + 1))
            continue; /* said already */
        test_is(try_query(subject, table[i].query, NULL), used ? 0 : -EINVAL);
        if (!used)
            must(strstr(wherry_why(), table[i].name), "\"%s\" does not name %s", wherry_why(), table[i].name);
    }
}

CASE(00, values_that_mean_nothing_are_refused)
{
    static const struct {
        unsigned bit;
        const char *query;
    } table[] = {
        {WHERRY__OPTION_FRAME, "?frame=words"},
        {WHERRY__OPTION_FRAME, "?frame=fixed:0"},
        {WHERRY__OPTION_FRAME, "?frame=fixed:"},
        {WHERRY__OPTION_FRAME, "?frame=fixed:99999999999"},
        {WHERRY__OPTION_MODE, "?mode=9"},
        {WHERRY__OPTION_MODE, "?mode=7777"},
        {WHERRY__OPTION_UID, "?uid=root"},
        {WHERRY__OPTION_UID, "?uid=1,,2"},
        {WHERRY__OPTION_READ_AHEAD, "?read_ahead=maybe"},
        {WHERRY__OPTION_SIDE, "?listen=1"},
        {WHERRY__OPTION_SIDE, "?listen&connect"},
        {WHERRY__OPTION_WRITERS, "?writers=-1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (has_option(subject, table[i].bit))
            test_is(try_query(subject, table[i].query, NULL), -EINVAL);
}

/* ---- roles and flags ------------------------------------------------------------------------------------------- */

CASE(00, roles_that_the_object_cannot_play, .lacks = WHERRY_TRAIT_PAIR)
{
    static const enum wherry_role roles[] = {WHERRY_SEND, WHERRY_RECEIVE, WHERRY_BOTH};
    const struct wherry__transport *transport = wherry__transport_find(subject->traits->scheme);
    ck_assert_int_eq((transport->roles & 1u << WHERRY_BOTH) != 0, (subject->traits->bits & WHERRY_TRAIT_DUPLEX) != 0);
    for (size_t i = 0; i < 3; i++)
        if (!(transport->roles & 1u << roles[i]))
            test_is(try_role(subject, "", roles[i], NULL), -EOPNOTSUPP);
    test_is(try_role(subject, "", (enum wherry_role)0, NULL), -EINVAL);
    test_is(try_role(subject, "", (enum wherry_role)9, NULL), -EINVAL);
    if (HAS(LISTENS) && HAS(DUPLEX)) { /* "both" must say its side */
        test_is(try_role(subject, "", WHERRY_BOTH, NULL), -EINVAL);
        test_is(try_role(subject, "?listen", WHERRY_BOTH, NULL), 0);
    }
}

CASE(00, a_direction_that_was_not_opened_is_refused)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    uint8_t data[SMALL] = {0};
    size_t size;
    void *place;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    if (!(HAS(PAIR) && HAS(DUPLEX))) {
        test_is(wherry_channel_send(receiver, data, SMALL, WHERRY_NOW), -EOPNOTSUPP);
        test_is(wherry_channel_flush(receiver, WHERRY_NOW), -EOPNOTSUPP);
        test_is(wherry_channel_reserve(receiver, SMALL, &place, WHERRY_NOW), -EOPNOTSUPP);
        test_is(wherry_channel_send_fd(receiver), -EOPNOTSUPP);
        test_is(wherry_channel_receive(sender, data, SMALL, &size, WHERRY_NOW), -EOPNOTSUPP);
        test_is(wherry_channel_receive_fd(sender), -EOPNOTSUPP);
    }
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(00, unknown_flags_are_refused)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    uint8_t data[SMALL] = {0};
    struct wherry_message message = {.data = data, .size = SMALL};
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned bit = 1; bit < 32; bit++)
        test_is(wherry_channel_send_message(sender, &message, 1u << bit, soon()), -EINVAL);
    expect_nothing(receiver, &crate);
    test_is(wherry_channel_send_many(sender, NULL, 0, soon()), 0);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(00, close_takes_null)
{
    test_is(wherry_channel_close(NULL, WHERRY_NOW), 0);
    must(subject->traits, "of every transport");
}
