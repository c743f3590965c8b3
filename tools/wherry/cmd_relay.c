/* cmd_relay.c - `wherry relay FROM TO`: join two channels.
 *
 * SPDX-License-Identifier: MIT
 *
 * One thread.  Nothing is taken from FROM while TO is full, and what was taken is delivered before the relay ends. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "endpoint.h"
#include "relay.h"
#include "signals.h"

enum { OPTION_KEEP = OPTION_FIRST, OPTION_ONE_WAY };

/* Messages in a turn, so that no peer waits for another; and peers that have no connection, whose going nobody sees:
 * the one that was silent longest makes room. */
enum { TURN = 256, STRANGERS_MAX = 256 };

/* What all links together may hold on the way to TO, themselves included, before FROM waits for them. */
static const size_t most_in_all = (size_t)64 << 20;

/* Returns 0, or -1 with options.code set. */
static int parse(struct relay *relay, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("keep", no_argument, OPTION_KEEP),
        LONG("one-way", no_argument, OPTION_ONE_WAY),
        {0},
    };
    int option;
    while ((option = options_next(&relay->options, argc, argv, COMMON_SHORT, longs)) >= 0) {
        if (option == OPTION_KEEP)
            relay->keep = true;
        else
            relay->one_way = true;
    }
    if (option == OPTION_STOP || options_operands(&relay->options, argc, 2, 2) < 0)
        return -1;
    relay->from_url = argv[optind];
    relay->to_url = argv[optind + 1];
    return 0;
}

static bool listens(const char *url, bool by_default)
{
    if (!endpoint_has(url, WHERRY_TRAIT_LISTENS))
        return false;
    return endpoint_says(url, "listen") || (by_default && !endpoint_says(url, "connect"));
}

/* Open for both directions if the object can; whether a descriptor is duplex shows only now.  0 or the exit code. */
static int open_either(struct relay *relay, const char *url, struct wish *wish, enum wherry_role one_way,
                       struct wherry_channel **ret_channel)
{
    if (relay->two_way) {
        wish->role = WHERRY_BOTH;
        int result = endpoint_try(url, wish, WHERRY_NOW, ret_channel);
        if (result == 0) {
            endpoint_note_place(url, &relay->options, *ret_channel);
            return 0;
        }
        if (result == -EOPNOTSUPP || result == -EBADF) /* EBADF: a descriptor that is open for one direction */
            relay->two_way = false;
    }
    if (!relay->two_way)
        wish->role = one_way;
    return endpoint_open(url, wish, &relay->options, relay->deadline, ret_channel);
}

static int open_ends(struct relay *relay)
{
    struct wish from = {.side = WHERRY_LISTEN}, to = {.side = WHERRY_CONNECT};
    int code = endpoint_check(&relay->options, relay->from_url);
    if (code == TOOL_OK)
        code = endpoint_check(&relay->options, relay->to_url);
    if (code != TOOL_OK)
        return code;
    relay->two_way = !relay->one_way && endpoint_has(relay->from_url, WHERRY_TRAIT_DUPLEX) &&
                     endpoint_has(relay->to_url, WHERRY_TRAIT_DUPLEX);
    bool may_listen = listens(relay->from_url, true) || endpoint_has(relay->from_url, WHERRY_TRAIT_DESCRIPTOR);
    relay->per_peer = relay->two_way && may_listen && endpoint_has(relay->to_url, WHERRY_TRAIT_LISTENS) &&
                      !listens(relay->to_url, false);
    from.report_ends = relay->per_peer;
    code = open_either(relay, relay->from_url, &from, WHERRY_RECEIVE, &relay->from);
    if (code != 0)
        return code;
    relay->per_peer &= relay->two_way && (wherry_channel_traits(relay->from)->bits & WHERRY_TRAIT_LISTENS);
    if (relay->per_peer)
        return 0; /* TO is opened when the first peer says something */
    struct wherry_channel *channel;
    code = open_either(relay, relay->to_url, &to, WHERRY_SEND, &channel);
    if (code != 0)
        return code;
    struct link *link = relay_link(relay, 0, true);
    if (!link) {
        wherry_channel_close(channel, WHERRY_NOW); /* nothing was sent */
        return complain(TOOL_FAILED, "no memory");
    }
    link->to = channel;
    return 0;
}

/* The end of all senders of FROM. */
static void from_ends(struct relay *relay)
{
    bool for_ever = wherry_channel_traits(relay->from)->bits & WHERRY_TRAIT_ENDS_FOR_EVER;
    if (!relay->keep || for_ever)
        relay->from_done = true;
}

