/* tests/unit/inspect_situations_pipes.c - pipes and FIFOs.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

/* A pipe at 50, to read, and 51, to write. */
static void make_pipe(void)
{
    int ends[2];
    must(pipe2(ends, O_CLOEXEC) == 0);
    int far = fcntl(ends[1], F_DUPFD_CLOEXEC, 100);
    close(ends[1]);
    at(ends[0], 50);
    at(far, 51);
    note('p', 50, "%s", "");
}

static void nothing(void)
{
}

static void close_50(void)
{
    must(close(50) == 0);
}

static void close_51(void)
{
    must(close(51) == 0);
}

static void pipe_across_fork(void)
{
    make_pipe();
    also('B', close_50);
    close_51();
}

static void pipe_of_three(void)
{
    make_pipe();
    also('B', nothing);
    also('C', close_51);
}

static void pipe_ends_duplicated(void)
{
    make_pipe();
    must(dup2(50, 52) == 52 && dup2(51, 53) == 53);
}

static void pipe_without_writers(void)
{
    make_pipe();
    close_51();
}

static void pipe_without_readers(void)
{
    make_pipe();
    close_50();
}

static void pipe_open_both_ways(void)
{
    make_pipe();
    at(open("/proc/self/fd/50", O_RDWR | O_CLOEXEC), 52);
    close_51();
}

static void high_descriptor(void)
{
    struct rlimit limit;
    make_pipe();
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    at(50, 1500);
}

static bool many_descriptors(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > 2000;
}

static void pipe_end_in_flight(void)
{
    make_pipe();
    make_socketpair(SOCK_STREAM, 'u', 60, 'v', 61);
    pass(60, 51);
    close_51();
}

/* ---- FIFOs ---- */

static const char *make_fifo(const char *name)
{
    const char *path = file(name);
    must(mkfifo(path, 0640) == 0 && chmod(path, 0640) == 0);
    return path;
}

static void open_fifo(const char *path, int flags, int number)
{
    at(open(path, flags | O_NONBLOCK | O_CLOEXEC), number);
}

static void fifo_for_reading_only(void)
{
    const char *path = make_fifo("fifo");
    open_fifo(path, O_RDONLY, 50);
    note('f', 50, "fifo:%s", path);
}

static void write_to_fifo(void)
{
    close_50();
    open_fifo(file("fifo"), O_WRONLY, 51);
}

static void fifo_of_two(void)
{
    fifo_for_reading_only();
    also('B', write_to_fifo);
}

static void fifo_both_ways(void)
{
    const char *path = make_fifo("fifo");
    open_fifo(path, O_RDWR, 50);
    note('f', 50, "fifo:%s", path);
}

static void fifo_by_path_alone(void)
{
    const char *path = make_fifo("fifo");
    at(open(path, O_PATH | O_CLOEXEC), 50);
    note('f', 50, "fifo:%s", path);
}

static void fifo_deleted(void)
{
    fifo_both_ways();
    must(unlink(file("fifo")) == 0);
}

static void fifo_renamed(void)
{
    const char *path = make_fifo("before"), *after = file("after");
    open_fifo(path, O_RDWR, 50);
    must(rename(path, after) == 0);
    note('f', 50, "fifo:%s", after);
}

static void fifo_of_an_odd_name(const char *name)
{
    const char *path = make_fifo(name);
    open_fifo(path, O_RDWR, 50);
    note('f', 50, "fifo:%s", path);
}

static void fifo_with_blanks(void)
{
    fifo_of_an_odd_name(" a b\n\tc\\012 \033[31m");
}

static void fifo_called_deleted(void)
{
    fifo_of_an_odd_name("x (deleted)");
}

static void fifo_called_deleted_and_deleted(void)
{
    fifo_of_an_odd_name("x (deleted)");
    must(unlink(file("x (deleted)")) == 0);
}

static void open_other_name(void)
{
    close_50();
    open_fifo(file("other"), O_WRONLY, 51);
}

static void fifo_of_two_names(void)
{
    fifo_for_reading_only();
    must(link(file("fifo"), file("other")) == 0);
    also('B', open_other_name);
}

static void fifo_keeps_its_other_name(void)
{
    fifo_for_reading_only();
    must(link(file("fifo"), file("other")) == 0);
    must(unlink(file("fifo")) == 0);
    snprintf(noted('f')->name, sizeof noted('f')->name, "fifo:%s", file("other"));
}

