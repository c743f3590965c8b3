/* text.h - text from elsewhere: UTF-8, and bytes made harmless for a terminal.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_TEXT_H
#define WHERRY_TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the well-formed UTF-8 character at the front of `size` bytes (RFC 3629), or 0. */
size_t utf8_length(const uint8_t *data, size_t size);

/* Whether all of it is well-formed UTF-8 without a NUL. */
bool utf8_is_text(const uint8_t *data, size_t size);

enum { ESCAPED_MAX = 8 };

/* Take one character from *data, *size and write what a terminal may be shown of it to `out`: the character itself, or
 * \xNN for each byte of a control character (C0, DEL, C1) and for bytes that are no UTF-8.  `keep`: characters that
 * pass although they are control characters ("\n\t").  Returns the bytes written. */
size_t escape_next(const uint8_t **data, size_t *size, const char *keep, char out[ESCAPED_MAX]);

/* All of a string at once into `out`, cut off where it is full; always ends with NUL.  Returns its length. */
size_t escape_text(const char *text, char *out, size_t capacity);

#endif