/* The end of one of them; one that never said anything has no link. */
static void peer_ends(struct relay *relay, uint64_t peer)
{
    struct link *link = relay_link(relay, peer, false);
    if (link)
        link->from_done = true;
    else
        wherry_channel_disconnect(relay->from, peer, wherry_after(-1)); /* nothing is on its way to it */
}

static bool all_full(const struct relay *relay)
{
    return relay->waiting + relay->link_count * sizeof(struct link) > most_in_all;
}

/* Whether FROM must wait: for one link, since nobody can say whose message is next, or for all together. */
static bool any_full(const struct relay *relay)
{
    for (const struct link *link = relay->links; link; link = link->next)
        if (link_is_full(relay, &link->forward))
            return true;
    return all_full(relay);
}

/* Peers without a connection never end: the idle link that was used longest ago makes room for a new one. */
static void make_room(struct relay *relay)
{
    struct link **oldest = NULL, *link;
    if (relay->link_count < STRANGERS_MAX || endpoint_has(relay->from_url, WHERRY_TRAIT_ENDS))
        return;
    for (struct link **at = &relay->links; *at; at = &(*at)->next)
        if (link_is_idle(*at))
            oldest = at;
    if (!oldest)
        return;
    link = *oldest;
    *oldest = link->next;
    link_close(relay, link); /* strangers have no connection to let go of */
}

/* False: FROM must wait. */
static bool take_one(struct relay *relay, const struct wherry_loan *loan)
{
    if (loan->info.flags & WHERRY_ENDED) {
        peer_ends(relay, loan->info.peer.id);
        return true;
    }
    struct link *link = relay_link(relay, loan->info.peer.id, false);
    if (link && link->let_go_until != 0)
        return true; /* the library drops the rest of what it sends; this was read ahead */
    if (!link) {
        make_room(relay);
        link = relay_link(relay, loan->info.peer.id, true);
    }
    relay_count(relay, relay->from_url, loan);
    if (link) {
        link_forward(relay, link, loan);
        return !link_is_full(relay, &link->forward) && !all_full(relay);
    }
    relay->lost++;
    relay->code = complain(TOOL_FAILED, "no memory for another peer");
    relay->from_done = true;
    return false;
}

static void taking_failed(struct relay *relay, int error)
{
    if (endpoint_goes_on(error, relay->from_url, relay->keep || relay->per_peer)) {
        /* what one peer sent costs the others nothing; but not all was delivered, however many connections there are */
        bool bad_peer = error == -EBADMSG || error == -EPERM;
        if (bad_peer && !relay->keep && relay->code == TOOL_OK)
            relay->code = endpoint_code(error);
        return;
    }
    relay_fails(relay, endpoint_code(error), relay->from_url);
    relay->from_done = true;
}

/* Take a turn's worth from FROM. */
static void take(struct relay *relay)
{
    bool more = !any_full(relay);
    for (int i = 0; i < TURN && more && !relay->from_done; i++) {
        struct wherry_loan loan;
        int result = endpoint_borrow(relay->from, &loan, WHERRY_NOW);
        if (result == -EAGAIN)
            return;
        if (result < 0) {
            taking_failed(relay, result);
            return;
        }
        relay->progressed = true;
        if (result == 1) {
            more = take_one(relay, &loan);
            wherry_channel_return(relay->from, &loan);
        } else {
            from_ends(relay);
        }
    }
    relay->more |= more && !relay->from_done;
}

/* All links have their turn; those that are done are closed.  Without any left a relay that is not per peer is done. */
static void turn_links(struct relay *relay)
{
    bool lingers = false;
    for (struct link **at = &relay->links; *at;) {
        struct link *link = *at;
        if (!link->dead)
            link_turn(relay, link);
        if (!link->dead || !link_lets_go(relay, link)) {
            lingers |= link->dead && link->let_go_until == 0;
            at = &link->next;
            continue;
        }
        *at = link->next;
        link_close(relay, link);
        relay->progressed = true;
    }
    if (!relay->links && !relay->per_peer)
        relay->from_done = true;
    if (relay->unflushed)
        relay->unflushed = wherry_channel_flush(relay->from, WHERRY_NOW) == -EAGAIN;
    relay->more |= lingers && !relay->unflushed; /* what it waited for is out: now it can go */
}

