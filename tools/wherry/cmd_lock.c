/* cmd_lock.c - `wherry lock`: run a command while a file is locked, or show who holds it.
 *
 * SPDX-License-Identifier: MIT
 *
 * The lock is this process's, which waits for the command: the descriptor is closed in the child before fork() returns
 * there, so that nothing the command leaves running can keep the lock (flock(1) hands it on). */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/lock.h>

#include "options.h"
#include "table.h"

enum { OPTION_HOLDERS = OPTION_FIRST, HOLDERS_SCHEMA = 1 };

struct request {
    const char *file;
    char **command; /* NULL: none */
    bool shared, fair, holders;
    enum wherry_lock_kind kind;
    uint64_t start, length;
    int busy_code;
    struct options options;
    struct table_style style;
};

static const char *const kinds[] = {
    [WHERRY_LOCK_OFD] = "ofd", [WHERRY_LOCK_POSIX] = "posix", [WHERRY_LOCK_FLOCK] = "flock"};

/* ---- --holders ---- */

enum { PID, COMMAND, KIND, MODE, STATE, START, END, COLUMNS };

static const struct column columns[COLUMNS] = {
    [PID] = {"PID", "the process; empty: it cannot be known from here", COLUMN_NUMBER, true, 0},
    [COMMAND] = {"COMMAND", "its name", COLUMN_TEXT, true, 0},
    [KIND] = {"KIND", "ofd, posix or flock", COLUMN_TEXT, true, 0},
    [MODE] = {"MODE", "shared or exclusive", COLUMN_TEXT, true, 0},
    [STATE] = {"STATE", "holds or waits", COLUMN_TEXT, true, 0},
    [START] = {"START", "the first byte", COLUMN_NUMBER, true, 0},
    [END] = {"END", "the first byte behind; empty: to the end", COLUMN_NUMBER, true, 0},
};

static int add_row(struct table *table, const struct wherry_lock_holder *holder)
{
    const char *cells[COLUMNS] = {NULL};
    char pid[24], start[24], end[24];
    snprintf(pid, sizeof pid, "%d", (int)holder->pid);
    snprintf(start, sizeof start, "%" PRIu64, holder->start);
    snprintf(end, sizeof end, "%" PRIu64, holder->start + holder->length);
    cells[PID] = holder->pid ? pid : NULL;
    cells[COMMAND] = holder->command[0] ? holder->command : NULL;
    cells[KIND] = kinds[holder->kind];
    cells[MODE] = holder->mode == WHERRY_LOCK_SHARED ? "shared" : "exclusive";
    cells[STATE] = holder->waiting ? "waits" : "holds";
    cells[START] = start;
    cells[END] = holder->length ? end : NULL;
    return table_row(table, cells);
}

/* More may have come between the two calls; then once more. */
static int get_holders(const char *file, struct wherry_lock_holder **ret_list, bool *ret_partial)
{
    struct wherry_lock_holder *list = NULL;
    int room = 0, count;
    while ((count = wherry_lock_holders(file, list, (size_t)room, sizeof *list, ret_partial)) > room) {
        free(list);
        room = count + 8;
        list = calloc((size_t)room, sizeof *list);
        if (!list)
            return complain(-ENOMEM, "lock: no memory");
    }
    *ret_list = list;
    return count < 0 ? complain(count, "lock: %s", wherry_why()) : count;
}

static int print_holders(const struct verb *verb, const struct request *request)
{
    struct wherry_lock_holder *list = NULL;
    struct table *table;
    bool partial = false;
    int count = request->style.list_columns ? 0 : get_holders(request->file, &list, &partial);
    if (count < 0)
        return TOOL_FAILED;
    int code = table_new(verb, "holders", HOLDERS_SCHEMA, columns, COLUMNS, &request->style, &table);
    for (int i = 0; code == 0 && table && i < count; i++)
        if (add_row(table, &list[i]) < 0)
            code = complain(TOOL_FAILED, "no memory");
    free(list);
    if (code == 0 && table)
        code = table_finish(table);
    return code == 0 && partial ? TOOL_PARTIAL : code;
}

/* ---- signals ---- */

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDING = sizeof ending / sizeof *ending };
static volatile sig_atomic_t caught;
static struct wherry_lock *volatile waiting_for;

static void on_signal(int number)
{
    caught = number;
    if (waiting_for)
        wherry_lock_interrupt(waiting_for);
}

/* What was ignored when the command began, as under nohup(1), stays so. */
static void handle(void (*handler)(int))
{
    struct sigaction old, action = {.sa_handler = handler};
    for (int i = 0; i < ENDING; i++)
        if (sigaction(ending[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(ending[i], &action, NULL);
}

/* From here on they are taken by sigwaitinfo(), so that none comes by between two looks. */
static sigset_t block_signals(sigset_t *ret_old)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < ENDING; i++)
        sigaddset(&set, ending[i]);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, ret_old);
    return set;
}

