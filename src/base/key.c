/* base/key.c - owns the notes of which file a key was made of.
 *
 * SPDX-License-Identifier: MIT */
#include "base/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"

enum { PATH_BYTES = 100, NOTE_BYTES = 1024 };

static void path_of(char path[static PATH_BYTES], enum wherry__object_type type, key_t key)
{
    snprintf(path, PATH_BYTES, "/dev/shm/wherry-%u/.key-%s-0x%08x", (unsigned)geteuid(), wherry__object_word(type),
             (unsigned)key);
}

/* "ID DEVICE INODE " of the object and its file, and then its name. */
static int identity(char text[static NOTE_BYTES], const struct wherry__object *object, int id)
{
    return snprintf(text, NOTE_BYTES, "%d %llx %llx ", id, (unsigned long long)object->device,
                    (unsigned long long)object->inode);
}

int wherry__key_note(const struct wherry__object *object, int id, const char *name)
{
    char path[PATH_BYTES], text[NOTE_BYTES];
    if (!object->by_path)
        return 0;
    int length = identity(text, object, id);
    snprintf(text + length, sizeof text - (size_t)length, "%s", name);
    path_of(path, object->type, object->key);
    wherry__sys.unlinkat(AT_FDCWD, path, 0); /* of an object that is gone: there is one maker at a time */
    if (wherry__sys.symlinkat(text, AT_FDCWD, path) == 0)
        return 0;
    return wherry__fail_errno(errno, "%s: the note whose key it is, %s, cannot be made", name, path);
}

int wherry__key_check(const struct wherry__object *object, int id, const char *name)
{
    char path[PATH_BYTES], noted[NOTE_BYTES + 1], own[NOTE_BYTES];
    int number, at = 0;
    if (!object->by_path)
        return 0;
    path_of(path, object->type, object->key);
    ssize_t size = wherry__sys.readlinkat(AT_FDCWD, path, noted, sizeof noted - 1);
    if (size <= 0)
        return 0;
    noted[size] = '\0';
    int length = identity(own, object, id);
    if (strncmp(noted, own, (size_t)length) == 0)
        return 0;
    if (sscanf(noted, "%d %*x %*x %n", &number, &at) != 1 || number != id || at == 0)
        return 0; /* of an object that is gone */
    return wherry__fail(EADDRINUSE,
                        "%s: the object of its key 0x%08x was made as %s: ftok(3) gives both files one key; "
                        "take another id",
                        name, (unsigned)object->key, noted + at);
}

void wherry__key_forget(enum wherry__object_type type, key_t key)
{
    char path[PATH_BYTES];
    path_of(path, type, key);
    wherry__sys.unlinkat(AT_FDCWD, path, 0);
}
