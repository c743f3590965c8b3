/* channel/link_send.c - owns the sending half of one byte stream: from messages to bytes, and what is kept of them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Small messages are copied behind each other and leave in one write; big ones leave from where they lie, in one call
 * with what was kept before them.  Where several processes write to one pipe no write exceeds PIPE_BUF, which the
 * kernel keeps together; a message beyond that goes out in parts (wherry-framing(7)), and a run of full parts in one
 * call: each is PIPE_BUF bytes, and a pipe that fills up cuts such a run only between them
 * (docs/decisions/parts.md).  The write itself is link_write.c. */
#include "channel/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"

/* Up to this size a copy costs less than another element in the kernel's list of parts. */
enum { COPY = 2048 };
/* Parts that leave in one call. */
enum { RUN = 16 };

/* ---- what is kept ---- */

void wherry__link_drop_kept(struct wherry__link *link)
{
    link->out.start = link->out.end = 0;
    free(link->rest_memory);
    link->rest_memory = NULL;
    link->rest = NULL;
    link->rest_size = 0;
    link->rest_delimiter = link->rest_parts = false;
}

/* A write failed.  Where the other end is gone for good, what is kept goes too.  Else the rest of a message begun must
 * follow some day, or the next message would be taken for it: after a passing lack of memory, and on a FIFO, where the
 * next reader finds what the last one left. */
static int failed(struct wherry__link *link, int code)
{
    if (code == -EPIPE && !link->fifo) {
        link->dead = true;
        wherry__link_drop_kept(link);
    }
    return code;
}

/* The rest of a message begun is lost: nothing may follow it. */
static int cut_off(struct wherry__link *link)
{
    link->dead = !link->rest_parts; /* a split message is known as torn when the next one comes */
    wherry__link_drop_kept(link);
    if (link->kind == WHERRY__LINK_SOCKET && link->dead)
        wherry__sys.shutdown(link->out_fd, SHUT_RDWR);
    return wherry__fail(ENOMEM, "%s: no memory to keep the rest of a message", link->config->name);
}

static void rest_end(struct wherry__link *link)
{
    free(link->rest_memory);
    link->rest_memory = NULL;
    link->rest = NULL;
    link->rest_size = 0;
}

/* A descriptor that blocks and that others share would wait inside the kernel with more than PIPE_BUF bytes. */
static size_t write_limit(const struct wherry__link *link)
{
    return link->atoms || (link->blocks && link->kind != WHERRY__LINK_SOCKET) ? WHERRY__PART_ATOM : SIZE_MAX;
}

/* Write `out` alone.  0 when it is empty. */
static int push_out(struct wherry__link *link)
{
    while (link->out.start < link->out.end) {
        struct iovec part = {.iov_base = link->out.data + link->out.start,
                             .iov_len = wherry__size_min(link->out.end - link->out.start, write_limit(link))};
        ssize_t size = wherry__link_write(link, &part, 1, NULL);
        if (size < 0)
            return failed(link, (int)size);
        link->out.start += (size_t)size;
    }
    link->out.start = link->out.end = 0;
    if (link->lean && link->out.data) {
        free(link->out.data);
        link->out = (struct wherry__buffer){0};
    }
    return 0;
}

