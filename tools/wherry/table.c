/* table.c - owns lists, on libsmartcols.
 *
 * SPDX-License-Identifier: MIT */
#include "table.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { TABLE_COLUMNS_MAX = 64, NARROW = 160 /* characters of a terminal below which cells are folded */ };

struct table {
    struct libscols_table *cols;
    const struct column *columns;
    int schema;
    bool json, bytes;
    bool folds;
    size_t used;
    size_t order[TABLE_COLUMNS_MAX]; /* which columns, from left to right */
};

bool table_option(struct table_style *style, int option)
{
    switch (option) {
    case 'J':
        style->json = true;
        return true;
    case 'o':
        style->columns = optarg;
        return true;
    case 'n':
        style->no_headings = true;
        return true;
    case 'r':
        style->raw = true;
        return true;
    case 'b':
        style->bytes = true;
        return true;
    case OPTION_LIST_COLUMNS:
        style->list_columns = true;
        return true;
    default:
        return false;
    }
}

static int choose_named(const struct verb *verb, struct table *table, const struct column *columns, size_t count,
                        const char *names)
{
    while (*names) {
        size_t length = strcspn(names, ","), i = 0;
        while (i < count && (strlen(columns[i].name) != length || strncasecmp(columns[i].name, names, length) != 0))
            i++;
        if (i == count)
            return misuse(verb, "there is no column \"%.*s\": --list-columns has them", (int)length, names);
        if (table->used == TABLE_COLUMNS_MAX)
            return misuse(verb, "more than %d columns", TABLE_COLUMNS_MAX);
        table->order[table->used++] = i;
        names += length + (names[length] == ',');
    }
    return table->used > 0 ? 0 : misuse(verb, "-o needs the name of a column");
}

static int choose(const struct verb *verb, struct table *table, const struct column *columns, size_t count,
                  const struct table_style *style)
{
    const char *names = style->columns;
    if (!names || *names == '+')
        for (size_t i = 0; i < count; i++)
            if (columns[i].shown)
                table->order[table->used++] = i;
    return names ? choose_named(verb, table, columns, count, names + (*names == '+')) : 0;
}

