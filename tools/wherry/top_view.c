/* top_view.c - owns which rows of `wherry top` are shown, and in which order.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

static const char *const sort_names[TOP_SORTS] = {
    [TOP_ACTIVITY] = "activity", [TOP_MESSAGES] = "messages", [TOP_BYTES] = "bytes", [TOP_DEPTH] = "depth",
    [TOP_QUEUED] = "queued",     [TOP_NAME] = "name",         [TOP_TYPE] = "type",
};

const char *top_sort_name(enum top_sort sort)
{
    return sort_names[sort];
}

enum top_sort top_sort_named(const char *name)
{
    enum top_sort sort = 0;
    while (sort < TOP_SORTS && strcmp(sort_names[sort], name) != 0)
        sort++;
    return sort;
}

/* ---- the filter ---- */

static bool has_pid(const struct top_row *row, const char *word)
{
    char *end;
    long pid = strtol(word, &end, 10);
    if (*end || end == word)
        return true; /* still being typed */
    for (size_t i = 0; i < row->pid_count; i++)
        if (row->pids[i] == pid)
            return true;
    return false;
}

static bool fits_word(const struct top_row *row, const char *word)
{
    if (strncmp(word, "type:", 5) == 0)
        return strncmp(wherry_inspect_kind_name(row->kind), word + 5, strlen(word + 5)) == 0;
    if (strncmp(word, "pid:", 4) == 0)
        return has_pid(row, word + 4);
    return strcasestr(row->name, word) || strcasestr(row->holders, word);
}

static bool fits(const struct top_row *row, const char *filter)
{
    char words[sizeof((struct top_view *)NULL)->filter], *rest;
    snprintf(words, sizeof words, "%s", filter);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        if (!fits_word(row, word))
            return false;
    return true;
}

/* ---- the order ---- */

static int most_first(double a, double b)
{
    return (a < b) - (a > b);
}

static int by_name(const struct top_row *a, const struct top_row *b)
{
    int names = strverscmp(a->name, b->name);
    return names ? names : (a->inode > b->inode) - (a->inode < b->inode);
}

/* What moves, then what waits. */
static int by_activity(const struct top_row *a, const struct top_row *b)
{
    int order = most_first(a->message_rate > 0 ? a->message_rate : 0, b->message_rate > 0 ? b->message_rate : 0);
    if (!order)
        order = most_first((double)a->messages, (double)b->messages);
    return order ? order : most_first((double)a->used, (double)b->used);
}

static int compare(const struct top_row *a, const struct top_row *b, enum top_sort sort)
{
    switch (sort) {
    case TOP_MESSAGES:
        return most_first(a->message_rate, b->message_rate);
    case TOP_BYTES:
        return most_first(a->byte_rate, b->byte_rate);
    case TOP_DEPTH:
        return most_first((double)a->messages, (double)b->messages);
    case TOP_QUEUED:
        return most_first((double)a->used, (double)b->used);
    case TOP_NAME:
        return 0;
    case TOP_TYPE:
        return (a->kind > b->kind) - (a->kind < b->kind);
    default:
        return by_activity(a, b);
    }
}

/* Among equals the name decides, the same way round. */
static int compare_rows(const void *x, const void *y, void *context)
{
    const struct top_row *a = *(const struct top_row *const *)x, *b = *(const struct top_row *const *)y;
    const struct top_view *view = context;
    int order = compare(a, b, view->sort);
    if (view->sort == TOP_NAME)
        order = by_name(a, b);
    order = view->reverse ? -order : order;
    return order ? order : by_name(a, b);
}

bool top_view_update(struct top_view *view, const struct top *top)
{
    if (top->count > view->room) {
        const struct top_row **rows = realloc(view->rows, top->count * sizeof *rows);
        if (!rows)
            return false;
        view->rows = rows;
        view->room = top->count;
    }
    view->count = view->fresh = view->gone = 0;
    for (size_t i = 0; i < top->count; i++) {
        const struct top_row *row = &top->rows[i];
        if (view->filter[0] && !fits(row, view->filter))
            continue;
        view->rows[view->count++] = row;
        view->fresh += row->fresh > 0;
        view->gone += row->gone > 0;
    }
    if (view->count)
        qsort_r(view->rows, view->count, sizeof *view->rows, compare_rows, view);
    return true;
}

/* ---- numbers ---- */

const char *top_number(char text[16], double value, unsigned unit)
{
    static const char units[] = " kMGTPE";
    size_t power = 0;
    text[0] = 0;
    if (value < 0)
        return text;
    for (; value >= (power ? 999.5 : 9999.5) && units[power + 1]; power++)
        value /= unit;
    if (power == 0)
        snprintf(text, 16, "%.0f", value);
    else
        snprintf(text, 16, "%.*f%c", value < 99.95 ? 1 : 0, value, units[power]);
    return text;
}
