/* tool.h - what every verb of the command shares: the table of verbs, exit codes, errors in one line.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_H
#define WHERRY_TOOL_H

#include <stddef.h>

/* The exit codes, as wherry(1) has them.  After a signal N it is 128 + N. */
enum {
    TOOL_OK = 0,
    TOOL_FAILED = 1,
    TOOL_USAGE = 2,
    TOOL_TIMED_OUT = 3,
    TOOL_PARTIAL = 4, /* permissions hid something */
    TOOL_BUSY = 5,    /* somebody else is there */
    TOOL_CANNOT = 125, /* around a command: wherry itself failed */
    TOOL_NOT_RUN = 126,
    TOOL_NOT_FOUND = 127,
    TOOL_SIGNAL = 128,
};

struct verb {
    const char *name;
    const char *summary;  /* for the list of verbs, at most 25 bytes */
    const char *operands; /* "URL [FILE]" */
    const char *help;     /* what --help prints between the usage line and the common options */
    const char *examples; /* and after them */
    int (*run)(const struct verb *verb, int argc, char **argv); /* argv[0] is the verb; returns the exit code */
};

extern const struct verb verb_send, verb_recv, verb_relay, verb_echo, verb_ask, verb_stat, verb_transports;
extern const struct verb verb_lock, verb_run, verb_signals, verb_kill, verb_wait, verb_pipe;
extern const struct verb verb_ls, verb_show, verb_who, verb_peers, verb_locks, verb_map, verb_gc, verb_top, verb_doctor;
extern const struct verb verb_segment, verb_sem, verb_mk, verb_rm;
extern const struct verb verb_complete; /* for shells */

/* Print "wherry: " and the text as one line on standard error, foreign bytes made harmless; return `code`. */
int complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a note that -v asked for: no failure. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A wrong command line: the line names the verb and where to read on; returns TOOL_USAGE. */
int misuse(const struct verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flush stdio's standard output; a failure is said and turns `code` into TOOL_FAILED. */
int finish_printing(int code);

#endif
