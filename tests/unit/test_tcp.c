/* tests/unit/test_tcp.c - owns the proof for tcp: within one host: H52, H53, H71, who is at a port, and that options
 * reach the kernel.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/framing.h"
#include "unit/hosts.h"
#include "unit/pattern.h"

#define MS WHERRY_MILLISECOND

/* ---- endpoints and raw sockets ----------------------------------------------------------------------------------- */

static struct wherry_channel *open_at(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel;
    test_ok(wherry_channel_open(url, role, NULL, test_deadline(), &channel));
    return channel;
}

static int port_of(const struct wherry_channel *channel)
{
    const char *url = wherry_channel_url(channel);
    const char *end = url + strcspn(url, "?");
    while (end[-1] != ':')
        end--;
    return atoi(end);
}

/* The URL of the side that connects to what listens at a port of its own. */
static const char *to(const struct wherry_channel *channel, const char *query)
{
    static char url[200];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d%s", port_of(channel), query);
    return url;
}

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A client of system calls, with a receiving buffer of so many bytes (0: the kernel's). */
static int raw_client(int port, int buffer)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (buffer)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer), 0);
    ck_assert_msg(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect: %s", strerror(errno));
    return fd;
}

/* A server of system calls; its URL. */
static int raw_server(char url[static 80])
{
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(url, 80, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

static int raw_accept(int server)
{
    int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void reset(int fd)
{
    const struct linger linger = {.l_onoff = 1};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
}

/* A frame as the library writes it. */
static size_t frame(uint8_t *to_here, const char *text)
{
    size_t size = strlen(text);
    wherry__whole_encode(to_here, (uint32_t)size, 0);
    memcpy(to_here + WHERRY__WHOLE_HEADER, text, size);
    return WHERRY__WHOLE_HEADER + size;
}

static void raw_send(int fd, const char *text)
{
    uint8_t bytes[100];
    size_t size = frame(bytes, text);
    ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static int receive(struct wherry_channel *channel, char text[static 100])
{
    size_t size = 0;
    int result = wherry_channel_receive(channel, text, 99, &size, test_deadline());
    text[result == 1 ? size : 0] = '\0';
    return result;
}

static void receives(struct wherry_channel *channel, const char *wanted)
{
    char text[100];
    test_is(receive(channel, text), 1);
    ck_assert_str_eq(text, wanted);
}

static uint64_t id_of(struct wherry_channel *listener, const char *wanted)
{
    struct wherry_info info;
    char text[100];
    test_is(wherry_channel_receive_info(listener, text, sizeof text, &info, test_deadline()), 1);
    ck_assert(info.size == strlen(wanted) && memcmp(text, wanted, info.size) == 0);
    return info.peer.id;
}

/* ---- H52 --------------------------------------------------------------------------------------------------------- */

/* The kernel takes the first message for a peer that has gone; what comes back for it says so. */
TEST(h52_a_send_soon_says_that_the_peer_closed)
{
    char url[80], text[100];
    int server = raw_server(url);
    struct wherry_channel *channel = open_at(strcat(url, "?connect"), WHERRY_BOTH);
    close(raw_accept(server));
    test_is(receive(channel, text), 0);
    int sent = 0, result;
    while ((result = wherry_channel_send(channel, "x", 1, test_deadline())) == 0 && sent < 1000)
        sent++;
    test_is(result, -EPIPE);
    ck_assert_int_le(sent, 2);
    test_is(receive(channel, text), 0); /* it closed in order: that what was sent was refused changes nothing */
    test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
    wherry_channel_close(channel, WHERRY_NOW);
    close(server);
}

TEST(h52_a_reset_is_said_once_and_then_the_end)
{
    char url[80], text[100];
    int server = raw_server(url);
    strcat(url, "?connect");
    for (int sends = 0; sends < 2; sends++) {
        struct wherry_channel *channel = open_at(url, WHERRY_BOTH);
        int fd = raw_accept(server);
        raw_send(fd, "before");
        reset(fd);
        if (sends) { /* the kernel says it to whoever asks first, and only once */
            test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
            ck_assert_ptr_nonnull(strstr(wherry_why(), strerror(ECONNRESET)));
        }
        receives(channel, "before");
        test_is(receive(channel, text), -ECONNRESET);
        ck_assert_msg(strstr(wherry_why(), "lost"), "%s", wherry_why());
        for (int i = 0; i < 3; i++)
            test_is(receive(channel, text), 0);
        test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
        wherry_channel_close(channel, WHERRY_NOW);
    }
    close(server);
}

TEST(h52_a_listening_endpoint_tells_the_end_from_a_reset)
{
    struct wherry_channel *channel = open_at("tcp://:0?report_ends=1&listen", WHERRY_BOTH);
    struct wherry_info info;
    char text[100];
    for (int resets = 0; resets < 2; resets++)
        for (int sends = 0; sends < 2; sends++) {
            int fd = raw_client(port_of(channel), 0);
            raw_send(fd, "before");
            uint64_t id = id_of(channel, "before");
            raw_send(fd, "more");
            if (resets)
                reset(fd);
            else
                close(fd);
            struct wherry_message answer = {.data = "x", .size = 1, .to = id};
            if (sends)
                test_is(wherry_channel_send_message(channel, &answer, 0, test_deadline()), resets ? -ENOTCONN : 0);
            ck_assert_uint_eq(id_of(channel, "more"), id);
            test_is(wherry_channel_receive_info(channel, text, sizeof text, &info, test_deadline()), 1);
            ck_assert_uint_eq(info.flags, WHERRY_ENDED);
            ck_assert_uint_eq(info.peer.id, id);
            ck_assert_msg(info.type == (resets ? -ECONNRESET : 0), "resets %d, sends %d: type %lld", resets, sends,
                          (long long)info.type);
            test_ok(wherry_channel_disconnect(channel, id, test_deadline()));
            test_is(receive(channel, text), 0);
        }
    wherry_channel_close(channel, WHERRY_NOW);
}

/* ---- halves of messages ------------------------------------------------------------------------------------------ */

/* Of a message of 1 MiB so much comes before the reset. */
static const struct {
    const char *name;
    size_t bytes;
} halves[] = {
    {"header", 7}, {"a_little", 1000}, {"half", 512 * 1024}, {"all_but_one", WHERRY__WHOLE_HEADER + (1 << 20) - 1}};

TEST_TABLE(h52_a_message_cut_off_by_a_reset_is_dropped_and_counted, halves)
{
    enum { SIZE = 1 << 20 };
    uint8_t *bytes = calloc(1, WHERRY__WHOLE_HEADER + SIZE), *buffer = malloc(SIZE);
    struct wherry_channel_stats stats;
    wherry__whole_encode(bytes, SIZE, 0);
    for (int listens = 0; listens < 2; listens++)
        for (int roomy = 0; roomy < 2; roomy++) { /* into the caller's buffer, and into memory of the endpoint */
            char url[80];
            size_t size = 77, sent = 0;
            int server = listens ? -1 : raw_server(url);
            struct wherry_channel *channel = open_at(listens ? "tcp://:0" : strcat(url, "?connect"), WHERRY_RECEIVE);
            int fd = listens ? raw_client(port_of(channel), 0) : raw_accept(server);
            fcntl(fd, F_SETFL, O_NONBLOCK);
            while (sent < halves[index].bytes) {
                ssize_t more = send(fd, bytes + sent, halves[index].bytes - sent, MSG_NOSIGNAL);
                sent += more > 0 ? (size_t)more : 0;
                test_is(wherry_channel_receive(channel, buffer, roomy ? SIZE : 10, &size, WHERRY_NOW), -EAGAIN);
            }
            test_is(wherry_channel_receive(channel, buffer, roomy ? SIZE : 10, &size, wherry_after(20 * MS)),
                    -ETIMEDOUT);
            reset(fd);
            test_is(wherry_channel_receive(channel, buffer, SIZE, &size, test_deadline()), listens ? 0 : -ECONNRESET);
            ck_assert_uint_eq(size, 77);
            test_ok(wherry_channel_stats(channel, &stats, sizeof stats));
            ck_assert_uint_eq(stats.dropped, 1);
            ck_assert_uint_eq(stats.received_messages, 0);
            wherry_channel_close(channel, WHERRY_NOW);
            if (server >= 0)
                close(server);
        }
    free(bytes);
    free(buffer);
}

/* The sender's side of it: what was begun and kept goes with the connection. */
TEST(h52_a_message_begun_ends_with_the_connection)
{
    enum { SIZE = 16 << 20 };
    char url[80];
    int server = raw_server(url);
    void *big = calloc(1, SIZE);
    struct wherry_channel *channel = open_at(url, WHERRY_SEND);
    int fd = raw_accept(server);
    test_ok(wherry_channel_send(channel, big, SIZE, WHERRY_NOW)); /* begun, and kept */
    test_is(wherry_channel_flush(channel, wherry_after(30 * MS)), -ETIMEDOUT);
    reset(fd);
    test_is(wherry_channel_flush(channel, test_deadline()), -EPIPE);
    test_is(wherry_channel_send(channel, "x", 1, test_deadline()), -EPIPE);
    test_ok(wherry_channel_close(channel, WHERRY_NOW));
    free(big);
    close(server);
}

/* ---- H53 --------------------------------------------------------------------------------------------------------- */

enum { H53_PORT = 9053, H53_STATE_TIME_WAIT = 6 };

/* Connections at this port of our own that the kernel remembers. */
static int remembered(int port)
{
    FILE *table = fopen("/proc/net/tcp", "re");
    char line[300];
    int count = 0;
    while (table && fgets(line, sizeof line, table)) {
        unsigned local, state;
        if (sscanf(line, "%*d: %*[0-9A-F]:%x %*s %x", &local, &state) == 2 && local == (unsigned)port)
            count += state == H53_STATE_TIME_WAIT;
    }
    if (table)
        fclose(table);
    return count;
}

/* Connects, asks, waits for the answer, again and again; who finds nobody tries again.  How a server ended is not its
 * business. */
static void h53_ask_on(void *argument)
{
    _Atomic bool *stop = argument;
    while (!*stop) {
        struct wherry_channel *channel;
        char text[100];
        size_t size;
        if (wherry_channel_open("tcp://:9053?connect", WHERRY_BOTH, NULL, wherry_after(100 * MS), &channel) != 0)
            continue;
        wherry_channel_send(channel, "question", 8, wherry_after(100 * MS));
        wherry_channel_receive(channel, text, sizeof text, &size, wherry_after(100 * MS));
        wherry_channel_close(channel, WHERRY_NOW);
    }
}

TEST_WITH(h53_a_restarted_server_has_its_port_at_once, .seconds = 60)
{
    enum { CLIENTS = 2, ROUNDS = 300, EACH = 5 };
    _Atomic bool *stop = test_shared(sizeof *stop);
    pid_t clients[CLIENTS];
    int most = 0, answered = 0;
    hosts_own_network();
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = test_fork(h53_ask_on, (void *)stop);
    for (int round = 0; round < ROUNDS; round++) {
        struct wherry_channel *channel;
        test_ok(wherry_channel_open("tcp://:9053?listen", WHERRY_BOTH, NULL, WHERRY_NOW, &channel));
        for (int i = 0; i < EACH; i++) {
            struct wherry_info info;
            char text[100];
            int result = wherry_channel_receive_info(channel, text, sizeof text, &info, test_deadline());
            if (result < 1)
                continue;
            struct wherry_message answer = {.data = "answer", .size = 6, .to = info.peer.id};
            answered += wherry_channel_send_message(channel, &answer, 0, test_deadline()) == 0;
        }
        wherry_channel_close(channel, WHERRY_NOW); /* closes first: the kernel remembers */
        if (round % 50 == 0) {
            int now = remembered(H53_PORT);
            most = now > most ? now : most;
        }
    }
    *stop = true;
    for (int i = 0; i < CLIENTS; i++)
        test_join(clients[i]);
    ck_assert_msg(most > 0, "no connection was remembered: nothing was shown");
    ck_assert_int_gt(answered, ROUNDS);
}

/* ---- H71 --------------------------------------------------------------------------------------------------------- */

enum { H71_REPLIES = 64, H71_REPLY = 16384 };

struct h71 {
    int fd;
    size_t got;
    int end; /* of reading: 0 or an errno */
    bool little;
    _Atomic bool stop;
};

/* As much as it can, which ends with a full buffer, or a little now and then, which goes on. */
static void *h71_send_on(void *argument)
{
    struct h71 *h71 = argument;
    char bytes[4096];
    memset(bytes, 'x', sizeof bytes);
    while (!h71->stop && send(h71->fd, bytes, h71->little ? 10 : sizeof bytes, MSG_NOSIGNAL) > 0)
        if (h71->little)
            test_sleep(100 * WHERRY_MICROSECOND);
    return NULL;
}

static void *h71_read(void *argument)
{
    struct h71 *h71 = argument;
    char bytes[8192];
    ssize_t size;
    while ((size = recv(h71->fd, bytes, sizeof bytes, 0)) > 0) {
        h71->got += (size_t)size;
        test_sleep(50 * WHERRY_MICROSECOND); /* slower than the server sends */
    }
    h71->end = size < 0 ? errno : 0;
    return NULL;
}

/* The server answers and lets go while the client, whose small buffer is full of answers, goes on sending. */
static const struct {
    const char *name;
    bool disconnects, another, connects; /* another: that was not received from last */
} h71_ways[] = {
    {"close", false, false, false},
    {"disconnect", true, false, false},
    {"disconnect_another", true, true, false},
    {"close_of_who_connects", false, false, true},
};

TEST_TABLE(h71_no_reply_is_lost_to_what_the_client_still_sends, h71_ways)
{
    static char reply[H71_REPLY];
    memset(reply, 'r', sizeof reply);
    for (int round = 0; round < 10; round++) {
        char url[80], text[8192];
        struct wherry_info info = {0};
        pthread_t sends, reads;
        struct h71 h71 = {.little = round % 2};
        int server = h71_ways[index].connects ? raw_server(url) : -1;
        struct wherry_channel *channel = open_at(h71_ways[index].connects ? strcat(url, "?connect&frame=raw")
                                                                          : "tcp://:0?listen&frame=raw&capacity=64k",
                                                 WHERRY_BOTH);
        h71.fd = server >= 0 ? raw_accept(server) : raw_client(port_of(channel), 8192);
        pthread_create(&sends, NULL, h71_send_on, &h71);
        pthread_create(&reads, NULL, h71_read, &h71);
        test_is(wherry_channel_receive_info(channel, text, sizeof text, &info, test_deadline()), 1);
        for (int i = 0; i < H71_REPLIES; i++) {
            struct wherry_message message = {.data = reply, .size = sizeof reply, .to = info.peer.id};
            test_ok(wherry_channel_send_message(channel, &message, 0, test_deadline()));
        }
        int another = h71_ways[index].another ? raw_client(port_of(channel), 0) : -1;
        if (another >= 0) {
            struct wherry_info other = {.peer.id = info.peer.id};
            ck_assert_int_eq(send(another, "x", 1, MSG_NOSIGNAL), 1);
            while (other.peer.id == info.peer.id)
                test_is(wherry_channel_receive_info(channel, text, sizeof text, &other, test_deadline()), 1);
            close(another);
        }
        if (h71_ways[index].disconnects)
            test_ok(wherry_channel_disconnect(channel, info.peer.id, test_deadline()));
        else
            test_ok(wherry_channel_close(channel, test_deadline()));
        pthread_join(reads, NULL);
        h71.stop = true;
        if (h71_ways[index].disconnects) /* a peer that was received from last is closed at the next receive */
            wherry_channel_receive(channel, text, sizeof text, &(size_t){0}, WHERRY_NOW);
        pthread_join(sends, NULL);
        close(h71.fd);
        if (h71_ways[index].disconnects)
            wherry_channel_close(channel, test_deadline());
        if (server >= 0)
            close(server);
        ck_assert_msg(h71.got == (size_t)H71_REPLIES * H71_REPLY, "round %d: %zu of %d bytes came, then %s", round,
                      h71.got, H71_REPLIES * H71_REPLY, strerror(h71.end));
    }
}

/* ---- halves of a connection -------------------------------------------------------------------------------------- */

TEST(each_side_may_finish_and_go_on_receiving)
{
    char text[100];
    for (int first = 0; first < 2; first++) {
        struct wherry_channel *ends[2];
        ends[0] = open_at("tcp://:0?listen", WHERRY_BOTH);
        ends[1] = open_at(to(ends[0], "?connect"), WHERRY_BOTH);
        test_ok(wherry_channel_send(ends[1], "hello", 5, test_deadline()));
        receives(ends[0], "hello");
        test_ok(wherry_channel_finish(ends[first], test_deadline()));
        test_is(wherry_channel_send(ends[first], "x", 1, test_deadline()), -EPIPE);
        if (first == 0) {
            test_is(receive(ends[1], text), 0);
            test_ok(wherry_channel_send(ends[1], "late", 4, test_deadline()));
            receives(ends[0], "late");
            wherry_channel_close(ends[1], test_deadline());
            test_is(receive(ends[0], text), 0);
        } else {
            test_is(receive(ends[0], text), 0);
            test_ok(wherry_channel_send(ends[0], "late", 4, test_deadline())); /* the answer that it is owed */
            receives(ends[1], "late");
            test_is(receive(ends[1], text), 0);
            wherry_channel_close(ends[1], test_deadline());
        }
        wherry_channel_close(ends[0], test_deadline());
    }
}

/* ---- ports ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *connects; /* the latter is a host */
} zero[] = {
    {"tcp://:0", ""},
    {"tcp://127.0.0.1:0?capacity=64k", "localhost"},
    {"tcp://localhost:0?backlog=7&read_ahead=no", "127.0.0.1"},
    {"tcp://[::1]:0?max_message=1k", "[::1]"},
    {"tcp://*:0?capacity=1M", "127.0.0.1"},
    {"tcp://*:0", "[::1]"},
};

TEST_TABLE(port_0_is_a_free_one_that_the_url_says, zero)
{
    char url[100], wanted[100], *name = strdup(zero[index].name);
    struct wherry_channel *receiver = open_at(name, WHERRY_RECEIVE);
    free(name); /* the endpoint has its own */
    int port = port_of(receiver);
    ck_assert_int_gt(port, 0);
    const char *query = strchr(zero[index].name, '?');
    snprintf(wanted, sizeof wanted, "%.*s%d%s",
             (int)(query ? query - zero[index].name : (ptrdiff_t)strlen(zero[index].name)) - 1, zero[index].name, port,
             query ? query : "");
    ck_assert_str_eq(wherry_channel_url(receiver), wanted);
    snprintf(url, sizeof url, "tcp://%s:%d", zero[index].connects, port);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
    receives(receiver, "hello");
    test_is(wherry_channel_send(receiver, "x", 1, WHERRY_NOW), -EOPNOTSUPP);
    ck_assert_msg(strncmp(wherry_why(), wanted, strlen(wanted)) == 0, "%s", wherry_why()); /* sentences say it too */
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
}

TEST(both_families_reach_all_addresses_at_once)
{
    char url[100];
    struct wherry_channel *receiver = open_at("tcp://*:0", WHERRY_RECEIVE), *senders[2];
    for (int i = 0; i < 2; i++) {
        snprintf(url, sizeof url, i ? "tcp://[::1]:%d" : "tcp://127.0.0.1:%d", port_of(receiver));
        senders[i] = open_at(url, WHERRY_SEND);
        test_ok(wherry_channel_send(senders[i], i ? "six" : "four", i ? 3 : 4, test_deadline()));
        receives(receiver, i ? "six" : "four");
    }
    wherry_channel_close(senders[0], WHERRY_NOW);
    wherry_channel_close(senders[1], WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
}

static const struct {
    const char *name, *second;
} taken[] = {
    {"tcp://127.0.0.1:9054", "tcp://127.0.0.1:9054"},
    {"tcp://[::1]:9054", "tcp://[::1]:9054"},
    {"tcp://*:9054", "tcp://127.0.0.1:9054"},
    {"tcp://127.0.0.1:9054", "tcp://*:9054"},
    {"tcp://*:9054", "tcp://*:9054"},
    {"tcp://[::1]:9054", "tcp://*:9054"},
};

static void serve_until_end(void *argument)
{
    struct wherry_channel *channel = open_at(argument, WHERRY_RECEIVE);
    char text[100];
    receive(channel, text);
    wherry_channel_close(channel, WHERRY_NOW);
}

TEST_TABLE(h45_who_has_the_port_is_named, taken)
{
    char wanted[24];
    struct wherry_channel *channel;
    hosts_own_network();
    pid_t server = test_fork(serve_until_end, (void *)(uintptr_t)taken[index].name);
    test_until_asleep(server);
    test_is(wherry_channel_open(taken[index].second, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EADDRINUSE);
    snprintf(wanted, sizeof wanted, "pid %d (", (int)server);
    ck_assert_msg(strstr(wherry_why(), wanted), "\"%s\" does not name %s", wherry_why(), wanted);
    test_kill(server);
}

static void take_privileged(void *argument)
{
    struct wherry_channel *channel;
    (void)argument;
    if (!test_become_nobody())
        _exit(77);
    test_is(wherry_channel_open("tcp://:80", WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EACCES);
    ck_assert_msg(strstr(wherry_why(), "port 80 is for privileged processes"), "%s", wherry_why());
}

TEST(a_privileged_port_is_refused_with_the_reason)
{
    if (!test_is_root())
        test_skip("only root can become another user");
    hosts_own_network();
    ck_assert(hosts_write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024"));
    test_join(test_fork(take_privileged, NULL));
}

TEST(an_address_of_another_host_is_refused)
{
    struct wherry_channel *channel;
    hosts_own_network();
    test_is(wherry_channel_open("tcp://192.0.2.1:9", WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EADDRNOTAVAIL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "192.0.2.1:9 is no address of this host"));
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

/* A port of the kernel's own range at which nobody listens: sooner or later it is the one that is chosen for the socket
 * that connects, here at once. */
TEST(a_socket_connected_to_itself_is_no_connection)
{
    struct wherry_channel *channel;
    hosts_own_network();
    ck_assert(hosts_write("/proc/sys/net/ipv4/ip_local_port_range", "9055 9055"));
    for (int i = 0; i < 2; i++) {
        const char *url = i ? "tcp://[::1]:9055" : "tcp://127.0.0.1:9055";
        test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EAGAIN);
        test_is(wherry_channel_open(url, WHERRY_SEND, NULL, wherry_after(50 * MS), &channel), -ETIMEDOUT);
        ck_assert_msg(strstr(wherry_why(), strerror(ECONNREFUSED)), "%s", wherry_why());
        /* and what was tried is in nobody's way */
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
        wherry_channel_close(channel, WHERRY_NOW);
    }
}

static void serve_late(void *argument)
{
    test_sleep(200 * MS);
    serve_until_end(argument);
}

TEST(who_connects_may_come_first)
{
    char *url = (char[]){"tcp://:9056"};
    struct wherry_channel *channel;
    hosts_own_network();
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EAGAIN);
    ck_assert_msg(strstr(wherry_why(), "127.0.0.1:9056: ") && strstr(wherry_why(), "[::1]:9056: "), "%s", wherry_why());
    pid_t server = test_fork(serve_late, url);
    wherry_time begin = wherry_now();
    channel = open_at(url, WHERRY_SEND);
    ck_assert_int_lt(wherry_now() - begin, 600 * MS * test_slowness());
    test_ok(wherry_channel_send(channel, "x", 1, test_deadline()));
    wherry_channel_close(channel, WHERRY_NOW);
    test_join(server);
}

/* A name with two addresses, where the first is of a host that is off. */
static int dead_and_alive(void)
{
    hosts_own_network();
    hosts_see("/etc/hosts", "2001:db8::1 both.test\n10.66.0.2 both.test\n2001:db8::1 off.test\n10.66.0.1 off.test\n");
    hosts_see("/etc/nsswitch.conf", "hosts: files\n");
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int fd = hosts_device(control, "10.66.0.2", "2001:db8::2");
    close(control);
    /* the address can be used a moment after it was given; before, it is the last to be tried */
    struct sockaddr_in6 dead = {.sin6_family = AF_INET6, .sin6_port = 9}, own = {0};
    inet_pton(AF_INET6, "2001:db8::1", &dead.sin6_addr);
    for (wherry_time until = test_deadline(); own.sin6_addr.s6_addr[0] != 0x20; test_sleep(MS)) {
        socklen_t size = sizeof own;
        int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_lt(wherry_now(), until);
        if (connect(probe, (struct sockaddr *)&dead, sizeof dead) == 0)
            ck_assert_int_eq(getsockname(probe, (struct sockaddr *)&own, &size), 0);
        close(probe);
    }
    return fd;
}

TEST(a_dead_address_costs_a_quarter_of_a_second)
{
    char text[100];
    int cable = dead_and_alive();
    struct wherry_channel *receiver = open_at("tcp://10.66.0.2:9057", WHERRY_RECEIVE);
    for (int i = 0; i < 3; i++) {
        wherry_time begin = wherry_now();
        struct wherry_channel *sender = open_at("tcp://both.test:9057", WHERRY_SEND);
        wherry_time took = wherry_now() - begin;
        ck_assert_msg(took >= 240 * MS && took < 450 * MS * test_slowness(), "%lld ms", (long long)took / 1000000);
        test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
        receives(receiver, "hello");
        wherry_channel_close(sender, WHERRY_NOW);
        test_is(receive(receiver, text), 0);
    }
    wherry_channel_close(receiver, WHERRY_NOW);
    close(cable);
    test_sleep(1200 * MS); /* glibc's thread, which asked for the name */
}

TEST(each_address_is_named_with_its_reason)
{
    struct wherry_channel *channel;
    int cable = dead_and_alive();
    test_is(wherry_channel_open("tcp://both.test:9058", WHERRY_SEND, NULL, wherry_after(600 * MS), &channel),
            -ETIMEDOUT);
    ck_assert_msg(strstr(wherry_why(), "[2001:db8::1]:9058: no answer; 10.66.0.2:9058: Connection refused"), "%s",
                  wherry_why());
    wherry_time begin = wherry_now();
    test_is(wherry_channel_open("tcp://off.test:9058", WHERRY_SEND, NULL, wherry_after(600 * MS), &channel),
            -ETIMEDOUT);
    ck_assert_int_lt(wherry_now() - begin, 700 * MS * test_slowness());
    ck_assert_msg(strstr(wherry_why(), "[2001:db8::1]:9058: no answer; 10.66.0.1:9058: no answer"), "%s", wherry_why());
    test_is(wherry_channel_open("tcp://off.test:9058", WHERRY_SEND, NULL, wherry_after(100 * MS), &channel),
            -ETIMEDOUT);
    ck_assert_msg(strstr(wherry_why(), "10.66.0.1:9058: not tried"), "%s", wherry_why());
    close(cable);
    test_sleep(1200 * MS);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* The descriptor of this process that is connected at, or to, the port. */
static int connection(int port, bool local)
{
    DIR *entries = opendir("/proc/self/fd");
    int found = -1;
    for (struct dirent *entry; (entry = readdir(entries));) {
        struct sockaddr_in address, peer;
        socklen_t size = sizeof address, peer_size = sizeof peer;
        int fd = atoi(entry->d_name);
        if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && peer.sin_family == AF_INET &&
            getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
            ntohs((local ? address : peer).sin_port) == port)
            found = fd;
    }
    closedir(entries);
    ck_assert_int_ge(found, 0);
    return found;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static const struct {
    const char *name; /* the query */
    int nodelay, keepalive, idle, interval, count, timeout;
} kept[] = {
    {"?listen", 1, 0, 0, 0, 0, 0},
    {"?listen&delay=1", 0, 0, 0, 0, 0, 0},
    {"?listen&keepalive=12", 1, 1, 12, 2, 3, 0},
    {"?listen&keepalive=1ms&user_timeout=1500ms", 1, 1, 1, 1, 3, 1500},
    {"?listen&keepalive=100000s&user_timeout=1us", 1, 1, 32767, 5461, 3, 1},
};

TEST_TABLE(options_reach_both_ends, kept)
{
    char url[100], query[100];
    snprintf(url, sizeof url, "tcp://:0%s", kept[index].name);
    struct wherry_channel *listener = open_at(url, WHERRY_BOTH);
    snprintf(query, sizeof query, "?connect%s", kept[index].name + strlen("?listen"));
    struct wherry_channel *connector = open_at(to(listener, query), WHERRY_BOTH);
    test_ok(wherry_channel_send(connector, "x", 1, test_deadline()));
    receives(listener, "x");
    for (int local = 0; local < 2; local++) {
        int fd = connection(port_of(listener), local);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_NODELAY), kept[index].nodelay);
        ck_assert_int_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), kept[index].keepalive);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), kept[index].timeout);
        if (!kept[index].keepalive)
            continue;
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), kept[index].idle);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), kept[index].interval);
        ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), kept[index].count);
    }
    wherry_channel_close(connector, WHERRY_NOW);
    wherry_channel_close(listener, WHERRY_NOW);
}

