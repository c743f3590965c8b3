/* tests/unit/inspect_situations_unix.c - Unix sockets.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "unit/inspect_scene.h"

static void close_50(void)
{
    must(close(50) == 0);
}

static void close_51(void)
{
    must(close(51) == 0);
}

/* ---- pairs ---- */

static void pair_in_one_process(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
}

static void pair_across_fork(void)
{
    make_socketpair(SOCK_SEQPACKET, 'u', 50, 'v', 51);
    also('B', close_50);
    close_51();
}

static void pair_of_datagrams(void)
{
    make_socketpair(SOCK_DGRAM, 'u', 50, 'v', 51);
    also('B', close_50);
}

static void pair_duplicated(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    must(dup2(50, 52) == 52);
}

static void peer_closed(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    close_51();
}

static void half_closed(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    must(shutdown(50, SHUT_WR) == 0);
}

/* ---- names ---- */

/* `name` is a path, or begins with "@" for an abstract one, in which '|' stands for a NUL. */
static socklen_t fill(struct sockaddr_un *address, const char *name)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    must(strlen(name) < sizeof address->sun_path);
    strcpy(address->sun_path, name);
    if (name[0] != '@')
        return sizeof *address;
    for (char *c = address->sun_path; *c; c++)
        if (*c == '@' || *c == '|')
            *c = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static void bind_to(int type, const char *name, int number)
{
    struct sockaddr_un address;
    socklen_t length = fill(&address, name);
    at(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), number);
    must(bind(number, (void *)&address, length) == 0);
}

static void connect_to(int type, const char *name, int number)
{
    struct sockaddr_un address;
    socklen_t length = fill(&address, name);
    at(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), number);
    must(connect(number, (void *)&address, length) == 0);
}

static const char *called(const char *name)
{
    static char text[256];
    snprintf(text, sizeof text, "unix:%s", name);
    return text;
}

static const char *abstract(void)
{
    static char name[80];
    snprintf(name, sizeof name, "@%s", scene->word);
    return name;
}

static void listen_at(int type, const char *name)
{
    bind_to(type, name, 50);
    must(listen(50, 16) == 0);
    note_socket('l', 50, "unix", called(name))->limit = 16;
}

static void accept_it(const char *name)
{
    at(accept4(50, NULL, NULL, SOCK_CLOEXEC), 51);
    note_socket('a', 51, "unix", called(name));
}

static const char *name_now;
static int type_now;

static void client(void)
{
    close_50();
    connect_to(type_now, name_now, 52);
    note_socket('c', 52, "unix", NULL);
}

static void serve(int type, const char *name)
{
    type_now = type;
    name_now = name;
    listen_at(type, name);
    also('B', client);
    accept_it(name);
}

static void stream_by_path(void)
{
    serve(SOCK_STREAM, file("s"));
}

static void seqpacket_by_path(void)
{
    serve(SOCK_SEQPACKET, file("s"));
}

static void stream_abstract(void)
{
    serve(SOCK_STREAM, abstract());
}

static void abstract_with_nuls(void)
{
    char name[90], shown[90];
    snprintf(name, sizeof name, "@%s|a|b", scene->word);
    snprintf(shown, sizeof shown, "@%s@a@b", scene->word);
    bind_to(SOCK_STREAM, name, 50);
    must(listen(50, 16) == 0);
    note_socket('l', 50, "unix", called(shown));
}

static void odd_path(void)
{
    listen_at(SOCK_STREAM, file("a b\tc \033[31m (deleted)"));
}

static void pending(void)
{
    type_now = SOCK_STREAM;
    name_now = file("s");
    listen_at(SOCK_STREAM, name_now);
    note_pending('p', called(name_now));
    also('B', client);
}

static void bound_only(void)
{
    bind_to(SOCK_STREAM, file("s"), 50);
    note_socket('b', 50, "unix", called(file("s")));
}

static void unbound(void)
{
    at(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), 50);
    note_socket('b', 50, "unix", NULL);
}

static void path_deleted(void)
{
    serve(SOCK_STREAM, file("s"));
    must(unlink(file("s")) == 0);
}

static void path_renamed(void)
{
    serve(SOCK_STREAM, file("s"));
    must(rename(file("s"), file("t")) == 0);
}

