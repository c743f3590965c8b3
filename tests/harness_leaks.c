/* tests/harness_leaks.c - owns the comparison of what there is before and after a test, and the removal of leavings.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each kind has one function that walks what exists and calls found() for what should not.  Some kinds settle a moment
 * after the call that ended them (a joined thread leaves /proc later than the join returns): they are looked at again
 * for some seconds.  What belongs to the test alone is wrong at once. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness_internal.h"

enum { DESCRIPTORS = 4096 };

struct descriptor {
    int number;
    dev_t device;
    ino_t inode;
};

static struct {
    struct descriptor descriptors[DESCRIPTORS];
    size_t count;
    size_t threads;
    struct sigaction actions[NSIG];
    sigset_t blocked;
} before;

static char text[4096];
static bool settles;         /* nothing found so far is wrong for good */
static bool private_objects; /* this program has an IPC namespace of its own */
static int queues = -1;      /* a directory of its POSIX message queues, or -1 */

__attribute__((format(printf, 2, 3))) static void found(bool may_settle, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    if (used > 0 && used < sizeof text - 3) {
        memcpy(text + used, ", ", 3);
        used += 2;
    }
    vsnprintf(text + used, sizeof text - used, format, arguments);
    va_end(arguments);
    settles = settles && may_settle;
}

/* Calls visit(name) for each entry of a directory but "." and "..", and closes it; NULL has none. */
static void each_entry(DIR *entries, void (*visit)(const char *name))
{
    if (entries == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(entry->d_name);
    closedir(entries);
}

/* ---- descriptors ----------------------------------------------------------------------------------------------- */

static size_t read_descriptors(struct descriptor *list)
{
    size_t count = 0;
    DIR *entries = opendir("/proc/self/fd");
    if (entries == NULL)
        test__fail("/proc/self/fd: %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        struct stat status;
        int number = atoi(entry->d_name);
        if (!isdigit((unsigned char)entry->d_name[0]) || number == dirfd(entries) || fstat(number, &status) < 0)
            continue;
        if (count < DESCRIPTORS)
            list[count++] = (struct descriptor){number, status.st_dev, status.st_ino};
    }
    closedir(entries);
    return count;
}

size_t test_descriptors(void)
{
    static struct descriptor list[DESCRIPTORS];
    return read_descriptors(list);
}

static const struct descriptor *descriptor_in(const struct descriptor *list, size_t count, int number)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].number == number)
            return &list[i];
    return NULL;
}

static void check_descriptors(void)
{
    static struct descriptor after[DESCRIPTORS];
    size_t count = read_descriptors(after);
    for (size_t i = 0; i < count; i++) {
        const struct descriptor *old = descriptor_in(before.descriptors, before.count, after[i].number);
        if (old != NULL && old->device == after[i].device && old->inode == after[i].inode)
            continue;
        char link[64], target[256];
        snprintf(link, sizeof link, "/proc/self/fd/%d", after[i].number);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        found(false, "descriptor %d (%s)%s", after[i].number, target, old != NULL ? " in the place of another" : "");
    }
    for (size_t i = 0; i < before.count; i++)
        if (descriptor_in(after, count, before.descriptors[i].number) == NULL)
            found(false, "descriptor %d, which it did not open, closed", before.descriptors[i].number);
}

/* ---- processes and threads ------------------------------------------------------------------------------------- */

/* Children in any state, and living processes that came from this test: in its process group, or orphaned to the
 * program. */
static void check_process(const char *name)
{
    struct test__process process;
    pid_t pid = (pid_t)atoi(name);
    if (!isdigit((unsigned char)name[0]) || pid == getpid() || !test__process_read(pid, &process))
        return;
    if (process.parent == getpid())
        found(false, process.state == 'Z' ? "child %d (%s), ended but not waited for" : "child %d (%s), running",
              (int)pid, process.name);
    else if ((process.parent == test__program || process.group == getpgrp()) && getpid() != test__program &&
             pid != test__program && process.state != 'Z' && process.state != 'X')
        found(true, "process %d (%s), running", (int)pid, process.name);
}

static size_t threads;

static void count_thread(__attribute__((unused)) const char *name)
{
    threads++;
}

static size_t count_threads(void)
{
    threads = 0;
    each_entry(opendir("/proc/self/task"), count_thread);
    return threads;
}

size_t test_threads(void)
{
    size_t now = count_threads();
    return now > before.threads ? now - before.threads : 0;
}

