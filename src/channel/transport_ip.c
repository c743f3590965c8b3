/* channel/transport_ip.c - ip: messages as packets of an IP protocol of one's own, past TCP and UDP.
 *
 * SPDX-License-Identifier: MIT
 *
 * There are no ports: each receiver at an address gets a copy of each packet of the protocol. */
#include <errno.h>
#include <netinet/in.h>

#include "base/why.h"
#include "channel/datagrams.h"

static int ip_check(const struct wherry__config *config)
{
    struct wherry__inet_place place;
    int result = wherry__inet_parse(&place, &config->url, false);
    if (result < 0)
        return result;
    if (config->proto == 0)
        return wherry__fail(
            EINVAL, "%s: say which protocol: ?proto=N, from 1 to 254; 253 and 254 are for experiments (RFC 3692)",
            config->name);
    return wherry__datagrams_check(config);
}

static bool is_any(const struct wherry__inet_address *address)
{
    const struct sockaddr *socket = (const struct sockaddr *)&address->address;
    if (socket->sa_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)socket)->sin6_addr);
    return ((const struct sockaddr_in *)(const void *)socket)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static int ip_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    const struct wherry__config *config = endpoint->config;
    struct wherry__inet_place place;
    struct wherry__inet_address address;
    int result = wherry__datagrams_open(endpoint, deadline, &place, &address);
    if (result == 0 && config->side == WHERRY_LISTEN && config->role == WHERRY_BOTH && is_any(&address))
        return wherry__fail(EOPNOTSUPP,
                            "%s: who answers from any address would hear its own answers to this host: say at which "
                            "address to listen",
                            config->name);
    return result;
}

const struct wherry__transport wherry__transport_ip = {
    .traits =
        {
            .scheme = "ip",
            .summary = "IP packets of a protocol of one's own; some may be lost, each receiver gets a copy",
            .object = "raw IP socket",
            .sample = "ip://{host}?proto=253",
            .bits = WHERRY__DATAGRAMS_TRAITS | WHERRY_TRAIT_MANY_RECEIVERS | WHERRY_TRAIT_FANS_OUT,
            .largest = 65515, /* an IP packet's 65535, less its header; 20 more over IPv6 */
        },
    .options = WHERRY__DATAGRAMS_OPTIONS | WHERRY__OPTION_PROTO,
    .check = ip_check,
    .open = ip_open,
    WHERRY__DATAGRAMS_SLOTS,
};
