/* bench/raw_stream.c - messages over byte streams by raw system calls: a length and a type before each.
 *
 * SPDX-License-Identifier: MIT */
#include "raw.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct header {
    uint32_t size;
    int64_t type;
} __attribute__((packed));

/* Follows a header whose size has the PART bit: a piece of a message that several writers may send at once, each piece
 * written in one go because PIPE_BUF bytes never interleave (pipe(7)). */
struct part {
    uint64_t sender;
    uint32_t sequence;
    uint32_t total; /* bytes of the whole message */
} __attribute__((packed));
#define PART 0x80000000u

enum {
    STAGED = 2048, /* up to here a copy and one contiguous write beat two pieces; measured */
    BEYOND_LARGE = 4096, /* bytes taken in behind a large message: the next header, and little that is copied twice */
    PART_HEADER = sizeof(struct header) + sizeof(struct part),
    PART_BYTES = PIPE_BUF - PART_HEADER,
};

/* Copy pieces up to `most` bytes in all, and return how many pieces that are.  On a pipe a call that moves all of its
 * 64 KiB leaves the other side asleep meanwhile; shorter ones let the two work at the same time. */
static int shorten(struct iovec *to, const struct iovec *pieces, int count, size_t most)
{
    for (int i = 0; i < count; i++) {
        to[i] = pieces[i];
        if (most && pieces[i].iov_len >= most) {
            to[i].iov_len = most;
            return i + 1;
        }
        most -= most ? pieces[i].iov_len : 0;
    }
    return count;
}

/* ---- sending ---- */

static ssize_t write_once(struct raw *raw, const struct iovec *all, int count)
{
    struct iovec pieces[2];
    count = shorten(pieces, all, count, raw->most_written);
    if (!raw->socket)
        return raw->nosignal ? pwritev2(raw->fd, pieces, count, -1, RWF_NOSIGNAL) : writev(raw->fd, pieces, count);
    if (count == 1)
        return send(raw->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    return sendmsg(raw->fd, &message, MSG_NOSIGNAL);
}

int raw_write_all(struct raw *raw, struct iovec *pieces, int count)
{
    for (;;) {
        ssize_t wrote = write_once(raw, pieces, count);
        if (wrote < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        size_t left = wrote < 0 ? 0 : (size_t)wrote;
        while (count > 0 && left >= pieces->iov_len) {
            left -= pieces->iov_len;
            pieces++, count--;
        }
        if (count == 0)
            return 0;
        pieces->iov_base = (char *)pieces->iov_base + left;
        pieces->iov_len -= left;
        if (wrote < 0) {
            int result = raw_wait(raw);
            if (result < 0)
                return result;
        }
    }
}

int raw_stream_send(struct raw *raw, const void *data, size_t size)
{
    struct header header = {.size = (uint32_t)size};
    if (size <= STAGED) {
        memcpy(raw->staging, &header, sizeof header);
        memcpy(raw->staging + sizeof header, data, size);
        struct iovec piece = {raw->staging, sizeof header + size};
        return raw_write_all(raw, &piece, 1);
    }
    struct iovec pieces[2] = {{&header, sizeof header}, {(void *)data, size}};
    return raw_write_all(raw, pieces, 2);
}

static int send_part(struct raw *raw, const char *data, size_t size, size_t total)
{
    struct header header = {.size = (uint32_t)size | PART};
    struct part part = {.sender = raw->sender, .sequence = raw->sequence++, .total = (uint32_t)total};
    memcpy(raw->staging, &header, sizeof header);
    memcpy(raw->staging + sizeof header, &part, sizeof part);
    struct iovec pieces[2] = {{raw->staging, PART_HEADER}, {(char *)data, size}};
    return raw_write_all(raw, pieces, 2);
}

int raw_parts_send(struct raw *raw, const void *data, size_t size)
{
    if (sizeof(struct header) + size <= PIPE_BUF)
        return raw_stream_send(raw, data, size);
    for (size_t done = 0; done < size;) {
        size_t now = size - done < PART_BYTES ? size - done : PART_BYTES;
        int result = send_part(raw, (const char *)data + done, now, size);
        if (result < 0)
            return result;
        done += now;
    }
    return 0;
}

/* ---- receiving ---- */

/* Bytes read, 0 at the end, or -errno. */
static ssize_t read_some(struct raw *raw, const struct iovec *all, int count)
{
    struct iovec pieces[2];
    count = shorten(pieces, all, count, raw->most_read);
    for (;;) {
        ssize_t got;
        if (raw->says_who) {
            struct msghdr message = {.msg_iov = pieces,
                                     .msg_iovlen = (size_t)count,
                                     .msg_control = raw->control,
                                     .msg_controllen = sizeof raw->control};
            got = recvmsg(raw->fd, &message, MSG_CMSG_CLOEXEC);
            if (got > 0)
                raw_credentials(raw, &message);
        } else {
            got = count == 1 ? read(raw->fd, pieces->iov_base, pieces->iov_len) : readv(raw->fd, pieces, count);
        }
        if (got >= 0)
            return got;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (errno == EAGAIN) {
            int result = raw_wait(raw);
            if (result < 0)
                return result;
        }
    }
}

/* How much of the buffer to fill.  On a pipe a receiver that takes a frame a call keeps step with its sender, where one
 * that takes all there is soon finds nothing, sleeps, and must be woken by the sender's next write. */
static size_t room_to_fill(const struct raw *raw)
{
    size_t room = raw->ahead - raw->have;
    if (raw->frame_a_read && raw->last > raw->have && raw->last - raw->have < room)
        return raw->last - raw->have;
    return room;
}

/* Fill the buffer; a torn frame moves to its front. */
static ssize_t refill(struct raw *raw)
{
    if (raw->at > 0) {
        memmove(raw->buffer, raw->buffer + raw->at, raw->have - raw->at);
        raw->have -= raw->at;
        raw->at = 0;
    }
    struct iovec piece = {raw->buffer + raw->have, room_to_fill(raw)};
    ssize_t got = read_some(raw, &piece, 1);
    if (got > 0)
        raw->have += (size_t)got;
    return got;
}

/* The rest of a large message goes straight to its place; the next header comes in by the same call. */
static int receive_large(struct raw *raw, size_t size)
{
    size_t got = raw->have - raw->at, beyond = raw->ahead < BEYOND_LARGE ? raw->ahead : BEYOND_LARGE;
    memcpy(raw->message, raw->buffer + raw->at, got);
    raw->at = raw->have = 0;
    while (got < size) {
        struct iovec pieces[2] = {{raw->message + got, size - got}, {raw->buffer, beyond}};
        ssize_t now = read_some(raw, pieces, 2);
        if (now <= 0)
            return now == 0 ? -EBADMSG : (int)now;
        got += (size_t)now;
    }
    raw->have = got - size;
    return 1;
}

int raw_stream_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size)
{
    for (;;) {
        size_t ahead = raw->have - raw->at;
        if (ahead >= sizeof(struct header)) {
            struct header header;
            memcpy(&header, raw->buffer + raw->at, sizeof header);
            if (header.size > raw->largest)
                return -EBADMSG;
            *ret_size = header.size;
            if (ahead - sizeof header >= header.size) {
                *ret_data = raw->buffer + raw->at + sizeof header;
                raw->last = sizeof header + header.size;
                raw->at += raw->last;
                return 1;
            }
            if (sizeof header + header.size > raw->ahead / 2) {
                raw->at += sizeof header;
                *ret_data = raw->message;
                return receive_large(raw, header.size);
            }
        }
        ssize_t got = refill(raw);
        if (got <= 0)
            return got < 0 ? (int)got : ahead ? -EBADMSG : 0;
    }
}

static int read_exactly(struct raw *raw, void *data, size_t size)
{
    for (size_t got = 0; got < size;) {
        struct iovec piece = {(char *)data + got, size - got};
        ssize_t now = read_some(raw, &piece, 1);
        if (now <= 0)
            return now < 0 ? (int)now : got ? -EBADMSG : 0;
        got += (size_t)now;
    }
    return 1;
}

/* Where others read the same descriptor: a message and not a byte more. */
int raw_frugal_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size)
{
    struct header header;
    int result = read_exactly(raw, &header, sizeof header);
    if (result <= 0)
        return result;
    if (header.size > raw->largest)
        return -EBADMSG;
    result = header.size ? read_exactly(raw, raw->message, header.size) : 1;
    *ret_data = raw->message;
    *ret_size = header.size;
    return result == 0 ? -EBADMSG : result;
}

