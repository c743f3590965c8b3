/* tests/unit/test_ip_groups.c - owns the proof that ip: reaches all, or all of a group, by the device and as far as
 * it was told.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_ip_kit.h"

/* ---- to all, to groups, by devices ------------------------------------------------------------------------------- */

TEST(a_broadcast_reaches_all_and_the_asker_hears_the_answers_alone)
{
    need_right();
    hosts_own_network();
    struct wherry_channel *one = open_at("*", "", WHERRY_RECEIVE),
                          *two = open_at("127.255.255.255", "", WHERRY_RECEIVE);
    struct wherry_channel *host = open_at("127.255.255.255", "&broadcast=1&listen", WHERRY_BOTH);
    struct wherry_channel *asker = open_at("127.255.255.255", "&broadcast=1&connect", WHERRY_BOTH);
    test_is(say(asker, "who?"), 0);
    hear(one, "who?");
    hear(two, "who?");
    test_is(tell(host, hear(host, "who?"), "I"), 0);
    hear(asker, "I");
    hear(one, "I"); /* any address is one of the asker's, too */
    expect_nothing(asker);
    expect_nothing(host);
    shut(asker);
    shut(host);
    shut(one);
    shut(two);
}

static void reach_a_group(const char *name, const char *elsewhere)
{
    struct group group;
    need_right();
    group_reach(&group, IP, name, elsewhere);
    struct wherry_channel *asker = open_at(name, "&interface=" HOSTS_DEVICE "&connect", WHERRY_BOTH);
    test_is(say(asker, "who?"), 0);
    hear(group.one, "who?");
    expect_nothing(asker); /* nor its own question */
    shut(asker);
    group_leave(&group);
}

TEST(a_group_reaches_all_who_joined)
{
    reach_a_group("239.1.2.3", "239.1.2.4");
}

TEST(a_group_of_ipv6_reaches_all_who_joined)
{
    reach_a_group("[ff15::1:2:3]", "[ff15::1:2:4]");
}

TEST(a_group_of_a_link_reaches_all_who_joined)
{
    reach_a_group("[ff12::1:2:3]", "[ff12::1:2:4]");
}

TEST(other_hosts_are_reached_with_an_address_of_this_one)
{
    struct wherry_channel *channel = NULL;
    char url[128];
    need_right();
    int device = own_device();
    static const char *const hosts[] = {"10.66.0.9", "[fd66::9]"};
    for (int i = 0; i < 2; i++) {
        channel = open_at(hosts[i], "&ttl=9&connect", WHERRY_BOTH);
        test_is(say(channel, "far"), 0);
        ck_assert_uint_eq(left_with_ttl(device, IP, 0), 9);
        shut(channel);
    }
    test_is(wherry_channel_open(at(url, "10.66.0.1", "&connect"), WHERRY_BOTH, NULL, WHERRY_NOW, &channel),
            -EADDRINUSE);
    channel = open_at("10.66.0.1", "", WHERRY_SEND); /* one way there is nothing to hear */
    struct wherry_channel *receiver = open_at("10.66.0.1", "", WHERRY_RECEIVE);
    test_is(say(channel, "near"), 0);
    hear(receiver, "near");
    shut(receiver);
    shut(channel);
    close(device);
}
