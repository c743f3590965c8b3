/* channel/link_big.c - owns messages too big for the read buffer: read straight to where they are delivered from.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/link_in.h"

#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "base/size.h"
#include "base/why.h"

/* Bytes that a big read takes in behind its message: the next header, and little that is copied twice. */
enum { BEHIND = 4096 };
/* Memory that a busy link keeps for its next big message. */
enum { KEEP_MEMORY = 1 << 20 };

static int big_grow(struct wherry__link *link)
{
    size_t capacity = wherry__size_grow(link->big.capacity, link->big.filled + 1, WHERRY__LINK_BUFFER, link->big.size);
    if (!wherry__link_account(link, link->big.capacity, capacity))
        return wherry__link_over_memory(link);
    uint8_t *memory = realloc(link->big.memory, capacity);
    if (!memory) {
        wherry__link_account(link, capacity, link->big.capacity);
        return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", link->config->name, link->big.size);
    }
    link->big.memory = link->big.data = memory;
    link->big.capacity = capacity;
    return 0;
}

static void big_begin(struct wherry__link *link, size_t size, uint32_t type, void *buffer, size_t capacity)
{
    link->big.size = size;
    link->big.filled = 0;
    link->big.type = type;
    link->big.active = true;
    link->big.data = buffer && capacity >= size ? buffer : link->big.memory;
}

bool wherry__link_in_buffer(const struct wherry__link *link)
{
    return link->big.active && link->big.data && link->big.data != link->big.memory;
}

/* Room in `in`, which is empty, for what a big read takes in behind its message. */
static bool reads_behind(struct wherry__link *link)
{
    return !link->exact && link->config->framing.kind == WHERRY__FRAME_LENGTH && link->in.start == link->in.end &&
           wherry__link_reserve_in(link, BEHIND, BEHIND) == 0;
}

/* Read until the message is whole.  1, 0 at the end, -EAGAIN, or a failure. */
int wherry__big_fill(struct wherry__link *link)
{
    while (link->big.filled < link->big.size) {
        size_t room = link->big.size;
        if (!wherry__link_in_buffer(link)) {
            if (link->big.filled == link->big.capacity || !link->big.memory) {
                int result = big_grow(link);
                if (result < 0)
                    return result;
            }
            room = wherry__size_min(room, link->big.capacity);
        }
        struct iovec parts[2] = {{link->big.data + link->big.filled, room - link->big.filled}};
        int count = 1;
        if (room == link->big.size && reads_behind(link))
            parts[count++] = (struct iovec){link->in.data + link->in.end, BEHIND};
        ssize_t size = wherry__link_read(link, parts, count);
        if (size <= 0)
            return (int)size;
        size_t here = wherry__size_min((size_t)size, room - link->big.filled);
        link->big.filled += here;
        link->in.end += (size_t)size - here;
    }
    return 1;
}

void wherry__big_end(struct wherry__link *link)
{
    link->big.active = false;
    if (link->lean || link->big.capacity > KEEP_MEMORY)
        wherry__link_free_big(link);
    link->big.data = NULL;
}

int wherry__link_rescue(struct wherry__link *link)
{
    if (!wherry__link_in_buffer(link))
        return 0;
    size_t filled = link->big.filled;
    if (filled > link->big.capacity || !link->big.memory) {
        size_t capacity = wherry__size_max(filled, WHERRY__LINK_BUFFER);
        bool within = wherry__link_account(link, link->big.capacity, capacity);
        uint8_t *memory = within ? realloc(link->big.memory, capacity) : NULL;
        if (!memory) {
            if (within)
                wherry__link_account(link, capacity, link->big.capacity);
            link->ended = true; /* what follows on the stream can no longer be told apart */
            wherry__big_end(link);
            return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", link->config->name, link->big.size);
        }
        link->big.memory = memory;
        link->big.capacity = capacity;
    }
    if (filled)
        memcpy(link->big.memory, link->big.data, filled);
    link->big.data = link->big.memory;
    return 0;
}

/* Turn to reading a frame of known size to its place: what `in` has of it already goes there first. */
void wherry__big_begin(struct wherry__link *link, const struct wherry__frame *frame, void *buffer,
                                  size_t capacity)
{
    size_t have = wherry__size_min(link->in.end - link->in.start - frame->before, frame->payload);
    big_begin(link, frame->payload, frame->type, buffer, capacity);
    const uint8_t *from = link->in.data + link->in.start + frame->before;
    while (link->big.filled < have) {
        if (!wherry__link_in_buffer(link) && (!link->big.memory || link->big.filled == link->big.capacity) &&
            big_grow(link) < 0)
            break; /* wherry__big_fill() meets the same lack of memory and reports it */
        size_t room = wherry__link_in_buffer(link) ? have : wherry__size_min(have, link->big.capacity);
        memcpy(link->big.data + link->big.filled, from + link->big.filled, room - link->big.filled);
        link->big.filled = room;
    }
    link->in.start += frame->before + link->big.filled;
    link->expected = frame->payload;
}

/* ---- when the last one was big ---- */

/* Where a message of the expected size can go: the receiver's buffer, or for a borrow the memory kept from the last. */
void *wherry__big_place(const struct wherry__link *link, void *buffer, size_t capacity)
{
    if (link->exact || link->config->framing.kind != WHERRY__FRAME_LENGTH || link->expected < WHERRY__BIG)
        return NULL;
    if (buffer)
        return capacity >= link->expected ? buffer : NULL;
    return link->big.capacity >= link->expected ? link->big.memory : NULL;
}

/* What a read for an expected message brought instead of one: into `in`, as if it had been read ahead.  Of `read` bytes
 * the first are in `header`, the next in `buffer`, and the last `over` already where `in` ends. */
static ssize_t put_ahead(struct wherry__link *link, const uint8_t *header, const void *buffer, size_t read, size_t over)
{
    size_t first = wherry__size_min(read, WHERRY__WHOLE_HEADER);
    link->in.end += over;
    int result = wherry__link_reserve_in(link, read - over, read);
    if (result < 0)
        return result;
    uint8_t *to = link->in.data + link->in.start;
    memmove(to + (read - over), to, over);
    memcpy(to, header, first);
    memcpy(to + first, buffer, read - over - first);
    link->in.end += read - over;
    return (ssize_t)read;
}

/* With a big message expected and nothing read ahead: a header, the payload, which goes to its place, and the beginning
 * of what follows in one call. */
ssize_t wherry__big_fill_expected(struct wherry__link *link, void *buffer)
{
    uint8_t header[WHERRY__WHOLE_HEADER];
    struct iovec parts[3] = {{header, sizeof header}, {buffer, link->expected}};
    int count = 2;
    if (reads_behind(link))
        parts[count++] = (struct iovec){link->in.data + link->in.end, BEHIND};
    ssize_t size = wherry__link_read(link, parts, count);
    if (size <= 0)
        return size;
    size_t read = (size_t)size, scanned = 0, expected = link->expected;
    size_t payload = read > sizeof header ? read - sizeof header : 0;
    size_t over = payload > expected ? payload - expected : 0;
    struct wherry__frame frame;
    bool whole = payload && wherry__frame_decode(&link->config->framing, header, sizeof header,
                                                 link->config->max_message, &scanned, &frame) == WHERRY__FRAME_WHOLE;
    if (!whole || frame.payload > expected || (frame.payload < expected && frame.payload < payload)) {
        link->expected = 0;
        return put_ahead(link, header, buffer, read, over);
    }
    big_begin(link, frame.payload, frame.type, buffer == link->big.memory ? NULL : buffer, expected);
    link->big.filled = payload - over;
    link->in.end += over;
    return size;
}
