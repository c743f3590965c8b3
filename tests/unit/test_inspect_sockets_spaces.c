/* tests/unit/test_inspect_sockets_spaces.c - owns the tests of sockets of other network namespaces, and of other
 * families.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>

#include "inspect/namespace.h"
#include "process/raw.h"
#include "unit/inspect_sockets.h"

/* What a child tells of what it made. */
struct scene {
    struct test_gate made, over;
    uint64_t space, one, other, listener, tcp, udp;
    int fds[5];
    bool goes_back, keeps_descriptor, without_clone;
};

static uint64_t own_space(void)
{
    struct stat status;
    ck_assert_int_eq(stat("/proc/self/ns/net", &status), 0);
    return status.st_ino;
}

static int inet_listening(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (type == SOCK_STREAM)
        ck_assert_int_eq(listen(fd, 3), 0);
    return fd;
}

static void make_sockets(struct scene *scene)
{
    scene->space = own_space();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scene->fds), 0);
    scene->fds[2] = unix_listening(SOCK_STREAM, "@inspected", 3);
    scene->fds[3] = inet_listening(SOCK_STREAM);
    scene->fds[4] = inet_listening(SOCK_DGRAM);
    scene->one = inode_of(scene->fds[0]);
    scene->other = inode_of(scene->fds[1]);
    scene->listener = inode_of(scene->fds[2]);
    scene->tcp = inode_of(scene->fds[3]);
    scene->udp = inode_of(scene->fds[4]);
}

static void play(void *argument)
{
    struct scene *scene = argument;
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    int there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    make_sockets(scene);
    if (scene->goes_back)
        ck_assert_int_eq(setns(home, CLONE_NEWNET), 0);
    if (!scene->keeps_descriptor) {
        close(there);
        there = -1;
    }
    close(home);
    test_gate_open(&scene->made);
    test_gate_wait(&scene->over);
    for (int i = 0; i < 5; i++)
        close(scene->fds[i]);
    if (there >= 0)
        close(there);
}

static struct scene *set_up(bool goes_back, bool keeps_descriptor, pid_t *ret_child)
{
    struct scene *scene = test_shared(sizeof *scene);
    if (!test_is_root())
        test_skip("needs root, to make a network namespace");
    scene->goes_back = goes_back;
    scene->keeps_descriptor = keeps_descriptor;
    test_gate_init(&scene->made);
    test_gate_init(&scene->over);
    *ret_child = test_fork(play, scene);
    test_gate_wait(&scene->made);
    return scene;
}

static void take_down(struct scene *scene, pid_t child)
{
    test_gate_open(&scene->over);
    test_join(child);
    test_gate_fini(&scene->made);
    test_gate_fini(&scene->over);
}

static void sees_whole(const struct wherry_inspect *snapshot, const struct scene *scene, pid_t child)
{
    const struct wherry_inspect_object *one = object_of(snapshot, scene->one);
    held_by(one, child, scene->fds[0]);
    ck_assert_uint_eq(one->space, scene->space);
    has_flags(one, WHERRY_INSPECT_CONNECTED | WHERRY_INSPECT_ELSEWHERE);
    ck_assert(link_of(one, object_of(snapshot, scene->other), WHERRY_INSPECT_PEER));
    is_text(object_of(snapshot, scene->listener)->name, "unix:@inspected");
    has_flags(object_of(snapshot, scene->tcp), WHERRY_INSPECT_LISTENING | WHERRY_INSPECT_ELSEWHERE);
    ck_assert(strncmp(object_of(snapshot, scene->tcp)->name, "tcp:0.0.0.0:", 12) == 0);
    ck_assert(strncmp(object_of(snapshot, scene->udp)->name, "udp:0.0.0.0:", 12) == 0);
    ck_assert_uint_eq(object_of(snapshot, scene->udp)->space, scene->space);
}

