/* run_client.c - owns who asks: --status, --stop, --start, --restart, --reload of a run elsewhere.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run.h"

enum { STATUS_SCHEMA = 1, FIELDS = 8, MOST_ANSWER = 1 << 20 };

enum { UNIT, STATE, PID, STARTS, LAST, SINCE, WHY, COLUMNS };

static const struct column columns[COLUMNS] = {
    [UNIT] = {"UNIT", "its name", COLUMN_TEXT, true, 0},
    [STATE] = {"STATE", "waiting, starting, ready, stopping, backoff, ended or failed", COLUMN_TEXT, true, 0},
    [PID] = {"PID", "its first process; empty: it does not run", COLUMN_NUMBER, true, 0},
    [STARTS] = {"STARTS", "how often it was started", COLUMN_NUMBER, true, 0},
    [LAST] = {"LAST", "how it ended the last time", COLUMN_TEXT, true, 0},
    [SINCE] = {"SINCE", "when it came to this state", COLUMN_TEXT, true, 0},
    [WHY] = {"WHY", "what it waits for, or why it failed, or what it says of itself", COLUMN_TEXT, true, 0},
};

static const char *const asks[] = {[ASK_STATUS] = "status",
                                   [ASK_STOP] = "stop",
                                   [ASK_START] = "start",
                                   [ASK_RESTART] = "restart",
                                   [ASK_RELOAD] = "reload"};

/* ---- asking ---- */

struct talk {
    const struct run_request *request;
    struct run_place place;
    struct wherry_channel *channel;
    wherry_time deadline;
    char *answer; /* of the last request; behind "ok " */
};

static int talk_failed(const struct talk *talk, int result)
{
    if (result == -ETIMEDOUT || result == -EAGAIN)
        return complain(TOOL_TIMED_OUT, "run: %s: no answer in the time that -w leaves", talk->place.what);
    return complain(TOOL_FAILED, "run: %s: %s", talk->place.what, wherry_why());
}

/* Nobody who is not there yet is waited for. */
static int talk_open(struct talk *talk)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.side = WHERRY_CONNECT;
    int result = wherry_channel_open(talk->place.socket, WHERRY_BOTH, &options, WHERRY_NOW, &talk->channel);
    if (result == -EAGAIN || result == -ETIMEDOUT || result == -ENOENT)
        return complain(TOOL_FAILED,
                        "run: %s: nothing is run there: start it with 'wherry run', or say where with -f or "
                        "--name",
                        talk->place.what);
    return result < 0 ? talk_failed(talk, result) : 0;
}

static int ask(struct talk *talk, const char *unit)
{
    char text[256];
    size_t size = 0;
    int length = snprintf(text, sizeof text, "1 %s%s%s", asks[talk->request->ask], unit ? " " : "", unit ? unit : "");
    if (length >= (int)sizeof text)
        return complain(TOOL_FAILED, "run: there is no unit %.63s...: a name has at most 63 characters", unit);
    int result = wherry_channel_send(talk->channel, text, (size_t)length, talk->deadline);
    if (result == 0)
        result = wherry_channel_receive(talk->channel, talk->answer, MOST_ANSWER, &size, talk->deadline);
    if (result == 0)
        return complain(TOOL_FAILED, "run: %s: it ended before it answered", talk->place.what);
    if (result < 0)
        return talk_failed(talk, result);
    talk->answer[size] = '\0';
    if (strncmp(talk->answer, "no ", 3) == 0)
        return complain(TOOL_FAILED, "run: %s", talk->answer + 3);
    return strncmp(talk->answer, "ok ", 3) == 0 ? 0 : complain(TOOL_FAILED, "run: %s: not a run", talk->place.what);
}

/* ---- --status ---- */

static const char *time_text(const char *nanoseconds, char *text, size_t capacity)
{
    time_t seconds = (time_t)(strtoll(nanoseconds, NULL, 10) / WHERRY_SECOND);
    struct tm parts;
    if (!localtime_r(&seconds, &parts))
        return NULL;
    size_t used = strftime(text, capacity, "%Y-%m-%dT%H:%M:%S%z", &parts);
    if (used < 5 || used + 2 > capacity)
        return NULL;
    memmove(text + used - 1, text + used - 2, 3); /* RFC 3339 has a colon in +01:00 */
    text[used - 2] = ':';
    return text;
}

