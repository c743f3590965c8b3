/* tests/unit/ends.h - two connected endpoints of any kind of object, by one name.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_ENDS_H
#define WHERRY_TESTS_ENDS_H

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

/* One line a kind: what comes before the path, and what follows it. */
struct ends_kind {
    const char *name;
    const char *scheme; /* "fifo:", "pipe:" ... */
    const char *query;  /* "?writers=1" or "" */
    bool packets;       /* the kernel keeps boundaries: takes no frame= */
    bool atoms;         /* over PIPE_BUF only frame=length */
    bool ends;          /* the end of the senders is seen */
    bool duplex;
    bool by_name;       /* any process can open it */
    bool network;       /* by an address of this host instead of a path */
    bool memory;        /* by a name in shared memory */
};

#define ENDS_PIPE {"pipe", "pipe:", "?writers=1", .ends = true}
#define ENDS_PIPE_ATOMS {"pipe_atoms", "pipe:", "?", .atoms = true, .ends = true}
#define ENDS_FD {"fd", "fd:", "?writers=1", .ends = true}
#define ENDS_FIFO {"fifo", "fifo:", "?", .atoms = true, .ends = true, .by_name = true}
#define ENDS_FIFO_SINGLE {"fifo_single", "fifo:", "?writers=1", .ends = true, .by_name = true}
#define ENDS_SOCKETPAIR {"socketpair", "socketpair:", "?", .ends = true, .duplex = true}
#define ENDS_UNIX {"unix", "unix:", "?", .ends = true, .duplex = true, .by_name = true}
#define ENDS_SEQPACKET                                                                                                 \
    {                                                                                                                  \
        "seqpacket", "unix+seqpacket:", "?", .packets = true, .ends = true, .duplex = true, .by_name = true            \
    }
#define ENDS_DGRAM {"dgram", "unix+dgram:", "?", .packets = true, .duplex = true, .by_name = true}
#define ENDS_TCP {"tcp", "tcp://", "?", .ends = true, .duplex = true, .by_name = true, .network = true}
#define ENDS_UDP {"udp", "udp://", "?", .packets = true, .duplex = true, .by_name = true, .network = true}
#define ENDS_SHM {"shm", "shm://", "?", .packets = true, .ends = true, .by_name = true, .memory = true}
#define ENDS_LOG {"log", "file:", "?", .packets = true, .by_name = true}
#define ENDS_STREAMS                                                                                                   \
    ENDS_PIPE, ENDS_PIPE_ATOMS, ENDS_FD, ENDS_FIFO, ENDS_FIFO_SINGLE, ENDS_SOCKETPAIR, ENDS_UNIX
#define ENDS_ALL ENDS_STREAMS, ENDS_SEQPACKET, ENDS_DGRAM

struct ends {
    struct wherry_channel *receiver, *sender;
    char url[400];
};

/* The URL of a by_name kind; `more` is "key=value&..." or "". */
static inline const char *ends_url(char *url, size_t capacity, const struct ends_kind *kind, const char *more)
{
    char path[256] = "";
    if (kind->network) /* any of 127.0.0.0/8 is this host: one for each process */
        snprintf(path, sizeof path, "127.%u.%u.7:4711", (unsigned)getpid() / 250 % 250 + 1,
                 (unsigned)getpid() % 250 + 1);
    else if (kind->memory)
        snprintf(path, sizeof path, "%s", test_word());
    else if (kind->by_name)
        test_path(path, "place");
    const char *joint = kind->query[0] && kind->query[1] && more[0] ? "&" : "";
    snprintf(url, capacity, "%s%s%s%s%s", kind->scheme, path, kind->query, joint, more);
    size_t length = strlen(url);
    if (url[length - 1] == '?')
        url[length - 1] = '\0';
    return url;
}

/* Both ends in this process. */
static inline void ends_open(struct ends *ends, const struct ends_kind *kind, const char *more)
{
    char query[128];
    const char *base = strchr(ends_url(ends->url, sizeof ends->url, kind, more), '?');
    snprintf(query, sizeof query, "%s", base ? base : "");
    if (kind->by_name) {
        test_ok(wherry_channel_open(ends->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
        test_ok(wherry_channel_open(ends->url, WHERRY_SEND, NULL, test_deadline(), &ends->sender));
    } else if (strcmp(kind->scheme, "fd:") == 0) {
        int fds[2];
        char url[200];
        ck_assert_int_eq(pipe(fds), 0);
        snprintf(url, sizeof url, "fd:%d%s", fds[0], query);
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
        snprintf(url, sizeof url, "fd:%d%s", fds[1], query);
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &ends->sender));
    } else {
        struct wherry_channel *pair[2];
        test_ok(wherry_channel_pair(ends->url, NULL, pair));
        ends->receiver = pair[0];
        ends->sender = pair[1];
    }
}

/* One more that sends, and has sent this. */
static inline struct wherry_channel *ends_join(const char *url, const char *text)
{
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, text, strlen(text), test_deadline()));
    return sender;
}

static inline void ends_expect(struct wherry_channel *receiver, const char *text)
{
    char buffer[32];
    size_t size;
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_mem_eq(buffer, text, size);
}

static inline void ends_close(struct ends *ends)
{
    wherry_channel_close(ends->sender, WHERRY_NOW);
    wherry_channel_close(ends->receiver, WHERRY_NOW);
    ends->sender = ends->receiver = NULL;
}

#endif