/* Write the next run of parts. */
static int push_run(struct wherry__link *link)
{
    uint8_t headers[RUN][WHERRY__PART_HEADER];
    struct iovec parts[2 * RUN];
    struct wherry__part part = link->part;
    size_t left = link->rest_size, total = 0;
    int count = 0;
    int most = link->blocks || link->kind != WHERRY__LINK_PIPE ? 1 : RUN; /* a socket cuts a run inside a part */
    const uint8_t *from = link->rest;
    /* a run is of full parts alone; a short one, the last, goes by itself */
    while (count < most && left && (count == 0 || left >= WHERRY__PART_PAYLOAD)) {
        part.size = (uint32_t)wherry__size_min(left, WHERRY__PART_PAYLOAD);
        wherry__part_encode(headers[count], &part);
        parts[2 * count] = (struct iovec){headers[count], WHERRY__PART_HEADER};
        parts[2 * count + 1] = (struct iovec){(void *)(uintptr_t)from, part.size};
        total += WHERRY__PART_HEADER + part.size;
        part.offset += part.size;
        from += part.size;
        left -= part.size;
        count++;
        if (part.size < WHERRY__PART_PAYLOAD)
            break;
    }
    ssize_t written = wherry__link_write(link, parts, 2 * count, NULL);
    if (written < 0)
        return failed(link, (int)written);
    size_t whole = (size_t)written == total ? (size_t)count : (size_t)written / WHERRY__PART_ATOM;
    size_t torn = (size_t)written == total ? 0 : (size_t)written % WHERRY__PART_ATOM;
    if (torn && wherry__buffer_reserve(&link->out, WHERRY__PART_ATOM, WHERRY__LINK_BUFFER) == 0) {
        /* no kernel known to us cuts there; were one to, the rest of that part follows at once */
        memcpy(link->out.data, headers[whole], WHERRY__PART_HEADER);
        memcpy(link->out.data + WHERRY__PART_HEADER, parts[2 * whole + 1].iov_base, parts[2 * whole + 1].iov_len);
        link->out.start = torn;
        link->out.end = WHERRY__PART_HEADER + parts[2 * whole + 1].iov_len;
        whole++;
    }
    size_t payload = wherry__size_min(whole * WHERRY__PART_PAYLOAD, link->rest_size);
    link->rest += payload;
    link->rest_size -= payload;
    link->part.offset += (uint32_t)payload;
    return push_out(link);
}

static int push_rest(struct wherry__link *link)
{
    while (link->rest_size > 0 || link->rest_delimiter) {
        if (link->rest_parts) {
            int result = push_run(link);
            if (result < 0)
                return result;
            continue;
        }
        uint8_t delimiter = wherry__framing_delimiter(&link->config->framing);
        struct iovec parts[2] = {
            {(void *)(uintptr_t)link->rest, wherry__size_min(link->rest_size, write_limit(link))}, {&delimiter, 1}};
        int count = link->rest_delimiter && parts[0].iov_len == link->rest_size ? 2 : 1;
        ssize_t size = wherry__link_write(link, parts, count, NULL);
        if (size < 0)
            return failed(link, (int)size);
        size_t payload = wherry__size_min((size_t)size, link->rest_size);
        link->rest += payload;
        link->rest_size -= payload;
        if ((size_t)size > payload)
            link->rest_delimiter = false;
    }
    rest_end(link);
    return 0;
}

int wherry__link_push(struct wherry__link *link)
{
    int result = push_out(link);
    return result == 0 && link->rest ? push_rest(link) : result;
}

int wherry__link_keep(struct wherry__link *link)
{
    if (!link->rest || link->rest_memory)
        return wherry__link_keeps(link);
    uint8_t *memory = malloc(link->rest_size + 1);
    if (!memory)
        return cut_off(link);
    memcpy(memory, link->rest, link->rest_size);
    link->rest = link->rest_memory = memory;
    return 1;
}

/* ---- sending ---- */

static size_t frame_size(const struct wherry__framing *framing, size_t payload)
{
    return wherry__framing_before(framing) + payload + wherry__framing_after(framing);
}

static void append(struct wherry__link *link, const struct wherry_message *message)
{
    const struct wherry__framing *framing = &link->config->framing;
    uint8_t *to = link->out.data + link->out.end;
    if (framing->kind == WHERRY__FRAME_LENGTH) {
        wherry__whole_encode(to, (uint32_t)message->size, (uint32_t)message->type);
        to += WHERRY__WHOLE_HEADER;
    }
    if (message->size)
        memcpy(to, message->data, message->size);
    to += message->size;
    if (wherry__framing_after(framing))
        *to++ = wherry__framing_delimiter(framing);
    link->out.end = (size_t)(to - link->out.data);
}

/* Begin a split message: nothing is in `out`.  0 when it went out whole. */
static int send_parts(struct wherry__link *link, const struct wherry_message *message)
{
    if (!link->sender)
        /* the two ends of a socket are two inodes: a lock on one does not show on the other */
        link->sender = wherry__parts_sender(link->kind == WHERRY__LINK_PIPE ? link->out_fd : -1);
    link->rest = message->data;
    link->rest_size = message->size;
    link->rest_parts = true;
    link->rest_delimiter = false;
    link->part = (struct wherry__part){.sender = link->sender,
                                       .type = (uint32_t)message->type,
                                       .message = ++link->part_messages,
                                       .total = (uint32_t)message->size};
    int result = push_rest(link);
    if (result == 0 || !link->rest)
        return result;
    if (link->part.offset)
        return -EINPROGRESS;
    rest_end(link);
    return result;
}

