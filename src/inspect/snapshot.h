/* inspect/snapshot.h - a snapshot while it is taken, and what a collector is.
 *
 * SPDX-License-Identifier: MIT
 *
 * The order of things (wherry_inspect_take() in snapshot.c):
 *
 *   1. each collector's list(): what the kernel lists without looking at processes (/proc/locks, /proc/sysvipc,
 * /dev/shm)   2. the walk (walk.c): each process once; its descriptors and its shared mappings go to the collectors
 * that claim them
 *   3. each collector's join(): what can be known only now (peers of sockets, objects nobody was found to hold)
 *   4. state.c: live, orphan or unknown
 *
 * All memory is the snapshot's: an arena that is given back as one; so nothing is freed in between, and pointers stay.
 * A function that returns NULL or -ENOMEM for want of memory has set no sentence; wherry_inspect_take() does. */
#ifndef WHERRY_INSPECT_SNAPSHOT_H
#define WHERRY_INSPECT_SNAPSHOT_H

#include <limits.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/inspect.h>

#include "inspect/prove.h"

struct snapshot;
struct arena_block;

/* ---- objects, processes, holds, links ---- */

/* What an object is found by.  Two spaces never share keys. */
enum space {
    SPACE_FILE,    /* device, inode: files of all kinds, memfds, FIFOs */
    SPACE_PIPE,    /* inode */
    SPACE_SOCKET,  /* inode */
    SPACE_SYSV,    /* IPC namespace, id << 8 | kind */
    SPACE_EVENTFD, /* the kernel's number of it */
    SPACE_OPEN_FILE, /* one without a number of its own: by who was first seen to have it, pid << 32 | fd */
    SPACES
};

struct object {
    struct wherry_inspect_object public; /* first: an object is a public one */
    struct snapshot *snapshot;
    enum space space;
    uint64_t a, b;
    struct object *same_slot; /* of the hash table */
    struct hold *holds;       /* latest first until they are sorted; then NULL */
    struct hold **sorted;
    struct link_list *links;
    struct wherry_inspect_link **sorted_links;
    size_t link_count;
    const char *path;         /* of its file in the caller's mount name space, for a proof that nobody holds it; NULL */
    bool drop;                /* not to be shown: a file that was only looked at */
    void *data;               /* its collector's */
};

struct process {
    struct wherry_inspect_process public; /* first */
    struct snapshot *snapshot;
    struct hold *holds;
    struct hold **sorted;
    uint64_t mount_space;
    pid_t table; /* the thread by which its descriptors are seen: the first, unless that has ended */
    unsigned threads;
};

struct hold {
    struct wherry_inspect_hold public; /* first */
    uint64_t end_offset; /* of mappings: where in the file the mapping ends */
    struct hold *next_of_object, *next_of_process;
};

struct snapshot {
    struct wherry_inspect_options options;
    struct arena_block *arena;
    struct {
        struct object **list, **table;
        size_t count, room, slots;
    } objects;
    struct {
        struct process **list;
        size_t count, room;
    } processes;
    struct {
        struct wherry_inspect_link **list;
        size_t count, room;
    } links;
    struct wherry_inspect_hidden hidden[24];
    size_t hidden_count;
    struct mount_space *mounts; /* mounts.c */
    struct candidate *candidates;
    struct lock_table *locks; /* lock.c */
    char terminal[16][32]; /* links to character devices that were met: "/dev/null" */
    unsigned terminals;
    dev_t file_device;          /* of options.file */
    uint64_t file_inode;
    const char *file_path;      /* of options.file on a remote file system: known by its name until somebody has it */
    mode_t file_mode;
    uint64_t net_space, ipc_space, pid_space, mount_space; /* of the caller */
    bool blind; /* /proc leaves processes out */
    unsigned name_searches; /* so far: each reads a directory */
    uint64_t in_flight;         /* descriptors on their way in messages between processes */
    bool shm_listed;            /* shm.c */
    struct ipc_space *ipc_spaces; /* ipc.c */
    struct wait *waits;         /* waits.c */
    bool failed;                /* no memory, somewhere */
    void *data[WHERRY_INSPECT_KINDS]; /* each collector's own, out of the arena */
};

