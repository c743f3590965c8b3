/* relay_link.c - owns one way through a relay.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "relay.h"
#include "signals.h"

enum { TURN = 256 };

/* How long a try to reach another host takes at most. */
#define PATIENCE (400 * WHERRY_MILLISECOND)

/* Where TO knows no end, only silence for so long says that no more comes back for a peer that has ended. */
#define QUIET (5 * WHERRY_SECOND)

/* How often it is looked whether all that was sent to a peer has arrived. */
#define ARRIVING (2 * WHERRY_MILLISECOND)

/* A link of its own for each peer may hold so much, so that one slow peer does not at once stop the others; where all
 * share one link, what TO does not take is not taken from FROM. */
static const size_t most_per_peer = 256 << 10;

void relay_fails(struct relay *relay, int code, const char *url)
{
    endpoint_complain(code, url);
    if (relay->code == TOOL_OK)
        relay->code = code;
}

void relay_late(struct relay *relay, const char *url)
{
    if (relay->out_of_time || relay->late++ > 0)
        return;
    int code = endpoint_late(url);
    if (relay->code == TOOL_OK)
        relay->code = code;
}

void relay_count(struct relay *relay, const char *url, const struct wherry_loan *loan)
{
    progress_count(&relay->progress, 1, loan->info.size);
    if (!(loan->info.flags & WHERRY_INCOMPLETE))
        return;
    if (relay->torn++ == 0)
        complain(0, "%s: a last record came without its delimiter; it is sent on like a whole one", url);
}

bool link_is_full(const struct relay *relay, const struct outbox *outbox)
{
    return outbox->bytes > (relay->per_peer ? most_per_peer : 0);
}

struct link *relay_link(struct relay *relay, uint64_t peer, bool make)
{
    if (!relay->per_peer)
        peer = 0;
    struct link **at = &relay->links, *link;
    while (*at && (*at)->peer != peer)
        at = &(*at)->next;
    if ((link = *at)) {
        *at = link->next;
    } else if (make && (link = calloc(1, sizeof *link))) {
        *link =
            (struct link){.peer = peer, .forward.total = &relay->waiting, .back.to = peer, .to_done = !relay->two_way};
        relay->link_count++;
    }
    if (link) {
        link->next = relay->links;
        relay->links = link;
    }
    return link;
}

/* Nothing can be sent to TO any more.  What it had sent before it went may still come, up to its end if it has one. */
static void give_up(struct relay *relay, struct link *link)
{
    relay->lost += link->forward.count;
    outbox_clear(&link->forward);
    link->unflushed = false;
    link->forward_done = true;
    link->to_done |= !link->to || !endpoint_has(relay->to_url, WHERRY_TRAIT_ENDS);
    relay->progressed = true;
}

/* A message that TO refuses costs itself alone where others have a claim to the relay; else it ends it. */
static bool only_this_message(const struct relay *relay, int error)
{
    return (error == -EINVAL || error == -EMSGSIZE) && (relay->per_peer || relay->keep);
}

static void sending_failed(struct relay *relay, struct link *link, int error)
{
    if (error == -ENOMEM)
        relay->code = complain(TOOL_FAILED, "no memory for a message that waits");
    else
        relay_fails(relay, endpoint_code(error), relay->to_url);
    if (!only_this_message(relay, error))
        give_up(relay, link);
}

static void note_types(struct relay *relay, const struct link *link)
{
    if (link->forward.drop_types && relay->options.verbose && !relay->types_noted) {
        note("%s has no types: they are dropped", relay->to_url);
        relay->types_noted = true;
    }
}

/* TO takes no more, but this peer goes on: it is given time to read what came back, but not for ever. */
static void forward_to_nobody(struct relay *relay, struct link *link, const struct wherry_loan *loan)
{
    relay->lost++;
    link->in_vain += loan->info.size + 1;
    if (link->peer != 0 && link->in_vain > most_per_peer)
        wherry_channel_disconnect(relay->from, link->peer, wherry_after(WHERRY_MILLISECOND));
}

void link_forward(struct relay *relay, struct link *link, const struct wherry_loan *loan)
{
    if (link->forward_done) {
        forward_to_nobody(relay, link, loan);
        return;
    }
    int result = outbox_post(&link->forward, link->to, loan);
    if (result < 0) {
        relay->lost++;
        sending_failed(relay, link, result);
    }
    note_types(relay, link);
    link->unflushed |= result == 0;
}

