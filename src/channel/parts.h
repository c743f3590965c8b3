/* channel/parts.h - messages that came in parts, put together within bounds.
 *
 * SPDX-License-Identifier: MIT
 *
 * Several writers of one pipe may each be in the middle of a message.  Each has a random number of its own, so the
 * parts of one message are told from those of another; a writer that dies in the middle leaves a half that must not
 * stay for ever.  A writer of parts holds an open-file-description lock on one byte of the pipe's inode, the byte its
 * number names; when a new half begins, the receiver asks the kernel which of the others still have their writer
 * (fcntl(2), F_OFD_GETLK).  What a dead one wrote before may still be in the pipe: its half goes when all that was in
 * the pipe at that moment has been read. */
#ifndef WHERRY_CHANNEL_PARTS_H
#define WHERRY_CHANNEL_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/framing.h"

struct wherry__part_box {
    struct wherry__part_box *next;
    uint64_t sender;
    uint32_t message, type;
    size_t total, filled, capacity;
    uint64_t doomed_at; /* its writer is dead: no part of it lies behind this place in the stream; 0: alive */
    uint8_t *data;
};

struct wherry__parts {
    struct wherry__part_box *first;
    size_t held; /* bytes of memory in all boxes */
};

/* Take a part in.  Returns 1 when it completes its message, whose box, already off the list, is *ret_box and goes back
 * with wherry__part_box_free(); 0 when more must come; -EBADMSG when it fits nowhere (its message is dropped) and
 * -ENOBUFS when `max_memory` would be passed (likewise).  Adds the messages dropped on the way to *dropped.  `fd` is
 * the pipe, to ask about locks; `position` is how many bytes of the stream came before this part's end, of `read` that
 * were read. */
int wherry__parts_take(struct wherry__parts *parts, int fd, uint64_t position, uint64_t read,
                       const struct wherry__part *part, const uint8_t *payload, size_t max_memory, uint64_t *dropped,
                       struct wherry__part_box **ret_box);
void wherry__part_box_free(struct wherry__parts *parts, struct wherry__part_box *box);

/* Drop all; returns how many there were. */
size_t wherry__parts_clear(struct wherry__parts *parts);

/* A new sender number, its byte locked on `fd` (-1: on none) where the kernel allows (bit 0 says so).  Never 0. */
uint64_t wherry__parts_sender(int fd);

#endif
