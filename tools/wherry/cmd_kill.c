/* cmd_kill.c - `wherry kill PID...`: signals to the processes that are meant, one after another until they end.
 *
 * SPDX-License-Identifier: MIT
 *
 * All are taken hold of before the first signal is sent, so that what one of them does when it gets it changes nothing
 * about who the others are. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/signal.h>

#include "endpoint.h"
#include "proc.h"
#include "options.h"
#include "signals.h"
#include "targets.h"

enum { OPTION_VALUE = OPTION_FIRST, OPTION_THEN, OPTION_PRINT, OPTION_INIT, OPTION_WAIT, STEPS_MAX = 16 };

/* Group members come and go, and no descriptor tells when none is left. */
#define LONGEST_STEP (20 * WHERRY_MILLISECOND)

struct step {
    wherry_time after;
    int number;
};

struct kill {
    struct options options;
    struct targets targets;
    int number;
    bool has_value, print, list, group, init, wait;
    int64_t value; /* with the first signal */
    struct step steps[STEPS_MAX];
    size_t step_count;
    wherry_time deadline;
    bool later;  /* the first signal was sent */
    bool failed; /* for one of them, and it was said */
};

/* ---- the command line ---- */

static int take_signal(struct kill *kill, const char *option, const char *text, int *ret_number)
{
    int number = wherry_signal_number(text);
    if (number < 0)
        return misuse(kill->options.verb, "%s: %s; -l lists them", option, wherry_why());
    *ret_number = number;
    return 0;
}

/* "5s:KILL" */
static int take_step(struct kill *kill)
{
    char duration[32] = "";
    struct step *step = &kill->steps[kill->step_count];
    const char *colon = strchr(optarg, ':');
    if (kill->step_count == STEPS_MAX)
        return misuse(kill->options.verb, "--then can be given %d times", STEPS_MAX);
    if (!colon || colon == optarg || (size_t)(colon - optarg) >= sizeof duration)
        return misuse(kill->options.verb, "--then takes a time and a signal, such as 5s:KILL, not %s", optarg);
    memcpy(duration, optarg, (size_t)(colon - optarg));
    const char *wrong = parse_duration(duration, &step->after);
    if (wrong)
        return misuse(kill->options.verb, "--then %s: %s %s", optarg, duration, wrong);
    kill->step_count++;
    return take_signal(kill, "--then", colon + 1, &step->number);
}

static int take_option(struct kill *kill, int option)
{
    const char *wrong;
    switch (option) {
    case 's':
        return take_signal(kill, "-s", optarg, &kill->number);
    case 'l':
        kill->list = true;
        return 0;
    case 'g':
        kill->group = true;
        return 0;
    case OPTION_VALUE:
        wrong = parse_number(optarg, INT64_MIN, INT64_MAX, &kill->value);
        kill->has_value = true;
        return wrong ? misuse(kill->options.verb, "--value %s %s", optarg, wrong) : 0;
    case OPTION_THEN:
        return take_step(kill);
    case OPTION_PRINT:
        kill->print = true;
        return 0;
    case OPTION_INIT:
        kill->init = true;
        return 0;
    case OPTION_WAIT:
        kill->wait = true;
        return 0;
    default: /* "-9", "-KILL"; and "-9" is process group 9 to kill(2) */
        return misuse(kill->options.verb, "a signal goes with -s: -s KILL or -s 9; a process group with --group");
    }
}

static int check(const struct kill *kill)
{
    const struct verb *verb = kill->options.verb;
    if (kill->group && kill->has_value)
        return misuse(verb, "--value is for processes: the kernel sends none to a group");
    if (kill->print && (kill->group || kill->has_value || kill->step_count || kill->wait))
        return misuse(verb, "--print sends nothing: it goes alone");
    if (kill->number == 0 && (kill->has_value || kill->step_count))
        return misuse(verb, "signal 0 asks whether a process is there: it has no value, and nothing comes after it");
    for (size_t i = 0; kill->group && i < kill->targets.count; i++)
        if (kill->targets.list[i].pid == getpgrp() && (kill->step_count || kill->wait))
            return misuse(verb,
                          "process group %d is this command's own, which the signal ends too: --then and --wait are "
                          "for others",
                          (int)getpgrp());
    return 0;
}

/* Returns 0, or -1 with options.code set. */
static int parse(struct kill *kill, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG,
                                          LONG("signal", required_argument, 's'),
                                          LONG("value", required_argument, OPTION_VALUE),
                                          LONG("then", required_argument, OPTION_THEN),
                                          LONG("wait", no_argument, OPTION_WAIT),
                                          LONG("group", no_argument, 'g'),
                                          LONG("init", no_argument, OPTION_INIT),
                                          LONG("print", no_argument, OPTION_PRINT),
                                          LONG("list", no_argument, 'l'),
                                          {0}};
    struct options *options = &kill->options;
    int option;
    while ((option =
                options_next(options, argc, argv, COMMON_SHORT "s:lg0123456789ABCDEFGHIJKLMNOPQRSTUWXYZ", longs)) >= 0)
        if ((options->code = take_option(kill, option)) != 0)
            return -1;
    if (option == OPTION_STOP)
        return -1;
    if (kill->list)
        return 0;
    int count = options_operands(options, argc, 1, argc);
    if (count < 0 ||
        targets_read(&kill->targets, options, argv + optind, (size_t)count, kill->group, kill->init || kill->print) < 0)
        return -1;
    return (options->code = check(kill)) == 0 ? 0 : -1;
}

