/* tests/unit/test_framing.c - owns the tests of channel/framing.c: frames in memory.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "channel/framing.h"
#include "harness.h"
#include "unit/pattern.h"

enum { MOST = 1 << 20 };
static const struct wherry__framing length = {.kind = WHERRY__FRAME_LENGTH}, line = {.kind = WHERRY__FRAME_LINE},
                                    nul = {.kind = WHERRY__FRAME_NUL}, raw = {.kind = WHERRY__FRAME_RAW},
                                    fixed4 = {.kind = WHERRY__FRAME_FIXED, .size = 4};

static enum wherry__decoded decode(const struct wherry__framing *framing, const void *data, size_t size,
                                   struct wherry__frame *ret_frame)
{
    size_t scanned = 0;
    return wherry__frame_decode(framing, data, size, MOST, &scanned, ret_frame);
}

TEST(names_go_round)
{
    static const char *const names[] = {"length", "line", "nul", "raw", "fixed:1", "fixed:4096", "fixed:2147483647"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct wherry__framing framing;
        char buffer[32];
        ck_assert_int_eq(wherry__framing_parse(&framing, names[i]), 0);
        ck_assert_str_eq(wherry__framing_name(&framing, buffer), names[i]);
    }
    static const char *const bad[] = {
        "",         "lengths",  "LINE",     "fixed",    "fixed:",           "fixed:0",
        "fixed:-1", "fixed: 4", "fixed:4 ", "fixed:04", "fixed:2147483648", "fixed:99999999999999999999",
        "nul\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wherry__framing framing = raw;
        ck_assert_msg(wherry__framing_parse(&framing, bad[i]) == -EINVAL, "\"%s\" was taken", bad[i]);
        ck_assert_int_eq(framing.kind, WHERRY__FRAME_RAW);
    }
}

TEST(payloads_that_cannot_be_carried_are_refused)
{
    test_ok(wherry__framing_check(&length, "a\n\0b", 4, "x"));
    test_ok(wherry__framing_check(&length, NULL, 0, "x"));
    test_ok(wherry__framing_check(&line, "a\0b", 3, "x"));
    test_is(wherry__framing_check(&line, "a\n", 2, "x"), -EINVAL);
    test_ok(wherry__framing_check(&line, NULL, 0, "x"));
    test_ok(wherry__framing_check(&nul, "a\nb", 3, "x"));
    test_is(wherry__framing_check(&nul, "a\0", 2, "x"), -EINVAL);
    test_is(wherry__framing_check(&fixed4, "abc", 3, "x"), -EINVAL);
    test_ok(wherry__framing_check(&fixed4, "abcd", 4, "x"));
    test_is(wherry__framing_check(&fixed4, "abcde", 5, "x"), -EINVAL);
    test_is(wherry__framing_check(&raw, "", 0, "x"), -EINVAL);
    test_ok(wherry__framing_check(&raw, "\n", 1, "x"));
}

TEST(whole_frames_go_round)
{
    static const uint32_t sizes[] = {0, 1, 12, 4096, MOST};
    static const uint32_t types[] = {0, 1, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 4; j++) {
            uint8_t header[WHERRY__WHOLE_HEADER];
            struct wherry__frame frame;
            wherry__whole_encode(header, sizes[i], types[j]);
            for (size_t have = 0; have < sizeof header; have++) {
                ck_assert_int_eq(decode(&length, header, have, &frame), WHERRY__FRAME_UNKNOWN);
                ck_assert_uint_eq(frame.needed, sizeof header);
            }
            ck_assert_int_eq(decode(&length, header, sizeof header, &frame), WHERRY__FRAME_WHOLE);
            ck_assert_uint_eq(frame.before, sizeof header);
            ck_assert_uint_eq(frame.payload, sizes[i]);
            ck_assert_uint_eq(frame.after, 0);
            ck_assert_uint_eq(frame.type, types[j]);
        }
}

/* The layout is a promise to other implementations. */
TEST(the_layout_of_a_whole_frame)
{
    uint8_t header[WHERRY__WHOLE_HEADER];
    wherry__whole_encode(header, 0x00030201, 0x07060504);
    static const uint8_t front[] = {1, 2, 3, 0, 4, 5, 6, 7};
    ck_assert_mem_eq(header, front, 8);
}

static const struct wherry__part some_part = {
    .size = 100, .type = 7, .message = 3, .total = 10000, .offset = 4064, .sender = UINT64_C(0x0123456789abcdef)};

