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

/* On an endpoint that only sends nobody reads what peers send; that they went shows here. */
static void listen_for_end(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    char ignored[4096];
    ssize_t size = wherry__sys.recv(member->link.in_fd, ignored, sizeof ignored, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
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
}

/* It had ended, and now it may have all its answers. */
static void let_go_if_answered(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    if (member->ended && member->unanswered <= 0 && !wherry__link_keeps(&member->link) &&
        !endpoint->config->report_ends && member != wherry__crowd_of(endpoint)->current)
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

/* To whoever has room. */
static int send_to_any(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                       unsigned flags, size_t *ret_taken)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (!crowd->first) {
        int result = wherry__crowd_accept(endpoint);
        if (result < 0)
            return result;
    }
    for (size_t tries = crowd->count; tries > 0 && crowd->first; tries--) {
        struct wherry__member *member = crowd->first;
        crowd->first = member->next;
        int result = send_run(endpoint, member, messages, crowd->count > 1 ? wherry__size_min(count, RUN) : count,
                              flags, ret_taken);
        if (result == 0)
            let_go_if_answered(endpoint, member);
        if (result == -EPIPE)
            lose(endpoint, member);
        else if (result != -EAGAIN)
            return result;
    }
    if (crowd->first || !crowd->had)
        return -EAGAIN;
    return wherry__fail(EPIPE, "%s: nobody is left to receive", endpoint->config->name);
}

int wherry__crowd_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                           unsigned flags, size_t *ret_taken)
{
    *ret_taken = 0;
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

/* Everybody's kept bytes; only the first that cannot go on is waited for, which is as good as any. */
int wherry__crowd_try_finish(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (crowd->begun) {
        struct wherry__member *member = crowd->begun;
        int result = wherry__link_push(&member->link);
        if (result != -EAGAIN)
            crowd->begun = NULL;
        if (result == -EPIPE)
            lose(endpoint, member);
        return result;
    }
    int result = 0;
    struct wherry__member *member = crowd->first;
    for (size_t i = crowd->count; i > 0; i--) {
        struct wherry__member *next = member->next;
        int one = wherry__link_keeps(&member->link) ? wherry__link_push(&member->link) : 0;
        wherry__crowd_watch_tail(endpoint, member);
        if (one < 0 && one != -EAGAIN)
            lose(endpoint, member);
        if (one == -EAGAIN || (one < 0 && result == 0))
            result = one;
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
