/* tests/fuzz/fuzz.h - the targets, and how they take their input apart.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_FUZZ_H
#define WHERRY_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void fuzz_ancillary(const uint8_t *data, size_t size);
void fuzz_config(const uint8_t *data, size_t size);
void fuzz_log(const uint8_t *data, size_t size);
void fuzz_stream(const uint8_t *data, size_t size);
void fuzz_parts(const uint8_t *data, size_t size);
void fuzz_ring(const uint8_t *data, size_t size);

/* A finding, unless the condition holds. */
void fuzz_must(bool condition, const char *what);

/* 0 when nothing is left. */
struct fuzz_input {
    const uint8_t *data;
    size_t left;
};
unsigned fuzz_byte(struct fuzz_input *input);
unsigned fuzz_word(struct fuzz_input *input);

#endif