TEST(parts_go_round)
{
    uint8_t header[WHERRY__PART_HEADER];
    struct wherry__frame frame;
    wherry__part_encode(header, &some_part);
    for (size_t have = 0; have < sizeof header; have++) {
        ck_assert_int_eq(decode(&length, header, have, &frame), WHERRY__FRAME_UNKNOWN);
        ck_assert_uint_gt(frame.needed, have);
    }
    ck_assert_int_eq(decode(&length, header, sizeof header, &frame), WHERRY__FRAME_PART);
    ck_assert_uint_eq(frame.before, sizeof header);
    ck_assert_uint_eq(frame.payload, 100);
    ck_assert_uint_eq(frame.type, 7);
    ck_assert_uint_eq(frame.part.message, 3);
    ck_assert_uint_eq(frame.part.total, 10000);
    ck_assert_uint_eq(frame.part.offset, 4064);
    ck_assert_uint_eq(frame.part.sender, UINT64_C(0x0123456789abcdef));
}

TEST(impossible_parts_are_bad)
{
    struct wherry__part parts[6];
    for (size_t i = 0; i < 6; i++)
        parts[i] = some_part;
    parts[0].size = 0;
    parts[1].size = WHERRY__PART_PAYLOAD + 1;
    parts[2].offset = parts[2].total;
    parts[3].offset = UINT32_MAX;
    parts[4].total = MOST + 1;
    parts[5].offset = parts[5].total - 99;
    for (size_t i = 0; i < 6; i++) {
        uint8_t header[WHERRY__PART_HEADER];
        struct wherry__frame frame;
        wherry__part_encode(header, &parts[i]); /* with a good check */
        ck_assert_msg(decode(&length, header, sizeof header, &frame) == WHERRY__FRAME_BAD, "part %zu was taken", i);
    }
}

/* Every single bit of a header counts. */
TEST(a_flipped_bit_is_noticed)
{
    uint8_t whole[WHERRY__WHOLE_HEADER], part[WHERRY__PART_HEADER];
    struct wherry__frame frame;
    wherry__whole_encode(whole, 1000, 5);
    wherry__part_encode(part, &some_part);
    for (size_t bit = 0; bit < 8 * sizeof whole; bit++) {
        uint8_t copy[WHERRY__PART_HEADER] = {0};
        memcpy(copy, whole, sizeof whole);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(decode(&length, copy, sizeof copy, &frame) == WHERRY__FRAME_BAD, "bit %zu of a whole frame", bit);
    }
    for (size_t bit = 0; bit < 8 * sizeof part; bit++) {
        uint8_t copy[WHERRY__PART_HEADER];
        memcpy(copy, part, sizeof part);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(decode(&length, copy, sizeof copy, &frame) == WHERRY__FRAME_BAD, "bit %zu of a part", bit);
    }
}

TEST(sizes_over_max_message_are_bad)
{
    uint8_t header[WHERRY__WHOLE_HEADER];
    struct wherry__frame frame;
    wherry__whole_encode(header, MOST + 1, 0);
    ck_assert_int_eq(decode(&length, header, sizeof header, &frame), WHERRY__FRAME_BAD);
    wherry__whole_encode(header, 0x7fffffff, 0);
    ck_assert_int_eq(decode(&length, header, sizeof header, &frame), WHERRY__FRAME_BAD);
}

/* ---- the others ------------------------------------------------------------------------------------------------ */

TEST(delimiters_are_looked_for_once)
{
    struct wherry__frame frame;
    size_t scanned = 0;
    ck_assert_int_eq(wherry__frame_decode(&line, (const uint8_t *)"abc", 3, MOST, &scanned, &frame),
                     WHERRY__FRAME_UNKNOWN);
    ck_assert_uint_eq(scanned, 3);
    ck_assert_uint_eq(frame.needed, 4);
    ck_assert_int_eq(wherry__frame_decode(&line, (const uint8_t *)"\n\n\n\nd\n", 6, MOST, &scanned, &frame),
                     WHERRY__FRAME_WHOLE);
    ck_assert_uint_eq(frame.payload, 3); /* the first three were seen before */
    ck_assert_uint_eq(frame.after, 1);
    ck_assert_int_eq(wherry__frame_decode(&line, (const uint8_t *)"\n\n\n\nd\n", 6, MOST, &scanned, &frame),
                     WHERRY__FRAME_WHOLE);
    ck_assert_uint_eq(frame.payload, 3);
    ck_assert_int_eq(decode(&line, "\n", 1, &frame), WHERRY__FRAME_WHOLE);
    ck_assert_uint_eq(frame.payload, 0);
    ck_assert_int_eq(decode(&nul, "a\nb\0c", 5, &frame), WHERRY__FRAME_WHOLE);
    ck_assert_uint_eq(frame.payload, 3);
    ck_assert_int_eq(decode(&nul, "", 0, &frame), WHERRY__FRAME_UNKNOWN);
}

