/* complete.h - what the files of `wherry complete` share: the word that is completed, and where words come from.
 *
 * SPDX-License-Identifier: MIT
 *
 *   cmd_complete.c      the command line so far: which verb, what is due in the place of the last word
 *   complete_options.c  the options of a verb, out of its help text
 *   complete_names.c    words: objects, URLs, processes, users, signals, columns, units */
#ifndef WHERRY_TOOL_COMPLETE_H
#define WHERRY_TOOL_COMPLETE_H

#include <stdbool.h>
#include <stddef.h>

#include "tool.h"

/* The word in whose place others are offered. */
struct completion {
    const struct verb *verb;
    const char *word; /* all of it */
    size_t kept;      /* so many bytes of it stay in front of what is offered: those of "--pid=" */
    bool any;         /* something was offered */
};

/* Print a word, if it begins as the one on the command line does, and what it is. */
void offer(struct completion *at, const char *text, const char *what);

/* The part of the word behind what is kept. */
const char *offered_for(const struct completion *at);

/* Have the shell complete: "files", or "command N", the command that begins at the Nth word, that of wherry being 0. */
void offer_shell(const char *what);

/* ---- complete_options.c ---- */

struct known_option {
    char letter;       /* 0: none */
    char name[24];     /* of the long form */
    char argument[16]; /* "PID", ""; */
    bool optional;     /* the argument */
    char what[80];     /* what it does, the first line of it */
};

/* The option at the front of a help text from *text on, which is moved behind it.  False: there are no more. */
bool next_option(const char **text, struct known_option *ret_option);

/* That of a verb, by its letter, or by its name, which may be cut short as getopt_long(3) allows. */
bool find_option(const struct verb *verb, char letter, const char *name, size_t size, struct known_option *ret_option);

/* ---- complete_names.c: each offers all of its kind ---- */

void offer_types(struct completion *at);   /* those that the help of the verb names */
void offer_objects(struct completion *at); /* those that the verb takes */
void offer_urls(struct completion *at);
void offer_pids(struct completion *at);
void offer_fds(struct completion *at, const char *pid, size_t size); /* of a process */
void offer_users(struct completion *at);
void offer_signals(struct completion *at);
void offer_columns(struct completion *at);
void offer_units(struct completion *at, const char *file); /* NULL: the file that a run without -f reads */
void offer_links(struct completion *at);                   /* "=SCHEME=" */

#endif
