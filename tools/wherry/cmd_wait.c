/* cmd_wait.c - `wherry wait PID...`: until processes have ended, whoever started them.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <wherry/signal.h>

#include "endpoint.h"
#include "options.h"
#include "signals.h"
#include "table.h"
#include "targets.h"

enum { OPTION_ANY = OPTION_FIRST, OPTION_EXITED, WAIT_SCHEMA = 1 };

/* The kernel tells how another's child ended only once the parent has waited for it, which is given so much time. */
#define GRACE (100 * WHERRY_MILLISECOND)

struct outcome {
    struct wherry_exit exit;
    bool known; /* it was told */
};

struct wait {
    struct options options;
    struct targets targets;
    struct table_style style;
    struct outcome *outcomes; /* one for each target */
    size_t ended;             /* so many are known */
    bool any, exited, lists;
    bool failed; /* for one of them, and it was said */
    wherry_time deadline;
};

/* ---- what is printed ---- */

enum { PID, COMMAND, HOW, STATUS, SIGNAL, INODE, COLUMNS };

static const struct column columns[COLUMNS] = {
    [PID] = {"PID", "the process", COLUMN_NUMBER, true, 0},
    [COMMAND] = {"COMMAND", "its name when the wait began; empty: not known", COLUMN_TEXT, true, 0},
    [HOW] = {"HOW", "exited, killed, ended (and nobody knows how), or runs", COLUMN_TEXT, true, 0},
    [STATUS] = {"STATUS", "of one that exited: its exit status", COLUMN_NUMBER, true, 0},
    [SIGNAL] = {"SIGNAL", "of one that was killed: by which signal", COLUMN_TEXT, true, 0},
    [INODE] = {"INODE", "the inode of its pidfd, when one was asked for", COLUMN_NUMBER, false, 0},
};

static const char *how(const struct outcome *outcome)
{
    if (!outcome->known)
        return "runs";
    return outcome->exit.kind == WHERRY_EXITED ? "exited" : outcome->exit.kind == WHERRY_KILLED ? "killed" : "ended";
}

static int add_row(struct table *table, const struct target *target, const struct outcome *outcome)
{
    const char *cells[COLUMNS] = {NULL};
    char pid[16], status[16], inode[24], signal[WHERRY_SIGNAL_NAME];
    const struct wherry_exit *exit = &outcome->exit;
    snprintf(pid, sizeof pid, "%d", (int)target->pid);
    snprintf(status, sizeof status, "%d", exit->code);
    snprintf(inode, sizeof inode, "%" PRIu64, target->inode);
    cells[PID] = pid;
    cells[COMMAND] = target->command[0] ? target->command : NULL;
    cells[HOW] = how(outcome);
    cells[STATUS] = outcome->known && exit->kind == WHERRY_EXITED ? status : NULL;
    cells[SIGNAL] =
        outcome->known && exit->kind == WHERRY_KILLED ? wherry_signal_name(exit->code, signal, sizeof signal) : NULL;
    cells[INODE] = target->inode ? inode : NULL;
    return table_row(table, cells);
}

/* What could not be waited for has no row. */
static int print_table(const struct wait *wait)
{
    struct table *table;
    int code = table_new(wait->options.verb, "processes", WAIT_SCHEMA, columns, COLUMNS, &wait->style, &table);
    if (code != 0 || !table)
        return code;
    for (size_t i = 0; i < wait->targets.count && code == 0; i++)
        if ((wait->targets.list[i].process || wait->outcomes[i].known) &&
            add_row(table, &wait->targets.list[i], &wait->outcomes[i]) < 0)
            code = complain(TOOL_FAILED, "no memory");
    return code == 0 ? table_finish(table) : code;
}

/* A line as soon as it is known. */
static void tell(struct wait *wait, size_t i, const struct wherry_exit *exit)
{
    char text[64];
    wait->outcomes[i] = (struct outcome){.exit = *exit, .known = true};
    wait->ended++;
    if (wait->lists || wait->options.quiet)
        return;
    printf("%d %s\n", (int)wait->targets.list[i].pid, wherry_exit_text(exit, text, sizeof text));
    fflush(stdout); /* a failure stays to be seen at the end */
}

/* ---- waiting ---- */

static void open_all(struct wait *wait)
{
    const struct wherry_exit unknown = {.kind = WHERRY_EXIT_UNKNOWN};
    for (size_t i = 0; i < wait->targets.count; i++) {
        int result = target_open(&wait->targets.list[i]);
        if (result == -ESRCH && wait->exited) {
            tell(wait, i, &unknown);
        } else if (result < 0) {
            complain(TOOL_FAILED, "wait: %s%s", wherry_why(),
                     result == -ESRCH ? "; --exited counts that as its end" : "");
            wait->failed = true;
        }
    }
}

