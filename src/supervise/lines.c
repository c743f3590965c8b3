/* supervise/lines.c - owns what units print: whole lines, each with the name of its unit before it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The output is somebody else's, a terminal or a pipe, and may block: it is asked by poll(2) first, and takes no more
 * at once than a pipe that has room takes whole.  While it has none, nothing is read (STATES.md, 6). */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "stream/pipe.h"
#include "supervise/supervisor.h"

enum { READ = 16384, MOST_LINE = 65536, MOST_PENDING = 262144 };

/* ---- out ---- */

static bool has_room(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    static const struct timespec at_once;
    return wherry__sys.ppoll(&poll, 1, &at_once) == 1;
}

static void give_output_up(struct wherry_supervisor *supervisor)
{
    supervisor->output_open = false;
    supervisor->pending_size = supervisor->pending_sent = 0;
}

static void wait_for_output(struct wherry_supervisor *supervisor, bool on)
{
    if (on == supervisor->output_waited)
        return;
    int fd = supervisor->options.output;
    if (!on)
        wherry__wait_remove(&supervisor->wait, fd);
    else if (wherry__wait_add(&supervisor->wait, fd, EPOLLOUT, watch_key(WATCH_OUTPUT, WATCH_OTHER)) < 0)
        return; /* a file: it always has room */
    supervisor->output_waited = on;
}

static void hold(struct wherry_supervisor *supervisor, bool on)
{
    for (size_t i = 0; i < supervisor->count; i++)
        for (int which = 0; which < 2; which++) {
            struct unit_stream *stream = &supervisor->units[i]->streams[which];
            uint64_t key = watch_key(i, which == 0 ? WATCH_OUT : WATCH_ERR);
            if (stream->fd < 0 || stream->held == on)
                continue;
            if (on) /* removed: one that is merely silent would report its hang-up for ever */
                wherry__wait_remove(&supervisor->wait, stream->fd);
            else if (wherry__wait_add(&supervisor->wait, stream->fd, EPOLLIN, key) < 0)
                continue;
            stream->held = on;
        }
}

void wherry__lines_flush(struct wherry_supervisor *supervisor)
{
    int fd = supervisor->options.output;
    while (supervisor->output_open && supervisor->pending_sent < supervisor->pending_size && has_room(fd)) {
        struct iovec part = {.iov_base = supervisor->pending + supervisor->pending_sent,
                             .iov_len =
                                 wherry__size_min(supervisor->pending_size - supervisor->pending_sent, PIPE_BUF)};
        ssize_t size = wherry__write_quietly(fd, &part, 1);
        if (size < 0 && errno != EINTR && errno != EAGAIN)
            give_output_up(supervisor);
        if (size < 0 && errno == EAGAIN)
            break;
        supervisor->pending_sent += size > 0 ? (size_t)size : 0;
    }
    if (supervisor->pending_sent == supervisor->pending_size)
        supervisor->pending_sent = supervisor->pending_size = 0;
    wait_for_output(supervisor, supervisor->pending_size > 0);
    hold(supervisor, supervisor->pending_size > 0 || supervisor->lines_unwanted);
}

bool wherry__lines_are_full(const struct wherry_supervisor *supervisor)
{
    return supervisor->lines_unwanted || (supervisor->output_open && supervisor->pending_size >= MOST_PENDING);
}

void wherry_supervisor_hold(struct wherry_supervisor *supervisor, bool on)
{
    if (supervisor->born != wherry__generation())
        return;
    supervisor->lines_unwanted = on;
    wherry__lines_flush(supervisor);
    if (!on) /* a unit whose pause is over may wait for this alone, without a timer */
        wherry__wait_ring(&supervisor->wait);
}

static void append(struct wherry_supervisor *supervisor, const void *data, size_t size)
{
    size_t needed = supervisor->pending_size + size;
    if (needed > supervisor->pending_capacity) {
        size_t capacity = wherry__size_grow(supervisor->pending_capacity, needed, 4096, SIZE_MAX / 2);
        char *pending = realloc(supervisor->pending, capacity);
        if (!pending)
            return; /* a line less, rather than a supervisor less */
        supervisor->pending = pending;
        supervisor->pending_capacity = capacity;
    }
    memcpy(supervisor->pending + supervisor->pending_size, data, size);
    supervisor->pending_size = needed;
}