/* ---- while it is locked ---- */

static _Noreturn void become(char **command, pid_t parent, const sigset_t *mask)
{
    /* Should the holder of the lock be killed, the command must not go on without it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        raise(SIGKILL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    int code = errno;
    complain(0, "lock: %s: %s", command[0], strerror(code));
    _exit(code == ENOENT ? TOOL_NOT_FOUND : TOOL_NOT_RUN);
}

/* A terminal sends SIGINT and SIGQUIT to both; who sends one with kill(2) means the command. */
static int wait_for_child(pid_t child, const sigset_t *set)
{
    siginfo_t info;
    int status;
    for (;;) {
        if (sigwaitinfo(set, &info) < 0)
            continue;
        if (info.si_signo != SIGCHLD && info.si_code != SI_KERNEL)
            kill(child, info.si_signo);
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFSIGNALED(status) ? TOOL_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

static int run_command(char **command)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t old;
    pid_t parent = getpid();
    sigaction(SIGCHLD, &normal, NULL); /* ignored, it would take the exit status away */
    handle(SIG_DFL);
    sigset_t set = block_signals(&old);
    if (caught)
        return TOOL_SIGNAL + (int)caught;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return complain(TOOL_CANNOT, "lock: %s cannot be run: %s", command[0], strerror(errno));
    if (child == 0)
        become(command, parent, &old);
    return wait_for_child(child, &set);
}

/* What is blocked comes here though it is ignored.  To be stopped and continued interrupts the wait, and ends
 * nothing. */
static int wait_for_signal(void)
{
    sigset_t old, set = block_signals(&old);
    struct sigaction action;
    siginfo_t info;
    int number = caught;
    for (int i = 1; i < NSIG; i++)
        if (i == SIGCHLD || (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN))
            sigdelset(&set, i);
    while (number <= 0)
        number = sigwaitinfo(&set, &info);
    return TOOL_SIGNAL + number;
}

/* ---- locking ---- */

static int open_lock(const struct request *request, struct wherry_lock **ret_lock)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    options.kind = request->kind;
    options.fair = request->fair;
    options.create = true;
    int result = wherry_lock_open(request->file, &options, ret_lock);
    bool reading_does = request->shared || request->kind == WHERRY_LOCK_FLOCK;
    if (result < 0 && reading_does &&
        (result == -EACCES || result == -EPERM || result == -EROFS || result == -EISDIR)) {
        options.create = false;
        options.read_only = true;
        result = wherry_lock_open(request->file, &options, ret_lock);
        if (result == -ENOENT) { /* then why it could not be made is what matters */
            options.create = true;
            options.read_only = false;
            result = wherry_lock_open(request->file, &options, ret_lock);
        }
    }
    return result;
}

/* Opened anew as often as somebody removes the file before it is locked. */
static int take_lock(const struct request *request, wherry_time deadline, struct wherry_lock **ret_lock)
{
    enum wherry_lock_mode mode = request->shared ? WHERRY_LOCK_SHARED : WHERRY_LOCK_EXCLUSIVE;
    struct wherry_lock *lock;
    int result;
    do {
        result = open_lock(request, &lock);
        if (result < 0)
            return result;
        waiting_for = lock;
        result = caught ? -ECANCELED : wherry_lock_take(lock, mode, request->start, request->length, deadline);
        waiting_for = NULL;
        if (result < 0)
            wherry_lock_close(lock);
    } while (result == -ESTALE);
    if (result == 0)
        *ret_lock = lock;
    return result;
}

static int lock_and_run(const struct request *request)
{
    struct wherry_lock *lock = NULL;
    wherry_time began = wherry_now();
    handle(on_signal);
    int result = take_lock(request, options_deadline(&request->options), &lock);
    if (result == -ECANCELED && caught)
        return TOOL_SIGNAL + (int)caught;
    if (result == -EAGAIN || result == -ETIMEDOUT)
        return complain(request->busy_code, "lock: %s", wherry_why());
    if (result < 0)
        return complain(request->command ? TOOL_CANNOT : TOOL_FAILED, "lock: %s", wherry_why());
    if (request->options.verbose)
        note("lock: %s: locked after %.3f s", request->file, (double)(wherry_now() - began) / (double)WHERRY_SECOND);
    int code = request->command ? run_command(request->command) : wait_for_signal();
    wherry_lock_close(lock);
    return code;
}

/* ---- the command line ---- */

static int take_kind(struct request *request)
{
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(optarg, kinds[i]) == 0) {
            request->kind = (enum wherry_lock_kind)i;
            return 0;
        }
    return misuse(request->options.verb, "--kind takes ofd, posix or flock, not %s", optarg);
}

