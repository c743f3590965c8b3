/* wherry/inspect.h - what IPC objects exist on this host, who holds them, and who is at the other end.
 *
 * SPDX-License-Identifier: MIT
 *
 * A snapshot is taken once, from /proc, the kernel's socket lists (sock_diag(7)) and the calls that list System V
 * objects, and then only read.  It holds objects, processes, and the holds that join the two: a descriptor, a mapping,
 * a lock, a wait.  Objects are told apart by device and inode (or by what else the kernel numbers them by), never by
 * name.  A process that ends while the snapshot is taken is left out or kept half seen; that is no error.  What
 * permissions or namespaces hid is counted, with the reason, and no object is called an orphan that somebody unseen
 * might hold.
 *
 * Taking one opens nothing for writing, changes no access time that it can leave alone, stops at no FIFO and asks no
 * network file system.  It sends no signal, starts no thread, and changes nothing of the calling process; for sockets
 * of other network namespaces a short-lived child, which shares this process's memory and runs a few instructions,
 * opens a socket there.
 *
 * All texts come from other processes or from files: escape them before they reach a terminal.  They and all pointers
 * belong to the snapshot.  Link with libwherry-inspect, which needs libmnl.
 *
 * Threads: a snapshot may be read by any number of threads at once.  Fork: a child may read and free its copy.
 * Signals: not async-signal-safe.  wherry_inspect(3), proc(5), sock_diag(7). */
#ifndef WHERRY_INSPECT_H
#define WHERRY_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>
#include <wherry/lock.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what there is ---------------------------------------------------------------------------------------------- */

enum wherry_inspect_kind {
    WHERRY_INSPECT_POSIX_SHM, /* a file of /dev/shm that is none of the next two; shm_open(3) */
    WHERRY_INSPECT_POSIX_SEM, /* sem_open(3) */
    WHERRY_INSPECT_RING,      /* what shm://NAME opens */
    WHERRY_INSPECT_POSIX_MQ,  /* mq_open(3) */
    WHERRY_INSPECT_SYSV_SHM,  /* shmget(2) */
    WHERRY_INSPECT_SYSV_SEM,  /* semget(2) */
    WHERRY_INSPECT_SYSV_MSG,  /* msgget(2) */
    WHERRY_INSPECT_MEMFD,     /* memfd_create(2) */
    WHERRY_INSPECT_ANONYMOUS, /* MAP_SHARED | MAP_ANONYMOUS, between a process and its children; mmap(2) */
    WHERRY_INSPECT_FILE,      /* a file that is mapped shared, or has locks or leases on it */
    WHERRY_INSPECT_PIPE,      /* pipe(2) */
    WHERRY_INSPECT_FIFO,      /* mkfifo(3), while it is open */
    WHERRY_INSPECT_UNIX,      /* one end of a Unix socket; a socket file that nobody is bound to */
    WHERRY_INSPECT_TCP,       /* one end of a TCP connection, or a listening socket */
    WHERRY_INSPECT_UDP,       /* a UDP socket */
    WHERRY_INSPECT_SOCKET,    /* a socket of another family: netlink, raw, packet, vsock */
    WHERRY_INSPECT_EVENTFD,   /* eventfd(2) */
    WHERRY_INSPECT_SIGNALFD,  /* signalfd(2) */
    WHERRY_INSPECT_TIMERFD,   /* timerfd_create(2) */
    WHERRY_INSPECT_PIDFD,     /* pidfd_open(2) */
    WHERRY_INSPECT_EPOLL,     /* epoll(7) */
    WHERRY_INSPECT_KINDS
};

/* "posix-shm", and one line of what it is; NULL for what is no kind. */
WHERRY_API const char *wherry_inspect_kind_name(enum wherry_inspect_kind kind);
WHERRY_API const char *wherry_inspect_kind_summary(enum wherry_inspect_kind kind);

enum wherry_inspect_state {
    WHERRY_INSPECT_LIVE,    /* a process holds it */
    WHERRY_INSPECT_ORPHAN,  /* nobody does, and nobody who does can have been overlooked */
    WHERRY_INSPECT_UNKNOWN, /* neither can be known; `reason` says why */
};

