/* cmd_run.c - `wherry run`: a set of processes from a file, one command as PID 1 would have it, or questions to a run.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

enum {
    OPTION_NAME = OPTION_FIRST,
    OPTION_FORWARD,
    OPTION_ANY_EXIT,
    OPTION_EXIT_ON_FAILURE,
    OPTION_ASK, /* and up to five more */
};

/* ---- options ---- */

static int take_forward(struct run_request *request)
{
    char *rest = optarg, *word;
    while ((word = strsep(&rest, ","))) {
        int number = wherry_signal_number(word);
        if (number <= 0)
            return misuse(request->options.verb, "--forward: there is no signal %s: write USR1,USR2 or the like", word);
        if (number == SIGKILL || number == SIGSTOP || number == SIGCHLD || number == SIGTERM || number == SIGINT ||
            number == SIGQUIT)
            return misuse(request->options.verb, "--forward: %s cannot be passed on: %s", word,
                          number == SIGKILL || number == SIGSTOP ? "nobody can receive it" : "the run itself needs it");
        if (request->forward_count == RUN_SIGNALS)
            return misuse(request->options.verb, "--forward: more than %d signals", RUN_SIGNALS);
        request->forward[request->forward_count++] = number;
    }
    return 0;
}

static int take_ask(struct run_request *request, enum run_ask ask)
{
    if (request->ask != ASK_NOTHING && request->ask != ask)
        return misuse(request->options.verb, "--status, --stop, --start, --restart and --reload: one at a time");
    request->ask = ask;
    return 0;
}

static int take_option(struct run_request *request, int option)
{
    switch (option) {
    case 'f':
        request->file = optarg;
        return 0;
    case 'g':
        request->group = true;
        return 0;
    case OPTION_NAME:
        request->name = optarg;
        return 0;
    case OPTION_FORWARD:
        return take_forward(request);
    case OPTION_ANY_EXIT:
        request->any_exit = true;
        return 0;
    case OPTION_EXIT_ON_FAILURE:
        request->exit_on_failure = true;
        return 0;
    default:
        if (table_option(&request->style, option)) {
            request->lists = true;
            return 0;
        }
        return take_ask(request, (enum run_ask)(option - OPTION_ASK));
    }
}

/* What belongs to one way of calling and not to another. */
static int check(const struct run_request *request)
{
    const struct verb *verb = request->options.verb;
    bool runs = request->any_exit || request->exit_on_failure || request->forward_count > 0;
    if (request->command && (request->operands[0] || request->file || request->name || request->ask || runs))
        return misuse(verb, "-- COMMAND runs alone: of the options -g, -v and -w are for it");
    if (request->group && !request->command)
        return misuse(verb, "-g is for -- COMMAND");
    if (request->lists && request->ask != ASK_STATUS)
        return misuse(verb, "the options of tables are for --status");
    if (request->ask && runs)
        return misuse(verb, "--any-exit, --exit-on-failure and --forward are for a run that begins");
    if (request->ask == ASK_STATUS && request->operands[0])
        return misuse(verb, "--status shows all units: \"%s\" is too much", request->operands[0]);
    return 0;
}

/* ---- what to run ---- */

/* Without -f and operands: whichever of the two is there. */
static int find_file(struct run_request *request)
{
    bool procfile = access("Procfile", F_OK) == 0, own = access("wherry.run", F_OK) == 0;
    if (request->file || request->operands[0])
        return 0;
    if (procfile && own)
        return complain(TOOL_USAGE, "run: ./Procfile and ./wherry.run are both there: say which with -f");
    if (!procfile && !own)
        return complain(TOOL_USAGE,
                        "run: there is neither ./Procfile nor ./wherry.run: write one, say where it is with "
                        "-f, or name units: NAME=CMD");
    request->file = procfile ? "Procfile" : "wherry.run";
    return 0;
}

static int read_plan(const struct run_request *request, struct run_plan *plan)
{
    int code = 0;
    for (char **operand = request->operands; code == 0 && *operand; operand++)
        code = plan_read_operand(plan, request->options.verb, *operand);
    if (code == 0 && request->file)
        code = plan_read_file(plan, request->file);
    return code ? code : plan_order(plan);
}

static int run_all(struct run_request *request)
{
    struct run_plan plan = {0};
    struct run_place place;
    int code = find_file(request);
    if (code == 0)
        code = place_find(request, true, &place); /* before the file's directory becomes ours */
    if (code == 0)
        code = read_plan(request, &plan);
    if (code == 0)
        code = run_units(request, &plan, &place);
    plan_free(&plan);
    return code;
}

