/* tests/fault/test_fault_process.c - owns the proof that any system call and any allocation of a spawn, of a wait
 * and of a pipeline may fail.
 *
 * SPDX-License-Identifier: MIT
 *
 * One case a call, as in test_fault.c: children are started, waited for and signalled, and pipelines too, over and
 * over, with the first, the second ... call of it failing with each errno that it may give; by the main thread, by
 * another with a death_signal, and where vfork is a fork.  Whatever fails says why, keeps its deadline and leaves no
 * descriptor and no child behind; and afterwards all works. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "fault/attempt.h"
#include "fault/inject.h"
#include "harness.h"
#include "process/process.h"

static const int errnos[INJECT_CALLS][8] = {
    [INJECT_mmap] = {ENOMEM},
    [INJECT_mprotect] = {ENOMEM},
    [INJECT_clone] = {EAGAIN, ENOMEM, EMFILE, EPERM},
    [INJECT_waitid] = {EINTR, ECHILD, EINVAL},
    [INJECT_pidfd_open] = {EMFILE, ENFILE, ENOMEM, ESRCH, EINVAL},
    [INJECT_pidfd_send_signal] = {EPERM, ENOSYS},
    [INJECT_pidfd_info] = {ENOTTY, ESRCH},
    [INJECT_kill] = {EPERM},
    [INJECT_pipe2] = {EMFILE, ENFILE},
    [INJECT_read] = {EIO},
    [INJECT_close] = {EINTR, EIO},
    [INJECT_ppoll] = {EINTR, ENOMEM},
    [INJECT_fstat] = {EIO},
    [INJECT_fstatfs] = {EIO},
    [INJECT_epoll_create1] = {EMFILE, ENOMEM},
    [INJECT_epoll_ctl] = {ENOMEM, ENOSPC},
    [INJECT_malloc] = {ENOMEM},
    [INJECT_calloc] = {ENOMEM},
};

enum manner { MAIN, THREAD, FORKED, MANNERS };
static const char *const manner_names[] = {"by the main thread", "by another thread", "with a fork for a vfork"};

struct run {
    enum manner manner;
    struct attempt attempt;
};

static void spawn(struct run *run, const char *program, const char *word, struct wherry_process **ret_process)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const char *const arguments[] = {program, word, NULL};
    options.group = WHERRY_PROCESS_GROUP_NEW;
    options.death_signal = run->manner == FORKED ? 0 : SIGKILL;
    for (int tries = 0; tries < 3 && !*ret_process; tries++)
        attempt_good(&run->attempt, "starting",
                     IN_LIBRARY(wherry_process_spawn(program, arguments, &options, ret_process)));
    if (!*ret_process)
        attempt_problem(&run->attempt, "it cannot be started although nothing fails any more", 0);
}

static bool wait_for(struct run *run, struct wherry_process *process, struct wherry_exit *exit)
{
    int result = -1;
    for (int tries = 0; tries < 3 && result < 0; tries++)
        if (attempt_good(&run->attempt, "waiting",
                         result = (int)IN_LIBRARY(wherry_process_wait(process, test_deadline(), exit))))
            return true;
    if (result != -ECHILD)
        attempt_problem(&run->attempt, "it cannot be waited for although nothing fails any more", result);
    return false;
}

static void use_children(struct run *run)
{
    struct wherry_process *process = NULL, *none = NULL, *again = NULL;
    struct wherry_exit exit;
    spawn(run, "/bin/false", NULL, &process);
    if (process && wait_for(run, process, &exit) && exit.kind && (exit.kind != WHERRY_EXITED || exit.code != 1))
        attempt_problem(&run->attempt, "it ended in another way", exit.code);
    IN_LIBRARY((wherry_process_close(process), 0));
    long long result = IN_LIBRARY(wherry_process_spawn("/nonesuch/program", NULL, NULL, &none));
    if (result != -ENOENT && !(result < 0 && inject_fired()))
        attempt_problem(&run->attempt, "what does not exist was started", result);
    attempt_good(&run->attempt, "not starting", -(result == 0));
    process = NULL;
    spawn(run, "/bin/sleep", "1000", &process);
    if (!process)
        return;
    pid_t pid = wherry_process_pid(process);
    if (attempt_good(&run->attempt, "opening",
                     IN_LIBRARY(wherry_process_open(pid, wherry_process_inode(process), &again))))
        IN_LIBRARY((wherry_process_close(again), 0));
    if (IN_LIBRARY(wherry_process_wait_change(process, wherry_after(300 * WHERRY_MICROSECOND), NULL)) == 0)
        attempt_problem(&run->attempt, "it has ended before its time", 0);
    int tries = 0;
    while (tries < 3 && !attempt_good(&run->attempt, "signalling",
                                      IN_LIBRARY(tries % 2 ? wherry_process_kill(process, SIGKILL)
                                                           : wherry_process_kill_group(process, SIGKILL))))
        tries++;
    if (tries == 3)
        attempt_problem(&run->attempt, "it cannot be signalled although nothing fails any more", 0);
    if (wait_for(run, process, &exit) && exit.kind && (exit.kind != WHERRY_KILLED || exit.code != SIGKILL))
        attempt_problem(&run->attempt, "it was not killed", exit.code);
    IN_LIBRARY((wherry_process_close(process), 0));
}

static void use_pipelines(struct run *run)
{
    const char *const sleep[] = {"sleep", "1000", NULL};
    const struct wherry_command commands[] = {
        {"/bin/true", NULL, NULL}, {"/bin/cat", NULL, NULL}, {"/bin/sleep", sleep, NULL}};
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline = NULL;
    options.death_signal = run->manner == FORKED ? 0 : SIGKILL;
    for (int tries = 0; tries < 3 && !pipeline; tries++)
        attempt_good(&run->attempt, "starting a pipeline",
                     IN_LIBRARY(wherry_pipeline_start(commands, 3, &options, &pipeline)));
    if (!pipeline) {
        attempt_problem(&run->attempt, "a pipeline cannot be started although nothing fails any more", 0);
        return;
    }
    if (IN_LIBRARY(wherry_pipeline_wait(pipeline, wherry_after(WHERRY_MILLISECOND), NULL)) == 0 && !inject_fired())
        attempt_problem(&run->attempt, "a pipeline has ended before its time", 0);
    int tries = 0;
    while (tries < 3 && !attempt_good(&run->attempt, "stopping",
                                      IN_LIBRARY(wherry_pipeline_stop(pipeline, SIGTERM, test_deadline()))))
        tries++;
    if (tries == 3)
        attempt_problem(&run->attempt, "a pipeline cannot be stopped although nothing fails any more", 0);
    IN_LIBRARY((wherry_pipeline_close(pipeline), 0));
}

static void *use_both(void *argument)
{
    struct run *run = argument;
    run->attempt.failed = false;
    use_children(run);
    use_pipelines(run);
    return NULL;
}

static void use(struct run *run)
{
    pthread_t thread;
    if (run->manner != THREAD) {
        use_both(run);
    } else {
        int made = pthread_create(&thread, NULL, use_both, run);
        if (made == 0)
            pthread_join(thread, NULL);
        ck_assert_int_eq(made, 0); /* not before: an assertion allocates, and the fault is for the other thread */
    }
}

