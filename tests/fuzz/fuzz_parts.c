/* tests/fuzz/fuzz_parts.c - parts in any order, of any sender, of any size: bounded memory, and no message but a whole
 * one.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/parts.h"
#include "fuzz/fuzz.h"

enum { MAX_MEMORY = 60000 };

static uint8_t byte_of(uint64_t sender, uint32_t message, uint32_t at)
{
    return (uint8_t)(sender * 31 + message * 7 + at);
}

void fuzz_parts(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct wherry__parts parts = {0};
    uint64_t dropped = 0, position = 0;
    uint8_t payload[WHERRY__PART_PAYLOAD];
    while (input.left) {
        unsigned what = fuzz_byte(&input);
        /* bit 0 of a sender clear: nothing proves its death, so that no descriptor is asked */
        struct wherry__part part = {.sender = (uint64_t)(what & 7) << 2 | 2, .message = what >> 3 & 3, .type = what};
        part.total = 1 + (uint32_t)(what >> 5 & 3) * 20000 + fuzz_word(&input) % 64;
        part.size = 1 + fuzz_word(&input) % WHERRY__PART_PAYLOAD;
        for (struct wherry__part_box *box = parts.first; box; box = box->next)
            if (box->sender == part.sender && what & 128) { /* the very next part of what is under way */
                part.message = box->message;
                part.total = (uint32_t)box->total;
                part.offset = (uint32_t)box->filled;
            }
        if (part.size > part.total - part.offset) /* as the decoder sees to */
            part.size = part.total - part.offset;
        for (uint32_t i = 0; i < part.size; i++)
            payload[i] = byte_of(part.sender, part.message, part.offset + i);
        struct wherry__part_box *box = NULL;
        position += part.size;
        int result = wherry__parts_take(&parts, -1, position, position, &part, payload, MAX_MEMORY, &dropped, &box);
        fuzz_must(result == 1 || result == 0 || result == -EBADMSG || result == -ENOBUFS, "a known answer");
        fuzz_must((result == 1) == (box != NULL), "a box exactly with a message");
        fuzz_must(parts.held <= MAX_MEMORY, "no more than max_memory");
        if (box) {
            fuzz_must(box->filled == box->total && box->capacity >= box->total, "a whole message");
            for (uint32_t i = 0; i < box->total; i++)
                fuzz_must(box->data[i] == byte_of(part.sender, part.message, i), "the bytes that were sent");
            wherry__part_box_free(&parts, box);
        }
    }
    wherry__parts_clear(&parts);
    fuzz_must(parts.held == 0, "nothing held in the end");
}
