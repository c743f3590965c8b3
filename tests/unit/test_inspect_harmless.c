/* tests/unit/test_inspect_harmless.c - taking a snapshot changes nothing and waits for nobody: what it opens and how,
 * access times, FIFOs, processes that come and go, descriptors that run out.  test_inspect_hung.c has a file system
 * that does not answer.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/inspect.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "harness.h"
#include "inspect_kit.h"

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* ---- how it opens ---- */

static struct {
    unsigned opened, others;
    char wrong[300];
} seen;
static struct wherry__sys real;

static void look_at(const char *path, int flags)
{
    seen.opened++;
    bool reads = (flags & O_ACCMODE) == O_RDONLY || flags & O_PATH;
    bool proc = strncmp(path, "/proc", 5) == 0 || path[0] != '/';
    if ((!reads || flags & (O_CREAT | O_TRUNC | O_APPEND) || !(flags & O_CLOEXEC)) && !seen.wrong[0])
        snprintf(seen.wrong, sizeof seen.wrong, "%s is opened with %o", path, (unsigned)flags);
    /* beyond /proc: only directories and what cannot wait */
    if (!proc && !(flags & (O_DIRECTORY | O_PATH | O_NONBLOCK)) && !seen.wrong[0])
        snprintf(seen.wrong, sizeof seen.wrong, "%s may wait (%o)", path, (unsigned)flags);
}

static int open_seen(const char *path, int flags, mode_t mode)
{
    look_at(path, flags);
    return real.open(path, flags, mode);
}

static int openat_seen(int directory, const char *path, int flags, mode_t mode)
{
    look_at(path, flags);
    return real.openat(directory, path, flags, mode);
}

#define MUST_NOT(name, result, parameters)                                                                             \
    static result no_##name parameters                                                                                 \
    {                                                                                                                  \
        snprintf(seen.wrong, sizeof seen.wrong, "%s is called", #name);                                                \
        errno = EPERM;                                                                                                 \
        return (result)-1;                                                                                             \
    }
MUST_NOT(write, ssize_t, (__attribute__((unused)) int fd, __attribute__((unused)) const void *data,
                          __attribute__((unused)) size_t size))
MUST_NOT(unlinkat, int, (__attribute__((unused)) int directory, __attribute__((unused)) const char *path,
                         __attribute__((unused)) int flags))
MUST_NOT(kill, int, (__attribute__((unused)) pid_t pid, __attribute__((unused)) int number))

TEST(opens_nothing_for_writing)
{
    char path[200];
    write_file(test_path(path, "file"), "text");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    flock(fd, LOCK_EX);
    void *memory = mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);
    real = wherry__sys;
    wherry__sys.open = open_seen;
    wherry__sys.openat = openat_seen;
    wherry__sys.write = no_write;
    wherry__sys.unlinkat = no_unlinkat;
    wherry__sys.kill = no_kill;
    struct wherry_inspect *snapshot = take_with(path);
    wherry__sys = real;
    ck_assert_msg(!seen.wrong[0], "%s", seen.wrong);
    ck_assert_uint_gt(seen.opened, 20);
    ck_assert(wherry_inspect_find(snapshot, path, 0) != NULL);
    wherry_inspect_free(snapshot);
    munmap(memory, 4);
    close(fd);
    unlink(path);
}

/* ---- access times ---- */

enum { TIMES = 8 };

struct times {
    const char *path[TIMES];
    struct statx_timestamp before[TIMES];
    size_t count;
};

static struct statx_timestamp access_time(const char *path)
{
    struct statx status;
    ck_assert_msg(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_ATIME, &status) == 0, "%s: %s", path,
                  strerror(errno));
    return status.stx_atime;
}

static void watch(struct times *times, const char *path)
{
    times->path[times->count] = path;
    times->before[times->count++] = access_time(path);
}

static void check_times(const struct times *times)
{
    for (size_t i = 0; i < times->count; i++) {
        struct statx_timestamp now = access_time(times->path[i]);
        ck_assert_msg(now.tv_sec == times->before[i].tv_sec && now.tv_nsec == times->before[i].tv_nsec,
                      "%s was read: its access time has changed", times->path[i]);
    }
}

/* A /dev/shm and a mount point of this process alone, in which every access counts. */
static void have_strict_times(const char *directory)
{
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", MS_STRICTATIME, "mode=1777"), 0);
    ck_assert_int_eq(mount("tmpfs", directory, "tmpfs", MS_STRICTATIME, "mode=700"), 0);
}