static void check_threads(void)
{
    if (test_threads() > 0)
        found(true, "%zu thread(s)", test_threads());
}

/* ---- files and named objects ----------------------------------------------------------------------------------- */

static void check_file(const char *name)
{
    found(false, "file %s", name);
}

static const char *shm_directory; /* walked now */
static bool removing;

static void visit_shm(const char *name)
{
    if (strstr(name, test_word()) == NULL)
        return;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", shm_directory, name);
    if (removing)
        unlink(path);
    else
        found(false, "%s", path);
}

static void visit_queue(const char *name)
{
    if (!private_objects && strstr(name, test_word()) == NULL)
        return;
    if (removing)
        unlinkat(queues, name, 0);
    else
        found(false, "POSIX message queue /%s", name);
}

static void walk_names(void)
{
    char own[64], shared[80];
    snprintf(own, sizeof own, "/dev/shm/wherry-%u", (unsigned)geteuid());
    snprintf(shared, sizeof shared, "%s-shared", own);
    const char *directories[] = {"/dev/shm", own, shared};
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        shm_directory = directories[i];
        each_entry(opendir(shm_directory), visit_shm);
    }
    int fd = queues < 0 ? -1 : openat(queues, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        each_entry(fdopendir(fd), visit_queue);
}

static void check_abstract(void)
{
    char line[512];
    FILE *list = fopen("/proc/net/unix", "re");
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        char *name = strchr(line, '@');
        if (name == NULL || strstr(name, test_word()) == NULL)
            continue;
        name[strcspn(name, "\n")] = '\0';
        found(true, "abstract socket %s", name);
    }
    if (list != NULL)
        fclose(list);
}

/* ---- System V objects ------------------------------------------------------------------------------------------ */

/* Is this the ftok() key of a file in the test's directory? */
static bool key_of_file(unsigned key)
{
    bool match = false;
    DIR *entries = opendir(test_dir());
    struct stat status;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
        if (fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            (key & 0xffffffu) == ((unsigned)status.st_ino & 0xffffu) + (((unsigned)status.st_dev & 0xffu) << 16))
            match = true;
    if (entries != NULL)
        closedir(entries);
    return match;
}

static void remove_sysv(const char *kind, int id)
{
    if (strcmp(kind, "msg") == 0)
        msgctl(id, IPC_RMID, NULL);
    else if (strcmp(kind, "sem") == 0)
        semctl(id, 0, IPC_RMID);
    else
        shmctl(id, IPC_RMID, NULL);
}

static bool pid_is_ours(unsigned long pid)
{
    return pid != 0 && ((pid_t)pid == getpid() || test__forked((pid_t)pid));
}

static void walk_sysv(const char *kind)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/sysvipc/%s", kind);
    FILE *list = fopen(path, "re");
    if (list == NULL)
        return;
    while (fgets(line, sizeof line, list) != NULL) {
        long key;
        int id;
        unsigned long field[5];
        if (sscanf(line, "%ld %d %lo %lu %lu %lu %lu", &key, &id, &field[0], &field[1], &field[2], &field[3],
                   &field[4]) != 7)
            continue; /* the heading */
        unsigned bits = (unsigned)key;
        bool ours = private_objects || (bits & ~63u) == (unsigned)test_key(0) || (bits != 0 && key_of_file(bits));
        if (strcmp(kind, "shm") == 0) /* size cpid lpid */
            ours = ours || pid_is_ours(field[2]);
        else if (strcmp(kind, "msg") == 0) /* cbytes qnum lspid lrpid */
            ours = ours || pid_is_ours(field[3]) || pid_is_ours(field[4]);
        if (!ours)
            continue;
        if (removing)
            remove_sysv(kind, id);
        else
            found(false, "sysv-%s 0x%08x (id %d)", kind, bits, id);
    }
    fclose(list);
}

static void walk_objects(void)
{
    walk_names();
    walk_sysv("msg");
    walk_sysv("sem");
    walk_sysv("shm");
}

/* ---- signals --------------------------------------------------------------------------------------------------- */

static void read_signals(struct sigaction *actions, sigset_t *blocked)
{
    pthread_sigmask(SIG_BLOCK, NULL, blocked);
    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &actions[number]) < 0)
            actions[number].sa_handler = SIG_DFL; /* the C library's own */
}

