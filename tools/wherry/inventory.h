/* inventory.h - what the verbs that look at the host share: a snapshot, kinds by their words, texts about objects.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_INVENTORY_H
#define WHERRY_TOOL_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/inspect.h>

#include "options.h"

struct json_object;
struct table;

/* Take one: 0, or the exit code with the failure said. */
int inventory_take(const struct options *options, const struct wherry_inspect_options *what,
                   struct wherry_inspect **ret_snapshot);

/* What was hidden, as JSON: [{"count", "what", "why"}].  NULL: no memory. */
struct json_object *inventory_hidden(const struct wherry_inspect *snapshot);

/* table_finish(), with what was hidden as a member of the JSON. */
int inventory_table(struct table *table, const struct wherry_inspect *snapshot);

/* Say on standard error what was hidden (not with -q), and free the snapshot.  `code`, or TOOL_PARTIAL for TOOL_OK. */
int inventory_finish(const struct options *options, struct wherry_inspect *snapshot, int code);

/* TYPE operands: kinds ("pipe"), or several of them at once ("shm", "sem", "mq", "sysv", "posix", "socket", "memory",
 * "lock").  0 and the bits 1 << kind, 0 bits for no words; or the exit code with the mistake said. */
int inventory_kinds(const struct verb *verb, char *const *words, int count, uint64_t *ret_kinds);

/* Each word that it takes, and what that is; NULL beyond the last. */
const char *inventory_type(size_t index, const char **ret_what);

/* The words that inventory_kinds() takes, for --help. */
#define INVENTORY_TYPES                                                                                                \
    "TYPE is posix-shm, posix-sem, posix-mq, ring, sysv-shm, sysv-sem, sysv-msg,\n"                                    \
    "memfd, anonymous, file, pipe, fifo, unix, tcp, udp, socket, eventfd, signalfd,\n"                                 \
    "timerfd, pidfd or epoll; or several at once: shm, sem, mq, sysv, posix, memory,\n"                                \
    "sockets, lock.\n"

/* As inventory_take(), for an object: when there is none of that name, \xNN in it stands for a byte, as lists show odd
 * ones, and `name` is changed into that. */
int inventory_take_named(const struct options *options, struct wherry_inspect_options *what, char *name,
                         struct wherry_inspect **ret_snapshot);

/* Turn \xNN into the bytes; false when there are none. */
bool inventory_decode(char *name);

/* Say, right after wherry_inspect_find() did not find it, that there is no such object and what to try, or what else it
 * said. */
int inventory_none(const struct options *options, const char *name);

/* A pid as an operand: 0, or the exit code with the mistake said. */
int inventory_pid(const struct verb *verb, const char *word, pid_t *ret_pid);

const char *inventory_state(enum wherry_inspect_state state);   /* "live" */
const char *
inventory_how(const struct wherry_inspect_hold *hold); /* "open", "mapped", "attached", "locked", "waiting" */

/* "r", "w", "rw" or "". */
const char *inventory_access(const struct wherry_inspect_hold *hold);

/* "4711 (nginx)", "4711 (nginx) fd 4". */
enum { HOLDER_TEXT = 96 };
const char *inventory_process(const struct wherry_inspect_process *process, char text[HOLDER_TEXT]);
const char *inventory_holder(const struct wherry_inspect_hold *hold, char text[HOLDER_TEXT]);

/* Those who hold an object, a line each, however many holds they have: `most` of them, and how many more there are.  To
 * be freed; NULL: no memory. */
char *inventory_holders(const struct wherry_inspect_object *object, size_t most);

/* A user's name, or the number; NULL for (uid_t)-1. */
const char *inventory_user(uid_t uid, char text[64]);

/* ns of CLOCK_REALTIME as RFC 3339 in UTC; NULL for 0. */
const char *inventory_time(int64_t nanoseconds, char text[40]);

#endif
