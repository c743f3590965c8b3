/* channel/crowd_receive.c - owns the order in which the members of a listening endpoint are received from.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever sent last is asked first, without the kernel in between, until its turn of TURN bytes is over or it has
 * nothing; then come those whom the last wait reported, then those who had to stop with messages left.  The kernel
 * reports whoever has something in the same order each time, so that it is asked again only when all of these had
 * their turn: else those whose connections are never empty would leave the others none. */
#include <errno.h>

#include "base/size.h"
#include "base/why.h"
#include "channel/crowd.h"
#include "channel/link_in.h"

/* Bytes in a turn, and what a message costs beside its own. */
enum { TURN = 262144, PER_MESSAGE = 1024 };

void wherry__crowd_enqueue(struct wherry__crowd *crowd, struct wherry__member *member)
{
    if (member->queued)
        return;
    member->queued = true;
    member->queue_next = NULL;
    if (crowd->queue_tail)
        crowd->queue_tail->queue_next = member;
    else
        crowd->queue_head = member;
    crowd->queue_tail = member;
    crowd->queue_count++;
}

static struct wherry__member *dequeue(struct wherry__crowd *crowd)
{
    struct wherry__member *member = crowd->queue_head;
    if (member) {
        crowd->queue_head = member->queue_next;
        if (!crowd->queue_head)
            crowd->queue_tail = NULL;
        member->queued = false;
        crowd->queue_count--;
        crowd->due -= crowd->due > 0;
    }
    return member;
}

/* It sends no more.  Whoever may still be answered stays, silent in the receiving set, until that was done. */
static int let_end(struct wherry__endpoint *endpoint, struct wherry__member *member, struct wherry_loan *ret_loan)
{
    bool reports = endpoint->config->report_ends && !member->ended;
    bool hung_up = wherry__link_hung_up(&member->link);
    bool answers = endpoint->config->role == WHERRY_BOTH && !wherry__crowd_of(endpoint)->finished;
    bool owed = answers && (member->unanswered > 0 || wherry__link_keeps(&member->link));
    uint64_t id = member->link.peer.id;
    ret_loan->data = NULL;
    ret_loan->info =
        (struct wherry_info){.flags = WHERRY_ENDED, .type = member->link.failure, .peer = member->link.peer};
    bool stays = !hung_up && !endpoint->config->report_ends &&
                 wherry__crowd_says_end(wherry__crowd_of(endpoint), member);
    if (!endpoint->config->report_ends && (hung_up || !owed) && !stays) {
        wherry__crowd_remove(endpoint, member);
    } else {
        wherry__crowd_end(endpoint, member);
        if (hung_up) /* epoll would report it for ever */
            wherry__wait_remove(&endpoint->receiving, member->link.in_fd);
        else
            wherry__wait_change(&endpoint->receiving, member->link.in_fd, member->watches_tail ? EPOLLOUT : 0u, id);
        wherry__crowd_of(endpoint)->current = NULL;
    }
    return reports ? 1 : -EAGAIN;
}

/* Its connection is of no more use; what else it sent goes with it, which the sentence must not hide. */
static int cut(struct wherry__endpoint *endpoint, struct wherry__member *member, int code)
{
    wherry__count(&endpoint->counters.refused, 1);
    wherry__crowd_remove(endpoint, member);
    return wherry__fail(-code, "%s; the peer's connection was closed", wherry_why());
}

/* Ask one member.  1: lent, and it is the current one (or its end is reported); -EAGAIN: nothing from it; or a failure
 * to report. */
static int ask(struct wherry__endpoint *endpoint, struct wherry__member *member, void *buffer, size_t capacity,
               struct wherry_loan *ret_loan)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (member->ended)
        return -EAGAIN;
    if (member->link.lingers) { /* it is being let go, and what comes from it is dropped */
        if (!wherry__link_lingers(&member->link))
            wherry__crowd_remove(endpoint, member);
        return -EAGAIN;
    }
    if (crowd->in_buffer && crowd->in_buffer != member)
        wherry__crowd_rescue(endpoint);
    if (wherry__crowd_cuts(crowd, member))
        return let_end(endpoint, member, ret_loan);
    int result = wherry__link_borrow(&member->link, buffer, capacity, ret_loan);
    crowd->in_buffer = result == -EAGAIN && wherry__link_in_buffer(&member->link) ? member : NULL;
    if (result == 1 || member->link.spoilt) {
        member->link.spoilt = false;
        crowd->lent_size = ret_loan->info.size;
        if (crowd->current != member) {
            crowd->current = crowd->last = member;
            crowd->credit = TURN;
        }
        return result;
    }
    if (result == 0)
        return let_end(endpoint, member, ret_loan);
    if (result != -EAGAIN)
        return cut(endpoint, member, result);
    if (crowd->current == member)
        crowd->current = NULL;
    return -EAGAIN;
}

/* What the wait said of a member that has ended, or that has room for what is kept. */
static void tend(struct wherry__endpoint *endpoint, struct wherry__member *member, uint32_t events)
{
    if (wherry__link_keeps(&member->link) && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))) {
        wherry__link_push(&member->link);
        wherry__crowd_watch_tail(endpoint, member);
    }
    if (!member->ended)
        return;
    bool hung_up = events & (EPOLLHUP | EPOLLERR);
    if (endpoint->config->report_ends) {
        if (hung_up)
            wherry__wait_remove(&endpoint->receiving, member->link.in_fd);
    } else if (hung_up || (member->unanswered <= 0 && !wherry__link_keeps(&member->link))) {
        if (hung_up || !wherry__crowd_says_end(wherry__crowd_of(endpoint), member))
            wherry__crowd_remove(endpoint, member);
    }
}

