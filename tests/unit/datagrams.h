/* tests/unit/datagrams.h - what holds for udp: and for ip: alike: how their endpoints are asked and heard, and the
 * cases that both must pass.
 *
 * SPDX-License-Identifier: MIT
 *
 * A case takes the transport, and a host of the test's own.  What only one of them promises is in test_udp*.c and
 * test_ip*.c. */
#ifndef WHERRY_TESTS_DATAGRAMS_H
#define WHERRY_TESTS_DATAGRAMS_H

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "channel/sequence.h"
#include "harness.h"
#include "unit/hosts.h"

/* ---- endpoints --------------------------------------------------------------------------------------------------- */

enum transport { UDP, IP };
enum { PROTOCOL = 253 }; /* of ip: in tests */

static inline void shut(struct wherry_channel *channel)
{
    wherry_channel_close(channel, WHERRY_NOW);
}

static inline unsigned port_of(const struct wherry_channel *channel)
{
    const char *url = wherry_channel_url(channel), *end = url + strcspn(url, "?");
    while (end[-1] != ':')
        end--;
    return (unsigned)strtoul(end, NULL, 10);
}

/* `options` is "key=value&..." or ""; ip: has no ports. */
static inline const char *url_of(char url[128], enum transport transport, const char *host, unsigned port,
                                 const char *options)
{
    if (transport == UDP)
        snprintf(url, 128, "udp://%s:%u%s%s", host, port, options[0] ? "?" : "", options);
    else
        snprintf(url, 128, "ip://%s?proto=%d%s%s", host, PROTOCOL, options[0] ? "&" : "", options);
    return url;
}

static inline struct wherry_channel *open_of(enum transport transport, const char *host, unsigned port,
                                             const char *options, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    char url[128];
    test_is(wherry_channel_open(url_of(url, transport, host, port, options), role, NULL, test_deadline(), &channel), 0);
    return channel;
}

/* An endpoint that sends to the other one. */
static inline struct wherry_channel *open_to(enum transport transport, const char *host,
                                             const struct wherry_channel *other, const char *options,
                                             enum wherry_role role)
{
    return open_of(transport, host, transport == UDP ? port_of(other) : 0, options, role);
}

