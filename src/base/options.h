/* base/options.h - structs of options: read the same everywhere, whichever version of them the caller has.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_OPTIONS_H
#define WHERRY_BASE_OPTIONS_H

#include <stddef.h>

#include "base/shared.h"

/* Copy the options at `given`, whose first member is its size_t size, over the defaults at `ret`, which are `known`
 * bytes. NULL leaves the defaults.  A shorter struct, of an older version, is padded with them; of a longer one the
 * tail must be zero.  `least`: bytes of the oldest version; `macro`: what to begin with. 0; -EINVAL, -E2BIG with a
 * sentence that begins with `name`. */
WHERRY__SHARED int wherry__options_read(void *ret, size_t known, const void *given, size_t least, const char *name,
                                        const char *macro);

#endif