static int take_event(struct wherry__endpoint *endpoint, const struct epoll_event *event, void *buffer, size_t capacity,
                      struct wherry_loan *ret_loan)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (event->data.u64 == WHERRY__CROWD_LISTENER) {
        int result = wherry__crowd_accept(endpoint);
        return result < 0 ? result : -EAGAIN;
    }
    if (event->data.u64 == WHERRY__CROWD_TIMER) {
        int result = wherry__crowd_accept_again(endpoint);
        return result < 0 ? result : -EAGAIN;
    }
    if (event->data.u64 == WHERRY__CROWD_WATCHED)
        return -ECANCELED;
    struct wherry__member *member = wherry__crowd_find(crowd, event->data.u64);
    wherry__crowd_foresee(crowd, wherry__wait_coming(&endpoint->receiving));
    if (!member)
        return -EAGAIN;
    bool ended = member->ended;
    tend(endpoint, member, event->events);
    if (ended || !(event->events & ~(uint32_t)EPOLLOUT))
        return -EAGAIN;
    return ask(endpoint, member, buffer, capacity, ret_loan);
}

/* The current member's turn is over: it goes to the end of the queue, and the kernel is asked who else has something,
 * unless there still are some from the last time. */
static void end_turn(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->current;
    crowd->current = NULL;
    if (wherry__link_ready(&member->link))
        wherry__crowd_enqueue(crowd, member);
    if (wherry__wait_reported(&endpoint->receiving) || (crowd->due && crowd->queue_head))
        return;
    wherry__wait_for(&endpoint->receiving, WHERRY_NOW);
    uint32_t events = wherry__wait_take(&endpoint->receiving, member->link.peer.id);
    if (events & ~(uint32_t)EPOLLOUT)
        wherry__crowd_enqueue(crowd, member);
    crowd->due = crowd->queue_count;
    if (events)
        tend(endpoint, member, events); /* which may remove it */
}

/* The last sender has gone.  Others may wait in the backlog by now, perhaps because no descriptor was left for them
 * while it was there: they take the end back.  0 the end, or -EAGAIN or a failure to accept, after which it is still
 * due. */
static int report_end(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int result = wherry__crowd_accept_waiting(endpoint);
    if (result < 0)
        return result;
    if (!crowd->end_due || crowd->rests)
        return -EAGAIN;
    crowd->end_due = false;
    return 0;
}

int wherry__crowd_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                             struct wherry_loan *ret_loan)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct epoll_event event;
    struct wherry__member *current = crowd->current;
    if (current && crowd->credit && !current->leaving && !crowd->draining &&
        wherry__link_borrow_ahead(&current->link, ret_loan)) {
        crowd->lent_size = ret_loan->info.size;
        return 1;
    }
    if (crowd->current && crowd->current->leaving)
        wherry__crowd_remove(endpoint, crowd->current);
    if (crowd->current && crowd->credit == 0)
        end_turn(endpoint);
    struct wherry__member *likely = crowd->current;
    if (!likely && !crowd->queue_head && !wherry__wait_reported(&endpoint->receiving))
        likely = crowd->last;
    if (likely && likely->link.lean && likely->link.drained && !wherry__link_ready(&likely->link)) {
        wherry__link_settle_in(&likely->link); /* one of many, and the kernel had no more of it: others first */
        likely = crowd->current = NULL;
    }
    int result = likely ? ask(endpoint, likely, buffer, capacity, ret_loan) : -EAGAIN;
    while (result == -EAGAIN && wherry__wait_next(&endpoint->receiving, &event))
        result = take_event(endpoint, &event, buffer, capacity, ret_loan);
    struct wherry__member *member;
    while (result == -EAGAIN && (member = dequeue(crowd)))
        result = ask(endpoint, member, buffer, capacity, ret_loan);
    return result == -EAGAIN && crowd->end_due ? report_end(endpoint) : result;
}

void wherry__crowd_give_back(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->current;
    if (!member)
        return; /* the report of an end */
    size_t cost = PER_MESSAGE + member->link.loan;
    member->received_messages++;
    member->received_bytes += crowd->lent_size;
    if (!wherry__link_give_back_ahead(&member->link))
        wherry__link_give_back(&member->link);
    crowd->credit -= wherry__size_min(cost, crowd->credit);
    member->unanswered++;
}

ssize_t wherry__crowd_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity)
{
    struct wherry__member *member = wherry__crowd_of(endpoint)->current;
    return member ? wherry__link_take_fds(&member->link, fds, capacity) : 0; /* the report of an end has none */
}

int wherry__crowd_rescue(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->in_buffer;
    crowd->in_buffer = NULL;
    return member ? wherry__link_rescue(&member->link) : 0;
}

bool wherry__crowd_ready(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    return crowd->queue_head || crowd->end_due || endpoint->receiving.next < endpoint->receiving.count ||
           (crowd->current && (crowd->current->leaving || wherry__link_ready(&crowd->current->link)));
}
