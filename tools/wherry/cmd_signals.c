/* cmd_signals.c - `wherry signals`: print the signals that come, and who sent them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Those that are received are blocked and read off a descriptor.  SIGINT, SIGTERM and SIGHUP end this verb as they end
 * the others, unless they are asked for by name. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "options.h"
#include "output.h"
#include "signals.h"
#include "text.h"

enum { SIGNALS_MOST = 64 };

struct job {
    struct options options;
    struct wherry_signals *signals;
    struct output output;
    int numbers[SIGNALS_MOST];
    size_t number_count;
    int64_t count; /* signals wanted; 0: all */
    bool json;
};

/* Without operands: all but those that end a verb, that stop it, and that say it went wrong. */
static bool by_default(int number)
{
    static const int others[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
                                 SIGPIPE, SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (number == others[i])
            return false;
    return number < 32 || number >= SIGRTMIN;
}

static void choose_default(struct job *job)
{
    for (int number = 1; number <= SIGRTMAX && job->number_count < SIGNALS_MOST; number++)
        if (by_default(number))
            job->numbers[job->number_count++] = number;
}

static bool is_chosen(const struct job *job, int number)
{
    for (size_t i = 0; i < job->number_count; i++)
        if (job->numbers[i] == number)
            return true;
    return false;
}

static int stop(struct job *job, int code)
{
    job->options.code = code;
    return -1;
}

static int choose(struct job *job, char **names)
{
    for (; *names; names++) {
        int number = wherry_signal_number(*names);
        if (number < 0)
            return stop(job, misuse(job->options.verb, "%s", wherry_why()));
        if (number == 0)
            return stop(job, misuse(job->options.verb, "0 is no signal that can come"));
        if (!is_chosen(job, number))
            job->numbers[job->number_count++] = number; /* no more than there are signals */
    }
    if (job->number_count == 0)
        choose_default(job);
    return 0;
}

/* Returns 0, or -1 with options.code set. */
static int parse(struct job *job, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG, LONG("count", required_argument, 'c'), LONG("json", no_argument, 'J'), {0}};
    const char *wrong;
    int option;
    while ((option = options_next(&job->options, argc, argv, COMMON_SHORT "c:n:J", longs)) >= 0) {
        if (option == 'J')
            job->json = true;
        else if ((wrong = parse_number(optarg, 1, INT64_MAX, &job->count)))
            return stop(job, misuse(job->options.verb, "-%c %s %s", option, optarg, wrong));
    }
    return option == OPTION_STOP ? -1 : choose(job, argv + optind);
}

/* ---- one signal ---- */

/* What the sender runs; "" when it is gone, or cannot be seen. */
static void find_command(pid_t pid, char *command, size_t size)
{
    char path[32];
    command[0] = '\0';
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    ssize_t length = read(fd, command, size - 1);
    close(fd);
    command[length > 0 ? length : 0] = '\0';
    command[strcspn(command, "\n")] = '\0';
}

static bool print_json(struct job *job, const struct wherry_signal *signal, const char *name, const char *command)
{
    struct json_object *object = json_object_new_object();
    bool fine = object && json_add(object, "number", json_object_new_int(signal->number)) &&
                json_add(object, "name", json_object_new_string(name)) &&
                json_add(object, "code", json_object_new_int(signal->code)) && json_add(object, "time", json_now());
    if (fine && signal->has_sender)
        fine = json_add(object, "pid", json_object_new_int64(signal->pid)) &&
               json_add(object, "uid", json_object_new_int64(signal->uid)) &&
               json_add(object, "vouched", json_object_new_boolean(signal->vouched));
    if (fine && command[0] && utf8_is_text((const uint8_t *)command, strlen(command)))
        fine = json_add(object, "command", json_object_new_string(command));
    if (fine && signal->has_value)
        fine = json_add(object, "value", json_object_new_int64(signal->value)) &&
               json_add(object, "value_int", json_object_new_int(signal->value_int));
    if (fine && signal->number == SIGCHLD && signal->vouched && signal->code > 0)
        fine = json_add(object, "status", json_object_new_int(signal->status));
    if (fine)
        return json_line(&job->output, object);
    json_object_put(object);
    return false;
}

static void print_text(struct job *job, const struct wherry_signal *signal, const char *name, const char *command)
{
    char line[300], shown[128];
    size_t used = (size_t)snprintf(line, sizeof line, "%d %s", signal->number, name);
    if (signal->has_sender)
        used += (size_t)snprintf(line + used, sizeof line - used, " pid=%d uid=%u", (int)signal->pid, signal->uid);
    escape_text(command, shown, sizeof shown);
    if (command[0])
        used += (size_t)snprintf(line + used, sizeof line - used, " command=%s", shown);
    if (signal->has_value)
        used += (size_t)snprintf(line + used, sizeof line - used, " value=%" PRId64, signal->value);
    /* a program that sent a plain int of -1 meant that */
    if (signal->has_value && signal->value_int < 0 && signal->value == (int64_t)(uint32_t)signal->value_int)
        used += (size_t)snprintf(line + used, sizeof line - used, " int=%d", signal->value_int);
    output_bytes(&job->output, line, used);
    output_bytes(&job->output, "\n", 1);
}

