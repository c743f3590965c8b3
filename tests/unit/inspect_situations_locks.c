/* tests/unit/inspect_situations_locks.c - locks and leases on files.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

static void make_file(void)
{
    at(open(file("f"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), 50);
    must(ftruncate(50, 100) == 0);
    note('f', 50, "%s", file("f"));
}

static void close_50(void)
{
    must(close(50) == 0);
}

static void nothing(void)
{
}

static void open_anew(int number)
{
    at(open(file("f"), O_RDWR | O_CLOEXEC), number);
}

static struct flock region(short type, off_t start, off_t length)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static void lock(int fd, int command, short type, off_t start, off_t length)
{
    struct flock lock = region(type, start, length);
    must(fcntl(fd, command, &lock) == 0);
}

/* ---- each kind ---- */

static void flock_exclusive(void)
{
    make_file();
    must(flock(50, LOCK_EX) == 0);
}

static void posix_exclusive(void)
{
    make_file();
    lock(50, F_SETLK, F_WRLCK, 0, 0);
}

static void ofd_exclusive(void)
{
    make_file();
    lock(50, F_OFD_SETLK, F_WRLCK, 0, 0);
}

static void ranges(void)
{
    make_file();
    lock(50, F_SETLK, F_WRLCK, 10, 5);
    lock(50, F_SETLK, F_RDLCK, 20, 1);
}

static void ofd_ranges(void)
{
    make_file();
    lock(50, F_OFD_SETLK, F_WRLCK, 10, 5);
    lock(50, F_OFD_SETLK, F_RDLCK, 20, 0);
}

static void lease(void)
{
    make_file();
    must(fcntl(50, F_SETLEASE, F_WRLCK) == 0);
}

static void all_kinds(void)
{
    make_file();
    must(flock(50, LOCK_SH) == 0);
    lock(50, F_SETLK, F_RDLCK, 0, 1);
    lock(50, F_OFD_SETLK, F_RDLCK, 1, 1);
}

/* ---- who has it ---- */

/* H2: the child's copy keeps what the parent took. */
static void h2_of_a_child(void)
{
    flock_exclusive();
    also('B', nothing);
    close_50();
}

static void h2_ofd_of_a_child(void)
{
    ofd_exclusive();
    also('B', nothing);
    close_50();
}

static void h2_of_both(void)
{
    flock_exclusive();
    also('B', nothing);
}

static void duplicated(void)
{
    flock_exclusive();
    must(dup2(50, 51) == 51);
}

static void posix_not_of_the_child(void)
{
    posix_exclusive();
    also('B', nothing);
}

static void share(void)
{
    close_50();
    open_anew(51);
    must(flock(51, LOCK_SH) == 0);
}

static void shared_by_two(void)
{
    make_file();
    must(flock(50, LOCK_SH) == 0);
    also('B', share);
}

static void just_open(void)
{
    close_50();
    open_anew(51);
}

static void open_in_another(void)
{
    flock_exclusive();
    also('B', just_open);
}

static void two_open_files(void)
{
    make_file();
    must(flock(50, LOCK_SH) == 0);
    open_anew(51);
    must(flock(51, LOCK_SH) == 0);
}

static void deleted(void)
{
    flock_exclusive();
    must(unlink(file("f")) == 0);
}

static void renamed(void)
{
    flock_exclusive();
    must(rename(file("f"), file("g")) == 0);
    snprintf(noted('f')->name, sizeof noted('f')->name, "%s", file("g"));
}

static void take_it(void)
{
    must(close(60) == 0);
    close_50();
    at(take(61), 70);
    must(close(61) == 0);
}

static void passed(void)
{
    flock_exclusive();
    make_socketpair(1, 0, 60, 0, 61);
    pass(60, 50);
    also('B', take_it);
    must(close(60) == 0 && close(61) == 0);
    close_50();
}

/* ---- who waits ---- */

static void wait_for_flock(void)
{
    close_50();
    open_anew(51);
    about_to_block();
    flock(51, LOCK_EX);
}

static void flock_waited_for(void)
{
    flock_exclusive();
    also('B', wait_for_flock);
}

static void flock_waited_for_by_two(void)
{
    flock_exclusive();
    also('B', wait_for_flock);
    also('C', wait_for_flock);
}

static void wait_for_range(void)
{
    struct flock lock = region(F_WRLCK, 12, 1);
    close_50();
    open_anew(51);
    about_to_block();
    fcntl(51, F_SETLKW, &lock);
}