TEST(fixed_and_raw)
{
    struct wherry__frame frame;
    ck_assert_int_eq(decode(&fixed4, "ab", 2, &frame), WHERRY__FRAME_WHOLE);
    ck_assert_uint_eq(frame.payload, 4);
    ck_assert_uint_eq(frame.before + frame.after, 0);
    ck_assert_int_eq(decode(&raw, "ab", 2, &frame), WHERRY__FRAME_WHOLE);
    ck_assert_uint_eq(frame.payload, 2);
    ck_assert_int_eq(decode(&raw, "", 0, &frame), WHERRY__FRAME_UNKNOWN);
    ck_assert_uint_eq(frame.needed, 1);
}

/* ---- finding the next frame ------------------------------------------------------------------------------------ */

TEST(resync_finds_the_next_frame_behind_anything)
{
    uint8_t data[3000];
    for (uint32_t round = 0; round < 300; round++) {
        size_t garbage = 1 + round * 7 % 2000;
        struct wherry__frame frame;
        pattern_fill(data, sizeof data, round);
        if (round % 2)
            wherry__whole_encode(data + garbage, round, round);
        else
            wherry__part_encode(data + garbage, &some_part);
        size_t size = garbage + (round % 2 ? WHERRY__WHOLE_HEADER : WHERRY__PART_HEADER);
        size_t found = wherry__frame_resync(data, size, MOST);
        ck_assert_uint_eq(found, garbage);
        ck_assert_int_ne(decode(&length, data + found, size - found, &frame), WHERRY__FRAME_BAD);
    }
}

TEST(resync_keeps_a_header_that_is_cut_off)
{
    uint8_t data[64], header[WHERRY__PART_HEADER];
    wherry__part_encode(header, &some_part);
    for (size_t cut = 1; cut < sizeof header; cut++) {
        memset(data, 'x', sizeof data);
        memcpy(data + 20, header, cut);
        size_t found = wherry__frame_resync(data, 20 + cut, MOST);
        ck_assert_uint_le(found, 20);
        ck_assert_uint_ge(found, 1);
        if (cut >= WHERRY__WHOLE_HEADER)
            ck_assert_uint_eq(found, 20);
    }
    ck_assert_uint_eq(wherry__frame_resync(data, 1, MOST), 1);
}

TEST(text_is_told_from_frames)
{
    uint8_t header[WHERRY__WHOLE_HEADER];
    ck_assert(wherry__looks_like_text((const uint8_t *)"hello\n", 6));
    ck_assert(wherry__looks_like_text((const uint8_t *)"\t\x1b[1m gr\xc3\xbc\xc3\x9f\x65\r\n", 15));
    ck_assert(!wherry__looks_like_text((const uint8_t *)"", 0));
    ck_assert(!wherry__looks_like_text((const uint8_t *)"a\0b", 3));
    ck_assert(!wherry__looks_like_text((const uint8_t *)"a\x7f", 2));
    ck_assert(!wherry__looks_like_text((const uint8_t *)"\xff\xff\xff\xff", 4));
    ck_assert(!wherry__looks_like_text((const uint8_t *)"gr\xfc\xdf\x65", 5)); /* Latin-1 */
    ck_assert(!wherry__looks_like_text((const uint8_t *)"\x80 first", 7));
    ck_assert(wherry__looks_like_text((const uint8_t *)"\xe2\x82\xac \xf0\x9f\x9a\xa3", 8));
    ck_assert(wherry__looks_like_text((const uint8_t *)"cut \xe2\x82", 6));
    wherry__whole_encode(header, 5, 0);
    ck_assert(!wherry__looks_like_text(header, sizeof header));
}

/* Whatever the bytes: a decoder answers, within bounds, and asks for more only when it lacks some. */
TEST(garbage_is_answered)
{
    uint32_t state = 12345;
    for (int round = 0; round < 20000; round++) {
        uint8_t data[40];
        size_t size = (size_t)round % sizeof data;
        struct wherry__frame frame;
        for (size_t i = 0; i < sizeof data; i++) {
            state = state * 1664525u + 1013904223u;
            data[i] = (uint8_t)(state >> 24);
        }
        switch (decode(&length, data, size, &frame)) {
        case WHERRY__FRAME_UNKNOWN:
            ck_assert_uint_gt(frame.needed, size);
            break;
        case WHERRY__FRAME_WHOLE:
        case WHERRY__FRAME_PART:
            ck_assert_msg(false, "32 bits of check passed by chance in round %d", round);
            break;
        case WHERRY__FRAME_BAD:
            break;
        }
    }
}
