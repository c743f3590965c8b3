/* channel/crowd_drain.c - owns the end of a listening endpoint that loses nothing: who has come is heard out, then
 * cut.
 *
 * SPDX-License-Identifier: MIT
 *
 * Where the line is between what has come and what has not, the kernel says for Unix sockets: a socket shut down for
 * reading gives what is in it and then the end, and who sends more is told EPIPE.  TCP has no such line: there the
 * end is said to a member once nothing of it is left to read, and what comes later is dropped, unread by anybody.
 *
 * A message that a member has begun, and whose rest is on its way, is waited for; the caller's deadline bounds that.
 * */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/sys.h"
#include "channel/crowd.h"
#include "channel/link_in.h"

static void give_listener_up(struct wherry__endpoint *endpoint)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (crowd->listener < 0)
        return;
    wherry__wait_remove(&endpoint->receiving, crowd->listener);
    wherry__wait_remove(&endpoint->sending, crowd->listener);
    wherry__wait_drop(&endpoint->receiving, WHERRY__CROWD_LISTENER);
    wherry__wait_drop(&endpoint->sending, WHERRY__CROWD_LISTENER);
    crowd->listener = -1;
    if (crowd->listener_home)
        wherry__fd_close(crowd->listener_home);
}

/* Whoever waits in the backlog, and none that come meanwhile for ever. */
static int accept_rest(struct wherry__endpoint *endpoint)
{
    enum { MOST = 4096 }; /* as many as a backlog has, by net.core.somaxconn */
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    int result = 0;
    crowd->accept_turn = MOST;
    crowd->shares = NULL;
    crowd->rests = crowd->rests && crowd->pause; /* it left one to the others, who may do the same */
    if (!crowd->rests)
        result = wherry__crowd_accept(endpoint);
    return result;
}

int wherry__crowd_drain(struct wherry__endpoint *endpoint, bool last)
{
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    if (crowd->draining)
        return 0;
    _Atomic uint32_t *shares = crowd->shares;
    int result = last ? accept_rest(endpoint) : 0; /* without descriptors the rest see a connection that ends */
    give_listener_up(endpoint);
    crowd->draining = true;
    crowd->shares = shares;
    wherry__crowd_tell_share(crowd);
    struct wherry__member *member = crowd->first;
    for (size_t i = 0; i < crowd->count; i++, member = member->next) {
        if (member->ended)
            continue;
        int there = 0;
        if (!member->link.plain)
            wherry__sys.shutdown(member->link.in_fd, SHUT_RD);
        else if (ioctl(member->link.in_fd, FIONREAD, &there) == 0)
            member->cut_at = member->link.bytes_read + (uint64_t)there;
        wherry__crowd_enqueue(crowd, member); /* each is asked once, whether or not the kernel says anything of it */
    }
    crowd->end_due |= crowd->live == 0;
    return result;
}

/* Not "until nothing is left to read": who asks again as soon as it has an answer would never be done. */
bool wherry__crowd_cuts(const struct wherry__crowd *crowd, const struct wherry__member *member)
{
    const struct wherry__link *link = &member->link;
    return crowd->draining && link->plain && !link->big.active &&
           link->bytes_read - (link->in.end - link->in.start) >= member->cut_at;
}

int wherry__crowd_watch(struct wherry__endpoint *endpoint, int fd)
{
    return wherry__wait_add(&endpoint->receiving, fd, EPOLLIN, WHERRY__CROWD_WATCHED);
}

bool wherry__crowd_says_end(const struct wherry__crowd *crowd, struct wherry__member *member)
{
    if (!crowd->draining || !member->link.plain)
        return false;
    if (!wherry__link_keeps(&member->link))
        wherry__link_lingers(&member->link);
    return true;
}
