/* run_file.c - owns the file of `wherry run`: which lines are units, which are options, and where a mistake is.
 *
 * SPDX-License-Identifier: MIT
 *
 *   # a comment
 *   name: command
 *       option words
 *
 * Any plain Procfile is one of these. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

enum { MOST_FILE = 1 << 20 };

/* ---- memory of the plan ---- */

struct run_block {
    struct run_block *next;
    max_align_t data[];
};

void *plan_memory(struct run_plan *plan, size_t size)
{
    struct run_block *block = calloc(1, sizeof *block + size);
    if (!block) {
        complain(TOOL_FAILED, "run: no memory");
        return NULL;
    }
    block->next = plan->blocks;
    plan->blocks = block;
    return block->data;
}

const char *plan_text(struct run_plan *plan, const char *text, size_t size)
{
    char *copy = plan_memory(plan, size + 1);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

bool plan_append(struct run_plan *plan, struct run_list *list, const char *item)
{
    const char **items = item ? plan_memory(plan, (list->count + 2) * sizeof *items) : NULL;
    if (!items)
        return false;
    if (list->count > 0)
        memcpy(items, list->items, list->count * sizeof *items);
    items[list->count++] = item;
    list->items = items;
    return true;
}

void plan_free(struct run_plan *plan)
{
    while (plan->blocks) {
        struct run_block *block = plan->blocks;
        plan->blocks = block->next;
        free(block);
    }
    free(plan->units);
    *plan = (struct run_plan){0};
}

/* ---- mistakes ---- */

int run_mistake(const struct run_spot *spot, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (spot->line == 0)
        return complain(TOOL_USAGE, "run: %s: %s", spot->file, text);
    return complain(TOOL_USAGE, "run: %s:%zu:%zu: %s", spot->file, spot->line, spot->column, text);
}

/* ---- units ---- */

enum { LONGEST_NAME = 63 };

static bool is_name_letter(char letter, bool first)
{
    return isalnum((unsigned char)letter) || letter == '_' || (!first && (letter == '-' || letter == '.'));
}

static size_t name_length(const char *text)
{
    size_t size = 0;
    while (is_name_letter(text[size], size == 0))
        size++;
    return size;
}

struct run_unit *plan_find(const struct run_plan *plan, const char *name, size_t size)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strlen(plan->units[i]->name) == size && memcmp(plan->units[i]->name, name, size) == 0)
            return plan->units[i];
    return NULL;
}

static int add_unit(struct run_plan *plan, const struct run_spot *spot, const char *name, size_t size,
                    const char *command)
{
    const struct run_unit *twice = plan_find(plan, name, size);
    if (size > LONGEST_NAME)
        return run_mistake(spot, "the name of a unit has at most %d characters, and this one %zu", LONGEST_NAME, size);
    if (twice && twice->line)
        return run_mistake(spot, "there is a unit %s already, in line %zu: give it another name", twice->name,
                           twice->line);
    if (twice)
        return run_mistake(spot, "there is a unit %s already: give it another name", twice->name);
    struct run_unit **units = realloc(plan->units, (plan->count + 1) * sizeof *units);
    if (!units)
        return complain(TOOL_FAILED, "run: no memory");
    plan->units = units;
    struct run_unit *unit = plan_memory(plan, sizeof *unit);
    const char *kept = plan_text(plan, name, size), *script = shell_with_exec(plan, command);
    if (!unit || !kept || !script)
        return TOOL_FAILED;
    *unit = (struct run_unit){
        .name = kept,
        .line = spot->line,
        .arguments = {"/bin/sh", "-c", script, NULL},
        .options = WHERRY_UNIT_OPTIONS,
        .process = WHERRY_PROCESS_OPTIONS,
    };
    plan->units[plan->count++] = unit;
    return 0;
}

int plan_read_operand(struct run_plan *plan, const struct verb *verb, const char *operand)
{
    size_t size = name_length(operand);
    struct run_spot spot = {.file = operand};
    if (size == 0 || operand[size] != '=')
        return misuse(verb, "%s: write NAME=CMD, or -- before a command that is to run alone", operand);
    const char *command = operand + size + 1;
    if (command[strspn(command, " \t")] == '\0')
        return misuse(verb, "%s: behind the = belongs a command", operand);
    return add_unit(plan, &spot, operand, size, command);
}

