/* tests/crash/gc_things.c - owns objects of each kind, and the processes that use them.
 *
 * SPDX-License-Identifier: MIT */
#include "gc_things.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

const char *const kind_names[] = {"shm", "sem", "mq", "ring", "sysv-shm", "sysv-sem", "sysv-msg", "socket"};
const char *const use_names[] = {"held", "left", "killed", "inherited", "hopping", "in flight", "moved", "inside"};
struct board *board;

static const char *name_of(const struct thing *thing, const char *before)
{
    static char names[4][100];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], "%sthing-%u", before, thing->number);
    return name;
}

static key_t key_of(const struct thing *thing)
{
    return (key_t)(0x7000 + thing->number);
}

/* Made, and held by this process: a descriptor to hand on, or -1. */
int gc_make(const struct thing *thing)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct wherry_channel *channel;
    struct sembuf up = {.sem_op = 1};
    struct {
        long type;
        char data[4];
    } message = {1, "abc"};
    struct mq_attr small = {.mq_maxmsg = 1, .mq_msgsize = 16};
    int fd = -1, id = -1;
    switch (thing->kind) {
    case SHM:
        fd = open(name_of(thing, "/dev/shm/"), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, 8192) != 0)
            _exit(81);
        if (thing->number % 2 && thing->use != IN_FLIGHT) { /* by its mapping alone */
            mmap(NULL, 8192, PROT_READ, thing->number % 4 == 1 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
            close(fd);
            fd = -1;
        }
        break;
    case SEM:
        if (sem_open(name_of(thing, "/"), O_CREAT | O_EXCL, 0600, 1) == SEM_FAILED)
            _exit(82);
        fd = open(name_of(thing, "/dev/shm/sem."), O_RDWR | O_CLOEXEC);
        break;
    case MQ:
        fd = mq_open(name_of(thing, "/"), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600, &small);
        if (fd < 0)
            _exit(83);
        break;
    case RING:
        if (wherry_channel_open(name_of(thing, "shm://"), WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0)
            _exit(84);
        break;
    case SYSV_SHM:
        id = shmget(key_of(thing), 4096, IPC_CREAT | IPC_EXCL | 0600);
        if (id < 0 || shmat(id, NULL, 0) == (void *)-1)
            _exit(85);
        break;
    case SYSV_SEM:
        id = semget(key_of(thing), 1, IPC_CREAT | IPC_EXCL | 0600);
        if (id < 0 || semop(id, &up, 1) != 0)
            _exit(86);
        break;
    case SYSV_MSG:
        id = msgget(key_of(thing), IPC_CREAT | IPC_EXCL | 0600);
        if (id < 0 || msgsnd(id, &message, sizeof message.data, 0) != 0)
            _exit(87);
        break;
    default:
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        strcpy(address.sun_path, name_of(thing, thing->number % 2 ? "/tmp/" : "/run/"));
        if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0)
            _exit(88);
        break;
    }
    if (id >= 0)
        board->id[thing->number % 64] = id;
    return fd;
}

static void send_away(int fd)
{
    int ends[2];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    char byte = 'x';
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 || sendmsg(ends[0], &message, 0) != 1)
        _exit(80);
    close(fd);
}

static void stay(void)
{
    board->ready++;
    for (;;)
        pause();
}

/* From process to process, until it is told to stop. */
static void hop(void)
{
    board->ready++;
    while (!board->stop) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        if (pid < 0)
            sched_yield();
    }
    _exit(0);
}

/* Libraries of which a forked child's copy holds nothing, and objects that have no descriptor to inherit. */
bool gc_can(enum kind kind, enum use use)
{
    switch (use) {
    case INHERITED:
    case HOPPING:
        return kind == SHM || kind == SEM || kind == MQ || kind == SYSV_SHM || kind == SOCKET;
    case IN_FLIGHT:
        return kind == SHM || kind == MQ || kind == SOCKET;
    default:
        return true;
    }
}