static void wait_for_work(struct relay *relay)
{
    waiter_begin(&relay->waiter, relay->deadline);
    waiter_not_after(&relay->waiter, farewell_next(&relay->farewells));
    bool back_waits = relay->unflushed;
    for (const struct link *link = relay->links; link; link = link->next) {
        link_wait(relay, link);
        back_waits |= link->back.first != NULL;
    }
    if (!relay->from_done && !any_full(relay))
        waiter_receives(&relay->waiter, relay->from);
    if (back_waits)
        waiter_sends(&relay->waiter, relay->from);
    waiter_wait(&relay->waiter, relay->progressed);
}

/* A signal: nothing more is taken, what was taken goes out. */
static void stop(struct relay *relay)
{
    relay->stopping = relay->from_done = relay->waiter.deaf = true;
    relay->deadline = endpoint_grace(relay->deadline);
}

static bool is_done(const struct relay *relay)
{
    return relay->from_done && !relay->links && !relay->unflushed;
}

/* Returns when everything taken is delivered and nothing more comes, or when the time is up. */
static void carry(struct relay *relay)
{
    while (!is_done(relay)) {
        if (signals_caught() && !relay->stopping)
            stop(relay);
        relay->progressed = relay->more = false;
        take(relay);
        turn_links(relay);
        relay_hear_farewells(relay, false);
        if (is_done(relay))
            return;
        if (relay->deadline != WHERRY_FOREVER && wherry_now() >= relay->deadline) {
            relay->out_of_time = true;
            relay->code = complain(endpoint_code(-ETIMEDOUT), "%s: the time %s is over", relay->from_url,
                                   relay->stopping ? "after the signal" : "that -w gave");
            return;
        }
        if (!relay->more)
            wait_for_work(relay);
    }
}

static int work(struct relay *relay)
{
    relay->deadline = options_deadline(&relay->options);
    int code = open_ends(relay);
    progress_begin(&relay->progress, &relay->options, "relayed", -1);
    if (code == 0)
        carry(relay);
    else
        relay->code = code;
    while (relay->links) {
        struct link *link = relay->links;
        relay->links = link->next;
        link_close(relay, link);
    }
    relay_hear_farewells(relay, true);
    if (endpoint_part(relay->from, endpoint_patience(relay->deadline)) == -EINPROGRESS)
        relay_late(relay, relay->from_url);
    if (relay->late > 1)
        complain(0, "%" PRIu64 " connections ended before all that was sent on them had arrived", relay->late);
    if (relay->torn > 1)
        complain(0, "%" PRIu64 " last records came without their delimiters, and were sent on like whole ones",
                 relay->torn);
    if (relay->lost > 0)
        complain(0, "%s: %" PRIu64 " message%s received but not delivered", relay->to_url, relay->lost,
                 relay->lost == 1 ? " was" : "s were");
    if (relay->lost > 0 && relay->code == TOOL_OK)
        relay->code = TOOL_FAILED;
    if (code == 0)
        progress_end(&relay->progress);
    waiter_fini(&relay->waiter);
    return signals_caught() ? TOOL_SIGNAL + signals_caught() : relay->code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct relay relay = {.options = options_of(verb)};
    if (parse(&relay, argc, argv) < 0)
        return relay.options.code;
    int code = signals_install();
    if (code != 0)
        return code;
    raise_descriptor_limit();
    return work(&relay);
}

const struct verb verb_relay = {
    .name = "relay",
    .summary = "join two channels",
    .operands = "FROM TO",
    .help = "Send on to TO what comes from FROM, until the senders of FROM have gone and all\n"
            "is delivered.  FROM listens and TO connects, unless their URLs say otherwise.\n"
            "Types are kept where both ends have them.\n"
            "\n"
            "Where both ends are duplex, messages go both ways: each peer of FROM gets a\n"
            "connection to TO of its own, when it first says something, and what comes back\n"
            "there goes to that peer.  Where TO listens too, all share one endpoint.\n"
            "\n"
            "While TO is full, FROM is not read; with a connection for each peer that is so\n"
            "once 256 KiB wait here for one of them, or 64 MiB for all.  After a signal what\n"
            "was received is still delivered, for 5s.\n"
            "\n"
            "      --keep         go on after the end of the senders and after foreign bytes\n"
            "      --one-way      from FROM to TO alone; the peers of FROM share one TO\n"
            "\n"
            "-w bounds the whole.\n",
    .examples = "Examples:\n"
                "  wherry relay fifo:./in unix:/run/app/in.sock\n"
                "  wherry relay --keep unix:./front unix:./back\n",
    .run = run,
};
