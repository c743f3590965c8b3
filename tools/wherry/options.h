/* options.h - the command line: the options that all verbs share, numbers and durations.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_OPTIONS_H
#define WHERRY_TOOL_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <wherry/base.h>

#include "tool.h"

/* What every verb takes: -h -V -q -v -w --color. */
struct options {
    const struct verb *verb;
    enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color;
    bool quiet, verbose;
    bool timed;          /* -w was given */
    wherry_time timeout; /* ns; WHERRY_FOREVER without -w */
    int code;            /* after OPTION_STOP: what to exit with */
};

struct options options_of(const struct verb *verb);

enum {
    OPTION_END = -1,  /* no more options; optind is at the first operand */
    OPTION_STOP = -2, /* --help was printed, or the command line is wrong: exit with `code` */
    OPTION_COLOR = 1000,
    OPTION_FIRST, /* a verb's own long options without a letter begin here */
};

/* Begin a verb's short and long options with these. */
#define COMMON_SHORT ":hVqvw:"
#define COMMON_LONG                                                                                                    \
    LONG("help", no_argument, 'h'), LONG("version", no_argument, 'V'), LONG("quiet", no_argument, 'q'),                \
        LONG("verbose", no_argument, 'v'), LONG("timeout", required_argument, 'w'),                                    \
        LONG("color", optional_argument, OPTION_COLOR)
/* clang-format off */
#define LONG(name_, argument, letter) {.name = (name_), .has_arg = (argument), .val = (letter)}
/* clang-format on */

/* The next option of the verb's own, its argument in optarg; or OPTION_END or OPTION_STOP. */
int options_next(struct options *options, int argc, char **argv, const char *letters, const struct option *longs);

/* How many operands there are; between `least` and `most`, or -1 with the mistake said and options->code set. */
int options_operands(struct options *options, int argc, int least, int most);

/* -w as a deadline, counted from now. */
wherry_time options_deadline(const struct options *options);

/* "1.5s" or ".5" to nanoseconds: a decimal number and us, ms, s, m, h, d, seconds without.  NULL, or what is wrong with
 * it. */
const char *parse_duration(const char *text, wherry_time *ret_duration);

/* A decimal number from `least` to `most`.  NULL, or what is wrong with it. */
const char *parse_number(const char *text, int64_t least, int64_t most, int64_t *ret_number);

/* What --help says of the options that every verb takes. */
extern const char common_help[];

/* Print the help of a verb. */
void print_verb_help(const struct verb *verb);

#endif
