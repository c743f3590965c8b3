/* tests/unit/inspect_scene.c - owns the processes of a situation, and what they note of the objects they make.
 *
 * SPDX-License-Identifier: MIT */
#include "unit/inspect_scene.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdarg.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

struct scene *scene;
static char self; /* this process's letter; 0: the test */

static struct actor *actor(char letter)
{
    return &scene->actors[letter - 'A'];
}

/* ---- waiting for each other ---- */

static bool wait_for(sem_t *semaphore)
{
    wherry_time deadline = test_deadline();
    struct timespec until = {deadline / WHERRY_SECOND, deadline % WHERRY_SECOND};
    int result;
    do
        result = sem_clockwait(semaphore, CLOCK_MONOTONIC, &until);
    while (result < 0 && errno == EINTR);
    return result == 0;
}

void scene_fail(const char *file_, int line, const char *condition)
{
    int code = errno;
    const char *shown = strstr(file_, "tests/");
    if (!scene->failure[0])
        snprintf(scene->failure, sizeof scene->failure, "%s:%d: process %c: %s: %s", shown ? shown : file_, line,
                 self, condition, strerror(code));
    for (int i = 0; i < SCENE_ACTORS; i++) {
        sem_post(&scene->actors[i].ready);
        sem_post(&scene->actors[i].told);
    }
    stand_still();
}

void stand_still(void)
{
    for (;;)
        pause();
}

/* What was seen first stands where /proc cannot be seen any more. */
static void note_space(const char *name, uint64_t *space)
{
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/proc/thread-self/ns/%s", name);
    if (stat(path, &status) == 0)
        *space = status.st_ino;
}

static void note_spaces(void)
{
    note_space("net", &actor(self)->net_space);
    note_space("ipc", &actor(self)->ipc_space);
    note_space("pid", &actor(self)->pid_space);
}

static void be_ready(void)
{
    struct actor *me = actor(self);
    me->uid = geteuid();
    note_spaces();
    prctl(PR_GET_NAME, me->command);
    sem_post(&me->ready);
}

void about_to_block(void)
{
    actor(self)->blocks = true;
    be_ready();
}

void tell(char letter)
{
    sem_post(&actor(letter)->told);
}

void until_told(void)
{
    must(wait_for(&actor(self)->told));
    if (scene->failure[0])
        stand_still();
}

static void run_actor(char letter, void (*make)(void))
{
    self = letter;
    note_spaces();
    make();
    if (!actor(letter)->blocks)
        be_ready();
    stand_still();
}

void also(char letter, void (*make)(void))
{
    struct actor *new = actor(letter);
    char parent = self;
    new->parent = parent;
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0)
        run_actor(letter, make);
    new->pid = pid;
    must(wait_for(&new->ready));
    if (scene->failure[0])
        stand_still();
}

/* ---- notes ---- */

int at(int fd, int number)
{
    must(fd >= 0);
    must(dup3(fd, number, O_CLOEXEC) == number);
    must(close(fd) == 0);
    return number;
}

const char *file(const char *name)
{
    static char paths[4][4200];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scene->directory, name);
    return path;
}

__attribute__((format(printf, 2, 0))) static struct thing *new_thing(char letter, const char *format, va_list list)
{
    must(scene->thing_count < SCENE_THINGS);
    struct thing *thing = &scene->things[scene->thing_count++];
    *thing = (struct thing){.letter = letter, .uid = (uid_t)-1, .gid = (gid_t)-1, .mode = SCENE_UNKNOWN,
                            .size = SCENE_UNKNOWN, .messages = SCENE_UNKNOWN, .limit = SCENE_UNKNOWN, .fd = -1};
    vsnprintf(thing->name, sizeof thing->name, format, list);
    return thing;
}

struct thing *note(char letter, int fd, const char *name, ...)
{
    va_list list;
    struct stat status;
    va_start(list, name);
    struct thing *thing = new_thing(letter, name, list);
    va_end(list);
    must(fstat(fd, &status) == 0);
    thing->device = status.st_dev;
    thing->inode = status.st_ino;
    thing->has_inode = true;
    thing->uid = status.st_uid;
    thing->gid = status.st_gid;
    thing->mode = status.st_mode & 07777;
    thing->size = S_ISREG(status.st_mode) ? status.st_size : SCENE_UNKNOWN;
    if (!thing->name[0])
        snprintf(thing->name, sizeof thing->name, "pipe:[%llu]", (unsigned long long)status.st_ino);
    return thing;
}

struct thing *note_nothing(char letter, const char *name, ...)
{
    va_list list;
    va_start(list, name);
    struct thing *thing = new_thing(letter, name, list);
    va_end(list);
    return thing;
}

struct thing *note_anonymous(char letter, int fd)
{
    struct thing *thing = note_nothing(letter, "~");
    thing->holder = self;
    thing->fd = fd;
    return thing;
}

struct thing *noted(char letter)
{
    for (size_t i = 0; i < scene->thing_count; i++)
        if (scene->things[i].letter == letter)
            return &scene->things[i];
    return NULL;
}

struct thing *note_socket(char letter, int fd, const char *kind, const char *name)
{
    struct stat status;
    must(fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode));
    struct thing *thing = name ? note_nothing(letter, "%s", name)
                               : note_nothing(letter, "%s:[%llu]", kind, (unsigned long long)status.st_ino);
    thing->inode = status.st_ino;
    thing->has_inode = true;
    thing->uid = status.st_uid;
    return thing;
}

