/* endpoint.h - opening and closing endpoints as the verbs want them, and what their failures mean for the exit code.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_ENDPOINT_H
#define WHERRY_TOOL_ENDPOINT_H

#include <stdbool.h>
#include <wherry/wherry.h>

/* A verb's own defaults; the URL wins over them. */
struct wish {
    enum wherry_role role;
    enum wherry_side side; /* where the object has sides */
    const char *frame;     /* on byte streams; NULL: the library's */
    bool no_read_ahead;    /* on what others can go on reading from when we stop */
    bool report_ends;      /* of each peer, where a listening endpoint has connections */
};

/* The traits of the URL's transport, or NULL when there is none of this scheme. */
const struct wherry_traits *endpoint_traits(const char *url);
bool endpoint_has(const char *url, uint64_t trait);

/* Whether the URL's query names this option. */
bool endpoint_says(const char *url, const char *key);

/* Open, try once: as wherry_channel_open(). */
int endpoint_try(const char *url, const struct wish *wish, wherry_time deadline, struct wherry_channel **ret_channel);

/* Open, waiting until the deadline or a signal.  0, or the exit code with the failure said. */
int endpoint_open(const char *url, const struct wish *wish, wherry_time deadline, struct wherry_channel **ret_channel);

/* Open failed with `error`: the exit code. */
int endpoint_open_code(int error);

/* Another call failed: the exit code; a signal that came counts before the error. */
int endpoint_code(int error);

/* Say why the last call on `url` failed, and return `code`.  Everyday sentences of the library do not name the endpoint:
 * that is put in front of them. */
int endpoint_complain(int code, const char *url);

/* A receive on `url` failed: whether that concerns one peer alone (foreign bytes, a uid that may not), or a lack of
 * descriptors that passes, so that who serves many goes on.  Then it was said: a lack no more than once in ten seconds. */
bool endpoint_goes_on(int error, const char *url);

/* When a signal came, the time that is left to deliver what was taken; else `deadline`. */
wherry_time endpoint_grace(wherry_time deadline);

/* Close; the exit code is `code`, or that of the failure, which is said, when `code` is 0. */
int endpoint_close(struct wherry_channel *channel, const char *url, wherry_time deadline, int code);

/* For verbs that hold many connections: as many descriptors as the hard limit allows. */
void raise_descriptor_limit(void);

#endif
