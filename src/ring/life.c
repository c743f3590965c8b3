/* ring/life.c - owns the descriptors of ring files, one a process and file, and the locks on them.
 *
 * SPDX-License-Identifier: MIT */
#include "ring/life.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "ring/layout.h"

struct spare {
    int fd;
    uid_t from;
};

/* Under the guard of base/fd.h, which also holds fork() off. */
struct wherry__life {
    struct wherry__life *next;
    uint64_t born;
    dev_t device;
    ino_t inode;
    int fd;
    struct spare *spares; /* descriptors of the same file that came later: see receive */
    size_t spare_count;
    dev_t door_device; /* the socket that it came through */
    ino_t door_inode;
    uint64_t keeper; /* the mark of whoever listens there; 0: nobody that we know of */
    char *path;      /* of the door that `heirs` ends of this process may keep */
    unsigned heirs;
    unsigned users;
    _Atomic uint64_t places; /* of this process */
    bool glance;     /* not in the list: opened to be looked at */
    bool closing;    /* a thread has all places, to remove the name: its locks do not keep out other threads */
};
static struct wherry__life *lives;

static int lock(int fd, short type, unsigned place, unsigned count)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = RING_PLACE_LOCK + (off_t)place, .l_len = count};
    return fcntl(fd, F_SETLK, &lock) == 0 ? 0 : -errno;
}

/* What a parent had is not ours: its descriptors were closed at the fork. */
static void forget_parents(void)
{
    for (struct wherry__life **at = &lives; *at;) {
        struct wherry__life *life = *at;
        if (life->born == wherry__generation())
            at = &life->next;
        else
            *at = life->next; /* endpoints of the parent still point to it, and never ask */
    }
}

static struct wherry__life *find(const struct stat *status)
{
    forget_parents();
    for (struct wherry__life *life = lives; life; life = life->next)
        if (life->device == status->st_dev && life->inode == status->st_ino)
            return life;
    return NULL;
}

static int enter(int fd, const struct stat *status, struct wherry__life **ret_life)
{
    struct wherry__life *life = calloc(1, sizeof *life);
    if (!life)
        return -ENOMEM;
    *life = (struct wherry__life){.next = lives,
                                  .born = wherry__generation(),
                                  .device = status->st_dev,
                                  .inode = status->st_ino,
                                  .fd = fd,
                                  .users = 1};
    lives = life;
    *ret_life = life;
    return 0;
}

/* Closing a descriptor of a file that we have would drop our locks.  With no memory to remember it by it stays open for
 * ever. */
static void keep_spare(struct wherry__life *known, int fd, uid_t from)
{
    struct spare *spares = reallocarray(known->spares, known->spare_count + 1, sizeof *spares);
    if (spares) {
        known->spares = spares;
        spares[known->spare_count++] = (struct spare){fd, from};
    }
}

/* One more user of a file that we have, and one more descriptor of it, or -1. */
static int join_users(struct wherry__life *known, int spare, uid_t from, struct wherry__life **ret_life)
{
    if (spare >= 0)
        keep_spare(known, spare, from);
    known->users++;
    *ret_life = known;
    return 0;
}