/* Tell of those that have ended, and return when to look again at those whose parents have not waited for them. */
static wherry_time look(struct wait *wait)
{
    wherry_time next = WHERRY_FOREVER;
    for (size_t i = 0; i < wait->targets.count; i++) {
        struct target *target = &wait->targets.list[i];
        struct wherry_exit exit = {.kind = WHERRY_EXIT_UNKNOWN};
        if (!target->ended || wait->outcomes[i].known)
            continue;
        wherry_time until = target->ended_at + GRACE;
        (void)wherry_process_wait(target->process, WHERRY_NOW, &exit); /* what fails is not known */
        if (exit.kind != WHERRY_EXIT_UNKNOWN || target->gone || wherry_now() >= until)
            tell(wait, i, &exit);
        else if (until < next)
            next = until;
    }
    return next;
}

static bool is_done(const struct wait *wait)
{
    size_t open = 0;
    for (size_t i = 0; i < wait->targets.count; i++)
        open += wait->targets.list[i].process && !wait->outcomes[i].known;
    return open == 0 || (wait->any && wait->ended > 0);
}

/* Returns the exit code. */
static int wait_for_all(struct wait *wait)
{
    int code = targets_watch(&wait->targets);
    while (code == TOOL_OK) {
        wherry_time next = look(wait);
        if (is_done(wait))
            return wait->failed ? TOOL_FAILED : TOOL_OK;
        bool bounded = wait->targets.running > 0 && wait->deadline < next;
        int result = targets_wait(&wait->targets, bounded ? wait->deadline : next);
        if (result == -EINTR)
            code = TOOL_SIGNAL + signals_caught();
        else if (result == -ETIMEDOUT && bounded)
            code = TOOL_TIMED_OUT;
        else if (result < 0 && result != -ETIMEDOUT)
            code = complain(TOOL_FAILED, "wait: the wait failed");
    }
    return code;
}

static int work(struct wait *wait)
{
    raise_descriptor_limit();
    wait->deadline = options_deadline(&wait->options);
    open_all(wait);
    int code = wait_for_all(wait);
    size_t running = wait->targets.running;
    if (code == TOOL_TIMED_OUT)
        complain(code, "wait: %zu process%s still when the time was over", running, running == 1 ? " runs" : "es run");
    int printed = wait->lists && (code <= TOOL_TIMED_OUT) ? print_table(wait) : finish_printing(TOOL_OK);
    return printed == TOOL_OK ? code : printed;
}

/* ---- the command line ---- */

/* Returns 0, or -1 with options.code set. */
static int parse(struct wait *wait, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG, TABLE_LONG, LONG("any", no_argument, OPTION_ANY), LONG("exited", no_argument, OPTION_EXITED), {0}};
    struct options *options = &wait->options;
    int option;
    while ((option = options_next(options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0) {
        wait->any |= option == OPTION_ANY;
        wait->exited |= option == OPTION_EXITED;
        wait->lists |= table_option(&wait->style, option);
    }
    if (option == OPTION_STOP)
        return -1;
    int count = options_operands(options, argc, wait->style.list_columns ? 0 : 1, argc);
    if (count < 0)
        return -1;
    return targets_read(&wait->targets, options, argv + optind, (size_t)count, false, true);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct wait wait = {.options = options_of(verb)};
    int code = parse(&wait, argc, argv);
    if (code < 0)
        code = wait.options.code;
    else if (wait.style.list_columns)
        code = print_table(&wait);
    else if (!(wait.outcomes = calloc(wait.targets.count, sizeof *wait.outcomes)))
        code = complain(TOOL_FAILED, "no memory");
    else if ((code = signals_install()) == 0)
        code = work(&wait);
    free(wait.outcomes);
    targets_fini(&wait.targets);
    return code;
}

const struct verb verb_wait = {
    .name = "wait",
    .summary = "wait until all have ended",
    .operands = "PID[:INODE]...",
    .help = "Wait until all of these processes have ended; print a line for each as it does:\n"
            "\"4711 exited with 3\", \"4711 killed by SIGTERM\", or \"4711 ended, and nobody knows\n"
            "how\": Linux tells it to the parent alone, and since 6.15 to others once the\n"
            "parent has waited for it.  PID:INODE is what wherry kill --print shows.\n"
            "\n"
            "      --any          return when the first has ended\n"
            "      --exited       one that is not there counts as ended; else it is a failure\n" TABLE_HELP "\n"
            "With -J, -o, -n and -r, one list in the end takes the place of the lines.  -w\n"
            "bounds the whole: 3, when some run still.  -q prints no lines.  How they ended\n"
            "makes no difference to the exit code.\n",
    .examples = "Examples:\n"
                "  wherry wait 4711 && echo gone\n"
                "  wherry wait --any -w 1h $(pidof backup)\n"
                "  wherry wait --json 4711 | jq '.processes[0].status'\n",
    .run = run,
};
