/* tests/unit/test_config.c - owns the tests of channel/config.c: every option, from the URL, from the struct, from
 * both.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "channel/config.h"
#include "channel/transport.h"
#include "harness.h"

static struct wherry__config config;
static const struct wherry__transport *transport;

static int init(const char *url, enum wherry_role role, const struct wherry_channel_options *options)
{
    return wherry__config_init(&config, url, role, options, false, &transport);
}

TEST(defaults)
{
    test_ok(init("unix:x", WHERRY_RECEIVE, NULL));
    ck_assert_str_eq(transport->traits.scheme, "unix");
    ck_assert_str_eq(config.name, "unix:x");
    ck_assert_uint_eq(config.max_message, 16 << 20);
    ck_assert_uint_eq(config.max_memory, (size_t)256 << 20);
    ck_assert_uint_eq(config.capacity, 0);
    ck_assert_uint_eq(config.mode, 0600);
    ck_assert_uint_eq(config.backlog, 128);
    ck_assert_uint_eq(config.writers, 0);
    ck_assert_int_eq(config.framing.kind, WHERRY__FRAME_LENGTH);
    ck_assert_int_eq(config.spin, 0);
    ck_assert(!config.single_thread && !config.inheritable && !config.report_ends && !config.allow.any);
    ck_assert_int_eq(config.read_ahead, WHERRY_READ_AHEAD_DEFAULT);
    wherry__config_fini(&config);
    wherry__config_fini(&config); /* twice is fine */
}

/* ---- values in the URL ----------------------------------------------------------------------------------------- */

