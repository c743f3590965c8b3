/* top_rows.c - owns the rows of `wherry top`: a look at the host, told apart from the one before.
 *
 * SPDX-License-Identifier: MIT
 *
 * Rates come of what an object counts itself: wherry's rings count what was ever sent.  Of others only what lies in
 * them is known; a message that comes and goes between two looks leaves no trace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inventory.h"
#include "top.h"

/* ---- the rows of before, by what they are known by ---- */

struct index {
    size_t *slots; /* row + 1; 0: free */
    size_t mask;
};

static bool has_number(const struct top_row *row)
{
    return row->inode || row->id;
}

static size_t hash_of(const struct top_row *row)
{
    uint64_t hash = (uint64_t)row->kind * UINT64_C(0x9e3779b97f4a7c15) ^ row->device << 40 ^ row->inode ^
                    row->id << 20 ^ row->space << 32;
    for (const char *at = has_number(row) ? "" : row->name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    return (size_t)((hash * UINT64_C(0xff51afd7ed558ccd)) >> 20);
}

static bool are_one(const struct top_row *a, const struct top_row *b)
{
    return a->kind == b->kind && a->device == b->device && a->inode == b->inode && a->id == b->id &&
           a->space == b->space && (has_number(a) || strcmp(a->name, b->name) == 0);
}

static bool index_rows(struct index *index, const struct top *top)
{
    size_t slots = 64;
    while (slots < 2 * top->count)
        slots *= 2;
    *index = (struct index){calloc(slots, sizeof *index->slots), slots - 1};
    for (size_t i = 0; index->slots && i < top->count; i++) {
        size_t slot = hash_of(&top->rows[i]) & index->mask;
        while (index->slots[slot])
            slot = (slot + 1) & index->mask;
        index->slots[slot] = i + 1;
    }
    return index->slots;
}

/* The row that it was, unless another has been that: names need not be unique. */
static struct top_row *find(const struct index *index, const struct top *top, const bool *seen,
                            const struct top_row *row)
{
    for (size_t slot = hash_of(row) & index->mask; index->slots[slot]; slot = (slot + 1) & index->mask) {
        size_t at = index->slots[slot] - 1;
        if (!seen[at] && are_one(&top->rows[at], row))
            return &top->rows[at];
    }
    return NULL;
}

/* ---- one row ---- */

/* Of one's own rings the file is looked at; of others' the snapshot has what its user may see. */
static void count_ring(struct top_row *row, const struct wherry_inspect_object *object)
{
    struct wherry_ring_stat stat;
    char url[512];
    unsigned long long sent;
    const char *numbers = strstr(object->detail, "; ");
    if (strncmp(object->name, "ring:", 5) == 0 && !strchr(object->name + 5, '/') && !strchr(object->name, '?') &&
        snprintf(url, sizeof url, "shm://%s", object->name + 5) < (int)sizeof url &&
        wherry_ring_stat(url, &stat, sizeof stat) == 0) {
        row->sent = stat.sent;
        for (uint32_t i = 0; i < stat.places; i++)
            row->sent_bytes += stat.place[i].sent_bytes;
        row->messages = (int64_t)(stat.sent - stat.received);
        row->used = (int64_t)stat.depth_bytes;
        row->counts = row->counts_bytes = true;
    } else if (numbers && sscanf(numbers + 2, "%llu sent", &sent) == 1) {
        row->sent = sent;
        row->counts = true;
    }
}

/* Pids, name and holders, in one piece. */
static bool copy_texts(struct top_row *row, const struct wherry_inspect_object *object, size_t most_holders)
{
    const struct wherry_inspect_hold *hold, *before = NULL;
    char *holders = inventory_holders(object, most_holders);
    size_t name = strlen(object->name) + 1, size = holders ? strlen(holders) + 1 : 0;
    row->memory = holders ? malloc(object->holds * sizeof(pid_t) + name + size) : NULL;
    if (!row->memory) {
        free(holders);
        return false;
    }
    pid_t *pids = row->memory;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); before = hold, i++)
        if (!before || before->process != hold->process)
            pids[row->pid_count++] = hold->process->pid;
    char *texts = (char *)row->memory + object->holds * sizeof(pid_t);
    memcpy(texts, object->name, name);
    memcpy(texts + name, holders, size);
    row->pids = pids;
    row->name = texts;
    row->holders = texts + name;
    free(holders);
    return true;
}

