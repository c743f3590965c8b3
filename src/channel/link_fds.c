/* channel/link_fds.c - owns the descriptors that came with a connection's messages, until they are taken or closed.
 *
 * SPDX-License-Identifier: MIT
 *
 * On a stream they come with the first byte of the write that had them, and the kernel ends a read behind the bytes
 * of that write, or within them (unix(7)).  A sender begins a write with each message that has descriptors and puts
 * nothing behind it.  So, however far a read went, they belong to the message that has the last byte of that read:
 * its place in the stream is their mark (docs/decisions/descriptors.md). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/link_in.h"
#include "socket/descriptor.h"

enum { SPOILT = -1 }; /* in place of a descriptor: some came for this message and were closed */

struct wherry__fds {
    size_t count; /* at most 2 * config->fds: those of the message under way, and of what was read behind it */
    size_t lent;  /* the first of them belong to the message that is lent */
    struct {
        uint64_t mark; /* packets: 0 */
        int fd;
    } held[];
};

int wherry__link_fds_refused(const struct wherry__link *link, int code)
{
    return wherry__fail(code, "%s: %s", link->config->name,
                        code == EBADF ? "one of the descriptors that were to go with the message is not open"
                                      : "too many descriptors of this user are under way in sockets (ulimit -n)");
}

/* Close held[first, end). */
static void drop(struct wherry__link *link, size_t first, size_t end)
{
    struct wherry__fds *fds = link->fds;
    bool any = false;
    for (size_t i = first; i < end; i++) {
        any |= fds->held[i].fd != SPOILT;
        wherry__fd_close(&fds->held[i].fd);
    }
    memmove(&fds->held[first], &fds->held[end], (fds->count - end) * sizeof *fds->held);
    fds->count -= end - first;
    wherry__count(&link->counters->dropped_fds, any);
}

/* How many have their mark before `place`; marks only grow. */
static size_t before(const struct wherry__fds *fds, uint64_t place)
{
    size_t count = 0;
    while (count < fds->count && fds->held[count].mark < place)
        count++;
    return count;
}

/* Where in the stream the front of `in` is. */
static uint64_t place_of_in(const struct wherry__link *link)
{
    return link->bytes_read - (link->in.end - link->in.start);
}

/* Where the message under way began. */
static uint64_t place_of_front(const struct wherry__link *link)
{
    uint64_t place = place_of_in(link);
    return link->big.active ? place - link->big.filled - wherry__framing_before(&link->config->framing) : place;
}

/* Too many for one message: a note that they came is enough. */
static void bound(struct wherry__link *link)
{
    struct wherry__fds *fds = link->fds;
    if (fds->count <= link->config->fds)
        return;
    uint64_t mark = fds->held[0].mark;
    drop(link, 0, fds->count);
    fds->held[fds->count].mark = mark;
    fds->held[fds->count++].fd = SPOILT;
}

/* Room for what a read may bring, before anything is read. */
static int prepare(struct wherry__link *link)
{
    if (!link->fds) {
        link->fds = calloc(1, sizeof *link->fds + 2 * link->config->fds * sizeof *link->fds->held);
        if (!link->fds)
            return wherry__fail(ENOMEM, "%s: no memory to receive", link->config->name);
    }
    if (link->kind == WHERRY__LINK_PACKET)
        drop(link, 0, link->fds->count);
    else
        drop(link, 0, before(link->fds, place_of_front(link)));
    bound(link); /* what is left is all of the one message under way: no read is made with a whole one there */
    return 0;
}

ssize_t wherry__fds_receive(struct wherry__link *link, struct iovec *parts, size_t count,
                            struct wherry__credentials *ret_credentials, bool *ret_had, int *ret_flags)
{
    struct wherry__descriptors came = {.most = link->config->fds};
    int result = prepare(link);
    if (result < 0)
        return result;
    ssize_t size =
        wherry__descriptors_receive(link->in_fd, parts, count, ret_credentials, ret_had, link->from, ret_flags, &came);
    struct wherry__fds *fds = link->fds;
    uint64_t mark = link->kind == WHERRY__LINK_PACKET || size <= 0 ? 0 : link->bytes_read + (size_t)size - 1;
    if (came.cut) {
        came.fds[came.count++] = SPOILT;
        wherry__count(&link->counters->dropped_fds, 1);
    }
    for (size_t i = 0; i < came.count; i++) {
        fds->held[fds->count].mark = mark;
        fds->held[fds->count++].fd = came.fds[i];
    }
    return size;
}

void wherry__fds_unread(struct wherry__link *link)
{
    if (link->fds)
        drop(link, before(link->fds, link->bytes_read), link->fds->count);
}

int wherry__fds_lend(struct wherry__link *link, struct wherry_loan *ret_loan)
{
    struct wherry__fds *fds = link->fds;
    size_t mine;
    bool spoilt = false;
    if (link->kind == WHERRY__LINK_PACKET) {
        mine = fds->count;
    } else if (link->boxed) {
        drop(link, 0, before(fds, place_of_in(link))); /* parts have none, save those of a stranger */
        mine = 0;
    } else {
        drop(link, 0, before(fds, place_of_front(link)));
        mine = before(fds, place_of_in(link) + (link->big.active ? 0 : link->loan));
    }
    for (size_t i = 0; i < mine; i++)
        spoilt |= fds->held[i].fd == SPOILT;
    fds->lent = mine;
    ret_loan->info.fd_count = mine;
    if (!spoilt && mine <= link->config->fds)
        return 1;
    wherry__link_give_back(link);
    wherry__count(&link->counters->dropped, 1);
    link->spoilt = true;
    return wherry__fail(EBADMSG,
                        "%s: a message was dropped that came with more descriptors than fds=%u allows, or than this "
                        "process may open (ulimit -n)",
                        link->config->name, link->config->fds);
}

void wherry__fds_give_back(struct wherry__link *link)
{
    if (!link->fds)
        return;
    drop(link, 0, link->fds->lent);
    link->fds->lent = 0;
}

void wherry__fds_skip(struct wherry__link *link, bool all)
{
    if (link->fds)
        drop(link, 0, all ? link->fds->count : before(link->fds, place_of_front(link)));
}

ssize_t wherry__link_take_fds(struct wherry__link *link, int *fds, size_t capacity)
{
    struct wherry__fds *held = link->fds;
    size_t count = held ? held->lent : 0;
    if (count > capacity)
        return wherry__fail(EMSGSIZE, "%s: the message came with %zu descriptors, more than there is room for",
                            link->config->name, count);
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        fds[i] = held->held[i].fd;
        wherry__fd_forget(fds[i]); /* from now on it is the caller's, in a forked child too */
    }
    memmove(held->held, &held->held[count], (held->count - count) * sizeof *held->held);
    held->count -= count;
    held->lent = 0;
    return (ssize_t)count;
}

void wherry__fds_forget(struct wherry__link *link)
{
    if (link->fds)
        link->fds->count = link->fds->lent = 0; /* closed at the fork */
}

void wherry__fds_fini(struct wherry__link *link, uint64_t born)
{
    for (size_t i = 0; link->fds && i < link->fds->count; i++)
        wherry__fd_close_from(born, false, &link->fds->held[i].fd);
    free(link->fds);
    link->fds = NULL;
}
