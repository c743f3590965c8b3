/* ring/knock.c - owns coming in at the door of a ring between two uids: whom to believe, and what is handed over.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "ring/door_state.h"
#include "socket/descriptor.h"
#include "socket/socket.h"

/* ---- what is handed over ---- */

/* Cut short it can never be, and it was made by wherry: what its head says is read_head()'s to check. */
static int check_memory(const struct wherry__door *door, int fd)
{
    int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;
    if (seals < 0 || (seals & DOOR_SEALS) != DOOR_SEALS)
        return wherry__fail(EPROTO, "%s: what listens there handed over no sealed memory; it is no ring", door->url);
    if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return wherry__fail(EPROTO, "%s: the memory handed over cannot be written to; it is no ring", door->url);
    return 0;
}

static int refused(const struct wherry__door *door)
{
    return wherry__fail(EPERM,
                        "%s: the process that keeps the ring lets in its own uid and that of its share=, not uid %u",
                        door->url, (unsigned)geteuid());
}

static int receive_memory(const struct wherry__door *door, int socket, struct door_hello *ret_hello, int *ret_fd)
{
    ssize_t size = wherry__descriptor_receive(socket, ret_hello, sizeof *ret_hello, ret_fd);
    int result = 0;
    if (size == 0 || size == -ECONNRESET)
        result = -EBUSY; /* it left, or has no time for us: again */
    else if (size == sizeof *ret_hello && ret_hello->magic == RING_MAGIC && ret_hello->answer == DOOR_REFUSED)
        result = refused(door);
    else if (size != sizeof *ret_hello || ret_hello->magic != RING_MAGIC || ret_hello->answer != DOOR_COME_IN)
        result = wherry__fail(EPROTO, "%s: what listens there is no ring", door->url);
    else if (ret_hello->version != RING_VERSION)
        result = wherry__fail(EPROTO, "%s: the ring is of layout %u, this program knows %u", door->url,
                              ret_hello->version, RING_VERSION);
    else
        result = check_memory(door, *ret_fd);
    if (result < 0)
        wherry__fd_close(ret_fd);
    return result;
}

static int await_memory(const struct wherry__door *door, int socket, wherry_time deadline)
{
    struct pollfd events = {.fd = socket, .events = POLLIN};
    for (;;) {
        struct timespec storage;
        int ready = wherry__sys.ppoll(&events, 1, wherry__deadline_left(deadline, &storage));
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return wherry__fail_errno(errno, "%s: waiting to be let in failed", door->url);
        if (wherry__deadline_passed(deadline))
            return wherry__fail(wherry__deadline_code(deadline),
                                "%s: the process that keeps the ring lets nobody in: it must be in a call on it, or "
                                "poll it; wait longer",
                                door->url);
    }
}

/* ---- the door ---- */

/* A socket of that uid's, in a directory of that uid's: a descriptor that stands for it whatever its name leads to by
 * now.  -ENOENT: none. */
