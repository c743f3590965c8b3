/* channel/config.h - how an endpoint is to be: the URL and the options, checked and merged.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_CHANNEL_CONFIG_H
#define WHERRY_CHANNEL_CONFIG_H

#include <wherry/channel.h>
#include <wherry/queue.h>

#include "base/url.h"
#include "channel/framing.h"
#include "socket/allow.h"
#include "socket/resolve.h"

struct wherry__transport;

struct wherry__config {
    struct wherry__url url;
    const char *name; /* the URL as given: what messages about the endpoint begin with */
    enum wherry_role role;
    enum wherry_side side; /* never the default once checked, for transports that listen */
    struct wherry__framing framing;
    bool share_port;            /* tcp: not an option of users': the port is for several sockets of this process ... */
    int beside;                 /* ... this being the first of them, bound where the others go; 0: this is the first */
    struct wherry__allow allow; /* uids besides one's own and root */
    size_t max_message, max_memory, capacity;
    uint32_t mode, backlog, writers;
    wherry_time spin;
    bool single_thread, inheritable, report_ends;
    enum wherry_read_ahead read_ahead;
    bool keep, drops; /* drops: redeliver=no */
    uint32_t places;
    bool delay;
    wherry_time keepalive, user_timeout;
    uint32_t fds; /* that may come with a message */
    bool seq, broadcast;
    char interface[16]; /* IFNAMSIZ */
    uint32_t ttl;
    enum wherry_loop loop;
    uint32_t proto; /* 0: UDP */
    enum wherry__from { WHERRY__FROM_DEFAULT, WHERRY__FROM_SAVED, WHERRY__FROM_BEGINNING, WHERRY__FROM_END } from;
    char group[48];
    bool sync_each;
    wherry_time sync_every; /* 0: never, or each */
    uint64_t retain_bytes;
    wherry_time retain_age;
    bool shared; /* with `other` */
    uid_t other;
    bool sized;                    /* max_message was said */
    char id[16];                   /* of ftok(3); "" when it was not said */
    enum wherry_queue_which which; /* to receive, with its type */
    int64_t which_type;
};

/* Bits of wherry__transport.options: the options that a transport has a use for, beyond those all take (max_message,
 * max_memory, spin, single_thread, inheritable). */
#define WHERRY__OPTION_SIDE (1u << 0)
#define WHERRY__OPTION_FRAME (1u << 1)
#define WHERRY__OPTION_CAPACITY (1u << 2)
#define WHERRY__OPTION_MODE (1u << 3)
#define WHERRY__OPTION_BACKLOG (1u << 4)
#define WHERRY__OPTION_WRITERS (1u << 5)
#define WHERRY__OPTION_UID (1u << 6)
#define WHERRY__OPTION_READ_AHEAD (1u << 7)
#define WHERRY__OPTION_TCP (1u << 9)  /* delay, keepalive, user_timeout */
#define WHERRY__OPTION_FDS (1u << 11)
#define WHERRY__OPTION_ENDS (1u << 12) /* report_ends */
#define WHERRY__OPTION_UDP (1u << 10) /* seq, broadcast, interface, ttl, loop */
#define WHERRY__OPTION_PROTO (1u << 13)
#define WHERRY__OPTION_RING (1u << 8) /* keep, places, redeliver, share */
#define WHERRY__OPTION_SYSV (1u << 16) /* id, type */
#define WHERRY__OPTION_LOG (1u << 17)  /* from, group, fsync, retain_bytes, retain_age */

/* Returns 0 or -errno with the sentence set; fini may be called on whatever init left.  `pair`: for
 * wherry_channel_pair(). */
int wherry__config_init(struct wherry__config *config, const char *url, enum wherry_role role,
                        const struct wherry_channel_options *options, bool pair,
                        const struct wherry__transport **ret_transport);
/* The options at `given`, of any version, or the defaults for NULL.  0; -EINVAL, -E2BIG with a sentence. */
int wherry__config_read(const struct wherry_channel_options *given, const char *name,
                        struct wherry_channel_options *ret_options);
/* The kernel chose the port: the URL says it from now on.  0 or -ENOMEM with the sentence set. */
int wherry__config_say_port(struct wherry__config *config, const struct wherry__inet_address *address);
void wherry__config_fini(struct wherry__config *config);

#endif
