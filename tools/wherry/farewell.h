/* farewell.h - endpoints that are closed beside a verb that goes on serving others.
 *
 * SPDX-License-Identifier: MIT
 *
 * A close waits for what was sent to arrive (H71), for seconds if need be, and nothing may wait for it meanwhile: each
 * such close has a thread of its own. */
#ifndef WHERRY_TOOL_FAREWELL_H
#define WHERRY_TOOL_FAREWELL_H

#include <stdbool.h>
#include <wherry/wherry.h>

struct farewell;

/* Those under way; NULL: none. */
struct farewells {
    struct farewell *first;
};

/* Close it until then, as endpoint_part().  Without a thread to do it in the caller waits for it.  0, or -errno with
 * the sentence set when that has failed already. */
int farewell_begin(struct farewells *farewells, struct wherry_channel *channel, wherry_time until);

/* Take one that is over from the list; `wait`: wait for it.  False: there is none.  *ret_result is what
 * endpoint_part() returned, and `why` then the sentence. */
bool farewell_over(struct farewells *farewells, bool wait, int *ret_result, char why[static 512]);

/* The earliest time at which one is over for certain; WHERRY_FOREVER: there is none. */
wherry_time farewell_next(const struct farewells *farewells);

#endif
