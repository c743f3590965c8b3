/* run_sink.c - owns descriptors to print on that may have no room, and what waits for room.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever supervises must not wait for whoever reads: a signal has to be answered although the terminal was stopped
 * with Ctrl-S.  O_NONBLOCK belongs to the open file, which the shell and others share; so pipes and terminals are
 * opened anew, sockets are asked not to wait call by call, and the rest is asked for room first. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

void sink_open(struct sink *sink, int fd)
{
    struct stat status;
    char path[32];
    *sink = (struct sink){.fd = fd, .is_terminal = isatty(fd)};
    if (fstat(fd, &status) != 0)
        return;
    sink->is_socket = S_ISSOCK(status.st_mode);
    if (!S_ISFIFO(status.st_mode) && !sink->is_terminal)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return;
    sink->fd = own;
    sink->own = true;
}

void sink_put(struct sink *sink, const void *data, size_t size)
{
    if (sink->error)
        return;
    if (sink->sent > 0 && sink->sent == sink->size)
        sink->sent = sink->size = 0;
    if (sink->size + size > sink->capacity) {
        size_t capacity = sink->capacity ? sink->capacity : 4096;
        while (capacity < sink->size + size)
            capacity *= 2;
        char *more = realloc(sink->data, capacity);
        if (!more)
            return; /* a line less, rather than a supervisor less */
        sink->data = more;
        sink->capacity = capacity;
    }
    memcpy(sink->data + sink->size, data, size);
    sink->size += size;
}

static bool has_room(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, 0) == 1;
}

static ssize_t write_some(const struct sink *sink, const char *data, size_t size)
{
    if (sink->is_socket)
        return send(sink->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->own)
        return write(sink->fd, data, size);
    if (!has_room(sink->fd)) {
        errno = EAGAIN;
        return -1;
    }
    return write(sink->fd, data, size < PIPE_BUF ? size : PIPE_BUF); /* as much as a pipe with room takes whole */
}

void sink_flush(struct sink *sink)
{
    while (!sink->error && sink_waiting(sink) > 0) {
        ssize_t done = write_some(sink, sink->data + sink->sent, sink_waiting(sink));
        if (done < 0 && errno == EAGAIN)
            return;
        if (done < 0 && errno != EINTR)
            sink->error = errno;
        sink->sent += done > 0 ? (size_t)done : 0;
    }
    sink->size = sink->sent = 0;
}

void sink_close(struct sink *sink)
{
    if (sink->own)
        close(sink->fd);
    free(sink->data);
    *sink = (struct sink){.fd = -1, .error = EBADF};
}