TEST(a_namespace_that_a_process_is_in)
{
    test_needs(TEST_SOCKET_LISTS);
    pid_t child;
    uint64_t before = own_space();
    struct scene *scene = set_up(false, false, &child);
    struct wherry_inspect *snapshot = take();
    sees_whole(snapshot, scene, child);
    ck_assert_uint_eq(own_space(), before);
    wherry_inspect_free(snapshot);
    take_down(scene, child);
}

TEST(a_namespace_that_only_a_descriptor_leads_to)
{
    test_needs(TEST_SOCKET_LISTS);
    pid_t child;
    struct scene *scene = set_up(true, true, &child);
    struct wherry_inspect *snapshot = take();
    sees_whole(snapshot, scene, child);
    wherry_inspect_free(snapshot);
    take_down(scene, child);
}

static uint64_t peers_hidden(const struct wherry_inspect *snapshot)
{
    const struct wherry_inspect_hidden *hidden;
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++)
        if (strstr(hidden->what, "namespaces that nobody is in"))
            return hidden->count;
    return 0;
}

/* Once others who looked at the namespace while the child was in it have closed their descriptors of it. */
static struct wherry_inspect *take_unlisted(const struct scene *scene)
{
    wherry_time deadline = test_deadline();
    struct wherry_inspect *snapshot = take();
    while (links_of(object_of(snapshot, scene->one)) && wherry_now() < deadline) {
        wherry_inspect_free(snapshot);
        snapshot = take();
    }
    return snapshot;
}

TEST(a_namespace_that_no_process_is_in)
{
    pid_t child;
    struct scene *scene = set_up(true, false, &child);
    struct wherry_inspect *snapshot = take_unlisted(scene);
    const struct wherry_inspect_object *one = object_of(snapshot, scene->one);
    char name[40];
    snprintf(name, sizeof name, "unix:[%llu]", (unsigned long long)scene->one);
    is_text(one->name, name);
    held_by(one, child, scene->fds[0]);
    ck_assert_uint_eq(links_of(one), 0);
    ck_assert_msg(strstr(one->detail, "its peer is unknown"), "%s", one->detail);
    ck_assert_int_eq(object_of(snapshot, scene->listener)->kind, WHERRY_INSPECT_UNIX);
    ck_assert_int_eq(object_of(snapshot, scene->tcp)->kind, WHERRY_INSPECT_TCP);
    ck_assert_int_eq(object_of(snapshot, scene->udp)->kind, WHERRY_INSPECT_UDP);
    ck_assert_uint_ge(peers_hidden(snapshot), 3);
    wherry_inspect_free(snapshot);
    take_down(scene, child);
}

static ssize_t (*real_readlinkat)(int directory, const char *path, char *text, size_t size);

/* As if it had been closed during the walk. */
static ssize_t readlinkat_closed(int directory, const char *path, char *text, size_t size)
{
    if (directory != AT_FDCWD || !strstr(path, "/fd/"))
        return real_readlinkat(directory, path, text, size);
    errno = ENOENT;
    return -1;
}

TEST(what_was_made_and_closed_during_the_walk_is_not_hidden)
{
    pid_t child;
    struct scene *scene = set_up(true, false, &child);
    real_readlinkat = wherry__sys.readlinkat;
    wherry__sys.readlinkat = readlinkat_closed;
    struct wherry_inspect *snapshot = take_unlisted(scene);
    ck_assert_uint_eq(links_of(object_of(snapshot, scene->one)), 0);
    ck_assert_uint_eq(peers_hidden(snapshot), 0);
    wherry_inspect_free(snapshot);
    take_down(scene, child);
}

