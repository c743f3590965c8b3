/* ring/door.c - owns rings between two uids: the memfd, the door, the bells.
 *
 * SPDX-License-Identifier: MIT */
#include "ring/door.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "ring/name.h"
#include "socket/descriptor.h"
#include "socket/unix.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3 */
#endif

/* How names of bells begin, and those of bells that are being made. */
#define BELL "."
#define NEW_BELL ".new-"

#define CLAIM ".lock" /* socket/unix.c */

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

enum { PATH_SIZE = 320, AT_ONCE = 8 };

#define REFUSED UINT32_MAX /* in place of a place, and with no memory */

/* What goes with the memfd. */
struct hello {
    uint64_t magic;
    uint32_t version, place;
};

struct wherry__door {
    const char *url, *name;
    struct wherry__allow allow;
    uid_t other;
    bool keep; /* is to keep the door, or to take its turn when the keeper dies */
    uint64_t born;
    uint32_t place;
    char path[PATH_SIZE];
    struct wherry__unix_listener listener; /* fd: -1 unless we keep it */
};

static struct wherry__unix_place place_of(const struct wherry__door *door, const char *path)
{
    return (struct wherry__unix_place){.text = path, .name = door->url};
}

static void door_path(char path[static PATH_SIZE], uid_t uid, const char *name)
{
    snprintf(path, PATH_SIZE, "/dev/shm/wherry-%u-shared/%s", (unsigned)uid, name);
}

int wherry__door_init(struct wherry__door **ret_door, const char *url, const char *name, uid_t other, bool keep)
{
    struct wherry__door *door = malloc(sizeof *door);
    *ret_door = door;
    if (!door)
        return wherry__fail(ENOMEM, "%s: no memory", url);
    *door = (struct wherry__door){.url = url,
                                  .name = name,
                                  .allow = {.count = 1, .uids = {other}},
                                  .other = other,
                                  .keep = keep,
                                  .born = wherry__generation(),
                                  .listener = {.fd = -1, .claim_fd = -1}};
    door_path(door->path, geteuid(), name);
    return 0;
}

/* ---- what dead processes left ---- */

static int bell_socket(void)
{
    wherry__fd_guard();
    int fd = wherry__sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = fd >= 0 ? wherry__fd_note(fd) : -errno;
    wherry__fd_unguard();
    return result;
}

/* Refused is dead, and stays so: a bell is bound before it has its name.  One that never got it is judged by its age. */
static bool is_dead_bell(int directory, const char *name)
{
    enum { LONG = 10 }; /* s */
    char path[PATH_SIZE];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    door_path(path, geteuid(), name);
    if (strlen(path) >= sizeof address.sun_path ||
        wherry__sys.fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(status.st_mode) ||
        (strncmp(name, NEW_BELL, strlen(NEW_BELL)) == 0 && time(NULL) - status.st_ctime < LONG))
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = bell_socket();
    bool dead = fd >= 0 && wherry__sys.connect(fd, (struct sockaddr *)&address, sizeof address) != 0 &&
                errno == ECONNREFUSED;
    wherry__fd_close(&fd);
    return dead;
}

/* A claim that nobody holds: its socket is dead.  Taken and given up again, it goes with its claim. */
static void clear_claim(int directory, const char *name)
{
    struct wherry__unix_listener listener;
    char path[PATH_SIZE];
    wherry__fd_guard();
    int claim = wherry__fd_note(wherry__sys.openat(directory, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0));
    wherry__fd_unguard();
    bool held = claim < 0 || wherry__sys.flock(claim, LOCK_EX | LOCK_NB) != 0;
    wherry__fd_close(&claim);
    if (held)
        return;
    door_path(path, geteuid(), name);
    path[strlen(path) - strlen(CLAIM)] = '\0';
    struct wherry__unix_place place = {.text = path, .name = path};
    if (wherry__unix_listen(&listener, &place, SOCK_SEQPACKET, 0600, 0, false) == 0)
        wherry__unix_unlisten(&listener, &place, true, wherry__generation(), false);
}

static void sweep(void)
{
    char path[PATH_SIZE];
    door_path(path, geteuid(), "");
    wherry__fd_guard();
    int fd = wherry__fd_note(wherry__sys.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0));
    wherry__fd_unguard();
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' && entry->d_name[1] != '.' && length > 2) {
            if (is_dead_bell(fd, entry->d_name))
                wherry__sys.unlinkat(fd, entry->d_name, 0);
        } else if (length > strlen(CLAIM) && strcmp(entry->d_name + length - strlen(CLAIM), CLAIM) == 0) {
            clear_claim(fd, entry->d_name);
        }
    }
    if (directory) {
        wherry__fd_forget(fd);
        closedir(directory);
    } else {
        wherry__fd_close(&fd);
    }
}

void wherry__door_fini(struct wherry__door *door, bool own)
{
    if (!door)
        return;
    struct wherry__unix_place place = place_of(door, door->path);
    if (door->listener.fd >= 0)
        wherry__unix_unlisten(&door->listener, &place, own, door->born, false);
    if (own)
        sweep();
    free(door);
}