static void put_line(struct wherry_supervisor *supervisor, const struct unit *unit, int which, const char *line,
                     size_t size)
{
    char before[2 * UNIT_NAME];
    const struct wherry_supervisor_options *options = &supervisor->options;
    if (options->on_line)
        options->on_line(options->data, unit->name, 1 + which, line, size);
    if (!supervisor->output_open)
        return;
    int length = snprintf(before, sizeof before, "%-*s | ", (int)supervisor->widest, unit->name);
    append(supervisor, before, (size_t)length);
    append(supervisor, line, size);
    append(supervisor, "\n", 1);
}

/* ---- in ---- */

static bool keep(struct unit_stream *stream, const char *data, size_t size)
{
    size_t needed = stream->size + size;
    if (needed > stream->capacity) {
        size_t capacity = wherry__size_grow(stream->capacity, needed, 256, MOST_LINE + READ);
        char *line = realloc(stream->line, capacity);
        if (!line)
            return false;
        stream->line = line;
        stream->capacity = capacity;
    }
    memcpy(stream->line + stream->size, data, size);
    stream->size = needed;
    return true;
}

static void end_line(struct wherry_supervisor *supervisor, struct unit *unit, int which)
{
    struct unit_stream *stream = &unit->streams[which];
    put_line(supervisor, unit, which, stream->line, stream->size);
    stream->size = 0;
}

/* A line that is longer than MOST_LINE is passed on in pieces. */
static void take(struct wherry_supervisor *supervisor, struct unit *unit, int which, const char *data, size_t size)
{
    struct unit_stream *stream = &unit->streams[which];
    while (size > 0) {
        const char *end = memchr(data, '\n', size);
        size_t part = end ? (size_t)(end - data) : size;
        if (end && stream->size == 0)
            put_line(supervisor, unit, which, data, part);
        else if (!keep(stream, data, part) || end || stream->size >= MOST_LINE)
            end_line(supervisor, unit, which);
        part += end ? 1 : 0;
        data += part;
        size -= part;
    }
}

static void close_stream(struct wherry_supervisor *supervisor, struct unit *unit, int which)
{
    struct unit_stream *stream = &unit->streams[which];
    if (!stream->held)
        wherry__wait_remove(&supervisor->wait, stream->fd);
    wherry__wait_drop(&supervisor->wait, watch_key(unit->index, which == 0 ? WATCH_OUT : WATCH_ERR));
    wherry__fd_close(&stream->fd);
    if (stream->size > 0) /* the last one, without its end */
        end_line(supervisor, unit, which);
}

/* 1: there may be more; 0: nothing now; -1: its end. */
static int read_some(struct wherry_supervisor *supervisor, struct unit *unit, int which)
{
    char data[READ];
    ssize_t size = wherry__sys.read(unit->streams[which].fd, data, sizeof data);
    if (size < 0)
        return errno == EINTR ? 1 : errno == EAGAIN ? 0 : -1;
    take(supervisor, unit, which, data, (size_t)size);
    return size > 0 ? 1 : -1;
}

void wherry__lines_read(struct wherry_supervisor *supervisor, struct unit *unit, int which)
{
    if (unit->streams[which].fd < 0 || unit->streams[which].held)
        return;
    if (read_some(supervisor, unit, which) < 0)
        close_stream(supervisor, unit, which);
    wherry__lines_flush(supervisor);
}

void wherry__lines_finish(struct wherry_supervisor *supervisor, struct unit *unit)
{
    for (int which = 0; which < 2; which++) {
        if (unit->streams[which].fd < 0)
            continue;
        /* bounded: one that left the group may go on writing for ever */
        for (size_t n = 0; n < MOST_PENDING / READ; n++)
            if (read_some(supervisor, unit, which) <= 0)
                break;
        close_stream(supervisor, unit, which);
    }
    wherry__lines_flush(supervisor);
}