static void change_no_time(void *argument)
{
    char file[220], fifo[220], place[220], directory[200];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct times times = {.count = 0};
    snprintf(directory, sizeof directory, "%s", (const char *)argument);
    have_strict_times(directory);
    snprintf(file, sizeof file, "%s/file", directory);
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    snprintf(place, sizeof place, "%s/socket", directory);
    write_file(file, "mapped");
    write_file("/dev/shm/segment", "a segment");
    write_file("/dev/shm/sem.semaphore", "what is no semaphore");
    ck_assert_int_eq(mkdir("/dev/shm/wherry-0", 0700), 0);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), fd = open(file, O_RDWR), pipe_fd = open(fifo, O_RDWR);
    ck_assert_int_lt(snprintf(address.sun_path, sizeof address.sun_path, "%s", place), (int)sizeof address.sun_path);
    ck_assert_int_eq(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    flock(fd, LOCK_EX);
    int segment = open("/dev/shm/segment", O_RDWR);
    ck_assert_ptr_ne(mmap(NULL, 6, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_ptr_ne(mmap(NULL, 6, PROT_READ, MAP_SHARED, segment, 0), MAP_FAILED);
    watch(&times, file);
    watch(&times, fifo);
    watch(&times, place);
    watch(&times, "/dev/shm");
    watch(&times, "/dev/shm/segment");
    watch(&times, "/dev/shm/sem.semaphore");
    watch(&times, "/dev/shm/wherry-0");
    watch(&times, directory);
    struct wherry_inspect *snapshot = take_with(file);
    ck_assert(wherry_inspect_find(snapshot, file, 0) != NULL);
    ck_assert(wherry_inspect_find(snapshot, fifo, 0) != NULL);
    check_times(&times);
    wherry_inspect_free(snapshot);
    char byte; /* they would have changed */
    ck_assert_int_eq(pread(fd, &byte, 1, 0), 1);
    struct statx_timestamp now = access_time(file);
    ck_assert(now.tv_sec != times.before[0].tv_sec || now.tv_nsec != times.before[0].tv_nsec);
    close(server);
    close(fd);
    close(pipe_fd);
    close(segment);
}

TEST(changes_no_access_time)
{
    char path[200];
    if (!test_is_root())
        test_skip("needs root, for a mount namespace");
    ck_assert_int_eq(mkdir(test_path(path, "mounted"), 0700), 0);
    test_join(test_fork(change_no_time, path));
    rmdir(path);
}

/* ---- FIFOs ---- */

static void open_fifo_to_write(void *argument)
{
    int fd = open(argument, O_WRONLY | O_CLOEXEC); /* waits for a reader */
    ck_assert_int_ge(fd, 0);
    close(fd);
}

TEST(h36_stops_at_no_fifo_and_lets_no_writer_go)
{
    char path[200];
    ck_assert_int_eq(mkfifo(test_path(path, "fifo"), 0600), 0);
    wherry_inspect_free(take_with(path)); /* nobody has it */
    pid_t writer = test_fork(open_fifo_to_write, path);
    test_until_asleep(writer);
    wherry_inspect_free(take_with(path));
    wherry_inspect_free(take_with(NULL));
    test_until_asleep(writer);
    ck_assert_int_eq(waitpid(writer, NULL, WNOHANG), 0);
    int reader = open(path, O_RDONLY | O_CLOEXEC); /* had it been let go, this would wait now */
    test_join(writer);
    close(reader);
    unlink(path);
}

/* ---- processes that come and go ---- */

enum { SHORT_LIVED = 10000, AT_ONCE = 32 };

static atomic_bool *bred;
static bool as_nobody;

/* Each has something of its own for a moment. */
static void breed(void *argument)
{
    (void)argument;
    unsigned alive = 0;
    for (unsigned i = 0; i < SHORT_LIVED; i++) {
        pid_t child = fork();
        if (child == 0) {
            int ends[2];
            if (pipe(ends) == 0 && i % 4 == 0)
                mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            _exit(0);
        }
        ck_assert_int_gt(child, 0);
        if (++alive == AT_ONCE) {
            waitpid(-1, NULL, 0);
            alive--;
        }
    }
    while (wait(NULL) > 0)
        continue;
    atomic_store(bred, true);
}

/* The command says nothing at all on standard error. */
static void run_listing(void)
{
    int status, ends[2];
    char said[200];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 1);
        dup2(ends[1], 2);
        execl(test_program("wherry"), "wherry", "ls", NULL);
        _exit(126);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], said, sizeof said - 1);
    said[got > 0 ? got : 0] = 0;
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(got == 0 && status == 0, "wherry ls: status %x, \"%s\"", (unsigned)status, said);
}

