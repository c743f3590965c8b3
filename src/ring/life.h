/* ring/life.h - proof of life: record locks on a ring's file, which the kernel gives to one process and takes back at
 * its death.
 *
 * SPDX-License-Identifier: MIT
 *
 * fcntl(2), F_SETLK: such a lock belongs to a process.  A forked child does not have it, every PID namespace sees it,
 * and no reuse of numbers can forge it.  Its trap: closing any descriptor of the file drops all locks of the process.
 * So a process opens the file of a ring once, here, however many endpoints it has. */
#ifndef WHERRY_RING_LIFE_H
#define WHERRY_RING_LIFE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct wherry__life;

/* The file `name` in `directory`, opened for reading and writing unless this process has it already.
 * 0, -ENOENT, -ELOOP, -EISDIR and what else open(2) says; no sentence. */
int wherry__life_open(int directory, const char *name, struct wherry__life **ret_life);
/* The same for who only looks, and may not write: if this process does not have it already it is opened for reading,
 * and no place of it can be taken.  -EPERM also when its access time would change. */
int wherry__life_glance(int directory, const char *name, struct wherry__life **ret_life);
/* Take over a descriptor of a file that has no name: one of our own making, or what a process of uid `from` handed
 * over. If this process has the file already, `fd` is kept for as long as that: closing it now would drop the locks.
 * */
int wherry__life_adopt(int fd, struct wherry__life **ret_life);
int wherry__life_receive(int fd, uid_t from, struct wherry__life **ret_life);
/* How many descriptors from there are kept for that. */
unsigned wherry__life_spares(uid_t from);

/* Files that are handed over at a door (door.h).  The one that came through a socket of that identity, if this process
 * has it: 0 or -ENOENT. */
int wherry__life_find(const struct stat *door, struct wherry__life **ret_life);
/* The one whose door at that path an end of this process may keep: likewise.  Ends say so with inherit, for as long as
 * no other ring can have the name; false: no memory, and it is not found. */
int wherry__life_find_heir(const char *path, struct wherry__life **ret_life);
bool wherry__life_inherit(struct wherry__life *life, const char *path);
void wherry__life_disinherit(struct wherry__life *life);
bool wherry__life_has_heirs(const struct wherry__life *life);
/* The mark of the end that keeps the door; 0: none that this process knows of. */
void wherry__life_came_through(struct wherry__life *life, const struct stat *door, uint64_t keeper);
void wherry__life_set_keeper(struct wherry__life *life, uint64_t keeper);
uint64_t wherry__life_keeper(const struct wherry__life *life);

/* Gives back all that is this process's when the last endpoint of the file goes.  NULL is fine. */
void wherry__life_close(struct wherry__life *life);

int wherry__life_fd(const struct wherry__life *life);
/* Whether `name` still leads to this file. */
bool wherry__life_named(const struct wherry__life *life, int directory, const char *name);

/* A place becomes this process's: true.  False: another process has it, or another endpoint of this one. */
bool wherry__life_take(struct wherry__life *life, unsigned place);
void wherry__life_give(struct wherry__life *life, unsigned place);
/* Whether any process, this one included, has the place. */
bool wherry__life_alive(const struct wherry__life *life, unsigned place);
/* The process that has it, as seen from here: 0 when nobody has or it is of another PID namespace. */
pid_t wherry__life_pid(const struct wherry__life *life, unsigned place);
/* All places at once: true when nobody had any.  Given back with give_all, or with the last close. */
bool wherry__life_take_all(struct wherry__life *life);
/* Another thread of this process has all places, and is about to remove the name. */
bool wherry__life_closing(struct wherry__life *life);
void wherry__life_give_all(struct wherry__life *life);

#endif