/* Its namespace has a name, as ip-netns(8) gives it, and nothing else leads there. */
static void mount_and_look(void *argument)
{
    struct scene *scene = argument;
    char place[200];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int file = open(test_path(place, "named"), O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    ck_assert_int_eq(mount("/proc/self/ns/net", place, NULL, MS_BIND, NULL), 0);
    make_sockets(scene);
    ck_assert_int_eq(setns(home, CLONE_NEWNET), 0);
    struct wherry_inspect *snapshot = take();
    sees_whole(snapshot, scene, getpid());
    wherry_inspect_free(snapshot);
    for (int i = 0; i < 5; i++)
        close(scene->fds[i]);
    close(home);
    close(file);
    ck_assert_int_eq(umount2(place, MNT_DETACH), 0);
}

TEST(a_namespace_that_only_a_mount_leads_to)
{
    test_needs(TEST_SOCKET_LISTS);
    char place[200];
    struct scene scene = {0};
    if (!test_is_root())
        test_skip("needs root, to make a network namespace");
    test_join(test_fork(mount_and_look, &scene));
    ck_assert_int_eq(unlink(test_path(place, "named")), 0);
}

/* ---- a thread of its own namespace ---- */

static void *be_elsewhere(void *argument)
{
    struct scene *scene = argument;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    struct stat status;
    ck_assert_int_eq(stat("/proc/thread-self/ns/net", &status), 0);
    make_sockets(scene);
    scene->space = status.st_ino;
    test_gate_open(&scene->made);
    test_gate_wait(&scene->over);
    return NULL;
}

TEST(a_namespace_that_only_a_thread_is_in)
{
    test_needs(TEST_SOCKET_LISTS);
    struct scene scene = {0};
    pthread_t thread;
    if (!test_is_root())
        test_skip("needs root, to make a network namespace");
    test_gate_init(&scene.made);
    test_gate_init(&scene.over);
    ck_assert_int_eq(pthread_create(&thread, NULL, be_elsewhere, &scene), 0);
    test_gate_wait(&scene.made);
    struct wherry_inspect *snapshot = take();
    sees_whole(snapshot, &scene, getpid());
    wherry_inspect_free(snapshot);
    test_gate_open(&scene.over);
    pthread_join(thread, NULL);
    test_gate_fini(&scene.made);
    test_gate_fini(&scene.over);
    for (int i = 0; i < 5; i++)
        close(scene.fds[i]);
}

/* ---- refused ---- */

static pid_t clone_refused(int (*function)(void *), void *stack, int flags, void *argument, int *parent_word,
                           void *child_word)
{
    (void)function, (void)stack, (void)flags, (void)argument, (void)parent_word, (void)child_word;
    errno = EPERM;
    return -1;
}

static void sees_what_files_tell(bool keeps_descriptor)
{
    pid_t child;
    struct scene *scene = set_up(false, keeps_descriptor, &child);
    wherry__sys.clone = clone_refused;
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *one = object_of(snapshot, scene->one);
    held_by(one, child, scene->fds[0]);
    ck_assert_uint_eq(one->space, scene->space);
    ck_assert_uint_eq(links_of(one), 0);
    is_text(object_of(snapshot, scene->listener)->name, "unix:@inspected");
    ck_assert(strncmp(object_of(snapshot, scene->tcp)->name, "tcp:0.0.0.0:", 12) == 0);
    ck_assert_int_eq(object_of(snapshot, scene->udp)->kind, WHERRY_INSPECT_UDP);
    const struct wherry_inspect_hidden *hidden;
    bool said = false;
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++)
        said |= strcmp(hidden->what, "peers of Unix sockets") == 0;
    ck_assert(said);
    wherry_inspect_free(snapshot);
    take_down(scene, child);
}

TEST(a_namespace_that_may_not_be_entered)
{
    sees_what_files_tell(false);
}

/* The descriptor comes first, and tells nothing. */
TEST(a_namespace_that_may_not_be_entered_and_that_a_descriptor_leads_to)
{
    sees_what_files_tell(true);
}

/* ---- sockets that come while the snapshot is taken ---- */

static ssize_t (*real_getdents)(int directory, void *entries, size_t size);
static int fresh[2] = {-1, -1};

static ssize_t getdents_and_make(int directory, void *entries, size_t size)
{
    if (fresh[0] < 0)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fresh), 0);
    return real_getdents(directory, entries, size);
}

