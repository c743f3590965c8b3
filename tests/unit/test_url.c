/* tests/unit/test_url.c - owns the tests of base/url.c: what is a URL, what is in it, and where an error is.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wherry/base.h>

#include "base/url.h"
#include "harness.h"

static const struct {
    const char *name; /* the URL */
    const char *scheme, *authority, *path;
    bool has_authority;
    const char *keys[3], *values[3];
} good[] = {
    {"pipe:", "pipe", "", "", false, {NULL}, {NULL}},
    {"fifo:./channel", "fifo", "", "./channel", false, {NULL}, {NULL}},
    {"fifo:///path/to", "fifo", "", "/path/to", true, {NULL}, {NULL}},
    {"fifo:/path/to", "fifo", "", "/path/to", false, {NULL}, {NULL}},
    {"unix:@name", "unix", "", "@name", false, {NULL}, {NULL}},
    {"unix+seqpacket:x", "unix+seqpacket", "", "x", false, {NULL}, {NULL}},
    {"a2.b-c+d:x", "a2.b-c+d", "", "x", false, {NULL}, {NULL}},
    {"tcp://host:80", "tcp", "host:80", "", true, {NULL}, {NULL}},
    {"tcp://[::1]:9000", "tcp", "[::1]:9000", "", true, {NULL}, {NULL}},
    {"nats://host/a/b", "nats", "host", "/a/b", true, {NULL}, {NULL}},
    {"tcp://host?k=v", "tcp", "host", "", true, {"k"}, {"v"}},
    {"fd:0,1", "fd", "", "0,1", false, {NULL}, {NULL}},
    {"fifo:x?listen", "fifo", "", "x", false, {"listen"}, {NULL}},
    {"fifo:x?k=", "fifo", "", "x", false, {"k"}, {""}},
    {"fifo:x?k=a=b", "fifo", "", "x", false, {"k"}, {"a=b"}},
    {"fifo:x?a=1&b=2&c", "fifo", "", "x", false, {"a", "b", "c"}, {"1", "2", NULL}},
    {"fifo:x?k=a?b/c", "fifo", "", "x", false, {"k"}, {"a?b/c"}},
    {"fifo:a%20b", "fifo", "", "a b", false, {NULL}, {NULL}},
    {"fifo:%3F%23%26%3d", "fifo", "", "?#&=", false, {NULL}, {NULL}},
    {"fifo:%2525", "fifo", "", "%25", false, {NULL}, {NULL}},
    {"fifo:%ff%FE", "fifo", "", "\xff\xfe", false, {NULL}, {NULL}},
    {"fifo:\xc3\xa9", "fifo", "", "\xc3\xa9", false, {NULL}, {NULL}},
    {"fifo:x?%6b=%76&a%26b=c%3Dd", "fifo", "", "x", false, {"k", "a&b"}, {"v", "c=d"}},
    {"fifo:%0a", "fifo", "", "\n", false, {NULL}, {NULL}},
    {"fifo:", "fifo", "", "", false, {NULL}, {NULL}},
    {"fifo:a&b=c", "fifo", "", "a&b=c", false, {NULL}, {NULL}},
};

TEST_TABLE(good_urls, good)
{
    struct wherry__url url;
    test_ok(wherry__url_init(&url, good[index].name));
    ck_assert_str_eq(url.text, good[index].name);
    ck_assert_str_eq(url.scheme, good[index].scheme);
    ck_assert_str_eq(url.authority, good[index].authority);
    ck_assert_str_eq(url.path, good[index].path);
    ck_assert(url.has_authority == good[index].has_authority);
    size_t count = 0;
    for (; count < 3 && good[index].keys[count]; count++) {
        const struct wherry__url_option *option = &url.options[count];
        ck_assert_str_eq(option->key, good[index].keys[count]);
        if (good[index].values[count])
            ck_assert_str_eq(option->value, good[index].values[count]);
        else
            ck_assert_ptr_null(option->value);
    }
    ck_assert_uint_eq(url.option_count, count);
    wherry__url_fini(&url);
    wherry__url_fini(&url); /* twice is fine */
}

