/* channel/crowd.c - owns the members of a listening endpoint: who comes, who goes, who is who.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is asked of one of them by its id is crowd_peers.c. */
#include "channel/crowd.h"
#include "channel/link_in.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "socket/socket.h"
#include "socket/unix.h"

/* With more members than this each gives its buffers back whenever they are empty. */
enum { MANY = 32 };
/* Connections taken in before others get their turn. */
enum { ACCEPT_TURN = 64 };

/* ---- the table ---- */

static struct wherry__member **bucket_of(const struct wherry__crowd *crowd, uint64_t id)
{
    return &crowd->buckets[id & (crowd->bucket_count - 1)]; /* ids count up: they spread by themselves */
}

struct wherry__member *wherry__crowd_find(const struct wherry__crowd *crowd, uint64_t id)
{
    if (!crowd->bucket_count)
        return NULL;
    struct wherry__member *member = *bucket_of(crowd, id);
    while (member && member->link.peer.id != id)
        member = member->hash_next;
    return member;
}

void wherry__crowd_foresee(const struct wherry__crowd *crowd, uint64_t id)
{
    enum { LINE = 64 };
    const char *member = crowd->bucket_count ? (const char *)*bucket_of(crowd, id) : NULL;
    for (size_t at = 0; member && at < sizeof(struct wherry__member); at += LINE)
        __builtin_prefetch(member + at, 1);
}

static int grow_table(struct wherry__crowd *crowd)
{
    if (crowd->count < crowd->bucket_count)
        return 0;
    struct wherry__crowd larger = {.bucket_count = wherry__size_max(16, crowd->bucket_count * 2)};
    larger.buckets = calloc(larger.bucket_count, sizeof *larger.buckets);
    if (!larger.buckets)
        return -ENOMEM;
    for (size_t i = 0; i < crowd->bucket_count; i++)
        while (crowd->buckets[i]) {
            struct wherry__member *member = crowd->buckets[i];
            crowd->buckets[i] = member->hash_next;
            struct wherry__member **bucket = bucket_of(&larger, member->link.peer.id);
            member->hash_next = *bucket;
            *bucket = member;
        }
    free(crowd->buckets);
    crowd->buckets = larger.buckets;
    crowd->bucket_count = larger.bucket_count;
    return 0;
}

static int insert(struct wherry__crowd *crowd, struct wherry__member *member)
{
    pthread_mutex_lock(&crowd->table_lock);
    int result = grow_table(crowd);
    if (result == 0) {
        struct wherry__member **bucket = bucket_of(crowd, member->link.peer.id);
        member->hash_next = *bucket;
        *bucket = member;
        if (crowd->first) {
            member->next = crowd->first;
            member->previous = crowd->first->previous;
            member->previous->next = member->next->previous = member;
        } else {
            crowd->first = member->next = member->previous = member;
        }
        crowd->count++;
        crowd->live++;
        wherry__crowd_tell_share(crowd);
    }
    pthread_mutex_unlock(&crowd->table_lock);
    return result;
}

static void take_out(struct wherry__crowd *crowd, struct wherry__member *member)
{
    pthread_mutex_lock(&crowd->table_lock);
    struct wherry__member **place = bucket_of(crowd, member->link.peer.id);
    while (*place != member)
        place = &(*place)->hash_next;
    *place = member->hash_next;
    member->previous->next = member->next;
    member->next->previous = member->previous;
    if (crowd->first == member)
        crowd->first = member->next == member ? NULL : member->next;
    crowd->count--;
    wherry__crowd_tell_share(crowd);
    pthread_mutex_unlock(&crowd->table_lock);
}

static void take_from_queue(struct wherry__crowd *crowd, struct wherry__member *member)
{
    struct wherry__member *before = NULL;
    for (struct wherry__member *m = crowd->queue_head; member->queued && m; before = m, m = m->queue_next) {
        if (m != member)
            continue;
        if (before)
            before->queue_next = m->queue_next;
        else
            crowd->queue_head = m->queue_next;
        if (crowd->queue_tail == m)
            crowd->queue_tail = before;
        member->queued = false;
        crowd->queue_count--;
    }
}

static void count_live(struct wherry__endpoint *endpoint)
{
    atomic_store_explicit(&endpoint->counters.peers, wherry__crowd_of(endpoint)->live, memory_order_relaxed);
}

void wherry__crowd_end(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (member->ended)
        return;
    member->ended = true;
    crowd->end_due |= --crowd->live == 0;
    count_live(endpoint);
}

/* ---- no descriptor left ---- */

static void hear_listener(struct wherry__endpoint *endpoint, uint32_t events)
{
    int listener = wherry__crowd_of(endpoint)->listener;
    if (listener < 0)
        return;
    if (endpoint->config->role & WHERRY_RECEIVE)
        wherry__wait_change(&endpoint->receiving, listener, events, WHERRY__CROWD_LISTENER);
    if (endpoint->config->role & WHERRY_SEND)
        wherry__wait_change(&endpoint->sending, listener, events, WHERRY__CROWD_LISTENER);
}