static const struct {
    const char *name; /* the option, on a transport that has a use for it */
    const char *scheme;
    int place;          /* 0: good; else the character, from 1, that the sentence names */
    uint64_t value;     /* of ... */
    size_t at, width;   /* ... this field */
} values[] = {
#define FIELD(field) offsetof(struct wherry__config, field), sizeof((struct wherry__config *)0)->field
    {"proto=1", "ip", 0, 1, FIELD(proto)},
    {"proto=254", "ip", 0, 254, FIELD(proto)},
    {"proto=0", "ip", 12, 0, 0, 0},
    {"proto=255", "ip", 12, 0, 0, 0},
    {"proto=4294967296", "ip", 12, 0, 0, 0},
    {"proto=tcp", "ip", 12, 0, 0, 0},
    {"proto=253", "udp", 7, 0, 0, 0},
    {"max_message=1", "unix", 0, 1, FIELD(max_message)},
    {"max_message=0", "unix", 20, 0, 0, 0},
    {"max_message=64k", "unix", 0, 65536, FIELD(max_message)},
    {"max_message=64K", "unix", 0, 65536, FIELD(max_message)},
    {"max_message=1M", "unix", 0, 1 << 20, FIELD(max_message)},
    {"max_message=1G", "unix", 0, 1 << 30, FIELD(max_message)},
    {"max_message=1073741825", "unix", 20, 0, 0, 0},
    {"max_message=2G", "unix", 20, 0, 0, 0},
    {"max_message=-1", "unix", 20, 0, 0, 0},
    {"max_message=+1", "unix", 20, 0, 0, 0},
    {"max_message=", "unix", -1, 0, 0, 0},
    {"max_message", "unix", -1, 0, 0, 0},
    {"max_message=1kk", "unix", 20, 0, 0, 0},
    {"max_message=1T", "unix", 20, 0, 0, 0},
    {"max_message=0x10", "unix", 20, 0, 0, 0},
    {"max_message=99999999999999999999", "unix", 20, 0, 0, 0},
    {"max_message=18446744073709551615k", "unix", 20, 0, 0, 0},
    {"max_memory=1G", "unix", 0, 1 << 30, FIELD(max_memory)},
    {"max_memory=1k", "unix", 19, 0, 0, 0}, /* less than max_message */
    {"max_memory=0", "unix", 19, 0, 0, 0},
    {"capacity=0", "fifo", 17, 0, 0, 0},
    {"capacity=65536", "fifo", 0, 65536, FIELD(capacity)},
    {"capacity=3G", "fifo", 17, 0, 0, 0},
    {"mode=0666", "fifo", 0, 0666, FIELD(mode)},
    {"mode=640", "fifo", 0, 0640, FIELD(mode)},
    {"mode=8", "fifo", 13, 0, 0, 0},
    {"mode=01777", "fifo", 13, 0, 0, 0},
    {"mode=0", "fifo", 13, 0, 0, 0},
    {"mode=rw", "fifo", 13, 0, 0, 0},
    {"backlog=1", "unix", 0, 1, FIELD(backlog)},
    {"backlog=0", "unix", 16, 0, 0, 0},
    {"backlog=2147483647", "unix", 0, INT32_MAX, FIELD(backlog)},
    {"backlog=2147483648", "unix", 16, 0, 0, 0}, /* what listen(2) would take for less than nothing */
    {"backlog=4294967296", "unix", 16, 0, 0, 0},
    {"writers=1", "fifo", 0, 1, FIELD(writers)},
    {"writers=many", "fifo", 16, 0, 0, 0},
    {"spin=50us", "unix", 0, 50000, FIELD(spin)},
    {"spin=1ns", "unix", 0, 1, FIELD(spin)},
    {"spin=2ms", "unix", 0, 2000000, FIELD(spin)},
    {"spin=3s", "unix", 0, UINT64_C(3000000000), FIELD(spin)},
    {"spin=3", "unix", 0, UINT64_C(3000000000), FIELD(spin)},
    {"spin=9223372036s", "unix", 0, UINT64_C(9223372036000000000), FIELD(spin)},
    {"spin=9223372037s", "unix", 13, 0, 0, 0},
    {"spin=1m", "unix", 13, 0, 0, 0},
    {"spin=-1s", "unix", 13, 0, 0, 0},
    {"spin=1.5s", "unix", 13, 0, 0, 0},
    {"single_thread=1", "unix", 0, 1, FIELD(single_thread)},
    {"single_thread=0", "unix", 22, 0, 0, 0},
    {"single_thread", "unix", -1, 0, 0, 0},
    {"inheritable=1", "unix", 0, 1, FIELD(inheritable)},
    {"report_ends=1", "unix", 0, 1, FIELD(report_ends)},
    {"read_ahead=yes", "unix", 0, WHERRY_READ_AHEAD_YES, FIELD(read_ahead)},
    {"read_ahead=no", "unix", 0, WHERRY_READ_AHEAD_NO, FIELD(read_ahead)},
    {"read_ahead=1", "unix", 19, 0, 0, 0},
    {"fds=1", "unix", 0, 1, FIELD(fds)},
    {"fds=253", "unix+dgram", 0, 253, FIELD(fds)},
    {"fds=254", "unix", 12, 0, 0, 0},
    {"fds=0", "unix", 12, 0, 0, 0},
    {"fds=1", "fifo", 8, 0, 0, 0},
    {"fds=1", "tcp", 7, 0, 0, 0},
    {"uid=any", "unix", 0, 1, FIELD(allow.any)},
    {"uid=1000,33", "unix", 0, 2, FIELD(allow.count)},
    {"uid=", "unix", -1, 0, 0, 0},
    {"uid=1000,", "unix", 12, 0, 0, 0},
    {"uid=root", "unix", 12, 0, 0, 0},
    {"uid=4294967295", "unix", 12, 0, 0, 0},
    {"frame=length", "unix", 0, WHERRY__FRAME_LENGTH, FIELD(framing.kind)},
    {"frame=line", "unix", 0, WHERRY__FRAME_LINE, FIELD(framing.kind)},
    {"frame=nul", "unix", 0, WHERRY__FRAME_NUL, FIELD(framing.kind)},
    {"frame=raw", "unix", 0, WHERRY__FRAME_RAW, FIELD(framing.kind)},
    {"frame=fixed:4", "unix", 0, 4, FIELD(framing.size)},
    {"frame=fixed:0", "unix", 14, 0, 0, 0},
    {"frame=fixed:", "unix", 14, 0, 0, 0},
    {"frame=fixed:4x", "unix", 14, 0, 0, 0},
    {"frame=fixed:17000000", "unix", 14, 0, 0, 0}, /* over max_message */
    {"frame=Line", "unix", 14, 0, 0, 0},
    {"frame=", "unix", -1, 0, 0, 0},
    {"listen", "unix", 0, WHERRY_LISTEN, FIELD(side)},
    {"connect", "unix", 0, WHERRY_CONNECT, FIELD(side)},
    {"listen=1", "unix", 15, 0, 0, 0},
    {"connect=", "unix", -1, 0, 0, 0},
    {"listen&connect", "unix", 15, 0, 0, 0},
    {"unknown=1", "unix", 8, 0, 0, 0},
    {"size=1", "unix", 8, 0, 0, 0},
    {"side=1", "unix", 8, 0, 0, 0},
    {"Mode=0600", "unix", 8, 0, 0, 0},
    {"writers=1", "unix", 8, 0, 0, 0}, /* no use for it */
    {"backlog=1", "fifo", 8, 0, 0, 0},
    {"report_ends=1", "fifo", 8, 0, 0, 0},
    {"frame=line", "unix+seqpacket", 18, 0, 0, 0},
    {"read_ahead=no", "unix+dgram", 14, 0, 0, 0},
};

