/* table_plain.c - owns the drawing of tables into pipes and files, where libsmartcols would take most of the time of a
 * long list: it decodes each character twice to find its width, and pads with a call a blank.
 *
 * SPDX-License-Identifier: MIT
 *
 * tests/cli/verbs.py compares what both draw. */
#include "table_plain.h"

#include <stdio.h>
#include <string.h>

bool plain_is(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~' || (text[i] == '\\' && text[i + 1] == 'x'))
            return false;
    return true;
}

static void blanks(size_t count)
{
    static const char some[] = "                                                                ";
    for (size_t part; count; count -= part) {
        part = count < sizeof some - 1 ? count : sizeof some - 1;
        fwrite_unlocked(some, 1, part, stdout);
    }
}

static void draw_cell(const struct plain_column *column, const char *text, bool last)
{
    size_t length = strlen(text), width = strlen(column->heading);
    if (width < column->width)
        width = column->width;
    if (column->right && (length || !last))
        blanks(width - length);
    fwrite_unlocked(text, 1, length, stdout);
    if (!last)
        blanks((column->right ? 0 : width - length) + 1);
}

void plain_draw(const struct plain_column *columns, size_t count, size_t rows, bool headings,
                const char *(*cell)(const void *table, size_t row, size_t column), const void *table)
{
    for (size_t i = 0; i < count && headings && rows; i++)
        draw_cell(&columns[i], columns[i].heading, i + 1 == count);
    if (headings && rows)
        putc_unlocked('\n', stdout);
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < count; i++)
            draw_cell(&columns[i], cell(table, row, i), i + 1 == count);
        putc_unlocked('\n', stdout);
    }
}
