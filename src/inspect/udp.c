/* inspect/udp.c - owns which UDP sockets send to which, as far as they are connected; udp(7).
 *
 * SPDX-License-Identifier: MIT
 *
 * A connected socket's peer is the one that is connected to it, or else the one that is bound to where it sends.
 * Who is not connected may send anywhere, and nobody can tell. */
#include <stdio.h>
#include <string.h>

#include "inspect/collectors.h"
#include "inspect/inet.h"

static bool is_connected(const struct end *end)
{
    return end->inet.there.port != 0;
}

static bool is_open(const struct end *end)
{
    return !is_connected(end);
}

/* Whether what is sent to `to` would reach it: 2, it is bound to just that; 1, to all addresses of the namespace, and
 * this is one. */
static int reaches(const struct end *from, const struct end *open)
{
    const struct address *to = &from->inet.there, *here = &open->inet.here;
    if (open->net != from->net || here->port != to->port)
        return 0;
    if (wherry__address_same(here, to))
        return 2;
    bool own = wherry__address_loopback(to) || memcmp(from->inet.here.ip, to->ip, sizeof to->ip) == 0;
    bool family = open->inet.v6 ? (!open->inet.v6only || from->inet.v6) : !from->inet.v6;
    return own && family && wherry__address_any(here);
}

static void join_open(struct end *end, const struct by_address *opens)
{
    struct end *best = NULL;
    int reached = 0, equals = 0;
    for (struct end *open = wherry__by_address_slot(opens, &end->inet.there, NULL); open; open = open->inet.same_slot) {
        int how = reaches(end, open);
        equals += how && how == reached;
        if (how > reached) {
            best = open;
            reached = how;
            equals = 0;
        }
    }
    if (best && !equals)
        wherry__inet_link(end, best, ", one way: it sends there");
}

void wherry__udp_join(struct snapshot *snapshot)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    struct by_address connected, opens;
    if (!wherry__by_address(snapshot, sockets->udp, sockets->udp_count, is_connected, false, &connected) ||
        !wherry__by_address(snapshot, sockets->udp, sockets->udp_count, is_open, true, &opens))
        return;
    for (struct end *end = sockets->udp; end; end = end->next) {
        wherry__inet_name(end, "udp");
        end->object->public.flags |= is_connected(end) ? WHERRY_INSPECT_CONNECTED : 0;
        end->object->public.detail = is_connected(end) ? "connected" : "unconnected";
        if (is_connected(end) && !end->object->drop)
            if (!wherry__inet_join(end, &connected, true))
                join_open(end, &opens);
    }
}

const struct collector wherry__collector_udp = {
    .name = "udp",
    .summary = "a UDP socket",
    .state = wherry__end_state,
};
