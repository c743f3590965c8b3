/* socket/unix.h - Unix sockets, with their traps closed.  unix(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_UNIX_H
#define WHERRY_SOCKET_UNIX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <wherry/base.h>

#include "socket/allow.h"
#include "socket/credentials.h"

/* Where a Unix socket is: a path of any length, or a name in the abstract namespace ("@name"). */
struct wherry__unix_place {
    const char *text;  /* path, or "@name" */
    const char *name;  /* the URL, for sentences */
    /* Of a listener in a directory of one's own that must be whole from the moment it has its name: */
    const char *first; /* what it is bound to, and renamed from once it listens; NULL: to `text` */
    const char *claim; /* the file to lock; NULL: "<text>.lock" */
    uid_t guest;       /* with `first`: who may connect beside owner and root, where there are access control lists */
};

/* A socket that listens (or, for datagrams, receives) at a place, and what it made there. */
struct wherry__unix_listener {
    int fd;
    int claim_fd;         /* the claim, locked for as long as we are the one who listens; -1 for abstract names */
    struct stat identity; /* of the socket's name */
    struct stat claim_identity;
    bool bound;           /* the name is ours to remove */
};

/* Whether `text` can be a place at all: 0, -EINVAL or -ENAMETOOLONG. */
int wherry__unix_check(const struct wherry__unix_place *place);

/* Take the place and listen.  A socket left by a dead process is replaced; a live one is -EADDRINUSE, with its pid in
 * the sentence; anything that is no socket is -ENOTSOCK and stays. `type` is SOCK_STREAM, SOCK_SEQPACKET or
 * SOCK_DGRAM. */
int wherry__unix_listen(struct wherry__unix_listener *listener, const struct wherry__unix_place *place, int type,
                        uint32_t mode, uint32_t backlog, bool inheritable);

/* Give the place up.  `own`: this process took it: the names go, if they still lead to what we made. */
void wherry__unix_unlisten(struct wherry__unix_listener *listener, const struct wherry__unix_place *place, bool own,
                           uint64_t born, bool inheritable);

/* What a dead process left at a place whose listeners have `first`: removed, under the claim.  Nothing where one
 * lives. */
void wherry__unix_clear(const struct wherry__unix_place *place);

/* A file to lock, made with mode 0600 if it is not there, whatever the umask.  Descriptor, noted unless it is to be
 * inherited, or -errno without a sentence. */
int wherry__unix_open_lock(const char *path, bool inheritable);

/* Connect, waiting until `deadline` for somebody to listen and to have room in the backlog.  The uid at the other end
 * is checked, where the kernel knows it; datagram sockets have none: there the file's owner is, and an abstract name is
 * refused unless any uid may.  Returns the descriptor, noted, or -errno. */
int wherry__unix_connect(const struct wherry__unix_place *place, int type, const struct wherry__allow *allow,
                         wherry_time deadline, struct wherry__credentials *ret_credentials, bool *ret_known);

/* Give a connecting datagram socket a name of its own, so that it can be answered (unix(7), autobind). */
int wherry__unix_autobind(int fd, const char *name);

/* socketpair(2) likewise, SO_PASSCRED set. */
int wherry__unix_pair(int ret_fds[2], int type, bool inheritable);

#endif
