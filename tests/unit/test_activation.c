/* tests/unit/test_activation.c - owns the tests of socket/activation.c, and of fd: on sockets that listen.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"
#include "socket/activation.h"

static void say(const char *pid, const char *count, const char *names)
{
    unsetenv("LISTEN_PID"), unsetenv("LISTEN_FDS"), unsetenv("LISTEN_FDNAMES");
    if (pid)
        setenv("LISTEN_PID", pid, 1);
    if (count)
        setenv("LISTEN_FDS", count, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
}

static const char *own_pid(void)
{
    static char text[20];
    snprintf(text, sizeof text, "%ld", (long)getpid());
    return text;
}

/* ---- the variables ----------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *pid; /* NULL: not set; "": ours */
    const char *count, *names, *which;
    int found;
} lookups[] = {
    {"first", "", "2", NULL, "0", 3},
    {"second", "", "2", NULL, "1", 4},
    {"third_of_two", "", "2", NULL, "2", -ENOENT},
    {"far_away", "", "2", NULL, "9223372036854775807", -ENOENT},
    {"further", "", "2", NULL, "9223372036854775808", -ENOENT},
    {"by_name", "", "3", "in:out:log", "log", 5},
    {"part_of_a_name", "", "3", "in:out:log", "ou", -ENOENT},
    {"more_than_a_name", "", "3", "in:out:log", "in:out", -ENOENT},
    {"an_empty_name", "", "3", "in::log", "", -ENOENT},
    {"twice", "", "3", "in:out:in", "in", -ENOTUNIQ},
    {"twice_but_beyond", "", "2", "in:out:in", "in", 3},
    {"no_names", "", "3", NULL, "in", -ENOENT},
    {"fewer_names", "", "3", "in", "out", -ENOENT},
    {"a_name_that_is_no_number", "", "3", "0x:1y:2", "0x", 3},
    {"none_passed", "", "0", "", "0", -ENOENT},
    {"not_set", NULL, NULL, NULL, "0", -ENOENT},
    {"no_count", "", NULL, NULL, "0", -ENOENT},
    {"no_pid", NULL, "1", NULL, "0", -ENOENT},
    {"another_process", "1", "1", NULL, "0", -ENOENT},
    {"pid_no_number", "one", "1", NULL, "0", -EINVAL},
    {"count_negative", "", "-1", NULL, "0", -EINVAL},
    {"count_empty", "", "", NULL, "0", -EINVAL},
    {"count_too_large", "", "2147483647", NULL, "0", -EINVAL},
    {"count_large", "", "2147483644", NULL, "0", 3},
    {"count_with_more", "", "1 ", NULL, "0", -EINVAL},
};

/* Descriptors 3 to 5 are open, whatever the harness has there. */
static void fill_three(int made[static 3])
{
    for (int i = 0; i < 3; i++) {
        made[i] = fcntl(3 + i, F_GETFD) < 0;
        if (made[i])
            ck_assert_int_eq(dup2(0, 3 + i), 3 + i);
    }
}

static void empty_three(const int made[static 3])
{
    for (int i = 0; i < 3; i++)
        if (made[i])
            close(3 + i);
}

TEST_TABLE(lookups, lookups)
{
    int made[3];
    fill_three(made);
    say(lookups[index].pid && !*lookups[index].pid ? own_pid() : lookups[index].pid, lookups[index].count,
        lookups[index].names);
    test_is(wherry__activation_find(lookups[index].which, "fd:@"), lookups[index].found);
    if (lookups[index].found < 0)
        ck_assert_ptr_nonnull(strstr(wherry_why(), "fd:@"));
    ck_assert((getenv("LISTEN_FDS") != NULL) == (lookups[index].count != NULL)); /* as it was */
    empty_three(made);
}

