/* tests/unit/test_ip_addresses.c - owns the proof of who is at an address of ip:, who is told from whom there, and
 * who is refused.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/test_ip_kit.h"

/* ---- addresses --------------------------------------------------------------------------------------------------- */

TEST(each_receiver_at_an_address_gets_a_copy)
{
    need_right();
    struct wherry_channel *one = open_at(own_host(1), "", WHERRY_RECEIVE),
                          *two = open_at(own_host(1), "", WHERRY_RECEIVE);
    struct wherry_channel *other = open_at(own_host(2), "", WHERRY_RECEIVE);
    struct wherry_channel *sender = open_at(own_host(1), "", WHERRY_SEND);
    test_is(say(sender, "to both"), 0);
    hear(one, "to both");
    hear(two, "to both");
    expect_nothing(other);
    shut(sender);
    shut(one);
    shut(two);
    shut(other);
}

TEST(another_protocol_is_another_channel)
{
    char url[128];
    struct wherry_channel *sender = NULL;
    need_right();
    struct wherry_channel *receiver = open_at(own_host(1), "", WHERRY_RECEIVE);
    snprintf(url, sizeof url, "ip://%s?proto=254", own_host(1));
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender), 0);
    test_is(say(sender, "elsewhere"), 0);
    expect_nothing(receiver);
    shut(sender);
    shut(receiver);
}

/* Each of those on one host has an address of its own, or answers would reach all of them. */
TEST(each_peer_gets_its_own_answer)
{
    need_right();
    answer_each_peer(IP, own_host(1));
}

TEST(what_went_to_and_from_each_peer_is_counted)
{
    struct wherry_peer_stats stats;
    char data[32];
    need_right();
    struct wherry_channel *host = open_at(own_host(1), "&listen", WHERRY_BOTH);
    int raws[2] = {raw_socket(own_host(2), own_host(1)), raw_socket(own_host(3), own_host(1))};
    uint64_t ids[2];
    test_is(wherry_channel_peer_stats(host, 0, &stats, sizeof stats), -ENOTCONN);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(send(raws[i], "one", 3, 0), 3);
        ids[i] = hear(host, "one");
    }
    ck_assert_int_eq(send(raws[1], "three", 5, 0), 5);
    ck_assert_uint_eq(hear(host, "three"), ids[1]);
    test_is(tell(host, ids[1], "to the second"), 0);
    expect_packet(raws[1], 20, "to the second");
    ck_assert_int_eq(recv(raws[0], data, sizeof data, MSG_DONTWAIT), -1);
    test_is(wherry_channel_peer_stats(host, 0, &stats, sizeof stats), -EDESTADDRREQ);
    test_is(wherry_channel_peer_stats(host, ids[0], &stats, sizeof stats), 0);
    ck_assert_str_eq(stats.address, own_host(2));
    ck_assert(stats.received_messages == 1 && stats.received_bytes == 3 && stats.sent_messages == 0 &&
              stats.sent_bytes == 0);
    test_is(wherry_channel_peer_stats(host, ids[1], &stats, sizeof stats), 0);
    ck_assert_str_eq(stats.address, own_host(3));
    ck_assert(stats.received_messages == 2 && stats.received_bytes == 8 && stats.sent_messages == 1 &&
              stats.sent_bytes == 13);
    close(raws[0]);
    close(raws[1]);
    shut(host);
}

/* Its answer would come back to the endpoint that gives it, which would answer that. */
TEST(who_has_the_endpoints_own_address_is_not_answered)
{
    char data[32];
    need_right();
    struct wherry_channel *host = open_at(own_host(1), "&listen", WHERRY_BOTH);
    struct wherry_channel *receiver = open_at(own_host(1), "", WHERRY_RECEIVE);
    int raw = raw_socket(own_host(1), own_host(1)), good = raw_socket(own_host(2), own_host(1));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(send(raw, "me", 2, 0), 2);
    test_is(wherry_channel_receive(host, data, sizeof data, NULL, test_deadline()), -EBADMSG);
    ck_assert_msg(strstr(wherry_why(), "come back"), "\"%s\"", wherry_why());
    expect_nothing(host);
    ck_assert_uint_eq(stats_of(host).refused, 3);
    ck_assert_int_eq(send(good, "other", 5, 0), 5);
    test_is(tell(host, hear(host, "other"), "answer"), 0);
    expect_packet(good, 20, "answer");
    for (int i = 0; i < 3; i++)
        hear(receiver, "me"); /* who gives no answers takes it */
    close(raw);
    close(good);
    shut(receiver);
    shut(host);
}

TEST(any_address_is_one_of_its_family)
{
    char url[128];
    need_right();
    hosts_own_network();
    struct wherry_channel *four = open_at("*", "", WHERRY_RECEIVE), *six = open_at("[::]", "&ttl=3", WHERRY_RECEIVE),
                          *none = NULL;
    static const char *const hosts[] = {"", "localhost", "127.0.0.1", "127.9.8.7", "[::1]"};
    for (size_t i = 0; i < 5; i++) {
        struct wherry_channel *sender = open_at(hosts[i], "", WHERRY_SEND);
        test_is(say(sender, "hello"), 0);
        hear(i < 4 ? four : six, "hello");
        expect_nothing(four);
        expect_nothing(six);
        shut(sender);
    }
    static const char *const any[] = {"*", "0.0.0.0", "0", "[::]"};
    for (size_t i = 0; i < 4; i++) {
        test_is(wherry_channel_open(at(url, any[i], "&listen"), WHERRY_BOTH, NULL, WHERRY_NOW, &none), -EOPNOTSUPP);
        ck_assert_msg(strstr(wherry_why(), "own answers"), "\"%s\"", wherry_why());
    }
    shut(four);
    shut(six);
}