/* Bytes that go into a connection before a send has to wait. */
static size_t room(const char *query)
{
    char url[100], bytes[1024] = {0};
    snprintf(url, sizeof url, "tcp://:0?listen%s%s", *query ? "&" : "", query);
    struct wherry_channel *listener = open_at(url, WHERRY_RECEIVE);
    snprintf(url, sizeof url, "?connect%s%s", *query ? "&" : "", query);
    struct wherry_channel *connector = open_at(to(listener, url), WHERRY_SEND);
    test_ok(wherry_channel_send(connector, bytes, sizeof bytes, test_deadline()));
    size_t size, sent = 0;
    test_is(wherry_channel_receive(listener, bytes, sizeof bytes, &size, test_deadline()), 1); /* it is accepted */
    while (wherry_channel_send(connector, bytes, sizeof bytes, wherry_after(10 * MS)) == 0)
        sent += sizeof bytes;
    wherry_channel_close(connector, WHERRY_NOW);
    wherry_channel_close(listener, WHERRY_NOW);
    return sent;
}

TEST(capacity_bounds_both_buffers)
{
    size_t small = room("capacity=16k"), usual = room("");
    ck_assert_msg(small >= 16384 && small <= 4 * 16384, "capacity=16k takes %zu bytes", small);
    ck_assert_msg(usual >= 16 * small, "without it %zu, with it %zu", usual, small);
}