/* Returns whether the fault took place. */
static bool carry(struct run *run, enum inject_call call, unsigned nth, int code)
{
    size_t descriptors = test_descriptors();
    wherry_time began = wherry_now();
    wherry__spawn_shares = run->manner != FORKED;
    inject_arm(call, nth, code);
    use(run);
    bool fired = inject_fired();
    inject_arm(call, 0, 0);
    if (call == INJECT_waitid && code != EINTR) /* who took their status is not there: they wait for it still */
        while (waitpid(-1, NULL, 0) > 0)
            ;
    if (waitpid(-1, NULL, WNOHANG) >= 0)
        attempt_problem(&run->attempt, "a child is left", 0);
    if (fired && run->attempt.failed && code == EINTR)
        attempt_problem(&run->attempt, "a signal was noticed", 0);
    attempt_over(&run->attempt, descriptors, began, 12 * WHERRY_SECOND);
    if (fired && !run->attempt.problem[0]) {
        use(run);
        if (run->attempt.failed)
            attempt_problem(&run->attempt, "it does not work afterwards", 0);
    }
    return fired;
}

static size_t call_count(void)
{
    return INJECT_CALLS;
}

TEST_WITH(a_process_call_may_fail, .count = call_count, .entry = inject_name, .seconds = 240)
{
    enum inject_call call = (enum inject_call)index;
    char report[3000] = "";
    size_t faults = 0, problems = 0;
    inject_init();
    struct wherry_process *first = NULL;
    test_ok(wherry_process_spawn("/bin/true", NULL, NULL, &first)); /* what is done once is done */
    test_ok(wherry_process_wait(first, test_deadline(), NULL));
    wherry_process_close(first);
    for (unsigned manner = 0; manner < MANNERS; manner++)
        for (const int *code = errnos[call]; *code; code++)
            for (unsigned nth = 1; nth < 200; nth++) {
                struct run run = {.manner = (enum manner)manner};
                bool fired = carry(&run, call, nth, *code);
                if (run.attempt.problem[0] && strlen(report) < sizeof report - 500) {
                    size_t filled = strlen(report);
                    problems++;
                    snprintf(report + filled, sizeof report - filled, "\n%s: call %u with %s: %.300s",
                             manner_names[manner], nth, strerrorname_np(*code), run.attempt.problem);
                }
                faults += fired;
                if (!fired)
                    break;
            }
    ck_assert_msg(problems == 0, "%zu problems in %zu faults:%s", problems, faults, report);
    printf("# %s: %zu faults, 0 problems\n", inject_name(index), faults);
    fflush(stdout);
}
