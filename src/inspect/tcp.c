/* inspect/tcp.c - owns which TCP sockets are the two ends of one connection; tcp(7).
 *
 * SPDX-License-Identifier: MIT
 *
 * Two ends in one namespace are told by their addresses, the one's being the other's in reverse.  Between two
 * namespaces (a pair of virtual cards) too, unless a third socket could be meant as well, or the addresses are those
 * of a machine to itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/collectors.h"
#include "inspect/inet.h"

static const char *state_name(uint8_t state)
{
    static const char *const names[] = {
        [STATE_ESTABLISHED] = "ESTABLISHED",
        [STATE_SYN_SENT] = "SYN_SENT",
        [STATE_SYN_RECV] = "SYN_RECV",
        [STATE_FIN_WAIT1] = "FIN_WAIT1",
        [STATE_FIN_WAIT2] = "FIN_WAIT2",
        [STATE_TIME_WAIT] = "TIME_WAIT",
        [STATE_CLOSE] = "CLOSE",
        [STATE_CLOSE_WAIT] = "CLOSE_WAIT",
        [STATE_LAST_ACK] = "LAST_ACK",
        [STATE_LISTEN] = "LISTEN",
        [STATE_CLOSING] = "CLOSING",
        [STATE_NEW_SYN_RECV] = "SYN_RECV",
        [STATE_BOUND_INACTIVE] = "bound",
    };
    return state < sizeof names / sizeof *names && names[state] ? names[state] : "?";
}

static bool is_listener(const struct end *end)
{
    return end->state == STATE_LISTEN;
}

static bool is_connection(const struct end *end)
{
    return end->state != STATE_LISTEN && end->inet.there.port;
}

/* It has no inode, but no process has closed it either: nobody has accepted it yet. */
static bool is_pending(const struct end *end)
{
    return !end->object->a && (end->state == STATE_ESTABLISHED || end->state == STATE_CLOSE_WAIT ||
                               end->state == STATE_SYN_RECV || end->state == STATE_NEW_SYN_RECV);
}

/* ---- names: of several listeners at one address (SO_REUSEPORT, namespaces) each has its inode in it ---- */

static bool is_same_name(const struct end *a, const struct end *b)
{
    return a != b && wherry__address_same(&a->inet.here, &b->inet.here);
}

static void name_listener(struct end *end, const struct by_address *listeners)
{
    struct end *other = wherry__by_address_slot(listeners, &end->inet.here, NULL);
    while (other && !is_same_name(end, other))
        other = other->inet.same_slot;
    wherry__inet_name(end, "tcp");
    if (other && end->object->public.inode)
        end->object->public.name = wherry__inspect_text(end->object->snapshot, "%s[%llu]", end->object->public.name,
                                                        (unsigned long long)end->object->public.inode);
}

/* ---- peers ---- */

/* Who listens at its address gets it before who listens at all; a connection is of the family of who listens, also one
 * by IPv4 to an IPv6 socket.  0: not this one. */
static unsigned suits(const struct end *listener, const struct end *end)
{
    if (listener->net != end->net || listener->inet.v6 != end->inet.v6 ||
        listener->inet.here.port != end->inet.here.port)
        return 0;
    if (wherry__address_same(&listener->inet.here, &end->inet.here))
        return 2;
    return wherry__address_any(&listener->inet.here) ? 1 : 0;
}

/* Of several that listen at one address (socket(7), SO_REUSEPORT), nothing tells which one it is. */
static void join_pending(struct end *end, const struct by_address *listeners)
{
    struct end *first = wherry__by_address_slot(listeners, &end->inet.here, NULL);
    unsigned best = 0, count = 0;
    for (struct end *other = first; other; other = other->inet.same_slot) {
        unsigned how = suits(other, end);
        count = how > best ? 1 : count + (how && how == best);
        if (how > best)
            best = how;
    }
    end->object->public.flags |= WHERRY_INSPECT_PENDING;
    const char *evidence =
        count > 1 ? wherry__inspect_text(end->object->snapshot, "sock_diag: one of %u that listen there", count)
                  : "sock_diag";
    for (struct end *other = first; other && best; other = other->inet.same_slot)
        if (suits(other, end) == best) {
            end->listener = other;
            wherry__inspect_link(end->object, other->object, WHERRY_INSPECT_QUEUED, evidence);
        }
}

/* ---- the whole ---- */

static void describe(struct end *end, const struct by_address *listeners)
{
    struct wherry_inspect_object *public = &end->object->public;
    if (is_listener(end)) {
        name_listener(end, listeners);
        public->flags |= WHERRY_INSPECT_LISTENING;
        public->detail = public->limit < 0
                             ? "LISTEN"
                             : wherry__inspect_text(end->object->snapshot, "LISTEN, %lld of %lld wait",
                                                    (long long)public->messages, (long long)public->limit);
        return;
    }
    wherry__inet_name(end, "tcp");
    if (is_connection(end) && end->state != STATE_SYN_SENT && end->state != STATE_TIME_WAIT)
    public->flags |= WHERRY_INSPECT_CONNECTED;
    if (is_pending(end))
        join_pending(end, listeners);
    public->detail = public->flags & WHERRY_INSPECT_PENDING
                         ? wherry__inspect_text(end->object->snapshot, "%s, not accepted yet", state_name(end->state))
                         : state_name(end->state);
}

void wherry__tcp_join(struct snapshot *snapshot)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    struct by_address listeners, connections;
    if (!wherry__by_address(snapshot, sockets->tcp, sockets->tcp_count, is_listener, true, &listeners) ||
        !wherry__by_address(snapshot, sockets->tcp, sockets->tcp_count, is_connection, false, &connections))
        return;
    for (struct end *end = sockets->tcp; end; end = end->next) {
        describe(end, &listeners);
        if (is_connection(end) && !end->object->drop)
            (void)wherry__inet_join(end, &connections, false);
    }
}

/* ---- network namespaces that a descriptor leads to, whoever is in them ---- */

static void namespace_descriptor(struct visit *visit)
{
    wherry__nets_meet(visit->snapshot, strtoull(visit->link + strlen("net:["), NULL, 10), 0, visit->directory,
                      visit->number, NULL);
}

const struct collector wherry__collector_tcp = {
    .name = "tcp",
    .summary = "an end of a TCP connection, or a socket that listens",
    .link = "net:[",
    .descriptor = namespace_descriptor,
    .state = wherry__end_state,
};
