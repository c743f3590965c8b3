/* channel/serve.h - a listening endpoint that several processes serve: what supervise/ needs beyond the public calls.
 *
 * SPDX-License-Identifier: MIT
 *
 * A master opens it inheritable and never receives on it; each forked worker takes its copy over. */
#ifndef WHERRY_CHANNEL_SERVE_H
#define WHERRY_CHANNEL_SERVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <wherry/channel.h>

/* As wherry_channel_open().  tcp: `share_port`: several sockets of this process listen at one address, and the kernel
 * deals the connections out among them; `beside`: the listening descriptor of the first of them, or 0. */
int wherry__channel_open_at(const char *url, enum wherry_role role, const struct wherry_channel_options *options,
                            bool share_port, int beside, wherry_time deadline, struct wherry_channel **ret_channel);

/* Listen at `url` for workers to come, as the options say otherwise.  `beside`: the first of several endpoints of one
 * tcp: address; NULL: this is the first.  0 and the endpoint; -EOPNOTSUPP: no server can stand on it; as
 * wherry_channel_open(). */
int wherry__channel_serve(const char *url, const struct wherry_channel_options *options, bool share_port,
                          struct wherry_channel *beside, struct wherry_channel **ret_channel);

/* In a forked child: the endpoint is this process's own from now on, its descriptors go to no further child, and the
 * name is not held by it. Connections are taken one at a time, so that the others get theirs.  0 or -errno. */
int wherry__channel_take_over(struct wherry_channel *channel);

/* The processes that accept from its socket take as many connections each; `shares`: a zeroed word for each of
 * `count`, in memory that they share, of which `own` is this one's.  A word of one that has ended is to be zeroed. */
void wherry__channel_share(struct wherry_channel *channel, _Atomic uint32_t *shares, unsigned count, unsigned own);

/* As wherry__crowd_watch(), and no more of it. */
int wherry__channel_watch(struct wherry_channel *channel, int fd);
void wherry__channel_unwatch(struct wherry_channel *channel, int fd);

/* Nobody can connect any more, here and in all processes that have the socket, while those who wait can be accepted
 * still.  Of Unix sockets; TCP has no such thing. */
void wherry__channel_refuse(struct wherry_channel *channel);

/* As wherry__crowd_drain(): from now on receive gives what had come, and then the end.  `last`: nobody else will
 * accept those who wait in the backlog. */
int wherry__channel_drain(struct wherry_channel *channel, bool last);

/* Whether requests that are torn by the drain itself may come from this endpoint marked WHERRY_INCOMPLETE. */
bool wherry__channel_tears(const struct wherry_channel *channel);

#endif