static const struct {
    const char *name;
    const char *url;
    int at;           /* the character, from 1, that the sentence names; 0: the end */
    const char *reason;
} bad[] = {
    {"scheme_1", "", 0, "scheme"},
    {"scheme_2", "fifo", 1, "scheme"},
    {"scheme_3", ":x", 1, "scheme"},
    {"scheme_4", "Fifo:x", 1, "scheme"},
    {"scheme_5", "2fifo:x", 1, "scheme"},
    {"scheme_6", "+x:y", 1, "scheme"},
    {"scheme_7", "/path", 1, "scheme"},
    {"scheme_8", " fifo:x", 1, "scheme"},
    {"scheme_9", "fi fo:x", 1, "scheme"},
    {"hexadecimal_1", "fifo://%", 8, "hexadecimal"},
    {"hexadecimal_2", "fifo:%", 6, "hexadecimal"},
    {"hexadecimal_3", "fifo:a%2", 7, "hexadecimal"},
    {"hexadecimal_4", "fifo:a%zz", 7, "hexadecimal"},
    {"hexadecimal_5", "fifo:a%2g", 7, "hexadecimal"},
    {"hexadecimal_6", "fifo:a%-1b", 7, "hexadecimal"},
    {"NUL_1", "fifo:a%00b", 7, "NUL"},
    {"NUL_2", "fifo:a?k=%00", 10, "NUL"},
    {"fragment_1", "fifo:a#b", 7, "fragment"},
    {"fragment_2", "fifo:a?k=v#f", 11, "fragment"},
    {"fragment_3", "fifo://host#f/x", 12, "fragment"},
    {"control_1", "fifo:a\nb", 7, "control"},
    {"control_2", "fifo:a\x7f", 7, "control"},
    {"control_3", "fifo:a\x01", 7, "control"},
    {"control_4", "fifo:a?k=\t", 10, "control"},
    {"name_1", "fifo:a?", 0, "name"},
    {"name_2", "fifo:a?=v", 8, "name"},
    {"name_3", "fifo:a?k=v&", 0, "name"},
    {"name_4", "fifo:a?&k=v", 8, "name"},
    {"name_5", "fifo:a?k=v&&b", 12, "name"},
    {"given_twice_1", "fifo:a?k=1&k=2", 12, "given twice"},
    {"given_twice_2", "fifo:a?k=1&b=2&k", 16, "given twice"},
    {"given_twice_3", "fifo:a?k=1&%6B=2", 12, "given twice"},
    {"more_than_40_1",
     "fifo:a?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q&r&s&t&u&v&w&x&y&z&A&B&C&D&E&F&G&H&I&J&K&L&M&N&O", 88, "more than 40"},
};

TEST_TABLE(bad_urls_and_the_place_of_the_error, bad)
{
    struct wherry__url url;
    char place[40];
    test_is(wherry__url_init(&url, bad[index].url), -EINVAL);
    if (bad[index].at)
        snprintf(place, sizeof place, ": at character %d (\"", bad[index].at);
    else
        snprintf(place, sizeof place, ": at the end: ");
    const char *why = wherry_why();
    ck_assert_msg(strncmp(why, bad[index].url, strlen(bad[index].url)) == 0, "%s", why);
    ck_assert_msg(strstr(why, place) != NULL, "\"%s\" is not in: %s", place, why);
    ck_assert_msg(strstr(why, bad[index].reason) != NULL, "\"%s\" is not in: %s", bad[index].reason, why);
    wherry__url_fini(&url); /* whatever init left */
}

TEST(no_url_at_all)
{
    struct wherry__url url;
    test_is(wherry__url_init(&url, NULL), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "NULL"));
}

TEST(a_url_of_10000_bytes)
{
    char *text = malloc(30100), *at = text + sprintf(text, "fifo:");
    for (int i = 0; i < 10000; i++)
        at += sprintf(at, i % 2 ? "x" : "%%41");
    strcpy(at, "?k=v");
    struct wherry__url url;
    test_ok(wherry__url_init(&url, text));
    ck_assert_uint_eq(strlen(url.path), 10000);
    for (int i = 0; i < 10000; i++)
        ck_assert_int_eq(url.path[i], i % 2 ? 'x' : 'A');
    ck_assert_str_eq(url.options[0].value, "v");
    ck_assert_str_eq(url.text + url.options[0].at, "k=v");
    ck_assert_str_eq(url.text + url.options[0].value_at, "v");
    wherry__url_fini(&url);
    strcpy(at, "#");
    test_is(wherry__url_init(&url, text), -EINVAL); /* the sentence is cut, not overrun */
    ck_assert_uint_gt(strlen(wherry_why()), 100);
    free(text);
}

TEST(twenty_four_options_with_nothing_in_them)
{
    struct wherry__url url;
    test_ok(wherry__url_init(&url, "a:?a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=&l=&m=&n=&o=&p=&q=&r=&s=&t=&u=&v=&w=&x="));
    ck_assert_uint_eq(url.option_count, 24);
    for (size_t i = 0; i < 24; i++) {
        ck_assert_int_eq(url.options[i].key[0], 'a' + (int)i);
        ck_assert_str_eq(url.options[i].value, "");
    }
    wherry__url_fini(&url);
}

static const struct {
    const char *name;
    const char *path; /* NULL: refused */
} files[] = {
    {"fifo:///a/b", "/a/b"}, {"fifo:a", "a"}, {"fifo:./a", "./a"}, {"fifo://host/a", NULL},
    {"fifo:", NULL},         {"fifo://", NULL}, {"fifo:?k=v", NULL}, {"fifo:////a", "//a"},
};

TEST_TABLE(files_are_of_this_host, files)
{
    struct wherry__url url;
    const char *path = NULL;
    test_ok(wherry__url_init(&url, files[index].name));
    if (files[index].path) {
        test_ok(wherry__url_file(&url, &path));
        ck_assert_str_eq(path, files[index].path);
    } else {
        test_is(wherry__url_file(&url, &path), -EINVAL);
        ck_assert_ptr_null(path);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "fifo:///absolute/path"));
    }
    wherry__url_fini(&url);
}
