/* run_init.c - owns `wherry run -- CMD`: one command, with somebody over it who does what PID 1 has to do.
 *
 * SPDX-License-Identifier: MIT
 *
 * The command gets what this process got: descriptors, ignored and blocked signals, the terminal; and every signal that
 * comes.  Orphans are adopted and waited for.  Once the command has ended, who is left is ended, too. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

enum { MOST_SIGNALS = 64 };

static const char unit_name[] = "command";

struct init {
    const struct run_request *request;
    struct wherry_supervisor *supervisor;
    struct wherry_signals *signals;
    struct run_terminal terminal;
    bool timed_out;
};

/* ---- what the command inherits ---- */

struct inheritance {
    struct wherry_process_fd *fds;
    size_t fd_count, fd_capacity;
    int ignored[MOST_SIGNALS], blocked[MOST_SIGNALS];
    struct wherry_process_options options;
};

/* As exec(2) would have it: those without close-on-exec.  0, 1 and 2 go without saying. */
static bool add_fd(struct inheritance *all, int fd)
{
    int flags = fd > 2 ? fcntl(fd, F_GETFD) : -1;
    if (flags < 0 || flags & FD_CLOEXEC)
        return true;
    if (all->fd_count == all->fd_capacity) {
        size_t capacity = all->fd_capacity ? all->fd_capacity * 2 : 64;
        struct wherry_process_fd *fds = realloc(all->fds, capacity * sizeof *fds);
        if (!fds)
            return false;
        all->fds = fds;
        all->fd_capacity = capacity;
    }
    all->fds[all->fd_count++] = (struct wherry_process_fd){.child = fd, .own = fd};
    return true;
}

static bool find_fds(struct inheritance *all)
{
    enum { FAR = 1 << 16 }; /* no more can be handed on */
    DIR *directory = opendir("/proc/self/fd");
    bool fine = true;
    for (int fd = 0; !directory && fine && fd < FAR; fd++) /* no /proc, or no descriptor left to read it by */
        fine = add_fd(all, fd);
    for (struct dirent *entry; directory && fine && (entry = readdir(directory));)
        fine = add_fd(all, isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : -1);
    if (directory)
        closedir(directory);
    return fine;
}

static int inherit(struct inheritance *all)
{
    struct sigaction action;
    sigset_t mask;
    size_t ignored = 0, blocked = 0;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i <= SIGRTMAX && i <= MOST_SIGNALS; i++) {
        if (i == SIGKILL || i == SIGSTOP || sigaction(i, NULL, &action) != 0)
            continue;
        if (action.sa_handler == SIG_IGN)
            all->ignored[ignored++] = i;
        if (sigismember(&mask, i) == 1)
            all->blocked[blocked++] = i;
    }
    all->options = (struct wherry_process_options)WHERRY_PROCESS_OPTIONS;
    all->options.ignored = all->ignored;
    all->options.ignored_count = ignored;
    all->options.blocked = all->blocked;
    all->options.blocked_count = blocked;
    if (!find_fds(all))
        return complain(TOOL_FAILED, "run: no memory");
    all->options.fds = all->fds;
    all->options.fd_count = all->fd_count;
    return 0;
}

/* ---- signals ---- */

/* All but those that cannot be caught, that mean a fault of this process, or that its own doings bring about. */
static bool is_passed_on(int number)
{
    static const int own[] = {SIGKILL, SIGSTOP, SIGCHLD, SIGTTIN, SIGTTOU, SIGSEGV,
                              SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP, SIGSYS,  SIGABRT};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i] == number)
            return false;
    return number < 32 || number >= SIGRTMIN;
}

static int open_signals(struct init *init)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    int numbers[MOST_SIGNALS];
    size_t count = 0;
    sigaction(SIGCHLD, &normal, NULL); /* ignored, it would take the exit status away */
    for (int i = 1; i <= SIGRTMAX && i <= MOST_SIGNALS; i++)
        if (is_passed_on(i))
            count += signals_not_ignored(&i, 1, numbers + count);
    int result = wherry_signals_open(numbers, count, NULL, &init->signals);
    return result < 0 ? complain(TOOL_CANNOT, "run: %s", wherry_why()) : 0;
}

static struct wherry_unit_status status_of(const struct init *init)
{
    struct wherry_unit_status status = {0};
    (void)wherry_supervisor_status(init->supervisor, 0, &status);
    return status;
}

