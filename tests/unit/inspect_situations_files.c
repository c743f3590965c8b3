/* tests/unit/inspect_situations_files.c - files that processes share by mapping them.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

enum { LENGTH = 3 * 4096 };

/* At 50, and noted. */
static void make_file(const char *name)
{
    at(open(file(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), 50);
    must(fchmod(50, 0644) == 0 && ftruncate(50, LENGTH) == 0);
    note('f', 50, "%s", file(name));
}

static void map(int fd, int protection)
{
    must(mmap(NULL, LENGTH, protection, MAP_SHARED, fd, 0) != MAP_FAILED);
}

static void close_50(void)
{
    must(close(50) == 0);
}

static void mapped_only(void)
{
    make_file("a");
    map(50, PROT_READ | PROT_WRITE);
    close_50();
}

static void map_to_read(void)
{
    close_50();
    at(open(file("a"), O_RDONLY | O_CLOEXEC), 51);
    map(51, PROT_READ);
    must(close(51) == 0);
}

static void mapped_by_two(void)
{
    make_file("a");
    map(50, PROT_READ | PROT_WRITE);
    also('B', map_to_read);
    /* what was mapped before the fork is the child's, too */
}

static void just_open(void)
{
    at(open(file("a"), O_RDONLY | O_CLOEXEC), 51);
    close_50();
}

static void mapped_by_one_and_open_in_another(void)
{
    make_file("a");
    also('B', just_open);
    map(50, PROT_READ | PROT_WRITE);
    close_50();
}

/* The process with the lower pid has it open, and it is of interest only when the other one has been seen. */
static void map_in_child(void)
{
    map(50, PROT_READ);
    close_50();
}

static void open_in_one_and_mapped_by_another(void)
{
    make_file("a");
    also('B', map_in_child);
}

static void deleted(void)
{
    make_file("a");
    map(50, PROT_READ);
    must(unlink(file("a")) == 0);
    close_50();
}

static void deleted_and_open(void)
{
    make_file("a");
    map(50, PROT_READ);
    must(unlink(file("a")) == 0);
}

static void deleted_and_made_anew(void)
{
    deleted();
    at(open(file("a"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), 52);
}

static void renamed(void)
{
    make_file("a");
    map(50, PROT_READ);
    must(rename(file("a"), file("b")) == 0);
    snprintf(noted('f')->name, sizeof noted('f')->name, "%s", file("b"));
    close_50();
}

static void called_deleted(void)
{
    make_file("a (deleted)");
    map(50, PROT_READ);
    close_50();
}

static void odd_name(void)
{
    make_file(" a\nb\tc\033[31m \xff");
    map(50, PROT_READ);
    close_50();
}

static void open_other_name(void)
{
    close_50();
    at(open(file("b"), O_RDONLY | O_CLOEXEC), 51);
}

static void two_names(void)
{
    make_file("a");
    must(link(file("a"), file("b")) == 0);
    also('B', open_other_name);
    map(50, PROT_READ);
    close_50();
}

static void lost_one_of_two_names(void)
{
    make_file("a");
    must(link(file("a"), file("b")) == 0);
    map(50, PROT_READ);
    must(unlink(file("a")) == 0);
    snprintf(noted('f')->name, sizeof noted('f')->name, "%s", file("b"));
    close_50();
}

/* open(2), O_TMPFILE: the kernel calls it "#" and its inode, and "(deleted)". */
static void made_without_a_name(void)
{
    char number[64];
    at(open(scene->directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600), 50);
    must(fchmod(50, 0644) == 0 && ftruncate(50, LENGTH) == 0);
    snprintf(number, sizeof number, "/proc/self/fd/%d", 50);
    must(linkat(AT_FDCWD, number, AT_FDCWD, file("a"), AT_SYMLINK_FOLLOW) == 0);
    note('f', 50, "%s", file("a"));
    must(flock(50, LOCK_EX) == 0);
}

/* Not shared: nothing that one writes there is seen by another. */
static void mapped_privately(void)
{
    make_file("a");
    must(mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, 50, 0) != MAP_FAILED);
}

static void shared_by_nobody(void)
{
    make_file("a");
    must(dup2(50, 51) == 51);
}

static void mapped_by_two_alone(void)
{
    make_file("a");
    also('B', map_to_read);
    map(50, PROT_READ | PROT_WRITE);
    close_50();
}

static const struct situation list[] = {
    {"a file that is mapped", mapped_only, .lines = {"f file live | Am:rw"}},
    {"a file mapped by two, one to read", mapped_by_two_alone, .lines = {"f file live | Am:rw>Bm Bm:r>Am"}},
    {"a file mapped before a fork and again", mapped_by_two,
     .lines = {"f file live | A50rw>Am,Bm,Bm Am:rw>A50,Bm,Bm Bm:rw>A50,Am,Bm Bm:r>A50,Am,Bm"}},
    {"a file mapped by one and open in another",
     mapped_by_one_and_open_in_another,
     .lines = {"f file live | Am:rw>B51 B51r>Am"}},
    {"a file open in one and mapped by another",
     open_in_one_and_mapped_by_another,
     .lines = {"f file live | A50rw>Bm Bm:r>A50"}},
    {"a deleted file that is mapped", deleted, .lines = {"f file live deleted | Am:r"}},
    {"a deleted file that is mapped and open", deleted_and_open, .lines = {"f file live deleted | A50rw>Am Am:r>A50"}},
    {"a deleted file whose name is another's", deleted_and_made_anew, .lines = {"f file live deleted | Am:r"}},
    {"a mapped file that was renamed", renamed, .lines = {"f file live | Am:r"}},
    {"a mapped file called (deleted)", called_deleted, .lines = {"f file live | Am:r"}},
    {"a mapped file of an odd name", odd_name, .lines = {"f file live | Am:r"}},
    {"a mapped file under two names", two_names, .lines = {"f file live | Am:r>B51 B51r>Am"}},
    {"a mapped file that lost one of two names", lost_one_of_two_names, .lines = {"f file live | Am:r"},
     .root = true},
    {"a file that was made without a name", made_without_a_name, .lines = {"f file live | A50rw AL:flock:w"}},
    {"a file mapped privately", mapped_privately, .lines = {"f gone"}},
    {"a file that is only open", shared_by_nobody, .lines = {"f gone"}},
};

SITUATIONS(situations_files, list);
