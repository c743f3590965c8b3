/* tests/crash/gc_stage.c - owns the namespaces in which gc may remove what it likes, and how it is run there.
 *
 * SPDX-License-Identifier: MIT */
#include "gc_stage.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

unsigned gc_rounds(void)
{
    const char *given = getenv("WHERRY_GC_ROUNDS");
    return given ? (unsigned)atoi(given) : 0;
}

static uint64_t state;

unsigned gc_below(unsigned most)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(state >> 33) % most;
}

void gc_seed(unsigned number)
{
    const char *given = getenv("WHERRY_GC_SEED");
    state = (given ? strtoull(given, NULL, 10) : 4711) * UINT64_C(2654435761) + number;
    gc_below(2);
}

/* ---- a place of its own ---- */

static void mount_one(const char *where)
{
    ck_assert_msg(mount("tmpfs", where, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0, "%s: %s", where,
                  strerror(errno));
}

/* The command stays reachable under /mnt, whatever it lies in. */
void gc_place(void)
{
    char build[4096];
    ck_assert_int_eq(unshare(CLONE_NEWNS | CLONE_NEWIPC), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    snprintf(build, sizeof build, "%s", test_program("wherry"));
    *strrchr(build, '/') = 0;
    mount_one("/mnt");
    ck_assert_int_eq(mkdir("/mnt/build", 0755), 0);
    ck_assert_int_eq(mount(build, "/mnt/build", NULL, MS_BIND, NULL), 0);
    mount_one("/dev/shm");
    mount_one("/run");
    mount_one("/tmp");
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

/* ---- gc ---- */

/* In a PID namespace of its own, where those who hold something are not to be seen. */
static void go_inside(void)
{
    int status;
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        _exit(99);
    pid_t pid = fork();
    if (pid > 0) {
        waitpid(pid, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
    }
    if (pid < 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
        _exit(97);
}

static void start_gc(const struct run *run)
{
    const char *words[10] = {"wherry", "gc", "--apply", "-q"};
    size_t count = 4;
    if (run->inside)
        go_inside();
    if (run->nobody && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(96);
    if (run->unheld)
        words[count++] = "--unheld";
    if (run->older) {
        words[count++] = "--older";
        words[count++] = run->older;
    }
    int out = open("/mnt/gc.out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    dup2(out, 1);
    dup2(out, 2);
    execv("/mnt/build/wherry", (char *const *)(uintptr_t)words);
    _exit(95);
}

void gc_say_output(void)
{
    char line[300];
    FILE *file = fopen("/mnt/gc.out", "re");
    while (file && fgets(line, sizeof line, file))
        fprintf(stderr, "# gc: %s", line);
    if (file)
        fclose(file);
}

int gc_finish(pid_t pid)
{
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        continue;
    ck_assert_int_eq(got, pid);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code != 0 && code != 4 && code != 1) {
        gc_say_output();
        ck_abort_msg("gc ended with %d", code);
    }
    return code;
}

pid_t gc_begin(const struct run *run)
{
    unlink("/mnt/gc.out");
    pid_t pid = fork();
    if (pid == 0)
        start_gc(run);
    ck_assert_int_gt(pid, 0);
    return pid;
}