void gc_use(const struct thing *thing)
{
    if (thing->use == INSIDE) { /* the parent goes; its child is the first of its namespace */
        if (unshare(CLONE_NEWPID) != 0)
            _exit(79);
        if (fork() > 0)
            _exit(0);
    }
    if (thing->nobody && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(78);
    prctl(PR_SET_DUMPABLE, 1);
    int fd = gc_make(thing);
    switch (thing->use) {
    case LEFT:
        board->ready++;
        _exit(0);
    case INHERITED:
        if (fork() > 0)
            _exit(0);
        break;
    case HOPPING:
        hop();
        break;
    case IN_FLIGHT:
        send_away(fd);
        break;
    case MOVED:
        if (unshare(CLONE_NEWNS | (thing->kind == MQ || thing->kind == SYSV_SHM ? CLONE_NEWIPC : 0)) != 0 &&
            !thing->nobody)
            _exit(77);
        break;
    default:
        break;
    }
    stay();
}

bool gc_in_use(const struct thing *thing)
{
    return thing->use != LEFT && thing->use != KILLED;
}

static const char *path_of(const struct thing *thing)
{
    switch (thing->kind) {
    case SHM:
        return name_of(thing, "/dev/shm/");
    case SEM:
        return name_of(thing, "/dev/shm/sem.");
    case RING:
        return name_of(thing, thing->nobody ? "/dev/shm/wherry-65534/" : "/dev/shm/wherry-0/");
    default:
        return name_of(thing, thing->number % 2 ? "/tmp/" : "/run/");
    }
}

/* What it is known by: another in its place is no comfort. */
ino_t gc_identity(const struct thing *thing)
{
    struct stat status;
    struct shmid_ds segment;
    struct msqid_ds queue;
    struct semid_ds set;
    int id = board->id[thing->number % 64], fd;
    switch (thing->kind) {
    case MQ:
        fd = mq_open(name_of(thing, "/"), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) != 0)
            return 0;
        close(fd);
        return status.st_ino;
    case SYSV_SHM:
        return shmctl(id, IPC_STAT, &segment) == 0 && segment.shm_perm.__key == key_of(thing) ? (ino_t)id + 1 : 0;
    case SYSV_SEM:
        return semctl(id, 0, IPC_STAT, &set) == 0 ? (ino_t)id + 1 : 0;
    case SYSV_MSG:
        return msgctl(id, IPC_STAT, &queue) == 0 ? (ino_t)id + 1 : 0;
    default:
        return lstat(path_of(thing), &status) == 0 ? status.st_ino : 0;
    }
}

void gc_remove(const struct thing *thing)
{
    int id = board->id[thing->number % 64];
    switch (thing->kind) {
    case MQ:
        mq_unlink(name_of(thing, "/"));
        break;
    case SYSV_SHM:
        shmctl(id, IPC_RMID, NULL);
        break;
    case SYSV_SEM:
        semctl(id, 0, IPC_RMID);
        break;
    case SYSV_MSG:
        msgctl(id, IPC_RMID, NULL);
        break;
    default:
        unlink(path_of(thing));
    }
}

/* Waits for what has ended, so that nobody is a zombie with a pid that counts. */
void gc_reap(void)
{
    int status;
    while (waitpid(-1, &status, WNOHANG) > 0)
        ck_assert_msg(!WIFEXITED(status) || WEXITSTATUS(status) == 0, "a user of something ended with %d",
                      WEXITSTATUS(status));
}

void gc_wait_ready(int count)
{
    wherry_time deadline = test_deadline();
    while (board->ready < count) {
        ck_assert_msg(wherry_now() < deadline, "%d of %d are ready", board->ready, count);
        gc_reap();
        sched_yield();
    }
}

void gc_kill_descendants(void)
{
    wherry_time deadline = test_deadline();
    int status;
    board->stop = 1;
    for (;;) {
        char path[64], list[4096];
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = read(fd, list, sizeof list - 1);
        close(fd);
        list[size > 0 ? size : 0] = 0;
        char *rest;
        for (char *word = strtok_r(list, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
            kill(atoi(word), SIGKILL);
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return;
        ck_assert_int_lt(wherry_now(), deadline);
        if (pid == 0)
            sched_yield();
    }
}
