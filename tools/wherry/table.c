/* table.c - owns lists: which columns, what is in the cells; libsmartcols draws them, or table_plain.c.
 *
 * SPDX-License-Identifier: MIT */
#include "table.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "json.h"
#include "table_plain.h"

enum { TABLE_COLUMNS_MAX = 64, NARROW = 160 /* characters of a terminal below which cells are folded */ };

struct table {
    struct libscols_table *cols;
    const struct column *columns;
    int schema;
    struct json_object *more; /* of JSON: members besides the list */
    bool json, bytes, headings;
    bool folds;
    bool plain; /* for a pipe or a file, and no cell needs more */
    size_t used;
    size_t order[TABLE_COLUMNS_MAX]; /* which columns, from left to right */
    struct plain_column drawn[TABLE_COLUMNS_MAX];
    size_t *cells; /* row by row: where its text begins; EMPTY */
    size_t count, room;
    char *text; /* of all cells, each with its NUL */
    size_t text_used, text_room;
};

static const size_t EMPTY = SIZE_MAX;

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
        bool again = false; /* in JSON its key would be there twice */
        for (size_t at = 0; at < table->used && table->json; at++)
            again |= table->order[at] == i;
        if (!again)
            table->order[table->used++] = i;
        names += length;
        if (strcmp(names, ",") == 0)
            return misuse(verb, "-o ends with a comma: the name of a column is missing");
        names += *names == ',';
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
    if (names && strcmp(names, "+") == 0)
        return misuse(verb, "-o + needs the name of a column");
    return names ? choose_named(verb, table, columns, count, names + (*names == '+')) : 0;
}

