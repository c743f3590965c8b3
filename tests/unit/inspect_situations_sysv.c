/* tests/unit/inspect_situations_sysv.c - System V shared memory, semaphores and message queues.
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "unit/inspect_scene.h"

enum { LENGTH = 3 * 4096 };

static int id;
static void *memory;

static void nothing(void)
{
}

static void note_sysv(char letter, const char *kind, key_t key)
{
    struct thing *thing = key == IPC_PRIVATE ? note_nothing(letter, "%s:#%d", kind, id)
                                             : note_nothing(letter, "%s:0x%x", kind, (unsigned)key);
    struct stat space;
    must(stat("/proc/thread-self/ns/ipc", &space) == 0);
    thing->space = space.st_ino;
    thing->id = (uint64_t)id;
    thing->key = key;
    thing->has_id = thing->has_key = true;
    thing->uid = geteuid();
    thing->gid = getegid();
}

/* ---- shared memory ---- */

static void make_segment(key_t key)
{
    id = shmget(key, LENGTH, IPC_CREAT | IPC_EXCL | 0640);
    must(id >= 0);
    note_sysv('s', "sysv-shm", key);
    noted('s')->size = LENGTH;
    noted('s')->mode = 0640;
}

static void attach(int flags)
{
    memory = shmat(id, NULL, flags);
    must(memory != (void *)-1);
}

static void segment(void)
{
    make_segment(test_key(0));
    attach(0);
}

static void segment_private(void)
{
    make_segment(IPC_PRIVATE);
    attach(0);
}

static void segment_removed(void)
{
    struct thing *thing;
    segment();
    must(shmctl(id, IPC_RMID, NULL) == 0);
    thing = noted('s'); /* it has no key any more */
    thing->key = IPC_PRIVATE;
    snprintf(thing->name, sizeof thing->name, "sysv-shm:#%d", id);
}

static void segment_attached_twice(void)
{
    segment();
    attach(SHM_RDONLY);
}

static void segment_of_nobody(void)
{
    make_segment(test_key(0));
}

static void attach_for_reading(void)
{
    must(shmdt(memory) == 0);
    attach(SHM_RDONLY);
}

static void segment_of_two(void)
{
    segment();
    also('B', attach_for_reading);
}

static void segment_across_fork(void)
{
    segment();
    also('B', nothing);
    must(shmdt(memory) == 0);
}

static void segment_in_another_space(void)
{
    must(unshare(CLONE_NEWIPC) == 0);
    segment();
}

/* The same key, and the same number, as one of the test's own. */
static void make_in_another_space(void)
{
    must(unshare(CLONE_NEWIPC) == 0);
    id = shmget(test_key(0), 2 * LENGTH, IPC_CREAT | IPC_EXCL | 0600);
    must(id >= 0);
    attach(0);
    struct thing *thing = note_nothing('t', "sysv-shm:#%d", id);
    thing->size = 2 * LENGTH;
    thing->uid = geteuid();
}

static void segments_of_one_key(void)
{
    segment();
    must(id != 0 || shmdt(memory) == 0);
    also('B', make_in_another_space);
}

static void leave_for_another_space(void)
{
    segment();
    must(unshare(CLONE_NEWIPC) == 0);
}

static void end_at_once(void)
{
    make_segment(test_key(0));
    about_to_block();
    _exit(0);
}

static void segment_of_the_ended(void)
{
    also('B', end_at_once);
    scene->actors[1].blocks = false;
    scene->actors[1].ended = true;
}

/* ---- semaphores ---- */

static void make_set(void)
{
    id = semget(test_key(1), 3, IPC_CREAT | IPC_EXCL | 0600);
    must(id >= 0);
    note_sysv('s', "sysv-sem", test_key(1));
    noted('s')->mode = 0600;
}

static void wait_for_semaphore(void)
{
    struct sembuf take = {.sem_num = 1, .sem_op = -1};
    about_to_block();
    semop(id, &take, 1);
}

static void set_with_waiter(void)
{
    make_set();
    also('B', wait_for_semaphore);
}