static void set_timer(const struct wherry__crowd *crowd, wherry_time pause)
{
    struct itimerspec when = {.it_value = {.tv_sec = pause / WHERRY_SECOND, .tv_nsec = pause % WHERRY_SECOND}};
    timerfd_settime(crowd->timer, 0, &when, NULL);
}

static void accept_from_now_on(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    crowd->rests = false;
    set_timer(crowd, 0);
    hear_listener(endpoint, EPOLLIN);
}

void wherry__crowd_rest(struct wherry__endpoint *endpoint, wherry_time pause)
{
    wherry__crowd_of(endpoint)->rests = true;
    hear_listener(endpoint, 0);
    set_timer(wherry__crowd_of(endpoint), pause);
}

/* H54: the listener stays readable, and would end each wait at once.  It is left out of the waits for a while, longer
 * each time; those who wait to be accepted lose nothing, and are taken in as soon as a peer goes. */
static int rest(struct wherry__endpoint *endpoint, int code)
{
    enum { FIRST = 10, LONGEST = 1000 }; /* ms */
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    crowd->pause = crowd->pause ? 2 * crowd->pause : FIRST * WHERRY_MILLISECOND;
    if (crowd->pause > LONGEST * WHERRY_MILLISECOND)
        crowd->pause = LONGEST * WHERRY_MILLISECOND;
    wherry__crowd_rest(endpoint, crowd->pause);
    return wherry__fail(code, "%s: no descriptor is left to accept a connection; raise the limit (ulimit -n)",
                        endpoint->config->name);
}

int wherry__crowd_accept_again(struct wherry__endpoint *endpoint)
{
    accept_from_now_on(endpoint); /* which silences the timer */
    wherry__crowd_of(endpoint)->obliged = true;
    return wherry__crowd_accept_waiting(endpoint);
}

/* ---- coming and going ---- */

void wherry__crowd_remove(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    wherry__crowd_end(endpoint, member);
    take_from_queue(crowd, member);
    take_out(crowd, member);
    uint64_t id = member->link.peer.id;
    wherry__wait_remove(&endpoint->receiving, member->link.in_fd);
    wherry__wait_remove(&endpoint->sending, member->link.in_fd);
    wherry__wait_drop(&endpoint->receiving, id);
    wherry__wait_drop(&endpoint->sending, id);
    if (crowd->current == member)
        crowd->current = NULL;
    if (crowd->begun == member)
        crowd->begun = NULL;
    if (crowd->in_buffer == member)
        crowd->in_buffer = NULL;
    if (crowd->last == member)
        crowd->last = NULL;
    wherry__link_fini(&member->link, endpoint->born);
    free(member);
    if (crowd->rests)
        accept_from_now_on(endpoint); /* a descriptor is free */
}

void wherry__crowd_watch_tail(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    bool keeps = wherry__link_keeps(&member->link);
    if (endpoint->config->role != WHERRY_BOTH || keeps == member->watches_tail)
        return;
    member->watches_tail = keeps;
    wherry__wait_change(&endpoint->receiving, member->link.in_fd,
                        (member->ended ? 0u : EPOLLIN) | (keeps ? EPOLLOUT : 0u), member->link.peer.id);
}

static int watch(struct wherry__endpoint *endpoint, struct wherry__member *member)
{
    unsigned role = endpoint->config->role;
    int result = 0;
    uint64_t id = member->link.peer.id;
    if (role & WHERRY_RECEIVE)
        result = wherry__wait_add(&endpoint->receiving, member->link.in_fd, EPOLLIN, id);
    if (result == 0 && (role & WHERRY_SEND))
        result = wherry__wait_add(&endpoint->sending, member->link.in_fd,
                                  EPOLLOUT | (role == WHERRY_SEND ? EPOLLIN | EPOLLRDHUP : 0u), id);
    return result;
}

static int admit(struct wherry__endpoint *endpoint, int fd)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry_peer peer = {0};
    int result = crowd->admit(endpoint, fd, &peer);
    if (result != 1) {
        wherry__count(&endpoint->counters.refused, result == 0);
        wherry__fd_close(&fd);
        return result;
    }
    struct wherry__member *member = calloc(1, sizeof *member);
    if (!member) {
        wherry__fd_close(&fd);
        return wherry__fail(ENOMEM, "%s: no memory for another peer", endpoint->config->name);
    }
    struct wherry__link *link = &member->link;
    wherry__link_init(link, endpoint->config, &endpoint->counters);
    link->kind = crowd->kind;
    link->cuts = true;
    link->all_held = &crowd->held;
    link->in_fd = link->out_fd = fd;
    link->exact = endpoint->config->read_ahead == WHERRY_READ_AHEAD_NO;
    link->lean = crowd->count >= MANY;
    link->spare = link->lean ? &crowd->spare : NULL;
    link->plain = crowd->plain;
    if (!crowd->plain)
        wherry__link_is_unix(link);
    link->peer = peer;
    link->peer.id = ++crowd->last_id;
    result = 0;
    if (insert(crowd, member) < 0)
        result = wherry__fail(ENOMEM, "%s: no memory for another peer", endpoint->config->name);
    if (result < 0) {
        wherry__link_fini(link, endpoint->born);
        free(member);
        return result;
    }
    result = watch(endpoint, member);
    if (result < 0) {
        wherry__crowd_remove(endpoint, member);
        return result;
    }
    if (crowd->finished) /* it shall not wait for messages */
        wherry__sys.shutdown(fd, SHUT_WR);
    crowd->had = true;
    crowd->end_due = false; /* a sender is there again before anybody was told that there was none */
    wherry__count(&endpoint->counters.accepted, 1);
    count_live(endpoint);
    return 0;
}