/* Look with O_PATH, whose closing drops no locks; then open, if it is not open yet. */
static int open_guarded(int directory, const char *name, struct wherry__life **ret_life)
{
    struct stat status, opened;
    if (wherry__sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (S_ISLNK(status.st_mode))
        return -ELOOP;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (!S_ISREG(status.st_mode))
        return -EBADF;
    struct wherry__life *known = find(&status);
    if (known)
        return join_users(known, -1, 0, ret_life);
    int fd = wherry__sys.openat(directory, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    fd = wherry__fd_note(fd);
    int result = wherry__sys.fstat(fd, &opened) == 0 ? 0 : -errno;
    known = result == 0 ? find(&opened) : NULL; /* swapped meanwhile for one that we have */
    if (result == 0)
        result = known ? join_users(known, fd, geteuid(), ret_life) : enter(fd, &opened, ret_life);
    if (result < 0)
        wherry__fd_close(&fd);
    return result;
}

int wherry__life_open(int directory, const char *name, struct wherry__life **ret_life)
{
    wherry__fd_guard();
    int result = open_guarded(directory, name, ret_life);
    wherry__fd_unguard();
    return result;
}

static int glance_guarded(int directory, const char *name, struct wherry__life **ret_life)
{
    struct stat status;
    if (wherry__sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EBADF;
    struct wherry__life *known = find(&status), *life;
    if (known)
        return join_users(known, -1, 0, ret_life);
    if (!(life = calloc(1, sizeof *life)))
        return -ENOMEM;
    int fd = wherry__sys.openat(directory, name, O_RDONLY | O_NOATIME | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    int result = fd < 0 ? -errno : 0;
    fd = wherry__fd_note(fd);
    if (result == 0 && wherry__sys.fstat(fd, &status) != 0)
        result = -errno;
    if (result < 0) {
        wherry__fd_close(&fd);
        free(life);
        return result;
    }
    *life = (struct wherry__life){.born = wherry__generation(), .device = status.st_dev, .inode = status.st_ino,
                                  .fd = fd, .users = 1, .glance = true};
    *ret_life = life;
    return 0;
}

int wherry__life_glance(int directory, const char *name, struct wherry__life **ret_life)
{
    wherry__fd_guard();
    int result = glance_guarded(directory, name, ret_life);
    wherry__fd_unguard();
    return result;
}

int wherry__life_adopt(int fd, struct wherry__life **ret_life)
{
    return wherry__life_receive(fd, geteuid(), ret_life);
}

int wherry__life_receive(int fd, uid_t from, struct wherry__life **ret_life)
{
    struct stat status;
    if (wherry__sys.fstat(fd, &status) != 0)
        return -errno;
    wherry__fd_guard();
    struct wherry__life *known = find(&status);
    int result = known ? join_users(known, fd, from, ret_life) : enter(fd, &status, ret_life);
    wherry__fd_unguard();
    return result;
}

unsigned wherry__life_spares(uid_t from)
{
    unsigned count = 0;
    wherry__fd_guard();
    forget_parents();
    for (const struct wherry__life *life = lives; life; life = life->next)
        for (size_t i = 0; i < life->spare_count; i++)
            count += life->spares[i].from == from;
    wherry__fd_unguard();
    return count;
}

/* ---- doors ---- */

int wherry__life_find(const struct stat *door, struct wherry__life **ret_life)
{
    int result = -ENOENT;
    wherry__fd_guard();
    forget_parents();
    for (struct wherry__life *life = lives; life && result < 0; life = life->next)
        if (life->door_inode && life->door_device == door->st_dev && life->door_inode == door->st_ino)
            result = join_users(life, -1, 0, ret_life);
    wherry__fd_unguard();
    return result;
}

int wherry__life_find_heir(const char *path, struct wherry__life **ret_life)
{
    int result = -ENOENT;
    wherry__fd_guard();
    forget_parents();
    for (struct wherry__life *life = lives; life && result < 0; life = life->next)
        if (life->heirs && strcmp(life->path, path) == 0)
            result = join_users(life, -1, 0, ret_life);
    wherry__fd_unguard();
    return result;
}

bool wherry__life_inherit(struct wherry__life *life, const char *path)
{
    wherry__fd_guard();
    if (!life->path)
        life->path = strdup(path); /* a life has one door */
    bool known = life->path != NULL;
    life->heirs += known;
    wherry__fd_unguard();
    return known;
}

void wherry__life_disinherit(struct wherry__life *life)
{
    wherry__fd_guard();
    life->heirs--;
    wherry__fd_unguard();
}

bool wherry__life_has_heirs(const struct wherry__life *life)
{
    wherry__fd_guard();
    bool has = life->heirs > 0;
    wherry__fd_unguard();
    return has;
}

void wherry__life_came_through(struct wherry__life *life, const struct stat *door, uint64_t keeper)
{
    wherry__fd_guard();
    life->door_device = door->st_dev;
    life->door_inode = door->st_ino;
    life->keeper = keeper;
    wherry__fd_unguard();
}

void wherry__life_set_keeper(struct wherry__life *life, uint64_t keeper)
{
    wherry__fd_guard();
    life->keeper = keeper;
    wherry__fd_unguard();
}

uint64_t wherry__life_keeper(const struct wherry__life *life)
{
    wherry__fd_guard();
    uint64_t keeper = life->keeper;
    wherry__fd_unguard();
    return keeper;
}

/* ---- */

/* Another thread may have joined meanwhile: its locks are this process's. */
static void end_glance(struct wherry__life *life)
{
    struct stat status = {.st_dev = life->device, .st_ino = life->inode};
    struct wherry__life *known = find(&status);
    if (life->born != wherry__generation())
        return; /* the fork closed it */
    if (known)
        keep_spare(known, life->fd, geteuid());
    else
        wherry__fd_close(&life->fd);
}

void wherry__life_close(struct wherry__life *life)
{
    if (!life)
        return;
    int fd = -1;
    wherry__fd_guard();
    if (life->glance) {
        end_glance(life);
        free(life);
        wherry__fd_unguard();
        return;
    }
    if (--life->users == 0) {
        for (struct wherry__life **at = &lives; *at; at = &(*at)->next)
            if (*at == life) {
                *at = life->next;
                break;
            }
        if (life->born == wherry__generation()) { /* in a forked child the handler closed them */
            fd = life->fd;
            for (size_t i = 0; i < life->spare_count; i++)
                wherry__fd_close(&life->spares[i].fd);
        }
        free(life->spares);
        free(life->path);
        free(life);
    }
    wherry__fd_close(&fd);
    wherry__fd_unguard();
}

int wherry__life_fd(const struct wherry__life *life)
{
    return life->fd;
}

bool wherry__life_named(const struct wherry__life *life, int directory, const char *name)
{
    struct stat status;
    return wherry__sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_dev == life->device &&
           status.st_ino == life->inode;
}

bool wherry__life_take(struct wherry__life *life, unsigned place)
{
    bool taken = false;
    wherry__fd_guard();
    if (!life->closing && !(life->places >> place & 1) && lock(life->fd, F_WRLCK, place, 1) == 0) {
        life->places |= UINT64_C(1) << place;
        taken = true;
    }
    wherry__fd_unguard();
    return taken;
}

void wherry__life_give(struct wherry__life *life, unsigned place)
{
    wherry__fd_guard();
    life->places &= ~(UINT64_C(1) << place);
    lock(life->fd, F_UNLCK, place, 1);
    wherry__fd_unguard();
}

static bool locked_elsewhere(const struct wherry__life *life, unsigned place, pid_t *ret_pid)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RING_PLACE_LOCK + (off_t)place, .l_len = 1};
    bool locked = fcntl(life->fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
    *ret_pid = locked && lock.l_type != F_UNLCK && lock.l_pid > 0 ? lock.l_pid : 0;
    return locked; /* also when the kernel would not say: nothing is taken from the living */
}

bool wherry__life_alive(const struct wherry__life *life, unsigned place)
{
    pid_t pid;
    return (atomic_load_explicit(&life->places, memory_order_relaxed) >> place & 1) ||
           locked_elsewhere(life, place, &pid);
}

pid_t wherry__life_pid(const struct wherry__life *life, unsigned place)
{
    pid_t pid = 0;
    if (atomic_load_explicit(&life->places, memory_order_relaxed) >> place & 1)
        return getpid();
    locked_elsewhere(life, place, &pid);
    return pid;
}

bool wherry__life_closing(struct wherry__life *life)
{
    wherry__fd_guard();
    bool closing = life->closing;
    wherry__fd_unguard();
    return closing;
}

bool wherry__life_take_all(struct wherry__life *life)
{
    wherry__fd_guard();
    bool taken = !life->closing && life->places == 0 && lock(life->fd, F_WRLCK, 0, RING_PLACES) == 0;
    life->closing |= taken;
    wherry__fd_unguard();
    return taken;
}

void wherry__life_give_all(struct wherry__life *life)
{
    wherry__fd_guard();
    lock(life->fd, F_UNLCK, 0, RING_PLACES);
    life->closing = false;
    wherry__fd_unguard();
}