static void open_to(struct relay *relay, struct link *link)
{
    struct wish wish = {.role = relay->two_way ? WHERRY_BOTH : WHERRY_SEND, .side = WHERRY_CONNECT};
    if (wherry_now() < link->retry_at)
        return;
    /* To another host it takes as long as packets go there and back, and nobody is relayed for meanwhile: each try gets
     * twice the time of the one before. */
    bool far = strncmp(relay->to_url, "tcp:", 4) == 0;
    int result = endpoint_try(relay->to_url, &wish, far ? wherry_after(link->patience) : WHERRY_NOW, &link->to);
    link->patience = link->patience ? 2 * link->patience : WHERRY_MILLISECOND;
    if (link->patience > PATIENCE)
        link->patience = PATIENCE;
    if (result == 0) {
        relay->progressed = true;
        relay->to_waits = (struct waiting){0};
        return;
    }
    if (endpoint_lacks_descriptors(result, relay->to_url)) {
        relay->code = relay->code == TOOL_OK ? TOOL_FAILED : relay->code;
        give_up(relay,
                link); /* its peer is let go: to wait with it could be for ever, since peers hold the descriptors */
        return;
    }
    if (result != -EAGAIN && result != -ETIMEDOUT) {
        relay_fails(relay, endpoint_open_code(result), relay->to_url);
        give_up(relay, link);
        return;
    }
    endpoint_waits(&relay->to_waits, relay->to_url, &relay->options);
    link->retry_step = link->retry_step ? link->retry_step * 2 : WHERRY_MILLISECOND;
    if (link->retry_step > 50 * WHERRY_MILLISECOND)
        link->retry_step = 50 * WHERRY_MILLISECOND;
    link->retry_at = wherry_after(link->retry_step);
}

static void pump_forward(struct relay *relay, struct link *link)
{
    size_t before = link->forward.count;
    int result = outbox_pump(&link->forward, link->to);
    while (result < 0 && result != -EAGAIN && only_this_message(relay, result)) {
        sending_failed(relay, link, result);
        relay->lost++;
        outbox_skip(&link->forward);
        result = outbox_pump(&link->forward, link->to);
    }
    note_types(relay, link);
    relay->progressed |= before != link->forward.count;
    if (result == 0 || result == -EAGAIN) {
        result = wherry_channel_flush(link->to, WHERRY_NOW);
        relay->progressed |= link->unflushed && result == 0;
        link->unflushed = result == -EAGAIN;
    }
    if (result < 0 && result != -EAGAIN)
        sending_failed(relay, link, result);
}

static void pump_back(struct relay *relay, struct link *link)
{
    size_t before = link->back.count;
    int result = outbox_pump(&link->back, relay->from);
    relay->progressed |= before != link->back.count;
    if (result == 0 || result == -EAGAIN)
        return;
    /* whoever asked has gone: its answers have nowhere to go, which is nobody's failure */
    if (relay->options.verbose)
        note("%s: %zu messages came back for a peer that has gone", relay->from_url, link->back.count);
    outbox_clear(&link->back);
    link->from_done = link->to_done = true;
}

static void take_back(struct relay *relay, struct link *link)
{
    for (int i = 0; i < TURN && !link->to_done && !link_is_full(relay, &link->back); i++) {
        struct wherry_loan loan;
        int result = endpoint_borrow(link->to, &loan, WHERRY_NOW);
        if (result == -EAGAIN)
            return;
        relay->progressed = true;
        if (result == 1) {
            link->quiet_since = wherry_now();
            relay_count(relay, relay->to_url, &loan);
            result = outbox_post(&link->back, relay->from, &loan);
            wherry_channel_return(link->to, &loan);
            relay->unflushed = true;
            if (result == 0)
                continue;
            pump_back(relay, link);
        } else if (result < 0) {
            relay_fails(relay, endpoint_code(result), relay->to_url);
        }
        link->to_done = true;
    }
    relay->more |= !link->to_done && !link_is_full(relay, &link->back);
}

/* All that came from FROM is out: tell TO, once, that no more will. */
static void finish_forward(struct relay *relay, struct link *link)
{
    if (link->forward_done || !(link->from_done || relay->from_done) || link->forward.first || link->unflushed)
        return;
    wherry_channel_finish(link->to, WHERRY_NOW); /* where the object cannot say so, closing it will */
    link->forward_done = true;
    link->quiet_since = wherry_now();
    relay->progressed = true;
}

static bool is_quiet(const struct relay *relay, const struct link *link)
{
    return (link->from_done || relay->from_done) && !endpoint_has(relay->to_url, WHERRY_TRAIT_ENDS) &&
           wherry_now() - link->quiet_since >= QUIET;
}

static bool is_gone(struct wherry_channel *channel, uint64_t peer)
{
    struct wherry_peer who;
    return wherry_channel_peer(channel, peer, &who) == -ENOTCONN;
}

