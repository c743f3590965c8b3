/* tests/stepkill/toy_library.c - a function in a shared library, which two stores take longer than one.
 *
 * SPDX-License-Identifier: MIT */
#include "toy.h"

void toy_save(volatile struct pair *pair, long number)
{
    pair->first = number;
    pair->second = number;
}
