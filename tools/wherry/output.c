/* output.c - owns standard output of the verbs that print messages.
 *
 * SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "text.h"

enum { OUTPUT_BUFFER = 64 * 1024 };

int output_init(struct output *output, int fd)
{
    *output = (struct output){.fd = fd};
    output->buffer = malloc(OUTPUT_BUFFER);
    return output->buffer ? 0 : -ENOMEM;
}

void output_fini(struct output *output)
{
    free(output->buffer);
    free(output->ends);
    *output = (struct output){.fd = -1};
}

/* Messages that end at or before `written` are done. */
static void settle(struct output *output)
{
    size_t done = 0;
    while (done < output->end_count && output->ends[done] <= output->written)
        done++;
    if (done == 0)
        return;
    output->end_count -= done;
    memmove(output->ends, output->ends + done, output->end_count * sizeof *output->ends);
}

/* Write two pieces whole (H5), also to a descriptor that somebody else made non-blocking. */
static void write_all(struct output *output, struct iovec pieces[2])
{
    while (output->error == 0 && pieces[0].iov_len + pieces[1].iov_len > 0) {
        ssize_t done = writev(output->fd, pieces, 2);
        if (done < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = output->fd, .events = POLLOUT}, 1, -1);
        else if (done < 0 && errno != EINTR)
            output->error = errno;
        for (int i = 0; i < 2 && done > 0; i++) {
            size_t part = (size_t)done < pieces[i].iov_len ? (size_t)done : pieces[i].iov_len;
            pieces[i].iov_base = (char *)pieces[i].iov_base + part;
            pieces[i].iov_len -= part;
            done -= (ssize_t)part;
            output->written += part;
        }
    }
}

int output_flush(struct output *output)
{
    struct iovec pieces[2] = {{.iov_base = output->buffer, .iov_len = output->used}, {.iov_len = 0}};
    if (output->error == 0 && output->used > 0)
        write_all(output, pieces);
    output->used = 0;
    settle(output);
    return output->error;
}

void output_bytes(struct output *output, const void *data, size_t size)
{
    output->given += size;
    if (output->error != 0 || size == 0)
        return;
    if (output->used + size <= OUTPUT_BUFFER) {
        memcpy(output->buffer + output->used, data, size);
        output->used += size;
        return;
    }
    struct iovec pieces[2] = {{.iov_base = output->buffer, .iov_len = output->used},
                              {.iov_base = (void *)data, .iov_len = size}};
    write_all(output, pieces);
    output->used = 0;
    settle(output);
}

void output_visible(struct output *output, const void *data, size_t size)
{
    const uint8_t *from = data;
    char visible[ESCAPED_MAX];
    while (size > 0) {
        size_t length = escape_next(&from, &size, "\n\t", visible);
        output_bytes(output, visible, length);
    }
}

void output_message(struct output *output)
{
    if (output->end_count >= OUTPUT_BUFFER) /* messages of no bytes, printed raw, never fill the buffer */
        output_flush(output);
    if (output->end_count == output->end_capacity) {
        size_t capacity = output->end_capacity ? output->end_capacity * 2 : 1024;
        uint64_t *ends = realloc(output->ends, capacity * sizeof *ends);
        if (!ends) {
            output_flush(output); /* then nothing needs to be remembered, or the count is the least there is */
            return;
        }
        output->ends = ends;
        output->end_capacity = capacity;
    }
    output->ends[output->end_count++] = output->given;
}

uint64_t output_unwritten(const struct output *output)
{
    return output->end_count;
}
