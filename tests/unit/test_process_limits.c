/* tests/unit/test_process_limits.c - owns what happens where a limit is reached, cgroups, and namespaces.
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <sys/resource.h>
#include <sys/statfs.h>

#include "base/sys.h"
#include "process/process.h"
#include "process_kit.h"

static char text[16384];

/* ---- RLIMIT_NPROC ---- */

static void run_out_of_processes(void *argument)
{
    (void)argument;
    struct wherry_process *processes[10], *process = NULL;
    struct rlimit limit = {0, 0};
    const struct wherry_command commands[] = {{"cat", NULL, NULL}, {"cat", NULL, NULL}, {"cat", NULL, NULL}};
    struct wherry_pipeline *pipeline = NULL;
    size_t before, count = 0;
    ck_assert(setgid(54321) == 0 && setuid(54321) == 0); /* a uid of one's own, that has no other processes */
    test_ok(wherry_process_spawn("/bin/true", NULL, NULL, &process)); /* all is set up */
    kit_exited(process, 0);
    before = test_descriptors();
    limit.rlim_cur = limit.rlim_max = 4;
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
    const char *const sleep[] = {"sleep", "100", NULL};
    int result = 0;
    while (count < 10 && (result = wherry_process_spawn("/bin/sleep", sleep, NULL, &processes[count])) == 0)
        count++;
    ck_assert_uint_eq(count, 3); /* and itself */
    ck_assert_int_eq(result, -EAGAIN);
    ck_assert_msg(strstr(wherry_why(), "/bin/sleep: no more processes: this user's RLIMIT_NPROC (ulimit -u) is 4") !=
                      NULL,
                  "%s", wherry_why());
    for (int i = 0; i < 20; i++)
        test_is(wherry_process_spawn("/bin/sleep", sleep, NULL, &process), -EAGAIN);
    wherry_process_kill(processes[--count], SIGKILL);
    kit_killed(processes[count], SIGKILL);
    test_is(wherry_pipeline_start(commands, 3, NULL, &pipeline), -EAGAIN); /* room for one */
    while (count > 0) {
        wherry_process_kill(processes[--count], SIGKILL);
        kit_killed(processes[count], SIGKILL);
    }
    ck_assert_uint_eq(test_descriptors(), before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}

TEST(without_processes_left_the_limit_is_named_and_nothing_leaks)
{
    test_needs(TEST_OWN_PROGRAMS);
    if (!test_is_root())
        test_skip("needs root, for a uid without other processes");
    test_join(test_fork(run_out_of_processes, NULL));
}

TEST(a_uid_without_processes_left_is_named)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_limit limit = {RLIMIT_NPROC, 1, 1};
    struct wherry_process *processes[5];
    size_t count = 0;
    int result = 0;
    const char *const sleep[] = {"sleep", "100", NULL};
    if (!test_is_root())
        test_skip("needs root, for a uid without other processes");
    options.limits = &limit;
    options.limit_count = 1;
    options.set_ids = true;
    options.uid = options.gid = 54322;
    while (count < 5 && (result = wherry_process_spawn("/bin/sleep", sleep, &options, &processes[count])) == 0)
        count++; /* kernels differ by one in how they count */
    ck_assert_int_eq(result, -EAGAIN);
    ck_assert_uint_gt(count, 0);
    ck_assert_msg(strstr(wherry_why(), "uid 54322 has as many processes as RLIMIT_NPROC") != NULL, "%s", wherry_why());
    while (count > 0) {
        test_ok(wherry_process_kill(processes[--count], SIGKILL));
        kit_killed(processes[count], SIGKILL);
    }
}

/* ---- RLIMIT_NOFILE ---- */

static void run_out_of_descriptors(void *argument)
{
    (void)argument;
    struct wherry_process *process = NULL;
    struct rlimit limit;
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    const struct wherry_command commands[] = {{"cat", NULL, NULL}, {"cat", NULL, NULL}, {"cat", NULL, NULL}};
    struct wherry_pipeline *pipeline = NULL;
    kit_exited(kit_start(WORDS("exit", "0"), NULL), 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 40;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        last = fd;
    for (int i = 0; i < 20; i++) {
        test_is(wherry_process_spawn(test_program("process_child"), NULL, NULL, &process), -EMFILE);
        ck_assert_msg(strstr(wherry_why(), "no descriptor for it: RLIMIT_NOFILE (ulimit -n) is 40"), "%s",
                      wherry_why());
        test_is(wherry_pipeline_start(commands, 3, NULL, &pipeline), -EMFILE);
    }
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    close(last);
    for (int left = 1; left < 5; left++) { /* with so many free a pipeline comes to another point */
        int result = wherry_pipeline_start(commands, 3, NULL, &pipeline);
        ck_assert(result == -EMFILE || left > 3);
        if (result == 0) {
            test_ok(wherry_pipeline_stop(pipeline, SIGKILL, test_deadline()));
            wherry_pipeline_close(pipeline);
        }
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
        close(last - left);
    }
    struct wherry_process_fd fds[] = {{3, 4}, {4, 3}};
    options.fds = fds;
    options.fd_count = 2;
    fds[0].child = 50;
    test_is(wherry_process_spawn("true", NULL, &options, &process), -EBADF);
    ck_assert_msg(strstr(wherry_why(), "it cannot have a descriptor 50, with RLIMIT_NOFILE at 40") != NULL, "%s",
                  wherry_why());
}

TEST_WITH(without_descriptors_left_the_limit_is_named_and_nothing_leaks, .leaves = 0)
{
    test_needs(TEST_SHARED_VFORK);
    test_join(test_fork(run_out_of_descriptors, NULL));
}

TEST(limits_of_the_child_come_after_its_descriptors)
{
    test_needs(TEST_OWN_PROGRAMS);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_limit limit = {RLIMIT_NOFILE, 4, 4};
    struct wherry_process_fd fds[] = {{1, 2}, {2, 1}};
    options.fds = fds;
    options.fd_count = 2;
    options.limits = &limit;
    options.limit_count = 1;
    options.death_signal = SIGKILL;
    kit_exited(kit_start(WORDS("exit", "0"), &options), 0); /* 3 is the loader's */
}

/* ---- cgroups ---- */

/* A new cgroup of version 2 in `path`, or the reason why not. */
static const char *make_cgroup(char *path, size_t size)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs status;
    for (int i = 0; i < 2; i++) {
        if (statfs(roots[i], &status) != 0 || status.f_type != 0x63677270)
            continue;
        snprintf(path, size, "%s/%s", roots[i], test_word());
        return mkdir(path, 0700) == 0 ? NULL : "no cgroup may be made here";
    }
    return "no cgroup of version 2 is mounted";
}

