/* tests/unit/inspect_situations_epoll.c - epoll sets, and what they watch.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

static void nothing(void)
{
}

static void make_set(char letter, int number)
{
    at(epoll_create1(EPOLL_CLOEXEC), number);
    note_anonymous(letter, number);
}

static void watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

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

static void make_eventfd(char letter, int number)
{
    at(eventfd(0, EFD_CLOEXEC), number);
    struct thing *thing = note_nothing(letter, "eventfd:[%llu]", (unsigned long long)info_of(number, "eventfd-id"));
    thing->id = info_of(number, "eventfd-id");
    thing->has_id = true;
}

static void empty_set(void)
{
    make_set('e', 50);
}

static void watches_a_pipe(void)
{
    make_set('e', 50);
    make_pipe('p', 51, 52);
    watch(50, 51);
}

static void watches_an_eventfd(void)
{
    make_set('e', 50);
    make_eventfd('v', 51);
    make_eventfd('w', 52);
    watch(50, 51);
}

static void watches_a_fifo(void)
{
    make_set('e', 50);
    must(mkfifo(file("fifo"), 0600) == 0);
    at(open(file("fifo"), O_RDWR | O_CLOEXEC), 51);
    note('f', 51, "fifo:%s", file("fifo"));
    watch(50, 51);
}

static void watches_a_timer(void)
{
    make_set('e', 50);
    at(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), 51);
    note_anonymous('t', 51);
    watch(50, 51);
}

static void watches_a_socket(void)
{
    make_set('e', 50);
    make_socketpair(SOCK_STREAM, 'u', 51, 'v', 52);
    watch(50, 51);
}

static void watches_a_set(void)
{
    make_set('e', 50);
    make_set('i', 51);
    make_eventfd('v', 52);
    watch(51, 52);
    watch(50, 51);
}

static void inherited(void)
{
    watches_an_eventfd();
    also('B', nothing);
}

/* In the child the number is another's. */
static void replace_51(void)
{
    must(dup2(52, 51) == 51);
}

static void inherited_with_other_numbers(void)
{
    watches_an_eventfd();
    also('B', replace_51);
    must(close(50) == 0);
    noted('e')->holder = 'B';
}

/* The watched file lives on under another number: the set watches it still, and not what has its number now. */
static void number_reused_by_a_pipe(void)
{
    watches_a_pipe();
    must(dup2(51, 53) == 53 && close(51) == 0);
    make_pipe('q', 51, 54);
}

static void number_reused_by_an_eventfd(void)
{
    make_set('e', 50);
    make_eventfd('v', 51);
    watch(50, 51);
    must(dup2(51, 53) == 53 && close(51) == 0);
    make_eventfd('w', 51);
}

/* It is open nowhere else: the kernel has dropped it from the set. */
static void number_reused_after_the_end(void)
{
    make_set('e', 50);
    make_pipe('p', 51, 52);
    watch(50, 51);
    must(close(51) == 0);
    at(eventfd(0, EFD_CLOEXEC), 51);
    note_anonymous('v', 51);
    snprintf(noted('v')->name, sizeof noted('v')->name, "eventfd:[%llu]",
             (unsigned long long)info_of(51, "eventfd-id"));
}

static void keep_watched(void)
{
    must(close(50) == 0);
}

static void watched_in_another_process(void)
{
    make_set('e', 50);
    make_eventfd('v', 51);
    watch(50, 51);
    also('B', keep_watched);
    must(close(51) == 0);
}

static void take_set(void)
{
    must(close(60) == 0 && close(50) == 0);
    must(close(51) == 0);
    make_eventfd('w', 51);
    at(take(61), 70);
    must(close(61) == 0);
}

static void passed_to_another(void)
{
    watches_a_timer();
    make_socketpair(SOCK_STREAM, 0, 60, 0, 61);
    pass(60, 50);
    also('B', take_set);
    must(close(60) == 0 && close(61) == 0);
}

