/* run.h - what the files of `wherry run` share: the plan that was read, and the run.
 *
 * SPDX-License-Identifier: MIT
 *
 *   cmd_run.c      the command line
 *   run_file.c     lines to units; run_words.c: the options of a unit; run_order.c: who comes first; run_shell.c: exec
 *   run_guard.c    the process in front, which outlives the one that supervises
 *   run_loop.c     the process that supervises
 *   run_screen.c   what is printed: lines of units, sentences, the status line; run_sink.c: descriptors that may block
 *   run_place.c    where a run can be found; run_control.c: what is asked of it; run_client.c: who asks
 *   run_init.c     one command, as PID 1 would have it; run_terminal.c: its terminal */
#ifndef WHERRY_TOOL_RUN_H
#define WHERRY_TOOL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/signal.h>
#include <wherry/supervise.h>
#include <wherry/wherry.h>

#include "options.h"
#include "table.h"

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

/* A list of texts that grows, NULL at its end. */
struct run_list {
    const char **items;
    size_t count;
};

struct run_unit {
    const char *name;
    size_t line;               /* in the file; 0: an operand */
    const char *arguments[4];  /* sh -c COMMAND */
    struct run_list after;     /* names of units */
    struct run_list after_at;  /* where each was said, for sentences */
    struct run_list variables; /* NAME=VALUE */
    struct wherry_unit_options options;
    struct wherry_process_options process;
    struct wherry_process_limit *limits;
    unsigned said; /* which options, a bit each */
    bool placed;   /* run_order.c */
};

struct run_plan {
    struct run_unit **units;
    size_t count;
    struct run_block *blocks; /* all memory of it */
};

/* Memory that lives as long as the plan; NULL when there is none, which was said. */
void *plan_memory(struct run_plan *plan, size_t size);
const char *plan_text(struct run_plan *plan, const char *text, size_t size);
bool plan_append(struct run_plan *plan, struct run_list *list, const char *item);
void plan_free(struct run_plan *plan);

/* Read a file ("-": standard input) into the plan.  0, or the exit code with the mistake said. */
int plan_read_file(struct run_plan *plan, const char *file);
/* An operand NAME=CMD. */
int plan_read_operand(struct run_plan *plan, const struct verb *verb, const char *operand);
/* After all were read: names that are nobody's, circles; and who is needed comes first. */
int plan_order(struct run_plan *plan);
struct run_unit *plan_find(const struct run_plan *plan, const char *name, size_t size);

