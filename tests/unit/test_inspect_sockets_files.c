/* tests/unit/test_inspect_sockets_files.c - owns the tests of socket files that no socket is bound to any more (H12).
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <sys/time.h>

#include "inspect/sockets.h"
#include "unit/inspect_sockets.h"

static const wherry_time OLD = 200000000; /* ns until a file is older than the lists for certain */

/* The object of the file itself, not of a socket that is bound to it. */
static const struct wherry_inspect_object *file_object(const struct wherry_inspect *snapshot, const char *path)
{
    char name[300];
    const struct wherry_inspect_object *object;
    snprintf(name, sizeof name, "unix:%s", path);
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (object->kind == WHERRY_INSPECT_UNIX && object->device && strcmp(object->name, name) == 0)
            return object;
    return NULL;
}

static void leave_file(const char *path)
{
    close(unix_bound(SOCK_STREAM, path));
}

static void is_stale(const struct wherry_inspect *snapshot, const char *path)
{
    struct stat status;
    const struct snapshot *inside = (const void *)snapshot;
    const struct wherry_inspect_object *object = file_object(snapshot, path);
    ck_assert_msg(object != NULL, "%s is not there", path);
    ck_assert_int_eq(lstat(path, &status), 0);
    ck_assert(object->device == status.st_dev && object->inode == status.st_ino);
    ck_assert_uint_eq(object->holds, 0);
    ck_assert_int_eq(object->uid, status.st_uid);
    ck_assert_int_eq(object->mode, status.st_mode & 07777);
    ck_assert_ptr_eq(wherry_inspect_find(snapshot, path, 0), object);
    bool certain = sees_all(snapshot) && !inside->in_flight && !wherry__sockets(inside)->local_unlisted;
    ck_assert_msg(object->state == (certain ? WHERRY_INSPECT_ORPHAN : WHERRY_INSPECT_UNKNOWN), "%s", object->reason);
    if (certain)
        is_text(object->reason, "no socket is bound to this file any more");
}

TEST(h12_a_file_that_no_socket_is_bound_to)
{
    char stale[200], live[200], deep[200], directory[200];
    ck_assert_int_eq(mkdir(test_path(directory, "in"), 0700), 0);
    leave_file(test_path(stale, "stale"));
    leave_file(test_path(deep, "in/stale"));
    int bound = unix_bound(SOCK_STREAM, test_path(live, "live"));
    test_sleep(OLD);
    leave_out_hidden();
    struct wherry_inspect *snapshot = take();
    is_stale(snapshot, stale);
    is_stale(snapshot, deep);
    ck_assert_ptr_null(file_object(snapshot, live));
    object_of(snapshot, inode_of(bound));
    wherry_inspect_free(snapshot);
    close(bound);
    unlink(stale);
    unlink(live);
    unlink(deep);
    rmdir(directory);
}

/* Bound under a name that another one has taken from it: told by device and inode. */
TEST(h12_a_file_that_was_moved_is_the_same)
{
    test_needs(TEST_SOCKET_LISTS);
    char before[200], after[200];
    int bound = unix_bound(SOCK_DGRAM, test_path(before, "before"));
    ck_assert_int_eq(rename(before, test_path(after, "after")), 0);
    leave_file(before);
    test_sleep(OLD);
    leave_out_hidden();
    struct wherry_inspect *snapshot = take();
    ck_assert_ptr_null(file_object(snapshot, after));
    is_stale(snapshot, before);
    wherry_inspect_free(snapshot);
    close(bound);
    unlink(before);
    unlink(after);
}

struct elsewhere {
    struct test_gate bound, over;
    char path[200];
    uint64_t space;
};

static void bind_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    int fd = unix_listening(SOCK_STREAM, elsewhere->path, 3);
    test_gate_open(&elsewhere->bound);
    test_gate_wait(&elsewhere->over);
    close(fd);
}

TEST(h12_a_file_that_is_bound_in_another_network_namespace)
{
    struct elsewhere elsewhere;
    if (!test_is_root())
        test_skip("needs root, to make a network namespace");
    test_path(elsewhere.path, "bound");
    test_gate_init(&elsewhere.bound);
    test_gate_init(&elsewhere.over);
    pid_t child = test_fork(bind_elsewhere, &elsewhere);
    test_gate_wait(&elsewhere.bound);
    test_sleep(OLD);
    struct wherry_inspect *snapshot = take();
    ck_assert_ptr_null(file_object(snapshot, elsewhere.path));
    wherry_inspect_free(snapshot);
    test_gate_open(&elsewhere.over);
    test_join(child);
    test_gate_fini(&elsewhere.bound);
    test_gate_fini(&elsewhere.over);
    unlink(elsewhere.path);
}

/* ---- one that comes while the snapshot is taken ---- */

static int (*real_statx)(int directory, const char *path, int flags, unsigned mask, struct statx *status);
static char late_path[200];
static int late = -1;

/* The search begins after the lists and the walk: a socket bound now is in neither. */
static int statx_and_bind(int directory, const char *path, int flags, unsigned mask, struct statx *status)
{
    if (late < 0 && strcmp(path, "/run") == 0)
        late = unix_bound(SOCK_STREAM, late_path);
    return real_statx(directory, path, flags, mask, status);
}