/* Send a message from where it lies, behind what `out` has, which is nothing when it has descriptors: those go with the
 * first byte of a write, once.  0, -EAGAIN (not begun), -EINPROGRESS, or a failure. */
static int send_big(struct wherry__link *link, const struct wherry_message *message)
{
    const struct wherry__framing *framing = &link->config->framing;
    uint8_t header[WHERRY__WHOLE_HEADER], delimiter = wherry__framing_delimiter(framing);
    struct iovec parts[4];
    int count = 0;
    size_t pending = link->out.end - link->out.start, before = wherry__framing_before(framing);
    size_t total = pending + frame_size(framing, message->size);
    if (pending)
        parts[count++] = (struct iovec){link->out.data + link->out.start, pending};
    if (before) {
        wherry__whole_encode(header, (uint32_t)message->size, (uint32_t)message->type);
        parts[count++] = (struct iovec){header, before};
    }
    parts[count++] = (struct iovec){(void *)(uintptr_t)message->data, message->size};
    if (wherry__framing_after(framing))
        parts[count++] = (struct iovec){&delimiter, 1};
    ssize_t written = wherry__link_write(link, parts, count, message->fd_count ? message : NULL);
    if (written < 0)
        return failed(link, (int)written);
    size_t done = (size_t)written;
    if (done <= pending) {
        link->out.start += done;
        return -EAGAIN;
    }
    link->out.start = link->out.end = 0;
    if (done == total)
        return 0;
    done -= pending;
    if (done < before) { /* the rest of the header is kept; there is room: `out` is empty and never smaller than this */
        if (wherry__buffer_reserve(&link->out, before, WHERRY__LINK_BUFFER) < 0)
            return cut_off(link);
        memcpy(link->out.data, header + done, before - done);
        link->out.end = before - done;
        done = before;
    }
    done = wherry__size_min(done - before, message->size);
    link->rest = (const uint8_t *)message->data + done;
    link->rest_size = message->size - done;
    link->rest_delimiter = wherry__framing_after(framing);
    link->rest_parts = false;
    return -EINPROGRESS;
}

/* Of messages[first, count), which lie in `out` from `offset` on, keep those of which a byte was written (or all, when
 * they may wait) and take the others back.  Returns the index of the first taken back. */
static size_t take_back(struct wherry__link *link, const struct wherry_message *messages, size_t first, size_t count,
                        size_t offset)
{
    for (; first < count; first++) {
        if (offset >= link->out.start) {
            link->out.end = offset;
            break;
        }
        offset += frame_size(&link->config->framing, messages[first].size);
    }
    return first;
}

static int check_size(const struct wherry__link *link, size_t frame, bool splits)
{
    if (link->atoms && frame > WHERRY__PART_ATOM && !splits)
        return wherry__fail(EMSGSIZE,
                            "%s: a record over %d bytes would mix with those of other writers; use frame=length, or "
                            "promise a single one with writers=1",
                            link->config->name, WHERRY__PART_ATOM);
    return 0;
}

/* The loop of a send: `link->out` collects small messages, which leave when it is full, when a big one comes, or at the
 * end. `first` and `offset` say which messages of this call lie in it and from where on. */
