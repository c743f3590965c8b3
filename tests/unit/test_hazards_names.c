/* tests/unit/test_hazards_names.c - owns the proof for H10, H11, H46, H66 and H67: names, and what survives an exec.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "harness.h"
#include "unit/ends.h"

static const struct ends_kind named[] = {ENDS_FIFO, ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};

/* A message through this URL, and nothing left of the names. */
static void carry_one(const char *url)
{
    struct wherry_channel *receiver, *sender;
    char buffer[8];
    size_t size;
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &sender));
    test_ok(wherry_channel_send(sender, "hello", 5, test_deadline()));
    test_is(wherry_channel_receive(receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, 5);
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* ---- H10 --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *path; /* in the URL, relative to the test's directory */
    int result;
} h10_names[] = {
    {"plain", "x", 0},
    {"without_slash", "noslash", 0},
    {"dot_slash", "./x", 0},
    {"inner_dots", "a..b", 0},
    {"spaces", "a%20b", 0},
    {"percent", "100%25", 0},
    {"question_mark", "what%3F", 0},
    {"hash", "%23x", 0},
    {"newline", "a%0Ab", 0},
    {"not_utf8", "%FF%FE", 0},
    {"dash", "-rf", 0},
    {"ends_in_lock", "x.lock", 0},
    {"nul", "a%00b", -EINVAL},
    {"raw_newline", "a\nb", -EINVAL},
    {"empty", "", -EINVAL},
    {"missing_directory", "none/x", -ENOENT},
};

TEST_TABLE(h10_one_rule_for_the_names_of_files, h10_names)
{
    char url[200];
    ck_assert_int_eq(chdir(test_dir()), 0);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        struct wherry_channel *channel = NULL;
        snprintf(url, sizeof url, "%s%s", named[i].scheme, h10_names[index].path);
        if (h10_names[index].result == 0) {
            carry_one(url);
        } else {
            test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), h10_names[index].result);
            ck_assert_ptr_null(channel);
        }
    }
    ck_assert_int_eq(chdir("/"), 0);
}

/* ---- H11, H67 ---------------------------------------------------------------------------------------------------- */

enum planted { LINK_TO_FILE, LINK_TO_NOTHING, LINK_TO_DIRECTORY, FILE_ITSELF, DIRECTORY, DEVICE, OTHER_KIND };
static const struct {
    const char *name;
    enum planted what;
} planted[] = {
    {"link_to_file", LINK_TO_FILE},           {"link_to_nothing", LINK_TO_NOTHING},
    {"link_to_directory", LINK_TO_DIRECTORY}, {"file", FILE_ITSELF},
    {"directory", DIRECTORY},                 {"device", DEVICE},
    {"other_kind", OTHER_KIND},
};

static void plant(enum planted what, const char *path, const char *target, const struct ends_kind *kind)
{
    switch (what) {
    case LINK_TO_FILE:
        close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ck_assert_int_eq(symlink(target, path), 0);
        break;
    case LINK_TO_NOTHING:
        ck_assert_int_eq(symlink(target, path), 0);
        break;
    case LINK_TO_DIRECTORY:
        ck_assert_int_eq(symlink(test_dir(), path), 0);
        break;
    case FILE_ITSELF:
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        break;
    case DIRECTORY:
        ck_assert_int_eq(mkdir(path, 0700), 0);
        break;
    case DEVICE:
        ck_assert_int_eq(symlink("/dev/zero", path), 0);
        break;
    case OTHER_KIND:
        if (strcmp(kind->name, "fifo") != 0) {
            ck_assert_int_eq(mkfifo(path, 0600), 0);
        } else {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
            int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
            close(fd);
        }
        break;
    }
}

/* Refused, named, and left exactly as it was. */
static void expect_refused(const char *url, const char *path)
{
    struct wherry_channel *channel = NULL;
    struct stat before, after;
    ck_assert_int_eq(lstat(path, &before), 0);
    for (int role = WHERRY_SEND; role <= WHERRY_RECEIVE; role++) {
        int result = wherry_channel_open(url, (enum wherry_role)role, NULL, WHERRY_NOW, &channel);
        ck_assert_msg(result < 0, "%s was opened over what was planted", url);
        ck_assert_ptr_null(channel);
        ck_assert_str_ne(wherry_why(), "");
    }
    ck_assert_int_eq(lstat(path, &after), 0);
    ck_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_size == after.st_size);
}