/* "A:B", "A:" */
static int take_range(struct request *request)
{
    char first[32] = "";
    int64_t start = 0, end = 0;
    const char *colon = strchr(optarg, ':');
    bool fine = colon && colon > optarg && (size_t)(colon - optarg) < sizeof first;
    if (fine)
        memcpy(first, optarg, (size_t)(colon - optarg));
    fine = fine && parse_number(first, 0, INT64_MAX, &start) == NULL &&
           (colon[1] == '\0' || (parse_number(colon + 1, 1, INT64_MAX, &end) == NULL && end > start));
    if (!fine)
        return misuse(request->options.verb, "--range takes A:B, the bytes from A up to and without B, or A:, not %s",
                      optarg);
    request->start = (uint64_t)start;
    request->length = end ? (uint64_t)(end - start) : 0;
    return 0;
}

static int take_option(struct request *request, int option)
{
    int64_t number;
    const char *wrong;
    switch (option) {
    case 's':
        request->shared = true;
        return 0;
    case 'F':
        request->fair = true;
        return 0;
    case 'k':
        return take_kind(request);
    case 'R':
        return take_range(request);
    case 'E':
        wrong = parse_number(optarg, 0, 255, &number);
        if (wrong)
            return misuse(request->options.verb, "-E %s %s", optarg, wrong);
        request->busy_code = (int)number;
        return 0;
    case OPTION_HOLDERS:
        request->holders = true;
        return 0;
    default:
        table_option(&request->style, option);
        return 0;
    }
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG,
                                          TABLE_LONG,
                                          LONG("shared", no_argument, 's'),
                                          LONG("kind", required_argument, 'k'),
                                          LONG("range", required_argument, 'R'),
                                          LONG("fair", no_argument, 'F'),
                                          LONG("conflict-exit-code", required_argument, 'E'),
                                          LONG("holders", no_argument, OPTION_HOLDERS),
                                          {0}};
    struct request request = {.busy_code = TOOL_BUSY, .options = options_of(verb)};
    int option;
    if (strcmp(argv[argc - 1], "--") == 0) /* as a variable for the command that is empty makes it */
        return misuse(verb, "no command follows --; leave both out to keep the lock until a signal");
    while ((option = options_next(&request.options, argc, argv, COMMON_SHORT TABLE_SHORT "sk:R:FE:", longs)) >= 0) {
        int code = take_option(&request, option);
        if (code != 0)
            return code;
    }
    bool lists = request.holders || request.style.list_columns;
    if (option == OPTION_STOP ||
        options_operands(&request.options, argc, request.style.list_columns ? 0 : 1, lists ? 1 : argc) < 0)
        return request.options.code;
    request.file = argv[optind];
    request.command = optind + 1 < argc ? argv + optind + 1 : NULL;
    if (request.kind == WHERRY_LOCK_FLOCK && (request.start || request.length || request.fair))
        return misuse(verb, "flock locks a whole file, and has no order: --range and --fair are for ofd and posix");
    return lists ? print_holders(verb, &request) : lock_and_run(&request);
}

const struct verb verb_lock = {
    .name = "lock",
    .summary = "run under a file's lock",
    .operands = "FILE [-- COMMAND [ARG...]]",
    .help = "Lock a file, made when there is none, run COMMAND, and unlock it.  Without a\n"
            "command the lock is kept until a signal comes.  When the lock cannot be had, the\n"
            "exit code is 5, and a line names who has it.\n"
            "\n"
            "  -s, --shared       a shared lock; else an exclusive one\n"
            "  -k, --kind KIND    ofd (default) or posix: meets fcntl and lockf; flock: meets\n"
            "                     flock(1) and flock(2)\n"
            "  -R, --range A:B    bytes A up to and without B; A: to the end; not with flock\n"
            "  -F, --fair         readers do not starve writers; all must say so\n"
            "  -E, --conflict-exit-code N\n"
            "                     exit with N instead of 5\n"
            "      --holders      take no lock: list who holds one, and who waits\n"
            "\n"
            "With --holders:\n" TABLE_HELP "\n"
            "-w bounds the wait for the lock; 0 does not wait.  Around a command 125 is a\n"
            "failure of wherry's own, 126 and 127 are that it could not be run or found.\n",
    .examples = "Examples:\n"
                "  wherry lock -w 10s ./lock -- tar cf backup.tar .\n"
                "  wherry lock --kind flock -w 0 ./lock -- ./job || echo busy\n"
                "  wherry lock --holders ./lock\n",
    .run = run,
};
