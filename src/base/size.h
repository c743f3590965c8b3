/* base/size.h - sizes that are checked, and integers as they stand in frames.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_SIZE_H
#define WHERRY_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* *ret = a + b; false, and *ret untouched, when the sum does not fit. */
static inline bool wherry__size_add(size_t a, size_t b, size_t *ret)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

static inline size_t wherry__size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t wherry__size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The capacity to grow a buffer to, so that it holds `needed`: doubling from `now`, at least `least`, at most `most`
 * (which is at least `needed`). */
static inline size_t wherry__size_grow(size_t now, size_t needed, size_t least, size_t most)
{
    size_t size = wherry__size_max(now, least);
    while (size < needed)
        size = size > most / 2 ? most : size * 2;
    return size;
}

/* Cut a list of parts to `most` bytes in all; returns how many parts are left. */
static inline int wherry__iovec_shorten(struct iovec *parts, int count, size_t most)
{
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len >= most) {
            parts[i].iov_len = most;
            return i + 1;
        }
        most -= parts[i].iov_len;
    }
    return count;
}

/* Frames are little-endian on every machine, at any alignment. */
static inline uint32_t wherry__load32(const void *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap32(value) : value;
}

static inline uint64_t wherry__load64(const void *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(value) : value;
}

static inline void wherry__store32(void *to, uint32_t value)
{
    value = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap32(value) : value;
    memcpy(to, &value, sizeof value);
}

static inline void wherry__store64(void *to, uint64_t value)
{
    value = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(value) : value;
    memcpy(to, &value, sizeof value);
}

#endif