/* What ends a link: both directions are done; or one end has gone for good, and all that it sent is delivered. */
static void notice_end(struct relay *relay, struct link *link)
{
    link->to_done |= link->forward_done && is_quiet(relay, link);
    bool settled = !link->back.first && (link->peer != 0 || !relay->unflushed);
    if (relay->stopping)
        link->dead = settled && !link->forward.first && !link->unflushed;
    else if (link->forward_done && link->to_done)
        link->dead = settled;
    else if (relay->two_way && link->to_done && settled && is_gone(link->to, 0))
        link->dead = link->forward_done = true; /* link_close() counts what did not get there */
    else if (relay->two_way && link->forward_done)
        link->dead = is_gone(relay->from, link->peer); /* nobody is left to wait for what may come back */
}

void link_turn(struct relay *relay, struct link *link)
{
    if (!link->to && !link->forward_done)
        open_to(relay, link);
    if (link->to && !link->forward_done)
        pump_forward(relay, link);
    if (link->to)
        finish_forward(relay, link);
    if (link->to && !relay->stopping)
        take_back(relay, link);
    if (link->back.first)
        pump_back(relay, link);
    notice_end(relay, link);
}

bool link_is_idle(const struct link *link)
{
    return !link->forward.first && !link->back.first && !link->unflushed;
}

/* How a close of TO went. */
static void parted(struct relay *relay, int result)
{
    if (result == -EINPROGRESS)
        relay_late(relay, relay->to_url);
    else if (result < 0)
        relay_fails(relay, endpoint_code(result), relay->to_url);
}

void relay_hear_farewells(struct relay *relay, bool wait)
{
    int result;
    char why[512];
    while (farewell_over(&relay->farewells, wait, &result, why)) {
        if (result == 0 || result == -EINPROGRESS) {
            parted(relay, result);
            continue;
        }
        int code = endpoint_complain_of(endpoint_code(result), relay->to_url, why);
        if (relay->code == TOOL_OK)
            relay->code = code;
    }
}

/* Nothing more goes through a link: what it still holds is lost, and TO is closed.  What was sent there has time to
 * arrive, while the other links are served (H71). */
static void hang_up(struct relay *relay, struct link *link)
{
    relay->lost += link->forward.count + link->back.count;
    outbox_clear(&link->forward);
    outbox_clear(&link->back);
    if (!link->to)
        return;
    if (endpoint_lingers(relay->to_url))
        parted(relay, farewell_begin(&relay->farewells, link->to, endpoint_patience(relay->deadline)));
    else
        parted(relay, wherry_channel_close(link->to, link->unflushed ? endpoint_grace(relay->deadline) : WHERRY_NOW));
    link->to = NULL;
    link->unflushed = false;
}

bool link_lets_go(struct relay *relay, struct link *link)
{
    struct wherry_peer_stats stats = {0};
    hang_up(relay, link);
    if (link->peer == 0 || wherry_channel_disconnect(relay->from, link->peer, WHERRY_NOW) != -EAGAIN)
        return true;
    wherry_channel_peer_stats(relay->from, link->peer, &stats, sizeof stats);
    if (stats.kept_bytes > 0) {
        relay->unflushed = true;
        return false;
    }
    if (link->let_go_until == 0)
        link->let_go_until = endpoint_patience(relay->deadline);
    if (wherry_now() < link->let_go_until)
        return false;
    wherry_channel_disconnect(relay->from, link->peer, wherry_after(-1)); /* a deadline that has passed: now it goes */
    relay_late(relay, relay->from_url);
    return true;
}

void link_wait(struct relay *relay, const struct link *link)
{
    if (link->let_go_until != 0)
        waiter_not_after(&relay->waiter, wherry_after(ARRIVING)); /* no descriptor says when all has arrived */
    if (link->dead)
        return; /* else it waits for room at FROM */
    if (!link->to) {
        waiter_not_after(&relay->waiter, link->retry_at);
        return;
    }
    if (!link->to_done && !relay->stopping && !link_is_full(relay, &link->back))
        waiter_receives(&relay->waiter, link->to);
    if (link->forward.first || link->unflushed)
        waiter_sends(&relay->waiter, link->to);
    /* one direction has ended: no descriptor says when the other end goes altogether */
    if (relay->two_way && (link->forward_done || link->to_done))
        waiter_not_after(&relay->waiter, wherry_after(50 * WHERRY_MILLISECOND));
}

void link_close(struct relay *relay, struct link *link)
{
    hang_up(relay, link);
    relay->link_count--;
    free(link);
}
