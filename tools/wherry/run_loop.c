/* run_loop.c - owns the process that supervises: one loop over units, signals, requests and what is printed.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

enum { MUCH_WAITING = 1 << 16, LITTLE_WAITING = 1 << 14 }; /* bytes that wait for standard output */
static const wherry_time patience_at_the_end = 5 * WHERRY_SECOND;

extern char **environ;

/* ---- what units do ---- */

static const struct run_unit *unit_of(const struct run *run, const char *name)
{
    return plan_find(run->plan, name, strlen(name));
}

static bool ended_well(const struct wherry_unit_status *status)
{
    return status->error == 0 && status->has_ended && status->last.kind == WHERRY_EXITED && status->last.code == 0;
}

static int code_of(const struct wherry_unit_status *status)
{
    if (status->error != 0)
        return status->error == -ENOENT ? TOOL_NOT_FOUND : TOOL_NOT_RUN;
    int code = status->has_ended ? wherry_exit_status(&status->last) : 0;
    return code != 0 || status->state != WHERRY_UNIT_FAILED ? code : TOOL_FAILED; /* not ready in time */
}

void run_stop_all(struct run *run)
{
    if (!run->stopping)
        wherry_supervisor_stop(run->supervisor, NULL);
    run->stopping = true;
}

/* --any-exit, --exit-on-failure: whoever comes first says what to exit with. */
static void end_because_of(struct run *run, const struct wherry_unit_status *status)
{
    const struct run_unit *unit = unit_of(run, status->name);
    bool is_step = unit && unit->options.ready == WHERRY_READY_EXITED && status->state == WHERRY_UNIT_ENDED;
    bool failed = status->state == WHERRY_UNIT_FAILED;
    bool ends = (run->request->exit_on_failure && failed) ||
                (run->request->any_exit && (failed || (status->state == WHERRY_UNIT_ENDED && !is_step)));
    if (!ends || run->stopping)
        return;
    run->code = code_of(status);
    screen_say(&run->screen, "%s %s: all are stopped", status->name, failed ? "failed" : "ended");
    run->end_all = true; /* not from within the call that tells of it */
}

static void say_change(struct run *run, const struct wherry_unit_status *status)
{
    char text[64] = "";
    bool verbose = run->request->options.verbose;
    double pause = (double)(status->next - wherry_now()) / (double)WHERRY_SECOND;
    switch (status->state) {
    case WHERRY_UNIT_FAILED:
        screen_say(&run->screen, "%s: failed: %s", status->name, status->why);
        break;
    case WHERRY_UNIT_BACKOFF:
        if (verbose || !ended_well(status))
            screen_say(&run->screen, "%s: %s; it is started again in %.1f s", status->name, status->why,
                       pause > 0 ? pause : 0);
        break;
    case WHERRY_UNIT_ENDED:
        if (status->has_ended)
            wherry_exit_text(&status->last, text, sizeof text);
        if (verbose)
            screen_say(&run->screen, "%s: ended: it %s%s", status->name,
                       status->last.kind == WHERRY_KILLED ? "was " : "", text[0] ? text : "was not started");
        else if (run->stopping && !run->killed && status->last.kind == WHERRY_KILLED && status->last.code == SIGKILL)
            screen_say(&run->screen, "%s: did not stop in time, and was killed", status->name);
        break;
    default:
        if (verbose && status->pid)
            screen_say(&run->screen, "%s: %s, pid %d", status->name, wherry_unit_state_name(status->state),
                       (int)status->pid);
        else if (verbose)
            screen_say(&run->screen, "%s: %s", status->name, wherry_unit_state_name(status->state));
    }
}

static void on_change(void *data, const struct wherry_unit_status *status)
{
    struct run *run = data;
    say_change(run, status);
    end_because_of(run, status);
    run->screen.dirty = true;
}

static void on_line(void *data, const char *unit, int stream, const char *line, size_t size)
{
    struct run *run = data;
    (void)stream;
    screen_line(&run->screen, unit, line, size);
}

/* ---- making the units ---- */

/* The environment, with the unit's own variables instead of those of the same name. */
static const char *const *environment_of(struct run_plan *plan, const struct run_unit *unit)
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    const char **all = plan_memory(plan, (count + unit->variables.count + 1) * sizeof *all);
    for (size_t i = 0; all && i < count + unit->variables.count; i++) {
        const char *variable = i < count ? environ[i] : unit->variables.items[i - count];
        size_t size = strcspn(variable, "=") + 1, at = 0;
        while (at < kept && strncmp(all[at], variable, size) != 0)
            at++;
        all[at] = variable;
        kept += at == kept;
    }
    return all;
}