/* accept(2), Error handling: failures of the one connection that would have been accepted; there may be another. */
static bool is_the_connections(int code)
{
    return code == ECONNABORTED || code == EINTR || code == EPROTO || code == ENOPROTOOPT || code == ENETDOWN ||
           code == EHOSTDOWN || code == ENONET || code == EHOSTUNREACH || code == EOPNOTSUPP || code == ENETUNREACH ||
           code == EPERM;
}

/* Before anybody is accepted, who would else be in and could not be waited for. */
static int make_room(struct wherry__endpoint *endpoint)
{
    unsigned role = endpoint->config->role;
    int result = role & WHERRY_RECEIVE ? wherry__wait_make_room(&endpoint->receiving) : 0;
    return result == 0 && role & WHERRY_SEND ? wherry__wait_make_room(&endpoint->sending) : result;
}

int wherry__crowd_accept(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (wherry__crowd_leaves(endpoint))
        return 0;
    unsigned turn = crowd->accept_turn ? crowd->accept_turn : ACCEPT_TURN;
    for (unsigned i = 0; i < turn && !crowd->rests && crowd->listener >= 0; i++) {
        int room = make_room(endpoint);
        int fd = room < 0 ? room : wherry__socket_accept(crowd->listener);
        if (fd == -EAGAIN)
            return 0;
        if (fd == -EINVAL) { /* it was shut down, and who waited is in: nobody comes any more */
            hear_listener(endpoint, 0);
            return 0;
        }
        if (is_the_connections(-fd))
            continue;
        if (fd == -EMFILE || fd == -ENFILE)
            return rest(endpoint, -fd);
        crowd->pause = 0;
        int result = fd < 0 ? wherry__fail_errno(-fd, "%s: accepting failed", endpoint->config->name)
                            : admit(endpoint, fd);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Without descriptors accept(2) fails whether or not anybody waits: so poll(2) is asked first. */
int wherry__crowd_accept_waiting(struct wherry__endpoint *endpoint)
{
    struct pollfd poll = {.fd = wherry__crowd_of(endpoint)->listener, .events = POLLIN}; /* -1: nobody waits */
    static const struct timespec at_once;
    return wherry__sys.ppoll(&poll, 1, &at_once) == 1 ? wherry__crowd_accept(endpoint) : 0;
}

int wherry__crowd_start(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    unsigned role = endpoint->config->role;
    int result = 0;
    pthread_mutex_init(&crowd->table_lock, NULL);
    endpoint->by_events = true;
    crowd->rests = false;
    wherry__fd_guard();
    crowd->timer = wherry__fd_note(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    wherry__fd_unguard();
    if (crowd->timer < 0)
        return wherry__fail_errno(errno, "%s: no timer", endpoint->config->name);
    if (role & WHERRY_RECEIVE)
        result = wherry__wait_add(&endpoint->receiving, crowd->timer, EPOLLIN, WHERRY__CROWD_TIMER);
    if (result == 0 && (role & WHERRY_SEND))
        result = wherry__wait_add(&endpoint->sending, crowd->timer, EPOLLIN, WHERRY__CROWD_TIMER);
    if (result == 0 && (role & WHERRY_RECEIVE))
        result = wherry__wait_add(&endpoint->receiving, crowd->listener, EPOLLIN, WHERRY__CROWD_LISTENER);
    if (result == 0 && (role & WHERRY_SEND))
        result = wherry__wait_add(&endpoint->sending, crowd->listener, EPOLLIN, WHERRY__CROWD_LISTENER);
    return result;
}

void wherry__crowd_fini(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->first;
    for (size_t i = 0; i < crowd->count; i++) {
        struct wherry__member *next = member->next;
        wherry__link_fini(&member->link, endpoint->born);
        free(member);
        member = next;
    }
    if (crowd->timer > 0)
        wherry__fd_close_from(endpoint->born, false, &crowd->timer);
    wherry__buffer_free(&crowd->spare);
    free(crowd->buckets);
    crowd->buckets = NULL;
    crowd->bucket_count = crowd->count = crowd->live = 0;
    crowd->first = crowd->current = crowd->last = crowd->in_buffer = crowd->queue_head = crowd->queue_tail =
        crowd->begun = NULL;
    crowd->queue_count = crowd->due = 0;
}

int wherry__crowd_adopt(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    wherry__crowd_fini(endpoint);
    crowd->end_due = crowd->had = false;
    return wherry__crowd_start(endpoint);
}
