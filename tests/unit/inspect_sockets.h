/* tests/unit/inspect_sockets.h - what the tests of sockets in a snapshot share: taking one, and what is looked up in
 * it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_INSPECT_SOCKETS_H
#define WHERRY_TESTS_INSPECT_SOCKETS_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <wherry/inspect.h>

#include "base/sys.h"
#include "harness.h"
#include "inspect/snapshot.h"

static inline struct wherry_inspect *take(void)
{
    struct wherry_inspect *snapshot;
    test_ok(wherry_inspect_take(NULL, &snapshot));
    return snapshot;
}

static inline uint64_t inode_of(int fd)
{
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    return status.st_ino;
}

/* The socket of that inode; fails the test unless it is there just once. */
static inline const struct wherry_inspect_object *object_of(const struct wherry_inspect *snapshot, uint64_t inode)
{
    const struct wherry_inspect_object *object, *found = NULL;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (object->inode == inode && object->kind >= WHERRY_INSPECT_UNIX && object->kind <= WHERRY_INSPECT_SOCKET &&
            object->device == 0) {
            ck_assert_msg(found == NULL, "socket %llu is there twice", (unsigned long long)inode);
            found = object;
        }
    ck_assert_msg(found != NULL, "socket %llu is not there", (unsigned long long)inode);
    return found;
}

/* Whether one of the given kind joins the two, either way. */
static inline const struct wherry_inspect_link *link_of(const struct wherry_inspect_object *a,
                                                        const struct wherry_inspect_object *b,
                                                        enum wherry_inspect_link_kind kind)
{
    const struct wherry_inspect_link *link, *found = NULL;
    for (size_t i = 0; (link = wherry_inspect_link_of(a, i)); i++)
        if (link->kind == kind && ((link->from == a && link->to == b) || (link->from == b && link->to == a))) {
            ck_assert_msg(found == NULL, "%s and %s are linked twice", a->name, b->name);
            found = link;
        }
    return found;
}

static inline size_t links_of(const struct wherry_inspect_object *object)
{
    size_t count = 0;
    while (wherry_inspect_link_of(object, count))
        count++;
    return count;
}

/* Fails the test unless just this process holds it, by this descriptor. */
static inline void held_by(const struct wherry_inspect_object *object, pid_t pid, int fd)
{
    const struct wherry_inspect_hold *hold = wherry_inspect_hold_of(object, 0);
    ck_assert_msg(object->holds == 1, "%s has %zu holds", object->name, object->holds);
    ck_assert_int_eq(hold->process->pid, pid);
    ck_assert_int_eq(hold->fd, fd);
    ck_assert(hold->reads && hold->writes);
    ck_assert_int_eq(object->state, WHERRY_INSPECT_LIVE);
}

static inline struct sockaddr_un address_of(const char *name, socklen_t *ret_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path, name, length);
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] != '@'));
    if (name[0] == '@')
        address.sun_path[0] = 0;
    return address;
}

static inline int unix_socket(int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* "@name" is abstract. */
static inline int unix_bound(int type, const char *name)
{
    socklen_t size;
    struct sockaddr_un address = address_of(name, &size);
    int fd = unix_socket(type);
    ck_assert_msg(bind(fd, (struct sockaddr *)&address, size) == 0, "%s: %s", name, strerror(errno));
    return fd;
}

static inline int unix_listening(int type, const char *name, int backlog)
{
    int fd = unix_bound(type, name);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static inline void unix_connect(int fd, const char *name)
{
    socklen_t size;
    struct sockaddr_un address = address_of(name, &size);
    ck_assert_msg(connect(fd, (struct sockaddr *)&address, size) == 0, "%s: %s", name, strerror(errno));
}

static inline int unix_connected(int type, const char *name)
{
    int fd = unix_socket(type);
    unix_connect(fd, name);
    return fd;
}

/* ---- a host where all may be seen ---- */

static int (*real_openat)(int directory, const char *path, int flags, mode_t mode);
static char hidden_pids[64][12];
static size_t hidden_count;

/* As if those processes were not there. */
static inline int openat_without(int directory, const char *path, int flags, mode_t mode)
{
    for (size_t i = 0; i < hidden_count; i++)
        if (strcmp(path, hidden_pids[i]) == 0) {
            errno = ENOENT;
            return -1;
        }
    return real_openat(directory, path, flags, mode);
}

/* Leave out those processes of this host that nobody may look at, so that there is no other reason for doubt. */
static inline void leave_out_hidden(void)
{
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_process *process;
    for (size_t i = 0; (process = wherry_inspect_process(snapshot, i)); i++)
        if (process->hidden && hidden_count < 64)
            snprintf(hidden_pids[hidden_count++], sizeof hidden_pids[0], "%d", (int)process->pid);
    wherry_inspect_free(snapshot);
    real_openat = wherry__sys.openat;
    wherry__sys.openat = openat_without;
}

/* Whether it has nothing to doubt that it saw all there is, but for what is on its way in messages. */
static inline bool sees_all(const struct wherry_inspect *given)
{
    const struct snapshot *snapshot = (const void *)given;
    return !snapshot->hidden_count && snapshot->pid_space == 0xeffffffc;
}

#define is_text(text_, expected_) ck_assert_str_eq((text_), (expected_))
#define has_flags(object_, expected_)                                                                                  \
    ck_assert_msg(((object_)->flags & (WHERRY_INSPECT_LISTENING | WHERRY_INSPECT_CONNECTED | WHERRY_INSPECT_PENDING |  \
                                       WHERRY_INSPECT_ELSEWHERE)) == (expected_),                                      \
                  "%s has flags %llx", (object_)->name, (unsigned long long)(object_)->flags)

#endif