static bool fill(struct top_row *row, const struct wherry_inspect_object *object, size_t most_holders)
{
    *row = (struct top_row){
        .kind = object->kind,
        .state = object->state,
        .device = object->device,
        .inode = object->inode,
        .id = object->id,
        .space = object->space,
        .messages = object->messages,
        .limit = object->limit,
        .used = object->used,
        .message_rate = -1,
        .byte_rate = -1,
    };
    if (object->kind == WHERRY_INSPECT_RING)
        count_ring(row, object);
    return copy_texts(row, object, most_holders);
}

/* ---- now and before ---- */

static double rate(uint64_t now, uint64_t before, wherry_time span)
{
    return now >= before && span > 0 ? (double)(now - before) * (double)WHERRY_SECOND / (double)span : -1;
}

/* A count that went back is another ring's, of the same file. */
static void compare(struct top_row *row, const struct top_row *before, wherry_time span)
{
    row->fresh = before->fresh ? before->fresh - 1 : 0;
    if (row->counts && before->counts)
        row->message_rate = rate(row->sent, before->sent, span);
    if (row->counts_bytes && before->counts_bytes)
        row->byte_rate = rate(row->sent_bytes, before->sent_bytes, span);
}

/* The rows of now at `rows`, as many as `count`: 0 or -ENOMEM.  What is found again is marked so in `seen`. */
static int take_rows(const struct top *top, const struct wherry_inspect *snapshot, wherry_time now, bool *seen,
                     struct top_row *rows, size_t *ret_count)
{
    struct index index;
    const struct wherry_inspect_object *object;
    int result = index_rows(&index, top) ? 0 : -ENOMEM;
    for (size_t i = 0; result == 0 && (object = wherry_inspect_object(snapshot, i)); i++) {
        struct top_row *row = &rows[*ret_count];
        if (top->what.kinds && !(top->what.kinds >> object->kind & 1))
            continue;
        if (!fill(row, object, top->most_holders)) {
            result = -ENOMEM;
            break;
        }
        if (row->pid_count == 1 && row->pids[0] == getpid()) { /* what looking takes */
            free(row->memory);
            continue;
        }
        ++*ret_count;
        const struct top_row *before = find(&index, top, seen, row);
        if (before)
            seen[before - top->rows] = true;
        if (before && !before->gone)
            compare(row, before, now - top->taken);
        else /* new, or back */
            row->fresh = top->taken ? TOP_MARKED : 0;
    }
    free(index.slots);
    return result;
}

/* What is not there any more stays for a few looks. */
static bool stays(struct top_row *row)
{
    row->gone = row->gone ? row->gone - 1 : TOP_MARKED;
    row->fresh = 0;
    row->message_rate = row->byte_rate = -1;
    return row->gone > 0;
}

static void replace(struct top *top, struct top_row *rows, size_t count, const bool *seen)
{
    for (size_t i = 0; i < top->count; i++)
        if (!seen[i] && stays(&top->rows[i]))
            rows[count++] = top->rows[i];
        else
            free(top->rows[i].memory);
    free(top->rows);
    top->rows = rows;
    top->count = count;
}

static int take(struct top *top, const struct wherry_inspect *snapshot)
{
    size_t objects = 0, count = 0;
    while (wherry_inspect_object(snapshot, objects))
        objects++;
    struct top_row *rows = calloc(objects + top->count + 1, sizeof *rows);
    bool *seen = calloc(top->count + 1, sizeof *seen);
    wherry_time now = wherry_now();
    int result = rows && seen ? take_rows(top, snapshot, now, seen, rows, &count) : -ENOMEM;
    if (result == 0) {
        replace(top, rows, count, seen);
        top->taken = now;
    } else {
        for (size_t i = 0; i < count; i++)
            free(rows[i].memory);
        free(rows);
    }
    free(seen);
    return result;
}

int top_look(struct top *top, struct wherry_inspect **ret_snapshot)
{
    struct wherry_inspect *snapshot;
    const struct wherry_inspect_hidden *hidden;
    int result = wherry_inspect_take(&top->what, &snapshot);
    if (result < 0)
        return result;
    result = take(top, snapshot);
    top->hidden = 0;
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++)
        top->hidden += hidden->count ? hidden->count : 1;
    if (result == 0 && ret_snapshot)
        *ret_snapshot = snapshot;
    else
        wherry_inspect_free(snapshot);
    return result;
}

void top_fini(struct top *top)
{
    for (size_t i = 0; i < top->count; i++)
        free(top->rows[i].memory);
    free(top->rows);
    top->rows = NULL;
    top->count = 0;
}
