/* tests/unit/test_udp_groups.c - owns the proof that udp: reaches all, or all of a group, by the device and as far as
 * it was told.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_udp_kit.h"

/* ---- to all, and to groups --------------------------------------------------------------------------------------- */

TEST(a_broadcast_reaches_all_who_share_the_port)
{
    char url[96];
    hosts_own_network();
    struct wherry_channel *one = open_at("udp://*:4711?broadcast=1", WHERRY_RECEIVE);
    struct wherry_channel *two = open_at("udp://*:4711?broadcast=1", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at("udp://127.255.255.255:4711?broadcast=1", WHERRY_SEND), *asker;
    test_is(say(sender, "to all"), 0);
    expect_text(one, "to all");
    expect_text(two, "to all");
    test_is(wherry_channel_open("udp://*:4711", WHERRY_RECEIVE, NULL, WHERRY_NOW, &asker), -EADDRINUSE);
    shut(sender);
    shut(one);
    shut(two);
    /* who asks all is answered by each, from its own address */
    struct wherry_channel *host = open_at("udp://*:4711?broadcast=1&listen", WHERRY_BOTH);
    asker = open_at(beside(url, "127.255.255.255", host, "?broadcast=1&connect"), WHERRY_BOTH);
    test_is(say(asker, "who?"), 0);
    test_is(tell(host, hear(host, "who?"), "I"), 0);
    expect_text(asker, "I");
    shut(asker);
    shut(host);
}

static void reach_a_group(const char *name, const char *elsewhere)
{
    char url[96];
    struct group group;
    group_reach(&group, UDP, name, elsewhere);
    snprintf(url, sizeof url, "udp://%s:%d?interface=%s&loop=no", name, GROUP_PORT, HOSTS_DEVICE);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    test_is(say(sender, "to others"), 0);
    ck_assert_uint_eq(left_with_ttl(group.device, UDP, GROUP_PORT), 1);
    expect_nothing(group.one);
    shut(sender);
    /* who asks a group is answered from the members' own addresses */
    snprintf(url, sizeof url, "udp://%s:4712?interface=%s&listen", name, HOSTS_DEVICE);
    struct wherry_channel *host = open_at(url, WHERRY_BOTH);
    snprintf(url, sizeof url, "udp://%s:4712?interface=%s&connect", name, HOSTS_DEVICE);
    struct wherry_channel *asker = open_at(url, WHERRY_BOTH);
    test_is(say(asker, "who?"), 0);
    test_is(tell(host, hear(host, "who?"), "I"), 0);
    expect_text(asker, "I");
    shut(asker);
    shut(host);
    group_leave(&group);
}

TEST(a_group_reaches_all_who_joined)
{
    test_needs(TEST_MULTICAST_ALL);
    reach_a_group("239.1.2.3", "239.1.2.4");
}

TEST(a_group_of_ipv6_reaches_all_who_joined)
{
    test_needs(TEST_MULTICAST_ALL);
    reach_a_group("[ff15::1:2:3]", "[ff15::1:2:4]");
}

/* Which interface an address of one link alone is on must be said: by the option, or in the address. */
TEST(a_group_of_one_link_reaches_all_who_joined)
{
    test_needs(TEST_MULTICAST_ALL);
    reach_a_group("[ff12::1:2:3]", "[ff12::1:2:4]");
}

/* The group of ff12::1:2:3 in a row of /proc/net/igmp6 of that interface. */
static bool is_joined_at(const char *interface)
{
    char row[256], name[32], group[64];
    bool found = false;
    FILE *table = fopen("/proc/net/igmp6", "re");
    ck_assert_ptr_nonnull(table);
    while (fgets(row, sizeof row, table))
        found |= sscanf(row, "%*d %31s %63s", name, group) == 2 && strcmp(name, interface) == 0 &&
                 strcmp(group, "ff120000000000000000000100020003") == 0;
    fclose(table);
    return found;
}

TEST(a_group_of_one_link_may_name_it_itself)
{
    int device = own_device(); /* where the kernel would join */
    struct wherry_channel *receiver = open_at("udp://[ff12::1:2:3%25lo]:4711", WHERRY_RECEIVE);
    ck_assert(is_joined_at("lo"));
    shut(receiver);
    close(device);
}

TEST(an_address_of_one_link_needs_the_interface)
{
    static const char *const names[] = {"udp://[ff12::1:2:3]:4711", "udp://[fe80::1]:4711"};
    struct wherry_channel *channel = NULL;
    int device = own_device();
    for (int i = 0; i < 2; i++)
        for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++) {
            test_is(wherry_channel_open(names[i], (enum wherry_role)role, NULL, WHERRY_NOW, &channel), -EINVAL);
            ck_assert_msg(strstr(wherry_why(), "interface="), "\"%s\"", wherry_why());
        }
    close(device);
}

/* The hosts' own words for unicast. */
TEST(ttl_and_interface_are_for_one_host_too)
{
    int device = own_device();
    struct wherry_channel *sender = open_at("udp://10.66.0.9:4711?ttl=9", WHERRY_SEND);
    test_is(say(sender, "far"), 0);
    ck_assert_uint_eq(left_with_ttl(device, UDP, 4711), 9);
    shut(sender);
    sender = open_at("udp://[fd66::9]:4711?ttl=5", WHERRY_SEND);
    test_is(say(sender, "far"), 0);
    ck_assert_uint_eq(left_with_ttl(device, UDP, 4711), 5);
    shut(sender);
    struct wherry_channel *receiver = open_at("udp://*:4711?interface=" HOSTS_DEVICE, WHERRY_RECEIVE);
    sender = open_at("udp://127.0.0.1:4711", WHERRY_SEND); /* by loopback, which is another interface */
    test_is(say(sender, "near"), 0);
    expect_nothing(receiver);
    shut(sender);
    shut(receiver);
    close(device);
}
