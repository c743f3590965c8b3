/* tests/unit/test_hazards_sockets.c - owns the proof for H45, H47, H48 and H50: who is at a name, and who is at the
 * end.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/sys.h"
#include "harness.h"
#include "unit/ends.h"

static const struct ends_kind connected[] = {ENDS_UNIX, ENDS_SEQPACKET};
static const struct ends_kind named[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};

static int type_of(const struct ends_kind *kind)
{
    return strcmp(kind->name, "unix") == 0    ? SOCK_STREAM
           : strcmp(kind->name, "dgram") == 0 ? SOCK_DGRAM
                                              : SOCK_SEQPACKET;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ck_assert_uint_lt(strlen(path), sizeof address.sun_path);
    strcpy(address.sun_path, path);
    return address;
}

/* A server that knows nothing of wherry.  Its descriptor. */
static int raw_server(const char *path, int type, int backlog)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (type != SOCK_DGRAM)
        ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static int raw_client(const char *path, int type)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int code = errno;
    close(fd);
    return -code;
}

static void carry_one(const struct ends_kind *kind)
{
    struct ends ends;
    char buffer[8];
    size_t size;
    ends_open(&ends, kind, "");
    test_ok(wherry_channel_send(ends.sender, "hello", 5, WHERRY_NOW));
    test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, 5);
    ends_close(&ends);
}

/* ---- H45 --------------------------------------------------------------------------------------------------------- */

enum { RIVALS = 4, ROUNDS = 20 };
struct h45 {
    char url[400];
    pthread_barrier_t *barrier;
    _Atomic int *winners;
};

static void h45_rival(void *argument)
{
    struct h45 *h45 = argument;
    struct wherry_channel *channel;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(h45->barrier);
        int result = wherry_channel_open(h45->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel);
        if (result != -EADDRINUSE)
            test_ok(result);
        *h45->winners += result == 0;
        pthread_barrier_wait(h45->barrier);
        ck_assert_msg(*h45->winners == 1, "round %d: %d servers have the name", i, *h45->winners);
        pthread_barrier_wait(h45->barrier);
        *h45->winners = 0;
        if (result == 0)
            wherry_channel_close(channel, WHERRY_NOW);
    }
}

TEST_TABLE(h45_of_servers_at_a_barrier_one_gets_the_name, named)
{
    struct h45 h45;
    pthread_barrierattr_t shared;
    pid_t rivals[RIVALS];
    char path[256];
    ends_url(h45.url, sizeof h45.url, &named[index], "");
    h45.barrier = test_shared(sizeof *h45.barrier);
    h45.winners = test_shared(sizeof *h45.winners);
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(h45.barrier, &shared, RIVALS);
    /* a stale socket lies there at the start, which all want to replace */
    close(raw_server(test_path(path, "place"), type_of(&named[index]), 1));
    for (int i = 0; i < RIVALS; i++)
        rivals[i] = test_fork(h45_rival, &h45);
    for (int i = 0; i < RIVALS; i++)
        test_join(rivals[i]);
}

TEST_TABLE(h45_a_stale_socket_is_replaced, named)
{
    char path[256];
    close(raw_server(test_path(path, "place"), type_of(&named[index]), 1));
    carry_one(&named[index]);
}

TEST_TABLE(h45_a_live_raw_server_is_named_and_not_robbed, named)
{
    char path[256], url[400], wanted[24];
    struct wherry_channel *channel = NULL;
    struct stat before, after;
    int type = type_of(&named[index]);
    int server = raw_server(test_path(path, "place"), type, 4);
    ck_assert_int_eq(stat(path, &before), 0);
    test_is(
        wherry_channel_open(ends_url(url, sizeof url, &named[index], ""), WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel),
        -EADDRINUSE);
    snprintf(wanted, sizeof wanted, "pid %d (", (int)getpid());
    if (type != SOCK_DGRAM) /* the kernel does not say who receives datagrams */
        ck_assert_msg(strstr(wherry_why(), wanted) != NULL, "%s does not name %s", wherry_why(), wanted);
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    int client = raw_client(path, type);
    ck_assert_int_ge(client, 0); /* it is served as before */
    close(client);
    close(server);
    unlink(path);
}

static void h45_serve(void *argument)
{
    const char *url = argument;
    struct wherry_channel *channel;
    char buffer[8];
    size_t size;
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    wherry_channel_receive(channel, buffer, sizeof buffer, &size, WHERRY_FOREVER);
    _exit(7); /* a message came: say so by dying */
}