/* ---- keeping it ---- */

static int make_memfd(const char *url)
{
    wherry__fd_guard();
    int fd = wherry__sys.memfd_create("wherry-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* an older kernel */
        fd = wherry__sys.memfd_create("wherry-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int code = errno;
    wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : wherry__fail_errno(code, "%s: no memory could be made", url);
}

int wherry__door_make(struct ring_head *head, const char *url, struct wherry__life **ret_life)
{
    if (getrandom(head->secret, sizeof head->secret, 0) != sizeof head->secret)
        return wherry__fail_errno(errno, "%s: no random numbers", url);
    int fd = make_memfd(url);
    if (fd < 0)
        return fd;
    int result = wherry__ring_fill(fd, head, url);
    if (result == 0 && fcntl(fd, F_ADD_SEALS, SEALS) != 0)
        result = wherry__fail_errno(errno, "%s: the memory could not be sealed", url);
    if (result == 0 && (result = wherry__life_adopt(fd, ret_life)) < 0)
        result = wherry__fail_errno(-result, "%s: no memory", url);
    if (result < 0)
        wherry__fd_close(&fd);
    return result;
}

int wherry__door_open(struct wherry__door *door, struct wherry__life *life, unsigned place)
{
    struct wherry__unix_place at = place_of(door, door->path);
    int directory = wherry__ring_directory(door->url, "-shared", 0711);
    if (directory < 0)
        return directory;
    wherry__fd_close(&directory);
    door_path(door->path, geteuid(), door->name);
    /* anybody may knock: who is let in is decided by the uid that the kernel names */
    int result = wherry__unix_listen(&door->listener, &at, SOCK_SEQPACKET, 0666, 64, false);
    if (result == 0) {
        door->place = place;
        wherry__life_came_through(life, &door->listener.identity, place);
    }
    return result == -EADDRINUSE ? -EEXIST : result;
}

void wherry__door_serve(struct wherry__door *door, const struct wherry__life *life)
{
    const struct hello hello = {.magic = RING_MAGIC, .version = RING_VERSION, .place = door->place};
    const struct hello refusal = {.magic = RING_MAGIC, .version = RING_VERSION, .place = REFUSED};
    for (int i = 0; i < AT_ONCE && door->listener.fd >= 0; i++) {
        struct wherry__credentials who;
        int fd = wherry__unix_accept(door->listener.fd);
        if (fd < 0)
            break;
        if (wherry__credentials_of_connection(fd, &who) == 0 && wherry__allow_check(&door->allow, who.uid))
            wherry__descriptor_send(fd, &hello, sizeof hello, wherry__life_fd(life)); /* -ETOOMANYREFS: it knocks again */
        else
            wherry__sys.send(fd, &refusal, sizeof refusal, MSG_NOSIGNAL | MSG_DONTWAIT);
        wherry__fd_close(&fd);
    }
}

int wherry__door_fd(const struct wherry__door *door)
{
    return door->listener.fd;
}

bool wherry__door_left(const struct wherry__door *door, const struct wherry__life *life)
{
    return door->keep && door->listener.fd < 0 && !wherry__life_alive(life, wherry__life_keeper(life));
}

/* ---- coming in ---- */

/* Cut short it can never be, and it was made by wherry: what its head says is read_head()'s to check. */
static int check_memory(const struct wherry__door *door, int fd)
{
    int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;
    if (seals < 0 || (seals & SEALS) != SEALS)
        return wherry__fail(EPROTO, "%s: what listens there handed over no sealed memory; it is no ring", door->url);
    if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return wherry__fail(EPROTO, "%s: the memory handed over cannot be written to; it is no ring", door->url);
    return 0;
}

static int receive_memory(const struct wherry__door *door, int socket, struct hello *ret_hello, int *ret_fd)
{
    ssize_t size = wherry__descriptor_receive(socket, ret_hello, sizeof *ret_hello, ret_fd);
    int result = 0;
    if (size == 0 || size == -ECONNRESET)
        result = -ENOENT; /* it left, or does not know us yet: again */
    else if (size == sizeof *ret_hello && ret_hello->magic == RING_MAGIC && ret_hello->place == REFUSED)
        result = wherry__fail(EPERM, "%s: the process that keeps the ring lets in its own uid and that of its share=, not "
                                     "uid %u", door->url, (unsigned)geteuid());
    else if (size != sizeof *ret_hello || ret_hello->magic != RING_MAGIC || ret_hello->place >= RING_PLACES)
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
    const bool waits = !wherry__deadline_passed(deadline);
    for (;;) {
        struct timespec storage;
        int ready = wherry__sys.ppoll(&events, 1, wherry__deadline_left(deadline, &storage));
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return wherry__fail_errno(errno, "%s: waiting to be let in failed", door->url);
        if (wherry__deadline_passed(deadline))
            return wherry__fail(-wherry__deadline_error(waits),
                                "%s: the process that keeps the ring lets nobody in: it must be in a call on it, or "
                                "poll it; wait longer",
                                door->url);
    }
}

static int knock(struct wherry__door *door, uid_t uid, wherry_time deadline, struct wherry__life **ret_life)
{
    char path[PATH_SIZE];
    struct stat before, after;
    struct wherry__credentials who;
    struct hello hello;
    bool known;
    int memory;
    door_path(path, uid, door->name);
    if (wherry__sys.fstatat(AT_FDCWD, path, &before, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? -ENOENT : wherry__fail_errno(errno, "%s: %s", door->url, path);
    if (wherry__life_find(&before, ret_life) == 0)
        return 0;
    struct wherry__unix_place place = place_of(door, path);
    int socket = wherry__unix_connect(&place, SOCK_SEQPACKET, &door->allow, WHERRY_NOW, &who, &known);
    if (socket < 0)
        return socket == -EAGAIN ? -ENOENT : socket;
    int result = await_memory(door, socket, deadline);
    if (result == 0)
        result = receive_memory(door, socket, &hello, &memory);
    wherry__fd_close(&socket);
    if (result < 0)
        return result;
    result = wherry__life_adopt(memory, ret_life);
    if (result < 0) {
        wherry__fd_close(&memory);
        return wherry__fail_errno(-result, "%s: no memory", door->url);
    }
    if (wherry__sys.fstatat(AT_FDCWD, path, &after, AT_SYMLINK_NOFOLLOW) != 0 || after.st_ino != before.st_ino)
        after = (struct stat){0}; /* another's by now */
    wherry__life_came_through(*ret_life, &after, hello.place);
    return 0;
}

int wherry__door_enter(struct wherry__door *door, wherry_time deadline, struct wherry__life **ret_life)
{
    int result = knock(door, geteuid(), deadline, ret_life);
    if (result == -ENOENT && !door->keep && door->other != geteuid())
        result = knock(door, door->other, deadline, ret_life);
    return result;
}

/* ---- bells ---- */

/* A datagram socket: only its owner reads it, nobody who writes to it is killed by SIGPIPE, and one that is full rings
 * already.  Its name cannot be guessed by those who do not have the ring. */
static void bell_address(struct sockaddr_un *address, const char *before, const uint8_t secret[static RING_SECRET],
                         uid_t uid, unsigned place)
{
    char text[2 * RING_SECRET + 1];
    for (int i = 0; i < RING_SECRET; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", secret[i]);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "/dev/shm/wherry-%u-shared/%s%s-%u", (unsigned)uid, before,
             text, place);
}

/* While bind(2) makes it a socket looks like a dead one: it gets the name that sweep() looks at afterwards. */
int wherry__door_make_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], unsigned place)
{
    struct sockaddr_un new, address;
    int directory = wherry__ring_directory(door->url, "-shared", 0711), result = 0;
    if (directory < 0)
        return directory;
    wherry__fd_close(&directory);
    bell_address(&new, NEW_BELL, secret, geteuid(), place);
    bell_address(&address, BELL, secret, geteuid(), place);
    wherry__sys.unlinkat(AT_FDCWD, new.sun_path, 0); /* a dead one's */
    int fd = bell_socket();
    if (fd < 0)
        return fd;
    if (wherry__sys.fchmod(fd, 0622) != 0 || wherry__sys.bind(fd, (struct sockaddr *)&new, sizeof new) != 0 ||
        wherry__sys.fchmodat(AT_FDCWD, new.sun_path, 0622, 0) != 0 || /* whatever the umask took away */
        wherry__sys.renameat(AT_FDCWD, new.sun_path, AT_FDCWD, address.sun_path) != 0)
        result = -errno;
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

void wherry__door_forget_bell(const uint8_t secret[static RING_SECRET], unsigned place)
{
    struct sockaddr_un address;
    bell_address(&address, BELL, secret, geteuid(), place);
    wherry__sys.unlinkat(AT_FDCWD, address.sun_path, 0);
}

/* The place says whose it is; one that lies gets no datagram of ours anywhere else: the socket is looked at before. */
int wherry__door_find_bell(const struct wherry__door *door, const uint8_t secret[static RING_SECRET], uid_t uid,
                           unsigned place)
{
    struct sockaddr_un address;
    struct stat status;
    if (!wherry__allow_check(&door->allow, uid))
        return -1;
    bell_address(&address, BELL, secret, uid, place);
    wherry__fd_guard();
    int name = wherry__fd_note(wherry__sys.open(address.sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
    wherry__fd_unguard();
    if (name < 0)
        return -1;
    int fd = -1;
    if (wherry__sys.fstat(name, &status) == 0 && S_ISSOCK(status.st_mode) && status.st_uid == uid &&
        (fd = bell_socket()) >= 0) {
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", name);
        if (wherry__sys.connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
            wherry__fd_close(&fd);
    }
    wherry__fd_close(&name);
    return fd < 0 ? -1 : fd;
}
