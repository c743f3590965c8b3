/* socket/unix.c - owns AF_UNIX: places, listening, connecting.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/holder.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "socket/socket.h"

enum { SUN_PATH = sizeof((struct sockaddr_un){0}).sun_path };

static bool is_abstract(const struct wherry__unix_place *place)
{
    return place->text[0] == '@';
}

int wherry__unix_check(const struct wherry__unix_place *place)
{
    size_t length = strlen(place->text);
    if (is_abstract(place)) {
        if (length < 2)
            return wherry__fail(EINVAL, "%s: the abstract name is empty; write unix:@name", place->name);
        if (length > SUN_PATH)
            return wherry__fail(ENAMETOOLONG, "%s: an abstract name has at most %d bytes", place->name, SUN_PATH - 1);
        return 0;
    }
    const char *slash = strrchr(place->text, '/');
    const char *base = slash ? slash + 1 : place->text;
    if (!*base)
        return wherry__fail(EINVAL, "%s: names a directory; name a socket in it", place->name);
    /* longer paths go through "/proc/self/fd/<directory>/<base>", which must fit in turn */
    if (length >= SUN_PATH && strlen(base) > SUN_PATH - sizeof "/proc/self/fd/1234567890/")
        return wherry__fail(ENAMETOOLONG,
                            "%s: a socket's name in its directory has at most %d bytes when the path is longer "
                            "than %d",
                            place->name, (int)(SUN_PATH - sizeof "/proc/self/fd/1234567890/"), SUN_PATH - 1);
    if (length >= PATH_MAX)
        return wherry__fail(ENAMETOOLONG, "%s: the path is too long", place->name);
    return 0;
}

struct address {
    struct sockaddr_un address;
    socklen_t size;
    int directory; /* to be closed, or -1 */
};

static void address_fini(struct address *address)
{
    if (address->directory >= 0)
        close(address->directory);
    address->directory = -1;
}

/* 0 or -errno without a sentence. */
static int address_init(struct address *address, const struct wherry__unix_place *place)
{
    size_t length = strlen(place->text);
    *address = (struct address){.address.sun_family = AF_UNIX, .directory = -1};
    if (is_abstract(place)) {
        memcpy(address->address.sun_path + 1, place->text + 1, length - 1);
        address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
        return 0;
    }
    address->size = sizeof address->address;
    if (length < SUN_PATH) {
        memcpy(address->address.sun_path, place->text, length + 1);
        return 0;
    }
    const char *slash = strrchr(place->text, '/');
    if (!slash)
        return -ENAMETOOLONG;
    char *directory = strndup(place->text, (size_t)(slash - place->text + 1));
    if (!directory)
        return -ENOMEM;
    address->directory = wherry__sys.open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int code = errno;
    free(directory);
    if (address->directory < 0)
        return -code;
    snprintf(address->address.sun_path, SUN_PATH, "/proc/self/fd/%d/%s", address->directory, slash + 1);
    return 0;
}

static int new_socket(int type, bool inheritable)
{
    int fd = wherry__socket_new(AF_UNIX, type, 0, inheritable);
    return fd >= 0 ? fd : wherry__fail_errno(-fd, "a socket could not be made");
}

/* ---- listening ---- */

static int in_use(const struct wherry__unix_place *place, pid_t pid)
{
    char who[64];
    return wherry__fail(EADDRINUSE, "%s: %s is listening there; stop it, or take another name", place->name,
                        wherry__process_name(pid, who));
}

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* One of ours without permissions: somebody died between making it and the fchmod() below.  Never through a link that
 * took its place: whoever may write to the directory could choose the file. */
static bool mend_permissions(const char *path)
{
    char number[40];
    struct stat status;
    int fd = wherry__sys.open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    snprintf(number, sizeof number, "/proc/self/fd/%d", fd);
    bool mended = wherry__sys.fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
                  (status.st_mode & 0600) != 0600 && wherry__sys.fchmodat(AT_FDCWD, number, 0600, 0) == 0;
    wherry__sys.close(fd);
    return mended;
}

