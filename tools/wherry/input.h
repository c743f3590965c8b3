/* input.h - the messages in a file or on standard input, cut out in place.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_INPUT_H
#define WHERRY_TOOL_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/wherry.h>

enum input_kind { INPUT_LINES, INPUT_NULS, INPUT_FIXED, INPUT_RAW };

struct input {
    enum input_kind kind;
    size_t fixed;  /* bytes of a record, for INPUT_FIXED */
    bool with_nul; /* each line or NUL-separated text goes out with a NUL of its own */
    int64_t type;  /* of every message */
    int fd;
    bool regular; /* a file, which never makes a reader wait */
    bool at_end;
    char *buffer;
    size_t capacity, from, to; /* bytes [from, to) are read and not yet given out */
    size_t searched;           /* of them, so many hold no delimiter */
    uint64_t given;            /* messages given out */
};

/* Open `path`, or take standard input for NULL and "-".  Returns 0 or -errno. */
int input_init(struct input *input, const char *path);
void input_fini(struct input *input);

/* Read once more, waiting until the deadline or a signal.  `fits` says whether a message of so many bytes could be sent
 * at all: a line that has grown over that need not be read to its end.
 * Returns 1; 0 at the end; -ETIMEDOUT, -EINTR, -EMSGSIZE, -ENOMEM or what read(2) says. */
int input_fill(struct input *input, bool (*fits)(void *context, size_t size), void *context, wherry_time deadline);

/* Cut up to `most` messages out of what was read; they stay valid until the next input_fill(). */
size_t input_take(struct input *input, struct wherry_message *messages, size_t most);

/* At the end: the bytes of a fixed record that was begun; else 0. */
size_t input_rest(const struct input *input);

#endif
