/* tests/stepkill/toy.h - what the toy program and its library share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef STEPKILL_TESTS_TOY_H
#define STEPKILL_TESTS_TOY_H

#include <stdint.h>

struct pair {
    long first, second;
};

void toy_save(volatile struct pair *pair, long number);

#endif