static void ask_for_much(void *argument)
{
    struct wherry_channel *channel;
    if (!test_become_nobody())
        _exit(77);
    for (int i = 0; i < 2; i++) {
        test_is(wherry_channel_open(argument, i ? WHERRY_SEND : WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -ENOBUFS);
        ck_assert_msg(strstr(wherry_why(), "net.core.wmem_max"), "%s", wherry_why());
    }
}

TEST(a_capacity_over_the_kernels_is_refused_at_once)
{
    if (!test_is_root())
        test_skip("only root can become another user");
    test_join(test_fork(ask_for_much, (char[]){"tcp://:9059?capacity=1G"}));
}

/* ---- forks ------------------------------------------------------------------------------------------------------- */

enum { WORKERS = 3, QUESTIONS = 60 };

struct family {
    struct wherry_channel *channel;
    _Atomic int *answered;
};

static void answer_on(void *argument)
{
    struct family *family = argument;
    char text[100];
    for (;;) {
        struct wherry_info info;
        int result = wherry_channel_receive_info(family->channel, text, sizeof text, &info, WHERRY_FOREVER);
        if (result == 0)
            continue;
        test_is(result, 1);
        if (info.size == 4 && memcmp(text, "stop", 4) == 0)
            break;
        struct wherry_message message = {.data = text, .size = info.size, .to = info.peer.id};
        test_ok(wherry_channel_send_message(family->channel, &message, 0, test_deadline()));
        ++*family->answered;
    }
    wherry_channel_close(family->channel, test_deadline());
}

TEST(forked_children_serve_one_listening_endpoint)
{
    pid_t workers[WORKERS];
    _Atomic int *answered = test_shared(sizeof *answered);
    struct family family = {open_at("tcp://:0?listen&inheritable=1", WHERRY_BOTH), answered};
    int port = port_of(family.channel);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = test_fork(answer_on, &family);
    for (int i = 0; i < QUESTIONS; i++) {
        char text[100];
        snprintf(text, sizeof text, "question %d", i);
        struct wherry_channel *client = open_at(to(family.channel, "?connect"), WHERRY_BOTH);
        test_ok(wherry_channel_send(client, text, strlen(text), test_deadline()));
        receives(client, text);
        wherry_channel_close(client, test_deadline());
    }
    for (int i = 0; i < WORKERS; i++) { /* each is closed by another worker, which ends with it */
        int fd = raw_client(port, 0);
        char none;
        raw_send(fd, "stop");
        ck_assert_int_eq(recv(fd, &none, 1, 0), 0);
        close(fd);
    }
    for (int i = 0; i < WORKERS; i++)
        test_join(workers[i]);
    ck_assert_int_eq(*answered, QUESTIONS);
    wherry_channel_close(family.channel, WHERRY_NOW);
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_lt(connect(fd, (struct sockaddr *)&address, sizeof address), 0); /* nobody has it any more */
    close(fd);
}