TEST(h65_a_child_is_in_its_cgroup_before_it_runs)
{
    char path[200], line[400], name[260];
    const char *reason = make_cgroup(path, sizeof path);
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process *process = NULL;
    if (reason)
        test_skip("%s", reason);
    options.cgroup = path;
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct wherry_process_fd fds[] = {{1, ends[1]}};
    options.fds = fds;
    options.fd_count = 1;
    const char *const words[] = {"cat", "/proc/self/cgroup", NULL};
    test_ok(wherry_process_spawn("cat", words, &options, &process));
    close(ends[1]);
    kit_read(ends[0], text, sizeof text);
    close(ends[0]);
    kit_exited(process, 0);
    snprintf(line, sizeof line, "/%s\n", test_word());
    ck_assert_msg(strstr(text, line) != NULL, "%s is not in %s", line, text);
    options.fd_count = 0;
    process = kit_start(WORDS("pause"), &options);
    snprintf(name, sizeof name, "%s/cgroup.kill", path);
    int kill_all = open(name, O_WRONLY | O_CLOEXEC); /* Linux 5.14 */
    if (kill_all >= 0) {
        ck_assert_int_eq(write(kill_all, "1", 1), 1);
        close(kill_all);
    } else {
        test_ok(wherry_process_kill(process, SIGKILL));
    }
    kit_killed(process, SIGKILL);
    test_until(rmdir(path) == 0, "rmdir %s: %s", path, strerror(errno));
    test_is(wherry_process_spawn("true", NULL, &options, &process), -ENOENT);
    ck_assert_msg(strstr(wherry_why(), path) != NULL, "%s", wherry_why());
    options.cgroup = "/proc/self";
    test_is(wherry_process_spawn("true", NULL, &options, &process), -ENOENT);
}

/* ---- namespaces ---- */

TEST(h65_all_in_a_pid_namespace_end_with_its_first)
{
    test_needs(TEST_CLONE_NEWPID);
    if (!test_is_root())
        test_skip("a PID namespace needs root");
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process *process = NULL;
    int ends[2];
    char byte;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct wherry_process_fd fds[] = {{1, ends[1]}};
    options.fds = fds;
    options.fd_count = 1;
    options.pid_namespace = true;
    const char *const words[] = {"sh", "-c", "echo $$; setsid sh -c 'setsid sleep 100 &' & sleep 100", NULL};
    test_ok(wherry_process_spawn("sh", words, &options, &process));
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], text, 2), 2);
    ck_assert_int_eq(memcmp(text, "1\n", 2), 0);
    test_ok(wherry_process_kill(process, SIGKILL));
    kit_killed(process, SIGKILL);
    ck_assert_int_eq(read(ends[0], &byte, 1), 0); /* nobody has the other end any more, whichever session it is in */
    close(ends[0]);
}

/* ---- where vfork is a fork ---- */

static struct wherry__sys real;

/* As valgrind has it. */
static pid_t fork_instead(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                          void *child_word)
{
    return real.clone(function, stack, flags & ~(CLONE_VM | CLONE_VFORK), argument, parent_word, child_word);
}

TEST(with_a_copy_of_the_memory_errors_arrive_by_pipe)
{
    test_needs(TEST_SHARED_VFORK);
    struct wherry_process *process = NULL;
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[40];
    kit_exited(kit_start(WORDS("exit", "0"), NULL), 0);
    ck_assert_int_eq(wherry__spawn_shares, 1);
    real = wherry__sys;
    wherry__sys.clone = fork_instead;
    wherry__spawn_shares = -1;
    test_is(wherry_process_spawn("/nonesuch", NULL, NULL, &process), -ENOENT);
    ck_assert_int_eq(wherry__spawn_shares, 0);
    for (int i = 0; i < 40; i++) /* the pipe is somewhere among these */
        fds[i] = (struct wherry_process_fd){.child = i, .own = i % 3};
    options.fds = fds;
    options.fd_count = 40;
    test_is(wherry_process_spawn("/nonesuch", NULL, &options, &process), -ENOENT);
    kit_exited(kit_start(WORDS("exit", "5"), &options), 5);
    options.fd_count = 0;
    kit_say_as(WORDS("fds"), &options, text, sizeof text);
    ck_assert_str_eq(text, "0 1 2\n");
}