/* In JSON, names are lower case, as jq likes them. */
static int add_column(struct table *table, const struct column *column)
{
    static const int json_types[] = {
        [COLUMN_TEXT] = SCOLS_JSON_STRING,          [COLUMN_NUMBER] = SCOLS_JSON_NUMBER,
        [COLUMN_BYTES] = SCOLS_JSON_NUMBER,         [COLUMN_TEXTS] = SCOLS_JSON_ARRAY_STRING,
        [COLUMN_NUMBERS] = SCOLS_JSON_ARRAY_NUMBER,
    };
    bool is_list = column->kind == COLUMN_TEXTS || column->kind == COLUMN_NUMBERS;
    bool is_number = column->kind == COLUMN_NUMBER || column->kind == COLUMN_BYTES;
    int flags = (is_number ? SCOLS_FL_RIGHT : 0) | (column->fold || is_list ? SCOLS_FL_WRAP : 0);
    struct libscols_column *made = scols_table_new_column(table->cols, column->name, 0, flags);
    if (!made)
        return -ENOMEM;
    scols_column_set_json_type(made, json_types[column->kind]);
    if ((is_list && table->json) || (column->fold && table->folds)) {
        scols_column_set_safechars(made, "\n");
        scols_column_set_wrapfunc(made, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
    }
    return 0;
}

static int list_columns(const struct column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%-12s %s\n", columns[i].name, columns[i].help);
    return finish_printing(TOOL_OK);
}

int table_new(const struct verb *verb, const char *name, int schema, const struct column *columns, size_t count,
              const struct table_style *style, struct table **ret_table)
{
    *ret_table = NULL;
    if (style->list_columns)
        return list_columns(columns, count);
    struct table *table = calloc(1, sizeof *table);
    if (!table)
        return complain(TOOL_FAILED, "no memory");
    *table = (struct table){.columns = columns, .schema = schema, .json = style->json, .bytes = style->bytes};
    int code = choose(verb, table, columns, count, style);
    scols_init_debug(0);
    if (code == 0 && !(table->cols = scols_new_table()))
        code = complain(TOOL_FAILED, "no memory");
    if (code == 0) {
        scols_table_set_name(table->cols, name);
        scols_table_enable_json(table->cols, style->json);
        scols_table_enable_noheadings(table->cols, style->no_headings);
        scols_table_enable_raw(table->cols, style->raw && !style->json);
        table->folds =
            !style->json && !style->raw && isatty(STDOUT_FILENO) && scols_table_get_termwidth(table->cols) < NARROW;
        for (size_t i = 0; i < table->used && code == 0; i++)
            if (add_column(table, &columns[table->order[i]]) < 0)
                code = complain(TOOL_FAILED, "no memory");
    }
    if (code != 0) {
        scols_unref_table(table->cols);
        free(table);
        return code;
    }
    *ret_table = table;
    return 0;
}

/* "65536" to "64K"; what is no whole number of them has one decimal. */
static char *in_units(const char *bytes)
{
    static const char units[] = "BKMGTPE";
    double size = strtod(bytes, NULL);
    size_t unit = 0;
    char *text;
    for (; size >= 1024 && units[unit + 1]; unit++)
        size /= 1024;
    return asprintf(&text, "%.*f%c", size - (double)(uint64_t)size > 0 ? 1 : 0, size, units[unit]) < 0 ? NULL : text;
}

/* The items of a list stand beside each other. */
static char *in_a_row(const char *items)
{
    char *text = strdup(items);
    for (char *at = text; at && *at; at++)
        if (*at == '\n')
            *at = ' ';
    return text;
}

/* Break at blanks.  libsmartcols would break anywhere. */
static void fold(char *text, size_t width)
{
    char *begin = text, *blank = NULL;
    for (char *at = text; *at; at++) {
        if (blank && (size_t)(at - begin) >= width) {
            *blank = '\n';
            begin = blank + 1;
            blank = NULL;
        }
        if (*at == ' ')
            blank = at;
    }
}

static int set_cell(struct table *table, struct libscols_line *line, size_t at, const char *text)
{
    const struct column *column = &table->columns[table->order[at]];
    if (!text || table->json)
        return scols_line_set_data(line, at, text);
    char *shown;
    if (column->kind == COLUMN_TEXTS || column->kind == COLUMN_NUMBERS)
        shown = in_a_row(text);
    else
        shown = column->kind == COLUMN_BYTES && !table->bytes ? in_units(text) : strdup(text);
    if (shown && table->folds && column->fold > 0)
        fold(shown, column->fold);
    return shown ? scols_line_refer_data(line, at, shown) : -ENOMEM;
}

int table_row(struct table *table, const char *const *cells)
{
    struct libscols_line *line = scols_table_new_line(table->cols, NULL);
    int result = line ? 0 : -ENOMEM;
    for (size_t i = 0; i < table->used && result == 0; i++)
        result = set_cell(table, line, i, cells[table->order[i]]);
    return result;
}

/* libsmartcols prints {"name": [...]} and nothing for an empty table; the schema goes in front. */
static void print_json(struct table *table, const char *drawn)
{
    const char *inside = strchr(drawn, '{');
    printf("{\n   \"schema\": %d,", table->schema);
    if (inside)
        printf("%s", inside + 1);
    else
        printf("\n   \"%s\": []\n}\n", scols_table_get_name(table->cols));
}

int table_finish(struct table *table)
{
    char *drawn = NULL;
    int code = TOOL_OK;
    if (!table->json)
        code = scols_print_table(table->cols) == 0 ? TOOL_OK : complain(TOOL_FAILED, "the table cannot be printed");
    else if (scols_print_table_to_string(table->cols, &drawn) == 0)
        print_json(table, drawn ? drawn : "");
    else
        code = complain(TOOL_FAILED, "the table cannot be printed");
    free(drawn);
    scols_unref_table(table->cols);
    free(table);
    return finish_printing(code);
}
