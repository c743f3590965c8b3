/* endpoint.h - opening and closing endpoints as the verbs want them, and what their failures mean for the exit code.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_ENDPOINT_H
#define WHERRY_TOOL_ENDPOINT_H

#include <stdbool.h>
#include <wherry/wherry.h>

#include "options.h"

/* A verb's own defaults; the URL wins over them. */
struct wish {
    enum wherry_role role;
    enum wherry_side side; /* where the object has sides */
    const char *frame;     /* on byte streams; NULL: the library's */
    const char *type;      /* of System V queues: which messages to receive; NULL: all */
    bool no_read_ahead;    /* on what others can go on reading from when we stop */
    const char *from, *group; /* of a log: where to begin, under which name; NULL: as the URL says */
    bool report_ends;      /* of each peer, where a listening endpoint has connections */
};

/* The traits of the URL's transport, or NULL when there is none of this scheme. */
const struct wherry_traits *endpoint_traits(const char *url);
/* Whether it has this one, or any of several. */
bool endpoint_has(const char *url, uint64_t trait);

/* Whether the URL's query names this option; and what follows it there: "=value&...", "&...", ""; or NULL. */
bool endpoint_says(const char *url, const char *key);
const char *endpoint_value(const char *url, const char *key);

/* Whether messages of this type cannot go to `url`, as far as that shows before it is opened: then it was said, and
 * options->code is set.  `frame`: where the URL names none; NULL: the library's. */
bool endpoint_refuses_type(struct options *options, const char *url, const char *frame, int64_t type);

/* Whether the URL asks for something that the library has, but the command no use for: then it was said, and the exit
 * code returned. */
int endpoint_check(const struct options *options, const char *url);

/* Open, try once: as wherry_channel_open(). */
int endpoint_try(const char *url, const struct wish *wish, wherry_time deadline, struct wherry_channel **ret_channel);

/* Open, waiting until the deadline or a signal.  0, or the exit code with the failure said. */
int endpoint_open(const char *url, const struct wish *wish, const struct options *options, wherry_time deadline,
                  struct wherry_channel **ret_channel);

/* A wait for an address to appear; {0} when there is none. */
struct waiting {
    wherry_time since;
    bool said;
};

/* The address of `url` is not there yet.  Where its directory is missing as well that is said, once: at once to who
 * looks on (a terminal, -v), else after a second. */
void endpoint_waits(struct waiting *waiting, const char *url, const struct options *options);

/* Open failed with `error`: the exit code. */
int endpoint_open_code(int error);

/* Another call failed: the exit code; a signal that came counts before the error. */
int endpoint_code(int error);

/* Say why the last call on `url` failed, and return `code`.  Everyday sentences of the library do not name the
 * endpoint: that is put in front of them. */
int endpoint_complain(int code, const char *url);

/* The same with more behind it: "; 3 messages were ...". */
int endpoint_complain_and(int code, const char *url, const char *more);

/* The same with the sentence of a call that another thread made. */
int endpoint_complain_of(int code, const char *url, const char *why);

/* A receive on `url` failed: whether it can go on, since that was a lack of descriptors, which passes as peers go, or,
 * for whoever keeps on, foreign bytes or a uid that may not, which are the matter of one peer alone.  Then it was said:
 * a lack no more than once in ten seconds. */
bool endpoint_goes_on(int error, const char *url, bool keeps_on);

/* Whether `error` is a lack of descriptors.  Then it was said, in all no more than once in ten seconds. */
bool endpoint_lacks_descriptors(int error, const char *url);

/* With -v: where it listens, when that is not what the URL says: port 0 became another. */
void endpoint_note_place(const char *url, const struct options *options, const struct wherry_channel *channel);

/* When a signal came, the time that is left to deliver what was taken; else `deadline`. */
wherry_time endpoint_grace(wherry_time deadline);

/* wherry_channel_borrow(), and the message in memory of this process: where it lies in memory that is shared its sender
 * may change it between a check and the use of what was checked.  One message at a time. */
int endpoint_borrow(struct wherry_channel *channel, struct wherry_loan *ret_loan, wherry_time deadline);

/* How long a close waits for what was sent to arrive: until `deadline`, but not for ever. */
wherry_time endpoint_patience(wherry_time deadline);

/* Close: wherry_channel_close(), and -EINPROGRESS when all was handed to the kernel, and had not all arrived by
 * `deadline`: it is on its way, and lost if the other side sends more (H71).  With a deadline that has passed already
 * nobody knows.  Nothing is said. */
int endpoint_part(struct wherry_channel *channel, wherry_time deadline);

/* Say that; returns the exit code. */
int endpoint_late(const char *url);

/* Whether a close may have to wait for what was sent to arrive: of TCP, which an inherited descriptor may be, too. */
bool endpoint_lingers(const char *url);

/* Deliver until `deadline` what is kept, or for the time that a signal leaves, and close, which waits for all to
 * arrive: without a deadline not for ever.  Returns 0; -EAGAIN or -ETIMEDOUT: a message that was begun is cut off;
 * -EINPROGRESS as endpoint_part(); or another -errno.  Nothing is said. */
int endpoint_end(struct wherry_channel *channel, wherry_time deadline);

/* The same; the exit code is `code`, or that of the failure, which is said, when `code` is 0. */
int endpoint_close(struct wherry_channel *channel, const char *url, wherry_time deadline, int code);

/* For verbs that hold many connections: as many descriptors as the hard limit allows. */
void raise_descriptor_limit(void);

#endif