int wherry__unix_open_lock(const char *path, bool inheritable)
{
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    struct stat status;
    wherry__fd_guard();
    int fd = wherry__sys.open(path, flags, 0600);
    int code = errno;
    if (fd < 0 && code == EACCES && mend_permissions(path)) {
        fd = wherry__sys.open(path, flags, 0600);
        code = errno;
    }
    if (fd >= 0 && wherry__sys.fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
        (status.st_mode & 0777) != 0600)
        wherry__sys.fchmod(fd, 0600); /* whatever the umask took away */
    if (fd >= 0 && !inheritable)
        fd = wherry__fd_note(fd);
    wherry__fd_unguard();
    return fd >= 0 ? fd : -code;
}

static void claim_path(char path[static PATH_MAX + 8], const struct wherry__unix_place *place)
{
    if (place->claim)
        snprintf(path, PATH_MAX + 8, "%s", place->claim);
    else
        snprintf(path, PATH_MAX + 8, "%s.lock", place->text);
}

/* The file beside the socket that says who listens: whoever holds its lock.  It is removed under the lock, so who
 * opened it before and locked it after looks whether it still has its name (H3). */
static int claim(struct wherry__unix_listener *listener, const struct wherry__unix_place *place, bool inheritable)
{
    char path[PATH_MAX + 8];
    claim_path(path, place);
    for (;;) {
        struct stat now;
        int result = listener->claim_fd = wherry__unix_open_lock(path, inheritable);
        if (result < 0)
            return result == -ENOENT
                       ? wherry__fail(ENOENT, "%s: the directory does not exist; make it, or name another", place->name)
                       : wherry__fail_errno(-result, "%s: %s could not be opened", place->name, path);
        if (wherry__sys.fstat(listener->claim_fd, &listener->claim_identity) != 0 ||
            !S_ISREG(listener->claim_identity.st_mode) ||
            (listener->claim_identity.st_uid != geteuid() && listener->claim_identity.st_uid != 0)) {
            wherry__fd_close(&listener->claim_fd);
            return wherry__fail(EPERM, "%s: %s was put there by somebody else; use another directory", place->name,
                                path);
        }
        if (wherry__sys.flock(listener->claim_fd, LOCK_EX | LOCK_NB) != 0) {
            pid_t pid = place->first ? 0 : wherry__holder_of_flock(listener->claim_fd); /* asked often: no sentence */
            wherry__fd_close(&listener->claim_fd);
            return in_use(place, pid);
        }
        if (wherry__sys.fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
            same_file(&now, &listener->claim_identity))
            return 0;
        wherry__fd_close(&listener->claim_fd);
    }
}

/* Is anybody behind the socket that is there?  Asked by connecting, which a server that does not use our lock sees as a
 * client that comes and goes.  0: nobody; or -EADDRINUSE with the sentence. */
static int probe(const struct wherry__unix_place *place, const struct address *address, int type)
{
    int fd = new_socket(type, false);
    if (fd < 0)
        return fd;
    int result = 0;
    struct wherry__credentials credentials = {.pid = 0};
    if (wherry__sys.connect(fd, (const struct sockaddr *)&address->address, address->size) == 0) {
        wherry__credentials_of_connection(fd, &credentials);
        result = in_use(place, credentials.pid);
    } else if (errno != ECONNREFUSED && errno != ENOENT) {
        result = in_use(place, 0); /* a full backlog, another type of socket: alive */
    }
    wherry__fd_close(&fd);
    return result;
}

