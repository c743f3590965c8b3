/* bench/ring_inband.c - the unsafe ring behind calls: owns the boundary that a library has and an inline ring has not.
 *
 * SPDX-License-Identifier: MIT */
#include "ring_inband.h"

__attribute__((noinline)) void inband_call_put(struct inband *ring, const void *data, size_t size)
{
    inband_put(ring, data, size);
}

__attribute__((noinline)) int inband_call_take(struct inband *ring, void *buffer, size_t capacity, size_t *ret_size)
{
    return inband_take(ring, buffer, capacity, ret_size);
}
