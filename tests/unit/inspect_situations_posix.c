/* tests/unit/inspect_situations_posix.c - POSIX shared memory, semaphores and message queues, and wherry's rings.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/channel.h>

#include "unit/inspect_scene.h"

enum { LENGTH = 3 * 4096 };

static void nothing(void)
{
}

static void close_50(void)
{
    must(close(50) == 0);
}

static const char *named(const char *prefix, const char *end)
{
    static char names[4][300];
    static unsigned next;
    char *name = names[next++ % 4];
    snprintf(name, sizeof names[0], "%s%s%s", prefix, scene->word, end);
    return name;
}

/* ---- shared memory ---- */

static void make_shm_called(const char *end)
{
    at(shm_open(named("/", end), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), 50);
    must(fchmod(50, 0640) == 0 && ftruncate(50, LENGTH) == 0);
    note('s', 50, "%s", named("posix-shm:/", end));
}

static void make_shm(void)
{
    make_shm_called("");
}

static void map(int protection)
{
    must(mmap(NULL, LENGTH, protection, MAP_SHARED, 50, 0) != MAP_FAILED);
}

static void unlink_shm(void)
{
    must(shm_unlink(named("/", "")) == 0);
}

static void shm_mapped_only(void)
{
    make_shm();
    map(PROT_READ | PROT_WRITE);
    close_50();
}

static void shm_left_behind(void)
{
    make_shm();
    close_50();
}

static void shm_deleted_and_mapped(void)
{
    shm_mapped_only();
    unlink_shm();
}

static void shm_deleted_and_open(void)
{
    make_shm();
    unlink_shm();
}

static void map_for_reading(void)
{
    close_50();
    at(shm_open(named("/", ""), O_RDONLY, 0), 50);
    map(PROT_READ);
    close_50();
}

static void shm_of_two(void)
{
    make_shm();
    also('B', map_for_reading);
    map(PROT_READ | PROT_WRITE);
}

static void shm_mapped_twice(void)
{
    make_shm();
    map(PROT_READ | PROT_WRITE);
    map(PROT_READ);
    close_50();
}

static void shm_mapped_in_parts(void)
{
    make_shm();
    char *memory = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, 50, 0);
    must(memory != MAP_FAILED && mprotect(memory + 4096, 4096, PROT_READ | PROT_WRITE) == 0);
    close_50();
}

static void shm_of_an_odd_name(void)
{
    make_shm_called(" a\nb (deleted)");
    map(PROT_READ);
}

static void shm_of_a_long_name(void)
{
    char end[230];
    memset(end, 'x', sizeof end - 1);
    end[sizeof end - 1 - strlen(scene->word) / 2] = 0;
    make_shm_called(end);
}

static void shm_in_its_mounts(void)
{
    must(unshare(CLONE_NEWNS) == 0);
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777") == 0);
    make_shm();
    map(PROT_READ);
}

static void shm_in_its_mounts_mapped_only(void)
{
    shm_in_its_mounts();
    close_50();
}