/* What is at the path: 0: nothing any more; else the sentence is set. */
static int clear_place(const struct wherry__unix_place *place, const struct address *address, int type)
{
    struct stat status;
    if (wherry__sys.fstatat(AT_FDCWD, place->text, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : wherry__fail_errno(errno, "%s", place->name);
    if (!S_ISSOCK(status.st_mode))
        return wherry__fail(ENOTSOCK, "%s: is %s, not a socket; name another path", place->name,
                            S_ISDIR(status.st_mode)   ? "a directory"
                            : S_ISLNK(status.st_mode) ? "a symbolic link"
                            : S_ISFIFO(status.st_mode) ? "a FIFO"
                                                       : "a file");
    if (place->first)
        return 0; /* nobody but us could have bound it: what holds no claim is dead, and replaced by the rename */
    int result = probe(place, address, type);
    if (result < 0)
        return result;
    if (wherry__sys.unlinkat(AT_FDCWD, place->text, 0) != 0 && errno != ENOENT)
        return wherry__fail_errno(errno, "%s: a socket that nobody listens on could not be removed", place->name);
    return 0;
}

/* One uid beside the owner, and root; false where the file system has no access control lists: then anybody may. */
static bool admit_only(const char *path, uid_t guest)
{
    static const uint32_t nobody = (uint32_t)ACL_UNDEFINED_ID;
    struct {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[5];
    } list = {.header = {POSIX_ACL_XATTR_VERSION},
              .entries = {{ACL_USER_OBJ, ACL_READ | ACL_WRITE, nobody},
                          {ACL_USER, ACL_READ | ACL_WRITE, guest},
                          {ACL_GROUP_OBJ, 0, nobody},
                          {ACL_MASK, ACL_READ | ACL_WRITE, nobody},
                          {ACL_OTHER, 0, nobody}}};
    return lsetxattr(path, "system.posix_acl_access", &list, sizeof list, 0) == 0;
}

static int set_permissions(const struct wherry__unix_place *place, const char *path, uint32_t mode,
                           const struct stat *identity)
{
    if (place->first && admit_only(path, place->guest))
        return 0;
    if ((identity->st_mode & 0777) == mode || wherry__sys.fchmodat(AT_FDCWD, path, mode, 0) == 0)
        return 0;
    return wherry__fail_errno(errno, "%s: the permissions could not be set", place->name);
}

/* The permissions that bind(2) gives the name are those of the socket, less the umask: for a moment fewer than asked
 * for.  A socket with `first` gets its name afterwards.  Others do not: senders of datagrams are answered at the name
 * that was bound, and ss(8) shows that one. */
static int bind_place(struct wherry__unix_listener *listener, const struct wherry__unix_place *place,
                      const struct address *address, uint32_t mode)
{
    const char *path = place->first ? place->first : place->text;
    /* the mode that bind(2) gives the name is that of the socket itself, less the umask: never more than asked for */
    if (!is_abstract(place) && wherry__sys.fchmod(listener->fd, mode) != 0)
        return wherry__fail_errno(errno, "%s: the permissions could not be set", place->name);
    if (wherry__sys.bind(listener->fd, (const struct sockaddr *)&address->address, address->size) != 0) {
        if (errno != EADDRINUSE)
            return wherry__fail_errno(errno, "%s: the name could not be taken", place->name);
        /* not by connecting, which the one who has it would see as a client that comes and goes */
        return in_use(place, is_abstract(place) ? wherry__holder_of_abstract(place->text) : 0);
    }
    listener->bound = true;
    if (is_abstract(place))
        return 0;
    if (wherry__sys.fstatat(AT_FDCWD, path, &listener->identity, AT_SYMLINK_NOFOLLOW) != 0)
        return wherry__fail_errno(errno, "%s", place->name);
    return set_permissions(place, path, mode, &listener->identity);
}

static int give_name(const struct wherry__unix_place *place)
{
    if (wherry__sys.renameat(AT_FDCWD, place->first, AT_FDCWD, place->text) == 0)
        return 0;
    int result = wherry__fail_errno(errno, "%s: the name could not be taken", place->name);
    wherry__sys.unlinkat(AT_FDCWD, place->first, 0);
    return result;
}

int wherry__unix_listen(struct wherry__unix_listener *listener, const struct wherry__unix_place *place, int type,
                        uint32_t mode, uint32_t backlog, bool inheritable)
{
    struct address address = {.directory = -1};
    *listener = (struct wherry__unix_listener){.fd = -1, .claim_fd = -1};
    const struct wherry__unix_place bound = {.text = place->first ? place->first : place->text, .name = place->name};
    int result = wherry__unix_check(&bound);
    if (result < 0)
        return result;
    result = address_init(&address, &bound);
    if (result < 0)
        return wherry__fail_errno(-result, "%s", place->name);
    if (!is_abstract(place)) {
        result = claim(listener, place, inheritable);
        if (result == 0)
            result = clear_place(place, &address, type);
    }
    if (result == 0)
        result = listener->fd = new_socket(type, inheritable);
    if (result >= 0) {
        result = wherry__credentials_ask(listener->fd); /* first, so that nothing comes without */
        if (result < 0)
            wherry__fail_errno(-result, "%s: the kernel gives no credentials", place->name);
    }
    if (result == 0)
        result = bind_place(listener, place, &address, mode);
    if (result == 0 && type != SOCK_DGRAM && wherry__sys.listen(listener->fd, (int)backlog) != 0)
        result = wherry__fail_errno(errno, "%s: listening failed", place->name);
    if (result == 0 && place->first)
        result = give_name(place);
    address_fini(&address);
    if (result < 0)
        wherry__unix_unlisten(listener, place, true, wherry__generation(), inheritable);
    return result;
}

static void remove_if_same(const char *path, const struct stat *identity)
{
    struct stat now;
    if (wherry__sys.fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) == 0 && same_file(&now, identity))
        wherry__sys.unlinkat(AT_FDCWD, path, 0);
}

void wherry__unix_unlisten(struct wherry__unix_listener *listener, const struct wherry__unix_place *place, bool own,
                           uint64_t born, bool inheritable)
{
    if (own && listener->bound && !is_abstract(place))
        remove_if_same(place->text, &listener->identity);
    if (own && listener->claim_fd >= 0) {
        char path[PATH_MAX + 8];
        claim_path(path, place);
        remove_if_same(path, &listener->claim_identity);
    }
    wherry__fd_close_from(born, inheritable, &listener->fd);
    wherry__fd_close_from(born, inheritable, &listener->claim_fd);
    listener->bound = false;
}

void wherry__unix_clear(const struct wherry__unix_place *place)
{
    struct wherry__unix_listener listener = {.fd = -1, .claim_fd = -1};
    struct stat status;
    char path[PATH_MAX + 8];
    claim_path(path, place);
    int fd = wherry__unix_open_lock(path, false);
    bool held = fd < 0 || wherry__sys.flock(fd, LOCK_EX | LOCK_NB) != 0; /* first, and without a sentence */
    wherry__fd_close(&fd);
    if (held || claim(&listener, place, false) < 0)
        return;
    if (wherry__sys.fstatat(AT_FDCWD, place->text, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(status.st_mode))
        wherry__sys.unlinkat(AT_FDCWD, place->text, 0);
    wherry__unix_unlisten(&listener, place, true, wherry__generation(), false);
}

/* ---- connecting ---- */

static int refuse_uid(const struct wherry__unix_place *place, uid_t uid, const char *what)
{
    return wherry__fail(EPERM, "%s: %s uid %u; allow it with uid=%u", place->name, what, (unsigned)uid, (unsigned)uid);
}

/* Before connecting: is it a socket at all, and, for datagrams, whose? */
static int check_target(const struct wherry__unix_place *place, int type, const struct wherry__allow *allow)
{
    struct stat status;
    if (is_abstract(place)) {
        if (type != SOCK_DGRAM || allow->any)
            return 0;
        return wherry__fail(
            EPERM,
            "%s: the kernel does not say who receives datagrams at an abstract name, and any user may take "
            "it; use a path, or accept that with uid=any",
            place->name);
    }
    if (wherry__sys.fstatat(AT_FDCWD, place->text, &status, 0) != 0)
        return -errno;
    if (!S_ISSOCK(status.st_mode))
        return wherry__fail(ENOTSOCK, "%s: is %s, not a socket", place->name,
                            S_ISDIR(status.st_mode) ? "a directory" : S_ISFIFO(status.st_mode) ? "a FIFO" : "a file");
    if (type == SOCK_DGRAM && !wherry__allow_check(allow, status.st_uid))
        return refuse_uid(place, status.st_uid, "the socket belongs to");
    return 0;
}

static int check_peer(const struct wherry__unix_place *place, int fd, const struct wherry__allow *allow,
                      struct wherry__credentials *ret_credentials, bool *ret_known)
{
    *ret_known = wherry__credentials_of_connection(fd, ret_credentials) == 0;
    if (*ret_known && !wherry__allow_check(allow, ret_credentials->uid))
        return refuse_uid(place, ret_credentials->uid, "the process that listens has");
    return 0;
}

/* One attempt: the descriptor, or -errno; without a sentence where waiting may help. */
static int try_connect(const struct wherry__unix_place *place, int type, const struct wherry__allow *allow,
                       struct wherry__credentials *ret_credentials, bool *ret_known)
{
    int result = check_target(place, type, allow);
    if (result < 0)
        return result;
    struct address address;
    result = address_init(&address, place);
    if (result < 0)
        return result;
    int fd = new_socket(type, false);
    if (fd < 0) {
        address_fini(&address);
        return fd;
    }
    wherry__credentials_ask(fd); /* before connecting, so that no first message comes without */
    result = wherry__sys.connect(fd, (struct sockaddr *)&address.address, address.size) == 0 ? 0 : -errno;
    address_fini(&address);
    if (result == 0 && type != SOCK_DGRAM)
        result = check_peer(place, fd, allow, ret_credentials, ret_known);
    if (result < 0) {
        wherry__fd_close(&fd);
        return result;
    }
    return fd;
}

int wherry__unix_connect(const struct wherry__unix_place *place, int type, const struct wherry__allow *allow,
                         wherry_time deadline, struct wherry__credentials *ret_credentials, bool *ret_known)
{
    struct wherry__steps steps = {0};
    *ret_known = false;
    int result = wherry__unix_check(place);
    if (result < 0)
        return result;
    for (;;) {
        result = try_connect(place, type, allow, ret_credentials, ret_known);
        if (result >= 0 || result == -EPERM || result == -ENOTSOCK || result == -EMFILE || result == -ENFILE)
            return result;
        if (result == -EPROTOTYPE)
            return wherry__fail(EPROTOTYPE, "%s: the socket there is of another type (stream, seqpacket, dgram)",
                                place->name);
        /* not there yet; nobody behind it (yet); the backlog is full */
        if (result != -ENOENT && result != -ECONNREFUSED && result != -EAGAIN)
            return wherry__fail_errno(-result, "%s: could not be connected to", place->name);
        if (wherry__deadline_passed(deadline))
            return wherry__fail(wherry__deadline_code(deadline), "%s: %s", place->name,
                                result == -EAGAIN ? "the server does not accept: its backlog is full"
                                                  : "nobody listens there; start the other side");
        wherry__steps_sleep(&steps, deadline);
    }
}

int wherry__unix_autobind(int fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (wherry__sys.bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) == 0)
        return 0;
    return wherry__fail_errno(errno, "%s: no name to be answered at", name);
}

int wherry__unix_pair(int ret_fds[2], int type, bool inheritable)
{
    wherry__fd_guard();
    int result = wherry__sys.socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) == 0 ? 0 : -errno;
    for (int i = 0; result == 0 && !inheritable && i < 2; i++)
        ret_fds[i] = wherry__fd_note(ret_fds[i]);
    wherry__fd_unguard();
    if (result < 0)
        return wherry__fail_errno(-result, "a socket pair could not be made");
    for (int i = 0; i < 2; i++)
        wherry__credentials_ask(ret_fds[i]);
    return 0;
}