/* ---- lines ---- */

static int read_unit_line(struct run_plan *plan, struct run_spot *spot, const char *text)
{
    size_t size = name_length(text);
    if (size > 0 && text[size] != ':' && unit_has_option(text, size))
        return run_mistake(spot, "an option stands below its unit, with blanks before it: \"    %s\"", text);
    if (size == 0 || text[size] != ':') {
        spot->column = size + 1;
        return run_mistake(spot, "a unit begins with its name, of letters, digits, and . _ - behind the first, and a "
                                 "colon: \"web: ./server\"");
    }
    const char *command = text + size + 1;
    command += strspn(command, " \t");
    if (*command == '\0') {
        spot->column = size + 2;
        return run_mistake(spot, "behind \"%.*s:\" belongs a command", (int)size, text);
    }
    return add_unit(plan, spot, text, size, command);
}

static int read_line(struct run_plan *plan, const char *file, size_t number, size_t first, const char *text)
{
    size_t blanks = strspn(text, " \t");
    struct run_spot spot = {.file = file, .line = number, .column = blanks + 1};
    if (text[blanks] == '\0' || text[blanks] == '#')
        return 0;
    if (blanks == 0)
        return read_unit_line(plan, &spot, text);
    if (plan->count == first)
        return run_mistake(&spot,
                           "an option belongs to the unit above it, and there is none: begin with \"web: ./server\"");
    return unit_take_option(plan, plan->units[plan->count - 1], file, number, text);
}

/* What some editors put before the first line of UTF-8: nothing that anybody sees. */
static size_t byte_order_mark(const char *data, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf";
    return size >= 3 && memcmp(data, mark, 3) == 0 ? 3 : 0;
}

/* Cut into lines in place; a file from elsewhere may have \r before each \n. */
static int read_lines(struct run_plan *plan, const char *file, char *data, size_t size)
{
    size_t number = 1, first = plan->count;
    int code = 0;
    for (char *line = data + byte_order_mark(data, size); code == 0 && line < data + size; number++) {
        char *end = memchr(line, '\n', (size_t)(data + size - line));
        char *next = end ? end + 1 : data + size;
        if (!end)
            end = data + size;
        if (memchr(line, '\0', (size_t)(end - line)))
            return run_mistake(&(struct run_spot){file, number, strlen(line) + 1}, "a byte of 0 is no text");
        if (end > line && end[-1] == '\r')
            end--; /* blanks before it stay: they are a value's, or a path's */
        *end = '\0';
        code = read_line(plan, file, number, first, line);
        line = next;
    }
    if (code == 0 && plan->count == first)
        return run_mistake(&(struct run_spot){file, 0, 0}, "there is no unit in it: write \"web: ./server\"");
    return code;
}

/* What is relative in it is so from where it is, whoever runs it. */
static int enter_directory_of(const char *file)
{
    char path[RUN_PATH];
    const char *slash = strrchr(file, '/');
    if (!slash)
        return 0;
    int size = snprintf(path, sizeof path, "%.*s", (int)(slash - file) + 1, file);
    if (size < (int)sizeof path && chdir(path) == 0)
        return 0;
    return complain(TOOL_FAILED, "run: %.*s: %s", (int)(slash - file) + 1, file,
                    strerror(size < (int)sizeof path ? errno : ENAMETOOLONG));
}

int plan_read_file(struct run_plan *plan, const char *file)
{
    bool standard = strcmp(file, "-") == 0;
    FILE *stream = standard ? stdin : fopen(file, "re");
    if (!stream)
        return complain(TOOL_FAILED, "run: %s: %s", file, strerror(errno));
    char *data = plan_memory(plan, MOST_FILE + 2);
    size_t size = data ? fread(data, 1, MOST_FILE + 1, stream) : 0;
    int code = ferror(stream) ? errno : 0;
    if (!standard)
        fclose(stream);
    if (!data)
        return TOOL_FAILED;
    if (code)
        return complain(TOOL_FAILED, "run: %s: %s", file, strerror(code));
    if (!standard && (code = enter_directory_of(file)) != 0)
        return code;
    if (size > MOST_FILE)
        return complain(TOOL_USAGE, "run: %s: it is larger than 1 MiB, which no list of units is", file);
    return read_lines(plan, standard ? "standard input" : file, data, size);
}
