/* ring/door.c - owns the keeping of rings between two uids: the memfd, the door, its heirs, what a dead keeper left.
 *
 * SPDX-License-Identifier: MIT */
#include "ring/door.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "ring/door_state.h"
#include "ring/name.h"
#include "socket/descriptor.h"
#include "socket/socket.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3 */
#endif

static struct wherry__unix_place place_of(const struct wherry__door *door)
{
    return (struct wherry__unix_place){
        .text = door->path, .name = door->url, .first = door->first, .claim = door->claim, .guest = door->other};
}

int wherry__door_init(struct wherry__door **ret_door, const char *url, const char *name, uid_t other, bool keep)
{
    struct wherry__door *door = malloc(sizeof *door);
    char beside[256];
    *ret_door = door;
    if (!door)
        return wherry__fail(ENOMEM, "%s: no memory", url);
    *door = (struct wherry__door){.url = url,
                                  .name = name,
                                  .uid = geteuid(),
                                  .other = other,
                                  .keep = keep,
                                  .born = wherry__generation(),
                                  .heirs_fd = -1,
                                  .listener = {.fd = -1, .claim_fd = -1}};
    door_path(door->path, door->uid, name);
    snprintf(beside, sizeof beside, ".%.200s%s", name, DOOR_CLAIM);
    door_path(door->claim, door->uid, beside);
    snprintf(beside, sizeof beside, ".%.200s%s", name, DOOR_HEIRS);
    door_path(door->heirs, door->uid, beside);
    return 0;
}

/* What is made in another uid's directory, or as another uid in this one, nobody would believe. */
int wherry__door_directory(const struct wherry__door *door)
{
    if (geteuid() != door->uid)
        return wherry__fail(EPERM,
                            "%s: it was opened as uid %u, and uid %u can make nothing in /dev/shm/wherry-%u-shared; "
                            "ask for the descriptor before privileges are dropped",
                            door->url, (unsigned)door->uid, (unsigned)geteuid(), (unsigned)door->uid);
    int directory = wherry__ring_directory(door->url, "-shared", 0711);
    if (directory < 0)
        return directory;
    wherry__fd_close(&directory);
    return 0;
}

/* ---- heirs ---- */

/* Of the open file, not of the process: each end has its own, and closing another's drops none. */
static int lock_heirs(int fd, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

static bool leads_to(const char *path, int fd)
{
    struct stat ours, now;
    return wherry__sys.fstat(fd, &ours) == 0 && wherry__sys.fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_dev == now.st_dev && ours.st_ino == now.st_ino;
}

/* All who may keep the ring hold a read lock on the file beside the door, so that whoever gets a write lock knows
 * that no ring of that name is left to keep.  It is removed under a write lock: who opened it before looks at the name
 * (H3). */
int wherry__door_stand(struct wherry__door *door, short type)
{
    for (;;) {
        int fd = wherry__unix_open_lock(door->heirs, false);
        if (fd < 0)
            return fd == -ENOENT ? fd : wherry__fail_errno(-fd, "%s: %s could not be opened", door->url, door->heirs);
        int result = lock_heirs(fd, type);
        if (result == 0 && leads_to(door->heirs, fd)) {
            door->heirs_fd = fd;
            return 0;
        }
        wherry__fd_close(&fd);
        if (result == -EAGAIN || result == -EACCES)
            return -EEXIST;
        if (result < 0)
            return wherry__fail_errno(-result, "%s: %s could not be locked", door->url, door->heirs);
    }
}

void wherry__door_inherit(struct wherry__door *door, struct wherry__life *life)
{
    if (!door->heir_of && wherry__life_inherit(life, door->path))
        door->heir_of = life;
}

static void leave_heirs(struct wherry__door *door, bool own)
{
    if (door->heir_of)
        wherry__life_disinherit(door->heir_of);
    door->heir_of = NULL;
    if (own && door->heirs_fd >= 0 && lock_heirs(door->heirs_fd, F_WRLCK) == 0 && leads_to(door->heirs, door->heirs_fd))
        wherry__sys.unlinkat(AT_FDCWD, door->heirs, 0);
    wherry__fd_close_from(door->born, false, &door->heirs_fd);
}

/* ---- what dead processes left ---- */

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail + 1 && strcmp(name + length - tail, end) == 0;
}

