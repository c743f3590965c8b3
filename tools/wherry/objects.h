/* objects.h - what the verbs about kernel objects share: sizes, permissions, whole files, waiting for a name, exit
 * codes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_OBJECTS_H
#define WHERRY_TOOL_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/wherry.h>

#include "options.h"

/* "64k": bytes, with k, M, G, T for powers of 1024.  NULL, or what is wrong with it. */
const char *parse_bytes(const char *text, uint64_t *ret_bytes);

/* "0640": permissions to read and write, in octal.  NULL, or what is wrong with it. */
const char *parse_mode(const char *text, uint32_t *ret_mode);

/* Take optarg, of option `name`, by one of these: 0, or the mistake said, options->code set, and -1. */
int take_bytes(struct options *options, const char *name, uint64_t *ret_bytes);
int take_mode(struct options *options, const char *name, uint32_t *ret_mode);
int take_number(struct options *options, const char *name, int64_t least, int64_t most, int64_t *ret_number);

/* Which actions of a verb an option says something to: "post, wait". */
struct option_use {
    int option;
    const char *shown, *actions;
};

/* The bit of `option`, for what was given; 0 where all actions have a use for it. */
unsigned option_bit(const struct option_use *uses, size_t count, int option);

/* Refuse what was given and says nothing to this action: 0, or the exit code with the mistake said. */
int check_uses(const struct verb *verb, const struct option_use *uses, size_t count, unsigned given,
               const char *action);

/* All bytes of a file, "-" or NULL being standard input; more than `most`, which is the room in `what`, is a failure.
 * 0, or the exit code with the failure said. */
int read_file(const char *path, const char *what, uint64_t most, char **ret_data, size_t *ret_size);

/* A call on `name` failed with `error`: say why, in one line that names it, and return the exit code. */
int object_complain(const struct options *options, const char *name, int error);

/* Open with `open`, as a call with a deadline does, and wait until `deadline`; that it waits for the name is said
 * once: at once to who looks on (a terminal, -v), else after a second. */
int open_waiting(const struct options *options, wherry_time deadline, int (*open)(void *context, wherry_time deadline),
                 void *context);

#endif
