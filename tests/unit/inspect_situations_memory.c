/* tests/unit/inspect_situations_memory.c - memory that is shared without a name: memfds, anonymous mappings.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

enum { LENGTH = 5 * 4096 };

/* One of LENGTH bytes, at 50. */
static void make_memfd(const char *name)
{
    at(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), 50);
    must(ftruncate(50, LENGTH) == 0);
    note('m', 50, "memfd:%s", name);
}

static char *map(int protection)
{
    char *memory = mmap(NULL, LENGTH, protection, MAP_SHARED, 50, 0);
    must(memory != MAP_FAILED);
    return memory;
}

static void memfd_open(void)
{
    make_memfd("open");
}

static void memfd_mapped_only(void)
{
    make_memfd("mapped");
    map(PROT_READ | PROT_WRITE);
    must(close(50) == 0);
}

static void memfd_open_and_mapped(void)
{
    make_memfd("both");
    map(PROT_READ);
}

static void memfd_sealed(void)
{
    make_memfd("sealed");
    must(fcntl(50, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
}

static void memfd_for_reading(void)
{
    make_memfd("read only");
    at(open("/proc/self/fd/50", O_RDONLY | O_CLOEXEC), 51);
    must(close(50) == 0);
}

static void map_and_close(void)
{
    map(PROT_READ);
    must(close(50) == 0);
}

static void memfd_of_two(void)
{
    make_memfd("two");
    also('B', map_and_close);
}

/* Twice, and not next to each other. */
static void memfd_mapped_twice(void)
{
    make_memfd("twice");
    map(PROT_READ | PROT_WRITE);
    must(mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    map(PROT_READ);
    must(close(50) == 0);
}

/* Twice, and next to each other: still two. */
static void memfd_mapped_side_by_side(void)
{
    make_memfd("side by side");
    char *room = mmap(NULL, 2 * LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(room != MAP_FAILED);
    must(mmap(room, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, 50, 0) == room);
    must(mmap(room + LENGTH, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, 50, 0) == room + LENGTH);
    must(close(50) == 0);
}

/* One mapping, of which a page in the middle may not be written: three lines of /proc/PID/maps. */
static void memfd_partly_protected(void)
{
    make_memfd("protected");
    char *memory = map(PROT_READ | PROT_WRITE);
    must(mprotect(memory + 2 * 4096, 4096, PROT_READ) == 0);
    must(close(50) == 0);
}

/* Two mappings are left of it. */
static void memfd_with_a_hole(void)
{
    make_memfd("hole");
    char *memory = map(PROT_READ);
    must(munmap(memory + 2 * 4096, 4096) == 0);
    must(close(50) == 0);
}

/* What is written there is seen by nobody else. */
static void memfd_mapped_privately(void)
{
    make_memfd("private");
    must(mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, 50, 0) != MAP_FAILED);
    must(close(50) == 0);
}

static void memfd_of_an_odd_name(void)
{
    make_memfd(" a\nb\\012 c (deleted)");
}

static void memfd_mapped_under_an_odd_name(void)
{
    make_memfd("a\nb (deleted)");
    map_and_close();
}

static void memfd_of_a_long_name(void)
{
    char name[250];
    memset(name, 'n', 249);
    name[249] = 0;
    make_memfd(name);
}

static void memfd_without_a_name(void)
{
    make_memfd("");
}

static void memfd_of_huge_pages(void)
{
    at(memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB), 50);
    note('m', 50, "memfd:huge");
}

static bool has_huge_pages(void)
{
    int fd = memfd_create("try", MFD_CLOEXEC | MFD_HUGETLB);
    return fd >= 0 && close(fd) == 0;
}

static void take_memfd(void)
{
    must(close(60) == 0 && close(50) == 0);
    at(take(61), 52);
    must(close(61) == 0);
}

static void memfd_passed(void)
{
    make_memfd("passed");
    make_socketpair(SOCK_STREAM, 0, 60, 0, 61);
    pass(60, 50);
    also('B', take_memfd);
    must(close(60) == 0 && close(61) == 0);
}

static void memfd_in_flight(void)
{
    make_memfd("in flight");
    make_socketpair(SOCK_STREAM, 'u', 60, 'v', 61);
    pass(60, 50);
    must(close(50) == 0);
}

/* ---- anonymous ---- */

/* Where the memory is, for the name and number of its file. */
static void note_memory(const void *memory, size_t length)
{
    char path[64], link[256];
    struct stat status;
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)memory,
             (unsigned long)memory + length);
    must(stat(path, &status) == 0);
    ssize_t got = readlink(path, link, sizeof link - 1);
    must(got > 0);
    struct thing *thing = note_nothing('m', "anonymous:[%llu]", (unsigned long long)status.st_ino);
    thing->device = status.st_dev;
    thing->inode = status.st_ino;
    thing->has_inode = true;
    thing->uid = status.st_uid;
    thing->mode = status.st_mode & 07777;
    thing->size = (int64_t)length;
}

static void *anonymous_memory(int flags, size_t length)
{
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags, -1, 0);
    must(memory != MAP_FAILED);
    note_memory(memory, length);
    return memory;
}

static void nothing(void)
{
}

static void anonymous_of_one(void)
{
    anonymous_memory(0, LENGTH);
}

