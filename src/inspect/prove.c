/* inspect/prove.c - owns the proofs that nobody holds a file.
 *
 * SPDX-License-Identifier: MIT
 *
 * A lease for writing is granted when no other open file of the inode exists: the kernel compares its counts of those
 * who read and who write (fcntl(2), F_SETLEASE; check_conflicting_open() in fs/locks.c).  Mappings and descriptors on
 * their way in messages are open files, and namespaces do not matter.  Who opens the file while the lease is held has
 * SIGIO sent to the holder, whose default is death: so it is a child that takes it, for a few system calls, with all
 * signals blocked.  What is removed gets a name that nobody looks for, and loses that, or gets its own back, while the
 * child has the lease; the child goes on when this process is killed. */
#include "inspect/prove.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <wherry/base.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/borrowed.h"
#include "inspect/snapshot.h"

enum { QUIET = 5, OFTEN = 50 };

WHERRY__RAW static int take_and_give(void *argument)
{
    int fd = *(int *)argument;
    long result = wherry__raw(SYS_fcntl, fd, F_SETLEASE, F_WRLCK);
    if (result == 0)
        wherry__raw(SYS_fcntl, fd, F_SETLEASE, F_UNLCK);
    return result == 0 ? PROOF_NOBODY : result == -EAGAIN ? PROOF_SOMEBODY : PROOF_NONE;
}

struct removal {
    int fd, directory;
    const char *name, *aside; /* aside: NULL where nothing can be renamed */
    struct statx status, now;
};

int wherry__prove_gate[2] = {-1, -1};

WHERRY__RAW static bool is_it(struct removal *removal, const char *name)
{
    return wherry__raw(SYS_statx, removal->directory, name, AT_SYMLINK_NOFOLLOW, STATX_INO, &removal->now) == 0 &&
           removal->now.stx_ino == removal->status.stx_ino &&
           removal->now.stx_dev_major == removal->status.stx_dev_major &&
           removal->now.stx_dev_minor == removal->status.stx_dev_minor;
}

WHERRY__RAW static bool still_ours(const struct removal *removal)
{
    return wherry__raw(SYS_fcntl, removal->fd, F_GETLEASE) == F_WRLCK;
}

WHERRY__RAW static int unlink_under_lease(struct removal *removal, const char *name)
{
    if (!is_it(removal, name))
        return PROOF_CHANGED;
    if (!still_ours(removal))
        return PROOF_SOMEBODY;
    return wherry__raw(SYS_unlinkat, removal->directory, name, 0) == 0 ? PROOF_NOBODY : PROOF_REFUSED;
}

/* A name that is asked for all the time is not to be taken away between two of those who ask. */
WHERRY__RAW static bool nobody_comes(const struct removal *removal)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < QUIET; i++) {
        if (!still_ours(removal))
            return false;
        wherry__raw(SYS_nanosleep, &pause, NULL);
    }
    return still_ours(removal);
}

/* Who found the file by its name just before it lost that may not have come to the lease yet, but is in the kernel, a
 * few instructions before it.  The sooner the name is back, the less often it is missed. */
WHERRY__RAW static bool nobody_on_his_way(const struct removal *removal)
{
    for (int i = 0; i < OFTEN; i++)
        if (!still_ours(removal))
            return false;
    return true;
}

WHERRY__RAW static int put_aside_and_unlink(struct removal *removal)
{
    char byte = 0;
    if (!nobody_comes(removal))
        return PROOF_SOMEBODY;
    if (!is_it(removal, removal->name))
        return PROOF_CHANGED;
    if (wherry__raw(SYS_renameat2, removal->directory, removal->name, removal->directory, removal->aside,
                    RENAME_NOREPLACE) != 0)
        return PROOF_REFUSED;
    if (wherry__prove_gate[0] >= 0) {
        wherry__raw(SYS_write, wherry__prove_gate[0], &byte, 1);
        wherry__raw(SYS_read, wherry__prove_gate[1], &byte, 1);
    }
    int proof = nobody_on_his_way(removal) ? unlink_under_lease(removal, removal->aside) : PROOF_SOMEBODY;
    if (proof != PROOF_NOBODY && wherry__raw(SYS_renameat2, removal->directory, removal->aside, removal->directory,
                                             removal->name, RENAME_NOREPLACE) != 0)
        return PROOF_STUCK;
    return proof;
}