/* Bits of `flags` of an object. */
#define WHERRY_INSPECT_DELETED UINT64_C(1)         /* its name is gone (unlinked, or removed with IPC_RMID) */
#define WHERRY_INSPECT_LISTENING UINT64_C(2)       /* a socket that accepts */
#define WHERRY_INSPECT_CONNECTED UINT64_C(4)       /* a socket that has a peer */
#define WHERRY_INSPECT_PENDING UINT64_C(8)         /* a connection that nobody has accepted yet: it has no descriptor */
#define WHERRY_INSPECT_OWNER_DEAD UINT64_C(16) /* wherry's own record of its owner, and the kernel says it is dead */
#define WHERRY_INSPECT_ELSEWHERE UINT64_C(32)      /* in another network or IPC namespace than the caller's */
/* The kernel knows all who hold it; without this (System V queues and semaphores) use leaves no trace between calls. */
#define WHERRY_INSPECT_TRACKED UINT64_C(64)
/* System V queues and semaphores: all whom the kernel noted as their last users have ended, or it noted nobody; others
 * may use it all the same. */
#define WHERRY_INSPECT_USERS_GONE UINT64_C(128)
/* It has a lock whose holder was not found; `detail` has the kernel's line of it. */
#define WHERRY_INSPECT_LOCK_UNSEEN UINT64_C(65536)

struct wherry_inspect_object {
    enum wherry_inspect_kind kind;
    enum wherry_inspect_state state;
    const char *name;   /* "posix-shm:/name", "sysv-msg:0x4d2", "pipe:[4711]", "unix:@name", "unix:[4711]", "/a/file":
                           what wherry show takes */
    const char *reason; /* of the state, for a person; never NULL */
    const char *detail; /* what else its kind has to say: "stream, listening, 2 of 128 wait"; "" for nothing */
    uint64_t flags;
    dev_t device;       /* 0: it has none, or none that is known */
    uint64_t inode;     /* of files, pipes and sockets; else 0 */
    uint64_t id;        /* of System V objects, and the kernel's number of eventfds; else 0 */
    int32_t key;        /* of System V objects, a key_t */
    uint64_t space;     /* inode of its network or IPC namespace; 0 where it has none */
    uid_t uid;
    gid_t gid;          /* (uid_t)-1, (gid_t)-1: not known */
    mode_t mode;        /* 07777 of it */
    int64_t size;       /* bytes of memory or capacity; -1: not known, or none */
    int64_t used;       /* bytes in it now; -1 */
    int64_t messages;   /* in it now; of semaphores the value; of what listens, connections that wait; -1 */
    int64_t limit;      /* messages it takes, or connections that may wait; -1 */
    int64_t since;      /* when it was made or last changed, ns of CLOCK_REALTIME; 0: not known */
    size_t holds;       /* how many there are; wherry_inspect_hold_of() */
};

struct wherry_inspect_process {
    pid_t pid;
    pid_t parent;
    uint64_t start;       /* clock ticks since boot: with the pid it names one process; proc_pid_stat(5) */
    uid_t uid;            /* its effective one */
    const char *command;  /* comm: 15 bytes */
    const char *arguments; /* the command line, blanks between; "" without WHERRY_INSPECT_ARGUMENTS, or none */
    uint64_t pid_space, net_space, ipc_space; /* inodes of its namespaces; 0: hidden */
    bool hidden;          /* its descriptors or mappings could not be read */
    unsigned threads;     /* how many it has */
    size_t holds;         /* how many there are; wherry_inspect_hold_by() */
};

/* How a process holds an object. */
enum wherry_inspect_how {
    WHERRY_INSPECT_OPEN,     /* by descriptor `fd`; -1: as its current or root directory, says `detail` */
    WHERRY_INSPECT_MAPPED,   /* at `start`, `length` bytes */
    WHERRY_INSPECT_ATTACHED, /* likewise; shmat(2) */
    WHERRY_INSPECT_LOCKED,   /* bytes `start` to `start + length` (0: to the end) */
    WHERRY_INSPECT_WAITING,  /* for such a lock, or in a call on the object: `detail` says which */
};