static int add_row(struct table *table, char *line)
{
    char *fields[FIELDS], last[64], since[64];
    const char *cells[COLUMNS] = {NULL};
    for (size_t i = 0; i < FIELDS; i++)
        if (!(fields[i] = strsep(&line, "\t")))
            return complain(TOOL_FAILED, "run: an answer of another version of wherry");
    struct wherry_exit ended = {.kind = (enum wherry_exit_kind)atoi(fields[4]), .code = atoi(fields[5])};
    cells[UNIT] = fields[0];
    cells[STATE] = fields[1];
    cells[PID] = strcmp(fields[2], "0") != 0 ? fields[2] : NULL;
    cells[STARTS] = fields[3];
    cells[LAST] = ended.kind ? wherry_exit_text(&ended, last, sizeof last) : NULL;
    cells[SINCE] = time_text(fields[6], since, sizeof since);
    cells[WHY] = fields[7][0] ? fields[7] : NULL;
    return table_row(table, cells) < 0 ? complain(TOOL_FAILED, "no memory") : 0;
}

static int print_status(const struct verb *verb, struct talk *talk)
{
    struct table *table = NULL;
    char *line, *rest = talk->answer;
    int code = table_new(verb, "units", STATUS_SCHEMA, columns, COLUMNS, &talk->request->style, &table);
    strsep(&rest, "\n");
    while (code == 0 && table && (line = strsep(&rest, "\n")))
        if (line[0])
            code = add_row(table, line);
    if (!table)
        return code;
    int printed = table_finish(table);
    return code ? code : printed;
}

/* ---- --stop and the rest ---- */

/* All were told to stop: until the process in front has ended, so that another run may follow at once. */
static int wait_for_end(struct talk *talk)
{
    struct wherry_process *front;
    char *rest;
    pid_t pid = (pid_t)strtol(talk->answer + 3, &rest, 10);
    size_t size;
    int result = wherry_process_open(pid, strtoull(rest, NULL, 10), &front);
    if (result == 0) {
        result = wherry_process_wait(front, talk->deadline, NULL);
        wherry_process_close(front);
    } else { /* already; or in another PID namespace, or no pidfd is to be had: then the connection tells */
        while ((result = wherry_channel_receive(talk->channel, talk->answer, MOST_ANSWER, &size, talk->deadline)) == 1)
            ;
    }
    if (result == -ETIMEDOUT || result == -EAGAIN)
        return complain(TOOL_TIMED_OUT, "run: %s: it was told to stop, and goes on stopping", talk->place.what);
    return 0;
}

static int ask_all(struct talk *talk)
{
    char **unit = talk->request->operands;
    if (!*unit) {
        int code = ask(talk, NULL);
        return code == 0 && talk->request->ask == ASK_STOP ? wait_for_end(talk) : code;
    }
    int worst = 0;
    for (; *unit; unit++) {
        int code = ask(talk, *unit);
        worst = code ? code : worst;
    }
    return worst;
}

int run_client(const struct verb *verb, const struct run_request *request)
{
    struct talk talk = {.request = request, .deadline = options_deadline(&request->options)};
    if (request->style.list_columns) {
        struct table *table;
        return table_new(verb, "units", STATUS_SCHEMA, columns, COLUMNS, &request->style, &table);
    }
    int code = place_find(request, false, &talk.place);
    if (code != 0)
        return code;
    talk.answer = malloc(MOST_ANSWER + 1);
    if (!talk.answer)
        return complain(TOOL_FAILED, "run: no memory");
    code = talk_open(&talk);
    if (code == 0 && request->ask == ASK_STATUS) {
        code = ask(&talk, NULL);
        code = code ? code : print_status(verb, &talk);
    } else if (code == 0) {
        code = ask_all(&talk);
    }
    wherry_channel_close(talk.channel, WHERRY_NOW);
    free(talk.answer);
    return code;
}
