/* tests/unit/test_ring_door_names.c - owns the proof that the door and the bells of a ring between two
 * uids have names that are their own, whatever else is in the directory.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/sys.h"
#include "unit/test_ring_house.h"

/* ---- the door itself -------------------------------------------------------------------------------------------- */

static int (*real_listen)(int fd, int backlog);
static bool was_there;

static int look_and_listen(int fd, int backlog)
{
    was_there |= access(door_of(0, test_word()), F_OK) == 0;
    return real_listen(fd, backlog);
}

/* Who finds the name may connect, from the first moment on. */
TEST(a_door_has_its_name_when_it_listens)
{
    need_uids();
    real_listen = wherry__sys.listen;
    wherry__sys.listen = look_and_listen;
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    wherry__sys.listen = real_listen;
    ck_assert(!was_there);
    ring_close(receiver);
}

static void receive_without_permissions(void *argument)
{
    (void)argument;
    struct stat status;
    become(NOBODY);
    umask(0777);
    for (int i = 0; i < 2; i++) {
        struct wherry_channel *receiver = ring_open(ring_url(ITS), WHERRY_RECEIVE);
        ck_assert_int_eq(stat(door_of(NOBODY, ""), &status), 0);
        ck_assert_uint_eq(status.st_mode & 0777, 0711);
        if (i == 1)
            raise(SIGKILL); /* and it can still be opened */
        ring_close(receiver);
    }
}

/* What somebody died in making, between mkdir(2) and chmod(2), and what a kill leaves under any umask. */
TEST(no_umask_bars_a_name)
{
    need_uids();
    ring_private_shm("size=16m");
    ck_assert_int_eq(mkdir(door_of(NOBODY, ""), 0), 0);
    ck_assert_int_eq(chown(door_of(NOBODY, ""), NOBODY, NOBODY), 0);
    for (int i = 0; i < 2; i++) {
        fflush(NULL);
        pid_t child = fork();
        int status;
        if (child == 0) {
            receive_without_permissions(NULL);
            _exit(1);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
}

TEST(names_do_not_meet)
{
    static const char *const ends[] = {"", ".lock", ".heirs", ".lock.lock"};
    struct wherry_channel *receivers[4];
    for (int i = 0; i < 4; i++) {
        char url[300];
        snprintf(url, sizeof url, "shm://%s%s?share=0", test_word(), ends[i]);
        receivers[i] = ring_open(url, WHERRY_RECEIVE);
    }
    for (int i = 0; i < 4; i++)
        ring_close(receivers[i]);
}

TEST(a_name_may_have_200_characters)
{
    char url[300];
    int head = snprintf(url, sizeof url, "shm://%s", test_word());
    memset(url + head, 'n', 206 - (size_t)head);
    snprintf(url + 206, sizeof url - 206, "?share=0");
    struct wherry_channel *receiver = ring_open(url, WHERRY_RECEIVE), *sender = ring_open(url, WHERRY_SEND);
    ring_put(sender, 1);
    ring_expect(receiver, 1);
    ring_close(sender);
    ring_close(receiver);
}

enum trick { SYMBOLIC_LINK, HARD_LINK, STRANGERS_DIRECTORY, STRANGERS_SOCKET };
static const struct trick_case {
    const char *name;
    enum trick trick;
    const char *words;
} tricks[] = {
    {"symbolic_link", SYMBOLIC_LINK, "no socket of uid 65534"},
    {"hard_link", HARD_LINK, "no socket of uid 65534"},
    {"strangers_directory", STRANGERS_DIRECTORY, "no directory of uid 65534"},
    {"strangers_socket", STRANGERS_SOCKET, "has uid 65533"},
};

static void listen_as_stranger(void *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct test_gate *ready = argument;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", door_of(NOBODY, test_word()));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(chown(address.sun_path, NOBODY, NOBODY), 0);
    become(STRANGER);
    ck_assert_int_eq(listen(fd, 4), 0);
    test_gate_open(ready);
    ring_pause();
}

/* The other's door leads to another ring of one's own, which lets one in: nothing of it is believed. */
TEST_TABLE(the_others_door_is_the_others, tricks)
{
    char url[300], own[100];
    struct test_gate ready;
    struct wherry_channel *keeper = NULL;
    pid_t child = 0;
    need_uids();
    ring_private_shm("size=16m");
    snprintf(own, sizeof own, "%.80s-own", test_word());
    snprintf(url, sizeof url, "shm://%s?share=65533", own);
    test_gate_init(&ready);
    keeper = ring_open(url, WHERRY_RECEIVE);
    uid_t owner = tricks[index].trick == STRANGERS_DIRECTORY ? STRANGER : NOBODY;
    ck_assert_int_eq(mkdir(door_of(NOBODY, ""), 0711), 0);
    ck_assert_int_eq(chown(door_of(NOBODY, ""), owner, owner), 0);
    if (tricks[index].trick == SYMBOLIC_LINK)
        ck_assert_int_eq(symlink(door_of(0, own), door_of(NOBODY, test_word())), 0);
    else if (tricks[index].trick == STRANGERS_SOCKET)
        child = test_fork(listen_as_stranger, &ready);
    else
        ck_assert_int_eq(link(door_of(0, own), door_of(NOBODY, test_word())), 0);
    if (child)
        test_gate_wait(&ready);
    ring_refused(ring_url(MINE), WHERRY_SEND, test_deadline(), -EPERM, tricks[index].words);
    if (child)
        test_kill(child);
    ring_close(keeper);
    test_gate_fini(&ready);
}

static void drop_privileges(void *argument)
{
    (void)argument;
    struct wherry_channel *receiver = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    become(NOBODY);
    test_is(wherry_channel_receive_fd(receiver), -EPERM);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "opened as uid 0"));
    ck_assert_int_eq(access(door_of(NOBODY, ""), F_OK), -1);
    ring_close(receiver);
}

