/* tests/unit/test_inspect_sockets.c - owns the tests of Unix sockets in a snapshot: names, holders, peers, queues.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/wait.h>

#include "unit/inspect_sockets.h"

TEST(a_socketpair_within_one_process)
{
    test_needs(TEST_SOCKET_LISTS);
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *one = object_of(snapshot, inode_of(fds[0]));
    const struct wherry_inspect_object *other = object_of(snapshot, inode_of(fds[1]));
    char name[40];
    snprintf(name, sizeof name, "unix:[%llu]", (unsigned long long)one->inode);
    is_text(one->name, name);
    is_text(one->detail, "stream, connected");
    ck_assert_int_eq(one->kind, WHERRY_INSPECT_UNIX);
    ck_assert_int_eq(one->uid, geteuid());
    ck_assert_int_eq(one->used, 0);
    ck_assert(one->space != 0 && one->space == other->space);
    has_flags(one, WHERRY_INSPECT_CONNECTED);
    held_by(one, getpid(), fds[0]);
    held_by(other, getpid(), fds[1]);
    const struct wherry_inspect_link *link = link_of(one, other, WHERRY_INSPECT_PEER);
    ck_assert(link != NULL && links_of(one) == 1 && links_of(other) == 1);
    is_text(link->detail, "sock_diag");
    const struct wherry_inspect_hold *end = wherry_inspect_other_end(wherry_inspect_hold_of(one, 0), 0);
    ck_assert(end == wherry_inspect_hold_of(other, 0));
    ck_assert_ptr_null(wherry_inspect_other_end(wherry_inspect_hold_of(one, 0), 1));
    wherry_inspect_free(snapshot);
    close(fds[0]);
    close(fds[1]);
}

struct shared {
    struct test_gate gate;
    int fd, other;
};

static void keep_one(void *argument)
{
    struct shared *shared = argument;
    close(shared->other);
    test_gate_wait(&shared->gate);
    close(shared->fd);
}

TEST(a_socketpair_across_a_fork)
{
    test_needs(TEST_SOCKET_LISTS);
    int fds[2];
    struct shared shared;
    test_gate_init(&shared.gate);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    shared.fd = fds[1];
    shared.other = fds[0];
    uint64_t theirs = inode_of(fds[1]);
    pid_t child = test_fork(keep_one, &shared);
    close(fds[1]);
    test_until_asleep(child);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *one = object_of(snapshot, inode_of(fds[0]));
    const struct wherry_inspect_object *other = object_of(snapshot, theirs);
    is_text(other->detail, "seqpacket, connected");
    held_by(one, getpid(), fds[0]);
    held_by(other, child, fds[1]);
    ck_assert(link_of(one, other, WHERRY_INSPECT_PEER) != NULL);
    ck_assert_int_eq(wherry_inspect_other_end(wherry_inspect_hold_of(one, 0), 0)->process->pid, child);
    wherry_inspect_free(snapshot);
    test_gate_open(&shared.gate);
    test_join(child);
    test_gate_fini(&shared.gate);
    close(fds[0]);
}

TEST(a_socket_that_two_processes_hold)
{
    struct shared shared;
    test_gate_init(&shared.gate);
    shared.fd = unix_socket(SOCK_DGRAM);
    shared.other = -1;
    pid_t child = test_fork(keep_one, &shared);
    test_until_asleep(child);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, inode_of(shared.fd));
    ck_assert_uint_eq(object->holds, 2);
    is_text(object->detail, "dgram, unconnected");
    has_flags(object, 0);
    wherry_inspect_free(snapshot);
    test_gate_open(&shared.gate);
    test_join(child);
    test_gate_fini(&shared.gate);
    close(shared.fd);
}

TEST(names_by_path_abstract_and_none)
{
    test_needs(TEST_SOCKET_LISTS);
    char path[200], expected[240], abstract[80];
    int by_path = unix_bound(SOCK_DGRAM, test_path(path, "socket")), nameless = unix_socket(SOCK_STREAM);
    snprintf(abstract, sizeof abstract, "@%s\n", test_word());
    int by_name = unix_bound(SOCK_DGRAM, abstract);
    struct sockaddr_un with_nul = {.sun_family = AF_UNIX};
    snprintf(with_nul.sun_path + 1, sizeof with_nul.sun_path - 1, "%s", test_word());
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(test_word()));
    memcpy((char *)&with_nul + size, "\0b", 2);
    int by_nul = unix_socket(SOCK_DGRAM);
    ck_assert_int_eq(bind(by_nul, (struct sockaddr *)&with_nul, size + 2), 0);
    struct wherry_inspect *snapshot = take();
    snprintf(expected, sizeof expected, "unix:%s", path);
    is_text(object_of(snapshot, inode_of(by_path))->name, expected);
    ck_assert_ptr_eq(wherry_inspect_find(snapshot, expected, 0), object_of(snapshot, inode_of(by_path)));
    ck_assert_ptr_eq(wherry_inspect_find(snapshot, path, 0), object_of(snapshot, inode_of(by_path)));
    ck_assert_ptr_null(wherry_inspect_find(snapshot, path, 1));
    snprintf(expected, sizeof expected, "unix:%s", abstract);
    is_text(object_of(snapshot, inode_of(by_name))->name, expected);
    snprintf(expected, sizeof expected, "unix:@%s@b", test_word());
    is_text(object_of(snapshot, inode_of(by_nul))->name, expected);
    snprintf(expected, sizeof expected, "unix:[%llu]", (unsigned long long)inode_of(nameless));
    is_text(object_of(snapshot, inode_of(nameless))->name, expected);
    is_text(object_of(snapshot, inode_of(nameless))->detail, "stream, unconnected");
    wherry_inspect_free(snapshot);
    close(by_path);
    close(by_name);
    close(by_nul);
    close(nameless);
    unlink(path);
}

static const struct kind {
    const char *name;
    int type;
} kinds[] = {{"stream", SOCK_STREAM}, {"seqpacket", SOCK_SEQPACKET}};

static unsigned found(const struct wherry_inspect *snapshot, const char *name,
                      const struct wherry_inspect_object *object)
{
    unsigned times = 0;
    const struct wherry_inspect_object *each;
    for (size_t i = 0; (each = wherry_inspect_find(snapshot, name, i)); i++)
        times += !object || each == object;
    return times;
}

/* At one path, one after the other: each a listener, one that it accepted, and one that waits. */
TEST(a_path_means_the_socket_that_is_bound_there_now)
{
    test_needs(TEST_SOCKET_LISTS);
    char path[200], url[240];
    int listeners[2], clients[4], accepted[2];
    test_path(path, "socket");
    for (int i = 0; i < 2; i++) {
        unlink(path);
        listeners[i] = unix_listening(SOCK_STREAM, path, 7);
        clients[2 * i] = unix_connected(SOCK_STREAM, path);
        accepted[i] = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC);
        clients[2 * i + 1] = unix_connected(SOCK_STREAM, path);
    }
    struct wherry_inspect *snapshot = take();
    snprintf(url, sizeof url, "unix:%s?backlog=7", path);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? url : path;
        ck_assert_uint_eq(found(snapshot, name, NULL), 3);
        ck_assert_uint_eq(found(snapshot, name, object_of(snapshot, inode_of(listeners[1]))), 1);
        ck_assert_uint_eq(found(snapshot, name, object_of(snapshot, inode_of(accepted[1]))), 1);
        const struct wherry_inspect_object *waits = object_of(snapshot, inode_of(clients[3]));
        ck_assert_uint_eq(found(snapshot, name, wherry_inspect_link_of(waits, 0)->to), 1);
    }
    unlink(path); /* nothing is there: all that go by the name */
    ck_assert_uint_eq(found(snapshot, path, NULL), 6);
    ck_assert_uint_eq(found(snapshot, url, NULL), 6);
    wherry_inspect_free(snapshot);
    for (int i = 0; i < 4; i++) {
        close(clients[i]);
        close(i < 2 ? listeners[i] : accepted[i - 2]);
    }
}

