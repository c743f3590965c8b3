/* tests/unit/test_process_death.c - owns what becomes of children whose parent ends, and the traps around reaping.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/time.h>

#include "base/sys.h"
#include "process/process.h"
#include "process_kit.h"
#include "unit/namespace_kit.h"

/* ---- death with the parent ---- */

struct tied {
    int signal;     /* death_signal */
    bool by_thread; /* started by another thread than the main one, which ends */
    bool namespaced;
    pid_t pid; /* of the child; in memory that all share */
    struct wherry_process *process;
    struct test_gate started;
};

static void start_tied(struct tied *tied)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    options.death_signal = tied->signal;
    options.pid_namespace = tied->namespaced;
    tied->process = kit_start(WORDS("pause"), &options);
    tied->pid = wherry_process_pid(tied->process);
}

static void *start_and_end(void *argument)
{
    start_tied(argument);
    return NULL;
}

/* The thread that started the child is gone from the process when this returns. */
static void start_from_a_thread(struct tied *tied)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, start_and_end, tied), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void be_a_parent(void *argument)
{
    struct tied *tied = argument;
    if (tied->by_thread)
        start_from_a_thread(tied);
    else
        start_tied(tied);
    test_gate_open(&tied->started);
    for (;;)
        pause();
}

static const struct {
    const char *name;
    struct tied tied;
} ties[] = {
    {"by SIGKILL", {.signal = SIGKILL}},
    {"by SIGTERM", {.signal = SIGTERM}},
    {"by SIGKILL, started by a thread that ended", {.signal = SIGKILL, .by_thread = true}},
    {"by SIGKILL, in a PID namespace", {.signal = SIGKILL, .namespaced = true}},
    {"by SIGKILL, in a PID namespace, started by a thread", {.signal = SIGKILL, .by_thread = true, .namespaced = true}},
};

TEST_TABLE(h63_a_child_ends_with_its_parent, ties)
{
    test_needs(TEST_SUBREAPER);
    if (ties[index].tied.namespaced && !test_is_root())
        test_skip("a PID namespace needs root");
    struct tied *tied = test_shared(sizeof *tied);
    *tied = ties[index].tied;
    test_gate_init(&tied->started);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that the orphan's end is seen, and how it ended */
    pid_t parent = test_fork(be_a_parent, tied);
    test_gate_wait(&tied->started);
    ck_assert(kit_alive(tied->pid));
    test_kill(parent);
    kit_await_end(tied->pid);
    int status;
    ck_assert_int_eq(waitpid(tied->pid, &status, 0), tied->pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == tied->signal);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    test_gate_fini(&tied->started);
}

TEST(h63_a_child_outlives_the_thread_that_started_it)
{
    test_needs(TEST_SHARED_VFORK);
    struct tied tied = {.signal = SIGKILL};
    for (int round = 0; round < 20; round++) {
        start_from_a_thread(&tied);
        struct pollfd end = {.fd = wherry_process_fd(tied.process), .events = POLLIN};
        ck_assert_int_eq(poll(&end, 1, round == 0 ? 200 : 0), 0); /* it had time to die */
        test_ok(wherry_process_kill(tied.process, SIGUSR1));
        kit_killed(tied.process, SIGUSR1);
    }
}

static pthread_t threads[8];
static _Atomic bool stop;

static void *start_many(void *argument)
{
    (void)argument;
    for (int i = 0; i < 25; i++) {
        struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
        options.death_signal = SIGKILL;
        struct wherry_process *process = kit_start(WORDS("exit", "7"), &options);
        kit_exited(process, 7);
    }
    return NULL;
}

TEST_WITH(many_threads_start_tied_children_at_once, .seconds = 120)
{
    test_needs(TEST_SHARED_VFORK);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, start_many, NULL), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

/* ---- SIGCHLD, and waits elsewhere ---- */

static int refuse_info(int pidfd, unsigned long request, void *info)
{
    (void)pidfd, (void)request, (void)info;
    errno = ENOTTY; /* as before Linux 6.15 */
    return -1;
}

static bool kernel_remembers(void)
{
    struct wherry_process *process = kit_start(WORDS("exit", "1"), NULL);
    struct wherry_exit exit;
    int status;
    ck_assert_int_eq(waitpid(wherry_process_pid(process), &status, 0), wherry_process_pid(process));
    int result = wherry_process_wait(process, test_deadline(), &exit);
    wherry_process_close(process);
    return result == 0;
}