static const struct refusal refusals_of_open[] = {
    {"ip://", WHERRY_RECEIVE, -EINVAL, "proto=N"},
    {"ip://127.0.0.1?ttl=3", WHERRY_SEND, -EINVAL, "proto=N"},
    {"ip://?proto=0", WHERRY_RECEIVE, -EINVAL, "proto"},
    {"ip://?proto=255", WHERRY_RECEIVE, -EINVAL, "255"},
    {"ip://?proto=256", WHERRY_RECEIVE, -EINVAL, "254"},
    {"ip://?proto=tcp", WHERRY_RECEIVE, -EINVAL, "proto takes"},
    {"ip://127.0.0.1:80?proto=253", WHERRY_RECEIVE, -EINVAL, "no port"},
    {"ip://:80?proto=253", WHERRY_SEND, -EINVAL, "no port"},
    {"ip://[::1]:80?proto=253", WHERRY_SEND, -EINVAL, "no port"},
    {"ip://::1?proto=253", WHERRY_SEND, -EINVAL, "brackets"},
    {"ip:253", WHERRY_RECEIVE, -EINVAL, "ip://"},
    {"ip:///path?proto=253", WHERRY_RECEIVE, -EINVAL, "ip://"},
    {"ip://*?proto=253", WHERRY_SEND, -EINVAL, "*"},
    {"ip://?proto=253", WHERRY_BOTH, -EINVAL, "listen"},
    {"ip://?proto=253&listen", WHERRY_SEND, -EOPNOTSUPP, "listen"},
    {"ip://?proto=253&connect", WHERRY_RECEIVE, -EOPNOTSUPP, "connect"},
    {"ip://?proto=253&connect&inheritable=1", WHERRY_SEND, -EINVAL, "inheritable"},
    {"ip://?proto=253&frame=line", WHERRY_RECEIVE, -EINVAL, "frame"},
    {"udp://:9000?proto=253", WHERRY_RECEIVE, -EINVAL, "proto"},
    {"ip://192.0.2.1?proto=253", WHERRY_RECEIVE, -EADDRNOTAVAIL, "192.0.2.1"},
    {"ip://127.255.255.255?proto=253", WHERRY_SEND, -EACCES, "broadcast=1"},
    {"ip://?proto=253&interface=nosuch0", WHERRY_RECEIVE, -ENODEV, "nosuch0"},
    {"ip://[::1]?proto=253&connect", WHERRY_BOTH, -EADDRINUSE, "127.0.0.0/8"},
    {"ip://0.0.0.0?proto=253&connect", WHERRY_BOTH, -EADDRINUSE, "hear itself"},
    {"ip://[::]?proto=253&connect", WHERRY_BOTH, -EADDRINUSE, "hear itself"},
    {"ip://[fe80::1]?proto=253", WHERRY_SEND, -EINVAL, "interface="},
    {"ip://[fe80::1]?proto=253", WHERRY_RECEIVE, -EINVAL, "interface="},
    {"ip://[ff12::1]?proto=253", WHERRY_RECEIVE, -EINVAL, "interface="},
};

TEST_TABLE(what_cannot_be_is_refused, refusals_of_open)
{
    need_right();
    expect_refusal(&refusals_of_open[index]);
}

TEST(the_struct_says_the_same_as_the_url)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    need_right();
    options.proto = PROTOCOL;
    test_is(wherry_channel_open("ip://", WHERRY_RECEIVE, &options, WHERRY_NOW, &channel), 0);
    shut(channel);
    test_is(wherry_channel_open("ip://?proto=252", WHERRY_RECEIVE, &options, WHERRY_NOW, &channel), -EINVAL);
    test_is(wherry_channel_open("udp://:0", WHERRY_RECEIVE, &options, WHERRY_NOW, &channel), -EINVAL);
    options.proto = 255;
    test_is(wherry_channel_open("ip://", WHERRY_RECEIVE, &options, WHERRY_NOW, &channel), -EINVAL);
}

static void open_as_nobody(void *argument)
{
    (void)argument;
    char url[128];
    struct wherry_channel *channel = NULL;
    ck_assert(test_become_nobody());
    static const enum wherry_role roles[] = {WHERRY_SEND, WHERRY_RECEIVE};
    for (int i = 0; i < 2; i++) {
        test_is(wherry_channel_open(at(url, "", ""), roles[i], NULL, WHERRY_NOW, &channel), -EPERM);
        ck_assert_msg(strstr(wherry_why(), "CAP_NET_RAW") && strstr(wherry_why(), "setcap"), "\"%s\"", wherry_why());
    }
}

TEST(without_the_right_it_is_named)
{
    if (!test_is_root())
        test_skip("no right to give up");
    test_join(test_fork(open_as_nobody, NULL));
}
