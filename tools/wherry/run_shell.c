/* run_shell.c - owns which commands get `exec` before them.
 *
 * SPDX-License-Identifier: MIT
 *
 * A command goes to sh, which would wait for the program: a signal to the unit's first process would end the shell, not
 * the program.  With exec the shell becomes the program.  That is right for a simple command alone; where there is any
 * doubt the command stays as it is, and its group gets the stop signal as a whole anyway. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "run.h"

/* What is no program, or more than one. */
static const char *const words_of_the_shell[] = {
    "!",        ".",      ":",       "[[",       "alias",   "bg",     "break", "case",  "cd",    "command",
    "continue", "do",     "done",    "elif",     "else",    "esac",   "eval",  "exec",  "exit",  "export",
    "fg",       "fi",     "for",     "function", "getopts", "hash",   "if",    "jobs",  "local", "read",
    "readonly", "return", "select",  "set",      "shift",   "source", "then",  "times", "trap",  "type",
    "ulimit",   "umask",  "unalias", "unset",    "until",   "wait",   "while", "{",     "}",
};

static bool is_word_of_the_shell(const char *word, size_t size)
{
    for (size_t i = 0; i < sizeof words_of_the_shell / sizeof *words_of_the_shell; i++)
        if (strlen(words_of_the_shell[i]) == size && memcmp(words_of_the_shell[i], word, size) == 0)
            return true;
    return false;
}

/* Where the quoted or escaped piece at `text` ends; one further for anything else.  NULL: it does not end. */
static const char *skip_piece(const char *text)
{
    if (*text == '\\')
        return text[1] ? text + 2 : NULL;
    if (*text == '\'') {
        const char *end = strchr(text + 1, '\'');
        return end ? end + 1 : NULL;
    }
    if (*text != '"')
        return text + 1;
    for (text++; *text && *text != '"'; text++)
        if (*text == '\\' && text[1])
            text++;
    return *text ? text + 1 : NULL;
}

/* Whether it is one program with its arguments: nothing outside quotes that joins, groups or substitutes commands, save
 * the & of 2>&1. */
static bool is_simple(const char *command)
{
    char before = ' ';
    for (const char *at = command, *next; *at; at = next) {
        if (strchr(";|()`\n", *at) || (*at == '&' && before != '>' && before != '<'))
            return false;
        if (*at == '#' && isspace((unsigned char)before))
            return false; /* a comment: it may hold anything */
        before = *at;
        if (!(next = skip_piece(at)))
            return false;
    }
    return true;
}

static const char *end_of_word(const char *text)
{
    while (*text && !isspace((unsigned char)*text) && !strchr("<>", *text))
        text = skip_piece(text);
    return text;
}

/* "NAME=": a variable for the program. */
static bool is_assignment(const char *word, size_t size)
{
    size_t i = 0;
    while (i < size &&
           (isalpha((unsigned char)word[i]) || word[i] == '_' || (i > 0 && isdigit((unsigned char)word[i]))))
        i++;
    return i > 0 && i < size && word[i] == '=';
}

const char *shell_with_exec(struct run_plan *plan, const char *command)
{
    const char *word = command + strspn(command, " \t"), *end;
    if (!is_simple(command))
        return plan_text(plan, command, strlen(command));
    while (is_assignment(word, (size_t)((end = end_of_word(word)) - word)))
        word = end + strspn(end, " \t");
    if (*word == '\0' || is_word_of_the_shell(word, (size_t)(end - word)))
        return plan_text(plan, command, strlen(command));
    size_t before = (size_t)(word - command), size = strlen(command) + strlen("exec ") + 1;
    char *text = plan_memory(plan, size);
    if (text)
        snprintf(text, size, "%.*sexec %s", (int)before, command, word);
    return text;
}
