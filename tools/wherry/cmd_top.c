/* cmd_top.c - `wherry top`: what moves and waits in the IPC objects of this host, live or as tables for scripts.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inventory.h"
#include "table.h"
#include "top.h"

enum { TOP_SCHEMA = 1, OPTION_BATCH = OPTION_FIRST, OPTION_PID, OPTION_FILTER, OPTION_SORT, OPTION_REVERSE };

enum { MARK, TYPE, NAME, MSGRATE, BYTERATE, DEPTH, LIMIT, QUEUED, HOLDERS, STATE, COLUMNS };

static const struct column columns[COLUMNS] = {
    [MARK] = {"MARK", "new or gone, for four looks", COLUMN_TEXT, true, 0},
    [TYPE] = {"TYPE", "the kind of object", COLUMN_TEXT, true, 0},
    [NAME] = {"NAME", "what the other verbs know it by", COLUMN_TEXT, true, 44},
    [MSGRATE] = {"MSGRATE", "messages a second that went in; of rings", COLUMN_NUMBER, true, 0},
    [BYTERATE] = {"BYTERATE", "bytes a second that went in; of one's own rings", COLUMN_BYTES, true, 0},
    [DEPTH] = {"DEPTH", "messages in it, or connections that wait", COLUMN_NUMBER, true, 0},
    [LIMIT] = {"LIMIT", "how many it takes", COLUMN_NUMBER, true, 0},
    [QUEUED] = {"QUEUED", "bytes in it", COLUMN_BYTES, true, 0},
    [HOLDERS] = {"HOLDERS", "the processes that hold it", COLUMN_TEXTS, true, 32},
    [STATE] = {"STATE", "live, orphan or unknown", COLUMN_TEXT, false, 0},
};

/* What carries something from one to another. */
#define BIT(kind) (UINT64_C(1) << WHERRY_INSPECT_##kind)
static const uint64_t carriers =
    BIT(RING) | BIT(POSIX_MQ) | BIT(SYSV_MSG) | BIT(PIPE) | BIT(FIFO) | BIT(UNIX) | BIT(TCP) | BIT(UDP) | BIT(SOCKET);

struct request {
    struct options options;
    struct table_style style;
    struct top_view view;
    wherry_time interval;
    int64_t times; /* of --batch; 0: until a signal */
    bool batch, has_style;
    uint64_t kinds;
};

/* ---- tables ---- */

static const char *number(char text[32], int64_t value)
{
    snprintf(text, 32, "%" PRId64, value);
    return value < 0 ? NULL : text;
}

static const char *rate(char text[32], double value)
{
    snprintf(text, 32, "%.1f", value);
    return value < 0 ? NULL : text;
}

static int add_row(struct table *table, const struct top_row *row)
{
    char texts[COLUMNS][32];
    const char *cells[COLUMNS] = {
        [MARK] = row->gone    ? "gone"
                 : row->fresh ? "new"
                              : NULL,
        [TYPE] = wherry_inspect_kind_name(row->kind),
        [NAME] = row->name,
        [MSGRATE] = rate(texts[MSGRATE], row->message_rate),
        [BYTERATE] = rate(texts[BYTERATE], row->byte_rate),
        [DEPTH] = number(texts[DEPTH], row->messages),
        [LIMIT] = number(texts[LIMIT], row->limit),
        [QUEUED] = number(texts[QUEUED], row->used),
        [HOLDERS] = row->holders[0] ? row->holders : NULL,
        [STATE] = inventory_state(row->state),
    };
    return table_row(table, cells);
}

static int print_table(struct request *request, const struct top *top, const struct wherry_inspect *snapshot)
{
    struct table *table;
    int code = table_new(request->options.verb, "objects", TOP_SCHEMA, columns, COLUMNS, &request->style, &table);
    if (code != 0 || !table)
        return code;
    if (!top_view_update(&request->view, top))
        return complain(TOOL_FAILED, "top: no memory");
    for (size_t i = 0; i < request->view.count; i++)
        if (add_row(table, request->view.rows[i]) < 0)
            return complain(TOOL_FAILED, "top: no memory");
    return inventory_table(table, snapshot);
}