static void look_meanwhile(void *argument)
{
    unsigned looks = 0, listings = 0, *ret_looks = argument;
    ck_assert_int_eq(mount("proc", "/proc", "proc", 0, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777"), 0);
    if (as_nobody) /* whose processes are all there are */
        ck_assert(test_become_nobody() && prctl(PR_SET_DUMPABLE, 1) == 0);
    pid_t breeder = test_fork(breed, NULL);
    size_t descriptors = test_descriptors();
    while (!atomic_load(bred)) {
        const struct wherry_inspect_hidden *hidden;
        struct wherry_inspect *snapshot = take_with(NULL);
        for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++) /* to nobody, some directories are */
            ck_assert_msg(as_nobody && strstr(hidden->what, "directories"), "look %u: hidden: %s", looks, hidden->what);
        ck_assert(wherry_inspect_process_of(snapshot, getpid()) != NULL);
        wherry_inspect_free(snapshot);
        if (looks++ % 8 == 0 && !as_nobody && getenv("WHERRY_PROGRAM_wherry")) {
            run_listing();
            listings++;
        }
    }
    test_join(breeder);
    ck_assert_uint_eq(test_descriptors(), descriptors);
    ret_looks[0] = looks;
    ret_looks[1] = listings;
}

/* In a PID namespace of its own, where nobody else is and nothing may be hidden. */
static void be_first(void *argument)
{
    first_of_its_own(look_meanwhile, argument, 0, 100);
}

static const struct {
    const char *name;
    bool nobody;
} lookers[] = {{"root", false}, {"nobody", true}};

TEST_WITH(processes_that_end_meanwhile_are_no_error, .seconds = 120, .table = lookers, .stride = sizeof *lookers,
          .length = 2)
{
    test_needs(TEST_SOCKET_LISTS);
    as_nobody = lookers[index].nobody;
    if (!test_is_root())
        test_skip("needs root, for a PID namespace");
    unsigned *looks = test_shared(2 * sizeof *looks);
    bred = test_shared(sizeof *bred);
    test_join_by(test_fork(be_first, looks), wherry_after(110 * WHERRY_SECOND * (wherry_time)test_slowness()));
    printf("# %u processes came and went during %u looks and %u listings\n", SHORT_LIVED, looks[0], looks[1]);
    fflush(stdout);
    ck_assert_uint_gt(looks[0], 2); /* a loaded machine looks less often */
}

/* ---- no descriptors ---- */

static bool sees_both_ends(const struct wherry_inspect *snapshot, int fd)
{
    const struct wherry_inspect_process *self = wherry_inspect_process_of(snapshot, getpid());
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; self && (hold = wherry_inspect_hold_by(self, i)); i++)
        if (hold->fd == fd && hold->object->kind == WHERRY_INSPECT_PIPE)
            return wherry_inspect_other_end(hold, 0) != NULL;
    return false;
}

static void look_with_few(void *argument)
{
    struct rlimit limit;
    int ends[2], spare, refused = 0, seen_whole = 0;
    (void)argument;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_ge(spare = dup(0), 0);
    close(spare);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    size_t descriptors = test_descriptors();
    for (int more = 0; more < 10; more++) {
        struct wherry_inspect *snapshot = NULL;
        limit.rlim_cur = (rlim_t)(spare + more);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        int result = wherry_inspect_take(NULL, &snapshot);
        limit.rlim_cur = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (result < 0) {
            ck_assert_int_eq(result, -EMFILE);
            ck_assert_msg(strstr(wherry_why(), "descriptor") || strstr(wherry_why(), "/proc"), "%s", wherry_why());
            ck_assert_ptr_eq(snapshot, NULL);
            refused++;
        } else {
            bool whole = sees_both_ends(snapshot, ends[0]);
            ck_assert_msg(whole || wherry_inspect_hidden(snapshot, 0),
                          "with %d more: a pipe is missed, and nobody says so", more);
            seen_whole += whole;
        }
        wherry_inspect_free(snapshot);
        ck_assert_uint_eq(test_descriptors(), descriptors);
    }
    ck_assert_int_gt(refused, 0);
    ck_assert_int_gt(seen_whole, 0);
    close(ends[0]);
    close(ends[1]);
}

TEST(without_descriptors_it_fails_or_says_what_it_missed)
{
    test_join_by(test_fork(look_with_few, NULL), wherry_after(25 * WHERRY_SECOND * (wherry_time)test_slowness()));
}