/* The claim of a door that nobody keeps: its socket goes before it. */
static void clear_claim(const struct wherry__door *door, const char *name)
{
    char path[DOOR_PATH], claim[DOOR_PATH];
    door_path(claim, door->uid, name);
    door_path(path, door->uid, name + 1);
    path[strlen(path) - strlen(DOOR_CLAIM)] = '\0';
    const struct wherry__unix_place place = {.text = path, .name = path, .first = "", .claim = claim};
    wherry__unix_clear(&place);
}

static void clear_heirs(const struct wherry__door *door, const char *name)
{
    char path[DOOR_PATH];
    door_path(path, door->uid, name);
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0));
    wherry__fd_unguard();
    if (fd >= 0 && lock_heirs(fd, F_WRLCK) == 0 && leads_to(path, fd))
        wherry__sys.unlinkat(AT_FDCWD, path, 0);
    wherry__fd_close(&fd);
}

static void sweep_one(const struct wherry__door *door, int directory, const char *name)
{
    if (name[0] != '.' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return;
    if (ends_in(name, DOOR_CLAIM))
        clear_claim(door, name);
    else if (ends_in(name, DOOR_HEIRS))
        clear_heirs(door, name);
    else if (wherry__door_is_dead_bell(door, directory, name))
        wherry__sys.unlinkat(directory, name, 0);
}

static void sweep(const struct wherry__door *door)
{
    char path[DOOR_PATH];
    if (geteuid() != door->uid)
        return;
    door_path(path, door->uid, "");
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0));
    wherry__fd_unguard();
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        sweep_one(door, fd, entry->d_name);
    if (directory) {
        wherry__fd_forget(fd);
        closedir(directory);
    } else {
        wherry__fd_close(&fd);
    }
}

static void shut(struct wherry__door *door, bool own)
{
    const struct wherry__unix_place place = place_of(door);
    if (door->listener.fd >= 0)
        wherry__unix_unlisten(&door->listener, &place, own, door->born, false);
    while (door->guest_count)
        wherry__fd_close_from(door->born, false, &door->guests[--door->guest_count].fd);
}

void wherry__door_shut(struct wherry__door *door)
{
    shut(door, true);
}

void wherry__door_let_go(struct wherry__door *door)
{
    shut(door, true);
    leave_heirs(door, true);
}

void wherry__door_fini(struct wherry__door *door, bool own)
{
    if (!door)
        return;
    shut(door, own);
    leave_heirs(door, own);
    if (own)
        sweep(door);
    free(door);
}

/* ---- making a ring ---- */

