/* options.c - owns the command line.
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stepkill.h"

static const char help[] =
    "Usage: stepkill [options] -f FUNCTION[@N][,...] [-c COMMAND] -- PROGRAM [ARG...]\n\n"
    "Kills PROGRAM after 1, 2, 3, ... instructions of a function, and has COMMAND check each time what is left.\n\n"
    "  -f, --function LIST  functions of the program or its libraries; NAME@N: in its Nth call\n"
    "  -c, --check COMMAND  run by sh after each kill; fails: a violation\n"
    "  -t, --timeout DUR    how long it may take: a number with ms, s or m (10 s)\n"
    "  -s, --signal SIGNAL  instead of KILL; STOP: checked while stopped, then continued\n"
    "      --setup COMMAND  run by sh before each start\n"
    "      --syscalls       only at entries and exits of system calls\n"
    "      --start N        begin with step N (1)\n"
    "      --stride K       every Kth step\n"
    "      --max N          at most N points of each function\n"
    "      --run-limit DUR  how long a run of PROGRAM may take (60 s)\n"
    "      --first          end at the first violation\n"
    "      --keep-going     go on after violations, as it does anyway\n"
    "      --json           the report as JSON\n"
    "  -q, --quiet          no report: the exit status alone\n"
    "  -v, --verbose        show on standard error what PROGRAM prints\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n\n"
    "Exit codes:\n"
    "  0 no violation   1 violations   2 wrong usage   3 could not run\n";

enum { SETUP = 256, SYSCALLS, START, STRIDE, MOST, RUN_LIMIT, FIRST, KEEP_GOING, JSON };

static const struct option longs[] = {
    {"function", required_argument, NULL, 'f'},
    {"check", required_argument, NULL, 'c'},
    {"timeout", required_argument, NULL, 't'},
    {"signal", required_argument, NULL, 's'},
    {"setup", required_argument, NULL, SETUP},
    {"syscalls", no_argument, NULL, SYSCALLS},
    {"start", required_argument, NULL, START},
    {"stride", required_argument, NULL, STRIDE},
    {"max", required_argument, NULL, MOST},
    {"run-limit", required_argument, NULL, RUN_LIMIT},
    {"first", no_argument, NULL, FIRST},
    {"keep-going", no_argument, NULL, KEEP_GOING},
    {"json", no_argument, NULL, JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int misuse(const char *what, const char *value)
{
    return complain(KILL_USAGE, "%s%s; try 'stepkill --help'", value, what);
}

/* By number: those that every architecture of Linux has; sigabbrev_np(3) is glibc's. */
static const char *abbreviation(int signal)
{
    static const char *const names[32] = {
        [SIGHUP] = "HUP",       [SIGINT] = "INT",   [SIGQUIT] = "QUIT", [SIGILL] = "ILL",   [SIGTRAP] = "TRAP",
        [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",   [SIGFPE] = "FPE",   [SIGKILL] = "KILL", [SIGUSR1] = "USR1",
        [SIGSEGV] = "SEGV",     [SIGUSR2] = "USR2", [SIGPIPE] = "PIPE", [SIGALRM] = "ALRM", [SIGTERM] = "TERM",
        [SIGCHLD] = "CHLD",     [SIGCONT] = "CONT", [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP", [SIGTTIN] = "TTIN",
        [SIGTTOU] = "TTOU",     [SIGURG] = "URG",   [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ", [SIGVTALRM] = "VTALRM",
        [SIGPROF] = "PROF",     [SIGIO] = "POLL",   [SIGPWR] = "PWR",   [SIGSYS] = "SYS",   [SIGWINCH] = "WINCH",
#ifdef SIGSTKFLT
        [SIGSTKFLT] = "STKFLT",
#endif
    };
    return signal > 0 && signal < 32 ? names[signal] : NULL;
}

const char *signal_name(int signal)
{
    const char *name = abbreviation(signal);
    return name ? name : "?";
}

static int signal_of(const char *text)
{
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (int signal = 1; signal < 32; signal++) {
        const char *name = abbreviation(signal);
        if (name && strcasecmp(name, text) == 0)
            return signal;
    }
    char *end;
    long number = strtol(text, &end, 10);
    return isdigit((unsigned char)*text) && *end == '\0' && number > 0 && number < 65 ? (int)number : 0;
}

static bool number_of(const char *text, uint64_t least, uint64_t *ret_number)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || number < least || number > INT64_MAX)
        return false;
    *ret_number = number;
    return true;
}

static bool duration_of(const char *text, int64_t *ret_duration)
{
    static const struct {
        const char *name;
        double nanoseconds;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"m", 60e9}, {"h", 3600e9}};
    char *end;
    double number = isdigit((unsigned char)text[0]) ? strtod(text, &end) : -1;
    if (number < 0 || number > 1e6)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].name) == 0) {
            *ret_duration = (int64_t)(number * units[i].nanoseconds);
            return *ret_duration >= 1000;
        }
    return false;
}