TEST_TABLE(h67_what_is_planted_at_the_path_is_refused_and_stays, planted)
{
    char path[256], target[256], url[400];
    test_path(path, "place");
    test_path(target, "target");
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        plant(planted[index].what, path, target, &named[i]);
        expect_refused(ends_url(url, sizeof url, &named[i], ""), path);
        ck_assert_int_eq(remove(path), 0);
        struct stat status;
        if (planted[index].what == LINK_TO_NOTHING) /* and nothing was made through the link */
            ck_assert_int_ne(lstat(target, &status), 0);
        unlink(target);
    }
}

/* The lock beside a socket is a file too that others could have planted. */
static const struct {
    const char *name;
    enum planted what;
} planted_locks[] = {
    {"link_to_file", LINK_TO_FILE},
    {"link_to_nothing", LINK_TO_NOTHING},
    {"directory", DIRECTORY},
    {"fifo", OTHER_KIND},
};

TEST_TABLE(h67_what_is_planted_at_the_lock_is_refused_and_stays, planted_locks)
{
    char path[256], target[256], url[400];
    static const struct ends_kind sockets[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};
    test_path(path, "place.lock");
    test_path(target, "target");
    for (size_t i = 0; i < 3; i++) {
        struct wherry_channel *channel = NULL;
        struct stat status;
        plant(planted_locks[index].what, path, target, &sockets[i]);
        ends_url(url, sizeof url, &sockets[i], "");
        ck_assert_int_lt(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), 0);
        ck_assert_ptr_nonnull(strstr(wherry_why(), ".lock"));
        ck_assert_int_eq(lstat(path, &status), 0);
        ck_assert_int_eq(remove(path), 0);
        if (planted_locks[index].what == LINK_TO_NOTHING)
            ck_assert_int_ne(lstat(target, &status), 0);
        unlink(target);
    }
}

/* Somebody else's lock file, opened by us, would let them keep us out for ever, or lock for us. */
static void h11_plant_lock(void *argument)
{
    ck_assert(test_become_nobody());
    int fd = open(argument, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

TEST(h11_a_lock_file_of_another_user_is_not_adopted)
{
    char path[256], url[400];
    static const struct ends_kind unix_kind = ENDS_UNIX;
    struct wherry_channel *channel = NULL;
    if (!test_is_root())
        test_skip("only root can become another user");
    ck_assert_int_eq(chmod(test_dir(), 01777), 0);
    char *parent_of_all = strdup(test_dir());
    *strrchr(parent_of_all, '/') = '\0';
    test_join(test_fork(h11_plant_lock, test_path(path, "place.lock")));
    test_is(wherry_channel_open(ends_url(url, sizeof url, &unix_kind, ""), WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel),
            -EPERM);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "somebody else"));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(chmod(test_dir(), 0700), 0);
    free(parent_of_all);
}

/* Made without permissions, or killed before they were set: neither may bar the name to its owner. */
static void h12_listen_under_any_umask(void *argument)
{
    char url[400];
    struct stat status;
    static const struct ends_kind unix_kind = ENDS_UNIX;
    struct wherry_channel *channel = NULL;
    const char *lock = argument;
    ck_assert(test_become_nobody());
    umask(0777);
    for (int i = 0; i < 2; i++) {
        test_ok(wherry_channel_open(ends_url(url, sizeof url, &unix_kind, ""), WHERRY_RECEIVE, NULL, WHERRY_NOW,
                                    &channel));
        ck_assert_int_eq(lstat(lock, &status), 0);
        ck_assert_uint_eq(status.st_mode & 0777, 0600);
        wherry_channel_close(channel, WHERRY_NOW);
        close(open(lock, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600)); /* what a kill leaves */
    }
    ck_assert_int_eq(unlink(lock), 0);
}

