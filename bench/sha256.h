/* bench/sha256.h - SHA-256 (FIPS 180-4), so that the demo's check can be repeated with sha256sum(1).
 *
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_SHA256_H
#define BENCH_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t size;
    unsigned char block[64];
};

void sha256_init(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
void sha256_end(struct sha256 *hash, unsigned char ret_digest[static 32]);

#endif