static void lose_status(bool ignored)
{
    struct wherry_exit exit = {.kind = WHERRY_STOPPED};
    struct wherry_process *process = kit_start(WORDS("exit", "9"), NULL);
    if (!ignored)
        while (waitpid(-1, NULL, 0) < 0 && errno == EINTR) /* somebody else's wait(-1) */
            ;
    int result = wherry_process_wait(process, test_deadline(), &exit);
    if (result == 0) {
        ck_assert_int_eq(exit.kind, WHERRY_EXITED);
        ck_assert_int_eq(exit.code, 9);
    } else {
        ck_assert_int_eq(result, -ECHILD);
        ck_assert_int_eq(exit.kind, WHERRY_STOPPED); /* untouched */
        ck_assert_msg(strstr(wherry_why(), "how is lost") != NULL, "%s", wherry_why());
    }
    test_is(wherry_process_wait(process, WHERRY_NOW, NULL), result);
    test_is(wherry_process_kill(process, SIGKILL), -ESRCH);
    wherry_process_close(process);
}

TEST_WITH(h61_the_end_is_seen_although_somebody_else_took_the_status, .leaves = TEST_LEAVES_SIGNALS)
{
    bool remembers = kernel_remembers();
    for (int old = 0; old < 2; old++) {
        if (old)
            wherry__sys.pidfd_info = refuse_info;
        ck_assert(!old || !kernel_remembers());
        lose_status(false);
        signal(SIGCHLD, SIG_IGN);
        lose_status(true);
        signal(SIGCHLD, SIG_DFL);
    }
    printf("# this kernel %s how a process ended that somebody else reaped\n", remembers ? "remembers" : "forgets");
}

TEST_WITH(h61_a_program_that_cannot_start_is_an_error_with_sigchld_ignored, .leaves = TEST_LEAVES_SIGNALS)
{
    struct wherry_process *process = NULL;
    signal(SIGCHLD, SIG_IGN);
    test_is(wherry_process_spawn("/nonesuch", NULL, NULL, &process), -ENOENT);
    signal(SIGCHLD, SIG_DFL);
}

/* ---- numbers that are used again ---- */

/* Make the next process have this number; false where that is not allowed. */
static bool set_next_pid(pid_t pid)
{
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    int size = snprintf(text, sizeof text, "%d", (int)pid - 1);
    bool result = write(fd, text, (size_t)size) == size;
    close(fd);
    return result;
}

static struct wherry__sys real;

static int no_group_flag(int pidfd, int signal, siginfo_t *info, unsigned flags)
{
    if (flags == 0)
        return real.pidfd_send_signal(pidfd, signal, info, 0);
    errno = EINVAL; /* as before Linux 6.9 */
    return -1;
}

static void use_a_number_again(void *argument)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process *old, *stranger = NULL, *again = NULL;
    bool reused = false;
    (void)argument;
    ck_assert_int_eq(mount("proc", "/proc", "proc", 0, NULL), 0);
    options.group = WHERRY_PROCESS_GROUP_NEW;
    for (int tries = 0; tries < 200 && !reused; tries++) {
        old = kit_start(WORDS("exit", "0"), &options);
        pid_t pid = wherry_process_pid(old);
        uint64_t inode = wherry_process_inode(old);
        kit_wait(old);
        ck_assert(set_next_pid(pid));
        stranger = kit_start(WORDS("pause"), &options);
        reused = wherry_process_pid(stranger) == pid;
        if (reused) {
            test_is(wherry_process_kill(old, SIGKILL), -ESRCH);
            test_is(wherry_process_kill_group(old, SIGKILL), -ESRCH);
            real = wherry__sys;
            wherry__sys.pidfd_send_signal = no_group_flag; /* an older kernel: by number, or not at all */
            test_is(wherry_process_kill_group(old, SIGKILL), -ESRCH);
            wherry__sys = real;
            if (inode) {
                test_is(wherry_process_open(pid, inode, &again), -ESRCH);
                ck_assert_msg(strstr(wherry_why(), "another process by now") != NULL, "%s", wherry_why());
                ck_assert_uint_ne(wherry_process_inode(stranger), inode);
                test_ok(wherry_process_open(pid, wherry_process_inode(stranger), &again));
                wherry_process_close(again);
            }
            ck_assert(kit_alive(pid));
            test_is(wherry_process_wait(stranger, WHERRY_NOW, NULL), -EAGAIN);
        }
        test_ok(wherry_process_kill(stranger, SIGTERM));
        kit_killed(stranger, SIGTERM);
        wherry_process_close(old);
    }
    ck_assert_msg(reused, "the number was never used again");
}