TEST_TABLE(values_in_the_url, values)
{
    char url[100], place[40];
    snprintf(url, sizeof url, "%s:x?%s", values[index].scheme, values[index].name);
    int result = init(url, WHERRY_RECEIVE, NULL);
    if (values[index].place == 0) {
        uint64_t value = 0;
        test_ok(result);
        memcpy(&value, (char *)&config + values[index].at, values[index].width);
        ck_assert_uint_eq(value, values[index].value);
    } else {
        test_is(result, -EINVAL);
        snprintf(place, sizeof place, ": at character %d (", values[index].place);
        if (values[index].place < 0)
            snprintf(place, sizeof place, ": at the end:");
        ck_assert_msg(strstr(wherry_why(), place) != NULL, "\"%s\" is not in: %s", place, wherry_why());
    }
    wherry__config_fini(&config);
}

/* ---- the struct, and both -------------------------------------------------------------------------------------- */

TEST(the_struct_says_the_same_as_the_url)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.side = WHERRY_CONNECT;
    options.frame = "fixed:8";
    options.max_message = 4096;
    options.max_memory = 8192;
    options.capacity = 12345;
    options.mode = 0640;
    options.backlog = 3;
    options.uid = "7";
    options.spin = 5;
    options.single_thread = options.inheritable = options.report_ends = true;
    options.read_ahead = WHERRY_READ_AHEAD_NO;
    for (int i = 0; i < 2; i++) {
        test_ok(init(
            i == 0
                ? "unix:x"
                : "unix:x?connect&frame=fixed:8&max_message=4k&max_memory=8k&capacity=12345&mode=0640&backlog=3&uid=7&"
                  "spin=5ns&single_thread=1&inheritable=1&report_ends=1&read_ahead=no",
            WHERRY_RECEIVE, &options));
        ck_assert_int_eq(config.side, WHERRY_CONNECT);
        ck_assert_uint_eq(config.framing.size, 8);
        ck_assert_uint_eq(config.max_message, 4096);
        ck_assert_uint_eq(config.max_memory, 8192);
        ck_assert_uint_eq(config.capacity, 12345);
        ck_assert_uint_eq(config.mode, 0640);
        ck_assert_uint_eq(config.backlog, 3);
        ck_assert_int_eq(config.allow.count, 1);
        ck_assert_int_eq(config.spin, 5);
        ck_assert(config.single_thread && config.inheritable && config.report_ends);
        ck_assert_int_eq(config.read_ahead, WHERRY_READ_AHEAD_NO);
        wherry__config_fini(&config);
    }
}

