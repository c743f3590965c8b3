/* channel/framing.h - messages over byte streams: the five framings, encoded and decoded in memory.
 *
 * SPDX-License-Identifier: MIT
 *
 * No descriptors here: link.c moves the bytes.  The layout of `length` frames is wherry-framing(7):
 *
 *     whole   0 size:32   4 type:32   8 check:32                                               12 payload
 *     part    0 size:32 | PART   4 type:32   8 check:32   12 sender:64   20 message:32   24 total:32   28 offset:32
 *                                                                                              32 piece of the payload
 * Little-endian.  The check is over everything else in the header: bytes that are no frame are known as such, and a
 * receiver that takes over a pipe in the middle of a frame finds the next one.  A part is at most PIPE_BUF bytes with
 * its header, so that the kernel never mixes it with another writer's (pipe(7)). */
#ifndef WHERRY_CHANNEL_FRAMING_H
#define WHERRY_CHANNEL_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wherry__framing_kind {
    WHERRY__FRAME_LENGTH,
    WHERRY__FRAME_LINE,
    WHERRY__FRAME_NUL,
    WHERRY__FRAME_FIXED,
    WHERRY__FRAME_RAW,
};

struct wherry__framing {
    enum wherry__framing_kind kind;
    size_t size; /* of a record, for FIXED */
};

enum {
    WHERRY__WHOLE_HEADER = 12,
    WHERRY__PART_HEADER = 32,
    WHERRY__PART_ATOM = 4096, /* PIPE_BUF on Linux, whatever the page size */
    WHERRY__PART_PAYLOAD = WHERRY__PART_ATOM - WHERRY__PART_HEADER,
};

/* "length", "line", "nul", "fixed:N", "raw".  Returns 0 or -EINVAL (no sentence). */
int wherry__framing_parse(struct wherry__framing *ret_framing, const char *text);
/* The reverse, for URLs; the text is in `buffer` or static. */
const char *wherry__framing_name(const struct wherry__framing *framing, char buffer[static 32]);

/* Whether a payload can be carried: 0 or -EINVAL with the sentence set. */
int wherry__framing_check(const struct wherry__framing *framing, const void *data, size_t size, const char *name);

/* Bytes before the payload and after it. */
static inline size_t wherry__framing_before(const struct wherry__framing *framing)
{
    return framing->kind == WHERRY__FRAME_LENGTH ? WHERRY__WHOLE_HEADER : 0;
}
static inline size_t wherry__framing_after(const struct wherry__framing *framing)
{
    return framing->kind == WHERRY__FRAME_LINE || framing->kind == WHERRY__FRAME_NUL;
}
static inline uint8_t wherry__framing_delimiter(const struct wherry__framing *framing)
{
    return framing->kind == WHERRY__FRAME_LINE ? '\n' : '\0';
}

struct wherry__part {
    uint32_t size, type, message, total, offset;
    uint64_t sender;
};
/* Not a defence against forgery: it tells frames from text, from garbage and from the middle of a frame. */
static inline uint32_t wherry__frame_mix(uint64_t state, uint64_t more)
{
    state = (state ^ more) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(state >> 32) ^ (uint32_t)(state >> 7);
}

static inline uint32_t wherry__whole_check(uint32_t size, uint32_t type)
{
    return wherry__frame_mix(UINT64_C(0x7768657272790001), (uint64_t)type << 32 | size); /* "wherry", version 1 */
}

void wherry__whole_encode(uint8_t header[static WHERRY__WHOLE_HEADER], uint32_t size, uint32_t type);
void wherry__part_encode(uint8_t header[static WHERRY__PART_HEADER], const struct wherry__part *part);

/* What the bytes at the front of a stream are. */
enum wherry__decoded {
    WHERRY__FRAME_WHOLE,   /* a frame whose size is known; the payload may still be under way */
    WHERRY__FRAME_PART,    /* the same for a part */
    WHERRY__FRAME_UNKNOWN, /* too few bytes to say; `needed` more than there are must come */
    WHERRY__FRAME_BAD,     /* no frame */
};

struct wherry__frame {
    size_t before, payload, after; /* bytes; together the frame */
    size_t needed;                 /* for UNKNOWN: bytes that must be there at least before it is worth asking again */
    uint32_t type;
    struct wherry__part part;
};

/* Look at the front of `size` bytes.  *scanned: how far earlier calls have looked for a delimiter, from the front; kept
 * here between calls, 0 for a new frame.  Sizes over `max_message` are BAD for length frames; the caller watches the
 * growth of the others. */
enum wherry__decoded wherry__frame_decode(const struct wherry__framing *framing, const uint8_t *data, size_t size,
                                          size_t max_message, size_t *scanned, struct wherry__frame *ret_frame);

/* Where, within `size` bytes, the next length frame may begin: the offset of the first valid header from 1 on, or of
 * the first byte that could begin one that is cut off at the end. */
size_t wherry__frame_resync(const uint8_t *data, size_t size, size_t max_message);

/* Whether the bytes look like text, for the hint in the sentence. */
bool wherry__looks_like_text(const uint8_t *data, size_t size);

#endif
