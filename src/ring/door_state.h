/* ring/door_state.h - what the files of the door share beyond door.h: what a door is, where things lie, who may come.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_RING_DOOR_STATE_H
#define WHERRY_RING_DOOR_STATE_H

#include <stdio.h>

#include "ring/door.h"
#include "socket/unix.h"

enum { DOOR_PATH = 320, DOOR_GUESTS = 32 };

/* How names of bells begin, and those of sockets that are being made. */
#define DOOR_BELL "."
#define DOOR_NEW ".new-"
/* How the names beside a door end, which begin with a dot. */
#define DOOR_CLAIM ".lock"
#define DOOR_HEIRS ".heirs"

#define DOOR_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* What goes with the memfd. */
enum door_answer { DOOR_COME_IN, DOOR_REFUSED };
struct door_hello {
    uint64_t magic;
    uint32_t version, answer;
    uint64_t keeper; /* its mark */
};

/* Why nobody opened, for the sentence. */
enum door_found { DOOR_NOTHING, DOOR_HEIRS_ONLY, DOOR_FULL, DOOR_BARRED };

struct wherry__door {
    const char *url, *name;
    uid_t uid, other; /* uid: the effective one when it was opened, in whose directory all this is */
    bool keep;        /* is to keep the door, or to take its turn when the keeper dies */
    uint64_t born;
    char path[DOOR_PATH], claim[DOOR_PATH], heirs[DOOR_PATH], first[64];
    int heirs_fd;                  /* its lock: we may keep it; -1 */
    struct wherry__life *heir_of;  /* told that we may */

    /* keeping */
    struct wherry__unix_listener listener; /* fd: -1 unless we keep it */
    uint64_t mark;
    bool orphaned; /* the keeper is gone, and we could not take its turn yet */
    struct door_guest {
        int fd;
        uid_t uid;
    } guests[DOOR_GUESTS]; /* handed the memory, and have not read the message yet */
    unsigned guest_count;

    /* coming in */
    bool admitted;       /* was handed the memory once */
    bool kin;            /* found in this process */
    enum door_found found;
};

static inline void door_path(char path[static DOOR_PATH], uid_t uid, const char *name)
{
    snprintf(path, DOOR_PATH, "/dev/shm/wherry-%u-shared/%s", (unsigned)uid, name);
}

static inline bool door_member(const struct wherry__door *door, uid_t uid)
{
    return uid == 0 || uid == door->uid || uid == door->other;
}

/* The directory is there, and ours.  0 or -errno with the sentence set. */
int wherry__door_directory(const struct wherry__door *door);
/* Become one of those who may keep it (F_RDLCK), or the only one (F_WRLCK).  0; -EEXIST: others stand in the way;
 * -ENOENT, or another -errno with the sentence set. */
int wherry__door_stand(struct wherry__door *door, short type);
/* Tell other ends of this process of it. */
void wherry__door_inherit(struct wherry__door *door, struct wherry__life *life);

/* ---- bell.c ---- */

/* Whether what has that name in the directory is a bell of a dead process, or a socket that never got its name. */
bool wherry__door_is_dead_bell(const struct wherry__door *door, int directory, const char *name);

#endif