static const struct {
    const char *name; /* what the URL says */
    struct wherry_channel_options options;
} conflicts[] = {
    {"max_message=4k", {.size = sizeof(struct wherry_channel_options), .max_message = 4095}},
    {"max_memory=1G", {.size = sizeof(struct wherry_channel_options), .max_memory = 1}},
    {"capacity=4k", {.size = sizeof(struct wherry_channel_options), .capacity = 1}},
    {"mode=0600", {.size = sizeof(struct wherry_channel_options), .mode = 0601}},
    {"backlog=2", {.size = sizeof(struct wherry_channel_options), .backlog = 1}},
    {"frame=line", {.size = sizeof(struct wherry_channel_options), .frame = "nul"}},
    {"uid=1", {.size = sizeof(struct wherry_channel_options), .uid = "1,2"}},
    {"spin=1s", {.size = sizeof(struct wherry_channel_options), .spin = 1}},
    {"read_ahead=yes", {.size = sizeof(struct wherry_channel_options), .read_ahead = WHERRY_READ_AHEAD_NO}},
    {"listen", {.size = sizeof(struct wherry_channel_options), .side = WHERRY_CONNECT}},
    {"connect", {.size = sizeof(struct wherry_channel_options), .side = WHERRY_LISTEN}},
};

TEST_TABLE(url_and_struct_may_not_disagree, conflicts)
{
    char url[64];
    snprintf(url, sizeof url, "unix:x?%s", conflicts[index].name);
    test_is(init(url, WHERRY_RECEIVE, &conflicts[index].options), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "at character 8 (") != NULL, "%s", wherry_why());
    wherry__config_fini(&config);
}

static const struct {
    const char *name;
    struct wherry_channel_options options;
    int result;
} structs[] = {
    {"size_not_set", {.size = 0}, -EINVAL},
    {"size_tiny", {.size = 3}, -EINVAL},
    {"size_huge", {.size = SIZE_MAX}, -E2BIG},
    {"side", {.size = sizeof(struct wherry_channel_options), .side = (enum wherry_side)3}, -EINVAL},
    {"mode", {.size = sizeof(struct wherry_channel_options), .mode = 01777}, -EINVAL},
    {"spin", {.size = sizeof(struct wherry_channel_options), .spin = -1}, -EINVAL},
    {"read_ahead", {.size = sizeof(struct wherry_channel_options), .read_ahead = 3}, -EINVAL},
    {"frame", {.size = sizeof(struct wherry_channel_options), .frame = "lines"}, -EINVAL},
    {"uid", {.size = sizeof(struct wherry_channel_options), .uid = "me"}, -EINVAL},
    {"max_message", {.size = sizeof(struct wherry_channel_options), .max_message = (1 << 30) + 1}, -EINVAL},
    {"max_memory", {.size = sizeof(struct wherry_channel_options), .max_memory = 1}, -EINVAL},
    {"capacity", {.size = sizeof(struct wherry_channel_options), .capacity = UINT64_MAX}, -EINVAL},
    {"backlog", {.size = sizeof(struct wherry_channel_options), .backlog = UINT32_MAX}, -EINVAL},
    {"no_use_for_it", {.size = sizeof(struct wherry_channel_options), .writers = 1}, -EINVAL},
    {"older_struct", {.size = offsetof(struct wherry_channel_options, capacity)}, 0},
};

TEST_TABLE(structs, structs)
{
    test_is(init("unix:x", WHERRY_RECEIVE, &structs[index].options), structs[index].result);
    ck_assert(structs[index].result == 0 || wherry_why()[0]);
    wherry__config_fini(&config);
}

