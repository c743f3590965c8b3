/* explore.c - owns the runs: start the program, take it to a step of the function, kill it there, have it checked.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checker.h"
#include "image.h"
#include "step.h"
#include "stepkill.h"

/* From now on a wait ends when the limit has passed; 0: never. */
static void limit_run(int64_t limit)
{
    /* again and again afterwards, for a wait that had not begun when the first came */
    struct itimerval timer = {.it_value = {.tv_sec = limit / 1000000000, .tv_usec = limit / 1000 % 1000000},
                              .it_interval = {.tv_usec = limit ? 50000 : 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
    if (limit == 0)
        give_up = asked_to_end != 0;
}

static int failed(const struct options *options, const char *what, int result)
{
    if (asked_to_end)
        return KILL_SIGNAL + asked_to_end;
    if (result == -ECANCELED)
        return complain(KILL_CANNOT, "%s: not done within %.3g s; --run-limit allows more", what,
                        (double)options->run_limit / 1e9);
    return complain(KILL_CANNOT, "%s: %s", what, strerror(-result));
}

/* ---- the program ----------------------------------------------------------------------------------------------- */

struct program {
    const struct options *options;
    int failure; /* where a failed execve() is told; closes by itself when it works */
};

static void become_program(void *argument)
{
    const struct program *program = argument;
    int nothing = open("/dev/null", O_RDWR);
    int output = program->options->verbose ? STDERR_FILENO : nothing;
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (nothing > STDERR_FILENO)
        close(nothing);
    /* the same addresses, and so the same steps, in each run; where it is not allowed, without */
    int persona = personality(0xffffffff);
    if (persona >= 0)
        personality((unsigned long)persona | ADDR_NO_RANDOMIZE);
    execvp(program->options->program[0], program->options->program);
    int why = errno;
    if (write(program->failure, &why, sizeof why) < 0)
        _exit(126);
    _exit(127);
}

/* Start it; it stands before its first instruction, or before that of the program that it executes. */
static int start(struct step *step, const struct options *options)
{
    int fds[2], why = 0;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return complain(KILL_CANNOT, "pipe: %s", strerror(errno));
    struct program program = {.options = options, .failure = fds[1]};
    int result = step_fork(step, become_program, &program);
    close(fds[1]);
    step->give_up = &give_up;
    if (result == STEP_THERE)
        result = step_run(step);
    bool told = result == STEP_GONE && read(fds[0], &why, sizeof why) == sizeof why;
    close(fds[0]);
    if (told)
        return complain(KILL_CANNOT, "%s: %s", options->program[0], strerror(why));
    if (result == STEP_GONE)
        return complain(KILL_CANNOT, "%s: could not be traced: ptrace(2) is not allowed here", options->program[0]);
    return result == STEP_EXECED ? KILL_OK : failed(options, options->program[0], result);
}

/* Is the function there by now?  A KILL_ code, or -1: not yet. */
static int look(struct image *image, pid_t pid, const struct target *target, uintptr_t *ret_address)
{
    const char *path = NULL;
    int result = image_look(image, pid);
    if (result < 0)
        return complain(KILL_CANNOT, "/proc/%d/maps: %s", pid, strerror(-result));
    switch (image_find(image, target->name, ret_address, &path)) {
    case IMAGE_FOUND:
        return KILL_OK;
    case IMAGE_MANY:
        return complain(KILL_CANNOT, "%s: %s has several functions of this name; which is meant cannot be said",
                        target->name, path);
    case IMAGE_CHOSEN_LATE:
        return complain(KILL_CANNOT,
                        "%s: %s chooses among several implementations of it when it is loaded; name one of them",
                        target->name, path);
    default:
        return -1;
    }
}

static int not_found(const struct options *options, const struct image *image, const struct target *target)
{
    char near[400];
    image_suggest(image, target->name, near, sizeof near);
    if (near[0])
        return complain(KILL_CANNOT, "%s: no such function in %s nor in what it loads; there is %s", target->name,
                        options->program[0], near);
    return complain(KILL_CANNOT,
                    "%s: no such function in %s nor in what it loads: inlined, or stripped from its symbols?",
                    target->name, options->program[0]);
}

/* To the entry of the call that is meant.  Libraries are watched for as they are mapped; another program that this one
 * executes takes its place. */
static int enter(struct step *step, const struct options *options, struct image *image, const struct target *target)
{
    uintptr_t address = 0, loader = 0;
    int found = look(image, step->pid, target, &address), result = STEP_EXECED;
    while (found < 0) {
        if (result == STEP_EXECED) {
            loader = image_loader_call(image, step->pid);
            if (loader != 0)
                step_break(step, loader);
        }
        result = step_run(step);
        if (result == STEP_GONE)
            return not_found(options, image, target);
        if (result < 0)
            return failed(options, options->program[0], result);
        found = look(image, step->pid, target, &address);
    }
    if (found != KILL_OK)
        return found;
    if (loader != 0)
        step_unbreak(step, loader);
    result = step_enter(step, address, target->call);
    if (result == STEP_THERE)
        return KILL_OK;
    if (result < 0)
        return failed(options, target->name, result);
    return complain(KILL_CANNOT, "%s: %s ended without %s it", target->name, options->program[0],
                    target->call > 1 ? "so many calls of" : "a call of");
}

/* ---- one point ------------------------------------------------------------------------------------------------- */

static void note_violation(struct finding *finding, uint64_t step, const char *where, const char *who,
                           const char *reason, const char *output)
{
    finding->violations++;
    if (finding->kept_count == KEPT_VIOLATIONS)
        return;
    struct violation *kept = &finding->kept[finding->kept_count++];
    *kept = (struct violation){.step = step, .where = strdup(where), .output = strdup(output)};
    if (asprintf(&kept->reason, "%s %s", who, reason) < 0)
        kept->reason = NULL;
}

/* The environment of the checker, and how it did. */
static int check(const struct options *options, struct finding *finding, uint64_t at, pid_t pid, const char *where,
                 struct check *ret_check)
{
    char text[32];
    ret_check->reason[0] = '\0';
    ret_check->took = 0;
    if (!options->checker)
        return KILL_OK;
    snprintf(text, sizeof text, "%" PRIu64, at);
    setenv("STEPKILL_STEP", text, 1);
    snprintf(text, sizeof text, "%d", pid);
    setenv("STEPKILL_PID", text, 1);
    setenv("STEPKILL_FUNCTION", finding->target->name, 1);
    setenv("STEPKILL_PLACE", where, 1);
    int result = check_run(ret_check, options->checker, options->check_limit);
    if (result < 0)
        return failed(options, "the checker", result);
    finding->all += ret_check->took;
    if (ret_check->took > finding->worst) {
        finding->worst = ret_check->took;
        finding->worst_step = at;
    }
    return KILL_OK;
}

/* After SIGSTOP the program goes on, and ends well. */
static int finish(struct step *step, const struct options *options, char *reason, size_t capacity)
{
    limit_run(options->run_limit);
    int result = step_finish(step);
    limit_run(0);
    if (asked_to_end)
        return KILL_SIGNAL + asked_to_end;
    if (result == -ECANCELED)
        snprintf(reason, capacity, "did not end within %.3g s of SIGCONT", (double)options->run_limit / 1e9);
    else if (result < 0)
        return failed(options, options->program[0], result);
    else if (WIFSIGNALED(step->status))
        snprintf(reason, capacity, "went on after SIGCONT and was killed by SIG%s",
                 signal_name(WTERMSIG(step->status)));
    else if (WEXITSTATUS(step->status) != 0)
        snprintf(reason, capacity, "went on after SIGCONT and exited with %d", WEXITSTATUS(step->status));
    return KILL_OK;
}

/* The process stands at the step: the signal, the checker, the judgement. */
static int kill_here(struct step *step, const struct options *options, struct image *image, struct finding *finding)
{
    struct check done;
    char where[300], reason[128] = "";
    uint64_t at = step->steps;
    pid_t pid = step->pid;
    image_look(image, pid); /* since the entry, more may have been loaded */
    image_describe(image, step_pc(step), where, sizeof where);
    int result = step_kill(step, options->signal);
    limit_run(0);
    if (asked_to_end)
        return KILL_SIGNAL + asked_to_end;
    if (result == -ECANCELED)
        snprintf(reason, sizeof reason, "did not end within %.3g s of SIG%s", (double)options->run_limit / 1e9,
                 signal_name(options->signal));
    else if (result < 0 && result != -ESRCH)
        return failed(options, options->program[0], result);
    if (options->signal != SIGSTOP)
        step_kill(step, SIGKILL);
    int code = check(options, finding, at, pid, where, &done);
    if (code == KILL_OK && options->signal == SIGSTOP)
        code = finish(step, options, reason, sizeof reason);
    if (code != KILL_OK)
        return code;
    finding->points++;
    if (options->checker && done.reason[0])
        note_violation(finding, at, where, "the checker", done.reason, done.output);
    else if (reason[0])
        note_violation(finding, at, where, "the program", reason, "");
    return KILL_OK;
}

/* ---- all points ------------------------------------------------------------------------------------------------ */

static int set_up(const struct options *options)
{
    struct check done;
    if (!options->setup)
        return KILL_OK;
    int result = check_run(&done, options->setup, options->run_limit);
    if (result < 0)
        return failed(options, "--setup", result);
    if (done.reason[0] == '\0')
        return KILL_OK;
    return complain(KILL_CANNOT, "--setup: %s: %s", done.reason, done.output);
}

/* One run: the process is killed after `at` steps, or the function is over before.  Sets `complete` when it is. */
static int run_once(const struct options *options, struct image *image, struct finding *finding, uint64_t at)
{
    struct step step = {.state = STEP_IS_GONE};
    limit_run(options->run_limit);
    int code = start(&step, options), result = STEP_GONE;
    if (code == KILL_OK)
        code = enter(&step, options, image, finding->target);
    if (code == KILL_OK) {
        result = options->by_calls ? step_advance_calls(&step, at) : step_advance(&step, at);
        finding->made += step.steps;
        finding->complete = result >= 0 && result != STEP_THERE;
        finding->ended = finding->complete && result != STEP_RETURNED;
        if (finding->complete)
            finding->steps = step.steps;
        if (result < 0)
            code = failed(options, finding->target->name, result);
        else if (result == STEP_THERE || (result == STEP_RETURNED && step.steps == at)) /* returned, and no more */
            code = kill_here(&step, options, image, finding);
    }
    limit_run(0);
    step_end(&step);
    check_strays();
    return code;
}

static void show_progress(const struct finding *finding, uint64_t at, int64_t *shown)
{
    int64_t time = now();
    if (time - *shown < 1000000000)
        return;
    *shown = time;
    fprintf(stderr, "\r%s: step %" PRIu64 ", %" PRIu64 " violations\033[K", finding->target->name, at,
            finding->violations);
}

int explore(const struct options *options, struct image *image, const struct target *target,
            struct finding *ret_finding)
{
    struct finding *finding = ret_finding;
    bool terminal = !options->quiet && isatty(STDERR_FILENO);
    int64_t began = now(), shown = began;
    int code = KILL_OK;
    *finding = (struct finding){.target = target};
    for (uint64_t at = options->start; code == KILL_OK && !finding->complete; at += options->stride) {
        if ((options->most && finding->points == options->most) || (options->first_only && finding->violations > 0))
            break;
        code = set_up(options);
        if (code == KILL_OK)
            code = run_once(options, image, finding, at);
        if (terminal)
            show_progress(finding, at, &shown);
    }
    if (shown != began)
        fprintf(stderr, "\r\033[K");
    finding->took = now() - began;
    return code;
}