TEST(finding_says_why_not_and_nothing_else)
{
    char path[200], before[200];
    struct wherry_inspect *snapshot = take();
    ck_assert_ptr_null(wherry_inspect_find(snapshot, "tcp://127.0.0.1", 0));
    ck_assert_msg(strstr(wherry_why(), "a port is a number"), "%s", wherry_why());
    snprintf(before, sizeof before, "%s", wherry_why());
    int bound = unix_bound(SOCK_DGRAM, test_path(path, "socket"));
    struct wherry_inspect *another = take();
    ck_assert_ptr_nonnull(wherry_inspect_find(another, path, 0));
    ck_assert_ptr_null(wherry_inspect_find(another, path, 1));
    is_text(wherry_why(), before);
    ck_assert_ptr_null(wherry_inspect_find(snapshot, path, 0));
    is_text(wherry_why(), "");
    wherry_inspect_free(snapshot);
    wherry_inspect_free(another);
    close(bound);
    unlink(path);
}

/* The first is accepted, the second waits, the third has closed while it waited. */
TEST_TABLE(connections_accepted_and_not, kinds)
{
    test_needs(TEST_SOCKET_LISTS);
    char name[80], expected[100];
    int type = kinds[index].type;
    snprintf(name, sizeof name, "@%s", test_word());
    int listener = unix_listening(type, name, 7);
    int first = unix_connected(type, name), accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int second = unix_connected(type, name), third = unix_connected(type, name);
    close(third);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *listens = object_of(snapshot, inode_of(listener));
    const struct wherry_inspect_object *waits = object_of(snapshot, inode_of(second));
    snprintf(expected, sizeof expected, "%s, listening, 2 of 7 wait", kinds[index].name);
    is_text(listens->detail, expected);
    ck_assert_int_eq(listens->messages, 2);
    ck_assert_int_eq(listens->limit, 7);
    has_flags(listens, WHERRY_INSPECT_LISTENING);
    snprintf(expected, sizeof expected, "unix:%s", name);
    is_text(listens->name, expected);
    ck_assert(
        link_of(object_of(snapshot, inode_of(first)), object_of(snapshot, inode_of(accepted)), WHERRY_INSPECT_PEER));
    snprintf(expected, sizeof expected, "%s, connected, not accepted yet", kinds[index].name);
    is_text(waits->detail, expected);
    has_flags(waits, WHERRY_INSPECT_CONNECTED);
    ck_assert_uint_eq(links_of(waits), 1);
    ck_assert_uint_eq(links_of(listens), 2);
    const struct wherry_inspect_object *pending = wherry_inspect_link_of(waits, 0)->to;
    has_flags(pending, WHERRY_INSPECT_PENDING | WHERRY_INSPECT_CONNECTED);
    ck_assert(link_of(pending, waits, WHERRY_INSPECT_PEER) && link_of(pending, listens, WHERRY_INSPECT_QUEUED));
    ck_assert_int_eq(pending->state, WHERRY_INSPECT_LIVE);
    is_text(pending->reason, "who listens has not accepted it yet");
    const struct wherry_inspect_hold *listening = wherry_inspect_hold_of(listens, 0);
    ck_assert(wherry_inspect_other_end(listening, 0) == wherry_inspect_hold_of(waits, 0));
    ck_assert_ptr_null(wherry_inspect_other_end(listening, 1));
    ck_assert(wherry_inspect_other_end(wherry_inspect_hold_of(waits, 0), 0) == listening);
    ck_assert_ptr_null(wherry_inspect_other_end(wherry_inspect_hold_of(waits, 0), 1));
    for (size_t i = 0; i < 2; i++) {
        const struct wherry_inspect_object *queued = wherry_inspect_link_of(listens, i)->from;
        ck_assert(queued->flags & WHERRY_INSPECT_PENDING && queued->holds == 0);
        is_text(queued->name, listens->name);
        if (queued != pending)
            ck_assert_msg(strstr(queued->detail, "closed by who connected"), "%s", queued->detail);
    }
    wherry_inspect_free(snapshot);
    close(listener);
    close(first);
    close(accepted);
    close(second);
}

