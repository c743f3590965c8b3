/* channel/transport_socketpair.c - socketpair: two duplex ends of a Unix stream socket, for a family of processes.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "channel/single.h"
#include "socket/socket.h"
#include "socket/unix.h"

static int socketpair_pair(struct wherry__endpoint *endpoints[2])
{
    int fds[2] = {-1, -1};
    const struct wherry__config *config = endpoints[0]->config;
    int result = wherry__unix_pair(fds, SOCK_STREAM, config->inheritable);
    for (int i = 0; i < 2; i++) {
        struct wherry__link *link = &((struct wherry__single *)endpoints[i]->state)->link;
        wherry__link_init(link, endpoints[i]->config, &endpoints[i]->counters);
        link->kind = WHERRY__LINK_SOCKET;
        wherry__link_is_unix(link);
        link->in_fd = link->out_fd = fds[i];
        link->atoms = config->writers > 1; /* processes that share one end say so */
        link->exact = wherry__reads_exactly(config, false);
        link->peer = (struct wherry_peer){.id = 1};
        struct wherry__credentials credentials;
        if (result == 0 && wherry__credentials_of_connection(fds[i], &credentials) == 0)
            link->peer = (struct wherry_peer){.id = 1,
                                              .has_credentials = true,
                                              .pid = credentials.pid,
                                              .uid = credentials.uid,
                                              .gid = credentials.gid};
    }
    for (int i = 0; i < 2 && result == 0; i++) {
        result = wherry__socket_resize(fds[i], config->capacity, config->name);
        if (config->writers > 1)
            wherry__socket_least(fds[i], 4 * WHERRY__PART_ATOM); /* a part must fit into the socket whole */
        if (result == 0)
            result = wherry__single_start(endpoints[i]);
    }
    return result;
}

const struct wherry__transport wherry__transport_socketpair = {
    .traits =
        {
            .scheme = "socketpair",
            .summary = "two duplex ends between parent and child",
            .object = "Unix socket pair",
            .sample = "socketpair:",
            .bits = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_STREAM | WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_EMPTY |
                    WHERRY_TRAIT_READS_AHEAD | WHERRY_TRAIT_KEEPS_TAIL | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_ENDS |
                    WHERRY_TRAIT_ENDS_FOR_EVER | WHERRY_TRAIT_KNOWS_RECEIVERS | WHERRY_TRAIT_NOTICES_DEATH |
                    WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_PEER | WHERRY_TRAIT_TYPES | WHERRY_TRAIT_CARRIES_FDS,
        },
    .options = WHERRY__OPTION_FRAME | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_WRITERS | WHERRY__OPTION_READ_AHEAD |
               WHERRY__OPTION_UID | WHERRY__OPTION_FDS,
    .state_size = sizeof(struct wherry__single),
    .pair = socketpair_pair,
    WHERRY__SINGLE_SLOTS,
    .try_borrow = wherry__single_try_borrow,
    .take_fds = wherry__single_take_fds,
    .peer_pidfd = wherry__single_peer_pidfd,
    .peer = wherry__single_peer,
    .adopt = wherry__single_adopt,
    .descriptors = wherry__single_descriptors,
    .close = wherry__single_close,
};
