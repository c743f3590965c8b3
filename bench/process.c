/* bench/process.c - owns forked processes, their start line, the signals that stop a run, and the scratch directory.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever is interrupted leaves nothing behind: children are ended and waited for before the scratch directory goes. */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct crew *volatile current_crew; /* of this process, or NULL */
static bool is_child;
static char scratch[256];
static volatile sig_atomic_t stop_signal;
static void (*volatile stop_hook_function)(void);

/* ---- scratch ---- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    (void)remove(path);
    return 0;
}

static void remove_scratch(void)
{
    if (!is_child && scratch[0])
        nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    scratch[0] = 0;
}

const char *scratch_directory(void)
{
    if (!scratch[0]) {
        const char *base = getenv("TMPDIR");
        if (!base || strlen(base) > 60) /* the name of a socket has 107 bytes in all */
            base = "/tmp";
        snprintf(scratch, sizeof scratch, "%s/wherry-bench-XXXXXX", base);
        if (!mkdtemp(scratch)) {
            scratch[0] = 0;
            die("no scratch directory under %s: %s", base, strerror(errno));
        }
    }
    return scratch;
}

/* ---- stopping ---- */

/* Passing the signal on from within the handler leaves no moment in which the parent has seen no signal yet and then
 * waits for children that nobody ends. */
static void on_stop(int number)
{
    int saved = errno;
    stop_signal = number;
    if (stop_hook_function)
        stop_hook_function();
    for (int i = 0; current_crew && i < current_crew->count; i++)
        if (current_crew->pids[i] > 0)
            kill(current_crew->pids[i], SIGTERM);
    errno = saved;
}

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART: a wait must end */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

void stop_prepare(void)
{
    handle(on_stop);
    atexit(remove_scratch);
}

void stop_hook(void (*hook)(void))
{
    stop_hook_function = hook;
    handle(on_stop);
}

bool stop_wanted(void)
{
    return stop_signal != 0;
}

/* Ask the children to end, and after two seconds end them. */
static void end_crew(struct crew *crew)
{
    for (int tries = 0; tries < 200; tries++) {
        int left = 0;
        for (int i = 0; i < crew->count; i++) {
            if (crew->pids[i] <= 0)
                continue;
            kill(crew->pids[i], tries < 199 ? SIGTERM : SIGKILL);
            if (waitpid(crew->pids[i], NULL, tries < 199 ? WNOHANG : 0) == crew->pids[i])
                crew->pids[i] = 0;
            else
                left++;
        }
        if (left == 0)
            return;
        usleep(10000);
    }
}

_Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (is_child)
        _exit(1);
    if (current_crew)
        end_crew(current_crew);
    exit(1);
}

/* ---- processes ---- */

void crew_init(struct crew *crew)
{
    memset(crew, 0, sizeof *crew);
    if (pipe2(crew->ready, O_CLOEXEC) < 0 || pipe2(crew->start, O_CLOEXEC) < 0)
        die("no pipe: %s", strerror(errno));
    current_crew = crew;
}

void crew_add(struct crew *crew, crew_body *body, void *argument)
{
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        die("cannot fork: %s", strerror(errno));
    if (pid > 0) {
        crew->pids[crew->count++] = pid;
        return;
    }
    is_child = true;
    current_crew = NULL;
    handle(SIG_DFL); /* one that must tidy up says so with stop_hook() */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before we asked to die with it */
        _exit(1);
    close(crew->ready[0]);
    close(crew->start[1]);
    body(crew, argument);
    fflush(NULL);
    _exit(0);
}

void crew_meet(struct crew *crew)
{
    char byte = 1;
    if (write(crew->ready[1], &byte, 1) != 1)
        _exit(1);
    close(crew->ready[1]);
    while (read(crew->start[0], &byte, 1) < 0) /* the end of this pipe is the start of the run */
        if (errno != EINTR || stop_wanted())
            break;
    close(crew->start[0]);
}

/* Wait for a byte of each process; a process that died before it was ready closes the pipe early. */
static void gather(struct crew *crew)
{
    char bytes[16];
    int ready = 0;
    close(crew->ready[1]);
    close(crew->start[0]);
    while (ready < crew->count) {
        ssize_t got = read(crew->ready[0], bytes, sizeof bytes);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR && !stop_wanted())
            continue;
        if (got < 0)
            break;
        ready += (int)got;
    }
    close(crew->ready[0]);
    close(crew->start[1]);
}

bool crew_finish(struct crew *crew)
{
    bool good = true;
    gather(crew);
    for (int left = crew->count; left > 0;) {
        int status;
        if (stop_wanted())
            die("interrupted");
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            break;
        for (int i = 0; i < crew->count; i++) {
            if (crew->pids[i] != pid)
                continue;
            crew->pids[i] = 0;
            left--;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                good = false;
                end_crew(crew); /* the others may wait for it for ever */
                left = 0;
            }
        }
    }
    current_crew = NULL;
    return good;
}