static int add_unit(struct run *run, struct run_unit *unit)
{
    static const struct wherry_process_fd no_input = {.child = 0, .own = WHERRY_PROCESS_NULL};
    unit->process.environment = environment_of(run->plan, unit);
    if (!unit->process.environment)
        return TOOL_FAILED;
    unit->process.fds = &no_input;
    unit->process.fd_count = 1;
    unit->options.arguments = unit->arguments;
    unit->options.process = &unit->process;
    unit->options.lines = true;
    int result = wherry_supervisor_add(run->supervisor, unit->name, &unit->options);
    return result < 0 ? complain(TOOL_USAGE, "run: %s", wherry_why()) : 0;
}

static int make_units(struct run *run)
{
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    options.reap_all = true;
    options.output = -1;
    options.on_change = on_change;
    options.on_line = on_line;
    options.data = run;
    if (wherry_supervisor_open(&options, &run->supervisor) < 0)
        return complain(TOOL_FAILED, "run: %s", wherry_why());
    int code = 0;
    for (size_t i = 0; code == 0 && i < run->plan->count; i++)
        code = add_unit(run, run->plan->units[i]);
    run->screen.supervisor = run->supervisor;
    return code;
}

/* ---- signals ---- */

static int open_signals(struct run *run)
{
    static const int always[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    int numbers[RUN_SIGNALS + 4];
    size_t count = signals_not_ignored(always, sizeof always / sizeof *always, numbers);
    count += signals_not_ignored(run->request->forward, run->request->forward_count, numbers + count);
    int result = wherry_signals_open(numbers, count, NULL, &run->signals);
    return result < 0 ? complain(TOOL_FAILED, "run: %s", wherry_why()) : 0;
}

static bool is_forwarded(const struct run *run, int number)
{
    for (size_t i = 0; i < run->request->forward_count; i++)
        if (run->request->forward[i] == number)
            return true;
    return false;
}

/* The terminal was closed: its shell tells us by the same signal that else means a reload. */
static bool terminal_is_gone(const struct run *run)
{
    struct pollfd poll_fd = {.fd = run->terminal};
    return run->terminal >= 0 && poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP);
}

static void take_signal(struct run *run, int number)
{
    if (is_forwarded(run, number)) {
        wherry_supervisor_signal(run->supervisor, NULL, number);
    } else if (number == SIGHUP && !terminal_is_gone(run)) {
        wherry_supervisor_reload(run->supervisor, NULL);
    } else {
        bool at_once = run->stopping || number == SIGQUIT;
        run_stop_all(run);
        if (!at_once)
            return;
        run->ended_by = number;
        run->killed = true;
        wherry_supervisor_kill(run->supervisor);
    }
}

static void take_signals(struct run *run)
{
    struct wherry_signal signal;
    while (wherry_signals_receive(run->signals, &signal, WHERRY_NOW) == 1)
        take_signal(run, signal.number);
}

/* ---- the loop ---- */

static bool pipe_kills; /* SIGPIPE had its default when we began */

/* Nobody reads standard output: as a command would die of it, the run ends.  Where SIGPIPE is ignored, as under
 * systemd, the units go on, and what they print is dropped. */
static void look_at_output(struct run *run)
{
    if (!run->screen.out.error || run->nobody_reads)
        return;
    run->nobody_reads = true;
    run->dies_of_pipe = pipe_kills && run->screen.out.error == EPIPE;
    if (!run->dies_of_pipe)
        screen_say(&run->screen, "standard output: %s: what units print is dropped", strerror(run->screen.out.error));
    else if (!run->stopping)
        run_stop_all(run);
}

static int milliseconds_until(wherry_time time)
{
    if (time == WHERRY_FOREVER)
        return -1;
    wherry_time left = time - wherry_now();
    return left <= 0 ? 0 : left > 3600 * WHERRY_SECOND ? 3600000 : (int)(left / WHERRY_MILLISECOND) + 1;
}

/* -1 takes no part in poll(2). */
static int waited_for(const struct sink *sink)
{
    return sink_waiting(sink) > 0 && !sink->error ? sink->fd : -1;
}

static void wait_for_something(struct run *run, bool busy, wherry_time until)
{
    struct pollfd fds[] = {
        {.fd = wherry_supervisor_fd(run->supervisor), .events = POLLIN},
        {.fd = wherry_signals_fd(run->signals), .events = POLLIN},
        {.fd = control_fd(run->control), .events = POLLIN},
        {.fd = waited_for(&run->screen.out), .events = POLLOUT},
        {.fd = waited_for(&run->screen.err), .events = POLLOUT},
    };
    (void)poll(fds, sizeof fds / sizeof *fds, busy ? 0 : milliseconds_until(until));
}

/* Nothing runs, and nothing will; what was printed is delivered as long as that takes, unless somebody wants the end.
 * Until then turns go on: signals, questions and the time that -w leaves count as before. */
static bool is_over(const struct run *run, int result)
{
    return result == 0 && (run->stopping || (!control_holds(run->control) && waited_for(&run->screen.out) < 0));
}