static void anonymous_across_fork(void)
{
    anonymous_memory(0, LENGTH);
    also('B', nothing);
    also('C', nothing);
}

static char *shared;

static void read_only(void)
{
    must(mprotect(shared, LENGTH, PROT_READ) == 0);
}

static void anonymous_read_by_child(void)
{
    shared = anonymous_memory(0, LENGTH);
    also('B', read_only);
}

static void unmap(void)
{
    must(munmap(shared, LENGTH) == 0);
}

static void anonymous_left_by_its_maker(void)
{
    shared = anonymous_memory(0, LENGTH);
    also('B', nothing);
    unmap();
}

static void anonymous_of_dev_zero(void)
{
    int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    must(fd >= 0);
    void *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(memory != MAP_FAILED && close(fd) == 0);
    note_memory(memory, LENGTH);
}

enum { HUGE = 2 << 20 };

static void anonymous_of_huge_pages(void)
{
    anonymous_memory(MAP_HUGETLB | MAP_NORESERVE, HUGE);
    also('B', nothing);
}

static bool can_map_huge_pages(void)
{
    void *memory = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
    return memory != MAP_FAILED && munmap(memory, HUGE) == 0;
}

/* ---- what looks like shared memory ---- */

static void asynchronous_input_and_output(void)
{
    unsigned long context = 0;
    must(syscall(SYS_io_setup, 16, &context) == 0);
}

static bool has_aio(void)
{
    unsigned long context = 0;
    return syscall(SYS_io_setup, 16, &context) == 0 && syscall(SYS_io_destroy, context) == 0;
}

static void private_memory(void)
{
    must(mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    at(open("/dev/zero", O_RDWR | O_CLOEXEC), 50);
    must(mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, 50, 0) != MAP_FAILED);
}

static const struct situation list[] = {
    {"a memfd that is open", memfd_open, .lines = {"m memfd live | A50rw"}},
    {"a memfd that is only mapped", memfd_mapped_only, .lines = {"m memfd live | Am:rw"}},
    {"a memfd that is open and mapped", memfd_open_and_mapped, .lines = {"m memfd live | A50rw>Am Am:r>A50"}},
    {"a sealed memfd", memfd_sealed, .lines = {"m memfd live | A50rw"}},
    {"a memfd opened again to be read", memfd_for_reading, .lines = {"m memfd live | A51r"}},
    {"a memfd of two processes", memfd_of_two, .lines = {"m memfd live | A50rw>Bm Bm:r>A50"}},
    {"a memfd mapped twice", memfd_mapped_twice, .lines = {"m memfd live | Am:rw>Am Am:r>Am"}},
    {"a memfd mapped twice, side by side", memfd_mapped_side_by_side, .lines = {"m memfd live | Am:r>Am Am:r>Am"}},
    {"a memfd with a page that is not written", memfd_partly_protected, .lines = {"m memfd live | Am:rw"}},
    {"a memfd with a page unmapped", memfd_with_a_hole, .lines = {"m memfd live | Am:r>Am Am:r>Am"}},
    {"a memfd mapped privately", memfd_mapped_privately, .lines = {"m gone"}},
    {"a memfd of an odd name", memfd_of_an_odd_name, .lines = {"m memfd live | A50rw"}},
    {"a memfd mapped under an odd name", memfd_mapped_under_an_odd_name, .lines = {"m memfd live | Am:r"}},
    {"a memfd of a long name", memfd_of_a_long_name, .lines = {"m memfd live | A50rw"}},
    {"a memfd without a name", memfd_without_a_name, .lines = {"m memfd live | A50rw"}},
    {"a memfd of huge pages", memfd_of_huge_pages, .lines = {"m memfd live | A50rw"}, .able = has_huge_pages},
    {"a memfd passed and received", memfd_passed, .lines = {"m memfd live | A50rw>B52 B52rw>A50"}},
    {"a memfd in flight",
     memfd_in_flight,
     .lines = {"m gone", "u unix live connected | A60rw>A61", "v unix live connected | A61rw>A60", "u peer v"}},
    {"anonymous memory of one process", anonymous_of_one, .lines = {"m anonymous live | Am:rw"}, .root = true},
    {"anonymous memory across forks",
     anonymous_across_fork,
     .lines = {"m anonymous live | Am:rw>Bm,Cm Bm:rw>Am,Cm Cm:rw>Am,Bm"},
     .root = true},
    {"anonymous memory that a child reads",
     anonymous_read_by_child,
     .lines = {"m anonymous live | Am:rw>Bm Bm:r>Am"}, .root = true},
    {"anonymous memory that its maker left",
     anonymous_left_by_its_maker,
     .lines = {"m anonymous live | Bm:rw"}, .root = true},
    {"anonymous memory of /dev/zero", anonymous_of_dev_zero, .lines = {"m anonymous live | Am:rw"}, .root = true},
    {"anonymous memory of huge pages",
     anonymous_of_huge_pages,
     .lines = {"m anonymous live | Am:rw>Bm Bm:rw>Am"},
     .root = true,
     .able = can_map_huge_pages},
    {"the ring of io_setup", asynchronous_input_and_output, .lines = {NULL}, .able = has_aio},
    {"memory that is not shared", private_memory, .lines = {NULL}},
};

SITUATIONS(situations_memory, list);