/* Where in a file something is, for sentences. */
struct run_spot {
    const char *file;
    size_t line, column;
};
int run_mistake(const struct run_spot *spot, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* run_words.c: an option line of a unit. */
int unit_take_option(struct run_plan *plan, struct run_unit *unit, const char *file, size_t line, const char *text);
bool unit_has_option(const char *word, size_t size);

/* run_shell.c: the command as sh is to get it, "exec " put before the program of a simple one. */
const char *shell_with_exec(struct run_plan *plan, const char *command);

/* ---- what the command line says ---------------------------------------------------------------------------------- */

enum run_ask { ASK_NOTHING, ASK_STATUS, ASK_STOP, ASK_START, ASK_RESTART, ASK_RELOAD };

enum { RUN_SIGNALS = 64 };

struct run_request {
    struct options options;
    struct table_style style;
    const char *file; /* -f */
    const char *name; /* --name */
    enum run_ask ask;
    char **operands;
    char **command; /* behind -- */
    int forward[RUN_SIGNALS];
    size_t forward_count;
    bool any_exit, exit_on_failure, group;
    bool lists; /* an option of tables was given */
};

/* ---- where a run is found: run_place.c --------------------------------------------------------------------------- */

enum { RUN_PATH = 512 };

struct run_place {
    char what[RUN_PATH + 32]; /* "/srv/app" or "the name web", for sentences */
    char socket[RUN_PATH];    /* the URL, without a side */
    char lock[RUN_PATH];      /* the path of the lock */
};

/* `make`: the directory for sockets, if it is missing.  0, or the exit code with the failure said. */
int place_find(const struct run_request *request, bool make, struct run_place *ret_place);

/* ---- printing: run_sink.c, run_screen.c -------------------------------------------------------------------------- */

/* A descriptor that may have no room, and what waits for it. */
struct sink {
    int fd; /* ours, that never blocks, or the standard one */
    bool own, is_socket, is_terminal;
    int error; /* nobody reads any more; what comes is dropped */
    char *data;
    size_t size, sent, capacity;
};

void sink_open(struct sink *sink, int fd);
void sink_put(struct sink *sink, const void *data, size_t size);
/* Write what there is room for. */
void sink_flush(struct sink *sink);
static inline size_t sink_waiting(const struct sink *sink)
{
    return sink->size - sink->sent;
}
void sink_close(struct sink *sink);

struct screen {
    struct sink out, err;
    const struct run_plan *plan;
    struct wherry_supervisor *supervisor;
    int width;          /* of the longest name */
    bool colors, draws; /* a status line */
    bool drawn, dirty;
    wherry_time drawn_at;
};

void screen_open(struct screen *screen, const struct options *options, const struct run_plan *plan);
void screen_line(struct screen *screen, const char *unit, const char *line, size_t size);
/* "wherry: run: " and a sentence, on standard error. */
void screen_say(struct screen *screen, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Draw the status line if it is time, and write what there is room for; when to come again, or WHERRY_FOREVER. */
wherry_time screen_update(struct screen *screen);
/* Take the status line away. */
void screen_clear(struct screen *screen);
/* What is left unwritten is dropped. */
void screen_close(struct screen *screen);

/* ---- control: run_control.c, run_client.c ------------------------------------------------------------------------ */

struct run;
struct control;

/* 0, or the exit code: somebody runs this already. */
int control_open(struct run *run, const struct run_place *place, struct control **ret_control);
int control_fd(struct control *control);
/* Receive and answer; and answer those whose wish has come true.  Whether anything was asked. */
bool control_step(struct control *control);
/* Some unit was stopped by request: the run goes on although nothing runs. */
bool control_holds(const struct control *control);
void control_close(struct control *control);

int run_client(const struct verb *verb, const struct run_request *request);

/* ---- running: run_guard.c, run_loop.c, run_init.c ---------------------------------------------------------------- */

struct run {
    const struct run_request *request;
    struct run_plan *plan;
    struct wherry_supervisor *supervisor;
    struct wherry_signals *signals;
    struct screen screen;
    struct control *control;
    int terminal;          /* the controlling one; -1: none */
    pid_t front;           /* the process that was started as `wherry run` */
    uint64_t front_inode;  /* of its pidfd; 0: an old kernel */
    bool stopping, killed; /* all were told to stop; and all were killed */
    int ended_by;          /* the signal that killed all */
    int code;              /* what to exit with because of --any-exit, --exit-on-failure or -w; 0 */
    bool holds;            /* standard output has no room: no lines are taken */
    bool end_all;          /* as soon as this turn is over */
    bool nobody_reads;     /* standard output */
    bool dies_of_pipe;     /* because of that */
};

/* Stop all, in order. */
void run_stop_all(struct run *run);

/* True: go on, as the process that supervises, which ends with guard_leave(); false: end with *ret_code. */
bool guard_enter(const struct run_request *request, const struct run_place *place, int *ret_code);
void guard_leave(const struct run_place *place);

int run_units(const struct run_request *request, struct run_plan *plan, const struct run_place *place);
int run_command_as_init(const struct run_request *request);

/* What of these is not ignored by this process; how many. */
size_t signals_not_ignored(const int *numbers, size_t count, int *ret_numbers);

/* ---- a command on a terminal: run_terminal.c --------------------------------------------------------------------- */

struct run_terminal {
    int fd;           /* -1: none */
    pid_t own, child; /* process groups */
    bool given;
};

void terminal_open(struct run_terminal *terminal);
/* Let the child's group have it, if this process's group has it now. */
void terminal_give(struct run_terminal *terminal, pid_t child);
void terminal_take_back(struct run_terminal *terminal);
/* The child was stopped by this signal: stop as well, or let it go on. */
void terminal_child_stopped(struct run_terminal *terminal, int number);
void terminal_close(struct run_terminal *terminal);

#endif
