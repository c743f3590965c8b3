/* inspect/remove.c - owns the removal of what nobody holds: files of /dev/shm, rings, POSIX queues, socket files.
 * remove_sysv.c has System V objects.
 *
 * SPDX-License-Identifier: MIT
 *
 * A file gets a name that nobody looks for, and loses that, all while nobody else can have it (prove.c).  Where the
 * kernel gives no leases it stays: nothing would keep those away who open it meanwhile.  The queues' file system cannot
 * rename, and sockets know by themselves whether somebody is bound to them.  Rings have rules of their own
 * (ring/look.h). */
#include "inspect/remove.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "inspect/queues.h"
#include "inspect/sockets.h"
#include "ring/look.h"

/* ---- a fresh look at all processes ---- */

int wherry__remove_look(const struct object *object, bool counted)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    options.kinds = UINT64_C(1) << object->public.kind;
    options.flags = WHERRY_INSPECT_WAITERS;
    int result = wherry_inspect_take(&options, &snapshot);
    if (result < 0)
        return result;
    const struct object *now =
        wherry__inspect_known((const struct snapshot *)(const void *)snapshot, object->space, object->a, object->b);
    if (now && now->public.state == WHERRY_INSPECT_LIVE)
        result = wherry__fail(EBUSY, "%s: %s", object->public.name, now->public.reason);
    else if (!counted && (!now || now->public.state != WHERRY_INSPECT_ORPHAN))
        result = wherry__fail(EPERM, "%s: it cannot be proved that nobody holds it: %s", object->public.name,
                              now ? now->public.reason : "it is not to be found any more");
    wherry_inspect_free(snapshot);
    return result;
}

/* ---- files ---- */

struct place {
    int directory;
    char name[256], aside[256];
};

static int find_place(const struct object *object, const char *path, struct place *ret)
{
    char directory[4200];
    const char *last = strrchr(path, '/');
    size_t length = last ? (size_t)(last - path) : 0;
    if (!last || length >= sizeof directory || strlen(last + 1) >= sizeof ret->name)
        return wherry__fail(ENOENT, "%s: it has no name that can be removed", object->public.name);
    memcpy(directory, path, length);
    strcpy(directory + length, length ? "" : "/");
    strcpy(ret->name, last + 1);
    snprintf(ret->aside, sizeof ret->aside, WHERRY__ASIDE "%d-%.200s", (int)getpid(), ret->name);
    wherry__fd_guard();
    ret->directory = wherry__fd_note(
        wherry__sys.openat(AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0));
    int code = errno;
    wherry__fd_unguard();
    return ret->directory < 0 ? wherry__fail_errno(code, "%s: %s", object->public.name, directory) : 0;
}

static int refuse(const struct object *object, int code)
{
    if (code == EPERM || code == EACCES)
        return wherry__fail(EPERM, "%s: belongs to uid %u, and may not be removed; run it as that user or as root",
                            object->public.name, (unsigned)object->public.uid);
    if (code == ENOENT)
        return wherry__fail(ENOENT, "%s: it is gone", object->public.name);
    return wherry__fail_errno(code, "%s: it cannot be removed", object->public.name);
}

static int tell(const struct object *object, enum proof proof)
{
    switch (proof) {
    case PROOF_NOBODY:
        return 0;
    case PROOF_SOMEBODY:
        return wherry__fail(EBUSY, "%s: the kernel says that somebody holds it", object->public.name);
    case PROOF_CHANGED:
        return wherry__fail(ESTALE, "%s: it is another one by now; look again", object->public.name);
    case PROOF_STUCK:
        return wherry__fail(EEXIST,
                            "%s: it was put aside as " WHERRY__ASIDE "%d-..., could not be removed, and now cannot be "
                            "put back: its name is another's",
                            object->public.name, (int)getpid());
    default:
        return refuse(object, EPERM);
    }
}