/* Whoever else is on this host is not to meet numbers again that it has just seen end. */
static void begin_numbers(__attribute__((unused)) void *nothing)
{
    first_of_its_own(use_a_number_again, NULL, 0, 45);
}

TEST(h62_a_number_used_again_is_no_target)
{
    if (!test_is_root())
        test_skip("ns_last_pid needs CAP_CHECKPOINT_RESTORE");
    test_join_by(test_fork(begin_numbers, NULL), wherry_after(50 * WHERRY_SECOND * (wherry_time)test_slowness()));
}

TEST(h62_a_group_is_not_signalled_by_number_once_its_leader_is_reaped)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    real = wherry__sys;
    wherry__sys.pidfd_send_signal = no_group_flag;
    options.group = WHERRY_PROCESS_GROUP_NEW;
    struct wherry_process *leader = kit_start(WORDS("pause"), &options), *opened;
    options.group = WHERRY_PROCESS_GROUP_SAME;
    options.join_group = wherry_process_pid(leader);
    struct wherry_process *other = kit_start(WORDS("pause"), &options);
    test_ok(wherry_process_open(getppid(), 0, &opened));
    test_is(wherry_process_kill_group(opened, 0), -EOPNOTSUPP);
    wherry_process_close(opened);
    test_ok(wherry_process_kill(leader, SIGKILL));
    struct pollfd end = {.fd = wherry_process_fd(leader), .events = POLLIN};
    ck_assert_int_eq(poll(&end, 1, KIT_PATIENCE), 1);
    test_ok(wherry_process_kill_group(leader, 0)); /* a zombie holds its number */
    kit_wait(leader);
    test_is(wherry_process_kill_group(leader, SIGKILL), -ESRCH);
    ck_assert(kit_alive(wherry_process_pid(other)));
    test_ok(wherry_process_kill(other, SIGKILL));
    kit_killed(other, SIGKILL);
    wherry_process_close(leader);
}

/* ---- threads that hold locks ---- */

static void *hammer(void *argument)
{
    (void)argument;
    while (!stop) {
        void *memory[32];
        for (int i = 0; i < 32; i++)
            memory[i] = malloc((size_t)(1 + i * 100));
        for (int i = 0; i < 32; i++)
            free(memory[i]);
    }
    return NULL;
}

TEST_WITH(h64_a_thousand_children_while_other_threads_are_in_malloc, .seconds = 180)
{
    enum { HAMMERS = 3 };
    const int children = test_has(TEST_SHARED_VFORK) ? 1000 : 100; /* each takes a copy of the memory */
    for (int i = 0; i < HAMMERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < children / (TEST_SANITIZED ? 5 : 1); i++) {
        struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
        struct wherry_process_fd fds[] = {{5, 2}, {7, WHERRY_PROCESS_NULL}};
        options.fds = fds;
        options.fd_count = 2;
        options.death_signal = i % 2 ? SIGKILL : 0;
        kit_exited(kit_start(WORDS("exit", "2"), &options), 2);
    }
    stop = true;
    for (int i = 0; i < HAMMERS; i++)
        pthread_join(threads[i], NULL);
}

struct waiter {
    struct wherry_process *process;
    struct wherry_exit exit;
    int result;
};

static void *wait_too(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = wherry_process_wait(waiter->process, test_deadline(), &waiter->exit);
    return NULL;
}

TEST(all_threads_that_wait_get_the_answer)
{
    struct waiter waiters[8];
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    for (int i = 0; i < 8; i++) {
        waiters[i] = (struct waiter){.process = process};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_too, &waiters[i]), 0);
    }
    test_ok(wherry_process_kill(process, SIGTERM));
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(waiters[i].result, 0);
        ck_assert_int_eq(waiters[i].exit.kind, WHERRY_KILLED);
        ck_assert_int_eq(waiters[i].exit.code, SIGTERM);
    }
    wherry_process_close(process);
}

