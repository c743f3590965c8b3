/* channel/serve.c - owns what becomes of a listening endpoint in the processes that serve it together.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/serve.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "channel/crowd.h"
#include "channel/patience.h"

/* For names of hosts. */
#define RESOLVE_TIME (5 * WHERRY_SECOND)

static struct wherry__crowd *crowd_of(struct wherry_channel *channel)
{
    return wherry__crowd_of(&channel->endpoint);
}

/* The socket is somebody else's, who may have it served again. */
static bool is_inherited(const struct wherry_channel *channel)
{
    return strcmp(channel->endpoint.transport->traits.scheme, "fd") == 0;
}

static int check_scheme(const char *url, bool share_port, bool *ret_inherited)
{
    struct wherry__url parsed;
    int result = wherry__url_init(&parsed, url);
    if (result < 0)
        return result;
    bool tcp = strcmp(parsed.scheme, "tcp") == 0;
    *ret_inherited = strcmp(parsed.scheme, "fd") == 0;
    if (wherry__transport_find(parsed.scheme) && !tcp && !*ret_inherited && strcmp(parsed.scheme, "unix") != 0 &&
        strcmp(parsed.scheme, "unix+seqpacket") != 0)
        result = wherry__fail(EOPNOTSUPP, "%s: a server listens at unix:, unix+seqpacket:, tcp: or an fd: that listens",
                              url);
    else if (share_port && !tcp)
        result = wherry__fail(EOPNOTSUPP, "%s: reuse_port is for tcp: sockets alone", url);
    wherry__url_fini(&parsed);
    return result;
}

int wherry__channel_serve(const char *url, const struct wherry_channel_options *options, bool share_port,
                          struct wherry_channel *beside, struct wherry_channel **ret_channel)
{
    struct wherry_channel_options own = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    bool inherited = false;
    int result = check_scheme(url, share_port, &inherited);
    if (result == 0)
        result = wherry__config_read(options, url, &own);
    if (result < 0)
        return result;
    if (own.side == WHERRY_CONNECT)
        return wherry__fail(EINVAL, "%s: a server listens: leave the side out", url);
    own.side = inherited ? WHERRY_SIDE_DEFAULT : WHERRY_LISTEN;
    own.inheritable = true;
    result = wherry__channel_open_at(url, WHERRY_BOTH, &own, share_port, beside ? crowd_of(beside)->listener : 0,
                                     wherry_after(RESOLVE_TIME), &channel);
    if (result < 0)
        return result;
    if (channel->config.side != WHERRY_LISTEN)
        result = wherry__fail(EOPNOTSUPP, "%s: the descriptor is none that listens", url);
    else if (channel->config.report_ends)
        result =
            wherry__fail(EINVAL, "%s: a server lets peers that have ended go by itself: leave report_ends out", url);
    if (result < 0)
        wherry_channel_close(channel, WHERRY_NOW);
    else
        *ret_channel = channel;
    return result;
}

int wherry__channel_take_over(struct wherry_channel *channel)
{
    struct wherry__crowd *crowd = crowd_of(channel);
    int result = wherry__channel_enter_child(channel);
    if (result < 0)
        return result;
    wherry__fd_guard();
    crowd->listener = wherry__fd_note(crowd->listener);
    wherry__fd_unguard();
    if (crowd->claim_home) /* the lock lives as long as any copy: it is the master's alone */
        wherry__fd_close(crowd->claim_home);
    channel->config.inheritable = false;
    crowd->accept_turn = 1;
    return 0;
}

void wherry__channel_share(struct wherry_channel *channel, _Atomic uint32_t *shares, unsigned count, unsigned own)
{
    struct wherry__crowd *crowd = crowd_of(channel);
    crowd->shares = shares;
    crowd->share_count = count;
    crowd->share = own;
    wherry__crowd_tell_share(crowd);
}

int wherry__channel_watch(struct wherry_channel *channel, int fd)
{
    return wherry__crowd_watch(&channel->endpoint, fd);
}

void wherry__channel_unwatch(struct wherry_channel *channel, int fd)
{
    wherry__wait_remove(&channel->endpoint.receiving, fd);
    wherry__wait_drop(&channel->endpoint.receiving, WHERRY__CROWD_WATCHED);
}

void wherry__channel_refuse(struct wherry_channel *channel)
{
    if (!crowd_of(channel)->plain && !is_inherited(channel))
        wherry__sys.shutdown(crowd_of(channel)->listener, SHUT_RD);
}

int wherry__channel_drain(struct wherry_channel *channel, bool last)
{
    int result = wherry__channel_enter(channel, WHERRY__RECEIVING, WHERRY_NOW);
    if (result < 0)
        return result;
    wherry__channel_lock(channel);
    result = wherry__crowd_drain(&channel->endpoint, last && !is_inherited(channel));
    wherry__channel_unlock(channel);
    wherry__channel_leave(channel, WHERRY__RECEIVING);
    return result;
}

bool wherry__channel_tears(const struct wherry_channel *channel)
{
    return !((const struct wherry__crowd *)channel->endpoint.state)->plain;
}
