/* cmd_complete.c - `wherry complete [WORD...] LAST`: what can stand in the place of the last word.
 *
 * SPDX-License-Identifier: MIT
 *
 * The completions of bash and zsh call it with the words behind "wherry", quotes taken off, up to the cursor.  It
 * prints a line for each word that it offers: the word, a tab, and what it is; a newline, a tab and a backslash of the
 * word are written \n, \t and \\, so that no name is too odd.  (A NUL between them bash reads from a process of its own
 * alone, and that changes "$!" for who types.)  An empty word has the shell complete, by "files" or "command N"
 * (offer_shell()).  It is silent on standard error and exits with 0 whatever is wrong: who types a command is not to be
 * disturbed.  No verb of --help, as nobody types it; the lines may change with any release. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "complete.h"
#include "options.h"
#include "text.h"
#include "verbs.h"

/* ---- offering ---- */

const char *offered_for(const struct completion *at)
{
    return at->word + at->kept;
}

static void print_part(const char *text, size_t size)
{
    static const char plain[] = "\n\t\\", written[] = "nt\\";
    for (size_t i = 0; i < size; i++) {
        const char *found = strchr(plain, text[i]);
        if (found)
            putchar('\\');
        putchar(found ? written[found - plain] : text[i]);
    }
}

void offer(struct completion *at, const char *text, const char *what)
{
    const char *begun = offered_for(at);
    if (strncmp(text, begun, strlen(begun)) != 0)
        return;
    char shown[128];
    escape_text(what, shown, sizeof shown);
    print_part(at->word, at->kept);
    print_part(text, strlen(text));
    putchar('\t');
    print_part(shown, strlen(shown));
    putchar('\n');
    at->any = true;
}

void offer_shell(const char *what)
{
    printf("\t%s\n", what);
}

static void offer_words(struct completion *at, const char *words)
{
    char word[32];
    for (size_t size; words += strspn(words, " |"), (size = strcspn(words, " |")) > 0; words += size) {
        snprintf(word, sizeof word, "%.*s", (int)size, words);
        offer(at, word, "");
    }
}

/* Of a list, what stands behind the last separator is completed. */
static void keep_list(struct completion *at, const char *separators)
{
    for (const char *letter = offered_for(at); *letter; letter++)
        if (strchr(separators, *letter))
            at->kept = (size_t)(letter + 1 - at->word);
}

/* ---- options ---- */

/* Words for the arguments of options that take one of a few; tests/cli/complete.py looks for them in the help. */
static const struct {
    const char *argument, *words;
} choices[] = {
    {"WHEN", "auto always never"},
    {"KIND", "ofd posix flock"},
    {"PLACE", "beginning end saved"},
    {"KEY", "activity messages bytes depth queued name type"},
};

static void offer_argument(struct completion *at, const struct known_option *option)
{
    const char *argument = option->argument;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (strcmp(argument, choices[i].argument) == 0)
            offer_words(at, choices[i].words);
    if (strcmp(argument, "PID") == 0)
        offer_pids(at);
    if (strcmp(argument, "USER") == 0)
        offer_users(at);
    if (strcmp(argument, "SIG") == 0)
        offer_signals(at);
    if (strcmp(argument, "DUR:SIG") == 0 && strchr(offered_for(at), ':')) {
        keep_list(at, ":");
        offer_signals(at);
    }
    if (strcmp(argument, "SIGNALS") == 0) {
        keep_list(at, ",");
        offer_signals(at);
    }
    if (strcmp(argument, "COLS") == 0) {
        keep_list(at, "+,");
        offer_columns(at);
    }
    if (strcmp(argument, "FILE") == 0)
        offer_shell("files");
}

static void offer_options(struct completion *at)
{
    const char *const texts[] = {at->verb->help, common_help};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = texts[i];
        for (struct known_option option; next_option(&text, &option);) {
            char word[32];
            snprintf(word, sizeof word, "-%c", option.letter);
            if (option.letter)
                offer(at, word, option.what);
            snprintf(word, sizeof word, "--%s", option.name);
            offer(at, word, option.what);
        }
    }
}

/* ---- operands ---- */

/* What the words before the last have said. */
struct line {
    size_t operands;            /* how many there are */
    bool ended;                 /* by "--" */
    bool waits;                 /* an option waits for its argument */
    struct known_option option; /* that one */
    const char *file;           /* of -f */
    bool asks;                  /* of wherry run: about a run that there is */
    bool lists;                 /* of wherry kill: -l */
};

/* Word number `index` of "URL [FILE]", without brackets; of what can be repeated, the last. */
static size_t operand_name(const char *operands, size_t index, char *name, size_t room)
{
    size_t size = 0;
    name[0] = '\0';
    for (const char *next = operands; next += strspn(next, " ["), *next; next += size) {
        size = strcspn(next, " ");
        size_t bare = strcspn(next, " .");
        if (strncmp(next, "PID[", 4) == 0)
            bare = 3;
        while (bare > 0 && next[bare - 1] == ']')
            bare--;
        snprintf(name, room, "%.*s", (int)bare, next);
        if (index-- == 0)
            return strlen(name);
        if (size < 3 || !memchr(next, '.', size))
            name[0] = '\0'; /* it stands only once */
    }
    return strlen(name);
}

static void offer_process(struct completion *at)
{
    const char *word = offered_for(at), *colon = strchr(word, ':');
    if (colon && strcmp(at->verb->operands, "PID[:FD]") == 0) {
        size_t size = (size_t)(colon - word);
        at->kept += size + 1;
        offer_fds(at, word, size);
    } else {
        offer_pids(at);
    }
}