struct wherry_inspect_hold {
    const struct wherry_inspect_object *object;
    const struct wherry_inspect_process *process;
    enum wherry_inspect_how how;
    int fd;           /* -1: by no descriptor */
    pid_t thread;     /* 0: the process; else the thread whose own descriptors, or whose wait, it is */
    bool reads, writes;
    enum wherry_lock_kind lock; /* of locks */
    bool exclusive;             /* of locks */
    bool lease;                 /* a lease, not a lock; fcntl(2), F_SETLEASE */
    uint64_t start, length;
    const char *detail; /* what the kernel shows of it, as evidence: "fd 4", "semop", "flock" */
};

/* One object that leads to another: the two ends of a socket, an epoll set and what it watches. */
enum wherry_inspect_link_kind {
    WHERRY_INSPECT_PEER,    /* both ways */
    WHERRY_INSPECT_WATCHES, /* from the epoll set to what it watches, or from a pidfd's holder's pidfd */
    WHERRY_INSPECT_QUEUED,  /* from a connection that nobody has accepted yet to the socket that listens */
};

struct wherry_inspect_link {
    enum wherry_inspect_link_kind kind;
    const struct wherry_inspect_object *from, *to;
    const char *detail; /* evidence: "sock_diag", "127.0.0.1:80 and 127.0.0.1:4711" */
};

/* What was hidden, and why. */
struct wherry_inspect_hidden {
    const char *what; /* "the descriptors of processes of other users" */
    const char *why;  /* what to do to see them */
    uint64_t count;   /* 0: nobody can tell how many */
};

/* ---- taking one ------------------------------------------------------------------------------------------------- */

#define WHERRY_INSPECT_ARGUMENTS 1u /* read command lines */
/* Read in which call each thread waits, where there are System V objects: a read for each thread of the host. */
#define WHERRY_INSPECT_WAITERS 2u

/* Let the kernel say whether anybody, seen or not, holds the files and socket files that nobody seen holds: each is
 * opened for reading, or connected to, for a moment. */
#define WHERRY_INSPECT_PROVE 4u

struct wherry_inspect_options {
    size_t size;
    unsigned flags;
    uint64_t kinds; /* bits 1 << kind; 0: all.  Others may be there when they come for nothing. */
    const char *file; /* also this file, whoever has it open or mapped, in whatever way; NULL.  It is not opened. */
};
#define WHERRY_INSPECT_OPTIONS                                                                                         \
    {                                                                                                                  \
        .size = sizeof(struct wherry_inspect_options)                                                                  \
    }

struct wherry_inspect;

/* Take a snapshot; `options` may be NULL.  To be freed with wherry_inspect_free().
 * Returns 0; -EINVAL (options), -ENOENT (no such file), -ENOSYS (no /proc), -ENOMEM, -EMFILE, -ENFILE. */
WHERRY_API int wherry_inspect_take(const struct wherry_inspect_options *options, struct wherry_inspect **ret_snapshot);
WHERRY_API void wherry_inspect_free(struct wherry_inspect *snapshot);

/* ---- removing what was left behind
 * -------------------------------------------------------------------------------- */

#define WHERRY_INSPECT_REMOVE_UNTRACKED 1u /* also System V queues and sets of which the kernel says only that those
                                              who used them last have ended: somebody may use them all the same */

/* Remove an object that nobody holds: a file of /dev/shm, a ring, a POSIX queue, a System V object, or a socket's file
 * that no socket is bound to.  It is looked at again just before: by the kernel's own counts, where it has some, and
 * else by a look at all processes.  With the kernel's lease on it a file is put aside under another name first, so
 * that nobody comes meanwhile, and back when somebody has it or it is another one; who opens it in the very moment
 * waits.  Where there are no leases it stays.  What the snapshot says stays as it is.
 *
 * Returns 0; -EBUSY, somebody holds it; -ESTALE, it changed since the snapshot was taken; -ENOENT, it is gone, or its
 * name is; -EPERM, another user's, or it cannot be proved that nobody holds it; -EEXIST, it could not be put back, as
 * its name is another's by now (the sentence says where it is); -EXDEV, it is in another IPC namespace; -EOPNOTSUPP, of
 * a kind that ends with those who hold it; -EINVAL (flags), -ENOMEM, and what else the kernel says.
 * Not async-signal-safe; any thread. */