/* A number is no descriptor: what was not passed on, or was closed, is told as such. */
TEST(more_than_were_passed_on_are_counted)
{
    char count[20], which[20];
    struct wherry_channel *channel = NULL;
    int last = fcntl(0, F_DUPFD_CLOEXEC, 3);
    close(last); /* and none is open from here to the count's end */
    ck_assert_int_lt(fcntl(last + 1, F_GETFD), 0);
    snprintf(count, sizeof count, "%d", last - 3 + 2);
    for (int i = 0; i < 2; i++) {
        say(own_pid(), count, NULL);
        snprintf(which, sizeof which, "fd:@%d", last - 3 + i);
        test_is(wherry_channel_open(which, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EBADF);
        ck_assert_msg(strstr(wherry_why(), which) && strstr(wherry_why(), "LISTEN_FDS says that") &&
                          strstr(wherry_why(), "is not open: it was taken before, or LISTEN_FDS says too many"),
                      "\"%s\"", wherry_why());
    }
}

TEST(all_that_were_passed_are_close_on_exec)
{
    char count[20];
    int low = dup(0), high = dup(0);
    snprintf(count, sizeof count, "%d", high - 3 + 1);
    ck_assert_int_eq(fcntl(low, F_GETFD) | fcntl(high, F_GETFD), 0);
    say("1", count, NULL);
    test_is(wherry__activation_find("0", "fd:@0"), -ENOENT);
    ck_assert_int_eq(fcntl(low, F_GETFD) | fcntl(high, F_GETFD), 0); /* not ours to touch */
    say(own_pid(), count, NULL);
    test_is(wherry__activation_find("0", "fd:@0"), 3);
    ck_assert_int_eq(fcntl(low, F_GETFD) & fcntl(high, F_GETFD), FD_CLOEXEC);
    close(low);
    close(high);
}

/* ---- sockets that listen ----------------------------------------------------------------------------------------- */

static const struct kind {
    const char *name;
    int domain, type;
    const char *url; /* to connect by: with the path, or the port */
} kinds[] = {{"unix", AF_UNIX, SOCK_STREAM, "unix:%s"},
             {"seqpacket", AF_UNIX, SOCK_SEQPACKET, "unix+seqpacket:%s"},
             {"tcp", AF_INET, SOCK_STREAM, "tcp://127.0.0.1:%s"},
             {"tcp6", AF_INET6, SOCK_STREAM, "tcp://[::1]:%s"}};

/* What a service manager makes, in its own blocking way, and the URL by which others come. */
static int make_listener(const struct kind *kind, char url[static 300], char path[static 256])
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(kind->domain, kind->type, 0);
    if (fd < 0 && kind->domain == AF_INET6)
        test_skip("no IPv6 here");
    ck_assert_int_ge(fd, 0);
    strcpy(local.sun_path, test_path_in(path, 256, "place"));
    void *address = kind->domain == AF_UNIX ? (void *)&local : kind->domain == AF_INET ? (void *)&in : (void *)&in6;
    socklen_t size = kind->domain == AF_UNIX ? sizeof local : kind->domain == AF_INET ? sizeof in : sizeof in6;
    if (bind(fd, address, size) != 0 && kind->domain == AF_INET6) {
        close(fd);
        test_skip("no IPv6 here");
    }
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, address, &size), 0);
    char port[20];
    snprintf(port, sizeof port, "%d", ntohs(kind->domain == AF_INET ? in.sin_port : in6.sin6_port));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(url, 300, kind->url, kind->domain == AF_UNIX ? path : port);
#pragma GCC diagnostic pop
    return fd;
}

