/* base/key.h - which file the key of a System V object was made of.
 *
 * SPDX-License-Identifier: MIT
 *
 * ftok(3) makes 32 bits of an id, 8 bits of a device and 16 bits of an inode number, so two files may have one key,
 * and two programs one object without knowing it (H16).  Who makes an object under a file's name leaves a note, a
 * symbolic link /dev/shm/wherry-UID/.key-TYPE-KEY, that has the object's number, the file's identity and the name;
 * who opens it under another file's is told.  Objects of other programs and other users have no note, and are opened
 * as they always were. */
#ifndef WHERRY_BASE_KEY_H
#define WHERRY_BASE_KEY_H

#include "base/object.h"

/* Nothing is done, and 0 returned, for objects that were not named by a file. */

/* By its maker (base/maker.h): object number `id` is that of this file.  0 or -errno with a sentence. */
int wherry__key_note(const struct wherry__object *object, int id, const char *name);

/* Whether object number `id` was made under another file's name: 0 or -EADDRINUSE. */
int wherry__key_check(const struct wherry__object *object, int id, const char *name);

/* The object with that key is gone: drop the note, whichever file it was. */
void wherry__key_forget(enum wherry__object_type type, key_t key);

#endif
