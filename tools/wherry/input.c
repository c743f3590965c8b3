/* input.c - owns reading input and cutting it into messages.
 *
 * SPDX-License-Identifier: MIT */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signals.h"

enum {
    INPUT_BUFFER = 256 * 1024,
    INPUT_CHUNK = 64 * 1024, /* of --raw: what a pipe gives at most */
};

int input_init(struct input *input, const char *path)
{
    struct stat status;
    input->fd = path && strcmp(path, "-") != 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
    if (input->fd < 0)
        return -errno;
    if (fstat(input->fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    input->regular = S_ISREG(status.st_mode);
    input->capacity = INPUT_BUFFER;
    input->buffer = malloc(input->capacity);
    return input->buffer ? 0 : -ENOMEM;
}

void input_fini(struct input *input)
{
    free(input->buffer);
    if (input->fd > STDERR_FILENO)
        close(input->fd);
    input->buffer = NULL;
    input->fd = -1;
}

/* Have room for at least one more byte, and always for one beyond, where the NUL of a last line may go. */
static int make_room(struct input *input, bool (*fits)(void *, size_t), void *context)
{
    size_t held = input->to - input->from;
    if (input->from > 0) {
        memmove(input->buffer, input->buffer + input->from, held);
        input->from = 0;
        input->to = held;
    }
    if (held + 1 < input->capacity)
        return 0;
    if (!fits(context, held))
        return -EMSGSIZE;
    if (input->capacity > SIZE_MAX / 2)
        return -ENOMEM;
    char *larger = realloc(input->buffer, input->capacity * 2);
    if (!larger)
        return -ENOMEM;
    input->buffer = larger;
    input->capacity *= 2;
    return 0;
}

int input_fill(struct input *input, bool (*fits)(void *context, size_t size), void *context, wherry_time deadline)
{
    int result = make_room(input, fits, context);
    if (result < 0)
        return result;
    for (;;) {
        if (!input->regular && (result = signals_wait(input->fd, deadline)) < 0)
            return result;
        ssize_t got = read(input->fd, input->buffer + input->to, input->capacity - input->to - 1);
        if (got > 0) {
            input->to += (size_t)got;
            return 1;
        }
        if (got == 0) {
            input->at_end = true;
            return 0;
        }
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

/* The next text that ends with the delimiter, or with the input. */
static bool take_text(struct input *input, char delimiter, struct wherry_message *message)
{
    char *text = input->buffer + input->from;
    size_t held = input->to - input->from;
    char *end = memchr(text + input->searched, delimiter, held - input->searched);
    if (!end && (!input->at_end || held == 0)) {
        input->searched = held;
        return false;
    }
    size_t size = end ? (size_t)(end - text) : held;
    input->from += size + (end != NULL);
    input->searched = 0;
    text[size] = '\0'; /* over the delimiter, or in the byte that make_room() keeps */
    message->data = text;
    message->size = size + input->with_nul;
    return true;
}

static bool take_bytes(struct input *input, size_t least, size_t most, struct wherry_message *message)
{
    size_t held = input->to - input->from;
    if (held < least)
        return false;
    message->data = input->buffer + input->from;
    message->size = held < most ? held : most;
    input->from += message->size;
    return true;
}

static bool take_one(struct input *input, struct wherry_message *message)
{
    *message = (struct wherry_message){.type = input->type};
    switch (input->kind) {
    case INPUT_LINES:
        return take_text(input, '\n', message);
    case INPUT_NULS:
        return take_text(input, '\0', message);
    case INPUT_FIXED:
        return take_bytes(input, input->fixed, input->fixed, message);
    default:
        return take_bytes(input, 1, INPUT_CHUNK, message);
    }
}

size_t input_take(struct input *input, struct wherry_message *messages, size_t most)
{
    size_t taken = 0;
    while (taken < most && take_one(input, &messages[taken]))
        taken++;
    input->given += taken;
    return taken;
}

size_t input_rest(const struct input *input)
{
    return input->kind == INPUT_FIXED ? input->to - input->from : 0;
}