/* H12's socket side: each restart finds the name and the lock of the one that was killed. */
TEST_WITH(h45_200_servers_killed_and_started_again, .leaves = TEST_LEAVES_FILES, .seconds = 60)
{
    char url[400];
    struct wherry_channel *sender;
    ends_url(url, sizeof url, &named[0], "");
    for (int i = 0; i < 200; i++) {
        pid_t server = test_fork(h45_serve, url);
        if (i % 2)
            test_until_asleep(server); /* else killed wherever it is */
        if (i % 8 == 7) {
            test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
            test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
            wherry_channel_close(sender, test_deadline());
            test_join_status(server, 7);
        } else {
            test_kill(server);
        }
    }
    carry_one(&named[0]);
}

static void h45_serve_until_gate(void *argument)
{
    struct h45 *h45 = argument;
    struct wherry_channel *channel;
    char buffer[8];
    size_t size;
    test_ok(wherry_channel_open(h45->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    wherry_channel_receive(channel, buffer, sizeof buffer, &size, WHERRY_FOREVER);
}

TEST_WITH(h45_a_live_wherry_server_is_named, .leaves = TEST_LEAVES_FILES)
{
    struct h45 h45;
    struct wherry_channel *channel;
    char wanted[24];
    ends_url(h45.url, sizeof h45.url, &named[0], "");
    pid_t server = test_fork(h45_serve_until_gate, &h45);
    test_until_asleep(server);
    test_is(wherry_channel_open(h45.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EADDRINUSE);
    snprintf(wanted, sizeof wanted, "pid %d (", (int)server);
    ck_assert_msg(strstr(wherry_why(), wanted) != NULL, "%s does not name %s", wherry_why(), wanted);
    ck_assert_msg(strstr(wherry_why(), "; stop it, or take another name"), "%s", wherry_why());
    test_kill(server);
}

/* The one that had the lock removes its file between our opening of it and our locking: what we then lock is no longer
 * the file of that name, and a third could lock the new one (H3). */
static int (*h45_real_flock)(int fd, int operation);
static char h45_lock[256];
static int h45_flock_late(int fd, int operation)
{
    if (h45_lock[0]) {
        unlink(h45_lock);
        close(open(h45_lock, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    }
    h45_lock[0] = '\0';
    return h45_real_flock(fd, operation);
}

TEST(h45_a_lock_whose_file_went_meanwhile_is_none)
{
    char url[400], path[256];
    struct wherry_channel *channel, *second = NULL;
    h45_real_flock = wherry__sys.flock;
    wherry__sys.flock = h45_flock_late;
    test_path(h45_lock, "place.lock");
    test_ok(wherry_channel_open(ends_url(url, sizeof url, &named[0], ""), WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    int third = open(test_path(path, "place.lock"), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(third, 0);
    ck_assert_int_ne(flock(third, LOCK_EX | LOCK_NB), 0);
    close(third);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &second), -EADDRINUSE);
    wherry_channel_close(channel, WHERRY_NOW);
}

/* ---- H47 --------------------------------------------------------------------------------------------------------- */


static void h47_connect(void *argument)
{
    const char *url = argument;
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "x", 1, test_deadline()));
    wherry_channel_close(sender, test_deadline());
}

TEST_TABLE(h47_a_full_backlog_is_waited_for, connected)
{
    char url[400], path[256];
    struct wherry_channel *channel = NULL;
    int clients[64], count = 0, type = type_of(&connected[index]);
    int server = raw_server(test_path(path, "place"), type, 1);
    while (count < 64 && (clients[count] = raw_client(path, type)) >= 0)
        count++;
    ck_assert_int_eq(clients[count], -EAGAIN);
    ends_url(url, sizeof url, &connected[index], "");
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "backlog"));
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, wherry_after(30 * WHERRY_MILLISECOND), &channel), -ETIMEDOUT);
    ck_assert_ptr_null(channel);
    pid_t child = test_fork(h47_connect, url);
    test_until_asleep(child);
    int accepted[64];
    for (int i = 0; i < count; i++) { /* there is room: the one that waits comes through */
        accepted[i] = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        ck_assert_int_ge(accepted[i], 0);
    }
    test_join(child);
    for (int i = 0; i < count; i++) {
        close(accepted[i]);
        close(clients[i]);
    }
    close(server);
    unlink(path);
}

