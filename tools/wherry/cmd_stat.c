/* cmd_stat.c - `wherry stat`: what a shared-memory ring holds, and who is at it.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <wherry/ring.h>
#include <wherry/wherry.h>

#include "options.h"
#include "table.h"

enum { STAT_SCHEMA = 1 };

enum { PLACE, ROLE, STATE, PID, DEPTH, BYTES, SENT, RECEIVED, PAYLOAD, WAITS, WAKES, READER, CAPACITY, COLUMNS };

static const struct column columns[COLUMNS] = {
    [PLACE] = {"PLACE", "the place in the ring, from 1 on", COLUMN_NUMBER, true, 0},
    [ROLE] = {"ROLE", "sender or receiver; empty: nobody's, but its lane holds messages", COLUMN_TEXT, true, 0},
    [STATE] = {"STATE", "alive or dead", COLUMN_TEXT, true, 0},
    [PID] = {"PID", "the process; empty: of another PID namespace, or gone", COLUMN_NUMBER, true, 0},
    [DEPTH] = {"DEPTH", "messages in its lane", COLUMN_NUMBER, true, 0},
    [BYTES] = {"USED", "bytes of its lane that are taken", COLUMN_BYTES, true, 0},
    [SENT] = {"SENT", "messages that ever went into its lane", COLUMN_NUMBER, true, 0},
    [RECEIVED] = {"RECEIVED", "messages taken out of its lane", COLUMN_NUMBER, true, 0},
    [PAYLOAD] = {"PAYLOAD", "bytes of payload that ever went into its lane", COLUMN_BYTES, false, 0},
    [WAITS] = {"WAITS", "times it slept", COLUMN_NUMBER, true, 0},
    [WAKES] = {"WAKES", "times it woke another", COLUMN_NUMBER, true, 0},
    [READER] = {"READER", "the place of the receiver that holds its lane now", COLUMN_NUMBER, false, 0},
    [CAPACITY] = {"CAPACITY", "bytes of a lane", COLUMN_BYTES, true, 0},
};

static const char *number(char *text, size_t size, uint64_t value)
{
    snprintf(text, size, "%" PRIu64, value);
    return text;
}

static int add_row(struct table *table, const struct wherry_ring_stat *stat, unsigned i)
{
    const struct wherry_ring_place *place = &stat->place[i];
    const char *cells[COLUMNS] = {NULL};
    char texts[COLUMNS][24];
#define NUMBER(column, value) cells[column] = number(texts[column], sizeof texts[column], value)
    NUMBER(PLACE, i + 1u);
    if (place->role != WHERRY_RING_NOBODY) {
        cells[ROLE] = place->role == WHERRY_RING_SENDER ? "sender" : "receiver";
        cells[STATE] = place->alive ? "alive" : "dead";
        NUMBER(WAITS, place->waits);
        NUMBER(WAKES, place->wakes);
        if (place->pid)
            NUMBER(PID, (uint64_t)place->pid);
    }
    if (place->has_lane) {
        NUMBER(DEPTH, place->sent - place->received);
        NUMBER(BYTES, place->depth_bytes);
        NUMBER(SENT, place->sent);
        NUMBER(RECEIVED, place->received);
        NUMBER(PAYLOAD, place->sent_bytes);
        NUMBER(CAPACITY, stat->capacity);
        if (place->reader)
            NUMBER(READER, place->reader);
    }
#undef NUMBER
    return table_row(table, cells);
}

static int print_table(const struct verb *verb, const char *url, const struct table_style *style)
{
    struct table *table;
    struct wherry_ring_stat stat = {.places = 0};
    if (!style->list_columns) {
        int result = wherry_ring_stat(url, &stat, sizeof stat);
        if (result < 0)
            return complain(result == -EINVAL      ? TOOL_USAGE
                            : result == -ETIMEDOUT ? TOOL_TIMED_OUT
                                                   : TOOL_FAILED,
                            "stat: %s", wherry_why());
    }
    int code = table_new(verb, "places", STAT_SCHEMA, columns, COLUMNS, style, &table);
    if (code != 0 || !table)
        return code;
    for (unsigned i = 0; i < stat.places; i++)
        if ((stat.place[i].role != WHERRY_RING_NOBODY || stat.place[i].depth_bytes) && add_row(table, &stat, i) < 0)
            return complain(TOOL_FAILED, "no memory");
    return table_finish(table);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, TABLE_LONG, {0}};
    struct options options = options_of(verb);
    struct table_style style = {.columns = NULL};
    int option;
    while ((option = options_next(&options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0)
        table_option(&style, option);
    if (option == OPTION_STOP || options_operands(&options, argc, style.list_columns ? 0 : 1, 1) < 0)
        return options.code;
    return print_table(verb, argv[optind], &style);
}

const struct verb verb_stat = {
    .name = "stat",
    .summary = "what a ring holds",
    .operands = "shm://NAME",
    .help = "Print a line for each endpoint of a ring, alive or dead, and for each lane that\n"
            "holds messages.  The ring is only looked at.\n"
            "\n" TABLE_HELP "\n"
            "Nothing here waits, save a second for a ring with share=: -w bounds nothing.\n",
    .examples = "Examples:\n"
                "  wherry stat shm://jobs\n"
                "  wherry stat -J shm://jobs | jq '[.places[].depth] | add'\n",
    .run = run,
};