static void print(struct job *job, const struct wherry_signal *signal)
{
    char name[WHERRY_SIGNAL_NAME], command[32] = "";
    wherry_signal_name(signal->number, name, sizeof name);
    if (signal->has_sender)
        find_command(signal->pid, command, sizeof command);
    if (!job->json)
        print_text(job, signal, name, command);
    else if (!print_json(job, signal, name, command) && job->output.error == 0)
        job->output.error = ENOMEM;
    output_message(&job->output);
}

/* ---- all of them ---- */

/* One that is there; else what is buffered goes out before the wait.  1, 0: the end, or -errno. */
static int next(struct job *job, struct wherry_signal *ret, wherry_time deadline)
{
    for (;;) {
        int result = signals_caught() ? 0 : wherry_signals_receive(job->signals, ret, WHERRY_NOW);
        if (result != -EAGAIN)
            return result;
        if (output_flush(&job->output) != 0)
            return 0;
        result = signals_wait(wherry_signals_fd(job->signals), deadline);
        if (result < 0 && result != -EINTR)
            return result;
    }
}

static int receive(struct job *job)
{
    wherry_time deadline = options_deadline(&job->options);
    struct wherry_signal signal;
    for (int64_t got = 0; (job->count == 0 || got < job->count) && job->output.error == 0; got++) {
        int result = next(job, &signal, deadline);
        if (result == 0)
            break;
        if (result == -ETIMEDOUT)
            return complain(TOOL_TIMED_OUT, "signals: %" PRId64 " came in time%s", got,
                            job->count ? ", fewer than were asked for" : "");
        if (result < 0)
            return complain(TOOL_FAILED, "signals: %s", wherry_why());
        print(job, &signal);
    }
    return signals_caught() ? TOOL_SIGNAL + signals_caught() : TOOL_OK;
}

static int finish_output(struct job *job, int code)
{
    int error = output_flush(&job->output);
    if (error == 0)
        return code;
    return complain(TOOL_FAILED, "standard output: %s; %" PRIu64 " signal%s received but not printed", strerror(error),
                    output_unwritten(&job->output), output_unwritten(&job->output) == 1 ? " was" : "s were");
}

/* From now on they can be sent: said before the first is waited for. */
static void say_ready(const struct job *job)
{
    char list[SIGNALS_MOST * WHERRY_SIGNAL_NAME] = "", name[WHERRY_SIGNAL_NAME];
    size_t used = 0;
    for (size_t i = 0; i < job->number_count; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, " %s",
                                 wherry_signal_name(job->numbers[i], name, sizeof name) + strlen("SIG"));
    note("pid %d prints the signals%s", (int)getpid(), list);
}

/* What has come since the last that was wanted would take effect now: it is dropped. */
static void close_signals(struct job *job)
{
    for (size_t i = 0; i < job->number_count; i++)
        wherry_signal_ignore(job->numbers[i]);
    wherry_signals_close(job->signals);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct job job = {.options = options_of(verb)};
    if (parse(&job, argc, argv) < 0)
        return job.options.code;
    int code = signals_install();
    if (code != 0)
        return code;
    if (is_chosen(&job, SIGCHLD))
        wherry_signal_default(SIGCHLD); /* whoever started us may have ignored it */
    int result = wherry_signals_open(job.numbers, job.number_count, NULL, &job.signals);
    if (result < 0)
        return complain(result == -EINVAL ? TOOL_USAGE : TOOL_FAILED, "signals: %s", wherry_why());
    if (output_init(&job.output, STDOUT_FILENO) < 0) {
        close_signals(&job);
        return complain(TOOL_FAILED, "no memory");
    }
    if (!job.options.quiet)
        say_ready(&job);
    code = finish_output(&job, receive(&job));
    bool nobody_reads = job.output.error == EPIPE;
    output_fini(&job.output);
    close_signals(&job);
    if (nobody_reads)
        signals_die_of_pipe();
    return code;
}

const struct verb verb_signals = {
    .name = "signals",
    .summary = "print signals that come",
    .operands = "[SIGNAL]...",
    .help = "Print a line for each signal that comes: its number, its name, and, where they\n"
            "are known, the pid, uid and command of its sender, and the value that came with\n"
            "it.  First a line on standard error says the pid to send them to.  Signals are\n"
            "named as in TERM, SIGTERM, RTMIN+3 or 15.  Without any: all but those that\n"
            "end a verb (INT, TERM, HUP), that stop it, and that tell of a fault.\n"
            "\n"
            "  -c, --count COUNT  stop after COUNT signals; -n COUNT is the same\n"
            "  -J, --json         one JSON object a line\n"
            "\n"
            "-w bounds the whole; -q leaves out the line with the pid.\n",
    .examples = "Examples:\n"
                "  wherry signals\n"
                "  wherry signals -c 1 -w 10s USR1 && echo it came\n"
                "  wherry signals --json TERM RTMIN | jq .value\n",
    .run = run,
};
