/* tests/unit/inspect_situations_anonymous.c - what the kernel keeps behind descriptors alone.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

static void nothing(void)
{
}

static void make_eventfd(char letter, int number, unsigned value)
{
    at(eventfd(value, EFD_CLOEXEC), number);
    struct thing *thing = note_nothing(letter, "eventfd:[%llu]", (unsigned long long)info_of(number, "eventfd-id"));
    thing->id = info_of(number, "eventfd-id");
    thing->has_id = true;
    thing->uid = geteuid();
    thing->messages = value;
}

static void eventfd_of_one(void)
{
    make_eventfd('e', 50, 7);
}

static void eventfd_duplicated(void)
{
    make_eventfd('e', 50, 0);
    must(dup2(50, 51) == 51);
}

static void eventfd_across_fork(void)
{
    make_eventfd('e', 50, 0);
    also('B', nothing);
}

static void two_eventfds(void)
{
    make_eventfd('e', 50, 1);
    make_eventfd('g', 51, 2);
}

static void take_it(void)
{
    must(close(60) == 0 && close(50) == 0);
    at(take(61), 70);
    must(close(61) == 0);
}

static void eventfd_passed(void)
{
    make_eventfd('e', 50, 0);
    make_socketpair(SOCK_DGRAM, 0, 60, 0, 61);
    pass(60, 50);
    also('B', take_it);
    must(close(60) == 0 && close(61) == 0);
}

static void make_signalfd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    at(signalfd(-1, &set, SFD_CLOEXEC), 50);
    note_anonymous('s', 50)->uid = geteuid();
}

static void signalfd_across_fork(void)
{
    make_signalfd();
    also('B', nothing);
    must(dup2(50, 51) == 51);
}

static void two_signalfds(void)
{
    sigset_t set;
    make_signalfd();
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    at(signalfd(-1, &set, SFD_CLOEXEC), 51);
    note_anonymous('t', 51);
}

static void make_timerfd(void)
{
    at(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), 50);
    note_anonymous('t', 50)->uid = geteuid();
}

static void timerfd_across_fork(void)
{
    make_timerfd();
    also('B', nothing);
}

/* ---- pidfds ---- */

static int open_pidfd(pid_t pid, int number)
{
    return at((int)syscall(SYS_pidfd_open, pid, 0), number);
}

static void pidfd_of_a_child(void)
{
    also('B', nothing);
    open_pidfd(scene->actors[1].pid, 50);
    note_anonymous('d', 50);
    snprintf(noted('d')->name, sizeof noted('d')->name, "pidfd:[%d]", (int)scene->actors[1].pid);
}

static void watch_b_too(void)
{
    must(close(50) == 0);
    open_pidfd(scene->actors[1].pid, 51);
}

static void two_pidfds_of_one_process(void)
{
    pidfd_of_a_child();
    also('C', watch_b_too);
}

static void end_at_once(void)
{
    about_to_block();
    _exit(0);
}

static void pidfd_of_the_ended(void)
{
    also('B', end_at_once);
    open_pidfd(scene->actors[1].pid, 50);
    must(waitpid(scene->actors[1].pid, NULL, 0) > 0);
    scene->actors[1].pid = 0;
    scene->actors[1].blocks = false;
    note_anonymous('d', 50);
}

static void of_no_kind(void)
{
    at(inotify_init1(IN_CLOEXEC), 50);
    must(inotify_add_watch(50, scene->directory, IN_CREATE) >= 0);
    at(open("/dev/null", O_RDWR | O_CLOEXEC), 51);
    at(open(scene->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 52);
    at(open("/proc/self/stat", O_RDONLY | O_CLOEXEC), 53);
}

static const struct situation list[] = {
    {"an eventfd", eventfd_of_one, .lines = {"e eventfd live | A50rw"}},
    {"an eventfd duplicated", eventfd_duplicated, .lines = {"e eventfd live | A50rw>A51 A51rw>A50"}},
    {"an eventfd across a fork", eventfd_across_fork, .lines = {"e eventfd live | A50rw>B50 B50rw>A50"}},
    {"two eventfds", two_eventfds, .lines = {"e eventfd live | A50rw", "g eventfd live | A51rw"}},
    {"an eventfd passed and received", eventfd_passed, .lines = {"e eventfd live | A50rw>B70 B70rw>A50"}},
    {"a signalfd", make_signalfd, .lines = {"s signalfd live | A50rw"}},
    {"a signalfd across a fork, duplicated",
     signalfd_across_fork,
     .lines = {"s signalfd live | A50rw>A51,B50 A51rw>A50,B50 B50rw>A50,A51"}},
    {"two signalfds of the same signals",
     two_signalfds,
     .lines = {"s signalfd live | A50rw", "t signalfd live | A51rw"}},
    {"a timerfd", make_timerfd, .lines = {"t timerfd live | A50rw"}},
    {"a timerfd across a fork", timerfd_across_fork, .lines = {"t timerfd live | A50rw>B50 B50rw>A50"}},
    {"a pidfd", pidfd_of_a_child, .lines = {"d pidfd live | A50rw"}},
    {"two pidfds of one process", two_pidfds_of_one_process, .lines = {"d pidfd live | A50rw C51rw"}},
    {"a pidfd of a process that has ended", pidfd_of_the_ended, .lines = {"d pidfd live | A50rw"}},
    {"descriptors of no kind", of_no_kind, .lines = {NULL}},
};

SITUATIONS(situations_anonymous, list);
