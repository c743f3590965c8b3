/* tests/unit/inspect_situations_processes.c - who can hold an object: threads, other users, other
 * name spaces, the dying.
 *
 * SPDX-License-Identifier: MIT
 *
 * What they hold are pipes. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

/* A pipe, its ends at these numbers. */
static void make_pipe(char letter, int to_read, int to_write)
{
    int ends[2];
    must(pipe2(ends, O_CLOEXEC) == 0);
    int far = fcntl(ends[1], F_DUPFD_CLOEXEC, 100);
    close(ends[1]);
    at(ends[0], to_read);
    at(far, to_write);
    note(letter, to_read, "%s", "");
}

static sem_t thread_ready;

static void *sleep_on(__attribute__((unused)) void *nothing)
{
    sem_post(&thread_ready);
    stand_still();
}

static void start_thread(void *(*run)(void *))
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, run, NULL) == 0 && pthread_detach(thread) == 0);
    must(sem_wait(&thread_ready) == 0);
}

static void make_with_threads(void)
{
    must(sem_init(&thread_ready, 0, 0) == 0);
    make_pipe('p', 50, 51);
    start_thread(sleep_on);
    start_thread(sleep_on);
}

/* ---- threads with descriptors of their own ---- */

static void *own_descriptors(void *nothing)
{
    must(unshare(CLONE_FILES) == 0);
    must(close(50) == 0);
    make_pipe('q', 60, 61);
    scene->actors[0].thread = (pid_t)syscall(SYS_gettid);
    return sleep_on(nothing);
}

static void thread_of_its_own(void)
{
    must(sem_init(&thread_ready, 0, 0) == 0);
    make_pipe('p', 50, 51);
    start_thread(own_descriptors);
}

static void *own_descriptors_for_two(void *nothing)
{
    pthread_t thread;
    must(unshare(CLONE_FILES) == 0);
    must(close(50) == 0);
    make_pipe('q', 60, 61);
    scene->actors[0].thread = (pid_t)syscall(SYS_gettid);
    must(pthread_create(&thread, NULL, sleep_on, NULL) == 0); /* in the same table */
    return sleep_on(nothing);
}

static void two_threads_of_their_own(void)
{
    must(sem_init(&thread_ready, 0, 0) == 0);
    make_pipe('p', 50, 51);
    start_thread(own_descriptors_for_two);
    must(sem_wait(&thread_ready) == 0);
}

/* ---- the first thread has ended ---- */

/* Until the kernel calls the first thread a zombie. */
static void *wait_for_its_end(__attribute__((unused)) void *nothing)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)getpid(), (int)getpid());
    sem_post(&thread_ready);
    do {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        must(fd >= 0);
        ssize_t got = read(fd, text, sizeof text - 1);
        must(got > 0 && close(fd) == 0);
        text[got] = 0;
        sched_yield();
    } while (strncmp(strrchr(text, ')'), ") Z", 3) != 0);
    tell('A');
    stand_still();
}

static void ended_leader(void)
{
    must(sem_init(&thread_ready, 0, 0) == 0);
    start_thread(wait_for_its_end);
    about_to_block();
    syscall(SYS_exit, 0);
}

static void first_thread_ended(void)
{
    make_pipe('p', 50, 51);
    also('B', ended_leader);
    must(close(50) == 0);
    until_told();
    scene->actors[1].blocks = false; /* its first thread never sleeps again */
}

static void first_thread_ended_elsewhere(void)
{
    sigset_t set;
    sigemptyset(&set);
    at(signalfd(-1, &set, SFD_CLOEXEC), 52);
    note_anonymous('s', 52);
    first_thread_ended();
}

/* ---- names, users, name spaces ---- */

static void odd_command(void)
{
    must(prctl(PR_SET_NAME, ") S 1 (\n1 2) R") == 0);
    make_pipe('p', 50, 51);
}

