/* complete_options.c - owns the reading of help texts: which options a verb has, and what each takes.
 *
 * SPDX-License-Identifier: MIT
 *
 * A line of an option begins with two or six blanks:
 *
 *   "  -w, --timeout DUR  give up after DUR"      "      --pid PID      those that this process holds"
 *   "      --color[=WHEN] auto, always or never"  "  -l, --list [SIG...]"
 *
 * The word in capitals is its argument; what stands in brackets without "=" are operands. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "complete.h"
#include "options.h"

static bool is_argument(char letter)
{
    return isupper((unsigned char)letter) || letter == ':';
}

/* Copy the letters at the front of `from` that belong, cut off where there is no room; the first that does not. */
static const char *take(char *to, size_t room, const char *from, bool (*belongs)(char letter))
{
    size_t size = 0;
    for (; belongs(*from); from++)
        if (size + 1 < room)
            to[size++] = *from;
    to[size] = '\0';
    return from;
}

static bool is_name(char letter)
{
    return islower((unsigned char)letter) || isdigit((unsigned char)letter) || letter == '-';
}

static bool is_in_line(char letter)
{
    return letter != '\n' && letter != '\0';
}

/* False: this line is of something else. */
static bool read_line(const char *line, struct known_option *option)
{
    *option = (struct known_option){.letter = 0};
    if (strncmp(line, "      --", 8) == 0) {
        line += 6;
    } else if (strncmp(line, "  -", 3) == 0 && isalnum((unsigned char)line[3]) && strncmp(line + 4, ", --", 4) == 0) {
        option->letter = line[3];
        line += 6;
    } else {
        return false;
    }
    line = take(option->name, sizeof option->name, line + 2, is_name);
    option->optional = strncmp(line, "[=", 2) == 0;
    if (option->optional || (line[0] == ' ' && isupper((unsigned char)line[1])))
        line = take(option->argument, sizeof option->argument, line + (option->optional ? 2 : 1), is_argument);
    line += strspn(line, "] ");
    take(option->what, sizeof option->what, line, is_in_line);
    return option->name[0] != '\0';
}

bool next_option(const char **text, struct known_option *ret_option)
{
    bool found = false;
    while (!found && **text) {
        found = read_line(*text, ret_option);
        *text += strcspn(*text, "\n");
        *text += **text == '\n';
    }
    return found;
}

bool find_option(const struct verb *verb, char letter, const char *name, size_t size, struct known_option *ret_option)
{
    bool found = false;
    const char *const texts[] = {verb->help, common_help};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = texts[i];
        for (struct known_option option; next_option(&text, &option);) {
            bool exact = name ? strlen(option.name) == size && strncmp(option.name, name, size) == 0
                              : letter && option.letter == letter;
            if (exact || (name && !found && strncmp(option.name, name, size) == 0)) {
                *ret_option = option;
                found = true;
            }
            if (exact)
                return true;
        }
    }
    return found;
}
