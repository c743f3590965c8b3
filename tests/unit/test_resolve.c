/* tests/unit/test_resolve.c - owns the proof for socket/resolve.c: what a URL says of a host, and questions to name
 * servers that answer, fail, or are silent.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "socket/resolve.h"
#include "unit/hosts.h"

/* ---- URLs -------------------------------------------------------------------------------------------------------- */

static int parse(const char *text, bool needs_port, struct wherry__inet_place *place)
{
    static struct wherry__url url; /* place->name lies in it */
    test_ok(wherry__url_init(&url, text));
    int result = wherry__inet_parse(place, &url, needs_port);
    wherry__url_fini(&url);
    return result;
}

static const struct {
    const char *name; /* the URL */
    const char *host;
    int port; /* -1: none is needed */
} forms[] = {
    {"tcp://host:80", "host", 80},
    {"tcp://127.0.0.1:0", "127.0.0.1", 0},
    {"tcp://[::1]:9", "::1", 9},
    {"tcp://[fe80::1%25lo]:65535", "fe80::1%lo", 65535},
    {"tcp://:9", "", 9},
    {"tcp://*:9", "*", 9},
    {"tcp://a.b-c.example.:9?frame=line", "a.b-c.example.", 9},
    {"any://host", "host", -1},
    {"any://[::1]", "::1", -1},
    {"any://", "", -1},
};

TEST_TABLE(what_a_url_says, forms)
{
    struct wherry__inet_place place;
    test_ok(parse(forms[index].name, forms[index].port >= 0, &place));
    ck_assert_str_eq(place.host, forms[index].host);
    ck_assert_int_eq(place.port, forms[index].port >= 0 ? forms[index].port : 0);
}

static const struct {
    const char *name; /* the URL */
    int at;           /* the place that the sentence names, counted from 1 */
    const char *says;
} bad[] = {
    {"tcp:host:80", 5, "tcp://host:port"},
    {"tcp://host", 7, "port"},
    {"tcp://host:", 7, "port"},
    {"tcp://host:65536", 7, "65535"},
    {"tcp://host:-1", 7, "65535"},
    {"tcp://host:+1", 7, "65535"},
    {"tcp://host: 1", 7, "65535"},
    {"tcp://host:8o", 7, "65535"},
    {"tcp://host:99999999999999999999999", 7, "65535"},
    {"tcp://::1", 7, "brackets"},
    {"tcp://::1:9", 7, "brackets"},
    {"tcp://[::1", 7, "brackets"},
    {"tcp://[::1]9", 7, "brackets"},
    {"tcp://[::1]", 7, "port"},
    {"tcp://host:80/path", 14, "tcp://host:port"},
    {"any://host:80", 7, "no port"},
};

TEST_TABLE(h10_a_bad_url_is_refused_and_the_place_named, bad)
{
    struct wherry__inet_place place;
    char wanted[32];
    test_is(parse(bad[index].name, strncmp(bad[index].name, "any", 3) != 0, &place), -EINVAL);
    snprintf(wanted, sizeof wanted, "character %d", bad[index].at);
    ck_assert_msg(strstr(wherry_why(), wanted) && strstr(wherry_why(), bad[index].says),
                  "\"%s\" does not say %s and %s", wherry_why(), wanted, bad[index].says);
}

TEST(h10_a_name_of_any_length_is_refused)
{
    char url[400];
    struct wherry__inet_place place;
    for (int length = 200; length < 300; length++) {
        snprintf(url, sizeof url, "tcp://%0*d:9", length, 0);
        test_is(parse(url, true, &place), length < WHERRY__INET_HOST ? 0 : -EINVAL);
    }
}

/* ---- what needs no name server ----------------------------------------------------------------------------------- */

/* "127.0.0.1:9 [::1]:9" */
static int resolve(const char *host, bool listens, wherry_time deadline, char text[static 400])
{
    struct wherry__inet_place place = {.name = "tcp://name:9", .port = 9};
    struct wherry__inet_list list;
    snprintf(place.host, sizeof place.host, "%s", host);
    test_ok(wherry__process_start());
    int result = wherry__inet_resolve(&place, listens, deadline, &list);
    text[0] = '\0';
    for (int i = 0; i < list.count; i++) {
        char one[WHERRY__INET_TEXT];
        wherry__inet_text(&list.addresses[i], one);
        snprintf(text + strlen(text), 400 - strlen(text), "%s%s", i ? " " : "", one);
    }
    return result;
}