/* The first -- parts off a command, whatever it looks like. */
static int split_command(int argc, char **argv, struct run_request *request)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0) {
            request->command = argv + i + 1;
            return i;
        }
    return argc;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG,
                                          TABLE_LONG,
                                          LONG("file", required_argument, 'f'),
                                          LONG("group", no_argument, 'g'),
                                          LONG("name", required_argument, OPTION_NAME),
                                          LONG("forward", required_argument, OPTION_FORWARD),
                                          LONG("any-exit", no_argument, OPTION_ANY_EXIT),
                                          LONG("exit-on-failure", no_argument, OPTION_EXIT_ON_FAILURE),
                                          LONG("status", no_argument, OPTION_ASK + ASK_STATUS),
                                          LONG("stop", no_argument, OPTION_ASK + ASK_STOP),
                                          LONG("start", no_argument, OPTION_ASK + ASK_START),
                                          LONG("restart", no_argument, OPTION_ASK + ASK_RESTART),
                                          LONG("reload", no_argument, OPTION_ASK + ASK_RELOAD),
                                          {0}};
    struct run_request request = {.options = options_of(verb)};
    int option, count = split_command(argc, argv, &request);
    if (request.command && !request.command[0])
        return misuse(verb, "no command follows --");
    while ((option = options_next(&request.options, count, argv, COMMON_SHORT TABLE_SHORT "f:g", longs)) >= 0) {
        int code = take_option(&request, option);
        if (code != 0)
            return code;
    }
    if (option == OPTION_STOP)
        return request.options.code;
    char *none[] = {NULL};
    if (request.command)
        argv[count] = NULL; /* the --, where the operands end */
    request.operands = optind < count ? argv + optind : none;
    int code = request.style.list_columns ? 0 : check(&request);
    if (code != 0)
        return code;
    if (request.ask || request.style.list_columns)
        return run_client(verb, &request);
    return request.command ? run_command_as_init(&request) : run_all(&request);
}

const struct verb verb_run = {
    .name = "run",
    .summary = "run those of a Procfile",
    .operands = "[-f FILE] [NAME=CMD...] | -- COMMAND [ARG...]",
    .help = "Run the units of a file, and those that are named; without either, those of\n"
            "./Procfile or ./wherry.run.  What they print comes line by line, with the unit's\n"
            "name before it.  SIGTERM and SIGINT stop all in order, a second one at once;\n"
            "SIGHUP reloads.  Any Procfile will do; below a unit may stand its options:\n"
            "\n"
            "  web: ./server --port 5000          a unit, and its command for sh\n"
            "      after db cache                 not before these are ready\n"
            "      ready tcp://127.0.0.1:5000     or: notify, fd [N], exit\n"
            "      ready-timeout 30s              or: never\n"
            "      restart on-failure             or: always, never\n"
            "      backoff 100ms 10s              the pause before a restart, up to\n"
            "      limit 5 1m                     so many restarts a minute, then it failed\n"
            "      stop TERM 10s                  the signal, and when to kill\n"
            "      reload HUP\n"
            "      env NAME=VALUE\n"
            "      dir PATH\n"
            "      user NAME\n"
            "      rlimit nofile 1024\n"
            "      cgroup PATH                    all of it is in this cgroup\n"
            "      pidns                          all of it ends with its first process\n"
            "\n"
            "  -f, --file FILE        the units; -: standard input\n"
            "      --name NAME        another run than that of this directory\n"
            "      --forward SIGNALS  pass these on to all units: USR1,USR2\n"
            "      --exit-on-failure  once a unit has failed, stop all, and exit as it did\n"
            "      --any-exit         the same once any unit ends\n"
            "\n"
            "With -- one COMMAND runs as under an init: its orphans are waited for, signals\n"
            "are passed on to it, it has the terminal, and its exit status is ours.\n"
            "\n"
            "  -g, --group            pass signals on to its whole process group\n"
            "\n"
            "A run of the same directory, -f or --name, is asked or told from elsewhere:\n"
            "\n"
            "      --status           what its units do\n"
            "      --stop [UNIT...]   stop these and who needs them, or all; wait for it\n"
            "      --start [UNIT...]  start these and those they need; wait until ready\n"
            "      --restart [UNIT...]\n"
            "      --reload [UNIT...]\n"
            "\n"
            "With --status:\n" TABLE_HELP "\n"
            "-w: stop all after DUR, and exit with 3; with --stop and its like: wait no\n"
            "longer.\n",
    .examples = "Examples:\n"
                "  wherry run\n"
                "  wherry run web='./server 5000' worker=./worker\n"
                "  wherry run --restart web\n"
                "  wherry run -- ./job --all\n",
    .run = run,
};