static inline struct wherry_channel_stats stats_of(struct wherry_channel *channel)
{
    struct wherry_channel_stats stats;
    test_is(wherry_channel_stats(channel, &stats, sizeof stats), 0);
    return stats;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static inline void expect_text(struct wherry_channel *channel, const char *text)
{
    char data[256] = "";
    size_t size = 0;
    test_is(wherry_channel_receive(channel, data, sizeof data - 1, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, strlen(text));
    data[size] = '\0';
    ck_assert_str_eq(data, text);
}

/* The same, and who sent it. */
static inline uint64_t hear(struct wherry_channel *channel, const char *text)
{
    struct wherry_info info;
    char data[256];
    test_is(wherry_channel_receive_info(channel, data, sizeof data, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.size, strlen(text));
    ck_assert(memcmp(data, text, info.size) == 0);
    return info.peer.id;
}

static inline void expect_nothing(struct wherry_channel *channel)
{
    char data[8];
    test_is(wherry_channel_receive(channel, data, sizeof data, NULL, WHERRY_NOW), -EAGAIN);
}

static inline int say(struct wherry_channel *channel, const char *text)
{
    return wherry_channel_send(channel, text, strlen(text), test_deadline());
}

static inline int tell(struct wherry_channel *channel, uint64_t to, const char *text)
{
    struct wherry_message message = {.data = text, .size = strlen(text), .to = to};
    return wherry_channel_send_message(channel, &message, 0, test_deadline());
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static inline void answer_each_peer(enum transport transport, const char *host_name)
{
    enum { PEERS = 4, ROUNDS = 20 };
    char text[32];
    struct wherry_channel *host = open_of(transport, host_name, 0, "listen&seq=1", WHERRY_BOTH), *guests[PEERS];
    uint64_t ids[PEERS];
    for (int i = 0; i < PEERS; i++) {
        guests[i] = open_to(transport, host_name, host, "connect&seq=1", WHERRY_BOTH);
        snprintf(text, sizeof text, "from %d", i);
        test_is(say(guests[i], text), 0);
        ids[i] = hear(host, text);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = PEERS - 1; i >= 0; i--) {
            snprintf(text, sizeof text, "to %d, %d", i, round);
            test_is(tell(host, ids[i], text), 0);
            ck_assert_uint_eq(hear(guests[i], text), 1);
        }
    for (int i = 0; i < PEERS; i++) { /* each saw numbers of its own */
        struct wherry_channel_stats stats = stats_of(guests[i]);
        ck_assert_uint_eq(stats.lost + stats.reordered + stats.dropped + stats.refused, 0);
        expect_nothing(guests[i]);
        shut(guests[i]);
    }
    expect_nothing(host);
    test_is(tell(host, 0, "whom?"), -EDESTADDRREQ);
    test_is(tell(host, ids[3] + 1, "nobody"), -ENOTCONN);
    shut(host);
}

/* ---- sizes, refusals --------------------------------------------------------------------------------------------- */

static inline void carry_largest(enum transport transport, const char *host, const char *options, size_t most)
{
    struct wherry_channel *receiver = open_of(transport, host, 0, options, WHERRY_RECEIVE);
    struct wherry_channel *sender = open_to(transport, host, receiver, options, WHERRY_SEND);
    uint8_t *data = calloc(1, 70000), *back = malloc(70000);
    size_t size = 0;
    for (size_t i = 0; i < most; i++)
        data[i] = (uint8_t)(i * 7 >> 3);
    test_is(wherry_channel_send(sender, data, most + 1, test_deadline()), -EMSGSIZE);
    test_is(wherry_channel_send(sender, data, most, test_deadline()), 0);
    test_is(wherry_channel_receive(receiver, back, 70000, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, most);
    ck_assert(memcmp(data, back, most) == 0);
    ck_assert_uint_eq(stats_of(receiver).lost, 0); /* what was not taken had no number */
    test_is(wherry_channel_send(sender, data, 1, test_deadline()), 0);
    test_is(wherry_channel_receive(receiver, back, 70000, &size, test_deadline()), 1);
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
    free(data);
    free(back);
    shut(sender);
    shut(receiver);
}

/* One line a URL that cannot be opened: the code, and a word that the sentence has. */
struct refusal {
    const char *name;
    enum wherry_role role;
    int code;
    const char *word;
};

static inline void expect_refusal(const struct refusal *refusal)
{
    struct wherry_channel *channel = NULL;
    test_is(wherry_channel_open(refusal->name, refusal->role, NULL, WHERRY_NOW, &channel), refusal->code);
    ck_assert_msg(strstr(wherry_why(), refusal->word), "\"%s\" does not say \"%s\"", wherry_why(), refusal->word);
    ck_assert_ptr_null(channel);
}

/* ---- many in one call -------------------------------------------------------------------------------------------- */

enum { BATCH_MOST = 900, BATCH_SIZE = 9000 };

/* So many messages, of these sizes in turn; as many at a time as fit into the receiver's socket. */
struct batches {
    const size_t *sizes;
    unsigned size_count, messages, together;
};

static inline size_t batch_size(const struct batches *batches, unsigned n)
{
    return batches->sizes[n % batches->size_count];
}

static inline void batch_fill(uint8_t *data, size_t size, unsigned n)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(n + i * 31);
}

static inline void carry_batches(struct wherry_channel *receiver, struct wherry_channel *sender,
                                 const struct batches *batches)
{
    static uint8_t data[BATCH_MOST][BATCH_SIZE], back[BATCH_SIZE], wanted[BATCH_SIZE];
    static struct wherry_message messages[BATCH_MOST];
    const unsigned many = batches->messages;
    for (unsigned n = 0; n < many; n++) {
        batch_fill(data[n], batch_size(batches, n), n);
        messages[n] = (struct wherry_message){.data = data[n], .size = batch_size(batches, n)};
    }
    for (unsigned n = 0, together = 1; n < many; n += together, together = together % batches->together + 7) {
        together = together < many - n ? together : many - n;
        ck_assert_int_eq(wherry_channel_send_many(sender, messages + n, together, test_deadline()), (ssize_t)together);
        for (unsigned i = n; i < n + together; i++) {
            size_t size = 0;
            test_is(wherry_channel_receive(receiver, back, sizeof back, &size, test_deadline()), 1);
            batch_fill(wanted, batch_size(batches, i), i);
            ck_assert_msg(size == batch_size(batches, i) && memcmp(back, wanted, size) == 0,
                          "message %u came with %zu bytes", i, size);
        }
    }
    expect_nothing(receiver);
    ck_assert_uint_eq(stats_of(receiver).lost, 0);
}

/* ---- groups, by a device ----------------------------------------------------------------------------------------- */

/* A network of one device; what leaves by it can be read. */
static inline int own_device(void)
{
    hosts_own_network();
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int device = hosts_device(control, "10.66.0.1", "fd66::1");
    close(control);
    return device;
}

/* The next packet of a test that leaves by the device, soon (of udp: to that port): how many routers it may pass. */
static inline unsigned left_with_ttl(int device, enum transport transport, unsigned port)
{
    uint8_t packet[2000];
    for (;;) {
        struct pollfd wanted = {.fd = device, .events = POLLIN};
        ck_assert_msg(poll(&wanted, 1, 15000 * (int)test_slowness()) == 1, "nothing left by the device");
        ssize_t size = read(device, packet, sizeof packet);
        bool six = packet[0] >> 4 == 6;
        size_t at = six ? 40 : (packet[0] & 15u) * 4u;
        int protocol = packet[six ? 6 : 9];
        bool ours = transport == IP ? size >= (ssize_t)at && protocol == PROTOCOL
                                    : size >= (ssize_t)at + 8 && protocol == IPPROTO_UDP &&
                                          (unsigned)(packet[at + 2] << 8 | packet[at + 3]) == port;
        if (ours)
            return packet[six ? 7 : 8];
    }
}

enum { GROUP_PORT = 4711 };

struct group {
    int device;
    struct wherry_channel *one, *two;
};

/* All who joined hear what is said to the group, and who joined another one does not. */
static inline void group_reach(struct group *ret_group, enum transport transport, const char *name,
                               const char *elsewhere)
{
    static const char by_device[] = "interface=" HOSTS_DEVICE;
    struct group group = {.device = own_device()};
    group.one = open_of(transport, name, GROUP_PORT, by_device, WHERRY_RECEIVE);
    group.two = open_of(transport, name, GROUP_PORT, by_device, WHERRY_RECEIVE);
    struct wherry_channel *other = open_of(transport, elsewhere, GROUP_PORT, by_device, WHERRY_RECEIVE);
    struct wherry_channel *sender =
        open_of(transport, name, GROUP_PORT, "interface=" HOSTS_DEVICE "&ttl=7", WHERRY_SEND);
    test_is(say(sender, "to the group"), 0);
    hear(group.one, "to the group");
    hear(group.two, "to the group");
    expect_nothing(other);
    ck_assert_uint_eq(left_with_ttl(group.device, transport, GROUP_PORT), 7);
    shut(sender);
    shut(other);
    *ret_group = group;
}

static inline void group_leave(struct group *group)
{
    shut(group->one);
    shut(group->two);
    close(group->device);
}

/* ---- when the kernel says no ------------------------------------------------------------------------------------- */

static struct wherry__sys real;
static struct {
    unsigned left; /* calls until one fails; 0: none */
    int code;
    bool hit;
} fault;

static inline bool fails(void)
{
    if (fault.left == 0 || --fault.left > 0)
        return false;
    fault.hit = true;
    errno = fault.code;
    return true;
}

static inline int bad_socket(int domain, int type, int protocol)
{
    return fails() ? -1 : real.socket(domain, type, protocol);
}
static inline int bad_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails() ? -1 : real.bind(fd, address, size);
}
static inline int bad_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    return fails() ? -1 : real.connect(fd, address, size);
}
static inline int bad_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return fails() ? -1 : real.setsockopt(fd, level, name, value, size);
}
static inline ssize_t bad_recv(int fd, void *data, size_t size, int flags)
{
    return fails() ? -1 : real.recv(fd, data, size, flags);
}
static inline ssize_t bad_recvmsg(int fd, struct msghdr *message, int flags)
{
    return fails() ? -1 : real.recvmsg(fd, message, flags);
}
static inline int bad_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    return fails() ? -1 : real.recvmmsg(fd, messages, count, flags, timeout);
}
static inline int bad_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return fails() ? -1 : real.sendmmsg(fd, messages, count, flags);
}