static void expect(struct wherry_channel *receiver, const char *text, uint64_t *ret_id)
{
    char buffer[32];
    struct wherry_info info;
    test_is(wherry_channel_receive_info(receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.size, strlen(text));
    ck_assert_int_eq(memcmp(buffer, text, info.size), 0);
    if (ret_id)
        *ret_id = info.peer.id;
}

static struct wherry_channel *come(const char *url, const char *text)
{
    struct wherry_channel *guest;
    char side[310];
    snprintf(side, sizeof side, "%s?connect", url);
    test_ok(wherry_channel_open(side, WHERRY_BOTH, NULL, test_deadline(), &guest));
    test_ok(wherry_channel_send(guest, text, strlen(text), test_deadline()));
    return guest;
}

static void serve(struct wherry_channel *host, const char *url, bool is_unix)
{
    struct wherry_channel *guests[3];
    struct wherry_peer peer;
    uint64_t ids[3];
    char buffer[8];
    size_t size;
    test_is(wherry_channel_receive(host, buffer, sizeof buffer, &size, WHERRY_NOW), -EAGAIN); /* nobody: no wait */
    for (unsigned i = 0; i < 3; i++) {
        guests[i] = come(url, "question");
        expect(host, "question", &ids[i]);
    }
    test_is(wherry_channel_peer(host, ids[0], &peer), is_unix ? 0 : -EOPNOTSUPP);
    ck_assert(!is_unix || peer.pid == getpid());
    for (unsigned i = 0; i < 3; i++) {
        struct wherry_message answer = {.data = "answer", .size = 6, .to = ids[i]};
        test_ok(wherry_channel_send_message(host, &answer, 0, test_deadline()));
        expect(guests[i], "answer", NULL);
    }
    for (unsigned i = 0; i < 3; i++)
        wherry_channel_close(guests[i], test_deadline());
    test_is(wherry_channel_receive(host, buffer, sizeof buffer, &size, test_deadline()), 0);
}

static const char *const ways[] = {"number", "name", "place"};

TEST_TABLE(a_socket_that_listens_is_a_listening_endpoint, kinds)
{
    for (unsigned way = 0; way < 3; way++) {
        char url[300], path[256], own[100], count[20], names[200] = "";
        int fd = make_listener(&kinds[index], url, path), kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        snprintf(count, sizeof count, "%d", fd - 3 + 1);
        for (int i = 3; i < fd; i++)
            strcat(names, "other:");
        strcat(names, "jobs");
        say(own_pid(), count, names);
        if (strcmp(ways[way], "number") == 0)
            snprintf(own, sizeof own, "fd:%d", fd);
        else if (strcmp(ways[way], "name") == 0)
            snprintf(own, sizeof own, "fd:@jobs");
        else
            snprintf(own, sizeof own, "fd:@%d", fd - 3);
        struct wherry_channel *host;
        size_t before = test_descriptors();
        test_ok(wherry_channel_open(own, WHERRY_BOTH, NULL, WHERRY_NOW, &host));
        ck_assert_str_eq(wherry_channel_url(host), own);
        uint64_t bits = wherry_channel_traits(host)->bits;
        ck_assert((bits & WHERRY_TRAIT_LISTENS) && !(bits & WHERRY_TRAIT_ENDS_FOR_EVER));
        serve(host, url, kinds[index].domain == AF_UNIX);
        wherry_channel_close(host, WHERRY_NOW);
        ck_assert_uint_eq(test_descriptors(), before - 1); /* the number was the endpoint's */
        ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
        if (way > 0)
            test_is(wherry_channel_open(own, WHERRY_BOTH, NULL, WHERRY_NOW, &host), -EBADF);
        struct stat status;
        if (kinds[index].domain == AF_UNIX)
            ck_assert_int_eq(stat(path, &status), 0);      /* the name is not */
        struct wherry_channel *guest = come(url, "later"); /* and the socket lives on with who made it */
        wherry_channel_close(guest, WHERRY_NOW);
        close(kept);
        unlink(path);
    }
}

TEST_TABLE(roles_of_one_direction, kinds)
{
    char url[300], path[256], own[100];
    struct wherry_channel *host, *guest;
    int fd = make_listener(&kinds[index], url, path), kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    snprintf(own, sizeof own, "fd:%d?report_ends=1", fd);
    test_ok(wherry_channel_open(own, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host));
    guest = come(url, "hello");
    expect(host, "hello", NULL);
    wherry_channel_close(guest, WHERRY_NOW);
    struct wherry_info info;
    test_is(wherry_channel_receive_info(host, NULL, 0, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.flags, WHERRY_ENDED);
    wherry_channel_close(host, WHERRY_NOW);
    snprintf(own, sizeof own, "fd:%d", kept);
    test_ok(wherry_channel_open(own, WHERRY_SEND, NULL, WHERRY_NOW, &host));
    char side[310];
    snprintf(side, sizeof side, "%s?connect", url);
    test_ok(wherry_channel_open(side, WHERRY_RECEIVE, NULL, test_deadline(), &guest));
    test_ok(wherry_channel_send(host, "hello", 5, test_deadline()));
    expect(guest, "hello", NULL);
    wherry_channel_close(guest, WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
    unlink(path);
}

static void serve_in_the_child(void *argument)
{
    void **arguments = argument;
    expect(arguments[0], "to the child", NULL);
    test_ok(wherry_channel_close(arguments[0], WHERRY_NOW));
}

TEST_TABLE(an_inheritable_one_is_the_childs_too, kinds)
{
    char url[300], path[256], own[100];
    struct wherry_channel *host;
    int fd = make_listener(&kinds[index], url, path);
    snprintf(own, sizeof own, "fd:%d?inheritable=1", fd);
    test_ok(wherry_channel_open(own, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host));
    struct wherry_channel *guest = come(url, "to the child");
    test_join(test_fork(serve_in_the_child, (void *[]){host}));
    wherry_channel_close(guest, WHERRY_NOW);
    guest = come(url, "to the parent");
    expect(host, "to the parent", NULL);
    wherry_channel_close(guest, WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
    unlink(path);
}

TEST(descriptors_come_through_it)
{
    char url[300], path[256], own[100], byte;
    struct wherry_channel *host, *guest;
    struct wherry_info info;
    int came, in = 0;
    int fd = make_listener(&kinds[0], url, path);
    snprintf(own, sizeof own, "fd:%d?fds=1", fd);
    test_ok(wherry_channel_open(own, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host));
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &guest));
    struct wherry_message message = {.data = "x", .size = 1, .fds = &in, .fd_count = 1};
    test_ok(wherry_channel_send_message(guest, &message, 0, WHERRY_NOW));
    test_is(wherry_channel_receive_with_fds(host, &byte, 1, &came, 1, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.fd_count, 1);
    close(came);
    int pidfd = wherry_channel_peer_pidfd(host, info.peer.id);
    test_ok(pidfd);
    close(pidfd);
    wherry_channel_close(guest, WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
    unlink(path);
}

/* ---- what it refuses --------------------------------------------------------------------------------------------- */

TEST(what_makes_no_sense_is_refused)
{
    char url[300], path[256], own[100];
    struct wherry_channel *host;
    int fd = make_listener(&kinds[2], url, path);
    snprintf(own, sizeof own, "fd:%d?fds=1", fd);
    test_is(wherry_channel_open(own, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host), -EOPNOTSUPP);
    snprintf(own, sizeof own, "fd:%d?backlog=3", fd);
    test_is(wherry_channel_open(own, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host), -EINVAL);
    close(fd);
    int pipe_fds[2];
    ck_assert_int_eq(pipe(pipe_fds), 0);
    snprintf(own, sizeof own, "fd:%d?report_ends=1", pipe_fds[0]);
    test_is(wherry_channel_open(own, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host), -EINVAL);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    say(NULL, NULL, NULL);
    test_is(wherry_channel_open("fd:@jobs", WHERRY_RECEIVE, NULL, WHERRY_NOW, &host), -ENOENT);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "fd:@jobs: no service manager"));
    test_is(wherry_channel_open("fd:@", WHERRY_RECEIVE, NULL, WHERRY_NOW, &host), -ENOENT);
}

/* ---- a program --------------------------------------------------------------------------------------------------- */

struct service {
    int listener, output;
};

/* As a service manager starts one: the socket is descriptor 3, and the variables name the process. */
static void start(void *argument)
{
    struct service *service = argument;
    dup2(service->output, 1);
    ck_assert_int_eq(dup2(service->listener, 3), 3);
    say(own_pid(), "1", "jobs");
    execl(test_program("wherry"), "wherry", "recv", "fd:@jobs", (char *)NULL);
    _exit(127);
}

/* As a service manager binds one. */
TEST(a_datagram_socket_without_a_peer_is_received_from_alone)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char own[40], text[8];
    size_t size;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(own, sizeof own, "fd:%d", fd);
    struct wherry_channel *channel;
    test_ok(wherry_channel_open(own, WHERRY_BOTH, NULL, WHERRY_NOW, &channel));
    ck_assert_int_eq(sendto(sender, "hello", 5, 0, (struct sockaddr *)&address, length), 5);
    test_is(wherry_channel_receive(channel, text, sizeof text, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, 5);
    test_is(wherry_channel_send(channel, text, size, test_deadline()), -EDESTADDRREQ);
    ck_assert_msg(strstr(wherry_why(), "connected to nobody"), "\"%s\"", wherry_why());
    wherry_channel_close(channel, WHERRY_NOW);
    close(sender);
}

TEST(a_program_is_started_by_its_socket)
{
    char url[300], path[256], text[32] = "";
    int output[2];
    if (!getenv("WHERRY_PROGRAM_wherry"))
        test_skip("the command is not part of this build");
    int made = make_listener(&kinds[0], url, path), fd = fcntl(made, F_DUPFD_CLOEXEC, 10);
    close(made);
    ck_assert_int_eq(pipe2(output, O_CLOEXEC), 0);
    struct wherry_channel *guest = come(url, "before it ran");
    pid_t child = test_fork(start, &(struct service){fd, output[1]});
    close(output[1]);
    wherry_channel_close(guest, test_deadline());
    test_join_status(child, 0); /* the end of the senders is its own */
    ck_assert_int_gt(read(output[0], text, sizeof text - 1), 0);
    ck_assert_str_eq(text, "before it ran\n");
    close(output[0]);
    close(fd);
    unlink(path);
}
