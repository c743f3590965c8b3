/* json.h - a received message as one line of JSON.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_JSON_H
#define WHERRY_TOOL_JSON_H

#include <stdbool.h>
#include <wherry/wherry.h>

#include "output.h"

/* {"peer":{...},"type":N,"time":"...","size":N,"data":"..."} and a newline.  False: no memory. */
bool json_message(struct output *output, const struct wherry_loan *loan);

#endif
