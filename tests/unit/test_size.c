/* tests/unit/test_size.c - owns the tests of base/size.h.
 *
 * SPDX-License-Identifier: MIT */
#include "base/size.h"
#include "harness.h"

TEST(sums_are_checked)
{
    size_t sum = 7;
    ck_assert(wherry__size_add(1, 2, &sum));
    ck_assert_uint_eq(sum, 3);
    ck_assert(wherry__size_add(SIZE_MAX, 0, &sum));
    ck_assert_uint_eq(sum, SIZE_MAX);
    ck_assert(!wherry__size_add(SIZE_MAX, 1, &sum));
    ck_assert(!wherry__size_add(SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1, &sum));
    ck_assert_uint_eq(sum, SIZE_MAX); /* untouched */
}

TEST(least_and_most)
{
    ck_assert_uint_eq(wherry__size_min(1, 2), 1);
    ck_assert_uint_eq(wherry__size_min(2, 1), 1);
    ck_assert_uint_eq(wherry__size_max(0, SIZE_MAX), SIZE_MAX);
    ck_assert_uint_eq(wherry__size_max(SIZE_MAX, 0), SIZE_MAX);
}

TEST(growing_ends_and_suffices)
{
    static const size_t needs[] = {1, 4095, 4096, 4097, 100000, SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX - 1, SIZE_MAX};
    static const size_t nows[] = {0, 1, 3, 4096, 65536, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        for (size_t j = 0; j < sizeof nows / sizeof *nows; j++) {
            size_t grown = wherry__size_grow(nows[j], needs[i], 4096, needs[i] > 1 << 20 ? SIZE_MAX : 1 << 20);
            ck_assert_uint_ge(grown, needs[i]);
            ck_assert_uint_ge(grown, nows[j]);
            ck_assert_uint_ge(grown, 4096);
        }
    ck_assert_uint_eq(wherry__size_grow(4096, 4097, 4096, 5000), 5000); /* no further than the most */
    ck_assert_uint_eq(wherry__size_grow(4096, 4097, 4096, SIZE_MAX), 8192);
}

TEST(integers_are_little_endian_at_any_alignment)
{
    for (size_t offset = 0; offset < 8; offset++) {
        uint8_t bytes[24] = {0};
        wherry__store32(bytes + offset, 0x04030201);
        for (unsigned i = 0; i < 4; i++)
            ck_assert_uint_eq(bytes[offset + i], i + 1);
        ck_assert_uint_eq(bytes[offset + 4], 0);
        ck_assert_uint_eq(wherry__load32(bytes + offset), 0x04030201);
        wherry__store64(bytes + offset, UINT64_C(0x8877665544332211));
        for (unsigned i = 0; i < 8; i++)
            ck_assert_uint_eq(bytes[offset + i], 0x11 * (i + 1));
        ck_assert_uint_eq(wherry__load64(bytes + offset), UINT64_C(0x8877665544332211));
    }
}