/* Whether the name leads to it still. */
static int check_name(const struct object *object, int directory, const char *name)
{
    struct stat status;
    if (wherry__sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return refuse(object, errno);
    return tell(object, status.st_dev == object->public.device && status.st_ino == object->public.inode
                            ? PROOF_NOBODY
                            : PROOF_CHANGED);
}

/* Whether somebody has it, by the kernel or by a look. */
static int ask(const struct object *object, const struct place *place, const char *name)
{
    enum proof proof = wherry__prove_file(place->directory, name, object->public.device, object->public.inode);
    return proof == PROOF_NONE ? wherry__remove_look(object, false) : tell(object, proof);
}

static int remove_named(const struct object *object, const struct place *place)
{
    int result = check_name(object, place->directory, place->name);
    if (result < 0)
        return result;
    enum proof proof = wherry__prove_and_unlink(place->directory, place->name, place->aside, object->public.device,
                                                object->public.inode);
    if (proof != PROOF_NONE)
        return tell(object, proof);
    result = wherry__remove_look(object, false);
    if (result < 0)
        return result;
    return wherry__fail(EPERM, "%s: the kernel gives no lease on it, so it cannot be proved that nobody opens it "
                               "meanwhile; remove it with rm(1)",
                        object->public.name);
}

static int remove_file(const struct object *object, const char *path)
{
    struct place place;
    int result = find_place(object, path, &place);
    if (result < 0)
        return result;
    result = remove_named(object, &place);
    wherry__fd_close(&place.directory);
    return result;
}

/* ---- rings ---- */

static int reap(const struct object *object, const struct place *place)
{
    int result = wherry__ring_reap(place->directory, place->name, object->public.device, object->public.inode);
    if (result == -EBADMSG)
        return remove_named(object, place); /* a file that is no ring */
    if (result == -EBUSY)
        return wherry__fail(EBUSY, "%s: somebody is at it", object->public.name);
    return result == -ESTALE ? tell(object, PROOF_CHANGED) : result < 0 ? refuse(object, -result) : 0;
}

/* A forked child of a dead end may map it still, which the ring's own locks do not show. */
static int remove_ring(const struct object *object)
{
    struct place place;
    int result = find_place(object, object->path, &place);
    if (result < 0)
        return result;
    result = check_name(object, place.directory, place.name);
    if (result == 0)
        result = ask(object, &place, place.name);
    if (result == 0)
        result = reap(object, &place);
    wherry__fd_close(&place.directory);
    return result;
}

/* ---- sockets' files ---- */

/* The empty files beside a door (ring/door.h).  NAME.lock of another socket stays: that it is wherry's cannot be told,
 * as others (Wayland) call theirs so. */
static void remove_claims(const struct object *object, const struct place *place)
{
    if (!wherry__unix_is_door(object))
        return;
    static const char *const forms[][2] = {{".", ".lock"}, {".", ".heirs"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char name[300];
        struct stat status;
        snprintf(name, sizeof name, "%s%s%s", forms[i][0], place->name, forms[i][1]);
        if (wherry__sys.fstatat(place->directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode) && status.st_size == 0 && status.st_uid == object->public.uid)
            wherry__prove_and_unlink(place->directory, name, NULL, status.st_dev, status.st_ino);
    }
}

static int put_back(const struct object *object, const struct place *place, int result)
{
    if (wherry__sys.renameat2(place->directory, place->aside, place->directory, place->name, RENAME_NOREPLACE) == 0)
        return result;
    return wherry__fail_errno(errno, "%s: it was put aside as %s, could not be removed, and now cannot be put back",
                              object->public.name, place->aside);
}

static int unlink_socket(const struct object *object, const struct place *place, const char *aside)
{
    int result = check_name(object, place->directory, place->aside);
    if (result == 0 && wherry__prove_socket(aside) == PROOF_SOMEBODY) /* the path may be too long to ask by */
        result = tell(object, PROOF_SOMEBODY);
    if (result == 0 && wherry__sys.unlinkat(place->directory, place->aside, 0) != 0)
        result = refuse(object, errno);
    return result;
}

/* A socket that nobody is bound to refuses, whatever name the file has. */
static int remove_socket(const struct object *object, const char *path)
{
    struct place place;
    char aside[4200];
    int result = find_place(object, path, &place);
    if (result < 0)
        return result;
    snprintf(aside, sizeof aside, "%.*s/%s", (int)(strrchr(path, '/') - path), path, place.aside);
    result = check_name(object, place.directory, place.name);
    if (result == 0)
        result = tell(object, wherry__prove_socket(path));
    if (result == 0 &&
        wherry__sys.renameat2(place.directory, place.name, place.directory, place.aside, RENAME_NOREPLACE) != 0)
        result = refuse(object, errno);
    else if (result == 0 && (result = unlink_socket(object, &place, aside)) < 0)
        result = put_back(object, &place, result);
    if (result == 0)
        remove_claims(object, &place);
    wherry__fd_close(&place.directory);
    return result;
}

/* ---- POSIX queues ---- */

static int remove_queue(const struct object *object)
{
    const char *name = strchr(object->public.name, '/') + 1;
    int fd = wherry__queues_open();
    if (fd < 0 && object->path) {
        char directory[4200];
        snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(object->path, '/') - object->path), object->path);
        fd = wherry__sys.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    }
    if (fd < 0)
        return wherry__fail(EPERM, "%s: the directory of the queues may not be read; run it as root",
                            object->public.name);
    int result = check_name(object, fd, name);
    enum proof proof = PROOF_NONE;
    if (result == 0)
        proof = wherry__prove_and_unlink(fd, name, NULL, object->public.device, object->public.inode);
    if (proof != PROOF_NONE)
        result = tell(object, proof);
    else if (result == 0 && (result = wherry__remove_look(object, false)) == 0 &&
             (result = check_name(object, fd, name)) == 0 && wherry__sys.unlinkat(fd, name, 0) != 0)
        result = refuse(object, errno);
    wherry__sys.close(fd);
    return result;
}