static void check_signals(void)
{
    static struct sigaction after[NSIG];
    sigset_t blocked;
    read_signals(after, &blocked);
    for (int number = 1; number < NSIG; number++) {
        if (after[number].sa_handler != before.actions[number].sa_handler)
            found(false, "another disposition of signal %d (%s)", number, strsignal(number));
        if (sigismember(&blocked, number) != sigismember(&before.blocked, number))
            found(false, "signal %d (%s) %sblocked", number, strsignal(number),
                  sigismember(&blocked, number) == 1 ? "" : "un");
    }
}

/* ---- together -------------------------------------------------------------------------------------------------- */

/* A mount of the namespace's message queues that no path leads to. */
static int mount_queues(void)
{
    int context = (int)syscall(SYS_fsopen, "mqueue", 1 /* FSOPEN_CLOEXEC */);
    if (context < 0)
        return -1;
    int mounted = -1;
    if (syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) == 0)
        mounted = (int)syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, 0);
    close(context);
    return mounted;
}

/* Where there is no directory for it, beside nothing else. */
static int mount_queues_by_path(void)
{
    const char *at = "/dev/mqueue";
    if (access(at, F_OK) != 0) {
        at = "/mnt/mqueue";
        if (mount("tmpfs", "/mnt", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0 || mkdir(at, 0755) != 0)
            return -1;
    }
    if (mount("mqueue", at, "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return -1;
    return open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

const char *test__leaks_start(void)
{
    if (getenv("WHERRY_TEST_SHARED_IPC") == NULL && unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0) {
        /* /dev/mqueue shows the namespace that it was mounted in: show this one, to this program and its children. */
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
        private_objects = true;
        queues = mount_queues();
        if (queues < 0 || access("/dev/mqueue", F_OK) == 0) {
            int mounted = mount_queues_by_path();
            if (queues < 0)
                queues = mounted;
            else if (mounted >= 0)
                close(mounted);
        }
        return queues >= 0 ? "a namespace of this program's own" : "a namespace of this program's own, queues not seen";
    }
    queues = open("/dev/mqueue", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return queues >= 0 ? "shared with this host" : "shared with this host, POSIX queues not seen (no /dev/mqueue)";
}

void test__leaks_before(void)
{
    before.count = read_descriptors(before.descriptors);
    before.threads = count_threads();
    read_signals(before.actions, &before.blocked);
}

static void look(unsigned leaves)
{
    text[0] = '\0';
    settles = true;
    if ((leaves & TEST_LEAVES_DESCRIPTORS) == 0)
        check_descriptors();
    if ((leaves & TEST_LEAVES_PROCESSES) == 0)
        each_entry(opendir("/proc"), check_process);
    if ((leaves & TEST_LEAVES_THREADS) == 0)
        check_threads();
    if ((leaves & TEST_LEAVES_FILES) == 0)
        each_entry(opendir(test_dir()), check_file);
    if ((leaves & TEST_LEAVES_SIGNALS) == 0)
        check_signals();
    if ((leaves & TEST_LEAVES_OBJECTS) == 0) {
        walk_objects();
        check_abstract();
    }
}

const char *test__leaks_after(unsigned leaves)
{
    int rounds = 400 * (int)test_slowness(); /* of 5 ms */
    for (look(leaves); text[0] != '\0' && settles && rounds > 0; rounds--) {
        test_sleep(5 * WHERRY_MILLISECOND);
        look(leaves);
    }
    if (text[0] != '\0') { /* here, where their creator is known */
        removing = true;
        walk_objects();
        removing = false;
    }
    return text;
}

static void kill_orphan(const char *name)
{
    struct test__process process;
    pid_t pid = (pid_t)atoi(name);
    if (isdigit((unsigned char)name[0]) && test__process_read(pid, &process) && process.parent == getpid())
        kill(pid, SIGKILL);
}

static int remove_entry(const char *path, __attribute__((unused)) const struct stat *status,
                        __attribute__((unused)) int type, __attribute__((unused)) struct FTW *walk)
{
    remove(path);
    return 0;
}

static int open_entry(const char *path, __attribute__((unused)) const struct stat *status, int type,
                      __attribute__((unused)) struct FTW *walk)
{
    if (type == FTW_D || type == FTW_DNR)
        chmod(path, 0700);
    return 0;
}

void test__leaks_remove(void)
{
    while (waitpid(-1, NULL, WNOHANG) >= 0) { /* ends with -ECHILD, when nobody is left */
        each_entry(opendir("/proc"), kill_orphan);
        test_sleep(WHERRY_MILLISECOND);
    }
    removing = true;
    walk_objects();
    removing = false;
    nftw(test_dir(), open_entry, 16, FTW_PHYS);
    nftw(test_dir(), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