TEST(sockets_made_after_the_lists_have_peers_too)
{
    test_needs(TEST_SOCKET_LISTS);
    real_getdents = wherry__sys.getdents;
    wherry__sys.getdents = getdents_and_make;
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *one = object_of(snapshot, inode_of(fresh[0]));
    held_by(one, getpid(), fresh[0]);
    is_text(one->detail, "stream, connected");
    ck_assert(link_of(one, object_of(snapshot, inode_of(fresh[1])), WHERRY_INSPECT_PEER));
    wherry_inspect_free(snapshot);
    close(fresh[0]);
    close(fresh[1]);
}

static ssize_t getdents_and_close(int directory, void *entries, size_t size)
{
    if (fresh[0] >= 0) {
        close(fresh[0]);
        close(fresh[1]);
        fresh[0] = -1;
    }
    return real_getdents(directory, entries, size);
}

TEST(sockets_closed_after_the_lists_are_not_there)
{
    const struct wherry_inspect_object *object;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fresh), 0);
    uint64_t inode = inode_of(fresh[0]);
    real_getdents = wherry__sys.getdents;
    wherry__sys.getdents = getdents_and_close;
    struct wherry_inspect *snapshot = take();
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        ck_assert(object->kind != WHERRY_INSPECT_UNIX || object->device || object->inode != inode);
    wherry_inspect_free(snapshot);
}

/* ---- other families ---- */

static const struct family {
    const char *name;
    int domain, type, protocol;
    const char *protocol_name;
    bool privileged;
} families[] = {
    {"netlink", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, "NETLINK", false},
    {"raw", AF_INET, SOCK_RAW, IPPROTO_ICMP, "RAW", true},
    {"raw6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, "RAWv6", true},
    {"packet", AF_PACKET, SOCK_RAW, 0, "PACKET", true},
};

TEST_TABLE(a_socket_of_another_family, families)
{
    const struct family *family = &families[index];
    if (family->privileged && !test_is_root())
        test_skip("needs root, for such a socket");
    int fd = socket(family->domain, family->type | SOCK_CLOEXEC, family->protocol);
    ck_assert_int_ge(fd, 0);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = object_of(snapshot, inode_of(fd));
    char name[40];
    snprintf(name, sizeof name, "socket:[%llu]", (unsigned long long)object->inode);
    ck_assert_int_eq(object->kind, WHERRY_INSPECT_SOCKET);
    is_text(object->name, name);
    is_text(object->detail, family->protocol_name);
    ck_assert_int_eq(object->uid, geteuid());
    held_by(object, getpid(), fd);
    wherry_inspect_free(snapshot);
    close(fd);
}

/* ---- the helper itself ---- */

WHERRY__RAW static int open_file(void *argument)
{
    return (int)wherry__raw(SYS_openat, AT_FDCWD, argument, O_RDONLY | O_CLOEXEC);
}

TEST(something_is_opened_over_there_and_nothing_is_left)
{
    pid_t child;
    char path[40], text[4096] = "", unix_list[] = "/proc/thread-self/net/unix", nothing[] = "/does/not/exist";
    struct scene *scene = set_up(false, false, &child);
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
    ck_assert_int_eq(wherry__namespace_open(AT_FDCWD, path, scene->space + 1), -ESTALE);
    int space = wherry__namespace_open(AT_FDCWD, path, scene->space);
    ck_assert_int_ge(space, 0);
    int fd = wherry__namespace_visit(space, CLONE_NEWNET, open_file, unix_list);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    ck_assert_msg(strstr(text, "@inspected"), "%s", text);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(wherry__namespace_visit(space, CLONE_NEWNET, open_file, nothing), -ENOENT);
    ck_assert_int_eq(wherry__namespace_visit(space, CLONE_NEWIPC, open_file, nothing), -EINVAL);
    close(fd);
    close(space);
    take_down(scene, child);
}
