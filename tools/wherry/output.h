/* output.h - messages to standard output: buffered, counted, and no failure unseen.
 *
 * SPDX-License-Identifier: MIT
 *
 * A message counts as written when its last byte was taken by write(2); after a failure output_unwritten() says how
 * many were not. */
#ifndef WHERRY_TOOL_OUTPUT_H
#define WHERRY_TOOL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output {
    int fd;
    int error; /* of the first write that failed; everything after it is only counted */
    char *buffer;
    size_t used;
    uint64_t given, written; /* bytes */
    uint64_t *ends;          /* where, in bytes given, the messages end that are not wholly written */
    size_t end_count, end_capacity;
};

/* Returns 0 or -ENOMEM. */
int output_init(struct output *output, int fd);
void output_fini(struct output *output);

/* Append bytes, or the visible form of bytes for a terminal. */
void output_bytes(struct output *output, const void *data, size_t size);
void output_visible(struct output *output, const void *data, size_t size);

/* All bytes of a message were given. */
void output_message(struct output *output);

/* Write what is buffered.  0 or the error of the first write that failed. */
int output_flush(struct output *output);

uint64_t output_unwritten(const struct output *output);

#endif