TEST(half_closed_and_closed)
{
    test_needs(TEST_SOCKET_LISTS);
    int half[2], gone[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, half), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gone), 0);
    ck_assert_int_eq(shutdown(half[0], SHUT_WR), 0);
    ck_assert_int_eq(write(half[1], "four", 4), 4);
    close(gone[1]);
    struct wherry_inspect *snapshot = take();
    is_text(object_of(snapshot, inode_of(half[0]))->detail, "stream, connected, sends no more");
    is_text(object_of(snapshot, inode_of(half[1]))->detail, "stream, connected, receives no more");
    ck_assert_int_eq(object_of(snapshot, inode_of(half[0]))->used, 4);
    is_text(object_of(snapshot, inode_of(gone[0]))->detail, "stream, its peer has closed");
    has_flags(object_of(snapshot, inode_of(gone[0])), 0);
    ck_assert_uint_eq(links_of(object_of(snapshot, inode_of(gone[0]))), 0);
    wherry_inspect_free(snapshot);
    close(half[0]);
    close(half[1]);
    close(gone[0]);
}

TEST(datagrams_one_way_and_both)
{
    test_needs(TEST_SOCKET_LISTS);
    char a[80], b[80];
    int pair[2];
    snprintf(a, sizeof a, "@%s.a", test_word());
    snprintf(b, sizeof b, "@%s.b", test_word());
    int server = unix_bound(SOCK_DGRAM, a), client = unix_bound(SOCK_DGRAM, b), another = unix_connected(SOCK_DGRAM, a);
    unix_connect(client, a);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *receives = object_of(snapshot, inode_of(server));
    const struct wherry_inspect_object *sends = object_of(snapshot, inode_of(client));
    is_text(receives->detail, "dgram, unconnected");
    is_text(sends->detail, "dgram, connected");
    has_flags(receives, 0);
    has_flags(sends, WHERRY_INSPECT_CONNECTED);
    ck_assert_uint_eq(links_of(receives), 2);
    const struct wherry_inspect_link *link = link_of(receives, sends, WHERRY_INSPECT_PEER);
    ck_assert(link != NULL && link->from == sends);
    is_text(link->detail, "sock_diag, one way: it sends there");
    ck_assert(link_of(receives, object_of(snapshot, inode_of(another)), WHERRY_INSPECT_PEER));
    link = link_of(object_of(snapshot, inode_of(pair[0])), object_of(snapshot, inode_of(pair[1])), WHERRY_INSPECT_PEER);
    ck_assert(link != NULL);
    is_text(link->detail, "sock_diag");
    wherry_inspect_free(snapshot);
    close(server);
    close(client);
    close(another);
    close(pair[0]);
    close(pair[1]);
}

