/* tests/unit/test_allow.c - owns the tests of socket/allow.c: which uids may be at the other end.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "socket/allow.h"

static const struct {
    const char *name; /* the text */
    int understood, count;
} texts[] = {
    {"any", 3, 0},
    {"0", 1, 1},
    {"1000,33", 7, 2},
    {"1,2,3", 5, 3},
    {"", 0, 0},
    {",", 0, 0},
    {"1,", 1, 1},
    {"1,,2", 2, 1},
    {"-1", 0, 0},
    {" 1", 0, 0},
    {"1 ", 1, 1},
    {"any,1", 0, 0},
    {"1,any", 2, 1},
    {"x", 0, 0},
    {"4294967294", 10, 1},
    {"4294967295", 0, 0},
    {"4294967296", 0, 0},
    {"0x10", 1, 1},
    {"99999999999999999999", 0, 0},
};

TEST_TABLE(texts, texts)
{
    struct wherry__allow allow;
    ck_assert_int_eq(wherry__allow_parse(&allow, texts[index].name), texts[index].understood);
    ck_assert_int_eq(allow.count, texts[index].count);
    ck_assert(allow.any == (strcmp(texts[index].name, "any") == 0));
}

TEST(no_more_than_there_is_room_for)
{
    struct wherry__allow allow;
    char text[3 * WHERRY__ALLOW_MAX + 4], *at = text;
    for (int i = 0; i <= WHERRY__ALLOW_MAX; i++, at += 3)
        memcpy(at, "10,", 3);
    at[-1] = '\0';
    ck_assert_int_eq(wherry__allow_parse(&allow, text), 3 * WHERRY__ALLOW_MAX); /* the one too many is named */
    at[-4] = '\0';
    ck_assert_int_eq(wherry__allow_parse(&allow, text), (int)strlen(text));
    ck_assert_int_eq(allow.count, WHERRY__ALLOW_MAX);
}

TEST(who_may)
{
    struct wherry__allow allow = {0};
    ck_assert(wherry__allow_check(&allow, geteuid()));
    ck_assert(wherry__allow_check(&allow, 0));
    ck_assert(!wherry__allow_check(&allow, 65534));
    wherry__allow_parse(&allow, "7,65534");
    ck_assert(wherry__allow_check(&allow, 65534));
    ck_assert(wherry__allow_check(&allow, 7));
    ck_assert(!wherry__allow_check(&allow, 8));
    wherry__allow_parse(&allow, "any");
    ck_assert(wherry__allow_check(&allow, 8));
}