static void become_nobody(void)
{
    must(close(50) == 0);
    must(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
}

static void another_user(void)
{
    make_pipe('p', 50, 51);
    also('B', become_nobody);
    must(close(51) == 0);
}

static void close_50(void)
{
    must(close(50) == 0);
}

static void child_name_space(void)
{
    make_pipe('p', 50, 51);
    must(unshare(CLONE_NEWPID) == 0);
    also('B', close_50);
    must(close(51) == 0);
}

static void fifo_in_its_mounts(void)
{
    struct thing *thing;
    must(unshare(CLONE_NEWNS) == 0);
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("tmpfs", scene->directory, "tmpfs", 0, "mode=700") == 0);
    must(mkfifo(file("inside"), 0600) == 0);
    at(open(file("inside"), O_RDWR | O_CLOEXEC), 50);
    thing = note('f', 50, "fifo:%s", file("inside"));
    must(thing->inode != 0);
}

static void fifo_of_a_root(void)
{
    must(mkdir(file("root"), 0700) == 0 && mkfifo(file("root/inside"), 0600) == 0);
    at(open(file("root/inside"), O_RDWR | O_CLOEXEC), 50);
    note('f', 50, "fifo:%s", file("root/inside"));
    must(chroot(file("root")) == 0 && chdir("/") == 0);
}

static void not_to_be_dumped(void)
{
    must(close(50) == 0);
    must(prctl(PR_SET_DUMPABLE, 0) == 0);
}

static void undumpable(void)
{
    make_pipe('p', 50, 51);
    also('B', not_to_be_dumped);
    must(close(51) == 0);
}

/* ---- those that end ---- */

static void end_at_once(void)
{
    about_to_block();
    _exit(0);
}

static void zombie(void)
{
    siginfo_t info;
    make_pipe('p', 50, 51);
    also('B', end_at_once);
    must(waitid(P_PID, (id_t)scene->actors[1].pid, &info, WEXITED | WNOWAIT) == 0);
    scene->actors[1].blocks = false;
    scene->actors[1].ended = true;
}

static void vanished(void)
{
    zombie();
    must(waitpid(scene->actors[1].pid, NULL, 0) > 0);
    scene->actors[1].pid = 0;
}

static const struct situation list[] = {
    {"a process with threads", make_with_threads, .lines = {"p pipe live | A50r>A51 A51w>A50"}},
    {"a thread with descriptors of its own",
     thread_of_its_own,
     .lines = {"p pipe live | A50r>A51,a51 A51w>A50 a51w>A50", "q pipe live | a60r>a61 a61w>a60"}},
    {"two threads with descriptors of their own",
     two_threads_of_their_own,
     .lines = {"p pipe live | A50r>A51,a51 A51w>A50 a51w>A50", "q pipe live | a60r>a61 a61w>a60"}},
    {"a process whose first thread has ended",
     first_thread_ended,
     .lines = {"p pipe live | A51w>B50 B50r>A51,B51 B51w>B50"}},
    {"a signalfd of a process whose first thread has ended",
     first_thread_ended_elsewhere,
     .lines = {"p pipe live | A51w>B50 B50r>A51,B51 B51w>B50", "s signalfd live | A52rw>B52 B52rw>A52"}},
    {"a process with an odd name", odd_command, .lines = {"p pipe live | A50r>A51 A51w>A50"}},
    {"a process of another user", another_user, .lines = {"p pipe live | A50r>B51 B51w>A50"}, .root = true},
    {"a process in a PID name space of its own",
     child_name_space,
     .lines = {"p pipe live | A50r>B51 B51w>A50"}, .root = true},
    {"a FIFO on a mount that others do not see", fifo_in_its_mounts, .lines = {"f fifo live | A50rw"}, .root = true},
    {"a FIFO of a process with another root", fifo_of_a_root, .lines = {"f fifo live | A50rw"}, .root = true},
    {"a process that is not to be dumped", undumpable, .lines = {"p pipe live | A50r>B51 B51w>A50"}, .root = true},
    {"a process that ended and was not waited for", zombie, .lines = {"p pipe live | A50r>A51 A51w>A50"}},
    {"a process that vanished", vanished, .lines = {"p pipe live | A50r>A51 A51w>A50"}},
};

SITUATIONS(situations_processes, list);