/* Its bell would be in a directory where nobody looks for it. */
TEST(who_drops_privileges_is_told_so)
{
    need_uids();
    ring_private_shm("size=16m");
    test_join(test_fork(drop_privileges, NULL));
    ring_close(ring_open(ring_url(MINE), WHERRY_RECEIVE)); /* what it left is in nobody's way, and is swept */
    ck_assert_int_eq(access(door_of(0, test_word()), F_OK), -1);
}

static void look_where_nothing_can_be_made(void *argument)
{
    (void)argument;
    ck_assert_int_eq(mount(NULL, "/dev/shm", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    ring_refused(ring_url(MINE), WHERRY_SEND, wherry_after(10 * WHERRY_MILLISECOND), -ETIMEDOUT, "read-only");
}

TEST(a_read_only_directory_is_said_so)
{
    need_uids();
    ring_private_shm("size=16m");
    test_join(test_fork(look_where_nothing_can_be_made, NULL));
}

static void name_of_bell(char name[static 256])
{
    DIR *directory = opendir(door_of(0, ""));
    name[0] = '\0';
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_name[0] == '.' && strlen(entry->d_name) > 32 && !strchr(entry->d_name + 1, '.'))
            snprintf(name, 256, "%s", entry->d_name);
    closedir(directory);
}

/* Who found one dead and is about to remove it must not remove the next one's. */
TEST(no_bell_has_the_name_of_another)
{
    char first[256], second[256];
    need_uids();
    ring_private_shm("size=16m");
    struct wherry_channel *keeper = ring_open(ring_url(MINE), WHERRY_RECEIVE);
    for (int i = 0; i < 2; i++) {
        struct wherry_channel *poller = ring_open(ring_url(MINE), WHERRY_RECEIVE);
        ck_assert_int_ge(wherry_channel_receive_fd(poller), 0);
        name_of_bell(i == 0 ? first : second);
        ring_close(poller);
    }
    ck_assert_str_ne(first, "");
    ck_assert_str_ne(second, "");
    ck_assert_str_ne(first, second);
    ring_close(keeper);
}