/* ---- descriptors in messages ---- */

static void send_descriptor(int through, int fd, size_t size)
{
    char byte = 0;
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.space = {0}};
    struct iovec part = {&byte, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ck_assert_int_eq(sendmsg(through, &message, 0), (ssize_t)size);
}

static const struct carrier {
    const char *name;
    int type;
    size_t size;
    bool by_address, closes;
} carriers[] = {
    {"stream", SOCK_STREAM, 1, false, false},
    {"stream, closed by who sent", SOCK_STREAM, 1, false, true},
    {"seqpacket, an empty message", SOCK_SEQPACKET, 0, false, false},
    {"seqpacket, an empty message, closed by who sent", SOCK_SEQPACKET, 0, false, true},
    {"dgram, an empty message", SOCK_DGRAM, 0, false, false},
    {"dgram by address, an empty message", SOCK_DGRAM, 0, true, true},
};

TEST_TABLE(what_lies_in_a_queue_is_no_orphan, carriers)
{
    char name[80];
    const struct carrier *carrier = &carriers[index];
    int pair[2], lost = unix_socket(SOCK_DGRAM);
    uint64_t inode = inode_of(lost);
    snprintf(name, sizeof name, "@%s", test_word());
    if (carrier->by_address) {
        pair[1] = unix_bound(carrier->type, name);
        pair[0] = unix_connected(carrier->type, name);
    } else {
        ck_assert_int_eq(socketpair(AF_UNIX, carrier->type | SOCK_CLOEXEC, 0, pair), 0);
    }
    leave_out_hidden();
    send_descriptor(pair[0], lost, carrier->size);
    close(lost);
    if (carrier->closes)
        close(pair[0]);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, inode);
    ck_assert_uint_eq(object->holds, 0);
    ck_assert_int_eq(object->state, WHERRY_INSPECT_UNKNOWN);
    ck_assert_uint_gt(((const struct snapshot *)(const void *)snapshot)->in_flight, 0);
    if (sees_all(snapshot))
        ck_assert_msg(strstr(object->reason, "the way in a message"), "%s", object->reason);
    wherry_inspect_free(snapshot);
    if (!carrier->closes)
        close(pair[0]);
    close(pair[1]);
}

