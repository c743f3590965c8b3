/* bench/demo.h - the parts of the demo: the text, carrying it, timing single messages.
 *
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_DEMO_H
#define BENCH_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/wherry.h>

/* ---- demo_text.c ---- */

struct text {
    const char *name;
    unsigned char *data;
    size_t size;
    size_t lines;
    size_t *ends;   /* the offset behind each line, its newline included */
    size_t longest; /* bytes of the longest line */
    unsigned char digest[32];
};

/* A file of any content ("-": standard input), or with NULL a text made here, always the same.  Dies on failure. */
void text_load(struct text *text, const char *path);
void text_free(struct text *text);
void digest_print(char ret_text[static 65], const unsigned char digest[static 32]);

/* ---- demo_carry.c ---- */

struct carried {
    bool verified;
    uint64_t messages, lost;
    double seconds;
    size_t too_large; /* lines that went in pieces, because the transport does not take them whole */
    size_t piece;     /* bytes of such a piece */
    char why[400];    /* what went wrong, or "" */
};
void carry(const struct wherry_traits *traits, const struct text *text, struct carried *ret_carried);

/* ---- demo_delay.c ---- */

struct delay {
    size_t samples;
    double middle, late; /* p50 and p99, ns */
    char why[400];
};
void measure_delay(const struct wherry_traits *traits, bool spinning, struct delay *ret_delay);

/* ---- shared by the two (demo_carry.c) ---- */

/* In a process: let signals end the waits of this endpoint from now on; NULL: of none any more. */
void demo_interruptible(struct wherry_channel *channel);

#endif