static int send_all(struct wherry__link *link, const struct wherry_message *messages, size_t count, unsigned flags,
                    size_t *ret_taken)
{
    const struct wherry__framing *framing = &link->config->framing;
    size_t room = link->atoms ? WHERRY__PART_ATOM : WHERRY__LINK_BUFFER;
    size_t first = 0, offset = link->out.end, i = 0;
    int result = 0;
    for (; i < count && result == 0; i++) {
        const struct wherry_message *message = &messages[i];
        size_t frame = frame_size(framing, message->size);
        bool splits = link->atoms && frame > WHERRY__PART_ATOM && framing->kind == WHERRY__FRAME_LENGTH;
        bool small = frame <= COPY || (write_limit(link) != SIZE_MAX && !splits);
        if (framing->kind != WHERRY__FRAME_LENGTH) {
            result = wherry__framing_check(framing, message->data, message->size, link->config->name);
            if (result == 0)
                result = check_size(link, frame, splits);
        }
        if (result < 0) {
            result = i > 0 ? 0 : result; /* those before it go out; it is reported when it is the first */
            break;
        }
        if (link->out.end > link->out.start && (splits || (small && link->out.end - link->out.start + frame > room))) {
            result = push_out(link);
            if (result < 0)
                break;
        }
        if (link->out.end == link->out.start) {
            first = i;
            offset = link->out.start = link->out.end = 0;
        }
        if (small) {
            size_t start = link->out.start;
            if (link->out.capacity - link->out.end < frame &&
                wherry__buffer_reserve(&link->out, frame, WHERRY__LINK_BUFFER) < 0) {
                result = i > first ? 0 : wherry__fail(ENOMEM, "%s: no memory to send", link->config->name);
                break;
            }
            offset -= start - link->out.start; /* it may have moved to the front */
            append(link, message);
        } else {
            result = splits ? send_parts(link, message) : send_big(link, message);
            if (result == 0 || result == -EINPROGRESS) {
                first = i + 1;
                offset = 0;
            }
        }
        if (result != 0)
            break;
    }
    if (result == 0 && !(flags & WHERRY_MORE))
        result = push_out(link);
    if (result < 0 && result != -EINPROGRESS && link->dead)
        i = wherry__size_min(i, first); /* what lay in `out` went down with it */
    else if (result < 0 && result != -EINPROGRESS && !(flags & WHERRY_MORE && result == -EAGAIN)) {
        i = take_back(link, messages, first, i, offset);
        if (result == -EAGAIN && i > first && link->out.end > link->out.start) {
            i--; /* a part of it has left: whoever has the time waits until the rest has, too */
            result = -EINPROGRESS;
        }
    }
    *ret_taken = i;
    return result;
}

/* ---- with descriptors ---- */

static int check_fds(const struct wherry__link *link, const struct wherry_message *message)
{
    const struct wherry__framing *framing = &link->config->framing;
    if (!link->passes)
        return wherry__fail(EOPNOTSUPP, "%s: descriptors go with messages on Unix sockets alone", link->config->name);
    if (framing->kind == WHERRY__FRAME_RAW)
        return wherry__fail(EOPNOTSUPP, "%s: with frame=raw no message is told from the next: none has descriptors",
                            link->config->name);
    if (link->atoms && frame_size(framing, message->size) > WHERRY__PART_ATOM)
        return wherry__fail(EMSGSIZE,
                            "%s: where several write, a message with descriptors has at most %d bytes; promise a "
                            "single writer with writers=1",
                            link->config->name, WHERRY__PART_ATOM - WHERRY__WHOLE_HEADER);
    return wherry__framing_check(framing, message->data, message->size, link->config->name);
}

/* A message with descriptors begins a write, and nothing follows it there: so its receiver knows whose they are
 * (link_fds.c).  As send_big(). */
static int send_passing(struct wherry__link *link, const struct wherry_message *message)
{
    int result = check_fds(link, message);
    if (result == 0)
        result = push_out(link);
    return result == 0 ? send_big(link, message) : result;
}

/* Messages of which some have descriptors. */
static __attribute__((noinline)) int send_mixed(struct wherry__link *link, const struct wherry_message *messages,
                                                size_t count, unsigned flags, size_t *ret_taken)
{
    int result = 0;
    while (result == 0 && *ret_taken < count) {
        const struct wherry_message *next = messages + *ret_taken;
        size_t left = count - *ret_taken, run = 0, taken = 0;
        while (run < left && !next[run].fd_count)
            run++;
        if (run == 0) {
            result = send_passing(link, next);
            *ret_taken += result == 0;
            continue;
        }
        result = wherry__link_send(link, next, run, flags, &taken);
        *ret_taken += taken;
        if (taken < run)
            break;
    }
    return result;
}

int wherry__link_send(struct wherry__link *link, const struct wherry_message *messages, size_t count, unsigned flags,
                      size_t *ret_taken)
{
    *ret_taken = 0;
    if (link->kind == WHERRY__LINK_PACKET)
        return wherry__packet_send(link, NULL, messages, count, ret_taken);
    if (link->rest) {
        int result = wherry__link_push(link);
        if (result < 0)
            return result;
    }
    int result = __builtin_expect(flags & WHERRY__SEND_PASSES, 0)
                     ? send_mixed(link, messages, count, flags & ~WHERRY__SEND_PASSES, ret_taken)
                     : send_all(link, messages, count, flags, ret_taken);
    if (result == -EAGAIN && *ret_taken > 0)
        return 0;
    return result;
}