/* Memory of the snapshot, zeroed; NULL when there is none, and snapshot->failed. */
void *wherry__inspect_memory(struct snapshot *snapshot, size_t size);
/* A text in it, printf-like; "" when there is no memory. */
const char *wherry__inspect_text(struct snapshot *snapshot, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The object of that key; made when there is none yet, with `kind` and without a name (the caller gives it one when it
 * is ""): then *ret_new, which may be NULL.  NULL: no memory. */
struct object *wherry__inspect_object(struct snapshot *snapshot, enum wherry_inspect_kind kind, enum space space,
                                      uint64_t a, uint64_t b, bool *ret_new);
/* The same, if it is there. */
struct object *wherry__inspect_known(const struct snapshot *snapshot, enum space space, uint64_t a, uint64_t b);

/* A hold, with how, fd -1, and the rest zero, for the caller to fill in.  NULL: no memory. */
struct wherry_inspect_hold *wherry__inspect_hold(struct object *object, struct process *process,
                                                 enum wherry_inspect_how how);
/* `detail` is kept as it is.  PEER links are made once, and show from both sides. */
void wherry__inspect_link(struct object *from, struct object *to, enum wherry_inspect_link_kind kind,
                          const char *detail);

/* Count `count` more of what was hidden; `what` and `why` are constants, told apart by `what`. */
void wherry__inspect_hide(struct snapshot *snapshot, const char *what, const char *why, uint64_t count);

/* Something of /proc could not be read: counted as hidden, unless `code` says that it is gone. */
void wherry__inspect_missed(struct snapshot *snapshot, int code);
/* Whether it failed for want of descriptors or memory: that is counted as missed, since no permission would help. */
bool wherry__inspect_starved(struct snapshot *snapshot, int code);

/* The process of that pid once the walk is over; NULL. */
struct process *wherry__inspect_find_process(const struct snapshot *snapshot, pid_t pid);

/* Whether that kind is wanted. */
static inline bool wherry__inspect_wants(const struct snapshot *snapshot, enum wherry_inspect_kind kind)
{
    return !snapshot->options.kinds || snapshot->options.kinds >> kind & 1;
}

/* ---- one open descriptor, during the walk ---- */

struct visit {
    struct snapshot *snapshot;
    struct process *process;
    pid_t thread;      /* 0: the process's own table of descriptors */
    int fd;            /* its number there */
    int directory;     /* of /proc/PID/fd */
    char number[12];   /* "4", to be opened in there */
    char link[4200];   /* where the link leads, as the kernel prints it */
    bool refused;      /* a link of it could not be read: all are hidden then */
    bool remote;       /* in a mount name space with remote file systems: look at `info` before the file is touched */
    /* read when asked for */
    bool has_status, has_access, has_info;
    struct statx status;
    unsigned access;   /* 4: reads, 2: writes */
    char info[4096];   /* of fdinfo, as far as it fits */
};

/* statx(2) of the file behind it, without asking a network file system.  False: it is gone, or it must not be asked. */
bool wherry__visit_status(struct visit *visit);
/* Whether it reads and writes. */
unsigned wherry__visit_access(struct visit *visit);
/* The text of /proc/PID/fdinfo/N; "" when it is gone. */
const char *wherry__visit_info(struct visit *visit);
/* The number behind "key:" at the beginning of a line there; false: none. */
bool wherry__visit_number(struct visit *visit, const char *key, int base, uint64_t *ret_number);
/* All of it, when it does not fit `info` (an epoll set of thousands): in the snapshot's memory; "". */
const char *wherry__visit_whole_info(struct visit *visit);
/* A hold of `object` by this descriptor. */
struct wherry_inspect_hold *wherry__visit_hold(struct visit *visit, struct object *object);

/* One of a file that may turn out to be of interest later (a process seen later maps it): kept until step 3. */
struct candidate {
    struct candidate *next;
    struct process *process;
    pid_t thread;
    int fd;
    dev_t device;
    uint64_t inode;
    bool remote; /* it was not asked for its status */
};

/* ---- one mapping, during the walk ---- */

struct mapping {
    struct snapshot *snapshot;
    struct process *process;
    int directory; /* of /proc/PID, or of a thread of it */
    uint64_t start, end, offset;
    bool reads, writes, shared;
    dev_t device;
    uint64_t inode;
    const char *path; /* as /proc/PID/maps has it, " (deleted)" cut off; "" for none */
    bool deleted;
};

struct wherry_inspect_hold *wherry__mapping_hold(struct mapping *mapping, struct object *object,
                                                 enum wherry_inspect_how how);
/* statx(2) of the mapped file, which needs CAP_CHECKPOINT_RESTORE; no network file system is asked. */
bool wherry__mapping_status(struct mapping *mapping, struct statx *ret_status);

/* ---- a collector: one kind of object, one file ---- */

struct collector {
    const char *name, *summary;
    /* Step 1.  0, or -ENOMEM, -EMFILE; what cannot be read for other reasons is counted as hidden. */
    int (*list)(struct snapshot *snapshot);
    /* Step 2.  The link of a descriptor begins with this: it is this kind's ("pipe:["); NULL. */
    const char *link;
    void (*descriptor)(struct visit *visit);
    /* Step 2.  Whether this file of the file system is this kind's; then descriptor() gets it, with its status known.
     * */
    bool (*file)(struct visit *visit);
    /* Step 2.  A shared mapping (or any of the file of options.file); true: it was this kind's. */
    bool (*mapped)(struct mapping *mapping);
    /* Step 3. */
    int (*join)(struct snapshot *snapshot);
    /* Step 4, for kinds whose holders the kernel does not know: sets state and reason.  NULL: by the holds. */
    void (*state)(struct object *object);
};

/* By kind; the entries are in the kinds' own files, the table in collectors.c.  Files are offered in the table's order.
 * */
extern const struct collector *const wherry__collectors[WHERRY_INSPECT_KINDS];

/* ---- walk.c, maps.c, mounts.c, state.c, other_end.c ---- */

int wherry__inspect_walk(struct snapshot *snapshot);
/* In which call a thread waits: /proc/PID/task/TID/syscall. */
void wherry__inspect_wait_of(struct snapshot *snapshot, struct process *process, pid_t thread, int task_directory);
/* The mappings of a process, or of a thread of it whose leader has ended.  False: they could not be read. */
bool wherry__inspect_maps(struct snapshot *snapshot, struct process *process, int directory);
/* Whether a mount name space has remote file systems; and of a mount of it: its device, and whether it is remote. */
bool wherry__mounts_remote(struct snapshot *snapshot, uint64_t space, int process_directory);
bool wherry__mounts_find(struct snapshot *snapshot, uint64_t space, int process_directory, int mount,
                         dev_t *ret_device, bool *ret_remote);
/* Whether files of that device may be asked: it is that of a mount which is not remote. */
bool wherry__mounts_local(struct snapshot *snapshot, uint64_t space, int process_directory, dev_t device);
/* Whether a path of the caller's own lies on one: no file of it is asked. */
bool wherry__mounts_path_remote(struct snapshot *snapshot, const char *path);
/* Where a path leads that may be relative and go through symbolic links, as far as can be known without asking one;
 * then *ret_remote.  False: no mount of the caller's is remote, or it cannot be known. */
bool wherry__mounts_resolve(const struct snapshot *snapshot, const char *path, char ret_path[PATH_MAX],
                            bool *ret_remote);
/* Where a file system of that type is mounted in the caller's; NULL. */
const char *wherry__mounts_of_type(struct snapshot *snapshot, const char *type);
/* Whether a path lies in the upper directory of an overlay of any mount name space that was met: processes know its
 * files by the overlay's inodes. */
bool wherry__mounts_overlaid(const struct snapshot *snapshot, const char *path);
void wherry__inspect_states(struct snapshot *snapshot);
/* What the kernel said of an object that nobody was seen to hold: its state and reason, if it said anything. */
void wherry__inspect_settle(struct object *object, enum proof proof);

/* Whether the device that a file shows (STATX_MNT_ID was asked for) is the one that the kernel lists: not on btrfs and
 * overlayfs. */
bool wherry__mounts_plain(const struct snapshot *snapshot, const struct statx *status);

/* ---- find.c ---- */

/* The paths that a name may mean, the likelier first; none when it means no file. */
struct paths {
    size_t count;
    char list[3][PATH_MAX];
};
void wherry__find_paths(const char *name, struct paths *ret_paths);

/* ---- small things ---- */

/* The first PID namespace: nobody is outside of it.  PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h. */
#define INITIAL_PID_SPACE UINT64_C(0xeffffffc)

/* The whole of a small file of /proc into `buffer`, ended by a NUL; its length, or -errno. */
int wherry__proc_read(int directory, const char *path, char *buffer, size_t size);
/* Any file of /proc, however long, in the snapshot's memory; 0 or -errno. */
int wherry__proc_read_all(struct snapshot *snapshot, int directory, const char *path, char **ret_text,
                          size_t *ret_size);
/* The same of one that is open. */
int wherry__proc_read_fd(struct snapshot *snapshot, int fd, char **ret_text, size_t *ret_size);
/* The inode of /proc/PID/ns/NAME; 0: it cannot be read. */
uint64_t wherry__proc_space(int directory, const char *name);

/* st_dev of major and minor as statx(2) and maps tell them. */
static inline dev_t wherry__device(unsigned major, unsigned minor)
{
    return (dev_t)((minor & 0xff) | (major & 0xfff) << 8 | (uint64_t)(minor & ~0xffu) << 12 |
                   (uint64_t)(major & ~0xfffu) << 32);
}

static inline bool wherry__begins(const char *text, const char *with)
{
    while (*with)
        if (*text++ != *with++)
            return false;
    return true;
}

#endif