/* ---- datagrams ---- */

static void datagrams_unconnected(void)
{
    bind_to(SOCK_DGRAM, file("d"), 50);
    note_socket('d', 50, "unix", called(file("d")));
    at(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 51);
    note_socket('e', 51, "unix", NULL);
}

static void send_one_way(void)
{
    close_50();
    connect_to(SOCK_DGRAM, file("d"), 51);
    note_socket('c', 51, "unix", NULL);
}

static void datagrams_one_way(void)
{
    bind_to(SOCK_DGRAM, file("d"), 50);
    note_socket('d', 50, "unix", called(file("d")));
    also('B', send_one_way);
}

static void send_one_way_too(void)
{
    close_50();
    connect_to(SOCK_DGRAM, file("d"), 51);
    note_socket('e', 51, "unix", NULL);
}

static void datagrams_of_three(void)
{
    datagrams_one_way();
    also('C', send_one_way_too);
}

/* ---- files ---- */

/* Longer than the inventory trusts the clock of files. */
static void stale_file(void)
{
    struct stat status;
    bind_to(SOCK_STREAM, file("s"), 50);
    close_50();
    must(lstat(file("s"), &status) == 0);
    struct thing *thing = note_nothing('s', "unix:%s", file("s"));
    thing->device = status.st_dev;
    thing->inode = status.st_ino;
    thing->has_inode = true;
    thing->uid = status.st_uid;
    thing->gid = status.st_gid;
    thing->mode = status.st_mode & 07777;
    test_sleep(150 * WHERRY_MILLISECOND);
}

static void stale_file_beside_a_live_one(void)
{
    bind_to(SOCK_STREAM, file("live"), 51);
    note_socket('b', 51, "unix", called(file("live")));
    stale_file();
}

/* ---- name spaces ---- */

static void pair_in_another_network(void)
{
    must(unshare(CLONE_NEWNET) == 0);
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
}

static void path_across_networks(void)
{
    type_now = SOCK_STREAM;
    name_now = file("s");
    listen_at(SOCK_STREAM, name_now);
    must(unshare(CLONE_NEWNET) == 0);
    also('B', client);
    accept_it(name_now);
}

/* Nobody is in it; a descriptor keeps it. */
static void network_kept_by_a_descriptor(void)
{
    int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    must(before >= 0 && unshare(CLONE_NEWNET) == 0);
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    at(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), 60);
    must(setns(before, CLONE_NEWNET) == 0 && close(before) == 0);
}

/* Only the sockets keep it, and nothing leads there: that they are each other's peer cannot be known. */
static void network_kept_by_sockets(void)
{
    int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    must(before >= 0 && unshare(CLONE_NEWNET) == 0);
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    must(setns(before, CLONE_NEWNET) == 0 && close(before) == 0);
}

