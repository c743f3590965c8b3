/* inspect/sockets.h - what the collectors of sockets share: the network namespaces, and what their lists say.
 *
 * SPDX-License-Identifier: MIT
 *
 * socket.c owns the link "socket:[" and the order: it has each namespace listed once (nets.c), by unix.c and
 * inet.c, before a descriptor of it is looked at; after the walk unix.c, tcp.c and udp.c join what belongs together. */
#ifndef WHERRY_INSPECT_SOCKETS_H
#define WHERRY_INSPECT_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inspect/snapshot.h"

struct nlmsghdr;
struct nlattr;

/* States of sockets, as the kernel numbers them for all families; include/net/tcp_states.h there. */
enum {
    STATE_ESTABLISHED = 1,
    STATE_SYN_SENT,
    STATE_SYN_RECV,
    STATE_FIN_WAIT1,
    STATE_FIN_WAIT2,
    STATE_TIME_WAIT,
    STATE_CLOSE,
    STATE_CLOSE_WAIT,
    STATE_LAST_ACK,
    STATE_LISTEN,
    STATE_CLOSING,
    STATE_NEW_SYN_RECV,
    STATE_BOUND_INACTIVE,
};

struct address {
    uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d: the two are one to a socket of both */
    uint16_t port;
};

/* What a list says of a socket: the data of its object. */
struct end {
    struct end *next; /* of those of its kind */
    struct end *next_unlisted;
    struct object *object;
    struct net *net; /* NULL: no list showed it */
    uint8_t type;    /* SOCK_STREAM ... */
    uint8_t state;
    bool asked;           /* its queue was looked at for descriptors on their way */
    bool again;           /* the second listing showed it, too */
    struct end *listener; /* of one that nobody has accepted yet */
    union {
        struct {
            bool has_peer;
            uint8_t shutdown;        /* 1: it receives no more, 2: it sends no more */
            uint32_t peer;           /* 0 with has_peer: closed, or not accepted yet */
            uint32_t device, inode;  /* of the file it is bound to, as the kernel numbers devices; inode 0: none */
            uint32_t sent;           /* bytes that its peer has not read */
            uint32_t waiting_count;  /* connections that nobody has accepted yet */
            const uint32_t *waiting; /* by the inodes of who connects; 0: it has closed already */
        } local;
        struct {
            struct address here, there;
            bool v6, v6only;
            struct end *same_slot; /* of a hash table while they are joined */
        } inet;
    };
};

/* One network namespace. */
struct net {
    struct net *next, *same_slot;
    uint64_t space;
    pid_t pid; /* a process that is in it; 0: the caller, or none */
    bool own;
    bool again;    /* listed a second time */
    bool failed;   /* it could not be listed */
    bool starved;  /* for want of descriptors or memory, which was said */
    bool no_peers; /* listed by /proc/net/unix, since sock_diag(7) is missing or out of reach */
};

enum { NET_SLOTS = 256 };

struct sockets {
    struct net *nets, *slots[NET_SLOTS], *latest;
    struct end *local, *tcp, *udp; /* Unix, TCP, UDP */
    size_t local_count, tcp_count, udp_count;
    struct end *unlisted;    /* in no list so far */
    uint64_t nets_failed;    /* namespaces that could not be listed */
    uint64_t local_unlisted; /* Unix sockets that no list showed in the end */
    int64_t began;           /* ns of CLOCK_REALTIME */
    bool again;              /* the second listing: no new objects */
};

static inline struct sockets *wherry__sockets(const struct snapshot *snapshot)
{
    return snapshot->data[WHERRY_INSPECT_SOCKET];
}

/* ---- nets.c ---- */

/* List the sockets of the caller's namespace, or of one that has been met: `path` beneath `directory` leads to it, and
 * `files`, which may be NULL, to the net directory of a process in it.  Once each, and again when that failed and
 * another process is met in it.  `pid` is 0 when none is known. */
void wherry__nets_own(struct snapshot *snapshot);
void wherry__nets_meet(struct snapshot *snapshot, uint64_t space, pid_t pid, int directory, const char *path,
                       const char *files);
/* After the walk: those that no descriptor led to. */
void wherry__nets_rest(struct snapshot *snapshot);
/* Those that other threads of a process are in. */
void wherry__nets_of_threads(struct snapshot *snapshot, const struct process *process);
/* Says how many could not be listed. */
void wherry__nets_count(struct snapshot *snapshot);
/* All of them once more, for what has changed since. */
void wherry__nets_again(struct snapshot *snapshot);

/* ---- diag.c ---- */

/* A netlink socket for sock_diag(7) here, or in another network namespace: a descriptor or -errno. */
int wherry__diag_open(int space);
/* Ask for a list; each entry goes to `each`.  0; -errno when there is no such list, or only a part of it. */
int wherry__diag_list(int fd, const void *request, size_t size,
                      void (*each)(const struct nlmsghdr *answer, void *argument), void *argument);
/* The attributes behind the `head` bytes of an answer, by type up to `most`; NULL where there is none. */
void wherry__diag_attributes(const struct nlmsghdr *answer, size_t head, const struct nlattr **ret_list, unsigned most);

/* ---- the families: all sockets of a namespace, from sock_diag or from the files in /proc/PID/net; 0 or -errno ---- */

int wherry__unix_list(struct snapshot *snapshot, struct net *net, int diag);
int wherry__unix_list_proc(struct snapshot *snapshot, struct net *net, int directory);
int wherry__inet_list(struct snapshot *snapshot, struct net *net, int diag);
int wherry__inet_list_proc(struct snapshot *snapshot, struct net *net, int directory);

/* The end of that inode, with what is the same for all; a list fills in the rest.  NULL: it came after the first
 * listing and is nobody's, or no memory. */
struct end *wherry__end(struct snapshot *snapshot, struct net *net, enum wherry_inspect_kind kind, uint64_t inode,
                        uint64_t cookie);

/* Whether descriptors may lie in its queue, which only its fdinfo tells for certain. */
bool wherry__unix_may_carry(const struct end *end);
/* Whether a socket is bound to that file, as far as the kernel tells. */
bool wherry__unix_bound_to(const struct object *object, const struct statx *status);
/* Whether that socket's file lies where only wherry makes some: the door of a shared ring, or a bell. */
bool wherry__unix_is_door(const struct object *object);

void wherry__unix_join(struct snapshot *snapshot);
void wherry__unix_files(struct snapshot *snapshot);
void wherry__tcp_join(struct snapshot *snapshot);
void wherry__udp_join(struct snapshot *snapshot);

/* Step 4 of a socket that a list showed and nobody was found to hold. */
void wherry__end_state(struct object *object);

#endif
