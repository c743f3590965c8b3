/* channel/crowd_send.c - owns where the messages of a listening endpoint go.
 *
 * SPDX-License-Identifier: MIT
 *
 * A message with an addressee goes to that peer; one without goes to whoever is connected and has room, in turn, so
 * that a peer that is stopped or slow holds up nobody's messages but those already in its socket. */
#include <errno.h>

#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "channel/crowd.h"

/* Messages of one call that go to one of several peers before it is another's turn. */
enum { RUN = 64 };

/* On an endpoint that only sends nobody reads what peers send; that they went shows here.  One that has only ended its
 * sending still receives; of TCP nothing tells that from a closed socket. */
static void listen_for_end(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    char ignored[4096];
    struct wherry__link *link = &member->link;
    ssize_t size = wherry__sys.recv(link->in_fd, ignored, sizeof ignored, MSG_DONTWAIT);
    if (size == 0 && !link->plain && !wherry__link_hung_up(link))
        wherry__wait_change(&endpoint->sending, link->in_fd, EPOLLOUT, link->peer.id);
    else if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        wherry__crowd_remove(endpoint, member);
}

static int take_events(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct epoll_event event;
    int result = 0;
    while (result == 0 && wherry__wait_next(&endpoint->sending, &event)) {
        if (event.data.u64 == WHERRY__CROWD_LISTENER) {
            result = wherry__crowd_accept(endpoint);
            continue;
        }
        if (event.data.u64 == WHERRY__CROWD_TIMER) {
            result = wherry__crowd_accept_again(endpoint);
            continue;
        }
        struct wherry__member *member = wherry__crowd_find(crowd, event.data.u64);
        if (member && endpoint->config->role == WHERRY_SEND &&
            (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
            listen_for_end(endpoint, member);
    }
    return result;
}

/* It cannot be sent to.  A duplex endpoint's receiving half may be lending from it, and will notice by itself. */
static void lose(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    if (endpoint->config->role == WHERRY_SEND)
        wherry__crowd_remove(endpoint, member);
    else
        wherry__wait_remove(&endpoint->sending, member->link.in_fd); /* it would end each wait at once */
}

/* It had ended, and now it may have all its answers. */
static void let_go_if_answered(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    if (member->ended && member->unanswered <= 0 && !wherry__link_keeps(&member->link) &&
        !endpoint->config->report_ends && member != wherry__crowd_of(endpoint)->current &&
        !wherry__crowd_says_end(wherry__crowd_of(endpoint), member))
        wherry__crowd_remove(endpoint, member);
}

/* A run of messages to one peer.  As link_send, but what was begun is kept when others must not wait for it. */
static int send_run(struct wherry__endpoint *endpoint, struct wherry__member *member,
                    const struct wherry_message *messages, size_t count, unsigned flags, size_t *ret_taken)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int result = wherry__link_send(&member->link, messages, count, flags, ret_taken);
    if (result == -EINPROGRESS) {
        if (endpoint->config->role == WHERRY_SEND && crowd->count == 1) {
            crowd->begun = member;
        } else {
            result = wherry__link_keep(&member->link);
            *ret_taken += result == 1;
            result = result == 1 ? 0 : result;
        }
    }
    member->unanswered -= (int64_t)*ret_taken;
    member->sent_messages += *ret_taken;
    for (size_t i = 0; i < *ret_taken; i++)
        member->sent_bytes += messages[i].size;
    wherry__crowd_watch_tail(endpoint, member);
    return result;
}

static int send_to(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                   unsigned flags, size_t *ret_taken)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = wherry__crowd_find(crowd, messages[0].to);
    if (!member || member->leaving)
        return wherry__fail(ENOTCONN, "%s: peer %llu is not connected", endpoint->config->name,
                            (unsigned long long)messages[0].to);
    int result = send_run(endpoint, member, messages, count, flags, ret_taken);
    if (result == -EPIPE) {
        lose(endpoint, member);
        return wherry__fail(ENOTCONN, "%s: peer %llu is gone", endpoint->config->name,
                            (unsigned long long)messages[0].to);
    }
    if (result == 0)
        let_go_if_answered(endpoint, member);
    return result;
}

/* Who always finds room never waits, and so would never hear that somebody has come. */
static bool is_time_to_accept(struct wherry__crowd *crowd)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* a tick is some milliseconds */
    bool due = now.tv_sec != crowd->accepted.tv_sec || now.tv_nsec != crowd->accepted.tv_nsec;
    crowd->accepted = now;
    return due;
}

