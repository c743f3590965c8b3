/* table.h - lists: columns as data, drawn as a table or as JSON by libsmartcols.
 *
 * SPDX-License-Identifier: MIT
 *
 * JSON: {"schema": N, "<name>": [{"<column>": ...}]}.  The key is there when the list is empty; what table_add() was
 * given stands before it. */
#ifndef WHERRY_TOOL_TABLE_H
#define WHERRY_TOOL_TABLE_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "options.h"

enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_BYTES, COLUMN_TEXTS, COLUMN_NUMBERS };

struct column {
    const char *name;
    const char *help;
    enum column_kind kind; /* cells are texts: numbers in decimal, the items of lists with newlines between them */
    bool shown;            /* when -o names no columns */
    size_t fold;           /* on a narrow terminal, lines of about so many characters; 0: never broken */
};

struct table_style {
    const char *columns; /* of -o: "A,B", or "+C" beyond those shown by default; NULL */
    bool json, no_headings, raw, bytes, list_columns;
};

/* The options of lists; table_option() takes what options_next() returned and says whether it was one of them. */
enum { OPTION_LIST_COLUMNS = OPTION_FIRST + 500 };
#define TABLE_SHORT "Jo:nrb"
#define TABLE_LONG                                                                                                     \
    LONG("json", no_argument, 'J'), LONG("output", required_argument, 'o'),                                            \
        LONG("list-columns", no_argument, OPTION_LIST_COLUMNS), LONG("noheadings", no_argument, 'n'),                  \
        LONG("raw", no_argument, 'r'), LONG("bytes", no_argument, 'b')
bool table_option(struct table_style *style, int option);

/* What of them --help says. */
#define TABLE_HELP                                                                                                     \
    "  -J, --json         as JSON\n"                                                                                   \
    "  -o, --output COLS  these columns: A,B or +C for more than the usual ones\n"                                     \
    "      --list-columns print the columns there are, and what they hold\n"                                           \
    "  -n, --noheadings   no line of names\n"                                                                          \
    "  -r, --raw          columns separated by one blank, odd bytes as \\xNN\n"                                        \
    "  -b, --bytes        sizes in bytes, not in K, M and G\n"

struct json_object;
struct table;

/* Begin a table called `name`.  0, or the exit code with the mistake said. */
int table_new(const struct verb *verb, const char *name, int schema, const struct column *columns, size_t count,
              const struct table_style *style, struct table **ret_table);

/* One more row: `cells` has one text for each of the columns; NULL is an empty cell, null in JSON.  0 or -errno. */
int table_row(struct table *table, const char *const *cells);

/* In JSON one more member besides the list: takes `value` over.  0 or -errno. */
int table_add(struct table *table, const char *key, struct json_object *value);

/* Print and free it; the exit code. */
int table_finish(struct table *table);

#endif