static void set_with_waiters(void)
{
    make_set();
    also('B', wait_for_semaphore);
    also('C', wait_for_semaphore);
}

/* ---- message queues ---- */

struct message {
    long type;
    char text[4096];
};

static void make_queue(void)
{
    id = msgget(test_key(2), IPC_CREAT | IPC_EXCL | 0600);
    must(id >= 0);
    note_sysv('q', "sysv-msg", test_key(2));
    noted('q')->mode = 0600;
    noted('q')->messages = 0;
}

static void receive(void)
{
    static struct message message;
    about_to_block();
    msgrcv(id, &message, sizeof message.text, 0, 0);
}

static void queue_with_receiver(void)
{
    make_queue();
    also('B', receive);
}

static void send_on(void)
{
    static struct message message = {.type = 1};
    about_to_block();
    msgsnd(id, &message, sizeof message.text, 0);
}

static void queue_with_sender(void)
{
    static struct message message = {.type = 1};
    int64_t count = 0;
    make_queue();
    while (msgsnd(id, &message, sizeof message.text, IPC_NOWAIT) == 0)
        count++;
    noted('q')->messages = count;
    also('B', send_on);
}

static void queue_private(void)
{
    id = msgget(IPC_PRIVATE, 0600);
    must(id >= 0);
    note_sysv('q', "sysv-msg", IPC_PRIVATE);
}

static void queue_waited_for_elsewhere(void)
{
    must(unshare(CLONE_NEWIPC) == 0);
    make_queue();
    also('B', receive);
}

static const struct situation list[] = {
    {"System V memory attached", segment, .lines = {"s sysv-shm live | At:rw"}},
    {"System V memory without a key", segment_private, .lines = {"s sysv-shm live | At:rw"}},
    {"System V memory attached and removed", segment_removed, .lines = {"s sysv-shm live deleted | At:rw"}},
    {"System V memory attached twice", segment_attached_twice, .lines = {"s sysv-shm live | At:r>At At:rw>At"}},
    {"System V memory that nobody has attached", segment_of_nobody, .lines = {"s sysv-shm unknown |"}},
    {"System V memory whose maker has ended", segment_of_the_ended, .lines = {"s sysv-shm orphan |"}},
    {"System V memory of two", segment_of_two, .lines = {"s sysv-shm live | At:rw>Bt Bt:r>At"}},
    {"System V memory that its maker left", segment_across_fork, .lines = {"s sysv-shm live | Bt:rw"}},
    {"System V memory in another IPC name space",
     segment_in_another_space,
     .lines = {"s sysv-shm live elsewhere | At:rw"},
     .root = true},
    {"System V memory of one key in two IPC name spaces",
     segments_of_one_key,
     .lines = {"s sysv-shm live | At:rw>Bt Bt:rw>At", "t sysv-shm live elsewhere | Bt:rw"},
     .root = true},
    {"System V memory of a name space that its process has left",
     leave_for_another_space,
     .lines = {"s sysv-shm live | At:rw"},
     .root = true},
    {"System V semaphores", make_set, .lines = {"s sysv-sem unknown untracked |"}},
    {"System V semaphores that one waits for",
     set_with_waiter,
     .lines = {"s sysv-sem live untracked | BW:semop"}},
    {"System V semaphores that two wait for",
     set_with_waiters,
     .lines = {"s sysv-sem live untracked | BW:semop>CW CW:semop>BW"}},
    {"a System V queue", make_queue, .lines = {"q sysv-msg unknown untracked |"}},
    {"a System V queue without a key", queue_private, .lines = {"q sysv-msg unknown untracked |"}},
    {"a System V queue that one receives from",
     queue_with_receiver,
     .lines = {"q sysv-msg live untracked | BW:msgrcv"}},
    {"a System V queue that is full", queue_with_sender, .lines = {"q sysv-msg live untracked | BW:msgsnd"}},
    {"a System V queue in another IPC name space",
     queue_waited_for_elsewhere,
     .lines = {"q sysv-msg live elsewhere untracked | BW:msgrcv"},
     .root = true},
};

SITUATIONS(situations_sysv, list);
