/* tests/unit/segment_kit.h - what the tests of segments are written in.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_SEGMENT_KIT_H
#define WHERRY_TESTS_SEGMENT_KIT_H

#include "unit/objects.h"

enum { LENGTH = 10000 };

static inline const char *posix(void)
{
    return posix_name("posix-shm");
}

static inline const char *sysv(void)
{
    return sysv_name("sysv-shm");
}

static const struct {
    const char *name;
    const char *(*object)(void);
} kinds[] __attribute__((unused)) = {{"posix", posix}, {"sysv", sysv}};

static inline struct wherry_segment *create(const char *name)
{
    struct wherry_segment *segment = NULL;
    test_ok(wherry_segment_create(name, LENGTH, NULL, &segment));
    ck_assert_uint_eq(wherry_segment_size(segment), LENGTH);
    return segment;
}

static inline struct wherry_segment *open_for(const char *name, bool write)
{
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment = NULL;
    options.write = write;
    test_ok(wherry_segment_open(name, &options, WHERRY_NOW, &segment));
    return segment;
}

static inline void expect_open(const char *name, const struct wherry_segment_options *options, int result,
                               const char *words)
{
    struct wherry_segment *segment = NULL;
    test_is(wherry_segment_open(name, options, WHERRY_NOW, &segment), result);
    ck_assert_ptr_null(segment);
    says(words);
}

static inline void fill(struct wherry_segment *segment, unsigned char byte)
{
    memset(wherry_segment_data(segment), byte, (size_t)wherry_segment_size(segment));
}

static inline void expect_filled(const struct wherry_segment *segment, unsigned char byte)
{
    const unsigned char *data = wherry_segment_data(segment);
    for (uint64_t i = 0; i < wherry_segment_size(segment); i++)
        ck_assert_uint_eq(data[i], byte);
}

#endif
