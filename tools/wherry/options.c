/* options.c - owns the options that all verbs share.
 *
 * SPDX-License-Identifier: MIT */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    wherry_time nanoseconds;
} units[] = {
    {"us", WHERRY_MICROSECOND},
    {"ms", WHERRY_MILLISECOND},
    {"s", WHERRY_SECOND},
    {"", WHERRY_SECOND},
    {"m", 60 * WHERRY_SECOND},
    {"h", 3600 * WHERRY_SECOND},
    {"d", 24 * 3600 * WHERRY_SECOND},
};

static wherry_time unit_of(const char *name)
{
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(units[i].name, name) == 0)
            return units[i].nanoseconds;
    return 0;
}

const char *parse_duration(const char *text, wherry_time *ret_duration)
{
    const char *digits = text;
    int64_t whole = 0;
    while (isdigit((unsigned char)*text))
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *text++ - '0', &whole))
            return "is longer than a clock can count";
    const char *point = text;
    if (*text == '.')
        while (isdigit((unsigned char)*++text))
            ;
    wherry_time unit = unit_of(text);
    /* ".5" is half a second, "1." and "." are nothing */
    bool empty = *point == '.' ? text == point + 1 : digits == point;
    if (empty || unit == 0)
        return "is no duration: write a number and us, ms, s, m, h or d, such as 500ms";
    if (__builtin_mul_overflow(whole, unit, &whole))
        return "is longer than a clock can count";
    /* each digit after the point is a tenth of the one before; below a nanosecond it counts no more */
    for (const char *digit = point + 1; *point == '.' && digit < text && unit > 0; digit++) {
        unit /= 10;
        if (__builtin_add_overflow(whole, (*digit - '0') * unit, &whole))
            return "is longer than a clock can count";
    }
    *ret_duration = whole;
    return NULL;
}

const char *parse_number(const char *text, int64_t least, int64_t most, int64_t *ret_number)
{
    static char reason[96];
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    /* strtoll skips blanks and takes a plus sign: neither belongs here */
    if ((!isdigit((unsigned char)text[0]) && text[0] != '-') || *end != '\0' || errno != 0 || number < least ||
        number > most) {
        if (most == INT64_MAX)
            snprintf(reason, sizeof reason, "is no whole number of %" PRId64 " or more", least);
        else
            snprintf(reason, sizeof reason, "is no whole number from %" PRId64 " to %" PRId64, least, most);
        return reason;
    }
    *ret_number = number;
    return NULL;
}

struct options options_of(const struct verb *verb)
{
    return (struct options){.verb = verb, .timeout = WHERRY_FOREVER};
}

const char common_help[] = "  -w, --timeout DUR  give up after DUR: a number with us, ms, s, m, h or d\n"
                                  "                     (seconds without), such as 1.5s or .5\n"
                                  "  -q, --quiet        no progress\n"
                                  "  -v, --verbose      say more on standard error: what went through, how fast\n"
                                  "      --color[=WHEN] auto, always or never: names of units\n"
                                  "  -h, --help         this text\n"
                                  "  -V, --version      the version\n";

static const char common_codes[] = "Exit codes:\n"
                                   "  0 done   1 failed   2 wrong usage   3 timed out   4 not all could be seen\n"
                                   "  5 somebody else is there   128+N ended by signal N\n";

void print_verb_help(const struct verb *verb)
{
    printf("Usage: wherry %s [options]%s%s\n\n%s\nCommon options:\n%s\n%s\n%s", verb->name,
           verb->operands[0] ? " " : "", verb->operands, verb->help, common_help, common_codes, verb->examples);
}

static int stop(struct options *options, int code)
{
    options->code = code;
    return OPTION_STOP;
}

static int bad_option(struct options *options, int result, char **argv)
{
    const char *given = argv[optind - 1];
    if (result == ':')
        return stop(options, misuse(options->verb, "%s needs an argument", given));
    if (optopt != 0 && optopt < OPTION_COLOR && strncmp(given, "--", 2) != 0)
        return stop(options, misuse(options->verb, "unknown option -%c", optopt));
    if (optopt != 0)
        return stop(options, misuse(options->verb, "%s takes no argument", given));
    return stop(options, misuse(options->verb, "unknown option %s", given));
}

static int take_color(struct options *options)
{
    static const char *const names[] = {[COLOR_AUTO] = "auto", [COLOR_ALWAYS] = "always", [COLOR_NEVER] = "never"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(optarg ? optarg : names[COLOR_ALWAYS], names[i]) == 0) {
            options->color = (enum color)i;
            return 0;
        }
    return stop(options, misuse(options->verb, "--color takes auto, always or never, not %s", optarg));
}

static int take_timeout(struct options *options)
{
    const char *wrong = parse_duration(optarg, &options->timeout);
    if (wrong)
        return stop(options, misuse(options->verb, "-w %s %s", optarg, wrong));
    options->timed = true;
    return 0;
}

int options_next(struct options *options, int argc, char **argv, const char *letters, const struct option *longs)
{
    int result = 0;
    while (result == 0) {
        int option = getopt_long(argc, argv, letters, longs, NULL);
        switch (option) {
        case 'h':
            print_verb_help(options->verb);
            return stop(options, finish_printing(TOOL_OK));
        case 'V':
            printf("wherry %s\n", wherry_version());
            return stop(options, finish_printing(TOOL_OK));
        case 'q':
            options->quiet = true;
            break;
        case 'v':
            options->verbose = true;
            break;
        case 'w':
            result = take_timeout(options);
            break;
        case OPTION_COLOR:
            result = take_color(options);
            break;
        case '?':
        case ':':
            return bad_option(options, option, argv);
        default:
            return option;
        }
    }
    return result;
}

int options_operands(struct options *options, int argc, int least, int most)
{
    int count = argc - optind;
    if (count >= least && count <= most)
        return count;
    if (count < least)
        options->code = misuse(options->verb, "expects %s", options->verb->operands);
    else
        options->code = misuse(options->verb, "expects no more than %s",
                               options->verb->operands[0] ? options->verb->operands : "options");
    return -1;
}

wherry_time options_deadline(const struct options *options)
{
    return options->timed ? wherry_after(options->timeout) : WHERRY_FOREVER;
}