TEST(h12_no_umask_bars_a_name)
{
    char path[256];
    if (!test_is_root())
        test_skip("only root can become another user");
    ck_assert_int_eq(chmod(test_dir(), 01777), 0);
    test_join(test_fork(h12_listen_under_any_umask, test_path(path, "place.lock")));
    ck_assert_int_eq(chmod(test_dir(), 0700), 0);
}

/* A datagram socket of another user's is not sent to: the kernel names no peer, the file's owner stands for it. */
static void h11_take_datagram_name(void *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ck_assert(test_become_nobody());
    snprintf(address.sun_path, sizeof address.sun_path, "%s", (const char *)argument);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    for (;;)
        pause();
}

TEST_WITH(h11_a_socket_that_another_user_made_first_is_not_sent_to, .leaves = TEST_LEAVES_FILES)
{
    char path[256], url[400];
    static const struct ends_kind dgram = ENDS_DGRAM;
    struct wherry_channel *channel = NULL;
    if (!test_is_root())
        test_skip("only root can become another user");
    ck_assert_int_eq(chmod(test_dir(), 01777), 0);
    pid_t child = test_fork(h11_take_datagram_name, test_path(path, "place"));
    test_until_asleep(child);
    test_is(wherry_channel_open(ends_url(url, sizeof url, &dgram, ""), WHERRY_SEND, NULL, WHERRY_NOW, &channel),
            -EPERM);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "65534"));
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EADDRINUSE);
    test_kill(child);
}

/* What was there before is adopted only by kind, and never removed. */
TEST(h11_a_fifo_that_was_there_is_used_and_stays)
{
    char path[256], url[400];
    struct stat before, after;
    ck_assert_int_eq(mkfifo(test_path(path, "place"), 0640), 0);
    ck_assert_int_eq(stat(path, &before), 0);
    carry_one(ends_url(url, sizeof url, &named[0], ""));
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
    unlink(path);
}

/* ---- permissions ------------------------------------------------------------------------------------------------- */

TEST_TABLE(h11_permissions_are_exact_whatever_the_umask, named)
{
    static const mode_t umasks[] = {077, 000, 0777};
    static const mode_t modes[] = {0, 0600, 0666, 0640, 0777};
    char path[256], url[400], more[32];
    test_path(path, "place");
    for (size_t u = 0; u < 3; u++)
        for (size_t m = 0; m < 5; m++) {
            struct wherry_channel *channel;
            struct stat status;
            more[0] = '\0';
            if (modes[m])
                snprintf(more, sizeof more, "mode=0%o", (unsigned)modes[m]);
            mode_t before = umask(umasks[u]);
            test_ok(wherry_channel_open(ends_url(url, sizeof url, &named[index], more), WHERRY_RECEIVE, NULL,
                                        WHERRY_NOW, &channel));
            umask(before);
            ck_assert_int_eq(lstat(path, &status), 0);
            ck_assert_uint_eq(status.st_mode & 07777, modes[m] ? modes[m] : 0600);
            wherry_channel_close(channel, WHERRY_NOW);
        }
}

/* ---- H46 --------------------------------------------------------------------------------------------------------- */

enum {
    SUN_PATH = sizeof((struct sockaddr_un){0}).sun_path,
    LONGEST_BASE = SUN_PATH - (int)sizeof "/proc/self/fd/1234567890/"
};

/* Every length from 1 to 300: through one directory where the name alone would be too long. */
static const struct ends_kind sockets[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};
TEST_TABLE(h46_paths_of_1_to_300_bytes, sockets)
{
    char url[400], path[400], directory[101];
    ck_assert_int_eq(chdir(test_dir()), 0);
    memset(directory, 'd', 100);
    directory[100] = '\0';
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ck_assert_int_eq(chdir(".."), 0);
    for (size_t length = 1; length <= 300; length++) {
        size_t at = 0, base = length;
        while (base > 101 + 1 && at < 202) { /* "ddd.../" once or twice */
            memcpy(path + at, directory, 100);
            path[at + 100] = '/';
            at += 101;
            base = length - at;
        }
        memset(path + at, 'b', base);
        path[length] = '\0';
        snprintf(url, sizeof url, "%s%s", sockets[index].scheme, path);
        if (length < SUN_PATH || base <= LONGEST_BASE) {
            carry_one(url);
        } else {
            struct wherry_channel *channel = NULL;
            test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -ENAMETOOLONG);
            test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel), -ENAMETOOLONG);
            ck_assert_ptr_nonnull(strstr(wherry_why(), "at most"));
        }
    }
    ck_assert_int_eq(chdir(directory), 0);
    ck_assert_int_eq(rmdir(directory), 0);
    ck_assert_int_eq(chdir(".."), 0);
    ck_assert_int_eq(rmdir(directory), 0);
    ck_assert_int_eq(chdir("/"), 0);
}

