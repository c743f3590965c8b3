/* verbs.h - which verbs there are, in the groups in which --help shows them; what a mistyped one was meant to be.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_VERBS_H
#define WHERRY_TOOL_VERBS_H

#include "tool.h"

struct verb_group {
    const char *title;
    const struct verb *const *verbs; /* ends with NULL */
};

/* Ends with a title of NULL. */
extern const struct verb_group verb_groups[];

/* NULL: there is none.  Of those in no group too: "complete", which only shells call. */
const struct verb *verb_find(const char *name);

/* The verb whose name is nearest to a mistyped one; NULL: none is near. */
const struct verb *verb_nearest(const char *name);

/* All groups, for a screen of 80 columns and 24 lines. */
void verbs_print(void);

#endif
