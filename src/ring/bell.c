/* ring/bell.c - owns the sockets that wake those who poll a ring between two uids.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "ring/door_state.h"
#include "socket/socket.h"

/* Refused is dead, and stays so: a bell is bound before it has its name, and no name is used twice.  One that never
 * got it is judged by its age. */
bool wherry__door_is_dead_bell(const struct wherry__door *door, int directory, const char *name)
{
    enum { LONG = 10 }; /* s */
    char path[DOOR_PATH];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    door_path(path, door->uid, name);
    if (strlen(path) >= sizeof address.sun_path ||
        wherry__sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(status.st_mode) ||
        (strncmp(name, DOOR_NEW, strlen(DOOR_NEW)) == 0 && time(NULL) - status.st_ctime < LONG))
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = wherry__socket_new(AF_UNIX, SOCK_DGRAM, 0, false);
    bool dead = fd >= 0 && wherry__sys.connect(fd, (struct sockaddr *)&address, sizeof address) != 0 &&
                errno == ECONNREFUSED;
    wherry__fd_close(&fd);
    return dead;
}

/* A datagram socket: only its owner reads it, nobody who writes to it is killed by SIGPIPE, and one that is full rings
 * already.  Its name cannot be guessed by those who do not have the ring, and is never another's: no place has an epoch
 * twice. */
static void bell_address(struct sockaddr_un *address, const char *before, const uint8_t secret[static RING_SECRET],
                         uid_t uid, unsigned place, uint32_t epoch)
{
    char text[2 * RING_SECRET + 1];
    for (int i = 0; i < RING_SECRET; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", secret[i]);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "/dev/shm/wherry-%u-shared/%s%s-%u-%u", (unsigned)uid, before,
             text, place, (unsigned)(epoch & 0x7fffffff));
}

/* While bind(2) makes it a socket looks like a dead one: it gets the name that is swept afterwards. */
int wherry__door_make_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], unsigned place,
                           uint32_t epoch)
{
    struct sockaddr_un new, address;
    int result = wherry__door_directory(door);
    if (result < 0)
        return result;
    bell_address(&new, DOOR_NEW, secret, door->uid, place, epoch);
    bell_address(&address, DOOR_BELL, secret, door->uid, place, epoch);
    wherry__sys.unlinkat(AT_FDCWD, new.sun_path, 0); /* a try of ours that failed */
    int fd = wherry__socket_new(AF_UNIX, SOCK_DGRAM, 0, false);
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: no bell for those who poll", door->url);
    if (wherry__sys.fchmod(fd, 0622) != 0 || wherry__sys.bind(fd, (struct sockaddr *)&new, sizeof new) != 0 ||
        wherry__sys.fchmodat(AT_FDCWD, new.sun_path, 0622, 0) != 0 || /* whatever the umask took away */
        wherry__sys.renameat(AT_FDCWD, new.sun_path, AT_FDCWD, address.sun_path) != 0)
        result = wherry__fail_errno(errno, "%s: no bell for those who poll", door->url);
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

void wherry__door_forget_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], unsigned place,
                              uint32_t epoch)
{
    struct sockaddr_un address;
    bell_address(&address, DOOR_BELL, secret, door->uid, place, epoch);
    wherry__sys.unlinkat(AT_FDCWD, address.sun_path, 0);
}

/* The place says whose it is; one that lies gets no datagram of ours anywhere else: the socket is looked at before. */
int wherry__door_find_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], uid_t uid,
                           unsigned place, uint32_t epoch)
{
    struct sockaddr_un address;
    struct stat status;
    errno = EPERM;
    if (!door_member(door, uid))
        return -1;
    bell_address(&address, DOOR_BELL, secret, uid, place, epoch);
    wherry__fd_guard();
    int name = wherry__fd_note(wherry__sys.open(address.sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
    wherry__fd_unguard();
    if (name < 0)
        return -1;
    int fd = -1;
    if (wherry__sys.fstat(name, &status) == 0 && S_ISSOCK(status.st_mode) && status.st_uid == uid &&
        (fd = wherry__socket_new(AF_UNIX, SOCK_DGRAM, 0, false)) >= 0) {
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", name);
        if (wherry__sys.connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
            wherry__fd_close(&fd);
    }
    if (fd < -1)
        errno = -fd; /* whoever has a descriptor to spare tries again */
    int code = errno;
    wherry__fd_close(&name);
    errno = code;
    return fd < 0 ? -1 : fd;
}