TEST_TABLE(h47_backlog_1_serves_many, connected)
{
    enum { CLIENTS = 12 };
    char url[400], buffer[8];
    struct wherry_channel *receiver;
    pid_t clients[CLIENTS];
    size_t size;
    ends_url(url, sizeof url, &connected[index], "backlog=1");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    ends_url(url, sizeof url, &connected[index], "");
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = test_fork(h47_connect, url);
    for (int i = 0; i < CLIENTS;) {
        int result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline());
        i += result == 1;
        ck_assert_msg(result >= 0, "%s", wherry_why());
    }
    for (int i = 0; i < CLIENTS; i++)
        test_join(clients[i]);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- H48 --------------------------------------------------------------------------------------------------------- */

/* Connects as root and writes as nobody: SO_PEERCRED goes on saying root. */
static void h48_send(void *argument)
{
    const char *url = argument;
    struct wherry_channel *sender;
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "root", 4, test_deadline()));
    if (!test_become_nobody())
        _exit(77);
    test_ok(wherry_channel_send(sender, "nobody", 6, test_deadline()));
    wherry_channel_close(sender, test_deadline());
}

TEST_TABLE(h48_the_writer_is_named_not_the_one_who_connected, named)
{
    char url[400], buffer[16];
    struct wherry_channel *receiver;
    struct wherry_info info;
    if (!test_is_root())
        test_skip("only root can become another user");
    ends_url(url, sizeof url, &named[index], "uid=65534");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    ends_url(url, sizeof url, &named[index], "");
    pid_t child = test_fork(h48_send, url);
    test_is(wherry_channel_receive_info(receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
    ck_assert(info.peer.has_credentials && info.peer.uid == 0 && info.peer.pid == child);
    test_is(wherry_channel_receive_info(receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.size, 6);
    ck_assert_msg(info.peer.has_credentials && info.peer.uid == 65534 && info.peer.gid == 65534 &&
                      info.peer.pid == child,
                  "uid %u wrote, not %u", 65534u, (unsigned)info.peer.uid);
    test_join(child);
    wherry_channel_close(receiver, WHERRY_NOW);
}

TEST_TABLE(h48_a_writer_of_a_foreign_uid_is_cut_off, named)
{
    char url[400], buffer[16];
    struct wherry_channel *receiver;
    size_t size;
    if (!test_is_root())
        test_skip("only root can become another user");
    ends_url(url, sizeof url, &named[index], "");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    pid_t child = test_fork(h48_send, url);
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, 4);
    test_join(child);
    int result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, WHERRY_NOW);
    if (named[index].ends) {
        test_is(result, -EPERM);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "65534"));
    } else {
        test_is(result, -EAGAIN); /* a datagram is passed over, and counted */
    }
    struct wherry_channel_stats stats;
    test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
    ck_assert_uint_eq(stats.refused, 1);
    ck_assert_uint_eq(stats.received_messages, 1);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- H50 --------------------------------------------------------------------------------------------------------- */

struct h50 {
    char url[200];
    struct test_gate ready;
    int wanted; /* of the open */
};

static const char *const h50_schemes[] = {"unix", "unix+seqpacket", "unix+dgram"};
static const char *h50_scheme(size_t index)
{
    return h50_schemes[index];
}
static size_t h50_count(void)
{
    return 3;
}

static void h50_nobody_sends(void *argument)
{
    struct h50 *h50 = argument;
    struct wherry_channel *channel;
    ck_assert(test_become_nobody());
    int result = wherry_channel_open(h50->url, WHERRY_SEND, NULL, test_deadline(), &channel);
    test_ok(result); /* root's server is one that anybody may trust */
    wherry_channel_send(channel, "let me in", 9, test_deadline());
    wherry_channel_close(channel, WHERRY_NOW);
}