static void become_nobody(void)
{
    must(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    close_50();
    at(shm_open(named("/", "n"), O_RDWR | O_CREAT | O_EXCL, 0600), 51);
    note('n', 51, "%s", named("posix-shm:/", "n"));
}

static void shm_of_another_user(void)
{
    make_shm();
    also('B', become_nobody);
}

static void shm_under_two_names(void)
{
    char one[400], other[400];
    make_shm();
    snprintf(one, sizeof one, "/dev/shm/%s", named("", ""));
    snprintf(other, sizeof other, "/dev/shm/%s", named("zz-", ""));
    must(link(one, other) == 0);
    at(open(other, O_RDWR | O_CLOEXEC), 51);
    must(unlink(other) == 0);
}

static void shm_in_flight(void)
{
    make_shm();
    unlink_shm();
    make_socketpair(SOCK_STREAM, 'u', 60, 'v', 61);
    pass(60, 50);
    close_50();
}

/* In flight and not deleted: nobody has it, and yet it is no orphan. */
static void named_shm_in_flight(void)
{
    make_shm();
    make_socketpair(SOCK_STREAM, 'u', 60, 'v', 61);
    pass(60, 50);
    close_50();
}

/* ---- semaphores ---- */

static void note_semaphore(int value)
{
    char path[400];
    snprintf(path, sizeof path, "/dev/shm/sem.%s", scene->word);
    at(open(path, O_RDONLY | O_CLOEXEC), 50);
    struct thing *thing = note('s', 50, "%s", named("posix-sem:/", ""));
    thing->messages = value;
    close_50();
}

/* glibc makes it under another name, which maps go on to show with " (deleted)": H70. */
static void h70_semaphore(void)
{
    must(sem_open(named("/", ""), O_CREAT | O_EXCL, 0600, 3) != SEM_FAILED);
    note_semaphore(3);
}

static void h70_semaphore_unlinked(void)
{
    must(sem_open(named("/", ""), O_CREAT | O_EXCL, 0600, 3) != SEM_FAILED);
    note_semaphore(SCENE_UNKNOWN);
    /* the name that it had when it was mapped, which nobody knows, is all that is left of it */
    noted('s')->name[0] = 0;
    must(sem_unlink(named("/", "")) == 0);
}

static void h70_semaphore_across_fork(void)
{
    h70_semaphore();
    also('B', nothing);
}

static void open_semaphore(void)
{
    must(sem_open(named("/", ""), 0) != SEM_FAILED);
}

static void semaphore_left_and_opened(void)
{
    sem_t *semaphore = sem_open(named("/", ""), O_CREAT | O_EXCL, 0600, 0);
    must(semaphore != SEM_FAILED);
    note_semaphore(0);
    must(sem_close(semaphore) == 0);
    also('B', open_semaphore);
}

static void semaphore_of_nobody(void)
{
    sem_t *semaphore = sem_open(named("/", ""), O_CREAT | O_EXCL, 0600, 5);
    must(semaphore != SEM_FAILED);
    note_semaphore(5);
    must(sem_close(semaphore) == 0);
}

/* ---- message queues ---- */

static void make_queue(void)
{
    struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 100};
    at(mq_open(named("/", ""), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes), 50);
    struct thing *thing = note('q', 50, "%s", named("posix-mq:/", ""));
    must(mq_send(50, "hello", 5, 0) == 0);
    thing->size = 400;
    thing->limit = 4;
    thing->messages = 1;
}

static void unlink_queue(void)
{
    make_queue();
    must(mq_unlink(named("/", "")) == 0);
}

static void queue_of_nobody(void)
{
    make_queue();
    close_50();
}

static void receive_only(void)
{
    close_50();
    at(mq_open(named("/", ""), O_RDONLY), 51);
}

static void queue_of_two(void)
{
    make_queue();
    also('B', receive_only);
}

/* The file system of queues is mounted nowhere in this process's name space. */
static void queue_without_a_mount(void)
{
    must(unshare(CLONE_NEWNS) == 0);
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    umount2("/dev/mqueue", MNT_DETACH);
    make_queue();
}

static void queue_in_another_space(void)
{
    must(unshare(CLONE_NEWIPC) == 0);
    make_queue();
}

static void queue_of_nobody_in_another_space(void)
{
    must(unshare(CLONE_NEWIPC) == 0);
    make_queue();
    close_50();
}

/* ---- wherry's rings ---- */

static void join_ring(enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    must(wherry_channel_open(named("shm://", ""), role, NULL, WHERRY_FOREVER, &channel) == 0);
}

static void note_bell(char letter, int fd)
{
    uint64_t id = info_of(fd, "eventfd-id");
    struct thing *thing = note_nothing(letter, "eventfd:[%llu]", (unsigned long long)id);
    thing->id = id;
    thing->has_id = true;
}

static void receive_ring(void)
{
    join_ring(WHERRY_RECEIVE);
    note_bell('b', 3);
    note_bell('c', 6);
}

static void ring(void)
{
    char path[400];
    struct stat status;
    also('B', receive_ring);
    join_ring(WHERRY_SEND);
    note_bell('d', 3);
    note_bell('e', 6);
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), scene->word);
    must(stat(path, &status) == 0);
    struct thing *thing = note_nothing('r', "ring:%s", scene->word);
    thing->device = status.st_dev;
    thing->inode = status.st_ino;
    thing->has_inode = true;
    thing->uid = status.st_uid;
    thing->mode = status.st_mode & 07777;
}