TEST_TABLE(h46_abstract_names_of_1_to_300_bytes, sockets)
{
    char url[400], name[301];
    const char *any = strcmp(sockets[index].name, "dgram") == 0 ? "?uid=any" : "";
    memset(name, 'n', 300);
    for (size_t length = 1; length <= 300; length++) {
        struct wherry_channel *channel = NULL;
        snprintf(url, sizeof url, "%s@%s%.*s%s", sockets[index].scheme, length > 40 ? test_word() : "",
                 (int)(length > 40 ? length - strlen(test_word()) : length), name, any);
        if (length < SUN_PATH)
            carry_one(url);
        else
            test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -ENAMETOOLONG);
    }
}

/* ---- H66 --------------------------------------------------------------------------------------------------------- */

/* Descriptors that a program started by exec finds open, as one sorted line. */
static void list_after_exec(char *line, size_t capacity)
{
    extern char **environ;
    int fds[2];
    pid_t child;
    char *const words[] = {(char[]){"sh"}, (char[]){"-c"}, (char[]){"echo /proc/self/fd/*"}, NULL};
    posix_spawn_file_actions_t actions;
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    ck_assert_int_eq(posix_spawnp(&child, "sh", &actions, NULL, words, environ), 0); /* runs no fork handlers */
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    size_t filled = 0;
    ssize_t size;
    while ((size = read(fds[0], line + filled, capacity - 1 - filled)) > 0)
        filled += (size_t)size;
    line[filled] = '\0';
    close(fds[0]);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

/* Descriptors of a forked child, before any exec. */
static void h66_count(void *argument)
{
    *(size_t *)argument = test_descriptors();
}

static const struct ends_kind all[] = {ENDS_ALL};
TEST_TABLE(h66_no_descriptor_survives_exec_or_fork, all)
{
    static char before[8192], after[8192];
    struct ends ends;
    size_t *counts = test_shared(2 * sizeof *counts);
    char buffer[8];
    size_t size;
    list_after_exec(before, sizeof before);
    test_join(test_fork(h66_count, &counts[0]));
    ends_open(&ends, &all[index],
              all[index].packets ? "" : "frame=line&read_ahead=no"); /* makes it peek, where it can */
    for (int i = 0; i < 2; i++) {
        test_ok(wherry_channel_send(ends.sender, "x", 1, WHERRY_NOW));
        test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
    }
    ck_assert_int_ge(wherry_channel_receive_fd(ends.receiver), 0);
    ck_assert_int_ge(wherry_channel_send_fd(ends.sender), 0);
    list_after_exec(after, sizeof after);
    ck_assert_str_eq(before, after);
    test_join(test_fork(h66_count, &counts[1]));
    ck_assert_uint_eq(counts[0], counts[1]);
    ends_close(&ends);
}

/* Whoever owns a FIFO can open it, whatever its mode says: it is refused as a socket's peer of another uid is. */
TEST(h67_a_fifo_that_belongs_to_another_uid_is_refused)
{
    char path[256], url[300];
    struct wherry_channel *receiver, *sender;
    if (geteuid() != 0)
        test_skip("only root can give a FIFO away");
    test_path(path, "fifo");
    ck_assert_int_eq(mkfifo(path, 0666), 0);
    ck_assert_int_eq(chown(path, 65534, 65534), 0);
    snprintf(url, sizeof url, "fifo:%s", path);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver), -EPERM);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender), -EPERM);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "uid=65534"));
    close(reader);
    snprintf(url, sizeof url, "fifo:%s?uid=65534", path);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    test_ok(wherry_channel_close(receiver, WHERRY_NOW));
    ck_assert_int_eq(unlink(path), 0); /* never removed by who did not make it */
}