/* 15 directories of 250 bytes. */
/* So many directories deep, each of 250 characters: its path, which open(2) may not take. */
static const char *make_deep_fifo(int depth)
{
    static char path[8192];
    char name[251];
    int directory = open(scene->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(directory >= 0);
    char *end = stpcpy(path, scene->directory);
    for (int i = 0; i < depth; i++) {
        memset(name, 'a' + i, 250);
        name[250] = 0;
        end = stpcpy(stpcpy(end, "/"), name);
        must(mkdirat(directory, name, 0700) == 0);
        int next = openat(directory, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        must(next >= 0 && close(directory) == 0);
        directory = next;
    }
    must(mkfifoat(directory, "f", 0600) == 0);
    at(openat(directory, "f", O_RDWR | O_CLOEXEC), 50);
    must(close(directory) == 0);
    stpcpy(end, "/f");
    return path;
}

static void fifo_of_a_long_path(void)
{
    const char *path = make_deep_fifo(15);
    const struct thing *thing = note('f', 50, "fifo:%s", path);
    must(strlen(thing->name) > 3700);
}

/* readlink(2) cannot tell a path of more than a page. */
static void fifo_of_a_path_too_long(void)
{
    struct stat status;
    must(strlen(make_deep_fifo(20)) > 4096 && fstat(50, &status) == 0);
    note('f', 50, "fifo:[%u:%u %llu]", major(status.st_dev), minor(status.st_dev), (unsigned long long)status.st_ino);
}

static const struct situation list[] = {
    {"a pipe in one process", make_pipe, .lines = {"p pipe live | A50r>A51 A51w>A50"}},
    {"a pipe across a fork", pipe_across_fork, .lines = {"p pipe live | A50r>B51 B51w>A50"}},
    {"a pipe of three processes",
     pipe_of_three,
     .lines = {"p pipe live | A50r>A51,B51 A51w>A50,B50,C50 B50r>A51,B51 B51w>A50,B50,C50 C50r>A51,B51"}},
    {"a pipe, both ends duplicated",
     pipe_ends_duplicated,
     .lines = {"p pipe live | A50r>A51,A53 A51w>A50,A52 A52r>A51,A53 A53w>A50,A52"}},
    {"a pipe that nobody writes to", pipe_without_writers, .lines = {"p pipe live | A50r"}},
    {"a pipe that nobody reads", pipe_without_readers, .lines = {"p pipe live | A51w"}},
    {"a pipe opened to read and to write", pipe_open_both_ways, .lines = {"p pipe live | A50r>A52 A52rw>A50"}},
    {"a descriptor beyond a thousand",
     high_descriptor,
     .lines = {"p pipe live | A1500r>A51 A51w>A1500"}, .able = many_descriptors},
    {"the end of a pipe in flight",
     pipe_end_in_flight,
     .lines = {"p pipe live | A50r", "u unix live connected | A60rw>A61", "v unix live connected | A61rw>A60",
               "u peer v"}},
    {"a FIFO that is only read", fifo_for_reading_only, .lines = {"f fifo live | A50r"}},
    {"a FIFO of two processes", fifo_of_two, .lines = {"f fifo live | A50r>B51 B51w>A50"}},
    {"a FIFO opened to read and to write", fifo_both_ways, .lines = {"f fifo live | A50rw"}},
    {"a FIFO opened by its path alone", fifo_by_path_alone, .lines = {"f fifo live | A50-"}},
    {"a FIFO that was deleted", fifo_deleted, .lines = {"f fifo live deleted | A50rw"}},
    {"a FIFO that was renamed", fifo_renamed, .lines = {"f fifo live | A50rw"}},
    {"a FIFO with blanks and newlines in its name", fifo_with_blanks, .lines = {"f fifo live | A50rw"}},
    {"a FIFO called (deleted)", fifo_called_deleted, .lines = {"f fifo live | A50rw"}},
    {"a deleted FIFO called (deleted)", fifo_called_deleted_and_deleted, .lines = {"f fifo live deleted | A50rw"}},
    {"a FIFO under two names", fifo_of_two_names, .lines = {"f fifo live | A50r>B51 B51w>A50"}},
    {"a FIFO that lost one of two names", fifo_keeps_its_other_name, .lines = {"f fifo live | A50r"}},
    {"a FIFO of a long path", fifo_of_a_long_path, .lines = {"f fifo live | A50rw"}},
    {"a FIFO of a path too long to tell", fifo_of_a_path_too_long, .lines = {"f fifo live | A50rw"}},
};

SITUATIONS(situations_pipes, list);
