/* tests/unit/pattern.h - messages whose every byte follows from a number, so that any mixture of two is seen.
 *
 * SPDX-License-Identifier: MIT
 *
 * No byte is a newline or a NUL, so that each framing can carry them. */
#ifndef WHERRY_TESTS_PATTERN_H
#define WHERRY_TESTS_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint8_t pattern_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint8_t)(0x21 + (*state >> 25) % 64);
}

static inline uint32_t pattern_seed(uint32_t number)
{
    return (number + 1) * 2654435761u;
}

static inline void pattern_fill(void *data, size_t size, uint32_t number)
{
    uint32_t state = pattern_seed(number);
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)data)[i] = pattern_next(&state);
}

/* How many bytes from the front are those of message `number`. */
static inline size_t pattern_match(const void *data, size_t size, uint32_t number)
{
    uint32_t state = pattern_seed(number);
    size_t i = 0;
    while (i < size && ((const uint8_t *)data)[i] == pattern_next(&state))
        i++;
    return i;
}

static inline bool pattern_is(const void *data, size_t size, uint32_t number)
{
    return pattern_match(data, size, number) == size;
}

/* A size from 1 to 1 MiB, each power of two as likely as the next. */
static inline size_t pattern_size(uint32_t number)
{
    uint32_t state = pattern_seed(number ^ 0x5a5a5a5au);
    state = state * 1664525u + 1013904223u;
    unsigned power = (state >> 24) % 21;
    state = state * 1664525u + 1013904223u;
    size_t size = ((size_t)1 << power) + (state >> 8) % ((size_t)1 << power);
    return size > 1 << 20 ? 1 << 20 : size;
}

#endif