/* One turn; false: it is over. */
static bool turn(struct run *run, wherry_time *deadline)
{
    int result = wherry_supervisor_dispatch(run->supervisor, WHERRY_NOW);
    if (result < 0 && result != -EAGAIN) {
        run->code = complain(TOOL_FAILED, "run: %s", wherry_why());
        return false;
    }
    if (run->end_all && !run->stopping)
        run_stop_all(run);
    if (control_step(run->control))
        result = 1; /* what was asked is dispatched before anything is over */
    wherry_time until = screen_update(&run->screen);
    size_t waiting = sink_waiting(&run->screen.out);
    if (run->holds ? waiting < LITTLE_WAITING : waiting > MUCH_WAITING)
        wherry_supervisor_hold(run->supervisor, run->holds = !run->holds);
    look_at_output(run);
    if (is_over(run, result))
        return false;
    if (*deadline != WHERRY_FOREVER && wherry_now() >= *deadline) {
        *deadline = WHERRY_FOREVER;
        run->code = TOOL_TIMED_OUT;
        screen_say(&run->screen, "the time that -w leaves is over: all are stopped");
        run_stop_all(run);
    }
    wait_for_something(run, result == 1, until < *deadline ? until : *deadline);
    take_signals(run);
    return true;
}

/* Somebody wanted the end: what was printed has some seconds, which another signal ends. */
static void finish_printing_lines(struct run *run)
{
    wherry_time until = wherry_after(patience_at_the_end);
    run->screen.draws = false;
    screen_clear(&run->screen);
    while (waited_for(&run->screen.out) >= 0 && wherry_now() < until) {
        struct wherry_signal signal;
        bool busy = control_step(run->control);
        (void)wherry_supervisor_dispatch(run->supervisor, WHERRY_NOW); /* what was asked made it readable */
        sink_flush(&run->screen.out);
        sink_flush(&run->screen.err);
        wait_for_something(run, busy || waited_for(&run->screen.out) < 0, until);
        if (wherry_signals_receive(run->signals, &signal, WHERRY_NOW) == 1)
            until = 0;
    }
    look_at_output(run);
}

/* ---- the end ---- */

static int final_code(const struct run *run)
{
    struct wherry_unit_status status;
    if (run->ended_by)
        return TOOL_SIGNAL + run->ended_by;
    if (run->code)
        return run->code;
    for (size_t i = 0; wherry_supervisor_status(run->supervisor, i, &status) == 0; i++)
        if (status.state == WHERRY_UNIT_FAILED || status.state == WHERRY_UNIT_WAITING)
            return TOOL_FAILED;
    return TOOL_OK;
}

static void say_who_waits(struct run *run)
{
    struct wherry_unit_status status;
    for (size_t i = 0; wherry_supervisor_status(run->supervisor, i, &status) == 0; i++)
        if (status.state == WHERRY_UNIT_WAITING)
            screen_say(&run->screen, "%s: was not started: %s", status.name, status.why);
}

static int supervise(struct run *run, const struct run_place *place)
{
    wherry_time deadline = options_deadline(&run->request->options);
    struct sigaction before, ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, NULL, &before) == 0 && before.sa_handler == SIG_DFL)
        pipe_kills = sigaction(SIGPIPE, &ignore, NULL) == 0;
    sigaction(SIGTTOU, &ignore, NULL); /* a terminal that is not ours to read may be written to */
    int code = open_signals(run);
    if (code == 0)
        code = control_open(run, place, &run->control);
    if (code == 0)
        code = make_units(run);
    if (code != 0)
        return code;
    while (turn(run, &deadline))
        ;
    say_who_waits(run);
    finish_printing_lines(run);
    return final_code(run);
}

static void note_front(struct run *run)
{
    struct wherry_process *front = NULL;
    run->front = getpid() == 1 ? 1 : getppid();
    if (wherry_process_open(run->front, 0, &front) == 0)
        run->front_inode = wherry_process_inode(front);
    wherry_process_close(front);
}

int run_units(const struct run_request *request, struct run_plan *plan, const struct run_place *place)
{
    struct run run = {.request = request, .plan = plan};
    int code;
    if (!guard_enter(request, place, &code))
        return code;
    note_front(&run);
    run.terminal = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    screen_open(&run.screen, &request->options, plan);
    code = supervise(&run, place);
    control_close(run.control);
    wherry_supervisor_close(run.supervisor);
    wherry_signals_close(run.signals);
    screen_close(&run.screen);
    if (run.terminal >= 0)
        close(run.terminal);
    guard_leave(place);
    if (run.dies_of_pipe) {
        struct sigaction as_it_was = {.sa_handler = SIG_DFL};
        sigaction(SIGPIPE, &as_it_was, NULL);
        raise(SIGPIPE);
    }
    return code;
}