static int make_memfd(const char *url)
{
    wherry__fd_guard();
    int fd = wherry__sys.memfd_create("wherry-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* an older kernel */
        fd = wherry__sys.memfd_create("wherry-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int code = errno;
    fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : wherry__fail_errno(code, "%s: no memory could be made", url);
}

static int make_sealed(struct ring_head *head, const char *url, struct wherry__life **ret_life)
{
    if (getrandom(head->secret, sizeof head->secret, 0) != sizeof head->secret)
        return wherry__fail_errno(errno, "%s: no random numbers", url);
    int fd = make_memfd(url);
    if (fd < 0)
        return fd;
    int result = wherry__sys.fchmod(fd, 0600) == 0 /* who may open it anew through /proc */
                     ? wherry__ring_fill(fd, head, url)
                     : wherry__fail_errno(errno, "%s: permissions of the memory could not be set", url);
    if (result == 0 && fcntl(fd, F_ADD_SEALS, DOOR_SEALS) != 0)
        result = wherry__fail_errno(errno, "%s: the memory could not be sealed", url);
    if (result == 0 && (result = wherry__life_adopt(fd, ret_life)) < 0)
        result = wherry__fail_errno(-result, "%s: no memory", url);
    if (result < 0)
        wherry__fd_close(&fd);
    return result;
}

int wherry__door_make(struct wherry__door *door, struct ring_head *head, struct wherry__life **ret_life)
{
    int result = wherry__door_directory(door);
    if (result == 0)
        result = wherry__door_stand(door, F_WRLCK);
    if (result == -EEXIST)
        door->found = DOOR_HEIRS_ONLY;
    return result == 0 ? make_sealed(head, door->url, ret_life) : result;
}

int wherry__door_open(struct wherry__door *door, struct wherry__life *life)
{
    const struct wherry__unix_place place = place_of(door);
    uint64_t number;
    int result = wherry__door_directory(door);
    if (result < 0)
        return result;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return wherry__fail_errno(errno, "%s: no random numbers", door->url);
    snprintf(door->first, sizeof door->first, "/dev/shm/wherry-%u-shared/" DOOR_NEW "%016llx", (unsigned)door->uid,
             (unsigned long long)number);
    /* without access control lists anybody may knock: who is let in is decided by the uid that the kernel names */
    result = wherry__unix_listen(&door->listener, &place, SOCK_SEQPACKET, 0666, 64, false);
    if (result < 0)
        return result == -EADDRINUSE ? -EEXIST : result;
    lock_heirs(door->heirs_fd, F_RDLCK); /* from here on others may be heirs, too; at no time are there none */
    wherry__door_inherit(door, life);
    wherry__life_came_through(life, &door->listener.identity, door->mark);
    return 0;
}

/* ---- letting others in ---- */

/* A descriptor that was sent and not read counts against this user, RLIMIT_NOFILE of them in all its programs; so those
 * who were handed one are remembered until they have read the message or are gone. */
static void see_off(struct wherry__door *door)
{
    for (unsigned i = 0; i < door->guest_count;) {
        int unread = 0;
        if (ioctl(door->guests[i].fd, SIOCOUTQ, &unread) == 0 && unread > 0) {
            i++;
            continue;
        }
        wherry__fd_close(&door->guests[i].fd);
        door->guests[i] = door->guests[--door->guest_count];
    }
}

static bool may_be_guest(const struct wherry__door *door, uid_t uid)
{
    enum { OF_ANOTHER = 8 };
    unsigned same = 0;
    for (unsigned i = 0; i < door->guest_count; i++)
        same += door->guests[i].uid == uid;
    return door->guest_count < DOOR_GUESTS && (uid == door->uid || same < OF_ANOTHER);
}

/* One for whom there is no place among the guests is sent away, and knocks again. */
static void answer(struct wherry__door *door, const struct wherry__life *life, int fd)
{
    struct door_hello hello = {.magic = RING_MAGIC, .version = RING_VERSION, .keeper = door->mark};
    struct wherry__credentials who;
    if (wherry__credentials_of_connection(fd, &who) < 0 || !door_member(door, who.uid)) {
        hello.answer = DOOR_REFUSED;
        wherry__sys.send(fd, &hello, sizeof hello, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (may_be_guest(door, who.uid) &&
               wherry__descriptor_send(fd, &hello, sizeof hello, wherry__life_fd(life)) == 0) {
        door->guests[door->guest_count++] = (struct door_guest){fd, who.uid};
        return;
    }
    wherry__fd_close(&fd);
}

static void serve(struct wherry__door *door, const struct wherry__life *life)
{
    enum { AT_ONCE = 256 }; /* strangers, most of them, where they can knock at all */
    if (door->guest_count)
        see_off(door);
    for (int i = 0; i < AT_ONCE; i++) {
        int fd = wherry__socket_accept(door->listener.fd);
        if (fd < 0)
            break;
        answer(door, life, fd);
    }
}

/* Our turn; what the memory says of who has taken it is believed only when the door is another's: it may lie. */
static void take_over(struct wherry__door *door, struct wherry__life *life, const struct ring_control *control)
{
    int result = wherry__door_open(door, life);
    door->orphaned = result < 0;
    if (result == -EEXIST) {
        uint64_t keeper = atomic_load_explicit(&control->shared.keeper, memory_order_acquire);
        if (wherry__door_is_alive(life, control, keeper)) {
            wherry__life_set_keeper(life, keeper);
            door->orphaned = false;
        }
    } else if (result < 0 && geteuid() != door->uid) { /* can never keep it, and is in nobody's way */
        leave_heirs(door, true);
        door->keep = door->orphaned = false;
    }
}

bool wherry__door_mind(struct wherry__door *door, struct wherry__life *life, struct ring_control *control,
                       uint64_t mark)
{
    if (door->listener.fd < 0) {
        if (!door->keep)
            return false;
        uint64_t keeper = wherry__life_keeper(life);
        door->orphaned = false;
        if (keeper && wherry__door_is_alive(life, control, keeper))
            return false;
        wherry__life_set_keeper(life, 0); /* gone for good, whoever has its place next */
        take_over(door, life, control);
        if (door->listener.fd < 0)
            return false;
    }
    if (door->mark != mark || wherry__life_keeper(life) != mark) {
        door->mark = mark;
        wherry__life_set_keeper(life, mark);
        atomic_store_explicit(&control->shared.keeper, mark, memory_order_release);
    }
    serve(door, life);
    return true;
}

bool wherry__door_orphaned(const struct wherry__door *door)
{
    return door->orphaned;
}

int wherry__door_fd(const struct wherry__door *door)
{
    return door->listener.fd;
}
