/* storage/log_read.c - owns how records are found in the file: whole, checked, from a window of it in memory.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/why.h"
#include "storage/log.h"

enum {
    WINDOW = 512 << 10, /* what one read asks for */
    FIRST = 32 << 10,   /* ... at first, and after that for as long as it is enough */
    KEPT = 4 << 20,     /* a window that grew larger for one record is given back */
    LARGEST = 1 << 30,  /* no version of wherry writes a larger payload */
};

void wherry__log_window_fini(struct wherry__log_window *window)
{
    free(window->bytes);
    *window = (struct wherry__log_window){0};
}

static bool covers(const struct wherry__log_window *window, uint64_t position, uint64_t size)
{
    return position >= window->at && position - window->at <= window->size &&
           window->size - (position - window->at) >= size;
}

static int grow(const struct wherry__log *log, struct wherry__log_window *window, size_t capacity)
{
    if (window->capacity >= capacity && (window->capacity <= KEPT || capacity > KEPT))
        return 0;
    if (window->capacity > KEPT && window->size > capacity)
        window->size = 0;
    uint8_t *bytes = realloc(window->bytes, capacity);
    if (!bytes)
        return wherry__fail(ENOMEM, "%s: no memory for a record of %zu bytes", log->name, capacity);
    window->bytes = bytes;
    window->capacity = capacity;
    return 0;
}

/* Read on, so that the window begins at `position` and has `size` bytes, if the file has them below the end.  What
 * it has of them already moves to its front. */
static int fill(struct wherry__log *log, struct wherry__log_window *window, uint64_t position, uint64_t size)
{
    size_t kept = 0;
    if (position >= window->at && position - window->at < window->size) {
        kept = window->size - (size_t)(position - window->at);
        memmove(window->bytes, window->bytes + (position - window->at), kept);
    }
    window->at = position;
    window->size = kept;
    uint64_t there = log->state.end - position;
    size_t wanted = there < FIRST ? FIRST : WINDOW;
    if (wanted < size)
        wanted = (size_t)size;
    int result = grow(log, window, wanted);
    if (result < 0)
        return result;
    size_t got = 0, ask = there < wanted ? (size_t)there : wanted;
    if (ask > kept &&
        (result = wherry__log_read_all(log->fd, window->bytes + kept, ask - kept, position + kept, &got)) < 0)
        return wherry__fail_errno(-result, "%s: could not be read", log->name);
    window->size += got;
    return 0;
}

/* Whether what lies there may be a record, by its head. */
static bool may_be(const struct wherry__log *log, const uint8_t *head, uint64_t position)
{
    uint32_t size = wherry__load32(head + 4);
    return wherry__load32(head) == LOG_RECORD_MARK && size <= LARGEST &&
           log_record_size(size) <= log->state.end - position;
}

static bool is_whole(const struct wherry__log *log, const uint8_t *head, uint64_t position, uint32_t size)
{
    uint8_t fields[16];
    memcpy(fields, head + 4, 4);
    memcpy(fields + 4, head + 12, 4);
    memcpy(fields + 8, head + 24, 8);
    uint32_t crc = wherry__log_crc(wherry__log_crc(0, fields, sizeof fields), head + LOG_RECORD_HEAD, size);
    return (crc ^ log_mix(log->id, position, wherry__load64(head + 16))) == wherry__load32(head + 8);
}

int wherry__log_read(struct wherry__log *log, struct wherry__log_window *window, uint64_t position, uint64_t most,
                     struct wherry__log_record *ret)
{
    int result;
    if (position >= log->state.end)
        return 0;
    if (log->state.end - position < LOG_RECORD_HEAD) {
        window->size = 0; /* a torn tail: what will be there are other bytes */
        return -EBADMSG;
    }
    if (!covers(window, position, LOG_RECORD_HEAD) && (result = fill(log, window, position, LOG_RECORD_HEAD)) < 0)
        return result;
    if (!covers(window, position, LOG_RECORD_HEAD)) {
        window->size = 0;
        return -EBADMSG; /* the file is shorter than its state says */
    }
    const uint8_t *head = window->bytes + (position - window->at);
    if (!may_be(log, head, position)) {
        window->size = 0; /* a torn tail, say, where a record will be when somebody has cut it */
        return -EBADMSG;
    }
    uint32_t size = wherry__load32(head + 4);
    uint64_t whole = log_record_size(size);
    if (size > most) {
        ret->size = size;
        ret->next = position + whole;
        ret->number = wherry__load64(head + 16);
        return -EMSGSIZE;
    }
    if (!covers(window, position, whole) && (result = fill(log, window, position, whole)) < 0)
        return result;
    if (!covers(window, position, whole)) {
        window->size = 0;
        return -EBADMSG;
    }
    head = window->bytes + (position - window->at);
    /* from here on it is our copy that is looked at */
    if (wherry__load32(head + 4) != size || !is_whole(log, head, position, size)) {
        window->size = 0; /* it may be another the next time */
        return -EBADMSG;
    }
    *ret = (struct wherry__log_record){.position = position,
                                       .next = position + whole,
                                       .number = wherry__load64(head + 16),
                                       .time = (wherry_time)wherry__load64(head + 24),
                                       .data = head + LOG_RECORD_HEAD,
                                       .size = size,
                                       .type = wherry__load32(head + 12)};
    return 1;
}

/* Where the file has data at or behind `at`; holes are skipped. */
static uint64_t skip_hole(const struct wherry__log *log, uint64_t at, uint64_t end)
{
    off_t data = wherry__sys.lseek(log->fd, (off_t)at, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? end : at;
    return (uint64_t)data > at ? (uint64_t)data & ~UINT64_C(7) : at;
}

int wherry__log_search(struct wherry__log *log, struct wherry__log_window *window, uint64_t position, uint64_t end,
                       uint64_t *ret_position)
{
    enum { CHUNK = 64 << 10 };
    struct wherry__log_record record;
    uint8_t *chunk = malloc(CHUNK);
    int result = chunk ? 0 : wherry__fail(ENOMEM, "%s: no memory", log->name);
    uint64_t at = (position + 7) & ~UINT64_C(7), found = end;
    while (result == 0 && at < end && found == end) {
        size_t got;
        at = skip_hole(log, at, end);
        result = wherry__log_read_all(log->fd, chunk, CHUNK, at, &got);
        if (result < 0)
            wherry__fail_errno(-result, "%s: could not be read", log->name);
        if (result < 0 || got < 8)
            break;
        for (size_t i = 0; i + 8 <= got && at + i < end && found == end; i += 8)
            if (wherry__load32(chunk + i) == LOG_RECORD_MARK) {
                window->size = 0;
                result = wherry__log_read(log, window, at + i, UINT32_MAX, &record);
                if (result == 1)
                    found = at + i;
                else if (result != -EBADMSG && result != 0)
                    break;
                result = 0;
            }
        at += got & ~(size_t)7;
    }
    free(chunk);
    if (result == 0)
        *ret_position = found;
    return result;
}