/* Open, send nine, receive them: what fails says why, nothing stays open, and the next try works. */
static inline bool carry_nine(enum transport transport, const char *host, const char *options)
{
    struct wherry_channel *receiver = NULL, *sender = NULL;
    struct wherry_message messages[9];
    char url[128], text[8];
    ssize_t sent = 0, received = 0;
    int result =
        wherry_channel_open(url_of(url, transport, host, 0, options), WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver);
    if (result == 0) {
        url_of(url, transport, host, transport == UDP ? port_of(receiver) : 0, options);
        result = wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender);
    }
    ck_assert_msg(result == 0 || wherry_why()[0], "a failure without a word");
    for (size_t i = 0; i < 9; i++)
        messages[i] = (struct wherry_message){.data = "message", .size = i % 4};
    while (result == 0 && sent < 9) {
        ssize_t more = wherry_channel_send_many(sender, messages + sent, (size_t)(9 - sent), WHERRY_NOW);
        sent += more > 0 ? more : 0;
        ck_assert_msg(more >= 0 || fault.hit, "%s", wherry_why());
    }
    for (int tries = 0; result == 0 && received < sent && tries < 20; tries++)
        received += wherry_channel_receive(receiver, text, sizeof text, NULL, WHERRY_NOW) == 1;
    ck_assert_int_eq(received, sent);
    shut(sender);
    shut(receiver);
    return result == 0;
}

/* Each call of the table once, with each code; how many failed. */
static inline unsigned fail_each_call(enum transport transport, const char *host, const char *options)
{
    static const int codes[] = {EINTR, ENOMEM, EPERM, ENOBUFS, EAGAIN, ENOPROTOOPT};
    unsigned calls = 0;
    real = wherry__sys;
    wherry__sys.socket = bad_socket;
    wherry__sys.bind = bad_bind;
    wherry__sys.connect = bad_connect;
    wherry__sys.setsockopt = bad_setsockopt;
    wherry__sys.recv = bad_recv;
    wherry__sys.recvmsg = bad_recvmsg;
    wherry__sys.recvmmsg = bad_recvmmsg;
    wherry__sys.sendmmsg = bad_sendmmsg;
    for (size_t c = 0; c < sizeof codes / sizeof *codes; c++)
        for (unsigned n = 1;; n++) {
            fault.left = n;
            fault.code = codes[c];
            fault.hit = false;
            carry_nine(transport, host, options);
            fault.left = 0;
            if (!fault.hit)
                break;
            ck_assert_msg(carry_nine(transport, host, options), "after one failure: %s", wherry_why());
            calls++;
        }
    wherry__sys = real;
    return calls;
}

#endif