/* -EAGAIN: nobody has room; -EPIPE: there is nobody. */
static int try_each(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                    unsigned flags, size_t *ret_taken)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int result = -EPIPE;
    for (size_t tries = crowd->count; tries > 0 && crowd->first; tries--) {
        struct wherry__member *member = crowd->first;
        crowd->first = member->next;
        int one = send_run(endpoint, member, messages, crowd->count > 1 ? wherry__size_min(count, RUN) : count, flags,
                           ret_taken);
        if (one == 0)
            let_go_if_answered(endpoint, member);
        if (one == -EPIPE)
            lose(endpoint, member);
        else if (one != -EAGAIN)
            return one;
        else
            result = -EAGAIN;
    }
    return result;
}

/* To whoever has room.  When all have gone, whoever waits to be accepted is asked before that is said. */
static int send_to_any(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                       unsigned flags, size_t *ret_taken)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int accepted = 0;
    if (!crowd->first)
        accepted = wherry__crowd_accept(endpoint);
    else if (is_time_to_accept(crowd))
        wherry__crowd_accept_waiting(endpoint); /* that it fails is no matter to those who are there */
    if (accepted < 0)
        return accepted;
    for (;;) {
        uint64_t newest = crowd->last_id;
        int result = try_each(endpoint, messages, count, flags, ret_taken);
        if (result != -EPIPE)
            return result;
        accepted = wherry__crowd_accept_waiting(endpoint);
        if (accepted < 0 || !crowd->had)
            return accepted < 0 ? accepted : -EAGAIN;
        if (crowd->last_id == newest)
            return wherry__fail(EPIPE, "%s: nobody is left to receive", endpoint->config->name);
    }
}

int wherry__crowd_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                           unsigned flags, size_t *ret_taken)
{
    *ret_taken = 0;
    wherry__crowd_of(endpoint)->stuck_count = 0; /* any of them may have room */
    if (wherry__crowd_of(endpoint)->finished)
        return wherry__link_finished(endpoint->config);
    int events = take_events(endpoint), result = events;
    /* nobody more can be accepted: that keeps no message from those who are there */
    if ((events == -EMFILE || events == -ENFILE) && wherry__crowd_of(endpoint)->count > 0)
        result = 0;
    while (result == 0 && *ret_taken < count) {
        const struct wherry_message *next = messages + *ret_taken;
        size_t run = 1, taken = 0;
        while (run < count - *ret_taken && next[run].to == next->to)
            run++;
        result = (next->to ? send_to : send_to_any)(endpoint, next, run, flags, &taken);
        *ret_taken += taken;
    }
    if (result == -EAGAIN && *ret_taken > 0)
        return 0;
    /* to wait for any of them would be to look again and again, since the wait ends for who cannot be accepted */
    return result == -EAGAIN && events < 0 && messages[0].to == 0 ? events : result;
}

/* Everybody's kept bytes; those that cannot go on are waited for, and not who has room for more than nothing. */
int wherry__crowd_try_finish(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (crowd->begun) {
        struct wherry__member *member = crowd->begun;
        int result = wherry__link_push(&member->link);
        /* who came meanwhile shall not wait until this one has taken all of it */
        if (result == -EAGAIN && is_time_to_accept(crowd) && wherry__crowd_accept_waiting(endpoint) == 0 &&
            crowd->count > 1) {
            int kept = wherry__link_keep(&member->link);
            result = kept == 1 ? 0 : kept < 0 ? kept : -EAGAIN;
        }
        crowd->stuck[0] = member->link.peer.id;
        crowd->stuck_count = result == -EAGAIN;
        if (result != -EAGAIN)
            crowd->begun = NULL;
        if (result == -EPIPE)
            lose(endpoint, member);
        return result;
    }
    int result = 0;
    struct wherry__member *member = crowd->first;
    crowd->stuck_count = 0;
    for (size_t i = crowd->count; i > 0; i--) {
        struct wherry__member *next = member->next;
        int one = wherry__link_keeps(&member->link) ? wherry__link_push(&member->link) : 0;
        wherry__crowd_watch_tail(endpoint, member);
        if (one < 0 && one != -EAGAIN)
            lose(endpoint, member);
        if (one == -EAGAIN && crowd->stuck_count < WHERRY__CROWD_STUCK)
            crowd->stuck[crowd->stuck_count++] = member->link.peer.id;
        if (one == -EAGAIN || (one < 0 && result == 0))
            result = one;
        if (one == 0)
            let_go_if_answered(endpoint, member);
        member = next;
    }
    return result;
}

int wherry__crowd_keep(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int result = crowd->begun ? wherry__link_keep(&crowd->begun->link) : 0;
    crowd->begun = NULL;
    return result;
}
