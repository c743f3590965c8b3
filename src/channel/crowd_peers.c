/* channel/crowd_peers.c - owns what is asked of one member by its id: waiting for it, letting it go, who it is,
 * figures.
 *
 * SPDX-License-Identifier: MIT
 *
 * Who comes and goes, and the table of them, is crowd.c. */
#include "channel/crowd.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/sys.h"
#include "base/why.h"

/* A wait for one peer looks at its place in the table again after this long. */
#define WAIT_SLICE (50 * WHERRY_MILLISECOND)

/* Whose bytes are kept: others have room, which would end the wait at once. */
static int wait_for_stuck(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int fds[WHERRY__CROWD_STUCK], count = 0;
    pthread_mutex_lock(&crowd->table_lock);
    for (unsigned i = 0; i < crowd->stuck_count; i++) {
        struct wherry__member *member = wherry__crowd_find(crowd, crowd->stuck[i]);
        if (member)
            fds[count++] = member->link.out_fd;
    }
    pthread_mutex_unlock(&crowd->table_lock);
    if (count < (int)crowd->stuck_count) /* one is gone: that may have been all */
        return 0;
    wherry_time until = wherry_after(WAIT_SLICE);
    int result = wherry__wait_any(&endpoint->sending, fds, count, POLLOUT, until < deadline ? until : deadline);
    return result == -ETIMEDOUT && until < deadline ? 0 : result;
}

int wherry__crowd_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                       wherry_time deadline)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (direction == WHERRY__RECEIVING)
        return wherry__wait_for(&endpoint->receiving, deadline);
    if (!to && crowd->stuck_count)
        return wait_for_stuck(endpoint, deadline);
    pthread_mutex_lock(&crowd->table_lock);
    struct wherry__member *member = to ? wherry__crowd_find(crowd, to) : NULL;
    int fd = member ? member->link.out_fd : -1;
    pthread_mutex_unlock(&crowd->table_lock);
    if (fd < 0)
        return to ? 0 : wherry__wait_for(&endpoint->sending, deadline);
    wherry_time until = wherry_after(WAIT_SLICE); /* the descriptor may be closed by another thread meanwhile */
    int result = wherry__wait_one(&endpoint->sending, fd, POLLOUT, until < deadline ? until : deadline);
    return result == -ETIMEDOUT && until < deadline ? 0 : result;
}

int wherry__crowd_finish(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->first;
    crowd->finished = true;
    for (size_t i = 0; i < crowd->count; i++, member = member->next)
        wherry__sys.shutdown(member->link.out_fd, SHUT_WR);
    return 0;
}

static int no_such_peer(const struct wherry__endpoint *endpoint, uint64_t id)
{
    return wherry__fail(ENOTCONN, "%s: peer %llu is not connected", endpoint->config->name, (unsigned long long)id);
}

int wherry__crowd_disconnect(struct wherry__endpoint *endpoint, uint64_t id, bool forced)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = wherry__crowd_find(crowd, id);
    if (!member || member->leaving)
        return no_such_peer(endpoint, id);
    if (!forced && wherry__link_keeps(&member->link)) {
        int result = wherry__link_push(&member->link);
        if (result == -EAGAIN)
            return result;
    }
    if (!forced && wherry__link_lingers(&member->link))
        return -EINPROGRESS;
    if (member == crowd->current) { /* it may be lent from at this moment */
        /* of TCP the kernel would open the window no more, and who is sending would wait for a minute */
        wherry__sys.shutdown(member->link.in_fd, member->link.plain ? SHUT_WR : SHUT_RDWR);
        member->leaving = true;
        return 0;
    }
    wherry__crowd_remove(endpoint, member);
    return 0;
}

/* The peer with this id, or with 0 the only one.  0 or -errno with the sentence set. */
static int find_peer(const struct wherry__endpoint *endpoint, const struct wherry__crowd *crowd, uint64_t id,
                     struct wherry__member **ret_member)
{
    if (id == 0 && crowd->count > 1)
        return wherry__fail(EDESTADDRREQ, "%s: %zu peers are connected: say which", endpoint->config->name,
                            crowd->count);
    struct wherry__member *member = id ? wherry__crowd_find(crowd, id) : crowd->first;
    if (!member || member->leaving || wherry__link_hung_up(&member->link))
        return id ? no_such_peer(endpoint, id)
                  : wherry__fail(ENOTCONN, "%s: nobody is connected", endpoint->config->name);
    *ret_member = member;
    return 0;
}

int wherry__crowd_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats)
{
    struct wherry__member *member = NULL;
    int result = find_peer(endpoint, wherry__crowd_of(endpoint), id, &member);
    if (result < 0)
        return result;
    wherry__link_stats(&member->link, ret_stats);
    ret_stats->memory += sizeof *member - sizeof member->link;
    ret_stats->sent_messages = member->sent_messages;
    ret_stats->sent_bytes = member->sent_bytes;
    ret_stats->received_messages = member->received_messages;
    ret_stats->received_bytes = member->received_bytes;
    ret_stats->ended = member->ended;
    return 0;
}

int wherry__crowd_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (crowd->plain)
        return wherry__fail(EOPNOTSUPP, "%s: nobody vouches for who is at the other end", endpoint->config->name);
    struct wherry__member *member = NULL;
    int result = find_peer(endpoint, crowd, id, &member);
    if (result < 0)
        return result;
    *ret_peer = member->link.peer;
    return 0;
}

int wherry__crowd_peer_pidfd(struct wherry__endpoint *endpoint, uint64_t id)
{
    struct wherry__member *member = NULL;
    int result = find_peer(endpoint, wherry__crowd_of(endpoint), id, &member);
    return result < 0 ? result : wherry__link_pidfd(&member->link);
}