WHERRY_API int wherry_inspect_remove(const struct wherry_inspect *snapshot, const struct wherry_inspect_object *object,
                                     unsigned flags);

/* ---- reading it: each of these gives NULL beyond the last -------------------------------------------------------- */

/* By kind, then by name. */
WHERRY_API const struct wherry_inspect_object *wherry_inspect_object(const struct wherry_inspect *snapshot,
                                                                     size_t index);
/* By pid. */
WHERRY_API const struct wherry_inspect_process *wherry_inspect_process(const struct wherry_inspect *snapshot,
                                                                       size_t index);
WHERRY_API const struct wherry_inspect_process *wherry_inspect_process_of(const struct wherry_inspect *snapshot,
                                                                          pid_t pid);
/* The holds of an object by pid and fd, and those of a process by fd. */
WHERRY_API const struct wherry_inspect_hold *wherry_inspect_hold_of(const struct wherry_inspect_object *object,
                                                                    size_t index);
WHERRY_API const struct wherry_inspect_hold *wherry_inspect_hold_by(const struct wherry_inspect_process *process,
                                                                    size_t index);
WHERRY_API const struct wherry_inspect_link *wherry_inspect_link(const struct wherry_inspect *snapshot, size_t index);
/* The links from or to an object. */
WHERRY_API const struct wherry_inspect_link *wherry_inspect_link_of(const struct wherry_inspect_object *object,
                                                                    size_t index);
WHERRY_API const struct wherry_inspect_hidden *wherry_inspect_hidden(const struct wherry_inspect *snapshot,
                                                                     size_t index);

/* Who is at the other end of what `hold` holds: for a pipe or a FIFO the holds of its other side, for a socket those of
 * its peer (between who listens and who connected, also before the connection is accepted), for a pidfd none, for
 * everything else all other holds of the same object; never holds by the same descriptor. The index counts them.
 * Costs a walk over the holds of the object. */
WHERRY_API const struct wherry_inspect_hold *wherry_inspect_other_end(const struct wherry_inspect_hold *hold,
                                                                      size_t index);

/* The object of that name: as objects print it, a channel's URL, a path (the file that is there, by device and inode;
 * not opened; by its name when nothing is there), or "[4711]" for the inode of a pipe or a socket.  `index` counts
 * them, since names need not be unique.  NULL: none more; with index 0 wherry_why() says why, or is "" when there just
 * is none.  A host's name may have to be asked for: up to 5 seconds. */
WHERRY_API const struct wherry_inspect_object *wherry_inspect_find(const struct wherry_inspect *snapshot,
                                                                   const char *name, size_t index);

/* ---- limits and settings that will bite ------------------------------------------------------------------------- */

enum wherry_inspect_level {
    WHERRY_INSPECT_FINE,    /* it was looked at, and is no trouble */
    WHERRY_INSPECT_NOTE,    /* good to know: some programs meet it */
    WHERRY_INSPECT_WARNING, /* something fails now, or soon */
};

struct wherry_inspect_finding {
    const char *name;   /* "fs.mqueue.msg_max", "RLIMIT_NOFILE", "/dev/shm" */
    const char *value;  /* as it is: "10", "31000 of 32000" */
    const char *effect; /* what it bounds or causes, for a person */
    const char *remedy; /* a command, or what else to do; "" for nothing */
    enum wherry_inspect_level level;
};

struct wherry_inspect_findings;

/* Look at what this host and this process have set, beside what they use of it: for the calling process, its IPC,
 * network and PID namespaces, its control group.  Reads files of /proc, /sys and /etc, and asks sock_diag(7), for which
 * the kernel may load modules; writes nothing, waits for nothing.  What cannot be read is left out.  To be freed with
 * wherry_inspect_findings_free(), which takes NULL.
 * Returns 0; -ENOMEM. */
WHERRY_API int wherry_inspect_check(struct wherry_inspect_findings **ret_findings);
WHERRY_API void wherry_inspect_findings_free(struct wherry_inspect_findings *findings);

/* In an order of subjects; NULL beyond the last. */
WHERRY_API const struct wherry_inspect_finding *wherry_inspect_finding(const struct wherry_inspect_findings *found,
                                                                       size_t index);

#ifdef __cplusplus
}
#endif
#endif