static const struct situation list[] = {
    {"POSIX shared memory that is open", make_shm, .lines = {"s posix-shm live | A50rw"}},
    {"POSIX shared memory that is only mapped", shm_mapped_only, .lines = {"s posix-shm live | Am:rw"}},
    {"POSIX shared memory that nobody has", shm_left_behind, .lines = {"s posix-shm orphan |"}},
    {"POSIX shared memory deleted and mapped", shm_deleted_and_mapped, .lines = {"s posix-shm live deleted | Am:rw"},
     .root = true},
    {"POSIX shared memory deleted and open", shm_deleted_and_open, .lines = {"s posix-shm live deleted | A50rw"}},
    {"POSIX shared memory of two", shm_of_two, .lines = {"s posix-shm live | A50rw>Am,Bm Am:rw>A50,Bm Bm:r>A50,Am"}},
    {"POSIX shared memory mapped twice", shm_mapped_twice, .lines = {"s posix-shm live | Am:r>Am Am:rw>Am"}},
    {"POSIX shared memory of pages with different permissions",
     shm_mapped_in_parts,
     .lines = {"s posix-shm live | Am:rw"}},
    {"POSIX shared memory of an odd name", shm_of_an_odd_name, .lines = {"s posix-shm live | A50rw>Am Am:r>A50"}},
    {"POSIX shared memory of a long name", shm_of_a_long_name, .lines = {"s posix-shm live | A50rw"}},
    {"POSIX shared memory on a mount that others do not see",
     shm_in_its_mounts,
     .lines = {"s posix-shm live | A50rw>Am Am:r>A50"},
     .root = true},
    {"POSIX shared memory mapped from a mount that others do not see",
     shm_in_its_mounts_mapped_only,
     .lines = {"s posix-shm live | Am:r"},
     .root = true},
    {"POSIX shared memory of another user",
     shm_of_another_user,
     .lines = {"s posix-shm live | A50rw", "n posix-shm live | B51rw"},
     .root = true},
    {"POSIX shared memory opened by two names",
     shm_under_two_names,
     .lines = {"s posix-shm live | A50rw>A51 A51rw>A50"}},
    {"deleted POSIX shared memory in flight",
     shm_in_flight,
     .lines = {"s gone", "u unix live connected | A60rw>A61", "v unix live connected | A61rw>A60", "u peer v"}},
    {"POSIX shared memory in flight",
     named_shm_in_flight,
     .lines = {"s posix-shm live |", "u unix live connected | A60rw>A61", "v unix live connected | A61rw>A60",
               "u peer v"},
     .root = true},
    {"a POSIX semaphore", h70_semaphore, .lines = {"s posix-sem live | Am:rw"}},
    {"a POSIX semaphore across a fork", h70_semaphore_across_fork, .lines = {"s posix-sem live | Am:rw>Bm Bm:rw>Am"}},
    {"a POSIX semaphore opened again", semaphore_left_and_opened, .lines = {"s posix-sem live | Bm:rw"}},
    {"a POSIX semaphore that nobody has", semaphore_of_nobody, .lines = {"s posix-sem orphan |"}},
    {"a POSIX message queue", make_queue, .lines = {"q posix-mq live | A50rw"}},
    {"a POSIX message queue deleted and open", unlink_queue, .lines = {"q posix-mq live deleted | A50rw"}},
    {"a POSIX message queue that nobody has", queue_of_nobody, .lines = {"q posix-mq orphan |"}, .root = true},
    {"a POSIX message queue of two", queue_of_two, .lines = {"q posix-mq live | A50rw>B51 B51r>A50"}},
    {"a POSIX message queue without a mount",
     queue_without_a_mount,
     .lines = {"q posix-mq live | A50rw"}, .root = true},
    {"a POSIX message queue in another IPC name space",
     queue_in_another_space,
     .lines = {"q posix-mq live elsewhere | A50rw"},
     .root = true},
    {"a POSIX message queue that nobody has in another IPC name space",
     queue_of_nobody_in_another_space,
     .lines = {"q posix-mq unknown elsewhere |"},
     .root = true},
    {"a POSIX semaphore deleted and mapped",
     h70_semaphore_unlinked,
     .lines = {"s posix-sem live deleted | Am:rw"},
     .root = true},
    /* the sender has its lane mapped twice, end to end; each side has a byte locked as long as it lives */
    {"a ring with a sender and a receiver",
     ring,
     .lines = {"r ring live | A5rw>Am,Am,Am,B5,BL,Bm AL:posix:w:1024+1>Am,Am,Am,B5,BL,Bm Am:rw>A5,AL,Am,Am,B5,BL,Bm "
               "Am:rw>A5,AL,Am,Am,B5,BL,Bm Am:rw>A5,AL,Am,Am,B5,BL,Bm B5rw>A5,AL,Am,Am,Am,Bm "
               "BL:posix:w:1087+1>A5,AL,Am,Am,Am,Bm Bm:rw>A5,AL,Am,Am,Am,B5,BL",
               "b eventfd live | B3rw", "c eventfd live | B6rw", "d eventfd live | A3rw", "e eventfd live | A6rw"}},
};

SITUATIONS(situations_posix, list);
