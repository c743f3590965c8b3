/* tests/unit/inspect_scene.h - situations with known objects, and what an inventory must then say of them.
 *
 * SPDX-License-Identifier: MIT
 *
 * A situation is a function, run in process A, and what is expected, as data.  The function makes objects, notes what
 * it knows of each from the calls that made it (never from the library), and starts other processes with also(): B, C
 * and so on, each of them running a function of its own before it stands still.
 *
 * What is expected of an object is a line of its letter, kind, state, flags and then all holds of it:
 *
 *     "p pipe live | A50r>B51 B51w>A50"
 *
 * A50r: process A has it open as descriptor 50 and reads; ">" begins who is at the other end.  Holds are
 *     A50rw   open as descriptor 50, to read and to write; A50-: neither (O_PATH)
 *     a50r    by thread a of process A, in a table of descriptors of its own
 *     Am:rw   mapped;  At:rw: attached
 *     AL:posix:w:10+5   locked, 5 bytes from 10; also flock, ofd, lease, and r
 *     AW:posix:w:10+5   waits for such a lock;  AW:semop: waits in a call
 * and at the other end of one they stand without what follows the letter and "50", "m", "t", "L", "W".
 *
 * "x peer y", "x watches y", "x queued y" is a link, "9*x watches y" nine of them, and "x gone" says that no
 * such object is shown.  All links and
 * holds must be told: what is found beyond them is an error like what is missed. */
#ifndef WHERRY_TESTS_INSPECT_SCENE_H
#define WHERRY_TESTS_INSPECT_SCENE_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SCENE_THINGS = 12, SCENE_ACTORS = 8, SCENE_LINES = 16, SCENE_UNKNOWN = -2 };

struct situation {
    const char *name;
    void (*make)(void);
    const char *lines[SCENE_LINES];
    bool root;           /* only root can make it */
    bool (*able)(void);  /* whether this kernel has what it takes; NULL: all that wherry supports do */
};

/* What is known of an object. */
struct thing {
    char letter;
    char name[4200]; /* "~": its kind and one of the descriptors that lead to it */
    dev_t device;
    uint64_t inode, id;
    uint64_t space; /* of an IPC namespace, each of which has its own ids; 0 */
    bool has_inode, has_id, has_key;
    key_t key;
    uid_t uid;
    gid_t gid;
    int mode;                      /* SCENE_UNKNOWN: not compared, here and below */
    int64_t size, messages, limit;
    bool pending;                  /* a connection that nobody has accepted: it has the name of who listens */
    char holder;                   /* by which it is found when it has neither inode nor id */
    int fd;
};

struct actor {
    pid_t pid, thread; /* thread: of the lower-case letter */
    char parent;       /* letter; 0: the test */
    uid_t uid;
    uint64_t net_space, ipc_space, pid_space;
    bool blocks, ended;
    char command[16];
    sem_t ready, told;
};

/* In memory that all processes of a situation share. */
struct scene {
    struct thing things[SCENE_THINGS];
    size_t thing_count;
    struct actor actors[SCENE_ACTORS];
    char failure[512];
    char directory[256]; /* for files */
    char word[64];       /* for names elsewhere */
    long numbers[8];     /* from one process to another */
    char before_fork;
};

extern struct scene *scene;

/* ---- for the functions of situations ---- */

/* The situation fails, with errno, unless this holds. */
#define must(condition_) ((condition_) ? (void)0 : scene_fail(__FILE__, __LINE__, #condition_))
void scene_fail(const char *file, int line, const char *condition) __attribute__((noreturn));

/* Start process `letter` as a child of this one; returns once it stands still, or is about to block. */
void also(char letter, void (*make)(void));
/* From now on this process does what makes it sleep in the kernel. */
void about_to_block(void);
/* One process of the situation tells another to go on, with anything it wrote into scene->numbers. */
void tell(char letter);
void until_told(void);
void stand_still(void) __attribute__((noreturn));

/* Move a descriptor to this number. */
int at(int fd, int number);
/* A path in the situation's directory; until the next call but three. */
const char *file(const char *name);

/* What a descriptor leads to, by fstat(2), and what it is to be called. */
struct thing *note(char letter, int fd, const char *name, ...) __attribute__((format(printf, 3, 4)));
/* Without one. */
struct thing *note_nothing(char letter, const char *name, ...) __attribute__((format(printf, 2, 3)));
/* One that has no inode of its own: known by this descriptor, and called by its kind and a descriptor. */
struct thing *note_anonymous(char letter, int fd);
struct thing *noted(char letter);
/* A socket, by its inode; one that is called by its number when no name is given ("unix"). */
struct thing *note_socket(char letter, int fd, const char *kind, const char *name);
/* A connection that nobody has accepted yet. */
struct thing *note_pending(char letter, const char *name);
/* The two ends of a socketpair(2), at these numbers, noted when they have letters. */
void make_socketpair(int type, char one, int one_number, char other, int other_number);
/* What a connection's end shows of itself and its peer: "tcp:127.0.0.1:1-127.0.0.1:2". */
const char *inet_name(int fd, const char *kind);
/* The number behind "key:" in this process's fdinfo. */
uint64_t info_of(int fd, const char *key);

/* Send a descriptor over a socket, and take one. */
void pass(int socket, int fd);
int take(int socket);

/* ---- for the test ---- */

void scene_start(const struct situation *situation);
void scene_end(void);

/* Take a snapshot and compare; returns what was missed and what was too much, a line each, and counts them. */
const char *scene_compare(const struct situation *situation, size_t *ret_missed, size_t *ret_extra);

struct situations {
    const struct situation *list;
    size_t count;
};
extern const struct situations situations_pipes, situations_processes, situations_memory, situations_files,
    situations_anonymous, situations_epoll, situations_unix, situations_inet,
    situations_posix, situations_sysv, situations_locks;

#define SITUATIONS(name_, list_) const struct situations name_ = {list_, sizeof list_ / sizeof *list_}

#endif
