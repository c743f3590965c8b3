/* tests/unit/test_tcp_ports.c - owns the proof of who is at a port of tcp:, and of how it is reached: H53, H45.
 *
 * SPDX-License-Identifier: MIT */

#include "unit/test_tcp_kit.h"

/* ---- places where nobody can listen ------------------------------------------------------------------------------ */

static const struct {
    const char *name, *url;
} groups[] = {{"ipv4", "tcp://224.0.0.1:0?listen"}, {"ipv4_own", "tcp://239.1.2.3:0?listen"},
              {"ipv6", "tcp://[ff02::1]:0?listen"}, {"ipv6_link", "tcp://[ff02::1%25lo]:0?listen"}};

TEST_TABLE(a_groups_address_is_nobodys_to_listen_at, groups)
{
    struct wherry_channel *channel = NULL;
    test_is(wherry_channel_open(groups[index].url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EINVAL);
    ck_assert_msg(strstr(wherry_why(), "is the address of a multicast group, to which nobody can connect; listen at"),
                  "\"%s\"", wherry_why());
    ck_assert_ptr_null(channel);
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
    ck_assert_msg(strstr(wherry_why(), "; stop it, or take another port"), "%s", wherry_why());
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
    test_until_asleep(getppid());
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
    ck_assert_int_lt(wherry_now() - begin, 10 * WHERRY_SECOND * test_slowness());
    test_ok(wherry_channel_send(channel, "x", 1, test_deadline()));
    wherry_channel_close(channel, WHERRY_NOW);
    test_join(server);
}

/* The address from which this one is spoken to can be used. */
static bool is_usable_towards(const struct sockaddr_in6 *peer, uint8_t first_byte)
{
    struct sockaddr_in6 own = {0};
    socklen_t size = sizeof own;
    int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (connect(probe, (const struct sockaddr *)peer, sizeof *peer) == 0)
        ck_assert_int_eq(getsockname(probe, (struct sockaddr *)&own, &size), 0);
    close(probe);
    return own.sin6_addr.s6_addr[0] == first_byte;
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
    struct sockaddr_in6 dead = {.sin6_family = AF_INET6, .sin6_port = 9};
    inet_pton(AF_INET6, "2001:db8::1", &dead.sin6_addr);
    test_until(is_usable_towards(&dead, 0x20), "2001:db8::2 cannot be used");
    return fd;
}

/* glibc's thread, which asked for the name, ends by itself after a second without another question. */
static void until_alone(void)
{
    test_until(test_threads() == 0, "glibc's thread goes on");
}

TEST(a_dead_address_costs_a_quarter_of_a_second)
{
    char text[100];
    int cable = dead_and_alive();
    struct wherry_channel *receiver = open_at("tcp://10.66.0.2:9057", WHERRY_RECEIVE);
    int quick = 0;
    for (int i = 0; quick < 3; i++) { /* a machine that stands still makes some of them slow */
        wherry_time begin = wherry_now();
        struct wherry_channel *sender = open_at("tcp://both.test:9057", WHERRY_SEND);
        wherry_time took = wherry_now() - begin;
        quick += took < 450 * MS * test_slowness();
        ck_assert_msg(took >= 240 * MS && (quick > 0 || i < 10), "%lld ms", (long long)took / 1000000);
        ck_assert_msg(quick >= 3 || i < 20, "%d of %d were quick", quick, i + 1);
        test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
        receives(receiver, "hello");
        wherry_channel_close(sender, WHERRY_NOW);
        test_is(receive(receiver, text), 0);
    }
    wherry_channel_close(receiver, WHERRY_NOW);
    close(cable);
    until_alone();
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
    ck_assert_int_lt(wherry_now() - begin, 10 * WHERRY_SECOND * test_slowness());
    ck_assert_msg(strstr(wherry_why(), "[2001:db8::1]:9058: no answer; 10.66.0.1:9058: no answer"), "%s", wherry_why());
    test_is(wherry_channel_open("tcp://off.test:9058", WHERRY_SEND, NULL, wherry_after(100 * MS), &channel),
            -ETIMEDOUT);
    ck_assert_msg(strstr(wherry_why(), "10.66.0.1:9058: not tried"), "%s", wherry_why());
    close(cable);
    until_alone();
}
