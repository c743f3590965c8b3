/* channel/sequence.h - numbers on datagrams, so that what is lost on the way is counted: seq=1.
 *
 * SPDX-License-Identifier: MIT
 *
 * Before each message stand 20 bytes: "whs1", a random number of the sender's (64 bits), and the message's own number,
 * from 0 on (64 bits), both little-endian.  No descriptors here: sequence.c reads and writes memory alone. */
#ifndef WHERRY_CHANNEL_SEQUENCE_H
#define WHERRY_CHANNEL_SEQUENCE_H

#include <stddef.h>
#include <stdint.h>

enum {
    WHERRY__SEQUENCE_HEADER = 20,
    WHERRY__SEQUENCE_SENDERS = 1024, /* whose numbers are remembered; the one silent for longest makes room */
    WHERRY__SEQUENCE_WINDOW = 256,   /* so far back a number is known to have come or not */
};

/* A number for a new sender. */
uint64_t wherry__sequence_new_id(void);
void wherry__sequence_write(uint8_t header[static WHERRY__SEQUENCE_HEADER], uint64_t id, uint64_t number);

struct wherry__sequence_sender;

/* All zero: nobody is known. */
struct wherry__sequences {
    struct wherry__sequence_sender *senders; /* all there is room for, as address space */
    uint32_t *heads;
    uint32_t count, newest, oldest;
};

enum wherry__sequence_verdict {
    WHERRY__SEQUENCE_NEXT,      /* or behind a gap: *ret_lost are missing before it */
    WHERRY__SEQUENCE_LATE,      /* overtaken; *ret_lost of it, 0 or 1, was counted as missing before */
    WHERRY__SEQUENCE_TWICE,     /* it came before, or so long ago that nobody knows */
    WHERRY__SEQUENCE_MALFORMED, /* no such header, or a number that no sender can have come to since its last */
};

/* What a datagram's header says.  -ENOMEM, or the verdict. */
int wherry__sequence_take(struct wherry__sequences *sequences, const uint8_t *data, size_t size, uint64_t *ret_lost);
void wherry__sequences_fini(struct wherry__sequences *sequences);

#endif
