/* top.h - what the files of `wherry top` share: rows that live from one look to the next, what is shown of them, and
 * the screen.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_TOP_H
#define WHERRY_TOOL_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>
#include <wherry/inspect.h>
#include <wherry/wherry.h>

#include "options.h"

/* ---- rows: top_rows.c ---- */

enum { TOP_MARKED = 4 /* looks for which what is new or gone is marked */ };

struct top_row {
    enum wherry_inspect_kind kind;
    enum wherry_inspect_state state;
    uint64_t device, inode, id, space; /* with the kind, what it is known by; by the name where all are 0 */
    const char *name, *holders;        /* foreign text, in `memory`; of the holders a line each */
    const pid_t *pids;                 /* likewise, those of all */
    size_t pid_count;
    void *memory;
    int64_t messages, limit, used; /* -1: not known */
    uint64_t sent, sent_bytes;     /* ever, where the object counts them */
    bool counts, counts_bytes;
    double message_rate, byte_rate; /* a second, since the look before; -1: not known */
    unsigned fresh, gone;           /* looks for which it is marked still; 0: not */
};

struct top {
    struct wherry_inspect_options what;
    size_t most_holders; /* of a row, by name */
    struct top_row *rows;
    size_t count;
    uint64_t hidden;
    wherry_time taken; /* 0: never */
};

/* Look again.  0, or -errno with the sentence, and all as it was.  The snapshot is for the caller to free, or, with
 * NULL, is freed. */
int top_look(struct top *top, struct wherry_inspect **ret_snapshot);
void top_fini(struct top *top);

/* ---- which of them, in which order: top_view.c ---- */

enum top_sort { TOP_ACTIVITY, TOP_MESSAGES, TOP_BYTES, TOP_DEPTH, TOP_QUEUED, TOP_NAME, TOP_TYPE, TOP_SORTS };

struct top_view {
    enum top_sort sort;
    bool reverse;
    char filter[128]; /* words, all of which have to fit: type:W, pid:N, or a part of the name or a holder */
    const struct top_row **rows;
    size_t count, room;
    size_t fresh, gone; /* how many of them are marked */
};

/* "activity", "depth"; and the number of one of these, or TOP_SORTS. */
const char *top_sort_name(enum top_sort sort);
enum top_sort top_sort_named(const char *name);

/* Fill in `rows`.  False: no memory. */
bool top_view_update(struct top_view *view, const struct top *top);

/* "1.2k": at most 5 characters; "" for what is below 0.  `unit` is 1000 or 1024. */
const char *top_number(char text[16], double value, unsigned unit);

/* ---- the screen: top_screen.c, top_loop.c ---- */

#define TOP_INTERVAL_LEAST (50 * WHERRY_MILLISECOND)

struct top_screen {
    bool colors;
    bool paused, helping, typing;
    size_t first; /* row that is the uppermost */
    wherry_time interval;
    char sentence[256]; /* of a look that failed; "" */
};

void top_draw(struct top_screen *screen, const struct top *top, struct top_view *view);

/* What a key does, a character or (`is_code`) one of curses' codes.  False: it ends the command. */
bool top_key(struct top_screen *screen, struct top_view *view, wint_t key, bool is_code, bool *ret_look);

/* Colours, if they are wanted and there are some. */
void top_colors(struct top_screen *screen, bool wanted);

/* Until q or a signal.  The exit code. */
int top_live(struct top *top, struct top_view *view, const struct options *options, wherry_time interval);

#endif
