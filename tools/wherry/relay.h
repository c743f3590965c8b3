/* relay.h - one way through a relay: from FROM, or one peer of it, to an endpoint of TO and back.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_RELAY_H
#define WHERRY_TOOL_RELAY_H

#include <stdbool.h>
#include <wherry/wherry.h>

#include "endpoint.h"
#include "farewell.h"
#include "options.h"
#include "outbox.h"
#include "progress.h"
#include "waiter.h"

struct link {
    struct link *next;         /* in the order in which they were last used */
    uint64_t peer;             /* of FROM; 0: all of them */
    struct wherry_channel *to; /* NULL while it is not there yet */
    struct outbox forward, back;
    wherry_time retry_at, retry_step; /* while `to` is NULL */
    wherry_time patience;             /* of a try to reach another host */
    wherry_time quiet_since;          /* when the last came back, or its peer ended */
    wherry_time let_go_until;         /* its peer was told the end, and what was sent to it arrives; 0: not yet */
    size_t in_vain;                   /* bytes that came after TO had gone */
    bool unflushed;                   /* `to` itself keeps something */
    bool from_done;                   /* nothing more comes from FROM for this link */
    bool forward_done;                /* and TO was told so; or nothing can be sent there any more */
    bool to_done;                     /* nothing more comes back */
    bool dead;                        /* nothing more is to be done but to let its peer go */
};

struct relay {
    struct options options;
    const char *from_url, *to_url;
    struct wherry_channel *from;
    struct link *links;
    size_t link_count;
    size_t waiting; /* bytes on their way to TO, of all links */
    struct waiter waiter;
    struct progress progress;
    bool keep, one_way; /* flags */
    bool two_way;       /* both ends are duplex */
    bool per_peer;      /* a link for each peer of FROM */
    bool from_done;     /* nothing more is taken from FROM */
    bool unflushed;     /* FROM itself keeps something for its peers */
    bool stopping;      /* a signal came: deliver what is here, take nothing more */
    bool progressed;    /* this turn brought something */
    bool more;          /* there may be more to take without waiting */
    bool types_noted;   /* that types are dropped was said */
    bool out_of_time;   /* so was that the time is over */
    uint64_t lost;      /* messages taken and not delivered */
    uint64_t late;      /* connections on which not all arrived in time */
    uint64_t torn;      /* last records without a delimiter that went on as whole ones */
    int code;
    wherry_time deadline;
    struct waiting to_waits;
    struct farewells farewells; /* ends of TO that links have done with */
};

/* The link that messages of this peer of FROM go through, now first in the list; made when there is none and `make`.
 * NULL: none, or no memory. */
struct link *relay_link(struct relay *relay, uint64_t peer, bool make);

/* Whether a link holds as much as it may: then FROM (or, for the way back, TO) is not read. */
bool link_is_full(const struct relay *relay, const struct outbox *outbox);

/* Send a message from FROM on its way. */
void link_forward(struct relay *relay, struct link *link, const struct wherry_loan *loan);

/* One turn: open TO, get rid of what waits, take what comes back, notice who has gone. */
void link_turn(struct relay *relay, struct link *link);

/* Name what the link waits for. */
void link_wait(struct relay *relay, const struct link *link);

/* Nothing waits in it: it may go when others need its place. */
bool link_is_idle(const struct link *link);

/* Let the peer of a dead link go once all its answers are written, and have arrived.  False: not yet. */
bool link_lets_go(struct relay *relay, struct link *link);

/* Close and free it; what it still holds counts as lost. */
void link_close(struct relay *relay, struct link *link);

/* A message that came from `url` goes on.  A record that lacks its delimiter cannot be passed on as such: it is
 * counted, and the first of them is said. */
void relay_count(struct relay *relay, const char *url, const struct wherry_loan *loan);

/* Hear how the closing of the ends of TO went, as far as it is over; `wait`: of all. */
void relay_hear_farewells(struct relay *relay, bool wait);

/* Not all that was sent to a peer of `url` arrived in time: it is counted, and the first of them is said; the relay
 * exits with that in the end. */
void relay_late(struct relay *relay, const char *url);

/* The last call on `url` failed: say why; the relay exits with `code` in the end. */
void relay_fails(struct relay *relay, int code, const char *url);

#endif