/* Whoever opens the file breaks the lease, and waits until it is given back; then nothing is removed. */
WHERRY__RAW static int take_and_unlink(void *argument)
{
    struct removal *removal = argument;
    long result = wherry__raw(SYS_fcntl, removal->fd, F_SETLEASE, F_WRLCK);
    if (result != 0)
        return result == -EAGAIN ? PROOF_SOMEBODY : PROOF_NONE;
    int proof = removal->aside ? put_aside_and_unlink(removal) : unlink_under_lease(removal, removal->name);
    wherry__raw(SYS_fcntl, removal->fd, F_SETLEASE, F_UNLCK);
    return proof;
}

static int open_to_prove(int directory, const char *name)
{
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.openat(
        directory, name, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0));
    wherry__fd_unguard();
    return fd;
}

/* One try, that opens the file and closes it. */
static enum proof try_removal(struct removal *removal, dev_t device, ino_t inode)
{
    removal->fd = open_to_prove(removal->directory, removal->name);
    if (removal->fd < 0)
        return PROOF_NONE;
    int result = PROOF_NONE;
    if (wherry__sys.statx(removal->fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &removal->status) == 0 &&
        S_ISREG(removal->status.stx_mode))
        result = removal->status.stx_ino == inode &&
                         wherry__device(removal->status.stx_dev_major, removal->status.stx_dev_minor) == device
                     ? wherry__borrowed_child(take_and_unlink, removal)
                     : PROOF_CHANGED;
    wherry__fd_close(&removal->fd);
    return result < 0 ? PROOF_NONE : (enum proof)result;
}

static enum proof try_lease(int directory, const char *name, dev_t device, ino_t inode)
{
    struct stat status;
    int fd = open_to_prove(directory, name), result = -1;
    if (fd < 0)
        return PROOF_NONE;
    if (wherry__sys.fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode &&
        S_ISREG(status.st_mode))
        result = wherry__borrowed_child(take_and_give, &fd);
    wherry__fd_close(&fd);
    return result < 0 ? PROOF_NONE : (enum proof)result;
}

/* Who looks at the objects of this host, as this library does, has some open for an instant: between two tries it is
 * not open here, and the pauses of two such lookers differ. */
enum { TRIES = 12 };

static void pause_between(int tries, ino_t inode)
{
    uint64_t spread = ((uint64_t)wherry_now() ^ inode) * UINT64_C(0x9e3779b97f4a7c15) >> 44; /* up to 1 ms */
    const struct timespec pause = {.tv_nsec = (long)((uint64_t)(tries + 1) * 100000 + spread)};
    nanosleep(&pause, NULL);
}

enum proof wherry__prove_and_unlink(int directory, const char *name, const char *aside, dev_t device, ino_t inode)
{
    struct removal removal = {.directory = directory, .name = name, .aside = aside};
    enum proof proof;
    for (int i = 0; (proof = try_removal(&removal, device, inode)) == PROOF_SOMEBODY && i < TRIES; i++)
        pause_between(i, inode);
    return proof;
}

enum proof wherry__prove_file(int directory, const char *name, dev_t device, ino_t inode)
{
    enum proof proof;
    for (int i = 0; (proof = try_lease(directory, name, device, inode)) == PROOF_SOMEBODY && i < TRIES; i++)
        pause_between(i, inode);
    return proof;
}

/* Only datagram sockets are connected by a datagram socket: another kind says EPROTOTYPE, and one that nobody is bound
 * to ECONNREFUSED; unix(7). */
enum proof wherry__prove_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return PROOF_NONE;
    strcpy(address.sun_path, path);
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    wherry__fd_unguard();
    if (fd < 0)
        return PROOF_NONE;
    int result = wherry__sys.connect(fd, (const struct sockaddr *)&address, sizeof address), code = errno;
    wherry__fd_close(&fd);
    if (result == 0 || code == EPROTOTYPE || code == EAGAIN)
        return PROOF_SOMEBODY;
    return code == ECONNREFUSED ? PROOF_NOBODY : PROOF_NONE;
}
