/* channel/transport_udp.c - udp: datagrams between hosts; no connections, no end, and some may be lost.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/why.h"
#include "channel/datagrams.h"

static int udp_check(const struct wherry__config *config)
{
    struct wherry__inet_place place;
    int result = wherry__inet_parse(&place, &config->url, true);
    if (result < 0)
        return result;
    if (config->side == WHERRY_CONNECT && place.port == 0)
        return wherry__fail(EINVAL, "%s: port 0 is for the side that listens: the kernel chooses one", config->name);
    return wherry__datagrams_check(config);
}

static int udp_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct wherry__inet_place place;
    struct wherry__inet_address address;
    int result = wherry__datagrams_open(endpoint, deadline, &place, &address);
    return result == 0 && place.port == 0 ? wherry__config_say_port(endpoint->config, &address) : result;
}

const struct wherry__transport wherry__transport_udp = {
    .traits =
        {
            .scheme = "udp",
            .summary = "datagrams between hosts; no connections, and some may be lost",
            .object = "UDP socket",
            .sample = "udp://{host}:{port}",
            .bits = WHERRY__DATAGRAMS_TRAITS | WHERRY_TRAIT_KNOWS_RECEIVERS,
            .largest = 65507, /* an IP packet's 65535, less its header and UDP's; 20 more over IPv6 */
        },
    .options = WHERRY__DATAGRAMS_OPTIONS,
    .check = udp_check,
    .open = udp_open,
    WHERRY__DATAGRAMS_SLOTS,
};