/* The queue of a connection that nobody has accepted can be seen by nobody. */
TEST(what_lies_in_the_queue_of_a_connection_not_accepted_is_no_orphan)
{
    char name[80];
    snprintf(name, sizeof name, "@%s", test_word());
    int listener = unix_listening(SOCK_STREAM, name, 7), client = unix_connected(SOCK_STREAM, name);
    int lost = unix_socket(SOCK_DGRAM);
    uint64_t inode = inode_of(lost);
    leave_out_hidden();
    send_descriptor(client, lost, 1);
    close(lost);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, inode);
    ck_assert_int_eq(object->state, WHERRY_INSPECT_UNKNOWN);
    if (sees_all(snapshot))
        ck_assert_msg(strstr(object->reason, "the way in a message"), "%s", object->reason);
    wherry_inspect_free(snapshot);
    close(listener);
    close(client);
}

/* As if the process that has it were none that can be seen: the kernel lists it, so it is no orphan. */
TEST(a_socket_that_nobody_was_seen_to_hold_is_no_orphan)
{
    int fds[2];
    struct shared shared;
    test_gate_init(&shared.gate);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    shared.fd = fds[1];
    shared.other = fds[0];
    uint64_t inode = inode_of(fds[1]);
    pid_t child = test_fork(keep_one, &shared);
    close(fds[1]);
    test_until_asleep(child);
    snprintf(hidden_pids[hidden_count++], sizeof hidden_pids[0], "%d", (int)child);
    leave_out_hidden();
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, inode);
    ck_assert_uint_eq(object->holds, 0);
    ck_assert_msg(object->state == WHERRY_INSPECT_UNKNOWN, "%s", object->reason);
    wherry_inspect_free(snapshot);
    test_gate_open(&shared.gate);
    test_join(child);
    test_gate_fini(&shared.gate);
    close(fds[0]);
}

/* ---- many ---- */

enum { PAIRS = 400 };