/* A limit that was passed is in the sentence. */
static const struct {
    const char *name;
    struct wherry_channel_options options;
    const char *said;
} limits[] = {
    {"size", {.size = 3}, "the size of the options is 3,"},
    {"size_not_set", {.size = 0}, "the options have no size"},
    {"backlog", {.size = sizeof(struct wherry_channel_options), .backlog = UINT32_MAX}, "at most 2147483647"},
    {"frame", {.size = sizeof(struct wherry_channel_options), .frame = "fixed:99999999999"}, "1 to 1073741824"},
    {"record", {.size = sizeof(struct wherry_channel_options), .frame = "fixed:2147483647"}, "at most 1G"},
};

TEST_TABLE(limits_are_named, limits)
{
    test_is(init("unix:x", WHERRY_RECEIVE, &limits[index].options), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), limits[index].said) != NULL, "%s", wherry_why());
    wherry__config_fini(&config);
}

TEST(a_struct_of_a_newer_version)
{
    struct {
        struct wherry_channel_options options;
        char more[32];
    } newer = {.options = WHERRY_CHANNEL_OPTIONS};
    newer.options.size = sizeof newer;
    newer.options.mode = 0640;
    test_ok(init("unix:x", WHERRY_RECEIVE, &newer.options)); /* nothing new was asked for */
    ck_assert_uint_eq(config.mode, 0640);
    wherry__config_fini(&config);
    newer.more[31] = 1;
    test_is(init("unix:x", WHERRY_RECEIVE, &newer.options), -E2BIG);
    wherry__config_fini(&config);
}

/* An older struct ends within what we know: what lies behind it in memory is none of ours. */
TEST(a_struct_of_an_older_version)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.size = offsetof(struct wherry_channel_options, mode);
    options.mode = 0640;
    test_ok(init("unix:x", WHERRY_RECEIVE, &options));
    ck_assert_uint_eq(config.mode, 0600);
    wherry__config_fini(&config);
}

/* ---- schemes, roles, sides ------------------------------------------------------------------------------------- */

static const struct {
    const char *name; /* the URL */
    int role;
    bool pair;
    int result;
} roles[] = {
    {"nosuch:x", WHERRY_SEND, false, -EPROTONOSUPPORT},
    {"pipe:", WHERRY_SEND, false, -EINVAL},
    {"socketpair:", WHERRY_BOTH, false, -EINVAL},
    {"pipe:", WHERRY_SEND, true, 0},
    {"unix:x", WHERRY_BOTH, true, -EINVAL},
    {"fifo:x", WHERRY_RECEIVE, true, -EINVAL},
    {"fifo:x", WHERRY_BOTH, false, -EOPNOTSUPP},
    {"fifo:x", 0, false, -EINVAL},
    {"fifo:x", 4, false, -EINVAL},
    {"fifo:x", -1, false, -EINVAL},
    {"unix:x", WHERRY_BOTH, false, -EINVAL}, /* without a side */
    {"unix:x?listen", WHERRY_BOTH, false, 0},
    {"unix:x?connect", WHERRY_RECEIVE, false, 0},
    {"fd:3?listen", WHERRY_RECEIVE, false, -EINVAL},
    {"pipe:?listen", WHERRY_RECEIVE, true, -EINVAL},
    {"fifo:x?inheritable=1", WHERRY_RECEIVE, false, -EINVAL},
};

TEST_TABLE(schemes_roles_and_sides, roles)
{
    transport = NULL;
    test_is(wherry__config_init(&config, roles[index].name, (enum wherry_role)roles[index].role, NULL,
                                roles[index].pair, &transport),
            roles[index].result);
    ck_assert((transport != NULL) == (roles[index].result == 0));
    ck_assert(roles[index].result == 0 || strstr(wherry_why(), roles[index].name) != NULL);
    wherry__config_fini(&config);
}

TEST(whoever_receives_listens)
{
    test_ok(init("unix:x", WHERRY_RECEIVE, NULL));
    ck_assert_int_eq(config.side, WHERRY_LISTEN);
    wherry__config_fini(&config);
    test_ok(init("unix:x", WHERRY_SEND, NULL));
    ck_assert_int_eq(config.side, WHERRY_CONNECT);
    wherry__config_fini(&config);
}