/* ---- -l ---- */

static void print_signal(int number)
{
    char name[WHERRY_SIGNAL_NAME];
    printf("%2d %s\n", number, wherry_signal_name(number, name, sizeof name) + strlen("SIG"));
}

/* A name, a number, or what a shell has in $? of a command that was killed. */
static int list_signals(const struct kill *kill, int count, char **operands)
{
    int64_t status;
    for (int number = 1; count == 0 && number <= SIGRTMAX; number++)
        if (number < 32 || number >= SIGRTMIN)
            print_signal(number);
    for (int i = 0; i < count; i++) {
        const char *text = operands[i];
        char of_status[16];
        if (parse_number(text, 129, 255, &status) == NULL) {
            snprintf(of_status, sizeof of_status, "%d", (int)status - 128);
            text = of_status;
        }
        int number = wherry_signal_number(text);
        if (number <= 0)
            return misuse(kill->options.verb, "%s: %s", operands[i], number ? wherry_why() : "0 is no signal");
        print_signal(number);
    }
    return finish_printing(TOOL_OK);
}

/* ---- sending ---- */

/* The library's sentence, which names the process. */
static void say_failed(struct kill *kill)
{
    kill->failed = true;
    complain(TOOL_FAILED, "kill: %s", wherry_why());
}

/* A group whose leader has gone has its number still, as long as anybody is in it. */
static void open_group(struct kill *kill, struct target *target)
{
    int result = target_open(target);
    if (result < 0 && (result != -ESRCH || target->inode != 0))
        say_failed(kill);
    target->ended = result < 0 && (result != -ESRCH || target->inode != 0);
}

static void open_all(struct kill *kill)
{
    for (size_t i = 0; i < kill->targets.count; i++) {
        struct target *target = &kill->targets.list[i];
        if (kill->group) {
            open_group(kill, target);
        } else if (target_open(target) < 0) {
            say_failed(kill);
            target->ended = true;
        }
    }
}

static int send_group(const struct target *target, int number)
{
    int result = target->process ? wherry_process_kill_group(target->process, number) : -EOPNOTSUPP;
    return result == -EOPNOTSUPP ? wherry_signal_send_group(target->pid, number) : result; /* before Linux 6.9 */
}

/* Later, one that has gone is no failure: it was to end.  Whoever else cannot be sent to is waited for all the same. */
static void sending_failed(struct kill *kill, struct target *target, int error)
{
    if (kill->later && error == -ESRCH)
        return;
    say_failed(kill);
    if (kill->later)
        return;
    target->ended = true;
    target_close(target);
}

static void send_one(struct kill *kill, struct target *target, int number, const int64_t *value)
{
    char name[WHERRY_SIGNAL_NAME];
    bool zombie = !kill->group && target_has_ended(target);
    int result = kill->group ? send_group(target, number)
                             : wherry_signal_send_fd(wherry_process_fd(target->process), number, value);
    if (result < 0)
        sending_failed(kill, target, result);
    else if (kill->options.verbose)
        note("kill: %s%s: %s%s", kill->group ? "the process group of " : "", target_name(target),
             number ? wherry_signal_name(number, name, sizeof name) : "it is there",
             zombie ? "; it has ended, and its parent has not waited for it" : "");
}

static void send_all(struct kill *kill, int number, const int64_t *value)
{
    for (size_t i = 0; i < kill->targets.count; i++)
        if (!kill->targets.list[i].ended)
            send_one(kill, &kill->targets.list[i], number, value);
}

/* ---- waiting for them to end ---- */

/* Returns how many run. */
static size_t look_at_groups(struct targets *targets)
{
    size_t running = 0;
    for (size_t i = 0; i < targets->count; i++) {
        struct target *target = &targets->list[i];
        target->ended = target->ended || !proc_group_runs(target->pid);
        running += !target->ended;
    }
    return running;
}

static int wait_for_groups(struct kill *kill, wherry_time until)
{
    int result = 0;
    wherry_time step = WHERRY_MILLISECOND;
    while ((kill->targets.running = look_at_groups(&kill->targets)) > 0 && result != -EINTR) {
        wherry_time next = wherry_after(step);
        if (wherry_now() >= until)
            return -ETIMEDOUT;
        result = signals_wait(-1, next < until ? next : until);
        step = 2 * step < LONGEST_STEP ? 2 * step : LONGEST_STEP;
    }
    return result == -EINTR ? result : 0;
}