TEST(each_of_many_has_its_own_peer)
{
    test_needs(TEST_SOCKET_LISTS);
    int pairs[PAIRS][2];
    for (int i = 0; i < PAIRS; i++)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
    struct wherry_inspect *snapshot = take();
    for (int i = 0; i < PAIRS; i++) {
        const struct wherry_inspect_object *one = object_of(snapshot, inode_of(pairs[i][0]));
        ck_assert(link_of(one, object_of(snapshot, inode_of(pairs[i][1])), WHERRY_INSPECT_PEER));
        ck_assert_uint_eq(links_of(one), 1);
        held_by(one, getpid(), pairs[i][0]);
    }
    wherry_inspect_free(snapshot);
    for (int i = 0; i < PAIRS; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

/* ---- without sock_diag ---- */

static int (*real_socket)(int domain, int type, int protocol);
static ssize_t (*real_recv)(int fd, void *data, size_t size, int flags);

static int socket_without(int domain, int type, int protocol)
{
    if (domain != AF_NETLINK)
        return real_socket(domain, type, protocol);
    errno = EPROTONOSUPPORT;
    return -1;
}

/* As a kernel without unix_diag answers. */
static ssize_t recv_refused(int fd, void *data, size_t size, int flags)
{
    ssize_t got = real_recv(fd, data, size, flags);
    static const struct {
        uint32_t length;
        uint16_t type, flags;
        uint32_t sequence, port;
        int code;
        uint32_t request[4];
    } answer = {.length = 36, .type = 2, .code = -ENOENT, .request = {16}};
    (void)got;
    memcpy(data, &answer, sizeof answer);
    return sizeof answer;
}

static void see_without_peers(void)
{
    int fds[2];
    char name[80], expected[90];
    snprintf(name, sizeof name, "@%s", test_word());
    snprintf(expected, sizeof expected, "unix:%s", name);
    int listener = unix_listening(SOCK_STREAM, name, 7);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *listens = object_of(snapshot, inode_of(listener));
    const struct wherry_inspect_object *one = object_of(snapshot, inode_of(fds[0]));
    is_text(listens->name, expected);
    is_text(listens->detail, "stream, listening");
    is_text(one->detail, "stream, connected");
    held_by(one, getpid(), fds[0]);
    ck_assert_uint_eq(links_of(one), 0);
    const struct wherry_inspect_hidden *hidden;
    bool said = false;
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++)
        said |= strcmp(hidden->what, "peers of Unix sockets") == 0 && hidden->count >= 2;
    ck_assert(said);
    wherry_inspect_free(snapshot);
    close(listener);
    close(fds[0]);
    close(fds[1]);
}

TEST(without_netlink_there_are_sockets_and_no_peers)
{
    real_socket = wherry__sys.socket;
    wherry__sys.socket = socket_without;
    see_without_peers();
}

TEST(without_unix_diag_there_are_sockets_and_no_peers)
{
    real_recv = wherry__sys.recv;
    wherry__sys.recv = recv_refused;
    see_without_peers();
}

/* ---- as somebody else ---- */

static void see_own(void *argument)
{
    (void)argument;
    int fds[2];
    ck_assert(test_become_nobody());
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *one = object_of(snapshot, inode_of(fds[0]));
    ck_assert_int_eq(one->uid, 65534);
    held_by(one, getpid(), fds[0]);
    ck_assert(link_of(one, object_of(snapshot, inode_of(fds[1])), WHERRY_INSPECT_PEER));
    const struct wherry_inspect_object *object;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        ck_assert_msg(object->kind != WHERRY_INSPECT_UNIX || object->state != WHERRY_INSPECT_ORPHAN, "%s",
                      object->name);
    wherry_inspect_free(snapshot);
    close(fds[0]);
    close(fds[1]);
}

TEST(another_user_sees_its_own_and_calls_nothing_an_orphan)
{
    test_needs(TEST_SOCKET_LISTS);
    if (!test_is_root())
        test_skip("needs root, to become another user");
    char name[80];
    snprintf(name, sizeof name, "@%s", test_word());
    int listener = unix_listening(SOCK_STREAM, name, 7);
    test_join(test_fork(see_own, NULL));
    close(listener);
}