static const struct {
    const char *name, *connects, *listens;
} at_once[] = {
    {"127.0.0.1", "127.0.0.1:9", "127.0.0.1:9"},
    {"::1", "[::1]:9", "[::1]:9"},
    {"10.1", "10.0.0.1:9", "10.0.0.1:9"},
    {"fe80::1%lo", "[fe80::1%lo]:9", "[fe80::1%lo]:9"},
    {"", "127.0.0.1:9 [::1]:9", "127.0.0.1:9"},
    {"localhost", "127.0.0.1:9 [::1]:9", "127.0.0.1:9"},
    {"*", NULL, "[::]:9 0.0.0.0:9"},
};

TEST_TABLE(numbers_are_answered_at_once, at_once)
{
    char text[400];
    test_ok(resolve(at_once[index].name, true, WHERRY_NOW, text));
    ck_assert_str_eq(text, at_once[index].listens);
    test_is(resolve(at_once[index].name, false, WHERRY_NOW, text), at_once[index].connects ? 0 : -EINVAL);
    if (at_once[index].connects)
        ck_assert_str_eq(text, at_once[index].connects);
}

TEST(addresses_as_text)
{
    struct wherry__inet_address none = {.size = sizeof none.address, .address.ss_family = AF_UNIX};
    struct wherry__inet_address four = {.size = sizeof(struct sockaddr_in)};
    char text[WHERRY__INET_TEXT] = "x";
    wherry__inet_text(&none, text);
    ck_assert_str_eq(text, "");
    ((struct sockaddr_in *)&four.address)->sin_family = AF_INET;
    wherry__inet_text(&four, text);
    ck_assert_str_eq(text, "0.0.0.0");
}

/* ---- name servers ------------------------------------------------------------------------------------------------ */

enum { DNS = 53, TYPE_A = 1, TYPE_AAAA = 28, OK = 0, SERVFAIL = 2, NXDOMAIN = 3, SILENT = -1 };

struct server {
    _Atomic int answers;  /* a code, or SILENT */
    _Atomic int asked;    /* questions that came */
    _Atomic int failures; /* so many more are answered with SERVFAIL first */
    int fd;
};

/* This process asks a server of this test for names, which may be silent for so long as it is asked in vain. */
static struct server *name_server(int answers)
{
    struct server *server = test_shared(sizeof *server);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(DNS), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    hosts_own_network();
    hosts_see("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n");
    hosts_see("/etc/hosts", "127.0.0.1 localhost\n10.1.2.3 four.test\nfd00::3 six.test\n");
    hosts_see("/etc/nsswitch.conf", "hosts: files dns\n");
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
    server->answers = answers;
    return server;
}

/* RFC 1035, section 4: the question comes back with the code, and perhaps an address. */
static void serve(void *argument)
{
    static const uint8_t four[] = {0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, 10, 9, 8, 7};
    struct server *server = argument;
    uint8_t packet[1500];
    struct sockaddr_in from;
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(server->fd, packet, 500, 0, (struct sockaddr *)&from, &size);
        ck_assert_int_gt(length, 16);
        server->asked++;
        int code = server->failures > 0 ? SERVFAIL : server->answers;
        server->failures -= server->failures > 0;
        if (code == SILENT)
            continue;
        size_t end = 12; /* of the question: names are lengths and letters, and four bytes follow */
        while (packet[end])
            end += packet[end] + 1u;
        bool has = code == OK && packet[end + 2] == TYPE_A;
        end += 5;
        packet[2] |= 0x80;
        packet[3] = (uint8_t)(0x80 | code);
        memset(packet + 6, 0, 6);
        packet[7] = has;
        if (has) {
            memcpy(packet + end, four, sizeof four);
            end += sizeof four;
        }
        sendto(server->fd, packet, end, 0, (struct sockaddr *)&from, size);
    }
}

/* The threads that ask end by themselves: when the server has answered or they have given up, after the 2 s that
 * resolv.conf says, and glibc's a second later. */
static void stop(pid_t pid, struct server *server)
{
    test_until(test_threads() == 0, "%zu threads go on", test_threads());
    test_kill(pid);
    close(server->fd);
}

/* Ask; it must end by `least` to `most` from now on, or as much later as a machine may stand still for. */
#define STANDSTILL (10 * WHERRY_SECOND)

static int timed(const char *host, wherry_time patience, wherry_time least, wherry_time most, char text[static 400])
{
    wherry_time begin = wherry_now();
    int result = resolve(host, false, patience ? wherry_after(patience) : WHERRY_NOW, text);
    wherry_time took = wherry_now() - begin;
    ck_assert_msg(took >= least && took <= most * test_slowness() + STANDSTILL, "%s took %lld ms: %s", host,
                  (long long)took / 1000000, wherry_why());
    return result;
}

#define MS WHERRY_MILLISECOND

