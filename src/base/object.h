/* base/object.h - the names of kernel objects that outlive processes, as `wherry ls` prints them.
 *
 * SPDX-License-Identifier: MIT
 *
 *     posix-shm:/name  posix-sem:/name  posix-mq:/name
 *     sysv-shm:0xKEY   sysv-shm:#ID     sysv-shm:PATH?id=C     sysv-sem: and sysv-msg: alike
 *
 * POSIX names have one form, whatever each of shm_open, sem_open and mq_open takes (shm_overview(7), sem_overview(7),
 * mq_overview(7)): a slash, which may be left out, and up to 255 bytes without another.  A System V object is named by
 * its key, by its number, or by the file and the character that ftok(3) makes its key of. */
#ifndef WHERRY_BASE_OBJECT_H
#define WHERRY_BASE_OBJECT_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/shared.h"

enum wherry__object_type {
    WHERRY__POSIX_SHM,
    WHERRY__POSIX_SEM,
    WHERRY__POSIX_MQ,
    WHERRY__SYSV_SHM,
    WHERRY__SYSV_SEM,
    WHERRY__SYSV_MSG,
};

struct wherry__object {
    enum wherry__object_type type;
    char name[257]; /* of POSIX ones, with its slash */
    bool by_id;     /* of System V ones: `id` counts, not `key` */
    int id;
    key_t key;
    bool by_path; /* the key is ftok's, of this file: base/key.h tells it from others of the same key */
    dev_t device;
    ino_t inode;
};

/* Take `text` apart; it must be of one of the types whose bits (1 << type) are in `types`.
 * 0; -EINVAL, -ENAMETOOLONG; with PATH?id= also -ENOENT, -EACCES ... of the file; all with the sentence set. */
WHERRY__SHARED int wherry__object_parse(struct wherry__object *object, const char *text, unsigned types);

/* A POSIX name: 0 and the name with its slash, or -EINVAL, -ENAMETOOLONG with a sentence that begins with `text`. */
int wherry__object_posix_name(char ret_name[static 257], const char *text, const char *name);

/* "0x" and hexadecimal digits, and nothing else, are a key: 1; 0: they are not; -EINVAL with a sentence: it has more
 * than the 32 bits of one.  `text` begins the sentence. */
WHERRY__SHARED int wherry__object_hex_key(key_t *ret_key, const char *text, const char *digits);

/* ftok(3)'s key of a file and an id: one character, 0xNN, or a decimal of more than one digit, of which the low 8 bits
 * count and may not be 0.  0 or -errno with a sentence that begins with `text`. */
WHERRY__SHARED int wherry__object_key(key_t *ret_key, const char *text, const char *path, const char *id);

/* "sysv-msg" ... */
const char *wherry__object_word(enum wherry__object_type type);

#endif