/* Add the part at the front of the buffer to the message that is being put together.  1: the message is whole. */
static int take_part(struct raw *raw, size_t size, size_t *ret_size)
{
    struct part part;
    const unsigned char *data = raw->buffer + raw->at + sizeof(struct header);
    memcpy(&part, data, sizeof part);
    if (raw->got == 0)
        raw->total = part.total;
    if (part.total > raw->largest || part.total != raw->total || size > part.total - raw->got ||
        part.sender != raw->sender || part.sequence != raw->sequence++)
        return -EBADMSG;
    memcpy(raw->message + raw->got, data + sizeof part, size);
    raw->got += size;
    raw->at += PART_HEADER + size;
    if (raw->got < raw->total)
        return 0;
    *ret_size = raw->total;
    raw->got = 0;
    return 1;
}

int raw_parts_receive(struct raw *raw, const unsigned char **ret_data, size_t *ret_size)
{
    for (;;) {
        size_t ahead = raw->have - raw->at;
        struct header header = {.size = 0};
        if (ahead >= sizeof header) {
            memcpy(&header, raw->buffer + raw->at, sizeof header);
            size_t size = header.size & ~PART;
            if (size > PIPE_BUF)
                return -EBADMSG;
            if (header.size & PART) {
                int result = ahead < PART_HEADER + size ? 0 : take_part(raw, size, ret_size);
                *ret_data = raw->message;
                if (result != 0)
                    return result;
                if (ahead >= PART_HEADER + size)
                    continue;
            } else if (ahead - sizeof header >= size) {
                *ret_data = raw->buffer + raw->at + sizeof header;
                *ret_size = size;
                raw->last = sizeof header + size;
                raw->at += raw->last;
                return 1;
            }
        }
        ssize_t got = refill(raw);
        if (got <= 0)
            return got < 0 ? (int)got : ahead ? -EBADMSG : 0;
    }
}
