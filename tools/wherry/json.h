/* json.h - a received message as one line of JSON.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_JSON_H
#define WHERRY_TOOL_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <wherry/wherry.h>

#include "output.h"

/* {"peer":{...},"type":N,"time":"...","size":N,"data":"..."} and a newline.  False: no memory. */
bool json_message(struct output *output, const struct wherry_loan *loan);

/* For other lines of JSON.  Add a value to an object, which takes it over; false when it, or room for it, could not be
 * had, so that failures add up.  The time now: RFC 3339, in UTC, with nanoseconds. */
bool json_add(struct json_object *object, const char *key, struct json_object *value);
struct json_object *json_now(void);

/* Print an object as one line, and give it back, NULL too.  False: no memory. */
bool json_line(struct output *output, struct json_object *object);

/* The same for a <script> of an HTML page: nothing in it ends the script, and JSON.parse() reads the same. */
bool json_line_embedded(struct output *output, struct json_object *object);

/* A string of a name from elsewhere: bytes that are no UTF-8 as \xNN. */
struct json_object *json_name(const char *name);

#endif