/* Until all have ended: 0; or -ETIMEDOUT, -EINTR. */
static int wait_until(struct kill *kill, wherry_time until)
{
    int result = 0;
    if (kill->group)
        return wait_for_groups(kill, until);
    while (kill->targets.running > 0 && result == 0)
        result = targets_wait(&kill->targets, until);
    return result;
}

static int timed_out(const struct kill *kill)
{
    size_t running = kill->targets.running;
    return complain(TOOL_TIMED_OUT, "kill: %zu %s%s still when the time was over", running,
                    kill->group ? "process group" : "process",
                    running == 1  ? " runs"
                    : kill->group ? "s run"
                                  : "es run");
}

/* Signal after signal to those that run still.  Nothing outlives SIGKILL, so its effect is waited for. */
static int go_on(struct kill *kill)
{
    int last = kill->step_count ? kill->steps[kill->step_count - 1].number : 0;
    int result = kill->group ? 0 : targets_watch(&kill->targets);
    if (result != 0)
        return result;
    kill->later = true;
    for (size_t i = 0; i < kill->step_count; i++) {
        wherry_time next = wherry_after(kill->steps[i].after);
        result = wait_until(kill, next < kill->deadline ? next : kill->deadline);
        if (result == 0)
            return TOOL_OK;
        if (result == -ETIMEDOUT && next < kill->deadline)
            send_all(kill, kill->steps[i].number, NULL);
        else
            return result == -EINTR ? TOOL_SIGNAL + signals_caught() : timed_out(kill);
    }
    if (!kill->wait && last != SIGKILL)
        return TOOL_OK;
    result = wait_until(kill, kill->deadline);
    return result == 0 ? TOOL_OK : result == -EINTR ? TOOL_SIGNAL + signals_caught() : timed_out(kill);
}

static int print_all(struct kill *kill)
{
    for (size_t i = 0; i < kill->targets.count; i++) {
        const struct target *target = &kill->targets.list[i];
        if (target->ended)
            continue;
        uint64_t inode = wherry_process_inode(target->process);
        if (inode == 0)
            return complain(TOOL_FAILED, "kill: an inode tells processes apart since Linux 6.9; this kernel is older");
        printf("%d:%" PRIu64 "\n", (int)target->pid, inode);
    }
    return finish_printing(kill->failed ? TOOL_FAILED : TOOL_OK);
}

static int work(struct kill *kill)
{
    kill->deadline = options_deadline(&kill->options);
    open_all(kill);
    if (kill->print)
        return print_all(kill);
    send_all(kill, kill->number, kill->has_value ? &kill->value : NULL);
    int code = kill->step_count || kill->wait ? go_on(kill) : TOOL_OK;
    return code == TOOL_OK && kill->failed ? TOOL_FAILED : code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct kill kill = {.options = options_of(verb), .number = SIGTERM};
    int code = parse(&kill, argc, argv) < 0 ? -1 : 0;
    if (code == 0 && kill.list)
        return list_signals(&kill, argc - optind, argv + optind);
    raise_descriptor_limit();
    if (code == 0)
        code = signals_install();
    code = code == 0 ? work(&kill) : code < 0 ? kill.options.code : code;
    targets_fini(&kill.targets);
    return code;
}

const struct verb verb_kill = {
    .name = "kill",
    .summary = "send signals, and again",
    .operands = "PID[:INODE]...",
    .help = "Send SIGTERM, or the signal of -s, to each process.  PID:INODE is what --print\n"
            "shows of a process that runs; when another has its number by now, nothing is\n"
            "sent.  All are taken hold of before the first signal goes out, so that none ever\n"
            "reaches a stranger.\n"
            "\n"
            "  -s, --signal SIG   another signal: TERM, SIGTERM, RTMIN+3, 15; 0 asks whether\n"
            "                     one could be sent\n"
            "      --value N      with the signal goes this number, as sigqueue(3) has it\n"
            "      --then DUR:SIG after DUR, if it still runs, send SIG; can be given again,\n"
            "                     each DUR counts from the signal before\n"
            "      --wait         return when all have ended; --then DUR:KILL does so anyway\n"
            "  -g, --group        the numbers are those of process groups\n"
            "      --init         1 is meant, which is refused otherwise\n"
            "      --print        send nothing: print PID:INODE of each\n"
            "  -l, --list [SIG...]\n"
            "                     list the signals, or translate numbers, names, exit codes\n"
            "\n"
            "-w bounds the whole.  What fails is said, the others are sent to, and the exit\n"
            "code is 1.  With -v a line says what was sent to whom.\n",
    .examples = "Examples:\n"
                "  wherry kill -w 30s --then 10s:INT --then 5s:KILL 4711\n"
                "  job=$(wherry kill --print $!); ...; wherry kill \"$job\"\n"
                "  wherry kill -s RTMIN+1 --value 42 4711\n",
    .run = run,
};