TEST_EACH(h50_a_stranger_at_an_abstract_name_is_not_received_from, h50_count, h50_scheme)
{
    struct h50 h50;
    struct wherry_channel *receiver;
    struct wherry_channel_stats stats;
    char buffer[16];
    size_t size;
    bool datagrams = index == 2;
    if (!test_is_root())
        test_skip("only root can become another user");
    for (int allowed = 0; allowed < 2; allowed++) {
        snprintf(h50.url, sizeof h50.url, "%s:@%s%s", h50_schemes[index], test_word(), allowed ? "?uid=65534" : "");
        test_ok(wherry_channel_open(h50.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
        snprintf(h50.url, sizeof h50.url, "%s:@%s%s", h50_schemes[index], test_word(), datagrams ? "?uid=any" : "");
        test_join(test_fork(h50_nobody_sends, &h50));
        wherry_time deadline = allowed ? test_deadline() : wherry_after(20 * WHERRY_MILLISECOND);
        int result = wherry_channel_receive(receiver, buffer, sizeof buffer, &size, deadline);
        test_is(result, allowed ? 1 : -ETIMEDOUT);
        test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
        ck_assert_uint_eq(stats.refused, !allowed);
        wherry_channel_close(receiver, WHERRY_NOW);
    }
}

static void h50_nobody_listens(void *argument)
{
    struct h50 *h50 = argument;
    struct wherry_channel *channel;
    char buffer[16];
    size_t size;
    ck_assert(test_become_nobody());
    test_ok(wherry_channel_open(h50->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel));
    test_gate_open(&h50->ready);
    int result;
    do /* whoever looked at our uid and went came and ended, too */
        result = wherry_channel_receive(channel, buffer, sizeof buffer, &size, test_deadline());
    while (result == 0);
    test_is(result, 1);
    ck_assert_uint_eq(size, 7); /* the message of the one that accepted the risk */
    wherry_channel_close(channel, WHERRY_NOW);
}

TEST_EACH(h50_a_stranger_that_took_an_abstract_name_is_not_sent_to, h50_count, h50_scheme)
{
    struct h50 h50;
    struct wherry_channel *channel = NULL;
    char url[240];
    if (!test_is_root())
        test_skip("only root can become another user");
    snprintf(h50.url, sizeof h50.url, "%s:@%s", h50_schemes[index], test_word());
    test_gate_init(&h50.ready);
    pid_t child = test_fork(h50_nobody_listens, &h50);
    test_gate_wait(&h50.ready);
    test_is(wherry_channel_open(h50.url, WHERRY_SEND, NULL, test_deadline(), &channel), -EPERM);
    ck_assert_ptr_null(channel);
    ck_assert_str_ne(wherry_why(), "");
    snprintf(url, sizeof url, "%s?uid=any", h50.url);
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &channel));
    test_ok(wherry_channel_send(channel, "allowed", 7, test_deadline()));
    test_join(child);
    wherry_channel_close(channel, test_deadline());
    test_gate_fini(&h50.ready);
}

/* Who was refused learns from the kernel only that the connection is closed; whose socket it was says the rest. */
static void h50_send_until_refused(void *argument)
{
    struct h50 *h50 = argument;
    struct wherry_channel *channel;
    int result;
    ck_assert(test_become_nobody());
    test_ok(wherry_channel_open(h50->url, WHERRY_SEND, NULL, test_deadline(), &channel));
    test_gate_open(&h50->ready);
    while ((result = wherry_channel_send(channel, "let me in", 9, test_deadline())) == 0)
        ;
    test_is(result, -EPIPE);
    ck_assert_msg(strstr(wherry_why(), "may have refused uid 65534: uid=65534 there"), "it says \"%s\"", wherry_why());
    wherry_channel_close(channel, WHERRY_NOW);
}

static size_t h50_connected(void) /* datagrams are refused one by one, and nobody is told */
{
    return 2;
}

TEST_EACH(h50_who_was_refused_is_told_what_may_be_why, h50_connected, h50_scheme)
{
    struct h50 h50;
    struct wherry_channel *receiver;
    struct wherry_channel_stats stats;
    char buffer[16];
    size_t size;
    if (!test_is_root())
        test_skip("only root can become another user");
    snprintf(h50.url, sizeof h50.url, "%s:@%s", h50_schemes[index], test_word());
    test_gate_init(&h50.ready);
    test_ok(wherry_channel_open(h50.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    pid_t child = test_fork(h50_send_until_refused, &h50);
    test_gate_wait(&h50.ready);
    do {
        test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, wherry_after(WHERRY_MILLISECOND)),
                -ETIMEDOUT);
        test_ok(wherry_channel_stats(receiver, &stats, sizeof stats));
    } while (stats.refused == 0);
    test_join(child);
    wherry_channel_close(receiver, WHERRY_NOW);
    test_gate_fini(&h50.ready);
}