static bool is_number(const struct column *column)
{
    return column->kind == COLUMN_NUMBER || column->kind == COLUMN_BYTES;
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
    int flags = (is_number(column) ? SCOLS_FL_RIGHT : 0) | (column->fold || is_list ? SCOLS_FL_WRAP : 0);
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
    *table = (struct table){.columns = columns,
                            .schema = schema,
                            .json = style->json,
                            .bytes = style->bytes,
                            .headings = !style->no_headings,
                            .plain = !style->json && !style->raw && !isatty(STDOUT_FILENO)};
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
        for (size_t i = 0; i < table->used && code == 0; i++) {
            const struct column *column = &columns[table->order[i]];
            table->drawn[i] = (struct plain_column){.heading = column->name, .right = is_number(column)};
            if (add_column(table, column) < 0)
                code = complain(TOOL_FAILED, "no memory");
        }
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
static const char *in_units(const char *bytes, char *text, size_t room)
{
    static const char units[] = "BKMGTPE";
    double size = strtod(bytes, NULL);
    size_t unit = 0;
    for (; size >= 1024 && units[unit + 1]; unit++)
        size /= 1024;
    snprintf(text, room, "%.*f%c", size - (double)(uint64_t)size > 0 ? 1 : 0, size, units[unit]);
    return text;
}

/* The items of a list stand beside each other. */
static void in_a_row(char *items)
{
    for (; (items = strchr(items, '\n')); items++)
        *items = ' ';
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

/* Room for `more` beyond the `used` ones of `size` bytes; false without memory. */
static bool grow(void **list, size_t size, size_t used, size_t more, size_t *room)
{
    if (used + more <= *room)
        return true;
    size_t wanted = 2 * *room + more + 1024;
    void *grown = reallocarray(*list, wanted, size);
    if (!grown)
        return false;
    *list = grown;
    *room = wanted;
    return true;
}

/* A copy among the table's texts, for the next cell. */
static char *keep(struct table *table, const char *text)
{
    size_t length = strlen(text);
    void *list = table->text;
    if (!grow(&list, 1, table->text_used, length + 1, &table->text_room))
        return NULL;
    table->text = list;
    table->cells[table->count++] = table->text_used;
    char *kept = memcpy(table->text + table->text_used, text, length + 1);
    table->text_used += length + 1;
    return kept;
}

static int add_cell(struct table *table, size_t at, const char *text)
{
    const struct column *column = &table->columns[table->order[at]];
    char units[64], *kept;
    if (!text) {
        table->cells[table->count++] = EMPTY;
        return 0;
    }
    if (table->json) { /* names that are no text are made text */
        struct json_object *name = json_name(text);
        kept = name ? keep(table, json_object_get_string(name)) : NULL;
        json_object_put(name);
        return kept ? 0 : -ENOMEM;
    }
    if (column->kind == COLUMN_BYTES && !table->bytes)
        text = in_units(text, units, sizeof units);
    if (!(kept = keep(table, text)))
        return -ENOMEM;
    if (column->kind == COLUMN_TEXTS || column->kind == COLUMN_NUMBERS)
        in_a_row(kept);
    if (table->folds && column->fold > 0)
        fold(kept, column->fold);
    size_t length = table->text_used - 1 - (size_t)(kept - table->text);
    if (length > table->drawn[at].width)
        table->drawn[at].width = length;
    table->plain = table->plain && plain_is(kept, length);
    return 0;
}

int table_row(struct table *table, const char *const *cells)
{
    void *list = table->cells;
    int result = grow(&list, sizeof *table->cells, table->count, table->used, &table->room) ? 0 : -ENOMEM;
    table->cells = list;
    for (size_t i = 0; i < table->used && result == 0; i++)
        result = add_cell(table, i, cells[table->order[i]]);
    return result;
}

/* ---- drawing ---- */

static const char *cell(const void *given, size_t row, size_t column)
{
    const struct table *table = given;
    size_t at = table->cells[row * table->used + column];
    return at == EMPTY ? NULL : table->text + at;
}

static const char *plain_cell(const void *given, size_t row, size_t column)
{
    const char *text = cell(given, row, column);
    return text ? text : "";
}

static int fill(struct table *table)
{
    for (size_t row = 0; row < table->count / table->used; row++) {
        struct libscols_line *line = scols_table_new_line(table->cols, NULL);
        for (size_t i = 0; i < table->used; i++)
            if (!line || scols_line_set_data(line, i, cell(table, row, i)) < 0)
                return -ENOMEM;
    }
    return 0;
}

/* libsmartcols prints an empty list as one of a null.  No text has a newline in it, so this is never one's inside. */
static void empty_lists(char *drawn)
{
    char *to = drawn;
    while (*drawn) {
        size_t blanks = drawn[0] == '[' && drawn[1] == '\n' ? strspn(drawn + 2, " ") : 0;
        const char *after = drawn + 2 + blanks + strlen("null\n");
        if (blanks && strncmp(drawn + 2 + blanks, "null\n", 5) == 0 && after[strspn(after, " ")] == ']') {
            *to++ = '[';
            drawn = (char *)after + strspn(after, " ");
        }
        *to++ = *drawn++;
    }
    *to = 0;
}

int table_add(struct table *table, const char *key, struct json_object *value)
{
    if (!table->more)
        table->more = json_object_new_object();
    if (table->more && json_add(table->more, key, value))
        return 0;
    return -ENOMEM;
}

/* libsmartcols prints {"name": [...]} and nothing for an empty table; the schema goes in front. */
static void print_json(struct table *table, const char *drawn)
{
    const char *inside = strchr(drawn, '{');
    printf("{\n   \"schema\": %d,", table->schema);
    if (table->more) {
        json_object_object_foreach(table->more, key, value)
            printf("\n   \"%s\": %s,", key,
                   json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    if (inside)
        printf("%s", inside + 1);
    else
        printf("\n   \"%s\": []\n}\n", scols_table_get_name(table->cols));
}

static int draw(struct table *table)
{
    char *drawn = NULL;
    if (table->plain) {
        plain_draw(table->drawn, table->used, table->count / table->used, table->headings, plain_cell, table);
        return TOOL_OK;
    }
    if (fill(table) < 0)
        return complain(TOOL_FAILED, "no memory");
    if (!table->json)
        return scols_print_table(table->cols) == 0 ? TOOL_OK : complain(TOOL_FAILED, "the table cannot be printed");
    if (scols_print_table_to_string(table->cols, &drawn) != 0)
        return complain(TOOL_FAILED, "the table cannot be printed");
    if (drawn)
        empty_lists(drawn);
    print_json(table, drawn ? drawn : "");
    free(drawn);
    return TOOL_OK;
}

int table_finish(struct table *table)
{
    __fsetlocking(stdout, FSETLOCKING_BYCALLER); /* blanks are printed one by one, and by this thread alone */
    int code = draw(table);
    scols_unref_table(table->cols);
    json_object_put(table->more);
    free(table->cells);
    free(table->text);
    free(table);
    return finish_printing(code);
}