/* One of the words between the bars of "PATH|OBJECT|URL". */
static void offer_one(struct completion *at, const char *name, size_t size)
{
    static const struct {
        const char *name;
        void (*offer)(struct completion *at);
    } sources[] = {
        {"URL", offer_urls},        {"FROM", offer_urls},      {"TO", offer_urls},
        {"TYPE", offer_types},      {"OBJECT", offer_objects}, {"NAME", offer_objects},
        {"shm://NAME", offer_urls}, {"PID", offer_process},    {"SIGNAL", offer_signals},
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (strlen(sources[i].name) == size && strncmp(sources[i].name, name, size) == 0) {
            sources[i].offer(at);
            return;
        }
    if (name[0] >= 'a' && name[0] <= 'z') {
        char word[32];
        snprintf(word, sizeof word, "%.*s", (int)size, name);
        offer_words(at, word);
    }
}

static void offer_operand(struct completion *at, const struct line *line)
{
    const char *verb = at->verb->name;
    char name[64];
    if (strcmp(verb, "run") == 0) {
        if (line->asks)
            offer_units(at, line->file);
        return;
    }
    if (strcmp(verb, "pipe") == 0) {
        offer_links(at);
        return;
    }
    if (strcmp(verb, "kill") == 0 && line->lists) {
        offer_signals(at);
        return;
    }
    operand_name(at->verb->operands, line->operands, name, sizeof name);
    for (const char *next = name; *next; next += *next == '|') {
        size_t size = strcspn(next, "|");
        offer_one(at, next, size);
        next += size;
    }
    bool files = strstr(name, "FILE") || strstr(name, "PATH") || strcmp(name, "OBJECT") == 0;
    if (files && !at->any)
        offer_shell("files");
}

/* ---- the command line ---- */

static void read_long(const struct verb *verb, struct line *line, const char *word)
{
    size_t size = strcspn(word, "=");
    if (!find_option(verb, 0, word, size, &line->option))
        return;
    const char *name = line->option.name;
    static const char *const questions[] = {"status", "stop", "start", "restart", "reload"};
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        line->asks |= strcmp(name, questions[i]) == 0;
    line->lists |= strcmp(name, "list") == 0;
    line->waits = !word[size] && line->option.argument[0] && !line->option.optional;
    if (strcmp(name, "file") == 0 && word[size])
        line->file = word + size + 1;
}

static void read_letters(const struct verb *verb, struct line *line, const char *word)
{
    for (; *word; word++) {
        if (!find_option(verb, *word, NULL, 0, &line->option))
            return;
        line->lists |= *word == 'l';
        if (!line->option.argument[0])
            continue;
        line->waits = !word[1];
        if (*word == 'f' && word[1])
            line->file = word + 1;
        return;
    }
}

static void read_word(const struct verb *verb, struct line *line, const char *word)
{
    if (line->waits) {
        if (strcmp(line->option.name, "file") == 0)
            line->file = word;
        line->waits = false;
    } else if (line->ended || word[0] != '-' || !word[1]) {
        line->operands++;
    } else if (strcmp(word, "--") == 0) {
        line->ended = true;
    } else if (word[1] == '-') {
        read_long(verb, line, word + 2);
    } else {
        read_letters(verb, line, word + 1);
    }
}

static void complete_verb(struct completion *at, char **words, int count)
{
    struct line line = {.operands = 0};
    bool runs = strstr(at->verb->operands, "-- COMMAND");
    for (int i = 0; i < count; i++) {
        read_word(at->verb, &line, words[i]);
        if (line.ended && runs) {
            char where[32];
            snprintf(where, sizeof where, "command %d", i + 3); /* "wherry" and the verb stand before */
            offer_shell(where);
            return;
        }
    }
    const char *equals = strchr(at->word, '=');
    if (line.waits) {
        offer_argument(at, &line.option);
    } else if (line.ended || at->word[0] != '-') {
        offer_operand(at, &line);
    } else if (strncmp(at->word, "--", 2) == 0 && equals) {
        at->kept = (size_t)(equals + 1 - at->word);
        if (find_option(at->verb, 0, at->word + 2, at->kept - 3, &line.option))
            offer_argument(at, &line.option);
    } else {
        offer_options(at);
    }
}

static void offer_verbs(struct completion *at)
{
    for (const struct verb_group *group = verb_groups; group->title; group++)
        for (size_t i = 0; group->verbs[i]; i++)
            offer(at, group->verbs[i]->name, group->verbs[i]->summary);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    (void)verb;
    /* what the library or a reader of files might say goes nowhere, and nothing reads what the user types */
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0 || dup2(nowhere, STDIN_FILENO) < 0)
        return TOOL_OK;
    struct completion at = {.word = argc > 1 ? argv[argc - 1] : ""};
    if (argc < 3) {
        offer_verbs(&at);
        offer(&at, "help", "what a verb does");
        offer_words(&at, "--help --version");
    } else if (strcmp(argv[1], "help") == 0) {
        if (argc == 3)
            offer_verbs(&at);
    } else if ((at.verb = verb_find(argv[1]))) {
        complete_verb(&at, argv + 2, argc - 3);
    }
    finish_printing(TOOL_OK);
    return TOOL_OK;
}

const struct verb verb_complete = {
    .name = "complete",
    .summary = "",
    .operands = "[WORD...] LAST",
    .help = "",
    .examples = "",
    .run = run,
};