static int find_door(struct wherry__door *door, uid_t uid, struct stat *ret_status)
{
    char path[DOOR_PATH];
    struct stat status;
    door_path(path, uid, "");
    path[strlen(path) - 1] = '\0';
    wherry__fd_guard();
    int directory = wherry__fd_note(wherry__sys.open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0)), code = errno;
    int fd = directory < 0 ? -1 : wherry__sys.openat(directory, door->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    code = directory < 0 ? code : errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    int result = 0;
    if (directory >= 0 && (wherry__sys.fstat(directory, &status) != 0 || !S_ISDIR(status.st_mode) ||
                           (status.st_uid != uid && status.st_uid != 0)))
        /* one's own, when the other's is as good: a stranger that was quicker to make it keeps nobody out */
        result = uid == door->uid && uid != door->other && !door->keep
                     ? -ENOENT
                     : wherry__fail(EPERM, "%s: %s is no directory of uid %u; have it removed", door->url, path,
                                    (unsigned)uid);
    else if (fd < 0 && code == EACCES) {
        door->found = DOOR_BARRED; /* being made, perhaps */
        result = -ENOENT;
    } else if (fd < 0)
        result = code == ENOENT ? -ENOENT : wherry__fail_errno(code, "%s: %s/%s", door->url, path, door->name);
    else if (wherry__sys.fstat(fd, ret_status) != 0 || !S_ISSOCK(ret_status->st_mode) || ret_status->st_uid != uid)
        result = wherry__fail(EPERM, "%s: %s/%s is no socket of uid %u; it is no ring", door->url, path, door->name,
                              (unsigned)uid);
    wherry__fd_close(&directory);
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

static bool still_leads_to(const struct wherry__door *door, uid_t uid, const struct stat *status)
{
    char path[DOOR_PATH];
    struct stat now;
    door_path(path, uid, door->name);
    return wherry__sys.fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_dev == status->st_dev &&
           now.st_ino == status->st_ino;
}

/* By way of the descriptor, which follows no link; without /proc by the name, and looked at again afterwards. */
static int connect_to(struct wherry__door *door, uid_t uid, int name, const struct stat *status)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[DOOR_PATH];
    int fd = wherry__socket_new(AF_UNIX, SOCK_SEQPACKET, 0, false);
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: a socket could not be made", door->url);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", name);
    int result = wherry__sys.connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
    door_path(path, uid, door->name);
    if (result == -ENOENT && strlen(path) < sizeof address.sun_path) {
        memcpy(address.sun_path, path, strlen(path) + 1);
        result = wherry__sys.connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
        if (result == 0 && !still_leads_to(door, uid, status))
            result = -ENOENT;
    }
    if (result == -ECONNREFUSED)
        result = -ENOENT;
    if (result == -EACCES)
        result = refused(door); /* by the access control list: it had that before it had its name */
    else if (result == -EAGAIN) {
        door->found = DOOR_FULL;
        result = -EBUSY;
    } else if (result < 0 && result != -ENOENT)
        result = wherry__fail_errno(-result, "%s: the ring's door could not be connected to", door->url);
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

/* At its own door a uid would be let in to any ring of its own: who answers must be the one whose door it is. */
static int check_keeper(const struct wherry__door *door, uid_t uid, int socket)
{
    struct wherry__credentials who;
    int result = wherry__credentials_of_connection(socket, &who);
    if (result < 0)
        return wherry__fail_errno(-result, "%s: the kernel does not say who keeps the ring", door->url);
    if (who.uid == uid || who.uid == 0)
        return 0;
    return wherry__fail(EPERM, "%s: the process that listens at the door of uid %u has uid %u", door->url,
                        (unsigned)uid, (unsigned)who.uid);
}

static int ask(struct wherry__door *door, uid_t uid, int socket, wherry_time deadline, const struct stat *status,
               struct wherry__life **ret_life)
{
    struct door_hello hello;
    int memory;
    int result = check_keeper(door, uid, socket);
    if (result == 0)
        result = await_memory(door, socket, deadline);
    if (result == 0)
        result = receive_memory(door, socket, &hello, &memory);
    if (result < 0)
        return result;
    result = wherry__life_receive(memory, uid, ret_life);
    if (result < 0) {
        wherry__fd_close(&memory);
        return wherry__fail_errno(-result, "%s: no memory", door->url);
    }
    door->admitted = true;
    wherry__life_came_through(*ret_life, still_leads_to(door, uid, status) ? status : &(struct stat){0}, hello.keeper);
    return 0;
}

/* Who may keep the ring says so before it looks whether the door is still the one it came through: whoever makes
 * another ring of the name sees the one, or is seen by the other. */
