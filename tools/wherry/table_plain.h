/* table_plain.h - a table drawn for who reads it through a pipe or from a file: nothing folded, cut or coloured.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_TABLE_PLAIN_H
#define WHERRY_TOOL_TABLE_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

struct plain_column {
    const char *heading;
    size_t width; /* of its widest cell */
    bool right;   /* numbers */
};

/* Whether it is as wide as it is long, and shown as it is: printable ASCII, and no "\x", which libsmartcols writes
 * otherwise. */
bool plain_is(const char *text, size_t length);

/* Print to standard output, as libsmartcols would: `cell` gives the text of a cell, "" when it is empty. */
void plain_draw(const struct plain_column *columns, size_t count, size_t rows, bool headings,
                const char *(*cell)(const void *table, size_t row, size_t column), const void *table);

#endif