struct thing *note_pending(char letter, const char *name)
{
    struct thing *thing = note_nothing(letter, "%s", name);
    thing->pending = true;
    return thing;
}

void make_socketpair(int type, char one, int one_number, char other, int other_number)
{
    int ends[2];
    must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    int far = fcntl(ends[1], F_DUPFD_CLOEXEC, 1000 < one_number ? 5000 : 400);
    must(far >= 0 && close(ends[1]) == 0);
    at(ends[0], one_number);
    at(far, other_number);
    if (one)
        note_socket(one, one_number, "unix", NULL);
    if (other)
        note_socket(other, other_number, "unix", NULL);
}

static char *write_address(char *to, const struct sockaddr_storage *address)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    if (address->ss_family == AF_INET)
        return to + sprintf(to, "%s:%u", inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip), ntohs(v4->sin_port));
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return to + sprintf(to, "%s:%u", inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, sizeof ip),
                            ntohs(v6->sin6_port));
    return to + sprintf(to, "[%s]:%u", inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip), ntohs(v6->sin6_port));
}

const char *inet_name(int fd, const char *kind)
{
    static char names[4][256];
    static unsigned next;
    char *name = names[next++ % 4];
    struct sockaddr_storage here, there;
    socklen_t length = sizeof here;
    must(getsockname(fd, (void *)&here, &length) == 0);
    char *to = write_address(name + sprintf(name, "%s:", kind), &here);
    length = sizeof there;
    if (getpeername(fd, (void *)&there, &length) == 0) {
        *to++ = '-';
        write_address(to, &there);
    }
    return name;
}

uint64_t info_of(int fd, const char *key)
{
    char path[64], line[256];
    unsigned long long value = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "re");
    must(info);
    while (fgets(line, sizeof line, info))
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
            value = strtoull(line + strlen(key) + 1, NULL, 10);
            found = true;
        }
    fclose(info);
    must(found);
    return value;
}

/* ---- descriptors on their way ---- */

union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

void pass(int socket, int fd)
{
    union control control = {{0}};
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    must(sendmsg(socket, &message, 0) == 1);
}

int take(int socket)
{
    union control control;
    char byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    must(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1);
    must(CMSG_FIRSTHDR(&message));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* ---- beginning and end ---- */

/* Of the test's descriptors only the standard ones go with it: whatever else an actor has, it made. */
static void run_first(const struct situation *situation)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (close_range(3, ~0U, 0) < 0)
        scene_fail(__FILE__, __LINE__, "close_range");
    run_actor('A', situation->make);
}

void scene_start(const struct situation *situation)
{
    scene = test_shared(sizeof *scene);
    snprintf(scene->directory, sizeof scene->directory, "%s", test_dir());
    snprintf(scene->word, sizeof scene->word, "%s", test_word());
    for (int i = 0; i < SCENE_ACTORS; i++)
        ck_assert(sem_init(&scene->actors[i].ready, 1, 0) == 0 && sem_init(&scene->actors[i].told, 1, 0) == 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* grandchildren come here to be waited for */
    pid_t pid = fork();
    ck_assert(pid >= 0);
    if (pid == 0)
        run_first(situation);
    actor('A')->pid = pid;
    bool done = wait_for(&actor('A')->ready);
    ck_assert_msg(!scene->failure[0], "%s", scene->failure);
    ck_assert_msg(done, "the situation was not made in time");
    for (int i = 0; i < SCENE_ACTORS; i++)
        if (scene->actors[i].blocks)
            test_until_asleep(scene->actors[i].pid);
}

/* By descriptors: a path may be longer than the kernel takes. */
static void remove_all_in(int directory)
{
    DIR *list = fdopendir(directory);
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int below = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            remove_all_in(below);
        unlinkat(directory, entry->d_name, below >= 0 ? AT_REMOVEDIR : 0);
    }
    closedir(list);
}

/* What has a name in the kernel stays when its makers die. */
static void remove_thing(const struct thing *thing)
{
    const char *colon = strchr(thing->name, ':');
    char path[300];
    if (strncmp(thing->name, "ring:", 5) == 0 &&
        snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), colon + 1) < (int)sizeof path)
        unlink(path);
    else if (strncmp(thing->name, "posix-shm:/", 11) == 0)
        shm_unlink(colon + 1);
    else if (strncmp(thing->name, "posix-sem:/", 11) == 0 &&
             snprintf(path, sizeof path, "/sem.%s", colon + 2) < (int)sizeof path)
        shm_unlink(path);
    else if (strncmp(thing->name, "posix-mq:/", 10) == 0)
        mq_unlink(colon + 1);
    else if (strncmp(thing->name, "sysv-shm:", 9) == 0)
        shmctl((int)thing->id, IPC_RMID, NULL);
    else if (strncmp(thing->name, "sysv-sem:", 9) == 0)
        semctl((int)thing->id, 0, IPC_RMID);
    else if (strncmp(thing->name, "sysv-msg:", 9) == 0)
        msgctl((int)thing->id, IPC_RMID, NULL);
}

void scene_end(void)
{
    for (int i = 0; i < SCENE_ACTORS; i++)
        if (scene->actors[i].pid)
            kill(scene->actors[i].pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
    for (size_t i = 0; i < scene->thing_count; i++)
        remove_thing(&scene->things[i]);
    remove_all_in(open(scene->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    munmap(scene, sizeof *scene);
}