static void become_nobody(void)
{
    close_50();
    must(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
}

static void pair_with_another_user(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    also('B', become_nobody);
    close_51();
}

static void passed_on(void)
{
    close_50();
    must(close(60) == 0);
    at(take(61), 70);
    must(close(61) == 0);
    close_51();
}

static void end_passed(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    make_socketpair(SOCK_STREAM, 0, 60, 0, 61);
    pass(60, 51);
    also('B', passed_on);
    must(close(60) == 0 && close(61) == 0);
    close_51();
}

static void end_in_flight(void)
{
    make_socketpair(SOCK_STREAM, 'u', 50, 'v', 51);
    make_socketpair(SOCK_STREAM, 'x', 60, 'y', 61);
    pass(60, 51);
    close_51();
}

#define PAIR "unix live connected"
#define SERVED                                                                                                         \
    "l unix live listening | A50rw", "a unix live connected | A51rw>B52", "c unix live connected | B52rw>A51",         \
        "a peer c"

static const struct situation list[] = {
    {"a socket pair in one process",
     pair_in_one_process,
     .lines = {"u " PAIR " | A50rw>A51", "v " PAIR " | A51rw>A50", "u peer v"}},
    {"a socket pair across a fork",
     pair_across_fork,
     .lines = {"u " PAIR " | A50rw>B51", "v " PAIR " | B51rw>A50", "u peer v"}},
    {"a pair of datagram sockets",
     pair_of_datagrams,
     .lines = {"u " PAIR " | A50rw>A51,B51", "v " PAIR " | A51rw>A50 B51rw>A50", "u peer v"}},
    {"a socket pair, an end duplicated",
     pair_duplicated,
     .lines = {"u " PAIR " | A50rw>A51 A52rw>A51", "v " PAIR " | A51rw>A50,A52", "u peer v"}},
    {"a socket whose peer has closed", peer_closed, .lines = {"u unix live | A50rw", "v gone"}},
    {"a socket pair, half closed",
     half_closed,
     .lines = {"u " PAIR " | A50rw>A51", "v " PAIR " | A51rw>A50", "u peer v"}},
    {"a stream socket by a path", stream_by_path, .lines = {SERVED}},
    {"a seqpacket socket by a path", seqpacket_by_path, .lines = {SERVED}},
    {"a stream socket by an abstract name", stream_abstract, .lines = {SERVED}},
    {"an abstract name with NULs", abstract_with_nuls, .lines = {"l unix live listening | A50rw"}},
    {"a socket of an odd path", odd_path, .lines = {"l unix live listening | A50rw"}},
    {"a connection that nobody has accepted",
     pending,
     .lines = {"l unix live listening | A50rw>B52", "p unix live connected pending |",
               "c unix live connected | B52rw>A50", "c peer p", "p queued l"}},
    {"a socket that is only bound", bound_only, .lines = {"b unix live | A50rw"}},
    {"a socket that is not bound", unbound, .lines = {"b unix live | A50rw"}},
    {"a socket whose path was deleted", path_deleted, .lines = {SERVED}},
    {"a socket whose path was renamed", path_renamed, .lines = {SERVED}},
    {"datagram sockets unconnected",
     datagrams_unconnected,
     .lines = {"d unix live | A50rw", "e unix live | A51rw"}},
    {"a datagram socket connected one way",
     datagrams_one_way,
     .lines = {"d unix live | A50rw>B51", "c unix live connected | B51rw>A50", "c peer d"}},
    {"two datagram sockets connected to one",
     datagrams_of_three,
     .lines = {"d unix live | A50rw>B51,C51", "c unix live connected | B51rw>A50",
               "e unix live connected | C51rw>A50", "c peer d", "d peer e"}},
    {"a socket's file left behind", stale_file, .lines = {"s unix orphan |"}},
    {"a socket's file left behind beside a live one",
     stale_file_beside_a_live_one,
     .lines = {"s unix orphan |", "b unix live | A51rw"}},
    {"a socket pair in another network name space",
     pair_in_another_network,
     .lines = {"u " PAIR " elsewhere | A50rw>A51", "v " PAIR " elsewhere | A51rw>A50", "u peer v"},
     .root = true},
    {"a socket by a path between two network name spaces",
     path_across_networks,
     /* what accept(2) gives is of the client's */
     .lines = {"l unix live listening | A50rw", "a unix live connected elsewhere | A51rw>B52",
               "c unix live connected elsewhere | B52rw>A51", "a peer c"},
     .root = true},
    {"a network name space that a descriptor keeps",
     network_kept_by_a_descriptor,
     .lines = {"u " PAIR " elsewhere | A50rw>A51", "v " PAIR " elsewhere | A51rw>A50", "u peer v"},
     .root = true},
    {"a network name space that its sockets keep",
     network_kept_by_sockets,
     .lines = {"u unix live | A50rw", "v unix live | A51rw"},
     .root = true},
    {"a socket pair with another user",
     pair_with_another_user,
     .lines = {"u " PAIR " | A50rw>B51", "v " PAIR " | B51rw>A50", "u peer v"},
     .root = true},
    {"the end of a socket passed and received",
     end_passed,
     .lines = {"u " PAIR " | A50rw>B70", "v " PAIR " | B70rw>A50", "u peer v"}},
    {"the end of a socket in flight",
     end_in_flight,
     .lines = {"u " PAIR " | A50rw", "v unix unknown connected |", "u peer v", "x " PAIR " | A60rw>A61",
               "y " PAIR " | A61rw>A60", "x peer y"}},
};

SITUATIONS(situations_unix, list);