/* ---- interrupted all the time ---- */

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
    (void)signal;
    ticks++;
}

static void storm(long microseconds)
{
    struct itimerval timer = {.it_interval.tv_usec = microseconds, .it_value.tv_usec = microseconds};
    struct sigaction action = {.sa_handler = microseconds ? tick : SIG_DFL}; /* without SA_RESTART */
    if (microseconds)
        sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    if (!microseconds)
        sigaction(SIGALRM, &action, NULL);
}

TEST_WITH(h59_a_storm_of_signals_changes_nothing, .seconds = 120)
{
    storm(1000);
    for (int i = 0; i < 200 / (TEST_SANITIZED ? 4 : 1); i++) {
        struct wherry_process *process = NULL;
        test_is(wherry_process_spawn("/nonesuch", NULL, NULL, &process), -ENOENT);
        kit_exited(kit_start(WORDS("exit", "4"), NULL), 4);
    }
    struct wherry_process *process = kit_start(WORDS("pause"), NULL);
    wherry_time begin = wherry_now();
    test_is(wherry_process_wait(process, wherry_after(300 * WHERRY_MILLISECOND), NULL), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now() - begin, 300 * WHERRY_MILLISECOND);
    test_is(wherry_process_wait_change(process, wherry_after(300 * WHERRY_MILLISECOND), NULL), -ETIMEDOUT);
    for (int i = 0; i < 50; i++) {
        const char *const pass[] = {"cat", NULL}, *const make[] = {"seq", "2000", NULL},
                          *const count[] = {"wc", "-c", NULL};
        const struct wherry_command commands[] = {{"seq", make, NULL}, {"cat", pass, NULL}, {"wc", count, NULL}};
        struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
        struct wherry_pipeline *pipeline;
        struct wherry_exit exits[3];
        options.output = WHERRY_PROCESS_NULL;
        test_ok(wherry_pipeline_start(commands, 3, &options, &pipeline));
        test_ok(wherry_pipeline_wait(pipeline, test_deadline(), exits));
        for (int k = 0; k < 3; k++)
            ck_assert_int_eq(wherry_exit_status(&exits[k]), 0);
        wherry_pipeline_close(pipeline);
    }
    storm(0);
    ck_assert_int_gt(ticks, 300);
    test_ok(wherry_process_kill(process, SIGKILL));
    kit_killed(process, SIGKILL);
}

/* ---- handlers ---- */

static pid_t own_pid;
static volatile sig_atomic_t strays;

static void notice(int signal)
{
    (void)signal;
    ticks++;
    if (getpid() != own_pid)
        strays++; /* in the child, but in this memory */
}

static void signal_everybody(void *argument)
{
    struct test_gate *gate = argument;
    signal(SIGUSR1, SIG_IGN);
    test_gate_open(gate);
    for (;;)
        kill(0, SIGUSR1);
}

static void *start_among_signals(void *argument)
{
    const struct wherry_process_options *options = argument;
    for (int i = 0; i < 300 / (TEST_SANITIZED ? 3 : 1); i++) {
        struct wherry_process *process = NULL;
        wherry__spawn_shares = -1; /* the first of a process makes one child more */
        test_ok(wherry_process_spawn("/bin/true", NULL, options, &process));
        struct wherry_exit exit = kit_end(process);
        ck_assert(wherry_exit_status(&exit) == 0 || wherry_exit_status(&exit) == 128 + SIGUSR1);
    }
    return NULL;
}

TEST_WITH(h64_no_handler_of_the_callers_runs_in_a_child, .seconds = 120, .leaves = TEST_LEAVES_SIGNALS)
{
    test_needs(TEST_SHARED_VFORK);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct test_gate gate;
    own_pid = getpid();
    options.death_signal = SIGKILL;
    signal(SIGUSR1, notice);
    test_gate_init(&gate);
    pid_t other = test_fork(signal_everybody, &gate);
    test_gate_wait(&gate);
    start_among_signals(&options);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, start_among_signals, &options), 0);
    pthread_join(threads[0], NULL);
    test_kill(other);
    signal(SIGUSR1, SIG_DFL);
    test_gate_fini(&gate);
    ck_assert_int_gt(ticks, 100);
    ck_assert_int_eq(strays, 0);
}