static int become_heir(struct wherry__door *door, const struct stat *status, struct wherry__life **life)
{
    int result = wherry__door_stand(door, F_RDLCK);
    if (result == -EEXIST)
        result = -EBUSY;
    else if (result == 0 && status && !still_leads_to(door, door->uid, status))
        result = -ENOENT;
    if (result == 0) {
        wherry__door_inherit(door, *life);
        return 0;
    }
    wherry__life_close(*life);
    *life = NULL;
    return result;
}

/* Another end of this process may keep it: the ring is that of the name, even while nobody does. */
static int find_kin(struct wherry__door *door, uid_t uid, struct wherry__life **ret_life)
{
    door->kin = uid == door->uid && wherry__life_find_heir(door->path, ret_life) == 0;
    if (!door->kin)
        return -ENOENT;
    return door->keep ? become_heir(door, NULL, ret_life) : 0;
}

static int knock(struct wherry__door *door, uid_t uid, wherry_time deadline, struct wherry__life **ret_life)
{
    enum { MOST_SPARES = 64 };
    struct stat status;
    int result = find_kin(door, uid, ret_life);
    if (result != -ENOENT)
        return result;
    int name = find_door(door, uid, &status);
    if (name < 0)
        return name;
    if (wherry__life_find(&status, ret_life) < 0) {
        /* what it hands over cannot be closed again, if it is a file that we have, and we see that too late */
        int socket = wherry__life_spares(uid) < MOST_SPARES
                         ? connect_to(door, uid, name, &status)
                         : wherry__fail(EMFILE,
                                        "%s: this process was handed the same memory by uid %u %d times over; close "
                                        "its other ends first",
                                        door->url, (unsigned)uid, MOST_SPARES);
        result = socket < 0 ? socket : ask(door, uid, socket, deadline, &status, ret_life);
        wherry__fd_close(&socket);
    } else {
        result = 0;
    }
    wherry__fd_close(&name);
    return result == 0 && door->keep ? become_heir(door, &status, ret_life) : result;
}

int wherry__door_enter(struct wherry__door *door, wherry_time deadline, struct wherry__life **ret_life)
{
    door->found = DOOR_NOTHING;
    int result = knock(door, door->uid, deadline, ret_life);
    if (result == -ENOENT && !door->keep && door->other != door->uid)
        result = knock(door, door->other, deadline, ret_life);
    return result;
}

/* ---- is it still the one? ---- */

bool wherry__door_is_alive(const struct wherry__life *life, const struct ring_control *control, uint64_t mark)
{
    unsigned i = ring_mark_place(mark);
    if (i >= RING_PLACES)
        return false;
    const struct ring_place *place = &control->places[i];
    return (atomic_load_explicit(&place->epoch, memory_order_acquire) & 0x7fffffff) == ring_mark_epoch(mark) &&
           atomic_load_explicit(&place->state, memory_order_acquire) != RING_FREE && wherry__life_alive(life, i);
}

bool wherry__door_stands(const struct wherry__door *door, const struct wherry__life *life,
                         const struct ring_control *control, unsigned place)
{
    uint64_t keeper = wherry__life_keeper(life);
    if (door->kin)
        return wherry__life_has_heirs(life);
    return ring_mark_place(keeper) != place && wherry__door_is_alive(life, control, keeper);
}

const char *wherry__door_why(const struct wherry__door *door)
{
    struct statvfs system;
    switch (door->found) {
    case DOOR_HEIRS_ONLY:
        return "the ring's keeper is gone, and none of those who may take its turn is in a call on it, or polls it; "
               "wait longer";
    case DOOR_FULL:
        return "too many wait at the ring's door: the process that keeps it must be in a call on it, or poll it; wait "
               "longer";
    case DOOR_BARRED:
        return "the directory of the other's shared rings may not be entered; chmod 0711 it";
    case DOOR_NOTHING:
        break;
    }
    if (statvfs("/dev/shm", &system) == 0 && (system.f_flag & ST_RDONLY))
        return "there is no such ring, and none can be made here: /dev/shm is read-only";
    return "there is no such ring; start the receiver";
}