/* To the command; its number is its own as long as it is not waited for, and then status.pid is 0. */
static void pass_on(const struct init *init, const struct wherry_signal *signal, pid_t pid)
{
    char name[WHERRY_SIGNAL_NAME];
    if (init->request->options.verbose)
        note("run: %s is passed on", wherry_signal_name(signal->number, name, sizeof name));
    if (init->request->group)
        (void)wherry_signal_send_group(pid, signal->number);
    else
        (void)wherry_signal_send(pid, signal->number, signal->has_value ? &signal->value : NULL);
}

static bool means_the_end(int number)
{
    return number == SIGTERM || number == SIGINT || number == SIGHUP || number == SIGQUIT;
}

static void take_signals(struct init *init)
{
    struct wherry_signal signal;
    while (wherry_signals_receive(init->signals, &signal, WHERRY_NOW) == 1) {
        struct wherry_unit_status status = status_of(init);
        if (status.state == WHERRY_UNIT_READY)
            pass_on(init, &signal, status.pid);
        else if (means_the_end(signal.number)) /* the command has ended, and others linger */
            wherry_supervisor_kill(init->supervisor);
    }
}

/* ---- running ---- */

static void on_change(void *data, const struct wherry_unit_status *status)
{
    struct init *init = data;
    if (status->state == WHERRY_UNIT_READY)
        terminal_give(&init->terminal, status->pid);
}

static int start(struct init *init, struct inheritance *inheritance)
{
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_unit_options unit = WHERRY_UNIT_OPTIONS;
    options.reap_all = true;
    options.output = -1;
    options.on_change = on_change;
    options.data = init;
    unit.arguments = (const char *const *)init->request->command;
    unit.process = &inheritance->options;
    if (wherry_supervisor_open(&options, &init->supervisor) < 0 ||
        wherry_supervisor_add(init->supervisor, unit_name, &unit) < 0)
        return complain(TOOL_CANNOT, "run: %s", wherry_why());
    return 0;
}

/* Whoever waits for it is told that it was stopped, once. */
static void look_whether_stopped(struct init *init)
{
    struct wherry_unit_status status = status_of(init);
    siginfo_t info = {0};
    if (status.pid > 0 && waitid(P_PID, (id_t)status.pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == status.pid)
        terminal_child_stopped(&init->terminal, info.si_status);
}

static void wait_for_something(struct init *init, wherry_time until)
{
    struct pollfd fds[] = {{.fd = wherry_supervisor_fd(init->supervisor), .events = POLLIN},
                           {.fd = wherry_signals_fd(init->signals), .events = POLLIN}};
    wherry_time left = until == WHERRY_FOREVER ? 0 : until - wherry_now();
    struct timespec span = {.tv_sec = left > 0 ? left / WHERRY_SECOND : 0,
                            .tv_nsec = left > 0 ? left % WHERRY_SECOND : 0};
    (void)ppoll(fds, 2, until == WHERRY_FOREVER ? NULL : &span, NULL);
}

static void loop(struct init *init)
{
    wherry_time deadline = options_deadline(&init->request->options);
    int result;
    while ((result = wherry_supervisor_dispatch(init->supervisor, WHERRY_NOW)) == 1 || result == -EAGAIN) {
        look_whether_stopped(init);
        if (result == 1)
            continue;
        wait_for_something(init, deadline);
        take_signals(init);
        if (deadline != WHERRY_FOREVER && wherry_now() >= deadline) {
            deadline = WHERRY_FOREVER;
            init->timed_out = true;
            wherry_supervisor_stop(init->supervisor, NULL);
        }
    }
}

static int code_of(const struct init *init)
{
    struct wherry_unit_status status = status_of(init);
    if (status.error == -ENOENT || status.error == -ENOTDIR)
        return complain(TOOL_NOT_FOUND, "run: %s", status.why);
    if (status.error == -EACCES || status.error == -ENOEXEC || status.error == -EISDIR || status.error == -E2BIG)
        return complain(TOOL_NOT_RUN, "run: %s", status.why);
    if (status.error)
        return complain(TOOL_CANNOT, "run: %s", status.why);
    if (init->timed_out)
        return complain(TOOL_TIMED_OUT, "run: the time that -w leaves was over, and it was stopped");
    return status.has_ended ? wherry_exit_status(&status.last) : TOOL_CANNOT;
}

int run_command_as_init(const struct run_request *request)
{
    struct init init = {.request = request};
    struct inheritance inheritance = {.fds = NULL};
    int code = inherit(&inheritance);
    if (code == 0)
        code = open_signals(&init);
    terminal_open(&init.terminal);
    if (code == 0)
        code = start(&init, &inheritance);
    if (code == 0) {
        loop(&init);
        code = code_of(&init);
    }
    wherry_supervisor_close(init.supervisor);
    terminal_close(&init.terminal);
    wherry_signals_close(init.signals);
    free(inheritance.fds);
    return code;
}
