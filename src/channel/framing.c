/* channel/framing.c - owns the layout of frames.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/framing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/why.h"

#define PART UINT32_C(0x80000000)

int wherry__framing_parse(struct wherry__framing *ret_framing, const char *text)
{
    static const struct {
        const char *name;
        enum wherry__framing_kind kind;
    } plain[] = {{"length", WHERRY__FRAME_LENGTH},
                 {"line", WHERRY__FRAME_LINE},
                 {"nul", WHERRY__FRAME_NUL},
                 {"raw", WHERRY__FRAME_RAW}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(text, plain[i].name) == 0) {
            *ret_framing = (struct wherry__framing){.kind = plain[i].kind};
            return 0;
        }
    if (strncmp(text, "fixed:", 6) != 0 || text[6] < '1' || text[6] > '9')
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long size = strtoul(text + 6, &end, 10);
    if (errno || *end || size > INT32_MAX)
        return -EINVAL;
    *ret_framing = (struct wherry__framing){.kind = WHERRY__FRAME_FIXED, .size = size};
    return 0;
}

const char *wherry__framing_name(const struct wherry__framing *framing, char buffer[static 32])
{
    static const char *const names[] = {"length", "line", "nul", "fixed", "raw"};
    if (framing->kind != WHERRY__FRAME_FIXED)
        return names[framing->kind];
    snprintf(buffer, 32, "fixed:%zu", framing->size);
    return buffer;
}

int wherry__framing_check(const struct wherry__framing *framing, const void *data, size_t size, const char *name)
{
    switch (framing->kind) {
    case WHERRY__FRAME_LENGTH:
        return 0;
    case WHERRY__FRAME_LINE:
    case WHERRY__FRAME_NUL:
        if (size && memchr(data, wherry__framing_delimiter(framing), size))
            return wherry__fail(EINVAL, "%s: with frame=%s a message cannot contain a %s; use frame=length", name,
                                framing->kind == WHERRY__FRAME_LINE ? "line" : "nul",
                                framing->kind == WHERRY__FRAME_LINE ? "newline" : "NUL byte");
        return 0;
    case WHERRY__FRAME_FIXED:
        if (size != framing->size)
            return wherry__fail(EINVAL, "%s: with frame=fixed:%zu every message has %zu bytes, this one %zu", name,
                                framing->size, framing->size, size);
        return 0;
    case WHERRY__FRAME_RAW:
        if (size == 0)
            return wherry__fail(EINVAL, "%s: with frame=raw a message of zero bytes cannot be told from nothing", name);
        return 0;
    }
    return -EINVAL;
}

static uint32_t part_check(const uint8_t *header)
{
    uint32_t check = wherry__whole_check(wherry__load32(header), wherry__load32(header + 4));
    check = wherry__frame_mix(check * UINT64_C(0xD1B54A32D192ED03), wherry__load64(header + 12));
    check = wherry__frame_mix(check * UINT64_C(0xD1B54A32D192ED03), wherry__load64(header + 20));
    return wherry__frame_mix(check * UINT64_C(0xD1B54A32D192ED03), wherry__load32(header + 28));
}

void wherry__whole_encode(uint8_t header[static WHERRY__WHOLE_HEADER], uint32_t size, uint32_t type)
{
    wherry__store32(header, size);
    wherry__store32(header + 4, type);
    wherry__store32(header + 8, wherry__whole_check(size, type));
}

void wherry__part_encode(uint8_t header[static WHERRY__PART_HEADER], const struct wherry__part *part)
{
    wherry__store32(header, part->size | PART);
    wherry__store32(header + 4, part->type);
    wherry__store64(header + 12, part->sender);
    wherry__store32(header + 20, part->message);
    wherry__store32(header + 24, part->total);
    wherry__store32(header + 28, part->offset);
    wherry__store32(header + 8, part_check(header));
}

static enum wherry__decoded decode_part(const uint8_t *data, size_t size, size_t max_message,
                                        struct wherry__frame *ret_frame)
{
    struct wherry__part part = {.size = wherry__load32(data) & ~PART, .type = wherry__load32(data + 4)};
    if (part.size > WHERRY__PART_PAYLOAD)
        return WHERRY__FRAME_BAD;
    if (size < WHERRY__PART_HEADER) {
        ret_frame->needed = WHERRY__PART_HEADER;
        return WHERRY__FRAME_UNKNOWN;
    }
    part.sender = wherry__load64(data + 12);
    part.message = wherry__load32(data + 20);
    part.total = wherry__load32(data + 24);
    part.offset = wherry__load32(data + 28);
    if (wherry__load32(data + 8) != part_check(data) || part.total > max_message || part.offset > part.total ||
        part.size > part.total - part.offset || part.size == 0)
        return WHERRY__FRAME_BAD;
    *ret_frame = (struct wherry__frame){
        .before = WHERRY__PART_HEADER, .payload = part.size, .type = part.type, .part = part};
    return WHERRY__FRAME_PART;
}

static enum wherry__decoded decode_length(const uint8_t *data, size_t size, size_t max_message,
                                          struct wherry__frame *ret_frame)
{
    if (size < WHERRY__WHOLE_HEADER) {
        ret_frame->needed = WHERRY__WHOLE_HEADER;
        return WHERRY__FRAME_UNKNOWN;
    }
    uint32_t payload = wherry__load32(data);
    if (payload & PART)
        return decode_part(data, size, max_message, ret_frame);
    uint32_t type = wherry__load32(data + 4);
    if (wherry__load32(data + 8) != wherry__whole_check(payload, type) || payload > max_message)
        return WHERRY__FRAME_BAD;
    ret_frame->before = WHERRY__WHOLE_HEADER;
    ret_frame->payload = payload;
    ret_frame->after = 0;
    ret_frame->type = type;
    return WHERRY__FRAME_WHOLE;
}

enum wherry__decoded wherry__frame_decode(const struct wherry__framing *framing, const uint8_t *data, size_t size,
                                          size_t max_message, size_t *scanned, struct wherry__frame *ret_frame)
{
    if (framing->kind == WHERRY__FRAME_LENGTH)
        return decode_length(data, size, max_message, ret_frame);
    ret_frame->before = ret_frame->after = 0;
    ret_frame->type = 0;
    switch (framing->kind) {
    case WHERRY__FRAME_FIXED:
        ret_frame->payload = framing->size;
        return WHERRY__FRAME_WHOLE;
    case WHERRY__FRAME_RAW:
        ret_frame->payload = size;
        ret_frame->needed = 1;
        return size ? WHERRY__FRAME_WHOLE : WHERRY__FRAME_UNKNOWN;
    default:
        break;
    }
    const uint8_t *end =
        size > *scanned ? memchr(data + *scanned, wherry__framing_delimiter(framing), size - *scanned) : NULL;
    if (!end) {
        *scanned = size;
        ret_frame->needed = size + 1;
        return WHERRY__FRAME_UNKNOWN;
    }
    ret_frame->payload = (size_t)(end - data);
    ret_frame->after = 1;
    *scanned = ret_frame->payload; /* the delimiter is found at once if asked again */
    return WHERRY__FRAME_WHOLE;
}

size_t wherry__frame_resync(const uint8_t *data, size_t size, size_t max_message)
{
    struct wherry__frame frame;
    for (size_t at = 1; at < size; at++)
        if (decode_length(data + at, size - at, max_message, &frame) != WHERRY__FRAME_BAD)
            return at;
    return size;
}

/* The bytes of a UTF-8 character that begins like this, or 0 when none does. */
static size_t utf8_length(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Good enough for a hint: of the continuation bytes only that they are some.  The last character may be cut off. */
bool wherry__looks_like_text(const uint8_t *data, size_t size)
{
    size = wherry__size_min(size, 64);
    for (size_t i = 0, next = 0; i < size; i++) {
        if (i < next) {
            if ((data[i] & 0xc0) != 0x80)
                return false;
            continue;
        }
        if (data[i] != '\n' && data[i] != '\t' && data[i] != '\r' && data[i] != 0x1b &&
            (data[i] < 0x20 || data[i] == 0x7f))
            return false;
        next = i + utf8_length(data[i]);
        if (next == i)
            return false;
    }
    return size > 0;
}
