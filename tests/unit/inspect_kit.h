/* tests/unit/inspect_kit.h - what tests of snapshots share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_INSPECT_KIT_H
#define WHERRY_TESTS_INSPECT_KIT_H

#include <wherry/inspect.h>

#include "harness.h"
#include "unit/namespace_kit.h"

/* A snapshot with all that can be asked for; `file` may be NULL. */
static inline struct wherry_inspect *take_with(const char *file)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    options.flags = WHERRY_INSPECT_ARGUMENTS | WHERRY_INSPECT_WAITERS;
    options.file = file;
    test_ok(wherry_inspect_take(&options, &snapshot));
    return snapshot;
}

#endif