static void both_ends_under_one_number(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    make_set('e', 50);
    make_eventfd('v', 51);
    make_eventfd('w', 52);
    watch(50, 51);
    must(dup2(51, 53) == 53 && dup2(52, 51) == 51);
    must(epoll_ctl(50, EPOLL_CTL_ADD, 51, &event) == 0); /* the second of that number */
}

/* Far more than a page of /proc/PID/fdinfo, and each under a number that is closed. */
static void watches_hundreds(void)
{
    make_set('e', 50);
    make_pipe('p', 52, 53);
    make_eventfd('v', 51);
    watch(50, 52);
    for (int number = 100; number < 300; number++) {
        must(dup2(51, number) == number);
        watch(50, number);
        must(close(number) == 0);
    }
}

static const struct situation list[] = {
    {"an empty epoll set", empty_set, .lines = {"e epoll live | A50rw"}},
    {"an epoll set watching a pipe",
     watches_a_pipe,
     .lines = {"e epoll live | A50rw", "p pipe live | A51r>A52 A52w>A51", "e watches p"}},
    {"an epoll set watching one of two eventfds",
     watches_an_eventfd,
     .lines = {"e epoll live | A50rw", "v eventfd live | A51rw", "w eventfd live | A52rw", "e watches v"}},
    {"an epoll set watching a FIFO",
     watches_a_fifo,
     .lines = {"e epoll live | A50rw", "f fifo live | A51rw", "e watches f"}},
    {"an epoll set watching a timer",
     watches_a_timer,
     .lines = {"e epoll live | A50rw", "t timerfd live | A51rw", "e watches t"}},
    {"an epoll set watching a socket",
     watches_a_socket,
     .lines = {"e epoll live | A50rw", "u unix live connected | A51rw>A52", "v unix live connected | A52rw>A51",
               "u peer v",
      "e watches u"}},
    {"an epoll set in an epoll set",
     watches_a_set,
     .lines = {"e epoll live | A50rw", "i epoll live | A51rw", "v eventfd live | A52rw", "e watches i", "i watches v"}},
    {"an epoll set across a fork",
     inherited,
     .lines = {"e epoll live | A50rw>B50 B50rw>A50", "v eventfd live | A51rw>B51 B51rw>A51",
      "w eventfd live | A52rw>B52 B52rw>A52", "e watches v"}},
    {"an epoll set where the number is another's",
     inherited_with_other_numbers,
     .lines = {"e epoll live | B50rw", "v eventfd live | A51rw",
               "w eventfd live | A52rw>B51,B52 B51rw>A52,B52 B52rw>A52,B51",
      "e watches v"}},
    {"an epoll set, the number reused by a pipe",
     number_reused_by_a_pipe,
     .lines = {"e epoll live | A50rw", "p pipe live | A52w>A53 A53r>A52", "q pipe live | A51r>A54 A54w>A51",
               "e watches p"}},
    {"an epoll set, the number reused by an eventfd",
     number_reused_by_an_eventfd,
     .lines = {"e epoll live | A50rw", "v eventfd live | A53rw", "w eventfd live | A51rw", "e watches v"}},
    {"an epoll set, the number reused after the end",
     number_reused_after_the_end,
     .lines = {"e epoll live | A50rw", "p pipe live | A52w", "v eventfd live | A51rw"}},
    {"an epoll set watching what another process has",
     watched_in_another_process,
     .lines = {"e epoll live | A50rw", "v eventfd live | B51rw", "e watches v"}},
    {"an epoll set passed to another process",
     passed_to_another,
     .lines = {"e epoll live | A50rw>B70 B70rw>A50", "t timerfd live | A51rw", "w eventfd live | B51rw",
               "e watches t"}},
    {"an epoll set watching two of one number",
     both_ends_under_one_number,
     .lines = {"e epoll live | A50rw", "v eventfd live | A53rw", "w eventfd live | A51rw>A52 A52rw>A51", "e watches v",
      "e watches w"}},
    {"an epoll set watching hundreds under closed numbers",
     watches_hundreds,
     .lines = {"e epoll live | A50rw", "p pipe live | A52r>A53 A53w>A52", "v eventfd live | A51rw", "e watches p",
      "200*e watches v"}},
};

SITUATIONS(situations_epoll, list);