static void sleep_for(wherry_time span)
{
    struct timespec left = {.tv_sec = span / WHERRY_SECOND, .tv_nsec = span % WHERRY_SECOND};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

/* The first table comes after an interval: until then there are no rates.  Signals end it as they end any program,
 * SIGPIPE too: there is nothing to tidy up. */
static int print_tables(struct request *request, struct top *top)
{
    struct wherry_inspect *snapshot = NULL;
    int code = TOOL_OK, result = top_look(top, &snapshot);
    for (int64_t i = 0; code == TOOL_OK && result == 0 && (request->times == 0 || i < request->times); i++) {
        sleep_for(request->interval);
        wherry_inspect_free(snapshot);
        snapshot = NULL;
        result = top_look(top, &snapshot);
        if (i > 0 && !request->style.json)
            printf("\n");
        if (result == 0)
            code = print_table(request, top, snapshot);
    }
    if (result < 0)
        code = complain(TOOL_FAILED, "top: %s", wherry_why());
    if (code == TOOL_OK)
        return inventory_finish(&request->options, snapshot, code);
    wherry_inspect_free(snapshot);
    return code;
}

/* ---- the command line ---- */

static int take_interval(struct request *request)
{
    const char *wrong = parse_duration(optarg, &request->interval);
    if (wrong)
        return misuse(request->options.verb, "-d %s %s", optarg, wrong);
    if (request->interval < TOP_INTERVAL_LEAST)
        return misuse(request->options.verb, "-d %s is too short; 50ms is the least", optarg);
    return 0;
}

static int take_filter(struct request *request, const char *lead, const char *word)
{
    char *filter = request->view.filter;
    size_t length = strlen(filter), room = sizeof request->view.filter;
    if (snprintf(filter + length, room - length, "%s%s%s", length ? " " : "", lead, word) >= (int)(room - length))
        return misuse(request->options.verb, "the filter is longer than %zu bytes", room - 1);
    return 0;
}

static int take_pid(struct request *request)
{
    pid_t pid;
    int code = inventory_pid(request->options.verb, optarg, &pid);
    return code ? code : take_filter(request, "pid:", optarg);
}

static int take_sort(struct request *request)
{
    request->view.sort = top_sort_named(optarg);
    return request->view.sort < TOP_SORTS
               ? 0
               : misuse(request->options.verb,
                        "--sort takes activity, messages, bytes, depth, queued, name or type, not %s", optarg);
}

static int take_times(struct request *request)
{
    const char *wrong = parse_number(optarg, 1, INT64_MAX, &request->times);
    return wrong ? misuse(request->options.verb, "-c %s %s", optarg, wrong) : 0;
}

static int take_option(struct request *request, int option)
{
    switch (option) {
    case OPTION_BATCH:
        request->batch = true;
        return 0;
    case OPTION_REVERSE:
        request->view.reverse = true;
        return 0;
    case 'c':
        return take_times(request);
    case 'd':
        return take_interval(request);
    case OPTION_PID:
        return take_pid(request);
    case OPTION_FILTER:
        return take_filter(request, "", optarg);
    case OPTION_SORT:
        return take_sort(request);
    default:
        request->has_style = true;
        table_option(&request->style, option);
        return 0;
    }
}

static int parse(struct request *request, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        TABLE_LONG,
        LONG("batch", no_argument, OPTION_BATCH),
        LONG("count", required_argument, 'c'),
        LONG("delay", required_argument, 'd'),
        LONG("pid", required_argument, OPTION_PID),
        LONG("filter", required_argument, OPTION_FILTER),
        LONG("sort", required_argument, OPTION_SORT),
        LONG("reverse", no_argument, OPTION_REVERSE),
        {0},
    };
    const struct verb *verb = request->options.verb;
    int option;
    while ((option = options_next(&request->options, argc, argv, COMMON_SHORT TABLE_SHORT "c:d:", longs)) >= 0)
        if ((request->options.code = take_option(request, option)))
            return -1;
    if (option == OPTION_STOP)
        return -1;
    request->options.code = inventory_kinds(verb, argv + optind, argc - optind, &request->kinds);
    if (!request->options.code && !request->batch && !request->style.list_columns &&
        (request->has_style || request->times))
        request->options.code = misuse(verb, "-c, -J and the options of tables need --batch");
    return request->options.code ? -1 : 0;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct request request = {.options = options_of(verb), .interval = WHERRY_SECOND};
    if (parse(&request, argc, argv) < 0)
        return request.options.code;
    struct top top = {.what = WHERRY_INSPECT_OPTIONS, .most_holders = request.style.json ? SIZE_MAX : 3};
    top.what.kinds = request.kinds ? request.kinds : carriers;
    int code = request.style.list_columns ? print_table(&request, &top, NULL)
               : request.batch            ? print_tables(&request, &top)
                                          : top_live(&top, &request.view, &request.options, request.interval);
    free(request.view.rows);
    top_fini(&top);
    return code;
}

const struct verb verb_top = {
    .name = "top",
    .summary = "what moves and waits",
    .operands = "[TYPE...]",
    .help = INVENTORY_TYPES "Without one: rings, queues, pipes, FIFOs and sockets.\nKeys: h shows them; q ends.\n"
                            "\n"
                            "  -d, --delay DUR    look again after DUR (1s)\n"
                            "      --sort KEY     by activity, messages, bytes, depth, queued, name or type\n"
                            "      --reverse      the other way round\n"
                            "      --filter WORD  those of which a name or a holder has WORD in it;\n"
                            "                     type:ring and pid:4711 are such words too\n"
                            "      --pid PID      those that this process holds\n"
                            "      --batch        tables on standard output, for scripts\n"
                            "  -c, --count N      of --batch: so many, one each -d\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry top\n"
                "  wherry top mq sockets -d 500ms --sort depth\n"
                "  wherry top --batch -c 1 -J ring | jq '.objects[] | {name, msgrate}'\n",
    .run = run,
};