static void range_waited_for(void)
{
    make_file();
    lock(50, F_SETLK, F_WRLCK, 10, 5);
    also('B', wait_for_range);
}

static void wait_for_ofd(void)
{
    struct flock lock = region(F_RDLCK, 0, 0);
    close_50();
    open_anew(51);
    about_to_block();
    fcntl(51, F_OFD_SETLKW, &lock);
}

static void ofd_waited_for(void)
{
    ofd_exclusive();
    also('B', wait_for_ofd);
}

static void unlocked(void)
{
    flock_exclusive();
    must(flock(50, LOCK_UN) == 0);
}

static const struct situation list[] = {
    {"a flock", flock_exclusive, .lines = {"f file live | A50rw AL:flock:w"}},
    {"a classic lock", posix_exclusive, .lines = {"f file live | A50rw AL:posix:w"}},
    {"an OFD lock", ofd_exclusive, .lines = {"f file live | A50rw AL:ofd:w"}},
    {"classic locks on ranges", ranges, .lines = {"f file live | A50rw AL:posix:w:10+5 AL:posix:r:20+1"}},
    {"OFD locks on ranges", ofd_ranges, .lines = {"f file live | A50rw AL:ofd:w:10+5 AL:ofd:r:20+0"}},
    {"a lease", lease, .lines = {"f file live | A50rw AL:lease:w"}},
    {"locks of all kinds on one file", all_kinds,
     .lines = {"f file live | A50rw AL:flock:r AL:posix:r:0+1 AL:ofd:r:1+1"}},
    {"a lock of a forked child (H2)", h2_of_a_child, .lines = {"f file live | B50rw BL:flock:w"}},
    {"an OFD lock of a forked child (H2)", h2_ofd_of_a_child, .lines = {"f file live | B50rw BL:ofd:w"}},
    {"a lock of a parent and its child (H2)", h2_of_both,
     .lines = {"f file live | A50rw>B50,BL AL:flock:w>B50,BL B50rw>A50,AL BL:flock:w>A50,AL"}},
    {"a lock by two descriptors of one open file", duplicated,
     .lines = {"f file live | A50rw>A51 AL:flock:w>A51 A51rw>A50,AL"}},
    {"a classic lock that a child does not have", posix_not_of_the_child,
     .lines = {"f file live | A50rw>B50 AL:posix:w>B50 B50rw>A50,AL"}},
    {"a lock shared by two", shared_by_two,
     .lines = {"f file live | A50rw>B51,BL AL:flock:r>B51,BL B51rw>A50,AL BL:flock:r>A50,AL"}},
    {"a locked file that another has open", open_in_another,
     .lines = {"f file live | A50rw>B51 AL:flock:w>B51 B51rw>A50,AL"}},
    {"two locks of one process", two_open_files,
     .lines = {"f file live | A50rw>A51,AL AL:flock:r>A51,AL A51rw>A50,AL AL:flock:r>A50,AL"}},
    {"a lock on a deleted file", deleted, .lines = {"f file live deleted | A50rw AL:flock:w"}},
    {"a lock on a renamed file", renamed, .lines = {"f file live | A50rw AL:flock:w"}},
    {"a lock passed and received", passed, .lines = {"f file live | B70rw BL:flock:w"}},
    {"a lock that one waits for", flock_waited_for,
     .lines = {"f file live | A50rw>B51,BW AL:flock:w>B51,BW B51rw>A50,AL,BW BW:flock:w>A50,AL,B51"}},
    {"a lock that two wait for", flock_waited_for_by_two,
     .lines = {"f file live | A50rw>B51,BW,C51,CW AL:flock:w>B51,BW,C51,CW B51rw>A50,AL,BW,C51,CW "
               "BW:flock:w>A50,AL,B51,C51,CW C51rw>A50,AL,B51,BW,CW CW:flock:w>A50,AL,B51,BW,C51"}},
    {"a range that one waits for", range_waited_for,
     .lines = {"f file live | A50rw>B51,BW AL:posix:w:10+5>B51,BW B51rw>A50,AL,BW BW:posix:w:12+1>A50,AL,B51"}},
    {"an OFD lock that one waits for", ofd_waited_for,
     .lines = {"f file live | A50rw>B51,BW AL:ofd:w>B51,BW B51rw>A50,AL,BW BW:ofd:r>A50,AL,B51"}},
    {"a lock that was given back", unlocked, .lines = {"f gone"}},
};

SITUATIONS(situations_locks, list);