TEST(names_of_the_hosts_file)
{
    char text[400];
    struct server *server = name_server(SILENT);
    test_ok(resolve("four.test", false, test_deadline(), text));
    ck_assert_str_eq(text, "10.1.2.3:9");
    test_ok(resolve("six.test", true, test_deadline(), text));
    ck_assert_str_eq(text, "[fd00::3]:9");
    close(server->fd);
    test_until(test_threads() == 0, "%zu threads go on", test_threads());
}

TEST(an_unknown_name_is_no_matter_of_time)
{
    char text[400];
    struct server *server = name_server(NXDOMAIN);
    pid_t pid = test_fork(serve, server);
    test_is(timed("nobody.test", 20 * WHERRY_SECOND, 0, WHERRY_SECOND, text), -ENOENT);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "\"nobody.test\" is not known"));
    stop(pid, server);
}

TEST(a_silent_name_server_holds_nobody_up)
{
    char text[400];
    struct server *server = name_server(SILENT);
    pid_t pid = test_fork(serve, server);
    test_is(timed("silent.test", 300 * MS, 300 * MS, 450 * MS, text), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "\"silent.test\""));
    test_is(timed("silent.test", 0, 0, 50 * MS, text), -EAGAIN);
    test_is(timed("silent.test", 100 * MS, 100 * MS, 250 * MS, text), -ETIMEDOUT);
    /* a hundred that do not wait are one question, not a hundred threads */
    int asked = server->asked;
    wherry_time begin = wherry_now();
    for (int i = 0; i < 100; i++)
        test_is(resolve("silent.test", false, WHERRY_NOW, text), -EAGAIN);
    ck_assert_int_lt(wherry_now() - begin, 200 * MS * test_slowness() + STANDSTILL);
    ck_assert_int_le(server->asked - asked, 4);
    stop(pid, server);
}

/* Who looks in from time to time has the answer in the end. */
TEST(asking_without_waiting_finds_the_answer_of_before)
{
    char text[400];
    struct server *server = name_server(OK);
    pid_t pid = test_fork(serve, server);
    int result, tries = 0;
    wherry_time until = test_deadline();
    while ((result = resolve("late.test", false, WHERRY_NOW, text)) == -EAGAIN && wherry_now() < until) {
        tries++;
        test_sleep(5 * MS);
    }
    test_ok(result);
    ck_assert_str_eq(text, "10.9.8.7:9");
    ck_assert_int_le(server->asked, 4);
    stop(pid, server);
}

TEST(a_name_server_that_fails_is_asked_again)
{
    char text[400];
    struct server *server = name_server(OK);
    server->failures = 4; /* two questions: A and AAAA */
    pid_t pid = test_fork(serve, server);
    test_is(timed("late.test", 15 * WHERRY_SECOND, 50 * MS, 12 * WHERRY_SECOND, text), 0);
    ck_assert_str_eq(text, "10.9.8.7:9");
    /* and not without end, nor without pause */
    server->answers = SERVFAIL;
    int asked = server->asked;
    test_is(timed("broken.test", 500 * MS, 500 * MS, 700 * MS, text), -ETIMEDOUT);
    ck_assert_msg(server->asked - asked <= 40, "%d questions in 500 ms", server->asked - asked);
    stop(pid, server);
}

static void ask_in_child(void *argument)
{
    struct server *server = argument;
    char text[400];
    server->answers = OK;
    test_is(timed("late.test", 15 * WHERRY_SECOND, 0, 12 * WHERRY_SECOND, text), 0);
    ck_assert_str_eq(text, "10.9.8.7:9");
    test_is(timed("other.test", 0, 0, 50 * MS, text), -EAGAIN);
    test_ok(resolve("other.test", false, test_deadline(), text));
    server->answers = SILENT;
    test_is(timed("silent.test", 100 * MS, 100 * MS, 250 * MS, text), -ETIMEDOUT);
    test_is(timed("silent.test", 0, 0, 50 * MS, text), -EAGAIN);
}

/* While the parent's thread asks, and while it idles: both are threads that the child has not. */
TEST(a_forked_child_has_its_own_questions)
{
    test_needs(TEST_THREADS_IN_CHILD);
    char text[400];
    struct server *server = name_server(SILENT);
    pid_t pid = test_fork(serve, server);
    test_is(timed("late.test", 50 * MS, 50 * MS, 200 * MS, text), -ETIMEDOUT);
    test_join(test_fork(ask_in_child, server));
    server->answers = OK;
    test_ok(resolve("another.test", false, test_deadline(), text));
    test_join(test_fork(ask_in_child, server));
    server->answers = OK;
    test_ok(resolve("third.test", false, test_deadline(), text)); /* the parent's go on */
    stop(pid, server);
}