/* ---- */

int wherry_inspect_remove(const struct wherry_inspect *snapshot, const struct wherry_inspect_object *public,
                          unsigned flags)
{
    const struct object *object = (const struct object *)(const void *)public;
    if (!snapshot || !object || flags & ~WHERRY_INSPECT_REMOVE_UNTRACKED)
        return wherry__fail(EINVAL, "no object, or a flag that this version does not know");
    if (public->holds)
        return wherry__fail(EBUSY, "%s: %s", public->name, public->reason);
    if (public->flags & WHERRY_INSPECT_ELSEWHERE)
        return wherry__fail(EXDEV, "%s: is in another namespace; remove it from a process there (nsenter(1))",
                            public->name);
    if (public->flags & WHERRY_INSPECT_DELETED)
        return wherry__fail(ENOENT, "%s: its name is gone; it ends with those who hold it", public->name);
    switch (public->kind) {
    case WHERRY_INSPECT_SYSV_SHM:
    case WHERRY_INSPECT_SYSV_SEM:
    case WHERRY_INSPECT_SYSV_MSG:
        return wherry__remove_sysv(object, flags & WHERRY_INSPECT_REMOVE_UNTRACKED);
    case WHERRY_INSPECT_POSIX_MQ:
        return remove_queue(object);
    case WHERRY_INSPECT_UNIX:
        if (object->space == SPACE_FILE && object->path)
            return remove_socket(object, strchr(public->name, ':') + 1);
        break;
    case WHERRY_INSPECT_RING:
    case WHERRY_INSPECT_POSIX_SHM:
    case WHERRY_INSPECT_POSIX_SEM:
        if (object->path)
            return public->kind == WHERRY_INSPECT_RING ? remove_ring(object) : remove_file(object, object->path);
        return wherry__fail(EXDEV, "%s: is in another mount namespace; remove it from a process there (nsenter(1))",
                            public->name);
    default:
        break;
    }
    return wherry__fail(EOPNOTSUPP, "%s: a %s ends with those who hold it, and is not removed", public->name,
                        wherry_inspect_kind_name(public->kind));
}