/* NAME[@N],... */
static int take_functions(struct options *options, const char *list)
{
    char *copy = strdup(list), *rest = copy;
    int code = -1;
    for (char *word; code < 0 && rest && (word = strsep(&rest, ","));) {
        uint64_t call = 1;
        char *at = strrchr(word, '@');
        if (at && at != word) {
            *at = '\0';
            if (!number_of(at + 1, 1, &call))
                code = misuse(": after @ comes the number of a call, from 1", list);
        }
        if (word[0] == '\0')
            code = misuse(": a name is empty", list);
        if (code >= 0)
            break;
        struct target *targets = realloc(options->targets, (options->target_count + 1) * sizeof *targets);
        if (!targets)
            return free(copy), complain(KILL_CANNOT, "%s", strerror(errno));
        options->targets = targets;
        targets[options->target_count++] = (struct target){.name = strdup(word), .call = call};
    }
    free(copy);
    return code;
}

void options_free(struct options *options)
{
    for (size_t i = 0; i < options->target_count; i++)
        free(options->targets[i].name);
    free(options->targets);
}

static int take(struct options *options, int option, char **argv)
{
    switch (option) {
    case 'f':
        return take_functions(options, optarg);
    case 'c':
        options->checker = optarg;
        return -1;
    case 't':
        return duration_of(optarg, &options->check_limit) ? -1
                                                          : misuse(" is no duration: write 500ms, 10s or 2m", optarg);
    case RUN_LIMIT:
        return duration_of(optarg, &options->run_limit) ? -1
                                                        : misuse(" is no duration: write 500ms, 10s or 2m", optarg);
    case 's':
        options->signal = signal_of(optarg);
        return options->signal ? -1 : misuse(" is no signal", optarg);
    case SETUP:
        options->setup = optarg;
        return -1;
    case SYSCALLS:
        options->by_calls = true;
        return -1;
    case START:
        return number_of(optarg, 1, &options->start) ? -1 : misuse(" is no step: they count from 1", optarg);
    case STRIDE:
        return number_of(optarg, 1, &options->stride) ? -1 : misuse(" is no number from 1", optarg);
    case MOST:
        return number_of(optarg, 1, &options->most) ? -1 : misuse(" is no number from 1", optarg);
    case FIRST:
        options->first_only = true;
        return -1;
    case KEEP_GOING:
        options->first_only = false;
        return -1;
    case JSON:
        options->json = true;
        return -1;
    case 'q':
        options->quiet = true;
        return -1;
    case 'v':
        options->verbose = true;
        return -1;
    case 'h':
        fputs(help, stdout);
        return KILL_OK;
    case 'V':
        puts("stepkill " VERSION);
        return KILL_OK;
    case ':':
        return misuse(" needs an argument", argv[optind - 1]);
    default:
        return misuse(" is no option", argv[optind - 1]);
    }
}

int options_read(struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .check_limit = 10000000000,
        .run_limit = 60000000000,
        .start = 1,
        .stride = 1,
        .signal = SIGKILL,
    };
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "+:f:c:t:s:qvhV", longs, NULL)) != -1;) {
        int code = take(options, option, argv);
        if (code >= 0)
            return code;
    }
    options->program = argv + optind;
    if (options->target_count == 0)
        return misuse("which function? -f names it", "");
    if (optind == argc)
        return misuse("which program? It comes last, after --", "");
    return -1;
}
