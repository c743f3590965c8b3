/* map.h - the host as a graph: processes, joined by what they share, each tie with its evidence.
 *
 * SPDX-License-Identifier: MIT
 *
 * A node is a process, or a hub: an object that more than MAP_HUB processes hold, which is joined to each of them so
 * that they need not all be joined to each other.  So is the end of a socket that more hold, where several hold either
 * and more than MAP_HUB both.  Who is at the other end of a hub's socket is joined to the hub.  A tie is one object (or
 * the two ends of a socket) that joins two.
 * Objects of only one process are no part of it, nor are files that nobody locks and nobody can write: a program's data
 * files, mapped by everybody, carry nothing from one to the other. */
#ifndef WHERRY_TOOL_MAP_H
#define WHERRY_TOOL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/inspect.h>

#include "output.h"

enum { MAP_HUB = 12 };

enum map_relation {
    MAP_FLOW,    /* a pipe, a FIFO, a queue: who writes to who reads */
    MAP_PEER,    /* the two ends of a socket */
    MAP_QUEUED,  /* a connection that nobody has accepted yet, to who listens */
    MAP_SHARED,  /* the same object */
    MAP_LOCK,    /* locks on one file */
    MAP_WAIT,    /* who waits for a lock to who holds it */
    MAP_WATCHES, /* who holds a pidfd to the process it stands for */
};

enum map_arrow { MAP_NONE, MAP_TO, MAP_BOTH };

/* The holds of one process on an object: `count` of them from `first` on.  Of a hub, and of a process that is watched:
 * none, and no object. */
struct map_side {
    const struct wherry_inspect_object *object;
    size_t first, count;
};

struct map_tie {
    size_t node[2]; /* an arrow leads from the first to the second */
    struct map_side side[2];
    const struct wherry_inspect_object *object; /* what joins them; of a socket, the first one's end */
    enum map_relation relation;
    enum map_arrow arrow;
    const char *detail; /* of the link between the ends; "" */
};

struct map_node {
    const struct wherry_inspect_process *process; /* NULL: a hub */
    const struct wherry_inspect_object *object;   /* of a hub */
    size_t members;                               /* of a hub: processes */
    size_t first, count;                          /* its entries in `ends` */
    size_t distance;                              /* steps from the process asked for; SIZE_MAX: out of reach */
    bool shown;
};

/* A tie as one of its nodes has it. */
struct map_end {
    size_t node, other, tie;
};

struct map {
    const struct wherry_inspect *snapshot;
    bool arguments; /* command lines were asked for */
    struct map_node *nodes; /* the processes by pid, then the hubs */
    size_t node_count, node_room, process_count;
    struct map_tie *ties;
    size_t tie_count, tie_room;
    struct map_end *ends; /* by node, then by the other one */
    size_t end_count;
    size_t quiet_files; /* files that were left out since nobody can write them */
    bool failed;        /* no memory */
};

/* Which part: objects of these kinds (bits 1 << kind; 0: all), and what is within `depth` steps of `pid`; 0: all. */
struct map_choice {
    uint64_t kinds;
    pid_t pid;
    size_t depth;
};

/* 0, or -ENOMEM; then there is nothing to free. */
int map_make(struct map *map, const struct wherry_inspect *snapshot, const struct map_choice *choice);
void map_free(struct map *map);

/* What map_make() ends with: fill `ends`, cut the ties off that are too far away, and say which nodes are shown. */
void map_part(struct map *map, const struct map_choice *choice);

/* The node of a process; SIZE_MAX. */
size_t map_find(const struct map *map, pid_t pid);

/* "flow", "peer", ...; and a word to filter by: the kind of its object, or "lock". */
const char *map_relation_name(enum map_relation relation);
const char *map_kind(const struct map_tie *tie);

/* ---- what the forms of output share ---- */

/* printf-like, of texts that are our own. */
void map_print(struct output *output, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What of a hold is evidence: "fd 4 rw", "mapped at 0x7f00 r", "flock 0-", "semop". */
enum { MAP_HOLD_TEXT = 160 };
const char *map_hold(const struct wherry_inspect_hold *hold, char text[MAP_HOLD_TEXT]);

/* When a process began, as RFC 3339 in UTC. */
const char *map_started(const struct wherry_inspect_process *process, char text[40]);

/* ---- the forms; what fails shows in `output`, or is no memory: false ---- */

void map_text(const struct map *map, const struct map_choice *choice, struct output *output);
void map_dot(const struct map *map, struct output *output);
bool map_json(const struct map *map, struct output *output);
/* The same JSON, as it may stand in a <script> of a page. */
bool map_json_embedded(const struct map *map, struct output *output);
bool map_page(const struct map *map, struct output *output);

/* A file that is there whole or not at all: 0600, without its name until page_file_finish().  0, or the exit code with
 * the mistake said. */
struct page_file {
    int fd, directory;
    char *name, *temporary; /* in the directory; temporary: NULL while it has none */
};
int page_file_open(struct page_file *file, const char *path);
int page_file_finish(struct page_file *file, const char *path);
void page_file_abandon(struct page_file *file);

#endif
