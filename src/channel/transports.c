/* channel/transports.c - owns the table of transports.
 *
 * SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "channel/transport.h"

/* To add a transport: its file transport_<scheme>.c, and one line here. */
#define TABLE(X)                                                                                                       \
    X(pipe)                                                                                                            \
    X(fd)                                                                                                              \
    X(fifo)                                                                                                            \
    X(socketpair)                                                                                                      \
    X(unix)                                                                                                            \
    X(unix_seqpacket)                                                                                                  \
    X(unix_dgram)                                                                                                      \
    X(tcp)                                                                                                             \
    X(udp)                                                                                                             \
    X(ip)                                                                                                              \
    X(shm)                                                                                                             \
    X(mq)                                                                                                              \
    X(sysv)                                                                                                            \
    X(file)

#undef unix /* a macro of some compilers */
#define DECLARE(name) extern const struct wherry__transport wherry__transport_##name;
#define TRANSPORT(name) &wherry__transport_##name,
#define TRAITS(name) &wherry__transport_##name.traits,

TABLE(DECLARE)
const struct wherry__transport *const wherry__transports[] = {TABLE(TRANSPORT) NULL};
static const struct wherry_traits *const traits[] = {TABLE(TRAITS) NULL};
enum { COUNT = sizeof wherry__transports / sizeof *wherry__transports - 1 };

const struct wherry__transport *wherry__transport_double;

const struct wherry__transport *wherry__transport_find(const char *scheme)
{
    if (wherry__transport_double && strcmp(wherry__transport_double->traits.scheme, scheme) == 0)
        return wherry__transport_double;
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(wherry__transports[i]->traits.scheme, scheme) == 0)
            return wherry__transports[i];
    return NULL;
}

const struct wherry_traits *const *wherry_transports(size_t *ret_count)
{
    *ret_count = COUNT;
    return traits;
}

const char *wherry_trait_name(uint64_t bit)
{
    static const char *const names[] = {
        "pair",      "descriptor", "stream",      "duplex", "listens",     "many-senders", "many-receivers", "empty",
        "fans-out",  "lossy",      "reads-ahead", "keeps-tail", "holds",   "ends",         "ends-for-ever",
        "knows-receivers", "remains", "notices-death", "steps", "pollable", "in-place",    "peer",           "types",
        "ticks",     "carries-fds", "never-full",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bit == UINT64_C(1) << i)
            return names[i];
    return NULL;
}