TEST(h12_a_socket_bound_after_the_lists_is_no_orphan)
{
    test_path(late_path, "late");
    real_statx = wherry__sys.statx;
    wherry__sys.statx = statx_and_bind;
    struct wherry_inspect *snapshot = take();
    ck_assert_int_ge(late, 0);
    ck_assert_ptr_null(file_object(snapshot, late_path));
    wherry_inspect_free(snapshot);
    close(late);
    unlink(late_path);
}

/* ---- without sock_diag ---- */

static int (*real_socket)(int domain, int type, int protocol);

static int socket_without(int domain, int type, int protocol)
{
    if (domain != AF_NETLINK)
        return real_socket(domain, type, protocol);
    errno = EPROTONOSUPPORT;
    return -1;
}

TEST(h12_without_sock_diag_it_is_not_known)
{
    char stale[200], live[200];
    leave_file(test_path(stale, "stale"));
    int bound = unix_bound(SOCK_STREAM, test_path(live, "live"));
    test_sleep(OLD);
    leave_out_hidden();
    real_socket = wherry__sys.socket;
    wherry__sys.socket = socket_without;
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = file_object(snapshot, stale);
    ck_assert(object != NULL && object->state == WHERRY_INSPECT_UNKNOWN);
    ck_assert_msg(strstr(object->reason, "cannot be told for certain"), "%s", object->reason);
    ck_assert_ptr_null(file_object(snapshot, live));
    wherry_inspect_free(snapshot);
    close(bound);
    unlink(stale);
    unlink(live);
}

/* ---- without descriptors ---- */

static int (*openat_before)(int directory, const char *path, int flags, mode_t mode);

static uint64_t closed_space;

/* Neither that namespace can be opened, by whatever leads to it (who else looks at it has a descriptor), nor any
 * process's list of Unix sockets. */
static int openat_starved(int directory, const char *path, int flags, mode_t mode)
{
    struct stat status;
    int fd = openat_before(directory, path, flags, mode);
    if (fd < 0 || (strcmp(path, "unix") != 0 && (fstat(fd, &status) != 0 || status.st_ino != closed_space)))
        return fd;
    close(fd);
    errno = EMFILE;
    return -1;
}

static void be_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;
    struct stat status;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    ck_assert_int_eq(stat("/proc/thread-self/ns/net", &status), 0);
    elsewhere->space = status.st_ino;
    test_gate_open(&elsewhere->bound);
    test_gate_wait(&elsewhere->over);
}

/* Whoever is in that namespace has no Unix socket: nothing but the list could tell of one that somebody unseen has. */
TEST(h12_without_descriptors_to_list_another_network_namespace_it_is_not_known)
{
    test_needs(TEST_SOCKET_LISTS);
    if (!test_is_root())
        test_skip("needs root, to make a network namespace");
    struct elsewhere *elsewhere = test_shared(sizeof *elsewhere);
    leave_file(test_path(elsewhere->path, "stale"));
    test_gate_init(&elsewhere->bound);
    test_gate_init(&elsewhere->over);
    pid_t child = test_fork(be_elsewhere, elsewhere);
    test_gate_wait(&elsewhere->bound);
    closed_space = elsewhere->space;
    test_sleep(OLD);
    leave_out_hidden();
    openat_before = wherry__sys.openat;
    wherry__sys.openat = openat_starved;
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *object = file_object(snapshot, elsewhere->path);
    ck_assert(object != NULL);
    ck_assert_msg(object->state == WHERRY_INSPECT_UNKNOWN, "%s", object->reason);
    ck_assert_msg(strstr(object->reason, "not all could be seen"), "%s", object->reason);
    wherry_inspect_free(snapshot);
    test_gate_open(&elsewhere->over);
    test_join(child);
    test_gate_fini(&elsewhere->bound);
    test_gate_fini(&elsewhere->over);
    unlink(elsewhere->path);
}

/* ---- what it leaves alone ---- */

TEST(the_search_changes_no_access_time_and_follows_no_link)
{
    char directory[200], stale[200], link[200], beneath[240];
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    struct stat status;
    ck_assert_int_eq(mkdir(test_path(directory, "in"), 0700), 0);
    leave_file(test_path(stale, "in/stale"));
    ck_assert_int_eq(symlink(directory, test_path(link, "link")), 0);
    snprintf(beneath, sizeof beneath, "%s/stale", link);
    test_sleep(OLD);
    ck_assert_int_eq(utimensat(AT_FDCWD, directory, times, 0), 0);
    struct wherry_inspect *snapshot = take();
    ck_assert_ptr_nonnull(file_object(snapshot, stale));
    ck_assert_ptr_null(file_object(snapshot, beneath));
    wherry_inspect_free(snapshot);
    ck_assert_int_eq(stat(directory, &status), 0);
    ck_assert_int_eq(status.st_atim.tv_sec, 1000000000);
    unlink(stale);
    unlink(link);
    rmdir(directory);
}
